/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LOCKDOWN_FUZZ_NETLINK_H
#define LOCKDOWN_FUZZ_NETLINK_H

/* A kernel that answers with what the input says: the input is netlink messages one behind the other, and
 * each time it is asked the kernel gives them out up to the next one that ends an answer. Sequence numbers
 * are made to fit the question, but for messages with the number STALE. Where the input ends, the patience of
 * the socket does.
 *
 * libmnl reads into a buffer of the caller's that is larger than the answer: what lies behind the answer is
 * poisoned, so that reading it is a finding. */

#include "fuzz.h"
#include "netlink-message.h"

#include <errno.h>
#include <libmnl/libmnl.h>
#include <sanitizer/asan_interface.h>

#define STALE UINT32_MAX
#define PORT_ID 4711

struct kernel {
        struct feed answers;
        uint32_t first, last; /* sequence numbers of the messages sent last */
        uint16_t question;    /* the type of the first of them */
        const char *poisoned;
        size_t n_poisoned;
};

static inline void kernel_take_question(struct kernel *k, const void *data, size_t size)
{
        const struct nlmsghdr *h = data;
        int left = (int)size;

        MUST(netlink_message_ok(h, left));
        k->first = h->nlmsg_seq;
        k->question = h->nlmsg_type;
        for (; netlink_message_ok(h, left); h = mnl_nlmsg_next(h, &left))
                k->last = h->nlmsg_seq;
        MUST(left == 0);
}

/* How much of the input the next answer is: whole messages up to the end of a dump or an acknowledgement. */
static inline size_t kernel_answer_size(const struct kernel *k, size_t max)
{
        size_t size = 0;

        while (size < k->answers.left && k->answers.left - size >= sizeof(struct nlmsghdr)) {
                struct nlmsghdr h;
                size_t length;

                memcpy(&h, k->answers.at + size, sizeof(h));
                length = ((size_t)h.nlmsg_len + 3) & ~(size_t)3;
                if (h.nlmsg_len < sizeof(h) || length > k->answers.left - size)
                        return k->answers.left < max ? k->answers.left : max; /* cut off */
                if (size + length > max)
                        return size > 0 ? size : max;
                size += length;
                if (h.nlmsg_type == NLMSG_DONE || h.nlmsg_type == NLMSG_ERROR)
                        return size;
        }
        return k->answers.left < max ? k->answers.left : max;
}

static inline void kernel_number(const struct kernel *k, char *buffer, size_t size)
{
        struct nlmsghdr *h = (struct nlmsghdr *)(void *)buffer;
        int left = (int)size;

        for (; netlink_message_ok(h, left); h = mnl_nlmsg_next(h, &left)) {
                if (h->nlmsg_seq != STALE)
                        h->nlmsg_seq = k->first + h->nlmsg_seq % (k->last - k->first + 1);
                if (h->nlmsg_pid != STALE)
                        h->nlmsg_pid = PORT_ID;
        }
}

static inline void kernel_unpoison(struct kernel *k)
{
        if (k->poisoned)
                ASAN_UNPOISON_MEMORY_REGION(k->poisoned, k->n_poisoned);
        k->poisoned = NULL;
}

/* What lies behind an answer is nobody's to read: until the next answer, or the end of the buffer. */
static inline ssize_t kernel_seal(struct kernel *k, const char *buffer, size_t size, size_t max)
{
        k->poisoned = buffer + size;
        k->n_poisoned = max - size;
        ASAN_POISON_MEMORY_REGION(k->poisoned, k->n_poisoned);
        return (ssize_t)size;
}

/* As recv(2): -1 and EAGAIN when there is nothing more. */
static inline ssize_t kernel_give_answer(struct kernel *k, void *buffer, size_t max)
{
        size_t size;

        kernel_unpoison(k);
        if (k->answers.left == 0) {
                errno = EAGAIN;
                return -1;
        }
        size = kernel_answer_size(k, max);
        memcpy(buffer, k->answers.at, size);
        k->answers.at += size;
        k->answers.left -= size;
        kernel_number(k, buffer, size);
        return kernel_seal(k, buffer, size, max);
}

#endif
