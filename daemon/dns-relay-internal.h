/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LOCKDOWN_DNS_RELAY_INTERNAL_H
#define LOCKDOWN_DNS_RELAY_INTERNAL_H

/* Between the parts of the relay's process. All room is taken when it starts; what finds none waits in the
 * kernel's queues, which are bounded, too. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/socket.h>

/* Who is told when a descriptor is ready. */
struct relay_source {
        int fd;
        uint32_t events; /* asked for; 0: not watched */
        /* Returns 0, or -errno when the process cannot go on. */
        int (*ready)(void *owner, uint32_t events);
        void *owner;
};
/* Watches for EVENTS (0: for nothing, errors included). Returns 0 or -errno. */
int relay_watch(int epoll, struct relay_source *s, uint32_t events);

struct relay_address {
        struct sockaddr_storage address;
        socklen_t length;
};
/* Makes a socket that can be given a new peer again and again, or -errno. The one who makes it is the one the
 * locks judge: it must be root still, for other orders may cover everybody else. */
int relay_socket(const struct relay_address *to, int type);
/* Forgets the peer, and the port. */
int relay_disconnect(int fd);
/* Milliseconds, of a clock that only goes on. */
uint64_t relay_now(void);

/* Each serves one listener. TO must stay. New ones: -ENOMEM or why there are no sockets. */
struct relay_udp;
struct relay_tcp;
int relay_udp_new(int epoll, int listener, const struct relay_address *to, struct relay_udp **ret);
int relay_tcp_new(int epoll, int listener, const struct relay_address *to, struct relay_tcp **ret);
/* Gives up what has waited too long. *RET_BUSY is set if there is anything to come back for. */
int relay_udp_expire(struct relay_udp *u, uint64_t now, bool *ret_busy);
int relay_tcp_expire(struct relay_tcp *t, uint64_t now, bool *ret_busy);

#endif
