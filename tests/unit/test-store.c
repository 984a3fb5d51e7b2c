/* SPDX-License-Identifier: GPL-2.0-or-later */

/* The state directory against a real file system, in a directory of its own each. */

#include "store.h"
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#include <cmocka.h>

#define BOOT "0123456789abcdef0123456789abcdef"
#define T0 UINT64_C(1480521600000000)

struct fixture {
        char dir[64];
        struct store *store;
};

/* ---- helpers ---- */

static void remove_tree(const char *path)
{
        DIR *d = opendir(path);
        const struct dirent *e;

        while (d && (e = readdir(d))) {
                char *child;

                if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
                        continue;
                assert_true(asprintf(&child, "%s/%s", path, e->d_name) > 0);
                if (unlink(child) < 0)
                        remove_tree(child);
                free(child);
        }
        if (d)
                closedir(d);
        (void)rmdir(path);
}

static int setup(void **state)
{
        struct fixture *f = calloc(1, sizeof(*f));

        assert_non_null(f);
        strcpy(f->dir, "/tmp/test-store-XXXXXX");
        assert_non_null(mkdtemp(f->dir));
        assert_int_equal(store_open(f->dir, &f->store, NULL), 0);
        *state = f;
        return 0;
}

static int teardown(void **state)
{
        struct fixture *f = *state;

        assert_null(store_close(f->store));
        remove_tree(f->dir);
        free(f);
        return 0;
}

static const char *path_in(const struct fixture *f, const char *rest)
{
        static char path[512];

        snprintf(path, sizeof(path), "%s/%s", f->dir, rest);
        return path;
}

static void put(const struct fixture *f, const char *rest, const char *text)
{
        FILE *file = fopen(path_in(f, rest), "w");

        assert_non_null(file);
        assert_true(fputs(text, file) >= 0);
        assert_int_equal(fclose(file), 0);
}

static size_t count_files(const struct fixture *f, const char *sub)
{
        DIR *d = opendir(path_in(f, sub));
        const struct dirent *e;
        size_t n = 0;

        assert_non_null(d);
        while ((e = readdir(d)))
                n += strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0;
        closedir(d);
        return n;
}

static const char *id_of(unsigned i)
{
        static char id[33];

        snprintf(id, sizeof(id), "%032x", i);
        return id;
}

static struct order *make_order(unsigned i)
{
        struct now now = {.realtime = T0 + i, .boottime = 1000, .boot_id = BOOT};
        struct profile *p = profile_new("staff");
        struct problems problems = {0};
        struct order *o;

        assert_non_null(p);
        assert_int_equal(words_add(&p->groups, "staff", NULL, 0), 0);
        assert_int_equal(profile_finish(p, &problems), 0);
        o = order_new(p, id_of(i), &now);
        assert_non_null(o);
        return o;
}

static void finish(struct order *o, uint64_t ended_at)
{
        struct now now = {.realtime = ended_at, .boottime = 2000, .boot_id = BOOT};

        assert_int_equal(order_finish(o, ORDER_LIFTED, NULL, "done", &now), 0);
}

static void save_new(struct fixture *f, unsigned i)
{
        _cleanup_(order_freep) struct order *o = make_order(i);

        assert_int_equal(store_save_order(f->store, o), 0);
}

struct loaded {
        struct order **orders;
        size_t n;
        struct problems problems;
};

static void loaded_clear(struct loaded *l)
{
        for (size_t i = 0; i < l->n; i++)
                order_free(l->orders[i]);
        free(l->orders);
        problems_clear(&l->problems);
}

static void load(struct fixture *f, struct loaded *l)
{
        assert_int_equal(store_load_orders(f->store, &l->orders, &l->n, &l->problems), 0);
}

static void load_history(struct fixture *f, size_t limit, struct loaded *l)
{
        assert_int_equal(store_load_history(f->store, limit, &l->orders, &l->n, &l->problems), 0);
}

