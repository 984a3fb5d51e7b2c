/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "namespaces.h"
#include "netlink-message.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/net_namespace.h>
#include <linux/rtnetlink.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* The daemon answers nobody else meanwhile. A process takes about 15 microseconds, the first time some more.
 */
#define LOOK_MSEC 300
#define NAMESPACES_MAX 1000
#define NAMES_MAX 1000

DEFINE_CLEANUP(DIR *, closedir)
DEFINE_CLEANUP(struct mnl_socket *, mnl_socket_close)

/* ---- whose processes are where ---- */

/* A number that every file of this process's network namespace shares with no other namespace's. */
static int namespace_id(int proc, const char *process, uint64_t *ret)
{
        char path[32];
        struct stat st;

        (void)snprintf(path, sizeof(path), "%s/net/dev", process);
        if (fstatat(proc, path, &st, 0) < 0)
                return -errno;
        *ret = st.st_ino;
        return 0;
}

/* The id its files and sockets are made with: the last of "Uid: real effective saved fs". */
static int process_uid(int proc, const char *process, uint32_t *ret)
{
        char path[32], text[4096];
        unsigned long uid = 0;
        char *line;
        _cleanup_close_ int fd = -1;
        ssize_t n;

        (void)snprintf(path, sizeof(path), "%s/status", process);
        fd = openat(proc, path, O_RDONLY | O_CLOEXEC);
        n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
        if (n < 0)
                return -errno;
        text[n] = '\0';
        line = strstr(text, "\nUid:");
        if (!line)
                return -EBADMSG;
        line += strlen("\nUid:");
        for (int field = 0; field < 4; field++) {
                char *end;

                uid = strtoul(line, &end, 10);
                if (end == line || uid > UINT32_MAX)
                        return -EBADMSG;
                line = end;
        }
        *ret = (uint32_t)uid;
        return 0;
}

static struct namespace *find(struct namespaces *s, uint64_t id)
{
        struct namespace *more;

        for (size_t i = 0; i < s->n; i++)
                if (s->items[i].id == id)
                        return &s->items[i];
        if (s->n >= NAMESPACES_MAX) {
                s->cut = true;
                return NULL;
        }
        more = reallocarray(s->items, s->n + 1, sizeof(*more));
        if (!more)
                return NULL;
        s->items = more;
        more[s->n] = (struct namespace){.id = id};
        return &more[s->n++];
}

static int count(struct namespace *n, uint32_t uid, pid_t pid)
{
        struct namespace_user *more;
        size_t at = 0;

        while (at < n->n_users && n->users[at].uid < uid)
                at++;
        if (at == n->n_users || n->users[at].uid != uid) {
                more = reallocarray(n->users, n->n_users + 1, sizeof(*more));
                if (!more)
                        return -ENOMEM;
                n->users = more;
                memmove(more + at + 1, more + at, (n->n_users - at) * sizeof(*more));
                more[at] = (struct namespace_user){.uid = uid, .pid = pid};
                n->n_users++;
        }
        n->users[at].processes++;
        n->processes++;
        return 0;
}

/* A process that is gone by now is in no namespace. */
static int look_at(struct namespaces *s, int proc, const char *process, uint64_t own)
{
        struct namespace *n;
        uint64_t id;
        uint32_t uid;

        if (namespace_id(proc, process, &id) < 0 || id == own || process_uid(proc, process, &uid) < 0)
                return 0;
        n = find(s, id);
        if (!n)
                return s->cut ? 0 : -ENOMEM;
        return count(n, uid, (pid_t)strtol(process, NULL, 10));
}

