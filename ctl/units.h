/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LOCKDOWN_CTL_UNITS_H
#define LOCKDOWN_CTL_UNITS_H

/* lockdown@NAME.service and the profile it stands for: its name, and the marks that say whose doing a start
 * or stop of it is.
 *
 * ExecStart= and ExecStop= of the unit call `order --from-unit` and `lift --from-unit`. When follow-units
 * starts or stops a unit only to mirror what lockdownd already did, these commands must do nothing: else
 * stopping the unit of an order that has ended would lift a new one given meanwhile, and starting one would
 * give again an order lifted meanwhile. So a mark, a file named like the instance, stands while follow-units
 * has such a job. */

#include "arguments.h"
#include "failure.h"
#include <jansson.h>

struct unit_paths {
        const char *marks;   /* directory */
        const char *systemd; /* D-Bus address of PID 1, asked before the system bus */
};
extern const struct unit_paths unit_paths_default;

/* What systemd does to a text that becomes an instance name (systemd-escape(1)), and back. -ENOMEM; unescape:
 * also -EINVAL. */
int instance_escape(const char *text, char **ret);
int instance_unescape(const char *instance, char **ret);
/* The unit that stands for a profile: "night-shift" -> "lockdown@night-shift.service". Every valid name of a
 * profile is valid in the name of a unit as it stands, and that is what people type; any other is escaped. */
int unit_name_of_profile(const char *profile, char **ret);
/* The profile an instance (%i) stands for, in either spelling: "night-shift", which unescaped would be
 * "night/shift", and "night\x2dshift", as systemd-escape(1) writes it. No profile has a '/' in its name. */
int profile_of_instance(const char *instance, char **ret);
/* Takes the name of a unit apart; the results are optional. A mark is called like the instance. -EINVAL: not
 * an instance of lockdown@.service. */
int unit_name_parse(const char *unit, char **ret_profile, char **ret_mark);

/* Sets, removes, looks for, lists marks (strings in an array). 0 or -errno; removing or looking for what is
 * not there is no error. */
int mark_set(const char *directory, const char *mark);
int mark_clear(const char *directory, const char *mark);
int mark_exists(const char *directory, const char *mark, bool *ret);
int mark_list(const char *directory, json_t **ret);

/* What --from-unit means before the verb runs: replaces A's instance by its profile (kept in *STORAGE, the
 * caller frees). Returns 0: go on; 1: nothing to do, and it was said why; -errno with F filled. */
int unit_gate(struct arguments *a, const struct unit_paths *paths, char **storage, struct failure *f);

#endif
