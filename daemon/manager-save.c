/* SPDX-License-Identifier: GPL-2.0-or-later */

/* What has to be on disk, and what could not be put there: that is told, kept, and tried again. */

#include "manager-internal.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

/* Of so many ends all is kept that could not be saved. Of more, which somebody brings about who orders and
 * lifts again and again while the disk stays full, only those whose order would come back: these are as many
 * as the disk has orders. What is given up is missing in the record of ended orders. */
#define UNSAVED_ENDS_WHOLE 16

/* An order that is over, but not on disk; or its attempts are not. */
struct unsaved_end {
        struct order *order;
        bool order_saved;
        struct attempts_record attempts; /* what its record is to be brought up to */
        int error;
        struct unsaved_end *next;
};

/* ---- in force ---- */

int lockdown_save_members(struct lockdown *l)
{
        int r = store_save_membership(l->manager->store, l->name, &l->members);

        l->members_saved = r >= 0;
        return r;
}

/* They are there since they were staged, as a rule: a hundred thousand of them take longer to write than a
 * whole order. */
int lockdown_keep_members(struct lockdown *l)
{
        if (l->members_saved && store_has_membership(l->manager->store, l->name))
                return 0;
        return lockdown_save_members(l);
}

/* Nothing is removed from the record to make room, but what is due. */
static const char *about_room(int r)
{
        return r == -ENOSPC || r == -EDQUOT
                       ? " (the record of ended orders stays as [Record] bounds it; make room by other means)"
                       : "";
}

/* The people first: an order that is found without them would hold nobody until the directory has answered.
 */
static int save_in_force(struct lockdown *l)
{
        struct manager *m = l->manager;
        const int people = l->have_members ? lockdown_keep_members(l) : 0;
        struct now now;
        int r;

        clock_now(&now);
        order_seen(l->order, &now);
        r = l->taken_back ? store_take_back_end(m->store, l->order, l->taken_back)
                          : store_save_order(m->store, l->order);
        if (r < 0)
                return r;
        l->taken_back = 0;
        return people;
}

void lockdown_save(struct lockdown *l)
{
        struct now now;
        int r;

        /* It may be one of those that could not be read: nothing is written over it. */
        if (l->manager->orders_problem && l->order->recovered) {
                clock_now(&now);
                if (!l->save_problem)
                        l->unsaved_since = now.realtime;
                set_problem(&l->save_problem, "saved orders cannot be read: %s", l->manager->orders_problem);
                return;
        }
        r = save_in_force(l);
        if (r >= 0) {
                set_problem(&l->save_problem, NULL);
                return;
        }
        if (!l->save_problem) {
                clock_now(&now);
                l->unsaved_since = now.realtime;
                audit(AUDIT_NOT_SAVED, LOG_CRIT, l->order, NULL,
                      "%s is in force but could not be saved: %s%s. It will not survive a reboot", l->name,
                      strerror(-r), about_room(r));
        }
        set_problem(&l->save_problem, "%s", strerror(-r));
}

/* ---- ended ---- */

static struct unsaved_end *unsaved_end_free(struct unsaved_end *u)
{
        if (!u)
                return NULL;
        order_free(u->order);
        attempts_record_clear(&u->attempts);
        free(u);
        return NULL;
}
DEFINE_CLEANUP(struct unsaved_end *, unsaved_end_free)

static int save_end(struct manager *m, const struct order *o, struct attempts_record *unsaved,
                    bool *ret_order_saved)
{
        int r = store_save_order(m->store, o);

        *ret_order_saved = r >= 0;
        if (r >= 0 && unsaved)
                r = manager_save_record(m, o->id, unsaved);
        return r;
}

/* Without a state directory since the start, only a table that it found can be of an order that is saved. */
static bool may_come_back(const struct manager *m, const struct order *o)
{
        return m->state_problem ? o->recovered : store_may_hold_order(m->store, o->id);
}

static size_t count_ends(const struct manager *m)
{
        size_t n = 0;

        for (const struct unsaved_end *u = m->unsaved_ends; u; u = u->next)
                n++;
        return n;
}

/* Remembers O, by way of the form it would have on disk. -E2BIG: there are too many, and it is no danger. */
static int remember(struct manager *m, const struct order *o, bool order_saved,
                    struct attempts_record *unsaved, int error)
{
        _cleanup_(unsaved_end_freep) struct unsaved_end *u = calloc(1, sizeof(*u));
        _cleanup_json_ json_t *j = order_to_json(o);
        const bool whole = count_ends(m) < UNSAVED_ENDS_WHOLE;
        int r = u && j ? order_from_json(j, &u->order, NULL) : -ENOMEM;

