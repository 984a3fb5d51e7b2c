// SPDX-License-Identifier: GPL-2.0-or-later
#include "worker-process.h"
#include "worker.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/wait.h>

/* Reading goes on at the next turn of the event loop, so that a big answer does not hold up the others. */
#define READS_PER_TURN 16
#define FIRST_CAPACITY ((size_t)64 << 10)
#define COLLECT_TIMEOUT_MS 1000

struct worker_process {
        struct worker_graveyard *graveyard;
        struct worker_process *next; /* in the graveyard */
        worker_answer_t callback;
        void *userdata;
        pid_t pid; /* 0 once collected */
        int pidfd, socket;
        sd_event_source *socket_source, *pidfd_source;
        bool asked;

        uint32_t out_header;
        const char *out; /* the requester's */
        size_t out_size, out_sent;

        uint32_t in_header;
        char *in;
        size_t in_capacity, in_received; /* header included in what is received, not in the capacity */
};

static struct worker_process *process_free(struct worker_process *p)
{
        if (!p)
                return NULL;
        sd_event_source_disable_unref(p->socket_source);
        sd_event_source_disable_unref(p->pidfd_source);
        if (p->socket >= 0)
                close(p->socket);
        if (p->pidfd >= 0)
                close(p->pidfd);
        free(p->in);
        free(p);
        return NULL;
}

DEFINE_CLEANUP(struct worker_process *, process_free)

/* The last thing a handler does: the callback may end the process. */
static int report(struct worker_process *p, int error)
{
        sd_event_source_set_enabled(p->socket_source, SD_EVENT_OFF);
        p->asked = false;
        p->callback(p->userdata, error, NULL, 0);
        return 0;
}

static int watch(struct worker_process *p)
{
        bool sending = p->asked && p->out_sent < sizeof(p->out_header) + p->out_size;

        return sd_event_source_set_io_events(p->socket_source, EPOLLIN | (sending ? (uint32_t)EPOLLOUT : 0));
}

static int send_more(struct worker_process *p)
{
        while (p->asked && p->out_sent < sizeof(p->out_header) + p->out_size) {
                size_t head = p->out_sent < sizeof(p->out_header) ? sizeof(p->out_header) - p->out_sent : 0;
                size_t body = p->out_sent + head - sizeof(p->out_header);
                struct iovec parts[] = {
                        {(char *)&p->out_header + sizeof(p->out_header) - head, head},
                        {(char *)p->out + body, p->out_size - body},
                };
                struct msghdr message = {.msg_iov = parts, .msg_iovlen = ELEMENTSOF(parts)};
                ssize_t n = sendmsg(p->socket, &message, MSG_NOSIGNAL | MSG_DONTWAIT);

                if (n < 0 && errno == EAGAIN)
                        break;
                if (n < 0 && errno != EINTR)
                        return -EPIPE;
                if (n > 0)
                        p->out_sent += (size_t)n;
        }
        return watch(p);
}

/* Room grows with what has come, not with what the header announces. */
static int make_room(struct worker_process *p, size_t body)
{
        size_t capacity = p->in_capacity ? p->in_capacity * 2 : FIRST_CAPACITY;
        char *grown;

        if (body < p->in_capacity)
                return 0;
        if (capacity > p->in_header)
                capacity = (size_t)p->in_header + 1; /* one more byte shows that it says too much */
        grown = realloc(p->in, capacity);
        if (!grown)
                return -ENOMEM;
        p->in = grown;
        p->in_capacity = capacity;
        return 0;
}

/* Where the next bytes go. */
static int next_space(struct worker_process *p, char **ret, size_t *ret_size)
{
        size_t body;
        int r;

        if (p->in_received < sizeof(p->in_header)) {
                *ret = (char *)&p->in_header + p->in_received;
                *ret_size = sizeof(p->in_header) - p->in_received;
                return 0;
        }
        if (p->in_header == 0 || p->in_header > WORKER_MESSAGE_MAX)
                return -EBADMSG;
        body = p->in_received - sizeof(p->in_header);
        r = make_room(p, body);
        if (r < 0)
                return r;
        *ret = p->in + body;
        *ret_size = p->in_capacity - body;
        return 0;
}

/* 1: there may be more, 0: nothing now, -errno. */
static int receive_some(struct worker_process *p)
{
        size_t size;
        char *space;
        ssize_t n;
        int r;

        r = next_space(p, &space, &size);
        if (r < 0)
                return r;
        n = recv(p->socket, space, size, MSG_DONTWAIT);
        if (n < 0)
                return errno == EAGAIN ? 0 : errno == EINTR ? 1 : -EPIPE;
        if (n == 0)
                return -EPIPE;
        if (!p->asked)
                return -EBADMSG;
        p->in_received += (size_t)n;
        return 1;
}

