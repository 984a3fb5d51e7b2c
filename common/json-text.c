/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "json-text.h"

#include <stdlib.h>

json_t *json_from_text(const char *text, size_t size, json_error_t *error)
{
        json_t *document = json_loadb(text, size, JSON_REJECT_DUPLICATES, error);

        return document ? document : json_loadb(text, size, JSON_REJECT_DUPLICATES, error);
}

char *json_text(const json_t *document, size_t flags)
{
        size_t size = json_dumpb(document, NULL, 0, flags);
        char *text = size > 0 ? malloc(size + 1) : NULL;

        if (!text || json_dumpb(document, text, size, flags) != size) {
                free(text);
                return NULL;
        }
        text[size] = '\0';
        return text;
}
