/* SPDX-License-Identifier: GPL-2.0-or-later */

/* What reaches the journal and stderr. */

// wrap: datagram_send

#include "audit-queue.h"
#include "audit.h"
#include "cleanup.h"
#include "datagram.h"
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
static int n_fields, entries, asked, journal_answer;

static void forget(void)
{
        for (int i = 0; i < n_fields; i++)
                free(fields[i]);
        n_fields = 0;
}

static char journal_text[512]; /* of the entries since the last clear(): MESSAGE=s, a line each */

static void take_field(const char *at, size_t length)
{
        static const char message[] = "MESSAGE=";
        size_t used = strlen(journal_text);

        assert_true(n_fields < (int)ELEMENTSOF(fields));
        fields[n_fields] = strndup(at, length);
        assert_int_equal(strlen(fields[n_fields]), length); /* no NUL inside */
        if (strncmp(fields[n_fields], message, strlen(message)) == 0)
                (void)snprintf(journal_text + used, sizeof(journal_text) - used, "%s\n",
                               fields[n_fields] + strlen(message));
        n_fields++;
}

int __wrap_datagram_send(const char *path, const struct iovec *parts, size_t n, int fd);
int __wrap_datagram_send(const char *path, const struct iovec *parts, size_t n, int fd)
{
        static char entry[32768];
        size_t size = 0;

        assert_string_equal(path, JOURNAL_SOCKET);
        assert_int_equal(fd, -1);
        asked++;
        if (journal_answer < 0)
                return journal_answer;
        forget();
        entries++;
        for (size_t i = 0; i < n; i++) {
                assert_true(size + parts[i].iov_len <= sizeof(entry));
                memcpy(entry + size, parts[i].iov_base, parts[i].iov_len);
                size += parts[i].iov_len;
        }
        assert_int_equal(entry[size - 1], '\n');
        for (const char *at = entry; at < entry + size;) {
                const char *end = memchr(at, '\n', size - (size_t)(at - entry));

                assert_non_null(end);
                take_field(at, (size_t)(end - at));
                at = end + 1;
        }
        return 0;
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
        audit_detach(); /* what an earlier test left waiting */
        entries = asked = 0;
        journal_text[0] = '\0';
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

/* As on a host without systemd: there is stderr. */
static void test_no_journal(void **state)
{
        struct audit_queue q = {0};
        struct iovec field = {.iov_base = why, .iov_len = strlen(why)};

        (void)state;
        journal_answer = -ENOENT;
        assert_true(audit_queue_put(&q, &field, 1, true));
        assert_false(audit_queue_put(&q, &field, 1, false)); /* nor was it printed: lost */
        assert_null(q.first);
        audit(AUDIT_NOT_SAVED, LOG_CRIT, NULL, NULL, "disk full");
        assert_string_equal(said(), "disk full\n");
}

static void assert_backlog(uint64_t waiting, uint64_t lost)
{
        struct audit_backlog b = audit_backlog();

        assert_int_equal(b.waiting, waiting);
        assert_int_equal(b.lost, lost);
}

static void test_a_journal_that_does_not_read(void **state)
{
        static const int answers[] = {-EAGAIN, -ECONNREFUSED, -ENOBUFS, -ENOENT};

        (void)state;
        audit_log(LOG_NOTICE, "it is there");
        for (size_t i = 0; i < ELEMENTSOF(answers); i++) {
                journal_text[0] = '\0';
                journal_answer = answers[i];
                audit(AUDIT_ORDERED, LOG_NOTICE, NULL, NULL, "one");
                asked = 0;
                audit_log(LOG_NOTICE, "two");
                assert_int_equal(asked, 0); /* not before what waits */
                assert_backlog(2, 0);
                journal_answer = 0;
                audit_detach();
                assert_string_equal(journal_text, "one\ntwo\n");
                assert_non_null(field("LOCKDOWN_AT"));
                assert_field("PRIORITY", "5");
                assert_backlog(0, 0);
        }
}

static void test_what_found_no_room_is_told_where_it_is_missing(void **state)
{
        uint64_t before = audit_backlog().lost;

        (void)state;
        audit_log(LOG_NOTICE, "it is there");
        journal_answer = -EAGAIN;
        for (int i = 0; i < QUEUE_ENTRIES_MAX + 3; i++)
                audit_log(LOG_NOTICE, "entry %d", i);
        assert_backlog(QUEUE_ENTRIES_MAX, before + 3);
        journal_answer = 0;
        audit_detach();
        assert_int_equal(entries, 1 + QUEUE_ENTRIES_MAX);
        journal_text[0] = '\0';
        audit_log(LOG_NOTICE, "after");
        assert_string_equal(
                journal_text,
                "entries are missing here: 3 were lost, for the journal did not take them\nafter\n");
        assert_backlog(0, before + 3);
}

static void test_memory_is_bounded(void **state)
{
        static char text[4000];
        struct audit_queue q = {.known = true};
        struct iovec field = {.iov_base = text, .iov_len = sizeof(text)};
        size_t n = 0;

        (void)state;
        journal_answer = -EAGAIN;
        memset(text, 'x', sizeof(text));
        while (audit_queue_put(&q, &field, 1, false))
                assert_true(++n < QUEUE_ENTRIES_MAX);
        assert_true(q.bytes <= QUEUE_BYTES_MAX && q.bytes > QUEUE_BYTES_MAX - 2 * sizeof(text));
        journal_answer = -EMSGSIZE; /* never to be taken: not waited for */
        assert_true(audit_queue_flush(&q));
        assert_int_equal(q.lost, n);
        assert_int_equal(q.bytes, 0);
        assert_false(audit_queue_put(&q, &field, 1, false));
}

static void test_the_loop_delivers_what_waits(void **state)
{
        _cleanup_(sd_event_unrefp) sd_event *event = NULL;

        (void)state;
        assert_int_equal(sd_event_new(&event), 0);
        assert_int_equal(audit_attach(event), 0);
        audit_log(LOG_NOTICE, "it is there");
        journal_answer = -EAGAIN;
        audit_log(LOG_NOTICE, "late");
        assert_int_equal(sd_event_run(event, 30 * 1000 * 1000), 1); /* tries, in vain */
        assert_backlog(1, audit_backlog().lost);
        journal_answer = 0;
        assert_int_equal(sd_event_run(event, 30 * 1000 * 1000), 1);
        assert_string_equal(journal_text, "it is there\nlate\n");
        assert_int_equal(sd_event_run(event, 0), 0); /* and rests */
        audit_detach();
}

/* A pipe that nobody reads, as to a logger that was stopped. */
static void test_stderr_that_is_not_read(void **state)
{
        uint64_t before = audit_backlog().lost;
        int pipe_fds[2];
        char byte = 'x';

        (void)state;
        assert_int_equal(pipe2(pipe_fds, O_CLOEXEC), 0);
        assert_int_equal(fcntl(pipe_fds[1], F_SETFL, O_NONBLOCK), 0);
        while (write(pipe_fds[1], &byte, 1) == 1)
                ;
        assert_int_equal(fcntl(pipe_fds[1], F_SETFL, 0), 0);
        dup2(pipe_fds[1], STDERR_FILENO);
        audit_log(LOG_NOTICE, "goes on");
        assert_field("MESSAGE", "goes on");
        assert_backlog(0, before);
        close(pipe_fds[0]);
        close(pipe_fds[1]);
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

/* journalctl -x would show the name of a field that an entry has not. */
static void test_catalog_fields(void **state)
{
        static const char *const always[] = {"@LOCKDOWN_PROFILE@", "@LOCKDOWN_ORDER_ID@",
                                             "@LOCKDOWN_SEVERED@", "@LOCKDOWN_REFUSED@",
                                             "@LOCKDOWN_CALLER_UID@"};
        _cleanup_free_ char *text = read_catalog();
        size_t n = 0;

        (void)state;
        for (const char *at = text; (at = strstr(at, "@LOCKDOWN_")); at++, n++) {
                bool known = false;

                for (size_t i = 0; i < ELEMENTSOF(always); i++)
                        known |= strncmp(at, always[i], strlen(always[i])) == 0;
                if (!known)
                        fail_msg("not every entry has %.30s", at);
        }
        assert_true(n > 0);
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
                WITH_STDERR(test_a_journal_that_does_not_read),
                WITH_STDERR(test_what_found_no_room_is_told_where_it_is_missing),
                WITH_STDERR(test_memory_is_bounded),
                WITH_STDERR(test_the_loop_delivers_what_waits),
                WITH_STDERR(test_stderr_that_is_not_read),
                cmocka_unit_test(test_catalog),
                cmocka_unit_test(test_catalog_fields),
        };

        return cmocka_run_group_tests_name("audit", tests, NULL, NULL);
}
