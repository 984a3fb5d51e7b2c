/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "manager-internal.h"
#include "unit-patterns.h"

#include <errno.h>
#include <string.h>

/* Services=: units that are held to the same destinations while their order is in force. */

static void explain_missing(struct lockdown *l, const struct words *services)
{
        _cleanup_words_ struct words missing = {0};
        _cleanup_free_ char *list = NULL;

        for (size_t i = 0; i < services->n; i++) {
                bool found = false;

                for (size_t j = 0; j < l->units.n && !found; j++)
                        found = unit_pattern_matches(services->items[i].text,
                                                     unit_cgroup_name(&l->units.items[j]));
                if (!found && words_add(&missing, services->items[i].text, NULL, 0) < 0)
                        return;
        }
        list = words_join(&missing);
        if (missing.n > 0 && list)
                set_problem(&l->units_problem,
                            "not running now, held as soon as it does: %s (Services=; systemctl status says "
                            "whether there is such a unit)",
                            list);
}

bool lockdown_find_units(struct lockdown *l)
{
        const struct words *services = &lockdown_profile(l)->services;
        _cleanup_unit_cgroups_ struct unit_cgroups found = {0};
        struct units *units = l->manager->units;
        int r = units ? units_find(units, services, &found) : -EOPNOTSUPP;
        bool same;

        set_problem(&l->units_problem, NULL);
        if (services->n == 0)
                r = 0;
        if (r < 0) { /* whoever was held stays held */
                set_problem(&l->units_problem,
                            "the control groups of units (Services=) could not be searched: %s",
                            strerror(-r));
                return false;
        }
        same = unit_cgroups_equal(&found, &l->units);
        unit_cgroups_clear(&l->units);
        l->units = found;
        found = (struct unit_cgroups){0};
        explain_missing(l, services);
        if (units && services->n > 0 && units_watch_error(units) < 0)
                set_problem(
                        &l->units_problem,
                        "units (Services=) that are restarted may be free for some minutes, their control "
                        "groups cannot be watched: %s",
                        strerror(-units_watch_error(units)));
        return !same;
}

void lockdown_follow_units(struct lockdown *l)
{
        if (lockdown_profile(l)->services.n == 0 || !lockdown_find_units(l))
                return;
        if (!lockdown_knows_people(l))
                return; /* what the kernel holds, it goes on holding */
        if (l->order || l->loaded || l->staging)
                (void)lockdown_sync(l); /* what fails stands in kernel_problem, and is tried again */
        if (!l->order)
                return;
        lockdown_sever(l, NULL); /* what it opened before it was found */
        manager_update_status(l->manager);
}

void manager_units_changed(struct manager *m)
{
        for (size_t i = 0; i < m->n_lockdowns; i++)
                lockdown_follow_units(m->lockdowns[i]);
}
