/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LOCKDOWN_STORE_H
#define LOCKDOWN_STORE_H

/* The one edge to the state directory. Every write is temporary + fsync + rename + fsync of the directory.
 * What cannot be read back is moved to damaged/ and reported, never deleted.
 *
 *   orders/ID.json         in force
 *   history/ENDED-ID.json  finished; ENDED is ended_at in 20 digits, so that names sort by time
 *   attempts/ID.json       record of an order's tables, as far as they are finished, one attempt a line:
 *                          {"version": 1, "packets": N, "bytes": N, "attempts":
 *                          [[uid or null, "address", protocol, port, packets, bytes], ...],
 *                          "last": {"table": "…", "packets": N, "bytes": N, "attempts": [...]}}
 *                          "last" is what one of them had counted when it was to be removed, and not a part
 * of the rest: if that is still there, the same counts go on there and are not to be added again
 *   record/removed.json    what is no longer kept, see struct record_removed:
 *                          {"version": 1, "orders": N, "from": T, "until": T, "removing": [NAME, ...]}
 *   members/NAME           last known membership (its text form: subjects.h)
 *   damaged/DIR-NAME.TIME  set aside
 *   spare/N                nothing: room for orders (and their people) that are given when the disk is full
 *
 * A file in orders/ counts more than one in history/ with the same id: a crash between the two writes of a
 * lift leaves the lockdown in force. */

#include "cleanup.h"
#include "nft.h"
#include "order.h"
#include "record.h"
#include "subjects.h"

struct store;

/* Creates the directories (0700) where they are missing; temporary files left by a crash are removed. A
 * directory that others had rights to is ours alone afterwards, and what stands in the place of one of the
 * inner ones (a symlink, somebody else's directory) is set aside beside it; PROBLEMS (may be NULL) has a
 * sentence for each. -EUCLEAN, or another -errno, and a sentence in RET_ERROR (the caller frees), if DIR
 * itself is none of ours. */
int store_open(const char *dir, struct store **ret, struct problems *problems, char **ret_error);
/* One that holds nothing, and answers everything with -ENOMEDIUM. NULL: no memory. */
struct store *store_new_without(void);
/* Makes one of that kind one that holds DIR. As store_open(); on failure it stays as it is. */
int store_reopen(struct store *s, const char *dir, struct problems *problems, char **ret_error);
struct store *store_close(struct store *s); /* returns NULL */
/* Makes one of the spare files that are missing, if there is room: to be called again and again. */
void store_keep_spare(struct store *s);

/* Writes orders/ID.json, or the history file for a finished order and then removes orders/ID.json. -errno
 * (ENOSPC …): what was there before is still there. -EINVAL: the id is not 32 hex digits. */
int store_save_order(struct store *s, const struct order *o);
/* May the order with this id stand in orders/? Without a directory that is not known. */
bool store_may_hold_order(const struct store *s, const char *id);
/* O, whose end was saved with ENDED_AT, is in force after all: saves it as such, then removes what said that
 * it has ended. */
int store_take_back_end(struct store *s, const struct order *o, uint64_t ended_at);
/* Reads all orders in force. Damaged files are set aside, with a sentence each in PROBLEMS. -errno only if
 * the directory itself cannot be read. The caller frees the array and the orders. */
int store_load_orders(struct store *s, struct order ***ret, size_t *ret_n, struct problems *problems);
/* How many of them could not be read then, for now (EIO, EMFILE …): they are still there. */
size_t store_unread_orders(const struct store *s);
/* The finished order with this id, or the beginning of one (the caller says at least 8 digits). -ENOENT:
 * there is none. The caller frees. */
int store_load_finished(struct store *s, const char *id, struct order **ret);

/* Finished orders, newest first by ended_at, as they were at one moment; each is read when its turn comes.
 * The store must stay. Foreign files are set aside, with a sentence each in PROBLEMS. */
