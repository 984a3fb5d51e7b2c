/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Orders that the kernel does not take, or does not say that it took. */

// wrap: nft_replace nft_delete nft_why_no_frames sever_can_destroy sever_run datagram_send

#include "manager-internal.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <sys/uio.h>

#include <cmocka.h>

static struct {
        int replace, delete; /* what the kernel's edge says */
        int replaced, deleted;
        int severs[8]; /* what each try says */
        unsigned n_severs;
} fake;

int __wrap_nft_replace(struct nft *n, const struct ruleset *r, bool engaged, char **ret_error);
int __wrap_nft_replace(struct nft *n, const struct ruleset *r, bool engaged, char **ret_error)
{
        (void)n;
        (void)r;
        assert_true(engaged);
        fake.replaced++;
        if (fake.replace < 0 && ret_error)
                *ret_error = strdup("the kernel said something else");
        return fake.replace;
}

int __wrap_nft_delete(struct nft *n, const char *name, char **ret_error);
int __wrap_nft_delete(struct nft *n, const char *name, char **ret_error)
{
        (void)n;
        (void)ret_error;
        assert_string_equal(name, "night");
        fake.deleted++;
        return fake.delete;
}

const char *__wrap_nft_why_no_frames(const struct nft *n);
const char *__wrap_nft_why_no_frames(const struct nft *n)
{
        (void)n;
        return NULL;
}

bool __wrap_sever_can_destroy(const struct sever *s);
bool __wrap_sever_can_destroy(const struct sever *s)
{
        (void)s;
        return true;
}

int __wrap_sever_run(struct sever *s, unsigned max_rounds, sever_wants_t wants, void *userdata,
                     struct sever_result *ret);
int __wrap_sever_run(struct sever *s, unsigned max_rounds, sever_wants_t wants, void *userdata,
                     struct sever_result *ret)
{
        (void)s;
        (void)max_rounds;
        (void)wants;
        (void)userdata;
        assert_true(fake.n_severs < ELEMENTSOF(fake.severs));
        *ret = (struct sever_result){.destroyed = 3};
        return fake.severs[fake.n_severs++];
}

int __wrap_datagram_send(const char *path, const struct iovec *parts, size_t n, int fd);
int __wrap_datagram_send(const char *path, const struct iovec *parts, size_t n, int fd)
{
        (void)path;
        (void)parts;
        (void)n;
        (void)fd;
        return 0;
}

/* ---- an order for one person, not configured ---- */

struct fixture {
        struct manager manager;
        struct lockdown l;
};

static char name[] = "night";

static int set_up(void **state)
{
        struct fixture *f = calloc(1, sizeof(*f));

        assert_non_null(f);
        memset(&fake, 0, sizeof(fake));
        f->manager.sever = (struct sever *)(void *)&fake;
        f->l.manager = &f->manager;
        f->l.name = name;
        f->l.profile = profile_new(name);
        f->l.have_members = true;
        assert_non_null(f->l.profile);
        assert_int_equal(idset_append(&f->l.members.subjects.uids, 2007, 2007), 0);
        *state = f;
        return 0;
}

static int tear_down(void **state)
{
        struct fixture *f = *state;

        profile_free(f->l.profile);
        membership_clear(&f->l.members);
        ruleset_free(f->l.loaded);
        free(f->l.kernel_problem);
        free(f);
        return 0;
}

static struct order *order(const struct fixture *f)
{
        const struct now now = {.realtime = 1, .boottime = 1};

        return order_new(profile_copy(f->l.profile), "00112233445566778899aabbccddeeff", &now);
}

/* Nobody has an order to lift then, so no rule of it may stay. */
static void test_what_is_not_in_force_is_withdrawn(void **state)
{
        struct fixture *f = *state;
        struct order *o = order(f);
        struct sever_result severed = {0};

        fake.replace = -EPERM;
        assert_int_equal(lockdown_engage(&f->l, o, &severed), -EPERM);
        assert_true(fake.replaced >= 1);
        assert_int_equal(fake.deleted, 1);
        assert_null(f->l.order);
        assert_null(f->l.loaded);
        assert_string_equal(f->l.kernel_problem, "the kernel said something else");
        order_free(o);
}

static void sever(struct fixture *f, struct sever_result *ret)
{
        f->l.order = order(f);
        lockdown_sever(&f->l, ret);
}

static void test_severing_is_tried_again(void **state)
{
        struct fixture *f = *state;
        struct sever_result r = {0};

        fake.severs[0] = -ENOMEM;
        sever(f, &r);
        assert_int_equal(fake.n_severs, 2);
        assert_int_equal(r.destroyed, 6); /* by both */
        assert_int_equal(r.left, 0);
        assert_false(f->l.unsevered);
        f->l.order = order_free(f->l.order);

        for (size_t i = 0; i < ELEMENTSOF(fake.severs); i++)
                fake.severs[i] = -ETIMEDOUT;
        sever(f, &r);
        assert_int_equal(r.left, UINT64_MAX); /* unknown, and to be told */
        assert_true(f->l.unsevered);          /* and tried again later */
        f->l.order = order_free(f->l.order);
}

#define TEST(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
        const struct CMUnitTest tests[] = {
                TEST(test_what_is_not_in_force_is_withdrawn),
                TEST(test_severing_is_tried_again),
        };

        return cmocka_run_group_tests_name("engage", tests, NULL, NULL);
}
