// SPDX-License-Identifier: GPL-2.0-or-later
#include "ruleset-builder.h"
#include <arpa/inet.h>
#include <errno.h>
#include <linux/netfilter.h>
#include <string.h>

/* user.slice/user-UID.slice */
#define SESSION_LEVEL 2

void rs_add_rule(struct builder *b, enum rs_chain_id id, const struct rs_statement *statements, size_t n)
{
        struct rs_chain *c = &b->r->chains[id];
        struct rs_rule *grown;

        if (b->error < 0)
                return;
        grown = reallocarray(c->rules, c->n + 1, sizeof(*grown));
        if (!grown) {
                b->error = -ENOMEM;
                return;
        }
        c->rules = grown;
        grown[c->n] = (struct rs_rule){.n = n};
        memcpy(grown[c->n++].statements, statements, n * sizeof(*statements));
}

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

static void subjects(struct builder *b, enum rs_chain_id chain, enum rs_chain_id target)
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

/* Where a packet only seems to go. */
static void detours(struct builder *b, enum rs_chain_id chain, enum rs_chain_id refuse)
{
        /* exthdr rt exists goto refuse: ip6 daddr is only the next segment */
        RULE(b, chain, exists(FIELD_ROUTING_HEADER), go_to(refuse));
        /* ip option lsrr exists goto refuse; ip option ssrr exists goto refuse: the same for IPv4 */
        RULE(b, chain, exists(FIELD_LSRR), go_to(refuse));
        RULE(b, chain, exists(FIELD_SSRR), go_to(refuse));
}

/* Traffic that stays on this machine, by LOCAL (which field says so). FIRST: NAT comes yet. */
static void loopback(struct builder *b, enum rs_chain_id chain, enum rs_chain_id refuse,
                     struct rs_statement local, bool first)
{
        /* oif lo meta l4proto @tcp_udp th dport @loopback_ports goto refuse: doors to the outside */
        if (filled(b, SET_LOOPBACK_PORTS))
                RULE(b, chain, local, in(FIELD_L4PROTO, SET_TCP_UDP), in(FIELD_DPORT, SET_LOOPBACK_PORTS),
                     go_to(refuse));
        /* oif lo meta l4proto @tcp_udp th dport 53 return: the nat chain will send it to the relay */
        if (first && has_relay(b))
                RULE(b, chain, local, in(FIELD_L4PROTO, SET_TCP_UDP), is(FIELD_DPORT, 53), back());
        /* oif lo meta l4proto @tcp_udp th dport @dns_ports goto refuse: a resolver asks outside for them */
        if (b->r->sets[SET_DNS_PORTS].present)
                RULE(b, chain, local, in(FIELD_L4PROTO, SET_TCP_UDP), in(FIELD_DPORT, SET_DNS_PORTS),
                     go_to(refuse));
        /* oif lo return */
        RULE(b, chain, local, back());
}

void rs_build_services(struct builder *b, enum rs_chain_id chain)
{
        /* ip daddr . meta l4proto . th dport @allow4_service return */
        if (filled(b, SET_ALLOW4_SERVICE))
                RULE(b, chain, endpoint_in(FIELD_IP_DADDR, SET_ALLOW4_SERVICE), back());
        /* ip6 daddr . meta l4proto . th dport @allow6_service return */
        if (filled(b, SET_ALLOW6_SERVICE))
                RULE(b, chain, endpoint_in(FIELD_IP6_DADDR, SET_ALLOW6_SERVICE), back());
}

