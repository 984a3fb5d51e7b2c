/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Durations and points in time. Input: a byte that chooses the time zone and one for the year it is, then a
 * line that may be a duration and one that may be a point in time. */

#include "fuzz.h"
#include "timespan.h"

#include <errno.h>
#include <time.h>

/* One without daylight saving, either half of the world, half an hour's step, far ahead, and the day that was
 * left out (Apia, 30 December 2011). */
static const char *const zones[] = {"UTC",
                                    "Europe/Oslo",
                                    "America/Santiago",
                                    "Australia/Lord_Howe",
                                    "Asia/Kathmandu",
                                    "Pacific/Kiritimati",
                                    "Pacific/Apia",
                                    "Africa/Monrovia"};

/* No formatted text is cut elsewhere than at the end of its buffer, which it does not pass. */
static void format_into_little(uint64_t usec)
{
        for (size_t size = 1; size < 40; size++) {
                _cleanup_free_ char *buf = malloc(size);

                MUST(buf);
                MUST(strlen(timespan_format(usec, buf, size)) < size);
                MUST(strlen(timespan_format_exact(usec, buf, size)) < size);
                MUST(strlen(timestamp_format(usec, buf, size)) < size);
                MUST(strlen(timestamp_format_rfc3339(usec, buf, size)) < size);
        }
}

static void fuzz_duration(const char *text)
{
        char exact[64], rough[64];
        uint64_t usec = 0, again = 0;
        int r = timespan_parse(text, &usec);

        MUST(r == 0 || r == -EINVAL || r == -ERANGE);
        if (r < 0) {
                MUST(usec == 0);
                return;
        }
        MUST(usec > 0 && usec <= TIMESPAN_MAX && usec % USEC_PER_SEC == 0);
        timespan_format_exact(usec, exact, sizeof(exact));
        MUST(timespan_parse(exact, &again) == 0 && again == usec);
        /* The rough form: rounded down, by less than one of its smaller unit. */
        timespan_format(usec, rough, sizeof(rough));
        MUST(timespan_parse(rough, &again) == 0 && again <= usec && usec - again < USEC_PER_HOUR);
        format_into_little(usec);
}

static void fuzz_moment(const char *text, uint64_t now)
{
        uint64_t usec = 0, again = 0;
        time_t seconds;
        struct tm tm;
        char rfc[64];
        int r = timestamp_parse(text, now, &usec);

        MUST(r == 0 || r == -EINVAL || r == -ERANGE);
        if (r < 0) {
                MUST(usec == 0);
                return;
        }
        MUST(usec > now && usec % USEC_PER_SEC == 0);
        format_into_little(usec);
        seconds = (time_t)(usec / USEC_PER_SEC);
        MUST(localtime_r(&seconds, &tm));
        timestamp_format_rfc3339(usec, rfc, sizeof(rfc));
        /* It has four digits for the year and none for an offset's seconds. */
        if (tm.tm_year + 1900 <= 9999 && tm.tm_gmtoff % 60 == 0)
                MUST(timestamp_parse(rfc, now, &again) == 0 && again == usec);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        struct feed f = {data, size};
        const char *zone = zones[feed_byte(&f) % ELEMENTSOF(zones)];
        /* 1970 to 2110, and a moment of the year that is none in particular */
        uint64_t now = feed_byte(&f) % 140 * (365 * USEC_PER_DAY + USEC_PER_DAY / 4) + 19 * USEC_PER_HOUR;
        _cleanup_free_ char *duration = feed_line(&f), *moment = feed_line(&f);

        MUST(setenv("TZ", zone, 1) == 0);
        if (duration)
                fuzz_duration(duration);
        if (moment)
                fuzz_moment(moment, now);
        return 0;
}
