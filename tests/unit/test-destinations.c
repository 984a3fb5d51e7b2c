/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "cleanup.h"
#include "destinations.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define _cleanup_destinations_ _cleanup_(destinations_clear)

/* Adds each space-separated word of ALLOW; every one must be accepted. */
static void allow(struct destinations *d, const char *text)
{
        _cleanup_words_ struct words words = {};

        assert_int_equal(words_split(&words, text, NULL, 0), 0);
        for (size_t i = 0; i < words.n; i++) {
                _cleanup_free_ char *problem = NULL;
                int r = destinations_allow(d, words.items[i].text, &problem);

                if (r < 0)
                        fail_msg("%s: %d, %s", words.items[i].text, r, problem);
        }
}

static void finish(struct destinations *d)
{
        _cleanup_free_ char *problem = NULL;
        int r = destinations_finish(d, &problem);

        if (r < 0)
                fail_msg("%d, %s", r, problem);
}

/* What D allows, as words in canonical form. */
static void assert_words(const struct destinations *d, const char *expected)
{
        _cleanup_words_ struct words allowed = {}, loopback = {};
        _cleanup_free_ char *dns = NULL, *text = NULL;

        assert_int_equal(destinations_to_words(d, &allowed, &dns, &loopback), 0);
        text = words_join(&allowed);
        assert_string_equal(text, expected);
}

