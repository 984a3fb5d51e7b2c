/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LOCKDOWN_STORE_H
#define LOCKDOWN_STORE_H

/* The one edge to the state directory. Every write is temporary + fsync + rename + fsync of the directory.
 * What cannot be read back is moved to damaged/ and reported, never deleted. orders/ID.json    in force
 * history/ID.json   finished attempts/ID.json  record of a finished (or replaced) table      members/NAME
 * last known membership */

#include "cleanup.h"
#include "nft.h"
#include "order.h"
#include "subjects.h"

struct store;

/* Creates the directories (0700) where they are missing. A symlink in place of a directory or file is
 * refused. */
int store_open(const char *dir, struct store **ret, char **ret_error);
struct store *store_close(struct store *s); /* returns NULL */

/* Writes orders/ID.json, or history/ID.json for a finished order and then removes orders/ID.json. -errno
 * (ENOSPC …): what was there before is still there. */
int store_save_order(struct store *s, const struct order *o);
/* Reads all orders in force. Damaged files are set aside, with a sentence each in PROBLEMS. -errno only if
 * the directory itself cannot be read. The caller frees the array and the orders. */
int store_load_orders(struct store *s, struct order ***ret, size_t *ret_n, struct problems *problems);
/* The newest LIMIT finished orders, newest first. */
int store_load_history(struct store *s, size_t limit, struct order ***ret, size_t *ret_n,
                       struct problems *problems);

int store_save_attempts(struct store *s, const char *id, const struct attempts *a);
/* -ENOENT: nothing kept. */
int store_load_attempts(struct store *s, const char *id, struct attempts *ret);

int store_save_membership(struct store *s, const char *profile, const struct membership *m);
/* -ENOENT: none kept; -EBADMSG: damaged (set aside). */
int store_load_membership(struct store *s, const char *profile, struct membership *ret);
int store_drop_membership(struct store *s, const char *profile);

DEFINE_CLEANUP(struct store *, store_close)

#endif