/* The judgement about a subject's packet; destinations_judge() gives the same answer in the same order. */
static void destinations(struct builder *b, enum rs_chain_id chain, enum rs_chain_id refuse)
{
        bool first = chain == CHAIN_DESTINATIONS, frames = chain == CHAIN_DESTINATIONS_FRAMES;
        /* At the end of output a packet that NAT sent elsewhere still carries the interface it was meant for:
         * there the address must say whether it stays here; and a frame may be put on any device. */
        struct rs_statement local = chain == CHAIN_DESTINATIONS_CGROUPS || frames
                                            ? is(FIELD_LOCAL, 1)
                                            : is(FIELD_OIF, LOOPBACK_INDEX);
        struct rs_statement pass = chain == CHAIN_DESTINATIONS_LAST ? go_to(CHAIN_PASSED) : back();

        /* tcp flags & rst == rst return: before all else, or the reset that tells the peer of a
         * severed connection would be refused, too. Only the kernel makes them for a subject; and
         * a reset that refuses comes from the peer's address. Who writes frames makes them with data in. */
        if (!frames)
                RULE(b, chain, exists(FIELD_TCP_RST), back());
        /* fib saddr type != local goto refuse_last: before all else that may answer, and dropped without one.
         * IPv6 lets anybody send from an address that is not this machine's (IPV6_FREEBIND); whatever answers
         * (an echo, an error that quotes the packet, a reject of ours) would carry it out for them, as the
         * kernel or as root. Only before NAT: that may put another source in; in a frame that is ours, too.
         */
        if (first || frames)
                RULE(b, chain, compare(FIELD_SOURCE, OP_NEQ, 1), go_to(CHAIN_REFUSE_LAST));
        detours(b, chain, refuse);
        /* Before the loopback: the resolver may be on this very machine. */
        if (!first) {
                rs_build_redirected(b, chain);
                /* jump astray; family netdev knows no connections */
                if (b->spec->destinations->dns == DNS_REDIRECT && !frames)
                        RULE(b, chain, jump_to(CHAIN_ASTRAY));
        }
        loopback(b, chain, refuse, local, first);
        /* Before the resolver ports: an endpoint that names its port wins over DNS=. */
        rs_build_services(b, chain);
        if (first)
                rs_build_to_be_redirected(b, chain);
        /* meta l4proto @tcp_udp th dport @dns_ports goto refuse: before the networks, which have resolvers,
         * too */
        if (b->r->sets[SET_DNS_PORTS].present)
                RULE(b, chain, in(FIELD_L4PROTO, SET_TCP_UDP), in(FIELD_DPORT, SET_DNS_PORTS), go_to(refuse));
        if (frames)
                ruleset_frame_resolvers(b, chain, refuse);
        /* ip daddr @allow4 return; ip6 daddr @allow6 return; in the last judgement: goto passed */
        if (filled(b, SET_ALLOW4))
                RULE(b, chain, in(FIELD_IP_DADDR, SET_ALLOW4), pass);
        if (filled(b, SET_ALLOW6))
                RULE(b, chain, in(FIELD_IP6_DADDR, SET_ALLOW6), pass);
        /* goto refuse */
        RULE(b, chain, go_to(refuse));
}

/* A datagram that lockdownd sends in a subject's name to try the rules (trial.h) is counted apart, so that it
 * is in nobody's record. By its mark, which takes a capability to set: a person cannot hide an attempt in
 * there. */
#define TRIAL_DATAGRAM is(FIELD_MARK, TRIAL_MARK), is(FIELD_L4PROTO, IPPROTO_UDP), is(FIELD_DPORT, TRIAL_PORT)

static void refuse_trial(struct builder *b, enum rs_chain_id chain)
{
        /* meta mark 4301 meta l4proto udp th dport 9 goto trial_refused */
        RULE(b, chain, TRIAL_DATAGRAM, go_to(CHAIN_TRIAL_REFUSED));
}

static void trials(struct builder *b)
{
        declare(b, CHAIN_TRIAL_REFUSED);
        declare(b, CHAIN_PASSED);
        RULE(b, CHAIN_TRIAL_REFUSED, count(COUNTER_TRIAL_REFUSED));
        RULE(b, CHAIN_TRIAL_REFUSED, drop());
        /* meta mark 4301 meta l4proto udp th dport 9 counter name trial_passed drop: both judgements let it
         * pass, and that was the question; whom it is addressed to hears nothing of it */
        RULE(b, CHAIN_PASSED, TRIAL_DATAGRAM, count(COUNTER_TRIAL_PASSED), drop());
}

