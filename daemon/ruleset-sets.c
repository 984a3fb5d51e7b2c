// SPDX-License-Identifier: GPL-2.0-or-later
#include "ruleset-internal.h"
#include <endian.h>
#include <errno.h>
#include <string.h>

/* More ids than any directory holds; beyond it something is wrong with the input, not with the memory. */
#define IDS_MAX (UINT64_C(1) << 26)

const struct rs_type_info *rs_type_info(enum rs_type type)
{
        static const struct rs_type_info types[] = {
                [TYPE_NONE] = {"", 0, 0, false},
                [TYPE_UID] = {"uid", 24, 4, true},
                [TYPE_GID] = {"gid", 25, 4, true},
                [TYPE_CGROUP] = {"cgroupsv2", 46, 8, true},
                [TYPE_IPV4] = {"ipv4_addr", 7, 4, false},
                [TYPE_IPV6] = {"ipv6_addr", 8, 16, false},
                [TYPE_PROTO] = {"inet_proto", 12, 1, false},
                [TYPE_SERVICE] = {"inet_service", 13, 2, false},
        };

        return &types[type];
}

const struct rs_set_info *rs_set_info(enum rs_set_id id)
{
        static const struct rs_set_info sets[_SET_MAX] = {
                [SET_UIDS] = {.name = "uids", .fields = {TYPE_UID}, .bounded = true},
                [SET_UID_RANGES] = {.name = "uid_ranges", .fields = {TYPE_UID}, .interval = true},
                [SET_GIDS] = {.name = "gids", .fields = {TYPE_GID}, .bounded = true},
                [SET_GID_RANGES] = {.name = "gid_ranges", .fields = {TYPE_GID}, .interval = true},
                [SET_EXCEPT_UIDS] = {.name = "except_uids", .fields = {TYPE_UID}, .bounded = true},
                [SET_EXCEPT_GIDS] = {.name = "except_gids", .fields = {TYPE_GID}, .bounded = true},
                [SET_SESSIONS] = {.name = "sessions", .fields = {TYPE_CGROUP}, .bounded = true},
                [SET_UNITS] = {.name = "units", .fields = {TYPE_CGROUP}, .bounded = true},
                [SET_ALLOW4] = {.name = "allow4", .fields = {TYPE_IPV4}, .interval = true},
                [SET_ALLOW6] = {.name = "allow6", .fields = {TYPE_IPV6}, .interval = true},
                [SET_ALLOW4_SERVICE] = {"allow4_service",
                                        {TYPE_IPV4, TYPE_PROTO, TYPE_SERVICE},
                                        .interval = true},
                [SET_ALLOW6_SERVICE] = {"allow6_service",
                                        {TYPE_IPV6, TYPE_PROTO, TYPE_SERVICE},
                                        .interval = true},
                [SET_LOOPBACK_PORTS] = {.name = "loopback_ports", .fields = {TYPE_SERVICE}, .interval = true},
                [SET_DNS_PORTS] = {.name = "dns_ports", .fields = {TYPE_SERVICE}},
                [SET_DNS4] = {.name = "dns4", .fields = {TYPE_IPV4}},
                [SET_DNS6] = {.name = "dns6", .fields = {TYPE_IPV6}},
                [SET_RELAY4] = {.name = "relay4", .fields = {TYPE_IPV4, TYPE_PROTO, TYPE_SERVICE}},
                [SET_RELAY6] = {.name = "relay6", .fields = {TYPE_IPV6, TYPE_PROTO, TYPE_SERVICE}},
                [SET_TCP_UDP] = {.name = "tcp_udp", .fields = {TYPE_PROTO}},
                [SET_WITH_PORTS] = {.name = "with_ports", .fields = {TYPE_PROTO}},
                [SET_ATTEMPTS4] = {"attempts4",
                                   {TYPE_UID, TYPE_PROTO, TYPE_IPV4, TYPE_SERVICE},
                                   .dynamic = true},
                [SET_ATTEMPTS6] = {"attempts6",
                                   {TYPE_UID, TYPE_PROTO, TYPE_IPV6, TYPE_SERVICE},
                                   .dynamic = true},
        };

        return &sets[id];
}

