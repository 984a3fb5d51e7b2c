/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "cleanup.h"
#include "timespan.h"
#include "verbs.h"
#include <inttypes.h>
#include <string.h>

#define LABEL_WIDTH 12

static void label(FILE *f, const char *text)
{
        fprintf(f, "%*s: ", LABEL_WIDTH, text);
}

static void line_text(FILE *f, const char *title, const char *text)
{
        if (!text || !*text)
                return;
        label(f, title);
        put_safe(f, text);
        fputc('\n', f);
}

static void line_alert(FILE *f, const char *title, const char *text, const struct style *s)
{
        label(f, title);
        fputs(style_colour(s, COLOUR_ALERT), f);
        put_safe(f, text);
        fprintf(f, "%s\n", style_colour(s, COLOUR_NONE));
}

static void write_head(FILE *f, const json_t *order, const struct style *s)
{
        const char *state = field_text(order, "state");
        bool active = !state || strcmp(state, "active") == 0;
        bool holds = !json_is_false(json_object_get(order, "holds"));

        fprintf(f, "%s● LOCKDOWN %s", style_colour(s, active ? COLOUR_ALERT : COLOUR_GOOD),
                !active ? "ended"
                : holds ? "IN FORCE"
                        : "ORDERED, BUT NOT HOLDING");
        fprintf(f, "%s: %s", style_colour(s, COLOUR_NONE), style_colour(s, COLOUR_BOLD));
        put_safe(f, field_text(order, "profile"));
        fputs(style_colour(s, COLOUR_NONE), f);
        if (field_text(order, "description")) {
                fputs(" - ", f);
                put_safe(f, field_text(order, "description"));
        }
        if (field_true(order, "adhoc"))
                fputs(" (ad hoc)", f);
        if (field_true(order, "recovered"))
                fputs(" (recovered: its saved order was lost)", f);
        fputc('\n', f);
}

static void write_when(FILE *f, const json_t *order, const struct style *s)
{
        label(f, "Ordered");
        if (field_number(order, "ordered_at_usec") > 0) {
                put_when(f, field_number(order, "ordered_at_usec"), s);
                fputs(", ", f);
        }
        fputs("by ", f);
        put_caller(f, json_object_get(order, "ordered_by"));
        fputc('\n', f);
        line_text(f, "Reason", field_text(order, "reason"));
        label(f, "Ends");
        if (field_number(order, "until_usec") == 0)
                fputs("not by itself; lockdownctl lift ends it\n", f);
        else {
                put_end(f, order, s);
                fputc('\n', f);
        }
}

static void write_verified(FILE *f, const json_t *order, const struct style *s)
{
        if (field_number(order, "verified_at_usec") == 0)
                return;
        label(f, "Verified");
        put_when(f, field_number(order, "verified_at_usec"), s);
        fputc('\n', f);
}

static void write_lock(FILE *f, const char *title, const char *state, const struct style *s)
{
        if (!state)
                return;
        if (strncmp(state, "NOT", 3) == 0)
                line_alert(f, title, state, s);
        else
                line_text(f, title, state);
}

static void write_tampering(FILE *f, const json_t *order, const struct style *s)
{
        const json_t *tampering = json_object_get(order, "tampering");
        uint64_t usec = field_number(tampering, "longest_usec");

        if (field_number(tampering, "times") == 0)
                return;
        label(f, "Changed");
        put_count(f, field_number(tampering, "times"), "time", "times");
        fputs(" by others and repaired, last", f);
        if (field_text(tampering, "program") || field_number(tampering, "pid") > 0) {
                fputs(" by ", f);
                put_safe(f, field_text(tampering, "program") ? field_text(tampering, "program") : "somebody");
                if (field_number(tampering, "pid") > 0)
                        fprintf(f, " (pid %" PRIu64 ")", field_number(tampering, "pid"));
        }
        fputc(' ', f);
        put_when(f, field_number(tampering, "last_at_usec"), s);
        fprintf(f, "; within %" PRIu64 ".%" PRIu64 " ms at the longest\n", usec / 1000, usec / 100 % 10);
}

/* What came of trying it. */
static void write_trial(FILE *f, const json_t *order, const struct style *s)
{
        const char *trial = field_text(order, "trial");

        if (!trial || strncmp(trial, "NOT", 3) == 0)
                write_lock(f, "Tried", trial, s);
        else if (s->verbose || strncmp(trial, "as ordered", 10) != 0)
                line_text(f, "Tried", trial);
        else
                line_text(f, "Tried", "as ordered");
}

static void write_to_confirm(FILE *f, const json_t *order, const struct style *s)
{
        _cleanup_free_ char *text = NULL;
        char span[64];

        if (field_number(order, "confirm_until_usec") == 0)
                return;
        if (asprintf(&text, "in %s it ends by itself, unless: lockdownctl confirm %s",
                     timespan_format(field_number(order, "confirm_remaining_usec"), span, sizeof(span)),
                     field_text(order, "profile")) >= 0)
                line_alert(f, "Unconfirmed", text, s);
}

