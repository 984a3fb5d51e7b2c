// SPDX-License-Identifier: GPL-2.0-or-later
// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
// clang-format on
#include "subjects.h"

static void add(struct idset *s, uint32_t first, uint32_t last)
{
        assert_int_equal(idset_append(s, first, last), 0);
        idset_normalize(s);
}

/* Root, two members (one of them excepted), a subordinate range, a group and its range. */
static void fill(struct subjects *s)
{
        add(&s->uids, 0, 0);
        add(&s->uids, 1000, 1001);
        add(&s->uid_ranges, 0, 0);
        add(&s->uid_ranges, 100000, 165535);
        add(&s->gids, 500, 500);
        add(&s->gid_ranges, 200000, 200009);
        add(&s->except_uids, 1001, 1001);
        add(&s->except_uids, 100005, 100005);
        add(&s->except_gids, 600, 600);
}

static void test_finish(void **data)
{
        _cleanup_subjects_ struct subjects s = {0};

        (void)data;
        fill(&s);
        assert_int_equal(subjects_finish(&s, false), 0);
        assert_int_equal(idset_count(&s.uids), 1);
        assert_true(idset_contains(&s.uids, 1000));
        assert_false(idset_contains(&s.uid_ranges, 0));
        assert_int_equal(idset_count(&s.uid_ranges), 65536);
        assert_int_equal(idset_count(&s.except_uids), 2);
}

static void test_finish_with_root(void **data)
{
        _cleanup_subjects_ struct subjects s = {0};

        (void)data;
        fill(&s);
        assert_int_equal(subjects_finish(&s, true), 0);
        assert_true(idset_contains(&s.uids, 0));
        assert_false(idset_contains(&s.uids, 1001));
        assert_true(subjects_match_uid(&s, 0));
}

static void test_match_named(void **data)
{
        _cleanup_subjects_ struct subjects s = {0};
        static const struct {
                uint32_t uid, gid;
                bool by_uid, by_both;
        } cases[] = {
                {1000, 1, true, true},                               /* a member */
                {1001, 1, false, false},                             /* an excepted member */
                {1001, 500, false, false},                           /* even acting under the group */
                {2000, 1, false, false},                             /* somebody else */
                {2000, 500, false, true},                            /* under the group's gid */
                {2000, 200009, false, true},                         /* under a subordinate gid */
                {2000, 200010, false, false},  {0, 1, false, false}, /* root is spared */
                {0, 500, false, false},        {0, 200000, false, false},
                {100000, 1, true, true},                                  /* a member's container */
                {165536, 1, false, false},     {100005, 1, false, false}, /* an excepted uid within a range */
                {2000, 600, false, false}, /* except_gids matter to everyone only … */
                {1000, 600, true, true},   /* … not to members */
                {UINT32_MAX, 1, false, false},
        };

        (void)data;
        fill(&s);
        assert_int_equal(subjects_finish(&s, false), 0);
        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                assert_int_equal(subjects_match_uid(&s, cases[i].uid), cases[i].by_uid);
                assert_int_equal(subjects_match(&s, cases[i].uid, cases[i].gid), cases[i].by_both);
        }
}

static void test_match_everyone(void **data)
{
        _cleanup_subjects_ struct subjects s = {.everyone = true};

        (void)data;
        add(&s.except_uids, 34, 34);
        add(&s.except_gids, 600, 600);
        assert_int_equal(subjects_finish(&s, false), 0);
        assert_true(subjects_match(&s, 1000, 1000));
        assert_true(subjects_match_uid(&s, 4000000000));
        assert_false(subjects_match(&s, 34, 1000));
        assert_false(subjects_match_uid(&s, 34));
        assert_false(subjects_match(&s, 1000, 600));
        assert_true(subjects_match_uid(&s, 1000)); /* the gid is not known */
        assert_false(subjects_match(&s, 0, 0));
        assert_false(subjects_match_uid(&s, 0));
}

static void test_copy_equal_empty(void **data)
{
        struct subjects s = {0}, copy = {0};

        (void)data;
        assert_true(subjects_empty(&s));
        add(&s.except_uids, 5, 5);
        assert_true(subjects_empty(&s));
        s.everyone = true;
        assert_false(subjects_empty(&s));
        s.everyone = false;
        add(&s.gids, 5, 5);
        assert_false(subjects_empty(&s));
        s.sessions = true;
        assert_int_equal(subjects_copy(&s, &copy), 0);
        assert_true(subjects_equal(&s, &copy));
        copy.sessions = false;
        assert_false(subjects_equal(&s, &copy));
        copy.sessions = true;
        add(&copy.gid_ranges, 1, 1);
        assert_false(subjects_equal(&s, &copy));
        subjects_clear(&s);
        subjects_clear(&copy);
        assert_true(subjects_equal(&s, &copy));
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_finish),           cmocka_unit_test(test_finish_with_root),
                cmocka_unit_test(test_match_named),      cmocka_unit_test(test_match_everyone),
                cmocka_unit_test(test_copy_equal_empty),
        };

        return cmocka_run_group_tests_name("subjects", tests, NULL, NULL);
}
