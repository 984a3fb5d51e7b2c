// SPDX-License-Identifier: GPL-2.0-or-later
#include "nft-internal.h"
#include <endian.h>
#include <errno.h>
#include <string.h>

static uint32_t get32(const uint8_t *p)
{
        uint32_t value;

        memcpy(&value, p, sizeof(value));
        return be32toh(value);
}

static uint16_t get16(const uint8_t *p)
{
        uint16_t value;

        memcpy(&value, p, sizeof(value));
        return be16toh(value);
}

/* Reads a set that may be missing; PRESENT says whether it is there. */
static int read_optional(struct nft *n, const char *table, enum rs_set_id id, struct rs_set *ret)
{
        int r = nft_read_set(n, NFPROTO_INET, table, id, ret);

        return r == -ENOENT ? 0 : r;
}

static int read_ids(struct nft *n, const char *table, enum rs_set_id id, struct idset *ret)
{
        _cleanup_rs_set_ struct rs_set s = {0};
        size_t step = rs_element_length(id), to_last = step - rs_key_length(id);
        int r = read_optional(n, table, id, &s);

        for (size_t i = 0; r == 0 && i < s.n; i++)
                r = idset_append(ret, get32(s.elements + i * step), get32(s.elements + i * step + to_last));
        if (r == 0)
                idset_normalize(ret);
        return r;
}

static int is_present(struct nft *n, const char *table, enum rs_set_id id, bool *ret)
{
        _cleanup_rs_set_ struct rs_set s = {0};
        int r = read_optional(n, table, id, &s);

        if (r == 0)
                *ret = s.present;
        return r;
}

static int read_subjects(struct nft *n, const char *table, struct subjects *s)
{
        const struct {
                enum rs_set_id id;
                struct idset *ids;
        } sets[] = {{SET_UIDS, &s->uids},
                    {SET_UID_RANGES, &s->uid_ranges},
                    {SET_GIDS, &s->gids},
                    {SET_GID_RANGES, &s->gid_ranges},
                    {SET_EXCEPT_UIDS, &s->except_uids},
                    {SET_EXCEPT_GIDS, &s->except_gids}};
        int r = 0;

        for (size_t i = 0; r == 0 && i < ELEMENTSOF(sets); i++)
                r = read_ids(n, table, sets[i].id, sets[i].ids);
        /* Only the inverted match asks for these groups. */
        if (r == 0)
                r = is_present(n, table, SET_EXCEPT_GIDS, &s->everyone);
        if (r == 0)
                r = is_present(n, table, SET_SESSIONS, &s->sessions);
        return r;
}

static int read_addresses(struct nft *n, const char *table, enum rs_set_id id, struct addr_set *ret)
{
        _cleanup_rs_set_ struct rs_set s = {0};
        size_t length = rs_key_length(id);
        int r = read_optional(n, table, id, &s);

        if (r < 0 || s.n == 0)
                return r;
        ret->ranges = calloc(s.n, sizeof(*ret->ranges));
        if (!ret->ranges)
                return -ENOMEM;
        for (; ret->n < s.n; ret->n++) {
                const uint8_t *element = s.elements + ret->n * 2 * length;

                memcpy(ret->ranges[ret->n].first, element, length);
                memcpy(ret->ranges[ret->n].last, element + length, length);
        }
        return 0;
}

static int read_services(struct nft *n, const char *table, enum rs_set_id id, struct service_set *ret)
{
        _cleanup_rs_set_ struct rs_set s = {0};
        size_t address = rs_field_length(id, 0), length = rs_key_length(id);
        int r = read_optional(n, table, id, &s);

        if (r < 0 || s.n == 0)
                return r;
        ret->items = calloc(s.n, sizeof(*ret->items));
        if (!ret->items)
                return -ENOMEM;
        for (; ret->n < s.n; ret->n++) {
                const uint8_t *first = s.elements + ret->n * 2 * length, *last = first + length;
                struct service *to = &ret->items[ret->n];

                memcpy(to->addr.first, first, address);
                memcpy(to->addr.last, last, address);
                to->protocol = first[address];
                to->port_first = get16(first + address + 4);
                to->port_last = get16(last + address + 4);
        }
        return 0;
}

static int read_loopback_ports(struct nft *n, const char *table, struct destinations *d)
{
        _cleanup_rs_set_ struct rs_set s = {0};
        int r = read_optional(n, table, SET_LOOPBACK_PORTS, &s);

        if (r < 0 || s.n == 0)
                return r;
        d->loopback_deny = calloc(s.n, sizeof(*d->loopback_deny));
        if (!d->loopback_deny)
                return -ENOMEM;
        for (; d->n_loopback_deny < s.n; d->n_loopback_deny++)
                d->loopback_deny[d->n_loopback_deny] =
                        (struct port_range){get16(s.elements + d->n_loopback_deny * 4),
                                            get16(s.elements + d->n_loopback_deny * 4 + 2)};
        return 0;
}

