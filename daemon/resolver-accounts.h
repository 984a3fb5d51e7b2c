/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LOCKDOWN_RESOLVER_ACCOUNTS_H
#define LOCKDOWN_RESOLVER_ACCOUNTS_H

/* Inside the worker: the accounts one request is interested in, found by name in constant time, and the
 * subordinate ids that belong to accounts. Every -errno is -ENOMEM unless said otherwise. */

#include "idset.h"

enum account_state {
        ACCOUNT_UNKNOWN, /* not met yet */
        ACCOUNT_FOUND,
        ACCOUNT_MISSING,    /* there is none */
        ACCOUNT_UNANSWERED, /* the directory did not say */
};

struct account {
        char *name;
        uint32_t hash; /* of the name */
        uint8_t sides; /* what it is a member of: bits, for the lookups */
        bool named;    /* by Users= or ExceptUsers=: must exist */
        uint8_t state; /* enum account_state */
};

struct account_uid {
        uint32_t uid, account;
};

struct accounts {
        struct account *items;
        size_t n, capacity;
        struct name_block *names;
        uint32_t *slots; /* by hash: an index + 1; 0: free */
        size_t n_slots;  /* a power of two */
        struct account_uid *uids;
        size_t n_uids, uids_capacity; /* every uid that one of them was met under */
        size_t next;                  /* behind the one that accounts_find_next() found last */
};

#define NO_ACCOUNT SIZE_MAX

/* Room for so many more at once. */
int accounts_reserve(struct accounts *a, size_t more);
/* The index of the account with this name, added if it is new. */
int accounts_add(struct accounts *a, const char *name, size_t *ret_index);
/* The index, NO_ACCOUNT if there is none. */
size_t accounts_find(const struct accounts *a, const char *name);
/* The same, for one name after the other: databases mostly list people in one order, so that the one behind
 * the last is looked at first. A hash table of 100,000 names is larger than the processor's cache. */
size_t accounts_find_next(struct accounts *a, const char *name);
/* The account exists, and its uid is this one. */
int accounts_met(struct accounts *a, size_t index, uint32_t uid);
void accounts_clear(struct accounts *a);

/* One line of /etc/subuid or /etc/subgid. */
struct subid {
        size_t account; /* the owner, NO_ACCOUNT if given as a number */
        uint32_t owner;
        struct idrange range;
        bool is_gid;
};

struct subids {
        struct subid *items;
        size_t n, capacity;
};

/* Reads /etc/subuid or /etc/subgid (a missing one is empty; lines that make no sense are passed over, as
 * libsubid does) and adds the owners to A. -errno of reading. */
int subids_read(struct subids *s, struct accounts *a, const char *path, bool is_gid);
/* Appends the ranges of those whose uid is in UIDS: an account counts under every uid it was met under. */
int subids_select(const struct subids *s, const struct accounts *a, const struct idset *uids,
                  struct idset *uid_ranges, struct idset *gid_ranges);
void subids_clear(struct subids *s);

/* Does nsswitch.conf name a directory for subordinate ids? */
bool subids_in_directory(void);
/* To be called before asking it; LOG, for what libsubid has to say, must stay open meanwhile. */
bool subids_init_directory(FILE *log);
/* Asks it (through libsubid) for one account's. */
int subids_ask_directory(const char *name, struct idset *uid_ranges, struct idset *gid_ranges);
/* Whose subordinate uid is UID, in the files or the directory? 1 with the (first) owner, 0: nobody's,
 * -ENOMEM. */
int subids_find_owner(uint32_t uid, uint32_t *ret_owner);

#endif
