/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "netlink-message.h"

#include <sys/socket.h>

#define TRIES 3

/* The error in an answer; 0 in an acknowledgement. */
static int error_of(const struct nlmsghdr *h)
{
        const struct nlmsgerr *e = mnl_nlmsg_get_payload(h);

        return mnl_nlmsg_get_payload_len(h) < sizeof(e->error) ? -EBADMSG : netlink_error(e->error);
}

/* 1: this was not the answer. */
static int take_answer(const void *buffer, int size, uint32_t sequence, netlink_answer_t answer,
                       void *userdata)
{
        const struct nlmsghdr *h = buffer;
        int left = size;

        for (; netlink_message_ok(h, left); h = mnl_nlmsg_next(h, &left)) {
                if (h->nlmsg_seq != sequence)
                        continue; /* to a question given up */
                if (h->nlmsg_type == NLMSG_ERROR)
                        return error_of(h);
                if (h->nlmsg_type >= NLMSG_MIN_TYPE)
                        return answer(h, userdata);
        }
        return left > 0 ? -EBADMSG : 1;
}

static int ask_once(struct mnl_socket *nl, const struct nlmsghdr *question, netlink_answer_t answer,
                    void *userdata)
{
        _Alignas(struct nlmsghdr) char buffer[8192];
        int r = 1;

        if (mnl_socket_sendto(nl, question, question->nlmsg_len) < 0)
                return -errno;
        while (r > 0) {
                ssize_t n = recv(mnl_socket_get_fd(nl), buffer, sizeof(buffer), MSG_DONTWAIT | MSG_TRUNC);

                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0)
                        return -errno;
                r = (size_t)n > sizeof(buffer)
                            ? -EBADMSG
                            : take_answer(buffer, (int)n, question->nlmsg_seq, answer, userdata);
        }
        return r;
}

int netlink_ask(struct mnl_socket *nl, struct nlmsghdr *question, netlink_answer_t answer, void *userdata)
{
        int r = -EAGAIN;

        for (unsigned i = 0; i < TRIES; i++) {
                question->nlmsg_seq++;
                r = ask_once(nl, question, answer, userdata);
                if (r != -EAGAIN && r != -ENOBUFS && r != -EBADMSG && r != -ENOMEM && r != -EBUSY)
                        break;
        }
        return r == -EAGAIN ? -ETIMEDOUT : r;
}
