/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Keeping the record of finished orders within bounds: what is removed, and the note that it was. */

#include "json-text.h"
#include "store-internal.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>

#define REMOVED_NAME "removed.json"
#define REMOVED_VERSION 1
#define REMOVED_SIZE_MAX ((size_t)1 << 16)
/* Files looked at in one step: about a millisecond. */
#define LOOK_MAX 256

/* ---- the note ---- */

static int save_removed(struct store *s)
{
        const struct record_removed *n = &s->removed;
        _cleanup_json_ json_t *names = json_array(), *j = NULL;
        _cleanup_free_ char *text = NULL;
        int r;

        for (size_t i = 0; i < s->n_pending; i++)
                if (json_array_append_new(names, json_string(s->pending[i])) < 0)
                        return -ENOMEM;
        j = json_pack("{s:i, s:I, s:I, s:I, s:O}", "version", REMOVED_VERSION, "orders",
                      (json_int_t)n->orders, "from", (json_int_t)n->from, "until", (json_int_t)n->until,
                      "removing", names);
        text = j ? json_text(j, JSON_INDENT(2)) : NULL;
        if (!text)
                return -ENOMEM;
        r = file_replace(s->fds[DIR_RECORD], REMOVED_NAME, text, strlen(text));
        s->removed_unsaved = r < 0;
        return r;
}

static void forget_pending(struct store *s)
{
        for (size_t i = 0; i < s->n_pending; i++)
                free(s->pending[i]);
        s->n_pending = 0;
}

static int read_pending(struct store *s, const json_t *names)
{
        const json_t *name;
        size_t i;

        json_array_foreach(names, i, name)
        {
                const char *text = json_string_value(name);

                if (!text || !history_name_valid(text) || s->n_pending == REMOVAL_MAX)
                        return -EBADMSG;
                s->pending[s->n_pending] = strdup(text);
                if (!s->pending[s->n_pending])
                        return -ENOMEM;
                s->n_pending++;
        }
        return 0;
}

static int read_removed(struct store *s, const char *text, size_t size)
{
        json_int_t orders, from, until;
        json_error_t error;
        json_t *names;
        int version, r = -EBADMSG;
        _cleanup_json_ json_t *j = json_from_text(text, size, &error);

        if (json_unpack(j, "{s:i, s:I, s:I, s:I, s:o}", "version", &version, "orders", &orders, "from", &from,
                        "until", &until, "removing", &names) == 0 &&
            version == REMOVED_VERSION && orders >= 0 && from >= 0 && until >= from && json_is_array(names))
                r = read_pending(s, names);
        if (r < 0) {
                forget_pending(s);
                return r;
        }
        s->removed = (struct record_removed){(uint64_t)orders, (uint64_t)from, (uint64_t)until};
        return 0;
}

const struct record_removed *store_removed(const struct store *s)
{
        return &s->removed;
}

/* ---- removing ---- */

/* The attempts first: as long as the order is there, they are not forgotten. */
static int remove_one(struct store *s, const char *name)
{
        if (store_still_in_force(s, name)) /* then its attempts are still counted */
                return 0;
        if (unlinkat(s->fds[DIR_ATTEMPTS], history_name_id(name), 0) < 0 && errno != ENOENT)
                return -errno;
        if (unlinkat(s->fds[DIR_HISTORY], name, 0) < 0 && errno != ENOENT)
                return -errno;
        return 0;
}

/* Removes what the note says is being removed. */
static int finish_pending(struct store *s)
{
        int r = 0;

        for (size_t i = 0; i < s->n_pending && r == 0; i++)
                r = remove_one(s, s->pending[i]);
        if (r == 0 && s->n_pending > 0 && (fsync(s->fds[DIR_ATTEMPTS]) < 0 || fsync(s->fds[DIR_HISTORY]) < 0))
                r = -errno;
        if (r == 0)
                forget_pending(s);
        return r;
}

int store_load_removed(struct store *s, struct problems *problems)
{
        _cleanup_free_ char *text = NULL, *why = NULL;
        size_t size;
        int r = file_read(s->fds[DIR_RECORD], REMOVED_NAME, REMOVED_SIZE_MAX, &text, &size, &why);

        if (r == -ENOENT)
                return 0;
        if (r == 0)
                r = read_removed(s, text, size);
        if (r == -EBADMSG)
                store_set_aside(s, DIR_RECORD, REMOVED_NAME, why ? why : "it is no note of what was removed",
                                problems);
        else if (r < 0)
                problems_add(problems, "record/" REMOVED_NAME " cannot be read: %s", strerror(-r));
        if (r < 0 || s->n_pending == 0)
                return r;
        r = finish_pending(s);
        if (r == 0)
                r = save_removed(s);
        if (r < 0)
                problems_add(problems, "what was being removed from the record could not be removed: %s",
                             strerror(-r));
        return r;
}

/* ---- a pass ---- */

struct record_pass {
        struct store *store;
        DIR *listing; /* NULL: all was looked at */
        struct record_entry *entries;
        size_t n, capacity;
        size_t due, at; /* ENTRIES up to DUE go, up to AT are gone */
};

