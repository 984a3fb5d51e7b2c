/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "manager-internal.h"
#include "operation.h"
#include "report.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

/* ---- lift ---- */

struct lift {
        const struct caller *by;
        const char *reason;
        json_t *lifted, *not_in_force, *warnings;
        struct lockdown *failed; /* the kernel would not let this one go */
};

static int lift_one(struct manager *m, struct lockdown *l, struct lift *lift)
{
        _cleanup_(order_freep) struct order *ended = NULL;
        int r = lockdown_end(l, ORDER_LIFTED, lift->by, lift->reason, &ended);

        if (r < 0) {
                lift->failed = l;
                return r;
        }
        audit(AUDIT_LIFTED, LOG_NOTICE, ended, lift->by,
              "%s was lifted: its people may reach the internet again%s%s", ended->profile->name,
              lift->reason ? ". Reason: " : "", lift->reason ? lift->reason : "");
        (void)json_array_append_new(lift->lifted, report_order(NULL, ended, NULL));
        manager_report_unsaved_ends(m, ended->profile->name, lift->warnings);
        manager_notify(m, ended->profile->name, "lifted");
        return 0;
}

/* Backwards: an ad-hoc one leaves the list as it ends. */
static int lift_all(struct manager *m, struct lift *lift)
{
        int result = 0;

        for (size_t i = m->n_lockdowns; i-- > 0;) {
                struct lockdown *l = m->lockdowns[i];
                int r = l->order ? lift_one(m, l, lift) : 0;

                if (r < 0)
                        result = r;
        }
        return result;
}

void manager_lift(struct manager *m, const char *profile, const char *reason, const struct caller *caller,
                  manager_done_t done, void *userdata)
{
        const struct operation op = {.done = done, .userdata = userdata};
        _cleanup_json_ json_t *lifted = json_array(), *not_in_force = json_array(), *warnings = json_array();
        struct lift lift = {.by = caller,
                            .reason = reason && reason[0] ? reason : NULL,
                            .lifted = lifted,
                            .not_in_force = not_in_force,
                            .warnings = warnings};
        struct lockdown *l = profile ? manager_find(m, profile) : NULL;
        int r = 0;

        if (!lifted || !not_in_force || !warnings) {
                operation_fail(&op, ERROR_FAILED, NO_MEMORY);
                return;
        }
        if (!profile)
                r = lift_all(m, &lift);
        else if (l && l->order)
                r = lift_one(m, l, &lift);
        else if (json_array_append_new(not_in_force, json_string(profile)) < 0)
                r = -ENOMEM;
        if (r < 0) {
                operation_fail(&op, ERROR_KERNEL, "%s is STILL in force, the kernel did not remove it: %s",
                               lift.failed ? lift.failed->name : "it",
                               lift.failed && lift.failed->kernel_problem ? lift.failed->kernel_problem
                                                                          : strerror(-r));
                return;
        }
        operation_reply(&op, json_pack("{s:O,s:O,s:O}", "lifted", lifted, "not_in_force", not_in_force,
                                       "warnings", warnings));
}

/* ---- confirm ---- */

void manager_confirm(struct manager *m, const char *profile, const struct caller *caller, manager_done_t done,
                     void *userdata)
{
        const struct operation op = {.done = done, .userdata = userdata};
        struct lockdown *l = manager_find(m, profile);
        _cleanup_json_ json_t *order = NULL, *warnings = NULL;
        bool waiting;

        if (!l) { /* may be an ad-hoc order's: nothing is left of it but its record */
                operation_fail(&op, ERROR_FAILED,
                               "no lockdown %s is in force: if it was waiting to be confirmed, this is too "
                               "late; lockdownctl history lists what has ended",
                               profile);
                return;
        }
        if (!l->order) {
                operation_fail(&op, ERROR_FAILED,
                               "%s is not in force: if it was waiting to be confirmed, this is too late; to "
                               "order it again: lockdownctl order %s",
                               profile, profile);
                return;
        }
        waiting = order_confirm(l->order);
        if (waiting) {
                l->ends_as = ORDER_ACTIVE; /* had it ended before: it is wanted again */
                lockdown_arm_expiry(l);
                lockdown_save(l);
                audit(AUDIT_CONFIRMED, LOG_NOTICE, l->order, caller, "%s was confirmed", l->name);
                manager_notify(m, l->name, "confirmed");
        }
        order = report_order(l, l->order, NULL);
        warnings = report_warnings(l);
        operation_reply(&op, order && warnings ? json_pack("{s:O,s:b,s:O}", "order", order, "confirmed",
                                                           waiting, "warnings", warnings)
                                               : NULL);
}

/* ---- extend ---- */

static void extend_reply(const struct operation *op, struct lockdown *l, bool shortened)
{
        _cleanup_json_ json_t *order = report_order(l, l->order, NULL), *warnings = report_warnings(l);

        if (warnings && shortened)
                (void)json_array_append_new(warnings, json_string("shortened to the profile's MaxDuration="));
        operation_reply(op, order && warnings ? json_pack("{s:O,s:b,s:O}", "order", order, "shortened",
                                                          shortened, "warnings", warnings)
                                              : NULL);
}

static const char *why_not(const struct lockdown *l, const struct order_time *t, const struct now *now,
                           const char **ret_error)
{
        *ret_error = ERROR_BAD_REQUEST;
        if (t->duration && t->until)
                return "give either a duration or an end, not both";
        if (!t->duration && !t->until)
                return "say for how long, or until when";
        if (t->until && t->until <= now->realtime)
                return "the end asked for is already past";
        *ret_error = ERROR_FAILED;
        if (l->order->end == END_NEVER)
                return "it holds until it is lifted: there is nothing to extend";
        if (order_end_is_earlier(l->order, t, now))
                return "that is earlier than it ends now, and extend only moves the end later; to end it "
                       "now: "
                       "lockdownctl lift";
        return NULL;
}

void manager_extend(struct manager *m, const char *profile, const struct order_time *t,
                    const struct caller *caller, manager_done_t done, void *userdata)
{
        const struct operation op = {.done = done, .userdata = userdata};
        struct lockdown *l = manager_find(m, profile);
        const char *reason, *error;
        bool shortened = false;
        struct now now;
        char until[64];
        int r;

        if (!l) {
                operation_fail(&op, ERROR_NO_SUCH_PROFILE,
                               "there is no profile or order %s; lockdownctl status lists what is in force",
                               profile);
                return;
        }
        if (!l->order) {
                operation_fail(&op, ERROR_FAILED, "%s is not in force; to order it: lockdownctl order %s",
                               profile, profile);
                return;
        }
        clock_now(&now);
        reason = why_not(l, t, &now, &error);
        if (reason) {
                operation_fail(&op, error, "%s: %s", profile, reason);
                return;
        }
        r = order_set_end(l->order, t, &now, &shortened);
        if (r < 0) {
                operation_fail(&op, ERROR_FAILED, "%s could not be extended: %s", profile, strerror(-r));
                return;
        }
        l->ends_as = ORDER_ACTIVE; /* had it ended before: it is wanted again */
        lockdown_arm_expiry(l);
        lockdown_save(l);
        audit(AUDIT_EXTENDED, LOG_NOTICE, l->order, caller, "%s was extended until %s", l->name,
              timestamp_format(l->order->until, until, sizeof(until)));
        manager_notify(m, l->name, "extended");
        extend_reply(&op, l, shortened);
}
