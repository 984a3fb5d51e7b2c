/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "manager-internal.h"
#include "operation.h"
#include "profile-names.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

/* One reload: from the request to the reply. */
struct reload_op {
        struct operation op;
        struct manager *manager;
        struct caller caller;
        struct config *config;
        struct membership *members; /* one for each profile */
        size_t asked;               /* profiles, then the rights of [Access] */
        struct problems problems, warnings;
        struct words access_users, access_groups; /* being asked */
};

/* ---- applying ---- */

static void say(struct problems *changed, const char *name, const char *what)
{
        if (changed)
                problems_add(changed, "%s: %s", name, what);
}

/* Profiles that stand in the configuration no more. */
static void retire(struct manager *m, const struct config *c, struct problems *changed)
{
        for (size_t i = m->n_lockdowns; i-- > 0;) {
                struct lockdown *l = m->lockdowns[i];

                if (!l->configured || config_find(c, l->name))
                        continue;
                l->configured = false;
                if (l->order) { /* only a lift or its expiry ends an order */
                        say(changed, l->name,
                            "not configured any more, but in force until it is lifted or expires");
                        continue;
                }
                say(changed, l->name, "removed");
                if (l->loaded || l->staging)
                        (void)nft_delete(m->nft, l->name, NULL);
                (void)store_drop_membership(m->store, l->name);
                manager_remove(m, l);
        }
}

static int replace_plan(struct lockdown *l, const struct profile *p)
{
        struct profile *copy = profile_copy(p), *of_order = NULL;

        if (copy && l->order && !l->order->adhoc)
                of_order = profile_copy(p);
        if (!copy || (l->order && !l->order->adhoc && !of_order)) {
                profile_free(copy);
                return -ENOMEM;
        }
        profile_free(l->profile);
        l->profile = copy;
        l->configured = true;
        if (of_order) {
                profile_free(l->order->profile);
                l->order->profile = of_order;
        }
        return 0;
}

static void take_members(struct lockdown *l, struct membership *members)
{
        if (!members || members->as_of == 0)
                return;
        l->members_saved = l->have_members && l->members_saved &&
                           subjects_equal(&l->members.subjects, &members->subjects);
        membership_clear(&l->members);
        l->members = *members;
        *members = (struct membership){0};
        l->have_members = true;
        l->from_disk = false;
        set_problem(&l->members_problem, NULL);
}

static void apply_profile(struct manager *m, const struct profile *p, struct membership *members,
                          struct problems *changed)
{
        struct lockdown *l = manager_find(m, p->name);
        bool is_new = !l, same = l && l->configured && profile_same_block(l->profile, p);

        if (is_new)
                l = manager_add(m, p, true);
        else if (replace_plan(l, p) < 0)
                l = NULL;
        if (!l) {
                audit_log(LOG_ERR, "%s: out of memory", p->name);
                return;
        }
        if (l->order && l->order->adhoc)
                return; /* an order of that name goes by its own plan until it ends */
        take_members(l, members);
        if (is_new || !same)
                say(changed, l->name,
                    is_new     ? "new"
                    : l->order ? "changed, applied to what is in force"
                               : "changed");
        if (!l->have_members)
                return; /* the directory is asked next */
        if (lockdown_sync(l) < 0)
                say(changed, l->name, l->kernel_problem);
        if (l->order) {
                lockdown_sever(l, NULL); /* what was an allowed destination may not be one any more */
                lockdown_save(l);
                if (m->reload)
                        lockdown_spare_caller(l, m->reload->caller.pid);
                lockdown_end_sessions(l);
        } else
                (void)lockdown_keep_members(l);
}

void manager_apply_config(struct manager *m, struct config *c, struct membership *members,
                          struct problems *changed)
{
        if (!record_bounds_equal(&m->config->record, &c->record))
                say(changed, "[Record]", "changed");
        manager_record_soon(m); /* what was due may have waited for a configuration without mistakes */
        retire(m, c, changed);
        for (size_t i = 0; i < c->n_profiles; i++)
                apply_profile(m, c->profiles[i], members ? &members[i] : NULL, changed);
        config_free(m->config);
        m->config = c;
        manager_watch_owners(m);
        manager_second_prepare(m);
}

/* ---- reloading: read, ask the directory whether the names exist, then apply or refuse ---- */

static void reload_free(struct reload_op *o)
{
        o->manager->reload = NULL;
        for (size_t i = 0; o->members && i < o->config->n_profiles; i++)
                membership_clear(&o->members[i]);
        free(o->members);
        config_free(o->config);
        problems_clear(&o->problems);
        problems_clear(&o->warnings);
        words_clear(&o->access_users);
        words_clear(&o->access_groups);
        free(o->caller.name);
        free(o);
}

static json_t *sentences(const struct problems *p)
{
        json_t *list = json_array();

        for (size_t i = 0; list && i < p->n; i++)
                (void)json_array_append_new(list, json_string(p->items[i]));
        return list;
}

static void refuse(struct reload_op *o)
{
        _cleanup_free_ char *text = problems_join(&o->problems), *first = problems_first(&o->problems);
        struct manager *m = o->manager;
        struct operation op = o->op;

        set_problem(&m->config_problem, "%s", first ? first : "out of memory");
        audit(AUDIT_RELOADED, LOG_ERR, NULL, &o->caller, "the configuration was not reloaded: %s",
              text ? text : "");
        reload_free(o);
        manager_update_status(m);
        operation_fail(&op, ERROR_CONFIGURATION,
                       "the configuration on disk has mistakes; the one in force is kept:\n%s",
                       text ? text : "");
}

