/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"

#include "cleanup.h"
#include "config-internal.h"
#include "timespan.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#define SAMPLES "tests/config" /* tests run in the top directory */

struct place {
        char dir[64], file[96], drop_ins[96];
};

static void place_make(struct place *p)
{
        snprintf(p->dir, sizeof(p->dir), "/tmp/lockdown-config-XXXXXX");
        assert_non_null(mkdtemp(p->dir));
        snprintf(p->file, sizeof(p->file), "%s/lockdownd.conf", p->dir);
        snprintf(p->drop_ins, sizeof(p->drop_ins), "%s/lockdownd.conf.d", p->dir);
}

static void place_remove(struct place *p)
{
        unlink(p->file);
        rmdir(p->file);
        rmdir(p->drop_ins);
        assert_int_equal(rmdir(p->dir), 0);
}
#define _cleanup_place_ _cleanup_(place_remove)

static void write_file(const char *path, const char *text, size_t size)
{
        _cleanup_fclose_ FILE *f = fopen(path, "w");

        assert_non_null(f);
        assert_int_equal(fwrite(text, 1, size, f), size);
}

/* A mistake's sentence without the directory, which is another one each time. */
static const char *without_dir(const struct place *p, const char *sentence)
{
        size_t length = strlen(p->dir);

        return strncmp(sentence, p->dir, length) == 0 ? sentence + length + 1 : sentence;
}

/* Loads TEXT as the main file and compares the sentences, one a line; NULL: it must load. */
static struct config *load_sized(const char *text, size_t size, const char *expected)
{
        _cleanup_problems_ struct problems problems = {};
        _cleanup_place_ struct place p;
        struct config *c = NULL;
        char all[4096] = "";
        int r;

        place_make(&p);
        write_file(p.file, text, size);
        r = config_load(p.dir, &c, &problems);
        for (size_t i = 0; i < problems.n; i++)
                snprintf(all + strlen(all), sizeof(all) - strlen(all), "%s%s", i > 0 ? "\n" : "",
                         without_dir(&p, problems.items[i]));
        assert_string_equal(all, expected ? expected : "");
        assert_int_equal(r, expected ? -EINVAL : 0);
        assert_int_equal(!c, !!expected);
        return c;
}

static struct config *load(const char *text, const char *expected)
{
        return load_sized(text, strlen(text), expected);
}

static struct config *load_dir(const char *dir)
{
        _cleanup_problems_ struct problems problems = {};
        _cleanup_free_ char *all = NULL;
        struct config *c = NULL;
        int r = config_load(dir, &c, &problems);

        all = problems_join(&problems);
        assert_string_equal(all, "");
        assert_int_equal(r, 0);
        return c;
}

static void assert_words(const struct words *w, const char *expected)
{
        _cleanup_free_ char *text = words_join(w);

        assert_string_equal(text, expected);
}

