/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "cleanup.h"
#include "destinations-internal.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Nothing that is an address with ports is longer; longer words are not repeated in a sentence either. */
#define WORD_MAX 100

const char *const destinations_internal[] = {
        "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16", "224.0.0.0/24",
        "fc00::/7",   "fe80::/10",     "ff01::/16",      "ff02::/16",      NULL,
};

/* A word taken apart. */
struct target {
        int family;
        uint8_t addr[16];
        bool has_prefix, has_ports, has_protocol;
        unsigned prefix; /* without one: the full length */
        struct port_range ports;
        uint8_t protocol; /* valid with has_protocol */
};

__attribute__((format(printf, 2, 3))) static int refuse(char **ret_problem, const char *format, ...)
{
        va_list arguments;
        char *sentence;
        int r;

        if (!ret_problem)
                return -EINVAL;
        va_start(arguments, format);
        r = vasprintf(&sentence, format, arguments);
        va_end(arguments);
        if (r < 0)
                return -ENOMEM;
        *ret_problem = sentence;
        return -EINVAL;
}

/* A whole number without sign or leading zeros, all of TEXT. */
static bool read_number(const char *text, unsigned max, unsigned *ret)
{
        unsigned n = 0;
        size_t digits = strspn(text, "0123456789");

        if (digits == 0 || digits > 6 || text[digits] != '\0' || (digits > 1 && text[0] == '0'))
                return false;
        for (; *text; text++)
                n = n * 10 + (unsigned)(*text - '0');
        if (n > max)
                return false;
        *ret = n;
        return true;
}

static bool only(const char *text, const char *characters)
{
        return text[strspn(text, characters)] == '\0';
}

/* "10" and "172.16" as people shorten 10.0.0.0 and 172.16.0.0. */
static bool expand_short_ipv4(const char *text, char *buf, size_t size)
{
        struct in_addr addr;
        size_t dots = 0;

        for (const char *c = text; *c; c++)
                dots += *c == '.';
        if (dots >= 3 || !only(text, "0123456789."))
                return false;
        snprintf(buf, size, "%s%s", text, dots == 0 ? ".0.0.0" : dots == 1 ? ".0.0" : ".0");
        return inet_pton(AF_INET, buf, &addr) == 1;
}

static bool has_leading_zero(const char *text)
{
        for (const char *c = text; *c; c++)
                if (*c == '0' && isdigit((unsigned char)c[1]) && (c == text || c[-1] == '.'))
                        return true;
        return false;
}

/* Says what is wrong with TEXT, which is no address; WORD is the whole that it stands in. */
static int refuse_address(const char *word, const char *text, const char *prefix, char **ret_problem)
{
        char expanded[WORD_MAX + 16];

        if (strchr(text, '%'))
                return refuse(ret_problem,
                              "\"%s\" names an interface; an order holds on all of them: write the address "
                              "without \"%s\"",
                              word, strchr(text, '%'));
        if (expand_short_ipv4(text, expanded, sizeof(expanded)))
                return refuse(ret_problem, "\"%s\" is too short for an IPv4 address: write %s%s%s", word,
                              expanded, prefix ? "/" : "", prefix ? prefix : "");
        if (only(text, "0123456789.") && has_leading_zero(text))
                return refuse(ret_problem,
                              "\"%s\" has a number with a leading zero, which some programs read as octal: "
                              "write it without",
                              word);
        if (only(text, "0123456789."))
                return refuse(ret_problem, "\"%s\" is no IPv4 address: write four numbers from 0 to 255",
                              word);
        if (strchr(text, ':'))
                return refuse(ret_problem, "\"%s\" is no IPv6 address (with a port: [2001:db8::1]:443/tcp)",
                              word);
        return refuse(
                ret_problem,
                "\"%s\" is no address: expected internal, none, an address, a network like 10.0.0.0/8 or "
                "an endpoint like 203.0.113.10:443/tcp (names are not looked up)",
                word);
}

