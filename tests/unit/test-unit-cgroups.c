/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Services=: which units a word means, and the control groups of those that run, in a tree made for the test
 * and in a real one where that can be had. */

#include "unit-cgroups.h"
#include "unit-patterns.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

/* ---- names ---- */

static void test_what_is_a_unit(void **state)
{
        static const char *const good[] = {
                "cups",          "cups.service",         "container@*.service",  "docker-*.scope",
                "machine.slice", "system-x\\x2dy.slice", "dbus-:1.2-a@0.service"};
        static const char *const bad[] = {
                "",        "/usr/sbin/cupsd", "cups service", "cups.socket", "backup.timer",
                "-.slice", "a/b.service",     "@staff,"};
        char *long_name = NULL;

        (void)state;
        for (size_t i = 0; i < ELEMENTSOF(good); i++)
                assert_null(unit_pattern_problem(good[i]));
        for (size_t i = 0; i < ELEMENTSOF(bad); i++)
                assert_non_null(unit_pattern_problem(bad[i]));
        assert_true(asprintf(&long_name, "%0256d.service", 0) > 0);
        assert_non_null(unit_pattern_problem(long_name));
        free(long_name);
}

static void test_what_a_word_means(void **state)
{
        (void)state;
        assert_true(unit_pattern_matches("cups", "cups.service"));
        assert_true(unit_pattern_matches("cups.service", "cups.service"));
        assert_false(unit_pattern_matches("cups", "cups.slice"));
        assert_false(unit_pattern_matches("cups", "cups-browsed.service"));
        assert_true(unit_pattern_matches("cups*", "cups-browsed.service"));
        assert_true(unit_pattern_matches("getty@tty?.service", "getty@tty1.service"));
        /* a backslash is a letter of unit names, as systemd escapes them */
        assert_true(unit_pattern_matches("a\\x2db.service", "a\\x2db.service"));
        /* dots in names are no suffix */
        assert_true(unit_pattern_matches("org.example.Thing", "org.example.Thing.service"));
}

/* ---- the tree ---- */

struct fixture {
        char root[64];
        sd_event *event;
        struct units *units;
        struct words patterns;
        int called;
};

#include "tree-fixture.h"

static void on_change(void *userdata)
{
        ((struct fixture *)userdata)->called++;
}

static int setup(void **state)
{
        static const char *const places[] = {"init.scope",
                                             "system.slice",
                                             "system.slice/cups.service",
                                             "system.slice/squid.service",
                                             "system.slice/squid.service/worker",
                                             "system.slice/squid.service/worker/deep",
                                             "system.slice/system-proxy.slice",
                                             "system.slice/system-proxy.slice/proxy@1.service",
                                             "system.slice/system-proxy.slice/proxy@2.service",
                                             "machine.slice",
                                             "machine.slice/guest.scope",
                                             "machine.slice/guest.scope/system.slice",
                                             "machine.slice/guest.scope/system.slice/cups.service",
                                             "user.slice",
                                             "user.slice/user-1000.slice",
                                             "user.slice/user-1000.slice/cups.service"};
        struct fixture *f = calloc(1, sizeof(*f));

        assert_non_null(f);
        strcpy(f->root, "/tmp/test-units-XXXXXX");
        assert_non_null(mkdtemp(f->root));
        for (size_t i = 0; i < ELEMENTSOF(places); i++)
                make(f, places[i]);
        assert_true(sd_event_new(&f->event) >= 0);
        assert_int_equal(units_new(f->event, f->root, on_change, f, &f->units), 0);
        *state = f;
        return 0;
}

static int teardown(void **state)
{
        struct fixture *f = *state;
        units_free(f->units);
        sd_event_unref(f->event);
        words_clear(&f->patterns);
        remove_tree(f->root);
        free(f);
        return 0;
}

static void look_for(struct fixture *f, const char *patterns, struct unit_cgroups *ret)
{
        words_clear(&f->patterns);
        assert_int_equal(words_split(&f->patterns, patterns, NULL, 0), 0);
        assert_int_equal(units_find(f->units, &f->patterns, ret), 0);
        assert_int_equal(units_watch_error(f->units), 0);
}

static const struct unit_cgroup *at(const struct unit_cgroups *c, const char *path)
{
        for (size_t i = 0; i < c->n; i++)
                if (strcmp(c->items[i].path, path) == 0)
                        return &c->items[i];
        fail_msg("%s was not found", path);
        return NULL;
}

