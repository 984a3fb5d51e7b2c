/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LOCKDOWN_CTL_TABLES_H
#define LOCKDOWN_CTL_TABLES_H

/* What lockdownctl can do, as data: the verbs and the options, each with its help. */

#include "arguments.h"
#include "failure.h"
#include "text.h"

enum option_id {
        OPTION_FOR,
        OPTION_UNTIL,
        OPTION_REASON,
        OPTION_DRY_RUN,
        OPTION_CONFIRM_WITHIN,
        OPTION_YES,
        OPTION_GROUP,
        OPTION_USER,
        OPTION_EVERYONE,
        OPTION_ALLOW,
        OPTION_NAME,
        OPTION_ALL,
        OPTION_VERBOSE,
        OPTION_FROM_UNIT,
        OPTION_JSON,
        OPTION_QUIET,
        OPTION_NO_PAGER,
        OPTION_SOCKET,
        OPTION_HELP,
        OPTION_VERSION,
        _OPTION_MAX,
};

enum option_kind {
        KIND_FLAG,     /* bool */
        KIND_TEXT,     /* const char * */
        KIND_LIST,     /* struct strings: repeatable */
        KIND_DURATION, /* uint64_t */
        KIND_TIME,     /* uint64_t */
};

struct option_spec {
        const char *name;
        char letter;          /* 0: only the long one */
        const char *argument; /* how the help calls it */
        enum option_kind kind;
        size_t offset; /* of its member in struct arguments */
        bool internal; /* not in the help */
        const char *help;
};

/* Indexed by option_id. */
extern const struct option_spec options[_OPTION_MAX];

#define OPTION_BIT(id) (UINT64_C(1) << (id))
/* The options that go with every verb. */
#define OPTIONS_EVERYWHERE                                                                  \
        (OPTION_BIT(OPTION_JSON) | OPTION_BIT(OPTION_QUIET) | OPTION_BIT(OPTION_NO_PAGER) | \
         OPTION_BIT(OPTION_SOCKET) | OPTION_BIT(OPTION_HELP) | OPTION_BIT(OPTION_VERSION))

struct verb {
        const char *name;
        const char *synopsis[3]; /* lines behind "lockdownctl ", up to the first NULL */
        const char *summary;     /* for the list of verbs */
        const char *description; /* for its own help; may be NULL */
        unsigned min_positional, max_positional;
        uint64_t options; /* its own, besides OPTIONS_EVERYWHERE */
        bool internal;    /* not in the help */
        /* Arguments that make no sense together: -EINVAL with a sentence. May be NULL. */
        int (*check)(const struct arguments *a, char **ret_problem);

        /* A verb is either a request to the daemon, written out as text … */
        int (*request)(const struct arguments *a, sd_bus *bus, sd_bus_message **ret);
        int (*write)(FILE *f, const json_t *answer, const struct style *s);
        /* Sentences of the answer that belong on stderr; may be NULL. */
        void (*write_warnings)(FILE *f, const json_t *answer);
        /* The exit code an answer stands for; NULL: always EXIT_DONE. */
        int (*code)(const struct arguments *a, const json_t *answer);
        /* … or something of its own: returns an exit code, or a negative errno with F filled. */
        int (*run)(const struct arguments *a, struct failure *f);
};

extern const struct verb verbs[];
extern const size_t n_verbs;

const struct verb *verb_find(const char *name);
/* The nearest public verb or option (without dashes), NULL if none is near. */
const char *verb_nearest(const char *name);
const char *option_nearest(const char *name);

void help_write(FILE *f);
void help_write_verb(FILE *f, const struct verb *v);

#endif
