// SPDX-License-Identifier: GPL-2.0-or-later
#include "nft-internal.h"
#include <errno.h>
#include <libnftnl/expr.h>
#include <libnftnl/set.h>
#include <linux/netfilter.h>
#include <stdarg.h>
#include <string.h>

/* 0 in a build for tests only: as if whatever is wrong could not be seen by comparing. */
#ifndef COMPARE
#define COMPARE 1
#endif

struct check {
        struct nft *nft;
        const struct ruleset *expected;
        bool engaged;
        const struct nft_reading *reading; /* large sets, or NULL */
        char *difference;                  /* the first found; NULL: none so far */
        bool no_memory;
        bool set_seen[_SET_MAX];
        size_t n_rules[_CHAIN_MAX]; /* seen */
        char last_chain[64];        /* whose rules are being read: the kernel tells them chain by chain */
        size_t n_in_chain;          /* … and how many so far */
        size_t n_chains[_CHAIN_MAX];
        struct nft_devices devices; /* with rules for frames: those there are */
};

__attribute__((format(printf, 2, 3))) static void differs(struct check *c, const char *format, ...)
{
        _cleanup_free_ char *what = NULL;
        va_list arguments;

        if (c->difference || c->no_memory)
                return;
        va_start(arguments, format);
        if (vasprintf(&what, format, arguments) < 0)
                what = NULL;
        va_end(arguments);
        if (!what || asprintf(&c->difference, "table %s %s", c->expected->table, what) < 0) {
                c->difference = NULL;
                c->no_memory = true;
        }
}

static void check_table(struct check *c, const struct nft_table_state *state)
{
        const uint32_t mask = NFT_TABLE_F_OWNER | NFT_TABLE_F_PERSIST | NFT_TABLE_F_DORMANT;

        if (!state->exists)
                differs(c, "is gone");
        else if (state->flags & NFT_TABLE_F_DORMANT)
                differs(c, "is dormant");
        else if ((state->flags & mask) != c->nft->table_flags)
                differs(c, "has flags 0x%x instead of 0x%x", state->flags & mask, c->nft->table_flags);
        else if (nft_owns_tables(c->nft) && state->owner != c->nft->portid)
                differs(c, "is not owned by this daemon");
}

static bool expects_chain(const struct check *c, enum rs_chain_id id)
{
        return c->expected->chains[id].present && (c->engaged || !rs_chain_is_base(id));
}

static size_t expected_rules(const struct check *c, enum rs_chain_id id)
{
        return rs_chain_has_rules(id, c->engaged) ? c->expected->chains[id].n : 0;
}

/* A chain at a device has its index behind the name. */
static bool is_called(enum rs_chain_id id, const char *name)
{
        const char *expected = rs_chain_info(id)->name;
        size_t length = strlen(expected);

        return strncmp(expected, name, length) == 0 &&
               strspn(name + length, id == CHAIN_EGRESS ? "0123456789" : "") == strlen(name + length);
}

/* _CHAIN_MAX: none of the expected ones. */
static unsigned find_chain(const struct check *c, const char *name)
{
        unsigned id = 0;

        while (id < _CHAIN_MAX && !(expects_chain(c, id) && is_called(id, name)))
                id++;
        return id;
}

static void check_hook(struct check *c, const struct rs_chain_info *info, const struct nft_chain_state *chain)
{
        if (!info->type != !chain->type)
                differs(c, "has chain %s %s", chain->name, chain->type ? "hooked up" : "without a hook");
        else if (info->type && (strcmp(info->type, chain->type) != 0 || info->hooknum != chain->hooknum))
                differs(c, "has chain %s hooked up elsewhere", chain->name);
        else if (info->type && info->priority != chain->priority)
                differs(c, "has chain %s at priority %d instead of %d", chain->name, chain->priority,
                        info->priority);
        else if (info->type && chain->policy != NF_ACCEPT)
                differs(c, "has chain %s with another policy", chain->name);
}

/* Every device there is needs a hook of its own; what is left of one that went does not matter. */
static void check_devices(struct check *c, const struct nft_chain_list *chains)
{
        nft_find_hooked(&c->devices, chains);
        for (size_t i = 0; i < c->devices.n; i++)
                if (!c->devices.items[i].hooked)
                        differs(c, "is not hooked up at device %s", c->devices.items[i].name);
}

