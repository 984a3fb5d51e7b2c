/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "audit.h"
#include "bus.h"
#include "check.h"
#include "dns-relay.h"
#include "launcher.h"
#include "manager.h"
#include "notifier.h"
#include "readiness.h"
#include "resolver.h"
#include "timespan.h"
#include "trial-process.h"
#include "worker.h"

#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <malloc.h>
#include <signal.h>
#include <string.h>
#include <sys/signalfd.h>
#include <systemd/sd-daemon.h>

/* For the directory, where a list of people is lost: the network, and what is needed to log in, wait for us.
 */
#define DIRECTORY_PATIENCE (10 * USEC_PER_SEC)
/* So often the loop is taken up again when there is no memory, and microseconds before. */
#define LOOP_FAILURES_MAX 1000
#define LOOP_REST 10000

#define CONFIGURATION "/etc/lockdownd"

static const char help[] =
        "Usage: lockdownd [--check]\n"
        "\n"
        "Holds the lockdowns of this host: takes listed groups of people off the internet when\n"
        "lockdownctl orders it, until that is lifted or expires. Normally started by systemd.\n"
        "\n"
        "  --check     validate the configuration, print it in canonical form, and exit\n"
        "  --help      this text\n"
        "  --version   the version\n"
        "\n"
        "Directories: $CONFIGURATION_DIRECTORY (/etc/lockdownd), $STATE_DIRECTORY\n"
        "(/var/lib/lockdownd), $RUNTIME_DIRECTORY (/run/lockdownd). See lockdownd(8).\n";

enum mode {
        MODE_DAEMON,
        MODE_CHECK,
        MODE_LAUNCHER,
        MODE_WORKER,
        MODE_RELAY,
        MODE_TRIAL,
        MODE_HELP,
        MODE_VERSION,
        MODE_WRONG,
};

/* RET_WRONG: the first word that is none of ours, with MODE_WRONG. */
static enum mode parse_arguments(int argc, char **argv, const char **ret_wrong)
{
        static const struct option options[] = {
                {"check", no_argument, NULL, MODE_CHECK},
                {&LAUNCHER_ARGUMENT[2], no_argument, NULL, MODE_LAUNCHER},
                {&RESOLVER_WORKER_ARGUMENT[2], no_argument, NULL, MODE_WORKER},
                {&DNS_RELAY_ARGUMENT[2], no_argument, NULL, MODE_RELAY},
                {&TRIAL_ARGUMENT[2], no_argument, NULL, MODE_TRIAL},
                {"help", no_argument, NULL, MODE_HELP},
                {"version", no_argument, NULL, MODE_VERSION},
                {NULL, 0, NULL, 0},
        };
        enum mode mode = MODE_DAEMON;
        int c;

        opterr = 0; /* told in our words */
        while ((c = getopt_long(argc, argv, "", options, NULL)) >= 0)
                if (c == '?') {
                        *ret_wrong = argv[optind - 1];
                        return MODE_WRONG;
                } else {
                        mode = (enum mode)c;
                }
        if (optind < argc && mode != MODE_RELAY && mode != MODE_TRIAL) {
                *ret_wrong = argv[optind];
                return MODE_WRONG;
        }
        return mode;
}

/* systemd says where; several directories would be separated by colons, we ask for one each. */
static const char *directory(const char *variable, const char *fallback)
{
        const char *value = getenv(variable);

        return value && value[0] == '/' && !strchr(value, ':') ? value : fallback;
}

static int on_terminate(sd_event_source *source, const struct signalfd_siginfo *info, void *userdata)
{
        (void)info;
        (void)userdata;
        return sd_event_exit(sd_event_source_get_event(source), 0);
}

static void ignore_outcome(void *userdata, const struct outcome *outcome)
{
        (void)userdata;
        (void)outcome; /* journalled by the manager */
}

static int on_hangup(sd_event_source *source, const struct signalfd_siginfo *info, void *userdata)
{
        (void)source;
        manager_reload(userdata, &(struct caller){.uid = info->ssi_uid, .pid = (int)info->ssi_pid},
                       ignore_outcome, NULL);
        return 0;
}

static int set_up_loop(sd_event **ret)
{
        _cleanup_(sd_event_unrefp) sd_event *event = NULL;
        sigset_t set;
        int r;

        sigemptyset(&set);
        sigaddset(&set, SIGTERM);
        sigaddset(&set, SIGINT);
        sigaddset(&set, SIGHUP);
        sigaddset(&set, SIGCHLD);
        if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
                return -errno;
        (void)signal(SIGPIPE, SIG_IGN); /* a caller that hangs up is no reason to die */
        r = sd_event_new(&event);
        if (r >= 0)
                r = sd_event_add_signal(event, NULL, SIGTERM, on_terminate, NULL);
        if (r >= 0)
                r = sd_event_add_signal(event, NULL, SIGINT, on_terminate, NULL);
        if (r >= 0)
                r = audit_attach(event);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(event);
        return 0;
}

/* What the service manager passed: the control socket, and what an earlier daemon gave it to keep. -1: none.
 */
struct inherited {
        int control, tables;
};

/* The name under which the socket that owns the tables is kept. */
#define KEPT_NAME "tables"

static struct inherited inherit(void)
{
        struct inherited i = {-1, -1};
        char **names = NULL;
        int n = sd_listen_fds_with_names(1, &names);

