/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "report.h"
#include "json-text.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

/* jansson takes NULL for a value that could not be made and says -1; one look at the end is enough. */
struct builder {
        json_t *object;
        bool failed;
};

static void put(struct builder *b, const char *key, json_t *value)
{
        if (json_object_set_new(b->object, key, value) < 0)
                b->failed = true;
}

static void put_optional(struct builder *b, const char *key, const char *text)
{
        if (text && *text)
                put(b, key, json_string_lenient(text));
}

static json_t *finish(struct builder *b)
{
        if (b->failed) {
                json_decref(b->object);
                return NULL;
        }
        return b->object;
}

static struct builder begin(void)
{
        json_t *object = json_object();

        return (struct builder){.object = object, .failed = !object};
}

int report_time(json_t *into, const char *key, uint64_t usec)
{
        char text[64], key_usec[64];

        (void)snprintf(key_usec, sizeof(key_usec), "%s_usec", key);
        if (json_object_set_new(into, key, json_string(timestamp_format_rfc3339(usec, text, sizeof(text)))) <
            0)
                return -ENOMEM;
        return json_object_set_new(into, key_usec, json_integer((json_int_t)usec)) < 0 ? -ENOMEM : 0;
}

static void put_time(struct builder *b, const char *key, uint64_t usec)
{
        if (usec && report_time(b->object, key, usec) < 0)
                b->failed = true;
}

static json_t *count(uint64_t n)
{
        return json_integer((json_int_t)n);
}

static json_t *words_json(const struct words *w)
{
        json_t *list = json_array();

        for (size_t i = 0; list && i < w->n; i++)
                if (json_array_append_new(list, json_string_lenient(w->items[i].text)) < 0) {
                        json_decref(list);
                        return NULL;
                }
        return list;
}

static json_t *caller_json(const struct caller *c)
{
        struct builder b = begin();

        put(&b, "uid", count(c->uid));
        put(&b, "pid", json_integer(c->pid));
        put_optional(&b, "name", c->name);
        return finish(&b);
}

static json_t *refused_json(uint64_t packets, uint64_t bytes)
{
        struct builder b = begin();

        put(&b, "packets", count(packets));
        put(&b, "bytes", count(bytes));
        return finish(&b);
}

/* ---- names ---- */

const char *names_find(const struct names *names, uint32_t uid)
{
        size_t low = 0, high = names ? names->n : 0;

        while (low < high) {
                size_t middle = low + (high - low) / 2;

                if (names->uids[middle] == uid)
                        return names->names[middle];
                if (names->uids[middle] < uid)
                        low = middle + 1;
                else
                        high = middle;
        }
        return NULL;
}

static json_t *covered_names(const struct idset *uids, const struct names *names)
{
        json_t *list = json_array();
        struct idset_iterator it = {0};
        uint32_t uid;

        while (list && idset_next(uids, &it, &uid)) {
                const char *name = names_find(names, uid);
                char number[16];

                (void)snprintf(number, sizeof(number), "%" PRIu32, uid);
                if (json_array_append_new(list, json_string_lenient(name ? name : number)) < 0) {
                        json_decref(list);
                        return NULL;
                }
        }
        return list;
}

/* ---- one order ---- */

static json_t *gids_json(const struct idset *gids)
{
        json_t *list = json_array();
        struct idset_iterator it = {0};
        uint32_t gid;

        while (list && idset_next(gids, &it, &gid))
                if (json_array_append_new(list, count(gid)) < 0) {
                        json_decref(list);
                        return NULL;
                }
        return list;
}

