/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LOCKDOWN_RULESET_BUILDER_H
#define LOCKDOWN_RULESET_BUILDER_H

/* For those who build the table only (ruleset.c and its parts): one helper per statement. */

#include "ruleset-internal.h"
#include <errno.h>
#include <linux/netfilter.h>
#include <string.h>
#include <sys/socket.h>

#define LOOPBACK_INDEX 1 /* in every network namespace */

struct builder {
        const struct ruleset_spec *spec;
        struct ruleset *r;
        int error; /* the first; what comes after it does nothing */
};

static inline bool filled(const struct builder *b, enum rs_set_id set)
{
        return b->r->sets[set].n > 0;
}

/* Do the rules know where the relay listens? */
static inline bool has_relay(const struct builder *b)
{
        return filled(b, SET_RELAY4);
}

static inline void declare(struct builder *b, enum rs_chain_id chain)
{
        b->r->chains[chain].present = true;
}

void rs_add_rule(struct builder *b, enum rs_chain_id id, const struct rs_statement *statements, size_t n);

#define RULE(b, chain, ...)                                                     \
        do {                                                                    \
                const struct rs_statement _s[] = {__VA_ARGS__};                 \
                _Static_assert(ELEMENTSOF(_s) <= RS_STATEMENTS, "rule length"); \
                rs_add_rule(b, chain, _s, ELEMENTSOF(_s));                      \
        } while (0)

/* One helper per statement. */

static inline struct rs_statement compare(enum rs_field field, enum rs_op op, uint32_t value)
{
        return (struct rs_statement){.kind = RS_COMPARE, .fields = {field}, .op = op, .value = value};
}

static inline struct rs_statement below(enum rs_field field, uint32_t value)
{
        return compare(field, OP_BELOW, value);
}

static inline struct rs_statement outside(enum rs_field field, uint32_t first, uint32_t last)
{
        return (struct rs_statement){
                .kind = RS_COMPARE, .fields = {field}, .op = OP_OUTSIDE, .value = first, .last = last};
}

static inline struct rs_statement is(enum rs_field field, uint32_t value)
{
        return compare(field, OP_EQ, value);
}

static inline struct rs_statement exists(enum rs_field field)
{
        return compare(field, OP_EQ, 1);
}

static inline struct rs_statement in(enum rs_field field, enum rs_set_id set)
{
        return (struct rs_statement){.kind = RS_LOOKUP, .fields = {field}, .op = OP_EQ, .set = set};
}

static inline struct rs_statement cgroup_in(uint32_t level, enum rs_set_id set)
{
        return (struct rs_statement){
                .kind = RS_LOOKUP, .fields = {FIELD_CGROUP}, .op = OP_EQ, .value = level, .set = set};
}

static inline struct rs_statement not_in(enum rs_field field, enum rs_set_id set)
{
        return (struct rs_statement){.kind = RS_LOOKUP, .fields = {field}, .op = OP_NEQ, .set = set};
}

static inline struct rs_statement endpoint_in(enum rs_field daddr, enum rs_set_id set)
{
        return (struct rs_statement){
                .kind = RS_LOOKUP, .fields = {daddr, FIELD_L4PROTO, FIELD_DPORT}, .op = OP_EQ, .set = set};
}

static inline struct rs_statement record(enum rs_set_id set, enum rs_field owner, enum rs_field daddr,
                                         enum rs_field port)
{
        return (struct rs_statement){
                .kind = RS_RECORD, .fields = {owner, FIELD_L4PROTO, daddr, port}, .set = set};
}

static inline struct rs_statement count(enum rs_counter_id counter)
{
        return (struct rs_statement){.kind = RS_COUNT, .counter = counter};
}

static inline struct rs_statement drop(void)
{
        return (struct rs_statement){.kind = RS_VERDICT, .verdict = VERDICT_DROP};
}

static inline struct rs_statement back(void)
{
        return (struct rs_statement){.kind = RS_VERDICT, .verdict = VERDICT_RETURN};
}

static inline struct rs_statement jump_to(enum rs_chain_id chain)
{
        return (struct rs_statement){.kind = RS_VERDICT, .verdict = VERDICT_JUMP, .chain = chain};
}

static inline struct rs_statement go_to(enum rs_chain_id chain)
{
        return (struct rs_statement){.kind = RS_VERDICT, .verdict = VERDICT_GOTO, .chain = chain};
}

static inline struct rs_statement dnat_to(int family, const uint8_t *address, uint16_t port)
{
        struct rs_statement s = {.kind = RS_DNAT, .family = family, .port = port};

        memcpy(s.address, address, family == AF_INET ? 4 : 16);
        return s;
}

/* ruleset.c: Allow= endpoints pass. */
void rs_build_services(struct builder *b, enum rs_chain_id chain);
/* ruleset-subjects.c: who is judged, by TARGET; and, in a base chain, who leaves before that is even asked.
 */
void rs_build_subjects(struct builder *b, enum rs_chain_id chain, enum rs_chain_id target);
void rs_build_unmeant(struct builder *b, enum rs_chain_id base, enum rs_chain_id subjects);
/* ruleset-dns.c: DNS=ADDRESS, in the first judgement, in the second, and the chains of its own. */
void rs_build_to_be_redirected(struct builder *b, enum rs_chain_id chain);
void rs_build_redirected(struct builder *b, enum rs_chain_id chain);
void rs_build_redirection(struct builder *b);
/* ruleset-frames.c */
/* CHAIN_FRAME and CHAIN_FRAME_TAGGED: what kind of frame a subject wrote. */
void ruleset_frame_rules(struct builder *b);
/* The rules about resolver ports once more, for frames. */
void ruleset_frame_resolvers(struct builder *b, enum rs_chain_id chain, enum rs_chain_id refuse);

#endif
