// SPDX-License-Identifier: GPL-2.0-or-later
/* The edge to nf_tables against the real kernel, in a network namespace: what is written, read back,
 * compared, owned. What packets make of it is test-nft-packets.c's. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "nft-load.h"

/* What nft(8) prints of the tables, without what only ownership adds. */
static char *listing(void)
{
        FILE *p = popen("nft -n list ruleset | sed -e 's/ # progname.*//' -e '/flags owner/,+1d'", "re");
        char *text = NULL;
        size_t size = 0;

        assert_non_null(p);
        if (getdelim(&text, &size, '\0', p) < 0) {
                free(text);
                text = strdup("");
        }
        assert_int_equal(pclose(p), 0);
        return text;
}

/* nft(8) knows control groups by their path only, so its text has none. */
static void forget_units(struct fixture *f, const struct ruleset *r)
{
        _cleanup_batch_ struct nft_batch b = {0};

        nft_batch_begin(&b, f->nft, ruleset_table(r));
        nft_flush_set(&b, ruleset_table(r), SET_UNITS);
        assert_int_equal(nft_batch_send(&b, NULL), 0);
}

/* The kernel, through nft(8)'s eyes, holds the same table whether we or nft(8) itself wrote it from the
 * golden text. */
static void test_same_as_golden_text(void **state)
{
        struct fixture *f = prepare(state, NULL);

        for (size_t i = 0; i < ELEMENTSOF(ruleset_cases); i++) {
                const struct ruleset_case *c = &ruleset_cases[i];
                _cleanup_input_ struct ruleset_input in = {0};
                _cleanup_(ruleset_freep) struct ruleset *r = NULL;
                _cleanup_free_ char *ours = NULL, *theirs = NULL;
                char *error = NULL;

                fill_input(&in, c);
                r = build_ruleset(&in, c, NULL, 0);
                load(f, r, true);
                if (c->units)
                        forget_units(f, r);
                ours = listing();
                assert_non_null(strstr(ours, "hook postrouting"));
                assert_done(nft_delete(f->nft, c->name, &error), error);

                assert_true(shell("nft -c -f tests/golden/%s.nft", c->name));
                assert_true(shell("nft -f tests/golden/%s.nft", c->name));
                theirs = listing();
                assert_string_equal(ours, theirs);
                assert_true(shell("nft flush ruleset"));
        }
}

/* Created, staged, read and compared: every case, also where the kernel knows no ownership. */
static void test_life_of_a_table(void **state)
{
        struct fixture *f = prepare(state, NULL);

        for (size_t i = 0; i < 2 * ELEMENTSOF(ruleset_cases); i++) {
                const struct ruleset_case *c = &ruleset_cases[i / 2];
                static const uint64_t cgroups[] = {4711, 815};
                _cleanup_input_ struct ruleset_input in = {0}, back = {0};
                _cleanup_(ruleset_freep) struct ruleset *r = NULL;
                _cleanup_free_ uint64_t *units = NULL;
                bool forward_deny = !c->forward_deny;
                char *error = NULL;
                size_t n_units = 99;

                if (i % 2 == 1)
                        f->nft->table_flags = 0;
                fill_input(&in, c);
                r = build_ruleset(&in, c, cgroups, c->sessions ? 2 : 0);
                load(f, r, false);
                assert_done(nft_engage(f->nft, r, &error), error);
                assert_same(f, r, true);
                assert_int_equal(nft_verify(f->nft, r, false, &error), 1);
                free(error);
                error = NULL;

                assert_int_equal(
                        nft_read_back(f->nft, c->name, &back.subjects, &back.destinations, &forward_deny), 0);
                assert_true(subjects_equal(&in.subjects, &back.subjects));
                assert_true(destinations_equal(&in.destinations, &back.destinations));
                assert_int_equal(forward_deny, c->forward_deny);
                assert_int_equal(nft_read_units(f->nft, c->name, &units, &n_units), 0);
                assert_int_equal(n_units, c->units ? 2 : 0);
                assert_true(!c->units || (units[0] == 816 && units[1] == 4712));

                assert_done(nft_disengage(f->nft, r, &error), error);
                assert_same(f, r, false);
                /* Once more is no harm. */
                assert_done(nft_disengage(f->nft, r, &error), error);
                load(f, r, true);
                assert_done(nft_delete(f->nft, c->name, &error), error);
                assert_done(nft_delete(f->nft, c->name, &error), error);
                assert_int_equal(nft_verify(f->nft, r, false, &error), 1);
                assert_non_null(strstr(error, "is gone"));
                free(error);
                f->nft->table_flags = nft_owns_tables(f->nft) ? f->nft->table_flags : 0;
        }
}

