/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LOCKDOWN_SEVER_INTERNAL_H
#define LOCKDOWN_SEVER_INTERNAL_H

/* What the files sever*.c share. */

#include "sever.h"
#include <libmnl/libmnl.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>

/* What names one socket to the kernel. */
struct diag_socket {
        uint8_t family; /* as the kernel keeps it: AF_INET6 for a mapped address */
        uint8_t protocol;
        uint8_t raw_protocol; /* of a RAW socket */
        struct inet_diag_sockid id;
};

struct sever {
        struct mnl_socket *nl;
        unsigned sequence;
        bool can_destroy;
        char *buffer; /* DIAG_BUFFER_SIZE */
};

#define DIAG_BUFFER_SIZE ((size_t)1 << 16)

/* A dump that was interrupted is taken again at once, but not for ever on a machine with much coming and
 * going. */
#define DUMP_TRIES 5

/* The kernel's name for a half-open connection of a listener; not in every netinet/tcp.h. */
#define STATE_NEW_SYN_RECV 12

/* ---- sever-diag.c: the netlink conversation ---- */

/* One socket of a dump; -errno ends the dump. */
typedef int (*diag_found_t)(void *userdata, const struct diag_socket *key, const struct inet_diag_msg *msg,
                            uint64_t cgroup);
/* Dumps the sockets of one family and protocol in STATES (1 << TCP_…). 0; -ENOENT: the kernel has no handler
 * for it; -EAGAIN: the table changed under the dump; another -errno. */
int diag_dump(struct sever *s, int family, int protocol, uint32_t states, diag_found_t found, void *userdata);

/* TCP sockets of both families in one walk through the kernel's table, which is large however few there are:
 * by the request that came before sock_diag (TCPDIAG_GETSOCK, inet_diag_dump_compat() in
 * net/ipv4/inet_diag.c); family by family where that is not known. Returns as diag_dump(). */
int diag_dump_tcp(struct sever *s, uint32_t states, diag_found_t found, void *userdata);

/* Is it worth another try? The table changed, the answer was lost on the way, or the kernel was out of
 * memory. */
bool diag_may_pass(int error);

/* The same for any family: REQUEST is what follows the netlink header, ITEM is called for each socket's
 * message (-errno ends the dump). */
typedef int (*diag_item_t)(const struct nlmsghdr *h, void *userdata);
int diag_dump_with(struct sever *s, const void *request, size_t size, diag_item_t item, void *userdata);

/* Asks to destroy N sockets; RESULTS[i] is 0, or -errno (-ENOENT: gone already). Returns 0, or -errno when
 * the conversation failed (RESULTS of those that nothing is known of are -EAGAIN). */
int diag_destroy(struct sever *s, const struct diag_socket *sockets, size_t n, int *results);
/* What the kernel answers to destroying a TCP socket that does not exist. */
int diag_probe_destroy(struct sever *s);

/* ---- sever-own.c: which addresses are this machine's ---- */

struct own_addresses {
        uint8_t (*items)[16]; /* sorted, IPv4 as mapped addresses */
        size_t n;
};

int own_addresses_read(struct own_addresses *ret);
bool own_addresses_contain(const struct own_addresses *own, int family, const uint8_t addr[16]);
void own_addresses_clear(struct own_addresses *own);

#endif
