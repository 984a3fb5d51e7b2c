// SPDX-License-Identifier: GPL-2.0-or-later
#include "nft-internal.h"
#include <arpa/inet.h>
#include <errno.h>
#include <libnftnl/expr.h>
#include <linux/if_ether.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_conntrack_tuple_common.h>
#include <linux/netfilter/nf_nat.h>
#include <linux/rtnetlink.h>
#include <stddef.h>
#include <string.h>

/* A rule under construction: expressions as nft(8) would make of the same statement, one helper each. But
 * what was loaded for the statement before is not loaded again: finding a socket's owner takes a lock, and is
 * most of what a packet of somebody else's pays. */
struct writer {
        struct nftnl_rule *rule;
        bool failed;
        uint8_t family;
        uint32_t nfproto, l4proto; /* already asked for in this rule, 0: not */
        enum rs_field held;        /* the id in the first register, or FIELD_NONE */
        bool held_swapped;         /* … with the most significant byte first */
};

static struct nftnl_expr *expression(struct writer *w, const char *name)
{
        struct nftnl_expr *e = w->failed ? NULL : nftnl_expr_alloc(name);

        if (e)
                nftnl_rule_add_expr(w->rule, e);
        else
                w->failed = true;
        return e;
}

/* One that writes to a register. */
static struct nftnl_expr *loader(struct writer *w, const char *name)
{
        w->held = FIELD_NONE;
        return expression(w, name);
}

/* libnftnl copies the text, and where it finds no memory for that leaves it out; the kernel would call the
 * rule wrong.
 */
static void set_text(struct writer *w, struct nftnl_expr *e, uint16_t attribute, const char *text)
{
        nftnl_expr_set_str(e, attribute, text);
        if (!nftnl_expr_is_set(e, attribute) || !nftnl_expr_get_str(e, attribute))
                w->failed = true;
}

/* Registers are counted in words of four bytes; the kernel calls each fourth by the name of the old, wide
 * one. */
static uint32_t reg(size_t word)
{
        return (uint32_t)(word % 4 == 0 ? NFT_REG_1 + word / 4 : NFT_REG32_00 + word);
}

static void load_meta(struct writer *w, uint32_t key, size_t word)
{
        struct nftnl_expr *e = loader(w, "meta");

        if (!e)
                return;
        nftnl_expr_set_u32(e, NFTNL_EXPR_META_KEY, key);
        nftnl_expr_set_u32(e, NFTNL_EXPR_META_DREG, reg(word));
}

static void load_payload(struct writer *w, uint32_t base, uint32_t offset, uint32_t length, size_t word)
{
        struct nftnl_expr *e = loader(w, "payload");

        if (!e)
                return;
        nftnl_expr_set_u32(e, NFTNL_EXPR_PAYLOAD_BASE, base);
        nftnl_expr_set_u32(e, NFTNL_EXPR_PAYLOAD_OFFSET, offset);
        nftnl_expr_set_u32(e, NFTNL_EXPR_PAYLOAD_LEN, length);
        nftnl_expr_set_u32(e, NFTNL_EXPR_PAYLOAD_DREG, reg(word));
}

static void load_conntrack(struct writer *w, uint32_t key, size_t word)
{
        struct nftnl_expr *e = loader(w, "ct");

        if (!e)
                return;
        nftnl_expr_set_u32(e, NFTNL_EXPR_CT_KEY, key);
        nftnl_expr_set_u32(e, NFTNL_EXPR_CT_DREG, reg(word));
        if (key == NFT_CT_PROTO_DST)
                nftnl_expr_set_u8(e, NFTNL_EXPR_CT_DIR, IP_CT_DIR_ORIGINAL);
}

/* 1 if the extension header or option is there. */
static void load_presence(struct writer *w, uint32_t op, uint8_t type, size_t word)
{
        struct nftnl_expr *e = loader(w, "exthdr");

        if (!e)
                return;
        nftnl_expr_set_u32(e, NFTNL_EXPR_EXTHDR_DREG, reg(word));
        nftnl_expr_set_u8(e, NFTNL_EXPR_EXTHDR_TYPE, type);
        nftnl_expr_set_u32(e, NFTNL_EXPR_EXTHDR_OFFSET, 0);
        nftnl_expr_set_u32(e, NFTNL_EXPR_EXTHDR_LEN, 1);
        nftnl_expr_set_u32(e, NFTNL_EXPR_EXTHDR_FLAGS, NFT_EXTHDR_F_PRESENT);
        nftnl_expr_set_u32(e, NFTNL_EXPR_EXTHDR_OP, op);
}

