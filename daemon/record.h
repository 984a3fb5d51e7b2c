/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LOCKDOWN_RECORD_H
#define LOCKDOWN_RECORD_H

/* How much is kept of orders that have ended: which are due to be removed. Pure: the time is an argument. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RECORD_UNBOUNDED UINT64_MAX

/* [Record] of the configuration. Whatever exceeds one of them goes, the oldest first. */
struct record_bounds {
        uint64_t keep_for;    /* microseconds since the order ended */
        uint64_t keep_orders; /* how many */
        uint64_t keep_size;   /* bytes on disk, of orders and attempts together */
};
extern const struct record_bounds record_defaults;
bool record_bounds_equal(const struct record_bounds *a, const struct record_bounds *b);

struct record_entry {
        char id[33];
        uint64_t ended_at; /* realtime, microseconds */
        uint64_t size;     /* bytes on disk */
};

/* Of how many orders each bound is the reason, the first that applies. */
struct record_due {
        size_t for_age, for_number, for_size;
};

/* How many of ENTRIES, the oldest first, are due at NOW (realtime). RET_WHY says why; its numbers add up to
 * the result. One that ended in the future is not due for its age. */
size_t record_find_due(const struct record_entry *entries, size_t n, const struct record_bounds *b,
                       uint64_t now, struct record_due *ret_why);

#endif
