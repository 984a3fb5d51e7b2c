/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "failure.h"
#include "cleanup.h"
#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <string.h>

/* What is not listed is a failure of the daemon: EXIT_DAEMON_FAILED. */
static const struct {
        const char *name;
        enum exit_code code;
} codes[] = {
        {ERROR_BAD_REQUEST, EXIT_USAGE},
        {ERROR_NEEDS_YES, EXIT_USAGE},
        {ERROR_NOT_PERMITTED, EXIT_NOT_PERMITTED},
        {ERROR_UNREACHABLE, EXIT_UNREACHABLE},
        {SD_BUS_ERROR_ACCESS_DENIED, EXIT_NOT_PERMITTED},
        {SD_BUS_ERROR_INTERACTIVE_AUTHORIZATION_REQUIRED, EXIT_NOT_PERMITTED},
        {SD_BUS_ERROR_NO_REPLY, EXIT_UNREACHABLE},
        {SD_BUS_ERROR_TIMEOUT, EXIT_UNREACHABLE},
        {SD_BUS_ERROR_DISCONNECTED, EXIT_UNREACHABLE},
};

enum exit_code failure_exit_code(const char *name)
{
        for (size_t i = 0; i < ELEMENTSOF(codes); i++)
                if (strcmp(codes[i].name, name) == 0)
                        return codes[i].code;
        return EXIT_DAEMON_FAILED;
}

int failure_set(struct failure *f, int error, enum exit_code code, const char *name, const char *format, ...)
{
        va_list ap;
        char *message = NULL;

        va_start(ap, format);
        if (vasprintf(&message, format, ap) < 0)
                message = NULL;
        va_end(ap);
        failure_clear(f);
        *f = (struct failure){.code = code, .name = strdup(name), .message = message};
        return error;
}

/* Reports of sd-bus itself about the connection, not answers of the daemon. */
static bool is_timeout(int error)
{
        return error == -ETIMEDOUT;
}

static bool is_hangup(int error)
{
        return error == -ECONNRESET || error == -ENOTCONN || error == -EPIPE || error == -ESHUTDOWN;
}

/* The daemon serves another interface than ours. */
static bool is_unknown(const sd_bus_error *e)
{
        return e && (sd_bus_error_has_name(e, SD_BUS_ERROR_UNKNOWN_METHOD) ||
                     sd_bus_error_has_name(e, SD_BUS_ERROR_UNKNOWN_INTERFACE) ||
                     sd_bus_error_has_name(e, SD_BUS_ERROR_UNKNOWN_OBJECT));
}

int failure_from_bus(struct failure *f, int error, const sd_bus_error *e, const char *method)
{
        if (is_timeout(error))
                return failure_set(f, error, EXIT_UNREACHABLE, ERROR_UNREACHABLE,
                                   "lockdownd did not answer in time and may still carry out what was asked: "
                                   "see lockdownctl status, and journalctl -u lockdownd");
        if (is_hangup(error))
                return failure_set(
                        f, error, EXIT_UNREACHABLE, ERROR_UNREACHABLE,
                        "lockdownd closed the connection before it answered: it is stopping or has "
                        "too many callers; see lockdownctl status, and journalctl -u lockdownd");
        if (is_unknown(e))
                return failure_set(
                        f, error, EXIT_DAEMON_FAILED, e->name,
                        "the running lockdownd does not know %s: it is of another version than this "
                        "lockdownctl (%s); restart it (orders in force stay in force)",
                        method, VERSION);
        if (e && sd_bus_error_is_set(e))
                return failure_set(f, error, failure_exit_code(e->name), e->name, "%s",
                                   e->message && *e->message ? e->message : e->name);
        return failure_set(f, error, EXIT_DAEMON_FAILED, ERROR_FAILED, "cannot talk to lockdownd: %s",
                           strerror(-error));
}

void failure_clear(struct failure *f)
{
        free(f->name);
        free(f->message);
        *f = (struct failure){0};
}
