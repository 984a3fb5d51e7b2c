/* SPDX-License-Identifier: GPL-2.0-or-later */
// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
// clang-format on

#include "arguments.h"
#include "tables.h"
#include "timespan.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

/* Wed 2016-11-30 09:01:03 UTC */
#define NOW (UINT64_C(1480496463) * USEC_PER_SEC)
#define WORDS_MAX 16

static int parse(const char *line, char *storage, size_t size, struct arguments *ret, char **ret_problem)
{
        char *argv[WORDS_MAX + 2] = {(char[]){"lockdownctl"}};
        int argc = 1;
        char *rest = storage, *word;

        (void)snprintf(storage, size, "%s", line);
        while ((word = strsep(&rest, "|")) && argc <= WORDS_MAX)
                argv[argc++] = word;
        if (!*line)
                argc = 1;
        argv[argc] = NULL;
        return arguments_parse(argc, argv, NOW, ret, ret_problem);
}

/* Words are separated by '|'. */
static const struct {
        const char *line;
        const char *verb, *first;
        uint64_t given; /* besides: exactly these options */
} accepted[] = {
        {"order|staff", "order", "staff", 0},
        {"order|staff|--for|8h", "order", "staff", OPTION_BIT(OPTION_FOR)},
        {"--for|8h|order|staff", "order", "staff", OPTION_BIT(OPTION_FOR)},
        {"--for=8h|order|--json|staff|-q", "order", "staff",
         OPTION_BIT(OPTION_FOR) | OPTION_BIT(OPTION_JSON) | OPTION_BIT(OPTION_QUIET)},
        {"order|staff|--until|2016-11-30 18:00|--reason|IR-42", "order", "staff",
         OPTION_BIT(OPTION_UNTIL) | OPTION_BIT(OPTION_REASON)},
        {"order|--|staff", "order", "staff", 0},
        {"order|--|-odd", "order", "-odd", 0},
        {"order|--group|a|--group|b|--user|u|--allow|none|--name|n", "order", NULL,
         OPTION_BIT(OPTION_GROUP) | OPTION_BIT(OPTION_USER) | OPTION_BIT(OPTION_ALLOW) |
                 OPTION_BIT(OPTION_NAME)},
        {"order|--everyone|--dry-run", "order", NULL,
         OPTION_BIT(OPTION_EVERYONE) | OPTION_BIT(OPTION_DRY_RUN)},
        {"order|--from-unit|staff|--quiet", "order", "staff",
         OPTION_BIT(OPTION_FROM_UNIT) | OPTION_BIT(OPTION_QUIET)},
        {"lift|staff", "lift", "staff", 0},
        {"lift|--all|--reason|over", "lift", NULL, OPTION_BIT(OPTION_ALL) | OPTION_BIT(OPTION_REASON)},
        {"extend|staff|--for|2 h", "extend", "staff", OPTION_BIT(OPTION_FOR)},
        {"status", "status", NULL, 0},
        {"status|staff|-v", "status", "staff", OPTION_BIT(OPTION_VERBOSE)},
        {"status|--no-pager|--socket|/x", "status", NULL,
         OPTION_BIT(OPTION_NO_PAGER) | OPTION_BIT(OPTION_SOCKET)},
        {"profiles", "profiles", NULL, 0},
        {"history", "history", NULL, 0},
        {"attempts", "attempts", NULL, 0},
        {"attempts|staff", "attempts", "staff", 0},
        {"explain|alice|198.51.100.7:443/tcp", "explain", "alice", 0},
        {"reload", "reload", NULL, 0},
        {"follow-units", "follow-units", NULL, 0},
        {"--help", NULL, NULL, OPTION_BIT(OPTION_HELP)},
        {"order|-h", "order", NULL, OPTION_BIT(OPTION_HELP)},
        {"extend|--help", "extend", NULL, OPTION_BIT(OPTION_HELP)},
        {"--version", NULL, NULL, OPTION_BIT(OPTION_VERSION)},
};

static void test_accepted(void **state)
{
        (void)state;
        for (size_t i = 0; i < ELEMENTSOF(accepted); i++) {
                _cleanup_arguments_ struct arguments a = {0};
                _cleanup_free_ char *problem = NULL;
                char storage[512];

                if (parse(accepted[i].line, storage, sizeof(storage), &a, &problem) != 0)
                        fail_msg("%s: %s", accepted[i].line, problem);
                assert_string_equal(a.verb ? a.verb->name : "-", accepted[i].verb ?: "-");
                assert_string_equal(a.positional[0] ?: "-", accepted[i].first ?: "-");
                if (a.given != accepted[i].given)
                        fail_msg("%s: options %#jx", accepted[i].line, (uintmax_t)a.given);
        }
}

