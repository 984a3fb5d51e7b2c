/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "run.h"
#include <locale.h>
#include <signal.h>

int main(int argc, char **argv)
{
        setlocale(LC_CTYPE, ""); /* for the width of characters; words and numbers stay as documented */
        signal(SIGPIPE, SIG_IGN);
        return ctl_run(argc, argv);
}
