// SPDX-License-Identifier: GPL-2.0-or-later
/* The second lock: judges what sockets below a control group send and receive, by the socket's own identity.
 * It gives the answers of the ruleset (daemon/ruleset.c), in the same order.
 *
 * Egress runs behind postrouting, so it sees where a packet really goes; ingress runs before the socket (a
 * listener, too) sees the packet. Both run in every network namespace. What is no subject's passes untouched;
 * a subject's packet that cannot be read to the end of its headers is refused. */
#include "second-lock-maps.h"

#include <linux/bpf.h>
#include <linux/icmpv6.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/tcp.h>
#include <stdbool.h>
#include <stddef.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#define LOOPBACK_INDEX 1 /* in every network namespace */
#define IP_OFFSET 0x1fff
#define HEADERS_MAX 8 /* IPv6 extension headers looked through */

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
        __uint(max_entries, SL_DIRECTIONS);
        __type(key, __u32);
        __type(value, struct sl_refused);
} refused SEC(".maps");

struct plan {
        void *map;
        const struct sl_header *header;
};

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

/* Whose socket is it? The helper bpf_get_socket_uid() translates to the user namespace of the socket's
 * network namespace, where somebody who made both is root; and no helper says the group. So both are read
 * where they are. */
static __always_inline __u64 kernel_pointer(__u64 at, __u32 offset)
{
        __u64 value = 0;

        if (!at || bpf_probe_read_kernel(&value, sizeof(value), (void *)(at + offset)) < 0)
                return 0;
        return value;
}

static __always_inline bool kernel_id(__u64 at, __u32 offset, __u32 *ret)
{
        return at && bpf_probe_read_kernel(ret, sizeof(*ret), (void *)(at + offset)) == 0;
}

struct owner {
        __u32 uid, gid;
        bool has_uid, has_gid;
};

/* The group is that of the process that made the socket, as `meta skgid` has it; not known without a program
 * that holds the socket. Global, like read_packet(): such functions are verified by themselves, once. */
__noinline int read_owner(struct __sk_buff *skb, struct owner *owner, const struct sl_offsets *at)
{
        struct bpf_sock *pointer;
        __u64 sk = 0, socket, file;

        if (!owner || !at)
                return 0;
        pointer = skb->sk;
        if (!pointer)
                return 0;
        /* The address as a number: with the pointer itself nothing can be calculated. */
        bpf_probe_read_kernel(&sk, sizeof(sk), &pointer);
        owner->has_uid = kernel_id(sk, at->sock_uid, &owner->uid);
        if (owner->uid != 0 && at->socket_file == 0)
                return 0;

        socket = kernel_pointer(sk, at->sock_socket);
        /* The kernel makes further subflows of MPTCP as root, and writes their owner on the inode alone. */
        if (owner->uid == 0)
                kernel_id(socket, at->socket_inode_uid, &owner->uid);
        if (at->socket_file == 0)
                return 0;
        file = kernel_pointer(socket, at->socket_file);
        owner->has_gid = kernel_id(kernel_pointer(file, at->file_cred), at->cred_fsgid, &owner->gid);
        return 0;
}

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
        if (!in_cgroups(s->plan, s->section, bpf_skb_ancestor_cgroup_id(s->skb, level)))
                return 0;
        s->found = true;
        return 1;
}

static long ask_base(__u32 i, struct level_search *s)
{
        if (bpf_skb_ancestor_cgroup_id(s->skb, i) != s->plan->header->root)
                return 0;
        s->base = i;
        return 1;
}

/* The helper counts from the root of all; the plan from where cgroup2 is mounted, which in a container lies
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

static __always_inline bool is_subject(struct __sk_buff *skb, const struct plan *plan)
{
        const struct sl_header *h = plan->header;
        struct sl_offsets at = h->offsets;
        struct owner o = {};

        /* Before root and the excepted are let go: a unit is held whatever it runs as. */
        if (h->unit_levels.n && is_in_cgroups(skb, plan, &h->unit_levels, SL_UNITS))
                return true;
        read_owner(skb, &o, &at);
        if (h->flags & SL_EVERYONE)
                return !(o.has_uid && (o.uid == 0 || in_ranges(plan, SL_EXCEPT_UIDS, o.uid))) &&
                       !(o.has_gid && in_ranges(plan, SL_EXCEPT_GIDS, o.gid));
        if (o.has_uid && in_ranges(plan, SL_UIDS, o.uid)) /* the excepted are left out of it */
                return true;
        if (o.has_uid && in_ranges(plan, SL_EXCEPT_UIDS, o.uid))
                return false;
        /* Root's own sockets stay, whatever group it acts under. */
        if (o.uid != 0 && o.has_gid && in_ranges(plan, SL_GIDS, o.gid))
                return true;
        return h->cgroup_levels.n && is_in_cgroups(skb, plan, &h->cgroup_levels, SL_CGROUPS);
}

