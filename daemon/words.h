/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LOCKDOWN_WORDS_H
#define LOCKDOWN_WORDS_H

/* Lists of words that remember where in the configuration they stand, and lists of sentences about mistakes.
 */

#include "cleanup.h"
#include <stdbool.h>
#include <stddef.h>

struct word {
        char *text;
        char *file;    /* NULL when the word came from a request, not from a file */
        unsigned line; /* 0 likewise */
};

struct words {
        struct word *items;
        size_t n;
};

/* Appends a copy. FILE may be NULL. Returns 0 or -ENOMEM. */
int words_add(struct words *w, const char *text, const char *file, unsigned line);
/* Appends each space-separated word of TEXT. Returns 0 or -ENOMEM. */
int words_split(struct words *w, const char *text, const char *file, unsigned line);
int words_copy(struct words *to, const struct words *from);
bool words_contain(const struct words *w, const char *text);
/* Same words in the same order, wherever they stand. */
bool words_equal(const struct words *a, const struct words *b);
/* The words with a space between them, newly allocated (the caller frees); NULL when out of memory. */
char *words_join(const struct words *w);
void words_clear(struct words *w);

/* Sentences, each about one mistake, for a person. */
struct problems {
        char **items;
        size_t n;
};

/* Appends a sentence; silently keeps what there is when out of memory (n still grows never past what is
 * held). */
void problems_add(struct problems *p, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Appends "FILE:LINE: sentence". */
void problems_add_at(struct problems *p, const char *file, unsigned line, const char *format, ...)
        __attribute__((format(printf, 4, 5)));
/* All sentences with a newline between them, newly allocated; NULL when out of memory. */
char *problems_join(const struct problems *p);
/* For where there is room for one sentence: the first, and how many more there are. NULL: none, or no memory.
 */
char *problems_first(const struct problems *p);
void problems_clear(struct problems *p);

#define _cleanup_words_ _cleanup_(words_clear)
#define _cleanup_problems_ _cleanup_(problems_clear)

#endif
