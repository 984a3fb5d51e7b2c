// SPDX-License-Identifier: GPL-2.0-or-later
/* The plan of a lock: subjects and destinations as the programs in bpf/ search them. */
#include "second-lock-internal.h"

#include <endian.h>
#include <errno.h>
#include <string.h>

void plan_clear(struct plan *p)
{
        free(p->pages);
        *p = (struct plan){};
}

/* The ids a plan needs, as the programs ask for them. */
struct plan_ids {
        struct idset sets[SL_ID_SECTIONS];
};

static void plan_ids_clear(struct plan_ids *ids)
{
        for (unsigned i = 0; i < SL_ID_SECTIONS; i++)
                idset_clear(&ids->sets[i]);
}

static int named_ids(const struct subjects *s, struct plan_ids *ids)
{
        int r = idset_subtract(&s->uids, &s->except_uids, &ids->sets[SL_UIDS]);

        if (r >= 0)
                r = idset_subtract(&s->uid_ranges, &s->except_uids, &ids->sets[SL_UID_RANGES]);
        if (r >= 0)
                r = idset_copy(&s->gids, &ids->sets[SL_GIDS]);
        return r < 0 ? r : idset_copy(&s->gid_ranges, &ids->sets[SL_GID_RANGES]);
}

static int plan_ids_collect(const struct subjects *s, struct plan_ids *ret)
{
        _cleanup_(plan_ids_clear) struct plan_ids ids = {};
        int r = idset_copy(&s->except_uids, &ids.sets[SL_EXCEPT_UIDS]);

        if (r >= 0)
                r = s->everyone ? idset_copy(&s->except_gids, &ids.sets[SL_EXCEPT_GIDS]) : named_ids(s, &ids);
        if (r < 0)
                return r;
        *ret = ids;
        ids = (struct plan_ids){};
        return 0;
}

/* Gives a section its place: behind those before it, at a multiple of its items' size. */
static void place(struct sl_header *h, enum sl_section_id id, size_t n, size_t item_words, size_t *words)
{
        *words = (*words + item_words - 1) / item_words * item_words;
        h->sections[id] = (struct sl_section){.at = (uint32_t)*words, .n = (uint32_t)n};
        *words += n * item_words;
}

/* Four items in a step, were they spread evenly. Returns how many steps there are. */
static size_t index_steps(const struct idset *ids, struct sl_index *index)
{
        uint32_t shift = 0, most = (uint32_t)(ids->n / 4);

        *index = (struct sl_index){.first = 1, .last = 0};
        if (ids->n == 0)
                return 0;
        index->first = ids->ranges[0].first;
        index->last = ids->ranges[ids->n - 1].last;
        while (shift < 31 && (index->last - index->first) >> shift > most)
                shift++;
        index->shift = shift;
        return ((index->last - index->first) >> shift) + 1;
}

static void place_ids(struct sl_header *h, const struct plan_ids *ids, size_t *words)
{
        for (unsigned i = 0; i < SL_ID_SECTIONS; i++) {
                size_t steps = index_steps(&ids->sets[i], &h->indices[i]);

                place(h, i, ids->sets[i].n, 1, words);
                h->indices[i].at = (uint32_t)*words;
                *words += steps;
        }
}

static int lay_out(const struct second_lock_spec *spec, const struct plan_ids *ids, struct sl_header *h)
{
        const struct destinations *d = spec->destinations;
        const size_t range = sizeof(struct sl_range) / 8, service = sizeof(struct sl_service) / 8;
        size_t words = 0;

        place_ids(h, ids, &words);
        place(h, SL_CGROUPS, spec->subjects->everyone ? 0 : spec->n_cgroups, 1, &words);
        place(h, SL_UNITS, spec->n_units, 1, &words);
        place(h, SL_ALLOW4, d->allow4.n, range, &words);
        place(h, SL_ALLOW6, d->allow6.n, range, &words);
        place(h, SL_SERVICE4, d->service4.n, service, &words);
        place(h, SL_SERVICE6, d->service6.n, service, &words);
        place(h, SL_LOOPBACK_PORTS, d->n_loopback_deny, 1, &words);
        place(h, SL_DNS_PORTS, d->dns == DNS_ALLOW ? 0 : ELEMENTSOF(dns_ports), 1, &words);
        if (words > (size_t)(SL_PAGES_MAX - 1) * SL_PAGE_WORDS)
                return -E2BIG;
        h->n_words = (uint32_t)words;
        return 0;
}

