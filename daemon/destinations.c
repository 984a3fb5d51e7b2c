/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "destinations.h"

#include "cleanup.h"
#include "destinations-internal.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>

const uint16_t dns_ports[4] = {53, 853, 5353, 5355};

/* Endpoints of one family in one profile, and the pieces they may fall into. The sets are made disjoint in
 * quadratic time, and nobody lists more by hand. */
#define SERVICES_MAX 4096
#define SERVICE_PIECES_MAX 8192

size_t addr_size(int family)
{
        return family == AF_INET ? 4 : 16;
}

static int addr_cmp(const uint8_t *a, const uint8_t *b)
{
        return memcmp(a, b, 16);
}

struct addr_range addr_range_from_prefix(int family, const uint8_t *addr, unsigned length)
{
        struct addr_range r = {};

        for (size_t i = 0; i < addr_size(family); i++) {
                unsigned bits = length >= 8 * (i + 1) ? 8 : length > 8 * i ? length - 8 * (unsigned)i : 0;
                uint8_t mask = (uint8_t)(0xff00 >> bits);

                r.first[i] = addr[i] & mask;
                r.last[i] = addr[i] | (uint8_t)~mask;
        }
        return r;
}

/* Makes room for one more behind N. No capacity is kept: a set that was copied or read back can be added to,
 * too. */
static void *grow(void *items, size_t n, size_t size)
{
        return reallocarray(items, n + 1, size);
}

int addr_set_add(struct addr_set *s, const struct addr_range *range)
{
        struct addr_range *grown = grow(s->ranges, s->n, sizeof(*grown));

        if (!grown)
                return -ENOMEM;
        s->ranges = grown;
        s->ranges[s->n++] = *range;
        return 0;
}

int service_set_add(struct service_set *s, const struct service *service)
{
        struct service *grown = grow(s->items, s->n, sizeof(*grown));

        if (!grown)
                return -ENOMEM;
        s->items = grown;
        s->items[s->n++] = *service;
        return 0;
}

int port_range_add(struct port_range **items, size_t *n, struct port_range range)
{
        struct port_range *grown = grow(*items, *n, sizeof(*grown));

        if (!grown)
                return -ENOMEM;
        *items = grown;
        grown[(*n)++] = range;
        return 0;
}

static int range_cmp(const void *a, const void *b)
{
        return addr_cmp(((const struct addr_range *)a)->first, ((const struct addr_range *)b)->first);
}

/* Is B the address right behind A? */
static bool addr_follows(const uint8_t *a, const uint8_t *b, size_t size)
{
        uint8_t next[16];

        memcpy(next, a, sizeof(next));
        for (size_t i = size; i-- > 0;)
                if (++next[i] != 0)
                        return addr_cmp(next, b) == 0;
        return false; /* A is the last of all */
}

static void addr_set_normalize(struct addr_set *s, size_t size)
{
        size_t kept = 0;

        if (s->n > 1)
                qsort(s->ranges, s->n, sizeof(*s->ranges), range_cmp);
        for (size_t i = 0; i < s->n; i++) {
                struct addr_range *last = kept ? &s->ranges[kept - 1] : NULL, *r = &s->ranges[i];

                if (!last ||
                    (addr_cmp(r->first, last->last) > 0 && !addr_follows(last->last, r->first, size)))
                        s->ranges[kept++] = *r;
                else if (addr_cmp(r->last, last->last) > 0)
                        memcpy(last->last, r->last, sizeof(last->last));
        }
        s->n = kept;
}

static void addr_set_clear(struct addr_set *s)
{
        free(s->ranges);
        *s = (struct addr_set){};
}

static int addr_set_copy(const struct addr_set *from, struct addr_set *ret)
{
        struct addr_range *copy = NULL;

        if (from->n > 0) {
                copy = reallocarray(NULL, from->n, sizeof(*copy));
                if (!copy)
                        return -ENOMEM;
                memcpy(copy, from->ranges, from->n * sizeof(*copy));
        }
        *ret = (struct addr_set){.ranges = copy, .n = from->n};
        return 0;
}

