/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LOCKDOWN_FAILING_ALLOCATOR_H
#define LOCKDOWN_FAILING_ALLOCATOR_H

/* An allocator in place of the C library's, for this program and the libraries it uses: one allocation fails.
 * To be included once. Not with AddressSanitizer, which has one of its own (ALLOCATIONS_FAIL is 0 then, and
 * ask_to_fail() skips the test). */

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>

#ifndef __has_feature
#define __has_feature(x) 0
#endif
#if defined(__SANITIZE_ADDRESS__) || __has_feature(address_sanitizer)
#define ALLOCATIONS_FAIL 0
#else
#define ALLOCATIONS_FAIL 1
#endif

static unsigned allocations_left; /* the one of this number fails, counted from 1; 0: none */

#if ALLOCATIONS_FAIL

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *old, size_t size);

static bool allocation_fails(void)
{
        if (allocations_left == 0 || --allocations_left > 0)
                return false;
        errno = ENOMEM;
        return true;
}

void *malloc(size_t size)
{
        return allocation_fails() ? NULL : __libc_malloc(size);
}

void *calloc(size_t n, size_t size)
{
        return allocation_fails() ? NULL : __libc_calloc(n, size);
}

void *realloc(void *old, size_t size)
{
        return allocation_fails() ? NULL : __libc_realloc(old, size);
}

#endif

/* A test that needs it begins with this. */
static void need_failing_allocator(void)
{
        if (ALLOCATIONS_FAIL)
                return;
        print_message("skipped: the sanitizer has an allocator of its own\n");
        skip();
}

/* From now on the NUMBER-th allocation fails. */
static void ask_to_fail(unsigned number)
{
        allocations_left = number;
}

/* Whether it came to that one; none fails from now on. */
static bool has_failed(void)
{
        bool reached = allocations_left == 0;

        allocations_left = 0;
        return reached;
}

#endif
