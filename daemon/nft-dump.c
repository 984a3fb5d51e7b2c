// SPDX-License-Identifier: GPL-2.0-or-later
#include "netlink-message.h"
#include "nft-internal.h"
#include <arpa/inet.h>
#include <errno.h>
#include <libnftnl/chain.h>
#include <libnftnl/table.h>
#include <libnftnl/udata.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nfnetlink.h>
#include <string.h>

/* Somebody who changes rules all the time must not hold us up for ever. */
#define TRIES 50
/* What went wrong by itself, for want of memory or room, is asked again so often. */
#define TRIES_FAILED 4

struct dump {
        const struct nft_question *question;
        uint32_t sequence;
        bool interrupted, done, answered;
        int error; /* the answer function's, or the kernel's */
};

static int send_question(struct nft *n, const struct nft_question *q)
{
        _Alignas(struct nlmsghdr) char buffer[1024] = {0}; /* the padding behind attributes, too */
        uint16_t flags = q->dump ? NLM_F_DUMP : NLM_F_ACK;
        uint8_t family = q->family ? q->family : NFPROTO_INET;
        struct nlmsghdr *message = nftnl_nlmsg_build_hdr(buffer, q->type, family, flags, ++n->sequence);

        /* In every kind of question the table is attribute 1, the object's name 2, its type 3. */
        if ((q->table && !mnl_attr_put_strz_check(message, sizeof(buffer), NFTA_OBJ_TABLE, q->table)) ||
            (q->name && !mnl_attr_put_strz_check(message, sizeof(buffer), NFTA_OBJ_NAME, q->name)))
                return -ENAMETOOLONG;
        if (q->object > 0)
                mnl_attr_put_u32(message, NFTA_OBJ_TYPE, htonl(q->object));
        return mnl_socket_sendto(n->socket, message, message->nlmsg_len) < 0 ? -errno : 0;
}

static void take_message(struct dump *d, const struct nlmsghdr *message)
{
        const struct nlmsgerr *e = mnl_nlmsg_get_payload(message);

        if (message->nlmsg_seq != d->sequence) {
                /* left over from a question given up; or one that nobody has asked yet, and so a lie */
                if ((int32_t)(message->nlmsg_seq - d->sequence) > 0 && d->error == 0)
                        d->error = -EBADMSG;
                return;
        }
        if (message->nlmsg_flags & NLM_F_DUMP_INTR)
                d->interrupted = true;
        if (message->nlmsg_type == NLMSG_DONE) {
                d->done = true;
        } else if (message->nlmsg_type == NLMSG_ERROR) {
                d->done = true;
                if (d->error == 0 && message->nlmsg_len >= mnl_nlmsg_size(sizeof(e->error)))
                        d->error = netlink_error(e->error);
        } else if (message->nlmsg_type >= NLMSG_MIN_TYPE && d->error == 0) {
                d->answered = true;
                /* After a failure the rest is only read, so that the socket is left clean. */
                d->error = d->question->answer(message, d->question->userdata);
        }
}

static int take_answers(struct nft *n, struct dump *d, char *buffer, size_t size)
{
        while (!d->done) {
                ssize_t length = mnl_socket_recvfrom(n->socket, buffer, size);
                const struct nlmsghdr *message = (const void *)buffer;
                int left = (int)length;

                if (n->reading && nft_reading_is_over(n->reading))
                        return -ECANCELED; /* whatever else comes: this socket is of no use any more */
                if (length < 0 && errno == EINTR)
                        continue;
                if (length < 0)
                        return -errno;
                for (; netlink_message_ok(message, left); message = mnl_nlmsg_next(message, &left))
                        take_message(d, message);
                if (left > 0 && d->error == 0)
                        d->error = -EBADMSG; /* cut off */
        }
        /* Who asks for one thing hears of it, or that there is none. */
        return d->error == 0 && !d->question->dump && !d->answered ? -EBADMSG : d->error;
}

