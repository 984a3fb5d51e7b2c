/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "audit.h"
#include "bus-internal.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>

static uint64_t clock_usec(clockid_t clock)
{
        struct timespec t;

        clock_gettime(clock, &t);
        return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

uint64_t bus_now(void)
{
        return clock_usec(CLOCK_MONOTONIC);
}

uint64_t bus_time_used(void)
{
        return clock_usec(CLOCK_THREAD_CPUTIME_ID);
}

bool bus_is_operator(const struct bus *b, const struct peer *peer)
{
        return peer->uid == 0 || manager_permits(b->manager, RIGHT_ORDER, peer) ||
               manager_permits(b->manager, RIGHT_LIFT, peer);
}

/* ---- what users take of the daemon's time ---- */

static int on_paid(sd_event_source *source, uint64_t usec, void *userdata)
{
        struct bus *b = userdata;

        (void)source;
        (void)usec;
        b->paid = sd_event_source_disable_unref(b->paid);
        connections_review_all(b);
        for (const struct connection *c = b->connections; c; c = c->next)
                if (!c->operator)
                        bus_charge(b, c->peer.uid, 0); /* whoever still has to wait */
        return 0;
}

void bus_charge(struct bus *b, uint32_t uid, uint64_t cost)
{
        uint64_t wait;

        accounts_charge(&b->accounts, uid, cost, bus_now());
        wait = accounts_wait(&b->accounts, uid, bus_now());
        if (wait > 0 && !b->paid)
                (void)sd_event_add_time_relative(b->event, &b->paid, CLOCK_MONOTONIC, wait, 1000, on_paid, b);
}

/* ---- refusals in the journal: all are counted, not all have an entry of their own ---- */

static void sum_up_refusals(struct bus *b)
{
        const struct refusals *r = &b->refusals;

        for (size_t i = 0; i < r->n; i++)
                if (r->items[i].more > 0)
                        audit(AUDIT_REFUSED_CALLER, LOG_WARNING, NULL,
                              &(struct caller){.uid = r->items[i].uid},
                              "uid %" PRIu32 " was refused %" PRIu64 " more times within a minute",
                              r->items[i].uid, r->items[i].more);
        if (r->others > 0)
                audit(AUDIT_REFUSED_CALLER, LOG_WARNING, NULL, NULL,
                      "other users than those named were refused %" PRIu64 " more times within a minute",
                      r->others);
        b->refusals = (struct refusals){0};
        b->refusals_end = sd_event_source_disable_unref(b->refusals_end);
}

static int on_refusals_end(sd_event_source *source, uint64_t usec, void *userdata)
{
        (void)source;
        (void)usec;
        sum_up_refusals(userdata);
        return 0;
}

void bus_tell_refusal(struct bus *b, const struct peer *peer, const char *method)
{
        if (refusals_tell(&b->refusals, peer->uid))
                audit(AUDIT_REFUSED_CALLER, LOG_WARNING, NULL,
                      &(struct caller){.uid = peer->uid, .pid = peer->pid},
                      "uid %" PRIu32 " (pid %d) asked for %s and has no right to it", peer->uid, peer->pid,
                      method);
        if (!b->refusals_end && sd_event_add_time_relative(b->event, &b->refusals_end, CLOCK_MONOTONIC,
                                                           REFUSALS_PERIOD, 0, on_refusals_end, b) < 0)
                sum_up_refusals(b);
}

/* ---- who comes in ---- */

/* Connections that wait to be let in: more than anybody makes in the time that it takes to refuse them all.
 */
#define BACKLOG 4096
/* … and that are let in, or refused, in one round of the loop: an operator may stand behind the others. */
#define ACCEPTED_AT_ONCE 32
/* How long nobody is let in when the process or the machine has no descriptor left. */
#define LISTEN_PAUSE UINT64_C(100000)
/* … and how often that is told. */
#define LISTEN_TOLD_INTERVAL (60 * UINT64_C(1000000))

static int on_listen_again(sd_event_source *source, uint64_t usec, void *userdata)
{
        struct bus *b = userdata;

        (void)source;
        (void)usec;
        b->listen_again = sd_event_source_disable_unref(b->listen_again);
        (void)sd_event_source_set_enabled(b->listen, SD_EVENT_ON);
        return 0;
}

/* Who waits keeps waiting, and would be told of in every round of the loop. */
static void pause_listening(struct bus *b, int error)
{
        if (b->listen_told == 0 || bus_now() - b->listen_told > LISTEN_TOLD_INTERVAL) {
                audit_log(LOG_ERR, "callers have to wait, no connection can be accepted: %s",
                          strerror(-error));
                b->listen_told = bus_now();
        }
        if (!b->listen_again && sd_event_add_time_relative(b->event, &b->listen_again, CLOCK_MONOTONIC,
                                                           LISTEN_PAUSE, 0, on_listen_again, b) >= 0)
                (void)sd_event_source_set_enabled(b->listen, SD_EVENT_OFF);
}

static bool out_of_means(int error)
{
        return error == -EMFILE || error == -ENFILE || error == -ENOBUFS || error == -ENOMEM;
}

/* 0, -EAGAIN if nobody is left, or why nobody can be let in. */
static int accept_one(struct bus *b, int listen_fd)
{
        int fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK), r;

        if (fd < 0)
                return -errno;
        r = connection_new(b, fd);
        return out_of_means(r) ? r : 0;
}

