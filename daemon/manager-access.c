/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "manager-internal.h"

#include <errno.h>
#include <string.h>

/* Who may order, lift, look: [Access], looked up. */

struct access_query {
        struct manager *manager;
        enum right right;
        struct access_list list; /* so far */
};

static void access_query_drop(struct manager *m, enum right right)
{
        struct access_query *q = m->access_queries[right];

        if (!q)
                return;
        m->access_queries[right] = NULL;
        resolver_cancel(m->resolver, q);
        access_clear(&q->list);
        free(q);
}

static void become_known(struct manager *m, enum right right)
{
        if (m->access_known[right])
                return;
        m->access_known[right] = true;
        if (m->right_known)
                m->right_known(m->right_known_userdata);
}

bool manager_right_unknown(const struct manager *m, enum right right)
{
        return !m->access_known[right];
}

void manager_on_right_known(struct manager *m, manager_right_known_t callback, void *userdata)
{
        m->right_known = callback;
        m->right_known_userdata = userdata;
}

/* Of what was asked and not answered, whom it allowed before it still allows. */
static int keep_unanswered(struct access_query *q, const struct membership *answer)
{
        const struct access_list *before = &q->manager->access[q->right];
        const struct membership known = {.subjects = {.uids = before->uids, .gids = before->gids}};

        return answer->unresolved.n > 0 ? access_add(&q->list, &known) : 0;
}

static void access_replace(struct access_query *q)
{
        struct access_list *list = &q->manager->access[q->right];

        access_clear(list);
        *list = q->list;
        q->list = (struct access_list){0};
}

/* What is wrong with a right, if anything: told when it is another thing than before. */
static void tell(struct manager *m, enum right right, char *problem)
{
        char **before = &m->access_problems[right];

        if (problem && (!*before || strcmp(*before, problem) != 0))
                audit_log(LOG_ERR, "[Access], %s=: %s", access_key(right), problem);
        free(*before);
        *before = problem;
}

static char *say_missing(const struct membership *answer)
{
        _cleanup_free_ char *unresolved = words_join(&answer->unresolved);
        _cleanup_free_ char *groups = words_join(&answer->missing_groups);
        _cleanup_free_ char *users = words_join(&answer->missing_users);
        char *text = NULL;

        if (answer->unresolved.n > 0)
                set_problem(&text,
                            "the directory did not answer for %s; whom it allowed before, it still allows",
                            unresolved);
        else if (answer->missing_groups.n > 0)
                set_problem(&text, "there is no group %s", groups);
        else if (answer->missing_users.n > 0)
                set_problem(&text, "there is no user %s", users);
        return text;
}

static void on_access(void *userdata, int error, struct membership *answer)
{
        struct access_query *q = userdata;
        struct manager *m = q->manager;
        const enum right right = q->right;
        struct again *again = &m->access_again[right];
        char *problem = NULL;

        if (error >= 0)
                error = access_add(&q->list, answer);
        if (error >= 0)
                error = keep_unanswered(q, answer);
        if (error < 0)
                set_problem(&problem,
                            "its users and groups could not be looked up (%s); whom it allowed before, it "
                            "still allows",
                            resolver_explain(error));
        else {
                problem = say_missing(answer);
                access_replace(q);
        }
        if (error < 0 || membership_degraded(answer))
                again_later(again);
        else
                *again = (struct again){0};
        tell(m, right, problem);
        access_query_drop(m, right);
        become_known(m, right);
}

static bool access_unknown(const struct access_list *l)
{
        return !l->everybody && l->uids.n == 0 && l->gids.n == 0;
}

static int refresh_right(struct manager *m, enum right right, const struct words *configured)
{
        _cleanup_words_ struct words users = {0}, groups = {0};
        struct access_query *q = calloc(1, sizeof(*q));
        int r;

        if (!q)
                return -ENOMEM;
        q->manager = m;
        q->right = right;
        access_query_drop(m, right);
        m->access_queries[right] = q;
        r = access_prepare(configured, &q->list, &users, &groups);
        if (r >= 0 && users.n + groups.n == 0) { /* nothing to look up */
                access_replace(q);
                tell(m, right, NULL);
                m->access_again[right] = (struct again){0};
                access_query_drop(m, right);
                become_known(m, right);
                return 0;
        }
        /* root does not wait for a directory */
        if (r >= 0 && access_unknown(&m->access[right])) {
                r = idset_copy(&q->list.uids, &m->access[right].uids);
                m->access[right].everybody = q->list.everybody;
        }
        if (r >= 0) {
                const struct resolver_query query = {.groups = &groups, .users = &users};

                r = resolver_resolve(m->resolver, &query, RESOLVE_DEADLINE, on_access, q);
        }
        if (r < 0)
                access_query_drop(m, right);
        return r;
}

static void refresh(struct manager *m, enum right right)
{
        const struct words *configured[_RIGHT_MAX] = {
                [RIGHT_ORDER] = &m->config->access_order,
                [RIGHT_LIFT] = &m->config->access_lift,
                [RIGHT_STATUS] = &m->config->access_status,
        };
        int r = refresh_right(m, right, configured[right]);

        if (r == -ENOMEM) /* until it is known, nobody has the right, not even root */
                r = refresh_right(m, right, configured[right]);
        if (r < 0) {
                audit_log(LOG_WARNING, "the users and groups of [Access] could not be looked up: %s",
                          strerror(-r));
                again_later(&m->access_again[right]);
                become_known(m, right);
        }
}

void manager_refresh_access(struct manager *m)
{
        for (enum right right = 0; right < _RIGHT_MAX; right++)
                refresh(m, right);
}

void manager_ask_access_again(struct manager *m)
{
        for (enum right right = 0; right < _RIGHT_MAX; right++)
                if (again_due(&m->access_again[right]) && !m->access_queries[right])
                        refresh(m, right);
}

void manager_forget_access(struct manager *m)
{
        for (enum right right = 0; right < _RIGHT_MAX; right++) {
                access_query_drop(m, right);
                access_clear(&m->access[right]);
                free(m->access_problems[right]);
        }
}
