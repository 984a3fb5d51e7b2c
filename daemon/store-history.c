/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Finished orders: one by its id, or one after the other. Names sort by time, so that nothing is read to know
 * the newest; and nothing is held but names, however many there are. */

#include "store-internal.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>

struct history {
        struct store *store;
        char **names; /* newest first */
        size_t n, at;
};

struct history *history_free(struct history *h)
{
        if (!h)
                return NULL;
        names_free(h->names, h->n);
        free(h);
        return NULL;
}

static int compare_newest_first(const void *a, const void *b)
{
        return strcmp(*(char *const *)b, *(char *const *)a);
}

int store_list_history(struct store *s, struct history **ret, struct problems *problems)
{
        _cleanup_(history_freep) struct history *h = calloc(1, sizeof(*h));
        int r;

        if (!h)
                return -ENOMEM;
        h->store = s;
        r = file_list(s->fds[DIR_HISTORY], &h->names, &h->n);
        if (r < 0)
                return r;
        store_drop_foreign(s, DIR_HISTORY, h->names, &h->n, history_name_valid, problems);
        if (h->n > 0)
                qsort(h->names, h->n, sizeof(*h->names), compare_newest_first);
        *ret = TAKE_PTR(h);
        return 0;
}

size_t history_left(const struct history *h)
{
        return h->n - h->at;
}

bool store_still_in_force(struct store *s, const char *name)
{
        return faccessat(s->fds[DIR_ORDERS], history_name_id(name), F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

void store_drop_false_ends(struct store *s)
{
        char **names;
        size_t n;

        /* Best effort: they count for nothing as long as the order is in force. */
        if (file_list(s->fds[DIR_HISTORY], &names, &n) < 0)
                return;
        for (size_t i = 0; i < n; i++)
                if (history_name_valid(names[i]) && store_still_in_force(s, names[i]))
                        (void)file_remove(s->fds[DIR_HISTORY], names[i]);
        names_free(names, n);
}

int history_next(struct history *h, struct order **ret, struct problems *problems)
{
        const char *name;

        if (h->at == h->n)
                return -ENOENT;
        name = h->names[h->at++];
        if (store_still_in_force(h->store, name) ||
            faccessat(h->store->fds[DIR_HISTORY], name, F_OK, AT_SYMLINK_NOFOLLOW) < 0)
                return 0; /* removed from the record since it was listed */
        return store_load_file(h->store, DIR_HISTORY, name, ret, problems);
}

static int load_finished(struct store *s, const char *id, struct order **ret)
{
        _cleanup_problems_ struct problems problems = {0}; /* told when the whole history is read */
        char **names;
        size_t n;
        int r = file_list(s->fds[DIR_HISTORY], &names, &n), found = 0;

        if (r < 0)
                return r;
        for (size_t i = 0; i < n && found == 0; i++)
                if (history_name_valid(names[i]) && strncmp(history_name_id(names[i]), id, strlen(id)) == 0 &&
                    !store_still_in_force(s, names[i]))
                        found = store_load_file(s, DIR_HISTORY, names[i], ret, &problems);
        names_free(names, n);
        return found < 0 ? found : found == 0 ? -ENOENT : 0;
}

/* Who asks takes an order that is not found for one that has not ended. */
int store_load_finished(struct store *s, const char *id, struct order **ret)
{
        int r = -EAGAIN;

        for (unsigned i = 0; i < PATIENCE && r < 0 && r != -ENOENT; i++)
                r = load_finished(s, id, ret);
        return r;
}
