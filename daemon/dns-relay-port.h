/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LOCKDOWN_DNS_RELAY_PORT_H
#define LOCKDOWN_DNS_RELAY_PORT_H

/* The port of a relay: the same number four times on the loopback. */

#include "launcher.h"

struct relay_listener {
        int family, type;
};
extern const struct relay_listener relay_listeners[LAUNCH_SOCKETS];

/* Takes PREFERRED if it is free, else (or with 0) one of the kernel's choice. Datagrams are refused and
 * nothing listens. A family that this machine has not got: -1. 0 with the port, or -errno: -EADDRINUSE when
 * none is free. */
int relay_port_take(uint16_t preferred, int sockets[LAUNCH_SOCKETS], uint16_t *ret);
/* Nothing is queued at a port that nobody serves: it would be forwarded when somebody does. FD: a datagram
 * socket. 0 or -errno. */
int relay_port_refuse(int fd);
void relay_port_close(int sockets[LAUNCH_SOCKETS]);

#endif
