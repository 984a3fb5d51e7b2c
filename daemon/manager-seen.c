/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "manager-internal.h"

#include <errno.h>
#include <string.h>

/* People whom the directory does not list among a group's members show themselves by having a socket. Nothing
 * tells of a socket being made, so while an order by groups is in force the owners are looked at every
 * second; on a machine with very many sockets less often, so that it never takes more than a fiftieth of the
 * time. */

#define LOOK_INTERVAL USEC_PER_SEC
#define LOOK_SHARE 50
/* Subordinate ids come in tens of thousands: beyond this the list begins anew with those of the moment. */
#define SEEN_MAX 10000

static bool goes_by_groups(const struct lockdown *l)
{
        const struct profile *p = lockdown_profile(l);

        return l->order && (p->groups.n > 0 || p->except_groups.n > 0);
}

static bool any_goes_by_groups(const struct manager *m)
{
        for (size_t i = 0; i < m->n_lockdowns; i++)
                if (goes_by_groups(m->lockdowns[i]))
                        return true;
        return false;
}

/* Uids that own a socket and that no look before this one had. */
static int look(struct manager *m, struct idset *ret_new)
{
        _cleanup_idset_ struct idset owners = {0}, new = {0}, all = {0};
        _cleanup_free_ uint32_t *uids = NULL;
        size_t n = 0;
        int r = sever_owner_uids(m->sever, &uids, &n);

        for (size_t i = 0; r >= 0 && i < n; i++)
                r = idset_append(&owners, uids[i], uids[i]);
        if (r < 0)
                return r;
        idset_normalize(&owners);
        r = idset_subtract(&owners, &m->seen, &new);
        if (r >= 0 && m->seen.n < SEEN_MAX)
                r = idset_union(&owners, &m->seen, &all);
        else if (r >= 0)
                r = idset_copy(&owners, &all);
        if (r < 0)
                return r;
        idset_clear(&m->seen);
        m->seen = all;
        *ret_new = new;
        all = new = (struct idset){0};
        return 0;
}

/* Somebody among NEW whom L does not cover yet? */
static bool concerns(const struct lockdown *l, const struct idset *new)
{
        struct idset_iterator it = {0};
        uint32_t uid;

        while (idset_next(new, &it, &uid))
                if (!subjects_match_uid(&l->members.subjects, uid))
                        return true;
        return false;
}

static int on_look(sd_event_source *source, uint64_t usec, void *userdata)
{
        struct manager *m = userdata;
        _cleanup_idset_ struct idset new = {0};
        struct now before, after;
        uint64_t interval;

        (void)usec;
        if (!any_goes_by_groups(m)) {
                m->seen_timer = sd_event_source_disable_unref(m->seen_timer);
                idset_clear(&m->seen);
                return 0;
        }
        clock_now(&before);
        if (look(m, &new) >= 0 && new.n > 0)
                for (size_t i = 0; i < m->n_lockdowns; i++)
                        if (goes_by_groups(m->lockdowns[i]) && concerns(m->lockdowns[i], &new))
                                lockdown_refresh(m->lockdowns[i], NULL, NULL);
        clock_now(&after);
        interval = (after.boottime - before.boottime) * LOOK_SHARE;
        (void)sd_event_source_set_time_relative(source, interval > LOOK_INTERVAL ? interval : LOOK_INTERVAL);
        return sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
}

void manager_watch_owners(struct manager *m)
{
        int r;

        if (m->seen_timer || !m->sever || !any_goes_by_groups(m))
                return;
        r = sd_event_add_time_relative(m->event, &m->seen_timer, CLOCK_BOOTTIME, LOOK_INTERVAL, 50 * 1000,
                                       on_look, m);
        if (r < 0)
                audit_log(LOG_WARNING,
                          "who opens a first socket is not noticed at once, only every few minutes: %s",
                          strerror(-r));
}
