/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "manager-internal.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <systemd/sd-id128.h>

/* A table in force whose order is lost: rebuilt as an order from what the kernel holds. And one whose order
 * is known to have ended: removed. */

static int add_numbers(struct words *to, const struct idset *ids)
{
        struct idset_iterator it = {0};
        uint32_t id;
        int r = 0;

        while (r >= 0 && idset_next(ids, &it, &id)) {
                char text[16];

                (void)snprintf(text, sizeof(text), "%" PRIu32, id);
                r = words_add(to, text, NULL, 0);
        }
        return r;
}

/* Units by the control groups the table holds: one that has gone meanwhile has nothing left to hold. */
static int describe_units(struct manager *m, const char *name, struct words *services)
{
        _cleanup_unit_cgroups_ struct unit_cgroups found = {0};
        _cleanup_free_ uint64_t *ids = NULL;
        size_t n = 0;
        int r = nft_read_units(m->nft, name, &ids, &n);

        if (r >= 0 && n > 0 && m->units)
                r = units_find_ids(m->units, ids, n, &found);
        for (size_t i = 0; r >= 0 && i < found.n; i++)
                r = words_add(services, unit_cgroup_name(&found.items[i]), NULL, 0);
        return r;
}

/* A plan that says in words what the table does. */
int recovered_profile(struct manager *m, const char *name, struct profile **ret)
{
        _cleanup_(profile_freep) struct profile *p = profile_new(name);
        _cleanup_subjects_ struct subjects s = {0};
        _cleanup_problems_ struct problems problems = {0};
        struct destinations d = {0};
        int r = p ? nft_read_back(m->nft, name, &s, &d, &p->forward_deny) : -ENOMEM;

        if (r < 0)
                return r;
        p->everyone = s.everyone;
        p->sessions = s.sessions;
        p->include_root = idset_contains(&s.uids, 0);
        if (s.everyone)
                r = add_numbers(&p->except_users, &s.except_uids);
        else {
                r = add_numbers(&p->users, &s.uids);
                if (r >= 0)
                        r = add_numbers(&p->groups, &s.gids);
        }
        words_clear(&p->loopback_deny);
        if (r >= 0)
                r = destinations_to_words(&d, &p->allow, &p->dns, &p->loopback_deny);
        destinations_clear(&d);
        if (r >= 0)
                r = describe_units(m, name, &p->services);
        if (r >= 0)
                r = profile_finish(p, &problems);
        if (r < 0) {
                for (size_t i = 0; i < problems.n; i++)
                        audit_log(LOG_ERR, "%s: %s", name, problems.items[i]);
                return r;
        }
        *ret = TAKE_PTR(p);
        return 0;
}

int recovered_order_new(struct profile *p, bool configured, const char *id, struct order **ret)
{
        sd_id128_t new_id;
        struct order *o;
        struct now now;
        char text[33];
        int r = 0;

        /* an id that is none, or damaged, is replaced */
        if (sd_id128_from_string(id, &new_id) < 0)
                r = sd_id128_randomize(&new_id);
        if (r < 0)
                return r;
        clock_now(&now);
        o = order_new(p, sd_id128_to_string(new_id, text), &now);
        if (!o)
                return -ENOMEM;
        o->recovered = true;
        o->adhoc = !configured; /* then it goes by what the table does */
        o->reason = strdup("found in force without a saved order");
        *ret = o;
        return 0;
}

static void tell_finished(const struct order *ended)
{
        audit(ended->state == ORDER_LIFTED ? AUDIT_LIFTED : AUDIT_EXPIRED, LOG_NOTICE, ended, NULL,
              "%s had ended (%s) when lockdownd died: its block is removed now", ended->profile->name,
              order_state_to_string(ended->state));
}

void lockdown_finish_end(struct lockdown *l)
{
        _cleanup_(order_freep) struct order *ended = NULL;
        const enum order_state state = l->order->state;
        int r = lockdown_complete_end(l, NULL, &ended);

        if (r >= 0) {
                tell_finished(ended);
                return;
        }
        audit_log(LOG_ALERT, "%s had ended but could not be removed: %s; it is tried again", l->name,
                  l->kernel_problem   ? l->kernel_problem
                  : l->second_problem ? l->second_problem
                                      : strerror(-r));
        l->ends_as = state;
        lockdown_resume(l);
}

static void finish_recovered(struct lockdown *l)
{
        struct order *recovered = l->order, *o;

        if (store_load_finished(l->manager->store, recovered->id, &o) < 0)
                return;
        o->severed += recovered->severed;
        o->sessions_ended += recovered->sessions_ended;
        order_free(recovered);
        l->order = o;
        set_problem(&l->save_problem, NULL);
        lockdown_recall(l);
        lockdown_finish_end(l);
}

void manager_finish_recovered(struct manager *m)
{
        for (size_t i = m->n_lockdowns; i-- > 0;) /* backwards: it may be gone then */
                if (m->lockdowns[i]->order && m->lockdowns[i]->order->recovered)
                        finish_recovered(m->lockdowns[i]);
}

void manager_finish_ends(struct manager *m)
{
        for (size_t i = m->n_lockdowns; i-- > 0;) {
                struct lockdown *l = m->lockdowns[i];
                _cleanup_(order_freep) struct order *ended = NULL;

                /* by whom and why stands in it since it ended the first time */
                if (l->order && l->ends_as != ORDER_ACTIVE &&
                    lockdown_end(l, l->ends_as, &l->order->ended_by, l->order->end_reason, &ended) >= 0)
                        tell_finished(ended);
        }
}
