/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Destroying sockets: against the real kernel in two network namespaces of the test's own, joined by a veth
 * pair
 * ("here" and "the world"), and against a made-up kernel for what the real one does rarely. */

// wrap: mnl_socket_sendto mnl_socket_recvfrom

#include "sever.h"
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <libmnl/libmnl.h>
#include <linux/inet_diag.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>

#include <cmocka.h>

#define ALICE 61001U
#define BOB 61002U

#define HERE4 "198.51.100.2"
#define WORLD4 "198.51.100.1"
#define NOBODY4 "198.51.100.9" /* a neighbour that never answers */
#define HERE6 "2001:db8:1::2"
#define WORLD6 "2001:db8:1::1"
#define WORLD_MAPPED "::ffff:198.51.100.1"

/* ---- a made-up kernel ---- */

static struct {
        bool on;
        struct inet_diag_msg sockets[4];
        uint8_t protocols[4];
        uint8_t raw_protocol;
        size_t n;
        int interruptions;  /* dumps that are interrupted before one is not */
        int destroy_answer; /* 0: the socket goes away */
        int lose_acks;      /* sends whose acks overflow the buffer */
        int dump_answer;    /* of dumps of DUMP_ANSWER_PROTOCOL */
        int dump_answer_protocol;
        bool answer_in_done;  /* DUMP_ANSWER comes in the last message of the dump */
        bool keeps_destroyed; /* as kernels before 6.11 do with orphans */
        int dumps;
        struct inet_diag_req_v2 last_destroy;
        _Alignas(struct nlmsghdr) char queue[1 << 16];
        size_t queued;
        bool overflow;
} fake;

static void *fake_put(uint16_t type, uint16_t flags, unsigned sequence, size_t payload)
{
        struct nlmsghdr *h = mnl_nlmsg_put_header(fake.queue + fake.queued);
        void *data;

        h->nlmsg_type = type;
        h->nlmsg_flags = flags;
        h->nlmsg_seq = sequence;
        data = mnl_nlmsg_put_extra_header(h, payload);
        fake.queued += NLMSG_ALIGN(h->nlmsg_len);
        return data;
}

static void fake_error(unsigned sequence, int error)
{
        struct nlmsgerr *e = fake_put(NLMSG_ERROR, 0, sequence, sizeof(*e));

        e->error = error;
}

static void fake_done(unsigned sequence, int error)
{
        *(int *)fake_put(NLMSG_DONE, NLM_F_MULTI, sequence, sizeof(int)) = error;
}

static void fake_dump(const struct nlmsghdr *h, const struct inet_diag_req_v2 *req)
{
        uint16_t flags = NLM_F_MULTI;

        fake.dumps++;
        if (fake.dump_answer && req->sdiag_protocol == fake.dump_answer_protocol) {
                if (fake.answer_in_done)
                        fake_done(h->nlmsg_seq, fake.dump_answer);
                else
                        fake_error(h->nlmsg_seq, fake.dump_answer);
                return;
        }
        if (fake.interruptions > 0 && req->idiag_states) {
                fake.interruptions--;
                flags |= NLM_F_DUMP_INTR;
        }
        for (size_t i = 0; i < fake.n; i++) {
                if (fake.sockets[i].idiag_family != req->sdiag_family ||
                    fake.protocols[i] != req->sdiag_protocol ||
                    !(req->idiag_states & 1U << fake.sockets[i].idiag_state))
                        continue;
                memcpy(fake_put(SOCK_DIAG_BY_FAMILY, flags, h->nlmsg_seq, sizeof(fake.sockets[i])),
                       &fake.sockets[i], sizeof(fake.sockets[i]));
                if (fake.raw_protocol) {
                        struct nlmsghdr *last =
                                (void *)(fake.queue + fake.queued - sizeof(fake.sockets[i]) - NLMSG_HDRLEN);

                        mnl_attr_put_u8(last, INET_DIAG_PROTOCOL, fake.raw_protocol);
                        fake.queued += 8;
                }
        }
        fake_done(h->nlmsg_seq, 0);
}

static void fake_destroy(const struct nlmsghdr *h, const struct inet_diag_req_v2 *req)
{
        fake.last_destroy = *req;
        if (fake.destroy_answer) {
                fake_error(h->nlmsg_seq, fake.destroy_answer);
                return;
        }
        for (size_t i = 0; i < fake.n; i++)
                if (memcmp(&fake.sockets[i].id, &req->id, sizeof(req->id)) == 0) {
                        if (!fake.keeps_destroyed) {
                                fake.n--;
                                fake.sockets[i] = fake.sockets[fake.n];
                                fake.protocols[i] = fake.protocols[fake.n];
                        }
                        fake_error(h->nlmsg_seq, 0);
                        return;
                }
        fake_error(h->nlmsg_seq, -ENOENT);
}

