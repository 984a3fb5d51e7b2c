/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "manager-internal.h"
#include "own.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/capability.h>
#include <stdarg.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

/* A change, until the devices are noted again. */
#define NOTE_DEVICES_AFTER (USEC_PER_SEC / 20)

void set_problem(char **where, const char *format, ...)
{
        char *text = NULL;
        va_list ap;

        if (format) {
                va_start(ap, format);
                if (vasprintf(&text, format, ap) < 0)
                        text = NULL;
                va_end(ap);
        }
        free(*where);
        *where = text;
}

/* ---- the lockdowns ---- */

static int compare_lockdowns(const void *a, const void *b)
{
        return strcmp((*(struct lockdown *const *)a)->name, (*(struct lockdown *const *)b)->name);
}

struct lockdown *manager_find(const struct manager *m, const char *name)
{
        for (size_t i = 0; name && i < m->n_lockdowns; i++)
                if (strcmp(m->lockdowns[i]->name, name) == 0)
                        return m->lockdowns[i];
        return NULL;
}

static struct lockdown *lockdown_free(struct lockdown *l)
{
        if (!l)
                return NULL;
        lockdown_free_waiters(l);
        resolver_cancel(l->manager->resolver, l);
        dns_relay_free(l->relay);
        sd_event_source_disable_unref(l->expiry);
        lockdown_forget_caller(l);
        lockdown_forget_trial(l);
        membership_clear(&l->members);
        unit_cgroups_clear(&l->units);
        lockdown_stop_staging(l);
        ruleset_free(l->loaded);
        order_free(l->order);
        profile_free(l->profile);
        free(l->members_problem);
        free(l->units_problem);
        free(l->kernel_problem);
        free(l->save_problem);
        attempts_record_clear(&l->unsaved);
        free(l->sessions_problem);
        free(l->second_problem);
        free(l->trial_text);
        free(l->trial_problem);
        free(l->relay_problem);
        free(l->frames_problem);
        free(l->name);
        free(l);
        return NULL;
}

static struct lockdown *add(struct manager *m, const struct profile *profile, bool configured)
{
        struct lockdown **more = reallocarray(m->lockdowns, m->n_lockdowns + 1, sizeof(*more));
        struct lockdown *l = calloc(1, sizeof(*l));

        if (more)
                m->lockdowns = more;
        if (l) {
                l->manager = m;
                l->configured = configured;
                l->name = strdup(profile->name);
                l->profile = profile_copy(profile);
        }
        if (!more || !l || !l->name || !l->profile) {
                lockdown_free(l);
                return NULL;
        }
        m->lockdowns[m->n_lockdowns++] = l;
        qsort(m->lockdowns, m->n_lockdowns, sizeof(*m->lockdowns), compare_lockdowns);
        return l;
}

/* Perhaps one allocation's, of many: no profile goes unstaged, and no order unfinished, for that. */
struct lockdown *manager_add(struct manager *m, const struct profile *profile, bool configured)
{
        struct lockdown *l = add(m, profile, configured);

        return l ? l : add(m, profile, configured);
}

void manager_remove(struct manager *m, struct lockdown *l)
{
        size_t i = 0;

        lockdown_stop_verifying(l);
        while (i < m->n_lockdowns && m->lockdowns[i] != l)
                i++;
        if (i == m->n_lockdowns)
                return;
        memmove(&m->lockdowns[i], &m->lockdowns[i + 1], (m->n_lockdowns - i - 1) * sizeof(*m->lockdowns));
        m->n_lockdowns--;
        lockdown_second_unstage(l);
        lockdown_free(l);
}

const struct profile *lockdown_profile(const struct lockdown *l)
{
        return l->order ? l->order->profile : l->profile;
}

/* ---- what systemd and the bus are told ---- */

