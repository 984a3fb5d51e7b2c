// SPDX-License-Identifier: GPL-2.0-or-later
#include "lines.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

int lines_next(struct lines *l, struct line *ret)
{
        const char *newline, *space;
        size_t size;

        if (l->left == 0)
                return 0;
        newline = memchr(l->at, '\n', l->left);
        if (!newline)
                return -EBADMSG;
        size = (size_t)(newline - l->at);
        space = memchr(l->at, ' ', size);
        *ret = (struct line){.keyword = l->at, .keyword_size = size};
        if (space) {
                ret->keyword_size = (size_t)(space - l->at);
                ret->value = space + 1;
                ret->value_size = size - ret->keyword_size - 1;
        }
        l->at += size + 1;
        l->left -= size + 1;
        return 1;
}

bool line_is(const struct line *line, const char *keyword)
{
        return strlen(keyword) == line->keyword_size &&
               memcmp(line->keyword, keyword, line->keyword_size) == 0;
}

/* Only the spelling the writer uses: no sign, no space, no leading zero. */
static int parse_number(const char *text, size_t size, uint64_t *ret)
{
        uint64_t number = 0;

        if (size == 0 || (size > 1 && text[0] == '0'))
                return -EBADMSG;
        for (size_t i = 0; i < size; i++) {
                if (text[i] < '0' || text[i] > '9' || __builtin_mul_overflow(number, 10, &number) ||
                    __builtin_add_overflow(number, (unsigned)(text[i] - '0'), &number))
                        return -EBADMSG;
        }
        *ret = number;
        return 0;
}

int line_number(const struct line *line, uint64_t *ret)
{
        if (!line->value)
                return -EBADMSG;
        return parse_number(line->value, line->value_size, ret);
}

int line_range(const struct line *line, uint32_t *ret_first, uint32_t *ret_last)
{
        const char *dash = line->value ? memchr(line->value, '-', line->value_size) : NULL;
        size_t first_size = dash ? (size_t)(dash - line->value) : line->value_size;
        uint64_t first, last;

        if (!line->value || parse_number(line->value, first_size, &first) < 0)
                return -EBADMSG;
        last = first;
        if (dash && parse_number(dash + 1, line->value_size - first_size - 1, &last) < 0)
                return -EBADMSG;
        if (first > last || last >= UINT32_MAX)
                return -EBADMSG;
        *ret_first = (uint32_t)first;
        *ret_last = (uint32_t)last;
        return 0;
}

static int hex_digit(char c)
{
        static const char digits[] = "0123456789ABCDEF";
        const char *found = c ? strchr(digits, c) : NULL;

        return found ? (int)(found - digits) : -EBADMSG;
}

static bool must_escape(unsigned char c)
{
        return c <= ' ' || c == '%' || c == 0x7f;
}

/* Into a buffer with room for SIZE bytes and the terminator. */
static int unescape(const char *text, size_t size, char *to)
{
        for (size_t i = 0; i < size; i++) {
                if (text[i] == '%') {
                        int high = i + 2 < size ? hex_digit(text[i + 1]) : -EBADMSG;
                        int low = high >= 0 ? hex_digit(text[i + 2]) : -EBADMSG;

                        if (low < 0 || (high == 0 && low == 0))
                                return -EBADMSG;
                        *to++ = (char)(high * 16 + low);
                        i += 2;
                } else if (must_escape((unsigned char)text[i]))
                        return -EBADMSG;
                else
                        *to++ = text[i];
        }
        *to = '\0';
        return 0;
}

int line_name(const struct line *line, char **ret)
{
        char *name;
        int r;

        if (!line->value)
                return -EBADMSG;
        name = malloc(line->value_size + 1);
        if (!name)
                return -ENOMEM;
        r = unescape(line->value, line->value_size, name);
        if (r < 0) {
                free(name);
                return r;
        }
        *ret = name;
        return 0;
}

/* Faster than fprintf(), which would take longer than finding out what to write: 100,000 lines are common. */
static char *format_number(uint64_t number, char *end)
{
        do {
                *--end = (char)('0' + number % 10);
                number /= 10;
        } while (number > 0);
        return end;
}

static void put(FILE *f, const char *text, size_t size)
{
        fwrite_unlocked(text, 1, size, f);
}

static void put_keyword(FILE *f, const char *keyword)
{
        put(f, keyword, strlen(keyword));
        putc_unlocked(' ', f);
}

void line_put_number(FILE *f, const char *keyword, uint64_t number)
{
        char digits[24], *end = digits + sizeof(digits), *begin = end;

        *--begin = '\n';
        begin = format_number(number, begin);
        put_keyword(f, keyword);
        put(f, begin, (size_t)(end - begin));
}

void line_put_range(FILE *f, const char *keyword, uint32_t first, uint32_t last)
{
        char digits[32], *end = digits + sizeof(digits), *begin = end;

        if (first == last) {
                line_put_number(f, keyword, first);
                return;
        }
        *--begin = '\n';
        begin = format_number(last, begin);
        *--begin = '-';
        begin = format_number(first, begin);
        put_keyword(f, keyword);
        put(f, begin, (size_t)(end - begin));
}

void line_put_name(FILE *f, const char *keyword, const char *name)
{
        put_keyword(f, keyword);
        for (; *name; name++) {
                if (must_escape((unsigned char)*name))
                        fprintf(f, "%%%02X", (unsigned char)*name);
                else
                        putc_unlocked(*name, f);
        }
        putc_unlocked('\n', f);
}
