/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Allow=, DNS= and LoopbackDeny=, and the judgement, against a slow reference that keeps the words one by
 * one. Input: lines "allow WORD", "dns TEXT", "loopback WORD", "judge ENDPOINT". */

#include "destinations.h"
#include "fuzz.h"

#include <arpa/inet.h>
#include <errno.h>

#define LINES_MAX 48

/* ---- the reference ---- */

struct rule {
        int family;
        uint8_t addr[16];
        unsigned bits;
        bool ports, tcp, udp;
        unsigned first, last;
};

struct reference {
        struct rule rules[LINES_MAX + 16];
        size_t n;
        struct port_range loopback[LINES_MAX];
        size_t n_loopback;
};

static struct port_range ports_of(const char *text)
{
        unsigned first = 0, last = 0;

        if (sscanf(text, "%u-%u", &first, &last) == 1)
                last = first;
        MUST(first > 0 && first <= last && last <= UINT16_MAX);
        return (struct port_range){(uint16_t)first, (uint16_t)last};
}

/* A word that was accepted: so it is an address, perhaps with a prefix, perhaps with ports. */
static struct rule rule_of(const char *word)
{
        struct rule rule = {.tcp = true, .udp = true};
        char host[128], *ports = NULL, *slash;

        snprintf(host, sizeof(host), "%s", *word == '[' ? word + 1 : word);
        if (*word == '[') {
                ports = strchr(host, ']');
                MUST(ports);
                *ports++ = '\0';
                ports = *ports == ':' ? ports + 1 : NULL;
        } else if (strchr(host, ':') && strchr(host, ':') == strrchr(host, ':')) {
                ports = strchr(host, ':');
                *ports++ = '\0';
        }
        slash = strchr(host, '/');
        if (slash)
                *slash = '\0';
        rule.family = strchr(host, ':') ? AF_INET6 : AF_INET;
        MUST(inet_pton(rule.family, host, rule.addr) == 1);
        rule.bits = slash ? (unsigned)atoi(slash + 1) : rule.family == AF_INET ? 32 : 128;
        if (ports) {
                struct port_range range = ports_of(ports);

                rule.ports = true;
                rule.first = range.first;
                rule.last = range.last;
                rule.tcp = !strstr(ports, "/udp");
                rule.udp = !strstr(ports, "/tcp");
        }
        return rule;
}

static bool same_prefix(const uint8_t *a, const uint8_t *b, unsigned bits)
{
        if (memcmp(a, b, bits / 8) != 0)
                return false;
        return bits % 8 == 0 || (a[bits / 8] ^ b[bits / 8]) >> (8 - bits % 8) == 0;
}

static bool rule_has(const struct rule *rule, const struct endpoint *e)
{
        if (rule->family != e->family || !same_prefix(rule->addr, e->addr, rule->bits))
                return false;
        if (!rule->ports)
                return true;
        return rule->first <= e->port && e->port <= rule->last &&
               ((rule->tcp && e->protocol == IPPROTO_TCP) || (rule->udp && e->protocol == IPPROTO_UDP));
}

static bool any_rule_has(const struct reference *ref, bool ports, const struct endpoint *e)
{
        for (size_t i = 0; i < ref->n; i++)
                if (ref->rules[i].ports == ports && rule_has(&ref->rules[i], e))
                        return true;
        return false;
}

/* What is IPv4 inside IPv6 leaves as IPv4, whatever network of IPv6 it lies in. */
static struct endpoint unmapped(const struct endpoint *e)
{
        struct endpoint v4 = *e;

        if (e->family != AF_INET6 || !IN6_IS_ADDR_V4MAPPED((const struct in6_addr *)e->addr))
                return *e;
        v4.family = AF_INET;
        memset(v4.addr, 0, sizeof(v4.addr));
        memcpy(v4.addr, e->addr + 12, 4);
        return v4;
}

