/* SPDX-License-Identifier: GPL-2.0-or-later */

/* An order as JSON, "version": 1. All times are microseconds, as in struct order. */

#include "json-text.h"
#include "order.h"
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdarg.h>
#include <string.h>

#define ORDER_VERSION 1

static const char *const end_names[] = {[END_NEVER] = "never", [END_FOR] = "for", [END_UNTIL] = "until"};

/* ---- writing ---- */

static json_t *text_to_json(const char *text)
{
        return text ? json_string_lenient(text) : json_null();
}

static json_t *number_to_json(uint64_t v)
{
        return json_integer(v > INT64_MAX ? INT64_MAX : (json_int_t)v);
}

static json_t *caller_to_json(const struct caller *c)
{
        if (c->uid == CALLER_NOBODY)
                return json_null();
        return json_pack("{s:I, s:i, s:o}", "uid", (json_int_t)c->uid, "pid", c->pid, "name",
                         text_to_json(c->name));
}

static int add_end_of_life(json_t *j, const struct order *o)
{
        if (o->state == ORDER_ACTIVE)
                return 0;
        return json_object_set_new(j, "ended_at", number_to_json(o->ended_at)) |
               json_object_set_new(j, "ended_by", caller_to_json(&o->ended_by)) |
               json_object_set_new(j, "end_reason", text_to_json(o->end_reason));
}

json_t *order_to_json(const struct order *o)
{
        _cleanup_json_ json_t *j = json_object();
        int r;

        /* json_object_set_new() takes what it is given also when it fails, and fails for NULL. */
        r = json_object_set_new(j, "version", json_integer(ORDER_VERSION)) |
            json_object_set_new(j, "id", text_to_json(o->id)) |
            json_object_set_new(j, "state", text_to_json(order_state_to_string(o->state))) |
            json_object_set_new(j, "adhoc", json_boolean(o->adhoc)) |
            json_object_set_new(j, "recovered", json_boolean(o->recovered)) |
            json_object_set_new(j, "ordered_at", number_to_json(o->ordered_at)) |
            json_object_set_new(j, "ordered_boottime", json_integer(o->ordered_boottime)) |
            json_object_set_new(j, "seen_boottime", number_to_json(o->seen_boottime)) |
            json_object_set_new(j, "boot_id", text_to_json(o->boot_id)) |
            json_object_set_new(j, "ordered_by", caller_to_json(&o->ordered_by)) |
            json_object_set_new(j, "reason", text_to_json(o->reason)) |
            json_object_set_new(j, "end", text_to_json(end_names[o->end])) |
            json_object_set_new(j, "until", number_to_json(o->until)) |
            json_object_set_new(j, "until_boottime", number_to_json(o->until_boottime)) |
            json_object_set_new(j, "until_synchronized", json_boolean(o->until_synchronized)) |
            json_object_set_new(j, "off_uncounted", json_boolean(o->off_uncounted)) |
            json_object_set_new(j, "confirm_until", number_to_json(o->confirm_until)) |
            json_object_set_new(j, "confirm_until_boottime", number_to_json(o->confirm_until_boottime)) |
            json_object_set_new(j, "severed", number_to_json(o->severed)) |
            json_object_set_new(j, "sessions_ended", number_to_json(o->sessions_ended)) |
            json_object_set_new(j, "refused_packets", number_to_json(o->refused_packets)) |
            json_object_set_new(j, "refused_bytes", number_to_json(o->refused_bytes)) |
            add_end_of_life(j, o) | json_object_set_new(j, "profile", profile_to_json(o->profile));
        return r == 0 ? TAKE_PTR(j) : NULL;
}

/* ---- reading ---- */

__attribute__((format(printf, 2, 3))) static int damaged(struct problems *problems, const char *format, ...)
{
        _cleanup_free_ char *text = NULL;
        va_list ap;
        int r;

        va_start(ap, format);
        r = vasprintf(&text, format, ap);
        va_end(ap);
        if (r < 0) {
                text = NULL;
                return -ENOMEM;
        }
        problems_add(problems, "%s", text);
        return -EBADMSG;
}

static int read_number(const json_t *j, const char *key, int64_t min, int64_t max, int64_t *ret,
                       struct problems *problems)
{
        const json_t *v = json_object_get(j, key);

        if (!v)
                return damaged(problems, "\"%s\" is missing", key);
        if (!json_is_integer(v))
                return damaged(problems, "\"%s\" is not a whole number", key);
        if (json_integer_value(v) < min || json_integer_value(v) > max)
                return damaged(problems, "\"%s\" is out of range: %" JSON_INTEGER_FORMAT, key,
                               json_integer_value(v));
        *ret = json_integer_value(v);
        return 0;
}

