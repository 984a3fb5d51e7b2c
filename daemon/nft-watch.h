/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LOCKDOWN_NFT_WATCH_H
#define LOCKDOWN_NFT_WATCH_H

/* Hears of changes that other programs make to tables of ours. Where the kernel lets us own tables nobody
 * can, and there is nothing to hear. */

#include "nft.h"
#include <systemd/sd-event.h>

struct nft_watch;

struct nft_change {
        const char *program; /* who made it, as the kernel says (empty, 0: it does not) */
        uint32_t pid;
        struct words removed; /* tables of ours that went with it, as far as it is known */
};
/* Called through the event loop, once for a transaction; also when messages were lost, for then anything may
 * have happened. */
typedef void (*nft_changed_t)(void *userdata, const struct nft_change *change);
int nft_watch_new(sd_event *event, const struct nft *n, nft_changed_t callback, void *userdata,
                  struct nft_watch **ret);
struct nft_watch *nft_watch_free(struct nft_watch *w); /* returns NULL */

#endif
