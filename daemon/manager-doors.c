/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "doors.h"
#include "manager-internal.h"
#include "sessions-cgroup.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

/* Of one machine; a program that opens more than that does it on purpose. */
#define LISTENERS_MAX 4096
/* Of one user, where there are more. */
#define LISTENERS_OF_USER 64

/* The plans of all orders that are asked about: what is a door to none of them need not be named. */
struct plans {
        struct doors_plan *items;
        struct subjects *subjects; /* as many; the plans point to them */
        size_t n;
};

static void plans_clear(struct plans *p)
{
        for (size_t i = 0; i < p->n; i++)
                subjects_clear(&p->subjects[i]);
        free(p->subjects);
        free(p->items);
}

static struct doors_plan plan_of(const struct profile *p, const struct subjects *s,
                                 const struct sightings *seen)
{
        struct doors_plan plan = {.subjects = s,
                                  .destinations = &p->destinations,
                                  .services = &p->services,
                                  .ephemeral_first = seen->ephemeral_first,
                                  .ephemeral_last = seen->ephemeral_last};

        if (profile_loopback_deny_default(p))
                plan.repeat = &p->loopback_deny;
        return plan;
}

static int add_plan(struct plans *plans, const struct lockdown *l, const struct sightings *seen)
{
        int r = lockdown_subjects(l, &plans->subjects[plans->n]);

        if (r < 0)
                return r;
        plans->items[plans->n] = plan_of(lockdown_profile(l), &plans->subjects[plans->n], seen);
        plans->n++;
        return 0;
}

static int gather_plans(const struct manager *m, const struct lockdown *only, const struct sightings *seen,
                        struct plans *ret)
{
        int r = 0;

        ret->items = calloc(m->n_lockdowns + 1, sizeof(*ret->items));
        ret->subjects = calloc(m->n_lockdowns + 1, sizeof(*ret->subjects));
        if (!ret->items || !ret->subjects)
                return -ENOMEM;
        if (only)
                return add_plan(ret, only, seen);
        for (size_t i = 0; i < m->n_lockdowns && r == 0; i++)
                if (m->lockdowns[i]->order)
                        r = add_plan(ret, m->lockdowns[i], seen);
        return r;
}

static bool is_suspect(const struct plans *plans, const struct listener *l)
{
        for (size_t i = 0; i < plans->n; i++)
                if (doors_suspect(&plans->items[i], l))
                        return true;
        return false;
}

/* ---- which are looked at ---- */

/* Sockets that may be doors, of both protocols. */
struct suspects {
        struct sever_socket *items;
        size_t n;
};

static void suspects_clear(struct suspects *s)
{
        free(s->items);
}

static struct listener listener_of(const struct sever_socket *s)
{
        struct listener l = {.type = LISTENER_INET,
                             .family = s->family,
                             .protocol = s->protocol,
                             .port = s->sport,
                             .uid = s->uid,
                             .cgroup = s->cgroup};

        memcpy(l.addr, s->src, sizeof(l.addr));
        return l;
}

static int add_suspects(const struct plans *plans, const struct sever_socket *sockets, size_t n,
                        struct suspects *to)
{
        struct sever_socket *more = reallocarray(to->items, to->n + n + 1, sizeof(*more));

        if (!more)
                return -ENOMEM;
        to->items = more;
        for (size_t i = 0; i < n; i++) {
                struct listener l = listener_of(&sockets[i]);

                if (is_suspect(plans, &l))
                        more[to->n++] = sockets[i];
        }
        return 0;
}

static int compare_owners(const void *a, const void *b)
{
        const struct sever_socket *x = a, *y = b;

        return x->uid != y->uid ? (x->uid > y->uid) - (x->uid < y->uid) : x->sport - y->sport;
}

/* Of too many: root's, and some of each other user's; the lowest uids and ports first, for the highest uids
 * may be subordinate ones, of which one person has thousands. Nobody's vanish in the crowd that somebody else
 * makes. */
static void thin_out(struct suspects *s, struct problems *unseen)
{
        size_t kept = 0, most = 0, end;
        uint32_t whose = 0;

        if (s->n <= LISTENERS_MAX)
                return;
        qsort(s->items, s->n, sizeof(*s->items), compare_owners);
        for (size_t i = 0; i < s->n; i = end) {
                const uint32_t uid = s->items[i].uid;
                size_t share = uid == 0 ? LISTENERS_MAX : LISTENERS_OF_USER;

                for (end = i + 1; end < s->n && s->items[end].uid == uid;)
                        end++;
                if (end - i > most) {
                        most = end - i;
                        whose = uid;
                }
                for (size_t k = i; k < end && share > 0 && kept < LISTENERS_MAX; k++, share--)
                        s->items[kept++] = s->items[k];
        }
        problems_add(unseen,
                     "more than %d listening sockets, %zu of them by uid %" PRIu32
                     ": of each user but root at most %d were looked at",
                     LISTENERS_MAX, most, whose, LISTENERS_OF_USER);
        s->n = kept;
}

/* ---- looking ---- */