static void test_mistakes_one_by_one(void **state)
{
#define STAFF "[Profile staff]\nGroups=staff\n"
        static const struct {
                const char *text, *sentence;
        } table[] = {
                {"Groups=a\n",
                 "lockdownd.conf:1: Groups= stands before the first section; expected [Access] or "
                 "[Profile NAME] above it"},
                {"[Access]\nOrder=root *\n",
                 "lockdownd.conf:2: Order= cannot be everybody's (\"*\"): name users and @groups"},
                {"[Access]\nLift=*\n",
                 "lockdownd.conf:2: Lift= cannot be everybody's (\"*\"): name users and @groups"},
                {"[Access]\nStatus=@\n",
                 "lockdownd.conf:2: Status= takes users, uids and @groups with spaces between "
                 "them, not \"@\""},
                {"[Access]\nOrder=root,alice\n",
                 "lockdownd.conf:2: Order= takes users, uids and @groups with spaces "
                 "between them, not \"root,alice\""},
                {"[Access]\nOder=root\n",
                 "lockdownd.conf:2: unknown key Oder= in [Access]; did you mean Order=?"},
                {"[Access]\norder=root\n",
                 "lockdownd.conf:2: unknown key order= in [Access]; did you mean Order=?"},
                {"[Access]\nAllow=none\n",
                 "lockdownd.conf:2: Allow= belongs into [Profile NAME], not into [Access]"},
                {STAFF "Color=red\n",
                 "lockdownd.conf:3: unknown key Color= in [Profile staff]; lockdownd.conf(5) lists the keys"},
                {STAFF "Gruops=x\n",
                 "lockdownd.conf:3: unknown key Gruops= in [Profile staff]; did you mean Groups=?"},
                {STAFF "Order=root\n",
                 "lockdownd.conf:3: Order= belongs into [Access], not into [Profile staff]"},
                {STAFF "\n# comment\nnothing\n",
                 "lockdownd.conf:5: expected KEY=VALUE or a section in brackets, not \"nothing\""},
                {STAFF "Allow: 10.0.0.1\n",
                 "lockdownd.conf:3: expected KEY=VALUE or a section in brackets, not \"Allow: 10.0.0.1\""},
                {STAFF "=x\n", "lockdownd.conf:3: expected KEY=VALUE or a section in brackets, not \"=x\""},
                {STAFF "Groups ;x=1\n", "lockdownd.conf:3: expected KEY=VALUE"},
                {STAFF "Groups=a \\\n b\n",
                 "lockdownd.conf:3: a line does not go on behind \"\\\"; repeat the key instead, lists add "
                 "up\n"
                 "lockdownd.conf:4: expected KEY=VALUE or a section in brackets, not \"b\""},
                {STAFF "Description=\xff\xfe\n",
                 "lockdownd.conf:3: this line is not UTF-8 text, or has control characters in it"},
                {STAFF "Description=a\x1b[31mb\n",
                 "lockdownd.conf:3: this line is not UTF-8 text, or has control characters in it"},
                {STAFF "[Profile staff]\n",
                 "lockdownd.conf:3: the section [Profile staff] stands twice in this file, "
                 "the first time in line 1"},
                {STAFF "[Profile   staff ]\n",
                 "lockdownd.conf:3: the section [Profile staff] stands twice in this "
                 "file, the first time in line 1"},
                {"[Access]\n[Access]\n", "lockdownd.conf:2: the section [Access] stands twice in this file, "
                                         "the first time in line 1"},
                {"[profile staff]\nGroups=x\n",
                 "lockdownd.conf:1: unknown section [profile staff]; did you mean [Profile NAME]?"},
                {"[Acess]\nOrder=root\n",
                 "lockdownd.conf:1: unknown section [Acess]; did you mean [Access]?"},
                {"[General]\n",
                 "lockdownd.conf:1: unknown section [General]; expected [Access] or [Profile NAME]"},
                {"[]\n", "lockdownd.conf:1: unknown section []; expected [Access] or [Profile NAME]"},
                {"[Profile staff] x\n",
                 "lockdownd.conf:1: a section needs its name in brackets and nothing behind "
                 "them, not \"[Profile staff] x\""},
                {"[Profile\n", "lockdownd.conf:1: a section needs its name in brackets and nothing behind "
                               "them, not \"[Profile\""},
                {"[Profile]\n", "lockdownd.conf:1: the section names no profile: expected [Profile NAME]"},
                {"[Profile a b]\n",
                 "lockdownd.conf:1: \"a b\" cannot name a profile: use letters, digits, \"_\", "
                 "\"-\" and \".\", a letter or digit first, at most 48 in all"},
                {"[Profile -x]\n",
                 "lockdownd.conf:1: \"-x\" cannot name a profile: use letters, digits, \"_\", "
                 "\"-\" and \".\", a letter or digit first, at most 48 in all"},
                {"[Profile aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeee]\n",
                 "lockdownd.conf:1: \"aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeee\" cannot name a "
                 "profile: use "
                 "letters, digits, \"_\", \"-\" and \".\", a letter or digit first, at most 48 in all"},
                {"\n[Profile staff]\n",
                 "lockdownd.conf:2: profile \"staff\" blocks nobody: name Groups= or Users=, or "
                 "set Everyone=yes"},
                {STAFF "Everyone=yes\n",
                 "lockdownd.conf:1: profile \"staff\" has Everyone=yes together with Groups= "
                 "or Users=: use one or the other"},
                {STAFF "Everyone=y\n", "lockdownd.conf:3: Everyone= expects yes or no, not \"y\""},
                {STAFF "Groups=@wheel\n",
                 "lockdownd.conf:3: Groups= takes names without \"@\" (groups go to the keys "
                 "for groups), not \"@wheel\""},
                {STAFF "Users=*\n",
                 "lockdownd.conf:3: Users= takes names, not \"*\" (for everybody: Everyone=yes)"},
                {STAFF "ExceptUsers=a,b\n",
                 "lockdownd.conf:3: ExceptUsers= takes names with spaces between them and "
                 "no other signs, not \"a,b\""},
                {STAFF "Users=alice root\n",
                 "lockdownd.conf:3: Users= names root, who is never blocked unless "
                 "IncludeRoot=yes says so, too"},
                {STAFF "Users=00\n",
                 "lockdownd.conf:3: Users= names root, who is never blocked unless IncludeRoot=yes "
                 "says so, too"},
                {STAFF "IncludeRoot=yes\n",
                 "lockdownd.conf:1: profile \"staff\" has IncludeRoot=yes but does not name "
                 "root in Users="},
                {STAFF "Allow=internal\nAllow=10.0.0.0/33\n",
                 "lockdownd.conf:4: \"10.0.0.0/33\" has a prefix length that is not a number from 0 to 32"},
                {STAFF "Allow=internal ::/0\n",
                 "lockdownd.conf:3: \"::/0\" is the whole IPv6 internet; name the "
                 "networks that are to stay reachable"},
                {STAFF "Allow=0.0.0.0/1\nAllow=128.0.0.0/1\n",
                 "lockdownd.conf:3: Allow= adds up to the whole IPv4 internet, as 0.0.0.0/0 would; name the "
                 "networks "
                 "that are to stay reachable"},
                {STAFF "Allow=none\nAllow=10.0.0.1\n",
                 "lockdownd.conf:4: Allow=none cuts off everything and takes no other word besides it"},
                {STAFF "DNS=perhaps\n",
                 "lockdownd.conf:3: DNS= expects deny, allow or the address of a resolver (one "
                 "for IPv4, one for IPv6, without ports), not \"perhaps\""},
                {STAFF "LoopbackDeny=0\n",
                 "lockdownd.conf:3: \"0\" needs a port from 1 to 65535, or a range of them like 8000-8100"},
                {STAFF "Forward=no\n", "lockdownd.conf:3: Forward= expects keep or deny, not \"no\""},
                {STAFF "Sessions=2\n", "lockdownd.conf:3: Sessions= expects yes or no, not \"2\""},
                {STAFF "SecondLock=yes\n", "lockdownd.conf:3: SecondLock= expects no or auto, not \"yes\""},
                {STAFF "Services=cups.service\n",
                 "lockdownd.conf:3: Services= is not available in this version; remove it"},
                {STAFF "RemoteSessions=end\n",
                 "lockdownd.conf:3: RemoteSessions=end is not available in this version; remove it"},
                {STAFF "RemoteSessions=on\n",
                 "lockdownd.conf:3: RemoteSessions= expects keep or end, not \"on\""},
                {STAFF "DefaultDuration=8\n",
                 "lockdownd.conf:3: DefaultDuration= expects a duration with units such "
                 "as 8h, 90min or 1d 12h, not \"8\""},
                {STAFF "MaxDuration=4000d\n",
                 "lockdownd.conf:3: MaxDuration= takes at most ten years, not \"4000d\""},
                {STAFF "DefaultDuration=2d\nMaxDuration=25h\n",
                 "lockdownd.conf:1: profile \"staff\" has DefaultDuration=2d, which is longer than "
                 "MaxDuration=1d 1h"},
        };

        (void)state;
        for (size_t i = 0; i < ELEMENTSOF(table); i++)
                assert_null(load(table[i].text, table[i].sentence));
}

