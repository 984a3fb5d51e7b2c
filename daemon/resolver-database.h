/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LOCKDOWN_RESOLVER_DATABASE_H
#define LOCKDOWN_RESOLVER_DATABASE_H

/* Inside the worker: single questions to the user and group databases (NSS), with "there is none" told apart
 * from "no answer". */

#include "words.h"
#include <grp.h>
#include <pwd.h>
#include <stdint.h>

struct database {
        char *buffer; /* what was found last lives here */
        size_t buffer_size;
        struct words passwd_directories, group_directories; /* services that may be out of reach */
        gid_t *gids;                                        /* of the user asked for last */
        int gids_capacity;
};

/* Reads nsswitch.conf. DB must be zeroed. -ENOMEM. */
int database_open(struct database *db);
/* By name, or by id if NAME is NULL. 1: found (valid until the next question), 0: there is none, -errno: no
 * answer, or -ENOMEM. */
int database_find_group(struct database *db, const char *name, gid_t gid, struct group *ret);
int database_find_user(struct database *db, const char *name, uid_t uid, struct passwd *ret);
/* All groups of one user, in DB->gids. The number of them, or -ENOMEM. */
int database_list_groups(struct database *db, const struct passwd *user);
void database_close(struct database *db);

#define _cleanup_database_ _cleanup_(database_close)

#endif
