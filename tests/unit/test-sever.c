/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Destroying sockets against the real kernel. */

#include "sever-lab.h"
#include <netinet/tcp.h>
#include <sys/wait.h>
#include <time.h>

static bool wants_alice(const struct sever_socket *s, void *userdata)
{
        (void)userdata;
        return s->uid == ALICE;
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
        assert_true(queued > 1 << 17); /* net.core.wmem_max limits it: 208 KiB unless somebody raised that */

        look(&o);
        if (o.n == 0) {
                close(far); /* the world's connections are counted later */
                close(server);
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

int main(void)
{
        const struct CMUnitTest tests[] = {
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
