/* SPDX-License-Identifier: GPL-2.0-or-later */
/* lockdownctl as a whole, against a daemon that answers as it is told. */

// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
// clang-format on

#include "ctl-fakes.h"
#include "run.h"
#include "units.h"
#include "verbs.h"
#include <fcntl.h>
#include <time.h>

#define WORDS_MAX 16

struct result {
        int code;
        char out[8192], err[2048];
};

static void read_all(int fd, char *to, size_t size)
{
        size_t used = 0;
        ssize_t n;

        while (used + 1 < size && (n = pread(fd, to + used, size - used - 1, (off_t)used)) > 0)
                used += (size_t)n;
        to[used] = '\0';
}

static void run_child(int argc, char **argv, int out, int err)
{
        dup2(out, STDOUT_FILENO);
        dup2(err, STDERR_FILENO);
        signal(SIGPIPE, SIG_IGN);
        setvbuf(stdout, NULL, _IOFBF, BUFSIZ);
        argc = ctl_run(argc, argv);
        fflush(stdout);
        _exit(argc);
}

/* Runs the words of LINE, separated by '|', in a process of their own. */
static struct result run(const char *line)
{
        struct result result = {0};
        _cleanup_close_ int out = memfd_create("out", MFD_CLOEXEC), err = memfd_create("err", MFD_CLOEXEC);
        char words[1024], *rest = words, *word, *argv[WORDS_MAX + 2] = {(char[]){"lockdownctl"}};
        int argc = 1, status = 0;
        pid_t pid;

        (void)snprintf(words, sizeof(words), "%s", line);
        while ((word = strsep(&rest, "|")) && argc <= WORDS_MAX)
                argv[argc++] = word;
        fflush(NULL);
        pid = fork();
        if (pid == 0)
                run_child(argc, argv, out, err);
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFEXITED(status));
        result.code = WEXITSTATUS(status);
        read_all(out, result.out, sizeof(result.out));
        read_all(err, result.err, sizeof(result.err));
        return result;
}

static int setup(void **state)
{
        struct fake *f = fake_start();

        if (!f)
                return -1;
        setenv("LOCKDOWN_SOCKET", f->socket, 1);
        *state = f;
        return 0;
}

static int teardown(void **state)
{
        fake_stop(*state);
        unsetenv("LOCKDOWN_SOCKET");
        return 0;
}

static void assert_says(const char *text, const char *part)
{
        if (!strstr(text, part))
                fail_msg("'%s' does not say '%s'", text, part);
}

/* What each verb asks of the daemon. */
static void test_calls(void **state)
{
        static const struct {
                const char *line, *call;
        } cases[] = {
                {"order|staff", "Order 'staff' [ ]"},
                {"order|staff|--for|1h|--reason|IR-42",
                 "Order 'staff' [ 'for' 3600000000 'reason' 'IR-42' ]"},
                {"order|staff|--until|2096-11-30 18:00Z|--dry-run",
                 "Order 'staff' [ 'until' 4005136800000000 'dry-run' yes ]"},
                {"order|--group|a|--group|b|--user|u|--allow|none|--name|n",
                 "Order '' [ 'name' 'n' 'groups' [ 'a' 'b' ] 'users' [ 'u' ] 'allow' [ 'none' ] ]"},
                {"order|--everyone", "Order '' [ 'everyone' yes ]"},
                {"lift|staff", "Lift 'staff' ''"},
                {"lift|staff|--reason|over", "Lift 'staff' 'over'"},
                {"lift|--all|--reason|over", "LiftAll 'over'"},
                {"extend|staff|--for|2h", "Extend 'staff' [ 'for' 7200000000 ]"},
                {"status", "Status '' no"},
                {"status|staff|--verbose", "Status 'staff' yes"},
                {"profiles", "Profiles"},
                {"history", "History"},
                {"attempts", "Attempts ''"},
                {"attempts|staff", "Attempts 'staff'"},
                {"explain|alice|[2001:db8::1]:53/udp", "Explain 'alice' '[2001:db8::1]:53/udp'"},
                {"reload", "Reload"},
        };
        struct fake *f = *state;

        (void)snprintf(f->reply, sizeof(f->reply), "{}");
        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                struct result r = run(cases[i].line);

                assert_string_equal(f->called, cases[i].call);
                assert_int_equal(r.code, strncmp(cases[i].line, "status", 6) == 0 ? 3 : 0);
                assert_string_equal(r.err, "");
        }
}

