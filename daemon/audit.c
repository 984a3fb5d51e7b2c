/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Fields go to the journal in its own protocol, a line each: what comes from others loses all that could
 * pretend to be another line, in a journal, on a terminal or in a log file. sd_journal_sendv() would send the
 * same, but wait for as long as the journal does not read. */

#include "audit.h"
#include "audit-queue.h"
#include "cleanup.h"
#include "timespan.h"
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdarg.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>

#define FIELDS_MAX 20
#define SENTENCE_MAX 4095 /* with its line break at most what a pipe takes at once (PIPE_BUF) */
#define RETRY_USEC (250 * 1000)
#define LAST_CHANCE_MSEC 1000

/* MESSAGE_IDs never change: catalogs and people's filters know them. */
static const struct {
        const char *id, *name;
} events[_AUDIT_EVENT_MAX] = {
        [AUDIT_ORDERED] = {"9abfd75e0ef84e4d838e3cd18624bce8", "ordered"},
        [AUDIT_EXTENDED] = {"9f7aa29c337042359f5b622bac3eb836", "extended"},
        [AUDIT_CONFIRMED] = {"d07899b4c39c4f2488520c21132b75ef", "confirmed"},
        [AUDIT_LIFTED] = {"973013a321a7442281c569ecaa26ad9e", "lifted"},
        [AUDIT_EXPIRED] = {"bd131cb1905240bc9284623cef508596", "expired"},
        [AUDIT_REFUSED_CALLER] = {"85e4d71a1bb44172a15716e853155007", "refused-caller"},
        [AUDIT_REPAIRED] = {"f3c7aa16ec214d79a6076d89d302db6d", "repaired"},
        [AUDIT_ADOPTED] = {"78f509a0230c4434bbc7235036e09870", "adopted"},
        [AUDIT_RECOVERED] = {"621da70bb46d4e349b62c7820bcf9739", "recovered"},
        [AUDIT_RESTORED] = {"b58cad1e39aa45cd84b559c8cf814ef2", "restored"},
        [AUDIT_SESSION_ENDED] = {"53f95fb70e654357b65ab74ba1e210ed", "session-ended"},
        [AUDIT_MEMBERSHIP] = {"42298df08337497ebbff8040b65b4e40", "membership"},
        [AUDIT_RELOADED] = {"14a54aa4447543f8a60b2026f8c8ceeb", "reloaded"},
        [AUDIT_NOT_HOLDING] = {"262ef907b80c4a42802f87e2a2ee1230", "not-holding"},
        [AUDIT_NOT_SAVED] = {"f192521a99324c01b9ac030a6cff5844", "not-saved"},
        [AUDIT_PRUNED] = {"3f41d0ac365c4a90aa61fec0c8d9259b", "pruned"},
        [AUDIT_DAMAGED] = {"5d3fcf9cf1984581b537d12be0ab6efb", "damaged"},
        [AUDIT_INCOMPLETE] = {"76d77bab697b48f7bf404b4057dc5748", "incomplete"},
};

/* The journal is one for the process, as it is in libsystemd. */
static struct {
        struct audit_queue queue;
        sd_event_source *retry; /* enabled while something waits */
} journal;

const char *audit_message_id(enum audit_event event)
{
        return events[event].id;
}

/* ---- harmless text ---- */

/* Decodes one UTF-8 sequence; its length, or 0 for bytes that are none (overlong, surrogates, cut short). */
static size_t decode(const char *s, uint32_t *ret)
{
        const unsigned char *u = (const unsigned char *)s;
        static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
        size_t n = u[0] < 0x80 ? 1 : u[0] >= 0xf0 ? 4 : u[0] >= 0xe0 ? 3 : 2;
        uint32_t c = n == 1 ? u[0] : u[0] & (0x7fU >> n);

        if (n > 1 && (u[0] < 0xc2 || u[0] > 0xf4))
                return 0;
        for (size_t i = 1; i < n; i++) {
                if ((u[i] & 0xc0) != 0x80)
                        return 0;
                c = c << 6 | (u[i] & 0x3f);
        }
        if (c < least[n] || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff))
                return 0;
        *ret = c;
        return n;
}

