/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LOCKDOWN_TIMESPAN_H
#define LOCKDOWN_TIMESPAN_H

/* Durations and points in time as people write and read them. All values are microseconds. Reads no clock. */

#include <stddef.h>
#include <stdint.h>

#define USEC_PER_SEC UINT64_C(1000000)
#define USEC_PER_MINUTE (60 * USEC_PER_SEC)
#define USEC_PER_HOUR (60 * USEC_PER_MINUTE)
#define USEC_PER_DAY (24 * USEC_PER_HOUR)

/* Longest duration accepted: ten years. */
#define TIMESPAN_MAX (3652 * USEC_PER_DAY)

/* "8h", "1d 12h", "90min", "1h30m", "2 weeks": a sum of whole numbers, each with a unit (s m h d w and their
 * long names in systemd.time(7)'s spelling; no months or years; a bare number is refused as ambiguous).
 * Returns 0 and the sum, -EINVAL for text that is no duration or for zero, -ERANGE above TIMESPAN_MAX. */
int timespan_parse(const char *text, uint64_t *ret_usec);

/* "2016-11-30 18:00[:30]", "2016-11-30T18:00[:30]", the same with Z, UTC or +hh:mm behind it, "18:00" (the
 * next time the clock shows it, seen from NOW), "tomorrow 08:00", "today 23:00". Local time (TZ) unless a
 * zone is given. NOW and the result are microseconds since the Epoch. Returns 0, -EINVAL for text that is no
 * time, -ERANGE for one not after NOW. */
int timestamp_parse(const char *text, uint64_t now, uint64_t *ret_usec);

/* "7h 59min", "3d 2h", "12s": the two largest units, rounded down; "0s" for less than a second. Never fails.
 */
const char *timespan_format(uint64_t usec, char *buf, size_t size);

/* The exact canonical spelling of a duration that timespan_parse() reads back unchanged ("1d 12h"); "" for 0.
 */
const char *timespan_format_exact(uint64_t usec, char *buf, size_t size);

/* "Wed 2016-11-30 18:00:00 CET" in local time. */
const char *timestamp_format(uint64_t usec, char *buf, size_t size);

/* RFC 3339 with the local offset: "2016-11-30T18:00:00+01:00" (used in JSON). */
const char *timestamp_format_rfc3339(uint64_t usec, char *buf, size_t size);

#endif
