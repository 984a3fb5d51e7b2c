/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Two things are watched: logind's list of users (or the place where it will appear), and the directory of
 * the users' control groups, which systemd makes a moment after logind has announced the login. Whatever woke
 * us up, what counts is whether the users or their control groups are others than before. */

#include "sessions.h"
#include "sessions-cgroup.h"
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <systemd/sd-login.h>

#define LOGIND_DIR "/run/systemd/users"

struct sessions {
        sd_event *event;
        sessions_changed_t callback;
        void *userdata;
        char *cgroup_root; /* NULL: no cgroup2 */

        sd_login_monitor *monitor; /* NULL: no logind yet */
        sd_event_source *monitor_source;
        sd_event_source *logind_source; /* waits for it */
        sd_event_source *cgroup_source;
        sd_event_source *settle_source; /* deferred comparison */
        ino_t cgroup_watched;           /* inode of the directory of cgroup_source; 0: none */

        struct idset users, slices; /* as the callback knows them */
};

static int watch_logind(struct sessions *s);
static int watch_cgroups(struct sessions *s);

/* ---- has anything changed? ---- */

/* uids of all user-UID.slice, whoever they are. */
static int list_slices(const struct sessions *s, struct idset *ret)
{
        char path[PATH_MAX];
        const struct dirent *e;
        uint32_t uid;
        DIR *d;
        int r = 0;

        if (!s->cgroup_root)
                return 0;
        snprintf(path, sizeof(path), "%s/user.slice", s->cgroup_root);
        d = opendir(path);
        if (!d)
                return errno == ENOENT ? 0 : -errno;
        while (r == 0 && (e = readdir(d)))
                if (cgroup_parse_slice(e->d_name, &uid))
                        r = idset_append(ret, uid, uid);
        closedir(d);
        idset_normalize(ret);
        return r;
}

static int list_users(struct sessions *s, struct idset *ret)
{
        _cleanup_free_ uint32_t *uids = NULL;
        size_t n = 0;
        int r;

        r = sessions_uids(s, &uids, &n);
        for (size_t i = 0; r == 0 && i < n; i++)
                r = idset_append(ret, uids[i], uids[i]);
        idset_normalize(ret);
        return r;
}

/* Replaces OLD by NEW; did they differ? */
static bool take_over(struct idset *old, struct idset *new)
{
        bool same = idset_equal(old, new);

        idset_clear(old);
        *old = *new;
        *new = (struct idset){0};
        return !same;
}

static bool changed(struct sessions *s)
{
        _cleanup_idset_ struct idset users = {0}, slices = {0};
        bool differ;

        if (list_users(s, &users) < 0 || list_slices(s, &slices) < 0)
                return true; /* not known: better once too often */
        differ = take_over(&s->users, &users);
        return take_over(&s->slices, &slices) || differ;
}

/* Once for a burst of events, and after all of them. */
static int on_settled(sd_event_source *source, void *userdata)
{
        struct sessions *s = userdata;

        (void)source;
        (void)watch_cgroups(s);
        (void)watch_logind(s);
        if (changed(s))
                s->callback(s->userdata);
        return 0;
}

static void look_again(struct sessions *s)
{
        (void)sd_event_source_set_enabled(s->settle_source, SD_EVENT_ONESHOT);
}

/* ---- logind ---- */

static int on_monitor(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
        struct sessions *s = userdata;

        (void)source;
        (void)fd;
        (void)events;
        (void)sd_login_monitor_flush(s->monitor);
        look_again(s);
        return 0;
}

static int on_directory(sd_event_source *source, const struct inotify_event *event, void *userdata)
{
        (void)source;
        (void)event;
        look_again(userdata);
        return 0;
}

static int open_monitor(struct sessions *s)
{
        sd_login_monitor *monitor;
        int r;

        r = sd_login_monitor_new("uid", &monitor);
        if (r < 0)
                return r;
        r = sd_event_add_io(s->event, &s->monitor_source, sd_login_monitor_get_fd(monitor),
                            (uint32_t)sd_login_monitor_get_events(monitor), on_monitor, s);
        if (r < 0) {
                sd_login_monitor_unref(monitor);
                return r;
        }
        s->monitor = monitor;
        return 0;
}

/* The nearest directory above LOGIND_DIR that exists; "/" always does. */
static void nearest_directory(char path[sizeof(LOGIND_DIR)])
{
        strcpy(path, LOGIND_DIR);
        do {
                char *slash = strrchr(path, '/');

                slash[slash == path] = '\0'; /* "/run" → "/" */
        } while (strlen(path) > 1 && access(path, F_OK) < 0);
}

/* Waits for something to be made there. What was made between looking and watching sends no event: so look
 * again until nothing has changed. */
static int watch_for_logind(struct sessions *s)
{
        char path[sizeof(LOGIND_DIR)], nearest[sizeof(LOGIND_DIR)];
        int r;

        nearest_directory(nearest);
        do {
                strcpy(path, nearest);
                s->logind_source = sd_event_source_disable_unref(s->logind_source);
                r = sd_event_add_inotify(s->event, &s->logind_source, path,
                                         IN_CREATE | IN_MOVED_TO | IN_DELETE_SELF | IN_ONLYDIR, on_directory,
                                         s);
                if (r < 0 && r != -ENOENT)
                        return r;
                r = open_monitor(s);
                nearest_directory(nearest);
        } while (r == -ENOENT && strcmp(path, nearest) != 0);
        return r == -ENOENT ? 0 : r;
}