static void test_refused_words(void **state)
{
        static const struct {
                const char *word, *sentence;
        } table[] = {
                {"", "an empty word is no address"},
                {"0.0.0.0/0",
                 "\"0.0.0.0/0\" is the whole IPv4 internet; name the networks that are to stay reachable"},
                {"0.0.0.0/0:443/tcp", "\"0.0.0.0/0:443/tcp\" is the whole IPv4 internet; name the networks "
                                      "that are to stay reachable"},
                {"::/0", "\"::/0\" is the whole IPv6 internet; name the networks that are to stay reachable"},
                {"[::/0]:443",
                 "\"[::/0]:443\" is the whole IPv6 internet; name the networks that are to stay reachable"},
                {"2000::/3",
                 "\"2000::/3\" is the whole IPv6 internet; name the networks that are to stay reachable"},
                {"0.0.0.0", "\"0.0.0.0\" is no destination; name an address or a network"},
                {"::", "\"::\" is no destination; name an address or a network"},
                {"0.0.0.0/32", "\"0.0.0.0/32\" is no destination; name an address or a network"},
                {"[::/128]:443/tcp", "\"[::/128]:443/tcp\" is no destination; name an address or a network"},
                {"10/8", "\"10/8\" is too short for an IPv4 address: write 10.0.0.0/8"},
                {"172.16/12", "\"172.16/12\" is too short for an IPv4 address: write 172.16.0.0/12"},
                {"10.1.2", "\"10.1.2\" is too short for an IPv4 address: write 10.1.2.0"},
                {"10.0.0.1/8",
                 "\"10.0.0.1/8\" has bits set behind its prefix: write 10.0.0.0/8 for the network or "
                 "10.0.0.1 for the one address"},
                {"fd00::1/8",
                 "\"fd00::1/8\" has bits set behind its prefix: write fd00::/8 for the network or "
                 "fd00::1 for the one address"},
                {"10.0.0.0/33", "\"10.0.0.0/33\" has a prefix length that is not a number from 0 to 32"},
                {"fd00::/129", "\"fd00::/129\" has a prefix length that is not a number from 0 to 128"},
                {"10.0.0.0/", "\"10.0.0.0/\" has a prefix length that is not a number from 0 to 32"},
                {"10.0.0.0/08", "\"10.0.0.0/08\" has a prefix length that is not a number from 0 to 32"},
                {"10.0.0.0/-1", "\"10.0.0.0/-1\" has a prefix length that is not a number from 0 to 32"},
                {"10.0.0.0/4294967304",
                 "\"10.0.0.0/4294967304\" has a prefix length that is not a number from 0 to 32"},
                {"10.0.0.0/255.0.0.0",
                 "\"10.0.0.0/255.0.0.0\" has a prefix length that is not a number from 0 to 32"},
                {"010.0.0.1",
                 "\"010.0.0.1\" has a number with a leading zero, which some programs read as octal: "
                 "write it without"},
                {"10.0.0.01",
                 "\"10.0.0.01\" has a number with a leading zero, which some programs read as octal: "
                 "write it without"},
                {"10.0.0.256", "\"10.0.0.256\" is no IPv4 address: write four numbers from 0 to 255"},
                {"1.2.3.4.5", "\"1.2.3.4.5\" is no IPv4 address: write four numbers from 0 to 255"},
                {"fe80::1%eth0",
                 "\"fe80::1%eth0\" names an interface; an order holds on all of them: write the "
                 "address without \"%eth0\""},
                {"::ffff:10.0.0.1",
                 "\"::ffff:10.0.0.1\" is IPv4 inside IPv6, which leaves this host as IPv4: write 10.0.0.1"},
                {"::ffff:10.0.0.0/104", "\"::ffff:10.0.0.0/104\" is IPv4 inside IPv6, which leaves this host "
                                        "as IPv4: write 10.0.0.0/8"},
                {"::ffff:0:0/96",
                 "\"::ffff:0:0/96\" is IPv4 inside IPv6, which leaves this host as IPv4: write 0.0.0.0/0"},
                {"2001:db8:::1", "\"2001:db8:::1\" is no IPv6 address (with a port: [2001:db8::1]:443/tcp)"},
                {"2001:db8::1:443/tcp",
                 "\"2001:db8::1:443/tcp\" needs brackets and a port: write [2001:db8::1:443]:443/tcp"},
                {"10.0.0.1/tcp", "\"10.0.0.1/tcp\" has a protocol but no port: write 10.0.0.1:443/tcp"},
                {"[10.0.0.1]:443", "\"[10.0.0.1]:443\" is no IPv6 endpoint: write [2001:db8::1]:443/tcp or "
                                   "[2001:db8::/32]:443"},
                {"[2001:db8::1:443", "\"[2001:db8::1:443\" is no IPv6 endpoint: write [2001:db8::1]:443/tcp "
                                     "or [2001:db8::/32]:443"},
                {"[2001:db8::1]443", "\"[2001:db8::1]443\" is no IPv6 endpoint: write [2001:db8::1]:443/tcp "
                                     "or [2001:db8::/32]:443"},
                {"10.0.0.1:0",
                 "\"10.0.0.1:0\" needs a port from 1 to 65535, or a range of them like 8000-8100"},
                {"10.0.0.1:65536",
                 "\"10.0.0.1:65536\" needs a port from 1 to 65535, or a range of them like 8000-8100"},
                {"10.0.0.1:4294967739",
                 "\"10.0.0.1:4294967739\" needs a port from 1 to 65535, or a range of them like 8000-8100"},
                {"10.0.0.1:",
                 "\"10.0.0.1:\" needs a port from 1 to 65535, or a range of them like 8000-8100"},
                {"10.0.0.1:80-",
                 "\"10.0.0.1:80-\" needs a port from 1 to 65535, or a range of them like 8000-8100"},
                {"10.0.0.1:-80",
                 "\"10.0.0.1:-80\" needs a port from 1 to 65535, or a range of them like 8000-8100"},
                {"10.0.0.1:https",
                 "\"10.0.0.1:https\" needs a port from 1 to 65535, or a range of them like 8000-8100"},
                {"10.0.0.1:90-80", "\"10.0.0.1:90-80\" has its ports the wrong way round: write 80-90"},
                {"10.0.0.1:80/sctp",
                 "\"10.0.0.1:80/sctp\" has a protocol other than tcp and udp (for both, write none)"},
                {"10.0.0.1:80/",
                 "\"10.0.0.1:80/\" has a protocol other than tcp and udp (for both, write none)"},
                {"intern", "\"intern\" is no address: expected internal, none, an address, a network like "
                           "10.0.0.0/8 or an "
                           "endpoint like 203.0.113.10:443/tcp (names are not looked up)"},
                {"mail.example.com:25",
                 "\"mail.example.com:25\" is no address: expected internal, none, an address, a network like "
                 "10.0.0.0/8 or an endpoint like 203.0.113.10:443/tcp (names are not looked up)"},
                {"10.0.0.1 ",
                 "\"10.0.0.1 \" is no address: expected internal, none, an address, a network like "
                 "10.0.0.0/8 or an endpoint like 203.0.113.10:443/tcp (names are not looked up)"},
        };

        (void)state;
        for (size_t i = 0; i < ELEMENTSOF(table); i++) {
                _cleanup_destinations_ struct destinations d = {};
                _cleanup_free_ char *problem = NULL;

                assert_int_equal(destinations_allow(&d, table[i].word, &problem), -EINVAL);
                assert_string_equal(problem, table[i].sentence);
                assert_words(&d, "none"); /* nothing of it was taken */
                assert_int_equal(destinations_allow(&d, table[i].word, NULL), -EINVAL);
        }
}

