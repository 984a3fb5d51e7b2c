// SPDX-License-Identifier: GPL-2.0-or-later
#include "nft-internal.h"
#include <endian.h>
#include <errno.h>
#include <libnftnl/expr.h>
#include <libnftnl/set.h>
#include <libnftnl/udata.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nfnetlink.h>
#include <string.h>

#ifndef NFT_SET_CONCAT
#define NFT_SET_CONCAT 0x80
#endif

/* A netlink attribute ends at 64 KiB; this leaves room for one more element of any kind. */
#define ELEMENTS_MAX 48000

static bool is_concatenation(enum rs_set_id id)
{
        return rs_set_n_fields(id) > 1;
}

uint32_t nft_set_flags(enum rs_set_id id)
{
        const struct rs_set_info *info = rs_set_info(id);

        return (info->interval ? NFT_SET_INTERVAL : 0u) |
               (info->interval && is_concatenation(id) ? NFT_SET_CONCAT : 0u) |
               (info->dynamic ? NFT_SET_EVAL : 0u);
}

/* nft(8)'s number for a type; a concatenation's is made of its fields', six bits each. */
static uint32_t key_type(enum rs_set_id id)
{
        uint32_t type = 0;

        for (size_t i = 0; i < rs_set_n_fields(id); i++)
                type = type << 6 | rs_type_info(rs_set_info(id)->fields[i])->id;
        return type;
}

/* How the fields of a concatenation of ranges lie in the key: their lengths in bytes. */
static int describe_fields(struct nftnl_set *set, enum rs_set_id id)
{
        uint8_t lengths[RS_KEY_FIELDS];
        size_t n = rs_set_n_fields(id);

        for (size_t i = 0; i < n; i++)
                lengths[i] = (uint8_t)rs_type_info(rs_set_info(id)->fields[i])->length;
        return nftnl_set_set_data(set, NFTNL_SET_DESC_CONCAT, lengths, (uint32_t)n);
}

/* Tells nft(8) in which byte order to print the keys; the kernel only keeps it. */
static int describe_byte_order(struct nftnl_set *set, enum rs_set_id id)
{
        enum { HOST_ORDER = 1, BIG_ENDIAN_ORDER = 2 };
        bool host = rs_type_info(rs_set_info(id)->fields[0])->host_order;
        struct nftnl_udata_buf *data = nftnl_udata_buf_alloc(64);
        int r = -1;

        if (data &&
            nftnl_udata_put_u32(data, NFTNL_UDATA_SET_KEYBYTEORDER, host ? HOST_ORDER : BIG_ENDIAN_ORDER))
                r = nftnl_set_set_data(set, NFTNL_SET_USERDATA, nftnl_udata_buf_data(data),
                                       nftnl_udata_buf_len(data));
        if (data)
                nftnl_udata_buf_free(data);
        return r;
}

static int describe_counter(struct nftnl_set *set)
{
        struct nftnl_expr *counter = nftnl_expr_alloc("counter");

        if (!counter)
                return -1;
        nftnl_set_add_expr(set, counter);
        return 0;
}

static int describe_set(struct nftnl_set *set, const char *table, enum rs_set_id id, uint32_t size)
{
        const struct rs_set_info *info = rs_set_info(id);
        int r = 0;

        if (nftnl_set_set_str(set, NFTNL_SET_TABLE, table) < 0 ||
            nftnl_set_set_str(set, NFTNL_SET_NAME, info->name) < 0)
                return -1;
        nftnl_set_set_u32(set, NFTNL_SET_FAMILY, NFPROTO_INET);
        nftnl_set_set_u32(set, NFTNL_SET_ID, (uint32_t)id + 1);
        nftnl_set_set_u32(set, NFTNL_SET_FLAGS, nft_set_flags(id));
        nftnl_set_set_u32(set, NFTNL_SET_KEY_TYPE, key_type(id));
        nftnl_set_set_u32(set, NFTNL_SET_KEY_LEN, (uint32_t)rs_key_length(id));
        if (size > 0)
                nftnl_set_set_u32(set, NFTNL_SET_DESC_SIZE, size);
        if (info->interval && is_concatenation(id))
                r = describe_fields(set, id);
        if (r == 0 && !is_concatenation(id))
                r = describe_byte_order(set, id);
        if (r == 0 && info->dynamic)
                r = describe_counter(set);
        return r;
}