struct record_pass *record_pass_free(struct record_pass *p)
{
        if (!p)
                return NULL;
        if (p->listing)
                closedir(p->listing);
        free(p->entries);
        free(p);
        return NULL;
}

int record_pass_new(struct store *s, struct record_pass **ret)
{
        _cleanup_(record_pass_freep) struct record_pass *p = calloc(1, sizeof(*p));
        int r;

        if (!p)
                return -ENOMEM;
        p->store = s;
        r = finish_pending(s); /* what would not go last time is counted already */
        if (r == 0)
                r = file_open_listing(s->fds[DIR_HISTORY], &p->listing);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(p);
        return 0;
}

static uint64_t size_on_disk(int dir_fd, const char *name)
{
        struct stat st;

        return fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0 ? 0 : (uint64_t)st.st_blocks * 512;
}

static int add_entry(struct record_pass *p, const char *name)
{
        struct record_entry *e;

        if (!history_name_valid(name) || store_still_in_force(p->store, name))
                return 0; /* foreign names are set aside when somebody reads the history */
        if (p->n == p->capacity) {
                size_t larger = p->capacity ? p->capacity * 2 : 256;
                struct record_entry *more = reallocarray(p->entries, larger, sizeof(*more));

                if (!more)
                        return -ENOMEM;
                p->entries = more;
                p->capacity = larger;
        }
        e = &p->entries[p->n++];
        e->ended_at = strtoull(name, NULL, 10);
        snprintf(e->id, sizeof(e->id), "%.32s", history_name_id(name));
        e->size = size_on_disk(p->store->fds[DIR_HISTORY], name) +
                  size_on_disk(p->store->fds[DIR_ATTEMPTS], history_name_id(name));
        return 0;
}

int record_look(struct record_pass *p)
{
        for (unsigned i = 0; p->listing && i < LOOK_MAX; i++) {
                const struct dirent *e;
                int r;

                errno = 0;
                e = readdir(p->listing);
                if (!e) {
                        r = -errno;
                        closedir(p->listing);
                        p->listing = NULL;
                        return r;
                }
                r = add_entry(p, e->d_name);
                if (r < 0)
                        return r;
        }
        return p->listing ? 1 : 0;
}

static int compare_oldest_first(const void *a, const void *b)
{
        const struct record_entry *x = a, *y = b;

        return x->ended_at != y->ended_at ? (x->ended_at > y->ended_at) - (x->ended_at < y->ended_at)
                                          : strcmp(x->id, y->id);
}

size_t record_decide(struct record_pass *p, const struct record_bounds *b, uint64_t now,
                     struct record_due *ret_why, struct record_removed *ret_span)
{
        if (p->n > 0)
                qsort(p->entries, p->n, sizeof(*p->entries), compare_oldest_first);
        p->due = record_find_due(p->entries, p->n, b, now, ret_why);
        p->at = 0;
        if (ret_span && p->due > 0)
                *ret_span = (struct record_removed){p->due, p->entries[0].ended_at,
                                                    p->entries[p->due - 1].ended_at};
        return p->due;
}

/* Counts the next N as removed, and notes their names. */
static int take(struct record_pass *p, size_t n)
{
        struct store *s = p->store;

        for (; n > 0; n--, p->at++) {
                const struct record_entry *e = &p->entries[p->at];
                char name[HISTORY_NAME_SIZE];

                history_name(e->ended_at, e->id, name);
                s->pending[s->n_pending] = strdup(name);
                if (!s->pending[s->n_pending])
                        return -ENOMEM;
                s->n_pending++;
                if (s->removed.orders++ == 0 || e->ended_at < s->removed.from)
                        s->removed.from = e->ended_at;
                if (e->ended_at > s->removed.until)
                        s->removed.until = e->ended_at;
        }
        return 0;
}

/* What is not noted does not go. */
static int note_and_remove(struct record_pass *p, size_t n)
{
        struct store *s = p->store;
        const struct record_removed before = s->removed;
        const size_t at = p->at;
        int r = take(p, n);

        if (r == 0)
                r = save_removed(s);
        if (r < 0) {
                forget_pending(s);
                s->removed = before;
                p->at = at;
                return r;
        }
        return finish_pending(s);
}

/* There is no room for the note: what one order leaves will do. */
static int make_room(struct record_pass *p)
{
        int r = take(p, 1);

        if (r == 0)
                r = finish_pending(p->store);
        return r == 0 ? save_removed(p->store) : r;
}

int record_remove(struct record_pass *p)
{
        const size_t n = p->due - p->at;
        int r = 0;

        if (n > 0)
                r = note_and_remove(p, n < REMOVAL_MAX ? n : REMOVAL_MAX);
        if (n > 0 && (r == -ENOSPC || r == -EDQUOT))
                r = make_room(p);
        if (r == 0 && p->at == p->due && (n > 0 || p->store->removed_unsaved))
                r = save_removed(p->store); /* with nothing that is being removed */
        return r < 0 ? r : p->at < p->due;
}
