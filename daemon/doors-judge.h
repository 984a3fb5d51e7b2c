/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LOCKDOWN_DOORS_JUDGE_H
#define LOCKDOWN_DOORS_JUDGE_H

/* Doors: processes of others on this machine that a subject can reach, and that may speak to the outside for
 * them. Here what was seen on the machine (doors.h) is judged. Pure. */

#include "destinations.h"
#include "subjects.h"
#include <sys/types.h>

enum listener_type {
        LISTENER_INET, /* a TCP or UDP socket */
        LISTENER_UNIX, /* the socket of a known service */
        LISTENER_BUS,  /* a known service of the system bus: running, or started when somebody asks for it */
};

struct listener {
        enum listener_type type;
        int family; /* INET */
        uint8_t protocol;
        uint8_t addr[16];
        uint16_t port;
        uint64_t cgroup;   /* id, 0: unknown */
        char *name;        /* UNIX: the path; BUS: the name */
        uint32_t uid;      /* who made the socket; UINT32_MAX: unknown */
        char *cgroup_path; /* below the root ("system.slice/cups.service"); NULL: unknown; "": the root itself
                            */
        char *program;     /* NULL: unknown */
        /* UNIX: who may connect */
        bool anybody;
        bool by_group; /* else those of GID and of GROUP_UIDS, */
        uint32_t gid;
        struct idset group_uids;
        bool group_has_others; /* and people whom the local files do not know */
};

struct listeners {
        struct listener *items;
        size_t n;
};

/* Appends a zeroed one; NULL when out of memory. */
struct listener *listeners_add(struct listeners *l);
void listeners_clear(struct listeners *l);

/* Worst first: how far it goes, and how easily. */
enum door_kind {
        DOOR_PROXY, /* sends whatever it is given, wherever it is told */
        DOOR_RESOLVER,
        DOOR_MAIL,
        DOOR_ENGINE,   /* containers, virtual machines */
        DOOR_PACKAGES, /* and updates, locations: fetches on request */
        DOOR_PRINT,
        DOOR_REMOTE, /* a desktop, somebody's else */
        DOOR_DATABASE,
        DOOR_UNKNOWN,
        _DOOR_KIND_MAX,
};
const char *door_kind_to_string(enum door_kind kind); /* "proxy", … */

struct door {
        const struct listener *listener;
        enum door_kind kind;
        char *unit;         /* NULL: no unit of systemd's */
        char *closes;       /* the line of the configuration that closes it; NULL: none does */
        const char *advice; /* what else there is to know about that, or NULL */
};

struct doors {
        struct door *items; /* worst first */
        size_t n;
};

/* What an order is to its doors. */
struct doors_plan {
        const struct subjects *subjects;
        const struct destinations *destinations;
        const struct words *services; /* units held to the same destinations */
        const struct words *repeat;   /* of LoopbackDeny=, what a further line has to say again, or NULL */
        uint16_t ephemeral_first, ephemeral_last; /* ports that programs get without asking for one */
};

/* Could L be a door, as far as can be told before its control group is known? */
bool doors_suspect(const struct doors_plan *plan, const struct listener *l);
/* The doors among L, which must stay while RET is used. Returns 0 or -ENOMEM. */
int doors_judge(const struct doors_plan *plan, const struct listeners *l, struct doors *ret);
void doors_clear(struct doors *d);

/* Are SERVICES what hold the unit whose control group is CGROUP_PATH, by its name or that of a slice it lies
 * in? */
bool doors_unit_covered(const struct words *services, const char *cgroup_path);
/* The unit of systemd's that a control group belongs to, or NULL: newly allocated. A user's own units are
 * none, and neither is a slice. */
char *doors_unit_of(const char *cgroup_path);
/* Is it a program whose business it is to speak for others? */
bool doors_known_program(const char *program);

/* Services that are known by the path of their Unix socket, or by their name on the system bus. */
struct known_service {
        const char *name; /* with shell wildcards in a path */
        const char *unit; /* control group below the root */
        enum door_kind kind;
        bool anybody; /* whatever the mode of the socket: a setgid program of theirs opens it */
};
extern const struct known_service known_sockets[], known_bus_names[]; /* end with a NULL name */
/* PATH as a socket was bound to, /var/run meaning /run. NULL: not known. */
const struct known_service *known_socket(const char *path);

#define _cleanup_doors_ _cleanup_(doors_clear)
#define _cleanup_listeners_ _cleanup_(listeners_clear)

#endif
