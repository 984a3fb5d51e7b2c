/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LOCKDOWN_WORKER_PROCESS_H
#define LOCKDOWN_WORKER_PROCESS_H

/* One worker process as the daemon sees it: started by the launcher, asked one question at a time, ended.
 * Nothing here waits; nothing it says is trusted. */

#include "cleanup.h"
#include "launcher.h"
#include <stdbool.h>
#include <systemd/sd-event.h>

struct worker_process;

/* ERROR: 0 and the answer's text, valid during the call only; or -EPIPE (it died), -EBADMSG (it talks
 * nonsense), -ENOMEM, or why it could not be started: then the process is of no more use. Also called with an
 * error while nothing was asked.
 */
typedef void (*worker_answer_t)(void *userdata, int error, const char *text, size_t size);

/* 0 or an error of launcher_start(); why the process itself could not be started is told by CALLBACK. */
int worker_process_start(sd_event *event, struct launcher *launcher, const struct launch *what,
                         worker_answer_t callback, void *userdata, struct worker_process **ret);
/* Is it still there, with nothing to say while nothing was asked? */
bool worker_process_usable(const struct worker_process *p);
/* Sends a question; TEXT must stay until the answer or the end of the process. One at a time (-EBUSY). */
int worker_process_ask(struct worker_process *p, const char *text, size_t size);
/* Has it killed. No callback any more. Returns NULL. */
struct worker_process *worker_process_end(struct worker_process *p);
DEFINE_CLEANUP(struct worker_process *, worker_process_end)

#endif
