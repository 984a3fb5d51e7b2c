/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LOCKDOWN_ORDER_H
#define LOCKDOWN_ORDER_H

/* An order: a profile put into force. Pure: the time is an argument. */

#include "profile.h"
#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#define CALLER_NOBODY UINT32_MAX
/* Latest moment and longest time an order deals in (73,000 years): sums and differences never overflow. */
#define ORDER_TIME_MAX (INT64_MAX / 4)

enum order_state {
        ORDER_ACTIVE,
        ORDER_LIFTED,
        ORDER_EXPIRED,
};

/* What the clocks said at one moment, microseconds. */
struct now {
        uint64_t realtime; /* since the Epoch */
        uint64_t boottime; /* since boot, suspend included */
        char boot_id[33];  /* 32 hex digits */
        bool synchronized; /* the kernel says that the wall clock is (NTP, PTP): only then it is believed */
};

/* How an order ends by itself. A duration is measured on the boot clock, which no clock step moves. Over a
 * reboot, and for a point in time, the wall clock decides, provided that it is synchronized; a clock that is
 * not may be wrong by years in either direction. Until it is, an order lasts at least until it has been in
 * force, with the machine running, for as long as it was to last when that was last said; and no longer than
 * that after a reboot, or where the clock shows a time before the order. */
enum order_end {
        END_NEVER, /* until lifted */
        END_FOR,   /* a duration */
        END_UNTIL, /* a point in time */
};

struct caller {
        uint32_t uid; /* CALLER_NOBODY: no person (an expiry) */
        int pid;
        char *name; /* user name as far as known, else NULL */
};

struct order {
        char id[33]; /* 32 hex digits */
        struct profile *profile;
        bool adhoc;
        bool recovered; /* found in force without a state file */
        enum order_state state;
        uint64_t ordered_at; /* realtime */
        struct caller ordered_by;
        char *reason; /* may be NULL */
        enum order_end end;
        uint64_t until; /* realtime; 0 with END_NEVER. END_FOR: corrected when the clock is stepped */
        uint64_t
                until_boottime; /* on the boot clock of boot_id, as if the machine had been off for no time */
        bool until_synchronized; /* the clock that UNTIL (or confirm_until) was reckoned by was synchronized
                                  */
        bool off_uncounted;      /* rebooted since that, and how long the machine was off is not known yet */
        /* Nonzero: it ends then, on either clock, unless somebody confirms it. Measured like END_FOR. */
        uint64_t confirm_until, confirm_until_boottime;
        /* ordered_at on the boot clock of boot_id, less the time off; negative: before that boot */
        int64_t ordered_boottime;
        uint64_t seen_boottime; /* … and when it was last saved: so far it is known to have been in force */
        char boot_id[33];
        uint64_t severed;        /* sockets destroyed in all */
        uint64_t sessions_ended; /* RemoteSessions=end: logins from outside, in all */
        /* of a finished order: */
        uint64_t ended_at;
        struct caller ended_by; /* lifted: by whom */
        char *end_reason;       /* may be NULL */
        uint64_t refused_packets,
                refused_bytes; /* final; for one in force: of tables replaced since, to be added */
};

/* The end_reason of one that nobody confirmed. */
#define ORDER_UNCONFIRMED "not confirmed in time"
/* … and of one that another order stands for. */
#define ORDER_JOINED \
        "another order for the same people was given while this one could not be read, and goes on"

struct order *order_new(struct profile *profile /* taken over, on success only */, const char *id,
                        const struct now *now);
struct order *order_free(struct order *o); /* returns NULL */
DEFINE_CLEANUP(struct order *, order_free)

/* What was asked: a duration or a point in time, or neither. */
struct order_time {
        uint64_t duration; /* microseconds, 0: not given */
        uint64_t until;    /* realtime, 0: not given */
};
/* Sets end, until, until_boottime from the request, else DefaultDuration; keeps MaxDuration, counted from
 * when it was ordered: what exceeds it ("until lifted" does, too) is shortened, and *RET_SHORTENED (may be
 * NULL) says so. For a new order and, from NOW on, for an extension. -EINVAL if both are given, -ERANGE if
 * until is not after NOW. */
int order_set_end(struct order *o, const struct order_time *t, const struct now *now, bool *ret_shortened);
/* Would this extension make it end earlier than it does now, by a second or more? (extend refuses that) */
bool order_end_is_earlier(const struct order *o, const struct order_time *t, const struct now *now);
/* It ends by itself after WITHIN (microseconds, at least 1) unless order_confirm() comes before. For a new
 * order. */
void order_ask_confirmation(struct order *o, uint64_t within, const struct now *now);
/* False: nobody was waiting for it. */
bool order_confirm(struct order *o);
/* Its end has come, or the time for confirming it is over. */
bool order_expired(const struct order *o, const struct now *now);
/* Did it expire because nobody confirmed it? */
bool order_unconfirmed(const struct order *o, const struct now *now);
/* Microseconds until it ends by itself, on the boot clock; 0 when due, UINT64_MAX for never. Confirmation
 * aside. */
uint64_t order_remaining(const struct order *o, const struct now *now);
/* Microseconds left for confirming it; UINT64_MAX: it needs none. */
uint64_t order_confirm_remaining(const struct order *o, const struct now *now);
/* After a clock step: brings `until` of an END_FOR order, and `confirm_until`, into agreement with the boot
 * clock, unless the step comes while off_uncounted: then `until` is what there is to go by. True if something
 * changed (differences below a second are left alone). */
bool order_correct_until(struct order *o, const struct now *now);
/* After a reboot: what was left of it when it was last seen goes onto this boot's clock. No change in the
 * same boot. */
void order_rebase(struct order *o, const struct now *now);
/* Once the clock is synchronized: the time that the machine was off is counted (a clock that says less than
 * nothing is not followed), and an end that was reckoned by a clock that was not is reckoned anew: a duration
 * by the boot clock, a point in time by the clock that is right now, if that makes it neither past nor later.
 * For the boot of NOW (order_rebase()). True if something changed. */
bool order_settle(struct order *o, const struct now *now);
/* It is in force at NOW: to be called before it is saved. For the boot of NOW. */
void order_seen(struct order *o, const struct now *now);
/* O goes on for as long as OTHER would, if that is longer, its confirmation as well. For the boot of NOW. */
void order_outlast(struct order *o, const struct order *other, const struct now *now);
/* The wall clock has a say in its end, and is not believed: it may last longer than that clock says. */
bool order_awaits_clock(const struct order *o, const struct now *now);
/* Ends it: state, ended_at, ended_by (copied; NULL for expiry), end_reason. Returns 0, -ENOMEM, or -EINVAL if
 * it has ended already. */
int order_finish(struct order *o, enum order_state state, const struct caller *by, const char *reason,
                 const struct now *now);

const char *order_state_to_string(enum order_state s); /* "active", "lifted", "expired" */

/* The form on disk ("version": 1). Text that is not UTF-8 loses its non-ASCII bytes. NULL when out of memory.
 */
json_t *order_to_json(const struct order *o);
/* -EBADMSG with a sentence about what is wrong in PROBLEMS (may be NULL), -ENOMEM. RET untouched on failure.
 * Keys it does not know are passed over: a lockdown must not be lost for a remark. */
int order_from_json(const json_t *j, struct order **ret, struct problems *problems);

#endif
