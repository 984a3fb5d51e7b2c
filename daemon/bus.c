/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "audit.h"
#include "bus-internal.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <systemd/sd-id128.h>
#include <time.h>

/* ---- connections to the private socket ---- */

static struct connection *connection_free(struct connection *c)
{
        struct connection **p = &c->bus->connections;

        while (*p && *p != c)
                p = &(*p)->next;
        if (*p) {
                *p = c->next;
                c->bus->n_connections--;
        }
        sd_event_source_disable_unref(c->timeout);
        sd_event_source_disable_unref(c->end);
        sd_bus_slot_unref(c->vtable);
        sd_bus_slot_unref(c->disconnected);
        sd_bus_close_unref(c->link);
        free(c->peer.gids);
        free(c);
        return NULL;
}

static int on_end(sd_event_source *source, void *userdata)
{
        (void)source;
        connection_free(userdata);
        return 0;
}

/* Not from within the connection's own callbacks: in the next round of the loop. */
static void connection_end(struct connection *c)
{
        if (!c->end && sd_event_add_defer(c->bus->event, &c->end, on_end, c) < 0)
                sd_bus_close(c->link);
}

static int on_disconnected(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
        (void)m;
        (void)error;
        connection_end(userdata);
        return 0;
}

static int on_timeout(sd_event_source *source, uint64_t usec, void *userdata)
{
        struct connection *c = userdata;

        (void)source;
        (void)usec;
        connection_end(c);
        return 0;
}

void connection_touch(struct connection *c)
{
        c->authenticated = true;
        if (c->peer.uid == 0) {
                (void)sd_event_source_set_enabled(c->timeout, SD_EVENT_OFF);
                return;
        }
        (void)sd_event_source_set_time_relative(c->timeout, IDLE_TIMEOUT);
        (void)sd_event_source_set_enabled(c->timeout, SD_EVENT_ONESHOT);
}

/* The kernel's word on who is at the other end (unix(7)): SO_PEERCRED, and SO_PEERGROUPS for the rest. */
static int peer_credentials(int fd, struct peer *ret)
{
        struct ucred cred;
        socklen_t size = sizeof(cred), groups = 0;
        uint32_t *gids;

        if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &size) < 0)
                return -errno;
        if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, NULL, &groups) < 0 && errno != ERANGE)
                return -errno;
        gids = malloc(groups + sizeof(*gids));
        if (!gids)
                return -ENOMEM;
        if (groups > 0 && getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, gids, &groups) < 0) {
                int r = -errno;

                free(gids);
                return r;
        }
        ret->uid = cred.uid;
        ret->pid = cred.pid;
        ret->n_gids = groups / sizeof(*gids);
        gids[ret->n_gids++] = cred.gid;
        ret->gids = gids;
        return 0;
}

static int serve(struct connection *c, int fd)
{
        sd_id128_t id;
        int r = sd_bus_new(&c->link);

        if (r >= 0)
                r = sd_bus_set_fd(c->link, fd, fd);
        if (r < 0) {
                close(fd);
                return r;
        }
        r = sd_id128_randomize(&id); /* the fd is the link's from here on */
        if (r >= 0)
                r = sd_bus_set_server(c->link, 1, id);
        if (r >= 0)
                r = sd_bus_set_anonymous(c->link, 0);
        if (r >= 0)
                r = sd_bus_set_sender(c->link, LOCKDOWN_BUS_NAME);
        if (r >= 0)
                r = sd_bus_add_object_vtable(c->link, &c->vtable, LOCKDOWN_BUS_PATH, LOCKDOWN_BUS_INTERFACE,
                                             bus_vtable, c->bus);
        if (r >= 0)
                r = sd_bus_match_signal_async(c->link, &c->disconnected, NULL, "/org/freedesktop/DBus/Local",
                                              "org.freedesktop.DBus.Local", "Disconnected", on_disconnected,
                                              NULL, c);
        if (r >= 0)
                r = sd_bus_start(c->link);
        if (r >= 0)
                r = sd_bus_attach_event(c->link, c->bus->event, SD_EVENT_PRIORITY_NORMAL);
        return r;
}

