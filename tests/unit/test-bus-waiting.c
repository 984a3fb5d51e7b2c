/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Who comes before the directory has said who may order and lift: nobody is refused for that. */

// wrap: manager_order manager_status manager_permits manager_right_unknown manager_on_change
// wrap: manager_on_right_known audit audit_log getsockopt accept4 bus_time_used sd_event_add_time_relative

#include "bus-lab.h"

static bool no_patience;

int __real_sd_event_add_time_relative(sd_event *e, sd_event_source **s, clockid_t clock, uint64_t usec,
                                      uint64_t accuracy, sd_event_time_handler_t callback, void *userdata);
int __wrap_sd_event_add_time_relative(sd_event *e, sd_event_source **s, clockid_t clock, uint64_t usec,
                                      uint64_t accuracy, sd_event_time_handler_t callback, void *userdata);
int __wrap_sd_event_add_time_relative(sd_event *e, sd_event_source **s, clockid_t clock, uint64_t usec,
                                      uint64_t accuracy, sd_event_time_handler_t callback, void *userdata)
{
        return __real_sd_event_add_time_relative(
                e, s, clock, no_patience && usec == WAITING_TIMEOUT ? 0 : usec, accuracy, callback, userdata);
}

static void become_known(void)
{
        play.too_early = false;
        play.known(play.known_userdata);
}

static int set_up_early(void **state)
{
        int r = set_up(state);

        play.too_early = true;
        no_patience = false;
        return r;
}

static void who_comes_too_early_waits(void **state)
{
        sd_bus *callers[4] = {come(OPERATOR), come(ALICE), come(0), come(BOB)};
        unsigned answers[4] = {0};

        (void)state;
        for (int i = 0; i < 3; i++)
                ask_order(callers[i], &answers[i]);
        ask_status(callers[3], &answers[3]);
        for (int i = 0; i < 4; i++)
                assert_return_code(converse(callers[i]), 0);
        assert_int_equal(play.orders, 1); /* root's */
        assert_int_equal(answers[2], 1);
        assert_int_equal(answers[3], 1); /* who has the right already */
        assert_int_equal(answers[0] + answers[1] + play.refusals, 0);
        become_known();
        for (int i = 0; i < 2; i++)
                assert_return_code(converse(callers[i]), 0);
        assert_int_equal(play.orders, 2);
        assert_int_equal(play.refusals, 1); /* ALICE */
        assert_int_equal(answers[0], 1);
        assert_int_equal(answers[1], 1);
        for (int i = 0; i < 2; i++) { /* and both may ask on */
                ask_status(callers[i], &answers[i]);
                assert_return_code(converse(callers[i]), 0);
                assert_int_equal(answers[i], 2);
        }
        leave(callers, 4);
}

static void operators_go_first(void **state)
{
        sd_bus *callers[3] = {come(ALICE), come(OPERATOR), come(BOB)};
        unsigned answers = 0;

        (void)state;
        for (int i = 0; i < 3; i++)
                ask_order(callers[i], &answers);
        assert_true(run_until_quiet());
        become_known();
        while (play.orders == 0)
                assert_true(sd_event_run(play.event, 0) > 0);
        assert_int_equal(play.refusals, 0);
        leave(callers, 3);
}

static void one_call_of_a_user_waits(void **state)
{
        sd_bus *callers[CONNECTIONS_PER_UID];
        unsigned answers = 0, waiting = 0;

        (void)state;
        for (size_t i = 0; i < CONNECTIONS_PER_UID; i++) {
                callers[i] = come(ALICE);
                for (int k = 0; k < 10; k++)
                        ask_order(callers[i], &answers);
        }
        assert_true(run_until_quiet());
        for (const struct connection *c = play.bus->connections; c; c = c->next)
                waiting += c->waiting;
        assert_int_equal(waiting, 1);
        assert_int_equal(answers, 0);
        leave(callers, CONNECTIONS_PER_UID);
}

static void who_hangs_up_waits_no_more(void **state)
{
        sd_bus *caller = come(OPERATOR);
        unsigned answers = 0;

        (void)state;
        ask_order(caller, &answers);
        assert_return_code(converse(caller), 0);
        assert_non_null(play.bus->waiting);
        leave(&caller, 1);
        assert_true(run_until_quiet());
        assert_int_equal(play.bus->n_connections, 0);
        assert_null(play.bus->waiting);
        become_known();
        assert_true(run_until_quiet());
        assert_int_equal(play.orders, 0);
}

static void nobody_waits_for_ever(void **state)
{
        sd_bus *caller = come(OPERATOR);
        unsigned answers = 0;

        (void)state;
        no_patience = true;
        ask_order(caller, &answers);
        assert_return_code(converse(caller), 0);
        assert_int_equal(answers, 1);
        assert_int_equal(play.orders, 0);
        assert_int_equal(play.refusals, 1);
        leave(&caller, 1);
}

static void the_bus_goes_while_one_waits(void **state)
{
        sd_bus *caller = come(OPERATOR);
        unsigned answers = 0;

        (void)state;
        ask_order(caller, &answers);
        assert_return_code(converse(caller), 0);
        play.bus = bus_free(play.bus);
        assert_int_equal(play.orders, 0);
        leave(&caller, 1);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(who_comes_too_early_waits, set_up_early, tear_down),
                cmocka_unit_test_setup_teardown(operators_go_first, set_up_early, tear_down),
                cmocka_unit_test_setup_teardown(one_call_of_a_user_waits, set_up_early, tear_down),
                cmocka_unit_test_setup_teardown(who_hangs_up_waits_no_more, set_up_early, tear_down),
                cmocka_unit_test_setup_teardown(nobody_waits_for_ever, set_up_early, tear_down),
                cmocka_unit_test_setup_teardown(the_bus_goes_while_one_waits, set_up_early, tear_down),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
