/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LOCKDOWN_LAUNCHER_MESSAGE_H
#define LOCKDOWN_LAUNCHER_MESSAGE_H

/* What the daemon and the launcher send each other, one message a packet, with descriptors (SCM_RIGHTS). */

#include "launcher.h"
#include <sys/socket.h>

/* With the process's socket, our end of its lifeline, and what else it is given. */
struct launch_request {
        uint32_t kind;                                          /* enum launch_kind */
        uint16_t port;                                          /* LAUNCH_PORT: the preferred one, or 0 */
        char arguments[LAUNCH_ARGUMENTS][LAUNCH_ARGUMENT_SIZE]; /* empty: none */
};

/* To LAUNCH_PORT alone, with the sockets. */
struct launch_answer {
        int32_t error; /* 0 or -errno */
        uint16_t port;
        uint16_t present; /* bit i: there is a socket for listener i */
};

#define LAUNCH_FDS_MAX (2 + LAUNCH_SOCKETS)

/* N at most LAUNCH_FDS_MAX. The whole message or nothing: 0 or -errno (-EAGAIN: there is no room now). */
int launch_send(int fd, const void *message, size_t size, const int *fds, size_t n);
/* A whole message of exactly SIZE bytes: 1, or 0 when the other side has closed its end, or -errno: -EAGAIN
 * when there is none, -EBADMSG when it is anything else. RET_FDS has room for LAUNCH_FDS_MAX; they are the
 * caller's, but for an error there are none. */
int launch_receive(int fd, void *message, size_t size, int *ret_fds, size_t *ret_n);

#endif
