// SPDX-License-Identifier: GPL-2.0-or-later
/* test-second-lock.c once more, with the programs that kernels before Linux 6.2 are given. */

// wrap: lock_programs_load

#include "../../daemon/second-lock-internal.h"

#include <errno.h>

int __real_lock_programs_load(bool typed, struct lock_programs *ret);
int __wrap_lock_programs_load(bool typed, struct lock_programs *ret);
int __wrap_lock_programs_load(bool typed, struct lock_programs *ret)
{
        return typed ? -EINVAL : __real_lock_programs_load(false, ret);
}

#define NAME "second-lock-untyped"
#include "test-second-lock.c"