/* ADDRESS[/PREFIX] */
static int parse_host(const char *word, char *host, struct target *t, char **ret_problem)
{
        char *slash = strchr(host, '/'), *prefix = NULL;

        if (slash) {
                *slash = '\0';
                prefix = slash + 1;
        }
        if (inet_pton(AF_INET, host, t->addr) == 1)
                t->family = AF_INET;
        else if (inet_pton(AF_INET6, host, t->addr) == 1)
                t->family = AF_INET6;
        else
                return refuse_address(word, host, prefix, ret_problem);

        t->prefix = 8 * (unsigned)addr_size(t->family);
        t->has_prefix = prefix;
        if (!prefix)
                return 0;
        if (strcmp(prefix, "tcp") == 0 || strcmp(prefix, "udp") == 0)
                return refuse(ret_problem,
                              t->family == AF_INET ? "\"%s\" has a protocol but no port: write %s:443/%s"
                                                   : "\"%s\" needs brackets and a port: write [%s]:443/%s",
                              word, host, prefix);
        if (!read_number(prefix, t->prefix, &t->prefix))
                return refuse(ret_problem, "\"%s\" has a prefix length that is not a number from 0 to %u",
                              word, t->prefix);
        return 0;
}

/* PORT or FIRST-LAST. */
static int parse_ports(const char *word, char *text, struct port_range *ret, char **ret_problem)
{
        char *dash = strchr(text, '-');
        unsigned first, last;

        if (dash)
                *dash = '\0';
        if (!read_number(text, UINT16_MAX, &first) || first == 0 ||
            !read_number(dash ? dash + 1 : text, UINT16_MAX, &last) || last == 0)
                return refuse(ret_problem,
                              "\"%s\" needs a port from 1 to 65535, or a range of them like 8000-8100", word);
        if (first > last)
                return refuse(ret_problem, "\"%s\" has its ports the wrong way round: write %u-%u", word,
                              last, first);
        *ret = (struct port_range){.first = (uint16_t)first, .last = (uint16_t)last};
        return 0;
}

/* PORTS[/PROTOCOL] */
static int parse_port_part(const char *word, char *text, struct target *t, char **ret_problem)
{
        char *slash = strchr(text, '/');

        if (slash) {
                *slash = '\0';
                if (strcmp(slash + 1, "tcp") == 0)
                        t->protocol = IPPROTO_TCP;
                else if (strcmp(slash + 1, "udp") == 0)
                        t->protocol = IPPROTO_UDP;
                else
                        return refuse(ret_problem,
                                      "\"%s\" has a protocol other than tcp and udp (for both, write none)",
                                      word);
        }
        t->has_protocol = slash;
        t->has_ports = true;
        return parse_ports(word, text, &t->ports, ret_problem);
}

/* Splits "host", "host:ports" or "[host]:ports" in place. RET_PORTS is NULL where there are none. */
static int split_word(const char *word, char *buf, char **ret_host, char **ret_ports, char **ret_problem)
{
        char *colon = strchr(buf, ':'), *bracket;

        *ret_host = buf;
        *ret_ports = NULL;
        if (*buf != '[') {
                if (!colon || strchr(colon + 1, ':'))
                        return 0; /* no port, or an IPv6 address without brackets */
                *colon = '\0';
                *ret_ports = colon + 1;
                return 0;
        }

        bracket = strchr(buf, ']');
        if (!bracket || !memchr(buf, ':', (size_t)(bracket - buf)) ||
            (bracket[1] != '\0' && bracket[1] != ':'))
                return refuse(
                        ret_problem,
                        "\"%s\" is no IPv6 endpoint: write [2001:db8::1]:443/tcp or [2001:db8::/32]:443",
                        word);
        *bracket = '\0';
        *ret_host = buf + 1;
        if (bracket[1] == ':')
                *ret_ports = bracket + 2;
        return 0;
}

static int parse_target(const char *word, struct target *ret, char **ret_problem)
{
        char buf[WORD_MAX + 1], *host, *ports;
        size_t length = strlen(word);
        struct target t = {};
        int r;

        if (length == 0)
                return refuse(ret_problem, "an empty word is no address");
        if (length > WORD_MAX)
                return refuse(ret_problem, "a word of %zu bytes is no address", length);
        memcpy(buf, word, length + 1);
        r = split_word(word, buf, &host, &ports, ret_problem);
        if (r >= 0)
                r = parse_host(word, host, &t, ret_problem);
        if (r >= 0 && ports)
                r = parse_port_part(word, ports, &t, ret_problem);
        if (r >= 0)
                *ret = t;
        return r;
}

