/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "follow.h"
#include "client.h"
#include "systemd1.h"
#include "timespan.h"
#include "verbs.h"
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <string.h>
#include <systemd/sd-daemon.h>

/* Looking again although nothing was heard: while a job runs, and at rest. */
#define AGAIN_BUSY (10 * USEC_PER_SEC)
#define AGAIN_IDLE (5 * USEC_PER_MINUTE)
#define BACKOFF_MAX (30 * USEC_PER_SEC)

struct follower {
        const char *socket;
        const struct unit_paths *paths;
        sd_event *event;
        sd_bus *daemon, *systemd;
        sd_event_source *timer; /* the next look */
        uint64_t next;          /* when, CLOCK_MONOTONIC; UINT64_MAX: none set */
        struct paces paces;
        unsigned failures; /* looks in a row that could not be taken */
        bool ready;        /* systemd was told so */
};

static void say(const char *what, const char *about, const char *why)
{
        fprintf(stderr, "lockdownctl: %s %s%s", what, about, why ? ": " : "");
        put_safe(stderr, why);
        fputc('\n', stderr);
}

static uint64_t monotonic(const struct follower *f)
{
        uint64_t now = 0;

        sd_event_now(f->event, CLOCK_MONOTONIC, &now);
        return now;
}

/* The earliest wish wins. */
static int look_in(struct follower *f, uint64_t usec)
{
        uint64_t at = monotonic(f) + usec;
        int r;

        if (at >= f->next)
                return 0;
        r = sd_event_source_set_time(f->timer, at);
        if (r >= 0)
                r = sd_event_source_set_enabled(f->timer, SD_EVENT_ONESHOT);
        if (r >= 0)
                f->next = at;
        return r;
}

static int on_message(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
        struct follower *f = userdata;

        (void)error;
        if (sd_bus_message_is_signal(m, LOCKDOWN_BUS_INTERFACE, SIGNAL_CHANGED) ||
            sd_bus_message_is_signal(m, "org.freedesktop.DBus.Local", "Disconnected"))
                look_in(f, 0);
        return 0;
}

static int on_job_removed(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
        struct follower *f = userdata;
        const char *unit;

        (void)error;
        if (sd_bus_message_read(m, "uos", NULL, NULL, &unit) > 0 && unit_name_parse(unit, NULL, NULL) == 0)
                look_in(f, 0);
        return 0;
}

static int attach(struct follower *f, sd_bus *bus)
{
        int r = sd_bus_add_filter(bus, NULL, on_message, f);

        return r < 0 ? r : sd_bus_attach_event(bus, f->event, SD_EVENT_PRIORITY_NORMAL);
}

static int connect_daemon(struct follower *f)
{
        _cleanup_(sd_bus_close_unrefp) sd_bus *bus = NULL;
        _cleanup_failure_ struct failure failure = {0};
        int r;

        if (f->daemon && sd_bus_is_open(f->daemon) > 0)
                return 0;
        f->daemon = sd_bus_close_unref(f->daemon);
        r = client_connect(f->socket, &bus, &failure);
        if (r >= 0)
                r = attach(f, bus);
        if (r < 0) {
                if (f->failures == 0)
                        say("waiting for", "lockdownd", failure.message ?: strerror(-r));
                return r;
        }
        f->daemon = TAKE_PTR(bus);
        return 0;
}

static int connect_systemd(struct follower *f)
{
        _cleanup_(sd_bus_close_unrefp) sd_bus *bus = NULL;
        int r;

        if (f->systemd && sd_bus_is_open(f->systemd) > 0)
                return 0;
        f->systemd = sd_bus_close_unref(f->systemd);
        r = systemd1_connect(f->paths->systemd, &bus);
        if (r >= 0)
                r = systemd1_watch_jobs(bus, on_job_removed, f);
        if (r >= 0)
                r = attach(f, bus);
        if (r < 0) {
                if (f->failures == 0)
                        say("cannot reach", "systemd", strerror(-r));
                return r;
        }
        f->systemd = TAKE_PTR(bus);
        return 0;
}

/* The profiles in force, as an array of names. */
static int read_in_force(struct follower *f, json_t **ret)
{
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
        _cleanup_json_ json_t *answer = NULL, *names = json_array();
        _cleanup_failure_ struct failure failure = {0};
        json_t *order;
        size_t i;
        int r = names ? status_request(&(struct arguments){0}, f->daemon, &m) : -ENOMEM;

        if (r >= 0)
                r = client_call(f->daemon, m, &answer, &failure);
        if (r < 0) {
                say("cannot read the status of", "lockdownd", failure.message ?: strerror(-r));
                return r;
        }
        /* Without the list nothing is known; "none in force" would stop every unit. */
        if (!json_is_array(json_object_get(answer, "orders")))
                return -EBADMSG;
        json_array_foreach(json_object_get(answer, "orders"), i, order)
        {
                const char *name = field_text(order, "profile"), *state = field_text(order, "state");

                if (!name)
                        return -EBADMSG;
                if (!state || strcmp(state, "active") == 0)
                        json_array_append_new(names, json_string(name));
        }
        *ret = TAKE_PTR(names);
        return 0;
}

