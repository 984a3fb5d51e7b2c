/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LOCKDOWN_CTL_ARGUMENTS_H
#define LOCKDOWN_CTL_ARGUMENTS_H

/* The command line, read with the tables in tables.h. Pure but for getopt's own state. */

#include "cleanup.h"
#include <stdbool.h>
#include <stdint.h>

struct verb;

struct strings { /* the strings are argv's */
        const char **items;
        size_t n;
};

#define ARGUMENTS_MAX 2

struct arguments {
        const struct verb *verb; /* NULL only with help or version */
        const char *positional[ARGUMENTS_MAX];
        unsigned n_positional;
        bool json, no_pager, quiet, help, version;
        const char *socket;      /* NULL: from the environment, or the default */
        uint64_t duration;       /* --for, microseconds; 0: not given */
        uint64_t confirm_within; /* --confirm-within, microseconds; 0: not given */
        uint64_t until;          /* --until, microseconds since the Epoch; 0: not given */
        const char *reason, *name;
        struct strings groups, users, allow;
        bool everyone, dry_run, yes, all, verbose, from_unit;
        uint64_t given; /* bit per option_id */
};

/* Reads ARGV as seen at NOW. Returns 0; -EINVAL with one sentence in RET_PROBLEM (the caller frees) for wrong
 * usage; -ENOMEM. RET is to be cleared after success. */
int arguments_parse(int argc, char **argv, uint64_t now, struct arguments *ret, char **ret_problem);
void arguments_clear(struct arguments *a);
/* Is --json among ARGV's options? For telling the failure of arguments_parse() in the form wanted. */
bool arguments_want_json(int argc, char **argv);

#define _cleanup_arguments_ _cleanup_(arguments_clear)

#endif