/* Networks nobody reaches over the internet. */
static const struct reserved {
        int family;
        uint8_t first_byte, second_byte;
        unsigned length;
} reserved[] = {
        {AF_INET, 0, 0, 8},     {AF_INET, 10, 0, 8},     {AF_INET, 127, 0, 8}, {AF_INET, 169, 254, 16},
        {AF_INET, 172, 16, 12}, {AF_INET, 192, 168, 16}, {AF_INET, 224, 0, 3}, {AF_INET6, 0, 0, 3},
        {AF_INET6, 0x40, 0, 2}, {AF_INET6, 0x80, 0, 1},
};

/* The first address that is not reserved: without it the internet is not covered, which tells nearly always.
 */
static bool has_first_of_internet(const struct addr_set *s, int family)
{
        const uint8_t first[16] = {family == AF_INET ? 1 : 0x20};

        for (size_t i = 0; i < s->n; i++)
                if (addr_cmp(s->ranges[i].first, first) <= 0 && addr_cmp(first, s->ranges[i].last) <= 0)
                        return true;
        return false;
}

int addr_set_covers_internet(const struct addr_set *s, int family)
{
        _cleanup_(addr_set_clear) struct addr_set all = {};
        const struct addr_range everything = addr_range_from_prefix(family, (uint8_t[16]){}, 0);
        int r;

        if (!has_first_of_internet(s, family))
                return 0;
        r = addr_set_copy(s, &all);
        for (size_t i = 0; r >= 0 && i < ELEMENTSOF(reserved); i++) {
                const struct reserved *n = &reserved[i];
                struct addr_range range;

                if (n->family != family)
                        continue;
                range = addr_range_from_prefix(family, (uint8_t[16]){n->first_byte, n->second_byte},
                                               n->length);
                r = addr_set_add(&all, &range);
        }
        if (r < 0)
                return r;
        addr_set_normalize(&all, addr_size(family));
        return memcmp(&all.ranges[0], &everything, sizeof(everything)) == 0;
}

static bool service_has(const struct service *s, uint8_t protocol, uint16_t port)
{
        return s->protocol == protocol && s->port_first <= port && port <= s->port_last;
}

/* Is one port open towards the whole internet, by the networks and the endpoints together? With a NULL PORT
 * all endpoints count, whatever their port: what that denies, no single port can have. */
static int port_covers_internet(const struct addr_set *allow, const struct service_set *services,
                                const struct service *port, int family)
{
        _cleanup_(addr_set_clear) struct addr_set open = {};
        int r = addr_set_copy(allow, &open);

        for (size_t i = 0; r >= 0 && i < services->n; i++)
                if (!port || service_has(&services->items[i], port->protocol, port->port_first))
                        r = addr_set_add(&open, &services->items[i].addr);
        return r < 0 ? r : addr_set_covers_internet(&open, family);
}

static int services_cover_internet(const struct addr_set *allow, const struct service_set *services,
                                   int family)
{
        int r = port_covers_internet(allow, services, NULL, family);

        if (r <= 0)
                return r;
        /* Where ports overlap, the overlap begins with the first port of one of them. */
        for (size_t i = 0; i < services->n; i++) {
                r = port_covers_internet(allow, services, &services->items[i], family);
                if (r != 0)
                        return r;
        }
        return 0;
}

/* Containing networks before those they contain; then by protocol and ports. */
static int service_cmp(const void *left, const void *right)
{
        const struct service *a = left, *b = right;
        int r = addr_cmp(a->addr.first, b->addr.first);

        if (r == 0)
                r = addr_cmp(b->addr.last, a->addr.last);
        if (r == 0)
                r = a->protocol - b->protocol;
        if (r == 0)
                r = a->port_first - b->port_first;
        return r ? r : a->port_last - b->port_last;
}

static bool service_addrs_overlap(const struct service *a, const struct service *b)
{
        return addr_cmp(a->addr.first, b->addr.last) <= 0 && addr_cmp(b->addr.first, a->addr.last) <= 0;
}

/* From PORT on: up to which port is SERVICE's address, as far as DONE is concerned, all taken (*RET_TAKEN) or
 * all free? */