static void load_cgroup(struct writer *w, uint32_t level, size_t word)
{
        struct nftnl_expr *e = loader(w, "socket");

        if (!e)
                return;
        nftnl_expr_set_u32(e, NFTNL_EXPR_SOCKET_KEY, NFT_SOCKET_CGROUPV2);
        nftnl_expr_set_u32(e, NFTNL_EXPR_SOCKET_DREG, reg(word));
        nftnl_expr_set_u32(e, NFTNL_EXPR_SOCKET_LEVEL, level);
}

static void load_address_type(struct writer *w, uint32_t which, size_t word)
{
        struct nftnl_expr *e = loader(w, "fib");

        if (!e)
                return;
        nftnl_expr_set_u32(e, NFTNL_EXPR_FIB_DREG, reg(word));
        nftnl_expr_set_u32(e, NFTNL_EXPR_FIB_RESULT, NFT_FIB_RESULT_ADDRTYPE);
        nftnl_expr_set_u32(e, NFTNL_EXPR_FIB_FLAGS, which);
}

static void load_constant(struct writer *w, uint32_t value, uint32_t length, size_t word)
{
        struct nftnl_expr *e = loader(w, "immediate");

        if (!e)
                return;
        nftnl_expr_set_u32(e, NFTNL_EXPR_IMM_DREG, reg(word));
        nftnl_expr_set_data(e, NFTNL_EXPR_IMM_DATA, &value, length);
}

static void mask(struct writer *w, const void *bits, uint32_t length, size_t to)
{
        static const uint32_t zero;
        struct nftnl_expr *e = expression(w, "bitwise");

        if (!e)
                return;
        nftnl_expr_set_u32(e, NFTNL_EXPR_BITWISE_SREG, reg(0));
        nftnl_expr_set_u32(e, NFTNL_EXPR_BITWISE_DREG, reg(to));
        nftnl_expr_set_u32(e, NFTNL_EXPR_BITWISE_OP, NFT_BITWISE_BOOL);
        nftnl_expr_set_u32(e, NFTNL_EXPR_BITWISE_LEN, length);
        nftnl_expr_set_data(e, NFTNL_EXPR_BITWISE_MASK, bits, length);
        nftnl_expr_set_data(e, NFTNL_EXPR_BITWISE_XOR, &zero, length);
}

/* Ranges compare bytes, so numbers must begin with the most significant one. */
static void to_network_order(struct writer *w)
{
        struct nftnl_expr *e = expression(w, "byteorder");

        if (!e)
                return;
        nftnl_expr_set_u32(e, NFTNL_EXPR_BYTEORDER_DREG, reg(0));
        nftnl_expr_set_u32(e, NFTNL_EXPR_BYTEORDER_SREG, reg(0));
        nftnl_expr_set_u32(e, NFTNL_EXPR_BYTEORDER_OP, NFT_BYTEORDER_HTON);
        nftnl_expr_set_u32(e, NFTNL_EXPR_BYTEORDER_LEN, 4);
        nftnl_expr_set_u32(e, NFTNL_EXPR_BYTEORDER_SIZE, 4);
}

static bool is_id(enum rs_field field)
{
        return field == FIELD_SKUID || field == FIELD_SKGID;
}

/* Loads an id, unless it is there already. */
static void hold_id(struct writer *w, enum rs_field field, bool swapped)
{
        if (w->held != field || (w->held_swapped && !swapped)) {
                load_meta(w, field == FIELD_SKUID ? NFT_META_SKUID : NFT_META_SKGID, 0);
                w->held_swapped = false;
        }
        if (swapped && !w->held_swapped)
                to_network_order(w);
        w->held = field;
        w->held_swapped = swapped;
}

static void compare_word(struct writer *w, size_t word, uint32_t op, const void *data, uint32_t length)
{
        struct nftnl_expr *e = expression(w, "cmp");

        if (!e)
                return;
        nftnl_expr_set_u32(e, NFTNL_EXPR_CMP_SREG, reg(word));
        nftnl_expr_set_u32(e, NFTNL_EXPR_CMP_OP, op);
        nftnl_expr_set_data(e, NFTNL_EXPR_CMP_DATA, data, length);
}