static void test_huge_words(void **state)
{
        static const char *const pieces[] = {"1", "0", ":", ".", "/", "[", "-", "%", "1.", "fe80:"};
        static char word[100001];

        (void)state;
        for (size_t i = 0; i < ELEMENTSOF(pieces); i++) {
                size_t length = strlen(pieces[i]);

                for (size_t size = 48; size < sizeof(word); size = size < 130 ? size + 1 : size * 3) {
                        _cleanup_destinations_ struct destinations d = {};
                        _cleanup_free_ char *problem = NULL;
                        struct endpoint e;

                        for (size_t k = 0; k < size; k++)
                                word[k] = pieces[i][k % length];
                        word[size] = '\0';
                        assert_int_equal(destinations_allow(&d, word, &problem), -EINVAL);
                        assert_true(strlen(problem) < 400);
                        assert_int_equal(endpoint_parse(word, &e), -EINVAL);
                        free(TAKE_PTR(problem));
                        assert_int_equal(destinations_deny_loopback(&d, word, &problem), -EINVAL);
                }
        }
}

static void test_sets(void **state)
{
        static const struct {
                const char *words, *canonical;
        } table[] = {
                {"none", "none"},
                {"10.0.0.1 10.0.0.1", "10.0.0.1"},
                {"10.0.0.1/32", "10.0.0.1"},
                {"10.0.0.128/25 10.0.0.0/25", "10.0.0.0/24"},
                {"10.1.2.3 10.0.0.0/8", "10.0.0.0/8"},
                {"192.168.0.2 192.168.0.1", "192.168.0.1 192.168.0.2"}, /* one range, but no prefix */
                {"255.255.255.255 255.255.255.254", "255.255.255.254/31"},
                {"ffff::/16 ff02::/16", "ff02::/16 ffff::/16"},
                {"2001:DB8::/32 2001:db8::1", "2001:db8::/32"},
                {"64:ff9b::/96", "64:ff9b::/96"}, /* spelled out, so it is meant */
                {"internal",
                 "10.0.0.0/8 169.254.0.0/16 172.16.0.0/12 192.168.0.0/16 224.0.0.0/24 fc00::/7 fe80::/10 "
                 "ff01::/16 ff02::/16"},
                {"203.0.113.10:443/tcp", "203.0.113.10:443/tcp"},
                {"203.0.113.10:443", "203.0.113.10:443/tcp 203.0.113.10:443/udp"},
                {"[2001:db8::1]:80-90/udp", "[2001:db8::1]:80-90/udp"},
                {"[2001:db8::/32]:443/tcp", "[2001:db8::/32]:443/tcp"},
                {"[2001:db8::1]", "2001:db8::1"},
                {"10.0.0.0/8:443/tcp", "10.0.0.0/8:443/tcp"},
                {"10.0.0.1:1-65535/tcp", "10.0.0.1:1-65535/tcp"},
                /* Overlapping endpoints become disjoint ones… */
                {"10.0.0.1:80-90/tcp 10.0.0.1:85-95/tcp", "10.0.0.1:80-95/tcp"},
                {"10.0.0.1:80/tcp 10.0.0.1:81/tcp 10.0.0.1:83/tcp", "10.0.0.1:80-81/tcp 10.0.0.1:83/tcp"},
                {"10.0.0.1:80/tcp 10.0.0.1:80/udp", "10.0.0.1:80/tcp 10.0.0.1:80/udp"},
                {"10.0.0.1:80/tcp 10.0.0.0/8:80/tcp", "10.0.0.0/8:80/tcp"},
                {"10.0.0.1:80-443/tcp 10.0.0.0/8:100-200/tcp 10.0.0.0/16:150-300/tcp",
                 "10.0.0.0/8:100-200/tcp 10.0.0.0/16:201-300/tcp 10.0.0.1:80-99/tcp 10.0.0.1:301-443/tcp"},
                {"10.0.0.0/8:65535/tcp 10.0.0.1:1-65535/tcp", "10.0.0.0/8:65535/tcp 10.0.0.1:1-65534/tcp"},
                {"10.0.0.0/8:1/udp 10.0.0.1:1-2/udp", "10.0.0.0/8:1/udp 10.0.0.1:2/udp"},
        };

        (void)state;
        for (size_t i = 0; i < ELEMENTSOF(table); i++) {
                _cleanup_destinations_ struct destinations d = {}, again = {};

                allow(&d, table[i].words);
                finish(&d);
                assert_words(&d, table[i].canonical);
                /* …and the words they are written as mean the same. */
                allow(&again, table[i].canonical);
                finish(&again);
                assert_true(destinations_equal(&d, &again));
        }
}

