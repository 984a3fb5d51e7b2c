/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "profile.h"

#include "cleanup.h"
#include "timespan.h"
#include "unit-patterns.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>

/* Local ports that are doors to the outside almost everywhere: squid, privoxy, tor. */
static const char *const default_loopback_deny[] = {"3128", "8118", "9050"};

bool profile_name_valid(const char *name)
{
        static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.";
        size_t length = name ? strlen(name) : 0;

        return length > 0 && length <= PROFILE_NAME_MAX && strspn(name, letters) == length &&
               isalnum((unsigned char)name[0]);
}

struct profile *profile_new(const char *name)
{
        _cleanup_(profile_freep) struct profile *p = calloc(1, sizeof(*p));

        if (!p)
                return NULL;
        p->name = strdup(name);
        p->second_lock = true;
        if (!p->name)
                return NULL;
        for (size_t i = 0; i < ELEMENTSOF(default_loopback_deny); i++)
                if (words_add(&p->loopback_deny, default_loopback_deny[i], NULL, 0) < 0)
                        return NULL;
        return TAKE_PTR(p);
}

bool profile_loopback_deny_default(const struct profile *p)
{
        bool same = p->loopback_deny.n == ELEMENTSOF(default_loopback_deny);

        for (size_t i = 0; same && i < p->loopback_deny.n; i++)
                same = strcmp(p->loopback_deny.items[i].text, default_loopback_deny[i]) == 0;
        return same;
}

struct profile *profile_free(struct profile *p)
{
        if (!p)
                return NULL;
        free(p->name);
        free(p->description);
        words_clear(&p->groups);
        words_clear(&p->users);
        words_clear(&p->except_users);
        words_clear(&p->except_groups);
        words_clear(&p->allow);
        free(p->dns);
        words_clear(&p->loopback_deny);
        words_clear(&p->services);
        destinations_clear(&p->destinations);
        free(p->file);
        words_clear(&p->places);
        free(p);
        return NULL;
}

static int copy_string(const char *from, char **to)
{
        *to = from ? strdup(from) : NULL;
        return *to || !from ? 0 : -ENOMEM;
}

struct profile *profile_copy(const struct profile *p)
{
        _cleanup_(profile_freep) struct profile *c = calloc(1, sizeof(*c));

        if (!c)
                return NULL;
        c->everyone = p->everyone;
        c->include_root = p->include_root;
        c->forward_deny = p->forward_deny;
        c->sessions = p->sessions;
        c->end_remote_sessions = p->end_remote_sessions;
        c->second_lock = p->second_lock;
        c->default_duration = p->default_duration;
        c->max_duration = p->max_duration;
        c->line = p->line;
        if (copy_string(p->name, &c->name) < 0 || copy_string(p->description, &c->description) < 0 ||
            copy_string(p->dns, &c->dns) < 0 || copy_string(p->file, &c->file) < 0 ||
            words_copy(&c->groups, &p->groups) < 0 || words_copy(&c->users, &p->users) < 0 ||
            words_copy(&c->except_users, &p->except_users) < 0 ||
            words_copy(&c->except_groups, &p->except_groups) < 0 || words_copy(&c->allow, &p->allow) < 0 ||
            words_copy(&c->loopback_deny, &p->loopback_deny) < 0 ||
            words_copy(&c->services, &p->services) < 0 || words_copy(&c->places, &p->places) < 0 ||
            destinations_copy(&p->destinations, &c->destinations) < 0)
                return NULL;
        return TAKE_PTR(c);
}

const struct word *profile_place(const struct profile *p, const char *key)
{
        for (size_t i = p->places.n; i-- > 0;) /* the last one counts */
                if (strcmp(p->places.items[i].text, key) == 0)
                        return &p->places.items[i];
        return NULL;
}

int profile_set_place(struct profile *p, const char *key, const char *file, unsigned line)
{
        return words_add(&p->places, key, file, line);
}

/* What one of the destinations functions answered about a word: a mistake becomes a problem and is no error
 * here, so that the next word is looked at, too. */
