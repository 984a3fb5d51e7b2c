/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LOCKDOWN_DNS_RELAY_H
#define LOCKDOWN_DNS_RELAY_H

/* DNS=ADDRESS for questions that no translation of addresses can bring there: those to a resolver on this
 * machine (127.0.0.53), for nothing can be translated off the loopback, and those of a family that ADDRESS
 * has none of. The rules send them to a port on the loopback, and an unprivileged process forwards what comes
 * there to port 53 of the address, and to nowhere else.
 *
 * The port is the daemon's: it stays the same, and nobody else's, when the process dies and is started again;
 * what is asked meanwhile waits. When the daemon dies, the process does, and questions are refused. */

#include "cleanup.h"
#include "destinations.h"
#include "launcher.h"
#include <systemd/sd-event.h>

struct dns_relay;

/* The process died by itself or could not be started (-errno); it is tried again. */
typedef void (*dns_relay_died_t)(void *userdata, int error);

/* Takes a port as launcher_take_port() does, with its errors. Nobody is served yet. LAUNCHER, which stays the
 * caller's, starts the process. */
int dns_relay_new(sd_event *event, struct launcher *launcher, uint16_t preferred, dns_relay_died_t died,
                  void *userdata, struct dns_relay **ret);
uint16_t dns_relay_port(const struct dns_relay *r);
/* From here on what comes to the port waits for the process: to be called before rules send anything there.
 */
int dns_relay_open(struct dns_relay *r);
/* Has the process started, unless it runs and forwards to the addresses of D already: by the event loop, for
 * what waits at the port can wait a little longer, and the reply to an order is not to wait for a fork. One
 * that dies is started again, if that fails once a second. */
int dns_relay_run(struct dns_relay *r, const struct destinations *d);
/* Ends the process and serves nobody; the port is kept. */
void dns_relay_stop(struct dns_relay *r);
struct dns_relay *dns_relay_free(struct dns_relay *r); /* returns NULL */
DEFINE_CLEANUP(struct dns_relay *, dns_relay_free)

/* The process itself: forwards what comes to the sockets it was given to the N addresses (one a family),
 * until the daemon ends. Returns its exit status. */
int dns_relay_worker_run(char *const *addresses, int n);

#endif
