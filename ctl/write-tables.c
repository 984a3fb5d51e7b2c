/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "cleanup.h"
#include "table.h"
#include "verbs.h"
#include <inttypes.h>
#include <libsmartcols.h>

static void cell_state(FILE *f, const json_t *row, const char *key)
{
        (void)key;
        if (field_given(row, "problem"))
                fputs("PROBLEM", f);
        else if (field_true(row, "in_force"))
                fputs("IN FORCE", f);
        else
                fputs(field_true(row, "staged") ? "ready" : "not staged", f);
}

/* As Access= writes them: "@staff @contractors bob". */
static void cell_whom(FILE *f, const json_t *row, const char *key)
{
        const json_t *groups = field_array(row, "groups"), *users = field_array(row, "users");

        (void)key;
        if (field_true(row, "everyone"))
                fputs("everybody", f);
        if (json_array_size(groups) > 0)
                fputc('@', f);
        put_list(f, groups, " @");
        if (json_array_size(groups) > 0 && json_array_size(users) > 0)
                fputc(' ', f);
        put_list(f, users, " ");
}

static void cell_members(FILE *f, const json_t *row, const char *key)
{
        if (field_true(row, "everyone"))
                fputs("all", f);
        else
                cell_number(f, row, key);
}

static void write_problems(FILE *f, const json_t *profiles, const struct style *s)
{
        json_t *profile;
        size_t i;

        json_array_foreach(profiles, i, profile)
        {
                if (!field_text(profile, "problem"))
                        continue;
                fprintf(f, "%sProblem with ", style_colour(s, COLOUR_WARN));
                put_safe(f, field_text(profile, "name"));
                fputs(": ", f);
                put_safe(f, field_text(profile, "problem"));
                fprintf(f, "%s\n", style_colour(s, COLOUR_NONE));
        }
}

/* What is listed is then not what the files say. */
static void write_configuration_problem(FILE *f, const json_t *answer, const struct style *s)
{
        if (!field_text(answer, "problem"))
                return;
        fprintf(f, "%sThe configuration on disk is not in force: ", style_colour(s, COLOUR_WARN));
        put_safe(f, field_text(answer, "problem"));
        fprintf(f, "%s\n", style_colour(s, COLOUR_NONE));
}

int write_profiles(FILE *f, const json_t *answer, const struct style *s)
{
        static const struct column columns[] = {
                {"PROFILE", cell_text, "name", 0, 0},
                {"STATE", cell_state, NULL, 0, 0},
                {"MEMBERS", cell_members, "members", 0, SCOLS_FL_RIGHT},
                {"WHOM", cell_whom, NULL, 0.2, SCOLS_FL_TRUNC},
                {"REACHABLE", cell_list, "allow", 0.2, SCOLS_FL_TRUNC},
                {"DNS", cell_text, "dns", 0, 0},
                {"DEFAULT", cell_span, "default_duration_usec", 0, 0},
                {"MAX", cell_span, "max_duration_usec", 0, 0},
                {"DESCRIPTION", cell_text, "description", 0.2, SCOLS_FL_TRUNC},
        };
        const json_t *profiles = field_array(answer, "profiles");
        int r;

        if (json_array_size(profiles) == 0) {
                fputs("No profile is configured: see lockdownd.conf(5), or order ad hoc with --group.\n", f);
                write_configuration_problem(f, answer, s);
                return 0;
        }
        r = table_write(f, columns, ELEMENTSOF(columns), profiles, s);
        if (r < 0)
                return r;
        write_problems(f, profiles, s);
        write_configuration_problem(f, answer, s);
        return 0;
}

/* "lifted by alice", "expired" */
static void cell_how(FILE *f, const json_t *row, const char *key)
{
        cell_text(f, row, key);
        if (field_given(row, "ended_by")) {
                fputs(" by ", f);
                cell_caller(f, row, "ended_by");
        }
}

static void cell_refused(FILE *f, const json_t *row, const char *key)
{
        cell_number(f, json_object_get(row, "refused"), key);
}

/* What the list does not show. */
static void write_not_listed(FILE *f, const json_t *answer)
{
        const json_t *removed = json_object_get(answer, "removed");
        json_int_t left_off = json_integer_value(json_object_get(answer, "left_off"));

        if (left_off > 0)
                fprintf(f, "%" JSON_INTEGER_FORMAT " older ones are kept, but not listed.\n", left_off);
        if (!removed)
                return;
        fprintf(f,
                "%" JSON_INTEGER_FORMAT
                " older ones were removed from the record ([Record] in lockdownd.conf(5)); they ended until ",
                json_integer_value(json_object_get(removed, "orders")));
        cell_time(f, removed, "until_usec");
        fputs(".\n", f);
}

