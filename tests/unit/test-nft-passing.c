// SPDX-License-Identifier: GPL-2.0-or-later
/* What the kernel refuses for the moment: memory, room for answers, a signal in between. */

// wrap: mnl_socket_sendto mnl_socket_recvfrom if_nameindex

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "nft-fixture.h"
#include <errno.h>
#include <net/if.h>

static struct {
        unsigned skip, times; /* how many go through before, and then fail */
        int error;
} sending, receiving, listing;

static bool fails(unsigned *skip, unsigned *times)
{
        if (*times == 0)
                return false;
        if (*skip > 0) {
                (*skip)--;
                return false;
        }
        (*times)--;
        return true;
}

ssize_t __real_mnl_socket_sendto(const struct mnl_socket *nl, const void *data, size_t size);
ssize_t __wrap_mnl_socket_sendto(const struct mnl_socket *nl, const void *data, size_t size);
ssize_t __wrap_mnl_socket_sendto(const struct mnl_socket *nl, const void *data, size_t size)
{
        if (!fails(&sending.skip, &sending.times))
                return __real_mnl_socket_sendto(nl, data, size);
        errno = sending.error;
        return -1;
}

ssize_t __real_mnl_socket_recvfrom(const struct mnl_socket *nl, void *buffer, size_t size);
ssize_t __wrap_mnl_socket_recvfrom(const struct mnl_socket *nl, void *buffer, size_t size);
ssize_t __wrap_mnl_socket_recvfrom(const struct mnl_socket *nl, void *buffer, size_t size)
{
        if (!fails(&receiving.skip, &receiving.times))
                return __real_mnl_socket_recvfrom(nl, buffer, size);
        errno = receiving.error;
        return -1;
}

struct if_nameindex *__real_if_nameindex(void);
struct if_nameindex *__wrap_if_nameindex(void);
struct if_nameindex *__wrap_if_nameindex(void)
{
        if (!fails(&listing.skip, &listing.times))
                return __real_if_nameindex();
        errno = listing.error;
        return NULL;
}

static void assert_same(struct fixture *f, const struct ruleset *r)
{
        _cleanup_free_ char *difference = NULL;

        assert_int_equal(nft_verify(f->nft, r, true, &difference), 0);
}

static void test_a_question_is_asked_again(void **state)
{
        static const int errors[] = {EINTR, ENOBUFS, ENOMEM};
        struct fixture *f = begin(state, "staff");

        for (size_t i = 0; i < ELEMENTSOF(errors); i++)
                for (unsigned skip = 0; skip < 12; skip++) {
                        _cleanup_attempts_ struct attempts a = {0};

                        receiving.error = sending.error = errors[i];
                        receiving.skip = sending.skip = skip;
                        receiving.times = 1;
                        assert_int_equal(nft_read_attempts(f->nft, "staff", &a), 0);
                        receiving.times = 0;
                        sending.times = 1;
                        assert_same(f, f->r);
                        sending.times = 0;
                }
}

static void test_not_for_ever(void **state)
{
        struct fixture *f = begin(state, "staff");
        _cleanup_attempts_ struct attempts a = {0};

        receiving.error = ENOMEM;
        receiving.skip = 0;
        receiving.times = 1000;
        assert_int_equal(nft_read_attempts(f->nft, "staff", &a), -ENOMEM);
        assert_true(receiving.times > 900);
        receiving.times = 0;
        assert_same(f, f->r);
}

/* What is read beforehand is tried again then, rather than read while everybody waits. */
static void test_large_sets_are_not_read_for_the_moment(void **state)
{
        static const int errors[] = {ENOBUFS, ENOMEM, EBUSY};
        struct fixture *f = *state;
        _cleanup_input_ struct ruleset_input in = {0};
        _cleanup_(ruleset_freep) struct ruleset *r = NULL;

        need_kernel(f);
        fill_input(&in, find_case("staff"));
        r = with_many(&in);
        assert_int_equal(nft_replace(f->nft, r, true, NULL), 0);
        for (size_t i = 0; i < ELEMENTSOF(errors); i++) {
                struct nft_reading *g = nft_reading_new(f->nft, r);

                assert_non_null(g);
                receiving.error = errors[i];
                receiving.skip = 1;
                receiving.times = 1000;
                nft_reading_run(g);
                receiving.times = 0;
                assert_false(nft_reading_is_good(g));
                assert_int_equal(nft_verify_read(f->nft, r, true, g, NULL), 0);
                nft_reading_free(g);
        }
        assert_int_equal(nft_delete(f->nft, "staff", NULL), 0);
}

static void test_an_order_does_not_wait_for_devices(void **state)
{
        struct fixture *f = begin_with_frames(state);
        _cleanup_free_ char *difference = NULL, *error = NULL;

        assert_int_equal(nft_disengage(f->nft, f->r, NULL), 0);
        listing.error = ENOMEM;
        listing.times = 100;
        assert_int_equal(nft_engage(f->nft, f->r, &error),
                         1); /* in force; told that it may not be everywhere */
        assert_int_equal(nft_cover_devices(f->nft, f->r, NULL), -ENOMEM);
        listing.times = 0;
        assert_int_equal(nft_verify(f->nft, f->r, true, &difference), 1);
        assert_non_null(strstr(difference, "is not hooked up at device"));
        assert_int_equal(nft_cover_devices(f->nft, f->r, NULL), 0);
        assert_same(f, f->r);
}

/* What is in force is not exchanged for what would not be everywhere. */
static void test_a_change_waits_for_devices(void **state)
{
        struct fixture *f = begin_with_frames(state);
        _cleanup_(ruleset_freep) struct ruleset *new = NULL;
        _cleanup_free_ char *error = NULL;

        append_id(&f->in.subjects.uid_ranges, 500000, 565535);
        new = build_ruleset(&f->in, find_case("staff"), NULL, 0);
        listing.error = EMFILE;
        listing.times = 100;
        assert_int_equal(nft_update(f->nft, f->r, new, &error), -EMFILE);
        assert_non_null(strstr(error, "could not be listed"));
        listing.times = 0;
        assert_same(f, f->r);
        assert_int_equal(nft_update(f->nft, f->r, new, NULL), 0);
        assert_same(f, new);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                TEST(test_a_question_is_asked_again),
                TEST(test_not_for_ever),
                TEST(test_large_sets_are_not_read_for_the_moment),
                TEST(test_an_order_does_not_wait_for_devices),
                TEST(test_a_change_waits_for_devices),
        };

        return cmocka_run_group_tests_name("nft-passing", tests, NULL, NULL);
}
