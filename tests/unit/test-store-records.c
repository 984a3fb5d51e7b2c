/* SPDX-License-Identifier: GPL-2.0-or-later */

/* What is kept besides orders: attempts and memberships; and what happens to all of it on a full disk. */

// wrap: read

#include "store-lab.h"
#include <arpa/inet.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>

static unsigned reads_fail; /* so many */

ssize_t __real_read(int fd, void *buf, size_t size);
ssize_t __wrap_read(int fd, void *buf, size_t size);
ssize_t __wrap_read(int fd, void *buf, size_t size)
{
        if (reads_fail == 0)
                return __real_read(fd, buf, size);
        reads_fail--;
        errno = EIO;
        return -1;
}

/* ---- attempts ---- */

static struct attempt attempt(uint32_t uid, const char *addr, uint8_t protocol, uint16_t port,
                              uint64_t packets)
{
        struct attempt a = {.uid = uid, .protocol = protocol, .port = port, .packets = packets, .bytes = 60};

        a.family = strchr(addr, ':') ? AF_INET6 : AF_INET;
        assert_int_equal(inet_pton(a.family, addr, a.addr), 1);
        return a;
}

static int save(struct fixture *f, const char *id, const struct attempts *a)
{
        return store_save_record(f->store, id, &(struct attempts_record){.earlier = *a});
}

static void test_attempts_round_trip(void **state)
{
        struct fixture *f = *state;
        struct attempt items[] = {
                attempt(1000, "203.0.113.7", IPPROTO_TCP, 443, 5),
                attempt(4294967294U, "2001:db8::1", IPPROTO_UDP, 53, UINT64_MAX),
                attempt(ATTEMPT_NO_UID, "255.255.255.255", IPPROTO_ICMP, 0, 1),
                attempt(0, "::ffff:10.0.0.1", 255, 65535, 0),
        };
        struct attempts a = {.items = items, .n = ELEMENTSOF(items), .packets = 77, .bytes = UINT64_MAX};
        struct attempts back = {0}, none = {0};

        assert_int_equal(store_load_attempts(f->store, id_of(1), &back), -ENOENT);
        assert_int_equal(save(f, id_of(1), &a), 0);
        assert_int_equal(store_load_attempts(f->store, id_of(1), &back), 0);
        items[1].packets = INT64_MAX; /* what JSON can hold */
        assert_int_equal(back.n, a.n);
        assert_int_equal(back.packets, 77);
        assert_int_equal(back.bytes, INT64_MAX);
        for (size_t i = 0; i < a.n; i++) {
                assert_int_equal(back.items[i].uid, items[i].uid);
                assert_int_equal(back.items[i].family, items[i].family);
                assert_memory_equal(back.items[i].addr, items[i].addr, 16);
                assert_int_equal(back.items[i].protocol, items[i].protocol);
                assert_int_equal(back.items[i].port, items[i].port);
                assert_int_equal(back.items[i].packets, items[i].packets);
                assert_int_equal(back.items[i].bytes, items[i].bytes);
        }
        attempts_clear(&back);
        assert_int_equal(save(f, id_of(2), &none), 0);
        assert_int_equal(store_load_attempts(f->store, id_of(2), &back), 0);
        assert_int_equal(back.n, 0);
        attempts_clear(&back);
}

static void test_attempts_many(void **state)
{
        const size_t n = 131072;
        struct fixture *f = *state;
        struct attempts a = {.items = calloc(n, sizeof(*a.items)), .n = n}, back = {0};
        double start = seconds();

        assert_non_null(a.items);
        for (size_t i = 0; i < n; i++)
                a.items[i] = attempt((uint32_t)i, "2001:db8:1111:2222:3333:4444:5555:6666", 6, 443, i);
        assert_int_equal(save(f, id_of(1), &a), 0);
        print_message("saving %zu attempts: %.0f ms\n", n, (seconds() - start) * 1000);
        start = seconds();
        assert_int_equal(store_load_attempts(f->store, id_of(1), &back), 0);
        print_message("loading them: %.0f ms\n", (seconds() - start) * 1000);
        assert_int_equal(back.n, n);
        assert_memory_equal(back.items, a.items, n * sizeof(*a.items));
        attempts_clear(&a);
        attempts_clear(&back);
}

