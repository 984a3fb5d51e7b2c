/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config-place.h"
#include "timespan.h"

static void assert_default(const struct config *c)
{
        assert_int_equal(c->n_profiles, 0);
        assert_words(&c->access_order, "root");
        assert_words(&c->access_lift, "root");
        assert_words(&c->access_status, "*");
        assert_true(record_bounds_equal(&c->record, &record_defaults));
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
        assert_false(p->everyone || p->include_root || p->forward_deny || p->sessions ||
                     p->end_remote_sessions);
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
                 "RemoteSessions=keep\nRemoteSessions=end\n"
                 "LoopbackDeny=\nAllow=\nDNS=10.0.0.53\nDNS=\nDefaultDuration=8h\nDefaultDuration=90min\n"
                 "MaxDuration=1d 12h\nDescription=one\nDescription=two = 2; \"x\" # 3\n",
                 NULL);
        p = c->profiles[0];
        assert_words(&c->access_order, "root"); /* an emptied list is root's alone */
        assert_words(&c->access_lift, "alice 1000 @night");
        assert_words(&c->access_status, "root");
        assert_words(&p->users, "root bob");
        assert_true(p->include_root && p->forward_deny && !p->second_lock && p->end_remote_sessions);
        assert_int_equal(p->loopback_deny.n, 0);
        assert_int_equal(p->destinations.n_loopback_deny, 0);
        assert_null(p->dns);
        assert_true(p->default_duration == 90 * USEC_PER_MINUTE);
        assert_true(p->max_duration == 36 * USEC_PER_HOUR);
        assert_string_equal(p->description, "two = 2; \"x\" # 3");
}

static void test_record(void **state)
{
        static const struct {
                const char *text;
                uint64_t keep_for, keep_orders, keep_size;
        } samples[] = {
                {"KeepFor=90d\nKeepOrders=5\nKeepSize=4096\n", 90 * USEC_PER_DAY, 5, 4096},
                {"KeepFor=infinity\nKeepOrders=infinity\nKeepSize=infinity\n", RECORD_UNBOUNDED,
                 RECORD_UNBOUNDED, RECORD_UNBOUNDED},
                {"KeepFor=1d 12h\nKeepOrders=1\nKeepSize=20k\n", 36 * USEC_PER_HOUR, 1, 20480},
                {"KeepFor=1s\nKeepOrders=99999999\nKeepSize=3M\n", USEC_PER_SEC, 99999999, UINT64_C(3) << 20},
                {"KeepSize=2T\nKeepFor=3652d\nKeepOrders=7\nKeepOrders=8\n", 3652 * USEC_PER_DAY, 8,
                 UINT64_C(2) << 40},
                {"KeepFor=1d\nKeepFor=\nKeepOrders=1\nKeepOrders=\nKeepSize=1\nKeepSize=\n",
                 730 * USEC_PER_DAY, 10000, UINT64_C(1) << 30},
        };

        (void)state;
        for (size_t i = 0; i < ELEMENTSOF(samples); i++) {
                _cleanup_(config_freep) struct config *c = NULL, *again = NULL;
                _cleanup_free_ char *written = NULL;
                char text[256];
                size_t size;
                FILE *f = open_memstream(&written, &size);

                snprintf(text, sizeof(text), "[Record]\n%s", samples[i].text);
                c = load(text, NULL);
                assert_true(c->record.keep_for == samples[i].keep_for);
                assert_true(c->record.keep_orders == samples[i].keep_orders);
                assert_true(c->record.keep_size == samples[i].keep_size);
                assert_int_equal(config_write(c, f), 0);
                fclose(f);
                again = load(written, NULL);
                assert_true(record_bounds_equal(&c->record, &again->record));
        }
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
                cmocka_unit_test(test_defaults),  cmocka_unit_test(test_values),
                cmocka_unit_test(test_record),    cmocka_unit_test(test_drop_ins),
                cmocka_unit_test(test_annotated), cmocka_unit_test(test_shipped),
                cmocka_unit_test(test_write),     cmocka_unit_test(test_write_fails),
                cmocka_unit_test(test_nearest),   cmocka_unit_test(test_mutations),
        };

        return cmocka_run_group_tests_name("config", tests, NULL, NULL);
}
