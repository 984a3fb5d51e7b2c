// SPDX-License-Identifier: GPL-2.0-or-later
// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
// clang-format on
#include "subjects.h"
#include <errno.h>
#include <string.h>

struct text {
        char *data;
        size_t size;
};

static void text_clear(struct text *t)
{
        free(t->data);
}

static void add(struct idset *s, uint32_t first, uint32_t last)
{
        assert_int_equal(idset_append(s, first, last), 0);
        idset_normalize(s);
}

static void fill(struct membership *m)
{
        m->as_of = 1480519800123456;
        add(&m->subjects.uids, 0, 0);
        add(&m->subjects.uids, 1000, 1003);
        add(&m->subjects.uids, 4294967294, 4294967294);
        add(&m->subjects.gids, 500, 500);
        add(&m->subjects.uid_ranges, 100000, 165535);
        add(&m->subjects.gid_ranges, 100000, 100001);
        add(&m->subjects.except_uids, 34, 34);
        add(&m->subjects.except_gids, 35, 36);
        assert_int_equal(words_add(&m->missing_groups, "staf", NULL, 0), 0);
        assert_int_equal(words_add(&m->missing_users, "bob smith", NULL, 0), 0);
        assert_int_equal(words_add(&m->unresolved, "a\nend\n", NULL, 0), 0);
        assert_int_equal(words_add(&m->unresolved, "100% j\xc3\xb6rg\x7f\xe4", NULL, 0), 0);
        assert_int_equal(words_add(&m->empty_groups, "", NULL, 0), 0);
}

static void assert_equal(const struct membership *a, const struct membership *b)
{
        assert_true(subjects_equal(&a->subjects, &b->subjects));
        assert_true(words_equal(&a->missing_groups, &b->missing_groups));
        assert_true(words_equal(&a->missing_users, &b->missing_users));
        assert_true(words_equal(&a->unresolved, &b->unresolved));
        assert_true(words_equal(&a->empty_groups, &b->empty_groups));
        assert_int_equal(a->as_of, b->as_of);
}

static struct text write_text(const struct membership *m)
{
        struct text t = {0};
        FILE *f = open_memstream(&t.data, &t.size);

        assert_non_null(f);
        assert_int_equal(membership_write(m, f), 0);
        assert_int_equal(fclose(f), 0);
        return t;
}

static void test_text(void **data)
{
        _cleanup_membership_ struct membership m = {0};
        _cleanup_(text_clear) struct text t = {0};

        (void)data;
        fill(&m);
        t = write_text(&m);
        assert_string_equal(t.data, "lockdown-members 1\nas-of 1480519800123456\n"
                                    "uid 0\nuid 1000-1003\nuid 4294967294\ngid 500\nsubuid 100000-165535\n"
                                    "subgid 100000-100001\nexcept-uid 34\nexcept-gid 35-36\n"
                                    "missing-group staf\nmissing-user bob%20smith\n"
                                    "unresolved a%0Aend%0A\nunresolved 100%25%20j\xc3\xb6rg%7F\xe4\n"
                                    "empty-group \nend\n");
}

static void test_round_trip(void **data)
{
        _cleanup_membership_ struct membership m = {0}, back = {0}, copy = {0};
        _cleanup_(text_clear) struct text t = {0};

        (void)data;
        fill(&m);
        t = write_text(&m);
        assert_int_equal(membership_parse(t.data, t.size, &back), 0);
        assert_equal(&m, &back);
        assert_int_equal(membership_copy(&m, &copy), 0);
        assert_equal(&m, &copy);
        /* What was there is replaced. */
        assert_int_equal(membership_parse(t.data, t.size, &copy), 0);
        assert_equal(&m, &copy);
}

static void test_truncations(void **data)
{
        _cleanup_membership_ struct membership m = {0}, before = {0}, ret = {0};
        _cleanup_(text_clear) struct text t = {0};

        (void)data;
        fill(&m);
        t = write_text(&m);
        add(&ret.subjects.uids, 7, 7);
        assert_int_equal(membership_copy(&ret, &before), 0);
        for (size_t size = 0; size < t.size; size++) {
                /* In a block of just this size, so that reading past it is noticed. */
                _cleanup_free_ char *part = malloc(size + (size == 0));

                memcpy(part, t.data, size);
                assert_int_equal(membership_parse(part, size, &ret), -EBADMSG);
                assert_equal(&before, &ret);
        }
}

#define HEAD "lockdown-members 1\nas-of 5\n"

