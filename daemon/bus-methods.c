/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "audit.h"
#include "bus-internal.h"
#include "timespan.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

/* Each handler: parse, authorise, act; the manager answers when it is done. */

/* Whose call it is that a handler is given. */
struct question {
        struct bus *bus;
        const struct peer *peer;
};

/* ---- rights ---- */

static char root_name[] = "root"; /* no directory is needed to know this one */

static bool permits(const struct bus *b, const char *method, const struct peer *peer);
static const char *key_for(const char *method);

/* Returns 0 and who called, or refuses, journals, and returns a negative error to be handed back. */
static int authorise(const struct question *q, sd_bus_message *m, struct caller *ret, sd_bus_error *error)
{
        const char *method = sd_bus_message_get_member(m);
        const struct peer *peer = q->peer;

        if (permits(q->bus, method, peer)) {
                *ret = (struct caller){
                        .uid = peer->uid, .pid = peer->pid, .name = peer->uid == 0 ? root_name : NULL};
                return 0;
        }
        bus_tell_refusal(q->bus, peer, method);
        if (bus_right_unknown(q->bus, method, peer))
                return sd_bus_error_setf(error, ERROR_NOT_PERMITTED,
                                         "the directory has not said yet whether you (uid %" PRIu32
                                         ") have the right to %s, which %s= in [Access] of lockdownd.conf "
                                         "gives: try again in a moment",
                                         peer->uid, method, key_for(method));
        return sd_bus_error_setf(error, ERROR_NOT_PERMITTED,
                                 "you (uid %" PRIu32
                                 ") have no right to %s, which %s= in [Access] of lockdownd.conf gives: "
                                 "ask an administrator",
                                 peer->uid, method, key_for(method));
}

/* Parsed: now the right to it, and something to answer with. After success the call is the manager's. */
static int admit(const struct question *q, sd_bus_message *m, struct caller *ret_caller,
                 struct call **ret_call, sd_bus_error *error)
{
        int r = authorise(q, m, ret_caller, error);

        if (r < 0)
                return r;
        *ret_call = call_new(q->bus, m, q->peer);
        return *ret_call ? 0 : -ENOMEM;
}

/* ---- options ---- */

struct options {
        struct order_time time;
        uint64_t confirm_within;
        const char *reason, *name;
        bool dry_run, everyone, yes;
        struct words groups, users, allow;
};

static void options_clear(struct options *o)
{
        words_clear(&o->groups);
        words_clear(&o->users);
        words_clear(&o->allow);
}

static int read_list(sd_bus_message *m, struct words *to)
{
        const char *text;
        int r = sd_bus_message_enter_container(m, 'v', "as");

        if (r >= 0)
                r = sd_bus_message_enter_container(m, 'a', "s");
        while (r >= 0 && (r = sd_bus_message_read(m, "s", &text)) > 0)
                r = words_add(to, text, NULL, 0);
        if (r >= 0)
                r = sd_bus_message_exit_container(m);
        return r < 0 ? r : sd_bus_message_exit_container(m);
}

static int read_flag(sd_bus_message *m, bool *to)
{
        int value, r = sd_bus_message_read(m, "v", "b", &value);

        *to = value;
        return r;
}

static int read_option(sd_bus_message *m, const char *key, struct options *o)
{
        if (strcmp(key, "for") == 0)
                return sd_bus_message_read(m, "v", "t", &o->time.duration);
        if (strcmp(key, "until") == 0)
                return sd_bus_message_read(m, "v", "t", &o->time.until);
        if (strcmp(key, "confirm-within") == 0)
                return sd_bus_message_read(m, "v", "t", &o->confirm_within);
        if (strcmp(key, "reason") == 0)
                return sd_bus_message_read(m, "v", "s", &o->reason);
        if (strcmp(key, "name") == 0)
                return sd_bus_message_read(m, "v", "s", &o->name);
        if (strcmp(key, "dry-run") == 0)
                return read_flag(m, &o->dry_run);
        if (strcmp(key, "yes") == 0)
                return read_flag(m, &o->yes);
        if (strcmp(key, "everyone") == 0)
                return read_flag(m, &o->everyone);
        if (strcmp(key, "groups") == 0)
                return read_list(m, &o->groups);
        if (strcmp(key, "users") == 0)
                return read_list(m, &o->users);
        if (strcmp(key, "allow") == 0)
                return read_list(m, &o->allow);
        return -ENOENT;
}

static int bad_option(sd_bus_error *error, const char *key, int r)
{
        if (r == -ENOENT)
                return sd_bus_error_setf(error, ERROR_BAD_REQUEST, "there is no option %s", key);
        if (r == -ENOMEM)
                return r;
        return sd_bus_error_setf(error, ERROR_BAD_REQUEST, "option %s has a value of the wrong type", key);
}

