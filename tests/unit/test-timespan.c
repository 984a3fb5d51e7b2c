/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "timespan.h"

#include "cleanup.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

static void test_parse(void **state)
{
        static const struct {
                const char *text;
                int result;
                uint64_t usec;
        } table[] = {
                {"8h", 0, 8 * USEC_PER_HOUR},
                {"1d 12h", 0, 36 * USEC_PER_HOUR},
                {"1d12h", 0, 36 * USEC_PER_HOUR},
                {"90min", 0, 90 * USEC_PER_MINUTE},
                {"1h30m", 0, 90 * USEC_PER_MINUTE},
                {"2 weeks", 0, 14 * USEC_PER_DAY},
                {"  1 hour\t5 seconds ", 0, USEC_PER_HOUR + 5 * USEC_PER_SEC},
                {"1week 1day 1hr 1minute 1sec", 0, 8 * USEC_PER_DAY + 3661 * USEC_PER_SEC},
                {"1h 1h", 0, 2 * USEC_PER_HOUR},
                {"0h 5m", 0, 5 * USEC_PER_MINUTE},
                {"007s", 0, 7 * USEC_PER_SEC},
                {"3652d", 0, TIMESPAN_MAX},
                {"3652d 1s", -ERANGE, 0},
                {"18446744073709551616s", -ERANGE, 0},
                {"99999999999999999999999999w", -ERANGE, 0},
                {"18446744073709551615s 18446744073709551615s", -ERANGE, 0},
                {"3652d 1x", -EINVAL, 0},
                {"0s", -EINVAL, 0},
                {"", -EINVAL, 0},
                {"  ", -EINVAL, 0},
                {"8", -EINVAL, 0},
                {"h", -EINVAL, 0},
                {"8 h 5", -EINVAL, 0},
                {"-8h", -EINVAL, 0},
                {"+8h", -EINVAL, 0},
                {"1.5h", -EINVAL, 0},
                {"8H", -EINVAL, 0},
                {"1M", -EINVAL, 0},
                {"1month", -EINVAL, 0},
                {"1y", -EINVAL, 0},
                {"5ms", -EINVAL, 0},
                {"8h,", -EINVAL, 0},
                {"8h\n", -EINVAL, 0},
                {"infinity", -EINVAL, 0},
        };

        (void)state;
        for (size_t i = 0; i < ELEMENTSOF(table); i++) {
                uint64_t usec = 42;
                int r = timespan_parse(table[i].text, &usec);

                if (r != table[i].result || usec != (r == 0 ? table[i].usec : 42))
                        fail_msg("\"%s\": %d, %llu", table[i].text, r, (unsigned long long)usec);
        }
        assert_int_equal(timespan_parse(NULL, &(uint64_t){0}), -EINVAL);
}

/* 2016-11-28 17:00:00 UTC, a Monday. */
#define MONDAY (UINT64_C(1480352400) * USEC_PER_SEC)

struct timestamp_case {
        const char *zone;
        uint64_t now;
        const char *text;
        int result;
        uint64_t seconds;
};

static void check_timestamps(const struct timestamp_case *table, size_t n)
{
        for (size_t i = 0; i < n; i++) {
                uint64_t usec = 42;
                int r;

                setenv("TZ", table[i].zone, 1);
                r = timestamp_parse(table[i].text, table[i].now, &usec);
                if (r != table[i].result || usec != (r == 0 ? table[i].seconds * USEC_PER_SEC : 42))
                        fail_msg("%s, \"%s\": %d, %llu", table[i].zone, table[i].text, r,
                                 (unsigned long long)(usec / USEC_PER_SEC));
        }
}

