// SPDX-License-Identifier: GPL-2.0-or-later
#include "resolver-internal.h"
#include <errno.h>
#include <malloc.h>
#include <string.h>
#include <sys/socket.h>

static const struct worker_limits limits = {
        .files = 128,
        .memory = UINT64_C(1) << 30, /* a million members take 200 MiB */
        .processor = 60,             /* the next request goes to another one then */
        .oom_score = 1000,
};

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
        if (size > WORKER_MESSAGE_MAX)
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

static int answer_person(const struct resolver_request *request, FILE *f)
{
        _cleanup_person_ struct person p = {0};
        int r;

        r = resolver_find_person(request->users.items[0].text, &p);
        if (r < 0)
                return r;
        return person_write(&p, f);
}

static int write_answer(const struct resolver_request *request, char **ret, size_t *ret_size)
{
        FILE *f = open_memstream(ret, ret_size);
        bool failed;
        int r;

        if (!f)
                return -ENOMEM;
        r = request->wants_names    ? answer_names(request, f)
            : request->wants_person ? answer_person(request, f)
                                    : answer_members(request, f);
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
        if (size > WORKER_MESSAGE_MAX)
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

        r = worker_confine(&limits);
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
