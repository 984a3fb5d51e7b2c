/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LOCKDOWN_TEST_BUS_LAB_H
#define LOCKDOWN_TEST_BUS_LAB_H

/* The real transport and methods, a played manager, and callers of any uid. */

// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
// clang-format on

#include "audit.h"
#include "bus-internal.h"
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#define OPERATOR 10
#define ALICE 11
#define BOB 12
#define CALLS_MAX 4096

static struct play {
        sd_event *event;
        struct bus *bus;
        struct sockaddr_un address;
        socklen_t address_size;
        uint32_t uid;      /* of whoever connects */
        bool later;        /* the manager answers when it is told to */
        size_t answer;     /* bytes of it */
        uint64_t used;     /* processor time */
        uint64_t cost;     /* … of each question */
        bool none_left;    /* no descriptors */
        unsigned accepted; /* accept4() calls */
        unsigned orders, questions;
        unsigned questions_before_order;
        manager_done_t done[CALLS_MAX];
        void *userdata[CALLS_MAX];
        size_t first, n; /* of those not answered yet */
        unsigned refusals;
        char last_refusal[256];
        manager_changed_t changed;
        void *changed_userdata;
        bool too_early; /* the directory has not said yet who may order and lift */
        manager_right_known_t known;
        void *known_userdata;
} play;

/* ---- the played edges ---- */

static void answer_next(void)
{
        size_t i = play.first++;
        _cleanup_free_ char *text = calloc(1, play.answer + 1);
        struct outcome good = {0};

        assert_true(i < play.n);
        memset(text, 'x', play.answer);
        good.reply = json_pack("{s:s}", "text", text);
        play.done[i](play.userdata[i], &good);
        json_decref(good.reply);
}

static void take(manager_done_t done, void *userdata)
{
        assert_true(play.n < CALLS_MAX);
        play.done[play.n] = done;
        play.userdata[play.n++] = userdata;
        play.used += play.cost;
        if (!play.later)
                answer_next();
}

void __wrap_manager_order(struct manager *m, const struct order_request *request, const struct caller *caller,
                          manager_done_t done, void *userdata);
void __wrap_manager_order(struct manager *m, const struct order_request *request, const struct caller *caller,
                          manager_done_t done, void *userdata)
{
        (void)m;
        profile_free(request->adhoc);
        assert_true(caller->uid == OPERATOR || caller->uid == 0);
        if (play.orders++ == 0)
                play.questions_before_order = play.questions;
        take(done, userdata);
}

void __wrap_manager_status(struct manager *m, const char *profile, bool names, manager_done_t done,
                           void *userdata);
void __wrap_manager_status(struct manager *m, const char *profile, bool names, manager_done_t done,
                           void *userdata)
{
        (void)m;
        (void)profile;
        (void)names;
        play.questions++;
        take(done, userdata);
}

bool __wrap_manager_permits(const struct manager *m, enum right right, const struct peer *peer);
bool __wrap_manager_permits(const struct manager *m, enum right right, const struct peer *peer)
{
        (void)m;
        return right == RIGHT_STATUS || peer->uid == 0 || (peer->uid == OPERATOR && !play.too_early);
}

bool __wrap_manager_right_unknown(const struct manager *m, enum right right);
bool __wrap_manager_right_unknown(const struct manager *m, enum right right)
{
        (void)m;
        return right != RIGHT_STATUS && play.too_early;
}

void __wrap_manager_on_right_known(struct manager *m, manager_right_known_t callback, void *userdata);
void __wrap_manager_on_right_known(struct manager *m, manager_right_known_t callback, void *userdata)
{
        (void)m;
        play.known = callback;
        play.known_userdata = userdata;
}

void __wrap_manager_on_change(struct manager *m, manager_changed_t callback, void *userdata);
void __wrap_manager_on_change(struct manager *m, manager_changed_t callback, void *userdata)
{
        (void)m;
        play.changed = callback;
        play.changed_userdata = userdata;
}

void __wrap_audit(enum audit_event event, int priority, const struct order *o, const struct caller *caller,
                  const char *format, ...) __attribute__((format(printf, 5, 6)));
void __wrap_audit(enum audit_event event, int priority, const struct order *o, const struct caller *caller,
                  const char *format, ...)
{
        va_list ap;

        (void)priority;
        (void)o;
        (void)caller;
        assert_int_equal(event, AUDIT_REFUSED_CALLER);
        play.refusals++;
        va_start(ap, format);
        (void)vsnprintf(play.last_refusal, sizeof(play.last_refusal), format, ap);
        va_end(ap);
}

