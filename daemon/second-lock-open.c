// SPDX-License-Identifier: GPL-2.0-or-later
/* Is there a second lock on this machine? And the programs of orders to come, loaded beforehand. */
#include "own.h"
#include "second-lock-internal.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <mntent.h>
#include <stdarg.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include <bpf/libbpf.h>

/* So often the kernel is asked for the programs that judge who sends, as long as it never took them and does
 * not refuse them plainly: what it has none of, it has other words for, too. */
#define SENDER_TRIES 4

int lock_say(char **ret_sentence, int error, const char *format, ...)
{
        va_list arguments;

        if (!ret_sentence)
                return error;
        va_start(arguments, format);
        if (vasprintf(ret_sentence, format, arguments) < 0)
                *ret_sentence = NULL;
        va_end(arguments);
        return error;
}

static void close_spares(struct second_lock *s)
{
        while (s->n_spare > 0)
                lock_programs_close(&s->spare[--s->n_spare]);
}

struct second_lock *second_lock_close(struct second_lock *s)
{
        if (!s)
                return NULL;
        closep(&s->cgroup);
        lock_programs_close(&s->ready);
        close_spares(s);
        held_clear(&s->held);
        free(s->no_sender);
        free(s->pins);
        free(s);
        return NULL;
}

/* Where cgroup2 is mounted. */
static int find_cgroup_root(char **ret)
{
        struct mntent entry, *e;
        char buffer[4096];
        FILE *f = setmntent("/proc/self/mounts", "re");
        int r = -ENOENT;

        if (!f)
                return -errno;
        while (r == -ENOENT && (e = getmntent_r(f, &entry, buffer, sizeof(buffer))))
                if (strcmp(e->mnt_type, "cgroup2") == 0) {
                        *ret = strdup(e->mnt_dir);
                        r = *ret ? 0 : -ENOMEM;
                }
        endmntent(f);
        return r;
}

static int open_cgroup(struct second_lock *s, const char *path, char **ret_error)
{
        _cleanup_free_ char *found = NULL;
        struct statfs fs;
        int r;

        if (!path) {
                r = find_cgroup_root(&found);
                if (r == -ENOENT)
                        return lock_say(
                                ret_error, -EOPNOTSUPP,
                                "no second lock: there are no control groups of version 2 here (cgroup2 "
                                "is not mounted)");
                if (r < 0)
                        return lock_say(ret_error, r, "cannot find the control groups: %s", strerror(-r));
                path = found;
        }
        s->cgroup = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (s->cgroup < 0)
                return lock_say(ret_error, -errno, "cannot open the control group %s: %s", path,
                                strerror(errno));
        if (fstatfs(s->cgroup, &fs) < 0 || fs.f_type != CGROUP2_SUPER_MAGIC)
                return lock_say(ret_error, -EOPNOTSUPP, "no second lock: %s is no control group of version 2",
                                path);
        r = lock_cgroup_id(s->cgroup, &s->cgroup_id);
        return r < 0 ? lock_say(ret_error, r, "cannot identify the control group %s: %s", path, strerror(-r))
                     : 0;
}

const char *lock_pins_directory(void)
{
        const char *bound = getenv("PINS_DIRECTORY");

        return bound && access(bound, F_OK) == 0 ? bound : SECOND_LOCK_PINS;
}

static int open_pins(struct second_lock *s, const char *path, char **ret_error)
{
        struct statfs fs;
        struct stat st;

        s->pins = strdup(path);
        if (!s->pins)
                return -ENOMEM;
        if (mkdir(path, 0700) < 0 && errno != EEXIST)
                return lock_say(ret_error, errno == ENOENT || errno == EPERM ? -EOPNOTSUPP : -errno,
                                "no second lock: cannot make %s: %s; is a bpf file system mounted there?",
                                path, strerror(errno));
        /* Whoever owns it decides what the next daemon finds there. */
        if (lstat(path, &st) < 0)
                return lock_say(ret_error, -errno, "cannot look at %s: %s", path, strerror(errno));
        if (!S_ISDIR(st.st_mode) || !own_uid(st.st_uid) || (st.st_mode & 0022))
                return lock_say(
                        ret_error, -EOPNOTSUPP,
                        "no second lock: %s is not ours alone (uid %u, mode %o): remove it and restart "
                        "lockdownd",
                        path, st.st_uid, st.st_mode & 07777);
        if (statfs(path, &fs) < 0)
                return lock_say(ret_error, -errno, "cannot look at %s: %s", path, strerror(errno));
        if (fs.f_type != BPF_FS_MAGIC) {
                (void)rmdir(path); /* unless there is something in it */
                return lock_say(
                        ret_error, -EOPNOTSUPP,
                        "no second lock: %s is not in a bpf file system (mount -t bpf bpf /sys/fs/bpf)",
                        path);
        }
        return 0;
}

/* libbpf asks the kernel once in a process what it can (BTF, functions in it, reading kernel memory by a
 * helper of its own), takes any error for "no", and makes other programs from then on, which are not taken:
 * when one of these three questions found no memory, every try of this daemon's fails. */
