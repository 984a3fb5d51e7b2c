// SPDX-License-Identifier: GPL-2.0-or-later
/* What the ruleset makes of real packets: who gets out and who does not, seen on the wire, while tables come,
 * change and go. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "nft-fixture.h"
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>

static void test_life_of_an_order(void **state)
{
        struct fixture *f = begin(state, "staff");
        struct attempts a = {0};
        uint64_t packets = 9, bytes = 9;

        put(f, false);
        assert_true(gets_out(&f->net, member, "8.8.8.8:1000/udp"));
        assert_int_equal(nft_engage(f->nft, f->r, NULL), 0);
        assert_false(gets_out(&f->net, member, "8.8.8.8:1000/udp"));
        assert_false(gets_out(&f->net, member, "8.8.8.8:80/tcp"));
        assert_false(gets_out(&f->net, member, "[2001:db8::1]:80/tcp"));
        assert_true(gets_out(&f->net, member, "10.9.0.9:80/tcp"));
        assert_true(gets_out(&f->net, stranger, "8.8.8.8:80/tcp"));
        assert_true(gets_out(&f->net, root, "8.8.8.8:80/tcp"));
        assert_int_equal(nft_read_refused(f->nft, "staff", &packets, &bytes), 0);
        assert_true(packets > 0 && bytes > 0);

        assert_int_equal(nft_disengage(f->nft, f->r, NULL), 0);
        assert_true(gets_out(&f->net, member, "8.8.8.8:1000/udp"));
        assert_true(gets_out(&f->net, member, "8.8.8.8:80/tcp"));
        assert_int_equal(nft_read_attempts(f->nft, "staff", &a), 0);
        assert_int_equal(a.n, 0);
        assert_int_equal(a.packets, 0);
        assert_int_equal(a.bytes, 0);
        attempts_clear(&a);

        /* The second order counts from nothing. */
        assert_int_equal(nft_engage(f->nft, f->r, NULL), 0);
        assert_false(gets_out(&f->net, member, "8.8.8.8:1000/udp"));
        assert_int_equal(nft_read_refused(f->nft, "staff", &packets, &bytes), 0);
        assert_int_equal(packets, 1);
        assert_int_equal(bytes, 36);
}

static const struct person people[] = {
        {0, 0},         {0, 1100},    {1000, 1000}, {1005, 9},
        {1003, 1003},   {1003, 1100}, {2000, 1100}, {2002, 2100},
        {150000, 5},    {200000, 5},  {300000, 5},  {365536, 5},
        {4000, 100001}, {99999, 5},   {65536, 5},   {4294967294U, 4294967294U},
};

static const struct {
        const char *text;
        bool local;
} places[] = {
        {"10.9.0.9:80/udp", false},       {"8.8.8.8:1000/udp", false},      {"203.0.113.10:443/tcp", false},
        {"203.0.113.10:444/tcp", false},  {"198.51.100.7:8050/udp", false}, {"198.51.100.7:8101/udp", false},
        {"203.0.113.53:53/udp", false},   {"203.0.113.54:53/udp", false},   {"10.9.0.9:53/udp", false},
        {"10.9.0.9:53/tcp", false},       {"10.9.0.9:853/udp", false},      {"8.8.8.8:5353/udp", false},
        {"10.9.0.53:53/udp", false},      {"127.0.0.1:3128/udp", true},     {"127.0.0.1:3129/udp", true},
        {"127.0.0.1:53/udp", true},       {"127.0.0.1:8050/udp", true},     {"10.9.0.2:80/udp", true},
        {"10.9.0.2:9050/udp", true},      {"[fd09::9]:80/udp", false},      {"[2001:db8::1]:443/udp", false},
        {"[2001:db8::2]:443/udp", false}, {"[fd09::9]:53/udp", false},      {"[2001:db8::53]:53/udp", false},
        {"[::1]:53/udp", true},           {"127.0.0.53:53/udp", true},      {"[2001:db8::53]:53/tcp", false},
        {"[::1]:8118/udp", true},         {"[fd09::2]:80/udp", true},
};

