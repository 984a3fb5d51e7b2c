/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "manager-internal.h"
#include "route.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

/* RemoteSessions=end: logins of subjects from outside. Their packets belong to sshd, which is root's, so no
 * rule can match them; what is left is to end the sessions. They are killed, and their connections cut as
 * soon as no program holds them any more: sshd's sockets look all alike from outside, but one that a program
 * held before and none does after this session's processes died was theirs. */

/* Processes die, and let go of their sockets, a moment after they were told: looked after this often, at
 * intervals that double from this one on. */
#define TICK_FIRST (2 * 1000)
#define TICKS_MOST 10
/* How long the session an order was given from outlives the reply, so that it can be read. */
#define READING_TIME (USEC_PER_SEC / 2)
/* The journal's entry waits this long for the directory to tell a name. */
#define NAME_DEADLINE (2 * USEC_PER_SEC)

struct connection {
        int family;
        uint8_t src[16], dst[16];
        uint16_t sport, dport;
};

/* An entry for the journal that waits for the user's name. */
struct farewell {
        struct manager *manager;
        struct farewell *next;
        char *profile;
        char order_id[33];
        struct remote_session session;
};

struct remote {
        struct words ended; /* ids of sessions that were killed and that logind still lists */
        struct connection *connections;
        size_t n_connections, capacity;
        struct farewell *farewells;
        sd_event_source *ticker;
        unsigned ticks;
        uint64_t n_ended, n_cut; /* since it began to tick: sessions, connections */
};

/* ---- which ones ---- */

/* What cannot be judged is outside. Only the network counts: the ports of a connection that came in say
 * nothing about where it came from, so Allow= endpoints with ports are no networks here. */
static bool is_outside(const struct destinations *d, const char *host)
{
        struct endpoint e;

        if (endpoint_parse_host(host, &e) < 0)
                return true;
        e.local = e.local || route_is_local(e.family, e.addr, 0) > 0;
        return judgement_refuses(destinations_judge(d, &e));
}

/* Keeps those of LIST that L's order is to end; returns how many. */
static size_t keep_those_of(const struct lockdown *l, const struct subjects *s, struct remote_session *list,
                            size_t n)
{
        size_t kept = 0;

        for (size_t i = 0; i < n; i++)
                if (subjects_match_uid(s, list[i].uid) &&
                    is_outside(&lockdown_profile(l)->destinations, list[i].host)) {
                        struct remote_session other = list[kept];

                        list[kept++] = list[i];
                        list[i] = other;
                }
        return kept;
}

int lockdown_remote_sessions(const struct lockdown *l, struct remote_session **ret, size_t *ret_n)
{
        _cleanup_subjects_ struct subjects s = {0};
        struct remote_session *list = NULL;
        size_t n = 0, kept;
        int r;

        *ret = NULL;
        *ret_n = 0;
        if (!lockdown_profile(l)->end_remote_sessions)
                return 0;
        if (!l->manager->sessions)
                return -EOPNOTSUPP;
        r = lockdown_subjects(l, &s);
        if (r >= 0)
                r = sessions_remote(l->manager->sessions, &list, &n);
        if (r < 0)
                return r;
        kept = keep_those_of(l, &s, list, n);
        for (size_t i = kept; i < n; i++) {
                free(list[i].id);
                free(list[i].host);
        }
        *ret = list;
        *ret_n = kept;
        return 0;
}

/* ---- whoever orders ---- */

static bool find_session(const struct lockdown *l, int pid, struct remote_session *list, size_t n,
                         struct remote_session **ret)
{
        _cleanup_free_ char *id = NULL;

        if (sessions_of_process(l->manager->sessions, pid, &id) < 0)
                return false;
        for (size_t i = 0; i < n; i++)
                if (strcmp(list[i].id, id) == 0) {
                        *ret = &list[i];
                        return true;
                }
        return false;
}

static char *foot_sentence(const struct lockdown *l, const struct remote_session *own)
{
        const struct profile *p = lockdown_profile(l);
        const char *host = own->host ? own->host : "an unknown place";
        _cleanup_subjects_ struct subjects s = {0};
        char *text = NULL;
        int r = 0;

        if (!is_outside(&p->destinations, own->host) || lockdown_subjects(l, &s) < 0)
                return NULL;
        if (p->end_remote_sessions && subjects_match_uid(&s, own->uid))
                r = asprintf(&text, "it would end your own session (%s, from %s)", own->id, host);
        else if (p->everyone)
                r = asprintf(&text,
                             "it would leave no way to log in again from %s, which lies outside Allow=: the "
                             "session that you have would be the last one",
                             host);
        return r < 0 ? NULL : text;
}

