// SPDX-License-Identifier: GPL-2.0-or-later
#include "resolver-accounts.h"
#include "resolver-database.h"
#include "resolver-internal.h"
#include <errno.h>
#include <string.h>
#include <time.h>

/* Names listed as unanswered at the most: one is enough to know that the directory is in trouble. */
#define NOTED_MAX 1000
/* After so many failures in a row the directory is not asked any more: each may have taken seconds. */
#define FAILURES_MAX 8

enum side {
        SIDE_SUBJECTS,
        SIDE_EXCEPTED,
        _SIDE_MAX,
};

struct wanted_group {
        const char *name; /* the request's */
        uint32_t gid;
        enum side side;
        size_t first_member, n_members; /* in the lookup's members */
        bool has_member;                /* other than those */
};

struct lookup {
        const struct resolver_request *request;
        struct membership *m;
        struct database database;
        struct accounts accounts;
        struct subids subids;
        struct wanted_group *groups;
        size_t n_groups;
        uint32_t *members; /* accounts, group by group */
        size_t n_members, members_capacity;
        struct idset uids[_SIDE_MAX], gids[_SIDE_MAX];
        unsigned failures; /* in a row */
};

static void lookup_clear(struct lookup *l)
{
        database_close(&l->database);
        accounts_clear(&l->accounts);
        subids_clear(&l->subids);
        free(l->groups);
        free(l->members);
        for (size_t i = 0; i < _SIDE_MAX; i++) {
                idset_clear(&l->uids[i]);
                idset_clear(&l->gids[i]);
        }
}

static int note(struct words *list, const char *name)
{
        if (list->n >= NOTED_MAX || words_contain(list, name))
                return 0;
        return words_add(list, name, NULL, 0);
}

static int note_uid(struct words *list, uint32_t uid)
{
        char digits[16];

        snprintf(digits, sizeof(digits), "%u", uid);
        return note(list, digits);
}

static bool is_numeric(const char *name)
{
        return name[0] && name[strspn(name, "0123456789")] == '\0';
}

/* Of a numeric name; UINT32_MAX, which no account has, if it is out of range. */
static uint32_t parse_id(const char *name)
{
        unsigned long long id;

        errno = 0;
        id = strtoull(name, NULL, 10);
        return errno == 0 && id < UINT32_MAX ? (uint32_t)id : UINT32_MAX;
}

static int add_member(struct lookup *l, const char *name, enum side side)
{
        size_t account;
        int r;

        r = accounts_add(&l->accounts, name, &account);
        if (r < 0)
                return r;
        l->accounts.items[account].sides |= (uint8_t)(1U << side);
        if (l->n_members == l->members_capacity) {
                size_t capacity = l->members_capacity ? l->members_capacity * 2 : 64;
                uint32_t *grown = reallocarray(l->members, capacity, sizeof(*grown));

                if (!grown)
                        return -ENOMEM;
                l->members = grown;
                l->members_capacity = capacity;
        }
        l->members[l->n_members++] = (uint32_t)account;
        return 0;
}

static size_t count(char *const *members)
{
        size_t n = 0;

        while (members && members[n])
                n++;
        return n;
}

static int add_found_group(struct lookup *l, const char *name, uint32_t gid, char *const *members,
                           enum side side)
{
        struct wanted_group *g = &l->groups[l->n_groups++];
        int r;

        *g = (struct wanted_group){.name = name, .gid = gid, .side = side, .first_member = l->n_members};
        r = idset_append(&l->gids[side], gid, gid);
        if (r == 0)
                r = accounts_reserve(&l->accounts, count(members));
        for (; r == 0 && members && *members; members++) {
                r = add_member(l, *members, side);
                g->n_members++;
        }
        return r;
}

static int add_group(struct lookup *l, const char *name, enum side side)
{
        bool numeric = is_numeric(name);
        uint32_t gid = numeric ? parse_id(name) : UINT32_MAX;
        struct group found = {0};
        int r = 0;

        if (!numeric || gid != UINT32_MAX)
                r = database_find_group(&l->database, numeric ? NULL : name, gid, &found);
        if (r < 0) {
                int noted = note(&l->m->unresolved, name);

                if (noted < 0)
                        return noted;
        }
        if (r > 0 && !numeric)
                gid = found.gr_gid;
        if (gid != UINT32_MAX)
                return add_found_group(l, name, gid, r > 0 ? found.gr_mem : NULL, side);
        return r < 0 ? 0 : note(&l->m->missing_groups, name);
}