/* What the last table counted stands apart, and replaces what it had counted before. */
static void test_attempts_of_the_last_table(void **state)
{
        struct fixture *f = *state;
        struct attempt earlier[] = {attempt(1000, "203.0.113.7", 6, 443, 5),
                                    attempt(1001, "203.0.113.7", 6, 443, 1)};
        struct attempt last[] = {attempt(1000, "203.0.113.7", 6, 443, 2),
                                 attempt(1000, "203.0.113.8", 6, 443, 3)};
        struct attempts_record record = {.earlier = {.items = earlier, .n = 2, .packets = 6, .bytes = 120},
                                         .last = {.items = last, .n = 2, .packets = 7, .bytes = 180},
                                         .last_table = "4f5a2f5e-9c3d-4d43-8e77-4f5a2f5e9c3d/2a"};
        _cleanup_record_ struct attempts_record back = {0};
        _cleanup_attempts_ struct attempts sum = {0};

        assert_int_equal(store_save_record(f->store, id_of(1), &record), 0);
        assert_int_equal(store_load_record(f->store, id_of(1), &back), 0);
        assert_string_equal(back.last_table, record.last_table);
        assert_int_equal(back.earlier.n, 2);
        assert_int_equal(back.last.n, 2);
        assert_memory_equal(back.last.items, last, sizeof(last));
        assert_int_equal(back.last.packets, 7);
        assert_int_equal(store_load_attempts(f->store, id_of(1), &sum), 0);
        assert_int_equal(sum.packets, 13);
        assert_int_equal(sum.bytes, 300);
        assert_int_equal(sum.n, 3);
        assert_int_equal(sum.items[0].packets, 7);
        assert_int_equal(sum.items[1].packets, 3);
        assert_int_equal(sum.items[2].uid, 1001);
}

static void test_attempts_damaged(void **state)
{
#define FILE_OF(rows) "{\"version\":1,\"packets\":1,\"bytes\":1,\"attempts\":[" rows "]}"
        static const char *const texts[] = {
                "",
                "[]",
                "{\"version\":2,\"packets\":1,\"bytes\":1,\"attempts\":[]}",
                "{\"version\":1,\"bytes\":1,\"attempts\":[]}",
                "{\"version\":1,\"packets\":1,\"bytes\":1,\"attempts\":{}}",
                FILE_OF("[1,\"10.0.0.1\",6,443,1]"),
                FILE_OF("[1,\"10.0.0.1\",6,443,1,1,1]"),
                FILE_OF("[4294967295,\"10.0.0.1\",6,443,1,1]"),
                FILE_OF("[1,\"10.0.0\",6,443,1,1]"),
                FILE_OF("[1,null,6,443,1,1]"),
                FILE_OF("[1,\"10.0.0.1\",256,443,1,1]"),
                FILE_OF("[1,\"10.0.0.1\",6,65536,1,1]"),
                FILE_OF("[1,\"10.0.0.1\",6,443,-1,1]"),
                FILE_OF("[1,\"10.0.0.1\",6,443,1,\"1\"]"),
                FILE_OF("[1,\"10.0.0.1\",6,443,1,1],[]"),
#define WITH_LAST(last) "{\"version\":1,\"packets\":1,\"bytes\":1,\"attempts\":[],\"last\":" last "}"
                WITH_LAST("[]"),
                WITH_LAST("{\"packets\":1,\"bytes\":1,\"attempts\":[]}"),
                WITH_LAST("{\"table\":\"\",\"packets\":1,\"bytes\":1,\"attempts\":[]}"),
                WITH_LAST("{\"table\":\"a\\nb\",\"packets\":1,\"bytes\":1,\"attempts\":[]}"),
                WITH_LAST("{\"table\":\"a/1\",\"packets\":1,\"attempts\":[]}"),
                WITH_LAST("{\"table\":\"a/1\",\"packets\":1,\"bytes\":1,\"attempts\":[[]]}"),
        };
        struct fixture *f = *state;

        for (size_t i = 0; i < ELEMENTSOF(texts); i++) {
                struct attempts a = {0};

                put(f, "attempts/00000000000000000000000000000001.json", texts[i]);
                assert_int_equal(store_load_attempts(f->store, id_of(1), &a), -EBADMSG);
                assert_null(a.items);
                assert_int_equal(count_files(f, "damaged"), i + 1);
                assert_int_equal(store_load_attempts(f->store, id_of(1), &a), -ENOENT);
        }
}