/* What would be the relay's, as far as it takes to see who comes. */
static void open_relay(struct fixture *f)
{
        for (size_t i = 0; i < ELEMENTSOF(f->relay); i++) {
                const int type = i < 2 ? SOCK_DGRAM : SOCK_STREAM;
                struct sockaddr_storage address;
                socklen_t length;
                char text[32];
                struct endpoint e;

                (void)snprintf(text, sizeof(text), "%s:%d/udp", i % 2 == 0 ? "127.0.0.1" : "[::1]",
                               RELAY_PORT);
                e = endpoint(text);
                length = socket_address(&e, &address);
                f->relay[i] = socket(e.family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
                assert_true(f->relay[i] >= 0);
                assert_int_equal(bind(f->relay[i], (const void *)&address, length), 0);
                if (type == SOCK_STREAM)
                        assert_int_equal(listen(f->relay[i], 8), 0);
        }
}

static unsigned came_to_relay(const struct fixture *f)
{
        unsigned n = 0;
        char byte;
        int fd;

        for (size_t i = 0; i < ELEMENTSOF(f->relay); i++)
                while (i < 2 && recv(f->relay[i], &byte, 1, 0) > 0)
                        n++;
        for (size_t i = 2; i < ELEMENTSOF(f->relay); i++)
                while ((fd = accept4(f->relay[i], NULL, NULL, SOCK_CLOEXEC)) >= 0) {
                        close(fd);
                        n++;
                }
        return n;
}

/* Is a redirected question one for the relay: to this machine, or of a family that DNS= names no address of?
 */
static bool is_for_relay(const struct destinations *d, const struct endpoint *e)
{
        return e->local || !(e->family == AF_INET ? d->has_dns4 : d->has_dns6);
}

/* Sends one packet and compares what became of it with what the pure judgement says. FROM: a source port of
 * its own, for address translation goes by connections, and another person's would be taken for the same one.
 */
static void check_judgement(struct fixture *f, const struct person *who, const char *text, bool local,
                            uint16_t from)
{
        struct endpoint e = endpoint(text), target = e;
        struct probe probe = {.to = e, .from = from};
        enum judgement judgement;
        bool subject = subjects_match(&f->in.subjects, who->uid, who->gid), refused;
        unsigned n, expected, to_relay = 0;
        int error;

        e.local = local;
        judgement = destinations_judge(&f->in.destinations, &e);
        refused = subject && judgement_refuses(judgement);
        if (subject && judgement == JUDGE_DNS_REDIRECTED && is_for_relay(&f->in.destinations, &e))
                to_relay = 1;
        else if (subject && judgement == JUDGE_DNS_REDIRECTED)
                memcpy(target.addr, e.family == AF_INET ? f->in.destinations.dns4 : f->in.destinations.dns6,
                       e.family == AF_INET ? 4 : 16);
        clear_wire(&f->net);
        error = as_person(*who, try_probe, &probe);
        n = seen(&f->net, &target);
        expected = refused || local || to_relay > 0 ? 0 : 1;
        /* A SYN that nobody answers in time comes again. */
        if ((error != 0) != refused || n < expected || (expected == 0 && n > 0) ||
            came_to_relay(f) != to_relay)
                fail_msg("%s: uid %u gid %u to %s: %s, %u packets on the wire; judged %d of a %s", f->name,
                         who->uid, who->gid, text, strerror(error), n, (int)judgement,
                         subject ? "subject" : "stranger");
}

static void test_kernel_agrees_with_judgement(void **state)
{
        uint16_t from = 20000;

        need_kernel(*state);
        open_relay(*state);
        for (size_t i = 0; i < ELEMENTSOF(ruleset_cases); i++) {
                struct fixture *f = begin(state, ruleset_cases[i].name);

                for (size_t j = 0; j < ELEMENTSOF(people); j++)
                        for (size_t k = 0; k < ELEMENTSOF(places); k++)
                                check_judgement(f, &people[j], places[k].text, places[k].local, from++);
                drop_ruleset(f);
        }
}

/* An echo request, which must not get out (for IPv6 the sender is not told). */
static void send_echo(const struct fixture *f, const char *text, int protocol)
{
        struct endpoint e = endpoint(text);

        e.protocol = (uint8_t)protocol;
        e.port = 0;
        clear_wire(&f->net);
        (void)as_person(member, try_endpoint, &e);
        assert_int_equal(seen(&f->net, &e), 0);
        assert_int_equal(as_person(root, try_endpoint, &e), 0);
        assert_int_equal(seen(&f->net, &e), 1);
}

/* What the rules of DNS=ADDRESS need costs every packet of everybody: not while they are only staged. */
static unsigned tracked(void)
{
        FILE *p = popen("cat /proc/sys/net/netfilter/nf_conntrack_count", "re");
        unsigned n = 0;

        assert_non_null(p);
        assert_int_equal(fscanf(p, "%u", &n), 1); /* NOLINT(cert-err34-c): the kernel's */
        assert_int_equal(pclose(p), 0);
        return n;
}

static void test_nothing_is_tracked_while_staged(void **state)
{
        struct fixture *f = *state;
        char *error = NULL;

        need_kernel(f);
        f->name = "dns-redirect";
        fill_input(&f->in, find_case(f->name));
        f->r = build_ruleset(&f->in, find_case(f->name), NULL, 0);
        put(f, false);
        assert_true(gets_out(&f->net, stranger, "8.8.8.8:1001/udp"));
        assert_int_equal(tracked(), 0);
        assert_int_equal(nft_engage(f->nft, f->r, &error), 0);
        assert_int_equal(nft_verify(f->nft, f->r, true, NULL), 0);
        assert_true(gets_out(&f->net, stranger, "8.8.8.8:1002/udp"));
        assert_int_equal(tracked(), 1);
        assert_int_equal(nft_disengage(f->nft, f->r, &error), 0);
        assert_int_equal(nft_verify(f->nft, f->r, false, NULL), 0);
        assert_true(shell("nft list tables > /dev/null")); /* whose socket's end waits for what was removed */
        assert_true(gets_out(&f->net, stranger, "8.8.8.8:1003/udp"));
        assert_int_equal(tracked(), 1);
}

static void test_attempts(void **state)
{
        struct fixture *f = begin(state, "staff");
        _cleanup_attempts_ struct attempts a = {0}, twice = {0};
        const struct attempt *one;
        uint64_t sum = 0;

        assert_true(shell("echo 0 2147483647 > /proc/sys/net/ipv4/ping_group_range"));
        for (unsigned i = 0; i < 3; i++)
                assert_false(gets_out(&f->net, member, "8.8.8.8:1000/udp"));
        assert_false(gets_out(&f->net, member, "8.8.8.8:443/tcp"));
        assert_false(gets_out(&f->net, (struct person){1002, 5}, "[2001:db8::1]:444/tcp"));
        send_echo(f, "8.8.4.4", IPPROTO_ICMP);
        send_echo(f, "2001:db8::2", IPPROTO_ICMPV6);
        assert_true(gets_out(&f->net, member, "10.9.0.9:80/tcp"));

        assert_int_equal(nft_read_attempts(f->nft, "staff", &a), 0);
        assert_int_equal(a.n, 5);
        one = find_attempt(&a, 1000, "8.8.8.8", IPPROTO_UDP, 1000);
        assert_non_null(one);
        assert_int_equal(one->packets, 3);
        assert_int_equal(one->bytes, 3 * 36);
        assert_non_null(find_attempt(&a, 1000, "8.8.8.8", IPPROTO_TCP, 443));
        assert_non_null(find_attempt(&a, 1002, "2001:db8::1", IPPROTO_TCP, 444));
        assert_non_null(find_attempt(&a, 1000, "8.8.4.4", IPPROTO_ICMP, 0));
        assert_non_null(find_attempt(&a, 1000, "2001:db8::2", IPPROTO_ICMPV6, 0));
        for (size_t i = 0; i < a.n; i++) {
                sum += a.items[i].packets;
                if (i > 0)
                        assert_true(a.items[i - 1].uid < a.items[i].uid ||
                                    a.items[i - 1].packets >= a.items[i].packets);
        }
        assert_int_equal(sum, a.packets);

        assert_int_equal(nft_read_attempts(f->nft, "staff", &twice), 0);
        assert_int_equal(attempts_merge(&twice, &a), 0);
        assert_int_equal(twice.n, 5);
        assert_int_equal(twice.packets, 2 * a.packets);
        one = find_attempt(&twice, 1000, "8.8.8.8", IPPROTO_UDP, 1000);
        assert_int_equal(one->packets, 6);
}

/* Who is added is blocked, who is removed is free, and what was counted stays. */
static void test_update_blocks_and_frees(void **state)
{
        const struct person newcomer = {1700, 5}, sub = {4000000001U, 5};
        struct fixture *f = begin(state, "staff");
        struct ruleset *next;
        uint64_t packets = 0, bytes = 0;

        assert_false(gets_out(&f->net, member, "8.8.8.8:1000/udp"));
        assert_true(gets_out(&f->net, newcomer, "8.8.8.8:1000/udp"));
        assert_true(gets_out(&f->net, sub, "8.8.8.8:1000/udp"));
        idset_clear(&f->in.subjects.uids);
        append_id(&f->in.subjects.uids, 1700, 1700);
        append_id(&f->in.subjects.uid_ranges, 4000000000U, 4000065535U);
        next = build_ruleset(&f->in, find_case("staff"), NULL, 0);
        assert_int_equal(nft_update(f->nft, f->r, next, NULL), 0);
        ruleset_free(f->r);
        f->r = next;
        assert_true(gets_out(&f->net, member, "8.8.8.8:1000/udp"));
        assert_int_equal(nft_read_refused(f->nft, "staff", &packets, &bytes), 0);
        assert_int_equal(packets, 1);
        assert_false(gets_out(&f->net, newcomer, "8.8.8.8:1000/udp"));
        assert_false(gets_out(&f->net, sub, "8.8.8.8:1000/udp"));
}

/* Only hash sets change here, so the table refuses meanwhile: what its base chains say of groups follows. */
static void test_update_of_groups(void **state)
{
        const struct person old = {1700, 1100}, new = {1700, 1200}, third = {1700, 1300};
        struct fixture *f = begin(state, "staff");
        struct ruleset *next;

        assert_false(gets_out(&f->net, old, "8.8.8.8:1000/udp"));
        assert_true(gets_out(&f->net, new, "8.8.8.8:1000/udp"));
        idset_clear(&f->in.subjects.gids);
        for (uint32_t gid = 1200; gid <= 1800; gid += 100) {
                append_id(&f->in.subjects.gids, gid, gid);
                next = build_ruleset(&f->in, find_case("staff"), NULL, 0);
                assert_int_equal(nft_update(f->nft, f->r, next, NULL), 0);
                ruleset_free(f->r);
                f->r = next;
                assert_int_equal(nft_verify(f->nft, f->r, true, NULL), 0);
                assert_false(gets_out(&f->net, new, "8.8.8.8:1000/udp"));
                assert_int_equal(gets_out(&f->net, third, "8.8.8.8:1000/udp"), gid < 1300);
                assert_true(gets_out(&f->net, old, "8.8.8.8:1000/udp"));
        }
}

/* What a sender that never stops has come to. */
struct stream {
        struct person who;
        struct endpoint to;
        pid_t pid;
        volatile unsigned *sent, *refused; /* shared with the process */
};

static void start_stream(struct stream *s, uint32_t uid, const char *to)
{
        unsigned *shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        struct sockaddr_storage address;
        socklen_t length;
        int fd;

        assert_true(shared != MAP_FAILED);
        *s = (struct stream){.who = {uid, 5}, .to = endpoint(to), .sent = shared, .refused = shared + 1};
        length = socket_address(&s->to, &address);
        s->pid = fork();
        assert_true(s->pid >= 0);
        if (s->pid > 0)
                return;
        /* After a change of user, which forgets it: a test that fails must not leave us sending for ever. */
        if (setgroups(0, NULL) < 0 || setresgid(5, 5, 5) < 0 || setresuid(uid, uid, uid) < 0 ||
            prctl(PR_SET_PDEATHSIG, SIGKILL) < 0)
                _exit(1);
        fd = socket(s->to.family, SOCK_DGRAM, 0);
        for (;;) {
                if (sendto(fd, "x", 1, 0, (const void *)&address, length) == 1)
                        (*s->sent)++;
                else
                        (*s->refused)++;
        }
}

static void stop_stream(struct stream *s)
{
        int status;

        assert_int_equal(kill(s->pid, SIGKILL), 0);
        assert_int_equal(waitpid(s->pid, &status, 0), s->pid);
        assert_true(WIFSIGNALED(status));
}

/* Replacing or updating the table opens no gap for a moment, nor does it refuse for a moment what is allowed.
 * One member is blocked by uid, one by a range, one now by this, now by that; one talks to an allowed network
 * and one to an allowed endpoint. */
static void change_under_traffic(struct fixture *f, const struct ruleset *other, bool updates)
{
        static const struct {
                uint32_t uid;
                const char *to;
                bool allowed;
        } senders[] = {{1001, "8.8.8.8:1000/udp", false},
                       {100000, "8.8.8.8:1001/udp", false},
                       {1000, "8.8.8.8:1002/udp", false},
                       {1001, "10.9.0.9:1003/udp", true},
                       {100000, "203.0.113.53:53/udp", true}};

        for (size_t i = 0; i < ELEMENTSOF(senders); i++) {
                struct stream s;

                clear_wire(&f->net);
                start_stream(&s, senders[i].uid, senders[i].to);
                for (unsigned j = 0; j < 60; j++) {
                        const struct ruleset *from = j % 2 == 0 ? f->r : other,
                                             *to = j % 2 == 0 ? other : f->r;

                        if (updates)
                                assert_int_equal(nft_update(f->nft, from, to, NULL), 0);
                        else
                                assert_int_equal(nft_replace(f->nft, to, true, NULL), 0);
                        assert_int_equal(nft_verify(f->nft, to, true, NULL), 0);
                }
                stop_stream(&s);
                if (senders[i].allowed && (*s.refused > 0 || *s.sent == 0))
                        fail_msg("%s: uid %u refused %u times, sent %u", senders[i].to, s.who.uid, *s.refused,
                                 *s.sent);
                if (!senders[i].allowed && (*s.sent > 0 || *s.refused == 0 || seen(&f->net, &s.to) > 0))
                        fail_msg("%s: uid %u sent %u, refused %u times", senders[i].to, s.who.uid, *s.sent,
                                 *s.refused);
                munmap((void *)(uintptr_t)s.sent, 4096);
        }
}

static void test_no_gap(void **state)
{
        struct fixture *f = begin(state, "services");
        struct ruleset_input in = {0};
        struct ruleset *other;
        struct ruleset_case changed = *find_case("services");
        char *problem = NULL;

        append_id(&f->in.subjects.uid_ranges, 100000, 165535);
        ruleset_free(f->r);
        f->r = build_ruleset(&f->in, find_case("services"), NULL, 0);
        put(f, true);
        /* 1000 moves into a range, the other range and the allowed network grow, and endpoints are added. */
        fill_input(&in, &changed);
        idset_clear(&in.subjects.uids);
        append_id(&in.subjects.uids, 1001, 1005);
        append_id(&in.subjects.uid_ranges, 900, 1000);
        append_id(&in.subjects.uid_ranges, 100000, 231071);
        assert_int_equal(destinations_allow(&in.destinations, "11.0.0.0/8", &problem), 0);
        assert_int_equal(destinations_allow(&in.destinations, "203.0.113.99:53/udp", &problem), 0);
        assert_int_equal(destinations_finish(&in.destinations, &problem), 0);
        other = build_ruleset(&in, find_case("services"), NULL, 0);
        assert_true(ruleset_same_structure(f->r, other));
        change_under_traffic(f, other, true);
        put(f, true);
        change_under_traffic(f, other, false);
        ruleset_free(other);
        input_clear(&in);
}

/* A daemon died in the middle of a change: what stands in for the table is engaged, the table is not. */
static void put_hold(struct fixture *f)
{
        struct ruleset *hold = build_ruleset(&f->in, find_case(f->name), NULL, 0);

        free(hold->table);
        hold->table = nft_hold_name(f->r->table);
        assert_non_null(hold->table);
        put(f, false);
        assert_int_equal(nft_replace(f->nft, hold, true, NULL), 0);
        ruleset_free(hold);
}

static unsigned count_tables(struct fixture *f, bool *ret_engaged)
{
        struct nft_table *tables = NULL;
        size_t n = 0;

        assert_int_equal(nft_list(f->nft, &tables, &n), 0);
        if (ret_engaged)
                *ret_engaged = n > 0 && tables[0].engaged;
        nft_tables_free(tables, n);
        return (unsigned)n;
}

static void test_died_in_the_middle(void **state)
{
        struct fixture *f = begin(state, "staff");
        bool engaged = false;

        put_hold(f);
        assert_int_equal(count_tables(f, &engaged), 1);
        assert_true(engaged);
        assert_false(gets_out(&f->net, member, "8.8.8.8:1000/udp"));
        assert_int_equal(nft_verify(f->nft, f->r, true, NULL), 1);

        put(f, true);
        assert_false(gets_out(&f->net, member, "8.8.8.8:1000/udp"));
        assert_int_equal(nft_disengage(f->nft, f->r, NULL), 0);
        assert_true(gets_out(&f->net, member, "8.8.8.8:1000/udp"));

        put_hold(f);
        assert_false(gets_out(&f->net, member, "8.8.8.8:1000/udp"));
        assert_int_equal(nft_disengage(f->nft, f->r, NULL), 0);
        assert_true(gets_out(&f->net, member, "8.8.8.8:1000/udp"));

        put_hold(f);
        assert_int_equal(nft_delete(f->nft, f->name, NULL), 0);
        assert_true(gets_out(&f->net, member, "8.8.8.8:1000/udp"));
        assert_int_equal(count_tables(f, NULL), 0);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                TEST(test_life_of_an_order),
                TEST(test_kernel_agrees_with_judgement),
                TEST(test_nothing_is_tracked_while_staged),
                TEST(test_attempts),
                TEST(test_update_blocks_and_frees),
                TEST(test_update_of_groups),
                TEST(test_no_gap),
                TEST(test_died_in_the_middle),
        };

        return cmocka_run_group_tests_name("nft-packets", tests, NULL, NULL);
}
