/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "cleanup.h"
#include "verbs.h"
#include <inttypes.h>
#include <string.h>

/* Lines and places that are shown unless all are wanted; of what is not known for speaking for others, only
 * so many that the worse is not lost among it. */
#define LINES_MAX 8
#define UNKNOWN_MAX 3
#define PLACES_MAX 2

static bool same_text(const json_t *a, const json_t *b, const char *key)
{
        const char *x = field_text(a, key), *y = field_text(b, key);

        return x == y || (x && y && strcmp(x, y) == 0);
}

static bool is_unknown(const json_t *door)
{
        const char *kind = field_text(door, "kind");

        return !kind || strcmp(kind, "unknown") == 0;
}

/* What stands on one line: the doors of one unit, or of one program that has none. */
static bool belong_together(const json_t *a, const json_t *b)
{
        return same_text(a, b, "kind") && same_text(a, b, "unit") && same_text(a, b, "program") &&
               field_number(a, "uid") == field_number(b, "uid") &&
               (field_text(a, "unit") || field_text(a, "program") || same_text(a, b, "closes"));
}

static size_t group_end(const json_t *doors, size_t first)
{
        size_t end = first + 1;

        while (end < json_array_size(doors) &&
               belong_together(json_array_get(doors, first), json_array_get(doors, end)))
                end++;
        return end;
}

/* The unit; a program that has none; at least whose it is. */
static void put_who(FILE *f, const json_t *door, bool all)
{
        const char *unit = field_text(door, "unit"), *program = field_text(door, "program"),
                   *user = field_text(door, "user");

        if (unit || program) {
                fputc(' ', f);
                put_safe(f, unit ? unit : program);
        }
        if (unit && program && all) {
                fputs(" (", f);
                put_safe(f, program);
                fputc(')', f);
        }
        if (unit)
                return;
        if (!user && !json_is_integer(json_object_get(door, "uid")))
                return;
        fputs(" of ", f);
        if (user)
                put_safe(f, user);
        else
                fprintf(f, "uid %" PRIu64, field_number(door, "uid"));
}

static void put_place(FILE *f, const json_t *door)
{
        const char *address = field_text(door, "address"), *protocol = field_text(door, "protocol");
        bool v6 = address && strchr(address, ':');

        if (!address) {
                fputs(field_text(door, "name") ? "bus " : "", f);
                put_safe(f, field_text(door, field_text(door, "name") ? "name" : "path"));
                return;
        }
        fputs(v6 ? "[" : "", f);
        put_safe(f, address);
        fprintf(f, "%s:%" PRIu64 "/", v6 ? "]" : "", field_number(door, "port"));
        put_safe(f, protocol);
}

static void put_places(FILE *f, const json_t *doors, size_t first, size_t end, bool all)
{
        for (size_t i = first; i < end; i++) {
                if (!all && i - first == PLACES_MAX && end - i > 1) {
                        fprintf(f, " and %zu more", end - i);
                        return;
                }
                fputs(i > first ? ", " : " on ", f);
                put_place(f, json_array_get(doors, i));
        }
}

/* Adds VALUE to those of KEY, once. */
static void note(json_t *said, const char *key, const char *value)
{
        json_t *values = json_object_get(said, key), *known;
        size_t i;

        if (!values) {
                values = json_array();
                json_object_set_new(said, key, values);
        }
        json_array_foreach(values, i, known) if (strcmp(json_string_value(known), value) == 0) return;
        json_array_append_new(values, json_string(value));
}

/* KEY=VALUE VALUE…, each once. */
static void note_line(json_t *said, const char *line)
{
        _cleanup_free_ char *copy = strdup(line);
        char *rest = copy, *key = strsep(&rest, "="), *value;

        while ((value = strsep(&rest, " ")))
                note(said, key, value);
}

/* The lines that close a group, one for each key: LoopbackDeny=3128 3129. */
static void put_closing(FILE *f, const json_t *doors, size_t first, size_t end)
{
        _cleanup_json_ json_t *said = json_object();
        const char *advice = field_text(json_array_get(doors, first), "advice"), *key;
        json_t *values;
        bool any = false;

        for (size_t i = first; i < end; i++) {
                const char *line = field_text(json_array_get(doors, i), "closes");

                if (line && strchr(line, '='))
                        note_line(said, line);
        }
        json_object_foreach(said, key, values)
        {
                fputs(any ? ", " : ": ", f);
                put_safe(f, key);
                fputc('=', f);
                put_list(f, values, " ");
                any = true;
        }
        if (advice) {
                fputs(any ? " (" : ": ", f);
                put_safe(f, advice);
                fputs(any ? ")" : "", f);
        }
}

/* Returns how many doors were left out. */
static size_t write_groups(FILE *f, const json_t *doors, const char *before, bool all)
{
        size_t lines = 0, unknown = 0, left = 0, end;

        for (size_t first = 0; first < json_array_size(doors); first = end) {
                const json_t *door = json_array_get(doors, first);

                end = group_end(doors, first);
                if (!all && (lines >= LINES_MAX || (is_unknown(door) && unknown >= UNKNOWN_MAX))) {
                        left += end - first;
                        continue;
                }
                lines++;
                unknown += is_unknown(door);
                fputs(before, f);
                put_safe(f, field_text(door, "kind"));
                put_who(f, door, all);
                put_places(f, doors, first, end, all);
                put_closing(f, doors, first, end);
                fputc('\n', f);
        }
        return left;
}

void write_doors(FILE *f, const json_t *order, const char *title, const char *before, const struct style *s)
{
        const json_t *doors = field_array(order, "doors"), *unseen = field_array(order, "doors_unseen");
        json_t *sentence;
        size_t i, left;

        if (json_array_size(doors) == 0 && json_array_size(unseen) == 0)
                return;
        fprintf(f, "%s\n", title);
        left = write_groups(f, doors, before, s->verbose);
        if (left > 0)
                fprintf(f, "%sand %zu more; --json lists all\n", before, left);
        json_array_foreach(unseen, i, sentence)
        {
                fprintf(f, "%snot looked at: ", before);
                put_safe(f, json_string_value(sentence));
                fputc('\n', f);
        }
}