static bool answer_complete(const struct worker_process *p)
{
        return p->in_received >= sizeof(p->in_header) && p->in_header > 0 &&
               p->in_received >= sizeof(p->in_header) + p->in_header;
}

static int deliver(struct worker_process *p)
{
        _cleanup_free_ char *text = NULL;
        size_t size = p->in_header;

        if (p->in_received > sizeof(p->in_header) + size || p->out_sent < sizeof(p->out_header) + p->out_size)
                return report(p, -EBADMSG);
        text = TAKE_PTR(p->in);
        p->in_capacity = p->in_received = 0;
        p->in_header = 0;
        p->out = NULL;
        p->asked = false;
        p->callback(p->userdata, 0, text, size);
        return 0;
}

static int receive_more(struct worker_process *p)
{
        for (unsigned i = 0; i < READS_PER_TURN; i++) {
                int r = receive_some(p);

                if (answer_complete(p))
                        return deliver(p);
                if (r < 0)
                        return report(p, r);
                if (r == 0)
                        break;
        }
        return 0;
}

static int on_socket(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
        struct worker_process *p = userdata;

        (void)source;
        (void)fd;
        if (events & EPOLLOUT) {
                int r = send_more(p);

                if (r < 0)
                        return report(p, r);
        }
        if (events & (EPOLLIN | EPOLLHUP | EPOLLERR))
                return receive_more(p);
        return 0;
}

static bool collect(struct worker_process *p)
{
        siginfo_t info = {0};

        if (p->pid == 0)
                return true;
        /* ECHILD: somebody ignores SIGCHLD, and the kernel has collected it. */
        if (waitid(P_PIDFD, (id_t)p->pidfd, &info, WEXITED | WNOHANG) < 0 ? errno != ECHILD
                                                                          : info.si_pid == 0)
                return false;
        p->pid = 0;
        return true;
}

static void unbury(struct worker_process *p)
{
        for (struct worker_process **i = &p->graveyard->first; *i; i = &(*i)->next)
                if (*i == p) {
                        *i = p->next;
                        return;
                }
}

static int on_exit_seen(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
        struct worker_process *p = userdata;

        (void)source;
        (void)fd;
        (void)events;
        if (!collect(p))
                return 0;
        sd_event_source_set_enabled(p->pidfd_source, SD_EVENT_OFF);
        if (p->socket < 0) { /* ended by us */
                unbury(p);
                process_free(p);
                return 0;
        }
        /* It may have said everything before it died; what it has started may hold the socket open. */
        for (;;) {
                int r = receive_some(p);

                if (answer_complete(p))
                        return deliver(p);
                if (r <= 0)
                        return report(p, r < 0 ? r : -EPIPE);
        }
}

static int place_descriptors(const struct worker_program *program, int worker_end,
                             posix_spawn_file_actions_t *actions)
{
        int r = posix_spawn_file_actions_adddup2(actions, worker_end, WORKER_FD);

        for (size_t i = 0; r == 0 && i < program->n_fds; i++)
                r = posix_spawn_file_actions_adddup2(actions, program->fds[i], WORKER_FD + 1 + (int)i);
        return r != 0 ? r
                      : posix_spawn_file_actions_addclosefrom_np(actions,
                                                                 WORKER_FD + 1 + (int)program->n_fds);
}

static int prepare_spawn(const struct worker_program *program, int worker_end,
                         posix_spawn_file_actions_t *actions, posix_spawnattr_t *attributes)
{
        sigset_t none, all;
        int r;

        sigemptyset(&none);
        sigfillset(&all);
        if ((r = posix_spawn_file_actions_addopen(actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0)) != 0 ||
            (r = posix_spawn_file_actions_addopen(actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0)) != 0 ||
            (r = place_descriptors(program, worker_end, actions)) != 0 ||
            /* The daemon blocks signals for its event loop; the worker shall have them as usual. */
            (r = posix_spawnattr_setsigmask(attributes, &none)) != 0 ||
            (r = posix_spawnattr_setsigdefault(attributes, &all)) != 0 ||
            (r = posix_spawnattr_setflags(attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF)) != 0)
                return -r;
        return 0;
}

/* WORKER_END must be out of the way, as worker_descriptor_move() puts it. */
static int spawn(const struct worker_program *program, int worker_end, pid_t *ret)
{
        posix_spawn_file_actions_t actions;
        posix_spawnattr_t attributes;
        int r;

        if (posix_spawn_file_actions_init(&actions) != 0)
                return -ENOMEM;
        if (posix_spawnattr_init(&attributes) != 0) {
                posix_spawn_file_actions_destroy(&actions);
                return -ENOMEM;
        }
        r = prepare_spawn(program, worker_end, &actions, &attributes);
        if (r == 0)
                r = -posix_spawn(ret, program->argv[0], &actions, &attributes, program->argv, environ);
        posix_spawnattr_destroy(&attributes);
        posix_spawn_file_actions_destroy(&actions);
        return r;
}