static void compare_data(struct writer *w, uint32_t op, const void *data, uint32_t length)
{
        compare_word(w, 0, op, data, length);
}

/* Leaves the id where it is, for the next statement. */
static void below_power(struct writer *w, uint32_t power)
{
        static const uint32_t zero;
        const uint32_t bits = ~(power - 1);
        const size_t scratch = 1;

        mask(w, &bits, sizeof(bits), scratch);
        compare_word(w, scratch, NFT_CMP_EQ, &zero, sizeof(zero));
}

/* Of numbers with the most significant byte first. */
static void outside_range(struct writer *w, uint32_t first, uint32_t last)
{
        struct nftnl_expr *e = expression(w, "range");

        first = htonl(first);
        last = htonl(last);
        if (!e)
                return;
        nftnl_expr_set_u32(e, NFTNL_EXPR_RANGE_SREG, reg(0));
        nftnl_expr_set_u32(e, NFTNL_EXPR_RANGE_OP, NFT_RANGE_NEQ);
        nftnl_expr_set_data(e, NFTNL_EXPR_RANGE_FROM_DATA, &first, sizeof(first));
        nftnl_expr_set_data(e, NFTNL_EXPR_RANGE_TO_DATA, &last, sizeof(last));
}

static void require_nfproto(struct writer *w, uint8_t nfproto)
{
        uint16_t protocol = htons(nfproto == NFPROTO_IPV4 ? ETH_P_IP : ETH_P_IPV6);

        if (w->nfproto == nfproto)
                return;
        /* To family netdev each packet is of its own family. */
        if (w->family == NFPROTO_NETDEV) {
                load_meta(w, NFT_META_PROTOCOL, 0);
                compare_data(w, NFT_CMP_EQ, &protocol, sizeof(protocol));
        } else {
                load_meta(w, NFT_META_NFPROTO, 0);
                compare_data(w, NFT_CMP_EQ, &nfproto, sizeof(nfproto));
        }
        w->nfproto = nfproto;
}

static void require_l4proto(struct writer *w, uint8_t l4proto)
{
        if (w->l4proto == l4proto)
                return;
        load_meta(w, NFT_META_L4PROTO, 0);
        compare_data(w, NFT_CMP_EQ, &l4proto, sizeof(l4proto));
        w->l4proto = l4proto;
}

/* What must hold for the field to mean anything; nft(8) leaves it out of what it prints. */
static void require(struct writer *w, enum rs_field field)
{
        switch (field) {
        case FIELD_IP_SADDR:
        case FIELD_IP_DADDR:
        case FIELD_LSRR:
        case FIELD_SSRR:
                require_nfproto(w, NFPROTO_IPV4);
                break;
        case FIELD_IP6_SADDR:
        case FIELD_IP6_DADDR:
        case FIELD_ROUTING_HEADER:
        case FIELD_NEXT_HEADER:
                require_nfproto(w, NFPROTO_IPV6);
                break;
        case FIELD_TCP_RST:
        case FIELD_TCP_SYN:
                require_l4proto(w, IPPROTO_TCP);
                break;
        case FIELD_ICMPV6_TYPE:
                require_nfproto(w, NFPROTO_IPV6);
                require_l4proto(w, IPPROTO_ICMPV6);
                break;
        default:
                break;
        }
}

#define LINK NFT_PAYLOAD_LL_HEADER
#define NETWORK NFT_PAYLOAD_NETWORK_HEADER
#define TRANSPORT NFT_PAYLOAD_TRANSPORT_HEADER

/* What only frames are asked for. */
static void load_of_frame(struct writer *w, enum rs_field field, size_t word)
{
        switch (field) {
        case FIELD_ROUTED:
                return load_meta(w, NFT_META_RTCLASSID, word);
        case FIELD_DEVICE_TYPE:
                return load_meta(w, NFT_META_OIFTYPE, word);
        case FIELD_PROTOCOL:
                return load_meta(w, NFT_META_PROTOCOL, word);
        case FIELD_ETHER_TYPE:
                return load_payload(w, LINK, 12, 2, word);
        case FIELD_TAG:
                return load_payload(w, LINK, 14, 1, word);
        case FIELD_TAGGED_TYPE:
                return load_payload(w, LINK, 16, 2, word);
        case FIELD_NEXT_HEADER:
                return load_payload(w, NETWORK, 6, 1, word);
        case FIELD_IP6_DPORT:
                return load_payload(w, NETWORK, 42, 2, word);
        default:
                w->failed = true;
        }
}

