// SPDX-License-Identifier: GPL-2.0-or-later
/* Large sets against the real kernel, in a network namespace: staged in steps, compared once, read
 * beforehand. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "nft-load.h"
#include <pthread.h>
#include <time.h>

static struct ruleset *with_one_more(struct ruleset_input *in, uint32_t uid)
{
        append_id(&in->subjects.uids, uid, uid);
        idset_normalize(&in->subjects.uids);
        return build_ruleset(in, find_case("staff"), NULL, 0);
}

/* What the kernel lets nobody else change is not read again and again; what was not compared is, and so is
 * all where tables have no owner. */
static void test_large_sets_are_compared_once(void **state)
{
        struct fixture *f = prepare(state, NULL);
        _cleanup_input_ struct ruleset_input in = {0};
        _cleanup_(ruleset_freep) struct ruleset *small = NULL, *r = NULL, *more = NULL;
        char *error = NULL;

        fill_input(&in, find_case("staff"));
        small = build_ruleset(&in, find_case("staff"), NULL, 0);
        more = with_one_more(&in, 300000);
        load(f, small, true);
        assert_done(nft_update(f->nft, small, more, &error), error);
        ruleset_set_compared(small, true); /* costs nothing: it is read all the same */
        assert_int_equal(nft_verify(f->nft, small, true, NULL), 1);
        more = ruleset_free(more);
        assert_done(nft_delete(f->nft, "staff", &error), error);

        r = with_many(&in);
        more = with_one_more(&in, 300002);
        load(f, r, true);
        /* Behind R's back; nobody but this socket could. */
        assert_done(nft_update(f->nft, r, more, &error), error);
        assert_int_equal(nft_verify(f->nft, r, true, NULL), 1);
        ruleset_set_compared(r, true);
        assert_int_equal(nft_verify(f->nft, r, true, NULL), nft_owns_tables(f->nft) ? 0 : 1);
        ruleset_set_compared(r, false);
        assert_int_equal(nft_verify(f->nft, r, true, NULL), 1);

        f->nft->table_flags = 0;
        load(f, r, true);
        assert_true(shell("nft add element inet lockdown-staff uids '{ 300002 }'"));
        ruleset_set_compared(r, true);
        assert_int_equal(nft_verify(f->nft, r, true, NULL), 1);
        assert_done(nft_delete(f->nft, "staff", &error), error);
}

static void *read_large(void *userdata)
{
        nft_reading_run(userdata);
        return NULL;
}

static void read_in_thread(struct nft_reading *g)
{
        pthread_t thread;

        assert_int_equal(pthread_create(&thread, NULL, read_large, g), 0);
        assert_int_equal(pthread_join(thread, NULL), 0);
}

/* A thread reads it, by itself; what is compared then is what it read. */
static void test_large_sets_are_read_beforehand(void **state)
{
        struct fixture *f = prepare(state, NULL);
        _cleanup_input_ struct ruleset_input in = {0};
        _cleanup_(ruleset_freep) struct ruleset *r = NULL, *more = NULL;
        struct nft_reading *first, *second;
        char *error = NULL;

        fill_input(&in, find_case("staff"));
        r = build_ruleset(&in, find_case("staff"), NULL, 0);
        assert_null(nft_reading_new(f->nft, r)); /* nothing in it is large */
        r = ruleset_free(r);
        r = with_many(&in);
        more = with_one_more(&in, 300002);
        load(f, r, true);

        first = nft_reading_new(f->nft, r);
        assert_non_null(first);
        read_in_thread(first);
        assert_true(nft_reading_is_good(first));
        assert_ptr_not_equal(nft_reading_find(first, r, SET_UIDS),
                             nft_reading_find(first, r->frames, SET_UIDS));
        assert_int_equal(nft_reading_find(first, r, SET_UIDS)->n, r->sets[SET_UIDS].n);
        assert_int_equal(nft_verify_read(f->nft, r, true, first, NULL), 0);
        assert_int_equal(nft_verify_read(f->nft, more, true, first, NULL), 1);

        assert_done(nft_update(f->nft, r, more, &error), error);
        assert_false(nft_reading_is_good(first));
        assert_int_equal(nft_verify_read(f->nft, r, true, first, NULL), 0); /* as it was */
        assert_int_equal(nft_verify(f->nft, r, true, NULL), 1);
        second = nft_reading_new(f->nft, more);
        read_in_thread(second);
        assert_int_equal(nft_verify_read(f->nft, more, true, second, NULL), 0);
        assert_int_equal(nft_verify_read(f->nft, r, true, second, NULL), 1);
        nft_reading_free(first);
        nft_reading_free(second);

        ruleset_set_compared(more, true);
        first = nft_reading_new(f->nft, more);
        assert_true(nft_owns_tables(f->nft) == !first);
        nft_reading_free(first);
        assert_done(nft_delete(f->nft, "staff", &error), error);
}

/* Nobody waits for its end then. What it has not read is read when it is compared. */
static void test_reading_is_given_up(void **state)
{
        struct fixture *f = prepare(state, NULL);
        _cleanup_input_ struct ruleset_input in = {0};
        _cleanup_(ruleset_freep) struct ruleset *r = NULL;
        struct nft_reading *g;
        char *error = NULL;

        fill_input(&in, find_case("staff"));
        r = with_many(&in);
        load(f, r, true);
        g = nft_reading_new(f->nft, r);
        assert_non_null(g);
        nft_reading_give_up(g);
        assert_false(nft_reading_is_good(g));
        read_in_thread(g);
        assert_null(nft_reading_find(g, r, SET_UIDS));
        assert_int_equal(nft_verify_read(f->nft, r, true, g, NULL), 0);
        nft_reading_free(g);

        g = nft_reading_new(f->nft, r);
        f->nft->changes++; /* … of whatever table */
        read_in_thread(g);
        assert_null(nft_reading_find(g, r, SET_UIDS));
        assert_false(nft_reading_is_good(g));
        nft_reading_free(g);

        g = nft_reading_new(f->nft, r);
        assert_done(nft_delete(f->nft, "staff", &error), error);
        f->nft->changes--;
        read_in_thread(g);
        assert_null(nft_reading_find(g, r, SET_UIDS));
        assert_true(nft_reading_is_good(g)); /* it is not there: that does not pass */
        nft_reading_free(g);
}

