/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Logins and their control groups: a tree made for the test, a real cgroup2 directory where one can be had,
 * and logind's files in a /run of the test's own; processes of the test's own that are killed with a session.
 */

#include "sessions-cgroup.h"
#include "sessions.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <cmocka.h>

struct fixture {
        char root[64];
        sd_event *event;
        int called;
};

#include "tree-fixture.h"

/* ---- helpers ---- */

static bool own_run; /* /run is the test's */

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

static void write_session(const char *id, unsigned uid, const char *rest)
{
        char path[64];
        FILE *f = fopen("/run/systemd/sessions/.new", "we");

        assert_non_null(f);
        fprintf(f, "UID=%u\nACTIVE=1\nSTATE=active\n%s", uid, rest);
        fclose(f);
        snprintf(path, sizeof(path), "/run/systemd/sessions/%s", id);
        assert_int_equal(rename("/run/systemd/sessions/.new", path), 0);
}

static void on_session(void *userdata)
{
        ++*(int *)userdata;
}

static void test_remote(void **state)
{
        struct fixture *f = *state;
        _cleanup_(sessions_freep) struct sessions *s = NULL;
        struct remote_session *list;
        size_t n = 77;
        int told = 0;

        NEEDS_RUN();
        assert_int_equal(mkdir("/run/systemd", 0755), 0);
        assert_int_equal(mkdir("/run/systemd/users", 0755), 0);
        assert_int_equal(sessions_new(f->event, f->root, on_changed, f, &s), 0);
        sessions_on_session(s, on_session, &told);
        assert_int_equal(sessions_remote(s, &list, &n), 0);
        assert_int_equal(n, 0);
        remote_sessions_free(list, n);

        assert_int_equal(mkdir("/run/systemd/sessions", 0755), 0); /* after the users: as logind does */
        assert_int_equal(settle(f), 0);
        assert_int_equal(told, 1); /* there may have been some already */
        write_session("4", 1000, "REMOTE=1\nREMOTE_HOST=203.0.113.7\n");
        write_session("c12", 0, "REMOTE=1\n");
        write_session("5", 1001, "REMOTE=0\nREMOTE_HOST=203.0.113.8\n");
        write_session("6", 1002, "");
        assert_int_equal(settle(f), 0); /* no user that was not there before */
        assert_int_equal(told, 2);
        write_session("4", 1000, "REMOTE=1\nREMOTE_HOST=203.0.113.7\nSCOPE=session-4.scope\n");
        settle(f);
        assert_int_equal(told, 3); /* what logind adds later may be what counts */

        assert_int_equal(sessions_remote(s, &list, &n), 0);
        assert_int_equal(n, 2);
        assert_string_equal(list[0].id, "4");
        assert_int_equal(list[0].uid, 1000);
        assert_string_equal(list[0].host, "203.0.113.7");
        assert_string_equal(list[1].id, "c12");
        assert_int_equal(list[1].uid, 0);
        assert_null(list[1].host);
        remote_sessions_free(list, n);
        log_in(1000);
        assert_int_equal(settle(f), 1);
        assert_int_equal(told, 3);
}

/* ---- the end of a session ---- */

static const char *const scopes[] = {"user.slice",
                                     "user.slice/user-61001.slice",
                                     "user.slice/user-61001.slice/session-7.scope",
                                     "user.slice/user-61001.slice/session-7.scope/inner",
                                     "user.slice/user-61001.slice/session-77.scope",
                                     "user.slice/user-61001.slice/user@61001.service"};

static void join(const struct fixture *f, const char *cgroup)
{
        char path[320];
        FILE *file;

        snprintf(path, sizeof(path), "%s/cgroup.procs", in_root(f, cgroup));
        file = fopen(path, "we");
        if (!file || fprintf(file, "0\n") < 0 || fclose(file) != 0)
                _exit(2);
}

/* A process in CGROUP; with ELSEWHERE it has a child that went there. It tells when all is in place. */
static pid_t start_in(const struct fixture *f, const char *cgroup, const char *elsewhere, pid_t *ret_child)
{
        int tell[2];
        pid_t pid, child = 0;

        assert_int_equal(pipe(tell), 0);
        pid = fork();
        if (pid == 0) {
                prctl(PR_SET_PDEATHSIG, SIGTERM, 0, 0, 0);
                join(f, cgroup);
                if (elsewhere && (child = fork()) == 0)
                        join(f, elsewhere);
                if (elsewhere ? child == 0 : true) {
                        child = getpid();
                        if (write(tell[1], &child, sizeof(child)) != sizeof(child))
                                _exit(2);
                }
                alarm(30); /* never left behind, also when a test fails */
                for (;;)
                        pause();
        }
        close(tell[1]);
        assert_int_equal(read(tell[0], &child, sizeof(child)), sizeof(child));
        close(tell[0]);
        if (ret_child)
                *ret_child = child;
        return pid;
}

