/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "client.h"
#include "verbs.h"
#include <errno.h>
#include <string.h>

static int complain(char **ret_problem, const char *sentence)
{
        char *copy = strdup(sentence);

        if (!copy)
                return -ENOMEM;
        *ret_problem = copy;
        return -EINVAL;
}

int order_check(const struct arguments *a, char **ret_problem)
{
        const char *profile = a->positional[0];
        bool people = a->groups.n > 0 || a->users.n > 0 || a->everyone;
        bool adhoc = people || a->allow.n > 0 || a->name;

        if (profile && adhoc)
                return complain(
                        ret_problem,
                        "a PROFILE does not go with --group, --user, --everyone, --allow or --name: its "
                        "configuration says whom and where; give one or the other");
        if (a->from_unit && !profile)
                return complain(ret_problem, "order --from-unit needs a PROFILE");
        if (a->everyone && (a->groups.n > 0 || a->users.n > 0))
                return complain(ret_problem,
                                "--everyone covers all groups and users already; leave --group and "
                                "--user out");
        if (!profile && !people)
                return complain(ret_problem, "say whom: order PROFILE (lockdownctl profiles lists them), or "
                                             "--group GROUP, --user USER, --everyone");
        return 0;
}

int lift_check(const struct arguments *a, char **ret_problem)
{
        if (a->positional[0] && a->all)
                return complain(ret_problem, "a PROFILE does not go with --all; give one or the other");
        if (a->from_unit && !a->positional[0])
                return complain(ret_problem, "lift --from-unit needs a PROFILE");
        if (!a->positional[0] && !a->all)
                return complain(ret_problem,
                                "say what to lift: lift PROFILE (lockdownctl status lists what is "
                                "in force), or lift --all");
        return 0;
}

int extend_check(const struct arguments *a, char **ret_problem)
{
        if (!a->duration && !a->until)
                return complain(ret_problem, "say until when: extend PROFILE --for 8h, or --until 18:00");
        return 0;
}

static int append_number(sd_bus_message *m, const char *key, uint64_t value)
{
        return value ? sd_bus_message_append(m, "{sv}", key, "t", value) : 0;
}

static int append_text(sd_bus_message *m, const char *key, const char *value)
{
        return value ? sd_bus_message_append(m, "{sv}", key, "s", value) : 0;
}

static int append_flag(sd_bus_message *m, const char *key, bool value)
{
        return value ? sd_bus_message_append(m, "{sv}", key, "b", 1) : 0;
}

static int append_strings(sd_bus_message *m, const char *key, const struct strings *s)
{
        int r;

        if (s->n == 0)
                return 0;
        if ((r = sd_bus_message_open_container(m, 'e', "sv")) < 0 ||
            (r = sd_bus_message_append(m, "s", key)) < 0 ||
            (r = sd_bus_message_open_container(m, 'v', "as")) < 0 ||
            (r = sd_bus_message_open_container(m, 'a', "s")) < 0)
                return r;
        for (size_t i = 0; i < s->n; i++)
                if ((r = sd_bus_message_append(m, "s", s->items[i])) < 0)
                        return r;
        r = sd_bus_message_close_container(m); /* the array, the variant, the entry */
        if (r >= 0)
                r = sd_bus_message_close_container(m);
        return r < 0 ? r : sd_bus_message_close_container(m);
}

static int append_options(sd_bus_message *m, const struct arguments *a)
{
        int r;

        if ((r = sd_bus_message_open_container(m, 'a', "{sv}")) < 0 ||
            (r = append_number(m, "for", a->duration)) < 0 || (r = append_number(m, "until", a->until)) < 0 ||
            (r = append_number(m, "confirm-within", a->confirm_within)) < 0 ||
            (r = append_text(m, "reason", a->reason)) < 0 ||
            (r = append_flag(m, "dry-run", a->dry_run)) < 0 || (r = append_text(m, "name", a->name)) < 0 ||
            (r = append_strings(m, "groups", &a->groups)) < 0 ||
            (r = append_strings(m, "users", &a->users)) < 0 ||
            (r = append_strings(m, "allow", &a->allow)) < 0 ||
            (r = append_flag(m, "everyone", a->everyone)) < 0 || (r = append_flag(m, "yes", a->yes)) < 0)
                return r;
        return sd_bus_message_close_container(m);
}

/* METHOD(s profile, a{sv} options) */
static int request_with_options(const struct arguments *a, sd_bus *bus, const char *method,
                                sd_bus_message **ret)
{
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
        int r;

        if ((r = client_new_call(bus, method, &m)) < 0 ||
            (r = sd_bus_message_append(m, "s", a->positional[0] ?: "")) < 0 || (r = append_options(m, a)) < 0)
                return r;
        *ret = TAKE_PTR(m);
        return 0;
}

int order_request(const struct arguments *a, sd_bus *bus, sd_bus_message **ret)
{
        return request_with_options(a, bus, METHOD_ORDER, ret);
}

int extend_request(const struct arguments *a, sd_bus *bus, sd_bus_message **ret)
{
        return request_with_options(a, bus, METHOD_EXTEND, ret);
}

int lift_request(const struct arguments *a, sd_bus *bus, sd_bus_message **ret)
{
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
        int r;

        r = client_new_call(bus, a->all ? METHOD_LIFT_ALL : METHOD_LIFT, &m);
        if (r >= 0 && !a->all)
                r = sd_bus_message_append(m, "s", a->positional[0]);
        if (r >= 0)
                r = sd_bus_message_append(m, "s", a->reason ?: "");
        if (r < 0)
                return r;
        *ret = TAKE_PTR(m);
        return 0;
}

/* METHOD(s profile) */
static int request_with_name(const struct arguments *a, sd_bus *bus, const char *method, sd_bus_message **ret)
{
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
        int r = client_new_call(bus, method, &m);

        if (r >= 0)
                r = sd_bus_message_append(m, "s", a->positional[0] ?: "");
        if (r < 0)
                return r;
        *ret = TAKE_PTR(m);
        return 0;
}

int verify_request(const struct arguments *a, sd_bus *bus, sd_bus_message **ret)
{
        return request_with_name(a, bus, METHOD_VERIFY, ret);
}

int verify_code(const struct arguments *a, const json_t *answer)
{
        const json_t *list = json_object_get(answer, "verified");
        json_t *item;
        size_t i;

        (void)a;
        json_array_foreach(list, i, item)
        {
                if (!json_is_true(json_object_get(item, "holds")))
                        return EXIT_DAEMON_FAILED;
        }
        return json_array_size(list) > 0 ? EXIT_DONE : EXIT_NONE_IN_FORCE;
}

int confirm_request(const struct arguments *a, sd_bus *bus, sd_bus_message **ret)
{
        return request_with_name(a, bus, METHOD_CONFIRM, ret);
}

int reload_request(const struct arguments *a, sd_bus *bus, sd_bus_message **ret)
{
        (void)a;
        return client_new_call(bus, METHOD_RELOAD, ret);
}