static int ask_once(struct nft *n, const struct nft_question *q, char *buffer, size_t size)
{
        struct dump d = {.question = q};
        int r = send_question(n, q);

        d.sequence = n->sequence;
        if (r == 0)
                r = take_answers(n, &d, buffer, size);
        /* The kernel says EINTR for a dump it could not go on with. */
        return r == 0 && d.interrupted ? -EINTR : r;
}

bool nft_may_pass(int error)
{
        return error == -EAGAIN || error == -ETIMEDOUT || error == -ENOBUFS || error == -ENOMEM ||
               error == -EBUSY || error == -EBADMSG;
}

int nft_ask(struct nft *n, const struct nft_question *q)
{
        size_t size = 64 * 1024;
        _cleanup_free_ char *buffer = malloc(size);
        unsigned failed = 0;

        if (!buffer)
                return -ENOMEM;
        for (unsigned i = 0; i < TRIES; i++) {
                int r = ask_once(n, q, buffer, size);

                if (r != -EINTR && (!nft_may_pass(r) || ++failed == TRIES_FAILED))
                        return r == -EAGAIN ? -ETIMEDOUT : r;
                if (q->again)
                        q->again(q->userdata);
        }
        return -EBUSY;
}

static int read_table(const struct nlmsghdr *message, void *userdata)
{
        struct nft_table_state *state = userdata;
        struct nftnl_table *t = nftnl_table_alloc();
        int r = -ENOMEM;

        if (t)
                r = nftnl_table_nlmsg_parse(message, t) < 0 ? -EBADMSG : 0;
        if (r == 0) {
                state->exists = true;
                state->flags = nftnl_table_get_u32(t, NFTNL_TABLE_FLAGS);
                state->handle = nftnl_table_get_u64(t, NFTNL_TABLE_HANDLE);
                if (nftnl_table_is_set(t, NFTNL_TABLE_OWNER))
                        state->owner = nftnl_table_get_u32(t, NFTNL_TABLE_OWNER);
        }
        if (t)
                nftnl_table_free(t);
        return r;
}

const uint8_t nft_families[2] = {NFPROTO_INET, NFPROTO_NETDEV};

int nft_table_state(struct nft *n, uint8_t family, const char *table, struct nft_table_state *ret)
{
        struct nft_table_state state = {0};
        int r = nft_ask(n, &(struct nft_question){.type = NFT_MSG_GETTABLE,
                                                  .family = family,
                                                  .table = table,
                                                  .answer = read_table,
                                                  .userdata = &state});

        if (r < 0 && r != -ENOENT)
                return r;
        *ret = state;
        return 0;
}

int nft_is_present(struct nft *n, const char *table, struct nft_presence *ret)
{
        struct nft_presence p = {{false}};

        for (size_t i = 0; i < ELEMENTSOF(nft_families); i++) {
                struct nft_table_state state;
                int r = nft_table_state(n, nft_families[i], table, &state);

                if (r < 0)
                        return r;
                p.in[i] = state.exists;
        }
        *ret = p;
        return 0;
}

bool nft_is_anywhere(const struct nft_presence *p)
{
        return p->in[0] || p->in[1];
}

static void free_chain(struct nft_chain_state *chain)
{
        free(chain->table);
        free(chain->name);
        free(chain->type);
        free(chain->device);
}

void nft_chain_list_clear(struct nft_chain_list *l)
{
        for (size_t i = 0; i < l->n; i++)
                free_chain(&l->items[i]);
        free(l->items);
        *l = (struct nft_chain_list){0};
}

struct chain_reader {
        const char *table;
        uint8_t family;
        size_t before; /* how many there were of other families */
        struct nft_chain_list list;
};

static void forget_chains(void *userdata)
{
        struct chain_reader *reader = userdata;

        while (reader->list.n > reader->before)
                free_chain(&reader->list.items[--reader->list.n]);
}

static void take_comment(struct nft_chain_state *to, const char *text, size_t length)
{
        size_t skip = strlen(NFT_ORDER_COMMENT);

        if (length == skip + sizeof(to->order) && text[length - 1] == '\0' &&
            strncmp(text, NFT_ORDER_COMMENT, skip) == 0)
                memcpy(to->order, text + skip, sizeof(to->order));
}