static int check_chains(struct check *c)
{
        _cleanup_chain_list_ struct nft_chain_list chains = {0};
        int r = nft_read_chains(c->nft, c->expected->table, &chains);

        if (r < 0)
                return r;
        for (size_t i = 0; i < chains.n; i++) {
                unsigned id = find_chain(c, chains.items[i].name);

                if (chains.items[i].family != c->expected->family)
                        continue;

                if (id == _CHAIN_MAX) {
                        differs(c, "has a chain that does not belong there: %s", chains.items[i].name);
                        continue;
                }
                c->n_chains[id]++;
                check_hook(c, rs_chain_info(id), &chains.items[i]);
        }
        for (unsigned i = 0; i < _CHAIN_MAX; i++)
                if (expects_chain(c, i) && c->n_chains[i] == 0 && i != CHAIN_EGRESS)
                        differs(c, "lacks chain %s", rs_chain_info(i)->name);
        if (expects_chain(c, CHAIN_EGRESS))
                check_devices(c, &chains);
        return 0;
}

/* A table that was updated keeps the sizes it was made with. */
static bool size_fits(uint32_t size, const struct rs_set *expected)
{
        return (size == 0) == (expected->size == 0) && (size == 0 || size >= expected->n);
}

static void check_set(struct check *c, const struct nftnl_set *set)
{
        const char *name = nftnl_set_get_str(set, NFTNL_SET_NAME);
        unsigned id = 0;

        while (id < _SET_MAX && !(c->expected->sets[id].present && strcmp(rs_set_info(id)->name, name) == 0))
                id++;
        if (id == _SET_MAX) {
                differs(c, "has a set that does not belong there: %s", name);
                return;
        }
        c->set_seen[id] = true;
        if (nftnl_set_get_u32(set, NFTNL_SET_FLAGS) != nft_set_flags(id) ||
            nftnl_set_get_u32(set, NFTNL_SET_KEY_LEN) != rs_key_length(id))
                differs(c, "has set %s of another kind", name);
        else if (!size_fits(nftnl_set_get_u32(set, NFTNL_SET_DESC_SIZE), &c->expected->sets[id]))
                differs(c, "has set %s of another size", name);
}

static int read_set(const struct nlmsghdr *message, void *userdata)
{
        struct nftnl_set *set = nftnl_set_alloc();
        int r = 0;

        if (!set)
                return -ENOMEM;
        if (nftnl_set_nlmsg_parse(message, set) < 0 || !nftnl_set_get_str(set, NFTNL_SET_NAME))
                r = -EBADMSG;
        else
                check_set(userdata, set);
        nftnl_set_free(set);
        return r;
}

static void check_again(void *userdata)
{
        struct check *c = userdata;

        free(c->difference);
        c->difference = NULL;
        memset(c->set_seen, 0, sizeof(c->set_seen));
        memset(c->n_rules, 0, sizeof(c->n_rules));
        c->last_chain[0] = '\0';
}

static int ask_about(struct check *c, uint16_t type, nft_answer_t answer)
{
        return nft_ask(c->nft, &(struct nft_question){.type = type,
                                                      .family = c->expected->family,
                                                      .dump = true,
                                                      .table = c->expected->table,
                                                      .answer = answer,
                                                      .again = check_again,
                                                      .userdata = c});
}

static int check_elements(struct check *c, enum rs_set_id id)
{
        _cleanup_rs_set_ struct rs_set now = {0}, missing = {0}, added = {0};
        const struct rs_set *expected = &c->expected->sets[id];
        const struct rs_set *found = nft_reading_find(c->reading, c->expected, id);
        const char *name = rs_set_info(id)->name;
        int r = found ? 0 : nft_read_set(c->nft, c->expected->family, c->expected->table, id, &now);

        if (r == -EBADMSG) {
                differs(c, "has elements in set %s that make no sense", name);
                return 0;
        }
        if (!found)
                found = &now;
        if (r == 0)
                r = nft_set_without(expected, found, id, &missing);
        if (r == 0)
                r = nft_set_without(found, expected, id, &added);
        if (r < 0)
                return r;
        if (missing.n > 0 || added.n > 0)
                differs(c, "has set %s with %zu elements missing and %zu added", name, missing.n, added.n);
        return 0;
}

