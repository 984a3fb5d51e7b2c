/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "reconcile.h"
#include "timespan.h"
#include "units.h"
#include <errno.h>
#include <string.h>

enum unit_activity unit_activity_from_string(const char *active_state)
{
        static const struct {
                const char *name;
                enum unit_activity activity;
        } known[] = {{"inactive", UNIT_INACTIVE},
                     {"active", UNIT_ACTIVE},
                     {"reloading", UNIT_ACTIVE},
                     {"refreshing", UNIT_ACTIVE},
                     {"failed", UNIT_FAILED}};

        for (size_t i = 0; i < ELEMENTSOF(known); i++)
                if (strcmp(known[i].name, active_state) == 0)
                        return known[i].activity;
        return UNIT_CHANGING;
}

int units_add(struct units *u, const char *name, enum unit_activity activity, bool job)
{
        _cleanup_free_ char *copy = strdup(name), *profile = NULL, *mark = NULL;
        struct unit *items;
        int r = copy ? unit_name_parse(name, &profile, &mark) : -ENOMEM;

        if (r < 0)
                return r;
        items = reallocarray(u->items, u->n + 1, sizeof(*items));
        if (!items)
                return -ENOMEM;
        u->items = items;
        items[u->n++] = (struct unit){TAKE_PTR(copy), TAKE_PTR(profile), TAKE_PTR(mark), activity, job};
        return 0;
}

void units_clear(struct units *u)
{
        for (size_t i = 0; i < u->n; i++) {
                free(u->items[i].name);
                free(u->items[i].profile);
                free(u->items[i].mark);
        }
        free(u->items);
        *u = (struct units){0};
}

void actions_clear(struct actions *a)
{
        for (size_t i = 0; i < a->n; i++) {
                free(a->items[i].unit);
                free(a->items[i].mark);
        }
        free(a->items);
        *a = (struct actions){0};
}

/* UNIT may be NULL. */
static int add_action(struct actions *a, enum action_kind kind, const char *unit, const char *mark)
{
        _cleanup_free_ char *unit_copy = unit ? strdup(unit) : NULL, *mark_copy = strdup(mark);
        struct action *items = reallocarray(a->items, a->n + 1, sizeof(*items));

        if (items)
                a->items = items;
        if (!items || (unit && !unit_copy) || !mark_copy)
                return -ENOMEM;
        items[a->n++] = (struct action){kind, TAKE_PTR(unit_copy), TAKE_PTR(mark_copy)};
        return 0;
}

static bool contains(const json_t *list, const char *text)
{
        json_t *item;
        size_t i;

        json_array_foreach(list, i, item) if (json_is_string(item) &&
                                              strcmp(json_string_value(item), text) == 0) return true;
        return false;
}

static bool is_busy(const struct unit *u)
{
        return u->job || u->activity == UNIT_CHANGING;
}

bool units_busy(const struct units *units)
{
        for (size_t i = 0; i < units->n; i++)
                if (is_busy(&units->items[i]))
                        return true;
        return false;
}

/* A mark must outlast every command of the unit that the job has begun: a cancelled stop job is gone before
 * its ExecStop= is. */
static bool mark_needed(const struct units *units, const char *mark)
{
        for (size_t i = 0; i < units->n; i++)
                if (is_busy(&units->items[i]) && strcmp(units->items[i].mark, mark) == 0)
                        return true;
        return false;
}

static int reconcile_marks(const struct units *units, const json_t *marks, struct actions *a)
{
        json_t *mark;
        size_t i;
        int r;

        json_array_foreach(marks, i, mark)
        {
                const char *name = json_string_value(mark);

                if (!name || mark_needed(units, name))
                        continue;
                r = add_action(a, ACTION_CLEAR_MARK, NULL, name);
                if (r < 0)
                        return r;
        }
        return 0;
}

/* Active, or on the way from one state to another: then the next look decides. */
static bool stood_for(const struct units *units, const char *profile)
{
        for (size_t i = 0; i < units->n; i++)
                if (strcmp(units->items[i].profile, profile) == 0 &&
                    (units->items[i].activity == UNIT_ACTIVE || is_busy(&units->items[i])))
                        return true;
        return false;
}

