// SPDX-License-Identifier: GPL-2.0-or-later
#include "launcher-message.h"
#include <errno.h>
#include <stdbool.h>
#include <string.h>

union control {
        struct cmsghdr header;
        char space[CMSG_SPACE(sizeof(int) * LAUNCH_FDS_MAX)];
};

int launch_send(int fd, const void *message, size_t size, const int *fds, size_t n)
{
        struct iovec part = {(void *)message, size};
        union control control = {0};
        struct msghdr m = {.msg_iov = &part, .msg_iovlen = 1};
        ssize_t sent;

        if (n > LAUNCH_FDS_MAX)
                return -E2BIG;
        if (n > 0) {
                m.msg_control = &control;
                m.msg_controllen = CMSG_SPACE(sizeof(int) * n);
                control.header.cmsg_level = SOL_SOCKET;
                control.header.cmsg_type = SCM_RIGHTS;
                control.header.cmsg_len = CMSG_LEN(sizeof(int) * n);
                memcpy(CMSG_DATA(&control.header), fds, sizeof(int) * n);
        }
        do
                sent = sendmsg(fd, &m, MSG_DONTWAIT | MSG_NOSIGNAL);
        while (sent < 0 && errno == EINTR);
        return sent < 0 ? -errno : 0;
}

static void close_all(const int *fds, size_t n)
{
        for (size_t i = 0; i < n; i++)
                close(fds[i]);
}

static size_t take_descriptors(struct msghdr *m, int *ret)
{
        size_t n = 0;

        for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
                size_t here = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);

                if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS || here > LAUNCH_FDS_MAX - n)
                        continue; /* the latter cannot be: there is room for that many alone */
                memcpy(ret + n, CMSG_DATA(c), here * sizeof(int));
                n += here;
        }
        return n;
}

int launch_receive(int fd, void *message, size_t size, int *ret_fds, size_t *ret_n)
{
        struct iovec part = {message, size};
        union control control;
        struct msghdr m = {.msg_iov = &part,
                           .msg_iovlen = 1,
                           .msg_control = &control,
                           .msg_controllen = sizeof(control)};
        ssize_t received;
        size_t n;

        do
                received = recvmsg(fd, &m, MSG_DONTWAIT | MSG_CMSG_CLOEXEC | MSG_TRUNC);
        while (received < 0 && errno == EINTR);
        if (received < 0)
                return -errno;
        n = take_descriptors(&m, ret_fds);
        if (received == (ssize_t)size && !(m.msg_flags & (MSG_TRUNC | MSG_CTRUNC))) {
                *ret_n = n;
                return 1;
        }
        close_all(ret_fds, n);
        return received == 0 && n == 0 ? 0 : -EBADMSG;
}
