/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "unit-patterns.h"

#include <fnmatch.h>
#include <stdio.h>
#include <string.h>

/* systemd.unit(5): no unit name is longer. */
#define UNIT_NAME_MAX 255

/* The units that have processes, so control groups. */
static const char *const suffixes[] = {".service", ".scope", ".slice"};
/* systemd.unit(5); names with these are units, but there is nothing in them to hold. */
static const char *const others[] = {".socket", ".mount", ".automount", ".swap",
                                     ".target", ".path",  ".timer",     ".device"};

static bool ends_with(const char *text, const char *end)
{
        size_t length = strlen(text), end_length = strlen(end);

        return length > end_length && strcmp(text + length - end_length, end) == 0;
}

static bool ends_with_any(const char *text, const char *const *ends, size_t n)
{
        for (size_t i = 0; i < n; i++)
                if (ends_with(text, ends[i]))
                        return true;
        return false;
}

const char *unit_pattern_problem(const char *pattern)
{
        static const char signs[] =
                "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789:-_.\\@*?[]";

        if (strlen(pattern) > UNIT_NAME_MAX)
                return "it is too long";
        if (pattern[0] == '\0' || pattern[strspn(pattern, signs)] != '\0')
                return "expected a name such as cups.service or container@*.service";
        if (strcmp(pattern, "-.slice") == 0)
                return "that is everything on this machine; see Everyone=yes";
        if (ends_with_any(pattern, others, ELEMENTSOF(others)))
                return "name the .service, .scope or .slice that has the processes";
        return NULL;
}

bool unit_pattern_matches(const char *pattern, const char *name)
{
        char with_suffix[UNIT_NAME_MAX + sizeof(".service")];

        if (ends_with_any(pattern, suffixes, ELEMENTSOF(suffixes)))
                return fnmatch(pattern, name, FNM_NOESCAPE) == 0;
        (void)snprintf(with_suffix, sizeof(with_suffix), "%s.service", pattern);
        return fnmatch(with_suffix, name, FNM_NOESCAPE) == 0;
}

const char *unit_patterns_find(const struct words *patterns, const char *name)
{
        for (size_t i = 0; i < patterns->n; i++)
                if (unit_pattern_matches(patterns->items[i].text, name))
                        return patterns->items[i].text;
        return NULL;
}