ssize_t __real_mnl_socket_sendto(const struct mnl_socket *nl, const void *data, size_t size);
ssize_t __wrap_mnl_socket_sendto(const struct mnl_socket *nl, const void *data, size_t size);
ssize_t __wrap_mnl_socket_sendto(const struct mnl_socket *nl, const void *data, size_t size)
{
        const struct nlmsghdr *h = data;
        int left = (int)size;

        if (!fake.on)
                return __real_mnl_socket_sendto(nl, data, size);
        for (; mnl_nlmsg_ok(h, left); h = mnl_nlmsg_next(h, &left)) {
                if (h->nlmsg_type == SOCK_DESTROY)
                        fake_destroy(h, mnl_nlmsg_get_payload(h));
                else
                        fake_dump(h, mnl_nlmsg_get_payload(h));
        }
        h = data;
        if (h->nlmsg_type == SOCK_DESTROY && fake.lose_acks > 0) {
                fake.lose_acks--;
                fake.queued = 0;
                fake.overflow = true;
        }
        return (ssize_t)size;
}

ssize_t __real_mnl_socket_recvfrom(const struct mnl_socket *nl, void *buf, size_t size);
ssize_t __wrap_mnl_socket_recvfrom(const struct mnl_socket *nl, void *buf, size_t size);
ssize_t __wrap_mnl_socket_recvfrom(const struct mnl_socket *nl, void *buf, size_t size)
{
        size_t n = fake.queued;

        if (!fake.on)
                return __real_mnl_socket_recvfrom(nl, buf, size);
        if (fake.overflow) {
                fake.overflow = false;
                errno = ENOBUFS;
                return -1;
        }
        if (n == 0) {
                errno = EAGAIN; /* the real one would wait for ever */
                return -1;
        }
        assert_true(n <= size);
        memcpy(buf, fake.queue, n);
        fake.queued = 0;
        return (ssize_t)n;
}

static void fake_socket(uint8_t protocol, uint32_t uid, uint32_t cookie)
{
        struct inet_diag_msg *m = &fake.sockets[fake.n];

        *m = (struct inet_diag_msg){.idiag_family = AF_INET,
                                    .idiag_state = TCP_ESTABLISHED,
                                    .idiag_uid = uid,
                                    .idiag_inode = 1,
                                    .id = {.idiag_sport = htons(1000), .idiag_dport = htons(443)}};
        m->id.idiag_cookie[0] = cookie;
        m->id.idiag_dst[0] = htonl(0xcb007107);
        fake.protocols[fake.n++] = protocol;
}

static int fake_on(void **state)
{
        memset(&fake, 0, sizeof(fake));
        fake.on = true;
        fake.destroy_answer = -ENOENT;
        assert_int_equal(sever_open((struct sever **)state), 0);
        fake.destroy_answer = 0;
        fake.dumps = 0;
        return 0;
}

static int fake_off(void **state)
{
        sever_close(*state);
        fake.on = false;
        return 0;
}

static bool wants_alice(const struct sever_socket *s, void *userdata)
{
        (void)userdata;
        return s->uid == ALICE;
}

static void test_fake_plain(void **state)
{
        struct sever_result r;

        assert_true(sever_can_destroy(*state));
        fake_socket(IPPROTO_TCP, ALICE, 1);
        fake_socket(IPPROTO_UDP, ALICE, 2);
        fake_socket(IPPROTO_TCP, BOB, 3);
        assert_int_equal(sever_run(*state, 10, wants_alice, NULL, &r), 0);
        assert_int_equal(r.destroyed, 2);
        assert_int_equal(r.rounds, 2);
        assert_int_equal(r.left, 0);
        assert_int_equal(fake.n, 1);
        assert_int_equal(fake.sockets[0].idiag_uid, BOB);
}

/* An interrupted dump is taken again, and what it had found does not count twice. */
static void test_fake_interrupted(void **state)
{
        uint64_t n = 0;

        fake_socket(IPPROTO_TCP, ALICE, 1);
        fake.interruptions = 2;
        assert_int_equal(sever_count(*state, wants_alice, NULL, &n), 0);
        assert_int_equal(n, 1);
        assert_int_equal(fake.dumps, 8 + 2);
        fake.interruptions = 1000; /* never quiet: what the last dump shows has to do */
        assert_int_equal(sever_count(*state, wants_alice, NULL, &n), 0);
        assert_int_equal(n, 1);
}

static void test_fake_refused(void **state)
{
        static const int answers[] = {-EPERM, -EOPNOTSUPP, -EINVAL};

        for (size_t i = 0; i < ELEMENTSOF(answers); i++) {
                struct sever_result r;

                fake.n = 0;
                fake_socket(IPPROTO_TCP, ALICE, 1);
                fake.destroy_answer = answers[i];
                assert_int_equal(sever_run(*state, 10, wants_alice, NULL, &r), 0);
                assert_int_equal(r.destroyed, 0);
                assert_int_equal(r.left, 1);
                assert_int_equal(r.rounds, 1); /* asking again would change nothing */
        }
}

