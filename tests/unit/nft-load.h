// SPDX-License-Identifier: GPL-2.0-or-later
#ifndef LOCKDOWN_TEST_NFT_LOAD_H
#define LOCKDOWN_TEST_NFT_LOAD_H

/* A table in the real kernel, as it should be. */

#include "nft-fixture.h"

/* The fixture with the ruleset of case NAME, which the kernel is not given yet; NULL: with none. */
__attribute__((unused)) static struct fixture *prepare(void **state, const char *name)
{
        struct fixture *f = *state;

        need_kernel(f);
        if (name) {
                fill_input(&f->in, find_case(name));
                f->r = build_ruleset(&f->in, find_case(name), NULL, 0);
        }
        return f;
}

__attribute__((unused)) static void assert_done(int r, char *error)
{
        if (r != 0)
                fail_msg("%d: %s", r, error ? error : strerror(-r));
        assert_null(error);
}

__attribute__((unused)) static void assert_same(struct fixture *f, const struct ruleset *r, bool engaged)
{
        char *difference = NULL;
        int e = nft_verify(f->nft, r, engaged, &difference);

        if (e != 0)
                fail_msg("%d: %s", e, difference ? difference : strerror(-e));
}

__attribute__((unused)) static void load(struct fixture *f, const struct ruleset *r, bool engaged)
{
        char *error = NULL;

        assert_done(nft_replace(f->nft, r, engaged, &error), error);
        assert_same(f, r, engaged);
}

#endif
