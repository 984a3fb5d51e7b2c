/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "access.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <cmocka.h>

static struct words words_of(const char *text)
{
        struct words w = {0};

        assert_int_equal(words_split(&w, text, "f", 1), 0);
        return w;
}

static struct peer peer_of(uint32_t uid, uint32_t *gids, size_t n)
{
        return (struct peer){.uid = uid, .gids = gids, .n_gids = n};
}

static void splits_what_needs_a_look_up(void **state)
{
        _cleanup_words_ struct words configured = words_of("root @lockdown alice 1007"), users = {0},
                                     groups = {0};
        struct access_list l = {0};

        (void)state;
        assert_int_equal(access_prepare(&configured, &l, &users, &groups), 0);
        assert_int_equal(users.n, 2);
        assert_string_equal(users.items[0].text, "alice");
        assert_string_equal(users.items[1].text, "1007");
        assert_int_equal(groups.n, 1);
        assert_string_equal(groups.items[0].text, "lockdown");
        assert_false(l.everybody);
        assert_true(access_allows(&l, &(struct peer){.uid = 0}));
        assert_false(access_allows(&l, &(struct peer){.uid = 1007}));
        access_clear(&l);
}

static void nobody_by_default(void **state)
{
        const struct access_list l = {0};
        uint32_t root_group[] = {0};
        const struct peer root = peer_of(0, root_group, 1);

        (void)state;
        assert_false(access_allows(&l, &root));
}

/* A list that names others must not leave nobody who could lift: root starts the units, and corrects the
 * file. */
static void root_always(void **state)
{
        _cleanup_words_ struct words configured = words_of("alice"), users = {0}, groups = {0};
        struct access_list l = {0};

        (void)state;
        assert_int_equal(access_prepare(&configured, &l, &users, &groups), 0);
        assert_true(access_allows(&l, &(struct peer){.uid = 0}));
        assert_false(access_allows(&l, &(struct peer){.uid = 1}));
        access_clear(&l);
}

static void star_is_everybody(void **state)
{
        _cleanup_words_ struct words configured = words_of("*"), users = {0}, groups = {0};
        struct access_list l = {0};

        (void)state;
        assert_int_equal(access_prepare(&configured, &l, &users, &groups), 0);
        assert_int_equal(users.n + groups.n, 0);
        assert_true(access_allows(&l, &(struct peer){.uid = 65534}));
        access_clear(&l);
}

/* A group counts by the credentials of the process, and by the database for who has not logged in again. */
static void group_by_process_or_database(void **state)
{
        struct membership m = {0};
        struct access_list l = {0};
        uint32_t carries[] = {5, 900}, others[] = {5, 901};
        const struct peer by_process = peer_of(4000, carries, 2), neither = peer_of(4000, others, 2);
        const struct peer by_database = peer_of(1001, others, 2);

        (void)state;
        assert_int_equal(idset_append(&m.subjects.uids, 1001, 1002), 0);
        assert_int_equal(idset_append(&m.subjects.gids, 900, 900), 0);
        idset_normalize(&m.subjects.uids);
        idset_normalize(&m.subjects.gids);
        assert_int_equal(access_add(&l, &m), 0);
        assert_true(access_allows(&l, &by_process));
        assert_true(access_allows(&l, &by_database));
        assert_false(access_allows(&l, &neither));
        access_clear(&l);
        membership_clear(&m);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(splits_what_needs_a_look_up),
                cmocka_unit_test(nobody_by_default),
                cmocka_unit_test(root_always),
                cmocka_unit_test(star_is_everybody),
                cmocka_unit_test(group_by_process_or_database),
        };

        return cmocka_run_group_tests_name("access", tests, NULL, NULL);
}
