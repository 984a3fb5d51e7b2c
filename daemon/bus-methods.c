/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "audit.h"
#include "bus-internal.h"
#include "timespan.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

/* Each handler: parse, authorise, act; the manager answers when it is done. */

/* One call being answered. */
struct call {
        sd_bus_message *message;
};

static void on_done(void *userdata, const struct outcome *outcome)
{
        struct call *call = userdata;
        _cleanup_free_ char *text = NULL;

        if (outcome->error)
                (void)sd_bus_reply_method_errorf(call->message, outcome->error, "%s",
                                                 outcome->message ? outcome->message : "out of memory");
        else {
                if (!outcome->text)
                        text = json_dumps(outcome->reply, JSON_COMPACT);
                if (text || outcome->text)
                        (void)sd_bus_reply_method_return(call->message, "s", text ? text : outcome->text);
                else
                        (void)sd_bus_reply_method_errorf(call->message, ERROR_FAILED, "out of memory");
        }
        sd_bus_message_unref(call->message);
        free(call);
}

static struct call *call_new(sd_bus_message *m)
{
        struct call *call = malloc(sizeof(*call));

        if (call)
                call->message = sd_bus_message_ref(m);
        return call;
}

/* ---- rights ---- */

static const struct {
        const char *method;
        enum right right;
} rights[] = {
        {METHOD_ORDER, RIGHT_ORDER},     {METHOD_EXTEND, RIGHT_ORDER},
        {METHOD_RELOAD, RIGHT_ORDER},    {METHOD_LIFT, RIGHT_LIFT},
        {METHOD_LIFT_ALL, RIGHT_LIFT},   {METHOD_STATUS, RIGHT_STATUS},
        {METHOD_PROFILES, RIGHT_STATUS}, {METHOD_EXPLAIN, RIGHT_STATUS},
        {METHOD_HISTORY, RIGHT_STATUS},  {METHOD_ATTEMPTS, RIGHT_STATUS},
        {METHOD_CONFIRM, RIGHT_ORDER},   {METHOD_VERIFY, RIGHT_ORDER}, /* it repairs, and costs something */
};

static bool permits(const struct bus *b, const char *method, const struct peer *peer)
{
        for (size_t i = 0; i < ELEMENTSOF(rights); i++)
                if (strcmp(rights[i].method, method) == 0)
                        return manager_permits(b->manager, rights[i].right, peer);
        return false; /* what stands in no line of the table is nobody's */
}

static char root_name[] = "root"; /* no directory is needed to know this one */

/* Returns 0 and who called, or refuses, journals, and returns a negative error to be handed back. */
static int authorise(struct bus *b, sd_bus_message *m, struct caller *ret, sd_bus_error *error)
{
        struct connection *connection = bus_connection(b, m);
        const char *method = sd_bus_message_get_member(m);
        struct peer peer = {0};
        bool allowed;
        int r = bus_peer(b, m, &peer);

        if (r < 0)
                return sd_bus_error_setf(error, ERROR_NOT_PERMITTED,
                                         "the caller's credentials cannot be told: %s", strerror(-r));
        if (connection)
                connection_touch(connection);
        allowed = permits(b, method, &peer);
        *ret = (struct caller){.uid = peer.uid, .pid = peer.pid, .name = peer.uid == 0 ? root_name : NULL};
        free(peer.gids);
        if (allowed)
                return 0;
        audit(AUDIT_REFUSED_CALLER, LOG_WARNING, NULL, &(struct caller){.uid = peer.uid, .pid = peer.pid},
              "uid %" PRIu32 " (pid %d) asked for %s and has no right to it", peer.uid, peer.pid, method);
        return sd_bus_error_setf(error, ERROR_NOT_PERMITTED,
                                 "you (uid %" PRIu32
                                 ") have no right to %s: ask an administrator, or be listed in "
                                 "[Access] of lockdownd.conf",
                                 peer.uid, method);
}