size_t rs_set_n_fields(enum rs_set_id id)
{
        const struct rs_set_info *info = rs_set_info(id);
        size_t n = 0;

        while (n < RS_KEY_FIELDS && info->fields[n] != TYPE_NONE)
                n++;
        return n;
}

size_t rs_field_length(enum rs_set_id id, size_t field)
{
        size_t length = rs_type_info(rs_set_info(id)->fields[field])->length;

        return rs_set_n_fields(id) > 1 ? (length + 3) / 4 * 4 : length;
}

size_t rs_key_length(enum rs_set_id id)
{
        size_t length = 0;

        for (size_t i = 0; i < rs_set_n_fields(id); i++)
                length += rs_field_length(id, i);
        return length;
}

size_t rs_element_length(enum rs_set_id id)
{
        return rs_key_length(id) * (rs_set_info(id)->interval ? 2 : 1);
}

struct rs_set rs_set_part(const struct rs_set *s, enum rs_set_id id, size_t from, size_t most)
{
        struct rs_set part = *s;

        from = from < s->n ? from : s->n;
        part.n = s->n - from < most ? s->n - from : most;
        if (from > 0)
                part.elements += from * rs_element_length(id);
        return part;
}

int rs_set_allocate(struct rs_set *s, enum rs_set_id id, size_t n)
{
        uint8_t *elements = NULL;

        if (n > 0) {
                elements = calloc(n, rs_element_length(id));
                if (!elements)
                        return -ENOMEM;
        }
        free(s->elements);
        s->elements = elements;
        s->n = n;
        s->present = true;
        return 0;
}

static int compare_elements(const void *a, const void *b, void *length)
{
        return memcmp(a, b, *(const size_t *)length);
}

void rs_set_sort(struct rs_set *s, enum rs_set_id id)
{
        size_t length = rs_element_length(id);

        if (s->n > 1)
                qsort_r(s->elements, s->n, length, compare_elements, &length);
}

bool rs_set_equal(const struct rs_set *a, const struct rs_set *b, enum rs_set_id id)
{
        return a->present == b->present && a->n == b->n &&
               (a->n == 0 || memcmp(a->elements, b->elements, a->n * rs_element_length(id)) == 0);
}

void rs_set_clear(struct rs_set *s)
{
        free(s->elements);
        *s = (struct rs_set){0};
}

/* The size counts in powers of two with headroom: it stays the same while people come and go, so that most
 * changes of the membership are updates; and the kernel's hash table is never made to grow. */
static uint32_t size_with_headroom(size_t n)
{
        uint32_t size = 64;

        while (size < n + n / 4 + 32)
                size *= 2;
        return size;
}

static int declare(struct ruleset *r, enum rs_set_id id, size_t n)
{
        if (rs_set_info(id)->bounded)
                r->sets[id].size = size_with_headroom(n);
        else if (rs_set_info(id)->dynamic)
                r->sets[id].size = ATTEMPTS_MAX;
        return rs_set_allocate(&r->sets[id], id, n);
}

static void put32(uint8_t *p, uint32_t value)
{
        value = htobe32(value);
        memcpy(p, &value, sizeof(value));
}

static void put16(uint8_t *p, uint16_t value)
{
        value = htobe16(value);
        memcpy(p, &value, sizeof(value));
}

/* One by one: a hash set answers in the same time whatever its size. */
static int put_ids(struct ruleset *r, enum rs_set_id id, const struct idset *ids)
{
        uint64_t count = idset_count(ids);
        uint8_t *p;
        int e;

        if (count > IDS_MAX)
                return -ENOMEM;
        e = declare(r, id, count);
        if (e < 0)
                return e;
        p = r->sets[id].elements;
        for (size_t i = 0; i < ids->n; i++)
                for (uint64_t v = ids->ranges[i].first; v <= ids->ranges[i].last; v++, p += 4)
                        put32(p, (uint32_t)v);
        return 0;
}

static int put_id_ranges(struct ruleset *r, enum rs_set_id id, const struct idset *ids)
{
        int e = declare(r, id, ids->n);
        uint8_t *p = r->sets[id].elements;

        if (e < 0)
                return e;
        for (size_t i = 0; i < ids->n; i++, p += 8) {
                put32(p, ids->ranges[i].first);
                put32(p + 4, ids->ranges[i].last);
        }
        return 0;
}

