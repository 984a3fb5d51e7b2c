/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LOCKDOWN_ROUTE_H
#define LOCKDOWN_ROUTE_H

/* The edge to the kernel's routing: where would a packet go? Changes nothing. */

#include <stdbool.h>
#include <stdint.h>

/* Does what UID sends to ADDR stay on this machine, as `oif lo` has it: a loopback address, one of its own,
 * or what somebody routed here? 1, 0 (no route counts as 0: it stays nowhere), or -errno. */
int route_is_local(int family, const uint8_t addr[16], uint32_t uid);

#endif