static void test_fake_lost_acks(void **state)
{
        struct sever_result r;

        fake_socket(IPPROTO_TCP, ALICE, 1);
        fake.lose_acks = 1;
        assert_int_equal(sever_run(*state, 10, wants_alice, NULL, &r), 0);
        assert_int_equal(r.left, 0);
        assert_int_equal(fake.n, 0);
        assert_int_equal(r.rounds, 2); /* the second dump shows that it is gone */
}

/* An old kernel empties an orphan but keeps it: counted once, and no endless rounds. */
static void test_fake_kept_orphan(void **state)
{
        struct sever_result r;

        fake_socket(IPPROTO_TCP, ALICE, 1);
        fake.keeps_destroyed = true;
        assert_int_equal(sever_run(*state, 32, wants_alice, NULL, &r), 0);
        assert_int_equal(r.destroyed, 1);
        assert_int_equal(r.rounds, 2);
}

/* A kernel without a protocol's handler: the others are dealt with all the same. */
static void test_fake_no_handler(void **state)
{
        static const int answers[] = {-ENOENT, -EOPNOTSUPP, -EPROTONOSUPPORT};

        for (size_t i = 0; i < 2 * ELEMENTSOF(answers); i++) {
                struct sever_result r;
                uint32_t *uids;
                size_t n;

                fake.n = 0;
                fake_socket(IPPROTO_RAW, ALICE, 1);
                fake_socket(IPPROTO_TCP, ALICE, 2);
                fake.dump_answer_protocol = IPPROTO_RAW;
                fake.dump_answer = answers[i / 2];
                fake.answer_in_done = i % 2;
                assert_int_equal(sever_run(*state, 10, wants_alice, NULL, &r), 0);
                assert_int_equal(r.destroyed, 1);
                fake_socket(IPPROTO_TCP, BOB, 2);
                assert_int_equal(sever_owner_uids(*state, &uids, &n), 0);
                assert_int_equal(n, 1);
                assert_int_equal(uids[0], BOB);
                free(uids);
        }
}

static void test_fake_other_errors(void **state)
{
        struct sever_result r = {.destroyed = 7};

        fake_socket(IPPROTO_TCP, ALICE, 1);
        fake.dump_answer_protocol = IPPROTO_UDP;
        for (int i = 0; i < 2; i++) {
                fake.answer_in_done = i;
                fake.dump_answer = -EACCES;
                assert_int_equal(sever_run(*state, 10, wants_alice, NULL, &r), -EACCES);
                assert_int_equal(r.destroyed, 0);
        }
}

/* A raw socket is named by the protocol it carries, too. */
static void test_fake_raw(void **state)
{
        struct sever_result r;

        fake_socket(IPPROTO_RAW, ALICE, 5);
        fake.raw_protocol = IPPROTO_ICMP;
        assert_int_equal(sever_run(*state, 10, wants_alice, NULL, &r), 0);
        assert_int_equal(r.destroyed, 1);
        assert_int_equal(fake.last_destroy.sdiag_family, AF_INET);
        assert_int_equal(fake.last_destroy.sdiag_protocol, IPPROTO_RAW);
        assert_int_equal(fake.last_destroy.pad, IPPROTO_ICMP);
        assert_int_equal(fake.last_destroy.id.idiag_cookie[0], 5);
}

static void test_fake_open(void **state)
{
        static const struct {
                int dump, destroy, result;
                bool can;
        } table[] = {
                {0, -ENOENT, 0, true},
                {0, -EOPNOTSUPP, 0, false},
                {0, -EPERM, -EPERM, false},
                {-ENOENT, -ENOENT, -EOPNOTSUPP, false},
                {-EPERM, -ENOENT, -EPERM, false},
        };

        (void)state;
        for (size_t i = 0; i < ELEMENTSOF(table); i++) {
                struct sever *s = NULL;

                memset(&fake, 0, sizeof(fake));
                fake.on = true;
                fake.dump_answer = table[i].dump;
                fake.dump_answer_protocol = IPPROTO_TCP;
                fake.destroy_answer = table[i].destroy;
                assert_int_equal(sever_open(&s), table[i].result);
                assert_int_equal(sever_can_destroy(s), table[i].can);
                sever_close(s);
        }
        fake.on = false;
}

/* ---- two namespaces ---- */

static int here_ns = -1, world_ns = -1;
static struct sever *sever;

static void run(const char *command)
{
        if (system(command) != 0)
                fail_msg("this failed: %s", command);
}