char *lockdown_own_foot(const struct lockdown *l, int pid)
{
        const struct profile *p = lockdown_profile(l);
        struct remote_session *list, *own;
        char *text = NULL;
        size_t n;

        if (!l->manager->sessions || !(p->end_remote_sessions || p->everyone) ||
            sessions_remote(l->manager->sessions, &list, &n) < 0)
                return NULL;
        if (find_session(l, pid, list, n, &own))
                text = foot_sentence(l, own);
        remote_sessions_free(list, n);
        return text;
}

/* ---- their connections ---- */

struct chosen_hosts {
        struct remote *remote;
        struct endpoint *hosts;
        size_t n;
};

static bool is_from_one_of(const struct chosen_hosts *c, const struct sever_socket *s)
{
        for (size_t i = 0; i < c->n; i++)
                if (c->hosts[i].family == s->family &&
                    memcmp(c->hosts[i].addr, s->dst, s->family == AF_INET ? 4 : 16) == 0)
                        return true;
        return false;
}

static bool is_connection(const struct connection *c, const struct sever_socket *s)
{
        size_t size = s->family == AF_INET ? 4 : 16;

        return c->family == s->family && c->sport == s->sport && c->dport == s->dport &&
               memcmp(c->src, s->src, size) == 0 && memcmp(c->dst, s->dst, size) == 0;
}

static bool is_remembered(const struct remote *remote, const struct sever_socket *s)
{
        for (size_t i = 0; i < remote->n_connections; i++)
                if (is_connection(&remote->connections[i], s))
                        return true;
        return false;
}

static void remember(struct remote *remote, const struct sever_socket *s)
{
        struct connection *c;

        if (remote->n_connections == remote->capacity) {
                size_t capacity = remote->capacity ? remote->capacity * 2 : 16;
                struct connection *more = reallocarray(remote->connections, capacity, sizeof(*more));

                if (!more)
                        return; /* then its end is the one that the kernel gives it */
                remote->connections = more;
                remote->capacity = capacity;
        }
        c = &remote->connections[remote->n_connections++];
        *c = (struct connection){.family = s->family, .sport = s->sport, .dport = s->dport};
        memcpy(c->src, s->src, sizeof(c->src));
        memcpy(c->dst, s->dst, sizeof(c->dst));
}

/* Chooses none: it only looks. */
static bool remember_held(const struct sever_socket *s, void *userdata)
{
        struct chosen_hosts *c = userdata;

        if (s->protocol == IPPROTO_TCP && s->uid == 0 && !s->orphan && is_from_one_of(c, s) &&
            !is_remembered(c->remote, s))
                remember(c->remote, s);
        return false;
}

static void remember_connections(struct manager *m, const struct remote_session *list, size_t n)
{
        _cleanup_free_ struct endpoint *hosts = calloc(n + 1, sizeof(*hosts));
        struct chosen_hosts c = {.remote = m->remote, .hosts = hosts};
        uint64_t ignored;

        if (!m->sever || !hosts)
                return;
        for (size_t i = 0; i < n; i++)
                if (endpoint_parse_host(list[i].host, &hosts[c.n]) >= 0)
                        c.n++;
        if (c.n > 0)
                (void)sever_count(m->sever, remember_held, &c, &ignored);
}

static bool was_let_go(const struct sever_socket *s, void *userdata)
{
        return s->protocol == IPPROTO_TCP && s->orphan && is_remembered(userdata, s);
}

static void cut_connections(struct manager *m)
{
        struct sever_result result;
        int r;

        if (!m->sever || m->remote->n_connections == 0)
                return;
        r = sever_run(m->sever, SEVER_ROUNDS, was_let_go, m->remote, &result);
        if (r < 0)
                audit_log(LOG_ERR, "connections of sessions that were ended could not be cut: %s",
                          strerror(-r));
        m->remote->n_cut += result.destroyed;
}

/* ---- the journal ---- */

static void write_farewell(struct farewell *f, const char *name)
{
        const struct lockdown *l = manager_find(f->manager, f->profile);
        const char *host = f->session.host ? f->session.host : "an unknown place";
        bool same = l && l->order && strcmp(l->order->id, f->order_id) == 0;
        struct endpoint ignored;
        char number[32];

        (void)snprintf(number, sizeof(number), "uid %" PRIu32, f->session.uid);
        audit(AUDIT_SESSION_ENDED, LOG_NOTICE, same ? l->order : NULL, NULL,
              "%s: session %s of %s, logged in from %s, was ended%s", f->profile, f->session.id,
              name ? name : number, host,
              endpoint_parse_host(f->session.host, &ignored) < 0
                      ? "; that is no address, so it counts as outside"
                      : "");
}