/* All mistakes of several files in one go; the sentences are kept in a file to be read in review. */
static void test_all_mistakes_at_once(void **state)
{
        _cleanup_problems_ struct problems problems = {};
        _cleanup_free_ char *all = NULL, *expected = NULL;
        _cleanup_fclose_ FILE *f = fopen(SAMPLES "/mistakes.expected", "r");
        struct config *c = NULL;
        size_t size = 0;

        (void)state;
        assert_int_equal(config_load(SAMPLES "/mistakes", &c, &problems), -EINVAL);
        assert_null(c);
        all = problems_join(&problems);
        if (getenv("UPDATE_GOLDEN")) {
                _cleanup_fclose_ FILE *golden = fopen(SAMPLES "/mistakes.expected", "w");

                assert_non_null(golden);
                fputs(all, golden);
                return;
        }
        assert_non_null(f);
        assert_true(getdelim(&expected, &size, '\0', f) > 0);
        assert_string_equal(all, expected);
}

static void test_long_lines(void **state)
{
        char text[4096], expected[256], names[512];

        (void)state;
        memset(names, 'a', sizeof(names));
        names[CONFIG_LINE_MAX - 6] = '\0';
        snprintf(text, sizeof(text), "[Profile p]\nUsers=%s\n", names);
        {
                _cleanup_(config_freep) struct config *c = load(text, NULL);

                assert_words(&c->profiles[0]->users, names);
        }
        snprintf(text, sizeof(text), "[Profile p]\nUsers=x\nUsers=%sa\nUsers=ok\n", names);
        snprintf(expected, sizeof(expected),
                 "lockdownd.conf:3: this line has 199 bytes, more than the 198 that are "
                 "read; repeat the key instead, lists add up");
        assert_null(load(text, expected));
        /* Comments may be as long as they like. */
        memset(names, 'a', sizeof(names));
        names[sizeof(names) - 1] = '\0';
        snprintf(text, sizeof(text), "#%s\n[Profile p]\n ;%s\nUsers=x\n", names, names);
        config_free(load(text, NULL));
}

