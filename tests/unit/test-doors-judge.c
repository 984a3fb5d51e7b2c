/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Which listeners are doors, of what kind, and what closes them. */

#include "doors-judge.h"
#include "profile.h"
#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define ALICE 2001U
#define MALLORY 2004U
#define EPHEMERAL 32768

static const struct row {
        const char *what;
        const char *plan; /* key=value words, as a profile has them */
        uint32_t uid;
        const char *address; /* ADDRESS PORT/PROTOCOL, a path, or a bus name */
        const char *cgroup, *program;
        const char *expected; /* "KIND UNIT: LINE", or NULL: no door */
} rows[] = {
        {"a proxy by its unit", "", 13, "127.0.0.1 3129/tcp", "system.slice/squid.service", NULL,
         "proxy squid.service: LoopbackDeny=3129"},
        {"a proxy by its program", "", MALLORY, "0.0.0.0 5000/tcp", "system.slice/mine.service", "microsocks",
         "proxy mine.service: LoopbackDeny=5000"},
        {"a proxy by its port", "", MALLORY, ":: 1080/tcp", NULL, NULL, "proxy -: LoopbackDeny=1080"},
        {"the unit says more than the port", "", 0, "127.0.0.1 1080/tcp", "system.slice/cups.service", NULL,
         "print cups.service: Services=cups.service"},
        {"a port that is refused", "LoopbackDeny=3129", 13, "127.0.0.1 3129/tcp",
         "system.slice/squid.service", NULL, NULL},
        {"… by default", "", 13, "0.0.0.0 3128/tcp", "system.slice/squid.service", NULL, NULL},
        {"… and not the one beside it", "LoopbackDeny=3130", 13, "127.0.0.1 3129/tcp",
         "system.slice/squid.service", NULL, "proxy squid.service: LoopbackDeny=3129"},
        {"a unit that is held", "Services=squid.service", 13, "127.0.0.1 3129/tcp",
         "system.slice/squid.service", NULL, NULL},
        {"… named in short", "Services=squid", 13, "127.0.0.1 3129/tcp", "system.slice/squid.service", NULL,
         NULL},
        {"… by a pattern", "Services=squid*.service", 13, "::1 3129/udp", "system.slice/squid-2.service",
         NULL, NULL},
        {"… by its slice", "Services=system.slice", 13, "::1 3129/tcp", "system.slice/a.slice/squid.service",
         NULL, NULL},
        {"… by a slice further down", "Services=system-tor.slice", 107, "::1 9999/tcp",
         "system.slice/system-tor.slice/tor@default.service", NULL, NULL},
        {"another unit that is held", "Services=privoxy.service", 13, "127.0.0.1 3129/tcp",
         "system.slice/squid.service", NULL, "proxy squid.service: LoopbackDeny=3129"},
        {"what is inside a unit is the unit's", "Services=squid.service", 0, "0.0.0.0 8080/tcp",
         "system.slice/docker-1.scope/system.slice/squid.service", NULL,
         "unknown docker-1.scope: LoopbackDeny=8080"},
        {"a user's own unit is held by nothing", "Services=squid.service", MALLORY, "0.0.0.0 8080/tcp",
         "user.slice/user-2004.slice/user@2004.service/app.slice/squid.service", NULL,
         "unknown -: LoopbackDeny=8080"},
        {"… but all users are", "Services=user.slice", MALLORY, "0.0.0.0 8080/tcp",
         "user.slice/user-2004.slice/session-1.scope", NULL, NULL},
        {"a subject's own", "", ALICE, "0.0.0.0 1080/tcp", "user.slice/user-2001.slice/session-1.scope", NULL,
         NULL},
        {"a subordinate uid of a subject's", "", 100033, "0.0.0.0 1080/tcp", NULL, NULL, NULL},
        {"somebody else's in a subject's session", "", MALLORY, "0.0.0.0 1080/tcp",
         "user.slice/user-2001.slice/session-1.scope", NULL, "proxy -: LoopbackDeny=1080"},
        {"… with Sessions=yes", "Sessions=yes", MALLORY, "0.0.0.0 1080/tcp",
         "user.slice/user-2001.slice/session-1.scope", NULL, NULL},
        {"… in somebody else's", "Sessions=yes", MALLORY, "0.0.0.0 1080/tcp",
         "user.slice/user-2004.slice/session-1.scope", NULL, "proxy -: LoopbackDeny=1080"},
        {"everyone: everybody's", "Everyone=yes", 13, "127.0.0.1 3129/tcp", "system.slice/squid.service",
         NULL, NULL},
        {"everyone: but root's", "Everyone=yes", 0, "127.0.0.1 3129/tcp", "system.slice/squid.service", NULL,
         "proxy squid.service: LoopbackDeny=3129"},
        {"a resolver's port is DNS='s", "", 101, "127.0.0.53 53/udp", "system.slice/systemd-resolved.service",
         NULL, NULL},
        {"… that lets it", "DNS=allow", 101, "127.0.0.53 53/udp", "system.slice/systemd-resolved.service",
         NULL, "resolver systemd-resolved.service: Services=systemd-resolved.service"},
        {"… of no unit", "DNS=allow", MALLORY, "0.0.0.0 5353/udp", NULL, NULL,
         "resolver -: LoopbackDeny=5353"},
        {"a multicast group", "DNS=allow", 101, "224.0.0.251 5353/udp", NULL, NULL, NULL},
        {"… over IPv6", "DNS=allow", 101, "ff02::fb 5353/udp", NULL, NULL, NULL},
        {"mail", "", 0, "127.0.0.1 25/tcp", "system.slice/system-postfix.slice/postfix@-.service", NULL,
         "mail postfix@-.service: Services=postfix@-.service"},
        {"mail, by its port alone", "", 0, "127.0.0.1 25/tcp", NULL, NULL, "mail -: LoopbackDeny=25"},
        {"a socket unit leads to its service", "", 0, "127.0.0.1 631/tcp", "system.slice/cups.socket", NULL,
         "print cups.socket: Services=cups.service"},
        {"systemd's own sockets", "", 0, "127.0.0.1 631/tcp", "init.scope", NULL,
         "print init.scope: LoopbackDeny=631"},
        {"a container's port", "", 0, "0.0.0.0 8080/tcp", "system.slice/docker.service", "docker-proxy",
         "engine docker.service: LoopbackDeny=8080"},
        {"ssh forwarding", "", MALLORY, "127.0.0.1 5555/tcp", "user.slice/user-2004.slice/session-1.scope",
         "ssh", "proxy -: LoopbackDeny=5555"},
        {"sshd forwarding", "", MALLORY, "127.0.0.1 5555/tcp", "user.slice/user-2004.slice/session-1.scope",
         "sshd", "proxy -: LoopbackDeny=5555"},
        {"sshd", "", 0, "0.0.0.0 22/tcp", "system.slice/ssh.service", "sshd", NULL},
        {"… on another port", "", 0, ":: 2222/tcp", "system.slice/sshd.service", "sshd", NULL},
        {"a relay", "", 0, "127.0.0.1 40000/tcp", "system.slice/lockdownd-launcher.service", "lockdownd",
         NULL},
        {"… on a machine without units", "", 0, ":: 22/tcp", NULL, NULL, NULL},
        {"port 22, but not root's", "", MALLORY, ":: 22/tcp", NULL, NULL, "unknown -: LoopbackDeny=22"},
        {"a DHCP client", "", 0, "0.0.0.0 68/udp", "system.slice/dhclient.service", "dhclient", NULL},
        {"… of no unit", "", 0, "0.0.0.0 68/udp", NULL, NULL, NULL},
        {"NTP", "", 112, "0.0.0.0 123/udp", "system.slice/chrony.service", "chronyd", NULL},
        {"the kernel's", "", 0, "0.0.0.0 2050/tcp", "", NULL, NULL},
        {"a client's UDP port", "", MALLORY, "0.0.0.0 40000/udp", "system.slice/x.service", NULL, NULL},
        {"… of a known program", "", MALLORY, "0.0.0.0 40000/udp", "system.slice/x.service", "tor",
         "proxy x.service: LoopbackDeny=40000"},
        {"a TCP port in that range", "", MALLORY, "0.0.0.0 40000/tcp", "system.slice/x.service", NULL,
         "unknown x.service: LoopbackDeny=40000"},
        {"a web application", "", 33, "0.0.0.0 8080/tcp", "system.slice/app.service", "python3",
         "unknown app.service: LoopbackDeny=8080"},
        {"a Unix socket", "", 0, "/run/cups/cups.sock", "system.slice/cups.service", NULL,
         "print cups.service: Services=cups.service"},
        {"… of a unit that is held", "Services=cups", 0, "/run/cups/cups.sock", "system.slice/cups.service",
         NULL, NULL},
        {"… that ports do not close", "LoopbackDeny=1-65535", 0, "/run/snapd.socket",
         "system.slice/snapd.service", NULL, "packages snapd.service: Services=snapd.service"},
        {"an engine's", "", 0, "/var/run/docker.sock", "system.slice/docker.service", NULL,
         "engine docker.service: none"},
        {"a bus service", "", 0, "org.freedesktop.PackageKit", "system.slice/packagekit.service", NULL,
         "packages packagekit.service: Services=packagekit.service"},
        {"… that is held", "Services=packagekit.service", 0, "org.freedesktop.PackageKit",
         "system.slice/packagekit.service", NULL, NULL},
};

