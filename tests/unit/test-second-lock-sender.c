// SPDX-License-Identifier: GPL-2.0-or-later
/* The second lock on the real kernel: who sends, whosever the socket is. Processes of a subject get sockets
 * that were made by others. */

// wrap: lock_programs_load_sender

#include "../../daemon/second-lock-internal.h"
#include "second-lock-sender.h"

#include <bpf/bpf.h>
#include <linux/io_uring.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/utsname.h>

struct lab lab;

static int load_fails;

int __real_lock_programs_load_sender(struct lock_programs *p);
int __wrap_lock_programs_load_sender(struct lock_programs *p);
int __wrap_lock_programs_load_sender(struct lock_programs *p)
{
        return load_fails < 0 ? load_fails : __real_lock_programs_load_sender(p);
}

/* Ways to send TEXT through a connected socket: -1 with errno. */

static ssize_t by_sendto(int fd)
{
        struct address a = address_of(OUTSIDE4, PORT);

        return sendto(fd, text, LENGTH, 0, (struct sockaddr *)&a.s, a.length);
}

static ssize_t by_sendmsg(int fd)
{
        struct iovec v = {text, LENGTH};

        return sendmsg(fd, &(struct msghdr){.msg_iov = &v, .msg_iovlen = 1}, 0);
}

static ssize_t by_sendmmsg(int fd)
{
        struct iovec v = {text, LENGTH};
        struct mmsghdr m = {.msg_hdr = {.msg_iov = &v, .msg_iovlen = 1}};

        return sendmmsg(fd, &m, 1, 0);
}

static ssize_t by_write(int fd)
{
        return write(fd, text, LENGTH);
}

static ssize_t by_writev(int fd)
{
        return writev(fd, &(struct iovec){text, LENGTH}, 1);
}

static ssize_t by_zerocopy(int fd)
{
        int yes = 1;

        setsockopt(fd, SOL_SOCKET, SO_ZEROCOPY, &yes, sizeof(yes));
        return send(fd, text, LENGTH, MSG_ZEROCOPY);
}

static ssize_t by_sendfile(int fd)
{
        int file = memfd_create("text", MFD_CLOEXEC);

        return file < 0 || write(file, text, LENGTH) != LENGTH ? -1 : sendfile(fd, file, &(off_t){0}, LENGTH);
}

static ssize_t by_splice(int fd)
{
        int pipes[2];

        return pipe2(pipes, O_CLOEXEC) < 0 || write(pipes[1], text, LENGTH) != LENGTH
                       ? -1
                       : splice(pipes[0], NULL, fd, NULL, LENGTH, 0);
}

/* A ring's two queues in one mapping, one entry. */
static ssize_t by_io_uring(int fd)
{
        struct io_uring_params p = {};
        int ring = (int)syscall(SYS_io_uring_setup, 1, &p);
        size_t size = p.cq_off.cqes + p.cq_entries * sizeof(struct io_uring_cqe);
        struct io_uring_sqe *sqe;
        struct io_uring_cqe *cqe;
        uint8_t *queues;

        if (ring < 0)
                return -1;
        queues = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, ring, IORING_OFF_SQ_RING);
        sqe = mmap(NULL, sizeof(*sqe), PROT_READ | PROT_WRITE, MAP_SHARED, ring, IORING_OFF_SQES);
        if (queues == MAP_FAILED || sqe == MAP_FAILED)
                return -1;
        *sqe = (struct io_uring_sqe){
                .opcode = IORING_OP_SEND, .fd = fd, .addr = (uintptr_t)text, .len = LENGTH};
        *(uint32_t *)(queues + p.sq_off.array) = 0;
        __atomic_store_n((uint32_t *)(queues + p.sq_off.tail), 1, __ATOMIC_RELEASE);
        if (syscall(SYS_io_uring_enter, ring, 1, 1, IORING_ENTER_GETEVENTS, NULL, 0) != 1)
                return -1;
        cqe = (struct io_uring_cqe *)(queues + p.cq_off.cqes);
        if (cqe->res < 0)
                errno = -cqe->res;
        return cqe->res < 0 ? -1 : cqe->res;
}

/* … and to reach its address with a TCP socket that is not connected. */

static ssize_t by_connect(int fd)
{
        struct address a = address_of(OUTSIDE4, PORT);
        int r = connect(fd, (struct sockaddr *)&a.s, a.length);

        return r < 0 && errno == EINPROGRESS ? 0 : r;
}

