/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "cleanup.h"
#include "destinations.h"

#include <arpa/inet.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
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

static enum judgement judge(const struct destinations *d, const char *endpoint)
{
        struct endpoint e;

        if (endpoint_parse(endpoint, &e) < 0)
                fail_msg("%s", endpoint);
        return destinations_judge(d, &e);
}

static void test_judge(void **state)
{
        static const struct {
                const char *allow, *dns, *endpoint;
                enum judgement judgement;
        } table[] = {
                {"internal", "deny", "10.1.2.3", JUDGE_ALLOWED},
                {"internal", "deny", "10.1.2.3:443", JUDGE_ALLOWED},
                {"internal", "deny", "9.255.255.255:443", JUDGE_OUTSIDE},
                {"internal", "deny", "11.0.0.0", JUDGE_OUTSIDE},
                {"internal", "deny", "172.32.0.1", JUDGE_OUTSIDE},
                {"internal", "deny", "224.0.0.251", JUDGE_ALLOWED},
                {"internal", "deny", "239.0.0.1", JUDGE_OUTSIDE},
                {"internal", "deny", "255.255.255.255", JUDGE_OUTSIDE},
                {"internal", "deny", "fd00::1", JUDGE_ALLOWED},
                {"internal", "deny", "[fe80::1]:22", JUDGE_ALLOWED},
                {"internal", "deny", "ff05::1", JUDGE_OUTSIDE},
                {"internal", "deny", "2001:db8::1", JUDGE_OUTSIDE},
                {"internal", "deny", "64:ff9b::a00:1", JUDGE_OUTSIDE},
                {"internal", "deny", "::ffff:10.0.0.1", JUDGE_ALLOWED},
                {"internal", "deny", "[::ffff:8.8.8.8]:443", JUDGE_OUTSIDE},
                {"none", "deny", "10.1.2.3", JUDGE_OUTSIDE},
                {"none", "allow", "10.1.2.3:53/udp", JUDGE_OUTSIDE},
                {"none", "deny", "127.0.0.1", JUDGE_LOCAL},
                {"none", "deny", "[::1]:8080", JUDGE_LOCAL},
                {"internal", "deny", "127.0.0.1:3128", JUDGE_LOOPBACK_PORT},
                {"internal", "deny", "127.0.0.1:3128/udp", JUDGE_LOOPBACK_PORT},
                {"internal", "deny", "[::1]:8118", JUDGE_LOOPBACK_PORT},
                {"internal", "allow", "127.0.0.1:9050", JUDGE_LOOPBACK_PORT},
                {"internal", "deny", "10.0.0.1:3128", JUDGE_ALLOWED}, /* not here */
                {"internal", "deny", "127.0.0.53:53/udp", JUDGE_DNS},
                {"internal", "allow", "127.0.0.53:53/udp", JUDGE_LOCAL},
                {"internal", "10.0.0.53", "127.0.0.53:53/udp", JUDGE_DNS_REDIRECTED},
                {"internal", "10.0.0.53", "127.0.0.1:53", JUDGE_DNS_REDIRECTED},
                {"internal", "10.0.0.53", "[::1]:53/udp", JUDGE_DNS_REDIRECTED},
                {"internal 127.0.0.53:53", "10.0.0.53", "127.0.0.53:53/udp", JUDGE_DNS_REDIRECTED},
                {"internal", "10.0.0.53", "127.0.0.1:853", JUDGE_DNS},
                {"internal", "10.0.0.53", "127.0.0.1:5353/udp", JUDGE_DNS},
                {"internal", "10.0.0.53", "[::1]:5355/udp", JUDGE_DNS},
                {"internal", "deny", "10.0.0.53:53", JUDGE_DNS},
                {"internal", "deny", "10.0.0.53:853", JUDGE_DNS},
                {"internal", "deny", "224.0.0.251:5353/udp", JUDGE_DNS},
                {"internal", "deny", "224.0.0.252:5355/udp", JUDGE_DNS},
                {"internal", "deny", "8.8.8.8:53/udp", JUDGE_DNS},
                {"internal", "allow", "8.8.8.8:53/udp", JUDGE_OUTSIDE},
                {"internal", "allow", "10.0.0.53:53/udp", JUDGE_ALLOWED},
                {"internal", "10.0.0.53", "8.8.8.8:53/udp", JUDGE_DNS_REDIRECTED},
                {"internal", "10.0.0.53", "10.0.0.54:53", JUDGE_DNS_REDIRECTED},
                {"internal", "10.0.0.53", "[2001:db8::1]:53/udp", JUDGE_DNS_REDIRECTED},
                {"internal", "fd00::53", "8.8.8.8:53/udp", JUDGE_DNS_REDIRECTED},
                {"internal", "fd00::53", "8.8.8.8:853", JUDGE_DNS},
                {"internal", "10.0.0.53 fd00::53", "[2001:db8::1]:53/udp", JUDGE_DNS_REDIRECTED},
                {"internal", "10.0.0.53", "10.0.0.53:853", JUDGE_DNS},
                {"internal 203.0.113.10:443/tcp", "deny", "203.0.113.10:443", JUDGE_SERVICE},
                {"internal 203.0.113.10:443/tcp", "deny", "203.0.113.10:443/udp", JUDGE_OUTSIDE},
                {"internal 203.0.113.10:443/tcp", "deny", "203.0.113.10:444", JUDGE_OUTSIDE},
                {"internal 203.0.113.10:443/tcp", "deny", "203.0.113.10", JUDGE_OUTSIDE},
                {"internal 203.0.113.10:443/tcp", "deny", "203.0.113.11:443", JUDGE_OUTSIDE},
                {"internal 203.0.113.10:443/tcp", "deny", "[::ffff:203.0.113.10]:443", JUDGE_SERVICE},
                {"internal 203.0.113.53:53", "deny", "203.0.113.53:53/udp", JUDGE_SERVICE},
                {"internal 203.0.113.53:53", "10.0.0.53", "203.0.113.53:53/udp", JUDGE_SERVICE},
                {"internal 127.0.0.53:53", "deny", "127.0.0.53:53", JUDGE_DNS},
                {"internal [2001:db8::/32]:443/tcp", "deny", "[2001:db8:ffff::9]:443", JUDGE_SERVICE},
                {"192.0.2.255 198.51.100.0/24", "deny", "192.0.2.255", JUDGE_ALLOWED},
                {"192.0.2.255 198.51.100.0/24", "deny", "10.0.0.1", JUDGE_OUTSIDE},
        };

        (void)state;
        for (size_t i = 0; i < ELEMENTSOF(table); i++) {
                _cleanup_destinations_ struct destinations d = {};
                enum judgement j;

                allow(&d, table[i].allow);
                assert_int_equal(destinations_set_dns(&d, table[i].dns, NULL), 0);
                assert_int_equal(destinations_deny_loopback(&d, "3128", NULL), 0);
                assert_int_equal(destinations_deny_loopback(&d, "8100-8200", NULL), 0);
                assert_int_equal(destinations_deny_loopback(&d, "9050", NULL), 0);
                finish(&d);
                j = judge(&d, table[i].endpoint);
                if (j != table[i].judgement)
                        fail_msg("Allow=%s DNS=%s %s: %d, expected %d", table[i].allow, table[i].dns,
                                 table[i].endpoint, j, table[i].judgement);
        }
}