void nft_put_set(struct nft_batch *b, const char *table, enum rs_set_id id, const struct rs_set *s)
{
        struct nftnl_set *set = nftnl_set_alloc();
        struct nlmsghdr *message =
                nft_batch_message(b, NFT_MSG_NEWSET, NLM_F_CREATE | NLM_F_EXCL, "set", rs_set_info(id)->name);

        if (!set || describe_set(set, table, id, s->size) < 0)
                nft_batch_fail(b, -ENOMEM);
        else if (message) {
                nftnl_set_nlmsg_build_payload(message, set);
                nft_batch_add(b, message);
        }
        if (set)
                nftnl_set_free(set);
}

static void reverse(uint8_t *p, size_t length)
{
        for (size_t i = 0; i < length / 2; i++) {
                uint8_t byte = p[i];

                p[i] = p[length - 1 - i];
                p[length - 1 - i] = byte;
        }
}

void nft_swap_key(enum rs_set_id id, uint8_t *key)
{
        const struct rs_set_info *info = rs_set_info(id);

        /* Intervals compare bytes: there the kernel, too, has the most significant one first. */
        if (info->interval || htobe16(1) == 1)
                return;
        for (size_t i = 0; i < rs_set_n_fields(id); i++) {
                const struct rs_type_info *type = rs_type_info(info->fields[i]);

                if (type->host_order)
                        reverse(key, type->length);
                key += rs_field_length(id, i);
        }
}

/* One higher; false if there is nothing higher. */
static bool increment(uint8_t *key, size_t length)
{
        for (size_t i = length; i > 0; i--)
                if (++key[i - 1] != 0)
                        return true;
        return false;
}

static bool decrement(uint8_t *key, size_t length)
{
        for (size_t i = length; i > 0; i--)
                if (key[i - 1]-- != 0)
                        return true;
        return false;
}

static void put_key(struct nlmsghdr *message, uint16_t attribute, const uint8_t *key, size_t length)
{
        struct nlattr *nest = mnl_attr_nest_start(message, attribute);

        mnl_attr_put(message, NFTA_DATA_VALUE, length, key);
        mnl_attr_nest_end(message, nest);
}

static void put_plain(struct nlmsghdr *message, const uint8_t *key, size_t length, uint32_t flags)
{
        struct nlattr *nest = mnl_attr_nest_start(message, NFTA_LIST_ELEM);

        if (flags > 0)
                mnl_attr_put_u32(message, NFTA_SET_ELEM_FLAGS, htobe32(flags));
        put_key(message, NFTA_SET_ELEM_KEY, key, length);
        mnl_attr_nest_end(message, nest);
}

/* The kernel's elements for one of ours: a key; for a range its beginning and what follows its end; for a
 * range of concatenations one element with two keys. Raw attributes, as libnftnl's objects take ten times as
 * long. */
static void put_element(struct nlmsghdr *message, enum rs_set_id id, const uint8_t *element)
{
        uint8_t key[RS_KEY_MAX];
        size_t length = rs_key_length(id);
        struct nlattr *nest;

        memcpy(key, element, length);
        nft_swap_key(id, key);
        if (rs_set_info(id)->interval && is_concatenation(id)) {
                nest = mnl_attr_nest_start(message, NFTA_LIST_ELEM);
                put_key(message, NFTA_SET_ELEM_KEY, key, length);
                put_key(message, NFTA_SET_ELEM_KEY_END, element + length, length);
                mnl_attr_nest_end(message, nest);
                return;
        }
        put_plain(message, key, length, 0);
        if (!rs_set_info(id)->interval)
                return;
        memcpy(key, element + length, length);
        if (increment(key, length))
                put_plain(message, key, length, NFT_SET_ELEM_INTERVAL_END);
}

static struct nlmsghdr *begin_elements(struct nft_batch *b, uint16_t type, const char *table,
                                       enum rs_set_id id)
{
        bool add = type == NFT_MSG_NEWSETELEM;
        const char *name = rs_set_info(id)->name;
        struct nlmsghdr *message = nft_batch_message(
                b, type, add ? NLM_F_CREATE : 0, add ? "the elements of set" : "the removal from set", name);

