/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LOCKDOWN_WORKER_H
#define LOCKDOWN_WORKER_H

/* What the processes that the launcher starts have in common. Their socket to the daemon is WORKER_FD;
 * further descriptors that they are given follow it. A message there is a uint32_t size in host order, then
 * that many bytes. */

#include "spawn-process.h"
#include <stdint.h>

/* As what lockdownd is started then. */
#define RESOLVER_WORKER_ARGUMENT "--resolver-worker"
#define DNS_RELAY_ARGUMENT "--dns-relay" /* ADDRESS… */
#define TRIAL_ARGUMENT "--trial"         /* UID GID */

#define WORKER_FD SPAWN_FD
#define WORKER_FDS_MAX 8 /* further ones */
/* The longest message either side accepts: a million members with long names fit several times. */
#define WORKER_MESSAGE_MAX (UINT32_C(64) << 20)

struct worker_limits {
        uint64_t files;     /* descriptors */
        uint64_t memory;    /* bytes of address space */
        uint64_t processor; /* seconds of it, in its whole life; 0: no limit */
        int oom_score;      /* who is killed first when memory runs out: -1000 … 1000 */
};

/* In the worker: gives up the user, every capability and every way to get one back; bounds what it can use
 * up; and makes it die with the daemon. Threads are all it can start then, and itself all it can send signals
 * to. Returns 0 or -errno. */
int worker_confine(const struct worker_limits *limits);

/* A part of that: from now on the kernel refuses the system calls that neither a user database nor a relay
 * has to do with. Needs no_new_privs. Returns 0, also on a kernel without such filters, or -errno. */
int worker_filter_calls(void);

#endif
