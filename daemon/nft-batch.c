// SPDX-License-Identifier: GPL-2.0-or-later
#include "netlink-message.h"
#include "nft-internal.h"
#include <errno.h>
#include <libnftnl/common.h>
#include <linux/netfilter.h>
#include <string.h>

struct nft_batch_object {
        const char *what, *name;
        bool confirmed;
};

/* ARRAY with room for NEEDED items, or NULL; its CAPACITY doubles. */
static void *grow(void *array, size_t *capacity, size_t needed, size_t size)
{
        size_t wanted = *capacity > 0 ? *capacity : 64;
        void *grown;

        if (needed <= *capacity)
                return array;
        while (wanted < needed)
                wanted *= 2;
        grown = reallocarray(array, wanted, size);
        if (grown)
                *capacity = wanted;
        return grown;
}

void nft_batch_fail(struct nft_batch *b, int error)
{
        if (b->error == 0)
                b->error = error;
}

/* Where the next message is written. It is zero behind what the last one left there, and is made so again:
 * libmnl leaves the padding behind attributes as it was, which the kernel is not to be shown. */
static char *next_message(const struct nft_batch *b)
{
        struct nlmsghdr *last = (struct nlmsghdr *)(void *)b->nft->message;

        memset(last, 0, NLMSG_ALIGN(last->nlmsg_len));
        return b->nft->message;
}

void nft_batch_add(struct nft_batch *b, const struct nlmsghdr *message)
{
        size_t length = NLMSG_ALIGN(message->nlmsg_len);
        char *buffer = b->error < 0 ? NULL : grow(b->buffer, &b->capacity, b->length + length, 1);

        if (!buffer) {
                nft_batch_fail(b, -ENOMEM);
                return;
        }
        b->buffer = buffer;
        memcpy(buffer + b->length, message, length);
        b->length += length;
}

static bool add_object(struct nft_batch *b, const char *what, const char *name)
{
        struct nft_batch_object *objects =
                b->error < 0 ? NULL
                             : grow(b->objects, &b->objects_capacity, b->n_objects + 1, sizeof(*objects));

        if (!objects) {
                nft_batch_fail(b, -ENOMEM);
                return false;
        }
        b->objects = objects;
        b->objects[b->n_objects++] = (struct nft_batch_object){.what = what, .name = name};
        return true;
}

void nft_batch_begin(struct nft_batch *b, struct nft *n, const char *table)
{
        *b = (struct nft_batch){.nft = n, .table = table, .family = NFPROTO_INET};
        b->first_sequence = n->sequence + 1;
        if (add_object(b, "the change", NULL))
                nft_batch_add(b, nftnl_batch_begin(next_message(b), ++n->sequence));
}

struct nlmsghdr *nft_batch_message(struct nft_batch *b, uint16_t type, uint16_t flags, const char *what,
                                   const char *name)
{
        if (!add_object(b, what, name))
                return NULL;
        return nftnl_nlmsg_build_hdr(next_message(b), type, b->family, flags | NLM_F_ACK, ++b->nft->sequence);
}

/* Netlink takes a transaction in one piece only. */
static int send_whole(struct nft_batch *b)
{
        struct nft *n = b->nft;

        if (b->length + 4096 > n->send_buffer) {
                int size = b->length < INT32_MAX / 4 ? (int)b->length * 2 : INT32_MAX;

                if (setsockopt(mnl_socket_get_fd(n->socket), SOL_SOCKET, SO_SNDBUFFORCE, &size,
                               sizeof(size)) < 0)
                        return -errno;
                n->send_buffer = (size_t)size;
        }
        return mnl_socket_sendto(n->socket, b->buffer, b->length) < 0 ? -errno : 0;
}

struct verdict {
        int error;
        size_t object;    /* index of the one refused */
        size_t confirmed; /* acknowledgements */
        char word[128];   /* what the kernel says beyond the error number */
};

static int read_word_attribute(const struct nlattr *attr, void *userdata)
{
        struct verdict *v = userdata;

        if (mnl_attr_get_type(attr) == NLMSGERR_ATTR_MSG && mnl_attr_validate(attr, MNL_TYPE_NUL_STRING) >= 0)
                (void)snprintf(v->word, sizeof(v->word), "%s", mnl_attr_get_str(attr));
        return MNL_CB_OK;
}

