// SPDX-License-Identifier: GPL-2.0-or-later
/* Set arithmetic against a naive bitmap, with a fixed seed. */
// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
// clang-format on
#include "idset.h"
#include <errno.h>
#include <string.h>

/* Small enough for ranges to touch, overlap and swallow each other all the time. */
#define UNIVERSE 96
#define ROUNDS 20000

typedef bool bitmap[UNIVERSE];

static uint32_t random_below(uint64_t *state, uint32_t n)
{
        *state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        return (uint32_t)(*state >> 33) % n;
}

/* The universe is laid at BASE, so that both ends of the ids are met. */
static void fill(uint64_t *state, uint32_t base, struct idset *s, bitmap bits)
{
        uint32_t n = random_below(state, 12);

        memset(bits, 0, sizeof(bitmap));
        for (uint32_t i = 0; i < n; i++) {
                uint32_t first = random_below(state, UNIVERSE);
                uint32_t length = random_below(state, 9);
                uint32_t last = first + length < UNIVERSE ? first + length : UNIVERSE - 1;

                assert_int_equal(idset_append(s, base + first, base + last), 0);
                for (uint32_t bit = first; bit <= last; bit++)
                        bits[bit] = true;
        }
        idset_normalize(s);
}

static void assert_normal(const struct idset *s)
{
        for (size_t i = 0; i < s->n; i++) {
                assert_true(s->ranges[i].first <= s->ranges[i].last);
                if (i > 0)
                        assert_true((uint64_t)s->ranges[i - 1].last + 1 < s->ranges[i].first);
        }
}

static void assert_same(const struct idset *s, uint32_t base, const bitmap bits)
{
        struct idset_iterator it = {0};
        uint64_t count = 0;
        uint32_t id;

        assert_normal(s);
        for (uint32_t bit = 0; bit < UNIVERSE; bit++) {
                assert_int_equal(idset_contains(s, base + bit), bits[bit]);
                if (!bits[bit])
                        continue;
                count++;
                assert_true(idset_next(s, &it, &id));
                assert_int_equal(id, base + bit);
        }
        assert_false(idset_next(s, &it, &id));
        assert_int_equal(idset_count(s), count);
}

static bool have_one_in_common(const bitmap a, const bitmap b)
{
        for (size_t i = 0; i < UNIVERSE; i++)
                if (a[i] && b[i])
                        return true;
        return false;
}

static void test_arithmetic(void **data)
{
        static const uint32_t bases[] = {0, 1000, UINT32_MAX - UNIVERSE + 1};
        uint64_t state = 20161101;

        (void)data;
        for (unsigned round = 0; round < ROUNDS; round++) {
                _cleanup_idset_ struct idset a = {0}, b = {0}, either = {0}, rest = {0}, copy = {0};
                uint32_t base = bases[round % ELEMENTSOF(bases)];
                bitmap in_a, in_b, in_either, in_rest;

                fill(&state, base, &a, in_a);
                fill(&state, base, &b, in_b);
                for (size_t i = 0; i < UNIVERSE; i++) {
                        in_either[i] = in_a[i] || in_b[i];
                        in_rest[i] = in_a[i] && !in_b[i];
                }
                assert_int_equal(idset_union(&a, &b, &either), 0);
                assert_int_equal(idset_subtract(&a, &b, &rest), 0);
                assert_int_equal(idset_copy(&a, &copy), 0);
                assert_same(&a, base, in_a);
                assert_same(&either, base, in_either);
                assert_same(&rest, base, in_rest);
                assert_true(idset_equal(&a, &copy));
                assert_int_equal(idset_equal(&a, &b), memcmp(in_a, in_b, sizeof(in_a)) == 0);
                assert_int_equal(idset_overlap(&a, &b), have_one_in_common(in_a, in_b));
                assert_int_equal(idset_overlap(&b, &a), have_one_in_common(in_a, in_b));
        }
}

