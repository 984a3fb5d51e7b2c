/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "cleanup.h"
#include "config-internal.h"
#include "timespan.h"

#include <ctype.h>
#include <errno.h>
#include <ini.h>
#include <jansson.h>
#include <stddef.h>
#include <string.h>
#include <strings.h>

/* One file being read. inih splits and unquotes the lines, but gives its handler no line numbers, tells
 * nothing of sections without a key, cuts over-long lines in two and goes on, and reports only the first
 * mistake: so it is fed line by line through a reader that counts, and that looks at what inih would let
 * pass. */
struct loader {
        struct config *config;
        struct problems *problems;
        const char *file;
        const char *at, *end; /* the text not yet read */
        unsigned line;
        bool waiting; /* a line was given to inih, and its handler has not been called for it */
        const struct section *section;
        char *section_title;     /* as written between the brackets, NULL before the first */
        struct profile *profile; /* in a [Profile NAME] */
        struct words titles;     /* of the sections so far, with their lines */
        size_t mistakes;         /* reported, whether or not there was memory for the sentence */
        int error;               /* -ENOMEM */
};

struct key {
        const char *name;
        void (*parse)(struct loader *l, const struct key *key, void *member, const char *value);
        size_t offset;
        const char *no, *yes; /* parse_choice() */
};

struct section {
        const char *name, *title;
        const struct key *keys;
        size_t n_keys;
};

#define problem(l, ...) ((l)->mistakes++, problems_add_at((l)->problems, (l)->file, (l)->line, __VA_ARGS__))

static void check(struct loader *l, int r)
{
        if (r < 0 && l->error >= 0)
                l->error = r;
}

/* Lists: repeated keys add up, an empty one begins anew. The first word takes the place of the built-in ones,
 * which stand in no file. */
static void parse_words(struct loader *l, const struct key *key, void *member, const char *value)
{
        struct words *words = member;

        (void)key;
        if (*value == '\0' || (words->n > 0 && !words->items[0].file))
                words_clear(words);
        check(l, words_split(words, value, l->file, l->line));
}

static void parse_text(struct loader *l, const struct key *key, void *member, const char *value)
{
        char **text = member, *copy = NULL;

        (void)key;
        if (*value != '\0') {
                copy = strdup(value);
                if (!copy)
                        check(l, -ENOMEM);
        }
        free(*text);
        *text = copy;
}

static void parse_dns(struct loader *l, const struct key *key, void *member, const char *value)
{
        _cleanup_free_ char *sentence = NULL;
        struct destinations ignored = {};
        int r = *value ? destinations_set_dns(&ignored, value, &sentence) : 0;

        if (r == -EINVAL)
                problem(l, "%s", sentence);
        else if (r < 0)
                check(l, r);
        else
                parse_text(l, key, member, value);
}

static void parse_switch(struct loader *l, const struct key *key, void *member, const char *value)
{
        static const char *const words[][2] = {{"no", "yes"}, {"false", "true"}, {"0", "1"}, {"off", "on"}};

        if (*value == '\0') { /* every switch is off by default */
                *(bool *)member = false;
                return;
        }
        for (size_t i = 0; i < ELEMENTSOF(words); i++)
                for (int yes = 0; yes < 2; yes++)
                        if (strcasecmp(value, words[i][yes]) == 0) {
                                *(bool *)member = yes;
                                return;
                        }
        problem(l, "%s= expects yes or no, not \"%s\"", key->name, value);
}

/* One of two words; the first in the message is the default. */
static void parse_choice(struct loader *l, const struct key *key, void *member, const char *value)
{
        if (strcmp(value, key->yes) == 0)
                *(bool *)member = true;
        else if (strcmp(value, key->no) == 0)
                *(bool *)member = false;
        else
                problem(l, "%s= expects %s or %s, not \"%s\"", key->name, key->no, key->yes, value);
}

static void parse_forward(struct loader *l, const struct key *key, void *member, const char *value)
{
        parse_choice(l, key, member, *value ? value : "keep");
}

static void parse_remote_sessions(struct loader *l, const struct key *key, void *member, const char *value)
{
        parse_choice(l, key, member, *value ? value : "keep");
}

