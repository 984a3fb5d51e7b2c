/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LOCKDOWN_CLEANUP_H
#define LOCKDOWN_CLEANUP_H

/* Scope-bound release of resources (the compiler's cleanup attribute). jansson and libsystemd bring their own
 * (json_decrefp(), sd_bus_unrefp()…). */

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define _cleanup_(f) __attribute__((cleanup(f)))

/* Defines NAMEp(), which releases what a variable points to with NAME(); NAME() must take NULL. */
#define DEFINE_CLEANUP(type, name)          \
        static inline void name##p(type *p) \
        {                                   \
                if (*p)                     \
                        name(*p);           \
        }

static inline void freep(void *p)
{
        free(*(void **)p);
}

static inline void closep(const int *fd)
{
        if (*fd >= 0)
                close(*fd);
}

DEFINE_CLEANUP(FILE *, fclose)

#define _cleanup_free_ _cleanup_(freep)
#define _cleanup_close_ _cleanup_(closep)
#define _cleanup_fclose_ _cleanup_(fclosep)
#define _cleanup_json_ _cleanup_(json_decrefp)

/* Hands a pointer over: returns the value and leaves NULL behind, so that its cleanup does nothing. */
#define TAKE_PTR(p)                                  \
        ({                                           \
                __typeof__(p) *_taken_from = &(p);   \
                __typeof__(p) _taken = *_taken_from; \
                *_taken_from = NULL;                 \
                _taken;                              \
        })

/* The same for a file descriptor; leaves -1 behind. */
#define TAKE_FD(fd)                        \
        ({                                 \
                int *_taken_from = &(fd);  \
                int _taken = *_taken_from; \
                *_taken_from = -1;         \
                _taken;                    \
        })

#define ELEMENTSOF(a) (sizeof(a) / sizeof((a)[0]))

#endif
