/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SECOND_LOCK_SENDER_H
#define SECOND_LOCK_SENDER_H

/* Sending through sockets that somebody else made: what the tests of that part of the second lock share. */

#include "second-lock-lab.h"

static char text[] = "sent";
#define LENGTH 4

static inline ssize_t by_send(int fd)
{
        return send(fd, text, LENGTH, 0);
}

typedef ssize_t (*way)(int fd);

/* Has a process of that user and group do it, through a socket that it did not make. Returns 0 or -errno. */
static inline int done_by(uid_t uid, gid_t gid, way how, int fd)
{
        pid_t pid = fork();
        int status;

        assert_true(pid >= 0);
        if (pid == 0) {
                if (setgroups(0, NULL) < 0 || setresgid(gid, gid, gid) < 0 || setresuid(uid, uid, uid) < 0)
                        _exit(255);
                _exit(how(fd) < 0 ? errno : 0);
        }
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFEXITED(status) && WEXITSTATUS(status) != 255);
        return -WEXITSTATUS(status);
}

static inline struct order *order_with_sender(void **state)
{
        struct order *o = order_of(state);
        const char *why = second_lock_no_sender(o->lock);

        if (why) {
                print_message("skipped: %s\n", why);
                skip();
        }
        return o;
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

#endif