static bool has_room(const struct bus *b, uint32_t uid)
{
        size_t of_uid = 0;

        for (const struct connection *c = b->connections; c; c = c->next)
                of_uid += c->peer.uid == uid;
        if (uid == 0)
                return b->n_connections < CONNECTIONS_MAX;
        return of_uid < CONNECTIONS_PER_UID && b->n_connections < CONNECTIONS_MAX - CONNECTIONS_FOR_ROOT;
}

static void accept_one(struct bus *b, int fd)
{
        struct connection *c = calloc(1, sizeof(*c));
        int r;

        if (!c) {
                close(fd);
                return;
        }
        c->bus = b;
        r = peer_credentials(fd, &c->peer);
        if (r < 0 || !has_room(b, c->peer.uid)) {
                close(fd);
                free(c->peer.gids);
                free(c);
                return;
        }
        c->next = b->connections;
        b->connections = c;
        b->n_connections++;
        r = serve(c, fd);
        if (r >= 0)
                r = sd_event_add_time_relative(b->event, &c->timeout, CLOCK_MONOTONIC, HELLO_TIMEOUT,
                                               100 * 1000, on_timeout, c);
        if (r < 0)
                connection_free(c);
}

static int on_connect(sd_event_source *source, int listen_fd, uint32_t revents, void *userdata)
{
        int fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

        (void)source;
        (void)revents;
        if (fd >= 0)
                accept_one(userdata, fd);
        return 0;
}

/* ---- who sent a message ---- */

struct connection *bus_connection(struct bus *b, sd_bus_message *m)
{
        sd_bus *link = sd_bus_message_get_bus(m);

        for (struct connection *c = b->connections; c; c = c->next)
                if (c->link == link)
                        return c;
        return NULL;
}

static int copy_peer(const struct peer *from, struct peer *ret)
{
        uint32_t *gids = malloc((from->n_gids + 1) * sizeof(*gids));

        if (!gids)
                return -ENOMEM;
        if (from->n_gids > 0)
                memcpy(gids, from->gids, from->n_gids * sizeof(*gids));
        *ret = (struct peer){.uid = from->uid, .pid = from->pid, .gids = gids, .n_gids = from->n_gids};
        return 0;
}

/* The message bus knows its clients by their sockets, too. */
static int system_peer(sd_bus_message *m, struct peer *ret)
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

int bus_peer(struct bus *b, sd_bus_message *m, struct peer *ret)
{
        const struct connection *c = bus_connection(b, m);

        return c ? copy_peer(&c->peer, ret) : system_peer(m, ret);
}

/* ---- the system bus: an additional way in, missed by nobody when it is not there ---- */

#define SYSTEM_RETRY (30 * UINT64_C(1000000))

static void system_close(struct bus *b)
{
        b->system_vtable = sd_bus_slot_unref(b->system_vtable);
        b->system_disconnected = sd_bus_slot_unref(b->system_disconnected);
        b->system = sd_bus_close_unref(b->system);
}

static int system_open(struct bus *b);

static int on_system_retry(sd_event_source *source, uint64_t usec, void *userdata)
{
        struct bus *b = userdata;

        (void)source;
        (void)usec;
        b->system_retry = sd_event_source_disable_unref(b->system_retry);
        (void)system_open(b);
        return 0;
}

static void system_retry_later(struct bus *b)
{
        if (!b->system_retry)
                (void)sd_event_add_time_relative(b->event, &b->system_retry, CLOCK_MONOTONIC, SYSTEM_RETRY, 0,
                                                 on_system_retry, b);
}

static int on_system_gone(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
        struct bus *b = userdata;

        (void)m;
        (void)error;
        system_retry_later(b);
        return 0;
}

