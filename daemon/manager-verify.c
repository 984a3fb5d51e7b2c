/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "json-text.h"
#include "manager-internal.h"
#include "operation.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

/* Verified, not assumed: what the kernel holds is read back and compared with what should be there, and then
 * tried (manager-trial.c), soon after an order, every minute, and when somebody asks; when others have
 * changed tables of ours, it is compared. What differs is put right; what cannot be is told at the highest
 * priority, and never lifted for that. */

#define VERIFY_INTERVAL USEC_PER_MINUTE
#define VERIFY_SOON USEC_PER_SEC
/* So often it is tried to read what is large, that long after the last time. */
#define READINGS 8
#define READ_AGAIN (USEC_PER_SEC / 2)

const char *lockdown_trouble(const struct lockdown *l)
{
        return l->kernel_problem   ? l->kernel_problem
               : l->second_problem ? l->second_problem
                                   : l->trial_problem;
}

static void note_outcome(struct lockdown *l)
{
        struct now now;

        clock_now(&now);
        if (!lockdown_trouble(l)) {
                if (l->alarmed)
                        audit(AUDIT_REPAIRED, LOG_NOTICE, l->order, NULL, "%s holds as it should again",
                              l->name);
                l->verified_at = now.realtime;
                l->alarmed = false;
                return;
        }
        if (!l->alarmed)
                audit(AUDIT_NOT_HOLDING, LOG_ALERT, l->order, NULL,
                      "%s is ordered, but NOT holding as it should: %s. It is tried again every few seconds",
                      l->name, lockdown_trouble(l));
        l->alarmed = true;
}

/* Reads both locks back; WHOLE: also what nobody can have changed. Returns whether anything had to be
 * repaired. */
static bool compare(struct lockdown *l, bool whole, const struct nft_reading *reading)
{
        bool repaired = lockdown_check_tables(l, whole, reading);

        if (l->second_problem && !l->kernel_problem)
                lockdown_second_sync(l); /* perhaps it can be put right by now */
        return repaired | lockdown_check_second(l);
}

/* Nothing differs, and still it does not hold: all of it is loaded anew. */
static void load_anew(struct lockdown *l)
{
        if (!l->alarmed)
                audit_log(LOG_ERR, "%s: nothing differs from what was ordered, but %s: loading it anew",
                          l->name, l->trial_problem);
        set_problem(&l->kernel_problem, "%s", l->trial_problem);
        if (lockdown_sync(l) < 0)
                return;
        l->second_engaged = false;
        lockdown_second_sync(l);
        lockdown_sever(l, NULL);
}

/* ---- one order after the other ---- */

struct verification {
        struct manager *manager;
        struct operation op; /* DONE is NULL where nobody asked */
        char *only;          /* profile, or NULL: all */
        char *current;       /* … that is being looked at, or was last */
        bool was_wrong, repaired, again;
        unsigned readings; /* begun */
        json_t *verdicts;
        bool unanswerable; /* one is missing, for want of memory */
        struct verification *next;
};

static void verification_free(struct verification *v)
{
        free(v->only);
        free(v->current);
        json_decref(v->verdicts);
        free(v);
}

/* In the order of their names, so that none that comes or goes meanwhile matters. */
static struct lockdown *next_lockdown(const struct verification *v)
{
        for (size_t i = 0; i < v->manager->n_lockdowns; i++) {
                struct lockdown *l = v->manager->lockdowns[i];

                if (l->order && (!v->only || strcmp(v->only, l->name) == 0) &&
                    (!v->current || strcmp(v->current, l->name) < 0))
                        return l;
        }
        return NULL;
}

static int on_next(sd_event_source *source, void *userdata);

/* By way of the event loop: whoever calls may be in the middle of something. */
static void go_on(struct manager *m)
{
        int r = manager_next_turn(m, &m->verify_next, SD_EVENT_PRIORITY_NORMAL, on_next, m);

        if (r < 0)
                audit_log(LOG_ERR, "what is in force cannot be verified: %s", strerror(-r));
}

static json_t *verdict(const struct verification *v, const struct lockdown *l)
{
        bool repaired = v->repaired || (v->was_wrong && !lockdown_trouble(l));
        json_t *j = json_pack("{s:s,s:s,s:b,s:b}", "profile", l->name, "order", l->order->id, "holds",
                              lockdown_trouble(l) == NULL, "repaired", repaired);

        if (j && lockdown_trouble(l))
                (void)json_object_set_new(j, "problem", json_string_lenient(lockdown_trouble(l)));
        if (j && l->trial_text)
                (void)json_object_set_new(j, "trial", json_string_lenient(l->trial_text));
        return j;
}