        if (r < 0)
                return r;
        if (!whole && !may_come_back(m, o))
                return -E2BIG;
        if (unsaved && whole) {
                u->attempts = *unsaved;
                *unsaved = (struct attempts_record){0};
        }
        u->order_saved = order_saved;
        u->error = error;
        u->next = m->unsaved_ends;
        m->unsaved_ends = TAKE_PTR(u);
        return 0;
}

static void tell_unsaved(const struct order *o, bool order_saved, int error, int remembered)
{
        const char *then = remembered >= 0        ? "; it is tried again"
                           : remembered == -E2BIG ? "; too many others wait for that: it is given up"
                                                  : "";

        if (order_saved)
                audit(AUDIT_NOT_SAVED, LOG_ERR, o, NULL,
                      "what %s refused could not be saved to its record: %s%s%s", o->profile->name,
                      strerror(-error), about_room(error), then);
        else if (remembered == -E2BIG)
                audit(AUDIT_NOT_SAVED, LOG_ERR, o, NULL,
                      "%s, which was never saved, has ended; that could not be saved to the record: %s%s%s",
                      o->profile->name, strerror(-error), about_room(error), then);
        else
                audit(AUDIT_NOT_SAVED, LOG_CRIT, o, NULL,
                      "%s has ended, but that could not be saved: %s%s. It would come back after a reboot%s",
                      o->profile->name, strerror(-error), about_room(error), then);
}

int manager_save_end(struct manager *m, const struct order *o, struct attempts_record *unsaved)
{
        bool saved;
        int r = save_end(m, o, unsaved, &saved);

        if (r < 0)
                tell_unsaved(o, saved, r, remember(m, o, saved, unsaved, r));
        if (unsaved)
                attempts_record_clear(unsaved);
        return r;
}

void manager_retry_ends(struct manager *m)
{
        struct unsaved_end **at = &m->unsaved_ends;

        while (*at) {
                struct unsaved_end *u = *at;

                u->error = save_end(m, u->order, &u->attempts, &u->order_saved);
                if (u->error < 0) {
                        at = &u->next;
                        continue;
                }
                audit_log(LOG_NOTICE, "%s: its end is saved; it does not come back after a reboot",
                          u->order->profile->name);
                *at = u->next;
                unsaved_end_free(u);
                manager_record_soon(m);
        }
}

bool manager_knows_end(const struct manager *m, const char *id)
{
        for (const struct unsaved_end *u = m->unsaved_ends; u; u = u->next)
                if (strcmp(u->order->id, id) == 0)
                        return true;
        return false;
}

void manager_retry_saving(struct manager *m)
{
        for (size_t i = 0; i < m->n_lockdowns; i++) {
                struct lockdown *l = m->lockdowns[i];

                if (l->order && l->save_problem && !m->orders_problem) {
                        lockdown_save(l);
                        if (!l->save_problem)
                                audit_log(LOG_NOTICE, "%s: saved; it survives a reboot now", l->name);
                }
                if (!l->order || attempts_record_empty(&l->unsaved))
                        continue;
                if (manager_save_record(m, l->order->id, &l->unsaved) >= 0)
                        audit_log(LOG_NOTICE, "%s: the record of attempts is saved", l->name);
        }
        manager_retry_ends(m);
}

static json_t *unsaved_sentence(const struct unsaved_end *u)
{
        char ended[64];

        return json_sprintf(
                u->order_saved
                        ? "what %s refused until it ended (%s) could not be saved to its record: %s; this is "
                          "tried again every few seconds"
                        : "%s would come back after a reboot: that it has ended (%s) could not be saved: %s; "
                          "this is tried again every few seconds",
                u->order->profile->name, timestamp_format(u->order->ended_at, ended, sizeof(ended)),
                strerror(-u->error));
}

void manager_report_unsaved_ends(const struct manager *m, const char *only, json_t *warnings)
{
        for (const struct unsaved_end *u = m->unsaved_ends; u; u = u->next)
                if (!only || strcmp(only, u->order->profile->name) == 0)
                        (void)json_array_append_new(warnings, unsaved_sentence(u));
}

void manager_forget_unsaved(struct manager *m)
{
        manager_retry_ends(m);
        while (m->unsaved_ends) {
                struct unsaved_end *u = m->unsaved_ends;

                m->unsaved_ends = u->next;
                unsaved_end_free(u);
        }
}
