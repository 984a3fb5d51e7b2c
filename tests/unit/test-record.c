/* SPDX-License-Identifier: GPL-2.0-or-later */

/* The record of finished orders within its bounds: which are due, and their removal whatever happens
 * meanwhile. */

// wrap: renameat

#include "store-lab.h"
#include "timespan.h"

#include <inttypes.h>
#include <sys/stat.h>

/* ---- which are due ---- */

static void assert_due(uint64_t keep_for, uint64_t keep_orders, uint64_t keep_size, size_t age, size_t number,
                       size_t size)
{
        /* ended 100, 200, 300, 400 and 5000 s after the Epoch; now is 1000 */
        struct record_entry entries[5];
        const struct record_bounds b = {keep_for, keep_orders, keep_size};
        struct record_due why;

        for (unsigned i = 0; i < 5; i++)
                entries[i] = (struct record_entry){.ended_at = (i < 4 ? i + 1 : 50) * 100 * USEC_PER_SEC,
                                                   .size = 1000 + i};
        assert_int_equal(record_find_due(entries, 5, &b, 1000 * USEC_PER_SEC, &why), age + number + size);
        assert_int_equal(why.for_age, age);
        assert_int_equal(why.for_number, number);
        assert_int_equal(why.for_size, size);
}

static void test_due(void **state)
{
        const uint64_t all = RECORD_UNBOUNDED;
        struct record_due why;

        (void)state;
        assert_due(all, all, all, 0, 0, 0);
        assert_due(800 * USEC_PER_SEC, all, all, 1, 0, 0); /* just as old as it may be: stays */
        assert_due(800 * USEC_PER_SEC - 1, all, all, 2, 0, 0);
        assert_due(1, all, all, 4, 0, 0); /* what ended in the future is not old */
        assert_due(all, 5, all, 0, 0, 0);
        assert_due(all, 2, all, 0, 3, 0);
        assert_due(all, all, 5010, 0, 0, 0);
        assert_due(all, all, 5009, 0, 0, 1);
        assert_due(all, all, 1, 0, 0, 5);
        assert_due(800 * USEC_PER_SEC, 3, 2007, 1, 1, 1); /* each for the first reason that applies */
        assert_int_equal(record_find_due(NULL, 0, &record_defaults, 0, &why), 0);
}

/* ---- the disk ---- */

/* errno of each attempt to put a file in its place; 0: none */
static int fail_rename;

int __real_renameat(int from_fd, const char *from, int to_fd, const char *to);
int __wrap_renameat(int from_fd, const char *from, int to_fd, const char *to);
int __wrap_renameat(int from_fd, const char *from, int to_fd, const char *to)
{
        if (fail_rename) {
                errno = fail_rename;
                return -1;
        }
        return __real_renameat(from_fd, from, to_fd, to);
}

static void reopen(struct fixture *f)
{
        _cleanup_problems_ struct problems problems = {0};

        store_close(f->store);
        assert_int_equal(store_open(f->dir, &f->store, NULL, NULL), 0);
        assert_int_equal(store_load_removed(f->store, &problems), 0);
        assert_int_equal(problems.n, 0);
}

/* N orders that ended one microsecond after the other, each with attempts, and one in force. */
static void fill(struct fixture *f, unsigned n)
{
        _cleanup_(order_freep) struct order *in_force = make_order(99999);
        struct attempt item = {
                .uid = 1000, .family = 2, .protocol = 6, .port = 443, .packets = 1, .bytes = 40};
        const struct attempts a = {.items = &item, .n = 1, .packets = 1, .bytes = 40};

        for (unsigned i = 0; i < n; i++) {
                _cleanup_(order_freep) struct order *o = make_order(i);

                finish(o, T0 + i);
                assert_int_equal(store_save_order(f->store, o), 0);
                assert_int_equal(store_save_record(f->store, o->id, &(struct attempts_record){.earlier = a}),
                                 0);
        }
        assert_int_equal(store_save_order(f->store, in_force), 0);
        assert_int_equal(store_save_record(f->store, in_force->id, &(struct attempts_record){.earlier = a}),
                         0);
}

/* A whole pass; the result of the last step. *RET_STEPS (may be NULL): of those that removed. */
static int keep(struct fixture *f, uint64_t keep_orders, unsigned *ret_steps)
{
        const struct record_bounds b = {RECORD_UNBOUNDED, keep_orders, RECORD_UNBOUNDED};
        _cleanup_(record_pass_freep) struct record_pass *p = NULL;
        struct record_due why;
        unsigned steps = 0;
        int r = record_pass_new(f->store, &p);

        if (r < 0)
                return r;
        do
                r = record_look(p);
        while (r > 0);
        assert_int_equal(r, 0);
        (void)record_decide(p, &b, T0 + 1000000, &why, NULL);
        do {
                r = record_remove(p);
                steps++;
        } while (r > 0);
        if (ret_steps)
                *ret_steps = steps;
        return r;
}

