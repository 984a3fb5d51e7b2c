// SPDX-License-Identifier: GPL-2.0-or-later
#include "resolver.h"
#include "resolver-internal.h"
#include "worker-process.h"
#include <errno.h>
#include <string.h>
#include <time.h>

/* Longer deadlines are as good as none. */
#define DEADLINE_MAX (UINT64_C(24) * 60 * 60 * 1000000)
/* How late a deadline may be noticed, microseconds. */
#define DEADLINE_ACCURACY 10000

struct request {
        struct request *next;
        bool awaited; /* goes first */
        char *text;   /* as sent to the worker */
        size_t size;
        uint64_t deadline;
        void *userdata;
        resolver_members_t members_callback; /* one of the three */
        resolver_names_t names_callback;
        resolver_person_t person_callback;
        uint32_t *uids; /* names only */
        size_t n_uids;
};

struct resolver {
        sd_event *event;
        struct launcher *launcher;      /* borrowed */
        struct worker_process *process; /* NULL until asked something */
        struct request *queue;
        struct request *current;  /* held by the process */
        bool reused;              /* the process has answered others before */
        sd_event_source *starter; /* takes up the next request, from the event loop only */
        sd_event_source *timer;   /* the current one's deadline */
};

static struct request *request_free(struct request *q)
{
        if (!q)
                return NULL;
        free(q->text);
        free(q->uids);
        free(q);
        return NULL;
}

DEFINE_CLEANUP(struct request *, request_free)

/* What an answer says, once read. */
struct answer {
        int error;
        struct membership members;
        struct person person;
        char **names;
};

const char *resolver_explain(int error)
{
        switch (error) {
        case -ETIMEDOUT:
                return "it takes too long";
        case -EPIPE:
                return "the process that asks it died";
        case -EBADMSG:
                return "what came back makes no sense";
        case -E2BIG:
                return "it names more people than can be true";
        default:
                return strerror(-error);
        }
}

/* It is code from elsewhere that speaks: "everybody from 1 to four billion" is a short line. */
static int read_members(const char *text, size_t size, struct membership *ret)
{
        _cleanup_membership_ struct membership m = {0};
        const struct idset *const exact[] = {&m.subjects.uids, &m.subjects.gids, &m.subjects.except_uids,
                                             &m.subjects.except_gids};
        int r = membership_parse(text, size, &m);

        if (r < 0)
                return r;
        for (size_t i = 0; i < ELEMENTSOF(exact); i++)
                if (idset_count(exact[i]) > RESOLVER_PEOPLE_MAX)
                        return -E2BIG;
        *ret = m;
        m = (struct membership){0};
        return 0;
}

static int read_answer(const struct request *q, const char *text, size_t size, struct answer *ret)
{
        if (q->members_callback)
                return read_members(text, size, &ret->members);
        if (q->person_callback)
                return person_parse(text, size, &ret->person);
        return resolver_parse_names(text, size, q->n_uids, &ret->names);
}

/* The requester may do as it likes meanwhile, freeing the resolver included. */
static void give_answer(const struct request *q, struct answer *a)
{
        if (q->members_callback)
                q->members_callback(q->userdata, a->error, &a->members);
        else if (q->person_callback)
                q->person_callback(q->userdata, a->error, &a->person);
        else
                q->names_callback(q->userdata, a->error, q->uids, a->names, a->error == 0 ? q->n_uids : 0);
        membership_clear(&a->members);
        person_clear(&a->person);
        a->names = resolver_names_free(a->names, q->n_uids);
}

/* The next request, if any, at the next turn of the event loop. */
static void start_soon(struct resolver *r)
{
        if (r->queue && !r->current)
                (void)sd_event_source_set_enabled(r->starter, SD_EVENT_ONESHOT);
}

static struct request *take_current(struct resolver *r)
{
        struct request *q = TAKE_PTR(r->current);

        (void)sd_event_source_set_enabled(r->timer, SD_EVENT_OFF);
        start_soon(r);
        return q;
}

/* Ends the process and fails what it holds. R may be gone afterwards. */
static void give_up(struct resolver *r, int error)
{
        _cleanup_(request_freep) struct request *q = NULL;
        struct answer a = {.error = error};

        r->process = worker_process_end(r->process);
        q = take_current(r);
        if (q)
                give_answer(q, &a);
}

static int on_deadline(sd_event_source *source, uint64_t usec, void *userdata)
{
        (void)source;
        (void)usec;
        give_up(userdata, -ETIMEDOUT);
        return 0;
}

static void on_answer(void *userdata, int error, const char *text, size_t size);

static int ensure_process(struct resolver *r)
{
        const struct launch what = {.kind = LAUNCH_RESOLVER};

        if (r->process && !worker_process_usable(r->process))
                r->process = worker_process_end(r->process);
        r->reused = r->process != NULL;
        if (r->process)
                return 0;
        return worker_process_start(r->event, r->launcher, &what, on_answer, r, &r->process);
}

static int hand_over(struct resolver *r, const struct request *q)
{
        int e;

        e = ensure_process(r);
        if (e < 0)
                return e;
        return worker_process_ask(r->process, q->text, q->size);
}

/* What an earlier request did to the process is no fault of this one: once more with a new one, within the
 * same deadline. */
static bool try_again(struct resolver *r)
{
        if (!r->current || !r->reused)
                return false;
        r->process = worker_process_end(r->process);
        return hand_over(r, r->current) == 0;
}

static void on_answer(void *userdata, int error, const char *text, size_t size)
{
        struct resolver *r = userdata;
        _cleanup_(request_freep) struct request *q = NULL;
        struct answer a = {0};

        if (error == 0 && r->current)
                error = read_answer(r->current, text, size, &a);
        if (error < 0) {
                if (!try_again(r))
                        give_up(r, error);
                return;
        }
        q = take_current(r);
        if (q)
                give_answer(q, &a);
}