/* Reading the packet. OFFSET is from the network header. */

static __always_inline bool load(struct __sk_buff *skb, __u32 offset, void *to, __u32 size)
{
        return bpf_skb_load_bytes(skb, offset, to, size) == 0;
}

static __always_inline void read_tcp(struct __sk_buff *skb, __u32 offset, struct packet *p)
{
        struct tcphdr tcp;

        if (!load(skb, offset, &tcp, sizeof(tcp)))
                return;
        /* A reset tells the peer of a severed connection, and carries nothing. */
        p->reset = tcp.rst && offset + tcp.doff * 4U >= skb->len;
        p->opening = tcp.syn && !tcp.ack;
}

static __always_inline void read_transport(struct __sk_buff *skb, __u32 offset, struct packet *p, bool egress)
{
        __be16 ports[2];

        if (p->protocol != IPPROTO_TCP && p->protocol != IPPROTO_UDP)
                return;
        if (!load(skb, offset, ports, sizeof(ports)))
                return;
        p->ports = true;
        p->port = bpf_ntohs(ports[egress ? 1 : 0]);
        if (p->protocol == IPPROTO_TCP)
                read_tcp(skb, offset, p);
}

struct option_search {
        struct __sk_buff *skb;
        __u32 offset, end;
        bool detour;
};

static long next_option(__u32 i, struct option_search *s)
{
        __u8 option[2];

        if (s->offset >= s->end || !load(s->skb, s->offset, option, 1) || option[0] == 0)
                return 1;
        if (option[0] == 1) { /* padding */
                s->offset++;
                return 0;
        }
        /* Loose and strict source routing; and what cannot be read may be them. */
        if (option[0] == 131 || option[0] == 137 || s->offset + 1 >= s->end ||
            !load(s->skb, s->offset, option, 2) || option[1] < 2) {
                s->detour = true;
                return 1;
        }
        s->offset += option[1];
        return 0;
}

static __always_inline bool read_ipv4(struct __sk_buff *skb, struct packet *p, bool egress)
{
        struct iphdr ip;
        __u32 length;

        if (!load(skb, 0, &ip, sizeof(ip)) || ip.version != 4 || ip.ihl < 5)
                return false;
        length = ip.ihl * 4U;
        p->address.low = bpf_ntohl(egress ? ip.daddr : ip.saddr);
        p->protocol = ip.protocol;
        if (length > sizeof(ip)) {
                struct option_search s = {.skb = skb, .offset = sizeof(ip), .end = length};

                bpf_loop(40, next_option, &s, 0);
                p->detour = s.detour;
        }
        if ((bpf_ntohs(ip.frag_off) & IP_OFFSET) == 0)
                read_transport(skb, length, p, egress);
        return true;
}

struct header_search {
        struct __sk_buff *skb;
        __u32 offset;
        __u8 next;
        bool done, fragment, detour;
};

/* One extension header; DONE when NEXT is none. */
static long next_header(__u32 i, struct header_search *s)
{
        __u8 header[8];

        if (s->next != IPPROTO_HOPOPTS && s->next != IPPROTO_DSTOPTS && s->next != IPPROTO_ROUTING &&
            s->next != IPPROTO_FRAGMENT && s->next != IPPROTO_AH && s->next != IPPROTO_MH) {
                s->done = true;
                return 1;
        }
        if (!load(s->skb, s->offset, header, sizeof(header)))
                return 1;
        if (s->next == IPPROTO_ROUTING)
                s->detour = true;
        if (s->next == IPPROTO_FRAGMENT) {
                s->offset += 8;
                s->fragment = (header[2] << 8 | header[3]) & 0xfff8;
        } else {
                s->offset += s->next == IPPROTO_AH ? (header[1] + 2U) * 4 : (header[1] + 1U) * 8;
        }
        s->next = header[0];
        if (!s->fragment)
                return 0;
        s->done = true; /* what follows is a piece of the payload */
        return 1;
}

/* The kernel's own talk with its neighbours, in namespaces of which a subject is the owner: on the link only.
 */
