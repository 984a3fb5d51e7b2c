// SPDX-License-Identifier: GPL-2.0-or-later
/* The launcher from both sides: what it starts and ends for the daemon, and what it refuses to one that was
 * taken over. This program is its own launcher, and what that starts: a process that says as what, and then
 * hangs. */
#include "launched.h"
#include "launcher-message.h"
#include "worker.h"
#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
// clang-format off
#include <cmocka.h>
// clang-format on

#define SELF "/proc/self/exe"
#define PATIENCE 20000 /* milliseconds */

static __attribute__((noreturn)) void hang(int argc, char **argv)
{
        char words[256] = "";

        for (int i = 1; i < argc; i++)
                (void)snprintf(words + strlen(words), sizeof(words) - strlen(words), "%s ", argv[i]);
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0); /* as worker_confine() has it */
        (void)!send(WORKER_FD, words, strlen(words), MSG_NOSIGNAL);
        for (;;)
                pause();
}

/* ---- helpers ---- */

static bool readable(int fd, int timeout)
{
        struct pollfd p = {.fd = fd, .events = POLLIN};

        return poll(&p, 1, timeout) == 1;
}

static void assert_says(int fd, const char *words)
{
        char text[256] = "";

        assert_true(readable(fd, PATIENCE));
        assert_true(recv(fd, text, sizeof(text) - 1, 0) > 0);
        assert_string_equal(text, words);
}

/* What the lifeline tells: 0 the process's end, -errno. */
static int32_t fate(int lifeline)
{
        int32_t error = 0;

        assert_true(readable(lifeline, PATIENCE));
        assert_in_range(recv(lifeline, &error, sizeof(error), 0), 0, sizeof(error));
        return error;
}

struct process {
        int socket, lifeline;
};

static struct process start(struct launcher *l, const struct launch *what)
{
        struct process p = {-1, -1};

        assert_int_equal(launcher_start(l, what, &p.socket, &p.lifeline), 0);
        return p;
}

static void close_process(struct process *p)
{
        close(p->socket);
        close(p->lifeline);
}

static const struct launch resolver = {.kind = LAUNCH_RESOLVER};

static void assert_works(struct launcher *l)
{
        struct process p = start(l, &resolver);

        assert_says(p.socket, RESOLVER_WORKER_ARGUMENT " ");
        close_process(&p);
}

static void wait_for_no_child(pid_t of)
{
        for (unsigned i = 0; child_of(of) > 0; i++) {
                assert_true(i < PATIENCE);
                (void)poll(NULL, 0, 1);
        }
}

static int setup(void **state)
{
        struct launcher *l = NULL;

        if (launcher_new(SELF, NULL, &l) < 0)
                return -1;
        *state = l;
        return 0;
}

static int teardown(void **state)
{
        launcher_free(*state);
        return child_of(getpid()) == 0 ? 0 : -1;
}

/* ---- the daemon's side ---- */

static void starts_and_ends(void **state)
{
        static const int some[LAUNCH_SOCKETS] = {2, 2, 2, 2};
        static const struct {
                struct launch what;
                const char *words;
        } cases[] = {
                {{.kind = LAUNCH_RESOLVER}, "--resolver-worker "},
                {{.kind = LAUNCH_TRIAL, .arguments = {"1000", "65534"}}, "--trial 1000 65534 "},
                {{.kind = LAUNCH_RELAY, .arguments = {"10.0.0.53"}, .fds = some, .n_fds = 1},
                 "--dns-relay 10.0.0.53 "},
                {{.kind = LAUNCH_RELAY, .arguments = {"10.0.0.53", "fd00::53"}, .fds = some, .n_fds = 4},
                 "--dns-relay 10.0.0.53 fd00::53 "},
        };
        struct launcher *l = *state;

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                struct process p = start(l, &cases[i].what);

                assert_says(p.socket, cases[i].words);
                assert_false(readable(p.lifeline, 0));
                close_process(&p);
                wait_for_no_child(child_of(getpid()));
        }
}

