// SPDX-License-Identifier: GPL-2.0-or-later
#include "dns-relay.h"
#include "dns-relay-port.h"
#include "worker-process.h"
#include <arpa/inet.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#define BACKLOG 64
/* A process that did not last that long is started again only after it, microseconds. */
#define SHORT_LIFE 1000000
#define RETRY 1000000

struct dns_relay {
        sd_event *event;
        struct launcher *launcher;   /* borrowed */
        int sockets[LAUNCH_SOCKETS]; /* in the order of relay_listeners; -1: this machine has no such family
                                      */
        uint16_t port;
        bool open;
        char addresses[2][INET6_ADDRSTRLEN]; /* of the process; empty: none */
        bool running;                        /* there should be a process */
        struct worker_process *process;
        sd_event_source *restart;
        dns_relay_died_t died;
        void *userdata;
        uint64_t started_at;
        int error;
};

static void start(struct dns_relay *r);

static int on_restart(sd_event_source *source, uint64_t usec, void *userdata)
{
        struct dns_relay *r = userdata;
        int before = r->error;

        (void)usec;
        (void)sd_event_source_set_enabled(source, SD_EVENT_OFF);
        if (!r->running || r->process)
                return 0;
        start(r);
        if (r->error < 0 && r->error != before)
                r->died(r->userdata, r->error);
        return 0;
}

int dns_relay_new(sd_event *event, struct launcher *launcher, uint16_t preferred, dns_relay_died_t died,
                  void *userdata, struct dns_relay **ret)
{
        _cleanup_(dns_relay_freep) struct dns_relay *r = calloc(1, sizeof(*r));
        int e;

        if (!r)
                return -ENOMEM;
        for (size_t i = 0; i < LAUNCH_SOCKETS; i++)
                r->sockets[i] = -1;
        r->event = sd_event_ref(event);
        r->died = died;
        r->userdata = userdata;
        r->launcher = launcher;
        e = launcher_take_port(launcher, preferred, r->sockets, &r->port);
        if (e >= 0)
                e = sd_event_add_time(event, &r->restart, CLOCK_MONOTONIC, 0, 1000, on_restart, r);
        if (e >= 0)
                e = sd_event_source_set_enabled(r->restart, SD_EVENT_OFF);
        if (e < 0)
                return e;
        (void)sd_event_source_set_description(r->restart, "dns-relay-restart");
        *ret = TAKE_PTR(r);
        return 0;
}

uint16_t dns_relay_port(const struct dns_relay *r)
{
        return r->port;
}

int dns_relay_open(struct dns_relay *r)
{
        const int unused = 0;

        for (size_t i = 0; !r->open && i < LAUNCH_SOCKETS; i++) {
                int fd = r->sockets[i];

                if (fd < 0)
                        continue;
                if (relay_listeners[i].type == SOCK_STREAM
                            ? listen(fd, BACKLOG) < 0
                            : setsockopt(fd, SOL_SOCKET, SO_DETACH_FILTER, &unused, sizeof(unused)) < 0)
                        return -errno;
        }
        r->open = true;
        return 0;
}

static void restart_after(struct dns_relay *r, uint64_t delay)
{
        if (sd_event_source_set_time_relative(r->restart, delay) >= 0)
                (void)sd_event_source_set_enabled(r->restart, SD_EVENT_ONESHOT);
}

/* It never says anything: it has died, or talks nonsense. */
static void on_end(void *userdata, int error, const char *text, size_t size)
{
        struct dns_relay *r = userdata;
        uint64_t now = 0;

        (void)text;
        (void)size;
        r->process = worker_process_end(r->process);
        (void)sd_event_now(r->event, CLOCK_MONOTONIC, &now);
        r->error = error < 0 ? error : -EBADMSG;
        restart_after(r, now - r->started_at < SHORT_LIFE ? RETRY : 0);
        r->died(r->userdata, r->error);
}

static void start(struct dns_relay *r)
{
        struct launch what = {.kind = LAUNCH_RELAY};
        int fds[LAUNCH_SOCKETS];
        size_t n = 0;

        for (size_t i = 0; i < ELEMENTSOF(r->addresses); i++)
                if (r->addresses[i][0])
                        what.arguments[n++] = r->addresses[i];
        for (size_t i = 0; i < LAUNCH_SOCKETS; i++)
                if (r->sockets[i] >= 0)
                        fds[what.n_fds++] = r->sockets[i];
        what.fds = fds;
        (void)sd_event_now(r->event, CLOCK_MONOTONIC, &r->started_at);
        r->error = worker_process_start(r->event, r->launcher, &what, on_end, r, &r->process);
        if (r->error < 0)
                restart_after(r, RETRY);
}

int dns_relay_run(struct dns_relay *r, const struct destinations *d)
{
        char addresses[2][INET6_ADDRSTRLEN] = {"", ""};
        int e = dns_relay_open(r);

        if (e < 0)
                return e;
        if (d->has_dns4)
                (void)inet_ntop(AF_INET, d->dns4, addresses[0], sizeof(addresses[0]));
        if (d->has_dns6)
                (void)inet_ntop(AF_INET6, d->dns6, addresses[1], sizeof(addresses[1]));
        if (r->running && strcmp(addresses[0], r->addresses[0]) == 0 &&
            strcmp(addresses[1], r->addresses[1]) == 0)
                return r->error;
        memcpy(r->addresses, addresses, sizeof(addresses));
        r->process = worker_process_end(r->process);
        r->running = true;
        r->error = 0;
        restart_after(r, 0);
        return 0;
}

void dns_relay_stop(struct dns_relay *r)
{
        r->running = false;
        r->error = 0;
        r->process = worker_process_end(r->process);
        (void)sd_event_source_set_enabled(r->restart, SD_EVENT_OFF);
        for (size_t i = 0; r->open && i < LAUNCH_SOCKETS; i++) {
                if (r->sockets[i] < 0)
                        continue;
                if (relay_listeners[i].type == SOCK_STREAM)
                        (void)shutdown(r->sockets[i], SHUT_RDWR);
                else
                        (void)relay_port_refuse(r->sockets[i]);
        }
        r->open = false;
}

struct dns_relay *dns_relay_free(struct dns_relay *r)
{
        if (!r)
                return NULL;
        worker_process_end(r->process);
        relay_port_close(r->sockets);
        sd_event_source_disable_unref(r->restart);
        sd_event_unref(r->event);
        free(r);
        return NULL;
}
