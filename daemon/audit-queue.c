/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "audit-queue.h"
#include "cleanup.h"
#include "datagram.h"
#include "timespan.h"

#include <errno.h>
#include <string.h>
#include <time.h>

struct waiting {
        struct waiting *next;
        size_t size;
        char text[];
};

/* What will not be taken later either. */
static bool is_final(int error)
{
        return error == -EMSGSIZE || error == -EINVAL || error == -EPERM || error == -EACCES;
}

static int deliver(struct audit_queue *q, const struct iovec *parts, size_t n)
{
        int r = datagram_send(JOURNAL_SOCKET, parts, n, -1);

        q->known |= r >= 0;
        return r;
}

void audit_queue_lost(struct audit_queue *q)
{
        q->lost++;
        q->untold++;
}

/* The journal will say when it got the entry; this says when it was made. */
static size_t put_time(char *to, size_t size)
{
        struct timespec now;
        char text[64];

        clock_gettime(CLOCK_REALTIME, &now);
        return (size_t)snprintf(
                to, size, "LOCKDOWN_AT=%s\n",
                timestamp_format_rfc3339((uint64_t)now.tv_sec * USEC_PER_SEC + (uint64_t)now.tv_nsec / 1000,
                                         text, sizeof(text)));
}

static struct waiting *copy(const struct iovec *fields, size_t n)
{
        char at[96];
        size_t size = put_time(at, sizeof(at)), used = 0;
        struct waiting *w;

        for (size_t i = 0; i < n; i++)
                size += fields[i].iov_len;
        w = malloc(sizeof(*w) + size);
        if (!w)
                return NULL;
        *w = (struct waiting){.size = size};
        for (size_t i = 0; i < n; i++) {
                memcpy(w->text + used, fields[i].iov_base, fields[i].iov_len);
                used += fields[i].iov_len;
        }
        memcpy(w->text + used, at, size - used);
        return w;
}

static bool keep(struct audit_queue *q, const struct iovec *fields, size_t n)
{
        struct waiting *w = q->n < QUEUE_ENTRIES_MAX ? copy(fields, n) : NULL;

        if (!w || q->bytes + w->size > QUEUE_BYTES_MAX) {
                free(w);
                return false;
        }
        *(q->last ? &q->last->next : &q->first) = w;
        q->last = w;
        q->n++;
        q->bytes += w->size;
        return true;
}

static void drop_first(struct audit_queue *q)
{
        struct waiting *w = q->first;

        q->first = w->next;
        if (!q->first)
                q->last = NULL;
        q->n--;
        q->bytes -= w->size;
        free(w);
}

bool audit_queue_put(struct audit_queue *q, const struct iovec *fields, size_t n, bool printed)
{
        int r = q->first ? -EAGAIN : deliver(q, fields, n);

        if (r >= 0)
                return true;
        if (r == -ENOENT && !q->known)
                return printed;
        return !is_final(r) && keep(q, fields, n);
}

bool audit_queue_flush(struct audit_queue *q)
{
        while (q->first) {
                int r = deliver(q, &(struct iovec){q->first->text, q->first->size}, 1);

                if (r < 0 && !is_final(r))
                        return false;
                if (r < 0)
                        audit_queue_lost(q);
                drop_first(q);
        }
        return true;
}
