// SPDX-License-Identifier: GPL-2.0-or-later
/* The least that blocks uids: one transaction by hand.
 *
 *   transaction whole TABLE FIRST N    table, hash set of N uids from FIRST on, chain with the refusal, hook
 *   transaction both TABLE FIRST N     … and the same without a hook in a table of family netdev
 *   transaction stage TABLE FIRST N    the first, without the hook
 *   transaction engage TABLE           the hook of a staged table
 *   transaction stage-both TABLE FIRST N       both, without the hook
 *   transaction engage-all TABLE DEVICE…       hooks of both: output, postrouting, egress of each device
 *
 * The hook of the others is output's, and what the chain says is: meta skuid @uids drop. What is printed is
 * how long the kernel took to do and acknowledge it, in microseconds. */
#include <arpa/inet.h>
#include <libmnl/libmnl.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#define ELEMENTS 1500 /* of a message: a nested attribute has 16 bits for its length */
#define STEP 2        /* between two uids: nothing may be taken together */
#define RECEIVE_BUFFER (1 << 20)

struct batch {
        char *data;
        size_t used, size, last; /* where the latest message begins */
        uint32_t seq;
        uint8_t family;
};

/* Room for one more message of any size there is. */
static struct nlmsghdr *message(struct batch *b, uint16_t type, uint16_t flags, uint8_t family,
                                uint16_t resource)
{
        struct nlmsghdr *h;
        struct nfgenmsg *g;

        if (b->size - b->used < 1 << 17) {
                b->size = 2 * b->size + (1 << 18);
                b->data = realloc(b->data, b->size);
                if (!b->data)
                        abort();
        }
        b->last = b->used;
        h = mnl_nlmsg_put_header(b->data + b->used);
        h->nlmsg_type = type;
        h->nlmsg_flags = NLM_F_REQUEST | flags;
        h->nlmsg_seq = b->seq++;
        g = mnl_nlmsg_put_extra_header(h, sizeof(*g));
        g->nfgen_family = family;
        g->version = NFNETLINK_V0;
        g->res_id = htons(resource);
        return h;
}

static struct nlmsghdr *nft(struct batch *b, uint16_t type, uint16_t flags)
{
        return message(b, NFNL_SUBSYS_NFTABLES << 8 | type, flags, b->family, 0);
}

static void end(struct batch *b, struct nlmsghdr *h)
{
        b->used += MNL_ALIGN(h->nlmsg_len);
}

static void put32(struct nlmsghdr *h, uint16_t type, uint32_t value)
{
        mnl_attr_put_u32(h, type, htonl(value));
}

static void put_table(struct batch *b, const char *table)
{
        struct nlmsghdr *h = nft(b, NFT_MSG_NEWTABLE, NLM_F_CREATE | NLM_F_EXCL);

        mnl_attr_put_strz(h, NFTA_TABLE_NAME, table);
        end(b, h);
}

static void put_set(struct batch *b, const char *table, uint32_t n)
{
        struct nlmsghdr *h = nft(b, NFT_MSG_NEWSET, NLM_F_CREATE);
        struct nlattr *description;

        mnl_attr_put_strz(h, NFTA_SET_TABLE, table);
        mnl_attr_put_strz(h, NFTA_SET_NAME, "uids");
        put32(h, NFTA_SET_ID, 1);
        put32(h, NFTA_SET_KEY_TYPE, 24); /* what nft calls uid */
        put32(h, NFTA_SET_KEY_LEN, 4);
        description = mnl_attr_nest_start(h, NFTA_SET_DESC);
        put32(h, NFTA_SET_DESC_SIZE, n);
        mnl_attr_nest_end(h, description);
        end(b, h);
}

static void put_elements(struct batch *b, const char *table, uint32_t first, uint32_t n)
{
        struct nlmsghdr *h = nft(b, NFT_MSG_NEWSETELEM, NLM_F_CREATE);
        struct nlattr *list;

        mnl_attr_put_strz(h, NFTA_SET_ELEM_LIST_TABLE, table);
        mnl_attr_put_strz(h, NFTA_SET_ELEM_LIST_SET, "uids");
        put32(h, NFTA_SET_ELEM_LIST_SET_ID, 1);
        list = mnl_attr_nest_start(h, NFTA_SET_ELEM_LIST_ELEMENTS);
        for (uint32_t i = 0; i < n; i++) {
                struct nlattr *element = mnl_attr_nest_start(h, NFTA_LIST_ELEM);
                struct nlattr *key = mnl_attr_nest_start(h, NFTA_SET_ELEM_KEY);
                uint32_t uid = first + STEP * i;

                mnl_attr_put(h, NFTA_DATA_VALUE, sizeof(uid), &uid); /* as meta has it: in the host's order */
                mnl_attr_nest_end(h, key);
                mnl_attr_nest_end(h, element);
        }
        mnl_attr_nest_end(h, list);
        end(b, h);
}