static enum judgement judge_slowly(const struct reference *ref, const struct destinations *d,
                                   const struct endpoint *mapped)
{
        const struct endpoint plain = unmapped(mapped), *e = &plain;
        bool ported = e->protocol == IPPROTO_TCP || e->protocol == IPPROTO_UDP;
        bool dns = ported && (e->port == 53 || e->port == 853 || e->port == 5353 || e->port == 5355);

        if (e->local) {
                for (size_t i = 0; i < ref->n_loopback; i++)
                        if (ported && ref->loopback[i].first <= e->port && e->port <= ref->loopback[i].last)
                                return JUDGE_LOOPBACK_PORT;
                if (!dns || d->dns == DNS_ALLOW)
                        return JUDGE_LOCAL;
        } else if (any_rule_has(ref, true, e)) {
                return JUDGE_SERVICE;
        }
        if (dns && d->dns == DNS_REDIRECT && e->port == 53)
                return JUDGE_DNS_REDIRECTED;
        if (dns && d->dns != DNS_ALLOW)
                return JUDGE_DNS;
        return any_rule_has(ref, false, e) ? JUDGE_ALLOWED : JUDGE_OUTSIDE;
}

/* ---- comparing ---- */

static void compare(const struct reference *ref, const struct destinations *d,
                    const struct destinations *again, const struct endpoint *e)
{
        enum judgement j = destinations_judge(d, e);

        MUST(j == judge_slowly(ref, d, e));
        MUST(j == destinations_judge(again, e));
}

/* The ports at which the answer may change. */
static void compare_ports(const struct reference *ref, const struct destinations *d,
                          const struct destinations *again, struct endpoint e, const struct port_range *range)
{
        const unsigned ports[] = {
                range->first - 1U, range->first, range->last, range->last + 1U, 53, 853, 443};

        for (size_t i = 0; i < ELEMENTSOF(ports); i++) {
                e.port = (uint16_t)ports[i];
                e.protocol = IPPROTO_TCP;
                compare(ref, d, again, &e);
                e.protocol = IPPROTO_UDP;
                compare(ref, d, again, &e);
        }
        e.protocol = IPPROTO_ICMP;
        e.port = 0;
        compare(ref, d, again, &e);
}

static void step(uint8_t *addr, size_t size, int by)
{
        for (size_t i = size; i-- > 0;) {
                int sum = addr[i] + by;

                addr[i] = (uint8_t)sum;
                if (sum >= 0 && sum <= 255)
                        return;
        }
}

/* Around both ends of each network, and both ends of each range of ports. */
static void compare_edges(const struct reference *ref, const struct destinations *d,
                          const struct destinations *again)
{
        const struct port_range web = {80, 443};

        for (size_t i = 0; i < ref->n; i++) {
                const struct rule *rule = &ref->rules[i];
                struct port_range range = {(uint16_t)rule->first, (uint16_t)rule->last};
                size_t size = rule->family == AF_INET ? 4 : 16;
                struct endpoint e = {.family = rule->family};

                memcpy(e.addr, rule->addr, size);
                compare_ports(ref, d, again, e, rule->ports ? &range : &web);
                step(e.addr, size, -1);
                compare_ports(ref, d, again, e, rule->ports ? &range : &web);
                step(e.addr, size, 1);
                for (unsigned bit = rule->bits; bit < 8 * size; bit++)
                        e.addr[bit / 8] |= (uint8_t)(0x80 >> bit % 8);
                compare_ports(ref, d, again, e, rule->ports ? &range : &web);
                step(e.addr, size, 1);
                compare_ports(ref, d, again, e, rule->ports ? &range : &web);
        }
        for (size_t i = 0; i < ref->n_loopback; i++) {
                struct endpoint e = {.family = AF_INET, .addr = {127, 0, 0, 1}, .local = true};

                compare_ports(ref, d, again, e, &ref->loopback[i]);
        }
}

