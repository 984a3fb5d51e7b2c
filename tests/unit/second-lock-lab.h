/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SECOND_LOCK_LAB_H
#define SECOND_LOCK_LAB_H

/* A place for test-second-lock.c to lock itself up in: a control group and a mount and network namespace of
 * its own, and a world at the other end of a wire. Whether something arrives is never waited out: a packet of
 * somebody who may send follows the one that may not, on the same way. */

#include "second-lock.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <mntent.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define PATIENCE_MS 5000 /* for what must come */

struct lab {
        char skip[256]; /* why there is none */
        char dir[64];
        char pins[96];
        char cgroup[256], home[256]; /* ours; where this process was before */
        int host, world;             /* network namespaces */
        pid_t world_keeper;
};
extern struct lab lab;

#define SUBJECT 61001
#define OTHER 61002
#define OUTSIDE4 "192.0.2.2"
#define INSIDE4 "10.77.0.2"
#define OUTSIDE6 "2001:db8:1::2"
#define INSIDE6 "fd77::2"
#define HOST_OUTSIDE4 "192.0.2.1"
#define HOST_INSIDE4 "10.77.0.1"
#define HOST_OUTSIDE6 "2001:db8:1::1"
#define HOST_INSIDE6 "fd77::1"

__attribute__((format(printf, 1, 2))) static inline void run(const char *format, ...)
{
        char command[512];
        va_list arguments;

        va_start(arguments, format);
        assert_true(vsnprintf(command, sizeof(command), format, arguments) < (int)sizeof(command));
        va_end(arguments);
        if (system(command) != 0) // NOLINT(cert-env33-c): a test, its own words
                fail_msg("failed: %s", command);
}

static inline void write_file(const char *path, const char *text)
{
        int fd = open(path, O_WRONLY | O_CLOEXEC);

        if (fd < 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text))
                fail_msg("cannot write %s: %s", path, strerror(errno));
        close(fd);
}

static inline void join_cgroup(const char *path)
{
        char procs[360];

        assert_true(snprintf(procs, sizeof(procs), "%s/cgroup.procs", path) < (int)sizeof(procs));
        write_file(procs, "0");
}

static inline uint64_t cgroup_id(const char *path)
{
        struct stat st;

        assert_int_equal(stat(path, &st), 0);
        return st.st_ino;
}

/* A process that keeps a new network namespace (with USER: in a user namespace, as that user's root) until
 * killed. */
static inline pid_t keep_namespace(uid_t user, int *ret_net)
{
        char path[64], byte;
        int ready[2];
        pid_t pid;

        assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
        pid = fork();
        assert_true(pid >= 0);
        if (pid == 0) {
                if (user != 0 && (setgroups(0, NULL) < 0 || setresgid(user, user, user) < 0 ||
                                  setresuid(user, user, user) < 0))
                        _exit(1);
                prctl(PR_SET_PDEATHSIG, SIGKILL); /* behind setresuid(), which forgets it */
                if (unshare(CLONE_NEWNET | (user ? CLONE_NEWUSER : 0)) < 0)
                        _exit(1);
                if (write(ready[1], "", 1) != 1)
                        _exit(1);
                for (;;)
                        pause();
        }
        close(ready[1]);
        assert_int_equal(read(ready[0], &byte, 1), 1);
        close(ready[0]);
        if (user != 0) {
                char map[64];

                snprintf(map, sizeof(map), "0 %u 1", user);
                snprintf(path, sizeof(path), "/proc/%d/uid_map", pid);
                write_file(path, map);
        }
        snprintf(path, sizeof(path), "/proc/%d/ns/net", pid);
        *ret_net = open(path, O_RDONLY | O_CLOEXEC);
        assert_true(*ret_net >= 0);
        return pid;
}

static inline void end_process(pid_t pid)
{
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
}

static inline bool find_cgroup2(char *ret, size_t size)
{
        FILE *f = setmntent("/proc/self/mounts", "re");
        struct mntent *e;
        bool found = false;

        while (f && !found && (e = getmntent(f)))
                if (strcmp(e->mnt_type, "cgroup2") == 0)
                        found = snprintf(ret, size, "%s", e->mnt_dir) < (int)size;
        if (f)
                endmntent(f);
        return found;
}

/* Where in cgroup2 this process is now. */
static inline void find_home(const char *root, char *ret, size_t size)
{
        char line[128];
        FILE *f = fopen("/proc/self/cgroup", "re");

        assert_non_null(f);
        snprintf(ret, size, "%s", root);
        while (fgets(line, sizeof(line), f))
                if (strncmp(line, "0::", 3) == 0) {
                        line[strcspn(line, "\n")] = '\0';
                        snprintf(ret, size, "%s%s", root, line + 3);
                }
        fclose(f);
}

