/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "doors-internal.h"

#include "sessions-cgroup.h"
#include "unit-patterns.h"

#include <errno.h>
#include <string.h>

/* The kernel's threads are in the real root of the control groups, and systemd leaves nothing else there. */
#define ROOT_CGROUP 1

struct listener *listeners_add(struct listeners *l)
{
        struct listener *more = reallocarray(l->items, l->n + 1, sizeof(*more));

        if (!more)
                return NULL;
        l->items = more;
        more[l->n] = (struct listener){.uid = UINT32_MAX};
        return &more[l->n++];
}

void listeners_clear(struct listeners *l)
{
        for (size_t i = 0; i < l->n; i++) {
                free(l->items[i].name);
                free(l->items[i].cgroup_path);
                free(l->items[i].program);
                idset_clear(&l->items[i].group_uids);
        }
        free(l->items);
        *l = (struct listeners){0};
}

void doors_clear(struct doors *d)
{
        for (size_t i = 0; i < d->n; i++) {
                free(d->items[i].unit);
                free(d->items[i].closes);
        }
        free(d->items);
        *d = (struct doors){0};
}

/* ---- control groups and units ---- */

static bool has_suffix(const char *name, const char *suffix)
{
        size_t length = strlen(name), end = strlen(suffix);

        return length > end && strcmp(name + length - end, suffix) == 0;
}

/* The next part of a path, into NAME; false at its end. A part too long for a unit's name ends it. */
static bool next_part(const char **path, char name[static 256])
{
        size_t length = strcspn(*path, "/");

        if (length == 0 || length > 255)
                return false;
        memcpy(name, *path, length);
        name[length] = '\0';
        *path += length + ((*path)[length] == '/');
        return true;
}

/* What lies inside a unit is part of it: a container's own units are not systemd's on this host, and neither
 * are a user's, below user.slice. */
static bool has_units(const char *name)
{
        return has_suffix(name, ".slice") && strcmp(name, "user.slice") != 0;
}

/* A socket of systemd's own is passed to the service of the same name when somebody connects. NULL also when
 * out of memory. */
static char *service_of(const char *unit)
{
        char *service = NULL;

        if (!has_suffix(unit, ".socket"))
                return strdup(unit);
        if (asprintf(&service, "%.*s.service", (int)(strlen(unit) - strlen(".socket")), unit) < 0)
                return NULL;
        return service;
}

static bool holds(const struct words *services, const char *name)
{
        _cleanup_free_ char *service = service_of(name);

        return service && unit_patterns_find(services, service);
}

bool doors_unit_covered(const struct words *services, const char *cgroup_path)
{
        char name[256];
        bool inside = true;

        while (inside && cgroup_path && next_part(&cgroup_path, name)) {
                if (holds(services, name))
                        return true;
                inside = has_units(name);
        }
        return false;
}

char *doors_unit_of(const char *cgroup_path)
{
        char name[256];

        while (cgroup_path && next_part(&cgroup_path, name)) {
                if (has_suffix(name, ".service") || has_suffix(name, ".socket") || has_suffix(name, ".scope"))
                        return strdup(name);
                if (!has_units(name))
                        return NULL;
        }
        return NULL;
}

/* Of the user in whose slice it lies. */
static bool user_of(const char *cgroup_path, uint32_t *ret)
{
        char name[256];

        return cgroup_path && next_part(&cgroup_path, name) && strcmp(name, "user.slice") == 0 &&
               next_part(&cgroup_path, name) && cgroup_parse_slice(name, ret);
}

/* ---- no doors ---- */

static bool is_everywhere_or_here(const struct listener *l)
{
        return l->family == AF_INET ? (l->addr[0] & 0xf0) != 0xe0
                                    : l->addr[0] != 0xff; /* no multicast group */
}

/* Would the order let a subject's packet reach it? */
static bool is_open(const struct doors_plan *plan, const struct listener *l)
{
        struct endpoint e = {.family = l->family, .protocol = l->protocol, .port = l->port, .local = true};

        memcpy(e.addr, l->addr, sizeof(e.addr));
        return !judgement_refuses(destinations_judge(plan->destinations, &e));
}

static bool group_has_subject(const struct subjects *s, const struct listener *l)
{
        struct idset_iterator it = {0};
        uint32_t uid;

        if (l->group_has_others || idset_contains(&s->gids, l->gid))
                return true;
        while (idset_next(&l->group_uids, &it, &uid))
                if (subjects_match_uid(s, uid))
                        return true;
        return false;
}

/* What a port that no program asked for is, is a client's; and most UDP sockets without a peer are. */
static bool is_client(const struct doors_plan *plan, const struct listener *l)
{
        return l->protocol == IPPROTO_UDP && plan->ephemeral_first <= l->port &&
               l->port <= plan->ephemeral_last;
}

bool doors_suspect(const struct doors_plan *plan, const struct listener *l)
{
        if (l->uid != UINT32_MAX && subjects_match_uid(plan->subjects, l->uid)) /* held themselves */
                return false;
        if (l->type == LISTENER_UNIX)
                return l->anybody || (l->by_group && group_has_subject(plan->subjects, l));
        return l->type == LISTENER_BUS || (is_everywhere_or_here(l) && is_open(plan, l));
}

