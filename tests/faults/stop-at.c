/* SPDX-License-Identifier: GPL-2.0-or-later */

/* stop-at [-n NUMBER] [-e ERROR] [-s NAMES] [-k KIND] [-l LOG] -o FILE -p PID             a process that runs
 * stop-at [-n NUMBER] [-e ERROR] [-s NAMES] [-k KIND] [-l LOG] -o FILE PROGRAM ARGUMENT…  one that is
 * started: it takes this one's place
 *
 * Follows all threads of a process (not those it forks off) and counts its system calls from here on, or
 * those only that are in NAMES, a list with commas ("openat:create": if it may create a file), and are about
 * something that begins with KIND. At the entry of call NUMBER, before the kernel has done anything of it,
 * the process is killed; with -e that call alone is not performed and returns ERROR, a number, and the
 * process is let go. Killing at the entry of each call stands for killing it after each call as well: between
 * the end of one and the entry of the next nothing changes outside of the process. (Memory that it shares
 * with others would be such a thing; the daemon has none but the plans of the second lock, which are mapped
 * by nobody.)
 *
 * FILE gets "ready PID" when the next call will be number 1, PID being who follows: SIGTERM ends that, and
 * the process goes on by itself. Then "NUMBER NAME ARGUMENTS WHAT" of the call that was reached, WHAT being
 * the path it is about, or what the first argument is if that is a descriptor, or "-", and at the end "end".
 * LOG gets such a line for each call. */

#include <dirent.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <linux/netlink.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#include "syscall-names.h" /* made from the compiler's <asm/unistd.h> */

#define OPTIONS (PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACECLONE | PTRACE_O_TRACEEXEC)

struct job {
        pid_t pid;
        unsigned long number, count;
        int error;                /* 0: kill */
        const char *names, *kind; /* NULL: all */
        FILE *out, *log;
        bool after_exec; /* counting begins when the program has been started */
        pid_t failing;   /* the thread whose call is to return ERROR */
};

static volatile sig_atomic_t told_to_end;

static void on_signal(int number)
{
        (void)number;
        told_to_end = 1;
}

static const char *name_of(uint64_t number)
{
        for (size_t i = 0; i < sizeof(syscall_names) / sizeof(*syscall_names); i++)
                if (syscall_names[i].number == number)
                        return syscall_names[i].name;
        return "?";
}

/* What a socket is; WHAT as it was if it cannot be asked. */
static void describe_socket(pid_t pid, int fd, char *what, size_t size)
{
        int pidfd = (int)syscall(SYS_pidfd_open, pid, 0), domain = 0, protocol = 0, copy;
        socklen_t n = sizeof(int);

        copy = pidfd < 0 ? -1 : (int)syscall(SYS_pidfd_getfd, pidfd, fd, 0);
        if (copy >= 0 && getsockopt(copy, SOL_SOCKET, SO_DOMAIN, &domain, &n) == 0 &&
            getsockopt(copy, SOL_SOCKET, SO_PROTOCOL, &protocol, &n) == 0) {
                if (domain == AF_NETLINK)
                        (void)snprintf(what, size, "netlink:%s",
                                       protocol == NETLINK_NETFILTER   ? "netfilter"
                                       : protocol == NETLINK_ROUTE     ? "route"
                                       : protocol == NETLINK_SOCK_DIAG ? "sock_diag"
                                                                       : "other");
                else
                        (void)snprintf(what, size, "%s", domain == AF_UNIX ? "unix" : "inet");
        }
        if (copy >= 0)
                close(copy);
        if (pidfd >= 0)
                close(pidfd);
}

static void describe_descriptor(pid_t pid, uint64_t argument, char *what, size_t size)
{
        char path[64];
        ssize_t n;

        if (argument > 4096)
                return;
        (void)snprintf(path, sizeof(path), "/proc/%d/fd/%u", pid, (unsigned)argument);
        n = readlink(path, what, size - 1);
        what[n > 0 ? n : 1] = '\0';
        if (strncmp(what, "socket:", 7) == 0)
                describe_socket(pid, (int)argument, what, size);
}

/* The string at ADDRESS of the process, as far as it can be read in one piece. */
static void describe_path(pid_t pid, uint64_t address, char *what, size_t size)
{
        const size_t page = 4096, left = page - address % page;
        struct iovec to = {what, left < size - 1 ? left : size - 1},
                     from = {(void *)(uintptr_t)address, to.iov_len};
        ssize_t n = process_vm_readv(pid, &to, 1, &from, 1, 0);

        what[n > 0 ? n : 1] = '\0';
        for (char *c = what; *c; c++)
                if (*c == '\n')
                        *c = ' ';
}

static bool is_one_of(const char *name, const char *list)
{
        const size_t n = strlen(name);

        for (const char *at = list; at && (at = strstr(at, name)); at += n)
                if ((at == list || at[-1] == ',') && (at[n] == '\0' || at[n] == ','))
                        return true;
        return false;
}

