/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Which sockets are offered, and the rounds of dumping and destroying. */

#include "sever-internal.h"
#include <errno.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>

/* Acks of a whole batch, and a dump under way, must find room. */
#define SOCKET_BUFFER (16 << 20)
/* The kernel answers before a send returns: what is not there then is lost. */
#define ANSWER_USEC (100 * 1000)

/* All that can still send or receive data of a connection. */
#define CONNECTION_STATES                                                                        \
        (1U << TCP_ESTABLISHED | 1U << TCP_SYN_SENT | 1U << TCP_SYN_RECV | 1U << TCP_FIN_WAIT1 | \
         1U << TCP_FIN_WAIT2 | 1U << TCP_CLOSE_WAIT | 1U << TCP_LAST_ACK | 1U << TCP_CLOSING |   \
         1U << STATE_NEW_SYN_RECV)
/* A datagram socket with a peer is "established"; without one each of its packets is judged by the rules. */
#define DATAGRAM_STATES (1U << TCP_ESTABLISHED)

/* What is listed by one dump; TCP by one for both families. */
static const struct {
        int family, protocol;
        uint32_t states;
} kinds[] = {
        {AF_UNSPEC, IPPROTO_TCP, CONNECTION_STATES},  {AF_INET, IPPROTO_UDP, DATAGRAM_STATES},
        {AF_INET6, IPPROTO_UDP, DATAGRAM_STATES},     {AF_INET, IPPROTO_UDPLITE, DATAGRAM_STATES},
        {AF_INET6, IPPROTO_UDPLITE, DATAGRAM_STATES}, {AF_INET, IPPROTO_RAW, DATAGRAM_STATES},
        {AF_INET6, IPPROTO_RAW, DATAGRAM_STATES},
};

/* ---- opening ---- */

static int set_socket_options(struct mnl_socket *nl)
{
        int fd = mnl_socket_get_fd(nl), size = SOCKET_BUFFER, yes = 1;
        struct timeval patience = {.tv_usec = ANSWER_USEC};

        if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size)) < 0)
                (void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
        if (setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size)) < 0)
                (void)setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
        (void)setsockopt(fd, SOL_NETLINK, NETLINK_CAP_ACK, &yes, sizeof(yes)); /* smaller acks */
        return setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)) < 0 ? -errno : 0;
}

static int ignore_socket(void *userdata, const struct diag_socket *key, const struct inet_diag_msg *msg,
                         uint64_t cgroup)
{
        (void)userdata;
        (void)key;
        (void)msg;
        (void)cgroup;
        return 0;
}

/* -ENOENT of the second question means "no such socket" only after the first has shown that TCP is known. */
static int probe(struct sever *s)
{
        int r = diag_dump(s, AF_INET, IPPROTO_TCP, 0 /* no state: lists nothing */, ignore_socket, NULL);

        if (r < 0)
                return r == -ENOENT ? -EOPNOTSUPP : r;
        r = diag_probe_destroy(s);
        if (r == -EOPNOTSUPP || r == -EINVAL)
                return 0;
        if (r < 0 && r != -ENOENT)
                return r;
        s->can_destroy = true;
        return 0;
}

int sever_open(struct sever **ret)
{
        _cleanup_(sever_closep) struct sever *s = calloc(1, sizeof(*s));
        int r;

        if (!s)
                return -ENOMEM;
        s->buffer = malloc(DIAG_BUFFER_SIZE);
        if (!s->buffer)
                return -ENOMEM;
        s->nl = mnl_socket_open2(NETLINK_SOCK_DIAG, SOCK_CLOEXEC);
        if (!s->nl)
                return errno == EPROTONOSUPPORT ? -EOPNOTSUPP : -errno;
        if (mnl_socket_bind(s->nl, 0, MNL_SOCKET_AUTOPID) < 0)
                return -errno;
        r = set_socket_options(s->nl);
        if (r == 0)
                r = probe(s);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(s);
        return 0;
}

bool sever_can_destroy(const struct sever *s)
{
        return s && s->can_destroy;
}

