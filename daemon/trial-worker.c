// SPDX-License-Identifier: GPL-2.0-or-later
/* The process that sends a trial's datagrams. */
#include "ruleset.h"
#include "trial-process.h"
#include "worker.h"
#include <arpa/inet.h>
#include <errno.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/socket.h>

static const struct worker_limits limits = {
        .files = 16, .memory = UINT64_C(64) << 20, .processor = 5, .oom_score = 0};

/* So that whoever finds one knows what it was. */
static const char payload[] = "lockdownd tries whether this is refused";

struct sender {
        int sockets[2]; /* -1: this machine has no such family */
        int error;      /* why nothing can be sent, -errno; 0: it can */
};

/* The locks ask who made a socket: that is the fs uid. */
static int take_identity(char *const *ids)
{
        char *end_uid, *end_gid;
        unsigned long uid, gid;

        errno = 0;
        uid = strtoul(ids[0], &end_uid, 10);
        gid = strtoul(ids[1], &end_gid, 10);
        if (errno != 0 || *end_uid || *end_gid || uid == 0 || uid >= UINT32_MAX || gid >= UINT32_MAX)
                return -EINVAL;
        (void)setfsgid((gid_t)gid);
        (void)setfsuid((uid_t)uid);
        /* They say nothing when they fail, such as where this user namespace has no such id. */
        return (uid_t)setfsuid((uid_t)-1) == (uid_t)uid && (gid_t)setfsgid((gid_t)-1) == (gid_t)gid ? 0
                                                                                                    : -EPERM;
}

static int make_socket(int family, int *ret)
{
        const int mark = TRIAL_MARK, hops = 1;
        _cleanup_close_ int fd = socket(family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

        if (fd < 0)
                return errno == EAFNOSUPPORT ? 0 : -errno;
        if (setsockopt(fd, SOL_SOCKET, SO_MARK, &mark, sizeof(mark)) < 0 ||
            setsockopt(fd, family == AF_INET ? IPPROTO_IP : IPPROTO_IPV6,
                       family == AF_INET ? IP_TTL : IPV6_UNICAST_HOPS, &hops, sizeof(hops)) < 0)
                return -errno;
        *ret = TAKE_FD(fd);
        return 0;
}

static int set_up(struct sender *s, char *const *ids, int n)
{
        int r = n == 2 ? take_identity(ids) : -EINVAL;

        if (r == 0)
                r = make_socket(AF_INET, &s->sockets[0]);
        if (r == 0)
                r = make_socket(AF_INET6, &s->sockets[1]);
        (void)setfsuid(geteuid());
        (void)setfsgid(getegid());
        return r;
}

/* The errno of it, 0: none; -errno: it could not begin. */
static int send_one(const struct sender *s, const char *address)
{
        struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(TRIAL_PORT)};
        struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_port = htons(TRIAL_PORT)};
        bool v4 = inet_pton(AF_INET, address, &in.sin_addr) == 1;
        int fd = s->sockets[v4 ? 0 : 1];
        ssize_t n;

        if (s->error < 0)
                return s->error;
        if (!v4 && inet_pton(AF_INET6, address, &in6.sin6_addr) != 1)
                return -EINVAL;
        if (fd < 0)
                return EAFNOSUPPORT;
        if (v4)
                n = sendto(fd, payload, sizeof(payload) - 1, 0, (struct sockaddr *)&in, sizeof(in));
        else
                n = sendto(fd, payload, sizeof(payload) - 1, 0, (struct sockaddr *)&in6, sizeof(in6));
        return n < 0 ? errno : 0;
}

/* 1, 0 when the daemon has closed its end, -errno. */
static int serve(const struct sender *s)
{
        char address[INET6_ADDRSTRLEN] = "", text[sizeof(uint32_t) + 16];
        uint32_t size;
        ssize_t n = recv(WORKER_FD, &size, sizeof(size), MSG_WAITALL);

        if (n == 0)
                return 0;
        if (n != sizeof(size) || size >= sizeof(address) ||
            recv(WORKER_FD, address, size, MSG_WAITALL) != (ssize_t)size)
                return -EBADMSG;
        size = (uint32_t)snprintf(text + sizeof(size), sizeof(text) - sizeof(size), "%d",
                                  send_one(s, address));
        memcpy(text, &size, sizeof(size));
        n = send(WORKER_FD, text, sizeof(size) + size, MSG_NOSIGNAL);
        return n == (ssize_t)(sizeof(size) + size) ? 1 : -EPIPE;
}

int trial_worker_run(char *const *ids, int n)
{
        struct sender s = {.sockets = {-1, -1}};
        int r;

        s.error = set_up(&s, ids, n);
        r = worker_confine(&limits);
        if (r < 0) {
                fprintf(stderr, "The trial process cannot give up its privileges: %s\n", strerror(-r));
                return EXIT_FAILURE;
        }
        do
                r = serve(&s);
        while (r > 0);
        return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