static void test_finding(void **state)
{
        _cleanup_unit_cgroups_ struct unit_cgroups c = {0};
        struct fixture *f = *state;

        look_for(f, "", &c);
        assert_int_equal(c.n, 0);
        look_for(f, "nothing.service", &c);
        assert_int_equal(c.n, 0);
        /* neither the container's own nor a user's */
        look_for(f, "cups", &c);
        assert_int_equal(c.n, 1);
        assert_string_equal(c.items[0].path, "system.slice/cups.service");
        assert_string_equal(unit_cgroup_name(&c.items[0]), "cups.service");
        assert_int_equal(c.items[0].level, 2);
        assert_int_equal(c.items[0].id, inode(f, "system.slice/cups.service"));
        look_for(f, "proxy@*.service machine.slice init.scope", &c);
        assert_int_equal(c.n, 4);
        assert_int_equal(at(&c, "system.slice/system-proxy.slice/proxy@2.service")->level, 3);
        assert_int_equal(at(&c, "machine.slice")->level, 1);
        assert_int_equal(at(&c, "init.scope")->level, 1);
        for (size_t i = 1; i < c.n; i++)
                assert_true(c.items[i - 1].id < c.items[i].id);
}

static void test_by_id(void **state)
{
        _cleanup_unit_cgroups_ struct unit_cgroups c = {0};
        struct fixture *f = *state;
        const uint64_t ids[] = {inode(f, "system.slice/squid.service"), inode(f, "machine.slice"), 1};

        assert_int_equal(units_find_ids(f->units, ids, ELEMENTSOF(ids), &c), 0);
        assert_int_equal(c.n, 2);
        at(&c, "system.slice/squid.service");
        at(&c, "machine.slice");
}

static void test_below(void **state)
{
        _cleanup_unit_cgroups_ struct unit_cgroups c = {0};
        struct fixture *f = *state;
        uint64_t *ids = calloc(1, sizeof(*ids));
        size_t n = 1;

        assert_non_null(ids);
        look_for(f, "squid", &c);
        assert_int_equal(units_ids_below(f->units, &c, &ids, &n), 0);
        assert_int_equal(n, 4); /* what was there before stays */
        assert_int_equal(ids[0], 0);
        for (size_t i = 1; i < n; i++)
                assert_true(ids[i - 1] < ids[i]);
        free(ids);
}

/* Runs the event loop until nothing is waiting any more. */
static int changes(struct fixture *f)
{
        f->called = 0;
        while (sd_event_run(f->event, 0) > 0)
                ;
        return f->called;
}

static void test_following(void **state)
{
        _cleanup_unit_cgroups_ struct unit_cgroups before = {0}, after = {0};
        struct fixture *f = *state;

        look_for(f, "cups squid new@1", &before);
        assert_int_equal(before.n, 2);
        assert_int_equal(changes(f), 0);

        /* restarted: another control group of the same name; a burst is one call */
        assert_int_equal(rmdir(in_root(f, "system.slice/cups.service")), 0);
        make(f, "system.slice/in-between.service"); /* so that the number is not given out again at once */
        make(f, "system.slice/cups.service");
        assert_int_equal(changes(f), 1);
        look_for(f, "cups squid new@1", &after);
        assert_int_equal(after.n, 2);
        assert_false(unit_cgroups_equal(&before, &after));

        /* in a slice that was not there before */
        make(f, "system.slice/system-new.slice");
        assert_int_equal(changes(f), 1);
        look_for(f, "cups squid new@1", &after);
        make(f, "system.slice/system-new.slice/new@1.service");
        assert_int_equal(changes(f), 1);
        look_for(f, "cups squid new@1", &after);
        assert_int_equal(after.n, 3);

        /* and when the slice goes and comes again */
        assert_int_equal(rmdir(in_root(f, "system.slice/system-new.slice/new@1.service")), 0);
        assert_int_equal(rmdir(in_root(f, "system.slice/system-new.slice")), 0);
        assert_true(changes(f) >= 1);
        make(f, "system.slice/system-new.slice");
        assert_true(changes(f) >= 1);
        look_for(f, "cups squid new@1", &after);
        assert_int_equal(after.n, 2);
        make(f, "system.slice/system-new.slice/new@1.service");
        assert_int_equal(changes(f), 1);
}

static void test_no_control_groups(void **state)
{
        _cleanup_unit_cgroups_ struct unit_cgroups c = {0};
        struct fixture *f = *state;
        struct units *none;

        assert_int_equal(units_new(f->event, "/nonexistent", on_change, f, &none), 0);
        look_for(f, "cups", &c);
        assert_int_equal(units_find(none, &f->patterns, &c), -ENOENT);
        assert_int_equal(c.n, 1); /* untouched */
        units_free(none);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_what_is_a_unit),
                cmocka_unit_test(test_what_a_word_means),
                cmocka_unit_test_setup_teardown(test_finding, setup, teardown),
                cmocka_unit_test_setup_teardown(test_by_id, setup, teardown),
                cmocka_unit_test_setup_teardown(test_below, setup, teardown),
                cmocka_unit_test_setup_teardown(test_following, setup, teardown),
                cmocka_unit_test_setup_teardown(test_no_control_groups, setup, teardown),
        };

        return cmocka_run_group_tests_name("unit-cgroups", tests, NULL, NULL);
}
