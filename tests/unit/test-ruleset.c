// SPDX-License-Identifier: GPL-2.0-or-later
/* Golden tests: what a profile becomes, byte by byte, in tests/golden/NAME.nft. After a wanted change run
 * them with GOLDEN_UPDATE=1 and read the difference in review. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "ruleset-cases.h"
#include "ruleset-internal.h"
#include <endian.h>
#include <errno.h>

#define GOLDEN "tests/golden"

static char *text_of(const struct ruleset *r, bool engaged)
{
        _cleanup_words_ struct words devices = {0};
        char *text = NULL;
        size_t size;
        FILE *f = open_memstream(&text, &size);

        assert_non_null(f);
        assert_int_equal(words_add(&devices, "lo", NULL, 0), 0);
        assert_int_equal(words_add(&devices, "wire", NULL, 0), 0);
        assert_int_equal(ruleset_write_text(r, engaged, &devices, f), 0);
        assert_int_equal(fclose(f), 0);
        return text;
}

static char *read_file(const char *path)
{
        _cleanup_fclose_ FILE *f = fopen(path, "re");
        char *text = NULL;
        size_t size = 0;

        if (!f)
                fail_msg("%s: %s (made with GOLDEN_UPDATE=1)", path, strerror(errno));
        if (getdelim(&text, &size, '\0', f) < 0)
                fail_msg("%s cannot be read", path);
        return text;
}

static void write_file(const char *path, const char *text)
{
        FILE *f = fopen(path, "we");

        assert_non_null(f);
        assert_true(fputs(text, f) >= 0);
        assert_int_equal(fclose(f), 0);
}

static void test_golden(void **state)
{
        static const uint64_t cgroups[] = {4711, 815};

        (void)state;
        for (size_t i = 0; i < ELEMENTSOF(ruleset_cases); i++) {
                const struct ruleset_case *c = &ruleset_cases[i];
                _cleanup_input_ struct ruleset_input in = {0};
                _cleanup_(ruleset_freep) struct ruleset *r = NULL;
                _cleanup_free_ char *text = NULL, *path = NULL, *golden = NULL;

                fill_input(&in, c);
                r = build_ruleset(&in, c, cgroups, c->sessions ? ELEMENTSOF(cgroups) : 0);
                text = text_of(r, true);
                assert_true(asprintf(&path, GOLDEN "/%s.nft", c->name) > 0);
                if (getenv("GOLDEN_UPDATE"))
                        write_file(path, text);
                golden = read_file(path);
                assert_string_equal(text, golden);
        }
}

static void test_staged_has_no_hook(void **state)
{
        (void)state;
        for (size_t i = 0; i < ELEMENTSOF(ruleset_cases); i++) {
                _cleanup_input_ struct ruleset_input in = {0};
                _cleanup_(ruleset_freep) struct ruleset *r = NULL;
                _cleanup_free_ char *staged = NULL, *engaged = NULL;
                const char *frames, *engaged_frames;

                fill_input(&in, &ruleset_cases[i]);
                r = build_ruleset(&in, &ruleset_cases[i], NULL, 0);
                staged = text_of(r, false);
                engaged = text_of(r, true);
                assert_null(strstr(staged, " hook "));
                assert_non_null(strstr(engaged, " hook output "));
                assert_non_null(strstr(engaged, " hook postrouting "));
                assert_non_null(strstr(engaged, " hook egress "));
                /* Staged are the same tables, shorter: by the hooks, and by what would have packets tracked.
                 */
                frames = strstr(staged, "\ntable netdev ");
                engaged_frames = strstr(engaged, "\ntable netdev ");
                assert_non_null(frames);
                assert_non_null(engaged_frames);
                if (strstr(engaged, " dnat "))
                        assert_true(!strstr(staged, " dnat ") && !strstr(staged, "ct original"));
                else
                        assert_int_equal(strncmp(staged, engaged, (size_t)(frames - staged) - 2), 0);
                assert_int_equal(strncmp(frames, engaged_frames, strlen(frames) - 2), 0);
        }
}

/* A ruleset of case NAME with one thing changed. */
struct variant {
        struct ruleset_input in;
        struct ruleset *r;
};

static void variant_clear(struct variant *v)
{
        input_clear(&v->in);
        ruleset_free(v->r);
}
#define _cleanup_variant_ _cleanup_(variant_clear)

static void begin(struct variant *v, const char *name)
{
        fill_input(&v->in, find_case(name));
}

static void finish(struct variant *v, const char *name)
{
        v->r = build_ruleset(&v->in, find_case(name), NULL, 0);
}

