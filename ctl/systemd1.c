/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "systemd1.h"
#include <errno.h>
#include <string.h>

#define SYSTEMD1_NAME "org.freedesktop.systemd1"
#define SYSTEMD1_PATH "/org/freedesktop/systemd1"
#define SYSTEMD1_MANAGER "org.freedesktop.systemd1.Manager"
#define TIMEOUT_USEC UINT64_C(30000000)

static int connect_private(const char *address, sd_bus **ret)
{
        _cleanup_(sd_bus_close_unrefp) sd_bus *bus = NULL;
        int r;

        if ((r = sd_bus_new(&bus)) < 0 || (r = sd_bus_set_address(bus, address)) < 0 ||
            (r = sd_bus_set_method_call_timeout(bus, TIMEOUT_USEC)) < 0 || (r = sd_bus_start(bus)) < 0)
                return r;
        *ret = TAKE_PTR(bus);
        return 0;
}

int systemd1_connect(const char *address, sd_bus **ret)
{
        _cleanup_(sd_bus_flush_close_unrefp) sd_bus *bus = NULL;
        int r = connect_private(address, &bus);

        if (r < 0 && sd_bus_open_system(&bus) < 0)
                return r; /* of the two reasons the one about the way that should work */
        /* Needed on the system bus only; the private socket gets every signal. */
        sd_bus_call_method(bus, SYSTEMD1_NAME, SYSTEMD1_PATH, SYSTEMD1_MANAGER, "Subscribe", NULL, NULL,
                           NULL);
        *ret = TAKE_PTR(bus);
        return 0;
}

int systemd1_watch_jobs(sd_bus *bus, sd_bus_message_handler_t handler, void *userdata)
{
        return sd_bus_match_signal(bus, NULL, NULL, SYSTEMD1_PATH, SYSTEMD1_MANAGER, "JobRemoved", handler,
                                   userdata);
}

static int read_units(sd_bus_message *m, struct units *u)
{
        const char *name, *active;
        uint32_t job;
        int r = sd_bus_message_enter_container(m, 'a', "(ssssssouso)");

        while (r >= 0 && (r = sd_bus_message_read(m, "(ssssssouso)", &name, NULL, NULL, &active, NULL, NULL,
                                                  NULL, &job, NULL, NULL)) > 0) {
                r = units_add(u, name, unit_activity_from_string(active), job != 0);
                if (r == -EINVAL) /* lockdown@.service itself, or an instance nobody could have escaped */
                        r = 0;
        }
        return r < 0 ? r : 0;
}

int systemd1_list(sd_bus *bus, struct units *ret)
{
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *answer = NULL;
        _cleanup_units_ struct units u = {0};
        int r;

        r = sd_bus_call_method(bus, SYSTEMD1_NAME, SYSTEMD1_PATH, SYSTEMD1_MANAGER, "ListUnitsByPatterns",
                               NULL, &answer, "asas", 0, 1, "lockdown@*.service");
        if (r >= 0)
                r = read_units(answer, &u);
        if (r < 0)
                return r;
        *ret = u;
        u = (struct units){0};
        return 0;
}

static int queue_job(sd_bus *bus, const char *method, const char *unit, sd_bus_error *error)
{
        return sd_bus_call_method(bus, SYSTEMD1_NAME, SYSTEMD1_PATH, SYSTEMD1_MANAGER, method, error, NULL,
                                  "ss", unit, "replace");
}

int systemd1_start(sd_bus *bus, const char *unit, sd_bus_error *error)
{
        return queue_job(bus, "StartUnit", unit, error);
}

int systemd1_stop(sd_bus *bus, const char *unit, sd_bus_error *error)
{
        return queue_job(bus, "StopUnit", unit, error);
}

int systemd1_reset_failed(sd_bus *bus, const char *unit, sd_bus_error *error)
{
        return sd_bus_call_method(bus, SYSTEMD1_NAME, SYSTEMD1_PATH, SYSTEMD1_MANAGER, "ResetFailedUnit",
                                  error, NULL, "s", unit);
}

int systemd1_bus_is_stopping(sd_bus *bus, bool *ret)
{
        _cleanup_free_ char *state = NULL;
        int r = sd_bus_get_property_string(bus, SYSTEMD1_NAME, SYSTEMD1_PATH, SYSTEMD1_MANAGER, "SystemState",
                                           NULL, &state);

        if (r < 0)
                return r;
        *ret = strcmp(state, "stopping") == 0;
        return 0;
}

int systemd1_is_stopping(const char *address, bool *ret)
{
        _cleanup_(sd_bus_flush_close_unrefp) sd_bus *bus = NULL;
        int r = systemd1_connect(address, &bus);

        return r < 0 ? r : systemd1_bus_is_stopping(bus, ret);
}
