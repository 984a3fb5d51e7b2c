/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Whose a socket is: the kernel gives the id of the control group it was made in. There is no way from the id
 * to the name without CAP_DAC_READ_SEARCH, so the tree is walked until all are found. */

#include "doors-internal.h"
#include "doors.h"
#include "sessions-cgroup.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>

/* A machine full of containers has some thousands. */
#define GROUPS_MAX 10000
#define DEPTH_MAX 24
/* Of one control group: enough to see what it is. */
#define PROCESSES_MAX 64

/* ---- the walk ---- */

struct walk {
        struct listeners *listeners;
        uint64_t *ids; /* wanted; sorted, each once */
        size_t n_ids, missing;
        unsigned left; /* control groups that may still be looked at */
        char path[PATH_MAX];
};

static bool is_nameless(const struct listener *l)
{
        return l->cgroup != 0 && !l->cgroup_path;
}

static int compare_ids(const void *a, const void *b)
{
        uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

        return (x > y) - (x < y);
}

static int wanted_ids(const struct listeners *l, struct walk *w)
{
        size_t n = 0;

        w->ids = calloc(l->n + 1, sizeof(*w->ids));
        if (!w->ids)
                return -ENOMEM;
        for (size_t i = 0; i < l->n; i++)
                if (is_nameless(&l->items[i]))
                        w->ids[n++] = l->items[i].cgroup;
        if (n > 1)
                qsort(w->ids, n, sizeof(*w->ids), compare_ids);
        for (size_t i = 0; i < n; i++)
                if (i == 0 || w->ids[i] != w->ids[w->n_ids - 1])
                        w->ids[w->n_ids++] = w->ids[i];
        w->missing = w->n_ids;
        return 0;
}

static int found(struct walk *w, uint64_t id)
{
        if (!bsearch(&id, w->ids, w->n_ids, sizeof(*w->ids), compare_ids))
                return 0;
        w->missing--;
        for (size_t i = 0; i < w->listeners->n; i++) {
                struct listener *l = &w->listeners->items[i];

                if (!is_nameless(l) || l->cgroup != id)
                        continue;
                l->cgroup_path = strdup(w->path);
                if (!l->cgroup_path)
                        return -ENOMEM;
        }
        return 0;
}

static int walk(struct walk *w, int fd, size_t length, unsigned depth);

/* A control group with nothing inside, which most are: its id is known without listing its many files. (On
 * 32-bit machines the inode number is not all of it.) */
static bool is_leaf(const struct stat *st)
{
        return st->st_nlink == 2 && sizeof(long) == sizeof(uint64_t);
}