#define _cleanup_loaded_ _cleanup_(loaded_clear)

/* ---- the directory ---- */

static void test_directories(void **state)
{
        static const char *const names[] = {"", "orders", "history", "attempts", "members", "damaged"};
        struct fixture *f = *state;

        for (size_t i = 0; i < ELEMENTSOF(names); i++) {
                struct stat st;

                assert_int_equal(lstat(path_in(f, names[i]), &st), 0);
                assert_true(S_ISDIR(st.st_mode));
                assert_int_equal(st.st_mode & 07777, 0700);
                assert_int_equal(st.st_uid, geteuid());
        }
}

static void assert_refused(const char *dir, int expected, const char *says)
{
        _cleanup_free_ char *error = NULL;
        struct store *s = NULL;

        assert_int_equal(store_open(dir, &s, &error), expected);
        assert_null(s);
        assert_non_null(error);
        if (!strstr(error, says))
                fail_msg("the sentence is \"%s\"", error);
}

static void test_refuses_what_others_can_write(void **state)
{
        static const mode_t modes[] = {0770, 0702, 0777, 01777, 0720};
        struct fixture *f = *state;

        for (size_t i = 0; i < ELEMENTSOF(modes); i++) {
                assert_int_equal(chmod(f->dir, modes[i]), 0);
                assert_refused(f->dir, -EPERM, "written to by others");
        }
        assert_int_equal(chmod(f->dir, 0700), 0);
        assert_int_equal(chmod(path_in(f, "orders"), 0777), 0);
        assert_refused(f->dir, -EPERM, "/orders can be written to by others");
}

static void test_takes_reading_away(void **state)
{
        struct fixture *f = *state;
        struct store *s = NULL;
        struct stat st;

        assert_int_equal(chmod(f->dir, 0755), 0);
        assert_int_equal(store_open(f->dir, &s, NULL), 0);
        store_close(s);
        assert_int_equal(stat(f->dir, &st), 0);
        assert_int_equal(st.st_mode & 07777, 0700);
}

static void test_refuses_another_owner(void **state)
{
        struct fixture *f = *state;

        if (geteuid() != 0) {
                print_message("skipped: only root can give a directory away\n");
                skip();
        }
        assert_int_equal(chown(path_in(f, "members"), 65534, 0), 0);
        assert_refused(f->dir, -EPERM, "belongs to uid 65534");
}

static void test_refuses_symlinks(void **state)
{
        struct fixture *f = *state;
        char link[80], slashes[96];

        snprintf(link, sizeof(link), "%s.link", f->dir);
        snprintf(slashes, sizeof(slashes), "%s//", link);
        assert_int_equal(symlink(f->dir, link), 0);
        assert_refused(link, -ELOOP, "symbolic link");
        assert_refused(slashes, -ELOOP, "symbolic link");
        assert_int_equal(unlink(link), 0);

        assert_int_equal(rmdir(path_in(f, "history")), 0);
        assert_int_equal(symlink("/tmp", path_in(f, "history")), 0);
        assert_refused(f->dir, -ELOOP, "/history is a symbolic link");
}

static void test_refuses_a_file(void **state)
{
        struct fixture *f = *state;

        put(f, "plain", "");
        assert_refused(path_in(f, "plain"), -ENOTDIR, "cannot be opened");
        assert_refused(path_in(f, "no/where"), -ENOENT, "cannot be created");
}

static void test_leftover_temporaries(void **state)
{
        struct fixture *f = *state;
        _cleanup_loaded_ struct loaded l = {0};
        struct store *s = NULL;

        save_new(f, 1);
        put(f, "orders/.tmp-0123456789abcdef", "{\"half\": ");
        put(f, "members/.tmp-fedcba9876543210", "");
        load(f, &l); /* not a damaged order, only not finished */
        assert_int_equal(l.n, 1);
        assert_int_equal(l.problems.n, 0);
        assert_int_equal(store_open(f->dir, &s, NULL), 0);
        store_close(s);
        assert_int_equal(count_files(f, "orders"), 1);
        assert_int_equal(count_files(f, "members"), 0);
}

