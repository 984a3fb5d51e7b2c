/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Logins and their control groups: a tree made for the test, a real cgroup2 directory where one can be had,
 * and logind's files in a /run of the test's own. */

#include "sessions-cgroup.h"
#include "sessions.h"
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cmocka.h>

struct fixture {
        char root[64];
        sd_event *event;
        int called;
};

/* ---- helpers ---- */

static bool own_run; /* /run is the test's */

static const char *in_root(const struct fixture *f, const char *rest)
{
        static char path[256];

        snprintf(path, sizeof(path), "%s/%s", f->root, rest);
        return path;
}

static void make(const struct fixture *f, const char *rest)
{
        assert_int_equal(mkdir(in_root(f, rest), 0755), 0);
}

static uint64_t inode(const struct fixture *f, const char *rest)
{
        struct stat st;

        assert_int_equal(stat(in_root(f, rest), &st), 0);
        return st.st_ino;
}

static void remove_tree(const char *root)
{
        char command[128];

        snprintf(command, sizeof(command), "rm -rf '%s'", root);
        assert_int_equal(system(command), 0);
}

static int setup(void **state)
{
        struct fixture *f = calloc(1, sizeof(*f));

        assert_non_null(f);
        strcpy(f->root, "/tmp/test-sessions-XXXXXX");
        assert_non_null(mkdtemp(f->root));
        assert_true(sd_event_new(&f->event) >= 0);
        *state = f;
        return 0;
}

static int teardown(void **state)
{
        struct fixture *f = *state;

        sd_event_unref(f->event);
        remove_tree(f->root);
        free(f);
        return 0;
}

static void on_changed(void *userdata)
{
        ((struct fixture *)userdata)->called++;
}

/* Everything that is waiting to be handled, and nothing later; how often the callback came meanwhile. */
static int settle(struct fixture *f)
{
        int r;

        f->called = 0;
        while ((r = sd_event_run(f->event, 0)) > 0)
                ;
        assert_int_equal(r, 0);
        return f->called;
}

static struct idset uids_of(uint32_t first, uint32_t last)
{
        struct idset s = {0};

        assert_int_equal(idset_append(&s, first, last), 0);
        idset_normalize(&s);
        return s;
}

/* ---- names and mounts ---- */

static void test_slice_names(void **state)
{
        static const struct {
                const char *name;
                bool valid;
                uint32_t uid;
        } table[] = {
                {"user-0.slice", true, 0},
                {"user-1000.slice", true, 1000},
                {"user-4294967294.slice", true, 4294967294U},
                {"user-4294967295.slice", false, 0},
                {"user-4294968296.slice", false, 0},
                {"user-99999999999999999999999999.slice", false, 0},
                {"user-01.slice", false, 0},
                {"user-.slice", false, 0},
                {"user-1000-foo.slice", false, 0},
                {"user-1000.slice.d", false, 0},
                {"user-1000", false, 0},
                {"user--1.slice", false, 0},
                {"user.slice", false, 0},
                {"user@1000.service", false, 0},
                {"", false, 0},
        };

        (void)state;
        for (size_t i = 0; i < ELEMENTSOF(table); i++) {
                uint32_t uid = 77;

                if (cgroup_parse_slice(table[i].name, &uid) != table[i].valid)
                        fail_msg("\"%s\"", table[i].name);
                assert_int_equal(uid, table[i].valid ? table[i].uid : 77);
        }
}

static void test_find_root(void **state)
{
        static const struct {
                const char *mounts;
                int r;
                const char *root;
        } table[] = {
                {"proc /proc proc rw 0 0\ncgroup2 /sys/fs/cgroup cgroup2 rw,nosuid 0 0\n", 0,
                 "/sys/fs/cgroup"},
                {"tmpfs /sys/fs/cgroup tmpfs rw 0 0\n"
                 "cgroup /sys/fs/cgroup/memory cgroup rw,memory 0 0\n"
                 "cgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n",
                 0, "/sys/fs/cgroup/unified"},
                {"none /a\\040place cgroup2 rw 0 0\n", 0, "/a place"},
                {"cgroup2 /cgroup2 tmpfs rw 0 0\n", -ENOENT, NULL},
                {"", -ENOENT, NULL},
        };
        struct fixture *f = *state;

        for (size_t i = 0; i < ELEMENTSOF(table); i++) {
                _cleanup_free_ char *root = NULL;
                FILE *file = fopen(in_root(f, "mounts"), "we");

                assert_non_null(file);
                fputs(table[i].mounts, file);
                fclose(file);
                assert_int_equal(cgroup_find_root(in_root(f, "mounts"), &root), table[i].r);
                if (table[i].root)
                        assert_string_equal(root, table[i].root);
                else
                        assert_null(root);
        }
        assert_int_equal(cgroup_find_root(in_root(f, "nothing"), NULL), -ENOENT);
}

