/* SPDX-License-Identifier: GPL-2.0-or-later */

/* The state directory and the orders in it, against a real file system. */

// wrap: own_uid

#include "own.h"
#include "store-lab.h"
#include <fcntl.h>
#include <inttypes.h>
#include <sys/stat.h>

static uid_t service; /* the user of the service, if not 0 */

bool __real_own_uid(uid_t uid);
bool __wrap_own_uid(uid_t uid);
bool __wrap_own_uid(uid_t uid)
{
        return __real_own_uid(uid) || (service != 0 && uid == service);
}

/* ---- the directory ---- */

static void test_directories(void **state)
{
        static const char *const names[] = {"",        "orders", "history", "attempts",
                                            "members", "record", "damaged", "spare"};
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

        assert_int_equal(store_open(dir, &s, NULL, &error), expected);
        assert_null(s);
        assert_non_null(error);
        if (!strstr(error, says))
                fail_msg("the sentence is \"%s\"", error);
}

/* Opened again, with one sentence. */
static void assert_told(struct fixture *f, const char *says)
{
        _cleanup_problems_ struct problems problems = {0};

        f->store = store_close(f->store);
        assert_int_equal(store_open(f->dir, &f->store, &problems, NULL), 0);
        assert_int_equal(problems.n, 1);
        if (!strstr(problems.items[0], says))
                fail_msg("the sentence is \"%s\"", problems.items[0]);
        f->store = store_close(f->store);
        problems_clear(&problems);
        assert_int_equal(store_open(f->dir, &f->store, &problems, NULL), 0);
        assert_int_equal(problems.n, 0); /* it is put right */
}

static void assert_orders(struct fixture *f, size_t n)
{
        _cleanup_loaded_ struct loaded l = {0};

        load(f, &l);
        assert_int_equal(l.n, n);
        assert_int_equal(l.problems.n, 0);
}

static mode_t mode_of(const char *path)
{
        struct stat st;

        assert_int_equal(lstat(path, &st), 0);
        return st.st_mode & 07777;
}

/* What is saved there stays in force: orders that are not read set people free. */
static void test_what_others_could_write(void **state)
{
        static const mode_t modes[] = {0770, 0702, 0777, 01777, 0720};
        struct fixture *f = *state;

        save_new(f, 1);
        for (size_t i = 0; i < ELEMENTSOF(modes); i++) {
                assert_int_equal(chmod(f->dir, modes[i]), 0);
                assert_told(f, "others could write to ");
                assert_int_equal(mode_of(f->dir), 0700);
        }
        assert_int_equal(chmod(path_in(f, "orders"), 0777), 0);
        assert_told(f, "/orders (mode 0777): what is in it is taken as it stands");
        assert_int_equal(mode_of(path_in(f, "orders")), 0700);
        assert_orders(f, 1);
}

static void test_takes_reading_away(void **state)
{
        struct fixture *f = *state;
        struct store *s = NULL;
        struct stat st;

        assert_int_equal(chmod(f->dir, 0755), 0);
        assert_int_equal(store_open(f->dir, &s, NULL, NULL), 0);
        store_close(s);
        assert_int_equal(stat(f->dir, &st), 0);
        assert_int_equal(st.st_mode & 07777, 0700);
}

static void only_as_root(void)
{
        if (geteuid() == 0)
                return;
        print_message("skipped: only root can give a directory away\n");
        skip();
}

/* Names in the state directory that begin so. */
static unsigned count_asides(const struct fixture *f, const char *name)
{
        DIR *d = opendir(f->dir);
        const struct dirent *e;
        unsigned n = 0;

        assert_non_null(d);
        while ((e = readdir(d)))
                n += strncmp(e->d_name, name, strlen(name)) == 0;
        closedir(d);
        return n;
}

static void test_another_owner(void **state)
{
        struct fixture *f = *state;

        only_as_root();
        save_new(f, 1);
        for (unsigned i = 1; i <= 2; i++) { /* also within one second */
                assert_int_equal(chown(path_in(f, "members"), 65534, 0), 0);
                assert_told(f, "/members cannot be used: it belongs to uid 65534; it was set aside as ");
                assert_int_equal(count_asides(f, "members.aside."), i);
        }
        assert_orders(f, 1);
        assert_int_equal(chown(f->dir, 65534, 0), 0);
        assert_refused(f->dir, -EUCLEAN, "cannot be used: it belongs to uid 65534; ");
        assert_int_equal(chown(f->dir, 0, 0), 0);
        assert_orders(f, 1);
}