static void enter(int ns)
{
        assert_int_equal(setns(ns, CLONE_NEWNET), 0);
}

/* Leaves the test in a namespace of its own, whose only way out leads to another one. */
static bool make_namespaces(void)
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

static int group_setup(void **state)
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

static int group_teardown(void **state)
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

static socklen_t make_address(const char *text, uint16_t port, struct sockaddr_storage *ret)
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

static int socket_as(uint32_t uid, int family, int type, int protocol)
{
        int fd;

        assert_int_equal(seteuid(uid), 0);
        fd = socket(family, type | SOCK_CLOEXEC, protocol);
        assert_int_equal(seteuid(0), 0);
        return fd;
}

static uint16_t port_of(int fd)
{
        struct sockaddr_storage a;
        socklen_t size = sizeof(a);

        assert_int_equal(getsockname(fd, (void *)&a, &size), 0);
        return ntohs(a.ss_family == AF_INET ? ((struct sockaddr_in *)(void *)&a)->sin_port
                                            : ((struct sockaddr_in6 *)(void *)&a)->sin6_port);
}

/* A socket bound in NS; listening if it is a stream. */
static int serve(int ns, const char *address, int type, int protocol)
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

static struct pair connect_as(uint32_t uid, int server, const char *address, int type, int protocol)
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

static void close_pair(struct pair *p)
{
        close(p->near);
        if (p->far >= 0)
                close(p->far);
}

static int pending_error(int fd)
{
        int error = 0;
        socklen_t size = sizeof(error);

        assert_int_equal(getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size), 0);
        return error;
}

/* What the peer's next read says, within two seconds. */
static int read_error(int fd)
{
        struct pollfd p = {.fd = fd, .events = POLLIN};
        char c;
        ssize_t n;

        if (poll(&p, 1, 2000) != 1)
                return ETIMEDOUT;
        n = recv(fd, &c, 1, MSG_DONTWAIT);
        return n < 0 ? errno : n == 0 ? ESHUTDOWN : 0;
}

static void assert_alive(const struct pair *p)
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

static const struct kind {
        const char *what, *serve, *connect;
        int type, protocol;
} kinds[] = {
        {"TCP over IPv4", WORLD4, WORLD4, SOCK_STREAM, 0},
        {"TCP over IPv6", WORLD6, WORLD6, SOCK_STREAM, 0},
        {"TCP over IPv4, by an IPv6 socket", WORLD4, WORLD_MAPPED, SOCK_STREAM, 0},
        {"UDP over IPv4", WORLD4, WORLD4, SOCK_DGRAM, 0},
        {"UDP over IPv6", WORLD6, WORLD6, SOCK_DGRAM, 0},
        {"UDP over IPv4, by an IPv6 socket", WORLD4, WORLD_MAPPED, SOCK_DGRAM, 0},
};

static void test_destroys_hers_and_leaves_his(void **state)
{
        (void)state;
        NEEDS_KERNEL();
        for (size_t i = 0; i < ELEMENTSOF(kinds); i++) {
                const struct kind *k = &kinds[i];
                int server = serve(world_ns, k->serve, k->type, k->protocol);
                struct sever_result r;
                struct pair hers, his;
                uint64_t n = 0;

                print_message("%s\n", k->what);
                hers = connect_as(ALICE, server, k->connect, k->type, k->protocol);
                his = connect_as(BOB, server, k->connect, k->type, k->protocol);
                assert_int_equal(sever_count(sever, wants_alice, NULL, &n), 0);
                assert_int_equal(n, 1);
                assert_alive(&hers); /* counting changed nothing */

                assert_int_equal(sever_run(sever, 10, wants_alice, NULL, &r), 0);
                assert_int_equal(r.destroyed, 1);
                assert_int_equal(r.left, 0);
                assert_int_equal(r.rounds, 2);
                assert_int_equal(pending_error(hers.near), ECONNABORTED);
                if (hers.far >= 0)
                        assert_int_equal(read_error(hers.far), ECONNRESET);
                assert_alive(&his);
                assert_int_equal(sever_count(sever, wants_alice, NULL, &n), 0);
                assert_int_equal(n, 0);
                close_pair(&hers);
                close_pair(&his);
                close(server);
        }
}

/* The kernel lists UDP-Lite but has no way to destroy it: said, not passed over in silence. Whatever else she
 * has goes. (Nothing is lost by that: each packet is judged by the rules, and nothing is queued.) */
