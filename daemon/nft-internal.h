/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LOCKDOWN_NFT_INTERNAL_H
#define LOCKDOWN_NFT_INTERNAL_H

/* Inside the edge to nf_tables (nft*.c) only. */

#include "nft.h"
#include "ruleset-internal.h"
#include <libmnl/libmnl.h>
#include <libnftnl/rule.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <net/if.h>
#include <stdatomic.h>

#ifndef NFT_TABLE_F_PERSIST
#define NFT_TABLE_F_PERSIST 0x4 /* Linux 6.9 */
#endif

/* The devices of this network namespace at a moment, sorted by index. */
struct nft_devices {
        struct nft_device *items;
        size_t n;
};

struct nft {
        struct mnl_socket *socket;
        uint32_t portid;
        uint32_t sequence;
        atomic_uint_fast64_t changes;      /* transactions sent */
        const struct nft_reading *reading; /* whose questions these are: with it they end; NULL: nobody's */
        uint32_t table_flags;              /* what tables are created with */
        size_t send_buffer;                /* of the socket, bytes */
        char *message;                     /* room for one, zero behind the one that it holds */
        char *no_frames;                   /* why family netdev is of no use here; NULL: it is */
        struct nft_devices noted;          /* by nft_note_devices(); none: never, or that failed */
};

/* nft-batch.c: one transaction. Its functions do nothing after the first failure, which nft_batch_send()
 * returns. */
struct nft_batch {
        struct nft *nft;
        const char *table; /* named in errors; borrowed */
        uint8_t family;    /* of what is written: NFPROTO_INET until it is changed */
        char *buffer;
        size_t length, capacity;
        struct nft_batch_object *objects; /* one a message */
        size_t n_objects, objects_capacity;
        uint32_t first_sequence;
        int error;
};

void nft_batch_begin(struct nft_batch *b, struct nft *n, const char *table);
/* Begins a message about the object WHAT ("chain") NAME, which must stay until the batch is sent. NULL after
 * a failure. There is room for NFT_MESSAGE_MAX bytes behind the header. */
struct nlmsghdr *nft_batch_message(struct nft_batch *b, uint16_t type, uint16_t flags, const char *what,
                                   const char *name);
void nft_batch_add(struct nft_batch *b, const struct nlmsghdr *message);
void nft_batch_fail(struct nft_batch *b, int error);
/* Sends all, takes every acknowledgement, and maps the first error to its object. The kernel's word about it
 * stands in RET_ERROR (may be NULL). */
int nft_batch_send(struct nft_batch *b, char **ret_error);
void nft_batch_clear(struct nft_batch *b);

#define NFT_MESSAGE_MAX (128 * 1024)

/* nft-dump.c: one question. */
typedef int (*nft_answer_t)(const struct nlmsghdr *message, void *userdata);
struct nft_question {
        uint16_t type;     /* NFT_MSG_GET… */
        uint8_t family;    /* 0: NFPROTO_INET */
        bool dump;         /* all that match, else the one named */
        const char *table; /* may be NULL with DUMP */
        const char *name;  /* of the object in the table; may be NULL */
        uint32_t object;   /* NFT_OBJECT_…, 0: not an object */
        nft_answer_t answer;
        void (*again)(void *userdata); /* the table changed under the dump: forget what was answered */
        void *userdata;
};
int nft_ask(struct nft *n, const struct nft_question *q);
/* The answer was lost, or the kernel had no memory or was busy: it may be otherwise the next time. */
bool nft_may_pass(int error);

/* The base chains of a table are its hooks. */
#define NFT_ORDER_COMMENT "order " /* followed by the id */
struct nft_chain_state {
        uint8_t family;
        char *table, *name, *type; /* TYPE: NULL unless it is a base chain */
        char *device;              /* that it is hooked up at, or NULL */
        char order[33];            /* id of the order that engaged it, or empty */
        uint32_t hooknum, policy;
        int32_t priority;
};
struct nft_chain_list {
        struct nft_chain_state *items;
        size_t n;
};
/* The chains of all tables, or of TABLE, in families inet and netdev. RET must be zeroed. */
int nft_read_chains(struct nft *n, const char *table, struct nft_chain_list *ret);
void nft_chain_list_clear(struct nft_chain_list *l);

struct nft_table_state {
        bool exists;
        uint32_t flags;
        uint32_t owner; /* port id of the socket that owns it, 0: none */
        uint64_t handle;
};
int nft_table_state(struct nft *n, uint8_t family, const char *table, struct nft_table_state *ret);
/* The families in which a lockdown has tables. */
extern const uint8_t nft_families[2];
struct nft_presence {
        bool in[2]; /* of nft_families */
};
int nft_is_present(struct nft *n, const char *table, struct nft_presence *ret);
bool nft_is_anywhere(const struct nft_presence *p);
char *nft_table_name(const char *profile); /* newly allocated */

/* nft-set.c: sets and their elements. */
void nft_put_set(struct nft_batch *b, const char *table, enum rs_set_id id, const struct rs_set *s);
/* TYPE: NFT_MSG_NEWSETELEM or NFT_MSG_DELSETELEM. */
void nft_put_elements(struct nft_batch *b, uint16_t type, const char *table, enum rs_set_id id,
                      const struct rs_set *s);
void nft_flush_set(struct nft_batch *b, const char *table, enum rs_set_id id);
uint32_t nft_set_flags(enum rs_set_id id);
/* Reads the elements of a set as a ruleset has them. -ENOENT: no such set; -EBADMSG: they make no sense. */
int nft_read_set(struct nft *n, uint8_t family, const char *table, enum rs_set_id id, struct rs_set *ret);