static unsigned span_end(const struct service_set *done, const struct service *service, unsigned port,
                         bool *ret_taken)
{
        unsigned end = service->port_last;

        *ret_taken = false;
        for (size_t i = 0; i < done->n; i++) {
                const struct service *d = &done->items[i];

                if (d->protocol != service->protocol || d->port_last < port ||
                    !service_addrs_overlap(d, service))
                        continue;
                if (d->port_first <= port) {
                        *ret_taken = true;
                        return d->port_last < service->port_last ? d->port_last : service->port_last;
                }
                if (d->port_first <= end)
                        end = d->port_first - 1U;
        }
        return end;
}

/* Adds what SERVICE has beyond DONE. Every address here is a prefix, and containing ones came first: where
 * two overlap, the earlier one has all addresses of the later one, so only ports are left to be cut off. */
static int add_remainder(struct service_set *done, const struct service *service)
{
        unsigned end;

        for (unsigned port = service->port_first; port <= service->port_last; port = end + 1) {
                struct service piece = *service;
                bool taken;
                int r;

                end = span_end(done, service, port, &taken);
                if (taken)
                        continue;
                if (done->n >= SERVICE_PIECES_MAX)
                        return -E2BIG;
                piece.port_first = (uint16_t)port;
                piece.port_last = (uint16_t)end;
                r = service_set_add(done, &piece);
                if (r < 0)
                        return r;
        }
        return 0;
}

/* 80-85 and 86-90 of the same address and protocol become 80-90. S is sorted. */
static void join_adjacent_ports(struct service_set *s)
{
        size_t kept = 0;

        for (size_t i = 0; i < s->n; i++) {
                struct service *last = kept ? &s->items[kept - 1] : NULL, *item = &s->items[i];

                if (last && memcmp(&last->addr, &item->addr, sizeof(item->addr)) == 0 &&
                    last->protocol == item->protocol && last->port_last + 1 == item->port_first)
                        last->port_last = item->port_last;
                else
                        s->items[kept++] = *item;
        }
        s->n = kept;
}

static void service_set_clear(struct service_set *s)
{
        free(s->items);
        *s = (struct service_set){};
}

/* The kernel's sets for ranges of address . protocol . port take no two elements that overlap. */
static int service_set_normalize(struct service_set *s)
{
        _cleanup_(service_set_clear) struct service_set done = {};

        if (s->n > SERVICES_MAX)
                return -E2BIG;
        if (s->n > 1)
                qsort(s->items, s->n, sizeof(*s->items), service_cmp);
        for (size_t i = 0; i < s->n; i++) {
                int r = add_remainder(&done, &s->items[i]);

                if (r < 0)
                        return r;
        }
        if (done.n > 1)
                qsort(done.items, done.n, sizeof(*done.items), service_cmp);
        join_adjacent_ports(&done);
        service_set_clear(s);
        *s = done;
        done = (struct service_set){};
        return 0;
}

static int port_range_cmp(const void *a, const void *b)
{
        return ((const struct port_range *)a)->first - ((const struct port_range *)b)->first;
}

static void loopback_normalize(struct destinations *d)
{
        size_t kept = 0;

        if (d->n_loopback_deny > 1)
                qsort(d->loopback_deny, d->n_loopback_deny, sizeof(*d->loopback_deny), port_range_cmp);
        for (size_t i = 0; i < d->n_loopback_deny; i++) {
                struct port_range *last = kept ? &d->loopback_deny[kept - 1] : NULL,
                                  *r = &d->loopback_deny[i];

                if (!last || r->first > last->last + 1)
                        d->loopback_deny[kept++] = *r;
                else if (r->last > last->last)
                        last->last = r->last;
        }
        d->n_loopback_deny = kept;
}

static int say(char **ret_problem, int error, const char *sentence)
{
        if (ret_problem)
                *ret_problem = strdup(sentence);
        return ret_problem && !*ret_problem ? -ENOMEM : error;
}