/* Loads a field into the registers from WORD on. */
static void load(struct writer *w, enum rs_field field, size_t word)
{
        switch (field) {
        case FIELD_SKUID:
                return load_meta(w, NFT_META_SKUID, word);
        case FIELD_SKGID:
                return load_meta(w, NFT_META_SKGID, word);
        case FIELD_MARK:
                return load_meta(w, NFT_META_MARK, word);
        case FIELD_NFPROTO:
                return load_meta(w, NFT_META_NFPROTO, word);
        case FIELD_L4PROTO:
                return load_meta(w, NFT_META_L4PROTO, word);
        case FIELD_IIF:
                return load_meta(w, NFT_META_IIF, word);
        case FIELD_OIF:
                return load_meta(w, NFT_META_OIF, word);
        case FIELD_LOCAL:
                return load_address_type(w, NFTA_FIB_F_DADDR, word);
        case FIELD_SOURCE:
                return load_address_type(w, NFTA_FIB_F_SADDR, word);
        case FIELD_IP_SADDR:
                return load_payload(w, NETWORK, 12, 4, word);
        case FIELD_IP_DADDR:
                return load_payload(w, NETWORK, 16, 4, word);
        case FIELD_IP6_SADDR:
                return load_payload(w, NETWORK, 8, 16, word);
        case FIELD_IP6_DADDR:
                return load_payload(w, NETWORK, 24, 16, word);
        case FIELD_DPORT:
                return load_payload(w, TRANSPORT, 2, 2, word);
        case FIELD_CT_DIRECTION:
                return load_conntrack(w, NFT_CT_DIRECTION, word);
        case FIELD_CT_ASKED_PORT:
                return load_conntrack(w, NFT_CT_PROTO_DST, word);
        case FIELD_TCP_RST:
        case FIELD_TCP_SYN:
                return load_payload(w, TRANSPORT, 13, 1, word);
        case FIELD_ICMPV6_TYPE:
                return load_payload(w, TRANSPORT, 0, 1, word);
        case FIELD_ROUTING_HEADER:
                return load_presence(w, NFT_EXTHDR_OP_IPV6, IPPROTO_ROUTING, word);
        case FIELD_LSRR:
                return load_presence(w, NFT_EXTHDR_OP_IPV4, 131 /* IPOPT_LSRR */, word);
        case FIELD_SSRR:
                return load_presence(w, NFT_EXTHDR_OP_IPV4, 137 /* IPOPT_SSRR */, word);
        default:
                return load_of_frame(w, field, word);
        }
}

static uint8_t tcp_flag(enum rs_field field)
{
        return field == FIELD_TCP_RST ? 0x04 : 0x02;
}

/* The value as it stands in the register. */
static uint32_t put_value(enum rs_field field, enum rs_op op, uint32_t value, uint8_t *data)
{
        switch (field) {
        case FIELD_SKUID:
        case FIELD_SKGID:
                if (op == OP_LTE || op == OP_GTE)
                        value = htonl(value);
                break;
        case FIELD_LOCAL:
        case FIELD_SOURCE:
                value = RTN_LOCAL;
                break;
        case FIELD_DEVICE_TYPE:
                memcpy(data, &(uint16_t){(uint16_t)value}, 2);
                return 2;
        case FIELD_DPORT:
        case FIELD_CT_ASKED_PORT:
        case FIELD_PROTOCOL:
        case FIELD_ETHER_TYPE:
        case FIELD_TAGGED_TYPE:
        case FIELD_IP6_DPORT:
                memcpy(data, &(uint16_t){htons((uint16_t)value)}, 2);
                return 2;
        case FIELD_TCP_RST:
        case FIELD_TCP_SYN:
                data[0] = tcp_flag(field);
                return 1;
        case FIELD_IIF:
        case FIELD_OIF:
        case FIELD_ROUTED:
        case FIELD_MARK:
                break;
        default:
                data[0] = (uint8_t)value;
                return 1;
        }
        memcpy(data, &value, sizeof(value));
        return sizeof(value);
}

