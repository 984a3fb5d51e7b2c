/* SPDX-License-Identifier: GPL-2.0-or-later */

/* What of a caller's bytes gets as far as sd-bus, and what users owe. */

// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
// clang-format on

#include "bus-account.h"
#include "bus-gate.h"
#include "cleanup.h"
#include <errno.h>
#include <string.h>

#define _cleanup_gate_ _cleanup_(gate_clear)

/* Lengths in the order of bytes that this machine has. */
static void write_header(uint8_t to[16], uint32_t fields, uint32_t body)
{
        static const uint8_t begin[4] = {__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__ ? 'l' : 'B', 1, 0, 1};
        const uint32_t rest[3] = {body, 1, fields};

        memcpy(to, begin, sizeof(begin));
        memcpy(to + 4, rest, sizeof(rest));
}

/* Puts as many bytes as there is room for; what gate_took() says. */
static int put(struct gate *g, const uint8_t **data, size_t *size, size_t limit)
{
        size_t room;
        void *to;

        assert_int_equal(gate_room(g, &to, &room), 0);
        if (room > *size)
                room = *size;
        memcpy(to, *data, room);
        *data += room;
        *size -= room;
        return gate_took(g, room, limit);
}

static void greeting_ends_with_begin(void **state)
{
        static const char said[] = "\0AUTH EXTERNAL\r\nDATA BEGIN\r\nBEGIN\r\r\nBEGIN\r\nl\1\0\1";
        const size_t size = sizeof(said) - 1, of_it = size - 4;

        (void)state;
        for (size_t step = 1; step <= size; step++) { /* in pieces of each size */
                _cleanup_gate_ struct gate g = {0};
                size_t at = 0, n = 1;

                while (!g.begun) {
                        size_t left = size - at;

                        assert_int_equal(
                                gate_greet(&g, (const uint8_t *)said + at, left < step ? left : step, &n), 0);
                        at += n;
                }
                assert_int_equal(at, of_it);
        }
}

static void greeting_without_end(void **state)
{
        _cleanup_gate_ struct gate g = {0};
        uint8_t much[GREETING_MAX] = {0};
        size_t n;

        (void)state;
        assert_int_equal(gate_greet(&g, much, sizeof(much), &n), 0);
        assert_int_equal(n, sizeof(much));
        assert_int_equal(gate_greet(&g, much, 1, &n), -EMSGSIZE);
}

static void messages_come_whole(void **state)
{
        _cleanup_gate_ struct gate g = {.begun = true};
        uint8_t two[2][16 + 16 + 7] = {{0}}; /* fields of 11 bytes are padded to 16 */
        const uint8_t *at = two[0];
        size_t left = sizeof(two);

        (void)state;
        write_header(two[0], 11, 7);
        write_header(two[1], 11, 7);
        for (int i = 0; i < 2; i++) {
                int r;

                do
                        r = put(&g, &at, &left, 1024);
                while (r == 0);
                assert_int_equal(r, 1);
                assert_int_equal(g.have, sizeof(two[i]));
                assert_memory_equal(g.message, two[i], sizeof(two[i]));
                gate_next(&g);
        }
        assert_int_equal(left, 0);
}

static void too_long_is_seen_at_once(void **state)
{
        static const struct {
                uint32_t fields, body;
        } sizes[] = {{0, 1009}, {1009, 0}, {UINT32_MAX, 0}, {0, UINT32_MAX}, {UINT32_MAX, UINT32_MAX}};

        (void)state;
        for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
                _cleanup_gate_ struct gate g = {.begun = true};
                uint8_t header[16];
                const uint8_t *at = header;
                size_t left = sizeof(header);

                write_header(header, sizes[i].fields, sizes[i].body);
                assert_int_equal(put(&g, &at, &left, 1024), -EMSGSIZE);
                assert_int_equal(g.capacity, 16);
        }
}

static void no_message_at_all(void **state)
{
        (void)state;
        for (int i = 0; i < 2; i++) {
                _cleanup_gate_ struct gate g = {.begun = true};
                uint8_t header[16];
                const uint8_t *at = header;
                size_t left = sizeof(header);

                write_header(header, 0, 0);
                header[i ? 0 : 3] = 'x'; /* the order of bytes, the version */
                assert_int_equal(put(&g, &at, &left, 1024), -EBADMSG);
        }
}

static void a_user_has_a_share(void **state)
{
        struct accounts a = {0};
        const uint64_t at = 1000000;

        (void)state;
        assert_int_equal(accounts_wait(&a, 7, at), 0);
        accounts_charge(&a, 7, ACCOUNT_BURST, at);
        assert_int_equal(accounts_wait(&a, 7, at), 0);
        accounts_charge(&a, 7, 1000, at);
        assert_int_equal(accounts_wait(&a, 7, at), 1000 * ACCOUNT_SHARE);
        assert_int_equal(accounts_wait(&a, 7, at + 1000 * ACCOUNT_SHARE), 0);
        assert_int_equal(accounts_wait(&a, 8, at), 0);
        accounts_charge(&a, 7, 3600 * UINT64_C(1000000), at);
        assert_true(accounts_wait(&a, 7, at) <= ACCOUNT_DEBT_MAX * ACCOUNT_SHARE);
}

static void who_owes_least_is_forgotten(void **state)
{
        struct accounts a = {0};
        const uint64_t at = 1000000;

        (void)state;
        accounts_charge(&a, 0, 2 * ACCOUNT_BURST, at);
        for (uint32_t uid = 1; uid < 10 * ACCOUNTS_MAX; uid++)
                accounts_charge(&a, uid, 10, at);
        assert_true(accounts_wait(&a, 0, at) > 0);
        assert_int_equal(a.n, ACCOUNTS_MAX);
}

static void no_refusal_is_lost(void **state)
{
        struct refusals r = {0};
        uint64_t told = 0, counted;

        (void)state;
        for (uint32_t uid = 0; uid < 2 * ACCOUNTS_MAX; uid++)
                for (int i = 0; i < 50; i++)
                        told += refusals_tell(&r, uid);
        assert_int_equal(told, REFUSALS_TOLD_IN_ALL);
        counted = r.others;
        for (size_t i = 0; i < r.n; i++) {
                assert_true(r.items[i].told <= REFUSALS_TOLD);
                counted += r.items[i].more;
        }
        assert_int_equal(told + counted, 2 * ACCOUNTS_MAX * 50);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(greeting_ends_with_begin),    cmocka_unit_test(greeting_without_end),
                cmocka_unit_test(messages_come_whole),         cmocka_unit_test(too_long_is_seen_at_once),
                cmocka_unit_test(no_message_at_all),           cmocka_unit_test(a_user_has_a_share),
                cmocka_unit_test(who_owes_least_is_forgotten), cmocka_unit_test(no_refusal_is_lost),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
