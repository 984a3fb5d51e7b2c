// SPDX-License-Identifier: GPL-2.0-or-later
#include "trusted-path.h"
#include "cleanup.h"
#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* The kernel's own limit. */
#define LINKS_MAX 40

/* By name, not by descriptor: whoever could change what has been looked at would not have passed. */
struct walk {
        char done[PATH_MAX]; /* without the symbolic links; "" is the root directory */
        char rest[PATH_MAX];
        const char *at; /* in the rest: what has not been looked at */
        unsigned links;
};

static int begin(struct walk *w, const char *path)
{
        char here[PATH_MAX] = "";

        if (path[0] != '/' && !getcwd(here, sizeof(here)))
                return -errno;
        *w = (struct walk){.done = ""};
        if (snprintf(w->rest, sizeof(w->rest), "%s/%s", here, path) >= (int)sizeof(w->rest))
                return -ENAMETOOLONG;
        w->at = w->rest;
        return 0;
}

static bool next_name(struct walk *w, char ret[static NAME_MAX + 2])
{
        size_t size;

        w->at += strspn(w->at, "/");
        size = strcspn(w->at, "/");
        if (size == 0)
                return false;
        snprintf(ret, NAME_MAX + 2, "%.*s", (int)size, w->at); /* too long a name is still too long */
        w->at += size;
        return true;
}

static int complain(char **ret_why, const char *path, bool at_end, const char *what, const char *to_do)
{
        char *why;

        if (asprintf(&why, "%s: %s%s; %s", path, what,
                     at_end ? "" : " (the configuration is found through it)", to_do) < 0)
                return -ENOMEM;
        *ret_why = why;
        return -EPERM;
}

static int judge(const char *path, const struct stat *st, bool at_end, char **ret_why)
{
        bool sticky = S_ISDIR(st->st_mode) && (st->st_mode & S_ISVTX) && !at_end;
        char what[64];

        if (st->st_uid != 0 && st->st_uid != geteuid()) {
                snprintf(what, sizeof(what), "belongs to uid %u", st->st_uid);
                return complain(ret_why, path, at_end, what,
                                "whoever can write it decides who is blocked: give it to root (chown root)");
        }
        if (S_ISLNK(st->st_mode) || sticky)
                return 0;
        if (st->st_mode & S_IWOTH)
                return complain(ret_why, path, at_end, "can be written by everybody",
                                "take that away (chmod o-w)");
        if ((st->st_mode & S_IWGRP) && st->st_gid != 0 && st->st_gid != getegid()) {
                snprintf(what, sizeof(what), "can be written by gid %u", st->st_gid);
                return complain(ret_why, path, at_end, what,
                                "whoever can write it decides who is blocked: take that away (chmod g-w)");
        }
        return 0;
}

/* What the link at PATH says is in front of the rest now. */
static int follow(struct walk *w, const char *path)
{
        char target[PATH_MAX], rest[PATH_MAX];
        ssize_t n = readlink(path, target, sizeof(target) - 1);

        if (n < 0)
                return -errno;
        if (++w->links > LINKS_MAX)
                return -ELOOP;
        target[n] = '\0';
        if (target[0] == '/')
                w->done[0] = '\0';
        if (snprintf(rest, sizeof(rest), "%s/%s", target, w->at) >= (int)sizeof(rest))
                return -ENAMETOOLONG;
        memcpy(w->rest, rest, sizeof(rest));
        w->at = w->rest;
        return 0;
}

static int step(struct walk *w, const char *name, char **ret_why)
{
        char path[PATH_MAX];
        struct stat st;
        int r;

        if (strcmp(name, ".") == 0)
                return 0;
        if (strcmp(name, "..") == 0) {
                char *last = strrchr(w->done, '/');

                if (last)
                        *last = '\0';
                return 0;
        }
        if (snprintf(path, sizeof(path), "%s/%s", w->done, name) >= (int)sizeof(path))
                return -ENAMETOOLONG;
        if (lstat(path, &st) < 0)
                return -errno;
        r = judge(path, &st, w->at[strspn(w->at, "/")] == '\0', ret_why);
        if (r < 0)
                return r;
        if (S_ISLNK(st.st_mode))
                return follow(w, path);
        memcpy(w->done, path, sizeof(path));
        return 0;
}

int trusted_path(const char *path, char **ret_why)
{
        char name[NAME_MAX + 2];
        struct walk w;
        struct stat st;
        int r = begin(&w, path);

        if (r >= 0 && lstat("/", &st) < 0)
                r = -errno;
        if (r >= 0)
                r = judge("/", &st, false, ret_why);
        while (r >= 0 && next_name(&w, name))
                r = step(&w, name, ret_why);
        return r;
}
