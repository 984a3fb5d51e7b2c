/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LOCKDOWN_CTL_FAILURE_H
#define LOCKDOWN_CTL_FAILURE_H

/* Why a command failed: one sentence for the person, one name and one exit code for the script. */

#include "protocol.h"
#include <systemd/sd-bus.h>

/* Names of the failures that lockdownctl finds itself; the others come from the daemon (protocol.h). */
#define ERROR_UNREACHABLE ERROR_PREFIX "Unreachable"

struct failure {
        enum exit_code code;
        char *name;    /* a bus error name */
        char *message; /* NULL only when out of memory; not yet sanitised */
};

/* Fills an empty F and returns ERROR (a negative errno), so that a caller can return it at once. */
int failure_set(struct failure *f, int error, enum exit_code code, const char *name, const char *format, ...)
        __attribute__((format(printf, 5, 6)));
/* The same for wrong usage: exit code 2. */
#define failure_usage(f, ...) failure_set(f, -EINVAL, EXIT_USAGE, ERROR_BAD_REQUEST, __VA_ARGS__)
/* The same for what the daemon answered to METHOD, or for the connection breaking meanwhile: ERROR is what
 * sd_bus_call() returned. */
int failure_from_bus(struct failure *f, int error, const sd_bus_error *e, const char *method);
/* Which exit code an error name of the bus stands for. */
enum exit_code failure_exit_code(const char *name);
void failure_clear(struct failure *f);

#define _cleanup_failure_ _cleanup_(failure_clear)

#endif