/* Control characters, line and paragraph separators, and what reverses the direction of text. */
static bool harmful(uint32_t c)
{
        return c < 0x20 || (c >= 0x7f && c < 0xa0) || c == 0x2028 || c == 0x2029 ||
               (c >= 0x200e && c <= 0x200f) || (c >= 0x202a && c <= 0x202e) || (c >= 0x2066 && c <= 0x2069);
}

/* In place: a line break or tab becomes a space, anything else that is harmful a '?'. */
static void make_harmless(char *text)
{
        char *to = text;

        for (const char *from = text; *from;) {
                uint32_t c = 0;
                size_t n = decode(from, &c);

                if (n > 0 && !harmful(c)) {
                        memmove(to, from, n);
                        to += n;
                } else {
                        *to++ = c == '\n' || c == '\t' ? ' ' : '?';
                }
                from += n > 0 ? n : 1;
        }
        *to = '\0';
}

/* ---- the entry ---- */

struct entry {
        struct iovec fields[FIELDS_MAX];
        size_t n;
};

static void entry_clear(struct entry *e)
{
        for (size_t i = 0; i < e->n; i++)
                free(e->fields[i].iov_base);
        e->n = 0;
}

/* Adds "NAME=VALUE". A field that finds no memory is left out: the rest is still worth having. */
__attribute__((format(printf, 2, 3))) static void add(struct entry *e, const char *format, ...)
{
        char *field = NULL;
        size_t length;
        va_list ap;
        int r;

        if (e->n == FIELDS_MAX)
                return;
        va_start(ap, format);
        r = vasprintf(&field, format, ap);
        va_end(ap);
        if (r < 0)
                return;
        make_harmless(field);
        length = strlen(field);
        field[length] = '\n'; /* in place of the NUL: that goes by length */
        e->fields[e->n++] = (struct iovec){.iov_base = field, .iov_len = length + 1};
}

static void add_order(struct entry *e, const struct order *o)
{
        char until[64];

        add(e, "LOCKDOWN_ORDER_ID=%s", o->id);
        if (o->profile)
                add(e, "LOCKDOWN_PROFILE=%s", o->profile->name);
        if (o->reason)
                add(e, "LOCKDOWN_REASON=%s", o->reason);
        if (o->end != END_NEVER)
                add(e, "LOCKDOWN_UNTIL=%s", timestamp_format_rfc3339(o->until, until, sizeof(until)));
        if (o->end_reason)
                add(e, "LOCKDOWN_END_REASON=%s", o->end_reason);
        add(e, "LOCKDOWN_SEVERED=%" PRIu64, o->severed);
        add(e, "LOCKDOWN_REFUSED=%" PRIu64, o->refused_packets);
}

static void add_caller(struct entry *e, const struct caller *c)
{
        if (c->uid == CALLER_NOBODY)
                return;
        add(e, "LOCKDOWN_CALLER_UID=%" PRIu32, c->uid);
        if (c->pid > 0)
                add(e, "LOCKDOWN_CALLER_PID=%d", c->pid);
        if (c->name)
                add(e, "LOCKDOWN_CALLER_NAME=%s", c->name);
}

/* ---- where it goes ---- */

/* systemd names the socket it connected stderr to; what is there now may be another (a shell's redirection).
 */
static bool stderr_is_journal(void)
{
        const char *stream = getenv("JOURNAL_STREAM"); /* "DEVICE:INODE" */
        char *colon, *end;
        uint64_t device, inode;
        struct stat st;

        if (!stream)
                return false;
        device = strtoull(stream, &colon, 10);
        if (colon == stream || *colon != ':')
                return false;
        inode = strtoull(colon + 1, &end, 10);
        if (end == colon + 1 || *end != '\0')
                return false;
        return fstat(STDERR_FILENO, &st) == 0 && st.st_dev == device && st.st_ino == inode;
}

/* True: it is written. A pipe that nobody empties is not waited for. */
static bool print(const char *sentence)
{
        struct pollfd out = {.fd = STDERR_FILENO, .events = POLLOUT};

        if (poll(&out, 1, 0) != 1 || !(out.revents & POLLOUT))
                return false;
        return fprintf(stderr, "%s\n", sentence) > 0;
}

static bool waits(void)
{
        return journal.queue.first || journal.queue.untold > 0;
}

