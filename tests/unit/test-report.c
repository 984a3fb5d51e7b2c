/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "profile-names.h"
#include "report.h"

#include <arpa/inet.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
/* cmocka wants the four above first */
#include <cmocka.h>

// wrap: nft_read_refused nft_owns_tables nft_why_no_frames route_is_local
int __wrap_nft_read_refused(struct nft *n, const char *name, uint64_t *packets, uint64_t *bytes);
bool __wrap_nft_owns_tables(const struct nft *n);
int __wrap_route_is_local(int family, const uint8_t addr[16], uint32_t uid);
const char *__wrap_nft_why_no_frames(const struct nft *n);

int __wrap_nft_read_refused(struct nft *n, const char *name, uint64_t *packets, uint64_t *bytes)
{
        (void)n;
        assert_string_equal(name, "staff");
        *packets = 40;
        *bytes = 4000;
        return 0;
}

const char *__wrap_nft_why_no_frames(const struct nft *n)
{
        (void)n;
        return NULL;
}

bool __wrap_nft_owns_tables(const struct nft *n)
{
        (void)n;
        return true;
}

/* 192.0.2.2 is this machine's. */
int __wrap_route_is_local(int family, const uint8_t addr[16], uint32_t uid)
{
        static const uint8_t own[4] = {192, 0, 2, 2};

        (void)uid;
        return family == AF_INET && memcmp(addr, own, sizeof(own)) == 0;
}

struct fixture {
        struct manager manager;
        struct lockdown lockdown;
        struct lockdown *list[1];
        struct config *config;
};

static const char id[] = "0123456789abcdef0123456789abcdef";

static void fixture_init(struct fixture *f)
{
        struct profile *p = profile_new("staff"), *copy;
        struct problems problems = {0};
        struct now now = {.realtime = UINT64_C(1480000000000000), .boottime = 5};

        memset(f, 0, sizeof(*f));
        assert_int_equal(words_add(&p->groups, "staff", "/etc/lockdownd/lockdownd.conf", 7), 0);
        assert_int_equal(profile_finish(p, &problems), 0);
        p->file = strdup("/etc/lockdownd/lockdownd.conf");
        p->line = 5;
        copy = profile_copy(p);
        memset(now.boot_id, '0', 32);
        f->lockdown.manager = &f->manager;
        f->lockdown.name = p->name;
        f->lockdown.profile = p;
        f->lockdown.configured = f->lockdown.have_members = f->lockdown.engaged = true;
        f->lockdown.order = order_new(copy, id, &now);
        f->lockdown.order->reason = strdup("IR-42");
        f->lockdown.order->refused_packets = 2;
        f->lockdown.order->refused_bytes = 200;
        assert_int_equal(idset_append(&f->lockdown.members.subjects.uids, 1000, 1001), 0);
        idset_normalize(&f->lockdown.members.subjects.uids);
        f->list[0] = &f->lockdown;
        f->manager.lockdowns = f->list;
        f->manager.n_lockdowns = 1;
        f->config = config_new_default();
        f->manager.config = f->config;
}

static void fixture_clear(struct fixture *f)
{
        order_free(f->lockdown.order);
        profile_free(f->lockdown.profile);
        membership_clear(&f->lockdown.members);
        free(f->lockdown.members_problem);
        free(f->lockdown.save_problem);
        free(f->lockdown.kernel_problem);
        free(f->lockdown.sessions_problem);
        config_free(f->config);
}

static void status_adds_what_replaced_tables_counted(void **state)
{
        const uint32_t uids[] = {1000, 1001};
        char alice[] = "alice";
        char *const names[] = {alice, NULL};
        const struct names table = {.uids = uids, .names = names, .n = 2};
        struct fixture f;
        json_t *status;
        const char *first, *second, *reason;
        json_int_t packets, bytes, users;

        (void)state;
        fixture_init(&f);
        status = report_status(&f.manager, NULL, &table, NULL);
        assert_non_null(status);
        assert_int_equal(json_unpack(status, "{s:[{s:s,s:{s:I,s:I},s:{s:I,s:[s,s]}}]}", "orders", "reason",
                                     &reason, "refused", "packets", &packets, "bytes", &bytes, "subjects",
                                     "users", &users, "names", &first, &second),
                         0);
        assert_int_equal(packets, 42);
        assert_int_equal(bytes, 4200);
        assert_int_equal(users, 2);
        assert_string_equal(first, "alice");
        assert_string_equal(second, "1001"); /* nameless ones by number */
        assert_string_equal(reason, "IR-42");
        assert_true(json_is_true(json_object_get(status, "in_force")));
        json_decref(status);
        fixture_clear(&f);
}

