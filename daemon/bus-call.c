/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Calls that the manager has: from the moment at which it is given one until that is answered. */

#include "bus-internal.h"
#include "json-text.h"
#include "operation.h"

/* One call being answered. */
struct call {
        struct bus *bus; /* NULL when that is gone */
        sd_bus_message *message;
        uint32_t uid;
        bool system;
        bool charged; /* it takes its time, which its owner pays for */
        uint64_t since;
        struct call *next; /* of those that the bus has */
};

/* What an answer may have cost at the most that was not given at once: it may have waited for a directory. */
#define ANSWER_COST_MAX UINT64_C(50000)

static void call_unlink(struct call *call)
{
        struct call **p = &call->bus->calls;

        while (*p != call)
                p = &(*p)->next;
        *p = call->next;
}

/* Its owner may ask the next question. */
static void call_answered(struct call *call, int replied)
{
        struct bus *b = call->bus;
        struct connection *c = bus_connection(b, sd_bus_message_get_bus(call->message));
        uint64_t took = bus_now() - call->since;

        call_unlink(call);
        if (call->charged)
                bus_charge(b, call->uid, took < ANSWER_COST_MAX ? took : ANSWER_COST_MAX);
        if (!c)
                return;
        c->working = false;
        if (replied < 0)
                connection_end(c);
        else
                connection_review(c);
}

static int answer(struct call *call, const struct outcome *outcome)
{
        _cleanup_free_ char *text = NULL;

        if (!outcome->error && !outcome->text)
                text = json_text(outcome->reply, JSON_COMPACT);
        if (!outcome->error && (text || outcome->text))
                return sd_bus_reply_method_return(call->message, "s", text ? text : outcome->text);
        return sd_bus_reply_method_errorf(call->message, outcome->error ? outcome->error : ERROR_FAILED, "%s",
                                          outcome->message ? outcome->message : NO_MEMORY_TO_ANSWER);
}

void call_done(void *userdata, const struct outcome *outcome)
{
        struct call *call = userdata;
        int r = answer(call, outcome);

        if (r < 0)
                r = answer(call, outcome); /* it may have been one allocation's want of memory */
        if (call->bus)
                call_answered(call, r);
        sd_bus_message_unref(call->message);
        free(call);
}

struct call *call_new(struct bus *b, sd_bus_message *m, const struct peer *peer)
{
        struct connection *c = bus_connection(b, sd_bus_message_get_bus(m));
        struct call *call = malloc(sizeof(*call));

        if (!call)
                return NULL;
        *call = (struct call){.bus = b,
                              .message = sd_bus_message_ref(m),
                              .uid = peer->uid,
                              .system = !c,
                              .since = bus_now(),
                              .next = b->calls};
        b->calls = call;
        if (c)
                c->working = true;
        return call;
}

void bus_forget_calls(struct bus *b)
{
        for (struct call *call = b->calls; call; call = call->next)
                call->bus = NULL;
        b->calls = NULL;
}

bool call_by_system_bus(const struct bus *b, uint32_t uid)
{
        for (const struct call *call = b->calls; call; call = call->next)
                if (call->system && call->uid == uid)
                        return true;
        return false;
}

void call_charge(struct bus *b, const sd_bus_message *m)
{
        for (struct call *call = b->calls; call; call = call->next)
                call->charged |= call->message == m;
}