static void read_word(const struct nlmsghdr *message, struct verdict *v)
{
        const struct nlmsgerr *e = mnl_nlmsg_get_payload(message);
        size_t echoed = message->nlmsg_flags & NLM_F_CAPPED ? 0 : mnl_nlmsg_get_payload_len(&e->msg);

        if (!(message->nlmsg_flags & NLM_F_ACK_TLVS) ||
            echoed > mnl_nlmsg_get_payload_len(message) - sizeof(*e))
                return;
        (void)mnl_attr_parse(message, (unsigned)(sizeof(*e) + echoed), read_word_attribute, v);
}

static void take_answer(const struct nft_batch *b, const struct nlmsghdr *message, struct verdict *v)
{
        const struct nlmsgerr *e = mnl_nlmsg_get_payload(message);
        uint32_t object = message->nlmsg_seq - b->first_sequence;

        /* Others are left over from a question given up. */
        if (message->nlmsg_type != NLMSG_ERROR || object >= b->n_objects ||
            message->nlmsg_len < mnl_nlmsg_size(sizeof(*e)))
                return;
        if (e->error == 0) {
                v->confirmed += !b->objects[object].confirmed; /* whoever says it twice */
                b->objects[object].confirmed = true;
        } else if (v->error == 0) {
                v->error = netlink_error(e->error);
                v->object = object;
                read_word(message, v);
        }
}

/* The kernel has done its work when the send returns: every answer is waiting already, and when none is left,
 * none will come. */
static int take_answers(const struct nft_batch *b, struct verdict *v)
{
        int fd = mnl_socket_get_fd(b->nft->socket);
        _Alignas(struct nlmsghdr) char buffer[8192];
        ssize_t length;

        while ((length = recv(fd, buffer, sizeof(buffer), MSG_DONTWAIT)) > 0 ||
               (length < 0 && errno == EINTR)) {
                const struct nlmsghdr *message = (const void *)buffer;
                int left = (int)length;

                for (; netlink_message_ok(message, left); message = mnl_nlmsg_next(message, &left))
                        take_answer(b, message, v);
        }
        if (length < 0 && errno != EAGAIN)
                return -errno;
        return 0;
}

static void explain(const struct nft_batch *b, const struct verdict *v, char **ret_error)
{
        const struct nft_batch_object *o = &b->objects[v->object];

        if (!ret_error)
                return;
        if (asprintf(ret_error, "the kernel refused %s%s%s of table %s: %s%s%s%s", o->what,
                     o->name ? " " : "", o->name ? o->name : "", b->table, strerror(-v->error),
                     v->word[0] ? " (" : "", v->word, v->word[0] ? ")" : "") < 0)
                *ret_error = NULL;
}

static int give_up(const struct nft_batch *b, int error, const char *doing, char **ret_error)
{
        if (ret_error && asprintf(ret_error, "could not %s the change of table %s: %s", doing, b->table,
                                  strerror(-error)) < 0)
                *ret_error = NULL;
        return error;
}

int nft_batch_send(struct nft_batch *b, char **ret_error)
{
        struct verdict v = {0};
        int r;

        if (ret_error)
                *ret_error = NULL;
        nft_batch_add(b, nftnl_batch_end(next_message(b), ++b->nft->sequence));
        if (b->error < 0)
                return give_up(b, b->error, "build", ret_error);
        b->nft->changes++;
        r = send_whole(b);
        if (r < 0)
                return give_up(b, r, "send", ret_error);
        r = take_answers(b, &v);
        if (v.error < 0) {
                explain(b, &v, ret_error);
                return v.error;
        }
        if (r < 0)
                return give_up(b, r, "confirm", ret_error);
        /* All but the begin are asked to be acknowledged. */
        if (v.confirmed != b->n_objects - 1)
                return give_up(b, -ENOBUFS, "confirm", ret_error);
        return 0;
}

void nft_batch_clear(struct nft_batch *b)
{
        free(b->buffer);
        free(b->objects);
        *b = (struct nft_batch){0};
}
