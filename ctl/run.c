/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "run.h"
#include "client.h"
#include "output.h"
#include "units.h"
#include "verbs.h"
#include <errno.h>
#include <string.h>
#include <time.h>

static uint64_t realtime_usec(void)
{
        struct timespec t;

        clock_gettime(CLOCK_REALTIME, &t);
        return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

static int show_help(const struct arguments *a)
{
        char *text = NULL;
        size_t size;
        FILE *f = open_memstream(&text, &size);
        int r = -ENOMEM;

        if (!f)
                return r;
        if (a->verb)
                help_write_verb(f, a->verb);
        else
                help_write(f);
        if (fclose(f) == 0)
                r = output_show(text, !a->no_pager);
        free(text);
        return r;
}

static int show_text(const struct arguments *a, const json_t *answer)
{
        struct style style = output_style(a, realtime_usec());
        char *text = NULL;
        size_t size;
        FILE *f = open_memstream(&text, &size);
        int r;

        if (!f)
                return -ENOMEM;
        r = a->verb->write(f, answer, &style);
        if (fclose(f) != 0)
                r = -ENOMEM;
        if (r == 0)
                r = output_show(text, !a->no_pager);
        free(text);
        return r;
}

static int show(const struct arguments *a, const json_t *answer)
{
        if (a->json)
                return output_json(answer);
        if (a->verb->write_warnings)
                a->verb->write_warnings(stderr, answer);
        return a->quiet && !a->dry_run ? 0 : show_text(a, answer);
}

static int run_verb(const struct arguments *a, struct failure *f)
{
        _cleanup_json_ json_t *answer = NULL;
        int r;

        if (a->verb->run)
                return a->verb->run(a, f);
        r = client_ask(a, a->verb->request, &answer, f);
        if (r < 0)
                return r;
        r = show(a, answer);
        if (r < 0) /* what was asked for is done, whatever became of the text */
                return failure_set(f, r, EXIT_DAEMON_FAILED, ERROR_FAILED,
                                   "it is done, but the answer cannot be written: %s", strerror(-r));
        return a->verb->code ? a->verb->code(a, answer) : EXIT_DONE;
}

/* Returns an exit code, or a negative errno with F filled. */
static int run_arguments(struct arguments *a, struct failure *f)
{
        _cleanup_free_ char *profile = NULL;
        int r;

        if (a->version)
                return output_show("lockdownctl " VERSION "\n", false);
        if (a->help)
                return show_help(a);
        if (a->from_unit) {
                r = unit_gate(a, &unit_paths_default, &profile, f);
                if (r != 0)
                        return r < 0 ? r : EXIT_DONE;
        }
        return run_verb(a, f);
}

int ctl_run(int argc, char **argv)
{
        _cleanup_arguments_ struct arguments a = {0};
        _cleanup_failure_ struct failure f = {0};
        _cleanup_free_ char *problem = NULL;
        int r = arguments_parse(argc, argv, realtime_usec(), &a, &problem);

        if (r < 0) {
                failure_usage(&f, "%s", problem ?: "out of memory");
                return output_failure(&f, arguments_want_json(argc, argv));
        }
        r = run_arguments(&a, &f);
        if (r >= 0)
                return r;
        if (!f.name)
                failure_set(&f, r, EXIT_DAEMON_FAILED, ERROR_FAILED, "%s", strerror(-r));
        return output_failure(&f, a.json);
}