static void test_same_structure(void **state)
{
        _cleanup_variant_ struct variant a = {0}, more = {0}, many = {0}, higher = {0}, none = {0};

        (void)state;
        begin(&a, "staff");
        finish(&a, "staff");

        begin(&more, "staff");
        append_id(&more.in.subjects.uids, 1500, 1502);
        finish(&more, "staff");
        assert_true(ruleset_same_structure(a.r, more.r));
        assert_false(ruleset_equal(a.r, more.r));

        /* More than fits into the set. */
        begin(&many, "staff");
        append_id(&many.in.subjects.uids, 5000, 5099);
        finish(&many, "staff");
        assert_false(ruleset_same_structure(a.r, many.r));

        /* Other bounds are another rule in the same chains. */
        begin(&higher, "staff");
        append_id(&higher.in.subjects.uid_ranges, 4000000000U, 4000065535U);
        finish(&higher, "staff");
        assert_true(ruleset_same_structure(a.r, higher.r));
        assert_false(ruleset_equal(a.r, higher.r));

        begin(&none, "staff");
        idset_clear(&none.in.subjects.uid_ranges);
        idset_clear(&none.in.subjects.gids);
        finish(&none, "staff");
        assert_true(ruleset_same_structure(a.r, none.r));
        assert_false(ruleset_equal(a.r, none.r));
        assert_true(ruleset_equal(none.r, none.r));
}

static void test_other_structure(void **state)
{
        static const char *const names[] = {"everyone", "dns-redirect", "forward", "sessions"};

        (void)state;
        for (size_t i = 0; i < ELEMENTSOF(names); i++) {
                _cleanup_variant_ struct variant a = {0}, b = {0};

                begin(&a, "staff");
                a.r = build_ruleset(&a.in, find_case("staff"), NULL, 0);
                begin(&b, names[i]);
                /* Under the same name, so that nothing but the contents differ. */
                assert_int_equal(ruleset_build(&(struct ruleset_spec){.name = "staff",
                                                                      .subjects = &b.in.subjects,
                                                                      .destinations = &b.in.destinations,
                                                                      .forward_deny = i == 2},
                                               &b.r),
                                 0);
                assert_string_equal(ruleset_table(b.r), "lockdown-staff");
                assert_false(ruleset_same_structure(a.r, b.r));
                assert_false(ruleset_equal(a.r, b.r));
        }
}

/* The range sets are asked between bounds that hold every element, for the lowest and highest ids, too. */
static void test_bounds(void **state)
{
        const struct {
                uint32_t first, last;
                const char *rule;
        } cases[] = {
                {1, 1, "meta skuid >= 1 meta skuid <= 1 meta skuid @uid_ranges"},
                {100000, 165535, "meta skuid >= 65536 meta skuid <= 262143 meta skuid @uid_ranges"},
                {65536, 131071, "meta skuid >= 65536 meta skuid <= 131071 meta skuid @uid_ranges"},
                {0, UINT32_MAX, "meta skuid >= 0 meta skuid <= 4294967295 meta skuid @uid_ranges"},
                {UINT32_MAX, UINT32_MAX,
                 "meta skuid >= 2147483648 meta skuid <= 4294967295 meta skuid @uid_ranges"},
        };

        (void)state;
        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                _cleanup_variant_ struct variant v = {0};
                _cleanup_free_ char *text = NULL;

                begin(&v, "staff");
                idset_clear(&v.in.subjects.uid_ranges);
                append_id(&v.in.subjects.uid_ranges, cases[i].first, cases[i].last);
                finish(&v, "staff");
                text = text_of(v.r, true);
                assert_non_null(strstr(text, cases[i].rule));
        }
}

/* Does a statement about ids let somebody on to the next? */
static bool goes_on(const struct ruleset *r, const struct rs_statement *s, uint32_t uid, uint32_t gid)
{
        uint32_t id = s->fields[0] == FIELD_SKUID ? uid : gid;
        const struct rs_set *set = &r->sets[s->set];
        bool found = false;

        assert_true(s->fields[0] == FIELD_SKUID || s->fields[0] == FIELD_SKGID);
        if (s->kind == RS_COMPARE && s->op == OP_BELOW)
                return (id & ~(s->value - 1)) == 0;
        if (s->kind == RS_COMPARE)
                return s->op == OP_OUTSIDE ? id < s->value || id > s->last : id != s->value;
        assert_true(s->kind == RS_LOOKUP && s->op == OP_NEQ && rs_element_length(s->set) == 4);
        for (size_t i = 0; i < set->n; i++)
                found = found || memcmp(set->elements + 4 * i, &(uint32_t){htobe32(id)}, 4) == 0;
        return !found;
}

