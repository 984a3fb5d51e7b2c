// SPDX-License-Identifier: GPL-2.0-or-later

/* Whose packets are judged, and how everybody else's get away from that soonest. */

#include "ruleset-builder.h"

/* user.slice/user-UID.slice */
#define SESSION_LEVEL 2

/* An interval set costs 650 ns and more a packet, of everybody's. So it is asked only between the lowest and
 * the highest id, rounded outwards to powers of two: the bounds then seldom change, and when they do, an
 * update rewrites the rule together with the elements. */
static void bounds(const struct idset *ids, uint32_t *ret_low, uint32_t *ret_high)
{
        uint32_t first = ids->ranges[0].first, last = ids->ranges[ids->n - 1].last;

        *ret_low = first == 0 ? 0 : UINT32_C(1) << (31 - __builtin_clz(first));
        *ret_high = last == 0 ? 0 : UINT32_MAX >> __builtin_clz(last);
}

/* Their ids, on behalf of whom TARGET is to judge. What the socket's creator was decides, not who sends. */
static void named_subjects(struct builder *b, enum rs_chain_id chain, enum rs_chain_id target)
{
        const struct subjects *s = b->spec->subjects;
        uint32_t low, high;

        /* meta skuid @uids goto destinations */
        if (filled(b, SET_UIDS))
                RULE(b, chain, in(FIELD_SKUID, SET_UIDS), go_to(target));
        if (filled(b, SET_UID_RANGES)) {
                bounds(&s->uid_ranges, &low, &high);
                /* meta skuid >= LOW meta skuid <= HIGH meta skuid @uid_ranges goto destinations */
                RULE(b, chain, compare(FIELD_SKUID, OP_GTE, low), compare(FIELD_SKUID, OP_LTE, high),
                     in(FIELD_SKUID, SET_UID_RANGES), go_to(target));
        }
        /* Root's own sockets stay, whatever group it acts under.
         * meta skgid @gids meta skuid != 0 goto destinations */
        if (filled(b, SET_GIDS))
                RULE(b, chain, in(FIELD_SKGID, SET_GIDS), compare(FIELD_SKUID, OP_NEQ, 0), go_to(target));
        if (filled(b, SET_GID_RANGES)) {
                bounds(&s->gid_ranges, &low, &high);
                /* meta skgid >= LOW meta skgid <= HIGH meta skgid @gid_ranges meta skuid != 0 goto
                 * destinations */
                RULE(b, chain, compare(FIELD_SKGID, OP_GTE, low), compare(FIELD_SKGID, OP_LTE, high),
                     in(FIELD_SKGID, SET_GID_RANGES), compare(FIELD_SKUID, OP_NEQ, 0), go_to(target));
        }
}

/* A rule that is made of as many statements as there are reasons. */
struct reasons {
        struct rs_statement statements[RS_STATEMENTS];
        size_t n;
};

static void add_reason(struct reasons *r, struct rs_statement s)
{
        r->statements[r->n++] = s;
}

static void add_outside(struct reasons *r, enum rs_field field, const struct idset *ids)
{
        struct idrange outline[IDSET_OUTLINE_MAX];
        size_t n = idset_outline(ids, outline);

        for (size_t i = 0; i < n; i++)
                add_reason(r, outside(field, outline[i].first, outline[i].last));
}

static void add_no_member(struct reasons *r, const struct builder *b)
{
        if (filled(b, SET_UIDS))
                add_reason(r, not_in(FIELD_SKUID, SET_UIDS));
}

/* One group is asked for faster by a comparison. */
static void add_no_group(struct reasons *r, const struct builder *b)
{
        const struct idset *gids = &b->spec->subjects->gids;

        if (idset_count(gids) == 1)
                add_reason(r, compare(FIELD_SKGID, OP_NEQ, gids->ranges[0].first));
        else if (filled(b, SET_GIDS))
                add_reason(r, not_in(FIELD_SKGID, SET_GIDS));
}