static void test_not_text(void **state)
{
        static const char nul[] = "[Profile p]\nUsers=x\nGroups=a\0b\n";

        (void)state;
        assert_null(
                load_sized(nul, sizeof(nul) - 1,
                           "lockdownd.conf:3: there is a NUL byte in this line; this is not a text file"));
        config_free(load("\xef\xbb\xbf[Profile p]\r\nUsers=x\r\n", NULL));
        config_free(load("", NULL));
        config_free(load("\n\n", NULL));
        config_free(load("[Profile p]\nUsers=no-newline-behind-it", NULL));
}

static void assert_default(const struct config *c)
{
        assert_int_equal(c->n_profiles, 0);
        assert_words(&c->access_order, "root");
        assert_words(&c->access_lift, "root");
        assert_words(&c->access_status, "*");
}

static void test_defaults(void **state)
{
        _cleanup_(config_freep) struct config *builtin = config_new_default(), *missing = NULL, *c = NULL;
        const struct profile *p;

        (void)state;
        assert_default(builtin);
        missing = load_dir("/nonexistent/anywhere");
        assert_default(missing);

        c = load("[Profile p]\nGroups=g\n", NULL);
        p = c->profiles[0];
        assert_string_equal(p->name, "p");
        assert_null(p->description);
        assert_words(&p->groups, "g");
        assert_words(&p->loopback_deny, "3128 8118 9050");
        assert_int_equal(p->destinations.n_loopback_deny, 3);
        assert_int_equal(p->allow.n, 0);
        assert_int_equal(p->destinations.allow4.n, 5);
        assert_int_equal(p->destinations.dns, DNS_DENY);
        assert_true(p->second_lock);
        assert_false(p->everyone || p->include_root || p->forward_deny || p->sessions);
        assert_true(p->default_duration == 0 && p->max_duration == 0);
        assert_int_equal(p->line, 1);
        assert_int_equal(p->groups.items[0].line, 2);
}

