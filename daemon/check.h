/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LOCKDOWN_CHECK_H
#define LOCKDOWN_CHECK_H

#include <stdbool.h>
#include <stdio.h>

/* `lockdownd --check`: reads the configuration in DIR (SYSTEM: as the daemon that systemd starts), asks the
 * directory (through a worker started from EXECUTABLE) whether the names exist, prints every mistake to
 * ERRORS or, if there is none, the canonical form to OUT. Touches neither the kernel nor the state. Returns
 * the exit status: 0 valid, 1 mistakes. */
int check_run(const char *dir, bool system, const char *executable, FILE *out, FILE *errors);

#endif
