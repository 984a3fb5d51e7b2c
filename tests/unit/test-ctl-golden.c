/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What lockdownctl writes for a document of the daemon: tests/ctl/NAME.json -> tests/ctl/NAME.txt. Run from
 * the top of the source; with GOLDEN_UPDATE=1 the texts are written anew (read the difference!). */

// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
// clang-format on

#include "cleanup.h"
#include "verbs.h"
#include <libsmartcols.h>
#include <string.h>
#include <time.h>

#define DIRECTORY "tests/ctl/"
/* Wed 2016-11-30 10:01:03 CET */
#define NOW (UINT64_C(1480496463) * 1000000)

static const struct sample {
        const char *name; /* up to the first '-': the verb */
        const char *text; /* NULL: like name */
        struct style style;
} samples[] = {
        {"status-one", NULL, {.now = NOW}},
        {"status-one", "status-one-colour", {.now = NOW, .colour = true}},
        {"status-verbose", NULL, {.now = NOW, .verbose = true}},
        {"status-none", NULL, {.now = NOW}},
        {"status-none", "status-none-profile", {.now = NOW, .subject = "guests"}},
        {"status-trouble", NULL, {.now = NOW, .verbose = true}},
        {"status-trouble", "status-trouble-colour", {.now = NOW, .colour = true}},
        {"status-control-characters", NULL, {.now = NOW, .verbose = true}},
        {"status-sparse", NULL, {.now = NOW, .verbose = true}},
        {"status-namespaces", NULL, {.now = NOW}},
        {"status-namespaces", "status-namespaces-verbose", {.now = NOW, .verbose = true}},
        {"order-new", NULL, {.now = NOW}},
        {"order-trouble", NULL, {.now = NOW}},
        {"order-already", NULL, {.now = NOW}},
        {"order-everyone", NULL, {.now = NOW}},
        {"order-unconfirmed", NULL, {.now = NOW}},
        {"confirm-done", NULL, {.now = NOW}},
        {"verify-trouble", NULL, {.now = NOW}},
        {"verify-none", NULL, {.now = NOW}},
        {"verify-none", "verify-none-profile", {.now = NOW, .subject = "guests"}},
        {"confirm-not-needed", NULL, {.now = NOW}},
        {"order-dry-run", NULL, {.now = NOW}},
        {"order-doors", NULL, {.now = NOW}},
        {"order-doors", "order-doors-verbose", {.now = NOW, .verbose = true}},
        {"order-dry-run-doors", NULL, {.now = NOW}},
        {"status-doors", NULL, {.now = NOW}},
        {"lift-one", NULL, {.now = NOW}},
        {"lift-not-in-force", NULL, {.now = NOW}},
        {"lift-all-none", NULL, {.now = NOW}},
        {"extend-shortened", NULL, {.now = NOW}},
        {"reload-changed", NULL, {.now = NOW}},
        {"reload-same", NULL, {.now = NOW}},
        {"profiles-two", NULL, {.now = NOW}},
        {"profiles-two", "profiles-two-narrow", {.now = NOW, .width = 90}},
        {"profiles-none", NULL, {.now = NOW}},
        {"profiles-mistakes", NULL, {.now = NOW}},
        {"history-two", NULL, {.now = NOW}},
        {"history-none", NULL, {.now = NOW}},
        {"history-pruned", NULL, {.now = NOW}},
        {"history-none-kept", NULL, {.now = NOW}},
        {"attempts-two", NULL, {.now = NOW}},
        {"attempts-none", NULL, {.now = NOW}},
        {"attempts-none", "attempts-none-profile", {.now = NOW, .subject = "guests"}},
        {"explain-refused", NULL, {.now = NOW}},
        {"explain-allowed", NULL, {.now = NOW}},
};

static const struct verb *verb_of(const char *sample)
{
        _cleanup_free_ char *name = strndup(sample, strcspn(sample, "-"));

        return verb_find(name);
}

static json_t *load(const char *name)
{
        char path[256];
        json_t *document;
        json_error_t error;

        (void)snprintf(path, sizeof(path), DIRECTORY "%s.json", name);
        document = json_load_file(path, 0, &error);
        if (!document)
                fail_msg("%s: %s", path, error.text);
        return document;
}

