// SPDX-License-Identifier: GPL-2.0-or-later
/* The relay's process: what comes to the sockets it was given goes to port 53 of one address, and back. */
#include "dns-relay-internal.h"
#include "dns-relay.h"
#include "worker.h"
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <string.h>
#include <time.h>

#define RESOLVER_PORT 53
#define EVENTS 64
/* How late what has waited too long may be noticed, milliseconds. */
#define TICK 500

/* No module of anybody's runs here: it may live as long as its order. */
static const struct worker_limits limits = {.files = 1024, .memory = UINT64_C(256) << 20, .oom_score = 0};

struct worker {
        int epoll;
        struct relay_address to4, to6;
        struct relay_source daemon;
        struct relay_udp *udp[WORKER_FDS_MAX];
        struct relay_tcp *tcp[WORKER_FDS_MAX];
        size_t n;
};

uint64_t relay_now(void)
{
        struct timespec t;

        (void)clock_gettime(CLOCK_MONOTONIC, &t);
        return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

int relay_watch(int epoll, struct relay_source *s, uint32_t events)
{
        struct epoll_event e = {.events = events, .data.ptr = s};
        int operation = events == 0 ? EPOLL_CTL_DEL : s->events == 0 ? EPOLL_CTL_ADD : EPOLL_CTL_MOD;

        if (s->events == events)
                return 0;
        if (epoll_ctl(epoll, operation, s->fd, &e) < 0)
                return -errno;
        s->events = events;
        return 0;
}

int relay_socket(const struct relay_address *to, int type)
{
        int fd = socket(to->address.ss_family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

        return fd < 0 ? -errno : fd;
}

int relay_disconnect(int fd)
{
        const struct sockaddr nobody = {.sa_family = AF_UNSPEC};

        return connect(fd, &nobody, sizeof(nobody)) < 0 ? -errno : 0;
}

static int read_address(const char *text, struct worker *w)
{
        struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(RESOLVER_PORT)};
        struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_port = htons(RESOLVER_PORT)};

        if (inet_pton(AF_INET, text, &in.sin_addr) == 1) {
                memcpy(&w->to4.address, &in, sizeof(in));
                w->to4.length = sizeof(in);
        } else if (inet_pton(AF_INET6, text, &in6.sin6_addr) == 1) {
                memcpy(&w->to6.address, &in6, sizeof(in6));
                w->to6.length = sizeof(in6);
        } else {
                return -EINVAL;
        }
        return 0;
}

static int read_addresses(struct worker *w, char *const *addresses, int n)
{
        int r = n > 0 ? 0 : -EINVAL;

        for (int i = 0; r == 0 && i < n; i++)
                r = read_address(addresses[i], w);
        return r;
}

static int socket_option(int fd, int option)
{
        int value;
        socklen_t length = sizeof(value);

        return getsockopt(fd, SOL_SOCKET, option, &value, &length) < 0 ? -errno : value;
}

/* Of the family it was asked in where there is one, else of the other. */
static const struct relay_address *address_for(const struct worker *w, int family)
{
        return w->to6.length == 0 || (family == AF_INET && w->to4.length > 0) ? &w->to4 : &w->to6;
}

static int serve(struct worker *w, int fd)
{
        int family = socket_option(fd, SO_DOMAIN), type = socket_option(fd, SO_TYPE);
        const struct relay_address *to = address_for(w, family);

        if (family < 0 || type < 0)
                return family < 0 ? family : type;
        return type == SOCK_DGRAM ? relay_udp_new(w->epoll, fd, to, &w->udp[w->n])
                                  : relay_tcp_new(w->epoll, fd, to, &w->tcp[w->n]);
}

/* The daemon says nothing: this is its end. */
static int on_daemon(void *owner, uint32_t events)
{
        (void)owner;
        (void)events;
        return -ESHUTDOWN;
}

static int set_up(struct worker *w, char *const *addresses, int n)
{
        int r = read_addresses(w, addresses, n);

        if (r < 0)
                return r;
        w->epoll = epoll_create1(EPOLL_CLOEXEC);
        if (w->epoll < 0)
                return -errno;
        w->daemon = (struct relay_source){.fd = WORKER_FD, .ready = on_daemon};
        r = relay_watch(w->epoll, &w->daemon, EPOLLIN);
        for (; r == 0 && w->n < WORKER_FDS_MAX && socket_option(WORKER_FD + 1 + (int)w->n, SO_TYPE) >= 0;
             w->n++)
                r = serve(w, WORKER_FD + 1 + (int)w->n);
        return r;
}

static int expire(struct worker *w, bool *ret_busy)
{
        uint64_t now = relay_now();
        int r = 0;

        *ret_busy = false;
        for (size_t i = 0; r == 0 && i < w->n; i++)
                r = w->udp[i] ? relay_udp_expire(w->udp[i], now, ret_busy)
                              : relay_tcp_expire(w->tcp[i], now, ret_busy);
        return r;
}

static int turn(struct worker *w)
{
        struct epoll_event events[EVENTS];
        bool busy;
        int n, r = expire(w, &busy);

        if (r < 0)
                return r;
        n = epoll_wait(w->epoll, events, EVENTS, busy ? TICK : -1);
        if (n < 0)
                return errno == EINTR ? 0 : -errno;
        for (int i = 0; r == 0 && i < n; i++) {
                struct relay_source *s = events[i].data.ptr;

                /* What came before it in the list may have ended the watch. */
                if (s->events != 0)
                        r = s->ready(s->owner, events[i].events);
        }
        return r;
}

static int run(struct worker *w, char *const *addresses, int n)
{
        int r = set_up(w, addresses, n);

        if (r == 0)
                r = worker_confine(&limits);
        while (r == 0)
                r = turn(w);
        return r;
}

int dns_relay_worker_run(char *const *addresses, int n)
{
        static struct worker w;
        int r = run(&w, addresses, n);

        if (r == -ESHUTDOWN)
                return EXIT_SUCCESS;
        fprintf(stderr, "The DNS relay gives up: %s\n", strerror(-r));
        return EXIT_FAILURE;
}
