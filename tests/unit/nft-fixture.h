/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef NFT_FIXTURE_H
#define NFT_FIXTURE_H

/* For tests with packets: each test in a network namespace of its own, with a case's ruleset in force.
 * Include after cmocka.h. */

#include "kernel-net.h"
#include "nft-internal.h"
#include "ruleset-cases.h"

__attribute__((unused)) static const struct person root = {0, 0}, member = {1000, 1000},
                                                   stranger = {4000, 4000};

struct fixture {
        struct kernel_net net;
        struct nft *nft;
        struct ruleset_input in;
        struct ruleset *r;
        const char *name;
        int relay[4];                 /* where the relay of DNS=ADDRESS would listen; 0: nobody does */
        char slice[96], session[128]; /* control groups that the test made, or empty */
};

static int set_up(void **state)
{
        struct fixture *f = calloc(1, sizeof(*f));

        assert_non_null(f);
        kernel_net_open(&f->net);
        if (!f->net.missing && nft_open(&f->nft, NULL) < 0)
                f->net.missing = "the kernel has no nf_tables";
        *state = f;
        return 0;
}

static void drop_ruleset(struct fixture *f)
{
        if (f->r && f->name)
                assert_int_equal(nft_delete(f->nft, f->name, NULL), 0);
        f->r = ruleset_free(f->r);
        input_clear(&f->in);
        f->in = (struct ruleset_input){0};
}

static int tear_down(void **state)
{
        struct fixture *f = *state;

        drop_ruleset(f);
        if (f->session[0])
                (void)rmdir(f->session);
        if (f->slice[0])
                (void)rmdir(f->slice);
        for (size_t i = 0; i < ELEMENTSOF(f->relay); i++)
                if (f->relay[i] > 0)
                        close(f->relay[i]);
        nft_close(f->nft);
        kernel_net_close(&f->net);
        free(f);
        return 0;
}

__attribute__((unused)) static void put(struct fixture *f, bool engaged)
{
        char *error = NULL;

        if (nft_replace(f->nft, f->r, engaged, &error) < 0)
                fail_msg("%s", error);
}

/* Skips the test where the kernel cannot be asked. */
static void need_kernel(const struct fixture *f)
{
        if (f->net.missing) {
                print_message("skipped: %s\n", f->net.missing);
                skip();
        }
}

/* Puts case NAME into force. */
__attribute__((unused)) static struct fixture *begin(void **state, const char *name)
{
        struct fixture *f = *state;

        need_kernel(f);
        f->name = name;
        fill_input(&f->in, find_case(name));
        f->r = build_ruleset(&f->in, find_case(name), NULL, 0);
        put(f, true);
        return f;
}

/* The same people and so many more that their set is a large one. */
__attribute__((unused)) static struct ruleset *with_many(struct ruleset_input *in)
{
        for (uint32_t uid = 200000; uid < 204000; uid += 2)
                append_id(&in->subjects.uids, uid, uid);
        return build_ruleset(in, find_case("staff"), NULL, 0);
}

/* The same, where frames are judged, too. */
__attribute__((unused)) static struct fixture *begin_with_frames(void **state)
{
        struct fixture *f = *state;

        need_kernel(f);
        if (nft_why_no_frames(f->nft)) {
                print_message("skipped: %s\n", nft_why_no_frames(f->nft));
                skip();
        }
        return begin(state, "staff");
}

__attribute__((unused)) static const struct attempt *
find_attempt(const struct attempts *a, uint32_t uid, const char *text, uint8_t protocol, uint16_t port)
{
        struct endpoint e = endpoint(text);

        for (size_t i = 0; i < a->n; i++)
                if (a->items[i].uid == uid && a->items[i].protocol == protocol && a->items[i].port == port &&
                    a->items[i].family == e.family &&
                    memcmp(a->items[i].addr, e.addr, e.family == AF_INET ? 4 : 16) == 0)
                        return &a->items[i];
        return NULL;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

#endif