int worker_descriptor_move(int fd)
{
        int high = fcntl(fd, F_DUPFD_CLOEXEC, WORKER_FD + 1 + WORKER_FDS_MAX), r = -errno;

        close(fd);
        return high < 0 ? r : high;
}

static int make_sockets(int *ret_ours, int *ret_workers)
{
        _cleanup_close_ int ours = -1;
        int pair[2], high;

        if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
                return -errno;
        ours = pair[0];
        high = worker_descriptor_move(pair[1]);
        if (high < 0)
                return high;
        *ret_ours = TAKE_FD(ours);
        *ret_workers = high;
        return 0;
}

static void kill_and_bury(struct worker_process *p)
{
        sd_event_source_disable_unref(TAKE_PTR(p->socket_source));
        close(TAKE_FD(p->socket));
        if (p->pid > 0)
                pidfd_send_signal(p->pidfd, SIGKILL, NULL, 0);
        p->next = p->graveyard->first;
        p->graveyard->first = p;
}

static int open_pidfd(pid_t pid)
{
        int pidfd = pidfd_open(pid, 0), r = -errno;

        if (pidfd >= 0)
                return pidfd;
        /* Only when the kernel has no memory left: better a zombie than a daemon that waits. */
        kill(pid, SIGKILL);
        waitpid(pid, NULL, WNOHANG);
        return r;
}

static int attach(sd_event *event, struct worker_process *p)
{
        int r;

        r = sd_event_add_io(event, &p->socket_source, p->socket, EPOLLIN, on_socket, p);
        if (r < 0)
                return r;
        (void)sd_event_source_set_description(p->socket_source, "worker-socket");
        return 0;
}

int worker_process_start(sd_event *event, const struct worker_program *program,
                         struct worker_graveyard *graveyard, worker_answer_t callback, void *userdata,
                         struct worker_process **ret)
{
        _cleanup_(process_freep) struct worker_process *p = calloc(1, sizeof(*p));
        _cleanup_close_ int workers = -1;
        int r;

        if (!p)
                return -ENOMEM;
        p->graveyard = graveyard;
        p->callback = callback;
        p->userdata = userdata;
        p->pidfd = p->socket = -1;
        r = make_sockets(&p->socket, &workers);
        if (r < 0)
                return r;
        r = attach(event, p);
        if (r < 0)
                return r;
        r = spawn(program, workers, &p->pid);
        if (r < 0)
                return r;
        close(TAKE_FD(workers)); /* first, so that a descriptor is free for the next */
        p->pidfd = open_pidfd(p->pid);
        if (p->pidfd < 0)
                return p->pidfd;
        r = sd_event_add_io(event, &p->pidfd_source, p->pidfd, EPOLLIN, on_exit_seen, p);
        if (r < 0) {
                kill_and_bury(TAKE_PTR(p)); /* collected with the graveyard */
                return r;
        }
        (void)sd_event_source_set_description(p->pidfd_source, "worker-exit");
        *ret = TAKE_PTR(p);
        return 0;
}

bool worker_process_usable(const struct worker_process *p)
{
        char byte;

        return p->pid > 0 && recv(p->socket, &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0 && errno == EAGAIN;
}

int worker_process_ask(struct worker_process *p, const char *text, size_t size)
{
        if (p->asked)
                return -EBUSY;
        if (size > WORKER_MESSAGE_MAX)
                return -EMSGSIZE;
        p->asked = true;
        p->out_header = (uint32_t)size;
        p->out = text;
        p->out_size = size;
        p->out_sent = 0;
        return send_more(p);
}

struct worker_process *worker_process_end(struct worker_process *p)
{
        if (!p)
                return NULL;
        if (p->pid == 0)
                return process_free(p);
        kill_and_bury(p);
        return NULL;
}

/* Asks again and again: a pidfd is readable a little before a process with threads can be collected. */
static void collect_soon(struct worker_process *p)
{
        for (unsigned i = 0; i < COLLECT_TIMEOUT_MS && !collect(p); i++)
                (void)poll(NULL, 0, 1);
}

void worker_graveyard_clear(struct worker_graveyard *graveyard)
{
        struct worker_process *p;

        while ((p = graveyard->first)) {
                graveyard->first = p->next;
                /* One that is stuck in the kernel is left to whoever collects the daemon. */
                collect_soon(p);
                process_free(p);
        }
}
