// SPDX-License-Identifier: GPL-2.0-or-later
/* The part of the second lock that needs BPF LSM: is it to be had? Tried, not guessed from versions and
 * configurations: a kernel that does not run BPF LSM takes its programs all the same, and never asks them. */
#include "second-lock-internal.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

static char *sentence(const char *what, int error)
{
        char *why = NULL;

        return asprintf(&why, "%s (%s)", what, strerror(-error)) < 0 ? NULL : why;
}

bool sender_is_refused(int error)
{
        return error == -EPERM || error == -ENOSYS || error == -EOPNOTSUPP;
}

int sender_load(struct lock_programs *p, char **ret_why)
{
        int r = lock_programs_load_sender(p);

        if (r < 0)
                *ret_why =
                        sentence(sender_is_refused(r)
                                         ? "the kernel refuses its programs, which need Linux 6.0 or later "
                                           "with CONFIG_BPF_LSM"
                                         : "its programs could not be loaded, which need Linux 6.0 or "
                                           "later with CONFIG_BPF_LSM",
                                 r);
        return r;
}

char *sender_why_not(int error)
{
        if (error == -E2BIG)
                return strdup("this kernel's places for BPF LSM programs at control groups are taken");
        return sentence("its programs cannot be attached to the control group", error);
}

/* The kernel asks before it looks at the address, and this one connects to nothing. */
static int connect_to_nothing(void)
{
        struct sockaddr nothing = {.sa_family = AF_UNSPEC};
        _cleanup_close_ int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

        if (fd < 0)
                return -errno;
        (void)connect(fd, &nothing, sizeof(nothing));
        return 0;
}

static int ask(const struct lock_programs *p, char **ret_why)
{
        int r = connect_to_nothing();

        if (r >= 0)
                r = sender_was_asked(p);
        if (r > 0)
                return 0;
        if (r < 0) {
                *ret_why = sentence("its programs cannot be tried", r);
                return r;
        }
        *ret_why = strdup("this kernel does not run BPF LSM: add bpf to the list lsm= of its command line");
        return -EOPNOTSUPP;
}

int sender_try(const struct lock_programs *p, int cgroup, char **ret_why)
{
        int links[SL_JUDGES] = {-1, -1, -1, -1}, r = 0;

        for (enum sl_judge i = SL_PACKET_JUDGES; r >= 0 && i < SL_JUDGES; i++)
                r = judge_attach(p, i, cgroup, &links[i]);
        if (r < 0)
                *ret_why = sender_why_not(r);
        else
                r = ask(p, ret_why);
        for (enum sl_judge i = SL_PACKET_JUDGES; i < SL_JUDGES; i++) {
                if (links[i] >= 0)
                        (void)link_release(links[i]);
                closep(&links[i]);
        }
        return r;
}
