/* SPDX-License-Identifier: GPL-2.0-or-later */

/* What orders to come need of the second lock is made ready in time, and what it lost comes back. */

// wrap: nft_owns_tables nft_why_no_frames nft_engage nft_replace nft_disengage
// wrap: nft_stage nft_update nft_forget_devices device_watch_is_pending
// wrap: nft_delete nft_read_attempts nft_table_number nft_read_refused nft_close sever_can_destroy
// wrap: sever_run sever_listeners sever_unix_listeners sever_close second_lock_adopt
// wrap: second_lock_load_begin second_lock_load second_lock_load_end second_lock_stage second_lock_unstage
// wrap: second_lock_engage second_lock_update second_lock_disengage second_lock_is_ready
// wrap: second_lock_read_refused second_lock_no_sender second_lock_sender_lost second_lock_try_sender
// wrap: second_lock_close resolver_cancel
// wrap: store_save_order store_save_record store_take_back_end audit audit_log

#include "manager-lab.h"

/* What is in force need not be verified. */
static void run(struct manager_fixture *f)
{
        if (f->m->verify_timer)
                assert_true(sd_event_source_set_enabled(f->m->verify_timer, SD_EVENT_OFF) >= 0);
        assert_true(sd_event_run(f->m->event, 10 * USEC_PER_SEC) > 0);
}

static void prepare_all(struct manager_fixture *f)
{
        while (f->m->second_prepare || f->m->second_loading)
                run(f);
}

/* Loading the programs of the next order takes longer than the order. Who orders several does not wait for
 * it. */
static void test_programs_of_the_next_order(void **state)
{
        struct manager_fixture *f = *state;
        const uint64_t before = clock_monotonic();
        uint64_t at = 0;

        order(f, 0);
        assert_int_equal(edges.prepared, 0);
        assert_true(sd_event_source_get_time(f->m->second_prepare, &at) >= 0);
        assert_true(at >= before + 20000);
        edges.prepare_times = 3;
        prepare_all(f);
        assert_int_equal(edges.prepared, 3);
        assert_int_equal(edges.ready_wanted, 1);
}

/* The thread waits for MAY_LOAD. */
static void begin_loading(struct manager_fixture *f)
{
        assert_int_equal(sem_init(&edges.may_load, 0, 0), 0);
        edges.load_waits = true;
        manager_second_prepare(f->m);
        while (!f->m->second_loading)
                run(f);
}

static void let_load(unsigned times)
{
        for (unsigned i = 0; i < times; i++)
                assert_int_equal(sem_post(&edges.may_load), 0);
}

/* … nor does who orders while they are being loaded. Those of the order after come when these are there. */
static void test_order_while_programs_are_loaded(void **state)
{
        struct manager_fixture *f = *state;

        begin_loading(f);
        order(f, 0);
        assert_steps(ORDERED);
        assert_int_equal(edges.prepared, 0);
        while (f->m->second_prepare)
                run(f);
        assert_int_equal(edges.prepared, 0);
        edges.prepare_times = 2;
        let_load(2);
        prepare_all(f);
        assert_false(edges.load_was_alone);
        assert_int_equal(edges.prepared, 2);
        sem_destroy(&edges.may_load);
}

/* They are not begun before their time because these have come to their end. */
static void test_quiet_after_an_order(void **state)
{
        struct manager_fixture *f = *state;
        const uint64_t later = clock_monotonic() + USEC_PER_HOUR;
        uint64_t at = 0;

        begin_loading(f);
        order(f, 0);
        assert_true(sd_event_source_set_time(f->m->second_prepare, later) >= 0);
        edges.prepare_times = 2;
        let_load(1);
        while (f->m->second_loading)
                run(f);
        assert_true(sd_event_source_get_time(f->m->second_prepare, &at) >= 0);
        assert_int_equal(at, later);
        sem_destroy(&edges.may_load);
}

/* … also if nothing comes of these. */
static void test_order_while_loading_fails(void **state)
{
        struct manager_fixture *f = *state;

        begin_loading(f);
        order(f, 0);
        while (f->m->second_prepare)
                run(f);
        edges.load_fails = 1;
        let_load(2);
        prepare_all(f);
        assert_int_equal(edges.prepared, 2);
        let_load(1); /* nobody wants more if nothing was asked for meanwhile */
        edges.load_fails = 1;
        manager_second_prepare(f->m);
        prepare_all(f);
        assert_int_equal(edges.prepared, 3);
        sem_destroy(&edges.may_load);
}

