/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "resolver-accounts.h"
#include "resolver-database.h"
#include "resolver-internal.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

/* Group names looked up at the most; nobody is in more groups that a profile lists. */
#define GROUP_NAMES_MAX 1000

/* The names of I's groups. A directory that does not answer leaves them nameless. */
static int name_groups(struct database *db, struct identity *i, const gid_t *gids, size_t n)
{
        int r = 0;

        for (size_t g = 0; g < n && g < GROUP_NAMES_MAX && r >= 0; g++) {
                struct group group;

                r = database_find_group(db, NULL, gids[g], &group);
                if (r > 0)
                        r = words_add(&i->group_names, group.gr_name, NULL, 0);
                if (r < 0 && r != -ENOMEM)
                        r = 0;
        }
        return r;
}

/* Fills in I from ENTRY, which is the database's and not valid afterwards. */
static int take_account(struct database *db, const struct passwd *entry, struct identity *i)
{
        _cleanup_free_ gid_t *gids = NULL;
        int n, r = 0;

        i->uid = entry->pw_uid;
        i->name = strdup(entry->pw_name);
        if (!i->name)
                return -ENOMEM;
        n = database_list_groups(db, entry);
        if (n < 0)
                return n;
        gids = calloc((size_t)n + 1, sizeof(*gids)); /* the database's array serves the next question */
        if (!gids)
                return -ENOMEM;
        memcpy(gids, db->gids, (size_t)n * sizeof(*gids));
        for (int g = 0; g < n && r >= 0; g++)
                r = idset_append(&i->gids, gids[g], gids[g]);
        idset_normalize(&i->gids);
        return r < 0 ? r : name_groups(db, i, gids, (size_t)n);
}

static bool parse_uid(const char *user, uint32_t *ret)
{
        unsigned long long uid;

        if (!user[0] || user[strspn(user, "0123456789")] != '\0')
                return false;
        errno = 0;
        uid = strtoull(user, NULL, 10);
        if (errno != 0 || uid >= UINT32_MAX)
                return false;
        *ret = (uint32_t)uid;
        return true;
}

static int find_owner(struct database *db, struct person *p)
{
        struct passwd entry;
        uint32_t owner;
        int r = subids_find_owner(p->self.uid, &owner);

        if (r <= 0)
                return r;
        p->subordinate = true;
        p->owner.uid = owner;
        r = database_find_user(db, NULL, owner, &entry);
        if (r > 0)
                return take_account(db, &entry, &p->owner);
        return r == -ENOMEM ? r : 0;
}

int resolver_find_person(const char *user, struct person *ret)
{
        _cleanup_database_ struct database db = {0};
        _cleanup_person_ struct person p = {0};
        struct passwd entry;
        uint32_t uid = 0;
        bool numeric = parse_uid(user, &uid);
        int r = database_open(&db);

        if (r < 0)
                return r;
        r = database_find_user(&db, numeric ? NULL : user, uid, &entry);
        if (r == -ENOMEM)
                return r;
        p.unanswered = r < 0;
        p.found = r > 0 || numeric; /* a uid needs no account */
        if (r > 0)
                r = take_account(&db, &entry, &p.self);
        else
                p.self.uid = uid;
        if (r >= 0 && p.found)
                r = find_owner(&db, &p);
        if (r == -ENOMEM)
                return r;
        *ret = p;
        p = (struct person){0};
        return 0;
}