static void test_status_codes(void **state)
{
        static const struct {
                const char *line, *reply;
                int code;
        } cases[] = {
                {"status", "{\"in_force\":false,\"orders\":[]}", 3},
                {"status", "{\"in_force\":true,\"orders\":[{\"profile\":\"staff\",\"state\":\"active\"}]}",
                 0},
                {"status|staff",
                 "{\"in_force\":true,\"orders\":[{\"profile\":\"staff\",\"state\":\"active\"}]}", 0},
                {"status|guests",
                 "{\"in_force\":true,\"orders\":[{\"profile\":\"staff\",\"state\":\"active\"}]}", 3},
                {"status|staff",
                 "{\"in_force\":false,\"orders\":[{\"profile\":\"staff\",\"state\":\"lifted\"}]}", 3},
                {"status|--json", "{\"in_force\":false,\"orders\":[]}", 3},
        };
        struct fake *f = *state;

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                (void)snprintf(f->reply, sizeof(f->reply), "%s", cases[i].reply);
                assert_int_equal(run(cases[i].line).code, cases[i].code);
        }
}

static void test_errors(void **state)
{
        static const struct {
                const char *name;
                int code;
        } cases[] = {{ERROR_BAD_REQUEST, 2},  {ERROR_NOT_PERMITTED, 4}, {ERROR_NO_SUCH_PROFILE, 1},
                     {ERROR_NO_SUCH_NAME, 1}, {ERROR_NAME_IN_USE, 1},   {ERROR_RESOLVE_FAILED, 1},
                     {ERROR_KERNEL, 1},       {ERROR_CONFIGURATION, 1}, {ERROR_FAILED, 1}};
        struct fake *f = *state;

        f->behaviour = FAKE_ERROR;
        (void)snprintf(f->error_message, sizeof(f->error_message),
                       "there is no \x1b[1m'staf'; did you mean staff?");
        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                _cleanup_json_ json_t *document = NULL;
                struct result r;

                (void)snprintf(f->error_name, sizeof(f->error_name), "%s", cases[i].name);
                r = run("order|staf");
                assert_int_equal(r.code, cases[i].code);
                assert_string_equal(r.out, "");
                assert_string_equal(r.err, "lockdownctl: there is no \\x1b[1m'staf'; did you mean staff?\n");
                r = run("order|staf|--json");
                assert_int_equal(r.code, cases[i].code);
                assert_string_equal(r.err, "");
                document = json_loads(r.out, 0, NULL);
                assert_string_equal(field_text(document, "error"), cases[i].name);
                assert_string_equal(field_text(document, "message"), f->error_message);
        }
}

/* Mistakes of a configuration come a line each, and nothing else that is told has lines. */
static void test_lines(void **state)
{
        struct fake *f = *state;

        f->behaviour = FAKE_ERROR;
        (void)snprintf(f->error_message, sizeof(f->error_message), "two mistakes:\na:1: \x1bone\na:2: two");
        (void)snprintf(f->error_name, sizeof(f->error_name), "%s", ERROR_CONFIGURATION);
        assert_string_equal(run("reload").err, "lockdownctl: two mistakes:\na:1: \\x1bone\na:2: two\n");
        (void)snprintf(f->error_name, sizeof(f->error_name), "%s", ERROR_FAILED);
        assert_string_equal(run("reload").err, "lockdownctl: two mistakes:\\na:1: \\x1bone\\na:2: two\n");
}

