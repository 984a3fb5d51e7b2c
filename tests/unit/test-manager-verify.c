/* SPDX-License-Identifier: GPL-2.0-or-later */

/* What is in force is verified: what takes long of that is read by a thread, and others are served. */

// wrap: nft_owns_tables nft_why_no_frames nft_engage nft_replace nft_disengage
// wrap: nft_stage nft_update nft_forget_devices device_watch_is_pending
// wrap: nft_delete nft_read_attempts nft_table_number nft_read_refused nft_close sever_can_destroy
// wrap: sever_run sever_listeners sever_unix_listeners sever_close second_lock_adopt
// wrap: second_lock_load_begin second_lock_load second_lock_load_end second_lock_stage second_lock_unstage
// wrap: second_lock_engage second_lock_update second_lock_disengage second_lock_is_ready
// wrap: second_lock_read_refused second_lock_no_sender second_lock_sender_lost second_lock_try_sender
// wrap: second_lock_close resolver_cancel
// wrap: store_save_order store_save_record store_take_back_end audit audit_log
// wrap: nft_reading_new nft_reading_run nft_reading_give_up nft_reading_is_good nft_reading_free
// wrap: nft_verify_read nft_cover_devices second_lock_verify lockdown_try background_begin

#include "manager-lab.h"

static struct {
        bool small;     /* there is nothing to read beforehand */
        bool waits;     /* reading goes on until MAY_END, or until it is given up */
        bool was_alone; /* nobody ended that */
        sem_t may_end;
        unsigned stale;                     /* so often something was changed meanwhile */
        unsigned new, run, given_up, freed; /* counted */
        unsigned verified, with_reading;
        int no_thread; /* 0 or -errno */
} large;

static char reading; /* somewhere for it to be */

struct nft_reading *__wrap_nft_reading_new(const struct nft *n, const struct ruleset *r);
struct nft_reading *__wrap_nft_reading_new(const struct nft *n, const struct ruleset *r)
{
        (void)n;
        (void)r;
        if (large.small)
                return NULL;
        large.new ++;
        return (struct nft_reading *)&reading;
}

void __wrap_nft_reading_run(struct nft_reading *g);
void __wrap_nft_reading_run(struct nft_reading *g)
{
        (void)g;
        if (large.waits)
                large.was_alone = !comes_within(&large.may_end, 5);
        large.run++;
}

void __wrap_nft_reading_give_up(struct nft_reading *g);
void __wrap_nft_reading_give_up(struct nft_reading *g)
{
        (void)g;
        large.given_up++;
        assert_int_equal(sem_post(&large.may_end), 0);
}

bool __wrap_nft_reading_is_good(const struct nft_reading *g);
bool __wrap_nft_reading_is_good(const struct nft_reading *g)
{
        (void)g;
        return large.stale == 0 || large.stale-- == 0;
}

struct nft_reading *__wrap_nft_reading_free(struct nft_reading *g);
struct nft_reading *__wrap_nft_reading_free(struct nft_reading *g)
{
        large.freed += g != NULL;
        return NULL;
}

int __wrap_nft_verify_read(struct nft *n, const struct ruleset *r, bool engaged, const struct nft_reading *g,
                           char **ret_difference);
int __wrap_nft_verify_read(struct nft *n, const struct ruleset *r, bool engaged, const struct nft_reading *g,
                           char **ret_difference)
{
        (void)n;
        (void)r;
        (void)engaged;
        (void)ret_difference;
        large.verified++;
        large.with_reading += g != NULL;
        return 0;
}

int __wrap_second_lock_verify(struct second_lock *s, const struct second_lock_spec *spec,
                              char **ret_difference);
int __wrap_second_lock_verify(struct second_lock *s, const struct second_lock_spec *spec,
                              char **ret_difference)
{
        (void)s;
        (void)spec;
        (void)ret_difference;
        return 0;
}

void __wrap_lockdown_try(struct lockdown *l, lockdown_tried_t callback, void *userdata);
void __wrap_lockdown_try(struct lockdown *l, lockdown_tried_t callback, void *userdata)
{
        callback(userdata, l, TRIAL_AS_ORDERED);
}

int __real_background_begin(sd_event *event, int64_t priority, background_t work, void *material,
                            background_t done, void *userdata, struct background **ret);
int __wrap_background_begin(sd_event *event, int64_t priority, background_t work, void *material,
                            background_t done, void *userdata, struct background **ret);
int __wrap_background_begin(sd_event *event, int64_t priority, background_t work, void *material,
                            background_t done, void *userdata, struct background **ret)
{
        return large.no_thread
                       ?: __real_background_begin(event, priority, work, material, done, userdata, ret);
}

