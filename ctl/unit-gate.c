/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "client.h"
#include "output.h"
#include "systemd1.h"
#include "units.h"
#include "verbs.h"
#include <errno.h>
#include <string.h>

const struct unit_paths unit_paths_default = {.marks = "/run/lockdownd-units",
                                              .systemd = "unix:path=/run/systemd/private"};

/* Said even with --quiet: a stop that does not lift is worth a line in the journal. */
static int nothing_to_do(const struct arguments *a, const char *sentence)
{
        if (a->json) {
                _cleanup_json_ json_t *document = json_pack("{s:b, s:s}", "done", 0, "message", sentence);

                if (document)
                        output_json(document);
        } else {
                printf("%s\n", sentence);
                fflush(stdout);
        }
        return 1;
}

static int gate_lift(const struct arguments *a, const struct unit_paths *paths, bool marked,
                     struct failure *f)
{
        bool stopping = false;
        int r;

        if (marked)
                return nothing_to_do(a,
                                     "Nothing is lifted: the unit is stopped because its order has ended.");
        r = systemd1_is_stopping(paths->systemd, &stopping);
        if (r < 0)
                return failure_set(
                        f, r, EXIT_DAEMON_FAILED, ERROR_FAILED,
                        "cannot ask systemd whether the system is shutting down (%s), and a shutdown "
                        "must not lift; to lift: lockdownctl lift %s",
                        strerror(-r), a->positional[0]);
        if (stopping)
                return nothing_to_do(a,
                                     "Nothing is lifted: the system is shutting down, and the order outlasts "
                                     "that.");
        return 0;
}

static int gate_order(const struct arguments *a, bool marked, struct failure *f)
{
        _cleanup_json_ json_t *answer = NULL;
        int r;

        if (!marked)
                return 0;
        r = client_ask(a, status_request, &answer, f);
        if (r < 0)
                return r;
        if (status_code(a, answer) == EXIT_DONE)
                return nothing_to_do(
                        a, "Nothing is ordered: the unit is started because its order is in force.");
        return failure_set(f, -ESTALE, EXIT_DAEMON_FAILED, ERROR_FAILED,
                           "the order of %s ended before its unit had started; to order it anew: lockdownctl "
                           "order %s",
                           a->positional[0], a->positional[0]);
}

int unit_gate(struct arguments *a, const struct unit_paths *paths, char **storage, struct failure *f)
{
        const char *instance = a->positional[0];
        bool marked = false;
        int r;

        r = profile_of_instance(instance, storage);
        if (r < 0)
                return failure_usage(f, "'%s' is no instance of a unit; see systemd-escape(1)", instance);
        r = mark_exists(paths->marks, instance, &marked);
        if (r < 0)
                return failure_set(f, r, EXIT_DAEMON_FAILED, ERROR_FAILED, "cannot look for %s in %s: %s",
                                   instance, paths->marks, strerror(-r));
        a->positional[0] = *storage;
        return strcmp(a->verb->name, "lift") == 0 ? gate_lift(a, paths, marked, f) : gate_order(a, marked, f);
}