static void test_udplite(void **state)
{
        int lite = -1, server;
        struct sever_result r;
        struct pair his, hers, tcp;

        (void)state;
        NEEDS_KERNEL();
        lite = serve(world_ns, WORLD6, SOCK_DGRAM, IPPROTO_UDPLITE);
        if (lite < 0) {
                print_message("skipped: no UDP-Lite in this kernel\n");
                skip();
        }
        server = serve(world_ns, WORLD4, SOCK_STREAM, 0);
        hers = connect_as(ALICE, lite, WORLD6, SOCK_DGRAM, IPPROTO_UDPLITE);
        his = connect_as(BOB, lite, WORLD6, SOCK_DGRAM, IPPROTO_UDPLITE);
        tcp = connect_as(ALICE, server, WORLD4, SOCK_STREAM, 0);
        assert_int_equal(sever_run(sever, 10, wants_alice, NULL, &r), 0);
        assert_int_equal(r.destroyed + r.left, 2);
        assert_int_equal(r.left, pending_error(hers.near) == ECONNABORTED ? 0 : 1);
        assert_int_equal(pending_error(tcp.near), ECONNABORTED);
        assert_alive(&his);
        close_pair(&hers);
        close_pair(&his);
        close_pair(&tcp);
        close(lite);
        close(server);
}

/* Raw sockets are listed only by kernels with CONFIG_INET_RAW_DIAG. */
static bool wants_raw(const struct sever_socket *s, void *userdata)
{
        (void)userdata;
        return s->protocol == IPPROTO_RAW;
}

static void test_raw(void **state)
{
        struct sockaddr_storage a;
        struct sever_result r;
        socklen_t size = make_address(WORLD4, 0, &a);
        uint64_t n = 0;
        int fd;

        (void)state;
        NEEDS_KERNEL();
        fd = socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_ICMP);
        assert_true(fd >= 0);
        assert_int_equal(fchown(fd, ALICE, (gid_t)-1), 0);
        assert_int_equal(sever_count(sever, wants_raw, NULL, &n), 0);
        assert_int_equal(n, 0); /* without a peer */
        assert_int_equal(connect(fd, (void *)&a, size), 0);
        assert_int_equal(sever_count(sever, wants_raw, NULL, &n), 0);
        if (n == 0) {
                close(fd);
                print_message("skipped: this kernel does not list raw sockets (CONFIG_INET_RAW_DIAG)\n");
                skip();
        }
        assert_int_equal(sever_run(sever, 10, wants_raw, NULL, &r), 0);
        assert_int_equal(r.destroyed, 1);
        assert_int_equal(pending_error(fd), ECONNABORTED);
        close(fd);
}

/* ---- what is offered ---- */

struct offered {
        struct sever_socket items[64];
        size_t n;
};

static bool note_alice(const struct sever_socket *s, void *userdata)
{
        struct offered *o = userdata;

        if (s->uid != ALICE)
                return false;
        assert_true(o->n < ELEMENTSOF(o->items));
        o->items[o->n++] = *s;
        return true;
}

static void look(struct offered *o)
{
        uint64_t n;

        o->n = 0;
        assert_int_equal(sever_count(sever, note_alice, o, &n), 0);
        assert_int_equal(n, o->n);
}

static void test_describes(void **state)
{
        static const struct {
                const char *serve, *connect;
                int ns_here; /* the server is on this machine */
                int family;
                bool local;
        } table[] = {
                {WORLD4, WORLD4, 0, AF_INET, false},
                {WORLD6, WORLD6, 0, AF_INET6, false},
                {WORLD4, WORLD_MAPPED, 0, AF_INET, false},
                {"127.0.0.1", "127.0.0.1", 1, AF_INET, true},
                {"127.8.9.1", "127.8.9.1", 1, AF_INET, true},
                {"::1", "::1", 1, AF_INET6, true},
                {"127.0.0.1", "::ffff:127.0.0.1", 1, AF_INET, true},
                {HERE4, HERE4, 1, AF_INET, true},
                {HERE6, HERE6, 1, AF_INET6, true},
        };

        (void)state;
        NEEDS_KERNEL();
        for (size_t i = 0; i < 2 * ELEMENTSOF(table); i++) {
                const int type = i % 2 ? SOCK_DGRAM : SOCK_STREAM;
                const size_t t = i / 2;
                int server = serve(table[t].ns_here ? here_ns : world_ns, table[t].serve, type, 0);
                struct pair p = connect_as(ALICE, server, table[t].connect, type, 0);
                struct offered o;
                uint8_t expected[16] = {0};

                print_message("%s\n", table[t].connect);
                look(&o);
                assert_int_equal(o.n, 1);
                assert_int_equal(o.items[0].family, table[t].family);
                assert_int_equal(o.items[0].protocol, i % 2 ? IPPROTO_UDP : IPPROTO_TCP);
                assert_int_equal(o.items[0].state, TCP_ESTABLISHED);
                assert_int_equal(o.items[0].local, table[t].local);
                assert_int_equal(o.items[0].dport, port_of(server));
                assert_int_equal(o.items[0].sport, port_of(p.near));
                assert_false(o.items[0].orphan);
                assert_int_equal(inet_pton(table[t].family, table[t].serve, expected), 1);
                assert_memory_equal(o.items[0].dst, expected, 16);
                close_pair(&p);
                close(server);
        }
}