/* Waits, not for ever; was it killed? */
static bool was_killed(pid_t pid)
{
        struct pollfd end = {.fd = (int)syscall(SYS_pidfd_open, pid, 0), .events = POLLIN};
        int status = 0;

        if (poll(&end, 1, 5000) > 0)
                (void)waitpid(pid, &status, 0);
        close(end.fd);
        return WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
}

static void test_end(void **state)
{
        struct fixture *f = *state;
        struct fixture real = {.event = f->event};
        _cleanup_(sessions_freep) struct sessions *s = NULL;
        _cleanup_free_ char *mounted = NULL;
        char id[] = "7", other[] = "8", slash[] = "../user@61001.service";
        pid_t monitor, inner, moved, neighbour, service;
        size_t n = 77;

        if (cgroup_find_root("/proc/self/mounts", &mounted) < 0) {
                print_message("skipped: no cgroup2 here\n");
                skip();
        }
        snprintf(real.root, sizeof(real.root), "%.24s/lockdown-end-%d", mounted, getpid());
        if (mkdir(real.root, 0755) < 0) {
                print_message("skipped: no cgroup can be made (%s)\n", strerror(errno));
                skip();
        }
        for (size_t i = 0; i < ELEMENTSOF(scopes); i++)
                make(&real, scopes[i]);
        assert_int_equal(sessions_new(f->event, real.root, on_changed, &real, &s), 0);
        monitor = start_in(&real, scopes[2], scopes[5], &moved);
        inner = start_in(&real, scopes[3], NULL, NULL);
        neighbour = start_in(&real, scopes[4], NULL, NULL);
        service = start_in(&real, scopes[5], NULL, NULL);

        assert_int_equal(sessions_end(s, &(struct remote_session){.id = other, .uid = 61001}, &n), 0);
        assert_int_equal(n, 0); /* there is none */
        assert_int_equal(sessions_end(s, &(struct remote_session){.id = id, .uid = 61002}, &n), 0);
        assert_int_equal(n, 0); /* not of theirs */
        assert_int_equal(sessions_end(s, &(struct remote_session){.id = slash, .uid = 61001}, &n), 0);
        assert_int_equal(n, 0);
        assert_int_equal(sessions_end(s, &(struct remote_session){.id = id, .uid = 61001}, &n), 0);
        assert_int_equal(n, 3);
        assert_true(was_killed(monitor));
        assert_true(was_killed(inner));
        assert_int_equal(waitpid(neighbour, NULL, WNOHANG), 0);
        assert_int_equal(waitpid(service, NULL, WNOHANG), 0);
        assert_int_equal(sessions_end(s, &(struct remote_session){.id = id, .uid = 61001}, &n), 0);
        assert_int_equal(n, 0);

        /* The moved one's parent is gone: it is ours only if we are the reaper of orphans (see group_setup).
         */
        assert_true(was_killed(moved));
        kill(neighbour, SIGTERM);
        kill(service, SIGTERM);
        assert_false(was_killed(neighbour));
        assert_false(was_killed(service));
        for (size_t i = ELEMENTSOF(scopes); i-- > 0;)
                assert_int_equal(rmdir(in_root(&real, scopes[i])), 0);
        assert_int_equal(rmdir(real.root), 0);
}

static void test_nothing_at_all(void **state)
{
        struct fixture *f = *state;
        _cleanup_(sessions_freep) struct sessions *s = NULL;
        _cleanup_idset_ struct idset all = uids_of(0, 100);
        _cleanup_free_ uint64_t *ids = NULL;
        struct remote_session *list;
        size_t n = 5;

        NEEDS_RUN();
        assert_int_equal(sessions_new(f->event, "/tmp/there/is/nothing", on_changed, f, &s), -ENOENT);
        assert_int_equal(sessions_new(f->event, NULL, on_changed, f, &s), 0);
        assert_users(s, 0, NULL);
        assert_int_equal(sessions_remote(s, &list, &n), 0);
        assert_int_equal(n, 0);
        remote_sessions_free(list, n);
        assert_int_equal(sessions_cgroups(s, &all, &ids, &n), 0);
        assert_int_equal(settle(f), 0);
        assert_null(sessions_free(NULL));
}

/* A /run and a mount table of the test's own. */
static int group_setup(void **state)
{
        (void)state;
        assert_int_equal(prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0), 0);
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
                WITH_TREE(test_remote),
                WITH_TREE(test_end),
                WITH_TREE(test_nothing_at_all),
        };

        return cmocka_run_group_tests_name("sessions", tests, group_setup, NULL);
}
