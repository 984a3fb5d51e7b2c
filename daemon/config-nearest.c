/* SPDX-License-Identifier: GPL-2.0-or-later */

/* "Did you mean …?" */

#include "config-internal.h"

#include <ctype.h>
#include <string.h>

/* Longer names are nobody's typing mistake. */
#define NEAREST_MAX 64

static unsigned min3(unsigned a, unsigned b, unsigned c)
{
        unsigned m = a < b ? a : b;

        return m < c ? m : c;
}

/* Letters added, left out, mistaken or swapped with their neighbour, whatever their case. Both at most
 * NEAREST_MAX long. */
static unsigned typing_mistakes(const char *a, const char *b)
{
        unsigned rows[3][NEAREST_MAX + 1]; /* of the usual matrix: this one and the two before */
        size_t la = strlen(a), lb = strlen(b);

        for (size_t j = 0; j <= lb; j++)
                rows[0][j] = (unsigned)j;
        for (size_t i = 1; i <= la; i++) {
                unsigned *row = rows[i % 3], *above = rows[(i + 2) % 3], *second = rows[(i + 1) % 3];

                row[0] = (unsigned)i;
                for (size_t j = 1; j <= lb; j++) {
                        int ca = tolower((unsigned char)a[i - 1]), cb = tolower((unsigned char)b[j - 1]);

                        row[j] = min3(above[j] + 1, row[j - 1] + 1, above[j - 1] + (ca != cb));
                        if (i > 1 && j > 1 && ca == tolower((unsigned char)b[j - 2]) &&
                            cb == tolower((unsigned char)a[i - 2]) && second[j - 2] + 1 < row[j])
                                row[j] = second[j - 2] + 1;
                }
        }
        return rows[la % 3][lb];
}

const char *nearest_name(const char *name, const char *const *candidates, size_t n)
{
        size_t length = strlen(name);
        unsigned best = (unsigned)(length + 1) / 3 + 1;
        const char *found = NULL;

        if (length > NEAREST_MAX)
                return NULL;
        for (size_t i = 0; i < n; i++) {
                unsigned d;

                if (strlen(candidates[i]) > NEAREST_MAX)
                        continue;
                d = typing_mistakes(name, candidates[i]);
                if (d < best) {
                        best = d;
                        found = candidates[i];
                }
        }
        return found;
}
