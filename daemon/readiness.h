/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LOCKDOWN_READINESS_H
#define LOCKDOWN_READINESS_H

/* When the service manager is told that the daemon is ready, and the network may come up: at once, as a rule;
 * where an order's list of people is lost, as soon as the directory has said who they are. */

#include "manager.h"
#include "notifier.h"

struct readiness;

/* PATIENCE: microseconds after which it is told all the same, for the directory may need the network itself.
 * All three outlive RET. 0 or -errno. */
int readiness_new(sd_event *event, struct manager *manager, struct notifier *notifier, uint64_t patience,
                  struct readiness **ret);
struct readiness *readiness_free(struct readiness *r); /* returns NULL */
DEFINE_CLEANUP(struct readiness *, readiness_free)

#endif