static void test_ends(void **data)
{
        _cleanup_idset_ struct idset all = {0}, middle = {0}, rest = {0};

        (void)data;
        assert_int_equal(idset_append(&all, 0, UINT32_MAX), 0);
        idset_normalize(&all);
        assert_int_equal(idset_count(&all), UINT64_C(1) << 32);
        assert_true(idset_contains(&all, UINT32_MAX));
        assert_int_equal(idset_append(&middle, 1, UINT32_MAX - 1), 0);
        idset_normalize(&middle);
        assert_int_equal(idset_subtract(&all, &middle, &rest), 0);
        assert_int_equal(rest.n, 2);
        assert_true(idset_contains(&rest, 0) && idset_contains(&rest, UINT32_MAX));
        assert_int_equal(idset_count(&rest), 2);
}

static void test_refuses_backwards(void **data)
{
        _cleanup_idset_ struct idset s = {0};

        (void)data;
        assert_int_equal(idset_append(&s, 5, 4), -EINVAL);
        assert_int_equal(s.n, 0);
}

static void test_empty(void **data)
{
        _cleanup_idset_ struct idset none = {0}, other = {0}, ret = {0};
        struct idset_iterator it = {0};
        uint32_t id = 7;

        (void)data;
        idset_normalize(&none);
        assert_false(idset_contains(&none, 0));
        assert_false(idset_overlap(&none, &other));
        assert_false(idset_next(&none, &it, &id));
        assert_int_equal(id, 7);
        assert_int_equal(idset_union(&none, &other, &ret), 0);
        assert_int_equal(ret.n, 0);
        assert_true(idset_equal(&none, &ret));
}

/* A hundred thousand members, in ascending order, backwards, and as one run. */
static void test_many(void **data)
{
        _cleanup_idset_ struct idset even = {0}, backwards = {0}, run = {0};

        (void)data;
        for (uint32_t i = 0; i < 100000; i++) {
                assert_int_equal(idset_append(&even, 2 * i, 2 * i), 0);
                assert_int_equal(idset_append(&backwards, 199998 - 2 * i, 199998 - 2 * i), 0);
                assert_int_equal(idset_append(&run, i, i), 0);
        }
        assert_int_equal(run.n, 1);
        idset_normalize(&even);
        idset_normalize(&backwards);
        assert_int_equal(even.n, 100000);
        assert_int_equal(even.capacity, 100000);
        assert_true(idset_equal(&even, &backwards));
}

/* A copy shares what it is copied from until one of them changes: neither sees what becomes of the other. */
static void test_copies_go_their_own_way(void **data)
{
        _cleanup_idset_ struct idset first = {0}, second = {0}, third = {0};
        struct idrange five = {5, 5};
        const struct idset borrowed = {&five, 1, 0};

        (void)data;
        assert_int_equal(idset_append(&first, 1, 2), 0);
        idset_normalize(&first);
        assert_int_equal(idset_copy(&first, &second), 0);
        assert_int_equal(idset_copy(&second, &third), 0);
        assert_ptr_equal(first.ranges, third.ranges);
        idset_normalize(&third); /* is no change */
        assert_ptr_equal(first.ranges, third.ranges);
        assert_int_equal(idset_append(&second, 3, 4), 0); /* goes on where the last range ended */
        assert_int_equal(idset_append(&first, 9, 9), 0);
        idset_normalize(&first);
        idset_normalize(&second);
        assert_true(idset_contains(&second, 4) && !idset_contains(&second, 9) && second.n == 1);
        assert_true(idset_contains(&first, 9) && !idset_contains(&first, 4) && first.n == 2);
        assert_true(idset_contains(&third, 2) && !idset_contains(&third, 3) && third.n == 1);
        assert_int_equal(idset_copy(&first, &first), 0);
        assert_int_equal(first.n, 2);
        assert_int_equal(idset_copy(&borrowed, &third), 0);
        assert_int_equal(idset_append(&third, 6, 6), 0);
        assert_int_equal(five.last, 5);
        assert_int_equal(idset_count(&borrowed), 1);
        assert_int_equal(idset_count(&first), 3);
        assert_int_equal(idset_count(&second), 4);
        assert_int_equal(idset_count(&third), 2);
        idset_clear(&first);
        assert_true(idset_contains(&third, 6) && idset_contains(&second, 1));
}