static void test_values(void **state)
{
        static const struct {
                const char *text;
                bool yes;
        } switches[] = {{"yes", true}, {"no", false}, {"true", true}, {"FALSE", false}, {"1", true},
                        {"0", false},  {"On", true},  {"off", false}, {"", false}};
        _cleanup_(config_freep) struct config *c = NULL;
        const struct profile *p;

        (void)state;
        for (size_t i = 0; i < ELEMENTSOF(switches); i++) {
                _cleanup_(config_freep) struct config *s = NULL;
                char text[128];

                snprintf(text, sizeof(text), "[Profile p]\nUsers=x\nSessions=yes\nSessions=%s\n",
                         switches[i].text);
                s = load(text, NULL);
                assert_int_equal(s->profiles[0]->sessions, switches[i].yes);
        }
        c = load("[Access]\nOrder=\nLift=alice 1000 @night\nStatus=\n"
                 "[Profile p]\n  Users = root bob\nIncludeRoot=yes\nForward=deny\nSecondLock=no\n"
                 "LoopbackDeny=\nAllow=\nDNS=10.0.0.53\nDNS=\nDefaultDuration=8h\nDefaultDuration=90min\n"
                 "MaxDuration=1d 12h\nDescription=one\nDescription=two = 2; \"x\" # 3\n",
                 NULL);
        p = c->profiles[0];
        assert_words(&c->access_order, "root"); /* an emptied list is root's alone */
        assert_words(&c->access_lift, "alice 1000 @night");
        assert_words(&c->access_status, "root");
        assert_words(&p->users, "root bob");
        assert_true(p->include_root && p->forward_deny && !p->second_lock);
        assert_int_equal(p->loopback_deny.n, 0);
        assert_int_equal(p->destinations.n_loopback_deny, 0);
        assert_null(p->dns);
        assert_true(p->default_duration == 90 * USEC_PER_MINUTE);
        assert_true(p->max_duration == 36 * USEC_PER_HOUR);
        assert_string_equal(p->description, "two = 2; \"x\" # 3");
}

static void test_drop_ins(void **state)
{
        _cleanup_(config_freep) struct config *c = load_dir(SAMPLES "/drop-ins");
        const struct profile *p;

        (void)state;
        assert_words(&c->access_order, "root @lockdown");
        assert_words(&c->access_lift, "@night-shift");
        assert_int_equal(c->n_profiles, 3);
        assert_string_equal(c->profiles[0]->name, "everybody");
        assert_string_equal(c->profiles[1]->name, "lab");
        assert_string_equal(c->profiles[2]->name, "staff");

        p = config_find(c, "staff");
        assert_string_equal(p->description, "From the last drop-in");
        assert_words(&p->groups, "staff contractors");
        assert_words(&p->allow, "internal 203.0.113.10:443/tcp");
        assert_words(&p->loopback_deny, "8080 8888-8890"); /* instead of the built-in ones */
        assert_string_equal(p->dns, "10.0.0.53 fd00::53");
        assert_true(p->default_duration == 0);
        assert_true(p->max_duration == USEC_PER_DAY);
        assert_string_equal(p->file, SAMPLES "/drop-ins/lockdownd.conf");
        assert_string_equal(p->groups.items[1].file, SAMPLES "/drop-ins/lockdownd.conf.d/10-more.conf");

        p = config_find(c, "lab");
        assert_words(&p->allow, "none");
        assert_int_equal(p->destinations.allow4.n + p->destinations.allow6.n, 0);
        assert_int_equal(p->loopback_deny.n, 0);
        assert_true(config_find(c, "everybody")->everyone);
        assert_null(config_find(c, "nobody"));
}

static void test_annotated(void **state)
{
        _cleanup_(config_freep) struct config *c = load_dir(SAMPLES "/annotated");
        const struct profile *p = config_find(c, "staff");

        (void)state;
        assert_words(&c->access_order, "root @lockdown");
        assert_string_equal(p->description, "Internet ban for staff, ticket #4711");
        assert_words(&p->groups, "staff contractors");
        assert_words(&p->allow, "internal 203.0.113.10:443/tcp");
        assert_words(&p->loopback_deny, "3128 8118 9050");
        assert_true(p->default_duration == 0);
}

