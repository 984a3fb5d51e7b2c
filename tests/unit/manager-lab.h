/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LOCKDOWN_TEST_MANAGER_LAB_H
#define LOCKDOWN_TEST_MANAGER_LAB_H

/* The manager with edges that are not there: the kernel's (rules, second lock, sockets) and the journal are
 * played, and each writes down that it was asked; the state directory is a real one. So a test can ask in
 * what order things are done, and refuse any of them. */

#include "manager-internal.h"
#include "store-lab.h"

#include <semaphore.h>

#define ME 1000
#define STEPS_MAX 64
#define STEP_SIZE 48

static struct {
        char steps[STEPS_MAX][STEP_SIZE];
        unsigned n;
        /* what to answer, 0 or -errno */
        int engage, replace, disengage, delete, second_on, second_off, save, save_record;
        bool quiet;             /* nobody has tried anything */
        bool alone;             /* nobody has a connection */
        bool record_lands;      /* it is on disk, whatever SAVE_RECORD says */
        uint64_t tables;        /* loaded so far: the number of the one that is there */
        uint64_t tried;         /* how often somebody did, in that one */
        const char *no_sender;  /* why nothing judges who sends */
        bool no_sender_ever;    /* … and that is for good */
        bool sender_back;       /* it is not, when it is tried again */
        unsigned sender_told;   /* how often the journal was told of that */
        bool device_came;       /* and it was not told yet */
        unsigned stage_steps;   /* … and so many more, until a table is staged */
        unsigned prepared;      /* how often programs of orders to come were loaded */
        unsigned prepare_times; /* … and are to be at least */
        size_t ready_wanted;    /* for how many orders */
        bool nothing_ready;     /* not for one */
        int loading;            /* begun and not ended */
        int load_fails;         /* so often */
        bool load_waits;        /* loading goes on until MAY_LOAD */
        bool load_was_alone;    /* … which did not come */
        sem_t may_load;
        bool second_there;  /* also one that is not to be taken over */
        bool second_staged; /* a plan is ready, and good as long as the table that is staged */
} edges;

__attribute__((format(printf, 1, 2))) static void step(const char *format, ...)
{
        va_list ap;

        assert_true(edges.n < STEPS_MAX);
        va_start(ap, format);
        vsnprintf(edges.steps[edges.n++], STEP_SIZE, format, ap);
        va_end(ap);
}

/* The steps since the last time, in their order: "engage, sever, …". */
static void assert_steps(const char *expected)
{
        char text[STEPS_MAX * STEP_SIZE] = "";

        for (unsigned i = 0; i < edges.n; i++) {
                if (i > 0)
                        strcat(text, ", ");
                strcat(text, edges.steps[i]);
        }
        edges.n = 0;
        assert_string_equal(text, expected);
}

static int refuse(int r, char **ret_error)
{
        if (r < 0 && ret_error)
                *ret_error = strdup("refused by the test");
        return r;
}

/* ---- nf_tables ---- */

bool __wrap_nft_owns_tables(const struct nft *n);
bool __wrap_nft_owns_tables(const struct nft *n)
{
        (void)n;
        return true;
}

const char *__wrap_nft_why_no_frames(const struct nft *n);
const char *__wrap_nft_why_no_frames(const struct nft *n)
{
        (void)n;
        return NULL;
}

int __wrap_nft_engage(struct nft *n, const struct ruleset *r, char **ret_error);
int __wrap_nft_engage(struct nft *n, const struct ruleset *r, char **ret_error)
{
        (void)n;
        (void)r;
        step("engage");
        return refuse(edges.engage, ret_error);
}

bool __wrap_device_watch_is_pending(const struct device_watch *w);
bool __wrap_device_watch_is_pending(const struct device_watch *w)
{
        (void)w;
        return edges.device_came;
}

void __wrap_nft_forget_devices(struct nft *n);
void __wrap_nft_forget_devices(struct nft *n)
{
        (void)n;
        step("forget devices");
}

