// SPDX-License-Identifier: GPL-2.0-or-later
/* The launcher itself. It believes the daemon nothing: it starts one program, as one of three things, with
 * arguments that can be nothing else. */
#include "dns-relay-port.h"
#include "launcher-message.h"
#include "spawn-process.h"
#include "worker.h"
#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <systemd/sd-daemon.h>
#include <systemd/sd-event.h>

/* At a time: two for each of 16 orders, and room for those that are killed and cannot end. */
#define CHILDREN_MAX 64
#define CONNECTIONS_MAX 16

struct launched {
        struct launcher_process *launcher;
        pid_t pid;
        int pidfd, lifeline;
        sd_event_source *pidfd_source, *lifeline_source;
};

struct launcher_process {
        sd_event *event;
        const char *executable;
        unsigned n_children, n_connections;
};

static void end_when_done(struct launcher_process *l)
{
        if (l->n_children == 0 && l->n_connections == 0)
                (void)sd_event_exit(l->event, EXIT_SUCCESS);
}

static struct launched *launched_free(struct launched *c)
{
        if (!c)
                return NULL;
        sd_event_source_disable_unref(c->pidfd_source);
        sd_event_source_disable_unref(c->lifeline_source);
        closep(&c->pidfd);
        closep(&c->lifeline);
        free(c);
        return NULL;
}

DEFINE_CLEANUP(struct launched *, launched_free)

static int on_exit_seen(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
        struct launched *c = userdata;
        struct launcher_process *l = c->launcher;
        siginfo_t info = {0};

        (void)source;
        (void)fd;
        (void)events;
        /* Of one with threads the descriptor is readable a little before it can be collected. */
        if (waitid(P_PIDFD, (id_t)c->pidfd, &info, WEXITED | WNOHANG) == 0 && info.si_pid == 0)
                return 0;
        launched_free(c); /* with the lifeline: now the daemon hears of it */
        l->n_children--;
        end_when_done(l);
        return 0;
}

/* Nothing is ever sent on it: the daemon has closed its end, or died. */
static int on_lifeline(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
        struct launched *c = userdata;

        (void)fd;
        (void)events;
        (void)sd_event_source_set_enabled(source, SD_EVENT_OFF);
        (void)pidfd_send_signal(c->pidfd, SIGKILL, NULL, 0);
        return 0;
}

/* Waits for its end, which is near: that needs no memory. */
static void kill_at_once(pid_t pid)
{
        (void)kill(pid, SIGKILL);
        (void)waitpid(pid, NULL, 0);
}

static int watch(struct launched *c)
{
        int r = pidfd_open(c->pid, 0);

        if (r < 0)
                return -errno;
        c->pidfd = r;
        r = sd_event_add_io(c->launcher->event, &c->pidfd_source, c->pidfd, EPOLLIN, on_exit_seen, c);
        if (r >= 0)
                r = sd_event_add_io(c->launcher->event, &c->lifeline_source, c->lifeline, EPOLLIN,
                                    on_lifeline, c);
        return r;
}

/* One or two addresses, of a family each. */
static bool are_addresses(const struct launch_request *q)
{
        uint8_t ignored[16];
        int families[LAUNCH_ARGUMENTS] = {0};

        for (size_t i = 0; i < LAUNCH_ARGUMENTS; i++)
                if (inet_pton(AF_INET, q->arguments[i], ignored) == 1)
                        families[i] = AF_INET;
                else if (inet_pton(AF_INET6, q->arguments[i], ignored) == 1)
                        families[i] = AF_INET6;
                else if (i == 0 || q->arguments[i][0])
                        return false;
        return families[0] != families[1];
}

static bool is_number(const char *text)
{
        return text[0] && strspn(text, "0123456789") == strlen(text);
}

/* Nobody who is anything in particular, root above all. */
static bool are_ids(const struct launch_request *q)
{
        for (size_t i = 0; i < LAUNCH_ARGUMENTS; i++)
                if (!is_number(q->arguments[i]))
                        return false;
        return q->arguments[0][strspn(q->arguments[0], "0")] != '\0';
}

/* With N_FDS sockets besides its own. *RET: the argument that says what it is to be; 0 or -EINVAL. */
static int judge(const struct launch_request *q, size_t n_fds, const char **ret)
{
        for (size_t i = 0; i < LAUNCH_ARGUMENTS; i++)
                if (!memchr(q->arguments[i], '\0', LAUNCH_ARGUMENT_SIZE))
                        return -EINVAL;
        switch (q->kind) {
        case LAUNCH_RESOLVER:
                *ret = RESOLVER_WORKER_ARGUMENT;
                return n_fds == 0 && !q->arguments[0][0] && !q->arguments[1][0] ? 0 : -EINVAL;
        case LAUNCH_RELAY:
                *ret = DNS_RELAY_ARGUMENT;
                return n_fds > 0 && are_addresses(q) ? 0 : -EINVAL;
        case LAUNCH_TRIAL:
                *ret = TRIAL_ARGUMENT;
                return n_fds == 0 && are_ids(q) ? 0 : -EINVAL;
        default:
                return -EINVAL;
        }
}

