/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LOCKDOWN_OPERATION_H
#define LOCKDOWN_OPERATION_H

/* How the manager's operations end: exactly one call of who asked. */

#include "idset.h"
#include "manager.h"
#include "protocol.h"

/* Before anything was done, and afterwards. */
#define NO_MEMORY "lockdownd is out of memory, nothing was changed: try again"
#define NO_MEMORY_TO_ANSWER \
        "lockdownd is out of memory for an answer: lockdownctl status says what is in force now"

struct operation {
        manager_done_t done;
        void *userdata;
};

/* Answers with DOCUMENT (taken over; NULL is reported as lack of memory). */
void operation_reply(const struct operation *op, json_t *document);
/* Answers with a document that is written already. TEXT stays the caller's. */
void operation_reply_text(const struct operation *op, const char *text);
/* Answers with one of protocol.h's errors and a sentence. */
void operation_fail(const struct operation *op, const char *error, const char *format, ...)
        __attribute__((format(printf, 3, 4)));
/* The ids of a set as an array (the caller frees). 0 or -ENOMEM. */
int operation_uids(const struct idset *uids, uint32_t **ret, size_t *ret_n);

#endif
