/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "manager-internal.h"

#include <errno.h>
#include <malloc.h>
#include <string.h>

/* What kept it from being opened may have been of the moment: memory, descriptors. */
#define SECOND_TRIES 4

/* After an order, until it is believed that no other follows it at once. */
#define QUIET (USEC_PER_SEC / 20)

/* The second lock beside the first: it holds without the first being asked, so what goes wrong with it is
 * told, but never a reason to take the first one off. */

/* What L's order asks of it. The result points into SUBJECTS and CGROUPS, which the caller clears. */
static int make_spec(const struct lockdown *l, struct subjects *subjects, struct second_lock_cgroup **cgroups,
                     struct second_lock_spec *ret)
{
        const struct unit_cgroups *units = &l->units;
        _cleanup_free_ uint64_t *ids = NULL;
        size_t n = 0;
        int r = lockdown_subjects(l, subjects);

        if (r >= 0 && subjects->sessions && l->manager->sessions)
                r = sessions_cgroups(l->manager->sessions, &subjects->uids, &ids, &n);
        if (r < 0)
                return r;
        *cgroups = calloc(n + units->n + 1, sizeof(**cgroups));
        if (!*cgroups)
                return -ENOMEM;
        for (size_t i = 0; i < n; i++)
                (*cgroups)[i] = (struct second_lock_cgroup){.id = ids[i], .level = SESSION_CGROUP_LEVEL};
        for (size_t i = 0; i < units->n; i++)
                (*cgroups)[n + i] = (struct second_lock_cgroup){units->items[i].id, units->items[i].level};
        *ret = (struct second_lock_spec){.name = l->name,
                                         .subjects = subjects,
                                         .destinations = &lockdown_profile(l)->destinations,
                                         .relay_port = lockdown_relay_port(l),
                                         .cgroups = *cgroups,
                                         .n_cgroups = n,
                                         .units = *cgroups + n,
                                         .n_units = units->n};
        return 0;
}

static bool wanted(const struct lockdown *l)
{
        return l->order && lockdown_profile(l)->second_lock && l->manager->second;
}

/* Takes over what an earlier daemon left, if it holds as it should. */
static bool adopted(struct lockdown *l, const struct second_lock_spec *spec)
{
        struct second_lock *second = l->manager->second;
        _cleanup_free_ char *difference = NULL;

        return second_lock_adopt(second, l->name, NULL) >= 0 &&
               second_lock_verify(second, spec, &difference) == 0;
}

int lockdown_second_verify(struct lockdown *l, char **ret_difference)
{
        _cleanup_subjects_ struct subjects subjects = {0};
        _cleanup_free_ struct second_lock_cgroup *cgroups = NULL;
        struct second_lock_spec spec;
        int r;

        if (!wanted(l) || !l->second_engaged || l->second_problem)
                return 0;
        r = make_spec(l, &subjects, &cgroups, &spec);
        return r < 0 ? r : second_lock_verify(l->manager->second, &spec, ret_difference);
}

/* By the lock that goes by L's name, if there is one. */
static struct second_lock_refused read_refused(const struct lockdown *l)
{
        struct second_lock_refused refused = {0};

        (void)second_lock_read_refused(l->manager->second, l->name, &refused);
        return refused;
}

static void add_refused(struct order *o, const struct second_lock_refused *refused)
{
        o->refused_packets += refused->sent_packets;
        o->refused_bytes += refused->sent_bytes;
}

void lockdown_second_refused(const struct lockdown *l, uint64_t *ret_packets, uint64_t *ret_bytes)
{
        struct second_lock_refused refused = {0};

        if (l->second_engaged)
                refused = read_refused(l);
        *ret_packets = refused.sent_packets;
        *ret_bytes = refused.sent_bytes;
}

static void take_loaded(struct manager *m);

/* 1: with the programs that were ready. */
static int bring_into_line(struct lockdown *l, const struct second_lock_spec *spec, char **ret_error)
{
        struct manager *m = l->manager;
        struct second_lock *second = m->second;
        struct second_lock_refused refused;
        int r;

        if (l->second_engaged && second_lock_update(second, spec, ret_error) >= 0)
                return 0;
        if (!l->second_engaged && adopted(l, spec))
                return 0;
        free(*ret_error);
        *ret_error = NULL;
        if (m->second_loading && !second_lock_is_ready(second))
                take_loaded(m);    /* others would take longer */
        refused = read_refused(l); /* it begins at nought again; also what another version's had refused */
        r = second_lock_engage(second, spec, ret_error);
        if (r < 0)
                return r;
        add_refused(l->order, &refused);
        return 1;
}

