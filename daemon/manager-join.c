/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Two saved orders by one name: one was given while the other could not be read. */

#include "manager-internal.h"

#include <errno.h>
#include <string.h>

/* Two orders for the same people, one given while the other could not be read: L's goes on, for as long as
 * either of them was to last, and stands for both. */
void lockdown_join(struct lockdown *l, struct order *o, const struct now *now)
{
        order_rebase(o, now);
        (void)order_settle(o, now);
        order_outlast(l->order, o, now);
        lockdown_arm_expiry(l);
        lockdown_save(l);
        if (l->save_problem)
                return; /* then both stay on disk */
        audit_log(LOG_WARNING, "%s: order %s was in force before, and %s stands for it now", l->name, o->id,
                  l->order->id);
        if (order_finish(o, ORDER_EXPIRED, NULL, ORDER_JOINED, now) >= 0)
                (void)manager_save_end(l->manager, o, NULL);
}

/* Two orders by one name, about different people: the second goes on by another. */
int manager_rename_order(const struct manager *m, struct order *o, const struct config *c)
{
        char name[PROFILE_NAME_MAX + 1];
        char *copy;
        unsigned i = 2;

        do
                (void)snprintf(name, sizeof(name), "%.*s-%u", PROFILE_NAME_MAX - 11, o->profile->name, i++);
        while (manager_find(m, name) || config_find(c, name));
        copy = strdup(name);
        if (!copy)
                return -ENOMEM;
        audit_log(LOG_WARNING, "a second order by the name of %s (%s) is about others: it goes on as %s",
                  o->profile->name, o->id, name);
        free(o->profile->name);
        o->profile->name = copy;
        o->adhoc = true;
        return 0;
}
