/* SPDX-License-Identifier: GPL-2.0-or-later */

/* sock_diag(7): dumps and destructions. Every answer is matched to its question by sequence number. */

#include "netlink-message.h"
#include "sever-internal.h"
#include <errno.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>

/* Destructions in one send: enough to make the system call's cost vanish, few enough that an error of each
 * finds room in the receive buffer before the first is read. */
#define DESTROY_BATCH 512
#define DESTROY_MESSAGE_SIZE (NLMSG_ALIGN(NLMSG_LENGTH(sizeof(struct inet_diag_req_v2))))
#define DIAG_REQUEST_MAX (NLMSG_ALIGN(NLMSG_LENGTH(sizeof(struct inet_diag_req)))) /* the largest */

/* ---- receiving ---- */

/* Receives until HANDLE, called for each message of ours, says 0 (done) or -errno; it says 1 for more. */
typedef int (*handle_t)(const struct nlmsghdr *h, void *userdata);

static int handle_buffer(struct sever *s, ssize_t size, unsigned first, unsigned last, handle_t handle,
                         void *userdata)
{
        const struct nlmsghdr *h = (const struct nlmsghdr *)(const void *)s->buffer;
        int left = (int)size;

        for (; netlink_message_ok(h, left); h = mnl_nlmsg_next(h, &left)) {
                int r;

                /* Late answers to a conversation that was broken off; wraps around as the numbers do. */
                if (h->nlmsg_seq - first > last - first ||
                    !mnl_nlmsg_portid_ok(h, mnl_socket_get_portid(s->nl)))
                        continue;
                r = handle(h, userdata);
                if (r <= 0)
                        return r;
        }
        return left > 0 ? -EBADMSG : 1; /* cut off */
}

static int receive(struct sever *s, unsigned first, unsigned last, handle_t handle, void *userdata)
{
        int r = 1;

        while (r > 0) {
                ssize_t n = mnl_socket_recvfrom(s->nl, s->buffer, DIAG_BUFFER_SIZE);

                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0 && errno == EAGAIN)
                        return -ETIMEDOUT;
                if (n < 0)
                        return -errno;
                r = handle_buffer(s, n, first, last, handle, userdata);
        }
        return r;
}

static int error_of(const struct nlmsghdr *h)
{
        const struct nlmsgerr *e = mnl_nlmsg_get_payload(h);

        return mnl_nlmsg_get_payload_len(h) < sizeof(e->error) ? -EBADMSG : netlink_error(e->error);
}

/* A dump that fails once it is under way says so in its last message. */
static int error_of_done(const struct nlmsghdr *h)
{
        int error = 0;

        if (mnl_nlmsg_get_payload_len(h) >= sizeof(error))
                memcpy(&error, mnl_nlmsg_get_payload(h), sizeof(error));
        return error < 0 ? netlink_error(error) : 0;
}

static int send_all(struct sever *s, const void *data, size_t size)
{
        ssize_t n;

        do
                n = mnl_socket_sendto(s->nl, data, size);
        while (n < 0 && errno == EINTR);
        return n < 0 ? -errno : 0;
}

bool diag_may_pass(int error)
{
        return error == -EAGAIN || error == -ETIMEDOUT || error == -ENOBUFS || error == -EBADMSG ||
               error == -EBUSY || error == -ENOMEM;
}

/* The kernel begins no dump before the one before it was read to its end. */
static void drain(struct sever *s)
{
        while (mnl_socket_recvfrom(s->nl, s->buffer, DIAG_BUFFER_SIZE) >= 0 || errno == EINTR)
                ;
}

/* ---- dumps ---- */

struct dump {
        diag_item_t item;
        void *userdata;
        bool interrupted;
};

