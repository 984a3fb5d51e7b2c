/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Orders in force and finished ones, a file each. */

#include "store-internal.h"
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <string.h>

#define ID_LENGTH 32
#define ENDED_DIGITS 20
#define SUFFIX ".json"
#define ORDER_NAME_SIZE (ID_LENGTH + sizeof(SUFFIX))
#define HISTORY_NAME_SIZE (ENDED_DIGITS + 1 + ORDER_NAME_SIZE)

static void order_name(const char *id, char ret[ORDER_NAME_SIZE])
{
        snprintf(ret, ORDER_NAME_SIZE, "%.32s" SUFFIX, id);
}

static void history_name(const struct order *o, char ret[HISTORY_NAME_SIZE])
{
        snprintf(ret, HISTORY_NAME_SIZE, "%0*" PRIu64 "-%.32s" SUFFIX, ENDED_DIGITS, o->ended_at, o->id);
}

static bool order_name_valid(const char *name)
{
        return strspn(name, "0123456789abcdef") == ID_LENGTH && strcmp(name + ID_LENGTH, SUFFIX) == 0;
}

static bool history_name_valid(const char *name)
{
        return strspn(name, "0123456789") == ENDED_DIGITS && name[ENDED_DIGITS] == '-' &&
               order_name_valid(name + ENDED_DIGITS + 1);
}

/* "ID.json" at the end of a valid history name. */
static const char *id_part(const char *name)
{
        return name + ENDED_DIGITS + 1;
}

/* ---- saving ---- */

static int save(struct store *s, enum store_dir dir, const char *name, const struct order *o)
{
        _cleanup_json_ json_t *j = order_to_json(o);
        _cleanup_free_ char *text = j ? json_dumps(j, JSON_INDENT(2)) : NULL;

        if (!text)
                return -ENOMEM;
        if (strlen(text) > ORDER_SIZE_MAX)
                return -EFBIG;
        return file_replace(s->fds[dir], name, text, strlen(text));
}

/* An end that was saved, taken back and saved again later leaves a file under another time. */
static int remove_older_ends(struct store *s, const char *keep)
{
        char **names;
        size_t n;
        int r;

        r = file_list(s->fds[DIR_HISTORY], &names, &n);
        if (r < 0)
                return r;
        for (size_t i = 0; i < n; i++)
                if (history_name_valid(names[i]) && strcmp(id_part(names[i]), id_part(keep)) == 0 &&
                    strcmp(names[i], keep) != 0)
                        r = r < 0 ? r : file_remove(s->fds[DIR_HISTORY], names[i]);
        names_free(names, n);
        return r;
}

int store_save_order(struct store *s, const struct order *o)
{
        char in_force[ORDER_NAME_SIZE], finished[HISTORY_NAME_SIZE];
        int r;

        if (!store_id_valid(o->id))
                return -EINVAL;
        order_name(o->id, in_force);
        if (o->state == ORDER_ACTIVE)
                return save(s, DIR_ORDERS, in_force, o);

        history_name(o, finished);
        r = save(s, DIR_HISTORY, finished, o);
        if (r == 0)
                r = remove_older_ends(s, finished);
        if (r == 0)
                r = file_remove(s->fds[DIR_ORDERS], in_force);
        return r;
}

/* ---- loading ---- */

/* -EBADMSG with the reason in RET_WHY. */
static int parse_order(const char *text, size_t size, struct order **ret, char **ret_why)
{
        _cleanup_problems_ struct problems problems = {0};
        _cleanup_json_ json_t *j = NULL;
        json_error_t error;
        int r;

        j = json_loadb(text, size, JSON_REJECT_DUPLICATES, &error);
        if (!j && json_error_code(&error) == json_error_out_of_memory)
                return -ENOMEM;
        if (!j)
                r = asprintf(ret_why, "it is not JSON (line %d: %s)", error.line, error.text) < 0 ? -ENOMEM
                                                                                                  : -EBADMSG;
        else
                r = order_from_json(j, ret, &problems);
        if (j && r == -EBADMSG) {
                *ret_why = strdup(problems.n > 0 ? problems.items[0] : "its contents make no sense");
                if (!*ret_why)
                        r = -ENOMEM;
        }
        if (r == -ENOMEM)
                *ret_why = NULL;
        return r;
}

/* Does the file say what its name says? */
static const char *contradiction(enum store_dir dir, const char *name, const struct order *o)
{
        char expected[HISTORY_NAME_SIZE];

        if (dir == DIR_ORDERS)
                order_name(o->id, expected);
        else
                history_name(o, expected);
        if ((dir == DIR_ORDERS) != (o->state == ORDER_ACTIVE))
                return dir == DIR_ORDERS ? "it is of a finished order" : "it is of an order in force";
        return strcmp(name, expected) == 0 ? NULL : "its name does not agree with its contents";
}

