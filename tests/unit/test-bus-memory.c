/* SPDX-License-Identifier: GPL-2.0-or-later */

/* A caller comes while memory is short: each allocation that is made for the connection fails once,
 * libsystemd's own included. The caller may be turned away; the next one is served, and nothing ends. */

// wrap: manager_on_change manager_on_right_known manager_permits

#include "bus.h"
#include "cleanup.h"
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <systemd/sd-bus.h>

#include <cmocka.h>

#include "failing-allocator.h"

void __wrap_manager_on_change(struct manager *m, manager_changed_t callback, void *userdata);
void __wrap_manager_on_change(struct manager *m, manager_changed_t callback, void *userdata)
{
        (void)m;
        (void)callback;
        (void)userdata;
}

void __wrap_manager_on_right_known(struct manager *m, manager_right_known_t callback, void *userdata);
void __wrap_manager_on_right_known(struct manager *m, manager_right_known_t callback, void *userdata)
{
        (void)m;
        (void)callback;
        (void)userdata;
}

bool __wrap_manager_permits(const struct manager *m, enum right right, const struct peer *peer);
bool __wrap_manager_permits(const struct manager *m, enum right right, const struct peer *peer)
{
        (void)m;
        (void)right;
        (void)peer;
        return true;
}

/* ---- */

struct place {
        char directory[64];
        struct sockaddr_un address;
        sd_event *event;
        struct bus *bus;
};

static int set_up(void **state)
{
        static struct place p;
        char *error = NULL;

        (void)snprintf(p.directory, sizeof(p.directory), "/tmp/test-bus-memory-XXXXXX");
        setenv("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/nonexistent/bus", 1);
        if (!mkdtemp(p.directory) || sd_event_new(&p.event) < 0)
                return -1;
        p.address.sun_family = AF_UNIX;
        (void)snprintf(p.address.sun_path, sizeof(p.address.sun_path), "%s/lockdownd.sock", p.directory);
        *state = &p;
        return bus_new(p.event, (struct manager *)&p, -1, p.directory, &p.bus, &error);
}

static int tear_down(void **state)
{
        struct place *p = *state;

        p->bus = bus_free(p->bus);
        p->event = sd_event_unref(p->event);
        return rmdir(p->directory);
}

static void run_what_is_ready(struct place *p)
{
        while (sd_event_run(p->event, 0) > 0)
                ;
}

/* Begins as D-Bus does. True: it was answered; false: it was hung up on. */
static bool is_served(struct place *p)
{
        static const char hello[] = "\0AUTH EXTERNAL 30\r\n";
        _cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        char answer[64];

        assert_int_equal(connect(fd, (struct sockaddr *)&p->address, sizeof(p->address)), 0);
        assert_int_equal(send(fd, hello, sizeof(hello) - 1, MSG_NOSIGNAL), sizeof(hello) - 1);
        for (unsigned i = 0; i < 1000; i++) {
                ssize_t n = recv(fd, answer, sizeof(answer), 0);

                if (n >= 0 || errno != EAGAIN)
                        return n > 0;
                (void)sd_event_run(p->event, 20 * 1000); /* nobody is let in for a moment */
        }
        return false;
}

static void test_each_allocation(void **state)
{
        struct place *p = *state;
        unsigned n = 0, turned_away = 0;

        need_failing_allocator();
        assert_true(is_served(p));
        for (bool reached = true; reached; n++) {
                bool served;

                ask_to_fail(n + 1);
                served = is_served(p);
                run_what_is_ready(p);
                reached = has_failed();
                turned_away += !served;
                assert_true(served || reached);
                assert_true(is_served(p));
                run_what_is_ready(p);
        }
        assert_true(turned_away > 5);
        assert_true(n < 1000);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(test_each_allocation, set_up, tear_down),
        };

        return cmocka_run_group_tests_name("bus-memory", tests, NULL, NULL);
}