static void status_of_another_profile_is_not_in_force(void **state)
{
        struct fixture f;
        json_t *status;

        (void)state;
        fixture_init(&f);
        status = report_status(&f.manager, "other", NULL, NULL);
        assert_true(json_is_false(json_object_get(status, "in_force")));
        assert_int_equal(json_array_size(json_object_get(status, "orders")), 0);
        json_decref(status);
        fixture_clear(&f);
}

/* What an operator must not overlook is said in sentences, and the lock is not called in force. */
static void problems_become_warnings(void **state)
{
        struct fixture f;
        json_t *order;
        const char *nftables;
        int saved;

        (void)state;
        fixture_init(&f);
        set_problem(&f.lockdown.kernel_problem, "no memory for the table");
        set_problem(&f.lockdown.save_problem, "No space left on device");
        order = report_order(&f.lockdown, f.lockdown.order, NULL);
        assert_non_null(order);
        assert_int_equal(json_unpack(order, "{s:b,s:{s:s}}", "saved", &saved, "locks", "nftables", &nftables),
                         0);
        assert_false(saved);
        assert_non_null(strstr(nftables, "NOT in force"));
        assert_int_equal(json_array_size(json_object_get(order, "warnings")),
                         3); /* and: no way to cut connections */
        json_decref(order);
        fixture_clear(&f);
}

/* Which logins from outside a dry run names: with what is known of each. */
static void dry_run_names_sessions(void **state)
{
        const uint32_t uids[] = {1000};
        char alice[] = "alice", first[] = "12", second[] = "c3", host[] = "203.0.113.7";
        char *const names[] = {alice};
        const struct names table = {.uids = uids, .names = names, .n = 1};
        struct remote_session sessions[] = {{.id = first, .uid = 1000, .host = host},
                                            {.id = second, .uid = 1001}};
        const struct would_end would = {.sockets = 3, .sessions = sessions, .n_sessions = 2};
        struct fixture f;
        json_t *document, *expected;

        (void)state;
        fixture_init(&f);
        document = report_dry_run(&f.lockdown, f.lockdown.order, "table", &would, &table);
        assert_non_null(document);
        expected = json_pack("[{s:s,s:i,s:s,s:s},{s:s,s:i}]", "session", "12", "uid", 1000, "user", "alice",
                             "from", "203.0.113.7", "session", "c3", "uid", 1001);
        assert_true(json_equal(json_object_get(document, "ends_sessions"), expected));
        assert_int_equal(json_integer_value(json_object_get(document, "severs")), 3);
        json_decref(expected);
        json_decref(document);
        fixture_clear(&f);
}

static void remote_sessions_are_told(void **state)
{
        struct fixture f;
        json_t *order, *warning;

        (void)state;
        fixture_init(&f);
        f.lockdown.order->profile->end_remote_sessions = true;
        f.lockdown.order->sessions_ended = 2;
        set_problem(&f.lockdown.sessions_problem, "logind is silent");
        order = report_order(&f.lockdown, f.lockdown.order, NULL);
        assert_string_equal(json_string_value(json_object_get(order, "remote_sessions")), "end");
        assert_int_equal(json_integer_value(json_object_get(order, "sessions_ended")), 2);
        warning = json_array_get(json_object_get(order, "warnings"), 0);
        assert_string_equal(json_string_value(warning), "logind is silent");
        json_decref(order);
        fixture_clear(&f);
}

static bool explained_as_refused(struct fixture *f, uint32_t uid, const char *destination)
{
        const struct person p = {.found = true, .self = {.uid = uid}};
        struct endpoint e;
        json_t *answer;
        bool refused;

        assert_int_equal(endpoint_parse(destination, &e), 0);
        answer = report_explain(
                &f->manager, &p,
                &(struct explain_question){.user = "somebody", .text = destination, .destination = e});
        assert_non_null(answer);
        refused = json_is_true(json_object_get(answer, "refused"));
        json_decref(answer);
        return refused;
}

static void explain_judges_as_the_rules_do(void **state)
{
        struct fixture f;

        (void)state;
        fixture_init(&f);
        assert_true(explained_as_refused(&f, 1000, "203.0.113.7:443/tcp"));
        assert_true(explained_as_refused(&f, 1000, "[2001:db8::1]:443"));
        assert_true(explained_as_refused(&f, 1000, "10.0.0.53:53/udp"));
        assert_true(explained_as_refused(&f, 1000, "127.0.0.1:3128"));
        assert_false(explained_as_refused(&f, 1000, "10.0.0.1:443"));
        assert_false(explained_as_refused(&f, 1000, "127.0.0.1:8080"));
        assert_false(explained_as_refused(&f, 2000, "203.0.113.7:443"));
        assert_false(explained_as_refused(&f, 1000, "192.0.2.2:443"));
        assert_true(explained_as_refused(&f, 1000, "192.0.2.2:53"));
        assert_true(explained_as_refused(&f, 1000, "192.0.2.3:443"));
        fixture_clear(&f);
}

