/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Names of units, marks, and what is decided about them. */

// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
// clang-format on

#include "reconcile.h"
#include "timespan.h"
#include "units.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>

/* As systemd-escape(1) of systemd 252 prints them. */
static const struct {
        const char *text, *instance;
} escapes[] = {
        {"staff", "staff"},
        {"night-shift", "night\\x2dshift"},
        {"a_b.c:d", "a_b.c:d"},
        {".hidden", "\\x2ehidden"},
        {"a/b", "a-b"},
        {"back\\slash", "back\\x5cslash"},
        {"Zoë", "Zo\\xc3\\xab"},
        {"a b", "a\\x20b"},
        {"", ""},
};

static void test_escape(void **state)
{
        (void)state;
        for (size_t i = 0; i < ELEMENTSOF(escapes); i++) {
                _cleanup_free_ char *instance = NULL, *text = NULL;

                assert_int_equal(instance_escape(escapes[i].text, &instance), 0);
                assert_string_equal(instance, escapes[i].instance);
                assert_int_equal(instance_unescape(instance, &text), 0);
                assert_string_equal(text, escapes[i].text);
        }
}

static void test_unescape_refuses(void **state)
{
        static const char *const bad[] = {"\\", "\\x", "\\x2", "\\x2g", "\\y2d", "a\\x00b", "\\-"};
        char *text = (char *)0x1;

        (void)state;
        for (size_t i = 0; i < ELEMENTSOF(bad); i++)
                assert_int_equal(instance_unescape(bad[i], &text), -EINVAL);
        assert_ptr_equal(text, (char *)0x1);
}

static void test_unit_names(void **state)
{
        static const struct {
                const char *profile, *unit;
        } cases[] = {{"staff", "lockdown@staff.service"},
                     {"adhoc-2", "lockdown@adhoc-2.service"},
                     {"a_b.c", "lockdown@a_b.c.service"},
                     {"a b", "lockdown@a\\x20b.service"}};

        (void)state;
        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                _cleanup_free_ char *unit = NULL, *profile = NULL;

                assert_int_equal(unit_name_of_profile(cases[i].profile, &unit), 0);
                assert_string_equal(unit, cases[i].unit);
                assert_int_equal(unit_name_parse(unit, &profile, NULL), 0);
                assert_string_equal(profile, cases[i].profile);
        }
}

static void test_unit_name_parse(void **state)
{
        static const char *const bad[] = {"lockdown@.service",     "lockdown.service",
                                          "lockdownd.service",     "lockdown@x.socket",
                                          "lockdown@\\x2.service", "xlockdown@a.service"};
        _cleanup_free_ char *profile = NULL, *mark = NULL;

        (void)state;
        for (size_t i = 0; i < ELEMENTSOF(bad); i++)
                assert_int_equal(unit_name_parse(bad[i], &profile, &mark), -EINVAL);
        assert_null(profile);
        assert_int_equal(unit_name_parse("lockdown@night\\x2dshift.service", &profile, &mark), 0);
        assert_string_equal(profile, "night-shift");
        assert_string_equal(mark, "night\\x2dshift");
}

static void test_marks(void **state)
{
        char directory[] = "/tmp/test-ctl-XXXXXX", marks[64];
        _cleanup_json_ json_t *list = NULL, *none = NULL;
        bool exists = true;

        (void)state;
        assert_non_null(mkdtemp(directory));
        (void)snprintf(marks, sizeof(marks), "%s/marks", directory);
        assert_int_equal(mark_list(marks, &none), 0);
        assert_int_equal(json_array_size(none), 0);
        assert_int_equal(mark_exists(marks, "staff", &exists), 0);
        assert_false(exists);
        assert_int_equal(mark_set(marks, "staff"), 0);
        assert_int_equal(mark_set(marks, "staff"), 0);
        assert_int_equal(mark_exists(marks, "staff", &exists), 0);
        assert_true(exists);
        assert_int_equal(mark_list(marks, &list), 0);
        assert_int_equal(json_array_size(list), 1);
        assert_string_equal(json_string_value(json_array_get(list, 0)), "staff");
        assert_int_equal(mark_clear(marks, "staff"), 0);
        assert_int_equal(mark_clear(marks, "staff"), 0);
        assert_int_equal(mark_set(marks, "../escape"), -EINVAL);
        assert_int_equal(mark_set(marks, ".."), -EINVAL);
        assert_int_equal(mark_set(marks, ""), -EINVAL);
        assert_int_equal(rmdir(marks), 0);
        assert_int_equal(rmdir(directory), 0);
}

