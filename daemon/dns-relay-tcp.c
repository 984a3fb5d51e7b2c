// SPDX-License-Identifier: GPL-2.0-or-later
#include "cleanup.h"
#include "dns-relay-internal.h"
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>

/* Connections at one time. */
#define PAIRS 64
/* How long one may be silent, milliseconds; and how long when another one waits for the place. */
#define PATIENCE 30000
#define PATIENCE_WHEN_FULL 3000
#define BUFFER 8192
/* Others are to have their turn. */
#define MOVES_PER_TURN 16
#define ACCEPTS_PER_TURN 16

enum side {
        CLIENT,
        RESOLVER,
        SIDES,
};

/* What one side has said and the other has not taken yet. */
struct flow {
        uint8_t data[BUFFER];
        size_t at, end;
        bool ended;  /* nothing more will come */
        bool closed; /* … and the other side knows */
};

struct pair {
        struct relay_tcp *tcp;
        struct relay_source sources[SIDES]; /* the resolver's socket is kept for the next one */
        struct flow flows[SIDES];           /* from */
        uint64_t since;                     /* something moved last */
};

struct relay_tcp {
        int epoll;
        const struct relay_address *to;
        struct relay_source listener;
        struct pair pairs[PAIRS];
};

static bool is_busy(const struct pair *p)
{
        return p->sources[CLIENT].fd >= 0;
}

static int release(struct pair *p)
{
        int epoll = p->tcp->epoll, r = relay_watch(epoll, &p->sources[CLIENT], 0);

        if (r == 0)
                r = relay_watch(epoll, &p->sources[RESOLVER], 0);
        close(TAKE_FD(p->sources[CLIENT].fd));
        return r < 0 ? r : relay_disconnect(p->sources[RESOLVER].fd);
}

static bool is_empty(const struct flow *f)
{
        return f->at == f->end;
}

/* 1: something moved, 0: nothing now, -errno: this connection has broken. */
static int fill(struct flow *f, int from)
{
        ssize_t n;

        if (!is_empty(f) || f->ended)
                return 0;
        n = recv(from, f->data, sizeof(f->data), MSG_DONTWAIT);
        if (n < 0)
                return errno == EAGAIN || errno == EINTR ? 0 : -errno;
        f->at = 0;
        f->end = (size_t)n;
        f->ended = n == 0;
        return 1;
}

static int empty(struct flow *f, int to)
{
        ssize_t n;

        if (is_empty(f) && (!f->ended || f->closed))
                return 0;
        if (is_empty(f)) {
                if (shutdown(to, SHUT_WR) < 0)
                        return -errno;
                f->closed = true;
                return 1;
        }
        n = send(to, f->data + f->at, f->end - f->at, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n < 0)
                return errno == EAGAIN || errno == EINTR ? 0 : -errno;
        f->at += (size_t)n;
        return 1;
}

static int move(struct pair *p, enum side from)
{
        struct flow *f = &p->flows[from];
        int r = fill(f, p->sources[from].fd), s = r < 0 ? r : empty(f, p->sources[SIDES - 1 - from].fd);

        return s < 0 ? s : r || s;
}

/* What SIDE is waited for: to say something, or to take something. */
static uint32_t wanted(const struct pair *p, enum side side)
{
        const struct flow *from = &p->flows[side], *to = &p->flows[SIDES - 1 - side];

        return (is_empty(from) && !from->ended ? (uint32_t)EPOLLIN : 0) |
               (!is_empty(to) ? (uint32_t)EPOLLOUT : 0);
}

static int watch(struct pair *p)
{
        int r = relay_watch(p->tcp->epoll, &p->sources[CLIENT], wanted(p, CLIENT));

        return r < 0 ? r : relay_watch(p->tcp->epoll, &p->sources[RESOLVER], wanted(p, RESOLVER));
}

