/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Orders over reboots, and under clocks that are wrong: an end never comes early by that, nor never. */

#include "order-fixture.h"

#define M USEC_PER_MINUTE

static struct now unsynchronized(uint64_t realtime, uint64_t boottime, const char *boot)
{
        struct now now = at(realtime, boottime, boot);

        now.synchronized = false;
        return now;
}

static void test_rebase(void **state)
{
        _cleanup_(order_freep) struct order *o = order_with((struct order_time){.duration = 8 * H});
        struct now same = at(T0 + 2 * H, 3 * H, BOOT_A);
        struct now reboot = at(T0 + 3 * H, M, BOOT_B);
        struct now stepped = at(T0 + YEARS, M + H, BOOT_B);

        (void)state;
        order_rebase(o, &same);
        assert_string_equal(o->boot_id, BOOT_A);
        assert_int_equal(o->until_boottime, 9 * H);

        order_rebase(o, &reboot);
        assert_true(order_settle(o, &reboot));
        assert_string_equal(o->boot_id, BOOT_B);
        assert_int_equal(o->until_boottime, M + 5 * H);
        assert_true(o->ordered_boottime == (int64_t)M - 3 * (int64_t)H);
        assert_int_equal(order_remaining(o, &reboot), 5 * H);
        /* and from here on no clock step moves it */
        assert_false(order_settle(o, &stepped));
        assert_int_equal(order_remaining(o, &stepped), 4 * H);
}

/* What it says is read back as it is. */
static void assert_can_be_saved(const struct order *o)
{
        _cleanup_json_ json_t *j = order_to_json(o);
        _cleanup_(order_freep) struct order *back = NULL;
        struct problems problems = {0};

        assert_non_null(j);
        assert_int_equal(order_from_json(j, &back, &problems), 0);
        assert_true(back->until_boottime == o->until_boottime);
        problems_clear(&problems);
}

/* Four hours in, last saved two hours in, the machine goes off for two hours; what the clock shows
 * afterwards, and what that means. The order was given by a clock that was synchronized, or was not. */
static void test_wrong_after_reboot(void **state)
{
        static const struct {
                const char *what;
                bool trusted, synchronized;
                uint64_t realtime, left_for, left_until;
        } table[] = {
                {"right, and known to be", true, true, T0 + 6 * H, 2 * H, 2 * H},
                {"right, nobody knows", true, false, T0 + 6 * H, 6 * H, 6 * H},
                {"years ahead", true, false, T0 + YEARS, 6 * H, 6 * H},
                {"years behind", true, false, T0 - YEARS, 6 * H, 6 * H},
                {"at the Epoch", true, false, 60 * USEC_PER_SEC, 6 * H, 6 * H},
                {"set back a little", true, false, T0 + H, 6 * H, 7 * H},
                {"off for a week, and known to be", true, true, T0 + 7 * USEC_PER_DAY, 0, 0},
                {"off for a week, nobody knows", true, false, T0 + 7 * USEC_PER_DAY, 6 * H, 6 * H},
                {"right now, wrong when ordered", false, true, T0 + YEARS, 6 * H, 6 * H},
                {"right now, unknown when ordered", false, true, T0 + 6 * H, 6 * H, 2 * H},
                {"right now, ahead when ordered", false, true, T0 - YEARS, 6 * H, 6 * H},
        };

        (void)state;
        for (size_t i = 0; i < ELEMENTSOF(table); i++) {
                _cleanup_(order_freep) struct order *f = order_with((struct order_time){.duration = 8 * H});
                _cleanup_(order_freep) struct order *u = order_with((struct order_time){.until = T0 + 8 * H});
                struct now seen = at(T0 + 2 * H, 3 * H, BOOT_A), now = at(table[i].realtime, M, BOOT_B),
                           later;

                print_message("%s\n", table[i].what);
                now.synchronized = table[i].synchronized;
                f->until_synchronized = u->until_synchronized = table[i].trusted;
                order_seen(f, &seen);
                order_seen(u, &seen);
                assert_int_equal(order_remaining(f, &now), table[i].left_for);
                assert_int_equal(order_remaining(u, &now), table[i].left_until);
                assert_int_equal(order_awaits_clock(f, &now), !table[i].synchronized);
                order_rebase(f, &now);
                order_rebase(u, &now);
                assert_int_equal(order_remaining(f, &now), table[i].left_for);
                assert_int_equal(order_expired(f, &now), table[i].left_for == 0);
                assert_int_equal(order_remaining(u, &now), table[i].left_until);
                assert_int_equal(order_expired(u, &now), table[i].left_until == 0);
                assert_int_equal(order_settle(f, &now), table[i].synchronized);
                assert_int_equal(order_settle(u, &now), table[i].synchronized);
                assert_int_equal(order_remaining(f, &now), table[i].left_for);
                assert_int_equal(order_remaining(u, &now), table[i].left_until);
                assert_can_be_saved(f);
                assert_can_be_saved(u);
                /* whatever it shows, and if it is never synchronized: not for ever */
                later = unsynchronized(table[i].realtime + 8 * H, M + 8 * H, BOOT_B);
                assert_true(order_expired(f, &later) && order_expired(u, &later));
        }
}