static void test_read_back_nothing(void **state)
{
        struct fixture *f = prepare(state, NULL);
        struct subjects s;
        struct destinations d;
        struct attempts a;
        uint64_t packets, bytes;
        bool forward;
        char *error = NULL;

        assert_int_equal(nft_read_back(f->nft, "none", &s, &d, &forward), -ENOENT);
        assert_int_equal(nft_read_attempts(f->nft, "none", &a), -ENOENT);
        assert_int_equal(nft_read_refused(f->nft, "none", &packets, &bytes), -ENOENT);
        assert_int_equal(nft_adopt(f->nft, "none", &error), -ENOENT);
        assert_non_null(error);
        free(error);
}

/* An error names the object, and nothing of the transaction stays. */
static void test_error_names_the_object(void **state)
{
        struct fixture *f = prepare(state, "staff");
        _cleanup_free_ char *before = NULL, *after = NULL;
        char *error = NULL;

        load(f, f->r, true);
        before = listing();
        assert_int_equal(nft_engage(f->nft, f->r, &error), -EEXIST);
        assert_string_equal(error, "the kernel refused chain output of table lockdown-staff: File exists");
        free(error);

        assert_true(shell("nft add table inet other"));
        assert_true(shell("nft delete table inet other"));
        after = listing();
        assert_string_equal(before, after);
        assert_same(f, f->r, true);

        error = NULL;
        assert_done(nft_delete(f->nft, "staff", &error), error);
        assert_int_equal(nft_engage(f->nft, f->r, &error), -ENOENT);
        assert_non_null(strstr(error, "chain output of table lockdown-staff: No such file or directory"));
        free(error);
        error = NULL;
        assert_int_equal(nft_disengage(f->nft, f->r, &error), -ENOENT);
        assert_non_null(error);
        free(error);
}

/* Whatever somebody else does to a table that cannot be owned is found. */
static void test_tampering_is_found(void **state)
{
        static const struct {
                const char *command, *difference;
        } cases[] = {
                {"nft insert rule inet lockdown-staff subjects accept",
                 "has another rule 1 in chain subjects"},
                {"nft insert rule inet lockdown-staff output accept", "has another rule 1 in chain output"},
                {"nft add rule inet lockdown-staff refuse accept",
                 "has a rule too many at the end of chain refuse"},
                {"nft flush chain inet lockdown-staff subjects_last",
                 "has rules missing in chain subjects_last"},
                {"nft delete rule inet lockdown-staff destinations handle $(nft -a list chain inet "
                 "lockdown-staff "
                 "destinations | sed -n 's/.*goto refuse # handle //p' | tail -1)",
                 "has rules missing in chain destinations"},
                {"nft delete element inet lockdown-staff uids '{ 1000 }'",
                 "has set uids with 1 elements missing and 0 added"},
                {"nft add element inet lockdown-staff allow4 '{ 8.8.8.0/24 }'",
                 "has set allow4 with 0 elements missing and 1 added"},
                {"nft delete element inet lockdown-staff uid_ranges '{ 100000-165535 }'",
                 "has set uid_ranges with 1 elements missing and 0 added"},
                {"nft add element inet lockdown-staff except_uids '{ 1000 }'",
                 "has set except_uids with 0 elements missing and 1 added"},
                {"nft add element inet lockdown-staff allow4_service '{ 8.8.8.8 . tcp . 443 }'",
                 "has set allow4_service with 0 elements missing and 1 added"},
                {"nft delete chain inet lockdown-staff postrouting", "lacks chain postrouting"},
                {"nft 'delete chain inet lockdown-staff output; add chain inet lockdown-staff output { type "
                 "filter hook "
                 "output priority 5; }; add rule inet lockdown-staff output jump subjects'",
                 "has chain output at priority 5 instead of -310"},
                {"nft 'delete chain inet lockdown-staff output; add chain inet lockdown-staff output { type "
                 "filter hook "
                 "input priority -310; }; add rule inet lockdown-staff output jump subjects'",
                 "has chain output hooked up elsewhere"},
                {"nft chain inet lockdown-staff output '{ policy drop; }'",
                 "has chain output with another policy"},
                {"nft add chain inet lockdown-staff mine", "has a chain that does not belong there: mine"},
                {"nft add set inet lockdown-staff mine '{ type uid; }'",
                 "has a set that does not belong there: mine"},
                {"nft add table inet lockdown-staff '{ flags dormant; }'", "is dormant"},
                {"nft delete table inet lockdown-staff", "is gone"},
        };
        struct fixture *f = prepare(state, "staff");

        f->nft->table_flags = 0;
        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                _cleanup_free_ char *difference = NULL;

                load(f, f->r, true);
                if (!shell("%s", cases[i].command))
                        fail_msg("failed: %s", cases[i].command);
                if (nft_verify(f->nft, f->r, true, &difference) != 1)
                        fail_msg("not found: %s", cases[i].command);
                if (!strstr(difference, cases[i].difference))
                        fail_msg("%s: \"%s\", not \"%s\"", cases[i].command, difference, cases[i].difference);
        }
}