static json_t *subjects_json(const struct lockdown *l, const struct profile *p, const struct names *names)
{
        _cleanup_subjects_ struct subjects s = {0};
        struct builder b = begin();

        if (l && lockdown_subjects(l, &s) < 0)
                b.failed = true;
        put(&b, "everyone", json_boolean(p->everyone));
        put(&b, "group_names", words_json(&p->groups));
        put(&b, "user_names", words_json(&p->users));
        if (!l)
                return finish(&b);
        put(&b, "users", count(idset_count(&s.uids)));
        put(&b, "subordinate_ids", count(idset_count(&s.uid_ranges)));
        put(&b, "groups", gids_json(&s.gids));
        put(&b, "except_users", count(idset_count(&s.except_uids)));
        if (names)
                put(&b, "names", covered_names(&s.uids, names));
        return finish(&b);
}

/* "internal" where nothing is configured: that is what is in force then. */
static json_t *allow_json(const struct profile *p)
{
        return p->allow.n > 0 ? words_json(&p->allow) : json_pack("[s]", "internal");
}

static void put_plan(struct builder *b, const struct profile *p)
{
        put_optional(b, "description", p->description);
        put(b, "allow", allow_json(p));
        put(b, "dns", json_string(p->dns ? p->dns : "deny"));
        put(b, "loopback_deny", words_json(&p->loopback_deny));
        put(b, "forward", json_string(p->forward_deny ? "deny" : "keep"));
        put(b, "sessions", json_boolean(p->sessions));
        put(b, "services", words_json(&p->services));
        put(b, "remote_sessions", json_string(p->end_remote_sessions ? "end" : "keep"));
}

/* "WHAT: WHY" */
static json_t *because_of(const char *what, const char *why)
{
        _cleanup_free_ char *text = NULL;

        if (asprintf(&text, "%s: %s", what, why) < 0)
                text = NULL;
        return text ? json_string_lenient(text) : NULL;
}

#define NOT_AVAILABLE "not available"
#define NOT_AS_IT_SHOULD_BE "NOT in force as it should be"

static json_t *rules_json(const struct lockdown *l)
{
        return l->kernel_problem ? because_of(NOT_AS_IT_SHOULD_BE, l->kernel_problem)
                                 : json_string("in force");
}

static json_t *second_lock_json(const struct lockdown *l)
{
        const struct manager *m = l->manager;

        if (!lockdown_profile(l)->second_lock)
                return json_string("off (SecondLock=no)");
        if (l->second_problem)
                return because_of(NOT_AS_IT_SHOULD_BE, l->second_problem);
        if (l->second_engaged)
                return json_string("in force");
        return because_of(NOT_AVAILABLE, m->second_problem ?: "it is not engaged");
}

static json_t *sender_lock_json(const struct lockdown *l)
{
        const struct manager *m = l->manager;
        const char *why;

        if (!lockdown_profile(l)->second_lock)
                return json_string("off (SecondLock=no)");
        if (!l->second_engaged || l->second_problem)
                return json_string("not available: it is a part of the second lock");
        why = second_lock_no_sender(m->second);
        return why ? because_of(NOT_AVAILABLE, why) : json_string("in force");
}

static json_t *packet_sockets_json(const struct lockdown *l)
{
        const char *why_not = nft_why_no_frames(l->manager->nft);

        if (why_not)
                return because_of(NOT_AVAILABLE, why_not);
        if (l->kernel_problem || l->frames_problem)
                return because_of(NOT_AS_IT_SHOULD_BE, l->frames_problem ?: l->kernel_problem);
        return json_string("in force");
}

static void put_locks(struct builder *b, const struct lockdown *l)
{
        struct builder locks = begin();

        put(&locks, "nftables", rules_json(l));
        put(&locks, "packet_sockets", packet_sockets_json(l));
        put(&locks, "second_lock", second_lock_json(l));
        put(&locks, "sender_lock", sender_lock_json(l));
        put(b, "locks", finish(&locks));
}

static void put_membership(struct builder *b, const struct lockdown *l)
{
        struct builder membership = begin();

        put_time(&membership, "as_of", l->members.as_of);
        put(&membership, "source", json_string(l->from_disk ? "saved" : "resolved"));
        put_optional(&membership, "problem", l->members_problem);
        put(b, "membership", finish(&membership));
}

