// SPDX-License-Identifier: GPL-2.0-or-later
#include "nft-internal.h"
#include <errno.h>
#include <string.h>

/* How a table that is in force is changed. A transaction switches rules and hash sets at one instant, but
 * interval sets (ranges, networks, endpoints) follow some microseconds later: seen on Linux 6.18, where what
 * was just put into one is not found at first, nor what it replaces. For that moment a subject would be free,
 * or an allowed connection reset. So rules are never hooked up in the transaction that fills their interval
 * sets; and where such sets of an engaged table change, a second table, the hold, made like the new one,
 * stands in for it:
 *
 *   1. the hold is created, without hooks
 *   2. the hold is hooked up, the table's hooks go
 *   3. the table is changed
 *   4. the table is hooked up, the hold goes
 *
 * Each step is a transaction. Packets under way across a switch may meet the old hook after and the new one
 * before it; the second judgement, further on, meets the new one. */

/* Elements of all sets together. */
#define LARGE 1000

/* Elements of one set in a step: the kernel takes some two milliseconds for them, and longer for the first
 * step, which has as many of each set. */
#define STAGED_AT_ONCE 4096

char *nft_hold_name(const char *table)
{
        char *name;

        return asprintf(&name, HOLD_PREFIX "%s", table) < 0 ? NULL : name;
}

/* Those that are there while the table is staged, or those that engaging adds. */
static void put_chains(struct nft_batch *b, const char *table, const struct ruleset *r, bool base,
                       const char *order)
{
        for (unsigned i = 0; i < _CHAIN_MAX; i++)
                if (r->chains[i].present && rs_chain_is_base(i) == base && i != CHAIN_EGRESS)
                        nft_put_chain(b, table, i, order, NULL);
        for (unsigned i = 0; i < _CHAIN_MAX; i++)
                if (r->chains[i].present && rs_chain_has_rules(i, false) != base && i != CHAIN_EGRESS)
                        nft_put_rules(b, table, i, NULL, &r->chains[i]);
}

void nft_put_hooks(struct nft_batch *b, const char *table, const struct ruleset *r, const char *order,
                   const struct nft_devices *devices)
{
        b->family = NFPROTO_INET;
        put_chains(b, table, r, true, order);
        b->family = NFPROTO_NETDEV;
        for (size_t i = 0; r->frames && i < devices->n; i++)
                nft_put_device_hook(b, table, r->frames, order, &devices->items[i]);
        b->family = NFPROTO_INET;
}

/* Empties a chain that has no rules while the table is staged. */
static void empty_if_tracked(struct nft_batch *b, const char *table, const char *chain)
{
        for (unsigned i = 0; i < _CHAIN_MAX; i++)
                if (rs_chain_info(i)->tracked && strcmp(rs_chain_info(i)->name, chain) == 0)
                        nft_flush_rules(b, table, i);
}

void nft_delete_hooks(struct nft_batch *b, const struct nft_chain_list *chains)
{
        for (size_t i = 0; i < chains->n; i++) {
                b->family = chains->items[i].family;
                if (chains->items[i].type)
                        nft_delete_chain(b, chains->items[i].table, chains->items[i].name);
                else
                        empty_if_tracked(b, chains->items[i].table, chains->items[i].name);
        }
        b->family = NFPROTO_INET;
}

/* Both tables, but for their hooks, and with no more than MOST elements in each set. */
static void put_staged(struct nft_batch *b, const char *table, const struct ruleset *r, size_t most)
{
        b->family = r->family;
        nft_put_table(b, table, b->nft->table_flags);
        nft_put_counters(b, table);
        for (unsigned i = 0; i < _SET_MAX; i++) {
                const struct rs_set part = rs_set_part(&r->sets[i], i, 0, most);

                if (!r->sets[i].present)
                        continue;
                nft_put_set(b, table, i, &r->sets[i]);
                nft_put_elements(b, NFT_MSG_NEWSETELEM, table, i, &part);
        }
        put_chains(b, table, r, false, "");
        if (r->frames)
                put_staged(b, table, r->frames, most);
        b->family = NFPROTO_INET;
}

/* What there is of a table and its hold. */
struct site {
        struct nft *nft;
        char *table, *hold;
        struct nft_presence table_is, hold_is;
        struct nft_chain_list table_chains, hold_chains;
};