static int arm_deadline(struct resolver *r, uint64_t deadline)
{
        int e;

        e = sd_event_source_set_time_relative(r->timer, deadline < DEADLINE_MAX ? deadline : DEADLINE_MAX);
        if (e < 0)
                return e;
        return sd_event_source_set_enabled(r->timer, SD_EVENT_ONESHOT);
}

static int begin(struct resolver *r, const struct request *q)
{
        int e;

        e = arm_deadline(r, q->deadline);
        if (e < 0)
                return e;
        return hand_over(r, q);
}

static int on_start(sd_event_source *source, void *userdata)
{
        struct resolver *r = userdata;
        int e;

        (void)source;
        if (r->current || !r->queue)
                return 0;
        r->current = r->queue;
        r->queue = r->current->next;
        r->current->next = NULL;
        e = begin(r, r->current);
        if (e < 0)
                give_up(r, e);
        return 0;
}

static int make_sources(struct resolver *r)
{
        int e;

        e = sd_event_add_defer(r->event, &r->starter, on_start, r);
        if (e < 0)
                return e;
        e = sd_event_source_set_enabled(r->starter, SD_EVENT_OFF);
        if (e < 0)
                return e;
        e = sd_event_add_time(r->event, &r->timer, CLOCK_MONOTONIC, 0, DEADLINE_ACCURACY, on_deadline, r);
        if (e < 0)
                return e;
        (void)sd_event_source_set_description(r->starter, "resolver-start");
        (void)sd_event_source_set_description(r->timer, "resolver-deadline");
        return sd_event_source_set_enabled(r->timer, SD_EVENT_OFF);
}

int resolver_new(sd_event *event, struct launcher *launcher, struct resolver **ret)
{
        _cleanup_(resolver_freep) struct resolver *r = calloc(1, sizeof(*r));
        int e;

        if (!r)
                return -ENOMEM;
        r->event = sd_event_ref(event);
        r->launcher = launcher;
        e = make_sources(r);
        if (e < 0)
                return e;
        *ret = TAKE_PTR(r);
        return 0;
}

struct resolver *resolver_free(struct resolver *r)
{
        struct request *q;

        if (!r)
                return NULL;
        worker_process_end(r->process);
        request_free(r->current);
        while ((q = r->queue)) {
                r->queue = q->next;
                request_free(q);
        }
        sd_event_source_disable_unref(r->starter);
        sd_event_source_disable_unref(r->timer);
        sd_event_unref(r->event);
        free(r);
        return NULL;
}

/* What everybody may ask must not hold up an order, for as long as a directory takes and as often as many can
 * ask. The one that the process has is asked again, by another process. */
static void enqueue(struct resolver *r, struct request *q)
{
        struct request **at = &r->queue;

        if (q->awaited && r->current && !r->current->awaited) {
                struct request *current = take_current(r);

                r->process = worker_process_end(r->process);
                current->next = r->queue;
                r->queue = current;
        }
        while (*at && (!q->awaited || (*at)->awaited))
                at = &(*at)->next;
        q->next = *at;
        *at = q;
        start_soon(r);
}

int resolver_resolve(struct resolver *r, const struct resolver_query *query, uint64_t deadline,
                     resolver_members_t callback, void *userdata)
{
        _cleanup_(request_freep) struct request *q = calloc(1, sizeof(*q));
        int e;

        if (!q)
                return -ENOMEM;
        q->awaited = query->awaited;
        q->deadline = deadline;
        q->members_callback = callback;
        q->userdata = userdata;
        e = resolver_encode_query(query, &q->text, &q->size);
        if (e < 0)
                return e;
        enqueue(r, TAKE_PTR(q));
        return 0;
}

int resolver_names(struct resolver *r, const uint32_t *uids, size_t n, uint64_t deadline,
                   resolver_names_t callback, void *userdata)
{
        _cleanup_(request_freep) struct request *q = calloc(1, sizeof(*q));
        int e;

        if (!q)
                return -ENOMEM;
        q->deadline = deadline;
        q->names_callback = callback;
        q->userdata = userdata;
        q->uids = calloc(n + 1, sizeof(*q->uids));
        if (!q->uids)
                return -ENOMEM;
        if (n > 0)
                memcpy(q->uids, uids, n * sizeof(*uids));
        q->n_uids = n;
        e = resolver_encode_uids(uids, n, &q->text, &q->size);
        if (e < 0)
                return e;
        enqueue(r, TAKE_PTR(q));
        return 0;
}

int resolver_person(struct resolver *r, const char *user, uint64_t deadline, resolver_person_t callback,
                    void *userdata)
{
        _cleanup_(request_freep) struct request *q = calloc(1, sizeof(*q));
        int e;

        if (!q)
                return -ENOMEM;
        q->deadline = deadline;
        q->person_callback = callback;
        q->userdata = userdata;
        e = resolver_encode_person(user, &q->text, &q->size);
        if (e < 0)
                return e;
        enqueue(r, TAKE_PTR(q));
        return 0;
}

void resolver_cancel(struct resolver *r, const void *userdata)
{
        struct request **i = &r->queue;

        while (*i) {
                struct request *q = *i;

                if (q->userdata == userdata) {
                        *i = q->next;
                        request_free(q);
                } else
                        i = &q->next;
        }
        if (r->current && r->current->userdata == userdata) {
                /* The others shall not wait for an answer that nobody wants. */
                r->process = worker_process_end(r->process);
                request_free(take_current(r));
        }
}