static void parse_second_lock(struct loader *l, const struct key *key, void *member, const char *value)
{
        parse_choice(l, key, member, *value ? value : "auto");
}

static void parse_duration(struct loader *l, const struct key *key, void *member, const char *value)
{
        uint64_t usec = 0;
        int r = *value ? timespan_parse(value, &usec) : 0;

        if (r == -ERANGE)
                problem(l, "%s= takes at most ten years, not \"%s\"", key->name, value);
        else if (r < 0)
                problem(l, "%s= expects a duration with units such as 8h, 90min or 1d 12h, not \"%s\"",
                        key->name, value);
        else
                *(uint64_t *)member = usec;
}

/* ---- [Record] ---- */

static bool is_unbounded(const char *value)
{
        return strcmp(value, "infinity") == 0;
}

static void parse_keep_for(struct loader *l, const struct key *key, void *member, const char *value)
{
        if (is_unbounded(value))
                *(uint64_t *)member = RECORD_UNBOUNDED;
        else if (*value)
                parse_duration(l, key, member, value);
        else
                *(uint64_t *)member = record_defaults.keep_for;
}

/* Digits, and one letter of UNITS behind them: each of these is 1024 of the one before. False: something
 * else, zero, or more than can be counted. */
static bool read_amount(const char *text, const char *units, uint64_t *ret)
{
        uint64_t n = 0;

        if (!isdigit((unsigned char)*text))
                return false;
        for (; isdigit((unsigned char)*text); text++)
                if (__builtin_mul_overflow(n, 10, &n) ||
                    __builtin_add_overflow(n, (uint64_t)(*text - '0'), &n))
                        return false;
        if (*text) {
                const char *unit = strchr(units, toupper((unsigned char)*text));

                if (!unit || text[1])
                        return false;
                for (const char *u = units; u <= unit; u++)
                        if (__builtin_mul_overflow(n, 1024, &n))
                                return false;
        }
        *ret = n;
        return n > 0 && n < RECORD_UNBOUNDED;
}

static void parse_keep_orders(struct loader *l, const struct key *key, void *member, const char *value)
{
        uint64_t n = is_unbounded(value) ? RECORD_UNBOUNDED : record_defaults.keep_orders;

        if (*value && !is_unbounded(value) && !read_amount(value, "", &n))
                problem(l, "%s= expects a number of orders, 1 or more, or infinity, not \"%s\"", key->name,
                        value);
        else
                *(uint64_t *)member = n;
}

static void parse_keep_size(struct loader *l, const struct key *key, void *member, const char *value)
{
        uint64_t n = is_unbounded(value) ? RECORD_UNBOUNDED : record_defaults.keep_size;

        if (*value && !is_unbounded(value) && !read_amount(value, "KMGT", &n))
                problem(l,
                        "%s= expects bytes, a number with K, M, G or T, or infinity, not "
                        "\"%s\"",
                        key->name, value);
        else
                *(uint64_t *)member = n;
}

static const struct key access_keys[] = {
        {"Order", parse_words, offsetof(struct config, access_order), NULL, NULL},
        {"Lift", parse_words, offsetof(struct config, access_lift), NULL, NULL},
        {"Status", parse_words, offsetof(struct config, access_status), NULL, NULL},
};

static const struct key record_keys[] = {
        {"KeepFor", parse_keep_for, offsetof(struct config, record.keep_for), NULL, NULL},
        {"KeepOrders", parse_keep_orders, offsetof(struct config, record.keep_orders), NULL, NULL},
        {"KeepSize", parse_keep_size, offsetof(struct config, record.keep_size), NULL, NULL},
};