static void test_no_daemon(void **state)
{
        struct fake *f = *state;
        char line[256];
        struct result r;

        (void)snprintf(line, sizeof(line), "status|--socket|%s/none", f->directory);
        r = run(line);
        assert_int_equal(r.code, 5);
        assert_says(r.err, "lockdownd is not running (no socket at ");
        assert_says(r.err, "systemctl start lockdownd\n");
        fake_kill(f); /* the socket stays behind */
        r = run("status");
        assert_int_equal(r.code, 5);
        assert_says(r.err, "nobody listens at");
        r = run("status|--json");
        assert_int_equal(r.code, 5);
        assert_says(r.out, "{\"error\":\"" ERROR_UNREACHABLE "\",\"message\":\"lockdownd is not running");
}

static void test_not_permitted_to_connect(void **state)
{
        struct fake *f = *state;
        struct result r;
        uid_t other = geteuid() == 0 ? 65534 : geteuid();

        if (geteuid() != 0)
                skip();
        assert_int_equal(chmod(f->directory, 0700), 0);
        assert_int_equal(seteuid(other), 0);
        r = run("status");
        assert_int_equal(seteuid(0), 0);
        assert_int_equal(r.code, 5);
        assert_says(r.err, "not permitted to open lockdownd's socket at ");
}

static void test_hang_up(void **state)
{
        struct fake *f = *state;
        struct result r;

        f->behaviour = FAKE_HANG_UP;
        r = run("order|staff");
        assert_int_equal(r.code, 5);
        assert_says(r.err, "lockdownd closed the connection before it answered");
}

static void test_strange_answers(void **state)
{
        static const char *const replies[] = {"", "[]", "{\"cut", "\"text\"", "null"};
        struct fake *f = *state;
        struct result r;

        for (size_t i = 0; i < ELEMENTSOF(replies); i++) {
                (void)snprintf(f->reply, sizeof(f->reply), "%s", replies[i]);
                r = run("profiles");
                assert_int_equal(r.code, 1);
                assert_says(r.err, "is no JSON object");
        }
        f->behaviour = FAKE_NO_STRING;
        assert_int_equal(run("profiles").code, 1);
        f->behaviour = FAKE_UNKNOWN_METHOD;
        r = run("profiles");
        assert_int_equal(r.code, 1);
        assert_says(r.err, "does not know Profiles");
}

/* JSON is the daemon's own document, with what a terminal would act on escaped; text is not. */
static void test_json_and_quiet(void **state)
{
        struct fake *f = *state;
        struct result r;

        (void)snprintf(
                f->reply, sizeof(f->reply),
                "{\"order\":{\"profile\":\"staff\",\"reason\":\"\\u009b\",\"z\":1},\"already_in_force\":true,"
                "\"warnings\":[\"group x has\\nno members\"]}");
        r = run("order|staff|--json|--quiet");
        assert_int_equal(r.code, 0);
        assert_string_equal(r.out,
                            "{\"order\":{\"profile\":\"staff\",\"reason\":\"\\u009b\",\"z\":1},"
                            "\"already_in_force\":true,\"warnings\":[\"group x has\\nno members\"]}\n");
        assert_string_equal(r.err, "");
        r = run("order|staff");
        assert_says(r.out, "Lockdown staff was already in force");
        assert_string_equal(r.err, "lockdownctl: warning: group x has\\nno members\n");
        r = run("order|staff|--quiet");
        assert_string_equal(r.out, "");
        assert_string_equal(r.err, "lockdownctl: warning: group x has\\nno members\n");
}

/* A script must notice that the history it keeps has not been written. */
static void test_full_disk(void **state)
{
        struct fake *f = *state;
        _cleanup_close_ int full = open("/dev/full", O_WRONLY | O_CLOEXEC),
                            err = memfd_create("err", MFD_CLOEXEC);
        char *argv[] = {(char[]){"lockdownctl"}, (char[]){"history"}, NULL}, text[512];
        int status = 0;
        pid_t pid;

        (void)snprintf(f->reply, sizeof(f->reply), "{\"orders\":[]}");
        pid = fork();
        if (pid == 0)
                run_child(2, argv, full, err);
        waitpid(pid, &status, 0);
        read_all(err, text, sizeof(text));
        assert_int_equal(WEXITSTATUS(status), 1);
        assert_says(text, "cannot be written: No space left on device");
}