static void tells_of_an_end(void **state)
{
        struct launcher *l = *state;
        struct process p = start(l, &resolver);

        assert_says(p.socket, RESOLVER_WORKER_ARGUMENT " ");
        assert_int_equal(kill(child_of(child_of(getpid())), SIGKILL), 0);
        assert_int_equal(fate(p.lifeline), 0);
        assert_int_equal(child_of(child_of(getpid())), 0); /* collected before that */
        close_process(&p);
}

/* All that it had open is closed then; it is collected by whose child it is. */
static void kill_launcher(void)
{
        siginfo_t info;
        pid_t launcher = child_of(getpid());

        assert_int_equal(kill(launcher, SIGKILL), 0);
        assert_int_equal(waitid(P_PID, (id_t)launcher, &info, WEXITED | WNOWAIT), 0);
}

static void is_replaced_when_it_is_gone(void **state)
{
        struct launcher *l = *state;
        struct process p = start(l, &resolver);
        pid_t launcher = child_of(getpid());
        int sockets[LAUNCH_SOCKETS];
        uint16_t port = 0;

        assert_says(p.socket, RESOLVER_WORKER_ARGUMENT " ");
        kill_launcher();
        assert_int_equal(fate(p.lifeline), 0);
        close_process(&p);
        assert_works(l);
        assert_int_not_equal(child_of(getpid()), launcher);
        kill_launcher();
        assert_int_equal(launcher_take_port(l, 0, sockets, &port), 0);
        assert_true(port > 0);
        for (size_t i = 0; i < LAUNCH_SOCKETS; i++)
                closep(&sockets[i]);
}

/* It is not waited for, or not long, and what it is asked for meanwhile is bounded. */
static void may_hang(void **state)
{
        struct launcher *l = *state;
        int sockets[LAUNCH_SOCKETS], r = 0;
        struct timespec begin, end;
        uint16_t port = 0;
        unsigned asked;

        assert_works(l);
        assert_int_equal(kill(child_of(getpid()), SIGSTOP), 0);
        clock_gettime(CLOCK_MONOTONIC, &begin);
        for (asked = 0; asked < 10000; asked++) {
                struct process p = {-1, -1};

                r = launcher_start(l, &resolver, &p.socket, &p.lifeline);
                if (r < 0)
                        break;
                close_process(&p);
        }
        clock_gettime(CLOCK_MONOTONIC, &end);
        assert_int_equal(r, -EAGAIN);
        assert_true(asked > 0 && end.tv_sec - begin.tv_sec < 5);
        assert_int_equal(kill(child_of(getpid()), SIGCONT), 0);
        for (unsigned i = 0; i < PATIENCE && r == -EAGAIN; i++) {
                (void)poll(NULL, 0, 1);
                r = launcher_take_port(l, 0, sockets, &port); /* behind all that nobody wants any more */
        }
        assert_int_equal(r, 0);
        for (size_t i = 0; i < LAUNCH_SOCKETS; i++)
                closep(&sockets[i]);
        wait_for_no_child(child_of(getpid()));
        assert_int_equal(kill(child_of(getpid()), SIGSTOP), 0);
        assert_int_equal(launcher_take_port(l, 0, sockets, &port), -ETIMEDOUT);
        assert_works(l); /* another one */
}

