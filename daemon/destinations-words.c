/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "cleanup.h"
#include "destinations-internal.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

/* The largest network that begins with FIRST and ends at LAST or before: the length of its prefix. */
static unsigned longest_step(int family, const uint8_t *first, const uint8_t *last)
{
        unsigned length = 8 * (unsigned)addr_size(family);

        while (length > 0) {
                struct addr_range wider = addr_range_from_prefix(family, first, length - 1);

                if (memcmp(wider.first, first, sizeof(wider.first)) != 0 ||
                    memcmp(wider.last, last, sizeof(wider.last)) > 0)
                        break;
                length--;
        }
        return length;
}

/* The address behind ADDR. False if ADDR is the last one. */
static bool next_addr(int family, uint8_t *addr)
{
        for (size_t i = addr_size(family); i-- > 0;)
                if (++addr[i] != 0)
                        return true;
        return false;
}

/* Adds a word for every prefix that RANGE consists of. S: the ports and protocol behind it, or NULL. */
static int add_range(struct words *words, int family, const struct addr_range *range, const struct service *s)
{
        struct addr_range step = *range;
        unsigned full = 8 * (unsigned)addr_size(family);
        bool brackets = s && family == AF_INET6;
        int r;

        do {
                unsigned length = longest_step(family, step.first, range->last);
                char addr[INET6_ADDRSTRLEN] = "", prefix[16] = "", ports[24] = "", word[96];

                inet_ntop(family, step.first, addr, sizeof(addr));
                if (length < full)
                        snprintf(prefix, sizeof(prefix), "/%u", length);
                if (s && s->port_first == s->port_last)
                        snprintf(ports, sizeof(ports), ":%u/%s", s->port_first,
                                 s->protocol == IPPROTO_TCP ? "tcp" : "udp");
                else if (s)
                        snprintf(ports, sizeof(ports), ":%u-%u/%s", s->port_first, s->port_last,
                                 s->protocol == IPPROTO_TCP ? "tcp" : "udp");
                snprintf(word, sizeof(word), "%s%s%s%s%s", brackets ? "[" : "", addr, prefix,
                         brackets ? "]" : "", ports);
                r = words_add(words, word, NULL, 0);
                if (r < 0)
                        return r;
                step = addr_range_from_prefix(family, step.first, length);
                memcpy(step.first, step.last, sizeof(step.first));
        } while (next_addr(family, step.first) && memcmp(step.first, range->last, sizeof(step.first)) <= 0);
        return 0;
}

static int add_family(struct words *words, int family, const struct addr_set *allow,
                      const struct service_set *services)
{
        int r = 0;

        for (size_t i = 0; r >= 0 && i < allow->n; i++)
                r = add_range(words, family, &allow->ranges[i], NULL);
        for (size_t i = 0; r >= 0 && i < services->n; i++)
                r = add_range(words, family, &services->items[i].addr, &services->items[i]);
        return r;
}

static char *dns_text(const struct destinations *d)
{
        char v4[INET_ADDRSTRLEN] = "", v6[INET6_ADDRSTRLEN] = "";
        char *text;

        if (d->dns != DNS_REDIRECT || (!d->has_dns4 && !d->has_dns6))
                return strdup(d->dns == DNS_ALLOW ? "allow" : "deny");
        if (d->has_dns4)
                inet_ntop(AF_INET, d->dns4, v4, sizeof(v4));
        if (d->has_dns6)
                inet_ntop(AF_INET6, d->dns6, v6, sizeof(v6));
        return asprintf(&text, "%s%s%s", v4, *v4 && *v6 ? " " : "", v6) < 0 ? NULL : text;
}

static int add_loopback(struct words *words, const struct destinations *d)
{
        for (size_t i = 0; i < d->n_loopback_deny; i++) {
                const struct port_range *p = &d->loopback_deny[i];
                char word[24];
                int r;

                if (p->first == p->last)
                        snprintf(word, sizeof(word), "%u", p->first);
                else
                        snprintf(word, sizeof(word), "%u-%u", p->first, p->last);
                r = words_add(words, word, NULL, 0);
                if (r < 0)
                        return r;
        }
        return 0;
}

int destinations_to_words(const struct destinations *d, struct words *ret_allow, char **ret_dns,
                          struct words *ret_loopback_deny)
{
        _cleanup_words_ struct words allow = {}, loopback = {};
        _cleanup_free_ char *dns = dns_text(d);
        int r = dns ? 0 : -ENOMEM;

        if (r >= 0)
                r = add_family(&allow, AF_INET, &d->allow4, &d->service4);
        if (r >= 0)
                r = add_family(&allow, AF_INET6, &d->allow6, &d->service6);
        if (r >= 0 && allow.n == 0)
                r = words_add(&allow, "none", NULL, 0);
        if (r >= 0)
                r = add_loopback(&loopback, d);
        if (r < 0)
                return r;
        *ret_allow = allow;
        *ret_loopback_deny = loopback;
        *ret_dns = TAKE_PTR(dns);
        allow = loopback = (struct words){};
        return 0;
}
