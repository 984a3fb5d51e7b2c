/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LOCKDOWN_TEST_ORDER_FIXTURE_H
#define LOCKDOWN_TEST_ORDER_FIXTURE_H

/* Orders given at T0, an hour after boot A, by a clock that is synchronized. */

#include "order.h"
#include "timespan.h"
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define BOOT_A "0123456789abcdef0123456789abcdef"
#define BOOT_B "fedcba9876543210fedcba9876543210"
#define ID "00112233445566778899aabbccddeeff"
#define T0 UINT64_C(1480521600000000) /* 2016-11-30 16:00:00 UTC */
#define H USEC_PER_HOUR
#define YEARS (UINT64_C(3650) * USEC_PER_DAY)

static inline struct now at(uint64_t realtime, uint64_t boottime, const char *boot)
{
        struct now now = {.realtime = realtime, .boottime = boottime, .synchronized = true};

        strcpy(now.boot_id, boot);
        return now;
}

static inline struct order *new_order(uint64_t default_duration, uint64_t max_duration)
{
        struct now now = at(T0, H, BOOT_A);
        struct problems problems = {0};
        struct profile *p = profile_new("staff");
        struct order *o;

        assert_non_null(p);
        assert_int_equal(words_add(&p->groups, "staff", NULL, 0), 0);
        p->default_duration = default_duration;
        p->max_duration = max_duration;
        assert_int_equal(profile_finish(p, &problems), 0);
        o = order_new(p, ID, &now);
        assert_non_null(o);
        problems_clear(&problems);
        return o;
}

static inline struct order *order_with(struct order_time t)
{
        struct now now = at(T0, H, BOOT_A);
        struct order *o = new_order(0, 0);

        assert_int_equal(order_set_end(o, &t, &now, NULL), 0);
        return o;
}

#endif
