/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Whose turn it is: the real transport and methods, a played manager, and callers of any uid. */

// wrap: manager_order manager_status manager_permits manager_on_change audit audit_log
// wrap: getsockopt accept4 bus_time_used

// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
// clang-format on

#include "audit.h"
#include "bus-internal.h"
#include <dirent.h>
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
        return right == RIGHT_STATUS || peer->uid == OPERATOR || peer->uid == 0;
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

/* ---- the tests ---- */

static void operators_go_first(void **state)
{
        sd_bus *callers[9];
        unsigned answers = 0;

        (void)state;
        for (uint32_t i = 0; i < 8; i++)
                callers[i] = come(ALICE + i);
        callers[8] = come(OPERATOR);
        for (size_t i = 0; i < 8; i++)
                ask_status(callers[i], &answers);
        ask_order(callers[8], &answers);
        assert_true(run_until_quiet());
        assert_int_equal(play.orders, 1);
        assert_int_equal(play.questions, 8);
        assert_int_equal(play.questions_before_order, 0);
        leave(callers, 9);
}

static void one_question_of_a_user_at_a_time(void **state)
{
        sd_bus *callers[9];
        unsigned answers = 0;

        (void)state;
        play.later = true;
        for (size_t i = 0; i < 9; i++) {
                callers[i] = come(i < 3 ? ALICE : i < 6 ? BOB : OPERATOR);
                ask_status(callers[i], &answers);
                ask_status(callers[i], &answers);
        }
        assert_true(run_until_quiet());
        assert_int_equal(play.questions, 1 + 1 + 3);
        while (play.first < play.n) {
                answer_next();
                assert_true(run_until_quiet());
        }
        for (size_t i = 0; i < 9; i++)
                assert_return_code(converse(callers[i]), 0);
        assert_int_equal(answers, 18);
        leave(callers, 9);
}

static void who_does_not_read_is_not_read(void **state)
{
        sd_bus *caller = come(ALICE), *other;
        unsigned answers = 0, others = 0;

        (void)state;
        play.answer = 20000;
        for (int i = 0; i < 300; i++)
                ask_status(caller, &answers);
        assert_true(run_until_quiet());
        assert_true(play.questions < 50);
        /* Nor are those of the same user, until it has read. */
        other = come(ALICE);
        ask_status(other, &others);
        assert_true(run_until_quiet());
        assert_true(play.questions < 50);
        while (answers < 300)
                assert_return_code(converse(caller), 0);
        while (others < 1)
                assert_return_code(converse(other), 0);
        leave((sd_bus *[]){caller, other}, 2);
}

static void who_takes_too_much_waits(void **state)
{
        sd_bus *callers[3] = {come(ALICE), come(BOB), come(OPERATOR)};
        unsigned answers = 0, others = 0;

        (void)state;
        play.cost = ACCOUNT_BURST / 2 + 10000;
        for (int i = 0; i < 5; i++) {
                ask_status(callers[0], &answers);
                ask_status(callers[2], &others);
        }
        ask_status(callers[1], &others);
        assert_true(run_until_quiet());
        assert_return_code(converse(callers[1]), 0);
        assert_return_code(converse(callers[2]), 0);
        assert_int_equal(others, 6);
        assert_true(play.questions < 6 + 5);
        while (answers < 5) { /* … but is answered in the end */
                assert_return_code(sd_event_run(play.event, UINT64_MAX), 0);
                assert_return_code(converse(callers[0]), 0);
        }
        leave(callers, 3);
}

static void operators_may_send_more(void **state)
{
        sd_bus *callers[2] = {come(OPERATOR), come(ALICE)};
        _cleanup_free_ char *text = calloc(1, 60001);

        (void)state;
        memset(text, 'x', 60000);
        for (int i = 0; i < 2; i++) {
                assert_return_code(sd_bus_call_method_async(callers[i], NULL, NULL, LOCKDOWN_BUS_PATH,
                                                            LOCKDOWN_BUS_INTERFACE, METHOD_STATUS, on_answer,
                                                            &(unsigned){0}, "sb", text, 0),
                                   0);
                assert_true((converse(callers[i]) < 0) == (i == 1));
        }
        assert_int_equal(play.questions, 1);
        leave(callers, 2);
}

static size_t descriptors(void)
{
        DIR *d = opendir("/proc/self/fd");
        size_t n = 0;

        while (readdir(d))
                n++;
        closedir(d);
        return n;
}

static void no_descriptors_are_taken(void **state)
{
        sd_bus *caller = come(OPERATOR);
        union {
                struct cmsghdr header;
                char room[CMSG_SPACE(sizeof(int))];
        } control = {.header = {.cmsg_len = CMSG_LEN(sizeof(int)),
                                .cmsg_level = SOL_SOCKET,
                                .cmsg_type = SCM_RIGHTS}};
        struct iovec iov = {.iov_base = (char[]){'l'}, .iov_len = 1};
        struct msghdr mh = {
                .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)};
        size_t before = descriptors();

        (void)state;
        assert_int_equal(sendmsg(sd_bus_get_fd(caller), &mh, 0), 1);
        assert_true(converse(caller) < 0);
        assert_true(descriptors() < before); /* its own, and what it had in the daemon */
        assert_int_equal(play.bus->n_connections, 0);
        leave(&caller, 1);
}

