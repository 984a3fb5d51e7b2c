/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Looking for whose sockets are, in trees made for the test: control groups with real processes in them, and
 * the files of a machine. */

// wrap: fopen

#include "doors.h"
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

#include <cmocka.h>

/* How often a control group's processes were listed. */
static unsigned n_listings;

FILE *__real_fopen(const char *path, const char *mode);
FILE *__wrap_fopen(const char *path, const char *mode);
FILE *__wrap_fopen(const char *path, const char *mode)
{
        n_listings += strstr(path, "/cgroup.procs") != NULL && *mode == 'r';
        return __real_fopen(path, mode);
}

static int setup(void **state)
{
        char *root = strdup("/tmp/test-doors-XXXXXX");

        assert_non_null(mkdtemp(root));
        assert_int_equal(chmod(root, 0755), 0);
        *state = root;
        return 0;
}

static int teardown(void **state)
{
        char command[128];

        snprintf(command, sizeof(command), "rm -rf '%s'", (char *)*state);
        assert_int_equal(system(command), 0);
        free(*state);
        return 0;
}

static const char *below(const char *root, const char *rest)
{
        static char path[512];

        snprintf(path, sizeof(path), "%s/%s", root, rest);
        return path;
}

static void make_directory(const char *root, const char *rest)
{
        char command[512];

        snprintf(command, sizeof(command), "mkdir -p '%s/%s'", root, rest);
        assert_int_equal(system(command), 0);
}

static void write_file(const char *root, const char *rest, const char *text)
{
        FILE *f = fopen(below(root, rest), "w");

        assert_non_null(f);
        assert_true(fputs(text, f) >= 0);
        assert_int_equal(fclose(f), 0);
}

/* ---- control groups ---- */

static uint64_t id_of(const char *root, const char *rest)
{
        struct stat st;

        assert_int_equal(stat(below(root, rest), &st), 0);
        return st.st_ino; /* what is no cgroup2 has no other id */
}

static pid_t start(const char *name)
{
        int ready[2];
        pid_t child;
        char c;

        assert_int_equal(pipe(ready), 0);
        child = fork();
        assert_true(child >= 0);
        if (child == 0) {
                prctl(PR_SET_PDEATHSIG, SIGKILL);
                prctl(PR_SET_NAME, name);
                if (write(ready[1], "", 1) != 1)
                        _exit(1);
                for (;;)
                        pause();
        }
        assert_int_equal(read(ready[0], &c, 1), 1);
        close(ready[0]);
        close(ready[1]);
        return child;
}

/* Puts processes of these names (space separated) into a control group; they end with the test. */
static size_t populate(const char *root, const char *group, const char *names, pid_t *pids, size_t max)
{
        _cleanup_free_ char *copy = strdup(names);
        char text[256] = "", *rest = copy, *name, file[256];
        size_t n = 0;

        make_directory(root, group);
        while ((name = strsep(&rest, " ")) && *name && n < max) {
                pids[n] = start(name);
                snprintf(text + strlen(text), sizeof(text) - strlen(text), "%d\n", pids[n++]);
        }
        snprintf(file, sizeof(file), "%s/cgroup.procs", group);
        write_file(root, file, text);
        return n;
}

static void end_all(const pid_t *pids, size_t n)
{
        for (size_t i = 0; i < n; i++) {
                kill(pids[i], SIGKILL);
                waitpid(pids[i], NULL, 0);
        }
}

static struct listener *expect(struct listeners *l, uint64_t cgroup, uint32_t uid)
{
        struct listener *new = listeners_add(l);

        assert_non_null(new);
        new->cgroup = cgroup;
        new->uid = uid;
        return new;
}

static void test_paths(void **state)
{
        static const char *const groups[] = {"", "init.scope", "system.slice/squid.service",
                                             "system.slice/system-tor.slice/tor@default.service",
                                             "user.slice/user-1000.slice/session-1.scope"};
        const char *root = *state;
        _cleanup_listeners_ struct listeners l = {0};

        for (size_t i = 0; i < ELEMENTSOF(groups); i++) {
                make_directory(root, groups[i]);
                expect(&l, id_of(root, groups[i]), 0);
                expect(&l, id_of(root, groups[i]), 1);
        }
        expect(&l, UINT64_MAX, 0); /* gone meanwhile */
        expect(&l, 0, 0);          /* the kernel does not say */
        assert_int_equal(doors_name(&l, root), 0);
        for (size_t i = 0; i < 2 * ELEMENTSOF(groups); i++)
                assert_string_equal(l.items[i].cgroup_path, groups[i / 2]);
        assert_null(l.items[l.n - 1].cgroup_path);
        assert_null(l.items[l.n - 2].cgroup_path);
}

