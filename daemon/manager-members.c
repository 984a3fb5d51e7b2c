/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "manager-internal.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

struct waiter {
        refreshed_t callback;
        void *userdata;
        struct waiter *next;
};

/* ---- those who wait for an answer ---- */

static int add_waiter(struct lockdown *l, refreshed_t callback, void *userdata)
{
        struct waiter **last = &l->waiters;
        struct waiter *w = calloc(1, sizeof(*w));

        if (!w)
                return -ENOMEM;
        w->callback = callback;
        w->userdata = userdata;
        while (*last)
                last = &(*last)->next;
        *last = w;
        return 0;
}

/* A callback may remove L itself (a failed ad-hoc order does): the list is taken off first. */
static void call_waiters(struct lockdown *l, struct waiter *list, int error)
{
        while (list) {
                struct waiter *w = list;

                list = w->next;
                w->callback(w->userdata, l, error);
                free(w);
        }
}

void lockdown_cancel_waiters(struct lockdown *l, const void *userdata)
{
        struct waiter **p = &l->waiters;

        while (*p) {
                struct waiter *w = *p;

                if (w->userdata == userdata) {
                        *p = w->next;
                        free(w);
                } else
                        p = &w->next;
        }
}

void lockdown_free_waiters(struct lockdown *l)
{
        call_waiters(l, TAKE_PTR(l->waiters), -ECANCELED);
}

/* ---- applying an answer ---- */

static void explain_degraded(struct lockdown *l, const struct membership *answer)
{
        _cleanup_free_ char *unresolved = words_join(&answer->unresolved);
        _cleanup_free_ char *groups = words_join(&answer->missing_groups);
        _cleanup_free_ char *users = words_join(&answer->missing_users);

        if (answer->unresolved.n > 0)
                set_problem(&l->members_problem,
                            "the directory did not answer for %s; the people known before stay covered",
                            unresolved);
        else if (answer->missing_groups.n > 0)
                set_problem(&l->members_problem, "there is no group %s: create it or correct the profile",
                            groups);
        else if (answer->missing_users.n > 0)
                set_problem(&l->members_problem, "there is no user %s: create it or correct the profile",
                            users);
        else
                set_problem(&l->members_problem, NULL);
}

/* ---- asking again what was not answered ---- */

void again_later(struct again *a)
{
        a->pause = a->pause == 0                     ? AGAIN_FIRST
                   : a->pause < REFRESH_INTERVAL / 2 ? 2 * a->pause
                                                     : REFRESH_INTERVAL;
        a->at = clock_monotonic() + a->pause;
}

bool again_due(const struct again *a)
{
        return a->at > 0 && clock_monotonic() >= a->at;
}

void manager_ask_again(struct manager *m)
{
        for (size_t i = 0; i < m->n_lockdowns; i++)
                if (again_due(&m->lockdowns[i]->ask_again) && !m->lockdowns[i]->refreshing)
                        lockdown_refresh(m->lockdowns[i], NULL, NULL);
        manager_ask_access_again(m);
}

static int merge_answer(struct lockdown *l, struct membership *answer)
{
        struct membership sum = {0};
        int r;

        explain_degraded(l, answer);
        if (!membership_degraded(answer) || !l->have_members) {
                membership_clear(&l->members);
                l->members = *answer;
                *answer = (struct membership){0};
                return 0;
        }
        r = membership_union(&l->members, answer, &sum);
        if (r < 0)
                return r;
        membership_clear(&l->members);
        l->members = sum;
        return 0;
}

static void journal_difference(const struct lockdown *l, const struct subjects *before)
{
        const struct subjects *after = &l->members.subjects;
        _cleanup_idset_ struct idset added = {0}, removed = {0};
        uint64_t n_added, n_removed;

        if (!l->order || idset_subtract(&after->uids, &before->uids, &added) < 0 ||
            idset_subtract(&before->uids, &after->uids, &removed) < 0)
                return;
        n_added = idset_count(&added);
        n_removed = idset_count(&removed);
        if (n_added + n_removed > 0)
                audit(AUDIT_MEMBERSHIP, LOG_NOTICE, l->order, NULL,
                      "%s: %" PRIu64 " users came under it, %" PRIu64 " left it", l->name, n_added,
                      n_removed);
}

