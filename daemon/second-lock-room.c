// SPDX-License-Identifier: GPL-2.0-or-later
/* Where the plans of orders to come find room. */
#include "second-lock-internal.h"

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