static int add_groups(struct lookup *l)
{
        const struct words *lists[_SIDE_MAX] = {&l->request->groups, &l->request->except_groups};

        l->groups = calloc(lists[0]->n + lists[1]->n + 1, sizeof(*l->groups));
        if (!l->groups)
                return -ENOMEM;
        for (enum side side = 0; side < _SIDE_MAX; side++) {
                for (size_t i = 0; i < lists[side]->n; i++) {
                        int r = add_group(l, lists[side]->items[i].text, side);

                        if (r < 0)
                                return r;
                }
                idset_normalize(&l->gids[side]);
        }
        return 0;
}

static int add_user(struct lookup *l, const char *name, enum side side)
{
        size_t account;
        int r;

        if (is_numeric(name)) {
                uint32_t uid = parse_id(name);

                if (uid == UINT32_MAX)
                        return note(&l->m->missing_users, name);
                return idset_append(&l->uids[side], uid, uid);
        }
        r = accounts_add(&l->accounts, name, &account);
        if (r < 0)
                return r;
        l->accounts.items[account].sides |= (uint8_t)(1U << side);
        l->accounts.items[account].named = true;
        return 0;
}

static int add_users(struct lookup *l)
{
        const struct words *lists[_SIDE_MAX] = {&l->request->users, &l->request->except_users};

        for (enum side side = 0; side < _SIDE_MAX; side++)
                for (size_t i = 0; i < lists[side]->n; i++) {
                        int r = add_user(l, lists[side]->items[i].text, side);

                        if (r < 0)
                                return r;
                }
        return 0;
}

/* UID has GID as its primary group, or is in it by getgrouplist(). */
static int count_into_groups(struct lookup *l, uint32_t uid, uint32_t gid)
{
        for (enum side side = 0; side < _SIDE_MAX; side++) {
                int r;

                if (!idset_contains(&l->gids[side], gid))
                        continue;
                r = idset_append(&l->uids[side], uid, uid);
                if (r < 0)
                        return r;
                for (size_t i = 0; i < l->n_groups; i++)
                        if (l->groups[i].side == side && l->groups[i].gid == gid)
                                l->groups[i].has_member = true;
        }
        return 0;
}

/* An entry of the user database, which belongs to ACCOUNT if that is any. */
static int meet(struct lookup *l, size_t account, const struct passwd *entry)
{
        int r;

        if (entry->pw_uid == UINT32_MAX)
                return 0;
        if (account != NO_ACCOUNT) {
                r = accounts_met(&l->accounts, account, entry->pw_uid);
                for (enum side side = 0; r == 0 && side < _SIDE_MAX; side++)
                        if (l->accounts.items[account].sides & (1U << side))
                                r = idset_append(&l->uids[side], entry->pw_uid, entry->pw_uid);
                if (r < 0)
                        return r;
        }
        return count_into_groups(l, entry->pw_uid, entry->pw_gid);
}

/* The pass broke off: primary members may be missing. */
static int note_all_groups(struct lookup *l)
{
        for (size_t i = 0; i < l->n_groups; i++) {
                int r = note(&l->m->unresolved, l->groups[i].name);

                if (r < 0)
                        return r;
        }
        return 0;
}

/* A file that cannot be read is like a directory that does not answer. */
static int read_subids(struct lookup *l)
{
        static const char *const paths[] = {"/etc/subuid", "/etc/subgid"};

        for (size_t i = 0; i < ELEMENTSOF(paths); i++) {
                int r = subids_read(&l->subids, &l->accounts, paths[i], i == 1);

                if (r < 0 && r != -ENOMEM)
                        r = note(&l->m->unresolved, paths[i]);
                if (r < 0)
                        return r;
        }
        return 0;
}

/* The one pass over all users: primary members, and most of the names. */
static int meet_all(struct lookup *l)
{
        const struct passwd *entry;
        int r = 0;

        setpwent();
        errno = 0;
        while (r == 0 && (entry = getpwent())) {
                r = meet(l, accounts_find_next(&l->accounts, entry->pw_name), entry);
                errno = 0;
        }
        /* Other errors come from services that are not there, and from those that do not enumerate. */
        if (r == 0 && (errno == ENOMEM || errno == EMFILE || errno == ENFILE || errno == EIO))
                r = note_all_groups(l);
        endpwent();
        return r;
}