static int reconcile_profile(const char *profile, const struct units *units, struct actions *a)
{
        _cleanup_free_ char *unit = NULL, *mark = NULL;
        int r;

        if (!profile || !*profile || stood_for(units, profile))
                return 0;
        r = unit_name_of_profile(profile, &unit);
        if (r == 0)
                r = unit_name_parse(unit, NULL, &mark);
        return r < 0 ? r : add_action(a, ACTION_START, unit, mark);
}

static int reconcile_unit(const struct unit *u, const json_t *in_force, const json_t *marks,
                          struct actions *a)
{
        if (is_busy(u) || contains(in_force, u->profile))
                return 0;
        if (u->activity == UNIT_ACTIVE)
                return add_action(a, ACTION_STOP, u->name, u->mark);
        if (u->activity == UNIT_FAILED && contains(marks, u->mark))
                return add_action(a, ACTION_RESET_FAILED, u->name, u->mark);
        return 0;
}

int reconcile(const json_t *in_force, const struct units *units, const json_t *marks, struct actions *ret)
{
        _cleanup_actions_ struct actions a = {0};
        json_t *profile;
        size_t i;
        int r = reconcile_marks(units, marks, &a);

        json_array_foreach(in_force, i, profile) if (r == 0) r =
                reconcile_profile(json_string_value(profile), units, &a);
        for (i = 0; r == 0 && i < units->n; i++)
                r = reconcile_unit(&units->items[i], in_force, marks, &a);
        if (r < 0)
                return r;
        *ret = a;
        a = (struct actions){0};
        return 0;
}

#define TRIES_AT_ONCE 3
#define PACE_MAX (60 * USEC_PER_SEC)

static struct pace *find(const struct paces *p, const char *unit)
{
        for (size_t i = 0; i < p->n; i++)
                if (strcmp(p->items[i].unit, unit) == 0)
                        return &p->items[i];
        return NULL;
}

uint64_t paces_wait(const struct paces *p, const char *unit, uint64_t now)
{
        const struct pace *pace = find(p, unit);
        uint64_t pause;

        if (!pace || pace->tries < TRIES_AT_ONCE)
                return 0;
        pause = USEC_PER_SEC << (pace->tries - TRIES_AT_ONCE < 6 ? pace->tries - TRIES_AT_ONCE : 6);
        if (pause > PACE_MAX)
                pause = PACE_MAX;
        return pace->last + pause > now ? pace->last + pause - now : 0;
}

int paces_note(struct paces *p, const char *unit, uint64_t now)
{
        struct pace *pace = find(p, unit), *items;
        char *copy;

        if (!pace) {
                items = reallocarray(p->items, p->n + 1, sizeof(*items));
                if (!items)
                        return -ENOMEM;
                p->items = items;
                copy = strdup(unit);
                if (!copy)
                        return -ENOMEM;
                pace = &items[p->n++];
                *pace = (struct pace){.unit = copy};
        }
        pace->tries++;
        pace->last = now;
        return 0;
}

static bool at_rest(const char *unit, const struct actions *actions, const struct units *units)
{
        for (size_t i = 0; i < actions->n; i++)
                if (actions->items[i].unit && strcmp(actions->items[i].unit, unit) == 0)
                        return false;
        for (size_t i = 0; i < units->n; i++)
                if (strcmp(units->items[i].name, unit) == 0)
                        return !is_busy(&units->items[i]);
        return true;
}

void paces_forget(struct paces *p, const struct actions *actions, const struct units *units)
{
        size_t kept = 0;

        for (size_t i = 0; i < p->n; i++) {
                if (at_rest(p->items[i].unit, actions, units))
                        free(p->items[i].unit);
                else
                        p->items[kept++] = p->items[i];
        }
        p->n = kept;
}

void paces_clear(struct paces *p)
{
        for (size_t i = 0; i < p->n; i++)
                free(p->items[i].unit);
        free(p->items);
        *p = (struct paces){0};
}