static void site_clear(struct site *s)
{
        nft_chain_list_clear(&s->table_chains);
        nft_chain_list_clear(&s->hold_chains);
        free(s->table);
        free(s->hold);
}
#define _cleanup_site_ _cleanup_(site_clear)

static int read_site(struct nft *n, const char *table, struct site *s, char **ret_error)
{
        int r = -ENOMEM;

        *s = (struct site){.nft = n, .table = strdup(table), .hold = nft_hold_name(table)};
        if (s->table && s->hold)
                r = nft_is_present(n, s->table, &s->table_is);
        if (r == 0)
                r = nft_is_present(n, s->hold, &s->hold_is);
        if (r == 0)
                r = nft_read_chains(n, s->table, &s->table_chains);
        if (r == 0)
                r = nft_read_chains(n, s->hold, &s->hold_chains);
        if (r < 0)
                nft_say(ret_error, "could not ask for table %s: %s", table, strerror(-r));
        return r;
}

static bool is_hooked(const struct nft_chain_list *chains)
{
        for (size_t i = 0; i < chains->n; i++)
                if (chains->items[i].type)
                        return true;
        return false;
}

/* The order that the hooks which are there say they are of. */
static const char *hooked_order(const struct site *s)
{
        const struct nft_chain_list *lists[] = {&s->table_chains, &s->hold_chains};

        for (size_t i = 0; i < ELEMENTSOF(lists); i++)
                for (size_t j = 0; j < lists[i]->n; j++)
                        if (lists[i]->items[j].type && lists[i]->items[j].order[0])
                                return lists[i]->items[j].order;
        return "";
}

/* Step 1. */
static int stage_hold(struct site *s, const struct ruleset *r, char **ret_error)
{
        _cleanup_batch_ struct nft_batch b = {0};
        int e;

        nft_batch_begin(&b, s->nft, s->hold);
        nft_delete_tables(&b, s->hold, &s->hold_is);
        put_staged(&b, s->hold, r, SIZE_MAX);
        e = nft_batch_send(&b, ret_error);
        if (e == 0)
                s->hold_is = (struct nft_presence){{true, r->frames != NULL}};
        return e;
}

static void drop_hold(struct site *s)
{
        _cleanup_batch_ struct nft_batch b = {0};

        nft_batch_begin(&b, s->nft, s->hold);
        nft_delete_tables(&b, s->hold, &s->hold_is);
        if (nft_batch_send(&b, NULL) == 0)
                s->hold_is = (struct nft_presence){{false}};
}

/* A change of hooks: what is known beside the devices. */
struct hooking {
        const struct site *site;
        const struct ruleset *r;
        const char *order;
        bool hold; /* … is to go */
};

static void build_switch_to_hold(struct nft_batch *b, const struct nft_devices *devices, const void *userdata)
{
        const struct hooking *h = userdata;

        nft_put_hooks(b, h->site->hold, h->r, h->order, devices);
        nft_delete_hooks(b, &h->site->table_chains);
}

/* Step 2. */
static int switch_to_hold(struct site *s, const struct ruleset *r, const char *order, char **ret_error)
{
        const struct hooking h = {.site = s, .r = r, .order = order};
        int e = nft_send_hooks(s->nft, s->hold, r, LIST_ALL_DEVICES, build_switch_to_hold, &h, ret_error);

        if (e < 0)
                drop_hold(s);
        return e < 0 ? e : 0;
}

/* Lets the hold refuse in place of the table. One left by a daemon that died meanwhile does so already. */
static int take_hold(struct site *s, const struct ruleset *r, const char *order, char **ret_error)
{
        int e;

        if (is_hooked(&s->hold_chains) && !is_hooked(&s->table_chains))
                return 0;
        e = stage_hold(s, r, ret_error);
        return e < 0 ? e : switch_to_hold(s, r, order, ret_error);
}

static bool judges_packets(const struct nft_chain_list *chains)
{
        for (size_t i = 0; i < chains->n; i++)
                if (chains->items[i].type && chains->items[i].family == NFPROTO_INET)
                        return true;
        return false;
}

