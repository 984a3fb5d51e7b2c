/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "profile.h"

#include "cleanup.h"
#include "timespan.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static void set(struct words *w, const char *text)
{
        words_clear(w);
        assert_int_equal(words_split(w, text, NULL, 0), 0);
}

static struct profile *make(const char *groups, const char *allow, const char *dns)
{
        struct profile *p = profile_new("staff");

        assert_non_null(p);
        set(&p->groups, groups);
        set(&p->allow, allow);
        p->dns = dns ? strdup(dns) : NULL;
        return p;
}

static void finish(struct profile *p)
{
        _cleanup_problems_ struct problems problems = {};
        int r = profile_finish(p, &problems);

        if (r < 0)
                fail_msg("%d, %s", r, problems.n ? problems.items[0] : "");
        assert_int_equal(problems.n, 0);
}

static void test_names(void **state)
{
        static const char *const valid[] = {"a",
                                            "Z",
                                            "0",
                                            "staff",
                                            "a-b_c.d",
                                            "9lives",
                                            "aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeee"};
        static const char *const invalid[] = {"",
                                              "-a",
                                              ".a",
                                              "_a",
                                              "a b",
                                              "a/b",
                                              "a@b",
                                              "a\n",
                                              "\xc3\xa4",
                                              "a\"",
                                              "aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeee"};

        (void)state;
        for (size_t i = 0; i < ELEMENTSOF(valid); i++)
                assert_true(profile_name_valid(valid[i]));
        for (size_t i = 0; i < ELEMENTSOF(invalid); i++)
                assert_false(profile_name_valid(invalid[i]));
        assert_false(profile_name_valid(NULL));
}

/* Requests have no file and line: the sentences stand alone. */
static void test_refused(void **state)
{
        static const struct {
                const char *groups, *users, *allow, *dns;
                bool everyone;
                const char *sentence;
        } table[] = {
                {"", "", "", NULL, false,
                 "profile \"staff\" blocks nobody: name Groups= or Users=, or set Everyone=yes"},
                {"", "alice", "", NULL, true,
                 "profile \"staff\" has Everyone=yes together with Groups= or Users=: use one or the other"},
                {"", "0", "", NULL, false,
                 "an ad-hoc order cannot block root: that takes a profile with Users=root and "
                 "IncludeRoot=yes"}, /* it stands in no file */
                {"a", "", "none internal", NULL, false,
                 "Allow=none cuts off everything and takes no other word besides it"},
                {"a", "", "0.0.0.0/0", NULL, false,
                 "\"0.0.0.0/0\" is the whole IPv4 internet; name the networks that are to stay reachable"},
                {"a", "", "", "1.2.3", false,
                 "DNS= expects deny, allow or the address of a resolver (one for IPv4, one for IPv6, without "
                 "ports), "
                 "not \"1.2.3\""},
        };

        (void)state;
        for (size_t i = 0; i < ELEMENTSOF(table); i++) {
                _cleanup_(profile_freep) struct profile *p =
                        make(table[i].groups, table[i].allow, table[i].dns);
                _cleanup_problems_ struct problems problems = {};

                set(&p->users, table[i].users);
                p->everyone = table[i].everyone;
                assert_int_equal(profile_finish(p, &problems), -EINVAL);
                assert_int_equal(problems.n, 1);
                assert_string_equal(problems.items[0], table[i].sentence);
                assert_int_equal(p->destinations.allow4.n, 0); /* untouched */
        }
}

