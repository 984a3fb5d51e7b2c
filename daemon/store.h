/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LOCKDOWN_STORE_H
#define LOCKDOWN_STORE_H

/* The one edge to the state directory. Every write is temporary + fsync + rename + fsync of the directory.
 * What cannot be read back is moved to damaged/ and reported, never deleted.
 *
 *   orders/ID.json         in force
 *   history/ENDED-ID.json  finished; ENDED is ended_at in 20 digits, so that names sort by time
 *   attempts/ID.json       record of a finished (or replaced) table, one attempt a line:
 *                          {"version": 1, "packets": N, "bytes": N, "attempts":
 *                          [[uid or null, "address", protocol, port, packets, bytes], ...]}
 *   members/NAME           last known membership (its text form: subjects.h)
 *   damaged/DIR-NAME.TIME  set aside
 *
 * A file in orders/ counts more than one in history/ with the same id: a crash between the two writes of a
 * lift leaves the lockdown in force. */

#include "cleanup.h"
#include "nft.h"
#include "order.h"
#include "subjects.h"

struct store;

/* Creates the directories (0700) where they are missing, and takes away what others may read; temporary files
 * left by a crash are removed. Refuses with a sentence in RET_ERROR (the caller frees) a symlink in place of
 * a directory (-ELOOP), and a directory that others own or may write to (-EPERM). */
int store_open(const char *dir, struct store **ret, char **ret_error);
struct store *store_close(struct store *s); /* returns NULL */

/* Writes orders/ID.json, or the history file for a finished order and then removes orders/ID.json. -errno
 * (ENOSPC …): what was there before is still there. -EINVAL: the id is not 32 hex digits. */
int store_save_order(struct store *s, const struct order *o);
/* Reads all orders in force. Damaged files are set aside, with a sentence each in PROBLEMS. -errno only if
 * the directory itself cannot be read. The caller frees the array and the orders. */
int store_load_orders(struct store *s, struct order ***ret, size_t *ret_n, struct problems *problems);
/* The finished order with this id, or the beginning of one (the caller says at least 8 digits). -ENOENT:
 * there is none. The caller frees. */
int store_load_finished(struct store *s, const char *id, struct order **ret);
/* The newest LIMIT finished orders, newest first by ended_at. */
int store_load_history(struct store *s, size_t limit, struct order ***ret, size_t *ret_n,
                       struct problems *problems);

int store_save_attempts(struct store *s, const char *id, const struct attempts *a);
/* -ENOENT: nothing kept; -EBADMSG: damaged (set aside). RET must be empty; untouched on failure. */
int store_load_attempts(struct store *s, const char *id, struct attempts *ret);

int store_save_membership(struct store *s, const char *profile, const struct membership *m);
/* -ENOENT: none kept; -EBADMSG: damaged (set aside); -EINVAL (all three): not a profile's name. */
int store_load_membership(struct store *s, const char *profile, struct membership *ret);
bool store_has_membership(struct store *s, const char *profile);
/* No error if there is none. */
int store_drop_membership(struct store *s, const char *profile);

DEFINE_CLEANUP(struct store *, store_close)

#endif
