// SPDX-License-Identifier: GPL-2.0-or-later
#include "worker-process.h"
#include "worker.h"
#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>

/* Reading goes on at the next turn of the event loop, so that a big answer does not hold up the others. */
#define READS_PER_TURN 16
#define FIRST_CAPACITY ((size_t)64 << 10)

struct worker_process {
        worker_answer_t callback;
        void *userdata;
        int socket, lifeline;
        sd_event_source *socket_source, *lifeline_source;
        bool asked;

        uint32_t out_header;
        const char *out; /* the requester's */
        size_t out_size, out_sent;

        uint32_t in_header;
        char *in;
        size_t in_capacity, in_received; /* header included in what is received, not in the capacity */
};

struct worker_process *worker_process_end(struct worker_process *p)
{
        if (!p)
                return NULL;
        sd_event_source_disable_unref(p->socket_source);
        sd_event_source_disable_unref(p->lifeline_source);
        if (p->socket >= 0)
                close(p->socket);
        if (p->lifeline >= 0)
                close(p->lifeline);
        free(p->in);
        free(p);
        return NULL;
}

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

/* It may have said everything before it ended; what it has started may hold the socket open. */
static int hear_last_words(struct worker_process *p)
{
        for (;;) {
                int r = receive_some(p);

                if (answer_complete(p))
                        return deliver(p);
                if (r <= 0)
                        return report(p, r < 0 ? r : -EPIPE);
        }
}

static int on_lifeline(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
        struct worker_process *p = userdata;
        int32_t error = 0;
        ssize_t n = recv(fd, &error, sizeof(error), MSG_DONTWAIT);

        (void)events;
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
                return 0;
        (void)sd_event_source_set_enabled(source, SD_EVENT_OFF);
        close(TAKE_FD(p->lifeline));
        if (n == sizeof(error) && error < 0)
                return report(p, error);
        return hear_last_words(p);
}

static int attach(sd_event *event, struct worker_process *p)
{
        int r = sd_event_add_io(event, &p->socket_source, p->socket, EPOLLIN, on_socket, p);

        if (r >= 0)
                r = sd_event_add_io(event, &p->lifeline_source, p->lifeline, EPOLLIN, on_lifeline, p);
        if (r < 0)
                return r;
        (void)sd_event_source_set_description(p->socket_source, "worker-socket");
        (void)sd_event_source_set_description(p->lifeline_source, "worker-lifeline");
        return 0;
}

int worker_process_start(sd_event *event, struct launcher *launcher, const struct launch *what,
                         worker_answer_t callback, void *userdata, struct worker_process **ret)
{
        _cleanup_(worker_process_endp) struct worker_process *p = calloc(1, sizeof(*p));
        int r;

        if (!p)
                return -ENOMEM;
        p->callback = callback;
        p->userdata = userdata;
        p->socket = p->lifeline = -1;
        r = launcher_start(launcher, what, &p->socket, &p->lifeline);
        if (r >= 0)
                r = attach(event, p);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(p);
        return 0;
}

bool worker_process_usable(const struct worker_process *p)
{
        char byte;

        return p->lifeline >= 0 && recv(p->socket, &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0 && errno == EAGAIN;
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