static int finish_family(struct addr_set *allow, struct service_set *services, int family, char **ret_problem)
{
        int r;

        addr_set_normalize(allow, addr_size(family));
        r = addr_set_covers_internet(allow, family);
        if (r > 0)
                return say(
                        ret_problem, -EINVAL,
                        family == AF_INET
                                ? "Allow= adds up to the whole IPv4 internet, as 0.0.0.0/0 would; name the "
                                  "networks that are to stay reachable"
                                : "Allow= adds up to the whole IPv6 internet, as ::/0 would; name the "
                                  "networks that are to stay reachable");
        if (r < 0)
                return r;

        r = service_set_normalize(services);
        if (r == -E2BIG)
                return say(ret_problem, -EINVAL,
                           "Allow= has too many endpoints (at most 4096 a family); allow networks instead");
        if (r >= 0)
                r = services_cover_internet(allow, services, family);
        if (r > 0)
                return say(ret_problem, -EINVAL,
                           family == AF_INET
                                   ? "Allow= opens a port towards the whole IPv4 internet; name the networks "
                                     "that are to stay reachable"
                                   : "Allow= opens a port towards the whole IPv6 internet; name the networks "
                                     "that are to stay reachable");
        return r;
}

int destinations_finish(struct destinations *d, char **ret_problem)
{
        int r;

        loopback_normalize(d);
        r = finish_family(&d->allow4, &d->service4, AF_INET, ret_problem);
        if (r < 0)
                return r;
        return finish_family(&d->allow6, &d->service6, AF_INET6, ret_problem);
}

static bool in_range(const struct addr_range *range, const uint8_t *addr)
{
        return addr_cmp(range->first, addr) <= 0 && addr_cmp(addr, range->last) <= 0;
}

static bool in_set(const struct addr_set *s, const uint8_t *addr)
{
        for (size_t i = 0; i < s->n; i++)
                if (in_range(&s->ranges[i], addr))
                        return true;
        return false;
}

static bool in_services(const struct service_set *s, const uint8_t *addr, const struct endpoint *e)
{
        for (size_t i = 0; i < s->n; i++)
                if (in_range(&s->items[i].addr, addr) && service_has(&s->items[i], e->protocol, e->port))
                        return true;
        return false;
}

bool destinations_has_endpoints_of(const struct destinations *d, const struct endpoint *e)
{
        const struct service_set *s = e->family == AF_INET ? &d->service4 : &d->service6;

        for (size_t i = 0; i < s->n; i++)
                if (in_range(&s->items[i].addr, e->addr))
                        return true;
        return false;
}

static bool has_ports(const struct endpoint *e)
{
        return e->protocol == IPPROTO_TCP || e->protocol == IPPROTO_UDP;
}

static bool is_dns(const struct endpoint *e)
{
        for (size_t i = 0; i < ELEMENTSOF(dns_ports); i++)
                if (has_ports(e) && e->port == dns_ports[i])
                        return true;
        return false;
}

static bool is_denied_on_loopback(const struct destinations *d, const struct endpoint *e)
{
        for (size_t i = 0; i < d->n_loopback_deny; i++)
                if (has_ports(e) && d->loopback_deny[i].first <= e->port &&
                    e->port <= d->loopback_deny[i].last)
                        return true;
        return false;
}

/* Only port 53 can be sent elsewhere: what speaks TLS on 853 would notice. */
static enum judgement judge_resolver_port(const struct destinations *d, const struct endpoint *e)
{
        return d->dns == DNS_REDIRECT && e->port == 53 ? JUDGE_DNS_REDIRECTED : JUDGE_DNS;
}

static enum judgement judge_local(const struct destinations *d, const struct endpoint *e)
{
        if (is_denied_on_loopback(d, e))
                return JUDGE_LOOPBACK_PORT;
        if (!is_dns(e) || d->dns == DNS_ALLOW)
                return JUDGE_LOCAL;
        return judge_resolver_port(d, e);
}

enum judgement destinations_judge(const struct destinations *d, const struct endpoint *e)
{
        static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
        uint8_t addr[16] = {};
        bool v4 = e->family == AF_INET;

        memcpy(addr, e->addr, addr_size(e->family));
        if (!v4 && memcmp(addr, mapped, sizeof(mapped)) == 0) {
                memcpy(addr, e->addr + sizeof(mapped), 4);
                memset(addr + 4, 0, sizeof(addr) - 4);
                v4 = true;
        }

