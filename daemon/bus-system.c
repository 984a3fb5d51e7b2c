/* SPDX-License-Identifier: GPL-2.0-or-later */

/* The system bus: an additional way in, missed by nobody when it is not there. */

#include "bus-internal.h"

#include <errno.h>
#include <string.h>

#define RETRY_INTERVAL (30 * UINT64_C(1000000))

struct system_bus {
        struct bus *bus;
        sd_bus *link;
        sd_bus_slot *vtable, *disconnected;
        sd_event_source *retry;
};

/* The message bus knows its clients by their sockets, too. */
static int find_peer(sd_bus_message *m, struct peer *ret)
{
        _cleanup_(sd_bus_creds_unrefp) sd_bus_creds *creds = NULL;
        const gid_t *gids = NULL;
        uint32_t *copy;
        pid_t pid = 0;
        uid_t uid;
        int n, r = sd_bus_query_sender_creds(
                       m, SD_BUS_CREDS_EUID | SD_BUS_CREDS_PID | SD_BUS_CREDS_SUPPLEMENTARY_GIDS, &creds);

        if (r >= 0)
                r = sd_bus_creds_get_euid(creds, &uid);
        if (r < 0)
                return r;
        (void)sd_bus_creds_get_pid(creds, &pid);
        n = sd_bus_creds_get_supplementary_gids(creds, &gids);
        copy = calloc((n > 0 ? (size_t)n : 0) + 1, sizeof(*copy));
        if (!copy)
                return -ENOMEM;
        for (int i = 0; i < n; i++)
                copy[i] = gids[i];
        *ret = (struct peer){.uid = uid, .pid = pid, .gids = copy, .n_gids = n > 0 ? (size_t)n : 0};
        return 0;
}

int system_bus_call(struct system_bus *s, sd_bus_message *m, sd_bus_error *error)
{
        struct peer peer = {0};
        int r = find_peer(m, &peer);

        if (r < 0)
                return sd_bus_error_setf(error, ERROR_NOT_PERMITTED,
                                         "the caller's credentials cannot be told: %s", strerror(-r));
        r = bus_handle(s->bus, m, &peer, error);
        free(peer.gids);
        return r;
}

static void leave(struct system_bus *s)
{
        s->vtable = sd_bus_slot_unref(s->vtable);
        s->disconnected = sd_bus_slot_unref(s->disconnected);
        s->link = sd_bus_close_unref(s->link);
}

static void enter(struct system_bus *s);

static int on_retry(sd_event_source *source, uint64_t usec, void *userdata)
{
        struct system_bus *s = userdata;

        (void)source;
        (void)usec;
        s->retry = sd_event_source_disable_unref(s->retry);
        enter(s);
        return 0;
}

static void retry_later(struct system_bus *s)
{
        if (!s->retry)
                (void)sd_event_add_time_relative(s->bus->event, &s->retry, CLOCK_MONOTONIC, RETRY_INTERVAL, 0,
                                                 on_retry, s);
}

static int on_disconnected(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
        (void)m;
        (void)error;
        retry_later(userdata);
        return 0;
}

static int set_up(struct system_bus *s)
{
        const char *address = getenv("DBUS_SYSTEM_BUS_ADDRESS");
        int r = sd_bus_new(&s->link);

        if (r >= 0)
                r = sd_bus_set_address(s->link, address ? address : "unix:path=/run/dbus/system_bus_socket");
        if (r >= 0)
                r = sd_bus_set_bus_client(s->link, 1);
        if (r >= 0)
                r = sd_bus_negotiate_fds(s->link, 0);
        if (r >= 0)
                r = sd_bus_set_watch_bind(s->link, 1); /* at boot we are there long before it */
        if (r >= 0)
                r = sd_bus_set_method_call_timeout(s->link, 2 * UINT64_C(1000000));
        if (r >= 0)
                r = sd_bus_add_object_vtable(s->link, &s->vtable, LOCKDOWN_BUS_PATH, LOCKDOWN_BUS_INTERFACE,
                                             bus_vtable, s->bus);
        if (r >= 0)
                r = sd_bus_match_signal_async(s->link, &s->disconnected, NULL, "/org/freedesktop/DBus/Local",
                                              "org.freedesktop.DBus.Local", "Disconnected", on_disconnected,
                                              NULL, s);
        if (r >= 0)
                r = sd_bus_start(s->link);
        if (r >= 0)
                r = sd_bus_request_name_async(s->link, NULL, LOCKDOWN_BUS_NAME, 0, NULL, NULL);
        if (r >= 0)
                r = sd_bus_attach_event(s->link, s->bus->event, PRIORITY_OTHERS);
        return r;
}

static void enter(struct system_bus *s)
{
        leave(s);
        if (set_up(s) < 0) {
                leave(s);
                retry_later(s);
        }
}

int system_bus_new(struct bus *b, struct system_bus **ret)
{
        struct system_bus *s = calloc(1, sizeof(*s));

        if (!s)
                return -ENOMEM;
        s->bus = b;
        enter(s);
        *ret = s;
        return 0;
}

struct system_bus *system_bus_free(struct system_bus *s)
{
        if (!s)
                return NULL;
        sd_event_source_disable_unref(s->retry);
        leave(s);
        free(s);
        return NULL;
}

void system_bus_tell_change(struct system_bus *s, const char *profile, const char *state)
{
        if (s && s->link && sd_bus_is_ready(s->link) > 0)
                (void)sd_bus_emit_signal(s->link, LOCKDOWN_BUS_PATH, LOCKDOWN_BUS_INTERFACE, SIGNAL_CHANGED,
                                         "ss", profile, state);
}
