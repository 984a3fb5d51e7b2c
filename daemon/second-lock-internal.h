/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LOCKDOWN_SECOND_LOCK_INTERNAL_H
#define LOCKDOWN_SECOND_LOCK_INTERNAL_H

/* Between second-lock.c (orders and pins), second-lock-open.c (what they need), second-lock-held.c (their
 * links, plans of those to come), second-lock-plan.c (what the programs are told), second-lock-room.c (where
 * there is room for that), second-lock-sender.c (can who sends be judged?) and second-lock-kernel.c (programs
 * and maps). */

#include "../bpf/second-lock-maps.h"
#include "second-lock.h"

#include <limits.h>

struct plan {
        union sl_page *pages;
        size_t n_pages;
};
/* Pure. ROOT: id of the control group from which levels count. -E2BIG: too large; -ERANGE: a control group
 * that lies too deep. */
int plan_build(const struct second_lock_spec *spec, const struct sl_offsets *offsets, uint64_t root,
               struct plan *ret);
void plan_clear(struct plan *p);

/* The programs of one order, and their maps, as file descriptors. */
struct lock_programs {
        int judges[SL_JUDGES];
        int plans, refused;
        int room; /* a map that is in the slot of PLANS already, and has room for a plan; -1: none */
};
#define NO_PROGRAMS ((struct lock_programs){{-1, -1, -1, -1}, -1, -1, -1})
/* Those that judge packets. TYPED: bpf/second-lock-typed.bpf.c. */
int lock_programs_load(bool typed, struct lock_programs *ret);
/* Adds those that judge who sends, on the same maps. */
int lock_programs_load_sender(struct lock_programs *p);
void lock_programs_close(struct lock_programs *p);

/* Reads the layout of this kernel's structs, and whether it may take programs that are typed. -EOPNOTSUPP: it
 * does not tell. */
int kernel_offsets(struct sl_offsets *ret, bool *ret_typed);

/* A new map with room for a plan. */
int plan_map_new(size_t n_pages, int *ret_fd);
/* Writes the plan into it. It takes no more changes then. */
int plan_map_fill(int fd, const struct plan *plan);
/* Both. */
int plan_map_create(const struct plan *plan, int *ret_fd);
/* Does the map hold exactly this, with room to spare or not? 1 or 0, -errno. */
int plan_map_equals(int fd, const struct plan *plan);
/* The id of the map in the only slot of PLANS. */
int plans_current(int plans, uint32_t *ret_id);
int plans_exchange(int plans, int plan);
/* The same for programs that are not attached yet, without waiting for those that use the old plan. */
int plans_fill(int plans, int plan);

/* second-lock-room.c */
/* Puts a map with room for a plan into the programs' slot, for which the kernel takes its time: the next
 * order has only to write into it. An order that finds no room does not fail, it waits. */
void lock_programs_make_room(struct lock_programs *p);
/* Would it find room there? */
bool plan_has_room(const struct plan *plan);
/* For programs that are not attached yet. The room is used up, whatever comes of it. */
int lock_programs_put_plan(struct lock_programs *p, const struct plan *plan, int *ret_map);
int map_id(int fd, uint32_t *ret);
struct program_identity {
        uint32_t id;
        uint8_t tag[8];      /* a hash of its instructions */
        uint32_t map_ids[2]; /* sorted */
};
int program_identity(int fd, struct program_identity *ret);

int lock_cgroup_id(int fd, uint64_t *ret);
int judge_attach(const struct lock_programs *p, enum sl_judge judge, int cgroup, int *ret_link);
/* Where a link holds which program. CGROUP 0: its control group is gone. */
struct link_identity {
        uint32_t program;
        uint32_t attach_type;
        uint64_t cgroup;
};
int link_identity(int fd, struct link_identity *ret);
uint32_t judge_attach_type(enum sl_judge judge);
int link_release(int fd);

