/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "arguments.h"
#include "protocol.h"
#include "tables.h"
#include "timespan.h"
#include <errno.h>
#include <getopt.h>
#include <stdarg.h>
#include <string.h>

/* The value getopt_long() gives for options[i]; above every letter. */
#define LONG_BASE 256

/* A sentence about wrong usage into *RET; returns -EINVAL, or -ENOMEM. What it quotes is made harmless where
 * it is printed. */
static __attribute__((format(printf, 2, 3))) int problem(char **ret, const char *format, ...)
{
        char *sentence = NULL;
        va_list ap;
        int r;

        va_start(ap, format);
        r = vasprintf(&sentence, format, ap);
        va_end(ap);
        if (r < 0)
                return -ENOMEM;
        *ret = sentence;
        return -EINVAL;
}

static int parse_duration(const char *text, uint64_t *ret, char **ret_problem)
{
        int r = timespan_parse(text, ret);

        if (r == -ERANGE)
                return problem(ret_problem,
                               "'%s' is longer than ten years; leave --for out to order until "
                               "lifted",
                               text);
        if (r < 0)
                return problem(ret_problem, "'%s' is no duration; write it like 8h, 90min or \"1d 12h\"",
                               text);
        return 0;
}

static int parse_time(const char *text, uint64_t now, uint64_t *ret, char **ret_problem)
{
        int r = timestamp_parse(text, now, ret);

        if (r == -ERANGE)
                return problem(ret_problem,
                               "'%s' is not in the future; write it like \"2016-11-30 18:00\" or "
                               "\"tomorrow 08:00\"",
                               text);
        if (r < 0)
                return problem(ret_problem,
                               "'%s' is no time; write it like \"2016-11-30 18:00\", 18:00 or "
                               "\"tomorrow 08:00\"",
                               text);
        return 0;
}

static int strings_add(struct strings *s, const char *text)
{
        const char **items = reallocarray(s->items, s->n + 1, sizeof(*items));

        if (!items)
                return -ENOMEM;
        s->items = items;
        items[s->n++] = text;
        return 0;
}

static int apply(struct arguments *a, enum option_id id, const char *value, uint64_t now, char **ret_problem)
{
        const struct option_spec *o = &options[id];
        void *member = (char *)a + o->offset;
        bool again = a->given & OPTION_BIT(id);

        a->given |= OPTION_BIT(id);
        if (o->kind == KIND_FLAG) {
                *(bool *)member = true;
                return 0;
        }
        if (!*value)
                return problem(ret_problem, "--%s needs a %s, not an empty text", o->name, o->argument);
        if (!utf8_valid(value))
                return problem(ret_problem, "what is given with --%s is no valid UTF-8", o->name);
        if (o->kind == KIND_LIST)
                return strings_add(member, value);
        if (again)
                return problem(ret_problem, "--%s is given twice; give it once", o->name);
        if (o->kind == KIND_DURATION)
                return parse_duration(value, member, ret_problem);
        if (o->kind == KIND_TIME)
                return parse_time(value, now, member, ret_problem);
        *(const char **)member = value;
        return 0;
}

/* The first word is the verb, what follows are its arguments. */
static int apply_word(struct arguments *a, const char *word, char **ret_problem)
{
        const char *nearest;

        if (!a->verb) {
                a->verb = verb_find(word);
                if (a->verb)
                        return 0;
                nearest = verb_nearest(word);
                if (nearest)
                        return problem(ret_problem, "there is no verb '%s'; did you mean '%s'?", word,
                                       nearest);
                return problem(ret_problem, "there is no verb '%s'; lockdownctl --help lists them", word);
        }
        if (!utf8_valid(word))
                return problem(ret_problem, "an argument of %s is no valid UTF-8", a->verb->name);
        if (!*word)
                return problem(ret_problem, "an argument of %s is empty; usage: lockdownctl %s",
                               a->verb->name, a->verb->synopsis[0]);
        if (a->n_positional == a->verb->max_positional)
                return problem(ret_problem, "'%s' is one argument too many; usage: lockdownctl %s", word,
                               a->verb->synopsis[0]);
        a->positional[a->n_positional++] = word;
        return 0;
}

/* getopt refused WORD: an unknown, ambiguous or superfluously valued option. */
static int unknown_option(const char *word, char **ret_problem)
{
        char name[64];
        const char *nearest;
        const char *bare = word + strspn(word, "-");
        size_t length = strcspn(bare, "=");

        snprintf(name, sizeof(name), "%.*s", (int)(length < 63 ? length : 63), bare);
        for (size_t i = 0; i < _OPTION_MAX; i++)
                if (strcmp(options[i].name, name) == 0)
                        return problem(ret_problem, "--%s takes no value; write it alone", name);
        nearest = strncmp(word, "--", 2) == 0 ? option_nearest(name) : NULL;
        if (nearest)
                return problem(ret_problem, "there is no option '--%s'; did you mean '--%s'?", name, nearest);
        return problem(ret_problem, "there is no option '%s'; lockdownctl --help lists them", word);
}