static void missing_names_are_told_with_their_place(void **state)
{
        _cleanup_words_ struct words access = {0};
        _cleanup_problems_ struct problems problems = {0};
        struct membership m = {0};
        struct fixture f;

        (void)state;
        fixture_init(&f);
        assert_int_equal(words_add(&m.missing_groups, "staff", NULL, 0), 0);
        assert_int_equal(words_add(&access, "root", "a.conf", 1), 0);
        assert_int_equal(words_add(&access, "@staff", "a.conf", 2), 0);
        profile_check_names(f.lockdown.profile, &m, &problems);
        access_check_names(&access, &m, &problems);
        assert_int_equal(problems.n, 2);
        assert_non_null(
                strstr(problems.items[0], "/etc/lockdownd/lockdownd.conf:7: there is no group staff"));
        assert_non_null(strstr(problems.items[1], "a.conf:2: there is no group staff"));
        membership_clear(&m);
        fixture_clear(&f);
}

/* A name in an old encoding is no reason to tell nothing at all. */
static void attempts_are_one_document(void **state)
{
        const uint32_t uids[] = {1000, 1001, 1002};
        char alice[] = "al\"ice", old[] = "m\xfcller";
        char *const names[] = {alice, old, NULL};
        const struct names table = {.uids = uids, .names = names, .n = 3};
        struct attempt items[] = {
                {.uid = 1000,
                 .family = AF_INET,
                 .addr = {192, 0, 2, 1},
                 .protocol = IPPROTO_TCP,
                 .port = 443,
                 .packets = 3,
                 .bytes = 180},
                {.uid = 1000,
                 .family = AF_INET6,
                 .addr = {0x20, 1},
                 .protocol = 250,
                 .packets = 1,
                 .bytes = 1},
                {.uid = 1001,
                 .family = AF_INET,
                 .protocol = IPPROTO_UDP,
                 .port = 53,
                 .packets = 1,
                 .bytes = 2},
                {.uid = ATTEMPT_NO_UID, .family = AF_INET, .protocol = 136, .packets = 1, .bytes = 2},
        };
        const struct attempts a = {.items = items, .n = ELEMENTSOF(items), .packets = 9, .bytes = 999};
        static const char expected[] =
                "{\"profile\":\"staff\",\"order\":\"0123456789abcdef0123456789abcdef\","
                "\"totals\":{\"packets\":9,\"bytes\":999},\"itemised_packets\":6,\"entries\":["
                "{\"uid\":1000,\"user\":\"al\\\"ice\",\"protocol\":\"tcp\",\"protocol_number\":6,"
                "\"address\":\"192.0.2.1\",\"port\":443,\"packets\":3,\"bytes\":180},"
                "{\"uid\":1000,\"user\":\"al\\\"ice\",\"protocol\":\"250\",\"protocol_number\":250,"
                "\"address\":\"2001::\",\"port\":0,\"packets\":1,\"bytes\":1},"
                "{\"uid\":1001,\"user\":\"m?ller\",\"protocol\":\"udp\",\"protocol_number\":17,"
                "\"address\":\"0.0.0.0\",\"port\":53,\"packets\":1,\"bytes\":2},"
                "{\"uid\":null,\"protocol\":\"udplite\",\"protocol_number\":136,"
                "\"address\":\"0.0.0.0\",\"port\":0,\"packets\":1,\"bytes\":2}]}";
        char *text = NULL;
        size_t size;
        FILE *f = open_memstream(&text, &size);

        (void)state;
        assert_int_equal(report_attempts(f, "staff", id, &a, &table), 0);
        assert_int_equal(fclose(f), 0);
        assert_string_equal(text, expected);
        free(text);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(status_adds_what_replaced_tables_counted),
                cmocka_unit_test(status_of_another_profile_is_not_in_force),
                cmocka_unit_test(problems_become_warnings),
                cmocka_unit_test(dry_run_names_sessions),
                cmocka_unit_test(attempts_are_one_document),
                cmocka_unit_test(remote_sessions_are_told),
                cmocka_unit_test(explain_judges_as_the_rules_do),
                cmocka_unit_test(missing_names_are_told_with_their_place),
        };

        return cmocka_run_group_tests_name("report", tests, NULL, NULL);
}