/* Asks for one user unless the directory has failed too often. As database_find_user(). */
static int ask_for_user(struct lookup *l, const char *name, uint32_t uid, struct passwd *ret)
{
        int r;

        if (l->failures >= FAILURES_MAX)
                return -EIO;
        r = database_find_user(&l->database, name, uid, ret);
        l->failures = r < 0 ? l->failures + 1 : 0;
        return r;
}

static int look_up_account(struct lookup *l, size_t index)
{
        struct account *account = &l->accounts.items[index];
        struct passwd entry;
        int r;

        r = ask_for_user(l, account->name, 0, &entry);
        if (r > 0)
                return meet(l, index, &entry);
        account->state = r < 0 ? ACCOUNT_UNANSWERED : ACCOUNT_MISSING;
        if (r < 0)
                return note(&l->m->unresolved, account->name);
        /* A group may well list somebody who is long gone. */
        return account->named ? note(&l->m->missing_users, account->name) : 0;
}

/* Those that the pass did not meet: directories often do not enumerate. */
static int look_up_rest(struct lookup *l)
{
        for (size_t i = 0; i < l->accounts.n; i++) {
                const struct account *account = &l->accounts.items[i];
                int r;

                if (account->state != ACCOUNT_UNKNOWN || account->sides == 0)
                        continue;
                r = look_up_account(l, i);
                if (r < 0)
                        return r;
        }
        return 0;
}

static bool may_be_in_groups(const struct lookup *l, uint32_t uid)
{
        for (enum side side = 0; side < _SIDE_MAX; side++)
                if (l->gids[side].n > 0 && !idset_contains(&l->uids[side], uid))
                        return true;
        return false;
}

static int check_seen(struct lookup *l, uint32_t uid)
{
        struct passwd entry;
        size_t account;
        int r, n;

        r = ask_for_user(l, NULL, uid, &entry);
        if (r < 0)
                return note_uid(&l->m->unresolved, uid);
        if (r == 0)
                return 0;
        /* For the subordinate ids: they go by name. */
        r = accounts_add(&l->accounts, entry.pw_name, &account);
        if (r < 0)
                return r;
        r = accounts_met(&l->accounts, account, uid);
        if (r < 0)
                return r;
        n = database_list_groups(&l->database, &entry);
        for (int i = 0; i < n && r == 0; i++)
                r = count_into_groups(l, uid, l->database.gids[i]);
        return n < 0 ? n : r;
}

static void sort_uids(struct lookup *l)
{
        for (size_t i = 0; i < _SIDE_MAX; i++)
                idset_normalize(&l->uids[i]);
}

/* Users of this machine who are not members so far: a directory may know more about them than about the
 * group. */
static int check_all_seen(struct lookup *l)
{
        _cleanup_idset_ struct idset candidates = {0};
        struct idset_iterator it = {0};
        uint32_t uid;
        int r;

        sort_uids(l);
        for (size_t i = 0; i < l->request->n_uids; i++) {
                uid = l->request->uids[i];
                if (uid == UINT32_MAX || !may_be_in_groups(l, uid))
                        continue;
                r = idset_append(&candidates, uid, uid);
                if (r < 0)
                        return r;
        }
        idset_normalize(&candidates);
        while (idset_next(&candidates, &it, &uid)) {
                r = check_seen(l, uid);
                if (r < 0)
                        return r;
        }
        sort_uids(l);
        return 0;
}

static bool somebody_in(const struct lookup *l, const struct wanted_group *g)
{
        for (size_t i = 0; i < g->n_members; i++) {
                enum account_state state = l->accounts.items[l->members[g->first_member + i]].state;

                if (state == ACCOUNT_FOUND || state == ACCOUNT_UNANSWERED)
                        return true;
        }
        return g->has_member;
}

static int note_empty_groups(struct lookup *l)
{
        for (size_t i = 0; i < l->n_groups; i++) {
                const struct wanted_group *g = &l->groups[i];
                int r;

                if (somebody_in(l, g) || words_contain(&l->m->unresolved, g->name))
                        continue;
                r = note(&l->m->empty_groups, g->name);
                if (r < 0)
                        return r;
        }
        return 0;
}

