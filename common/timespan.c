/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "timespan.h"

#include "cleanup.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

static const struct unit {
        const char *names[5]; /* the last one is the one written */
        uint64_t usec;
} units[] = {
        {{"weeks", "week", "w"}, 7 * USEC_PER_DAY},
        {{"days", "day", "d"}, USEC_PER_DAY},
        {{"hours", "hour", "hr", "h"}, USEC_PER_HOUR},
        {{"minutes", "minute", "m", "min"}, USEC_PER_MINUTE},
        {{"seconds", "second", "sec", "s"}, USEC_PER_SEC},
};

/* Weeks are read but not written: "14d" needs no thought where "2w 3d" does. */
#define FIRST_WRITTEN_UNIT 1

static bool is_digit(char c)
{
        return c >= '0' && c <= '9';
}

static const char *skip_blanks(const char *s)
{
        return s + strspn(s, " \t");
}

/* Reads a number and saturates instead of overflowing. */
static const char *read_number(const char *s, uint64_t *ret)
{
        uint64_t n = 0;

        for (; is_digit(*s); s++)
                if (__builtin_mul_overflow(n, 10, &n) || __builtin_add_overflow(n, (uint64_t)(*s - '0'), &n))
                        n = UINT64_MAX;
        *ret = n;
        return s;
}

static const struct unit *find_unit(const char *s, size_t len)
{
        for (size_t i = 0; i < ELEMENTSOF(units); i++)
                for (size_t k = 0; k < ELEMENTSOF(units[i].names) && units[i].names[k]; k++)
                        if (strlen(units[i].names[k]) == len && memcmp(units[i].names[k], s, len) == 0)
                                return &units[i];
        return NULL;
}

int timespan_parse(const char *text, uint64_t *ret_usec)
{
        uint64_t sum = 0;
        bool too_long = false;
        const char *s;

        if (!text)
                return -EINVAL;
        s = skip_blanks(text);
        do {
                const struct unit *unit;
                uint64_t number, part;
                size_t len;

                if (!is_digit(*s))
                        return -EINVAL;
                s = skip_blanks(read_number(s, &number));
                len = strspn(s, "abcdefghijklmnopqrstuvwxyz");
                unit = find_unit(s, len);
                if (!unit)
                        return -EINVAL;
                if (__builtin_mul_overflow(number, unit->usec, &part) ||
                    __builtin_add_overflow(sum, part, &sum) || sum > TIMESPAN_MAX)
                        too_long = true;
                s = skip_blanks(s + len);
        } while (*s);

        if (too_long)
                return -ERANGE;
        if (sum == 0)
                return -EINVAL;
        *ret_usec = sum;
        return 0;
}

/* A point in time as somebody wrote it, before it is known which moment that is. */
struct wall {
        int year, month, day;
        int hour, minute, second;
        bool has_zone;
        int zone_offset; /* seconds east of Greenwich */
};

/* Exactly DIGITS digits, LOW…HIGH. Returns what follows, NULL if it is something else. */
static const char *read_field(const char *s, int digits, int low, int high, int *ret)
{
        int n = 0;

        if (!s)
                return NULL;
        for (int i = 0; i < digits; i++, s++) {
                if (!is_digit(*s))
                        return NULL;
                n = n * 10 + (*s - '0');
        }
        if (n < low || n > high)
                return NULL;
        *ret = n;
        return s;
}

static const char *read_char(const char *s, char c)
{
        return s && *s == c ? s + 1 : NULL;
}

static const char *read_date(const char *s, struct wall *w)
{
        s = read_char(read_field(s, 4, 0, 9999, &w->year), '-');
        s = read_char(read_field(s, 2, 1, 12, &w->month), '-');
        return read_field(s, 2, 1, 31, &w->day);
}

/* hh:mm[:ss] */
static const char *read_time(const char *s, struct wall *w)
{
        s = read_char(read_field(s, 2, 0, 23, &w->hour), ':');
        s = read_field(s, 2, 0, 59, &w->minute);
        w->second = 0;
        if (s && *s == ':')
                s = read_field(s + 1, 2, 0, 59, &w->second);
        return s;
}

