/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "cleanup.h"
#include "timespan.h"
#include "verbs.h"
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#define DOORS_HOW ", the worst first, each with the line of the profile that closes it:"

static void add_once(json_t *list, json_t *sentence)
{
        json_t *known;
        size_t i;

        json_array_foreach(list, i, known) if (json_equal(known, sentence)) return;
        json_array_append(list, sentence);
}

static void add_all(json_t *list, const json_t *more)
{
        json_t *sentence;
        size_t i;

        json_array_foreach(more, i, sentence) if (json_is_string(sentence)) add_once(list, sentence);
}

json_t *warnings_of(const json_t *answer, const json_t *order)
{
        json_t *list = json_array();

        add_all(list, field_array(answer, "warnings"));
        add_all(list, field_array(order, "warnings"));
        return list;
}

bool warnings_tell(const json_t *warnings, const char *text)
{
        json_t *sentence;
        size_t i;

        json_array_foreach(warnings, i, sentence) if (json_is_string(sentence) &&
                                                      strstr(json_string_value(sentence), text)) return true;
        return false;
}

void write_warnings(FILE *f, const json_t *answer)
{
        _cleanup_json_ json_t *list = warnings_of(answer, json_object_get(answer, "order"));
        json_t *sentence;
        size_t i;

        if (field_true(answer, "dry_run"))
                return; /* they stand in the text */
        json_array_foreach(list, i, sentence)
        {
                fputs("lockdownctl: warning: ", f);
                put_safe(f, json_string_value(sentence));
                fputc('\n', f);
        }
}

static void write_people(FILE *f, const json_t *subjects)
{
        if (field_true(subjects, "everyone")) {
                fputs("Everybody but root", f);
                if (field_number(subjects, "except_users") > 0) {
                        fputs(" and ", f);
                        put_count(f, field_number(subjects, "except_users"), "excepted user",
                                  "excepted users");
                }
                fputs(" is blocked", f);
        } else {
                put_count(f, field_number(subjects, "users"), "user is", "users are");
                fputs(" blocked", f);
        }
}

/* "# text", one comment line whatever is in the text: the output is to be loadable by nft. */
static void write_comment_list(FILE *f, const char *title, const json_t *list)
{
        json_t *item;
        size_t i;

        json_array_foreach(list, i, item)
        {
                fprintf(f, "# %s: ", title);
                put_safe(f, json_string_value(item));
                fputc('\n', f);
        }
}

/* "# Would end session 12 of alice, from 203.0.113.7" */
static void write_ended_sessions(FILE *f, const json_t *list)
{
        json_t *session;
        size_t i;

        json_array_foreach(list, i, session)
        {
                fputs("# Would end session ", f);
                put_safe(f, field_text(session, "session"));
                fputs(" of ", f);
                if (field_text(session, "user"))
                        put_safe(f, field_text(session, "user"));
                else
                        fprintf(f, "uid %" PRIu64, field_number(session, "uid"));
                fputs(", logged in from ", f);
                put_safe(f, field_text(session, "from") ? field_text(session, "from") : "an unknown place");
                fputc('\n', f);
        }
}

static int write_dry_run(FILE *f, const json_t *answer, const struct style *s)
{
        const json_t *covers = json_object_get(answer, "covers");
        const char *ruleset = field_text(answer, "ruleset");

        fputs("# Nothing was changed. This order would cover ", f);
        if (field_true(covers, "everyone")) {
                fputs("everybody but root and those excepted", f);
        } else {
                put_count(f, field_number(covers, "users"), "user", "users");
                fputs(" and ", f);
                put_count(f, field_number(covers, "subordinate_ids"), "subordinate id", "subordinate ids");
                fputs(" of theirs", f);
        }
        fputs(",\n# and sever ", f);
        put_count(f, field_number(answer, "severs"), "connection", "connections");
        fputs(" now. It would stay in force ", f);
        put_until(f, answer, s);
        fputs(".\n", f);
        if (json_array_size(field_array(covers, "names")) > 0) {
                fputs("# Covered: ", f);
                put_list(f, field_array(covers, "names"), ", ");
                fputc('\n', f);
        }
        write_ended_sessions(f, field_array(answer, "ends_sessions"));
        write_comment_list(f, "Warning", field_array(answer, "warnings"));
        write_doors(f, answer, "# Doors that would stay open on this host" DOORS_HOW, "#   ", s);
        put_safe_lines(f, ruleset);
        if (ruleset && *ruleset && ruleset[strlen(ruleset) - 1] != '\n')
                fputc('\n', f);
        return 0;
}