static void put_tampering(struct builder *b, const struct tampering *t)
{
        struct builder tampering = begin();

        put(&tampering, "times", count(t->times));
        put_time(&tampering, "last_at", t->last_at);
        put_optional(&tampering, "program", t->program);
        if (t->pid > 0)
                put(&tampering, "pid", count(t->pid));
        put(&tampering, "longest_usec", count(t->longest));
        put(b, "tampering", finish(&tampering));
}

/* What only an order in force has. */
static void put_live(struct builder *b, struct lockdown *l, const struct order *o)
{
        uint64_t packets, bytes;
        struct now now;

        clock_now(&now);
        if (o->end != END_NEVER)
                put(b, "remaining_usec", count(order_remaining(o, &now)));
        lockdown_refused(l, &packets, &bytes);
        if (o->confirm_until > 0) {
                put_time(b, "confirm_until", o->confirm_until);
                put(b, "confirm_remaining_usec", count(order_confirm_remaining(o, &now)));
        }
        put(b, "refused", refused_json(packets, bytes));
        put(b, "holds", json_boolean(!lockdown_trouble(l)));
        put_time(b, "verified_at", l->verified_at);
        put_optional(b, "trial", l->trial_text);
        if (l->tampering.times > 0)
                put_tampering(b, &l->tampering);
        put(b, "saved", json_boolean(!l->save_problem));
        put_optional(b, "save_error", l->save_problem);
        put_locks(b, l);
        put_membership(b, l);
        put(b, "warnings", report_warnings(l));
}

static void put_finished(struct builder *b, const struct order *o)
{
        put(b, "refused", refused_json(o->refused_packets, o->refused_bytes));
        put_time(b, "ended_at", o->ended_at);
        if (o->state == ORDER_LIFTED)
                put(b, "ended_by", caller_json(&o->ended_by));
        put_optional(b, "end_reason", o->end_reason);
}

json_t *report_order(struct lockdown *l, const struct order *o, const struct names *names)
{
        static const char *const ends[] = {[END_NEVER] = "never", [END_FOR] = "for", [END_UNTIL] = "until"};
        struct builder b = begin();

        put(&b, "id", json_string(o->id));
        put(&b, "profile", json_string(o->profile->name));
        put(&b, "adhoc", json_boolean(o->adhoc));
        put(&b, "recovered", json_boolean(o->recovered));
        put(&b, "state", json_string(order_state_to_string(o->state)));
        put_time(&b, "ordered_at", o->ordered_at);
        put(&b, "ordered_by", caller_json(&o->ordered_by));
        put_optional(&b, "reason", o->reason);
        put(&b, "end", json_string(ends[o->end]));
        if (o->end != END_NEVER)
                put_time(&b, "until", o->until);
        put(&b, "severed", count(o->severed));
        put(&b, "sessions_ended", count(o->sessions_ended));
        put(&b, "subjects", subjects_json(l, o->profile, names));
        put_plan(&b, o->profile);
        if (l)
                put_live(&b, l, o);
        else
                put_finished(&b, o);
        return finish(&b);
}

/* ---- the documents ---- */

static json_t *daemon_json(const struct manager *m)
{
        const struct audit_backlog backlog = audit_backlog();
        struct builder b = begin();

        put(&b, "version", json_string(VERSION));
        put(&b, "pid", json_integer(getpid()));
        put_time(&b, "started_at", m->started_at);
        put(&b, "tables_owned", json_boolean(nft_owns_tables(m->nft)));
        put(&b, "configuration", json_string_lenient(m->config_problem ? m->config_problem : "ok"));
        put(&b, "journal_waiting", count(backlog.waiting));
        put(&b, "journal_lost", count(backlog.lost));
        return finish(&b);
}

static json_t *order_in_force(struct lockdown *l, const struct names *names, const struct sightings *doors)
{
        _cleanup_json_ json_t *order = report_order(l, l->order, names);

        return order && doors && report_doors(order, l, doors, names) < 0 ? NULL : TAKE_PTR(order);
}

