/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "units.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

DEFINE_CLEANUP(DIR *, closedir)

/* A mark is an escaped instance: it holds no '/' and begins with no dot. */
static int mark_path(const char *directory, const char *mark, char **ret)
{
        char *path = NULL;

        if (!*mark || *mark == '.' || strchr(mark, '/'))
                return -EINVAL;
        if (asprintf(&path, "%s/%s", directory, mark) < 0)
                return -ENOMEM;
        *ret = path;
        return 0;
}

int mark_set(const char *directory, const char *mark)
{
        _cleanup_free_ char *path = NULL;
        _cleanup_close_ int fd = -1;
        int r = mark_path(directory, mark, &path);

        if (r < 0)
                return r;
        if (mkdir(directory, 0755) < 0 && errno != EEXIST)
                return -errno;
        fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
        return fd < 0 ? -errno : 0;
}

int mark_clear(const char *directory, const char *mark)
{
        _cleanup_free_ char *path = NULL;
        int r = mark_path(directory, mark, &path);

        if (r < 0)
                return r;
        return unlink(path) < 0 && errno != ENOENT ? -errno : 0;
}

int mark_exists(const char *directory, const char *mark, bool *ret)
{
        _cleanup_free_ char *path = NULL;
        int r = mark_path(directory, mark, &path);

        if (r < 0)
                return r;
        if (faccessat(AT_FDCWD, path, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
                *ret = true;
        else if (errno == ENOENT)
                *ret = false;
        else
                return -errno;
        return 0;
}

int mark_list(const char *directory, json_t **ret)
{
        _cleanup_(closedirp) DIR *d = opendir(directory);
        _cleanup_json_ json_t *list = json_array();
        struct dirent *e;

        if (!list)
                return -ENOMEM;
        if (!d && errno != ENOENT)
                return -errno;
        while (d && (e = readdir(d)))
                if (e->d_name[0] != '.' && json_array_append_new(list, json_string(e->d_name)) < 0)
                        return -ENOMEM;
        *ret = TAKE_PTR(list);
        return 0;
}