static void test_adds_up(void **state)
{
        static const struct {
                const char *words, *sentence;
        } table[] = {
                {"0.0.0.0/1 128.0.0.0/1",
                 "Allow= adds up to the whole IPv4 internet, as 0.0.0.0/0 would; name the "
                 "networks that are to stay reachable"},
                /* everything but the private networks, and these from "internal" or not at all */
                {"internal 0.0.0.0/5 8.0.0.0/7 11.0.0.0/8 12.0.0.0/6 16.0.0.0/4 32.0.0.0/3 64.0.0.0/2 "
                 "128.0.0.0/2 "
                 "192.0.0.0/3",
                 "Allow= adds up to the whole IPv4 internet, as 0.0.0.0/0 would; name the networks that are "
                 "to stay "
                 "reachable"},
                {"0.0.0.0/5 8.0.0.0/7 11.0.0.0/8 12.0.0.0/6 16.0.0.0/4 32.0.0.0/3 64.0.0.0/2 128.0.0.0/2 "
                 "192.0.0.0/3",
                 "Allow= adds up to the whole IPv4 internet, as 0.0.0.0/0 would; name the networks that are "
                 "to stay "
                 "reachable"},
                {"2000::/4 3000::/4",
                 "Allow= adds up to the whole IPv6 internet, as ::/0 would; name the networks "
                 "that are to stay reachable"},
                {"0.0.0.0/1:443 128.0.0.0/1:80-500/tcp",
                 "Allow= opens a port towards the whole IPv4 internet; name "
                 "the networks that are to stay reachable"},
                {"0.0.0.0/1 128.0.0.0/1:443/udp",
                 "Allow= opens a port towards the whole IPv4 internet; name the "
                 "networks that are to stay reachable"},
                {"2000::/4 [3000::/4]:22/tcp",
                 "Allow= opens a port towards the whole IPv6 internet; name the "
                 "networks that are to stay reachable"},
                {"0.0.0.0/1:443/tcp 128.0.0.0/1:443/udp", NULL}, /* no one port is open to all */
                {"0.0.0.0/1:80 128.0.0.0/1:81", NULL},
                {"0.0.0.0/1 128.0.0.0/2 internal", NULL},
                {"2000::/4 internal", NULL},
        };

        (void)state;
        for (size_t i = 0; i < ELEMENTSOF(table); i++) {
                _cleanup_destinations_ struct destinations d = {};
                _cleanup_free_ char *problem = NULL;

                allow(&d, table[i].words);
                assert_int_equal(destinations_finish(&d, &problem), table[i].sentence ? -EINVAL : 0);
                if (table[i].sentence)
                        assert_string_equal(problem, table[i].sentence);
        }
}