/* ---- memberships ---- */

static void test_membership(void **state)
{
        struct fixture *f = *state;
        _cleanup_membership_ struct membership m = {.as_of = T0}, back = {0}, untouched = {0};

        assert_int_equal(idset_append(&m.subjects.uids, 1000, 1005), 0);
        idset_normalize(&m.subjects.uids);
        assert_int_equal(words_add(&m.missing_groups, "ghosts", NULL, 0), 0);
        assert_int_equal(store_load_membership(f->store, "staff", &back, NULL), -ENOENT);
        assert_int_equal(store_save_membership(f->store, "staff", &m), 0);
        assert_int_equal(store_load_membership(f->store, "staff", &back, NULL), 0);
        assert_true(subjects_equal(&m.subjects, &back.subjects));
        assert_true(words_equal(&m.missing_groups, &back.missing_groups));
        assert_int_equal(back.as_of, T0);

        assert_true(store_has_membership(f->store, "staff"));
        assert_int_equal(store_drop_membership(f->store, "staff"), 0);
        assert_false(store_has_membership(f->store, "staff"));
        assert_int_equal(store_drop_membership(f->store, "staff"), 0);
        assert_int_equal(store_load_membership(f->store, "staff", &untouched, NULL), -ENOENT);

        put(f, "members/staff", "lockdown-members 1\nuid 10");
        assert_int_equal(store_load_membership(f->store, "staff", &untouched, NULL), -EBADMSG);
        assert_int_equal(untouched.subjects.uids.n, 0);
        assert_int_equal(count_files(f, "damaged"), 1);
        assert_int_equal(count_files(f, "members"), 0);
}

static void test_membership_names(void **state)
{
        static const char *const names[] = {"",       ".",  "..",  "../orders/x", "a/b",
                                            ".tmp-x", "-x", "a b", "a\n"};
        struct fixture *f = *state;
        struct membership m = {0};

        for (size_t i = 0; i < ELEMENTSOF(names); i++) {
                assert_int_equal(store_save_membership(f->store, names[i], &m), -EINVAL);
                assert_int_equal(store_load_membership(f->store, names[i], &m, NULL), -EINVAL);
                assert_int_equal(store_drop_membership(f->store, names[i]), -EINVAL);
        }
        assert_int_equal(count_files(f, "members"), 0);
}

static bool wants_night(const char *profile, void *userdata)
{
        (void)userdata;
        return strcmp(profile, "night") == 0;
}

static void put_lists(struct fixture *f)
{
        const struct membership m = {.as_of = T0};

        assert_int_equal(store_save_membership(f->store, "staff", &m),
                         0); /* save_new()'s orders are about it */
        assert_int_equal(store_save_membership(f->store, "night", &m), 0);
        assert_int_equal(store_save_membership(f->store, "gone", &m), 0);
}

static int sweep(struct fixture *f)
{
        _cleanup_problems_ struct problems problems = {0};

        return store_sweep_memberships(f->store, wants_night, NULL, &problems);
}

static void test_memberships_are_swept(void **state)
{
        struct fixture *f = *state;
        _cleanup_(order_freep) struct order *o = make_order(1);

        assert_int_equal(store_save_order(f->store, o), 0);
        put_lists(f);
        assert_int_equal(sweep(f), 1);
        assert_true(store_has_membership(f->store, "staff") && store_has_membership(f->store, "night"));
        assert_false(store_has_membership(f->store, "gone"));
        assert_int_equal(sweep(f), 0);
        finish(o, T0 + 5);
        assert_int_equal(store_save_order(f->store, o), 0);
        assert_int_equal(sweep(f), 1);
        assert_true(!store_has_membership(f->store, "staff") && store_has_membership(f->store, "night"));
}

/* What a link leads to stays, and so does what is none of ours, or no list. */
static void test_only_lists_are_swept(void **state)
{
        struct fixture *f = *state;

        put(f, "elsewhere", "lockdown-members 1\n");
        assert_int_equal(symlink("../elsewhere", path_in(f, "members/link")), 0);
        put(f, "members/damaged", "lockdown-members 1\nuid 10");
        put(f, "members/other", "lockdown-members 1\n");
        assert_int_equal(chown(path_in(f, "members/other"), 65534, 0), 0);
        put(f, "members/no list", "");
        assert_int_equal(mkdir(path_in(f, "members/directory"), 0700), 0);
        assert_int_equal(sweep(f), 0);
        assert_int_equal(access(path_in(f, "elsewhere"), F_OK), 0);
        assert_int_equal(count_files(f, "damaged"), 4);
        assert_int_equal(access(path_in(f, "members/no list"), F_OK), 0);
        assert_int_equal(count_files(f, "members"), 1);
}

