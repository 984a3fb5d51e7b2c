/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "json-text.h"

#include "cleanup.h"
#include <stdlib.h>
#include <string.h>

json_t *json_from_text(const char *text, size_t size, json_error_t *error)
{
        json_t *document = json_loadb(text, size, JSON_REJECT_DUPLICATES, error);

        return document ? document : json_loadb(text, size, JSON_REJECT_DUPLICATES, error);
}

/* Most documents are shorter: they are written once only. */
#define FIRST_SIZE ((size_t)4096)

char *json_text(const json_t *document, size_t flags)
{
        char *text = malloc(FIRST_SIZE), *more;
        size_t size = text ? json_dumpb(document, text, FIRST_SIZE - 1, flags) : 0;

        if (size >= FIRST_SIZE) {
                more = realloc(text, size + 1);
                if (more)
                        text = more;
                if (!more || json_dumpb(document, text, size, flags) != size)
                        size = 0;
        }
        if (size == 0) {
                free(text);
                return NULL;
        }
        text[size] = '\0';
        return text;
}

json_t *json_string_lenient(const char *bytes)
{
        _cleanup_free_ char *ascii = NULL;
        json_t *j = json_string(bytes);

        if (j)
                return j;
        ascii = strdup(bytes);
        if (!ascii)
                return NULL;
        for (char *c = ascii; *c; c++)
                if ((unsigned char)*c >= 0x80)
                        *c = '?';
        return json_string(ascii);
}