static void leave(struct builder *b, enum rs_chain_id chain, struct reasons *r)
{
        add_reason(r, back());
        rs_add_rule(b, chain, r->statements, r->n);
}

/* The power of two that all ids of a set are as high as, or 0. Without ids none is too low. */
static uint32_t floor_of(const struct idset *ids)
{
        uint32_t low, high;

        if (ids->n == 0)
                return UINT32_C(1) << 31;
        bounds(ids, &low, &high);
        return low;
}

/* Those whom nothing of named_subjects() can be about leave by one of two rules, in which uid and gid are
 * read once, and no interval set is asked. Whoever does not leave here, and what has no owner, goes the whole
 * way. */
static void unmeant(struct builder *b, enum rs_chain_id chain)
{
        const struct subjects *s = b->spec->subjects;
        uint32_t uids = floor_of(&s->uid_ranges), gids = floor_of(&s->gid_ranges);
        struct reasons lower = {.n = 0}, outside_all = {.n = 0};

        _Static_assert(2 * IDSET_OUTLINE_MAX + 3 <= RS_STATEMENTS, "rule length");
        if (!filled(b, SET_UIDS) && !filled(b, SET_GIDS) && s->uid_ranges.n == 0 && s->gid_ranges.n == 0)
                return;
        /* meta skuid & MASK == 0 meta skuid != @uids meta skgid & MASK == 0 meta skgid != @gids return: most
         * people are lower than all subordinate ids */
        if (uids > 0 && gids > 0) {
                if (s->uid_ranges.n > 0)
                        add_reason(&lower, below(FIELD_SKUID, uids));
                add_no_member(&lower, b);
                if (s->gid_ranges.n > 0)
                        add_reason(&lower, below(FIELD_SKGID, gids));
                add_no_group(&lower, b);
                leave(b, chain, &lower);
        }
        if (s->uid_ranges.n == 0 && s->gid_ranges.n == 0)
                return;
        /* meta skuid != @uids meta skuid != FIRST-LAST … meta skgid != @gids meta skgid != FIRST-LAST …
         * return: higher ones, and those between */
        add_no_member(&outside_all, b);
        add_outside(&outside_all, FIELD_SKUID, &s->uid_ranges);
        add_no_group(&outside_all, b);
        add_outside(&outside_all, FIELD_SKGID, &s->gid_ranges);
        leave(b, chain, &outside_all);
}

static bool level_in_use(const struct builder *b, uint32_t level)
{
        for (size_t i = 0; i < b->spec->n_unit_cgroups; i++)
                if (b->spec->unit_cgroups[i].level == level)
                        return true;
        return false;
}

/* Services=: whatever uid it has, root's and the excepted's included, so before those are let go. */
static void unit_subjects(struct builder *b, enum rs_chain_id chain, enum rs_chain_id target)
{
        /* socket cgroupv2 level N @units goto destinations, for each depth at which there is one */
        for (uint32_t level = 1; level <= RULESET_LEVEL_MAX; level++)
                if (level_in_use(b, level))
                        RULE(b, chain, cgroup_in(level, SET_UNITS), go_to(target));
}

static void excepted_subjects(struct builder *b, enum rs_chain_id chain)
{
        /* meta skuid @except_uids return: first, for they may be in a blocked group or session */
        if (filled(b, SET_EXCEPT_UIDS))
                RULE(b, chain, in(FIELD_SKUID, SET_EXCEPT_UIDS), back());
}

/* The kernel's own talk with its neighbours has no owner and must go on, or nothing the host sends arrives,
 * with Allow=none not even root's. Not asked where there is an owner: with CAP_NET_RAW anybody can write
 * these. */
static void neighbours(struct builder *b, enum rs_chain_id chain)
{
        /* icmpv6 type >= 130 icmpv6 type <= 137 return: listener reports, router and neighbour discovery */
        RULE(b, chain, compare(FIELD_ICMPV6_TYPE, OP_GTE, 130), compare(FIELD_ICMPV6_TYPE, OP_LTE, 137),
             back());
        /* icmpv6 type 143 return: listener reports, version 2 */
        RULE(b, chain, is(FIELD_ICMPV6_TYPE, 143), back());
        /* meta l4proto igmp return: the same for IPv4 */
        RULE(b, chain, is(FIELD_L4PROTO, IPPROTO_IGMP), back());
}

