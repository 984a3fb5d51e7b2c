/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "notifier.h"
#include "datagram.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <systemd/sd-daemon.h>

#define RETRY_USEC (250 * 1000)

struct notifier {
        char *path; /* NULL: there is no service manager */
        sd_event_source *retry, *watchdog;
        uint64_t interval; /* of the watchdog */
        /* what it has not taken yet: */
        bool ready, stopping, alive;
        char *status;
        int error;
        int kept; /* or -1 */
        const char *kept_name;
};

/* Should it die, the tables still have their owner, and nobody can touch them until the next daemon has come.
 * (The service manager would give up a socket with an error pending, unless told not to look: FDPOLL.) */
static int tell_kept(struct notifier *n)
{
        char text[96];
        int length = snprintf(text, sizeof(text), "FDSTORE=1\nFDPOLL=0\nFDNAME=%s\n", n->kept_name);
        int r = datagram_send(n->path, &(struct iovec){text, (size_t)length}, 1, n->kept);

        if (r != -EAGAIN)
                n->kept = -1;
        return r;
}

static int tell_words(struct notifier *n)
{
        _cleanup_free_ char *text = NULL;
        char error[32] = "";
        int r;

        if (n->error > 0)
                (void)snprintf(error, sizeof(error), "ERRNO=%d\n", n->error);
        r = asprintf(&text, "%s%s%s%s%s%s%s", n->ready ? "READY=1\n" : "", n->stopping ? "STOPPING=1\n" : "",
                     n->alive ? "WATCHDOG=1\n" : "", error, n->status ? "STATUS=" : "",
                     n->status ? n->status : "", n->status ? "\n" : "");
        if (r < 0) {
                text = NULL;
                return -ENOMEM;
        }
        r = r > 0 ? datagram_send(n->path, &(struct iovec){text, (size_t)r}, 1, -1) : 0;
        if (r < 0)
                return r;
        n->ready = n->stopping = n->alive = false;
        n->error = 0;
        free(TAKE_PTR(n->status));
        return 0;
}

/* 0, or -errno: some of it has to wait. */
static int tell(struct notifier *n)
{
        int r = n->kept >= 0 ? tell_kept(n) : 0;

        if (n->kept < 0 && r >= 0)
                r = tell_words(n);
        (void)sd_event_source_set_time_relative(n->retry, RETRY_USEC);
        (void)sd_event_source_set_enabled(n->retry, r < 0 ? SD_EVENT_ON : SD_EVENT_OFF);
        return r;
}

static int on_retry(sd_event_source *source, uint64_t usec, void *userdata)
{
        (void)source;
        (void)usec;
        (void)tell(userdata);
        return 0;
}

static int on_watchdog(sd_event_source *source, uint64_t usec, void *userdata)
{
        struct notifier *n = userdata;
        int r;

        (void)usec;
        n->alive = true;
        (void)tell(n);
        r = sd_event_source_set_time_relative(source, n->interval);
        return r < 0 ? r : sd_event_source_set_enabled(source, SD_EVENT_ON);
}

int notifier_new(sd_event *event, struct notifier **ret)
{
        _cleanup_(notifier_freep) struct notifier *n = calloc(1, sizeof(*n));
        const char *path = getenv("NOTIFY_SOCKET");
        uint64_t patience = 0;
        int r = 0;

        if (!n)
                return -ENOMEM;
        n->kept = -1;
        if (path && (path[0] == '/' || path[0] == '@')) {
                n->path = strdup(path);
                if (!n->path)
                        return -ENOMEM;
                r = sd_event_add_time_relative(event, &n->retry, CLOCK_MONOTONIC, RETRY_USEC, 10 * 1000,
                                               on_retry, n);
                if (r >= 0)
                        r = sd_event_source_set_enabled(n->retry, SD_EVENT_OFF);
                if (r >= 0 && sd_watchdog_enabled(0, &patience) > 0) {
                        n->interval = patience / 3;
                        r = sd_event_add_time_relative(event, &n->watchdog, CLOCK_MONOTONIC, 0,
                                                       n->interval / 4, on_watchdog, n);
                }
        }
        if (r < 0)
                return r;
        *ret = TAKE_PTR(n);
        return 0;
}

struct notifier *notifier_free(struct notifier *n)
{
        if (!n)
                return NULL;
        sd_event_source_disable_unref(n->retry);
        sd_event_source_disable_unref(n->watchdog);
        free(n->path);
        free(n->status);
        free(n);
        return NULL;
}

void notifier_ready(struct notifier *n)
{
        if (!n || !n->path)
                return;
        n->ready = true;
        (void)tell(n);
}

void notifier_stopping(struct notifier *n)
{
        if (!n || !n->path)
                return;
        n->stopping = true;
        (void)tell(n);
}

void notifier_status(struct notifier *n, const char *text)
{
        char *copy = n && n->path ? strdup(text) : NULL;

        if (!copy)
                return;
        free(n->status);
        n->status = copy;
        (void)tell(n);
}

void notifier_error(struct notifier *n, int error)
{
        if (!n || !n->path)
                return;
        n->error = error < 0 ? -error : error;
        (void)tell(n);
}

int notifier_keep(struct notifier *n, int fd, const char *name)
{
        int r;

        if (!n || !n->path)
                return 0;
        n->kept = fd;
        n->kept_name = name;
        r = tell(n);
        return r == -EAGAIN ? 0 : r;
}