static void test_same_block(void **state)
{
        _cleanup_(profile_freep) struct profile *a = make("staff lab", "internal 192.0.2.1", NULL),
                                                *b = make("lab staff lab", "192.0.2.1 internal", "deny");

        (void)state;
        finish(a);
        finish(b);
        b->max_duration = USEC_PER_DAY;
        assert_true(profile_same_block(a, b)); /* the order of words, spelling and durations aside */
        for (int i = 0; i < 9; i++) {
                _cleanup_(profile_freep) struct profile *c = profile_copy(a);

                assert_non_null(c);
                assert_true(profile_same_block(a, c));
                switch (i) {
                case 0:
                        set(&c->groups, "staff");
                        break;
                case 1:
                        set(&c->users, "alice");
                        break;
                case 2:
                        set(&c->except_users, "alice");
                        break;
                case 3:
                        set(&c->except_groups, "oncall");
                        break;
                case 4:
                        set(&c->allow, "internal");
                        finish(c);
                        break;
                case 5:
                        c->forward_deny = true;
                        break;
                case 6:
                        c->sessions = true;
                        break;
                case 7:
                        c->second_lock = false;
                        break;
                case 8:
                        set(&c->services, "cups.service");
                        break;
                case 9:
                        c->end_remote_sessions = true;
                        break;
                default:
                        set(&c->loopback_deny, "");
                        finish(c);
                }
                assert_false(profile_same_block(a, c));
        }
}

static struct profile *through_json(const struct profile *p)
{
        _cleanup_json_ json_t *j = profile_to_json(p), *read = NULL;
        _cleanup_problems_ struct problems problems = {};
        _cleanup_free_ char *text = NULL;
        struct profile *back = NULL;
        int r;

        assert_non_null(j);
        text = json_dumps(j, 0); /* as on disk */
        read = json_loads(text, 0, NULL);
        r = profile_from_json(read, &back, &problems);
        if (r < 0)
                fail_msg("%d, %s: %s", r, text, problems.n ? problems.items[0] : "");
        return back;
}

static void test_json(void **state)
{
        _cleanup_(profile_freep) struct profile *p = make(
                "staff contractors", "internal 203.0.113.10:443 [2001:db8::1]:1-9/udp", "10.0.0.53 fd00::53");
        _cleanup_(profile_freep) struct profile *back = NULL;

        (void)state;
        p->description = strdup("\"Grüße\"");
        set(&p->users, "root 1042");
        set(&p->except_users, "backup");
        set(&p->except_groups, "oncall");
        set(&p->services, "cups container@*.service");
        set(&p->loopback_deny, "1-9 8080");
        p->include_root = p->forward_deny = p->sessions = p->end_remote_sessions = true;
        p->second_lock = false;
        p->default_duration = 90 * USEC_PER_MINUTE;
        p->max_duration = TIMESPAN_MAX;
        finish(p);
        back = through_json(p);
        assert_true(profile_same_block(p, back));
        assert_true(words_equal(&p->groups, &back->groups) && words_equal(&p->users, &back->users) &&
                    words_equal(&p->allow, &back->allow) && words_equal(&p->services, &back->services) &&
                    words_equal(&p->loopback_deny, &back->loopback_deny));
        assert_string_equal(back->name, "staff");
        assert_string_equal(back->description, "\"Grüße\"");
        assert_string_equal(back->dns, "10.0.0.53 fd00::53");
        assert_true(back->default_duration == p->default_duration && back->max_duration == p->max_duration);
}

