/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "verbs.h"
#include <inttypes.h>
#include <string.h>

/* Behind the reason, in brackets: the word of the configuration and where it stands. */
static void write_word(FILE *f, const json_t *because)
{
        const char *key = field_text(because, "key"), *source = field_text(because, "source");

        if (!key)
                return;
        fputs(" (", f);
        put_safe(f, key);
        fputc('=', f);
        put_safe(f, field_text(because, "word"));
        if (field_text(because, "file")) {
                fputs(", ", f);
                put_safe(f, field_text(because, "file"));
                fprintf(f, ":%" PRIu64, field_number(because, "line"));
        } else if (source && strcmp(source, "unknown") != 0) {
                fputs(", ", f);
                put_safe(f, source);
        }
        fputc(')', f);
}

static void write_because(FILE *f, const char *title, const json_t *because)
{
        if (!field_text(because, "reason"))
                return;
        fprintf(f, "    %s ", title);
        put_safe(f, field_text(because, "reason"));
        write_word(f, because);
        fputc('\n', f);
}

static void write_verdict(FILE *f, const json_t *verdict, const struct style *s)
{
        bool covers = field_true(verdict, "covers"), refused = field_true(verdict, "refused");

        fputs("  ", f);
        put_safe(f, field_text(verdict, "profile"));
        fprintf(f, " %s\n",
                !covers   ? "does not cover this user"
                : refused ? "refuses it"
                          : "lets it through");
        write_because(f, "who:  ", json_object_get(verdict, "user"));
        write_because(f, "where:", json_object_get(verdict, "destination"));
        if (field_text(verdict, "problem")) {
                fprintf(f, "    %sThe kernel does not hold what it should: ", style_colour(s, COLOUR_WARN));
                put_safe(f, field_text(verdict, "problem"));
                fprintf(f, "%s\n", style_colour(s, COLOUR_NONE));
        }
}

int write_explain(FILE *f, const json_t *answer, const struct style *s)
{
        const json_t *verdicts = field_array(answer, "verdicts");
        bool refused = field_true(answer, "refused");
        json_t *verdict;
        size_t i;

        put_safe(f, field_text(answer, "user"));
        fprintf(f, " (uid %" PRIu64 ") to ", field_number(answer, "uid"));
        put_safe(f, field_text(answer, "destination"));
        fprintf(f, ": %s%s%s\n", style_colour(s, refused ? COLOUR_ALERT : COLOUR_GOOD),
                refused ? "REFUSED" : "allowed", style_colour(s, COLOUR_NONE));
        if (json_array_size(verdicts) == 0)
                fputs("  No lockdown is in force.\n", f);
        json_array_foreach(verdicts, i, verdict) write_verdict(f, verdict, s);
        return 0;
}