static void refusal(struct builder *b)
{
        refuse_trial(b, CHAIN_REFUSE);
        /* counter name refused: all of it, also what finds no room in the book */
        RULE(b, CHAIN_REFUSE, count(COUNTER_REFUSED));
        RULE(b, CHAIN_REFUSE, jump_to(CHAIN_RECORD));
        if (b->spec->reset_established) {
                /* meta l4proto tcp reject with tcp reset */
                RULE(b, CHAIN_REFUSE, is(FIELD_L4PROTO, IPPROTO_TCP),
                     (struct rs_statement){.kind = RS_REJECT_RESET});
        } else {
                /* meta l4proto tcp tcp flags & syn == syn reject with tcp reset: connect() fails at once */
                RULE(b, CHAIN_REFUSE, is(FIELD_L4PROTO, IPPROTO_TCP), exists(FIELD_TCP_SYN),
                     (struct rs_statement){.kind = RS_REJECT_RESET});
                /* meta l4proto tcp drop: an established connection is severed next. A reset from here would
                 * only tell this end, and the peer would go on waiting. */
                RULE(b, CHAIN_REFUSE, is(FIELD_L4PROTO, IPPROTO_TCP), drop());
        }
        /* reject with icmpx admin-prohibited */
        RULE(b, CHAIN_REFUSE, (struct rs_statement){.kind = RS_REJECT_PROHIBITED});
}

/* Where nothing can be rejected. A packet comes to one refusal only, so that each is counted once. */
static void refusal_last(struct builder *b)
{
        if (b->r->family != NFPROTO_NETDEV)
                refuse_trial(b, CHAIN_REFUSE_LAST);
        RULE(b, CHAIN_REFUSE_LAST, count(COUNTER_REFUSED));
        RULE(b, CHAIN_REFUSE_LAST, jump_to(CHAIN_RECORD));
        RULE(b, CHAIN_REFUSE_LAST, drop());
}

/* Who tried to get where. The kinds of packets exclude each other; a full set ends its rule, no more. */
static void record_kinds(struct builder *b, enum rs_chain_id chain, enum rs_field owner)
{
        /* meta l4proto @with_ports update @attempts4 { meta skuid . meta l4proto . ip daddr . th dport } */
        RULE(b, chain, in(FIELD_L4PROTO, SET_WITH_PORTS),
             record(SET_ATTEMPTS4, owner, FIELD_IP_DADDR, FIELD_DPORT));
        /* meta l4proto != @with_ports update @attempts4 { meta skuid . meta l4proto . ip daddr . 0 } */
        RULE(b, chain, not_in(FIELD_L4PROTO, SET_WITH_PORTS),
             record(SET_ATTEMPTS4, owner, FIELD_IP_DADDR, FIELD_CONSTANT));
        /* the same two with ip6 daddr and @attempts6 */
        RULE(b, chain, in(FIELD_L4PROTO, SET_WITH_PORTS),
             record(SET_ATTEMPTS6, owner, FIELD_IP6_DADDR, FIELD_DPORT));
        RULE(b, chain, not_in(FIELD_L4PROTO, SET_WITH_PORTS),
             record(SET_ATTEMPTS6, owner, FIELD_IP6_DADDR, FIELD_CONSTANT));
}

static void recording(struct builder *b)
{
        /* meta skuid <= 4294967295 goto record_owned: true of every owner, broken off where there is none */
        RULE(b, CHAIN_RECORD, compare(FIELD_SKUID, OP_LTE, UINT32_MAX), go_to(CHAIN_RECORD_OWNED));
        record_kinds(b, CHAIN_RECORD, FIELD_CONSTANT);
        record_kinds(b, CHAIN_RECORD_OWNED, FIELD_SKUID);
}

