/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LOCKDOWN_CONFIG_H
#define LOCKDOWN_CONFIG_H

/* The configuration: DIR/lockdownd.conf, then DIR/lockdownd.conf.d/ *.conf by name. Names of groups and users
 * are kept as written; whether they exist is the resolver's to say. */

#include "profile.h"
#include "record.h"
#include "words.h"
#include <stdio.h>

struct config {
        struct words access_order, access_lift, access_status; /* "root", "@group", "*" */
        struct record_bounds record;
        struct profile **profiles; /* in the order of their names */
        size_t n_profiles;
};

/* Reads everything and reports every mistake it finds, each as one sentence "FILE:LINE: …" with what is
 * expected. A missing lockdownd.conf is no mistake (the defaults apply: no profiles; Order and Lift for root,
 * Status for all). Returns 0 and a configuration, or -EINVAL (see PROBLEMS), -ENOMEM, another -errno; RET
 * untouched on failure. PROBLEMS may be NULL. */
int config_load(const char *dir, struct config **ret, struct problems *problems);
/* The same for who acts upon it: a file or directory that somebody else than root (and who runs this) could
 * change, or replace on the way to it (trusted-path.h), is a mistake, too. */
int config_load_trusted(const char *dir, struct config **ret, struct problems *problems);
/* The canonical form: every key with its value in force, in a form config_load() accepts. */
int config_write(const struct config *c, FILE *f);

struct profile *config_find(const struct config *c, const char *name); /* NULL if there is none; owned by C */
/* The configured name nearest to NAME (for "did you mean"), NULL if none is near. Owned by C. */
const char *config_nearest(const struct config *c, const char *name);
/* The built-in configuration used while the files cannot be read: no profiles, root only. NULL: no memory. */
struct config *config_new_default(void);
struct config *config_free(struct config *c); /* returns NULL */

DEFINE_CLEANUP(struct config *, config_free)

#endif