static void test_wrong_usage_asks_nothing(void **state)
{
        struct fake *f = *state;
        struct result r = run("order|staff|--for|8");

        assert_int_equal(r.code, 2);
        assert_int_equal(f->connections, 0);
        r = run("order|staff|--for|8|--json");
        assert_int_equal(r.code, 2);
        assert_says(r.out, "{\"error\":\"" ERROR_BAD_REQUEST "\"");
        assert_string_equal(r.err, "");
}

/* What --from-unit lets through, with paths of our own. */
static int gate(struct fake *f, const char *verb, const char *instance, struct failure *failure)
{
        const struct unit_paths paths = {.marks = f->marks, .systemd = f->address};
        struct arguments a = {.verb = verb_find(verb), .positional = {instance}, .json = true};
        _cleanup_free_ char *profile = NULL;
        int r = unit_gate(&a, &paths, &profile, failure);

        if (r == 0)
                assert_string_equal(a.positional[0], "night-shift");
        return r;
}

static void test_gate(void **state)
{
        struct fake *f = *state;
        _cleanup_failure_ struct failure failure = {0};
        static const char *const instances[] = {"night-shift", "night\\x2dshift"};

        for (size_t i = 0; i < ELEMENTSOF(instances); i++) {
                const char *instance = instances[i];

                assert_int_equal(gate(f, "lift", instance, &failure), 0);
                assert_int_equal(gate(f, "order", instance, &failure), 0);
                assert_int_equal(mark_set(f->marks, instance), 0);
                assert_int_equal(gate(f, "lift", instance, &failure), 1);
                (void)snprintf(f->status, sizeof(f->status), "{\"orders\":[{\"profile\":\"night-shift\"}]}");
                assert_int_equal(gate(f, "order", instance, &failure), 1);
                assert_string_equal(f->called, "Status 'night-shift' no");
                (void)snprintf(f->status, sizeof(f->status), "{\"orders\":[]}");
                assert_int_equal(gate(f, "order", instance, &failure), -ESTALE);
                assert_int_equal(failure.code, 1);
                assert_int_equal(mark_clear(f->marks, instance), 0);
        }
        assert_true(gate(f, "lift", "bad\\x2", &failure) < 0);
        assert_int_equal(failure.code, 2);
}

static void test_gate_at_shutdown(void **state)
{
        struct fake *f = *state;
        _cleanup_failure_ struct failure failure = {0};

        (void)snprintf(f->system_state, sizeof(f->system_state), "stopping");
        assert_int_equal(gate(f, "lift", "night-shift", &failure), 1);
        assert_int_equal(gate(f, "order", "night-shift", &failure), 0);
        (void)snprintf(f->system_state, sizeof(f->system_state), "degraded");
        assert_int_equal(gate(f, "lift", "night-shift", &failure), 0);
}

/* Who cannot ask must not lift: it might be a shutdown. */
static void test_gate_without_systemd(void **state)
{
        struct fake *f = *state;
        _cleanup_failure_ struct failure failure = {0};

        (void)snprintf(f->address, sizeof(f->address), "unix:path=%s/none", f->directory);
        setenv("DBUS_SYSTEM_BUS_ADDRESS", f->address, 1);
        assert_true(gate(f, "lift", "night-shift", &failure) < 0);
        unsetenv("DBUS_SYSTEM_BUS_ADDRESS");
        assert_int_equal(failure.code, 1);
        assert_says(failure.message, "lockdownctl lift night-shift");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
        const struct CMUnitTest tests[] = {
                TEST(test_calls),
                TEST(test_status_codes),
                TEST(test_errors),
                TEST(test_lines),
                TEST(test_no_daemon),
                TEST(test_not_permitted_to_connect),
                TEST(test_hang_up),
                TEST(test_strange_answers),
                TEST(test_json_and_quiet),
                TEST(test_full_disk),
                TEST(test_wrong_usage_asks_nothing),
                TEST(test_gate),
                TEST(test_gate_at_shutdown),
                TEST(test_gate_without_systemd),
        };

        return cmocka_run_group_tests_name("ctl-client", tests, NULL, NULL);
}