static void test_programs(void **state)
{
        static const struct {
                const char *group, *processes;
                uint32_t uid; /* of the socket */
                const char *expected;
        } table[] = {
                {"system.slice/a.service", "first second", 0, "first"},
                {"system.slice/b.service", "helper squid", 0, "squid"},
                {"system.slice/c.service", "", 0, NULL},
                {"user.slice/user-0.slice/session-1.scope", "bash ssh", 0, "ssh"},
                {"user.slice/user-0.slice/session-2.scope", "sshd bash", 0, "sshd"},
                {"user.slice/user-0.slice/session-3.scope", "sshd bash python3", 0, "python3"},
                {"user.slice/user-0.slice/session-4.scope", "bash python3 node", 0, NULL}, /* either */
                {"user.slice/user-0.slice/session-5.scope", "bash ssh", 1000, NULL},       /* neither */
        };
        const char *root = *state;

        for (size_t i = 0; i < ELEMENTSOF(table); i++) {
                _cleanup_listeners_ struct listeners l = {0};
                pid_t pids[4];
                size_t n = populate(root, table[i].group, table[i].processes, pids, ELEMENTSOF(pids));
                uint32_t uid = 77;

                expect(&l, id_of(root, table[i].group), table[i].uid);
                assert_int_equal(doors_name(&l, root), 0);
                assert_int_equal(doors_first_uid(root, table[i].group, &uid), n > 0);
                assert_int_equal(uid, n > 0 ? getuid() : 77);
                end_all(pids, n);
                if (table[i].expected)
                        assert_string_equal(l.items[0].program, table[i].expected);
                else
                        assert_null(l.items[0].program);
        }
}

/* Thousands, if somebody wants to keep the daemon busy, and in no order. */
static void test_many_sockets(void **state)
{
        static const char *const groups[] = {"system.slice/a.service",
                                             "user.slice/user-0.slice/session-1.scope"};
        const char *root = *state;
        _cleanup_listeners_ struct listeners l = {0};
        pid_t pids[2];

        assert_int_equal(populate(root, groups[0], "squid", pids, 1), 1);
        assert_int_equal(populate(root, groups[1], "ssh", pids + 1, 1), 1);
        for (size_t i = 0; i < 1000; i++)
                expect(&l, id_of(root, groups[i % 2]), 0);
        n_listings = 0;
        assert_int_equal(doors_name(&l, root), 0);
        assert_int_equal(n_listings, ELEMENTSOF(groups));
        for (size_t i = 0; i < l.n; i++)
                assert_string_equal(l.items[i].program, i % 2 ? "ssh" : "squid");
        end_all(pids, ELEMENTSOF(pids));
}

/* ---- Unix sockets ---- */

static void bind_at(const char *root, const char *rest)
{
        struct sockaddr_un a = {.sun_family = AF_UNIX};
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

        snprintf(a.sun_path, sizeof(a.sun_path), "%s/%s", root, rest);
        assert_int_equal(bind(fd, (void *)&a, sizeof(a)), 0);
        close(fd); /* the file stays, and is what is looked at */
}

static void test_who_may_connect(void **state)
{
        static const struct {
                mode_t directory, socket;
                gid_t directory_gid, socket_gid;
                bool listed, anybody;
                gid_t gid;
        } table[] = {
                {0755, 0666, 0, 0, true, true, 0},
                {0755, 0660, 0, 999, true, false, 999},
                {0755, 0600, 0, 999, false, false, 0},
                {0755, 0640, 0, 999, false, false, 0}, /* to connect is to write */
                {0750, 0666, 999, 0, true, false, 999},
                {0700, 0666, 0, 0, false, false, 0},
                {0750, 0660, 999, 999, true, false, 999},
                {0750, 0660, 998, 999, false, false, 0},
        };
        const char *root = *state;

        if (geteuid() != 0)
                skip();
        make_directory(root, "run/cups");
        make_directory(root, "etc");
        bind_at(root, "run/cups/cups.sock");
        write_file(root, "etc/group", "root:x:0:\nlp:x:999:alice,bob,mallory\n");
        write_file(root, "etc/passwd",
                   "alice:x:2001:3000::/:/bin/sh\nbob:x:2002:2002::/:/bin/sh\nlpd:x:7:999::/:/bin/sh\n");
        for (size_t i = 0; i < ELEMENTSOF(table); i++) {
                _cleanup_listeners_ struct listeners l = {0};

                assert_int_equal(chown(below(root, "run/cups"), 0, table[i].directory_gid), 0);
                assert_int_equal(chmod(below(root, "run/cups"), table[i].directory), 0);
                assert_int_equal(chown(below(root, "run/cups/cups.sock"), 0, table[i].socket_gid), 0);
                assert_int_equal(chmod(below(root, "run/cups/cups.sock"), table[i].socket), 0);
                assert_int_equal(doors_add_unix(&l, root, "/run/cups/cups.sock", 0), 0);
                assert_int_equal(doors_add_unix(&l, root, "/run/cups/cups.sock", 0), 0); /* once is enough */
                assert_int_equal(l.n, table[i].listed);
                if (!table[i].listed)
                        continue;
                assert_int_equal(l.items[0].anybody, table[i].anybody);
                assert_string_equal(l.items[0].cgroup_path, "system.slice/cups.service");
                if (table[i].anybody)
                        continue;
                assert_int_equal(l.items[0].gid, table[i].gid);
                assert_int_equal(idset_count(&l.items[0].group_uids), 3); /* two listed, one primary */
                assert_true(idset_contains(&l.items[0].group_uids, 2001));
                assert_true(idset_contains(&l.items[0].group_uids, 7));
                assert_true(l.items[0].group_has_others); /* mallory is in no file */
        }
}

