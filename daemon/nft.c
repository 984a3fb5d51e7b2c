// SPDX-License-Identifier: GPL-2.0-or-later
#include "nft-internal.h"
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <string.h>
#include <sys/time.h>

/* Acknowledgements of the biggest batch wait here until they are read. */
#define RECEIVE_BUFFER (8 * 1024 * 1024)

/* 0 in a build for tests only, that sees how it is on kernels before 6.9. */
#ifndef OWNED_TABLES
#define OWNED_TABLES 1
#endif

/* Likewise, before 5.16. */
#ifndef FRAMES
#define FRAMES 1
#endif

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

static bool is_nfnetlink(int fd)
{
        int domain = 0, protocol = 0;
        socklen_t length = sizeof(int);

        return getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &length) == 0 && domain == AF_NETLINK &&
               getsockopt(fd, SOL_SOCKET, SO_PROTOCOL, &protocol, &length) == 0 &&
               protocol == NETLINK_NETFILTER;
}

/* Takes FD over. What the kernel had answered to somebody who did not live to read it is thrown away. */
static int take_kept(struct nft *n, int fd)
{
        char buffer[8192];

        if (!is_nfnetlink(fd)) {
                close(fd);
                return -EINVAL;
        }
        n->socket = mnl_socket_fdopen(fd);
        if (!n->socket) {
                int r = -errno;

                close(fd);
                return r;
        }
        (void)fcntl(fd, F_SETFD, FD_CLOEXEC);
        (void)fcntl(fd, F_SETFL, 0);
        while (recv(fd, buffer, sizeof(buffer), MSG_DONTWAIT) > 0 || errno == ENOBUFS)
                ;
        return 0;
}

static int open_new(struct nft *n)
{
        n->socket = mnl_socket_open2(NETLINK_NETFILTER, SOCK_CLOEXEC);
        return n->socket && mnl_socket_bind(n->socket, 0, MNL_SOCKET_AUTOPID) >= 0 ? 0 : -errno;
}

