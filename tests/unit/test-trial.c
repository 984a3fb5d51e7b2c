/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What is tried of an order, what the outcome means, and the process that sends. */
#include "ruleset.h"
#include "trial-process.h"
#include "worker.h"

#include <arpa/inet.h>
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
/* cmocka wants the ones above first */
#include <cmocka.h>

#define MEMBER 2001
#define NOBODY 65534

static void allow(struct destinations *d, const char *text)
{
        _cleanup_words_ struct words words = {0};

        assert_int_equal(words_split(&words, text, "f", 1), 0);
        for (size_t i = 0; i < words.n; i++)
                assert_int_equal(destinations_allow(d, words.items[i].text, NULL), 0);
        assert_int_equal(destinations_finish(d, NULL), 0);
}

/* The addresses of KIND, separated by spaces. */
static void assert_candidates(const char *allowed, size_t kind, const char *expected)
{
        struct destinations d = {0};
        struct trial_plan plan;
        char text[512] = "";

        allow(&d, allowed);
        trial_choose(&d, &plan);
        for (size_t i = 0; i < plan.n[kind]; i++) {
                const struct trial_datagram *c = &plan.candidates[kind][i];
                char address[INET6_ADDRSTRLEN];

                assert_int_equal(c->outside, kind < 2);
                assert_non_null(inet_ntop(c->family, c->addr, address, sizeof(address)));
                (void)snprintf(text + strlen(text), sizeof(text) - strlen(text), "%s%s", i > 0 ? " " : "",
                               address);
        }
        assert_string_equal(text, expected);
        destinations_clear(&d);
}

static void outside_is_whom_nobody_has(void **state)
{
        (void)state;
        assert_candidates("internal", 0, "192.0.2.199 198.51.100.199 203.0.113.199");
        assert_candidates("internal", 1, "2001:db8:ffff::199 3fff:fff:ffff::199");
}

static void what_is_allowed_is_not_tried_as_outside(void **state)
{
        (void)state;
        assert_candidates("192.0.2.0/24 203.0.113.199", 0, "198.51.100.199");
        assert_candidates("192.0.2.0/24 198.51.100.0/24 203.0.113.0/24", 0, "");
        assert_candidates("2001:db8::/32", 1, "3fff:fff:ffff::199");
        /* a port of it is: another way through the rules */
        assert_candidates("192.0.2.199:9/udp", 0, "198.51.100.199 203.0.113.199");
}

static void inside_is_in_a_network_and_neither_its_end_nor_this_link(void **state)
{
        (void)state;
        assert_candidates("internal", 2,
                          "10.255.255.254 10.0.0.1 172.31.255.254 172.16.0.1 192.168.255.254 192.168.0.1");
        assert_candidates("fe80::/10 fd00:1::/32", 3, "fd00:1:ffff:ffff:ffff:ffff:ffff:fffe fd00:1::1");
        assert_candidates("10.1.2.3", 2, "10.1.2.3");
        assert_candidates("none", 2, "");
        assert_candidates("203.0.113.10:443/tcp", 2, "");
        assert_candidates("127.0.0.0/8 169.254.0.0/16 224.0.0.0/24", 2, "");
}

static void assert_subject(const struct subjects *s, uint64_t turn, int expected, uint32_t uid)
{
        uint32_t found_uid = 0, found_gid = 0;

        assert_int_equal(trial_subject(s, turn, &found_uid, &found_gid), expected);
        assert_int_equal(found_uid, uid);
}

static void each_in_turn_and_never_root(void **state)
{
        _cleanup_subjects_ struct subjects s = {0};

        (void)state;
        assert_subject(&s, 0, -ENOENT, 0);
        assert_int_equal(idset_append(&s.uid_ranges, 100000, 165535), 0);
        idset_normalize(&s.uid_ranges);
        assert_subject(&s, 1, 0, 100001);
        assert_int_equal(idset_append(&s.uids, 0, 0), 0);
        assert_int_equal(idset_append(&s.uids, 2001, 2002), 0);
        assert_int_equal(idset_append(&s.uids, 3000, 3000), 0);
        idset_normalize(&s.uids);
        for (uint64_t turn = 0; turn < 6; turn += 3) {
                assert_subject(&s, turn, 0, 2001);
                assert_subject(&s, turn + 1, 0, 2002);
                assert_subject(&s, turn + 2, 0, 3000);
        }
}

static void of_everyone_somebody_who_is_not_excepted(void **state)
{
        _cleanup_subjects_ struct subjects s = {.everyone = true};
        uint32_t uid = 0, gid = 0;

        (void)state;
        assert_int_equal(idset_append(&s.except_uids, 65530, 65534), 0);
        assert_int_equal(idset_append(&s.except_gids, 65534, 65534), 0);
        idset_normalize(&s.except_uids);
        idset_normalize(&s.except_gids);
        assert_int_equal(trial_subject(&s, 7, &uid, &gid), 0);
        assert_int_equal(uid, 65529);
        assert_int_equal(gid, 65533);
}

