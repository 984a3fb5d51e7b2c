/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "manager-internal.h"
#include "operation.h"
#include "report.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

void manager_no_such_profile(const struct manager *m, const struct operation *op, const char *name)
{
        const char *nearest = config_nearest(m->config, name);

        if (nearest)
                operation_fail(op, ERROR_NO_SUCH_PROFILE, "there is no profile %s; did you mean %s?", name,
                               nearest);
        else if (m->config_problem)
                operation_fail(op, ERROR_NO_SUCH_PROFILE,
                               "there is no profile %s in the configuration in force; the one on disk has "
                               "mistakes: %s",
                               name, m->config_problem);
        else
                operation_fail(op, ERROR_NO_SUCH_PROFILE,
                               "there is no profile %s; lockdownctl profiles lists those configured", name);
}

/* ---- status ---- */

struct status_op {
        struct operation op;
        struct manager *manager;
        char *only;
};

static int look_at_namespaces(struct manager *m)
{
        struct namespaces found = {0};
        struct now now;
        int r;

        clock_now(&now);
        if (m->others_at != 0 && now.boottime - m->others_at < NAMESPACES_INTERVAL)
                return 0;
        r = namespaces_read(&found);
        if (r < 0)
                return r;
        namespaces_clear(&m->others);
        m->others = found;
        m->others_at = now.boottime;
        return 0;
}

static void answer_status(struct manager *m, const char *only, const struct names *names,
                          const struct operation *op)
{
        _cleanup_sightings_ struct sightings doors = {0};
        const struct lockdown *l = only ? manager_find(m, only) : NULL;
        json_t *status;
        int r;

        if (!only || (l && l->order))
                manager_look_for_doors(m, l, &doors);
        status = report_status(m, only, names, &doors);
        if (status && report_needs_namespaces(m, only)) {
                r = look_at_namespaces(m);
                report_add_namespaces(status, m, &m->others, r, names);
        }
        operation_reply(op, status);
}

static void on_status_names(void *userdata, int error, const uint32_t *uids, char *const *names, size_t n)
{
        struct status_op *s = userdata;
        const struct names table = {.uids = uids, .names = names, .n = error < 0 ? 0 : n};

        answer_status(s->manager, s->only, &table, &s->op);
        free(s->only);
        free(s);
}

static int status_uids(const struct manager *m, const char *only, uint32_t **ret, size_t *ret_n)
{
        _cleanup_idset_ struct idset all = {0};

        for (size_t i = 0; i < m->n_lockdowns; i++) {
                const struct lockdown *l = m->lockdowns[i];
                struct idset sum = {0};

                if (!l->order || (only && strcmp(only, l->name) != 0))
                        continue;
                if (idset_union(&all, &l->members.subjects.uids, &sum) < 0)
                        return -ENOMEM;
                idset_clear(&all);
                all = sum;
        }
        return operation_uids(&all, ret, ret_n);
}

static int ask_status_names(struct manager *m, const char *only, const struct operation *op)
{
        _cleanup_free_ uint32_t *uids = NULL;
        struct status_op *s;
        size_t n = 0;
        int r = status_uids(m, only, &uids, &n);

        if (r < 0)
                return r;
        s = calloc(1, sizeof(*s));
        if (!s)
                return -ENOMEM;
        s->op = *op;
        s->manager = m;
        s->only = only ? strdup(only) : NULL;
        r = resolver_names(m->resolver, uids, n, RESOLVE_DEADLINE, on_status_names, s);
        if (r < 0) {
                free(s->only);
                free(s);
        }
        return r;
}

void manager_status(struct manager *m, const char *profile, bool names, manager_done_t done, void *userdata)
{
        const struct operation op = {.done = done, .userdata = userdata};
        const char *only = profile && profile[0] ? profile : NULL;

        if (only && !manager_find(m, only)) {
                manager_no_such_profile(m, &op, only);
                return;
        }
        if (names && ask_status_names(m, only, &op) >= 0)
                return; /* answered when the names are there */
        answer_status(m, only, NULL, &op);
}

