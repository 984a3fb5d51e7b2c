/* SPDX-License-Identifier: GPL-2.0-or-later */

/* One question, one answer: whatever comes instead. */

// wrap: mnl_socket_sendto mnl_socket_get_fd recv

#include "netlink-message.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>

enum harm {
        NONE,
        LOST,
        CUT_OFF,
        BEYOND_INT,
        TOO_LONG,
        STALE, /* to another question; nothing else comes */
        NO_ROOM,
        BUSY, /* says the kernel */
        INTERRUPTED,
};

static struct {
        enum harm harm;
        unsigned harmed; /* so many answers, then it is as it should be */
        unsigned questions;
        uint32_t asked;
        bool given;
        int error; /* the kernel's; 1: none, there is an answer */
} fake;

ssize_t __wrap_mnl_socket_sendto(const struct mnl_socket *nl, const void *data, size_t size);
ssize_t __wrap_mnl_socket_sendto(const struct mnl_socket *nl, const void *data, size_t size)
{
        const struct nlmsghdr *h = data;

        (void)nl;
        assert_true(fake.questions == 0 || h->nlmsg_seq != fake.asked);
        fake.asked = h->nlmsg_seq;
        fake.given = false;
        fake.questions++;
        return (ssize_t)size;
}

int __wrap_mnl_socket_get_fd(const struct mnl_socket *nl);
int __wrap_mnl_socket_get_fd(const struct mnl_socket *nl)
{
        (void)nl;
        return -1;
}

static ssize_t fail_with(int error)
{
        errno = error;
        return -1;
}

static ssize_t put_error(struct nlmsghdr *h, int error)
{
        struct nlmsgerr *e = mnl_nlmsg_put_extra_header(h, sizeof(*e));

        h->nlmsg_type = NLMSG_ERROR;
        e->error = error;
        return h->nlmsg_len;
}

/* Only what the caller's buffer is asked to take is written: what stands behind it must not be read. */
ssize_t __wrap_recv(int fd, void *buffer, size_t size, int flags);
ssize_t __wrap_recv(int fd, void *buffer, size_t size, int flags)
{
        enum harm harm = fake.harmed > 0 && !fake.given ? fake.harm : NONE;
        struct nlmsghdr *h;

        (void)fd;
        assert_true(flags & MSG_DONTWAIT);
        if (fake.given)
                return fail_with(EAGAIN);
        if (harm != NONE)
                fake.harmed--;
        if (harm == INTERRUPTED)
                return fail_with(EINTR);
        fake.given = true;
        if (harm == LOST)
                return fail_with(EAGAIN);
        if (harm == NO_ROOM)
                return fail_with(ENOBUFS);
        h = mnl_nlmsg_put_header(buffer);
        h->nlmsg_seq = harm == STALE ? fake.asked - 1 : fake.asked;
        if (harm == BUSY)
                return put_error(h, -EBUSY);
        if (fake.error != 1)
                return put_error(h, fake.error);
        h->nlmsg_type = NLMSG_MIN_TYPE;
        mnl_attr_put_u32(h, 1, 4711);
        if (harm == TOO_LONG)
                return (ssize_t)size + 1;
        if (harm == CUT_OFF)
                return NLMSG_HDRLEN + 2;
        size = h->nlmsg_len;
        if (harm == BEYOND_INT)
                h->nlmsg_len = 0x90000000;
        return (ssize_t)size;
}

static int take(const struct nlmsghdr *answer, void *userdata)
{
        const struct nlattr *a = mnl_nlmsg_get_payload(answer);

        *(uint32_t *)userdata = mnl_attr_get_u32(a);
        return 0;
}

static int ask(enum harm harm, unsigned harmed, uint32_t *ret)
{
        static char socket;
        _Alignas(struct nlmsghdr) char buffer[64];
        struct nlmsghdr *h = mnl_nlmsg_put_header(buffer);
        int error = fake.error;

        memset(&fake, 0, sizeof(fake));
        fake.harm = harm;
        fake.harmed = harmed;
        fake.error = error;
        *ret = 0;
        return netlink_ask((struct mnl_socket *)(void *)&socket, h, take, ret);
}

static void test_harms(void **state)
{
        static const struct {
                enum harm harm;
                unsigned questions; /* if it is harmed once */
                int error;          /* if it is harmed each time */
        } table[] = {
                {NONE, 1, 0},
                {LOST, 2, -ETIMEDOUT},
                {CUT_OFF, 2, -EBADMSG},
                {BEYOND_INT, 2, -EBADMSG},
                {TOO_LONG, 2, -EBADMSG},
                {STALE, 2, -ETIMEDOUT},
                {NO_ROOM, 2, -ENOBUFS},
                {BUSY, 2, -EBUSY},
                {INTERRUPTED, 1, 1},
        };
        uint32_t answer;

        (void)state;
        fake.error = 1;
        for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
                assert_int_equal(ask(table[i].harm, 1, &answer), 0);
                assert_int_equal(answer, 4711);
                assert_int_equal(fake.questions, table[i].questions);
                if (table[i].error >= 0)
                        continue;
                assert_int_equal(ask(table[i].harm, 1000, &answer), table[i].error);
                assert_int_equal(answer, 0);
                assert_true(fake.questions < 10);
        }
}

static void test_errors(void **state)
{
        uint32_t answer;

        (void)state;
        fake.error = -ENETUNREACH;
        assert_int_equal(ask(NONE, 0, &answer), -ENETUNREACH);
        assert_int_equal(fake.questions, 1);
        fake.error = 0; /* acknowledged */
        assert_int_equal(ask(NONE, 0, &answer), 0);
        assert_int_equal(answer, 0);
        fake.error = 5;
        assert_int_equal(ask(NONE, 0, &answer), -EBADMSG);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_harms),
                cmocka_unit_test(test_errors),
        };

        return cmocka_run_group_tests_name("netlink-ask", tests, NULL, NULL);
}
