/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "run.h"
#include <signal.h>
#include <stdlib.h>

int main(int argc, char **argv)
{
        /* The C library looks for a changed time zone with each date that it writes, unless it has been given
         * one. */
        setenv("TZ", ":/etc/localtime", 0);
        signal(SIGPIPE, SIG_IGN);
        return ctl_run(argc, argv);
}