void manager_profiles(struct manager *m, manager_done_t done, void *userdata)
{
        operation_reply(&(struct operation){.done = done, .userdata = userdata}, report_profiles(m));
}

/* ---- attempts ---- */

struct attempts_item {
        char *profile;
        char order_id[33];
        struct attempts attempts;
};

struct attempts_op {
        struct operation op;
        struct attempts_item *items;
        size_t n;
};

static struct attempts_op *attempts_op_free(struct attempts_op *a)
{
        for (size_t i = 0; i < a->n; i++) {
                free(a->items[i].profile);
                attempts_clear(&a->items[i].attempts);
        }
        free(a->items);
        free(a);
        return NULL;
}

static struct attempts_item *attempts_item_new(struct attempts_op *a, const char *profile, const char *id)
{
        struct attempts_item *more = reallocarray(a->items, a->n + 1, sizeof(*more));

        if (!more)
                return NULL;
        a->items = more;
        more[a->n] = (struct attempts_item){.profile = strdup(profile)};
        (void)snprintf(more[a->n].order_id, sizeof(more[a->n].order_id), "%s", id);
        return &more[a->n++];
}

/* Of an order in force: what the kernel counts now, and what was kept of tables replaced since. */
static int collect_live(struct attempts_op *a, struct lockdown *l)
{
        struct attempts_item *item = attempts_item_new(a, l->name, l->order->id);

        return item ? lockdown_attempts(l, &item->attempts) : -ENOMEM;
}

/* Of a finished order, by its id. */
static int collect_finished(struct manager *m, struct attempts_op *a, const char *id)
{
        _cleanup_(order_freep) struct order *o = NULL;
        struct attempts_item *item;
        int r = store_load_finished(m->store, id, &o);

        if (r < 0)
                return r;
        item = attempts_item_new(a, o->profile->name, o->id);
        if (!item)
                return -ENOMEM;
        r = store_load_attempts(m->store, o->id, &item->attempts);
        item->attempts.packets = o->refused_packets;
        item->attempts.bytes = o->refused_bytes;
        return r == -ENOENT ? 0 : r; /* then nothing was itemised */
}

/* NULL: no memory. */
static char *attempts_text(const struct attempts_op *a, const struct names *names)
{
        char *text = NULL;
        size_t size;
        FILE *f = open_memstream(&text, &size);
        int r = 0;

        if (!f)
                return NULL;
        fputs("{\"profiles\":[", f);
        for (size_t i = 0; i < a->n && r == 0; i++) {
                fputs(i > 0 ? "," : "", f);
                r = report_attempts(f, a->items[i].profile, a->items[i].order_id, &a->items[i].attempts,
                                    names);
        }
        fputs("]}", f);
        if (ferror(f))
                r = -ENOMEM;
        if (fclose(f) == 0 && r == 0)
                return text;
        free(text);
        return NULL;
}

static void on_attempt_names(void *userdata, int error, const uint32_t *uids, char *const *names, size_t n)
{
        struct attempts_op *a = userdata;
        const struct names table = {.uids = uids, .names = names, .n = error < 0 ? 0 : n};
        _cleanup_free_ char *text = attempts_text(a, &table);

        if (text)
                operation_reply_text(&a->op, text);
        else
                operation_fail(&a->op, ERROR_FAILED, NO_MEMORY_TO_ANSWER);
        attempts_op_free(a);
}

static int attempt_uids(const struct attempts_op *a, uint32_t **ret, size_t *ret_n)
{
        _cleanup_idset_ struct idset uids = {0};

        for (size_t i = 0; i < a->n; i++)
                for (size_t j = 0; j < a->items[i].attempts.n; j++) {
                        uint32_t uid = a->items[i].attempts.items[j].uid;

                        if (uid != ATTEMPT_NO_UID && idset_append(&uids, uid, uid) < 0)
                                return -ENOMEM;
                }
        idset_normalize(&uids);
        return operation_uids(&uids, ret, ret_n);
}

