/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef KERNEL_NET_H
#define KERNEL_NET_H

/* A network namespace of the test's own, with a wire that leads outside (a dummy device with the default
 * route), people who send, and somebody who watches the wire. Include after cmocka.h. */

#include "cleanup.h"
#include "destinations.h"
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <poll.h>
#include <sched.h>
#include <stdarg.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/wait.h>

struct kernel_net {
        const char *missing; /* why nothing can be tested; NULL: all is there */
        int wire;
};

/* Runs a shell command and returns whether it succeeded. */
__attribute__((format(printf, 1, 2))) static bool shell(const char *format, ...)
{
        char command[2048];
        va_list arguments;

        va_start(arguments, format);
        (void)vsnprintf(command, sizeof(command), format, arguments);
        va_end(arguments);
        return system(command) == 0; /* NOLINT(cert-env33-c): a test */
}

/* Whatever the namespace sends outside can be read here, and what is written comes in from outside. */
static int open_wire(void)
{
        struct ifreq device = {.ifr_name = "wire", .ifr_flags = IFF_TUN | IFF_NO_PI};
        int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);

        if (fd >= 0 && ioctl(fd, TUNSETIFF, &device) < 0) {
                close(fd);
                fd = -1;
        }
        return fd;
}

static void kernel_net_open(struct kernel_net *net)
{
        *net = (struct kernel_net){.wire = -1};
        if (geteuid() != 0 || unshare(CLONE_NEWNET) < 0) {
                net->missing = "not permitted to make a network namespace";
                return;
        }
        if (!shell("command -v nft > /dev/null && command -v ip > /dev/null")) {
                net->missing = "nft(8) and ip(8) are needed";
                return;
        }
        net->wire = open_wire();
        if (net->wire < 0) {
                net->missing = "no tun device";
                return;
        }
        assert_true(shell("ip link set lo up && ip addr add 10.9.0.2/24 dev wire && "
                          "ip addr add fd09::2/64 dev wire nodad && ip link set wire up && "
                          "ip route add default dev wire && ip -6 route add default dev wire"));
}

static void kernel_net_close(struct kernel_net *net)
{
        if (net->wire >= 0)
                close(net->wire);
}

struct person {
        uint32_t uid, gid;
};

/* Runs ACT as that person in a process of its own and returns what it returns, 0 to 255. */
static int as_person(struct person who, int (*act)(const void *), const void *argument)
{
        pid_t child = fork();
        int status;

        assert_true(child >= 0);
        if (child == 0) {
                if (setgroups(0, NULL) < 0 || setresgid(who.gid, who.gid, who.gid) < 0 ||
                    setresuid(who.uid, who.uid, who.uid) < 0)
                        _exit(255);
                _exit(act(argument));
        }
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFEXITED(status));
        return WEXITSTATUS(status);
}

static socklen_t socket_address(const struct endpoint *e, struct sockaddr_storage *ret)
{
        struct sockaddr_in *v4 = (void *)ret;
        struct sockaddr_in6 *v6 = (void *)ret;

        memset(ret, 0, sizeof(*ret));
        ret->ss_family = (sa_family_t)e->family;
        if (e->family == AF_INET) {
                memcpy(&v4->sin_addr, e->addr, 4);
                v4->sin_port = htons(e->port);
                return sizeof(*v4);
        }
        memcpy(&v6->sin6_addr, e->addr, 16);
        v6->sin6_port = htons(e->port);
        return sizeof(*v6);
}

/* The errno with which connecting fails, 0 while it is under way or done. */
static int try_tcp(int fd, const struct sockaddr_storage *to, socklen_t length)
{
        struct pollfd p = {.fd = fd, .events = POLLOUT};
        socklen_t size = sizeof(int);
        int error = 0;

        if (connect(fd, (const void *)to, length) == 0)
                return 0;
        if (errno != EINPROGRESS)
                return errno;
        /* A reset comes at once, by the loopback; nothing else does. */
        if (poll(&p, 1, 30) > 0 && getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) == 0)
                return error;
        return 0;
}

static int send_packet(int fd, const struct endpoint *e)
{
        struct sockaddr_storage to;
        socklen_t length = socket_address(e, &to);
        /* Which a ping socket takes for an echo request. */
        const char *data = e->protocol == IPPROTO_ICMPV6 ? "\200\0\0\0\0\0\0" : "\10\0\0\0\0\0\0";

        if (e->protocol == IPPROTO_TCP)
                return try_tcp(fd, &to, length);
        return sendto(fd, data, 8, 0, (const void *)&to, length) == 8 ? 0 : errno;
}

