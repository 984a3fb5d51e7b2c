/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "explain.h"
#include "json-text.h"
#include "report.h"
#include "route.h"

#include <errno.h>
#include <string.h>

/* An order that covers the user, or not, and where it sends a question to a resolver. */
struct view {
        const struct lockdown *lockdown;
        struct subjects subjects;
        struct explained_order order;
        bool covered, redirects;
        struct because user;
        struct redirection to;
};

static void views_free(struct view *views, size_t n)
{
        for (size_t i = 0; views && i < n; i++) {
                subjects_clear(&views[i].subjects);
                because_clear(&views[i].user);
        }
        free(views);
}

static int view_init(struct view *v, const struct lockdown *l, const struct person *p,
                     const struct explain_question *q)
{
        int r = lockdown_subjects(l, &v->subjects);

        if (r < 0)
                return r;
        v->lockdown = l;
        v->order = (struct explained_order){
                .profile = l->order->profile, .subjects = &v->subjects, .adhoc = l->order->adhoc};
        r = explain_user(&v->order, p, q->user, &v->covered, &v->user);
        if (r < 0)
                return r;
        v->redirects = v->covered && explain_redirects(v->order.profile, &q->destination, &v->to);
        if (v->redirects)
                v->to.target.local = route_is_local(v->to.target.family, v->to.target.addr, p->self.uid) > 0;
        return 0;
}

static json_t *because_json(const struct because *b)
{
        json_t *j = json_pack("{s:s}", "reason", b->sentence);

        if (!j || !b->key)
                return j;
        (void)json_object_set_new(j, "key", json_string(b->key));
        (void)json_object_set_new(j, "word", json_string(b->word));
        (void)json_object_set_new(j, "source", json_string(source_to_string(b->source)));
        if (b->source == SOURCE_FILE) {
                (void)json_object_set_new(j, "file", json_string(b->file));
                (void)json_object_set_new(j, "line", json_integer(b->line));
        }
        return j;
}

/* The line that decides the whole. */
static void put_place(json_t *verdict, const struct because *b)
{
        if (b->source != SOURCE_FILE)
                return;
        (void)json_object_set_new(verdict, "file", json_string(b->file));
        (void)json_object_set_new(verdict, "line", json_integer(b->line));
}

/* Both judgements: where it was to go, and where another order sends it. The first that refuses counts. */
static int judge(const struct view *v, const struct view *views, size_t n, const struct endpoint *e,
                 enum judgement *ret_judgement, struct because *ret)
{
        int r = explain_destination(&v->order, e, ret_judgement, ret);

        for (size_t i = 0; i < n && r >= 0 && !judgement_refuses(*ret_judgement); i++) {
                if (&views[i] == v || !views[i].redirects)
                        continue;
                because_clear(ret);
                r = explain_redirected(&v->order, &views[i].to, views[i].lockdown->name, ret_judgement, ret);
        }
        return r;
}

static json_t *verdict_json(const struct view *v, const struct view *views, size_t n,
                            const struct endpoint *e, bool *ret_refused)
{
        _cleanup_because_ struct because destination = {0};
        const struct lockdown *l = v->lockdown;
        enum judgement j = JUDGE_LOCAL;
        bool refused = false;
        json_t *verdict, *reason;

        if (v->covered && judge(v, views, n, e, &j, &destination) < 0)
                return NULL;
        refused = v->covered && judgement_refuses(j);
        reason = v->covered ? json_sprintf("%s %s: %s", l->name, refused ? "refuses it" : "lets it through",
                                           destination.sentence)
                            : json_sprintf("%s does not cover this user: %s", l->name, v->user.sentence);
        verdict = json_pack("{s:s,s:s,s:b,s:b,s:o,s:o}", "profile", l->name, "order", l->order->id, "covers",
                            v->covered, "refused", refused, "reason", reason, "user", because_json(&v->user));
        if (!verdict)
                return NULL;
        if (v->covered)
                (void)json_object_set_new(verdict, "destination", because_json(&destination));
        put_place(verdict, v->covered ? &destination : &v->user);
        if (l->kernel_problem)
                (void)json_object_set_new(verdict, "problem", json_string_lenient(l->kernel_problem));
        *ret_refused |= refused;
        return verdict;
}

static struct view *look(const struct manager *m, const struct person *p, const struct explain_question *q,
                         size_t *ret_n)
{
        struct view *views = calloc(m->n_lockdowns + 1, sizeof(*views));
        size_t n = 0;

        for (size_t i = 0; views && i < m->n_lockdowns; i++) {
                if (!m->lockdowns[i]->order)
                        continue;
                if (view_init(&views[n++], m->lockdowns[i], p, q) >= 0)
                        continue;
                views_free(views, n);
                return NULL;
        }
        *ret_n = n;
        return views;
}

json_t *report_explain(struct manager *m, const struct person *p, const struct explain_question *question)
{
        struct explain_question q = *question;
        struct view *views;
        json_t *verdicts;
        bool refused = false, failed;
        size_t n = 0;

        if (!q.destination.local)
                q.destination.local =
                        route_is_local(q.destination.family, q.destination.addr, p->self.uid) > 0;
        views = look(m, p, &q, &n);
        verdicts = views ? json_array() : NULL;
        failed = !verdicts;
        for (size_t i = 0; i < n && !failed; i++)
                failed = json_array_append_new(
                                 verdicts, verdict_json(&views[i], views, n, &q.destination, &refused)) < 0;
        views_free(views, n);
        if (failed) {
                json_decref(verdicts);
                return NULL;
        }
        return json_pack("{s:s,s:I,s:s,s:b,s:b,s:o}", "user", q.user, "uid", (json_int_t)p->self.uid,
                         "destination", q.text, "local", q.destination.local, "refused", refused, "verdicts",
                         verdicts);
}
