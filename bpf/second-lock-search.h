/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LOCKDOWN_SECOND_LOCK_SEARCH_H
#define LOCKDOWN_SECOND_LOCK_SEARCH_H

/* What the second lock's programs have in common: the plan, who is a subject by it, and which
 * destinations it leaves. */

#include "second-lock-maps.h"

#include <linux/bpf.h>
#include <stdbool.h>
#include <stddef.h>

#include <bpf/bpf_helpers.h>

enum {
        REFUSE,
        PASS,
};

struct {
        __uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
        __uint(max_entries, 1);
        __type(key, __u32);
        __array(
                values, struct {
                        __uint(type, BPF_MAP_TYPE_ARRAY);
                        __uint(map_flags, BPF_F_INNER_MAP | BPF_F_MMAPABLE);
                        __uint(max_entries, 1);
                        __uint(key_size, sizeof(__u32));
                        __uint(value_size, SL_PAGE_SIZE);
                });
} plans SEC(".maps");

struct {
        __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
        __uint(max_entries, SL_COUNTERS);
        __type(key, __u32);
        __type(value, struct sl_refused);
} refused SEC(".maps");

struct plan {
        void *map;
        const struct sl_header *header;
};

static __always_inline bool get_plan(struct plan *ret)
{
        __u32 zero = 0;

        ret->map = bpf_map_lookup_elem(&plans, &zero);
        if (!ret->map)
                return false;
        ret->header = bpf_map_lookup_elem(ret->map, &zero);
        return ret->header != NULL;
}

static __always_inline void count(__u32 counter, __u32 packets, __u32 bytes)
{
        struct sl_refused *r = bpf_map_lookup_elem(&refused, &counter);

        if (!r)
                return;
        r->packets += packets;
        r->bytes += bytes;
}

static __always_inline const __u64 *word_at(void *map, __u32 word)
{
        __u32 page = 1 + word / SL_PAGE_WORDS;
        union sl_page *p = bpf_map_lookup_elem(map, &page);

        return p ? &p->words[word % SL_PAGE_WORDS] : NULL;
}

/* Finds the last item that does not begin behind KEY: LOW becomes its index plus one. Items are as long as a
 * power of two of words, and begin at a multiple of it: none reaches into the next page. */
struct search {
        void *map;
        struct sl_section section;
        __u32 stride; /* words */
        __u32 low, high;
        struct sl_address key;
};

static __always_inline struct search search_for(const struct plan *plan, enum sl_section_id id, __u32 stride)
{
        return (struct search){.map = plan->map,
                               .section = plan->header->sections[id],
                               .stride = stride,
                               .high = plan->header->sections[id].n};
}

static long halve_words(__u32 i, struct search *s)
{
        __u32 middle = s->low + (s->high - s->low) / 2;
        const __u64 *word;

        if (s->low >= s->high)
                return 1;
        word = word_at(s->map, s->section.at + middle);
        if (!word)
                return 1;
        if (*word <= s->key.low)
                s->low = middle + 1;
        else
                s->high = middle;
        return 0;
}

/* Is ID in one of the ranges of words? */
static __noinline bool in_ranges(const struct plan *plan, enum sl_section_id section, __u32 id)
{
        struct search s = search_for(plan, section, 1);
        const __u64 *word;

        if (s.high == 0)
                return false;
        s.key.low = (__u64)id << 32 | 0xffffffff;
        bpf_loop(32, halve_words, &s, 0);
        if (s.low == 0)
                return false;
        word = word_at(s.map, s.section.at + s.low - 1);
        return word && id <= (__u32)*word;
}

/* Ranges in one page, looked at one after the other: COUNT of them, FEW at the most, from the one at FIRST.
 * Calculated, for with every jump there are more ways through the program, which the kernel goes all when it
 * is loaded. */
#define FEW 12

static __always_inline bool in_few(void *map, __u32 page, __u32 first, __u64 count, __u64 id)
{
        const union sl_page *p = bpf_map_lookup_elem(map, &page);
        __u64 outside = 1;

        if (!p)
                return false;
#pragma unroll
        for (__u64 i = 0; i < FEW; i++) {
                const __u64 word = p->words[(first + i) % SL_PAGE_WORDS];

                /* each difference is negative, its highest bit set, if … it begins behind ID, ends before it,
                 * or is none of these ranges */
                outside &= ((id - (word >> 32)) | ((__u32)word - id) | (count - 1 - i)) >> 63;
        }
        return !outside;
}

