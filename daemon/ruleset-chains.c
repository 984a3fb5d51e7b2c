// SPDX-License-Identifier: GPL-2.0-or-later
#include "ruleset-internal.h"
#include <linux/netfilter.h>
#include <string.h>

const struct rs_chain_info *rs_chain_info(enum rs_chain_id id)
{
        static const struct rs_chain_info chains[_CHAIN_MAX] = {
                [CHAIN_SUBJECTS] = {.name = "subjects"},
                [CHAIN_DESTINATIONS] = {.name = "destinations"},
                [CHAIN_REFUSE] = {.name = "refuse"},
                [CHAIN_SUBJECTS_LAST] = {.name = "subjects_last"},
                [CHAIN_DESTINATIONS_LAST] = {.name = "destinations_last"},
                [CHAIN_REFUSE_LAST] = {.name = "refuse_last"},
                [CHAIN_SUBJECTS_CGROUPS] = {.name = "subjects_cgroups"},
                [CHAIN_DESTINATIONS_CGROUPS] = {.name = "destinations_cgroups"},
                [CHAIN_RECORD] = {.name = "record"},
                [CHAIN_RECORD_OWNED] = {.name = "record_owned"},
                [CHAIN_TRIAL_REFUSED] = {.name = "trial_refused"},
                [CHAIN_PASSED] = {.name = "passed"},
                [CHAIN_SUBJECTS_DNS] = {.name = "subjects_dns"},
                [CHAIN_REDIRECT] = {.name = "redirect_dns", .tracked = true},
                [CHAIN_TO_RELAY] = {.name = "to_relay", .tracked = true},
                [CHAIN_RELAY] = {.name = "relay", .tracked = true},
                [CHAIN_ASTRAY] = {.name = "astray", .tracked = true},
                [CHAIN_FORWARDED] = {.name = "forwarded"},
                [CHAIN_REFUSE_FORWARDED] = {.name = "refuse_forwarded"},
                [CHAIN_SUBJECTS_FRAMES] = {.name = "subjects_frames"},
                [CHAIN_FRAME] = {.name = "frame"},
                [CHAIN_FRAME_TAGGED] = {.name = "frame_tagged"},
                [CHAIN_DESTINATIONS_FRAMES] = {.name = "destinations_frames"},
                /* Before connection tracking and everything else that may change or steal the packet. */
                [CHAIN_OUTPUT] = {"output", "filter", "output", NF_INET_LOCAL_OUT, -310, false},
                /* nft's dstnat; priority keywords differ by hook, numbers don't. */
                [CHAIN_OUTPUT_DNS] = {"output_dns", "nat", "output", NF_INET_LOCAL_OUT, -100, false},
                /* Behind everybody: what is seen here is what leaves. */
                [CHAIN_OUTPUT_LAST] = {"output_last", "filter", "output", NF_INET_LOCAL_OUT, INT32_MAX,
                                       false},
                [CHAIN_POSTROUTING] = {"postrouting", "filter", "postrouting", NF_INET_POST_ROUTING,
                                       INT32_MAX, false},
                [CHAIN_FORWARD] = {"forward", "filter", "forward", NF_INET_FORWARD, -310, false},
                /* Before everybody else, who might send it off by another device. */
                [CHAIN_EGRESS] = {"egress_", "filter", "egress", NF_NETDEV_EGRESS, INT32_MIN, false},
        };

        return &chains[id];
}

const char *rs_counter_name(enum rs_counter_id id)
{
        static const char *const names[_COUNTER_MAX] = {[COUNTER_REFUSED] = "refused",
                                                        [COUNTER_TRIAL_REFUSED] = "trial_refused",
                                                        [COUNTER_TRIAL_PASSED] = "trial_passed"};

        return names[id];
}

bool rs_has_counter(uint8_t family, enum rs_counter_id id)
{
        return id == COUNTER_REFUSED || family != NFPROTO_NETDEV;
}

static bool statement_equal(const struct rs_statement *a, const struct rs_statement *b)
{
        return a->kind == b->kind && memcmp(a->fields, b->fields, sizeof(a->fields)) == 0 && a->op == b->op &&
               a->value == b->value && a->last == b->last && a->set == b->set && a->counter == b->counter &&
               a->verdict == b->verdict && a->chain == b->chain && a->family == b->family &&
               memcmp(a->address, b->address, sizeof(a->address)) == 0 && a->port == b->port;
}

static bool rule_equal(const struct rs_rule *a, const struct rs_rule *b)
{
        if (a->n != b->n)
                return false;
        for (size_t i = 0; i < a->n; i++)
                if (!statement_equal(&a->statements[i], &b->statements[i]))
                        return false;
        return true;
}

bool rs_chain_equal(const struct rs_chain *a, const struct rs_chain *b)
{
        if (a->present != b->present || a->n != b->n)
                return false;
        for (size_t i = 0; i < a->n; i++)
                if (!rule_equal(&a->rules[i], &b->rules[i]))
                        return false;
        return true;
}

bool rs_chain_counts(const struct rs_chain *c)
{
        for (size_t i = 0; i < c->n; i++)
                for (size_t j = 0; j < c->rules[i].n; j++)
                        if (c->rules[i].statements[j].kind == RS_COUNT)
                                return true;
        return false;
}
