/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LOCKDOWN_CTL_TEXT_H
#define LOCKDOWN_CTL_TEXT_H

/* Small pieces of readable text, and reading the daemon's JSON. Whatever comes from outside goes through
 * put_safe(): a reason or a user name must not move the cursor, change colours or forge a second line. */

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

/* How text is to look; all of it given, so that a test can fix it. */
struct style {
        uint64_t now;        /* microseconds since the Epoch */
        bool colour;         /* the reader is a terminal that may show colours */
        bool verbose;        /* status --verbose */
        unsigned width;      /* columns of the terminal; 0: not one, never cut a table */
        const char *subject; /* the profile asked about, or NULL */
};

#define COLOUR_ALERT "\x1b[1;31m"
#define COLOUR_GOOD "\x1b[1;32m"
#define COLOUR_WARN "\x1b[1;33m"
#define COLOUR_BOLD "\x1b[1m"
#define COLOUR_NONE "\x1b[0m"

/* The escape sequence COLOUR where colours are wanted, else nothing. */
const char *style_colour(const struct style *s, const char *colour);

bool utf8_valid(const char *text);
/* Writes TEXT on one line: control characters, line separators, what reverses the direction of writing and
 * invalid UTF-8 appear as \n, \x1b, \u202e. NULL writes nothing. */
void put_safe(FILE *f, const char *text);
/* The same, but newlines and tabs stay (for a ruleset). */
void put_safe_lines(FILE *f, const char *text);
/* put_safe() into a new string (the caller frees); NULL when out of memory. */
char *safe_text(const char *text);
/* A JSON document's text with the same characters turned into \uXXXX, which keeps it the same document. */
void put_safe_json(FILE *f, const char *text);

/* Members of an object; a missing one or one of another type is NULL, 0, false, an empty array. */
const char *field_text(const json_t *o, const char *key);
uint64_t field_number(const json_t *o, const char *key);
bool field_true(const json_t *o, const char *key);
bool field_given(const json_t *o, const char *key);
const json_t *field_array(const json_t *o, const char *key);

/* "a, b, c" of an array of strings. */
void put_list(FILE *f, const json_t *array, const char *separator);
/* "1 user", "12 users". */
void put_count(FILE *f, uint64_t n, const char *one, const char *many);
/* "Lockdown staff is not in force", or, where nobody asked about one, "No lockdown is in force". */
void put_none_in_force(FILE *f, const struct style *s);
/* "88.1 KiB". */
void put_bytes(FILE *f, uint64_t bytes);
/* "Wed 2016-11-30 18:00:00 CET, in 7h 59min" or "…, 3min 2s ago". */
void put_when(FILE *f, uint64_t usec, const struct style *s);
/* When an order ends that has an end: "Wed 2016-11-30 18:00:00 CET, in 7h 59min". */
void put_end(FILE *f, const json_t *order, const struct style *s);
/* How an order ends: "until …, in …", "until lifted". */
void put_until(FILE *f, const json_t *order, const struct style *s);
/* "alice (uid 1000)", "uid 1000". */
void put_caller(FILE *f, const json_t *caller);

#endif
