/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LOCKDOWN_CTL_RUN_H
#define LOCKDOWN_CTL_RUN_H

/* One run of lockdownctl from its arguments to its exit code; writes to standard output and standard error.
 */
int ctl_run(int argc, char **argv);

#endif
