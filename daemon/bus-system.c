/* SPDX-License-Identifier: GPL-2.0-or-later */

/* The system bus: an additional way in, missed by nobody when it is not there. The message bus knows its
 * clients by their sockets, too, and is asked who they are over a connection of its own: answers on the one
 * where the calls come in would stand behind all of those. While it has not answered no further call is
 * read, so that they wait with the message bus, which bounds what a client may have waiting. */

#include "audit.h"
#include "bus-internal.h"

#include <errno.h>
#include <string.h>

#define RETRY_INTERVAL (30 * UINT64_C(1000000))
/* How long the message bus may take to say who somebody is. */
#define ASK_TIMEOUT (2 * UINT64_C(1000000))
/* Messages that wait for a message bus which does not read; then it is left. */
#define QUEUE_MAX 256
/* Senders whose credentials are remembered: a name like :1.7 never becomes another's. */
#define SENDERS_KNOWN 16

struct sender {
        char *name;
        struct peer peer;
};

struct system_bus {
        struct bus *bus;
        sd_bus *link, *asking;
        sd_bus_slot *vtable, *filter, *disconnected, *asking_disconnected;
        sd_bus_message *held;  /* its sender is being asked for */
        sd_bus_slot *question; /* … by this */
        sd_event_source *retry;
        struct sender known[SENDERS_KNOWN];
        size_t next; /* to be forgotten */
};

static void forget(struct sender *s)
{
        free(s->name);
        free(s->peer.gids);
        *s = (struct sender){0};
}

