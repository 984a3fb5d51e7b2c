/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Two things are watched: logind's lists of users and of sessions (or the place where they will appear), and
 * the directory of the users' control groups, which systemd makes a moment after logind has announced the
 * login. Whatever woke us up, what counts is whether the users or their control groups are others than
 * before. */

#include "sessions.h"
#include "sessions-cgroup.h"
#include "sessions-end.h"
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <systemd/sd-login.h>

/* What logind keeps, under sd_login_monitor_new()'s names. */
enum list {
        LIST_USERS,
        LIST_SESSIONS,
        _LIST_MAX,
};

static const struct {
        const char *category, *directory;
} lists[_LIST_MAX] = {
        [LIST_USERS] = {"uid", "/run/systemd/users"},
        [LIST_SESSIONS] = {"session", "/run/systemd/sessions"},
};

#define DIRECTORY_SIZE sizeof("/run/systemd/sessions")

struct sessions {
        sd_event *event;
        sessions_changed_t callback, session_callback;
        void *userdata, *session_userdata;
        char *cgroup_root; /* NULL: no cgroup2 */

        sd_login_monitor *monitors[_LIST_MAX]; /* NULL: no logind yet */
        sd_event_source *monitor_sources[_LIST_MAX];
        sd_event_source *logind_source; /* waits for it */
        sd_event_source *cgroup_source;
        sd_event_source *settle_source; /* deferred comparison */
        ino_t cgroup_watched;           /* inode of the directory of cgroup_source; 0: none */
        bool told_of_session;           /* since the last comparison */

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
        if (s->told_of_session) {
                s->told_of_session = false;
                if (s->session_callback)
                        s->session_callback(s->session_userdata);
        }
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