/* Where none are ready it waits for those on their way. */
static void test_order_takes_programs_on_their_way(void **state)
{
        struct manager_fixture *f = *state;

        begin_loading(f);
        edges.nothing_ready = true;
        let_load(1);
        order(f, 0);
        assert_steps(ORDERED);
        assert_int_equal(edges.prepared, 1);
        assert_null(f->m->second_loading);
        assert_non_null(f->m->second_prepare);
        sem_destroy(&edges.may_load);
}

/* They come to their end first. */
static void test_end_while_programs_are_loaded(void **state)
{
        struct manager_fixture *f = *state;

        begin_loading(f);
        let_load(1);
        manager_second_close(f->m);
        assert_int_equal(edges.prepared, 1);
        assert_int_equal(edges.loading, 0);
        assert_null(f->m->second_loading);
        assert_null(f->m->second);
        sem_destroy(&edges.may_load);
}

/* Each plan that is not in force may be ordered at any moment. */
static void test_programs_of_all_orders_to_come(void **state)
{
        struct manager_fixture *f = *state;
        static const char *const names[] = {"staff", "others", "without"};
        struct config *c = config_new_default();

        c->profiles = calloc(ELEMENTSOF(names), sizeof(*c->profiles));
        for (size_t i = 0; i < ELEMENTSOF(names); i++)
                c->profiles[c->n_profiles++] = new_profile(names[i]);
        c->profiles[2]->second_lock = false;
        manager_apply_config(f->m, c, NULL, NULL);
        prepare_all(f);
        assert_int_equal(edges.ready_wanted, 2);
        order(f, 0);
        prepare_all(f);
        assert_int_equal(edges.ready_wanted, 1);
        lift(f, "staff");
        prepare_all(f);
        assert_int_equal(edges.ready_wanted, 2);
}

/* It comes back when it is asked for, at longer and longer intervals; then what is in force gets it. */
static void test_who_sends_is_judged_again(void **state)
{
        struct manager_fixture *f = *state;
        struct again *again = &f->m->sender_again;

        order(f, 0);
        edges.n = 0;
        edges.no_sender = "no memory; it is tried again";
        lockdown_second_sync(f->l);
        assert_steps("second changed");
        assert_int_equal(edges.sender_told, 1);
        assert_true(again->at > 0);
        assert_int_equal(again->pause, AGAIN_FIRST);
        manager_second_try_sender(f->m);
        assert_steps("");
        again->at = 1;
        manager_second_try_sender(f->m);
        assert_steps("try sender");
        assert_int_equal(again->pause, 2 * AGAIN_FIRST);
        assert_int_equal(edges.sender_told, 1);
        again->at = 1;
        edges.sender_back = true;
        manager_second_try_sender(f->m);
        assert_steps("try sender, second changed");
        assert_int_equal(edges.sender_told, 2);
        assert_int_equal(again->at, 0);
        edges.no_sender = "not here";
        edges.no_sender_ever = true;
        lockdown_second_sync(f->l);
        assert_steps("second changed");
        assert_int_equal(edges.sender_told, 3);
        assert_int_equal(again->at, 0);
}

/* What was made ready without it is no use, also where nothing is in force. */
static void test_ready_again_with_what_judges_who_sends(void **state)
{
        struct manager_fixture *f = *state;

        prepare_all(f);
        edges.no_sender = "no memory; it is tried again";
        edges.sender_back = true;
        f->m->sender_again.at = 1;
        manager_second_try_sender(f->m);
        assert_steps("try sender");
        prepare_all(f);
        assert_true(edges.prepared > 0);
}
int main(void)
{
        const struct CMUnitTest tests[] = {
                IN_LAB(test_programs_of_the_next_order),
                IN_LAB(test_order_while_programs_are_loaded),
                IN_LAB(test_quiet_after_an_order),
                IN_LAB(test_order_while_loading_fails),
                IN_LAB(test_order_takes_programs_on_their_way),
                IN_LAB(test_end_while_programs_are_loaded),
                IN_LAB(test_programs_of_all_orders_to_come),
                IN_LAB(test_who_sends_is_judged_again),
                IN_LAB(test_ready_again_with_what_judges_who_sends),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
