/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "manager-internal.h"

/* What the clocks mean for the orders in force. */

/* Was the order's end reckoned anew? */
static bool follow_clock(struct lockdown *l, const struct now *now)
{
        struct order *o = l->order;
        bool changed = order_settle(o, now);
        char until[64];

        if (changed && o->end != END_NEVER)
                audit_log(LOG_NOTICE, "%s: the clock is synchronized; the order ends at %s", l->name,
                          timestamp_format(o->until, until, sizeof(until)));
        changed |= order_correct_until(o, now);
        return changed;
}

void manager_follow_clock(struct manager *m, bool stepped)
{
        bool any = stepped;
        struct now now;

        clock_now(&now);
        if (stepped)
                m->clock_set_at = now.boottime;
        for (size_t i = 0; i < m->n_lockdowns; i++) {
                struct lockdown *l = m->lockdowns[i];
                bool changed = l->order && follow_clock(l, &now);

                if (changed)
                        lockdown_save(l);
                if (l->order && (changed || stepped))
                        lockdown_arm_expiry(l);
                any |= changed;
        }
        if (any)
                manager_update_status(m);
}

/* Only NTP and the like tell that the clock is right; without them it takes until the end itself to say. */
char *lockdown_clock_doubt(const struct lockdown *l)
{
        const struct order *o = l->order;
        char left[64], by_clock[64];
        char *text = NULL;
        struct now now;

        clock_now(&now);
        if (!o || !order_awaits_clock(o, &now))
                return NULL;
        timespan_format(o->end == END_NEVER ? order_confirm_remaining(o, &now) : order_remaining(o, &now),
                        left, sizeof(left));
        timestamp_format(o->end == END_NEVER ? o->confirm_until : o->until, by_clock, sizeof(by_clock));
        if (o->until_synchronized || o->end == END_UNTIL)
                set_problem(
                        &text,
                        "the clock is not synchronized (NTP) and not believed: the order ends after %s more "
                        "with this machine running, or at %s by a synchronized clock, whatever comes first",
                        left, by_clock);
        else
                set_problem(
                        &text,
                        "the clock is not synchronized (NTP), nor was it when this was ordered: the time "
                        "this "
                        "machine was off does not count, and the order ends after %s more with it running",
                        left);
        return text;
}

void manager_save_times(struct manager *m)
{
        for (size_t i = 0; i < m->n_lockdowns; i++) {
                struct lockdown *l = m->lockdowns[i];

                if (l->order && (l->order->end != END_NEVER || l->order->confirm_until > 0))
                        lockdown_save(l);
        }
}