static void put_chain(struct batch *b, const char *table, const char *name)
{
        struct nlmsghdr *h = nft(b, NFT_MSG_NEWCHAIN, NLM_F_CREATE);

        mnl_attr_put_strz(h, NFTA_CHAIN_TABLE, table);
        mnl_attr_put_strz(h, NFTA_CHAIN_NAME, name);
        end(b, h);
}

/* DEVICE: in family netdev. */
static void put_base_chain(struct batch *b, const char *table, const char *name, uint32_t hook,
                           const char *device)
{
        struct nlmsghdr *h = nft(b, NFT_MSG_NEWCHAIN, NLM_F_CREATE);
        struct nlattr *nest;

        mnl_attr_put_strz(h, NFTA_CHAIN_TABLE, table);
        mnl_attr_put_strz(h, NFTA_CHAIN_NAME, name);
        nest = mnl_attr_nest_start(h, NFTA_CHAIN_HOOK);
        put32(h, NFTA_HOOK_HOOKNUM, hook);
        put32(h, NFTA_HOOK_PRIORITY, 0);
        if (device)
                mnl_attr_put_strz(h, NFTA_HOOK_DEV, device);
        mnl_attr_nest_end(h, nest);
        mnl_attr_put_strz(h, NFTA_CHAIN_TYPE, "filter");
        end(b, h);
}

static struct nlattr *begin_expression(struct nlmsghdr *h, struct nlattr **ret_data, const char *name)
{
        struct nlattr *element = mnl_attr_nest_start(h, NFTA_LIST_ELEM);

        mnl_attr_put_strz(h, NFTA_EXPR_NAME, name);
        *ret_data = mnl_attr_nest_start(h, NFTA_EXPR_DATA);
        return element;
}

static void end_expression(struct nlmsghdr *h, struct nlattr *element, struct nlattr *data)
{
        mnl_attr_nest_end(h, data);
        mnl_attr_nest_end(h, element);
}

static void put_verdict(struct nlmsghdr *h, uint32_t code, const char *chain)
{
        struct nlattr *data, *value, *verdict, *element = begin_expression(h, &data, "immediate");

        put32(h, NFTA_IMMEDIATE_DREG, NFT_REG_VERDICT);
        value = mnl_attr_nest_start(h, NFTA_IMMEDIATE_DATA);
        verdict = mnl_attr_nest_start(h, NFTA_DATA_VERDICT);
        put32(h, NFTA_VERDICT_CODE, code);
        if (chain)
                mnl_attr_put_strz(h, NFTA_VERDICT_CHAIN, chain);
        mnl_attr_nest_end(h, verdict);
        mnl_attr_nest_end(h, value);
        end_expression(h, element, data);
}

static struct nlmsghdr *begin_rule(struct batch *b, const char *table, const char *chain,
                                   struct nlattr **ret_list)
{
        struct nlmsghdr *h = nft(b, NFT_MSG_NEWRULE, NLM_F_CREATE | NLM_F_APPEND);

        mnl_attr_put_strz(h, NFTA_RULE_TABLE, table);
        mnl_attr_put_strz(h, NFTA_RULE_CHAIN, chain);
        *ret_list = mnl_attr_nest_start(h, NFTA_RULE_EXPRESSIONS);
        return h;
}

/* meta skuid @uids drop */
static void put_refusal(struct batch *b, const char *table)
{
        struct nlattr *list, *data, *element;
        struct nlmsghdr *h = begin_rule(b, table, "subjects", &list);

        element = begin_expression(h, &data, "meta");
        put32(h, NFTA_META_KEY, NFT_META_SKUID);
        put32(h, NFTA_META_DREG, NFT_REG32_00);
        end_expression(h, element, data);
        element = begin_expression(h, &data, "lookup");
        mnl_attr_put_strz(h, NFTA_LOOKUP_SET, "uids");
        put32(h, NFTA_LOOKUP_SET_ID, 1);
        put32(h, NFTA_LOOKUP_SREG, NFT_REG32_00);
        end_expression(h, element, data);
        put_verdict(h, NF_DROP, NULL);
        mnl_attr_nest_end(h, list);
        end(b, h);
}

/* jump subjects */
static void put_jump(struct batch *b, const char *table, const char *chain)
{
        struct nlattr *list;
        struct nlmsghdr *h = begin_rule(b, table, chain, &list);

        put_verdict(h, (uint32_t)NFT_JUMP, "subjects");
        mnl_attr_nest_end(h, list);
        end(b, h);
}