/* Nothing, Z, UTC or +hh:mm, to the end of the text. */
static bool read_zone(const char *s, struct wall *w)
{
        int hours, minutes, sign;

        s = skip_blanks(s);
        if (*s == '\0')
                return true;
        w->has_zone = true;
        w->zone_offset = 0;
        if (strcmp(s, "Z") == 0 || strcmp(s, "UTC") == 0)
                return true;
        if (*s != '+' && *s != '-')
                return false;
        sign = *s == '-' ? -1 : 1;
        s = read_char(read_field(s + 1, 2, 0, 23, &hours), ':');
        s = read_field(s, 2, 0, 59, &minutes);
        if (!s || *s != '\0')
                return false;
        w->zone_offset = sign * (hours * 3600 + minutes * 60);
        return true;
}

static struct tm wall_to_tm(const struct wall *w)
{
        return (struct tm){
                .tm_year = w->year - 1900,
                .tm_mon = w->month - 1,
                .tm_mday = w->day,
                .tm_hour = w->hour,
                .tm_min = w->minute,
                .tm_sec = w->second,
                .tm_isdst = -1,
        };
}

static bool tm_shows(const struct tm *tm, const struct wall *w)
{
        return tm->tm_year == w->year - 1900 && tm->tm_mon == w->month - 1 && tm->tm_mday == w->day &&
               tm->tm_hour == w->hour && tm->tm_min == w->minute && tm->tm_sec == w->second;
}

/* The first moment after AFTER at which the clock shows W, or with LAST the last one: when clocks are set
 * back it shows the same time twice. -ENOENT if it never does (clocks set forward, 30 February). */
static int wall_to_time(const struct wall *w, time_t after, bool last, time_t *ret)
{
        static const int shifts[] = {-3600, -1800, 0, 1800, 3600};
        struct tm tm = wall_to_tm(w);
        time_t base;
        bool found = false;

        if (w->has_zone) {
                base = timegm(&tm);
                if (!tm_shows(&tm, w))
                        return -ENOENT;
                *ret = base - w->zone_offset;
                return 0;
        }

        base = mktime(&tm);
        for (size_t i = 0; i < ELEMENTSOF(shifts); i++) {
                time_t t = base + shifts[i];

                if (!localtime_r(&t, &tm) || !tm_shows(&tm, w) || t <= after)
                        continue;
                *ret = t;
                found = true;
                if (!last)
                        break;
        }
        return found ? 0 : -ENOENT;
}

/* The day that is DAYS after the one NOW falls on. mktime() carries over the end of a month. */
static void set_day(struct wall *w, time_t now, int days)
{
        struct tm tm = {};

        localtime_r(&now, &tm);
        tm.tm_mday += days;
        tm.tm_hour = 12; /* no clock is ever changed at noon */
        tm.tm_min = tm.tm_sec = 0;
        tm.tm_isdst = -1;
        mktime(&tm);
        w->year = tm.tm_year + 1900;
        w->month = tm.tm_mon + 1;
        w->day = tm.tm_mday;
}

/* A bare "18:00". A week is enough to get past any day on which clocks skip it. */
static int next_time_of_day(struct wall *w, time_t now, time_t *ret)
{
        for (int days = 0; days < 7; days++) {
                set_day(w, now, days);
                if (wall_to_time(w, now, false, ret) == 0)
                        return 0;
        }
        return -EINVAL;
}

/* "today " and "tomorrow " choose a day; a date is read. Returns what follows. */
static const char *read_day(const char *s, time_t now, struct wall *w)
{
        static const char *const names[] = {"today", "tomorrow"};

        for (int i = 0; i < (int)ELEMENTSOF(names); i++) {
                size_t len = strlen(names[i]);

                if (strncmp(s, names[i], len) == 0 && (s[len] == ' ' || s[len] == '\t')) {
                        set_day(w, now, i);
                        return skip_blanks(s + len);
                }
        }
        s = read_date(s, w);
        if (!s || (*s != 'T' && *s != ' ' && *s != '\t'))
                return NULL;
        return *s == 'T' ? s + 1 : skip_blanks(s);
}