static void describe(pid_t pid, const struct __ptrace_syscall_info *info, char *what, size_t size)
{
        const char *name = name_of(info->entry.nr);

        (void)snprintf(what, size, "-");
        if (is_one_of(name, "open,mkdir,rmdir,unlink,rename,access,stat,lstat,readlink,statfs,chmod,mknod"))
                describe_path(pid, info->entry.args[0], what, size);
        else if (is_one_of(name, "openat,mkdirat,unlinkat,renameat,renameat2,newfstatat,faccessat,faccessat2,"
                                 "readlinkat"))
                describe_path(pid, info->entry.args[1], what, size);
        else if (!is_one_of(name, "bpf,socket,mmap,munmap,brk,futex,clone,clone3,kill,prctl,timerfd_create,"
                                  "epoll_create1"))
                describe_descriptor(pid, info->entry.args[0], what, size);
}

static void tell(FILE *f, const struct job *j, const struct __ptrace_syscall_info *info)
{
        char what[512];

        describe(j->pid, info, what, sizeof(what));
        fprintf(f, "%lu %s %" PRIx64 " %" PRIx64 " %" PRIx64 " %s\n", j->count, name_of(info->entry.nr),
                (uint64_t)info->entry.args[0], (uint64_t)info->entry.args[1], (uint64_t)info->entry.args[2],
                what);
}

static bool is_of_kind(const struct job *j, const struct __ptrace_syscall_info *info)
{
        char what[512];

        if (!j->kind)
                return true;
        describe(j->pid, info, what, sizeof(what));
        return strncmp(what, j->kind, strlen(j->kind)) == 0;
}

static bool has_name(const struct job *j, const struct __ptrace_syscall_info *info)
{
        const char *name = name_of(info->entry.nr);

        return !j->names || is_one_of(name, j->names) ||
               (strcmp(name, "openat") == 0 && (info->entry.args[2] & O_CREAT) &&
                is_one_of("openat:create", j->names));
}

/* Puts off the call that THREAD is about to make (ENTRY), or sets what it returns. */
static int change(pid_t thread, bool entry, long value)
{
#if defined(__x86_64__)
        struct user_regs_struct r;

        if (ptrace(PTRACE_GETREGS, thread, NULL, &r) < 0)
                return -errno;
        if (entry)
                r.orig_rax = (unsigned long long)-1;
        else
                r.rax = (unsigned long long)value;
        return ptrace(PTRACE_SETREGS, thread, NULL, &r) < 0 ? -errno : 0;
#elif defined(__aarch64__)
        struct user_regs_struct r;
        int none = -1;
        struct iovec number = {&none, sizeof(none)}, all = {&r, sizeof(r)};

        if (entry)
                return ptrace(PTRACE_SETREGSET, thread, (void *)0x404 /* NT_ARM_SYSTEM_CALL */, &number) < 0
                               ? -errno
                               : 0;
        if (ptrace(PTRACE_GETREGSET, thread, (void *)NT_PRSTATUS, &all) < 0)
                return -errno;
        r.regs[0] = (unsigned long long)value;
        return ptrace(PTRACE_SETREGSET, thread, (void *)NT_PRSTATUS, &all) < 0 ? -errno : 0;
#else
        (void)thread;
        (void)entry;
        (void)value;
        return -ENOSYS;
#endif
}

/* THREAD enters or leaves a call. True: all is done. */
static bool on_call(struct job *j, pid_t thread)
{
        struct __ptrace_syscall_info info = {0};

        if (ptrace(PTRACE_GET_SYSCALL_INFO, thread, sizeof(info), &info) < 0)
                return false;
        if (info.op == PTRACE_SYSCALL_INFO_EXIT && thread == j->failing) {
                (void)change(thread, false, -j->error);
                return true;
        }
        if (info.op != PTRACE_SYSCALL_INFO_ENTRY || j->after_exec || j->failing)
                return false;
        if (!has_name(j, &info) || !is_of_kind(j, &info))
                return false;
        j->count++;
        if (j->log)
                tell(j->log, j, &info);
        if (j->count != j->number)
                return false;
        tell(j->out, j, &info);
        if (j->error == 0) {
                (void)kill(j->pid, SIGKILL);
                return true;
        }
        if (change(thread, true, 0) < 0)
                exit(2);
        j->failing = thread;
        return false;
}

static void ready(struct job *j)
{
        j->after_exec = false;
        fprintf(j->out, "ready %d\n", getpid());
}

/* What THREAD stopped for. True: all is done, and THREAD is let go. */
static bool on_stop(struct job *j, pid_t thread, int status)
{
        const int event = status >> 16, signal = WSTOPSIG(status);
        int deliver = 0;

        if (signal == (SIGTRAP | 0x80)) {
                if (on_call(j, thread)) {
                        (void)ptrace(PTRACE_DETACH, thread, NULL, NULL);
                        return true;
                }
        } else if (event == PTRACE_EVENT_EXEC && j->after_exec)
                ready(j);
        else if (event == PTRACE_EVENT_STOP && signal != SIGTRAP) {
                /* stopped as a whole: stays so */
                (void)ptrace(PTRACE_LISTEN, thread, NULL, NULL);
                return false;
        } else if (event == 0)
                deliver = signal;
        (void)ptrace(PTRACE_SYSCALL, thread, NULL, (void *)(long)deliver);
        return false;
}