static int walk_into(struct walk *w, int at, const char *name, size_t length, unsigned depth)
{
        size_t total = length + strlen(name) + (length > 0);
        struct stat st;
        int r;

        if (total >= sizeof(w->path) || depth >= DEPTH_MAX ||
            fstatat(at, name, &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISDIR(st.st_mode))
                return 0;
        (void)snprintf(w->path + length, sizeof(w->path) - length, "%s%s", length ? "/" : "", name);
        if (!is_leaf(&st))
                r = walk(w, cgroup_open_child(at, name), total, depth + 1);
        else
                r = w->left-- == 0 ? -E2BIG : found(w, st.st_ino);
        w->path[length] = '\0';
        return r;
}

/* Takes FD over. A control group that goes away meanwhile is no error. */
static int walk(struct walk *w, int fd, size_t length, unsigned depth)
{
        DIR *d = cgroup_open_listing(fd);
        const struct dirent *e;
        uint64_t id;
        int r;

        if (!d)
                return errno == ENOMEM ? -ENOMEM : 0;
        if (w->left-- == 0) {
                closedir(d);
                return -E2BIG;
        }
        r = cgroup_id_of(dirfd(d), &id) == 0 ? found(w, id) : 0;
        while (r == 0 && w->missing > 0 && (e = readdir(d)))
                if (cgroup_may_be_directory(e))
                        r = walk_into(w, dirfd(d), e->d_name, length, depth);
        closedir(d);
        return r;
}

/* ---- programs ---- */

struct process {
        char program[16];
        uint32_t uid;
};

/* "Name:\tsquid", "Uid:\tREAL\tEFFECTIVE…" */
static bool read_process(uint32_t pid, struct process *ret)
{
        char path[64], line[256], *rest;
        _cleanup_fclose_ FILE *f = NULL;
        bool name = false, uid = false;
        uint32_t real;

        (void)snprintf(path, sizeof(path), "/proc/%" PRIu32 "/status", pid);
        f = fopen(path, "re");
        while (f && !(name && uid) && fgets(line, sizeof(line), f)) {
                if (!name && strncmp(line, "Name:\t", 6) == 0) {
                        (void)snprintf(ret->program, sizeof(ret->program), "%.*s",
                                       (int)strcspn(line + 6, "\n"), line + 6);
                        name = true;
                } else if (strncmp(line, "Uid:\t", 5) == 0) {
                        rest = line + 5;
                        uid = next_number(&rest, &real) && next_number(&rest, &ret->uid);
                }
        }
        return name && uid;
}

static size_t read_processes(const char *cgroup_root, const char *cgroup_path, struct process *ret,
                             size_t max)
{
        char path[PATH_MAX], line[32], *rest;
        _cleanup_fclose_ FILE *f = NULL;
        uint32_t pid;
        size_t n = 0;

        if (snprintf(path, sizeof(path), "%s/%s/cgroup.procs", cgroup_root, cgroup_path) < (int)sizeof(path))
                f = fopen(path, "re");
        while (f && n < max && (rest = fgets(line, sizeof(line), f)))
                n += next_number(&rest, &pid) && read_process(pid, &ret[n]);
        return n;
}

bool doors_first_uid(const char *cgroup_root, const char *cgroup_path, uint32_t *ret)
{
        struct process first;

        if (read_processes(cgroup_root, cgroup_path, &first, 1) == 0)
                return false;
        *ret = first.uid;
        return true;
}

/* What every login has, and what listens in it only if nothing else is there that could (sshd, for somebody
 * who forwards a port from outside). */
static bool is_background(const char *program)
{
        static const char *const names[] = {"sshd",     "sshd-session", "login",        "systemd",
                                            "(sd-pam)", "bash",         "sh",           "dash",
                                            "zsh",      "fish",         "tmux: server", "screen"};

        for (size_t i = 0; i < ELEMENTSOF(names); i++)
                if (strcmp(names[i], program) == 0)
                        return true;
        return false;
}

/* Which of a login's processes has the socket cannot be told; if only one program comes into question, it
 * has. */
static const char *of_session(const struct process *p, size_t n, uint32_t uid)
{
        const char *only = NULL;
        bool background = false, sshd = false;

        for (size_t i = 0; i < n; i++) {
                if (p[i].uid != uid)
                        continue;
                sshd |= strncmp(p[i].program, "sshd", 4) == 0;
                if (is_background(p[i].program)) {
                        background = true;
                        continue;
                }
                if (only && strcmp(only, p[i].program) != 0)
                        return NULL;
                only = p[i].program;
        }
        return only ? only : background && sshd ? "sshd" : NULL;
}

/* A service's programs belong together: the one that is known, or the first. */
static const char *of_service(const struct process *p, size_t n)
{
        for (size_t i = 0; i < n; i++)
                if (doors_known_program(p[i].program))
                        return p[i].program;
        return n > 0 ? p[0].program : NULL;
}

static int name_program(struct listener *l, const struct process *processes, size_t n)
{
        _cleanup_free_ char *unit = doors_unit_of(l->cgroup_path);
        bool service = unit && strstr(unit, ".service");
        const char *program = service ? of_service(processes, n) : of_session(processes, n, l->uid);

        if (!program)
                return 0;
        l->program = strdup(program);
        return l->program ? 0 : -ENOMEM;
}

static int compare_paths(const void *a, const void *b)
{
        struct listener *const *x = a, *const *y = b;

        return strcmp((*x)->cgroup_path, (*y)->cgroup_path);
}

/* A control group's processes are read once, however many sockets it has: somebody may have thousands in one,
 * and the daemon answers nobody else meanwhile. */
static int name_programs(struct listeners *l, const char *cgroup_root)
{
        _cleanup_free_ struct listener **sorted = calloc(l->n + 1, sizeof(struct listener *));
        struct process processes[PROCESSES_MAX];
        size_t n = 0, n_processes = 0;
        int r = sorted ? 0 : -ENOMEM;

        for (size_t i = 0; r == 0 && i < l->n; i++)
                /* the root has whatever systemd does not manage */
                if (l->items[i].cgroup_path && *l->items[i].cgroup_path)
                        sorted[n++] = &l->items[i];
        if (n > 1)
                qsort(sorted, n, sizeof(*sorted), compare_paths);
        for (size_t i = 0; r == 0 && i < n; i++) {
                if (i == 0 || compare_paths(&sorted[i - 1], &sorted[i]) != 0)
                        n_processes = read_processes(cgroup_root, sorted[i]->cgroup_path, processes,
                                                     ELEMENTSOF(processes));
                r = name_program(sorted[i], processes, n_processes);
        }
        return r;
}

static int find_paths(struct listeners *l, const char *cgroup_root)
{
        struct walk w = {.listeners = l, .left = GROUPS_MAX};
        int r = wanted_ids(l, &w);

        if (r == 0 && w.missing > 0) {
                int fd = open(cgroup_root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

                r = fd < 0 ? -errno : walk(&w, fd, 0, 0);
        }
        free(w.ids);
        return r;
}

int doors_name(struct listeners *l, const char *cgroup_root)
{
        int r = find_paths(l, cgroup_root), named = name_programs(l, cgroup_root);

        return named < 0 ? named : r;
}