static void test_never_offered(void **state)
{
        struct sockaddr_storage a;
        struct offered o;
        struct pair p;
        int world, fds[4];

        (void)state;
        NEEDS_KERNEL();
        /* a listener, and unconnected datagram sockets, one of which has sent */
        fds[0] = socket_as(ALICE, AF_INET, SOCK_STREAM, 0);
        assert_int_equal(listen(fds[0], 1), 0);
        fds[1] = socket_as(ALICE, AF_INET6, SOCK_STREAM, 0);
        assert_int_equal(listen(fds[1], 1), 0);
        fds[2] = socket_as(ALICE, AF_INET, SOCK_DGRAM, 0);
        assert_int_equal(sendto(fds[2], "x", 1, 0, (void *)&a, make_address(WORLD4, 9, &a)), 1);
        fds[3] = socket_as(ALICE, AF_INET6, SOCK_DGRAM, 0);
        assert_int_equal(bind(fds[3], (void *)&a, make_address("::", 0, &a)), 0);
        look(&o);
        assert_int_equal(o.n, 0);

        /* TIME_WAIT: this side closes first */
        world = serve(world_ns, WORLD4, SOCK_STREAM, 0);
        p = connect_as(ALICE, world, WORLD4, SOCK_STREAM, 0);
        shutdown(p.near, SHUT_WR);
        assert_int_equal(read_error(p.far), ESHUTDOWN);
        close(p.far);
        assert_int_equal(read_error(p.near), ESHUTDOWN);
        close(p.near);
        look(&o);
        assert_int_equal(o.n, 0);
        close(world);
        for (size_t i = 0; i < ELEMENTSOF(fds); i++)
                close(fds[i]);
}

static void test_syn_sent(void **state)
{
        struct sockaddr_storage a;
        socklen_t size = make_address(NOBODY4, 443, &a);
        struct sever_result r;
        struct offered o;
        int fd;

        (void)state;
        NEEDS_KERNEL();
        fd = socket_as(ALICE, AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        assert_int_equal(connect(fd, (void *)&a, size), -1);
        assert_int_equal(errno, EINPROGRESS);
        look(&o);
        assert_int_equal(o.n, 1);
        assert_int_equal(o.items[0].state, TCP_SYN_SENT);
        assert_int_equal(sever_run(sever, 10, wants_alice, NULL, &r), 0);
        assert_int_equal(r.destroyed, 1);
        assert_int_equal(pending_error(fd), ECONNABORTED);
        close(fd);
}

/* ---- orphans ---- */

/* A process of Alice's connects, fills the connection with more than the peer will take, and exits. Returns
 * what it queued. */
static size_t fill_and_exit(int server)
{
        size_t queued = 0;
        int report[2], status;
        pid_t pid;

        assert_int_equal(pipe2(report, O_CLOEXEC), 0);
        pid = fork();
        assert_true(pid >= 0);
        if (pid == 0) {
                static char block[1 << 16];
                struct sockaddr_storage a;
                socklen_t size = make_address(WORLD4, port_of(server), &a);
                int fd, buffer = 4 << 20;
                ssize_t n;

                if (setresuid(ALICE, ALICE, ALICE) < 0)
                        _exit(1);
                fd = socket(AF_INET, SOCK_STREAM, 0);
                (void)setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &buffer, sizeof(buffer));
                if (fd < 0 || connect(fd, (void *)&a, size) < 0)
                        _exit(2);
                while ((n = send(fd, block, sizeof(block), MSG_DONTWAIT)) > 0)
                        queued += (size_t)n;
                _exit(write(report[1], &queued, sizeof(queued)) !=
                      sizeof(queued)); /* does not close FD itself */
        }
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
        assert_int_equal(read(report[0], &queued, sizeof(queued)), sizeof(queued));
        close(report[0]);
        close(report[1]);
        return queued;
}

static size_t drain(int fd, int *ret_error)
{
        static char block[1 << 16];
        struct pollfd p = {.fd = fd, .events = POLLIN};
        size_t total = 0;

        for (;;) {
                ssize_t n;

                if (poll(&p, 1, 2000) != 1) {
                        *ret_error = ETIMEDOUT;
                        return total;
                }
                n = recv(fd, block, sizeof(block), MSG_DONTWAIT);
                if (n <= 0) {
                        *ret_error = n < 0 ? errno : 0;
                        return total;
                }
                total += (size_t)n;
        }
}