/* Takes over what the directory said and brings the kernel in line. */
static int apply(struct lockdown *l, struct membership *answer)
{
        _cleanup_subjects_ struct subjects before = {0};
        bool known = l->have_members, changed;
        int r = subjects_copy(&l->members.subjects, &before);

        if (r >= 0)
                r = merge_answer(l, answer);
        if (r < 0)
                return r;
        l->have_members = true;
        l->from_disk = false;
        changed = !known || !subjects_equal(&before, &l->members.subjects);
        if (changed)
                l->members_saved = false;
        /* an ad-hoc plan is not staged: its order, if it comes to that, loads and engages it at once */
        if (l->configured || l->order)
                r = lockdown_sync(l);
        if (r < 0)
                return r;
        if (!changed)
                return 0;
        if (l->order) {
                if (known)
                        journal_difference(l, &before);
                lockdown_sever(l, NULL); /* of those who came under it */
                lockdown_end_sessions(l);
                manager_update_status(l->manager);
        }
        if (l->order || l->configured) {
                r = lockdown_save_members(l);
                if (r < 0)
                        audit_log(LOG_WARNING, "%s: the list of its people could not be saved: %s", l->name,
                                  strerror(-r));
        }
        return 0;
}

static void ask(struct lockdown *l);

/* Told once, however often it is asked again. */
static void not_answered(struct lockdown *l, int error)
{
        _cleanup_free_ char *before = TAKE_PTR(l->members_problem);

        set_problem(&l->members_problem, "the directory did not answer (%s)%s", resolver_explain(error),
                    l->have_members ? "; the people known before stay covered" : "");
        if (!before || !l->members_problem || strcmp(before, l->members_problem) != 0)
                audit_log(LOG_WARNING, "%s: %s", l->name,
                          l->members_problem ? l->members_problem : NO_MEMORY);
}

static void on_members(void *userdata, int error, struct membership *answer)
{
        struct lockdown *l = userdata;
        const bool whole = error >= 0 && !membership_degraded(answer);
        struct waiter *list;

        l->refreshing = false;
        if (error < 0)
                not_answered(l, error);
        else
                error = apply(l, answer);
        if (whole && error >= 0)
                l->ask_again = (struct again){0};
        else
                again_later(&l->ask_again);
        if (l->refresh_again) { /* whoever waits, waits for what is true now */
                l->refresh_again = false;
                ask(l);
                return;
        }
        list = TAKE_PTR(l->waiters);
        call_waiters(l, list, error);
}

/* ---- asking ---- */

/* Users seen on the machine: directories often do not enumerate, but these can be asked for one by one. */
static void seen_users(struct lockdown *l, uint32_t **ret, size_t *ret_n)
{
        struct manager *m = l->manager;
        _cleanup_free_ uint32_t *logged_in = NULL, *owners = NULL;
        size_t n_logged_in = 0, n_owners = 0;
        uint32_t *all;

        if (m->sessions)
                (void)sessions_uids(m->sessions, &logged_in, &n_logged_in);
        if (m->sever)
                (void)sever_owner_uids(m->sever, &owners, &n_owners);
        *ret_n = 0;
        *ret = NULL;
        all = reallocarray(logged_in, n_logged_in + n_owners + 1, sizeof(*all));
        if (!all)
                return;
        logged_in = NULL;
        if (n_owners > 0)
                memcpy(all + n_logged_in, owners, n_owners * sizeof(*all));
        *ret = all;
        *ret_n = n_logged_in + n_owners;
}

static void ask(struct lockdown *l)
{
        const struct profile *p = lockdown_profile(l);
        struct resolver_query query = {.groups = &p->groups,
                                       .users = &p->users,
                                       .except_groups = &p->except_groups,
                                       .except_users = &p->except_users,
                                       .awaited = l->waiters != NULL};
        _cleanup_free_ uint32_t *seen = NULL;
        int r;

        seen_users(l, &seen, &query.n_seen_uids);
        query.seen_uids = seen;
        l->fingerprint = watch_fingerprint();
        r = resolver_resolve(l->manager->resolver, &query, RESOLVE_DEADLINE, on_members, l);
        if (r < 0) {
                struct waiter *list = TAKE_PTR(l->waiters);

                set_problem(&l->members_problem, "the directory could not be asked: %s", strerror(-r));
                again_later(&l->ask_again);
                call_waiters(l, list, r);
                return;
        }
        l->refreshing = true;
}

void lockdown_refresh(struct lockdown *l, refreshed_t callback, void *userdata)
{
        if (callback && add_waiter(l, callback, userdata) < 0) {
                callback(userdata, l, -ENOMEM);
                return;
        }
        if (l->refreshing)
                l->refresh_again = true;
        else
                ask(l);
}

bool lockdown_stale(const struct lockdown *l)
{
        return !l->have_members || l->from_disk || l->refreshing || l->fingerprint != watch_fingerprint();
}

void manager_refresh_all(struct manager *m)
{
        for (size_t i = 0; i < m->n_lockdowns; i++)
                lockdown_refresh(m->lockdowns[i], NULL, NULL);
}
