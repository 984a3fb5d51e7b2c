/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "manager-internal.h"

#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <systemd/sd-id128.h>

/* A table in force whose order is lost: rebuilt as an order from what the kernel holds. */

static int add_numbers(struct words *to, const struct idset *ids)
{
        struct idset_iterator it = {0};
        uint32_t id;
        int r = 0;

        while (r >= 0 && idset_next(ids, &it, &id)) {
                char text[16];

                (void)snprintf(text, sizeof(text), "%" PRIu32, id);
                r = words_add(to, text, NULL, 0);
        }
        return r;
}

/* ---- an address range as prefixes ---- */

static bool bit(const uint8_t *addr, unsigned i)
{
        return addr[i / 8] & (0x80u >> (i % 8));
}

static void fill(uint8_t *addr, unsigned from, unsigned bits, bool ones)
{
        for (unsigned i = from; i < bits; i++)
                if (ones)
                        addr[i / 8] = (uint8_t)(addr[i / 8] | (0x80u >> (i % 8)));
                else
                        addr[i / 8] = (uint8_t)(addr[i / 8] & ~(0x80u >> (i % 8)));
}

/* The length of the largest prefix that begins at FIRST and does not reach beyond LAST. */
static unsigned largest_prefix(const uint8_t *first, const uint8_t *last, unsigned bits)
{
        unsigned length = bits;

        while (length > 0 && !bit(first, length - 1)) {
                uint8_t end[16];

                memcpy(end, first, sizeof(end));
                fill(end, length - 1, bits, true);
                if (memcmp(end, last, bits / 8) > 0)
                        break;
                length--;
        }
        return length;
}

/* addr + 1; false if it wraps around. */
static bool increment(uint8_t *addr, unsigned bits)
{
        for (unsigned i = bits / 8; i-- > 0;)
                if (++addr[i] != 0)
                        return true;
        return false;
}

static int add_prefixes(struct words *allow, const struct addr_range *range, int family)
{
        unsigned bits = family == AF_INET ? 32 : 128;
        uint8_t first[16];

        memcpy(first, range->first, sizeof(first));
        for (;;) {
                unsigned length = largest_prefix(first, range->last, bits);
                char addr[INET6_ADDRSTRLEN], text[INET6_ADDRSTRLEN + 8];
                int r;

                if (!inet_ntop(family, first, addr, sizeof(addr)))
                        return -errno;
                (void)snprintf(text, sizeof(text), "%s/%u", addr, length);
                r = words_add(allow, text, NULL, 0);
                if (r < 0)
                        return r;
                fill(first, length, bits, true);
                if (memcmp(first, range->last, bits / 8) >= 0 || !increment(first, bits))
                        return 0;
        }
}

static int add_services(struct words *allow, const struct service_set *services, int family)
{
        int r = 0;

        for (size_t i = 0; i < services->n && r >= 0; i++) {
                const struct service *s = &services->items[i];
                _cleanup_words_ struct words prefixes = {0};

                r = add_prefixes(&prefixes, &s->addr, family);
                for (size_t j = 0; j < prefixes.n && r >= 0; j++) {
                        char text[96];

                        (void)snprintf(text, sizeof(text),
                                       family == AF_INET6 ? "[%s]:%u-%u/%s" : "%s:%u-%u/%s",
                                       prefixes.items[j].text, s->port_first, s->port_last,
                                       s->protocol == IPPROTO_TCP ? "tcp" : "udp");
                        r = words_add(allow, text, NULL, 0);
                }
        }
        return r;
}

static int describe_destinations(struct profile *p, const struct destinations *d)
{
        char dns[2 * INET6_ADDRSTRLEN + 2] = "", addr[INET6_ADDRSTRLEN];
        int r = 0;

        for (size_t i = 0; i < d->allow4.n && r >= 0; i++)
                r = add_prefixes(&p->allow, &d->allow4.ranges[i], AF_INET);
        for (size_t i = 0; i < d->allow6.n && r >= 0; i++)
                r = add_prefixes(&p->allow, &d->allow6.ranges[i], AF_INET6);
        if (r >= 0)
                r = add_services(&p->allow, &d->service4, AF_INET);
        if (r >= 0)
                r = add_services(&p->allow, &d->service6, AF_INET6);
        if (r >= 0 && p->allow.n == 0)
                r = words_add(&p->allow, "none", NULL, 0);
        words_clear(&p->loopback_deny);
        for (size_t i = 0; i < d->n_loopback_deny && r >= 0; i++) {
                char text[16];

                (void)snprintf(text, sizeof(text), "%u-%u", d->loopback_deny[i].first,
                               d->loopback_deny[i].last);
                r = words_add(&p->loopback_deny, text, NULL, 0);
        }
        if (r < 0)
                return r;
        if (d->dns == DNS_REDIRECT) {
                if (d->has_dns4 && inet_ntop(AF_INET, d->dns4, addr, sizeof(addr)))
                        strcat(dns, addr);
                if (d->has_dns4 && d->has_dns6)
                        strcat(dns, " ");
                if (d->has_dns6 && inet_ntop(AF_INET6, d->dns6, addr, sizeof(addr)))
                        strcat(dns, addr);
        }
        p->dns = strdup(d->dns == DNS_ALLOW ? "allow" : d->dns == DNS_DENY ? "deny" : dns);
        return p->dns ? 0 : -ENOMEM;
}

/* A plan that says in words what the table does. */
int recovered_profile(struct manager *m, const char *name, struct profile **ret)
{
        _cleanup_(profile_freep) struct profile *p = profile_new(name);
        _cleanup_subjects_ struct subjects s = {0};
        _cleanup_problems_ struct problems problems = {0};
        struct destinations d = {0};
        int r = p ? nft_read_back(m->nft, name, &s, &d, &p->forward_deny) : -ENOMEM;

        if (r < 0)
                return r;
        p->everyone = s.everyone;
        p->sessions = s.sessions;
        p->include_root = idset_contains(&s.uids, 0);
        if (s.everyone)
                r = add_numbers(&p->except_users, &s.except_uids);
        else {
                r = add_numbers(&p->users, &s.uids);
                if (r >= 0)
                        r = add_numbers(&p->groups, &s.gids);
        }
        if (r >= 0)
                r = describe_destinations(p, &d);
        destinations_clear(&d);
        if (r >= 0)
                r = profile_finish(p, &problems);
        if (r < 0) {
                for (size_t i = 0; i < problems.n; i++)
                        audit_log(LOG_ERR, "%s: %s", name, problems.items[i]);
                return r;
        }
        *ret = TAKE_PTR(p);
        return 0;
}

int recovered_order_new(struct profile *p, bool configured, const char *id, struct order **ret)
{
        sd_id128_t new_id;
        struct order *o;
        struct now now;
        char text[33];
        int r = 0;

        /* an id that is none, or damaged, is replaced */
        if (sd_id128_from_string(id, &new_id) < 0)
                r = sd_id128_randomize(&new_id);
        if (r < 0)
                return r;
        clock_now(&now);
        o = order_new(p, sd_id128_to_string(new_id, text), &now);
        if (!o)
                return -ENOMEM;
        o->recovered = true;
        o->adhoc = !configured; /* then it goes by what the table does */
        o->reason = strdup("found in force without a saved order");
        *ret = o;
        return 0;
}
