/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LOCKDOWN_DATAGRAM_H
#define LOCKDOWN_DATAGRAM_H

/* For the edges to the journal and to the service manager. libsystemd waits where the one or the other does
 * not read (it may have been stopped, or be stuck on a disk), and a daemon in the middle of an order must
 * not. */

#include <sys/uio.h>

/* Sends PARTS as one datagram to the Unix socket at PATH ("@…": an abstract one), FD with it unless that is
 * -1. Never waits: -EAGAIN if the queue there is full; -ENOENT: no such socket; -ECONNREFUSED: nobody has it
 * open; -errno. */
int datagram_send(const char *path, const struct iovec *parts, size_t n, int fd);

#endif
