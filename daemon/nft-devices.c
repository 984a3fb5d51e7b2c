// SPDX-License-Identifier: GPL-2.0-or-later
#include "nft-internal.h"
#include <errno.h>
#include <string.h>

/* Hooks of family netdev are at a device each. One chain for each device, named after its index: a chain with
 * several cannot be given more before Linux 6.5. Before 6.16 a hook follows its device when that is renamed,
 * and goes with it; since then it belongs to the name, and waits for a device of that name to come. Either
 * way what there is, is compared with the devices there are. */

/* Devices come and go while we look: so often it is looked again. */
#define TRIES 5

static int compare_devices(const void *a, const void *b)
{
        const struct nft_device *x = a, *y = b;

        return (x->index > y->index) - (x->index < y->index);
}

int nft_read_devices(struct nft_devices *ret)
{
        struct if_nameindex *all = if_nameindex();
        size_t n = 0;

        if (!all)
                return -errno;
        while (all[n].if_index > 0)
                n++;
        ret->items = calloc(n + 1, sizeof(*ret->items));
        ret->n = ret->items ? n : 0;
        for (size_t i = 0; i < ret->n; i++) {
                struct nft_device *d = &ret->items[i];

                d->index = all[i].if_index;
                (void)snprintf(d->name, sizeof(d->name), "%s", all[i].if_name);
                (void)snprintf(d->chain, sizeof(d->chain), "%s%u", rs_chain_info(CHAIN_EGRESS)->name,
                               d->index);
        }
        if_freenameindex(all);
        if (ret->n > 0)
                qsort(ret->items, ret->n, sizeof(*ret->items), compare_devices);
        return ret->items ? 0 : -ENOMEM;
}

void nft_devices_clear(struct nft_devices *d)
{
        free(d->items);
        *d = (struct nft_devices){0};
}

void nft_note_devices(struct nft *n)
{
        nft_forget_devices(n);
        (void)nft_read_devices(&n->noted);
}

void nft_forget_devices(struct nft *n)
{
        nft_devices_clear(&n->noted);
}

void nft_put_device_hook(struct nft_batch *b, const char *table, const struct ruleset *frames,
                         const char *order, const struct nft_device *d)
{
        nft_put_chain(b, table, CHAIN_EGRESS, order, d);
        nft_put_rules(b, table, CHAIN_EGRESS, d->chain, &frames->chains[CHAIN_EGRESS]);
}

/* The device that a chain is hooked up at, if it is still there under that name. */
static struct nft_device *hooked_device(const struct nft_devices *d, const struct nft_chain_state *chain)
{
        size_t skip = strlen(rs_chain_info(CHAIN_EGRESS)->name);
        struct nft_device key = {0}, *found;

        if (chain->family != NFPROTO_NETDEV || !chain->device || strlen(chain->name) <= skip)
                return NULL;
        key.index = (unsigned)strtoul(chain->name + skip, NULL, 10);
        found = bsearch(&key, d->items, d->n, sizeof(key), compare_devices);
        return found && strcmp(found->chain, chain->name) == 0 && strcmp(found->name, chain->device) == 0
                       ? found
                       : NULL;
}

void nft_find_hooked(struct nft_devices *d, const struct nft_chain_list *chains)
{
        for (size_t i = 0; i < chains->n; i++) {
                struct nft_device *device = hooked_device(d, &chains->items[i]);

                if (device)
                        device->hooked = true;
        }
}

static bool is_race(int error)
{
        return error == -ENOENT || error == -EEXIST || error == -ENODEV;
}

