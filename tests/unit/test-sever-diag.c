/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Destroying sockets against a made-up kernel, for what the real one does rarely. */

// wrap: mnl_socket_sendto mnl_socket_recvfrom

#include "sever.h"
#include <arpa/inet.h>
#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/inet_diag.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>

#define ALICE 61001U
#define BOB 61002U

/* ---- a made-up kernel ---- */

static struct {
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
        bool no_old_request;       /* TCPDIAG_GETSOCK is unknown */
        int lose_dumps, cut_dumps; /* that many answers are lost, or without their end */
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

/* The request of old is for TCP, and for both families. */
static struct inet_diag_req_v2 fake_request(const struct nlmsghdr *h)
{
        const struct inet_diag_req *old = mnl_nlmsg_get_payload(h);

        if (h->nlmsg_type != TCPDIAG_GETSOCK)
                return *(const struct inet_diag_req_v2 *)mnl_nlmsg_get_payload(h);
        return (struct inet_diag_req_v2){
                .sdiag_family = AF_UNSPEC, .sdiag_protocol = IPPROTO_TCP, .idiag_states = old->idiag_states};
}

static void fake_dump(const struct nlmsghdr *h)
{
        const struct inet_diag_req_v2 request = fake_request(h), *req = &request;
        uint16_t flags = NLM_F_MULTI;

        fake.dumps++;
        if (h->nlmsg_type == TCPDIAG_GETSOCK && fake.no_old_request) {
                fake_error(h->nlmsg_seq, -EOPNOTSUPP);
                return;
        }
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
                if ((req->sdiag_family != AF_UNSPEC && fake.sockets[i].idiag_family != req->sdiag_family) ||
                    fake.protocols[i] != req->sdiag_protocol ||
                    !(req->idiag_states & 1U << fake.sockets[i].idiag_state))
                        continue;
                memcpy(fake_put(h->nlmsg_type, flags, h->nlmsg_seq, sizeof(fake.sockets[i])),
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
                        if (h->nlmsg_flags & NLM_F_ACK)
                                fake_error(h->nlmsg_seq, 0);
                        return;
                }
        fake_error(h->nlmsg_seq, -ENOENT);
}

ssize_t __wrap_mnl_socket_sendto(const struct mnl_socket *nl, const void *data, size_t size);
ssize_t __wrap_mnl_socket_sendto(const struct mnl_socket *nl, const void *data, size_t size)
{
        const struct nlmsghdr *h = data;
        int left = (int)size;

        (void)nl;
        for (; mnl_nlmsg_ok(h, left); h = mnl_nlmsg_next(h, &left)) {
                if (h->nlmsg_type == SOCK_DESTROY)
                        fake_destroy(h, mnl_nlmsg_get_payload(h));
                else
                        fake_dump(h);
        }
        h = data;
        if (h->nlmsg_type != SOCK_DESTROY && fake.lose_dumps > 0) {
                fake.lose_dumps--;
                fake.queued = 0;
        } else if (h->nlmsg_type != SOCK_DESTROY && fake.cut_dumps > 0) {
                fake.cut_dumps--;
                fake.queued -= 2;
        }
        if (h->nlmsg_type == SOCK_DESTROY && fake.lose_acks > 0) {
                fake.lose_acks--;
                fake.queued = 0;
                fake.overflow = true;
        }
        return (ssize_t)size;
}

ssize_t __wrap_mnl_socket_recvfrom(const struct mnl_socket *nl, void *buf, size_t size);
ssize_t __wrap_mnl_socket_recvfrom(const struct mnl_socket *nl, void *buf, size_t size)
{
        size_t n = fake.queued;

        (void)nl;
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

static int setup(void **state)
{
        memset(&fake, 0, sizeof(fake));
        fake.destroy_answer = -ENOENT;
        assert_int_equal(sever_open((struct sever **)state), 0);
        fake.destroy_answer = 0;
        fake.dumps = 0;
        return 0;
}

static int teardown(void **state)
{
        sever_close(*state);
        return 0;
}

static bool wants_alice(const struct sever_socket *s, void *userdata)
{
        (void)userdata;
        return s->uid == ALICE;
}

static void test_plain(void **state)
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

/* Only the last of a batch is acknowledged; what fails is said of each. */
static void test_one_ack(void **state)
{
        struct sever_result r;

        for (uint32_t cookie = 1; cookie <= 4; cookie++)
                fake_socket(IPPROTO_TCP, ALICE, cookie);
        assert_int_equal(sever_run(*state, 10, wants_alice, NULL, &r), 0);
        assert_int_equal(r.destroyed, 4);
        assert_int_equal(r.left, 0);
        assert_int_equal(r.rounds, 2);
        assert_int_equal(fake.n, 0);
}

/* What a dump has found none of is not asked for again. */
static void test_rounds(void **state)
{
        struct sever_result r;

        fake.dumps = 0;
        fake_socket(IPPROTO_UDP, ALICE, 1);
        assert_int_equal(sever_run(*state, 10, wants_alice, NULL, &r), 0);
        assert_int_equal(r.destroyed, 1);
        assert_int_equal(fake.dumps, 7 + 1);
}

/* Both families of TCP are seen, with one dump or with two. */
static void test_tcp_families(void **state)
{
        for (int old = 0; old < 2; old++) {
                struct sever_result r;

                fake.no_old_request = old;
                fake_socket(IPPROTO_TCP, ALICE, 1);
                fake_socket(IPPROTO_TCP, ALICE, 2);
                fake.sockets[1].idiag_family = AF_INET6;
                fake.sockets[1].id.idiag_dst[0] = htonl(0x20010db8);
                assert_int_equal(sever_run(*state, 10, wants_alice, NULL, &r), 0);
                assert_int_equal(r.destroyed, 2);
                assert_int_equal(fake.n, 0);
        }
}

/* An interrupted dump is taken again, and what it had found does not count twice. */
static void test_interrupted(void **state)
{
        uint64_t n = 0;

        fake_socket(IPPROTO_TCP, ALICE, 1);
        fake.interruptions = 2;
        assert_int_equal(sever_count(*state, wants_alice, NULL, &n), 0);
        assert_int_equal(n, 1);
        assert_int_equal(fake.dumps, 7 + 2);
        fake.interruptions = 1000; /* never quiet: what the last dump shows has to do */
        assert_int_equal(sever_count(*state, wants_alice, NULL, &n), 0);
        assert_int_equal(n, 1);
}

/* Asked for again; in vain, it is said. */
static void test_lost_dumps(void **state)
{
        uint64_t n = 0;

        fake_socket(IPPROTO_TCP, ALICE, 1);
        for (int cut = 0; cut < 2; cut++) {
                int *harmed = cut ? &fake.cut_dumps : &fake.lose_dumps;

                *harmed = 2;
                n = 0;
                assert_int_equal(sever_count(*state, wants_alice, NULL, &n), 0);
                assert_int_equal(n, 1);
                *harmed = 1000;
                n = 7;
                assert_int_equal(sever_count(*state, wants_alice, NULL, &n), cut ? -EBADMSG : -ETIMEDOUT);
                assert_int_equal(n, 7);
                *harmed = 0;
        }
}

static void test_a_kernel_without_memory(void **state)
{
        struct sever_result r;

        fake_socket(IPPROTO_TCP, ALICE, 1);
        fake.dump_answer_protocol = IPPROTO_UDP;
        fake.dump_answer = -ENOMEM;
        assert_int_equal(sever_run(*state, 10, wants_alice, NULL, &r), -ENOMEM);
        fake.dump_answer = 0;
        assert_int_equal(sever_run(*state, 10, wants_alice, NULL, &r), 0);
        assert_int_equal(r.left, 0);
        assert_int_equal(fake.n, 0);
}

static void test_refused(void **state)
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

static void test_lost_acks(void **state)
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
static void test_kept_orphan(void **state)
{
        struct sever_result r;

        fake_socket(IPPROTO_TCP, ALICE, 1);
        fake.keeps_destroyed = true;
        assert_int_equal(sever_run(*state, 32, wants_alice, NULL, &r), 0);
        assert_int_equal(r.destroyed, 1);
        assert_int_equal(r.rounds, 2);
}

/* A kernel without a protocol's handler: the others are dealt with all the same. */
static void test_no_handler(void **state)
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

static void test_other_errors(void **state)
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
static void test_raw(void **state)
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

static void test_open(void **state)
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
                fake.dump_answer = table[i].dump;
                fake.dump_answer_protocol = IPPROTO_TCP;
                fake.destroy_answer = table[i].destroy;
                assert_int_equal(sever_open(&s), table[i].result);
                assert_int_equal(sever_can_destroy(s), table[i].can);
                sever_close(s);
        }
}

#define ON_FAKE(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
        const struct CMUnitTest tests[] = {
                ON_FAKE(test_plain),
                ON_FAKE(test_interrupted),
                ON_FAKE(test_refused),
                ON_FAKE(test_lost_acks),
                ON_FAKE(test_kept_orphan),
                ON_FAKE(test_no_handler),
                ON_FAKE(test_other_errors),
                ON_FAKE(test_raw),
                cmocka_unit_test(test_open),
                ON_FAKE(test_lost_dumps),
                ON_FAKE(test_a_kernel_without_memory),
                ON_FAKE(test_one_ack),
                ON_FAKE(test_rounds),
                ON_FAKE(test_tcp_families),
        };

        return cmocka_run_group_tests_name("sever-diag", tests, NULL, NULL);
}