static ssize_t by_fastopen(int fd)
{
        struct address a = address_of(OUTSIDE4, PORT);
        ssize_t n = sendto(fd, text, LENGTH, MSG_FASTOPEN, (struct sockaddr *)&a.s, a.length);

        return n < 0 && errno == EINPROGRESS ? 0 : n;
}

/* Did TEXT come? What root sends behind it does. */
static bool has_come(int receiver, const char *address)
{
        struct address a = address_of(address, PORT);
        int control = socket_of(0, a.s.ss_family, SOCK_DGRAM);
        char buffer[16] = {};
        bool come = false;

        assert_int_equal(sendto(control, "control", 7, 0, (struct sockaddr *)&a.s, a.length), 7);
        do {
                assert_true(ready(receiver, POLLIN, PATIENCE_MS));
                assert_true(recv(receiver, buffer, sizeof(buffer), 0) > 0);
                come |= buffer[0] == 's';
        } while (buffer[0] != 'c');
        close(control);
        return come;
}

/* MADE's datagram socket, connected to ADDRESS, is passed on to a process of SENDER's. */
static void check_passed(uid_t made, uid_t sender, gid_t gid, const char *address, bool expected)
{
        struct address a = address_of(address, PORT);
        int receiver = serve(0, lab.world, address, PORT, SOCK_DGRAM);
        int fd = socket_of(made, a.s.ss_family, SOCK_DGRAM), r;
        bool come;

        start_connecting(fd, address, PORT);
        r = done_by(sender, gid, by_send, fd);
        come = has_come(receiver, address);
        close(fd);
        close(receiver);
        if (come != expected || r != (expected ? 0 : -EPERM))
                fail_msg("a socket of %u used by %u (group %u) to %s: %s, error %d", made, sender, gid,
                         address, come ? "came" : "did not come", -r);
}

static void test_others_sockets_are_no_use(void **state)
{
        struct order *o = order_with_sender(state);
        struct second_lock_refused refused;

        check_passed(OTHER, SUBJECT, SUBJECT, OUTSIDE4, true);
        check_passed(OTHER, SUBJECT, SUBJECT, OUTSIDE6, true);
        engage(o);
        check_passed(OTHER, SUBJECT, SUBJECT, OUTSIDE4, false);
        check_passed(OTHER, SUBJECT, SUBJECT, OUTSIDE6, false);
        /* It could be prepared to go somewhere else: see test_connections_to_allowed. */
        check_passed(OTHER, SUBJECT, SUBJECT, INSIDE4, false);
        assert_int_equal(second_lock_read_refused(o->lock, "staff.x", &refused), 0);
        assert_int_equal(refused.sent_packets, 3);
        assert_int_equal(refused.sent_bytes, 3 * LENGTH);

        check_passed(OTHER, OTHER, OTHER, OUTSIDE4, true);
        check_passed(OTHER, 61003, 61003, OUTSIDE6, true);
        check_passed(OTHER, 0, 0, OUTSIDE4, true);
        check_passed(SUBJECT, SUBJECT, SUBJECT, INSIDE4, true);
        check_passed(SUBJECT, SUBJECT, SUBJECT, INSIDE6, true);
        /* What root hands out stays: sshd's connection, for one. */
        check_passed(0, SUBJECT, SUBJECT, OUTSIDE4, true);
        disengage(o);
        check_passed(OTHER, SUBJECT, SUBJECT, OUTSIDE4, true);
}

/* Before Linux 6.5 what came from a file or a pipe was no message. */
static bool pages_are_messages(void)
{
        struct utsname name;
        unsigned major, minor;

        assert_int_equal(uname(&name), 0);
        assert_int_equal(sscanf(name.release, "%u.%u", &major, &minor), 2);
        return major > 6 || (major == 6 && minor >= 5);
}

static void check_way(way how, const char *called, int fd, int receiver, bool locked)
{
        int r = done_by(SUBJECT, SUBJECT, how, fd);
        bool come = has_come(receiver, OUTSIDE4);

        if (!locked && how == by_io_uring && (r == -ENOSYS || r == -EPERM)) {
                print_message("skipped: no io_uring here\n");
                return;
        }
        if (come == locked || r != (locked ? -EPERM : 0))
                fail_msg("%s: %s, error %d", called, come ? "came" : "did not come", -r);
        assert_int_equal(done_by(OTHER, OTHER, how, fd), 0);
        assert_true(has_come(receiver, OUTSIDE4));
}