/* What one processor sends arrives in this order. */
static inline void stay_on_one_processor(void)
{
        cpu_set_t one;

        CPU_ZERO(&one);
        CPU_SET((size_t)sched_getcpu(), &one);
        assert_int_equal(sched_setaffinity(0, sizeof(one), &one), 0);
}

static inline void wire(const char *ours, pid_t theirs)
{
        run("ip link add %s type veth peer name w netns %d", ours, theirs);
        run("ip link set %s up && ip link set lo up", ours);
}

/* A machine that does not let anybody load programs has no second lock to test. */
static inline void lab_probe(void)
{
        struct second_lock *lock = NULL;
        char *error = NULL;
        int r = second_lock_open(lab.cgroup, lab.pins, &lock, &error);

        if (r == -EPERM || r == -EOPNOTSUPP)
                snprintf(lab.skip, sizeof(lab.skip), "%s", error ?: strerror(-r));
        free(error);
        second_lock_close(lock);
}

static inline int lab_make(void **state)
{
        char root[100];

        (void)state;
        if (geteuid() != 0)
                snprintf(lab.skip, sizeof(lab.skip), "needs root");
        else if (!find_cgroup2(root, sizeof(root)))
                snprintf(lab.skip, sizeof(lab.skip), "no cgroup2 is mounted");
        else if (unshare(CLONE_NEWNS | CLONE_NEWNET) < 0)
                snprintf(lab.skip, sizeof(lab.skip), "no namespaces of its own: %s", strerror(errno));
        if (lab.skip[0])
                return 0;
        stay_on_one_processor();
        assert_int_equal(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL), 0);
        snprintf(lab.dir, sizeof(lab.dir), "/tmp/lockdown-second-lock-XXXXXX");
        assert_non_null(mkdtemp(lab.dir));
        if (mount("bpf", lab.dir, "bpf", 0, NULL) < 0)
                snprintf(lab.skip, sizeof(lab.skip), "no bpf file system: %s", strerror(errno));
        snprintf(lab.pins, sizeof(lab.pins), "%s/lockdownd", lab.dir);

        find_home(root, lab.home, sizeof(lab.home));
        snprintf(lab.cgroup, sizeof(lab.cgroup), "%s/lockdown-second-lock-%d", root, getpid());
        if (!lab.skip[0] && mkdir(lab.cgroup, 0755) < 0)
                snprintf(lab.skip, sizeof(lab.skip), "cannot make %.150s: %s", lab.cgroup, strerror(errno));
        if (lab.skip[0])
                return 0;
        lab_probe();
        if (lab.skip[0])
                return 0;
        join_cgroup(lab.cgroup);
        lab.host = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
        lab.world_keeper = keep_namespace(0, &lab.world);
        wire("w0", lab.world_keeper);
        run("ip addr add " HOST_OUTSIDE4 "/24 dev w0 && ip addr add " HOST_INSIDE4 "/24 dev w0");
        run("ip addr add " HOST_OUTSIDE6 "/64 dev w0 nodad && ip addr add " HOST_INSIDE6 "/64 dev w0 nodad");
        assert_int_equal(setns(lab.world, CLONE_NEWNET), 0);
        run("ip link set w up && ip link set lo up");
        run("ip addr add " OUTSIDE4 "/24 dev w && ip addr add " INSIDE4 "/24 dev w");
        run("ip addr add " OUTSIDE6 "/64 dev w nodad && ip addr add " INSIDE6 "/64 dev w nodad");
        assert_int_equal(setns(lab.host, CLONE_NEWNET), 0);
        return 0;
}

static inline void remove_below(const char *directory, const char *name)
{
        char path[320];

        snprintf(path, sizeof(path), "%s/%s", directory, name);
        rmdir(path);
}

static inline int lab_end(void **state)
{
        (void)state;
        if (lab.world_keeper > 0)
                end_process(lab.world_keeper);
        if (lab.cgroup[0] && access(lab.cgroup, F_OK) == 0) {
                join_cgroup(lab.home);
                remove_below(lab.cgroup, "session/scope"); /* of a test that failed */
                remove_below(lab.cgroup, "session");
                if (rmdir(lab.cgroup) < 0)
                        fprintf(stderr, "left behind: %s: %s\n", lab.cgroup, strerror(errno));
        }
        if (lab.dir[0]) {
                umount2(lab.dir, MNT_DETACH);
                rmdir(lab.dir);
        }
        return 0;
}

/* Sockets. */

struct address {
        struct sockaddr_storage s;
        socklen_t length;
};