static void finish_entry(struct entry *e, int priority, const char *sentence)
{
        add(e, "MESSAGE=%s", sentence);
        add(e, "PRIORITY=%d", LOG_PRI(priority));
        add(e, "SYSLOG_IDENTIFIER=%s", program_invocation_short_name);
}

/* Says what is missing, where it is missing: before the next entry. */
static void tell_lost(void)
{
        _cleanup_(entry_clear) struct entry e = {.n = 0};
        struct audit_queue *q = &journal.queue;
        char sentence[128];
        bool told;

        if (q->untold == 0)
                return;
        (void)snprintf(sentence, sizeof(sentence),
                       "entries are missing here: %" PRIu64 " were lost, for the journal did not take them",
                       q->untold);
        add(&e, "MESSAGE_ID=%s", events[AUDIT_INCOMPLETE].id);
        add(&e, "LOCKDOWN_EVENT=%s", events[AUDIT_INCOMPLETE].name);
        finish_entry(&e, LOG_CRIT, sentence);
        told = audit_queue_put(q, e.fields, e.n, false);
        if ((told || !q->known) && !stderr_is_journal())
                told |= print(sentence);
        if (told)
                q->untold = 0;
}

static void send_entry(struct entry *e, int priority, const char *sentence)
{
        bool printed;

        tell_lost();
        printed = !stderr_is_journal() && print(sentence);
        finish_entry(e, priority, sentence);
        if (!audit_queue_put(&journal.queue, e->fields, e->n, printed))
                audit_queue_lost(&journal.queue);
        if (waits())
                (void)sd_event_source_set_enabled(journal.retry, SD_EVENT_ON);
}

/* The sentence, harmless; what does not fit is cut. */
__attribute__((format(printf, 2, 0))) static void form(char sentence[SENTENCE_MAX], const char *format,
                                                       va_list ap)
{
        if (vsnprintf(sentence, SENTENCE_MAX, format, ap) < 0)
                snprintf(sentence, SENTENCE_MAX, "(a message that could not be formatted)");
        make_harmless(sentence);
}

void audit(enum audit_event event, int priority, const struct order *o, const struct caller *caller,
           const char *format, ...)
{
        _cleanup_(entry_clear) struct entry e = {.n = 0};
        char sentence[SENTENCE_MAX];
        va_list ap;

        va_start(ap, format);
        form(sentence, format, ap);
        va_end(ap);
        add(&e, "MESSAGE_ID=%s", events[event].id);
        add(&e, "LOCKDOWN_EVENT=%s", events[event].name);
        if (o)
                add_order(&e, o);
        if (caller)
                add_caller(&e, caller);
        send_entry(&e, priority, sentence);
}

void audit_log(int priority, const char *format, ...)
{
        _cleanup_(entry_clear) struct entry e = {.n = 0};
        char sentence[SENTENCE_MAX];
        va_list ap;

        va_start(ap, format);
        form(sentence, format, ap);
        va_end(ap);
        send_entry(&e, priority, sentence);
}

/* ---- what waits ---- */

static int on_retry(sd_event_source *source, uint64_t usec, void *userdata)
{
        int r;

        (void)usec;
        (void)userdata;
        if (audit_queue_flush(&journal.queue))
                tell_lost();
        r = sd_event_source_set_time_relative(source, RETRY_USEC);
        return r < 0 || waits() ? r : sd_event_source_set_enabled(source, SD_EVENT_OFF);
}

int audit_attach(sd_event *event)
{
        int r = sd_event_add_time_relative(event, &journal.retry, CLOCK_MONOTONIC, RETRY_USEC, 10 * 1000,
                                           on_retry, NULL);

        return r < 0 ? r : sd_event_source_set_enabled(journal.retry, SD_EVENT_ON);
}

void audit_detach(void)
{
        for (int left = LAST_CHANCE_MSEC; left > 0 && !audit_queue_flush(&journal.queue); left -= 10)
                (void)poll(NULL, 0, 10);
        journal.retry = sd_event_source_disable_unref(journal.retry);
}

struct audit_backlog audit_backlog(void)
{
        return (struct audit_backlog){.waiting = journal.queue.n, .lost = journal.queue.lost};
}
