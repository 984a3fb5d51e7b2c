/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LOCKDOWN_TEST_RESOLVER_FIXTURE_H
#define LOCKDOWN_TEST_RESOLVER_FIXTURE_H

/* For test-resolver.c: databases in a private mount namespace, and questions asked of the resolver. */

#include "resolver-internal.h"
#include <errno.h>
#include <sched.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define MSEC UINT64_C(1000)
#define LONG (60 * 1000 * MSEC)

/* Known to the directory, which does not enumerate: in no file. */
#define REMOTE_NAME "remote"
#define REMOTE_UID 7000
#define REMOTE_GID 7001

enum database { PASSWD, GROUP, SUBUID, SUBGID, NSSWITCH, _DATABASE_MAX };

static const char *const names[_DATABASE_MAX] = {"passwd", "group", "subuid", "subgid", "nsswitch.conf"};

static const char *const contents[_DATABASE_MAX] = {
        [PASSWD] = "root:x:0:0::/:/bin/sh\nnobody:x:65534:65534::/:/bin/sh\n"
                   "alice:x:1000:1000::/:/bin/sh\nbob:x:1001:1001::/:/bin/sh\n"
                   "carol:x:1002:500::/:/bin/sh\n" /* staff is her primary group */
                   "dave:x:1003:1003::/:/bin/sh\nbackup:x:34:34::/:/bin/sh\n"
                   "alias:x:1000:1000:alice, too:/:/bin/sh\n"
                   "eve:x:1004:1004::/:/bin/sh\n",
        [GROUP] = "root:x:0:\nstaff:x:500:alice,gone,bob\nguests:x:501:dave\nempty:x:502:\n"
                  "stale:x:503:gone,longgone\nops:x:504:bob,backup\nmixed:x:505:dave,unanswered-user\n"
                  "far:x:506:" REMOTE_NAME "\nrooted:x:507:root\n",
        [SUBUID] = "alias:100000:65536\nbob:200000:10\n1002:300000:10\neve:400000:10\n"
                   "bob:bad:10\n:5:5\nbob:5\nbob:5:0\ngone:600000:10\n" REMOTE_NAME ":700000:10\n"
                   "bob:4294967290:1000\nbob:4294967296:5\n# comment\n",
        [SUBGID] = "alice:110000:10\neve:410000:10\n",
        [NSSWITCH] = "passwd: files\ngroup: files\n",
};

struct fixture {
        char *dir;
        sd_event *event;
        struct launcher *launcher;
        struct resolver *resolver;
};

static void write_database(const struct fixture *f, enum database which, const char *text)
{
        char path[256];
        FILE *file;

        snprintf(path, sizeof(path), "%s/%s", f->dir, names[which]);
        file = fopen(path, "we");
        assert_non_null(file);
        assert_true(fputs(text, file) >= 0);
        assert_int_equal(fclose(file), 0);
}

static int bind_databases(const struct fixture *f)
{
        for (size_t i = 0; i < _DATABASE_MAX; i++) {
                char from[256], to[256];

                snprintf(from, sizeof(from), "%s/%s", f->dir, names[i]);
                snprintf(to, sizeof(to), "/etc/%s", names[i]);
                write_database(f, (enum database)i, contents[i]);
                if (mount(from, to, NULL, MS_BIND, NULL) < 0)
                        return -errno;
        }
        return 0;
}

static int setup_databases(void **state)
{
        char dir[] = "/tmp/test-resolver-XXXXXX";
        struct fixture *f = calloc(1, sizeof(*f));

        umask(022);
        if (!f || !mkdtemp(dir) || !(f->dir = strdup(dir)))
                return -1;
        *state = f;
        if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
                return -1;
        return bind_databases(f);
}

static int teardown_databases(void **state)
{
        struct fixture *f = *state;
        char path[256];

        for (size_t i = 0; i < _DATABASE_MAX; i++) {
                snprintf(path, sizeof(path), "/etc/%s", names[i]);
                umount2(path, MNT_DETACH);
                snprintf(path, sizeof(path), "%s/%s", f->dir, names[i]);
                unlink(path);
        }
        rmdir(f->dir);
        free(f->dir);
        free(f);
        return 0;
}

static int setup(void **state)
{
        struct fixture *f = *state;

        if (sd_event_new(&f->event) < 0 || launcher_new("/proc/self/exe", NULL, &f->launcher) < 0 ||
            resolver_new(f->event, f->launcher, &f->resolver) < 0)
                return -1;
        return 0;
}

