/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LOCKDOWN_CTL_SYSTEMD1_H
#define LOCKDOWN_CTL_SYSTEMD1_H

/* The one edge to systemd (PID 1): over its private socket, which is there without a message bus and only for
 * root, else over the system bus. All calls wait for the answer. */

#include "reconcile.h"
#include <systemd/sd-bus.h>

/* ADDRESS: of the private socket. */
int systemd1_connect(const char *address, sd_bus **ret);
/* Calls HANDLER for each JobRemoved(u id, o job, s unit, s result). */
int systemd1_watch_jobs(sd_bus *bus, sd_bus_message_handler_t handler, void *userdata);
/* All loaded instances of lockdown@.service. RET must be empty. */
int systemd1_list(sd_bus *bus, struct units *ret);
/* Queue a job. The error's message says why not. */
int systemd1_start(sd_bus *bus, const char *unit, sd_bus_error *error);
int systemd1_stop(sd_bus *bus, const char *unit, sd_bus_error *error);
int systemd1_reset_failed(sd_bus *bus, const char *unit, sd_bus_error *error);
/* Is the machine going down (shutdown, reboot, kexec)? */
int systemd1_bus_is_stopping(sd_bus *bus, bool *ret);
/* The same with a connection of its own. */
int systemd1_is_stopping(const char *address, bool *ret);

#endif
