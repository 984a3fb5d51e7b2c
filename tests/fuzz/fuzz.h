/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LOCKDOWN_FUZZ_H
#define LOCKDOWN_FUZZ_H

/* What the targets share. A target takes bytes as they might come from elsewhere, gives them to the code that
 * reads them, and asks of the outcome what must hold whatever the bytes are. */

#include "cleanup.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerInitialize(int *argc, char ***argv);

/* What holds, or it is a finding. */
#define MUST(condition)                                                                                \
        do {                                                                                           \
                if (!(condition)) {                                                                    \
                        fprintf(stderr, "%s:%d: does not hold: %s\n", __FILE__, __LINE__, #condition); \
                        abort();                                                                       \
                }                                                                                      \
        } while (0)

/* The input, taken off from its beginning. */
struct feed {
        const uint8_t *at;
        size_t left;
};

/* 0 where there is nothing left. */
static inline uint8_t feed_byte(struct feed *f)
{
        if (f->left == 0)
                return 0;
        f->left--;
        return *f->at++;
}

/* A copy of SIZE bytes of the exact size, so that reading past its end is seen; the caller frees. */
static inline void *copy_bytes(const void *data, size_t size)
{
        void *copy = malloc(size > 0 ? size : 1);

        MUST(copy);
        if (size > 0)
                memcpy(copy, data, size);
        return copy;
}

/* The next line without its newline as a C string, or NULL at the end; what follows a NUL is not seen. The
 * caller frees. */
static inline char *feed_line(struct feed *f)
{
        const uint8_t *newline = f->left > 0 ? memchr(f->at, '\n', f->left) : NULL;
        size_t size = newline ? (size_t)(newline - f->at) : f->left;
        char *line;

        if (f->left == 0)
                return NULL;
        line = malloc(size + 1);
        MUST(line);
        memcpy(line, f->at, size);
        line[size] = '\0';
        f->at += size + (newline != NULL);
        f->left -= size + (newline != NULL);
        return line;
}

#endif
