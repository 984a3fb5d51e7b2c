// SPDX-License-Identifier: GPL-2.0-or-later
#include "resolver-database.h"
#include <dlfcn.h>
#include <errno.h>
#include <nss.h>
#include <string.h>

#define NSSWITCH_PATH "/etc/nsswitch.conf"
/* Enough for 100,000 members at the first try: memory that is not written to costs nothing. */
#define BUFFER_FIRST ((size_t)4 << 20)
#define BUFFER_MAX ((size_t)512 << 20)

/* Services that read files of this machine or ask its init: always there. */
static bool is_local(const char *service)
{
        static const char *const local[] = {"files",    "compat",   "db",         "systemd",
                                            "altfiles", "usrfiles", "extrausers", "mymachines"};

        for (size_t i = 0; i < ELEMENTSOF(local); i++)
                if (strcmp(service, local[i]) == 0)
                        return true;
        return false;
}

/* "sss files [NOTFOUND=return] ldap" */
static int add_directories(struct words *directories, const char *line)
{
        _cleanup_words_ struct words services = {0};
        bool in_action = false;
        int r;

        r = words_split(&services, line, NULL, 0);
        for (size_t i = 0; i < services.n && r == 0; i++) {
                const char *service = services.items[i].text;

                in_action = in_action || service[0] == '[';
                if (in_action)
                        in_action = !strchr(service, ']');
                else if (!is_local(service))
                        r = words_add(directories, service, NULL, 0);
        }
        return r;
}

static int read_nsswitch_line(struct database *db, char *line)
{
        char *colon;

        line[strcspn(line, "#\n")] = '\0';
        line += strspn(line, " \t");
        colon = strchr(line, ':');
        if (!colon)
                return 0;
        *colon = '\0';
        if (strcmp(line, "passwd") == 0)
                return add_directories(&db->passwd_directories, colon + 1);
        if (strcmp(line, "group") == 0)
                return add_directories(&db->group_directories, colon + 1);
        return 0;
}

int database_open(struct database *db)
{
        _cleanup_fclose_ FILE *f = fopen(NSSWITCH_PATH, "re");
        _cleanup_free_ char *line = NULL;
        size_t size = 0;
        int r = 0;

        while (r == 0 && f && getline(&line, &size, f) >= 0)
                r = read_nsswitch_line(db, line);
        return r;
}

void database_close(struct database *db)
{
        words_clear(&db->passwd_directories);
        words_clear(&db->group_directories);
        free(db->buffer);
        free(db->gids);
        *db = (struct database){0};
}

static int grow(struct database *db)
{
        size_t size = db->buffer_size ? db->buffer_size * 4 : BUFFER_FIRST;
        char *grown;

        if (size > BUFFER_MAX)
                return -ENOMEM;
        grown = malloc(size); /* what was read so far is of no use */
        if (!grown)
                return -ENOMEM;
        free(db->buffer);
        db->buffer = grown;
        db->buffer_size = size;
        return 0;
}

/* One question, to all services in turn or to one of them (FUNCTION of its module). */
struct question {
        const char *name; /* NULL: by id */
        uint32_t id;
        struct group *group;   /* one of the two */
        struct passwd *passwd; /* … is where the answer goes */
};

static int ask_all(const struct database *db, const struct question *q, bool *ret_found)
{
        char *buffer = db->buffer;
        size_t size = db->buffer_size;
        struct passwd *passwd = NULL;
        struct group *group = NULL;
        int r;

        if (q->group)
                r = q->name ? getgrnam_r(q->name, q->group, buffer, size, &group)
                            : getgrgid_r(q->id, q->group, buffer, size, &group);
        else
                r = q->name ? getpwnam_r(q->name, q->passwd, buffer, size, &passwd)
                            : getpwuid_r(q->id, q->passwd, buffer, size, &passwd);
        *ret_found = group || passwd;
        return r;
}

static enum nss_status ask_module(const struct database *db, void *function, const struct question *q,
                                  int *ret_errno)
{
        typedef enum nss_status by_name(const char *, void *, char *, size_t, int *);
        typedef enum nss_status by_id(uint32_t, void *, char *, size_t, int *);
        void *to = q->group ? (void *)q->group : (void *)q->passwd;

        if (q->name)
                return ((by_name *)function)(q->name, to, db->buffer, db->buffer_size, ret_errno);
        return ((by_id *)function)(q->id, to, db->buffer, db->buffer_size, ret_errno);
}

/* Is this service out of reach? One that is not installed, or does not know such questions, is not. */
static bool is_out_of_reach(const struct database *db, const char *service, const struct question *q)
{
        const char *what = q->group ? (q->name ? "getgrnam" : "getgrgid") : q->name ? "getpwnam" : "getpwuid";
        char library[128], symbol[128];
        enum nss_status status = NSS_STATUS_NOTFOUND;
        void *module, *function;
        int error = 0;

        snprintf(library, sizeof(library), "libnss_%s.so.2", service);
        snprintf(symbol, sizeof(symbol), "_nss_%s_%s_r", service, what);
        module = dlopen(library, RTLD_LAZY | RTLD_LOCAL);
        if (!module)
                return false;
        function = dlsym(module, symbol);
        if (function)
                status = ask_module(db, function, q, &error);
        dlclose(module);
        return status == NSS_STATUS_UNAVAIL || (status == NSS_STATUS_TRYAGAIN && error != ERANGE);
}

/* With "sss files", a dead sssd looks like an answer: the files behind it have no such entry. So each
 * directory is asked on its own before somebody is said not to exist. */
static int confirm_none(const struct database *db, const struct question *q)
{
        const struct words *directories = q->group ? &db->group_directories : &db->passwd_directories;

        for (size_t i = 0; i < directories->n; i++)
                if (is_out_of_reach(db, directories->items[i].text, q))
                        return -EHOSTDOWN;
        return 0;
}

static int ask(struct database *db, const struct question *q)
{
        for (;;) {
                bool found = false;
                int r = db->buffer_size == 0 ? ERANGE : ask_all(db, q, &found);

                if (r == ERANGE)
                        r = -grow(db);
                else if (r == 0)
                        return found ? 1 : confirm_none(db, q);
                if (r != 0 && r != EINTR)
                        return -r;
        }
}

int database_find_group(struct database *db, const char *name, gid_t gid, struct group *ret)
{
        return ask(db, &(struct question){.name = name, .id = gid, .group = ret});
}

int database_find_user(struct database *db, const char *name, uid_t uid, struct passwd *ret)
{
        return ask(db, &(struct question){.name = name, .id = uid, .passwd = ret});
}

int database_list_groups(struct database *db, const struct passwd *user)
{
        for (;;) {
                int n = db->gids_capacity;
                gid_t *grown;

                if (db->gids && getgrouplist(user->pw_name, user->pw_gid, db->gids, &n) >= 0)
                        return n;
                if (n <= db->gids_capacity)
                        n = db->gids_capacity * 2 + 64;
                grown = reallocarray(db->gids, (size_t)n, sizeof(*grown));
                if (!grown)
                        return -ENOMEM;
                db->gids = grown;
                db->gids_capacity = n;
        }
}
