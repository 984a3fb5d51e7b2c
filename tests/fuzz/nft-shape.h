/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LOCKDOWN_FUZZ_NFT_SHAPE_H
#define LOCKDOWN_FUZZ_NFT_SHAPE_H

/* Which messages the kernel writes, by the kinds of their attributes; what the attributes say may be
 * anything. For those only that libnftnl reads: tables, chains, sets and counters. */

#include "netlink-message.h"

#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <stdint.h>
#include <string.h>

enum kind {
        KIND_NONE, /* not written by the kernel, or nothing that we read */
        KIND_U32,
        KIND_U64,
        KIND_TEXT,
        KIND_BYTES,
        KIND_NEST,
        KIND_COUNTER,      /* an expression that is a counter */
        KIND_COUNTER_TYPE, /* of an object that is one: no other is asked for */
};

struct shape {
        uint8_t kinds[32]; /* enum kind, by the attribute's type */
        const struct shape *nest;
};

static const struct shape devices_shape = {.kinds = {[NFTA_DEVICE_NAME] = KIND_TEXT}};
static const struct shape hook_shape = {.kinds = {[NFTA_HOOK_HOOKNUM] = KIND_U32,
                                                  [NFTA_HOOK_PRIORITY] = KIND_U32,
                                                  [NFTA_HOOK_DEV] = KIND_TEXT,
                                                  [NFTA_HOOK_DEVS] = KIND_NEST},
                                        .nest = &devices_shape};
static const struct shape counter_shape = {
        .kinds = {[NFTA_COUNTER_BYTES] = KIND_U64, [NFTA_COUNTER_PACKETS] = KIND_U64}};
static const struct shape field_shape = {.kinds = {[NFTA_SET_FIELD_LEN] = KIND_U32}};
static const struct shape fields_shape = {.kinds = {[NFTA_LIST_ELEM] = KIND_NEST}, .nest = &field_shape};
static const struct shape desc_shape = {
        .kinds = {[NFTA_SET_DESC_SIZE] = KIND_U32, [NFTA_SET_DESC_CONCAT] = KIND_NEST},
        .nest = &fields_shape};

/* Of newer kernels; no library knows them yet. */
#define SET_TYPE 19
#define SET_COUNT 20

static const struct shape shapes[] = {
        [NFT_MSG_NEWTABLE] = {.kinds = {[NFTA_TABLE_NAME] = KIND_TEXT,
                                        [NFTA_TABLE_FLAGS] = KIND_U32,
                                        [NFTA_TABLE_USE] = KIND_U32,
                                        [NFTA_TABLE_HANDLE] = KIND_U64,
                                        [NFTA_TABLE_USERDATA] = KIND_BYTES,
                                        [NFTA_TABLE_OWNER] = KIND_U32}},
        [NFT_MSG_NEWCHAIN] = {.kinds = {[NFTA_CHAIN_TABLE] = KIND_TEXT,
                                        [NFTA_CHAIN_NAME] = KIND_TEXT,
                                        [NFTA_CHAIN_HANDLE] = KIND_U64,
                                        [NFTA_CHAIN_HOOK] = KIND_NEST,
                                        [NFTA_CHAIN_POLICY] = KIND_U32,
                                        [NFTA_CHAIN_USE] = KIND_U32,
                                        [NFTA_CHAIN_TYPE] = KIND_TEXT,
                                        [NFTA_CHAIN_FLAGS] = KIND_U32,
                                        [NFTA_CHAIN_USERDATA] = KIND_BYTES},
                              .nest = &hook_shape},
        [NFT_MSG_NEWSET] = {.kinds = {[NFTA_SET_TABLE] = KIND_TEXT,
                                      [NFTA_SET_NAME] = KIND_TEXT,
                                      [NFTA_SET_FLAGS] = KIND_U32,
                                      [NFTA_SET_KEY_TYPE] = KIND_U32,
                                      [NFTA_SET_KEY_LEN] = KIND_U32,
                                      [NFTA_SET_DESC] = KIND_NEST,
                                      [NFTA_SET_USERDATA] = KIND_BYTES,
                                      [NFTA_SET_HANDLE] = KIND_U64,
                                      [NFTA_SET_EXPR] = KIND_COUNTER,
                                      [SET_TYPE] = KIND_BYTES,
                                      [SET_COUNT] = KIND_BYTES},
                            .nest = &desc_shape},
        [NFT_MSG_NEWOBJ] = {.kinds = {[NFTA_OBJ_TABLE] = KIND_TEXT,
                                      [NFTA_OBJ_NAME] = KIND_TEXT,
                                      [NFTA_OBJ_TYPE] = KIND_COUNTER_TYPE,
                                      [NFTA_OBJ_DATA] = KIND_NEST,
                                      [NFTA_OBJ_USE] = KIND_U32,
                                      [NFTA_OBJ_HANDLE] = KIND_U64},
                            .nest = &counter_shape},
};

