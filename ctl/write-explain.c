/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "verbs.h"
#include <inttypes.h>

/* The reason is a sentence that names the profile. */
static void write_verdict(FILE *f, const json_t *verdict)
{
        const char *reason = field_text(verdict, "reason");

        fputs("  ", f);
        put_safe(f, reason ?: field_text(verdict, "profile"));
        if (!reason)
                fputs(field_true(verdict, "refused") ? " refuses it" : " lets it through", f);
        if (field_text(verdict, "file")) {
                fputs(" (", f);
                put_safe(f, field_text(verdict, "file"));
                fprintf(f, ":%" PRIu64 ")", field_number(verdict, "line"));
        }
        fputc('\n', f);
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
                fputs("  No lockdown in force covers this user.\n", f);
        json_array_foreach(verdicts, i, verdict) write_verdict(f, verdict);
        return 0;
}