int nft_send_hooks(struct nft *n, const char *table, const struct ruleset *r, enum nft_listing listing,
                   nft_build_t build, const void *userdata, char **ret_error)
{
        int e = -ENOENT, listed = 0;
        bool complete = false;

        for (unsigned i = 0; i < TRIES && is_race(e); i++) {
                _cleanup_devices_ struct nft_devices devices = {0};
                _cleanup_batch_ struct nft_batch b = {0};
                const bool noted = listing == NOTED_DEVICES && i == 0 && n->noted.items;
                const bool without = i + 1 == TRIES; /* the rest does not wait for the devices */

                if (i > 0 && ret_error) {
                        free(*ret_error);
                        *ret_error = NULL;
                }
                if (r->frames && !noted && !without)
                        listed = nft_read_devices(&devices);
                if (listed < 0 && !without) {
                        e = -ENODEV;
                        continue;
                }
                if (listed < 0 && listing == LIST_ALL_DEVICES) {
                        nft_say(ret_error,
                                "the devices that table %s is to be hooked up at could not be listed: %s",
                                table, strerror(-listed));
                        return listed;
                }
                complete = !r->frames || !without;
                nft_batch_begin(&b, n, table);
                build(&b, noted ? &n->noted : &devices, userdata);
                e = nft_batch_send(&b, ret_error);
                if (!r->frames)
                        break;
        }
        return e == 0 && !complete ? 1 : e;
}

/* Returns how many chains are to change. */
static size_t put_coverage(struct nft_batch *b, const struct ruleset *r, struct nft_devices *devices,
                           const struct nft_chain_list *chains)
{
        const char *order = "";
        size_t n = 0;

        b->family = NFPROTO_NETDEV;
        /* First: the chain may be needed for the device under its new name. */
        for (size_t i = 0; i < chains->n; i++) {
                const struct nft_chain_state *c = &chains->items[i];

                if (c->type && c->order[0])
                        order = c->order;
                if (c->family != NFPROTO_NETDEV || !c->type || hooked_device(devices, c))
                        continue;
                nft_delete_chain(b, r->table, c->name);
                n++;
        }
        nft_find_hooked(devices, chains);
        for (size_t i = 0; i < devices->n; i++) {
                if (devices->items[i].hooked)
                        continue;
                nft_put_device_hook(b, r->table, r->frames, order, &devices->items[i]);
                n++;
        }
        return n;
}

/* Whether the table is there at all: it has chains of its own. */
static bool has_frames(const struct nft_chain_list *chains)
{
        for (size_t i = 0; i < chains->n; i++)
                if (chains->items[i].family == NFPROTO_NETDEV)
                        return true;
        return false;
}

static int cover(struct nft *n, const struct ruleset *r, char **ret_error)
{
        _cleanup_devices_ struct nft_devices devices = {0};
        _cleanup_chain_list_ struct nft_chain_list chains = {0};
        _cleanup_batch_ struct nft_batch b = {0};
        int e = nft_read_chains(n, r->table, &chains);

        if (e == 0)
                e = nft_read_devices(&devices);
        if (e < 0) {
                nft_say(ret_error, "could not ask for the devices that table %s is hooked up at: %s",
                        r->table, strerror(-e));
                return e;
        }
        if (!has_frames(&chains)) /* that is for nft_verify() to find */
                return 0;
        nft_batch_begin(&b, n, r->table);
        return put_coverage(&b, r, &devices, &chains) > 0 ? nft_batch_send(&b, ret_error) : 0;
}

int nft_cover_devices(struct nft *n, const struct ruleset *r, char **ret_error)
{
        int e = -ENOENT;

        if (ret_error)
                *ret_error = NULL;
        if (!r->frames)
                return 0;
        for (unsigned i = 0; i < TRIES && is_race(e); i++) {
                if (ret_error) {
                        free(*ret_error);
                        *ret_error = NULL;
                }
                e = cover(n, r, ret_error);
        }
        return e;
}

int nft_list_devices(struct words *ret)
{
        _cleanup_devices_ struct nft_devices devices = {0};
        int r = nft_read_devices(&devices);

        for (size_t i = 0; r >= 0 && i < devices.n; i++)
                r = words_add(ret, devices.items[i].name, NULL, 0);
        return r;
}