static const struct key profile_keys[] = {
        {"Description", parse_text, offsetof(struct profile, description), NULL, NULL},
        {"Groups", parse_words, offsetof(struct profile, groups), NULL, NULL},
        {"Users", parse_words, offsetof(struct profile, users), NULL, NULL},
        {"Everyone", parse_switch, offsetof(struct profile, everyone), NULL, NULL},
        {"IncludeRoot", parse_switch, offsetof(struct profile, include_root), NULL, NULL},
        {"ExceptUsers", parse_words, offsetof(struct profile, except_users), NULL, NULL},
        {"ExceptGroups", parse_words, offsetof(struct profile, except_groups), NULL, NULL},
        {"Allow", parse_words, offsetof(struct profile, allow), NULL, NULL},
        {"DNS", parse_dns, offsetof(struct profile, dns), NULL, NULL},
        {"LoopbackDeny", parse_words, offsetof(struct profile, loopback_deny), NULL, NULL},
        {"Forward", parse_forward, offsetof(struct profile, forward_deny), "keep", "deny"},
        {"Sessions", parse_switch, offsetof(struct profile, sessions), NULL, NULL},
        {"RemoteSessions", parse_remote_sessions, offsetof(struct profile, end_remote_sessions), "keep",
         "end"},
        {"Services", parse_words, offsetof(struct profile, services), NULL, NULL},
        {"SecondLock", parse_second_lock, offsetof(struct profile, second_lock), "no", "auto"},
        {"DefaultDuration", parse_duration, offsetof(struct profile, default_duration), NULL, NULL},
        {"MaxDuration", parse_duration, offsetof(struct profile, max_duration), NULL, NULL},
};

static const struct section sections[] = {
        {"Access", "[Access]", access_keys, ELEMENTSOF(access_keys)},
        {"Profile", "[Profile NAME]", profile_keys, ELEMENTSOF(profile_keys)},
        {"Record", "[Record]", record_keys, ELEMENTSOF(record_keys)},
};

static const struct key *find_key(const struct section *s, const char *name)
{
        for (size_t i = 0; i < s->n_keys; i++)
                if (strcmp(s->keys[i].name, name) == 0)
                        return &s->keys[i];
        return NULL;
}

static void unknown_key(struct loader *l, const char *name)
{
        const char *names[ELEMENTSOF(profile_keys) + ELEMENTSOF(access_keys) + ELEMENTSOF(record_keys)],
                *nearest;

        for (size_t i = 0; i < ELEMENTSOF(sections); i++)
                if (find_key(&sections[i], name)) {
                        problem(l, "%s= belongs into %s, not into [%s]", name, sections[i].title,
                                l->section_title);
                        return;
                }
        for (size_t i = 0; i < l->section->n_keys; i++)
                names[i] = l->section->keys[i].name;
        nearest = nearest_name(name, names, l->section->n_keys);
        if (nearest)
                problem(l, "unknown key %s= in [%s]; did you mean %s=?", name, l->section_title, nearest);
        else
                problem(l, "unknown key %s= in [%s]; lockdownd.conf(5) lists the keys", name,
                        l->section_title);
}

/* inih's handler; the sections it saw are of no interest (it keeps only 49 bytes of a title). */
static int on_key(void *userdata, const char *section, const char *name, const char *value)
{
        struct loader *l = userdata;
        const struct key *key;
        char *base;

        (void)section;
        l->waiting = false;
        if (!l->section_title) {
                problem(l,
                        "%s= stands before the first section; expected [Access], [Record] or [Profile NAME] "
                        "above "
                        "it",
                        name);
                return 1;
        }
        if (!l->section) /* an unknown section, which was reported as such */
                return 1;
        key = find_key(l->section, name);
        if (!key) {
                unknown_key(l, name);
                return 1;
        }
        base = l->profile ? (char *)l->profile : (char *)l->config;
        key->parse(l, key, base + key->offset, value);
        if (l->profile && key->parse != parse_words) /* words remember by themselves */
                check(l, profile_set_place(l->profile, key->name, l->file, l->line));
        return 1;
}

static struct profile *add_profile(struct config *c, const char *name, const char *file, unsigned line)
{
        _cleanup_(profile_freep) struct profile *p = profile_new(name);
        struct profile **grown;

        if (!p)
                return NULL;
        p->file = strdup(file);
        p->line = line;
        grown = p->file ? reallocarray(c->profiles, c->n_profiles + 1, sizeof(struct profile *)) : NULL;
        if (!grown)
                return NULL;
        c->profiles = grown;
        c->profiles[c->n_profiles++] = p;
        return TAKE_PTR(p);
}

