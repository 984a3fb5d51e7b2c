/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "profile-names.h"

#include <string.h>

static void check(const struct words *configured, const struct words *missing, const char *kind,
                  const char *prefix, struct problems *problems)
{
        size_t skip = strlen(prefix);

        for (size_t i = 0; i < configured->n; i++) {
                const struct word *w = &configured->items[i];

                if (strncmp(w->text, prefix, skip) == 0 && words_contain(missing, w->text + skip))
                        problems_add_at(problems, w->file, w->line,
                                        "there is no %s %s: create it, or correct the name", kind,
                                        w->text + skip);
        }
}

void profile_check_names(const struct profile *p, const struct membership *m, struct problems *problems)
{
        check(&p->groups, &m->missing_groups, "group", "", problems);
        check(&p->except_groups, &m->missing_groups, "group", "", problems);
        check(&p->users, &m->missing_users, "user", "", problems);
        check(&p->except_users, &m->missing_users, "user", "", problems);
}

void access_check_names(const struct words *configured, const struct membership *m, struct problems *problems)
{
        check(configured, &m->missing_groups, "group", "@", problems);
        check(configured, &m->missing_users, "user", "", problems);
}
