/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LOCKDOWN_DEVICE_WATCH_H
#define LOCKDOWN_DEVICE_WATCH_H

/* The one edge to rtnetlink: tells when network devices of this namespace appear, go, or change their name.
 */

#include <stdbool.h>
#include <systemd/sd-event.h>

struct device_watch;

typedef void (*device_changed_t)(void *userdata);
/* CALLBACK comes through the event loop, once for what waits to be told; also when messages were lost. */
int device_watch_new(sd_event *event, device_changed_t callback, void *userdata, struct device_watch **ret);
/* Whether something waits to be told; whatever waits goes on waiting. True also where that is not known, as
 * it is with NULL. The kernel tells of a device microseconds after it can be used, so whoever believes in
 * false has to act when that is told. */
bool device_watch_is_pending(const struct device_watch *w);
struct device_watch *device_watch_free(struct device_watch *w); /* returns NULL */

#endif
