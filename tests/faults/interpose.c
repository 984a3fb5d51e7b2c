/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Preloaded into the daemon (LD_PRELOAD): one allocation fails, or one answer of netlink's is not what the
 * kernel said. Which, and from when on, is said from outside through a file mapped by both (FAULTS): see
 * interpose.py, which has the same layout. What happens is known by its call path, the return addresses on
 * the stack; they are the same in each run as long as addresses are not randomized (setarch -R). */

#include <dlfcn.h>
#include <errno.h>
#include <execinfo.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#define EVENTS_MAX 262144
#define FRAMES_MAX 40
#define PATH_FRAMES 4 /* so many, the innermost, make out a call path */
#define DATAGRAM_MAX 262144

enum mode { /* bits */
            MODE_ALLOCATIONS = 1,
            MODE_ANSWERS = 2,
};

enum harm {
        HARM_TRUNCATED, /* the second half is missing */
        HARM_LOST,      /* it never comes */
        HARM_SEQUENCE,  /* it answers something else */
        HARM_REORDERED, /* it comes after the next one */
        HARM_DUMP_INTR, /* the dump was interrupted */
        HARM_EINTR,     /* a signal came instead, and then it */
        HARM_ENOBUFS,   /* it found no room */
        HARM_ERROR,     /* the kernel says "error" instead */
        HARM_DOUBLED,   /* it comes twice */
};

struct control {
        uint32_t mode, harm, error;
        uint32_t hit;                /* out: 1 + number of the event that was harmed */
        uint64_t path;               /* whose call path is this one; 0: none, they are only noted down */
        uint32_t occurrence;         /* … and the how manieth of those, from 1 */
        uint32_t seen;               /* out: how many of those there were */
        uint32_t n_events, n_frames; /* out */
        uint64_t frames[FRAMES_MAX]; /* out: of the one that was harmed */
        struct {
                uint64_t path;
                uint32_t type, size;
        } events[EVENTS_MAX]; /* out */
};

extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t n, size_t size);
extern void *__libc_realloc(void *old, size_t size);
extern void *__libc_memalign(size_t alignment, size_t size);

static struct control *control;
static pid_t daemon_pid;
static __thread bool inside __attribute__((tls_model("initial-exec")));
static ssize_t (*real_recv)(int fd, void *buffer, size_t size, int flags);
static ssize_t (*real_recvmsg)(int fd, struct msghdr *message, int flags);

/* ---- which one ---- */

/* Notes the event down. True: this is the one. */
static bool is_the_one(uint32_t type, size_t size)
{
        void *frames[FRAMES_MAX];
        uint64_t path = UINT64_C(14695981039346656037);
        uint32_t number;
        int n;

        inside = true;
        n = backtrace(frames, FRAMES_MAX);
        for (int i = 2; i < n && i < 2 + PATH_FRAMES; i++)
                path = (path ^ (uintptr_t)frames[i]) * UINT64_C(1099511628211);
        path = (path ^ type) * UINT64_C(1099511628211);
        path &= INT64_MAX;
        inside = false;
        number = __atomic_fetch_add(&control->n_events, 1, __ATOMIC_RELAXED);
        if (number < EVENTS_MAX) {
                control->events[number].path = path;
                control->events[number].type = type;
                control->events[number].size = (uint32_t)size;
        }
        if (path != control->path || control->hit > 0 || ++control->seen != control->occurrence)
                return false;
        for (int i = 2; i < n; i++)
                control->frames[i - 2] = (uintptr_t)frames[i];
        control->n_frames = n > 2 ? (uint32_t)n - 2 : 0;
        __atomic_store_n(&control->hit, number + 1, __ATOMIC_RELEASE);
        return true;
}

static bool watches(enum mode mode)
{
        return control && control->mode & mode && !inside && getpid() == daemon_pid;
}

/* ---- allocations ---- */

static bool fails(size_t size)
{
        if (!watches(MODE_ALLOCATIONS) || !is_the_one(0, size))
                return false;
        errno = ENOMEM;
        return true;
}

void *malloc(size_t size)
{
        return fails(size) ? NULL : __libc_malloc(size);
}

void *calloc(size_t n, size_t size)
{
        return fails(n * size) ? NULL : __libc_calloc(n, size);
}

void *realloc(void *old, size_t size)
{
        return size > 0 && fails(size) ? NULL : __libc_realloc(old, size);
}

void *aligned_alloc(size_t alignment, size_t size)
{
        return fails(size) ? NULL : __libc_memalign(alignment, size);
}

int posix_memalign(void **ret, size_t alignment, size_t size)
{
        void *p = fails(size) ? NULL : __libc_memalign(alignment, size);

        if (!p)
                return ENOMEM;
        *ret = p;
        return 0;
}

/* ---- answers ---- */

static struct {
        int fd;
        size_t size; /* 0: nothing is kept back */
        char data[DATAGRAM_MAX];
} kept;

static bool is_netlink(int fd)
{
        int domain = 0;
        socklen_t length = sizeof(domain);

        return getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &length) == 0 && domain == AF_NETLINK;
}

/* One of the two ways to receive. */
struct receiver {
        int fd, flags;
        char *buffer;
        size_t size;
        struct msghdr *message;
};

static ssize_t take(const struct receiver *r)
{
        return r->message ? real_recvmsg(r->fd, r->message, r->flags)
                          : real_recv(r->fd, r->buffer, r->size, r->flags);
}

