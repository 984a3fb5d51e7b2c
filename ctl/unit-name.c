/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "units.h"
#include <errno.h>
#include <string.h>

#define UNIT_PREFIX "lockdown@"
#define UNIT_SUFFIX ".service"

static bool is_plain(char c)
{
        return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == ':' ||
               c == '_' || c == '.';
}

int instance_escape(const char *text, char **ret)
{
        static const char hex[] = "0123456789abcdef";
        char *escaped = malloc(strlen(text) * 4 + 1), *to = escaped;

        if (!escaped)
                return -ENOMEM;
        for (const char *c = text; *c; c++) {
                if (*c == '/') {
                        *to++ = '-';
                } else if (is_plain(*c) && !(c == text && *c == '.')) {
                        *to++ = *c;
                } else {
                        *to++ = '\\';
                        *to++ = 'x';
                        *to++ = hex[(unsigned char)*c >> 4];
                        *to++ = hex[*c & 15];
                }
        }
        *to = '\0';
        *ret = escaped;
        return 0;
}

static int hex_value(char c)
{
        if (c >= '0' && c <= '9')
                return c - '0';
        if (c >= 'a' && c <= 'f')
                return c - 'a' + 10;
        return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

int instance_unescape(const char *instance, char **ret)
{
        _cleanup_free_ char *text = malloc(strlen(instance) + 1);
        char *to = text;

        if (!text)
                return -ENOMEM;
        for (const char *c = instance; *c; c++) {
                int high, low;

                if (*c != '\\') {
                        *to++ = *c == '-' ? '/' : *c;
                        continue;
                }
                if (c[1] != 'x' || (high = hex_value(c[2])) < 0 || (low = hex_value(c[3])) < 0 ||
                    high + low == 0)
                        return -EINVAL;
                *to++ = (char)(high << 4 | low);
                c += 3;
        }
        *to = '\0';
        *ret = TAKE_PTR(text);
        return 0;
}

static bool valid_as_it_stands(const char *text)
{
        if (*text == '.' || *text == '-')
                return false;
        for (; *text; text++)
                if (!is_plain(*text) && *text != '-')
                        return false;
        return true;
}

int unit_name_of_profile(const char *profile, char **ret)
{
        _cleanup_free_ char *instance = NULL;
        char *unit = NULL;
        int r = 0;

        if (valid_as_it_stands(profile))
                instance = strdup(profile);
        else
                r = instance_escape(profile, &instance);
        if (r < 0 || !instance)
                return -ENOMEM;
        if (asprintf(&unit, UNIT_PREFIX "%s" UNIT_SUFFIX, instance) < 0)
                return -ENOMEM;
        *ret = unit;
        return 0;
}

int profile_of_instance(const char *instance, char **ret)
{
        char *profile = NULL;
        int r = instance_unescape(instance, &profile);

        if (r < 0)
                return r;
        for (char *c = profile; *c; c++)
                if (*c == '/')
                        *c = '-';
        *ret = profile;
        return 0;
}

int unit_name_parse(const char *unit, char **ret_profile, char **ret_mark)
{
        _cleanup_free_ char *instance = NULL, *profile = NULL;
        size_t length = strlen(unit), around = strlen(UNIT_PREFIX) + strlen(UNIT_SUFFIX);
        int r;

        if (length <= around || strncmp(unit, UNIT_PREFIX, strlen(UNIT_PREFIX)) != 0 ||
            strcmp(unit + length - strlen(UNIT_SUFFIX), UNIT_SUFFIX) != 0)
                return -EINVAL;
        instance = strndup(unit + strlen(UNIT_PREFIX), length - around);
        if (!instance)
                return -ENOMEM;
        r = profile_of_instance(instance, &profile);
        if (r < 0)
                return r;
        if (ret_profile)
                *ret_profile = TAKE_PTR(profile);
        if (ret_mark)
                *ret_mark = TAKE_PTR(instance);
        return 0;
}