static void test_damage(void **data)
{
        static const char *const damaged[] = {
                "",
                "\n",
                "end\n",
                "lockdown-members 1\nend\n",
                "lockdown-members 2\nas-of 5\nend\n",
                "lockdown-members\nas-of 5\nend\n",
                "lockdown-members 1\nas-of x\nend\n",
                "lockdown-members 1\nas-of -5\nend\n",
                "lockdown-members 1\nas-of 18446744073709551616\nend\n",
                HEAD "as-of 6\nend\n",
                HEAD "end\nuid 5\n",
                HEAD "end\nend\n",
                HEAD "end \n",
                HEAD "\nend\n",
                HEAD "uid\nend\n",
                HEAD "uid \nend\n",
                HEAD "uid  5\nend\n",
                HEAD "uid 5 \nend\n",
                HEAD "uid +5\nend\n",
                HEAD "uid 05\nend\n",
                HEAD "uid 0x5\nend\n",
                HEAD "uid 5-\nend\n",
                HEAD "uid -5\nend\n",
                HEAD "uid 5-4\nend\n",
                HEAD "uid 5-6-7\nend\n",
                HEAD "uid 4294967295\nend\n",
                HEAD "uid 0-4294967295\nend\n",
                HEAD "uid 4294967296\nend\n",
                HEAD "uid 99999999999999999999999\nend\n",
                HEAD "UID 5\nend\n",
                HEAD "uids 5\nend\n",
                HEAD "missing-group\nend\n",
                HEAD "missing-group a b\nend\n",
                HEAD "missing-group a%\nend\n",
                HEAD "missing-group a%2\nend\n",
                HEAD "missing-group a%2x\nend\n",
                HEAD "missing-group a%00\nend\n",
                HEAD "uid 5\r\nend\n",
        };
        _cleanup_membership_ struct membership ret = {0};
        char with_nul[] = HEAD "unresolved aXb\nend\n";

        (void)data;
        for (size_t i = 0; i < ELEMENTSOF(damaged); i++)
                if (membership_parse(damaged[i], strlen(damaged[i]), &ret) != -EBADMSG)
                        fail_msg("accepted: %s", damaged[i]);
        assert_int_equal(membership_parse(with_nul, strlen(with_nul), &ret), 0);
        *strchr(with_nul, 'X') = '\0';
        assert_int_equal(membership_parse(with_nul, sizeof(with_nul) - 1, &ret), -EBADMSG);
}

static void test_unsorted_is_read(void **data)
{
        static const char text[] = HEAD "uid 9\nuid 3-5\nuid 4-8\nuid 1\nend\n";
        _cleanup_membership_ struct membership m = {0};

        (void)data;
        assert_int_equal(membership_parse(text, strlen(text), &m), 0);
        assert_int_equal(m.subjects.uids.n, 2);
        assert_int_equal(idset_count(&m.subjects.uids), 8);
}

/* Flipping any single byte never crashes, and what is still accepted can be written and read back. */
static void test_flipped_bytes(void **data)
{
        _cleanup_membership_ struct membership m = {0};
        _cleanup_(text_clear) struct text t = {0};

        (void)data;
        fill(&m);
        t = write_text(&m);
        for (size_t i = 0; i < t.size * 8; i++) {
                _cleanup_membership_ struct membership once = {0}, twice = {0};
                _cleanup_(text_clear) struct text again = {0};
                char *byte = &t.data[i / 8], was = *byte;

                *byte = (char)(was ^ (1 << (i % 8)));
                if (membership_parse(t.data, t.size, &once) == 0) {
                        again = write_text(&once);
                        assert_int_equal(membership_parse(again.data, again.size, &twice), 0);
                        assert_equal(&once, &twice);
                }
                *byte = was;
        }
}

static void test_full_disk(void **data)
{
        _cleanup_membership_ struct membership m = {0};
        _cleanup_fclose_ FILE *f = fopen("/dev/full", "w");

        (void)data;
        fill(&m);
        assert_non_null(f);
        assert_int_equal(membership_write(&m, f), -ENOSPC);
}

static void test_union(void **data)
{
        _cleanup_membership_ struct membership older = {.as_of = 1}, newer = {.as_of = 2}, both = {0};

        (void)data;
        add(&older.subjects.uids, 1000, 1001);
        add(&newer.subjects.uids, 1001, 1002);
        add(&older.subjects.uid_ranges, 5000, 5009);
        add(&newer.subjects.gids, 7, 7);
        add(&older.subjects.gid_ranges, 8, 8);
        add(&older.subjects.except_uids, 30, 34);
        add(&newer.subjects.except_uids, 34, 40);
        add(&newer.subjects.except_gids, 9, 9);
        assert_int_equal(words_add(&older.missing_groups, "old", NULL, 0), 0);
        assert_int_equal(words_add(&newer.unresolved, "new", NULL, 0), 0);
        assert_int_equal(membership_union(&older, &newer, &both), 0);
        assert_int_equal(idset_count(&both.subjects.uids), 3);
        assert_int_equal(idset_count(&both.subjects.uid_ranges), 10);
        assert_true(idset_contains(&both.subjects.gids, 7));
        assert_true(idset_contains(&both.subjects.gid_ranges, 8));
        assert_int_equal(idset_count(&both.subjects.except_uids), 1);
        assert_true(idset_contains(&both.subjects.except_uids, 34));
        assert_int_equal(both.subjects.except_gids.n, 0);
        assert_int_equal(both.missing_groups.n, 0);
        assert_true(words_contain(&both.unresolved, "new"));
        assert_int_equal(both.as_of, 2);
        /* Also onto one of the two. */
        assert_int_equal(membership_union(&older, &newer, &newer), 0);
        assert_equal(&both, &newer);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_text),          cmocka_unit_test(test_round_trip),
                cmocka_unit_test(test_truncations),   cmocka_unit_test(test_damage),
                cmocka_unit_test(test_flipped_bytes), cmocka_unit_test(test_unsorted_is_read),
                cmocka_unit_test(test_full_disk),     cmocka_unit_test(test_union),
        };

        return cmocka_run_group_tests_name("membership", tests, NULL, NULL);
}