        if (e->local)
                return judge_local(d, e);
        if (in_services(v4 ? &d->service4 : &d->service6, addr, e))
                return JUDGE_SERVICE;
        if (is_dns(e) && d->dns != DNS_ALLOW)
                return judge_resolver_port(d, e);
        return in_set(v4 ? &d->allow4 : &d->allow6, addr) ? JUDGE_ALLOWED : JUDGE_OUTSIDE;
}

bool judgement_refuses(enum judgement j)
{
        return j == JUDGE_OUTSIDE || j == JUDGE_DNS || j == JUDGE_LOOPBACK_PORT;
}

static int service_set_copy(const struct service_set *from, struct service_set *ret)
{
        struct service *copy = NULL;

        if (from->n > 0) {
                copy = reallocarray(NULL, from->n, sizeof(*copy));
                if (!copy)
                        return -ENOMEM;
                memcpy(copy, from->items, from->n * sizeof(*copy));
        }
        *ret = (struct service_set){.items = copy, .n = from->n};
        return 0;
}

int destinations_copy(const struct destinations *from, struct destinations *ret)
{
        _cleanup_(destinations_clear) struct destinations copy = *from;
        int r;

        copy.allow4 = copy.allow6 = (struct addr_set){};
        copy.service4 = copy.service6 = (struct service_set){};
        copy.loopback_deny = NULL;
        copy.n_loopback_deny = 0;

        r = addr_set_copy(&from->allow4, &copy.allow4);
        if (r >= 0)
                r = addr_set_copy(&from->allow6, &copy.allow6);
        if (r >= 0)
                r = service_set_copy(&from->service4, &copy.service4);
        if (r >= 0)
                r = service_set_copy(&from->service6, &copy.service6);
        for (size_t i = 0; r >= 0 && i < from->n_loopback_deny; i++)
                r = port_range_add(&copy.loopback_deny, &copy.n_loopback_deny, from->loopback_deny[i]);
        if (r < 0)
                return r;
        *ret = copy;
        copy = (struct destinations){};
        return 0;
}

static bool addr_set_equal(const struct addr_set *a, const struct addr_set *b)
{
        return a->n == b->n && (a->n == 0 || memcmp(a->ranges, b->ranges, a->n * sizeof(*a->ranges)) == 0);
}

static bool service_set_equal(const struct service_set *a, const struct service_set *b)
{
        if (a->n != b->n)
                return false;
        for (size_t i = 0; i < a->n; i++) /* one by one: the struct has padding */
                if (service_cmp(&a->items[i], &b->items[i]) != 0)
                        return false;
        return true;
}

static bool dns_equal(const struct destinations *a, const struct destinations *b)
{
        if (a->dns != b->dns)
                return false;
        if (a->dns != DNS_REDIRECT)
                return true;
        return a->has_dns4 == b->has_dns4 && a->has_dns6 == b->has_dns6 &&
               (!a->has_dns4 || memcmp(a->dns4, b->dns4, sizeof(a->dns4)) == 0) &&
               (!a->has_dns6 || memcmp(a->dns6, b->dns6, sizeof(a->dns6)) == 0);
}

bool destinations_equal(const struct destinations *a, const struct destinations *b)
{
        if (!addr_set_equal(&a->allow4, &b->allow4) || !addr_set_equal(&a->allow6, &b->allow6) ||
            !service_set_equal(&a->service4, &b->service4) ||
            !service_set_equal(&a->service6, &b->service6) || !dns_equal(a, b) ||
            a->n_loopback_deny != b->n_loopback_deny)
                return false;
        for (size_t i = 0; i < a->n_loopback_deny; i++)
                if (a->loopback_deny[i].first != b->loopback_deny[i].first ||
                    a->loopback_deny[i].last != b->loopback_deny[i].last)
                        return false;
        return true;
}

void destinations_clear(struct destinations *d)
{
        addr_set_clear(&d->allow4);
        addr_set_clear(&d->allow6);
        service_set_clear(&d->service4);
        service_set_clear(&d->service6);
        free(d->loopback_deny);
        *d = (struct destinations){};
}
