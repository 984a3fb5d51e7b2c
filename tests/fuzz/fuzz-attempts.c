/* SPDX-License-Identifier: GPL-2.0-or-later */

/* A saved record of attempts. What can be read is written and read as the same again. */

// wrap: file_read file_replace store_set_aside

#include "fuzz.h"
#include "store-internal.h"

#include <arpa/inet.h>
#include <errno.h>

#define ID "0123456789abcdef0123456789abcdef"

/* The one file there is. */
static struct {
        char *text;
        size_t size;
        unsigned set_aside;
} file;

int __wrap_file_read(int dir_fd, const char *name, size_t max, char **ret, size_t *ret_size, char **ret_why);
int __wrap_file_read(int dir_fd, const char *name, size_t max, char **ret, size_t *ret_size, char **ret_why)
{
        (void)dir_fd;
        (void)ret_why;
        MUST(strcmp(name, ID ".json") == 0 && file.size <= max);
        *ret = copy_bytes(file.text, file.size);
        *ret_size = file.size;
        return 0;
}

int __wrap_file_replace(int dir_fd, const char *name, const void *data, size_t size);
int __wrap_file_replace(int dir_fd, const char *name, const void *data, size_t size)
{
        (void)dir_fd;
        MUST(strcmp(name, ID ".json") == 0);
        free(file.text);
        file.text = copy_bytes(data, size);
        file.size = size;
        return 0;
}

void __wrap_store_set_aside(struct store *s, enum store_dir dir, const char *name, const char *why,
                            struct problems *problems);
void __wrap_store_set_aside(struct store *s, enum store_dir dir, const char *name, const char *why,
                            struct problems *problems)
{
        (void)s;
        (void)problems;
        MUST(dir == DIR_ATTEMPTS && name && why);
        file.set_aside++;
}

/* Of the same record added twice the sums are the double, and it is in order for people to read. */
static void merge(struct attempts *a, const struct attempts *b)
{
        uint64_t packets = a->packets + b->packets;

        MUST(attempts_merge(a, b) == 0);
        MUST(a->packets == packets);
        for (size_t i = 1; i < a->n; i++) /* for people: by uid, then the most first */
                MUST(a->items[i - 1].uid < a->items[i].uid ||
                     (a->items[i - 1].uid == a->items[i].uid &&
                      a->items[i - 1].packets >= a->items[i].packets));
}

static bool same_attempt(const struct attempt *a, const struct attempt *b)
{
        return a->uid == b->uid && a->family == b->family && memcmp(a->addr, b->addr, sizeof(a->addr)) == 0 &&
               a->protocol == b->protocol && a->port == b->port && a->packets == b->packets &&
               a->bytes == b->bytes;
}

/* The file's rows, column by column. */
static void must_say(const json_t *j, const struct attempts *a)
{
        const json_t *rows = json_object_get(j, "attempts");

        MUST(json_array_size(rows) == a->n);
        for (size_t i = 0; i < a->n; i++) {
                const json_t *row = json_array_get(rows, i), *uid = json_array_get(row, 0);
                const struct attempt *it = &a->items[i];
                char address[INET6_ADDRSTRLEN];

                MUST(json_is_null(uid) ? it->uid == ATTEMPT_NO_UID : it->uid == json_integer_value(uid));
                MUST(inet_ntop(it->family, it->addr, address, sizeof(address)));
                MUST(!strchr(address, ':') == !strchr(json_string_value(json_array_get(row, 1)), ':'));
                MUST(it->protocol == json_integer_value(json_array_get(row, 2)));
                MUST(it->port == json_integer_value(json_array_get(row, 3)));
                MUST(it->packets == (uint64_t)json_integer_value(json_array_get(row, 4)));
                MUST(it->bytes == (uint64_t)json_integer_value(json_array_get(row, 5)));
        }
}

static void must_be_same(const struct attempts *a, const struct attempts *b)
{
        MUST(a->n == b->n && a->packets == b->packets && a->bytes == b->bytes);
        for (size_t i = 0; i < a->n; i++)
                MUST(same_attempt(&a->items[i], &b->items[i]));
}

static void write_and_read(struct store *s, const struct attempts_record *record)
{
        _cleanup_record_ struct attempts_record again = {0};

        MUST(store_save_record(s, ID, record) == 0);
        MUST(store_load_record(s, ID, &again) == 0);
        MUST(strcmp(record->last_table, again.last_table) == 0);
        must_be_same(&record->earlier, &again.earlier);
        must_be_same(&record->last, &again.last);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        _cleanup_record_ struct attempts_record record = {0};
        _cleanup_attempts_ struct attempts sum = {0};
        _cleanup_json_ json_t *j = NULL;
        struct store s = {.fds = {-1, -1, -1, -1, -1}};
        int r;

        free(file.text);
        file.text = copy_bytes(data, size);
        file.size = size;
        file.set_aside = 0;
        r = store_load_record(&s, ID, &record);
        MUST(r == 0 || r == -EBADMSG);
        MUST(file.set_aside == (r < 0) && (r == 0 || !record.earlier.items));
        if (r < 0)
                return 0;
        j = json_loadb((const char *)data, size, 0, NULL);
        must_say(j, &record.earlier);
        if (record.last_table[0])
                must_say(json_object_get(j, "last"), &record.last);
        write_and_read(&s, &record);
        merge(&sum, &record.earlier);
        merge(&sum, &record.last);
        return 0;
}