/* Forward=deny: only what goes from inside to inside (the allowed networks), established or not. A source can
 * be made up, so what says it comes from outside is no better than what does not. */
static void forwarding(struct builder *b)
{
        const enum rs_chain_id chain = CHAIN_FORWARDED, refuse = CHAIN_REFUSE_FORWARDED;

        if (filled(b, SET_ALLOW4)) {
                /* By a detour: the next hop may be inside, the end is not known.
                 * ip option lsrr exists goto refuse_forwarded (and ssrr) */
                RULE(b, chain, exists(FIELD_LSRR), go_to(refuse));
                RULE(b, chain, exists(FIELD_SSRR), go_to(refuse));
                /* ip saddr @allow4 ip daddr @allow4 return */
                RULE(b, chain, in(FIELD_IP_SADDR, SET_ALLOW4), in(FIELD_IP_DADDR, SET_ALLOW4), back());
        }
        if (filled(b, SET_ALLOW6)) {
                /* exthdr rt exists goto refuse_forwarded */
                RULE(b, chain, exists(FIELD_ROUTING_HEADER), go_to(refuse));
                /* ip6 saddr @allow6 ip6 daddr @allow6 return */
                RULE(b, chain, in(FIELD_IP6_SADDR, SET_ALLOW6), in(FIELD_IP6_DADDR, SET_ALLOW6), back());
        }
        RULE(b, chain, go_to(refuse));
        /* Nobody here to tell, and no owner to record. */
        RULE(b, refuse, count(COUNTER_REFUSED));
        RULE(b, refuse, drop());
}

/* A base chain holds little but the jump: engaging costs the same whatever the judgement. */
static void hook(struct builder *b, enum rs_chain_id base, enum rs_chain_id target)
{
        declare(b, base);
        declare(b, target);
        RULE(b, base, jump_to(target));
}

/* In the base chain, for a jump would cost others as much again as asking who they are. */
static void hook_judgement(struct builder *b, enum rs_chain_id base, enum rs_chain_id subjects)
{
        if (!is_about_others(b, subjects))
                unmeant(b, base);
        hook(b, base, subjects);
}

static void build_chains(struct builder *b)
{
        hook_judgement(b, CHAIN_OUTPUT, CHAIN_SUBJECTS);
        declare(b, CHAIN_DESTINATIONS);
        declare(b, CHAIN_REFUSE);
        subjects(b, CHAIN_SUBJECTS, CHAIN_DESTINATIONS);
        destinations(b, CHAIN_DESTINATIONS, CHAIN_REFUSE);

        hook_judgement(b, CHAIN_POSTROUTING, CHAIN_SUBJECTS_LAST);
        declare(b, CHAIN_DESTINATIONS_LAST);
        declare(b, CHAIN_REFUSE_LAST);
        subjects(b, CHAIN_SUBJECTS_LAST, CHAIN_DESTINATIONS_LAST);
        destinations(b, CHAIN_DESTINATIONS_LAST, CHAIN_REFUSE_LAST);

        if (b->r->sets[SET_SESSIONS].present || b->r->sets[SET_UNITS].present) {
                hook(b, CHAIN_OUTPUT_LAST, CHAIN_SUBJECTS_CGROUPS);
                declare(b, CHAIN_DESTINATIONS_CGROUPS);
                subjects(b, CHAIN_SUBJECTS_CGROUPS, CHAIN_DESTINATIONS_CGROUPS);
                destinations(b, CHAIN_DESTINATIONS_CGROUPS, CHAIN_REFUSE_LAST);
        }

        declare(b, CHAIN_RECORD);
        declare(b, CHAIN_RECORD_OWNED);
        refusal(b);
        refusal_last(b);
        recording(b);
        trials(b);

        if (b->spec->destinations->dns == DNS_REDIRECT) {
                hook(b, CHAIN_OUTPUT_DNS, CHAIN_SUBJECTS_DNS);
                declare(b, CHAIN_REDIRECT);
                subjects(b, CHAIN_SUBJECTS_DNS, CHAIN_REDIRECT);
                rs_build_redirection(b);
        }
        if (b->spec->forward_deny) {
                hook(b, CHAIN_FORWARD, CHAIN_FORWARDED);
                declare(b, CHAIN_REFUSE_FORWARDED);
                forwarding(b);
        }
}