/* For those who have the right only: words take many times the room that they take in the message. */
static int read_options(sd_bus_message *m, struct options *o, sd_bus_error *error)
{
        const char *key;
        int r = sd_bus_message_enter_container(m, 'a', "{sv}");

        while (r >= 0 && (r = sd_bus_message_enter_container(m, 'e', "sv")) > 0) {
                r = sd_bus_message_read(m, "s", &key);
                if (r < 0)
                        return r;
                r = read_option(m, key, o);
                if (r < 0)
                        return bad_option(error, key, r);
                r = sd_bus_message_exit_container(m);
        }
        return r < 0 ? r : sd_bus_message_exit_container(m);
}

static int check_reason(const char *reason, sd_bus_error *error)
{
        if (reason && strlen(reason) > REASON_MAX)
                return sd_bus_error_setf(error, ERROR_BAD_REQUEST, "the reason is longer than %d bytes",
                                         REASON_MAX);
        return 0;
}

static int check_time(const struct order_time *t, sd_bus_error *error)
{
        if (t->duration > TIMESPAN_MAX)
                return sd_bus_error_setf(error, ERROR_BAD_REQUEST, "a duration of more than ten years");
        if (t->until > INT64_MAX / 2)
                return sd_bus_error_setf(error, ERROR_BAD_REQUEST, "an end beyond all calendars");
        return 0;
}

/* ---- ad-hoc plans ---- */

static int check_adhoc_name(const char *name, sd_bus_error *error)
{
        if (*name && !profile_name_valid(name))
                return sd_bus_error_setf(
                        error, ERROR_BAD_REQUEST,
                        "%s is no name for an order: letters, digits, '_', '-', '.', at most %d", name,
                        PROFILE_NAME_MAX);
        return 0;
}

static int adhoc_profile(struct options *o, struct profile **ret, sd_bus_error *error)
{
        const char *name = o->name ? o->name : "";
        _cleanup_(profile_freep) struct profile *p = profile_new(*name ? name : "adhoc");
        _cleanup_problems_ struct problems problems = {0};
        int r = check_adhoc_name(name, error);

        if (r < 0)
                return r;
        if (!p)
                return -ENOMEM;
        p->everyone = o->everyone;
        r = words_copy(&p->groups, &o->groups);
        if (r >= 0)
                r = words_copy(&p->users, &o->users);
        if (r >= 0)
                r = words_copy(&p->allow, &o->allow);
        if (r < 0)
                return r;
        r = profile_finish(p, &problems);
        if (r == -EINVAL && problems.n > 0)
                return sd_bus_error_setf(error, ERROR_BAD_REQUEST, "%s", problems.items[0]);
        if (r < 0)
                return r;
        if (!*name)
                p->name[0] = '\0'; /* the manager chooses */
        *ret = TAKE_PTR(p);
        return 0;
}

static bool describes_plan(const struct options *o)
{
        return o->name || o->everyone || o->groups.n > 0 || o->users.n > 0 || o->allow.n > 0;
}

/* ---- methods ---- */

static int method_order(sd_bus_message *m, const struct question *q, sd_bus_error *error)
{
        _cleanup_(options_clear) struct options o = {0};
        struct order_request request = {0};
        struct caller caller;
        struct call *call;
        const char *name;
        int r = sd_bus_message_read(m, "s", &name);

        if (r >= 0)
                r = authorise(q, m, &caller, error);
        if (r >= 0)
                r = read_options(m, &o, error);
        if (r >= 0)
                r = check_reason(o.reason, error);
        if (r >= 0)
                r = check_time(&o.time, error);
        if (r >= 0)
                r = check_time(&(struct order_time){.duration = o.confirm_within}, error);
        if (r < 0)
                return r;
        if (*name && describes_plan(&o))
                return sd_bus_error_setf(
                        error, ERROR_BAD_REQUEST,
                        "a profile says whom it blocks: give either a profile or groups and users");
        request = (struct order_request){.profile = *name ? name : NULL,
                                         .time = o.time,
                                         .confirm_within = o.confirm_within,
                                         .reason = o.reason,
                                         .dry_run = o.dry_run,
                                         .yes = o.yes};
        if (!*name)
                r = adhoc_profile(&o, &request.adhoc, error);
        if (r < 0)
                return r;
        call = call_new(q->bus, m, q->peer);
        if (!call) {
                profile_free(request.adhoc);
                return -ENOMEM;
        }
        manager_order(q->bus->manager, &request, &caller, call_done, call);
        return 1;
}

static int lift(const struct question *q, sd_bus_message *m, const char *profile, const char *reason,
                sd_bus_error *error)
{
        struct caller caller;
        struct call *call;
        int r = authorise(q, m, &caller, error);

        if (r >= 0)
                r = check_reason(reason, error);
        if (r < 0)
                return r;
        call = call_new(q->bus, m, q->peer);
        if (!call)
                return -ENOMEM;
        manager_lift(q->bus->manager, profile, reason, &caller, call_done, call);
        return 1;
}