/* Did the kernel say plainly that it cannot, with this error? As long as it never could, that is its word. */
bool sender_is_refused(int error);
/* The sender's lock. On failure WHY becomes a sentence's end (the caller frees), or NULL without memory. */
int sender_load(struct lock_programs *p, char **ret_why);
/* Does the kernel ask them, once they are attached? */
int sender_try(const struct lock_programs *p, int cgroup, char **ret_why);
/* They could not be attached, with this error. */
char *sender_why_not(int error);

/* On without the programs that judge who sends, because of ERROR, until they can be tried again. WHY is taken
 * over. */
void give_up_sender(struct second_lock *s, int error, char *why);

/* The directory of pins. A lock's pins, by their names in it. */
extern const char *const judge_pins[SL_JUDGES];
extern const char *const link_pins[SL_JUDGES];
/* Of a pin of the lock NAME, or with PIN NULL of its directory; PREFIX "" or "+". -EINVAL: no name;
 * -ENAMETOOLONG. */
int pin_path(const char *pins, const char *prefix, const char *name, const char *pin,
             char path[static PATH_MAX]);
int pin_get(const char *pins, const char *name, const char *pin, int *ret_fd);
bool pins_has(const char *pins, const char *name);
int pins_list(const char *pins, struct words *ret);
/* Takes off what the directory at PATH holds, then removes it: closing a link's last descriptor would do, but
 * some time later. No error if there is none. */
int pins_remove(const char *path);
/* What a daemon that died did not get into place. */
void pins_remove_stale(const char *pins);

/* second-lock-held.c */
struct held_lock {
        char *name;
        int links[SL_JUDGES]; /* -1: none */
        int plan;             /* of one that is to come; -1: none */
};
struct held_locks {
        struct held_lock *items;
        size_t n;
};
#define NO_LINKS               \
        {                      \
                -1, -1, -1, -1 \
        }
void links_close(int links[SL_JUDGES], bool take_off);
/* Keeps the links that are pinned under NAME open. 0 or -ENOMEM: the pins alone hold it. */
int held_take(struct held_locks *h, const char *pins, const char *name);
/* Keeps these, which it takes over; those kept so far are of a lock that was replaced, and are taken off. 0
 * or -ENOMEM, likewise. */
int held_put(struct held_locks *h, const char *name, int links[SL_JUDGES]);
/* Takes off what is kept of NAME, should its pins have gone. */
void held_release(struct held_locks *h, const char *name);
/* Keeps this plan, which it takes over, in place of the one so far. 0 or -ENOMEM. */
int held_stage(struct held_locks *h, const char *name, int plan);
/* That plan, the caller's now, or -1. */
int held_unstage(struct held_locks *h, const char *name);
void held_clear(struct held_locks *h); /* what is pinned holds */

/* With those for the next order; each takes the kernel some 300 KiB, most of it for a plan. */
#define READY_MAX 8

struct second_lock {
        int cgroup;
        uint64_t cgroup_id;
        char *pins; /* the directory */
        struct sl_offsets offsets;
        bool typed;                                /* the programs that Linux 6.2 and later take */
        struct lock_programs ready;                /* for the next order */
        struct lock_programs spare[READY_MAX - 1]; /* for those behind it */
        size_t n_spare;
        uint8_t tags[SL_JUDGES][8];
        enum sl_judge n_judges; /* all, or those of packets only: */
        char *no_sender;        /* … because */
        bool sender_worked;     /* once */
        unsigned sender_tries;  /* that failed before it did */
        struct held_locks held;
};

/* Loads the programs for one order more at once, unless they are ready for WANTED. As
 * second_lock_load_end(). */
int second_lock_prepare(struct second_lock *s, size_t wanted, char **ret_error);
/* READY is somebody's by now, or of no use. */
void second_lock_used(struct second_lock *s);

/* Where the pins are. systemd binds it to where the user that we run as finds it: the file system itself is
 * root's alone. */
const char *lock_pins_directory(void);

/* Returns ERROR, with a sentence if somebody wants one. */
int lock_say(char **ret_sentence, int error, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* Has the kernel asked SL_CONNECT, which has no plan yet? 1 or 0, -errno. */
int sender_was_asked(const struct lock_programs *p);
/* Sums up over all processors. */
int refused_read(int fd, struct second_lock_refused *ret);

#endif
