// SPDX-License-Identifier: GPL-2.0-or-later
#include "lines.h"
#include "subjects.h"
#include <errno.h>

#define KEYWORD_HEADER "lockdown-members"
#define KEYWORD_AS_OF "as-of"
#define KEYWORD_END "end"
#define FORMAT_VERSION 1

/* One keyword a field: writer and reader walk the same tables. */
static const struct {
        const char *keyword;
        size_t offset;
} set_fields[] =
        {
                {"uid", offsetof(struct membership, subjects.uids)},
                {"gid", offsetof(struct membership, subjects.gids)},
                {"subuid", offsetof(struct membership, subjects.uid_ranges)},
                {"subgid", offsetof(struct membership, subjects.gid_ranges)},
                {"except-uid", offsetof(struct membership, subjects.except_uids)},
                {"except-gid", offsetof(struct membership, subjects.except_gids)},
},
  name_fields[] = {
          {"missing-group", offsetof(struct membership, missing_groups)},
          {"missing-user", offsetof(struct membership, missing_users)},
          {"unresolved", offsetof(struct membership, unresolved)},
          {"empty-group", offsetof(struct membership, empty_groups)},
};

static struct idset *set_at(const struct membership *m, size_t field)
{
        return (struct idset *)((char *)m + set_fields[field].offset);
}

static struct words *names_at(const struct membership *m, size_t field)
{
        return (struct words *)((char *)m + name_fields[field].offset);
}

int membership_write(const struct membership *m, FILE *f)
{
        line_put_number(f, KEYWORD_HEADER, FORMAT_VERSION);
        line_put_number(f, KEYWORD_AS_OF, m->as_of);
        for (size_t i = 0; i < ELEMENTSOF(set_fields); i++) {
                const struct idset *s = set_at(m, i);

                for (size_t j = 0; j < s->n; j++)
                        line_put_range(f, set_fields[i].keyword, s->ranges[j].first, s->ranges[j].last);
        }
        for (size_t i = 0; i < ELEMENTSOF(name_fields); i++) {
                const struct words *w = names_at(m, i);

                for (size_t j = 0; j < w->n; j++)
                        line_put_name(f, name_fields[i].keyword, w->items[j].text);
        }
        fputs(KEYWORD_END "\n", f);
        errno = 0;
        if (fflush(f) != 0 || ferror(f))
                return errno > 0 ? -errno : -EIO;
        return 0;
}

static int parse_set_line(const struct line *line, struct idset *s)
{
        uint32_t first, last;
        int r;

        r = line_range(line, &first, &last);
        if (r < 0)
                return r;
        return idset_append(s, first, last);
}

static int parse_name_line(const struct line *line, struct words *w)
{
        _cleanup_free_ char *name = NULL;
        int r;

        r = line_name(line, &name);
        if (r < 0)
                return r;
        return words_add(w, name, NULL, 0);
}

static int parse_line(const struct line *line, struct membership *m)
{
        for (size_t i = 0; i < ELEMENTSOF(set_fields); i++)
                if (line_is(line, set_fields[i].keyword))
                        return parse_set_line(line, set_at(m, i));
        for (size_t i = 0; i < ELEMENTSOF(name_fields); i++)
                if (line_is(line, name_fields[i].keyword))
                        return parse_name_line(line, names_at(m, i));
        return -EBADMSG;
}

static int parse_first_number(struct lines *l, const char *keyword, uint64_t *ret)
{
        struct line line;

        if (lines_next(l, &line) <= 0 || !line_is(&line, keyword))
                return -EBADMSG;
        return line_number(&line, ret);
}

static int parse_body(struct lines *l, struct membership *m)
{
        for (;;) {
                struct line line;
                int r;

                if (lines_next(l, &line) <= 0)
                        return -EBADMSG; /* cut short: no end */
                if (line_is(&line, KEYWORD_END))
                        return line.value || l->left > 0 ? -EBADMSG : 0;
                r = parse_line(&line, m);
                if (r < 0)
                        return r;
        }
}

int membership_parse(const char *text, size_t size, struct membership *ret)
{
        _cleanup_membership_ struct membership m = {0};
        struct lines l = {text, size};
        uint64_t version;
        int r;

        r = parse_first_number(&l, KEYWORD_HEADER, &version);
        if (r < 0 || version != FORMAT_VERSION)
                return -EBADMSG;
        r = parse_first_number(&l, KEYWORD_AS_OF, &m.as_of);
        if (r < 0)
                return r;
        r = parse_body(&l, &m);
        if (r < 0)
                return r;
        for (size_t i = 0; i < ELEMENTSOF(set_fields); i++)
                idset_normalize(set_at(&m, i));
        membership_clear(ret);
        *ret = m;
        m = (struct membership){0};
        return 0;
}

static int intersect(const struct idset *a, const struct idset *b, struct idset *ret)
{
        _cleanup_idset_ struct idset only_a = {0};
        int r;

        r = idset_subtract(a, b, &only_a);
        if (r < 0)
                return r;
        return idset_subtract(a, &only_a, ret);
}

bool membership_degraded(const struct membership *m)
{
        return m->unresolved.n > 0 || m->missing_groups.n > 0 || m->missing_users.n > 0;
}

int membership_union(const struct membership *older, const struct membership *newer, struct membership *ret)
{
        const struct subjects *a = &older->subjects, *b = &newer->subjects;
        _cleanup_membership_ struct membership m = {.as_of = newer->as_of};
        int r;

        m.subjects.everyone = b->everyone;
        m.subjects.sessions = b->sessions;
        if ((r = idset_union(&a->uids, &b->uids, &m.subjects.uids)) < 0 ||
            (r = idset_union(&a->gids, &b->gids, &m.subjects.gids)) < 0 ||
            (r = idset_union(&a->uid_ranges, &b->uid_ranges, &m.subjects.uid_ranges)) < 0 ||
            (r = idset_union(&a->gid_ranges, &b->gid_ranges, &m.subjects.gid_ranges)) < 0 ||
            (r = intersect(&a->except_uids, &b->except_uids, &m.subjects.except_uids)) < 0 ||
            (r = intersect(&a->except_gids, &b->except_gids, &m.subjects.except_gids)) < 0)
                return r;
        for (size_t i = 0; i < ELEMENTSOF(name_fields); i++) {
                r = words_copy(names_at(&m, i), names_at(newer, i));
                if (r < 0)
                        return r;
        }
        membership_clear(ret);
        *ret = m;
        m = (struct membership){0};
        return 0;
}

int membership_copy(const struct membership *from, struct membership *ret)
{
        _cleanup_membership_ struct membership m = {.as_of = from->as_of};
        int r;

        r = subjects_copy(&from->subjects, &m.subjects);
        if (r < 0)
                return r;
        for (size_t i = 0; i < ELEMENTSOF(name_fields); i++) {
                r = words_copy(names_at(&m, i), names_at(from, i));
                if (r < 0)
                        return r;
        }
        membership_clear(ret);
        *ret = m;
        m = (struct membership){0};
        return 0;
}

void membership_clear(struct membership *m)
{
        subjects_clear(&m->subjects);
        for (size_t i = 0; i < ELEMENTSOF(name_fields); i++)
                words_clear(names_at(m, i));
        *m = (struct membership){0};
}
