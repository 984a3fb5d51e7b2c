// SPDX-License-Identifier: GPL-2.0-or-later
#include "dns-relay-port.h"
#include <arpa/inet.h>
#include <errno.h>
#include <linux/filter.h>
#include <sys/socket.h>

/* A port must be free four times over: another one is tried this often. */
#define ATTEMPTS 64

const struct relay_listener relay_listeners[LAUNCH_SOCKETS] = {
        {AF_INET, SOCK_DGRAM}, {AF_INET6, SOCK_DGRAM}, {AF_INET, SOCK_STREAM}, {AF_INET6, SOCK_STREAM}};

static socklen_t loopback_address(int family, uint16_t port, struct sockaddr_storage *ret)
{
        *ret = (struct sockaddr_storage){.ss_family = (sa_family_t)family};
        if (family == AF_INET) {
                struct sockaddr_in *in = (struct sockaddr_in *)ret;

                in->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
                in->sin_port = htons(port);
                return sizeof(*in);
        }
        ((struct sockaddr_in6 *)ret)->sin6_addr = in6addr_loopback;
        ((struct sockaddr_in6 *)ret)->sin6_port = htons(port);
        return sizeof(struct sockaddr_in6);
}

int relay_port_refuse(int fd)
{
        struct sock_filter nothing = BPF_STMT(BPF_RET | BPF_K, 0);
        const struct sock_fprog program = {.len = 1, .filter = &nothing};
        char byte;

        if (setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program)) < 0)
                return -errno;
        while (recv(fd, &byte, sizeof(byte), MSG_DONTWAIT) >= 0)
                ;
        return 0;
}

static int prepare(int fd, const struct relay_listener *l)
{
        const int on = 1;

        /* Not even where route_localnet lets packets for the loopback in. Kernels before 5.7 want a
         * capability for it that we do not have; for ::1 no kernel lets any in, and bound like this it could
         * not answer to the machine's other addresses. */
        if (l->family == AF_INET)
                (void)setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, "lo", sizeof("lo"));
        /* At boot the loopback may have no address yet. */
        if (setsockopt(fd, l->family == AF_INET ? IPPROTO_IP : IPPROTO_IPV6,
                       l->family == AF_INET ? IP_FREEBIND : IPV6_FREEBIND, &on, sizeof(on)) < 0)
                return -errno;
        if (l->family == AF_INET6 && setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on)) < 0)
                return -errno;
        if (l->type == SOCK_DGRAM)
                return relay_port_refuse(fd);
        /* Connections that an earlier daemon's process left behind are not in the way. */
        return setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0 ? -errno : 0;
}

/* *PORT 0: one of the kernel's choice, which it is then. */
static int bind_one(const struct relay_listener *l, uint16_t *port, int *ret)
{
        struct sockaddr_storage address;
        socklen_t length = loopback_address(l->family, *port, &address);
        _cleanup_close_ int fd = -1;
        int r = socket(l->family, l->type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

        if (r < 0)
                return -errno;
        fd = r;
        r = prepare(fd, l);
        if (r < 0)
                return r;
        if (bind(fd, (struct sockaddr *)&address, length) < 0 ||
            getsockname(fd, (struct sockaddr *)&address, &length) < 0)
                return -errno;
        *port = ntohs(l->family == AF_INET ? ((struct sockaddr_in *)&address)->sin_port
                                           : ((struct sockaddr_in6 *)&address)->sin6_port);
        *ret = TAKE_FD(fd);
        return 0;
}

void relay_port_close(int sockets[LAUNCH_SOCKETS])
{
        for (size_t i = 0; i < LAUNCH_SOCKETS; i++)
                if (sockets[i] >= 0)
                        close(TAKE_FD(sockets[i]));
}

static int take(uint16_t port, int sockets[LAUNCH_SOCKETS], uint16_t *ret)
{
        for (size_t i = 0; i < LAUNCH_SOCKETS; i++)
                sockets[i] = -1;
        for (size_t i = 0; i < LAUNCH_SOCKETS; i++) {
                int r = bind_one(&relay_listeners[i], &port, &sockets[i]);

                if (r < 0 && r != -EAFNOSUPPORT) {
                        relay_port_close(sockets);
                        return r;
                }
        }
        if (port == 0)
                return -EAFNOSUPPORT;
        *ret = port;
        return 0;
}

int relay_port_take(uint16_t preferred, int sockets[LAUNCH_SOCKETS], uint16_t *ret)
{
        int r = preferred > 0 ? take(preferred, sockets, ret) : -EADDRINUSE;

        for (unsigned i = 0; r == -EADDRINUSE && i < ATTEMPTS; i++)
                r = take(0, sockets, ret);
        return r;
}
