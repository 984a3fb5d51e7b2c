/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LOCKDOWN_RULESET_INTERNAL_H
#define LOCKDOWN_RULESET_INTERNAL_H

/* The table as data, for its builder (ruleset*.c) and its writers (ruleset-text.c, nft-*.c) only. */

#include "ruleset.h"

/* Data types as nft(8) names them; keys are built of up to four. */
enum rs_type {
        TYPE_NONE,
        TYPE_UID,
        TYPE_GID,
        TYPE_CGROUP,
        TYPE_IPV4,
        TYPE_IPV6,
        TYPE_PROTO,
        TYPE_SERVICE,
};

struct rs_type_info {
        const char *name; /* nft's */
        uint32_t id;      /* nft's number, kept by the kernel for nft's listings */
        size_t length;    /* bytes */
        bool host_order;  /* in the kernel's registers */
};
const struct rs_type_info *rs_type_info(enum rs_type type);

#define RS_KEY_FIELDS 4
#define RS_KEY_MAX 40 /* bytes of the longest key: attempts6 */

/* In the order in which they are written. */
enum rs_set_id {
        SET_UIDS,
        SET_UID_RANGES,
        SET_GIDS,
        SET_GID_RANGES,
        SET_EXCEPT_UIDS,
        SET_EXCEPT_GIDS,
        SET_SESSIONS,
        SET_UNITS,
        SET_ALLOW4,
        SET_ALLOW6,
        SET_ALLOW4_SERVICE,
        SET_ALLOW6_SERVICE,
        SET_LOOPBACK_PORTS,
        SET_DNS_PORTS,
        SET_DNS4,
        SET_DNS6,
        SET_RELAY4,
        SET_RELAY6,
        SET_TCP_UDP,
        SET_WITH_PORTS,
        SET_ATTEMPTS4,
        SET_ATTEMPTS6,
        _SET_MAX,
};

struct rs_set_info {
        const char *name;
        enum rs_type fields[RS_KEY_FIELDS];
        bool interval;
        bool bounded; /* has a size, with headroom (hash sets that follow the membership) */
        bool dynamic; /* filled by the kernel: the attempts */
};
const struct rs_set_info *rs_set_info(enum rs_set_id id);
size_t rs_set_n_fields(enum rs_set_id id);
/* Bytes of a field inside a key (the fields of a concatenation are padded to four), and of the whole key. */
size_t rs_field_length(enum rs_set_id id, size_t field);
size_t rs_key_length(enum rs_set_id id);

/* Elements are kept as the kernel keeps them but always most significant byte first, so that memcmp() orders
 * them: N keys, or with an interval set N pairs of first and last (both included). Sorted. */
struct rs_set {
        bool present;
        uint32_t size; /* 0: not bounded */
        size_t n;
        uint8_t *elements;
};
size_t rs_element_length(enum rs_set_id id); /* a key, or a pair of keys */
/* Up to MOST elements from the one with index FROM on. They stay S's. */
struct rs_set rs_set_part(const struct rs_set *s, enum rs_set_id id, size_t from, size_t most);
/* Makes room for N elements, zeroed; they count as there. Returns 0 or -ENOMEM. */
int rs_set_allocate(struct rs_set *s, enum rs_set_id id, size_t n);
void rs_set_sort(struct rs_set *s, enum rs_set_id id);
bool rs_set_equal(const struct rs_set *a, const struct rs_set *b, enum rs_set_id id);
void rs_set_clear(struct rs_set *s);

enum rs_chain_id {
        /* the first judgement, before NAT: the address the program asked for */
        CHAIN_SUBJECTS,
        CHAIN_DESTINATIONS,
        CHAIN_REFUSE,
        /* the second: where the packet really goes */
        CHAIN_SUBJECTS_LAST,
        CHAIN_DESTINATIONS_LAST,
        CHAIN_REFUSE_LAST,
        /* the second for control groups (sessions, units), which postrouting cannot ask for */
        CHAIN_SUBJECTS_CGROUPS,
        CHAIN_DESTINATIONS_CGROUPS,
        /* the book of what was refused */
        CHAIN_RECORD,
        CHAIN_RECORD_OWNED,
        /* a trial's datagrams: ends of the way, beside the book */
        CHAIN_TRIAL_REFUSED,
        CHAIN_PASSED,
        /* DNS=ADDRESS */
        CHAIN_SUBJECTS_DNS,
        CHAIN_REDIRECT,
        CHAIN_TO_RELAY,
        CHAIN_RELAY,
        CHAIN_ASTRAY,
        /* Forward=deny */
        CHAIN_FORWARDED,
        CHAIN_REFUSE_FORWARDED,
        /* netdev: what packet sockets write */
        CHAIN_SUBJECTS_FRAMES,
        CHAIN_FRAME,
        CHAIN_FRAME_TAGGED,
        CHAIN_DESTINATIONS_FRAMES,
        /* base chains: what engaging adds */
        CHAIN_OUTPUT,
        CHAIN_OUTPUT_DNS,
        CHAIN_OUTPUT_LAST,
        CHAIN_POSTROUTING,
        CHAIN_FORWARD,
        CHAIN_EGRESS, /* one for each device: its name is only the beginning */
        _CHAIN_MAX,
};

struct rs_chain_info {
        const char *name;
        const char *type; /* "filter", "nat"; NULL: no base chain */
        const char *hook; /* nft's name */
        uint32_t hooknum; /* NF_INET_…, NF_NETDEV_… */
        int32_t priority;
        bool tracked; /* its rules need connection tracking */
};
const struct rs_chain_info *rs_chain_info(enum rs_chain_id id);
static inline bool rs_chain_is_base(enum rs_chain_id id)
{
        return rs_chain_info(id)->type != NULL;
}
/* A rule that needs connection tracking has the kernel track all packets of everybody for as long as it is
 * there, hooked up or not. So such chains are empty while the table is merely staged. */