static int on_connect(sd_event_source *source, int listen_fd, uint32_t revents, void *userdata)
{
        struct bus *b = userdata;
        int r = 0;

        (void)source;
        (void)revents;
        for (unsigned i = 0; i < ACCEPTED_AT_ONCE && r >= 0; i++)
                r = accept_one(b, listen_fd);
        if (out_of_means(r))
                pause_listening(b, r);
        return 0;
}

int bus_add_vtable(sd_bus **link, sd_bus_slot **ret, struct bus *b)
{
        int r = -ENOMEM;

        for (unsigned tries = 0; r == -ENOMEM && tries < 3; tries++)
                r = sd_bus_add_object_vtable(*link, ret, LOCKDOWN_BUS_PATH, LOCKDOWN_BUS_INTERFACE,
                                             bus_vtable, b);
        if (r < 0)
                sd_bus_close(TAKE_PTR(*link));
        return r;
}

static void on_changed(void *userdata, const char *profile, const char *state)
{
        struct bus *b = userdata;

        connections_tell_change(b, profile, state);
        system_bus_tell_change(b->system, profile, state);
}

/* ---- life ---- */

static int make_socket(struct bus *b, const char *runtime_dir)
{
        struct sockaddr_un address = {.sun_family = AF_UNIX};
        mode_t mask;
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
        mask = umask(0111); /* everybody may connect */
        if (bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 || listen(fd, BACKLOG) < 0)
                r = -errno;
        (void)umask(mask);
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
                r = fcntl(listen_fd, F_SETFL, O_NONBLOCK) < 0 ? -errno : 0; /* one inherited may block */
        }
        if (r >= 0)
                r = sd_event_add_io(event, &b->listen, listen_fd, EPOLLIN, on_connect, b);
        if (r >= 0)
                r = sd_event_source_set_io_fd_own(b->listen, 1);
        if (r < 0) {
                if (asprintf(ret_error, "cannot listen on %s: %s", b->path ? b->path : "the inherited socket",
                             strerror(-r)) < 0)
                        *ret_error = NULL;
                return r;
        }
        r = system_bus_new(b, &b->system);
        if (r < 0)
                audit_log(LOG_WARNING, "the system bus is not served: %s", strerror(-r));
        manager_on_change(manager, on_changed, b);
        manager_on_right_known(manager, waiting_review, b);
        *ret = TAKE_PTR(b);
        return 0;
}

struct bus *bus_free(struct bus *b)
{
        if (!b)
                return NULL;
        manager_on_change(b->manager, NULL, NULL);
        manager_on_right_known(b->manager, NULL, NULL);
        bus_forget_calls(b);
        while (b->connections)
                connection_free(b->connections);
        system_bus_free(b->system);
        sum_up_refusals(b);
        sd_event_source_disable_unref(b->paid);
        sd_event_source_disable_unref(b->listen_again);
        sd_event_source_disable_unref(b->listen);
        if (b->path)
                (void)unlink(b->path);
        free(b->path);
        sd_event_unref(b->event);
        free(b);
        return NULL;
}
