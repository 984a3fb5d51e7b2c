/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "manager-internal.h"
#include "own.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

/* The daemon's own directories, which may not be as they should: that is told, and never a reason not to run.
 */

/* Told in each status; there is more in the journal. */
#define TOLD_MAX 16

void manager_report_damage(struct manager *m, const struct problems *problems)
{
        for (size_t i = 0; i < problems->n; i++) {
                audit(AUDIT_DAMAGED, LOG_CRIT, NULL, NULL, "%s", problems->items[i]);
                if (m->damage.n < TOLD_MAX)
                        problems_add(&m->damage, "%s", problems->items[i]);
        }
}

int manager_open_store(struct manager *m)
{
        _cleanup_problems_ struct problems problems = {0};
        _cleanup_free_ char *error = NULL;
        int r = -EAGAIN;

        /* Where it fails for a moment nobody is to go free for that, until it is tried again. */
        for (unsigned tries = 0; tries < 3 && r < 0; tries++) {
                error = (free(error), NULL);
                r = store_open(m->state_dir, &m->store, &problems, &error);
        }
        manager_report_damage(m, &problems);
        if (r >= 0)
                return 0;
        m->store = store_new_without();
        if (!m->store)
                return -ENOMEM;
        set_problem(&m->state_problem, "%s", error ? error : strerror(-r));
        audit(AUDIT_DAMAGED, LOG_CRIT, NULL, NULL,
              "%s: saved orders are not known, and none can be saved; it is tried again and again",
              m->state_problem);
        return 0;
}

void manager_retry_store(struct manager *m)
{
        _cleanup_problems_ struct problems problems = {0};

        if (!m->state_problem || store_reopen(m->store, m->state_dir, &problems, NULL) < 0)
                return;
        set_problem(&m->state_problem, NULL);
        manager_report_damage(m, &problems);
        audit_log(LOG_NOTICE, "the state directory %s can be used now", m->state_dir);
        manager_retry_ends(m); /* first, or what was lifted meanwhile would come back */
        manager_restore_late(m);
        for (size_t i = 0; i < m->n_lockdowns && !m->orders_problem; i++)
                if (m->lockdowns[i]->order)
                        lockdown_save(m->lockdowns[i]);
        manager_update_status(m);
}

static bool is_known(const char *profile, void *userdata)
{
        const struct manager *m = userdata;

        return manager_find(m, profile) || config_find(m->config, profile);
}

/* Without a profile in it the configuration may be one that is not there yet: a missing one is no mistake. */
void manager_sweep_members(struct manager *m)
{
        _cleanup_problems_ struct problems problems = {0};
        int r;

        if (m->state_problem || m->orders_problem || m->damage.n > 0 || m->config_problem ||
            m->config->n_profiles == 0)
                return;
        r = store_sweep_memberships(m->store, is_known, m, &problems);
        manager_report_damage(m, &problems);
        if (r > 0)
                audit_log(LOG_NOTICE, "the lists of people of %d orders that have ended are removed", r);
        else if (r < 0)
                audit_log(LOG_WARNING, "lists of people that nothing needs could not be removed: %s",
                          strerror(-r));
}

/* Whoever can write there can put another socket in the place of ours. */
static int check_runtime(struct manager *m, const char *runtime)
{
        _cleanup_problems_ struct problems problems = {0};
        struct stat st;

        if (lstat(runtime, &st) < 0)
                return -errno;
        if (!own_uid(st.st_uid))
                problems_add(
                        &problems,
                        "%s belongs to uid %u, who can put another control socket there: give it to root "
                        "(chown root)",
                        runtime, st.st_uid);
        else if (S_ISDIR(st.st_mode) && (st.st_mode & (S_IWGRP | S_IWOTH))) {
                if (chmod(runtime, 0755) < 0)
                        return -errno;
                problems_add(&problems,
                             "others could write to %s (mode %04o), and put another control socket there: "
                             "nobody else can now",
                             runtime, st.st_mode & 07777U);
        }
        manager_report_damage(m, &problems);
        return 0;
}

/* A regular file of ours, whatever was in its place. */
static int open_lock(const char *runtime, const char *path)
{
        _cleanup_close_ int directory = open(runtime, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        struct stat st;
        int fd;

        if (lstat(path, &st) == 0 && (!S_ISREG(st.st_mode) || !own_uid(st.st_uid)) && unlink(path) < 0)
                return -errno;
        fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);
        if (fd < 0)
                return -errno;
        (void)own_give_away(fd, directory);
        return fd;
}

/* One daemon at a time: the lock is on an inode of the runtime directory and ends with the process. */
int manager_take_lock(struct manager *m, const char *runtime, char **ret_error)
{
        _cleanup_free_ char *path = NULL;
        int r;

        if (mkdir(runtime, 0755) < 0 && errno != EEXIST)
                return set_problem(ret_error, "cannot create %s: %s", runtime, strerror(errno)), -errno;
        r = check_runtime(m, runtime);
        if (r < 0)
                return set_problem(ret_error, "cannot use %s: %s", runtime, strerror(-r)), r;
        if (asprintf(&path, "%s/lock", runtime) < 0) {
                path = NULL;
                return -ENOMEM;
        }
        m->lock_fd = r = open_lock(runtime, path);
        if (r < 0)
                return set_problem(ret_error, "cannot open %s: %s", path, strerror(-r)), r;
        if (flock(m->lock_fd, LOCK_EX | LOCK_NB) < 0)
                return set_problem(ret_error, "another lockdownd is running (it holds %s): stop it first",
                                   path),
                       -EBUSY;
        return 0;
}