/* The configuration as shipped: it loads, changes nothing, and so do its examples without their "#". */
static void test_shipped(void **state)
{
        _cleanup_(config_freep) struct config *shipped = load_dir("conf"), *examples = NULL;
        _cleanup_fclose_ FILE *f = fopen("conf/lockdownd.conf", "r");
        char text[14000] = "", line[512];
        const struct profile *p;

        (void)state;
        assert_default(shipped);
        assert_non_null(f);
        while (fgets(line, sizeof(line), f)) {
                bool example = line[0] == '#' && line[1] != ' ' && line[1] != '\n';

                assert_true(strlen(text) + strlen(line) < sizeof(text));
                strcat(text, line + example);
        }
        examples = load(text, NULL);
        p = config_find(examples, "staff");
        assert_words(&p->groups, "staff contractors");
        assert_int_equal(p->destinations.service4.n, 1);
        assert_int_equal(p->destinations.service6.n, 1);
        assert_true(config_find(examples, "isolate")->max_duration == USEC_PER_DAY);
}

static char *write_config(const struct config *c)
{
        char *text = NULL;
        size_t size = 0;
        FILE *f = open_memstream(&text, &size);

        assert_non_null(f);
        assert_int_equal(config_write(c, f), 0);
        fclose(f);
        return text;
}

static void assert_equal_profiles(const struct profile *a, const struct profile *b)
{
        assert_string_equal(a->name, b->name);
        assert_true(profile_same_block(a, b));
        assert_string_equal(a->description ? a->description : "", b->description ? b->description : "");
        assert_true(a->default_duration == b->default_duration && a->max_duration == b->max_duration);
        assert_true(words_equal(&a->groups, &b->groups) && words_equal(&a->users, &b->users));
        assert_true(words_equal(&a->loopback_deny, &b->loopback_deny));
}

static void assert_writes_back(const struct config *c)
{
        _cleanup_free_ char *written = write_config(c), *again = NULL;
        _cleanup_(config_freep) struct config *back = load(written, NULL);

        assert_true(words_equal(&c->access_order, &back->access_order));
        assert_true(words_equal(&c->access_lift, &back->access_lift));
        assert_true(words_equal(&c->access_status, &back->access_status));
        assert_int_equal(c->n_profiles, back->n_profiles);
        for (size_t i = 0; i < c->n_profiles; i++)
                assert_equal_profiles(c->profiles[i], back->profiles[i]);
        again = write_config(back);
        assert_string_equal(written, again);
}

static void test_write(void **state)
{
        _cleanup_(config_freep) struct config *drop_ins = load_dir(SAMPLES "/drop-ins"),
                                              *annotated = load_dir(SAMPLES "/annotated"),
                                              *builtin = config_new_default(), *many = NULL;
        char text[16384] = "[Profile many]\n";

        (void)state;
        assert_writes_back(builtin);
        assert_writes_back(drop_ins);
        assert_writes_back(annotated);
        for (int i = 0; i < 400; i++)
                snprintf(text + strlen(text), sizeof(text) - strlen(text), "Users=somebody-%d\n", i);
        many = load(text, NULL); /* more than fits on a line */
        assert_int_equal(many->profiles[0]->users.n, 400);
        assert_writes_back(many);
}

static void test_write_fails(void **state)
{
        _cleanup_(config_freep) struct config *c = config_new_default();
        _cleanup_fclose_ FILE *full = fopen("/dev/full", "w");

        (void)state;
        assert_non_null(full);
        assert_int_equal(config_write(c, full), -ENOSPC);
}