static void conclude(struct verification *v, struct lockdown *l)
{
        note_outcome(l);
        if (json_array_append_new(v->verdicts, verdict(v, l)) < 0)
                v->unanswerable = true;
        go_on(v->manager);
}

static void on_tried(void *userdata, struct lockdown *l, enum trial_verdict outcome)
{
        struct verification *v = userdata;

        if (outcome == TRIAL_WRONG && !v->again) {
                v->again = true;
                load_anew(l);
                if (!l->kernel_problem) {
                        lockdown_try(l, on_tried, v);
                        return;
                }
        }
        if (v->again && !lockdown_trouble(l)) {
                v->repaired = true;
                audit(AUDIT_REPAIRED, LOG_WARNING, l->order, NULL,
                      "%s did not hold when it was tried. It was loaded anew, and does", l->name);
        }
        conclude(v, l);
}

/* Is nothing believed? */
static bool is_whole(const struct verification *v)
{
        return v->op.done || v->was_wrong;
}

static void compare_and_try(struct verification *v, struct lockdown *l, const struct nft_reading *reading)
{
        v->repaired = compare(l, is_whole(v), reading);
        if (!l->kernel_problem && lockdown_knows_people(l))
                lockdown_try(l, on_tried, v);
        else
                conclude(v, l); /* that is trouble enough */
}

static void read_large(void *reading)
{
        nft_reading_run(reading);
}

static void read_and_compare(struct verification *v, struct lockdown *l);

static struct lockdown *find_current(const struct verification *v)
{
        struct lockdown *l = manager_find(v->manager, v->current);

        return l && l->order ? l : NULL;
}

static int on_read_again(sd_event_source *source, uint64_t usec, void *userdata)
{
        struct verification *v = ((struct manager *)userdata)->verifications;
        struct lockdown *l = find_current(v);

        (void)source;
        (void)usec;
        if (l)
                read_and_compare(v, l);
        else
                go_on(v->manager);
        return 0;
}

/* A table was changed meanwhile, of which others may be just being staged; or the kernel had no answer. */
static void read_again(struct verification *v, struct lockdown *l)
{
        struct manager *m = v->manager;

        m->verify_next = sd_event_source_disable_unref(m->verify_next);
        if (v->readings == READINGS || sd_event_add_time_relative(m->event, &m->verify_next, CLOCK_MONOTONIC,
                                                                  READ_AGAIN, 0, on_read_again, m) < 0)
                compare_and_try(v, l, NULL); /* everybody waits for it */
}

static void on_large_read(void *userdata)
{
        struct manager *m = userdata;
        struct verification *v = m->verifications;
        struct lockdown *l = find_current(v);
        struct nft_reading *reading;

        m->reader = background_end(m->reader);
        reading = TAKE_PTR(m->reading);
        if (!l)
                go_on(m);
        else if (nft_reading_is_good(reading))
                compare_and_try(v, l, reading);
        else
                read_again(v, l);
        nft_reading_free(reading);
}

/* What takes long is read by a thread. */
static void read_and_compare(struct verification *v, struct lockdown *l)
{
        struct manager *m = v->manager;

        v->readings++;
        if (v->current)
                m->reading = lockdown_new_reading(l, is_whole(v));
        if (m->reading && background_begin(m->event, SD_EVENT_PRIORITY_NORMAL, read_large, m->reading,
                                           on_large_read, m, &m->reader) >= 0)
                return;
        m->reading = nft_reading_free(m->reading);
        compare_and_try(v, l, NULL);
}

static void look_at(struct verification *v, struct lockdown *l)
{
        free(v->current);
        v->current = strdup(l->name);
        v->was_wrong = lockdown_trouble(l) != NULL;
        v->again = false;
        v->readings = 0;
        read_and_compare(v, l);
}

static void end(struct verification *v)
{
        struct manager *m = v->manager;

        m->verifications = v->next;
        manager_update_status(m);
        if (v->op.done)
                operation_reply(&v->op, v->unanswerable ? NULL : json_pack("{s:O}", "verified", v->verdicts));
        verification_free(v);
        if (m->verifications)
                go_on(m);
}