        for (int k = 0; k < n; k++) {
                int fd = SD_LISTEN_FDS_START + k;
                bool kept = names && names[k] && strcmp(names[k], KEPT_NAME) == 0;

                if (kept && i.tables < 0)
                        i.tables = fd;
                else if (!kept && i.control < 0 && sd_is_socket_unix(fd, SOCK_STREAM, 1, NULL, 0) > 0)
                        i.control = fd;
                else {
                        audit_log(LOG_WARNING, "a descriptor was passed that is of no use: %s",
                                  names && names[k] ? names[k] : "it has no name");
                        close(fd);
                }
        }
        for (int k = 0; names && k < n; k++)
                free(names[k]);
        free(names);
        return i;
}

/* Should this process die, the tables still have their owner, and nobody can touch them until the next one
 * has come. */
static void keep(struct notifier *notifier, int tables)
{
        int r = notifier_keep(notifier, tables, KEPT_NAME);

        if (r < 0)
                audit_log(LOG_WARNING,
                          "the service manager could not be given the tables' socket to keep: %s",
                          strerror(-r));
}

static int fatal(struct notifier *notifier, char *error, int r)
{
        audit_log(LOG_CRIT, "%s", error ? error : strerror(-r));
        notifier_error(notifier, r);
        notifier_status(notifier, error ? error : strerror(-r));
        free(error);
        return EXIT_FAILURE;
}

/* A turn that found no memory is no reason to end: what there was to do is there again in the next one. */
static int loop(sd_event *event)
{
        int r = -ENOMEM;

        for (unsigned failures = 0; r == -ENOMEM && failures < LOOP_FAILURES_MAX; failures++) {
                if (failures > 0)
                        usleep(LOOP_REST);
                r = sd_event_loop(event);
        }
        return r;
}

static int run_loop(sd_event *event, const char *executable)
{
        const struct inherited inherited = inherit();
        _cleanup_(notifier_freep) struct notifier *notifier = NULL;
        _cleanup_(launcher_freep) struct launcher *launcher = NULL;
        _cleanup_(manager_freep) struct manager *manager = NULL;
        _cleanup_(bus_freep) struct bus *bus = NULL;
        _cleanup_(readiness_freep) struct readiness *readiness = NULL;
        struct manager_paths paths = {
                .configuration = directory("CONFIGURATION_DIRECTORY", CONFIGURATION),
                .state = directory("STATE_DIRECTORY", "/var/lib/lockdownd"),
                .runtime = directory("RUNTIME_DIRECTORY", "/run/lockdownd"),
                .kept_socket = inherited.tables,
        };
        char *error = NULL;
        int r = notifier_new(event, &notifier);

        paths.notifier = notifier;
        if (r >= 0)
                r = launcher_new(executable, getenv("LAUNCHER_SOCKET"), &launcher);
        paths.launcher = launcher;
        if (r >= 0)
                r = manager_new(event, &paths, &manager, &error);
        if (r >= 0) {
                keep(notifier, manager_socket(manager));
                r = manager_start(manager, &error);
        }
        if (r >= 0)
                r = bus_new(event, manager, inherited.control, paths.runtime, &bus, &error);
        if (r >= 0)
                r = sd_event_add_signal(event, NULL, SIGHUP, on_hangup, manager);
        if (r >= 0)
                r = readiness_new(event, manager, notifier, DIRECTORY_PATIENCE, &readiness);
        if (r < 0)
                return fatal(notifier, error, r);
        r = loop(event);
        notifier_stopping(notifier);
        return r < 0 ? fatal(notifier, NULL, r) : EXIT_SUCCESS;
}

static int run(const char *executable)
{
        _cleanup_(sd_event_unrefp) sd_event *event = NULL;
        int r, status;

        /* A list of 100,000 people has pages of its own, which go back when it goes; by itself the C library
         * puts such into its heap as soon as it has freed one, and there they leave holes. */
        (void)mallopt(M_MMAP_THRESHOLD, 128 * 1024);
        r = set_up_loop(&event);
        status = r < 0 ? fatal(NULL, NULL, r) : run_loop(event, executable);

        audit_detach();
        return status;
}

int main(int argc, char **argv)
{
        static const char self[] = "/proc/self/exe";
        char executable[PATH_MAX];
        const char *wrong = NULL;
        ssize_t n = readlink(self, executable, sizeof(executable) - 1);

        /* by name, so that a worker started after an upgrade is the new one; the link itself if it cannot be
         * read */
        executable[n > 0 ? n : 0] = '\0';
        switch (parse_arguments(argc, argv, &wrong)) {
        case MODE_DAEMON:
                return run(n > 0 ? executable : self);
        case MODE_CHECK:
                return check_run(directory("CONFIGURATION_DIRECTORY", CONFIGURATION),
                                 !getenv("CONFIGURATION_DIRECTORY"), n > 0 ? executable : self, stdout,
                                 stderr);
        case MODE_LAUNCHER:
                return launcher_run(n > 0 ? executable : self);
        case MODE_WORKER:
                return resolver_worker_run(WORKER_FD);
        case MODE_RELAY:
                return dns_relay_worker_run(argv + optind, argc - optind);
        case MODE_TRIAL:
                return trial_worker_run(argv + optind, argc - optind);
        case MODE_HELP:
                fputs(help, stdout);
                return EXIT_SUCCESS;
        case MODE_VERSION:
                puts("lockdownd " VERSION);
                return EXIT_SUCCESS;
        default:
                fprintf(stderr, "lockdownd: there is no option '%s'; lockdownd --help lists them\n", wrong);
                return 2;
        }
}
