// SPDX-License-Identifier: GPL-2.0-or-later
#include "dns-relay.h"
#include "worker-process.h"
#include "worker.h"
#include <arpa/inet.h>
#include <errno.h>
#include <linux/filter.h>
#include <string.h>
#include <sys/socket.h>

/* A port must be free four times over: another one is tried this often. */
#define PORT_ATTEMPTS 64
#define BACKLOG 64
/* A process that did not last that long is started again only after it, microseconds. */
#define SHORT_LIFE 1000000
#define RETRY 1000000

static const struct listener {
        int family, type;
} listeners[] = {
        {AF_INET, SOCK_DGRAM}, {AF_INET6, SOCK_DGRAM}, {AF_INET, SOCK_STREAM}, {AF_INET6, SOCK_STREAM}};

struct dns_relay {
        sd_event *event;
        char *executable;
        int sockets[ELEMENTSOF(listeners)]; /* -1: this machine has no such family */
        uint16_t port;
        bool open;
        char addresses[2][INET6_ADDRSTRLEN]; /* of the process; empty: none */
        bool running;                        /* there should be a process */
        struct worker_process *process;
        struct worker_graveyard graveyard;
        sd_event_source *restart;
        dns_relay_died_t died;
        void *userdata;
        uint64_t started_at;
        int error;
};

static socklen_t loopback_address(int family, uint16_t port, struct sockaddr_storage *ret)
{
        *ret = (struct sockaddr_storage){.ss_family = (sa_family_t)family};
        if (family == AF_INET) {
                struct sockaddr_in *in = (struct sockaddr_in *)ret;

                in->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
                in->sin_port = htons(port);
                return sizeof(*in);
        }
        ((struct sockaddr_in6 *)ret)->sin6_addr = in6addr_loopback;
        ((struct sockaddr_in6 *)ret)->sin6_port = htons(port);
        return sizeof(struct sockaddr_in6);
}

/* Nothing is queued at a port that nobody serves: it would be forwarded when somebody does. */
static int refuse_datagrams(int fd)
{
        struct sock_filter nothing = BPF_STMT(BPF_RET | BPF_K, 0);
        const struct sock_fprog program = {.len = 1, .filter = &nothing};
        char byte;

        if (setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program)) < 0)
                return -errno;
        while (recv(fd, &byte, sizeof(byte), MSG_DONTWAIT) >= 0)
                ;
        return 0;
}

static int prepare(int fd, const struct listener *l)
{
        const int on = 1;

        /* Not even where route_localnet lets packets for the loopback in. Kernels before 5.7 want a
         * capability for it that we do not have; for ::1 no kernel lets any in, and bound like this it could
         * not answer to the machine's other addresses. */
        if (l->family == AF_INET)
                (void)setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, "lo", sizeof("lo"));
        /* At boot the loopback may have no address yet. */
        if (setsockopt(fd, l->family == AF_INET ? IPPROTO_IP : IPPROTO_IPV6,
                       l->family == AF_INET ? IP_FREEBIND : IPV6_FREEBIND, &on, sizeof(on)) < 0)
                return -errno;
        if (l->family == AF_INET6 && setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on)) < 0)
                return -errno;
        if (l->type == SOCK_DGRAM)
                return refuse_datagrams(fd);
        /* Connections that an earlier daemon's process left behind are not in the way. */
        return setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0 ? -errno : 0;
}

