// SPDX-License-Identifier: GPL-2.0-or-later
/* Each answer (with LONG set; else every seventh) that the kernel gives to a change of tables is lost once:
 * what is said to be done is done, and what could not be is done the next time. */

// wrap: recv mnl_socket_recvfrom

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "failing-allocator.h"
#include "nft-fixture.h"

static unsigned left; /* the answer of this number is lost, counted from 1; 0: none */

static bool is_lost(ssize_t n)
{
        return n > 0 && left > 0 && --left == 0;
}

ssize_t __real_recv(int fd, void *buffer, size_t size, int flags);
ssize_t __wrap_recv(int fd, void *buffer, size_t size, int flags);
ssize_t __wrap_recv(int fd, void *buffer, size_t size, int flags)
{
        ssize_t n = __real_recv(fd, buffer, size, flags);

        return is_lost(n) ? __real_recv(fd, buffer, size, flags) : n;
}

ssize_t __real_mnl_socket_recvfrom(const struct mnl_socket *nl, void *buffer, size_t size);
ssize_t __wrap_mnl_socket_recvfrom(const struct mnl_socket *nl, void *buffer, size_t size);
ssize_t __wrap_mnl_socket_recvfrom(const struct mnl_socket *nl, void *buffer, size_t size)
{
        ssize_t n = __real_mnl_socket_recvfrom(nl, buffer, size);

        return is_lost(n) ? __real_mnl_socket_recvfrom(nl, buffer, size) : n;
}

enum state {
        GONE,
        STAGED,
        ENGAGED,
};

static int delete (struct fixture *f, char **ret_error)
{
        return nft_delete(f->nft, f->name, ret_error);
}

static int stage(struct fixture *f, char **ret_error)
{
        return nft_replace(f->nft, f->r, false, ret_error);
}

static int engage(struct fixture *f, char **ret_error)
{
        return nft_engage(f->nft, f->r, ret_error);
}

static int disengage(struct fixture *f, char **ret_error)
{
        return nft_disengage(f->nft, f->r, ret_error);
}

static int replace(struct fixture *f, char **ret_error)
{
        return nft_replace(f->nft, f->r, true, ret_error);
}

static void assert_state(struct fixture *f, enum state state)
{
        _cleanup_free_ char *difference = NULL;
        struct nft_presence is;
        int r;

        assert_int_equal(nft_is_present(f->nft, ruleset_table(f->r), &is), 0);
        assert_int_equal(nft_is_anywhere(&is), state != GONE);
        r = state == GONE ? 0 : nft_verify(f->nft, f->r, state == ENGAGED, &difference);
        if (r != 0)
                fail_msg("%d: %s", r, difference ? difference : strerror(-r));
}

/* By the way that always goes, however it is now. */
static void restore(struct fixture *f, enum state state)
{
        char *error = NULL;
        int r = state == GONE ? delete (f, &error) : state == STAGED ? stage(f, &error) : replace(f, &error);

        if (r < 0)
                fail_msg("%s", error);
}

/* Returns how many answers were lost. */
static unsigned lose_each(struct fixture *f, enum state before, enum state after,
                          int (*change)(struct fixture *, char **))
{
        const unsigned step = getenv("LONG") ? 1 : 7;
        unsigned answers = 0;

        for (unsigned n = 1;; n += step) {
                _cleanup_free_ char *error = NULL;
                bool reached;
                int r;

                restore(f, before);
                left = n;
                r = change(f, &error);
                reached = left == 0;
                answers += reached;
                left = 0;
                if (change == delete || change == replace)
                        assert_int_equal(r, 0); /* these look what became of it */
                if (r == 0)
                        assert_state(f, after);
                else
                        assert_non_null(error);
                restore(f, after);
                assert_state(f, after);
                if (!reached) {
                        assert_int_equal(r, 0);
                        return answers;
                }
        }
}

static void test_each_answer(void **state)
{
        struct fixture *f = begin(state, "staff");
        unsigned n = 0;

        n += lose_each(f, STAGED, ENGAGED, engage);
        n += lose_each(f, ENGAGED, STAGED, disengage);
        n += lose_each(f, ENGAGED, ENGAGED, replace);
        n += lose_each(f, GONE, ENGAGED, replace);
        n += lose_each(f, ENGAGED, GONE, delete);
        print_message("%u answers\n", n);
        assert_true(n > 20);
}

/* What this kernel can do is not mistaken for less. */
static void test_open(void **state)
{
        struct fixture *f = *state;
        bool reached = true;

        need_kernel(f);
        for (unsigned n = 1; reached; n++) {
                struct nft *other = NULL;

                left = n;
                assert_int_equal(nft_open(&other, NULL), 0);
                reached = left == 0;
                left = 0;
                assert_int_equal(nft_owns_tables(other), nft_owns_tables(f->nft));
                assert_int_equal(nft_why_no_frames(other) != NULL, nft_why_no_frames(f->nft) != NULL);
                nft_close(other);
        }
}

/* libnftnl's, too. */
static void fail_each(struct fixture *f, enum state before, enum state after,
                      int (*change)(struct fixture *, char **))
{
        bool reached = true;

        for (unsigned n = 1; reached; n++) {
                _cleanup_free_ char *error = NULL;
                int r;

                restore(f, before);
                ask_to_fail(n);
                r = change(f, &error);
                reached = has_failed();
                assert_true(r == 0 || reached);
                if (r == 0)
                        assert_state(f, after);
        }
        restore(f, after);
        assert_state(f, after);
}

static void test_each_allocation(void **state)
{
        struct fixture *f;

        need_failing_allocator();
        f = begin(state, "staff");
        fail_each(f, STAGED, ENGAGED, engage);
        fail_each(f, ENGAGED, STAGED, disengage);
        fail_each(f, STAGED, GONE, delete);
}

/* Want of memory is never handed to the kernel, which would call it a mistake of ours. */
static void test_rules_without_memory(void **state)
{
        struct fixture *f;

        need_failing_allocator();
        f = begin(state, "staff");
        for (unsigned i = 0; i < _CHAIN_MAX; i++)
                for (size_t k = 0; k < f->r->chains[i].n; k++) {
                        bool reached = true;

                        for (unsigned n = 1; reached; n++) {
                                struct nftnl_rule *rule;

                                ask_to_fail(n);
                                rule = nft_rule_new(NFPROTO_INET, ruleset_table(f->r), rs_chain_info(i)->name,
                                                    &f->r->chains[i].rules[k]);
                                reached = has_failed();
                                assert_int_equal(rule == NULL, reached);
                                if (rule)
                                        nftnl_rule_free(rule);
                        }
                }
}

int main(void)
{
        const struct CMUnitTest tests[] = {TEST(test_open), TEST(test_each_answer),
                                           TEST(test_rules_without_memory), TEST(test_each_allocation)};

        return cmocka_run_group_tests(tests, NULL, NULL);
}
