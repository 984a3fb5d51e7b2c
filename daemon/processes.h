/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LOCKDOWN_PROCESSES_H
#define LOCKDOWN_PROCESSES_H

/* The edge to the list of processes, for one quick question. */

#include "idset.h"

/* Who has processes at this moment. One that nobody may look into counts as root's. Costs 2 microseconds a
 * process. 0 or -errno; RET must be empty. */
int processes_read_uids(struct idset *ret);

#endif