static void test_too_many_endpoints(void **state)
{
        _cleanup_destinations_ struct destinations d = {};
        _cleanup_free_ char *problem = NULL;
        char word[64];

        (void)state;
        for (unsigned i = 0; i < 4097; i++) {
                snprintf(word, sizeof(word), "10.0.%u.%u:443/tcp", i / 256, i % 256);
                allow(&d, word);
        }
        assert_int_equal(destinations_finish(&d, &problem), -EINVAL);
        assert_string_equal(problem,
                            "Allow= has too many endpoints (at most 4096 a family); allow networks instead");
        d.service4.n--;
        finish(&d);
        assert_int_equal(d.service4.n, 4096);
}

static void assert_judged_as_words(const struct destinations *raw, const struct destinations *d)
{
        for (unsigned host = 0; host < 8; host++)
                for (unsigned port = 1; port < 16; port++) {
                        struct endpoint e = {.family = AF_INET,
                                             .addr = {203, 0, 113, (uint8_t)host},
                                             .port = (uint16_t)port};
                        bool wanted = false;

                        e.protocol = port % 2 ? IPPROTO_TCP : IPPROTO_UDP;
                        for (size_t i = 0; i < raw->service4.n; i++) {
                                const struct service *s = &raw->service4.items[i];

                                wanted |= memcmp(s->addr.first, e.addr, 4) <= 0 &&
                                          memcmp(e.addr, s->addr.last, 4) <= 0 && s->protocol == e.protocol &&
                                          s->port_first <= port && port <= s->port_last;
                        }
                        assert_int_equal(destinations_judge(d, &e), wanted ? JUDGE_SERVICE : JUDGE_OUTSIDE);
                }
}

static void assert_disjoint(const struct service_set *s)
{
        for (size_t i = 0; i < s->n; i++)
                for (size_t k = i + 1; k < s->n; k++) {
                        const struct service *a = &s->items[i], *b = &s->items[k];

                        assert_false(a->protocol == b->protocol &&
                                     memcmp(a->addr.first, b->addr.last, 16) <= 0 &&
                                     memcmp(b->addr.first, a->addr.last, 16) <= 0 &&
                                     a->port_first <= b->port_last && b->port_first <= a->port_last);
                }
}

