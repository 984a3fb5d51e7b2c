// SPDX-License-Identifier: GPL-2.0-or-later
/* The daemon's side of the resolver against workers that misbehave: this program is its own launcher and
 * worker, and a file that the environment names says how it is to behave. */
// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
// clang-format on
#include "launched.h"
#include "resolver-internal.h"
#include "worker.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#define BEHAVIOUR "TEST_RESOLVER_WORKER"
#define ANSWER "lockdown-members 1\nas-of 5\nuid 1000\nend\n"
#define MSEC UINT64_C(1000)
#define LONG (20 * 1000 * MSEC)

/* ---- the worker ---- */

static void say(const void *data, size_t size)
{
        (void)!send(WORKER_FD, data, size, MSG_NOSIGNAL);
}

static void say_message(uint32_t size, const char *text)
{
        say(&size, sizeof(size));
        say(text, strlen(text));
}

static void hear(void)
{
        char *text;
        uint32_t size;

        if (recv(WORKER_FD, &size, sizeof(size), MSG_WAITALL) != (ssize_t)sizeof(size))
                _exit(0);
        text = malloc(size + 1);
        if (!text || recv(WORKER_FD, text, size, MSG_WAITALL) != (ssize_t)size)
                _exit(0);
        free(text);
}

static void trickle(void)
{
        uint32_t size = (uint32_t)strlen(ANSWER);
        char message[sizeof(size) + sizeof(ANSWER)];

        memcpy(message, &size, sizeof(size));
        memcpy(message + sizeof(size), ANSWER, size);
        for (size_t i = 0; i < sizeof(size) + size; i++) {
                struct timespec pause = {.tv_nsec = 200000};

                say(message + i, 1);
                nanosleep(&pause, NULL);
        }
}

static void say_text(const char *text)
{
        say_message((uint32_t)strlen(text), text);
}

/* So big that it comes in many pieces. */
static void say_big(void)
{
        char *text = NULL;
        size_t size = 0;
        FILE *f = open_memstream(&text, &size);

        fputs("lockdown-members 1\nas-of 5\n", f);
        for (unsigned i = 0; i < 500000; i++)
                fprintf(f, "uid %u\n", 2 * i);
        fputs("end\n", f);
        fclose(f);
        say_message((uint32_t)size, text);
        free(text);
}

static void behave(const char *how)
{
        if (strcmp(how, "deaf") == 0)
                for (;;)
                        pause();
        hear();
        if (strcmp(how, "hang") == 0)
                for (;;)
                        pause();
        else if (strcmp(how, "stop") == 0)
                raise(SIGSTOP);
        else if (strcmp(how, "die") == 0)
                abort();
        else if (strcmp(how, "exit") == 0)
                _exit(0);
        else if (strcmp(how, "garbage") == 0)
                say_message(12, "no such line");
        else if (strcmp(how, "noise") == 0)
                say("\xff\xff\xff\xff\xff\xff\xff\xff", 8);
        else if (strcmp(how, "huge") == 0)
                say_message(WORKER_MESSAGE_MAX + 1, "lockdown-members 1\n");
        else if (strcmp(how, "zero") == 0)
                say_message(0, "");
        else if (strcmp(how, "short") == 0) {
                say_message((uint32_t)strlen(ANSWER) + 1, ANSWER);
                _exit(0);
        } else if (strcmp(how, "too-much") == 0)
                say_message((uint32_t)strlen(ANSWER), ANSWER "uid 5\n");
        else if (strcmp(how, "cut") == 0)
                say_message((uint32_t)strlen(ANSWER) - 1, ANSWER);
        else if (strcmp(how, "everybody") == 0)
                say_text("lockdown-members 1\nas-of 5\nuid 1-4294967294\nend\n");
        else if (strcmp(how, "all-groups") == 0)
                say_text("lockdown-members 1\nas-of 5\nexcept-gid 0-2097152\nend\n");
        else if (strcmp(how, "trickle") == 0)
                trickle();
        else if (strcmp(how, "big") == 0)
                say_big();
        else
                say_message((uint32_t)strlen(ANSWER), ANSWER);
        if (strcmp(how, "answer-and-die") == 0)
                _exit(1);
        if (strcmp(how, "answer-and-leave-child") == 0 && fork() > 0)
                _exit(1);
        if (strcmp(how, "answer-and-babble") == 0)
                say("x", 1);
}

