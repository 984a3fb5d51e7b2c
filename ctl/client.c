/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "client.h"
#include "arguments.h"
#include "cleanup.h"
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <time.h>

const char *client_socket_path(const char *given)
{
        const char *environment = secure_getenv(LOCKDOWN_SOCKET_ENV);

        if (given)
                return given;
        return environment && *environment ? environment : LOCKDOWN_SOCKET_PATH;
}

/* What is said around the path. */
static const struct {
        int error;
        const char *before, *behind;
} sentences[] = {
        {-ENOENT, "lockdownd is not running (no socket at ", "): systemctl start lockdownd"},
        {-ENOTDIR, "lockdownd is not running (no socket at ", "): systemctl start lockdownd"},
        {-ECONNREFUSED, "lockdownd is not running (nobody listens at ", "): systemctl start lockdownd"},
        {-EACCES, "not permitted to open lockdownd's socket at ", ": run lockdownctl as root"},
        {-EPERM, "not permitted to open lockdownd's socket at ", ": run lockdownctl as root"},
        {-EAGAIN, "lockdownd takes no new connections at ", ": see journalctl -u lockdownd"},
        {-ENAMETOOLONG, "no socket can have a path as long as ", ": give another one with --socket"},
};

static int failed_to_connect(struct failure *f, int error, const char *path)
{
        for (size_t i = 0; i < ELEMENTSOF(sentences); i++)
                if (sentences[i].error == error)
                        return failure_set(f, error, EXIT_UNREACHABLE, ERROR_UNREACHABLE, "%s%s%s",
                                           sentences[i].before, path, sentences[i].behind);
        return failure_set(f, error, EXIT_UNREACHABLE, ERROR_UNREACHABLE,
                           "cannot connect to lockdownd at %s: %s", path, strerror(-error));
}

static int connect_socket(const char *path, int *ret)
{
        struct sockaddr_un address = {.sun_family = AF_UNIX};
        struct timeval limit = {.tv_sec = CLIENT_TIMEOUT_USEC / 1000000};
        _cleanup_close_ int fd = -1;

        if (strlen(path) >= sizeof(address.sun_path))
                return -ENAMETOOLONG;
        memcpy(address.sun_path, path, strlen(path) + 1);
        fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (fd < 0)
                return -errno;
        /* A full backlog would hold connect() up for ever. */
        if (setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit)) < 0)
                return -errno;
        if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
                return -errno;
        *ret = TAKE_FD(fd);
        return 0;
}

static uint64_t monotonic_usec(void)
{
        struct timespec t;

        clock_gettime(CLOCK_MONOTONIC, &t);
        return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

/* sd_bus_call() would wait for the authentication by a limit of its own, which is longer than ours. */
static int wait_until_ready(sd_bus *bus)
{
        uint64_t deadline = monotonic_usec() + CLIENT_TIMEOUT_USEC;

        for (;;) {
                uint64_t now;
                int r = sd_bus_is_ready(bus);

                if (r != 0)
                        return r < 0 ? r : 0;
                r = sd_bus_process(bus, NULL);
                if (r < 0)
                        return r;
                if (r > 0)
                        continue;
                now = monotonic_usec();
                if (now >= deadline)
                        return -ETIMEDOUT;
                r = sd_bus_wait(bus, deadline - now);
                if (r < 0 && r != -EINTR)
                        return r;
        }
}

static int start_bus(int *fd, sd_bus **ret)
{
        _cleanup_(sd_bus_close_unrefp) sd_bus *bus = NULL;
        int r = sd_bus_new(&bus);

        if (r < 0)
                return r;
        r = sd_bus_set_fd(bus, *fd, *fd);
        if (r < 0)
                return r;
        *fd = -1; /* the bus's now */
        r = sd_bus_set_method_call_timeout(bus, CLIENT_TIMEOUT_USEC);
        if (r < 0)
                return r;
        r = sd_bus_start(bus);
        if (r < 0)
                return r;
        r = wait_until_ready(bus);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(bus);
        return 0;
}

int client_connect(const char *path, sd_bus **ret, struct failure *f)
{
        _cleanup_close_ int fd = -1;
        int r = connect_socket(path, &fd);

        if (r < 0)
                return failed_to_connect(f, r, path);
        r = start_bus(&fd, ret);
        return r < 0 ? failure_from_bus(f, r, NULL, "") : 0;
}

int client_new_call(sd_bus *bus, const char *method, sd_bus_message **ret)
{
        return sd_bus_message_new_method_call(bus, ret, NULL, LOCKDOWN_BUS_PATH, LOCKDOWN_BUS_INTERFACE,
                                              method);
}

int client_call(sd_bus *bus, sd_bus_message *m, json_t **ret, struct failure *f)
{
        _cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *answer = NULL;
        const char *text;
        json_t *document;
        int r;

        r = sd_bus_call(bus, m, CLIENT_TIMEOUT_USEC, &error, &answer);
        if (r >= 0)
                r = sd_bus_message_read(answer, "s", &text);
        if (r < 0)
                return failure_from_bus(f, r, &error, sd_bus_message_get_member(m));
        document = json_loads(text, 0, NULL);
        if (!json_is_object(document)) {
                json_decref(document);
                return failure_set(f, -EBADMSG, EXIT_DAEMON_FAILED, ERROR_FAILED,
                                   "lockdownd's answer is no JSON object: it is of another version than this "
                                   "lockdownctl (" VERSION ")");
        }
        *ret = document;
        return 0;
}

int client_ask(const struct arguments *a, client_request_t request, json_t **ret, struct failure *f)
{
        _cleanup_(sd_bus_flush_close_unrefp) sd_bus *bus = NULL;
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
        int r = client_connect(client_socket_path(a->socket), &bus, f);

        if (r < 0)
                return r;
        r = request(a, bus, &m);
        if (r < 0)
                return failure_from_bus(f, r, NULL, "");
        return client_call(bus, m, ret, f);
}