/* ---- orders ---- */

static void test_order_round_trip(void **state)
{
        struct fixture *f = *state;
        _cleanup_loaded_ struct loaded l = {0};
        struct stat st;

        save_new(f, 2);
        save_new(f, 1);
        save_new(f, 1); /* again: replaces */
        load(f, &l);
        assert_int_equal(l.n, 2);
        assert_int_equal(l.problems.n, 0);
        assert_string_equal(l.orders[0]->id, id_of(1));
        assert_string_equal(l.orders[1]->profile->name, "staff");
        assert_int_equal(lstat(path_in(f, "orders/00000000000000000000000000000001.json"), &st), 0);
        assert_int_equal(st.st_mode & 07777, 0600);
        assert_int_equal(count_files(f, "orders"), 2);
}

static void test_finished_moves_to_history(void **state)
{
        struct fixture *f = *state;
        _cleanup_(order_freep) struct order *o = make_order(7);
        _cleanup_loaded_ struct loaded l = {0}, h = {0};

        assert_int_equal(store_save_order(f->store, o), 0);
        finish(o, T0 + 100);
        assert_int_equal(store_save_order(f->store, o), 0);
        o->refused_packets = 99;
        assert_int_equal(store_save_order(f->store, o), 0); /* with the final counts */
        load(f, &l);
        assert_int_equal(l.n, 0);
        load_history(f, 10, &h);
        assert_int_equal(h.n, 1);
        assert_int_equal(h.orders[0]->refused_packets, 99);
        assert_int_equal(h.orders[0]->state, ORDER_LIFTED);
        assert_int_equal(access(path_in(f, "history/00001480521600000100-"
                                           "00000000000000000000000000000007.json"),
                                F_OK),
                         0);
}

/* A lift that the kernel refused is taken back: the order is in force again, whatever history says; and when
 * it is lifted at last, one record remains. */
static void test_end_taken_back(void **state)
{
        struct fixture *f = *state;
        _cleanup_(order_freep) struct order *o = make_order(7);
        _cleanup_loaded_ struct loaded l = {0}, h = {0}, last = {0};

        finish(o, T0 + 100);
        assert_int_equal(store_save_order(f->store, o), 0);
        o->state = ORDER_ACTIVE;
        assert_int_equal(store_save_order(f->store, o), 0);
        load(f, &l);
        assert_int_equal(l.n, 1);
        load_history(f, 10, &h);
        assert_int_equal(h.n, 0);

        finish(o, T0 + 200);
        assert_int_equal(store_save_order(f->store, o), 0);
        load_history(f, 10, &last);
        assert_int_equal(last.n, 1);
        assert_int_equal(last.orders[0]->ended_at, T0 + 200);
        assert_int_equal(count_files(f, "history"), 1);
}

static void test_refuses_bad_ids(void **state)
{
        static const char *const ids[] = {"", "1", "../../../../../etc/passwd0000000",
                                          "0000000000000000000000000000000G",
                                          "ABCDEF00000000000000000000000000"};
        struct fixture *f = *state;
        struct attempts a = {0};

        for (size_t i = 0; i < ELEMENTSOF(ids); i++) {
                _cleanup_(order_freep) struct order *o = make_order(1);

                strcpy(o->id, ids[i]);
                assert_int_equal(store_save_order(f->store, o), -EINVAL);
                assert_int_equal(store_save_attempts(f->store, ids[i], &a), -EINVAL);
                assert_int_equal(store_load_attempts(f->store, ids[i], &a), -EINVAL);
        }
        assert_int_equal(count_files(f, "orders"), 0);
}

