/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "manager-internal.h"
#include "operation.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

/* Verified, not assumed: what the kernel holds is read back and compared with what should be there, soon
 * after an order, every minute, when somebody asks, and when others have changed tables of ours. What differs
 * is put right; what cannot be is told at the highest priority, and never lifted for that. */

#define VERIFY_INTERVAL USEC_PER_MINUTE
#define VERIFY_SOON USEC_PER_SEC

/* Does the kernel hold what it should? 0: yes; 1: no, and RET_DIFFERENCE says where (the caller frees);
 * -errno: it could not be read. */
static int compare_tables(struct lockdown *l, char **ret_difference)
{
        if (!l->loaded) {
                set_problem(ret_difference, "it is not in the kernel");
                return 1;
        }
        /* A device that came this very moment is no difference. */
        if (l->engaged)
                (void)nft_cover_devices(l->manager->nft, l->loaded, NULL);
        return nft_verify(l->manager->nft, l->loaded, l->order != NULL, ret_difference);
}

/* Whom it was done by stands behind "changed by". */
static void repair_tables(struct lockdown *l, const char *difference, const char *by)
{
        set_problem(&l->kernel_problem, "%s", difference);
        if (lockdown_sync(l) < 0)
                return; /* told there, and tried again by the timer */
        if (!l->order)
                return;
        lockdown_sever(l, NULL); /* what came up through the hole */
        audit(AUDIT_REPAIRED, LOG_WARNING, l->order, NULL, "%s had been changed%s: %s. Repaired", l->name, by,
              difference);
}

static void repair_second(struct lockdown *l, const char *difference)
{
        l->second_engaged = false; /* as far as it can be relied on: put on anew, without a gap */
        lockdown_second_sync(l);
        if (l->second_problem)
                return;
        audit(AUDIT_REPAIRED, LOG_WARNING, l->order, NULL,
              "%s: the second lock had been changed: %s. Repaired", l->name, difference);
}

/* Returns whether anything had to be repaired. */
static bool check_tables(struct lockdown *l, const char *by)
{
        _cleanup_free_ char *difference = NULL;
        int r;

        /* Nobody knows yet whom it is about: what the kernel holds, it goes on holding. */
        if (!lockdown_knows_people(l))
                return false;
        r = compare_tables(l, &difference);
        if (r == 0)
                return false;
        repair_tables(l, difference ? difference : strerror(-r), by);
        return true;
}

static bool check_second(struct lockdown *l)
{
        _cleanup_free_ char *difference = NULL;
        int r = lockdown_second_verify(l, &difference);

        if (r == 0)
                return false;
        repair_second(l, difference ? difference : strerror(-r));
        return true;
}

/* What is wrong with L after everything that can be done was done; NULL: nothing. */
static const char *trouble(const struct lockdown *l)
{
        return l->kernel_problem ? l->kernel_problem : l->second_problem;
}

static void note_outcome(struct lockdown *l)
{
        struct now now;

        clock_now(&now);
        if (!trouble(l)) {
                l->verified_at = now.realtime;
                l->alarmed = false;
                return;
        }
        if (!l->alarmed)
                audit(AUDIT_NOT_HOLDING, LOG_ALERT, l->order, NULL,
                      "%s is ordered, but NOT holding as it should: %s. It is tried again every few seconds",
                      l->name, trouble(l));
        l->alarmed = true;
}

/* Returns whether anything had to be repaired. */
static bool verify(struct lockdown *l)
{
        const bool was_wrong = trouble(l) != NULL;
        bool repaired = check_tables(l, "");

        if (l->second_problem && !l->kernel_problem)
                lockdown_second_sync(l); /* perhaps it can be put right by now */
        repaired |= check_second(l);
        note_outcome(l);
        return repaired || (was_wrong && !trouble(l));
}

void manager_check_tables(struct manager *m, const char *program, uint32_t pid)
{
        _cleanup_free_ char *by = NULL;

        if (asprintf(&by, " by %s (pid %" PRIu32 ")", *program ? program : "somebody", pid) < 0)
                by = NULL;
        for (size_t i = 0; i < m->n_lockdowns; i++)
                if (m->lockdowns[i]->loaded)
                        (void)check_tables(m->lockdowns[i], by ? by : "");
}

/* ---- by itself ---- */

static int on_verify_timer(sd_event_source *source, uint64_t usec, void *userdata)
{
        struct manager *m = userdata;
        bool any = false;

        (void)usec;
        for (size_t i = 0; i < m->n_lockdowns; i++)
                if (m->lockdowns[i]->order) {
                        any = true;
                        (void)verify(m->lockdowns[i]);
                }
        if (!any) {
                m->verify_timer = sd_event_source_disable_unref(m->verify_timer);
                return 0;
        }
        manager_update_status(m);
        (void)sd_event_source_set_time_relative(source, VERIFY_INTERVAL);
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

static json_t *verdict(const struct lockdown *l, bool repaired)
{
        json_t *j = json_pack("{s:s,s:s,s:b,s:b}", "profile", l->name, "order", l->order->id, "holds",
                              trouble(l) == NULL, "repaired", repaired);

        if (j && trouble(l))
                (void)json_object_set_new(j, "problem", json_string(trouble(l)));
        return j;
}

void manager_verify(struct manager *m, const char *profile, manager_done_t done, void *userdata)
{
        const struct operation op = {.done = done, .userdata = userdata};
        const char *only = profile && profile[0] ? profile : NULL;
        json_t *list = json_array();

        if (only && !manager_find(m, only)) {
                json_decref(list);
                operation_fail(&op, ERROR_NO_SUCH_PROFILE,
                               "there is no profile or order %s; lockdownctl status lists what is in force",
                               only);
                return;
        }
        for (size_t i = 0; list && i < m->n_lockdowns; i++) {
                struct lockdown *l = m->lockdowns[i];
                bool repaired;

                if (!l->order || (only && strcmp(only, l->name) != 0))
                        continue;
                repaired = verify(l);
                if (json_array_append_new(list, verdict(l, repaired)) < 0)
                        list = (json_decref(list), NULL);
        }
        manager_update_status(m);
        operation_reply(&op, list ? json_pack("{s:o}", "verified", list) : NULL);
}
