// SPDX-License-Identifier: GPL-2.0-or-later
#include "nft-internal.h"
#include <errno.h>
#include <stdarg.h>
#include <string.h>
#include <sys/time.h>

/* Acknowledgements of the biggest batch wait here until they are read. */
#define RECEIVE_BUFFER (8 * 1024 * 1024)

/* No profile's table: it lacks TABLE_PREFIX. */
#define TRIAL_TABLE "lockdownd.trial"

void nft_say(char **ret_error, const char *format, ...)
{
        va_list arguments;

        if (!ret_error)
                return;
        va_start(arguments, format);
        if (vasprintf(ret_error, format, arguments) < 0)
                *ret_error = NULL;
        va_end(arguments);
}

static int open_socket(struct nft *n)
{
        const struct timeval patience = {.tv_sec = 10};
        int on = 1, size = RECEIVE_BUFFER, fd;
        socklen_t length = sizeof(size);

        n->socket = mnl_socket_open2(NETLINK_NETFILTER, SOCK_CLOEXEC);
        if (!n->socket || mnl_socket_bind(n->socket, 0, MNL_SOCKET_AUTOPID) < 0)
                return -errno;
        n->portid = mnl_socket_get_portid(n->socket);
        fd = mnl_socket_get_fd(n->socket);
        /* Without these: less room and less to say, no less right. */
        (void)setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size));
        (void)mnl_socket_setsockopt(n->socket, NETLINK_EXT_ACK, &on, sizeof(on));
        (void)mnl_socket_setsockopt(n->socket, NETLINK_CAP_ACK, &on, sizeof(on));
        (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
        if (getsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, &length) < 0)
                return -errno;
        n->send_buffer = (size_t)size;
        return 0;
}

/* Creates and deletes a table in one transaction. */
static int try_table(struct nft *n, uint32_t flags, char **ret_error)
{
        _cleanup_batch_ struct nft_batch b = {0};

        nft_batch_begin(&b, n, TRIAL_TABLE);
        nft_put_table(&b, TRIAL_TABLE, flags);
        nft_delete_table(&b, TRIAL_TABLE);
        return nft_batch_send(&b, ret_error);
}

/* Owned but not persistent, a table would die with the daemon and set everybody free: both or none. */
static int find_flags(struct nft *n, char **ret_error)
{
        const uint32_t both = NFT_TABLE_F_OWNER | NFT_TABLE_F_PERSIST;
        int r = try_table(n, both, NULL);

        if (r == 0) {
                n->table_flags = both;
                return 0;
        }
        return r == -EPERM ? r : try_table(n, 0, ret_error);
}

int nft_open(struct nft **ret, char **ret_error)
{
        _cleanup_(nft_closep) struct nft *n = calloc(1, sizeof(*n));
        int r;

        if (ret_error)
                *ret_error = NULL;
        if (!n)
                return -ENOMEM;
        r = open_socket(n);
        if (r < 0)
                nft_say(ret_error, "no way to the kernel's nf_tables: %s", strerror(-r));
        else
                r = find_flags(n, ret_error);
        if (r == -EPERM)
                nft_say(ret_error, "changing nftables needs CAP_NET_ADMIN");
        if (r < 0)
                return r;
        *ret = TAKE_PTR(n);
        return 0;
}

bool nft_owns_tables(const struct nft *n)
{
        return n->table_flags & NFT_TABLE_F_OWNER;
}

struct nft *nft_close(struct nft *n)
{
        if (!n)
                return NULL;
        if (n->socket)
                mnl_socket_close(n->socket);
        free(n);
        return NULL;
}

static void put_chains(struct nft_batch *b, const struct ruleset *r, bool base)
{
        for (unsigned i = 0; i < _CHAIN_MAX; i++)
                if (r->chains[i].present && rs_chain_is_base(i) == base)
                        nft_put_chain(b, r->table, i);
        for (unsigned i = 0; i < _CHAIN_MAX; i++)
                if (r->chains[i].present && rs_chain_is_base(i) == base)
                        nft_put_rules(b, r->table, i, &r->chains[i]);
}

static void put_sets(struct nft_batch *b, const struct ruleset *r)
{
        for (unsigned i = 0; i < _SET_MAX; i++) {
                if (!r->sets[i].present)
                        continue;
                nft_put_set(b, r->table, i, &r->sets[i]);
                nft_put_elements(b, NFT_MSG_NEWSETELEM, r->table, i, &r->sets[i]);
        }
}

