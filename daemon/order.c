/* SPDX-License-Identifier: GPL-2.0-or-later */

/* The life of an order. Two clocks: the wall clock, which people set, NTP steps, and a machine without a
 * battery begins anywhere, and the boot clock, which only runs forward but knows nothing of the time the
 * machine was off. A duration belongs to the boot clock; a point in time, and the time off, to the wall clock
 * if that is synchronized. */

#include "order.h"
#include "timespan.h"
#include <errno.h>
#include <string.h>

/* Two clocks are read one after the other, and people write whole seconds. */
#define TOLERANCE USEC_PER_SEC

/* What order_set_end() would set. */
struct planned_end {
        enum order_end end;
        uint64_t until, until_boottime;
        bool shortened;
};

static uint64_t add_saturated(uint64_t a, uint64_t b)
{
        return a > ORDER_TIME_MAX || b > ORDER_TIME_MAX - a ? ORDER_TIME_MAX : a + b;
}

static uint64_t subtract_saturated(uint64_t a, uint64_t b)
{
        return a > b ? a - b : 0;
}

static uint64_t min_u64(uint64_t a, uint64_t b)
{
        return a < b ? a : b;
}

static int64_t to_signed(uint64_t v)
{
        return (int64_t)min_u64(v, ORDER_TIME_MAX);
}

static bool same_boot(const struct order *o, const struct now *now)
{
        return strcmp(o->boot_id, now->boot_id) == 0;
}

/* How long the order has been in force. For the boot of NOW. */
static uint64_t age(const struct order *o, const struct now *now)
{
        int64_t age = to_signed(now->boottime) - o->ordered_boottime;

        return age > 0 ? (uint64_t)age : 0;
}

/* O, as it is at NOW. A copy that owns nothing. */
static struct order at_present(const struct order *o, const struct now *now)
{
        struct order view = *o;

        order_rebase(&view, now);
        (void)order_settle(&view, now);
        return view;
}

struct order *order_new(struct profile *profile, const char *id, const struct now *now)
{
        struct order *o = calloc(1, sizeof(*o));

        if (!o)
                return NULL;
        o->profile = profile;
        o->state = ORDER_ACTIVE;
        o->end = END_NEVER;
        o->ordered_at = now->realtime;
        o->ordered_boottime = to_signed(now->boottime);
        o->seen_boottime = now->boottime;
        o->until_synchronized = now->synchronized;
        o->ordered_by.uid = CALLER_NOBODY;
        o->ended_by.uid = CALLER_NOBODY;
        strncpy(o->id, id, sizeof(o->id) - 1);
        memcpy(o->boot_id, now->boot_id, sizeof(o->boot_id));
        return o;
}

struct order *order_free(struct order *o)
{
        if (!o)
                return NULL;
        profile_free(o->profile);
        free(o->ordered_by.name);
        free(o->reason);
        free(o->ended_by.name);
        free(o->end_reason);
        free(o);
        return NULL;
}

/* LEFT: microseconds from NOW, UINT64_MAX for "until lifted". */
static uint64_t keep_max_duration(const struct order *o, uint64_t left, const struct now *now,
                                  bool *ret_shortened)
{
        uint64_t allowed;

        *ret_shortened = false;
        if (o->profile->max_duration == 0)
                return left;
        allowed = subtract_saturated(o->profile->max_duration, age(o, now));
        if (left <= allowed)
                return left;
        *ret_shortened = true;
        return allowed;
}

static int plan_end(const struct order *o, const struct order_time *t, const struct now *now,
                    struct planned_end *ret)
{
        struct planned_end p = {.end = t->until > 0 ? END_UNTIL : END_FOR};
        uint64_t left = UINT64_MAX;

        if (t->duration > 0 && t->until > 0)
                return -EINVAL;
        if (t->until > 0 && t->until <= now->realtime)
                return -ERANGE;

        if (t->until > 0)
                left = t->until - now->realtime;
        else if (t->duration > 0)
                left = t->duration;
        else if (o->profile->default_duration > 0)
                left = o->profile->default_duration;

        left = keep_max_duration(o, left, now, &p.shortened);
        if (left == UINT64_MAX && t->duration == 0 && t->until == 0) {
                p.end = END_NEVER;
        } else {
                p.until = add_saturated(now->realtime, left);
                p.until_boottime = add_saturated(now->boottime, left);
        }
        *ret = p;
        return 0;
}

int order_set_end(struct order *o, const struct order_time *t, const struct now *now, bool *ret_shortened)
{
        const struct order view = at_present(o, now);
        struct planned_end p;
        int r;

        r = plan_end(&view, t, now, &p);
        if (r < 0)
                return r;
        /* The fields on the boot clock are about to be written anew: they must be of this boot. */
        order_rebase(o, now);
        (void)order_settle(o, now);
        o->end = p.end;
        o->until = p.until;
        o->until_boottime = p.until_boottime;
        o->until_synchronized = now->synchronized;
        o->off_uncounted = false;
        if (ret_shortened)
                *ret_shortened = p.shortened;
        return 0;
}