/* The way back into words, and from there again. */
static void parse_words(const struct destinations *d, struct destinations *ret)
{
        _cleanup_words_ struct words allow = {0}, loopback = {0};
        _cleanup_free_ char *dns = NULL;

        MUST(destinations_to_words(d, &allow, &dns, &loopback) == 0);
        for (size_t i = 0; i < allow.n; i++)
                MUST(destinations_allow(ret, allow.items[i].text, NULL) == 0);
        for (size_t i = 0; i < loopback.n; i++)
                MUST(destinations_deny_loopback(ret, loopback.items[i].text, NULL) == 0);
        MUST(destinations_set_dns(ret, dns, NULL) == 0);
        MUST(destinations_finish(ret, NULL) == 0);
        MUST(destinations_equal(d, ret));
}

/* ---- reading the input ---- */

static bool begins(const char *line, const char *with, const char **ret_rest)
{
        *ret_rest = line + strlen(with);
        return strncmp(line, with, strlen(with)) == 0;
}

/* Accepted without a word, refused with a sentence. */
static bool accepted(int r, char *problem)
{
        MUST(r == 0 || r == -EINVAL);
        MUST((r == 0) == (problem == NULL));
        MUST(!problem || strlen(problem) < 600);
        free(problem);
        return r == 0;
}

static void read_allow(const char *word, struct destinations *d, struct reference *ref)
{
        char *problem = NULL;
        int r = destinations_allow(d, word, &problem);

        if (!accepted(r, problem) || strcmp(word, "none") == 0)
                return;
        if (strcmp(word, "internal") != 0) {
                ref->rules[ref->n++] = rule_of(word);
                return;
        }
        for (size_t i = 0; destinations_internal[i] && ref->n < LINES_MAX; i++)
                ref->rules[ref->n++] = rule_of(destinations_internal[i]);
}

static void read_line(const char *line, struct destinations *d, struct reference *ref)
{
        char *problem = NULL;
        const char *rest;
        int r;

        if (begins(line, "allow ", &rest)) {
                read_allow(rest, d, ref);
        } else if (begins(line, "dns ", &rest)) {
                r = destinations_set_dns(d, rest, &problem);
                (void)accepted(r, problem);
        } else if (begins(line, "loopback ", &rest)) {
                r = destinations_deny_loopback(d, rest, &problem);
                if (accepted(r, problem))
                        ref->loopback[ref->n_loopback++] = ports_of(rest);
        }
}

/* What an endpoint is called is read as the same endpoint. */
static bool read_endpoint(const char *text, struct endpoint *ret)
{
        char addr[INET6_ADDRSTRLEN], whole[128];
        struct endpoint again;

        if (endpoint_parse(text, ret) < 0)
                return false;
        MUST(inet_ntop(ret->family, ret->addr, addr, sizeof(addr)));
        if (ret->protocol == 0)
                snprintf(whole, sizeof(whole), "%s", addr);
        else
                snprintf(whole, sizeof(whole), ret->family == AF_INET ? "%s:%u/%s" : "[%s]:%u/%s", addr,
                         ret->port, ret->protocol == IPPROTO_TCP ? "tcp" : "udp");
        MUST(endpoint_parse(whole, &again) == 0);
        MUST(again.family == ret->family && memcmp(again.addr, ret->addr, 16) == 0 &&
             again.port == ret->port && again.protocol == ret->protocol && again.local == ret->local);
        return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        _cleanup_(destinations_clear) struct destinations d = {0}, again = {0};
        struct endpoint endpoints[LINES_MAX];
        struct reference ref = {0};
        struct feed f = {data, size};
        char *problem = NULL, *line;
        size_t n_endpoints = 0;
        int r;

        for (size_t i = 0; i < LINES_MAX && ref.n < LINES_MAX && (line = feed_line(&f)); i++) {
                const char *rest;

                if (begins(line, "judge ", &rest))
                        n_endpoints += read_endpoint(rest, &endpoints[n_endpoints]);
                else
                        read_line(line, &d, &ref);
                free(line);
        }
        r = destinations_finish(&d, &problem);
        if (!accepted(r, problem))
                return 0;
        parse_words(&d, &again);
        for (size_t i = 0; i < n_endpoints; i++)
                compare(&ref, &d, &again, &endpoints[i]);
        compare_edges(&ref, &d, &again);
        return 0;
}