static void test_nearest(void **state)
{
        _cleanup_(config_freep) struct config *c =
                load("[Profile staff]\nUsers=x\n[Profile isolate]\nUsers=x\n[Profile lab]\nUsers=x\n", NULL);
        static const struct {
                const char *name, *nearest;
        } table[] = {
                {"staf", "staff"},      {"stfaf", "staff"},   {"Staff", "staff"},
                {"stuff", "staff"},     {"sttafff", "staff"}, {"isolated", "isolate"},
                {"iosalte", "isolate"}, {"lap", "lab"},       {"blabla", NULL},
                {"students", NULL},     {"x", NULL},          {"", NULL},
                {"xyz", NULL},
        };

        (void)state;
        for (size_t i = 0; i < ELEMENTSOF(table); i++) {
                const char *nearest = config_nearest(c, table[i].name);

                if (!table[i].nearest != !nearest || (nearest && strcmp(nearest, table[i].nearest) != 0))
                        fail_msg("%s: %s", table[i].name, nearest ? nearest : "none");
        }
        assert_null(
                config_nearest(c, "a-name-that-is-much-longer-than-anything-somebody-types-for-staff-staff"));
}

/* Loads what is at P and compares the only sentence. */
static void assert_refused(const struct place *p, const char *sentence)
{
        _cleanup_problems_ struct problems problems = {};
        struct config *c = NULL;

        assert_int_equal(config_load(p->dir, &c, &problems), -EINVAL);
        assert_int_equal(problems.n, 1);
        assert_string_equal(without_dir(p, problems.items[0]), sentence);
}

static void test_files(void **state)
{
        _cleanup_free_ char *big = malloc(1024 * 1024 + 1);
        _cleanup_place_ struct place p;

        (void)state;
        place_make(&p);
        assert_int_equal(mkdir(p.file, 0755), 0);
        assert_refused(&p, "lockdownd.conf: is not a regular file");
        assert_int_equal(rmdir(p.file), 0);
        assert_int_equal(mkfifo(p.file, 0644), 0); /* must not hang either */
        assert_refused(&p, "lockdownd.conf: is not a regular file");
        assert_int_equal(unlink(p.file), 0);
        assert_int_equal(symlink("lockdownd.conf", p.file), 0);
        assert_refused(&p, "lockdownd.conf: cannot be read: Too many levels of symbolic links");
        assert_int_equal(unlink(p.file), 0);

        write_file(p.file, "", 0);
        assert_int_equal(chmod(p.file, 0646), 0);
        assert_refused(&p, "lockdownd.conf: can be written by everybody; take that away (chmod o-w)");
        assert_int_equal(chmod(p.file, 0644), 0);
        assert_non_null(big);
        memset(big, '\n', 1024 * 1024 + 1);
        write_file(p.file, big, 1024 * 1024 + 1);
        assert_refused(&p, "lockdownd.conf: is larger than 1048576 bytes");
        write_file(p.file, "", 0);

        write_file(p.drop_ins, "", 0);
        assert_refused(&p, "lockdownd.conf.d: is not a directory");
        assert_int_equal(unlink(p.drop_ins), 0);
        assert_int_equal(mkdir(p.drop_ins, 0755), 0);
        assert_int_equal(chmod(p.drop_ins, 0777), 0);
        assert_refused(&p, "lockdownd.conf.d: can be written by everybody; take that away (chmod o-w)");
        assert_int_equal(chmod(p.drop_ins, 0755), 0);
        config_free(load_dir(p.dir));
}

static void test_dangling_drop_in(void **state)
{
        _cleanup_place_ struct place p;
        char link[160];

        (void)state;
        place_make(&p);
        assert_int_equal(mkdir(p.drop_ins, 0755), 0);
        snprintf(link, sizeof(link), "%s/10.conf", p.drop_ins);
        assert_int_equal(symlink("/nonexistent", link), 0);
        assert_refused(&p, "lockdownd.conf.d/10.conf: cannot be read: No such file or directory");
        assert_int_equal(unlink(link), 0);
}