int __wrap_nft_update(struct nft *n, const struct ruleset *old, const struct ruleset *new, char **ret_error);
int __wrap_nft_update(struct nft *n, const struct ruleset *old, const struct ruleset *new, char **ret_error)
{
        (void)n;
        (void)old;
        (void)new;
        step("update");
        return refuse(edges.replace, ret_error);
}

int __wrap_nft_cover_devices(struct nft *n, const struct ruleset *r, char **ret_error);
int __wrap_nft_cover_devices(struct nft *n, const struct ruleset *r, char **ret_error)
{
        (void)n;
        (void)r;
        (void)ret_error;
        return 0;
}

int __wrap_nft_stage(struct nft *n, const struct ruleset *r, struct nft_progress *at, char **ret_error);
int __wrap_nft_stage(struct nft *n, const struct ruleset *r, struct nft_progress *at, char **ret_error)
{
        (void)n;
        (void)r;
        step(at->begun ? "stage more" : "stage");
        edges.tables += edges.replace >= 0 && !at->begun;
        at->begun = true;
        if (edges.replace >= 0 && edges.stage_steps > 0) {
                edges.stage_steps--;
                return 1;
        }
        return refuse(edges.replace, ret_error);
}

int __wrap_nft_replace(struct nft *n, const struct ruleset *r, bool engaged, char **ret_error);
int __wrap_nft_replace(struct nft *n, const struct ruleset *r, bool engaged, char **ret_error)
{
        (void)n;
        (void)r;
        step(engaged ? "load engaged" : "stage");
        edges.tables += edges.replace >= 0;
        return refuse(edges.replace, ret_error);
}

int __wrap_nft_disengage(struct nft *n, const struct ruleset *r, char **ret_error);
int __wrap_nft_disengage(struct nft *n, const struct ruleset *r, char **ret_error)
{
        (void)n;
        (void)r;
        step("disengage");
        return refuse(edges.disengage, ret_error);
}

int __wrap_nft_delete(struct nft *n, const char *name, char **ret_error);
int __wrap_nft_delete(struct nft *n, const char *name, char **ret_error)
{
        (void)n;
        (void)name;
        step("delete");
        return refuse(edges.delete, ret_error);
}

int __wrap_nft_table_number(struct nft *n, const char *name, uint64_t *ret);
int __wrap_nft_table_number(struct nft *n, const char *name, uint64_t *ret)
{
        (void)n;
        (void)name;
        *ret = edges.tables;
        return 0;
}

/* One person tried one thing. */
int __wrap_nft_read_attempts(struct nft *n, const char *name, struct attempts *ret);
int __wrap_nft_read_attempts(struct nft *n, const char *name, struct attempts *ret)
{
        (void)n;
        (void)name;
        step("read attempts");
        if (edges.quiet)
                return 0;
        ret->items = calloc(1, sizeof(*ret->items));
        assert_non_null(ret->items);
        ret->items[0] = (struct attempt){.uid = ME,
                                         .family = 2,
                                         .protocol = 6,
                                         .port = 443,
                                         .packets = edges.tried,
                                         .bytes = edges.tried * 60};
        ret->n = 1;
        ret->packets = edges.tried;
        ret->bytes = edges.tried * 60;
        return 0;
}

int __wrap_nft_read_refused(struct nft *n, const char *name, uint64_t *packets, uint64_t *bytes);
int __wrap_nft_read_refused(struct nft *n, const char *name, uint64_t *packets, uint64_t *bytes)
{
        (void)n;
        (void)name;
        *packets = edges.quiet ? 0 : edges.tried;
        *bytes = *packets * 60;
        return 0;
}

struct nft *__wrap_nft_close(struct nft *n);
struct nft *__wrap_nft_close(struct nft *n)
{
        (void)n;
        return NULL;
}

/* ---- sockets ---- */

bool __wrap_sever_can_destroy(const struct sever *s);
bool __wrap_sever_can_destroy(const struct sever *s)
{
        (void)s;
        return true;
}

int __wrap_sever_run(struct sever *s, unsigned max_rounds, sever_wants_t wants, void *userdata,
                     struct sever_result *ret);