/* Where there are too many to look each up, it errs to one side only. */
static void test_overlap_of_many(void **data)
{
        _cleanup_idset_ struct idset even = {0}, odd = {0}, few = {0}, behind = {0};

        (void)data;
        for (uint32_t i = 0; i < 1000; i++) {
                assert_int_equal(idset_append(&even, 4 * i, 4 * i), 0);
                assert_int_equal(idset_append(&odd, 4 * i + 2, 4 * i + 2), 0);
        }
        assert_int_equal(idset_append(&few, 2001, 2003), 0);
        assert_int_equal(idset_append(&behind, 5000, 6000), 0);
        idset_normalize(&even);
        idset_normalize(&odd);
        assert_true(idset_overlap(&even, &even));
        assert_true(idset_overlap(&even, &odd)); /* it cannot tell */
        assert_false(idset_overlap(&even, &few));
        assert_true(idset_overlap(&few, &odd));
        assert_false(idset_overlap(&even, &behind));
}

/* Every id is in the outline, and so is every gap but the wide ones. */
static void check_outline(const struct idset *s)
{
        struct idrange outline[IDSET_OUTLINE_MAX];
        size_t n = idset_outline(s, outline), at = 0;
        uint64_t whole = s->n == 0 ? 0 : s->ranges[s->n - 1].last - s->ranges[0].first;

        assert_true(n <= IDSET_OUTLINE_MAX && (n == 0) == (s->n == 0));
        for (size_t i = 0; i < s->n; i++) {
                bool wide = i > 0 && (s->ranges[i].first - s->ranges[i - 1].last) * UINT64_C(4) > whole;

                if (i == 0 || wide) {
                        assert_true(i == 0 || outline[at++].last == s->ranges[i - 1].last);
                        assert_int_equal(outline[at].first, s->ranges[i].first);
                }
                assert_true(outline[at].first <= s->ranges[i].first);
                assert_true(outline[at].last >= s->ranges[i].last);
        }
        if (n > 0)
                assert_int_equal(outline[n - 1].last, s->ranges[s->n - 1].last);
        assert_int_equal(n, s->n == 0 ? 0 : at + 1);
}

static void test_outline(void **state)
{
        const uint32_t bases[] = {0, 100000, UINT32_MAX - UNIVERSE + 1};
        _cleanup_idset_ struct idset whole = {0}, ends = {0};
        uint64_t seed = 3;

        (void)state;
        for (unsigned round = 0; round < ROUNDS; round++) {
                _cleanup_idset_ struct idset s = {0};
                bitmap bits;

                fill(&seed, bases[round % ELEMENTSOF(bases)], &s, bits);
                check_outline(&s);
        }
        assert_int_equal(idset_append(&whole, 0, UINT32_MAX), 0);
        check_outline(&whole);
        assert_int_equal(idset_append(&ends, 0, 0), 0);
        assert_int_equal(idset_append(&ends, UINT32_MAX, UINT32_MAX), 0);
        check_outline(&ends);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_arithmetic),
                cmocka_unit_test(test_ends),
                cmocka_unit_test(test_refuses_backwards),
                cmocka_unit_test(test_empty),
                cmocka_unit_test(test_many),
                cmocka_unit_test(test_copies_go_their_own_way),
                cmocka_unit_test(test_overlap_of_many),
                cmocka_unit_test(test_outline),
        };

        return cmocka_run_group_tests_name("idset", tests, NULL, NULL);
}
