/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LOCKDOWN_BUS_GATE_H
#define LOCKDOWN_BUS_GATE_H

/* Which bytes of a caller get as far as sd-bus: a greeting of bounded length, then whole messages of bounded
 * length, one at a time. sd-bus itself would keep what was sent of a message of up to 128 MiB. Pure. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Bytes until BEGIN, at the most. */
#define GREETING_MAX 4096

struct gate {
        size_t greeted;   /* bytes of the greeting so far */
        unsigned matched; /* … and how many of its end they match */
        bool begun;       /* what comes now are messages */
        uint8_t *message; /* the one that is coming in */
        size_t have, need, capacity;
};

/* Before `begun`: RET_N says how many of the N bytes at DATA belong to the greeting: all up to BEGIN, which
 * sets `begun`. 0, or -EMSGSIZE if it goes on for too long. */
int gate_greet(struct gate *g, const uint8_t *data, size_t n, size_t *ret_n);
/* Afterwards: where the next bytes go, and how many at the most (never beyond the message's end). The place
 * is the gate's. 0 or -ENOMEM. */
int gate_room(struct gate *g, void **ret, size_t *ret_size);
/* N of them were put there. 1: the message is whole; 0: more of it is needed; -EBADMSG: this is no message;
 * -EMSGSIZE: it is announced as longer than LIMIT bytes. */
int gate_took(struct gate *g, size_t n, size_t limit);
/* The whole message was taken over: another one begins. */
void gate_next(struct gate *g);
void gate_clear(struct gate *g);

#endif
