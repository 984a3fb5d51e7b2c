// SPDX-License-Identifier: GPL-2.0-or-later
#include "ruleset-internal.h"
#include <string.h>

static bool statement_equal(const struct rs_statement *a, const struct rs_statement *b)
{
        return a->kind == b->kind && memcmp(a->fields, b->fields, sizeof(a->fields)) == 0 && a->op == b->op &&
               a->value == b->value && a->set == b->set && a->verdict == b->verdict && a->chain == b->chain &&
               a->family == b->family && memcmp(a->address, b->address, sizeof(a->address)) == 0;
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

bool ruleset_same_structure(const struct ruleset *a, const struct ruleset *b)
{
        if (strcmp(a->table, b->table) != 0)
                return false;
        for (unsigned i = 0; i < _SET_MAX; i++)
                if (a->sets[i].present != b->sets[i].present || a->sets[i].size != b->sets[i].size)
                        return false;
        for (unsigned i = 0; i < _CHAIN_MAX; i++)
                if (a->chains[i].present != b->chains[i].present)
                        return false;
        return true;
}

bool ruleset_equal(const struct ruleset *a, const struct ruleset *b)
{
        if (!ruleset_same_structure(a, b))
                return false;
        for (unsigned i = 0; i < _SET_MAX; i++)
                if (!rs_set_equal(&a->sets[i], &b->sets[i], i))
                        return false;
        for (unsigned i = 0; i < _CHAIN_MAX; i++)
                if (!rs_chain_equal(&a->chains[i], &b->chains[i]))
                        return false;
        return true;
}
