/* SPDX-License-Identifier: GPL-2.0-or-later */

/* A saved order. What can be read is written and read as the same again, and none of the arithmetic on its
 * times overflows, whatever the clocks say. Input: the file's text, then perhaps a line of three numbers: the
 * wall clock, the boot clock, a duration. */

#include "fuzz.h"
#include "order.h"
#include "timespan.h"

#include <errno.h>

static json_t *write_order(const struct order *o)
{
        json_t *j = order_to_json(o);

        MUST(j);
        return j;
}

/* What the file said stands in what is written. Texts that are not there are null, profiles have defaults,
 * and an earlier version's point in time had no until_boottime. */
static void must_say(const json_t *file, const struct order *o)
{
        static const char *const keys[] = {
                "version", "id",     "state", "adhoc", "recovered", "ordered_at",      "ordered_boottime",
                "boot_id", "reason", "end",   "until", "severed",   "refused_packets", "refused_bytes"};
        _cleanup_json_ json_t *written = write_order(o);

        for (size_t i = 0; i < ELEMENTSOF(keys); i++)
                MUST(json_equal(json_object_get(file, keys[i]), json_object_get(written, keys[i])));
}

static void read_again(const struct order *o)
{
        _cleanup_json_ json_t *written = write_order(o), *twice = NULL;
        _cleanup_(order_freep) struct order *again = NULL;
        _cleanup_problems_ struct problems problems = {0};

        MUST(order_from_json(written, &again, &problems) == 0);
        twice = write_order(again);
        MUST(json_equal(written, twice));
        MUST(profile_same_block(o->profile, again->profile));
}

static void let_time_pass(struct order *o, uint64_t realtime, uint64_t boottime, uint64_t duration)
{
        /* No clock is ever seen to show 0, or the last half of all times; the bus lets no more be asked for.
         */
        struct now now = {.realtime = 1 + realtime % (ORDER_TIME_MAX / 2),
                          .boottime = 1 + boottime % (ORDER_TIME_MAX / 2)};
        const struct order_time lasting = {.duration = duration % (TIMESPAN_MAX + 1)};
        const struct order_time until = {.until = duration % (INT64_MAX / 2)};

        now.synchronized = duration % 2 == 0;
        memcpy(now.boot_id, o->boot_id, sizeof(now.boot_id));
        order_seen(o, &now);
        (void)order_settle(o, &now);
        (void)order_correct_until(o, &now);
        (void)order_end_is_earlier(o, &lasting, &now);
        memset(now.boot_id, 'f', 32); /* the machine was booted anew */
        order_rebase(o, &now);
        MUST(!order_settle(o, &now) || !order_awaits_clock(o, &now));
        MUST(!order_settle(o, &now));
        MUST(strcmp(o->boot_id, now.boot_id) == 0 || o->end != END_FOR);
        MUST(order_expired(o, &now) == (order_remaining(o, &now) == 0));
        if (order_set_end(o, &until, &now, NULL) == 0)
                MUST(until.until == 0 || o->profile->max_duration > 0 || !order_expired(o, &now));
        if (order_set_end(o, &lasting, &now, NULL) == 0 && lasting.duration > 0 &&
            o->profile->max_duration == 0)
                MUST(order_remaining(o, &now) == lasting.duration);
        read_again(o);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        const uint8_t *end = size > 0 ? memrchr(data, '}', size) : NULL;
        size_t length = end ? (size_t)(end - data) + 1 : size;
        _cleanup_(order_freep) struct order *o = NULL;
        _cleanup_problems_ struct problems problems = {0};
        _cleanup_json_ json_t *j = json_loadb((const char *)data, length, JSON_REJECT_DUPLICATES, NULL);
        _cleanup_free_ char *rest = copy_bytes("", 1);
        unsigned long long numbers[3] = {1, 1, 1};
        int r;

        if (!j)
                return 0;
        r = order_from_json(j, &o, &problems);
        MUST(r == 0 || r == -EBADMSG);
        MUST((r == 0) == (o != NULL) && (r == 0) == (problems.n == 0));
        if (!o)
                return 0;
        must_say(j, o);
        read_again(o);
        if (length < size) {
                free(rest);
                rest = strndup((const char *)data + length, size - length);
                MUST(rest);
                (void)sscanf(rest, "%llu %llu %llu", &numbers[0], &numbers[1], &numbers[2]);
        }
        let_time_pass(o, numbers[0], numbers[1], numbers[2]);
        return 0;
}
