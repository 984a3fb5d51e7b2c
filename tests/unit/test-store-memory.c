/* SPDX-License-Identifier: GPL-2.0-or-later */

/* An order is not left unsaved because one allocation, of the many that it takes, found no memory. */

// wrap: json_text

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "failing-allocator.h"
#include "store-lab.h"

static unsigned fail;

char *__real_json_text(const json_t *json, size_t flags);
char *__wrap_json_text(const json_t *json, size_t flags);
char *__wrap_json_text(const json_t *json, size_t flags)
{
        if (fail == 0)
                return __real_json_text(json, flags);
        fail--;
        return NULL;
}

static void test_a_save_is_tried_again(void **state)
{
        struct fixture *f = *state;
        _cleanup_(order_freep) struct order *o = make_order(1);

        fail = 1;
        assert_int_equal(store_save_order(f->store, o), 0);
        assert_int_equal(count_files(f, "orders"), 1);
        finish(o, T0 + 10);
        fail = 1;
        assert_int_equal(store_save_order(f->store, o), 0);
        assert_int_equal(count_files(f, "orders"), 0);
        assert_int_equal(count_files(f, "history"), 1);
        fail = 2;
        assert_int_equal(store_save_order(f->store, o), -ENOMEM);
}

/* What is not found to have ended is taken for an order that is lost, and in force again. */
static void test_an_ended_order_is_found(void **state)
{
        struct fixture *f = *state;
        _cleanup_(order_freep) struct order *o = NULL;
        bool reached = true;

        need_failing_allocator();
        o = make_order(1);
        finish(o, T0 + 10);
        assert_int_equal(store_save_order(f->store, o), 0);
        for (unsigned n = 1; reached; n++) {
                _cleanup_(order_freep) struct order *found = NULL;
                int r;

                ask_to_fail(n);
                r = store_load_finished(f->store, o->id, &found);
                reached = has_failed();
                assert_int_equal(r, 0);
        }
}

/* Neither lost nor called damaged: orders are loaded, or it is said that there was no memory. */
static void test_orders_are_loaded(void **state)
{
        struct fixture *f = *state;
        bool reached = true;

        need_failing_allocator();
        save_new(f, 1);
        for (unsigned n = 1; reached; n++) {
                _cleanup_loaded_ struct loaded l = {0};
                int r;

                ask_to_fail(n);
                r = store_load_orders(f->store, &l.orders, &l.n, &l.problems);
                reached = has_failed();
                assert_true(r == 0 || (r == -ENOMEM && reached));
                assert_int_equal(l.n, r == 0 ? 1 : 0);
                assert_int_equal(l.problems.n, 0);
                assert_int_equal(count_files(f, "damaged"), 0);
                assert_int_equal(count_files(f, "orders"), 1);
        }
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(test_a_save_is_tried_again, setup, teardown),
                cmocka_unit_test_setup_teardown(test_orders_are_loaded, setup, teardown),
                cmocka_unit_test_setup_teardown(test_an_ended_order_is_found, setup, teardown),
        };

        return cmocka_run_group_tests_name("store-memory", tests, NULL, NULL);
}