static const struct {
        const char *line, *says; /* part of the sentence */
} refused[] = {
        {"", "say what to do"},
        {"odrer|staff", "there is no verb 'odrer'; did you mean 'order'?"},
        {"stat", "did you mean 'status'?"},
        {"frobnicate", "there is no verb 'frobnicate'; lockdownctl --help"},
        {"order|staff|--fro|8h", "there is no option '--fro'; did you mean '--for'?"},
        {"order|staff|--untli|18:00", "did you mean '--until'?"},
        {"order|staff|--frobnicate", "there is no option '--frobnicate'"},
        {"order|staff|-x", "there is no option '-x'"},
        {"order|staff|--dry-run=yes", "--dry-run takes no value"},
        {"order|staff|--for", "--for needs a DURATION"},
        {"order|staff|--reason|", "--reason needs a TEXT, not an empty text"},
        {"order|staff|--for|8", "'8' is no duration; write it like 8h"},
        {"order|staff|--for|0s", "is no duration"},
        {"order|staff|--for|11000d", "longer than ten years"},
        {"order|staff|--until|noon", "'noon' is no time; write it like"},
        {"order|staff|--until|2016-11-30 09:00", "not in the future"},
        {"order|staff|--for|8h|--until|18:00", "--for and --until exclude each other"},
        {"order|staff|--for|8h|--for|9h", "--for is given twice"},
        {"order|staff|contractors", "'contractors' is one argument too many"},
        {"order", "say whom"},
        {"order|--allow|none", "say whom"},
        {"order|--name|x", "say whom"},
        {"order|staff|--group|g", "a PROFILE does not go with --group"},
        {"order|staff|--user|u", "a PROFILE does not go with"},
        {"order|staff|--everyone", "a PROFILE does not go with"},
        {"order|staff|--allow|none", "a PROFILE does not go with"},
        {"order|staff|--name|x", "a PROFILE does not go with"},
        {"order|staff|--verbose", "--verbose does not go with order but with status"},
        {"order|--everyone|--group|g", "--everyone covers all groups"},
        {"order|--everyone|--user|u", "--everyone covers all groups"},
        {"order|--from-unit", "--from-unit needs a PROFILE"},
        {"order|", "is empty"},
        {"order|staff|--reason|Zo\xeb", "no valid UTF-8"},
        {"order|sta\xff", "no valid UTF-8"},
        {"lift", "say what to lift"},
        {"lift|staff|--all", "does not go with --all"},
        {"lift|--all|--from-unit", "--from-unit needs a PROFILE"},
        {"lift|staff|--for|8h", "--for does not go with lift but with order"},
        {"extend", "needs more arguments"},
        {"extend|staff", "say until when"},
        {"extend|staff|--for|1h|--reason|x", "--reason does not go with extend"},
        {"explain|alice", "explain needs more arguments; usage: lockdownctl explain USER DESTINATION"},
        {"status|a|b", "one argument too many"},
        {"profiles|x", "one argument too many"},
        {"status|--from-unit", "--from-unit does not go with status"},
};

static void test_refused(void **state)
{
        (void)state;
        for (size_t i = 0; i < ELEMENTSOF(refused); i++) {
                struct arguments a = {.n_positional = 77};
                _cleanup_free_ char *problem = NULL;
                char storage[512];

                if (parse(refused[i].line, storage, sizeof(storage), &a, &problem) != -EINVAL)
                        fail_msg("'%s' is accepted", refused[i].line);
                if (!strstr(problem, refused[i].says))
                        fail_msg("'%s': %s", refused[i].line, problem);
                assert_null(strchr(problem, '\n'));
                assert_int_equal(a.n_positional, 77); /* untouched */
        }
}

static void test_values(void **state)
{
        _cleanup_arguments_ struct arguments a = {0}, b = {0};
        _cleanup_free_ char *problem = NULL;
        char one[512], two[512];

        (void)state;
        assert_int_equal(
                parse("order|--group|a|--group|b|--user|u|--allow|10.0.0.0/8|--for|1h 30min|--reason|x", one,
                      sizeof(one), &a, &problem),
                0);
        assert_int_equal(a.groups.n, 2);
        assert_string_equal(a.groups.items[1], "b");
        assert_string_equal(a.users.items[0], "u");
        assert_string_equal(a.allow.items[0], "10.0.0.0/8");
        assert_int_equal(a.duration, 90 * USEC_PER_MINUTE);
        assert_string_equal(a.reason, "x");
        assert_int_equal(parse("extend|staff|--until|10:30", two, sizeof(two), &b, &problem), 0);
        assert_int_equal(b.until, UINT64_C(1480501800) * USEC_PER_SEC);
}