/* An element that matches every address; nft(8) cannot write it into such a set, but somebody else might. */
static void test_catch_all_is_found(void **state)
{
        enum { CATCH_ALL = 0x2 };
        struct fixture *f = prepare(state, "staff");
        _cleanup_batch_ struct nft_batch b = {0};
        struct nlmsghdr *message;
        struct nlattr *list, *element;
        char *error = NULL;

        load(f, f->r, true);
        nft_batch_begin(&b, f->nft, "lockdown-staff");
        message = nft_batch_message(&b, NFT_MSG_NEWSETELEM, NLM_F_CREATE, "element", "all");
        mnl_attr_put_strz(message, NFTA_SET_ELEM_LIST_TABLE, "lockdown-staff");
        mnl_attr_put_strz(message, NFTA_SET_ELEM_LIST_SET, "allow4");
        list = mnl_attr_nest_start(message, NFTA_SET_ELEM_LIST_ELEMENTS);
        element = mnl_attr_nest_start(message, NFTA_LIST_ELEM);
        mnl_attr_put_u32(message, NFTA_SET_ELEM_FLAGS, htonl(CATCH_ALL));
        mnl_attr_nest_end(message, element);
        mnl_attr_nest_end(message, list);
        nft_batch_add(&b, message);
        assert_done(nft_batch_send(&b, &error), error);
        assert_true(gets_out(&f->net, member, "8.8.8.8:1000/udp"));

        assert_int_equal(nft_verify(f->nft, f->r, true, &error), 1);
        assert_string_equal(error, "table lockdown-staff has elements in set allow4 that make no sense");
        free(error);
        load(f, f->r, true);
        assert_false(gets_out(&f->net, member, "8.8.8.8:1000/udp"));
}

/* A sequence of memberships, each made of the one before by an update. */
static void test_updates(void **state)
{
        static const struct {
                struct idrange uids, ranges, gids;
        } steps[] = {
                {{1000, 1003}, {100000, 165535}, {1100, 1100}},     /* one more */
                {{1000, 1001}, {100000, 165535}, {1100, 1100}},     /* two fewer */
                {{1000, 1001}, {100000, 231071}, {1100, 1101}},     /* a range grows */
                {{1000, 1001}, {110000, 120000}, {1101, 1101}},     /* and shrinks */
                {{1000, 1020}, {4000000000U, 4294967295U}, {7, 7}}, /* to the very top: other bounds */
                {{2000, 2010}, {0, 0}, {0, 0}},                     /* none left of two kinds */
                {{2000, 2010}, {100000, 165535}, {1100, 1100}},     /* and back */
        };
        struct fixture *f = prepare(state, "staff");

        load(f, f->r, true);
        for (size_t i = 0; i < ELEMENTSOF(steps); i++) {
                struct ruleset *next;
                struct subjects *s = &f->in.subjects;
                char *error = NULL;

                idset_clear(&s->uids);
                idset_clear(&s->uid_ranges);
                idset_clear(&s->gids);
                append_id(&s->uids, steps[i].uids.first, steps[i].uids.last);
                if (steps[i].ranges.last > 0) {
                        append_id(&s->uid_ranges, steps[i].ranges.first, steps[i].ranges.last);
                        append_id(&s->gids, steps[i].gids.first, steps[i].gids.last);
                }
                next = build_ruleset(&f->in, find_case("staff"), NULL, 0);
                assert_true(ruleset_same_structure(f->r, next));
                assert_done(nft_update(f->nft, f->r, next, &error), error);
                ruleset_free(f->r);
                f->r = next;
                assert_same(f, f->r, true);
        }
}

