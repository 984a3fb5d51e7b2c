/* SPDX-License-Identifier: GPL-2.0-or-later */

/* An order is not left unsaved because one allocation, of the many that it takes, found no memory. */

// wrap: json_text

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

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

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(test_a_save_is_tried_again, setup, teardown),
        };

        return cmocka_run_group_tests_name("store-memory", tests, NULL, NULL);
}
