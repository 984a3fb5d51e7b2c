/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LOCKDOWN_CTL_FOLLOW_H
#define LOCKDOWN_CTL_FOLLOW_H

/* follow-units: keeps lockdown@NAME.service in step with what is in force. lockdownd itself has no right to
 * talk to systemd; this small process has, and nothing else. */

#include "units.h"
#include <systemd/sd-event.h>

struct follower;

/* Begins to look as soon as EVENT runs, and goes on for ever. The strings and PATHS must outlive it. */
int follower_new(sd_event *event, const char *socket, const struct unit_paths *paths, struct follower **ret);
struct follower *follower_free(struct follower *f); /* returns NULL */

DEFINE_CLEANUP(struct follower *, follower_free)

#endif
