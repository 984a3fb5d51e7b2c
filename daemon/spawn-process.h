/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LOCKDOWN_SPAWN_PROCESS_H
#define LOCKDOWN_SPAWN_PROCESS_H

#include <stddef.h>
#include <sys/types.h>

/* Where a process that was started so finds the first descriptor it was given; the others follow. */
#define SPAWN_FD 3

/* Starts the file ARGV[0] with ARGV (ends with NULL), all signals at their defaults and nothing open but the
 * null device for input and output, our standard error, and N_FDS descriptors, which stay the caller's. 0
 * with its pid, or -errno. */
int spawn_process(char *const *argv, const int *fds, size_t n_fds, pid_t *ret);

#endif
