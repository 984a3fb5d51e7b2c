/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "manager-internal.h"
#include "operation.h"
#include "report.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <systemd/sd-id128.h>

/* One order being given: from the request to the reply. */
struct order_op {
        struct operation op;
        struct manager *manager;
        struct lockdown *l;
        char *name; /* L's: while names are looked up, L may go */
        struct order_time time;
        uint64_t confirm_within;
        uint64_t asked_at; /* monotonic clock: the event loop woke up with the request */
        char *reason;
        struct caller caller;
        bool dry_run, yes, shortened;
        char *foot; /* why --yes is wanted, or NULL */
        struct sever_result severed;
        sd_event_source *patience;
        struct order *planned; /* of a dry run */
};

static void order_op_free(struct order_op *o)
{
        sd_event_source_disable_unref(o->patience);
        free(o->name);
        free(o->reason);
        free(o->foot);
        free(o->caller.name);
        order_free(o->planned);
        free(o);
}

/* An ad-hoc plan that did not come into force leaves nothing behind. */
static void drop_if_unused(struct lockdown *l)
{
        if (!l->configured && !l->order)
                manager_remove(l->manager, l);
}

static void fail(struct order_op *o, struct lockdown *l, const char *error, const char *sentence)
{
        struct operation op = o->op;
        _cleanup_free_ char *kept = strdup(sentence ? sentence : NO_MEMORY); /* may be L's own text */

        order_op_free(o);
        if (l)
                drop_if_unused(l);
        operation_fail(&op, error, "%s", kept ? kept : NO_MEMORY);
}

/* ---- the reply ---- */

/* Looked for when all else is done: the block stands. */
static int add_doors(struct lockdown *l, json_t *document)
{
        _cleanup_sightings_ struct sightings doors = {0};

        manager_look_for_doors(l->manager, l, &doors);
        return report_doors(document, l, &doors, NULL);
}

/* HELD_AFTER: microseconds; 0: it was in force already. */
static json_t *order_reply(struct lockdown *l, const struct sever_result *severed, uint64_t held_after,
                           bool shortened)
{
        _cleanup_json_ json_t *order = report_order(l, l->order, NULL), *warnings = report_warnings(l);

        if (!order || !warnings)
                return NULL;
        if (add_doors(l, order) < 0)
                (void)json_array_append_new(warnings,
                                            json_string("the doors on this host could not be listed: "
                                                        "out of memory"));
        if (shortened)
                (void)json_array_append_new(warnings, json_string("shortened to the profile's MaxDuration="));
        if (l->caller_leaves)
                (void)json_array_append_new(
                        warnings,
                        json_sprintf("your own session (%s) comes from outside and ends now", l->spared));
        if (severed->left == UINT64_MAX)
                (void)json_array_append_new(warnings, json_string("open connections could not all be cut"));
        else if (severed->left > 0)
                (void)json_array_append_new(
                        warnings,
                        json_sprintf("%" PRIu64 " open connections could not be cut", severed->left));
        return json_pack("{s:O,s:b,s:o*,s:I,s:I,s:b,s:O}", "order", order, "already_in_force",
                         held_after == 0, "held_after_usec",
                         held_after ? json_integer((json_int_t)held_after) : NULL, "severed",
                         (json_int_t)severed->destroyed, "left",
                         (json_int_t)(severed->left == UINT64_MAX ? 0 : severed->left), "shortened",
                         shortened, "warnings", warnings);
}

static void reply(struct order_op *o)
{
        struct operation op = o->op;
        struct lockdown *l = o->l;
        uint64_t held_after = l->held_at > o->asked_at ? l->held_at - o->asked_at : 1;
        json_t *document = order_reply(l, &o->severed, held_after, o->shortened);

        order_op_free(o);
        operation_reply(&op, document);
        lockdown_caller_answered(l);
}