static void test_symlinks(void **state)
{
        struct fixture *f = *state;
        char link[80], slashes[96];

        snprintf(link, sizeof(link), "%s.link", f->dir);
        snprintf(slashes, sizeof(slashes), "%s//", link);
        assert_int_equal(symlink(f->dir, link), 0);
        assert_refused(link, -EUCLEAN, "it is a symbolic link");
        assert_refused(slashes, -EUCLEAN, "it is a symbolic link");
        assert_int_equal(unlink(link), 0);

        assert_int_equal(rmdir(path_in(f, "history")), 0);
        assert_int_equal(symlink("/tmp", path_in(f, "history")), 0);
        assert_told(f, "/history cannot be used: it is a symbolic link; it was set aside as ");
        assert_int_equal(count_asides(f, "history.aside."), 1);
}

static void test_no_directory(void **state)
{
        struct fixture *f = *state;

        put(f, "plain", "");
        assert_refused(path_in(f, "plain"), -EUCLEAN, "it is no directory");
        assert_refused(path_in(f, "no/where"), -ENOENT, "cannot be used: No such file");
        assert_int_equal(rmdir(path_in(f, "orders")), 0);
        assert_int_equal(mkfifo(path_in(f, "orders"), 0600), 0); /* and is not waited for */
        assert_told(f, "/orders cannot be used: it is no directory; it was set aside as ");
        save_new(f, 1);
        assert_orders(f, 1);
}

/* Where there is no directory, everything says so, and nothing is taken for saved. */
static void test_without_a_directory(void **state)
{
        _cleanup_(store_closep) struct store *s = store_new_without();
        _cleanup_membership_ struct membership m = {0};
        _cleanup_attempts_ struct attempts a = {0};
        _cleanup_problems_ struct problems problems = {0};
        _cleanup_(order_freep) struct order *o = make_order(1);
        struct fixture *f = *state;
        struct order **orders, *found;
        size_t n;

        assert_non_null(s);
        assert_int_equal(store_save_order(s, o), -ENOMEDIUM);
        assert_int_equal(store_load_orders(s, &orders, &n, &problems), -ENOMEDIUM);
        assert_int_equal(store_load_finished(s, o->id, &found), -ENOMEDIUM);
        assert_int_equal(store_save_record(s, o->id, &(struct attempts_record){.earlier = a}), -ENOMEDIUM);
        assert_int_equal(store_load_attempts(s, o->id, &a), -ENOMEDIUM);
        assert_int_equal(store_save_membership(s, "staff", &m), -ENOMEDIUM);
        assert_int_equal(store_load_membership(s, "staff", &m, NULL), -ENOMEDIUM);
        assert_int_equal(store_drop_membership(s, "staff"), -ENOMEDIUM);
        assert_false(store_has_membership(s, "staff"));

        save_new(f, 2); /* until there is one */
        assert_int_equal(store_reopen(s, path_in(f, "no/where"), NULL, NULL), -ENOENT);
        assert_int_equal(store_save_order(s, o), -ENOMEDIUM);
        assert_int_equal(store_reopen(s, f->dir, &problems, NULL), 0);
        assert_int_equal(store_save_order(s, o), 0);
        assert_orders(f, 2);
}

/* A file is its owner's word; a link more, or a mode, is nothing that anybody could use in a closed
 * directory. */
static void test_whose_files(void **state)
{
        static const char file[] = "orders/00000000000000000000000000000001.json";
        struct fixture *f = *state;
        _cleanup_loaded_ struct loaded l = {0};
        struct stat before, after;
        char backup[96];

        snprintf(backup, sizeof(backup), "%s/backup", f->dir);
        save_new(f, 1);
        assert_int_equal(chmod(path_in(f, file), 0666), 0);
        assert_int_equal(link(path_in(f, file), backup), 0);
        assert_orders(f, 1);
        assert_int_equal(stat(backup, &before), 0);
        save_new(f, 1); /* a new file: the backup stays what it was */
        assert_int_equal(stat(backup, &after), 0);
        assert_int_equal(after.st_mtim.tv_nsec, before.st_mtim.tv_nsec);
        assert_int_equal(after.st_nlink, 1);
        assert_int_equal(mode_of(path_in(f, file)), 0600);

        only_as_root();
        assert_int_equal(chown(path_in(f, file), 65534, 0), 0);
        load(f, &l);
        assert_int_equal(l.n, 0);
        assert_int_equal(l.problems.n, 1);
        assert_non_null(
                strstr(l.problems.items[0], "cannot be used: it belongs to uid 65534; it was set aside as "));
        assert_int_equal(count_files(f, "damaged"), 1);
}

