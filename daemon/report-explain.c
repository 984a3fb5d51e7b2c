/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "report.h"

#include <inttypes.h>
#include <string.h>

static const char *allowed_because(enum judgement j)
{
        switch (j) {
        case JUDGE_LOCAL:
                return "it stays on this machine";
        case JUDGE_ALLOWED:
                return "it lies in an Allow= network";
        case JUDGE_SERVICE:
                return "it is an Allow= endpoint";
        case JUDGE_DNS_REDIRECTED:
                return "DNS= sends it to the resolver configured there";
        default:
                return "";
        }
}

static const char *refused_because(enum judgement j)
{
        switch (j) {
        case JUDGE_OUTSIDE:
                return "no Allow= names it";
        case JUDGE_DNS:
                return "it is a resolver port and DNS= does not allow it";
        case JUDGE_LOOPBACK_PORT:
                return "LoopbackDeny= names the port";
        default:
                return "";
        }
}

static json_t *verdict_json(const struct lockdown *l, bool subject, enum judgement j)
{
        const struct profile *p = lockdown_profile(l);
        bool refused = subject && judgement_refuses(j);
        json_t *reason = !subject  ? json_sprintf("%s does not cover this user", l->name)
                         : refused ? json_sprintf("%s refuses it: %s", l->name, refused_because(j))
                                   : json_sprintf("%s lets it through: %s", l->name, allowed_because(j));
        json_t *verdict = json_pack("{s:s,s:s,s:b,s:o}", "profile", l->name, "order", l->order->id, "refused",
                                    refused, "reason", reason);

        if (verdict && subject && p->file) {
                (void)json_object_set_new(verdict, "file", json_string(p->file));
                (void)json_object_set_new(verdict, "line", json_integer(p->line));
        }
        return verdict;
}

json_t *report_explain(struct manager *m, const char *user, uint32_t uid, const char *text,
                       const struct endpoint *destination)
{
        json_t *verdicts = json_array();
        bool refused = false;

        for (size_t i = 0; verdicts && i < m->n_lockdowns; i++) {
                const struct lockdown *l = m->lockdowns[i];
                _cleanup_subjects_ struct subjects s = {0};
                enum judgement j;
                bool subject;

                if (!l->order || lockdown_subjects(l, &s) < 0)
                        continue;
                subject = subjects_match_uid(&s, uid);
                j = destinations_judge(&l->order->profile->destinations, destination);
                refused |= subject && judgement_refuses(j);
                (void)json_array_append_new(verdicts, verdict_json(l, subject, j));
        }
        return json_pack("{s:s,s:I,s:s,s:b,s:o}", "user", user, "uid", (json_int_t)uid, "destination", text,
                         "refused", refused, "verdicts", verdicts);
}
