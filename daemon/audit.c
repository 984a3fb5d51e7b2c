/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Fields go to the journal by sd_journal_sendv(), which frames them by length: nothing in a value can begin a
 * field of its own. The sentence, which also goes to terminals and log files, loses all that could pretend to
 * be another line. */

#define SD_JOURNAL_SUPPRESS_LOCATION

#include "audit.h"
#include "cleanup.h"
#include "timespan.h"
#include <inttypes.h>
#include <stdarg.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <systemd/sd-journal.h>

#define FIELDS_MAX 20
#define SENTENCE_MAX 4096

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
        [AUDIT_DAMAGED] = {"5d3fcf9cf1984581b537d12be0ab6efb", "damaged"},
};

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
        e->fields[e->n++] = (struct iovec){.iov_base = field, .iov_len = strlen(field)};
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

static void send_entry(struct entry *e, int priority, const char *sentence)
{
        add(e, "MESSAGE=%s", sentence);
        add(e, "PRIORITY=%d", LOG_PRI(priority));
        (void)sd_journal_sendv(e->fields, (int)e->n); /* without a journal there is still stderr */
        if (!stderr_is_journal())
                fprintf(stderr, "%s\n", sentence);
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