static void set(struct profile *p, const char *word)
{
        if (strncmp(word, "LoopbackDeny=", 13) == 0) {
                words_clear(&p->loopback_deny);
                assert_int_equal(words_add(&p->loopback_deny, word + 13, NULL, 0), 0);
        } else if (strncmp(word, "Services=", 9) == 0) {
                assert_int_equal(words_split(&p->services, word + 9, NULL, 0), 0);
        } else if (strncmp(word, "DNS=", 4) == 0) {
                p->dns = strdup(word + 4);
        } else if (strcmp(word, "Sessions=yes") == 0) {
                p->sessions = true;
        } else if (strcmp(word, "Everyone=yes") == 0) {
                p->everyone = true;
        } else {
                assert_string_equal(word, "");
        }
}

static struct profile *plan_from(const char *word)
{
        _cleanup_problems_ struct problems problems = {0};
        struct profile *p = profile_new("test");

        set(p, word);
        if (!p->everyone)
                assert_int_equal(words_add(&p->groups, "staff", NULL, 0), 0);
        assert_int_equal(profile_finish(p, &problems), 0);
        return p;
}

static void people(const struct profile *p, struct subjects *ret)
{
        *ret = (struct subjects){.everyone = p->everyone, .sessions = p->sessions};
        assert_int_equal(idset_append(&ret->uids, ALICE, ALICE), 0);
        assert_int_equal(idset_append(&ret->uid_ranges, 100000, 165535), 0);
        assert_int_equal(idset_append(&ret->gids, 3000, 3000), 0);
        idset_normalize(&ret->uids);
        idset_normalize(&ret->uid_ranges);
        idset_normalize(&ret->gids);
}