static void write_compare(struct writer *w, const struct rs_statement *s)
{
        static const uint32_t ops[] = {
                [OP_EQ] = NFT_CMP_EQ, [OP_NEQ] = NFT_CMP_NEQ, [OP_LTE] = NFT_CMP_LTE, [OP_GTE] = NFT_CMP_GTE};
        enum rs_field field = s->fields[0];
        uint8_t data[4];
        uint32_t length;

        require(w, field);
        if (is_id(field))
                hold_id(w, field, s->op == OP_LTE || s->op == OP_GTE || s->op == OP_OUTSIDE);
        else
                load(w, field, 0);
        if (s->op == OP_OUTSIDE)
                return outside_range(w, s->value, s->last);
        if (s->op == OP_BELOW)
                return below_power(w, s->value);
        if (field == FIELD_TCP_RST || field == FIELD_TCP_SYN)
                mask(w, &(uint8_t){tcp_flag(field)}, 1, 0);
        length = put_value(field, s->op, s->value, data);
        compare_data(w, ops[s->op], data, length);
        if (field == FIELD_NFPROTO && s->op == OP_EQ)
                w->nfproto = s->value;
        if (field == FIELD_PROTOCOL && s->op == OP_EQ)
                w->nfproto = s->value == ETH_P_IP ? NFPROTO_IPV4 : NFPROTO_IPV6;
        if (field == FIELD_L4PROTO && s->op == OP_EQ)
                w->l4proto = s->value;
}

/* A concatenated key: each field in the next free words. */
static void load_key(struct writer *w, const struct rs_statement *s)
{
        const struct rs_set_info *info = rs_set_info(s->set);
        size_t n = rs_set_n_fields(s->set), word = 0;

        for (size_t i = 0; i < n; i++)
                require(w, s->fields[i]);
        for (size_t i = 0; i < n; i++) {
                if (s->fields[i] == FIELD_CONSTANT)
                        load_constant(w, info->fields[i] == TYPE_UID ? ATTEMPT_NO_UID : 0,
                                      (uint32_t)rs_type_info(info->fields[i])->length, word);
                else if (s->fields[i] == FIELD_CGROUP)
                        load_cgroup(w, s->value, word);
                else
                        load(w, s->fields[i], word);
                word += (rs_type_info(info->fields[i])->length + 3) / 4;
        }
}

static void write_lookup(struct writer *w, const struct rs_statement *s)
{
        struct nftnl_expr *e;

        if (is_id(s->fields[0]) && rs_set_n_fields(s->set) == 1)
                hold_id(w, s->fields[0], rs_set_info(s->set)->interval);
        else
                load_key(w, s);
        e = expression(w, "lookup");
        if (!e)
                return;
        nftnl_expr_set_u32(e, NFTNL_EXPR_LOOKUP_SREG, reg(0));
        set_text(w, e, NFTNL_EXPR_LOOKUP_SET, rs_set_info(s->set)->name);
        nftnl_expr_set_u32(e, NFTNL_EXPR_LOOKUP_FLAGS, s->op == OP_NEQ ? NFT_LOOKUP_F_INV : 0);
}

static void write_record(struct writer *w, const struct rs_statement *s)
{
        struct nftnl_expr *e;

        load_key(w, s);
        e = expression(w, "dynset");
        if (!e)
                return;
        nftnl_expr_set_u32(e, NFTNL_EXPR_DYNSET_SREG_KEY, reg(0));
        nftnl_expr_set_u32(e, NFTNL_EXPR_DYNSET_OP, NFT_DYNSET_OP_UPDATE);
        set_text(w, e, NFTNL_EXPR_DYNSET_SET_NAME, rs_set_info(s->set)->name);
}

static void write_count(struct writer *w, enum rs_counter_id counter)
{
        struct nftnl_expr *e = expression(w, "objref");

        if (!e)
                return;
        nftnl_expr_set_u32(e, NFTNL_EXPR_OBJREF_IMM_TYPE, NFT_OBJECT_COUNTER);
        set_text(w, e, NFTNL_EXPR_OBJREF_IMM_NAME, rs_counter_name(counter));
}

