/* SPDX-License-Identifier: GPL-2.0-or-later */

/* From what the kernel lists to the document, and what is said where it lists nothing. */

// wrap: sever_listeners sever_unix_listeners

#include "report.h"
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static struct {
        int tcp, udp, unix_; /* answers; 0: a list */
        size_t n;            /* TCP listeners of 2004's, and of 2005's */
        size_t others;
        bool services; /* the last of all, 13's by TCP and 14's by UDP */
} fake;

int __wrap_sever_listeners(struct sever *s, uint8_t protocol, struct sever_socket **ret, size_t *ret_n);
int __wrap_sever_listeners(struct sever *s, uint8_t protocol, struct sever_socket **ret, size_t *ret_n)
{
        int r = protocol == IPPROTO_TCP ? fake.tcp : fake.udp;
        size_t n = protocol == IPPROTO_TCP ? fake.n + fake.others : 0;

        (void)s;
        if (r < 0)
                return r;
        *ret = calloc(n + 2, sizeof(**ret));
        for (size_t i = 0; i < n; i++)
                (*ret)[i] = (struct sever_socket){.family = AF_INET,
                                                  .protocol = IPPROTO_TCP,
                                                  .uid = i < fake.n ? 2004 : 2005,
                                                  .src = {127, 0, 0, 1},
                                                  .sport = (uint16_t)(10000 + i)};
        if (fake.services)
                (*ret)[n++] = (struct sever_socket){.family = AF_INET,
                                                    .protocol = protocol,
                                                    .uid = protocol == IPPROTO_TCP ? 13 : 14,
                                                    .src = {127, 0, 0, 1},
                                                    .sport = protocol == IPPROTO_TCP ? 8088 : 5000};
        *ret_n = n;
        return 0;
}

int __wrap_sever_unix_listeners(struct sever *s, sever_unix_t found, void *userdata);
int __wrap_sever_unix_listeners(struct sever *s, sever_unix_t found, void *userdata)
{
        (void)s;
        return fake.unix_ < 0 ? fake.unix_ : found(userdata, "public/pickup", 0);
}

struct fixture {
        struct manager manager;
        struct lockdown lockdown;
        struct lockdown *list[1];
        char sever[1]; /* only its address is used */
};

static int setup(void **state)
{
        struct fixture *f = calloc(1, sizeof(*f));
        struct profile *p = profile_new("staff");
        struct problems problems = {0};

        memset(&fake, 0, sizeof(fake));
        assert_int_equal(words_add(&p->groups, "staff", NULL, 0), 0);
        assert_int_equal(profile_finish(p, &problems), 0);
        assert_int_equal(idset_append(&f->lockdown.members.subjects.uids, 2001, 2001), 0);
        f->lockdown.manager = &f->manager;
        f->lockdown.name = p->name;
        f->lockdown.profile = p;
        f->list[0] = &f->lockdown;
        f->manager.lockdowns = f->list;
        f->manager.n_lockdowns = 1;
        f->manager.sever = (struct sever *)(void *)f->sever;
        *state = f;
        return 0;
}

static int teardown(void **state)
{
        struct fixture *f = *state;

        profile_free(f->lockdown.profile);
        membership_clear(&f->lockdown.members);
        free(f->manager.cgroup_root);
        free(f);
        return 0;
}

static json_t *look(struct fixture *f, const struct lockdown *only)
{
        _cleanup_sightings_ struct sightings s = {0};
        json_t *document = json_object();

        manager_look_for_doors(&f->manager, only, &s);
        assert_int_equal(report_doors(document, &f->lockdown, &s, NULL), 0);
        return document;
}

static size_t count(const json_t *document, const char *key)
{
        return json_array_size(json_object_get(document, key));
}

static bool says(const json_t *document, const char *text)
{
        const json_t *list = json_object_get(document, "doors_unseen");

        for (size_t i = 0; i < json_array_size(list); i++)
                if (strstr(json_string_value(json_array_get(list, i)), text))
                        return true;
        return false;
}