static int load(bool typed, struct lock_programs *ret, char **ret_error)
{
        int r = lock_programs_load(typed, ret);

        if (r == -EPERM || r == -EACCES) /* EACCES: the verifier's, for a helper that may not be called */
                return lock_say(ret_error, -EPERM,
                                "the second lock may not be loaded: it takes CAP_BPF, CAP_PERFMON and "
                                "CAP_NET_ADMIN, and a "
                                "kernel that is not locked down for confidentiality");
        if (r == -ENOMEM)
                return lock_say(ret_error, r, "no memory for the second lock");
        if (r == -EMFILE || r == -ENFILE || r == -EAGAIN || r == -EINTR)
                return lock_say(ret_error, r, "the second lock could not be loaded: %s", strerror(-r));
        if (r < 0)
                return lock_say(
                        ret_error, -EOPNOTSUPP,
                        "no second lock: this kernel does not take its programs (%s); Linux 6.1 and later "
                        "do: if this one did before, restart lockdownd",
                        strerror(-r));
        return 0;
}

/* May they be attached? They pass everything as long as they have no plan. */
static int try_attaching(const struct second_lock *s, char **ret_error)
{
        _cleanup_close_ int link = -1;
        int r = judge_attach(&s->ready, SL_EGRESS, s->cgroup, &link);

        if (r == -EPERM)
                return lock_say(
                        ret_error, r,
                        "the second lock may not be attached: it takes CAP_NET_ADMIN, and a control group "
                        "whose owner did not forbid it");
        if (r < 0)
                return lock_say(ret_error, -EOPNOTSUPP,
                                "no second lock: its programs cannot be attached to the control group: %s",
                                strerror(-r));
        (void)link_release(link);
        return 0;
}

/* What comes of it, as far as it is known. */
static const char *outlook(const struct second_lock *s, int error)
{
        if (second_lock_sender_lost(s))
                return "; it is tried again";
        return sender_is_refused(error) ? "" : "; it is tried again when lockdownd is restarted";
}

void give_up_sender(struct second_lock *s, int error, char *why)
{
        _cleanup_free_ char *sentence = why;

        for (enum sl_judge i = SL_PACKET_JUDGES; i < SL_JUDGES; i++) {
                closep(&s->ready.judges[i]);
                s->ready.judges[i] = -1; /* the number is soon somebody else's */
        }
        s->n_judges = SL_PACKET_JUDGES;
        if (!s->sender_worked)
                s->sender_tries = sender_is_refused(error) ? SENDER_TRIES : s->sender_tries + 1;
        free(s->no_sender);
        s->no_sender = NULL;
        (void)lock_say(&s->no_sender, 0, "%s%s", sentence ? sentence : strerror(-error), outlook(s, error));
}

static int identify(struct second_lock *s, const struct lock_programs *p)
{
        struct program_identity identity;
        int r = 0;

        for (enum sl_judge i = 0; r >= 0 && i < s->n_judges; i++) {
                r = program_identity(p->judges[i], &identity);
                if (r >= 0)
                        memcpy(s->tags[i], identity.tag, sizeof(identity.tag));
        }
        return r;
}

/* What is to be loaded, and what came of it: nothing in it is the lock's, so it may be another thread's. */
struct second_lock_loading {
        bool typed, with_sender;
        struct lock_programs programs;
        int error, sender_error;
        char *sentence, *sender_why;
};

static struct second_lock_loading loading_of(const struct second_lock *s)
{
        return (struct second_lock_loading){
                .typed = s->typed, .with_sender = s->n_judges == SL_JUDGES, .programs = NO_PROGRAMS};
}

static void loading_clear(struct second_lock_loading *l)
{
        lock_programs_close(&l->programs);
        free(l->sentence);
        free(l->sender_why);
}

static void load_all(struct second_lock_loading *l)
{
        l->error = load(l->typed, &l->programs, &l->sentence);
        if (l->error >= 0 && l->with_sender)
                l->sender_error = sender_load(&l->programs, &l->sender_why);
}

/* Goes by what is known of the lock now. -ESTALE: they lack what others have by now. */
static int take_loaded(struct second_lock *s, struct second_lock_loading *l, struct lock_programs *ret,
                       char **ret_error)
{
        int r;

        if (l->error < 0) {
                if (ret_error)
                        *ret_error = TAKE_PTR(l->sentence);
                return l->error;
        }
        if (s->n_judges == SL_JUDGES && !l->with_sender)
                return -ESTALE;
        if (s->n_judges == SL_JUDGES && l->sender_error < 0)
                give_up_sender(s, l->sender_error, TAKE_PTR(l->sender_why));
        r = identify(s, &l->programs);
        if (r < 0)
                return lock_say(ret_error, r, "cannot identify the second lock's programs: %s", strerror(-r));
        *ret = l->programs;
        l->programs = NO_PROGRAMS;
        return 0;
}

static int load_now(struct second_lock *s, struct lock_programs *ret, char **ret_error)
{
        _cleanup_(loading_clear) struct second_lock_loading l = loading_of(s);

        load_all(&l);
        return take_loaded(s, &l, ret, ret_error);
}

/* The typed ones if the kernel takes them. That is decided once: what is in force is known by its programs.
 */
