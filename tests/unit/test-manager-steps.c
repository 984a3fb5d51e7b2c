/* SPDX-License-Identifier: GPL-2.0-or-later */

/* What takes long is done in steps: others have their turn between them, and may change what it is about. */

// wrap: nft_owns_tables nft_why_no_frames nft_engage nft_replace nft_disengage
// wrap: nft_stage nft_update nft_forget_devices device_watch_is_pending
// wrap: nft_delete nft_read_attempts nft_table_number nft_read_refused nft_close sever_can_destroy
// wrap: sever_run sever_listeners sever_unix_listeners sever_close second_lock_adopt
// wrap: second_lock_load_begin second_lock_load second_lock_load_end second_lock_stage second_lock_unstage
// wrap: second_lock_engage second_lock_update second_lock_disengage second_lock_is_ready
// wrap: second_lock_read_refused second_lock_no_sender second_lock_sender_lost second_lock_try_sender
// wrap: second_lock_close resolver_cancel
// wrap: store_save_order store_save_record store_take_back_end audit audit_log
// wrap: nft_verify

#include "manager-lab.h"

static int verify_says;

int __wrap_nft_verify(struct nft *n, const struct ruleset *r, bool engaged, char **ret_difference);
int __wrap_nft_verify(struct nft *n, const struct ruleset *r, bool engaged, char **ret_difference)
{
        (void)n;
        (void)r;
        (void)engaged;
        if (verify_says > 0)
                *ret_difference = strdup("something is");
        return verify_says;
}

/* What the kernel has is not as it should be: all is loaded anew, in STEPS more. */
static void stage_anew(struct manager_fixture *f, unsigned steps)
{
        edges.n = 0;
        edges.stage_steps = steps;
        set_problem(&f->l->kernel_problem, "played");
        assert_int_equal(lockdown_sync(f->l), 0);
        assert_steps("stage");
        assert_non_null(f->l->kernel_problem); /* until it is there */
        assert_null(f->l->loaded);
}

static void stage_rest(struct manager_fixture *f)
{
        while (f->l->staging)
                assert_true(sd_event_run(f->m->event, 0) > 0);
        assert_int_equal(sd_event_run(f->m->event, 0), 0);
}

/* What is asked again meanwhile is not begun again. */
static void test_staged_in_steps(void **state)
{
        struct manager_fixture *f = *state;

        stage_anew(f, 3);
        assert_true(sd_event_run(f->m->event, 0) > 0);
        assert_steps("stage more");
        assert_int_equal(lockdown_sync(f->l), 0);
        assert_steps("");
        assert_true(f->l->staging && !edges.second_staged);
        stage_rest(f);
        assert_steps("stage more, stage more");
        assert_true(f->l->loaded && !f->l->kernel_problem && edges.second_staged);
        assert_int_equal(lockdown_sync(f->l), 0);
        order(f, 0);
        assert_steps(ORDERED);
}

static int on_turn(sd_event_source *source, void *userdata)
{
        (void)source;
        ++*(unsigned *)userdata;
        return 0;
}

/* sd-event gives the turn to who has waited longest: that must not be the next step. */
static void test_turns_between_steps(void **state)
{
        struct manager_fixture *f = *state;
        sd_event_source *before = NULL, *beside = NULL;
        unsigned turns = 0;

        stage_anew(f, 10);
        for (unsigned i = 0; i < 4; i++) {
                assert_true(sd_event_run(f->m->event, 0) > 0);
                edges.n = 0;
                assert_int_equal(manager_next_turn(f->m, &before, SD_EVENT_PRIORITY_NORMAL, on_turn, &turns),
                                 0);
                assert_int_equal(manager_next_turn(f->m, &beside, PRIORITY_LATER, on_turn, &turns), 0);
                for (unsigned j = 0; j < 3; j++)
                        assert_true(sd_event_run(f->m->event, 0) > 0);
                assert_int_equal(turns, 2 * (i + 1));
                assert_steps("stage more");
        }
        sd_event_source_unref(before);
        sd_event_source_unref(beside);
        stage_rest(f);
        assert_non_null(f->l->loaded);
}

/* Everybody may read the history, which takes a while. */
static void test_turns_between_steps_of_the_history(void **state)
{
        struct manager_fixture *f = *state;
        sd_event_source *other = NULL;
        unsigned turns = 0;

        for (unsigned i = 0; i < 200; i++) {
                order(f, 0);
                lift(f, "staff");
                edges.n = 0;
        }
        while (sd_event_run(f->m->event, 0) > 0)
                ;
        edges.n = 0;
        manager_history(f->m, on_done, f);
        for (unsigned i = 0; i < 3; i++) {
                assert_true(sd_event_run(f->m->event, 0) > 0);
                assert_int_equal(manager_next_turn(f->m, &other, PRIORITY_LATER, on_turn, &turns), 0);
                for (unsigned j = 0; j < 2; j++)
                        assert_true(sd_event_run(f->m->event, 0) > 0);
                assert_int_equal(turns, i + 1);
                assert_steps("");
        }
        sd_event_source_unref(other);
        while (edges.n == 0)
                assert_true(sd_event_run(f->m->event, 0) > 0);
        assert_steps("reply");
}