/* Changes SIZE bytes of TEXT, which has room for 2000 more, at random; returns the new size. */
static size_t mutate(char *text, size_t size, unsigned *seed)
{
        static const char *const snippets[] = {
                "[Profile p]\nUsers=x\n",
                "[Access]\n",
                "Allow=",
                "10.0.0.0/8 ",
                "[::1]:53-99/tcp ",
                "=",
                ":",
                "]",
                "[",
                "\\\n",
                "#",
                " ;",
                "\n",
                "\r\n",
                "\t",
                "DNS=10.0.0.1 fd00::1\n",
                "LoopbackDeny=1-9 5-65535\n",
                "MaxDuration=99999999999999999999w\n",
                "\xff",
                "\xef\xbb\xbf",
                "Everyone=yes\n",
                "[Profile q]\n",
        };

        for (int i = rand_r(seed) % 4; i >= 0; i--) {
                const char *snippet = snippets[(size_t)rand_r(seed) % ELEMENTSOF(snippets)];
                size_t at = (size_t)rand_r(seed) % size, length = strlen(snippet),
                       cut = (size_t)rand_r(seed) % 20;

                if (rand_r(seed) % 8 == 0)
                        text[at] = (char)rand_r(seed);
                else if (rand_r(seed) % 3 == 0 && at + cut < size) {
                        memmove(text + at, text + at + cut, size - at - cut);
                        size -= cut;
                } else {
                        memmove(text + at + length, text + at, size - at);
                        memcpy(text + at, snippet, length);
                        size += length;
                }
        }
        return size;
}

/* The shipped file with its examples in force; returns its size. */
static size_t read_examples(char *text, size_t size)
{
        _cleanup_fclose_ FILE *f = fopen("conf/lockdownd.conf", "r");
        size_t n;

        assert_non_null(f);
        n = fread(text, 1, size, f);
        for (size_t i = 0; i + 1 < n; i++)
                if (text[i] == '#' && (i == 0 || text[i - 1] == '\n') && text[i + 1] != ' ' &&
                    text[i + 1] != '\n')
                        text[i] = ' ';
        return n;
}

/* Whatever the text, it loads or it says why not, in sentences the bus can carry; and what loads can be
 * written and read again. */
static void test_mutations(void **state)
{
        unsigned seed = 42, loaded = 0, refused = 0;
        char original[14000], text[16000];
        size_t n = read_examples(original, sizeof(original));
        _cleanup_place_ struct place p;

        (void)state;
        place_make(&p);
        for (int round = 0; round < 3000; round++) {
                _cleanup_(config_freep) struct config *c = NULL;
                _cleanup_problems_ struct problems problems = {};
                int r;

                memcpy(text, original, n);
                write_file(p.file, text, mutate(text, n, &seed));
                r = config_load(p.dir, &c, &problems);
                for (size_t i = 0; i < problems.n; i++) {
                        _cleanup_json_ json_t *utf8 = json_string(problems.items[i]);

                        assert_non_null(utf8);
                        assert_memory_equal(without_dir(&p, problems.items[i]), "lockdownd.conf:", 15);
                }
                if (r < 0) {
                        assert_int_equal(r, -EINVAL);
                        assert_null(c);
                        assert_true(problems.n > 0);
                        refused++;
                        continue;
                }
                assert_int_equal(problems.n, 0);
                loaded++;
                for (size_t i = 0; i < c->n_profiles; i++) {
                        _cleanup_json_ json_t *j = profile_to_json(c->profiles[i]);

                        assert_non_null(j);
                }
                if (round % 10 == 0)
                        assert_writes_back(c);
        }
        assert_true(loaded > 100 && refused > 100); /* or it would be no test of either */
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_mistakes_one_by_one),
                cmocka_unit_test(test_all_mistakes_at_once),
                cmocka_unit_test(test_long_lines),
                cmocka_unit_test(test_not_text),
                cmocka_unit_test(test_defaults),
                cmocka_unit_test(test_values),
                cmocka_unit_test(test_drop_ins),
                cmocka_unit_test(test_annotated),
                cmocka_unit_test(test_shipped),
                cmocka_unit_test(test_write),
                cmocka_unit_test(test_write_fails),
                cmocka_unit_test(test_nearest),
                cmocka_unit_test(test_files),
                cmocka_unit_test(test_dangling_drop_in),
                cmocka_unit_test(test_mutations),
        };

        return cmocka_run_group_tests_name("config", tests, NULL, NULL);
}
