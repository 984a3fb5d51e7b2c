// SPDX-License-Identifier: GPL-2.0-or-later
#include "launcher.h"
#include "launcher-message.h"
#include "spawn-process.h"
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>

/* What our child needs to end when it is told to, milliseconds; it is left to others then. */
#define COLLECT_PATIENCE 1000
/* A service that does not answer is not waited for again so soon, seconds of the monotonic clock. */
#define SILENCE 10

struct launcher {
        char *executable, *socket_path;
        int connection; /* -1: none */
        pid_t child;    /* 0: none of ours */
        time_t silent_until;
};

int launcher_new(const char *executable, const char *socket_path, struct launcher **ret)
{
        _cleanup_(launcher_freep) struct launcher *l = calloc(1, sizeof(*l));

        if (!l)
                return -ENOMEM;
        l->connection = -1;
        l->executable = strdup(executable);
        l->socket_path = socket_path ? strdup(socket_path) : NULL;
        if (!l->executable || (socket_path && !l->socket_path))
                return -ENOMEM;
        *ret = TAKE_PTR(l);
        return 0;
}

static bool collected(pid_t child)
{
        return waitpid(child, NULL, WNOHANG) != 0; /* also when somebody else has */
}

/* One that is stuck in the kernel is left to whoever collects the daemon. */
static void collect(pid_t child)
{
        for (unsigned i = 0; i < COLLECT_PATIENCE && !collected(child); i++)
                (void)poll(NULL, 0, 1);
}

/* Whatever it has started ends with it, or when its lifeline is closed. */
static void hang_up(struct launcher *l)
{
        if (l->connection >= 0)
                close(TAKE_FD(l->connection));
        if (l->child > 0) {
                (void)kill(l->child, SIGKILL);
                collect(l->child);
        }
        l->child = 0;
}

struct launcher *launcher_free(struct launcher *l)
{
        if (!l)
                return NULL;
        /* It ends by itself when all that it has started have been collected. */
        if (l->connection >= 0)
                close(TAKE_FD(l->connection));
        if (l->child > 0)
                collect(l->child);
        free(l->executable);
        free(l->socket_path);
        free(l);
        return NULL;
}

static int connect_to_service(struct launcher *l)
{
        struct sockaddr_un address = {.sun_family = AF_UNIX};
        _cleanup_close_ int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

        if (fd < 0)
                return -errno;
        if (strlen(l->socket_path) >= sizeof(address.sun_path))
                return -ENAMETOOLONG;
        memcpy(address.sun_path, l->socket_path, strlen(l->socket_path));
        if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
                return -errno;
        l->connection = TAKE_FD(fd);
        return 0;
}

static int make_pair(int type, int *ret_ours, int *ret_theirs)
{
        int pair[2];

        if (socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, pair) < 0)
                return -errno;
        *ret_ours = pair[0];
        *ret_theirs = pair[1];
        return 0;
}

static int start_child(struct launcher *l)
{
        char *const argv[] = {l->executable, (char *)LAUNCHER_ARGUMENT, NULL};
        _cleanup_close_ int ours = -1, theirs = -1;
        int r = make_pair(SOCK_SEQPACKET, &ours, &theirs);

        if (r >= 0)
                r = spawn_process(argv, &theirs, 1, &l->child);
        if (r >= 0)
                l->connection = TAKE_FD(ours);
        return r;
}

static int ensure_connection(struct launcher *l)
{
        if (l->connection >= 0)
                return 0;
        return l->socket_path ? connect_to_service(l) : start_child(l);
}

/* Is it the other side that is at fault, so that another one may do better? */
static bool is_gone(int error)
{
        return error == -EPIPE || error == -ECONNRESET || error == -ECONNREFUSED || error == -ENOTCONN;
}

static int request(struct launcher *l, const struct launch_request *q, const int *fds, size_t n)
{
        int r;

        for (unsigned attempt = 0; attempt < 2; attempt++) {
                r = ensure_connection(l);
                if (r < 0)
                        return r;
                r = launch_send(l->connection, q, sizeof(*q), fds, n);
                if (!is_gone(r))
                        break;
                hang_up(l);
        }
        return r;
}

