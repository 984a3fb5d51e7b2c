/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef TREE_FIXTURE_H
#define TREE_FIXTURE_H

/* A directory that plays a cgroup2 mount. Include after cmocka.h; the test's struct fixture, which begins
 * with "char root[64]", comes before. */

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

static inline const char *in_root(const struct fixture *f, const char *rest)
{
        static char path[256];

        snprintf(path, sizeof(path), "%s/%s", f->root, rest);
        return path;
}

static inline void make(const struct fixture *f, const char *rest)
{
        assert_int_equal(mkdir(in_root(f, rest), 0755), 0);
}

static inline uint64_t inode(const struct fixture *f, const char *rest)
{
        struct stat st;

        assert_int_equal(stat(in_root(f, rest), &st), 0);
        return st.st_ino;
}

static inline void remove_tree(const char *root)
{
        char command[128];

        snprintf(command, sizeof(command), "rm -rf '%s'", root);
        assert_int_equal(system(command), 0);
}

#endif