static void test_orphan(void **state)
{
        struct sever_result r;
        struct offered o;
        int server, far, error, small = 4096;
        size_t queued, arrived;

        (void)state;
        NEEDS_KERNEL();
        server = serve(world_ns, WORLD4, SOCK_STREAM, 0);
        assert_int_equal(setsockopt(server, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small)), 0);
        queued = fill_and_exit(server);
        far = accept(server, NULL, NULL);
        assert_true(far >= 0);
        assert_true(queued > 1 << 19);

        look(&o);
        if (o.n == 0) {
                print_message("skipped: this kernel does not say whose an orphan was (before 6.17)\n");
                skip();
        }
        assert_int_equal(o.n, 1);
        assert_true(o.items[0].orphan);
        assert_int_equal(o.items[0].state, TCP_FIN_WAIT1);
        assert_int_equal(sever_run(sever, 10, wants_alice, NULL, &r), 0);
        assert_int_equal(r.destroyed, 1);
        look(&o);
        assert_int_equal(o.n, 0);

        arrived = drain(far, &error);
        print_message("queued %zu bytes, %zu arrived\n", queued, arrived);
        assert_int_equal(error, ECONNRESET);
        assert_true(arrived < queued / 4);
        close(far);
        close(server);
}

/* The same without severing: all of it goes out. (What the test above guards against is real.) */
static void test_orphan_left_alone_goes_out(void **state)
{
        int server, far, error;
        size_t queued;

        (void)state;
        NEEDS_KERNEL();
        server = serve(world_ns, WORLD4, SOCK_STREAM, 0);
        queued = fill_and_exit(server);
        far = accept(server, NULL, NULL);
        assert_true(far >= 0);
        assert_int_equal(drain(far, &error), queued);
        assert_int_equal(error, 0);
        close(far);
        close(server);
}

/* ---- owners, many, endless ---- */

static bool has_uid(const uint32_t *uids, size_t n, uint32_t uid)
{
        for (size_t i = 0; i < n; i++)
                if (uids[i] == uid)
                        return true;
        return false;
}

static void test_owner_uids(void **state)
{
        struct sockaddr_storage a;
        uint32_t *uids = NULL;
        size_t n = 0;
        int listener, datagram;

        (void)state;
        NEEDS_KERNEL();
        listener = socket_as(ALICE, AF_INET6, SOCK_STREAM, 0);
        assert_int_equal(listen(listener, 1), 0);
        datagram = socket_as(BOB, AF_INET, SOCK_DGRAM, 0);
        assert_int_equal(bind(datagram, (void *)&a, make_address("0.0.0.0", 0, &a)), 0);
        assert_int_equal(sever_owner_uids(sever, &uids, &n), 0);
        assert_true(has_uid(uids, n, ALICE));
        assert_true(has_uid(uids, n, BOB));
        for (size_t i = 1; i < n; i++)
                assert_true(uids[i - 1] < uids[i]);
        free(uids);
        close(listener);
        close(datagram);
        assert_int_equal(sever_owner_uids(sever, &uids, &n), 0);
        assert_false(has_uid(uids, n, ALICE));
        free(uids);
}

static void test_many(void **state)
{
        _cleanup_free_ int *fds = NULL;
        struct timespec begin, end;
        struct rlimit files;
        struct sever_result r;
        struct sockaddr_storage a;
        socklen_t size = make_address(WORLD4, 4433, &a);
        uint64_t left = 0;
        int total = 24000;

        (void)state;
        NEEDS_KERNEL();
        assert_int_equal(getrlimit(RLIMIT_NOFILE, &files), 0);
        if (files.rlim_cur < (rlim_t)total + 100)
                total = ((int)files.rlim_cur - 100) / 4 * 4;
        fds = calloc((size_t)total, sizeof(*fds));
        assert_non_null(fds);
        for (int i = 0; i < total; i++) { /* every fourth is hers */
                fds[i] = socket_as(i % 4 ? BOB : ALICE, AF_INET, SOCK_DGRAM, 0);
                assert_true(fds[i] >= 0);
                assert_int_equal(connect(fds[i], (void *)&a, size), 0);
        }
        clock_gettime(CLOCK_MONOTONIC, &begin);
        assert_int_equal(sever_run(sever, 10, wants_alice, NULL, &r), 0);
        clock_gettime(CLOCK_MONOTONIC, &end);
        print_message("%d of %d sockets: %.1f ms\n", total / 4, total,
                      (double)(end.tv_sec - begin.tv_sec) * 1e3 +
                              (double)(end.tv_nsec - begin.tv_nsec) / 1e6);
        assert_int_equal(r.destroyed, total / 4);
        assert_int_equal(r.left, 0);
        assert_int_equal(r.rounds, 2);
        assert_int_equal(sever_count(sever, wants_alice, NULL, &left), 0);
        assert_int_equal(left, 0);
        for (int i = 0; i < total; i++) {
                assert_int_equal(pending_error(fds[i]), i % 4 ? 0 : ECONNABORTED);
                close(fds[i]);
        }
}

