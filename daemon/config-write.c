/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "config.h"

#include "config-internal.h"
#include "timespan.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

/* KEY=word word…, on as many lines as their length takes: repeated keys add up. */
static void write_words(FILE *f, const char *key, const struct words *w)
{
        size_t used = strlen(key) + 1;

        fprintf(f, "%s=", key);
        for (size_t i = 0; i < w->n; i++) {
                size_t length = strlen(w->items[i].text);

                if (i > 0 && used + 1 + length > CONFIG_LINE_MAX) {
                        fprintf(f, "\n%s=", key);
                        used = strlen(key) + 1;
                } else if (i > 0) {
                        fputc(' ', f);
                        used++;
                }
                fputs(w->items[i].text, f);
                used += length;
        }
        fputc('\n', f);
}

static const char *yes_no(bool yes)
{
        return yes ? "yes" : "no";
}

static void write_duration(FILE *f, const char *key, uint64_t usec)
{
        char text[64];

        fprintf(f, "%s=%s\n", key, timespan_format_exact(usec, text, sizeof(text)));
}

static void write_record(FILE *f, const struct record_bounds *b)
{
        static const char units[] = "GMK";
        uint64_t size = b->keep_size;

        if (b->keep_for == RECORD_UNBOUNDED)
                fprintf(f, "KeepFor=infinity\n");
        else
                write_duration(f, "KeepFor", b->keep_for);
        if (b->keep_orders == RECORD_UNBOUNDED)
                fprintf(f, "KeepOrders=infinity\n");
        else
                fprintf(f, "KeepOrders=%" PRIu64 "\n", b->keep_orders);
        if (size == RECORD_UNBOUNDED) {
                fprintf(f, "KeepSize=infinity\n");
                return;
        }
        for (unsigned i = 0; i < 3; i++) {
                unsigned shift = 30 - 10 * i;

                if (size >> shift << shift == size) {
                        fprintf(f, "KeepSize=%" PRIu64 "%c\n", size >> shift, units[i]);
                        return;
                }
        }
        fprintf(f, "KeepSize=%" PRIu64 "\n", size);
}

static void write_profile(FILE *f, const struct profile *p)
{
        fprintf(f, "\n[Profile %s]\n", p->name);
        fprintf(f, "Description=%s\n", p->description ? p->description : "");
        write_words(f, "Groups", &p->groups);
        write_words(f, "Users", &p->users);
        fprintf(f, "Everyone=%s\n", yes_no(p->everyone));
        fprintf(f, "IncludeRoot=%s\n", yes_no(p->include_root));
        write_words(f, "ExceptUsers", &p->except_users);
        write_words(f, "ExceptGroups", &p->except_groups);
        if (p->allow.n == 0)
                fprintf(f, "Allow=internal\n");
        else
                write_words(f, "Allow", &p->allow);
        fprintf(f, "DNS=%s\n", p->dns ? p->dns : "deny");
        write_words(f, "LoopbackDeny", &p->loopback_deny);
        fprintf(f, "Forward=%s\n", p->forward_deny ? "deny" : "keep");
        fprintf(f, "Sessions=%s\n", yes_no(p->sessions));
        fprintf(f, "RemoteSessions=%s\n", p->end_remote_sessions ? "end" : "keep");
        write_words(f, "Services", &p->services);
        fprintf(f, "SecondLock=%s\n", p->second_lock ? "auto" : "no");
        write_duration(f, "DefaultDuration", p->default_duration);
        write_duration(f, "MaxDuration", p->max_duration);
}

int config_write(const struct config *c, FILE *f)
{
        fprintf(f, "[Access]\n");
        write_words(f, "Order", &c->access_order);
        write_words(f, "Lift", &c->access_lift);
        write_words(f, "Status", &c->access_status);
        fprintf(f, "\n[Record]\n");
        write_record(f, &c->record);
        for (size_t i = 0; i < c->n_profiles; i++)
                write_profile(f, c->profiles[i]);
        if (ferror(f) || fflush(f) == EOF)
                return errno > 0 ? -errno : -EIO;
        return 0;
}
