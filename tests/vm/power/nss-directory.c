/* SPDX-License-Identifier: GPL-2.0-or-later */

/* A directory whose server may not be there: it knows one group, DIRECTORY_GROUP with DIRECTORY_MEMBER, and
 * whoever asks for any group waits until /run/directory exists. */

#include <errno.h>
#include <grp.h>
#include <nss.h>
#include <string.h>
#include <unistd.h>

enum nss_status _nss_directory_getgrnam_r(const char *name, struct group *result, char *buffer, size_t size,
                                          int *error);

enum nss_status _nss_directory_getgrnam_r(const char *name, struct group *result, char *buffer, size_t size,
                                          int *error)
{
        static char group[] = DIRECTORY_GROUP, password[] = "x", member[] = DIRECTORY_MEMBER;
        static char *members[] = {member, NULL};

        (void)buffer;
        (void)size;
        (void)error;
        while (access("/run/directory", F_OK) < 0)
                (void)sleep(1);
        if (strcmp(name, DIRECTORY_GROUP) != 0)
                return NSS_STATUS_NOTFOUND;
        *result = (struct group){
                .gr_name = group, .gr_passwd = password, .gr_gid = DIRECTORY_GID, .gr_mem = members};
        return NSS_STATUS_SUCCESS;
}