struct history;
int store_list_history(struct store *s, struct history **ret, struct problems *problems);
size_t history_left(const struct history *h); /* not yet passed by history_next() */
/* 1: the next one, which the caller frees; 0: that one is none (any more); -ENOENT: it was the last; -ENOMEM.
 */
int history_next(struct history *h, struct order **ret, struct problems *problems);
struct history *history_free(struct history *h); /* returns NULL */

/* What was removed from the record in all this time, never forgotten. */
struct record_removed {
        uint64_t orders;
        uint64_t from, until; /* when the first and the last of them ended, realtime; 0: none was */
};
/* Reads what was removed; what an earlier daemon had begun to remove is removed. To be called once. -errno:
 * that is not known, and counted from zero (with a sentence in PROBLEMS). */
int store_load_removed(struct store *s, struct problems *problems);
const struct record_removed *store_removed(const struct store *s);

/* Removes finished orders with their attempts, a little at each step, in three parts: look (until
 * record_look() says 0), decide (record_decide()), remove (until record_remove() says 0). Orders in force are
 * never touched. */
struct record_pass;
int record_pass_new(struct store *s, struct record_pass **ret);
/* Looks at some more. 1: there is more to look at; 0; -errno. */
int record_look(struct record_pass *p);
/* How many are due, and why. RET_SPAN (may be NULL): how many, from when until when. */
size_t record_decide(struct record_pass *p, const struct record_bounds *b, uint64_t now,
                     struct record_due *ret_why, struct record_removed *ret_span);
/* Removes some of these: first it is saved that they are, then they are. So a crash leaves none uncounted,
 * and what was begun is ended by store_load_removed(). Where there is no room to save it, one is removed to
 * make some. 1: more are due; 0; -errno: what is gone is counted (see store_removed()), the others are still
 * there. */
int record_remove(struct record_pass *p);
struct record_pass *record_pass_free(struct record_pass *p); /* returns NULL */

#define TABLE_ID_SIZE 64

/* What an order's tables have counted: all but the last one, and that one. */
struct attempts_record {
        struct attempts earlier, last;
        char last_table[TABLE_ID_SIZE]; /* printable; empty: there is no last one */

        /* Of what is not on disk yet (these do not stand there): */
        bool whole;                      /* it takes the place of what is; else it is to be added to that */
        char first_table[TABLE_ID_SIZE]; /* which of EARLIER was the first; empty: there is none */
};
int store_save_record(struct store *s, const char *id, const struct attempts_record *record);
/* -ENOENT: nothing kept; -EBADMSG: damaged (set aside). RET must be empty; untouched on failure. */
int store_load_record(struct store *s, const char *id, struct attempts_record *ret);
/* The same, all of it added up. */
int store_load_attempts(struct store *s, const char *id, struct attempts *ret);
void attempts_record_clear(struct attempts_record *record);
#define _cleanup_record_ _cleanup_(attempts_record_clear)

int store_save_membership(struct store *s, const char *profile, const struct membership *m);
/* -ENOENT: none kept; -EBADMSG: damaged (set aside, with a sentence in PROBLEMS, which may be NULL); -EINVAL
 * (all three): not a profile's name. */
int store_load_membership(struct store *s, const char *profile, struct membership *ret,
                          struct problems *problems);
bool store_has_membership(struct store *s, const char *profile);
/* No error if there is none. */
int store_drop_membership(struct store *s, const char *profile);
/* Removes those that neither an order in force is about nor anybody WANTS: what a crash left of ad-hoc
 * orders. None as long as not all orders can be read, or one is set aside in damaged/. Returns how many, or
 * -errno. */
typedef bool (*store_wanted_t)(const char *profile, void *userdata);
int store_sweep_memberships(struct store *s, store_wanted_t wanted, void *userdata,
                            struct problems *problems);

DEFINE_CLEANUP(struct store *, store_close)
DEFINE_CLEANUP(struct history *, history_free)
DEFINE_CLEANUP(struct record_pass *, record_pass_free)

#endif
