/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Whose turn it is: the real transport and methods, a played manager, and callers of any uid. */

// wrap: manager_order manager_status manager_permits manager_right_unknown manager_on_change
// wrap: manager_on_right_known audit audit_log getsockopt accept4 bus_time_used

#include "bus-lab.h"
#include <dirent.h>

static void operators_go_first(void **state)
{
        sd_bus *callers[9];
        unsigned answers = 0;

        (void)state;
        for (uint32_t i = 0; i < 8; i++)
                callers[i] = come(ALICE + i);
        callers[8] = come(OPERATOR);
        for (size_t i = 0; i < 8; i++)
                ask_status(callers[i], &answers);
        ask_order(callers[8], &answers);
        assert_true(run_until_quiet());
        assert_int_equal(play.orders, 1);
        assert_int_equal(play.questions, 8);
        assert_int_equal(play.questions_before_order, 0);
        leave(callers, 9);
}

static void one_question_of_a_user_at_a_time(void **state)
{
        sd_bus *callers[9];
        unsigned answers = 0;

        (void)state;
        play.later = true;
        for (size_t i = 0; i < 9; i++) {
                callers[i] = come(i < 3 ? ALICE : i < 6 ? BOB : OPERATOR);
                ask_status(callers[i], &answers);
                ask_status(callers[i], &answers);
        }
        assert_true(run_until_quiet());
        assert_int_equal(play.questions, 1 + 1 + 3);
        while (play.first < play.n) {
                answer_next();
                assert_true(run_until_quiet());
        }
        for (size_t i = 0; i < 9; i++)
                assert_return_code(converse(callers[i]), 0);
        assert_int_equal(answers, 18);
        leave(callers, 9);
}

static void who_does_not_read_is_not_read(void **state)
{
        sd_bus *caller = come(ALICE), *other;
        unsigned answers = 0, others = 0;

        (void)state;
        play.answer = 20000;
        for (int i = 0; i < 300; i++)
                ask_status(caller, &answers);
        assert_true(run_until_quiet());
        assert_true(play.questions < 50);
        /* Nor are those of the same user, until it has read. */
        other = come(ALICE);
        ask_status(other, &others);
        assert_true(run_until_quiet());
        assert_true(play.questions < 50);
        while (answers < 300)
                assert_return_code(converse(caller), 0);
        while (others < 1)
                assert_return_code(converse(other), 0);
        leave((sd_bus *[]){caller, other}, 2);
}

static void who_takes_too_much_waits(void **state)
{
        sd_bus *callers[3] = {come(ALICE), come(BOB), come(OPERATOR)};
        unsigned answers = 0, others = 0;

        (void)state;
        play.cost = ACCOUNT_BURST / 2 + 10000;
        for (int i = 0; i < 5; i++) {
                ask_status(callers[0], &answers);
                ask_status(callers[2], &others);
        }
        ask_status(callers[1], &others);
        assert_true(run_until_quiet());
        assert_return_code(converse(callers[1]), 0);
        assert_return_code(converse(callers[2]), 0);
        assert_int_equal(others, 6);
        assert_true(play.questions < 6 + 5);
        while (answers < 5) { /* … but is answered in the end */
                assert_return_code(sd_event_run(play.event, UINT64_MAX), 0);
                assert_return_code(converse(callers[0]), 0);
        }
        leave(callers, 3);
}

static void operators_may_send_more(void **state)
{
        sd_bus *callers[2] = {come(OPERATOR), come(ALICE)};
        _cleanup_free_ char *text = calloc(1, 60001);

        (void)state;
        memset(text, 'x', 60000);
        for (int i = 0; i < 2; i++) {
                assert_return_code(sd_bus_call_method_async(callers[i], NULL, NULL, LOCKDOWN_BUS_PATH,
                                                            LOCKDOWN_BUS_INTERFACE, METHOD_STATUS, on_answer,
                                                            &(unsigned){0}, "sb", text, 0),
                                   0);
                assert_true((converse(callers[i]) < 0) == (i == 1));
        }
        assert_int_equal(play.questions, 1);
        leave(callers, 2);
}

static size_t descriptors(void)
{
        DIR *d = opendir("/proc/self/fd");
        size_t n = 0;

        while (readdir(d))
                n++;
        closedir(d);
        return n;
}

static void no_descriptors_are_taken(void **state)
{
        sd_bus *caller = come(OPERATOR);
        union {
                struct cmsghdr header;
                char room[CMSG_SPACE(sizeof(int))];
        } control = {.header = {.cmsg_len = CMSG_LEN(sizeof(int)),
                                .cmsg_level = SOL_SOCKET,
                                .cmsg_type = SCM_RIGHTS}};
        struct iovec iov = {.iov_base = (char[]){'l'}, .iov_len = 1};
        struct msghdr mh = {
                .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)};
        size_t before = descriptors();

        (void)state;
        assert_int_equal(sendmsg(sd_bus_get_fd(caller), &mh, 0), 1);
        assert_true(converse(caller) < 0);
        assert_true(descriptors() < before); /* its own, and what it had in the daemon */
        assert_int_equal(play.bus->n_connections, 0);
        leave(&caller, 1);
}