static void test_every_way_to_send(void **state)
{
        static const struct {
                way how;
                const char *called;
        } ways[] = {
                {by_send, "send"},         {by_sendto, "sendto"},     {by_sendmsg, "sendmsg"},
                {by_sendmmsg, "sendmmsg"}, {by_write, "write"},       {by_writev, "writev"},
                {by_zerocopy, "zerocopy"}, {by_sendfile, "sendfile"}, {by_splice, "splice"},
                {by_io_uring, "io_uring"},
        };
        struct order *o = order_with_sender(state);
        int receiver = serve(0, lab.world, OUTSIDE4, PORT, SOCK_DGRAM),
            fd = socket_of(OTHER, AF_INET, SOCK_DGRAM);

        start_connecting(fd, OUTSIDE4, PORT);
        for (int locked = 0; locked < 2; locked++) {
                if (locked)
                        engage(o);
                for (size_t i = 0; i < ELEMENTSOF(ways); i++)
                        if (pages_are_messages() || (ways[i].how != by_sendfile && ways[i].how != by_splice))
                                check_way(ways[i].how, ways[i].called, fd, receiver, locked);
        }
        close(fd);
        close(receiver);
}

/* Does a connection of OTHER's socket come, that a process of the subject's has it open? */
static void check_opening(way how, bool expected)
{
        int listener = serve(0, lab.world, OUTSIDE4, PORT, SOCK_STREAM);
        int fd = socket_of(OTHER, AF_INET, SOCK_STREAM), control = socket_of(0, AF_INET, SOCK_STREAM),
            accepted;
        uint16_t whose;
        bool come = false;

        assert_int_equal(done_by(SUBJECT, SUBJECT, how, fd), expected ? 0 : -EPERM);
        start_connecting(control, OUTSIDE4, PORT);
        do {
                accepted = accept_soon(listener);
                whose = peer_port(accepted);
                come |= whose != local_port(control);
                close(accepted);
        } while (whose != local_port(control));
        assert_int_equal(come, expected);
        close(fd);
        close(control);
        close(listener);
}

static void test_connections(void **state)
{
        struct order *o = order_with_sender(state);
        int listener = serve(0, lab.world, OUTSIDE4, PORT + 1, SOCK_STREAM);
        int fd = socket_of(OTHER, AF_INET, SOCK_STREAM), peer;
        char buffer[16] = {};

        check_opening(by_connect, true);
        check_opening(by_fastopen, true);
        start_connecting(fd, OUTSIDE4, PORT + 1);
        peer = accept_soon(listener);
        engage(o);
        check_opening(by_connect, false);
        check_opening(by_fastopen, false);
        assert_int_equal(done_by(SUBJECT, SUBJECT, by_send, fd), -EPERM);
        assert_int_equal(send(fd, "control", 7, 0), 7);
        assert_true(ready(peer, POLLIN, PATIENCE_MS));
        assert_int_equal(recv(peer, buffer, sizeof(buffer), 0), 7);
        close(fd);
        close(peer);
        close(listener);
}

/* OTHER's connection, used by a process of the subject's. LOOSE: with a source route through LOOSE. */
static void check_connection(const char *address, const char *loose, bool expected)
{
        bool theirs = strncmp(address, "127", 3) != 0 && strcmp(address, "::1") != 0;
        int listener = serve(0, theirs ? lab.world : lab.host, address, PORT, SOCK_STREAM), peer, r;
        int fd = socket_of(OTHER, address_of(address, 0).s.ss_family, SOCK_STREAM);
        uint8_t route[8] = {131, 7, 4};
        char buffer[16] = {};

        start_connecting(fd, address, PORT);
        peer = accept_soon(listener);
        if (loose) {
                assert_int_equal(inet_pton(AF_INET, loose, route + 3), 1);
                assert_int_equal(setsockopt(fd, IPPROTO_IP, IP_OPTIONS, route, sizeof(route)), 0);
        }
        r = done_by(SUBJECT, SUBJECT, by_send, fd);
        if (r != (expected ? 0 : -EPERM))
                fail_msg("connection to %s: error %d", address, -r);
        if (!loose) {
                assert_int_equal(send(fd, "!", 1, 0), 1);
                assert_true(ready(peer, POLLIN, PATIENCE_MS));
                assert_true(recv(peer, buffer, sizeof(buffer), 0) > 0);
                assert_int_equal(buffer[0] == 's', expected);
        }
        close(fd);
        close(peer);
        close(listener);
}