static void describe(struct lockdown *l, FILE *f)
{
        const uint64_t users = idset_count(&l->members.subjects.uids);
        uint64_t packets, bytes;
        char until[64], span[64];
        struct now now;

        clock_now(&now);
        fprintf(f, "%s in force for ", l->name);
        if (lockdown_profile(l)->everyone)
                fputs("everyone", f);
        else
                fprintf(f, "%" PRIu64 " %s", users, users == 1 ? "user" : "users");
        if (l->order->end == END_NEVER)
                fputs(" until lifted", f);
        else
                fprintf(f, " until %s", timestamp_format(l->order->until, until, sizeof(until)));
        if (l->order->confirm_until > 0)
                fprintf(f, " (to be CONFIRMED until %s)",
                        timestamp_format(l->order->confirm_until, until, sizeof(until)));
        fprintf(f, ", by %s", l->order->ordered_by.name ? l->order->ordered_by.name : "uid");
        if (!l->order->ordered_by.name)
                fprintf(f, " %" PRIu32, l->order->ordered_by.uid);
        if (l->order->reason && l->order->reason[0])
                fprintf(f, " (%s)", l->order->reason);
        lockdown_refused(l, &packets, &bytes);
        fprintf(f, ", %" PRIu64 " packets refused", packets);
        if (lockdown_trouble(l))
                fprintf(f, ", NOT holding as it should: %s", lockdown_trouble(l));
        else if (l->verified_at > 0 && l->verified_at <= now.realtime)
                fprintf(f, ", verified %s ago",
                        timespan_format(now.realtime - l->verified_at, span, sizeof(span)));
        if (l->save_problem)
                fprintf(f, ", NOT SAVED: %s", l->save_problem);
}

void manager_update_status(struct manager *m)
{
        _cleanup_free_ char *text = NULL;
        size_t size, in_force = 0;
        _cleanup_fclose_ FILE *f = open_memstream(&text, &size);

        if (!f)
                return;
        for (size_t i = 0; i < m->n_lockdowns; i++)
                if (m->lockdowns[i]->order) {
                        if (in_force++)
                                fputs("; ", f);
                        describe(m->lockdowns[i], f);
                }
        if (in_force == 0)
                fprintf(f, "no lockdown in force, %zu staged", m->n_lockdowns);
        if (m->unsaved_ends)
                fputs("; the end of an order is NOT SAVED, it would come back after a reboot", f);
        if (m->orders_problem)
                fprintf(f, "; SAVED ORDERS NOT READ: %s", m->orders_problem);
        if (m->config_problem)
                fprintf(f, "; CONFIGURATION NOT IN FORCE: %s", m->config_problem);
        if (m->state_problem)
                fprintf(f, "; SAVED ORDERS NOT KNOWN: %s", m->state_problem);
        if (fflush(f) != 0)
                return;
        for (char *c = text; *c; c++)
                if (*c == '\n')
                        *c = ' ';
        notifier_status(m->notifier, text);
}

struct change {
        char *profile;
        const char *state;
};

static void forget_changes(struct manager *m)
{
        for (size_t i = 0; i < m->n_changes; i++)
                free(m->changes[i].profile);
        free(m->changes);
        m->changes = NULL;
        m->n_changes = 0;
}

static int on_tell(sd_event_source *source, void *userdata)
{
        struct manager *m = userdata;

        (void)source;
        m->tell = sd_event_source_disable_unref(m->tell);
        manager_update_status(m);
        for (size_t i = 0; i < m->n_changes && m->changed; i++)
                m->changed(m->changed_userdata, m->changes[i].profile, m->changes[i].state);
        forget_changes(m);
        return 0;
}

int manager_next_turn(struct manager *m, sd_event_source **source, int64_t priority,
                      sd_event_handler_t callback, void *userdata)
{
        sd_event_source *next = NULL;
        int r = sd_event_add_defer(m->event, &next, callback, userdata);

        if (r >= 0)
                r = sd_event_source_set_priority(next, priority);
        if (r < 0) {
                sd_event_source_disable_unref(next);
                return r;
        }
        sd_event_source_disable_unref(*source);
        *source = next;
        return 0;
}

static int tell_later(struct manager *m, const char *profile, const char *state)
{
        struct change *more = reallocarray(m->changes, m->n_changes + 1, sizeof(*more));
        char *copy = strdup(profile);
        int r = more && copy ? 0 : -ENOMEM;

        if (more)
                m->changes = more;
        if (r >= 0 && !m->tell)
                r = sd_event_add_defer(m->event, &m->tell, on_tell, m);
        if (r < 0) {
                free(copy);
                return r;
        }
        m->changes[m->n_changes++] = (struct change){copy, state};
        return 0;
}

