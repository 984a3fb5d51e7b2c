// SPDX-License-Identifier: GPL-2.0-or-later
// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
// clang-format on
#include "words.h"
#include <string.h>

static void test_split(void **data)
{
        _cleanup_words_ struct words w = {0};
        _cleanup_free_ char *joined = NULL;

        (void)data;
        assert_int_equal(words_split(&w, "  staff\tcontractors  guests ", "a.conf", 7), 0);
        assert_int_equal(words_split(&w, " \t ", "a.conf", 8), 0);
        assert_int_equal(words_add(&w, "two words", NULL, 0), 0);
        assert_int_equal(w.n, 4);
        assert_string_equal(w.items[1].text, "contractors");
        assert_string_equal(w.items[1].file, "a.conf");
        assert_int_equal(w.items[1].line, 7);
        assert_null(w.items[3].file);
        joined = words_join(&w);
        assert_string_equal(joined, "staff contractors guests two words");
}

static void test_contain_and_equal(void **data)
{
        _cleanup_words_ struct words a = {0}, b = {0}, copy = {0}, none = {0};
        _cleanup_free_ char *nothing = NULL;

        (void)data;
        assert_int_equal(words_split(&a, "x y z", "one", 1), 0);
        assert_int_equal(words_split(&b, "x y z", NULL, 0), 0);
        assert_true(words_equal(&a, &b));
        assert_int_equal(words_add(&b, "x", NULL, 0), 0);
        assert_false(words_equal(&a, &b));
        assert_int_equal(words_copy(&copy, &a), 0);
        assert_true(words_equal(&a, &copy));
        assert_string_equal(copy.items[2].file, "one");
        assert_ptr_not_equal(copy.items[2].text, a.items[2].text);
        assert_int_equal(words_add(&copy, "w", NULL, 0), 0); /* a copy can grow */
        assert_true(words_contain(&copy, "w"));
        assert_false(words_contain(&a, "w"));
        assert_false(words_contain(&none, ""));
        words_clear(&b);
        assert_int_equal(words_split(&b, "x z y", NULL, 0), 0);
        assert_false(words_equal(&a, &b));
        nothing = words_join(&none);
        assert_string_equal(nothing, "");
}

static void test_many_words(void **data)
{
        _cleanup_words_ struct words w = {0};
        char text[16];

        (void)data;
        for (unsigned i = 0; i < 1000; i++) {
                snprintf(text, sizeof(text), "word-%u", i);
                assert_int_equal(words_add(&w, text, "f", i), 0);
        }
        for (unsigned i = 0; i < 1000; i++) {
                snprintf(text, sizeof(text), "word-%u", i);
                assert_string_equal(w.items[i].text, text);
                assert_int_equal(w.items[i].line, i);
        }
}

static void test_problems(void **data)
{
        _cleanup_problems_ struct problems p = {0};
        _cleanup_free_ char *joined = NULL, *one = NULL, *first = NULL;

        (void)data;
        assert_null(problems_first(&p));
        problems_add(&p, "No such group: %s.", "staf");
        one = problems_first(&p);
        assert_string_equal(one, "No such group: staf.");
        problems_add_at(&p, "/etc/x.conf", 12, "%d%% is too much.", 200);
        problems_add_at(&p, NULL, 0, "From a request.");
        assert_int_equal(p.n, 3);
        joined = problems_join(&p);
        assert_string_equal(joined,
                            "No such group: staf.\n/etc/x.conf:12: 200% is too much.\nFrom a request.");
        first = problems_first(&p);
        assert_string_equal(first, "No such group: staf. (and 2 more: lockdownd --check lists them)");
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_split),
                cmocka_unit_test(test_contain_and_equal),
                cmocka_unit_test(test_many_words),
                cmocka_unit_test(test_problems),
        };

        return cmocka_run_group_tests_name("words", tests, NULL, NULL);
}
