/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "manager-internal.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

/* What is refused is counted in the table, and kept on disk before that goes. A daemon may die, or the kernel
 * not let go of the table, between the one and the other: so it stands in the record of which table the last
 * part is, and in the lockdown how much of what the table that is there shows has been counted into the
 * order's total. Nothing is counted twice, and nothing is lost. */

/* Handles begin at one again after a reboot. */
static int table_id(struct lockdown *l, char ret[TABLE_ID_SIZE])
{
        uint64_t number;
        struct now now;
        int r = nft_table_number(l->manager->nft, l->name, &number);

        if (r < 0)
                return r;
        clock_now(&now);
        (void)snprintf(ret, TABLE_ID_SIZE, "%s/%" PRIx64, now.boot_id, number);
        return 0;
}

bool attempts_record_empty(const struct attempts_record *r)
{
        return r->earlier.n == 0 && r->earlier.packets == 0 && !r->last_table[0];
}

static void forget_last(struct attempts_record *record)
{
        attempts_clear(&record->last);
        record->last_table[0] = '\0';
}

/* The last table becomes one of the earlier ones. */
static int close_last(struct attempts_record *record)
{
        int r = attempts_merge(&record->earlier, &record->last);

        if (r < 0)
                return r;
        if (!record->first_table[0])
                (void)snprintf(record->first_table, TABLE_ID_SIZE, "%s", record->last_table);
        forget_last(record);
        return 0;
}

/* What has been counted by TABLE up to now, in place of what it had counted before. NOW is not taken over. */
static int replace_last(struct attempts_record *record, const char *table, const struct attempts *now)
{
        _cleanup_attempts_ struct attempts copy = {0};
        int r = attempts_merge(&copy, now);

        if (r >= 0 && strcmp(record->last_table, table) != 0)
                r = close_last(record);
        if (r < 0)
                return r;
        attempts_clear(&record->last);
        record->last = copy;
        copy = (struct attempts){0};
        (void)snprintf(record->last_table, TABLE_ID_SIZE, "%s", table);
        return 0;
}

/* Brings RECORD up to what is not on disk. Its last table may be the first of those that have gone since. */
static int add_unsaved(struct attempts_record *record, const struct attempts_record *unsaved)
{
        int r = 0;

        if (unsaved->first_table[0] && strcmp(record->last_table, unsaved->first_table) == 0)
                forget_last(record);
        if (unsaved->last_table[0])
                r = replace_last(record, unsaved->last_table, &unsaved->last);
        return r < 0 ? r : attempts_merge(&record->earlier, &unsaved->earlier);
}

/* What is on disk, and what is not yet. One that was damaged was set aside: then it goes on from here. */
static int load_record(struct manager *m, const char *id, const struct attempts_record *unsaved,
                       struct attempts_record *ret)
{
        _cleanup_record_ struct attempts_record record = {0};
        int r = unsaved->whole ? 0 : store_load_record(m->store, id, &record);
        const bool whole = r != -ENOMEDIUM;

        if (r == -ENOENT || r == -EBADMSG || r == -ENOMEDIUM) /* nothing was kept, or there is nowhere to */
                r = 0;
        if (r >= 0)
                r = add_unsaved(&record, unsaved);
        if (r < 0)
                return r;
        *ret = record;
        ret->whole = whole;
        record = (struct attempts_record){0};
        return 0;
}

int manager_save_record(struct manager *m, const char *id, struct attempts_record *unsaved)
{
        _cleanup_record_ struct attempts_record record = {0};
        int r;

        if (attempts_record_empty(unsaved))
                return 0;
        r = load_record(m, id, unsaved, &record);
        if (r < 0)
                return r;
        r = store_save_record(m->store, id, &record);
        attempts_record_clear(unsaved);
        if (r < 0) { /* it may be there all the same: nothing is added to it a second time */
                *unsaved = record;
                record = (struct attempts_record){0};
        }
        return r;
}

/* The order's total goes to disk: what of a table is in it must be known there as well, as long as that table
 * is not gone, or the next daemon would add it again. */
