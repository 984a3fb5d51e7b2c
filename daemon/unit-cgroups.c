/* SPDX-License-Identifier: GPL-2.0-or-later */

/* systemd keeps each unit's processes in a directory of the unit's name, in that of its slice: so the slices
 * are searched, and watched. A unit that is restarted gets a new control group, with another id. */

#include "unit-cgroups.h"
#include "sessions-cgroup.h"
#include "unit-patterns.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/inotify.h>

/* Slices lie in slices ("a-b.slice" in "a.slice"); deeper than nftables or the second lock could ask. */
#define DEPTH_MAX 16

struct watched {
        struct units *units;
        char *path; /* of a slice, below the root; "": the root */
        sd_event_source *source;
        bool gone;
};

struct units {
        sd_event *event;
        units_changed_t callback;
        void *userdata;
        char *root;             /* NULL: no cgroup2 */
        sd_event_source *later; /* deferred: one call for a burst of events */
        struct watched **watched;
        size_t n_watched;
        int watch_error; /* the last search could not watch all it looked at */
};

/* ---- watching ---- */

static void watched_free(struct watched *w)
{
        sd_event_source_disable_unref(w->source);
        free(w->path);
        free(w);
}

static void drop_gone(struct units *u)
{
        size_t kept = 0;

        for (size_t i = 0; i < u->n_watched; i++)
                if (u->watched[i]->gone)
                        watched_free(u->watched[i]);
                else
                        u->watched[kept++] = u->watched[i];
        u->n_watched = kept;
}

static int on_later(sd_event_source *source, void *userdata)
{
        struct units *u = userdata;

        (void)source;
        drop_gone(u);
        u->callback(u->userdata);
        return 0;
}

static int on_directory(sd_event_source *source, const struct inotify_event *event, void *userdata)
{
        struct watched *w = userdata;

        (void)source;
        if (event->mask & (IN_DELETE_SELF | IN_IGNORED | IN_UNMOUNT))
                w->gone = true;
        (void)sd_event_source_set_enabled(w->units->later, SD_EVENT_ONESHOT);
        return 0;
}

static bool is_watched(const struct units *u, const char *path)
{
        for (size_t i = 0; i < u->n_watched; i++)
                if (!u->watched[i]->gone && strcmp(u->watched[i]->path, path) == 0)
                        return true;
        return false;
}

/* FULL is PATH below the root. */
static int watch(struct units *u, const char *path, const char *full)
{
        const uint32_t mask = IN_CREATE | IN_DELETE | IN_MOVED_TO | IN_DELETE_SELF | IN_ONLYDIR;
        struct watched **more, *w;
        int r = -ENOMEM;

        if (is_watched(u, path))
                return 0;
        more = reallocarray(u->watched, u->n_watched + 1, sizeof(struct watched *));
        if (!more)
                return -ENOMEM;
        u->watched = more;
        w = calloc(1, sizeof(*w));
        if (!w)
                return -ENOMEM;
        w->units = u;
        w->path = strdup(path);
        if (w->path)
                r = sd_event_add_inotify(u->event, &w->source, full, mask, on_directory, w);
        if (r < 0) {
                watched_free(w);
                return r;
        }
        u->watched[u->n_watched++] = w;
        return 0;
}

/* ---- searching ---- */

struct search {
        struct units *units;
        const struct words *patterns; /* what is meant: by name, */
        const uint64_t *ids;          /* or by id */
        size_t n_ids;
        struct unit_cgroups found;
};

static bool ends_with_slice(const char *name)
{
        size_t length = strlen(name);

        return length > strlen(".slice") && strcmp(name + length - strlen(".slice"), ".slice") == 0;
}

static bool is_meant(const struct search *s, const char *name, uint64_t id)
{
        if (s->patterns)
                return unit_patterns_find(s->patterns, name) != NULL;
        for (size_t i = 0; i < s->n_ids; i++)
                if (s->ids[i] == id)
                        return true;
        return false;
}

static int add_found(struct search *s, uint64_t id, const char *path, unsigned level)
{
        struct unit_cgroup *more, c = {.id = id, .level = level};

        more = reallocarray(s->found.items, s->found.n + 1, sizeof(*more));
        if (!more)
                return -ENOMEM;
        s->found.items = more;
        c.path = strdup(path);
        if (!c.path)
                return -ENOMEM;
        more[s->found.n++] = c;
        return 0;
}

static int search_slice(struct search *s, int fd, const char *path, unsigned depth);

/* NAME, in the slice AT, whose own path is PATH: a unit that is meant, or a slice to look into. */
static int look_at(struct search *s, int at, const char *path, const char *name, unsigned depth)
{
        bool slice = ends_with_slice(name) && strcmp(name, "user.slice") != 0;
        char child[PATH_MAX];
        _cleanup_close_ int fd = -1;
        uint64_t id;
        int r;

        if (!slice && s->patterns && !is_meant(s, name, 0))
                return 0;
        if (snprintf(child, sizeof(child), "%s%s%s", path, *path ? "/" : "", name) >= (int)sizeof(child))
                return 0;
        fd = cgroup_open_child(at, name);
        if (fd < 0)
                return errno == ENOENT || errno == ENODEV ? 0 : -errno;
        r = cgroup_id_of(fd, &id);
        if (r < 0)
                return r;
        if (is_meant(s, name, id))
                return add_found(s, id, child, depth + 1);
        return slice && depth + 1 < DEPTH_MAX ? search_slice(s, TAKE_FD(fd), child, depth + 1) : 0;
}

