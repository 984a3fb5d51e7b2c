/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which word of the configuration decides. */
// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
// clang-format on
#include "cleanup.h"
#include "explain.h"
#include <string.h>

#define FILE_NAME "/etc/lockdownd/lockdownd.conf"

struct fixture {
        struct profile *profile;
        struct subjects subjects;
        struct explained_order order;
};

static void add(struct words *w, const char *text, unsigned line)
{
        assert_int_equal(words_split(w, text, line ? FILE_NAME : NULL, line), 0);
}

static void finish(struct fixture *f)
{
        _cleanup_problems_ struct problems problems = {0};

        if (profile_finish(f->profile, &problems) < 0)
                fail_msg("%s", problems.n ? problems.items[0] : "no sentence");
        f->order.profile = f->profile;
        f->order.subjects = &f->subjects;
}

static void fixture_init(struct fixture *f)
{
        memset(f, 0, sizeof(*f));
        f->profile = profile_new("staff");
        f->profile->file = strdup(FILE_NAME);
        f->profile->line = 5;
}

static void fixture_clear(struct fixture *f)
{
        profile_free(f->profile);
        subjects_clear(&f->subjects);
}

static void cover(struct idset *s, uint32_t first, uint32_t last)
{
        assert_int_equal(idset_append(s, first, last), 0);
        idset_normalize(s);
}

static void assert_because(const struct because *b, const char *key, const char *word, enum source source,
                           unsigned line)
{
        if (!key) {
                assert_null(b->key);
                assert_int_equal(b->source, SOURCE_NONE);
                return;
        }
        assert_non_null(b->key);
        assert_string_equal(b->key, key);
        assert_string_equal(b->word, word);
        assert_int_equal(b->source, source);
        assert_int_equal(b->line, line);
        assert_int_equal(b->file != NULL, source == SOURCE_FILE);
}

static void assert_user(const struct fixture *f, const struct person *p, bool covered, const char *key,
                        const char *word, unsigned line)
{
        _cleanup_because_ struct because b = {0};
        bool is_covered;

        assert_int_equal(explain_user(&f->order, p, p->self.name ? p->self.name : "uid", &is_covered, &b), 0);
        assert_int_equal(is_covered, covered);
        assert_true(b.sentence && b.sentence[0]);
        assert_because(&b, key, word, line ? SOURCE_FILE : SOURCE_UNKNOWN, line);
}

static void users_are_found_in_their_words(void **state)
{
        char alice[] = "alice", bob[] = "bob", eve[] = "eve", backup[] = "backup", root[] = "root",
             ops[] = "ops";
        struct person p = {.found = true};
        struct fixture f;

        (void)state;
        fixture_init(&f);
        add(&f.profile->groups, "guests", 7);
        add(&f.profile->groups, "staff 501", 8);
        add(&f.profile->users, "bob 1003", 9);
        add(&f.profile->except_users, "backup", 10);
        add(&f.profile->except_groups, "oncall", 11);
        finish(&f);
        cover(&f.subjects.uids, 1000, 1004);
        cover(&f.subjects.uid_ranges, 100000, 165535);
        cover(&f.subjects.except_uids, 34, 35);

        p.self = (struct identity){.uid = 1000, .name = alice};
        add(&p.self.group_names, "alice staff", 0);
        assert_user(&f, &p, true, "Groups", "staff", 8);
        p.self.name = bob;
        assert_user(&f, &p, true, "Users", "bob", 9); /* more telling than a group */
        words_clear(&p.self.group_names);
        p.self = (struct identity){.uid = 1003}; /* by number */
        assert_user(&f, &p, true, "Users", "1003", 9);
        p.self = (struct identity){.uid = 1002, .name = eve};
        cover(&p.self.gids, 501, 501);
        assert_user(&f, &p, true, "Groups", "501", 8);
        idset_clear(&p.self.gids);
        assert_user(&f, &p, true, NULL, NULL, 0); /* not a member any more */
        p.self = (struct identity){.uid = 2000, .name = eve};
        assert_user(&f, &p, false, NULL, NULL, 0);
        p.self = (struct identity){.uid = 34, .name = backup};
        assert_user(&f, &p, false, "ExceptUsers", "backup", 10);
        p.self = (struct identity){.uid = 35, .name = ops};
        add(&p.self.group_names, "staff oncall", 0);
        assert_user(&f, &p, false, "ExceptGroups", "oncall", 11);
        words_clear(&p.self.group_names);
        p.self = (struct identity){.name = root};
        assert_user(&f, &p, false, NULL, NULL, 0);

        p.self = (struct identity){.uid = 100033};
        p.subordinate = true;
        p.owner = (struct identity){.uid = 1000, .name = alice};
        add(&p.owner.group_names, "staff", 0);
        assert_user(&f, &p, true, "Groups", "staff", 8);
        words_clear(&p.owner.group_names);
        p.subordinate = false;
        assert_user(&f, &p, true, NULL, NULL, 0);
        fixture_clear(&f);
}

