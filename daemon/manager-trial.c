/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "manager-internal.h"
#include "route.h"
#include "ruleset.h"
#include "trial-process.h"

#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>

/* An order is tried: what comparing cannot find is whether the kernel asks the rules at all, and whether
 * something else on this host changes the answer before. One datagram after the other is sent in a subject's
 * name, and the rules' own counters, read before and after, tell who judged it. */

/* Where several orders cover the same people, only the first is asked. This many people are looked at for one
 * whom this order covers alone. */
#define SUBJECTS_LOOKED_AT 16

struct readings {
        struct nft_trials own;
        uint64_t others, second;
};

struct trial {
        struct lockdown *lockdown;
        struct trial_process *process;
        struct trial_plan plan;
        size_t kind, candidate; /* being sent */
        uint32_t uid;
        struct readings before;
        char *results[TRIAL_KINDS];
        bool tried;    /* something outside came out as ordered */
        char *problem; /* the first that did not, or NULL */
        lockdown_tried_t callback;
        void *userdata;
};

static struct trial *trial_free(struct trial *t)
{
        if (!t)
                return NULL;
        trial_process_end(t->process);
        for (size_t i = 0; i < TRIAL_KINDS; i++)
                free(t->results[i]);
        free(t->problem);
        free(t);
        return NULL;
}

/* The last thing that is done with a trial. */
static void finish(struct lockdown *l, enum trial_verdict verdict)
{
        struct trial *t = TAKE_PTR(l->trial);
        lockdown_tried_t callback = t->callback;
        void *userdata = t->userdata;

        trial_free(t);
        callback(userdata, l, verdict);
}

/* What was found before stays found. */
static void give_up(struct lockdown *l, const char *why)
{
        set_problem(&l->trial_text, "not possible: %s", why);
        finish(l, TRIAL_UNTRIED);
}

static void conclude(struct trial *t)
{
        struct lockdown *l = t->lockdown;
        _cleanup_free_ char *text = NULL;
        size_t size;
        FILE *f = open_memstream(&text, &size);

        for (size_t i = 0, n = 0; f && i < TRIAL_KINDS; i++)
                if (t->results[i])
                        fprintf(f, "%s%s", n++ > 0 ? "; " : "", t->results[i]);
        if (f)
                (void)fclose(f);
        set_problem(&l->trial_text, "%s as uid %" PRIu32 ": %s",
                    t->problem ? "NOT as ordered,"
                    : t->tried ? "as ordered,"
                               : "not possible",
                    t->uid, text ? text : "");
        set_problem(&l->trial_problem, t->problem ? "%s" : NULL, t->problem);
        finish(l, t->problem ? TRIAL_WRONG : t->tried ? TRIAL_AS_ORDERED : TRIAL_UNTRIED);
}

/* What the counters say. Those of other orders, because one that covers the same person may be asked first.
 */
static int read_counters(const struct lockdown *l, struct readings *ret)
{
        const struct manager *m = l->manager;
        struct readings now = {0};
        uint64_t bytes;
        int r = nft_read_trials(m->nft, l->name, &now.own);

        for (size_t i = 0; r >= 0 && i < m->n_lockdowns; i++) {
                struct nft_trials other = {0};

                if (m->lockdowns[i] == l || !m->lockdowns[i]->engaged)
                        continue;
                if (nft_read_trials(m->nft, m->lockdowns[i]->name, &other) >= 0)
                        now.others += other.refused + other.passed;
        }
        lockdown_second_refused(l, &now.second, &bytes);
        if (r >= 0)
                *ret = now;
        return r;
}

/* A table that is gone or was made anew meanwhile counts from nought. */
static uint64_t more(uint64_t before, uint64_t after)
{
        return after >= before ? after - before : after;
}

static void send_next(struct trial *t);

static void note(struct trial *t, const struct trial_datagram *d, enum trial_verdict verdict, const char *why)
{
        char address[INET6_ADDRSTRLEN] = "?";

        (void)inet_ntop(d->family, d->addr, address, sizeof(address));
        set_problem(&t->results[t->kind], "%s %s", address, why);
        if (verdict == TRIAL_WRONG && !t->problem)
                set_problem(&t->problem, "a datagram of uid %" PRIu32 " to %s %s", t->uid, address, why);
        t->tried |= verdict == TRIAL_AS_ORDERED && d->outside;
        t->candidate++;
        if (verdict != TRIAL_UNTRIED) { /* else another address of its kind may do */
                t->kind++;
                t->candidate = 0;
        }
}

