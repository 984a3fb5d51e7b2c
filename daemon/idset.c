// SPDX-License-Identifier: GPL-2.0-or-later
#include "idset.h"
#include <errno.h>
#include <string.h>

/* Looked up one by one. */
#define FEW 64

/* Where the ranges lie. Copies share it until one of them changes. */
struct storage {
        size_t users;
        uint64_t count; /* of ids; as long as ranges overlap, too many */
        struct idrange ranges[];
};

static struct storage *storage_of(const struct idset *s)
{
        return s->capacity > 0
                       ? (struct storage *)(void *)((char *)s->ranges - offsetof(struct storage, ranges))
                       : NULL;
}

static bool is_shared(const struct idset *s)
{
        return s->capacity > 0 && storage_of(s)->users > 1;
}

/* For who has it alone, or has none. */
static int resize(struct idset *s, size_t capacity)
{
        struct storage *storage;

        if (capacity > (SIZE_MAX - sizeof(*storage)) / sizeof(*s->ranges))
                return -ENOMEM;
        storage = realloc(storage_of(s), sizeof(*storage) + capacity * sizeof(*s->ranges));
        if (!storage)
                return -ENOMEM;
        if (s->capacity == 0)
                storage->count = 0;
        storage->users = 1;
        s->ranges = storage->ranges;
        s->capacity = capacity;
        return 0;
}

static uint64_t length(const struct idrange *r)
{
        return (uint64_t)r->last - r->first + 1;
}

static uint64_t count_ids(const struct idset *s)
{
        uint64_t count = 0;

        for (size_t i = 0; i < s->n; i++)
                count += length(&s->ranges[i]);
        return count;
}

static int copy_ranges(const struct idset *from, size_t capacity, struct idset *ret)
{
        struct idset copy = {0};
        int r = resize(&copy, capacity);

        if (r < 0)
                return r;
        memcpy(copy.ranges, from->ranges, from->n * sizeof(*copy.ranges));
        copy.n = from->n;
        storage_of(&copy)->count = count_ids(&copy);
        idset_clear(ret);
        *ret = copy;
        return 0;
}

/* Room for one more, in storage of its own. */
static int make_room(struct idset *s)
{
        size_t capacity = s->n < s->capacity ? s->capacity : s->capacity ? s->capacity * 2 : 16;

        if (is_shared(s))
                return copy_ranges(s, capacity, s);
        return capacity == s->capacity ? 0 : resize(s, capacity);
}

int idset_append(struct idset *s, uint32_t first, uint32_t last)
{
        int r;

        if (first > last)
                return -EINVAL;
        r = make_room(s);
        if (r < 0)
                return r;
        storage_of(s)->count += length(&(struct idrange){first, last});
        /* Databases are mostly in ascending order: then a run of ids never becomes more than one range. */
        if (s->n > 0 && s->ranges[s->n - 1].last < UINT32_MAX && s->ranges[s->n - 1].last + 1 == first) {
                s->ranges[s->n - 1].last = last;
                return 0;
        }
        s->ranges[s->n++] = (struct idrange){first, last};
        return 0;
}

static int compare_first(const void *a, const void *b)
{
        const struct idrange *x = a, *y = b;

        return (x->first > y->first) - (x->first < y->first);
}

static bool is_sorted(const struct idset *s)
{
        for (size_t i = 1; i < s->n; i++)
                if (s->ranges[i].first < s->ranges[i - 1].first)
                        return false;
        return true;
}

/* 64 bits wide, so that a range that ends at the highest id has something behind it. */
static bool touches(const struct idrange *before, const struct idrange *next)
{
        return next->first <= (uint64_t)before->last + 1;
}

static void shrink(struct idset *s)
{
        if (s->n == 0)
                idset_clear(s);
        else
                (void)resize(s, s->n);
}

void idset_normalize(struct idset *s)
{
        size_t kept = 0;

        if (is_shared(s)) /* what is copied is in order */
                return;
        if (!is_sorted(s))
                qsort(s->ranges, s->n, sizeof(*s->ranges), compare_first);
        for (size_t i = 1; i < s->n; i++) {
                struct idrange *before = &s->ranges[kept];
                struct idrange next = s->ranges[i];

                if (!touches(before, &next))
                        s->ranges[++kept] = next;
                else if (next.last > before->last)
                        before->last = next.last;
        }
        if (s->n > 0) {
                s->n = kept + 1;
                storage_of(s)->count = count_ids(s);
        }
        shrink(s);
}

/* Is one of FIRST to LAST in it? */
static bool meets(const struct idset *s, uint32_t first, uint32_t last)
{
        size_t low = 0, high = s->n;

        while (low < high) {
                size_t middle = low + (high - low) / 2;

                if (s->ranges[middle].last < first)
                        low = middle + 1;
                else
                        high = middle;
        }
        return low < s->n && s->ranges[low].first <= last;
}