static void write_names(FILE *f, const char *before, const json_t *names)
{
        if (json_array_size(names) == 0)
                return;
        fputs(before, f);
        put_list(f, names, ", ");
}

static void write_whom(FILE *f, const json_t *order, const struct style *s)
{
        const json_t *subjects = json_object_get(order, "subjects");

        if (!subjects)
                return;
        label(f, "Blocks");
        if (field_true(subjects, "everyone"))
                fputs("everybody but root", f);
        else
                put_count(f, field_number(subjects, "users"), "user", "users");
        if (field_number(subjects, "subordinate_ids") > 0) {
                fputs(" and ", f);
                put_count(f, field_number(subjects, "subordinate_ids"), "subordinate id", "subordinate ids");
        }
        write_names(f, "; groups ", field_array(subjects, "group_names"));
        write_names(f, "; users ", field_array(subjects, "user_names"));
        if (field_number(subjects, "except_users") > 0) {
                fputs("; except ", f);
                put_count(f, field_number(subjects, "except_users"), "user", "users");
        }
        if (field_true(order, "sessions"))
                fputs("; with their login sessions", f);
        if (json_array_size(field_array(order, "services")) > 0) {
                fputs("; services ", f);
                put_list(f, field_array(order, "services"), ", ");
        }
        if (field_text(order, "remote_sessions") && strcmp(field_text(order, "remote_sessions"), "end") == 0)
                fputs("; logins from outside are ended", f);
        fputc('\n', f);
        if (s->verbose && json_array_size(field_array(subjects, "names")) > 0) {
                label(f, "People");
                put_list(f, field_array(subjects, "names"), ", ");
                fputc('\n', f);
        }
}

static void write_where(FILE *f, const json_t *order)
{
        const json_t *allow = field_array(order, "allow"), *doors = field_array(order, "loopback_deny");

        if (!field_given(order, "allow"))
                return;
        label(f, "Reachable");
        if (json_array_size(allow) == 0)
                fputs("only this machine", f);
        put_list(f, allow, ", ");
        if (field_text(order, "dns")) {
                fputs("; DNS ", f);
                put_safe(f, field_text(order, "dns"));
        }
        if (json_array_size(doors) > 0) {
                fputs("; not local ports ", f);
                put_list(f, doors, ", ");
        }
        if (field_text(order, "forward") && strcmp(field_text(order, "forward"), "deny") == 0)
                fputs("; nothing is forwarded but inside", f);
        fputc('\n', f);
}

static void write_counts(FILE *f, const json_t *order)
{
        const json_t *refused = json_object_get(order, "refused");

        if (!refused)
                return;
        label(f, "Refused");
        put_count(f, field_number(refused, "packets"), "packet", "packets");
        fputs(" (", f);
        put_bytes(f, field_number(refused, "bytes"));
        fputs("), ", f);
        put_count(f, field_number(order, "severed"), "connection", "connections");
        fputs(" severed", f);
        if (field_number(order, "sessions_ended") > 0) {
                fputs(", ", f);
                put_count(f, field_number(order, "sessions_ended"), "session from outside",
                          "sessions from outside");
                fputs(" ended", f);
        }
        fputc('\n', f);
}

/* Namespaces shown without --verbose. */
#define NAMESPACES_SHOWN 5

static void write_namespace(FILE *f, const json_t *namespace, const struct style *s)
{
        uint64_t theirs = field_number(namespace, "subject_processes");
        const json_t *users = field_array(namespace, "users");

        label(f, "Not covered");
        fprintf(f, "%snetwork namespace ", theirs > 0 ? style_colour(s, COLOUR_ALERT) : "");
        if (field_text(namespace, "name")) {
                put_safe(f, field_text(namespace, "name"));
                fprintf(f, " (pid %" PRIu64 ")", field_number(namespace, "pid"));
        } else {
                fprintf(f, "of pid %" PRIu64, field_number(namespace, "pid"));
        }
        fputs(": ", f);
        put_count(f, theirs > 0 ? theirs : field_number(namespace, "processes"), "process", "processes");
        if (theirs > 0 && json_array_size(users) > 0) {
                fputs(" of ", f);
                put_list(f, users, ", ");
        } else if (theirs == 0) {
                fputs(", now none of theirs", f);
        }
        fprintf(f, "%s\n", theirs > 0 ? style_colour(s, COLOUR_NONE) : "");
}

