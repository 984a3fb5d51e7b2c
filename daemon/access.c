/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "access.h"

#include <errno.h>
#include <string.h>

static int add_uid(struct access_list *l, uint32_t uid)
{
        int r = idset_append(&l->uids, uid, uid);

        if (r < 0)
                return r;
        idset_normalize(&l->uids);
        return 0;
}

const char *access_key(enum right right)
{
        static const char *const keys[_RIGHT_MAX] = {
                [RIGHT_ORDER] = "Order", [RIGHT_LIFT] = "Lift", [RIGHT_STATUS] = "Status"};

        return keys[right];
}

/* One word: "*", "root" (who is in the list already), "@group" or a user. */
static int prepare_word(const struct word *w, struct access_list *l, struct words *users,
                        struct words *groups)
{
        if (strcmp(w->text, "*") == 0) {
                l->everybody = true;
                return 0;
        }
        if (strcmp(w->text, "root") == 0)
                return 0;
        if (w->text[0] == '@')
                return words_add(groups, w->text + 1, w->file, w->line);
        return words_add(users, w->text, w->file, w->line);
}

int access_prepare(const struct words *configured, struct access_list *ret, struct words *ret_users,
                   struct words *ret_groups)
{
        struct access_list l = {0};
        struct words users = {0}, groups = {0};
        int r = add_uid(&l, 0); /* without a directory, and without a word: root must get in at any hour */

        for (size_t i = 0; i < configured->n && r >= 0; i++)
                r = prepare_word(&configured->items[i], &l, &users, &groups);
        if (r < 0) {
                access_clear(&l);
                words_clear(&users);
                words_clear(&groups);
                return r;
        }
        *ret = l;
        *ret_users = users;
        *ret_groups = groups;
        return 0;
}

static int unite(struct idset *into, const struct idset *more)
{
        struct idset sum = {0};
        int r = idset_union(into, more, &sum);

        if (r < 0)
                return r;
        idset_clear(into);
        *into = sum;
        return 0;
}

int access_add(struct access_list *l, const struct membership *m)
{
        int r = unite(&l->uids, &m->subjects.uids);

        return r < 0 ? r : unite(&l->gids, &m->subjects.gids);
}

bool access_allows(const struct access_list *l, const struct peer *p)
{
        if (l->everybody || idset_contains(&l->uids, p->uid))
                return true;
        for (size_t i = 0; i < p->n_gids; i++)
                if (idset_contains(&l->gids, p->gids[i]))
                        return true;
        return false;
}

void access_clear(struct access_list *l)
{
        idset_clear(&l->uids);
        idset_clear(&l->gids);
        *l = (struct access_list){0};
}
