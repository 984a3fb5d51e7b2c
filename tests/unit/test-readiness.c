/* SPDX-License-Identifier: GPL-2.0-or-later */

/* The network comes up when it is known who is to be held, or after a while. */

// wrap: manager_lacks_people notifier_ready audit_log

#include "audit.h"
#include "readiness.h"
#include "timespan.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static struct {
        bool lacking;
        int told, warned;
} now;

bool __wrap_manager_lacks_people(const struct manager *m);
void __wrap_notifier_ready(struct notifier *n);
void __wrap_audit_log(int priority, const char *format, ...);

bool __wrap_manager_lacks_people(const struct manager *m)
{
        (void)m;
        return now.lacking;
}

void __wrap_notifier_ready(struct notifier *n)
{
        (void)n;
        now.told++;
}

void __wrap_audit_log(int priority, const char *format, ...)
{
        (void)format;
        now.warned += priority == LOG_CRIT;
}

static int on_answer(sd_event_source *source, uint64_t usec, void *userdata)
{
        (void)source;
        (void)usec;
        (void)userdata;
        now.lacking = false;
        return 0;
}

static int on_anything(sd_event_source *source, void *userdata)
{
        (void)source;
        (void)userdata;
        return 0;
}

/* A turn of the loop in which something else is done. */
static void turn(sd_event *event)
{
        _cleanup_(sd_event_source_unrefp) sd_event_source *source = NULL;

        assert_true(sd_event_add_defer(event, &source, on_anything, NULL) >= 0);
        while (sd_event_run(event, 0) > 0)
                ;
}

/* With PATIENCE, and an answer of the directory's after ANSWER (0: never). */
static void play(bool lacking, uint64_t patience, uint64_t answer)
{
        _cleanup_(sd_event_unrefp) sd_event *event = NULL;
        _cleanup_(readiness_freep) struct readiness *r = NULL;

        now.lacking = lacking;
        now.told = now.warned = 0;
        assert_true(sd_event_new(&event) >= 0);
        assert_int_equal(readiness_new(event, NULL, NULL, patience, &r), 0);
        turn(event);
        assert_int_equal(now.told, !lacking);
        if (answer > 0)
                assert_true(sd_event_add_time_relative(event, NULL, CLOCK_MONOTONIC, answer, 1, on_answer,
                                                       NULL) >= 0);
        while (now.told == 0)
                assert_true(sd_event_run(event, USEC_PER_MINUTE) > 0);
        turn(event);
        assert_int_equal(now.told, 1);
}

static void test_nobody_is_missing(void **state)
{
        (void)state;
        play(false, USEC_PER_HOUR, 0);
        assert_int_equal(now.warned, 0);
}

static void test_the_directory_answers(void **state)
{
        (void)state;
        play(true, USEC_PER_HOUR, 20000);
        assert_false(now.lacking);
        assert_int_equal(now.warned, 0);
}

static void test_it_does_not(void **state)
{
        (void)state;
        play(true, 20000, 0);
        assert_true(now.lacking);
        assert_int_equal(now.warned, 1);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_nobody_is_missing),
                cmocka_unit_test(test_the_directory_answers),
                cmocka_unit_test(test_it_does_not),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
