/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Orders in force and finished ones, a file each: what the files are called, writing and reading one. */

#include "json-text.h"
#include "store-internal.h"
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <string.h>

static void order_name(const char *id, char ret[ORDER_NAME_SIZE])
{
        snprintf(ret, ORDER_NAME_SIZE, "%.32s" STORE_SUFFIX, id);
}

static bool order_name_valid(const char *name)
{
        return strspn(name, "0123456789abcdef") == STORE_ID_LENGTH &&
               strcmp(name + STORE_ID_LENGTH, STORE_SUFFIX) == 0;
}

void history_name(uint64_t ended_at, const char *id, char ret[HISTORY_NAME_SIZE])
{
        snprintf(ret, HISTORY_NAME_SIZE, "%0*" PRIu64 "-%.32s" STORE_SUFFIX, STORE_ENDED_DIGITS, ended_at,
                 id);
}

bool history_name_valid(const char *name)
{
        return strspn(name, "0123456789") == STORE_ENDED_DIGITS && name[STORE_ENDED_DIGITS] == '-' &&
               order_name_valid(name + STORE_ENDED_DIGITS + 1);
}

const char *history_name_id(const char *name)
{
        return name + STORE_ENDED_DIGITS + 1;
}

/* ---- saving ---- */

static char *order_text(const struct order *o)
{
        _cleanup_json_ json_t *j = order_to_json(o);

        return j ? json_text(j, JSON_INDENT(2)) : NULL;
}

/* Want of memory may have been one allocation's, of many: once more, rather than to have an order in force
 * that is not on disk. */
static int save(struct store *s, enum store_dir dir, const char *name, const struct order *o)
{
        _cleanup_free_ char *text = order_text(o);

        if (!text)
                text = order_text(o);
        if (!text)
                return -ENOMEM;
        if (strlen(text) > ORDER_SIZE_MAX)
                return -EFBIG;
        return dir == DIR_ORDERS ? store_replace(s, dir, name, text, strlen(text))
                                 : file_replace(s->fds[dir], name, text, strlen(text));
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

        history_name(o->ended_at, o->id, finished);
        r = save(s, DIR_HISTORY, finished, o);
        if (r == 0)
                r = file_remove(s->fds[DIR_ORDERS], in_force);
        return r;
}

bool store_may_hold_order(const struct store *s, const char *id)
{
        char name[ORDER_NAME_SIZE];

        order_name(id, name);
        return faccessat(s->fds[DIR_ORDERS], name, F_OK, AT_SYMLINK_NOFOLLOW) == 0 || errno != ENOENT;
}

int store_take_back_end(struct store *s, const struct order *o, uint64_t ended_at)
{
        char finished[HISTORY_NAME_SIZE];
        int r = o->state == ORDER_ACTIVE ? store_save_order(s, o) : -EINVAL;

        if (r < 0)
                return r; /* whatever says that it has ended stays until something says that it has not */
        history_name(ended_at, o->id, finished);
        return file_remove(s->fds[DIR_HISTORY], finished);
}

/* ---- loading ---- */

/* -EBADMSG with the reason in RET_WHY. */
static int parse_once(const char *text, size_t size, struct order **ret, char **ret_why)
{
        _cleanup_problems_ struct problems problems = {0};
        _cleanup_json_ json_t *j = NULL;
        json_error_t error;
        int r;

        j = json_from_text(text, size, &error);
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

/* A file is not called damaged, and an order with it lost, because there was no memory to read it: jansson
 * says so of some of its allocations only, and of the others that the text is wrong. */
static int parse_order(const char *text, size_t size, struct order **ret, char **ret_why)
{
        int r = parse_once(text, size, ret, ret_why);

        if (r != -EBADMSG && r != -ENOMEM)
                return r;
        free(*ret_why);
        *ret_why = NULL;
        return parse_once(text, size, ret, ret_why);
}

/* Does the file say what its name says? */
static const char *contradiction(enum store_dir dir, const char *name, const struct order *o)
{
        char expected[HISTORY_NAME_SIZE];

        if (dir == DIR_ORDERS)
                order_name(o->id, expected);
        else
                history_name(o->ended_at, o->id, expected);
        if ((dir == DIR_ORDERS) != (o->state == ORDER_ACTIVE))
                return dir == DIR_ORDERS ? "it is of a finished order" : "it is of an order in force";
        return strcmp(name, expected) == 0 ? NULL : "its name does not agree with its contents";
}

/* Somebody's lockdown depends on it: what fails only once is tried again at once. */
static int read_patiently(struct store *s, enum store_dir dir, const char *name, char **ret, size_t *ret_size,
                          char **ret_why)
{
        int r = -EAGAIN;

        for (unsigned i = 0; i < PATIENCE && r < 0 && r != -EBADMSG && r != -ENOMEM; i++)
                r = file_read(s->fds[dir], name, ORDER_SIZE_MAX, ret, ret_size, ret_why);
        return r;
}

int store_load_file(struct store *s, enum store_dir dir, const char *name, struct order **ret,
                    struct problems *problems)
{
        _cleanup_(order_freep) struct order *o = NULL;
        _cleanup_free_ char *text = NULL, *why = NULL;
        const char *contrary;
        size_t size;
        int r;

        r = read_patiently(s, dir, name, &text, &size, &why);
        if (r == 0)
                r = parse_order(text, size, &o, &why);
        if (r == -ENOMEM)
                return r;
        if (r < 0 && r != -EBADMSG) {
                /* Perhaps only for now (EIO, EMFILE): it stays where it is. */
                if (dir == DIR_ORDERS)
                        s->unread++;
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

/* Loads NAMES one after the other. */
static int load_names(struct store *s, char *const *names, size_t n, struct order ***ret, size_t *ret_n,
                      struct problems *problems)
{
        struct order **orders = calloc(n + 1, sizeof(*orders));
        size_t loaded = 0;

        if (!orders)
                return -ENOMEM;
        for (size_t i = 0; i < n; i++) {
                int r = store_load_file(s, DIR_ORDERS, names[i], &orders[loaded], problems);

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

void store_drop_foreign(struct store *s, enum store_dir dir, char **names, size_t *n,
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

int store_load_orders(struct store *s, struct order ***ret, size_t *ret_n, struct problems *problems)
{
        char **names;
        size_t n;
        int r = -EAGAIN;

        s->unread = 0;
        for (unsigned i = 0; i < PATIENCE && r < 0 && r != -ENOMEM; i++)
                r = file_list(s->fds[DIR_ORDERS], &names, &n);
        if (r < 0)
                return r;
        store_drop_foreign(s, DIR_ORDERS, names, &n, order_name_valid, problems);
        if (n > 0)
                qsort(names, n, sizeof(*names), compare_names);
        r = load_names(s, names, n, ret, ret_n, problems);
        if (r == 0 && *ret_n > 0)
                store_drop_false_ends(s);
        names_free(names, n);
        return r;
}

size_t store_unread_orders(const struct store *s)
{
        return s->unread;
}
