/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "background.h"
#include "cleanup.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>

struct background {
        pthread_t thread;
        int ended; /* an eventfd */
        background_t work, done;
        void *material, *userdata;
        sd_event_source *source;
};

static void *work(void *argument)
{
        const struct background *b = argument;

        b->work(b->material);
        (void)eventfd_write(b->ended, 1);
        return NULL;
}

static int on_ended(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
        struct background *b = userdata;

        (void)source;
        (void)fd;
        (void)events;
        b->done(b->userdata); /* ends B */
        return 0;
}

/* With all signals blocked, as the thread is to have them from its beginning. */
static int start_thread(struct background *b)
{
        sigset_t all, before;
        int r;

        sigfillset(&all);
        r = pthread_sigmask(SIG_SETMASK, &all, &before);
        if (r != 0)
                return -r;
        r = pthread_create(&b->thread, NULL, work, b);
        (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
        return -r;
}

static void release(struct background *b)
{
        sd_event_source_disable_unref(b->source);
        closep(&b->ended);
        free(b);
}

DEFINE_CLEANUP(struct background *, release)

int background_begin(sd_event *event, int64_t priority, background_t work_, void *material, background_t done,
                     void *userdata, struct background **ret)
{
        _cleanup_(releasep) struct background *b = calloc(1, sizeof(*b));
        int r;

        if (!b)
                return -ENOMEM;
        b->work = work_;
        b->material = material;
        b->done = done;
        b->userdata = userdata;
        b->ended = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        if (b->ended < 0)
                return -errno;
        r = sd_event_add_io(event, &b->source, b->ended, EPOLLIN, on_ended, b);
        if (r >= 0)
                r = sd_event_source_set_priority(b->source, priority);
        if (r >= 0)
                r = start_thread(b);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(b);
        return 0;
}

struct background *background_end(struct background *b)
{
        if (b) {
                (void)pthread_join(b->thread, NULL);
                release(b);
        }
        return NULL;
}
