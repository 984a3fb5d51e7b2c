/* SPDX-License-Identifier: GPL-2.0-or-later */

/* What the kernel tells about changes that other programs make. Input: datagrams, each behind a byte that
 * says how long it is (in units of four). */

// wrap: mnl_socket_open2 mnl_socket_bind mnl_socket_setsockopt mnl_socket_get_fd mnl_socket_close

#include "fuzz.h"
#include "nft-internal.h"
#include "nft-watch.h"

#include <errno.h>
#include <sys/socket.h>

#define OWN_PORT_ID 4711

static struct {
        sd_event *event;
        struct nft_watch *watch;
        int ends[2]; /* the daemon's, the kernel's */
        unsigned told;
} play;

/* ---- a socket pair in place of the netlink socket ---- */

struct mnl_socket *__wrap_mnl_socket_open2(int bus, int flags);
struct mnl_socket *__wrap_mnl_socket_open2(int bus, int flags)
{
        (void)bus;
        (void)flags;
        return (struct mnl_socket *)(void *)&play;
}

int __wrap_mnl_socket_bind(struct mnl_socket *nl, unsigned groups, pid_t pid);
int __wrap_mnl_socket_bind(struct mnl_socket *nl, unsigned groups, pid_t pid)
{
        (void)nl;
        (void)groups;
        (void)pid;
        return 0;
}

int __wrap_mnl_socket_setsockopt(const struct mnl_socket *nl, int type, void *data, socklen_t size);
int __wrap_mnl_socket_setsockopt(const struct mnl_socket *nl, int type, void *data, socklen_t size)
{
        (void)nl;
        (void)type;
        (void)data;
        (void)size;
        return 0;
}

int __wrap_mnl_socket_get_fd(const struct mnl_socket *nl);
int __wrap_mnl_socket_get_fd(const struct mnl_socket *nl)
{
        (void)nl;
        return play.ends[0];
}

int __wrap_mnl_socket_close(struct mnl_socket *nl);
int __wrap_mnl_socket_close(struct mnl_socket *nl)
{
        (void)nl;
        return 0;
}

/* ---- ---- */

static void on_changed(void *userdata, const struct nft_change *change)
{
        MUST(userdata == &play && change->program);
        MUST(strlen(change->program) < 1024);
        for (size_t i = 0; i < change->removed.n; i++)
                MUST(strncmp(change->removed.items[i].text, "lockdown", strlen("lockdown")) == 0);
        play.told++;
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
        (void)argc;
        (void)argv;
        MUST(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, play.ends) == 0);
        MUST(sd_event_new(&play.event) == 0);
        return 0;
}

static void send_datagram(const uint8_t *data, size_t size)
{
        /* An empty one would be the end of such a socket. */
        if (size == 0)
                return;
        MUST(send(play.ends[1], data, size, 0) == (ssize_t)size);
        MUST(sd_event_run(play.event, 0) >= 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        const struct nft n = {.portid = OWN_PORT_ID};
        struct feed f = {data, size};

        play.told = 0;
        MUST(nft_watch_new(play.event, &n, on_changed, &play, &play.watch) == 0);
        while (f.left > 0) {
                size_t length = 4 * (size_t)feed_byte(&f);

                if (length > f.left)
                        length = f.left;
                send_datagram(f.at, length);
                f.at += length;
                f.left -= length;
        }
        play.watch = nft_watch_free(play.watch);
        MUST(play.told <= size / sizeof(struct nlmsghdr)); /* at most once a message */
        return 0;
}