static int read_u64(const json_t *j, const char *key, uint64_t *ret, struct problems *problems)
{
        int64_t v;
        int r;

        r = read_number(j, key, 0, INT64_MAX, &v, problems);
        if (r == 0)
                *ret = (uint64_t)v;
        return r;
}

/* Added later: an order saved before that has none. */
static int read_sessions_ended(const json_t *j, uint64_t *ret, struct problems *problems)
{
        return json_object_get(j, "sessions_ended") ? read_u64(j, "sessions_ended", ret, problems) : 0;
}

static int read_time(const json_t *j, const char *key, uint64_t *ret, struct problems *problems)
{
        int64_t v;
        int r;

        r = read_number(j, key, 0, ORDER_TIME_MAX, &v, problems);
        if (r == 0)
                *ret = (uint64_t)v;
        return r;
}

static int read_bool(const json_t *j, const char *key, bool *ret, struct problems *problems)
{
        const json_t *v = json_object_get(j, key);

        if (!json_is_boolean(v))
                return damaged(problems, "\"%s\" is %s", key, v ? "neither true nor false" : "missing");
        *ret = json_is_true(v);
        return 0;
}

/* A string that must be there. */
static int read_string(const json_t *j, const char *key, const char **ret, struct problems *problems)
{
        const json_t *v = json_object_get(j, key);

        if (!json_is_string(v))
                return damaged(problems, "\"%s\" is %s", key, v ? "not a string" : "missing");
        *ret = json_string_value(v);
        return 0;
}

/* A string or null, copied. */
static int read_text(const json_t *j, const char *key, char **ret, struct problems *problems)
{
        const json_t *v = json_object_get(j, key);
        char *copy;

        if (json_is_null(v))
                return 0;
        if (!json_is_string(v))
                return damaged(problems, "\"%s\" is %s", key, v ? "neither a string nor null" : "missing");
        copy = strdup(json_string_value(v));
        if (!copy)
                return -ENOMEM;
        free(*ret);
        *ret = copy;
        return 0;
}

static int read_hex_id(const json_t *j, const char *key, char ret[33], struct problems *problems)
{
        const char *s = NULL;
        int r;

        r = read_string(j, key, &s, problems);
        if (r < 0)
                return r;
        if (strlen(s) != 32 || strspn(s, "0123456789abcdef") != 32)
                return damaged(problems, "\"%s\" is not 32 lower-case hex digits", key);
        memcpy(ret, s, 33);
        return 0;
}

static int read_caller(const json_t *j, const char *key, struct caller *c, struct problems *problems)
{
        const json_t *v = json_object_get(j, key);
        int64_t uid, pid;
        int r;

        if (json_is_null(v)) {
                c->uid = CALLER_NOBODY;
                return 0;
        }
        if (!json_is_object(v))
                return damaged(problems, "\"%s\" is %s", key, v ? "neither an object nor null" : "missing");
        if ((r = read_number(v, "uid", 0, CALLER_NOBODY - INT64_C(1), &uid, problems)) < 0 ||
            (r = read_number(v, "pid", 0, INT_MAX, &pid, problems)) < 0 ||
            (r = read_text(v, "name", &c->name, problems)) < 0)
                return r;
        c->uid = (uint32_t)uid;
        c->pid = (int)pid;
        return 0;
}

static int read_state(const json_t *j, struct order *o, struct problems *problems)
{
        const char *s = NULL;
        int r;

        r = read_string(j, "state", &s, problems);
        if (r < 0)
                return r;
        for (enum order_state state = ORDER_ACTIVE; state <= ORDER_EXPIRED; state++)
                if (strcmp(s, order_state_to_string(state)) == 0) {
                        o->state = state;
                        return 0;
                }
        return damaged(problems, "\"state\" is none of active, lifted, expired");
}

static int read_end(const json_t *j, struct order *o, struct problems *problems)
{
        const char *s = NULL;
        size_t end = 0;
        int r;

        if ((r = read_string(j, "end", &s, problems)) < 0 ||
            (r = read_time(j, "until", &o->until, problems)) < 0 ||
            (r = read_time(j, "until_boottime", &o->until_boottime, problems)) < 0)
                return r;
        while (end < ELEMENTSOF(end_names) && strcmp(s, end_names[end]) != 0)
                end++;
        if (end == ELEMENTSOF(end_names))
                return damaged(problems, "\"end\" is none of never, for, until");
        o->end = (enum order_end)end;
        if ((o->end == END_NEVER) != (o->until == 0))
                return damaged(problems, "\"end\" and \"until\" contradict each other");
        if ((o->end == END_FOR && o->until_boottime == 0) || (o->end == END_NEVER && o->until_boottime != 0))
                return damaged(problems, "\"end\" and \"until_boottime\" contradict each other");
        return 0;
}

/* What was added later. Files of an earlier version do not say how long it was seen in force, nor by what
 * clock: not at all, and a clock that is not believed. */
