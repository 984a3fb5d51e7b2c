/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Room that is kept for the day on which others have filled the disk: whoever is to be locked can do that,
 * and the user that the daemon runs as has no share in what a file system reserves for root. Spare files have
 * their inode and their blocks. One is written over, and takes the place of the file that is to be saved. */

#include "store-internal.h"
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>

/* An order given by hand takes two, the people and the order. */
#define SPARES 8
#define SPARE_NAME_SIZE 24

static void spare_name(size_t i, char ret[SPARE_NAME_SIZE])
{
        snprintf(ret, SPARE_NAME_SIZE, "%zu", i);
}

/* What this leaves in the spare file means nothing until it has its new name. */
static int overwrite(int spares, const char *spare, const void *data, size_t size)
{
        _cleanup_close_ int fd = openat(spares, spare, O_WRONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
        ssize_t n;

        if (fd < 0)
                return -errno;
        n = write(fd, data, size);
        if (n < 0)
                return -errno;
        if ((size_t)n < size)
                return -ENOSPC;
        return ftruncate(fd, (off_t)size) < 0 || fsync(fd) < 0 ? -errno : 0;
}

/* A file that was there before is the spare one then, so that one that is saved again and again takes no
 * more. */
static int put_into_place(int spares, const char *spare, int dir_fd, const char *name)
{
        if (renameat2(spares, spare, dir_fd, name, RENAME_EXCHANGE) < 0 &&
            renameat(spares, spare, dir_fd, name) < 0)
                return -errno;
        return fsync(dir_fd) < 0 || fsync(spares) < 0 ? -errno : 0;
}

static int replace_by_spare(const struct store *s, enum store_dir dir, const char *name, const void *data,
                            size_t size)
{
        int r = -ENOSPC;

        for (size_t i = 0; i < SPARES && r < 0; i++) {
                char spare[SPARE_NAME_SIZE];

                spare_name(i, spare);
                r = overwrite(s->fds[DIR_SPARE], spare, data, size);
                if (r == 0)
                        return put_into_place(s->fds[DIR_SPARE], spare, s->fds[dir], name);
        }
        return r;
}

int store_replace(struct store *s, enum store_dir dir, const char *name, const void *data, size_t size)
{
        int r = file_replace(s->fds[dir], name, data, size);

        if ((r != -ENOSPC && r != -EDQUOT) || size > SPARE_SIZE)
                return r;
        s->spares_whole = false;
        return replace_by_spare(s, dir, name, data, size) < 0 ? r : 0;
}

static bool is_whole(const struct store *s, const char *spare)
{
        struct stat st;

        return fstatat(s->fds[DIR_SPARE], spare, &st, AT_SYMLINK_NOFOLLOW) == 0 && st.st_size == SPARE_SIZE;
}

void store_keep_spare(struct store *s)
{
        static const char nothing[SPARE_SIZE];
        char spare[SPARE_NAME_SIZE];

        if (s->spares_whole || s->fds[DIR_SPARE] < 0)
                return;
        for (size_t i = 0; i < SPARES; i++) {
                spare_name(i, spare);
                if (is_whole(s, spare))
                        continue;
                (void)file_replace(s->fds[DIR_SPARE], spare, nothing, sizeof(nothing));
                return;
        }
        s->spares_whole = true;
}
