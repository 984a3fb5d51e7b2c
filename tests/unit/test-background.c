/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Work in a thread: it ends in the event loop, or is waited for. */

// wrap: pthread_create

#include "background.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <unistd.h>

static struct lab {
        sd_event *event;
        struct background *background;
        pthread_t worker;
        bool worked, told, signals_come;
        int no_thread; /* 0 or an error */
} lab;

int __real_pthread_create(pthread_t *ret, const pthread_attr_t *a, void *(*work)(void *), void *argument);
int __wrap_pthread_create(pthread_t *ret, const pthread_attr_t *a, void *(*work)(void *), void *argument);
int __wrap_pthread_create(pthread_t *ret, const pthread_attr_t *a, void *(*work)(void *), void *argument)
{
        return lab.no_thread ?: __real_pthread_create(ret, a, work, argument);
}

static void work(void *userdata)
{
        struct lab *l = userdata;
        sigset_t blocked;

        l->worker = pthread_self();
        l->signals_come = pthread_sigmask(SIG_SETMASK, NULL, &blocked) != 0 ||
                          !sigismember(&blocked, SIGTERM) || !sigismember(&blocked, SIGCHLD);
        usleep(20000);
        l->worked = true;
}

static void done(void *userdata)
{
        struct lab *l = userdata;

        l->told = true;
        l->background = background_end(l->background);
}

static int set_up(void **state)
{
        (void)state;
        lab = (struct lab){0};
        return sd_event_new(&lab.event);
}

static int tear_down(void **state)
{
        (void)state;
        lab.event = sd_event_unref(lab.event);
        return 0;
}

static int begin(void)
{
        return background_begin(lab.event, SD_EVENT_PRIORITY_NORMAL, work, &lab, done, &lab, &lab.background);
}

static void test_told_in_the_loop(void **state)
{
        (void)state;
        assert_int_equal(begin(), 0);
        while (!lab.told)
                assert_true(sd_event_run(lab.event, 10000000) > 0);
        assert_true(lab.worked);
        assert_false(pthread_equal(lab.worker, pthread_self()));
        assert_null(lab.background);
        assert_int_equal(sd_event_run(lab.event, 0), 0); /* once */
}

static void test_no_signal_comes_there(void **state)
{
        sigset_t none, after;

        (void)state;
        sigemptyset(&none);
        assert_int_equal(pthread_sigmask(SIG_SETMASK, &none, NULL), 0);
        assert_int_equal(begin(), 0);
        assert_int_equal(pthread_sigmask(SIG_SETMASK, NULL, &after), 0);
        lab.background = background_end(lab.background);
        assert_false(lab.signals_come);
        for (int number = 1; number < 32; number++)
                assert_int_equal(sigismember(&after, number), 0);
}

static void test_waited_for(void **state)
{
        (void)state;
        assert_int_equal(begin(), 0);
        lab.background = background_end(lab.background);
        assert_true(lab.worked);
        assert_int_equal(sd_event_run(lab.event, 0), 0);
        assert_false(lab.told);
        assert_null(background_end(NULL));
}

static void test_no_thread(void **state)
{
        (void)state;
        lab.no_thread = EAGAIN;
        assert_int_equal(begin(), -EAGAIN);
        assert_null(lab.background);
        assert_int_equal(sd_event_run(lab.event, 0), 0);
        assert_false(lab.worked);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
        const struct CMUnitTest tests[] = {
                TEST(test_told_in_the_loop),
                TEST(test_no_signal_comes_there),
                TEST(test_waited_for),
                TEST(test_no_thread),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
