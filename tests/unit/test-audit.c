/* SPDX-License-Identifier: GPL-2.0-or-later */

/* What reaches the journal and stderr. */

// wrap: sd_journal_sendv

#include "audit.h"
#include "cleanup.h"
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>

#include <cmocka.h>

#define CATALOG "conf/lockdownd.catalog"

/* ---- the journal's side ---- */

static char *fields[64]; /* the last entry */
static int n_fields, entries, journal_answer;

static void forget(void)
{
        for (int i = 0; i < n_fields; i++)
                free(fields[i]);
        n_fields = 0;
}

int __wrap_sd_journal_sendv(const struct iovec *iov, int n);
int __wrap_sd_journal_sendv(const struct iovec *iov, int n)
{
        forget();
        entries++;
        assert_true(n <= (int)ELEMENTSOF(fields));
        for (int i = 0; i < n; i++) {
                fields[n_fields] = strndup(iov[i].iov_base, iov[i].iov_len);
                assert_int_equal(strlen(fields[n_fields]), iov[i].iov_len); /* no NUL inside */
                n_fields++;
        }
        return journal_answer;
}

static const char *field(const char *name)
{
        const char *found = NULL;

        for (int i = 0; i < n_fields; i++)
                if (strncmp(fields[i], name, strlen(name)) == 0 && fields[i][strlen(name)] == '=') {
                        assert_null(found); /* once only */
                        found = fields[i] + strlen(name) + 1;
                }
        return found;
}

static void assert_field(const char *name, const char *value)
{
        const char *found = field(name);

        if (!value) {
                assert_null(found);
                return;
        }
        if (!found)
                fail_msg("%s is missing", name);
        assert_string_equal(found, value);
}

/* ---- stderr ---- */

static int saved_stderr = -1, captured_fd = -1;

static int capture(void **state)
{
        (void)state;
        captured_fd = open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
        saved_stderr = dup(STDERR_FILENO);
        dup2(captured_fd, STDERR_FILENO);
        unsetenv("JOURNAL_STREAM");
        journal_answer = 0;
        entries = 0;
        return captured_fd < 0 || saved_stderr < 0;
}

static int release(void **state)
{
        (void)state;
        dup2(saved_stderr, STDERR_FILENO);
        close(saved_stderr);
        close(captured_fd);
        forget();
        return 0;
}

static const char *said(void)
{
        static char text[8192];
        ssize_t n = pread(captured_fd, text, sizeof(text) - 1, 0);

        assert_true(n >= 0);
        text[n] = '\0';
        return text;
}

/* ---- the tests ---- */

static char name_alice[] = "alice", why[] = "intrusion", why_end[] = "all clear";

static void test_fields(void **state)
{
        struct profile p = {.name = name_alice};
        struct order o = {.id = "00112233445566778899aabbccddeeff",
                          .profile = &p,
                          .reason = why,
                          .end = END_UNTIL,
                          .until = UINT64_C(1480525200000000),
                          .severed = 12,
                          .refused_packets = 345,
                          .end_reason = why_end};
        struct caller c = {.uid = 1000, .pid = 4711, .name = name_alice};

        (void)state;
        setenv("TZ", "CET-1", 1);
        audit(AUDIT_LIFTED, LOG_NOTICE, &o, &c, "%s was lifted by %s", "staff", "alice");
        assert_int_equal(entries, 1);
        assert_field("MESSAGE", "staff was lifted by alice");
        assert_field("MESSAGE_ID", audit_message_id(AUDIT_LIFTED));
        assert_field("PRIORITY", "5");
        assert_field("LOCKDOWN_EVENT", "lifted");
        assert_field("LOCKDOWN_ORDER_ID", "00112233445566778899aabbccddeeff");
        assert_field("LOCKDOWN_PROFILE", "alice");
        assert_field("LOCKDOWN_REASON", "intrusion");
        assert_field("LOCKDOWN_END_REASON", "all clear");
        assert_field("LOCKDOWN_UNTIL", "2016-11-30T18:00:00+01:00");
        assert_field("LOCKDOWN_SEVERED", "12");
        assert_field("LOCKDOWN_REFUSED", "345");
        assert_field("LOCKDOWN_CALLER_UID", "1000");
        assert_field("LOCKDOWN_CALLER_PID", "4711");
        assert_field("LOCKDOWN_CALLER_NAME", "alice");
        assert_string_equal(said(), "staff was lifted by alice\n");
}

