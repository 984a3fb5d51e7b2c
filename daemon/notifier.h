/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LOCKDOWN_NOTIFIER_H
#define LOCKDOWN_NOTIFIER_H

/* The one edge to the service manager's notification socket ($NOTIFY_SOCKET). Nobody waits for it: what it
 * does not take at once is told again a moment later, of each kind the last word only. sd_notify() would
 * wait, and sd-event's own watchdog uses it. */

#include "cleanup.h"
#include <systemd/sd-event.h>

struct notifier;

/* Also keeps the service manager's watchdog quiet, as long as EVENT's loop goes round. Without a service
 * manager all that follows does nothing. */
int notifier_new(sd_event *event, struct notifier **ret);
struct notifier *notifier_free(struct notifier *n); /* returns NULL */
DEFINE_CLEANUP(struct notifier *, notifier_free)

/* Each may be given NULL for N. */
void notifier_ready(struct notifier *n);
void notifier_stopping(struct notifier *n);
/* One line for people. */
void notifier_status(struct notifier *n, const char *text);
/* The reason why this process ends. */
void notifier_error(struct notifier *n, int error);
/* Has it keep a copy of FD, which must stay open, under NAME (a literal) for the next daemon. 0 or -errno. */
int notifier_keep(struct notifier *n, int fd, const char *name);

#endif
