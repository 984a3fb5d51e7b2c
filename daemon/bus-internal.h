/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LOCKDOWN_BUS_INTERNAL_H
#define LOCKDOWN_BUS_INTERNAL_H

/* What bus.c (who gets in), bus-connection.c (the private socket), bus-system.c (the system bus),
 * bus-methods.c (the interface), bus-call.c and bus-waiting.c (calls that are not answered yet) share. */

#include "bus-account.h"
#include "bus-gate.h"
#include "bus.h"
#include "cleanup.h"
#include "protocol.h"
#include <systemd/sd-bus.h>

/* A caller of the private socket. What it sends passes the gate before the link reads it. */
struct connection {
        struct bus *bus;
        sd_bus *link;
        int fd;   /* the caller's socket; the link owns it, and writes to it */
        int feed; /* what passes the gate goes in here, and the link reads it at the other end */
        struct gate gate;
        sd_bus_slot *vtable;
        sd_event_source *io, *timeout, *end;
        struct peer peer;
        bool operator; /* may order or lift: goes first */
        bool asked;    /* it has sent a whole message */
        bool working;  /* it has put a question that is not answered yet */
        bool waiting;  /* … since it is not known who may put it (bus-waiting.c) */
        bool stuck;    /* it does not read what it is told */
        bool hung_up;
        struct connection *next;
};

struct call;
struct waiting;
struct system_bus;

struct bus {
        sd_event *event;
        struct manager *manager;
        char *path; /* of the socket, if we made it */
        sd_event_source *listen, *listen_again;
        uint64_t listen_told; /* when it was told that no descriptors are left */
        struct connection *connections;
        size_t n_connections;
        struct accounts accounts;
        sd_event_source *paid; /* somebody who had to wait may ask again */
        struct refusals refusals;
        sd_event_source *refusals_end; /* of the period */
        struct call *calls;            /* that the manager has not answered yet */
        struct waiting *waiting;       /* calls that came too early */
        struct system_bus *system;     /* NULL if there cannot be one */
};

/* Everybody else than operators waits until nothing else is to be done. */
#define PRIORITY_OPERATORS SD_EVENT_PRIORITY_NORMAL
#define PRIORITY_OTHERS (SD_EVENT_PRIORITY_NORMAL + 10)

/* ---- bus.c ---- */

uint64_t bus_now(void); /* microseconds; the monotonic clock */
/* Processor time of this thread so far, microseconds. */
uint64_t bus_time_used(void);
bool bus_is_operator(const struct bus *b, const struct peer *peer);
/* PEER was refused METHOD: journalled, or counted if there are too many. */
void bus_tell_refusal(struct bus *b, const struct peer *peer, const char *method);
void bus_charge(struct bus *b, uint32_t uid, uint64_t cost);

/* ---- bus-connection.c ---- */

/* Takes FD over: a connection just accepted. 0, -EUSERS if there is no room for its owner, or -errno. */
int connection_new(struct bus *b, int fd);
struct connection *connection_free(struct connection *c); /* returns NULL */
/* Not from within the connection's own callbacks: in the next round of the loop. */
void connection_end(struct connection *c);
/* Something about C has changed: what is waited for is worked out anew, for the others of its owner, too. */
void connection_review(struct connection *c);
void connections_review_all(struct bus *b);
struct connection *bus_connection(struct bus *b, sd_bus *link); /* NULL: none of ours (any more) */
void connections_tell_change(struct bus *b, const char *profile, const char *state);

/* ---- bus-system.c ---- */

int system_bus_new(struct bus *b, struct system_bus **ret);
struct system_bus *system_bus_free(struct system_bus *s); /* returns NULL */
/* A call from there: finds out whose it is, then hands it to bus_handle(). Returns as a bus handler. */
int system_bus_call(struct system_bus *s, sd_bus_message *m, sd_bus_error *error);
void system_bus_tell_change(struct system_bus *s, const char *profile, const char *state);

/* ---- bus-methods.c ---- */

extern const sd_bus_vtable bus_vtable[];

/* Where one of its own allocations fails, libsystemd (252, 255) leaves a bus that it aborts on when it is
 * freed, unless the same is added after all. Where that fails, too, *LINK is closed, leaked and NULL. */
int bus_add_vtable(sd_bus **link, sd_bus_slot **ret, struct bus *b);
/* Answers PEER's call M, or hands it to the manager, or lets it wait until it is known who may call that.
 * Returns as a bus handler. */
int bus_handle(struct bus *b, sd_bus_message *m, const struct peer *peer, sd_bus_error *error);
/* The same for one that has waited: it does not wait again. */
int bus_handle_waited(struct bus *b, sd_bus_message *m, const struct peer *peer, sd_bus_error *error);
/* Has PEER no right to call METHOD, as far as is known yet? */
bool bus_right_unknown(const struct bus *b, const char *method, const struct peer *peer);
/* ---- bus-call.c ---- */

/* PEER's call M as the manager gets it, together with call_done(), which answers it and frees. NULL: no
 * memory. */
struct call *call_new(struct bus *b, sd_bus_message *m, const struct peer *peer);
void call_done(void *userdata, const struct outcome *outcome);
/* Whoever called pays for the time that it takes until it is answered. */
void call_charge(struct bus *b, const sd_bus_message *m);
/* Has the manager a call by UID that came by the system bus? */
bool call_by_system_bus(const struct bus *b, uint32_t uid);
/* Nobody is left to be told of the calls that the manager still has. */
void bus_forget_calls(struct bus *b);

/* ---- bus-waiting.c ---- */

/* Calls by the system bus that wait at the most, one of each user. On the private socket each connection has
 * one at the most. */
#define WAITING_MAX 16
/* How long one waits at the most, microseconds: as long as a directory may take for one answer. */
#define WAITING_TIMEOUT (10 * UINT64_C(1000000))

/* Whether PEER may call M is not known yet: it is judged when it is, or when it has waited for too long.
 * Returns as a bus handler. */
int waiting_add(struct bus *b, sd_bus_message *m, const struct peer *peer, sd_bus_error *error);
/* Does a call by UID wait that came by the system bus? */
bool waiting_by_system_bus(const struct bus *b, uint32_t uid);
/* Whoever is at the other end of LINK has gone: his calls are forgotten. */
void waiting_forget(struct bus *b, const sd_bus *link);
void waiting_review(void *userdata); /* of a bus: more is known than before */

#endif