static bool is_mapped(const struct target *t)
{
        static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};

        return t->family == AF_INET6 && t->prefix >= 96 && memcmp(t->addr, mapped, sizeof(mapped)) == 0;
}

static bool is_zero(const uint8_t *addr)
{
        static const uint8_t zero[16];

        return memcmp(addr, zero, sizeof(zero)) == 0;
}

/* "10.0.0.0/8", and the plain address where the prefix is the whole of it. */
static void format_prefix(int family, const uint8_t *addr, unsigned prefix, char *buf, size_t size)
{
        char text[INET6_ADDRSTRLEN] = "";

        inet_ntop(family, addr, text, sizeof(text));
        if (prefix == 8 * addr_size(family))
                snprintf(buf, size, "%s", text);
        else
                snprintf(buf, size, "%s/%u", text, prefix);
}

/* What cannot be meant as a destination. */
static int check_target(const char *word, const struct target *t, char **ret_problem)
{
        struct addr_range range = addr_range_from_prefix(t->family, t->addr, t->prefix);
        struct addr_set one = {.ranges = &range, .n = 1};
        char network[INET6_ADDRSTRLEN + 8], address[INET6_ADDRSTRLEN + 8];
        int r;

        if (is_mapped(t)) {
                format_prefix(AF_INET, t->addr + 12, t->prefix - 96, network, sizeof(network));
                return refuse(ret_problem,
                              "\"%s\" is IPv4 inside IPv6, which leaves this host as IPv4: write %s", word,
                              network);
        }
        if (memcmp(range.first, t->addr, sizeof(t->addr)) != 0) {
                format_prefix(t->family, range.first, t->prefix, network, sizeof(network));
                format_prefix(t->family, t->addr, 8 * (unsigned)addr_size(t->family), address,
                              sizeof(address));
                return refuse(ret_problem,
                              "\"%s\" has bits set behind its prefix: write %s for the network or %s "
                              "for the one address",
                              word, network, address);
        }
        r = addr_set_covers_internet(&one, t->family);
        if (r > 0)
                return refuse(ret_problem,
                              "\"%s\" is the whole %s internet; name the networks that are to stay "
                              "reachable",
                              word, t->family == AF_INET ? "IPv4" : "IPv6");
        if (r == 0 && t->prefix == 8 * addr_size(t->family) && is_zero(t->addr))
                return refuse(ret_problem, "\"%s\" is no destination; name an address or a network", word);
        return r;
}

static int add_target(struct destinations *d, const struct target *t)
{
        static const uint8_t both[] = {IPPROTO_TCP, IPPROTO_UDP};
        bool v4 = t->family == AF_INET;
        struct service service = {
                .addr = addr_range_from_prefix(t->family, t->addr, t->prefix),
                .port_first = t->ports.first,
                .port_last = t->ports.last,
        };

        if (!t->has_ports)
                return addr_set_add(v4 ? &d->allow4 : &d->allow6, &service.addr);
        for (size_t i = 0; i < ELEMENTSOF(both); i++) {
                int r;

                if (t->has_protocol && t->protocol != both[i])
                        continue;
                service.protocol = both[i];
                r = service_set_add(v4 ? &d->service4 : &d->service6, &service);
                if (r < 0)
                        return r;
        }
        return 0;
}

static int allow_one(struct destinations *d, const char *word, char **ret_problem)
{
        struct target t;
        int r = parse_target(word, &t, ret_problem);

        if (r >= 0)
                r = check_target(word, &t, ret_problem);
        return r < 0 ? r : add_target(d, &t);
}

int destinations_allow(struct destinations *d, const char *word, char **ret_problem)
{
        if (strcmp(word, "none") == 0)
                return 0;
        if (strcmp(word, "internal") != 0)
                return allow_one(d, word, ret_problem);
        for (const char *const *w = destinations_internal; *w; w++) {
                int r = allow_one(d, *w, ret_problem);

                if (r < 0)
                        return r;
        }
        return 0;
}

static bool is_multicast(const struct target *t)
{
        return t->family == AF_INET ? t->addr[0] >= 224 : t->addr[0] == 0xff;
}

