/* SPDX-License-Identifier: GPL-2.0-or-later */
/* follow-units between a lockdownd and a systemd that are played (ctl-fakes.h). */

// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
// clang-format on

#include "ctl-fakes.h"
#include "follow.h"
#include <time.h>

#define PATIENCE_MS 20000

static pid_t start_follower(const struct fake *f)
{
        const struct unit_paths paths = {.marks = f->marks, .systemd = f->address};
        _cleanup_(follower_freep) struct follower *follower = NULL;
        sd_event *event = NULL;
        pid_t pid;

        fflush(NULL);
        pid = fork();
        if (pid != 0)
                return pid;
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (sd_event_new(&event) < 0 || follower_new(event, f->socket, &paths, &follower) < 0)
                _exit(1);
        sd_event_loop(event);
        _exit(1);
}

static void end_follower(pid_t pid)
{
        int status = 0;

        kill(pid, SIGKILL);
        waitpid(pid, &status, 0);
        assert_true(WIFSIGNALED(status)); /* it had not given up by itself */
}

static void in_force(struct fake *f, const char *profile)
{
        if (*profile)
                (void)snprintf(f->status, sizeof(f->status),
                               "{\"orders\":[{\"profile\":\"%s\",\"state\":\"active\"}]}", profile);
        else
                (void)snprintf(f->status, sizeof(f->status), "{\"orders\":[]}");
}

/* Waits for a call of which the fakes tell. */
static bool told(struct fake *f)
{
        struct pollfd p = {.fd = f->told[0], .events = POLLIN};
        char byte;

        return poll(&p, 1, PATIENCE_MS) == 1 && read(f->told[0], &byte, 1) == 1;
}

static void command(struct fake *f, char c)
{
        assert_int_equal(write(f->commands[1], &c, 1), 1);
}

static void wait_for_log(struct fake *f, const char *line)
{
        while (!strstr(f->log, line))
                if (!told(f))
                        fail_msg("'%s' did not come; what came: '%s'", line, f->log);
}

static bool is_marked(const struct fake *f, const char *mark)
{
        bool marked = false;

        assert_int_equal(mark_exists(f->marks, mark, &marked), 0);
        return marked;
}

static void wait_unmarked(struct fake *f, const char *mark)
{
        while (is_marked(f, mark)) {
                const struct timespec pause = {.tv_nsec = 2000000};

                nanosleep(&pause, NULL); /* its removal is told to nobody; the test's own limit ends this */
        }
        (void)f;
}

/* Two whole looks without an action: it has come to rest. Each look reads the status. */
static void assert_at_rest(struct fake *f, const char *log)
{
        for (int looks = 0; looks < 2; looks++) {
                *f->called = '\0';
                command(f, 'c');
                while (!*f->called)
                        assert_true(told(f));
        }
        assert_string_equal(f->log, log);
}

static int setup(void **state)
{
        struct fake *f = fake_start();

        if (!f)
                return -1;
        *state = f;
        return 0;
}

static int teardown(void **state)
{
        fake_stop(*state);
        return 0;
}

static void test_order_and_lift(void **state)
{
        struct fake *f = *state;
        pid_t pid;

        in_force(f, "night-shift");
        pid = start_follower(f);
        wait_for_log(f, "start lockdown@night-shift.service marked\n");
        wait_unmarked(f, "night-shift");
        in_force(f, "");
        command(f, 'c');
        wait_for_log(f, "stop lockdown@night-shift.service marked\n");
        wait_unmarked(f, "night-shift");
        assert_at_rest(
                f, "start lockdown@night-shift.service marked\nstop lockdown@night-shift.service marked\n");
        end_follower(pid);
}

/* The race: ordered again while the unit of the ended order is being stopped. */
static void test_ordered_again_while_stopping(void **state)
{
        struct fake *f = *state;
        pid_t pid;

        f->units[0] = (struct fake_unit){.name = "lockdown@staff.service", .state = "active"};
        f->hold_jobs = true;
        in_force(f, "");
        pid = start_follower(f);
        wait_for_log(f, "stop lockdown@staff.service marked\n");
        in_force(f, "staff");
        assert_at_rest(f, "stop lockdown@staff.service marked\n");
        assert_true(is_marked(f, "staff")); /* its ExecStop= may still be on its way */
        f->hold_jobs = false;
        command(f, 'j');
        wait_for_log(f, "start lockdown@staff.service marked\n");
        wait_unmarked(f, "staff");
        end_follower(pid);
}

