/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LOCKDOWN_TRUSTED_PATH_H
#define LOCKDOWN_TRUSTED_PATH_H

/* Edge to the file system: whose word is it that a path leads to? */

/* Can nobody but root, and who runs this, change what is found at PATH, or put something else in its place?
 * Looked at is everything on the way from the root directory, symbolic links included, which may lead
 * anywhere: each must belong to one of the two, and give nobody else the right to write. (In a sticky
 * directory others may not touch what is not theirs, so it may be on the way, but not at the end.) Returns 0;
 * -EPERM, with a sentence "PATH: …" in RET_WHY (allocated) that names what is wrong and what to do; or
 * another -errno, such as -ENOENT: what there is of the path may be trusted. */
int trusted_path(const char *path, char **ret_why);

#endif