bool idset_contains(const struct idset *s, uint32_t id)
{
        return meets(s, id, id);
}

size_t idset_outline(const struct idset *s, struct idrange ret[static IDSET_OUTLINE_MAX])
{
        uint32_t wide;
        size_t n = 0;

        if (s->n == 0)
                return 0;
        wide = (s->ranges[s->n - 1].last - s->ranges[0].first) / 4 + 1;
        ret[n++] = s->ranges[0];
        for (size_t i = 1; i < s->n; i++) {
                if (s->ranges[i].first - s->ranges[i - 1].last >= wide)
                        ret[n++] = s->ranges[i];
                else
                        ret[n - 1].last = s->ranges[i].last;
        }
        return n;
}

uint64_t idset_count(const struct idset *s)
{
        return s->capacity > 0 ? storage_of(s)->count : count_ids(s);
}

bool idset_equal(const struct idset *a, const struct idset *b)
{
        if (a->n != b->n)
                return false;
        if (a->ranges == b->ranges)
                return true;
        for (size_t i = 0; i < a->n; i++)
                if (a->ranges[i].first != b->ranges[i].first || a->ranges[i].last != b->ranges[i].last)
                        return false;
        return true;
}

static int append_all(struct idset *to, const struct idset *from)
{
        for (size_t i = 0; i < from->n; i++) {
                int r = idset_append(to, from->ranges[i].first, from->ranges[i].last);

                if (r < 0)
                        return r;
        }
        return 0;
}

/* Hands the finished set over. */
static void deliver(struct idset *from, struct idset *ret)
{
        idset_normalize(from);
        idset_clear(ret);
        *ret = *from;
        *from = (struct idset){0};
}

int idset_union(const struct idset *a, const struct idset *b, struct idset *ret)
{
        _cleanup_idset_ struct idset all = {0};
        int r;

        r = append_all(&all, a);
        if (r < 0)
                return r;
        r = append_all(&all, b);
        if (r < 0)
                return r;
        deliver(&all, ret);
        return 0;
}

/* Appends what B's ranges from *AT on leave of RANGE. *AT moves to the first that may matter to the next
 * range. */
static int append_remainder(struct idset *to, const struct idrange *range, const struct idset *b, size_t *at)
{
        uint64_t first = range->first;

        while (*at < b->n && b->ranges[*at].last < range->first)
                (*at)++;
        for (; *at < b->n && b->ranges[*at].first <= range->last; (*at)++) {
                const struct idrange *hole = &b->ranges[*at];

                if (hole->first > first) {
                        int r = idset_append(to, (uint32_t)first, hole->first - 1);

                        if (r < 0)
                                return r;
                }
                first = (uint64_t)hole->last + 1;
                if (hole->last >= range->last)
                        return 0; /* it may reach into the next range */
        }
        return idset_append(to, (uint32_t)first, range->last);
}

bool idset_overlap(const struct idset *a, const struct idset *b)
{
        const struct idset *few = a->n < b->n ? a : b, *many = a->n < b->n ? b : a;

        if (few->n == 0 || !meets(many, few->ranges[0].first, few->ranges[few->n - 1].last))
                return false;
        for (size_t i = 0; i < few->n && few->n <= FEW; i++)
                if (meets(many, few->ranges[i].first, few->ranges[i].last))
                        return true;
        return few->n > FEW;
}

int idset_subtract(const struct idset *a, const struct idset *b, struct idset *ret)
{
        _cleanup_idset_ struct idset rest = {0};
        size_t at = 0;

        if (!idset_overlap(a, b))
                return idset_copy(a, ret);

        for (size_t i = 0; i < a->n; i++) {
                int r = append_remainder(&rest, &a->ranges[i], b, &at);

                if (r < 0)
                        return r;
        }
        deliver(&rest, ret);
        return 0;
}

int idset_copy(const struct idset *from, struct idset *ret)
{
        struct idset copy = *from;

        if (from->n == 0) {
                idset_clear(ret);
                return 0;
        }
        if (from->capacity == 0)
                return copy_ranges(from, from->n, ret);
        storage_of(from)->users++;
        idset_clear(ret);
        *ret = copy;
        return 0;
}

void idset_clear(struct idset *s)
{
        struct storage *storage = storage_of(s);

        if (storage && --storage->users == 0)
                free(storage);
        *s = (struct idset){0};
}

bool idset_next(const struct idset *s, struct idset_iterator *it, uint32_t *ret_id)
{
        while (it->range < s->n && it->next > s->ranges[it->range].last)
                it->range++;
        if (it->range >= s->n)
                return false;
        if (it->next < s->ranges[it->range].first)
                it->next = s->ranges[it->range].first;
        *ret_id = (uint32_t)it->next++;
        return true;
}
