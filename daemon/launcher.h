/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LOCKDOWN_LAUNCHER_H
#define LOCKDOWN_LAUNCHER_H

/* The edge to the launcher, the process that starts all others: the resolver's worker, the DNS relays and the
 * trials. They take an identity, or give one up, and speak IP. The daemon, which reads what every local user
 * may send it, has no power to do either; it can only ask for one of these, and the launcher starts nothing
 * else.
 *
 * Normally it is a service of its own that systemd starts with the first connection. Without that it is a
 * child of the daemon, started when it is needed. Nothing here waits for it but launcher_take_port(), and
 * that not for long. A launcher that is gone is replaced with the next thing it is asked for. */

#include "cleanup.h"
#include <stddef.h>
#include <stdint.h>

struct launcher;

enum launch_kind {
        LAUNCH_RESOLVER, /* no arguments */
        LAUNCH_RELAY,    /* one or two addresses, and the sockets of launcher_take_port() */
        LAUNCH_TRIAL,    /* a uid and a gid */
        LAUNCH_PORT,     /* no process: sockets */
};

#define LAUNCH_ARGUMENTS 2
#define LAUNCH_ARGUMENT_SIZE 46 /* an IPv6 address, its end included */
#define LAUNCH_SOCKETS 4        /* of a relay: IPv4 and IPv6, UDP and TCP */

struct launch {
        enum launch_kind kind;
        const char *arguments[LAUNCH_ARGUMENTS]; /* NULL: none */
        const int *fds; /* given to it behind its own socket; they stay the caller's */
        size_t n_fds;
};

/* SOCKET_PATH: of the service; NULL: EXECUTABLE (lockdownd) is started as our child. Nothing is done before
 * something is asked for. 0 or -ENOMEM. */
int launcher_new(const char *executable, const char *socket_path, struct launcher **ret);
/* Asks for a process. *RET_SOCKET: the end of a stream socket whose other end the process has. *RET_LIFELINE:
 * when it is closed, the process is killed. It is at its end when the process has ended and is collected; a
 * message on it before that (int32_t) says why none could be started, -errno. 0 or -errno: -EAGAIN when
 * the launcher has not taken up what it was asked for before. */
int launcher_start(struct launcher *l, const struct launch *what, int *ret_socket, int *ret_lifeline);
/* A port for a relay on 127.0.0.1 and ::1, UDP and TCP: PREFERRED if that is free, else (or with 0) one of
 * the kernel's choice. Nobody is served: datagrams are refused (a socket filter), and nothing listens.
 * SOCKETS is in the order of dns-relay-port.h, -1 for a family that this machine has not got. -EADDRINUSE: no
 * port is free; -ETIMEDOUT: the launcher does not answer within LAUNCHER_PATIENCE, or did not ten seconds
 * ago. */
int launcher_take_port(struct launcher *l, uint16_t preferred, int sockets[LAUNCH_SOCKETS], uint16_t *ret);
#define LAUNCHER_PATIENCE 2000 /* milliseconds */
/* A child of ours is ended, and everything that it has started. Returns NULL. */
struct launcher *launcher_free(struct launcher *l);
DEFINE_CLEANUP(struct launcher *, launcher_free)

#define LAUNCHER_ARGUMENT "--launcher"
/* The launcher itself, with a listening socket of the service manager's or one that leads to the daemon as
 * SPAWN_FD: starts EXECUTABLE (lockdownd) as what it is asked for, until nobody is connected and all of it
 * has ended. Returns its exit status. */
int launcher_run(const char *executable);

#endif