static inline struct address address_of(const char *text, uint16_t port)
{
        struct address a = {};
        struct sockaddr_in *v4 = (struct sockaddr_in *)&a.s;
        struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&a.s;

        if (inet_pton(AF_INET, text, &v4->sin_addr) == 1) {
                v4->sin_family = AF_INET;
                v4->sin_port = htons(port);
                a.length = sizeof(*v4);
                return a;
        }
        assert_int_equal(inet_pton(AF_INET6, text, &v6->sin6_addr), 1);
        v6->sin6_family = AF_INET6;
        v6->sin6_port = htons(port);
        a.length = sizeof(*v6);
        return a;
}

/* A socket as the process of that user and group would make it. */
static inline int socket_of_ids(uid_t uid, gid_t gid, int family, int type)
{
        int fd, protocol = type == SOCK_RAW ? IPPROTO_RAW : 0;

        setfsgid(gid);
        setfsuid(uid);
        fd = socket(family, type | SOCK_CLOEXEC | SOCK_NONBLOCK, protocol);
        setfsuid(0);
        setfsgid(0);
        assert_true(fd >= 0);
        return fd;
}

static inline int socket_of(uid_t uid, int family, int type)
{
        return socket_of_ids(uid, uid, family, type);
}

/* Bound to ADDRESS, and listening if it is for TCP. NETNS: where. */
static inline int serve(uid_t uid, int netns, const char *address, uint16_t port, int type)
{
        struct address a = address_of(address, port);
        int fd, yes = 1;

        assert_int_equal(setns(netns, CLONE_NEWNET), 0);
        fd = socket_of(uid, a.s.ss_family, type);
        assert_int_equal(setns(lab.host, CLONE_NEWNET), 0);
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
        if (bind(fd, (struct sockaddr *)&a.s, a.length) < 0)
                fail_msg("bind %s %u: %s", address, port, strerror(errno));
        if (type == SOCK_STREAM)
                assert_int_equal(listen(fd, 64), 0);
        return fd;
}

static inline void start_connecting(int fd, const char *address, uint16_t port)
{
        struct address a = address_of(address, port);

        (void)connect(fd, (struct sockaddr *)&a.s, a.length);
}

static inline bool ready(int fd, short events, int timeout)
{
        struct pollfd p = {.fd = fd, .events = events};

        return poll(&p, 1, timeout) == 1;
}

static inline bool is_established(int fd)
{
        struct tcp_info info;
        socklen_t size = sizeof(info);

        assert_int_equal(getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size), 0);
        return info.tcpi_state == TCP_ESTABLISHED;
}

/* The connection belongs to who accepts it. */
static inline int accept_of(uid_t uid, int listener)
{
        int fd;

        assert_true(ready(listener, POLLIN, PATIENCE_MS));
        setfsuid(uid);
        fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        setfsuid(0);
        assert_true(fd >= 0);
        return fd;
}

static inline int accept_soon(int listener)
{
        return accept_of(0, listener);
}

static inline uint16_t local_port(int fd)
{
        struct sockaddr_storage s;
        socklen_t size = sizeof(s);

        assert_int_equal(getsockname(fd, (struct sockaddr *)&s, &size), 0);
        return ntohs(((struct sockaddr_in *)&s)->sin_port); /* in the same place for IPv6 */
}

static inline uint16_t peer_port(int fd)
{
        struct sockaddr_storage s;
        socklen_t size = sizeof(s);

        assert_int_equal(getpeername(fd, (struct sockaddr *)&s, &size), 0);
        return ntohs(((struct sockaddr_in *)&s)->sin_port);
}

/* Does what SENDER (a datagram socket) sends there arrive at RECEIVER? The control is root's. */
static inline bool datagram_arrives(int sender, const char *address, uint16_t port, int receiver)
{
        struct address a = address_of(address, port);
        int control = socket_of(0, a.s.ss_family, SOCK_DGRAM);
        char buffer[16] = {};
        bool arrived = false;

        while (recv(receiver, buffer, sizeof(buffer), MSG_DONTWAIT) > 0)
                ;
        (void)sendto(sender, "sent", 4, 0, (struct sockaddr *)&a.s, a.length);
        assert_int_equal(sendto(control, "control", 7, 0, (struct sockaddr *)&a.s, a.length), 7);
        do {
                assert_true(ready(receiver, POLLIN, PATIENCE_MS));
                assert_true(recv(receiver, buffer, sizeof(buffer), 0) > 0);
                arrived |= buffer[0] == 's';
        } while (buffer[0] != 'c');
        close(control);
        return arrived;
}