static void assert_removed(struct fixture *f, uint64_t orders, uint64_t until)
{
        const struct record_removed *removed = store_removed(f->store);

        assert_int_equal(removed->orders, orders);
        assert_int_equal(removed->until, until);
        if (orders > 0)
                assert_int_equal(removed->from, T0);
}

static void test_the_oldest_go(void **state)
{
        struct fixture *f = *state;
        _cleanup_loaded_ struct loaded h = {0}, l = {0};
        unsigned steps;

        fill(f, 100);
        assert_int_equal(keep(f, 200, NULL), 0);
        assert_int_equal(count_files(f, "record"), 0); /* nothing was removed: nothing to note */
        assert_int_equal(keep(f, 10, &steps), 0);
        assert_true(steps > 2); /* 90 of them not at one go */
        load_history(f, 100, &h);
        assert_int_equal(h.n, 10);
        assert_string_equal(h.orders[9]->id, id_of(90));
        assert_int_equal(count_files(f, "history"), 10);
        assert_int_equal(count_files(f, "attempts"), 11); /* that of the order in force, too */
        load(f, &l);
        assert_int_equal(l.n, 1);
        assert_removed(f, 90, T0 + 89);
        reopen(f);
        assert_removed(f, 90, T0 + 89);
        assert_int_equal(keep(f, 5, NULL), 0); /* it adds up */
        reopen(f);
        assert_removed(f, 95, T0 + 94);
}

/* An end that is not true does not make an order old. */
static void test_in_force_stays(void **state)
{
        struct fixture *f = *state;
        _cleanup_(order_freep) struct order *o = make_order(7);
        struct attempt item = {.uid = 1, .family = 2, .packets = 1};
        const struct attempts a = {.items = &item, .n = 1, .packets = 1};

        finish(o, T0);
        assert_int_equal(store_save_order(f->store, o), 0);
        o->state = ORDER_ACTIVE;
        assert_int_equal(store_save_order(f->store, o),
                         0); /* and the daemon dies before the false end is gone */
        assert_int_equal(store_save_record(f->store, o->id, &(struct attempts_record){.earlier = a}), 0);
        assert_int_equal(keep(f, 0, NULL), 0);
        assert_int_equal(count_files(f, "orders"), 1);
        assert_int_equal(count_files(f, "attempts"), 1);
        assert_removed(f, 0, 0);
}

/* Each file that is counted as removed is gone in the end, and no other, wherever the daemon dies: here as
 * the note says that they are being removed. */
static void test_a_crash_in_between(void **state)
{
        struct fixture *f = *state;
        char text[512];

        fill(f, 10);
        snprintf(text, sizeof(text),
                 "{\"version\": 1, \"orders\": 3, \"from\": %" PRIu64 ", \"until\": %" PRIu64
                 ", \"removing\": "
                 "[\"%020" PRIu64 "-%s.json\", \"%020" PRIu64 "-%s.json\"]}",
                 T0, T0 + 1, T0, id_of(0), T0 + 1, "00000000000000000000000000000001");
        put(f, "record/removed.json", text);
        reopen(f);
        assert_int_equal(count_files(f, "history"), 8);
        assert_int_equal(count_files(f, "attempts"), 9);
        assert_removed(f, 3, T0 + 1);
        reopen(f);
        assert_removed(f, 3, T0 + 1);
}

static void test_what_is_not_noted_stays(void **state)
{
        struct fixture *f = *state;

        fill(f, 10);
        fail_rename = EIO;
        assert_int_equal(keep(f, 2, NULL), -EIO);
        fail_rename = 0;
        assert_int_equal(count_files(f, "history"), 10);
        assert_removed(f, 0, 0);
        assert_int_equal(keep(f, 2, NULL), 0);
        assert_removed(f, 8, T0 + 7);
}

