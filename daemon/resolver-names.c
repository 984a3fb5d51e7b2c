// SPDX-License-Identifier: GPL-2.0-or-later
#include "resolver-database.h"
#include "resolver-internal.h"
#include <errno.h>
#include <string.h>

/* From so many on, one pass over all users is cheaper than asking for each. */
#define ENUMERATE_FROM 16
/* After so many failures in a row the directory is not asked any more. */
#define FAILURES_MAX 8

struct wanted {
        uint32_t uid;
        size_t at; /* in the request */
};

static int compare_wanted(const void *a, const void *b)
{
        const struct wanted *x = a, *y = b;

        return (x->uid > y->uid) - (x->uid < y->uid);
}

/* The first of those with this uid, or the end. */
static size_t lower_bound(const struct wanted *wanted, size_t n, uint32_t uid)
{
        size_t low = 0;

        while (low < n) {
                size_t middle = low + (n - low) / 2;

                if (wanted[middle].uid < uid)
                        low = middle + 1;
                else
                        n = middle;
        }
        return low;
}

static int enumerate(const uint32_t *uids, size_t n, char **names)
{
        _cleanup_free_ struct wanted *wanted = calloc(n, sizeof(*wanted));
        const struct passwd *entry;
        int r = 0;

        if (!wanted)
                return -ENOMEM;
        for (size_t i = 0; i < n; i++)
                wanted[i] = (struct wanted){uids[i], i};
        qsort(wanted, n, sizeof(*wanted), compare_wanted);
        setpwent();
        while (r == 0 && (entry = getpwent()))
                for (size_t i = lower_bound(wanted, n, entry->pw_uid);
                     r == 0 && i < n && wanted[i].uid == entry->pw_uid; i++) {
                        char **name = &names[wanted[i].at];

                        if (!*name && !(*name = strdup(entry->pw_name)))
                                r = -ENOMEM;
                }
        endpwent();
        return r;
}

int resolver_find_names(const uint32_t *uids, size_t n, char **names)
{
        _cleanup_database_ struct database db = {0};
        unsigned failures = 0;
        int r;

        r = database_open(&db);
        if (r < 0)
                return r;
        if (n >= ENUMERATE_FROM) {
                r = enumerate(uids, n, names);
                if (r < 0)
                        return r;
        }
        for (size_t i = 0; i < n && failures < FAILURES_MAX; i++) {
                struct passwd entry;

                if (names[i] || uids[i] == UINT32_MAX)
                        continue;
                r = database_find_user(&db, NULL, uids[i], &entry);
                failures = r < 0 ? failures + 1 : 0;
                if (r > 0 && !(names[i] = strdup(entry.pw_name)))
                        return -ENOMEM;
        }
        return 0;
}