/* Does the base chain let somebody go without asking further? */
static bool leaves(const struct ruleset *r, enum rs_chain_id chain, uint32_t uid, uint32_t gid)
{
        const struct rs_chain *c = &r->chains[chain];

        for (size_t i = 0; i + 1 < c->n; i++) {
                const struct rs_rule *rule = &c->rules[i];
                bool matches = true;

                assert_int_equal(rule->statements[rule->n - 1].verdict, VERDICT_RETURN);
                for (size_t j = 0; j + 1 < rule->n; j++)
                        matches = matches && goes_on(r, &rule->statements[j], uid, gid);
                if (matches)
                        return true;
        }
        return false;
}

/* Of a few hundred, so that many are near each other; with EDGES also beside powers of two, and the lowest
 * and highest there are. */
static uint32_t random_id(bool edges)
{
        if (!edges || rand() % 2 == 0)
                return (uint32_t)rand() % 500;
        return (uint32_t)((UINT64_C(1) << rand() % 33) + (uint64_t)(rand() % 5) - 2);
}

static void random_ids(struct idset *s, unsigned max, uint32_t length, bool edges)
{
        for (unsigned n = (unsigned)rand() % (max + 1); n > 0; n--) {
                uint32_t first = random_id(edges), more = (uint32_t)rand() % length;

                append_id(s, first, more < UINT32_MAX - first ? first + more : UINT32_MAX);
        }
}

/* Whoever leaves the base chain early is no subject; and who is far from all of them does. */
static void test_no_subject_leaves_early(void **state)
{
        unsigned left = 0, stayed = 0;

        (void)state;
        srand(1);
        for (unsigned round = 0; round < 1000; round++) {
                _cleanup_variant_ struct variant v = {0};
                bool edges = round % 2;
                uint32_t length = round % 4 == 3 ? UINT32_C(1) << rand() % 32 : 40;

                begin(&v, "forward"); /* without ranges */
                idset_clear(&v.in.subjects.uids);
                idset_clear(&v.in.subjects.gids);
                random_ids(&v.in.subjects.uids, 4, 3, edges);
                random_ids(&v.in.subjects.gids, 5, 2, edges);
                random_ids(&v.in.subjects.uid_ranges, 6, length, edges);
                random_ids(&v.in.subjects.gid_ranges, 6, length, edges);
                finish(&v, "forward");
                for (unsigned i = 0; i < 400; i++) {
                        uint32_t id = random_id(edges), uid = id > 0 ? id : 1, gid = random_id(edges);
                        bool out = leaves(v.r, CHAIN_OUTPUT, uid, gid);

                        assert_int_equal(out, leaves(v.r, CHAIN_POSTROUTING, uid, gid));
                        if (out && subjects_match(&v.in.subjects, uid, gid))
                                fail_msg("round %u: uid %u gid %u leaves", round, uid, gid);
                        left += out;
                        stayed += !out;
                }
                if (!edges)
                        assert_true(leaves(v.r, CHAIN_OUTPUT, 5000, 5000) ||
                                    v.r->chains[CHAIN_OUTPUT].n == 1);
        }
        assert_true(left > 1000 && stayed > 1000);
}

/* Where somebody else may be a subject nobody leaves early: by a control group, or because everyone is; and
 * what is the relay's is for everybody. */
static void test_who_leaves_early(void **state)
{
        static const struct {
                const char *name;
                bool output, postrouting;
        } cases[] = {{"staff", true, true},      {"sessions", false, true}, {"units", false, true},
                     {"everyone", false, false}, {"empty", false, false},   {"dns-redirect", true, false}};

        (void)state;
        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                _cleanup_variant_ struct variant v = {0};

                begin(&v, cases[i].name);
                finish(&v, cases[i].name);
                assert_int_equal(leaves(v.r, CHAIN_OUTPUT, 5000, 5000), cases[i].output);
                assert_int_equal(leaves(v.r, CHAIN_POSTROUTING, 5000, 5000), cases[i].postrouting);
                assert_false(leaves(v.r, CHAIN_OUTPUT, 1000, 5000));
        }
}

static void test_full_stream(void **state)
{
        _cleanup_variant_ struct variant v = {0};
        _cleanup_fclose_ FILE *f = fopen("/dev/full", "we");

        (void)state;
        assert_non_null(f);
        begin(&v, "staff");
        finish(&v, "staff");
        assert_int_equal(ruleset_write_text(v.r, true, &(struct words){0}, f), -ENOSPC);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_golden),
                cmocka_unit_test(test_staged_has_no_hook),
                cmocka_unit_test(test_same_structure),
                cmocka_unit_test(test_other_structure),
                cmocka_unit_test(test_bounds),
                cmocka_unit_test(test_full_stream),
                cmocka_unit_test(test_no_subject_leaves_early),
                cmocka_unit_test(test_who_leaves_early),
        };

        return cmocka_run_group_tests_name("ruleset", tests, NULL, NULL);
}
