// SPDX-License-Identifier: GPL-2.0-or-later
#include "resolver-accounts.h"
#include <errno.h>
#include <string.h>

struct account_slot {
        uint32_t hash;
        uint32_t number; /* index + 1; 0: free */
};

/* FNV-1a: names often differ in the last digits only, or in all but the last. */
static uint32_t hash_name(const char *name)
{
        uint32_t hash = UINT32_C(2166136261);

        for (; *name; name++)
                hash = (hash ^ (unsigned char)*name) * UINT32_C(16777619);
        return hash;
}

/* Where the name is, or where it belongs. There is always a free slot. */
static struct account_slot *find_slot(const struct accounts *a, const char *name, uint32_t hash)
{
        size_t i = hash & (a->n_slots - 1);

        for (; a->slots[i].number != 0; i = (i + 1) & (a->n_slots - 1)) {
                const struct account_slot *slot = &a->slots[i];

                if (slot->hash == hash && strcmp(a->items[slot->number - 1].name, name) == 0)
                        break;
        }
        return &a->slots[i];
}

static int rehash(struct accounts *a, size_t n_slots)
{
        struct account_slot *slots = calloc(n_slots, sizeof(*slots));

        if (!slots)
                return -ENOMEM;
        for (size_t i = 0; i < a->n_slots; i++) {
                size_t at = a->slots[i].hash & (n_slots - 1);

                if (a->slots[i].number == 0)
                        continue;
                while (slots[at].number != 0)
                        at = (at + 1) & (n_slots - 1);
                slots[at] = a->slots[i];
        }
        free(a->slots);
        a->slots = slots;
        a->n_slots = n_slots;
        return 0;
}

int accounts_reserve(struct accounts *a, size_t more)
{
        size_t capacity = a->capacity ? a->capacity : 64;
        struct account *grown;
        int r;

        if (more <= a->capacity - a->n)
                return 0;
        if (more > UINT32_MAX / 4 - a->n)
                return -ENOMEM;
        while (capacity < a->n + more)
                capacity *= 2;
        r = rehash(a, capacity * 2); /* at least as many free slots as taken ones */
        if (r < 0)
                return r;
        grown = reallocarray(a->items, capacity, sizeof(*grown));
        if (!grown)
                return -ENOMEM;
        a->items = grown;
        a->capacity = capacity;
        return 0;
}

int accounts_add(struct accounts *a, const char *name, size_t *ret_index)
{
        uint32_t hash = hash_name(name);
        struct account_slot *slot;
        char *copy;
        int r;

        r = accounts_reserve(a, 1);
        if (r < 0)
                return r;
        slot = find_slot(a, name, hash);
        if (slot->number == 0) {
                copy = strdup(name);
                if (!copy)
                        return -ENOMEM;
                a->items[a->n] = (struct account){.name = copy};
                *slot = (struct account_slot){hash, (uint32_t)++a->n};
        }
        *ret_index = slot->number - 1;
        return 0;
}

size_t accounts_find(const struct accounts *a, const char *name)
{
        const struct account_slot *slot;

        if (a->n_slots == 0)
                return NO_ACCOUNT;
        slot = find_slot(a, name, hash_name(name));
        return slot->number == 0 ? NO_ACCOUNT : slot->number - 1;
}

size_t accounts_find_next(struct accounts *a, const char *name)
{
        size_t found = a->next;

        if (found >= a->n || strcmp(a->items[found].name, name) != 0)
                found = accounts_find(a, name);
        if (found != NO_ACCOUNT)
                a->next = found + 1;
        return found;
}

int accounts_met(struct accounts *a, size_t index, uint32_t uid)
{
        if (a->n_uids == a->uids_capacity) {
                size_t capacity = a->uids_capacity ? a->uids_capacity * 2 : 64;
                struct account_uid *grown = reallocarray(a->uids, capacity, sizeof(*grown));

                if (!grown)
                        return -ENOMEM;
                a->uids = grown;
                a->uids_capacity = capacity;
        }
        a->uids[a->n_uids++] = (struct account_uid){uid, index};
        a->items[index].state = ACCOUNT_FOUND;
        return 0;
}

void accounts_clear(struct accounts *a)
{
        for (size_t i = 0; i < a->n; i++)
                free(a->items[i].name);
        free(a->items);
        free(a->slots);
        free(a->uids);
        *a = (struct accounts){0};
}