/* Whatever endpoints are named, in whatever order: disjoint, the same set, and nothing gained or lost. */
static void test_random_endpoints(void **state)
{
        unsigned seed = 20161128;

        (void)state;
        for (int round = 0; round < 1000; round++) {
                _cleanup_destinations_ struct destinations d = {}, raw = {}, backwards = {};
                unsigned count = 1 + (unsigned)rand_r(&seed) % 12;

                for (unsigned i = 0; i < count; i++) {
                        unsigned length = 29 + (unsigned)rand_r(&seed) % 4,
                                 first = 1 + (unsigned)rand_r(&seed) % 15,
                                 host = (unsigned)rand_r(&seed) % 8 & ~((1U << (32 - length)) - 1);
                        char word[64];

                        snprintf(word, sizeof(word), "203.0.113.%u/%u:%u-%u/%s", host, length, first,
                                 first + (unsigned)rand_r(&seed) % 8, rand_r(&seed) % 2 ? "tcp" : "udp");
                        allow(&raw, word);
                }
                assert_int_equal(destinations_copy(&raw, &d), 0);
                for (size_t i = raw.service4.n; i-- > 0;) {
                        char word[64];
                        const struct service *s = &raw.service4.items[i];
                        unsigned length = 32;

                        for (unsigned span = s->addr.last[3] - s->addr.first[3]; span > 0; span /= 2)
                                length--;
                        snprintf(word, sizeof(word), "203.0.113.%u/%u:%u-%u/%s", s->addr.first[3], length,
                                 s->port_first, s->port_last, s->protocol == IPPROTO_TCP ? "tcp" : "udp");
                        allow(&backwards, word);
                }
                finish(&d);
                finish(&backwards);
                assert_true(destinations_equal(&d, &backwards));
                assert_disjoint(&d.service4);
                assert_judged_as_words(&raw, &d);
        }
}

static void test_dns(void **state)
{
        static const struct {
                const char *text, *sentence, *back;
        } table[] = {
                {"deny", NULL, "deny"},
                {"allow", NULL, "allow"},
                {"10.0.0.53", NULL, "10.0.0.53"},
                {" fd00::53   10.0.0.53 ", NULL, "10.0.0.53 fd00::53"},
                {"127.0.0.53", NULL, "127.0.0.53"},
                {"", "DNS= expects deny, allow or the address of a resolver", NULL},
                {"maybe",
                 "DNS= expects deny, allow or the address of a resolver (one for IPv4, one for IPv6, without "
                 "ports), not \"maybe\"",
                 NULL},
                {"deny 10.0.0.53",
                 "DNS= expects deny, allow or the address of a resolver (one for IPv4, one for "
                 "IPv6, without ports), not \"deny\"",
                 NULL},
                {"10.0.0.53:53",
                 "DNS= expects deny, allow or the address of a resolver (one for IPv4, one for IPv6, "
                 "without ports), not \"10.0.0.53:53\"",
                 NULL},
                {"10.0.0.0/8",
                 "DNS= expects deny, allow or the address of a resolver (one for IPv4, one for IPv6, "
                 "without ports), not \"10.0.0.0/8\"",
                 NULL},
                {"10.0.0.53 10.0.0.54", "DNS= takes one IPv4 address, and \"10.0.0.54\" is the second", NULL},
                {"fd00::1 fd00::2", "DNS= takes one IPv6 address, and \"fd00::2\" is the second", NULL},
                {"0.0.0.0", "DNS= cannot send anything to \"0.0.0.0\": name the address of one resolver",
                 NULL},
                {"::", "DNS= cannot send anything to \"::\": name the address of one resolver", NULL},
                {"224.0.0.251",
                 "DNS= cannot send anything to \"224.0.0.251\": name the address of one resolver", NULL},
                {"ff02::fb", "DNS= cannot send anything to \"ff02::fb\": name the address of one resolver",
                 NULL},
                {"::ffff:10.0.0.53",
                 "DNS= cannot send anything to \"::ffff:10.0.0.53\": name the address of one resolver", NULL},
        };

        (void)state;
        for (size_t i = 0; i < ELEMENTSOF(table); i++) {
                _cleanup_destinations_ struct destinations d = {.dns = DNS_ALLOW};
                _cleanup_words_ struct words allowed = {}, loopback = {};
                _cleanup_free_ char *problem = NULL, *back = NULL;

                assert_int_equal(destinations_set_dns(&d, table[i].text, &problem),
                                 table[i].sentence ? -EINVAL : 0);
                if (table[i].sentence)
                        assert_string_equal(problem, table[i].sentence);
                assert_int_equal(destinations_to_words(&d, &allowed, &back, &loopback), 0);
                assert_string_equal(back, table[i].sentence ? "allow" : table[i].back);
        }
}