static int set_up(void **state)
{
        int r = manager_setup(state);
        struct manager_fixture *f = *state;

        memset(&large, 0, sizeof(large));
        if (r != 0 || sem_init(&large.may_end, 0, 0) != 0)
                return -1;
        order(f, 0);
        edges.n = 0;
        return 0;
}

static int tear_down(void **state)
{
        int r = manager_teardown(state);

        assert_false(large.was_alone);
        sem_destroy(&large.may_end);
        return r;
}

/* What comes of it; an answer to somebody who asked. */
struct answer {
        bool there, failed, holds;
        size_t n;
};

static void on_verified(void *userdata, const struct outcome *outcome)
{
        struct answer *a = userdata;
        const json_t *verified = json_object_get(outcome->reply, "verified");

        assert_false(a->there);
        a->there = true;
        a->failed = outcome->error != NULL;
        a->n = json_array_size(verified);
        a->holds = a->n > 0 && json_is_true(json_object_get(json_array_get(verified, 0), "holds"));
}

/* What waits for its time has it at once. */
static void run_until(struct manager_fixture *f, const bool *what)
{
        while (!*what) {
                if (f->m->verify_next)
                        (void)sd_event_source_set_time(f->m->verify_next, 0);
                assert_true(sd_event_run(f->m->event, 10 * USEC_PER_SEC) > 0);
        }
}

/* Until the thread has begun. */
static void begin(struct manager_fixture *f, struct answer *a)
{
        manager_verify(f->m, "staff", on_verified, a);
        while (!f->m->reading && !a->there)
                assert_true(sd_event_run(f->m->event, 10 * USEC_PER_SEC) > 0);
}

static void test_others_are_served(void **state)
{
        struct manager_fixture *f = *state;
        struct answer a = {0};

        large.waits = true;
        begin(f, &a);
        assert_false(a.there);
        manager_profiles(f->m, on_done, f);
        assert_steps("reply");
        assert_false(a.there);
        assert_int_equal(large.verified, 0);
        assert_int_equal(sem_post(&large.may_end), 0);
        run_until(f, &a.there);
        assert_true(a.holds);
        assert_int_equal(large.verified, 1);
        assert_int_equal(large.with_reading, 1);
        assert_int_equal(large.new, 1);
        assert_int_equal(large.freed, 1);
}

static void test_nothing_large(void **state)
{
        struct manager_fixture *f = *state;
        struct answer a = {0};

        large.small = true;
        begin(f, &a);
        run_until(f, &a.there);
        assert_true(a.holds);
        assert_int_equal(large.verified, 1);
        assert_int_equal(large.with_reading, 0);
}

/* … again, and in the end in one piece. */
static void test_changed_meanwhile(void **state)
{
        struct manager_fixture *f = *state;
        struct answer once = {0}, always = {0};

        large.stale = 1;
        begin(f, &once);
        run_until(f, &once.there);
        assert_true(once.holds);
        assert_int_equal(large.new, 2);
        assert_int_equal(large.verified, 1);
        assert_int_equal(large.with_reading, 1);
        large.stale = 100;
        begin(f, &always);
        run_until(f, &always.there);
        assert_true(always.holds);
        assert_in_range(large.new, 5, 20);
        assert_int_equal(large.verified, 2);
        assert_int_equal(large.with_reading, 1);
        assert_int_equal(large.freed, large.new);
}

/* Not at once, but later, as it is then. */
static void test_lifted_before_it_is_read_again(void **state)
{
        struct manager_fixture *f = *state;
        struct answer a = {0};

        large.stale = 1;
        begin(f, &a);
        while (f->m->reading)
                assert_true(sd_event_run(f->m->event, 10 * USEC_PER_SEC) > 0);
        assert_int_equal(large.freed, 1);
        lift(f, "staff");
        run_until(f, &a.there);
        assert_false(a.failed);
        assert_int_equal(a.n, 0);
        assert_int_equal(large.new, 1);
        assert_int_equal(large.verified, 0);
}

/* A second order, of a plan that is not configured: nothing is left of it when it has been lifted. */
static void order_adhoc(struct manager_fixture *f)
{
        struct profile *p = new_profile("night");
        struct lockdown *l = manager_add(f->m, p, false);

        profile_free(p);
        assert_non_null(l);
        know_people(l);
        assert_int_equal(lockdown_sync(l), 0);
        assert_int_equal(lockdown_save_members(l), 0);
        l->configured = true; /* until it is in force */
        manager_order(f->m, &(struct order_request){.profile = "night", .yes = true}, &caller, on_done, f);
        l->configured = false;
        assert_non_null(l->order);
        edges.n = 0;
}

