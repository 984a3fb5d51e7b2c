// SPDX-License-Identifier: GPL-2.0-or-later
#include "ruleset-internal.h"
#include <string.h>

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
        if (!a->frames != !b->frames)
                return false;
        return !a->frames || ruleset_same_structure(a->frames, b->frames);
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
        return !a->frames || ruleset_equal(a->frames, b->frames);
}