struct sever *sever_close(struct sever *s)
{
        if (!s)
                return NULL;
        if (s->nl)
                mnl_socket_close(s->nl);
        free(s->buffer);
        free(s);
        return NULL;
}

/* ---- from the kernel's words to ours ---- */

static bool is_mapped(const uint32_t addr[4])
{
        return addr[0] == 0 && addr[1] == 0 && addr[2] == htonl(0xffff);
}

static void copy_address(int family, bool mapped, const uint32_t from[4], uint8_t to[16])
{
        memcpy(to, mapped ? from + 3 : from, family == AF_INET ? 4 : 16);
}

static void to_socket(const struct diag_socket *key, const struct inet_diag_msg *msg, uint64_t cgroup,
                      const struct own_addresses *own, struct sever_socket *ret)
{
        bool mapped = key->family == AF_INET6 && is_mapped(msg->id.idiag_dst);
        struct sever_socket s = {
                .family = mapped ? AF_INET : key->family,
                .protocol = key->protocol,
                .state = msg->idiag_state,
                .uid = msg->idiag_uid,
                .orphan = msg->idiag_inode == 0,
                .sport = ntohs(msg->id.idiag_sport),
                .dport = ntohs(msg->id.idiag_dport),
                .cgroup = cgroup,
        };

        copy_address(s.family, mapped, msg->id.idiag_src, s.src);
        copy_address(s.family, mapped, msg->id.idiag_dst, s.dst);
        s.local = own_addresses_contain(own, s.family, s.dst);
        *ret = s;
}

static bool has_peer(const struct inet_diag_msg *msg)
{
        const uint32_t *dst = msg->id.idiag_dst;

        if (msg->idiag_family == AF_INET || is_mapped(dst))
                return dst[msg->idiag_family == AF_INET ? 0 : 3] != 0;
        return (dst[0] | dst[1] | dst[2] | dst[3]) != 0;
}

/* ---- choosing ---- */

struct chosen {
        struct own_addresses own;
        bool knows_own; /* not before a socket is found that has a peer */
        sever_wants_t wants;
        void *userdata;
        struct diag_socket *items;
        size_t n, capacity;
        bool done[ELEMENTSOF(kinds)]; /* a dump has found none */
};

static void chosen_clear(struct chosen *c)
{
        own_addresses_clear(&c->own);
        free(c->items);
        c->items = NULL;
        c->n = c->capacity = 0;
}

static int know_own(struct chosen *c)
{
        int r = c->knows_own ? 0 : own_addresses_read(&c->own);

        c->knows_own |= r == 0;
        return r;
}

static int choose(void *userdata, const struct diag_socket *key, const struct inet_diag_msg *msg,
                  uint64_t cgroup)
{
        struct chosen *c = userdata;
        struct sever_socket s;
        int r;

        if (!has_peer(msg))
                return 0;
        r = know_own(c);
        if (r < 0)
                return r;
        to_socket(key, msg, cgroup, &c->own, &s);
        if (!c->wants(&s, c->userdata))
                return 0;
        if (c->n == c->capacity) {
                size_t capacity = c->capacity ? c->capacity * 2 : 256;
                struct diag_socket *more = reallocarray(c->items, capacity, sizeof(*more));

                if (!more)
                        return -ENOMEM;
                c->items = more;
                c->capacity = capacity;
        }
        c->items[c->n++] = *key;
        return 0;
}

static int dump_kind(struct sever *s, size_t kind, struct chosen *c)
{
        return kinds[kind].family == AF_UNSPEC ? diag_dump_tcp(s, kinds[kind].states, choose, c)
                                               : diag_dump(s, kinds[kind].family, kinds[kind].protocol,
                                                           kinds[kind].states, choose, c);
}

/* What an interrupted dump had found is forgotten before the next. The next round sees what this one missed.
 */
