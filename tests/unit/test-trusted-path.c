// SPDX-License-Identifier: GPL-2.0-or-later
#include "config-place.h"
#include "trusted-path.h"
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

struct tree {
        char top[64];
};

static char *in(const struct tree *t, const char *name)
{
        static char paths[4][160]; /* as many as one call has arguments */
        static unsigned next;
        char *path = paths[next++ % ELEMENTSOF(paths)];

        snprintf(path, sizeof(paths[0]), "%s/%s", t->top, name);
        return path;
}

static void make_file(const char *path)
{
        write_file(path, "", 0);
        assert_int_equal(chmod(path, 0644), 0);
}

static int setup(void **state)
{
        struct tree *t = calloc(1, sizeof(*t));

        assert_non_null(t);
        snprintf(t->top, sizeof(t->top), "/tmp/lockdown-trust-XXXXXX");
        assert_non_null(mkdtemp(t->top));
        assert_int_equal(mkdir(in(t, "etc"), 0755), 0);
        assert_int_equal(mkdir(in(t, "srv"), 0755), 0);
        make_file(in(t, "etc/conf"));
        make_file(in(t, "srv/conf"));
        *state = t;
        return 0;
}

static int teardown(void **state)
{
        static const char *const names[] = {"etc/link", "etc/conf", "srv/link", "srv/conf"};
        struct tree *t = *state;

        for (size_t i = 0; i < ELEMENTSOF(names); i++)
                (void)unlink(in(t, names[i]));
        (void)rmdir(in(t, "etc"));
        (void)rmdir(in(t, "srv"));
        assert_int_equal(rmdir(t->top), 0);
        free(t);
        return 0;
}

static void assert_trusted(const char *path)
{
        _cleanup_free_ char *why = NULL;
        int r = trusted_path(path, &why);

        if (r != 0)
                fail_msg("%s: %d, %s", path, r, why ? why : "without a word");
}

/* The sentence is PLACE: SAYS. */
static void assert_not_trusted(const char *path, const char *place, const char *says)
{
        _cleanup_free_ char *why = NULL;

        assert_int_equal(trusted_path(path, &why), -EPERM);
        assert_non_null(why);
        if (strncmp(why, place, strlen(place)) != 0 || why[strlen(place)] != ':' || !strstr(why, says))
                fail_msg("the sentence is \"%s\"", why);
}

static void test_what_is_ours(void **state)
{
        const struct tree *t = *state;

        assert_trusted("/");
        assert_trusted(in(t, "etc"));
        assert_trusted(in(t, "etc/conf"));
        assert_trusted(in(t, "etc/.././etc//conf/"));
        assert_int_equal(trusted_path(in(t, "etc/nothing"), NULL), -ENOENT);
        assert_int_equal(trusted_path(in(t, "nowhere/conf"), NULL), -ENOENT);
        assert_int_equal(chmod(in(t, "etc/conf"), 0600), 0);
        assert_trusted(in(t, "etc/conf"));
        /* the group that has it is root's, or that of who runs this */
        assert_int_equal(chmod(in(t, "etc/conf"), 0660), 0);
        assert_trusted(in(t, "etc/conf"));
}

static void test_what_others_can_write(void **state)
{
        const struct tree *t = *state;

        assert_int_equal(chmod(in(t, "etc/conf"), 0646), 0);
        assert_not_trusted(in(t, "etc/conf"), in(t, "etc/conf"),
                           "can be written by everybody; take that away");
        assert_int_equal(chmod(in(t, "etc/conf"), 0644), 0);
        assert_int_equal(chmod(in(t, "etc"), 0777), 0);
        assert_not_trusted(in(t, "etc/conf"), in(t, "etc"), "the configuration is found through it");
        assert_not_trusted(in(t, "etc/nothing"), in(t, "etc"), "by everybody");
        /* sticky: nobody touches what is ours, but anybody may add something */
        assert_int_equal(chmod(in(t, "etc"), 01777), 0);
        assert_trusted(in(t, "etc/conf"));
        assert_not_trusted(in(t, "etc"), in(t, "etc"), "by everybody");
}

