/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "client.h"
#include "verbs.h"
#include <string.h>

static int request_strings(sd_bus *bus, const char *method, const char *first, const char *second,
                           sd_bus_message **ret)
{
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
        int r = client_new_call(bus, method, &m);

        if (r >= 0)
                r = sd_bus_message_append(m, "s", first);
        if (r >= 0 && second)
                r = sd_bus_message_append(m, "s", second);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(m);
        return 0;
}

int status_request(const struct arguments *a, sd_bus *bus, sd_bus_message **ret)
{
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
        int r = client_new_call(bus, METHOD_STATUS, &m);

        if (r >= 0)
                r = sd_bus_message_append(m, "sb", a->positional[0] ?: "", (int)a->verbose);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(m);
        return 0;
}

/* Counts what is listed instead of believing "in_force", which may be about more than the profile asked for.
 */
int status_code(const struct arguments *a, const json_t *answer)
{
        const char *profile = a->positional[0];
        json_t *order;
        size_t i;

        json_array_foreach(field_array(answer, "orders"), i, order)
        {
                const char *name = field_text(order, "profile"), *state = field_text(order, "state");

                if (state && strcmp(state, "active") != 0)
                        continue;
                if (!profile || (name && strcmp(name, profile) == 0))
                        return EXIT_DONE;
        }
        return EXIT_NONE_IN_FORCE;
}

int profiles_request(const struct arguments *a, sd_bus *bus, sd_bus_message **ret)
{
        (void)a;
        return client_new_call(bus, METHOD_PROFILES, ret);
}

int history_request(const struct arguments *a, sd_bus *bus, sd_bus_message **ret)
{
        (void)a;
        return client_new_call(bus, METHOD_HISTORY, ret);
}

int attempts_request(const struct arguments *a, sd_bus *bus, sd_bus_message **ret)
{
        return request_strings(bus, METHOD_ATTEMPTS, a->positional[0] ?: "", NULL, ret);
}

int explain_request(const struct arguments *a, sd_bus *bus, sd_bus_message **ret)
{
        return request_strings(bus, METHOD_EXPLAIN, a->positional[0], a->positional[1], ret);
}