static void test_lifted_while_starting(void **state)
{
        struct fake *f = *state;
        pid_t pid;

        f->hold_jobs = f->fail_starts = true;
        in_force(f, "staff");
        pid = start_follower(f);
        wait_for_log(f, "start lockdown@staff.service marked\n");
        in_force(f, "");
        command(f, 'j');
        wait_for_log(f, "reset lockdown@staff.service\n");
        assert_false(is_marked(f, "staff"));
        end_follower(pid);
}

/* A mark left by a follower that died is kept while the job runs it was made for. */
static void test_marks_at_start(void **state)
{
        struct fake *f = *state;
        pid_t pid;

        f->units[0] = (struct fake_unit){
                .name = "lockdown@staff.service", .state = "deactivating", .job = 7, .becomes = "inactive"};
        assert_int_equal(mark_set(f->marks, "staff"), 0);
        assert_int_equal(mark_set(f->marks, "stale"), 0);
        in_force(f, "staff");
        pid = start_follower(f);
        wait_unmarked(f, "stale");
        assert_at_rest(f, "");
        assert_true(is_marked(f, "staff"));
        command(f, 'j');
        wait_for_log(f, "start lockdown@staff.service marked\n");
        end_follower(pid);
}

static void test_connections_lost(void **state)
{
        struct fake *f = *state;
        unsigned before;
        pid_t pid;

        in_force(f, "");
        pid = start_follower(f);
        assert_at_rest(f, "");
        before = f->connections;
        in_force(f, "staff");
        command(f, 'h'); /* lockdownd restarts: no signal tells what happened meanwhile */
        wait_for_log(f, "start lockdown@staff.service marked\n");
        assert_true(f->connections > before);
        in_force(f, "");
        command(f, 's'); /* systemd executes itself anew */
        wait_for_log(f, "stop lockdown@staff.service marked\n");
        end_follower(pid);
}

/* While nobody knows what is in force, no unit is touched. */
static void test_unreadable_status(void **state)
{
        static const char *const answers[] = {"{}", "{\"orders\":null}", "[]", "{\"orders\":[{}]}"};
        struct fake *f = *state;
        pid_t pid;

        f->units[0] = (struct fake_unit){.name = "lockdown@staff.service", .state = "active"};
        (void)snprintf(f->status, sizeof(f->status), "%s", answers[0]);
        pid = start_follower(f);
        for (size_t i = 0; i < ELEMENTSOF(answers); i++) {
                (void)snprintf(f->status, sizeof(f->status), "%s", answers[i]);
                *f->called = '\0';
                while (!*f->called)
                        assert_true(told(f));
        }
        f->behaviour = FAKE_ERROR;
        (void)snprintf(f->error_name, sizeof(f->error_name), "%s", ERROR_NOT_PERMITTED);
        *f->called = '\0';
        while (!*f->called)
                assert_true(told(f));
        assert_string_equal(f->log, "");
        end_follower(pid);
}

static void test_shutdown(void **state)
{
        struct fake *f = *state;
        pid_t pid;

        (void)snprintf(f->system_state, sizeof(f->system_state), "stopping");
        f->units[0] = (struct fake_unit){.name = "lockdown@staff.service", .state = "active"};
        in_force(f, "guests");
        pid = start_follower(f);
        for (int calls = 0; calls < 2; calls++) /* Subscribe, SystemState */
                assert_true(told(f));
        for (int looks = 0; looks < 4; looks++) {
                command(f, 'c');
                for (int calls = 0; calls < 2; calls++) /* the command, SystemState */
                        assert_true(told(f));
        }
        assert_string_equal(f->log, "");
        end_follower(pid);
}

/* Refused for ever: tried three times, then more and more seldom, and the mark does not stay. */
static void test_refused_jobs(void **state)
{
        struct fake *f = *state;
        size_t tries = 0;
        pid_t pid;

        f->refuse_jobs = true;
        in_force(f, "staff");
        pid = start_follower(f);
        wait_for_log(f, "marked\nstart lockdown@staff.service marked\nstart lockdown@staff.service marked\n");
        for (int i = 0; i < 8; i++) {
                *f->called = '\0';
                command(f, 'c');
                while (!*f->called)
                        assert_true(told(f));
        }
        for (const char *line = f->log; (line = strstr(line, "start ")); line++)
                tries++;
        assert_in_range(tries, 3, 4);
        wait_unmarked(f, "staff");
        end_follower(pid);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
        const struct CMUnitTest tests[] = {
                TEST(test_order_and_lift),
                TEST(test_ordered_again_while_stopping),
                TEST(test_lifted_while_starting),
                TEST(test_marks_at_start),
                TEST(test_connections_lost),
                TEST(test_unreadable_status),
                TEST(test_shutdown),
                TEST(test_refused_jobs),
        };

        alarm(120); /* a wait without an end is a failure */
        return cmocka_run_group_tests_name("ctl-follow", tests, NULL, NULL);
}