int write_history(FILE *f, const json_t *answer, const struct style *s)
{
        static const struct column columns[] = {
                {"PROFILE", cell_text, "profile", 0, 0},
                {"ORDERED", cell_time, "ordered_at_usec", 0, 0},
                {"BY", cell_caller, "ordered_by", 0, 0},
                {"ENDED", cell_time, "ended_at_usec", 0, 0},
                {"HOW", cell_how, "state", 0, 0},
                {"REFUSED", cell_refused, "packets", 0, SCOLS_FL_RIGHT},
                {"SEVERED", cell_number, "severed", 0, SCOLS_FL_RIGHT},
                {"ORDER-ID", cell_text, "id", 0, 0},
                {"REASON", cell_text, "reason", 0, 0},
        };
        const json_t *orders = field_array(answer, "orders");
        struct style whole = *s;
        int r;

        if (json_array_size(orders) == 0) {
                fputs(json_object_get(answer, "removed") ? "No lockdown that has ended is kept.\n"
                                                         : "No lockdown has ended yet.\n",
                      f);
                write_not_listed(f, answer);
                return 0;
        }
        /* Too wide for most terminals, and nothing in it may be cut: the pager scrolls sideways. */
        whole.width = 0;
        r = table_write(f, columns, ELEMENTSOF(columns), orders, &whole);
        if (r >= 0)
                write_not_listed(f, answer);
        return r;
}

static void cell_user(FILE *f, const json_t *row, const char *key)
{
        if (field_given(row, "uid"))
                cell_text(f, row, key);
        else
                fputs("(no owner)", f);
}

static void cell_protocol(FILE *f, const json_t *row, const char *key)
{
        if (field_text(row, key))
                cell_text(f, row, key);
        else
                cell_number(f, row, "protocol_number");
}

static void cell_port(FILE *f, const json_t *row, const char *key)
{
        if (field_number(row, key) > 0)
                cell_number(f, row, key);
        else
                fputc('-', f);
}

static int write_attempts_of(FILE *f, const json_t *profile, const struct style *s)
{
        static const struct column columns[] = {
                {"USER", cell_user, "user", 0, 0},
                {"UID", cell_number, "uid", 0, SCOLS_FL_RIGHT},
                {"PROTOCOL", cell_protocol, "protocol", 0, 0},
                {"ADDRESS", cell_text, "address", 0, 0},
                {"PORT", cell_port, "port", 0, SCOLS_FL_RIGHT},
                {"PACKETS", cell_number, "packets", 0, SCOLS_FL_RIGHT},
                {"BYTES", cell_number, "bytes", 0, SCOLS_FL_RIGHT},
        };
        const json_t *totals = json_object_get(profile, "totals"), *entries = field_array(profile, "entries");
        uint64_t packets = field_number(totals, "packets"),
                 itemised = field_number(profile, "itemised_packets");

        fputs(style_colour(s, COLOUR_BOLD), f);
        put_safe(f, field_text(profile, "profile"));
        fprintf(f, "%s: ", style_colour(s, COLOUR_NONE));
        put_count(f, packets, "packet", "packets");
        fputs(" refused (", f);
        put_bytes(f, field_number(totals, "bytes"));
        fputc(')', f);
        if (field_given(profile, "itemised_packets") && itemised < packets)
                fprintf(f, "; %" PRIu64 " of them found no room in the list", packets - itemised);
        fputc('\n', f);
        return json_array_size(entries) == 0 ? 0 : table_write(f, columns, ELEMENTSOF(columns), entries, s);
}

int write_attempts(FILE *f, const json_t *answer, const struct style *s)
{
        const json_t *profiles = field_array(answer, "profiles");
        json_t *profile;
        size_t i;

        if (json_array_size(profiles) == 0) {
                put_none_in_force(f, s);
                fputs("; for one that has ended: lockdownctl attempts ORDER-ID (lockdownctl history shows "
                      "the ids).\n",
                      f);
        }
        json_array_foreach(profiles, i, profile)
        {
                int r;

                if (i > 0)
                        fputc('\n', f);
                r = write_attempts_of(f, profile, s);
                if (r < 0)
                        return r;
        }
        return 0;
}
