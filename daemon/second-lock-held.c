// SPDX-License-Identifier: GPL-2.0-or-later
/* A lock holds as long as anybody has its links: the pins are for the time when the daemon does not run. So
 * that removing them takes nothing off while it runs, it has the links open as well. Large plans of locks
 * that are not on yet are kept here, too. */
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

void links_close(int links[SL_JUDGES], bool take_off)
{
        for (enum sl_judge i = 0; i < SL_JUDGES; i++) {
                if (links[i] >= 0 && take_off)
                        (void)link_release(links[i]);
                closep(&links[i]);
                links[i] = -1;
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
        more[h->n] = (struct held_lock){.name = copy, .links = NO_LINKS, .plan = -1};
        return &more[h->n++];
}

int held_take(struct held_locks *h, const char *pins, const char *name)
{
        struct held_lock *l = find(h, name) ?: add(h, name);

        if (!l)
                return -ENOMEM;
        links_close(l->links, false);
        for (enum sl_judge i = 0; i < SL_JUDGES; i++)
                (void)pin_get(pins, name, link_pins[i], &l->links[i]);
        return 0;
}

int held_put(struct held_locks *h, const char *name, int links[SL_JUDGES])
{
        struct held_lock *l = find(h, name) ?: add(h, name);

        if (!l) {
                links_close(links, false);
                return -ENOMEM;
        }
        links_close(l->links, true);
        memcpy(l->links, links, sizeof(l->links));
        return 0;
}

int held_stage(struct held_locks *h, const char *name, int plan)
{
        struct held_lock *l = find(h, name) ?: add(h, name);

        if (!l) {
                closep(&plan);
                return -ENOMEM;
        }
        closep(&l->plan);
        l->plan = plan;
        return 0;
}

int held_unstage(struct held_locks *h, const char *name)
{
        struct held_lock *l = find(h, name);

        return l ? TAKE_FD(l->plan) : -1;
}

void held_release(struct held_locks *h, const char *name)
{
        struct held_lock *l = find(h, name);

        if (!l)
                return;
        links_close(l->links, true);
        closep(&l->plan);
        free(l->name);
        *l = h->items[--h->n];
}

void held_clear(struct held_locks *h)
{
        for (size_t i = 0; i < h->n; i++) {
                links_close(h->items[i].links, false);
                closep(&h->items[i].plan);
                free(h->items[i].name);
        }
        free(h->items);
        *h = (struct held_locks){0};
}