/* A full disk: what is due makes room for the note, one at a time; what is not due stays. */
static void test_a_full_disk(void **state)
{
        struct fixture *f = *state;

        fill(f, 10);
        fail_rename = ENOSPC;
        assert_int_equal(keep(f, 20, NULL), 0);
        assert_int_equal(count_files(f, "history"), 10);
        assert_int_equal(keep(f, 2, NULL), -ENOSPC);
        assert_int_equal(count_files(f, "history"), 9);
        assert_removed(f, 1, T0);
        fail_rename = 0;
        assert_int_equal(keep(f, 9, NULL), 0); /* nothing is due, but the note is behind */
        reopen(f);
        assert_removed(f, 1, T0);
        assert_int_equal(count_files(f, "history"), 9);
}

/* What could not be removed is removed next time, and counted once. */
static void test_removal_fails(void **state)
{
        struct fixture *f = *state;

        fill(f, 10);
        assert_int_equal(unlink(path_in(f, "attempts/00000000000000000000000000000003.json")), 0);
        assert_int_equal(mkdir(path_in(f, "attempts/00000000000000000000000000000003.json"), 0700), 0);
        assert_true(keep(f, 2, NULL) < 0);
        assert_removed(f, 8, T0 + 7);
        assert_int_equal(count_files(f, "history"), 7);
        assert_true(keep(f, 2, NULL) < 0);
        assert_int_equal(rmdir(path_in(f, "attempts/00000000000000000000000000000003.json")), 0);
        assert_int_equal(keep(f, 2, NULL), 0);
        assert_removed(f, 8, T0 + 7);
        assert_int_equal(count_files(f, "history"), 2);
}

static void test_damaged_note(void **state)
{
        static const char *const texts[] = {
                "",
                "{}",
                "[1]",
                "{\"version\": 2, \"orders\": 1, \"from\": 1, \"until\": 1, \"removing\": []}",
                "{\"version\": 1, \"orders\": -1, \"from\": 1, \"until\": 1, \"removing\": []}",
                "{\"version\": 1, \"orders\": 1, \"from\": 1, \"until\": 1, \"removing\": [\"../orders/x\"]}",
                "{\"version\": 1, \"orders\": 1, \"from\": 2, \"until\": 1, \"removing\": [1]}"};
        struct fixture *f = *state;

        fill(f, 2);
        for (size_t i = 0; i < ELEMENTSOF(texts); i++) {
                _cleanup_problems_ struct problems problems = {0};

                put(f, "record/removed.json", texts[i]);
                assert_int_equal(store_load_removed(f->store, &problems), -EBADMSG);
                assert_int_equal(problems.n, 1);
                assert_removed(f, 0, 0);
        }
        assert_int_equal(count_files(f, "damaged"), ELEMENTSOF(texts));
        assert_int_equal(count_files(f, "history"), 2);
}

/* However often the table of one order is replaced, and whatever somebody tries meanwhile. */
static void test_attempts_are_bounded(void **state)
{
        const size_t n = ATTEMPTS_KEPT_MAX;
        _cleanup_attempts_ struct attempts kept = {.items = calloc(n, sizeof(*kept.items)), .n = n};
        struct attempt more[2] = {{.uid = 1, .family = 2, .packets = 9, .port = 1},
                                  {.uid = 1, .family = 2, .packets = 1, .port = 2}};
        const struct attempts b = {.items = more, .n = 2, .packets = 10, .bytes = 400};

        (void)state;
        assert_non_null(kept.items);
        for (size_t i = 0; i < n; i++)
                kept.items[i] = (struct attempt){.uid = 1000 + (uint32_t)i, .family = 2, .packets = 5};
        kept.packets = n * 5;
        assert_int_equal(attempts_merge(&kept, &b), 0);
        assert_int_equal(kept.n, n);
        assert_int_equal(kept.packets, n * 5 + 10); /* what is not itemised is counted all the same */
        assert_int_equal(kept.items[0].packets,
                         9); /* the most frequent are kept, whoever has the lowest uid */
        assert_int_equal(kept.items[n - 1].packets, 5);
        assert_int_equal(kept.items[1].uid, 1000);
}

static int reset(void **state)
{
        fail_rename = 0;
        return setup(state);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_due),
                cmocka_unit_test(test_attempts_are_bounded),
                cmocka_unit_test_setup_teardown(test_the_oldest_go, reset, teardown),
                cmocka_unit_test_setup_teardown(test_in_force_stays, reset, teardown),
                cmocka_unit_test_setup_teardown(test_a_crash_in_between, reset, teardown),
                cmocka_unit_test_setup_teardown(test_what_is_not_noted_stays, reset, teardown),
                cmocka_unit_test_setup_teardown(test_a_full_disk, reset, teardown),
                cmocka_unit_test_setup_teardown(test_removal_fails, reset, teardown),
                cmocka_unit_test_setup_teardown(test_damaged_note, reset, teardown),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