/* ---- control groups ---- */

static void test_slices(void **state)
{
        struct fixture *f = *state;
        _cleanup_(sessions_freep) struct sessions *s = NULL;
        _cleanup_idset_ struct idset some = uids_of(1000, 1001), all = uids_of(0, UINT32_MAX - 1), none = {0};
        _cleanup_free_ uint64_t *a = NULL, *b = NULL, *c = NULL, *d = NULL;
        size_t n = 7;

        assert_int_equal(sessions_new(f->event, f->root, on_changed, f, &s), 0);
        assert_int_equal(sessions_cgroups(s, &all, &a, &n), 0);
        assert_int_equal(n, 0); /* no user.slice */

        make(f, "user.slice");
        make(f, "user.slice/user-1000.slice");
        make(f, "user.slice/user-1000.slice/session-3.scope");
        make(f, "user.slice/user-1000.slice/user@1000.service");
        make(f, "user.slice/user-1000.slice/user@1000.service/app.slice");
        make(f, "user.slice/user-2000.slice");
        make(f, "user.slice/other.slice");
        make(f, "user-1001.slice"); /* not where logind puts it */
        close(open(in_root(f, "user.slice/user-1001.slice"), O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
        close(open(in_root(f, "user.slice/user-1000.slice/cgroup.procs"), O_CREAT | O_WRONLY | O_CLOEXEC,
                   0600));

        assert_int_equal(sessions_cgroups(s, &some, &b, &n), 0);
        assert_int_equal(n, 1);
        assert_int_equal(b[0], inode(f, "user.slice/user-1000.slice"));
        assert_int_equal(sessions_cgroups(s, &all, &c, &n), 0);
        assert_int_equal(n, 2);
        assert_true(c[0] < c[1]);
        assert_int_equal(sessions_cgroups(s, &none, &d, &n), 0);
        assert_int_equal(n, 0);
}

static bool contains(const uint64_t *ids, size_t n, uint64_t id)
{
        for (size_t i = 0; i < n; i++)
                if (ids[i] == id)
                        return true;
        return false;
}

static void test_below(void **state)
{
        struct fixture *f = *state;
        _cleanup_(sessions_freep) struct sessions *s = NULL;
        _cleanup_idset_ struct idset uids = uids_of(1000, 1000);
        _cleanup_free_ uint64_t *ids = NULL;
        size_t n;

        make(f, "user.slice");
        make(f, "user.slice/user-1000.slice");
        make(f, "user.slice/user-1000.slice/session-3.scope");
        make(f, "user.slice/user-1000.slice/user@1000.service");
        make(f, "user.slice/user-1000.slice/user@1000.service/app.slice");
        make(f, "user.slice/user-2000.slice");
        make(f, "user.slice/user-2000.slice/session-4.scope");
        assert_int_equal(symlink("/", in_root(f, "user.slice/user-1000.slice/link")), 0);
        assert_int_equal(sessions_new(f->event, f->root, on_changed, f, &s), 0);
        assert_int_equal(sessions_cgroups_below(s, &uids, &ids, &n), 0);
        assert_int_equal(n, 4);
        assert_true(contains(ids, n, inode(f, "user.slice/user-1000.slice")));
        assert_true(contains(ids, n, inode(f, "user.slice/user-1000.slice/session-3.scope")));
        assert_true(contains(ids, n, inode(f, "user.slice/user-1000.slice/user@1000.service/app.slice")));
        assert_false(contains(ids, n, inode(f, "user.slice/user-2000.slice/session-4.scope")));
        for (size_t i = 1; i < n; i++)
                assert_true(ids[i - 1] < ids[i]);
}

static void test_told_of_slices(void **state)
{
        struct fixture *f = *state;
        _cleanup_(sessions_freep) struct sessions *s = NULL;

        assert_int_equal(sessions_new(f->event, f->root, on_changed, f, &s), 0);
        settle(f);
        make(f, "system.slice");
        assert_int_equal(settle(f), 0); /* nobody's */
        make(f, "user.slice");
        assert_int_equal(settle(f), 0); /* nobody in it yet */
        make(f, "user.slice/user-1000.slice");
        assert_int_equal(settle(f), 1);
        make(f, "user.slice/user-1001.slice");
        make(f, "user.slice/user-1002.slice");
        assert_int_equal(settle(f), 1); /* a burst is one change */
        assert_int_equal(rmdir(in_root(f, "user.slice/user-1000.slice")), 0);
        assert_int_equal(settle(f), 1);
        assert_int_equal(settle(f), 0);

        /* user.slice itself goes and comes back */
        assert_int_equal(rmdir(in_root(f, "user.slice/user-1001.slice")), 0);
        assert_int_equal(rmdir(in_root(f, "user.slice/user-1002.slice")), 0);
        assert_int_equal(rmdir(in_root(f, "user.slice")), 0);
        assert_int_equal(settle(f), 1);
        make(f, "user.slice");
        make(f, "user.slice/user-1000.slice");
        assert_int_equal(settle(f), 1);
        make(f, "user.slice/user-1001.slice");
        assert_int_equal(settle(f), 1);
        s = sessions_free(s);
        make(f, "user.slice/user-1002.slice");
        assert_int_equal(settle(f), 0);
}

/* In a cgroup2 file system the id is the one the kernel uses: /proc/PID/cgroup and name_to_handle_at() agree.
 */
static void test_real_cgroup(void **state)
{
        struct fixture *f = *state;
        struct fixture real = {.event = f->event};
        _cleanup_(sessions_freep) struct sessions *s = NULL;
        _cleanup_idset_ struct idset uids = uids_of(61001, 61001);
        _cleanup_free_ char *mounted = NULL;
        _cleanup_free_ uint64_t *ids = NULL, *below = NULL;
        size_t n = 0, n_below = 0;
        uint64_t slice, scope;

        if (cgroup_find_root("/proc/self/mounts", &mounted) < 0) {
                print_message("skipped: no cgroup2 here\n");
                skip();
        }
        snprintf(real.root, sizeof(real.root), "%.24s/lockdown-test-%d", mounted, getpid());
        if (mkdir(real.root, 0755) < 0) {
                print_message("skipped: no cgroup can be made (%s)\n", strerror(errno));
                skip();
        }
        assert_int_equal(sessions_new(f->event, real.root, on_changed, &real, &s), 0);
        settle(&real);
        make(&real, "user.slice");
        settle(&real);
        make(&real, "user.slice/user-61001.slice");
        make(&real, "user.slice/user-61001.slice/session-1.scope");
        assert_int_equal(settle(&real), 1); /* kernfs tells of new directories, too */
        slice = inode(&real, "user.slice/user-61001.slice");
        scope = inode(&real, "user.slice/user-61001.slice/session-1.scope");
        assert_int_equal(sessions_cgroups(s, &uids, &ids, &n), 0);
        assert_int_equal(sessions_cgroups_below(s, &uids, &below, &n_below), 0);

        assert_int_equal(rmdir(in_root(&real, "user.slice/user-61001.slice/session-1.scope")), 0);
        assert_int_equal(rmdir(in_root(&real, "user.slice/user-61001.slice")), 0);
        assert_int_equal(settle(&real), 1);
        assert_int_equal(rmdir(in_root(&real, "user.slice")), 0);
        assert_int_equal(rmdir(real.root), 0);

        assert_int_equal(n, 1);
        assert_int_equal(n_below, 2);
        if (sizeof(ino_t) == sizeof(uint64_t) && sizeof(long) == sizeof(uint64_t)) {
                assert_int_equal(ids[0], slice);
                assert_true(contains(below, n_below, slice) && contains(below, n_below, scope));
        }
}

/* ---- logind ---- */

static void log_in(unsigned uid)
{
        char path[64];
        FILE *f = fopen("/run/systemd/users/.new", "we");

        assert_non_null(f);
        fprintf(f, "NAME=u%u\nSTATE=active\nSTOPPING=no\n", uid);
        fclose(f);
        snprintf(path, sizeof(path), "/run/systemd/users/%u", uid);
        assert_int_equal(rename("/run/systemd/users/.new", path), 0);
}

static void log_out(unsigned uid)
{
        char path[64];

        snprintf(path, sizeof(path), "/run/systemd/users/%u", uid);
        assert_int_equal(unlink(path), 0);
}

#define NEEDS_RUN()                                                     \
        do {                                                            \
                if (!own_run) {                                         \
                        print_message("skipped: no /run of its own\n"); \
                        skip();                                         \
                }                                                       \
                remove_tree("/run/systemd");                            \
        } while (0)

static void assert_users(struct sessions *s, size_t expected, const uint32_t *uids)
{
        _cleanup_free_ uint32_t *found = NULL;
        size_t n = 77;

        assert_int_equal(sessions_uids(s, &found, &n), 0);
        assert_int_equal(n, expected);
        for (size_t i = 0; i < n; i++)
                assert_int_equal(found[i], uids[i]);
}

static void test_logind(void **state)
{
        static const uint32_t two[] = {1000, 20000};
        struct fixture *f = *state;
        _cleanup_(sessions_freep) struct sessions *s = NULL;

        NEEDS_RUN();
        assert_int_equal(mkdir("/run/systemd", 0755), 0);
        assert_int_equal(mkdir("/run/systemd/users", 0755), 0);
        log_in(20000);
        assert_int_equal(sessions_new(f->event, f->root, on_changed, f, &s), 0);
        assert_int_equal(settle(f), 0);
        assert_users(s, 1, two + 1);
        log_in(1000);
        assert_int_equal(settle(f), 1);
        assert_users(s, 2, two);
        log_in(1000); /* a second session: the file is written again */
        assert_int_equal(settle(f), 0);
        log_out(1000);
        assert_int_equal(settle(f), 1);
        assert_users(s, 1, two + 1);
}

/* logind starts after us, in every way its directories may come to be. */
static void test_logind_appears(void **state)
{
        static const uint32_t one[] = {1000};
        struct fixture *f = *state;

        for (int steps = 0; steps < 3; steps++) {
                _cleanup_(sessions_freep) struct sessions *s = NULL;

                NEEDS_RUN();
                assert_int_equal(sessions_new(f->event, f->root, on_changed, f, &s), 0);
                assert_users(s, 0, NULL);
                assert_int_equal(mkdir("/run/systemd", 0755), 0);
                if (steps > 0)
                        assert_int_equal(settle(f), 0);
                assert_int_equal(mkdir("/run/systemd/users", 0755), 0);
                if (steps > 1)
                        assert_int_equal(settle(f), 0);
                log_in(1000);
                assert_int_equal(settle(f), 1);
                assert_users(s, 1, one);
                log_out(1000); /* now followed like any other */
                assert_int_equal(settle(f), 1);
        }
}

static void test_nothing_at_all(void **state)
{
        struct fixture *f = *state;
        _cleanup_(sessions_freep) struct sessions *s = NULL;
        _cleanup_idset_ struct idset all = uids_of(0, 100);
        _cleanup_free_ uint64_t *ids = NULL;
        size_t n = 5;

        NEEDS_RUN();
        assert_int_equal(sessions_new(f->event, "/tmp/there/is/nothing", on_changed, f, &s), -ENOENT);
        assert_int_equal(sessions_new(f->event, NULL, on_changed, f, &s), 0);
        assert_users(s, 0, NULL);
        assert_int_equal(sessions_cgroups(s, &all, &ids, &n), 0);
        assert_int_equal(settle(f), 0);
        assert_null(sessions_free(NULL));
}

/* A /run and a mount table of the test's own. */
static int group_setup(void **state)
{
        (void)state;
        own_run = geteuid() == 0 && unshare(CLONE_NEWNS) == 0 &&
                  mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
                  mount("tmpfs", "/run", "tmpfs", 0, "mode=0755") == 0;
        return 0;
}

#define WITH_TREE(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_slice_names),
                WITH_TREE(test_find_root),
                WITH_TREE(test_slices),
                WITH_TREE(test_below),
                WITH_TREE(test_told_of_slices),
                WITH_TREE(test_real_cgroup),
                WITH_TREE(test_logind),
                WITH_TREE(test_logind_appears),
                WITH_TREE(test_nothing_at_all),
        };

        return cmocka_run_group_tests_name("sessions", tests, group_setup, NULL);
}