        if (message) {
                mnl_attr_put_strz(message, NFTA_SET_ELEM_LIST_TABLE, table);
                mnl_attr_put_strz(message, NFTA_SET_ELEM_LIST_SET, name);
        }
        return message;
}

void nft_put_elements(struct nft_batch *b, uint16_t type, const char *table, enum rs_set_id id,
                      const struct rs_set *s)
{
        size_t step = rs_element_length(id);

        for (size_t i = 0; i < s->n;) {
                struct nlmsghdr *message = begin_elements(b, type, table, id);
                struct nlattr *nest;

                if (!message)
                        return;
                nest = mnl_attr_nest_start(message, NFTA_SET_ELEM_LIST_ELEMENTS);
                for (; i < s->n && message->nlmsg_len < ELEMENTS_MAX; i++)
                        put_element(message, id, s->elements + i * step);
                mnl_attr_nest_end(message, nest);
                nft_batch_add(b, message);
        }
}

void nft_flush_set(struct nft_batch *b, const char *table, enum rs_set_id id)
{
        struct nlmsghdr *message = begin_elements(b, NFT_MSG_DELSETELEM, table, id);

        if (message)
                nft_batch_add(b, message);
}

int nft_set_without(const struct rs_set *a, const struct rs_set *b, enum rs_set_id id, struct rs_set *ret)
{
        _cleanup_rs_set_ struct rs_set rest = {0};
        size_t step = rs_element_length(id), n = 0;
        int r = rs_set_allocate(&rest, id, a->n);

        if (r < 0)
                return r;
        for (size_t i = 0, j = 0; i < a->n; i++) {
                int order = -1;

                while (j < b->n && (order = memcmp(a->elements + i * step, b->elements + j * step, step)) > 0)
                        j++;
                if (j == b->n || order != 0)
                        memcpy(rest.elements + n++ * step, a->elements + i * step, step);
        }
        rest.n = n;
        *ret = rest;
        rest = (struct rs_set){0};
        return 0;
}

/* Elements as the kernel tells them, before they are made sense of. */
struct reader {
        enum rs_set_id id;
        uint8_t *entries; /* N entries: in a tree a key and a byte, 0 for an end, else an element
                           */
        size_t n, capacity, step;
};

static bool is_tree(enum rs_set_id id)
{
        return rs_set_info(id)->interval && !is_concatenation(id);
}

int nft_copy_value(const struct nlattr *attribute, uint8_t *value, size_t length)
{
        NFT_FOR_EACH_NESTED(attr, attribute)
        {
                if (mnl_attr_get_type(attr) != NFTA_DATA_VALUE)
                        continue;
                if (mnl_attr_get_payload_len(attr) != length)
                        return -EBADMSG;
                memcpy(value, mnl_attr_get_payload(attr), length);
                return 0;
        }
        return -EBADMSG;
}

int nft_for_each_element(const struct nlmsghdr *message,
                         int (*with)(const struct nlattr *element, void *userdata), void *userdata)
{
        const char *end = (const char *)message + message->nlmsg_len;

        for (const struct nlattr *attr = mnl_nlmsg_get_payload_offset(message, sizeof(struct nfgenmsg));
             mnl_attr_ok(attr, (int)(end - (const char *)attr)); attr = mnl_attr_next(attr)) {
                if (mnl_attr_get_type(attr) != NFTA_SET_ELEM_LIST_ELEMENTS)
                        continue;
                NFT_FOR_EACH_NESTED(element, attr)
                {
                        int r = with(element, userdata);

                        if (r < 0)
                                return r;
                }
        }
        return 0;
}