static void farewell_free(struct farewell *f)
{
        struct farewell **p = &f->manager->remote->farewells;

        while (*p != f)
                p = &(*p)->next;
        *p = f->next;
        free(f->profile);
        free(f->session.id);
        free(f->session.host);
        free(f);
}

static void on_name(void *userdata, int error, const uint32_t *uids, char *const *names, size_t n)
{
        struct farewell *f = userdata;

        (void)uids;
        write_farewell(f, error >= 0 && n == 1 ? names[0] : NULL);
        farewell_free(f);
}

static void journal(const struct lockdown *l, const struct remote_session *session)
{
        struct manager *m = l->manager;
        struct farewell *f = calloc(1, sizeof(*f));

        if (f) {
                f->manager = m;
                f->profile = strdup(l->name);
                f->session.uid = session->uid;
                f->session.id = strdup(session->id);
                f->session.host = session->host ? strdup(session->host) : NULL;
                memcpy(f->order_id, l->order->id, sizeof(f->order_id));
                f->next = m->remote->farewells;
                m->remote->farewells = f;
        }
        if (!f || !f->profile || !f->session.id) {
                audit(AUDIT_SESSION_ENDED, LOG_NOTICE, l->order, NULL, "%s: session %s was ended", l->name,
                      session->id);
                if (f)
                        farewell_free(f);
                return;
        }
        if (resolver_names(m->resolver, &f->session.uid, 1, NAME_DEADLINE, on_name, f) < 0)
                on_name(f, -EIO, NULL, NULL, 0);
}

/* ---- ending them ---- */

static bool is_spared(const struct lockdown *l, const struct remote_session *session)
{
        return l->spared && strcmp(l->spared, session->id) == 0;
}

/* Told once, and in every status while it lasts. */
static void set_sessions_problem(struct lockdown *l, const char *problem)
{
        if (problem && !l->sessions_problem)
                audit_log(LOG_ERR, "%s: %s", l->name, problem);
        set_problem(&l->sessions_problem, problem ? "%s" : NULL, problem);
}

/* Returns whether there was anything left of it. */
static bool end_session(struct lockdown *l, const struct remote_session *session, bool *changed,
                        char **ret_problem)
{
        struct remote *remote = l->manager->remote;
        bool known = words_contain(&remote->ended, session->id);
        size_t processes = 0;
        int r = sessions_end(l->manager->sessions, session, &processes);

        if (r < 0)
                set_problem(ret_problem,
                            "session %s of uid %" PRIu32 " comes from outside and could not be ended: %s",
                            session->id, session->uid,
                            r == -EOPNOTSUPP ? "no cgroup2 is mounted to find its processes by"
                                             : strerror(-r));
        if (processes == 0)
                return false;
        if (!known && words_add(&remote->ended, session->id, NULL, 0) >= 0) {
                remote->n_ended++;
                l->order->sessions_ended++;
                *changed = true;
                journal(l, session);
        }
        return true;
}

/* Returns how many there was anything left of. */
static size_t end_sessions(struct lockdown *l, bool *changed)
{
        _cleanup_free_ char *problem = NULL;
        struct remote_session *list;
        size_t n, left = 0;
        int r = lockdown_remote_sessions(l, &list, &n);

        if (r < 0)
                set_problem(&problem, "logins from outside are not ended, logind cannot be followed: %s",
                            strerror(-r));
        l->caller_leaves = false;
        for (size_t i = 0; i < n; i++)
                l->caller_leaves |= is_spared(l, &list[i]);
        if (n > 0)
                remember_connections(l->manager, list, n);
        for (size_t i = 0; i < n; i++)
                if (!is_spared(l, &list[i]))
                        left += end_session(l, &list[i], changed, &problem);
        remote_sessions_free(list, n);
        set_sessions_problem(l, problem);
        return left;
}

/* A session's id never comes back, but the list must not grow for ever. */
static void forget_those_gone(struct manager *m)
{
        struct words still = {0};
        struct remote_session *list;
        size_t n;

        if (m->remote->ended.n == 0 || sessions_remote(m->sessions, &list, &n) < 0)
                return;
        for (size_t i = 0; i < n; i++)
                if (words_contain(&m->remote->ended, list[i].id))
                        (void)words_add(&still, list[i].id, NULL, 0);
        remote_sessions_free(list, n);
        words_clear(&m->remote->ended);
        m->remote->ended = still;
}

