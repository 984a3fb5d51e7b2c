/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "watch.h"
#include "cleanup.h"
#include "timespan.h"

#include <errno.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <time.h>

static const char *const account_files[] = {"passwd", "group", "subuid", "subgid", "nsswitch.conf"};

/* Changes that come within this time of each other are one. */
#define SETTLE_USEC (20 * UINT64_C(1000))

struct watch {
        sd_event *event;
        sd_event_source *directory;
        sd_event_source *files[ELEMENTSOF(
                account_files)]; /* written in place, or mounted over: the directory is not told */
        sd_event_source *settle;
        watch_changed_t callback;
        void *userdata;
};

static void account_path(size_t i, char *buf, size_t size)
{
        (void)snprintf(buf, size, "/etc/%s", account_files[i]);
}

static int on_file(sd_event_source *source, const struct inotify_event *event, void *userdata);

/* (Re)places the watch on one file: after a rename() the name is another inode. */
static void watch_file(struct watch *w, size_t i)
{
        char path[64];

        account_path(i, path, sizeof(path));
        w->files[i] = sd_event_source_disable_unref(w->files[i]);
        (void)sd_event_add_inotify(w->event, &w->files[i], path, IN_CLOSE_WRITE | IN_MODIFY | IN_ATTRIB,
                                   on_file, w);
}

static int on_settled(sd_event_source *source, uint64_t usec, void *userdata)
{
        struct watch *w = userdata;

        (void)source;
        (void)usec;
        for (size_t i = 0; i < ELEMENTSOF(account_files); i++)
                watch_file(w, i);
        w->callback(w->userdata);
        return 0;
}

static void changed(struct watch *w)
{
        if (w->settle) {
                int enabled = SD_EVENT_OFF;

                (void)sd_event_source_get_enabled(w->settle, &enabled);
                if (enabled != SD_EVENT_OFF)
                        return; /* already counting: a writer that never stops must not put it off for ever */
                (void)sd_event_source_set_time_relative(w->settle, SETTLE_USEC);
                (void)sd_event_source_set_enabled(w->settle, SD_EVENT_ONESHOT);
                return;
        }
        (void)sd_event_add_time_relative(w->event, &w->settle, CLOCK_MONOTONIC, SETTLE_USEC, 1000, on_settled,
                                         w);
}

static int on_file(sd_event_source *source, const struct inotify_event *event, void *userdata)
{
        (void)source;
        if (!(event->mask & IN_IGNORED))
                changed(userdata);
        return 0;
}

static int on_directory(sd_event_source *source, const struct inotify_event *event, void *userdata)
{
        (void)source;
        if (event->mask & IN_Q_OVERFLOW) {
                changed(userdata);
                return 0;
        }
        for (size_t i = 0; i < ELEMENTSOF(account_files); i++)
                if (event->len > 0 && strcmp(event->name, account_files[i]) == 0)
                        changed(userdata);
        return 0;
}

int watch_new(sd_event *event, watch_changed_t callback, void *userdata, struct watch **ret)
{
        struct watch *w = calloc(1, sizeof(*w));
        int r;

        if (!w)
                return -ENOMEM;
        w->event = sd_event_ref(event);
        w->callback = callback;
        w->userdata = userdata;
        r = sd_event_add_inotify(event, &w->directory, "/etc",
                                 IN_CLOSE_WRITE | IN_MOVED_TO | IN_CREATE | IN_DELETE, on_directory, w);
        if (r < 0) {
                watch_free(w);
                return r;
        }
        for (size_t i = 0; i < ELEMENTSOF(account_files); i++)
                watch_file(w, i);
        *ret = w;
        return 0;
}

struct watch *watch_free(struct watch *w)
{
        if (!w)
                return NULL;
        sd_event_source_disable_unref(w->directory);
        sd_event_source_disable_unref(w->settle);
        for (size_t i = 0; i < ELEMENTSOF(account_files); i++)
                sd_event_source_disable_unref(w->files[i]);
        sd_event_unref(w->event);
        free(w);
        return NULL;
}

static uint64_t mix(uint64_t hash, uint64_t value)
{
        /* FNV-1a's step on whole words: collisions only cost one needless or one late refresh */
        return (hash ^ value) * UINT64_C(0x100000001b3);
}

uint64_t watch_fingerprint(void)
{
        uint64_t hash = UINT64_C(0xcbf29ce484222325);

        for (size_t i = 0; i < ELEMENTSOF(account_files); i++) {
                struct stat st = {0};
                char path[64];

                account_path(i, path, sizeof(path));
                (void)stat(path, &st); /* an absent file is all zeros */
                hash = mix(hash, st.st_dev);
                hash = mix(hash, st.st_ino);
                hash = mix(hash, (uint64_t)st.st_size);
                hash = mix(hash, (uint64_t)st.st_mtim.tv_sec);
                hash = mix(hash, (uint64_t)st.st_mtim.tv_nsec);
                hash = mix(hash, (uint64_t)st.st_ctim.tv_sec);
                hash = mix(hash, (uint64_t)st.st_ctim.tv_nsec);
        }
        return hash;
}
