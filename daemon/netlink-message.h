/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LOCKDOWN_NETLINK_MESSAGE_H
#define LOCKDOWN_NETLINK_MESSAGE_H

/* For those edges that speak netlink. */

#include <errno.h>
#include <libmnl/libmnl.h>
#include <stdbool.h>

/* Does a whole message stand at H, where LEFT bytes are left? mnl_nlmsg_ok() takes a length above INT_MAX for
 * a negative one, and so for one that fits. */
static inline bool netlink_message_ok(const struct nlmsghdr *h, int left)
{
        return mnl_nlmsg_ok(h, left) && h->nlmsg_len <= (unsigned)left;
}

/* The error in an answer as 0 or -errno: nothing else is one, and nothing else can be passed on. */
static inline int netlink_error(int error)
{
        return error > 0 || error < -4095 ? -EBADMSG : error;
}

/* For questions that have one answer, which the kernel gives before a send returns. Asks QUESTION (whose
 * sequence number is the last one used on NL, and goes on from there) and calls ANSWER with the message that
 * answers it; asks again where the answer was lost, cut off, or the kernel had no memory. ANSWER's result,
 * the kernel's error, 0 if it only acknowledged, -ETIMEDOUT if it said nothing, or -errno. */
typedef int (*netlink_answer_t)(const struct nlmsghdr *answer, void *userdata);
int netlink_ask(struct mnl_socket *nl, struct nlmsghdr *question, netlink_answer_t answer, void *userdata);

#endif
