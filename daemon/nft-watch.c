// SPDX-License-Identifier: GPL-2.0-or-later
#include "nft-watch.h"
#include "netlink-message.h"
#include "nft-internal.h"

#include <errno.h>
#include <linux/netfilter/nfnetlink.h>
#include <string.h>

/* A flood of other programs' changes must not make us deaf at once. */
#define RECEIVE_BUFFER (4 * 1024 * 1024)
/* A transaction is told in several messages; a turn of the event loop for each would take longer than what is
 * to be done about it. */
#define READS_PER_TURN 64
/* More of them are found by comparing. */
#define REMOVED_MAX 256

struct nft_watch {
        struct mnl_socket *socket;
        sd_event_source *source;
        uint32_t own; /* port id of the socket that makes our changes */
        nft_changed_t callback;
        void *userdata;
        /* of the transaction being told: */
        bool touched;
        struct words removed;
};

/* Every object names its table in the attribute of the same number. */
_Static_assert((int)NFTA_TABLE_NAME == (int)NFTA_CHAIN_TABLE &&
                       (int)NFTA_TABLE_NAME == (int)NFTA_RULE_TABLE &&
                       (int)NFTA_TABLE_NAME == (int)NFTA_SET_TABLE &&
                       (int)NFTA_TABLE_NAME == (int)NFTA_SET_ELEM_LIST_TABLE &&
                       (int)NFTA_TABLE_NAME == (int)NFTA_OBJ_TABLE,
               "attribute of the table's name");

static bool is_ours(const char *table)
{
        return strncmp(table, TABLE_PREFIX, strlen(TABLE_PREFIX)) == 0 ||
               strncmp(table, HOLD_PREFIX, strlen(HOLD_PREFIX)) == 0;
}

struct notice {
        const char *table, *program;
        uint32_t pid;
};

static int read_table_name(const struct nlattr *attribute, void *data)
{
        struct notice *notice = data;

        if (mnl_attr_get_type(attribute) == NFTA_TABLE_NAME &&
            mnl_attr_validate(attribute, MNL_TYPE_NUL_STRING) >= 0)
                notice->table = mnl_attr_get_str(attribute);
        return MNL_CB_OK;
}

static int read_generation(const struct nlattr *attribute, void *data)
{
        struct notice *notice = data;

        if (mnl_attr_get_type(attribute) == NFTA_GEN_PROC_PID &&
            mnl_attr_validate(attribute, MNL_TYPE_U32) >= 0)
                notice->pid = ntohl(mnl_attr_get_u32(attribute));
        if (mnl_attr_get_type(attribute) == NFTA_GEN_PROC_NAME &&
            mnl_attr_validate(attribute, MNL_TYPE_NUL_STRING) >= 0)
                notice->program = mnl_attr_get_str(attribute);
        return MNL_CB_OK;
}

static void note(struct nft_watch *w, const struct notice *notice, bool removal)
{
        if (!notice->table || !is_ours(notice->table))
                return;
        w->touched = true;
        if (removal && w->removed.n < REMOVED_MAX && !words_contain(&w->removed, notice->table))
                (void)words_add(&w->removed, notice->table, NULL, 0);
}

static void tell(struct nft_watch *w, const char *program, uint32_t pid)
{
        struct nft_change change = {.program = program, .pid = pid, .removed = w->removed};

        w->touched = false;
        w->removed = (struct words){0};
        w->callback(w->userdata, &change);
        words_clear(&change.removed);
}

/* A transaction is told object by object, and ends with the new generation and who made it. */
static void on_message(const struct nlmsghdr *message, struct nft_watch *w)
{
        struct notice notice = {.program = ""};
        bool end = NFNL_MSG_TYPE(message->nlmsg_type) == NFT_MSG_NEWGEN;

        if (NFNL_SUBSYS_ID(message->nlmsg_type) != NFNL_SUBSYS_NFTABLES || message->nlmsg_pid == w->own)
                return;
        (void)mnl_attr_parse(message, sizeof(struct nfgenmsg), end ? read_generation : read_table_name,
                             &notice);
        if (!end) {
                note(w, &notice, NFNL_MSG_TYPE(message->nlmsg_type) == NFT_MSG_DELTABLE);
                return;
        }
        if (w->touched)
                tell(w, notice.program, notice.pid);
}

static void take_messages(struct nft_watch *w, const void *buffer, int left)
{
        const struct nlmsghdr *message = buffer;

        for (; netlink_message_ok(message, left); message = mnl_nlmsg_next(message, &left))
                on_message(message, w);
}

/* False: nothing is waiting. */
static bool receive(struct nft_watch *w, int fd)
{
        _Alignas(struct nlmsghdr) char buffer[65536];
        ssize_t n = recv(fd, buffer, sizeof(buffer), MSG_DONTWAIT | MSG_TRUNC);

        if (n > 0 && (size_t)n <= sizeof(buffer))
                take_messages(w, buffer, (int)n);
        else if (n > 0 || (n < 0 && errno == ENOBUFS)) /* something was not told */
                tell(w, "", 0);
        else
                return false;
        return true;
}

static int on_readable(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
        (void)source;
        (void)revents;
        for (unsigned i = 0; i < READS_PER_TURN && receive(userdata, fd); i++)
                ;
        return 0;
}

int nft_watch_new(sd_event *event, const struct nft *n, nft_changed_t callback, void *userdata,
                  struct nft_watch **ret)
{
        struct nft_watch *w = calloc(1, sizeof(*w));
        int size = RECEIVE_BUFFER, group = NFNLGRP_NFTABLES, fd, r = 0;

        if (!w)
                return -ENOMEM;
        w->own = n->portid;
        w->callback = callback;
        w->userdata = userdata;
        w->socket = mnl_socket_open2(NETLINK_NETFILTER, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (!w->socket || mnl_socket_bind(w->socket, 0, MNL_SOCKET_AUTOPID) < 0 ||
            mnl_socket_setsockopt(w->socket, NETLINK_ADD_MEMBERSHIP, &group, sizeof(group)) < 0)
                r = -errno;
        if (r >= 0) {
                fd = mnl_socket_get_fd(w->socket);
                (void)setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size));
                r = sd_event_add_io(event, &w->source, fd, EPOLLIN, on_readable, w);
        }
        if (r >= 0) /* before anything else that is waiting: each moment counts */
                r = sd_event_source_set_priority(w->source, SD_EVENT_PRIORITY_IMPORTANT);
        if (r < 0) {
                nft_watch_free(w);
                return r;
        }
        *ret = w;
        return 0;
}

struct nft_watch *nft_watch_free(struct nft_watch *w)
{
        if (!w)
                return NULL;
        sd_event_source_disable_unref(w->source);
        if (w->socket)
                mnl_socket_close(w->socket);
        words_clear(&w->removed);
        free(w);
        return NULL;
}