static void test_document(void **state)
{
        struct fixture *f = *state;
        _cleanup_json_ json_t *document = NULL;
        const char *kind, *protocol, *path, *unit, *user, *closes, *address;
        int uid, port;

        fake.n = 1;
        document = look(f, &f->lockdown);
        assert_int_equal(json_unpack(document, "{s:[{s:s,s:s,s:s,s:s,s:s,s:i,s:s},{s:s,s:i,s:i,s:s}]}",
                                     "doors", "kind", &kind, "protocol", &protocol, "path", &path, "unit",
                                     &unit, "user", &user, "uid", &uid, "closes", &closes, "address",
                                     &address, "port", &port, "uid", &uid, "protocol", &protocol),
                         0);
        assert_string_equal(kind, "mail");
        assert_string_equal(path, "public/pickup");
        assert_string_equal(unit, "postfix@-.service");
        assert_string_equal(user, "root");
        assert_string_equal(closes, "Services=postfix@-.service");
        assert_string_equal(address, "127.0.0.1");
        assert_string_equal(protocol, "tcp");
        assert_int_equal(port, 10000);
        assert_int_equal(uid, 2004);
        assert_null(json_object_get(document, "doors_unseen"));
}

static void test_what_the_kernel_cannot_list(void **state)
{
        struct fixture *f = *state;
        _cleanup_json_ json_t *document = NULL;

        fake.n = 1;
        fake.udp = -ENOENT;
        fake.unix_ = -EIO;
        document = look(f, &f->lockdown);
        assert_int_equal(count(document, "doors"), 1); /* what was seen is there */
        assert_int_equal(count(document, "doors_unseen"), 2);
        assert_true(says(document, "udp_diag"));
        assert_true(says(document, strerror(EIO)));
}

static void test_no_sock_diag_at_all(void **state)
{
        struct fixture *f = *state;
        _cleanup_json_ json_t *document = NULL;

        f->manager.sever = NULL;
        document = look(f, &f->lockdown);
        assert_int_equal(count(document, "doors"), 0);
        assert_true(says(document, "inet_diag"));
}

static size_t count_of(const json_t *document, int uid)
{
        const json_t *doors = json_object_get(document, "doors");
        size_t n = 0;

        for (size_t i = 0; i < json_array_size(doors); i++)
                n += json_integer_value(json_object_get(json_array_get(doors, i), "uid")) == uid;
        return n;
}

/* One who opens many hides nobody else's, and is named. */
static void test_too_many(void **state)
{
        struct fixture *f = *state;
        _cleanup_json_ json_t *document = NULL;

        fake.n = 5000;
        fake.others = 10;
        fake.services = true;
        document = look(f, &f->lockdown);
        assert_int_equal(count_of(document, 2004), 64);
        assert_int_equal(count_of(document, 2005), 10);
        assert_int_equal(count_of(document, 13), 1);
        assert_int_equal(count_of(document, 14), 1);
        assert_int_equal(count_of(document, 0), 1); /* the Unix socket */
        assert_true(says(document, "more than 4096 listening sockets, 5000 of them by uid 2004"));
}

/* As long as there is room for all, all are there. */
static void test_many(void **state)
{
        struct fixture *f = *state;
        _cleanup_json_ json_t *document = NULL;

        fake.n = 4094;
        fake.services = true;
        document = look(f, &f->lockdown);
        assert_int_equal(count_of(document, 2004), 4094);
        assert_int_equal(count(document, "doors"), 4096 + 1);
        assert_int_equal(count(document, "doors_unseen"), 0);
}

/* Nothing is in force: nobody is asked. */
static void test_nothing_in_force(void **state)
{
        struct fixture *f = *state;
        _cleanup_json_ json_t *document = NULL;

        fake.n = 1;
        fake.udp = -EIO;
        document = look(f, NULL);
        assert_int_equal(count(document, "doors"), 0);
        assert_int_equal(count(document, "doors_unseen"), 0);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(test_document, setup, teardown),
                cmocka_unit_test_setup_teardown(test_what_the_kernel_cannot_list, setup, teardown),
                cmocka_unit_test_setup_teardown(test_no_sock_diag_at_all, setup, teardown),
                cmocka_unit_test_setup_teardown(test_too_many, setup, teardown),
                cmocka_unit_test_setup_teardown(test_many, setup, teardown),
                cmocka_unit_test_setup_teardown(test_nothing_in_force, setup, teardown),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
