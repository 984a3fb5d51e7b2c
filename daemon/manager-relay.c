/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "manager-internal.h"

#include <errno.h>
#include <string.h>

/* The relay of DNS=ADDRESS. A table that is staged names its port already, so that an order is a matter of
 * hooks; the process runs while the order is in force. Without it questions to this machine are refused, as
 * the rules then say or because nobody listens. */

static bool wanted(const struct lockdown *l)
{
        return lockdown_profile(l)->destinations.dns == DNS_REDIRECT;
}

/* The warning stays until the next look, so that whoever asks hears of one that does not last. */
static void on_died(void *userdata, int error)
{
        struct lockdown *l = userdata;

        set_problem(&l->relay_problem, "%s",
                    error == -EPIPE ? "the process that does it had died, and was started again"
                                    : strerror(-error));
        audit_log(LOG_WARNING, "%s: their DNS is not relayed at the moment: %s", l->name, l->relay_problem);
}

static void say(struct lockdown *l, int error)
{
        set_problem(&l->relay_problem, "%s", strerror(-error));
        audit_log(LOG_ERR, "%s: their DNS cannot be relayed to the address of DNS=: %s", l->name,
                  l->relay_problem);
}

/* The one that the table in the kernel has, if there is one: then nothing in it must change. */
static uint16_t port_before(const struct lockdown *l)
{
        uint16_t port = 0;

        return nft_read_relay_port(l->manager->nft, l->name, &port) < 0 ? 0 : port;
}

void lockdown_relay_prepare(struct lockdown *l)
{
        struct manager *m = l->manager;
        int r = 0;

        if (!wanted(l))
                return;
        if (!l->relay)
                r = dns_relay_new(m->event, m->launcher, port_before(l), on_died, l, &l->relay);
        if (r >= 0 && l->order)
                r = dns_relay_open(l->relay);
        if (r < 0)
                say(l, r);
}

uint16_t lockdown_relay_port(const struct lockdown *l)
{
        return l->relay && wanted(l) ? dns_relay_port(l->relay) : 0;
}

void lockdown_relay_sync(struct lockdown *l)
{
        int r;

        if (!wanted(l)) {
                l->relay = dns_relay_free(l->relay);
                set_problem(&l->relay_problem, NULL);
                return;
        }
        if (!l->relay)
                return; /* told, and tried again by the timer */
        if (!l->order) {
                dns_relay_stop(l->relay);
                set_problem(&l->relay_problem, NULL);
                return;
        }
        r = dns_relay_run(l->relay, &lockdown_profile(l)->destinations);
        if (r < 0)
                say(l, r);
        else
                set_problem(&l->relay_problem, NULL);
}
