/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config-internal.h"
#include "config-place.h"

static void test_mistakes_one_by_one(void **state)
{
#define STAFF "[Profile staff]\nGroups=staff\n"
        static const struct {
                const char *text, *sentence;
        } table[] = {
                {"Groups=a\n",
                 "lockdownd.conf:1: Groups= stands before the first section; expected [Access], [Record] or "
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
                {"[General]\n", "lockdownd.conf:1: unknown section [General]; expected [Access], [Record] or "
                                "[Profile NAME]"},
                {"[Record]\nKeepFor=2y\n", "lockdownd.conf:2: KeepFor= expects a duration with units such as "
                                           "8h, 90min or 1d 12h, not \"2y\""},
                {"[Record]\nKeepOrders=0\n", "lockdownd.conf:2: KeepOrders= expects a number of orders, 1 or "
                                             "more, or infinity, not \"0\""},
                {"[Record]\nKeepOrders=10k\n", "lockdownd.conf:2: KeepOrders= expects a number of orders, 1 "
                                               "or more, or infinity, not \"10k\""},
                {"[Record]\nKeepOrders=99999999999999999999\n",
                 "lockdownd.conf:2: KeepOrders= expects a number of orders, 1 or more, or infinity, not "
                 "\"99999999999999999999\""},
                {"[Record]\nKeepSize=1GB\n",
                 "lockdownd.conf:2: KeepSize= expects bytes, a number with K, M, G or T, "
                 "or infinity, not \"1GB\""},
                {"[Record]\nKeepSize=99999999999T\n",
                 "lockdownd.conf:2: KeepSize= expects bytes, a number with K, M, G or T, "
                 "or infinity, not \"99999999999T\""},
                {"[Record]\nKeepOrder=5\n",
                 "lockdownd.conf:2: unknown key KeepOrder= in [Record]; did you mean KeepOrders=?"},
                {"[Access]\nKeepSize=1G\n",
                 "lockdownd.conf:2: KeepSize= belongs into [Record], not into [Access]"},
                {"[Recrod]\n", "lockdownd.conf:1: unknown section [Recrod]; did you mean [Record]?"},
                {"[]\n",
                 "lockdownd.conf:1: unknown section []; expected [Access], [Record] or [Profile NAME]"},
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
                {STAFF "Services=cups cups.socket\n",
                 "lockdownd.conf:3: Services= takes systemd units, not \"cups.socket\": name the .service, "
                 ".scope or .slice that has the processes"},
                {STAFF "Services=/usr/sbin/cupsd\n",
                 "lockdownd.conf:3: Services= takes systemd units, not \"/usr/sbin/cupsd\": expected a name "
                 "such as cups.service or container@*.service"},
                {STAFF "Services=-.slice\n", "lockdownd.conf:3: Services= takes systemd units, not "
                                             "\"-.slice\": that is everything on this "
                                             "machine; see Everyone=yes"},
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
        if (getenv("GOLDEN_UPDATE")) {
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

/* Loads what is at P and compares the only sentence. */
static void assert_refused(const struct place *p, const char *sentence)
{
        _cleanup_problems_ struct problems problems = {};
        struct config *c = NULL;

        assert_int_equal(config_load_trusted(p->dir, &c, &problems), -EINVAL);
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
        assert_int_equal(symlink("/nonexistent", p.file), 0); /* not the same as none at all */
        assert_refused(
                &p,
                "lockdownd.conf: is a symbolic link that leads to nothing; create the file, or remove the "
                "link");
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

/* Told once, whatever is found through it. */
static void test_a_directory_of_others(void **state)
{
        _cleanup_place_ struct place p;

        (void)state;
        place_make(&p);
        write_file(p.file, "", 0);
        assert_int_equal(mkdir(p.drop_ins, 0755), 0);
        assert_int_equal(chmod(p.dir, 0757), 0);
        {
                _cleanup_problems_ struct problems problems = {};
                struct config *c = NULL;

                assert_int_equal(config_load_trusted(p.dir, &c, &problems), -EINVAL);
                assert_int_equal(problems.n, 1);
                assert_non_null(strstr(problems.items[0], ": can be written by everybody; take that away"));
                assert_int_equal(config_load(p.dir, &c, NULL), 0);
                config_free(c);
        }
        assert_int_equal(chmod(p.dir, 0700), 0);
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

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_mistakes_one_by_one),
                cmocka_unit_test(test_all_mistakes_at_once),
                cmocka_unit_test(test_long_lines),
                cmocka_unit_test(test_not_text),
                cmocka_unit_test(test_files),
                cmocka_unit_test(test_a_directory_of_others),
                cmocka_unit_test(test_dangling_drop_in),
        };

        return cmocka_run_group_tests_name("config mistakes", tests, NULL, NULL);
}
