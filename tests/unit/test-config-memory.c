/* SPDX-License-Identifier: GPL-2.0-or-later */
// wrap: malloc calloc reallocarray strdup strndup

/* Memory that runs out while a configuration is read: no mistake in it may be forgotten and then pass for
 * none, nothing leaks, and what was in force stays as it was. */

#include "config-place.h"

#include <stdint.h>

/* How many allocations succeed before one fails; -1: all. */
static long left = -1;

void *__real_malloc(size_t size);
void *__wrap_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__real_reallocarray(void *p, size_t n, size_t size);
void *__wrap_reallocarray(void *p, size_t n, size_t size);
char *__real_strdup(const char *s);
char *__wrap_strdup(const char *s);
char *__real_strndup(const char *s, size_t n);
char *__wrap_strndup(const char *s, size_t n);

static bool fails(void)
{
        return left >= 0 && left-- == 0;
}

void *__wrap_malloc(size_t size)
{
        return fails() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t n, size_t size)
{
        return fails() ? NULL : __real_calloc(n, size);
}

void *__wrap_reallocarray(void *p, size_t n, size_t size)
{
        return fails() ? NULL : __real_reallocarray(p, n, size);
}

char *__wrap_strdup(const char *s)
{
        return fails() ? NULL : __real_strdup(s);
}

char *__wrap_strndup(const char *s, size_t n)
{
        return fails() ? NULL : __real_strndup(s, n);
}

/* Lets each allocation of config_load() fail in its turn. Every time the answer is -ENOMEM or the one
 * EXPECTED with enough memory; the last time it is that one. */
static void check_each_failure(const char *dir, int expected)
{
        struct config untouched, *const before = &untouched;
        int r = 0;

        for (long n = 0; left < 0; n++) {
                _cleanup_problems_ struct problems problems = {};
                struct config *c = before;

                left = n;
                r = config_load(dir, &c, &problems);
                if (r == 0)
                        config_free(c);
                else {
                        assert_ptr_equal(c, before);
                        assert_true(r == -ENOMEM || (r == -EINVAL && problems.n > 0));
                }
                assert_true(r == expected || r == -ENOMEM);
                if (left >= 0) /* not used up: that was all of them */
                        break;
                assert_true(n < 10000);
        }
        left = -1;
        assert_int_equal(r, expected);
}

static void test_samples(void **state)
{
        (void)state;
        check_each_failure(SAMPLES "/annotated", 0);
        check_each_failure(SAMPLES "/drop-ins", 0);
        check_each_failure(SAMPLES "/mistakes", -EINVAL);
        check_each_failure("/nonexistent", 0);
}

/* One mistake alone: there is no other sentence by which the file would be refused. */
static void test_single_mistakes(void **state)
{
        static const char *const mistakes[] = {
                "Users=root\n",      "Groups=a,b\n",
                "Everyone=maybe\n",  "Everyone=yes\n",
                "Allow=::/0\n",      "Allow=none internal\n",
                "DNS=no\n",          "DefaultDuration=2d\nMaxDuration=1d\n",
                "Colour=red\n",      "nothing\n",
                "[Profile q]\n",     "[Access]\nOrder=*\n",
                "[Nonsense]\n",      "LoopbackDeny=0\n",
                "IncludeRoot=yes\n", "Services=x.socket\n",
        };

        (void)state;
        for (size_t i = 0; i < ELEMENTSOF(mistakes); i++) {
                _cleanup_place_ struct place p;
                char text[256];

                place_make(&p);
                snprintf(text, sizeof(text), "[Profile p]\nGroups=g\n%s", mistakes[i]);
                write_file(p.file, text, strlen(text));
                check_each_failure(p.dir, -EINVAL);
        }
}

static void test_unreadable(void **state)
{
        _cleanup_place_ struct place p;

        (void)state;
        place_make(&p);
        assert_int_equal(mkdir(p.file, 0755), 0);
        check_each_failure(p.dir, -EINVAL);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_samples),
                cmocka_unit_test(test_single_mistakes),
                cmocka_unit_test(test_unreadable),
        };

        return cmocka_run_group_tests_name("config memory", tests, NULL, NULL);
}
