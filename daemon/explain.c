/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "explain.h"

#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <string.h>

const char *source_to_string(enum source s)
{
        static const char *const names[] = {[SOURCE_FILE] = "file",
                                            [SOURCE_BUILT_IN] = "built in",
                                            [SOURCE_ADHOC] = "ad hoc",
                                            [SOURCE_UNKNOWN] = "unknown"};

        return names[s];
}

void because_clear(struct because *b)
{
        free(b->sentence);
        *b = (struct because){0};
}

/* ---- words and where they stand ---- */

static void stands_at(struct because *b, const struct explained_order *o, const char *file, unsigned line,
                      bool has_default)
{
        b->file = file;
        b->line = line;
        if (file)
                b->source = SOURCE_FILE;
        else if (o->adhoc)
                b->source = has_default ? SOURCE_BUILT_IN : SOURCE_ADHOC;
        else /* where the lines are known, what has none is nobody's */
                b->source = has_default && o->profile->file ? SOURCE_BUILT_IN : SOURCE_UNKNOWN;
}

static void decided_by_word(struct because *b, const struct explained_order *o, const char *key,
                            const struct word *w, bool has_default)
{
        b->key = key;
        b->word = w->text;
        stands_at(b, o, w->file, w->line, has_default);
}

static void decided_by_key(struct because *b, const struct explained_order *o, const char *key,
                           const char *value, bool has_default)
{
        const struct word *place = profile_place(o->profile, key);

        b->key = key;
        b->word = value;
        stands_at(b, o, place ? place->file : NULL, place ? place->line : 0, has_default);
}

__attribute__((format(printf, 2, 3))) static int say(struct because *b, const char *format, ...)
{
        va_list ap;
        int r;

        va_start(ap, format);
        r = vasprintf(&b->sentence, format, ap);
        va_end(ap);
        if (r >= 0)
                return 0;
        b->sentence = NULL;
        return -ENOMEM;
}

/* ---- users ---- */

static const struct word *naming(const struct words *users, const struct identity *i)
{
        for (size_t w = 0; w < users->n; w++)
                if (identity_is(i, users->items[w].text))
                        return &users->items[w];
        return NULL;
}

static const struct word *group_of(const struct words *groups, const struct identity *i)
{
        for (size_t w = 0; w < groups->n; w++)
                if (identity_in_group(i, groups->items[w].text))
                        return &groups->items[w];
        return NULL;
}

static int explain_excepted(const struct explained_order *o, const struct identity *i, const char *user,
                            struct because *b)
{
        const struct word *w = naming(&o->profile->except_users, i);

        if (w) {
                decided_by_word(b, o, "ExceptUsers", w, false);
                return say(b, "%s is excepted", user);
        }
        w = group_of(&o->profile->except_groups, i);
        if (w) {
                decided_by_word(b, o, "ExceptGroups", w, false);
                return say(b, "%s is excepted as a member of group %s", user, w->text);
        }
        return say(b, "%s was excepted when the directory was last asked", user);
}

static int explain_root(const struct explained_order *o, const char *user, struct because *b)
{
        if (o->profile->everyone)
                return say(b, "Everyone=yes leaves %s out", user);
        return say(b, "%s is never covered, unless Users= names root and IncludeRoot=yes is set", user);
}

/* OWNED: the uid is one that USER owns. */
static int explain_member(const struct explained_order *o, const struct identity *i, const char *user,
                          const char *owned, struct because *b)
{
        const struct word *w = naming(&o->profile->users, i);
        const char *before = owned ? owned : "", *whose = owned ? " is a subordinate uid of " : "";

        if (w) {
                decided_by_word(b, o, "Users", w, false);
                return say(b, owned ? "%s%s%s, who is named" : "%s%s%s is named", before, whose, user);
        }
        w = group_of(&o->profile->groups, i);
        if (w) {
                decided_by_word(b, o, "Groups", w, false);
                return say(b, owned ? "%s%s%s, a member of group %s" : "%s%s%s is a member of group %s",
                           before, whose, user, w->text);
        }
        return say(
                b,
                owned ? "%s%s%s, who is on the list of those covered"
                      : "%s%s%s is on the list of those covered: by another account with this uid, or not a "
                        "member any more since the directory was asked",
                before, whose, user);
}

static int explain_subordinate(const struct explained_order *o, const struct person *p, const char *user,
                               struct because *b)
{
        char number[16];

        if (!p->subordinate)
                return say(b,
                           "%s was a subordinate uid of somebody covered when the directory was last asked",
                           user);
        (void)snprintf(number, sizeof(number), "%" PRIu32, p->owner.uid);
        return explain_member(o, &p->owner, p->owner.name ? p->owner.name : number, user, b);
}

int explain_user(const struct explained_order *o, const struct person *p, const char *user, bool *ret_covered,
                 struct because *ret)
{
        const struct subjects *s = o->subjects;
        uint32_t uid = p->self.uid;
        struct because b = {0};
        int r;

