/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "record.h"

#include "timespan.h"

/* A record is evidence: generous. */
const struct record_bounds record_defaults = {
        .keep_for = 730 * USEC_PER_DAY,
        .keep_orders = 10000,
        .keep_size = UINT64_C(1) << 30,
};

bool record_bounds_equal(const struct record_bounds *a, const struct record_bounds *b)
{
        return a->keep_for == b->keep_for && a->keep_orders == b->keep_orders && a->keep_size == b->keep_size;
}

static bool too_old(const struct record_entry *e, uint64_t keep_for, uint64_t now)
{
        return keep_for != RECORD_UNBOUNDED && e->ended_at < now && now - e->ended_at > keep_for;
}

size_t record_find_due(const struct record_entry *entries, size_t n, const struct record_bounds *b,
                       uint64_t now, struct record_due *ret_why)
{
        struct record_due why = {0};
        uint64_t size = 0;
        size_t due = 0;

        for (size_t i = 0; i < n; i++)
                size += entries[i].size;
        for (; due < n; due++) {
                if (too_old(&entries[due], b->keep_for, now))
                        why.for_age++;
                else if (n - due > b->keep_orders)
                        why.for_number++;
                else if (size > b->keep_size)
                        why.for_size++;
                else
                        break;
                size -= entries[due].size;
        }
        *ret_why = why;
        return due;
}