void __wrap_audit_log(int priority, const char *format, ...);
void __wrap_audit_log(int priority, const char *format, ...)
{
        (void)priority;
        (void)format;
}

int __real_getsockopt(int fd, int level, int name, void *value, socklen_t *size);
int __wrap_getsockopt(int fd, int level, int name, void *value, socklen_t *size);
int __wrap_getsockopt(int fd, int level, int name, void *value, socklen_t *size)
{
        if (name == SO_PEERCRED)
                *(struct ucred *)value = (struct ucred){.pid = 1, .uid = play.uid, .gid = play.uid};
        else if (name == SO_PEERGROUPS)
                *size = 0;
        else
                return __real_getsockopt(fd, level, name, value, size);
        return 0;
}

int __real_accept4(int fd, struct sockaddr *address, socklen_t *size, int flags);
int __wrap_accept4(int fd, struct sockaddr *address, socklen_t *size, int flags);
int __wrap_accept4(int fd, struct sockaddr *address, socklen_t *size, int flags)
{
        play.accepted++;
        if (!play.none_left)
                return __real_accept4(fd, address, size, flags);
        errno = EMFILE;
        return -1;
}

uint64_t __wrap_bus_time_used(void);
uint64_t __wrap_bus_time_used(void)
{
        return play.used;
}

/* ---- callers ---- */

/* False if it does not become quiet: the daemon runs in circles. */
static bool run_until_quiet(void)
{
        for (unsigned i = 0; i < 100000; i++)
                if (sd_event_run(play.event, 0) == 0)
                        return true;
        return false;
}

/* The daemon and this caller, until neither has anything to do. -errno if it was hung up on. */
static int converse(sd_bus *caller)
{
        int r;

        do {
                assert_true(run_until_quiet());
                r = sd_bus_process(caller, NULL);
        } while (r > 0);
        return r < 0 ? r : sd_bus_is_open(caller) - 1;
}

static sd_bus *come(uint32_t uid)
{
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        sd_bus *caller = NULL;

        play.uid = uid;
        assert_return_code(connect(fd, (struct sockaddr *)&play.address, play.address_size), errno);
        assert_return_code(sd_bus_new(&caller), 0);
        assert_return_code(sd_bus_set_fd(caller, fd, fd), 0);
        assert_return_code(sd_bus_start(caller), 0);
        (void)converse(caller);
        return caller;
}

static int on_answer(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
        (void)m;
        (void)error;
        ++*(unsigned *)userdata;
        return 0;
}

static void ask_status(sd_bus *caller, unsigned *answers)
{
        assert_return_code(sd_bus_call_method_async(caller, NULL, NULL, LOCKDOWN_BUS_PATH,
                                                    LOCKDOWN_BUS_INTERFACE, METHOD_STATUS, on_answer, answers,
                                                    "sb", "", 0),
                           0);
}

static void ask_order(sd_bus *caller, unsigned *answers)
{
        assert_return_code(sd_bus_call_method_async(caller, NULL, NULL, LOCKDOWN_BUS_PATH,
                                                    LOCKDOWN_BUS_INTERFACE, METHOD_ORDER, on_answer, answers,
                                                    "sa{sv}", "staff", 0),
                           0);
}

static void leave(sd_bus **callers, size_t n)
{
        for (size_t i = 0; i < n; i++)
                sd_bus_close_unref(callers[i]);
}

static int set_up(void **state)
{
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        char *error = NULL;

        (void)state;
        play = (struct play){.address = {.sun_family = AF_UNIX}, .address_size = sizeof(play.address)};
        setenv("DBUS_SYSTEM_BUS_ADDRESS", "unix:abstract=lockdown-test-no-such-bus", 1);
        if (bind(fd, (struct sockaddr *)&play.address, sizeof(sa_family_t)) < 0 || listen(fd, 512) < 0 ||
            getsockname(fd, (struct sockaddr *)&play.address, &play.address_size) < 0)
                return -1;
        if (sd_event_new(&play.event) < 0)
                return -1;
        return bus_new(play.event, NULL, fd, "/nowhere", &play.bus, &error);
}

static int tear_down(void **state)
{
        (void)state;
        play.bus = bus_free(play.bus);
        while (play.first < play.n) /* as a manager that outlives it would */
                answer_next();
        play.event = sd_event_unref(play.event);
        return 0;
}

#endif