static int replace(struct nft *n, const struct ruleset *r, bool engaged, char **ret_error)
{
        _cleanup_batch_ struct nft_batch b = {0};
        struct nft_table_state state;
        int e = nft_table_state(n, r->table, &state);

        if (e < 0) {
                nft_say(ret_error, "could not ask for table %s: %s", r->table, strerror(-e));
                return e;
        }
        nft_batch_begin(&b, n, r->table);
        if (state.exists)
                nft_delete_table(&b, r->table);
        nft_put_table(&b, r->table, n->table_flags);
        nft_put_counter(&b, r->table);
        put_sets(&b, r);
        put_chains(&b, r, false);
        /* Last, for it is then that packets come in. */
        if (engaged)
                put_chains(&b, r, true);
        return nft_batch_send(&b, ret_error);
}

int nft_replace(struct nft *n, const struct ruleset *r, bool engaged, char **ret_error)
{
        _cleanup_free_ char *first_error = NULL;
        int e = replace(n, r, engaged, &first_error);

        /* It came or went between the question and the change. */
        if (e == -ENOENT || e == -EEXIST)
                return replace(n, r, engaged, ret_error);
        if (ret_error)
                *ret_error = TAKE_PTR(first_error);
        return e;
}

int nft_engage(struct nft *n, const struct ruleset *r, char **ret_error)
{
        _cleanup_batch_ struct nft_batch b = {0};

        nft_batch_begin(&b, n, r->table);
        put_chains(&b, r, true);
        return nft_batch_send(&b, ret_error);
}

/* A counter that rules refer to cannot go, and nothing in a transaction can set it to zero: so the rules go
 * and come with it. */
static void reset_counter(struct nft_batch *b, const struct ruleset *r)
{
        for (unsigned i = 0; i < _CHAIN_MAX; i++)
                if (rs_chain_counts(&r->chains[i]))
                        nft_flush_rules(b, r->table, i);
        nft_delete_counter(b, r->table);
        nft_put_counter(b, r->table);
        for (unsigned i = 0; i < _CHAIN_MAX; i++)
                if (rs_chain_counts(&r->chains[i]))
                        nft_put_rules(b, r->table, i, &r->chains[i]);
}

int nft_disengage(struct nft *n, const struct ruleset *r, char **ret_error)
{
        _cleanup_batch_ struct nft_batch b = {0};
        _cleanup_chain_list_ struct nft_chain_list chains = {0};
        int e = nft_read_chains(n, r->table, &chains);

        if (e < 0) {
                nft_say(ret_error, "could not ask for the chains of table %s: %s", r->table, strerror(-e));
                return e;
        }
        nft_batch_begin(&b, n, r->table);
        /* The hooks that are there: also ones somebody added, and not those somebody removed. */
        for (size_t i = 0; i < chains.n; i++)
                if (chains.items[i].type)
                        nft_delete_chain(&b, r->table, chains.items[i].name);
        nft_flush_set(&b, r->table, SET_ATTEMPTS4);
        nft_flush_set(&b, r->table, SET_ATTEMPTS6);
        reset_counter(&b, r);
        return nft_batch_send(&b, ret_error);
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

int nft_update(struct nft *n, const struct ruleset *old, const struct ruleset *new, char **ret_error)
{
        _cleanup_batch_ struct nft_batch b = {0};

        if (ret_error)
                *ret_error = NULL;
        if (!ruleset_same_structure(old, new)) {
                nft_say(ret_error, "table %s is no longer of the same structure", new->table);
                return -EINVAL;
        }
        if (ruleset_equal(old, new))
                return 0;
        nft_batch_begin(&b, n, new->table);
        /* Removals first: a range that grows must not meet its former self. To packets it is one change. */
        for (unsigned i = 0; i < _SET_MAX; i++)
                put_difference(&b, NFT_MSG_DELSETELEM, new->table, i, &old->sets[i], &new->sets[i]);
        for (unsigned i = 0; i < _SET_MAX; i++)
                put_difference(&b, NFT_MSG_NEWSETELEM, new->table, i, &new->sets[i], &old->sets[i]);
        /* Rules that ask a set only when it is not empty, or between bounds. Base chains never differ. */
        for (unsigned i = 0; i < _CHAIN_MAX; i++) {
                if (rs_chain_equal(&old->chains[i], &new->chains[i]))
                        continue;
                nft_flush_rules(&b, new->table, i);
                nft_put_rules(&b, new->table, i, &new->chains[i]);
        }
        return nft_batch_send(&b, ret_error);
}

int nft_delete(struct nft *n, const char *name, char **ret_error)
{
        _cleanup_free_ char *table = nft_table_name(name);
        _cleanup_batch_ struct nft_batch b = {0};
        int r;

        if (ret_error)
                *ret_error = NULL;
        if (!table)
                return -ENOMEM;
        nft_batch_begin(&b, n, table);
        nft_delete_table(&b, table);
        r = nft_batch_send(&b, ret_error);
        if (r != -ENOENT)
                return r;
        if (ret_error) {
                free(*ret_error);
                *ret_error = NULL;
        }
        return 0;
}
