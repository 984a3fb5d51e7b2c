/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "datagram.h"
#include "cleanup.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

static int address_of(const char *path, struct sockaddr_un *ret, socklen_t *ret_length)
{
        size_t length = strlen(path);

        if (length == 0 || length >= sizeof(ret->sun_path))
                return -EINVAL;
        *ret = (struct sockaddr_un){.sun_family = AF_UNIX};
        memcpy(ret->sun_path, path, length + 1);
        *ret_length = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length + 1);
        if (path[0] == '@') {
                ret->sun_path[0] = '\0';
                --*ret_length; /* there a NUL would be a part of the name */
        }
        return 0;
}

int datagram_send(const char *path, const struct iovec *parts, size_t n, int fd)
{
        struct sockaddr_un address;
        union {
                struct cmsghdr header;
                char space[CMSG_SPACE(sizeof(int))];
        } control = {.space = {0}};
        struct msghdr message = {.msg_name = &address, .msg_iov = (struct iovec *)parts, .msg_iovlen = n};
        /* One for each datagram: what an earlier one left unread does not count against its buffer. */
        _cleanup_close_ int s = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        int r = s < 0 ? -errno : address_of(path, &address, &message.msg_namelen);

        if (r < 0)
                return r;
        if (fd >= 0) {
                control.header = (struct cmsghdr){
                        .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(sizeof(fd))};
                memcpy(CMSG_DATA(&control.header), &fd, sizeof(fd));
                message.msg_control = &control;
                message.msg_controllen = sizeof(control.space);
        }
        return sendmsg(s, &message, MSG_NOSIGNAL | MSG_DONTWAIT) < 0 ? -errno : 0;
}