static void give(struct fixture *f, const char *name, uid_t uid)
{
        assert_int_equal(chown(path_in(f, name), uid, uid), 0);
}

static uid_t owner_of(struct fixture *f, const char *name)
{
        struct stat st;

        assert_int_equal(lstat(path_in(f, name), &st), 0);
        return st.st_uid;
}

/* Started by hand as root, in the directory that the service keeps as a user of its own, who gets along with
 * what is made there. */
static void test_root_in_the_directory_of_the_service(void **state)
{
        static const char one[] = "orders/00000000000000000000000000000001.json",
                          two[] = "orders/00000000000000000000000000000002.json";
        static const char *const names[] = {one, "orders", "history", "attempts", "members", "damaged", ""};
        struct fixture *f = *state;
        _cleanup_loaded_ struct loaded l = {0};

        only_as_root();
        save_new(f, 1);
        assert_int_equal(rmdir(path_in(f, "record")), 0);
        for (size_t i = 0; i < ELEMENTSOF(names); i++)
                give(f, names[i], 65533);
        f->store = store_close(f->store);
        service = 65533;
        assert_int_equal(store_open(f->dir, &f->store, NULL, NULL), 0);
        assert_orders(f, 1);
        save_new(f, 2);
        assert_orders(f, 2);
        assert_int_equal(owner_of(f, two), 65533);
        assert_int_equal(owner_of(f, "record"), 65533);

        give(f, two, 65534);
        load(f, &l);
        assert_int_equal(l.n, 1);
        assert_int_equal(l.problems.n, 1);
        assert_non_null(strstr(l.problems.items[0], "it belongs to uid 65534"));
        service = 0;
        assert_refused(f->dir, -EUCLEAN, "cannot be used: it belongs to uid 65533; ");
        give(f, "", 0);
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
        assert_int_equal(store_open(f->dir, &s, NULL, NULL), 0);
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

/* … also if the daemon died before it could remove what said that it had ended. */
static void test_false_end(void **state)
{
        struct fixture *f = *state;
        _cleanup_(order_freep) struct order *o = make_order(7), *other = make_order(8);
        _cleanup_loaded_ struct loaded l = {0}, h = {0};

        finish(other, T0 + 50);
        assert_int_equal(store_save_order(f->store, other), 0);
        finish(o, T0 + 100);
        assert_int_equal(store_save_order(f->store, o), 0);
        o->state = ORDER_ACTIVE;
        assert_int_equal(store_save_order(f->store, o), 0);
        assert_int_equal(count_files(f, "history"), 2);
        load_history(f, 10, &h);
        assert_int_equal(h.n, 1);
        load(f, &l);
        assert_int_equal(l.n, 1);
        assert_int_equal(count_files(f, "history"), 1);
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
        assert_int_equal(store_take_back_end(f->store, o, T0 + 100), 0);
        assert_int_equal(count_files(f, "history"), 0);
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
                assert_int_equal(store_save_record(f->store, ids[i], &(struct attempts_record){.earlier = a}),
                                 -EINVAL);
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

int main(void)
{
        const struct CMUnitTest tests[] = {
                IN_STORE(test_directories),
                IN_STORE(test_what_others_could_write),
                IN_STORE(test_takes_reading_away),
                IN_STORE(test_another_owner),
                IN_STORE(test_symlinks),
                IN_STORE(test_no_directory),
                IN_STORE(test_without_a_directory),
                IN_STORE(test_whose_files),
                IN_STORE(test_root_in_the_directory_of_the_service),
                IN_STORE(test_leftover_temporaries),
                IN_STORE(test_order_round_trip),
                IN_STORE(test_finished_moves_to_history),
                IN_STORE(test_end_taken_back),
                IN_STORE(test_false_end),
                IN_STORE(test_refuses_bad_ids),
                IN_STORE(test_damaged_orders),
                IN_STORE(test_finished_in_orders),
                IN_STORE(test_not_regular_files),
                IN_STORE(test_save_does_not_follow),
                IN_STORE(test_history_order_and_limit),
                IN_STORE(test_history_of_ten_thousand),
        };

        return cmocka_run_group_tests_name("store", tests, NULL, NULL);
}