static inline bool rs_chain_has_rules(enum rs_chain_id id, bool engaged)
{
        return engaged || !(rs_chain_is_base(id) || rs_chain_info(id)->tracked);
}

/* What a packet can be asked for. */
enum rs_field {
        FIELD_NONE,
        FIELD_SKUID,
        FIELD_SKGID,
        FIELD_MARK,
        FIELD_CGROUP,  /* socket cgroupv2 level VALUE of the statement */
        FIELD_NFPROTO, /* NFPROTO_IPV4, NFPROTO_IPV6 */
        FIELD_L4PROTO, /* IPPROTO_… */
        FIELD_IIF,     /* interface index, 0: none */
        FIELD_OIF,     /* likewise */
        FIELD_SOURCE,  /* fib saddr type local, likewise */
        FIELD_LOCAL,   /* fib daddr type local: 1 or 0 */
        FIELD_IP_SADDR,
        FIELD_IP_DADDR,
        FIELD_IP6_SADDR,
        FIELD_IP6_DADDR,
        FIELD_DPORT,
        FIELD_CT_DIRECTION,  /* ct direction, 0: original */
        FIELD_CT_ASKED_PORT, /* ct original proto-dst: before any translation */
        FIELD_TCP_RST,       /* tcp flags & rst == rst: 1 */
        FIELD_TCP_SYN,       /* tcp flags & syn == syn: 1 */
        FIELD_ICMPV6_TYPE,
        FIELD_ROUTING_HEADER, /* exthdr rt exists: 1 */
        FIELD_LSRR,           /* ip option lsrr exists: 1 */
        FIELD_SSRR,
        FIELD_ROUTED,      /* meta rtclassid: broken off where the packet has no route */
        FIELD_DEVICE_TYPE, /* ARPHRD_… of the device it leaves by */
        FIELD_PROTOCOL,    /* ETH_P_… as the kernel believes it to be */
        FIELD_ETHER_TYPE,  /* … and as it stands in the frame */
        FIELD_TAG,         /* first byte of the tag in a frame with one */
        FIELD_TAGGED_TYPE, /* what is behind the tag */
        FIELD_NEXT_HEADER, /* of IPv6: as it stands in the first header */
        FIELD_IP6_DPORT,   /* the port where there is nothing between it and the first header */
        FIELD_CONSTANT,    /* in keys of RS_RECORD only: all ones for a uid, else zero */
};

enum rs_kind {
        RS_COMPARE, /* fields[0] OP value */
        RS_LOOKUP,  /* fields… [not] in set */
        RS_RECORD,  /* update @set { fields… } */
        RS_COUNT,   /* counter name … */
        RS_VERDICT,
        RS_REJECT_RESET,
        RS_REJECT_PROHIBITED,
        RS_DNAT, /* to address, and port unless that is 0 */
};

enum rs_op {
        OP_EQ,
        OP_NEQ,
        OP_LTE,
        OP_GTE,
        OP_OUTSIDE, /* neither from VALUE to LAST nor one of them */
        OP_BELOW,   /* less than VALUE, a power of two: asked as a mask, which is faster */
};

/* Family netdev has the first alone. */
enum rs_counter_id {
        COUNTER_REFUSED,
        COUNTER_TRIAL_REFUSED,
        COUNTER_TRIAL_PASSED,
        _COUNTER_MAX,
};
const char *rs_counter_name(enum rs_counter_id id);
bool rs_has_counter(uint8_t family, enum rs_counter_id id);

enum rs_verdict {
        VERDICT_DROP,
        VERDICT_RETURN,
        VERDICT_JUMP,
        VERDICT_GOTO,
};

struct rs_statement {
        enum rs_kind kind;
        enum rs_field fields[RS_KEY_FIELDS];
        enum rs_op op;  /* RS_COMPARE; RS_LOOKUP: OP_NEQ is "not in" */
        uint32_t value; /* RS_LOOKUP of FIELD_CGROUP: the level */
        uint32_t last;  /* OP_OUTSIDE */
        enum rs_set_id set;
        enum rs_counter_id counter;
        enum rs_verdict verdict;
        enum rs_chain_id chain;
        int family; /* RS_DNAT: AF_INET, AF_INET6 */
        uint8_t address[16];
        uint16_t port;
};

#define RS_STATEMENTS 12

struct rs_rule {
        struct rs_statement statements[RS_STATEMENTS];
        size_t n;
};

struct rs_chain {
        bool present;
        struct rs_rule *rules;
        size_t n;
};

struct ruleset {
        uint8_t family; /* NFPROTO_INET; of FRAMES: NFPROTO_NETDEV */
        char *table;
        char order[33]; /* id, or empty */
        struct rs_set sets[_SET_MAX];
        struct rs_chain chains[_CHAIN_MAX];
        struct ruleset *frames; /* the table of the same name in family netdev, or NULL */
        bool compared;          /* ruleset_set_compared() */
};

bool rs_chain_equal(const struct rs_chain *a, const struct rs_chain *b);
/* Does one of its rules count into a counter with a name? */
bool rs_chain_counts(const struct rs_chain *c);

/* ruleset-sets.c: fills the sets the spec asks for. Returns 0 or -ENOMEM. */
int ruleset_build_sets(struct ruleset *r, const struct ruleset_spec *spec);

#endif