static void everyone(struct builder *b, enum rs_chain_id chain, enum rs_chain_id target)
{
        bool postrouting = chain == CHAIN_SUBJECTS_LAST;

        /* meta skuid 0 return */
        RULE(b, chain, is(FIELD_SKUID, 0), back());
        excepted_subjects(b, chain);
        /* meta skgid @except_gids return */
        if (filled(b, SET_EXCEPT_GIDS))
                RULE(b, chain, in(FIELD_SKGID, SET_EXCEPT_GIDS), back());
        if (chain == CHAIN_SUBJECTS_FRAMES) {
                /* meta skuid <= 4294967295 goto frame: what has no owner is the kernel's: ARP, neighbour
                 * discovery, the outside of tunnels */
                RULE(b, chain, compare(FIELD_SKUID, OP_LTE, UINT32_MAX), go_to(target));
                return;
        }
        /* meta skuid <= 4294967295 goto destinations: whatever has an owner was sent here; and what a raw
         * socket writes is no talk of the kernel's */
        RULE(b, chain, compare(FIELD_SKUID, OP_LTE, UINT32_MAX), go_to(target));
        neighbours(b, chain);
        /* iif != 0 return: came in by an interface, so it is forwarded; that is for Forward= */
        if (postrouting)
                RULE(b, chain, compare(FIELD_IIF, OP_NEQ, 0), back());
        /* goto destinations: also sockets without an owner */
        RULE(b, chain, go_to(target));
}

/* postrouting cannot ask for a socket's control group: the second judgement of sessions and units is at the
 * end of output instead. Family netdev cannot, either. */
static bool asks_cgroups(enum rs_chain_id chain)
{
        return chain != CHAIN_SUBJECTS_LAST && chain != CHAIN_SUBJECTS_FRAMES;
}

/* Does this chain of subjects ask first for something that those who are not named may have, too? */
static bool is_about_others(const struct builder *b, enum rs_chain_id chain)
{
        if (b->spec->subjects->everyone || (chain == CHAIN_SUBJECTS_LAST && has_relay(b)))
                return true;
        return asks_cgroups(chain) && (b->r->sets[SET_SESSIONS].present || b->r->sets[SET_UNITS].present);
}

void rs_build_subjects(struct builder *b, enum rs_chain_id chain, enum rs_chain_id target)
{
        bool cgroups = asks_cgroups(chain);

        /* oif lo jump relay: before anybody is let pass, for it is about everybody */
        if (chain == CHAIN_SUBJECTS_LAST && has_relay(b))
                RULE(b, chain, is(FIELD_OIF, LOOPBACK_INDEX), jump_to(CHAIN_RELAY));
        if (cgroups)
                unit_subjects(b, chain, target);
        if (b->spec->subjects->everyone) {
                if (chain != CHAIN_SUBJECTS_CGROUPS)
                        everyone(b, chain, target);
                return;
        }
        excepted_subjects(b, chain);
        /* socket cgroupv2 level 2 @sessions goto destinations: also with no session yet, so that logging in
         * is an update of the set */
        if (cgroups && b->r->sets[SET_SESSIONS].present)
                RULE(b, chain, cgroup_in(SESSION_LEVEL, SET_SESSIONS), go_to(target));
        if ((chain == CHAIN_SUBJECTS || chain == CHAIN_SUBJECTS_LAST) && is_about_others(b, chain))
                unmeant(b, chain);
        if (chain != CHAIN_SUBJECTS_CGROUPS)
                named_subjects(b, chain, target);
}

void rs_build_unmeant(struct builder *b, enum rs_chain_id base, enum rs_chain_id subjects)
{
        if (!is_about_others(b, subjects))
                unmeant(b, base);
}
