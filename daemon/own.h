/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LOCKDOWN_OWN_H
#define LOCKDOWN_OWN_H

/* Who this process is, and what is its own. systemd starts the daemon as the user OWN_USER
 * (systemd/lockdownd.service); started by hand it is root, and then what belongs to that user is its own,
 * too. */

#include <stdbool.h>
#include <sys/types.h>

#define OWN_USER "lockdownd"

/* Does what UID owns belong to this process? Asks /etc/passwd, not the directory, which may hang. */
bool own_uid(uid_t uid);
/* What root made in a directory of that user's (FD in DIRECTORY) is given to the directory's owner, who has
 * to get along with it next time. 0 or -errno: it stays root's. */
int own_give_away(int fd, int directory);
/* Opens files as that user does, as systemd would start it by /etc/passwd and /etc/group, until
 * own_act_as_root() with the same BEFORE. False, and nothing has changed: this process is not root, or there
 * is no such user, or the daemon is root for now, because something is not ready for that user
 * (systemd/lockdownd-user). For a process with one thread. */
struct own_rights {
        gid_t group, groups[64];
        int n_groups;
};
bool own_act_as_user(struct own_rights *before);
void own_act_as_root(const struct own_rights *before);
/* Is CAPABILITY (CAP_…) in force? */
bool own_capability(unsigned capability);

#endif