/* Does it judge who sends? Told when it is another thing than before. */
static void follow_sender(struct manager *m)
{
        const char *why = second_lock_no_sender(m->second);
        bool lost = second_lock_sender_lost(m->second);

        if (lost && m->sender_again.at == 0)
                again_later(&m->sender_again);
        if (why ? m->no_sender && strcmp(why, m->no_sender) == 0 : !m->no_sender)
                return;
        if (!why) {
                audit_log(LOG_NOTICE, "the second lock judges who sends again");
                set_problem(&m->no_sender, NULL);
                return;
        }
        audit_log(lost ? LOG_WARNING : LOG_NOTICE,
                  "the second lock judges packets, but cannot judge who sends through a socket that somebody "
                  "else made: %s",
                  why);
        set_problem(&m->no_sender, "%s", why);
}

/* Whoever orders all profiles at once waits for none of them. */
static size_t orders_to_come(const struct manager *m)
{
        size_t n = 0;

        for (size_t i = 0; i < m->n_lockdowns; i++)
                n += m->lockdowns[i]->configured && !m->lockdowns[i]->order &&
                     m->lockdowns[i]->profile->second_lock;
        return n > 0 ? n : 1; /* of a plan that is not configured */
}

static void prepare_at(struct manager *m, uint64_t usec);

static void load(void *loading)
{
        second_lock_load(loading);
}

/* Waits for them, if they are not there yet. */
static void take_loaded(struct manager *m)
{
        int r;

        m->second_loader = background_end(m->second_loader);
        r = second_lock_load_end(m->second, TAKE_PTR(m->second_loading), orders_to_come(m), NULL);
        if (r > 0 && !m->second_prepare)
                prepare_at(m, clock_monotonic());
        else if (r < 0 && m->second_again)
                manager_second_prepare(m);
        m->second_again = false;
}

static void on_loaded(void *userdata)
{
        struct manager *m = userdata;

        take_loaded(m);
        follow_sender(m);
        (void)malloc_trim(0); /* libbpf read the kernel's types for that: 10 MiB, free again, but kept by the
                                 C library */
}

static int on_quiet(sd_event_source *source, uint64_t usec, void *userdata)
{
        struct manager *m = userdata;

        (void)source;
        (void)usec;
        m->second_prepare = sd_event_source_disable_unref(m->second_prepare);
        if (m->second_loading) { /* then it goes on from there, whatever comes of it */
                m->second_again = true;
                return 0;
        }
        m->second_loading = second_lock_load_begin(m->second, orders_to_come(m));
        if (m->second_loading && background_begin(m->event, SD_EVENT_PRIORITY_IDLE, load, m->second_loading,
                                                  on_loaded, m, &m->second_loader) < 0) {
                load(m->second_loading);
                on_loaded(m);
        }
        return 0;
}

static void prepare_at(struct manager *m, uint64_t usec)
{
        m->second_prepare = sd_event_source_disable_unref(m->second_prepare);
        if (sd_event_add_time(m->event, &m->second_prepare, CLOCK_MONOTONIC, usec, 1, on_quiet, m) >= 0)
                (void)sd_event_source_set_priority(m->second_prepare, SD_EVENT_PRIORITY_IDLE);
}

/* Orders to come find their programs loaded; this one's reply does not wait for that. Loading takes the
 * kernel some forty milliseconds of a processor that orders which come right behind could use. */
void manager_second_prepare(struct manager *m)
{
        if (m->second)
                prepare_at(m, clock_monotonic() + QUIET);
}

void manager_second_close(struct manager *m)
{
        m->second_prepare = sd_event_source_disable_unref(m->second_prepare);
        m->second_loader = background_end(m->second_loader);
        if (m->second_loading)
                (void)second_lock_load_end(m->second, TAKE_PTR(m->second_loading), 0, NULL);
        m->second = second_lock_close(m->second);
}

/* With sessions of its people it is never the same for long. */
void lockdown_second_stage(struct lockdown *l)
{
        _cleanup_subjects_ struct subjects subjects = {0};
        _cleanup_free_ struct second_lock_cgroup *cgroups = NULL;
        const struct profile *p = lockdown_profile(l);
        struct second_lock_spec spec;

        if (l->manager->second && p->second_lock && !p->sessions &&
            make_spec(l, &subjects, &cgroups, &spec) >= 0)
                (void)second_lock_stage(l->manager->second, &spec);
}

void lockdown_second_unstage(struct lockdown *l)
{
        if (l->manager->second)
                second_lock_unstage(l->manager->second, l->name);
}