static void test_timestamp(void **state)
{
        static const struct timestamp_case table[] = {
                {"UTC", MONDAY, "2016-11-30 18:00", 0, 1480528800},
                {"UTC", MONDAY, "2016-11-30 18:00:30", 0, 1480528830},
                {"UTC", MONDAY, "2016-11-30T18:00", 0, 1480528800},
                {"UTC", MONDAY, "2016-11-30T18:00:30Z", 0, 1480528830},
                {"CET-1", MONDAY, "2016-11-30 18:00", 0, 1480525200},
                {"CET-1", MONDAY, "2016-11-30 18:00Z", 0, 1480528800},
                {"CET-1", MONDAY, "2016-11-30 18:00 UTC", 0, 1480528800},
                {"CET-1", MONDAY, "2016-11-30T18:00+02:00", 0, 1480521600},
                {"CET-1", MONDAY, "2016-11-30 18:00 -05:30", 0, 1480548600},
                {"CET-1", MONDAY, "2017-03-01 00:00", 0, 1488322800},
                {"UTC", MONDAY, "18:00", 0, 1480356000},        /* today */
                {"UTC", MONDAY, "17:00", 0, 1480438800},        /* not now but tomorrow */
                {"UTC", MONDAY, "16:59:59", 0, 1480438799},     /* tomorrow */
                {"UTC", MONDAY + 1, "17:00:01", 0, 1480352401}, /* today */
                {"UTC", MONDAY, " tomorrow 08:00 ", 0, 1480406400},
                {"UTC", MONDAY, "today 23:00", 0, 1480374000},
                {"UTC", MONDAY, "today 12:00", -ERANGE, 0},
                {"UTC", MONDAY, "2016-11-28 17:00", -ERANGE, 0},
                {"UTC", MONDAY, "2016-11-28 17:00:01", 0, 1480352401},
                {"UTC", MONDAY, "1960-01-01 00:00", -ERANGE, 0},
                {"UTC", MONDAY, "0000-01-01 00:00", -ERANGE, 0},
                {"UTC", MONDAY, "9999-12-31 23:59", 0, 253402300740},
                {"UTC", MONDAY, "2016-11-30", -EINVAL, 0},
                {"UTC", MONDAY, "2016-02-30 12:00", -EINVAL, 0},
                {"UTC", MONDAY, "2017-02-29 12:00Z", -EINVAL, 0},
                {"UTC", MONDAY, "2020-02-29 12:00Z", 0, 1582977600},
                {"UTC", MONDAY, "2016-13-01 12:00", -EINVAL, 0},
                {"UTC", MONDAY, "2016-00-01 12:00", -EINVAL, 0},
                {"UTC", MONDAY, "24:00", -EINVAL, 0},
                {"UTC", MONDAY, "12:60", -EINVAL, 0},
                {"UTC", MONDAY, "12:00:60", -EINVAL, 0},
                {"UTC", MONDAY, "8:00", -EINVAL, 0},
                {"UTC", MONDAY, "18", -EINVAL, 0},
                {"UTC", MONDAY, "18:00 UTC", -EINVAL, 0},
                {"UTC", MONDAY, "tomorrow", -EINVAL, 0},
                {"UTC", MONDAY, "tomorrow 8h", -EINVAL, 0},
                {"UTC", MONDAY, "2016-11-30 18:00 CET", -EINVAL, 0},
                {"UTC", MONDAY, "2016-11-30 18:00+1:00", -EINVAL, 0},
                {"UTC", MONDAY, "2016-11-30 18:00 +99:00", -EINVAL, 0},
                {"UTC", MONDAY, "2016-11-30T 18:00", -EINVAL, 0},
                {"UTC", MONDAY, "16-11-30 18:00", -EINVAL, 0},
                {"UTC", MONDAY, "@1480528800", -EINVAL, 0},
                {"UTC", MONDAY, "", -EINVAL, 0},
                {"UTC", MONDAY, "18:00 tomorrow", -EINVAL, 0},
        };

        (void)state;
        check_timestamps(table, ELEMENTSOF(table));
        assert_int_equal(timestamp_parse(NULL, MONDAY, &(uint64_t){0}), -EINVAL);
}

#define BERLIN "CET-1CEST,M3.5.0,M10.5.0/3"
#define LORD_HOWE "LHST-10:30LHDT-11,M10.1.0,M4.1.0" /* moves by half an hour */

static void test_clock_changes(void **state)
{
        /* In Berlin clocks went from 02:00 to 03:00 on 2017-03-26, from 03:00 to 02:00 on 2017-10-29. */
        static const struct timestamp_case table[] = {
                {BERLIN, MONDAY, "2017-03-26 01:59", 0, 1490489940},
                {BERLIN, MONDAY, "2017-03-26 02:30", -EINVAL, 0},
                {BERLIN, MONDAY, "2017-03-26 03:00", 0, 1490490000},
                {BERLIN, MONDAY, "2017-10-29 02:30", 0, 1509240600}, /* the second of the two */
                {BERLIN, MONDAY, "2017-10-29 01:30", 0, 1509233400},
                {BERLIN, MONDAY, "2017-10-29 03:30", 0, 1509244200},
                /* Bare times of day take the next moment the clock shows them: the first of two… */
                {BERLIN, UINT64_C(1509233400) * USEC_PER_SEC, "02:30", 0, 1509237000},
                /* …and, after that one, the second; */
                {BERLIN, UINT64_C(1509237000) * USEC_PER_SEC, "02:30", 0, 1509240600},
                /* and the next day, where they are skipped. */
                {BERLIN, UINT64_C(1490486400) * USEC_PER_SEC, "02:30", 0, 1490574600},
                {BERLIN, UINT64_C(1490486400) * USEC_PER_SEC, "today 02:30", -EINVAL, 0},
                {BERLIN, UINT64_C(1490439600) * USEC_PER_SEC, "tomorrow 12:00", 0, 1490522400},
                {LORD_HOWE, MONDAY, "2017-10-01 02:15", -EINVAL, 0},
                {LORD_HOWE, MONDAY, "2017-10-01 02:30", 0, 1506785400},
                {LORD_HOWE, MONDAY, "2017-04-02 01:45", 0, 1491059700}, /* the second */
        };

        (void)state;
        check_timestamps(table, ELEMENTSOF(table));
}

