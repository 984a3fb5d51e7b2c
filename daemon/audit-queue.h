/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LOCKDOWN_AUDIT_QUEUE_H
#define LOCKDOWN_AUDIT_QUEUE_H

/* Inside the edge to the journal (audit*.c) only: entries that the journal did not take at once, in their
 * order and in bounded memory. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#define JOURNAL_SOCKET "/run/systemd/journal/socket"
#define QUEUE_ENTRIES_MAX 4096
#define QUEUE_BYTES_MAX ((size_t)2 << 20)

struct audit_queue {
        struct waiting *first, *last;
        size_t n, bytes;
        uint64_t lost;   /* since start */
        uint64_t untold; /* of those, not yet told in the journal */
        bool known;      /* the journal has taken something: it is there, whatever it says now */
};

/* Delivers the entry (fields in the journal's protocol, each with its line break), or keeps a copy to be
 * delivered before any later one. False: it is lost, to be told by the caller (audit_queue_lost()). Where
 * there is no journal at all (-ENOENT, and none was seen) nothing is kept, and an entry that was PRINTED not
 * lost. */
bool audit_queue_put(struct audit_queue *q, const struct iovec *fields, size_t n, bool printed);
void audit_queue_lost(struct audit_queue *q);
/* Delivers what waits, as far as the journal takes it. True: nothing waits any more. */
bool audit_queue_flush(struct audit_queue *q);

#endif