/* The same for sections with an index, of an id that is not outside of it. */
static __noinline bool search_ids(const struct plan *plan, enum sl_section_id section, __u32 id)
{
        const struct sl_index *index = &plan->header->indices[section];
        const __u64 *word;
        struct search s;
        __u32 first;

        word = word_at(plan->map, index->at + ((id - index->first) >> (index->shift & 31)));
        if (!word)
                return false;
        s = search_for(plan, section, 1);
        s.low = (__u32)*word;
        s.high = *word >> 32;
        /* The last one that begins before this step may reach into it. */
        if (s.low > 0)
                s.low--;
        first = s.section.at + s.low;
        if (s.high - s.low <= FEW && first % SL_PAGE_WORDS + s.high - s.low <= SL_PAGE_WORDS)
                return in_few(s.map, 1 + first / SL_PAGE_WORDS, first % SL_PAGE_WORDS, s.high - s.low, id);
        s.key.low = (__u64)id << 32 | 0xffffffff;
        bpf_loop(32, halve_words, &s, 0);
        if (s.low == 0)
                return false;
        word = word_at(s.map, s.section.at + s.low - 1);
        return word && id <= (__u32)*word;
}

/* Most who are not meant lie outside of it all: that is seen without a call. */
static __always_inline bool in_ids(const struct plan *plan, enum sl_section_id section, __u32 id)
{
        const struct sl_index *index = &plan->header->indices[section];

        return id >= index->first && id <= index->last && search_ids(plan, section, id);
}

static __always_inline bool is_named_uid(const struct plan *plan, __u32 uid)
{
        return in_ids(plan, SL_UIDS, uid) || in_ids(plan, SL_UID_RANGES, uid);
}

static __noinline bool in_cgroups(const struct plan *plan, enum sl_section_id section, __u64 id)
{
        struct search s = search_for(plan, section, 1);
        const __u64 *word;

        s.key.low = id;
        bpf_loop(32, halve_words, &s, 0);
        if (s.low == 0)
                return false;
        word = word_at(s.map, s.section.at + s.low - 1);
        return word && *word == id;
}

struct owner {
        __u32 uid, gid;
        bool has_uid, has_gid;
};

/* The control group LEVEL below the root of all: each program says whose. */
static __always_inline __u64 ancestor_id(struct __sk_buff *skb, __u32 level);

struct level_search {
        struct __sk_buff *skb;
        const struct plan *plan;
        const struct sl_levels *levels;
        __u8 section; /* in a byte the verifier knows it to be small */
        __u32 base;   /* depth of the plan's root below the root of all */
        bool found;
};

static long ask_level(__u32 i, struct level_search *s)
{
        __u32 level;

        if (i >= SL_LEVELS)
                return 1;
        level = s->base + s->levels->levels[i];
        if (!in_cgroups(s->plan, s->section, ancestor_id(s->skb, level)))
                return 0;
        s->found = true;
        return 1;
}

static long ask_base(__u32 i, struct level_search *s)
{
        if (ancestor_id(s->skb, i) != s->plan->header->root)
                return 0;
        s->base = i;
        return 1;
}

/* The helpers count from the root of all; the plan from where cgroup2 is mounted, which in a container lies
 * below that. */
static __noinline bool is_in_cgroups(struct __sk_buff *skb, const struct plan *plan,
                                     const struct sl_levels *levels, enum sl_section_id section)
{
        struct level_search s = {.skb = skb, .plan = plan, .levels = levels, .section = section};

        if (plan->header->root != SL_ROOT_CGROUP)
                bpf_loop(SL_LEVELS, ask_base, &s, 0);
        bpf_loop(levels->n, ask_level, &s, 0);
        return s.found;
}

static __always_inline bool is_in_units(struct __sk_buff *skb, const struct plan *plan)
{
        return plan->header->unit_levels.n && is_in_cgroups(skb, plan, &plan->header->unit_levels, SL_UNITS);
}

static __always_inline bool is_subject_by(struct __sk_buff *skb, const struct plan *plan,
                                          const struct owner *o)
{
        const struct sl_header *h = plan->header;

        if (h->flags & SL_EVERYONE)
                return !(o->has_uid && (o->uid == 0 || in_ids(plan, SL_EXCEPT_UIDS, o->uid))) &&
                       !(o->has_gid && in_ids(plan, SL_EXCEPT_GIDS, o->gid));
        if (o->has_uid && is_named_uid(plan, o->uid)) /* the excepted are left out of it */
                return true;
        if (o->has_uid && in_ids(plan, SL_EXCEPT_UIDS, o->uid))
                return false;
        /* Root's own sockets stay, whatever group it acts under. */
        if (o->uid != 0 && o->has_gid &&
            (in_ids(plan, SL_GIDS, o->gid) || in_ids(plan, SL_GID_RANGES, o->gid)))
                return true;
        return h->cgroup_levels.n && is_in_cgroups(skb, plan, &h->cgroup_levels, SL_CGROUPS);
}

static __always_inline bool not_above(const struct sl_address *a, const struct sl_address *b)
{
        return a->high < b->high || (a->high == b->high && a->low <= b->low);
}

static __always_inline bool same_address(const struct sl_address *a, const struct sl_address *b)
{
        return a->high == b->high && a->low == b->low;
}