static void count(struct lockdown *l)
{
        if (l->order) {
                l->order->refused_packets += l->seen_packets - l->counted_packets;
                l->order->refused_bytes += l->seen_bytes - l->counted_bytes;
        }
        l->counted_packets = l->seen_packets;
        l->counted_bytes = l->seen_bytes;
}

/* NOW is what the table shows. What cannot be saved is kept. */
static int keep(struct lockdown *l, const struct attempts *now)
{
        char table[TABLE_ID_SIZE];
        int r = table_id(l, table);

        if (r >= 0)
                r = replace_last(&l->unsaved, table, now);
        return r < 0 ? r : manager_save_record(l->manager, l->order->id, &l->unsaved);
}

void lockdown_collect(struct lockdown *l)
{
        _cleanup_attempts_ struct attempts now = {0};
        int r;

        if (!l->order || !l->engaged)
                return;
        r = nft_read_attempts(l->manager->nft, l->name, &now);
        if (r == -ENOENT) /* somebody has removed it: that is told where it is noticed */
                return;
        if (r < 0) {
                audit_log(LOG_WARNING, "%s: the attempts could not be read before the table changed: %s",
                          l->name, strerror(-r));
                return;
        }
        l->seen_packets = now.packets;
        l->seen_bytes = now.bytes;
        if (now.packets == 0 && now.n == 0)
                return;
        r = keep(l, &now);
        if (r >= 0)
                count(l);
        else
                audit(AUDIT_NOT_SAVED, LOG_ERR, l->order, NULL,
                      "%s: the record of attempts could not be saved: %s. It is tried again", l->name,
                      strerror(-r));
}

void lockdown_counts_anew(struct lockdown *l)
{
        count(l);
        l->seen_packets = l->seen_bytes = 0;
        l->counted_packets = l->counted_bytes = 0;
}

static uint64_t larger(uint64_t a, uint64_t b)
{
        return a > b ? a : b;
}

void lockdown_recall(struct lockdown *l)
{
        _cleanup_record_ struct attempts_record record = {0};
        struct order *o = l->order;
        char table[TABLE_ID_SIZE];

        if (load_record(l->manager, l->order->id, &l->unsaved, &record) < 0)
                return;
        /* the record is written first */
        o->refused_packets = larger(o->refused_packets, record.earlier.packets + record.last.packets);
        o->refused_bytes = larger(o->refused_bytes, record.earlier.bytes + record.last.bytes);
        if (!record.last_table[0] || table_id(l, table) < 0 || strcmp(record.last_table, table) != 0)
                return;
        l->seen_packets = l->counted_packets = record.last.packets;
        l->seen_bytes = l->counted_bytes = record.last.bytes;
}

void lockdown_refused(struct lockdown *l, uint64_t *ret_packets, uint64_t *ret_bytes)
{
        uint64_t packets = l->seen_packets, bytes = l->seen_bytes, second_packets, second_bytes;

        if (l->engaged)
                (void)nft_read_refused(l->manager->nft, l->name, &packets, &bytes);
        lockdown_second_refused(l, &second_packets, &second_bytes);
        *ret_packets = l->order->refused_packets + packets - l->counted_packets + second_packets;
        *ret_bytes = l->order->refused_bytes + bytes - l->counted_bytes + second_bytes;
}

int lockdown_attempts(struct lockdown *l, struct attempts *ret)
{
        _cleanup_record_ struct attempts_record record = {0};
        _cleanup_attempts_ struct attempts now = {0};
        char table[TABLE_ID_SIZE] = "";
        int r = nft_read_attempts(l->manager->nft, l->name, &now);

        if (r >= 0)
                r = table_id(l, table);
        if (r >= 0 || r == -ENOENT) /* its table is not there (yet): that is told by its status */
                r = load_record(l->manager, l->order->id, &l->unsaved, &record);
        if (r >= 0 && strcmp(record.last_table, table) != 0)
                r = close_last(&record);
        if (r >= 0)
                r = attempts_merge(&now, &record.earlier);
        if (r < 0)
                return r;
        *ret = now;
        now = (struct attempts){0};
        return 0;
}
