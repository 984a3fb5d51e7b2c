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
/* Opens files as that user from now on, as far as root can tell by /etc/passwd and /etc/group, until
 * own_act_as_root(). False: this process is not root, or there is no such user, and nothing has changed. For
 * a process with one thread. */
bool own_act_as_user(void);
void own_act_as_root(void);
/* Is CAPABILITY (CAP_…) in force? */
bool own_capability(unsigned capability);

#endif