void lockdown_second_sync(struct lockdown *l)
{
        _cleanup_subjects_ struct subjects subjects = {0};
        _cleanup_free_ struct second_lock_cgroup *cgroups = NULL;
        _cleanup_free_ char *error = NULL;
        struct second_lock_spec spec;
        int r;

        if (!wanted(l)) {
                if (l->second_engaged) /* SecondLock=no came with a reload */
                        (void)lockdown_second_end(l);
                return;
        }
        r = make_spec(l, &subjects, &cgroups, &spec);
        if (r >= 0)
                r = bring_into_line(l, &spec, &error);
        if (r < 0) {
                set_problem(&l->second_problem, "%s", error ? error : strerror(-r));
                audit_log(LOG_ERR, "%s: the second lock is not in place as it should be: %s", l->name,
                          l->second_problem);
                return;
        }
        l->second_engaged = true;
        set_problem(&l->second_problem, NULL);
        follow_sender(l->manager);
        if (r > 0 || !l->manager->second_prepare)
                manager_second_prepare(l->manager);
}

int lockdown_second_end(struct lockdown *l)
{
        _cleanup_free_ char *error = NULL;
        struct second_lock_refused refused = {0};
        int r;

        if (l->second_engaged)
                refused = read_refused(l);
        /* Also where it could not be opened: it may be on since an earlier daemon, and would hold on for
         * ever. */
        r = second_lock_disengage(l->manager->second, l->name, &error);
        if (r == -EOPNOTSUPP && !l->manager->second)
                return 0;
        if (r < 0) {
                set_problem(&l->second_problem, "%s", error ? error : strerror(-r));
                return r;
        }
        if (l->order) /* not before: where it stays, it goes on counting */
                add_refused(l->order, &refused);
        l->second_engaged = false;
        set_problem(&l->second_problem, NULL);
        manager_second_prepare(l->manager); /* for when it is ordered again */
        return 0;
}

/* A second lock that belongs to no order is what a daemon left that died in the middle of a lift: the order
 * was saved as ended before it began to remove anything, and tables found in force have become orders by now.
 */
void manager_second_sort_out(struct manager *m)
{
        _cleanup_words_ struct words names = {0};

        if (!m->second || second_lock_list(m->second, &names) < 0)
                return;
        for (size_t i = 0; i < names.n; i++) {
                const char *name = names.items[i].text;
                const struct lockdown *l = manager_find(m, name);
                _cleanup_free_ char *error = NULL;
                int r;

                if (l && l->order && lockdown_profile(l)->second_lock)
                        continue;
                r = second_lock_adopt(m->second, name, NULL);
                if (r >= 0 || r == -EBADMSG)
                        r = second_lock_disengage(m->second, name, &error);
                if (r < 0)
                        audit_log(LOG_ALERT,
                                  "the second lock of %s, whose order has ended, could not be removed: %s",
                                  name, error ? error : strerror(-r));
        }
}

void manager_second_open(struct manager *m)
{
        int r = second_lock_open(NULL, NULL, &m->second, &m->second_problem);

        m->second_tries++;
        /* libbpf has other words for it when it finds no memory. */
        if (r < 0) {
                set_problem(&m->second_problem, NULL);
                r = second_lock_open(NULL, NULL, &m->second, &m->second_problem);
        }
        if (r < 0) {
                if (!m->second_problem)
                        set_problem(&m->second_problem, "%s", strerror(-r));
                if (m->second_tries == 1)
                        audit_log(LOG_WARNING, "%s", m->second_problem);
                return;
        }
        follow_sender(m);
}

static void engage_all(struct manager *m)
{
        for (size_t i = 0; i < m->n_lockdowns; i++)
                if (m->lockdowns[i]->order && lockdown_knows_people(m->lockdowns[i]))
                        lockdown_second_sync(m->lockdowns[i]);
}

void manager_second_try_sender(struct manager *m)
{
        if (!m->second || !again_due(&m->sender_again))
                return;
        if (second_lock_try_sender(m->second) >= 0) {
                engage_all(m);             /* which it may fail again */
                manager_second_prepare(m); /* what was ready lacks it */
        }
        if (second_lock_sender_lost(m->second))
                again_later(&m->sender_again);
        else
                m->sender_again = (struct again){0};
        follow_sender(m);
        (void)malloc_trim(0);
}

void manager_second_try_again(struct manager *m)
{
        if (m->second || m->second_tries >= SECOND_TRIES)
                return;
        set_problem(&m->second_problem, NULL);
        manager_second_open(m);
        if (!m->second)
                return;
        engage_all(m);
        manager_second_sort_out(m);
        manager_second_prepare(m);
}