/* The mark stands before the job exists: the unit's command may run before the answer is here. */
static int run_job(struct follower *f, const struct action *a, sd_bus_error *error)
{
        bool start = a->kind == ACTION_START;
        int r = mark_set(f->paths->marks, a->mark);

        if (r < 0)
                return sd_bus_error_set_errnof(error, r, "cannot mark it in %s: %m", f->paths->marks);
        r = start ? systemd1_start(f->systemd, a->unit, error) : systemd1_stop(f->systemd, a->unit, error);
        /* Refused: there is no job to wait for. After a broken connection there may be one. */
        if (r < 0 && sd_bus_is_open(f->systemd) > 0 && r != -ETIMEDOUT)
                mark_clear(f->paths->marks, a->mark);
        return r;
}

static void act(struct follower *f, const struct action *a)
{
        _cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
        uint64_t wait;
        int r;

        if (a->kind == ACTION_CLEAR_MARK) {
                mark_clear(f->paths->marks, a->mark);
                return;
        }
        wait = paces_wait(&f->paces, a->unit, monotonic(f));
        if (wait > 0) {
                look_in(f, wait);
                return;
        }
        paces_note(&f->paces, a->unit, monotonic(f));
        if (a->kind == ACTION_RESET_FAILED)
                r = systemd1_reset_failed(f->systemd, a->unit, &error);
        else
                r = run_job(f, a, &error);
        if (r < 0) {
                say("cannot change", a->unit, error.message ?: strerror(-r));
                look_in(f, USEC_PER_SEC);
        } else if (a->kind != ACTION_RESET_FAILED) {
                say(a->kind == ACTION_START ? "in force, starting" : "no longer in force, stopping", a->unit,
                    NULL);
        }
}

/* Reads both sides, the units first: if an order changes in between, a unit is at worst told what it is
 * already doing. */
static int look(struct follower *f)
{
        _cleanup_json_ json_t *in_force = NULL, *marks = NULL;
        _cleanup_units_ struct units units = {0};
        _cleanup_actions_ struct actions actions = {0};
        bool stopping = false;
        int r;

        if ((r = connect_systemd(f)) < 0 || (r = connect_daemon(f)) < 0 ||
            (r = systemd1_bus_is_stopping(f->systemd, &stopping)) < 0)
                return r;
        if (stopping) /* the orders outlast it, and the units are not to be touched any more */
                return look_in(f, AGAIN_BUSY);
        if ((r = systemd1_list(f->systemd, &units)) < 0 || (r = read_in_force(f, &in_force)) < 0 ||
            (r = mark_list(f->paths->marks, &marks)) < 0 ||
            (r = reconcile(in_force, &units, marks, &actions)) < 0)
                return r;
        paces_forget(&f->paces, &actions, &units);
        for (size_t i = 0; i < actions.n; i++)
                act(f, &actions.items[i]);
        return look_in(f, actions.n > 0 || units_busy(&units) ? AGAIN_BUSY : AGAIN_IDLE);
}

static uint64_t backoff(unsigned failures)
{
        uint64_t usec = (USEC_PER_SEC / 4) << (failures < 8 ? failures : 8);

        return usec < BACKOFF_MAX ? usec : BACKOFF_MAX;
}

static int on_timer(sd_event_source *s, uint64_t usec, void *userdata)
{
        struct follower *f = userdata;
        int r;

        (void)s;
        (void)usec;
        f->next = UINT64_MAX;
        r = look(f);
        if (r < 0)
                r = look_in(f, backoff(f->failures++));
        else
                f->failures = 0;
        if (!f->ready) {
                sd_notify(false, "READY=1");
                f->ready = true;
        }
        return r; /* without a timer there is no going on: the loop ends with the error */
}

int follower_new(sd_event *event, const char *socket, const struct unit_paths *paths, struct follower **ret)
{
        _cleanup_(follower_freep) struct follower *f = calloc(1, sizeof(*f));
        int r;

        if (!f)
                return -ENOMEM;
        *f = (struct follower){
                .socket = socket, .paths = paths, .event = sd_event_ref(event), .next = UINT64_MAX};
        r = sd_event_add_time_relative(event, &f->timer, CLOCK_MONOTONIC, 0, 1, on_timer, f);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(f);
        return 0;
}

struct follower *follower_free(struct follower *f)
{
        if (!f)
                return NULL;
        sd_bus_close_unref(f->daemon);
        sd_bus_close_unref(f->systemd);
        sd_event_source_disable_unref(f->timer);
        sd_event_unref(f->event);
        paces_clear(&f->paces);
        free(f);
        return NULL;
}

static int end_by_signals(sd_event *event)
{
        sigset_t set;
        int r;

        sigemptyset(&set);
        sigaddset(&set, SIGTERM);
        sigaddset(&set, SIGINT);
        if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
                return -errno;
        r = sd_event_add_signal(event, NULL, SIGTERM, NULL, NULL);
        return r < 0 ? r : sd_event_add_signal(event, NULL, SIGINT, NULL, NULL);
}

int follow_units_run(const struct arguments *a, struct failure *failure)
{
        _cleanup_(sd_event_unrefp) sd_event *event = NULL;
        _cleanup_(follower_freep) struct follower *f = NULL;
        int r;

        if ((r = sd_event_new(&event)) < 0 || (r = end_by_signals(event)) < 0 ||
            (r = sd_event_set_watchdog(event, true)) < 0 ||
            (r = follower_new(event, client_socket_path(a->socket), &unit_paths_default, &f)) < 0 ||
            (r = sd_event_loop(event)) < 0)
                return failure_set(failure, r, EXIT_DAEMON_FAILED, ERROR_FAILED,
                                   "cannot follow the units: %s", strerror(-r));
        return EXIT_DONE;
}