static int look_at_protocol(struct manager *m, const struct plans *plans, uint8_t protocol,
                            struct suspects *suspects, struct problems *unseen)
{
        const char *name = protocol == IPPROTO_TCP ? "TCP" : "UDP";
        _cleanup_free_ struct sever_socket *sockets = NULL;
        size_t n = 0;
        int r = sever_listeners(m->sever, protocol, &sockets, &n);

        if (r == -ENOENT)
                problems_add(unseen, "%s sockets: this kernel cannot list them (module %s)", name,
                             protocol == IPPROTO_TCP ? "tcp_diag" : "udp_diag");
        else if (r < 0)
                problems_add(unseen, "%s sockets could not be listed: %s", name, strerror(-r));
        return r < 0 ? 0 : add_suspects(plans, sockets, n, suspects);
}

static int look_at_sockets(struct manager *m, const struct plans *plans, struct sightings *s)
{
        _cleanup_(suspects_clear) struct suspects suspects = {0};
        int r = look_at_protocol(m, plans, IPPROTO_TCP, &suspects, &s->unseen);

        if (r == 0)
                r = look_at_protocol(m, plans, IPPROTO_UDP, &suspects, &s->unseen);
        if (r < 0)
                return r;
        thin_out(&suspects, &s->unseen);
        for (size_t i = 0; i < suspects.n; i++) {
                struct listener *new = listeners_add(&s->listeners);

                if (!new)
                        return -ENOMEM;
                *new = listener_of(&suspects.items[i]);
        }
        return 0;
}

/* By one of the orders: then nothing that he offers gets out. */
static bool is_held(const struct plans *plans, uint32_t uid)
{
        for (size_t i = 0; i < plans->n; i++)
                if (uid != UINT32_MAX && subjects_match_uid(plans->items[i].subjects, uid))
                        return true;
        return false;
}

struct unix_look {
        const struct plans *plans;
        struct sightings *sightings;
        bool bus;
};

static int on_unix(void *userdata, const char *path, uint32_t uid)
{
        struct unix_look *u = userdata;

        u->bus |= doors_is_system_bus(path);
        /* In a mount namespace of his own, everybody gives a socket any path: theirs are not to be taken for
         * the service's. */
        if (is_held(u->plans, uid))
                return 0;
        return doors_add_unix(&u->sightings->listeners, "", path, uid);
}

static int look_at_services(struct manager *m, const struct plans *plans, const char *cgroup_root,
                            struct sightings *s)
{
        struct unix_look u = {.plans = plans, .sightings = s};
        int r = sever_unix_listeners(m->sever, on_unix, &u);

        if (r == -ENOMEM)
                return r;
        if (r == -ENOENT)
                problems_add(&s->unseen, "Unix sockets: this kernel cannot list them (module unix_diag)");
        else if (r < 0)
                problems_add(&s->unseen, "Unix sockets could not be listed: %s", strerror(-r));
        return u.bus ? doors_add_bus_services(&s->listeners, "", cgroup_root) : 0;
}

static int name_all(const char *cgroup_root, struct sightings *s)
{
        int r = 0;

        if (s->listeners.n == 0)
                return 0;
        if (!cgroup_root) {
                problems_add(&s->unseen, "no cgroup2 is mounted: whose a socket is cannot be told");
                return 0;
        }
        r = doors_name(&s->listeners, cgroup_root);
        if (r == -E2BIG)
                problems_add(&s->unseen, "too many control groups: the units of some sockets were not found");
        else if (r < 0 && r != -ENOMEM)
                problems_add(&s->unseen, "the control groups could not be read: %s", strerror(-r));
        return r == -ENOMEM ? r : 0;
}

static int look(struct manager *m, const struct plans *plans, struct sightings *s)
{
        int r;

        if (plans->n == 0)
                return 0;
        if (!m->sever) {
                problems_add(&s->unseen, "this kernel cannot list sockets (module inet_diag)");
                return 0;
        }
        if (!m->cgroup_root)
                (void)cgroup_find_root("/proc/self/mounts", &m->cgroup_root);
        r = look_at_sockets(m, plans, s);
        if (r == 0)
                r = look_at_services(m, plans, m->cgroup_root, s);
        return r < 0 ? r : name_all(m->cgroup_root, s);
}

void manager_look_for_doors(struct manager *m, const struct lockdown *only, struct sightings *ret)
{
        _cleanup_(plans_clear) struct plans plans = {0};
        int r;

        doors_ephemeral_ports(&ret->ephemeral_first, &ret->ephemeral_last);
        r = gather_plans(m, only, ret, &plans);
        if (r == 0)
                r = look(m, &plans, ret);
        if (r < 0)
                problems_add(&ret->unseen, "the look was cut short: %s", strerror(-r));
}

int lockdown_judge_doors(const struct lockdown *l, const struct sightings *s, struct doors *ret)
{
        _cleanup_subjects_ struct subjects subjects = {0};
        struct doors_plan plan;
        int r = lockdown_subjects(l, &subjects);

        if (r < 0)
                return r;
        plan = plan_of(lockdown_profile(l), &subjects, s);
        return doors_judge(&plan, &s->listeners, ret);
}

void sightings_clear(struct sightings *s)
{
        listeners_clear(&s->listeners);
        problems_clear(&s->unseen);
}