/* Own addresses of the machine are local, too, and only TCP and UDP have ports. */
/* As a socket has it, which no word was read for: IPv4, whatever network of IPv6 it lies in. */
static void test_judge_mapped(void **state)
{
        static const struct {
                const char *allow, *addr;
                enum judgement judgement;
        } table[] = {
                {"::/80", "::ffff:8.8.8.8", JUDGE_OUTSIDE},
                {"::/80", "::fffe:8.8.8.8", JUDGE_ALLOWED},
                {"::/80 8.8.8.8", "::ffff:8.8.8.8", JUDGE_ALLOWED},
                {"8.8.8.8:443/tcp", "::ffff:8.8.8.8", JUDGE_SERVICE},
        };

        (void)state;
        for (size_t i = 0; i < ELEMENTSOF(table); i++) {
                _cleanup_destinations_ struct destinations d = {};
                struct endpoint e = {.family = AF_INET6, .protocol = IPPROTO_TCP, .port = 443};

                allow(&d, table[i].allow);
                finish(&d);
                assert_int_equal(inet_pton(AF_INET6, table[i].addr, e.addr), 1);
                assert_int_equal(destinations_judge(&d, &e), table[i].judgement);
        }
}

static void test_judge_local(void **state)
{
        _cleanup_destinations_ struct destinations d = {};
        struct endpoint e = {
                .family = AF_INET, .addr = {203, 0, 113, 1}, .protocol = IPPROTO_TCP, .port = 443};

        (void)state;
        assert_int_equal(destinations_deny_loopback(&d, "3128", NULL), 0);
        finish(&d);
        assert_int_equal(destinations_judge(&d, &e), JUDGE_OUTSIDE);
        e.local = true;
        assert_int_equal(destinations_judge(&d, &e), JUDGE_LOCAL);
        e.port = 3128;
        assert_int_equal(destinations_judge(&d, &e), JUDGE_LOOPBACK_PORT);
        e.protocol = IPPROTO_ICMP;
        assert_int_equal(destinations_judge(&d, &e), JUDGE_LOCAL);
        e.port = 53;
        assert_int_equal(destinations_judge(&d, &e), JUDGE_LOCAL);
        assert_true(judgement_refuses(JUDGE_OUTSIDE) && judgement_refuses(JUDGE_DNS) &&
                    judgement_refuses(JUDGE_LOOPBACK_PORT));
        assert_false(judgement_refuses(JUDGE_LOCAL) || judgement_refuses(JUDGE_ALLOWED) ||
                     judgement_refuses(JUDGE_SERVICE) || judgement_refuses(JUDGE_DNS_REDIRECTED));
}

