// SPDX-License-Identifier: GPL-2.0-or-later
#include "nft-internal.h"
#include <errno.h>
#include <libnftnl/chain.h>
#include <libnftnl/object.h>
#include <libnftnl/table.h>
#include <libnftnl/udata.h>
#include <linux/netfilter.h>

static struct nftnl_table *table_new(const char *name, uint32_t flags)
{
        struct nftnl_table *t = nftnl_table_alloc();

        if (!t)
                return NULL;
        nftnl_table_set_u32(t, NFTNL_TABLE_FAMILY, NFPROTO_INET);
        nftnl_table_set_u32(t, NFTNL_TABLE_FLAGS, flags);
        if (nftnl_table_set_str(t, NFTNL_TABLE_NAME, name) < 0) {
                nftnl_table_free(t);
                return NULL;
        }
        return t;
}

static void send_table(struct nft_batch *b, uint16_t type, uint16_t flags, const char *what,
                       struct nftnl_table *t)
{
        struct nlmsghdr *message = nft_batch_message(b, type, flags, what, NULL);

        if (!t) {
                nft_batch_fail(b, -ENOMEM);
                return;
        }
        if (message) {
                nftnl_table_nlmsg_build_payload(message, t);
                nft_batch_add(b, message);
        }
        nftnl_table_free(t);
}

void nft_put_table(struct nft_batch *b, const char *table, uint32_t flags)
{
        send_table(b, NFT_MSG_NEWTABLE, NLM_F_CREATE, "the creation", table_new(table, flags));
}

void nft_delete_table(struct nft_batch *b, const char *table)
{
        struct nftnl_table *t = table_new(table, 0);

        if (t)
                nftnl_table_unset(t, NFTNL_TABLE_FLAGS);
        send_table(b, NFT_MSG_DELTABLE, 0, "the removal", t);
}

void nft_delete_tables(struct nft_batch *b, const char *table, const struct nft_presence *where)
{
        for (size_t i = 0; i < ELEMENTSOF(nft_families); i++) {
                b->family = nft_families[i];
                if (where->in[i])
                        nft_delete_table(b, table);
        }
        b->family = NFPROTO_INET;
}

static void send_counter(struct nft_batch *b, uint16_t type, uint16_t flags, const char *what,
                         const char *table, enum rs_counter_id id)
{
        struct nftnl_obj *o = nftnl_obj_alloc();
        struct nlmsghdr *message = nft_batch_message(b, type, flags, what, rs_counter_name(id));

        if (!o) {
                nft_batch_fail(b, -ENOMEM);
                return;
        }
        nftnl_obj_set_u32(o, NFTNL_OBJ_FAMILY, NFPROTO_INET);
        nftnl_obj_set_str(o, NFTNL_OBJ_TABLE, table);
        nftnl_obj_set_str(o, NFTNL_OBJ_NAME, rs_counter_name(id));
        nftnl_obj_set_u32(o, NFTNL_OBJ_TYPE, NFT_OBJECT_COUNTER);
        /* These copy what they are given, and do not say that they found no memory for it. */
        if (!nftnl_obj_get_str(o, NFTNL_OBJ_TABLE) || !nftnl_obj_get_str(o, NFTNL_OBJ_NAME)) {
                nft_batch_fail(b, -ENOMEM);
        } else if (message) {
                nftnl_obj_nlmsg_build_payload(message, o);
                nft_batch_add(b, message);
        }
        nftnl_obj_free(o);
}

void nft_put_counters(struct nft_batch *b, const char *table)
{
        for (unsigned i = 0; i < _COUNTER_MAX; i++)
                if (rs_has_counter(b->family, i))
                        send_counter(b, NFT_MSG_NEWOBJ, NLM_F_CREATE | NLM_F_EXCL, "counter", table, i);
}

void nft_delete_counters(struct nft_batch *b, const char *table)
{
        for (unsigned i = 0; i < _COUNTER_MAX; i++)
                if (rs_has_counter(b->family, i))
                        send_counter(b, NFT_MSG_DELOBJ, 0, "the reset of counter", table, i);
}

static struct nftnl_chain *chain_new(const char *table, const char *name)
{
        struct nftnl_chain *c = nftnl_chain_alloc();

