/* SPDX-License-Identifier: GPL-2.0-or-later */
/* All about one user: found in real databases in a private mount namespace, and carried as text. */
// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
// clang-format on
#include "cleanup.h"
#include "resolver-internal.h"
#include <errno.h>
#include <sched.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *const databases[][2] = {
        {"passwd", "root:x:0:0::/:/bin/sh\nalice:x:1000:500::/:/bin/sh\nbob:x:1001:1001::/:/bin/sh\n"},
        {"group", "root:x:0:\nstaff:x:500:bob\nguests:x:501:bob\nbob:x:1001:\nodd name:x:502:alice\n"},
        {"subuid", "alice:100000:65536\n1001:200000:10\ngone:300000:10\n"},
        {"nsswitch.conf", "passwd: files\ngroup: files\n"},
};

static int setup(void **state)
{
        char dir[] = "/tmp/test-person-XXXXXX";

        umask(022);
        if (!mkdtemp(dir) || unshare(CLONE_NEWNS) < 0 ||
            mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
                return -1;
        for (size_t i = 0; i < ELEMENTSOF(databases); i++) {
                char from[64], to[64];
                FILE *f;

                (void)snprintf(from, sizeof(from), "%s/%s", dir, databases[i][0]);
                (void)snprintf(to, sizeof(to), "/etc/%s", databases[i][0]);
                f = fopen(from, "we");
                if (!f || fputs(databases[i][1], f) < 0 || fclose(f) != 0 ||
                    mount(from, to, NULL, MS_BIND, NULL) < 0)
                        return -1;
        }
        *state = strdup(dir);
        return *state ? 0 : -1;
}

static int teardown(void **state)
{
        char *dir = *state;

        for (size_t i = 0; i < ELEMENTSOF(databases); i++) {
                char path[64];

                (void)snprintf(path, sizeof(path), "%s/%s", dir, databases[i][0]);
                (void)unlink(path); /* still bound over /etc: gone with the namespace */
        }
        (void)rmdir(dir);
        free(dir);
        return 0;
}

/* What was found, written and read again. */
static void find(const char *user, struct person *ret)
{
        _cleanup_person_ struct person found = {0};
        _cleanup_free_ char *text = NULL;
        size_t size = 0;
        FILE *f = open_memstream(&text, &size);

        assert_int_equal(resolver_find_person(user, &found), 0);
        assert_int_equal(person_write(&found, f), 0);
        fclose(f);
        person_clear(ret);
        assert_int_equal(person_parse(text, size, ret), 0);
        for (size_t cut = 0; cut < size; cut++) {
                struct person half = {0};

                assert_int_equal(person_parse(text, cut, &half), -EBADMSG);
                assert_null(half.self.name);
        }
}

static void users_have_their_groups(void **state)
{
        _cleanup_person_ struct person p = {0};

        (void)state;
        find("bob", &p);
        assert_true(p.found);
        assert_false(p.subordinate);
        assert_int_equal(p.self.uid, 1001);
        assert_true(identity_is(&p.self, "bob") && identity_is(&p.self, "1001"));
        assert_false(identity_is(&p.self, "alice") || identity_is(&p.self, "1000") ||
                     identity_is(&p.self, ""));
        assert_true(identity_in_group(&p.self, "staff") && identity_in_group(&p.self, "guests") &&
                    identity_in_group(&p.self, "bob") && identity_in_group(&p.self, "500"));
        assert_false(identity_in_group(&p.self, "root") || identity_in_group(&p.self, "0"));
        find("1000", &p);
        assert_string_equal(p.self.name, "alice");
        assert_true(identity_in_group(&p.self, "staff") && identity_in_group(&p.self, "odd name"));
}

static void uids_need_no_account(void **state)
{
        _cleanup_person_ struct person p = {0};

        (void)state;
        find("4711", &p);
        assert_true(p.found);
        assert_int_equal(p.self.uid, 4711);
        assert_null(p.self.name);
        find("nosuchuser", &p);
        assert_false(p.found || p.unanswered);
        find("4294967295", &p); /* no uid */
        assert_false(p.found);
}

static void subordinate_uids_have_an_owner(void **state)
{
        _cleanup_person_ struct person p = {0};

        (void)state;
        find("100033", &p);
        assert_true(p.found && p.subordinate);
        assert_string_equal(p.owner.name, "alice");
        assert_true(identity_in_group(&p.owner, "staff"));
        find("200009", &p);
        assert_true(p.subordinate);
        assert_int_equal(p.owner.uid, 1001);
        find("200010", &p);
        assert_false(p.subordinate);
        find("300000", &p); /* whoever had that is gone */
        assert_false(p.subordinate);
}

static void nonsense_is_refused(void **state)
{
        static const char *const texts[] = {
                "",
                "lockdown-person 2\nend\n",
                "lockdown-person 1\nuid 1-2\nend\n",
                "lockdown-person 1\nuid 1\nuid 2\nend\n",
                "lockdown-person 1\nuid 1\nname a\nname b\nend\n",
                "lockdown-person 1\nshell x\nend\n",
                "lockdown-person 1\nend\nend\n",
                "lockdown-person 1\nend x\n",
        };

        (void)state;
        for (size_t i = 0; i < ELEMENTSOF(texts); i++) {
                struct person p = {0};

                assert_int_equal(person_parse(texts[i], strlen(texts[i]), &p), -EBADMSG);
                assert_false(p.found);
        }
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(users_have_their_groups),
                cmocka_unit_test(uids_need_no_account),
                cmocka_unit_test(subordinate_uids_have_an_owner),
                cmocka_unit_test(nonsense_is_refused),
        };

        if (geteuid() != 0) {
                puts("person: skipped: needs root, for a mount namespace with databases of its own");
                return 0;
        }
        return cmocka_run_group_tests_name("person", tests, setup, teardown);
}