static void judge_one(struct lockdown *l, const struct trial_outcome *o)
{
        struct trial *t = l->trial;
        const struct trial_datagram *d = &t->plan.candidates[t->kind][t->candidate];
        const char *why;
        enum trial_verdict verdict = trial_judge(d, o, &why);

        /* Then what the other datagrams came to may be somebody else's doing as well. */
        if (verdict == TRIAL_DISTURBED) {
                give_up(l, why);
                return;
        }
        note(t, d, verdict, why);
        send_next(t);
}

static void on_sent(void *userdata, int error, int sent)
{
        struct lockdown *l = userdata;
        struct trial *t = l->trial;
        struct readings after = {0};
        _cleanup_free_ char *why = NULL;

        if (error >= 0)
                error = read_counters(l, &after);
        if (error == -ENOENT) /* there is no such table: nothing was counted */
                error = 0;
        if (error < 0) {
                if (error == -ETIME)
                        set_problem(&why, "the process that sends in uid %" PRIu32 "'s name hung", t->uid);
                else
                        set_problem(&why, "nothing could be sent in uid %" PRIu32 "'s name: %s", t->uid,
                                    strerror(-error));
                give_up(l, why ? why : strerror(-error));
                return;
        }
        judge_one(l, &(struct trial_outcome){.error = sent,
                                             .refused = more(t->before.own.refused, after.own.refused),
                                             .passed = more(t->before.own.passed, after.own.passed),
                                             .others = more(t->before.others, after.others),
                                             .second = more(t->before.second, after.second)});
}

/* The next datagram that is worth it; false: there is none. */
static bool find_next(struct trial *t)
{
        for (; t->kind < TRIAL_KINDS; t->kind++, t->candidate = 0) {
                bool outside = t->plan.n[t->kind] > 0 && t->plan.candidates[t->kind][0].outside;

                for (; t->candidate < t->plan.n[t->kind]; t->candidate++) {
                        const struct trial_datagram *d = &t->plan.candidates[t->kind][t->candidate];

                        if (route_is_local(d->family, d->addr, t->uid) <= 0)
                                return true;
                }
                if (!t->results[t->kind] && (outside || t->kind < TRIAL_KINDS / 2))
                        set_problem(&t->results[t->kind], "%s: not tried: there is none that is refused",
                                    trial_kind(t->kind));
        }
        return false;
}

static void send_next(struct trial *t)
{
        struct lockdown *l = t->lockdown;
        int r;

        if (!find_next(t)) {
                conclude(t);
                return;
        }
        r = read_counters(l, &t->before);
        if (r == -ENOENT)
                t->before = (struct readings){0};
        else if (r < 0) {
                give_up(l, strerror(-r));
                return;
        }
        r = trial_process_send(t->process, &t->plan.candidates[t->kind][t->candidate]);
        if (r < 0)
                give_up(l, strerror(-r));
}

static bool covered_by_another(const struct lockdown *l, uint32_t uid)
{
        const struct manager *m = l->manager;

        for (size_t i = 0; i < m->n_lockdowns; i++) {
                const struct lockdown *other = m->lockdowns[i];
                _cleanup_subjects_ struct subjects s = {0};

                if (other != l && other->order && lockdown_subjects(other, &s) >= 0 &&
                    subjects_match_uid(&s, uid))
                        return true;
        }
        return false;
}

static int find_subject(const struct lockdown *l, uint32_t *ret_uid, uint32_t *ret_gid)
{
        struct manager *m = l->manager;
        _cleanup_subjects_ struct subjects s = {0};
        int r = lockdown_subjects(l, &s);

        for (unsigned i = 0; r >= 0 && i < SUBJECTS_LOOKED_AT; i++) {
                r = trial_subject(&s, m->trial_turn++, ret_uid, ret_gid);
                if (r >= 0 && (m->n_lockdowns == 1 || s.everyone || !covered_by_another(l, *ret_uid)))
                        break;
        }
        return r;
}

void lockdown_try(struct lockdown *l, lockdown_tried_t callback, void *userdata)
{
        struct manager *m = l->manager;
        struct trial *t = calloc(1, sizeof(*t));
        uint32_t gid = 0;
        int r = t ? find_subject(l, &t->uid, &gid) : -ENOMEM;

        if (r >= 0)
                r = trial_process_start(m->event, m->launcher, t->uid, gid, on_sent, l, &t->process);
        if (r < 0) {
                set_problem(&l->trial_text, "not possible: %s",
                            r == -ENOENT ? "nobody is known whom it covers by a uid" : strerror(-r));
                set_problem(&l->trial_problem, NULL);
                trial_free(t);
                callback(userdata, l, TRIAL_UNTRIED);
                return;
        }
        t->lockdown = l;
        t->callback = callback;
        t->userdata = userdata;
        trial_choose(&lockdown_profile(l)->destinations, &t->plan);
        l->trial = t;
        send_next(t);
}

void lockdown_forget_trial(struct lockdown *l)
{
        l->trial = trial_free(l->trial);
}