/* The text on standard output, then what goes to standard error. */
static char *write_sample(const struct sample *s)
{
        _cleanup_json_ json_t *document = load(s->name);
        const struct verb *verb = verb_of(s->name);
        char *text = NULL;
        size_t size;
        FILE *f = open_memstream(&text, &size);

        assert_non_null(f);
        assert_non_null(verb);
        assert_int_equal(verb->write(f, document, &s->style), 0);
        if (verb->write_warnings)
                verb->write_warnings(f, document);
        assert_int_equal(fclose(f), 0);
        return text;
}

static char *read_file(const char *path)
{
        _cleanup_fclose_ FILE *f = fopen(path, "r");
        char *text = NULL;
        size_t size = 0;

        if (!f || getdelim(&text, &size, '\0', f) < 0) {
                free(text);
                return NULL;
        }
        return text;
}

/* Which column gives way in a narrow terminal is the library's choice, and another one since 2.39. */
static bool narrows_as_expected(const struct sample *s)
{
        const char *version = NULL;

        scols_get_library_version(&version);
        if (s->style.width == 0 || (version && strncmp(version, "2.38", 4) == 0))
                return true;
        print_message(
                "skipped: libsmartcols %s narrows tables in its own way, the expected text is from 2.38\n",
                version ?: "?");
        return false;
}

static void test_golden(void **state)
{
        const struct sample *s = *state;
        _cleanup_free_ char *text = write_sample(s), *expected = NULL;
        char path[256];

        if (!narrows_as_expected(s))
                skip();
        (void)snprintf(path, sizeof(path), DIRECTORY "%s.txt", s->text ?: s->name);
        if (getenv("GOLDEN_UPDATE")) {
                _cleanup_fclose_ FILE *f = fopen(path, "w");

                assert_non_null(f);
                assert_true(fputs(text, f) >= 0);
                return;
        }
        expected = read_file(path);
        if (!expected)
                fail_msg("%s is missing", path);
        assert_string_equal(text, expected);
}

/* Whatever the daemon says, nothing reaches the terminal that it would act upon: only newlines, and the
 * colour sequences where they are wanted. */
static void test_no_control_characters(void **state)
{
        (void)state;
        for (size_t i = 0; i < ELEMENTSOF(samples); i++) {
                _cleanup_free_ char *text = write_sample(&samples[i]);

                if (samples[i].style.colour)
                        continue;
                for (const char *c = text; *c; c++) {
                        bool allowed = (unsigned char)*c >= 0x20 || *c == '\n' ||
                                       (*c == '\t' && strncmp(samples[i].name, "order-dry-run", 13) == 0);

                        if (!allowed || *c == 0x7f || strncmp(c, "\xc2\x9b", 2) == 0)
                                fail_msg("%s: character %#x", samples[i].name, (unsigned char)*c);
                }
        }
}

/* Every line that is not the ruleset's own must be a comment, or nft would run it. */
static void test_dry_run_is_loadable(void **state)
{
        _cleanup_free_ char *text = write_sample(&(struct sample){.name = "order-dry-run-doors"});
        bool in_ruleset = false;
        char *rest = text, *line;

        (void)state;
        while ((line = strsep(&rest, "\n"))) {
                in_ruleset |= strncmp(line, "table ", 6) == 0;
                if (!in_ruleset)
                        assert_int_equal(line[0], '#');
        }
        assert_true(in_ruleset);
}

int main(void)
{
        struct CMUnitTest tests[ELEMENTSOF(samples) + 2] = {
                cmocka_unit_test(test_no_control_characters),
                cmocka_unit_test(test_dry_run_is_loadable),
        };

        setenv("LC_ALL", "C.UTF-8", 1);
        setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3", 1);
        tzset();
        for (size_t i = 0; i < ELEMENTSOF(samples); i++)
                tests[i + 2] = (struct CMUnitTest){.name = samples[i].text ?: samples[i].name,
                                                   .test_func = test_golden,
                                                   .initial_state = (void *)(uintptr_t)&samples[i]};
        return _cmocka_run_group_tests("ctl-golden", tests, ELEMENTSOF(tests), NULL, NULL);
}
