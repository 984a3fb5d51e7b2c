/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LOCKDOWN_CLOCK_H
#define LOCKDOWN_CLOCK_H

/* The one edge to the clocks. */

#include "order.h"
#include <systemd/sd-event.h>

/* What the clocks say now. The boot id is all zeros where the kernel does not tell it, and a kernel that does
 * not say whether the clock is synchronized is taken to have one that is not. */
void clock_now(struct now *ret);
/* Microseconds on the monotonic clock, the one of sd_event_now(CLOCK_MONOTONIC): how long did something take?
 */
uint64_t clock_monotonic(void);

/* Calls CALLBACK each time somebody sets the wall clock (timerfd_create(2), TFD_TIMER_CANCEL_ON_SET). The
 * returned source is the caller's to unref; USERDATA goes to the callback. */
typedef void (*clock_stepped_t)(void *userdata);
struct clock_watch;
int clock_watch_new(sd_event *event, clock_stepped_t callback, void *userdata, struct clock_watch **ret);
struct clock_watch *clock_watch_free(struct clock_watch *w); /* returns NULL */

#endif