/* What was asked is done, and the daemon does not run in circles meanwhile, for a hang-up is told all the
 * time. */
static void gone_before_the_answer(void **state)
{
        sd_bus *caller = come(OPERATOR);
        unsigned answers = 0;

        (void)state;
        play.later = true;
        ask_order(caller, &answers);
        ask_order(caller, &answers);
        leave(&caller, 1);
        assert_true(run_until_quiet());
        assert_int_equal(play.orders, 1);
        assert_int_equal(play.bus->n_connections, 1);
        answer_next();
        assert_true(run_until_quiet());
        assert_int_equal(play.bus->n_connections, 0);
}

static void operators_find_room(void **state)
{
        sd_bus *callers[CONNECTIONS_MAX + 16];
        size_t n = 0;

        (void)state;
        for (uint32_t i = 0; i < CONNECTIONS_MAX; i++)
                callers[n++] = come(1000 + i / 8);
        assert_int_equal(play.bus->n_connections,
                         CONNECTIONS_MAX - CONNECTIONS_FOR_ROOT - CONNECTIONS_FOR_OPERATORS);
        callers[n] = come(OPERATOR);
        assert_return_code(converse(callers[n++]), 0);
        callers[n] = come(0);
        assert_return_code(converse(callers[n++]), 0);
        leave(callers, n);
}

static void no_more_than_their_share_of_connections(void **state)
{
        sd_bus *callers[CONNECTIONS_PER_UID + 1];

        (void)state;
        for (size_t i = 0; i <= CONNECTIONS_PER_UID; i++) {
                callers[i] = come(ALICE);
                assert_true((converse(callers[i]) < 0) == (i == CONNECTIONS_PER_UID));
        }
        leave(callers, CONNECTIONS_PER_UID + 1);
}

static void without_descriptors_nobody_is_let_in_for_a_while(void **state)
{
        sd_bus *caller;
        unsigned tried;

        (void)state;
        play.none_left = true;
        caller = come(OPERATOR);
        tried = play.accepted;
        assert_true(tried >= 1 && tried <= 3);
        assert_int_equal(play.bus->n_connections, 0);
        play.none_left = false;
        while (play.bus->n_connections == 0)
                assert_return_code(sd_event_run(play.event, UINT64_MAX), 0);
        assert_return_code(converse(caller), 0);
        leave(&caller, 1);
}

static void refusals_are_summed_up(void **state)
{
        sd_bus *caller = come(ALICE);
        unsigned answers = 0;

        (void)state;
        for (int i = 0; i < 100; i++)
                ask_order(caller, &answers);
        while (answers < 100)
                assert_return_code(converse(caller), 0);
        assert_int_equal(play.refusals, REFUSALS_TOLD);
        leave(&caller, 1);
        play.bus = bus_free(play.bus);
        assert_int_equal(play.refusals, REFUSALS_TOLD + 1);
        assert_string_equal(play.last_refusal, "uid 11 was refused 80 more times within a minute");
}

static void subscribers_who_do_not_read_are_dropped(void **state)
{
        sd_bus *callers[2] = {come(0), come(OPERATOR)};
        unsigned answers = 0;

        (void)state;
        for (int i = 0; i < 2; i++) {
                ask_status(callers[i], &answers);
                assert_return_code(converse(callers[i]), 0);
        }
        for (int i = 0; i < 5000 && play.bus->n_connections == 2; i++) {
                play.changed(play.changed_userdata, "staff", "active");
                assert_return_code(converse(callers[0]), 0);
        }
        assert_int_equal(play.bus->n_connections, 1);
        assert_return_code(converse(callers[0]), 0);
        leave(callers, 2);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(operators_go_first, set_up, tear_down),
                cmocka_unit_test_setup_teardown(one_question_of_a_user_at_a_time, set_up, tear_down),
                cmocka_unit_test_setup_teardown(who_does_not_read_is_not_read, set_up, tear_down),
                cmocka_unit_test_setup_teardown(who_takes_too_much_waits, set_up, tear_down),
                cmocka_unit_test_setup_teardown(operators_may_send_more, set_up, tear_down),
                cmocka_unit_test_setup_teardown(no_descriptors_are_taken, set_up, tear_down),
                cmocka_unit_test_setup_teardown(gone_before_the_answer, set_up, tear_down),
                cmocka_unit_test_setup_teardown(operators_find_room, set_up, tear_down),
                cmocka_unit_test_setup_teardown(no_more_than_their_share_of_connections, set_up, tear_down),
                cmocka_unit_test_setup_teardown(without_descriptors_nobody_is_let_in_for_a_while, set_up,
                                                tear_down),
                cmocka_unit_test_setup_teardown(refusals_are_summed_up, set_up, tear_down),
                cmocka_unit_test_setup_teardown(subscribers_who_do_not_read_are_dropped, set_up, tear_down),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