static int note(int r, char *sentence, const char *file, unsigned line, struct problems *problems)
{
        _cleanup_free_ char *owned = sentence;
        size_t before = problems->n;

        if (r != -EINVAL)
                return r < 0 ? r : 0;
        problems_add_at(problems, file, line, "%s", owned ? owned : "this makes no sense");
        return problems->n > before ? 0 : -ENOMEM;
}

static int parse_allow(const struct profile *p, struct destinations *d, struct problems *problems)
{
        bool isolates = words_contain(&p->allow, "none");

        if (p->allow.n == 0)
                return destinations_allow(d, "internal", NULL);
        for (size_t i = 0; i < p->allow.n; i++) {
                const struct word *w = &p->allow.items[i];
                char *sentence = NULL;
                int r;

                if (isolates && strcmp(w->text, "none") != 0)
                        return note(
                                -EINVAL,
                                strdup("Allow=none cuts off everything and takes no other word besides it"),
                                w->file, w->line, problems);
                r = destinations_allow(d, w->text, &sentence);
                r = note(r, sentence, w->file, w->line, problems);
                if (r < 0)
                        return r;
        }
        return 0;
}

static int parse_loopback_deny(const struct profile *p, struct destinations *d, struct problems *problems)
{
        for (size_t i = 0; i < p->loopback_deny.n; i++) {
                const struct word *w = &p->loopback_deny.items[i];
                char *sentence = NULL;
                int r = destinations_deny_loopback(d, w->text, &sentence);

                r = note(r, sentence, w->file, w->line, problems);
                if (r < 0)
                        return r;
        }
        return 0;
}

int profile_parse_destinations(const struct profile *p, struct destinations *ret, struct problems *problems)
{
        _cleanup_(destinations_clear) struct destinations d = {};
        char *sentence = NULL;
        int r = parse_allow(p, &d, problems);

        if (r >= 0)
                r = parse_loopback_deny(p, &d, problems);
        if (r >= 0 && p->dns) {
                r = destinations_set_dns(&d, p->dns, &sentence);
                r = note(r, sentence, p->file, p->line, problems);
        }
        if (r >= 0) {
                sentence = NULL;
                r = destinations_finish(&d, &sentence);
                /* What the words say together: they stand on several lines, so the first one is named. */
                r = note(r, sentence, p->allow.n ? p->allow.items[0].file : p->file,
                         p->allow.n ? p->allow.items[0].line : p->line, problems);
        }
        if (r < 0)
                return r;
        *ret = d;
        d = (struct destinations){};
        return 0;
}

static bool is_root(const char *user)
{
        return strcmp(user, "root") == 0 || (*user && user[strspn(user, "0")] == '\0');
}

/* Mistakes people make in a list of names, which would otherwise come back as "no such user". Like the checks
 * below it returns how many it found: there may be no memory for the sentences. */
static size_t check_names(const char *key, const struct words *w, struct problems *problems)
{
        size_t mistakes = 0;

        for (size_t i = 0; i < w->n; i++) {
                const struct word *word = &w->items[i];
                const char *t = word->text;

                if (strcmp(t, "*") == 0)
                        problems_add_at(problems, word->file, word->line,
                                        "%s= takes names, not \"*\" (for everybody: Everyone=yes)", key);
                else if (t[0] == '@')
                        problems_add_at(problems, word->file, word->line,
                                        "%s= takes names without \"@\" (groups go to the keys for groups), "
                                        "not \"%s\"",
                                        key, t);
                else if (t[0] == '\0' || strpbrk(t, ",;#\"'"))
                        problems_add_at(
                                problems, word->file, word->line,
                                "%s= takes names with spaces between them and no other signs, not \"%s\"",
                                key, t);
                else
                        continue;
                mistakes++;
        }
        return mistakes;
}

static size_t check_root(const struct profile *p, struct problems *problems)
{
        const struct word *root = NULL;

        for (size_t i = 0; i < p->users.n && !root; i++)
                if (is_root(p->users.items[i].text))
                        root = &p->users.items[i];
        if (root && !p->include_root && p->file)
                problems_add_at(
                        problems, root->file, root->line,
                        "Users= names root, who is never blocked unless IncludeRoot=yes says so, too");
        if (root && !p->include_root && !p->file)
                problems_add(problems,
                             "an ad-hoc order cannot block root: that takes a profile with Users=root "
                             "and IncludeRoot=yes");
        if (!root && p->include_root)
                problems_add_at(
                        problems, p->file, p->line,
                        "profile \"%s\" has IncludeRoot=yes but does not name root in Users=", p->name);
        return (root != NULL) != p->include_root;
}

