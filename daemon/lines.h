/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LOCKDOWN_LINES_H
#define LOCKDOWN_LINES_H

/* "keyword value" lines, as in the saved membership and between the daemon and its resolver process. A value
 * that is a name is escaped (%XX), so that no name can pretend to be a line. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

struct line {
        const char *keyword, *value; /* not terminated; value is NULL if there is none */
        size_t keyword_size, value_size;
};

struct lines {
        const char *at;
        size_t left;
};

/* The next line. 1, 0 at the end of the text, -EBADMSG for a line without its newline. */
int lines_next(struct lines *l, struct line *ret);
bool line_is(const struct line *line, const char *keyword);
/* The value as a canonical decimal number; as one id "A" or a range "A-B" with A <= B, never the id -1; as an
 * unescaped name, newly allocated. Return 0, -EBADMSG (or -ENOMEM). */
int line_number(const struct line *line, uint64_t *ret);
int line_range(const struct line *line, uint32_t *ret_first, uint32_t *ret_last);
int line_name(const struct line *line, char **ret);

/* Whether the stream failed is for the caller to ask at the end (ferror()). */
void line_put_number(FILE *f, const char *keyword, uint64_t number);
void line_put_range(FILE *f, const char *keyword, uint32_t first, uint32_t last);
void line_put_name(FILE *f, const char *keyword, const char *name);

#endif
