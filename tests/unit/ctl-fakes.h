/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LOCKDOWN_TEST_CTL_FAKES_H
#define LOCKDOWN_TEST_CTL_FAKES_H

/* A process that plays lockdownd and systemd on two sockets of a directory of its own. What it answers and
 * what it was asked lies in memory it shares with the test; after each call it writes a byte into `told`. */

#include "cleanup.h"
#include "protocol.h"
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <systemd/sd-bus.h>
#include <systemd/sd-event.h>

enum behaviour { FAKE_REPLY, FAKE_ERROR, FAKE_HANG_UP, FAKE_NO_STRING, FAKE_UNKNOWN_METHOD };

struct fake_unit {
        char name[96], state[16];
        uint32_t job; /* 0: none */
        char becomes[16];
};

#define FAKE_UNITS 4
#define FAKE_CONNECTIONS 16

struct fake {
        char directory[64], socket[96], systemd[96], address[112], marks[96];
        /* lockdownd */
        enum behaviour behaviour;
        char reply[16384], status[1024]; /* status: answer to Status, if not empty */
        char error_name[128], error_message[256];
        char called[1024]; /* the last call, in words */
        unsigned connections;
        /* systemd */
        struct fake_unit units[FAKE_UNITS];
        bool hold_jobs, refuse_jobs, fail_starts;
        char system_state[16];
        char log[4096]; /* the calls that change something */
        /* both */
        int told[2], commands[2];
        pid_t pid;
};

/* In the child. */
struct fake_server {
        struct fake *shared;
        sd_event *event;
        sd_bus *daemon[FAKE_CONNECTIONS], *systemd[FAKE_CONNECTIONS];
        uint32_t last_job;
};

static inline void fake_tell(struct fake *f)
{
        if (write(f->told[1], "!", 1) != 1)
                _exit(1);
}

static inline void fake_describe(sd_bus_message *m, FILE *f)
{
        const char *contents;
        char type;

        while (sd_bus_message_peek_type(m, &type, &contents) > 0) {
                if (type == 's') {
                        const char *text;

                        sd_bus_message_read_basic(m, type, &text);
                        fprintf(f, " '%s'", text);
                } else if (type == 't') {
                        uint64_t number;

                        sd_bus_message_read_basic(m, type, &number);
                        fprintf(f, " %ju", (uintmax_t)number);
                } else if (type == 'b') {
                        int flag;

                        sd_bus_message_read_basic(m, type, &flag);
                        fputs(flag ? " yes" : " no", f);
                } else {
                        sd_bus_message_enter_container(m, type, contents);
                        fputs(type == 'a' ? " [" : "", f);
                        fake_describe(m, f);
                        fputs(type == 'a' ? " ]" : "", f);
                        sd_bus_message_exit_container(m);
                }
        }
}

static inline void fake_note_call(struct fake *f, sd_bus_message *m)
{
        FILE *text = fmemopen(f->called, sizeof(f->called), "w");

        fputs(sd_bus_message_get_member(m), text);
        fake_describe(m, text);
        fclose(text);
}

static inline void fake_hang_up(sd_bus **buses)
{
        for (size_t i = 0; i < FAKE_CONNECTIONS; i++)
                buses[i] = sd_bus_flush_close_unref(buses[i]);
}

static inline int fake_on_daemon(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
        struct fake_server *s = userdata;
        struct fake *f = s->shared;

        (void)error;
        if (!sd_bus_message_is_method_call(m, LOCKDOWN_BUS_INTERFACE, NULL))
                return 0;
        fake_note_call(f, m);
        if (f->behaviour == FAKE_ERROR)
                sd_bus_reply_method_errorf(m, f->error_name, "%s", f->error_message);
        else if (f->behaviour == FAKE_NO_STRING)
                sd_bus_reply_method_return(m, "u", 1U);
        else if (f->behaviour == FAKE_UNKNOWN_METHOD)
                sd_bus_reply_method_errorf(m, SD_BUS_ERROR_UNKNOWN_METHOD, "Unknown method.");
        else if (f->behaviour == FAKE_HANG_UP)
                fake_hang_up(s->daemon);
        else if (*f->status && strcmp(sd_bus_message_get_member(m), METHOD_STATUS) == 0)
                sd_bus_reply_method_return(m, "s", f->status);
        else
                sd_bus_reply_method_return(m, "s", f->reply);
        fake_tell(f);
        return 1;
}

static inline struct fake_unit *fake_unit(struct fake *f, const char *name)
{
        for (size_t i = 0; i < FAKE_UNITS; i++) {
                if (!*f->units[i].name)
                        (void)snprintf(f->units[i].name, sizeof(f->units[i].name), "%s", name);
                if (strcmp(f->units[i].name, name) == 0)
                        return &f->units[i];
        }
        return NULL;
}

