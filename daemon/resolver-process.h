/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LOCKDOWN_RESOLVER_PROCESS_H
#define LOCKDOWN_RESOLVER_PROCESS_H

/* One worker process as the daemon sees it: started, asked one question at a time, killed, collected. Nothing
 * here waits; nothing it says is trusted. */

#include "cleanup.h"
#include <stdbool.h>
#include <stddef.h>
#include <systemd/sd-event.h>

struct resolver_process;

/* Processes that were killed and not collected yet (one may be stuck in the kernel for long). */
struct resolver_graveyard {
        struct resolver_process *first;
};

/* ERROR: 0 and the answer's text, valid during the call only; or -EPIPE (it died), -EBADMSG (it talks
 * nonsense), -ENOMEM: then the process is of no more use. Also called with an error while nothing was asked.
 */
typedef void (*resolver_answer_t)(void *userdata, int error, const char *text, size_t size);

int resolver_process_start(sd_event *event, const char *executable, struct resolver_graveyard *graveyard,
                           resolver_answer_t callback, void *userdata, struct resolver_process **ret);
/* Is it still there, with nothing to say while nothing was asked? */
bool resolver_process_usable(const struct resolver_process *p);
/* Sends a question; TEXT must stay until the answer or the end of the process. One at a time (-EBUSY). */
int resolver_process_ask(struct resolver_process *p, const char *text, size_t size);
/* Kills it; it is collected and freed by the event loop. No callback any more. Returns NULL. */
struct resolver_process *resolver_process_end(struct resolver_process *p);
/* Collects what can be within a second each and frees everything: the event loop is not needed. */
void resolver_graveyard_clear(struct resolver_graveyard *graveyard);

DEFINE_CLEANUP(struct resolver_process *, resolver_process_end)

#endif