static void *section(const struct plan *p, enum sl_section_id id)
{
        return p->pages[1].words + p->pages[0].header.sections[id].at;
}

static uint64_t range_word(uint32_t first, uint32_t last)
{
        return (uint64_t)first << 32 | last;
}

static void put_index(const struct plan *p, const struct sl_index *index, const struct idset *ids)
{
        uint64_t *word = (void *)(p->pages[1].words + index->at);
        uint32_t steps = ids->n == 0 ? 0 : ((index->last - index->first) >> index->shift) + 1;
        uint32_t item = 0;

        for (uint32_t step = 0; step < steps; step++) {
                uint32_t begin = item;

                while (item < ids->n && (ids->ranges[item].first - index->first) >> index->shift <= step)
                        item++;
                word[step] = (uint64_t)item << 32 | begin;
        }
}

static void put_ids(const struct plan *p, enum sl_section_id id, const struct idset *ids)
{
        uint64_t *word = section(p, id);

        for (size_t i = 0; i < ids->n; i++)
                word[i] = range_word(ids->ranges[i].first, ids->ranges[i].last);
        put_index(p, &p->pages[0].header.indices[id], ids);
}

static int compare_words(const void *a, const void *b)
{
        uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

        return (x > y) - (x < y);
}

static int put_cgroups(const struct plan *p, enum sl_section_id id, const struct second_lock_cgroup *cgroups,
                       struct sl_levels *ret)
{
        size_t n = p->pages[0].header.sections[id].n;
        uint64_t *word = section(p, id);
        uint32_t levels = 0;

        for (size_t i = 0; i < n; i++) {
                if (cgroups[i].level >= SL_LEVELS)
                        return -ERANGE;
                levels |= UINT32_C(1) << cgroups[i].level;
                word[i] = cgroups[i].id;
        }
        if (n > 1)
                qsort(word, n, sizeof(*word), compare_words);
        for (uint8_t level = 0; level < SL_LEVELS; level++)
                if (levels >> level & 1)
                        ret->levels[ret->n++] = level;
        return 0;
}

static struct sl_address address(int family, const uint8_t *bytes)
{
        struct sl_address a = {};
        uint64_t halves[2];
        uint32_t v4;

        if (family == AF_INET) {
                memcpy(&v4, bytes, sizeof(v4));
                a.low = be32toh(v4);
                return a;
        }
        memcpy(halves, bytes, sizeof(halves));
        a.high = be64toh(halves[0]);
        a.low = be64toh(halves[1]);
        return a;
}

static struct sl_range range(int family, const struct addr_range *r)
{
        return (struct sl_range){.first = address(family, r->first), .last = address(family, r->last)};
}

static void put_networks(const struct plan *p, enum sl_section_id id, int family, const struct addr_set *set)
{
        struct sl_range *item = section(p, id);

        for (size_t i = 0; i < set->n; i++)
                item[i] = range(family, &set->ranges[i]);
}

static bool above(const struct sl_address *a, const struct sl_address *b)
{
        return a->high != b->high ? a->high > b->high : a->low > b->low;
}

/* Who has the addresses of item I, too? Sorted as they are, only those before it; and what ends before I
 * begins cannot come back. False where two networks overlap without one having all of the other. */
static bool find_parent(struct sl_service *items, uint32_t i)
{
        uint32_t j = i == 0 ? SL_NONE : i - 1;

        while (j != SL_NONE && above(&items[i].addr.first, &items[j].addr.last))
                j = items[j].parent;
        items[i].parent = j;
        return j == SL_NONE || !above(&items[i].addr.last, &items[j].addr.last);
}