static void test_known_sockets(void **state)
{
        const char *root = *state;
        _cleanup_listeners_ struct listeners l = {0};

        make_directory(root, "run/redis");
        bind_at(root, "run/snapd.socket");
        bind_at(root, "run/redis/redis-server.sock");
        bind_at(root, "run/mine.sock");
        assert_int_equal(chmod(below(root, "run/redis/redis-server.sock"), 0777), 0);
        assert_int_equal(chmod(below(root, "run/snapd.socket"), 0666), 0);
        assert_int_equal(chmod(below(root, "run/mine.sock"), 0666), 0);
        assert_int_equal(doors_add_unix(&l, root, "/run/snapd.socket", 0), 0);
        assert_int_equal(doors_add_unix(&l, root, "/run/redis/redis-server.sock", 0), 0);
        assert_int_equal(doors_add_unix(&l, root, "public/pickup", 0),
                         0); /* whatever its mode: see sendmail(1) */
        assert_int_equal(l.n, 3);
        assert_int_equal(doors_add_unix(&l, root, "/run/mine.sock", 0), 0);
        assert_int_equal(doors_add_unix(&l, root, "/run/docker.sock", 0), 0); /* is not there */
        assert_int_equal(l.n, 3);
}

/* ---- the bus ---- */

static bool bus_lists(const char *root, const char *cgroup_root, const char *name, uint32_t *ret_uid)
{
        _cleanup_listeners_ struct listeners l = {0};
        bool found = false;

        assert_int_equal(doors_add_bus_services(&l, root, cgroup_root), 0);
        for (size_t i = 0; i < l.n; i++)
                if (strcmp(l.items[i].name, name) == 0) {
                        found = true;
                        *ret_uid = l.items[i].uid;
                }
        return found;
}

static void test_bus_services(void **state)
{
        static const char kit[] = "org.freedesktop.PackageKit";
        const char *root = *state;
        uint32_t uid = 1;
        pid_t pid;

        make_directory(root, "usr/share/dbus-1/system-services");
        make_directory(root, "usr/lib/systemd/system");
        make_directory(root, "etc/systemd/system");
        assert_false(bus_lists(root, NULL, kit, &uid));
        write_file(root, "usr/share/dbus-1/system-services/org.freedesktop.PackageKit.service",
                   "[D-BUS Service]\nName=org.freedesktop.PackageKit\nExec=/usr/libexec/packagekitd\n"
                   "User=root\nSystemdService=packagekit.service\n");
        assert_false(bus_lists(root, NULL, kit, &uid)); /* there is no such unit */
        write_file(root, "usr/lib/systemd/system/packagekit.service", "[Service]\n");
        assert_true(bus_lists(root, NULL, kit, &uid));
        assert_int_equal(uid, 0);
        assert_int_equal(symlink("/dev/null", below(root, "etc/systemd/system/packagekit.service")), 0);
        assert_false(bus_lists(root, NULL, kit, &uid)); /* masked */
        /* … but running all the same: masking stops nothing. */
        assert_int_equal(populate(root, "cgroup/system.slice/packagekit.service", "packagekitd", &pid, 1), 1);
        {
                char cgroup_root[256];

                snprintf(cgroup_root, sizeof(cgroup_root), "%s/cgroup", root);
                assert_true(bus_lists(root, cgroup_root, kit, &uid));
        }
        end_all(&pid, 1);
        assert_true(doors_is_system_bus("/run/dbus/system_bus_socket"));
        assert_false(doors_is_system_bus("/run/user/1000/bus"));
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(test_paths, setup, teardown),
                cmocka_unit_test_setup_teardown(test_programs, setup, teardown),
                cmocka_unit_test_setup_teardown(test_many_sockets, setup, teardown),
                cmocka_unit_test_setup_teardown(test_who_may_connect, setup, teardown),
                cmocka_unit_test_setup_teardown(test_known_sockets, setup, teardown),
                cmocka_unit_test_setup_teardown(test_bus_services, setup, teardown),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