/* 0: the call was reached; 1: it was not. A call that was put off gets its ERROR first, or it would return
 * one that no kernel does (ENOSYS). */
static int follow(struct job *j)
{
        while (!told_to_end || j->failing) {
                int status;
                pid_t thread = waitpid(-1, &status, __WALL);

                if (thread < 0 && errno == EINTR)
                        continue;
                if (thread < 0)
                        return 1; /* it ended */
                if (WIFSTOPPED(status) && on_stop(j, thread, status))
                        return 0;
        }
        return 1;
}

static int seize(pid_t thread)
{
        return ptrace(PTRACE_SEIZE, thread, NULL, (void *)OPTIONS) < 0 ||
                               ptrace(PTRACE_INTERRUPT, thread, NULL, NULL) < 0
                       ? -errno
                       : 0;
}

/* The program itself must be there; a thread of it may end between being listed and being seized (EPERM: it
 * has, and nobody has collected it). */
static int seize_all(pid_t pid)
{
        char path[32];
        struct dirent *e;
        pid_t thread;
        DIR *d;
        int r = 0;

        (void)snprintf(path, sizeof(path), "/proc/%d/task", pid);
        d = opendir(path);
        while (d && r == 0 && (e = readdir(d))) {
                if (e->d_name[0] == '.')
                        continue;
                thread = (pid_t)strtol(e->d_name, NULL, 10);
                r = seize(thread);
                if (thread != pid && (r == -ESRCH || r == -EPERM))
                        r = 0;
        }
        if (d)
                closedir(d);
        return d ? r : -errno;
}

/* The program takes the place of this process, so that whoever started it has it as a child. Returns in who
 * follows it, a process that is nobody's child: the program is told of no end but its own children's. */
static int start(char **argv, struct job *j)
{
        const pid_t program = getpid();
        char byte = 0;
        int go[2];
        pid_t child;

        if (pipe(go) < 0 || (child = fork()) < 0)
                return -errno;
        if (child > 0) {
                close(go[1]);
                (void)waitpid(child, NULL, 0);
                if (read(go[0], &byte, 1) == 1) {
                        close(go[0]);
                        (void)execv(argv[0], argv);
                }
                fprintf(stderr, "stop-at: %s cannot be started: %s\n", argv[0], strerror(errno));
                exit(2);
        }
        if (fork() != 0)
                _exit(0);
        close(go[0]);
        j->pid = program;
        j->after_exec = true;
        if (seize(program) < 0 || write(go[1], &byte, 1) != 1)
                return -errno;
        close(go[1]);
        return 0;
}

static FILE *open_lines(const char *path)
{
        FILE *f = fopen(path, "we");

        if (f)
                (void)setvbuf(f, NULL, _IOLBF, 0);
        else
                perror(path);
        return f;
}

static bool parse(int argc, char **argv, struct job *j)
{
        int c;

        while ((c = getopt(argc, argv, "+n:e:s:k:l:o:p:")) >= 0)
                switch (c) {
                case 'n':
                        j->number = strtoul(optarg, NULL, 10);
                        break;
                case 'e':
                        j->error = atoi(optarg);
                        break;
                case 's':
                        j->names = optarg;
                        break;
                case 'k':
                        j->kind = optarg;
                        break;
                case 'p':
                        j->pid = atoi(optarg);
                        break;
                case 'l':
                        if (!(j->log = fopen(optarg, "we")))
                                return false;
                        break;
                case 'o':
                        if (!(j->out = open_lines(optarg)))
                                return false;
                        break;
                default:
                        return false;
                }
        return j->out && (optind < argc) == (j->pid == 0);
}

int main(int argc, char **argv)
{
        struct job j = {0};
        int r;

        if (!parse(argc, argv, &j)) {
                fputs("usage: stop-at [-n NUMBER] [-e ERROR] [-s NAMES] [-k KIND] [-l LOG] -o FILE {-p PID | "
                      "PROGRAM ARGUMENT…}\n",
                      stderr);
                return 2;
        }
        r = j.pid ? seize_all(j.pid) : start(argv + optind, &j);
        if (r < 0) {
                fprintf(j.out, "cannot: %s\n", strerror(-r));
                return 2;
        }
        (void)sigaction(SIGTERM, &(struct sigaction){.sa_handler = on_signal}, NULL);
        if (!j.after_exec)
                ready(&j);
        r = follow(&j);
        if (j.log)
                (void)fclose(j.log);
        fputs("end\n", j.out);
        return r;
}