static void write_verdict(struct writer *w, const struct rs_statement *s)
{
        static const int verdicts[] = {[VERDICT_DROP] = NF_DROP,
                                       [VERDICT_RETURN] = NFT_RETURN,
                                       [VERDICT_JUMP] = NFT_JUMP,
                                       [VERDICT_GOTO] = NFT_GOTO};
        struct nftnl_expr *e = expression(w, "immediate");

        if (!e)
                return;
        nftnl_expr_set_u32(e, NFTNL_EXPR_IMM_DREG, NFT_REG_VERDICT);
        nftnl_expr_set_u32(e, NFTNL_EXPR_IMM_VERDICT, (uint32_t)verdicts[s->verdict]);
        if (s->verdict == VERDICT_JUMP || s->verdict == VERDICT_GOTO)
                set_text(w, e, NFTNL_EXPR_IMM_CHAIN, rs_chain_info(s->chain)->name);
}

static void write_reject(struct writer *w, uint32_t type, uint8_t code)
{
        struct nftnl_expr *e = expression(w, "reject");

        if (!e)
                return;
        nftnl_expr_set_u32(e, NFTNL_EXPR_REJECT_TYPE, type);
        if (type != NFT_REJECT_TCP_RST)
                nftnl_expr_set_u8(e, NFTNL_EXPR_REJECT_CODE, code);
}

static void write_dnat(struct writer *w, const struct rs_statement *s)
{
        bool v4 = s->family == AF_INET;
        uint32_t flags = NF_NAT_RANGE_MAP_IPS | (s->port > 0 ? NF_NAT_RANGE_PROTO_SPECIFIED : 0);
        const size_t port_word = 4; /* behind the longest address */
        struct nftnl_expr *e = expression(w, "immediate");

        if (!e)
                return;
        nftnl_expr_set_u32(e, NFTNL_EXPR_IMM_DREG, reg(0));
        nftnl_expr_set_data(e, NFTNL_EXPR_IMM_DATA, s->address, v4 ? 4 : 16);
        if (s->port > 0)
                load_constant(w, htons(s->port), sizeof(s->port), port_word);
        e = expression(w, "nat");
        if (!e)
                return;
        nftnl_expr_set_u32(e, NFTNL_EXPR_NAT_TYPE, NFT_NAT_DNAT);
        nftnl_expr_set_u32(e, NFTNL_EXPR_NAT_FAMILY, v4 ? NFPROTO_IPV4 : NFPROTO_IPV6);
        nftnl_expr_set_u32(e, NFTNL_EXPR_NAT_REG_ADDR_MIN, reg(0));
        /* These two the kernel would add by itself; so that what is read back is what was written. */
        nftnl_expr_set_u32(e, NFTNL_EXPR_NAT_REG_ADDR_MAX, reg(0));
        nftnl_expr_set_u32(e, NFTNL_EXPR_NAT_FLAGS, flags);
        if (s->port == 0)
                return;
        nftnl_expr_set_u32(e, NFTNL_EXPR_NAT_REG_PROTO_MIN, reg(port_word));
        nftnl_expr_set_u32(e, NFTNL_EXPR_NAT_REG_PROTO_MAX, reg(port_word));
}

static void write_statement(struct writer *w, const struct rs_statement *s)
{
        switch (s->kind) {
        case RS_COMPARE:
                return write_compare(w, s);
        case RS_LOOKUP:
                return write_lookup(w, s);
        case RS_RECORD:
                return write_record(w, s);
        case RS_COUNT:
                return write_count(w, s->counter);
        case RS_VERDICT:
                return write_verdict(w, s);
        case RS_REJECT_RESET:
                return write_reject(w, NFT_REJECT_TCP_RST, 0);
        case RS_REJECT_PROHIBITED:
                return write_reject(w, NFT_REJECT_ICMPX_UNREACH, NFT_REJECT_ICMPX_ADMIN_PROHIBITED);
        case RS_DNAT:
                return write_dnat(w, s);
        }
}

struct nftnl_rule *nft_rule_new(uint8_t family, const char *table, const char *chain,
                                const struct rs_rule *rule)
{
        struct writer w = {.rule = nftnl_rule_alloc(), .family = family};

        if (!w.rule)
                return NULL;
        nftnl_rule_set_u32(w.rule, NFTNL_RULE_FAMILY, family);
        if (nftnl_rule_set_str(w.rule, NFTNL_RULE_TABLE, table) < 0 ||
            nftnl_rule_set_str(w.rule, NFTNL_RULE_CHAIN, chain) < 0)
                w.failed = true;
        for (size_t i = 0; i < rule->n; i++)
                write_statement(&w, &rule->statements[i]);
        if (w.failed) {
                nftnl_rule_free(w.rule);
                return NULL;
        }
        return w.rule;
}
