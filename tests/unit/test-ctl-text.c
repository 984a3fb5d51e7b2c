/* SPDX-License-Identifier: GPL-2.0-or-later */
// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
// clang-format on

#include "cleanup.h"
#include "failure.h"
#include "text.h"
#include <errno.h>
#include <string.h>

static void test_safe_text(void **state)
{
        static const struct {
                const char *in, *out;
        } cases[] = {
                {"", ""},
                {"Intrusion (IR-42), 100 % \\ \"quoted\"", "Intrusion (IR-42), 100 % \\ \"quoted\""},
                {"Zoë, 中文, 😀", "Zoë, 中文, 😀"},
                {"a\nb\tc\rd", "a\\nb\\tc\\rd"},
                {"\x1b[2J\x07\x7f", "\\x1b[2J\\x07\\x7f"},
                {"\xc2\x9b"
                 "31m",
                 "\\x9b31m"}, /* C1: CSI in one character */
                {"a\xe2\x80\xae"
                 "b\xe2\x81\xa6",
                 "a\\u202eb\\u2066"}, /* turns the direction of writing */
                {"\xe2\x80\xa8", "\\u2028"},
                {"\xef\xbb\xbf", "\\ufeff"},
                {"\xff\xfe", "\\xff\\xfe"},
                {"\xc0\xaf", "\\xc0\\xaf"},          /* overlong '/' */
                {"\xed\xa0\x80", "\\xed\\xa0\\x80"}, /* a surrogate */
                {"\xf4\x90\x80\x80", "\\xf4\\x90\\x80\\x80"},
                {"cut \xe2\x82", "cut \\xe2\\x82"},
        };

        (void)state;
        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                _cleanup_free_ char *safe = safe_text(cases[i].in);

                assert_string_equal(safe, cases[i].out);
        }
}

static void test_utf8_valid(void **state)
{
        (void)state;
        assert_true(utf8_valid(""));
        assert_true(utf8_valid("Zoë 😀"));
        assert_false(utf8_valid("Zo\xeb"));
        assert_false(utf8_valid("\xc3"));
}

static char *captured(void (*put)(FILE *, const char *), const char *text)
{
        char *buffer = NULL;
        size_t size;
        FILE *f = open_memstream(&buffer, &size);

        put(f, text);
        fclose(f);
        return buffer;
}

static void test_safe_lines(void **state)
{
        _cleanup_free_ char *text = captured(put_safe_lines, "table x {\n\tset y\x1b\r\n}\n");

        (void)state;
        assert_string_equal(text, "table x {\n\tset y\\x1b\\r\n}\n");
}

/* The filtered text is still the same document. */
static void test_safe_json(void **state)
{
        _cleanup_json_ json_t *document = json_pack("{s:s}", "reason", "a\x1b\n\x7f\xc2\x9b\xe2\x80\xae ë"),
                              *again = NULL;
        _cleanup_free_ char *text = json_dumps(document, JSON_INDENT(2)),
                            *safe = captured(put_safe_json, text);

        (void)state;
        assert_string_equal(safe, "{\n  \"reason\": \"a\\u001B\\n\\u007f\\u009b\\u202e ë\"\n}");
        again = json_loads(safe, 0, NULL);
        assert_true(json_equal(document, again));
}

static void test_bytes(void **state)
{
        static const struct {
                uint64_t bytes;
                const char *text;
        } cases[] = {{0, "0 bytes"},
                     {1, "1 byte"},
                     {1023, "1023 bytes"},
                     {1024, "1.0 KiB"},
                     {90210, "88.1 KiB"},
                     {1048575, "1.0 MiB"},
                     {UINT64_C(1) << 40, "1.0 TiB"},
                     {UINT64_MAX, "16.0 EiB"}};

        (void)state;
        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                char *buffer = NULL;
                size_t size;
                FILE *f = open_memstream(&buffer, &size);

                put_bytes(f, cases[i].bytes);
                fclose(f);
                assert_string_equal(buffer, cases[i].text);
                free(buffer);
        }
}

