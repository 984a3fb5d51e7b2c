/* SPDX-License-Identifier: GPL-2.0-or-later */

/* The record of attempts: one line each, so that a record of a hundred thousand stays small and greppable. */

#include "json-text.h"
#include "store-internal.h"
#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#define ATTEMPTS_VERSION 1
#define ATTEMPTS_NAME_SIZE (32 + sizeof(".json"))

static int attempts_name(const char *id, char ret[ATTEMPTS_NAME_SIZE])
{
        if (!store_id_valid(id))
                return -EINVAL;
        snprintf(ret, ATTEMPTS_NAME_SIZE, "%.32s.json", id);
        return 0;
}

/* ---- writing ---- */

/* JSON's integers are signed. */
static uint64_t capped(uint64_t v)
{
        return v > INT64_MAX ? INT64_MAX : v;
}

/* Numbers and addresses only: nothing here needs quoting, and printing is ten times faster than building a
 * tree. */
static void write_attempt(const struct attempt *a, FILE *f)
{
        char addr[INET6_ADDRSTRLEN] = "", uid[16] = "null";

        inet_ntop(a->family, a->addr, addr, sizeof(addr));
        if (a->uid != ATTEMPT_NO_UID)
                snprintf(uid, sizeof(uid), "%" PRIu32, a->uid);
        fprintf(f, "[%s, \"%s\", %u, %u, %" PRIu64 ", %" PRIu64 "]", uid, addr, a->protocol, a->port,
                capped(a->packets), capped(a->bytes));
}

/* What stands between the braces of an object. */
static void write_attempts(const struct attempts *a, FILE *f)
{
        fprintf(f, "\"packets\": %" PRIu64 ", \"bytes\": %" PRIu64 ", \"attempts\": [\n", capped(a->packets),
                capped(a->bytes));
        for (size_t i = 0; i < a->n; i++) {
                write_attempt(&a->items[i], f);
                fputs(i + 1 < a->n ? ",\n" : "\n", f);
        }
        fputs("]", f);
}

static void write_record(const struct attempts_record *record, FILE *f)
{
        fprintf(f, "{\"version\": %d, ", ATTEMPTS_VERSION);
        write_attempts(&record->earlier, f);
        if (record->last_table[0]) {
                fprintf(f, ", \"last\": {\"table\": \"%s\", ", record->last_table);
                write_attempts(&record->last, f);
                fputs("}", f);
        }
        fputs("}\n", f);
}

int store_save_record(struct store *s, const char *id, const struct attempts_record *record)
{
        _cleanup_free_ char *text = NULL;
        char name[ATTEMPTS_NAME_SIZE];
        size_t size = 0;
        bool failed;
        FILE *f;
        int r;

        r = attempts_name(id, name);
        if (r < 0)
                return r;
        f = open_memstream(&text, &size);
        if (!f)
                return -ENOMEM;
        write_record(record, f);
        failed = ferror(f);
        if (fclose(f) != 0 || failed)
                return -ENOMEM;
        if (size > ATTEMPTS_SIZE_MAX)
                return -EFBIG;
        return file_replace(s->fds[DIR_ATTEMPTS], name, text, size);
}

void attempts_record_clear(struct attempts_record *record)
{
        attempts_clear(&record->earlier);
        attempts_clear(&record->last);
        *record = (struct attempts_record){0};
}

/* ---- reading ---- */

static bool read_number(const json_t *v, uint64_t max, uint64_t *ret)
{
        if (!json_is_integer(v) || json_integer_value(v) < 0 || (uint64_t)json_integer_value(v) > max)
                return false;
        *ret = (uint64_t)json_integer_value(v);
        return true;
}

static bool read_address(const json_t *v, struct attempt *a)
{
        const char *s = json_string_value(v);

        if (!s)
                return false;
        a->family = strchr(s, ':') ? AF_INET6 : AF_INET;
        return inet_pton(a->family, s, a->addr) == 1;
}