int __wrap_sever_run(struct sever *s, unsigned max_rounds, sever_wants_t wants, void *userdata,
                     struct sever_result *ret)
{
        (void)s;
        (void)max_rounds;
        (void)wants;
        (void)userdata;
        step("sever");
        *ret = edges.alone ? (struct sever_result){.rounds = 1}
                           : (struct sever_result){.destroyed = 2, .rounds = 2};
        return 0;
}

int __wrap_sever_listeners(struct sever *s, uint8_t protocol, struct sever_socket **ret, size_t *ret_n);
int __wrap_sever_listeners(struct sever *s, uint8_t protocol, struct sever_socket **ret, size_t *ret_n)
{
        (void)s;
        (void)protocol;
        *ret = NULL;
        *ret_n = 0;
        return 0;
}

int __wrap_sever_unix_listeners(struct sever *s, sever_unix_t found, void *userdata);
int __wrap_sever_unix_listeners(struct sever *s, sever_unix_t found, void *userdata)
{
        (void)s;
        (void)found;
        (void)userdata;
        return 0;
}

struct sever *__wrap_sever_close(struct sever *s);
struct sever *__wrap_sever_close(struct sever *s)
{
        (void)s;
        return NULL;
}

/* ---- the second lock ---- */

int __wrap_second_lock_adopt(struct second_lock *s, const char *name, char **ret_error);
int __wrap_second_lock_adopt(struct second_lock *s, const char *name, char **ret_error)
{
        (void)s;
        (void)name;
        (void)ret_error;
        return -ENOENT;
}

bool __wrap_second_lock_is_ready(const struct second_lock *s);
bool __wrap_second_lock_is_ready(const struct second_lock *s)
{
        (void)s;
        return !edges.nothing_ready;
}

struct second_lock_loading *__wrap_second_lock_load_begin(const struct second_lock *s, size_t wanted);
struct second_lock_loading *__wrap_second_lock_load_begin(const struct second_lock *s, size_t wanted)
{
        edges.ready_wanted = wanted;
        assert_int_equal(edges.loading++, 0); /* one at a time */
        return (struct second_lock_loading *)(uintptr_t)s;
}

static bool comes_within(sem_t *what, time_t seconds)
{
        struct timespec end;

        (void)clock_gettime(CLOCK_REALTIME, &end);
        end.tv_sec += seconds;
        return sem_timedwait(what, &end) == 0;
}

void __wrap_second_lock_load(struct second_lock_loading *l);
void __wrap_second_lock_load(struct second_lock_loading *l)
{
        (void)l;
        if (edges.load_waits)
                edges.load_was_alone = !comes_within(&edges.may_load, 5);
        edges.prepared++;
}

int __wrap_second_lock_load_end(struct second_lock *s, struct second_lock_loading *l, size_t wanted,
                                char **ret_error);
int __wrap_second_lock_load_end(struct second_lock *s, struct second_lock_loading *l, size_t wanted,
                                char **ret_error)
{
        (void)s;
        (void)l;
        (void)wanted;
        (void)ret_error;
        edges.loading--;
        return edges.load_fails-- > 0 ? -ENOMEM : edges.prepared < edges.prepare_times;
}

int __wrap_second_lock_stage(struct second_lock *s, const struct second_lock_spec *spec);
int __wrap_second_lock_stage(struct second_lock *s, const struct second_lock_spec *spec)
{
        (void)s;
        (void)spec;
        edges.second_staged = true;
        return 0;
}

void __wrap_second_lock_unstage(struct second_lock *s, const char *name);
void __wrap_second_lock_unstage(struct second_lock *s, const char *name)
{
        (void)s;
        (void)name;
        edges.second_staged = false;
}

int __wrap_second_lock_engage(struct second_lock *s, const struct second_lock_spec *spec, char **ret_error);
int __wrap_second_lock_engage(struct second_lock *s, const struct second_lock_spec *spec, char **ret_error)
{
        (void)s;
        (void)spec;
        step("second on");
        edges.second_there |= edges.second_on >= 0;
        return refuse(edges.second_on, ret_error);
}