static void put64(uint8_t *p, uint64_t value)
{
        value = htobe64(value);
        memcpy(p, &value, sizeof(value));
}

static int put_sessions(struct ruleset *r, const struct ruleset_spec *spec)
{
        int e = declare(r, SET_SESSIONS, spec->n_session_cgroups);
        struct rs_set *s = &r->sets[SET_SESSIONS];

        if (e < 0)
                return e;
        for (size_t i = 0; i < s->n; i++)
                put64(s->elements + 8 * i, spec->session_cgroups[i]);
        rs_set_sort(s, SET_SESSIONS);
        return 0;
}

static int put_units(struct ruleset *r, const struct ruleset_spec *spec)
{
        int e = declare(r, SET_UNITS, spec->n_unit_cgroups);
        struct rs_set *s = &r->sets[SET_UNITS];

        if (e < 0)
                return e;
        for (size_t i = 0; i < s->n; i++)
                put64(s->elements + 8 * i, spec->unit_cgroups[i].id);
        rs_set_sort(s, SET_UNITS);
        return 0;
}

static int put_addresses(struct ruleset *r, enum rs_set_id id, const struct addr_set *set)
{
        size_t length = rs_key_length(id);
        int e = declare(r, id, set->n);
        uint8_t *p = r->sets[id].elements;

        if (e < 0)
                return e;
        for (size_t i = 0; i < set->n; i++, p += 2 * length) {
                memcpy(p, set->ranges[i].first, length);
                memcpy(p + length, set->ranges[i].last, length);
        }
        rs_set_sort(&r->sets[id], id);
        return 0;
}

static void put_endpoint(uint8_t *key, size_t addr_length, const uint8_t *addr, uint8_t protocol,
                         uint16_t port)
{
        memcpy(key, addr, addr_length);
        key[addr_length] = protocol;
        put16(key + addr_length + 4, port);
}

static int put_services(struct ruleset *r, enum rs_set_id id, const struct service_set *set)
{
        size_t addr_length = rs_field_length(id, 0), length = rs_key_length(id);
        int e = declare(r, id, set->n);
        uint8_t *p = r->sets[id].elements;

        if (e < 0)
                return e;
        for (size_t i = 0; i < set->n; i++, p += 2 * length) {
                const struct service *s = &set->items[i];

                put_endpoint(p, addr_length, s->addr.first, s->protocol, s->port_first);
                put_endpoint(p + length, addr_length, s->addr.last, s->protocol, s->port_last);
        }
        rs_set_sort(&r->sets[id], id);
        return 0;
}

static int put_loopback_ports(struct ruleset *r, const struct destinations *d)
{
        int e = declare(r, SET_LOOPBACK_PORTS, d->n_loopback_deny);
        uint8_t *p = r->sets[SET_LOOPBACK_PORTS].elements;

        if (e < 0)
                return e;
        for (size_t i = 0; i < d->n_loopback_deny; i++, p += 4) {
                put16(p, d->loopback_deny[i].first);
                put16(p + 2, d->loopback_deny[i].last);
        }
        rs_set_sort(&r->sets[SET_LOOPBACK_PORTS], SET_LOOPBACK_PORTS);
        return 0;
}

static int put_dns(struct ruleset *r, const struct destinations *d)
{
        int e = 0;

        /* No such set with DNS=allow: nothing asks for it, and reading the table back tells the policy by it.
         */
        if (d->dns == DNS_ALLOW)
                return 0;
        e = declare(r, SET_DNS_PORTS, ELEMENTSOF(dns_ports));
        for (size_t i = 0; e == 0 && i < ELEMENTSOF(dns_ports); i++)
                put16(r->sets[SET_DNS_PORTS].elements + 2 * i, dns_ports[i]);
        rs_set_sort(&r->sets[SET_DNS_PORTS], SET_DNS_PORTS);
        if (d->dns != DNS_REDIRECT)
                return e;
        if (e == 0 && d->has_dns4) {
                e = declare(r, SET_DNS4, 1);
                if (e == 0)
                        memcpy(r->sets[SET_DNS4].elements, d->dns4, sizeof(d->dns4));
        }
        if (e == 0 && d->has_dns6) {
                e = declare(r, SET_DNS6, 1);
                if (e == 0)
                        memcpy(r->sets[SET_DNS6].elements, d->dns6, sizeof(d->dns6));
        }
        return e;
}