        *ret_covered = subjects_match_uid(s, uid);
        if (!*ret_covered && uid == 0) {
                r = explain_root(o, user, &b);
        } else if (!*ret_covered && idset_contains(&s->except_uids, uid)) {
                r = explain_excepted(o, &p->self, user, &b);
        } else if (!*ret_covered) {
                r = say(&b, "%s is in none of its groups and not named", user);
        } else if (s->everyone) {
                decided_by_key(&b, o, "Everyone", "yes", false);
                r = say(&b, "everybody is covered but root and those excepted");
        } else if (idset_contains(&s->uids, uid)) {
                r = explain_member(o, &p->self, user, NULL, &b);
        } else {
                r = explain_subordinate(o, p, user, &b);
        }
        if (r < 0)
                return r;
        *ret = b;
        return 0;
}

/* ---- destinations ---- */

/* What one word of Allow= alone says about E, resolver ports left out of account. */
static enum judgement judge_by_word(const char *word, const struct endpoint *e)
{
        struct destinations d = {.dns = DNS_ALLOW};
        struct endpoint elsewhere = *e;
        enum judgement j = JUDGE_OUTSIDE;

        elsewhere.local = false;
        if (destinations_allow(&d, word, NULL) >= 0)
                j = destinations_judge(&d, &elsewhere);
        destinations_clear(&d);
        return j;
}

static bool is_internal(const char *word)
{
        return strcmp(word, "internal") == 0;
}

/* Which of the built-in networks it is. */
static const char *internal_network(const struct endpoint *e)
{
        for (const char *const *network = destinations_internal; *network; network++)
                if (judge_by_word(*network, e) == JUDGE_ALLOWED)
                        return *network;
        return "an internal network";
}

static int explain_internal(const struct endpoint *e, struct because *b)
{
        return say(b, "it is internal, in %s", internal_network(e));
}

/* Allowed by which word? J is ALLOWED or SERVICE. */
static int explain_allowed(const struct explained_order *o, const struct endpoint *e, enum judgement j,
                           struct because *b)
{
        const struct words *allow = &o->profile->allow;

        for (size_t i = 0; i < allow->n; i++) {
                const struct word *w = &allow->items[i];

                if (judge_by_word(w->text, e) != j)
                        continue;
                decided_by_word(b, o, "Allow", w, is_internal(w->text) && allow->n == 1);
                if (is_internal(w->text))
                        return explain_internal(e, b);
                return say(b, j == JUDGE_SERVICE ? "the endpoint is allowed" : "the network is allowed");
        }
        if (allow->n == 0) {
                decided_by_key(b, o, "Allow", "internal", true);
                return explain_internal(e, b);
        }
        return say(b, "it is allowed");
}

/* A word that allows some ports of E's address, where the question was about no port. */
static const struct word *allows_ports_of(const struct words *allow, const struct endpoint *e)
{
        for (size_t i = 0; e->protocol == 0 && i < allow->n; i++) {
                struct destinations d = {0};
                const struct word *found = NULL;

                if (destinations_allow(&d, allow->items[i].text, NULL) >= 0 &&
                    destinations_has_endpoints_of(&d, e))
                        found = &allow->items[i];
                destinations_clear(&d);
                if (found)
                        return found;
        }
        return NULL;
}

static int explain_outside(const struct explained_order *o, const struct endpoint *e, struct because *b)
{
        const struct words *allow = &o->profile->allow;
        const struct word *ports = allows_ports_of(allow, e);

        if (allow->n == 0) {
                decided_by_key(b, o, "Allow", "internal", true);
        } else if (ports) {
                decided_by_word(b, o, "Allow", ports, false);
                return say(b, "only some of its ports are allowed");
        } else {
                const struct word *first = &allow->items[0];

                decided_by_word(b, o, "Allow", first, is_internal(first->text) && allow->n == 1);
        }
        if (strcmp(b->word, "none") == 0)
                return say(b, "it is not on this machine, and nothing else is allowed");
        if (allow->n > 1)
                return say(b, "none of the %zu words of Allow= covers it; the first is named here", allow->n);
        return say(b, "it is not allowed");
}

static int explain_loopback_port(const struct explained_order *o, const struct endpoint *e, struct because *b)
{
        const struct words *ports = &o->profile->loopback_deny;
        const struct endpoint local = {
                .family = e->family, .protocol = e->protocol, .port = e->port, .local = true};

        for (size_t i = 0; i < ports->n && !b->key; i++) {
                struct destinations d = {.dns = DNS_ALLOW};

                if (destinations_deny_loopback(&d, ports->items[i].text, NULL) >= 0 &&
                    destinations_judge(&d, &local) == JUDGE_LOOPBACK_PORT)
                        decided_by_word(b, o, "LoopbackDeny", &ports->items[i], true);
                destinations_clear(&d);
        }
        return say(b, "the port on this machine is a door to the outside");
}

