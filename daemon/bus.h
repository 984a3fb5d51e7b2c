/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LOCKDOWN_BUS_H
#define LOCKDOWN_BUS_H

/* The daemon's side of protocol.h: one vtable, served to each caller of the private socket (peer to peer) and
 * on the system bus where there is one. Callers are known by the credentials of their socket. */

#include "manager.h"
#include <systemd/sd-event.h>

struct bus;

/* Connections to the private socket: in all, for one uid, and how many of all are kept free for root, and for
 * root and whoever else may order or lift. */
#define CONNECTIONS_MAX 128
#define CONNECTIONS_PER_UID 16
#define CONNECTIONS_FOR_ROOT 16
#define CONNECTIONS_FOR_OPERATORS 16
/* Who has not finished saying hello after this time, or has asked nothing for that long, is dropped
 * (microseconds; root's connections may stay idle: one follows what is in force). */
#define HELLO_TIMEOUT (5 * UINT64_C(1000000))
#define IDLE_TIMEOUT (60 * UINT64_C(1000000))
/* Who leaves unread what the kernel does not keep for him for that long is dropped, root as well. */
#define READ_TIMEOUT (10 * UINT64_C(1000000))

/* LISTEN_FD: an inherited listening socket, or -1: then RUNTIME_DIR/lockdownd.sock is made, for everybody to
 * connect. 0 or -errno with a sentence (the caller frees). */
int bus_new(sd_event *event, struct manager *manager, int listen_fd, const char *runtime_dir,
            struct bus **ret, char **ret_error);
struct bus *bus_free(struct bus *b); /* returns NULL */
DEFINE_CLEANUP(struct bus *, bus_free)

#endif
