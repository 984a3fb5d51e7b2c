/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "bus-account.h"

/* ---- time ---- */

static uint64_t owes(const struct account *a, uint64_t now)
{
        uint64_t paid = now > a->as_of ? (now - a->as_of) / ACCOUNT_SHARE : 0;

        return a->debt > paid ? a->debt - paid : 0;
}

static const struct account *find(const struct accounts *a, uint32_t uid)
{
        for (size_t i = 0; i < a->n; i++)
                if (a->items[i].uid == uid)
                        return &a->items[i];
        return NULL;
}

/* A place for one more: the next, or that of who owes least. */
static struct account *place(struct accounts *a, uint64_t now)
{
        struct account *least = &a->items[0];

        if (a->n < ACCOUNTS_MAX)
                return &a->items[a->n++];
        for (size_t i = 1; i < a->n; i++)
                if (owes(&a->items[i], now) < owes(least, now))
                        least = &a->items[i];
        return least;
}

void accounts_charge(struct accounts *a, uint32_t uid, uint64_t cost, uint64_t now)
{
        const struct account *known = find(a, uid);
        struct account *to = known ? &a->items[known - a->items] : place(a, now);
        uint64_t debt = (known ? owes(known, now) : 0) + cost;

        *to = (struct account){
                .uid = uid, .debt = debt < ACCOUNT_DEBT_MAX ? debt : ACCOUNT_DEBT_MAX, .as_of = now};
}

uint64_t accounts_wait(const struct accounts *a, uint32_t uid, uint64_t now)
{
        const struct account *known = find(a, uid);
        uint64_t debt = known ? owes(known, now) : 0;

        return debt > ACCOUNT_BURST ? (debt - ACCOUNT_BURST) * ACCOUNT_SHARE : 0;
}

/* ---- refusals ---- */

bool refusals_tell(struct refusals *r, uint32_t uid)
{
        struct refusal *of = NULL;

        for (size_t i = 0; i < r->n && !of; i++)
                if (r->items[i].uid == uid)
                        of = &r->items[i];
        if (!of && r->n < ACCOUNTS_MAX) {
                of = &r->items[r->n++];
                *of = (struct refusal){.uid = uid};
        }
        if (!of) {
                r->others++;
                return false;
        }
        if (of->told >= REFUSALS_TOLD || r->told >= REFUSALS_TOLD_IN_ALL) {
                of->more++;
                return false;
        }
        of->told++;
        r->told++;
        return true;
}