static inline bool connection_arrives(int client, const char *address, uint16_t port, int listener)
{
        struct address a = address_of(address, port);
        int control = socket_of(0, a.s.ss_family, SOCK_STREAM), accepted;
        bool arrived = false;
        uint16_t whose;

        start_connecting(client, address, port);
        start_connecting(control, address, port);
        do {
                accepted = accept_soon(listener);
                whose = peer_port(accepted);
                arrived |= whose != local_port(control);
                close(accepted);
        } while (whose != local_port(control));
        close(control);
        return arrived;
}

/* An order. */

#define PORT 7001

/* What an order is made of. */
struct order {
        struct subjects subjects;
        struct destinations destinations;
        struct second_lock_cgroup cgroup;
        struct second_lock_spec spec;
        struct second_lock *lock;
};

static inline void allow(struct order *o, const char *word)
{
        assert_int_equal(destinations_allow(&o->destinations, word, NULL), 0);
}

static inline void open_lock(struct second_lock **ret)
{
        char *error = NULL;
        int r = second_lock_open(lab.cgroup, lab.pins, ret, &error);

        if (r < 0)
                fail_msg("second_lock_open: %s", error ?: strerror(-r));
}

/* One whose subject is SUBJECT, with the default destinations. */
static inline int set_up(void **state)
{
        struct order *o = calloc(1, sizeof(*o));

        *state = o;
        if (lab.skip[0])
                return 0;
        idset_append(&o->subjects.uids, SUBJECT, SUBJECT);
        allow(o, "10.0.0.0/8");
        allow(o, "fd00::/8");
        allow(o, "fe80::/10");
        assert_int_equal(destinations_deny_loopback(&o->destinations, "3128", NULL), 0);
        o->spec = (struct second_lock_spec){.name = "staff.x",
                                            .subjects = &o->subjects,
                                            .destinations = &o->destinations,
                                            .cgroups = &o->cgroup};
        open_lock(&o->lock);
        return 0;
}

static inline int tear_down(void **state)
{
        struct order *o = *state;

        if (o->lock)
                second_lock_disengage(o->lock, o->spec.name, NULL);
        second_lock_close(o->lock);
        subjects_clear(&o->subjects);
        destinations_clear(&o->destinations);
        free(o);
        return 0;
}

static inline struct order *order_of(void **state)
{
        if (lab.skip[0]) {
                print_message("skipped: %s\n", lab.skip);
                skip();
        }
        return *state;
}

static inline void finish(struct order *o)
{
        struct idset *sets[] = {&o->subjects.uids,       &o->subjects.uid_ranges,  &o->subjects.gids,
                                &o->subjects.gid_ranges, &o->subjects.except_uids, &o->subjects.except_gids};

        for (size_t i = 0; i < ELEMENTSOF(sets); i++)
                idset_normalize(sets[i]);
        assert_int_equal(destinations_finish(&o->destinations, NULL), 0);
}

static inline void engage(struct order *o)
{
        char *error = NULL;
        int r;

        finish(o);
        r = second_lock_engage(o->lock, &o->spec, &error);
        if (r < 0)
                fail_msg("second_lock_engage: %s", error ?: strerror(-r));
}

static inline void disengage(struct order *o)
{
        assert_int_equal(second_lock_disengage(o->lock, o->spec.name, NULL), 0);
}

/* Does something of this kind arrive that a socket of UID and GID sends to ADDRESS, in the world or here? */
static inline bool arrives_of(uid_t uid, gid_t gid, int type, const char *address, uint16_t port)
{
        int family = strchr(address, ':') ? AF_INET6 : AF_INET;
        bool theirs = strcmp(address, OUTSIDE4) == 0 || strcmp(address, OUTSIDE6) == 0 ||
                      strcmp(address, INSIDE4) == 0 || strcmp(address, INSIDE6) == 0;
        int receiver = serve(0, theirs ? lab.world : lab.host, address, port, type);
        int sender = socket_of_ids(uid, gid, family, type);
        bool arrived = type == SOCK_STREAM ? connection_arrives(sender, address, port, receiver)
                                           : datagram_arrives(sender, address, port, receiver);

        close(sender);
        close(receiver);
        return arrived;
}

static inline void check_arrives(uid_t uid, gid_t gid, const char *address, uint16_t port, bool expected)
{
        static const int types[] = {SOCK_STREAM, SOCK_DGRAM};

        for (size_t i = 0; i < ELEMENTSOF(types); i++)
                if (arrives_of(uid, gid, types[i], address, port) != expected)
                        fail_msg("%s of %u:%u to %s %u %s", types[i] == SOCK_STREAM ? "TCP" : "UDP", uid, gid,
                                 address, port, expected ? "did not arrive" : "arrived");
}

#define assert_passes(uid, address, port) check_arrives(uid, uid, address, port, true)
#define assert_refused(uid, address, port) check_arrives(uid, uid, address, port, false)

#endif