static void place(struct listener *l, const char *text)
{
        char address[64], protocol[8];
        unsigned port;

        if (sscanf(text, "%63s %u/%7s", address, &port, protocol) != 3) {
                l->type = text[0] == '/' ? LISTENER_UNIX : LISTENER_BUS;
                l->name = strdup(text);
                l->anybody = true;
                return;
        }
        l->type = LISTENER_INET;
        l->family = strchr(address, ':') ? AF_INET6 : AF_INET;
        assert_int_equal(inet_pton(l->family, address, l->addr), 1);
        l->port = (uint16_t)port;
        l->protocol = strcmp(protocol, "tcp") == 0 ? IPPROTO_TCP : IPPROTO_UDP;
}

static void listener_from(struct listeners *l, const struct row *row)
{
        struct listener *new = listeners_add(l);

        assert_non_null(new);
        place(new, row->address);
        new->uid = row->uid;
        new->cgroup = row->cgroup && !*row->cgroup ? 1 : 0;
        new->cgroup_path = row->cgroup ? strdup(row->cgroup) : NULL;
        new->program = row->program ? strdup(row->program) : NULL;
}

static struct doors_plan plan_for(const struct profile *p, const struct subjects *s)
{
        return (struct doors_plan){.subjects = s,
                                   .destinations = &p->destinations,
                                   .services = &p->services,
                                   .ephemeral_first = EPHEMERAL,
                                   .ephemeral_last = 60999};
}