/* nft.c: a socket that only asks; nothing else of N is of use. 0 or -errno; the caller closes N->socket, if
 * there is one. */
int nft_open_reader(struct nft *n);

/* nft-verify.c: elements of a set that is not read without need */
#define NFT_LARGE_SET 1000
/* Are the elements of this set of R read to compare them? */
bool nft_compares_elements(const struct nft *n, const struct ruleset *r, enum rs_set_id id);

/* nft-large.c: nobody wants to know any more, or it is not true any more. */
bool nft_reading_is_over(const struct nft_reading *g);
/* What was read of this set of R; NULL: nothing. It stays G's, which may be NULL. */
const struct rs_set *nft_reading_find(const struct nft_reading *g, const struct ruleset *r,
                                      enum rs_set_id id);
/* A key between the kernel's form and a ruleset's, in place (its own inverse). */
void nft_swap_key(enum rs_set_id id, uint8_t *key);
/* The elements of A that B does not have. RET must be zeroed. */
int nft_set_without(const struct rs_set *a, const struct rs_set *b, enum rs_set_id id, struct rs_set *ret);

/* nft-rule.c: NULL when out of memory. The caller frees with nftnl_rule_free(). */
struct nftnl_rule *nft_rule_new(uint8_t family, const char *table, const char *chain,
                                const struct rs_rule *rule);

/* nft-objects.c */
void nft_put_table(struct nft_batch *b, const char *table, uint32_t flags);
void nft_delete_table(struct nft_batch *b, const char *table); /* in the batch's family */
void nft_delete_tables(struct nft_batch *b, const char *table, const struct nft_presence *where);
void nft_put_counters(struct nft_batch *b, const char *table); /* those of the batch's family */
void nft_delete_counters(struct nft_batch *b, const char *table);
/* ORDER: id written as the comment of a base chain; may be empty. DEVICE: of an egress chain, else NULL. */
struct nft_device {
        unsigned index;
        char name[IF_NAMESIZE];
        char chain[32]; /* that hooks up there */
        bool hooked;    /* see nft_find_hooked() */
};
void nft_put_chain(struct nft_batch *b, const char *table, enum rs_chain_id id, const char *order,
                   const struct nft_device *device);
void nft_delete_chain(struct nft_batch *b, const char *table, const char *name);
/* NAME: NULL for the chain's own. */
void nft_put_rules(struct nft_batch *b, const char *table, enum rs_chain_id id, const char *name,
                   const struct rs_chain *c);
void nft_flush_rules(struct nft_batch *b, const char *table, enum rs_chain_id id);

/* Calls WITH for every element in an answer to NFT_MSG_GETSETELEM until it fails. */
int nft_for_each_element(const struct nlmsghdr *message,
                         int (*with)(const struct nlattr *element, void *userdata), void *userdata);
/* The value in a key's attribute, which must be LENGTH bytes long. -EBADMSG. */
int nft_copy_value(const struct nlattr *attribute, uint8_t *value, size_t length);

/* for every attribute inside NEST (libmnl's own macro does not compile with our warnings) */
#define NFT_FOR_EACH_NESTED(attribute, nest)                                                            \
        for (const struct nlattr *attribute = mnl_attr_get_payload(nest);                               \
             mnl_attr_ok(attribute, (int)((const char *)mnl_attr_get_payload(nest) +                    \
                                          mnl_attr_get_payload_len(nest) - (const char *)(attribute))); \
             (attribute) = mnl_attr_next(attribute))

void nft_say(char **ret_error, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* nft-devices.c */
int nft_read_devices(struct nft_devices *ret);
void nft_devices_clear(struct nft_devices *d);
/* Adds the chain that hooks FRAMES up at D. */
void nft_put_device_hook(struct nft_batch *b, const char *table, const struct ruleset *frames,
                         const char *order, const struct nft_device *d);
/* Marks the devices that a chain of CHAINS is hooked up at, under the name they have now. */
void nft_find_hooked(struct nft_devices *d, const struct nft_chain_list *chains);

/* nft-replace.c */
/* ORDER as for nft_put_chain(). DEVICES: where R's rules for frames are hooked up. */
void nft_put_hooks(struct nft_batch *b, const char *table, const struct ruleset *r, const char *order,
                   const struct nft_devices *devices);
enum nft_listing {
        LIST_DEVICES,     /* those of the moment, or none if they cannot be listed */
        LIST_ALL_DEVICES, /* those of the moment: an error if they cannot be listed, and nothing is changed */
        NOTED_DEVICES     /* those of nft_note_devices(), or else LIST_DEVICES */
};
/* Switches hooks by BUILD, which fills the batch, with these devices; again with those of the moment where
 * they changed meanwhile, and at last without any rather than not at all: then it returns 1, and
 * nft_cover_devices() is to follow. */
typedef void (*nft_build_t)(struct nft_batch *b, const struct nft_devices *devices, const void *userdata);
int nft_send_hooks(struct nft *n, const char *table, const struct ruleset *r, enum nft_listing listing,
                   nft_build_t build, const void *userdata, char **ret_error);
void nft_delete_hooks(struct nft_batch *b, const struct nft_chain_list *chains);
/* The table that stands in for TABLE while that is changed: newly allocated. */
#define HOLD_PREFIX "lockdownd.hold."
char *nft_hold_name(const char *table);

#define _cleanup_devices_ _cleanup_(nft_devices_clear)
#define _cleanup_chain_list_ _cleanup_(nft_chain_list_clear)
#define _cleanup_batch_ _cleanup_(nft_batch_clear)
#define _cleanup_rs_set_ _cleanup_(rs_set_clear)

#endif