json_t *report_status(struct manager *m, const char *only, const struct names *names,
                      const struct sightings *doors)
{
        struct builder b = begin();
        json_t *orders = json_array();
        size_t n = 0;

        for (size_t i = 0; i < m->n_lockdowns; i++) {
                struct lockdown *l = m->lockdowns[i];

                if (!l->order || (only && strcmp(only, l->name) != 0))
                        continue;
                n++;
                if (json_array_append_new(orders, order_in_force(l, names, doors)) < 0)
                        b.failed = true;
        }
        put(&b, "in_force", json_boolean(n > 0));
        put(&b, "orders", orders);
        put(&b, "daemon", daemon_json(m));
        put(&b, "warnings", report_daemon_warnings(m));
        return finish(&b);
}

static json_t *profile_json(const struct lockdown *l)
{
        const struct profile *p = l->profile;
        struct builder b = begin();

        put(&b, "name", json_string(p->name));
        put(&b, "groups", words_json(&p->groups));
        put(&b, "users", words_json(&p->users));
        put(&b, "everyone", json_boolean(p->everyone));
        put_plan(&b, p);
        put(&b, "in_force", json_boolean(l->order != NULL));
        put(&b, "staged", json_boolean(l->loaded != NULL));
        if (l->have_members)
                put(&b, "members", count(idset_count(&l->members.subjects.uids)));
        if (p->default_duration)
                put(&b, "default_duration_usec", count(p->default_duration));
        if (p->max_duration)
                put(&b, "max_duration_usec", count(p->max_duration));
        put_optional(&b, "problem", l->kernel_problem ? l->kernel_problem : l->members_problem);
        return finish(&b);
}

json_t *report_profiles(struct manager *m)
{
        struct builder b = begin();
        json_t *list = json_array();

        for (size_t i = 0; i < m->n_lockdowns; i++)
                if (m->lockdowns[i]->configured &&
                    json_array_append_new(list, profile_json(m->lockdowns[i])) < 0)
                        b.failed = true;
        put(&b, "profiles", list);
        put_optional(&b, "problem", m->config_problem);
        return finish(&b);
}

static json_t *remote_session_json(const struct remote_session *s, const struct names *names)
{
        struct builder b = begin();

        put(&b, "session", json_string(s->id));
        put(&b, "uid", count(s->uid));
        put_optional(&b, "user", names_find(names, s->uid));
        put_optional(&b, "from", s->host);
        return finish(&b);
}

static json_t *remote_sessions_json(const struct would_end *would, const struct names *names)
{
        json_t *list = json_array();

        for (size_t i = 0; list && i < would->n_sessions; i++)
                if (json_array_append_new(list, remote_session_json(&would->sessions[i], names)) < 0) {
                        json_decref(list);
                        return NULL;
                }
        return list;
}

json_t *report_dry_run(struct lockdown *l, const struct order *o, const char *ruleset,
                       const struct would_end *would, const struct names *names)
{
        struct builder b = begin(), covers = begin();
        _cleanup_subjects_ struct subjects s = {0};

        if (lockdown_subjects(l, &s) < 0)
                b.failed = true;
        put(&covers, "everyone", json_boolean(s.everyone));
        put(&covers, "users", count(idset_count(&s.uids)));
        put(&covers, "names", covered_names(&s.uids, names));
        put(&covers, "groups", words_json(&l->profile->groups));
        put(&covers, "subordinate_ids", count(idset_count(&s.uid_ranges)));
        put(&b, "dry_run", json_true());
        put(&b, "ruleset", json_string(ruleset));
        put(&b, "covers", finish(&covers));
        put(&b, "severs", count(would->sockets));
        put(&b, "ends_sessions", remote_sessions_json(would, names));
        if (o->end != END_NEVER)
                put_time(&b, "until", o->until);
        put(&b, "warnings", report_warnings(l));
        return finish(&b);
}
