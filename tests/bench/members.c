// SPDX-License-Identifier: GPL-2.0-or-later
/* members GROUP: the least that finds a group's members: getgrnam(), and one pass over all users for those
 * whose primary group it is. */
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>

#define BUFFER ((size_t)16 << 20)

int main(int argc, char **argv)
{
        struct group group, *found = NULL;
        const struct passwd *entry;
        char *buffer = malloc(BUFFER);
        size_t named = 0, primary = 0, users = 0;

        if (argc != 2 || !buffer || getgrnam_r(argv[1], &group, buffer, BUFFER, &found) != 0 || !found) {
                fprintf(stderr, "usage: members GROUP\n");
                return 2;
        }
        while (group.gr_mem[named])
                named++;
        while ((entry = getpwent())) {
                users++;
                primary += entry->pw_gid == group.gr_gid;
        }
        printf("%zu named, %zu primary, of %zu users\n", named, primary, users);
        free(buffer);
        return 0;
}
