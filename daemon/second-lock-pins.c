// SPDX-License-Identifier: GPL-2.0-or-later
/* Where the locks that are on are found:
 *
 *   PINS/NAME/judge_sent, judge_received   the programs
 *   PINS/NAME/egress, ingress              the links that hold them at the control group
 *   PINS/NAME/judge_sending, judge_connecting, send, connect
 *                                          the same of the sender's lock, where there is one
 *   PINS/NAME/plans, plan                  the map with one slot, and the plan in it
 *   PINS/NAME/refused                      the counters
 *
 * A '.' in a profile's name is written '%' (bpffs takes no dots). A '+', that no profile's name has, begins
 * the name of what is in the making or to be removed: it may be removed at any time. */
#include "second-lock-internal.h"

#include <bpf/bpf.h>
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <string.h>

const char *const judge_pins[SL_JUDGES] = {"judge_sent", "judge_received", "judge_sending",
                                           "judge_connecting"};
const char *const link_pins[SL_JUDGES] = {"egress", "ingress", "send", "connect"};

int pin_path(const char *pins, const char *prefix, const char *name, const char *pin,
             char path[static PATH_MAX])
{
        size_t at = strlen(pins) + 1 + strlen(prefix);
        int n = snprintf(path, PATH_MAX, "%s/%s%s%s%s", pins, prefix, name, pin ? "/" : "", pin ?: "");

        if (*name == '\0' || strpbrk(name, "/+%"))
                return -EINVAL;
        if (n >= PATH_MAX)
                return -ENAMETOOLONG;
        for (size_t i = at; i < at + strlen(name); i++)
                if (path[i] == '.')
                        path[i] = '%';
        return 0;
}

int pin_get(const char *pins, const char *name, const char *pin, int *ret_fd)
{
        char path[PATH_MAX];
        int r = pin_path(pins, "", name, pin, path);

        if (r >= 0)
                r = bpf_obj_get(path);
        if (r < 0)
                return r;
        *ret_fd = r;
        return 0;
}

bool pins_has(const char *pins, const char *name)
{
        char path[PATH_MAX];

        return pin_path(pins, "", name, NULL, path) >= 0 && access(path, F_OK) == 0;
}

int pins_remove(const char *path)
{
        DIR *d = opendir(path);
        struct dirent *e;
        int error = 0;

        if (!d)
                return errno == ENOENT ? 0 : -errno;
        for (size_t i = 0; i < SL_JUDGES; i++) {
                char pin[PATH_MAX];
                _cleanup_close_ int link = -1;

                if (snprintf(pin, sizeof(pin), "%s/%s", path, link_pins[i]) < (int)sizeof(pin))
                        link = bpf_obj_get(pin);
                if (link >= 0)
                        (void)link_release(link);
        }
        while ((e = readdir(d)))
                if (e->d_name[0] != '.' && unlinkat(dirfd(d), e->d_name, 0) < 0)
                        error = -errno;
        closedir(d);
        return rmdir(path) < 0 ? (error ?: -errno) : 0;
}

/* Calls DO_IT for every directory whose name begins with '+', or for every other one. */
static int for_each(const char *pins, bool temporary, int (*do_it)(const char *entry, void *userdata),
                    void *userdata)
{
        DIR *d = opendir(pins);
        struct dirent *e;
        int r = 0;

        if (!d)
                return -errno;
        while (r >= 0 && (e = readdir(d)))
                if (e->d_name[0] != '.' && (e->d_name[0] == '+') == temporary)
                        r = do_it(e->d_name, userdata);
        closedir(d);
        return r;
}

static int remove_one(const char *entry, void *userdata)
{
        const char *pins = userdata;
        char path[PATH_MAX];

        if (snprintf(path, sizeof(path), "%s/%s", pins, entry) < (int)sizeof(path))
                (void)pins_remove(path);
        return 0;
}

void pins_remove_stale(const char *pins)
{
        (void)for_each(pins, true, remove_one, (void *)pins);
}

static int add_name(const char *entry, void *userdata)
{
        _cleanup_free_ char *name = strdup(entry);

        if (!name)
                return -ENOMEM;
        for (char *p = name; *p; p++)
                if (*p == '%')
                        *p = '.';
        return words_add(userdata, name, NULL, 0);
}

int pins_list(const char *pins, struct words *ret)
{
        _cleanup_(words_clear) struct words names = {};
        int r = for_each(pins, false, add_name, &names);

        if (r < 0)
                return r;
        words_clear(ret);
        *ret = names;
        names = (struct words){};
        return 0;
}
