/* SPDX-License-Identifier: GPL-2.0-or-later */

/* A directory with one group and two people, and with whatever ill will the file MODE_FILE asks for. */

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <nss.h>
#include <pwd.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

#define GROUP "remote"
#define GROUP_GID 3100
#define STRANGER "stranger" /* nobody, and asked for like the group */
#define MANY 10000000

static const struct {
        const char *name;
        uid_t uid;
} people[] = {{"dora", 2100}, {"emil", 2101}};

enum nss_status _nss_hostile_getgrnam_r(const char *name, struct group *ret, char *buffer, size_t size,
                                        int *error);
enum nss_status _nss_hostile_getgrgid_r(gid_t gid, struct group *ret, char *buffer, size_t size, int *error);
enum nss_status _nss_hostile_getpwnam_r(const char *name, struct passwd *ret, char *buffer, size_t size,
                                        int *error);
enum nss_status _nss_hostile_getpwuid_r(uid_t uid, struct passwd *ret, char *buffer, size_t size, int *error);

static const char *mode(void)
{
        static char text[256];
        int fd = open(MODE_FILE, O_RDONLY | O_CLOEXEC);
        ssize_t n = fd < 0 ? 0 : read(fd, text, sizeof(text) - 1);

        if (fd >= 0)
                close(fd);
        text[n > 0 ? n : 0] = '\0';
        text[strcspn(text, "\n")] = '\0';
        return text;
}

static int is(const char *what)
{
        return strncmp(mode(), what, strlen(what)) == 0;
}

/* ---- what it does before it answers ---- */

static void say(int fd, const void *data, size_t size)
{
        const char *at = data;

        while (size > 0) {
                ssize_t n = write(fd, at, size);

                if (n <= 0)
                        return;
                at += n;
                size -= (size_t)n;
        }
}

/* An answer in the name of the process that it runs in; TEXT a thousand times, or as often as there is room.
 */
static void answer(const char *text, uint32_t size)
{
        static char line[64 << 10];
        uint32_t header = size ? size : (uint32_t)strlen(text);

        say(3, &header, sizeof(header));
        if (!size) {
                say(3, text, strlen(text));
                return;
        }
        for (size_t i = 0; i < sizeof(line); i++)
                line[i] = text[i % strlen(text)];
        say(3, "lockdown-members 1\nas-of 1\n", 27);
        for (uint32_t sent = 27; sent < size; sent += sizeof(line))
                say(3, line, sizeof(line));
}

static void eat_memory(void)
{
        for (;;) {
                char *p = malloc(1 << 20);

                if (!p)
                        abort();
                memset(p, 1, 1 << 20);
        }
}

static void fork_all_the_time(void)
{
        for (int i = 0; i < 1000; i++)
                if (fork() == 0)
                        for (;;)
                                pause();
}

static void kill_somebody(void)
{
        pid_t pid = (pid_t)atoi(mode() + strlen("kill "));

        if (pid > 1)
                kill(pid, SIGKILL);
}

static void misbehave(void)
{
        static char garbage[1 << 20];

        if (is("everybody")) /* and nothing after it: two answers at once make no sense, and that would be
                                said */
                answer("lockdown-members 1\nas-of 1\nuid 1-4294967294\nend\n", 0);
        if (is("hang") || is("everybody"))
                for (;;)
                        pause();
        else if (is("slow"))
                sleep(2);
        else if (is("wait"))
                while (is("wait"))
                        usleep(10000);
        else if (is("spin"))
                for (;;)
                        ;
        else if (is("crash"))
                raise(SIGSEGV);
        else if (is("exit"))
                _exit(0);
        else if (is("eat"))
                eat_memory();
        else if (is("fork"))
                fork_all_the_time();
        else if (is("kill"))
                kill_somebody();
        else if (is("close"))
                for (int fd = 0; fd < 1024; fd++)
                        close(fd);
        else if (is("garbage"))
                for (;;)
                        say(3, garbage, sizeof(garbage));
        else if (is("flood"))
                answer("unresolved somebody-who-is-not-there\n", 64U << 20);
}

/* ---- answers ---- */

static int is_negative(enum nss_status *ret, int *error)
{
        *error = is("unavailable") ? ECONNREFUSED : is("again") ? EAGAIN : ENOENT;
        *ret = is("unavailable") ? NSS_STATUS_UNAVAIL
               : is("again")     ? NSS_STATUS_TRYAGAIN
                                 : NSS_STATUS_NOTFOUND;
        return is("unavailable") || is("again") || is("nobody");
}