static void begin_profile(struct loader *l, const char *name)
{
        if (*name == '\0') {
                problem(l, "the section names no profile: expected [Profile NAME]");
                return;
        }
        if (!profile_name_valid(name)) {
                problem(l,
                        "\"%s\" cannot name a profile: use letters, digits, \"_\", \"-\" and \".\", a letter "
                        "or "
                        "digit first, at most %d in all",
                        name, PROFILE_NAME_MAX);
                return;
        }
        l->profile = config_find(l->config, name);
        if (!l->profile)
                l->profile = add_profile(l->config, name, l->file, l->line);
        if (!l->profile) {
                check(l, -ENOMEM);
                return;
        }
        l->section = &sections[1];
}

static void unknown_section(struct loader *l, const char *title)
{
        _cleanup_free_ char *word = strndup(title, strcspn(title, " "));
        const char *names[ELEMENTSOF(sections)], *nearest;

        if (!word) {
                check(l, -ENOMEM);
                return;
        }
        for (size_t i = 0; i < ELEMENTSOF(sections); i++)
                names[i] = sections[i].name;
        nearest = nearest_name(word, names, ELEMENTSOF(names));
        for (size_t i = 0; nearest && i < ELEMENTSOF(sections); i++)
                if (nearest == sections[i].name) {
                        problem(l, "unknown section [%s]; did you mean %s?", title, sections[i].title);
                        return;
                }
        problem(l, "unknown section [%s]; expected [Access], [Record] or [Profile NAME]", title);
}

/* TITLE: what stands between the brackets, with single spaces. Taken over. */
static void begin_section(struct loader *l, char *title)
{
        size_t first = strcspn(title, " ");
        const char *name = title + first + strspn(title + first, " ");

        free(l->section_title);
        l->section_title = title;
        l->section = NULL;
        l->profile = NULL;
        for (size_t i = 0; i < l->titles.n; i++)
                if (strcmp(l->titles.items[i].text, title) == 0)
                        problem(l, "the section [%s] stands twice in this file, the first time in line %u",
                                title, l->titles.items[i].line);
        check(l, words_add(&l->titles, title, l->file, l->line));
        if (strcmp(title, "Access") == 0)
                l->section = &sections[0];
        else if (strcmp(title, "Record") == 0)
                l->section = &sections[2];
        else if (first == strlen("Profile") && strncmp(title, "Profile", first) == 0)
                begin_profile(l, name);
        else
                unknown_section(l, title);
}

/* Cuts off blanks at both ends; TEXT is changed, the result points into it. */
static char *strip(char *text)
{
        char *end;

        text += strspn(text, " \t\r\v\f");
        end = text + strlen(text);
        while (end > text && strchr(" \t\r\v\f", end[-1]))
                *--end = '\0';
        return text;
}

/* A "#" with a blank before it begins a comment, as ";" does for inih; not so in Description=, which is prose
 * ("Ticket #4711"). */
static void cut_comment(char *line, const char *signs)
{
        if (strncmp(line, "Description", 11) == 0)
                return;
        for (char *c = line + 1; *line && *c; c++)
                if (strchr(signs, *c) && (c[-1] == ' ' || c[-1] == '\t')) {
                        *c = '\0';
                        return;
                }
}

static void read_title(struct loader *l, char *line)
{
        _cleanup_words_ struct words words = {};
        size_t length;
        char *title;

        cut_comment(line, "#;");
        length = strlen(strip(line));
        if (length < 2 || line[length - 1] != ']') {
                problem(l, "a section needs its name in brackets and nothing behind them, not \"%s\"", line);
                l->section = NULL; /* its keys belong to nothing that is known */
                free(l->section_title);
                l->section_title = strdup("");
                if (!l->section_title)
                        check(l, -ENOMEM);
                return;
        }
        line[length - 1] = '\0';
        check(l, words_split(&words, line + 1, NULL, 0));
        title = words_join(&words); /* with single spaces */
        if (!title) {
                check(l, -ENOMEM);
                return;
        }
        begin_section(l, title);
}

