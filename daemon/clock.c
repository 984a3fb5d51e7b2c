/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "clock.h"
#include "timespan.h"

#include <errno.h>
#include <string.h>
#include <sys/timerfd.h>
#include <sys/timex.h>
#include <systemd/sd-id128.h>
#include <time.h>

struct clock_watch {
        int fd;
        sd_event_source *source;
        clock_stepped_t callback;
        void *userdata;
};

static uint64_t read_clock(clockid_t id)
{
        struct timespec ts = {0};

        (void)clock_gettime(id, &ts); /* cannot fail for these clocks */
        return (uint64_t)ts.tv_sec * USEC_PER_SEC + (uint64_t)ts.tv_nsec / 1000;
}

/* What an NTP or PTP daemon told the kernel, which takes it back when it has heard nothing for hours. */
static bool is_synchronized(void)
{
        struct timex t = {0}; /* changes nothing */

        return adjtimex(&t) >= 0 && !(t.status & STA_UNSYNC);
}

uint64_t clock_monotonic(void)
{
        return read_clock(CLOCK_MONOTONIC);
}

void clock_now(struct now *ret)
{
        sd_id128_t boot = SD_ID128_NULL;

        (void)sd_id128_get_boot(&boot);
        ret->realtime = read_clock(CLOCK_REALTIME);
        ret->boottime = read_clock(CLOCK_BOOTTIME);
        sd_id128_to_string(boot, ret->boot_id);
        ret->synchronized = is_synchronized();
}

/* A timer that never fires but is cancelled (ECANCELED on read) when the clock is set. */
static int arm(int fd)
{
        const struct itimerspec never = {.it_value.tv_sec = INT64_MAX / 4};

        if (timerfd_settime(fd, TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET, &never, NULL) < 0)
                return -errno;
        return 0;
}

static int on_step(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
        struct clock_watch *w = userdata;
        uint64_t ticks;

        (void)source;
        (void)revents;
        if (read(fd, &ticks, sizeof(ticks)) < 0 && errno == EAGAIN)
                return 0;
        (void)arm(fd);
        w->callback(w->userdata);
        return 0;
}

int clock_watch_new(sd_event *event, clock_stepped_t callback, void *userdata, struct clock_watch **ret)
{
        struct clock_watch *w = calloc(1, sizeof(*w));
        int r;

        if (!w)
                return -ENOMEM;
        w->callback = callback;
        w->userdata = userdata;
        w->fd = timerfd_create(CLOCK_REALTIME, TFD_NONBLOCK | TFD_CLOEXEC);
        r = w->fd < 0 ? -errno : arm(w->fd);
        if (r >= 0)
                r = sd_event_add_io(event, &w->source, w->fd, EPOLLIN, on_step, w);
        if (r < 0) {
                clock_watch_free(w);
                return r;
        }
        *ret = w;
        return 0;
}

struct clock_watch *clock_watch_free(struct clock_watch *w)
{
        if (!w)
                return NULL;
        sd_event_source_disable_unref(w->source);
        if (w->fd >= 0)
                close(w->fd);
        free(w);
        return NULL;
}