static int system_setup(struct bus *b)
{
        const char *address = getenv("DBUS_SYSTEM_BUS_ADDRESS");
        int r = sd_bus_new(&b->system);

        if (r >= 0)
                r = sd_bus_set_address(b->system,
                                       address ? address : "unix:path=/run/dbus/system_bus_socket");
        if (r >= 0)
                r = sd_bus_set_bus_client(b->system, 1);
        if (r >= 0)
                r = sd_bus_set_watch_bind(b->system, 1); /* at boot we are there long before it */
        if (r >= 0)
                r = sd_bus_set_method_call_timeout(b->system, 2 * UINT64_C(1000000));
        if (r >= 0)
                r = sd_bus_add_object_vtable(b->system, &b->system_vtable, LOCKDOWN_BUS_PATH,
                                             LOCKDOWN_BUS_INTERFACE, bus_vtable, b);
        if (r >= 0)
                r = sd_bus_match_signal_async(b->system, &b->system_disconnected, NULL,
                                              "/org/freedesktop/DBus/Local", "org.freedesktop.DBus.Local",
                                              "Disconnected", on_system_gone, NULL, b);
        if (r >= 0)
                r = sd_bus_start(b->system);
        if (r >= 0)
                r = sd_bus_request_name_async(b->system, NULL, LOCKDOWN_BUS_NAME, 0, NULL, NULL);
        if (r >= 0)
                r = sd_bus_attach_event(b->system, b->event, SD_EVENT_PRIORITY_NORMAL);
        return r;
}

static int system_open(struct bus *b)
{
        int r;

        system_close(b);
        r = system_setup(b);
        if (r < 0) {
                system_close(b);
                system_retry_later(b);
        }
        return r;
}

/* ---- signals ---- */

static void on_changed(void *userdata, const char *profile, const char *state)
{
        struct bus *b = userdata;

        for (struct connection *c = b->connections; c; c = c->next)
                if (c->authenticated)
                        (void)sd_bus_emit_signal(c->link, LOCKDOWN_BUS_PATH, LOCKDOWN_BUS_INTERFACE,
                                                 SIGNAL_CHANGED, "ss", profile, state);
        if (b->system && sd_bus_is_ready(b->system) > 0)
                (void)sd_bus_emit_signal(b->system, LOCKDOWN_BUS_PATH, LOCKDOWN_BUS_INTERFACE, SIGNAL_CHANGED,
                                         "ss", profile, state);
}

/* ---- life ---- */

static int make_socket(struct bus *b, const char *runtime_dir)
{
        struct sockaddr_un address = {.sun_family = AF_UNIX};
        int fd, r = 0;

        if (asprintf(&b->path, "%s/lockdownd.sock", runtime_dir) < 0) {
                b->path = NULL;
                return -ENOMEM;
        }
        if (strlen(b->path) >= sizeof(address.sun_path))
                return -ENAMETOOLONG;
        strcpy(address.sun_path, b->path);
        fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (fd < 0)
                return -errno;
        /* the lock says that no other daemon lives: a socket found here is of a dead one */
        (void)unlink(b->path);
        if (bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 || chmod(b->path, 0666) < 0 ||
            listen(fd, 64) < 0)
                r = -errno;
        if (r < 0)
                close(fd);
        return r < 0 ? r : fd;
}

int bus_new(sd_event *event, struct manager *manager, int listen_fd, const char *runtime_dir,
            struct bus **ret, char **ret_error)
{
        _cleanup_(bus_freep) struct bus *b = calloc(1, sizeof(*b));
        int r = listen_fd;

        if (!b)
                return -ENOMEM;
        b->event = sd_event_ref(event);
        b->manager = manager;
        if (listen_fd < 0)
                r = make_socket(b, runtime_dir);
        if (r >= 0) {
                listen_fd = r;
                r = sd_event_add_io(event, &b->listen, listen_fd, EPOLLIN, on_connect, b);
        }
        if (r >= 0)
                r = sd_event_source_set_io_fd_own(b->listen, 1);
        if (r < 0) {
                if (asprintf(ret_error, "cannot listen on %s: %s", b->path ? b->path : "the inherited socket",
                             strerror(-r)) < 0)
                        *ret_error = NULL;
                return r;
        }
        (void)system_open(b);
        manager_on_change(manager, on_changed, b);
        *ret = TAKE_PTR(b);
        return 0;
}

struct bus *bus_free(struct bus *b)
{
        if (!b)
                return NULL;
        manager_on_change(b->manager, NULL, NULL);
        while (b->connections)
                connection_free(b->connections);
        system_close(b);
        sd_event_source_disable_unref(b->system_retry);
        sd_event_source_disable_unref(b->listen);
        if (b->path)
                (void)unlink(b->path);
        free(b->path);
        sd_event_unref(b->event);
        free(b);
        return NULL;
}
