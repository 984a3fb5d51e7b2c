/* SPDX-License-Identifier: GPL-2.0-or-later */

/* The private socket. Anybody may connect, so whatever a caller does must cost the daemon little:
 *   - a caller has at most one message on its way in and one question at work. The next is read when the
 *     answer has gone out, so that who does not read is not read either;
 *   - of a user who is no operator one question at a time is at work, over all of his connections, and only a
 *     part of the daemon's time is his (bus-account.h). What is his comes after everything else;
 *   - descriptors are not taken, and a message is not begun that could not be accepted as a whole. */

#include "bus-internal.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <systemd/sd-id128.h>

/* Longest message, bytes: of those who may order (who may list people), and of everybody else. */
#define MESSAGE_MAX_OPERATOR ((size_t)128 * 1024)
#define MESSAGE_MAX ((size_t)16 * 1024)
/* What the kernel keeps of answers that are not read yet, bytes; sd-bus would ask for 8 MiB, which root gets.
 */
#define ANSWERS_KEPT (128 * 1024)
/* Signals that wait for a caller who does not read. */
#define SIGNALS_KEPT 64

struct connection *connection_free(struct connection *c)
{
        struct connection **p = &c->bus->connections;

        while (*p && *p != c)
                p = &(*p)->next;
        if (*p) {
                *p = c->next;
                c->bus->n_connections--;
        }
        sd_event_source_disable_unref(c->io);
        sd_event_source_disable_unref(c->timeout);
        sd_event_source_disable_unref(c->end);
        waiting_forget(c->bus, c->link);
        sd_bus_slot_unref(c->vtable);
        sd_bus_close_unref(c->link);
        if (c->feed >= 0)
                close(c->feed);
        gate_clear(&c->gate);
        free(c->peer.gids);
        free(c);
        return NULL;
}

static int on_end(sd_event_source *source, void *userdata)
{
        struct connection *c = userdata;
        struct bus *b = c->bus;
        const uint32_t uid = c->peer.uid;

        (void)source;
        connection_free(c);
        for (c = b->connections; c; c = c->next) /* one of them may have waited for it */
                if (c->peer.uid == uid) {
                        connection_review(c);
                        break;
                }
        return 0;
}

void connection_end(struct connection *c)
{
        if (c->end)
                return;
        (void)sd_event_source_set_enabled(c->io, SD_EVENT_OFF);
        if (sd_event_add_defer(c->bus->event, &c->end, on_end, c) < 0)
                sd_bus_close(c->link);
}

/* ---- how long it may stay ---- */

static void allow_time(struct connection *c, uint64_t usec)
{
        (void)sd_event_source_set_time_relative(c->timeout, usec);
        (void)sd_event_source_set_enabled(c->timeout, SD_EVENT_ONESHOT);
}

static int on_timeout(sd_event_source *source, uint64_t usec, void *userdata)
{
        struct connection *c = userdata;

        (void)source;
        (void)usec;
        if (c->working)
                allow_time(c, IDLE_TIMEOUT); /* it is us whom it waits for */
        else
                connection_end(c);
        return 0;
}

static void start_idle_clock(struct connection *c)
{
        if (c->peer.uid == 0)
                (void)sd_event_source_set_enabled(c->timeout, SD_EVENT_OFF);
        else
                allow_time(c, IDLE_TIMEOUT);
}

static uint64_t queued(const struct connection *c)
{
        uint64_t n = 0;

        return sd_bus_get_n_queued_write(c->link, &n) < 0 ? 0 : n;
}

/* Who leaves answers unread is given a while, root as well. */
static void check_reading(struct connection *c)
{
        bool stuck = queued(c) > 0;

        if (stuck == c->stuck)
                return;
        c->stuck = stuck;
        if (stuck)
                allow_time(c, READ_TIMEOUT);
        else if (c->asked)
                start_idle_clock(c);
}

/* ---- whose turn it is ---- */

static bool busy(const struct connection *c)
{
        return c->working || queued(c) > 0;
}

static bool another_is_busy(const struct connection *c)
{
        for (const struct connection *o = c->bus->connections; o; o = o->next)
                if (o != c && o->peer.uid == c->peer.uid && busy(o))
                        return true;
        return false;
}

static bool in_debt(const struct connection *c)
{
        return !c->operator&& accounts_wait(&c->bus->accounts, c->peer.uid, bus_now()) > 0;
}

static bool may_ask(const struct connection *c)
{
        if (busy(c) || in_debt(c))
                return false;
        return c->operator|| !c->gate.begun || !another_is_busy(c);
}

static void review(struct connection *c)
{
        uint32_t wanted = may_ask(c) ? EPOLLIN : 0;
        int events = sd_bus_get_events(c->link);

        if (c->end)
                return;
        if (events < 0 || /* nobody keeps a place for what he need not wait for */
            (c->hung_up && (c->waiting || in_debt(c)))) {
                connection_end(c);
                return;
        }
        check_reading(c);
        if (events & EPOLLOUT)
                wanted |= EPOLLOUT;
        /* A hang-up is told again and again: who has hung up is left alone until it is his turn. */
        if (sd_event_source_set_io_events(c->io, wanted) < 0 ||
            sd_event_source_set_enabled(c->io, c->hung_up && !wanted ? SD_EVENT_OFF : SD_EVENT_ON) < 0)
                connection_end(c);
}