/* *PORT 0: one of the kernel's choice, which it is then. */
static int bind_one(const struct listener *l, uint16_t *port, int *ret)
{
        struct sockaddr_storage address;
        socklen_t length = loopback_address(l->family, *port, &address);
        _cleanup_close_ int fd = -1;
        int r = socket(l->family, l->type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

        if (r < 0)
                return -errno;
        fd = r = worker_descriptor_move(r);
        if (r >= 0)
                r = prepare(fd, l);
        if (r < 0)
                return r;
        if (bind(fd, (struct sockaddr *)&address, length) < 0 ||
            getsockname(fd, (struct sockaddr *)&address, &length) < 0)
                return -errno;
        *port = ntohs(l->family == AF_INET ? ((struct sockaddr_in *)&address)->sin_port
                                           : ((struct sockaddr_in6 *)&address)->sin6_port);
        *ret = TAKE_FD(fd);
        return 0;
}

static void close_sockets(struct dns_relay *r)
{
        for (size_t i = 0; i < ELEMENTSOF(listeners); i++)
                if (r->sockets[i] >= 0)
                        close(TAKE_FD(r->sockets[i]));
}

static int take_port(struct dns_relay *r, uint16_t port)
{
        for (size_t i = 0; i < ELEMENTSOF(listeners); i++) {
                int e = bind_one(&listeners[i], &port, &r->sockets[i]);

                if (e < 0 && e != -EAFNOSUPPORT) {
                        close_sockets(r);
                        return e;
                }
        }
        if (port == 0)
                return -EAFNOSUPPORT;
        r->port = port;
        return 0;
}

static int take_some_port(struct dns_relay *r, uint16_t preferred)
{
        int e = preferred > 0 ? take_port(r, preferred) : -EADDRINUSE;

        for (unsigned i = 0; e == -EADDRINUSE && i < PORT_ATTEMPTS; i++)
                e = take_port(r, 0);
        return e;
}

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

int dns_relay_new(sd_event *event, const char *executable, uint16_t preferred, dns_relay_died_t died,
                  void *userdata, struct dns_relay **ret)
{
        _cleanup_(dns_relay_freep) struct dns_relay *r = calloc(1, sizeof(*r));
        int e;

        if (!r)
                return -ENOMEM;
        for (size_t i = 0; i < ELEMENTSOF(listeners); i++)
                r->sockets[i] = -1;
        r->event = sd_event_ref(event);
        r->died = died;
        r->userdata = userdata;
        r->executable = strdup(executable);
        if (!r->executable)
                return -ENOMEM;
        e = take_some_port(r, preferred);
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

        for (size_t i = 0; !r->open && i < ELEMENTSOF(listeners); i++) {
                int fd = r->sockets[i];

                if (fd < 0)
                        continue;
                if (listeners[i].type == SOCK_STREAM
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
        char *argv[] = {r->executable, (char *)DNS_RELAY_ARGUMENT, NULL, NULL, NULL};
        struct worker_program program = {.argv = argv};
        int fds[ELEMENTSOF(listeners)];
        size_t n = 2;

        _Static_assert(ELEMENTSOF(listeners) <= WORKER_FDS_MAX, "descriptors of a worker");
        for (size_t i = 0; i < ELEMENTSOF(r->addresses); i++)
                if (r->addresses[i][0])
                        argv[n++] = r->addresses[i];
        for (size_t i = 0; i < ELEMENTSOF(listeners); i++)
                if (r->sockets[i] >= 0)
                        fds[program.n_fds++] = r->sockets[i];
        program.fds = fds;
        (void)sd_event_now(r->event, CLOCK_MONOTONIC, &r->started_at);
        r->error = worker_process_start(r->event, &program, &r->graveyard, on_end, r, &r->process);
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
        for (size_t i = 0; r->open && i < ELEMENTSOF(listeners); i++) {
                if (r->sockets[i] < 0)
                        continue;
                if (listeners[i].type == SOCK_STREAM)
                        (void)shutdown(r->sockets[i], SHUT_RDWR);
                else
                        (void)refuse_datagrams(r->sockets[i]);
        }
        r->open = false;
}

struct dns_relay *dns_relay_free(struct dns_relay *r)
{
        if (!r)
                return NULL;
        worker_process_end(r->process);
        worker_graveyard_clear(&r->graveyard);
        close_sockets(r);
        sd_event_source_disable_unref(r->restart);
        sd_event_unref(r->event);
        free(r->executable);
        free(r);
        return NULL;
}