int nft_stand_in(struct nft *n, const struct ruleset *r, const struct ruleset *few, char **ret_error)
{
        _cleanup_site_ struct site s = {0};
        int e;

        if (ret_error)
                *ret_error = NULL;
        e = read_site(n, r->table, &s, ret_error);
        if (e < 0)
                return e;
        return take_hold(&s, few && !judges_packets(&s.table_chains) ? few : r, r->order, ret_error);
}

static void build_hook_up(struct nft_batch *b, const struct nft_devices *devices, const void *userdata)
{
        const struct hooking *h = userdata;

        nft_put_hooks(b, h->site->table, h->r, h->order, devices);
        if (h->hold)
                nft_delete_tables(b, h->site->hold, &h->site->hold_is);
}

/* Step 4; also the second half of any change into an engaged table. */
static int hook_up(const struct site *s, const struct ruleset *r, const char *order, bool hold,
                   char **ret_error)
{
        const struct hooking h = {.site = s, .r = r, .order = order, .hold = hold};

        /* Whatever is not hooked up yet, the hold refuses as long as it stands. */
        return nft_send_hooks(s->nft, s->table, r, hold ? LIST_ALL_DEVICES : LIST_DEVICES, build_hook_up, &h,
                              ret_error);
}

static int create(const struct site *s, const struct ruleset *r, bool drop, size_t most, char **ret_error)
{
        _cleanup_batch_ struct nft_batch b = {0};

        nft_batch_begin(&b, s->nft, s->table);
        nft_delete_tables(&b, s->table, &s->table_is);
        if (drop)
                nft_delete_tables(&b, s->hold, &s->hold_is);
        put_staged(&b, s->table, r, most);
        return nft_batch_send(&b, ret_error);
}

/* Filling its sets takes the kernel longer than everything else. */
static bool is_large(const struct ruleset *r)
{
        size_t n = 0;

        for (unsigned i = 0; i < _SET_MAX; i++)
                n += r->sets[i].n;
        return n > LARGE;
}

static int replace(struct nft *n, const struct ruleset *r, bool engaged, bool again, size_t most,
                   char **ret_error)
{
        _cleanup_site_ struct site s = {0};
        int e = read_site(n, r->table, &s, ret_error);
        bool hold;

        if (e < 0)
                return e;
        if (again && engaged && is_large(r) && !is_hooked(&s.table_chains) && !is_hooked(&s.hold_chains)) {
                nft_say(ret_error, "table %s was removed while it was loaded", r->table);
                return -ENOENT;
        }
        hold = engaged && (is_hooked(&s.table_chains) || is_hooked(&s.hold_chains));
        if (hold)
                e = take_hold(&s, r, r->order, ret_error);
        if (e == 0)
                e = create(&s, r, !hold, most, ret_error);
        if (e == 0 && engaged)
                e = hook_up(&s, r, r->order, hold, ret_error);
        return e;
}

static int replace_part(struct nft *n, const struct ruleset *r, bool engaged, size_t most, char **ret_error)
{
        _cleanup_free_ char *first_error = NULL;
        int e;

        if (ret_error)
                *ret_error = NULL;
        e = replace(n, r, engaged, false, most, &first_error);
        /* A table came or went between the question and the change; or it is not known what became of it, and
         * begun anew with what there is. */
        if (e == -ENOENT || e == -EEXIST || nft_may_pass(e))
                return replace(n, r, engaged, !nft_may_pass(e), most, ret_error);
        if (ret_error)
                *ret_error = TAKE_PTR(first_error);
        return e;
}

int nft_replace(struct nft *n, const struct ruleset *r, bool engaged, char **ret_error)
{
        return replace_part(n, r, engaged, SIZE_MAX, ret_error);
}

/* The next elements that are not there yet; false: all are. */
static bool next_part(const struct ruleset *r, struct nft_progress *at, struct rs_set *ret)
{
        const struct ruleset *of = at->frames ? r->frames : r;

        while (of) {
                for (; at->set < _SET_MAX; at->set++, at->element = STAGED_AT_ONCE) {
                        *ret = rs_set_part(&of->sets[at->set], at->set, at->element, STAGED_AT_ONCE);
                        if (ret->n > 0)
                                return true;
                }
                of = at->frames ? NULL : r->frames;
                if (of)
                        *at = (struct nft_progress){.begun = true, .frames = true, .element = STAGED_AT_ONCE};
        }
        return false;
}

