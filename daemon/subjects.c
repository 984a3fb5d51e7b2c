// SPDX-License-Identifier: GPL-2.0-or-later
#include "subjects.h"

/* Often there is nothing to take out: then nothing is copied, for there may be a hundred thousand. */
static int take_out(struct idset *set, const struct idset *out)
{
        _cleanup_idset_ struct idset rest = {0};
        int r;

        if (!idset_overlap(set, out))
                return 0;
        r = idset_subtract(set, out, &rest);
        if (r < 0)
                return r;
        idset_clear(set);
        *set = rest;
        rest = (struct idset){0};
        return 0;
}

int subjects_finish(struct subjects *s, bool include_root)
{
        struct idrange root = {0, 0};
        const struct idset only_root = {&root, 1, 0}, nobody = {0};
        const struct idset *spared = include_root ? &nobody : &only_root;
        int r = take_out(&s->uids, &s->except_uids);

        if (r >= 0)
                r = take_out(&s->uids, spared);
        /* Excepted uids stay in the ranges: the match asks for them first, and a range with holes costs. */
        return r < 0 ? r : take_out(&s->uid_ranges, spared);
}

/* The ranges of FROM in which there is one of IDS. */
static int keep_ranges(const struct idset *from, const struct idset *ids, struct idset *ret)
{
        size_t j = 0;
        int r = 0;

        for (size_t i = 0; r >= 0 && i < from->n; i++) {
                while (j < ids->n && ids->ranges[j].last < from->ranges[i].first)
                        j++;
                if (j < ids->n && ids->ranges[j].first <= from->ranges[i].last)
                        r = idset_append(ret, from->ranges[i].first, from->ranges[i].last);
        }
        if (r >= 0)
                idset_normalize(ret);
        return r;
}

static int keep_ids(const struct idset *from, const struct idset *ids, struct idset *ret)
{
        _cleanup_idset_ struct idset others = {0};
        int r = idset_subtract(from, ids, &others);

        return r < 0 ? r : idset_subtract(from, &others, ret);
}

int subjects_keep(struct subjects *s, const struct idset *ids)
{
        _cleanup_idset_ struct idset uids = {0};
        struct idset ranges = {0};
        int r = keep_ids(&s->uids, ids, &uids);

        if (r >= 0)
                r = keep_ranges(&s->uid_ranges, ids, &ranges);
        if (r < 0) {
                idset_clear(&ranges);
                return r;
        }
        idset_clear(&s->uids);
        idset_clear(&s->uid_ranges);
        idset_clear(&s->gid_ranges);
        s->uids = uids;
        uids = (struct idset){0};
        s->uid_ranges = ranges;
        return 0;
}

bool subjects_match_uid(const struct subjects *s, uint32_t uid)
{
        if (idset_contains(&s->except_uids, uid))
                return false;
        if (s->everyone)
                return uid != 0;
        return idset_contains(&s->uids, uid) || idset_contains(&s->uid_ranges, uid);
}

bool subjects_match(const struct subjects *s, uint32_t uid, uint32_t gid)
{
        if (s->everyone)
                return subjects_match_uid(s, uid) && !idset_contains(&s->except_gids, gid);
        if (subjects_match_uid(s, uid))
                return true;
        /* Root's own sockets stay, whatever group it acts under. */
        return uid != 0 && !idset_contains(&s->except_uids, uid) &&
               (idset_contains(&s->gids, gid) || idset_contains(&s->gid_ranges, gid));
}

bool subjects_equal(const struct subjects *a, const struct subjects *b)
{
        return a->everyone == b->everyone && a->sessions == b->sessions && idset_equal(&a->uids, &b->uids) &&
               idset_equal(&a->uid_ranges, &b->uid_ranges) && idset_equal(&a->gids, &b->gids) &&
               idset_equal(&a->gid_ranges, &b->gid_ranges) && idset_equal(&a->except_uids, &b->except_uids) &&
               idset_equal(&a->except_gids, &b->except_gids);
}

bool subjects_empty(const struct subjects *s)
{
        return !s->everyone && s->uids.n == 0 && s->uid_ranges.n == 0 && s->gids.n == 0 &&
               s->gid_ranges.n == 0;
}

int subjects_copy(const struct subjects *from, struct subjects *ret)
{
        _cleanup_subjects_ struct subjects copy = {.everyone = from->everyone, .sessions = from->sessions};
        const struct {
                const struct idset *from;
                struct idset *to;
        } sets[] = {
                {&from->uids, &copy.uids},
                {&from->uid_ranges, &copy.uid_ranges},
                {&from->gids, &copy.gids},
                {&from->gid_ranges, &copy.gid_ranges},
                {&from->except_uids, &copy.except_uids},
                {&from->except_gids, &copy.except_gids},
        };

        for (size_t i = 0; i < ELEMENTSOF(sets); i++) {
                int r = idset_copy(sets[i].from, sets[i].to);

                if (r < 0)
                        return r;
        }
        subjects_clear(ret);
        *ret = copy;
        copy = (struct subjects){0};
        return 0;
}

void subjects_clear(struct subjects *s)
{
        idset_clear(&s->uids);
        idset_clear(&s->uid_ranges);
        idset_clear(&s->gids);
        idset_clear(&s->gid_ranges);
        idset_clear(&s->except_uids);
        idset_clear(&s->except_gids);
        *s = (struct subjects){0};
}
