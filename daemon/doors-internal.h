/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LOCKDOWN_DOORS_INTERNAL_H
#define LOCKDOWN_DOORS_INTERNAL_H

/* What the files doors*.c share. */

#include "doors-judge.h"

/* ---- doors-known.c ---- */

/* UNIT may be NULL. The unit says more than the program, the program more than the port. */
enum door_kind known_kind(const struct listener *l, const char *unit);
bool known_program(const char *program, enum door_kind *ret);
/* Which listen nearly everywhere and fetch nothing for others. A port: if it is root's. */
bool known_harmless_unit(const char *unit);
bool known_harmless_port(uint8_t protocol, uint16_t port);

/* ---- doors.c ---- */

/* The number that *TEXT begins with, after blanks; *TEXT is moved behind it. False if there is none, or a
 * larger one than an uid can be. */
bool next_number(char **text, uint32_t *ret);

#endif
