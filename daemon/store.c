/* SPDX-License-Identifier: GPL-2.0-or-later */

/* The state directory: opening it safely, setting aside what is damaged, and the memberships. */

#include "own.h"
#include "store-internal.h"
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdarg.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define DAMAGED_NAME_SIZE 256
#define WHY_SIZE 64
#define NAME_SIZE 64

static const char *const dir_names[_DIR_MAX] = {
        [DIR_ORDERS] = "orders",   [DIR_HISTORY] = "history", [DIR_ATTEMPTS] = "attempts",
        [DIR_MEMBERS] = "members", [DIR_RECORD] = "record",   [DIR_DAMAGED] = "damaged",
        [DIR_SPARE] = "spare",
};

const char *store_dir_name(enum store_dir dir)
{
        return dir_names[dir];
}

bool store_id_valid(const char *id)
{
        return strlen(id) == 32 && strspn(id, "0123456789abcdef") == 32;
}

/* ---- opening ---- */

static int rename_new(int from_fd, const char *from, int to_fd, const char *to)
{
        if (renameat2(from_fd, from, to_fd, to, RENAME_NOREPLACE) == 0)
                return 0;
        if (errno != EINVAL && errno != ENOSYS)
                return -errno;
        /* A file system without RENAME_NOREPLACE: nobody but us writes here, so looking first will do. */
        if (faccessat(to_fd, to, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
                return -EEXIST;
        return renameat(from_fd, from, to_fd, to) < 0 ? -errno : 0;
}

__attribute__((format(printf, 3, 4))) static int refuse(char **ret_error, int r, const char *format, ...)
{
        va_list ap;

        if (ret_error) {
                va_start(ap, format);
                if (vasprintf(ret_error, format, ap) < 0)
                        *ret_error = NULL;
                va_end(ap);
        }
        return r;
}

/* What is found in place of a directory of ours. -EUCLEAN: it is not ours, WHY continues "… cannot be used:
 * ". PATH is for sentences. */
static int check_dir(int fd, const char *path, char why[static WHY_SIZE], struct problems *problems)
{
        struct stat st;

        if (fstat(fd, &st) < 0)
                return -errno;
        if (!own_uid(st.st_uid)) {
                snprintf(why, WHY_SIZE, "it belongs to uid %u", st.st_uid);
                return -EUCLEAN;
        }
        /* It says who is under suspicion: nobody else's to read. And who could write there decided who is
         * blocked. What is in it is taken as it stands all the same: orders that somebody wrote block people,
         * orders that are not read set them free. */
        if ((st.st_mode & 07777) != 0700 && fchmod(fd, 0700) < 0)
                return -errno;
        if ((st.st_mode & (S_IWGRP | S_IWOTH)) && problems)
                problems_add(problems,
                             "others could write to %s (mode %04o): what is in it is taken as it stands, and "
                             "nobody else can now; check it",
                             path, st.st_mode & 07777U);
        return 0;
}

static int try_dir(int at, const char *name, const char *path, int *ret_fd, char why[static WHY_SIZE],
                   struct problems *problems)
{
        _cleanup_close_ int fd = -1;
        bool made = mkdirat(at, name, 0700) == 0;
        struct stat st;
        int r;

        if (!made && errno != EEXIST)
                return -errno;
        fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (fd < 0) {
                r = -errno;
                if (fstatat(at, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
                        return r;
                if (S_ISDIR(st.st_mode) && own_uid(st.st_uid))
                        return r;
                if (S_ISDIR(st.st_mode))
                        snprintf(why, WHY_SIZE, "it belongs to uid %u", st.st_uid);
                else
                        snprintf(why, WHY_SIZE, "it is %s",
                                 S_ISLNK(st.st_mode) ? "a symbolic link" : "no directory");
                return -EUCLEAN;
        }
        if (made)
                (void)own_give_away(fd, at);
        r = check_dir(fd, path, why, problems);
        if (r < 0)
                return r;
        *ret_fd = TAKE_FD(fd);
        return 0;
}

/* Out of the way, beside its place: what is not ours is kept, whatever it is. */
static int move_aside(int at, const char *name, char as[static NAME_SIZE])
{
        struct timespec now;
        int r = -EEXIST;

        clock_gettime(CLOCK_REALTIME, &now);
        for (unsigned i = 0; r == -EEXIST && i < 1000; i++) {
                snprintf(as, NAME_SIZE, "%s.aside.%" PRIi64 "%s%.0u", name, (int64_t)now.tv_sec, i ? "." : "",
                         i);
                r = rename_new(at, name, at, as);
        }
        return r;
}

static int open_dir(int top, const char *dir, const char *name, int *ret_fd, struct problems *problems,
                    char **ret_error)
{
        _cleanup_free_ char *path = NULL;
        char why[WHY_SIZE] = "", as[NAME_SIZE];
        int r;

        if (asprintf(&path, "%s/%s", dir, name) < 0) {
                path = NULL;
                return -ENOMEM;
        }
        r = try_dir(top, name, path, ret_fd, why, problems);
        if (r == -EUCLEAN) {
                r = move_aside(top, name, as);
                if (r < 0)
                        return refuse(ret_error, r, "%s cannot be used: %s; it could not be set aside: %s",
                                      path, why, strerror(-r));
                if (problems)
                        problems_add(problems, "%s cannot be used: %s; it was set aside as %s/%s", path, why,
                                     dir, as);
                r = try_dir(top, name, path, ret_fd, why, problems);
        }
        return r < 0 ? refuse(ret_error, r, "%s cannot be used: %s", path, strerror(-r)) : 0;
}

/* "state//" names the directory behind a symlink: the last component must be bare to be checked. */
static char *without_trailing_slashes(const char *dir)
{
        size_t n = strlen(dir);

        while (n > 1 && dir[n - 1] == '/')
                n--;
        return strndup(dir, n);
}

/* The one that everything is in cannot be set aside: its neighbours are not ours. */
static int open_top(const char *dir, int *ret_fd, struct problems *problems, char **ret_error)
{
        char why[WHY_SIZE] = "";
        int r = try_dir(AT_FDCWD, dir, dir, ret_fd, why, problems);

        if (r == -EUCLEAN)
                return refuse(
                        ret_error, r,
                        "the state directory %s cannot be used: %s; lockdownd needs a directory of its own, "
                        "with nobody else's rights",
                        dir, why);
        return r < 0 ? refuse(ret_error, r, "the state directory %s cannot be used: %s", dir, strerror(-r))
                     : 0;
}

static int open_all(struct store *s, const char *dir, struct problems *problems, char **ret_error)
{
        _cleanup_free_ char *top = without_trailing_slashes(dir);
        _cleanup_close_ int top_fd = -1;
        int r;

        if (!top)
                return -ENOMEM;
        r = open_top(top, &top_fd, problems, ret_error);
        for (enum store_dir d = 0; r == 0 && d < _DIR_MAX; d++)
                r = open_dir(top_fd, top, dir_names[d], &s->fds[d], problems, ret_error);
        if (r == 0 && fsync(top_fd) < 0)
                r = refuse(ret_error, -errno, "the state directory %s cannot be written: %s", top,
                           strerror(errno));
        return r;
}

struct store *store_new_without(void)
{
        struct store *s = calloc(1, sizeof(*s));

        for (enum store_dir d = 0; s && d < _DIR_MAX; d++)
                s->fds[d] = -1;
        return s;
}

static void close_all(struct store *s)
{
        for (enum store_dir d = 0; d < _DIR_MAX; d++)
                if (s->fds[d] >= 0)
                        close(TAKE_FD(s->fds[d]));
}

int store_reopen(struct store *s, const char *dir, struct problems *problems, char **ret_error)
{
        int r = open_all(s, dir, problems, ret_error);

        if (r < 0) {
                close_all(s);
                return r;
        }
        for (enum store_dir d = 0; d < _DIR_MAX; d++)
                file_remove_temporaries(s->fds[d]);
        return 0;
}

int store_open(const char *dir, struct store **ret, struct problems *problems, char **ret_error)
{
        _cleanup_(store_closep) struct store *s = store_new_without();
        int r = s ? store_reopen(s, dir, problems, ret_error) : -ENOMEM;

        if (r < 0)
                return r;
        *ret = TAKE_PTR(s);
        return 0;
}

struct store *store_close(struct store *s)
{
        if (!s)
                return NULL;
        close_all(s);
        for (size_t i = 0; i < s->n_pending; i++)
                free(s->pending[i]);
        free(s);
        return NULL;
}

/* ---- setting aside ---- */

/* A foreign name may hold anything: in a sentence and in damaged/ only what is harmless stays. */
static void plain_name(const char *name, char *ret, size_t size)
{
        size_t i;

        for (i = 0; i + 1 < size && name[i]; i++)
                ret[i] = isalnum((unsigned char)name[i]) || strchr("._-", name[i]) ? name[i] : '?';
        ret[i] = '\0';
}

static int move_to_damaged(struct store *s, enum store_dir dir, const char *name, const char *plain,
                           char ret_as[DAMAGED_NAME_SIZE])
{
        struct timespec now;
        int r = -EEXIST;

        clock_gettime(CLOCK_REALTIME, &now);
        for (unsigned i = 0; r == -EEXIST && i < 10000; i++) {
                snprintf(ret_as, DAMAGED_NAME_SIZE, "%s-%.160s.%" PRIi64 "%s%.0u", dir_names[dir], plain,
                         (int64_t)now.tv_sec, i ? "." : "", i);
                r = rename_new(s->fds[dir], name, s->fds[DIR_DAMAGED], ret_as);
        }
        if (r == 0) {
                (void)fsync(s->fds[DIR_DAMAGED]);
                (void)fsync(s->fds[dir]);
        }
        return r;
}

void store_set_aside(struct store *s, enum store_dir dir, const char *name, const char *why,
                     struct problems *problems)
{
        char plain[NAME_MAX + 1], as[DAMAGED_NAME_SIZE];
        int r;

        plain_name(name, plain, sizeof(plain));
        r = move_to_damaged(s, dir, name, plain, as);
        if (!problems)
                return;
        if (r < 0)
                problems_add(problems, "%s/%s cannot be used: %s; it could not be set aside: %s",
                             dir_names[dir], plain, why, strerror(-r));
        else
                problems_add(problems, "%s/%s cannot be used: %s; it was set aside as damaged/%s",
                             dir_names[dir], plain, why, as);
}

/* ---- memberships ---- */

int store_save_membership(struct store *s, const char *profile, const struct membership *m)
{
        _cleanup_free_ char *text = NULL;
        size_t size = 0;
        FILE *f;
        int r;

        if (!profile_name_valid(profile))
                return -EINVAL;
        f = open_memstream(&text, &size);
        if (!f)
                return -ENOMEM;
        r = membership_write(m, f);
        if (fclose(f) != 0 && r == 0)
                r = -ENOMEM;
        if (r < 0)
                return r;
        if (size > MEMBERS_SIZE_MAX)
                return -EFBIG;
        return store_replace(s, DIR_MEMBERS, profile, text, size);
}

int store_load_membership(struct store *s, const char *profile, struct membership *ret,
                          struct problems *problems)
{
        _cleanup_free_ char *text = NULL, *why = NULL;
        size_t size;
        int r = -EAGAIN;

        if (!profile_name_valid(profile))
                return -EINVAL;
        for (unsigned i = 0; i < PATIENCE && r < 0 && r != -EBADMSG && r != -ENOENT; i++)
                r = file_read(s->fds[DIR_MEMBERS], profile, MEMBERS_SIZE_MAX, &text, &size, &why);
        if (r == 0)
                r = membership_parse(text, size, ret);
        if (r == -EBADMSG)
                store_set_aside(s, DIR_MEMBERS, profile, why ? why : "its text is damaged", problems);
        return r;
}

bool store_has_membership(struct store *s, const char *profile)
{
        return profile_name_valid(profile) && faccessat(s->fds[DIR_MEMBERS], profile, R_OK, 0) == 0;
}

int store_drop_membership(struct store *s, const char *profile)
{
        if (!profile_name_valid(profile))
                return -EINVAL;
        return file_remove(s->fds[DIR_MEMBERS], profile);
}

/* One that was set aside may be put right, and back, by hand. */
static int any_damaged_order(struct store *s)
{
        char **names;
        size_t n;
        int r = file_list(s->fds[DIR_DAMAGED], &names, &n);

        if (r < 0)
                return r;
        for (size_t i = 0; i < n; i++)
                r |= strncmp(names[i], "orders-", strlen("orders-")) == 0;
        names_free(names, n);
        return r;
}

static bool any_is_about(struct order *const *orders, size_t n, const char *profile)
{
        for (size_t i = 0; i < n; i++)
                if (strcmp(orders[i]->profile->name, profile) == 0)
                        return true;
        return false;
}

/* What is none, or none of ours, is set aside as it is read. */
static bool sweep_membership(struct store *s, const char *profile, struct problems *problems)
{
        _cleanup_membership_ struct membership m = {0};

        return store_load_membership(s, profile, &m, problems) >= 0 && store_drop_membership(s, profile) >= 0;
}

int store_sweep_memberships(struct store *s, store_wanted_t wanted, void *userdata, struct problems *problems)
{
        struct order **orders = NULL;
        char **names = NULL;
        size_t n = 0, n_orders = 0;
        int swept = 0, r = store_load_orders(s, &orders, &n_orders, problems);

        if (r >= 0)
                r = any_damaged_order(s);
        if (r == 0 && store_unread_orders(s) == 0)
                r = file_list(s->fds[DIR_MEMBERS], &names, &n);
        for (size_t i = 0; i < n; i++)
                if (!wanted(names[i], userdata) && !any_is_about(orders, n_orders, names[i]))
                        swept += sweep_membership(s, names[i], problems);
        names_free(names, n);
        for (size_t i = 0; i < n_orders; i++)
                order_free(orders[i]);
        free(orders);
        return r < 0 ? r : swept;
}