static int64_t clock_msec(void)
{
        struct timespec now;

        clock_gettime(CLOCK_MONOTONIC, &now);
        return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static int look_at_all(struct namespaces *s)
{
        _cleanup_(closedirp) DIR *proc = opendir("/proc");
        int64_t until = clock_msec() + LOOK_MSEC;
        const struct dirent *entry;
        uint64_t own;
        int r;

        if (!proc)
                return -errno;
        r = namespace_id(dirfd(proc), "self", &own);
        while (r >= 0 && !s->cut && (entry = readdir(proc))) {
                if (!isdigit((unsigned char)entry->d_name[0]) || strlen(entry->d_name) > 10)
                        continue;
                if (clock_msec() > until)
                        s->cut = true;
                else
                        r = look_at(s, dirfd(proc), entry->d_name, own);
        }
        return r;
}

/* ---- names: a namespace and a named file are one where the kernel has the same number for both, as it has
 * for every namespace that a device of ours leads to ---- */

static int on_number(const struct nlattr *attribute, void *userdata)
{
        int *number = userdata;

        if (mnl_attr_get_type(attribute) == NETNSA_NSID && mnl_attr_validate(attribute, MNL_TYPE_U32) >= 0)
                *number = (int)mnl_attr_get_u32(attribute);
        return MNL_CB_OK;
}

static int on_answer(const struct nlmsghdr *header, void *userdata)
{
        if (header->nlmsg_type == RTM_NEWNSID)
                (void)mnl_attr_parse(header, sizeof(struct rtgenmsg), on_number, userdata);
        return 0;
}

struct asker {
        struct mnl_socket *nl;
        uint32_t sequence;
};

/* The number of the namespace of a process, or of an open file; -1 where there is none. */
static int number_of(struct asker *a, uint16_t attribute, uint32_t value)
{
        _Alignas(struct nlmsghdr) char buffer[256] = {0};
        struct nlmsghdr *header = mnl_nlmsg_put_header(buffer);
        int number = -1, r;

        header->nlmsg_type = RTM_GETNSID;
        header->nlmsg_flags = NLM_F_REQUEST;
        header->nlmsg_seq = a->sequence;
        mnl_nlmsg_put_extra_header(header, sizeof(struct rtgenmsg));
        mnl_attr_put_u32(header, attribute, value);
        r = netlink_ask(a->nl, header, on_answer, &number);
        a->sequence = header->nlmsg_seq;
        return r < 0 ? -1 : number;
}

static void take_name(struct namespaces *s, const int *numbers, int number, const char *name, uint64_t inode)
{
        for (size_t i = 0; i < s->n; i++)
                if (numbers[i] == number && !s->items[i].name) {
                        s->items[i].name = strdup(name);
                        s->items[i].inode = s->items[i].name ? inode : 0;
                        return;
                }
}

static void read_names(struct namespaces *s, struct asker *asker, const int *numbers, const char *directory)
{
        _cleanup_(closedirp) DIR *dir = opendir(directory);
        const struct dirent *entry;

        for (size_t n = 0; dir && n < NAMES_MAX && (entry = readdir(dir)); n++) {
                _cleanup_close_ int fd = -1;
                struct stat st;
                int number;

                if (entry->d_name[0] == '.')
                        continue;
                fd = openat(dirfd(dir), entry->d_name, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
                if (fd < 0 || fstat(fd, &st) < 0)
                        continue;
                number = number_of(asker, NETNSA_FD, (uint32_t)fd);
                if (number >= 0)
                        take_name(s, numbers, number, entry->d_name, st.st_ino);
        }
}

static struct mnl_socket *open_route_socket(void)
{
        struct mnl_socket *nl = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC);

        if (!nl || mnl_socket_bind(nl, 0, MNL_SOCKET_AUTOPID) >= 0)
                return nl;
        mnl_socket_close(nl);
        return NULL;
}

/* A name is a help, no more: what goes wrong here leaves namespaces nameless. */
static void name_all(struct namespaces *s)
{
        static const char *const directories[] = {"/run/netns", "/run/docker/netns"};
        _cleanup_(mnl_socket_closep) struct mnl_socket *nl = s->n > 0 ? open_route_socket() : NULL;
        _cleanup_free_ int *numbers = nl ? calloc(s->n, sizeof(*numbers)) : NULL;
        struct asker asker = {.nl = nl};

        if (!numbers)
                return;
        for (size_t i = 0; i < s->n; i++)
                numbers[i] = number_of(&asker, NETNSA_PID, (uint32_t)s->items[i].users[0].pid);
        for (size_t i = 0; i < ELEMENTSOF(directories); i++)
                read_names(s, &asker, numbers, directories[i]);
}

int namespaces_read(struct namespaces *ret)
{
        _cleanup_namespaces_ struct namespaces s = {0};
        int r = look_at_all(&s);

        if (r < 0)
                return r;
        name_all(&s);
        *ret = s;
        s = (struct namespaces){0};
        return 0;
}

void namespaces_clear(struct namespaces *s)
{
        for (size_t i = 0; i < s->n; i++) {
                free(s->items[i].name);
                free(s->items[i].users);
        }
        free(s->items);
        *s = (struct namespaces){0};
}