/* The destinations may change by an update, too. */
static void test_update_destinations(void **state)
{
        struct fixture *f = prepare(state, "services");
        _cleanup_input_ struct ruleset_input in = {0};
        _cleanup_(ruleset_freep) struct ruleset *next = NULL;
        struct ruleset_case other = *find_case("services");
        char *error = NULL;

        load(f, f->r, true);
        other.allow[1] = "203.0.113.10:440-450/tcp";
        other.allow[2] = "0.0.0.0/1";
        other.allow[3] = NULL;
        fill_input(&in, &other);
        next = build_ruleset(&in, &other, NULL, 0);
        assert_true(ruleset_same_structure(f->r, next));
        assert_done(nft_update(f->nft, f->r, next, &error), error);
        assert_same(f, next, true);
        assert_done(nft_update(f->nft, next, f->r, &error), error);
        assert_same(f, f->r, true);
}

static void test_update_of_another_structure(void **state)
{
        struct fixture *f = prepare(state, "staff");
        _cleanup_input_ struct ruleset_input in = {0};
        _cleanup_(ruleset_freep) struct ruleset *other = NULL;
        char *error = NULL;

        load(f, f->r, true);
        fill_input(&in, find_case("everyone"));
        other = build_ruleset(&in, find_case("everyone"), NULL, 0);
        assert_int_equal(nft_update(f->nft, f->r, other, &error), -EINVAL);
        assert_non_null(error);
        free(error);
        assert_same(f, f->r, true);
}

/* What an update cannot do to the kernel's table it does not do by half. */
static void test_update_of_a_tampered_table(void **state)
{
        struct fixture *f = prepare(state, "staff");
        _cleanup_(ruleset_freep) struct ruleset *next = NULL;
        _cleanup_free_ char *before = NULL, *after = NULL, *error = NULL;

        f->nft->table_flags = 0;
        load(f, f->r, true);
        assert_true(shell("nft delete element inet lockdown-staff uids '{ 1000 }'"));
        before = listing();
        idset_clear(&f->in.subjects.uids);
        append_id(&f->in.subjects.uids, 1001, 1010);
        next = build_ruleset(&f->in, find_case("staff"), NULL, 0);
        assert_int_equal(nft_update(f->nft, f->r, next, &error), -ENOENT);
        assert_non_null(strstr(error, "the removal from set uids of table lockdown-staff"));
        after = listing();
        assert_string_equal(before, after);
        load(f, next, true);
}

struct other_daemon {
        pid_t pid;
        int stop; /* closing it ends the process */
};

/* Another process that holds R engaged. */
static struct other_daemon start_other(const struct ruleset *r)
{
        int ready[2], stop[2];
        struct other_daemon other;
        char byte;

        assert_int_equal(pipe(ready), 0);
        assert_int_equal(pipe(stop), 0);
        other = (struct other_daemon){.pid = fork(), .stop = stop[1]};
        assert_true(other.pid >= 0);
        if (other.pid == 0) {
                struct nft *nft = NULL;

                close(stop[1]);
                if (nft_open(&nft, NULL) < 0 || nft_replace(nft, r, true, NULL) < 0 ||
                    write(ready[1], "", 1) != 1)
                        _exit(1);
                (void)!read(stop[0], &byte, 1);
                _exit(0);
        }
        close(stop[0]);
        assert_int_equal(read(ready[0], &byte, 1), 1);
        close(ready[0]);
        close(ready[1]);
        return other;
}

static void stop_other(struct other_daemon other)
{
        int status;

        close(other.stop);
        assert_int_equal(waitpid(other.pid, &status, 0), other.pid);
        assert_int_equal(status, 0);
}

