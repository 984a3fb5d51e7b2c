/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Who has a socket: people whom a directory does not enumerate show themselves so. */

#include "sever-internal.h"
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>

/* The kernel keeps no owner with what is half open (TCP_SYN_RECV, NEW_SYN_RECV) or only remembered. */
#define OWNED_STATES (~(1U << TCP_TIME_WAIT | 1U << TCP_SYN_RECV | 1U << STATE_NEW_SYN_RECV))

struct uids {
        uint32_t *items;
        size_t n, capacity;
};

static int compare(const void *a, const void *b)
{
        uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

        return (x > y) - (x < y);
}

static size_t without_doubles(uint32_t *items, size_t n)
{
        size_t kept = 0;

        if (n > 0)
                qsort(items, n, sizeof(*items), compare);
        for (size_t i = 0; i < n; i++)
                if (kept == 0 || items[i] != items[kept - 1])
                        items[kept++] = items[i];
        return kept;
}

/* Fifty thousand sockets have a handful of owners: doubles go before the array grows. */
static int make_room(struct uids *u)
{
        size_t capacity = u->capacity ? u->capacity * 2 : 256;
        uint32_t *more;

        u->n = without_doubles(u->items, u->n);
        if (u->n < u->capacity / 2)
                return 0;
        more = reallocarray(u->items, capacity, sizeof(*more));
        if (!more)
                return -ENOMEM;
        u->items = more;
        u->capacity = capacity;
        return 0;
}

static int note_uid(void *userdata, const struct diag_socket *key, const struct inet_diag_msg *msg,
                    uint64_t cgroup)
{
        struct uids *u = userdata;
        int r = 0;

        (void)key;
        (void)cgroup;
        if (u->n > 0 && u->items[u->n - 1] == msg->idiag_uid)
                return 0;
        if (u->n == u->capacity)
                r = make_room(u);
        if (r < 0)
                return r;
        u->items[u->n++] = msg->idiag_uid;
        return 0;
}

/* A uid missed now is seen the next time. */
static int unless_missed(int r)
{
        return r == -ENOENT || (r != -ENOMEM && diag_may_pass(r)) ? 0 : r;
}

int sever_owner_uids(struct sever *s, uint32_t **ret, size_t *ret_n)
{
        static const int families[] = {AF_INET, AF_INET6};
        static const int protocols[] = {IPPROTO_UDP, IPPROTO_UDPLITE, IPPROTO_RAW};
        struct uids u = {0};
        int r = unless_missed(diag_dump_tcp(s, OWNED_STATES, note_uid, &u));

        for (size_t p = 0; p < ELEMENTSOF(protocols); p++)
                for (size_t f = 0; r == 0 && f < ELEMENTSOF(families); f++)
                        r = unless_missed(
                                diag_dump(s, families[f], protocols[p], OWNED_STATES, note_uid, &u));
        if (r < 0) {
                free(u.items);
                return r;
        }
        *ret_n = without_doubles(u.items, u.n);
        *ret = u.items;
        return 0;
}