int timestamp_parse(const char *text, uint64_t now, uint64_t *ret_usec)
{
        time_t now_sec = (time_t)(now / USEC_PER_SEC), t;
        struct wall w = {};
        const char *s;

        if (!text)
                return -EINVAL;
        tzset();
        text = skip_blanks(text);
        s = read_time(text, &w);
        if (s && *skip_blanks(s) == '\0') {
                if (next_time_of_day(&w, now_sec, &t) < 0)
                        return -EINVAL;
        } else {
                bool is_date = is_digit(*text);

                s = read_time(read_day(text, now_sec, &w), &w);
                if (!s || !read_zone(s, &w) || (w.has_zone && !is_date))
                        return -EINVAL;
                /* The later of two: what is to hold until then holds at least that long. */
                if (wall_to_time(&w, INT64_MIN, true, &t) < 0)
                        return -EINVAL;
        }
        if (t < 0 || (uint64_t)t * USEC_PER_SEC <= now)
                return -ERANGE;
        *ret_usec = (uint64_t)t * USEC_PER_SEC;
        return 0;
}

/* Writes the units of USEC from the largest it reaches, at most MAX of them in a row, without zeros. */
static void write_units(uint64_t usec, size_t max, char *buf, size_t size)
{
        size_t used = 0, i = FIRST_WRITTEN_UNIT;

        buf[0] = '\0';
        while (i < ELEMENTSOF(units) && usec < units[i].usec)
                i++;
        for (size_t n = 0; n < max && i < ELEMENTSOF(units); n++, i++) {
                const char *name = NULL;
                uint64_t count = usec / units[i].usec;
                int r;

                usec %= units[i].usec;
                if (count == 0)
                        continue;
                for (size_t k = 0; k < ELEMENTSOF(units[i].names) && units[i].names[k]; k++)
                        name = units[i].names[k];
                r = snprintf(buf + used, size - used, "%s%llu%s", used ? " " : "", (unsigned long long)count,
                             name);
                if (r < 0 || (size_t)r >= size - used)
                        return;
                used += (size_t)r;
        }
}

const char *timespan_format(uint64_t usec, char *buf, size_t size)
{
        if (size == 0)
                return "";
        if (usec < USEC_PER_SEC)
                snprintf(buf, size, "0s");
        else
                write_units(usec, 2, buf, size);
        return buf;
}

const char *timespan_format_exact(uint64_t usec, char *buf, size_t size)
{
        if (size == 0)
                return "";
        write_units(usec, ELEMENTSOF(units), buf, size);
        return buf;
}

static void local_time(uint64_t usec, struct tm *ret)
{
        time_t t = (time_t)(usec / USEC_PER_SEC);

        tzset(); /* localtime_r() need not notice that TZ was changed */
        *ret = (struct tm){};
        localtime_r(&t, ret);
}

const char *timestamp_format(uint64_t usec, char *buf, size_t size)
{
        struct tm tm;

        if (size == 0)
                return "";
        local_time(usec, &tm);
        if (strftime(buf, size, "%a %Y-%m-%d %H:%M:%S %Z", &tm) == 0)
                buf[0] = '\0'; /* too small: strftime() leaves it undefined */
        return buf;
}

const char *timestamp_format_rfc3339(uint64_t usec, char *buf, size_t size)
{
        char local[64];
        struct tm tm;
        long minutes;

        local_time(usec, &tm);
        minutes = labs(tm.tm_gmtoff) / 60;
        if (strftime(local, sizeof(local), "%Y-%m-%dT%H:%M:%S", &tm) == 0)
                local[0] = '\0';
        snprintf(buf, size, "%s%c%02ld:%02ld", local, tm.tm_gmtoff < 0 ? '-' : '+', minutes / 60,
                 minutes % 60);
        return buf;
}
