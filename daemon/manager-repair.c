/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "manager-internal.h"
#include "processes.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

/* What others change is put right. Where tables cannot be owned (before Linux 6.9) everybody with the right
 * can remove them: then each moment counts, so first of all something refuses again, and everything else
 * comes after that. */

/* Somebody may do it over and over: one journal entry in this time, and it says how many. */
#define TELL_INTERVAL (10 * USEC_PER_SEC)
/* Putting so many people into a set takes the kernel longer than everything else. */
#define MANY (1000)
#define ATTEMPTS 3
/* So many take the kernel half a second to tell, and ten times as many ten: where nobody else can change the
 * table, its word that it has them is enough, as long as nobody asks. */
#define HUGE 200000

static uint64_t boottime(void)
{
        struct now now;

        clock_now(&now);
        return now.boottime;
}

/* ---- the book of it ---- */

static void describe(const struct tampering *t, char *buf, size_t size)
{
        if (t->pid > 0)
                (void)snprintf(buf, size, " by %s (pid %" PRIu32 ")", t->program[0] ? t->program : "somebody",
                               t->pid);
        else
                (void)snprintf(buf, size, "%s%s", t->program[0] ? " by " : "", t->program);
}

static void tell(struct lockdown *l, const char *what)
{
        struct tampering *t = &l->tampering;
        uint64_t untold = t->times - t->told;
        char by[64];

        describe(t, by, sizeof(by));
        if (what && untold == 1)
                audit(AUDIT_REPAIRED, LOG_WARNING, l->order, NULL, "%s had been changed%s: %s. Repaired",
                      l->name, by, what);
        else
                audit(AUDIT_REPAIRED, LOG_WARNING, l->order, NULL,
                      "%s had been changed %" PRIu64
                      " more times, last%s, and was repaired each time (in all %" PRIu64
                      " times; the longest took %" PRIu64 ".%03" PRIu64 " ms to notice and close)",
                      l->name, untold, by[0] ? by : " by somebody", t->times, t->longest / 1000,
                      t->longest % 1000);
        t->told = t->times;
        t->told_at = boottime();
}

void lockdown_tell_tampering(struct lockdown *l)
{
        if (l->order && l->tampering.times > l->tampering.told)
                tell(l, NULL);
}

void manager_tell_tampering(struct manager *m)
{
        for (size_t i = 0; i < m->n_lockdowns; i++)
                if (boottime() - m->lockdowns[i]->tampering.told_at >= TELL_INTERVAL)
                        lockdown_tell_tampering(m->lockdowns[i]);
}

/* BY may be NULL. CLOSED_AFTER: microseconds until something refused again. */
static void note(struct lockdown *l, const struct nft_change *by, const char *what, uint64_t closed_after)
{
        struct tampering *t = &l->tampering;
        struct now now;

        clock_now(&now);
        t->times++;
        t->last_at = now.realtime;
        (void)snprintf(t->program, sizeof(t->program), "%s", by ? by->program : "");
        t->pid = by ? by->pid : 0;
        if (closed_after > t->longest)
                t->longest = closed_after;
        if (t->told_at == 0 || now.boottime - t->told_at >= TELL_INTERVAL)
                tell(l, what);
}

/* ---- what came up through the hole ---- */

static int on_sever(sd_event_source *source, void *userdata)
{
        struct manager *m = userdata;

        (void)source;
        for (size_t i = 0; i < m->n_lockdowns; i++) {
                struct lockdown *l = m->lockdowns[i];

                if (l->order && l->sever_later)
                        lockdown_sever(l, NULL);
                l->sever_later = false;
        }
        return 0;
}

/* Behind all changes that are still to be heard of. */
static void sever_later(struct lockdown *l)
{
        struct manager *m = l->manager;
        int r = 0;

        l->sever_later = true;
        if (!m->sever_later)
                r = sd_event_add_defer(m->event, &m->sever_later, on_sever, m);
        if (r >= 0)
                r = sd_event_source_set_enabled(m->sever_later, SD_EVENT_ONESHOT);
        if (r < 0) {
                lockdown_sever(l, NULL);
                l->sever_later = false;
        }
}

/* ---- the tables ---- */

/* WHOLE: not even what nobody can have changed is believed. */
static void choose_what_to_compare(struct lockdown *l, bool whole)
{
        if (whole)
                ruleset_set_compared(l->loaded, false);
        else if (ruleset_n_members(l->loaded) > HUGE)
                ruleset_set_compared(l->loaded, true);
}

struct nft_reading *lockdown_new_reading(struct lockdown *l, bool whole)
{
        if (!l->loaded || !lockdown_knows_people(l))
                return NULL;
        choose_what_to_compare(l, whole);
        return nft_reading_new(l->manager->nft, l->loaded);
}

/* Does the kernel hold what it should? READING may be NULL. 0: yes; 1: no, and RET_DIFFERENCE says where (the
 * caller frees); -errno: it could not be read. */
