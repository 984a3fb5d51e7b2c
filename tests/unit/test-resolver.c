// SPDX-License-Identifier: GPL-2.0-or-later
/* The resolver with its real worker against real databases: a private mount namespace with passwd, group,
 * subuid, subgid and nsswitch.conf of our own. This program is the worker, too. What no file can do (a
 * directory that hangs, fails, or does not enumerate) is done by wrapped NSS functions for a few names. */
// wrap: getgrnam_r getpwnam_r getpwuid_r getgrouplist dlopen dlsym dlclose
// wrap: subid_get_uid_ranges subid_get_gid_ranges
// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
// clang-format on
#include "resolver-fixture.h"
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <nss.h>
#include <pwd.h>
#include <shadow/subid.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <time.h>

/* ---- wrapped, in the worker ---- */

int __real_getgrnam_r(const char *name, struct group *g, char *buf, size_t size, struct group **ret);
int __wrap_getgrnam_r(const char *name, struct group *g, char *buf, size_t size, struct group **ret);
int __real_getpwnam_r(const char *name, struct passwd *p, char *buf, size_t size, struct passwd **ret);
int __wrap_getpwnam_r(const char *name, struct passwd *p, char *buf, size_t size, struct passwd **ret);
int __real_getpwuid_r(uid_t uid, struct passwd *p, char *buf, size_t size, struct passwd **ret);
int __wrap_getpwuid_r(uid_t uid, struct passwd *p, char *buf, size_t size, struct passwd **ret);
int __real_getgrouplist(const char *name, gid_t gid, gid_t *gids, int *n);
int __wrap_getgrouplist(const char *name, gid_t gid, gid_t *gids, int *n);
int __wrap_subid_get_uid_ranges(const char *name, struct subid_range **ret);
int __wrap_subid_get_gid_ranges(const char *name, struct subid_range **ret);

static bool begins_with(const char *text, const char *with)
{
        return strncmp(text, with, strlen(with)) == 0;
}

static unsigned count_descriptors(void)
{
        DIR *d = opendir("/proc/self/fd");
        unsigned n = 0;

        while (d && readdir(d))
                n++;
        if (d)
                closedir(d);
        return n - 3; /* ".", ".." and the directory itself */
}

static bool status_says(const char *wanted)
{
        _cleanup_fclose_ FILE *f = fopen("/proc/self/status", "re");
        char line[256];

        while (f && fgets(line, sizeof(line), f))
                if (strcmp(line, wanted) == 0)
                        return true;
        fprintf(stderr, "not in the worker's status: %s", wanted);
        return false;
}

/* Under the address sanitizer the address space cannot be limited. */
#ifndef __has_feature
#define __has_feature(feature) 0
#endif
#if defined(__SANITIZE_ADDRESS__) || __has_feature(address_sanitizer)
static const bool sanitized = true;
#else
static const bool sanitized = false;
#endif

static bool confined(void)
{
        struct rlimit core, memory;
        int death = 0;

        getrlimit(RLIMIT_CORE, &core);
        getrlimit(RLIMIT_AS, &memory);
        prctl(PR_GET_PDEATHSIG, &death);
        return status_says("Uid:\t65534\t65534\t65534\t65534\n") &&
               status_says("Gid:\t65534\t65534\t65534\t65534\n") && status_says("Groups:\t \n") &&
               status_says("CapPrm:\t0000000000000000\n") && status_says("CapEff:\t0000000000000000\n") &&
               status_says("CapInh:\t0000000000000000\n") && status_says("CapBnd:\t0000000000000000\n") &&
               status_says("CapAmb:\t0000000000000000\n") && status_says("NoNewPrivs:\t1\n") &&
               status_says("SigBlk:\t0000000000000000\n") && core.rlim_max == 0 && death == SIGKILL &&
               (sanitized || memory.rlim_max != RLIM_INFINITY) && count_descriptors() == 4;
}

