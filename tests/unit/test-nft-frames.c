// SPDX-License-Identifier: GPL-2.0-or-later
/* The hooks at devices: each device has its own, whatever becomes of it. What they refuse is shown with
 * frames in tests/system/test_packet_sockets.py. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "device-watch.h"
#include "nft-fixture.h"
#include <time.h>

static void assert_difference(struct fixture *f, const char *what)
{
        _cleanup_free_ char *difference = NULL;
        int r = nft_verify(f->nft, f->r, true, &difference);

        if (r != (what != NULL) || (what && !strstr(difference, what)))
                fail_msg("%d: %s, expected %s", r, difference ? difference : "-", what ? what : "none");
}

static void cover(struct fixture *f)
{
        char *error = NULL;

        if (nft_cover_devices(f->nft, f->r, &error) < 0)
                fail_msg("%s", error);
        assert_difference(f, NULL);
}

static void test_devices_are_followed(void **state)
{
        struct fixture *f = begin_with_frames(state);
        bool follows;

        assert_difference(f, NULL);
        cover(f); /* with nothing to do */
        assert_true(shell("ip link add late type veth peer name other"));
        assert_difference(f, "is not hooked up at device");
        cover(f);
        assert_true(shell("ip link set late name later"));
        follows = shell("nft list table netdev lockdown-staff | grep -q 'device \"later\"'");
        if (follows)
                print_message("hooks follow their devices to new names, as before Linux 6.16\n");
        assert_difference(f, follows ? NULL : "is not hooked up at device later");
        cover(f);
        /* Two that swap their names: each chain is taken away and made anew under its name. */
        assert_true(shell("ip link set dev later name spare && ip link set dev other name later && ip link "
                          "set dev spare name other"));
        assert_difference(f, follows ? NULL : "is not hooked up at device");
        cover(f);
        assert_true(shell("ip link delete later"));
        assert_difference(f, NULL);
        cover(f);
        assert_true(shell("! nft list table netdev lockdown-staff | grep -q later"));
}

/* Changed sets go by way of the hold: its hooks at the devices, too. */
static void test_changes_keep_the_hooks(void **state)
{
        struct fixture *f = begin_with_frames(state);
        struct ruleset *new;
        char *error = NULL;

        append_id(&f->in.subjects.uid_ranges, 500000, 565535);
        new = build_ruleset(&f->in, find_case("staff"), NULL, 0);
        assert_int_equal(nft_update(f->nft, f->r, new, &error), 0);
        ruleset_keep_sizes(new, f->r);
        ruleset_free(f->r);
        f->r = new;
        assert_difference(f, NULL);
        assert_true(shell("! nft list tables | grep -q hold"));
        put(f, true);
        assert_difference(f, NULL);
        assert_true(shell("! nft list tables | grep -q hold"));
}

static void test_tampering_is_found(void **state)
{
        static const struct {
                const char *change, *difference;
        } cases[] = {
                {"flush chain netdev lockdown-staff egress_1", "has rules missing in chain egress_"},
                {"delete chain netdev lockdown-staff egress_1", "is not hooked up at device lo"},
                {"insert rule netdev lockdown-staff subjects_frames return", "has another rule 1 in chain"},
                {"add rule netdev lockdown-staff egress_1 return",
                 "has a rule too many at the end of chain egress_1"},
                {"flush set netdev lockdown-staff uids", "has set uids with 4 elements missing"},
                {"add table netdev lockdown-staff { flags dormant; }", "is dormant"},
                {"delete table netdev lockdown-staff", "is gone"},
        };
        struct fixture *f = *state;

        need_kernel(f);
        f->nft->table_flags = 0;
        begin_with_frames(state);
        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                assert_true(shell("nft '%s%s'", i == 1 ? "flush chain netdev lockdown-staff egress_1; " : "",
                                  cases[i].change));
                assert_difference(f, cases[i].difference);
                put(f, true);
                assert_difference(f, NULL);
        }
}

/* Somebody removed the other table while no daemon lived: what is left is known, taken over, and removed. */
static void test_left_alone(void **state)
{
        struct fixture *f = *state;
        struct nft_table *tables = NULL;
        char *error = NULL;
        size_t n = 0;

        need_kernel(f);
        f->nft->table_flags = 0;
        begin_with_frames(state);
        assert_int_equal(nft_list(f->nft, &tables, &n), 0);
        assert_int_equal(n, 1); /* the two are one */
        nft_tables_free(tables, n);
        assert_true(shell("nft delete table inet lockdown-staff"));
        assert_int_equal(nft_list(f->nft, &tables, &n), 0);
        assert_int_equal(n, 1);
        assert_string_equal(tables[0].name, "staff");
        assert_true(tables[0].engaged);
        nft_tables_free(tables, n);
        assert_int_equal(nft_adopt(f->nft, "staff", &error), 0);
        assert_int_equal(nft_delete(f->nft, "staff", &error), 0);
        assert_int_equal(nft_list(f->nft, &tables, &n), 0);
        assert_int_equal(n, 0);
        assert_int_equal(nft_adopt(f->nft, "staff", &error), -ENOENT);
        free(error);
}

