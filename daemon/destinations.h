/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LOCKDOWN_DESTINATIONS_H
#define LOCKDOWN_DESTINATIONS_H

/* The networks and endpoints that stay reachable, and the judgement about one. Pure; no I/O, no names
 * resolved. */

#include "words.h"
#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* An address range, both ends included; IPv4 in the first 4 bytes, network byte order. */
struct addr_range {
        uint8_t first[16], last[16];
};

struct addr_set { /* sorted, disjoint, adjacent ranges merged */
        struct addr_range *ranges;
        size_t n;
};

/* An endpoint or a network with ports: Allow=203.0.113.10:443/tcp */
struct service {
        struct addr_range addr;
        uint8_t protocol; /* IPPROTO_TCP or IPPROTO_UDP */
        uint16_t port_first, port_last;
};

struct service_set { /* sorted; no two overlap */
        struct service *items;
        size_t n;
};

enum dns_policy {
        DNS_DENY,  /* nothing to a resolver port, loopback stubs included (an Allow= that names the port wins)
                    */
        DNS_ALLOW, /* as any other port, loopback included */
        DNS_REDIRECT, /* all of it goes to dns4/dns6 */
};

struct port_range {
        uint16_t first, last;
};

struct destinations {
        struct addr_set allow4, allow6;
        struct service_set service4, service6;
        enum dns_policy dns;
        bool has_dns4, has_dns6;
        uint8_t dns4[4], dns6[16];        /* where DNS_REDIRECT sends it */
        struct port_range *loopback_deny; /* sorted, disjoint */
        size_t n_loopback_deny;
};

/* Resolver ports that DNS= governs: 53, 853, 5353, 5355 (TCP and UDP). */
extern const uint16_t dns_ports[4];

/* Adds one word of Allow=: "internal", "none" (adds nothing), an address, a prefix ("10.0.0.0/8", "fd00::/8";
 * host bits must be zero), any of them with ports and protocol ("203.0.113.10:443/tcp",
 * "[2001:db8::1]:80-90/udp", "10.0.0.0/8:443" = TCP and UDP). On error RET_PROBLEM is a sentence about the
 * word, without file and line (the caller frees). Refuses what would let everything through: 0.0.0.0/0, ::/0,
 * and any list that adds up to that (checked by destinations_finish()). Returns 0, -EINVAL, -ENOMEM. */
int destinations_allow(struct destinations *d, const char *word, char **ret_problem);
/* Parses DNS=: "deny", "allow", or one address a family ("10.0.0.53", "10.0.0.53 fd00::53"). */
int destinations_set_dns(struct destinations *d, const char *text, char **ret_problem);
/* Adds one word of LoopbackDeny=: a port or a range "8000-8100". */
int destinations_deny_loopback(struct destinations *d, const char *word, char **ret_problem);
/* Sorts and merges; to be called once after the last word. -EINVAL with a sentence if everything is allowed.
 */
int destinations_finish(struct destinations *d, char **ret_problem);

/* The way back: words of Allow= ("none" where nothing is), the text of DNS= and words of LoopbackDeny= that
 * mean the same as D. For destinations read back from the kernel, which nobody wrote as words; a range that
 * is no prefix becomes several. Returns 0 or -ENOMEM; the caller frees all three, outputs untouched on
 * failure. */
int destinations_to_words(const struct destinations *d, struct words *ret_allow, char **ret_dns,
                          struct words *ret_loopback_deny);

/* The built-in "internal" list, as the words a person would write; ends with NULL. */
extern const char *const destinations_internal[];

struct endpoint {
        int family; /* AF_INET or AF_INET6; an IPv4-mapped IPv6 address is judged as IPv4 */
        uint8_t addr[16];
        uint8_t protocol; /* IPPROTO_… */
        uint16_t port;    /* host byte order, 0 where the protocol has none */
        bool local;       /* delivered on this machine: a loopback or own address */
};

enum judgement {
        JUDGE_LOCAL,          /* allowed: on this machine */
        JUDGE_ALLOWED,        /* allowed: in an Allow= network */
        JUDGE_SERVICE,        /* allowed: an Allow= endpoint */
        JUDGE_DNS_REDIRECTED, /* allowed: goes to the DNS= address instead */
        JUDGE_OUTSIDE,        /* refused: not in any Allow= */
        JUDGE_DNS,            /* refused: a resolver port, DNS= */
        JUDGE_LOOPBACK_PORT,  /* refused: LoopbackDeny= */
};

/* The same answer as the ruleset gives to a packet of a subject. */
enum judgement destinations_judge(const struct destinations *d, const struct endpoint *e);
bool judgement_refuses(enum judgement j);
/* Are some ports of E's address allowed by themselves (Allow=203.0.113.10:443/tcp)? */
bool destinations_has_endpoints_of(const struct destinations *d, const struct endpoint *e);

/* Parses "203.0.113.7", "203.0.113.7:443", "…:443/tcp", "[v6]:443/udp", "v6" (protocol TCP unless given;
 * without a port: protocol 0 and port 0) into E; LOCAL is set for 127/8, ::1 and no address at all only.
 * Returns 0 or -EINVAL.
 */
int endpoint_parse(const char *text, struct endpoint *ret);

/* Where a connection came from, as a program tells it ("203.0.113.7", "fe80::1%eth0"): address alone,
 * protocol 0 and port 0. Returns 0, or -EINVAL for what is no address (a name, nothing at all). */
int endpoint_parse_host(const char *text, struct endpoint *ret);

int destinations_copy(const struct destinations *from, struct destinations *ret);
bool destinations_equal(const struct destinations *a, const struct destinations *b);
void destinations_clear(struct destinations *d);

#endif