static void test_table(void **state)
{
        (void)state;
        for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
                _cleanup_(profile_freep) struct profile *p = plan_from(rows[i].plan);
                _cleanup_listeners_ struct listeners l = {0};
                _cleanup_doors_ struct doors doors = {0};
                _cleanup_subjects_ struct subjects s = {0};
                struct doors_plan plan = plan_for(p, &s);
                char text[256];

                print_message("%s\n", rows[i].what);
                people(p, &s);
                listener_from(&l, &rows[i]);
                assert_int_equal(doors_judge(&plan, &l, &doors), 0);
                assert_int_equal(doors.n, rows[i].expected ? 1 : 0);
                if (doors.n == 0)
                        continue;
                snprintf(text, sizeof(text), "%s %s: %s", door_kind_to_string(doors.items[0].kind),
                         doors.items[0].unit ? doors.items[0].unit : "-",
                         doors.items[0].closes ? doors.items[0].closes : "none");
                assert_string_equal(text, rows[i].expected);
                assert_true(doors.items[0].closes || doors.items[0].advice);
        }
}

/* Whatever line is named: with it, there is no door any more. */
static void test_every_line_closes(void **state)
{
        (void)state;
        for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
                const char *line = rows[i].expected ? strstr(rows[i].expected, ": ") + 2 : "none";
                _cleanup_listeners_ struct listeners l = {0};
                _cleanup_doors_ struct doors doors = {0};
                _cleanup_subjects_ struct subjects s = {0};
                _cleanup_(profile_freep) struct profile *p = NULL;
                _cleanup_problems_ struct problems problems = {0};
                struct doors_plan plan;

                if (strcmp(line, "none") == 0)
                        continue;
                p = plan_from(rows[i].plan);
                if (strncmp(line, "Services=", 9) == 0)
                        set(p, line);
                else
                        assert_int_equal(words_add(&p->loopback_deny, line + 13, NULL, 0), 0);
                assert_int_equal(profile_finish(p, &problems), 0);
                plan = plan_for(p, &s);
                people(p, &s);
                listener_from(&l, &rows[i]);
                assert_int_equal(doors_judge(&plan, &l, &doors), 0);
                if (doors.n != 0)
                        fail_msg("%s: %s does not close it", rows[i].what, line);
        }
}

/* A line that is added must not take away what holds without it. */
static void test_built_in_ports_are_repeated(void **state)
{
        static const struct row proxy = {NULL, "",  13, "::1 3129/tcp", "system.slice/squid.service",
                                         NULL, NULL};
        _cleanup_(profile_freep) struct profile *p = plan_from("");
        _cleanup_listeners_ struct listeners l = {0};
        _cleanup_doors_ struct doors doors = {0};
        _cleanup_subjects_ struct subjects s = {0};
        struct doors_plan plan = plan_for(p, &s);

        (void)state;
        assert_true(profile_loopback_deny_default(p));
        plan.repeat = &p->loopback_deny;
        people(p, &s);
        listener_from(&l, &proxy);
        assert_int_equal(doors_judge(&plan, &l, &doors), 0);
        assert_int_equal(doors.n, 1);
        assert_string_equal(doors.items[0].closes, "LoopbackDeny=3128 8118 9050 3129");
        set(p, "LoopbackDeny=3128");
        assert_false(profile_loopback_deny_default(p));
}