/* The policy is known by which of its sets are there. */
static int read_dns(struct nft *n, const char *table, struct destinations *d)
{
        _cleanup_rs_set_ struct rs_set s4 = {0}, s6 = {0};
        bool ports = false;
        int r = is_present(n, table, SET_DNS_PORTS, &ports);

        if (r == 0)
                r = read_optional(n, table, SET_DNS4, &s4);
        if (r == 0)
                r = read_optional(n, table, SET_DNS6, &s6);
        if (r < 0)
                return r;
        d->dns = !ports ? DNS_ALLOW : s4.present || s6.present ? DNS_REDIRECT : DNS_DENY;
        d->has_dns4 = s4.n > 0;
        d->has_dns6 = s6.n > 0;
        if (d->has_dns4)
                memcpy(d->dns4, s4.elements, sizeof(d->dns4));
        if (d->has_dns6)
                memcpy(d->dns6, s6.elements, sizeof(d->dns6));
        return 0;
}

int nft_read_relay_port(struct nft *n, const char *name, uint16_t *ret)
{
        _cleanup_free_ char *table = nft_table_name(name);
        _cleanup_rs_set_ struct rs_set s = {0};
        int r = table ? nft_read_set(n, NFPROTO_INET, table, SET_RELAY4, &s) : -ENOMEM;

        if (r < 0)
                return r;
        if (s.n == 0)
                return -ENOENT;
        *ret = get16(s.elements + rs_field_length(SET_RELAY4, 0) + rs_field_length(SET_RELAY4, 1));
        return 0;
}

static int read_destinations(struct nft *n, const char *table, struct destinations *d)
{
        int r = read_addresses(n, table, SET_ALLOW4, &d->allow4);

        if (r == 0)
                r = read_addresses(n, table, SET_ALLOW6, &d->allow6);
        if (r == 0)
                r = read_services(n, table, SET_ALLOW4_SERVICE, &d->service4);
        if (r == 0)
                r = read_services(n, table, SET_ALLOW6_SERVICE, &d->service6);
        if (r == 0)
                r = read_loopback_ports(n, table, d);
        if (r == 0)
                r = read_dns(n, table, d);
        return r;
}

int nft_read_units(struct nft *n, const char *name, uint64_t **ret, size_t *ret_n)
{
        _cleanup_free_ char *table = nft_table_name(name);
        _cleanup_rs_set_ struct rs_set s = {0};
        uint64_t *ids;
        int r = table ? read_optional(n, table, SET_UNITS, &s) : -ENOMEM;

        if (r < 0)
                return r;
        ids = calloc(s.n + 1, sizeof(*ids));
        if (!ids)
                return -ENOMEM;
        for (size_t i = 0; i < s.n; i++) {
                memcpy(&ids[i], s.elements + i * sizeof(*ids), sizeof(*ids));
                ids[i] = be64toh(ids[i]);
        }
        *ret = ids;
        *ret_n = s.n;
        return 0;
}

static bool has_chain(const struct nft_chain_list *chains, enum rs_chain_id id)
{
        for (size_t i = 0; i < chains->n; i++)
                if (strcmp(chains->items[i].name, rs_chain_info(id)->name) == 0)
                        return true;
        return false;
}

int nft_read_back(struct nft *n, const char *name, struct subjects *ret_subjects,
                  struct destinations *ret_destinations, bool *ret_forward_deny)
{
        _cleanup_free_ char *table = nft_table_name(name);
        _cleanup_chain_list_ struct nft_chain_list chains = {0};
        _cleanup_subjects_ struct subjects subjects = {0};
        struct destinations destinations = {0};
        struct nft_table_state state;
        int r;

        if (!table)
                return -ENOMEM;
        r = nft_table_state(n, NFPROTO_INET, table, &state);
        if (r == 0 && !state.exists)
                r = -ENOENT;
        if (r == 0)
                r = nft_read_chains(n, table, &chains);
        if (r == 0)
                r = read_subjects(n, table, &subjects);
        if (r == 0)
                r = read_destinations(n, table, &destinations);
        if (r < 0) {
                destinations_clear(&destinations);
                return r;
        }
        *ret_subjects = subjects;
        subjects = (struct subjects){0};
        *ret_destinations = destinations;
        *ret_forward_deny = has_chain(&chains, CHAIN_FORWARDED);
        return 0;
}