/* The monitor, or a watch for the day it can be had. */
static int watch_logind(struct sessions *s)
{
        int r = s->monitor ? 0 : open_monitor(s);

        if (r == -ENOENT)
                r = watch_for_logind(s);
        if (s->monitor)
                s->logind_source = sd_event_source_disable_unref(s->logind_source);
        return r;
}

/* ---- control groups ---- */

static int on_cgroup_directory(sd_event_source *source, const struct inotify_event *event, void *userdata)
{
        struct sessions *s = userdata;

        (void)source;
        if (event->mask & (IN_DELETE_SELF | IN_IGNORED | IN_UNMOUNT))
                s->cgroup_watched = 0;
        look_again(s);
        return 0;
}

static int watch_directory(struct sessions *s, const char *path)
{
        const uint32_t mask = IN_CREATE | IN_DELETE | IN_MOVED_TO | IN_DELETE_SELF | IN_ONLYDIR;
        sd_event_source *source = NULL;
        struct stat st;
        int r;

        if (stat(path, &st) < 0)
                return -errno;
        if (st.st_ino == s->cgroup_watched)
                return 0;
        r = sd_event_add_inotify(s->event, &source, path, mask, on_cgroup_directory, s);
        if (r < 0)
                return r;
        sd_event_source_disable_unref(s->cgroup_source);
        s->cgroup_source = source;
        s->cgroup_watched = st.st_ino;
        return 0;
}

/* user.slice, or the root until there is one. */
static int watch_cgroups(struct sessions *s)
{
        char path[PATH_MAX];
        int r;

        if (!s->cgroup_root)
                return 0;
        snprintf(path, sizeof(path), "%s/user.slice", s->cgroup_root);
        r = watch_directory(s, path);
        if (r != -ENOENT)
                return r;
        r = watch_directory(s, s->cgroup_root);
        return r < 0 ? r : watch_directory(s, path) == 0 ? 0 : r; /* made in between? */
}

/* ---- life ---- */

static int find_root(struct sessions *s, const char *cgroup_root)
{
        int r;

        if (cgroup_root) {
                s->cgroup_root = strdup(cgroup_root);
                return s->cgroup_root ? 0 : -ENOMEM;
        }
        r = cgroup_find_root("/proc/self/mounts", &s->cgroup_root);
        return r == -ENOENT ? 0 : r;
}

int sessions_new(sd_event *event, const char *cgroup_root, sessions_changed_t callback, void *userdata,
                 struct sessions **ret)
{
        _cleanup_(sessions_freep) struct sessions *s = calloc(1, sizeof(*s));
        int r;

        if (!s)
                return -ENOMEM;
        s->event = sd_event_ref(event);
        s->callback = callback;
        s->userdata = userdata;
        if ((r = find_root(s, cgroup_root)) < 0 ||
            (r = sd_event_add_defer(event, &s->settle_source, on_settled, s)) < 0 ||
            (r = sd_event_source_set_enabled(s->settle_source, SD_EVENT_OFF)) < 0 ||
            /* after the watches have been read, so that a burst is one change */
            (r = sd_event_source_set_priority(s->settle_source, SD_EVENT_PRIORITY_NORMAL + 1)) < 0 ||
            (r = watch_logind(s)) < 0 || (r = watch_cgroups(s)) < 0)
                return r;
        (void)changed(s); /* from here on */
        *ret = TAKE_PTR(s);
        return 0;
}

struct sessions *sessions_free(struct sessions *s)
{
        if (!s)
                return NULL;
        sd_event_source_disable_unref(s->settle_source);
        sd_event_source_disable_unref(s->cgroup_source);
        sd_event_source_disable_unref(s->logind_source);
        sd_event_source_disable_unref(s->monitor_source);
        sd_login_monitor_unref(s->monitor);
        sd_event_unref(s->event);
        idset_clear(&s->users);
        idset_clear(&s->slices);
        free(s->cgroup_root);
        free(s);
        return NULL;
}

/* ---- questions ---- */

static int compare_uids(const void *a, const void *b)
{
        uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

        return (x > y) - (x < y);
}

int sessions_uids(struct sessions *s, uint32_t **ret, size_t *ret_n)
{
        uid_t *uids = NULL;
        int n;

        (void)s;
        n = sd_get_uids(&uids);
        if (n == -ENOENT)
                n = 0;
        if (n < 0)
                return n;
        if (n > 0)
                qsort(uids, (size_t)n, sizeof(*uids), compare_uids);
        *ret = uids;
        *ret_n = (size_t)n;
        return 0;
}

int sessions_cgroups(struct sessions *s, const struct idset *uids, uint64_t **ret, size_t *ret_n)
{
        if (s->cgroup_root)
                return cgroup_user_slices(s->cgroup_root, uids, false, ret, ret_n);
        *ret = NULL;
        *ret_n = 0;
        return 0;
}

int sessions_cgroups_below(struct sessions *s, const struct idset *uids, uint64_t **ret, size_t *ret_n)
{
        if (s->cgroup_root)
                return cgroup_user_slices(s->cgroup_root, uids, true, ret, ret_n);
        *ret = NULL;
        *ret_n = 0;
        return 0;
}
