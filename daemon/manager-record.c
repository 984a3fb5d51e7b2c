/* SPDX-License-Identifier: GPL-2.0-or-later */

/* The record of orders that have ended: told, and kept within its bounds. Both may be about ten thousand
 * files and more, so both go on in small steps, between which the event loop serves everybody else. */

#include "manager-internal.h"
#include "operation.h"
#include "report.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio_ext.h>
#include <string.h>

/* Finished orders that one answer holds at the most. */
#define HISTORY_LIMIT 10000
/* Read in one turn of the event loop: about two milliseconds. */
#define HISTORY_STEP 32

/* ---- history ---- */

struct history_op {
        struct operation op;
        struct manager *manager;
        struct history *history;
        sd_event_source *step;
        size_t told;
        char *text; /* the document, as far as it is written */
        size_t size;
        FILE *f;
        struct history_op *next; /* of the manager's */
};

static struct history_op *history_op_free(struct history_op *h)
{
        struct history_op **at = &h->manager->histories;

        while (*at && *at != h)
                at = &(*at)->next;
        if (*at)
                *at = h->next;
        sd_event_source_disable_unref(h->step);
        if (h->f)
                (void)fclose(h->f);
        free(h->text);
        history_free(h->history);
        free(h);
        return NULL;
}

static int write_json(FILE *f, json_t *j /* taken over */)
{
        int r = j ? json_dumpf(j, f, JSON_COMPACT) : -1;

        json_decref(j);
        return r < 0 ? -ENOMEM : 0;
}

/* 1: there is more; 0. */
static int tell_some(struct history_op *h)
{
        _cleanup_problems_ struct problems problems = {0};
        int r = 0;

        for (size_t i = 0; i < HISTORY_STEP && h->told < HISTORY_LIMIT && r >= 0; i++) {
                _cleanup_(order_freep) struct order *o = NULL;

                r = history_next(h->history, &o, &problems);
                if (r > 0) {
                        fputs(h->told++ > 0 ? "," : "", h->f);
                        r = write_json(h->f, report_order(NULL, o, NULL));
                }
        }
        for (size_t i = 0; i < problems.n; i++)
                audit(AUDIT_DAMAGED, LOG_WARNING, NULL, NULL, "%s", problems.items[i]);
        if (r == -ENOENT || (r >= 0 && h->told == HISTORY_LIMIT))
                return 0;
        return r < 0 ? r : 1;
}

static int tell_rest(struct history_op *h)
{
        const struct record_removed *removed = store_removed(h->manager->store);
        json_t *j = NULL;

        fprintf(h->f, "],\"left_off\":%zu", history_left(h->history));
        if (removed->orders > 0) {
                j = json_pack("{s:I}", "orders", (json_int_t)removed->orders);
                if (!j || report_time(j, "from", removed->from) < 0 ||
                    report_time(j, "until", removed->until) < 0) {
                        json_decref(j);
                        return -ENOMEM;
                }
                fputs(",\"removed\":", h->f);
                if (write_json(h->f, j) < 0)
                        return -ENOMEM;
        }
        fputs("}", h->f);
        return fflush(h->f) != 0 || ferror(h->f) ? -ENOMEM : 0;
}

static void history_failed(const struct operation *op, int r)
{
        operation_fail(op, ERROR_FAILED, "the history could not be read: %s", strerror(-r));
}

static int on_history_step(sd_event_source *source, void *userdata)
{
        struct history_op *h = userdata;
        int r = tell_some(h);

        (void)source;
        if (r > 0) {
                r = manager_next_turn(h->manager, &h->step, PRIORITY_LATER, on_history_step, h);
                if (r >= 0)
                        return 0;
        } else if (r == 0)
                r = tell_rest(h);
        if (r < 0)
                history_failed(&h->op, r);
        else
                operation_reply_text(&h->op, h->text);
        history_op_free(h);
        return 0;
}

static int begin_history(struct history_op *h)
{
        _cleanup_problems_ struct problems problems = {0};
        int r = store_list_history(h->manager->store, &h->history, &problems);

        for (size_t i = 0; i < problems.n; i++)
                audit(AUDIT_DAMAGED, LOG_WARNING, NULL, NULL, "%s", problems.items[i]);
        if (r < 0)
                return r;
        h->f = open_memstream(&h->text, &h->size);
        if (!h->f)
                return -ENOMEM;
        (void)__fsetlocking(h->f,
                            FSETLOCKING_BYCALLER); /* a lock for each piece of JSON would cost more than it */
        fputs("{\"orders\":[", h->f);
        return manager_next_turn(h->manager, &h->step, PRIORITY_LATER, on_history_step, h);
}

void manager_history(struct manager *m, manager_done_t done, void *userdata)
{
        const struct operation op = {.done = done, .userdata = userdata};
        struct history_op *h = calloc(1, sizeof(*h));
        int r = -ENOMEM;

        if (h) {
                h->op = op;
                h->manager = m;
                h->next = m->histories;
                m->histories = h;
                r = begin_history(h);
        }
        if (r < 0) {
                history_failed(&op, r);
                if (h)
                        history_op_free(h);
        }
}

