/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LOCKDOWN_IDSET_H
#define LOCKDOWN_IDSET_H

/* Sets of uids or gids as sorted, disjoint, non-adjacent closed ranges: 8 bytes a range. Pure; no I/O. A copy
 * costs nothing until one of the two is changed. */

#include "cleanup.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct idrange {
        uint32_t first, last; /* both included */
};

struct idset {
        struct idrange *ranges;
        size_t n;
        size_t capacity; /* 0: the ranges are not its own, nothing is appended or cleared */
};

/* Appends without keeping order (amortized constant time); call idset_normalize() after the last one and
 * before any other function below. Returns 0, -ENOMEM, or -EINVAL if FIRST > LAST. */
int idset_append(struct idset *s, uint32_t first, uint32_t last);
/* Sorts, merges, gives back spare memory. */
void idset_normalize(struct idset *s);

bool idset_contains(const struct idset *s, uint32_t id);
uint64_t idset_count(const struct idset *s); /* ids, not ranges; it is kept, not counted */
bool idset_equal(const struct idset *a, const struct idset *b);
/* False: they have no id in common. True may be wrong where both have many ranges: then it looks at their
 * ends only. Takes logarithmic time. */
bool idset_overlap(const struct idset *a, const struct idset *b);
/* Set arithmetic into a new, normalized set; RET must be empty or zeroed. Returns 0 or -ENOMEM, RET
 * untouched. */
int idset_union(const struct idset *a, const struct idset *b, struct idset *ret);
int idset_subtract(const struct idset *a, const struct idset *b, struct idset *ret);
/* S in rough outline: few ranges that hold every id of it, ascending. They leave out only its gaps of at
 * least a quarter of the way from the first id to the last. Returns how many. */
#define IDSET_OUTLINE_MAX 4
size_t idset_outline(const struct idset *s, struct idrange ret[static IDSET_OUTLINE_MAX]);
int idset_copy(const struct idset *from, struct idset *ret);
void idset_clear(struct idset *s);

#define _cleanup_idset_ _cleanup_(idset_clear)

/* for (uint32_t id …) over every id of a normalized set, in order. */
struct idset_iterator {
        size_t range;
        uint64_t next;
};
bool idset_next(const struct idset *s, struct idset_iterator *it, uint32_t *ret_id);

#endif
