/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LOCKDOWN_STORE_INTERNAL_H
#define LOCKDOWN_STORE_INTERNAL_H

/* What the files store*.c share. */

#include "store.h"
#include <dirent.h>
#include <sys/types.h>

enum store_dir {
        DIR_ORDERS,
        DIR_HISTORY,
        DIR_ATTEMPTS,
        DIR_MEMBERS,
        DIR_RECORD,
        DIR_DAMAGED,
        DIR_SPARE,
        _DIR_MAX,
};

/* Names of files that are being removed from the record at one go. */
#define REMOVAL_MAX 32

struct store {
        int fds[_DIR_MAX];
        struct record_removed removed; /* as it stands, or should, in record/removed.json … */
        bool removed_unsaved;          /* … but does not yet */
        char *pending[REMOVAL_MAX];    /* names in history/: counted in REMOVED, perhaps not gone yet */
        size_t n_pending;
        size_t unread;     /* orders that could not be read the last time, though nothing says that they are
                              damaged */
        bool spares_whole; /* as far as is known */
};

/* Temporaries begin so; no name the store keeps does. */
#define STORE_TEMPORARY ".tmp-"

#define PATIENCE 3 /* times that reading is tried */

/* What is larger is not ours. */
#define ORDER_SIZE_MAX ((size_t)1 << 20)
#define ATTEMPTS_SIZE_MAX ((size_t)128 << 20)
#define MEMBERS_SIZE_MAX ((size_t)128 << 20)

#define STORE_ID_LENGTH 32
#define STORE_ENDED_DIGITS 20
#define STORE_SUFFIX ".json"
#define ORDER_NAME_SIZE (STORE_ID_LENGTH + sizeof(STORE_SUFFIX))
#define HISTORY_NAME_SIZE (STORE_ENDED_DIGITS + 1 + ORDER_NAME_SIZE)

const char *store_dir_name(enum store_dir dir);

/* ---- store-file.c: files by descriptor of their directory; -1: there is none, all answer -ENOMEDIUM ---- */

/* Replaces NAME by DATA, or leaves everything as it was: temporary, fsync, rename, fsync of the directory. */
int file_replace(int dir_fd, const char *name, const void *data, size_t size);
/* Reads a regular file, followed by a NUL that SIZE does not count. -ENOENT; -EBADMSG, with a phrase in
 * RET_WHY that continues "… is damaged: ", for what is not a regular file of ours or larger than MAX; another
 * -errno. Both results are allocated. */
int file_read(int dir_fd, const char *name, size_t max, char **ret, size_t *ret_size, char **ret_why);
int file_remove(int dir_fd, const char *name); /* and fsync; no error if it is not there */
void file_remove_temporaries(int dir_fd);
/* Names in a directory without "." and ".." and temporaries, unsorted. The caller frees with names_free(). */
int file_open_listing(int dir_fd, DIR **ret); /* the caller closes */
int file_list(int dir_fd, char ***ret, size_t *ret_n);
void names_free(char **names, size_t n);

/* ---- store-spare.c ---- */

#define SPARE_SIZE 16384
/* As file_replace() in DIR. Where there is no room, a spare file is taken, unless SIZE exceeds that. */
int store_replace(struct store *s, enum store_dir dir, const char *name, const void *data, size_t size);

/* ---- store.c ---- */

/* Moves a file to damaged/ and adds a sentence with the reason to PROBLEMS (may be NULL). */
void store_set_aside(struct store *s, enum store_dir dir, const char *name, const char *why,
                     struct problems *problems);
bool store_id_valid(const char *id);

/* ---- store-orders.c ---- */

void history_name(uint64_t ended_at, const char *id, char ret[HISTORY_NAME_SIZE]);
bool history_name_valid(const char *name);
/* "ID.json" at the end of a valid history name; also the name of its attempts, and of the order in force. */
const char *history_name_id(const char *name);
/* 1: an order; 0: none, and PROBLEMS says why; -ENOMEM. */
int store_load_file(struct store *s, enum store_dir dir, const char *name, struct order **ret,
                    struct problems *problems);
/* Sets aside what cannot be an order by its name alone, and takes it off the list. */
void store_drop_foreign(struct store *s, enum store_dir dir, char **names, size_t *n,
                        bool (*valid)(const char *name), struct problems *problems);

/* ---- store-history.c ---- */

/* Is there a file in orders/ for this history name? Then its end was taken back, or never completed. */
bool store_still_in_force(struct store *s, const char *name);
/* Removes what says of orders in force that they have ended: a lift that was taken back, or never completed.
 */
void store_drop_false_ends(struct store *s);

#endif