static int choose_kind(struct sever *s, size_t kind, struct chosen *c)
{
        size_t before = c->n;
        int r = -EAGAIN;

        for (unsigned tries = 0; diag_may_pass(r) && tries < DUMP_TRIES; tries++) {
                c->n = before;
                r = dump_kind(s, kind, c);
        }
        c->done[kind] = c->n == before && (r == 0 || r == -ENOENT);
        return r == -EAGAIN || r == -ENOENT ? 0 : r;
}

static int choose_all(struct sever *s, struct chosen *c)
{
        int r = 0;

        c->n = 0;
        for (size_t kind = 0; r == 0 && kind < ELEMENTSOF(kinds); kind++)
                if (!c->done[kind])
                        r = choose_kind(s, kind, c);
        return r;
}

/* ---- the rounds ---- */

static int compare_cookies(const void *a, const void *b)
{
        const struct diag_socket *x = a, *y = b;

        return memcmp(x->id.idiag_cookie, y->id.idiag_cookie, sizeof(x->id.idiag_cookie));
}

/* Sockets acknowledged as destroyed in the round before. Kernels before 6.11 only empty an orphan's queue and
 * keep the socket: it is counted once, and not waited for. */
struct destroyed {
        struct diag_socket *items; /* sorted by cookie as soon as they are asked for */
        size_t n;
};

static bool counted_before(const struct destroyed *d, const struct diag_socket *key)
{
        return d->n > 0 && bsearch(key, d->items, d->n, sizeof(*key), compare_cookies) != NULL;
}

/* Takes the answers into RET; C's array is cut down to what was destroyed and becomes BEFORE. Returns how
 * many sockets went away that were still there. */
static size_t take_stock(struct chosen *c, const int *results, struct destroyed *before,
                         struct sever_result *ret)
{
        size_t acknowledged = 0, gone = 0, new = 0;

        ret->left = 0;
        if (before->n > 0)
                qsort(before->items, before->n, sizeof(*before->items), compare_cookies);
        for (size_t i = 0; i < c->n; i++) {
                if (results[i] == -ENOENT || results[i] == -EAGAIN) {
                        gone++; /* or its ack was lost: the next dump knows */
                } else if (results[i] < 0) {
                        ret->left++;
                } else {
                        new += !counted_before(before, &c->items[i]);
                        c->items[acknowledged++] = c->items[i];
                }
        }
        ret->destroyed += new;
        free(before->items);
        before->items = TAKE_PTR(c->items);
        before->n = acknowledged;
        c->n = c->capacity = 0;
        return new + gone;
}

/* One dump and the destruction of what it found. 1: there may be more, 0: none was found or none can be
 * destroyed, -errno. */
static int sever_round(struct sever *s, struct chosen *c, struct destroyed *before, struct sever_result *ret)
{
        _cleanup_free_ int *results = NULL;
        size_t effect;
        int r;

        r = choose_all(s, c);
        if (r < 0)
                return r;
        ret->rounds++;
        ret->left = c->n;
        if (c->n == 0)
                return 0;
        results = calloc(c->n, sizeof(*results));
        if (!results)
                return -ENOMEM;
        r = diag_destroy(s, c->items, c->n, results);
        effect = take_stock(c, results, before, ret);
        return r < 0 ? r : effect > 0;
}

int sever_run(struct sever *s, unsigned max_rounds, sever_wants_t wants, void *userdata,
              struct sever_result *ret)
{
        _cleanup_(chosen_clear) struct chosen c = {.wants = wants, .userdata = userdata};
        struct destroyed before = {0};
        int r = 1;

        *ret = (struct sever_result){0};
        while (r > 0 && ret->rounds < max_rounds)
                r = sever_round(s, &c, &before, ret);
        free(before.items);
        return r < 0 ? r : 0;
}

int sever_count(struct sever *s, sever_wants_t wants, void *userdata, uint64_t *ret)
{
        _cleanup_(chosen_clear) struct chosen c = {.wants = wants, .userdata = userdata};
        int r = choose_all(s, &c);

        if (r < 0)
                return r;
        *ret = c.n;
        return 0;
}