static void test_what_is_not_known_is_left_out(void **state)
{
        struct order o = {.id = "00112233445566778899aabbccddeeff", .end = END_NEVER};
        struct caller nobody = {.uid = CALLER_NOBODY}, unnamed = {.uid = 0};

        (void)state;
        audit(AUDIT_ORDERED, LOG_ERR, &o, &nobody, "x");
        assert_field("PRIORITY", "3");
        assert_field("LOCKDOWN_UNTIL", NULL);
        assert_field("LOCKDOWN_REASON", NULL);
        assert_field("LOCKDOWN_PROFILE", NULL);
        assert_field("LOCKDOWN_CALLER_UID", NULL);
        audit(AUDIT_ORDERED, LOG_ERR, NULL, &unnamed, "x");
        assert_field("LOCKDOWN_ORDER_ID", NULL);
        assert_field("LOCKDOWN_CALLER_UID", "0");
        assert_field("LOCKDOWN_CALLER_NAME", NULL);
        assert_field("LOCKDOWN_CALLER_PID", NULL);
        audit_log(LOG_WARNING, "plain");
        assert_field("MESSAGE", "plain");
        assert_field("PRIORITY", "4");
        assert_field("MESSAGE_ID", NULL);
        assert_field("LOCKDOWN_EVENT", NULL);
}

/* What callers write cannot look like a line, a field or a terminal sequence of ours. */
static void test_no_forging(void **state)
{
        static const struct {
                const char *text, *harmless;
        } table[] = {
                {"two\nlines", "two lines"},
                {"x\nMESSAGE_ID=0\nPRIORITY=0", "x MESSAGE_ID=0 PRIORITY=0"},
                {"cr\rlf\r\n", "cr?lf? "},
                {"tab\there", "tab here"},
                {"\x1b[31mred\x07\x7f", "?[31mred??"},
                {"caf\xc3\xa9 \xe2\x82\xac \xf0\x9f\x94\x92", "caf\xc3\xa9 \xe2\x82\xac \xf0\x9f\x94\x92"},
                {"latin\xe9 1", "latin? 1"},
                {"cut \xe2\x82", "cut ??"},
                {"overlong \xc0\xaf \xe0\x80\xaf", "overlong ?? ???"},
                {"surrogate \xed\xa0\x80", "surrogate ???"},
                {"beyond \xf4\x90\x80\x80 \xf5", "beyond ???? ?"},
                {"csi \xc2\x9b"
                 "31m nel \xc2\x85",
                 "csi ?31m nel ?"},
                {"ls \xe2\x80\xa8 ps \xe2\x80\xa9", "ls ? ps ?"},
                {"bidi \xe2\x80\xae"
                 "abc \xe2\x81\xa6",
                 "bidi ?abc ?"},
                {"%s%n", "%s%n"},
                {"", ""},
        };

        (void)state;
        for (size_t i = 0; i < ELEMENTSOF(table); i++) {
                char reason[128], line[160];
                struct order o = {.reason = reason};
                struct caller c = {.name = reason};

                strcpy(reason, table[i].text);
                assert_int_equal(ftruncate(captured_fd, 0), 0);
                lseek(captured_fd, 0, SEEK_SET);
                audit(AUDIT_ORDERED, LOG_NOTICE, &o, &c, "%s", reason);
                assert_field("MESSAGE", table[i].harmless);
                assert_field("LOCKDOWN_REASON", table[i].harmless);
                assert_field("LOCKDOWN_CALLER_NAME", table[i].harmless);
                assert_field("PRIORITY", "5");
                snprintf(line, sizeof(line), "%s\n", table[i].harmless);
                assert_string_equal(said(), line);
        }
}