/* What was asked is done, and the daemon does not run in circles meanwhile, for a hang-up is told all the
 * time. */
static void gone_before_the_answer(void **state)
{
        sd_bus *caller = come(OPERATOR);
        unsigned answers = 0;

        (void)state;
        play.later = true;
        ask_order(caller, &answers);
        ask_order(caller, &answers);
        leave(&caller, 1);
        assert_true(run_until_quiet());
        assert_int_equal(play.orders, 1);
        assert_int_equal(play.bus->n_connections, 1);
        answer_next();
        assert_true(run_until_quiet());
        assert_int_equal(play.bus->n_connections, 0);
}

static void operators_find_room(void **state)
{
        sd_bus *callers[CONNECTIONS_MAX + 16];
        size_t n = 0;

        (void)state;
        for (uint32_t i = 0; i < CONNECTIONS_MAX; i++)
                callers[n++] = come(1000 + i / 8);
        assert_int_equal(play.bus->n_connections,
                         CONNECTIONS_MAX - CONNECTIONS_FOR_ROOT - CONNECTIONS_FOR_OPERATORS);
        callers[n] = come(OPERATOR);
        assert_return_code(converse(callers[n++]), 0);
        callers[n] = come(0);
        assert_return_code(converse(callers[n++]), 0);
        leave(callers, n);
}

static void no_more_than_their_share_of_connections(void **state)
{
        sd_bus *callers[CONNECTIONS_PER_UID + 1];

        (void)state;
        for (size_t i = 0; i <= CONNECTIONS_PER_UID; i++) {
                callers[i] = come(ALICE);
                assert_true((converse(callers[i]) < 0) == (i == CONNECTIONS_PER_UID));
        }
        leave(callers, CONNECTIONS_PER_UID + 1);
}

static void without_descriptors_nobody_is_let_in_for_a_while(void **state)
{
        sd_bus *caller;
        unsigned tried;

        (void)state;
        play.none_left = true;
        caller = come(OPERATOR);
        tried = play.accepted;
        assert_true(tried >= 1 && tried <= 3);
        assert_int_equal(play.bus->n_connections, 0);
        play.none_left = false;
        while (play.bus->n_connections == 0)
                assert_return_code(sd_event_run(play.event, UINT64_MAX), 0);
        assert_return_code(converse(caller), 0);
        leave(&caller, 1);
}

static void refusals_are_summed_up(void **state)
{
        sd_bus *caller = come(ALICE);
        unsigned answers = 0;

        (void)state;
        for (int i = 0; i < 100; i++)
                ask_order(caller, &answers);
        while (answers < 100)
                assert_return_code(converse(caller), 0);
        assert_int_equal(play.refusals, REFUSALS_TOLD);
        leave(&caller, 1);
        play.bus = bus_free(play.bus);
        assert_int_equal(play.refusals, REFUSALS_TOLD + 1);
        assert_string_equal(play.last_refusal, "uid 11 was refused 80 more times within a minute");
}

static void subscribers_who_do_not_read_are_dropped(void **state)
{
        sd_bus *callers[2] = {come(0), come(OPERATOR)};
        unsigned answers = 0;

        (void)state;
        for (int i = 0; i < 2; i++) {
                ask_status(callers[i], &answers);
                assert_return_code(converse(callers[i]), 0);
        }
        for (int i = 0; i < 5000 && play.bus->n_connections == 2; i++) {
                play.changed(play.changed_userdata, "staff", "active");
                assert_return_code(converse(callers[0]), 0);
        }
        assert_int_equal(play.bus->n_connections, 1);
        assert_return_code(converse(callers[0]), 0);
        leave(callers, 2);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(operators_go_first, set_up, tear_down),
                cmocka_unit_test_setup_teardown(one_question_of_a_user_at_a_time, set_up, tear_down),
                cmocka_unit_test_setup_teardown(who_does_not_read_is_not_read, set_up, tear_down),
                cmocka_unit_test_setup_teardown(who_takes_too_much_waits, set_up, tear_down),
                cmocka_unit_test_setup_teardown(operators_may_send_more, set_up, tear_down),
                cmocka_unit_test_setup_teardown(no_descriptors_are_taken, set_up, tear_down),
                cmocka_unit_test_setup_teardown(gone_before_the_answer, set_up, tear_down),
                cmocka_unit_test_setup_teardown(operators_find_room, set_up, tear_down),
                cmocka_unit_test_setup_teardown(no_more_than_their_share_of_connections, set_up, tear_down),
                cmocka_unit_test_setup_teardown(without_descriptors_nobody_is_let_in_for_a_while, set_up,
                                                tear_down),
                cmocka_unit_test_setup_teardown(refusals_are_summed_up, set_up, tear_down),
                cmocka_unit_test_setup_teardown(subscribers_who_do_not_read_are_dropped, set_up, tear_down),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