static int collect_attempts(struct manager *m, struct attempts_op *a, const char *profile)
{
        const struct lockdown *named = profile ? manager_find(m, profile) : NULL;
        int r = 0;

        if (profile && !named)
                return strlen(profile) >= 8 ? collect_finished(m, a, profile) : -ENOENT;
        for (size_t i = 0; i < m->n_lockdowns && r >= 0; i++)
                if (m->lockdowns[i]->order && (!named || named == m->lockdowns[i]))
                        r = collect_live(a, m->lockdowns[i]);
        return r;
}

void manager_attempts(struct manager *m, const char *profile, manager_done_t done, void *userdata)
{
        const struct operation op = {.done = done, .userdata = userdata};
        const char *only = profile && profile[0] ? profile : NULL;
        struct attempts_op *a = calloc(1, sizeof(*a));
        _cleanup_free_ uint32_t *uids = NULL;
        size_t n = 0;
        int r = a ? collect_attempts(m, a, only) : -ENOMEM;

        if (r < 0) {
                if (r == -ENOENT && only && !config_nearest(m->config, only))
                        operation_fail(&op, ERROR_NO_SUCH_PROFILE,
                                       "there is no profile and no ended order %s; lockdownctl profiles and "
                                       "lockdownctl history list those there are",
                                       only);
                else if (r == -ENOENT && only)
                        manager_no_such_profile(m, &op, only);
                else
                        operation_fail(&op, ERROR_FAILED, "the attempts could not be read: %s", strerror(-r));
                if (a)
                        attempts_op_free(a);
                return;
        }
        a->op = op;
        r = attempt_uids(a, &uids, &n);
        if (r >= 0)
                r = resolver_names(m->resolver, uids, n, RESOLVE_DEADLINE, on_attempt_names, a);
        if (r < 0)
                on_attempt_names(a, r, NULL, NULL, 0);
}

/* ---- explain ---- */

struct explain_op {
        struct operation op;
        struct manager *manager;
        char *user, *destination;
        struct endpoint endpoint;
};

static struct explain_op *explain_op_free(struct explain_op *e)
{
        if (!e)
                return NULL;
        free(e->user);
        free(e->destination);
        free(e);
        return NULL;
}

static void on_explained(void *userdata, int error, struct person *found)
{
        struct explain_op *e = userdata;
        const struct explain_question question = {
                .user = e->user, .text = e->destination, .destination = e->endpoint};

        if (error < 0 || (found->unanswered && !found->found))
                operation_fail(&e->op, ERROR_RESOLVE_FAILED, "the user %s could not be looked up: %s",
                               e->user, error < 0 ? resolver_explain(error) : "the directory did not answer");
        else if (!found->found)
                operation_fail(&e->op, ERROR_NO_SUCH_NAME, "there is no user %s", e->user);
        else
                operation_reply(&e->op, report_explain(e->manager, found, &question));
        explain_op_free(e);
}

static int ask_person(struct manager *m, struct explain_op *e, const char *user, const char *destination)
{
        e->manager = m;
        e->user = strdup(user);
        e->destination = strdup(destination);
        if (!e->user || !e->destination)
                return -ENOMEM;
        return resolver_person(m->resolver, user, RESOLVE_DEADLINE, on_explained, e);
}

void manager_explain(struct manager *m, const char *user, const char *destination, manager_done_t done,
                     void *userdata)
{
        const struct operation op = {.done = done, .userdata = userdata};
        struct explain_op *e = calloc(1, sizeof(*e));
        int r = -ENOMEM;

        if (e && endpoint_parse(destination, &e->endpoint) < 0) {
                operation_fail(&op, ERROR_BAD_REQUEST,
                               "%s is no destination; expected an address, ADDRESS:PORT or ADDRESS:PORT/tcp",
                               destination);
                explain_op_free(e);
                return;
        }
        if (e) {
                e->op = op;
                r = ask_person(m, e, user, destination);
        }
        if (r < 0) {
                operation_fail(&op, ERROR_FAILED, "cannot explain: %s", strerror(-r));
                explain_op_free(e);
        }
}