static void test_format(void **state)
{
        static const struct {
                uint64_t usec;
                const char *rounded, *exact;
        } table[] = {
                {0, "0s", ""},
                {USEC_PER_SEC - 1, "0s", ""},
                {12 * USEC_PER_SEC + 1, "12s", "12s"},
                {8 * USEC_PER_HOUR - 1, "7h 59min", "7h 59min 59s"},
                {8 * USEC_PER_HOUR, "8h", "8h"},
                {3 * USEC_PER_DAY + 2 * USEC_PER_HOUR + 59 * USEC_PER_MINUTE, "3d 2h", "3d 2h 59min"},
                {3 * USEC_PER_DAY + 59 * USEC_PER_SEC, "3d", "3d 59s"},
                {36 * USEC_PER_HOUR, "1d 12h", "1d 12h"},
                {TIMESPAN_MAX, "3652d", "3652d"},
                {UINT64_MAX, "213503982d 8h", "213503982d 8h 1min 49s"},
        };
        char buf[64], small[4];

        (void)state;
        for (size_t i = 0; i < ELEMENTSOF(table); i++) {
                assert_string_equal(timespan_format(table[i].usec, buf, sizeof(buf)), table[i].rounded);
                assert_string_equal(timespan_format_exact(table[i].usec, buf, sizeof(buf)), table[i].exact);
        }
        assert_true(strlen(timespan_format(TIMESPAN_MAX - USEC_PER_SEC, small, sizeof(small))) <
                    sizeof(small));
}

static void test_exact_reads_back(void **state)
{
        uint64_t seed = 1;
        char buf[64];

        (void)state;
        for (int i = 0; i < 10000; i++) {
                uint64_t usec, back = 0;

                seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
                usec = (1 + (seed >> 20) % (TIMESPAN_MAX / USEC_PER_SEC)) * USEC_PER_SEC;
                assert_int_equal(timespan_parse(timespan_format_exact(usec, buf, sizeof(buf)), &back), 0);
                assert_true(back == usec);
        }
}

static void test_format_timestamp(void **state)
{
        char buf[64];

        (void)state;
        setenv("TZ", BERLIN, 1);
        assert_string_equal(timestamp_format(1480525200 * USEC_PER_SEC, buf, sizeof(buf)),
                            "Wed 2016-11-30 18:00:00 CET");
        assert_string_equal(timestamp_format_rfc3339(1480525200 * USEC_PER_SEC, buf, sizeof(buf)),
                            "2016-11-30T18:00:00+01:00");
        setenv("TZ", "NST3:30", 1);
        assert_string_equal(timestamp_format_rfc3339(1480525200 * USEC_PER_SEC, buf, sizeof(buf)),
                            "2016-11-30T13:30:00-03:30");
        setenv("TZ", "UTC", 1);
        assert_string_equal(timestamp_format_rfc3339(0, buf, sizeof(buf)), "1970-01-01T00:00:00+00:00");
        assert_string_equal(timestamp_format(0, buf, 5), "");
}

/* What is written into JSON can be given to --until. */
static void test_rfc3339_reads_back(void **state)
{
        uint64_t back = 0;
        char buf[64];

        (void)state;
        setenv("TZ", "NST3:30", 1);
        assert_int_equal(timestamp_parse(timestamp_format_rfc3339(MONDAY + USEC_PER_SEC, buf, sizeof(buf)),
                                         MONDAY, &back),
                         0);
        assert_true(back == MONDAY + USEC_PER_SEC);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_parse),
                cmocka_unit_test(test_timestamp),
                cmocka_unit_test(test_clock_changes),
                cmocka_unit_test(test_format),
                cmocka_unit_test(test_exact_reads_back),
                cmocka_unit_test(test_format_timestamp),
                cmocka_unit_test(test_rfc3339_reads_back),
        };

        return cmocka_run_group_tests_name("timespan", tests, NULL, NULL);
}