static void takes_a_port(void **state)
{
        struct launcher *l = *state;
        int first[LAUNCH_SOCKETS], second[LAUNCH_SOCKETS];
        uint16_t port = 0, other = 0;

        assert_int_equal(launcher_take_port(l, 0, first, &port), 0);
        assert_int_equal(launcher_take_port(l, port, second, &other), 0);
        assert_int_not_equal(port, other);
        for (size_t i = 0; i < LAUNCH_SOCKETS; i++)
                closep(&first[i]);
        assert_int_equal(launcher_take_port(l, port, first, &other), 0);
        assert_int_equal(port, other);
        for (size_t i = 0; i < LAUNCH_SOCKETS; i++) {
                struct sockaddr_storage address = {0};
                socklen_t length = sizeof(address);

                if (first[i] < 0)
                        continue; /* no IPv6 here */
                assert_int_equal(getsockname(first[i], (struct sockaddr *)&address, &length), 0);
                assert_int_equal(address.ss_family, i % 2 ? AF_INET6 : AF_INET);
                assert_int_equal(ntohs(((struct sockaddr_in *)&address)->sin_port),
                                 port); /* sin6_port lies there, too */
                close(first[i]);
                closep(&second[i]);
        }
}

static void says_why_not(void **state)
{
        struct launcher *l = NULL;
        int socket = -1, lifeline = -1, port[LAUNCH_SOCKETS];
        uint16_t number = 0;

        (void)state;
        assert_int_equal(launcher_new("/nonexistent/lockdownd", NULL, &l), 0);
        assert_int_equal(launcher_start(l, &resolver, &socket, &lifeline), -ENOENT);
        launcher_free(l);
        assert_int_equal(launcher_new(SELF, "/nonexistent/socket", &l), 0);
        assert_int_equal(launcher_start(l, &resolver, &socket, &lifeline), -ENOENT);
        assert_int_equal(launcher_take_port(l, 0, port, &number), -ENOENT);
        launcher_free(l);
        assert_int_equal(socket, -1);
        assert_int_equal(lifeline, -1);
        assert_int_equal(number, 0);
}

/* ---- the launcher's side ---- */

/* A launcher with FD as its socket. */
static pid_t run_launcher(int fd)
{
        char *const argv[] = {(char *)SELF, (char *)LAUNCHER_ARGUMENT, NULL};
        pid_t pid = 0;

        assert_int_equal(spawn_process(argv, &fd, 1, &pid), 0);
        return pid;
}

static void assert_ends(pid_t launcher)
{
        int status = -1;
        pid_t r = 0;

        for (unsigned i = 0; i < PATIENCE && r == 0; i++) {
                (void)poll(NULL, 0, 1);
                r = waitpid(launcher, &status, WNOHANG);
        }
        assert_int_equal(r, launcher);
        assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

/* By CONNECTION, with a socket, a lifeline and N_MORE descriptors. */
static struct process ask(int connection, const struct launch_request *q, size_t n_more)
{
        int sockets[2], lifeline[2], fds[LAUNCH_FDS_MAX];

        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets), 0);
        assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, lifeline), 0);
        fds[0] = sockets[1];
        fds[1] = lifeline[1];
        for (size_t i = 0; i < n_more; i++)
                fds[2 + i] = STDERR_FILENO;
        assert_int_equal(launch_send(connection, q, sizeof(*q), fds, 2 + n_more), 0);
        close(sockets[1]);
        close(lifeline[1]);
        return (struct process){sockets[0], lifeline[0]};
}