static double milliseconds(void)
{
        struct timespec t;

        clock_gettime(CLOCK_MONOTONIC, &t);
        return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static void fill_large(struct fixture *f)
{
        fill_input(&f->in, find_case("staff"));
        /* Not adjoining, so that each is an element of its own also as a range. */
        for (uint32_t i = 0; i < 100000; i++)
                assert_int_equal(idset_append(&f->in.subjects.uids, 10000 + 3 * i, 10000 + 3 * i), 0);
        for (uint32_t i = 0; i < 20000; i++)
                assert_int_equal(idset_append(&f->in.subjects.uid_ranges, 100000000 + 65536 * i,
                                              100065534 + 65536 * i),
                                 0);
        idset_normalize(&f->in.subjects.uids);
        idset_normalize(&f->in.subjects.uid_ranges);
}

static void test_hundred_thousand(void **state)
{
        struct fixture *f = prepare(state, NULL);
        double t[6];
        char *error = NULL;

        fill_large(f);
        t[0] = milliseconds();
        f->r = build_ruleset(&f->in, find_case("staff"), NULL, 0);
        t[1] = milliseconds();
        assert_done(nft_replace(f->nft, f->r, false, &error), error);
        t[2] = milliseconds();
        assert_done(nft_engage(f->nft, f->r, &error), error);
        t[3] = milliseconds();
        assert_same(f, f->r, true);
        t[4] = milliseconds();
        assert_false(gets_out(&f->net, (struct person){10000 + 3 * 99999, 5}, "8.8.8.8:1000/udp"));
        assert_false(gets_out(&f->net, (struct person){100000000 + 65536 * 19999, 5}, "8.8.8.8:1000/udp"));
        assert_true(gets_out(&f->net, (struct person){10001 + 3 * 1000, 5}, "8.8.8.8:1000/udp"));
        t[5] = milliseconds();
        assert_done(nft_disengage(f->nft, f->r, &error), error);
        print_message(
                "100,000 uids and 20,000 ranges: built %.1f ms, staged %.1f, engaged %.2f, verified %.1f, "
                "disengaged %.2f\n",
                t[1] - t[0], t[2] - t[1], t[3] - t[2], t[4] - t[3], milliseconds() - t[5]);
}

/* Goes on until STEPS are done or all is. -> whether all is */
static bool stage(struct fixture *f, struct nft_progress *at, unsigned steps)
{
        int r = 1;

        while (r > 0 && steps-- > 0) {
                char *error = NULL;

                r = nft_stage(f->nft, f->r, at, &error);
                assert_null(error);
        }
        assert_true(r >= 0);
        return r == 0;
}

/* Whatever is there of it, it comes to the same. */
static void test_staged_in_steps(void **state)
{
        struct fixture *f = prepare(state, "staff");
        struct nft_progress small = {0}, half = {0}, whole = {0};
        char *difference = NULL, *error = NULL;
        double begin;

        assert_true(stage(f, &small, 1));
        assert_same(f, f->r, false);
        f->r = ruleset_free(f->r);
        fill_large(f);
        f->r = build_ruleset(&f->in, find_case("staff"), NULL, 0);
        assert_false(stage(f, &half, 16));
        assert_int_equal(nft_verify(f->nft, f->r, false, &difference), 1);
        assert_non_null(strstr(difference, "elements missing"));
        free(difference);
        assert_false(stage(f, &whole, 5));
        begin = milliseconds();
        assert_true(stage(f, &whole, 1000));
        print_message("all but five steps: %.1f ms\n", milliseconds() - begin);
        assert_same(f, f->r, false);
        assert_done(nft_engage(f->nft, f->r, &error), error);
        assert_same(f, f->r, true);
        assert_false(gets_out(&f->net, (struct person){10000 + 3 * 99999, 5}, "8.8.8.8:1000/udp"));
        assert_false(gets_out(&f->net, (struct person){100000000 + 65536 * 19999, 5}, "8.8.8.8:1000/udp"));
        assert_true(gets_out(&f->net, (struct person){10001 + 3 * 1000, 5}, "8.8.8.8:1000/udp"));
        /* Somebody takes it away meanwhile: that is said, and it can be begun again. */
        half = (struct nft_progress){0};
        assert_false(stage(f, &half, 2));
        assert_done(nft_delete(f->nft, "staff", &error), error);
        assert_int_equal(nft_stage(f->nft, f->r, &half, &error), -ENOENT);
        assert_non_null(strstr(error, "lockdown-staff"));
        free(error);
        half = (struct nft_progress){0};
        assert_true(stage(f, &half, 1000));
        assert_same(f, f->r, false);
}
int main(void)
{
        const struct CMUnitTest tests[] = {
                TEST(test_large_sets_are_compared_once),
                TEST(test_large_sets_are_read_beforehand),
                TEST(test_reading_is_given_up),
                TEST(test_hundred_thousand),
                TEST(test_staged_in_steps),
        };

        return cmocka_run_group_tests_name("nft-large", tests, NULL, NULL);
}