static long halve_addresses(__u32 i, struct search *s)
{
        __u32 middle = s->low + (s->high - s->low) / 2, word = s->section.at + middle * s->stride;
        __u32 page = 1 + word / SL_PAGE_WORDS;
        const union sl_page *p;

        if (s->low >= s->high)
                return 1;
        p = bpf_map_lookup_elem(s->map, &page);
        if (!p)
                return 1;
        if (not_above((const struct sl_address *)&p->words[word & (SL_PAGE_WORDS - 2)], &s->key))
                s->low = middle + 1;
        else
                s->high = middle;
        return 0;
}

static __noinline bool in_networks(const struct plan *plan, enum sl_section_id section,
                                   const struct sl_address *address)
{
        struct search s = search_for(plan, section, sizeof(struct sl_range) / 8);
        const union sl_page *p;
        __u32 word, page;

        if (s.high == 0)
                return false;
        s.key = *address;
        bpf_loop(32, halve_addresses, &s, 0);
        if (s.low == 0)
                return false;
        word = s.section.at + (s.low - 1) * s.stride;
        page = 1 + word / SL_PAGE_WORDS;
        p = bpf_map_lookup_elem(s.map, &page);
        return p &&
               not_above(address, &((const struct sl_range *)&p->words[word & (SL_PAGE_WORDS - 4)])->last);
}

/* What is asked about a packet. */
struct packet {
        __u16 port; /* the other end's; host order */
        __u8 protocol;
        bool v6;
        bool ports;                /* TCP or UDP, and PORT is known (it is in the first fragment only) */
        bool detour;               /* source routing: ADDRESS is only the next stop */
        bool reset;                /* TCP RST, nothing behind the header */
        bool opening;              /* TCP SYN without ACK */
        bool neighbour;            /* neighbour discovery or listener report that stays on the link */
        struct sl_address address; /* the other end's */
};

struct service_search {
        struct search search; /* LOW: the item to ask, plus one; 0: no more */
        __u16 port;
        __u8 protocol;
        bool found;
};

static long ask_service(__u32 i, struct service_search *s)
{
        const struct sl_service *service;
        const union sl_page *p;
        __u32 word, page;
        bool found;

        if (s->search.low == 0)
                return 1;
        word = s->search.section.at + (s->search.low - 1) * (__u32)(sizeof(*service) / 8);
        page = 1 + word / SL_PAGE_WORDS;
        p = bpf_map_lookup_elem(s->search.map, &page);
        if (!p)
                return 1;
        service = (const struct sl_service *)&p->words[word & (SL_PAGE_WORDS - 8)];
        found = service->protocol == s->protocol && service->port_first <= s->port &&
                s->port <= service->port_last && not_above(&service->addr.first, &s->search.key) &&
                not_above(&s->search.key, &service->addr.last);
        if (!found) {
                s->search.low = service->parent + 1; /* SL_NONE: 0 */
                return 0;
        }
        s->found = true;
        return 1;
}

static __noinline bool in_services(const struct plan *plan, enum sl_section_id section,
                                   const struct packet *packet)
{
        struct service_search s = {.search = search_for(plan, section, sizeof(struct sl_service) / 8)};

        if (s.search.high == 0 || !packet->ports)
                return false;
        s.search.key = packet->address;
        s.port = packet->port;
        s.protocol = packet->protocol;
        bpf_loop(32, halve_addresses, &s.search, 0);
        bpf_loop(plan->header->sections[section].n, ask_service, &s, 0);
        return s.found;
}

static __always_inline bool is_redirected_dns(const struct plan *plan, const struct packet *p)
{
        const struct sl_header *h = plan->header;

        return p->ports && p->port == 53 && h->flags & (p->v6 ? SL_DNS6 : SL_DNS4) &&
               same_address(&p->address, p->v6 ? &h->dns6 : &h->dns4);
}

/* Questions on their way to the relay, which sends them to the resolver. */
static __always_inline bool is_for_relay(const struct plan *plan, const struct packet *p)
{
        const struct sl_address loopback4 = {.low = 0x7f000001}, loopback6 = {.low = 1};

        return p->ports && plan->header->relay_port && p->port == plan->header->relay_port &&
               same_address(&p->address, p->v6 ? &loopback6 : &loopback4);
}

static __always_inline int judge_destination(const struct plan *plan, const struct packet *p, bool loopback)
{
        if (p->detour)
                return REFUSE;
        /* Before the loopback: the resolver may be on this very machine. */
        if (is_redirected_dns(plan, p) || is_for_relay(plan, p))
                return PASS;
        if (loopback)
                return !(p->ports && (in_ranges(plan, SL_LOOPBACK_PORTS, p->port) ||
                                      in_ranges(plan, SL_DNS_PORTS, p->port)));
        if (p->neighbour)
                return PASS;
        /* Before the resolver ports: an endpoint that names its port wins over DNS=. */
        if (in_services(plan, p->v6 ? SL_SERVICE6 : SL_SERVICE4, p))
                return PASS;
        if (p->ports && in_ranges(plan, SL_DNS_PORTS, p->port))
                return REFUSE;
        return in_networks(plan, p->v6 ? SL_ALLOW6 : SL_ALLOW4, &p->address);
}

#endif
