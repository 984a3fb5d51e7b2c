/* SPDX-License-Identifier: GPL-2.0-or-later */

/* A document's text is whole, or there is none. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "cleanup.h"
#include "failing-allocator.h"
#include "json-text.h"
#include <string.h>

/* So many members of such lengths that some key meets the end of each buffer that grows. */
static json_t *document(void)
{
        json_t *object = json_object();

        for (unsigned i = 0; i < 40; i++) {
                char key[128];

                memset(key, 'a' + (int)(i % 26), sizeof(key));
                key[3 + i * 2] = '\0';
                assert_int_equal(json_object_set_new(object, key, json_sprintf("value %u", i)), 0);
        }
        return object;
}

static void test_each_allocation(void **state)
{
        _cleanup_json_ json_t *d = NULL, *again = NULL;
        _cleanup_free_ char *whole = NULL;
        bool reached = true;

        (void)state;
        need_failing_allocator();
        d = document();
        whole = json_text(d, JSON_INDENT(2));
        assert_non_null(whole);
        again = json_loads(whole, 0, NULL);
        assert_true(json_equal(d, again));
        for (unsigned n = 1; reached; n++) {
                _cleanup_free_ char *text = NULL;

                ask_to_fail(n);
                text = json_text(d, JSON_INDENT(2));
                reached = has_failed();
                if (text)
                        assert_string_equal(text, whole);
                else
                        assert_true(reached);
        }
}

static void test_no_document(void **state)
{
        (void)state;
        assert_null(json_text(NULL, 0));
}

/* Bytes that are no UTF-8, or the beginning of a letter only. */
static void test_any_bytes(void **state)
{
        static const char *const cases[][2] = {
                {"", ""}, {"squid", "squid"}, {"für", "für"}, {"f\xfcr", "f?r"}, {"für-f\xc3", "f??r-f?"}};

        (void)state;
        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                _cleanup_json_ json_t *j = json_string_lenient(cases[i][0]);

                assert_string_equal(json_string_value(j), cases[i][1]);
        }
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_each_allocation),
                cmocka_unit_test(test_no_document),
                cmocka_unit_test(test_any_bytes),
        };

        return cmocka_run_group_tests_name("json-text", tests, NULL, NULL);
}
