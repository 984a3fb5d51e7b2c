// SPDX-License-Identifier: GPL-2.0-or-later
#include "cleanup.h"
#include "dns-relay-internal.h"
#include <errno.h>
#include <string.h>

/* Questions under way at one time. */
#define QUERIES 128
/* How long an answer is waited for, milliseconds; and how long when another question waits for the place. */
#define PATIENCE 10000
#define PATIENCE_WHEN_FULL 2000
/* Others are to have their turn. */
#define READS_PER_TURN 32
#define DATAGRAM_MAX 65535
#define HEADER 12
/* Questions up to here are kept, to be answered by us if nobody else can. */
#define QUESTION_MAX 512

struct query {
        struct relay_udp *udp;
        struct relay_source source; /* a socket of its own, with a new port for each question */
        bool busy;
        uint64_t since;
        struct relay_address from;
        size_t size;
        uint8_t question[QUESTION_MAX]; /* its first SIZE bytes */
};

struct relay_udp {
        int epoll;
        const struct relay_address *to;
        struct relay_source listener;
        struct query queries[QUERIES];
        uint8_t datagram[DATAGRAM_MAX];
};

static int release(struct query *q)
{
        q->busy = false;
        return relay_watch(q->udp->epoll, &q->source, 0);
}

static void answer(const struct query *q, const void *text, size_t size)
{
        (void)sendto(q->udp->listener.fd, text, size, MSG_DONTWAIT | MSG_NOSIGNAL,
                     (const struct sockaddr *)&q->from.address, q->from.length);
}

/* The question comes back as "server failure": who asked need not wait until he gives up. */
static int fail(struct query *q)
{
        if (q->size <= QUESTION_MAX) {
                q->question[2] |= 0x80;                                  /* an answer */
                q->question[3] = (uint8_t)((q->question[3] & 0x10) | 2); /* SERVFAIL */
                answer(q, q->question, q->size);
        }
        return release(q);
}

/* Only an answer to the very question counts: this place has served others. */
static int on_answer(void *owner, uint32_t events)
{
        struct query *q = owner;
        ssize_t n = recv(q->source.fd, q->udp->datagram, DATAGRAM_MAX, MSG_DONTWAIT);

        (void)events;
        if (n < 0)
                return errno == EAGAIN || errno == EINTR ? 0 : fail(q);
        if (n < HEADER || memcmp(q->udp->datagram, q->question, 2) != 0)
                return 0;
        answer(q, q->udp->datagram, (size_t)n);
        return release(q);
}

/* A free place; or the one that has waited longest, if that is long; or NULL. */
static struct query *find_place(struct relay_udp *u, uint64_t now)
{
        struct query *oldest = &u->queries[0];

        for (size_t i = 0; i < QUERIES; i++) {
                if (!u->queries[i].busy)
                        return &u->queries[i];
                if (u->queries[i].since < oldest->since)
                        oldest = &u->queries[i];
        }
        return now - oldest->since >= PATIENCE_WHEN_FULL ? oldest : NULL;
}

static int ask(struct query *q)
{
        const struct relay_udp *u = q->udp;
        int r = relay_disconnect(q->source.fd);

        if (r < 0)
                return r;
        /* Late answers to what was asked from here before. */
        while (recv(q->source.fd, &(char){0}, 1, MSG_DONTWAIT) >= 0)
                ;
        if (connect(q->source.fd, (const struct sockaddr *)&u->to->address, u->to->length) < 0 ||
            send(q->source.fd, u->datagram, q->size, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
                return fail(q);
        return relay_watch(u->epoll, &q->source, EPOLLIN);
}

/* 1: there may be more, 0: nothing now, -errno. */
static int take_question(struct relay_udp *u, struct query *q, uint64_t now)
{
        ssize_t n;
        int r;

        q->from.length = sizeof(q->from.address);
        n = recvfrom(u->listener.fd, u->datagram, DATAGRAM_MAX, MSG_DONTWAIT,
                     (struct sockaddr *)&q->from.address, &q->from.length);
        if (n < 0)
                return errno == EAGAIN ? 0 : 1;
        if (n < HEADER)
                return 1;
        q->busy = true;
        q->since = now;
        q->size = (size_t)n;
        memcpy(q->question, u->datagram, q->size < QUESTION_MAX ? q->size : QUESTION_MAX);
        r = ask(q);
        return r < 0 ? r : 1;
}

static int on_question(void *owner, uint32_t events)
{
        struct relay_udp *u = owner;
        uint64_t now = relay_now();

        (void)events;
        for (unsigned i = 0; i < READS_PER_TURN; i++) {
                struct query *q = find_place(u, now);
                int r;

                if (!q)
                        return relay_watch(u->epoll, &u->listener, 0); /* until one is free */
                r = q->busy ? release(q) : 0;
                if (r == 0)
                        r = take_question(u, q, now);
                if (r <= 0)
                        return r;
        }
        return 0;
}

int relay_udp_expire(struct relay_udp *u, uint64_t now, bool *ret_busy)
{
        int r = 0;

        for (size_t i = 0; r == 0 && i < QUERIES; i++) {
                struct query *q = &u->queries[i];

                if (q->busy && now - q->since >= PATIENCE)
                        r = release(q);
                if (q->busy)
                        *ret_busy = true;
        }
        if (r == 0 && u->listener.events == 0 && find_place(u, now))
                r = relay_watch(u->epoll, &u->listener, EPOLLIN);
        return r;
}

int relay_udp_new(int epoll, int listener, const struct relay_address *to, struct relay_udp **ret)
{
        _cleanup_free_ struct relay_udp *u = calloc(1, sizeof(*u));
        int r = u ? 0 : -ENOMEM;

        for (size_t i = 0; r == 0 && i < QUERIES; i++) {
                int fd = relay_socket(to, SOCK_DGRAM);

                u->queries[i].udp = u;
                u->queries[i].source =
                        (struct relay_source){.fd = fd, .ready = on_answer, .owner = &u->queries[i]};
                r = fd < 0 ? fd : 0;
        }
        if (r < 0)
                return r;
        u->epoll = epoll;
        u->to = to;
        u->listener = (struct relay_source){.fd = listener, .ready = on_question, .owner = u};
        r = relay_watch(epoll, &u->listener, EPOLLIN);
        if (r == 0)
                *ret = TAKE_PTR(u);
        return r;
}