static int missing_value(int opt, const char *word, char **ret_problem)
{
        if (opt >= LONG_BASE && opt < LONG_BASE + _OPTION_MAX)
                return problem(ret_problem, "--%s needs a %s behind it", options[opt - LONG_BASE].name,
                               options[opt - LONG_BASE].argument);
        return problem(ret_problem, "'%s' needs a value behind it", word);
}

/* An option of another verb: says which one it belongs to. */
static int check_belonging(const struct arguments *a, char **ret_problem)
{
        uint64_t wrong = a->given & ~(OPTIONS_EVERYWHERE | a->verb->options);
        size_t id = 0;

        if (wrong == 0)
                return 0;
        while (!(wrong & OPTION_BIT(id)))
                id++;
        for (size_t i = 0; i < n_verbs; i++)
                if (verbs[i].options & OPTION_BIT(id))
                        return problem(ret_problem,
                                       "--%s does not go with %s but with %s; usage: lockdownctl %s",
                                       options[id].name, a->verb->name, verbs[i].name, a->verb->synopsis[0]);
        return problem(ret_problem, "--%s does not go with %s", options[id].name, a->verb->name);
}

static int check(const struct arguments *a, char **ret_problem)
{
        int r;

        if (a->help || a->version)
                return 0;
        if (!a->verb)
                return problem(ret_problem, "say what to do, for example 'lockdownctl status'; lockdownctl "
                                            "--help lists the verbs");
        r = check_belonging(a, ret_problem);
        if (r < 0)
                return r;
        if (a->n_positional < a->verb->min_positional)
                return problem(ret_problem, "%s needs more arguments; usage: lockdownctl %s", a->verb->name,
                               a->verb->synopsis[0]);
        if (a->duration && a->until)
                return problem(ret_problem, "--for and --until exclude each other; give one of them");
        if (a->reason && strlen(a->reason) > REASON_MAX)
                return problem(ret_problem, "the reason is longer than %d bytes; shorten it", REASON_MAX);
        return a->verb->check ? a->verb->check(a, ret_problem) : 0;
}

static bool stands_in(int argc, char **argv, const char *option)
{
        for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++)
                if (strncmp(argv[i], "--", 2) == 0 && strcmp(argv[i] + 2, option) == 0)
                        return true;
        return false;
}

static void fill_getopt(int argc, char **argv, struct option *longs, char *letters)
{
        /* '-': every word in its place, also with POSIXLY_CORRECT; ':': tell a missing value apart. */
        letters = stpcpy(letters, "-:");
        for (int i = 0; i < _OPTION_MAX; i++) {
                if (options[i].letter)
                        *letters++ = options[i].letter;
                if (options[i].internal && !stands_in(argc, argv, options[i].name))
                        continue; /* else "--fr" would be short for it */
                *longs++ = (struct option){.name = options[i].name,
                                           .has_arg = options[i].kind == KIND_FLAG ? no_argument
                                                                                   : required_argument,
                                           .val = LONG_BASE + i};
        }
        *longs = (struct option){0};
        *letters = '\0';
}

static int option_of_letter(int letter)
{
        for (int i = 0; i < _OPTION_MAX; i++)
                if (options[i].letter == letter)
                        return i;
        return -1;
}

static int parse_all(int argc, char **argv, uint64_t now, struct arguments *a, char **ret_problem)
{
        struct option longs[_OPTION_MAX + 1];
        char letters[_OPTION_MAX + 4];
        int opt, r = 0;

        fill_getopt(argc, argv, longs, letters);
        optind = 0; /* glibc: begin anew */
        opterr = 0;
        while (r == 0 && (opt = getopt_long(argc, argv, letters, longs, NULL)) != -1) {
                if (opt == 1)
                        r = apply_word(a, optarg, ret_problem);
                else if (opt == '?')
                        r = unknown_option(argv[optind - 1], ret_problem);
                else if (opt == ':')
                        r = missing_value(optopt, argv[optind - 1], ret_problem);
                else
                        r = apply(a, opt >= LONG_BASE ? opt - LONG_BASE : option_of_letter(opt), optarg, now,
                                  ret_problem);
        }
        for (int i = optind; r == 0 && i < argc; i++) /* what stands behind "--" */
                r = apply_word(a, argv[i], ret_problem);
        return r < 0 ? r : check(a, ret_problem);
}

int arguments_parse(int argc, char **argv, uint64_t now, struct arguments *ret, char **ret_problem)
{
        _cleanup_arguments_ struct arguments a = {0};
        int r = parse_all(argc, argv, now, &a, ret_problem);

        if (r < 0)
                return r;
        *ret = a;
        a = (struct arguments){0};
        return 0;
}

void arguments_clear(struct arguments *a)
{
        free(a->groups.items);
        free(a->users.items);
        free(a->allow.items);
        *a = (struct arguments){0};
}

bool arguments_want_json(int argc, char **argv)
{
        return stands_in(argc, argv, options[OPTION_JSON].name);
}