static void test_loopback(void **state)
{
        static const struct {
                const char *word, *sentence;
        } refused[] = {
                {"0", "\"0\" needs a port from 1 to 65535, or a range of them like 8000-8100"},
                {"65536", "\"65536\" needs a port from 1 to 65535, or a range of them like 8000-8100"},
                {"proxy", "\"proxy\" needs a port from 1 to 65535, or a range of them like 8000-8100"},
                {"8100-8000", "\"8100-8000\" has its ports the wrong way round: write 8000-8100"},
                {"", "\"\" needs a port from 1 to 65535, or a range of them like 8000-8100"},
                {"3128/tcp", "\"3128/tcp\" needs a port from 1 to 65535, or a range of them like 8000-8100"},
        };
        static const char *const accepted[] = {"9050", "8000-8100", "8050-8118", "65535", "8119", "1"};
        static const struct port_range merged[] = {{1, 1}, {8000, 8119}, {9050, 9050}, {65535, 65535}};
        _cleanup_destinations_ struct destinations d = {};

        (void)state;
        for (size_t i = 0; i < ELEMENTSOF(refused); i++) {
                _cleanup_free_ char *problem = NULL;

                assert_int_equal(destinations_deny_loopback(&d, refused[i].word, &problem), -EINVAL);
                assert_string_equal(problem, refused[i].sentence);
        }
        for (size_t i = 0; i < ELEMENTSOF(accepted); i++)
                assert_int_equal(destinations_deny_loopback(&d, accepted[i], NULL), 0);
        finish(&d);
        assert_int_equal(d.n_loopback_deny, ELEMENTSOF(merged));
        assert_memory_equal(d.loopback_deny, merged, sizeof(merged));
}

static void test_copy_and_equal(void **state)
{
        static const char *const differing[] = {"192.0.2.1", "2001:db8::1", "192.0.2.1:1/tcp",
                                                "[2001:db8::1]:1/udp"};
        _cleanup_destinations_ struct destinations d = {}, empty = {};

        (void)state;
        allow(&d, "internal 203.0.113.10:443 [2001:db8::5]:25/tcp");
        assert_int_equal(destinations_set_dns(&d, "10.0.0.53 fd00::53", NULL), 0);
        assert_int_equal(destinations_deny_loopback(&d, "3128", NULL), 0);
        finish(&d);
        for (size_t i = 0; i < ELEMENTSOF(differing); i++) {
                _cleanup_destinations_ struct destinations copy = {};

                assert_int_equal(destinations_copy(&d, &copy), 0);
                assert_true(destinations_equal(&d, &copy));
                allow(&copy, differing[i]);
                finish(&copy);
                assert_false(destinations_equal(&d, &copy));
        }
        for (int i = 0; i < 3; i++) {
                _cleanup_destinations_ struct destinations copy = {};

                assert_int_equal(destinations_copy(&d, &copy), 0);
                if (i == 0)
                        assert_int_equal(destinations_set_dns(&copy, "deny", NULL), 0);
                else if (i == 1)
                        copy.dns6[15] ^= 1;
                else
                        copy.loopback_deny[0].last++;
                assert_false(destinations_equal(&d, &copy));
        }
        finish(&empty);
        assert_true(destinations_equal(&empty, &(struct destinations){}));
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_refused_words),
                cmocka_unit_test(test_huge_words),
                cmocka_unit_test(test_sets),
                cmocka_unit_test(test_adds_up),
                cmocka_unit_test(test_too_many_endpoints),
                cmocka_unit_test(test_random_endpoints),
                cmocka_unit_test(test_dns),
                cmocka_unit_test(test_loopback),
                cmocka_unit_test(test_copy_and_equal),
        };

        return cmocka_run_group_tests_name("destinations", tests, NULL, NULL);
}
