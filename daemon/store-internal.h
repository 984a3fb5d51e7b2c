/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LOCKDOWN_STORE_INTERNAL_H
#define LOCKDOWN_STORE_INTERNAL_H

/* What the files store*.c share. */

#include "store.h"
#include <sys/types.h>

enum store_dir {
        DIR_ORDERS,
        DIR_HISTORY,
        DIR_ATTEMPTS,
        DIR_MEMBERS,
        DIR_DAMAGED,
        _DIR_MAX,
};

struct store {
        int fds[_DIR_MAX];
};

/* Temporaries begin so; no name the store keeps does. */
#define STORE_TEMPORARY ".tmp-"

/* What is larger is not ours. */
#define ORDER_SIZE_MAX ((size_t)1 << 20)
#define ATTEMPTS_SIZE_MAX ((size_t)128 << 20)
#define MEMBERS_SIZE_MAX ((size_t)128 << 20)

const char *store_dir_name(enum store_dir dir);

/* ---- store-file.c: files by descriptor of their directory ---- */

/* Replaces NAME by DATA, or leaves everything as it was: temporary, fsync, rename, fsync of the directory. */
int file_replace(int dir_fd, const char *name, const void *data, size_t size);
/* Reads a regular file, followed by a NUL that SIZE does not count. -ENOENT; -EBADMSG, with a phrase in
 * RET_WHY that continues "… is damaged: ", for what is not a regular file or larger than MAX; another -errno.
 * Both results are allocated. */
int file_read(int dir_fd, const char *name, size_t max, char **ret, size_t *ret_size, char **ret_why);
int file_remove(int dir_fd, const char *name); /* and fsync; no error if it is not there */
void file_remove_temporaries(int dir_fd);
/* Names in a directory without "." and ".." and temporaries, unsorted. The caller frees with names_free(). */
int file_list(int dir_fd, char ***ret, size_t *ret_n);
void names_free(char **names, size_t n);

/* ---- store.c ---- */

/* Moves a file to damaged/ and adds a sentence with the reason to PROBLEMS (may be NULL). */
void store_set_aside(struct store *s, enum store_dir dir, const char *name, const char *why,
                     struct problems *problems);
bool store_id_valid(const char *id);

#endif