static int put_relay(struct ruleset *r, enum rs_set_id id, const uint8_t *addr, uint16_t port)
{
        static const uint8_t protocols[] = {IPPROTO_TCP, IPPROTO_UDP};
        int e = declare(r, id, ELEMENTSOF(protocols));

        for (size_t i = 0; e == 0 && i < ELEMENTSOF(protocols); i++)
                put_endpoint(r->sets[id].elements + i * rs_key_length(id), rs_field_length(id, 0), addr,
                             protocols[i], port);
        return e;
}

/* Where the relay listens: no such sets while it does not. */
static int build_relay(struct ruleset *r, const struct ruleset_spec *spec)
{
        static const uint8_t loopback4[4] = {127, 0, 0, 1}, loopback6[16] = {[15] = 1};
        int e;

        if (spec->destinations->dns != DNS_REDIRECT || spec->relay_port == 0)
                return 0;
        e = put_relay(r, SET_RELAY4, loopback4, spec->relay_port);
        return e < 0 ? e : put_relay(r, SET_RELAY6, loopback6, spec->relay_port);
}

static int put_protocols(struct ruleset *r, enum rs_set_id id, const uint8_t *protocols, size_t n)
{
        int e = declare(r, id, n);

        if (e == 0)
                memcpy(r->sets[id].elements, protocols, n);
        return e;
}

/* Every set that an update may have to fill is there from the beginning, empty or not. */
static int build_subjects(struct ruleset *r, const struct ruleset_spec *spec)
{
        const struct subjects *s = spec->subjects;
        int e = put_ids(r, SET_EXCEPT_UIDS, &s->except_uids);

        if (e == 0 && spec->units)
                e = put_units(r, spec);
        if (e == 0 && s->everyone)
                return put_ids(r, SET_EXCEPT_GIDS, &s->except_gids);
        if (e == 0)
                e = put_ids(r, SET_UIDS, &s->uids);
        if (e == 0)
                e = put_id_ranges(r, SET_UID_RANGES, &s->uid_ranges);
        if (e == 0)
                e = put_ids(r, SET_GIDS, &s->gids);
        if (e == 0)
                e = put_id_ranges(r, SET_GID_RANGES, &s->gid_ranges);
        if (e == 0 && s->sessions)
                e = put_sessions(r, spec);
        return e;
}

static int build_destinations(struct ruleset *r, const struct destinations *d)
{
        int e = put_addresses(r, SET_ALLOW4, &d->allow4);

        if (e == 0)
                e = put_addresses(r, SET_ALLOW6, &d->allow6);
        if (e == 0)
                e = put_services(r, SET_ALLOW4_SERVICE, &d->service4);
        if (e == 0)
                e = put_services(r, SET_ALLOW6_SERVICE, &d->service6);
        if (e == 0)
                e = put_loopback_ports(r, d);
        if (e == 0)
                e = put_dns(r, d);
        return e;
}

int ruleset_build_sets(struct ruleset *r, const struct ruleset_spec *spec)
{
        static const uint8_t tcp_udp[] = {IPPROTO_TCP, IPPROTO_UDP};
        static const uint8_t with_ports[] = {IPPROTO_TCP, IPPROTO_UDP, IPPROTO_DCCP, IPPROTO_SCTP,
                                             IPPROTO_UDPLITE};
        int e = build_subjects(r, spec);

        if (e == 0)
                e = build_destinations(r, spec->destinations);
        if (e == 0)
                e = build_relay(r, spec);
        if (e == 0)
                e = put_protocols(r, SET_TCP_UDP, tcp_udp, ELEMENTSOF(tcp_udp));
        if (e == 0)
                e = put_protocols(r, SET_WITH_PORTS, with_ports, ELEMENTSOF(with_ports));
        if (e == 0)
                e = declare(r, SET_ATTEMPTS4, 0);
        if (e == 0)
                e = declare(r, SET_ATTEMPTS6, 0);
        return e;
}
