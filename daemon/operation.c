/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "operation.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

void operation_reply(const struct operation *op, json_t *document)
{
        struct outcome outcome = {.reply = document};

        if (!document) {
                operation_fail(op, ERROR_FAILED, NO_MEMORY_TO_ANSWER);
                return;
        }
        op->done(op->userdata, &outcome);
        json_decref(document);
}

void operation_reply_text(const struct operation *op, const char *text)
{
        op->done(op->userdata, &(struct outcome){.text = text});
}

void operation_fail(const struct operation *op, const char *error, const char *format, ...)
{
        struct outcome outcome = {.error = error};
        va_list ap;

        va_start(ap, format);
        if (vasprintf(&outcome.message, format, ap) < 0)
                outcome.message = NULL;
        va_end(ap);
        op->done(op->userdata, &outcome);
        free(outcome.message);
}

int operation_uids(const struct idset *uids, uint32_t **ret, size_t *ret_n)
{
        size_t n = (size_t)idset_count(uids), i = 0;
        uint32_t *list = calloc(n + 1, sizeof(*list)), uid;
        struct idset_iterator it = {0};

        if (!list)
                return -ENOMEM;
        while (i < n && idset_next(uids, &it, &uid))
                list[i++] = uid;
        *ret = list;
        *ret_n = i;
        return 0;
}
