/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LOCKDOWN_NAMESPACES_H
#define LOCKDOWN_NAMESPACES_H

/* The edge to other network namespaces: in which of them do processes run, and whose? Changes nothing, and
 * takes no capability: a process's ns/net link is shown only to who may trace it, but everybody may look at
 * its net directory, whose files have other inode numbers in each network namespace.
 *
 * Not seen: threads that are in another namespace than their process, and processes of a PID namespace that
 * is not below ours. */

#include "cleanup.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct namespace_user {
        uint32_t uid; /* whose sockets they would make */
        pid_t pid;    /* one of the processes */
        uint64_t processes;
};

struct namespace
{
        uint64_t id;    /* tells it from others during one look, no more */
        char *name;     /* in /run/netns or /run/docker/netns; NULL where there is none, or the kernel has no
                         * number for it */
        uint64_t inode; /* as in "net:[4026531840]"; 0 where NAME is NULL */
        struct namespace_user *users; /* sorted by uid */
        size_t n_users;
        uint64_t processes;
};

struct namespaces {
        struct namespace *items;
        size_t n;
        bool cut; /* there was more than is looked at */
};

/* All but the caller's own. Takes a bounded time (see CUT). Returns 0 or -errno; RET is untouched on
 * failure. */
int namespaces_read(struct namespaces *ret);
void namespaces_clear(struct namespaces *s);

#define _cleanup_namespaces_ _cleanup_(namespaces_clear)

#endif