/* Where only the second lock would hold. */
static void write_namespaces(FILE *f, const json_t *order, const struct style *s)
{
        const json_t *list = field_array(order, "uncovered_namespaces");
        uint64_t total = field_number(order, "uncovered_namespaces_total");
        uint64_t shown = json_array_size(list);

        if (!s->verbose && shown > NAMESPACES_SHOWN)
                shown = NAMESPACES_SHOWN;
        for (size_t i = 0; i < shown; i++)
                write_namespace(f, json_array_get(list, i), s);
        if (total <= shown)
                return;
        label(f, "Not covered");
        fputs(shown > 0 ? "and " : "", f);
        put_count(f, total - shown, "more network namespace", "more network namespaces");
        fputs(s->verbose ? "\n" : " (--verbose lists them)\n", f);
}

static void write_locks(FILE *f, const json_t *order, const struct style *s)
{
        const json_t *locks = json_object_get(order, "locks");
        const char *why = field_text(order, "save_error");

        write_lock(f, "nftables", field_text(locks, "nftables"), s);
        write_lock(f, "Packet sockets", field_text(locks, "packet_sockets"), s);
        write_lock(f, "Second lock", field_text(locks, "second_lock"), s);
        write_lock(f, "Sender lock", field_text(locks, "sender_lock"), s);
        write_verified(f, order, s);
        write_trial(f, order, s);
        write_tampering(f, order, s);
        write_namespaces(f, order, s);
        if (json_is_false(json_object_get(order, "saved"))) {
                line_alert(f, "Saved", "NO: it will not survive a reboot", s);
                if (why && !warnings_tell(field_array(order, "warnings"), why))
                        line_text(f, "Problem", why);
        }
}

static void write_membership(FILE *f, const json_t *order, const struct style *s)
{
        const json_t *membership = json_object_get(order, "membership");
        const char *source = field_text(membership, "source"), *problem = field_text(membership, "problem");

        if (!membership || (!s->verbose && !problem && (!source || strcmp(source, "saved") != 0)))
                return;
        label(f, "Members");
        fputs(source && strcmp(source, "saved") == 0 ? "last known, from " : "as of ", f);
        put_when(f, field_number(membership, "as_of_usec"), s);
        fputc('\n', f);
        if (problem && !warnings_tell(field_array(order, "warnings"), problem))
                line_alert(f, "Problem", problem, s);
}

static void write_sentences(FILE *f, const json_t *list, const struct style *s)
{
        json_t *sentence;
        size_t i;

        json_array_foreach(list, i, sentence)
        {
                fprintf(f, "%s", style_colour(s, COLOUR_WARN));
                label(f, "Warning");
                put_safe(f, json_string_value(sentence));
                fprintf(f, "%s\n", style_colour(s, COLOUR_NONE));
        }
}

static void write_one(FILE *f, const json_t *order, const struct style *s)
{
        write_head(f, order, s);
        write_when(f, order, s);
        write_to_confirm(f, order, s);
        write_whom(f, order, s);
        write_where(f, order);
        write_counts(f, order);
        write_locks(f, order, s);
        write_membership(f, order, s);
        if (s->verbose)
                line_text(f, "Order", field_text(order, "id"));
        write_doors(f, order,
                    "       Doors: open on this host, each with the line of the profile that closes it:",
                    "              ", s);
        write_sentences(f, field_array(order, "warnings"), s);
}

static void write_daemon(FILE *f, const json_t *answer, const struct style *s)
{
        const json_t *d = json_object_get(answer, "daemon");
        const char *configuration = field_text(d, "configuration");

        if (s->verbose && d) {
                fputs("\nlockdownd ", f);
                put_safe(f, field_text(d, "version"));
                fprintf(f, " (pid %" PRIu64 ")\n", field_number(d, "pid"));
                label(f, "Started");
                put_when(f, field_number(d, "started_at_usec"), s);
                fputc('\n', f);
                line_text(f, "Tables",
                          field_true(d, "tables_owned")
                                  ? "owned: nobody else can change or flush them"
                                  : "not owned (this kernel cannot): watched and restored");
        }
        if (configuration && strcmp(configuration, "ok") != 0 &&
            !warnings_tell(field_array(answer, "warnings"), configuration))
                line_alert(f, "Problem", configuration, s);
}

int write_status(FILE *f, const json_t *answer, const struct style *s)
{
        const json_t *orders = field_array(answer, "orders");
        json_t *order;
        size_t i;

        if (json_array_size(orders) == 0) {
                put_none_in_force(f, s);
                fputs(".\n", f);
        }
        json_array_foreach(orders, i, order)
        {
                if (!field_text(order, "profile"))
                        continue; /* nothing that could be named */
                if (i > 0)
                        fputc('\n', f);
                write_one(f, order, s);
        }
        write_daemon(f, answer, s);
        if (json_array_size(field_array(answer, "warnings")) > 0)
                fputc('\n', f);
        write_sentences(f, field_array(answer, "warnings"), s);
        return 0;
}