/* The lines come back, too; what is wrong with them costs nothing else. */
static void test_json_places(void **state)
{
        _cleanup_(profile_freep) struct profile *p = make("", "", NULL), *back = NULL, *damaged = NULL;
        _cleanup_problems_ struct problems problems = {};
        _cleanup_json_ json_t *j = NULL;

        (void)state;
        words_clear(&p->groups);
        assert_int_equal(words_add(&p->groups, "staff", "/etc/a:b.conf", 7), 0);
        assert_int_equal(words_add(&p->groups, "guests", NULL, 0), 0);
        assert_int_equal(words_add(&p->allow, "internal", "/etc/x.conf", 9), 0);
        assert_int_equal(profile_set_place(p, "DNS", "/etc/x.conf", 10), 0);
        assert_int_equal(profile_set_place(p, "DNS", "/etc/x.conf", 11), 0);
        p->file = strdup("/etc/x.conf");
        p->line = 5;
        finish(p);
        back = through_json(p);
        assert_string_equal(back->file, "/etc/x.conf");
        assert_int_equal(back->line, 5);
        assert_string_equal(back->groups.items[0].file, "/etc/a:b.conf");
        assert_int_equal(back->groups.items[0].line, 7);
        assert_null(back->groups.items[1].file);
        assert_int_equal(back->allow.items[0].line, 9);
        assert_int_equal(profile_place(back, "DNS")->line, 11);
        assert_null(profile_place(back, "Everyone"));
        assert_null(back->loopback_deny.items[0].file);

        j = profile_to_json(p);
        json_object_set_new(j, "Places",
                            json_pack("{s:[s],s:[s],s:i,s:s,s:s}", "Groups", "/etc/x.conf:7", "Allow",
                                      "x:", "Profile", 5, "DNS", ":9", "Everyone", "/etc/x.conf:0x"));
        assert_int_equal(profile_from_json(j, &damaged, &problems), 0);
        assert_null(damaged->file);
        assert_null(damaged->groups.items[0].file);
        assert_null(damaged->allow.items[0].file);
        assert_null(profile_place(damaged, "DNS"));
        assert_true(profile_same_block(p, damaged));
}

static void test_json_defaults(void **state)
{
        static const char expected[] =
                "{\"Name\": \"staff\", \"Description\": null, \"Groups\": [\"g\"], \"Users\": [], "
                "\"ExceptUsers\": [], "
                "\"ExceptGroups\": [], \"Services\": [], \"Everyone\": false, \"IncludeRoot\": false, "
                "\"Sessions\": false, "
                "\"Allow\": "
                "[\"internal\"], \"DNS\": \"deny\", \"LoopbackDeny\": [\"3128\", \"8118\", \"9050\"], "
                "\"Forward\": "
                "\"keep\", \"RemoteSessions\": \"keep\", \"SecondLock\": \"auto\", \"DefaultDuration\": "
                "\"\", \"MaxDuration\": \"\"}";
        _cleanup_(profile_freep) struct profile *p = make("g", "", NULL), *back = NULL;
        _cleanup_json_ json_t *j = NULL;
        _cleanup_free_ char *text = NULL;

        (void)state;
        finish(p);
        j = profile_to_json(p);
        text = json_dumps(j, 0);
        assert_string_equal(text, expected);
        back = through_json(p);
        assert_true(profile_same_block(p, back));
}

/* What was read back from the kernel has destinations that no words say: no prefixes, none at all. */
static void test_json_without_words(void **state)
{
        _cleanup_(profile_freep) struct profile *p = make("g", "", NULL), *back = NULL,
                                                *isolated = make("g", "", NULL), *still_isolated = NULL;
        struct addr_range range = {.first = {192, 168, 1, 3}, .last = {192, 168, 2, 0}};
        struct service service = {.addr = range, .protocol = IPPROTO_UDP, .port_first = 5, .port_last = 9};
        struct endpoint inside = {.family = AF_INET, .addr = {192, 168, 2, 0}},
                        outside = {.family = AF_INET, .addr = {192, 168, 2, 1}};

        (void)state;
        p->destinations.allow4.ranges = malloc(sizeof(range));
        p->destinations.allow4.ranges[0] = range;
        p->destinations.allow4.n = 1;
        p->destinations.service4.items = malloc(sizeof(service));
        p->destinations.service4.items[0] = service;
        p->destinations.service4.n = 1;
        p->destinations.dns = DNS_ALLOW;
        back = through_json(p);
        assert_memory_equal(&back->destinations.allow4.ranges[0], &range, sizeof(range));
        assert_int_equal(back->destinations.allow4.n, 1);
        assert_int_equal(back->destinations.dns, DNS_ALLOW);
        assert_int_equal(back->destinations.n_loopback_deny, 0);
        assert_int_equal(destinations_judge(&back->destinations, &inside), JUDGE_ALLOWED);
        assert_int_equal(destinations_judge(&back->destinations, &outside), JUDGE_OUTSIDE);
        inside.protocol = IPPROTO_UDP;
        inside.port = 9;
        assert_int_equal(destinations_judge(&back->destinations, &inside), JUDGE_SERVICE);

        still_isolated = through_json(isolated); /* nothing allowed must not turn into the default */
        assert_int_equal(still_isolated->destinations.allow4.n, 0);
        assert_int_equal(destinations_judge(&still_isolated->destinations, &inside), JUDGE_OUTSIDE);
}

