/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LOCKDOWN_WORKER_PROCESS_H
#define LOCKDOWN_WORKER_PROCESS_H

/* One worker process as the daemon sees it: started, asked one question at a time, killed, collected. Nothing
 * here waits; nothing it says is trusted. */

#include "cleanup.h"
#include <stdbool.h>
#include <stddef.h>
#include <systemd/sd-event.h>

struct worker_process;

/* Processes that were killed and not collected yet (one may be stuck in the kernel for long). */
struct worker_graveyard {
        struct worker_process *first;
};

/* ERROR: 0 and the answer's text, valid during the call only; or -EPIPE (it died), -EBADMSG (it talks
 * nonsense), -ENOMEM: then the process is of no more use. Also called with an error while nothing was asked.
 */
typedef void (*worker_answer_t)(void *userdata, int error, const char *text, size_t size);

struct worker_program {
        char *const *argv; /* argv[0] is the file that is run; ends with NULL */
        const int *fds;    /* given to it, behind its socket; at most WORKER_FDS_MAX */
        size_t n_fds;
};
/* Moves a descriptor out of the way of those that a worker finds its own under: every one that is given to it
 * must have been. Returns the new one (close on exec) or -errno; FD is closed. */
int worker_descriptor_move(int fd);

int worker_process_start(sd_event *event, const struct worker_program *program,
                         struct worker_graveyard *graveyard, worker_answer_t callback, void *userdata,
                         struct worker_process **ret);
/* Is it still there, with nothing to say while nothing was asked? */
bool worker_process_usable(const struct worker_process *p);
/* Sends a question; TEXT must stay until the answer or the end of the process. One at a time (-EBUSY). */
int worker_process_ask(struct worker_process *p, const char *text, size_t size);
/* Kills it; it is collected and freed by the event loop. No callback any more. Returns NULL. */
struct worker_process *worker_process_end(struct worker_process *p);
/* Collects what can be within a second each and frees everything: the event loop is not needed. */
void worker_graveyard_clear(struct worker_graveyard *graveyard);

DEFINE_CLEANUP(struct worker_process *, worker_process_end)

#endif
