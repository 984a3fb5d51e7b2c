/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "manager-internal.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

/* ---- severing ---- */

struct sever_context {
        const struct subjects *subjects;
        const struct destinations *destinations;
        uint64_t *cgroups; /* of the subjects' sessions, the units, and all below them; sorted */
        size_t n_cgroups;
};

static bool leads_outside(const struct sever_socket *s, const struct destinations *d)
{
        struct endpoint e = {
                .family = s->family, .protocol = s->protocol, .port = s->dport, .local = s->local};

        memcpy(e.addr, s->dst, sizeof(e.addr));
        return judgement_refuses(destinations_judge(d, &e));
}

static int compare_cgroups(const void *a, const void *b)
{
        const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

        return (x > y) - (x < y);
}

static bool in_cgroups(const struct sever_context *c, uint64_t cgroup)
{
        return c->n_cgroups > 0 &&
               bsearch(&cgroup, c->cgroups, c->n_cgroups, sizeof(*c->cgroups), compare_cgroups);
}

static bool wants_severed(const struct sever_socket *s, void *userdata)
{
        const struct sever_context *c = userdata;

        return (subjects_match_uid(c->subjects, s->uid) || in_cgroups(c, s->cgroup)) &&
               leads_outside(s, c->destinations);
}

/* Runs WORK over the sockets that L's order is to cut. */
static int with_context(struct lockdown *l, int (*work)(struct sever *, struct sever_context *, void *),
                        void *arg)
{
        const struct profile *p = lockdown_profile(l);
        _cleanup_subjects_ struct subjects s = {0};
        struct sever_context c = {.subjects = &s, .destinations = &p->destinations};
        _cleanup_free_ uint64_t *cgroups = NULL;
        int r;

        if (!l->manager->sever)
                return -EOPNOTSUPP;
        r = lockdown_subjects(l, &s);
        if (r < 0)
                return r;
        if (s.sessions && l->manager->sessions)
                (void)sessions_cgroups_below(l->manager->sessions, &s.uids, &cgroups, &c.n_cgroups);
        if (l->units.n > 0)
                (void)units_ids_below(l->manager->units, &l->units, &cgroups, &c.n_cgroups);
        c.cgroups = cgroups;
        return work(l->manager->sever, &c, arg);
}

static int do_sever(struct sever *sever, struct sever_context *c, void *arg)
{
        return sever_run(sever, SEVER_ROUNDS, wants_severed, c, arg);
}

static int do_count(struct sever *sever, struct sever_context *c, void *arg)
{
        return sever_count(sever, wants_severed, c, arg);
}

void lockdown_sever(struct lockdown *l, struct sever_result *ret)
{
        struct sever_result result = {0};
        uint64_t destroyed = 0;
        int r = -ENOMEM;

        for (unsigned tries = 0; r < 0 && r != -EOPNOTSUPP && tries < SEVER_TRIES; tries++) {
                result = (struct sever_result){0};
                r = with_context(l, do_sever, &result);
                destroyed += result.destroyed;
        }
        result.destroyed = destroyed;
        l->unsevered = r < 0 && r != -EOPNOTSUPP;
        if (r < 0)
                audit_log(LOG_ERR,
                          "%s: open connections could not all be cut: %s (new packets are refused all the "
                          "same)",
                          l->name, strerror(-r));
        if (l->order)
                l->order->severed += result.destroyed;
        if (ret) {
                *ret = result;
                if (r < 0 && ret->left == 0)
                        ret->left = UINT64_MAX; /* unknown */
        }
}

int lockdown_count_sockets(struct lockdown *l, uint64_t *ret)
{
        return with_context(l, do_count, ret);
}

/* ---- in force, and out of it ---- */

/* Hooks on: the staged table if the kernel holds it, else the whole table at once. */
static int engage_table(struct lockdown *l)
{
        _cleanup_free_ char *error = NULL;

        if (l->loaded && !l->engaged && !l->kernel_problem && !l->outdated) {
                bool changed = lockdown_find_units(l);
                uint16_t port = lockdown_relay_port(l);
                int r;

                lockdown_relay_prepare(l);
                changed |= lockdown_relay_port(l) != port;
                changed |= lockdown_profile(l)->sessions; /* somebody may have logged in since */
                ruleset_set_order(l->loaded, l->order->id);
                if (device_watch_is_pending(l->manager->devices))
                        nft_forget_devices(l->manager->nft);
                r = nft_engage(l->manager->nft, l->loaded, &error);
                if (r >= 0) {
                        l->engaged = true;
                        lockdown_hooked_up(l, l->loaded, r);
                        if (!changed || lockdown_sync(l) < 0) {
                                lockdown_second_sync(l);
                                lockdown_relay_sync(l);
                        }
                        return 0; /* in force, whatever of that may still be wrong */
                }
                /* what was staged is not there any more, or differs: load all of it */
                audit_log(LOG_WARNING, "%s: the staged table could not be engaged (%s), loading it anew",
                          l->name, error ? error : strerror(-r));
                set_problem(&l->kernel_problem, "%s", error ? error : strerror(-r));
        }
        return lockdown_sync(l);
}