        (void)fd;
        (void)events;
        for (enum list i = 0; i < _LIST_MAX; i++)
                if (source == s->monitor_sources[i]) {
                        (void)sd_login_monitor_flush(s->monitors[i]);
                        s->told_of_session |= i == LIST_SESSIONS;
                }
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

static int open_monitor(struct sessions *s, enum list which)
{
        sd_login_monitor *monitor;
        int r;

        r = sd_login_monitor_new(lists[which].category, &monitor);
        if (r < 0)
                return r;
        r = sd_event_add_io(s->event, &s->monitor_sources[which], sd_login_monitor_get_fd(monitor),
                            (uint32_t)sd_login_monitor_get_events(monitor), on_monitor, s);
        if (r < 0) {
                sd_login_monitor_unref(monitor);
                return r;
        }
        s->monitors[which] = monitor;
        s->told_of_session |= which == LIST_SESSIONS; /* of those that began before */
        return 0;
}

/* -ENOENT: at least one list is not there yet. */
static int open_monitors(struct sessions *s)
{
        int r = 0;

        for (enum list i = 0; i < _LIST_MAX; i++)
                if (!s->monitors[i]) {
                        int q = open_monitor(s, i);

                        if (q < 0 && (r == 0 || q != -ENOENT))
                                r = q;
                }
        return r;
}

/* The nearest directory that exists above those lists that do not; "/" always does. */
static void nearest_directory(const struct sessions *s, char path[DIRECTORY_SIZE])
{
        strcpy(path, lists[s->monitors[LIST_USERS] ? LIST_SESSIONS : LIST_USERS].directory);
        do {
                char *slash = strrchr(path, '/');

                slash[slash == path] = '\0'; /* "/run" → "/" */
        } while (strlen(path) > 1 && access(path, F_OK) < 0);
}

/* Waits for something to be made there. What was made between looking and watching sends no event: so look
 * again until nothing has changed. */
static int watch_for_logind(struct sessions *s)
{
        char path[DIRECTORY_SIZE], nearest[DIRECTORY_SIZE];
        int r;

        nearest_directory(s, nearest);
        do {
                strcpy(path, nearest);
                s->logind_source = sd_event_source_disable_unref(s->logind_source);
                r = sd_event_add_inotify(s->event, &s->logind_source, path,
                                         IN_CREATE | IN_MOVED_TO | IN_DELETE_SELF | IN_ONLYDIR, on_directory,
                                         s);
                if (r < 0 && r != -ENOENT)
                        return r;
                r = open_monitors(s);
                nearest_directory(s, nearest);
        } while (r == -ENOENT && strcmp(path, nearest) != 0);
        return r == -ENOENT ? 0 : r;
}

/* The monitors, or a watch for the day they can be had. */
static int watch_logind(struct sessions *s)
{
        int r = open_monitors(s);

        if (r == -ENOENT)
                r = watch_for_logind(s);
        if (s->monitors[LIST_USERS] && s->monitors[LIST_SESSIONS])
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
        s->told_of_session = false;
        *ret = TAKE_PTR(s);
        return 0;
}

void sessions_on_session(struct sessions *s, sessions_changed_t callback, void *userdata)
{
        s->session_callback = callback;
        s->session_userdata = userdata;
}

struct sessions *sessions_free(struct sessions *s)
{
        if (!s)
                return NULL;
        sd_event_source_disable_unref(s->settle_source);
        sd_event_source_disable_unref(s->cgroup_source);
        sd_event_source_disable_unref(s->logind_source);
        for (enum list i = 0; i < _LIST_MAX; i++) {
                sd_event_source_disable_unref(s->monitor_sources[i]);
                sd_login_monitor_unref(s->monitors[i]);
        }
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

/* ---- sessions from elsewhere ---- */

void remote_sessions_free(struct remote_session *list, size_t n)
{
        for (size_t i = 0; i < n; i++) {
                free(list[i].id);
                free(list[i].host);
        }
        free(list);
}

/* Whoever logged in is gone, and only what they left running keeps the session: that holds no connection from
 * elsewhere, and they may use it from here by now. In doubt it is a login. */
static bool is_over(const struct sessions *s, const char *id, uint32_t uid)
{
        _cleanup_free_ uint64_t *pids = NULL;
        _cleanup_free_ char *state = NULL;
        size_t n;

        return s->cgroup_root && sd_session_get_state(id, &state) >= 0 && strcmp(state, "closing") == 0 &&
               cgroup_session_pids(s->cgroup_root, uid, id, &pids, &n) >= 0 && !session_has_login(pids, n);
}

/* Takes ID over. A session that ends under our eyes is none any more: no error. */
static int add_remote(const struct sessions *s, char *id, struct remote_session *list, size_t *n)
{
        _cleanup_free_ char *owned = id;
        struct remote_session session = {.id = id};
        uid_t uid;
        int r = sd_session_is_remote(id);

        if (r > 0)
                r = sd_session_get_uid(id, &uid);
        else if (r == 0)
                return 0;
        if (r == -ENOMEM)
                return r;
        if (r < 0 || is_over(s, id, uid))
                return 0;
        session.uid = uid;
        r = sd_session_get_remote_host(id, &session.host);
        if (r == -ENOMEM)
                return r;
        TAKE_PTR(owned);
        list[(*n)++] = session;
        return 0;
}

static int compare_sessions(const void *a, const void *b)
{
        return strcmp(((const struct remote_session *)a)->id, ((const struct remote_session *)b)->id);
}

int sessions_remote(struct sessions *s, struct remote_session **ret, size_t *ret_n)
{
        _cleanup_free_ char **ids = NULL;
        struct remote_session *list;
        size_t n = 0;
        int all, r = 0;

        all = sd_get_sessions(&ids);
        if (all == -ENOENT)
                all = 0;
        if (all < 0)
                return all;
        list = calloc((size_t)all + 1, sizeof(*list));
        for (int i = 0; i < all; i++) {
                if (list && r >= 0)
                        r = add_remote(s, ids[i], list, &n);
                else
                        free(ids[i]);
        }
        if (!list || r < 0) {
                remote_sessions_free(list, n);
                return list ? r : -ENOMEM;
        }
        qsort(list, n, sizeof(*list), compare_sessions);
        *ret = list;
        *ret_n = n;
        return 0;
}

int sessions_of_process(struct sessions *s, pid_t pid, char **ret_id)
{
        int r;

        (void)s;
        r = pid > 0 ? sd_pid_get_session(pid, ret_id) : -ENODATA;
        return r == -ESRCH || r == -ENOENT || r == -ENXIO ? -ENODATA : r < 0 ? r : 0;
}

int sessions_end(struct sessions *s, const struct remote_session *session, size_t *ret_n)
{
        _cleanup_free_ uint64_t *pids = NULL;
        size_t n = 0;
        int r;

        if (!s->cgroup_root)
                return -EOPNOTSUPP;
        r = cgroup_session_pids(s->cgroup_root, session->uid, session->id, &pids, &n);
        return r < 0 ? r : session_kill(session->uid, session->id, pids, n, ret_n);
}