static int method_lift(sd_bus_message *m, const struct question *q, sd_bus_error *error)
{
        const char *profile, *reason;
        int r = sd_bus_message_read(m, "ss", &profile, &reason);

        return r < 0 ? r : lift(q, m, profile, reason, error);
}

static int method_lift_all(sd_bus_message *m, const struct question *q, sd_bus_error *error)
{
        const char *reason;
        int r = sd_bus_message_read(m, "s", &reason);

        return r < 0 ? r : lift(q, m, NULL, reason, error);
}

static int method_extend(sd_bus_message *m, const struct question *q, sd_bus_error *error)
{
        _cleanup_(options_clear) struct options o = {0};
        struct caller caller;
        struct call *call;
        const char *profile;
        int r = sd_bus_message_read(m, "s", &profile);

        if (r >= 0)
                r = authorise(q, m, &caller, error);
        if (r >= 0)
                r = read_options(m, &o, error);
        if (r >= 0)
                r = check_time(&o.time, error);
        if (r < 0)
                return r;
        if (describes_plan(&o) || o.dry_run || o.reason || o.confirm_within || o.yes)
                return sd_bus_error_setf(error, ERROR_BAD_REQUEST, "%s takes only the options for and until",
                                         METHOD_EXTEND);
        call = call_new(q->bus, m, q->peer);
        if (!call)
                return -ENOMEM;
        manager_extend(q->bus->manager, profile, &o.time, &caller, call_done, call);
        return 1;
}

static int method_status(sd_bus_message *m, const struct question *q, sd_bus_error *error)
{
        struct caller caller;
        struct call *call;
        const char *profile;
        int names, r = sd_bus_message_read(m, "sb", &profile, &names);

        if (r >= 0)
                r = admit(q, m, &caller, &call, error);
        if (r < 0)
                return r;
        manager_status(q->bus->manager, profile, names, call_done, call);
        return 1;
}

/* Attempts, Confirm, Verify: the name of a profile. */
static int method_named(sd_bus_message *m, const struct question *q, sd_bus_error *error)
{
        const char *method = sd_bus_message_get_member(m), *profile;
        struct caller caller;
        struct call *call;
        int r = sd_bus_message_read(m, "s", &profile);

        if (r >= 0)
                r = admit(q, m, &caller, &call, error);
        if (r < 0)
                return r;
        if (strcmp(method, METHOD_CONFIRM) == 0)
                manager_confirm(q->bus->manager, profile, &caller, call_done, call);
        else if (strcmp(method, METHOD_VERIFY) == 0)
                manager_verify(q->bus->manager, profile, call_done, call);
        else
                manager_attempts(q->bus->manager, profile, call_done, call);
        return 1;
}

static int method_explain(sd_bus_message *m, const struct question *q, sd_bus_error *error)
{
        struct caller caller;
        struct call *call;
        const char *user, *destination;
        int r = sd_bus_message_read(m, "ss", &user, &destination);

        if (r >= 0)
                r = admit(q, m, &caller, &call, error);
        if (r < 0)
                return r;
        manager_explain(q->bus->manager, user, destination, call_done, call);
        return 1;
}

/* Profiles, History, Reload: nothing to parse. */
static int method_plain(sd_bus_message *m, const struct question *q, sd_bus_error *error)
{
        const char *method = sd_bus_message_get_member(m);
        struct caller caller;
        struct call *call;
        int r = admit(q, m, &caller, &call, error);

        if (r < 0)
                return r;
        if (strcmp(method, METHOD_RELOAD) == 0)
                manager_reload(q->bus->manager, &caller, call_done, call);
        else if (strcmp(method, METHOD_HISTORY) == 0)
                manager_history(q->bus->manager, call_done, call);
        else
                manager_profiles(q->bus->manager, call_done, call);
        return 1;
}

/* ---- the table: what is asked, the right to it, and who answers ---- */

static const struct {
        const char *name;
        enum right right;
        int (*answer)(sd_bus_message *m, const struct question *q, sd_bus_error *error);
} methods[] = {
        {METHOD_ORDER, RIGHT_ORDER, method_order},
        {METHOD_EXTEND, RIGHT_ORDER, method_extend},
        {METHOD_RELOAD, RIGHT_ORDER, method_plain},
        {METHOD_LIFT, RIGHT_LIFT, method_lift},
        {METHOD_LIFT_ALL, RIGHT_LIFT, method_lift_all},
        {METHOD_STATUS, RIGHT_STATUS, method_status},
        {METHOD_PROFILES, RIGHT_STATUS, method_plain},
        {METHOD_EXPLAIN, RIGHT_STATUS, method_explain},
        {METHOD_HISTORY, RIGHT_STATUS, method_plain},
        {METHOD_ATTEMPTS, RIGHT_STATUS, method_named},
        {METHOD_CONFIRM, RIGHT_ORDER, method_named},
        {METHOD_VERIFY, RIGHT_ORDER, method_named}, /* it repairs, and costs something */
};

