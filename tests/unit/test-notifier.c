/* SPDX-License-Identifier: GPL-2.0-or-later */

/* What the service manager hears, by a socket of the test's own that it reads, or does not. */

#include "cleanup.h"
#include "datagram.h"
#include "notifier.h"
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <cmocka.h>

struct place {
        char directory[64], path[96];
        int fd;
        sd_event *event;
        struct notifier *notifier;
};

static int set_up(void **state)
{
        static struct place p;
        struct sockaddr_un address = {.sun_family = AF_UNIX};

        (void)snprintf(p.directory, sizeof(p.directory), "/tmp/test-notifier-XXXXXX");
        if (!mkdtemp(p.directory))
                return -1;
        (void)snprintf(p.path, sizeof(p.path), "%s/notify", p.directory);
        (void)snprintf(address.sun_path, sizeof(address.sun_path), "%s", p.path);
        p.fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (p.fd < 0 || bind(p.fd, (struct sockaddr *)&address, sizeof(address)) < 0)
                return -1;
        setenv("NOTIFY_SOCKET", p.path, 1);
        unsetenv("WATCHDOG_USEC");
        unsetenv("WATCHDOG_PID");
        *state = &p;
        return sd_event_new(&p.event) < 0 || notifier_new(p.event, &p.notifier) < 0;
}

static int tear_down(void **state)
{
        struct place *p = *state;

        p->notifier = notifier_free(p->notifier);
        p->event = sd_event_unref(p->event);
        close(p->fd);
        unlink(p->path);
        rmdir(p->directory);
        return 0;
}

/* The next message, or NULL. */
static const char *heard(const struct place *p)
{
        static char text[256];
        ssize_t n = recv(p->fd, text, sizeof(text) - 1, 0);

        if (n < 0)
                return NULL;
        text[n] = '\0';
        return text;
}

static void assert_heard(const struct place *p, const char *expected)
{
        const char *text = heard(p);

        if (!text)
                fail_msg("nothing was said instead of %s", expected);
        assert_string_equal(text, expected);
}

/* Until it takes no more. Returns how many. */
static int fill(const struct place *p)
{
        struct iovec x = {.iov_base = (char[]){"x"}, .iov_len = 1};
        int n = 0, r;

        while ((r = datagram_send(p->path, &x, 1, -1)) >= 0)
                n++;
        assert_int_equal(r, -EAGAIN);
        return n;
}

static void empty(const struct place *p, int n)
{
        while (n-- > 0)
                assert_heard(p, "x");
}

static void test_at_once(void **state)
{
        struct place *p = *state;

        notifier_ready(p->notifier);
        assert_heard(p, "READY=1\n");
        notifier_status(p->notifier, "fine");
        assert_heard(p, "STATUS=fine\n");
        notifier_error(p->notifier, -ENOENT);
        assert_heard(p, "ERRNO=2\n");
        notifier_stopping(p->notifier);
        assert_heard(p, "STOPPING=1\n");
        assert_null(heard(p));
}

/* Of each kind the last word, when it listens again; the socket to be kept first of all. */
static void test_a_service_manager_that_does_not_read(void **state)
{
        struct place *p = *state;
        int filled = fill(p);

        assert_int_equal(notifier_keep(p->notifier, p->fd, "tables"), 0);
        notifier_status(p->notifier, "one");
        notifier_ready(p->notifier);
        notifier_status(p->notifier, "two");
        assert_int_equal(sd_event_run(p->event, 30 * 1000 * 1000), 1); /* tries, in vain */
        empty(p, filled);
        assert_null(heard(p));
        assert_int_equal(sd_event_run(p->event, 30 * 1000 * 1000), 1);
        assert_heard(p, "FDSTORE=1\nFDPOLL=0\nFDNAME=tables\n");
        assert_heard(p, "READY=1\nSTATUS=two\n");
        assert_null(heard(p));
        assert_int_equal(sd_event_run(p->event, 0), 0); /* and rests */
}

static void test_the_socket_that_is_kept(void **state)
{
        struct place *p = *state;
        _Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {0};
        char text[64];
        struct iovec part = {.iov_base = text, .iov_len = sizeof(text)};
        struct msghdr message = {
                .msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control)};
        int fd;

        assert_int_equal(notifier_keep(p->notifier, p->fd, "tables"), 0);
        assert_true(recvmsg(p->fd, &message, MSG_CMSG_CLOEXEC) > 0);
        assert_true(message.msg_controllen >= CMSG_LEN(sizeof(fd)));
        memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof(fd));
        assert_true(fd >= 0);
        close(fd);
        assert_int_equal(notifier_keep(p->notifier, 12345, "tables"), -EBADF);
        notifier_status(p->notifier, "goes on");
        assert_heard(p, "STATUS=goes on\n");
}

static void test_the_watchdog(void **state)
{
        struct place *p = *state;

        p->notifier = notifier_free(p->notifier);
        setenv("WATCHDOG_USEC", "30000", 1);
        assert_int_equal(notifier_new(p->event, &p->notifier), 0);
        for (int i = 0; i < 3; i++) {
                assert_int_equal(sd_event_run(p->event, 30 * 1000 * 1000), 1);
                assert_heard(p, "WATCHDOG=1\n");
        }
        assert_null(heard(p));
}

static void test_no_service_manager(void **state)
{
        struct place *p = *state;

        p->notifier = notifier_free(p->notifier);
        unsetenv("NOTIFY_SOCKET");
        assert_int_equal(notifier_new(p->event, &p->notifier), 0);
        notifier_ready(p->notifier);
        assert_int_equal(notifier_keep(p->notifier, p->fd, "tables"), 0);
        assert_int_equal(sd_event_run(p->event, 0), 0);
        notifier_status(NULL, "nobody");
        assert_null(heard(p));
}

static void test_addresses(void **state)
{
        struct place *p = *state;
        char name[128], endless[256];
        struct iovec x = {.iov_base = (char[]){"x"}, .iov_len = 1};
        struct sockaddr_un address = {.sun_family = AF_UNIX};
        socklen_t length = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(p->path));
        _cleanup_close_ int other = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

        memcpy(address.sun_path + 1, p->path + 1, strlen(p->path) - 1); /* an abstract one of that name */
        assert_int_equal(bind(other, (struct sockaddr *)&address, length), 0);
        (void)snprintf(name, sizeof(name), "@%s", p->path + 1);
        assert_int_equal(datagram_send(name, &x, 1, -1), 0);
        assert_int_equal(recv(other, name, sizeof(name), 0), 1);
        assert_null(heard(p));
        assert_int_equal(datagram_send("", &x, 1, -1), -EINVAL);
        memset(endless, 'x', sizeof(endless) - 1);
        endless[0] = '/';
        endless[sizeof(endless) - 1] = '\0';
        assert_int_equal(datagram_send(endless, &x, 1, -1), -EINVAL);
        assert_int_equal(datagram_send("/nonexistent/socket", &x, 1, -1), -ENOENT);
}

#define WITH_PLACE(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
        const struct CMUnitTest tests[] = {
                WITH_PLACE(test_at_once),
                WITH_PLACE(test_a_service_manager_that_does_not_read),
                WITH_PLACE(test_the_socket_that_is_kept),
                WITH_PLACE(test_the_watchdog),
                WITH_PLACE(test_no_service_manager),
                WITH_PLACE(test_addresses),
        };

        return cmocka_run_group_tests_name("notifier", tests, NULL, NULL);
}