static void test_long_reason(void **state)
{
        char line[REASON_MAX + 64], storage[sizeof(line)], reason[REASON_MAX + 2];

        (void)state;
        for (size_t length = REASON_MAX; length <= REASON_MAX + 1; length++) {
                _cleanup_arguments_ struct arguments a = {0};
                _cleanup_free_ char *problem = NULL;

                memset(reason, 'x', length);
                reason[length] = '\0';
                (void)snprintf(line, sizeof(line), "order|staff|--reason|%s", reason);
                assert_int_equal(parse(line, storage, sizeof(storage), &a, &problem),
                                 length > REASON_MAX ? -EINVAL : 0);
        }
}

/* The environment must not change what a command line means. */
static void test_posixly_correct(void **state)
{
        _cleanup_arguments_ struct arguments a = {0};
        _cleanup_free_ char *problem = NULL;
        char storage[64];

        (void)state;
        setenv("POSIXLY_CORRECT", "1", 1);
        assert_int_equal(parse("order|staff|--dry-run", storage, sizeof(storage), &a, &problem), 0);
        unsetenv("POSIXLY_CORRECT");
        assert_true(a.dry_run);
}

/* Each line fits an old terminal. */
static void assert_fits(const char *text)
{
        for (size_t length; *text; text += length + 1) {
                size_t columns = 0;

                length = strcspn(text, "\n");
                for (size_t i = 0; i < length; i++)
                        columns += ((unsigned char)text[i] & 0xc0) != 0x80;
                if (columns > 80)
                        fail_msg("%zu columns: %.*s", columns, (int)length, text);
                assert_int_equal(text[length], '\n');
        }
}

/* Every verb has what it needs, and the help names each that is not internal. */
static void test_tables(void **state)
{
        char *text = NULL;
        size_t size;
        FILE *f = open_memstream(&text, &size);

        (void)state;
        help_write(f);
        fclose(f);
        assert_fits(text);
        for (size_t i = 0; i < n_verbs; i++) {
                const struct verb *v = &verbs[i];
                char needle[64];

                (void)snprintf(needle, sizeof(needle), "\n  %s ", v->name);
                assert_int_equal(strstr(text, needle) == NULL, v->internal);
                assert_true(v->run || (v->request && v->write));
                assert_true(v->max_positional <= ARGUMENTS_MAX && v->min_positional <= v->max_positional);
                assert_int_equal(strncmp(v->synopsis[0], v->name, strlen(v->name)), 0);
                assert_ptr_equal(verb_find(v->name), v);
        }
        assert_null(strstr(text, "from-unit"));
        free(text);
}

static void test_verb_help(void **state)
{
        (void)state;
        for (size_t i = 0; i < n_verbs; i++) {
                char *text = NULL;
                size_t size;
                FILE *f = open_memstream(&text, &size);

                help_write_verb(f, &verbs[i]);
                fclose(f);
                assert_fits(text);
                for (size_t o = 0; o < _OPTION_MAX; o++) {
                        bool wanted = ((verbs[i].options | OPTIONS_EVERYWHERE) & OPTION_BIT(o)) &&
                                      !options[o].internal;
                        char needle[64];

                        (void)snprintf(needle, sizeof(needle), " --%s ", options[o].name);
                        if (wanted && !strstr(text, needle))
                                fail_msg("%s --help does not name --%s", verbs[i].name, options[o].name);
                        assert_true(wanted || !options[o].internal || !strstr(text, needle));
                }
                free(text);
        }
}

static void test_want_json(void **state)
{
        char *with[] = {(char[]){"x"}, (char[]){"stat"}, (char[]){"--json"}};
        char *behind[] = {(char[]){"x"}, (char[]){"--"}, (char[]){"--json"}};

        (void)state;
        assert_true(arguments_want_json(3, with));
        assert_false(arguments_want_json(2, with));
        assert_false(arguments_want_json(3, behind));
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_accepted),        cmocka_unit_test(test_refused),
                cmocka_unit_test(test_values),          cmocka_unit_test(test_long_reason),
                cmocka_unit_test(test_posixly_correct), cmocka_unit_test(test_tables),
                cmocka_unit_test(test_verb_help),       cmocka_unit_test(test_want_json),
        };

        setenv("TZ", "UTC", 1);
        tzset();
        return cmocka_run_group_tests_name("ctl-arguments", tests, NULL, NULL);
}
