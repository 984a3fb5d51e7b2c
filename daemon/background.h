/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LOCKDOWN_BACKGROUND_H
#define LOCKDOWN_BACKGROUND_H

/* What the kernel takes long over, in a thread: the event loop serves others meanwhile. */

#include <stdint.h>

#include <systemd/sd-event.h>

struct background;
typedef void (*background_t)(void *data);

/* Calls WORK(MATERIAL) in a thread of its own, where no signal comes, and once that has returned
 * DONE(USERDATA) in EVENT's loop, at PRIORITY. DONE, or whoever wants no DONE, calls background_end().
 * MATERIAL is nobody else's until then. Returns 0 or -errno: nothing was begun. */
int background_begin(sd_event *event, int64_t priority, background_t work, void *material, background_t done,
                     void *userdata, struct background **ret);
/* Waits until WORK has returned. NULL is fine; returns NULL. */
struct background *background_end(struct background *b);

#endif