int nft_stage(struct nft *n, const struct ruleset *r, struct nft_progress *at, char **ret_error)
{
        _cleanup_batch_ struct nft_batch b = {0};
        struct rs_set part;
        int e;

        if (!at->begun) {
                e = replace_part(n, r, false, STAGED_AT_ONCE, ret_error);
                *at = (struct nft_progress){.begun = true, .element = STAGED_AT_ONCE};
        } else if (next_part(r, at, &part)) {
                nft_batch_begin(&b, n, r->table);
                b.family = at->frames ? r->frames->family : r->family;
                nft_put_elements(&b, NFT_MSG_NEWSETELEM, r->table, at->set, &part);
                at->element += part.n;
                e = nft_batch_send(&b, ret_error);
        } else {
                return 0;
        }
        return e < 0 ? e : next_part(r, at, &part);
}

/* Adds to the batch the elements of A that B does not have. */
static void put_difference(struct nft_batch *b, uint16_t message, const char *table, enum rs_set_id id,
                           const struct rs_set *a, const struct rs_set *without)
{
        _cleanup_rs_set_ struct rs_set rest = {0};
        int r = nft_set_without(a, without, id, &rest);

        if (r < 0)
                nft_batch_fail(b, r);
        else
                nft_put_elements(b, message, table, id, &rest);
}

/* HOOKED: the table refuses meanwhile. */
static void put_changes(struct nft_batch *b, const char *table, const struct ruleset *old,
                        const struct ruleset *new, bool hooked)
{
        b->family = new->family;
        /* Removals first: a range that grows must not meet its former self. */
        for (unsigned i = 0; i < _SET_MAX; i++)
                put_difference(b, NFT_MSG_DELSETELEM, table, i, &old->sets[i], &new->sets[i]);
        for (unsigned i = 0; i < _SET_MAX; i++)
                put_difference(b, NFT_MSG_NEWSETELEM, table, i, &new->sets[i], &old->sets[i]);
        /* Rules that ask a set only when it is not empty, or between bounds. Hooks never differ,
         * what is said in them may. */
        for (unsigned i = 0; i < _CHAIN_MAX; i++) {
                if (rs_chain_equal(&old->chains[i], &new->chains[i]) || !rs_chain_has_rules(i, hooked))
                        continue;
                nft_flush_rules(b, table, i);
                nft_put_rules(b, table, i, NULL, &new->chains[i]);
        }
}

static int change(const struct site *s, const struct ruleset *old, const struct ruleset *new, bool hooked,
                  char **ret_error)
{
        _cleanup_batch_ struct nft_batch b = {0};

        nft_batch_begin(&b, s->nft, s->table);
        put_changes(&b, s->table, old, new, hooked);
        if (new->frames)
                put_changes(&b, s->table, old->frames, new->frames, hooked);
        return nft_batch_send(&b, ret_error);
}

static bool interval_sets_differ(const struct ruleset *a, const struct ruleset *b)
{
        for (unsigned i = 0; i < _SET_MAX; i++)
                if (rs_set_info(i)->interval && !rs_set_equal(&a->sets[i], &b->sets[i], i))
                        return true;
        return false;
}

int nft_update(struct nft *n, const struct ruleset *old, const struct ruleset *new, char **ret_error)
{
        _cleanup_site_ struct site s = {0};
        bool hold;
        int e;

        if (ret_error)
                *ret_error = NULL;
        if (!ruleset_same_structure(old, new)) {
                nft_say(ret_error, "table %s is no longer of the same structure", new->table);
                return -EINVAL;
        }
        if (ruleset_equal(old, new))
                return 0;
        e = read_site(n, new->table, &s, ret_error);
        if (e < 0)
                return e;
        hold = interval_sets_differ(old, new) && is_hooked(&s.table_chains);
        if (hold)
                e = take_hold(&s, new, hooked_order(&s), ret_error);
        if (e == 0)
                e = change(&s, old, new, !hold && is_hooked(&s.table_chains), ret_error);
        if (e == 0 && hold)
                e = hook_up(&s, new, hooked_order(&s), true, ret_error);
        return e;
}