/* 1: an order; 0: none, and PROBLEMS says why; -ENOMEM. */
static int load_order(struct store *s, enum store_dir dir, const char *name, struct order **ret,
                      struct problems *problems)
{
        _cleanup_(order_freep) struct order *o = NULL;
        _cleanup_free_ char *text = NULL, *why = NULL;
        const char *contrary;
        size_t size;
        int r;

        r = file_read(s->fds[dir], name, ORDER_SIZE_MAX, &text, &size, &why);
        if (r == 0)
                r = parse_order(text, size, &o, &why);
        if (r == -ENOMEM)
                return r;
        if (r < 0 && r != -EBADMSG) {
                /* Perhaps only for now (EIO, EMFILE): it stays where it is. */
                problems_add(problems, "%s/%s cannot be read: %s", store_dir_name(dir), name, strerror(-r));
                return 0;
        }
        contrary = o ? contradiction(dir, name, o) : why ? why : "its file system says it is damaged";
        if (contrary) {
                store_set_aside(s, dir, name, contrary, problems);
                return 0;
        }
        *ret = TAKE_PTR(o);
        return 1;
}

static void free_orders(struct order **orders, size_t n)
{
        for (size_t i = 0; i < n; i++)
                order_free(orders[i]);
        free(orders);
}

/* Is there a file in orders/ for this history name? Then its end was taken back, or never completed. */
static bool still_in_force(struct store *s, const char *name)
{
        return faccessat(s->fds[DIR_ORDERS], id_part(name), F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

/* Loads NAMES one after the other, at most LIMIT. */
static int load_names(struct store *s, enum store_dir dir, char *const *names, size_t n, size_t limit,
                      struct order ***ret, size_t *ret_n, struct problems *problems)
{
        struct order **orders = calloc((n < limit ? n : limit) + 1, sizeof(*orders));
        size_t loaded = 0;

        if (!orders)
                return -ENOMEM;
        for (size_t i = 0; i < n && loaded < limit; i++) {
                int r = 0;

                if (dir == DIR_ORDERS || !still_in_force(s, names[i]))
                        r = load_order(s, dir, names[i], &orders[loaded], problems);
                if (r < 0) {
                        free_orders(orders, loaded);
                        return r;
                }
                loaded += (size_t)r;
        }
        *ret = orders;
        *ret_n = loaded;
        return 0;
}

/* Sets aside what cannot be an order by its name alone, and takes it off the list. */
static void drop_foreign(struct store *s, enum store_dir dir, char **names, size_t *n,
                         bool (*valid)(const char *name), struct problems *problems)
{
        size_t kept = 0;

        for (size_t i = 0; i < *n; i++) {
                if (valid(names[i])) {
                        names[kept++] = names[i];
                        continue;
                }
                store_set_aside(s, dir, names[i], "lockdownd gives no such name", problems);
                free(names[i]);
        }
        *n = kept;
}

static int compare_names(const void *a, const void *b)
{
        return strcmp(*(char *const *)a, *(char *const *)b);
}

static int compare_newest_first(const void *a, const void *b)
{
        return strcmp(*(char *const *)b, *(char *const *)a);
}

/* All of a directory, at most LIMIT, in the order of COMPARE. */
static int load_directory(struct store *s, enum store_dir dir, bool (*valid)(const char *name),
                          int (*compare)(const void *a, const void *b), size_t limit, struct order ***ret,
                          size_t *ret_n, struct problems *problems)
{
        char **names;
        size_t n;
        int r;

        r = file_list(s->fds[dir], &names, &n);
        if (r < 0)
                return r;
        drop_foreign(s, dir, names, &n, valid, problems);
        if (n > 0)
                qsort(names, n, sizeof(*names), compare);
        r = load_names(s, dir, names, n, limit, ret, ret_n, problems);
        names_free(names, n);
        return r;
}

int store_load_orders(struct store *s, struct order ***ret, size_t *ret_n, struct problems *problems)
{
        return load_directory(s, DIR_ORDERS, order_name_valid, compare_names, SIZE_MAX, ret, ret_n, problems);
}

int store_load_history(struct store *s, size_t limit, struct order ***ret, size_t *ret_n,
                       struct problems *problems)
{
        return load_directory(s, DIR_HISTORY, history_name_valid, compare_newest_first, limit, ret, ret_n,
                              problems);
}

int store_load_finished(struct store *s, const char *id, struct order **ret)
{
        _cleanup_problems_ struct problems problems = {0}; /* told when the whole history is read */
        char **names;
        size_t n;
        int r = file_list(s->fds[DIR_HISTORY], &names, &n), found = 0;

        if (r < 0)
                return r;
        for (size_t i = 0; i < n && found == 0; i++)
                if (history_name_valid(names[i]) && strncmp(id_part(names[i]), id, strlen(id)) == 0 &&
                    !still_in_force(s, names[i]))
                        found = load_order(s, DIR_HISTORY, names[i], ret, &problems);
        names_free(names, n);
        return found < 0 ? found : found == 0 ? -ENOENT : 0;
}