static int load_first(struct second_lock *s, char **ret_error)
{
        int r = load_now(s, &s->ready, ret_error);

        if (!s->typed || (r != -EOPNOTSUPP && r != -EPERM))
                return r;
        if (ret_error) {
                free(*ret_error);
                *ret_error = NULL;
        }
        s->typed = false;
        return load_now(s, &s->ready, ret_error);
}

/* ---- for orders to come ---- */

bool second_lock_is_ready(const struct second_lock *s)
{
        return s->ready.plans >= 0;
}

static bool enough_for(const struct second_lock *s, size_t wanted)
{
        return second_lock_is_ready(s) && s->n_spare + 1 >= (wanted < READY_MAX ? wanted : READY_MAX);
}

struct second_lock_loading *second_lock_load_begin(const struct second_lock *s, size_t wanted)
{
        struct second_lock_loading *l = enough_for(s, wanted) ? NULL : malloc(sizeof(*l));

        if (l)
                *l = loading_of(s);
        return l;
}

void second_lock_load(struct second_lock_loading *l)
{
        load_all(l);
        if (l->error >= 0)
                lock_programs_make_room(&l->programs);
}

static void put_ready(struct second_lock *s, struct lock_programs *p)
{
        if (s->ready.plans < 0)
                s->ready = *p;
        else if (s->n_spare < ELEMENTSOF(s->spare))
                s->spare[s->n_spare++] = *p;
        else
                lock_programs_close(p);
}

int second_lock_load_end(struct second_lock *s, struct second_lock_loading *l, size_t wanted,
                         char **ret_error)
{
        struct lock_programs p = NO_PROGRAMS;
        int r = take_loaded(s, l, &p, ret_error);

        loading_clear(l);
        free(l);
        if (r >= 0)
                put_ready(s, &p);
        return r < 0 && r != -ESTALE ? r : !enough_for(s, wanted);
}

int second_lock_prepare(struct second_lock *s, size_t wanted, char **ret_error)
{
        struct second_lock_loading *l = second_lock_load_begin(s, wanted);

        if (!l)
                return enough_for(s, wanted) ? 0 : -ENOMEM;
        second_lock_load(l);
        return second_lock_load_end(s, l, wanted, ret_error);
}

void second_lock_used(struct second_lock *s)
{
        lock_programs_close(&s->ready);
        if (s->n_spare > 0)
                s->ready = s->spare[--s->n_spare];
}

bool second_lock_sender_lost(const struct second_lock *s)
{
        return s->n_judges != SL_JUDGES && (s->sender_worked || s->sender_tries < SENDER_TRIES);
}

/* With programs of its own, so that those which are ready are as good as before if it fails. */
int second_lock_try_sender(struct second_lock *s)
{
        _cleanup_(lock_programs_close) struct lock_programs p = NO_PROGRAMS;
        char *why = NULL;
        int r = lock_programs_load(s->typed, &p);

        if (r >= 0)
                r = sender_load(&p, &why);
        if (r >= 0)
                r = sender_try(&p, s->cgroup, &why);
        if (r < 0) {
                give_up_sender(s, r, why);
                return r;
        }
        lock_programs_close(&s->ready);
        close_spares(s); /* which lack it */
        s->ready = p;
        p = NO_PROGRAMS;
        s->n_judges = SL_JUDGES;
        s->sender_worked = true;
        r = identify(s, &s->ready);
        lock_programs_make_room(&s->ready);
        return r;
}

const char *second_lock_no_sender(const struct second_lock *s)
{
        return s->n_judges == SL_JUDGES ? NULL : s->no_sender ?: "no memory";
}

int second_lock_open(const char *cgroup, const char *pins, struct second_lock **ret, char **ret_error)
{
        _cleanup_(second_lock_closep) struct second_lock *s = calloc(1, sizeof(*s));
        char *why = NULL;
        int r;

        if (!s)
                return -ENOMEM;
        s->cgroup = -1;
        s->ready = NO_PROGRAMS;
        s->n_judges = SL_JUDGES;
        libbpf_set_print(NULL); /* it would write to standard error */
        r = open_cgroup(s, cgroup, ret_error);
        if (r >= 0)
                r = open_pins(s, pins ?: lock_pins_directory(), ret_error);
        if (r < 0)
                return r;
        r = kernel_offsets(&s->offsets, &s->typed);
        if (r < 0)
                return lock_say(
                        ret_error, r,
                        "no second lock: the kernel does not describe itself (/sys/kernel/btf/vmlinux; "
                        "CONFIG_DEBUG_INFO_BTF)");
        r = load_first(s, ret_error);
        if (r >= 0)
                r = try_attaching(s, ret_error);
        if (r < 0)
                return r;
        if (s->n_judges == SL_JUDGES)
                r = sender_try(&s->ready, s->cgroup, &why);
        if (r < 0)
                give_up_sender(s, r, why);
        s->sender_worked = s->n_judges == SL_JUDGES;
        lock_programs_make_room(&s->ready); /* not before: what is tried has no plan */
        pins_remove_stale(s->pins);
        *ret = TAKE_PTR(s);
        return 0;
}
