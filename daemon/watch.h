/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LOCKDOWN_WATCH_H
#define LOCKDOWN_WATCH_H

/* The one edge to the account files: tells when /etc/passwd, group, subuid, subgid or nsswitch.conf change.
 */

#include <stdint.h>
#include <systemd/sd-event.h>

struct watch;

typedef void (*watch_changed_t)(void *userdata);
/* CALLBACK comes through the event loop, once for a burst of changes. */
int watch_new(sd_event *event, watch_changed_t callback, void *userdata, struct watch **ret);
struct watch *watch_free(struct watch *w); /* returns NULL */

/* A number that differs whenever one of the files was replaced or written since (device, inode, size, times):
 * asked at the very moment of an order, when an inotify event may still be under way. */
uint64_t watch_fingerprint(void);

#endif
