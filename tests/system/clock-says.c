/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Preloaded into the daemon: whether the wall clock is synchronized, as a test says it. It is as long as the
 * file is there that CLOCK_SYNCHRONIZED names. */

#include <stdlib.h>
#include <string.h>
#include <sys/timex.h>
#include <unistd.h>

int adjtimex(struct timex *t)
{
        const char *path = getenv("CLOCK_SYNCHRONIZED");

        memset(t, 0, sizeof(*t));
        t->status = path && access(path, F_OK) == 0 ? STA_PLL : STA_UNSYNC;
        return t->status == STA_UNSYNC ? TIME_ERROR : TIME_OK;
}