int __wrap_second_lock_update(struct second_lock *s, const struct second_lock_spec *spec, char **ret_error);
int __wrap_second_lock_update(struct second_lock *s, const struct second_lock_spec *spec, char **ret_error)
{
        (void)s;
        (void)spec;
        (void)ret_error;
        step("second changed");
        return 0;
}

int __wrap_second_lock_disengage(struct second_lock *s, const char *name, char **ret_error);
int __wrap_second_lock_disengage(struct second_lock *s, const char *name, char **ret_error)
{
        (void)s;
        (void)name;
        step("second off");
        edges.second_there &= edges.second_off < 0;
        return refuse(edges.second_off, ret_error);
}

int __wrap_second_lock_read_refused(struct second_lock *s, const char *name, struct second_lock_refused *ret);
int __wrap_second_lock_read_refused(struct second_lock *s, const char *name, struct second_lock_refused *ret)
{
        (void)s;
        (void)name;
        if (!edges.second_there)
                return -ENOENT;
        *ret = edges.quiet ? (struct second_lock_refused){0}
                           : (struct second_lock_refused){.sent_packets = 1, .sent_bytes = 60};
        return 0;
}

const char *__wrap_second_lock_no_sender(const struct second_lock *s);
const char *__wrap_second_lock_no_sender(const struct second_lock *s)
{
        (void)s;
        return edges.no_sender;
}

bool __wrap_second_lock_sender_lost(const struct second_lock *s);
bool __wrap_second_lock_sender_lost(const struct second_lock *s)
{
        (void)s;
        return edges.no_sender && !edges.no_sender_ever;
}

int __wrap_second_lock_try_sender(struct second_lock *s);
int __wrap_second_lock_try_sender(struct second_lock *s)
{
        (void)s;
        step("try sender");
        if (edges.sender_back)
                edges.no_sender = NULL;
        return edges.sender_back ? 0 : -ENOMEM;
}

struct second_lock *__wrap_second_lock_close(struct second_lock *s);
struct second_lock *__wrap_second_lock_close(struct second_lock *s)
{
        (void)s;
        return NULL;
}

/* ---- the directory: nobody asks it ---- */

void __wrap_resolver_cancel(struct resolver *r, const void *userdata);
void __wrap_resolver_cancel(struct resolver *r, const void *userdata)
{
        (void)r;
        (void)userdata;
}

/* ---- the disk ---- */

int __real_store_save_order(struct store *s, const struct order *o);
int __wrap_store_save_order(struct store *s, const struct order *o);
int __wrap_store_save_order(struct store *s, const struct order *o)
{
        step("save %s", order_state_to_string(o->state));
        return edges.save < 0 ? edges.save : __real_store_save_order(s, o);
}

int __real_store_save_record(struct store *s, const char *id, const struct attempts_record *a);
int __wrap_store_save_record(struct store *s, const char *id, const struct attempts_record *a);
int __wrap_store_save_record(struct store *s, const char *id, const struct attempts_record *a)
{
        const int r = edges.save < 0 ? edges.save : edges.save_record;
        int saved;

        step("save attempts");
        if (r < 0 && !edges.record_lands)
                return r;
        saved = __real_store_save_record(s, id, a);
        return r < 0 ? r : saved;
}

int __real_store_take_back_end(struct store *s, const struct order *o, uint64_t ended_at);
int __wrap_store_take_back_end(struct store *s, const struct order *o, uint64_t ended_at);
int __wrap_store_take_back_end(struct store *s, const struct order *o, uint64_t ended_at)
{
        step("take back the end");
        return edges.save < 0 ? edges.save : __real_store_take_back_end(s, o, ended_at);
}

/* ---- the journal ---- */

void __wrap_audit(enum audit_event event, int priority, const struct order *o, const struct caller *caller,
                  const char *format, ...);
void __wrap_audit(enum audit_event event, int priority, const struct order *o, const struct caller *caller,
                  const char *format, ...)
{
        (void)priority;
        (void)o;
        (void)caller;
        (void)format;
        switch (event) {
        case AUDIT_ORDERED:
                step("journal ordered");
                break;
        case AUDIT_LIFTED:
                step("journal lifted");
                break;
        case AUDIT_EXPIRED:
                step("journal expired");
                break;
        case AUDIT_NOT_SAVED:
                step("journal not saved");
                break;
        default:
                step("journal %d", event);
        }
}