/* A daemon of another version may leave a key out or give it another type. */
static void test_fields(void **state)
{
        _cleanup_json_ json_t *o = json_pack("{s:i, s:s, s:b, s:[s], s:n, s:i}", "n", 7, "t", "x", "b", 1,
                                             "a", "y", "null", "minus", -1);

        (void)state;
        assert_int_equal(field_number(o, "n"), 7);
        assert_int_equal(field_number(o, "t"), 0);
        assert_int_equal(field_number(o, "minus"), 0);
        assert_int_equal(field_number(NULL, "n"), 0);
        assert_string_equal(field_text(o, "t"), "x");
        assert_null(field_text(o, "n"));
        assert_null(field_text(o, "missing"));
        assert_true(field_true(o, "b"));
        assert_false(field_true(o, "n"));
        assert_int_equal(json_array_size(field_array(o, "a")), 1);
        assert_null(field_array(o, "t"));
        assert_true(field_given(o, "n"));
        assert_false(field_given(o, "null"));
        assert_false(field_given(o, "missing"));
}

static void test_exit_codes(void **state)
{
        static const struct {
                const char *name;
                int code;
        } cases[] = {
                {ERROR_BAD_REQUEST, 2},      {ERROR_NOT_PERMITTED, 4},   {ERROR_NO_SUCH_PROFILE, 1},
                {ERROR_NO_SUCH_NAME, 1},     {ERROR_NAME_IN_USE, 1},     {ERROR_RESOLVE_FAILED, 1},
                {ERROR_KERNEL, 1},           {ERROR_CONFIGURATION, 1},   {ERROR_FAILED, 1},
                {ERROR_UNREACHABLE, 5},      {SD_BUS_ERROR_NO_REPLY, 5}, {SD_BUS_ERROR_ACCESS_DENIED, 4},
                {SD_BUS_ERROR_NO_MEMORY, 1}, {"org.example.Unknown", 1},
        };

        (void)state;
        for (size_t i = 0; i < ELEMENTSOF(cases); i++)
                assert_int_equal(failure_exit_code(cases[i].name), cases[i].code);
}

static void test_broken_connections(void **state)
{
        static const struct {
                int error, code;
                const char *says;
        } cases[] = {{-ETIMEDOUT, 5, "did not answer in time"},
                     {-ECONNRESET, 5, "closed the connection"},
                     {-ENOTCONN, 5, "closed the connection"},
                     {-EPIPE, 5, "closed the connection"},
                     {-ENOMEM, 1, "Cannot allocate"}};

        (void)state;
        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                _cleanup_failure_ struct failure f = {0};

                assert_int_equal(failure_from_bus(&f, cases[i].error, NULL, "Order"), cases[i].error);
                assert_int_equal(f.code, cases[i].code);
                assert_non_null(strstr(f.message, cases[i].says));
        }
}

static void test_answered_errors(void **state)
{
        _cleanup_failure_ struct failure f = {0};
        sd_bus_error named = SD_BUS_ERROR_MAKE_CONST(ERROR_KERNEL, "no room"),
                     nameless = SD_BUS_ERROR_MAKE_CONST(ERROR_FAILED, ""),
                     method = SD_BUS_ERROR_MAKE_CONST(SD_BUS_ERROR_UNKNOWN_METHOD, "x");

        (void)state;
        failure_from_bus(&f, -EIO, &named, "Order");
        assert_int_equal(f.code, 1);
        assert_string_equal(f.name, ERROR_KERNEL);
        assert_string_equal(f.message, "no room");
        failure_from_bus(&f, -EIO, &nameless, "Order");
        assert_string_equal(f.message, ERROR_FAILED);
        failure_from_bus(&f, -EIO, &method, "Order");
        assert_non_null(strstr(f.message, "does not know Order"));
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_safe_text),       cmocka_unit_test(test_utf8_valid),
                cmocka_unit_test(test_safe_lines),      cmocka_unit_test(test_safe_json),
                cmocka_unit_test(test_bytes),           cmocka_unit_test(test_fields),
                cmocka_unit_test(test_exit_codes),      cmocka_unit_test(test_broken_connections),
                cmocka_unit_test(test_answered_errors),
        };

        return cmocka_run_group_tests_name("ctl-text", tests, NULL, NULL);
}