static bool shaped(const struct shape *shape, const char *data, size_t size);

static bool is_terminated(const char *data, size_t size)
{
        return size > 0 && size < 128 && memchr(data, 0, size) == data + size - 1;
}

/* NFTA_EXPR_NAME "counter", then its NFTA_EXPR_DATA. */
static bool is_counter(const char *data, size_t size)
{
        static const char name[] = "\x0c\0\x01\0counter";

        return size > sizeof(name) + 4 && memcmp(data, name, sizeof(name)) == 0 &&
               data[sizeof(name) + 2] == NFTA_EXPR_DATA &&
               shaped(&counter_shape, data + sizeof(name) + 4, size - sizeof(name) - 4);
}

static bool has_kind(const struct shape *shape, enum kind kind, const char *data, size_t size)
{
        switch (kind) {
        case KIND_U32:
                return size == sizeof(uint32_t);
        case KIND_U64:
                return size == sizeof(uint64_t);
        case KIND_TEXT:
                return is_terminated(data, size);
        case KIND_BYTES:
                return size < 256;
        case KIND_NEST:
                return shape->nest && shaped(shape->nest, data, size);
        case KIND_COUNTER:
                return is_counter(data, size);
        case KIND_COUNTER_TYPE:
                return size == sizeof(uint32_t) && data[3] == NFT_OBJECT_COUNTER &&
                       memcmp(data, "\0\0", 3) == 0;
        case KIND_NONE:
                break;
        }
        return false;
}

/* Attributes the kernel writes besides (padding, statistics…) are left out of the shapes, and so out of what
 * is fuzzed. */
static bool shaped(const struct shape *shape, const char *data, size_t size)
{
        const struct nlattr *a = (const void *)data;
        const char *end = data + size;

        for (; mnl_attr_ok(a, (int)(end - (const char *)a)); a = mnl_attr_next(a)) {
                uint16_t type = mnl_attr_get_type(a);

                if (type >= sizeof(shape->kinds) ||
                    !has_kind(shape, shape->kinds[type], mnl_attr_get_payload(a),
                              mnl_attr_get_payload_len(a)))
                        return false;
        }
        return (const char *)a >= end;
}

/* Is H what the kernel answers to QUESTION (NFT_MSG_GET…)? Elements we read ourselves: they may be anything.
 */
static bool well_formed(const struct nlmsghdr *h, unsigned question)
{
        unsigned answer = NFNL_SUBSYS_NFTABLES << 8 | (question - 1);

        if (h->nlmsg_type < NLMSG_MIN_TYPE || question == NFT_MSG_GETSETELEM)
                return true;
        if (h->nlmsg_type != answer || mnl_nlmsg_get_payload_len(h) < sizeof(struct nfgenmsg))
                return false;
        return shaped(&shapes[question - 1], mnl_nlmsg_get_payload_offset(h, sizeof(struct nfgenmsg)),
                      mnl_nlmsg_get_payload_len(h) - sizeof(struct nfgenmsg));
}

#endif