static void already_in_force(struct operation *op, struct lockdown *l, const struct order_time *t,
                             uint64_t confirm_within)
{
        _cleanup_json_ json_t *document = NULL;
        json_t *warnings;

        l->ends_as = ORDER_ACTIVE; /* had it ended before: it is wanted again */
        document = order_reply(l, &(struct sever_result){0}, 0, false);
        warnings = document ? json_object_get(document, "warnings") : NULL;
        if (warnings && (t->duration || t->until))
                (void)json_array_append_new(
                        warnings,
                        json_sprintf("its end stays as it was; to move it later: lockdownctl extend %s",
                                     l->name));
        if (warnings && confirm_within > 0 && l->order->confirm_until == 0)
                (void)json_array_append_new(
                        warnings,
                        json_sprintf("it was in force before and needs no confirmation: it will NOT end by "
                                     "itself for want of one; to end it: lockdownctl lift %s",
                                     l->name));
        operation_reply(op, TAKE_PTR(document));
}

/* ---- making the order ---- */

static int new_order(struct order_op *o, struct order **ret)
{
        _cleanup_(order_freep) struct order *order = NULL;
        _cleanup_(profile_freep) struct profile *copy = profile_copy(o->l->profile);
        sd_id128_t id;
        char text[33];
        struct now now;
        int r;

        clock_now(&now);
        r = sd_id128_randomize(&id);
        if (r < 0)
                return r;
        order = copy ? order_new(copy, sd_id128_to_string(id, text), &now) : NULL;
        if (!order)
                return -ENOMEM;
        copy = NULL;
        order->adhoc = !o->l->configured;
        order->ordered_by = (struct caller){.uid = o->caller.uid, .pid = o->caller.pid};
        if (o->caller.name)
                order->ordered_by.name = strdup(o->caller.name);
        if (o->reason && !(order->reason = strdup(o->reason)))
                return -ENOMEM;
        r = order_set_end(order, &o->time, &now, &o->shortened);
        if (r < 0)
                return r;
        if (o->confirm_within > 0)
                order_ask_confirmation(order, o->confirm_within, &now);
        *ret = TAKE_PTR(order);
        return 0;
}

/* The name of who ordered, for people: asked for after the block stands. */
static void on_caller_name(void *userdata, int error, const uint32_t *uids, char *const *names, size_t n)
{
        struct lockdown *l = userdata;

        if (error < 0 || n != 1 || !names[0] || !l->order || l->order->ordered_by.uid != uids[0])
                return;
        free(l->order->ordered_by.name);
        l->order->ordered_by.name = strdup(names[0]);
        lockdown_save(l);
        manager_update_status(l->manager);
}

static void journal_order(const struct order_op *o, uint64_t users)
{
        const struct lockdown *l = o->l;
        char until[64], whom[32] = "everyone";

        if (!lockdown_profile(l)->everyone)
                (void)snprintf(whom, sizeof(whom), "%" PRIu64 " %s", users, users == 1 ? "user" : "users");
        audit(AUDIT_ORDERED, LOG_NOTICE, l->order, &o->caller,
              "%s is in force until %s: %s, %" PRIu64 " %s cut%s%s", l->name,
              l->order->end == END_NEVER ? "lifted" : timestamp_format(l->order->until, until, sizeof(until)),
              whom, o->severed.destroyed, o->severed.destroyed == 1 ? "connection" : "connections",
              l->order->reason ? ". Reason: " : "", l->order->reason ? l->order->reason : "");
}

