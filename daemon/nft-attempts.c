// SPDX-License-Identifier: GPL-2.0-or-later
#include "nft-internal.h"
#include <endian.h>
#include <errno.h>
#include <libnftnl/object.h>
#include <string.h>

struct reader {
        enum rs_set_id id;
        struct attempts attempts; /* without the totals */
        size_t before;            /* how many were there before this set */
        size_t capacity;
};

static void read_counter(const struct nlattr *expression, struct attempt *to)
{
        NFT_FOR_EACH_NESTED(attr, expression)
        {
                if (mnl_attr_get_type(attr) != NFTA_EXPR_DATA)
                        continue;
                NFT_FOR_EACH_NESTED(value, attr)
                {
                        if (mnl_attr_validate(value, MNL_TYPE_U64) < 0)
                                continue;
                        if (mnl_attr_get_type(value) == NFTA_COUNTER_PACKETS)
                                to->packets = be64toh(mnl_attr_get_u64(value));
                        else if (mnl_attr_get_type(value) == NFTA_COUNTER_BYTES)
                                to->bytes = be64toh(mnl_attr_get_u64(value));
                }
        }
}

/* uid . protocol . address . port */
static void read_key(const uint8_t *key, enum rs_set_id id, struct attempt *to)
{
        size_t address = rs_type_info(rs_set_info(id)->fields[2])->length;
        uint32_t uid;
        uint16_t port;

        memcpy(&uid, key, sizeof(uid));
        memcpy(&port, key + 8 + address, sizeof(port));
        to->uid = be32toh(uid);
        to->protocol = key[4];
        to->family = id == SET_ATTEMPTS4 ? AF_INET : AF_INET6;
        memcpy(to->addr, key + 8, address);
        to->port = be16toh(port);
}

static int read_element(const struct nlattr *element, void *userdata)
{
        struct reader *reader = userdata;
        struct attempt a = {0};
        uint8_t key[RS_KEY_MAX];
        bool has_key = false;

        NFT_FOR_EACH_NESTED(attr, element)
        {
                uint16_t type = mnl_attr_get_type(attr);

                if (type == NFTA_SET_ELEM_KEY) {
                        int r = nft_copy_value(attr, key, rs_key_length(reader->id));

                        if (r < 0)
                                return r;
                        has_key = true;
                } else if (type == NFTA_SET_ELEM_EXPR) {
                        read_counter(attr, &a);
                } else if (type == NFTA_SET_ELEM_EXPRESSIONS) {
                        NFT_FOR_EACH_NESTED(expression, attr)
                        read_counter(expression, &a);
                }
        }
        if (!has_key)
                return -EBADMSG;
        nft_swap_key(reader->id, key);
        read_key(key, reader->id, &a);
        if (reader->attempts.n == reader->capacity) {
                size_t capacity = reader->capacity ? reader->capacity * 2 : 64;
                struct attempt *grown = reallocarray(reader->attempts.items, capacity, sizeof(*grown));

                if (!grown)
                        return -ENOMEM;
                reader->attempts.items = grown;
                reader->capacity = capacity;
        }
        reader->attempts.items[reader->attempts.n++] = a;
        return 0;
}

static int read_elements(const struct nlmsghdr *message, void *userdata)
{
        return nft_for_each_element(message, read_element, userdata);
}

static void read_again(void *userdata)
{
        struct reader *reader = userdata;

        reader->attempts.n = reader->before;
}

static int read_attempts_set(struct nft *n, uint8_t family, const char *table, enum rs_set_id id,
                             struct reader *reader)
{
        reader->id = id;
        reader->before = reader->attempts.n;
        return nft_ask(n, &(struct nft_question){.type = NFT_MSG_GETSETELEM,
                                                 .family = family,
                                                 .dump = true,
                                                 .table = table,
                                                 .name = rs_set_info(id)->name,
                                                 .answer = read_elements,
                                                 .again = read_again,
                                                 .userdata = reader});
}

struct totals {
        uint64_t packets, bytes;
};

static int read_totals(const struct nlmsghdr *message, void *userdata)
{
        struct nftnl_obj *o = nftnl_obj_alloc();
        struct totals *t = userdata;
        int r = 0;

        if (!o)
                return -ENOMEM;
        if (nftnl_obj_nlmsg_parse(message, o) < 0)
                r = -EBADMSG;
        else
                *t = (struct totals){nftnl_obj_get_u64(o, NFTNL_OBJ_CTR_PKTS),
                                     nftnl_obj_get_u64(o, NFTNL_OBJ_CTR_BYTES)};
        nftnl_obj_free(o);
        return r;
}

static int ask_totals(struct nft *n, uint8_t family, const char *table, enum rs_counter_id id,
                      struct totals *ret)
{
        return nft_ask(n, &(struct nft_question){.type = NFT_MSG_GETOBJ,
                                                 .family = family,
                                                 .table = table,
                                                 .name = rs_counter_name(id),
                                                 .object = NFT_OBJECT_COUNTER,
                                                 .answer = read_totals,
                                                 .userdata = ret});
}

/* Of packets, and of frames where there is a table for them. */
static int ask_all_totals(struct nft *n, const char *table, struct totals *ret)
{
        struct totals packets = {0}, frames = {0};
        int r = ask_totals(n, NFPROTO_INET, table, COUNTER_REFUSED, &packets);

        if (r < 0)
                return r;
        r = n->no_frames ? 0 : ask_totals(n, NFPROTO_NETDEV, table, COUNTER_REFUSED, &frames);
        if (r < 0 && r != -ENOENT)
                return r;
        *ret = (struct totals){packets.packets + frames.packets, packets.bytes + frames.bytes};
        return 0;
}

