// SPDX-License-Identifier: GPL-2.0-or-later
#include "trial-process.h"
#include "words.h"
#include "worker-process.h"
#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>

struct trial_process {
        struct worker_process *process;
        sd_event_source *deadline;
        char question[INET6_ADDRSTRLEN];
        trial_sent_t callback;
        void *userdata;
};

/* The callback may end it: the last thing a handler does. */
static void answer(struct trial_process *p, int error, int sent)
{
        (void)sd_event_source_set_enabled(p->deadline, SD_EVENT_OFF);
        if (error < 0)
                p->process = worker_process_end(p->process);
        p->callback(p->userdata, error, sent);
}

static void on_answer(void *userdata, int error, const char *text, size_t size)
{
        char number[16], *end;
        long sent;

        if (error < 0) {
                answer(userdata, error, 0);
                return;
        }
        (void)snprintf(number, sizeof(number), "%.*s", (int)(size < sizeof(number) ? size : 0), text);
        errno = 0;
        sent = strtol(number, &end, 10);
        if (errno != 0 || end == number || *end || sent < -4095 || sent > 4095)
                answer(userdata, -EBADMSG, 0);
        else /* less than nought: why it could not even begin */
                answer(userdata, sent < 0 ? (int)sent : 0, (int)sent);
}

static int on_deadline(sd_event_source *source, uint64_t usec, void *userdata)
{
        (void)source;
        (void)usec;
        answer(userdata, -ETIME, 0);
        return 0;
}

int trial_process_start(sd_event *event, struct launcher *launcher, uint32_t uid, uint32_t gid,
                        trial_sent_t callback, void *userdata, struct trial_process **ret)
{
        _cleanup_(trial_process_endp) struct trial_process *p = calloc(1, sizeof(*p));
        char uid_text[16], gid_text[16];
        const struct launch what = {.kind = LAUNCH_TRIAL, .arguments = {uid_text, gid_text}};
        int r;

        if (!p)
                return -ENOMEM;
        p->callback = callback;
        p->userdata = userdata;
        (void)snprintf(uid_text, sizeof(uid_text), "%" PRIu32, uid);
        (void)snprintf(gid_text, sizeof(gid_text), "%" PRIu32, gid);
        r = sd_event_add_time_relative(event, &p->deadline, CLOCK_MONOTONIC, TRIAL_DEADLINE, 10000,
                                       on_deadline, p);
        if (r >= 0)
                r = sd_event_source_set_enabled(p->deadline, SD_EVENT_OFF);
        if (r >= 0)
                r = worker_process_start(event, launcher, &what, on_answer, p, &p->process);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(p);
        return 0;
}

int trial_process_send(struct trial_process *p, const struct trial_datagram *d)
{
        int r;

        if (!p->process)
                return -EPIPE;
        if (!inet_ntop(d->family, d->addr, p->question, sizeof(p->question)))
                return -errno;
        r = sd_event_source_set_time_relative(p->deadline, TRIAL_DEADLINE);
        if (r >= 0)
                r = sd_event_source_set_enabled(p->deadline, SD_EVENT_ONESHOT);
        return r < 0 ? r : worker_process_ask(p->process, p->question, strlen(p->question));
}

struct trial_process *trial_process_end(struct trial_process *p)
{
        if (!p)
                return NULL;
        worker_process_end(p->process);
        sd_event_source_disable_unref(p->deadline);
        free(p);
        return NULL;
}