/* Signed microseconds from NOW to a moment on one of the two clocks. */
static int64_t left_by(uint64_t until, uint64_t clock)
{
        return to_signed(until) - to_signed(clock);
}

/* Signed microseconds until the end; not for END_NEVER. O as at_present(). */
static int64_t until_end(const struct order *o, const struct now *now)
{
        const int64_t wall = left_by(o->until, now->realtime),
                      running = left_by(o->until_boottime, now->boottime);

        if (o->end == END_FOR)
                return running;
        if (now->synchronized)
                return wall;
        /* A clock that shows a time before the order is wrong; one that has come to the end may have jumped.
         */
        return now->realtime < o->ordered_at || wall < running ? running : wall;
}

bool order_end_is_earlier(const struct order *o, const struct order_time *t, const struct now *now)
{
        const struct order view = at_present(o, now);
        struct planned_end p;
        uint64_t left;
        int r;

        r = plan_end(&view, t, now, &p);
        if (r == -ERANGE)
                return true;
        if (r < 0 || p.end == END_NEVER)
                return false;
        left = p.end == END_FOR ? subtract_saturated(p.until_boottime, now->boottime)
                                : subtract_saturated(p.until, now->realtime);
        if (o->end == END_NEVER)
                return true;
        return add_saturated(left, TOLERANCE) <= order_remaining(o, now);
}

void order_ask_confirmation(struct order *o, uint64_t within, const struct now *now)
{
        o->confirm_until = add_saturated(now->realtime, within);
        o->confirm_until_boottime = add_saturated(now->boottime, within);
}

bool order_confirm(struct order *o)
{
        bool waiting = o->confirm_until > 0;

        o->confirm_until = o->confirm_until_boottime = 0;
        return waiting;
}

uint64_t order_confirm_remaining(const struct order *o, const struct now *now)
{
        const struct order view = at_present(o, now);

        if (o->confirm_until == 0)
                return UINT64_MAX;
        return subtract_saturated(view.confirm_until_boottime, now->boottime);
}

bool order_unconfirmed(const struct order *o, const struct now *now)
{
        return o->state == ORDER_ACTIVE && order_confirm_remaining(o, now) == 0;
}

bool order_expired(const struct order *o, const struct now *now)
{
        if (order_unconfirmed(o, now))
                return true;
        return o->state == ORDER_ACTIVE && order_remaining(o, now) == 0;
}

uint64_t order_remaining(const struct order *o, const struct now *now)
{
        const struct order view = at_present(o, now);
        int64_t left;

        if (o->end == END_NEVER)
                return UINT64_MAX;
        left = until_end(&view, now);
        return left > 0 ? (uint64_t)left : 0;
}

/* What the wall clock will show when LEFT is over, if that is a second or more from *UNTIL. */
static bool correct(uint64_t *until, int64_t left, const struct now *now)
{
        int64_t right = to_signed(now->realtime) + left, off;

        if (right < 1)
                right = 1; /* 0 would mean "no end" */
        off = right - to_signed(*until);
        if (off < (int64_t)TOLERANCE && off > -(int64_t)TOLERANCE)
                return false;
        *until = (uint64_t)right;
        return true;
}

bool order_correct_until(struct order *o, const struct now *now)
{
        bool changed = false;

        if (o->state != ORDER_ACTIVE || !same_boot(o, now) || (o->off_uncounted && o->until_synchronized))
                return false;
        if (o->end == END_FOR)
                changed = correct(&o->until, left_by(o->until_boottime, now->boottime), now);
        if (o->confirm_until > 0)
                changed |= correct(&o->confirm_until, left_by(o->confirm_until_boottime, now->boottime), now);
        if (changed && o->end != END_UNTIL)
                o->until_synchronized = now->synchronized;
        return changed;
}

/* What was left of UNTIL when the boot clock showed SEEN, on the clock of NOW. */
static uint64_t carry_over(uint64_t until, uint64_t seen, const struct now *now)
{
        return add_saturated(now->boottime, subtract_saturated(until, seen));
}

static void begun_earlier(struct order *o, int64_t by)
{
        const int64_t begun = o->ordered_boottime - by;

        o->ordered_boottime = begun > ORDER_TIME_MAX    ? ORDER_TIME_MAX
                              : begun < -ORDER_TIME_MAX ? -ORDER_TIME_MAX
                                                        : begun;
}