struct probe {
        struct endpoint to;
        uint16_t from; /* source port, 0: any */
};

/* Sends one packet to the endpoint: the errno, 0 if it went. */
static int try_probe(const void *argument)
{
        const struct probe *p = argument;
        int type = p->to.protocol == IPPROTO_TCP ? SOCK_STREAM : SOCK_DGRAM;
        int fd = socket(p->to.family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, p->to.protocol);
        struct endpoint here = {.family = p->to.family, .port = p->from};
        struct sockaddr_storage address;
        socklen_t length = socket_address(&here, &address);
        int error;

        if (fd < 0 || (p->from > 0 && bind(fd, (const void *)&address, length) < 0))
                return 253;
        error = send_packet(fd, &p->to);
        close(fd);
        return error;
}

static int try_endpoint(const void *argument)
{
        const struct probe p = {.to = *(const struct endpoint *)argument};

        return try_probe(&p);
}

/* What the wire carried of a protocol since the last look, oldest first. */
struct sighting {
        int family;
        uint8_t addr[16]; /* where it goes */
        uint8_t protocol;
        uint16_t port;
};

static bool look_at(const uint8_t *packet, ssize_t length, struct sighting *ret)
{
        const struct iphdr *v4 = (const void *)packet;
        const struct ip6_hdr *v6 = (const void *)packet;
        size_t header;

        *ret = (struct sighting){0};
        if (length >= 20 && v4->version == 4) {
                ret->family = AF_INET;
                ret->protocol = v4->protocol;
                memcpy(ret->addr, &v4->daddr, 4);
                header = v4->ihl * 4;
        } else if (length >= 40 && v4->version == 6) {
                ret->family = AF_INET6;
                ret->protocol = v6->ip6_nxt;
                memcpy(ret->addr, &v6->ip6_dst, 16);
                header = 40;
        } else {
                return false;
        }
        if ((size_t)length >= header + 4 && (ret->protocol == IPPROTO_TCP || ret->protocol == IPPROTO_UDP))
                ret->port = (uint16_t)(packet[header + 2] << 8 | packet[header + 3]);
        return true;
}

/* Takes the next packet off the wire; false if there is none. */
static bool next_sighting(const struct kernel_net *net, struct sighting *ret)
{
        _Alignas(8) uint8_t packet[2048];
        ssize_t length;

        while ((length = read(net->wire, packet, sizeof(packet))) > 0)
                if (look_at(packet, length, ret))
                        return true;
        return false;
}

static void clear_wire(const struct kernel_net *net)
{
        struct sighting s;

        while (next_sighting(net, &s))
                ;
}

static bool goes_to(const struct sighting *s, const struct endpoint *e)
{
        return s->family == e->family && s->protocol == e->protocol && s->port == e->port &&
               memcmp(s->addr, e->addr, e->family == AF_INET ? 4 : 16) == 0;
}

/* How many packets for the endpoint the wire carried since the last look. */
static unsigned seen(const struct kernel_net *net, const struct endpoint *e)
{
        unsigned n = 0;
        struct sighting s;

        while (next_sighting(net, &s))
                n += goes_to(&s, e);
        return n;
}

static struct endpoint endpoint(const char *text)
{
        struct endpoint e = {0};

        if (endpoint_parse(text, &e) < 0)
                fail_msg("%s is no endpoint", text);
        return e;
}

/* True if the person's packet got onto the wire, false if it was refused; anything in between fails. */
__attribute__((unused)) static bool gets_out(const struct kernel_net *net, struct person who,
                                             const char *text)
{
        struct endpoint e = endpoint(text);
        unsigned n;
        int error;

        clear_wire(net);
        error = as_person(who, try_endpoint, &e);
        n = seen(net, &e);
        if ((error == 0) != (n > 0))
                fail_msg("uid %u to %s: %s, but %u packets on the wire", who.uid, text, strerror(error), n);
        if (n == 0)
                assert_int_equal(error, e.protocol == IPPROTO_TCP ? ECONNREFUSED : EPERM);
        return n > 0;
}

#endif
