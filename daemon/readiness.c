/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "readiness.h"
#include "audit.h"
#include <errno.h>

struct readiness {
        struct manager *manager;
        struct notifier *notifier;
        sd_event_source *each_turn, *patience; /* NULL when it has been told */
};

static void tell(struct readiness *r)
{
        r->each_turn = sd_event_source_disable_unref(r->each_turn);
        r->patience = sd_event_source_disable_unref(r->patience);
        notifier_ready(r->notifier);
}

static int on_turn(sd_event_source *source, void *userdata)
{
        struct readiness *r = userdata;

        (void)source;
        if (!manager_lacks_people(r->manager))
                tell(r);
        return 0;
}

static int on_patience(sd_event_source *source, uint64_t usec, void *userdata)
{
        (void)source;
        (void)usec;
        audit_log(LOG_CRIT, "the directory does not say whom the orders are about whose lists are lost: the "
                            "network comes up, and nobody is held by these until it does");
        tell(userdata);
        return 0;
}

static int wait_for_people(struct readiness *r, sd_event *event, uint64_t patience)
{
        int e = sd_event_add_time_relative(event, &r->patience, CLOCK_BOOTTIME, patience, 0, on_patience, r);

        return e < 0 ? e : sd_event_add_post(event, &r->each_turn, on_turn, r);
}

int readiness_new(sd_event *event, struct manager *manager, struct notifier *notifier, uint64_t patience,
                  struct readiness **ret)
{
        _cleanup_(readiness_freep) struct readiness *r = calloc(1, sizeof(*r));
        int e = 0;

        if (!r)
                return -ENOMEM;
        r->manager = manager;
        r->notifier = notifier;
        if (manager_lacks_people(manager))
                e = wait_for_people(r, event, patience);
        else
                tell(r);
        if (e < 0)
                return e;
        *ret = TAKE_PTR(r);
        return 0;
}

struct readiness *readiness_free(struct readiness *r)
{
        if (!r)
                return NULL;
        sd_event_source_disable_unref(r->each_turn);
        sd_event_source_disable_unref(r->patience);
        free(r);
        return NULL;
}