static int compare_tables(struct lockdown *l, bool whole, const struct nft_reading *reading,
                          char **ret_difference)
{
        int r;

        if (!l->loaded) {
                set_problem(ret_difference, "it is not in the kernel");
                return 1;
        }
        /* A device that came this very moment is no difference. */
        if (l->engaged)
                (void)nft_cover_devices(l->manager->nft, l->loaded, NULL);
        choose_what_to_compare(l, whole);
        r = nft_verify_read(l->manager->nft, l->loaded, l->order != NULL, reading, ret_difference);
        ruleset_set_compared(l->loaded, r == 0);
        return r;
}

/* The same with those people only who have processes at this moment: there are few of them, however many the
 * order covers. NULL: it covers few, or that cannot be told. */
static struct ruleset *build_few(const struct lockdown *l)
{
        _cleanup_subjects_ struct subjects s = {0};
        _cleanup_idset_ struct idset active = {0};
        struct ruleset *few = NULL;

        if (lockdown_subjects(l, &s) < 0 || s.everyone ||
            idset_count(&s.uids) + s.uid_ranges.n + s.gid_ranges.n < MANY || processes_read_uids(&active) < 0)
                return NULL;
        if (subjects_keep(&s, &active) < 0 || lockdown_build(l, lockdown_profile(l), &s, &few) < 0)
                return NULL;
        return few;
}

/* Something refuses again, as soon as can be. True: all of it, as it should be. */
static bool close_hole(struct lockdown *l, bool gone)
{
        _cleanup_(ruleset_freep) struct ruleset *few = build_few(l);
        struct nft *nft = l->manager->nft;

        if (gone && !few) {
                if (nft_replace(nft, l->loaded, true, NULL) < 0)
                        return false;
                lockdown_counts_anew(l);
                return true;
        }
        (void)nft_stand_in(nft, l->loaded, few, NULL);
        return false;
}

/* GONE: there is nothing left of it. */
static void repair_tables(struct lockdown *l, const char *difference, const struct nft_change *by,
                          uint64_t since, bool gone)
{
        uint64_t closed_at = 0;
        int r = -ENOENT;

        /* Again where somebody removes it while that is going on. */
        for (unsigned i = 0; r == -ENOENT && i < ATTEMPTS; i++) {
                bool whole = l->order && l->loaded && close_hole(l, gone);

                closed_at = closed_at > 0 ? closed_at : boottime();
                if (!whole)
                        set_problem(&l->kernel_problem, "%s", difference);
                r = lockdown_sync(l);
        }
        if (r < 0 || !l->order)
                return; /* what went wrong is told there, and tried again by the timer */
        l->repaired_at = since;
        sever_later(l);
        note(l, by, difference, closed_at - since);
}

static bool check(struct lockdown *l, bool whole, const struct nft_reading *reading,
                  const struct nft_change *by, uint64_t since)
{
        _cleanup_free_ char *difference = NULL;
        int r;

        /* Nobody knows yet whom it is about: what the kernel holds, it goes on holding. */
        if (!lockdown_knows_people(l))
                return false;
        r = compare_tables(l, whole, reading, &difference);
        if (r == 0)
                return false;
        repair_tables(l, difference ? difference : strerror(-r), by, since, false);
        return true;
}

bool lockdown_check_tables(struct lockdown *l, bool whole, const struct nft_reading *reading)
{
        return check(l, whole, reading, NULL, boottime());
}

static bool was_removed(const struct lockdown *l, const struct words *removed)
{
        for (size_t i = 0; i < removed->n; i++)
                if (strncmp(removed->items[i].text, TABLE_PREFIX, strlen(TABLE_PREFIX)) == 0 &&
                    strcmp(removed->items[i].text + strlen(TABLE_PREFIX), l->name) == 0)
                        return true;
        return false;
}

void manager_tables_changed(struct manager *m, const struct nft_change *change)
{
        const uint64_t since = boottime();

        /* Those that are surely open first, without looking at what there may be of the others. */
        for (size_t i = 0; i < m->n_lockdowns; i++) {
                struct lockdown *l = m->lockdowns[i];

                if (l->order && l->loaded && lockdown_knows_people(l) && was_removed(l, &change->removed) &&
                    nft_is_there(m->nft, l->name) == 0)
                        repair_tables(l, "its table was removed, and what that had counted with it", change,
                                      since, true);
        }
        for (size_t i = 0; i < m->n_lockdowns; i++) {
                m->lockdowns[i]->staging_meddled = true; /* looked at when it is all there */
                if (m->lockdowns[i]->loaded && m->lockdowns[i]->repaired_at != since)
                        (void)check(m->lockdowns[i], false, NULL, change, since);
        }
}

/* ---- the second lock ---- */

static void repair_second(struct lockdown *l, const char *difference)
{
        _cleanup_free_ char *what = NULL;

        l->second_engaged = false; /* as far as it can be relied on: put on anew, without a gap */
        lockdown_second_sync(l);
        if (l->second_problem)
                return;
        set_problem(&what, "the second lock: %s", difference);
        note(l, NULL, what ? what : difference, 0);
}

bool lockdown_check_second(struct lockdown *l)
{
        _cleanup_free_ char *difference = NULL;
        int r = lockdown_second_verify(l, &difference);

        if (r == 0)
                return false;
        repair_second(l, difference ? difference : strerror(-r));
        return true;
}