void connection_review(struct connection *c)
{
        review(c);
        if (c->operator)
                return;
        for (struct connection *o = c->bus->connections; o; o = o->next)
                if (o != c && o->peer.uid == c->peer.uid)
                        review(o);
}

void connections_review_all(struct bus *b)
{
        for (struct connection *c = b->connections; c; c = c->next)
                review(c);
}

/* Rights may have changed since. */
static void rank(struct connection *c)
{
        c->operator= bus_is_operator(c->bus, &c->peer);
        (void)sd_event_source_set_priority(c->io, c->operator? PRIORITY_OPERATORS : PRIORITY_OTHERS);
}

/* ---- what comes in ---- */

static int run_link(struct connection *c)
{
        uint64_t before = bus_time_used();
        int r;

        do
                r = sd_bus_process(c->link, NULL);
        while (r > 0);
        if (!c->operator)
                bus_charge(c->bus, c->peer.uid, bus_time_used() - before);
        return r;
}

/* The link has read all that came before, so there is room for it. */
static int pass_on(struct connection *c, const void *data, size_t size)
{
        ssize_t n = send(c->feed, data, size, MSG_DONTWAIT | MSG_NOSIGNAL);

        if (n < 0)
                return -errno;
        return (size_t)n < size ? -ENOBUFS : run_link(c);
}

/* Bytes read, 0 if there are none now, or -errno. */
static ssize_t receive(struct connection *c, void *to, size_t size, int flags)
{
        struct iovec iov = {.iov_base = to, .iov_len = size};
        struct msghdr mh = {.msg_iov = &iov, .msg_iovlen = 1};
        ssize_t n = recvmsg(c->fd, &mh, flags | MSG_DONTWAIT);

        if (n < 0)
                return errno == EAGAIN || errno == EINTR ? 0 : -errno;
        if (mh.msg_flags & MSG_CTRUNC)
                return -EPROTO; /* descriptors were sent with it; the kernel has closed them */
        return n == 0 ? -ECONNRESET : n;
}

/* Not a byte beyond its end: that is a message's, and goes another way. */
static int receive_greeting(struct connection *c)
{
        uint8_t data[512];
        ssize_t n = receive(c, data, sizeof(data), MSG_PEEK);
        size_t of_it = 0;
        int r;

        if (n <= 0)
                return (int)n;
        r = gate_greet(&c->gate, data, (size_t)n, &of_it);
        if (r < 0)
                return r;
        n = receive(c, data, of_it, 0);
        return n <= 0 ? (int)n : pass_on(c, data, (size_t)n);
}

static int receive_message(struct connection *c)
{
        size_t size;
        ssize_t n;
        void *to;
        int r = gate_room(&c->gate, &to, &size);

        if (r < 0)
                return r;
        n = receive(c, to, size, 0);
        if (n <= 0)
                return (int)n;
        r = gate_took(&c->gate, (size_t)n, c->operator? MESSAGE_MAX_OPERATOR : MESSAGE_MAX);
        if (r <= 0)
                return r;
        c->asked = true;
        start_idle_clock(c);
        r = pass_on(c, c->gate.message, c->gate.have);
        gate_next(&c->gate);
        return r;
}

static int on_io(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
        struct connection *c = userdata;
        int r = 0;

        (void)source;
        (void)fd;
        if (revents & (EPOLLHUP | EPOLLERR))
                c->hung_up = true;
        if (revents & EPOLLOUT)
                r = run_link(c);
        if (r >= 0 && revents & (EPOLLIN | EPOLLHUP | EPOLLERR) && may_ask(c)) {
                rank(c);
                r = c->gate.begun ? receive_message(c) : receive_greeting(c);
        }
        if (r < 0)
                connection_end(c);
        else
                connection_review(c);
        return 0;
}

/* ---- its beginning ---- */

/* The kernel's word on who is at the other end (unix(7)). Of those who are refused by the thousand no more is
 * asked than this. */
static int peer_owner(int fd, struct ucred *ret)
{
        socklen_t size = sizeof(*ret);

        return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, ret, &size) < 0 ? -errno : 0;
}

/* … with all groups. */
static int peer_credentials(int fd, const struct ucred *owner, struct peer *ret)
{
        socklen_t groups = 0;
        uint32_t *gids;

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
        ret->uid = owner->uid;
        ret->pid = owner->pid;
        ret->n_gids = groups / sizeof(*gids);
        gids[ret->n_gids++] = owner->gid;
        ret->gids = gids;
        return 0;
}

static bool user_has_room(const struct bus *b, uint32_t uid)
{
        size_t of_uid = 0;

        for (const struct connection *c = b->connections; c; c = c->next)
                of_uid += c->peer.uid == uid;
        return uid == 0 || of_uid < CONNECTIONS_PER_UID;
}

