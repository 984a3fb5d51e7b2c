/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LOCKDOWN_WORKER_H
#define LOCKDOWN_WORKER_H

/* What the processes that lockdownd starts have in common. Their socket to the daemon is WORKER_FD; further
 * descriptors that they are given follow it. A message there is a uint32_t size in host order, then that many
 * bytes. */

#include <stdint.h>

#define WORKER_FD 3
#define WORKER_FDS_MAX 8 /* further ones */
/* The longest message either side accepts: a million members with long names fit several times. */
#define WORKER_MESSAGE_MAX (UINT32_C(64) << 20)

/* In the worker: gives up the user, every capability and every way to get one back; bounds how many
 * descriptors and how much address space it can have; and makes it die with the daemon. Returns 0 or -errno.
 */
int worker_confine(uint64_t files, uint64_t memory);

#endif