static void test_json_refused(void **state)
{
        static const struct {
                const char *text, *sentence;
        } table[] = {
                {"{}", "the profile has no name"},
                {"[]", "the profile has no name"},
                {"{\"Name\": 7}", "the profile has no name"},
                {"{\"Name\": \"a\"}",
                 "profile \"a\" blocks nobody: name Groups= or Users=, or set Everyone=yes"},
                {"{\"Name\": \"a/b\", \"Groups\": [\"g\"]}",
                 "\"a/b\" cannot name a profile: use letters, digits, \"_\", \"-\" and \".\", a letter or "
                 "digit first, "
                 "at most 48 in all"},
                {"{\"Name\": \"a\", \"Groups\": \"g\"}", "\"Groups\" of the profile is not a list of words"},
                {"{\"Name\": \"a\", \"Groups\": [1]}", "\"Groups\" of the profile is not a list of words"},
                {"{\"Name\": \"a\", \"Groups\": [\"g\"], \"Everyone\": \"no\"}",
                 "\"Everyone\" of the profile is not true or false"},
                {"{\"Name\": \"a\", \"Groups\": [\"g\"], \"Allow\": null}",
                 "\"Allow\" of the profile is not a list of words"},
                {"{\"Name\": \"a\", \"Groups\": [\"g\"], \"Allow\": [\"::/0\"]}",
                 "\"::/0\" is the whole IPv6 internet; name the networks that are to stay reachable"},
                {"{\"Name\": \"a\", \"Groups\": [\"g\"], \"DNS\": 5}",
                 "\"DNS\" of the profile is not a text"},
                {"{\"Name\": \"a\", \"Groups\": [\"g\"], \"Forward\": \"no\"}",
                 "\"Forward\" of the profile is neither \"keep\" nor \"deny\""},
                {"{\"Name\": \"a\", \"Groups\": [\"g\"], \"SecondLock\": true}",
                 "\"SecondLock\" of the profile is neither \"no\" nor \"auto\""},
                {"{\"Name\": \"a\", \"Groups\": [\"g\"], \"MaxDuration\": \"8\"}",
                 "\"MaxDuration\" of the profile is not a duration"},
                {"{\"Name\": \"a\", \"Groups\": [\"g\"], \"MaxDuration\": 8}",
                 "\"MaxDuration\" of the profile is not a duration"},
        };

        (void)state;
        for (size_t i = 0; i < ELEMENTSOF(table); i++) {
                _cleanup_json_ json_t *j = json_loads(table[i].text, 0, NULL);
                _cleanup_problems_ struct problems problems = {};
                struct profile *p = NULL;

                assert_non_null(j);
                assert_int_equal(profile_from_json(j, &p, &problems), -EBADMSG);
                assert_null(p);
                assert_int_equal(problems.n, 1);
                assert_string_equal(problems.items[0], table[i].sentence);
        }
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_names),
                cmocka_unit_test(test_refused),
                cmocka_unit_test(test_same_block),
                cmocka_unit_test(test_json),
                cmocka_unit_test(test_json_defaults),
                cmocka_unit_test(test_json_places),
                cmocka_unit_test(test_json_without_words),
                cmocka_unit_test(test_json_refused),
        };

        return cmocka_run_group_tests_name("profile", tests, NULL, NULL);
}
