/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "doors.h"
#include "doors-internal.h"

#include <errno.h>
#include <grp.h>
#include <limits.h>
#include <pwd.h>
#include <string.h>
#include <sys/stat.h>

/* ---- who may connect to a Unix socket ---- */

/* Members of a group as /etc/group has them, with their uids from /etc/passwd. A directory is not asked: it
 * may hang. Whom the files do not know may be anybody. */
struct members {
        char **names;
        size_t n;
};

static void members_clear(struct members *m)
{
        for (size_t i = 0; i < m->n; i++)
                free(m->names[i]);
        free(m->names);
}

static FILE *open_below(const char *root, const char *path)
{
        char full[PATH_MAX];

        return snprintf(full, sizeof(full), "%s%s", root, path) < (int)sizeof(full) ? fopen(full, "re")
                                                                                    : NULL;
}

static int read_members(const char *root, gid_t gid, struct members *ret)
{
        _cleanup_fclose_ FILE *f = open_below(root, "/etc/group");
        const struct group *g = NULL;

        while (f && (g = fgetgrent(f)) && g->gr_gid != gid)
                ;
        for (size_t i = 0; f && g && g->gr_mem[i]; i++) {
                char **more = reallocarray(ret->names, ret->n + 1, sizeof(char *));

                if (!more)
                        return -ENOMEM;
                ret->names = more;
                more[ret->n] = strdup(g->gr_mem[i]);
                if (!more[ret->n])
                        return -ENOMEM;
                ret->n++;
        }
        return 0;
}

static bool is_member(const struct members *m, const struct passwd *p)
{
        for (size_t i = 0; i < m->n; i++)
                if (strcmp(m->names[i], p->pw_name) == 0)
                        return true;
        return false;
}

static int add_group_uids(struct listener *l, const char *root)
{
        _cleanup_(members_clear) struct members m = {0};
        _cleanup_fclose_ FILE *f = NULL;
        const struct passwd *p;
        size_t known = 0;
        int r = read_members(root, l->gid, &m);

        if (r < 0)
                return r;
        f = open_below(root, "/etc/passwd");
        while (f && (p = fgetpwent(f))) {
                bool member = is_member(&m, p);

                known += member;
                if ((member || p->pw_gid == l->gid) && idset_append(&l->group_uids, p->pw_uid, p->pw_uid) < 0)
                        return -ENOMEM;
        }
        idset_normalize(&l->group_uids);
        l->group_has_others = known < m.n;
        return 0;
}

/* One right on the way to a socket: everybody's, that of a group (only one may be asked for), or nobody's. */
static bool passes(const struct stat *st, mode_t others, mode_t group, struct listener *l)
{
        if (st->st_mode & others)
                return true;
        if (!(st->st_mode & group) || (l->by_group && l->gid != st->st_gid))
                return false;
        l->by_group = true;
        l->gid = st->st_gid;
        return true;
}

/* Every directory on the way must let pass, and the socket take what is written. */
static bool is_reachable(const char *root, const char *path, struct listener *l)
{
        char full[PATH_MAX];
        struct stat st;
        int length = snprintf(full, sizeof(full), "%s%s", root, path);

        if (path[0] != '/' || length >= (int)sizeof(full) || stat(full, &st) < 0 || !S_ISSOCK(st.st_mode) ||
            !passes(&st, S_IWOTH, S_IWGRP, l))
                return false;
        for (char *slash = strrchr(full, '/'); slash && slash > full + strlen(root);
             slash = strrchr(full, '/')) {
                *slash = '\0';
                if (stat(full, &st) < 0 || !passes(&st, S_IXOTH, S_IXGRP, l))
                        return false;
        }
        return true;
}

static struct listener *add(struct listeners *l, enum listener_type type, const char *name, const char *unit)
{
        struct listener *new = listeners_add(l);

        if (!new)
                return NULL;
        new->type = type;
        new->name = strdup(name);
        new->cgroup_path = strdup(unit);
        return new->name &&new->cgroup_path ? new : NULL;
}

static bool is_listed(const struct listeners *l, enum listener_type type, const char *name)
{
        for (size_t i = 0; i < l->n; i++)
                if (l->items[i].type == type && strcmp(l->items[i].name, name) == 0)
                        return true;
        return false;
}

