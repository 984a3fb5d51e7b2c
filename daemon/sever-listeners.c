/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Who waits for others on this machine. */

#include "sever-internal.h"
#include <errno.h>
#include <linux/unix_diag.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

struct listeners {
        struct sever_socket *items;
        size_t n, capacity;
};

static int add_listener(void *userdata, const struct diag_socket *key, const struct inet_diag_msg *msg,
                        uint64_t cgroup)
{
        struct listeners *l = userdata;
        struct sever_socket *s;

        if (msg->id.idiag_sport == 0) /* a UDP socket that has sent nothing yet */
                return 0;
        if (l->n == l->capacity) {
                size_t capacity = l->capacity ? l->capacity * 2 : 64;
                struct sever_socket *more = reallocarray(l->items, capacity, sizeof(*more));

                if (!more)
                        return -ENOMEM;
                l->items = more;
                l->capacity = capacity;
        }
        s = &l->items[l->n++];
        *s = (struct sever_socket){.family = key->family,
                                   .protocol = key->protocol,
                                   .state = msg->idiag_state,
                                   .uid = msg->idiag_uid,
                                   .sport = ntohs(msg->id.idiag_sport),
                                   .cgroup = cgroup};
        memcpy(s->src, msg->id.idiag_src, key->family == AF_INET ? 4 : 16);
        return 0;
}

/* TCP's of both families, with AF_UNSPEC: asked for listening sockets alone, the kernel does not even walk
 * through its table of connections. Or one family's of a protocol without connections. */
static int list_family(struct sever *s, int family, uint8_t protocol, struct listeners *l)
{
        size_t before = l->n;
        int r = -EAGAIN;

        for (unsigned tries = 0; diag_may_pass(r) && tries < DUMP_TRIES; tries++) {
                l->n = before;
                r = family == AF_UNSPEC ? diag_dump_tcp(s, 1U << TCP_LISTEN, add_listener, l)
                                        : diag_dump(s, family, protocol, 1U << TCP_CLOSE, add_listener, l);
        }
        return r == -EAGAIN ? 0 : r;
}

int sever_listeners(struct sever *s, uint8_t protocol, struct sever_socket **ret, size_t *ret_n)
{
        struct listeners l = {0};
        int r = list_family(s, protocol == IPPROTO_TCP ? AF_UNSPEC : AF_INET, protocol, &l);

        if (r == 0 && protocol != IPPROTO_TCP)
                r = list_family(s, AF_INET6, protocol, &l);
        if (r < 0) {
                free(l.items);
                return r;
        }
        *ret = l.items;
        *ret_n = l.n;
        return 0;
}

struct unix_dump {
        sever_unix_t found;
        void *userdata;
};

static int unix_item(const struct nlmsghdr *h, void *userdata)
{
        const struct unix_dump *d = userdata;
        char path[sizeof(((struct sockaddr_un *)0)->sun_path) + 1] = "";
        const char *end = (const char *)h + h->nlmsg_len;
        const struct nlattr *a = mnl_nlmsg_get_payload_offset(h, sizeof(struct unix_diag_msg));
        uint32_t uid = UINT32_MAX;

        for (; mnl_attr_ok(a, (int)(end - (const char *)a)); a = mnl_attr_next(a)) {
                size_t length = mnl_attr_get_payload_len(a);

                if (mnl_attr_get_type(a) == UNIX_DIAG_NAME && length < sizeof(path))
                        memcpy(path, mnl_attr_get_payload(a), length); /* empty: an abstract one */
                else if (mnl_attr_get_type(a) == UNIX_DIAG_UID && length == sizeof(uid))
                        uid = mnl_attr_get_u32(a);
        }
        return path[0] ? d->found(d->userdata, path, uid) : 0;
}

int sever_unix_listeners(struct sever *s, sever_unix_t found, void *userdata)
{
        const struct unix_diag_req req = {.sdiag_family = AF_UNIX,
                                          .udiag_states = 1U << TCP_LISTEN,
                                          .udiag_show = UDIAG_SHOW_NAME | UDIAG_SHOW_UID};
        struct unix_dump d = {.found = found, .userdata = userdata};
        int r = diag_dump_with(s, &req, sizeof(req), unix_item, &d);

        return r == -EAGAIN ? 0 : r;
}