static void judges_by_who_counted(void **state)
{
        static const struct {
                bool outside;
                struct trial_outcome outcome;
                enum trial_verdict verdict;
        } table[] = {
                {true, {.error = EPERM, .refused = 1}, TRIAL_AS_ORDERED},
                {true, {.error = EPERM, .passed = 1}, TRIAL_WRONG},
                {true, {.error = EPERM, .second = 1}, TRIAL_WRONG},
                /* what the second lock refused then was another packet */
                {true, {.error = ENETUNREACH, .second = 1}, TRIAL_UNTRIED},
                {true, {.error = EPERM, .second = 1, .others = 1}, TRIAL_UNTRIED},
                {false, {.error = EPERM, .second = 1, .others = 1}, TRIAL_UNTRIED},
                {false, {.error = EHOSTUNREACH, .second = 7}, TRIAL_UNTRIED},
                {true, {.error = 0}, TRIAL_WRONG},
                {true, {.error = EPERM}, TRIAL_UNTRIED},
                {true, {.error = ENETUNREACH}, TRIAL_UNTRIED},
                {true, {.error = EPERM, .others = 1}, TRIAL_UNTRIED},
                {false, {.error = EPERM, .passed = 1}, TRIAL_AS_ORDERED},
                {false, {.error = EPERM, .refused = 1}, TRIAL_WRONG},
                {false, {.error = 0}, TRIAL_WRONG},
                {false, {.error = EPERM}, TRIAL_UNTRIED},
                /* somebody else sends so, too, to where it is refused, to where it may go, or to both */
                {true, {.error = EPERM, .refused = 2}, TRIAL_DISTURBED},
                {true, {.error = EPERM, .refused = 1, .passed = 1}, TRIAL_DISTURBED},
                {true, {.error = ENETUNREACH, .passed = 1}, TRIAL_DISTURBED},
                {false, {.error = EPERM, .refused = 300, .passed = 1}, TRIAL_DISTURBED},
        };

        (void)state;
        for (size_t i = 0; i < ELEMENTSOF(table); i++) {
                const struct trial_datagram d = {.family = AF_INET, .outside = table[i].outside};
                const char *why = NULL;

                assert_int_equal(trial_judge(&d, &table[i].outcome, &why), table[i].verdict);
                assert_non_null(why);
        }
}

/* The worker as a child; returns its pid, and the daemon's end of the socket. */
static pid_t start(char *uid, int *ret_socket)
{
        char *const ids[] = {uid, (char *)"65534"};
        int pair[2];
        pid_t pid;

        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
        pid = fork();
        assert_true(pid >= 0);
        if (pid == 0) {
                close(pair[0]);
                if (pair[1] != WORKER_FD)
                        dup2(pair[1], WORKER_FD);
                _exit(trial_worker_run(ids, 2));
        }
        close(pair[1]);
        *ret_socket = pair[0];
        return pid;
}

static int ask(int fd, const char *address)
{
        uint32_t size = (uint32_t)strlen(address);
        char text[16] = "";

        assert_int_equal(send(fd, &size, sizeof(size), 0), sizeof(size));
        assert_int_equal(send(fd, address, size, 0), size);
        assert_int_equal(recv(fd, &size, sizeof(size), MSG_WAITALL), sizeof(size));
        assert_true(size < sizeof(text));
        assert_int_equal(recv(fd, text, size, MSG_WAITALL), size);
        return (int)strtol(text, NULL, 10);
}

static void end(pid_t pid, int fd, int expected)
{
        int status;

        close(fd);
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFEXITED(status));
        assert_int_equal(WEXITSTATUS(status), expected);
}

static int signal_as(uid_t uid, pid_t pid)
{
        int status;
        pid_t child = fork();

        assert_true(child >= 0);
        if (child == 0)
                _exit(setresuid(uid, uid, uid) < 0 ? 255 : kill(pid, 0) < 0 ? errno : 0);
        assert_int_equal(waitpid(child, &status, 0), child);
        return WEXITSTATUS(status);
}

static void sends_in_their_name_and_is_not_theirs(void **state)
{
        char path[64], line[128], uid[] = "2001";
        _cleanup_fclose_ FILE *f = NULL;
        int fd, seen = 0;
        pid_t pid;

        (void)state;
        if (geteuid() != 0)
                skip();
        pid = start(uid, &fd);
        assert_int_equal(ask(fd, "127.0.0.1"), 0); /* it has given up everything by then */
        (void)snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
        f = fopen(path, "re");
        assert_non_null(f);
        while (fgets(line, sizeof(line), f)) {
                if (strncmp(line, "Uid:", 4) == 0)
                        assert_string_equal(line, "Uid:\t65534\t65534\t65534\t65534\n");
                else if (strncmp(line, "CapPrm:", 7) == 0 || strncmp(line, "CapEff:", 7) == 0)
                        assert_int_equal(strtoull(line + 7, NULL, 16), 0);
                else
                        continue;
                seen++;
        }
        assert_int_equal(seen, 3);
        assert_int_equal(signal_as(MEMBER, pid), EPERM);
        assert_int_equal(signal_as(NOBODY, pid), 0); /* the control */
        end(pid, fd, EXIT_SUCCESS);
}

static void says_why_it_cannot_begin(void **state)
{
        char root[] = "0";
        int fd;
        pid_t pid;

        (void)state;
        if (geteuid() != 0)
                skip();
        pid = start(root, &fd);
        assert_int_equal(ask(fd, "127.0.0.1"), -EINVAL);
        end(pid, fd, EXIT_SUCCESS);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(outside_is_whom_nobody_has),
                cmocka_unit_test(what_is_allowed_is_not_tried_as_outside),
                cmocka_unit_test(inside_is_in_a_network_and_neither_its_end_nor_this_link),
                cmocka_unit_test(each_in_turn_and_never_root),
                cmocka_unit_test(of_everyone_somebody_who_is_not_excepted),
                cmocka_unit_test(judges_by_who_counted),
                cmocka_unit_test(sends_in_their_name_and_is_not_theirs),
                cmocka_unit_test(says_why_it_cannot_begin),
        };

        return cmocka_run_group_tests_name("trial", tests, NULL, NULL);
}