/* It is said not to be in force: then nothing of it may be, whatever the kernel did and could not say. */
static void withdraw(struct lockdown *l)
{
        _cleanup_free_ char *error = NULL;
        int r = nft_delete(l->manager->nft, l->name, &error);

        if (r < 0) {
                audit_log(LOG_ALERT, "%s is not in force, but its rules could not be removed: %s", l->name,
                          error ? error : strerror(-r));
                return;
        }
        l->loaded = ruleset_free(l->loaded);
        l->engaged = false;
}

int lockdown_engage(struct lockdown *l, struct order *o, struct sever_result *ret_severed)
{
        int r;

        lockdown_counts_anew(l);
        l->order = o;
        l->verified_at = 0; /* that was another order */
        l->alarmed = false;
        l->tampering = (struct tampering){0};
        lockdown_stop_verifying(l);
        r = engage_table(l);
        if (r < 0) {
                l->order = NULL;
                withdraw(l);
                return r;
        }
        l->held_at = clock_monotonic();
        lockdown_sever(l, ret_severed);
        lockdown_save(l);
        lockdown_arm_expiry(l);
        manager_watch_owners(l->manager);
        manager_verify_soon(l->manager);
        return 0;
}

/* Hooks off; a plan that stands in the configuration stays staged. */
static int disengage_table(struct lockdown *l)
{
        _cleanup_free_ char *error = NULL;
        struct nft *nft = l->manager->nft;
        int r = -ENOENT;

        if (l->configured && l->loaded)
                r = nft_disengage(nft, l->loaded, &error);
        if (r < 0) {
                error = (free(error), NULL);
                r = nft_delete(nft, l->name, &error);
                if (r >= 0)
                        l->loaded = ruleset_free(l->loaded);
        }
        if (r < 0) {
                set_problem(&l->kernel_problem, "%s", error ? error : strerror(-r));
                return r;
        }
        l->engaged = false;
        lockdown_counts_anew(l);
        set_problem(&l->kernel_problem, NULL);
        set_problem(&l->frames_problem, NULL);
        return 0;
}

void lockdown_resume(struct lockdown *l)
{
        l->taken_back = l->order->ended_at;
        l->order->state = ORDER_ACTIVE;
        l->order->ended_at = 0;
        if (!(l->kernel_problem || !l->loaded) || !lockdown_knows_people(l) || lockdown_sync(l) < 0)
                lockdown_second_sync(l);
        lockdown_save(l);
        lockdown_arm_expiry(l);
}

static int on_restage(sd_event_source *source, void *userdata)
{
        struct manager *m = userdata;

        (void)source;
        m->restage = sd_event_source_disable_unref(m->restage);
        for (size_t i = 0; i < m->n_lockdowns; i++) {
                struct lockdown *l = m->lockdowns[i];

                if (l->restage_later && !l->order && lockdown_knows_people(l))
                        (void)lockdown_sync(l); /* not the lift's business if it fails */
                l->restage_later = l->outdated = false;
        }
        return 0;
}

/* What is left staged is what was in force, and it takes a while to see whether anything is to be changed
 * about it: whoever lifts has his answer before. */
static void restage_later(struct lockdown *l, const struct order *ended)
{
        struct manager *m = l->manager;

        l->restage_later = true;
        l->outdated = !profile_same_block(ended->profile, l->profile);
        if (!m->restage && sd_event_add_defer(m->event, &m->restage, on_restage, m) < 0)
                (void)on_restage(NULL, m);
}

/* What is staged next, when the order is over. An ad-hoc one may have gone by the name of a profile that was
 * configured since, but about other people: those are not to be the profile's. */
static void restage(struct lockdown *l, const struct order *ended)
{
        struct manager *m = l->manager;

        if (!ended->adhoc) {
                restage_later(l, ended);
                return;
        }
        resolver_cancel(m->resolver, l);
        l->refreshing = l->refresh_again = false;
        membership_clear(&l->members);
        l->have_members = l->from_disk = false;
        set_problem(&l->members_problem, NULL);
        (void)store_drop_membership(m->store, l->name);
        lockdown_refresh(l, NULL, NULL);
}

static struct totals totals_of(const struct order *o)
{
        return (struct totals){o->refused_packets, o->refused_bytes, o->severed};
}

static bool same_totals(const struct totals *a, const struct totals *b)
{
        return a->packets == b->packets && a->bytes == b->bytes && a->severed == b->severed;
}

/* What the second lock has refused is known until it goes, and must be on disk before: unless SAVED, which is
 * there, says the same. 0 or -errno. */