static __attribute__((noreturn)) void run_worker(void)
{
        _cleanup_fclose_ FILE *f = fopen(getenv(BEHAVIOUR), "re");
        char how[64] = "answer";

        if (!f || fscanf(f, "%63s", how) != 1)
                _exit(EXIT_FAILURE);
        for (;;)
                behave(how);
}

/* ---- the tests ---- */

struct fixture {
        sd_event *event;
        struct launcher *launcher;
        struct resolver *resolver;
};

struct outcome {
        struct fixture *fixture;
        unsigned calls;
        int error;
        uint64_t uids;
        unsigned *counter; /* what it was the how-manieth of */
        unsigned place;
        void (*then)(struct outcome *o);
};

static void on_members(void *userdata, int error, struct membership *m)
{
        struct outcome *o = userdata;

        o->calls++;
        o->error = error;
        assert_non_null(m);
        o->uids = idset_count(&m->subjects.uids);
        if (o->counter)
                o->place = ++*o->counter;
        if (o->then)
                o->then(o);
}

/* Of the workers that are started from now on. */
static void set_behaviour(const char *how)
{
        _cleanup_fclose_ FILE *f = fopen(getenv(BEHAVIOUR), "we");

        assert_non_null(f);
        assert_true(fputs(how, f) >= 0);
}

static int setup(void **state)
{
        struct fixture *f = calloc(1, sizeof(*f));

        if (!f || sd_event_new(&f->event) < 0 || launcher_new("/proc/self/exe", NULL, &f->launcher) < 0 ||
            resolver_new(f->event, f->launcher, &f->resolver) < 0)
                return -1;
        *state = f;
        return 0;
}

/* The launcher collects at once what has ended, not with the next request. */
static void assert_no_workers(void)
{
        pid_t launcher = child_of(getpid());

        for (unsigned i = 0; launcher > 0 && child_of(launcher) > 0; i++) {
                const struct timespec pause = {.tv_nsec = 1000000};

                assert_true(i < 10000);
                nanosleep(&pause, NULL);
        }
}

static int teardown(void **state)
{
        struct fixture *f = *state;

        resolver_free(f->resolver);
        launcher_free(f->launcher);
        sd_event_unref(f->event);
        free(f);
        assert_int_equal(child_of(getpid()), 0);
        return 0;
}

static void ask_as(struct fixture *f, struct outcome *o, uint64_t deadline, bool awaited)
{
        const struct resolver_query nothing = {.awaited = awaited};

        o->fixture = f;
        assert_int_equal(resolver_resolve(f->resolver, &nothing, deadline, on_members, o), 0);
        assert_int_equal(o->calls, 0); /* never from within */
}

static void ask(struct fixture *f, struct outcome *o, uint64_t deadline)
{
        ask_as(f, o, deadline, false);
}

static void wait_for(struct fixture *f, const struct outcome *o)
{
        unsigned calls = o->calls;

        while (o->calls == calls)
                assert_true(sd_event_run(f->event, 30 * 1000 * 1000) > 0);
        assert_int_equal(o->calls, calls + 1);
}

static uint64_t monotonic(void)
{
        struct timespec now;

        clock_gettime(CLOCK_MONOTONIC, &now);
        return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

static void assert_answered(struct fixture *f)
{
        struct outcome o = {0};

        set_behaviour("answer");
        ask(f, &o, LONG);
        wait_for(f, &o);
        assert_int_equal(o.error, 0);
        assert_true(o.uids > 0);
}

/* Each fails as it should, and the next request is answered by a new worker. */
static void test_faults(void **state)
{
        static const struct {
                const char *how;
                int error;
        } cases[] = {
                {"die", -EPIPE},     {"exit", -EPIPE},      {"short", -EPIPE},      {"garbage", -EBADMSG},
                {"noise", -EBADMSG}, {"huge", -EBADMSG},    {"zero", -EBADMSG},     {"too-much", -EBADMSG},
                {"cut", -EBADMSG},   {"everybody", -E2BIG}, {"all-groups", -E2BIG},
        };
        struct fixture *f = *state;

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                struct outcome o = {0};

                set_behaviour(cases[i].how);
                f->resolver = resolver_free(f->resolver);
                assert_int_equal(resolver_new(f->event, f->launcher, &f->resolver), 0);
                ask(f, &o, LONG);
                wait_for(f, &o);
                if (o.error != cases[i].error)
                        fail_msg("%s: %d", cases[i].how, o.error);
                assert_int_equal(o.uids, 0);
                assert_answered(f);
        }
}

