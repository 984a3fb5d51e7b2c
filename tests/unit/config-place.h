/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LOCKDOWN_TEST_CONFIG_PLACE_H
#define LOCKDOWN_TEST_CONFIG_PLACE_H

/* A configuration directory of a test's own, and what the tests of config.h do with it. */

#include "cleanup.h"
#include "config.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#define SAMPLES "tests/config" /* tests run in the top directory */

struct place {
        char dir[64], file[96], drop_ins[96];
};

static inline void place_make(struct place *p)
{
        snprintf(p->dir, sizeof(p->dir), "/tmp/lockdown-config-XXXXXX");
        assert_non_null(mkdtemp(p->dir));
        snprintf(p->file, sizeof(p->file), "%s/lockdownd.conf", p->dir);
        snprintf(p->drop_ins, sizeof(p->drop_ins), "%s/lockdownd.conf.d", p->dir);
}

static inline void place_remove(struct place *p)
{
        unlink(p->file);
        rmdir(p->file);
        rmdir(p->drop_ins);
        assert_int_equal(rmdir(p->dir), 0);
}
#define _cleanup_place_ _cleanup_(place_remove)

static inline void write_file(const char *path, const char *text, size_t size)
{
        _cleanup_fclose_ FILE *f = fopen(path, "w");

        assert_non_null(f);
        assert_int_equal(fwrite(text, 1, size, f), size);
}

/* A mistake's sentence without the directory, which is another one each time. */
static inline const char *without_dir(const struct place *p, const char *sentence)
{
        size_t length = strlen(p->dir);

        return strncmp(sentence, p->dir, length) == 0 ? sentence + length + 1 : sentence;
}

/* Loads TEXT as the main file and compares the sentences, one a line; NULL: it must load. */
static inline struct config *load_sized(const char *text, size_t size, const char *expected)
{
        _cleanup_problems_ struct problems problems = {};
        _cleanup_place_ struct place p;
        struct config *c = NULL;
        char all[4096] = "";
        int r;

        place_make(&p);
        write_file(p.file, text, size);
        r = config_load(p.dir, &c, &problems);
        for (size_t i = 0; i < problems.n; i++)
                snprintf(all + strlen(all), sizeof(all) - strlen(all), "%s%s", i > 0 ? "\n" : "",
                         without_dir(&p, problems.items[i]));
        assert_string_equal(all, expected ? expected : "");
        assert_int_equal(r, expected ? -EINVAL : 0);
        assert_int_equal(!c, !!expected);
        return c;
}

static inline struct config *load(const char *text, const char *expected)
{
        return load_sized(text, strlen(text), expected);
}

static inline struct config *load_dir(const char *dir)
{
        _cleanup_problems_ struct problems problems = {};
        _cleanup_free_ char *all = NULL;
        struct config *c = NULL;
        int r = config_load(dir, &c, &problems);

        all = problems_join(&problems);
        assert_string_equal(all, "");
        assert_int_equal(r, 0);
        return c;
}

static inline void assert_words(const struct words *w, const char *expected)
{
        _cleanup_free_ char *text = words_join(w);

        assert_string_equal(text, expected);
}

#endif
