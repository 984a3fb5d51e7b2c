// SPDX-License-Identifier: GPL-2.0-or-later
#include "resolver-accounts.h"
#include <ctype.h>
#include <errno.h>
#include <shadow/subid.h>
#include <string.h>

#define NSSWITCH_PATH "/etc/nsswitch.conf"

/* A range of COUNT ids, cut off where the ids end. False if nothing is left of it. */
static bool make_range(uint64_t start, uint64_t count, struct idrange *ret)
{
        if (count == 0 || start >= UINT32_MAX)
                return false;
        if (count > UINT32_MAX - start)
                count = UINT32_MAX - start;
        *ret = (struct idrange){(uint32_t)start, (uint32_t)(start + count - 1)};
        return true;
}

static bool parse_number(const char *text, char end, uint64_t *ret, const char **ret_rest)
{
        char *rest;

        if (!isdigit((unsigned char)text[0]))
                return false;
        errno = 0;
        *ret = strtoull(text, &rest, 10);
        *ret_rest = rest + 1;
        return errno == 0 && *rest == end;
}

/* "owner:start:count"; splits LINE in place. */
static bool parse_line(char *line, struct idrange *ret)
{
        char *colon = strchr(line, ':');
        uint64_t start, count;
        const char *rest;

        line[strcspn(line, "\n")] = '\0';
        if (!colon || colon == line || !parse_number(colon + 1, ':', &start, &rest) ||
            !parse_number(rest, '\0', &count, &rest))
                return false;
        *colon = '\0';
        return make_range(start, count, ret);
}

static int append(struct subids *s, const struct subid *added)
{
        if (s->n == s->capacity) {
                size_t capacity = s->capacity ? s->capacity * 2 : 64;
                struct subid *grown = reallocarray(s->items, capacity, sizeof(*grown));

                if (!grown)
                        return -ENOMEM;
                s->items = grown;
                s->capacity = capacity;
        }
        s->items[s->n++] = *added;
        return 0;
}

static int add_line(struct subids *s, struct accounts *a, char *line, bool is_gid)
{
        struct subid added = {.account = NO_ACCOUNT, .owner = UINT32_MAX, .is_gid = is_gid};
        const char *rest;
        uint64_t owner;

        if (!parse_line(line, &added.range))
                return 0;
        if (parse_number(line, '\0', &owner, &rest)) {
                if (owner >= UINT32_MAX)
                        return 0;
                added.owner = (uint32_t)owner;
        } else {
                int r = accounts_add(a, line, &added.account);

                if (r < 0)
                        return r;
        }
        return append(s, &added);
}

int subids_read(struct subids *s, struct accounts *a, const char *path, bool is_gid)
{
        _cleanup_fclose_ FILE *f = fopen(path, "re");
        _cleanup_free_ char *line = NULL;
        size_t size = 0;

        if (!f)
                return errno == ENOENT ? 0 : -errno;
        while (getline(&line, &size, f) >= 0) {
                int r = add_line(s, a, line, is_gid);

                if (r < 0)
                        return r;
        }
        return ferror(f) ? -EIO : 0;
}

int subids_select(const struct subids *s, const struct accounts *a, const struct idset *uids,
                  struct idset *uid_ranges, struct idset *gid_ranges)
{
        _cleanup_free_ bool *owns = NULL, *selected = NULL;

        if (s->n == 0)
                return 0;
        owns = calloc(a->n + 1, sizeof(*owns));
        selected = calloc(a->n + 1, sizeof(*selected));
        if (!owns || !selected)
                return -ENOMEM;
        for (size_t i = 0; i < s->n; i++)
                if (s->items[i].account != NO_ACCOUNT)
                        owns[s->items[i].account] = true;
        for (size_t i = 0; i < a->n_uids; i++)
                if (owns[a->uids[i].account] && idset_contains(uids, a->uids[i].uid))
                        selected[a->uids[i].account] = true;
        for (size_t i = 0; i < s->n; i++) {
                const struct subid *item = &s->items[i];
                bool wanted = item->account == NO_ACCOUNT ? idset_contains(uids, item->owner)
                                                          : selected[item->account];
                int r;

                if (!wanted)
                        continue;
                r = idset_append(item->is_gid ? gid_ranges : uid_ranges, item->range.first, item->range.last);
                if (r < 0)
                        return r;
        }
        return 0;
}

void subids_clear(struct subids *s)
{
        free(s->items);
        *s = (struct subids){0};
}

/* The value of the "subid:" line is anything but "files". */
static bool names_directory(const char *line)
{
        static const char spaces[] = " \t\n";
        size_t size;

        line += strspn(line, spaces);
        if (strncmp(line, "subid:", 6) != 0)
                return false;
        line += 6;
        line += strspn(line, spaces);
        size = strcspn(line, " \t\n#");
        return size > 0 && (size != 5 || strncmp(line, "files", 5) != 0);
}

bool subids_in_directory(void)
{
        _cleanup_fclose_ FILE *f = fopen(NSSWITCH_PATH, "re");
        _cleanup_free_ char *line = NULL;
        size_t size = 0;

        while (f && getline(&line, &size, f) >= 0)
                if (names_directory(line))
                        return true;
        return false;
}

bool subids_init_directory(FILE *log)
{
        return subid_init(NULL, log);
}

/* libsubid does not say whether somebody has no ranges or whether the directory failed: both are "none". */
static int ask(int (*get)(const char *, struct subid_range **), const char *name, struct idset *ranges)
{
        struct subid_range *found = NULL;
        int n = get(name, &found), r = 0;

        for (int i = 0; i < n && r == 0; i++) {
                struct idrange range;

                if (make_range(found[i].start, found[i].count, &range))
                        r = idset_append(ranges, range.first, range.last);
        }
        if (n >= 0)
                free(found);
        return r;
}

int subids_ask_directory(const char *name, struct idset *uid_ranges, struct idset *gid_ranges)
{
        int r;

        r = ask(subid_get_uid_ranges, name, uid_ranges);
        if (r < 0)
                return r;
        return ask(subid_get_gid_ranges, name, gid_ranges);
}

int subids_find_owner(uint32_t uid, uint32_t *ret_owner)
{
        _cleanup_fclose_ FILE *quiet = fopen("/dev/null", "we");
        uid_t *owners = NULL;
        int n;

        if (!quiet || !subids_init_directory(quiet))
                return -ENOMEM;
        n = subid_get_uid_owners(uid, &owners);
        if (n > 0)
                *ret_owner = owners[0];
        if (n >= 0)
                free(owners);
        return n > 0;
}
