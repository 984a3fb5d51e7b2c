/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "text.h"
#include "cleanup.h"
#include "timespan.h"
#include <inttypes.h>
#include <string.h>

const char *style_colour(const struct style *s, const char *colour)
{
        return s->colour ? colour : "";
}

/* Decodes one character; returns its length, 0 at the end, -1 where the bytes are no UTF-8. */
static int utf8_decode(const char *text, uint32_t *ret)
{
        const unsigned char *s = (const unsigned char *)text;
        static const uint32_t smallest[] = {0, 0, 0x80, 0x800, 0x10000};
        int length = s[0] < 0x80 ? 1 : s[0] >> 5 == 6 ? 2 : s[0] >> 4 == 14 ? 3 : s[0] >> 3 == 30 ? 4 : -1;
        uint32_t c;

        if (s[0] == 0)
                return 0;
        if (length < 0)
                return -1;
        c = length == 1 ? s[0] : s[0] & (0x7fU >> length);
        for (int i = 1; i < length; i++) {
                if ((s[i] & 0xc0) != 0x80)
                        return -1;
                c = c << 6 | (s[i] & 0x3fU);
        }
        if (c < smallest[length] || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff))
                return -1;
        *ret = c;
        return length;
}

bool utf8_valid(const char *text)
{
        uint32_t c;
        int n;

        while ((n = utf8_decode(text, &c)) > 0)
                text += n;
        return n == 0;
}

/* Would a terminal act on it instead of showing it? C0, DEL, C1, direction marks, line separators, BOM. */
static bool acts_on_terminal(uint32_t c)
{
        return c < 0x20 || (c >= 0x7f && c <= 0x9f) || c == 0x61c || (c >= 0x200e && c <= 0x200f) ||
               (c >= 0x2028 && c <= 0x202e) || (c >= 0x2066 && c <= 0x2069) || c == 0xfeff;
}

static void put_escape(FILE *f, uint32_t c)
{
        if (c == '\n')
                fputs("\\n", f);
        else if (c == '\t')
                fputs("\\t", f);
        else if (c == '\r')
                fputs("\\r", f);
        else
                fprintf(f, c < 0x100 ? "\\x%02" PRIx32 : "\\u%04" PRIx32, c);
}

static void put_filtered(FILE *f, const char *text, bool lines)
{
        const char *plain = text; /* not written yet */
        uint32_t c = 0;
        int n;

        if (!text)
                return;
        for (; (n = utf8_decode(text, &c)) != 0; text += n) {
                if (n > 0 && (!acts_on_terminal(c) || (lines && (c == '\n' || c == '\t'))))
                        continue;
                fwrite(plain, 1, (size_t)(text - plain), f);
                put_escape(f, n < 0 ? (unsigned char)*text : c);
                n = n < 0 ? 1 : n;
                plain = text + n;
        }
        fwrite(plain, 1, (size_t)(text - plain), f);
}

void put_safe(FILE *f, const char *text)
{
        put_filtered(f, text, false);
}

void put_safe_lines(FILE *f, const char *text)
{
        put_filtered(f, text, true);
}

char *safe_text(const char *text)
{
        char *buffer = NULL;
        size_t size;
        FILE *f = open_memstream(&buffer, &size);

        if (!f)
                return NULL;
        put_safe(f, text);
        if (fclose(f) != 0) {
                free(buffer);
                return NULL;
        }
        return buffer;
}

void put_safe_json(FILE *f, const char *text)
{
        const char *plain = text; /* not written yet */
        uint32_t c = 0;
        int n;

        /* jansson has escaped everything below 0x20 in strings already: what is left of it is layout. */
        for (; (n = utf8_decode(text, &c)) > 0; text += n) {
                if (c < 0x20 || !acts_on_terminal(c))
                        continue;
                fwrite(plain, 1, (size_t)(text - plain), f);
                fprintf(f, "\\u%04" PRIx32, c);
                plain = text + n;
        }
        fwrite(plain, 1, (size_t)(text - plain), f);
}

const char *field_text(const json_t *o, const char *key)
{
        return json_string_value(json_object_get(o, key));
}

uint64_t field_number(const json_t *o, const char *key)
{
        json_int_t n = json_integer_value(json_object_get(o, key));

        return n > 0 ? (uint64_t)n : 0;
}

bool field_true(const json_t *o, const char *key)
{
        return json_is_true(json_object_get(o, key));
}

bool field_given(const json_t *o, const char *key)
{
        const json_t *value = json_object_get(o, key);

        return value && !json_is_null(value);
}

const json_t *field_array(const json_t *o, const char *key)
{
        const json_t *value = json_object_get(o, key);

        return json_is_array(value) ? value : NULL; /* jansson takes NULL for an array of none */
}

void put_list(FILE *f, const json_t *array, const char *separator)
{
        const char *between = "";
        json_t *item;
        size_t i;

        json_array_foreach(array, i, item)
        {
                fputs(between, f);
                put_safe(f, json_string_value(item));
                between = separator;
        }
}

void put_count(FILE *f, uint64_t n, const char *one, const char *many)
{
        fprintf(f, "%" PRIu64 " %s", n, n == 1 ? one : many);
}

void put_none_in_force(FILE *f, const struct style *s)
{
        if (!s->subject) {
                fputs("No lockdown is in force", f);
                return;
        }
        fputs("Lockdown ", f);
        put_safe(f, s->subject);
        fputs(" is not in force", f);
}

void put_bytes(FILE *f, uint64_t bytes)
{
        static const char *const units[] = {"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
        double value = (double)bytes / 1024;
        size_t unit = 0;

        if (bytes < 1024) {
                put_count(f, bytes, "byte", "bytes");
                return;
        }
        for (; value >= 1023.95 && unit + 1 < ELEMENTSOF(units); unit++)
                value /= 1024;
        fprintf(f, "%.1f %s", value, units[unit]);
}

static void put_distance(FILE *f, uint64_t usec, uint64_t ahead, const struct style *s)
{
        char when[64], span[64];

        fputs(timestamp_format(usec, when, sizeof(when)), f);
        if (ahead > 0)
                fprintf(f, ", in %s", timespan_format(ahead, span, sizeof(span)));
        else
                fprintf(f, ", %s ago", timespan_format(s->now - usec, span, sizeof(span)));
}

void put_when(FILE *f, uint64_t usec, const struct style *s)
{
        put_distance(f, usec, usec > s->now ? usec - s->now : 0, s);
}

void put_end(FILE *f, const json_t *order, const struct style *s)
{
        uint64_t until = field_number(order, "until_usec");

        /* The daemon's own count is the one that decides (it does not follow steps of the clock). */
        if (field_number(order, "remaining_usec") > 0)
                put_distance(f, until, field_number(order, "remaining_usec"), s);
        else
                put_when(f, until, s);
}

void put_until(FILE *f, const json_t *order, const struct style *s)
{
        if (field_number(order, "until_usec") == 0) {
                fputs("until lifted", f);
                return;
        }
        fputs("until ", f);
        put_end(f, order, s);
}

void put_caller(FILE *f, const json_t *caller)
{
        const char *name = field_text(caller, "name");

        if (!json_is_object(caller)) {
                fputs("somebody unknown", f);
        } else if (name) {
                put_safe(f, name);
                fprintf(f, " (uid %" PRIu64 ")", field_number(caller, "uid"));
        } else {
                fprintf(f, "uid %" PRIu64, field_number(caller, "uid"));
        }
}