static void assert_listed(struct fixture *f, bool owned, bool foreign, bool engaged)
{
        struct nft_table *tables = NULL;
        size_t n = 0;

        assert_int_equal(nft_list(f->nft, &tables, &n), 0);
        assert_int_equal(n, 1);
        assert_string_equal(tables[0].name, "staff");
        assert_int_equal(tables[0].owned, owned);
        assert_int_equal(tables[0].foreign, foreign);
        assert_int_equal(tables[0].engaged, engaged);
        nft_tables_free(tables, n);
}

static void test_ownership(void **state)
{
        struct fixture *f = prepare(state, "staff");
        struct other_daemon other;
        char *error = NULL;

        if (!nft_owns_tables(f->nft)) {
                print_message("skipped: tables cannot be owned and persistent before Linux 6.9\n");
                skip();
        }
        /* Not ours: neither its name nor its family is. */
        assert_true(shell("nft 'add table inet lockdow; add table ip lockdown-v4'"));
        other = start_other(f->r);
        assert_listed(f, false, true, true);
        assert_int_equal(nft_adopt(f->nft, "staff", &error), -EPERM);
        assert_non_null(strstr(error, "another lockdownd is running"));
        free(error);
        error = NULL;
        assert_int_equal(nft_delete(f->nft, "staff", &error), -EPERM);
        assert_non_null(strstr(error, "the kernel refused the removal of table lockdown-staff"));
        free(error);
        error = NULL;

        /* Its owner dies: the table stays, and refuses. */
        stop_other(other);
        assert_listed(f, false, false, true);
        assert_false(gets_out(&f->net, member, "8.8.8.8:1000/udp"));
        assert_done(nft_adopt(f->nft, "staff", &error), error);
        assert_listed(f, true, false, true);
        assert_same(f, f->r, true);
        assert_done(nft_adopt(f->nft, "staff", &error), error);

        assert_false(shell("nft delete table inet lockdown-staff 2>/dev/null"));
        assert_false(shell("nft insert rule inet lockdown-staff subjects accept 2>/dev/null"));
        assert_true(shell("nft flush ruleset"));
        assert_same(f, f->r, true);
        assert_false(gets_out(&f->net, member, "8.8.8.8:1000/udp"));

        /* An orphan can be replaced without having been adopted. */
        assert_done(nft_delete(f->nft, "staff", &error), error);
        other = start_other(f->r);
        stop_other(other);
        load(f, f->r, false);
        assert_listed(f, true, false, false);
}

static void assert_order(struct fixture *f, const char *order)
{
        struct nft_table *tables = NULL;
        size_t n = 0;

        assert_int_equal(nft_list(f->nft, &tables, &n), 0);
        assert_int_equal(n, 1);
        assert_string_equal(tables[0].order, order);
        nft_tables_free(tables, n);
}

/* The hooks say which order they are of, whatever happens to the table under them. */
static void test_hooks_name_their_order(void **state)
{
        static const char id[] = "0123456789abcdef0123456789abcdef";
        struct fixture *f = prepare(state, "staff");
        _cleanup_(ruleset_freep) struct ruleset *next = NULL;
        char *error = NULL;

        load(f, f->r, false);
        ruleset_set_order(f->r, id);
        assert_order(f, "");
        assert_done(nft_engage(f->nft, f->r, &error), error);
        assert_order(f, id);
        /* An update knows nothing of the order, and hooks up the table anew for the ranges' sake. */
        append_id(&f->in.subjects.uid_ranges, 500000, 565535);
        next = build_ruleset(&f->in, find_case("staff"), NULL, 0);
        assert_done(nft_update(f->nft, f->r, next, &error), error);
        assert_same(f, next, true);
        assert_order(f, id);
        load(f, f->r, true);
        assert_order(f, id);
        assert_done(nft_disengage(f->nft, f->r, &error), error);
        assert_order(f, "");
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                TEST(test_same_as_golden_text),
                TEST(test_life_of_a_table),
                TEST(test_read_back_nothing),
                TEST(test_error_names_the_object),
                TEST(test_tampering_is_found),
                TEST(test_catch_all_is_found),
                TEST(test_updates),
                TEST(test_update_destinations),
                TEST(test_update_of_another_structure),
                TEST(test_update_of_a_tampered_table),
                TEST(test_ownership),
                TEST(test_hooks_name_their_order),
        };

        return cmocka_run_group_tests_name("nft-kernel", tests, NULL, NULL);
}