static void test_deadline(void **state)
{
        static const char *const cases[] = {"hang", "deaf", "stop"};
        struct fixture *f = *state;

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                struct outcome o = {0};
                uint64_t began = monotonic(), took;

                set_behaviour(cases[i]);
                ask(f, &o, 150 * MSEC);
                wait_for(f, &o);
                took = monotonic() - began;
                assert_int_equal(o.error, -ETIMEDOUT);
                assert_true(took >= 150 * MSEC && took < 1000 * MSEC);
                assert_answered(f);
                f->resolver = resolver_free(f->resolver);
                assert_int_equal(resolver_new(f->event, f->launcher, &f->resolver), 0);
        }
}

/* A request bigger than the socket's buffer, to a worker that does not read: the daemon does not wait. */
static void test_big_request(void **state)
{
        struct fixture *f = *state;
        _cleanup_free_ uint32_t *uids = calloc(300000, sizeof(*uids));
        struct resolver_query query = {.seen_uids = uids, .n_seen_uids = 300000};
        struct outcome o = {0};

        for (uint32_t i = 0; i < 300000; i++)
                uids[i] = 100000 + i;
        set_behaviour("deaf");
        assert_int_equal(resolver_resolve(f->resolver, &query, 100 * MSEC, on_members, &o), 0);
        wait_for(f, &o);
        assert_int_equal(o.error, -ETIMEDOUT);
        set_behaviour("answer");
        assert_int_equal(resolver_resolve(f->resolver, &query, LONG, on_members, &o), 0);
        wait_for(f, &o);
        assert_int_equal(o.error, 0);
        assert_int_equal(o.uids, 1);
}

static void test_pieces(void **state)
{
        static const struct {
                const char *how;
                uint64_t uids;
        } cases[] = {{"trickle", 1}, {"answer-and-die", 1}, {"big", 500000}};
        struct fixture *f = *state;

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                struct outcome o = {0};

                set_behaviour(cases[i].how);
                ask(f, &o, LONG);
                wait_for(f, &o);
                assert_int_equal(o.error, 0);
                assert_int_equal(o.uids, cases[i].uids);
                assert_answered(f);
                f->resolver = resolver_free(f->resolver);
                assert_int_equal(resolver_new(f->event, f->launcher, &f->resolver), 0);
        }
}

/* Talking without being asked, behind a good answer. */
static void test_babble(void **state)
{
        struct fixture *f = *state;
        struct outcome o = {0};

        set_behaviour("answer-and-babble");
        ask(f, &o, LONG);
        wait_for(f, &o);
        /* Whether the byte too much comes with the answer or behind it. */
        assert_true(o.error == 0 || o.error == -EBADMSG);
        assert_answered(f);
}

static void test_no_executable(void **state)
{
        struct fixture *f = *state;
        struct outcome first = {0}, second = {0};

        resolver_free(f->resolver);
        launcher_free(f->launcher);
        assert_int_equal(launcher_new("/nonexistent/lockdownd", NULL, &f->launcher), 0);
        assert_int_equal(resolver_new(f->event, f->launcher, &f->resolver), 0);
        ask(f, &first, LONG);
        ask(f, &second, LONG);
        wait_for(f, &first);
        wait_for(f, &second);
        assert_int_equal(first.error, -ENOENT);
        assert_int_equal(second.error, -ENOENT);
}