static int on_next(sd_event_source *source, void *userdata)
{
        struct verification *v = ((struct manager *)userdata)->verifications;
        struct lockdown *l = v ? next_lockdown(v) : NULL;

        (void)source;
        if (l)
                look_at(v, l);
        else if (v)
                end(v);
        return 0;
}

/* OP may be NULL. */
static int begin(struct manager *m, const struct operation *op, const char *only)
{
        struct verification *v = calloc(1, sizeof(*v)), **last = &m->verifications;

        if (!v)
                return -ENOMEM;
        v->manager = m;
        v->op = op ? *op : (struct operation){0};
        v->only = only ? strdup(only) : NULL;
        v->verdicts = json_array();
        if ((only && !v->only) || !v->verdicts) {
                verification_free(v);
                return -ENOMEM;
        }
        while (*last)
                last = &(*last)->next;
        *last = v;
        if (m->verifications == v)
                go_on(m);
        return 0;
}

void lockdown_stop_verifying(struct lockdown *l)
{
        set_problem(&l->trial_text, NULL);
        set_problem(&l->trial_problem, NULL);
        if (l->manager->reading && strcmp(l->manager->verifications->current, l->name) == 0)
                nft_reading_give_up(l->manager->reading);
        if (!l->trial)
                return;
        lockdown_forget_trial(l);
        go_on(l->manager);
}

void manager_cancel_verifications(struct manager *m)
{
        struct verification *v;

        for (size_t i = 0; i < m->n_lockdowns; i++)
                lockdown_forget_trial(m->lockdowns[i]);
        m->verify_next = sd_event_source_disable_unref(m->verify_next);
        if (m->reading)
                nft_reading_give_up(m->reading);
        m->reader = background_end(m->reader);
        m->reading = nft_reading_free(m->reading);
        while ((v = m->verifications)) {
                m->verifications = v->next;
                if (v->op.done)
                        operation_fail(&v->op, ERROR_FAILED, "lockdownd is about to end");
                verification_free(v);
        }
}

/* ---- by itself ---- */

/* Sooner where something is wrong that only trying shows. */
static uint64_t interval(const struct manager *m)
{
        for (size_t i = 0; i < m->n_lockdowns; i++)
                if (m->lockdowns[i]->trial_problem)
                        return RETRY_INTERVAL;
        return VERIFY_INTERVAL;
}

/* For want of memory the next step was not begun. */
static bool is_stuck(const struct manager *m)
{
        int next = SD_EVENT_OFF;

        if (!m->verifications || m->reading)
                return false;
        for (size_t i = 0; i < m->n_lockdowns; i++)
                if (m->lockdowns[i]->trial)
                        return false;
        return !m->verify_next ||
               (sd_event_source_get_enabled(m->verify_next, &next) >= 0 && next == SD_EVENT_OFF);
}

static int on_verify_timer(sd_event_source *source, uint64_t usec, void *userdata)
{
        struct manager *m = userdata;
        bool any = false;

        (void)usec;
        for (size_t i = 0; i < m->n_lockdowns; i++)
                any |= m->lockdowns[i]->order != NULL;
        if (!any) {
                m->verify_timer = sd_event_source_disable_unref(m->verify_timer);
                return 0;
        }
        if (is_stuck(m))
                go_on(m);
        if (!m->verifications && begin(m, NULL, NULL) < 0)
                audit_log(LOG_ERR, "out of memory: what is in force is verified later");
        (void)sd_event_source_set_time_relative(source, interval(m));
        return sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
}

void manager_verify_soon(struct manager *m)
{
        int r;

        if (m->verify_timer) {
                (void)sd_event_source_set_time_relative(m->verify_timer, VERIFY_SOON);
                return;
        }
        r = sd_event_add_time_relative(m->event, &m->verify_timer, CLOCK_BOOTTIME, VERIFY_SOON, 50 * 1000,
                                       on_verify_timer, m);
        if (r < 0)
                audit_log(LOG_ERR, "what is in force is not verified by itself (%s): lockdownctl verify",
                          strerror(-r));
}

/* ---- when asked ---- */

void manager_verify(struct manager *m, const char *profile, manager_done_t done, void *userdata)
{
        const struct operation op = {.done = done, .userdata = userdata};
        const char *only = profile && profile[0] ? profile : NULL;

        if (only && !manager_find(m, only))
                operation_fail(&op, ERROR_NO_SUCH_PROFILE,
                               "there is no profile or order %s; lockdownctl status lists what is in force",
                               only);
        else if (begin(m, &op, only) < 0)
                operation_reply(&op, NULL);
}