static void write_severed(FILE *f, const json_t *answer)
{
        fputs("; ", f);
        put_count(f, field_number(answer, "severed"), "connection was", "connections were");
        fputs(" severed", f);
        if (field_number(answer, "left") > 0) {
                fputs(" and ", f);
                put_count(f, field_number(answer, "left"), "could not be", "could not be");
        }
        if (field_number(json_object_get(answer, "order"), "sessions_ended") > 0) {
                fputs("; ", f);
                put_count(f, field_number(json_object_get(answer, "order"), "sessions_ended"),
                          "session from outside was", "sessions from outside were");
                fputs(" ended", f);
        }
        fputs(".\n", f);
}

static void write_in_force(FILE *f, const json_t *order, const char *how, const struct style *s)
{
        fprintf(f, "%sLockdown ", style_colour(s, COLOUR_BOLD));
        put_safe(f, field_text(order, "profile"));
        fprintf(f, " %s%s ", how, style_colour(s, COLOUR_NONE));
        put_until(f, order, s);
        fputs(".\n", f);
}

static void write_shortened(FILE *f, const json_t *answer)
{
        if (field_true(answer, "shortened"))
                fputs("It ends earlier than asked: the profile's MaxDuration allows no more.\n", f);
}

/* What the caller must not miss, unless a warning says it on standard error. */
static void write_not_saved(FILE *f, const json_t *order, const struct style *s)
{
        const char *why = field_text(order, "save_error");

        if (!json_is_false(json_object_get(order, "saved")) ||
            (why && warnings_tell(field_array(order, "warnings"), why)))
                return;
        fprintf(f, "%sIt is NOT saved and will not survive a reboot%s", style_colour(s, COLOUR_ALERT),
                why ? ": " : ".");
        put_safe(f, why);
        fprintf(f, "%s\n", style_colour(s, COLOUR_NONE));
}

/* What ends it long before its end, unless somebody says the word. */
static void write_to_confirm(FILE *f, const json_t *order, const struct style *s)
{
        char span[64];

        if (field_number(order, "confirm_until_usec") == 0)
                return;
        fprintf(f, "%sIt ends by itself in %s unless it is confirmed: lockdownctl confirm ",
                style_colour(s, COLOUR_ALERT),
                timespan_format(field_number(order, "confirm_remaining_usec"), span, sizeof(span)));
        put_safe(f, field_text(order, "profile"));
        fprintf(f, "%s\n", style_colour(s, COLOUR_NONE));
}

int write_order(FILE *f, const json_t *answer, const struct style *s)
{
        const json_t *order = json_object_get(answer, "order");
        bool already = field_true(answer, "already_in_force");

        if (field_true(answer, "dry_run"))
                return write_dry_run(f, answer, s);
        write_in_force(f, order, already ? "was already in force and stays so" : "is in force", s);
        write_shortened(f, answer);
        if (already) {
                fputs("It was ordered ", f);
                put_when(f, field_number(order, "ordered_at_usec"), s);
                fputs(", by ", f);
                put_caller(f, json_object_get(order, "ordered_by"));
                fputs(".\n", f);
        } else {
                write_people(f, json_object_get(order, "subjects"));
                write_severed(f, answer);
        }
        write_to_confirm(f, order, s);
        write_not_saved(f, order, s);
        write_doors(f, order, "Doors still open on this host" DOORS_HOW, "  ", s);
        return 0;
}