static int write_request(const struct launch *what, struct launch_request *ret)
{
        *ret = (struct launch_request){.kind = what->kind};
        for (size_t i = 0; i < LAUNCH_ARGUMENTS; i++) {
                size_t length = what->arguments[i] ? strlen(what->arguments[i]) : 0;

                if (length >= LAUNCH_ARGUMENT_SIZE)
                        return -EINVAL;
                memcpy(ret->arguments[i], what->arguments[i] ? what->arguments[i] : "", length);
        }
        return 0;
}

int launcher_start(struct launcher *l, const struct launch *what, int *ret_socket, int *ret_lifeline)
{
        _cleanup_close_ int socket_ours = -1, socket_theirs = -1, lifeline_ours = -1, lifeline_theirs = -1;
        int fds[LAUNCH_FDS_MAX];
        struct launch_request q;
        int r = write_request(what, &q);

        if (r < 0)
                return r;
        if (what->n_fds > LAUNCH_FDS_MAX - 2)
                return -E2BIG;
        r = make_pair(SOCK_STREAM, &socket_ours, &socket_theirs);
        if (r >= 0)
                r = make_pair(SOCK_SEQPACKET, &lifeline_ours, &lifeline_theirs);
        if (r < 0)
                return r;
        fds[0] = socket_theirs;
        fds[1] = lifeline_theirs;
        if (what->n_fds > 0)
                memcpy(fds + 2, what->fds, what->n_fds * sizeof(int));
        r = request(l, &q, fds, 2 + what->n_fds);
        if (r < 0)
                return r;
        *ret_socket = TAKE_FD(socket_ours);
        *ret_lifeline = TAKE_FD(lifeline_ours);
        return 0;
}

static int receive_answer(const struct launcher *l, struct launch_answer *ret, int *ret_fds, size_t *ret_n)
{
        struct pollfd p = {.fd = l->connection, .events = POLLIN};
        int r = poll(&p, 1, LAUNCHER_PATIENCE);

        if (r < 0)
                return -errno;
        if (r == 0)
                return -ETIMEDOUT;
        r = launch_receive(l->connection, ret, sizeof(*ret), ret_fds, ret_n);
        return r == 0 ? -EPIPE : r < 0 ? r : 0;
}

/* A descriptor for each bit, and a port with at least one. */
static int check_answer(const struct launch_answer *a, size_t n)
{
        if (a->error < 0)
                return a->error;
        if (a->error > 0 || a->port == 0 || n == 0 || a->present >> LAUNCH_SOCKETS ||
            (size_t)__builtin_popcount(a->present) != n)
                return -EBADMSG;
        return 0;
}

static int read_answer(const struct launcher *l, int sockets[LAUNCH_SOCKETS], uint16_t *ret)
{
        struct launch_answer a;
        int fds[LAUNCH_FDS_MAX];
        size_t n = 0, next = 0;
        int r = receive_answer(l, &a, fds, &n);

        if (r >= 0)
                r = check_answer(&a, n);
        if (r < 0) {
                while (n > 0)
                        close(fds[--n]);
                return r;
        }
        for (size_t i = 0; i < LAUNCH_SOCKETS; i++)
                sockets[i] = a.present >> i & 1 ? fds[next++] : -1;
        *ret = a.port;
        return 0;
}

static time_t seconds(void)
{
        struct timespec now = {0};

        (void)clock_gettime(CLOCK_MONOTONIC, &now);
        return now.tv_sec;
}

int launcher_take_port(struct launcher *l, uint16_t preferred, int sockets[LAUNCH_SOCKETS], uint16_t *ret)
{
        const struct launch_request q = {.kind = LAUNCH_PORT, .port = preferred};
        int r = seconds() < l->silent_until ? -ETIMEDOUT : request(l, &q, NULL, 0);

        if (r < 0)
                return r;
        r = read_answer(l, sockets, ret);
        /* What comes late must not be taken for the answer to the next question. */
        if (r == -ETIMEDOUT || r == -EBADMSG || r == -EINTR || is_gone(r))
                hang_up(l);
        if (r == -ETIMEDOUT && l->socket_path) /* a child of ours is another one by now */
                l->silent_until = seconds() + SILENCE;
        return r;
}