static void put_services(const struct plan *p, enum sl_section_id id, int family,
                         const struct service_set *set)
{
        struct sl_service *items = section(p, id);
        bool nested = true;

        for (uint32_t i = 0; i < set->n; i++) {
                items[i].addr = range(family, &set->items[i].addr);
                items[i].protocol = set->items[i].protocol;
                items[i].port_first = set->items[i].port_first;
                items[i].port_last = set->items[i].port_last;
                nested = find_parent(items, i) && nested;
        }
        /* Not from Allow=, which has prefixes only. Then all are asked, one after the other. */
        for (uint32_t i = 0; !nested && i < set->n; i++)
                items[i].parent = i == 0 ? SL_NONE : i - 1;
}

static void put_ports(const struct plan *p, const struct destinations *d)
{
        uint64_t *loopback = section(p, SL_LOOPBACK_PORTS), *dns = section(p, SL_DNS_PORTS);
        size_t n_dns = p->pages[0].header.sections[SL_DNS_PORTS].n;

        for (size_t i = 0; i < d->n_loopback_deny; i++)
                loopback[i] = range_word(d->loopback_deny[i].first, d->loopback_deny[i].last);
        for (size_t i = 0; i < n_dns; i++)
                dns[i] = range_word(dns_ports[i], dns_ports[i]);
        if (n_dns > 1)
                qsort(dns, n_dns, sizeof(*dns), compare_words);
}

static void put_destinations(const struct plan *p, const struct destinations *d)
{
        struct sl_header *h = &p->pages[0].header;

        put_networks(p, SL_ALLOW4, AF_INET, &d->allow4);
        put_networks(p, SL_ALLOW6, AF_INET6, &d->allow6);
        put_services(p, SL_SERVICE4, AF_INET, &d->service4);
        put_services(p, SL_SERVICE6, AF_INET6, &d->service6);
        put_ports(p, d);
        if (d->dns == DNS_REDIRECT && d->has_dns4) {
                h->flags |= SL_DNS4;
                h->dns4 = address(AF_INET, d->dns4);
        }
        if (d->dns == DNS_REDIRECT && d->has_dns6) {
                h->flags |= SL_DNS6;
                h->dns6 = address(AF_INET6, d->dns6);
        }
}

static void put_subjects(const struct plan *p, const struct plan_ids *ids)
{
        for (unsigned i = 0; i < SL_ID_SECTIONS; i++)
                put_ids(p, i, &ids->sets[i]);
}

int plan_build(const struct second_lock_spec *spec, const struct sl_offsets *offsets, uint64_t root,
               struct plan *ret)
{
        _cleanup_(plan_ids_clear) struct plan_ids ids = {};
        _cleanup_(plan_clear) struct plan p = {};
        struct sl_header h = {.version = SL_VERSION, .offsets = *offsets, .root = root};
        int r = plan_ids_collect(spec->subjects, &ids);

        if (r >= 0)
                r = lay_out(spec, &ids, &h);
        if (r < 0)
                return r;
        if (spec->subjects->everyone)
                h.flags |= SL_EVERYONE;
        /* Reading a group costs four steps through the kernel's memory: only where one is asked for. */
        if (ids.sets[SL_GIDS].n == 0 && ids.sets[SL_GID_RANGES].n == 0 && ids.sets[SL_EXCEPT_GIDS].n == 0)
                h.offsets.socket_file = 0;

        p.n_pages = 1 + (h.n_words + SL_PAGE_WORDS - 1) / SL_PAGE_WORDS;
        /* One more, not sent to the kernel: sections without items may begin behind the last word. */
        p.pages = calloc(p.n_pages + 1, sizeof(*p.pages));
        if (!p.pages)
                return -ENOMEM;
        p.pages[0].header = h;
        put_subjects(&p, &ids);
        r = put_cgroups(&p, SL_CGROUPS, spec->cgroups, &p.pages[0].header.cgroup_levels);
        if (r >= 0)
                r = put_cgroups(&p, SL_UNITS, spec->units, &p.pages[0].header.unit_levels);
        if (r < 0)
                return r;
        put_destinations(&p, spec->destinations);
        p.pages[0].header.relay_port = spec->relay_port;
        *ret = p;
        p = (struct plan){};
        return 0;
}