static void test_removed_meanwhile(void **state)
{
        struct manager_fixture *f = *state;
        struct answer a = {0};

        order_adhoc(f);
        large.waits = true;
        manager_verify(f->m, "night", on_verified, &a);
        while (!f->m->reading)
                assert_true(sd_event_run(f->m->event, 10 * USEC_PER_SEC) > 0);
        lift(f, "night");
        assert_null(manager_find(f->m, "night"));
        run_until(f, &a.there);
        assert_false(a.failed);
        assert_int_equal(a.n, 0);
        assert_int_equal(large.verified, 0);
}

/* Each has as many tries as the other; and what becomes of one is nothing to the other. */
static void test_two_of_them(void **state)
{
        struct manager_fixture *f = *state;
        struct answer a = {0};
        unsigned of_one;

        large.stale = 100;
        begin(f, &a);
        run_until(f, &a.there);
        of_one = large.new;
        order_adhoc(f);
        a = (struct answer){0};
        large.new = 0;
        large.stale = 100;
        manager_verify(f->m, NULL, on_verified, &a);
        run_until(f, &a.there);
        assert_int_equal(a.n, 2);
        assert_int_equal(large.new, 2 * of_one);

        a = (struct answer){0};
        large.stale = 0;
        large.waits = true;
        begin(f, &a); /* staff */
        lift(f, "night");
        assert_int_equal(large.given_up, 0);
        assert_int_equal(sem_post(&large.may_end), 0);
        run_until(f, &a.there);
        assert_true(a.holds);
}

/* There was no memory to go on with it: the timer does. */
static void test_goes_on_after_all(void **state)
{
        struct manager_fixture *f = *state;
        struct answer a = {0};

        large.small = true;
        manager_verify(f->m, "staff", on_verified, &a);
        f->m->verify_next = sd_event_source_disable_unref(f->m->verify_next);
        assert_non_null(f->m->verify_timer);
        assert_true(sd_event_source_set_time(f->m->verify_timer, 0) >= 0);
        run_until(f, &a.there);
        assert_true(a.holds);
}

/* … but not while something is under way. */
static void test_timer_meanwhile(void **state)
{
        struct manager_fixture *f = *state;
        struct answer a = {0};

        large.waits = true;
        begin(f, &a);
        assert_true(sd_event_source_set_time(f->m->verify_timer, 0) >= 0);
        while (sd_event_run(f->m->event, 0) > 0)
                ;
        assert_non_null(f->m->reading);
        assert_int_equal(large.new, 1);
        assert_int_equal(sem_post(&large.may_end), 0);
        run_until(f, &a.there);
        assert_true(a.holds);
        assert_int_equal(large.new, 1);
}

static void test_lifted_meanwhile(void **state)
{
        struct manager_fixture *f = *state;
        struct answer a = {0};

        large.waits = true;
        begin(f, &a);
        lift(f, "staff");
        assert_int_equal(large.given_up, 1);
        run_until(f, &a.there);
        assert_false(a.failed);
        assert_int_equal(a.n, 0);
        assert_int_equal(large.verified, 0);
        assert_int_equal(large.freed, 1);
}

/* Another order may be that of the same name then. */
static void test_ordered_anew_meanwhile(void **state)
{
        struct manager_fixture *f = *state;
        struct answer a = {0};

        large.waits = true;
        begin(f, &a);
        lift(f, "staff");
        assert_int_equal(large.given_up, 1);
        assert_int_equal(sem_post(&large.may_end), 0); /* … for the other reading */
        large.stale = 1;
        order(f, 0);
        run_until(f, &a.there);
        assert_true(a.holds);
        assert_int_equal(large.new, 2);
        assert_int_equal(large.verified, 1);
}

static void test_ended_meanwhile(void **state)
{
        struct manager_fixture *f = *state;
        struct answer a = {0};

        large.waits = true;
        begin(f, &a);
        manager_cancel_verifications(f->m);
        assert_int_equal(large.given_up, 1);
        assert_int_equal(large.run, 1);
        assert_int_equal(large.freed, 1);
        assert_true(a.there);
        assert_true(a.failed);
}

static void test_no_thread(void **state)
{
        struct manager_fixture *f = *state;
        struct answer a = {0};

        large.no_thread = -EAGAIN;
        begin(f, &a);
        run_until(f, &a.there);
        assert_true(a.holds);
        assert_int_equal(large.run, 0);
        assert_int_equal(large.freed, 1);
        assert_int_equal(large.verified, 1);
        assert_int_equal(large.with_reading, 0);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
        const struct CMUnitTest tests[] = {
                TEST(test_others_are_served), TEST(test_nothing_large),
                TEST(test_changed_meanwhile), TEST(test_lifted_before_it_is_read_again),
                TEST(test_removed_meanwhile), TEST(test_two_of_them),
                TEST(test_goes_on_after_all), TEST(test_timer_meanwhile),
                TEST(test_lifted_meanwhile),  TEST(test_ordered_anew_meanwhile),
                TEST(test_ended_meanwhile),   TEST(test_no_thread),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