void manager_notify(struct manager *m, const char *profile, const char *state)
{
        if (tell_later(m, profile, state) >= 0)
                return;
        manager_update_status(m);
        if (m->changed)
                m->changed(m->changed_userdata, profile, state);
}

void manager_on_change(struct manager *m, manager_changed_t callback, void *userdata)
{
        m->changed = callback;
        m->changed_userdata = userdata;
}

bool manager_permits(const struct manager *m, enum right right, const struct peer *peer)
{
        return access_allows(&m->access[right], peer);
}

/* ---- timers and watches ---- */

static int rearm(sd_event_source *source, uint64_t interval)
{
        int r = sd_event_source_set_time_relative(source, interval);

        return r < 0 ? r : sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
}

static int on_refresh_timer(sd_event_source *source, uint64_t usec, void *userdata)
{
        (void)usec;
        manager_refresh_all(userdata);
        manager_refresh_access(userdata);
        manager_units_changed(userdata); /* should an event have been lost */
        manager_save_times(userdata);
        return rearm(source, REFRESH_INTERVAL);
}

/* What the kernel or the disk refused, or the directory did not answer, is tried again. */
static int on_retry_timer(sd_event_source *source, uint64_t usec, void *userdata)
{
        struct manager *m = userdata;

        (void)usec;
        manager_retry_store(m);
        manager_second_try_again(m);
        manager_second_try_sender(m);
        manager_read_orders_again(m);
        manager_finish_ends(m);
        for (size_t i = 0; i < m->n_lockdowns; i++) {
                struct lockdown *l = m->lockdowns[i];

                if (l->kernel_problem && lockdown_knows_people(l) && lockdown_sync(l) >= 0) {
                        l->staging_repairs = l->staging;
                        if (!l->staging)
                                audit(AUDIT_REPAIRED, LOG_NOTICE, l->order, NULL,
                                      "%s: the rules are as they should be again", l->name);
                }
                if (l->relay_problem && lockdown_knows_people(l) && lockdown_sync(l) >= 0 &&
                    !l->relay_problem)
                        audit_log(LOG_NOTICE, "%s: their DNS is relayed again", l->name);
                if (l->order && l->second_problem && !l->kernel_problem)
                        lockdown_second_sync(l);
                if (l->order && l->unsevered)
                        lockdown_sever(l, NULL);
                lockdown_end_sessions(l); /* what did not die */
        }
        manager_retry_saving(m);
        store_keep_spare(m->store);
        manager_ask_again(m);
        nft_note_devices(m->nft); /* also what nobody told of */
        manager_cover_devices(m);
        manager_follow_clock(m, false); /* nobody tells that it is synchronized */
        return rearm(source, RETRY_INTERVAL);
}

static int on_status_timer(sd_event_source *source, uint64_t usec, void *userdata)
{
        (void)usec;
        manager_tell_tampering(userdata);
        manager_update_status(userdata);
        return rearm(source, 10 * USEC_PER_SEC);
}

static void on_accounts_changed(void *userdata)
{
        manager_refresh_all(userdata);
        manager_refresh_access(userdata);
}

static void on_sessions_changed(void *userdata)
{
        struct manager *m = userdata;

        for (size_t i = 0; i < m->n_lockdowns; i++) {
                struct lockdown *l = m->lockdowns[i];

                if (!l->order)
                        continue;
                /* at once: the directory may take its time, or not answer */
                if (lockdown_profile(l)->sessions && lockdown_knows_people(l)) {
                        (void)lockdown_sync(l);
                        lockdown_sever(l, NULL);
                }
                lockdown_refresh(l, NULL, NULL); /* perhaps it is one whom the directory does not enumerate */
        }
}

static void on_units_changed(void *userdata)
{
        manager_units_changed(userdata);
}

static void on_clock_stepped(void *userdata)
{
        manager_follow_clock(userdata, true);
}