/* Block first; save and tell next. */
static int put_in_force(struct order_op *o)
{
        struct lockdown *l = o->l;
        _cleanup_(order_freep) struct order *order = NULL;
        _cleanup_subjects_ struct subjects s = {0};
        int r = new_order(o, &order);

        if (r >= 0)
                r = lockdown_subjects(l, &s);
        if (r >= 0 && subjects_empty(&s))
                return -ENODATA;
        /* What ends by itself unless confirmed needs no yes. */
        if (r >= 0 && !o->yes && o->confirm_within == 0 && (o->foot = lockdown_own_foot(l, o->caller.pid)))
                return -ECANCELED;
        if (r < 0)
                return r;
        if (lockdown_engage(l, order, &o->severed) < 0)
                return -EIO; /* kernel_problem says why; the other errors are the request's */
        order = NULL;        /* L's now */
        lockdown_spare_caller(l, o->caller.pid);
        lockdown_end_sessions(l);
        journal_order(o, idset_count(&s.uids));
        if (!l->order->ordered_by.name)
                (void)resolver_names(l->manager->resolver, &o->caller.uid, 1, RESOLVE_DEADLINE,
                                     on_caller_name, l);
        manager_notify(l->manager, l->name, "active");
        return 0;
}

static void fail_to_order(struct order_op *o, int error)
{
        struct lockdown *l = o->l;
        _cleanup_free_ char *sentence = NULL;

        switch (error) {
        case -ECANCELED:
                set_problem(&sentence,
                            "%s is NOT in force: %s. To order it all the same: --yes; to try it, and have it "
                            "end by itself unless confirmed: --confirm-within 2m",
                            l->name, o->foot);
                fail(o, l, ERROR_NEEDS_YES, sentence);
                return;
        case -ENODATA:
                set_problem(&sentence, "%s has nobody to block: %s", l->name,
                            l->members_problem ? l->members_problem : "neither a group nor a user");
                fail(o, l, ERROR_NO_SUCH_NAME, sentence);
                return;
        case -EINVAL:
                fail(o, l, ERROR_BAD_REQUEST, "give either a duration or an end, not both");
                return;
        case -ERANGE:
                fail(o, l, ERROR_BAD_REQUEST, "the end asked for is already past");
                return;
        default:
                set_problem(&sentence, "%s is NOT in force: %s", l->name,
                            l->kernel_problem ? l->kernel_problem : strerror(-error));
                fail(o, l, ERROR_KERNEL, sentence);
        }
}

/* ---- waiting for the directory ---- */

static void on_confirmed(void *userdata, struct lockdown *l, int error)
{
        (void)error;                            /* the reply's warnings say what is known of the membership */
        if (error == -ECANCELED || !l->order) { /* lifted meanwhile */
                fail(userdata, NULL, ERROR_FAILED, "the order was lifted before it could be confirmed");
                return;
        }
        reply(userdata);
}

static int on_patience_over(sd_event_source *source, uint64_t usec, void *userdata)
{
        struct order_op *o = userdata;
        struct lockdown *l = o->l;

        (void)source;
        (void)usec;
        lockdown_cancel_waiters(l, o);
        if (!l->members_problem)
                set_problem(&l->members_problem, "the list of people is still being brought up to date");
        on_confirmed(o, l, 0);
        return 0;
}

/* The block stands. Where the list of people may have changed since it was staged, the reply waits for the
 * new one: who is a member when the order is given must be covered when it returns. */
static void confirm_membership(struct order_op *o)
{
        if (!lockdown_stale(o->l)) {
                reply(o);
                return;
        }
        (void)sd_event_add_time_relative(o->l->manager->event, &o->patience, CLOCK_MONOTONIC,
                                         REFRESH_PATIENCE, 1000, on_patience_over, o);
        lockdown_refresh(o->l, on_confirmed, o);
}

static const char *first(const struct words *w)
{
        return w->n > 0 ? w->items[0].text : NULL;
}

/* An ad-hoc order is about exactly the names given: one that does not exist is a mistake of the moment. */
static const char *missing_name(const struct lockdown *l, const char **ret_kind)
{
        const char *group = first(&l->members.missing_groups), *user = first(&l->members.missing_users);

        *ret_kind = group ? "group" : "user";
        return group ? group : user;
}

static void dry_run(struct order_op *o);

