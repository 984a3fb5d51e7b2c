/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LOCKDOWN_UNIT_PATTERNS_H
#define LOCKDOWN_UNIT_PATTERNS_H

/* The words of Services=: names of systemd units, as systemctl(1) takes them. Without a suffix ".service" is
 * meant; "*", "?" and "[…]" match as in a shell. Pure. */

#include "words.h"

/* What is wrong with PATTERN, for a person; NULL: nothing. */
const char *unit_pattern_problem(const char *pattern);
/* Does PATTERN mean the unit NAME ("cups.service")? */
bool unit_pattern_matches(const char *pattern, const char *name);
/* The first of PATTERNS that means the unit NAME, or NULL. */
const char *unit_patterns_find(const struct words *patterns, const char *name);

#endif