void order_rebase(struct order *o, const struct now *now)
{
        if (same_boot(o, now))
                return;
        if (o->end != END_NEVER)
                o->until_boottime = carry_over(o->until_boottime, o->seen_boottime, now);
        if (o->confirm_until > 0)
                o->confirm_until_boottime = carry_over(o->confirm_until_boottime, o->seen_boottime, now);
        begun_earlier(o, to_signed(o->seen_boottime) - to_signed(now->boottime));
        o->seen_boottime = now->boottime;
        o->off_uncounted = true;
        memcpy(o->boot_id, now->boot_id, sizeof(o->boot_id));
}

/* How long the machine was off: how much nearer the end is by the wall clock than by the boot clock. */
static uint64_t time_off(uint64_t until, uint64_t until_boottime, const struct now *now)
{
        int64_t off = left_by(until_boottime, now->boottime) - left_by(until, now->realtime);

        return off > 0 ? (uint64_t)off : 0;
}

/* A moment before the boot is one of its beginning: 0 would mean "none". */
static uint64_t earlier(uint64_t moment, uint64_t by)
{
        return moment > by ? moment - by : 1;
}

/* The time off, on the boot clock: from now on that is right for all three moments. */
static void count_off(struct order *o, const struct now *now)
{
        uint64_t off;

        if (o->end == END_NEVER && o->confirm_until == 0)
                return;
        off = o->end != END_NEVER ? time_off(o->until, o->until_boottime, now)
                                  : time_off(o->confirm_until, o->confirm_until_boottime, now);
        begun_earlier(o, to_signed(off));
        if (o->end != END_NEVER)
                o->until_boottime = earlier(o->until_boottime, off);
        if (o->confirm_until > 0)
                o->confirm_until_boottime = earlier(o->confirm_until_boottime, off);
}

/* A point in time that was named while the clock was wrong: if it is past now or far away, what was meant is
 * as long as it was to last by that clock. */
static void rename_until(struct order *o, const struct now *now)
{
        const int64_t wall = left_by(o->until, now->realtime),
                      running = left_by(o->until_boottime, now->boottime);

        if (wall <= 0 || wall > running)
                (void)correct(&o->until, running, now);
}

bool order_settle(struct order *o, const struct now *now)
{
        if (o->state != ORDER_ACTIVE || !now->synchronized || !same_boot(o, now) ||
            (o->until_synchronized && !o->off_uncounted))
                return false;
        if (o->until_synchronized)
                count_off(o, now);
        else if (o->end == END_UNTIL)
                rename_until(o, now);
        o->off_uncounted = false;
        o->until_synchronized = true;
        (void)order_correct_until(o, now);
        return true;
}

void order_seen(struct order *o, const struct now *now)
{
        if (same_boot(o, now))
                o->seen_boottime = now->boottime;
}

void order_outlast(struct order *o, const struct order *other, const struct now *now)
{
        const struct order view = at_present(other, now);

        if (order_remaining(other, now) > order_remaining(o, now)) {
                o->end = view.end;
                o->until = view.until;
                o->until_boottime = view.until_boottime;
                o->until_synchronized = view.until_synchronized;
                o->off_uncounted = false; /* it was off during one of them: then rather too late */
        }
        if (order_confirm_remaining(other, now) > order_confirm_remaining(o, now)) {
                o->confirm_until = view.confirm_until;
                o->confirm_until_boottime = view.confirm_until_boottime;
        }
}

bool order_awaits_clock(const struct order *o, const struct now *now)
{
        const struct order view = at_present(o, now);

        if (o->state != ORDER_ACTIVE || now->synchronized)
                return false;
        if (view.off_uncounted && (o->end != END_NEVER || o->confirm_until > 0))
                return true;
        return o->end == END_UNTIL &&
               until_end(&view, now) - left_by(o->until, now->realtime) >= (int64_t)TOLERANCE;
}

int order_finish(struct order *o, enum order_state state, const struct caller *by, const char *reason,
                 const struct now *now)
{
        _cleanup_free_ char *name = NULL, *why = NULL;

        if (o->state != ORDER_ACTIVE || state == ORDER_ACTIVE)
                return -EINVAL;
        if (by && by->name && !(name = strdup(by->name)))
                return -ENOMEM;
        if (reason && !(why = strdup(reason)))
                return -ENOMEM;

        o->state = state;
        o->ended_at = now->realtime;
        free(o->ended_by.name);
        o->ended_by = (struct caller){.uid = by ? by->uid : CALLER_NOBODY, .pid = by ? by->pid : 0};
        o->ended_by.name = TAKE_PTR(name);
        free(o->end_reason);
        o->end_reason = TAKE_PTR(why);
        return 0;
}

const char *order_state_to_string(enum order_state s)
{
        switch (s) {
        case ORDER_ACTIVE:
                return "active";
        case ORDER_LIFTED:
                return "lifted";
        case ORDER_EXPIRED:
                return "expired";
        }
        return "unknown";
}