static __always_inline bool is_neighbour(struct __sk_buff *skb, __u32 offset, const struct in6_addr *to)
{
        const __u8 *a = to->s6_addr;
        __u8 type;

        if (!(a[0] == 0xff && (a[1] & 0x0f) == 2) && !(a[0] == 0xfe && (a[1] & 0xc0) == 0x80))
                return false;
        return load(skb, offset, &type, 1) && ((type >= 130 && type <= 137) || type == 143);
}

static __always_inline bool read_ipv6(struct __sk_buff *skb, struct packet *p, bool egress)
{
        struct header_search s = {.skb = skb, .offset = sizeof(struct ipv6hdr)};
        const struct in6_addr *other;
        struct ipv6hdr ip;
        __be64 halves[2];

        if (!load(skb, 0, &ip, sizeof(ip)) || ip.version != 6)
                return false;
        other = egress ? &ip.daddr : &ip.saddr;
        __builtin_memcpy(halves, other, sizeof(halves));
        p->address.high = bpf_be64_to_cpu(halves[0]);
        p->address.low = bpf_be64_to_cpu(halves[1]);
        p->v6 = true;

        s.next = ip.nexthdr;
        bpf_loop(HEADERS_MAX + 1, next_header, &s, 0);
        if (!s.done)
                return false;
        p->protocol = s.next;
        p->detour = s.detour;
        if (s.fragment)
                return true;
        if (s.next == IPPROTO_ICMPV6)
                p->neighbour = is_neighbour(skb, s.offset, &ip.daddr);
        read_transport(skb, s.offset, p, egress);
        return true;
}

__noinline int read_packet(struct __sk_buff *skb, struct packet *p, int egress)
{
        if (!p)
                return false;
        if (skb->protocol == bpf_htons(ETH_P_IP))
                return read_ipv4(skb, p, egress);
        return skb->protocol == bpf_htons(ETH_P_IPV6) && read_ipv6(skb, p, egress);
}

/* The judgement. */

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

static __always_inline int judge_egress(struct __sk_buff *skb, const struct plan *plan,
                                        const struct packet *p)
{
        if (p->reset)
                return PASS;
        if (p->detour)
                return REFUSE;
        /* Before the loopback: the resolver may be on this very machine. */
        if (is_redirected_dns(plan, p) || is_for_relay(plan, p))
                return PASS;
        if (skb->ifindex == LOOPBACK_INDEX)
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

static __always_inline int judge_ingress(struct __sk_buff *skb, const struct plan *plan,
                                         const struct packet *p)
{
        /* It came over the loopback, so it was sent here. */
        if (p->reset || p->neighbour || skb->ifindex == LOOPBACK_INDEX)
                return PASS;
        if (in_services(plan, p->v6 ? SL_SERVICE6 : SL_SERVICE4, p))
                return PASS;
        /* An answer to a question that was redirected: by now it says again that it comes from where it was
         * first sent to. */
        if (plan->header->flags & (p->v6 ? SL_DNS6 : SL_DNS4) && p->ports && p->port == 53 && !p->opening)
                return PASS;
        return in_networks(plan, p->v6 ? SL_ALLOW6 : SL_ALLOW4, &p->address);
}

static __always_inline void count(struct __sk_buff *skb, __u32 direction)
{
        struct sl_refused *r = bpf_map_lookup_elem(&refused, &direction);

        if (!r)
                return;
        r->packets += skb->gso_segs ? skb->gso_segs : 1;
        r->bytes += skb->len;
}

static __always_inline int judge(struct __sk_buff *skb, bool egress)
{
        struct packet packet = {};
        struct plan plan;
        __u32 zero = 0;
        int verdict;

        plan.map = bpf_map_lookup_elem(&plans, &zero);
        if (!plan.map)
                return PASS;
        plan.header = bpf_map_lookup_elem(plan.map, &zero);
        if (!plan.header || !is_subject(skb, &plan))
                return PASS;
        if (!read_packet(skb, &packet, egress))
                verdict = REFUSE;
        else
                verdict = egress ? judge_egress(skb, &plan, &packet) : judge_ingress(skb, &plan, &packet);
        if (verdict == REFUSE)
                count(skb, egress ? SL_EGRESS : SL_INGRESS);
        return verdict;
}

SEC("cgroup_skb/egress")
int judge_sent(struct __sk_buff *skb)
{
        return judge(skb, true);
}

SEC("cgroup_skb/ingress")
int judge_received(struct __sk_buff *skb)
{
        return judge(skb, false);
}

char LICENSE[] SEC("license") = "GPL";