static void put_block(struct batch *b, const char *table, uint32_t first, uint32_t n)
{
        put_table(b, table);
        put_set(b, table, n);
        for (uint32_t i = 0; i < n; i += ELEMENTS)
                put_elements(b, table, first + STEP * i, n - i < ELEMENTS ? n - i : ELEMENTS);
        put_chain(b, table, "subjects");
        put_refusal(b, table);
}

static void put_hook(struct batch *b, const char *table, const char *name, uint32_t hook, const char *device)
{
        put_base_chain(b, table, name, hook, device);
        put_jump(b, table, name);
}

/* Of every kind that an order has. */
static void put_all_hooks(struct batch *b, const char *table, char *const *devices)
{
        put_hook(b, table, "output", NF_INET_LOCAL_OUT, NULL);
        put_hook(b, table, "postrouting", NF_INET_POST_ROUTING, NULL);
        b->family = NFPROTO_NETDEV;
        for (; *devices; devices++)
                put_hook(b, table, *devices, NF_NETDEV_EGRESS, *devices);
        b->family = NFPROTO_INET;
}

static void put_blocks(struct batch *b, bool both, const char *table, uint32_t first, uint32_t n)
{
        put_block(b, table, first, n);
        b->family = NFPROTO_NETDEV;
        if (both)
                put_block(b, table, first, n);
        b->family = NFPROTO_INET;
}

/* False: these are no words of ours. */
static bool put_what(struct batch *b, int argc, char **argv)
{
        const char *what = argc > 1 ? argv[1] : "", *table = argc > 2 ? argv[2] : "";
        const bool both = strcmp(what, "both") == 0, stage_both = strcmp(what, "stage-both") == 0;
        const bool whole = both || strcmp(what, "whole") == 0;

        if (argc == 5 && (whole || stage_both || strcmp(what, "stage") == 0))
                put_blocks(b, both || stage_both, table, (uint32_t)strtoul(argv[3], NULL, 10),
                           (uint32_t)strtoul(argv[4], NULL, 10));
        else if (argc > 3 && strcmp(what, "engage-all") == 0)
                put_all_hooks(b, table, argv + 3);
        else if (argc != 3 || strcmp(what, "engage") != 0)
                return false;
        if (whole || strcmp(what, "engage") == 0)
                put_hook(b, table, "output", NF_INET_LOCAL_OUT, NULL);
        return true;
}

/* The last change is acknowledged, which comes when all is done; an error comes by itself. */
static int commit(struct mnl_socket *s, const struct batch *b)
{
        char buffer[8192];
        struct iovec data = {.iov_base = b->data, .iov_len = b->used};
        struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};
        struct msghdr m = {
                .msg_name = &kernel, .msg_namelen = sizeof(kernel), .msg_iov = &data, .msg_iovlen = 1};
        int size = (int)b->used + RECEIVE_BUFFER;
        ssize_t n;

        (void)setsockopt(mnl_socket_get_fd(s), SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size));
        if (sendmsg(mnl_socket_get_fd(s), &m, 0) < 0)
                return -1;
        n = mnl_socket_recvfrom(s, buffer, sizeof(buffer));
        return n < 0 ? -1 : mnl_cb_run(buffer, (size_t)n, 0, mnl_socket_get_portid(s), NULL, NULL);
}

static uint64_t now(void)
{
        struct timespec t;

        clock_gettime(CLOCK_MONOTONIC, &t);
        return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

int main(int argc, char **argv)
{
        uint64_t begin;
        struct batch b = {.family = NFPROTO_INET};
        struct mnl_socket *s = mnl_socket_open(NETLINK_NETFILTER);

        if (!s || mnl_socket_bind(s, 0, MNL_SOCKET_AUTOPID) < 0) {
                perror("netlink");
                return 1;
        }
        end(&b, message(&b, NFNL_MSG_BATCH_BEGIN, 0, AF_UNSPEC, NFNL_SUBSYS_NFTABLES));
        if (!put_what(&b, argc, argv)) {
                fprintf(stderr, "usage: transaction whole|both|stage|stage-both TABLE FIRST N, transaction "
                                "engage TABLE, transaction engage-all TABLE DEVICE…\n");
                return 2;
        }
        ((struct nlmsghdr *)(void *)(b.data + b.last))->nlmsg_flags |= NLM_F_ACK;
        end(&b, message(&b, NFNL_MSG_BATCH_END, 0, AF_UNSPEC, NFNL_SUBSYS_NFTABLES));
        begin = now();
        if (commit(s, &b) < 0) {
                perror("commit");
                return 1;
        }
        printf("%.1f\n", (double)(now() - begin) / 1000);
        return 0;
}
