// SPDX-License-Identifier: GPL-2.0-or-later
#include "nft-internal.h"
#include <errno.h>
#include <libnftnl/table.h>
#include <string.h>

struct table_list {
        const struct nft *nft;
        struct nft_table *items;
        size_t n;
};

/* The two tables of a profile are one entry; either may have been left alone. */
static struct nft_table *entry_for(struct table_list *l, const char *profile)
{
        struct nft_table *grown;

        for (size_t i = 0; i < l->n; i++)
                if (strcmp(l->items[i].name, profile) == 0)
                        return &l->items[i];
        grown = reallocarray(l->items, l->n + 1, sizeof(*grown));
        if (!grown)
                return NULL;
        l->items = grown;
        grown[l->n] = (struct nft_table){.name = strdup(profile), .owned = true};
        return grown[l->n].name ? &grown[l->n++] : NULL;
}

static int add_table(struct table_list *l, const struct nftnl_table *t)
{
        const char *name = nftnl_table_get_str(t, NFTNL_TABLE_NAME);
        uint32_t owner =
                nftnl_table_is_set(t, NFTNL_TABLE_OWNER) ? nftnl_table_get_u32(t, NFTNL_TABLE_OWNER) : 0;
        struct nft_table *entry;

        if (!name || strncmp(name, TABLE_PREFIX, strlen(TABLE_PREFIX)) != 0)
                return 0;
        entry = entry_for(l, name + strlen(TABLE_PREFIX));
        if (!entry)
                return -ENOMEM;
        entry->owned &= owner == l->nft->portid;
        entry->foreign |= owner > 0 && owner != l->nft->portid;
        return 0;
}

static int read_table(const struct nlmsghdr *message, void *userdata)
{
        struct nftnl_table *t = nftnl_table_alloc();
        int r;

        if (!t)
                return -ENOMEM;
        r = nftnl_table_nlmsg_parse(message, t) < 0 ? -EBADMSG : add_table(userdata, t);
        nftnl_table_free(t);
        return r;
}

static void free_tables(struct table_list *l)
{
        nft_tables_free(l->items, l->n);
        l->items = NULL;
        l->n = 0;
}

static void mark_table(struct nft_table *t, const struct nft_chain_state *chain)
{
        t->engaged = true;
        if (chain->order[0])
                memcpy(t->order, chain->order, sizeof(t->order));
}

/* A table in place of which another one refuses is engaged as well. */
static const char *profile_of(const char *table)
{
        if (strncmp(table, HOLD_PREFIX, strlen(HOLD_PREFIX)) == 0)
                table += strlen(HOLD_PREFIX);
        return strncmp(table, TABLE_PREFIX, strlen(TABLE_PREFIX)) == 0 ? table + strlen(TABLE_PREFIX) : "";
}

static void mark_engaged(struct table_list *l, const struct nft_chain_list *chains)
{
        for (size_t i = 0; i < chains->n; i++)
                for (size_t j = 0; chains->items[i].type && j < l->n; j++)
                        if (strcmp(profile_of(chains->items[i].table), l->items[j].name) == 0)
                                mark_table(&l->items[j], &chains->items[i]);
}

int nft_list(struct nft *n, struct nft_table **ret, size_t *ret_n)
{
        _cleanup_chain_list_ struct nft_chain_list chains = {0};
        struct table_list l = {.nft = n};
        int r = 0;

        /* To hear of one again does no harm, should the kernel have to begin anew. */
        for (size_t i = 0; r == 0 && i < ELEMENTSOF(nft_families); i++)
                r = nft_ask(n, &(struct nft_question){.type = NFT_MSG_GETTABLE,
                                                      .family = nft_families[i],
                                                      .dump = true,
                                                      .answer = read_table,
                                                      .userdata = &l});
        if (r == 0)
                r = nft_read_chains(n, NULL, &chains);
        if (r < 0) {
                free_tables(&l);
                return r;
        }
        mark_engaged(&l, &chains);
        *ret = l.items;
        *ret_n = l.n;
        return 0;
}

void nft_tables_free(struct nft_table *tables, size_t n)
{
        for (size_t i = 0; i < n; i++)
                free(tables[i].name);
        free(tables);
}

/* The table in one family. -ENOENT: none. */
static int adopt(struct nft *n, uint8_t family, const char *table, char **ret_error)
{
        _cleanup_batch_ struct nft_batch b = {0};
        struct nft_table_state state;
        int r = nft_table_state(n, family, table, &state);

        if (r < 0)
                return r;
        if (!state.exists)
                return -ENOENT;
        if (!nft_owns_tables(n) || state.owner == n->portid)
                return 0;
        if (state.owner > 0) {
                nft_say(ret_error,
                        "table %s belongs to another running program (netlink port %u): another lockdownd is "
                        "running",
                        table, state.owner);
                return -EPERM;
        }
        /* To say it again in the same words is to take it over. */
        nft_batch_begin(&b, n, table);
        b.family = family;
        nft_put_table(&b, table, n->table_flags);
        return nft_batch_send(&b, ret_error);
}

int nft_is_there(struct nft *n, const char *name)
{
        _cleanup_free_ char *table = nft_table_name(name);
        struct nft_table_state state;
        int r = table ? nft_table_state(n, NFPROTO_INET, table, &state) : -ENOMEM;

        return r < 0 ? r : state.exists;
}

int nft_adopt(struct nft *n, const char *name, char **ret_error)
{
        _cleanup_free_ char *table = nft_table_name(name);
        size_t missing = 0;
        int r = 0;

        if (ret_error)
                *ret_error = NULL;
        if (!table)
                return -ENOMEM;
        /* That one of them may be missing is for nft_verify() to say. */
        for (size_t i = 0; r >= 0 && i < ELEMENTSOF(nft_families); i++) {
                r = adopt(n, nft_families[i], table, NULL);
                if (r < 0 && r != -ENOENT) /* it may be ours by now, whatever was said */
                        r = adopt(n, nft_families[i], table, ret_error);
                if (r == -ENOENT) {
                        missing++;
                        r = 0;
                }
        }
        if (missing == ELEMENTSOF(nft_families)) {
                nft_say(ret_error, "there is no table %s to take over", table);
                return -ENOENT;
        }
        return r;
}
