/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Files that are there whole or not at all. */

#include "own.h"
#include "store-internal.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>

#define TEMPORARY_NAME_SIZE (sizeof(STORE_TEMPORARY) + 16)

static int write_all(int fd, const char *data, size_t size)
{
        while (size > 0) {
                ssize_t n = write(fd, data, size);

                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0)
                        return -errno;
                data += n;
                size -= (size_t)n;
        }
        return 0;
}

static int create_temporary(int dir_fd, char name[TEMPORARY_NAME_SIZE], int *ret_fd)
{
        for (unsigned tries = 0; tries < 16; tries++) {
                uint64_t random;
                int fd;

                if (getrandom(&random, sizeof(random), 0) != sizeof(random))
                        return -EIO;
                snprintf(name, TEMPORARY_NAME_SIZE, STORE_TEMPORARY "%016" PRIx64, random);
                fd = openat(dir_fd, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
                if (fd >= 0) {
                        (void)own_give_away(fd, dir_fd);
                        *ret_fd = fd;
                        return 0;
                }
                if (errno != EEXIST)
                        return -errno;
        }
        return -EEXIST;
}

/* close() may be the first to report that the data did not reach the disk (NFS, quotas). */
static int fill(int fd, const void *data, size_t size)
{
        int r = write_all(fd, data, size);

        if (r == 0 && fsync(fd) < 0)
                r = -errno;
        if (close(fd) < 0 && r == 0 && errno != EINTR)
                r = -errno;
        return r;
}

int file_replace(int dir_fd, const char *name, const void *data, size_t size)
{
        char temporary[TEMPORARY_NAME_SIZE];
        int fd = -1, r;

        if (dir_fd < 0)
                return -ENOMEDIUM;
        r = create_temporary(dir_fd, temporary, &fd);
        if (r < 0)
                return r;
        r = fill(fd, data, size);
        if (r == 0 && renameat(dir_fd, temporary, dir_fd, name) < 0)
                r = -errno;
        if (r < 0) {
                (void)unlinkat(dir_fd, temporary, 0);
                return r;
        }
        return fsync(dir_fd) < 0 ? -errno : 0;
}

int file_remove(int dir_fd, const char *name)
{
        if (dir_fd < 0)
                return -ENOMEDIUM;
        if (unlinkat(dir_fd, name, 0) < 0)
                return errno == ENOENT ? 0 : -errno;
        return fsync(dir_fd) < 0 ? -errno : 0;
}

__attribute__((format(printf, 2, 3))) static int not_ours(char **ret_why, const char *format, ...)
{
        va_list ap;
        char *why;
        int n;

        va_start(ap, format);
        n = vasprintf(&why, format, ap);
        va_end(ap);
        if (n < 0)
                return -ENOMEM;
        *ret_why = why;
        return -EBADMSG;
}

/* Its content is as good as a word of its owner's. (Of links to it, or of a mode that lets others write,
 * nobody could make use: the directory is ours alone.) The directory's owner has been looked at. */
static int check_owner(int dir_fd, const struct stat *st, char **ret_why)
{
        struct stat directory;

        if (st->st_uid == geteuid() || (fstat(dir_fd, &directory) == 0 && st->st_uid == directory.st_uid))
                return 0;
        return not_ours(ret_why, "it belongs to uid %u", st->st_uid);
}

static int open_file(int dir_fd, const char *name, int *ret_fd, char **ret_why)
{
        struct stat st;
        int fd, r;

        if (dir_fd < 0)
                return -ENOMEDIUM;
        /* O_NONBLOCK: a FIFO in this place must not hold up the daemon. */
        fd = openat(dir_fd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
        r = -errno;
        if (fd >= 0) {
                *ret_fd = fd;
                return 0;
        }
        if (r == -ELOOP)
                return not_ours(ret_why, "it is a symbolic link");
        if (r == -ENXIO)
                return not_ours(ret_why, "it is not a regular file"); /* a socket */
        /* Without the capability to read everything, another user's file shows like this. */
        if (r == -EACCES && fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
            check_owner(dir_fd, &st, ret_why) < 0)
                return -EBADMSG;
        return r;
}

/* Reads until the end or MAX + 1 bytes, whatever fstat() said: the file may grow meanwhile. */
static int read_up_to(int fd, size_t expected, size_t max, char **ret, size_t *ret_size)
{
        size_t size = 0, capacity = expected + 2;
        _cleanup_free_ char *buf = malloc(capacity);

        if (!buf)
                return -ENOMEM;
        for (;;) {
                ssize_t n = read(fd, buf + size, capacity - size - 1);

                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0)
                        return -errno;
                size += (size_t)n;
                if (n == 0 || size > max)
                        break;
                if (size + 1 == capacity) {
                        char *more = realloc(buf, capacity * 2);

                        if (!more)
                                return -ENOMEM;
                        buf = more;
                        capacity *= 2;
                }
        }
        buf[size] = '\0';
        *ret = TAKE_PTR(buf);
        *ret_size = size;
        return 0;
}

int file_read(int dir_fd, const char *name, size_t max, char **ret, size_t *ret_size, char **ret_why)
{
        _cleanup_close_ int fd = -1;
        _cleanup_free_ char *data = NULL;
        struct stat st;
        size_t size = 0;
        int r;

        r = open_file(dir_fd, name, &fd, ret_why);
        if (r < 0)
                return r;
        if (fstat(fd, &st) < 0)
                return -errno;
        if (!S_ISREG(st.st_mode))
                return not_ours(ret_why, "it is not a regular file");
        r = check_owner(dir_fd, &st, ret_why);
        if (r < 0)
                return r;
        if (st.st_size > (off_t)max)
                return not_ours(ret_why, "it is too large");

        r = read_up_to(fd, (size_t)st.st_size, max, &data, &size);
        if (r < 0)
                return r;
        if (size > max)
                return not_ours(ret_why, "it is too large");
        *ret = TAKE_PTR(data);
        *ret_size = size;
        return 0;
}

void names_free(char **names, size_t n)
{
        for (size_t i = 0; i < n; i++)
                free(names[i]);
        free(names);
}

int file_open_listing(int dir_fd, DIR **ret)
{
        /* A descriptor of its own: a listing moves the file offset. */
        _cleanup_close_ int fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        DIR *d;

        if (fd < 0)
                return dir_fd < 0 ? -ENOMEDIUM : -errno;
        d = fdopendir(fd);
        if (!d)
                return -errno;
        TAKE_FD(fd);
        *ret = d;
        return 0;
}

static void closedirp(DIR **d)
{
        if (*d)
                closedir(*d);
}

static bool is_temporary(const char *name)
{
        return strncmp(name, STORE_TEMPORARY, strlen(STORE_TEMPORARY)) == 0;
}

void file_remove_temporaries(int dir_fd)
{
        _cleanup_(closedirp) DIR *d = NULL;
        const struct dirent *e;

        /* Best effort: one that stays only takes up room. */
        (void)file_open_listing(dir_fd, &d);
        while (d && (e = readdir(d)))
                if (is_temporary(e->d_name))
                        (void)unlinkat(dir_fd, e->d_name, 0);
}

static int names_append(char ***names, size_t *n, size_t *capacity, const char *name)
{
        char *copy;

        if (*n == *capacity) {
                size_t larger = *capacity ? *capacity * 2 : 64;
                char **more = reallocarray(*names, larger, sizeof(**names));

                if (!more)
                        return -ENOMEM;
                *names = more;
                *capacity = larger;
        }
        copy = strdup(name);
        if (!copy)
                return -ENOMEM;
        (*names)[(*n)++] = copy;
        return 0;
}

int file_list(int dir_fd, char ***ret, size_t *ret_n)
{
        _cleanup_(closedirp) DIR *d = NULL;
        char **names = NULL;
        size_t n = 0, capacity = 0;
        int r = file_open_listing(dir_fd, &d);

        while (r == 0) {
                const struct dirent *e;

                errno = 0;
                e = readdir(d);
                if (!e) {
                        r = -errno;
                        break;
                }
                if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0 && !is_temporary(e->d_name))
                        r = names_append(&names, &n, &capacity, e->d_name);
        }
        if (r < 0) {
                names_free(names, n);
                return r;
        }
        *ret = names;
        *ret_n = n;
        return 0;
}
