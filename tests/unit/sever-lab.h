/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LOCKDOWN_SEVER_LAB_H
#define LOCKDOWN_SEVER_LAB_H

/* Two network namespaces of the test's own, joined by a veth pair ("here" and "the world"), and sockets in
 * them that belong to whom the test likes. */

#include "sever.h"
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include <cmocka.h>

#define ALICE 61001U
#define BOB 61002U

#define HERE4 "198.51.100.2"
#define WORLD4 "198.51.100.1"
#define NOBODY4 "198.51.100.9" /* a neighbour that never answers */
#define HERE6 "2001:db8:1::2"
#define WORLD6 "2001:db8:1::1"
#define WORLD_MAPPED "::ffff:198.51.100.1"

static int here_ns = -1, world_ns = -1;
static struct sever *sever;

static inline void run(const char *command)
{
        if (system(command) != 0)
                fail_msg("this failed: %s", command);
}

static inline void enter(int ns)
{
        assert_int_equal(setns(ns, CLONE_NEWNET), 0);
}

/* Leaves the test in a namespace of its own, whose only way out leads to another one. */
static inline bool make_namespaces(void)
{
        char command[128];

        if (geteuid() != 0 || unshare(CLONE_NEWNET) < 0)
                return false;
        world_ns = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
        if (unshare(CLONE_NEWNET) < 0)
                return false;
        here_ns = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
        snprintf(command, sizeof(command),
                 "ip link add sever0 type veth peer name sever1 netns /proc/%d/fd/%d", getpid(), world_ns);
        if (system(command) != 0)
                return false;
        run("ip link set lo up; ip addr add " HERE4 "/24 dev sever0; "
            "ip -6 addr add " HERE6 "/64 dev sever0 nodad; ip link set sever0 up; "
            "ip neigh replace " NOBODY4 " lladdr 02:00:00:00:00:09 dev sever0");
        enter(world_ns);
        run("ip link set lo up; ip addr add " WORLD4 "/24 dev sever1; "
            "ip -6 addr add " WORLD6 "/64 dev sever1 nodad; ip link set sever1 up");
        enter(here_ns);
        return true;
}

static inline int group_setup(void **state)
{
        struct rlimit files;

        (void)state;
        signal(SIGPIPE, SIG_IGN);
        if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
                files.rlim_cur = files.rlim_max;
                (void)setrlimit(RLIMIT_NOFILE, &files);
        }
        if (make_namespaces())
                assert_int_equal(sever_open(&sever), 0);
        else
                print_message("no namespaces to be had (not root?): the tests in them are skipped\n");
        return 0;
}

static inline int group_teardown(void **state)
{
        (void)state;
        sever = sever_close(sever);
        if (here_ns >= 0)
                close(here_ns);
        if (world_ns >= 0)
                close(world_ns);
        return 0;
}

#define NEEDS_KERNEL()                                             \
        do {                                                       \
                if (!sever || !sever_can_destroy(sever)) {         \
                        print_message("skipped: no namespaces\n"); \
                        skip();                                    \
                }                                                  \
        } while (0)

static inline socklen_t make_address(const char *text, uint16_t port, struct sockaddr_storage *ret)
{
        struct sockaddr_in *in = (void *)ret;
        struct sockaddr_in6 *in6 = (void *)ret;

        memset(ret, 0, sizeof(*ret));
        if (inet_pton(AF_INET, text, &in->sin_addr) == 1) {
                in->sin_family = AF_INET;
                in->sin_port = htons(port);
                return sizeof(*in);
        }
        assert_int_equal(inet_pton(AF_INET6, text, &in6->sin6_addr), 1);
        in6->sin6_family = AF_INET6;
        in6->sin6_port = htons(port);
        return sizeof(*in6);
}

static inline int socket_as(uint32_t uid, int family, int type, int protocol)
{
        int fd;

        assert_int_equal(seteuid(uid), 0);
        fd = socket(family, type | SOCK_CLOEXEC, protocol);
        assert_int_equal(seteuid(0), 0);
        return fd;
}

static inline uint16_t port_of(int fd)
{
        struct sockaddr_storage a;
        socklen_t size = sizeof(a);

        assert_int_equal(getsockname(fd, (void *)&a, &size), 0);
        return ntohs(a.ss_family == AF_INET ? ((struct sockaddr_in *)(void *)&a)->sin_port
                                            : ((struct sockaddr_in6 *)(void *)&a)->sin6_port);
}

/* A socket bound in NS; listening if it is a stream. */
static inline int serve(int ns, const char *address, int type, int protocol)
{
        struct sockaddr_storage a;
        socklen_t size = make_address(address, 0, &a);
        int fd;

        enter(ns);
        fd = socket(a.ss_family, type | SOCK_CLOEXEC, protocol);
        enter(here_ns);
        if (fd < 0)
                return -1;
        assert_int_equal(bind(fd, (void *)&a, size), 0);
        if (type == SOCK_STREAM)
                assert_int_equal(listen(fd, 16), 0);
        return fd;
}

struct pair {
        int near, far; /* FAR: the accepted connection; -1 for datagrams */
};

static inline struct pair connect_as(uint32_t uid, int server, const char *address, int type, int protocol)
{
        struct sockaddr_storage a;
        socklen_t size = make_address(address, port_of(server), &a);
        struct pair p = {.near = socket_as(uid, a.ss_family, type, protocol), .far = -1};

        assert_true(p.near >= 0);
        assert_int_equal(connect(p.near, (void *)&a, size), 0);
        if (type == SOCK_STREAM)
                assert_true((p.far = accept(server, NULL, NULL)) >= 0);
        return p;
}

static inline void close_pair(struct pair *p)
{
        close(p->near);
        if (p->far >= 0)
                close(p->far);
}

static inline int pending_error(int fd)
{
        int error = 0;
        socklen_t size = sizeof(error);

        assert_int_equal(getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size), 0);
        return error;
}

/* What the peer's next read says, within two seconds. */
static inline int read_error(int fd)
{
        struct pollfd p = {.fd = fd, .events = POLLIN};
        char c;
        ssize_t n;

        if (poll(&p, 1, 2000) != 1)
                return ETIMEDOUT;
        n = recv(fd, &c, 1, MSG_DONTWAIT);
        return n < 0 ? errno : n == 0 ? ESHUTDOWN : 0;
}

static inline void assert_alive(const struct pair *p)
{
        char c = 0;

        assert_int_equal(pending_error(p->near), 0);
        assert_int_equal(send(p->near, "x", 1, 0), 1);
        if (p->far < 0)
                return;
        assert_int_equal(read_error(p->far), 0);
        assert_int_equal(send(p->far, "y", 1, 0), 1);
        assert_int_equal(recv(p->near, &c, 1, 0), 1);
        assert_int_equal(c, 'y');
}

#endif
