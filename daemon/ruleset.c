// SPDX-License-Identifier: GPL-2.0-or-later
#include "ruleset-builder.h"
#include <arpa/inet.h>
#include <errno.h>
#include <linux/netfilter.h>
#include <string.h>

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
        rs_build_unmeant(b, base, subjects);
        hook(b, base, subjects);
}

static void build_chains(struct builder *b)
{
        hook_judgement(b, CHAIN_OUTPUT, CHAIN_SUBJECTS);
        declare(b, CHAIN_DESTINATIONS);
        declare(b, CHAIN_REFUSE);
        rs_build_subjects(b, CHAIN_SUBJECTS, CHAIN_DESTINATIONS);
        destinations(b, CHAIN_DESTINATIONS, CHAIN_REFUSE);

        hook_judgement(b, CHAIN_POSTROUTING, CHAIN_SUBJECTS_LAST);
        declare(b, CHAIN_DESTINATIONS_LAST);
        declare(b, CHAIN_REFUSE_LAST);
        rs_build_subjects(b, CHAIN_SUBJECTS_LAST, CHAIN_DESTINATIONS_LAST);
        destinations(b, CHAIN_DESTINATIONS_LAST, CHAIN_REFUSE_LAST);

        if (b->r->sets[SET_SESSIONS].present || b->r->sets[SET_UNITS].present) {
                hook(b, CHAIN_OUTPUT_LAST, CHAIN_SUBJECTS_CGROUPS);
                declare(b, CHAIN_DESTINATIONS_CGROUPS);
                rs_build_subjects(b, CHAIN_SUBJECTS_CGROUPS, CHAIN_DESTINATIONS_CGROUPS);
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
                rs_build_subjects(b, CHAIN_SUBJECTS_DNS, CHAIN_REDIRECT);
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
        rs_build_subjects(b, CHAIN_SUBJECTS_FRAMES, CHAIN_FRAME);
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

void ruleset_set_compared(struct ruleset *r, bool compared)
{
        r->compared = compared;
        if (r->frames)
                ruleset_set_compared(r->frames, compared);
}

bool ruleset_is_compared(const struct ruleset *r)
{
        return r->compared;
}

size_t ruleset_n_members(const struct ruleset *r)
{
        return r->sets[SET_UIDS].n + r->sets[SET_UID_RANGES].n + r->sets[SET_GIDS].n +
               r->sets[SET_GID_RANGES].n + r->sets[SET_EXCEPT_UIDS].n;
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
