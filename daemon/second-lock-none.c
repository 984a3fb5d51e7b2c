// SPDX-License-Identifier: GPL-2.0-or-later
/* In place of second-lock.c in a build with BPF=no. */
#include "second-lock.h"

#include <errno.h>
#include <string.h>

int second_lock_open(const char *cgroup, const char *pins, struct second_lock **ret, char **ret_error)
{
        (void)cgroup, (void)pins, (void)ret;
        if (ret_error)
                *ret_error = strdup("no second lock: this lockdownd was built without it (make BPF=no)");
        return -EOPNOTSUPP;
}

/* Nobody can have one to call these with. */

struct second_lock *second_lock_close(struct second_lock *s)
{
        (void)s;
        return NULL;
}

struct second_lock_loading *second_lock_load_begin(const struct second_lock *s, size_t wanted)
{
        (void)s, (void)wanted;
        return NULL;
}

void second_lock_load(struct second_lock_loading *l)
{
        (void)l;
}

int second_lock_load_end(struct second_lock *s, struct second_lock_loading *l, size_t wanted,
                         char **ret_error)
{
        (void)s, (void)l, (void)wanted, (void)ret_error;
        return -EOPNOTSUPP;
}

bool second_lock_is_ready(const struct second_lock *s)
{
        (void)s;
        return false;
}

const char *second_lock_no_sender(const struct second_lock *s)
{
        (void)s;
        return "not built";
}

bool second_lock_sender_lost(const struct second_lock *s)
{
        (void)s;
        return false;
}

int second_lock_try_sender(struct second_lock *s)
{
        (void)s;
        return -EOPNOTSUPP;
}

int second_lock_stage(struct second_lock *s, const struct second_lock_spec *spec)
{
        (void)s, (void)spec;
        return -EOPNOTSUPP;
}

void second_lock_unstage(struct second_lock *s, const char *name)
{
        (void)s, (void)name;
}

int second_lock_engage(struct second_lock *s, const struct second_lock_spec *spec, char **ret_error)
{
        (void)s, (void)spec, (void)ret_error;
        return -EOPNOTSUPP;
}

int second_lock_update(struct second_lock *s, const struct second_lock_spec *spec, char **ret_error)
{
        (void)s, (void)spec, (void)ret_error;
        return -EOPNOTSUPP;
}

int second_lock_disengage(struct second_lock *s, const char *name, char **ret_error)
{
        (void)s, (void)name, (void)ret_error;
        return -EOPNOTSUPP;
}

int second_lock_list(struct second_lock *s, struct words *ret)
{
        (void)s, (void)ret;
        return -EOPNOTSUPP;
}

int second_lock_adopt(struct second_lock *s, const char *name, char **ret_error)
{
        (void)s, (void)name, (void)ret_error;
        return -EOPNOTSUPP;
}

int second_lock_verify(struct second_lock *s, const struct second_lock_spec *spec, char **ret_difference)
{
        (void)s, (void)spec, (void)ret_difference;
        return -EOPNOTSUPP;
}

int second_lock_read_refused(struct second_lock *s, const char *name, struct second_lock_refused *ret)
{
        (void)s, (void)name, (void)ret;
        return -EOPNOTSUPP;
}
