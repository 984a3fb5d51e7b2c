/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LOCKDOWN_TRIAL_PROCESS_H
#define LOCKDOWN_TRIAL_PROCESS_H

/* The edge to the process that sends a trial's datagrams. It makes two sockets in the subject's name, by
 * which all the locks know whose they are, and then gives up every privilege. It does not run as the subject:
 * who is blocked could stop or kill it, and with it the trial. One is started for each trial. */

#include "cleanup.h"
#include "launcher.h"
#include "trial.h"
#include <systemd/sd-event.h>

struct trial_process;

/* ERROR 0: sending ended with SENT (an errno, 0: none). Else (-errno) nothing is known, and the process is of
 * no more use: -ETIME when it hung, -EPERM when it could not take the subject's identity. */
typedef void (*trial_sent_t)(void *userdata, int error, int sent);

/* Has LAUNCHER start it. */
int trial_process_start(sd_event *event, struct launcher *launcher, uint32_t uid, uint32_t gid,
                        trial_sent_t callback, void *userdata, struct trial_process **ret);
/* Has D sent; the callback comes within TRIAL_DEADLINE. One at a time. */
int trial_process_send(struct trial_process *p, const struct trial_datagram *d);
#define TRIAL_DEADLINE (5 * UINT64_C(1000000)) /* microseconds */
/* Kills it. No callback any more. Returns NULL. */
struct trial_process *trial_process_end(struct trial_process *p);
DEFINE_CLEANUP(struct trial_process *, trial_process_end)

/* The process itself, with its two arguments (uid, gid): sends what it is asked to until the daemon has
 * closed its end. Returns its exit status. */
int trial_worker_run(char *const *ids, int n);

#endif