static void everyone_is_everyone(void **state)
{
        char root[] = "root", eve[] = "eve";
        struct person p = {.found = true, .self = {.uid = 2000, .name = eve}};
        struct fixture f;

        (void)state;
        fixture_init(&f);
        f.profile->everyone = f.subjects.everyone = true;
        assert_int_equal(profile_set_place(f.profile, "Everyone", FILE_NAME, 6), 0);
        finish(&f);
        assert_user(&f, &p, true, "Everyone", "yes", 6);
        p.self = (struct identity){.name = root};
        assert_user(&f, &p, false, NULL, NULL, 0);
        fixture_clear(&f);
}

struct question {
        const char *destination;
        enum judgement judgement;
        const char *key, *word;
        enum source source;
        unsigned line;
};

static void ask(const struct fixture *f, const struct question *questions, size_t n)
{
        for (size_t i = 0; i < n; i++) {
                const struct question *q = &questions[i];
                _cleanup_because_ struct because b = {0};
                enum judgement j;
                struct endpoint e;

                assert_int_equal(endpoint_parse(q->destination, &e), 0);
                assert_int_equal(explain_destination(&f->order, &e, &j, &b), 0);
                if (j != q->judgement)
                        fail_msg("%s: judgement %d", q->destination, j);
                assert_int_equal(j, destinations_judge(&f->profile->destinations, &e));
                assert_because(&b, q->key, q->word, q->source, q->line);
        }
}

static void destinations_are_found_in_their_words(void **state)
{
        static const struct question questions[] = {
                {"10.1.2.3:443", JUDGE_ALLOWED, "Allow", "internal", SOURCE_FILE, 8},
                {"203.0.113.10:443", JUDGE_SERVICE, "Allow", "203.0.113.10:443/tcp", SOURCE_FILE, 9},
                {"203.0.113.10:443/udp", JUDGE_OUTSIDE, "Allow", "internal", SOURCE_FILE, 8},
                {"203.0.113.10", JUDGE_OUTSIDE, "Allow", "203.0.113.10:443/tcp", SOURCE_FILE,
                 9}, /* no port */
                {"[2001:db8::1]:25", JUDGE_ALLOWED, "Allow", "2001:db8::/32", SOURCE_FILE, 9},
                {"100.64.0.1:53/udp", JUDGE_SERVICE, "Allow", "100.64.0.1:53", SOURCE_FILE, 10},
                {"::ffff:10.0.0.1", JUDGE_ALLOWED, "Allow", "internal", SOURCE_FILE, 8},
                {"255.255.255.255", JUDGE_OUTSIDE, "Allow", "internal", SOURCE_FILE, 8},
                {"10.0.0.53:53", JUDGE_DNS, "DNS", "deny", SOURCE_BUILT_IN, 0},
                {"127.0.0.1:53/udp", JUDGE_DNS, "DNS", "deny", SOURCE_BUILT_IN, 0},
                {"0.0.0.0:22", JUDGE_LOCAL, NULL, NULL, SOURCE_NONE, 0},
                {"127.0.0.1:3128", JUDGE_LOOPBACK_PORT, "LoopbackDeny", "3000-3200", SOURCE_FILE, 12},
                {"[::1]:3201", JUDGE_LOCAL, NULL, NULL, SOURCE_NONE, 0},
        };
        struct fixture f;

        (void)state;
        fixture_init(&f);
        add(&f.profile->groups, "staff", 7);
        add(&f.profile->allow, "internal", 8);
        add(&f.profile->allow, "203.0.113.10:443/tcp 2001:db8::/32", 9);
        add(&f.profile->allow, "100.64.0.1:53", 10);
        words_clear(&f.profile->loopback_deny);
        add(&f.profile->loopback_deny, "8080 3000-3200", 12);
        finish(&f);
        ask(&f, questions, ELEMENTSOF(questions));
        fixture_clear(&f);
}