static void on_resolved(void *userdata, struct lockdown *l, int error)
{
        struct order_op *o = userdata;
        _cleanup_free_ char *sentence = NULL;
        const char *kind, *missing = missing_name(l, &kind);

        if (error == -ECANCELED) { /* L is about to go: nothing more may be begun with it */
                set_problem(&sentence, "%s is NOT in force: it was removed meanwhile", l->name);
                fail(o, NULL, ERROR_FAILED, sentence);
                return;
        }
        if (error < 0 && !l->have_members) {
                set_problem(&sentence, "%s is NOT in force: %s", l->name,
                            l->members_problem ? l->members_problem : strerror(-error));
                fail(o, l, ERROR_RESOLVE_FAILED, sentence);
                return;
        }
        if (!l->configured && missing) {
                set_problem(&sentence, "there is no %s %s; nobody was blocked", kind, missing);
                fail(o, l, ERROR_NO_SUCH_NAME, sentence);
                return;
        }
        if (o->dry_run) {
                dry_run(o);
                return;
        }
        if (l->order) { /* given by somebody else while we waited */
                struct operation op = o->op;
                struct order_time t = o->time;
                uint64_t confirm_within = o->confirm_within;

                order_op_free(o);
                already_in_force(&op, l, &t, confirm_within);
                return;
        }
        error = put_in_force(o);
        if (error < 0)
                fail_to_order(o, error);
        else
                reply(o);
}

/* ---- dry run ---- */

static void on_names(void *userdata, int error, const uint32_t *uids, char *const *names, size_t n)
{
        struct order_op *o = userdata;
        struct operation op = o->op;
        struct lockdown *l = manager_find(o->manager, o->name);
        const struct names table = {.uids = uids, .names = names, .n = error < 0 ? 0 : n};
        _cleanup_(ruleset_freep) struct ruleset *rules = NULL;
        _cleanup_subjects_ struct subjects s = {0};
        _cleanup_words_ struct words devices = {0};
        _cleanup_free_ char *text = NULL;
        struct would_end would = {0};
        size_t size = 0;
        FILE *f;
        json_t *document = NULL;

        if (!l) {
                fail(o, NULL, ERROR_FAILED, "the order it would have been about has ended");
                return;
        }
        lockdown_relay_prepare(l);
        f = open_memstream(&text, &size);
        error = f ? lockdown_subjects(l, &s) : -ENOMEM;
        lockdown_follow_units(l);
        if (error >= 0)
                error = lockdown_build(l, l->profile, &s, &rules);
        if (error >= 0)
                error = nft_list_devices(&devices);
        if (error >= 0)
                error = ruleset_write_text(rules, true, &devices, f);
        if (f && fclose(f) != 0)
                error = -ENOMEM;
        (void)lockdown_count_sockets(l, &would.sockets);
        (void)lockdown_remote_sessions(l, &would.sessions, &would.n_sessions);
        if (error >= 0)
                document = report_dry_run(l, o->planned, text, &would, &table);
        if (document && add_doors(l, document) < 0)
                document = (json_decref(document), NULL);
        remote_sessions_free(would.sessions, would.n_sessions);
        order_op_free(o);
        drop_if_unused(l);
        operation_reply(&op, document);
}

static void dry_run(struct order_op *o)
{
        _cleanup_free_ uint32_t *uids = NULL;
        size_t n = 0;
        int r = new_order(o, &o->planned);

        if (r < 0) {
                fail_to_order(o, r);
                return;
        }
        r = operation_uids(&o->l->members.subjects.uids, &uids, &n);
        if (r >= 0)
                r = resolver_names(o->l->manager->resolver, uids, n, RESOLVE_DEADLINE, on_names, o);
        if (r < 0)
                on_names(o, r, NULL, NULL, 0);
}

/* ---- entry ---- */