static int save_totals(struct lockdown *l, const struct totals *saved)
{
        struct order *o = l->order;
        const uint64_t packets = o->refused_packets, bytes = o->refused_bytes;
        uint64_t second_packets, second_bytes;
        struct totals totals;
        int r = 0;

        lockdown_second_refused(l, &second_packets, &second_bytes);
        o->refused_packets += second_packets;
        o->refused_bytes += second_bytes;
        totals = totals_of(o);
        if (!saved || !same_totals(saved, &totals))
                r = store_save_order(l->manager->store, o);
        o->refused_packets = packets; /* lockdown_second_end() adds it */
        o->refused_bytes = bytes;
        return r;
}

int lockdown_complete_end(struct lockdown *l, const struct totals *on_disk, struct order **ret_ended)
{
        struct manager *m = l->manager;
        int saved, r;

        l->expiry = sd_event_source_disable_unref(l->expiry);
        lockdown_stop_verifying(l);
        lockdown_tell_tampering(l);
        lockdown_forget_caller(l);
        lockdown_sever(l, NULL); /* what was queued under the lock must not go out behind it */
        lockdown_collect(l);
        saved = save_totals(l, on_disk);
        r = lockdown_second_end(l);
        if (r >= 0)
                r = disengage_table(l);
        if (r < 0)
                return r;
        if (saved < 0 || !attempts_record_empty(&l->unsaved)) /* tried again, and told if it fails again */
                (void)manager_save_end(m, l->order, &l->unsaved);
        *ret_ended = TAKE_PTR(l->order);
        l->ends_as = ORDER_ACTIVE;
        manager_record_soon(m);
        lockdown_relay_sync(l);
        if (l->configured) {
                restage(l, *ret_ended);
                return 0;
        }
        (void)store_drop_membership(m->store, l->name);
        manager_remove(m, l);
        return 0;
}

int lockdown_end(struct lockdown *l, enum order_state state, const struct caller *by, const char *reason,
                 struct order **ret_ended)
{
        struct totals on_disk;
        struct now now;
        int r, saved;

        clock_now(&now);
        r = order_finish(l->order, state, by, reason, &now);
        if (r < 0)
                return r;
        /* If that fails it is told when it has failed again; a crash before leaves it in force. */
        saved = store_save_order(l->manager->store, l->order);
        on_disk = totals_of(l->order);
        r = lockdown_complete_end(l, saved >= 0 ? &on_disk : NULL, ret_ended);
        if (r < 0)
                lockdown_resume(l);
        return r;
}

static int on_expiry(sd_event_source *source, uint64_t usec, void *userdata)
{
        struct lockdown *l = userdata;
        struct manager *m = l->manager;
        _cleanup_(order_freep) struct order *ended = NULL;
        struct now now;
        bool unconfirmed;
        int r;

        (void)source;
        (void)usec;
        clock_now(&now);
        if (!order_expired(l->order, &now)) { /* the clock was set back meanwhile */
                lockdown_arm_expiry(l);
                return 0;
        }
        unconfirmed = order_unconfirmed(l->order, &now);
        r = lockdown_end(l, ORDER_EXPIRED, NULL, unconfirmed ? ORDER_UNCONFIRMED : NULL, &ended);
        if (r < 0) {
                audit_log(LOG_ALERT, "%s has expired but could not be removed: %s", l->name, strerror(-r));
                /* by its own time it would be tried again at once, and for ever */
                (void)sd_event_source_set_time_relative(l->expiry, RETRY_INTERVAL);
                (void)sd_event_source_set_enabled(l->expiry, SD_EVENT_ONESHOT);
                return 0;
        }
        audit(AUDIT_EXPIRED, LOG_NOTICE, ended, NULL,
              "%s has expired%s: its people may reach the internet again", ended->profile->name,
              unconfirmed ? ", " ORDER_UNCONFIRMED : "");
        manager_notify(m, ended->profile->name, "expired");
        return 0;
}

void lockdown_arm_expiry(struct lockdown *l)
{
        struct now now;
        const struct order *o = l->order;
        uint64_t to_confirm;
        int r = 0;

        l->expiry = sd_event_source_disable_unref(l->expiry);
        if (!o)
                return;
        clock_now(&now);
        to_confirm = order_confirm_remaining(o, &now);
        if (o->end == END_NEVER && to_confirm == UINT64_MAX)
                return;
        /* a duration on the clock that no step moves, a point in time on the wall clock if that is believed;
         * as long as it waits for being confirmed, whatever comes first, and what is left is armed with the
         * confirmation */
        if (o->end != END_UNTIL || !now.synchronized || to_confirm < order_remaining(o, &now))
                r = sd_event_add_time(l->manager->event, &l->expiry, CLOCK_BOOTTIME,
                                      now.boottime + (to_confirm < order_remaining(o, &now)
                                                              ? to_confirm
                                                              : order_remaining(o, &now)),
                                      1000, on_expiry, l);
        else
                r = sd_event_add_time(l->manager->event, &l->expiry, CLOCK_REALTIME, o->until, 1000,
                                      on_expiry, l);
        if (r < 0)
                audit_log(LOG_ERR, "%s: no timer for its end (%s): lift it by hand", l->name, strerror(-r));
}
