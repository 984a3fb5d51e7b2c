/* SPDX-License-Identifier: GPL-2.0-or-later */

/* What the kernel answers about sockets, and to their destruction. Input: a byte that chooses what is asked,
 * then the answers (netlink.h). */

// wrap: mnl_socket_sendto mnl_socket_recvfrom mnl_socket_get_portid own_addresses_read

#include "fuzz.h"
#include "netlink.h"
#include "sever-internal.h"

#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>

static struct kernel kernel;

ssize_t __wrap_mnl_socket_sendto(const struct mnl_socket *nl, const void *data, size_t size);
ssize_t __wrap_mnl_socket_sendto(const struct mnl_socket *nl, const void *data, size_t size)
{
        (void)nl;
        kernel_take_question(&kernel, data, size);
        return (ssize_t)size;
}

ssize_t __wrap_mnl_socket_recvfrom(const struct mnl_socket *nl, void *buffer, size_t size);
ssize_t __wrap_mnl_socket_recvfrom(const struct mnl_socket *nl, void *buffer, size_t size)
{
        (void)nl;
        return kernel_give_answer(&kernel, buffer, size);
}

unsigned __wrap_mnl_socket_get_portid(const struct mnl_socket *nl);
unsigned __wrap_mnl_socket_get_portid(const struct mnl_socket *nl)
{
        (void)nl;
        return PORT_ID;
}

int __wrap_own_addresses_read(struct own_addresses *ret);
int __wrap_own_addresses_read(struct own_addresses *ret)
{
        static const uint8_t own[2][16] = {{[10] = 0xff, [11] = 0xff, 10, 9, 0, 2}, {0xfd, 9, [15] = 2}};

        *ret = (struct own_addresses){.items = copy_bytes(own, sizeof(own)), .n = ELEMENTSOF(own)};
        return 0;
}

/* Everything that leads outside, as the manager has it; what is offered must make sense. */
static bool wants(const struct sever_socket *s, void *userdata)
{
        size_t *offered = userdata;

        ++*offered;
        MUST(s->protocol == IPPROTO_TCP || s->protocol == IPPROTO_UDP || s->protocol == IPPROTO_UDPLITE ||
             s->protocol == IPPROTO_RAW);
        if (s->family == AF_INET)
                for (size_t i = 4; i < sizeof(s->dst); i++)
                        MUST(s->dst[i] == 0 && s->src[i] == 0);
        if (s->family == AF_INET && s->dst[0] == 127)
                MUST(s->local);
        return !s->local;
}

static void fuzz_owners(struct sever *s)
{
        _cleanup_free_ uint32_t *uids = NULL;
        size_t n = 0;

        if (sever_owner_uids(s, &uids, &n) < 0)
                return;
        for (size_t i = 1; i < n; i++)
                MUST(uids[i - 1] < uids[i]);
}

static void fuzz_run(struct sever *s)
{
        struct sever_result result;
        size_t offered = 0;

        (void)sever_run(s, 4, wants, &offered, &result);
        MUST(result.rounds <= 4 && result.destroyed <= offered && result.left <= offered);
}

static void fuzz_count(struct sever *s)
{
        size_t offered = 0;
        uint64_t n = 0;

        if (sever_count(s, wants, &offered, &n) == 0)
                MUST(n <= offered);
}

static void fuzz_listeners(struct sever *s)
{
        _cleanup_free_ struct sever_socket *sockets = NULL;
        size_t n = 0;

        if (sever_listeners(s, IPPROTO_UDP, &sockets, &n) < 0)
                return;
        for (size_t i = 0; i < n; i++)
                MUST(sockets[i].sport != 0 && sockets[i].protocol == IPPROTO_UDP);
}

static int found_path(void *userdata, const char *path, uint32_t uid)
{
        (void)userdata;
        MUST(*path && strlen(path) <= sizeof(((struct sockaddr_un *)0)->sun_path));
        return uid == 0 ? -ECANCELED : 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        struct sever s = {.sequence = UINT32_MAX - 2, .can_destroy = true};
        uint8_t choice;

        kernel = (struct kernel){.answers = {data, size}};
        choice = feed_byte(&kernel.answers);
        s.buffer = malloc(DIAG_BUFFER_SIZE);
        MUST(s.buffer);
        if (choice % 6 == 0)
                fuzz_owners(&s);
        else if (choice % 6 == 1)
                fuzz_run(&s);
        else if (choice % 6 == 2)
                fuzz_count(&s);
        else if (choice % 6 == 4)
                fuzz_listeners(&s);
        else if (choice % 6 == 5)
                (void)sever_unix_listeners(&s, found_path, NULL);
        else
                (void)diag_probe_destroy(&s);
        kernel_unpoison(&kernel);
        free(s.buffer);
        return 0;
}