static int teardown(void **state)
{
        struct fixture *f = *state;
        siginfo_t info;

        f->resolver = resolver_free(f->resolver);
        f->launcher = launcher_free(f->launcher);
        f->event = sd_event_unref(f->event);
        for (size_t i = 0; i < _DATABASE_MAX; i++)
                write_database(f, (enum database)i, contents[i]);
        return waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) < 0 && errno == ECHILD ? 0 : -1;
}

struct question {
        const char *groups, *users, *except_groups, *except_users;
        const uint32_t *seen;
        size_t n_seen;
};

struct outcome {
        bool done;
        int error;
        struct membership m;
};

static void on_members(void *userdata, int error, struct membership *m)
{
        struct outcome *o = userdata;

        o->done = true;
        o->error = error;
        membership_clear(&o->m);
        o->m = *m; /* moved out */
        *m = (struct membership){0};
}

static void ask_until(struct fixture *f, const struct question *q, uint64_t deadline, struct outcome *o)
{
        _cleanup_words_ struct words groups = {0}, users = {0}, except_groups = {0}, except_users = {0};
        struct resolver_query query = {.groups = &groups,
                                       .users = &users,
                                       .except_groups = &except_groups,
                                       .except_users = &except_users,
                                       .seen_uids = q->seen,
                                       .n_seen_uids = q->n_seen};

        assert_int_equal(words_split(&groups, q->groups ? q->groups : "", NULL, 0), 0);
        assert_int_equal(words_split(&users, q->users ? q->users : "", NULL, 0), 0);
        assert_int_equal(words_split(&except_groups, q->except_groups ? q->except_groups : "", NULL, 0), 0);
        assert_int_equal(words_split(&except_users, q->except_users ? q->except_users : "", NULL, 0), 0);
        o->done = false;
        assert_int_equal(resolver_resolve(f->resolver, &query, deadline, on_members, o), 0);
        while (!o->done)
                assert_true(sd_event_run(f->event, LONG) > 0);
}

static void ask(struct fixture *f, struct outcome *o, struct question q)
{
        ask_until(f, &q, LONG, o);
        assert_int_equal(o->error, 0);
}

static void assert_set(const struct idset *s, const char *expected)
{
        char text[512] = "";
        size_t at = 0;

        for (size_t i = 0; i < s->n && at < sizeof(text) - 32; i++) {
                const struct idrange *r = &s->ranges[i];

                at += (size_t)snprintf(text + at, 32, r->first == r->last ? "%s%u" : "%s%u-%u", i ? " " : "",
                                       r->first, r->last);
        }
        assert_string_equal(text, expected);
}

static void assert_words(const struct words *w, const char *expected)
{
        _cleanup_free_ char *joined = words_join(w);

        assert_string_equal(joined, expected);
}

static void assert_no_trouble(const struct membership *m)
{
        assert_words(&m->missing_groups, "");
        assert_words(&m->missing_users, "");
        assert_words(&m->unresolved, "");
        assert_words(&m->empty_groups, "");
}

#define _cleanup_outcome_ _cleanup_(outcome_clear)
static void outcome_clear(struct outcome *o)
{
        membership_clear(&o->m);
}

/* A group of 100,000, all with a subordinate range. */
#define MANY 100000

static void write_many(struct fixture *f)
{
        static const enum database which[] = {PASSWD, GROUP, SUBUID};
        char *text[3] = {0};
        size_t size[3];
        FILE *file[3];

        for (size_t i = 0; i < 3; i++)
                file[i] = open_memstream(&text[i], &size[i]);
        fputs("many:x:600:", file[1]);
        for (unsigned i = 0; i < MANY; i++) {
                fprintf(file[0], "member%06u:x:%u:%u::/home/member%06u:/bin/sh\n", i, 200000 + 2 * i,
                        200000 + 2 * i, i);
                fprintf(file[1], "%smember%06u", i ? "," : "", i);
                fprintf(file[2], "member%06u:%u:10\n", i, 1000000 + 20 * i);
        }
        fputs("\n", file[1]);
        for (size_t i = 0; i < 3; i++) {
                fclose(file[i]);
                write_database(f, which[i], text[i]);
                free(text[i]);
        }
}

#endif
