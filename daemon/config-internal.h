/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LOCKDOWN_CONFIG_INTERNAL_H
#define LOCKDOWN_CONFIG_INTERNAL_H

/* Between config.c (files, the whole) and config-parse.c (the text of one file, its keys). */

#include "config.h"

/* Bytes of a line without its newline that inih takes in its default buffer of 200. Comments may be longer.
 */
#define CONFIG_LINE_MAX 198

/* Adds what TEXT says to C; FILE is its name in sentences. Mistakes go to PROBLEMS and do not stop it.
 * Returns 0 or -ENOMEM. */
int config_parse_text(struct config *c, const char *file, const char *text, size_t size,
                      struct problems *problems);

/* The candidate that is at most about a third of NAME's length in typing mistakes away; NULL: none. */
const char *nearest_name(const char *name, const char *const *candidates, size_t n);

#endif
