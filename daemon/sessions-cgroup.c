/* SPDX-License-Identifier: GPL-2.0-or-later */

#include "sessions-cgroup.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <mntent.h>
#include <string.h>
#include <sys/stat.h>

/* linux/exportfs.h keeps it from user space: a handle that is a kernfs node's 64-bit id. */
#define KERNFS_HANDLE 0xfe
/* Trees made by people with a right to delegation can be deep, but not endless. */
#define DEPTH_MAX 64

int cgroup_find_root(const char *mounts, char **ret)
{
        FILE *f = setmntent(mounts, "re");
        struct mntent entry;
        char line[4096], *root = NULL;
        int r = -ENOENT;

        if (!f)
                return -errno;
        while (r == -ENOENT && getmntent_r(f, &entry, line, sizeof(line)))
                if (strcmp(entry.mnt_type, "cgroup2") == 0) {
                        root = strdup(entry.mnt_dir);
                        r = root ? 0 : -ENOMEM;
                }
        endmntent(f);
        if (r == 0)
                *ret = root;
        return r;
}

bool cgroup_parse_slice(const char *name, uint32_t *ret_uid)
{
        uint64_t uid = 0;
        const char *c;

        if (strncmp(name, "user-", 5) != 0)
                return false;
        for (c = name + 5; *c >= '0' && *c <= '9' && uid <= UINT32_MAX; c++)
                uid = uid * 10 + (uint64_t)(*c - '0');
        /* "user-1000-foo.slice" is a slice below it, "user-01.slice" is nobody's. */
        if (c == name + 5 || (name[5] == '0' && c > name + 6) || strcmp(c, ".slice") != 0 ||
            uid >= UINT32_MAX)
                return false;
        *ret_uid = (uint32_t)uid;
        return true;
}

static int ids_append(struct cgroup_ids *ids, uint64_t id)
{
        if (ids->n == ids->capacity) {
                size_t capacity = ids->capacity ? ids->capacity * 2 : 32;
                uint64_t *more = reallocarray(ids->items, capacity, sizeof(*more));

                if (!more)
                        return -ENOMEM;
                ids->items = more;
                ids->capacity = capacity;
        }
        ids->items[ids->n++] = id;
        return 0;
}

static int compare_ids(const void *a, const void *b)
{
        uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

        return (x > y) - (x < y);
}

void cgroup_ids_sort(struct cgroup_ids *ids)
{
        if (ids->n > 1)
                qsort(ids->items, ids->n, sizeof(*ids->items), compare_ids);
}

/* It is the inode number on 64-bit machines only, so the handle is asked first. */
int cgroup_id_of(int fd, uint64_t *ret)
{
        union {
                struct file_handle handle;
                char room[sizeof(struct file_handle) + MAX_HANDLE_SZ];
        } u = {.handle.handle_bytes = MAX_HANDLE_SZ};
        struct stat st;
        int mount_id;

        if (name_to_handle_at(fd, "", &u.handle, &mount_id, AT_EMPTY_PATH) == 0 &&
            u.handle.handle_type == KERNFS_HANDLE && u.handle.handle_bytes == sizeof(*ret)) {
                memcpy(ret, u.handle.f_handle, sizeof(*ret));
                return 0;
        }
        if (fstat(fd, &st) < 0)
                return -errno;
        *ret = st.st_ino;
        return 0;
}

static void closedirp(DIR **d)
{
        if (*d)
                closedir(*d);
}

DIR *cgroup_open_listing(int fd)
{
        DIR *d = fd < 0 ? NULL : fdopendir(fd);

        if (!d && fd >= 0) {
                int saved = errno;

                close(fd);
                errno = saved;
        }
        return d;
}