/* One address of DNS=, which must be a host's, without a port. */
static int set_dns_address(struct destinations *d, const char *word, char **ret_problem)
{
        struct target t;

        if (parse_target(word, &t, NULL) < 0 || t.has_prefix || t.has_ports)
                return refuse(ret_problem,
                              strlen(word) <= WORD_MAX
                                      ? "DNS= expects deny, allow or the address of a resolver "
                                        "(one for IPv4, one for IPv6, without ports), not \"%s\""
                                      : "DNS= expects deny, allow or the address of a resolver",
                              word);
        if (is_mapped(&t) || is_multicast(&t) || is_zero(t.addr))
                return refuse(ret_problem,
                              "DNS= cannot send anything to \"%s\": name the address of one resolver", word);
        if (t.family == AF_INET ? d->has_dns4 : d->has_dns6)
                return refuse(ret_problem, "DNS= takes one %s address, and \"%s\" is the second",
                              t.family == AF_INET ? "IPv4" : "IPv6", word);

        d->dns = DNS_REDIRECT;
        if (t.family == AF_INET) {
                d->has_dns4 = true;
                memcpy(d->dns4, t.addr, sizeof(d->dns4));
        } else {
                d->has_dns6 = true;
                memcpy(d->dns6, t.addr, sizeof(d->dns6));
        }
        return 0;
}

int destinations_set_dns(struct destinations *d, const char *text, char **ret_problem)
{
        _cleanup_words_ struct words words = {};
        struct destinations parsed = {.dns = DNS_DENY};
        int r = words_split(&words, text, NULL, 0);

        if (r < 0)
                return r;
        if (words.n == 1 && strcmp(words.items[0].text, "allow") == 0)
                parsed.dns = DNS_ALLOW;
        else if (words.n != 1 || strcmp(words.items[0].text, "deny") != 0) {
                if (words.n == 0)
                        return refuse(ret_problem, "DNS= expects deny, allow or the address of a resolver");
                for (size_t i = 0; i < words.n; i++) {
                        r = set_dns_address(&parsed, words.items[i].text, ret_problem);
                        if (r < 0)
                                return r;
                }
        }
        d->dns = parsed.dns;
        d->has_dns4 = parsed.has_dns4;
        d->has_dns6 = parsed.has_dns6;
        memcpy(d->dns4, parsed.dns4, sizeof(d->dns4));
        memcpy(d->dns6, parsed.dns6, sizeof(d->dns6));
        return 0;
}

int destinations_deny_loopback(struct destinations *d, const char *word, char **ret_problem)
{
        char buf[WORD_MAX + 1];
        struct port_range range;
        size_t length = strlen(word);
        int r;

        if (length > WORD_MAX)
                return refuse(ret_problem, "a word of %zu bytes is no port", length);
        memcpy(buf, word, length + 1);
        r = parse_ports(word, buf, &range, ret_problem);
        return r < 0 ? r : port_range_add(&d->loopback_deny, &d->n_loopback_deny, range);
}

int endpoint_parse(const char *text, struct endpoint *ret)
{
        struct endpoint e = {};
        struct target t;

        if (!text || parse_target(text, &t, NULL) < 0 || t.has_prefix)
                return -EINVAL;
        if (t.has_ports && t.ports.first != t.ports.last)
                return -EINVAL;
        if (is_mapped(&t)) {
                e.family = AF_INET;
                memcpy(e.addr, t.addr + 12, 4);
        } else {
                e.family = t.family;
                memcpy(e.addr, t.addr, sizeof(e.addr));
        }
        if (t.has_ports) {
                e.port = t.ports.first;
                e.protocol = t.has_protocol ? t.protocol : IPPROTO_TCP;
        }
        /* What is sent to no address goes to the loopback's. */
        e.local = is_zero(e.addr) ||
                  (e.family == AF_INET ? e.addr[0] == 127
                                       : memcmp(e.addr, &in6addr_loopback, sizeof(e.addr)) == 0);
        *ret = e;
        return 0;
}

int endpoint_parse_host(const char *text, struct endpoint *ret)
{
        _cleanup_free_ char *address = text ? strndup(text, strcspn(text, "%")) : NULL;
        struct endpoint e;

        /* a link-local zone ("%eth0") says through which interface: the same network for us */
        if (!address || address[0] == '[' || endpoint_parse(address, &e) < 0 || e.protocol != 0)
                return -EINVAL;
        *ret = e;
        return 0;
}
