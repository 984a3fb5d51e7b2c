/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LOCKDOWN_RESOLVER_INTERNAL_H
#define LOCKDOWN_RESOLVER_INTERNAL_H

/* Between the parts of the resolver: what the daemon and its worker process say to each other (each message
 * is text lines), and the lookups of the worker. */

#include "resolver.h"
#include "worker.h"

struct resolver_request {
        bool wants_names;  /* the names of UIDS; or … */
        bool wants_person; /* … all about the first of USERS; otherwise members */
        struct words groups, users, except_groups, except_users;
        uint32_t *uids; /* those to be named, or those seen on the machine */
        size_t n_uids;
};

/* Each returns a new text (the caller frees). -ENOMEM, -EMSGSIZE. */
int resolver_encode_query(const struct resolver_query *query, char **ret, size_t *ret_size);
int resolver_encode_uids(const uint32_t *uids, size_t n, char **ret, size_t *ret_size);
int resolver_encode_person(const char *user, char **ret, size_t *ret_size);
/* -EBADMSG, -ENOMEM; RET must be zeroed. */
int resolver_request_parse(const char *text, size_t size, struct resolver_request *ret);
void resolver_request_clear(struct resolver_request *request);

/* A list of N names, NULL where there is none. Parsing gives an array of exactly N (resolver_names_free()).
 */
void resolver_write_names(char *const *names, size_t n, FILE *f);
int resolver_parse_names(const char *text, size_t size, size_t n, char ***ret);
char **resolver_names_free(char **names, size_t n); /* returns NULL */

/* The lookups; they block as long as the databases do. RET must be zeroed. */
int resolver_find_members(const struct resolver_request *request, struct membership *ret);
/* NAMES has room for N pointers, all NULL. */
int resolver_find_names(const uint32_t *uids, size_t n, char **names);
/* USER: a name or a uid. Whether the directory answered stands in RET. */
int resolver_find_person(const char *user, struct person *ret);

#define _cleanup_resolver_request_ _cleanup_(resolver_request_clear)

#endif