static void warn_who_leaves(struct reload_op *o)
{
        const struct manager *m = o->manager;

        for (size_t i = 0; i < m->n_lockdowns; i++)
                if (m->lockdowns[i]->caller_leaves)
                        problems_add(&o->warnings, "your own session (%s) comes from outside and ends now",
                                     m->lockdowns[i]->spared);
}

static void finish_reload(struct reload_op *o)
{
        _cleanup_problems_ struct problems changed = {0};
        struct manager *m = o->manager;
        struct operation op = o->op;
        json_t *document;

        if (o->problems.n > 0) {
                refuse(o);
                return;
        }
        set_problem(&m->config_problem, NULL);
        for (size_t i = 0; i < o->config->n_profiles; i++) /* apply_config() moves them out, by profile */
                if (o->members[i].as_of == 0)
                        problems_add(&o->warnings,
                                     "%s: the directory did not answer; the people known before stay covered",
                                     o->config->profiles[i]->name);
        {
                struct config *c = o->config;
                struct membership *members = TAKE_PTR(o->members);
                size_t n = c->n_profiles;

                o->config = NULL;
                manager_apply_config(m, c, members, &changed);
                for (size_t i = 0; i < n; i++)
                        membership_clear(&members[i]);
                free(members);
        }
        audit(AUDIT_RELOADED, LOG_NOTICE, NULL, &o->caller, "the configuration was reloaded: %zu %s",
              changed.n, changed.n == 1 ? "change" : "changes");
        warn_who_leaves(o);
        document = json_pack("{s:b,s:o,s:o}", "reloaded", 1, "changed", sentences(&changed), "warnings",
                             sentences(&o->warnings));
        reload_free(o);
        manager_refresh_access(m);
        manager_refresh_all(m);
        manager_update_status(m);
        operation_reply(&op, document);
        for (size_t i = 0; i < m->n_lockdowns; i++)
                lockdown_caller_answered(m->lockdowns[i]);
}

static void ask_next(struct reload_op *o);

static void on_profile_members(void *userdata, int error, struct membership *answer)
{
        struct reload_op *o = userdata;
        size_t i = o->asked++;

        if (error >= 0) {
                profile_check_names(o->config->profiles[i], answer, &o->problems);
                if (answer->unresolved.n == 0) {
                        o->members[i] = *answer;
                        *answer = (struct membership){0};
                }
        }
        ask_next(o);
}

static const struct words *access_words(const struct config *c, enum right right)
{
        const struct words *all[_RIGHT_MAX] = {[RIGHT_ORDER] = &c->access_order,
                                               [RIGHT_LIFT] = &c->access_lift,
                                               [RIGHT_STATUS] = &c->access_status};

        return all[right];
}

static void on_access_members(void *userdata, int error, struct membership *answer)
{
        struct reload_op *o = userdata;
        size_t right = o->asked++ - o->config->n_profiles;

        if (error >= 0)
                access_check_names(access_words(o->config, (enum right)right), answer, &o->problems);
        ask_next(o);
}

static int ask_access(struct reload_op *o, enum right right)
{
        struct access_list ignored = {0};
        struct resolver_query query = {
                .groups = &o->access_groups, .users = &o->access_users, .awaited = true};
        int r;

        words_clear(&o->access_users);
        words_clear(&o->access_groups);
        r = access_prepare(access_words(o->config, right), &ignored, &o->access_users, &o->access_groups);
        access_clear(&ignored);
        return r < 0 ? r
                     : resolver_resolve(o->manager->resolver, &query, RESOLVE_DEADLINE, on_access_members, o);
}

static void ask_next(struct reload_op *o)
{
        int r;

        if (o->asked >= o->config->n_profiles + _RIGHT_MAX) {
                finish_reload(o);
                return;
        }
        if (o->asked >= o->config->n_profiles)
                r = ask_access(o, (enum right)(o->asked - o->config->n_profiles));
        else {
                const struct profile *p = o->config->profiles[o->asked];
                const struct resolver_query query = {.groups = &p->groups,
                                                     .users = &p->users,
                                                     .except_groups = &p->except_groups,
                                                     .except_users = &p->except_users,
                                                     .awaited = true};

                r = resolver_resolve(o->manager->resolver, &query, RESOLVE_DEADLINE, on_profile_members, o);
        }
        if (r < 0) {
                problems_add(&o->problems, "the directory could not be asked: %s", strerror(-r));
                refuse(o);
        }
}

void manager_reload(struct manager *m, const struct caller *caller, manager_done_t done, void *userdata)
{
        const struct operation op = {.done = done, .userdata = userdata};
        struct reload_op *o;
        int r;

        if (m->reload) {
                operation_fail(&op, ERROR_FAILED, "another reload is under way: try again in a moment");
                return;
        }
        o = calloc(1, sizeof(*o));
        if (!o) {
                operation_fail(&op, ERROR_FAILED, NO_MEMORY);
                return;
        }
        o->op = op;
        o->manager = m;
        o->caller = (struct caller){.uid = caller->uid, .pid = caller->pid};
        m->reload = o;
        r = config_load_trusted(m->configuration_dir, &o->config, &o->problems);
        if (r < 0) {
                if (o->problems.n == 0)
                        problems_add(&o->problems, "%s: %s", m->configuration_dir, strerror(-r));
                refuse(o);
                return;
        }
        o->members = calloc(o->config->n_profiles + 1, sizeof(*o->members));
        if (!o->members) {
                problems_add(&o->problems, "out of memory");
                refuse(o);
                return;
        }
        ask_next(o);
}
