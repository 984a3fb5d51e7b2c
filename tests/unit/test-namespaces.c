/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Processes in network namespaces of their own are found, counted and named, without a right to trace them.
 */
// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
// clang-format on
#include "namespaces.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define ALICE 2001
#define BOB 2002

/* In a new network namespace, or in that of ELSEWHERE. */
static pid_t child_new(uint32_t uid, pid_t elsewhere)
{
        int ready[2];
        pid_t pid;
        char byte;

        assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
        pid = fork();
        assert_true(pid >= 0);
        if (pid == 0) {
                char path[64];
                int fd = -1, r;

                (void)snprintf(path, sizeof(path), "/proc/%d/ns/net", (int)elsewhere);
                if (elsewhere)
                        fd = open(path, O_RDONLY | O_CLOEXEC);
                r = elsewhere ? setns(fd, CLONE_NEWNET) : unshare(CLONE_NEWNET);
                if (r < 0 || setresuid(uid, uid, uid) < 0 || prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 ||
                    write(ready[1], "", 1) != 1)
                        _exit(1);
                for (;;)
                        pause();
        }
        close(ready[1]);
        assert_int_equal(read(ready[0], &byte, 1), 1);
        close(ready[0]);
        return pid;
}

static void child_end(pid_t pid)
{
        assert_int_equal(kill(pid, SIGKILL), 0);
        assert_int_equal(waitpid(pid, NULL, 0), pid);
}

static const struct namespace *with_process(const struct namespaces *s, pid_t pid)
{
        for (size_t i = 0; i < s->n; i++)
                for (size_t j = 0; j < s->items[i].n_users; j++)
                        if (s->items[i].users[j].pid == pid)
                                return &s->items[i];
        return NULL;
}

static void processes_elsewhere_are_counted_by_user(void **state)
{
        _cleanup_namespaces_ struct namespaces found = {0}, after = {0};
        pid_t first = child_new(BOB, 0), second = child_new(ALICE, first), third = child_new(ALICE, first),
              other = child_new(0, 0);
        const struct namespace *n;

        (void)state;
        assert_int_equal(namespaces_read(&found), 0);
        assert_false(found.cut);
        assert_null(with_process(&found, getpid()));
        assert_null(with_process(&found, getppid()));
        n = with_process(&found, first);
        assert_non_null(n);
        assert_int_equal(n->processes, 3);
        assert_int_equal(n->n_users, 2);
        assert_int_equal(n->users[0].uid, ALICE);
        assert_int_equal(n->users[0].processes, 2);
        assert_true(n->users[0].pid == second || n->users[0].pid == third);
        assert_int_equal(n->users[1].uid, BOB);
        n = with_process(&found, other);
        assert_non_null(n);
        assert_int_equal(n->processes, 1);
        child_end(first);
        child_end(second);
        child_end(third);
        child_end(other);
        assert_int_equal(namespaces_read(&after), 0);
        assert_null(with_process(&after, first));
        assert_null(with_process(&after, other));
}

/* As the daemon is confined by its unit. In a child, for rights do not come back. */
static void no_right_to_trace_is_needed(void **state)
{
        pid_t alice = child_new(ALICE, 0);
        int status;
        pid_t pid;

        (void)state;
        pid = fork();
        if (pid == 0) {
                struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
                struct __user_cap_data_struct none[2] = {0};
                _cleanup_namespaces_ struct namespaces found = {0};
                const struct namespace *n = NULL;
                char path[64], link[64];

                (void)snprintf(path, sizeof(path), "/proc/%d/ns/net", (int)alice);
                if (syscall(SYS_capset, &header, none) < 0 || readlink(path, link, sizeof(link)) >= 0)
                        _exit(2);
                if (namespaces_read(&found) >= 0)
                        n = with_process(&found, alice);
                _exit(n && n->users[0].uid == ALICE ? 0 : 1);
        }
        assert_int_equal(waitpid(pid, &status, 0), pid);
        child_end(alice);
        assert_int_equal(status, 0);
}

static bool shell(const char *format, ...) __attribute__((format(printf, 1, 2)));
static bool shell(const char *format, ...)
{
        char command[512];
        va_list ap;

        va_start(ap, format);
        (void)vsnprintf(command, sizeof(command), format, ap);
        va_end(ap);
        return system(command) == 0; /* NOLINT(cert-env33-c): a test */
}

static void names_come_from_run_netns(void **state)
{
        _cleanup_namespaces_ struct namespaces found = {0};
        pid_t alice, bob;
        const struct namespace *n;
        struct stat st;
        char path[64];

        (void)state;
        if (!shell("command -v ip > /dev/null"))
                skip();
        assert_int_equal(unshare(CLONE_NEWNET | CLONE_NEWNS), 0);
        assert_int_equal(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL), 0);
        assert_int_equal(mount("tmpfs", "/run", "tmpfs", 0, NULL), 0);
        alice = child_new(ALICE, 0);
        bob = child_new(BOB, 0);
        assert_true(shell("ip netns attach blue %d && ip netns attach red %d && echo > /run/netns/nothing",
                          (int)alice, (int)bob));
        assert_true(shell("ip link add veth1 type veth peer name veth2 netns %d", (int)alice));
        assert_int_equal(namespaces_read(&found), 0);
        n = with_process(&found, alice);
        assert_non_null(n);
        (void)snprintf(path, sizeof(path), "/proc/%d/ns/net", (int)alice);
        assert_int_equal(stat(path, &st), 0);
        assert_non_null(n->name);
        assert_string_equal(n->name, "blue");
        assert_true(n->inode == st.st_ino);
        n = with_process(&found, bob); /* no device leads there: the kernel has no number for it */
        assert_non_null(n);
        assert_true(!n->name || strcmp(n->name, "red") == 0);
        child_end(alice);
        child_end(bob);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(processes_elsewhere_are_counted_by_user),
                cmocka_unit_test(no_right_to_trace_is_needed),
                cmocka_unit_test(names_come_from_run_netns),
        };

        if (geteuid() != 0) {
                puts("namespaces: skipped: needs root, for network namespaces");
                return 0;
        }
        return cmocka_run_group_tests_name("namespaces", tests, NULL, NULL);
}
