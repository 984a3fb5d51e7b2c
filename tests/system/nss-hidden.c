/* SPDX-License-Identifier: GPL-2.0-or-later */

/* A directory that does not enumerate: it lists nobody as a member of a group, and knows the groups of
 * whoever is asked for by name. HIDDEN_USER belongs to HIDDEN_GROUP. */

#include <errno.h>
#include <nss.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>

enum nss_status _nss_hidden_initgroups_dyn(const char *user, gid_t skip, long *start, long *size,
                                           gid_t **groups, long limit, int *error);

enum nss_status _nss_hidden_initgroups_dyn(const char *user, gid_t skip, long *start, long *size,
                                           gid_t **groups, long limit, int *error)
{
        (void)skip;
        (void)limit;
        if (strcmp(user, HIDDEN_USER) != 0)
                return NSS_STATUS_NOTFOUND;
        if (*start == *size) {
                gid_t *more = reallocarray(*groups, (size_t)*size + 16, sizeof(**groups));

                if (!more) {
                        *error = ENOMEM;
                        return NSS_STATUS_TRYAGAIN;
                }
                *groups = more;
                *size += 16;
        }
        (*groups)[(*start)++] = HIDDEN_GROUP;
        return NSS_STATUS_SUCCESS;
}