static bool is_text(const char *line)
{
        _cleanup_json_ json_t *valid = json_string(line); /* refuses what is not UTF-8 */

        for (const char *c = line; *c; c++)
                if (iscntrl((unsigned char)*c) && *c != '\t')
                        return false;
        return valid;
}

/* Is the line one to be split by inih? What is not has been dealt with or reported. */
static bool read_line(struct loader *l, char *line)
{
        const char *separator = line + strcspn(line, "=:");

        if (!is_text(line)) {
                problem(l, "this line is not UTF-8 text, or has control characters in it");
                return false;
        }
        if (*line == '[') {
                read_title(l, line);
                return false;
        }
        if (*separator != '=' || separator == line) {
                problem(l, "expected KEY=VALUE or a section in brackets, not \"%s\"", line);
                return false;
        }
        cut_comment(line, "#");
        strip(line);
        if (line[strlen(line) - 1] == '\\') {
                problem(l, "a line does not go on behind \"\\\"; repeat the key instead, lists add up");
                return false;
        }
        return true;
}

/* The next line that is not a comment and not too long, in BUF; NULL at the end. */
static char *next_line(struct loader *l, char *buf, size_t size)
{
        while (l->at < l->end) {
                const char *newline = memchr(l->at, '\n', (size_t)(l->end - l->at));
                const char *begin = l->at, *stop = newline ? newline : l->end;

                l->at = newline ? newline + 1 : l->end;
                l->line++;
                while (begin < stop && strchr(" \t\r\v\f", *begin))
                        begin++;
                while (stop > begin && strchr(" \t\r\v\f", stop[-1]))
                        stop--;
                if (begin == stop || *begin == '#' || *begin == ';')
                        continue;
                if ((size_t)(stop - begin) >= size) {
                        problem(l,
                                "this line has %zu bytes, more than the %zu that are read; repeat the key "
                                "instead, lists add up",
                                (size_t)(stop - begin), size - 1);
                        continue;
                }
                memcpy(buf, begin, (size_t)(stop - begin));
                buf[stop - begin] = '\0';
                return buf;
        }
        return NULL;
}

static void report_unanswered(struct loader *l)
{
        if (l->waiting)
                problem(l, "expected KEY=VALUE");
        l->waiting = false;
}

/* inih's reader, in the manner of fgets(). */
static char *read_for_inih(char *str, int num, void *stream)
{
        struct loader *l = stream;
        char line[CONFIG_LINE_MAX + 1];
        size_t room = num > 2 ? (size_t)num - 1 : 0; /* without the newline */

        report_unanswered(l);
        if (room > sizeof(line))
                room = sizeof(line);
        while (room > 0 && l->error >= 0 && next_line(l, line, room)) {
                if (!read_line(l, line))
                        continue;
                snprintf(str, (size_t)num, "%s\n", line);
                l->waiting = true;
                return str;
        }
        return NULL;
}

/* Text files have no NUL bytes, and C would take one for the end of its line. */
static bool find_nul(struct loader *l)
{
        const char *nul = memchr(l->at, '\0', (size_t)(l->end - l->at));

        if (!nul)
                return false;
        l->line = 1;
        for (const char *c = l->at; c < nul; c++)
                l->line += *c == '\n';
        problem(l, "there is a NUL byte in this line; this is not a text file");
        return true;
}

static void skip_byte_order_mark(struct loader *l)
{
        static const char mark[] = "\xef\xbb\xbf";

        if (l->end - l->at >= 3 && memcmp(l->at, mark, 3) == 0)
                l->at += 3;
}

int config_parse_text(struct config *c, const char *file, const char *text, size_t size,
                      struct problems *problems)
{
        struct loader l = {.config = c, .problems = problems, .file = file, .at = text, .end = text + size};

        size_t before = problems->n;

        skip_byte_order_mark(&l);
        if (!find_nul(&l))
                check(&l, ini_parse_stream(read_for_inih, &l, on_key, &l) == -2 ? -ENOMEM : 0);
        report_unanswered(&l);
        if (problems->n - before < l.mistakes) /* a mistake must not be forgotten and then pass for none */
                check(&l, -ENOMEM);
        words_clear(&l.titles);
        free(l.section_title);
        return l.error;
}