static enum nss_status no_room(int *error)
{
        *error = ERANGE;
        return NSS_STATUS_TRYAGAIN;
}

/* MANY members, each with a name of its own. */
static enum nss_status many_members(struct group *ret, char *buffer, size_t size, int *error)
{
        size_t pointers = (MANY + 1) * sizeof(char *);
        char *names = buffer + pointers;

        if (size < pointers + (size_t)MANY * 12)
                return no_room(error);
        ret->gr_mem = (char **)buffer;
        for (size_t i = 0; i < MANY; i++) {
                ret->gr_mem[i] = names;
                names += sprintf(names, "many%zu", i) + 1;
        }
        ret->gr_mem[MANY] = NULL;
        return NSS_STATUS_SUCCESS;
}

static enum nss_status answer_group(struct group *ret, char *buffer, size_t size, int *error)
{
        static char group[] = GROUP, password[] = "x", dora[] = "dora", emil[] = "emil", root[] = "root";
        static char lines[] = "two\nuid 0-4294967294\nend\n", blanks[] = "a b%0a\t\x01";
        char **members = (char **)(((uintptr_t)buffer + 15) & ~(uintptr_t)15);
        size_t n = 0;

        *ret = (struct group){.gr_name = group, .gr_passwd = password, .gr_gid = GROUP_GID};
        buffer += 16;
        if (size < 16 + 8 * sizeof(char *))
                return no_room(error);
        if (is("many"))
                return many_members(ret, (char *)members, size - 16, error);
        members[n++] = dora;
        members[n++] = emil;
        if (is("names")) {
                members[n++] = lines;
                members[n++] = blanks;
                members[n++] = root;
        }
        members[n] = NULL;
        ret->gr_mem = members;
        return NSS_STATUS_SUCCESS;
}

enum nss_status _nss_hostile_getgrnam_r(const char *name, struct group *ret, char *buffer, size_t size,
                                        int *error)
{
        enum nss_status negative;

        if (strcmp(name, GROUP) != 0)
                return NSS_STATUS_NOTFOUND;
        misbehave();
        return is_negative(&negative, error) ? negative : answer_group(ret, buffer, size, error);
}

enum nss_status _nss_hostile_getgrgid_r(gid_t gid, struct group *ret, char *buffer, size_t size, int *error)
{
        return gid == GROUP_GID ? _nss_hostile_getgrnam_r(GROUP, ret, buffer, size, error)
                                : NSS_STATUS_NOTFOUND;
}

static enum nss_status answer_user(const char *name, uid_t uid, struct passwd *ret, char *buffer, size_t size,
                                   int *error)
{
        static char password[] = "x", none[] = "";

        if (size < strlen(name) + 1)
                return no_room(error);
        strcpy(buffer, name);
        *ret = (struct passwd){.pw_name = buffer,
                               .pw_passwd = password,
                               .pw_uid = uid,
                               .pw_gid = 2100,
                               .pw_gecos = none,
                               .pw_dir = none,
                               .pw_shell = none};
        return NSS_STATUS_SUCCESS;
}

enum nss_status _nss_hostile_getpwnam_r(const char *name, struct passwd *ret, char *buffer, size_t size,
                                        int *error)
{
        enum nss_status negative;

        if (is_negative(&negative, error))
                return negative;
        if (strcmp(name, STRANGER) == 0)
                misbehave();
        for (size_t i = 0; i < sizeof(people) / sizeof(*people); i++)
                if (strcmp(name, people[i].name) == 0)
                        return answer_user(name, people[i].uid, ret, buffer, size, error);
        if (is("names") && strchr(name, '\n')) /* … belongs to nobody at all */
                return answer_user(name, (uid_t)-1, ret, buffer, size, error);
        if (is("names") && strchr(name, '%'))
                return answer_user(name, 0, ret, buffer, size, error);
        return NSS_STATUS_NOTFOUND;
}

enum nss_status _nss_hostile_getpwuid_r(uid_t uid, struct passwd *ret, char *buffer, size_t size, int *error)
{
        enum nss_status negative;

        if (is_negative(&negative, error))
                return negative;
        for (size_t i = 0; i < sizeof(people) / sizeof(*people); i++)
                if (uid == people[i].uid) /* under another name each time it is asked for */
                        return answer_user(is("names") ? "root" : people[i].name, uid, ret, buffer, size,
                                           error);
        return NSS_STATUS_NOTFOUND;
}