int doors_add_unix(struct listeners *l, const char *root, const char *path, uint32_t uid)
{
        const struct known_service *k = known_socket(path);
        struct listener access = {0}, *new;

        if (!k || is_listed(l, LISTENER_UNIX, path) || (!k->anybody && !is_reachable(root, path, &access)))
                return 0;
        new = add(l, LISTENER_UNIX, path, k->unit);
        if (!new)
                return -ENOMEM;
        new->uid = uid;
        new->by_group = access.by_group;
        new->gid = access.gid;
        new->anybody = !new->by_group;
        return new->by_group ? add_group_uids(new, root) : 0;
}

/* ---- the system bus ---- */

bool doors_is_system_bus(const char *path)
{
        return strcmp(path, "/run/dbus/system_bus_socket") == 0 ||
               strcmp(path, "/var/run/dbus/system_bus_socket") == 0;
}

/* The unit that the bus would have started for NAME: 1 and its name ("" where the bus itself starts a
 * program), 0: nobody would. */
static bool activates(const char *root, const char *name, char unit[static 256])
{
        static const char *const places[] = {
                "/etc/dbus-1/system-services", "/usr/local/share/dbus-1/system-services",
                "/usr/share/dbus-1/system-services", "/lib/dbus-1/system-services"};
        char path[PATH_MAX], line[512];
        _cleanup_fclose_ FILE *f = NULL;

        for (size_t i = 0; !f && i < ELEMENTSOF(places); i++) {
                (void)snprintf(path, sizeof(path), "%s/%s.service", places[i], name);
                f = open_below(root, path);
        }
        unit[0] = '\0';
        while (f && fgets(line, sizeof(line), f))
                if (sscanf(line, "SystemdService=%255[^ \t\n]", unit) == 1)
                        break;
        return f != NULL;
}

/* Is there such a unit that is not masked (a link to /dev/null, or an empty file)? The first place counts. */
static bool unit_exists(const char *root, const char *unit)
{
        static const char *const places[] = {"/etc/systemd/system", "/run/systemd/system",
                                             "/usr/local/lib/systemd/system", "/usr/lib/systemd/system",
                                             "/lib/systemd/system"};

        for (size_t i = 0; i < ELEMENTSOF(places); i++) {
                char path[PATH_MAX];
                struct stat st;

                if (snprintf(path, sizeof(path), "%s%s/%s", root, places[i], unit) >= (int)sizeof(path))
                        continue;
                if (stat(path, &st) == 0)
                        return S_ISREG(st.st_mode) && st.st_size > 0;
                if (lstat(path, &st) == 0)
                        return true; /* a link that leads out of a test's directory */
        }
        return false;
}

static bool would_start(const char *root, const char *name)
{
        char unit[256];

        return activates(root, name, unit) && (!unit[0] || unit_exists(root, unit));
}

int doors_add_bus_services(struct listeners *l, const char *root, const char *cgroup_root)
{
        for (const struct known_service *k = known_bus_names; k->name; k++) {
                struct listener *new;
                uint32_t uid = 0; /* what is not running yet is started by root */
                bool runs = cgroup_root && doors_first_uid(cgroup_root, k->unit, &uid);

                if (!runs && !would_start(root, k->name))
                        continue;
                new = add(l, LISTENER_BUS, k->name, k->unit);
                if (!new)
                        return -ENOMEM;
                new->uid = uid;
                new->anybody = true;
        }
        return 0;
}

/* ---- numbers ---- */

bool next_number(char **text, uint32_t *ret)
{
        char *end;
        unsigned long value;

        errno = 0;
        value = strtoul(*text, &end, 10);
        if (end == *text || errno != 0 || value > UINT32_MAX)
                return false;
        *text = end;
        *ret = (uint32_t)value;
        return true;
}

void doors_ephemeral_ports(uint16_t *ret_first, uint16_t *ret_last)
{
        _cleanup_fclose_ FILE *f = fopen("/proc/sys/net/ipv4/ip_local_port_range", "re");
        char line[64], *rest = line;
        uint32_t first, last;

        if (!f || !fgets(line, sizeof(line), f) || !next_number(&rest, &first) ||
            !next_number(&rest, &last) || first > last || last > UINT16_MAX) {
                first = 32768; /* the kernel's default */
                last = 60999;
        }
        *ret_first = (uint16_t)first;
        *ret_last = (uint16_t)last;
}