static void copy_order(const struct fixture *f, const char *to)
{
        _cleanup_free_ char *text = NULL;
        _cleanup_fclose_ FILE *from = fopen(path_in(f, "orders/00000000000000000000000000000001.json"), "r");
        size_t size = 0;

        assert_non_null(from);
        assert_true(getdelim(&text, &size, '\0', from) > 0);
        put(f, to, text);
}

/* Each kind of damage: the file goes to damaged/, one sentence says why, the good order is loaded all the
 * same. */
static void test_damaged_orders(void **state)
{
        static const struct {
                const char *name, *text; /* NULL: a copy of the good order */
                const char *says;
        } table[] = {
                {"00000000000000000000000000000002.json", "", "not JSON"},
                {"00000000000000000000000000000002.json", "{\"version\": 1, \"id\": \"0000", "not JSON"},
                {"00000000000000000000000000000002.json", "{\"version\": 1, \"version\": 1}", "not JSON"},
                {"00000000000000000000000000000002.json", "[]", "not a JSON object"},
                {"00000000000000000000000000000002.json", "{}", "version"},
                {"00000000000000000000000000000002.json", "{\"version\": 2}", "version 2"},
                {"00000000000000000000000000000002.json", NULL, "name does not agree"},
                {"0000000000000000000000000000000.json", NULL, "gives no such name"},
                {"0000000000000000000000000000000A.json", NULL, "gives no such name"},
                {"00000000000000000000000000000002.json~", NULL, "gives no such name"},
                {"README", "hello", "gives no such name"},
                {"evil\n<3>\x1b[31m", "x", "evil??3???31m"},
        };
        struct fixture *f = *state;

        save_new(f, 1);
        for (size_t i = 0; i < ELEMENTSOF(table); i++) {
                _cleanup_loaded_ struct loaded l = {0}, again = {0};
                char name[128];

                snprintf(name, sizeof(name), "orders/%s", table[i].name);
                if (table[i].text)
                        put(f, name, table[i].text);
                else
                        copy_order(f, name);
                load(f, &l);
                assert_int_equal(l.n, 1);
                assert_string_equal(l.orders[0]->id, id_of(1));
                assert_int_equal(l.problems.n, 1);
                if (!strstr(l.problems.items[0], table[i].says))
                        fail_msg("%s: the sentence is \"%s\"", table[i].name, l.problems.items[0]);
                assert_non_null(strstr(l.problems.items[0], "set aside as damaged/orders-"));
                assert_null(strchr(l.problems.items[0], '\n'));
                assert_int_equal(count_files(f, "damaged"), i + 1); /* nothing overwritten */
                assert_int_equal(count_files(f, "orders"), 1);
                load(f, &again);
                assert_int_equal(again.problems.n, 0);
        }
}

static void test_finished_in_orders(void **state)
{
        struct fixture *f = *state;
        _cleanup_loaded_ struct loaded l = {0};
        _cleanup_(order_freep) struct order *o = make_order(5);
        _cleanup_json_ json_t *j = NULL;

        finish(o, T0 + 5);
        j = order_to_json(o);
        assert_int_equal(json_dump_file(j, path_in(f, "orders/00000000000000000000000000000005.json"), 0), 0);
        load(f, &l);
        assert_int_equal(l.n, 0);
        assert_int_equal(l.problems.n, 1);
        assert_non_null(strstr(l.problems.items[0], "finished order"));
}

