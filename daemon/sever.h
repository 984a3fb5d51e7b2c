/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LOCKDOWN_SEVER_H
#define LOCKDOWN_SEVER_H

/* The one edge to sock_diag: lists the machine's sockets and destroys chosen ones (as `ss -K` does). Orphaned
 * sockets (closed, data still queued) are listed with their uid, too. */

#include "cleanup.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct sever;

struct sever_socket {
        int family;       /* AF_INET or AF_INET6; IPv4-mapped addresses are already turned into AF_INET */
        uint8_t protocol; /* IPPROTO_TCP, UDP, UDPLITE, RAW */
        uint8_t state;    /* TCP_ESTABLISHED … */
        uint32_t uid;
        /* No program holds it: closed with data still queued, or not accepted yet. Kernels before 6.17 do not
         * say whose it was: UID is 0 then. */
        bool orphan;
        uint8_t src[16], dst[16];
        uint16_t sport, dport; /* host order; RAW: sport is the IP protocol, dport 0 */
        bool local;      /* its peer is on this machine: loopback, or one of the machine's own addresses */
        uint64_t cgroup; /* cgroup2 id, 0 where the kernel does not say */
};

/* -EPERM: no CAP_NET_ADMIN; -EOPNOTSUPP: a kernel without sock_diag for TCP. A kernel that lists but cannot
 * destroy (no CONFIG_INET_DIAG_DESTROY) is no error: see sever_can_destroy(). Nothing is destroyed to find
 * out. */
int sever_open(struct sever **ret);
bool sever_can_destroy(const struct sever *s);
struct sever *sever_close(struct sever *s); /* returns NULL */

typedef bool (*sever_wants_t)(const struct sever_socket *socket, void *userdata);

struct sever_result {
        uint64_t destroyed; /* sockets */
        unsigned rounds;    /* of dumps taken; each kind of socket until one found none */
        uint64_t left;      /* still there after the last round (0 unless the kernel refuses) */
};
/* Dumps and destroys until a dump finds none that WANTS says yes to, at most MAX_ROUNDS times, or until a
 * whole round was refused. Listeners, sockets without a peer and TIME_WAIT are never offered; the same socket
 * may be offered more than once. A kind of socket the kernel cannot list (RAW without CONFIG_INET_RAW_DIAG)
 * is passed over. Returns 0 or -errno; RET is filled either way. */
int sever_run(struct sever *s, unsigned max_rounds, sever_wants_t wants, void *userdata,
              struct sever_result *ret);
/* Counts what sever_run() would destroy, changing nothing. */
int sever_count(struct sever *s, sever_wants_t wants, void *userdata, uint64_t *ret);
/* The uids that own an IPv4 or IPv6 socket in whatever state, sorted, without doubles. The caller frees. */
int sever_owner_uids(struct sever *s, uint32_t **ret, size_t *ret_n);

/* Who waits for others: TCP sockets that listen, UDP sockets with a port and without a peer (only SRC, SPORT,
 * UID, CGROUP, FAMILY and PROTOCOL are filled; an IPv6 socket stays one, whatever else it takes). The kernel
 * leaves out all others. The caller frees. Returns 0; -ENOENT: the kernel cannot list this protocol; another
 * -errno. */
int sever_listeners(struct sever *s, uint8_t protocol, struct sever_socket **ret, size_t *ret_n);
/* Calls FOUND for each Unix socket that listens and has a path, as it was bound (it may be relative). -errno
 * from FOUND ends it. Returns as above; a path may come twice. */
typedef int (*sever_unix_t)(void *userdata, const char *path, uint32_t uid);
int sever_unix_listeners(struct sever *s, sever_unix_t found, void *userdata);

DEFINE_CLEANUP(struct sever *, sever_close)

#endif