static int add_timers(struct manager *m)
{
        const struct {
                sd_event_source **source;
                uint64_t first;
                sd_event_time_handler_t handler;
        } timers[] = {
                {&m->refresh_timer, REFRESH_INTERVAL, on_refresh_timer},
                {&m->retry_timer, RETRY_INTERVAL, on_retry_timer},
                {&m->status_timer, 10 * USEC_PER_SEC, on_status_timer},
        };

        for (size_t i = 0; i < ELEMENTSOF(timers); i++) {
                int r = sd_event_add_time_relative(m->event, timers[i].source, CLOCK_BOOTTIME,
                                                   timers[i].first, 100 * 1000, timers[i].handler, m);
                if (r < 0)
                        return r;
        }
        return 0;
}

/* ---- life ---- */

static void on_tables_changed(void *userdata, const struct nft_change *change)
{
        manager_tables_changed(userdata, change);
}

static int on_note_devices(sd_event_source *source, uint64_t usec, void *userdata)
{
        struct manager *m = userdata;

        (void)source;
        (void)usec;
        m->note_devices = sd_event_source_disable_unref(m->note_devices);
        nft_note_devices(m->nft);
        return 0;
}

/* Some devices change all the time. Where none are noted, an order lists them. */
static void on_devices_changed(void *userdata)
{
        struct manager *m = userdata;

        nft_forget_devices(m->nft);
        manager_cover_devices(m);
        if (!m->note_devices)
                (void)sd_event_add_time_relative(m->event, &m->note_devices, CLOCK_MONOTONIC,
                                                 NOTE_DEVICES_AFTER, 1, on_note_devices, m);
}

static void watch_devices(struct manager *m)
{
        int r;

        if (nft_why_no_frames(m->nft)) {
                audit_log(LOG_WARNING, "what packet sockets write is not judged: %s",
                          nft_why_no_frames(m->nft));
                return;
        }
        r = device_watch_new(m->event, on_devices_changed, m, &m->devices);
        if (r < 0)
                audit_log(LOG_ERR, "devices that appear will be noticed late: %s", strerror(-r));
        else
                nft_note_devices(m->nft);
}

static int open_nft(struct manager *m, int kept, char **ret_error)
{
        _cleanup_free_ char *error = NULL;
        int r;

        if (kept < 0)
                return nft_open(&m->nft, ret_error);
        r = nft_open_kept(kept, &m->nft, &error);
        if (r >= 0)
                return 0;
        audit_log(LOG_WARNING, "the socket kept by the service manager is of no use: %s",
                  error ? error : strerror(-r));
        return nft_open(&m->nft, ret_error);
}

bool manager_lacks_people(const struct manager *m)
{
        for (size_t i = 0; i < m->n_lockdowns; i++)
                if (m->lockdowns[i]->order && !lockdown_knows_people(m->lockdowns[i]))
                        return true;
        return false;
}

int manager_socket(const struct manager *m)
{
        return nft_socket(m->nft);
}

static int open_edges(struct manager *m, const struct manager_paths *paths, char **ret_error)
{
        int r = manager_take_lock(m, paths->runtime, ret_error);

        if (r >= 0)
                r = manager_open_store(m);
        if (r >= 0)
                r = open_nft(m, paths->kept_socket, ret_error);
        if (r < 0)
                return r;
        r = sever_open(&m->sever);
        if (r < 0 || !sever_can_destroy(m->sever))
                audit_log(LOG_ERR,
                          "this kernel cannot destroy sockets (CONFIG_INET_DIAG_DESTROY): an order refuses "
                          "packets, but connections stay open and what a program had queued when it was "
                          "killed still goes out");
        if (!nft_owns_tables(m->nft)) {
                r = nft_watch_new(m->event, m->nft, on_tables_changed, m, &m->nft_watch);
                if (r < 0)
                        audit_log(LOG_ERR, "changes that others make to the tables will not be noticed: %s",
                                  strerror(-r));
        }
        watch_devices(m);
        manager_second_open(m);
        m->launcher = paths->launcher;
        r = resolver_new(m->event, m->launcher, &m->resolver);
        if (r >= 0)
                r = watch_new(m->event, on_accounts_changed, m, &m->watch);
        if (r >= 0)
                r = clock_watch_new(m->event, on_clock_stepped, m, &m->clock);
        if (r >= 0)
                r = add_timers(m);
        if (r < 0)
                return r;
        r = sessions_new(m->event, NULL, on_sessions_changed, m, &m->sessions);
        if (r < 0)
                audit_log(LOG_WARNING, "logind cannot be followed: %s", strerror(-r));
        r = units_new(m->event, NULL, on_units_changed, m, &m->units);
        if (r < 0)
                audit_log(LOG_WARNING, "the control groups of units cannot be searched: %s", strerror(-r));
        r = manager_record_new(m);
        return r < 0 ? r : manager_remote_new(m);
}