/* FD is taken over. The watch comes first: what is made while the directory is read is told. */
static int search_slice(struct search *s, int fd, const char *path, unsigned depth)
{
        char full[PATH_MAX];
        const struct dirent *e;
        DIR *d;
        int r;

        if (snprintf(full, sizeof(full), "%s/%s", s->units->root, path) >= (int)sizeof(full)) {
                close(fd);
                return 0;
        }
        r = watch(s->units, path, full);
        if (r < 0 && r != -ENOENT) { /* found all the same */
                s->units->watch_error = r;
                r = 0;
        }
        d = cgroup_open_listing(fd);
        if (!d)
                return -errno;
        while (r >= 0 && (e = readdir(d)))
                if (cgroup_may_be_directory(e))
                        r = look_at(s, dirfd(d), path, e->d_name, depth);
        closedir(d);
        return r == -ENOENT || r == -ENODEV ? 0 : r; /* gone meanwhile: that is told, too */
}

static int compare_found(const void *a, const void *b)
{
        const struct unit_cgroup *x = a, *y = b;

        return (x->id > y->id) - (x->id < y->id);
}

static int find(struct search *s, struct unit_cgroups *ret)
{
        _cleanup_unit_cgroups_ struct unit_cgroups found = {0};
        const struct units *u = s->units;
        int fd, r = 0;

        s->units->watch_error = 0;
        if (u->root) {
                fd = open(u->root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
                r = fd < 0 ? -errno : search_slice(s, fd, "", 0);
        }
        found = s->found;
        if (r < 0)
                return r;
        if (found.n > 1)
                qsort(found.items, found.n, sizeof(*found.items), compare_found);
        unit_cgroups_clear(ret);
        *ret = found;
        found = (struct unit_cgroups){0};
        return 0;
}

int units_find(struct units *u, const struct words *patterns, struct unit_cgroups *ret)
{
        if (patterns->n == 0) {
                unit_cgroups_clear(ret);
                return 0;
        }
        return find(&(struct search){.units = u, .patterns = patterns}, ret);
}

int units_find_ids(struct units *u, const uint64_t *ids, size_t n, struct unit_cgroups *ret)
{
        return find(&(struct search){.units = u, .ids = ids, .n_ids = n}, ret);
}

int units_watch_error(const struct units *u)
{
        return u->watch_error;
}

int units_ids_below(struct units *u, const struct unit_cgroups *cgroups, uint64_t **ids, size_t *n)
{
        struct cgroup_ids all = {.items = *ids, .n = *n, .capacity = *n};
        int r = 0;

        for (size_t i = 0; u->root && r == 0 && i < cgroups->n; i++) {
                char full[PATH_MAX];

                if (snprintf(full, sizeof(full), "%s/%s", u->root, cgroups->items[i].path) <
                    (int)sizeof(full))
                        r = cgroup_add_tree(open(full, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC), true,
                                            &all);
        }
        cgroup_ids_sort(&all);
        *ids = all.items;
        *n = all.n;
        return r;
}

/* ---- results ---- */

bool unit_cgroups_equal(const struct unit_cgroups *a, const struct unit_cgroups *b)
{
        if (a->n != b->n)
                return false;
        for (size_t i = 0; i < a->n; i++)
                if (a->items[i].id != b->items[i].id || strcmp(a->items[i].path, b->items[i].path) != 0)
                        return false;
        return true;
}

const char *unit_cgroup_name(const struct unit_cgroup *c)
{
        const char *slash = strrchr(c->path, '/');

        return slash ? slash + 1 : c->path;
}

void unit_cgroups_clear(struct unit_cgroups *c)
{
        for (size_t i = 0; i < c->n; i++)
                free(c->items[i].path);
        free(c->items);
        *c = (struct unit_cgroups){0};
}

/* ---- life ---- */

static int find_root(struct units *u, const char *cgroup_root)
{
        int r;

        if (cgroup_root) {
                u->root = strdup(cgroup_root);
                return u->root ? 0 : -ENOMEM;
        }
        r = cgroup_find_root("/proc/self/mounts", &u->root);
        return r == -ENOENT ? 0 : r;
}

int units_new(sd_event *event, const char *cgroup_root, units_changed_t callback, void *userdata,
              struct units **ret)
{
        _cleanup_(units_freep) struct units *u = calloc(1, sizeof(*u));
        int r;

        if (!u)
                return -ENOMEM;
        u->event = sd_event_ref(event);
        u->callback = callback;
        u->userdata = userdata;
        if ((r = find_root(u, cgroup_root)) < 0 ||
            (r = sd_event_add_defer(event, &u->later, on_later, u)) < 0 ||
            (r = sd_event_source_set_enabled(u->later, SD_EVENT_OFF)) < 0 ||
            /* after the watches have been read */
            (r = sd_event_source_set_priority(u->later, SD_EVENT_PRIORITY_NORMAL + 1)) < 0)
                return r;
        *ret = TAKE_PTR(u);
        return 0;
}

struct units *units_free(struct units *u)
{
        if (!u)
                return NULL;
        for (size_t i = 0; i < u->n_watched; i++)
                watched_free(u->watched[i]);
        free(u->watched);
        sd_event_source_disable_unref(u->later);
        sd_event_unref(u->event);
        free(u->root);
        free(u);
        return NULL;
}