static int on_ready(void *owner, uint32_t events)
{
        struct pair *p = owner;
        int moved = 1;

        (void)events;
        for (unsigned i = 0; moved > 0 && i < MOVES_PER_TURN; i++) {
                int there = move(p, CLIENT), back = there < 0 ? there : move(p, RESOLVER);

                moved = back < 0 ? back : there || back;
                if (moved > 0)
                        p->since = relay_now();
        }
        if (moved < 0 || (p->flows[CLIENT].closed && p->flows[RESOLVER].closed))
                return release(p);
        return watch(p);
}

/* A free place; or the one that has been silent longest, if that is long; or NULL. */
static struct pair *find_place(struct relay_tcp *t, uint64_t now)
{
        struct pair *oldest = &t->pairs[0];

        for (size_t i = 0; i < PAIRS; i++) {
                if (!is_busy(&t->pairs[i]))
                        return &t->pairs[i];
                if (t->pairs[i].since < oldest->since)
                        oldest = &t->pairs[i];
        }
        return now - oldest->since >= PATIENCE_WHEN_FULL ? oldest : NULL;
}

static int begin(struct pair *p, int client, uint64_t now)
{
        const struct relay_address *to = p->tcp->to;
        const int on = 1;

        for (size_t i = 0; i < SIDES; i++)
                p->flows[i].at = p->flows[i].end = p->flows[i].ended = p->flows[i].closed = 0;
        p->sources[CLIENT].fd = client;
        p->since = now;
        (void)setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
        if (connect(p->sources[RESOLVER].fd, (const struct sockaddr *)&to->address, to->length) < 0 &&
            errno != EINPROGRESS)
                return release(p);
        return watch(p);
}

static int on_connection(void *owner, uint32_t events)
{
        struct relay_tcp *t = owner;
        uint64_t now = relay_now();
        int r = 0;

        (void)events;
        for (unsigned i = 0; r == 0 && i < ACCEPTS_PER_TURN; i++) {
                struct pair *p = find_place(t, now);
                int client;

                if (!p)
                        return relay_watch(t->epoll, &t->listener, 0); /* until one is free */
                client = accept4(t->listener.fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
                if (client < 0)
                        return 0;
                r = is_busy(p) ? release(p) : 0;
                if (r == 0)
                        r = begin(p, client, now);
        }
        return r;
}

int relay_tcp_expire(struct relay_tcp *t, uint64_t now, bool *ret_busy)
{
        int r = 0;

        for (size_t i = 0; r == 0 && i < PAIRS; i++) {
                struct pair *p = &t->pairs[i];

                if (is_busy(p) && now - p->since >= PATIENCE)
                        r = release(p);
                if (is_busy(p))
                        *ret_busy = true;
        }
        if (r == 0 && t->listener.events == 0 && find_place(t, now))
                r = relay_watch(t->epoll, &t->listener, EPOLLIN);
        return r;
}

int relay_tcp_new(int epoll, int listener, const struct relay_address *to, struct relay_tcp **ret)
{
        _cleanup_free_ struct relay_tcp *t = calloc(1, sizeof(*t));
        int r = t ? 0 : -ENOMEM;
        const int on = 1;

        for (size_t i = 0; r == 0 && i < PAIRS; i++) {
                struct pair *p = &t->pairs[i];
                int fd = relay_socket(to, SOCK_STREAM);

                if (fd >= 0)
                        (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
                p->tcp = t;
                p->sources[CLIENT] = (struct relay_source){.fd = -1, .ready = on_ready, .owner = p};
                p->sources[RESOLVER] = (struct relay_source){.fd = fd, .ready = on_ready, .owner = p};
                r = fd < 0 ? fd : 0;
        }
        if (r < 0)
                return r;
        t->epoll = epoll;
        t->to = to;
        t->listener = (struct relay_source){.fd = listener, .ready = on_connection, .owner = t};
        r = relay_watch(epoll, &t->listener, EPOLLIN);
        if (r == 0)
                *ret = TAKE_PTR(t);
        return r;
}
