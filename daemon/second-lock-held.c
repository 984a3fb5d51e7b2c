// SPDX-License-Identifier: GPL-2.0-or-later
/* A lock holds as long as anybody has its links: the pins are for the time when the daemon does not run. So
 * that removing them takes nothing off while it runs, it has the links open as well. */
#include "second-lock-internal.h"

#include <errno.h>
#include <string.h>

static struct held_lock *find(const struct held_locks *h, const char *name)
{
        for (size_t i = 0; i < h->n; i++)
                if (strcmp(h->items[i].name, name) == 0)
                        return &h->items[i];
        return NULL;
}

static void close_links(struct held_lock *l, bool release)
{
        for (enum sl_judge i = 0; i < SL_JUDGES; i++) {
                if (l->links[i] >= 0 && release)
                        (void)link_release(l->links[i]);
                closep(&l->links[i]);
                l->links[i] = -1;
        }
}

static struct held_lock *add(struct held_locks *h, const char *name)
{
        struct held_lock *more = reallocarray(h->items, h->n + 1, sizeof(*more));
        char *copy = strdup(name);

        if (more)
                h->items = more;
        if (!more || !copy) {
                free(copy);
                return NULL;
        }
        more[h->n] = (struct held_lock){.name = copy, .links = {-1, -1, -1, -1}};
        return &more[h->n++];
}

int held_take(struct held_locks *h, const char *pins, const char *name, bool others)
{
        struct held_lock *l = find(h, name) ?: add(h, name);

        if (!l)
                return -ENOMEM;
        close_links(l, others);
        for (enum sl_judge i = 0; i < SL_JUDGES; i++)
                (void)pin_get(pins, name, link_pins[i], &l->links[i]);
        return 0;
}

void held_release(struct held_locks *h, const char *name)
{
        struct held_lock *l = find(h, name);

        if (!l)
                return;
        close_links(l, true);
        free(l->name);
        *l = h->items[--h->n];
}

void held_clear(struct held_locks *h)
{
        for (size_t i = 0; i < h->n; i++) {
                close_links(&h->items[i], false);
                free(h->items[i].name);
        }
        free(h->items);
        *h = (struct held_locks){0};
}