/* The machine comes up with a wrong clock, which is put right an hour later. */
static void test_put_right_later(void **state)
{
        static const uint64_t wrong[] = {T0 - YEARS, T0 + YEARS, T0 + 3 * H};

        (void)state;
        for (size_t i = 0; i < ELEMENTSOF(wrong); i++) {
                _cleanup_(order_freep) struct order *f = order_with((struct order_time){.duration = 8 * H});
                _cleanup_(order_freep) struct order *u = order_with((struct order_time){.until = T0 + 8 * H});
                struct now boot = unsynchronized(wrong[i], M, BOOT_B);
                struct now set = unsynchronized(T0 + 7 * H, M + H, BOOT_B); /* not synchronized yet */
                struct now right = at(T0 + 7 * H, M + H, BOOT_B), due = at(T0 + 8 * H, M + 2 * H, BOOT_B);

                order_rebase(f, &boot);
                order_rebase(u, &boot);
                assert_int_equal(order_remaining(f, &boot), 8 * H);
                assert_false(order_correct_until(f, &set)); /* that is what there is to go by */
                assert_int_equal(order_remaining(f, &set), 7 * H);
                assert_int_equal(order_remaining(u, &set), 7 * H);
                assert_true(order_settle(f, &right) && order_settle(u, &right));
                assert_int_equal(order_remaining(f, &right), H);
                assert_int_equal(order_remaining(u, &right), H);
                assert_false(order_awaits_clock(f, &right) || order_awaits_clock(u, &right));
                assert_true(order_expired(f, &due) && order_expired(u, &due));
                assert_int_equal(f->until, T0 + 8 * H);
                assert_int_equal(u->until, T0 + 8 * H);
        }
}

/* Reboot after reboot and no NTP: the time that it was seen in force adds up. */
static void test_never_synchronized(void **state)
{
        _cleanup_(order_freep) struct order *o = order_with((struct order_time){.duration = 8 * H});
        char boot[33] = BOOT_B;

        (void)state;
        o->until_synchronized = false;
        for (uint64_t i = 1; i <= 4; i++) {
                struct now up = unsynchronized(M, M, boot), down = unsynchronized(M + 2 * H, M + 2 * H, boot);

                order_rebase(o, &up);
                assert_false(order_settle(o, &up));
                assert_int_equal(order_remaining(o, &up), (10 - 2 * i) * H);
                assert_int_equal(order_expired(o, &down), i == 4);
                order_seen(o, &down);
                boot[0] = (char)('0' + i);
        }
}

/* In one boot: a point in time, and a clock that is set. A duration does not care. */
static void test_set_in_one_boot(void **state)
{
        static const struct {
                const char *what;
                bool trusted, synchronized;
                uint64_t realtime, left;
        } table[] = {
                {"forward, by NTP", true, true, T0 + 7 * H, H},
                {"forward over the end, by NTP", true, true, T0 + YEARS, 0},
                {"forward, by somebody", true, false, T0 + 7 * H, 7 * H},
                {"forward over the end, by somebody", true, false, T0 + YEARS, 7 * H},
                {"back, by NTP", true, true, T0 + H / 2, 7 * H + H / 2},
                {"back, by somebody", true, false, T0 + H / 2, 7 * H + H / 2},
                {"back before the order, by somebody", true, false, T0 - YEARS, 7 * H},
                {"right for the first time, a little later", false, true, T0 + 2 * H, 6 * H},
                {"right for the first time, years later", false, true, T0 + YEARS, 7 * H},
                {"right for the first time, years earlier", false, true, T0 - YEARS, 7 * H},
        };

        (void)state;
        for (size_t i = 0; i < ELEMENTSOF(table); i++) {
                _cleanup_(order_freep) struct order *f = order_with((struct order_time){.duration = 8 * H});
                _cleanup_(order_freep) struct order *u = order_with((struct order_time){.until = T0 + 8 * H});
                struct now now = at(table[i].realtime, 2 * H, BOOT_A);

                print_message("%s\n", table[i].what);
                now.synchronized = table[i].synchronized;
                f->until_synchronized = u->until_synchronized = table[i].trusted;
                for (int settled = 0; settled < 2; settled++) {
                        assert_int_equal(order_remaining(u, &now), table[i].left);
                        assert_int_equal(order_remaining(f, &now), 7 * H);
                        assert_int_equal(order_settle(u, &now), !settled && !table[i].trusted);
                        (void)order_settle(f, &now);
                        (void)order_correct_until(f, &now);
                }
                assert_int_equal(f->until, table[i].realtime + 7 * H);
                assert_int_equal(f->until_synchronized, table[i].synchronized);
        }
}

