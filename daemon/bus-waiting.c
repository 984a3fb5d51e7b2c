/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Whoever comes in the first moments of a daemon's life may have a right of which the directory has not told
 * yet. His call waits for that, and is judged as any other then. */

#include "bus-internal.h"

#include <errno.h>
#include <string.h>

struct waiting {
        struct bus *bus;
        sd_bus_message *message;
        struct peer peer; /* the caller as he was when he called */
        bool system;
        sd_event_source *turn; /* when it is judged */
        struct waiting *next;
};

static struct waiting *waiting_free(struct waiting *w)
{
        if (!w)
                return NULL;
        sd_event_source_disable_unref(w->turn);
        sd_bus_message_unref(w->message);
        free(w->peer.gids);
        free(w);
        return NULL;
}

DEFINE_CLEANUP(struct waiting *, waiting_free)

static void take_out(struct waiting *w)
{
        struct waiting **p = &w->bus->waiting;

        while (*p != w)
                p = &(*p)->next;
        *p = w->next;
}

static int on_turn(sd_event_source *source, uint64_t usec, void *userdata)
{
        _cleanup_(waiting_freep) struct waiting *w = userdata;
        _cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
        struct connection *c = bus_connection(w->bus, sd_bus_message_get_bus(w->message));
        uint64_t before = bus_time_used();
        int r;

        (void)source;
        (void)usec;
        take_out(w);
        if (c)
                c->working = c->waiting = false;
        r = bus_handle_waited(w->bus, w->message, &w->peer, &error);
        if (r < 0)
                r = sd_bus_reply_method_errno(w->message, r, &error);
        if (!c)
                return 0;
        if (!bus_is_operator(w->bus, &w->peer))
                bus_charge(w->bus, w->peer.uid, bus_time_used() - before);
        if (r < 0)
                connection_end(c);
        else
                connection_review(c);
        return 0;
}

static int set_peer(struct waiting *w, const struct peer *peer)
{
        uint32_t *gids = calloc(peer->n_gids + 1, sizeof(*gids));

        if (!gids)
                return -ENOMEM;
        if (peer->n_gids > 0)
                memcpy(gids, peer->gids, peer->n_gids * sizeof(*gids));
        w->peer = *peer;
        w->peer.gids = gids;
        return 0;
}

static bool room_for_system_bus(const struct bus *b)
{
        size_t n = 0;

        for (const struct waiting *w = b->waiting; w; w = w->next)
                n += w->system;
        return n < WAITING_MAX;
}

int waiting_add(struct bus *b, sd_bus_message *m, const struct peer *peer, sd_bus_error *error)
{
        struct connection *c = bus_connection(b, sd_bus_message_get_bus(m));
        _cleanup_(waiting_freep) struct waiting *w = NULL;
        int r;

        if (!c && !room_for_system_bus(b))
                return sd_bus_error_setf(error, SD_BUS_ERROR_LIMITS_EXCEEDED,
                                         "the directory has not said yet who may call %s, and more callers "
                                         "wait for that already than lockdownd keeps: ask again in a moment",
                                         sd_bus_message_get_member(m));
        w = calloc(1, sizeof(*w));
        r = w ? set_peer(w, peer) : -ENOMEM;
        if (r >= 0)
                r = sd_event_add_time_relative(b->event, &w->turn, CLOCK_MONOTONIC, WAITING_TIMEOUT, 1000,
                                               on_turn, w);
        if (r >= 0)
                r = sd_event_source_set_priority(w->turn, PRIORITY_OTHERS);
        if (r < 0)
                return r;
        w->bus = b;
        w->message = sd_bus_message_ref(m);
        w->system = !c;
        w->next = b->waiting;
        if (c)
                c->working = c->waiting = true;
        b->waiting = TAKE_PTR(w);
        return 1;
}

bool waiting_by_system_bus(const struct bus *b, uint32_t uid)
{
        for (const struct waiting *w = b->waiting; w; w = w->next)
                if (w->system && w->peer.uid == uid)
                        return true;
        return false;
}

void waiting_forget(struct bus *b, const sd_bus *link)
{
        struct waiting **p = &b->waiting;

        while (*p) {
                struct waiting *w = *p;

                if (sd_bus_message_get_bus(w->message) == link) {
                        *p = w->next;
                        waiting_free(w);
                } else
                        p = &w->next;
        }
}

void waiting_review(void *userdata)
{
        struct bus *b = userdata;

        for (struct waiting *w = b->waiting; w; w = w->next)
                if (!bus_right_unknown(b, sd_bus_message_get_member(w->message), &w->peer)) {
                        (void)sd_event_source_set_priority(
                                w->turn, bus_is_operator(b, &w->peer) ? PRIORITY_OPERATORS : PRIORITY_OTHERS);
                        (void)sd_event_source_set_time_relative(w->turn, 0);
                }
}