int nft_read_refused(struct nft *n, const char *name, uint64_t *ret_packets, uint64_t *ret_bytes)
{
        _cleanup_free_ char *table = nft_table_name(name);
        struct totals t = {0};
        int r;

        if (!table)
                return -ENOMEM;
        r = ask_all_totals(n, table, &t);
        if (r < 0)
                return r;
        *ret_packets = t.packets;
        *ret_bytes = t.bytes;
        return 0;
}

int nft_read_trials(struct nft *n, const char *name, struct nft_trials *ret)
{
        _cleanup_free_ char *table = nft_table_name(name);
        struct totals refused = {0}, passed = {0};
        int r;

        if (!table)
                return -ENOMEM;
        r = ask_totals(n, NFPROTO_INET, table, COUNTER_TRIAL_REFUSED, &refused);
        if (r == 0)
                r = ask_totals(n, NFPROTO_INET, table, COUNTER_TRIAL_PASSED, &passed);
        if (r < 0)
                return r;
        *ret = (struct nft_trials){refused.packets, passed.packets};
        return 0;
}

static int compare_targets(const struct attempt *a, const struct attempt *b)
{
        int r = (a->family > b->family) - (a->family < b->family);

        if (r == 0)
                r = memcmp(a->addr, b->addr, sizeof(a->addr));
        if (r == 0)
                r = (a->protocol > b->protocol) - (a->protocol < b->protocol);
        return r != 0 ? r : (a->port > b->port) - (a->port < b->port);
}

static int compare_keys(const void *a, const void *b)
{
        const struct attempt *x = a, *y = b;
        int r = (x->uid > y->uid) - (x->uid < y->uid);

        return r != 0 ? r : compare_targets(x, y);
}

static int compare_for_people(const void *a, const void *b)
{
        const struct attempt *x = a, *y = b;
        int r = (x->uid > y->uid) - (x->uid < y->uid);

        if (r == 0)
                r = (x->packets < y->packets) - (x->packets > y->packets);
        return r != 0 ? r : compare_targets(x, y);
}

static void sort_for_people(struct attempts *a)
{
        if (a->n > 1)
                qsort(a->items, a->n, sizeof(*a->items), compare_for_people);
}

static int compare_packets(const void *a, const void *b)
{
        const struct attempt *x = a, *y = b;

        return x->packets != y->packets ? (x->packets < y->packets) - (x->packets > y->packets)
                                        : compare_for_people(a, b);
}

/* What is left out is still counted in the totals. */
static void keep_most_frequent(struct attempts *a)
{
        if (a->n <= ATTEMPTS_KEPT_MAX)
                return;
        qsort(a->items, a->n, sizeof(*a->items), compare_packets);
        a->n = ATTEMPTS_KEPT_MAX;
}

/* Without the totals. */
static int read_family(struct nft *n, uint8_t family, const char *table, struct attempts *ret)
{
        struct reader reader = {0};
        int r = read_attempts_set(n, family, table, SET_ATTEMPTS4, &reader);

        if (r == 0)
                r = read_attempts_set(n, family, table, SET_ATTEMPTS6, &reader);
        if (r < 0)
                attempts_clear(&reader.attempts);
        else
                *ret = reader.attempts;
        return r;
}

int nft_read_attempts(struct nft *n, const char *name, struct attempts *ret)
{
        _cleanup_free_ char *table = nft_table_name(name);
        _cleanup_attempts_ struct attempts packets = {0}, frames = {0};
        struct totals t = {0};
        int r;

        if (!table)
                return -ENOMEM;
        r = read_family(n, NFPROTO_INET, table, &packets);
        if (r == 0 && !n->no_frames) {
                r = read_family(n, NFPROTO_NETDEV, table, &frames);
                if (r == 0 || r == -ENOENT)
                        r = attempts_merge(&packets, &frames);
        }
        /* After the sets: so that the total is never less than its parts. */
        if (r == 0)
                r = ask_all_totals(n, table, &t);
        if (r < 0)
                return r;
        packets.packets = t.packets;
        packets.bytes = t.bytes;
        sort_for_people(&packets);
        *ret = packets;
        packets = (struct attempts){0};
        return 0;
}

int nft_table_number(struct nft *n, const char *name, uint64_t *ret)
{
        _cleanup_free_ char *table = nft_table_name(name);
        struct nft_table_state state;
        int r = table ? nft_table_state(n, NFPROTO_INET, table, &state) : -ENOMEM;

        if (r == 0 && !state.exists)
                r = -ENOENT;
        if (r < 0)
                return r;
        *ret = state.handle;
        return 0;
}

void attempts_clear(struct attempts *a)
{
        free(a->items);
        *a = (struct attempts){0};
}

int attempts_merge(struct attempts *a, const struct attempts *b)
{
        size_t n = a->n + b->n, kept = 0;

        if (b->n > 0) {
                struct attempt *grown = reallocarray(a->items, n, sizeof(*grown));

                if (!grown)
                        return -ENOMEM;
                memcpy(grown + a->n, b->items, b->n * sizeof(*grown));
                qsort(grown, n, sizeof(*grown), compare_keys);
                for (size_t i = 1; i < n; i++) {
                        if (compare_keys(&grown[kept], &grown[i]) == 0) {
                                grown[kept].packets += grown[i].packets;
                                grown[kept].bytes += grown[i].bytes;
                        } else {
                                grown[++kept] = grown[i];
                        }
                }
                a->items = grown;
                a->n = kept + 1;
                keep_most_frequent(a);
                sort_for_people(a);
        }
        a->packets += b->packets;
        a->bytes += b->bytes;
        return 0;
}
