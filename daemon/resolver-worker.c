// SPDX-License-Identifier: GPL-2.0-or-later
#include "resolver-internal.h"
#include <errno.h>
#include <grp.h>
#include <linux/capability.h>
#include <malloc.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#define NOBODY 65534
#define WORKER_FILES 128
#define WORKER_MEMORY (UINT64_C(2) << 30)

/* The address sanitizer reserves terabytes of address space. */
#ifdef __has_feature
#if __has_feature(address_sanitizer)
#define UNBOUNDED_ADDRESS_SPACE
#endif
#endif
#ifdef __SANITIZE_ADDRESS__
#define UNBOUNDED_ADDRESS_SPACE
#endif

static int drop_ids(void)
{
        if (geteuid() != 0)
                return 0;
        /* Before the ids: needs a capability. Only a second line behind no_new_privs, so no matter if it
         * fails. */
        for (unsigned long capability = 0; prctl(PR_CAPBSET_READ, capability, 0, 0, 0) >= 0; capability++)
                (void)prctl(PR_CAPBSET_DROP, capability, 0, 0, 0);
        if (setgroups(0, NULL) < 0 || setresgid(NOBODY, NOBODY, NOBODY) < 0 ||
            setresuid(NOBODY, NOBODY, NOBODY) < 0)
                return -errno;
        return 0;
}

/* libcap would be another library for these two calls. */
static int drop_capabilities(void)
{
        struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
        struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = {0};

        (void)prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
        if (syscall(SYS_capset, &header, none) < 0)
                return -errno;
        if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
                return -errno;
        return 0;
}

static int limit(__rlimit_resource_t resource, uint64_t most)
{
        struct rlimit l;

        if (getrlimit(resource, &l) < 0)
                return -errno;
        if (l.rlim_max > most)
                l.rlim_max = most;
        if (l.rlim_cur > l.rlim_max)
                l.rlim_cur = l.rlim_max;
        return setrlimit(resource, &l) < 0 ? -errno : 0;
}

static int confine(void)
{
        int r;

        if ((r = drop_ids()) < 0 || (r = drop_capabilities()) < 0 || (r = limit(RLIMIT_CORE, 0)) < 0 ||
            (r = limit(RLIMIT_NOFILE, WORKER_FILES)) < 0)
                return r;
#ifndef UNBOUNDED_ADDRESS_SPACE
        r = limit(RLIMIT_AS, WORKER_MEMORY);
        if (r < 0)
                return r;
#endif
        /* After the ids, whose change clears it. A daemon that died before shows as the end of the socket. */
        if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0)
                return -errno;
        /* A directory server that hangs up is no reason to die. */
        if (signal(SIGPIPE, SIG_IGN) == SIG_ERR)
                return -errno;
        return 0;
}

/* 1, 0 at the end, -errno. */
static int read_all(int fd, void *to, size_t size)
{
        char *at = to;

        while (size > 0) {
                ssize_t n = recv(fd, at, size, MSG_WAITALL);

                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0)
                        return -errno;
                if (n == 0)
                        return at == (char *)to ? 0 : -EPIPE;
                at += n;
                size -= (size_t)n;
        }
        return 1;
}

static int write_all(int fd, const void *from, size_t size)
{
        const char *at = from;

        while (size > 0) {
                ssize_t n = send(fd, at, size, MSG_NOSIGNAL);

                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0)
                        return -errno;
                at += n;
                size -= (size_t)n;
        }
        return 0;
}

static int read_request(int fd, struct resolver_request *ret)
{
        _cleanup_free_ char *text = NULL;
        uint32_t size;
        int r;

        r = read_all(fd, &size, sizeof(size));
        if (r <= 0)
                return r;
        if (size > RESOLVER_MESSAGE_MAX)
                return -EBADMSG;
        text = malloc((size_t)size + 1);
        if (!text)
                return -ENOMEM;
        r = read_all(fd, text, size);
        if (r <= 0)
                return r < 0 ? r : -EPIPE;
        r = resolver_request_parse(text, size, ret);
        return r < 0 ? r : 1;
}

static int answer_members(const struct resolver_request *request, FILE *f)
{
        _cleanup_membership_ struct membership m = {0};
        int r;

        r = resolver_find_members(request, &m);
        if (r < 0)
                return r;
        return membership_write(&m, f);
}

static int answer_names(const struct resolver_request *request, FILE *f)
{
        char **names = calloc(request->n_uids + 1, sizeof(*names));
        int r;

        if (!names)
                return -ENOMEM;
        r = resolver_find_names(request->uids, request->n_uids, names);
        if (r == 0)
                resolver_write_names(names, request->n_uids, f);
        resolver_names_free(names, request->n_uids);
        return r;
}

static int write_answer(const struct resolver_request *request, char **ret, size_t *ret_size)
{
        FILE *f = open_memstream(ret, ret_size);
        bool failed;
        int r;

        if (!f)
                return -ENOMEM;
        r = request->wants_names ? answer_names(request, f) : answer_members(request, f);
        failed = ferror(f) != 0;
        if (fclose(f) != 0 || failed)
                return r < 0 ? r : -ENOMEM;
        return r;
}

/* Serves one request. 1, 0 when the daemon has closed its end, -errno. */
static int serve(int fd)
{
        _cleanup_resolver_request_ struct resolver_request request = {0};
        _cleanup_free_ char *text = NULL;
        size_t size = 0;
        uint32_t header;
        int r;

        r = read_request(fd, &request);
        if (r <= 0)
                return r;
        r = write_answer(&request, &text, &size);
        if (r < 0)
                return r;
        if (size > RESOLVER_MESSAGE_MAX)
                return -EMSGSIZE;
        header = (uint32_t)size;
        r = write_all(fd, &header, sizeof(header));
        if (r < 0)
                return r;
        r = write_all(fd, text, size);
        return r < 0 ? r : 1;
}

int resolver_worker_run(int fd)
{
        int r;

        r = confine();
        if (r < 0) {
                fprintf(stderr, "The resolver process cannot give up its privileges: %s\n", strerror(-r));
                return EXIT_FAILURE;
        }
        while ((r = serve(fd)) > 0)
                malloc_trim(0); /* what a big group took is not kept until the next one */
        if (r < 0)
                fprintf(stderr, "The resolver process gives up: %s\n", strerror(-r));
        return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