static void decided_by_dns(const struct explained_order *o, struct because *b)
{
        const char *dns = o->profile->dns ? o->profile->dns : "deny";

        decided_by_key(b, o, "DNS", dns, strcmp(dns, "deny") == 0);
}

bool explain_redirects(const struct profile *p, const struct endpoint *e, struct redirection *ret)
{
        const struct destinations *d = &p->destinations;
        bool direct = e->family == AF_INET ? d->has_dns4 : d->has_dns6;
        bool v4 = direct ? e->family == AF_INET : d->has_dns4;
        struct redirection to = {.relayed = e->local || !direct};

        if (destinations_judge(d, e) != JUDGE_DNS_REDIRECTED)
                return false;
        to.target = (struct endpoint){
                .family = v4 ? AF_INET : AF_INET6, .protocol = e->protocol, .port = e->port};
        if (v4)
                memcpy(to.target.addr, d->dns4, sizeof(d->dns4));
        else
                memcpy(to.target.addr, d->dns6, sizeof(d->dns6));
        *ret = to;
        return true;
}

static const char *address_text(const struct endpoint *e, char *buf, size_t size)
{
        return inet_ntop(e->family, e->addr, buf, (socklen_t)size) ?: "?";
}

static int explain_dns(const struct explained_order *o, const struct endpoint *e, enum judgement j,
                       struct because *b)
{
        char text[INET6_ADDRSTRLEN];
        struct redirection to;

        decided_by_dns(o, b);
        if (j == JUDGE_DNS_REDIRECTED && explain_redirects(o->profile, e, &to))
                return say(b, "the question goes to the resolver %s instead",
                           address_text(&to.target, text, sizeof(text)));
        if (e->local)
                return say(b, "%" PRIu16 " is a resolver port, and this machine's resolver asks outside",
                           e->port);
        if (o->profile->destinations.dns == DNS_REDIRECT)
                return say(b, "%" PRIu16 " is a resolver port, and cannot be sent to the resolver instead",
                           e->port);
        return say(b, "%" PRIu16 " is a resolver port", e->port);
}

static int explain_judgement(const struct explained_order *o, const struct endpoint *e, enum judgement j,
                             struct because *b)
{
        switch (j) {
        case JUDGE_LOCAL:
                return say(b, "it stays on this machine");
        case JUDGE_ALLOWED:
        case JUDGE_SERVICE:
                return explain_allowed(o, e, j, b);
        case JUDGE_DNS_REDIRECTED:
        case JUDGE_DNS:
                return explain_dns(o, e, j, b);
        case JUDGE_LOOPBACK_PORT:
                return explain_loopback_port(o, e, b);
        case JUDGE_OUTSIDE:
        default:
                return explain_outside(o, e, b);
        }
}

int explain_destination(const struct explained_order *o, const struct endpoint *e,
                        enum judgement *ret_judgement, struct because *ret)
{
        enum judgement j = destinations_judge(&o->profile->destinations, e);
        struct because b = {0};
        int r = explain_judgement(o, e, j, &b);

        if (r < 0)
                return r;
        *ret_judgement = j;
        *ret = b;
        return 0;
}

/* What leaves is the relay's; this order sees a packet that stays here, and lets it be unless it would have
 * sent the question to a resolver of its own. */
static int explain_relayed(const struct explained_order *o, enum judgement *ret_judgement,
                           struct because *ret)
{
        if (o->profile->destinations.dns != DNS_REDIRECT) {
                *ret_judgement = JUDGE_LOCAL;
                return say(ret, "it stays on this machine");
        }
        *ret_judgement = JUDGE_DNS;
        decided_by_dns(o, ret);
        return say(ret, "this order has another resolver");
}

static int explain_sent_elsewhere(const struct explained_order *o, const struct endpoint *target,
                                  enum judgement *ret_judgement, struct because *ret)
{
        struct redirection own;

        *ret_judgement = destinations_judge(&o->profile->destinations, target);
        /* It was sent elsewhere already: only the order's own resolver passes as one. */
        if (*ret_judgement == JUDGE_DNS_REDIRECTED && explain_redirects(o->profile, target, &own) &&
            memcmp(own.target.addr, target->addr, sizeof(own.target.addr)) != 0)
                *ret_judgement = JUDGE_DNS;
        return explain_judgement(o, target, *ret_judgement, ret);
}

int explain_redirected(const struct explained_order *o, const struct redirection *to, const char *by,
                       enum judgement *ret_judgement, struct because *ret)
{
        _cleanup_because_ struct because there = {0};
        char text[INET6_ADDRSTRLEN];
        enum judgement j;
        int r = to->relayed ? explain_relayed(o, &j, &there)
                            : explain_sent_elsewhere(o, &to->target, &j, &there);

        if (r < 0)
                return r;
        *ret = there;
        ret->sentence = NULL;
        r = say(ret, "%s sends the question to %s, where %s", by,
                address_text(&to->target, text, sizeof(text)), there.sentence);
        if (r < 0)
                return r;
        *ret_judgement = j;
        return 0;
}
