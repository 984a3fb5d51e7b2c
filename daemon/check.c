/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "check.h"
#include "access.h"
#include "config.h"
#include "own.h"
#include "profile-names.h"
#include "resolver.h"
#include "timespan.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define CHECK_DEADLINE (30 * USEC_PER_SEC)

/* What one answer of the directory is to be compared with. */
struct question {
        sd_event *event;
        const struct profile *profile; /* or: */
        const struct words *access;
        struct problems *problems;
        size_t *open; /* questions not answered yet */
};

static void on_answer(void *userdata, int error, struct membership *m)
{
        struct question *q = userdata;

        if (error < 0)
                problems_add(q->problems, "the users and groups could not be looked up: %s",
                             strerror(-error));
        else if (q->profile)
                profile_check_names(q->profile, m, q->problems);
        else
                access_check_names(q->access, m, q->problems);
        if (--*q->open == 0)
                (void)sd_event_exit(q->event, 0);
}

static int ask_profile(struct resolver *r, struct question *q)
{
        const struct profile *p = q->profile;
        const struct resolver_query query = {.groups = &p->groups,
                                             .users = &p->users,
                                             .except_groups = &p->except_groups,
                                             .except_users = &p->except_users};

        return resolver_resolve(r, &query, CHECK_DEADLINE, on_answer, q);
}

static int ask_access(struct resolver *r, struct question *q)
{
        _cleanup_words_ struct words users = {0}, groups = {0};
        struct access_list ignored = {0};
        const struct resolver_query query = {.groups = &groups, .users = &users};
        int e = access_prepare(q->access, &ignored, &users, &groups);

        access_clear(&ignored);
        return e < 0 ? e : resolver_resolve(r, &query, CHECK_DEADLINE, on_answer, q);
}

static int check_names(const struct config *c, const char *executable, struct problems *problems)
{
        _cleanup_(sd_event_unrefp) sd_event *event = NULL;
        _cleanup_(launcher_freep) struct launcher *launcher = NULL;
        _cleanup_(resolver_freep) struct resolver *resolver = NULL;
        const struct words *access[] = {&c->access_order, &c->access_lift, &c->access_status};
        size_t n = c->n_profiles + ELEMENTSOF(access), open = n;
        _cleanup_free_ struct question *questions = calloc(n, sizeof(*questions));
        int r = questions ? sd_event_new(&event) : -ENOMEM;

        if (r >= 0)
                r = launcher_new(executable, NULL, &launcher);
        if (r >= 0)
                r = resolver_new(event, launcher, &resolver);
        for (size_t i = 0; i < n && r >= 0; i++) {
                struct question *q = &questions[i];

                *q = (struct question){.event = event, .problems = problems, .open = &open};
                if (i < c->n_profiles) {
                        q->profile = c->profiles[i];
                        r = ask_profile(resolver, q);
                } else {
                        q->access = access[i - c->n_profiles];
                        r = ask_access(resolver, q);
                }
        }
        return r < 0 ? r : sd_event_loop(event);
}

/* What root can read, the daemon may not be able to: it is to be told here, not at the reload. */
static int load_for(bool system, const char *dir, struct config **ret, struct problems *problems)
{
        struct own_rights before;
        bool as_user = system && own_act_as_user(&before);
        int r = config_load_trusted(dir, ret, problems);

        if (as_user)
                own_act_as_root(&before);
        return r;
}

int check_run(const char *dir, bool system, const char *executable, FILE *out, FILE *errors)
{
        _cleanup_(config_freep) struct config *c = NULL;
        _cleanup_problems_ struct problems problems = {0};
        int r = load_for(system, dir, &c, &problems);

        if (r >= 0)
                r = check_names(c, executable, &problems);
        if (r < 0 && problems.n == 0)
                problems_add(&problems, "%s: %s", dir, strerror(-r));
        for (size_t i = 0; i < problems.n; i++)
                fprintf(errors, "%s\n", problems.items[i]);
        if (problems.n > 0)
                return EXIT_FAILURE;
        r = config_write(c, out);
        return r < 0 || fflush(out) != 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