int __wrap_getgrnam_r(const char *name, struct group *g, char *buf, size_t size, struct group **ret)
{
        *ret = NULL;
        if (strcmp(name, "hanging") == 0)
                for (;;)
                        pause();
        if (begins_with(name, "unanswered"))
                return EIO;
        if (strcmp(name, "if-confined") == 0)
                return __real_getgrnam_r(confined() ? "staff" : "nosuchgroup", g, buf, size, ret);
        return __real_getgrnam_r(name, g, buf, size, ret);
}

static int give_remote(struct passwd *p, struct passwd **ret)
{
        *p = (struct passwd){.pw_name = (char *)REMOTE_NAME, .pw_uid = REMOTE_UID, .pw_gid = REMOTE_GID};
        *ret = p;
        return 0;
}

int __wrap_getpwnam_r(const char *name, struct passwd *p, char *buf, size_t size, struct passwd **ret)
{
        *ret = NULL;
        if (begins_with(name, "unanswered"))
                return ETIMEDOUT;
        if (strcmp(name, REMOTE_NAME) == 0)
                return give_remote(p, ret);
        return __real_getpwnam_r(name, p, buf, size, ret);
}

int __wrap_getpwuid_r(uid_t uid, struct passwd *p, char *buf, size_t size, struct passwd **ret)
{
        *ret = NULL;
        if (uid == 7999)
                return EIO;
        if (uid == REMOTE_UID)
                return give_remote(p, ret);
        return __real_getpwuid_r(uid, p, buf, size, ret);
}

/* The directory knows that remote is in staff (500), and in many others before that. */
int __wrap_getgrouplist(const char *name, gid_t gid, gid_t *gids, int *n)
{
        const int total = 300;
        int room = *n;

        if (strcmp(name, REMOTE_NAME) != 0)
                return __real_getgrouplist(name, gid, gids, n);
        for (int i = 0; i < total && i < room; i++)
                gids[i] = i == 0 ? gid : i == total - 1 ? 500 : (gid_t)(20000 + i);
        *n = total;
        return room < total ? -1 : total;
}

static int give_range(const char *name, unsigned long start, struct subid_range **ret)
{
        if (strcmp(name, "alice") != 0 && strcmp(name, REMOTE_NAME) != 0)
                return -1;
        *ret = calloc(1, sizeof(**ret));
        (*ret)[0].start = start + (strcmp(name, "alice") == 0 ? 0 : 1000);
        (*ret)[0].count = 100;
        return 1;
}

int __wrap_subid_get_uid_ranges(const char *name, struct subid_range **ret)
{
        return give_range(name, 900000, ret);
}

int __wrap_subid_get_gid_ranges(const char *name, struct subid_range **ret)
{
        return give_range(name, 950000, ret);
}

/* A directory service that is not installed, but is said to be: down for names that begin so, and for one
 * uid. */
#define MODULE "libnss_testdir.so.2"
static int module_handle;

void *__real_dlopen(const char *file, int mode);
void *__wrap_dlopen(const char *file, int mode);
void *__real_dlsym(void *handle, const char *symbol);
void *__wrap_dlsym(void *handle, const char *symbol);
int __real_dlclose(void *handle);
int __wrap_dlclose(void *handle);

static enum nss_status module_by_name(const char *name, void *to, char *buf, size_t size, int *error)
{
        (void)to;
        (void)buf;
        (void)size;
        *error = ECONNREFUSED;
        return begins_with(name, "down")   ? NSS_STATUS_UNAVAIL
               : begins_with(name, "busy") ? NSS_STATUS_TRYAGAIN
                                           : NSS_STATUS_NOTFOUND;
}

static enum nss_status module_by_id(uint32_t id, void *to, char *buf, size_t size, int *error)
{
        (void)to;
        (void)buf;
        (void)size;
        *error = ECONNREFUSED;
        return id == 7888 ? NSS_STATUS_UNAVAIL : NSS_STATUS_NOTFOUND;
}

void *__wrap_dlopen(const char *file, int mode)
{
        return file && strcmp(file, MODULE) == 0 ? &module_handle : __real_dlopen(file, mode);
}

