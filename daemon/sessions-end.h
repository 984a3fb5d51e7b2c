/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LOCKDOWN_SESSIONS_END_H
#define LOCKDOWN_SESSIONS_END_H

/* Killing the processes of a session. No logind here: it may hang, and would ask politely first. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Kills PIDS, found in the control group of session ID of UID, and all that descends from them, wherever that
 * is by now; not the calling process. A process that is not in that session any more is left alone. *RET_N:
 * how many were killed. Returns 0 or -errno; those found until then are killed either way. */
int session_kill(uint32_t uid, const char *id, const uint64_t *pids, size_t n, size_t *ret_n);
/* Is one of them root's, or one that hides its memory, as both halves of an sshd do? */
bool session_has_login(const uint64_t *pids, size_t n);

#endif