static int handle_dump(const struct nlmsghdr *h, void *userdata)
{
        struct dump *d = userdata;
        int r;

        if (h->nlmsg_flags & NLM_F_DUMP_INTR)
                d->interrupted = true;
        if (h->nlmsg_type == NLMSG_ERROR)
                return error_of(h);
        if (h->nlmsg_type == NLMSG_DONE)
                return error_of_done(h);
        if (h->nlmsg_type != SOCK_DIAG_BY_FAMILY && h->nlmsg_type != TCPDIAG_GETSOCK)
                return 1;
        r = d->item(h, d->userdata);
        return r < 0 ? r : 1;
}

static int dump_of_type(struct sever *s, uint16_t type, const void *request, size_t size, diag_item_t item,
                        void *userdata)
{
        _Alignas(struct nlmsghdr) char message[DIAG_REQUEST_MAX];
        struct dump d = {.item = item, .userdata = userdata};
        struct nlmsghdr *h = mnl_nlmsg_put_header(message);
        unsigned sequence = ++s->sequence;
        int r;

        h->nlmsg_type = type;
        h->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
        h->nlmsg_seq = sequence;
        memcpy(mnl_nlmsg_put_extra_header(h, size), request, size);
        r = send_all(s, message, h->nlmsg_len);
        if (r == 0)
                r = receive(s, sequence, sequence, handle_dump, &d);
        if (r == -EOPNOTSUPP || r == -EPROTONOSUPPORT || r == -EAFNOSUPPORT)
                return -ENOENT; /* each is said by some kernel for "no such handler" */
        if (diag_may_pass(r) && r != -ETIMEDOUT)
                drain(s);
        return r == 0 && d.interrupted ? -EAGAIN : r;
}

int diag_dump_with(struct sever *s, const void *request, size_t size, diag_item_t item, void *userdata)
{
        return dump_of_type(s, SOCK_DIAG_BY_FAMILY, request, size, item, userdata);
}

struct inet_dump {
        int protocol;
        diag_found_t found;
        void *userdata;
};

/* What is not in the fixed part. */
static void read_attributes(const struct nlmsghdr *h, uint8_t *raw_protocol, uint64_t *cgroup)
{
        const char *end = (const char *)h + h->nlmsg_len; /* libmnl's tail is rounded up */
        const struct nlattr *a = mnl_nlmsg_get_payload_offset(h, sizeof(struct inet_diag_msg));

        for (; mnl_attr_ok(a, (int)(end - (const char *)a)); a = mnl_attr_next(a)) {
                if (mnl_attr_get_type(a) == INET_DIAG_CGROUP_ID && mnl_attr_get_payload_len(a) == 8)
                        *cgroup = mnl_attr_get_u64(a);
                else if (mnl_attr_get_type(a) == INET_DIAG_PROTOCOL && mnl_attr_get_payload_len(a) == 1)
                        *raw_protocol = mnl_attr_get_u8(a);
        }
}

static int inet_item(const struct nlmsghdr *h, void *userdata)
{
        const struct inet_dump *d = userdata;
        const struct inet_diag_msg *msg = mnl_nlmsg_get_payload(h);
        struct diag_socket key = {.protocol = (uint8_t)d->protocol};
        uint64_t cgroup = 0;

        if (mnl_nlmsg_get_payload_len(h) < sizeof(*msg))
                return 0;
        key.family = msg->idiag_family;
        key.id = msg->id;
        read_attributes(h, &key.raw_protocol, &cgroup);
        return d->found(d->userdata, &key, msg, cgroup);
}

int diag_dump_tcp(struct sever *s, uint32_t states, diag_found_t found, void *userdata)
{
        const struct inet_diag_req req = {.idiag_states = states};
        struct inet_dump d = {.protocol = IPPROTO_TCP, .found = found, .userdata = userdata};
        int r = dump_of_type(s, TCPDIAG_GETSOCK, &req, sizeof(req), inet_item, &d);

        if (r != -ENOENT)
                return r;
        r = diag_dump(s, AF_INET, IPPROTO_TCP, states, found, userdata);
        return r < 0 ? r : diag_dump(s, AF_INET6, IPPROTO_TCP, states, found, userdata);
}