/* FDS as launch_request has them. */
static int start(struct launcher_process *l, const struct launch_request *q, const int *fds, size_t n,
                 pid_t *ret)
{
        char *argv[2 + LAUNCH_ARGUMENTS + 1] = {(char *)l->executable};
        const char *as_what = NULL;
        int given[LAUNCH_FDS_MAX];
        size_t n_words = 1;
        int r = judge(q, n - 2, &as_what);

        if (r < 0)
                return r;
        if (l->n_children >= CHILDREN_MAX)
                return -EAGAIN;
        argv[n_words++] = (char *)as_what;
        for (size_t i = 0; i < LAUNCH_ARGUMENTS; i++)
                if (q->arguments[i][0])
                        argv[n_words++] = (char *)q->arguments[i];
        given[0] = fds[0];
        memcpy(given + 1, fds + 2, (n - 2) * sizeof(*fds)); /* all but the lifeline */
        return spawn_process(argv, given, n - 1, ret);
}

/* Takes the lifeline over. */
static int launch(struct launcher_process *l, const struct launch_request *q, int *fds, size_t n)
{
        _cleanup_(launched_freep) struct launched *c = calloc(1, sizeof(*c));
        int r;

        if (!c)
                return -ENOMEM;
        *c = (struct launched){.launcher = l, .pidfd = -1, .lifeline = TAKE_FD(fds[1])};
        r = start(l, q, fds, n, &c->pid);
        if (r >= 0) {
                r = watch(c);
                if (r < 0)
                        kill_at_once(c->pid);
        }
        if (r < 0) {
                const int32_t error = r;

                (void)send(c->lifeline, &error, sizeof(error), MSG_NOSIGNAL | MSG_DONTWAIT);
                return r;
        }
        l->n_children++;
        TAKE_PTR(c);
        return 0;
}

static int answer_port(const struct launch_request *q, int connection)
{
        struct launch_answer a = {0};
        int sockets[LAUNCH_SOCKETS], fds[LAUNCH_SOCKETS], r;
        size_t n = 0;

        a.error = relay_port_take(q->port, sockets, &a.port);
        if (a.error < 0)
                return launch_send(connection, &a, sizeof(a), NULL, 0); /* the daemon tells about it */
        for (size_t i = 0; i < LAUNCH_SOCKETS; i++)
                if (sockets[i] >= 0) {
                        a.present |= (uint16_t)(1U << i);
                        fds[n++] = sockets[i];
                }
        r = launch_send(connection, &a, sizeof(a), fds, n);
        relay_port_close(sockets);
        return r;
}

/* Does the daemon still want it? */
static bool is_wanted(int lifeline)
{
        struct pollfd p = {.fd = lifeline};

        return poll(&p, 1, 0) == 0;
}

static void serve(struct launcher_process *l, int connection, const struct launch_request *q, int *fds,
                  size_t n)
{
        int r = -EINVAL;

        if (q->kind == LAUNCH_PORT && n == 0)
                r = answer_port(q, connection);
        else if (n >= 2)
                r = is_wanted(fds[1]) ? launch(l, q, fds, n) : 0;
        if (r == -EINVAL) /* of other errors the daemon tells; not what it asked for, which may be anything */
                fprintf(stderr, "lockdownd's launcher was asked for what it cannot do (kind %u)\n", q->kind);
}

static void hang_up(struct launcher_process *l, sd_event_source *source)
{
        sd_event_source_disable_unref(source); /* owns the descriptor */
        l->n_connections--;
        end_when_done(l);
}

static int on_request(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
        struct launcher_process *l = userdata;
        struct launch_request q;
        int fds[LAUNCH_FDS_MAX];
        size_t n = 0;
        int r = launch_receive(fd, &q, sizeof(q), fds, &n);

        (void)events;
        if (r == -EAGAIN)
                return 0;
        if (r <= 0) { /* the daemon has gone, or talks nonsense */
                hang_up(l, source);
                return 0;
        }
        serve(l, fd, &q, fds, n);
        for (size_t i = 0; i < n; i++)
                closep(&fds[i]);
        return 0;
}

/* CONNECTION is taken over. */
static int add_connection(struct launcher_process *l, int connection)
{
        sd_event_source *source = NULL;
        int r = l->n_connections < CONNECTIONS_MAX
                        ? sd_event_add_io(l->event, &source, connection, EPOLLIN, on_request, l)
                        : -EMFILE;

        if (r < 0) {
                close(connection);
                return r;
        }
        (void)sd_event_source_set_io_fd_own(source, true);
        l->n_connections++;
        return 0;
}

static int on_connection(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
        int connection = accept4(fd, NULL, NULL, SOCK_CLOEXEC);

        (void)source;
        (void)events;
        if (connection >= 0)
                (void)add_connection(userdata,
                                     connection); /* else the daemon sees it closed, and comes again */
        return 0;
}

static bool is_listening(void)
{
        int listening = 0;
        socklen_t size = sizeof(listening);

        return getsockopt(SPAWN_FD, SOL_SOCKET, SO_ACCEPTCONN, &listening, &size) == 0 && listening;
}

/* The service manager waits for us, and watches; as the daemon's child we have nothing to say to it. */
static int serve_as_service(struct launcher_process *l)
{
        int r = sd_event_add_io(l->event, NULL, SPAWN_FD, EPOLLIN, on_connection, l);

        if (r >= 0)
                r = sd_event_set_watchdog(l->event, true);
        if (r >= 0)
                (void)sd_notify(false, "READY=1");
        return r;
}

int launcher_run(const char *executable)
{
        _cleanup_(sd_event_unrefp) sd_event *event = NULL;
        struct launcher_process l = {.executable = executable};
        int r = sd_event_new(&event);

        l.event = event;
        if (r >= 0)
                r = is_listening() ? serve_as_service(&l) : add_connection(&l, SPAWN_FD);
        if (r >= 0)
                r = sd_event_loop(event);
        if (r < 0)
                fprintf(stderr, "lockdownd's launcher ends: %s\n", strerror(-r));
        return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
