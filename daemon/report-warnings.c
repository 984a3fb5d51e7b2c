/* SPDX-License-Identifier: GPL-2.0-or-later */

/* What the operator should know: a sentence each. */

#include "json-text.h"
#include "report.h"

#include <inttypes.h>
#include <stdarg.h>

static void warn(json_t *list, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void warn(json_t *list, const char *format, ...)
{
        _cleanup_free_ char *text = NULL;
        va_list ap;

        va_start(ap, format);
        if (vasprintf(&text, format, ap) < 0)
                text = NULL;
        va_end(ap);
        if (text)
                (void)json_array_append_new(list, json_string_lenient(text));
}

/* … for another reason than those that have a sentence of their own. */
static bool blocks_nobody(const struct lockdown *l)
{
        const struct subjects *known = &l->members.subjects;
        _cleanup_subjects_ struct subjects s = {0};

        if (!l->order || !l->have_members || l->members_problem || l->members.empty_groups.n > 0 ||
            lockdown_profile(l)->everyone)
                return false;
        if (idset_count(&known->uids) > idset_count(&known->except_uids) + 1) /* the one may be root */
                return false;
        return lockdown_subjects(l, &s) >= 0 && s.uids.n == 0;
}

json_t *report_warnings(const struct lockdown *l)
{
        _cleanup_free_ char *clock = lockdown_clock_doubt(l);
        json_t *list = json_array();
        char as_of[64], since[64];

        if (!list)
                return NULL;
        if (l->kernel_problem)
                warn(list, "the kernel does not hold what it should: %s", l->kernel_problem);
        if (l->ends_as != ORDER_ACTIVE)
                warn(list,
                     "this order has ended, but its block could not be removed; this is tried again every "
                     "few seconds");
        if (l->second_problem)
                warn(list, "the second lock is not in place as it should be: %s", l->second_problem);
        if (l->trial_problem)
                warn(list,
                     "nothing differs from what was ordered, but trying it shows that it does not hold: %s",
                     l->trial_problem);
        if (l->relay_problem)
                warn(list, "their DNS is refused where it had to be relayed to the address of DNS=: %s",
                     l->relay_problem);
        if (l->order && l->sessions_problem)
                warn(list, "%s", l->sessions_problem);
        if (l->frames_problem)
                warn(list, "what packet sockets write is not refused at every device: %s", l->frames_problem);
        if (l->save_problem)
                warn(list,
                     "this order will not survive a reboot: it could not be saved since %s in %s (%s); this "
                     "is "
                     "tried again every few seconds",
                     timestamp_format(l->unsaved_since, since, sizeof(since)), l->manager->state_dir,
                     l->save_problem);
        if (clock)
                warn(list, "%s", clock);
        for (size_t i = 0; i < l->members.empty_groups.n; i++)
                warn(list, "group %s has no members", l->members.empty_groups.items[i].text);
        if (blocks_nobody(l))
                warn(list, "it blocks nobody: whomever its groups and users name is root or excepted");
        if (l->members_problem)
                warn(list, "%s", l->members_problem);
        if (l->units_problem)
                warn(list, "%s", l->units_problem);
        if (l->from_disk && l->have_members)
                warn(list, "the list of people is the one saved %s; the directory has not confirmed it yet",
                     timestamp_format(l->members.as_of, as_of, sizeof(as_of)));
        if (l->order && !l->manager->sever)
                warn(list, "this kernel cannot cut open connections");
        return list;
}

json_t *report_daemon_warnings(const struct manager *m)
{
        const struct audit_backlog backlog = audit_backlog();
        json_t *list = json_array();

        if (!list)
                return NULL;
        if (m->config_problem)
                warn(list, "the configuration on disk is not in force: %s", m->config_problem);
        if (backlog.waiting > 0)
                warn(list, "the journal does not take entries: %" PRIu64 " of them wait for it",
                     backlog.waiting);
        if (backlog.lost > 0)
                warn(list,
                     "the journal is incomplete: %" PRIu64 " entries were lost since lockdownd was started",
                     backlog.lost);
        if (m->state_problem)
                warn(list, "%s: saved orders are not known, and none can be saved", m->state_problem);
        for (size_t i = 0; i < m->damage.n; i++)
                warn(list, "%s", m->damage.items[i]);
        if (m->orders_problem)
                warn(list,
                     "saved orders could not be read, and may NOT be in force: %s; this is tried again every "
                     "few seconds",
                     m->orders_problem);
        if (!nft_owns_tables(m->nft))
                warn(list, "this kernel has no owned tables (needs 6.9): another program's flush can remove "
                           "the block "
                           "until it is repaired");
        manager_report_unsaved_ends(m, NULL, list);
        return list;
}