/* The rest, once the control group is known. */
static bool is_harmless(const struct doors_plan *plan, const struct listener *l, const char *unit)
{
        uint32_t user;

        if (plan->subjects->sessions && user_of(l->cgroup_path, &user) &&
            idset_contains(&plan->subjects->uids, user))
                return true; /* a subject's session is held whatever uid it has */
        if (l->type != LISTENER_INET)
                return false;
        if (known_harmless_unit(unit))
                return true;
        if (known_kind(l, unit) != DOOR_UNKNOWN)
                return false;
        if (is_client(plan, l))
                return true;
        return l->uid == 0 && !unit &&
               (known_harmless_port(l->protocol, l->port) || l->cgroup == ROOT_CGROUP);
}

/* ---- what closes it ---- */

/* LoopbackDeny= refuses a port to the subjects and to nobody else: so it comes first. It closes nothing that
 * can also be asked in another way (a Unix socket, the bus, a program such as sendmail), as these can. */
static bool has_other_ways_in(enum door_kind kind)
{
        return kind == DOOR_RESOLVER || kind == DOOR_MAIL || kind == DOOR_PACKAGES || kind == DOOR_PRINT;
}

/* A session or a container may begin and end with any process; only services stay what they are. */
static bool can_be_held(const char *service)
{
        return service && has_suffix(service, ".service");
}

/* With the built-in ports in front where they hold: the first word that somebody writes replaces them. */
static int closing_port(const struct doors_plan *plan, uint16_t port, char **ret)
{
        _cleanup_free_ char *before = plan->repeat && plan->repeat->n > 0 ? words_join(plan->repeat) : NULL;

        if (asprintf(ret, "LoopbackDeny=%s%s%u", before ? before : "", before ? " " : "", port) < 0) {
                *ret = NULL;
                return -ENOMEM;
        }
        return 0;
}

static int find_closing_line(const struct doors_plan *plan, struct door *d)
{
        const struct listener *l = d->listener;
        _cleanup_free_ char *service = d->unit ? service_of(d->unit) : NULL;

        if (d->unit && !service)
                return -ENOMEM;
        if (l->type != LISTENER_INET && d->kind == DOOR_ENGINE) {
                d->advice = "no line does, for whoever may use it can become root: take that right away";
                return 0;
        }
        if (l->type == LISTENER_INET && !(can_be_held(service) && has_other_ways_in(d->kind)))
                return closing_port(plan, l->port, &d->closes);
        if (asprintf(&d->closes, "Services=%s", service) < 0) {
                d->closes = NULL;
                return -ENOMEM;
        }
        if (d->kind == DOOR_RESOLVER && plan->destinations->dns == DNS_DENY)
                d->advice = "with DNS=deny it then looks up nothing for anybody on this host";
        return 0;
}

/* ---- judging ---- */

static int judge_one(const struct doors_plan *plan, const struct listener *l, struct doors *doors)
{
        _cleanup_free_ char *unit = NULL;
        struct door *more, *d;

        if (!doors_suspect(plan, l) || doors_unit_covered(plan->services, l->cgroup_path))
                return 0;
        unit = doors_unit_of(l->cgroup_path);
        if (is_harmless(plan, l, unit))
                return 0;
        more = reallocarray(doors->items, doors->n + 1, sizeof(*more));
        if (!more)
                return -ENOMEM;
        doors->items = more;
        d = &more[doors->n++];
        *d = (struct door){.listener = l, .kind = known_kind(l, unit), .unit = TAKE_PTR(unit)};
        return find_closing_line(plan, d);
}

static int compare_texts(const char *a, const char *b)
{
        return strcmp(a ? a : "\xff", b ? b : "\xff"); /* unknown ones last */
}

/* Worst first; then what belongs together stands together. */
static int compare_doors(const void *a, const void *b)
{
        const struct door *x = a, *y = b;
        const struct listener *l = x->listener, *m = y->listener;
        int r = (int)x->kind - (int)y->kind;

        if (r == 0)
                r = compare_texts(x->unit, y->unit);
        if (r == 0)
                r = (int)l->type - (int)m->type;
        if (r == 0 && l->type != LISTENER_INET)
                r = strcmp(l->name, m->name);
        if (r == 0)
                r = l->port - m->port;
        if (r == 0)
                r = l->protocol - m->protocol;
        if (r == 0)
                r = l->family - m->family;
        return r ? r : memcmp(l->addr, m->addr, sizeof(l->addr));
}

int doors_judge(const struct doors_plan *plan, const struct listeners *l, struct doors *ret)
{
        _cleanup_doors_ struct doors doors = {0};
        int r = 0;

        for (size_t i = 0; i < l->n && r == 0; i++)
                r = judge_one(plan, &l->items[i], &doors);
        if (r < 0)
                return r;
        if (doors.n > 1)
                qsort(doors.items, doors.n, sizeof(*doors.items), compare_doors);
        *ret = doors;
        doors = (struct doors){0};
        return 0;
}