static void refuses_what_nobody_needs(void **state)
{
        static const struct {
                struct launch_request q;
                size_t n_more;
        } cases[] = {
                {{.kind = LAUNCH_PORT}, 0},
                {{.kind = LAUNCH_PORT + 1}, 0},
                {{.kind = UINT32_MAX}, 0},
                {{.kind = LAUNCH_RESOLVER, .arguments = {"--trial"}}, 0},
                {{.kind = LAUNCH_RESOLVER, .arguments = {"", "x"}}, 0},
                {{.kind = LAUNCH_RESOLVER}, 1},
                {{.kind = LAUNCH_TRIAL, .arguments = {"0", "65534"}}, 0},
                {{.kind = LAUNCH_TRIAL, .arguments = {"000", "65534"}}, 0},
                {{.kind = LAUNCH_TRIAL, .arguments = {"-1", "65534"}}, 0},
                {{.kind = LAUNCH_TRIAL, .arguments = {" 1", "65534"}}, 0},
                {{.kind = LAUNCH_TRIAL, .arguments = {"1000", ""}}, 0},
                {{.kind = LAUNCH_TRIAL, .arguments = {"", "1000"}}, 0},
                {{.kind = LAUNCH_TRIAL, .arguments = {"1000", "1000x"}}, 0},
                {{.kind = LAUNCH_TRIAL, .arguments = {"1000", "1000"}}, 1},
                {{.kind = LAUNCH_RELAY, .arguments = {"10.0.0.53"}}, 0},
                {{.kind = LAUNCH_RELAY}, 1},
                {{.kind = LAUNCH_RELAY, .arguments = {"", "10.0.0.53"}}, 1},
                {{.kind = LAUNCH_RELAY, .arguments = {"--trial", "10.0.0.53"}}, 1},
                {{.kind = LAUNCH_RELAY, .arguments = {"10.0.0.53", "--version"}}, 1},
                {{.kind = LAUNCH_RELAY, .arguments = {"10.0.0.53", "10.0.0.54"}}, 1},
        };
        int pair[2];
        pid_t launcher;

        (void)state;
        assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
        launcher = run_launcher(pair[1]);
        close(pair[1]);
        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                struct process p = ask(pair[0], &cases[i].q, cases[i].n_more);
                int32_t error = fate(p.lifeline);

                /* What is no request for a process at all is dropped without a word. */
                if (error != -EINVAL && (cases[i].q.kind != LAUNCH_PORT || error != 0))
                        fail_msg("case %zu: %d", i, error);
                close_process(&p);
                assert_int_equal(child_of(launcher), 0);
        }
        for (size_t i = 0; i < LAUNCH_ARGUMENTS; i++) { /* one that does not end */
                struct launch_request q = {.kind = LAUNCH_RELAY, .arguments = {"10.0.0.53"}};
                struct process p;

                memset(q.arguments[i], '1', sizeof(q.arguments[i]));
                p = ask(pair[0], &q, 1);
                assert_int_equal(fate(p.lifeline), -EINVAL);
                close_process(&p);
        }
        close(pair[0]);
        assert_ends(launcher);
}

/* No request at all: the connection is closed, and with the last one it ends. */
static void hangs_up_on_nonsense(void **state)
{
        static const size_t sizes[] = {1, sizeof(struct launch_request) - 1,
                                       sizeof(struct launch_request) + 1, 4096};
        static const char nonsense[4096] = {1};

        (void)state;
        for (size_t i = 0; i < ELEMENTSOF(sizes); i++) {
                int pair[2];
                pid_t launcher;

                assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
                launcher = run_launcher(pair[1]);
                close(pair[1]);
                assert_int_equal(launch_send(pair[0], nonsense, sizes[i], pair, 1), 0);
                assert_true(readable(pair[0], PATIENCE));
                close(pair[0]);
                assert_ends(launcher);
        }
}

static void starts_so_many(void **state)
{
        static struct process processes[200];
        struct launcher *l = *state;
        size_t started = 0;

        for (size_t i = 0; i < ELEMENTSOF(processes); i++) {
                for (int r = -EAGAIN; r < 0; assert_true(r == 0 || r == -EAGAIN))
                        r = launcher_start(l, &resolver, &processes[i].socket, &processes[i].lifeline);
                if (readable(processes[i].socket, PATIENCE) && !readable(processes[i].lifeline, 0))
                        started++;
                else
                        assert_int_equal(fate(processes[i].lifeline), -EAGAIN);
        }
        assert_int_equal(started, 64);
        for (size_t i = 0; i < ELEMENTSOF(processes); i++)
                close_process(&processes[i]);
        wait_for_no_child(child_of(getpid()));
        assert_works(l);
}

