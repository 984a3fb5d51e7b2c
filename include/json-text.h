/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LOCKDOWN_JSON_TEXT_H
#define LOCKDOWN_JSON_TEXT_H

#include <jansson.h>

/* The whole text of DOCUMENT (the caller frees), or NULL when out of memory. jansson's json_dumps() leaves a
 * piece out, and says nothing, if it finds no memory to grow its text in the middle of an object's key
 * (2.14). */
char *json_text(const json_t *document, size_t flags);

/* The document in TEXT, no key twice; NULL with the reason in ERROR. That it is out of memory jansson says of
 * some of its allocations only, and of the others that the text is wrong: so nothing is called wrong that is
 * not so twice. */
json_t *json_from_text(const char *text, size_t size, json_error_t *error);

/* BYTES as a string, or NULL when out of memory. jansson takes UTF-8 only; the names of programs, devices and
 * (in an old encoding) users are whatever bytes somebody chose, and one of them is no reason to have no
 * answer, or nothing saved: what is not ASCII becomes '?' then. */
json_t *json_string_lenient(const char *bytes);

#endif