struct hydra {
        int fds[16];
        size_t n;
};

/* Somebody who opens two for each that is cut. */
static bool wants_alice_and_opens_more(const struct sever_socket *s, void *userdata)
{
        struct hydra *h = userdata;
        struct sockaddr_storage a;
        socklen_t size = make_address(WORLD4, 4433, &a);

        if (s->uid != ALICE)
                return false;
        if (h->n < ELEMENTSOF(h->fds)) {
                h->fds[h->n] = socket_as(ALICE, AF_INET, SOCK_DGRAM, 0);
                assert_int_equal(connect(h->fds[h->n++], (void *)&a, size), 0);
        }
        return true;
}

static void test_rounds(void **state)
{
        struct sockaddr_storage a;
        socklen_t size = make_address(WORLD4, 4433, &a);
        struct hydra h = {.n = 1};
        struct sever_result r;

        (void)state;
        NEEDS_KERNEL();
        h.fds[0] = socket_as(ALICE, AF_INET, SOCK_DGRAM, 0);
        assert_int_equal(connect(h.fds[0], (void *)&a, size), 0);
        assert_int_equal(sever_run(sever, 1, wants_alice_and_opens_more, &h, &r), 0);
        assert_int_equal(r.rounds, 1);
        assert_true(r.destroyed >= 1);
        assert_int_equal(sever_run(sever, 32, wants_alice_and_opens_more, &h, &r), 0);
        assert_true(r.rounds > 1);
        assert_int_equal(r.left, 0);
        for (size_t i = 0; i < h.n; i++) {
                assert_int_equal(pending_error(h.fds[i]), ECONNABORTED);
                close(h.fds[i]);
        }
}

static bool wants_any(const struct sever_socket *s, void *userdata)
{
        (void)userdata;
        return s->protocol == IPPROTO_TCP;
}

/* TCP connections the world has with us. */
static uint64_t world_connections(void)
{
        _cleanup_(sever_closep) struct sever *world = NULL;
        uint64_t n = 0;

        enter(world_ns);
        assert_int_equal(sever_open(&world), 0);
        assert_int_equal(sever_count(world, wants_any, NULL, &n), 0);
        enter(here_ns);
        return n;
}

/* MPTCP lives on without a single subflow for a while, in the hope of another; what is destroyed is the
 * subflow, and the peer's is reset by it. */
static void test_mptcp(void **state)
{
        struct sever_result r;
        struct pair p;
        int server;

        (void)state;
        NEEDS_KERNEL();
        server = serve(world_ns, WORLD4, SOCK_STREAM, IPPROTO_MPTCP);
        if (server < 0) {
                print_message("skipped: no MPTCP in this kernel\n");
                skip();
        }
        p = connect_as(ALICE, server, WORLD4, SOCK_STREAM, IPPROTO_MPTCP);
        assert_alive(&p);
        assert_true(world_connections() > 0);
        assert_int_equal(sever_run(sever, 10, wants_alice, NULL, &r), 0);
        assert_int_equal(r.destroyed, 1);
        assert_int_equal(r.left, 0);
        for (int tries = 0; world_connections() > 0 && tries < 200; tries++)
                (void)poll(NULL, 0, 10); /* until the reset has arrived */
        assert_int_equal(world_connections(), 0);
        close_pair(&p);
        close(server);
}

#define ON_FAKE(test) cmocka_unit_test_setup_teardown(test, fake_on, fake_off)

int main(void)
{
        const struct CMUnitTest tests[] = {
                ON_FAKE(test_fake_plain),
                ON_FAKE(test_fake_interrupted),
                ON_FAKE(test_fake_refused),
                ON_FAKE(test_fake_lost_acks),
                ON_FAKE(test_fake_kept_orphan),
                ON_FAKE(test_fake_no_handler),
                ON_FAKE(test_fake_other_errors),
                ON_FAKE(test_fake_raw),
                cmocka_unit_test(test_fake_open),
                cmocka_unit_test(test_destroys_hers_and_leaves_his),
                cmocka_unit_test(test_udplite),
                cmocka_unit_test(test_raw),
                cmocka_unit_test(test_describes),
                cmocka_unit_test(test_never_offered),
                cmocka_unit_test(test_syn_sent),
                cmocka_unit_test(test_orphan),
                cmocka_unit_test(test_orphan_left_alone_goes_out),
                cmocka_unit_test(test_owner_uids),
                cmocka_unit_test(test_many),
                cmocka_unit_test(test_rounds),
                cmocka_unit_test(test_mptcp),
        };

        return cmocka_run_group_tests_name("sever", tests, group_setup, group_teardown);
}
