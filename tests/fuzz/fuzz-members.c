/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Memberships: as saved on disk, and as the resolver's worker answers. Input: one or two of them, the second
 * behind an empty line. */

#include "fuzz.h"
#include "subjects.h"

#include <errno.h>

static char *write_members(const struct membership *m, size_t *ret_size)
{
        char *text = NULL;
        FILE *f = open_memstream(&text, ret_size);

        MUST(f);
        MUST(membership_write(m, f) == 0);
        fclose(f);
        return text;
}

static void must_be_sorted(const struct idset *s)
{
        for (size_t i = 0; i < s->n; i++) {
                MUST(s->ranges[i].first <= s->ranges[i].last);
                MUST(i == 0 || s->ranges[i - 1].last + UINT64_C(1) < s->ranges[i].first);
        }
}

/* Each line of ids, read apart: they are in the set of its keyword. Data was accepted, so every line is
 * whole. */
static void must_contain(const char *text, const char *keyword, const struct idset *s)
{
        const char *line = text;
        uint64_t most = 0;

        while ((line = strstr(line, keyword))) {
                unsigned first, last;
                int n = sscanf(line + strlen(keyword), "%u-%u", &first, &last);

                MUST(n > 0);
                last = n == 1 ? first : last;
                MUST(idset_contains(s, first) && idset_contains(s, last));
                most += (uint64_t)last - first + 1;
                line++;
        }
        MUST(idset_count(s) <= most);
}

static void must_say(const char *text, const struct subjects *s)
{
        must_contain(text, "\nuid ", &s->uids);
        must_contain(text, "\ngid ", &s->gids);
        must_contain(text, "\nsubuid ", &s->uid_ranges);
        must_contain(text, "\nsubgid ", &s->gid_ranges);
        must_contain(text, "\nexcept-uid ", &s->except_uids);
        must_contain(text, "\nexcept-gid ", &s->except_gids);
}

static bool read_members(const void *data, size_t size, struct membership *ret)
{
        _cleanup_membership_ struct membership again = {0};
        _cleanup_free_ char *exact = copy_bytes(data, size), *text = NULL, *second = NULL;
        size_t length, second_length;
        int r = membership_parse(exact, size, ret);

        MUST(r == 0 || r == -EBADMSG);
        if (r < 0)
                return false;
        must_be_sorted(&ret->subjects.uids);
        must_be_sorted(&ret->subjects.uid_ranges);
        must_be_sorted(&ret->subjects.except_gids);
        text = strndup(exact, size);
        MUST(text);
        must_say(text, &ret->subjects);
        free(text);
        text = write_members(ret, &length);
        MUST(membership_parse(text, length, &again) == 0);
        MUST(subjects_equal(&ret->subjects, &again.subjects) && ret->as_of == again.as_of);
        second = write_members(&again, &second_length);
        MUST(length == second_length && memcmp(text, second, length) == 0);
        return true;
}

/* Who is blocked by either is blocked by both together; root and the excepted by none. */
static void merge(const struct membership *a, const struct membership *b)
{
        _cleanup_membership_ struct membership m = {0};
        struct idset_iterator i = {0};
        uint32_t uid;

        MUST(membership_union(a, b, &m) == 0);
        for (size_t n = 0; n < 1000 && idset_next(&a->subjects.uids, &i, &uid); n++)
                MUST(idset_contains(&m.subjects.uids, uid));
        i = (struct idset_iterator){0};
        for (size_t n = 0; n < 1000 && idset_next(&b->subjects.uid_ranges, &i, &uid); n++)
                MUST(idset_contains(&m.subjects.uid_ranges, uid));
        i = (struct idset_iterator){0};
        for (size_t n = 0; n < 1000 && idset_next(&m.subjects.except_uids, &i, &uid); n++)
                MUST(idset_contains(&a->subjects.except_uids, uid) &&
                     idset_contains(&b->subjects.except_uids, uid));
        MUST(subjects_finish(&m.subjects, false) == 0);
        MUST(!subjects_match_uid(&m.subjects, 0));
        must_be_sorted(&m.subjects.uids);
        must_be_sorted(&m.subjects.uid_ranges);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        _cleanup_membership_ struct membership a = {0}, b = {0};
        const uint8_t *gap = memmem(data, size, "\n\n", 2);
        size_t first = gap ? (size_t)(gap - data) + 1 : size;

        if (!read_members(data, first, &a))
                return 0;
        if (gap && read_members(gap + 2, size - first - 1, &b))
                merge(&a, &b);
        return 0;
}