static int read_measured(const json_t *j, struct order *o, struct problems *problems)
{
        const uint64_t begun = o->ordered_boottime > 0 ? (uint64_t)o->ordered_boottime : 0;
        int r;

        if (json_object_get(j, "seen_boottime")) {
                if ((r = read_time(j, "seen_boottime", &o->seen_boottime, problems)) < 0 ||
                    (r = read_bool(j, "until_synchronized", &o->until_synchronized, problems)) < 0 ||
                    (r = read_bool(j, "off_uncounted", &o->off_uncounted, problems)) < 0)
                        return r;
        } else {
                o->seen_boottime = begun;
        }
        if (o->end == END_UNTIL && o->until_boottime == 0) {
                const uint64_t whole = o->until > o->ordered_at ? o->until - o->ordered_at : 0;

                o->until_boottime = whole < ORDER_TIME_MAX - begun ? begun + whole : ORDER_TIME_MAX;
        }
        return 0;
}

/* Files of an earlier version have none. */
static int read_confirmation(const json_t *j, struct order *o, struct problems *problems)
{
        int r;

        if (!json_object_get(j, "confirm_until"))
                return 0;
        if ((r = read_time(j, "confirm_until", &o->confirm_until, problems)) < 0 ||
            (r = read_time(j, "confirm_until_boottime", &o->confirm_until_boottime, problems)) < 0)
                return r;
        if ((o->confirm_until == 0) != (o->confirm_until_boottime == 0))
                return damaged(problems,
                               "\"confirm_until\" and \"confirm_until_boottime\" contradict each other");
        return 0;
}

static int read_end_of_life(const json_t *j, struct order *o, struct problems *problems)
{
        int r;

        if (o->state == ORDER_ACTIVE)
                return 0;
        if ((r = read_time(j, "ended_at", &o->ended_at, problems)) < 0 ||
            (r = read_caller(j, "ended_by", &o->ended_by, problems)) < 0)
                return r;
        return read_text(j, "end_reason", &o->end_reason, problems);
}

static int read_life(const json_t *j, struct order *o, struct problems *problems)
{
        int r;

        if ((r = read_hex_id(j, "id", o->id, problems)) < 0 || (r = read_state(j, o, problems)) < 0 ||
            (r = read_bool(j, "adhoc", &o->adhoc, problems)) < 0 ||
            (r = read_bool(j, "recovered", &o->recovered, problems)) < 0 ||
            (r = read_time(j, "ordered_at", &o->ordered_at, problems)) < 0 ||
            (r = read_number(j, "ordered_boottime", -2 * ORDER_TIME_MAX, ORDER_TIME_MAX, &o->ordered_boottime,
                             problems)) < 0 ||
            (r = read_hex_id(j, "boot_id", o->boot_id, problems)) < 0 ||
            (r = read_caller(j, "ordered_by", &o->ordered_by, problems)) < 0 ||
            (r = read_text(j, "reason", &o->reason, problems)) < 0)
                return r;
        return 0;
}

static int read_version(const json_t *j, struct problems *problems)
{
        int64_t version;
        int r;

        if (!json_is_object(j))
                return damaged(problems, "it is not a JSON object");
        r = read_number(j, "version", INT64_MIN, INT64_MAX, &version, problems);
        if (r < 0)
                return r;
        if (version != ORDER_VERSION)
                return damaged(problems, "it has version %" PRIi64 ", this lockdownd reads version %d",
                               version, ORDER_VERSION);
        return 0;
}

int order_from_json(const json_t *j, struct order **ret, struct problems *problems)
{
        _cleanup_(order_freep) struct order *o = NULL;
        _cleanup_problems_ struct problems ignored = {0};
        const json_t *profile;
        int r;

        if (!problems)
                problems = &ignored;
        r = read_version(j, problems);
        if (r < 0)
                return r;
        o = calloc(1, sizeof(*o));
        if (!o)
                return -ENOMEM;
        o->ended_by.uid = CALLER_NOBODY;

        if ((r = read_life(j, o, problems)) < 0 || (r = read_end(j, o, problems)) < 0 ||
            (r = read_measured(j, o, problems)) < 0 || (r = read_confirmation(j, o, problems)) < 0 ||
            (r = read_u64(j, "severed", &o->severed, problems)) < 0 ||
            (r = read_sessions_ended(j, &o->sessions_ended, problems)) < 0 ||
            (r = read_u64(j, "refused_packets", &o->refused_packets, problems)) < 0 ||
            (r = read_u64(j, "refused_bytes", &o->refused_bytes, problems)) < 0 ||
            (r = read_end_of_life(j, o, problems)) < 0)
                return r;

        profile = json_object_get(j, "profile");
        if (!profile)
                return damaged(problems, "\"profile\" is missing");
        r = profile_from_json(profile, &o->profile, problems);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(o);
        return 0;
}
