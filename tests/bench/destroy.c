// SPDX-License-Identifier: GPL-2.0-or-later
/* The least that cuts off a user's UDP sockets: the kernel lists all, a thousand are destroyed with each
 * send.
 *
 *   destroy once UID    lists them once, and misses what the list missed
 *   destroy UID         until a list finds none */
#include <libmnl/libmnl.h>
#include <linux/inet_diag.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define BATCH 1000

struct found {
        uint32_t uid;
        struct inet_diag_sockid *ids;
        size_t n, capacity;
};

static struct nlmsghdr *request(void *buffer, uint16_t type, uint16_t flags, struct inet_diag_req_v2 **ret)
{
        struct nlmsghdr *h = mnl_nlmsg_put_header(buffer);

        h->nlmsg_type = type;
        h->nlmsg_flags = NLM_F_REQUEST | flags;
        *ret = mnl_nlmsg_put_extra_header(h, sizeof(**ret));
        (*ret)->sdiag_family = AF_INET;
        (*ret)->sdiag_protocol = IPPROTO_UDP;
        (*ret)->idiag_states = UINT32_MAX;
        return h;
}

static int take(const struct nlmsghdr *h, void *userdata)
{
        const struct inet_diag_msg *m = mnl_nlmsg_get_payload(h);
        struct found *f = userdata;

        if (m->idiag_uid != f->uid || m->id.idiag_dport == 0)
                return MNL_CB_OK;
        if (f->n == f->capacity) {
                f->capacity = 2 * f->capacity + 1024;
                f->ids = reallocarray(f->ids, f->capacity, sizeof(*f->ids));
                if (!f->ids)
                        abort();
        }
        f->ids[f->n++] = m->id;
        return MNL_CB_OK;
}

static int list(struct mnl_socket *s, struct found *f)
{
        char buffer[32768];
        struct inet_diag_req_v2 *r;
        struct nlmsghdr *h = request(buffer, SOCK_DIAG_BY_FAMILY, NLM_F_DUMP, &r);
        int more = mnl_socket_sendto(s, h, h->nlmsg_len) < 0 ? -1 : MNL_CB_OK;

        while (more > MNL_CB_STOP) {
                ssize_t n = mnl_socket_recvfrom(s, buffer, sizeof(buffer));

                more = n < 0 ? -1 : mnl_cb_run(buffer, (size_t)n, 0, 0, take, f);
        }
        return more;
}

/* The last of a send is acknowledged: then all are done. */
static int destroy(struct mnl_socket *s, const struct inet_diag_sockid *ids, size_t n)
{
        static char buffer[BATCH * 128];
        char answer[8192];
        size_t used = 0;

        for (size_t i = 0; i < n; i++) {
                struct inet_diag_req_v2 *r;
                struct nlmsghdr *h = request(buffer + used, SOCK_DESTROY, i + 1 == n ? NLM_F_ACK : 0, &r);

                r->id = ids[i];
                used += MNL_ALIGN(h->nlmsg_len);
        }
        if (mnl_socket_sendto(s, buffer, used) < 0)
                return -1;
        return mnl_socket_recvfrom(s, answer, sizeof(answer)) < 0 ? -1 : 0;
}

int main(int argc, char **argv)
{
        struct mnl_socket *s = mnl_socket_open(NETLINK_SOCK_DIAG);
        struct found f = {0};
        bool once = argc == 3 && strcmp(argv[1], "once") == 0;
        int r;

        if ((argc != 2 && !once) || !s || mnl_socket_bind(s, 0, MNL_SOCKET_AUTOPID) < 0) {
                fprintf(stderr, "usage: destroy [once] UID (as root)\n");
                return 2;
        }
        f.uid = (uint32_t)strtoul(argv[argc - 1], NULL, 10);
        do {
                f.n = 0;
                r = list(s, &f);
                for (size_t i = 0; r >= 0 && i < f.n; i += BATCH)
                        r = destroy(s, f.ids + i, f.n - i < BATCH ? f.n - i : BATCH);
        } while (r >= 0 && f.n > 0 && !once);
        if (r < 0)
                perror("sock_diag");
        return r < 0;
}