static void test_what_belongs_to_others(void **state)
{
        const struct tree *t = *state;

        if (geteuid() != 0) {
                print_message("skipped: only root can give a file away\n");
                skip();
        }
        assert_int_equal(chown(in(t, "etc/conf"), 65534, 0), 0);
        assert_not_trusted(in(t, "etc/conf"), in(t, "etc/conf"), "belongs to uid 65534; ");
        assert_int_equal(chown(in(t, "etc/conf"), 0, 65534), 0);
        assert_trusted(in(t, "etc/conf"));
        assert_int_equal(chmod(in(t, "etc/conf"), 0664), 0);
        assert_not_trusted(in(t, "etc/conf"), in(t, "etc/conf"), "can be written by gid 65534; ");
        assert_int_equal(chmod(in(t, "etc/conf"), 0644), 0);
        assert_int_equal(chown(in(t, "etc"), 65534, 0), 0);
        assert_not_trusted(in(t, "etc/conf"), in(t, "etc"), "belongs to uid 65534 (the configuration");
}

static void test_links_are_followed(void **state)
{
        const struct tree *t = *state;

        assert_int_equal(symlink("../srv/conf", in(t, "etc/link")), 0);
        assert_trusted(in(t, "etc/link"));
        assert_int_equal(unlink(in(t, "etc/link")), 0);
        assert_int_equal(symlink(in(t, "srv/conf"), in(t, "etc/link")), 0);
        assert_trusted(in(t, "etc/link"));

        assert_int_equal(chmod(in(t, "srv/conf"), 0666), 0);
        assert_not_trusted(in(t, "etc/link"), in(t, "srv/conf"), "by everybody");
        assert_int_equal(chmod(in(t, "srv/conf"), 0644), 0);
        assert_int_equal(chmod(in(t, "srv"), 0777), 0);
        assert_not_trusted(in(t, "etc/link"), in(t, "srv"), "by everybody (the configuration");
        assert_int_equal(chmod(in(t, "srv"), 0755), 0);

        assert_int_equal(unlink(in(t, "etc/link")), 0);
        assert_int_equal(symlink("link", in(t, "etc/link")), 0);
        assert_int_equal(trusted_path(in(t, "etc/link"), NULL), -ELOOP);
}

/* Where the link itself can be exchanged, it does not matter how well kept the file is. */
static void test_a_link_in_between(void **state)
{
        const struct tree *t = *state;

        assert_int_equal(symlink(in(t, "srv/link"), in(t, "etc/link")), 0);
        assert_int_equal(symlink(in(t, "etc/conf"), in(t, "srv/link")), 0);
        assert_trusted(in(t, "etc/link"));
        assert_int_equal(chmod(in(t, "srv"), 0777), 0);
        assert_not_trusted(in(t, "etc/link"), in(t, "srv"), "by everybody");
        if (geteuid() != 0)
                return;
        assert_int_equal(chmod(in(t, "srv"), 01777), 0);
        assert_trusted(in(t, "etc/link"));
        assert_int_equal(lchown(in(t, "srv/link"), 65534, 65534), 0);
        assert_not_trusted(in(t, "etc/link"), in(t, "srv/link"), "belongs to uid 65534");
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(test_what_is_ours, setup, teardown),
                cmocka_unit_test_setup_teardown(test_what_others_can_write, setup, teardown),
                cmocka_unit_test_setup_teardown(test_what_belongs_to_others, setup, teardown),
                cmocka_unit_test_setup_teardown(test_links_are_followed, setup, teardown),
                cmocka_unit_test_setup_teardown(test_a_link_in_between, setup, teardown),
        };

        return cmocka_run_group_tests_name("trusted-path", tests, NULL, NULL);
}