void *__wrap_dlsym(void *handle, const char *symbol)
{
        if (handle != &module_handle)
                return __real_dlsym(handle, symbol);
        if (strcmp(symbol, "_nss_testdir_getgrnam_r") == 0 || strcmp(symbol, "_nss_testdir_getpwnam_r") == 0)
                return (void *)module_by_name;
        if (strcmp(symbol, "_nss_testdir_getgrgid_r") == 0 || strcmp(symbol, "_nss_testdir_getpwuid_r") == 0)
                return (void *)module_by_id;
        return NULL;
}

int __wrap_dlclose(void *handle)
{
        return handle == &module_handle ? 0 : __real_dlclose(handle);
}

/* ---- the tests ---- */

static uint64_t clock_usec(clockid_t clock)
{
        struct timespec now;

        clock_gettime(clock, &now);
        return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

/* Supplementary and primary members; a stale one is passed over; ranges by name, by number, by another name
 * of the same uid; lines that make no sense are passed over; a range is cut off at the end of the ids. */
static void test_members(void **state)
{
        _cleanup_outcome_ struct outcome o = {0};
        uint64_t before = clock_usec(CLOCK_REALTIME);

        ask(*state, &o, (struct question){.groups = "staff"});
        assert_no_trouble(&o.m);
        assert_set(&o.m.subjects.uids, "1000-1002");
        assert_set(&o.m.subjects.gids, "500");
        assert_set(&o.m.subjects.uid_ranges,
                   "100000-165535 200000-200009 300000-300009 4294967290-4294967294");
        assert_set(&o.m.subjects.gid_ranges, "110000-110009");
        assert_set(&o.m.subjects.except_uids, "");
        assert_false(o.m.subjects.everyone || o.m.subjects.sessions);
        assert_in_range(o.m.as_of, before, clock_usec(CLOCK_REALTIME));
}

static void test_nothing(void **state)
{
        _cleanup_outcome_ struct outcome o = {0};

        ask(*state, &o, (struct question){0});
        assert_no_trouble(&o.m);
        assert_true(subjects_empty(&o.m.subjects));
}

static void test_users(void **state)
{
        _cleanup_outcome_ struct outcome o = {0};

        ask(*state, &o, (struct question){.users = "eve root 1000 54321 0"});
        assert_no_trouble(&o.m);
        assert_set(&o.m.subjects.uids, "0 1000 1004 54321");
        assert_set(&o.m.subjects.gids, "");
        /* alice by number: her ranges are under "alias" and "alice". */
        assert_set(&o.m.subjects.uid_ranges, "100000-165535 400000-400009");
        assert_set(&o.m.subjects.gid_ranges, "110000-110009 410000-410009");
        /* By number, and in no enumeration: the range is under the name. */
        ask(*state, &o, (struct question){.users = "7000"});
        assert_set(&o.m.subjects.uids, "7000");
        assert_set(&o.m.subjects.uid_ranges, "700000-700009");
}

static void test_missing(void **state)
{
        _cleanup_outcome_ struct outcome o = {0};

        ask(*state, &o,
            (struct question){.groups = "staf guests staf 4294967295",
                              .users = "nobodyknows 4294967295 99999999999999999999 bob"});
        assert_words(&o.m.missing_groups, "staf 4294967295");
        assert_words(&o.m.missing_users, "4294967295 99999999999999999999 nobodyknows");
        assert_words(&o.m.unresolved, "");
        assert_set(&o.m.subjects.uids, "1001 1003");
        assert_set(&o.m.subjects.gids, "501");
}

static void test_numeric_groups(void **state)
{
        _cleanup_outcome_ struct outcome o = {0};

        /* 500 is staff, 1004 nobody's entry but eve's primary group, 9999 nothing at all. */
        ask(*state, &o, (struct question){.groups = "500 1004 9999"});
        assert_words(&o.m.missing_groups, "");
        assert_words(&o.m.empty_groups, "9999");
        assert_set(&o.m.subjects.uids, "1000-1002 1004");
        assert_set(&o.m.subjects.gids, "500 1004 9999");
}

static void test_empty_groups(void **state)
{
        _cleanup_outcome_ struct outcome o = {0};

        ask(*state, &o, (struct question){.groups = "empty stale rooted guests", .except_groups = "empty"});
        assert_words(&o.m.empty_groups, "empty stale");
        assert_set(&o.m.subjects.uids, "0 1003");
}

static void test_excepted(void **state)
{
        _cleanup_outcome_ struct outcome o = {0};

        ask(*state, &o,
            (struct question){.groups = "staff", .except_groups = "ops", .except_users = "eve 4000 nosuch"});
        assert_set(&o.m.subjects.uids, "1000-1002");
        assert_set(&o.m.subjects.gids, "500");
        assert_set(&o.m.subjects.except_uids, "34 1001 1004 4000");
        assert_set(&o.m.subjects.except_gids, "504");
        assert_words(&o.m.missing_users, "nosuch");
        /* bob keeps his containers. */
        assert_set(&o.m.subjects.uid_ranges, "100000-165535 300000-300009");
}

/* A directory that does not enumerate: by the name in a group, and by being seen on the machine. */
static void test_seen(void **state)
{
        static const uint32_t seen[] = {0, 1003, REMOTE_UID, 1000, 8888, UINT32_MAX, REMOTE_UID};
        _cleanup_outcome_ struct outcome o = {0};

        ask(*state, &o, (struct question){.groups = "far"});
        assert_no_trouble(&o.m);
        assert_set(&o.m.subjects.uids, "7000");
        assert_set(&o.m.subjects.uid_ranges, "700000-700009");
        ask(*state, &o, (struct question){.groups = "staff"});
        assert_set(&o.m.subjects.uids, "1000-1002");
        ask(*state, &o, (struct question){.groups = "staff", .seen = seen, .n_seen = ELEMENTSOF(seen)});
        assert_no_trouble(&o.m);
        assert_set(&o.m.subjects.uids, "1000-1002 7000");
        assert_true(idset_contains(&o.m.subjects.uid_ranges, 700000));
        ask(*state, &o,
            (struct question){.users = "dave",
                              .except_groups = "staff 7001",
                              .seen = seen,
                              .n_seen = ELEMENTSOF(seen)});
        assert_set(&o.m.subjects.uids, "1003");
        assert_set(&o.m.subjects.except_uids, "1000-1002 7000");
        assert_words(&o.m.empty_groups, "");
}

/* "Did not answer" is not "does not exist". */
static void test_unanswered(void **state)
{
        static const uint32_t seen[] = {7999};
        _cleanup_outcome_ struct outcome o = {0};

        ask(*state, &o,
            (struct question){.groups = "unanswered-group mixed",
                              .users = "unanswered-person",
                              .seen = seen,
                              .n_seen = ELEMENTSOF(seen)});
        assert_words(&o.m.unresolved, "unanswered-group unanswered-user unanswered-person 7999");
        assert_words(&o.m.missing_groups, "");
        assert_words(&o.m.missing_users, "");
        assert_words(&o.m.empty_groups, "");
        assert_set(&o.m.subjects.uids, "1003");
        assert_set(&o.m.subjects.gids, "505");
}

/* NSS itself says "there is none" when a directory is down and the files behind it have no such name. */
static void test_directory_down(void **state)
{
        static const uint32_t seen[] = {7888, 7889};
        struct fixture *f = *state;
        const struct question q = {.groups = "down-group busy-group far-group down-members 7888",
                                   .users = "down-user nosuch-user alice",
                                   .seen = seen,
                                   .n_seen = ELEMENTSOF(seen)};
        _cleanup_outcome_ struct outcome o = {0};

        write_database(f, GROUP, "down-members:x:510:down-member,gone,bob\n");
        write_database(f, NSSWITCH,
                       "passwd: testdir [!UNAVAIL=continue NOTFOUND=continue] files # x\n"
                       "group:\tfiles systemd testdir\n");
        ask(f, &o, q);
        assert_words(&o.m.unresolved, "down-group busy-group 7888 down-member down-user");
        assert_words(&o.m.missing_groups, "far-group");
        assert_words(&o.m.missing_users, "nosuch-user");
        assert_words(&o.m.empty_groups, "");
        assert_set(&o.m.subjects.uids, "1000-1001");
        /* Without such a service all of them just do not exist. */
        write_database(f, NSSWITCH, contents[NSSWITCH]);
        ask(f, &o, q);
        assert_words(&o.m.unresolved, "");
        assert_words(&o.m.missing_groups, "down-group busy-group far-group");
        assert_words(&o.m.missing_users, "down-user nosuch-user");
        assert_words(&o.m.empty_groups, "7888");
}

static void test_unreadable_subuid(void **state)
{
        struct fixture *f = *state;
        _cleanup_outcome_ struct outcome o = {0};

        assert_int_equal(chmod("/etc/subuid", 0600), 0);
        ask(f, &o, (struct question){.groups = "staff"});
        assert_int_equal(chmod("/etc/subuid", 0644), 0);
        assert_words(&o.m.unresolved, "/etc/subuid");
        assert_set(&o.m.subjects.uids, "1000-1002");
        assert_set(&o.m.subjects.gid_ranges, "110000-110009");
}

static void test_subid_directory(void **state)
{
        struct fixture *f = *state;
        _cleanup_outcome_ struct outcome o = {0};

        write_database(f, NSSWITCH, "passwd: files\ngroup: files\nsubid: files # not sss\n");
        ask(f, &o, (struct question){.users = "alice eve remote"});
        assert_set(&o.m.subjects.uid_ranges, "100000-165535 400000-400009 700000-700009");
        write_database(f, NSSWITCH, "passwd: files\ngroup: files\n subid:\tsss\n");
        ask(f, &o, (struct question){.users = "1000 eve remote"});
        assert_set(&o.m.subjects.uid_ranges,
                   "100000-165535 400000-400009 700000-700009 900000-900099 901000-901099");
        assert_set(&o.m.subjects.gid_ranges, "110000-110009 410000-410009 950000-950099 951000-951099");
}

/* Somebody comes and goes while the same worker is asked again. */
static void test_changes(void **state)
{
        struct fixture *f = *state;
        _cleanup_outcome_ struct outcome o = {0};

        ask(f, &o, (struct question){.groups = "guests"});
        assert_set(&o.m.subjects.uids, "1003");
        write_database(f, GROUP, "guests:x:501:eve\n");
        ask(f, &o, (struct question){.groups = "guests staff"});
        assert_set(&o.m.subjects.uids, "1004");
        assert_words(&o.m.missing_groups, "staff");
}

static void test_hanging(void **state)
{
        _cleanup_outcome_ struct outcome o = {0};
        uint64_t began = clock_usec(CLOCK_MONOTONIC);

        ask_until(*state, &(struct question){.groups = "staff hanging"}, 300 * MSEC, &o);
        assert_int_equal(o.error, -ETIMEDOUT);
        assert_in_range(clock_usec(CLOCK_MONOTONIC) - began, 300 * MSEC, 1500 * MSEC);
        ask(*state, &o, (struct question){.groups = "staff"});
        assert_set(&o.m.subjects.uids, "1000-1002");
}

static void test_confined(void **state)
{
        _cleanup_outcome_ struct outcome o = {0};
        _cleanup_close_ int leak = open("/dev/null", O_RDONLY); /* without O_CLOEXEC */
        const gid_t supplementary[] = {4, 27};
        sigset_t blocked, before;

        assert_int_equal(setgroups(ELEMENTSOF(supplementary), supplementary), 0);
        assert_true(leak >= 0);
        sigemptyset(&blocked);
        sigaddset(&blocked, SIGTERM);
        sigaddset(&blocked, SIGCHLD);
        assert_int_equal(sigprocmask(SIG_BLOCK, &blocked, &before), 0);
        ask(*state, &o, (struct question){.groups = "if-confined"});
        assert_int_equal(sigprocmask(SIG_SETMASK, &before, NULL), 0);
        assert_words(&o.m.missing_groups, "");
        assert_set(&o.m.subjects.gids, "500");
}

static void on_names(void *userdata, int error, const uint32_t *uids, char *const *found, size_t n)
{
        static const char *const expected[] = {"root", "bob", NULL, "alice", NULL, REMOTE_NAME, "bob"};
        bool *done = userdata;

        assert_int_equal(error, 0);
        assert_true(n >= ELEMENTSOF(expected));
        for (size_t i = 0; i < n; i++) {
                const char *name = i < ELEMENTSOF(expected) ? expected[i] : i % 2 ? "carol" : NULL;

                if (i >= ELEMENTSOF(expected))
                        assert_int_equal(uids[i], i % 2 ? 1002 : 50000 + i);
                if (name)
                        assert_string_equal(found[i], name);
                else
                        assert_null(found[i]);
        }
        *done = true;
}

/* Few are asked one by one, many by enumeration: with the same answers. */
static void test_names(void **state)
{
        struct fixture *f = *state;
        uint32_t uids[100] = {0, 1001, 8888, 1000, UINT32_MAX, REMOTE_UID, 1001};
        static const size_t counts[] = {7, 15, 16, 100};

        for (size_t i = 7; i < ELEMENTSOF(uids); i++)
                uids[i] = i % 2 ? 1002 : (uint32_t)(50000 + i);
        for (size_t i = 0; i < ELEMENTSOF(counts); i++) {
                bool done = false;

                assert_int_equal(resolver_names(f->resolver, uids, counts[i], LONG, on_names, &done), 0);
                while (!done)
                        assert_true(sd_event_run(f->event, LONG) > 0);
        }
}

/* What it takes beyond reading the databases once. */
static uint64_t time_plain_pass(void)
{
        uint64_t began = clock_usec(CLOCK_MONOTONIC);
        size_t n = 0;

        assert_non_null(getgrnam("many"));
        setpwent();
        while (getpwent())
                n++;
        endpwent();
        assert_int_equal(n, MANY);
        return clock_usec(CLOCK_MONOTONIC) - began;
}

static void test_many(void **state)
{
        struct fixture *f = *state;
        _cleanup_outcome_ struct outcome o = {0};
        uint64_t plain, began, took, bare;

        write_many(f);
        plain = time_plain_pass();
        began = clock_usec(CLOCK_MONOTONIC);
        ask(f, &o, (struct question){.groups = "many"});
        took = clock_usec(CLOCK_MONOTONIC) - began;
        assert_no_trouble(&o.m);
        assert_int_equal(idset_count(&o.m.subjects.uids), MANY);
        assert_int_equal(o.m.subjects.uids.n, MANY);
        assert_int_equal(idset_count(&o.m.subjects.uid_ranges), 10 * MANY);
        write_database(f, SUBUID, "");
        began = clock_usec(CLOCK_MONOTONIC);
        ask(f, &o, (struct question){.groups = "many"});
        bare = clock_usec(CLOCK_MONOTONIC) - began;
        print_message("%d members: %.1f ms, with ranges %.1f ms; a plain pass: %.1f ms\n", MANY,
                      (double)bare / 1e3, (double)took / 1e3, (double)plain / 1e3);
        assert_true(took < 20 * plain); /* not member by member: that takes minutes */
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(int argc, char **argv)
{
        const struct CMUnitTest tests[] = {
                TEST(test_members),
                TEST(test_nothing),
                TEST(test_users),
                TEST(test_missing),
                TEST(test_numeric_groups),
                TEST(test_empty_groups),
                TEST(test_excepted),
                TEST(test_seen),
                TEST(test_unanswered),
                TEST(test_directory_down),
                TEST(test_unreadable_subuid),
                TEST(test_subid_directory),
                TEST(test_changes),
                TEST(test_hanging),
                TEST(test_confined),
                TEST(test_names),
                TEST(test_many),
        };

        if (argc > 1 && strcmp(argv[1], RESOLVER_WORKER_ARGUMENT) == 0)
                return resolver_worker_run(WORKER_FD);
        if (argc > 1)
                return launcher_run("/proc/self/exe");
        if (geteuid() != 0) {
                puts("resolver: skipped: needs root, for a mount namespace with databases of its own");
                return 0;
        }
        return cmocka_run_group_tests_name("resolver", tests, setup_databases, teardown_databases);
}