static void answer_from_now_on(struct outcome *o)
{
        (void)o;
        set_behaviour("answer");
}

/* In the order of asking; waiting in the queue does not count against the deadline. */
static void test_queue(void **state)
{
        struct fixture *f = *state;
        unsigned counter = 0;
        struct outcome first = {.counter = &counter, .then = answer_from_now_on},
                       second = {.counter = &counter}, third = {.counter = &counter};

        set_behaviour("hang");
        ask(f, &first, 400 * MSEC);
        ask(f, &second, 300 * MSEC);
        ask(f, &third, 300 * MSEC);
        wait_for(f, &first);
        wait_for(f, &second);
        wait_for(f, &third);
        assert_int_equal(first.error, -ETIMEDOUT);
        assert_int_equal(second.error, 0);
        assert_int_equal(third.error, 0);
        assert_int_equal(first.place, 1);
        assert_int_equal(second.place, 2);
        assert_int_equal(third.place, 3);
}

/* An order waits for nothing that the directory is asked for others; that is asked afterwards, in order. */
static void test_awaited(void **state)
{
        struct fixture *f = *state;
        unsigned counter = 0;
        struct outcome o[] = {
                {.counter = &counter}, {.counter = &counter}, {.counter = &counter}, {.counter = &counter}};
        static const unsigned places[] = {3, 4, 1, 2};

        set_behaviour("hang");
        ask(f, &o[0], LONG);
        ask(f, &o[1], LONG);
        for (unsigned i = 0; i < 3; i++)
                assert_true(sd_event_run(f->event, 0) >= 0); /* the first is with the worker */
        set_behaviour("answer");
        ask_as(f, &o[2], LONG, true);
        ask_as(f, &o[3], LONG, true);
        while (counter < ELEMENTSOF(o))
                assert_true(sd_event_run(f->event, 30 * 1000 * 1000) > 0);
        for (size_t i = 0; i < ELEMENTSOF(o); i++) {
                assert_int_equal(o[i].error, 0);
                assert_int_equal(o[i].calls, 1);
                assert_int_equal(o[i].place, places[i]);
        }
}

static void test_cancel(void **state)
{
        struct fixture *f = *state;
        struct outcome held = {0}, queued = {0}, kept = {0};

        set_behaviour("hang");
        ask(f, &held, LONG);
        ask(f, &queued, LONG);
        ask(f, &kept, LONG);
        for (unsigned i = 0; i < 3; i++)
                assert_true(sd_event_run(f->event, 0) >= 0); /* the first is with the worker */
        set_behaviour("answer");
        resolver_cancel(f->resolver, &queued);
        resolver_cancel(f->resolver, &held);
        resolver_cancel(f->resolver, &held);
        wait_for(f, &kept); /* not behind a request that nobody waits for */
        assert_int_equal(kept.error, 0);
        assert_int_equal(held.calls, 0);
        assert_int_equal(queued.calls, 0);
}

static void free_resolver(struct outcome *o)
{
        o->fixture->resolver = resolver_free(o->fixture->resolver);
}

static void test_free_in_callback(void **state)
{
        static const char *const cases[] = {"answer", "garbage", "die", "hang"};
        struct fixture *f = *state;

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                struct outcome first = {.then = free_resolver}, second = {0};

                set_behaviour(cases[i]);
                ask(f, &first, 100 * MSEC);
                ask(f, &second, LONG);
                wait_for(f, &first);
                assert_null(f->resolver);
                assert_no_workers();
                while (sd_event_run(f->event, 0) > 0)
                        ;
                assert_int_equal(second.calls, 0);
                assert_int_equal(resolver_new(f->event, f->launcher, &f->resolver), 0);
        }
}

static struct outcome nested;

static void ask_again(struct outcome *o)
{
        ask(o->fixture, &nested, LONG);
        resolver_cancel(o->fixture->resolver, o); /* nothing of it is left */
}

static void test_ask_in_callback(void **state)
{
        struct fixture *f = *state;
        struct outcome o = {.then = ask_again};

        nested = (struct outcome){0};
        set_behaviour("answer");
        ask(f, &o, LONG);
        wait_for(f, &o);
        wait_for(f, &nested);
        assert_int_equal(nested.error, 0);
        assert_int_equal(o.calls, 1);
}