static int open_socket(struct nft *n, int kept)
{
        /* The kernel answers before a send returns: what is not there then is lost. */
        const struct timeval patience = {.tv_usec = 100 * 1000};
        int on = 1, size = RECEIVE_BUFFER, fd;
        socklen_t length = sizeof(size);
        int r = kept >= 0 ? take_kept(n, kept) : open_new(n);

        if (r < 0)
                return r;
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

int nft_open_reader(struct nft *n)
{
        return open_socket(n, -1);
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
#define BOTH_FLAGS (NFT_TABLE_F_OWNER | NFT_TABLE_F_PERSIST)

static int try_owned(struct nft *n, char **ret_error)
{
        return OWNED_TABLES ? try_table(n, BOTH_FLAGS, ret_error) : -EOPNOTSUPP;
}

static int try_plain(struct nft *n, char **ret_error)
{
        return try_table(n, 0, ret_error);
}

/* As far as it may differ between kernels: the hook, and what its rules ask for there. */
static int try_frames(struct nft *n, char **ret_error)
{
        static const struct nft_device loopback = {.name = "lo", .chain = "egress_lo"};
        struct rs_rule rules[] = {
                {.n = 1, .statements = {{.kind = RS_COMPARE, .fields = {FIELD_ROUTED}, .op = OP_NEQ}}},
                {.n = 1, .statements = {{.kind = RS_COMPARE, .fields = {FIELD_SKUID}, .op = OP_LTE}}},
                {.n = 1, .statements = {{.kind = RS_COMPARE, .fields = {FIELD_SOURCE}}}},
        };
        const struct rs_chain chain = {.present = true, .rules = rules, .n = ELEMENTSOF(rules)};
        _cleanup_batch_ struct nft_batch b = {0};

        if (!FRAMES)
                return -EOPNOTSUPP;
        nft_batch_begin(&b, n, TRIAL_TABLE);
        b.family = NFPROTO_NETDEV;
        nft_put_table(&b, TRIAL_TABLE, n->table_flags);
        nft_put_chain(&b, TRIAL_TABLE, CHAIN_EGRESS, "", &loopback);
        nft_put_rules(&b, TRIAL_TABLE, CHAIN_EGRESS, loopback.chain, &chain);
        nft_delete_table(&b, TRIAL_TABLE);
        return nft_batch_send(&b, ret_error);
}

/* For as long as the daemon lives what it has is decided by what it is told here: one bad answer, or a moment
 * without memory, is not to be taken for an old kernel, nor for none. */
#define TRIALS 3

static int insist(int (*try)(struct nft *, char **), struct nft *n, char **ret_error)
{
        int r = try(n, ret_error);

        for (unsigned i = 1; r != 0 && i < TRIALS; i++) {
                if (ret_error) {
                        free(*ret_error);
                        *ret_error = NULL;
                }
                r = try(n, ret_error);
        }
        return r;
}

static int find_flags(struct nft *n, char **ret_error)
{
        int r = insist(try_owned, n, NULL);

        if (r == 0)
                n->table_flags = BOTH_FLAGS;
        return r == 0 || r == -EPERM ? r : insist(try_plain, n, ret_error);
}

static int find_frames(struct nft *n)
{
        _cleanup_free_ char *error = NULL;
        int r = insist(try_frames, n, &error);

        if (r == 0 || r == -ENOMEM)
                return r;
        if (asprintf(&n->no_frames,
                     "this kernel has no egress hook in nftables' family netdev (Linux 5.16): %s",
                     error ? error : strerror(-r)) < 0) {
                n->no_frames = NULL;
                return -ENOMEM;
        }
        return 0;
}

static int open_on(int kept, struct nft **ret, char **ret_error)
{
        _cleanup_(nft_closep) struct nft *n = calloc(1, sizeof(*n));
        int r;

        if (ret_error)
                *ret_error = NULL;
        if (n)
                n->message = calloc(1, NFT_MESSAGE_MAX + 4096); /* and its headers */
        if (!n || !n->message) {
                closep(&kept);
                return -ENOMEM;
        }
        r = open_socket(n, kept);
        if (r < 0)
                nft_say(ret_error, "no way to the kernel's nf_tables: %s", strerror(-r));
        else
                r = find_flags(n, ret_error);
        if (r == 0)
                r = find_frames(n);
        if (r == -EPERM)
                nft_say(ret_error, "changing nftables needs CAP_NET_ADMIN");
        if (r < 0)
                return r;
        *ret = TAKE_PTR(n);
        return 0;
}

int nft_open(struct nft **ret, char **ret_error)
{
        return open_on(-1, ret, ret_error);
}

int nft_open_kept(int socket, struct nft **ret, char **ret_error)
{
        return open_on(socket, ret, ret_error);
}

int nft_socket(const struct nft *n)
{
        return mnl_socket_get_fd(n->socket);
}

bool nft_owns_tables(const struct nft *n)
{
        return n->table_flags & NFT_TABLE_F_OWNER;
}

const char *nft_why_no_frames(const struct nft *n)
{
        return n->no_frames;
}

struct nft *nft_close(struct nft *n)
{
        if (!n)
                return NULL;
        if (n->socket)
                mnl_socket_close(n->socket);
        nft_devices_clear(&n->noted);
        free(n->no_frames);
        free(n->message);
        free(n);
        return NULL;
}

static void flush_attempts(struct nft_batch *b, const struct ruleset *r)
{
        b->family = r->family;
        nft_flush_set(b, r->table, SET_ATTEMPTS4);
        nft_flush_set(b, r->table, SET_ATTEMPTS6);
        if (r->frames)
                flush_attempts(b, r->frames);
        b->family = NFPROTO_INET;
}

static void build_engaged(struct nft_batch *b, const struct nft_devices *devices, const void *userdata)
{
        const struct ruleset *r = userdata;

        nft_put_hooks(b, r->table, r, r->order, devices);
        /* A packet under way while the hooks were last taken off may have been noted down after that. */
        flush_attempts(b, r);
}

int nft_engage(struct nft *n, const struct ruleset *r, char **ret_error)
{
        return nft_send_hooks(n, r->table, r, NOTED_DEVICES, build_engaged, r, ret_error);
}

/* A counter that rules refer to cannot go, and nothing in a transaction can set it to zero: so the rules go
 * and come with it. */
static void reset_counters(struct nft_batch *b, const struct ruleset *r)
{
        b->family = r->family;
        for (unsigned i = 0; i < _CHAIN_MAX; i++)
                if (rs_chain_counts(&r->chains[i]))
                        nft_flush_rules(b, r->table, i);
        nft_delete_counters(b, r->table);
        nft_put_counters(b, r->table);
        for (unsigned i = 0; i < _CHAIN_MAX; i++)
                if (rs_chain_counts(&r->chains[i]))
                        nft_put_rules(b, r->table, i, NULL, &r->chains[i]);
        if (r->frames)
                reset_counters(b, r->frames);
        b->family = NFPROTO_INET;
}

static int disengage(struct nft *n, const struct ruleset *r, char **ret_error)
{
        _cleanup_batch_ struct nft_batch b = {0};
        _cleanup_free_ char *hold = nft_hold_name(r->table);
        _cleanup_chain_list_ struct nft_chain_list chains = {0};
        struct nft_presence hold_is;
        int e = hold ? nft_read_chains(n, r->table, &chains) : -ENOMEM;

        if (e == 0)
                e = nft_is_present(n, hold, &hold_is);
        if (e < 0) {
                nft_say(ret_error, "could not ask for table %s: %s", r->table, strerror(-e));
                return e;
        }
        nft_batch_begin(&b, n, r->table);
        nft_delete_hooks(&b, &chains);
        /* Left by a daemon that died while it changed the table. */
        nft_delete_tables(&b, hold, &hold_is);
        flush_attempts(&b, r);
        reset_counters(&b, r);
        return nft_batch_send(&b, ret_error);
}

/* What the list of chains had left out is not taken off. */
static int see_disengaged(struct nft *n, const struct ruleset *r, char **ret_error)
{
        _cleanup_chain_list_ struct nft_chain_list chains = {0};
        int e = nft_read_chains(n, r->table, &chains);

        for (size_t i = 0; e == 0 && i < chains.n; i++)
                if (chains.items[i].type)
                        e = -EBUSY;
        if (e < 0)
                nft_say(ret_error, "table %s may have hooks still: %s", r->table, strerror(-e));
        return e;
}

int nft_disengage(struct nft *n, const struct ruleset *r, char **ret_error)
{
        int e = disengage(n, r, ret_error);

        /* A device went, and its hook with it, between the question and the change. */
        for (unsigned i = 0; i < 3 && e == -ENOENT; i++) {
                if (ret_error) {
                        free(*ret_error);
                        *ret_error = NULL;
                }
                e = disengage(n, r, ret_error);
        }
        return e < 0 ? e : see_disengaged(n, r, ret_error);
}

static int delete_tables(struct nft *n, const char *table, const char *hold, char **ret_error)
{
        _cleanup_batch_ struct nft_batch b = {0};
        struct nft_presence table_is, hold_is;
        int r = nft_is_present(n, table, &table_is);

        if (r == 0)
                r = nft_is_present(n, hold, &hold_is);
        if (r < 0) {
                nft_say(ret_error, "could not ask for table %s: %s", table, strerror(-r));
                return r;
        }
        if (!nft_is_anywhere(&table_is) && !nft_is_anywhere(&hold_is))
                return 0;
        nft_batch_begin(&b, n, table);
        nft_delete_tables(&b, table, &table_is);
        nft_delete_tables(&b, hold, &hold_is);
        return nft_batch_send(&b, ret_error);
}

int nft_delete(struct nft *n, const char *name, char **ret_error)
{
        _cleanup_free_ char *table = nft_table_name(name);
        _cleanup_free_ char *hold = table ? nft_hold_name(table) : NULL;
        int r;

        if (ret_error)
                *ret_error = NULL;
        if (!table || !hold)
                return -ENOMEM;
        r = delete_tables(n, table, hold, ret_error);
        if (r == 0)
                return 0;
        /* Somebody was quicker, or it is gone all the same: it is looked again. */
        if (ret_error) {
                free(*ret_error);
                *ret_error = NULL;
        }
        return delete_tables(n, table, hold, ret_error);
}
