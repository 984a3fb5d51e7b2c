/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LOCKDOWN_TEST_LAUNCHED_H
#define LOCKDOWN_TEST_LAUNCHED_H

/* For tests with a launcher that is a child of theirs: what has it started? */

#include <stdio.h>
#include <sys/types.h>

/* The first child of PID, 0: it has none. */
static inline pid_t child_of(pid_t pid)
{
        char path[64];
        int child = 0;
        FILE *f;

        snprintf(path, sizeof(path), "/proc/%d/task/%d/children", pid, pid);
        f = fopen(path, "re");
        if (f && fscanf(f, "%d", &child) != 1)
                child = 0;
        if (f)
                fclose(f);
        return child;
}

#endif