/* Its order may be read later, or put right by hand. */
static void test_nothing_is_swept_without_all_orders(void **state)
{
        struct fixture *f = *state;

        save_new(f, 1);
        put_lists(f);
        reads_fail = 3; /* the order's, as often as it is tried */
        assert_int_equal(sweep(f), 0);
        assert_int_equal(reads_fail, 0);
        put(f, "orders/00000000000000000000000000000002.json", "{");
        assert_int_equal(sweep(f), 0);
        assert_int_equal(count_files(f, "damaged"), 1);
        assert_int_equal(sweep(f), 0);
        assert_int_equal(count_files(f, "members"), 3);
}

/* ---- a full disk ---- */

static void fill_up(const struct fixture *f)
{
        static const char block[4096];
        int fd = open(path_in(f, "filler"), O_CREAT | O_WRONLY | O_APPEND, 0600);

        assert_true(fd >= 0);
        while (write(fd, block, sizeof(block)) > 0)
                ;
        assert_int_equal(errno, ENOSPC);
        close(fd);
}

/* In a mount namespace of its own. Returns the number of what went wrong, for the exit status. */
static int on_a_full_disk(void)
{
        struct fixture f = {.dir = "/mnt"};
        _cleanup_(order_freep) struct order *o = make_order(1), *other = make_order(2);
        _cleanup_loaded_ struct loaded l = {0};
        char big[8192];

        if (store_open(f.dir, &f.store, NULL, NULL) < 0)
                return 1;
        if (store_save_order(f.store, o) < 0)
                return 2;
        fill_up(&f);
        memset(big, 'x', sizeof(big) - 1);
        big[sizeof(big) - 1] = '\0';
        o->reason = strdup(big);
        if (store_save_order(f.store, o) != -ENOSPC)
                return 3;
        other->reason = strdup(big);
        if (store_save_order(f.store, other) != -ENOSPC)
                return 4;
        finish(o, T0 + 5);
        if (store_save_order(f.store, o) != -ENOSPC)
                return 5;
        if (count_files(&f, "orders") != 1 || count_files(&f, "history") != 0)
                return 6;
        if (store_load_orders(f.store, &l.orders, &l.n, &l.problems) < 0 || l.n != 1 || l.problems.n != 0)
                return 7;
        if (l.orders[0]->reason || l.orders[0]->state != ORDER_ACTIVE)
                return 8;
        /* and once there is room again, it works again */
        if (unlink(path_in(&f, "filler")) < 0 || store_save_order(f.store, o) < 0)
                return 9;
        f.store = store_close(f.store);
        return 0;
}

static void test_disk_full(void **state)
{
        int status;
        pid_t pid;

        (void)state;
        if (geteuid() != 0) {
                print_message("skipped: mounting a small file system takes root\n");
                skip();
        }
        pid = fork();
        assert_true(pid >= 0);
        if (pid == 0) {
                if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
                    mount("tmpfs", "/mnt", "tmpfs", 0, "size=64k,mode=0700") < 0)
                        _exit(77);
                _exit(on_a_full_disk());
        }
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFEXITED(status));
        if (WEXITSTATUS(status) == 77) {
                print_message("skipped: no mount namespace to be had here\n");
                skip();
        }
        assert_int_equal(WEXITSTATUS(status), 0);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                IN_STORE(test_attempts_round_trip),
                IN_STORE(test_attempts_many),
                IN_STORE(test_attempts_of_the_last_table),
                IN_STORE(test_attempts_damaged),
                IN_STORE(test_membership),
                IN_STORE(test_membership_names),
                IN_STORE(test_memberships_are_swept),
                IN_STORE(test_only_lists_are_swept),
                IN_STORE(test_nothing_is_swept_without_all_orders),
                cmocka_unit_test(test_disk_full),
        };

        return cmocka_run_group_tests_name("store-records", tests, NULL, NULL);
}