int diag_dump(struct sever *s, int family, int protocol, uint32_t states, diag_found_t found, void *userdata)
{
        const struct inet_diag_req_v2 req = {
                .sdiag_family = (uint8_t)family, .sdiag_protocol = (uint8_t)protocol, .idiag_states = states};
        struct inet_dump d = {.protocol = protocol, .found = found, .userdata = userdata};

        return diag_dump_with(s, &req, sizeof(req), inet_item, &d);
}

/* ---- destructions ---- */

#define NOT_ANSWERED (-EAGAIN)

struct batch {
        unsigned first, last;
        int *results;
};

/* Only the last one is acknowledged, and the kernel takes them in their order. What fails is said of each. */
static int handle_ack(const struct nlmsghdr *h, void *userdata)
{
        struct batch *b = userdata;

        if (h->nlmsg_type != NLMSG_ERROR)
                return 1;
        b->results[h->nlmsg_seq - b->first] = error_of(h);
        return h->nlmsg_seq == b->last ? 0 : 1;
}

static void put_destroy(void *message, const struct diag_socket *key, unsigned sequence, bool last)
{
        struct nlmsghdr *h = mnl_nlmsg_put_header(message);
        struct inet_diag_req_v2 *req = mnl_nlmsg_put_extra_header(h, sizeof(*req));

        h->nlmsg_type = SOCK_DESTROY;
        h->nlmsg_flags = NLM_F_REQUEST | (last ? NLM_F_ACK : 0);
        h->nlmsg_seq = sequence;
        req->sdiag_family = key->family;
        req->sdiag_protocol = key->protocol;
        req->pad = key->raw_protocol; /* is sdiag_raw_protocol of struct inet_diag_req_raw */
        req->idiag_states = UINT32_MAX;
        req->id = key->id;
}

static int destroy_batch(struct sever *s, const struct diag_socket *sockets, size_t n, int *results)
{
        struct batch b = {.first = s->sequence + 1, .last = s->sequence + (unsigned)n, .results = results};
        _cleanup_free_ char *messages = calloc(n, DESTROY_MESSAGE_SIZE);
        int r;

        if (!messages)
                return -ENOMEM;
        for (size_t i = 0; i < n; i++) {
                results[i] = NOT_ANSWERED;
                put_destroy(messages + i * DESTROY_MESSAGE_SIZE, &sockets[i], ++s->sequence, i + 1 == n);
        }
        r = send_all(s, messages, n * DESTROY_MESSAGE_SIZE);
        if (r == 0)
                r = receive(s, b.first, b.last, handle_ack, &b);
        for (size_t i = 0; r == 0 && i < n; i++)
                if (results[i] == NOT_ANSWERED)
                        results[i] = 0;
        return r;
}

int diag_destroy(struct sever *s, const struct diag_socket *sockets, size_t n, int *results)
{
        int r = 0;

        for (size_t i = 0; i < n; i++)
                results[i] = NOT_ANSWERED;
        for (size_t at = 0; at < n && r == 0; at += DESTROY_BATCH) {
                size_t some = n - at < DESTROY_BATCH ? n - at : DESTROY_BATCH;

                r = destroy_batch(s, sockets + at, some, results + at);
                if (r == -ENOBUFS || r == -ETIMEDOUT || r == -EBADMSG)
                        r = 0; /* answers were lost: the next dump shows what became of these */
        }
        return r;
}

int diag_probe_destroy(struct sever *s)
{
        /* No socket has port 0 on both sides, and none has this cookie. */
        struct diag_socket nobody = {.family = AF_INET,
                                     .protocol = IPPROTO_TCP,
                                     .id = {.idiag_cookie = {UINT32_MAX - 1, UINT32_MAX - 1}}};
        int result, r;

        nobody.id.idiag_src[0] = nobody.id.idiag_dst[0] = htonl(INADDR_LOOPBACK);
        r = diag_destroy(s, &nobody, 1, &result);
        return r < 0 ? r : result;
}
