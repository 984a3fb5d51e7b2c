// SPDX-License-Identifier: GPL-2.0-or-later
#include "cleanup.h"
#include "worker.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
// clang-format off
#include <cmocka.h>
// clang-format on

#ifdef __SANITIZE_ADDRESS__
#define SANITIZED 1
#else
#define SANITIZED 0
#endif

static const struct worker_limits limits = {
        .files = 16, .memory = UINT64_C(256) << 20, .processor = 30, .oom_score = 1000};

/* In a process of its own that has been confined: its answer, 0 or the number of the line that is wrong. */
static int confined(int (*check)(void))
{
        int status;
        pid_t pid = fork();

        assert_true(pid >= 0);
        if (pid == 0)
                _exit(worker_confine(&limits) < 0 ? 255 : check());
        assert_int_equal(waitpid(pid, &status, 0), pid);
        return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

/* Lines fit into an exit status as their distance from here. */
#define FIRST_LINE __LINE__
#define EXPECT(what)                             \
        do {                                     \
                if (!(what))                     \
                        return __LINE__ - FIRST; \
        } while (0)

static bool refused(long result, int error)
{
        return result < 0 && errno == error;
}

static void *nothing(void *argument)
{
        return argument;
}

enum { FIRST = FIRST_LINE };

static int no_processes(void)
{
        char *const argv[] = {(char *)"/bin/true", NULL};
        pthread_t thread;

        EXPECT(refused(fork(), EPERM));
        EXPECT(refused(vfork(), EPERM));
        EXPECT(refused(execv("/bin/true", argv), EPERM));
        EXPECT(refused(syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0), EPERM));
        EXPECT(pthread_create(&thread, NULL, nothing, NULL) == 0 && pthread_join(thread, NULL) == 0);
        return 0;
}

/* Any number but the process's own is somebody else's to the filter; the kernel itself would allow this one.
 */
static void *ask_by_number(void *argument)
{
        static int error;
        struct rlimit l;

        (void)argument;
        error = prlimit(gettid(), RLIMIT_CPU, NULL, &l) < 0 ? errno : 0;
        return &error;
}

static int nothing_to_others(void)
{
        pthread_t thread;
        struct rlimit l;
        void *error = NULL;

        EXPECT(refused(kill(getppid(), 0), EPERM));
        EXPECT(refused(kill(-1, 0), EPERM));
        EXPECT(refused(syscall(SYS_tgkill, getppid(), getppid(), 0), EPERM));
        EXPECT(refused(syscall(SYS_tkill, getppid(), 0), EPERM));
        EXPECT(refused(syscall(SYS_pidfd_open, getppid(), 0), EPERM));
        EXPECT(refused(syscall(SYS_ptrace, 0, 0, 0, 0), EPERM));
        EXPECT(pthread_create(&thread, NULL, ask_by_number, NULL) == 0 && pthread_join(thread, &error) == 0);
        EXPECT(error != NULL && *(int *)error == EPERM);
        EXPECT(prlimit(getpid(), RLIMIT_CPU, NULL, &l) == 0 && getrlimit(RLIMIT_CPU, &l) == 0);
        EXPECT(kill(getpid(), 0) == 0);
        EXPECT(syscall(SYS_tgkill, getpid(), getpid(), 0) == 0);
        EXPECT(refused(prctl(PR_SET_PDEATHSIG, 0, 0, 0, 0), EPERM));
        EXPECT(refused(prctl(PR_SET_DUMPABLE, 1, 0, 0, 0), EPERM));
        EXPECT(prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) == 0);
        EXPECT(prctl(PR_SET_NAME, "name", 0, 0, 0) == 0);
        return 0;
}

static int sockets(void)
{
        EXPECT(socket(AF_UNIX, SOCK_STREAM, 0) >= 0);
        EXPECT(socket(AF_INET, SOCK_STREAM, 0) >= 0);
        EXPECT(socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE) >= 0);
        EXPECT(refused(socket(AF_NETLINK, SOCK_RAW, NETLINK_NETFILTER), EAFNOSUPPORT));
        EXPECT(refused(socket(AF_NETLINK, SOCK_RAW, NETLINK_SOCK_DIAG), EAFNOSUPPORT));
        EXPECT(refused(socket(AF_PACKET, SOCK_RAW, 0), EAFNOSUPPORT));
        EXPECT(refused(socket(AF_ALG, SOCK_SEQPACKET, 0), EAFNOSUPPORT));
        EXPECT(refused(syscall(SYS_unshare, 0), EPERM));
        EXPECT(refused(syscall(SYS_bpf, 0, 0, 0), EPERM));
        EXPECT(refused(syscall(SYS_io_uring_setup, 0, 0), EPERM));
        return 0;
}

static int little_to_use_up(void)
{
        struct rlimit l;
        int fd = -1, last = -1;

        EXPECT(mmap(NULL, 300 << 20, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED);
        EXPECT(mmap(NULL, 1 << 20, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != MAP_FAILED);
        EXPECT(getrlimit(RLIMIT_CPU, &l) == 0 && l.rlim_max == limits.processor);
        EXPECT(getrlimit(RLIMIT_CORE, &l) == 0 && l.rlim_max == 0);
        while ((fd = dup(STDERR_FILENO)) >= 0)
                last = fd;
        EXPECT(errno == EMFILE && last < 16);
        return 0;
}

static int no_files(void)
{
        int fd = open("/dev/shm", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

        EXPECT(fd < 0 || refused(write(fd, "x", 1), EFBIG)); /* fd < 0: no such file system here */
        return 0;
}

static int nobody(void)
{
        char text[32] = "";
        FILE *f = fopen("/proc/self/oom_score_adj", "re");

        EXPECT(getuid() == 65534 && geteuid() == 65534 && getgid() == 65534 && getgroups(0, NULL) == 0);
        EXPECT(refused(setuid(0), EPERM));
        EXPECT(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1);
        EXPECT(f && fgets(text, sizeof(text), f) && strcmp(text, "1000\n") == 0);
        return 0;
}

/* A sanitizer's own ways would be refused. */
static void assert_confined(int (*check)(void))
{
        if (SANITIZED)
                skip();
        assert_int_equal(confined(check), 0);
}

static void test_starts_no_process(void **state)
{
        (void)state;
        assert_confined(no_processes);
}

static void test_does_nothing_to_others(void **state)
{
        (void)state;
        assert_confined(nothing_to_others);
}

static void test_speaks_to_directories_only(void **state)
{
        (void)state;
        assert_confined(sockets);
}

static void test_uses_up_little(void **state)
{
        (void)state;
        assert_confined(little_to_use_up);
}

static void test_writes_no_files(void **state)
{
        (void)state;
        assert_int_equal(confined(no_files), 0);
}

static void test_is_nobody(void **state)
{
        (void)state;
        if (geteuid() != 0)
                skip();
        assert_int_equal(confined(nobody), 0);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_starts_no_process),
                cmocka_unit_test(test_does_nothing_to_others),
                cmocka_unit_test(test_speaks_to_directories_only),
                cmocka_unit_test(test_uses_up_little),
                cmocka_unit_test(test_writes_no_files),
                cmocka_unit_test(test_is_nobody),
        };

        return cmocka_run_group_tests_name("worker", tests, NULL, NULL);
}