static void build_frame_chains(struct builder *b)
{
        static const enum rs_chain_id chains[] = {
                CHAIN_FRAME,       CHAIN_FRAME_TAGGED, CHAIN_DESTINATIONS_FRAMES,
                CHAIN_REFUSE_LAST, CHAIN_RECORD,       CHAIN_RECORD_OWNED};

        for (size_t i = 0; i < ELEMENTSOF(chains); i++)
                declare(b, chains[i]);
        /* meta rtclassid != 4294967295 return: in the base chain, for a jump would cost everybody's packets
         * as much again. No route has that realm, and being unequal is what the kernel asks fastest. */
        RULE(b, CHAIN_EGRESS, compare(FIELD_ROUTED, OP_NEQ, UINT32_MAX), back());
        hook(b, CHAIN_EGRESS, CHAIN_SUBJECTS_FRAMES);
        subjects(b, CHAIN_SUBJECTS_FRAMES, CHAIN_FRAME);
        ruleset_frame_rules(b);
        destinations(b, CHAIN_DESTINATIONS_FRAMES, CHAIN_REFUSE_LAST);
        refusal_last(b);
        recording(b);
}

static int build_table(const struct ruleset_spec *spec, uint8_t family, struct ruleset **ret)
{
        _cleanup_(ruleset_freep) struct ruleset *r = calloc(1, sizeof(*r));
        struct builder b = {.spec = spec, .r = r};

        if (!r)
                return -ENOMEM;
        r->family = family;
        if (asprintf(&r->table, TABLE_PREFIX "%s", spec->name) < 0) {
                r->table = NULL;
                return -ENOMEM;
        }
        b.error = ruleset_build_sets(r, spec);
        /* Family netdev cannot ask for a socket's control group. */
        if (family == NFPROTO_NETDEV) {
                rs_set_clear(&r->sets[SET_SESSIONS]);
                rs_set_clear(&r->sets[SET_UNITS]);
        }
        if (b.error == 0 && family == NFPROTO_NETDEV)
                build_frame_chains(&b);
        else if (b.error == 0)
                build_chains(&b);
        if (b.error < 0)
                return b.error;
        *ret = TAKE_PTR(r);
        return 0;
}

int ruleset_build(const struct ruleset_spec *spec, struct ruleset **ret)
{
        _cleanup_(ruleset_freep) struct ruleset *r = NULL;
        int e = build_table(spec, NFPROTO_INET, &r);

        if (e == 0 && spec->frames)
                e = build_table(spec, NFPROTO_NETDEV, &r->frames);
        if (e < 0)
                return e;
        *ret = TAKE_PTR(r);
        return 0;
}

void ruleset_keep_sizes(struct ruleset *r, const struct ruleset *old)
{
        for (unsigned i = 0; i < _SET_MAX; i++)
                r->sets[i].size = old->sets[i].size;
        if (r->frames)
                ruleset_keep_sizes(r->frames, old->frames);
}

void ruleset_set_order(struct ruleset *r, const char *id)
{
        (void)snprintf(r->order, sizeof(r->order), "%s", id);
}

const char *ruleset_table(const struct ruleset *r)
{
        return r->table;
}

struct ruleset *ruleset_free(struct ruleset *r)
{
        if (!r)
                return NULL;
        for (unsigned i = 0; i < _SET_MAX; i++)
                rs_set_clear(&r->sets[i]);
        for (unsigned i = 0; i < _CHAIN_MAX; i++)
                free(r->chains[i].rules);
        ruleset_free(r->frames);
        free(r->table);
        free(r);
        return NULL;
}
