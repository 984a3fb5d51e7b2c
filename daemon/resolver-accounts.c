// SPDX-License-Identifier: GPL-2.0-or-later
#include "resolver-accounts.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Names are kept for as long as all of it: one allocation for thousands of them. */
#define BLOCK_SIZE ((size_t)64 << 10)

struct name_block {
        struct name_block *before;
        size_t used, size;
        char text[];
};

static char *keep_name(struct accounts *a, const char *name)
{
        size_t length = strlen(name) + 1;
        struct name_block *block = a->names;

        if (!block || block->size - block->used < length) {
                size_t size = length < BLOCK_SIZE ? BLOCK_SIZE : length;

                block = malloc(sizeof(*block) + size);
                if (!block)
                        return NULL;
                *block = (struct name_block){.before = a->names, .size = size};
                a->names = block;
        }
        block->used += length;
        return memcpy(block->text + block->used - length, name, length);
}

/* FNV-1a: names often differ in the last digits only, or in all but the last. */
static uint32_t hash_name(const char *name)
{
        uint32_t hash = UINT32_C(2166136261);

        for (; *name; name++)
                hash = (hash ^ (unsigned char)*name) * UINT32_C(16777619);
        return hash;
}

/* Where the name is, or where it belongs. There is always a free slot. */
static uint32_t *find_slot(const struct accounts *a, const char *name, uint32_t hash)
{
        size_t i = hash & (a->n_slots - 1);

        for (; a->slots[i] != 0; i = (i + 1) & (a->n_slots - 1)) {
                const struct account *account = &a->items[a->slots[i] - 1];

                if (account->hash == hash && strcmp(account->name, name) == 0)
                        break;
        }
        return &a->slots[i];
}

static int rehash(struct accounts *a, size_t n_slots)
{
        uint32_t *slots = calloc(n_slots, sizeof(*slots));

        if (!slots)
                return -ENOMEM;
        for (size_t i = 0; i < a->n; i++) {
                size_t at = a->items[i].hash & (n_slots - 1);

                while (slots[at] != 0)
                        at = (at + 1) & (n_slots - 1);
                slots[at] = (uint32_t)i + 1;
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
        uint32_t hash = hash_name(name), *slot;
        char *copy;
        int r;

        r = accounts_reserve(a, 1);
        if (r < 0)
                return r;
        slot = find_slot(a, name, hash);
        if (*slot == 0) {
                copy = keep_name(a, name);
                if (!copy)
                        return -ENOMEM;
                a->items[a->n] = (struct account){.name = copy, .hash = hash};
                *slot = (uint32_t)++a->n;
        }
        *ret_index = *slot - 1;
        return 0;
}

size_t accounts_find(const struct accounts *a, const char *name)
{
        uint32_t number;

        if (a->n_slots == 0)
                return NO_ACCOUNT;
        number = *find_slot(a, name, hash_name(name));
        return number == 0 ? NO_ACCOUNT : number - 1;
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
        a->uids[a->n_uids++] = (struct account_uid){uid, (uint32_t)index};
        a->items[index].state = ACCOUNT_FOUND;
        return 0;
}

void accounts_clear(struct accounts *a)
{
        while (a->names) {
                struct name_block *before = a->names->before;

                free(a->names);
                a->names = before;
        }
        free(a->items);
        free(a->slots);
        free(a->uids);
        *a = (struct accounts){0};
}