static void test_connections_to_allowed(void **state)
{
        struct order *o = order_with_sender(state);

        check_connection(OUTSIDE4, NULL, true);
        engage(o);
        check_connection(OUTSIDE4, NULL, false);
        check_connection(OUTSIDE6, NULL, false);
        check_connection(INSIDE4, NULL, true);
        check_connection(INSIDE6, NULL, true);
        check_connection("127.0.0.1", NULL, true);
        check_connection("::1", NULL, true);
        check_connection(INSIDE4, OUTSIDE4, false);
}

static void test_who_is_a_subject(void **state)
{
        struct order *o = order_with_sender(state);

        idset_append(&o->subjects.uid_ranges, 200000, 265535);
        idset_append(&o->subjects.gids, 500, 500);
        idset_append(&o->subjects.except_uids, 61003, 61003);
        engage(o);
        check_passed(OTHER, 200001, 1, OUTSIDE4, false);
        check_passed(OTHER, 265536, 1, OUTSIDE4, true);
        check_passed(OTHER, 61004, 500, OUTSIDE4, false);
        check_passed(OTHER, 61004, 501, OUTSIDE4, true);
        check_passed(OTHER, 61003, 500, OUTSIDE4, true);
        check_passed(OTHER, 0, 500, OUTSIDE4, true);
        /* One subject's socket in another's hands is judged by what it sends. */
        check_passed(200001, SUBJECT, SUBJECT, INSIDE4, true);
}

static void test_everyone(void **state)
{
        struct order *o = order_with_sender(state);

        o->subjects.everyone = true;
        idset_append(&o->subjects.except_uids, 61003, 61003);
        engage(o);
        check_passed(61003, OTHER, OTHER, OUTSIDE4, false);
        check_passed(61003, 61003, 61003, OUTSIDE4, true);
        check_passed(61003, 0, 0, OUTSIDE4, true);
        check_passed(0, OTHER, OTHER, OUTSIDE4, true);
        check_passed(SUBJECT, OTHER, OTHER, INSIDE4, true);
        disengage(o);
        idset_append(&o->subjects.except_gids, 500, 500);
        engage(o);
        check_passed(61003, OTHER, 500, OUTSIDE4, true);
        /* It may have been made under the excepted group: then nobody judges it later. */
        check_passed(SUBJECT, OTHER, OTHER, INSIDE4, false);
}

/* What a process of UID's in that control group gets for sending through FD. */
static int used_in(const char *session, uid_t uid, int fd)
{
        int r;

        join_cgroup(session);
        r = done_by(uid, uid, by_send, fd);
        join_cgroup(lab.cgroup);
        return r;
}

static void test_control_groups(void **state)
{
        struct order *o = order_with_sender(state);
        int receiver = serve(0, lab.world, OUTSIDE4, PORT, SOCK_DGRAM), before, held, root, outside, as_unit;
        int fd = socket_of(OTHER, AF_INET, SOCK_DGRAM);
        char session[300];

        start_connecting(fd, OUTSIDE4, PORT);
        snprintf(session, sizeof(session), "%s/session", lab.cgroup);
        assert_int_equal(mkdir(session, 0755), 0);
        o->cgroup = (struct second_lock_cgroup){.id = cgroup_id(session), .level = 1};
        engage(o);
        before = used_in(session, 61003, fd);
        o->spec.n_cgroups = 1;
        engage(o);
        held = used_in(session, 61003, fd);
        outside = used_in(lab.cgroup, 61003, fd);
        idset_append(&o->subjects.except_uids, 61003, 61003);
        o->spec.n_cgroups = 0;
        o->spec.units = &o->cgroup;
        o->spec.n_units = 1;
        engage(o);
        as_unit = used_in(session, 61003, fd);
        root = used_in(session, 0, fd);
        rmdir(session);
        assert_int_equal(before, 0);
        assert_int_equal(held, -EPERM);
        assert_int_equal(outside, 0);
        assert_int_equal(as_unit, -EPERM);
        assert_int_equal(root, -EPERM);
        assert_true(has_come(receiver, OUTSIDE4));
        close(fd);
        close(receiver);
}