static void test_not_regular_files(void **state)
{
        struct fixture *f = *state;
        _cleanup_loaded_ struct loaded l = {0};
        int fd;

        save_new(f, 1);
        assert_int_equal(symlink("00000000000000000000000000000001.json",
                                 path_in(f, "orders/00000000000000000000000000000002.json")),
                         0);
        assert_int_equal(mkfifo(path_in(f, "orders/00000000000000000000000000000003.json"), 0600), 0);
        assert_int_equal(mkdir(path_in(f, "orders/00000000000000000000000000000004.json"), 0700), 0);
        fd = open(path_in(f, "orders/00000000000000000000000000000005.json"), O_CREAT | O_WRONLY, 0600);
        assert_true(fd >= 0);
        assert_int_equal(ftruncate(fd, 1 << 30), 0); /* sparse */
        close(fd);
        load(f, &l);
        assert_int_equal(l.n, 1);
        assert_int_equal(l.problems.n, 4);
        assert_non_null(strstr(l.problems.items[0], "symbolic link"));
        assert_non_null(strstr(l.problems.items[1], "not a regular file"));
        assert_non_null(strstr(l.problems.items[2], "not a regular file"));
        assert_non_null(strstr(l.problems.items[3], "too large"));
        assert_int_equal(count_files(f, "damaged"), 4);
}

/* A symlink put where an order is saved is replaced, not followed. */
static void test_save_does_not_follow(void **state)
{
        struct fixture *f = *state;
        struct stat st;

        put(f, "victim", "precious");
        assert_int_equal(symlink("../victim", path_in(f, "orders/00000000000000000000000000000001.json")), 0);
        save_new(f, 1);
        assert_int_equal(lstat(path_in(f, "orders/00000000000000000000000000000001.json"), &st), 0);
        assert_true(S_ISREG(st.st_mode));
        assert_int_equal(stat(path_in(f, "victim"), &st), 0);
        assert_int_equal(st.st_size, 8);
}

/* ---- history ---- */

static void test_history_order_and_limit(void **state)
{
        static const uint64_t ended[] = {T0 + 500, T0 + 100, T0 + 900, T0 + 300, 7};
        static const unsigned newest_first[] = {2, 0, 3, 1, 4};
        struct fixture *f = *state;
        _cleanup_loaded_ struct loaded all = {0}, two = {0}, none = {0};

        for (unsigned i = 0; i < ELEMENTSOF(ended); i++) {
                _cleanup_(order_freep) struct order *o = make_order(i);

                finish(o, ended[i]);
                assert_int_equal(store_save_order(f->store, o), 0);
        }
        load_history(f, 100, &all);
        assert_int_equal(all.n, ELEMENTSOF(ended));
        for (size_t i = 0; i < all.n; i++)
                assert_string_equal(all.orders[i]->id, id_of(newest_first[i]));
        put(f, "history/00009999999999999999-00000000000000000000000000000009.json", "{");
        load_history(f, 2, &two); /* a damaged one does not use up the limit */
        assert_int_equal(two.n, 2);
        assert_string_equal(two.orders[0]->id, id_of(2));
        assert_int_equal(two.problems.n, 1);
        load_history(f, 0, &none);
        assert_int_equal(none.n, 0);
}