/* Services= holds for everybody who asks the resolver, and DNS=deny leaves it nobody to ask. */
static void test_advice_about_resolvers(void **state)
{
        static const struct row resolved = {
                NULL, "",  101, "org.freedesktop.resolve1", "system.slice/systemd-resolved.service",
                NULL, NULL};

        (void)state;
        for (int allowed = 0; allowed < 2; allowed++) {
                _cleanup_(profile_freep) struct profile *p = plan_from(allowed ? "DNS=allow" : "");
                _cleanup_listeners_ struct listeners l = {0};
                _cleanup_doors_ struct doors doors = {0};
                _cleanup_subjects_ struct subjects s = {0};
                struct doors_plan plan = plan_for(p, &s);

                people(p, &s);
                listener_from(&l, &resolved);
                assert_int_equal(doors_judge(&plan, &l, &doors), 0);
                assert_int_equal(doors.n, 1);
                assert_int_equal(doors.items[0].advice != NULL, !allowed);
        }
}

static void test_worst_first(void **state)
{
        static const struct row mixed[] = {
                {NULL, NULL, 33, "0.0.0.0 8080/tcp", "system.slice/app.service", NULL, NULL},
                {NULL, NULL, 0, "/run/snapd.socket", "system.slice/snapd.service", NULL, NULL},
                {NULL, NULL, 13, "::1 3129/tcp", "system.slice/squid.service", NULL, NULL},
                {NULL, NULL, 0, "127.0.0.1 25/tcp", "system.slice/exim4.service", NULL, NULL},
                {NULL, NULL, 0, "org.freedesktop.resolve1", "system.slice/systemd-resolved.service", NULL,
                 NULL},
                {NULL, NULL, 13, "127.0.0.1 3129/tcp", "system.slice/squid.service", NULL, NULL},
                {NULL, NULL, MALLORY, "127.0.0.1 1080/tcp", NULL, NULL, NULL},
        };
        static const size_t order[] = {5, 2, 6, 4, 3, 1, 0};
        _cleanup_(profile_freep) struct profile *p = plan_from("");
        _cleanup_listeners_ struct listeners l = {0};
        _cleanup_doors_ struct doors doors = {0};
        _cleanup_subjects_ struct subjects s = {0};
        struct doors_plan plan = plan_for(p, &s);

        (void)state;
        people(p, &s);
        for (size_t i = 0; i < ELEMENTSOF(mixed); i++)
                listener_from(&l, &mixed[i]);
        assert_int_equal(doors_judge(&plan, &l, &doors), 0);
        assert_int_equal(doors.n, ELEMENTSOF(order));
        for (size_t i = 0; i < doors.n; i++)
                assert_ptr_equal(doors.items[i].listener, &l.items[order[i]]);
}

/* A socket for a group is a door to those in it. */
static void test_group_sockets(void **state)
{
        static const struct {
                uint32_t gid, member;
                bool others, door;
        } table[] = {
                {3000, 0, false, true},       /* the subjects' own group */
                {999, ALICE, false, true},    /* one of them is in it */
                {999, MALLORY, false, false}, /* somebody else is */
                {999, MALLORY, true, true},   /* and somebody whom the local files do not know */
                {999, 0, false, false},
        };
        _cleanup_(profile_freep) struct profile *p = plan_from("");
        _cleanup_subjects_ struct subjects s = {0};
        struct doors_plan plan = plan_for(p, &s);

        (void)state;
        people(p, &s);
        for (size_t i = 0; i < ELEMENTSOF(table); i++) {
                struct listener l = {.type = LISTENER_UNIX,
                                     .by_group = true,
                                     .gid = table[i].gid,
                                     .group_has_others = table[i].others};

                assert_int_equal(idset_append(&l.group_uids, table[i].member, table[i].member), 0);
                idset_normalize(&l.group_uids);
                assert_int_equal(doors_suspect(&plan, &l), table[i].door);
                idset_clear(&l.group_uids);
        }
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_table),
                cmocka_unit_test(test_every_line_closes),
                cmocka_unit_test(test_built_in_ports_are_repeated),
                cmocka_unit_test(test_advice_about_resolvers),
                cmocka_unit_test(test_worst_first),
                cmocka_unit_test(test_group_sockets),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