/* Parsed: now the right to it, and something to answer with. After success the call is the manager's. */
static int admit(struct bus *b, sd_bus_message *m, struct caller *ret_caller, struct call **ret_call,
                 sd_bus_error *error)
{
        int r = authorise(b, m, ret_caller, error);

        if (r < 0)
                return r;
        *ret_call = call_new(m);
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

static int method_order(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
        struct bus *b = userdata;
        _cleanup_(options_clear) struct options o = {0};
        struct order_request request = {0};
        struct caller caller;
        struct call *call;
        const char *name;
        int r = sd_bus_message_read(m, "s", &name);

        if (r >= 0)
                r = authorise(b, m, &caller, error);
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
        call = call_new(m);
        if (!call) {
                profile_free(request.adhoc);
                return -ENOMEM;
        }
        manager_order(b->manager, &request, &caller, on_done, call);
        return 1;
}

static int lift(struct bus *b, sd_bus_message *m, const char *profile, const char *reason,
                sd_bus_error *error)
{
        struct caller caller;
        struct call *call;
        int r = authorise(b, m, &caller, error);

        if (r >= 0)
                r = check_reason(reason, error);
        if (r < 0)
                return r;
        call = call_new(m);
        if (!call)
                return -ENOMEM;
        manager_lift(b->manager, profile, reason, &caller, on_done, call);
        return 1;
}

static int method_lift(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
        const char *profile, *reason;
        int r = sd_bus_message_read(m, "ss", &profile, &reason);

        return r < 0 ? r : lift(userdata, m, profile, reason, error);
}

static int method_lift_all(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
        const char *reason;
        int r = sd_bus_message_read(m, "s", &reason);

        return r < 0 ? r : lift(userdata, m, NULL, reason, error);
}

static int method_extend(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
        struct bus *b = userdata;
        _cleanup_(options_clear) struct options o = {0};
        struct caller caller;
        struct call *call;
        const char *profile;
        int r = sd_bus_message_read(m, "s", &profile);

        if (r >= 0)
                r = authorise(b, m, &caller, error);
        if (r >= 0)
                r = read_options(m, &o, error);
        if (r >= 0)
                r = check_time(&o.time, error);
        if (r < 0)
                return r;
        if (describes_plan(&o) || o.dry_run || o.reason || o.confirm_within || o.yes)
                return sd_bus_error_setf(error, ERROR_BAD_REQUEST, "%s takes only the options for and until",
                                         METHOD_EXTEND);
        call = call_new(m);
        if (!call)
                return -ENOMEM;
        manager_extend(b->manager, profile, &o.time, &caller, on_done, call);
        return 1;
}

static int method_status(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
        struct bus *b = userdata;
        struct caller caller;
        struct call *call;
        const char *profile;
        int names, r = sd_bus_message_read(m, "sb", &profile, &names);

        if (r >= 0)
                r = admit(b, m, &caller, &call, error);
        if (r < 0)
                return r;
        manager_status(b->manager, profile, names, on_done, call);
        return 1;
}

/* Attempts, Confirm, Verify: the name of a profile. */
static int method_named(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
        struct bus *b = userdata;
        const char *method = sd_bus_message_get_member(m), *profile;
        struct caller caller;
        struct call *call;
        int r = sd_bus_message_read(m, "s", &profile);

        if (r >= 0)
                r = admit(b, m, &caller, &call, error);
        if (r < 0)
                return r;
        if (strcmp(method, METHOD_CONFIRM) == 0)
                manager_confirm(b->manager, profile, &caller, on_done, call);
        else if (strcmp(method, METHOD_VERIFY) == 0)
                manager_verify(b->manager, profile, on_done, call);
        else
                manager_attempts(b->manager, profile, on_done, call);
        return 1;
}

static int method_explain(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
        struct bus *b = userdata;
        struct caller caller;
        struct call *call;
        const char *user, *destination;
        int r = sd_bus_message_read(m, "ss", &user, &destination);

        if (r >= 0)
                r = admit(b, m, &caller, &call, error);
        if (r < 0)
                return r;
        manager_explain(b->manager, user, destination, on_done, call);
        return 1;
}

/* Profiles, History, Reload: nothing to parse. */
static int method_plain(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
        struct bus *b = userdata;
        const char *method = sd_bus_message_get_member(m);
        struct caller caller;
        struct call *call;
        int r = admit(b, m, &caller, &call, error);

        if (r < 0)
                return r;
        if (strcmp(method, METHOD_RELOAD) == 0)
                manager_reload(b->manager, &caller, on_done, call);
        else if (strcmp(method, METHOD_HISTORY) == 0)
                manager_history(b->manager, on_done, call);
        else
                manager_profiles(b->manager, on_done, call);
        return 1;
}

/* Unprivileged by sd-bus's measure: who may call what is decided in authorise(). */
#define METHOD(name, in, out, handler) SD_BUS_METHOD(name, in, out, handler, SD_BUS_VTABLE_UNPRIVILEGED)

const sd_bus_vtable bus_vtable[] = {
        SD_BUS_VTABLE_START(0),
        METHOD(METHOD_ORDER, "sa{sv}", "s", method_order),
        METHOD(METHOD_LIFT, "ss", "s", method_lift),
        METHOD(METHOD_LIFT_ALL, "s", "s", method_lift_all),
        METHOD(METHOD_EXTEND, "sa{sv}", "s", method_extend),
        METHOD(METHOD_CONFIRM, "s", "s", method_named),
        METHOD(METHOD_VERIFY, "s", "s", method_named),
        METHOD(METHOD_STATUS, "sb", "s", method_status),
        METHOD(METHOD_PROFILES, NULL, "s", method_plain),
        METHOD(METHOD_HISTORY, NULL, "s", method_plain),
        METHOD(METHOD_ATTEMPTS, "s", "s", method_named),
        METHOD(METHOD_EXPLAIN, "ss", "s", method_explain),
        METHOD(METHOD_RELOAD, NULL, "s", method_plain),
        SD_BUS_SIGNAL(SIGNAL_CHANGED, "ss", 0),
        SD_BUS_VTABLE_END,
};