static bool has_room(const struct bus *b, const struct connection *c)
{
        size_t kept = CONNECTIONS_FOR_ROOT + (c->operator? 0 : CONNECTIONS_FOR_OPERATORS);

        return b->n_connections < CONNECTIONS_MAX - (c->peer.uid == 0 ? 0 : kept);
}

/* The link reads from the feed and writes to the caller. */
static int set_descriptors(struct connection *c, int fd)
{
        const int room = 2 * (int)MESSAGE_MAX_OPERATOR;
        int feed[2], r;

        if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, feed) < 0)
                return -errno;
        c->feed = feed[0];
        if (setsockopt(c->feed, SOL_SOCKET, SO_SNDBUFFORCE, &room, sizeof(room)) < 0)
                (void)setsockopt(c->feed, SOL_SOCKET, SO_SNDBUF, &room, sizeof(room));
        r = sd_bus_set_fd(c->link, feed[1], fd);
        if (r < 0) {
                close(feed[1]);
                return r;
        }
        c->fd = fd;
        return 0;
}

/* Who is at the other end is known from the socket, so whatever the greeting claims is ignored, which sd-bus
 * calls anonymous. */
static int set_up_link(struct connection *c)
{
        const int kept = ANSWERS_KEPT;
        sd_id128_t id;
        int r = sd_id128_randomize(&id);

        if (r >= 0)
                r = sd_bus_set_server(c->link, 1, id);
        if (r >= 0)
                r = sd_bus_set_anonymous(c->link, 1);
        if (r >= 0)
                r = sd_bus_negotiate_fds(c->link, 0);
        if (r >= 0)
                r = sd_bus_set_sender(c->link, LOCKDOWN_BUS_NAME);
        if (r >= 0)
                r = bus_add_vtable(&c->link, &c->vtable, c->bus);
        if (r >= 0)
                r = sd_bus_start(c->link);
        if (r >= 0 && setsockopt(c->fd, SOL_SOCKET, SO_SNDBUF, &kept, sizeof(kept)) < 0)
                r = -errno;
        return r;
}

static int serve(struct connection *c, int fd)
{
        int r = sd_bus_new(&c->link);

        if (r >= 0)
                r = set_descriptors(c, fd);
        if (r < 0) {
                close(fd);
                return r;
        }
        r = set_up_link(c); /* the fd is the link's from here on */
        if (r >= 0)
                r = sd_event_add_io(c->bus->event, &c->io, c->fd, EPOLLIN, on_io, c);
        if (r >= 0)
                r = sd_event_add_time_relative(c->bus->event, &c->timeout, CLOCK_MONOTONIC, HELLO_TIMEOUT,
                                               100 * 1000, on_timeout, c);
        return r;
}

/* A connection with nothing but its owner, if there is room for it. */
static int let_in(struct bus *b, int fd, struct connection **ret)
{
        struct connection *c;
        struct ucred owner;
        int r = peer_owner(fd, &owner);

        if (r >= 0 && !user_has_room(b, owner.uid))
                r = -EUSERS;
        if (r < 0)
                return r;
        c = calloc(1, sizeof(*c));
        r = c ? peer_credentials(fd, &owner, &c->peer) : -ENOMEM;
        if (r >= 0) {
                c->operator= bus_is_operator(b, &c->peer);
                r = has_room(b, c) ? 0 : -EUSERS;
        }
        if (r < 0) {
                if (c)
                        free(c->peer.gids);
                free(c);
                return r;
        }
        c->feed = -1;
        *ret = c;
        return 0;
}

int connection_new(struct bus *b, int fd)
{
        struct connection *c = NULL;
        uint64_t before;
        int r = let_in(b, fd, &c);

        if (r < 0) {
                close(fd);
                return r;
        }
        before = bus_time_used();
        c->bus = b;
        c->next = b->connections;
        b->connections = c;
        b->n_connections++;
        r = serve(c, fd);
        if (r < 0) {
                connection_free(c);
                return r;
        }
        rank(c);
        if (!c->operator)
                bus_charge(b, c->peer.uid, bus_time_used() - before);
        review(c);
        return 0;
}

struct connection *bus_connection(struct bus *b, sd_bus *link)
{
        for (struct connection *c = b->connections; c; c = c->next)
                if (c->link == link)
                        return c;
        return NULL;
}

void connections_tell_change(struct bus *b, const char *profile, const char *state)
{
        for (struct connection *c = b->connections; c; c = c->next) {
                if (!c->asked || !manager_permits(b->manager, RIGHT_STATUS, &c->peer))
                        continue;
                if (queued(c) > SIGNALS_KEPT ||
                    sd_bus_emit_signal(c->link, LOCKDOWN_BUS_PATH, LOCKDOWN_BUS_INTERFACE, SIGNAL_CHANGED,
                                       "ss", profile, state) < 0)
                        connection_end(c);
                else
                        review(c);
        }
}
