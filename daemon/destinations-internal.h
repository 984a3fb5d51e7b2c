/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LOCKDOWN_DESTINATIONS_INTERNAL_H
#define LOCKDOWN_DESTINATIONS_INTERNAL_H

/* Between destinations.c (sets and judgement) and destinations-parse.c (words). */

#include "destinations.h"

/* Bytes of an address: 4 or 16. */
size_t addr_size(int family);
/* First and last address of ADDR/LENGTH; host bits in ADDR are ignored. */
struct addr_range addr_range_from_prefix(int family, const uint8_t *addr, unsigned length);

/* Append without sorting. Return 0 or -ENOMEM. */
int addr_set_add(struct addr_set *s, const struct addr_range *range);
int service_set_add(struct service_set *s, const struct service *service);
int port_range_add(struct port_range **items, size_t *n, struct port_range range);

/* Does the set leave nothing of the public internet of FAMILY outside? Private and reserved networks count as
 * covered, so that lists of "everything but the private networks" are recognized, and so is 2000::/3.
 * Returns 0 or 1, -ENOMEM. */
int addr_set_covers_internet(const struct addr_set *s, int family);

#endif