/* The worker dies while nothing is asked of it, and leaves a process behind that holds its socket. */
static void test_idle_death(void **state)
{
        struct fixture *f = *state;
        struct outcome o = {0};

        set_behaviour("answer-and-leave-child");
        ask(f, &o, LONG);
        wait_for(f, &o);
        assert_int_equal(o.error, 0);
        for (unsigned i = 0; i < 20; i++)
                assert_true(sd_event_run(f->event, 10 * MSEC) >= 0);
        assert_no_workers();
        assert_answered(f);
}

static void on_names(void *userdata, int error, const uint32_t *uids, char *const *names, size_t n)
{
        struct outcome *o = userdata;

        (void)uids;
        assert_int_equal(n, 0);
        assert_null(names);
        o->calls++;
        o->error = error;
}

/* A list of members is no list of names. */
static void test_wrong_kind(void **state)
{
        struct fixture *f = *state;
        const uint32_t uids[] = {0, 1};
        struct outcome o = {0};

        set_behaviour("answer");
        assert_int_equal(resolver_names(f->resolver, uids, ELEMENTSOF(uids), LONG, on_names, &o), 0);
        wait_for(f, &o);
        assert_int_equal(o.error, -EBADMSG);
        assert_answered(f);
}

static void test_names_text(void **state)
{
        static const char *const damaged[] = {
                "",
                "end\n",
                "name a\nend\n",
                "name a\nno-name\nname b\nend\n",
                "name a\nname b\n",
                "name a\nname\nend\n",
                "name a\nname b\nend\nend\n",
                "name a\nname b\nend",
        };
        static const char good[] = "name a%20b\nno-name\nend\n";
        char **names = NULL;

        (void)state;
        for (size_t i = 0; i < ELEMENTSOF(damaged); i++)
                assert_int_equal(resolver_parse_names(damaged[i], strlen(damaged[i]), 2, &names), -EBADMSG);
        assert_null(names);
        assert_int_equal(resolver_parse_names(good, strlen(good), 2, &names), 0);
        assert_string_equal(names[0], "a b");
        assert_null(names[1]);
        resolver_names_free(names, 2);
}

static int make_behaviour(void **state)
{
        char path[] = "/tmp/test-resolver-faults-XXXXXX";
        int fd = mkstemp(path);

        (void)state;
        if (fd < 0)
                return -1;
        close(fd);
        return setenv(BEHAVIOUR, path, 1);
}

static int remove_behaviour(void **state)
{
        (void)state;
        return unlink(getenv(BEHAVIOUR));
}

int main(int argc, char **argv)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(test_faults, setup, teardown),
                cmocka_unit_test_setup_teardown(test_deadline, setup, teardown),
                cmocka_unit_test_setup_teardown(test_big_request, setup, teardown),
                cmocka_unit_test_setup_teardown(test_pieces, setup, teardown),
                cmocka_unit_test_setup_teardown(test_babble, setup, teardown),
                cmocka_unit_test_setup_teardown(test_no_executable, setup, teardown),
                cmocka_unit_test_setup_teardown(test_queue, setup, teardown),
                cmocka_unit_test_setup_teardown(test_awaited, setup, teardown),
                cmocka_unit_test_setup_teardown(test_cancel, setup, teardown),
                cmocka_unit_test_setup_teardown(test_free_in_callback, setup, teardown),
                cmocka_unit_test_setup_teardown(test_ask_in_callback, setup, teardown),
                cmocka_unit_test_setup_teardown(test_idle_death, setup, teardown),
                cmocka_unit_test_setup_teardown(test_wrong_kind, setup, teardown),
                cmocka_unit_test(test_names_text),
        };

        if (argc > 1 && strcmp(argv[1], RESOLVER_WORKER_ARGUMENT) == 0)
                run_worker();
        if (argc > 1)
                return launcher_run("/proc/self/exe");
        return cmocka_run_group_tests_name("resolver-faults", tests, make_behaviour, remove_behaviour);
}