/* Units: "NAME STATE [job]", all lists separated by ';'. Expected: the actions in order. */
static const struct {
        const char *about, *in_force, *units, *marks, *actions;
} decisions[] = {
        {"nothing at all", "", "", "", ""},
        {"agreed", "staff", "staff active", "", ""},
        {"ordered by ctl, unit never loaded", "staff", "", "", "start staff"},
        {"ordered by ctl, unit inactive", "staff", "staff inactive", "", "start staff"},
        {"in force, unit failed before", "staff", "staff failed", "", "start staff"},
        {"lifted by ctl", "", "staff active", "", "stop staff"},
        {"nothing in force, unit failed by itself", "", "staff failed", "", ""},
        {"one job in flight: its start", "staff", "staff inactive job", "staff", ""},
        {"one job in flight: its stop", "", "staff active job", "staff", ""},
        {"systemctl start under way", "staff", "staff activating", "", ""},
        {"systemctl stop under way", "", "staff deactivating", "", ""},
        {"stopping, and ordered again meanwhile", "staff", "staff deactivating job", "staff", ""},
        {"… and then it has stopped", "staff", "staff inactive", "staff", "clear staff;start staff"},
        {"starting, and lifted meanwhile", "", "staff activating job", "staff", ""},
        {"… and its command saw it", "", "staff failed", "staff", "clear staff;reset staff"},
        {"… or was quicker", "", "staff active", "staff", "clear staff;stop staff"},
        {"job done", "staff", "staff active", "staff", "clear staff"},
        {"job done, unit unloaded", "", "", "staff", "clear staff"},
        {"stop job cancelled, its command still runs", "staff", "staff deactivating", "staff", ""},
        {"mark of another unit", "staff", "staff active", "guests", "clear guests"},
        {"other units are left alone", "staff", "staff active;guests active", "", "stop guests"},
        {"several", "a;b", "b active;c active;d failed", "d", "clear d;start a;stop c;reset d"},
        {"either spelling stands for the profile", "night-shift", "night\\x2dshift active", "", ""},
        {"both spellings end with it", "", "night\\x2dshift active;night-shift active", "",
         "stop night\\x2dshift;stop night-shift"},
        {"marks go by unit, not by profile", "", "night\\x2dshift inactive;night-shift active job",
         "night\\x2dshift;night-shift", "clear night\\x2dshift"},
        {"a state of the future is waited for", "", "staff frobnicating", "staff", ""},
        {"reloading is active", "", "staff reloading", "", "stop staff"},
};

static json_t *list_of(const char *text)
{
        json_t *list = json_array();
        char copy[256], *rest = copy, *word;

        (void)snprintf(copy, sizeof(copy), "%s", text);
        while ((word = strsep(&rest, ";")))
                if (*word)
                        json_array_append_new(list, json_string(word));
        return list;
}

static void units_of(const char *text, struct units *ret)
{
        _cleanup_json_ json_t *list = list_of(text);
        json_t *item;
        size_t i;

        json_array_foreach(list, i, item)
        {
                char instance[64], state[32], job[8] = "", name[128];

                assert_true(sscanf(json_string_value(item), "%63s %31s %7s", instance, state, job) >= 2);
                (void)snprintf(name, sizeof(name), "lockdown@%s.service", instance);
                assert_int_equal(units_add(ret, name, unit_activity_from_string(state), *job), 0);
        }
}

