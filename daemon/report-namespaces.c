/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "json-text.h"
#include "report.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

/* Listed at the most, of namespaces and of one's users; how many there are in all is told, too. */
#define NAMESPACES_LISTED 100
#define USERS_LISTED 20

/* A namespace as an order's subjects have it. */
struct view {
        const struct namespace *namespace;
        uint64_t subjects; /* processes of theirs */
        pid_t pid;         /* one of these, or of all where there is none */
};

/* Theirs first, most first; then by size. */
static int compare(const void *a, const void *b)
{
        const struct view *x = a, *y = b;

        if (x->subjects != y->subjects)
                return x->subjects < y->subjects ? 1 : -1;
        if (x->namespace->processes != y->namespace->processes)
                return x->namespace->processes < y->namespace->processes ? 1 : -1;
        return (x->pid > y->pid) - (x->pid < y->pid);
}

static struct view view_of(const struct namespace *n, const struct subjects *s)
{
        struct view v = {.namespace = n, .pid = n->users[0].pid};

        for (size_t i = 0; i < n->n_users; i++) {
                if (!subjects_match_uid(s, n->users[i].uid))
                        continue;
                if (v.subjects == 0)
                        v.pid = n->users[i].pid;
                v.subjects += n->users[i].processes;
        }
        return v;
}

/* Uids and names of the subjects in it. */
static int put_users(json_t *into, const struct view *v, const struct subjects *s, const struct names *names)
{
        json_t *uids = json_array(), *users = json_array();
        int r = json_object_set_new(into, "uids", uids) | json_object_set_new(into, "users", users);

        for (size_t i = 0; r == 0 && i < v->namespace->n_users && json_array_size(uids) < USERS_LISTED; i++) {
                uint32_t uid = v->namespace->users[i].uid;
                const char *name = names_find(names, uid);

                if (!subjects_match_uid(s, uid))
                        continue;
                r = json_array_append_new(uids, json_integer(uid)) |
                    json_array_append_new(users,
                                          name ? json_string_lenient(name) : json_sprintf("%" PRIu32, uid));
        }
        return r;
}

static json_t *namespace_json(const struct view *v, const struct subjects *s, const struct names *names)
{
        const struct namespace *n = v->namespace;
        json_t *j = json_pack("{s:i,s:I,s:I}", "pid", (int)v->pid, "processes", (json_int_t)n->processes,
                              "subject_processes", (json_int_t)v->subjects);
        int r = j ? put_users(j, v, s, names) : -1;

        if (r == 0 && n->name)
                r = json_object_set_new(j, "name", json_string_lenient(n->name)) |
                    json_object_set_new(j, "inode", json_integer((json_int_t)n->inode));
        if (r == 0)
                return j;
        json_decref(j);
        return NULL;
}

static json_t *namespaces_json(const struct namespaces *found, const struct subjects *s,
                               const struct names *names)
{
        _cleanup_free_ struct view *views = calloc(found->n + 1, sizeof(*views));
        json_t *list = json_array();

        if (!views) {
                json_decref(list);
                return NULL;
        }
        for (size_t i = 0; i < found->n; i++)
                views[i] = view_of(&found->items[i], s);
        if (found->n > 1)
                qsort(views, found->n, sizeof(*views), compare);
        for (size_t i = 0; i < found->n && i < NAMESPACES_LISTED; i++)
                if (json_array_append_new(list, namespace_json(&views[i], s, names)) < 0) {
                        json_decref(list);
                        return NULL;
                }
        return list;
}

/* The second lock holds in every network namespace, the rules only in ours. */
static bool uncovered(const struct lockdown *l)
{
        return l->order && (!l->second_engaged || l->second_problem);
}

bool report_needs_namespaces(const struct manager *m, const char *only)
{
        for (size_t i = 0; i < m->n_lockdowns; i++)
                if (uncovered(m->lockdowns[i]) && (!only || strcmp(only, m->lockdowns[i]->name) == 0))
                        return true;
        return false;
}

static int add_to_order(json_t *order, const struct lockdown *l, const struct namespaces *found, int error,
                        const struct names *names)
{
        _cleanup_subjects_ struct subjects s = {0};
        int r = lockdown_subjects(l, &s);

        if (r < 0)
                return r;
        if (error < 0)
                return json_array_append_new(json_object_get(order, "warnings"),
                                             json_sprintf("other network namespaces, which only the second "
                                                          "lock covers, could not be looked at: %s",
                                                          strerror(-error)));
        r = json_object_set_new(order, "uncovered_namespaces", namespaces_json(found, &s, names)) |
            json_object_set_new(order, "uncovered_namespaces_total", json_integer((json_int_t)found->n));
        if (r == 0 && found->cut)
                r = json_array_append_new(
                        json_object_get(order, "warnings"),
                        json_string("more network namespaces may be uncovered: there are too "
                                    "many processes to look at"));
        return r;
}

void report_add_namespaces(json_t *status, const struct manager *m, const struct namespaces *found, int error,
                           const struct names *names)
{
        json_t *order;
        size_t i;

        json_array_foreach(json_object_get(status, "orders"), i, order)
        {
                const char *name = json_string_value(json_object_get(order, "profile"));
                const struct lockdown *l = name ? manager_find(m, name) : NULL;

                if (l && uncovered(l))
                        (void)add_to_order(order, l, found, error, names);
        }
}
