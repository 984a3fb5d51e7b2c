/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "manager-internal.h"

#include <errno.h>
#include <string.h>

/* Plan and members into the kernel. */

bool lockdown_knows_people(const struct lockdown *l)
{
        return l->have_members || lockdown_profile(l)->everyone;
}

int lockdown_subjects(const struct lockdown *l, struct subjects *ret)
{
        const struct profile *p = lockdown_profile(l);
        _cleanup_subjects_ struct subjects s = {0};
        int r = subjects_copy(&l->members.subjects, &s);

        if (r < 0)
                return r;
        s.everyone = p->everyone;
        s.sessions = p->sessions;
        r = subjects_finish(&s, p->include_root);
        if (r < 0)
                return r;
        *ret = s;
        s = (struct subjects){0};
        return 0;
}

int lockdown_build(const struct lockdown *l, const struct profile *p, const struct subjects *s,
                   struct ruleset **ret)
{
        _cleanup_free_ struct ruleset_unit *units = calloc(l->units.n + 1, sizeof(*units));
        _cleanup_free_ uint64_t *cgroups = NULL;
        size_t n_cgroups = 0;

        if (!units)
                return -ENOMEM;
        for (size_t i = 0; i < l->units.n; i++)
                units[i] = (struct ruleset_unit){l->units.items[i].id, l->units.items[i].level};
        if (s->sessions && l->manager->sessions)
                (void)sessions_cgroups(l->manager->sessions, &s->uids, &cgroups, &n_cgroups);
        return ruleset_build(
                &(struct ruleset_spec){.name = l->name,
                                       .subjects = s,
                                       .destinations = &p->destinations,
                                       .relay_port = lockdown_relay_port(l),
                                       .forward_deny = p->forward_deny,
                                       .frames = !nft_why_no_frames(l->manager->nft),
                                       .reset_established = !sever_can_destroy(l->manager->sever),
                                       .session_cgroups = cgroups,
                                       .n_session_cgroups = n_cgroups,
                                       .units = p->services.n > 0,
                                       .unit_cgroups = units,
                                       .n_unit_cgroups = l->units.n},
                ret);
}

static int build_current(struct lockdown *l, struct ruleset **ret)
{
        _cleanup_subjects_ struct subjects s = {0};
        int r = lockdown_subjects(l, &s);

        (void)lockdown_find_units(l);
        return r < 0 ? r : lockdown_build(l, lockdown_profile(l), &s, ret);
}

static void cover_devices(struct lockdown *l, const struct ruleset *r)
{
        _cleanup_free_ char *error = NULL;
        int e = nft_cover_devices(l->manager->nft, r, &error);

        if (e >= 0) {
                set_problem(&l->frames_problem, NULL);
                return;
        }
        if (!l->frames_problem)
                audit_log(LOG_ERR, "%s: frames of its people are not refused at every device: %s", l->name,
                          error ? error : strerror(-e));
        set_problem(&l->frames_problem, "%s", error ? error : strerror(-e));
}

void lockdown_hooked_up(struct lockdown *l, const struct ruleset *r, int incomplete)
{
        if (incomplete)
                cover_devices(l, r);
        else
                set_problem(&l->frames_problem, NULL);
}

/* Puts NEW into the kernel in place of what is loaded there, by the smallest change that will do. 1: that was
 * the first step of staging it. */
static int load(struct lockdown *l, struct ruleset *new, bool engaged)
{
        _cleanup_free_ char *error = NULL;
        struct nft *nft = l->manager->nft;
        int r;

        if (engaged)
                ruleset_set_order(new, l->order->id);
        if (l->loaded && l->engaged == engaged && ruleset_equal(l->loaded, new) && !l->kernel_problem) {
                ruleset_set_compared(new, ruleset_is_compared(l->loaded));
                return 0;
        }
        if (l->loaded && l->engaged == engaged && !l->kernel_problem &&
            ruleset_same_structure(l->loaded, new)) {
                r = nft_update(nft, l->loaded, new, &error);
                if (r >= 0) {
                        ruleset_keep_sizes(new, l->loaded);
                        return 0;
                }
                audit_log(LOG_WARNING, "%s: changing elements failed (%s), loading the whole table", l->name,
                          error ? error : strerror(-r));
                error = (free(error), NULL);
        }
        lockdown_collect(l);
        l->progress = (struct nft_progress){0};
        r = engaged ? nft_replace(nft, new, true, &error) : nft_stage(nft, new, &l->progress, &error);
        if (r < 0) {
                set_problem(&l->kernel_problem, "%s", error ? error : strerror(-r));
                return r;
        }
        lockdown_counts_anew(l);
        if (engaged)
                lockdown_hooked_up(l, new, r);
        return engaged ? 0 : r;
}

static void take_loaded(struct lockdown *l, struct ruleset *r, bool engaged)
{
        ruleset_free(l->loaded);
        l->loaded = r;
        l->engaged = engaged;
        set_problem(&l->kernel_problem, NULL);
}