/* What nobody wrote is called so, and what was written on the command line, too. */
static void defaults_and_ad_hoc_words_have_no_line(void **state)
{
        static const struct question built_in[] = {
                {"10.1.2.3:443", JUDGE_ALLOWED, "Allow", "internal", SOURCE_BUILT_IN, 0},
                {"203.0.113.7:443", JUDGE_OUTSIDE, "Allow", "internal", SOURCE_BUILT_IN, 0},
                {"127.0.0.1:9050", JUDGE_LOOPBACK_PORT, "LoopbackDeny", "9050", SOURCE_BUILT_IN, 0},
                {"10.0.0.53:53", JUDGE_DNS, "DNS", "deny", SOURCE_BUILT_IN, 0},
        };
        static const struct question adhoc[] = {
                {"203.0.113.7:443", JUDGE_ALLOWED, "Allow", "203.0.113.7", SOURCE_ADHOC, 0},
                {"203.0.113.8:443", JUDGE_OUTSIDE, "Allow", "203.0.113.7", SOURCE_ADHOC, 0},
                {"127.0.0.1:9050", JUDGE_LOOPBACK_PORT, "LoopbackDeny", "9050", SOURCE_BUILT_IN, 0},
        };
        static const struct question old[] = {
                {"203.0.113.7:443", JUDGE_ALLOWED, "Allow", "203.0.113.7", SOURCE_UNKNOWN, 0},
        };
        struct fixture f;

        (void)state;
        fixture_init(&f);
        add(&f.profile->groups, "staff", 7);
        finish(&f);
        ask(&f, built_in, ELEMENTSOF(built_in));
        free(f.profile->file);
        f.profile->file = NULL;
        add(&f.profile->allow, "203.0.113.7", 0);
        finish(&f);
        ask(&f, old, ELEMENTSOF(old)); /* saved by a version that kept no lines */
        f.order.adhoc = true;
        ask(&f, adhoc, ELEMENTSOF(adhoc));
        fixture_clear(&f);
}

/* Another order's resolver is judged like any other destination, but for one's own. */
static void redirected_questions_are_judged_again(void **state)
{
        _cleanup_because_ struct because b = {0};
        struct redirection to;
        struct endpoint e;
        enum judgement j;
        struct fixture f;

        (void)state;
        fixture_init(&f);
        add(&f.profile->groups, "staff", 7);
        f.profile->dns = strdup("10.0.0.53");
        assert_int_equal(profile_set_place(f.profile, "DNS", FILE_NAME, 8), 0);
        finish(&f);
        assert_int_equal(endpoint_parse("198.51.100.7:53/udp", &e), 0);
        assert_true(explain_redirects(f.profile, &e, &to));
        assert_false(to.relayed);
        assert_memory_equal(to.target.addr, f.profile->destinations.dns4, 4);
        assert_int_equal(explain_destination(&f.order, &e, &j, &b), 0);
        assert_int_equal(j, JUDGE_DNS_REDIRECTED);
        assert_because(&b, "DNS", "10.0.0.53", SOURCE_FILE, 8);
        because_clear(&b);
        assert_int_equal(explain_redirected(&f.order, &to, "other", &j, &b), 0);
        assert_false(judgement_refuses(j));
        because_clear(&b);
        to.target.addr[3] = 54;
        assert_int_equal(explain_redirected(&f.order, &to, "other", &j, &b), 0);
        assert_int_equal(j, JUDGE_DNS);
        because_clear(&b);
        /* a family without a resolver, and this machine: relayed */
        assert_int_equal(endpoint_parse("[2001:db8::1]:53", &e), 0);
        assert_true(explain_redirects(f.profile, &e, &to));
        assert_true(to.relayed && to.target.family == AF_INET);
        assert_memory_equal(to.target.addr, f.profile->destinations.dns4, 4);
        assert_int_equal(endpoint_parse("127.0.0.53:53/udp", &e), 0);
        assert_true(explain_redirects(f.profile, &e, &to));
        assert_true(to.relayed);
        /* an order with another resolver refuses what is relayed, one that allows DNS does not */
        assert_int_equal(explain_redirected(&f.order, &to, "other", &j, &b), 0);
        assert_int_equal(j, JUDGE_DNS);
        because_clear(&b);
        free(f.profile->dns);
        f.profile->dns = strdup("allow");
        finish(&f);
        assert_int_equal(explain_redirected(&f.order, &to, "other", &j, &b), 0);
        assert_int_equal(j, JUDGE_LOCAL);
        fixture_clear(&f);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(users_are_found_in_their_words),
                cmocka_unit_test(everyone_is_everyone),
                cmocka_unit_test(destinations_are_found_in_their_words),
                cmocka_unit_test(defaults_and_ad_hoc_words_have_no_line),
                cmocka_unit_test(redirected_questions_are_judged_again),
        };

        return cmocka_run_group_tests_name("explain", tests, NULL, NULL);
}
