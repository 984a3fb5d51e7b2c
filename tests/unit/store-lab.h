/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LOCKDOWN_STORE_LAB_H
#define LOCKDOWN_STORE_LAB_H

/* A state directory of its own for each test, and orders to put into it. */

#include "store.h"
#include <dirent.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#define BOOT "0123456789abcdef0123456789abcdef"
#define T0 UINT64_C(1480521600000000)

struct fixture {
        char dir[64];
        struct store *store;
};

static inline void remove_tree(const char *path)
{
        DIR *d = opendir(path);
        const struct dirent *e;

        while (d && (e = readdir(d))) {
                char *child;

                if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
                        continue;
                assert_true(asprintf(&child, "%s/%s", path, e->d_name) > 0);
                if (unlink(child) < 0)
                        remove_tree(child);
                free(child);
        }
        if (d)
                closedir(d);
        (void)rmdir(path);
}

static inline int setup(void **state)
{
        struct fixture *f = calloc(1, sizeof(*f));

        assert_non_null(f);
        strcpy(f->dir, "/tmp/test-store-XXXXXX");
        assert_non_null(mkdtemp(f->dir));
        assert_int_equal(store_open(f->dir, &f->store, NULL, NULL), 0);
        *state = f;
        return 0;
}

static inline int teardown(void **state)
{
        struct fixture *f = *state;

        assert_null(store_close(f->store));
        remove_tree(f->dir);
        free(f);
        return 0;
}

static inline const char *path_in(const struct fixture *f, const char *rest)
{
        static char path[512];

        snprintf(path, sizeof(path), "%s/%s", f->dir, rest);
        return path;
}

static inline void put(const struct fixture *f, const char *rest, const char *text)
{
        FILE *file = fopen(path_in(f, rest), "w");

        assert_non_null(file);
        assert_true(fputs(text, file) >= 0);
        assert_int_equal(fclose(file), 0);
}

static inline size_t count_files(const struct fixture *f, const char *sub)
{
        DIR *d = opendir(path_in(f, sub));
        const struct dirent *e;
        size_t n = 0;

        assert_non_null(d);
        while ((e = readdir(d)))
                n += strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0;
        closedir(d);
        return n;
}

static inline const char *id_of(unsigned i)
{
        static char id[33];

        snprintf(id, sizeof(id), "%032x", i);
        return id;
}

static inline struct order *make_order(unsigned i)
{
        struct now now = {.realtime = T0 + i, .boottime = 1000, .boot_id = BOOT};
        struct profile *p = profile_new("staff");
        struct problems problems = {0};
        struct order *o;

        assert_non_null(p);
        assert_int_equal(words_add(&p->groups, "staff", NULL, 0), 0);
        assert_int_equal(profile_finish(p, &problems), 0);
        o = order_new(p, id_of(i), &now);
        assert_non_null(o);
        return o;
}

static inline void finish(struct order *o, uint64_t ended_at)
{
        struct now now = {.realtime = ended_at, .boottime = 2000, .boot_id = BOOT};

        assert_int_equal(order_finish(o, ORDER_LIFTED, NULL, "done", &now), 0);
}

static inline void save_new(struct fixture *f, unsigned i)
{
        _cleanup_(order_freep) struct order *o = make_order(i);

        assert_int_equal(store_save_order(f->store, o), 0);
}

struct loaded {
        struct order **orders;
        size_t n;
        struct problems problems;
};

static inline void loaded_clear(struct loaded *l)
{
        for (size_t i = 0; i < l->n; i++)
                order_free(l->orders[i]);
        free(l->orders);
        problems_clear(&l->problems);
}

static inline void load(struct fixture *f, struct loaded *l)
{
        assert_int_equal(store_load_orders(f->store, &l->orders, &l->n, &l->problems), 0);
}

static inline void load_history(struct fixture *f, size_t limit, struct loaded *l)
{
        struct history *h;
        int r = 0;

        assert_int_equal(store_list_history(f->store, &h, &l->problems), 0);
        l->orders = calloc(history_left(h) + 1, sizeof(*l->orders));
        assert_non_null(l->orders);
        while (l->n < limit && r >= 0) {
                r = history_next(h, &l->orders[l->n], &l->problems);
                l->n += r > 0;
        }
        assert_true(r >= 0 || r == -ENOENT);
        history_free(h);
}

#define _cleanup_loaded_ _cleanup_(loaded_clear)

static inline double seconds(void)
{
        struct timespec t;

        clock_gettime(CLOCK_MONOTONIC, &t);
        return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

#define IN_STORE(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

#endif
