/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LOCKDOWN_CTL_VERBS_H
#define LOCKDOWN_CTL_VERBS_H

/* What the table of verbs points to; see struct verb for the contracts. */

#include "tables.h"

/* verbs-order.c: what changes something */
int order_check(const struct arguments *a, char **ret_problem);
int lift_check(const struct arguments *a, char **ret_problem);
int extend_check(const struct arguments *a, char **ret_problem);
int order_request(const struct arguments *a, sd_bus *bus, sd_bus_message **ret);
int lift_request(const struct arguments *a, sd_bus *bus, sd_bus_message **ret);
int extend_request(const struct arguments *a, sd_bus *bus, sd_bus_message **ret);
int confirm_request(const struct arguments *a, sd_bus *bus, sd_bus_message **ret);
int verify_request(const struct arguments *a, sd_bus *bus, sd_bus_message **ret);
int verify_code(const struct arguments *a, const json_t *answer);
int reload_request(const struct arguments *a, sd_bus *bus, sd_bus_message **ret);

/* verbs-show.c: what only looks */
int status_request(const struct arguments *a, sd_bus *bus, sd_bus_message **ret);
int status_code(const struct arguments *a, const json_t *answer);
int profiles_request(const struct arguments *a, sd_bus *bus, sd_bus_message **ret);
int history_request(const struct arguments *a, sd_bus *bus, sd_bus_message **ret);
int attempts_request(const struct arguments *a, sd_bus *bus, sd_bus_message **ret);
int explain_request(const struct arguments *a, sd_bus *bus, sd_bus_message **ret);

/* follow.c: for systemd */
int follow_units_run(const struct arguments *a, struct failure *f);

/* write-order.c */
int write_order(FILE *f, const json_t *answer, const struct style *s);
int write_lift(FILE *f, const json_t *answer, const struct style *s);
int write_extend(FILE *f, const json_t *answer, const struct style *s);
int write_verify(FILE *f, const json_t *answer, const struct style *s);
int write_confirm(FILE *f, const json_t *answer, const struct style *s);
int write_reload(FILE *f, const json_t *answer, const struct style *s);
void write_warnings(FILE *f, const json_t *answer);
/* The warnings of ANSWER and of the order in it, each once. */
json_t *warnings_of(const json_t *answer, const json_t *order);
/* Does one of these sentences say TEXT already? */
bool warnings_tell(const json_t *warnings, const char *text);

/* write-doors.c: the doors of an order's document, a line for what one line of the configuration closes.
 * TITLE stands above, BEFORE begins each line. Nothing if there are none. */
void write_doors(FILE *f, const json_t *order, const char *title, const char *before, const struct style *s);

/* write-status.c, write-tables.c */
int write_status(FILE *f, const json_t *answer, const struct style *s);
int write_profiles(FILE *f, const json_t *answer, const struct style *s);
int write_history(FILE *f, const json_t *answer, const struct style *s);
int write_attempts(FILE *f, const json_t *answer, const struct style *s);
int write_explain(FILE *f, const json_t *answer, const struct style *s);

#endif