/* Users given by number own subordinate ids by name, which only an enumeration has told so far. */
static int name_numeric_users(struct lookup *l)
{
        if (l->subids.n == 0 && !subids_in_directory())
                return 0;
        for (size_t i = 0; i < l->request->users.n; i++) {
                const char *text = l->request->users.items[i].text;
                uint32_t uid = is_numeric(text) ? parse_id(text) : UINT32_MAX;
                struct passwd entry;
                size_t account;
                int r;

                if (uid == UINT32_MAX)
                        continue;
                r = ask_for_user(l, NULL, uid, &entry);
                if (r < 0)
                        r = note(&l->m->unresolved, text);
                else if (r > 0) {
                        r = accounts_add(&l->accounts, entry.pw_name, &account);
                        if (r == 0)
                                r = accounts_met(&l->accounts, account, uid);
                }
                if (r < 0)
                        return r;
        }
        return 0;
}

/* libsubid by the name of each of UIDS: those met, and (again) those enumerated. */
static int ask_directory_for_ranges(struct lookup *l, const struct idset *uids)
{
        _cleanup_fclose_ FILE *quiet = fopen("/dev/null", "we");
        struct subjects *s = &l->m->subjects;
        const struct passwd *entry;
        int r = 0;

        if (!quiet || !subids_init_directory(quiet))
                return -ENOMEM;
        for (size_t i = 0; i < l->accounts.n_uids && r == 0; i++) {
                const struct account_uid *met = &l->accounts.uids[i];

                if (idset_contains(uids, met->uid))
                        r = subids_ask_directory(l->accounts.items[met->account].name, &s->uid_ranges,
                                                 &s->gid_ranges);
        }
        setpwent();
        while (r == 0 && (entry = getpwent()))
                if (idset_contains(uids, entry->pw_uid) &&
                    accounts_find(&l->accounts, entry->pw_name) == NO_ACCOUNT)
                        r = subids_ask_directory(entry->pw_name, &s->uid_ranges, &s->gid_ranges);
        endpwent();
        return r;
}

static int find_ranges(struct lookup *l)
{
        _cleanup_idset_ struct idset uids = {0};
        int r;

        /* The excepted keep their containers. */
        r = idset_subtract(&l->uids[SIDE_SUBJECTS], &l->uids[SIDE_EXCEPTED], &uids);
        if (r < 0)
                return r;
        r = subids_select(&l->subids, &l->accounts, &uids, &l->m->subjects.uid_ranges,
                          &l->m->subjects.gid_ranges);
        if (r == 0 && subids_in_directory())
                r = ask_directory_for_ranges(l, &uids);
        idset_normalize(&l->m->subjects.uid_ranges);
        idset_normalize(&l->m->subjects.gid_ranges);
        return r;
}

static uint64_t wall_clock(void)
{
        struct timespec now;

        clock_gettime(CLOCK_REALTIME, &now);
        return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

static void move_set(struct idset *from, struct idset *to)
{
        *to = *from;
        *from = (struct idset){0};
}

int resolver_find_members(const struct resolver_request *request, struct membership *ret)
{
        _cleanup_membership_ struct membership m = {.as_of = wall_clock()};
        _cleanup_(lookup_clear) struct lookup l = {.request = request, .m = &m};
        int r;

        if ((r = database_open(&l.database)) < 0 || (r = add_groups(&l)) < 0 || (r = add_users(&l)) < 0 ||
            (r = read_subids(&l)) < 0 || (r = meet_all(&l)) < 0 || (r = look_up_rest(&l)) < 0 ||
            (r = name_numeric_users(&l)) < 0 || (r = check_all_seen(&l)) < 0 ||
            (r = note_empty_groups(&l)) < 0 || (r = find_ranges(&l)) < 0)
                return r;
        move_set(&l.uids[SIDE_SUBJECTS], &m.subjects.uids);
        move_set(&l.gids[SIDE_SUBJECTS], &m.subjects.gids);
        move_set(&l.uids[SIDE_EXCEPTED], &m.subjects.except_uids);
        move_set(&l.gids[SIDE_EXCEPTED], &m.subjects.except_gids);
        *ret = m;
        m = (struct membership){0};
        return 0;
}
