/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "bus-gate.h"

#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* The fixed part of a message: byte order, type, flags, version, length of the body, serial, length of the
 * fields; then the fields, padded to eight bytes, and the body. */
#define FIXED 16

/* The end of the greeting. No byte of it but '\r' can begin it anew. */
static const char ending[] = "\r\nBEGIN\r\n";

int gate_greet(struct gate *g, const uint8_t *data, size_t n, size_t *ret_n)
{
        size_t i = 0;

        while (i < n && !g->begun) {
                if (data[i] == (uint8_t)ending[g->matched])
                        g->matched++;
                else
                        g->matched = data[i] == '\r';
                g->begun = g->matched == sizeof(ending) - 1;
                i++;
        }
        if (g->greeted + i > GREETING_MAX)
                return -EMSGSIZE;
        g->greeted += i;
        *ret_n = i;
        return 0;
}

static int grow(struct gate *g, size_t size)
{
        uint8_t *more;

        if (size <= g->capacity)
                return 0;
        more = realloc(g->message, size);
        if (!more)
                return -ENOMEM;
        g->message = more;
        g->capacity = size;
        return 0;
}

int gate_room(struct gate *g, void **ret, size_t *ret_size)
{
        int r;

        if (g->need < FIXED)
                g->need = FIXED;
        r = grow(g, g->need);
        if (r < 0)
                return r;
        *ret = g->message + g->have;
        *ret_size = g->need - g->have;
        return 0;
}

static uint32_t number(const uint8_t *message, size_t at)
{
        uint32_t value;

        memcpy(&value, message + at, sizeof(value));
        return message[0] == 'l' ? le32toh(value) : be32toh(value);
}

static int announced(const uint8_t *message, size_t limit, size_t *ret)
{
        uint64_t body, fields, size;

        if ((message[0] != 'l' && message[0] != 'B') || message[3] != 1)
                return -EBADMSG;
        body = number(message, 4);
        fields = number(message, 12);
        size = FIXED + ((fields + 7) & ~UINT64_C(7)) + body;
        if (size > limit)
                return -EMSGSIZE;
        *ret = (size_t)size;
        return 0;
}

int gate_took(struct gate *g, size_t n, size_t limit)
{
        int r;

        g->have += n;
        if (g->have < FIXED)
                return 0;
        if (g->need == FIXED) {
                r = announced(g->message, limit, &g->need);
                if (r < 0)
                        return r;
        }
        return g->have == g->need;
}

void gate_next(struct gate *g)
{
        gate_clear(g); /* not kept: most callers ask once */
        g->begun = true;
}

void gate_clear(struct gate *g)
{
        free(g->message);
        *g = (struct gate){0};
}
