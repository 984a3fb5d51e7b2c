/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "person.h"
#include "lines.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#define KEYWORD_HEADER "lockdown-person"
#define KEYWORD_UNANSWERED "unanswered"
#define KEYWORD_END "end"
#define FORMAT_VERSION 1

/* The lines of one identity; the owner's follow the user's own. */
struct keywords {
        const char *uid, *name, *gid, *group;
};

static const struct keywords keywords_self = {"uid", "name", "gid", "group"},
                             keywords_owner = {"owner-uid", "owner-name", "owner-gid", "owner-group"};

static bool is_number(const char *word, uint32_t *ret)
{
        char *end;
        unsigned long long n;

        if (!word[0] || word[strspn(word, "0123456789")] != '\0')
                return false;
        errno = 0;
        n = strtoull(word, &end, 10);
        if (errno != 0 || n >= UINT32_MAX)
                return false;
        *ret = (uint32_t)n;
        return true;
}

bool identity_is(const struct identity *i, const char *word)
{
        uint32_t uid;

        if (is_number(word, &uid))
                return uid == i->uid;
        return i->name && strcmp(i->name, word) == 0;
}

bool identity_in_group(const struct identity *i, const char *word)
{
        uint32_t gid;

        if (is_number(word, &gid))
                return idset_contains(&i->gids, gid);
        return words_contain(&i->group_names, word);
}

void identity_clear(struct identity *i)
{
        free(i->name);
        idset_clear(&i->gids);
        words_clear(&i->group_names);
        *i = (struct identity){0};
}

void person_clear(struct person *p)
{
        identity_clear(&p->self);
        identity_clear(&p->owner);
        *p = (struct person){0};
}

static void write_identity(const struct identity *i, const struct keywords *k, FILE *f)
{
        line_put_number(f, k->uid, i->uid);
        if (i->name)
                line_put_name(f, k->name, i->name);
        for (size_t j = 0; j < i->gids.n; j++)
                line_put_range(f, k->gid, i->gids.ranges[j].first, i->gids.ranges[j].last);
        for (size_t j = 0; j < i->group_names.n; j++)
                line_put_name(f, k->group, i->group_names.items[j].text);
}

int person_write(const struct person *p, FILE *f)
{
        line_put_number(f, KEYWORD_HEADER, FORMAT_VERSION);
        if (p->unanswered)
                fputs(KEYWORD_UNANSWERED "\n", f);
        if (p->found)
                write_identity(&p->self, &keywords_self, f);
        if (p->subordinate)
                write_identity(&p->owner, &keywords_owner, f);
        fputs(KEYWORD_END "\n", f);
        errno = 0;
        if (fflush(f) != 0 || ferror(f))
                return errno > 0 ? -errno : -EIO;
        return 0;
}

static int parse_uid(const struct line *line, struct identity *i, bool *ret_there)
{
        uint32_t first, last;
        int r = line_range(line, &first, &last);

        if (r < 0 || first != last || *ret_there)
                return -EBADMSG;
        i->uid = first;
        *ret_there = true;
        return 0;
}

/* 1: the line is one of this identity's. */
static int parse_identity_line(const struct line *line, const struct keywords *k, struct identity *i,
                               bool *ret_there)
{
        _cleanup_free_ char *name = NULL;
        uint32_t first, last;
        int r;

        if (line_is(line, k->uid)) {
                r = parse_uid(line, i, ret_there);
        } else if (line_is(line, k->name)) {
                r = i->name ? -EBADMSG : line_name(line, &i->name);
        } else if (line_is(line, k->gid)) {
                r = line_range(line, &first, &last);
                if (r >= 0)
                        r = idset_append(&i->gids, first, last);
        } else if (line_is(line, k->group)) {
                r = line_name(line, &name);
                if (r >= 0)
                        r = words_add(&i->group_names, name, NULL, 0);
        } else {
                return 0;
        }
        return r < 0 ? r : 1;
}

static int parse_line(const struct line *line, struct person *p)
{
        int r;

        if (line_is(line, KEYWORD_UNANSWERED)) {
                p->unanswered = true;
                return 0;
        }
        r = parse_identity_line(line, &keywords_self, &p->self, &p->found);
        if (r == 0)
                r = parse_identity_line(line, &keywords_owner, &p->owner, &p->subordinate);
        return r == 0 ? -EBADMSG : r < 0 ? r : 0;
}

static int parse_header(struct lines *l)
{
        struct line line;
        uint64_t version;

        if (lines_next(l, &line) <= 0 || !line_is(&line, KEYWORD_HEADER))
                return -EBADMSG;
        return line_number(&line, &version) < 0 || version != FORMAT_VERSION ? -EBADMSG : 0;
}

int person_parse(const char *text, size_t size, struct person *ret)
{
        _cleanup_person_ struct person p = {0};
        struct lines l = {text, size};
        struct line line;
        int r = parse_header(&l);

        while (r >= 0) {
                if (lines_next(&l, &line) <= 0)
                        return -EBADMSG; /* cut short: no end */
                if (line_is(&line, KEYWORD_END))
                        break;
                r = parse_line(&line, &p);
        }
        if (r < 0)
                return r;
        if (line.value || l.left > 0)
                return -EBADMSG;
        idset_normalize(&p.self.gids);
        idset_normalize(&p.owner.gids);
        *ret = p;
        p = (struct person){0};
        return 0;
}