static inline bool fake_marked(const struct fake *f, const char *unit)
{
        char path[256];
        const char *instance = strchr(unit, '@') + 1;

        (void)snprintf(path, sizeof(path), "%s/%.*s", f->marks, (int)(strrchr(instance, '.') - instance),
                       instance);
        return access(path, F_OK) == 0;
}

static inline void fake_log(struct fake *f, const char *what, const char *unit)
{
        size_t used = strlen(f->log);

        (void)snprintf(f->log + used, sizeof(f->log) - used, "%s %s%s\n", what, unit,
                       fake_marked(f, unit) ? " marked" : "");
}

/* The unit's command has run, the job is over. */
static inline void fake_finish_jobs(struct fake_server *s)
{
        for (size_t i = 0; i < FAKE_UNITS; i++) {
                struct fake_unit *u = &s->shared->units[i];
                uint32_t job = u->job;

                if (job == 0)
                        continue;
                u->job = 0;
                memcpy(u->state, u->becomes, sizeof(u->state));
                for (size_t c = 0; c < FAKE_CONNECTIONS; c++)
                        if (s->systemd[c])
                                sd_bus_emit_signal(s->systemd[c], "/org/freedesktop/systemd1",
                                                   "org.freedesktop.systemd1.Manager", "JobRemoved", "uoss",
                                                   job, "/org/freedesktop/systemd1/job/1", u->name, "done");
        }
}

static inline int fake_job(struct fake_server *s, sd_bus_message *m, bool start)
{
        struct fake *f = s->shared;
        struct fake_unit *u;
        const char *unit, *mode;

        if (sd_bus_message_read(m, "ss", &unit, &mode) < 0 || strcmp(mode, "replace") != 0)
                return -EINVAL;
        fake_log(f, start ? "start" : "stop", unit);
        if (f->refuse_jobs)
                return sd_bus_reply_method_errorf(m, "org.freedesktop.systemd1.UnitMasked",
                                                  "Unit is masked.");
        u = fake_unit(f, unit);
        u->job = ++s->last_job;
        (void)snprintf(u->state, sizeof(u->state), "%s", start ? "activating" : "deactivating");
        (void)snprintf(u->becomes, sizeof(u->becomes), "%s",
                       !start           ? "inactive"
                       : f->fail_starts ? "failed"
                                        : "active");
        sd_bus_reply_method_return(m, "o", "/org/freedesktop/systemd1/job/1");
        if (!f->hold_jobs)
                fake_finish_jobs(s);
        return 1;
}

static inline int fake_list(struct fake *f, sd_bus_message *m)
{
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;

        sd_bus_message_new_method_return(m, &reply);
        sd_bus_message_open_container(reply, 'a', "(ssssssouso)");
        for (size_t i = 0; i < FAKE_UNITS && *f->units[i].name; i++)
                sd_bus_message_append(reply, "(ssssssouso)", f->units[i].name, "", "loaded",
                                      f->units[i].state, "", "", "/x", f->units[i].job, "", "/");
        sd_bus_message_close_container(reply);
        return sd_bus_send(NULL, reply, NULL);
}

static inline int fake_on_systemd(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
        struct fake_server *s = userdata;
        struct fake *f = s->shared;
        const char *member = sd_bus_message_get_member(m);
        const char *unit;
        uint8_t type;
        int r = 1;

        (void)error;
        if (sd_bus_message_get_type(m, &type) < 0 || type != SD_BUS_MESSAGE_METHOD_CALL)
                return 0;
        if (strcmp(member, "StartUnit") == 0 || strcmp(member, "StopUnit") == 0)
                r = fake_job(s, m, strcmp(member, "StartUnit") == 0);
        else if (strcmp(member, "ListUnitsByPatterns") == 0)
                r = fake_list(f, m);
        else if (strcmp(member, "Get") == 0)
                r = sd_bus_reply_method_return(m, "v", "s", f->system_state);
        else if (strcmp(member, "ResetFailedUnit") == 0) {
                sd_bus_message_read(m, "s", &unit);
                fake_log(f, "reset", unit);
                (void)snprintf(fake_unit(f, unit)->state, 16, "inactive");
                r = sd_bus_reply_method_return(m, NULL);
        } else
                r = sd_bus_reply_method_return(m, NULL);
        fake_tell(f);
        return r < 0 ? r : 1;
}