/* ---- keeping it within bounds ---- */

/* After an order has ended, or the configuration was read. */
#define RECORD_DELAY (2 * USEC_PER_SEC)
/* Orders get old without anything happening; and what went wrong is tried again. */
#define RECORD_INTERVAL USEC_PER_HOUR
/* A clock that came up wrong, or was just set, makes nothing old: it must have gone on as long as this. */
#define CLOCK_TRIAL USEC_PER_HOUR

static void say_what_goes(const struct record_bounds *b, const struct record_due *why,
                          const struct record_removed *span)
{
        char from[64], until[64], reasons[256] = "", part[96], age[64];

        if (why->for_age > 0)
                snprintf(reasons, sizeof(reasons), " %zu for KeepFor=%s,", why->for_age,
                         timespan_format_exact(b->keep_for, age, sizeof(age)));
        if (why->for_number > 0) {
                snprintf(part, sizeof(part), " %zu for KeepOrders=%" PRIu64 ",", why->for_number,
                         b->keep_orders);
                strcat(reasons, part);
        }
        if (why->for_size > 0) {
                snprintf(part, sizeof(part), " %zu for KeepSize=%" PRIu64 ",", why->for_size, b->keep_size);
                strcat(reasons, part);
        }
        reasons[strlen(reasons) - 1] = '\0';
        audit(AUDIT_PRUNED, LOG_NOTICE, NULL, NULL,
              "%" PRIu64
              " orders that ended between %s and %s are removed from the record, with their attempts:%s",
              span->orders, timestamp_format(span->from, from, sizeof(from)),
              timestamp_format(span->until, until, sizeof(until)), reasons);
}

/* 1: there is more to be done. */
static int record_step(struct manager *m)
{
        struct record_bounds b = m->config->record;
        struct record_removed span;
        struct record_due why;
        struct now now;
        int r;

        if (m->record_removing)
                return record_remove(m->record_pass);
        r = record_look(m->record_pass);
        if (r != 0)
                return r;
        if (m->config_problem) /* the bounds on disk may be others by now */
                b = (struct record_bounds){RECORD_UNBOUNDED, RECORD_UNBOUNDED, RECORD_UNBOUNDED};
        clock_now(&now);
        if (now.boottime - m->clock_set_at < CLOCK_TRIAL)
                b.keep_for = RECORD_UNBOUNDED;
        if (record_decide(m->record_pass, &b, now.realtime, &why, &span) > 0)
                say_what_goes(&b, &why, &span);
        m->record_removing = true;
        return 1;
}

static void end_pass(struct manager *m, int r)
{
        if (r < 0 && m->record_error != r)
                audit_log(LOG_WARNING,
                          "the record of ended orders could not be brought within its bounds: %s; that is "
                          "tried again",
                          strerror(-r));
        m->record_error = r;
        m->record_step = sd_event_source_disable_unref(m->record_step);
        m->record_pass = record_pass_free(m->record_pass);
}

static int on_record_step(sd_event_source *source, void *userdata)
{
        struct manager *m = userdata;
        int r = record_step(m);

        (void)source;
        if (r > 0) {
                r = manager_next_turn(m, &m->record_step, SD_EVENT_PRIORITY_IDLE, on_record_step, m);
                if (r >= 0)
                        return 0;
        }
        end_pass(m, r);
        return 0;
}

static int begin_pass(struct manager *m)
{
        int r = record_pass_new(m->store, &m->record_pass);

        m->record_removing = false;
        return r < 0 ? r : manager_next_turn(m, &m->record_step, SD_EVENT_PRIORITY_IDLE, on_record_step, m);
}

static int arm(sd_event_source *source, uint64_t interval)
{
        int r = sd_event_source_set_time_relative(source, interval);

        return r < 0 ? r : sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
}

static int on_record_timer(sd_event_source *source, uint64_t usec, void *userdata)
{
        struct manager *m = userdata;

        (void)usec;
        if (!m->record_pass && !m->state_problem) {
                int r = begin_pass(m);

                if (r < 0)
                        end_pass(m, r);
        }
        return arm(source, RECORD_INTERVAL);
}

int manager_record_new(struct manager *m)
{
        int r = sd_event_add_time_relative(m->event, &m->record_timer, CLOCK_BOOTTIME, RECORD_INTERVAL,
                                           USEC_PER_SEC, on_record_timer, m);

        return r < 0 ? r : sd_event_source_set_priority(m->record_timer, SD_EVENT_PRIORITY_IDLE);
}

void manager_record_soon(struct manager *m)
{
        if (m->record_timer)
                (void)arm(m->record_timer, RECORD_DELAY);
}

void manager_record_free(struct manager *m)
{
        while (m->histories) {
                history_failed(&m->histories->op, -ECANCELED);
                history_op_free(m->histories);
        }
        m->record_step = sd_event_source_disable_unref(m->record_step);
        m->record_timer = sd_event_source_disable_unref(m->record_timer);
        m->record_pass = record_pass_free(m->record_pass);
}
