/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "run.h"
#include <signal.h>

int main(int argc, char **argv)
{
        signal(SIGPIPE, SIG_IGN);
        return ctl_run(argc, argv);
}
