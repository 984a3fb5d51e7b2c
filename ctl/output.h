/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LOCKDOWN_CTL_OUTPUT_H
#define LOCKDOWN_CTL_OUTPUT_H

/* Where text goes: straight to standard output, or through a pager on a terminal. */

#include "arguments.h"
#include "failure.h"
#include "text.h"

/* How to write for standard output as it is now, at NOW. */
struct style output_style(const struct arguments *a, uint64_t now);
/* Shows TEXT; long text on a terminal through $PAGER. 0 or -errno; a reader that went away is no error. */
int output_show(const char *text, bool pager);
/* Writes a document as JSON: laid out for people on a terminal, compact otherwise. */
int output_json(const json_t *document);
/* Tells the failure as a sentence on standard error, or as {"error", "message"} on standard output. Returns
 * its exit code. */
int output_failure(const struct failure *f, bool json);

#endif
