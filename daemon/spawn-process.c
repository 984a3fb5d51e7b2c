// SPDX-License-Identifier: GPL-2.0-or-later
#include "spawn-process.h"
#include "cleanup.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>

/* At most so many descriptors are given to a process. */
#define FDS_MAX 16

/* Copies out of the way of those that the process finds its own under. */
struct lifted {
        int fds[FDS_MAX];
        size_t n;
};

static void close_lifted(struct lifted *l)
{
        while (l->n > 0)
                close(l->fds[--l->n]);
}

static int lift(const int *fds, size_t n, struct lifted *ret)
{
        if (n > FDS_MAX)
                return -E2BIG;
        for (size_t i = 0; i < n; i++) {
                int high = fcntl(fds[i], F_DUPFD_CLOEXEC, SPAWN_FD + FDS_MAX);

                if (high < 0)
                        return -errno;
                ret->fds[ret->n++] = high;
        }
        return 0;
}

static int place_descriptors(const struct lifted *l, posix_spawn_file_actions_t *actions)
{
        int r = 0;

        for (size_t i = 0; r == 0 && i < l->n; i++)
                r = posix_spawn_file_actions_adddup2(actions, l->fds[i], SPAWN_FD + (int)i);
        return r != 0 ? r : posix_spawn_file_actions_addclosefrom_np(actions, SPAWN_FD + (int)l->n);
}

static int prepare(const struct lifted *l, posix_spawn_file_actions_t *actions, posix_spawnattr_t *attributes)
{
        sigset_t none, all;
        int r;

        sigemptyset(&none);
        sigfillset(&all);
        if ((r = posix_spawn_file_actions_addopen(actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0)) != 0 ||
            (r = posix_spawn_file_actions_addopen(actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0)) != 0 ||
            (r = place_descriptors(l, actions)) != 0 ||
            /* The daemon blocks signals for its event loop. */
            (r = posix_spawnattr_setsigmask(attributes, &none)) != 0 ||
            (r = posix_spawnattr_setsigdefault(attributes, &all)) != 0 ||
            (r = posix_spawnattr_setflags(attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF)) != 0)
                return -r;
        return 0;
}

static int start(char *const *argv, const struct lifted *l, pid_t *ret)
{
        posix_spawn_file_actions_t actions;
        posix_spawnattr_t attributes;
        int r;

        if (posix_spawn_file_actions_init(&actions) != 0)
                return -ENOMEM;
        if (posix_spawnattr_init(&attributes) != 0) {
                posix_spawn_file_actions_destroy(&actions);
                return -ENOMEM;
        }
        r = prepare(l, &actions, &attributes);
        if (r == 0)
                r = -posix_spawn(ret, argv[0], &actions, &attributes, argv, environ);
        posix_spawnattr_destroy(&attributes);
        posix_spawn_file_actions_destroy(&actions);
        return r;
}

int spawn_process(char *const *argv, const int *fds, size_t n_fds, pid_t *ret)
{
        _cleanup_(close_lifted) struct lifted lifted = {0};
        int r = lift(fds, n_fds, &lifted);

        return r < 0 ? r : start(argv, &lifted, ret);
}