static enum right right_to(const char *method)
{
        for (size_t i = 0; i < ELEMENTSOF(methods); i++)
                if (strcmp(methods[i].name, method) == 0)
                        return methods[i].right;
        return _RIGHT_MAX; /* what stands in no line of the table is nobody's */
}

static bool permits(const struct bus *b, const char *method, const struct peer *peer)
{
        enum right right = right_to(method);

        return right < _RIGHT_MAX && manager_permits(b->manager, right, peer);
}

bool bus_right_unknown(const struct bus *b, const char *method, const struct peer *peer)
{
        enum right right = right_to(method);

        return right < _RIGHT_MAX && !permits(b, method, peer) && manager_right_unknown(b->manager, right);
}

/* The key of [Access] that gives the right to it. */
static const char *key_for(const char *method)
{
        enum right right = right_to(method);

        return right < _RIGHT_MAX ? access_key(right) : "nothing";
}

/* The message bus brings the calls of all: who asks too much cannot be made to wait there, as on a connection
 * of his own. */
static bool asks_too_much(const struct bus *b, uint32_t uid)
{
        return accounts_wait(&b->accounts, uid, bus_now()) > 0 || call_by_system_bus(b, uid) ||
               waiting_by_system_bus(b, uid);
}

static int handle(const struct question *q, sd_bus_message *m, sd_bus_error *error)
{
        const char *method = sd_bus_message_get_member(m);

        for (size_t i = 0; i < ELEMENTSOF(methods); i++)
                if (strcmp(methods[i].name, method) == 0)
                        return methods[i].answer(m, q, error);
        return sd_bus_error_setf(error, SD_BUS_ERROR_UNKNOWN_METHOD, "there is no method %s", method);
}

int bus_handle_waited(struct bus *b, sd_bus_message *m, const struct peer *peer, sd_bus_error *error)
{
        const struct question q = {.bus = b, .peer = peer};
        const uint32_t uid = peer->uid;
        bool operator= bus_is_operator(b, peer), system = !bus_connection(b, sd_bus_message_get_bus(m));
        uint64_t before = bus_time_used();
        int r = handle(&q, m, error);

        if (operator)
                return r;
        if (system) /* a connection's own link is charged for as a whole */
                bus_charge(b, uid, bus_time_used() - before);
        call_charge(b, m);
        return r;
}

int bus_handle(struct bus *b, sd_bus_message *m, const struct peer *peer, sd_bus_error *error)
{
        bool system = !bus_connection(b, sd_bus_message_get_bus(m));

        if (system && !bus_is_operator(b, peer) && asks_too_much(b, peer->uid))
                return sd_bus_error_setf(
                        error, SD_BUS_ERROR_LIMITS_EXCEEDED,
                        "you (uid %" PRIu32
                        ") ask more than lockdownd answers one user at a time: ask again in a moment",
                        peer->uid);
        if (bus_right_unknown(b, sd_bus_message_get_member(m), peer))
                return waiting_add(b, m, peer, error);
        return bus_handle_waited(b, m, peer, error);
}

static int on_call(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
        struct bus *b = userdata;
        struct connection *c = bus_connection(b, sd_bus_message_get_bus(m));

        return c ? bus_handle(b, m, &c->peer, error) : system_bus_call(b->system, m, error);
}

/* Unprivileged by sd-bus's measure: who may call what is decided in authorise(). */
#define METHOD(name, in) SD_BUS_METHOD(name, in, "s", on_call, SD_BUS_VTABLE_UNPRIVILEGED)

const sd_bus_vtable bus_vtable[] = {
        SD_BUS_VTABLE_START(0),
        METHOD(METHOD_ORDER, "sa{sv}"),
        METHOD(METHOD_LIFT, "ss"),
        METHOD(METHOD_LIFT_ALL, "s"),
        METHOD(METHOD_EXTEND, "sa{sv}"),
        METHOD(METHOD_CONFIRM, "s"),
        METHOD(METHOD_VERIFY, "s"),
        METHOD(METHOD_STATUS, "sb"),
        METHOD(METHOD_PROFILES, NULL),
        METHOD(METHOD_HISTORY, NULL),
        METHOD(METHOD_ATTEMPTS, "s"),
        METHOD(METHOD_EXPLAIN, "ss"),
        METHOD(METHOD_RELOAD, NULL),
        SD_BUS_SIGNAL(SIGNAL_CHANGED, "ss", 0),
        SD_BUS_VTABLE_END,
};