/* To tell a set the kernel begins at its head for each message anew: 100,000 members take 60 ms of both
 * tables, a million takes seconds. */
static bool surely_unchanged(const struct nft *n, const struct ruleset *r, enum rs_set_id id)
{
        return r->compared && nft_owns_tables(n) && r->sets[id].n > NFT_LARGE_SET;
}

bool nft_compares_elements(const struct nft *n, const struct ruleset *r, enum rs_set_id id)
{
        return r->sets[id].present && !rs_set_info(id)->dynamic && !surely_unchanged(n, r, id);
}

static int check_sets(struct check *c)
{
        int r = ask_about(c, NFT_MSG_GETSET, read_set);

        for (unsigned i = 0; r == 0 && i < _SET_MAX; i++) {
                if (!c->expected->sets[i].present)
                        continue;
                if (!c->set_seen[i])
                        differs(c, "lacks set %s", rs_set_info(i)->name);
                else if (!c->difference && nft_compares_elements(c->nft, c->expected, i))
                        r = check_elements(c, i);
        }
        return r;
}

/* What the kernel says when it is asked, though it was not told. */
static void add_defaults(struct nftnl_expr *e)
{
        if (strcmp(nftnl_expr_get_str(e, NFTNL_EXPR_NAME), "dynset") != 0)
                return;
        if (!nftnl_expr_is_set(e, NFTNL_EXPR_DYNSET_TIMEOUT))
                nftnl_expr_set_u64(e, NFTNL_EXPR_DYNSET_TIMEOUT, 0);
        if (!nftnl_expr_is_set(e, NFTNL_EXPR_DYNSET_FLAGS))
                nftnl_expr_set_u32(e, NFTNL_EXPR_DYNSET_FLAGS, 0);
}

/* Where libnftnl finds no memory for a name while it reads an expression, it leaves that out, and falls over
 * it as soon as it is asked for it, or to write it. Its text form alone does not. */
static bool is_whole(const struct nftnl_expr *e)
{
        char text[1024];

        return nftnl_expr_snprintf(text, sizeof(text), e, NFTNL_OUTPUT_DEFAULT, 0) >= 0 &&
               !strstr(text, "(null)") &&
               (strcmp(nftnl_expr_get_str(e, NFTNL_EXPR_NAME), "immediate") != 0 ||
                !nftnl_expr_is_set(e, NFTNL_EXPR_IMM_CHAIN) || strstr(text, "->"));
}

/* By the attributes they consist of; libnftnl's text form leaves some out. */
static bool same_expression(struct nftnl_expr *a, struct nftnl_expr *b)
{
        /* Zeroed, because libmnl leaves what pads an attribute as it is. */
        _Alignas(struct nlmsghdr) char first[2048] = {0}, second[2048] = {0};
        struct nlmsghdr *x = mnl_nlmsg_put_header(first), *y = mnl_nlmsg_put_header(second);

        if (strcmp(nftnl_expr_get_str(a, NFTNL_EXPR_NAME), nftnl_expr_get_str(b, NFTNL_EXPR_NAME)) != 0)
                return false;
        add_defaults(a);
        add_defaults(b);
        nftnl_expr_build_payload(x, a);
        nftnl_expr_build_payload(y, b);
        return x->nlmsg_len == y->nlmsg_len && memcmp(first, second, x->nlmsg_len) == 0;
}

static bool same_rule(const struct nftnl_rule *a, const struct nftnl_rule *b, bool *ret_no_memory)
{
        struct nftnl_expr_iter *i = nftnl_expr_iter_create(a), *j = nftnl_expr_iter_create(b);
        bool same = i && j;

        *ret_no_memory = !same;
        while (same) {
                struct nftnl_expr *x = nftnl_expr_iter_next(i), *y = nftnl_expr_iter_next(j);

                if (!x && !y)
                        break;
                *ret_no_memory = y && !is_whole(y);
                same = x && y && !*ret_no_memory && same_expression(x, y);
        }
        if (i)
                nftnl_expr_iter_destroy(i);
        if (j)
                nftnl_expr_iter_destroy(j);
        return same;
}