/* Who joins meanwhile is put in when it is there: somebody may come again and again. */
static void test_members_between_steps(void **state)
{
        struct manager_fixture *f = *state;

        stage_anew(f, 4);
        for (uint32_t i = 1; i < 4; i++) {
                assert_true(sd_event_run(f->m->event, 0) > 0);
                assert_int_equal(idset_append(&f->l->members.subjects.uids, ME + 2 * i, ME + 2 * i), 0);
                idset_normalize(&f->l->members.subjects.uids);
                assert_int_equal(lockdown_sync(f->l), 0);
        }
        stage_rest(f);
        assert_steps("stage more, stage more, stage more, stage more, update");
        assert_non_null(f->l->loaded);
}

/* An order does not wait for it. */
static void test_order_between_steps(void **state)
{
        struct manager_fixture *f = *state;

        stage_anew(f, 3);
        assert_true(sd_event_run(f->m->event, 0) > 0);
        edges.n = 0;
        order(f, 0);
        assert_steps("load engaged, second on, sever, save active, journal ordered, reply");
        assert_true(f->l->loaded && f->l->engaged && !f->l->staging);
        while (sd_event_run(f->m->event, 0) > 0)
                ;
        assert_steps("");
}

/* Once may be of the moment. After the second time nothing of it is left, and it is tried again later. */
static void test_a_step_fails(void **state)
{
        struct manager_fixture *f = *state;

        stage_anew(f, 3);
        edges.replace = -EIO;
        assert_true(sd_event_run(f->m->event, 0) > 0);
        assert_steps("stage more");
        edges.replace = 0;
        edges.stage_steps = 1;
        stage_rest(f);
        assert_steps("stage, stage more");
        assert_true(f->l->loaded && !f->l->kernel_problem);

        stage_anew(f, 3);
        edges.replace = -EIO;
        stage_rest(f);
        assert_steps("stage more, stage, delete");
        assert_string_equal(f->l->kernel_problem, "refused by the test");
        assert_null(f->l->loaded);
        edges.replace = 0;
        edges.stage_steps = 0;
        assert_int_equal(lockdown_sync(f->l), 0);
        assert_steps("stage");
        assert_true(f->l->loaded && !f->l->kernel_problem);
}

/* Where tables are not owned: what was done to half a table is seen when it is whole. */
static void test_others_change_it_between_steps(void **state)
{
        struct manager_fixture *f = *state;
        const struct nft_change change = {.program = "nft"};

        stage_anew(f, 2);
        manager_tables_changed(f->m, &change);
        stage_rest(f);
        assert_steps("stage more, stage more");
        assert_non_null(f->l->loaded);

        stage_anew(f, 2);
        manager_tables_changed(f->m, &change);
        verify_says = 1;
        assert_true(sd_event_run(f->m->event, 0) > 0);
        assert_true(sd_event_run(f->m->event, 0) > 0);
        verify_says = 0;
        edges.stage_steps = 1;
        stage_rest(f);
        assert_steps("stage more, stage more, stage, stage more");
        assert_non_null(f->l->loaded);
}

/* An order about other people is about to take its place. */
static void test_an_order_without_people_between_steps(void **state)
{
        struct manager_fixture *f = *state;

        stage_anew(f, 3);
        f->l->order = calloc(1, sizeof(*f->l->order));
        stage_rest(f);
        assert_steps("");
        assert_true(!f->l->loaded && f->l->kernel_problem);
        free(f->l->order);
        f->l->order = NULL;
}

/* What the kernel has of it goes with the profile, and with the daemon. */
static void test_nothing_is_left_between_steps(void **state)
{
        struct manager_fixture *f = *state;

        stage_anew(f, 3);
        manager_apply_config(f->m, config_new_default(), NULL, NULL);
        assert_steps("delete");
        assert_null(manager_find(f->m, "staff"));
        assert_int_equal(sd_event_run(f->m->event, 0), 0);
}

static void test_ended_between_steps(void **state)
{
        struct manager_fixture *f = *state;

        stage_anew(f, 3);
        f->m = manager_free(f->m);
        assert_steps("delete");
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                IN_LAB(test_staged_in_steps),
                IN_LAB(test_turns_between_steps),
                IN_LAB(test_turns_between_steps_of_the_history),
                IN_LAB(test_members_between_steps),
                IN_LAB(test_order_between_steps),
                IN_LAB(test_a_step_fails),
                IN_LAB(test_others_change_it_between_steps),
                IN_LAB(test_an_order_without_people_between_steps),
                IN_LAB(test_nothing_is_left_between_steps),
                IN_LAB(test_ended_between_steps),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
