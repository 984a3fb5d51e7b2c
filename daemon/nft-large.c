// SPDX-License-Identifier: GPL-2.0-or-later
/* What large sets hold, for nft_verify(), by a socket of its own: so that a thread can read it while the one
 * that makes all changes serves others. */
#include "nft-internal.h"
#include <errno.h>
#include <string.h>

struct large_set {
        uint8_t family;
        enum rs_set_id id;
        int error; /* 0: FOUND */
        struct rs_set found;
};

struct nft_reading {
        const struct nft *nft; /* for its changes alone */
        char *table;
        uint_fast64_t changes; /* by then */
        atomic_bool unwanted;
        struct large_set sets[2 * _SET_MAX];
        size_t n;
};

static void choose(struct nft_reading *g, const struct nft *n, const struct ruleset *r)
{
        for (unsigned i = 0; i < _SET_MAX; i++)
                if (r->sets[i].n > NFT_LARGE_SET && nft_compares_elements(n, r, i))
                        g->sets[g->n++] = (struct large_set){.family = r->family, .id = i};
        if (r->frames)
                choose(g, n, r->frames);
}

struct nft_reading *nft_reading_new(const struct nft *n, const struct ruleset *r)
{
        struct nft_reading *g = calloc(1, sizeof(*g));

        if (!g)
                return NULL;
        choose(g, n, r);
        g->table = g->n > 0 ? strdup(r->table) : NULL;
        if (!g->table)
                return nft_reading_free(g);
        g->nft = n;
        g->changes = n->changes;
        return g;
}

void nft_reading_run(struct nft_reading *g)
{
        struct nft reader = {.reading = g};
        int r = nft_open_reader(&reader);

        for (size_t i = 0; i < g->n; i++) {
                struct large_set *s = &g->sets[i];

                s->error = r < 0 ? r : nft_read_set(&reader, s->family, g->table, s->id, &s->found);
        }
        if (reader.socket)
                mnl_socket_close(reader.socket);
}

void nft_reading_give_up(struct nft_reading *g)
{
        g->unwanted = true;
}

bool nft_reading_is_over(const struct nft_reading *g)
{
        return g->unwanted || g->changes != g->nft->changes;
}

/* What makes no sense, or is gone, is seen again when it is compared. */
static bool may_pass(int error)
{
        return nft_may_pass(error) && error != -EBADMSG;
}

bool nft_reading_is_good(const struct nft_reading *g)
{
        bool good = !nft_reading_is_over(g);

        for (size_t i = 0; i < g->n; i++)
                good = good && !may_pass(g->sets[i].error);
        return good;
}

const struct rs_set *nft_reading_find(const struct nft_reading *g, const struct ruleset *r, enum rs_set_id id)
{
        for (size_t i = 0; g && i < g->n; i++)
                if (g->sets[i].family == r->family && g->sets[i].id == id && g->sets[i].error == 0 &&
                    strcmp(g->table, r->table) == 0)
                        return &g->sets[i].found;
        return NULL;
}

struct nft_reading *nft_reading_free(struct nft_reading *g)
{
        if (!g)
                return NULL;
        for (size_t i = 0; i < g->n; i++)
                rs_set_clear(&g->sets[i].found);
        free(g->table);
        free(g);
        return NULL;
}