/* When does a person have to be told? */
static void test_awaits_clock(void **state)
{
        _cleanup_(order_freep) struct order *f = order_with((struct order_time){.duration = 8 * H});
        _cleanup_(order_freep) struct order *u = order_with((struct order_time){.until = T0 + 8 * H});
        _cleanup_(order_freep) struct order *never = order_with((struct order_time){0});
        struct now same = unsynchronized(T0 + H, 2 * H, BOOT_A),
                   ahead = unsynchronized(T0 + YEARS, 2 * H, BOOT_A);
        struct now rebooted = unsynchronized(T0 + H, M, BOOT_B);

        (void)state;
        assert_false(order_awaits_clock(f, &same) || order_awaits_clock(u, &same));
        assert_false(order_awaits_clock(f, &ahead) || order_awaits_clock(never, &ahead));
        assert_true(order_awaits_clock(u, &ahead));
        assert_true(order_awaits_clock(f, &rebooted) && order_awaits_clock(u, &rebooted));
        assert_false(order_awaits_clock(never, &rebooted));
        order_ask_confirmation(never, H, &same);
        assert_true(order_awaits_clock(never, &rebooted));
}

/* It ends unless confirmed, whatever its end. */
static void test_confirmation(void **state)
{
        const struct order_time ends[] = {{0}, {.duration = 8 * H}, {.until = T0 + 8 * H}};

        (void)state;
        for (size_t i = 0; i < ELEMENTSOF(ends); i++) {
                _cleanup_(order_freep) struct order *o = order_with(ends[i]);
                struct now ordered = at(T0, H, BOOT_A), due = at(T0 + 2 * H, 3 * H, BOOT_A);
                struct now early = at(T0 + 5 * H, 3 * H - 1, BOOT_A), rebooted = at(T0 + H, 60, BOOT_B);
                struct now past = at(T0 - YEARS, 60, BOOT_B),
                           unknown = unsynchronized(T0 + YEARS, 60, BOOT_B);

                assert_false(order_confirm(o));
                assert_true(order_confirm_remaining(o, &ordered) == UINT64_MAX);
                assert_false(order_unconfirmed(o, &due));
                order_ask_confirmation(o, 2 * H, &ordered);
                assert_true(order_confirm_remaining(o, &ordered) == 2 * H);
                assert_false(order_expired(o, &early)); /* the wall clock was set meanwhile */
                assert_true(order_expired(o, &due) && order_unconfirmed(o, &due));
                /* after a reboot by the wall clock, but never longer than it was to be */
                assert_true(order_confirm_remaining(o, &rebooted) == H);
                assert_true(order_confirm_remaining(o, &past) == 2 * H);
                assert_true(order_confirm_remaining(o, &unknown) == 2 * H);
                order_rebase(o, &rebooted);
                assert_true(order_settle(o, &rebooted));
                due = at(T0, 60 + H, BOOT_B);
                assert_true(order_unconfirmed(o, &due));
                due.boottime--;
                assert_false(order_unconfirmed(o, &due));

                assert_true(order_confirm(o));
                due.boottime++;
                assert_false(order_expired(o, &due) || order_unconfirmed(o, &due));
                assert_true(i == 0 ? order_remaining(o, &due) == UINT64_MAX
                                   : order_remaining(o, &due) <= 8 * H);
        }
}

/* Off for so long that the end lies before the boot. */
static void test_off_beyond_the_end(void **state)
{
        const struct order_time ends[] = {{0}, {.duration = 8 * H}, {.until = T0 + 8 * H}};
        const struct now ordered = at(T0, H, BOOT_A), week = at(T0 + 7 * USEC_PER_DAY, M, BOOT_B);

        (void)state;
        for (size_t i = 0; i < ELEMENTSOF(ends); i++) {
                _cleanup_(order_freep) struct order *o = order_with(ends[i]);

                order_ask_confirmation(o, 2 * H, &ordered);
                order_rebase(o, &week);
                assert_true(order_settle(o, &week));
                assert_true(order_unconfirmed(o, &week) && order_expired(o, &week));
                assert_can_be_saved(o);
        }
}

/* The wall clock was set: what people are told follows, what is measured does not. */
static void test_confirmation_and_clock_steps(void **state)
{
        _cleanup_(order_freep) struct order *o = order_with((struct order_time){0});
        struct now ordered = at(T0, H, BOOT_A), set = at(T0 + YEARS, 2 * H, BOOT_A);

        (void)state;
        order_ask_confirmation(o, 2 * H, &ordered);
        assert_true(order_correct_until(o, &set));
        assert_true(o->confirm_until == T0 + YEARS + H);
        assert_false(order_correct_until(o, &set));
        assert_true(order_confirm_remaining(o, &set) == H);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_off_beyond_the_end),
                cmocka_unit_test(test_rebase),
                cmocka_unit_test(test_wrong_after_reboot),
                cmocka_unit_test(test_put_right_later),
                cmocka_unit_test(test_never_synchronized),
                cmocka_unit_test(test_set_in_one_boot),
                cmocka_unit_test(test_awaits_clock),
                cmocka_unit_test(test_confirmation),
                cmocka_unit_test(test_confirmation_and_clock_steps),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