static void check_wrong(struct order *o, const char *words)
{
        char *difference = NULL;

        assert_int_equal(second_lock_verify(o->lock, &o->spec, &difference), 1);
        assert_non_null(difference);
        if (!strstr(difference, words))
                fail_msg("expected \"%s\" in: %s", words, difference);
        free(difference);
}

static void test_verify_asks_for_it(void **state)
{
        struct order *o = order_with_sender(state);
        char path[256];
        int link;

        engage(o);
        assert_int_equal(second_lock_verify(o->lock, &o->spec, NULL), 0);
        snprintf(path, sizeof(path), "%s/staff%%x/send", lab.pins);
        link = bpf_obj_get(path);
        assert_true(link >= 0);
        assert_int_equal(bpf_link_detach(link), 0);
        close(link);
        check_wrong(o, "not attached any more (send)");
        check_passed(OTHER, SUBJECT, SUBJECT, OUTSIDE4, true);
        assert_int_equal(second_lock_engage(o->lock, &o->spec, NULL), 0);
        check_passed(OTHER, SUBJECT, SUBJECT, OUTSIDE4, false);
}

/* Without it everything else is as ever. A process outside of the control group finds that nobody asks its
 * programs, as it would on a kernel that does not run BPF LSM. */
static void test_goes_without(void **state)
{
        struct order *o = order_with_sender(state);
        const char *why;

        finish(o);
        o->lock = second_lock_close(o->lock);
        join_cgroup(lab.home);
        open_lock(&o->lock);
        join_cgroup(lab.cgroup);
        why = second_lock_no_sender(o->lock);
        assert_non_null(why);
        assert_non_null(strstr(why, "lsm="));
        assert_int_equal(second_lock_engage(o->lock, &o->spec, NULL), 0);
        assert_int_equal(second_lock_update(o->lock, &o->spec, NULL), 0);
        assert_int_equal(second_lock_verify(o->lock, &o->spec, NULL), 0);
        check_passed(SUBJECT, SUBJECT, SUBJECT, INSIDE4, true);
        assert_refused(SUBJECT, OUTSIDE4, PORT);
        check_passed(OTHER, SUBJECT, SUBJECT, OUTSIDE4, true);

        /* The next daemon can, and puts it on anew. */
        o->lock = second_lock_close(o->lock);
        open_lock(&o->lock);
        assert_null(second_lock_no_sender(o->lock));
        check_wrong(o, "has no program (send)");
        assert_int_equal(second_lock_adopt(o->lock, "staff.x", NULL), -EBADMSG);
        engage(o);
        check_passed(OTHER, SUBJECT, SUBJECT, OUTSIDE4, false);
        assert_refused(SUBJECT, OUTSIDE4, PORT);
}

/* It was out of memory for a moment: what that is like without a kernel that has it, see
 * test-second-lock-lost.c. */
static void test_comes_back(void **state)
{
        struct order *o = order_with_sender(state);

        engage(o);
        load_fails = -ENOMEM;
        assert_int_equal(second_lock_prepare(o->lock, 1, NULL), 0);
        assert_true(second_lock_sender_lost(o->lock));
        check_passed(OTHER, SUBJECT, SUBJECT, OUTSIDE4, false);
        engage(o);
        check_passed(OTHER, SUBJECT, SUBJECT, OUTSIDE4, true);
        assert_int_equal(second_lock_try_sender(o->lock), -ENOMEM);
        load_fails = 0;
        assert_int_equal(second_lock_try_sender(o->lock), 0);
        assert_null(second_lock_no_sender(o->lock));
        assert_int_equal(second_lock_update(o->lock, &o->spec, NULL), -EBADMSG);
        engage(o);
        check_passed(OTHER, SUBJECT, SUBJECT, OUTSIDE4, false);
        check_passed(SUBJECT, SUBJECT, SUBJECT, INSIDE4, true);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                TEST(test_others_sockets_are_no_use),
                TEST(test_every_way_to_send),
                TEST(test_connections),
                TEST(test_connections_to_allowed),
                TEST(test_who_is_a_subject),
                TEST(test_everyone),
                TEST(test_control_groups),
                TEST(test_verify_asks_for_it),
                TEST(test_goes_without),
                TEST(test_comes_back),
        };

        return cmocka_run_group_tests_name("second-lock-sender", tests, lab_make, lab_end);
}
