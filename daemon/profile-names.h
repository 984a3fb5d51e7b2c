/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LOCKDOWN_PROFILE_NAMES_H
#define LOCKDOWN_PROFILE_NAMES_H

/* Names in the configuration against what the directory said about them. Pure. */

#include "profile.h"
#include "subjects.h"

/* A sentence, with file and line, for each group or user of P that does not exist. */
void profile_check_names(const struct profile *p, const struct membership *m, struct problems *problems);
/* The same for the words of one right ("user", "@group"). */
void access_check_names(const struct words *configured, const struct membership *m,
                        struct problems *problems);

#endif