static void test_very_long(void **state)
{
        _cleanup_free_ char *text = malloc(100001);

        (void)state;
        assert_non_null(text);
        memset(text, 'a', 100000);
        text[100000] = '\0';
        audit_log(LOG_NOTICE, "%s", text);
        assert_true(strlen(field("MESSAGE")) > 4000);
        assert_true(strlen(field("MESSAGE")) < 5000);
}

static void set_stream(const struct stat *st, const char *format)
{
        char stream[96];

        snprintf(stream, sizeof(stream), "%" PRIu64 ":%" PRIu64 "%s", (uint64_t)st->st_dev,
                 (uint64_t)st->st_ino, format);
        setenv("JOURNAL_STREAM", stream, 1);
}

static void test_stderr_that_is_the_journal(void **state)
{
        struct stat st;

        (void)state;
        assert_int_equal(fstat(STDERR_FILENO, &st), 0);
        set_stream(&st, "");
        audit_log(LOG_NOTICE, "once is enough");
        assert_int_equal(entries, 1);
        assert_string_equal(said(), "");

        set_stream(&st, "7"); /* another inode: redirected since */
        audit_log(LOG_NOTICE, "a");
        set_stream(&st, "x");
        audit_log(LOG_NOTICE, "b");
        setenv("JOURNAL_STREAM", "", 1);
        audit_log(LOG_NOTICE, "c");
        setenv("JOURNAL_STREAM", "1", 1);
        audit_log(LOG_NOTICE, "d");
        assert_string_equal(said(), "a\nb\nc\nd\n");
}

static void test_no_journal(void **state)
{
        (void)state;
        journal_answer = -ENOENT;
        audit(AUDIT_NOT_SAVED, LOG_CRIT, NULL, NULL, "disk full");
        assert_string_equal(said(), "disk full\n");
}

static char *read_catalog(void)
{
        _cleanup_fclose_ FILE *f = fopen(CATALOG, "r");
        char *text = NULL;
        size_t size = 0;

        if (!f)
                fail_msg(CATALOG " cannot be opened: run the tests from the top of the tree");
        assert_true(getdelim(&text, &size, '\0', f) > 0);
        return text;
}

/* Every event has an id of its own, and the catalog explains each and no other. */
static void test_catalog(void **state)
{
        _cleanup_free_ char *text = read_catalog();
        int explained = 0;

        (void)state;
        for (enum audit_event e = 0; e < _AUDIT_EVENT_MAX; e++) {
                const char *id = audit_message_id(e);
                char header[64];

                assert_int_equal(strlen(id), 32);
                assert_int_equal(strspn(id, "0123456789abcdef"), 32);
                for (enum audit_event other = 0; other < e; other++)
                        assert_string_not_equal(id, audit_message_id(other));
                snprintf(header, sizeof(header), "\n-- %s\nSubject: ", id);
                assert_non_null(strstr(text, header));
        }
        for (const char *at = text; (at = strstr(at, "\n-- ")); at++)
                explained++;
        assert_int_equal(explained, _AUDIT_EVENT_MAX);
}

#define WITH_STDERR(test) cmocka_unit_test_setup_teardown(test, capture, release)

int main(void)
{
        const struct CMUnitTest tests[] = {
                WITH_STDERR(test_fields),
                WITH_STDERR(test_what_is_not_known_is_left_out),
                WITH_STDERR(test_no_forging),
                WITH_STDERR(test_very_long),
                WITH_STDERR(test_stderr_that_is_the_journal),
                WITH_STDERR(test_no_journal),
                cmocka_unit_test(test_catalog),
        };

        return cmocka_run_group_tests_name("audit", tests, NULL, NULL);
}
