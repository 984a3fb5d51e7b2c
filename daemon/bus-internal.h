/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LOCKDOWN_BUS_INTERNAL_H
#define LOCKDOWN_BUS_INTERNAL_H

/* What bus.c (transports) and bus-methods.c (the interface) share. */

#include "bus.h"
#include "cleanup.h"
#include "protocol.h"
#include <systemd/sd-bus.h>

struct connection {
        struct bus *bus;
        sd_bus *link;
        sd_bus_slot *vtable, *disconnected;
        sd_event_source *timeout, *end;
        struct peer peer;
        bool authenticated;
        struct connection *next;
};

struct bus {
        sd_event *event;
        struct manager *manager;
        char *path; /* of the socket, if we made it */
        sd_event_source *listen;
        struct connection *connections;
        size_t n_connections;
        sd_bus *system; /* NULL while there is none */
        sd_bus_slot *system_vtable, *system_disconnected;
        sd_event_source *system_retry;
};

extern const sd_bus_vtable bus_vtable[];

/* Who sent M: the connection's credentials, or what the message bus says. The caller frees ret->gids. */
int bus_peer(struct bus *b, sd_bus_message *m, struct peer *ret);
struct connection *bus_connection(struct bus *b, sd_bus_message *m); /* NULL for the system bus */
/* A caller was heard: the idle clock starts anew. */
void connection_touch(struct connection *c);

#endif
