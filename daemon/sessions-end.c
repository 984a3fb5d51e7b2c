/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Not by the control group's own cgroup.kill, which the unit's sandbox keeps read-only, but by one signal for
 * each process. Whoever forks faster than that keeps processes of their own, and no connection: what holds it
 * is sshd's, which does not fork. Descendants count because a person can have the service manager move
 * processes of their uid, and half of an sshd is one, out of the session; they are found only while their
 * parent lives, so all are found first and killed then. */

#include "sessions-end.h"
#include "cleanup.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#define DESCENDANTS_MAX 65536

/* A number may be used again: the moment it was started tells two processes apart. */
struct process {
        pid_t pid, parent;
        uint64_t started;
};

struct processes {
        struct process *items;
        size_t n, capacity;
};

static void processes_clear(struct processes *p)
{
        free(p->items);
        *p = (struct processes){0};
}

static bool processes_contain(const struct processes *p, pid_t pid)
{
        for (size_t i = 0; i < p->n; i++)
                if (p->items[i].pid == pid)
                        return true;
        return false;
}

static int processes_add(struct processes *p, const struct process *item)
{
        if (p->n == p->capacity) {
                size_t capacity = p->capacity ? p->capacity * 2 : 32;
                struct process *more = reallocarray(p->items, capacity, sizeof(*more));

                if (!more)
                        return -ENOMEM;
                p->items = more;
                p->capacity = capacity;
        }
        p->items[p->n++] = *item;
        return 0;
}

/* The field N places behind *AT, numbers with one blank between them. */
static uint64_t skip_to(const char **at, unsigned n)
{
        char *end;
        uint64_t value;

        for (; n > 0 && *at; n--) {
                *at = strchr(*at, ' ');
                *at = *at ? *at + 1 : NULL;
        }
        value = *at ? strtoull(*at, &end, 10) : 0;
        if (*at && end == *at)
                *at = NULL;
        return value;
}

/* "PID (NAME) STATE PARENT …", the moment it was started is the 22nd; a name may contain anything. False:
 * there is no such process. */
static bool look_at(pid_t pid, struct process *ret)
{
        char path[32], text[1024];
        struct process p = {.pid = pid};
        _cleanup_close_ int fd = -1;
        const char *at;
        ssize_t n;

        (void)snprintf(path, sizeof(path), "/proc/%d/stat", pid);
        fd = open(path, O_RDONLY | O_CLOEXEC);
        n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
        if (n < 0)
                return false;
        text[n] = '\0';
        at = strrchr(text, ')');
        p.parent = (pid_t)skip_to(&at, 2);
        p.started = skip_to(&at, 18);
        if (!at)
                return false;
        *ret = p;
        return true;
}

/* Is it (still) in the session's scope, or in a control group inside that? */
static bool is_in_session(pid_t pid, uint32_t uid, const char *id)
{
        char path[32], wanted[NAME_MAX + 64];
        _cleanup_free_ char *line = NULL;
        _cleanup_fclose_ FILE *f = NULL;
        size_t size = 0, length;
        bool found = false;

        (void)snprintf(path, sizeof(path), "/proc/%d/cgroup", pid);
        length = (size_t)snprintf(wanted, sizeof(wanted),
                                  "/user.slice/user-%" PRIu32 ".slice/session-%s.scope", uid, id);
        f = fopen(path, "re");
        while (f && !found && getline(&line, &size, f) > 0) {
                const char *at = strncmp(line, "0::", 3) == 0 ? strstr(line, wanted) : NULL;

                found = at && (at[length] == '/' || at[length] == '\n');
        }
        return found;
}

static bool may_be_killed(const struct processes *p, pid_t pid)
{
        return pid > 1 && pid != getpid() && !processes_contain(p, pid);
}

static int add_member(struct processes *p, pid_t pid, uint32_t uid, const char *id)
{
        struct process item;

        if (!may_be_killed(p, pid) || !look_at(pid, &item) || !is_in_session(pid, uid, id))
                return 0;
        return processes_add(p, &item);
}

static int add_child(struct processes *p, pid_t pid, pid_t parent)
{
        struct process item;

        if (!may_be_killed(p, pid) || !look_at(pid, &item) || item.parent != parent)
                return 0;
        return processes_add(p, &item);
}

/* The children of one thread. Where the kernel keeps no such list (CONFIG_PROC_CHILDREN) the members of the
 * session are all that is found. */
static int add_children_of_thread(struct processes *p, pid_t pid, const char *thread)
{
        char path[64 + NAME_MAX];
        _cleanup_free_ char *word = NULL;
        _cleanup_fclose_ FILE *f = NULL;
        size_t size = 0;
        int r = 0;

        (void)snprintf(path, sizeof(path), "/proc/%d/task/%s/children", pid, thread);
        f = fopen(path, "re");
        while (f && r == 0 && getdelim(&word, &size, ' ', f) > 0)
                r = add_child(p, (pid_t)strtol(word, NULL, 10), pid);
        return r;
}

static int add_children(struct processes *p, pid_t pid)
{
        char path[32];
        const struct dirent *e;
        DIR *d;
        int r = 0;

        (void)snprintf(path, sizeof(path), "/proc/%d/task", pid);
        d = opendir(path);
        if (!d)
                return 0;
        while (r == 0 && (e = readdir(d)))
                if (e->d_name[0] != '.')
                        r = add_children_of_thread(p, pid, e->d_name);
        closedir(d);
        return r;
}

/* 1: told to die, 0: gone already, -errno. A pidfd is of one process for ever. */
static int kill_process(const struct process *p)
{
        _cleanup_close_ int fd = (int)syscall(SYS_pidfd_open, p->pid, 0);
        struct process now;

        if (fd < 0)
                return errno == ESRCH || errno == EINVAL ? 0 : -errno;
        if (!look_at(p->pid, &now) || now.started != p->started)
                return 0;
        if (syscall(SYS_pidfd_send_signal, fd, SIGKILL, NULL, 0) < 0)
                return errno == ESRCH ? 0 : -errno;
        return 1;
}

int session_kill(uint32_t uid, const char *id, const uint64_t *pids, size_t n, size_t *ret_n)
{
        _cleanup_(processes_clear) struct processes p = {0};
        size_t killed = 0;
        int r = 0;

        for (size_t i = 0; r == 0 && i < n; i++)
                r = add_member(&p, (pid_t)pids[i], uid, id);
        for (size_t i = 0; r == 0 && i < p.n && p.n < DESCENDANTS_MAX; i++)
                r = add_children(&p, p.items[i].pid);
        for (size_t i = 0; i < p.n; i++) {
                int k = kill_process(&p.items[i]);

                if (k > 0)
                        killed++;
                else if (k < 0 && r == 0)
                        r = k;
        }
        *ret_n = killed;
        return r;
}

bool session_has_login(const uint64_t *pids, size_t n)
{
        char path[32];
        struct stat st;

        for (size_t i = 0; i < n; i++) {
                (void)snprintf(path, sizeof(path), "/proc/%" PRIu64, pids[i]);
                if (stat(path, &st) == 0 && st.st_uid == 0)
                        return true;
        }
        return false;
}