int cgroup_open_child(int at, const char *name)
{
        return openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

bool cgroup_may_be_directory(const struct dirent *e)
{
        return (e->d_type == DT_DIR || e->d_type == DT_UNKNOWN) && e->d_name[0] != '.';
}

static int add_id(int fd, struct cgroup_ids *ids)
{
        uint64_t id;
        int r = cgroup_id_of(fd, &id);

        return r < 0 ? r : ids_append(ids, id);
}

/* The processes of one control group. A threaded one does not list any: its domain does. */
static int add_pids(int fd, struct cgroup_ids *ids)
{
        int procs = openat(fd, "cgroup.procs", O_RDONLY | O_NOFOLLOW | O_CLOEXEC), r = 0;
        _cleanup_fclose_ FILE *f = procs < 0 ? NULL : fdopen(procs, "re");
        _cleanup_free_ char *line = NULL;
        size_t size = 0;

        if (!f) {
                if (procs >= 0)
                        close(procs);
                return procs >= 0 ? -ENOMEM : 0;
        }
        while (r == 0 && getline(&line, &size, f) > 0)
                r = ids_append(ids, strtoull(line, NULL, 10));
        return r;
}

/* Adds what ADD finds in the control group FD (taken over) and, if BELOW, in all inside it. One that goes
 * away meanwhile is not an error. */
static int add_tree(int fd, bool below, unsigned depth, int (*add)(int fd, struct cgroup_ids *ids),
                    struct cgroup_ids *ids)
{
        _cleanup_(closedirp) DIR *d = cgroup_open_listing(fd);
        const struct dirent *e;
        int r;

        if (!d)
                return errno == ENOMEM ? -ENOMEM : 0;
        r = add(dirfd(d), ids);
        while (r == 0 && below && depth < DEPTH_MAX && (e = readdir(d)))
                if (cgroup_may_be_directory(e))
                        r = add_tree(cgroup_open_child(dirfd(d), e->d_name), below, depth + 1, add, ids);
        return r == -ENOENT || r == -ENODEV ? 0 : r;
}

int cgroup_add_tree(int fd, bool below, struct cgroup_ids *ids)
{
        return add_tree(fd, below, 0, add_id, ids);
}

static DIR *open_user_slice(const char *root)
{
        int fd = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC), child;

        if (fd < 0)
                return NULL;
        child = cgroup_open_child(fd, "user.slice");
        close(fd);
        return cgroup_open_listing(child);
}

int cgroup_user_slices(const char *root, const struct idset *uids, bool below, uint64_t **ret, size_t *ret_n)
{
        _cleanup_(closedirp) DIR *d = open_user_slice(root);
        struct cgroup_ids ids = {0};
        const struct dirent *e;
        uint32_t uid;
        int r = 0;

        if (!d && errno != ENOENT)
                return -errno;
        /* By what is there, not by UIDS: an order may cover a hundred thousand people. */
        while (r == 0 && d && (e = readdir(d)))
                if (cgroup_parse_slice(e->d_name, &uid) && idset_contains(uids, uid))
                        r = cgroup_add_tree(cgroup_open_child(dirfd(d), e->d_name), below, &ids);
        if (r < 0) {
                free(ids.items);
                return r;
        }
        cgroup_ids_sort(&ids);
        *ret = ids.items;
        *ret_n = ids.n;
        return 0;
}

int cgroup_session_pids(const char *root, uint32_t uid, const char *id, uint64_t **ret, size_t *ret_n)
{
        _cleanup_(closedirp) DIR *d = open_user_slice(root);
        char slice[sizeof("user-4294967295.slice")], scope[NAME_MAX + 1];
        struct cgroup_ids ids = {0};
        int fd, r;

        if (!d && errno != ENOENT)
                return -errno;
        (void)snprintf(slice, sizeof(slice), "user-%" PRIu32 ".slice", uid);
        if (snprintf(scope, sizeof(scope), "session-%s.scope", id) >= (int)sizeof(scope))
                return -ENAMETOOLONG;
        fd = d ? cgroup_open_child(dirfd(d), slice) : -1;
        if (fd >= 0) {
                int child = cgroup_open_child(fd, scope);

                close(fd);
                fd = child;
        }
        r = fd >= 0 ? add_tree(fd, true, 0, add_pids, &ids) : 0;
        if (r < 0) {
                free(ids.items);
                return r;
        }
        *ret = ids.items;
        *ret_n = ids.n;
        return 0;
}