static char *actions_text(const struct actions *a)
{
        static const char *const words[] = {[ACTION_CLEAR_MARK] = "clear",
                                            [ACTION_START] = "start",
                                            [ACTION_STOP] = "stop",
                                            [ACTION_RESET_FAILED] = "reset"};
        char *text = NULL;
        size_t size;
        FILE *f = open_memstream(&text, &size);

        for (size_t i = 0; i < a->n; i++) {
                _cleanup_free_ char *mark = NULL;

                if (a->items[i].unit) {
                        assert_int_equal(unit_name_parse(a->items[i].unit, NULL, &mark), 0);
                        assert_string_equal(mark, a->items[i].mark);
                }
                fprintf(f, "%s%s %s", i > 0 ? ";" : "", words[a->items[i].kind], a->items[i].mark);
        }
        fclose(f);
        return text;
}

static void test_reconcile(void **state)
{
        (void)state;
        for (size_t i = 0; i < ELEMENTSOF(decisions); i++) {
                _cleanup_json_ json_t *in_force = list_of(decisions[i].in_force),
                                      *marks = list_of(decisions[i].marks);
                _cleanup_units_ struct units units = {0};
                _cleanup_actions_ struct actions actions = {0};
                _cleanup_free_ char *text = NULL;

                units_of(decisions[i].units, &units);
                assert_int_equal(reconcile(in_force, &units, marks, &actions), 0);
                text = actions_text(&actions);
                if (strcmp(text, decisions[i].actions) != 0)
                        fail_msg("%s: '%s' instead of '%s'", decisions[i].about, text, decisions[i].actions);
        }
}

static void test_paces(void **state)
{
        /* The pause before each further try, in seconds. */
        static const unsigned pauses[] = {0, 0, 0, 1, 2, 4, 8, 16, 32, 60, 60, 60};
        struct paces p = {0};
        uint64_t now = 1000 * USEC_PER_SEC;

        (void)state;
        for (size_t i = 0; i < ELEMENTSOF(pauses); i++) {
                uint64_t pause = pauses[i] * USEC_PER_SEC;

                assert_int_equal(paces_wait(&p, "lockdown@a.service", now), pause);
                if (pause > 0)
                        assert_int_equal(paces_wait(&p, "lockdown@a.service", now + pause - 1), 1);
                now += pause;
                assert_int_equal(paces_wait(&p, "lockdown@a.service", now), 0);
                assert_int_equal(paces_note(&p, "lockdown@a.service", now), 0);
        }
        assert_int_equal(paces_wait(&p, "lockdown@b.service", now), 0);
        paces_clear(&p);
}

static void note_four_times(struct paces *p)
{
        for (int i = 0; i < 4; i++)
                assert_int_equal(paces_note(p, "lockdown@a.service", 0), 0);
}

/* What has come to rest begins anew; what is wanted again or busy does not. */
static void test_paces_forget(void **state)
{
        static const struct {
                const char *in_force, *units;
                bool forgotten;
        } cases[] = {
                {"a", "a active", true},  {"", "a inactive", true},         {"", "", true},
                {"a", "a failed", false}, {"a", "a activating job", false}, {"", "a active", false},
        };

        (void)state;
        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                _cleanup_json_ json_t *in_force = list_of(cases[i].in_force);
                _cleanup_units_ struct units units = {0};
                _cleanup_actions_ struct actions actions = {0};
                struct paces p = {0};

                note_four_times(&p);
                units_of(cases[i].units, &units);
                assert_int_equal(reconcile(in_force, &units, NULL, &actions), 0);
                paces_forget(&p, &actions, &units);
                assert_int_equal(paces_wait(&p, "lockdown@a.service", 0) == 0, cases[i].forgotten);
                paces_clear(&p);
        }
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_escape),     cmocka_unit_test(test_unescape_refuses),
                cmocka_unit_test(test_unit_names), cmocka_unit_test(test_unit_name_parse),
                cmocka_unit_test(test_marks),      cmocka_unit_test(test_reconcile),
                cmocka_unit_test(test_paces),      cmocka_unit_test(test_paces_forget),
        };

        return cmocka_run_group_tests_name("ctl-units", tests, NULL, NULL);
}