static inline int fake_accept(struct fake_server *s, int listener, sd_bus **buses,
                              sd_bus_message_handler_t handler)
{
        int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
        sd_id128_t id = {0};
        size_t i = 0;

        while (buses[i] && sd_bus_is_open(buses[i]) > 0)
                i++;
        sd_bus_unref(buses[i]);
        buses[i] = NULL;
        id.bytes[0] = 1;
        if (fd < 0 || sd_bus_new(&buses[i]) < 0 || sd_bus_set_fd(buses[i], fd, fd) < 0 ||
            sd_bus_set_server(buses[i], true, id) < 0 || sd_bus_add_filter(buses[i], NULL, handler, s) < 0 ||
            sd_bus_start(buses[i]) < 0 || sd_bus_attach_event(buses[i], s->event, 0) < 0)
                _exit(1);
        s->shared->connections++;
        return 0;
}

static inline int fake_on_daemon_listener(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
        struct fake_server *s = userdata;

        (void)source;
        (void)revents;
        return fake_accept(s, fd, s->daemon, fake_on_daemon);
}

static inline int fake_on_systemd_listener(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
        struct fake_server *s = userdata;

        (void)source;
        (void)revents;
        return fake_accept(s, fd, s->systemd, fake_on_systemd);
}

static inline int fake_on_command(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
        struct fake_server *s = userdata;
        char command = 0;

        (void)source;
        (void)revents;
        if (read(fd, &command, 1) != 1)
                _exit(1);
        if (command == 'j')
                fake_finish_jobs(s);
        else if (command == 'h')
                fake_hang_up(s->daemon);
        else if (command == 's')
                fake_hang_up(s->systemd);
        else
                for (size_t i = 0; i < FAKE_CONNECTIONS; i++)
                        if (s->daemon[i])
                                sd_bus_emit_signal(s->daemon[i], LOCKDOWN_BUS_PATH, LOCKDOWN_BUS_INTERFACE,
                                                   SIGNAL_CHANGED, "ss", "staff", "active");
        fake_tell(s->shared);
        return 0;
}

static inline int fake_listen(const char *path)
{
        struct sockaddr_un address = {.sun_family = AF_UNIX};
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

        (void)snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
        if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 || listen(fd, 16) < 0)
                return -1;
        return fd;
}

static inline void fake_serve(struct fake *f, int daemon, int systemd)
{
        struct fake_server s = {.shared = f};

        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (sd_event_new(&s.event) < 0 ||
            sd_event_add_io(s.event, NULL, daemon, EPOLLIN, fake_on_daemon_listener, &s) < 0 ||
            sd_event_add_io(s.event, NULL, systemd, EPOLLIN, fake_on_systemd_listener, &s) < 0 ||
            sd_event_add_io(s.event, NULL, f->commands[0], EPOLLIN, fake_on_command, &s) < 0)
                _exit(1);
        sd_event_loop(s.event);
        _exit(1);
}

/* In the test. */

static inline struct fake *fake_start(void)
{
        struct fake *f = mmap(NULL, sizeof(*f), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        int daemon, systemd;
        pid_t pid;

        if (f == MAP_FAILED)
                return NULL;
        (void)snprintf(f->directory, sizeof(f->directory), "/tmp/test-ctl-XXXXXX");
        if (!mkdtemp(f->directory) || pipe(f->told) < 0 || pipe(f->commands) < 0)
                return NULL;
        (void)snprintf(f->socket, sizeof(f->socket), "%s/lockdownd.sock", f->directory);
        (void)snprintf(f->systemd, sizeof(f->systemd), "%s/private", f->directory);
        (void)snprintf(f->address, sizeof(f->address), "unix:path=%s", f->systemd);
        (void)snprintf(f->marks, sizeof(f->marks), "%s/marks", f->directory);
        (void)snprintf(f->system_state, sizeof(f->system_state), "running");
        daemon = fake_listen(f->socket);
        systemd = fake_listen(f->systemd);
        if (daemon < 0 || systemd < 0)
                return NULL;
        fflush(NULL);
        pid = fork();
        if (pid == 0)
                fake_serve(f, daemon, systemd);
        f->pid = pid;
        close(daemon);
        close(systemd);
        return f;
}

static inline void fake_kill(struct fake *f)
{
        if (f->pid > 0 && kill(f->pid, SIGKILL) == 0)
                waitpid(f->pid, NULL, 0);
        f->pid = 0;
}

static inline void fake_stop(struct fake *f)
{
        char command[128];

        fake_kill(f);
        (void)snprintf(command, sizeof(command), "rm -rf '%s'", f->directory);
        if (system(command) != 0) /* NOLINT(cert-env33-c): a directory of our own */
                perror(command);
        close(f->told[0]);
        close(f->told[1]);
        close(f->commands[0]);
        close(f->commands[1]);
        munmap(f, sizeof(*f));
}

#endif