static struct order_op *order_op_new(struct manager *m, const struct order_request *request,
                                     const struct caller *caller, manager_done_t done, void *userdata)
{
        struct order_op *o = calloc(1, sizeof(*o));

        if (!o)
                return NULL;
        o->op = (struct operation){.done = done, .userdata = userdata};
        o->manager = m;
        (void)sd_event_now(m->event, CLOCK_MONOTONIC, &o->asked_at);
        o->time = request->time;
        o->confirm_within = request->confirm_within;
        o->dry_run = request->dry_run;
        o->yes = request->yes;
        o->caller = (struct caller){.uid = caller->uid, .pid = caller->pid};
        o->caller.name = caller->name ? strdup(caller->name) : NULL;
        if (request->reason && request->reason[0] && !(o->reason = strdup(request->reason))) {
                order_op_free(o);
                return NULL;
        }
        return o;
}

static void order_begin(struct lockdown *l, const struct order_request *request, const struct caller *caller,
                        manager_done_t done, void *userdata)
{
        struct order_op *o = order_op_new(l->manager, request, caller, done, userdata);
        int r;

        if (!o) {
                drop_if_unused(l);
                operation_fail(&(struct operation){.done = done, .userdata = userdata}, ERROR_FAILED,
                               NO_MEMORY);
                return;
        }
        o->l = l;
        o->name = strdup(l->name);
        if (!o->name) {
                fail(o, l, ERROR_FAILED, NO_MEMORY);
                return;
        }
        if (!l->have_members || (o->dry_run && lockdown_stale(l))) {
                lockdown_refresh(l, on_resolved, o);
                return;
        }
        if (o->dry_run) {
                dry_run(o);
                return;
        }
        r = put_in_force(o);
        if (r == -ENODATA && lockdown_stale(l)) /* the list on hand is empty: ask before saying so */
                lockdown_refresh(l, on_resolved, o);
        else if (r < 0)
                fail_to_order(o, r);
        else
                confirm_membership(o);
}

static bool taken(const struct manager *m, const char *name)
{
        return manager_find(m, name) || config_find(m->config, name);
}

/* "adhoc", "adhoc-2", … */
static int choose_name(const struct manager *m, struct profile *p)
{
        char name[PROFILE_NAME_MAX + 1] = "adhoc";

        for (unsigned i = 2; taken(m, name); i++)
                (void)snprintf(name, sizeof(name), "adhoc-%u", i);
        free(p->name);
        p->name = strdup(name);
        return p->name ? 0 : -ENOMEM;
}

static void order_adhoc(struct manager *m, const struct order_request *request, const struct caller *caller,
                        manager_done_t done, void *userdata)
{
        struct operation op = {.done = done, .userdata = userdata};
        _cleanup_(profile_freep) struct profile *p = request->adhoc;
        struct lockdown *l = NULL;

        if (p->name[0] == '\0' && choose_name(m, p) < 0) {
                operation_fail(&op, ERROR_FAILED, NO_MEMORY);
                return;
        }
        l = manager_find(m, p->name);
        if (l && l->order && !l->configured && profile_same_block(l->order->profile, p)) {
                already_in_force(&op, l, &request->time, request->confirm_within);
                return;
        }
        if (taken(m, p->name)) {
                operation_fail(&op, ERROR_NAME_IN_USE, "the name %s is in use: choose another with --name",
                               p->name);
                return;
        }
        l = manager_add(m, p, false);
        if (!l) {
                operation_fail(&op, ERROR_FAILED, NO_MEMORY);
                return;
        }
        order_begin(l, request, caller, done, userdata);
}

void manager_order(struct manager *m, const struct order_request *request, const struct caller *caller,
                   manager_done_t done, void *userdata)
{
        struct operation op = {.done = done, .userdata = userdata};
        struct lockdown *l;

        if (!request->profile) {
                order_adhoc(m, request, caller, done, userdata);
                return;
        }
        l = manager_find(m, request->profile);
        if (!l || (!l->configured && !l->order))
                manager_no_such_profile(m, &op, request->profile);
        else if (l->order && !request->dry_run)
                already_in_force(&op, l, &request->time, request->confirm_within);
        else
                order_begin(l, request, caller, done, userdata);
}