/* As the service manager starts it; the processes of one daemon outlive the connection of another. */
static void serves_who_connects(void **state)
{
        struct sockaddr_un address = {.sun_family = AF_UNIX};
        struct launcher *first = NULL, *second = NULL;
        struct process p, q;
        int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
        pid_t launcher;

        (void)state;
        (void)snprintf(address.sun_path, sizeof(address.sun_path), "/tmp/test-launcher-%d", getpid());
        assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
        assert_int_equal(listen(fd, 4), 0);
        assert_int_equal(launcher_new("/nonexistent/lockdownd", address.sun_path, &first), 0);
        assert_int_equal(launcher_new("/nonexistent/lockdownd", address.sun_path, &second), 0);
        p = start(first, &resolver); /* before anybody accepts */
        launcher = run_launcher(fd);
        assert_says(p.socket, RESOLVER_WORKER_ARGUMENT " ");
        q = start(second, &resolver);
        assert_says(q.socket, RESOLVER_WORKER_ARGUMENT " ");
        first = launcher_free(first);
        close_process(&q);
        second = launcher_free(second);
        assert_false(readable(p.lifeline, 100));
        close_process(&p);
        assert_ends(launcher);
        unlink(address.sun_path);
        close(fd);
}

/* A service is not ours to kill: it is waited for once, and then not for a while. */
static void service_may_hang(void **state)
{
        struct sockaddr_un address = {.sun_family = AF_UNIX};
        struct launcher *l = NULL;
        int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0), sockets[LAUNCH_SOCKETS];
        uint16_t port = 0;

        (void)state;
        (void)snprintf(address.sun_path, sizeof(address.sun_path), "/tmp/test-launcher-%d", getpid());
        assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
        assert_int_equal(listen(fd, 4), 0); /* nobody accepts */
        assert_int_equal(launcher_new("/nonexistent/lockdownd", address.sun_path, &l), 0);
        for (unsigned i = 0; i < 50; i++) {
                struct timespec begin, end;

                clock_gettime(CLOCK_MONOTONIC, &begin);
                assert_int_equal(launcher_take_port(l, 0, sockets, &port), -ETIMEDOUT);
                clock_gettime(CLOCK_MONOTONIC, &end);
                assert_true(i == 0 || end.tv_sec - begin.tv_sec < 2);
        }
        launcher_free(l);
        unlink(address.sun_path);
        close(fd);
}

/* Its processes do not outlive it. */
static void takes_them_along(void **state)
{
        struct launcher *l = *state;
        struct process p = start(l, &resolver);
        char byte;

        assert_says(p.socket, RESOLVER_WORKER_ARGUMENT " ");
        l = launcher_free(l);
        assert_false(readable(p.lifeline, 0)); /* it is waited for no longer than a moment */
        close(p.lifeline);
        assert_true(readable(p.socket, PATIENCE));
        assert_int_equal(recv(p.socket, &byte, 1, 0), 0);
        close(p.socket);
        *state = NULL;
        for (unsigned i = 0; i < PATIENCE && waitpid(-1, NULL, WNOHANG) == 0; i++)
                (void)poll(NULL, 0, 1);
}

int main(int argc, char **argv)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
        const struct CMUnitTest tests[] = {
                TEST(starts_and_ends),
                TEST(tells_of_an_end),
                TEST(is_replaced_when_it_is_gone),
                TEST(may_hang),
                TEST(takes_a_port),
                cmocka_unit_test(says_why_not),
                cmocka_unit_test(refuses_what_nobody_needs),
                cmocka_unit_test(hangs_up_on_nonsense),
                TEST(starts_so_many),
                cmocka_unit_test(serves_who_connects),
                cmocka_unit_test(service_may_hang),
                TEST(takes_them_along),
        };

        if (argc > 1 && strcmp(argv[1], LAUNCHER_ARGUMENT) == 0)
                return launcher_run(SELF);
        if (argc > 1)
                hang(argc, argv);
        return cmocka_run_group_tests_name("launcher", tests, NULL, NULL);
}