static bool read_attempt(const json_t *row, struct attempt *ret)
{
        struct attempt a = {.uid = ATTEMPT_NO_UID};
        uint64_t uid = ATTEMPT_NO_UID, protocol, port;

        if (json_array_size(row) != 6 ||
            (!json_is_null(json_array_get(row, 0)) &&
             !read_number(json_array_get(row, 0), ATTEMPT_NO_UID - 1, &uid)) ||
            !read_address(json_array_get(row, 1), &a) ||
            !read_number(json_array_get(row, 2), UINT8_MAX, &protocol) ||
            !read_number(json_array_get(row, 3), UINT16_MAX, &port) ||
            !read_number(json_array_get(row, 4), INT64_MAX, &a.packets) ||
            !read_number(json_array_get(row, 5), INT64_MAX, &a.bytes))
                return false;
        a.uid = (uint32_t)uid;
        a.protocol = (uint8_t)protocol;
        a.port = (uint16_t)port;
        *ret = a;
        return true;
}

/* -EBADMSG, -ENOMEM. */
static int attempts_from_json(const json_t *j, struct attempts *ret)
{
        _cleanup_attempts_ struct attempts a = {0};
        const json_t *rows = json_object_get(j, "attempts");

        if (!json_is_array(rows) || !read_number(json_object_get(j, "packets"), INT64_MAX, &a.packets) ||
            !read_number(json_object_get(j, "bytes"), INT64_MAX, &a.bytes))
                return -EBADMSG;
        a.items = calloc(json_array_size(rows) + 1, sizeof(*a.items));
        if (!a.items)
                return -ENOMEM;
        while (a.n < json_array_size(rows)) {
                if (!read_attempt(json_array_get(rows, a.n), &a.items[a.n]))
                        return -EBADMSG;
                a.n++;
        }
        *ret = a;
        a = (struct attempts){0};
        return 0;
}

static bool table_id_valid(const char *id)
{
        const size_t n = id ? strlen(id) : 0;

        return n > 0 && n < TABLE_ID_SIZE && strspn(id, "0123456789abcdef-/") == n;
}

/* Likewise. */
static int record_from_json(const json_t *j, struct attempts_record *ret)
{
        _cleanup_record_ struct attempts_record record = {0};
        const json_t *last = json_object_get(j, "last");
        const char *table = json_string_value(json_object_get(last, "table"));
        uint64_t version;
        int r;

        if (!read_number(json_object_get(j, "version"), INT64_MAX, &version) || version != ATTEMPTS_VERSION ||
            (last && !table_id_valid(table)))
                return -EBADMSG;
        r = attempts_from_json(j, &record.earlier);
        if (r == 0 && last)
                r = attempts_from_json(last, &record.last);
        if (r < 0)
                return r;
        (void)snprintf(record.last_table, sizeof(record.last_table), "%s", last ? table : "");
        *ret = record;
        record = (struct attempts_record){0};
        return 0;
}

int store_load_record(struct store *s, const char *id, struct attempts_record *ret)
{
        _cleanup_free_ char *text = NULL, *why = NULL;
        _cleanup_json_ json_t *j = NULL;
        char name[ATTEMPTS_NAME_SIZE];
        json_error_t error;
        size_t size;
        int r;

        r = attempts_name(id, name);
        if (r < 0)
                return r;
        r = file_read(s->fds[DIR_ATTEMPTS], name, ATTEMPTS_SIZE_MAX, &text, &size, &why);
        if (r == 0) {
                j = json_from_text(text, size, &error);
                if (j)
                        r = record_from_json(j, ret);
                else
                        r = json_error_code(&error) == json_error_out_of_memory ? -ENOMEM : -EBADMSG;
        }
        if (r == -EBADMSG)
                store_set_aside(s, DIR_ATTEMPTS, name, why ? why : "it is not a record of attempts", NULL);
        return r;
}

int store_load_attempts(struct store *s, const char *id, struct attempts *ret)
{
        _cleanup_record_ struct attempts_record record = {0};
        int r = store_load_record(s, id, &record);

        if (r == 0)
                r = attempts_merge(&record.earlier, &record.last);
        if (r < 0)
                return r;
        *ret = record.earlier;
        record.earlier = (struct attempts){0};
        return 0;
}