static double seconds(void)
{
        struct timespec t;

        clock_gettime(CLOCK_MONOTONIC, &t);
        return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void test_history_of_ten_thousand(void **state)
{
        struct fixture *f = *state;
        _cleanup_loaded_ struct loaded l = {0};
        double start;

        for (unsigned i = 0; i < 10000; i++) {
                char name[128];

                snprintf(name, sizeof(name), "history/%020" PRIu64 "-%032x.json", T0 + i, i);
                put(f, name, "{}");
        }
        for (unsigned i = 0; i < 20; i++) {
                _cleanup_(order_freep) struct order *o = make_order(20000 + i);

                finish(o, T0 + 20000 + i);
                assert_int_equal(store_save_order(f->store, o), 0);
        }
        start = seconds();
        load_history(f, 20, &l);
        print_message("20 of 10,020: %.1f ms\n", (seconds() - start) * 1000);
        assert_int_equal(l.n, 20);
        assert_string_equal(l.orders[0]->id, id_of(20019));
        assert_int_equal(l.problems.n, 0); /* the old ones were not even opened */
        assert_true(seconds() - start < 1);
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
        assert_int_equal(store_save_attempts(f->store, id_of(1), &a), 0);
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
        assert_int_equal(store_save_attempts(f->store, id_of(2), &none), 0);
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
        assert_int_equal(store_save_attempts(f->store, id_of(1), &a), 0);
        print_message("saving %zu attempts: %.0f ms\n", n, (seconds() - start) * 1000);
        start = seconds();
        assert_int_equal(store_load_attempts(f->store, id_of(1), &back), 0);
        print_message("loading them: %.0f ms\n", (seconds() - start) * 1000);
        assert_int_equal(back.n, n);
        assert_memory_equal(back.items, a.items, n * sizeof(*a.items));
        attempts_clear(&a);
        attempts_clear(&back);
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
        assert_int_equal(store_load_membership(f->store, "staff", &back), -ENOENT);
        assert_int_equal(store_save_membership(f->store, "staff", &m), 0);
        assert_int_equal(store_load_membership(f->store, "staff", &back), 0);
        assert_true(subjects_equal(&m.subjects, &back.subjects));
        assert_true(words_equal(&m.missing_groups, &back.missing_groups));
        assert_int_equal(back.as_of, T0);

        assert_int_equal(store_drop_membership(f->store, "staff"), 0);
        assert_int_equal(store_drop_membership(f->store, "staff"), 0);
        assert_int_equal(store_load_membership(f->store, "staff", &untouched), -ENOENT);

        put(f, "members/staff", "lockdown-members 1\nuid 10");
        assert_int_equal(store_load_membership(f->store, "staff", &untouched), -EBADMSG);
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
                assert_int_equal(store_load_membership(f->store, names[i], &m), -EINVAL);
                assert_int_equal(store_drop_membership(f->store, names[i]), -EINVAL);
        }
        assert_int_equal(count_files(f, "members"), 0);
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

        if (store_open(f.dir, &f.store, NULL) < 0)
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
                cmocka_unit_test_setup_teardown(test_directories, setup, teardown),
                cmocka_unit_test_setup_teardown(test_refuses_what_others_can_write, setup, teardown),
                cmocka_unit_test_setup_teardown(test_takes_reading_away, setup, teardown),
                cmocka_unit_test_setup_teardown(test_refuses_another_owner, setup, teardown),
                cmocka_unit_test_setup_teardown(test_refuses_symlinks, setup, teardown),
                cmocka_unit_test_setup_teardown(test_refuses_a_file, setup, teardown),
                cmocka_unit_test_setup_teardown(test_leftover_temporaries, setup, teardown),
                cmocka_unit_test_setup_teardown(test_order_round_trip, setup, teardown),
                cmocka_unit_test_setup_teardown(test_finished_moves_to_history, setup, teardown),
                cmocka_unit_test_setup_teardown(test_end_taken_back, setup, teardown),
                cmocka_unit_test_setup_teardown(test_refuses_bad_ids, setup, teardown),
                cmocka_unit_test_setup_teardown(test_damaged_orders, setup, teardown),
                cmocka_unit_test_setup_teardown(test_finished_in_orders, setup, teardown),
                cmocka_unit_test_setup_teardown(test_not_regular_files, setup, teardown),
                cmocka_unit_test_setup_teardown(test_save_does_not_follow, setup, teardown),
                cmocka_unit_test_setup_teardown(test_history_order_and_limit, setup, teardown),
                cmocka_unit_test_setup_teardown(test_history_of_ten_thousand, setup, teardown),
                cmocka_unit_test_setup_teardown(test_attempts_round_trip, setup, teardown),
                cmocka_unit_test_setup_teardown(test_attempts_many, setup, teardown),
                cmocka_unit_test_setup_teardown(test_attempts_damaged, setup, teardown),
                cmocka_unit_test_setup_teardown(test_membership, setup, teardown),
                cmocka_unit_test_setup_teardown(test_membership_names, setup, teardown),
                cmocka_unit_test(test_disk_full),
        };

        return cmocka_run_group_tests_name("store", tests, NULL, NULL);
}
