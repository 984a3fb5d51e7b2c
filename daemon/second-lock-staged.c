// SPDX-License-Identifier: GPL-2.0-or-later
/* What is kept ready for the plans of orders to come: room for small ones, and large ones themselves. */
#include "second-lock-internal.h"

#include <errno.h>
#include <string.h>

/* Enough for 25,000 ranges of uids. */
#define ROOM_PAGES 64

bool plan_has_room(const struct plan *plan)
{
        return plan->n_pages <= ROOM_PAGES;
}

/* The kernel takes its time to put a map into a slot: done here, the next order has only to write into it. An
 * order without room does not fail, it waits. */
void lock_programs_make_room(struct lock_programs *p)
{
        _cleanup_close_ int map = -1;

        if (plan_map_new(ROOM_PAGES, &map) >= 0 && plans_fill(p->plans, map) >= 0)
                p->room = TAKE_FD(map);
}

int lock_programs_put_plan(struct lock_programs *p, const struct plan *plan, int *ret_map)
{
        _cleanup_close_ int room = TAKE_FD(p->room), map = -1;
        int r;

        if (room >= 0 && plan_has_room(plan)) {
                r = plan_map_fill(room, plan);
                if (r >= 0)
                        *ret_map = TAKE_FD(room);
                return r;
        }
        r = plan_map_create(plan, &map);
        if (r >= 0)
                r = plans_fill(p->plans, map);
        if (r >= 0)
                *ret_map = TAKE_FD(map);
        return r;
}

static struct staged_plan *find(const struct staged_plans *p, const char *name)
{
        for (size_t i = 0; i < p->n; i++)
                if (strcmp(p->items[i].name, name) == 0)
                        return &p->items[i];
        return NULL;
}

int staged_put(struct staged_plans *p, const char *name, int map)
{
        struct staged_plan *more = reallocarray(p->items, p->n + 1, sizeof(*more));
        char *copy = strdup(name);

        if (more)
                p->items = more;
        if (!more || !copy) {
                free(copy);
                closep(&map);
                return -ENOMEM;
        }
        p->items[p->n++] = (struct staged_plan){copy, map};
        return 0;
}

int staged_take(struct staged_plans *p, const char *name)
{
        struct staged_plan *s = find(p, name);
        int map;

        if (!s)
                return -1;
        map = s->map;
        free(s->name);
        *s = p->items[--p->n];
        return map;
}

void staged_clear(struct staged_plans *p)
{
        for (size_t i = 0; i < p->n; i++) {
                closep(&p->items[i].map);
                free(p->items[i].name);
        }
        free(p->items);
        *p = (struct staged_plans){0};
}