/* Somebody who goes on removing the table is not to fill the journal. */
static void tell_failure(struct lockdown *l)
{
        struct now now;

        clock_now(&now);
        if (l->failure_told_at > 0 && now.boottime - l->failure_told_at < RETRY_INTERVAL)
                return;
        l->failure_told_at = now.boottime;
        audit_log(l->order ? LOG_ERR : LOG_WARNING, "%s: %s", l->name, l->kernel_problem);
}

/* ---- staging what is large, in steps ---- */

void lockdown_stop_staging(struct lockdown *l)
{
        l->stage_next = sd_event_source_disable_unref(l->stage_next);
        l->staging = ruleset_free(l->staging);
}

/* Others have changed tables since it was begun. */
static int compare_staged(struct lockdown *l, char **ret_error)
{
        int r = l->staging_meddled ? nft_verify(l->manager->nft, l->staging, false, ret_error) : 0;

        return r > 0 ? -EBUSY : r;
}

static void staged(struct lockdown *l)
{
        take_loaded(l, TAKE_PTR(l->staging), false);
        lockdown_stop_staging(l);
        lockdown_second_stage(l);
        if (l->staging_repairs)
                audit(AUDIT_REPAIRED, LOG_NOTICE, NULL, NULL, "%s: the rules are as they should be again",
                      l->name);
        if (l->staging_outdated)
                (void)lockdown_sync(l);
}

/* What stands in kernel_problem is tried again by the timer. */
static void not_staged(struct lockdown *l, const char *why)
{
        lockdown_stop_staging(l);
        (void)nft_delete(l->manager->nft, l->name, NULL);
        set_problem(&l->kernel_problem, "%s", why);
        tell_failure(l);
}

/* 1: there is more to do. */
static int stage_more(struct lockdown *l)
{
        _cleanup_free_ char *error = NULL;
        int r = nft_stage(l->manager->nft, l->staging, &l->progress, &error);

        if (r == 0)
                r = compare_staged(l, &error);
        if (r == 0)
                staged(l);
        if (r >= 0)
                return r;
        if (l->staged_again) {
                not_staged(l, error ? error : strerror(-r));
                return r;
        }
        /* Perhaps of the moment, or somebody took away what there was: once more, from its beginning. */
        l->staged_again = true;
        l->staging_meddled = false;
        l->progress = (struct nft_progress){0};
        return 1;
}

static int on_stage(sd_event_source *source, void *userdata)
{
        struct lockdown *l = userdata;
        int r;

        (void)source;
        if (l->order) { /* what is there of it is the order's to replace */
                lockdown_stop_staging(l);
                return 0;
        }
        r = stage_more(l);
        if (r > 0 && manager_next_turn(l->manager, &l->stage_next, PRIORITY_LATER, on_stage, l) < 0)
                while (r > 0)
                        r = stage_more(l);
        return 0;
}

/* NEW, whose first step is done. Others take turns with it; an order for the same people does not wait for
 * it, but loads all of it. */
static void stage_in_steps(struct lockdown *l, struct ruleset *new)
{
        l->loaded = ruleset_free(l->loaded);
        l->engaged = false;
        l->staging = new;
        l->staged_again = l->staging_outdated = l->staging_meddled = l->staging_repairs = false;
        if (manager_next_turn(l->manager, &l->stage_next, PRIORITY_LATER, on_stage, l) < 0)
                while (stage_more(l) > 0)
                        ;
}

/* What is on its way is what is wanted, or differs from it by elements only: that is changed as soon as it is
 * there. Whatever changes again and again would keep it from ever being done. */
static bool is_on_its_way(struct lockdown *l, const struct ruleset *new)
{
        if (!l->staging || l->order || !ruleset_same_structure(l->staging, new))
                return false;
        l->staging_outdated = !ruleset_equal(l->staging, new);
        return true;
}

int lockdown_sync(struct lockdown *l)
{
        _cleanup_(ruleset_freep) struct ruleset *new = NULL;
        int r;

        lockdown_second_unstage(l);
        lockdown_relay_prepare(l);
        r = build_current(l, &new);
        if (r == -ENOMEM) /* perhaps one allocation's, of many */
                r = build_current(l, &new);
        if (r >= 0 && is_on_its_way(l, new))
                return 0;
        if (r < 0)
                set_problem(&l->kernel_problem, "the rules could not be built: %s", strerror(-r));
        else
                r = load(l, new, l->order != NULL);
        if (r < 0) {
                if (l->staging && !l->order)
                        (void)nft_delete(l->manager->nft, l->name, NULL);
                lockdown_stop_staging(l);
                tell_failure(l);
                return r;
        }
        lockdown_stop_staging(l);
        if (r > 0)
                stage_in_steps(l, TAKE_PTR(new));
        else
                take_loaded(l, TAKE_PTR(new), l->order != NULL);
        if (!l->order && l->loaded)
                lockdown_second_stage(l);
        lockdown_second_sync(l);
        lockdown_relay_sync(l);
        return 0;
}

/* ---- devices ---- */

void manager_cover_devices(struct manager *m)
{
        for (size_t i = 0; i < m->n_lockdowns; i++)
                if (m->lockdowns[i]->loaded && m->lockdowns[i]->engaged && !m->lockdowns[i]->kernel_problem)
                        cover_devices(m->lockdowns[i], m->lockdowns[i]->loaded);
}