        if (!c)
                return NULL;
        nftnl_chain_set_u32(c, NFTNL_CHAIN_FAMILY, NFPROTO_INET);
        if (nftnl_chain_set_str(c, NFTNL_CHAIN_TABLE, table) < 0 ||
            nftnl_chain_set_str(c, NFTNL_CHAIN_NAME, name) < 0) {
                nftnl_chain_free(c);
                return NULL;
        }
        return c;
}

static void send_chain(struct nft_batch *b, uint16_t type, uint16_t flags, const char *what, const char *name,
                       struct nftnl_chain *c)
{
        struct nlmsghdr *message = nft_batch_message(b, type, flags, what, name);

        if (!c) {
                nft_batch_fail(b, -ENOMEM);
                return;
        }
        if (message) {
                nftnl_chain_nlmsg_build_payload(message, c);
                nft_batch_add(b, message);
        }
        nftnl_chain_free(c);
}

/* As nft(8) keeps a comment. The kernel keeps chains' user data since 5.10; an older one just does not. */
static int set_order_comment(struct nftnl_chain *c, const char *order)
{
        struct nftnl_udata_buf *udata;
        char comment[sizeof(NFT_ORDER_COMMENT) + 33];

        if (!*order)
                return 0;
        udata = nftnl_udata_buf_alloc(NFT_USERDATA_MAXLEN);
        if (!udata)
                return -ENOMEM;
        (void)snprintf(comment, sizeof(comment), NFT_ORDER_COMMENT "%s", order);
        (void)nftnl_udata_put_strz(udata, NFTNL_UDATA_CHAIN_COMMENT, comment);
        nftnl_chain_set_data(c, NFTNL_CHAIN_USERDATA, nftnl_udata_buf_data(udata),
                             nftnl_udata_buf_len(udata));
        nftnl_udata_buf_free(udata);
        return 0;
}

void nft_put_chain(struct nft_batch *b, const char *table, enum rs_chain_id id, const char *order,
                   const struct nft_device *device)
{
        const struct rs_chain_info *info = rs_chain_info(id);
        const char *name = device ? device->chain : info->name;
        struct nftnl_chain *c = chain_new(table, name);

        if (c && rs_chain_is_base(id)) {
                nftnl_chain_set_u32(c, NFTNL_CHAIN_HOOKNUM, info->hooknum);
                nftnl_chain_set_s32(c, NFTNL_CHAIN_PRIO, info->priority);
                nftnl_chain_set_u32(c, NFTNL_CHAIN_POLICY, NF_ACCEPT);
                if (nftnl_chain_set_str(c, NFTNL_CHAIN_TYPE, info->type) < 0 ||
                    (device && nftnl_chain_set_str(c, NFTNL_CHAIN_DEV, device->name) < 0) ||
                    set_order_comment(c, order) < 0) {
                        nftnl_chain_free(c);
                        c = NULL;
                }
        }
        send_chain(b, NFT_MSG_NEWCHAIN, NLM_F_CREATE | NLM_F_EXCL, "chain", name, c);
}

void nft_delete_chain(struct nft_batch *b, const char *table, const char *name)
{
        send_chain(b, NFT_MSG_DELCHAIN, 0, "the removal of chain", name, chain_new(table, name));
}

void nft_put_rules(struct nft_batch *b, const char *table, enum rs_chain_id id, const char *name,
                   const struct rs_chain *c)
{
        if (!name)
                name = rs_chain_info(id)->name;
        for (size_t i = 0; i < c->n; i++) {
                struct nftnl_rule *rule = nft_rule_new(b->family, table, name, &c->rules[i]);
                struct nlmsghdr *message = nft_batch_message(b, NFT_MSG_NEWRULE, NLM_F_CREATE | NLM_F_APPEND,
                                                             "a rule of chain", name);

                if (!rule) {
                        nft_batch_fail(b, -ENOMEM);
                        return;
                }
                if (message) {
                        nftnl_rule_nlmsg_build_payload(message, rule);
                        nft_batch_add(b, message);
                }
                nftnl_rule_free(rule);
        }
}

/* A rule's deletion that names no rule means all of the chain. */
void nft_flush_rules(struct nft_batch *b, const char *table, enum rs_chain_id id)
{
        const char *name = rs_chain_info(id)->name;
        struct nlmsghdr *message = nft_batch_message(b, NFT_MSG_DELRULE, 0, "the old rules of chain", name);

        if (!message)
                return;
        mnl_attr_put_strz(message, NFTA_RULE_TABLE, table);
        mnl_attr_put_strz(message, NFTA_RULE_CHAIN, name);
        nft_batch_add(b, message);
}