void __wrap_audit_log(int priority, const char *format, ...);
void __wrap_audit_log(int priority, const char *format, ...)
{
        (void)priority;
        edges.sender_told += strstr(format, "who sends") != NULL;
}

/* ---- the manager ---- */

struct manager_fixture {
        struct fixture disk;
        struct manager *m;
        struct lockdown *l; /* profile staff, staged, with one member */
        json_t *reply;      /* of the last operation */
        char *error;        /* … or the sentence */
};

static void on_done(void *userdata, const struct outcome *outcome)
{
        struct manager_fixture *f = userdata;

        step(outcome->error ? "error" : "reply");
        json_decref(f->reply);
        free(f->error);
        f->reply = outcome->error ? NULL : json_incref(outcome->reply);
        f->error = outcome->error ? strdup(outcome->message) : NULL;
}

static struct profile *new_profile(const char *name)
{
        struct profile *p = profile_new(name);
        _cleanup_problems_ struct problems problems = {0};

        assert_non_null(p);
        assert_int_equal(words_add(&p->users, "me", NULL, 0), 0);
        assert_int_equal(profile_finish(p, &problems), 0);
        return p;
}

static void know_people(struct lockdown *l)
{
        assert_int_equal(idset_append(&l->members.subjects.uids, ME, ME), 0);
        idset_normalize(&l->members.subjects.uids);
        l->members.as_of = 1;
        l->have_members = true;
        l->fingerprint = watch_fingerprint();
}

static int manager_setup(void **state)
{
        static char kernel; /* somewhere for the edges to be */
        struct manager_fixture *f = calloc(1, sizeof(*f));
        _cleanup_(profile_freep) struct profile *p = new_profile("staff");
        struct manager *m = calloc(1, sizeof(*m));

        assert_true(f && m);
        memset(&edges, 0, sizeof(edges));
        edges.tried = 3;
        strcpy(f->disk.dir, "/tmp/test-manager-XXXXXX");
        assert_non_null(mkdtemp(f->disk.dir));
        f->m = m;
        m->lock_fd = -1;
        m->nft = (struct nft *)&kernel;
        m->sever = (struct sever *)&kernel;
        m->second = (struct second_lock *)&kernel;
        assert_true(sd_event_new(&m->event) >= 0);
        m->config = config_new_default();
        assert_non_null(m->config);
        assert_int_equal(store_open(f->disk.dir, &m->store, NULL, NULL), 0);
        f->disk.store = m->store;
        f->l = manager_add(m, p, true);
        assert_non_null(f->l);
        know_people(f->l);
        assert_int_equal(lockdown_sync(f->l), 0);
        assert_int_equal(lockdown_save_members(f->l), 0);
        assert_steps("stage");
        *state = f;
        return 0;
}

static int manager_teardown(void **state)
{
        struct manager_fixture *f = *state;

        manager_free(f->m);
        json_decref(f->reply);
        free(f->error);
        remove_tree(f->disk.dir);
        free(f);
        return 0;
}

static char operator[] = "oper";
static const struct caller caller = {.uid = 2000, .pid = 1, .name = operator};

/* The steps of it, where all is staged. */
#define ORDERED "engage, second on, sever, save active, journal ordered, reply"

static void order(struct manager_fixture *f, uint64_t duration)
{
        const struct order_request request = {.profile = "staff", .time.duration = duration, .yes = true};

        manager_order(f->m, &request, &caller, on_done, f);
}

static inline void lift(struct manager_fixture *f, const char *name)
{
        manager_lift(f->m, name, NULL, &caller, on_done, f);
}

static inline bool warned(const struct manager_fixture *f, const char *words)
{
        json_t *warning;
        size_t i;

        json_array_foreach(json_object_get(f->reply, "warnings"), i, warning)
        {
                if (strstr(json_string_value(warning), words))
                        return true;
        }
        return false;
}

#define IN_LAB(test) cmocka_unit_test_setup_teardown(test, manager_setup, manager_teardown)

#endif