int write_verify(FILE *f, const json_t *answer, const struct style *s)
{
        const json_t *list = field_array(answer, "verified");
        json_t *item;
        size_t i;

        json_array_foreach(list, i, item)
        {
                bool holds = field_true(item, "holds");

                fputs(style_colour(s, holds ? COLOUR_GOOD : COLOUR_ALERT), f);
                put_safe(f, field_text(item, "profile"));
                fputs(!holds                         ? " does NOT hold as it should: "
                      : field_true(item, "repaired") ? " holds; something had been changed, and was put right"
                                                     : " holds",
                      f);
                put_safe(f, field_text(item, "problem"));
                fprintf(f, "%s\n", style_colour(s, COLOUR_NONE));
                if (!field_text(item, "trial"))
                        continue;
                fputs("  tried: ", f);
                put_safe(f, field_text(item, "trial"));
                fputc('\n', f);
        }
        if (json_array_size(list) == 0) {
                put_none_in_force(f, s);
                fputs(".\n", f);
        }
        return 0;
}

int write_confirm(FILE *f, const json_t *answer, const struct style *s)
{
        write_in_force(f, json_object_get(answer, "order"),
                       field_true(answer, "confirmed") ? "is confirmed and stays in force"
                                                       : "needed no confirmation; it stays in force",
                       s);
        return 0;
}

int write_extend(FILE *f, const json_t *answer, const struct style *s)
{
        write_in_force(f, json_object_get(answer, "order"), "stays in force", s);
        write_shortened(f, answer);
        return 0;
}

static void write_lifted(FILE *f, const json_t *order, const struct style *s)
{
        const json_t *refused = json_object_get(order, "refused");
        uint64_t began = field_number(order, "ordered_at_usec"), ended = field_number(order, "ended_at_usec");
        char span[64];

        fprintf(f, "%sLockdown ", style_colour(s, COLOUR_BOLD));
        put_safe(f, field_text(order, "profile"));
        fprintf(f, " is lifted%s", style_colour(s, COLOUR_NONE));
        if (began > 0 && ended > began)
                fprintf(f, " after %s", timespan_format(ended - began, span, sizeof(span)));
        fputs("; it refused ", f);
        put_count(f, field_number(refused, "packets"), "packet", "packets");
        fputs(" (", f);
        put_bytes(f, field_number(refused, "bytes"));
        fputs(").\n", f);
        if (field_text(order, "id")) {
                fputs("What tried to get out: lockdownctl attempts ", f);
                put_safe(f, field_text(order, "id"));
                fputc('\n', f);
        }
}

int write_lift(FILE *f, const json_t *answer, const struct style *s)
{
        const json_t *lifted = field_array(answer, "lifted"), *others = field_array(answer, "not_in_force");
        json_t *item;
        size_t i;

        json_array_foreach(lifted, i, item) write_lifted(f, item, s);
        json_array_foreach(others, i, item)
        {
                put_safe(f, json_string_value(item));
                fputs(" is not in force: nothing to lift (lockdownctl status lists what is).\n", f);
        }
        if (json_array_size(lifted) == 0 && json_array_size(others) == 0)
                fputs("No lockdown is in force: nothing to lift.\n", f);
        return 0;
}

int write_reload(FILE *f, const json_t *answer, const struct style *s)
{
        const json_t *changed = field_array(answer, "changed");
        json_t *item;
        size_t i;

        (void)s;
        if (json_array_size(changed) == 0)
                fputs("Reloaded: nothing has changed.\n", f);
        else
                fputs("Reloaded:\n", f);
        json_array_foreach(changed, i, item)
        {
                fputs("  ", f);
                put_safe(f, json_string_value(item));
                fputc('\n', f);
        }
        return 0;
}