static size_t check_people(const struct profile *p, struct problems *problems)
{
        size_t mistakes = check_names("Groups", &p->groups, problems);
        bool nobody = p->groups.n == 0 && p->users.n == 0;

        mistakes += check_names("Users", &p->users, problems);
        mistakes += check_names("ExceptUsers", &p->except_users, problems);
        mistakes += check_names("ExceptGroups", &p->except_groups, problems);
        if (p->everyone && !nobody)
                problems_add_at(
                        problems, p->file, p->line,
                        "profile \"%s\" has Everyone=yes together with Groups= or Users=: use one or the "
                        "other",
                        p->name);
        if (!p->everyone && nobody)
                problems_add_at(problems, p->file, p->line,
                                "profile \"%s\" blocks nobody: name Groups= or Users=, or set Everyone=yes",
                                p->name);
        mistakes += p->everyone != nobody;
        return mistakes + check_root(p, problems);
}

static size_t check_services(const struct profile *p, struct problems *problems)
{
        size_t mistakes = 0;

        for (size_t i = 0; i < p->services.n; i++) {
                const struct word *w = &p->services.items[i];
                const char *why = unit_pattern_problem(w->text);

                if (!why)
                        continue;
                problems_add_at(problems, w->file, w->line, "Services= takes systemd units, not \"%s\": %s",
                                w->text, why);
                mistakes++;
        }
        return mistakes;
}

static size_t check_durations(const struct profile *p, struct problems *problems)
{
        char wanted[64], most[64];

        if (p->max_duration == 0 || p->default_duration <= p->max_duration)
                return 0;
        problems_add_at(problems, p->file, p->line,
                        "profile \"%s\" has DefaultDuration=%s, which is longer than MaxDuration=%s", p->name,
                        timespan_format_exact(p->default_duration, wanted, sizeof(wanted)),
                        timespan_format_exact(p->max_duration, most, sizeof(most)));
        return 1;
}

static size_t check_name(const struct profile *p, struct problems *problems)
{
        if (profile_name_valid(p->name))
                return 0;
        problems_add_at(problems, p->file, p->line,
                        "\"%s\" cannot name a profile: use letters, digits, \"_\", \"-\" and \".\", "
                        "a letter or digit first, at most %d in all",
                        p->name, PROFILE_NAME_MAX);
        return 1;
}

int profile_finish(struct profile *p, struct problems *problems)
{
        _cleanup_(destinations_clear) struct destinations d = {};
        size_t before = problems->n, mistakes = check_name(p, problems);
        int r;

        mistakes += check_people(p, problems);
        mistakes += check_services(p, problems);
        mistakes += check_durations(p, problems);
        r = profile_parse_destinations(p, &d, problems);
        if (r < 0)
                return r;
        if (problems->n - before < mistakes)
                return -ENOMEM;
        if (problems->n > before)
                return -EINVAL;
        destinations_clear(&p->destinations);
        p->destinations = d;
        d = (struct destinations){};
        return 0;
}

static bool same_words(const struct words *a, const struct words *b)
{
        for (size_t i = 0; i < a->n; i++)
                if (!words_contain(b, a->items[i].text))
                        return false;
        for (size_t i = 0; i < b->n; i++)
                if (!words_contain(a, b->items[i].text))
                        return false;
        return true;
}

bool profile_same_block(const struct profile *a, const struct profile *b)
{
        return a->everyone == b->everyone && a->include_root == b->include_root &&
               a->forward_deny == b->forward_deny && a->sessions == b->sessions &&
               a->end_remote_sessions == b->end_remote_sessions && a->second_lock == b->second_lock &&
               same_words(&a->groups, &b->groups) && same_words(&a->users, &b->users) &&
               same_words(&a->except_users, &b->except_users) &&
               same_words(&a->except_groups, &b->except_groups) && same_words(&a->services, &b->services) &&
               destinations_equal(&a->destinations, &b->destinations);
}
