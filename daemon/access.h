/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LOCKDOWN_ACCESS_H
#define LOCKDOWN_ACCESS_H

/* Who may do what: the rights of [Access], judged by the caller's socket credentials. Pure. */

#include "idset.h"
#include "subjects.h"
#include "words.h"

enum right {
        RIGHT_ORDER,
        RIGHT_LIFT,
        RIGHT_STATUS,
        _RIGHT_MAX,
};

/* Who has one right. Zeroed: nobody. */
struct access_list {
        bool everybody;
        struct idset uids; /* users named, and members of groups named */
        struct idset gids; /* the groups themselves: for callers whose process carries the group */
};

/* A caller's credentials as the kernel (or the message bus) knows them. */
struct peer {
        uint32_t uid;
        int pid;
        uint32_t *gids; /* primary and supplementary */
        size_t n_gids;
};

/* The key of [Access] that gives it: "Order". */
const char *access_key(enum right right);
/* Splits the words of one right into those the databases must resolve (groups without the '@') and what needs
 * no look-up: "*" and root, who has every right whether he is named or not. Either list may come out empty.
 * Returns 0 or -ENOMEM. */
int access_prepare(const struct words *configured, struct access_list *ret, struct words *ret_users,
                   struct words *ret_groups);
/* Adds what the databases said. Returns 0 or -ENOMEM. */
int access_add(struct access_list *l, const struct membership *m);
bool access_allows(const struct access_list *l, const struct peer *p);
void access_clear(struct access_list *l);

#endif