static int check_rule(struct check *c, const struct nftnl_rule *rule)
{
        const char *chain = nftnl_rule_get_str(rule, NFTNL_RULE_CHAIN);
        unsigned id = find_chain(c, chain);
        struct nftnl_rule *expected;
        bool no_memory = false;
        size_t i;

        if (id == _CHAIN_MAX) {
                differs(c, "has a chain that does not belong there: %s", chain);
                return 0;
        }
        if (strcmp(c->last_chain, chain) != 0)
                c->n_in_chain = 0;
        (void)snprintf(c->last_chain, sizeof(c->last_chain), "%s", chain);
        c->n_rules[id]++;
        i = c->n_in_chain++;
        if (i >= expected_rules(c, id)) {
                differs(c, "has a rule too many at the end of chain %s", chain);
                return 0;
        }
        expected = nft_rule_new(c->expected->family, c->expected->table, chain,
                                &c->expected->chains[id].rules[i]);
        if (!expected)
                return -ENOMEM;
        if (!same_rule(expected, rule, &no_memory) && !no_memory)
                differs(c, "has another rule %zu in chain %s", i + 1, chain);
        nftnl_rule_free(expected);
        return no_memory ? -ENOMEM : 0;
}

static int read_rule(const struct nlmsghdr *message, void *userdata)
{
        struct nftnl_rule *rule = nftnl_rule_alloc();
        int r;

        if (!rule)
                return -ENOMEM;
        /* An expression that this library does not know cannot be one of ours. */
        if (nftnl_rule_nlmsg_parse(message, rule) < 0 || !nftnl_rule_get_str(rule, NFTNL_RULE_CHAIN)) {
                differs(userdata, "has a rule that cannot be read");
                r = 0;
        } else {
                r = check_rule(userdata, rule);
        }
        nftnl_rule_free(rule);
        return r;
}

static int check_rules(struct check *c)
{
        int r = ask_about(c, NFT_MSG_GETRULE, read_rule);

        for (unsigned i = 0; r == 0 && i < _CHAIN_MAX; i++)
                if (expects_chain(c, i) && c->n_rules[i] < c->n_chains[i] * expected_rules(c, i))
                        differs(c, "has rules missing in chain %s", rs_chain_info(i)->name);
        return r;
}

/* One of the two tables. */
static int verify(struct check *c)
{
        struct nft_table_state state;
        int e = nft_table_state(c->nft, c->expected->family, c->expected->table, &state);

        if (e == 0)
                check_table(c, &state);
        /* What is wrong once is put right as a whole: the first difference will do. */
        if (e == 0 && !c->difference)
                e = check_chains(c);
        if (e == 0 && !c->difference)
                e = check_rules(c);
        if (e == 0 && !c->difference)
                e = check_sets(c);
        return e;
}

int nft_verify(struct nft *n, const struct ruleset *r, bool engaged, char **ret_difference)
{
        return nft_verify_read(n, r, engaged, NULL, ret_difference);
}

int nft_verify_read(struct nft *n, const struct ruleset *r, bool engaged, const struct nft_reading *g,
                    char **ret_difference)
{
        struct check c = {.nft = n, .expected = r, .engaged = engaged, .reading = g};
        int e = COMPARE ? verify(&c) : 0;

        if (COMPARE && e == 0 && !c.difference && r->frames) {
                c = (struct check){.nft = n,
                                   .expected = r->frames,
                                   .engaged = engaged,
                                   .reading = g,
                                   .no_memory = c.no_memory};
                e = nft_read_devices(&c.devices);
                if (e == 0)
                        e = verify(&c);
                nft_devices_clear(&c.devices);
        }
        if (e == 0 && c.no_memory)
                e = -ENOMEM;
        e = e < 0 ? e : c.difference != NULL;
        if (e == 1 && ret_difference)
                *ret_difference = TAKE_PTR(c.difference);
        else if (ret_difference)
                *ret_difference = NULL;
        free(c.difference);
        return e;
}