static size_t end_all(struct manager *m)
{
        size_t left = 0;

        for (size_t i = 0; i < m->n_lockdowns; i++) {
                struct lockdown *l = m->lockdowns[i];
                bool changed = false;

                if (!l->order)
                        continue;
                left += end_sessions(l, &changed);
                if (changed)
                        lockdown_save(l);
        }
        return left;
}

/* One that was closed with nothing queued leaves nothing to cut, so this is a reason to go on, not for ever.
 */
static bool waits_for_connections(const struct remote *remote)
{
        return remote->n_connections > 0 && remote->n_cut < remote->n_ended;
}

static int on_tick(sd_event_source *source, uint64_t usec, void *userdata)
{
        struct manager *m = userdata;
        struct remote *remote = m->remote;
        size_t left = end_all(m);

        (void)usec;
        cut_connections(m);
        remote->ticks++;
        if (remote->ticks < TICKS_MOST && (left > 0 || waits_for_connections(remote))) {
                (void)sd_event_source_set_time_relative(source, TICK_FIRST << remote->ticks);
                (void)sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
                return 0;
        }
        if (left > 0)
                audit_log(LOG_ERR,
                          "%zu sessions from outside still have processes; they are told to end again every "
                          "few seconds",
                          left);
        remote->n_connections = 0;
        remote->n_ended = remote->n_cut = 0;
        remote->ticker = sd_event_source_disable_unref(remote->ticker);
        forget_those_gone(m);
        return 0;
}

static void look_after(struct manager *m)
{
        struct remote *remote = m->remote;
        int r;

        remote->ticks = 0;
        remote->ticker = sd_event_source_disable_unref(remote->ticker);
        r = sd_event_add_time_relative(m->event, &remote->ticker, CLOCK_MONOTONIC, TICK_FIRST, 500, on_tick,
                                       m);
        if (r < 0)
                audit_log(LOG_ERR, "the end of sessions cannot be watched: %s", strerror(-r));
}

void lockdown_end_sessions(struct lockdown *l)
{
        bool changed = false;

        if (!l->order || !l->manager->remote)
                return;
        if (end_sessions(l, &changed) > 0)
                look_after(l->manager);
        if (changed)
                lockdown_save(l);
}

void manager_end_sessions(struct manager *m)
{
        for (size_t i = 0; i < m->n_lockdowns; i++)
                lockdown_end_sessions(m->lockdowns[i]);
}

/* ---- the session an order was given from ---- */

void lockdown_spare_caller(struct lockdown *l, int pid)
{
        lockdown_forget_caller(l);
        if (l->manager->sessions && lockdown_profile(l)->end_remote_sessions)
                (void)sessions_of_process(l->manager->sessions, pid, &l->spared);
}

static int on_read(sd_event_source *source, uint64_t usec, void *userdata)
{
        struct lockdown *l = userdata;

        (void)source;
        (void)usec;
        lockdown_forget_caller(l);
        lockdown_end_sessions(l);
        return 0;
}

void lockdown_caller_answered(struct lockdown *l)
{
        if (!l->spared || l->reading)
                return;
        if (sd_event_add_time_relative(l->manager->event, &l->reading, CLOCK_MONOTONIC, READING_TIME, 1000,
                                       on_read, l) < 0)
                (void)on_read(NULL, 0, l);
}

void lockdown_forget_caller(struct lockdown *l)
{
        l->reading = sd_event_source_disable_unref(l->reading);
        free(l->spared);
        l->spared = NULL;
        l->caller_leaves = false;
}

/* ---- life ---- */

static void on_session(void *userdata)
{
        manager_end_sessions(userdata);
}

int manager_remote_new(struct manager *m)
{
        m->remote = calloc(1, sizeof(*m->remote));
        if (!m->remote)
                return -ENOMEM;
        if (m->sessions)
                sessions_on_session(m->sessions, on_session, m);
        return 0;
}

void manager_remote_free(struct manager *m)
{
        struct remote *remote = m->remote;

        if (!remote)
                return;
        while (remote->farewells) { /* nobody will tell their names any more */
                struct farewell *f = remote->farewells;

                resolver_cancel(m->resolver, f);
                on_name(f, -ECANCELED, NULL, NULL, 0);
        }
        sd_event_source_disable_unref(remote->ticker);
        words_clear(&remote->ended);
        free(remote->connections);
        free(remote);
        m->remote = NULL;
}
