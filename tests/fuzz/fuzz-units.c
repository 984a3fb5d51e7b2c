/* SPDX-License-Identifier: GPL-2.0-or-later */

/* The words of Services=. Input: a pattern, a newline, the name of a unit. */

#include "fuzz.h"
#include "unit-patterns.h"

static bool has_suffix(const char *text, const char *suffix)
{
        size_t length = strlen(text);

        return length > strlen(suffix) && strcmp(text + length - strlen(suffix), suffix) == 0;
}

/* What "*" and "?" mean, the slow way: ROW[i] says whether the pattern so far matches the first i bytes. */
static bool matches(const char *pattern, const char *name)
{
        size_t n = strlen(name);
        _cleanup_free_ bool *row = calloc(n + 1, sizeof(*row));

        MUST(row);
        row[0] = true;
        for (; *pattern; pattern++) {
                bool before = row[0]; /* of the row above, one to the left */

                row[0] = row[0] && *pattern == '*';
                for (size_t i = 1; i <= n; i++) {
                        bool above = row[i];

                        row[i] = *pattern == '*' ? above || row[i - 1]
                                                 : before && (*pattern == '?' || *pattern == name[i - 1]);
                        before = above;
                }
        }
        return row[n];
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        struct feed f = {data, size};
        _cleanup_free_ char *pattern = feed_line(&f), *name = feed_line(&f);
        _cleanup_free_ char *whole = NULL;
        bool suffixed, found;

        /* Names are at most 255 bytes of systemd's own letters: what else it made would be no control group.
         */
        if (!pattern || !name || strlen(name) > 255 || unit_pattern_problem(pattern))
                return 0;
        for (const char *c = name; *c; c++)
                if (*c < ' ' || *c > '~' || *c == '/')
                        return 0;
        suffixed = has_suffix(pattern, ".service") || has_suffix(pattern, ".scope") ||
                   has_suffix(pattern, ".slice");
        MUST(asprintf(&whole, "%s%s", pattern, suffixed ? "" : ".service") > 0);
        found = unit_pattern_matches(pattern, name);
        if (!strpbrk(pattern, "[]"))
                MUST(found == matches(whole, name));
        if (found && !strpbrk(whole, "*?["))
                MUST(strcmp(whole, name) == 0);
        return 0;
}