static void engage_again(struct fixture *f)
{
        char *error = NULL;

        assert_int_equal(nft_disengage(f->nft, f->r, NULL), 0);
        if (nft_engage(f->nft, f->r, &error) != 0)
                fail_msg("%s", error);
}

/* Whoever notes the devices must know when that is not true any more. */
static void test_noted_devices(void **state)
{
        struct fixture *f = begin_with_frames(state);

        assert_true(shell("ip link add one type veth peer name two"));
        nft_note_devices(f->nft);
        engage_again(f);
        assert_difference(f, NULL);
        assert_true(shell("ip link add three type veth peer name four"));
        engage_again(f);
        assert_difference(f, "is not hooked up at device");
        nft_forget_devices(f->nft);
        engage_again(f);
        assert_difference(f, NULL);
        /* One that is gone: before Linux 6.16 the kernel says so, and they are listed after all. */
        nft_note_devices(f->nft);
        assert_true(shell("ip link delete one"));
        engage_again(f);
        assert_difference(f, NULL);
        cover(f);
        assert_true(shell("! nft list table netdev lockdown-staff | grep -q one"));
}

static void count_calls(void *userdata)
{
        ++*(unsigned *)userdata;
}

static void test_watch(void **state)
{
        struct fixture *f = begin_with_frames(state);
        _cleanup_(sd_event_unrefp) sd_event *event = NULL;
        struct device_watch *w = NULL;
        unsigned calls = 0;

        (void)f;
        assert_true(device_watch_is_pending(NULL));
        assert_int_equal(sd_event_new(&event), 0);
        assert_int_equal(device_watch_new(event, count_calls, &calls, &w), 0);
        assert_false(device_watch_is_pending(w));
        assert_true(shell("ip link add five type veth peer name six"));
        assert_true(device_watch_is_pending(w));
        assert_true(device_watch_is_pending(w));
        assert_int_equal(calls, 0);
        assert_true(sd_event_run(event, 0) > 0);
        assert_int_equal(calls, 1);
        assert_false(device_watch_is_pending(w));
        /* More than it has room for: it is told first that some were lost, then of the rest. */
        assert_true(shell("ip link set five up; for i in $(seq 300); do echo link set five alias $i; done | "
                          "ip -batch -"));
        assert_true(device_watch_is_pending(w));
        while (sd_event_run(event, 0) > 0)
                ;
        assert_int_equal(calls, 3);
        assert_false(device_watch_is_pending(w));
        device_watch_free(w);
}

static double milliseconds_since(const struct timespec *start)
{
        struct timespec now;

        assert_int_equal(clock_gettime(CLOCK_MONOTONIC, &now), 0);
        return (double)(now.tv_sec - start->tv_sec) * 1e3 + (double)(now.tv_nsec - start->tv_nsec) / 1e6;
}

/* An order's cost with many devices. */
static void test_many_devices(void **state)
{
        struct fixture *f = begin_with_frames(state);

        for (unsigned n = 2; n <= 200; n *= 10) {
                struct timespec start;
                double engaged, covered;

                assert_true(shell(
                        "for i in $(seq %u); do echo link add a%u.$i type veth peer name b%u.$i; done | "
                        "ip -batch -",
                        n / 2, n, n));
                cover(f);
                assert_int_equal(nft_disengage(f->nft, f->r, NULL), 0);
                assert_int_equal(clock_gettime(CLOCK_MONOTONIC, &start), 0);
                assert_int_equal(nft_engage(f->nft, f->r, NULL), 0);
                engaged = milliseconds_since(&start);
                assert_int_equal(clock_gettime(CLOCK_MONOTONIC, &start), 0);
                assert_int_equal(nft_cover_devices(f->nft, f->r, NULL), 0);
                covered = milliseconds_since(&start);
                print_message("%u more devices: engaged %.2f ms, looked through %.2f\n", n, engaged, covered);
                assert_difference(f, NULL);
        }
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                TEST(test_devices_are_followed), TEST(test_changes_keep_the_hooks),
                TEST(test_tampering_is_found),   TEST(test_left_alone),
                TEST(test_noted_devices),        TEST(test_watch),
                TEST(test_many_devices),
        };

        return cmocka_run_group_tests_name("nft-frames", tests, NULL, NULL);
}