static void test_endpoint(void **state)
{
        static const struct {
                const char *text;
                int result, family;
                const char *addr;
                uint8_t protocol;
                uint16_t port;
                bool local;
        } table[] = {
                {"203.0.113.7", 0, AF_INET, "203.0.113.7", 0, 0, false},
                {"203.0.113.7:443", 0, AF_INET, "203.0.113.7", IPPROTO_TCP, 443, false},
                {"203.0.113.7:53/udp", 0, AF_INET, "203.0.113.7", IPPROTO_UDP, 53, false},
                {"127.1.2.3:80", 0, AF_INET, "127.1.2.3", IPPROTO_TCP, 80, true},
                {"[::1]:80", 0, AF_INET6, "::1", IPPROTO_TCP, 80, true},
                {"2001:db8::7", 0, AF_INET6, "2001:db8::7", 0, 0, false},
                {"[2001:db8::7]:443/udp", 0, AF_INET6, "2001:db8::7", IPPROTO_UDP, 443, false},
                {"::ffff:127.0.0.1", 0, AF_INET, "127.0.0.1", 0, 0, true},
                {"203.0.113.7/32", -EINVAL, 0, NULL, 0, 0, false},
                {"203.0.113.7:80-90", -EINVAL, 0, NULL, 0, 0, false},
                {"203.0.113.7:0", -EINVAL, 0, NULL, 0, 0, false},
                {"internal", -EINVAL, 0, NULL, 0, 0, false},
                {"example.com", -EINVAL, 0, NULL, 0, 0, false},
                {"fe80::1%lo", -EINVAL, 0, NULL, 0, 0, false},
                {"", -EINVAL, 0, NULL, 0, 0, false},
        };

        (void)state;
        for (size_t i = 0; i < ELEMENTSOF(table); i++) {
                struct endpoint e = {.family = 99};
                uint8_t addr[16] = {};

                assert_int_equal(endpoint_parse(table[i].text, &e), table[i].result);
                if (table[i].result < 0) {
                        assert_int_equal(e.family, 99);
                        continue;
                }
                inet_pton(table[i].family, table[i].addr, addr);
                assert_int_equal(e.family, table[i].family);
                assert_memory_equal(e.addr, addr, sizeof(addr));
                assert_int_equal(e.protocol, table[i].protocol);
                assert_int_equal(e.port, table[i].port);
                assert_int_equal(e.local, table[i].local);
        }
        assert_int_equal(endpoint_parse(NULL, &(struct endpoint){}), -EINVAL);
}

/* Where a login came from: the network alone counts, and what is no address cannot be judged. */
static void test_host(void **state)
{
        static const struct {
                const char *host;
                int result;
                bool refused;
        } table[] = {
                {"10.1.2.3", 0, false},
                {"203.0.113.7", 0, true},
                {"203.0.113.10", 0, true}, /* Allow= has an endpoint there, not the network */
                {"10.0.0.53", 0, false},
                {"::ffff:10.1.2.3", 0, false},
                {"::ffff:203.0.113.7", 0, true},
                {"fd00::7", 0, false},
                {"2001:db8::7", 0, true},
                {"fe80::1%eth0", 0, false},
                {"127.0.0.1", 0, false},
                {"::1", 0, false},
                {"64:ff9b::a01:203", 0, true}, /* NAT64 to an internal address */
                {"203.0.113.10:443", -EINVAL, false},
                {"[fd00::7]", -EINVAL, false},
                {"10.0.0.0/8", -EINVAL, false},
                {"gateway.example.com", -EINVAL, false},
                {"10.1.2.3.example.com", -EINVAL, false},
                {"%eth0", -EINVAL, false},
                {"", -EINVAL, false},
                {NULL, -EINVAL, false},
        };
        _cleanup_destinations_ struct destinations d = {};

        (void)state;
        allow(&d, "internal 203.0.113.10:443/tcp");
        finish(&d);
        for (size_t i = 0; i < ELEMENTSOF(table); i++) {
                struct endpoint e = {.family = 99};

                if (endpoint_parse_host(table[i].host, &e) != table[i].result)
                        fail_msg("%s", table[i].host);
                if (table[i].result < 0)
                        assert_int_equal(e.family, 99);
                else if (judgement_refuses(destinations_judge(&d, &e)) != table[i].refused)
                        fail_msg("%s", table[i].host);
        }
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_judge),       cmocka_unit_test(test_judge_mapped),
                cmocka_unit_test(test_judge_local), cmocka_unit_test(test_endpoint),
                cmocka_unit_test(test_host),
        };

        return cmocka_run_group_tests_name("judge", tests, NULL, NULL);
}