/* The kernel keeps a chain's user data as they were given to it, by whatever program: nftnl_udata_parse()
 * would believe their lengths. Each is a type, a length and so many bytes. */
static void copy_order(struct nft_chain_state *to, const struct nftnl_chain *c)
{
        uint32_t left = 0;
        const uint8_t *at = nftnl_chain_is_set(c, NFTNL_CHAIN_USERDATA)
                                    ? nftnl_chain_get_data(c, NFTNL_CHAIN_USERDATA, &left)
                                    : NULL;

        while (at && left >= 2 && at[1] <= left - 2) {
                uint32_t size = 2U + at[1];

                if (at[0] == NFTNL_UDATA_CHAIN_COMMENT)
                        take_comment(to, (const char *)at + 2, at[1]);
                at += size;
                left -= size;
        }
}

/* Leaves the chains of other tables out than the one asked for. */
static int copy_chain(struct chain_reader *reader, const struct nftnl_chain *c)
{
        const char *table = nftnl_chain_get_str(c, NFTNL_CHAIN_TABLE);
        const char *name = nftnl_chain_get_str(c, NFTNL_CHAIN_NAME);
        bool base = nftnl_chain_is_set(c, NFTNL_CHAIN_HOOKNUM);
        struct nft_chain_list *l = &reader->list;
        struct nft_chain_state *grown, *to;

        if (!table || !name)
                return -EBADMSG;
        if (reader->table && strcmp(table, reader->table) != 0)
                return 0;
        grown = reallocarray(l->items, l->n + 1, sizeof(*grown));
        if (!grown)
                return -ENOMEM;
        l->items = grown;
        to = &grown[l->n++];
        *to = (struct nft_chain_state){
                .family = reader->family, .table = strdup(table), .name = strdup(name)};
        if (base) {
                const char *type = nftnl_chain_get_str(c, NFTNL_CHAIN_TYPE);

                to->type = strdup(type ? type : "");
                to->hooknum = nftnl_chain_get_u32(c, NFTNL_CHAIN_HOOKNUM);
                to->policy = nftnl_chain_get_u32(c, NFTNL_CHAIN_POLICY);
                to->priority = nftnl_chain_get_s32(c, NFTNL_CHAIN_PRIO);
                copy_order(to, c);
        }
        if (nftnl_chain_is_set(c, NFTNL_CHAIN_DEV)) {
                to->device = strdup(nftnl_chain_get_str(c, NFTNL_CHAIN_DEV));
                if (!to->device)
                        return -ENOMEM;
        }
        return to->table && to->name && (!base || to->type) ? 0 : -ENOMEM;
}

static int read_chain(const struct nlmsghdr *message, void *userdata)
{
        struct nftnl_chain *c = nftnl_chain_alloc();
        struct chain_reader *reader = userdata;
        int r = 0;

        if (!c)
                return -ENOMEM;
        if (nftnl_chain_nlmsg_parse(message, c) < 0)
                r = -EBADMSG;
        else
                r = copy_chain(reader, c);
        nftnl_chain_free(c);
        return r;
}

int nft_read_chains(struct nft *n, const char *table, struct nft_chain_list *ret)
{
        struct chain_reader reader = {.table = table};
        int r = 0;

        for (size_t i = 0; r == 0 && i < (n->no_frames ? 1 : ELEMENTSOF(nft_families)); i++) {
                reader.family = nft_families[i];
                reader.before = reader.list.n;
                r = nft_ask(n, &(struct nft_question){.type = NFT_MSG_GETCHAIN,
                                                      .family = reader.family,
                                                      .dump = true,
                                                      .answer = read_chain,
                                                      .again = forget_chains,
                                                      .userdata = &reader});
        }
        if (r < 0)
                nft_chain_list_clear(&reader.list);
        else
                *ret = reader.list;
        return r;
}

char *nft_table_name(const char *profile)
{
        char *name;

        return asprintf(&name, TABLE_PREFIX "%s", profile) < 0 ? NULL : name;
}