static ssize_t fail_with(int error)
{
        errno = error;
        return -1;
}

static void keep_back(const struct receiver *r, size_t size)
{
        if (size > sizeof(kept.data))
                return;
        memcpy(kept.data, r->buffer, size);
        kept.fd = r->fd;
        kept.size = size;
}

static ssize_t give_kept(const struct receiver *r)
{
        size_t size = kept.size < r->size ? kept.size : r->size;

        memcpy(r->buffer, kept.data, size);
        if (r->message) {
                if (r->message->msg_name)
                        *(struct sockaddr_nl *)r->message->msg_name =
                                (struct sockaddr_nl){.nl_family = AF_NETLINK};
                r->message->msg_namelen = sizeof(struct sockaddr_nl);
                r->message->msg_flags = 0;
        }
        kept.size = 0;
        return (ssize_t)size;
}

/* Each message of the datagram. */
#define FOR_EACH_MESSAGE(h, r, n)                                                         \
        for (struct nlmsghdr *h = (void *)(r)->buffer;                                    \
             (char *)h + sizeof(*h) <= (r)->buffer + (n) && h->nlmsg_len >= sizeof(*h) && \
             (char *)h + h->nlmsg_len <= (r)->buffer + (n);                               \
             (h) = (void *)((char *)(h) + NLMSG_ALIGN((h)->nlmsg_len)))

static ssize_t say_error(const struct receiver *r)
{
        struct nlmsghdr *h = (void *)r->buffer;
        const struct nlmsghdr asked = *h;
        struct nlmsgerr *e = (void *)(h + 1);

        *h = (struct nlmsghdr){.nlmsg_len = sizeof(*h) + sizeof(*e),
                               .nlmsg_type = NLMSG_ERROR,
                               .nlmsg_seq = asked.nlmsg_seq,
                               .nlmsg_pid = asked.nlmsg_pid};
        *e = (struct nlmsgerr){.error = -(int)control->error, .msg = asked};
        return (ssize_t)h->nlmsg_len;
}

static ssize_t harm(const struct receiver *r, ssize_t n)
{
        ssize_t next;

        switch ((enum harm)control->harm) {
        case HARM_TRUNCATED:
                return n / 2;
        case HARM_LOST:
                return take(r);
        case HARM_SEQUENCE:
                FOR_EACH_MESSAGE(h, r, n)
                h->nlmsg_seq += 100000;
                return n;
        case HARM_REORDERED:
                keep_back(r, (size_t)n);
                next = take(r);
                return next > 0 ? next : give_kept(r);
        case HARM_DUMP_INTR:
                FOR_EACH_MESSAGE(h, r, n)
                h->nlmsg_flags |= NLM_F_DUMP_INTR;
                return n;
        case HARM_EINTR:
                keep_back(r, (size_t)n);
                return fail_with(EINTR);
        case HARM_ENOBUFS:
                return fail_with(ENOBUFS);
        case HARM_ERROR:
                return r->size >= NLMSG_SPACE(sizeof(struct nlmsgerr)) ? say_error(r) : n;
        case HARM_DOUBLED:
                keep_back(r, (size_t)n);
                return n;
        }
        return n;
}

static ssize_t receive(const struct receiver *r)
{
        ssize_t n;
        const struct nlmsghdr *h = (const void *)r->buffer;

        if (!watches(MODE_ANSWERS) || r->flags & MSG_PEEK || !is_netlink(r->fd))
                return take(r);
        if (kept.size > 0 && kept.fd == r->fd)
                return give_kept(r);
        n = take(r);
        if (n < (ssize_t)sizeof(*h) || (size_t)n > r->size || !is_the_one(h->nlmsg_type, (size_t)n))
                return n;
        return harm(r, n);
}

ssize_t recv(int fd, void *buffer, size_t size, int flags)
{
        return receive(&(struct receiver){fd, flags, buffer, size, NULL});
}

ssize_t __recv_chk(int fd, void *buffer, size_t size, size_t room, int flags);
ssize_t __recv_chk(int fd, void *buffer, size_t size, size_t room, int flags)
{
        if (size > room)
                abort();
        return recv(fd, buffer, size, flags);
}

ssize_t recvmsg(int fd, struct msghdr *message, int flags)
{
        if (message->msg_iovlen != 1)
                return real_recvmsg(fd, message, flags);
        return receive(&(struct receiver){fd, flags, message->msg_iov[0].iov_base,
                                          message->msg_iov[0].iov_len, message});
}

/* ---- the beginning ---- */

__attribute__((constructor)) static void begin(int argc, char **argv)
{
        const char *path = getenv("FAULTS");
        void *frames[4];
        int fd;

        *(void **)&real_recv = dlsym(RTLD_NEXT, "recv");
        *(void **)&real_recvmsg = dlsym(RTLD_NEXT, "recvmsg");
        if (!path || argc != 1 || !argv[0]) /* the daemon's own processes have arguments */
                return;
        (void)backtrace(frames, 4); /* loads what it needs */
        fd = open(path, O_RDWR | O_CLOEXEC);
        if (fd < 0)
                return;
        daemon_pid = getpid();
        control = mmap(NULL, sizeof(*control), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        close(fd);
        if (control == MAP_FAILED)
                control = NULL;
}