static void leave(struct system_bus *s)
{
        s->question = sd_bus_slot_unref(s->question);
        s->held = sd_bus_message_unref(s->held);
        waiting_forget(s->bus, s->link);
        s->vtable = sd_bus_slot_unref(s->vtable);
        s->filter = sd_bus_slot_unref(s->filter);
        s->disconnected = sd_bus_slot_unref(s->disconnected);
        s->asking_disconnected = sd_bus_slot_unref(s->asking_disconnected);
        s->link = sd_bus_close_unref(s->link);
        s->asking = sd_bus_close_unref(s->asking);
        for (size_t i = 0; i < SENDERS_KNOWN; i++)
                forget(&s->known[i]);
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

/* True when it has been left, because it does not read what it is told. */
static bool leave_if_stuck(struct system_bus *s)
{
        uint64_t n = 0;

        if (sd_bus_get_n_queued_write(s->link, &n) < 0 || n <= QUEUE_MAX)
                return false;
        audit_log(LOG_WARNING, "the message bus does not read what it is told: left for half a minute");
        sd_bus_close(s->link);
        retry_later(s);
        return true;
}

/* Before anything else, also before what sd-bus answers by itself. */
static int on_message(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
        (void)m;
        (void)error;
        return leave_if_stuck(userdata);
}

/* ---- who sent a call ---- */

static int read_gids(sd_bus_message *m, struct peer *p)
{
        const void *gids;
        size_t size;
        uint32_t *copy;
        int r = sd_bus_message_enter_container(m, 'v', "au");

        if (r >= 0)
                r = sd_bus_message_read_array(m, 'u', &gids, &size);
        if (r < 0)
                return r;
        copy = malloc(size + sizeof(*copy));
        if (!copy)
                return -ENOMEM;
        if (size > 0)
                memcpy(copy, gids, size);
        free(p->gids);
        p->gids = copy;
        p->n_gids = size / sizeof(*copy);
        return sd_bus_message_exit_container(m);
}

static int read_credential(sd_bus_message *m, struct peer *p, bool *ret_uid)
{
        const char *key;
        uint32_t pid;
        int r = sd_bus_message_read(m, "s", &key);

        if (r < 0)
                return r;
        if (strcmp(key, "UnixUserID") == 0) {
                r = sd_bus_message_read(m, "v", "u", &p->uid);
                *ret_uid = r >= 0;
                return r;
        }
        if (strcmp(key, "ProcessID") == 0) {
                r = sd_bus_message_read(m, "v", "u", &pid);
                if (r >= 0)
                        p->pid = (int)pid;
                return r;
        }
        return strcmp(key, "UnixGroupIDs") == 0 ? read_gids(m, p) : sd_bus_message_skip(m, "v");
}

/* Without a uid it is nobody. */
static int read_credentials(sd_bus_message *m, struct peer *ret)
{
        struct peer p = {0};
        bool uid = false;
        int r = sd_bus_message_enter_container(m, 'a', "{sv}");

        while (r >= 0 && (r = sd_bus_message_enter_container(m, 'e', "sv")) > 0) {
                r = read_credential(m, &p, &uid);
                if (r >= 0)
                        r = sd_bus_message_exit_container(m);
        }
        if (r >= 0 && !uid)
                r = -ENODATA;
        if (r < 0) {
                free(p.gids);
                return r;
        }
        *ret = p;
        return 0;
}

static const struct peer *find(const struct system_bus *s, const char *sender)
{
        for (size_t i = 0; i < SENDERS_KNOWN; i++)
                if (s->known[i].name && strcmp(s->known[i].name, sender) == 0)
                        return &s->known[i].peer;
        return NULL;
}

static const struct peer *remember(struct system_bus *s, const char *sender, struct peer *peer)
{
        struct sender *to = &s->known[s->next];

        forget(to);
        s->next = (s->next + 1) % SENDERS_KNOWN;
        *to = (struct sender){.name = strdup(sender), .peer = *peer};
        return &to->peer; /* without memory for the name it is not found again */
}

static int refuse_unknown(sd_bus_error *error, int r)
{
        return sd_bus_error_setf(error, ERROR_NOT_PERMITTED, "the caller's credentials cannot be told: %s",
                                 strerror(-r));
}

static int on_credentials(sd_bus_message *answer, void *userdata, sd_bus_error *ret_error)
{
        struct system_bus *s = userdata;
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = TAKE_PTR(s->held);
        _cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
        struct peer peer = {0};
        int r = -sd_bus_message_get_errno(answer);

        (void)ret_error;
        s->question = sd_bus_slot_unref(s->question);
        if (r == 0)
                r = read_credentials(answer, &peer);
        if (r < 0)
                r = refuse_unknown(&error, r);
        else
                r = bus_handle(s->bus, m, remember(s, sd_bus_message_get_sender(m), &peer), &error);
        if (r < 0)
                (void)sd_bus_reply_method_errno(m, r, &error);
        if (sd_bus_attach_event(s->link, s->bus->event, PRIORITY_OTHERS) < 0)
                retry_later(s);
        return 0;
}

int system_bus_call(struct system_bus *s, sd_bus_message *m, sd_bus_error *error)
{
        const char *sender = sd_bus_message_get_sender(m);
        const struct peer *peer;
        int r;

        if (!sender)
                return refuse_unknown(error, -ENODATA);
        peer = find(s, sender);
        if (peer)
                return bus_handle(s->bus, m, peer, error);
        r = sd_bus_call_method_async(s->asking, &s->question, "org.freedesktop.DBus", "/org/freedesktop/DBus",
                                     "org.freedesktop.DBus", "GetConnectionCredentials", on_credentials, s,
                                     "s", sender);
        if (r < 0)
                return refuse_unknown(error, r);
        s->held = sd_bus_message_ref(m);
        (void)sd_bus_detach_event(s->link); /* until that is answered */
        return 1;
}

/* ---- life ---- */

static int open_link(struct system_bus *s, sd_bus **link, sd_bus_slot **disconnected)
{
        const char *address = getenv("DBUS_SYSTEM_BUS_ADDRESS");
        int r = sd_bus_new(link);

        if (r >= 0)
                r = sd_bus_set_address(*link, address ? address : "unix:path=/run/dbus/system_bus_socket");
        if (r >= 0)
                r = sd_bus_set_bus_client(*link, 1);
        if (r >= 0)
                r = sd_bus_negotiate_fds(*link, 0);
        if (r >= 0)
                r = sd_bus_set_watch_bind(*link, 1); /* at boot we are there long before it */
        if (r >= 0)
                r = sd_bus_set_method_call_timeout(*link, ASK_TIMEOUT);
        if (r >= 0)
                r = sd_bus_match_signal_async(*link, disconnected, NULL, "/org/freedesktop/DBus/Local",
                                              "org.freedesktop.DBus.Local", "Disconnected", on_disconnected,
                                              NULL, s);
        return r;
}

static int set_up(struct system_bus *s)
{
        sd_event *event = s->bus->event;
        int r = open_link(s, &s->link, &s->disconnected);

        if (r >= 0)
                r = open_link(s, &s->asking, &s->asking_disconnected);
        if (r >= 0)
                r = sd_bus_add_filter(s->link, &s->filter, on_message, s);
        if (r >= 0)
                r = bus_add_vtable(&s->link, &s->vtable, s->bus);
        if (r >= 0)
                r = sd_bus_start(s->asking);
        if (r >= 0)
                r = sd_bus_start(s->link);
        if (r >= 0)
                r = sd_bus_request_name_async(s->link, NULL, LOCKDOWN_BUS_NAME, 0, NULL, NULL);
        if (r >= 0)
                r = sd_bus_attach_event(s->asking, event, PRIORITY_OTHERS);
        if (r >= 0)
                r = sd_bus_attach_event(s->link, event, PRIORITY_OTHERS);
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
        if (s && s->link && sd_bus_is_ready(s->link) > 0 && !leave_if_stuck(s))
                (void)sd_bus_emit_signal(s->link, LOCKDOWN_BUS_PATH, LOCKDOWN_BUS_INTERFACE, SIGNAL_CHANGED,
                                         "ss", profile, state);
}