/* The parts of an element into their places in ENTRY. */
static int read_parts(const struct nlattr *element, enum rs_set_id id, uint8_t *entry, bool *ret_end)
{
        size_t length = rs_key_length(id);
        bool pairs = rs_set_info(id)->interval && !is_tree(id), has_key = false;

        NFT_FOR_EACH_NESTED(attr, element)
        {
                int r = 0;

                switch (mnl_attr_get_type(attr)) {
                case NFTA_SET_ELEM_KEY:
                        r = nft_copy_value(attr, entry, length);
                        has_key = true;
                        break;
                case NFTA_SET_ELEM_KEY_END:
                        r = pairs ? nft_copy_value(attr, entry + length, length) : -EBADMSG;
                        *ret_end = true;
                        break;
                case NFTA_SET_ELEM_FLAGS:
                        if (mnl_attr_validate(attr, MNL_TYPE_U32) < 0)
                                r = -EBADMSG;
                        else if (be32toh(mnl_attr_get_u32(attr)) & NFT_SET_ELEM_INTERVAL_END)
                                *ret_end = true;
                        break;
                default:
                        break;
                }
                if (r < 0)
                        return r;
        }
        /* A catch-all element, which has no key, matches everything: none of ours. */
        return has_key ? 0 : -EBADMSG;
}

static int read_element(const struct nlattr *element, void *userdata)
{
        struct reader *reader = userdata;
        size_t length = rs_key_length(reader->id);
        bool end = false;
        uint8_t *entry;
        int r;

        if (reader->n == reader->capacity) {
                size_t capacity = reader->capacity ? reader->capacity * 2 : 256;
                uint8_t *grown = reallocarray(reader->entries, capacity, reader->step);

                if (!grown)
                        return -ENOMEM;
                reader->entries = grown;
                reader->capacity = capacity;
        }
        entry = reader->entries + reader->n * reader->step;
        r = read_parts(element, reader->id, entry, &end);
        if (r < 0)
                return r;
        /* Ends sort before the beginning of what adjoins. */
        if (is_tree(reader->id))
                entry[length] = end ? 0 : 1;
        else if (rs_set_info(reader->id)->interval && !end)
                memcpy(entry + length, entry, length);
        else if (!rs_set_info(reader->id)->interval)
                nft_swap_key(reader->id, entry);
        reader->n++;
        return 0;
}

static int read_elements(const struct nlmsghdr *message, void *userdata)
{
        return nft_for_each_element(message, read_element, userdata);
}

static void read_again(void *userdata)
{
        struct reader *reader = userdata;

        reader->n = 0;
}

static int compare_entries(const void *a, const void *b, void *length)
{
        return memcmp(a, b, *(const size_t *)length);
}

/* Beginnings and ends, sorted, into ranges. Anything but one end behind each beginning cannot be ours. */
static int pair_up(struct reader *reader, struct rs_set *ret)
{
        size_t length = rs_key_length(reader->id);
        uint8_t *to;
        int r;

        if (reader->n > 0)
                qsort_r(reader->entries, reader->n, reader->step, compare_entries, &reader->step);
        r = rs_set_allocate(ret, reader->id, (reader->n + 1) / 2);
        if (r < 0)
                return r;
        to = ret->elements;
        for (size_t i = 0; i < reader->n; i += 2, to += 2 * length) {
                const uint8_t *first = reader->entries + i * reader->step, *end = first + reader->step;

                if (first[length] == 0)
                        return -EBADMSG;
                memcpy(to, first, length);
                if (i + 1 == reader->n) {
                        memset(to + length, 0xff, length);
                        continue;
                }
                if (end[length] != 0)
                        return -EBADMSG;
                memcpy(to + length, end, length);
                (void)decrement(to + length, length);
        }
        return 0;
}

int nft_read_set(struct nft *n, uint8_t family, const char *table, enum rs_set_id id, struct rs_set *ret)
{
        _cleanup_rs_set_ struct rs_set set = {0};
        struct reader reader = {.id = id,
                                .step = is_tree(id) ? rs_key_length(id) + 1 : rs_element_length(id)};
        int r = nft_ask(n, &(struct nft_question){.type = NFT_MSG_GETSETELEM,
                                                  .family = family,
                                                  .dump = true,
                                                  .table = table,
                                                  .name = rs_set_info(id)->name,
                                                  .answer = read_elements,
                                                  .again = read_again,
                                                  .userdata = &reader});

        if (r == 0 && is_tree(id)) {
                r = pair_up(&reader, &set);
        } else if (r == 0) {
                set = (struct rs_set){.present = true, .n = reader.n, .elements = reader.entries};
                reader.entries = NULL;
                rs_set_sort(&set, id);
        }
        free(reader.entries);
        if (r < 0)
                return r;
        *ret = set;
        set = (struct rs_set){0};
        return 0;
}