int manager_new(sd_event *event, const struct manager_paths *paths, struct manager **ret, char **ret_error)
{
        _cleanup_(manager_freep) struct manager *m = calloc(1, sizeof(*m));
        struct now now;
        int r;

        if (!m)
                return -ENOMEM;
        m->lock_fd = -1;
        if (geteuid() != 0 && !own_capability(CAP_NET_ADMIN))
                return set_problem(ret_error, "lockdownd must be run as root (normally systemd starts it)"),
                       -EPERM;
        clock_now(&now);
        m->event = sd_event_ref(event);
        m->notifier = paths->notifier;
        m->started_at = now.realtime;
        m->clock_set_at = now.boottime;
        m->configuration_dir = strdup(paths->configuration);
        m->state_dir = strdup(paths->state);
        m->config = config_new_default();
        if (!m->configuration_dir || !m->state_dir || !m->config)
                return -ENOMEM;
        r = open_edges(m, paths, ret_error);
        if (r < 0) {
                if (!*ret_error)
                        set_problem(ret_error, "cannot start: %s", strerror(-r));
                return r;
        }
        *ret = TAKE_PTR(m);
        return 0;
}

struct manager *manager_free(struct manager *m)
{
        if (!m)
                return NULL;
        m->changed = NULL;
        manager_cancel_verifications(m);
        for (size_t i = 0; i < m->n_lockdowns; i++)
                lockdown_tell_tampering(m->lockdowns[i]);
        for (size_t i = 0; i < m->n_lockdowns; i++) {
                struct lockdown *l = m->lockdowns[i];

                if ((l->loaded || l->staging) && !l->order && m->nft)
                        (void)nft_delete(m->nft, l->name, NULL);
        }
        manager_forget_unsaved(m);
        manager_record_free(m);
        manager_remote_free(m); /* its last words name orders */
        while (m->n_lockdowns > 0)
                lockdown_free(m->lockdowns[--m->n_lockdowns]);
        free(m->lockdowns);
        manager_forget_access(m);
        sd_event_source_disable_unref(m->tell);
        sd_event_source_disable_unref(m->restage);
        forget_changes(m);
        sd_event_source_disable_unref(m->refresh_timer);
        sd_event_source_disable_unref(m->retry_timer);
        sd_event_source_disable_unref(m->status_timer);
        sd_event_source_disable_unref(m->seen_timer);
        sd_event_source_disable_unref(m->verify_timer);
        sd_event_source_disable_unref(m->verify_next);
        sd_event_source_disable_unref(m->sever_later);
        idset_clear(&m->seen);
        watch_free(m->watch);
        clock_watch_free(m->clock);
        sessions_free(m->sessions);
        units_free(m->units);
        resolver_free(m->resolver);
        sever_close(m->sever);
        manager_second_close(m);
        free(m->second_problem);
        free(m->no_sender);
        device_watch_free(m->devices);
        sd_event_source_disable_unref(m->note_devices);
        nft_watch_free(m->nft_watch);
        nft_close(m->nft);
        store_close(m->store);
        config_free(m->config);
        free(m->config_problem);
        free(m->orders_problem);
        namespaces_clear(&m->others);
        free(m->configuration_dir);
        free(m->state_dir);
        free(m->state_problem);
        free(m->cgroup_root);
        problems_clear(&m->damage);
        if (m->lock_fd >= 0)
                close(m->lock_fd);
        sd_event_unref(m->event);
        free(m);
        return NULL;
}
