/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LOCKDOWN_SECOND_LOCK_H
#define LOCKDOWN_SECOND_LOCK_H

/* The one edge to BPF: programs at a control group that refuse what a subject's socket sends to the outside
 * and what comes to it from there, in every network namespace, orphans and listeners included. A set of
 * programs for each order, held by links pinned in bpffs: they outlive the daemon, and overlapping orders
 * hold each by itself.
 *
 * Where the kernel runs BPF LSM, two more of the set judge who sends: a subject sends nothing through an
 * internet socket that was made by somebody who is neither root nor a subject, but over a TCP connection to
 * an allowed destination, nor by anything but IP, Unix, netlink and cipher sockets. That fails at once
 * (EPERM).
 *
 * Needs CAP_BPF, CAP_PERFMON and CAP_NET_ADMIN, write access to the directory of pins, and a kernel that
 * describes itself in /sys/kernel/btf/vmlinux. Plans, in force or staged, are charged to the caller's memory
 * cgroup (10 bytes a range of uids; 256 KiB at least, in force).
 *
 * It does not see: packet sockets and a socket that somebody else made and passed on, without BPF LSM (nor
 * do the rules); SYN-ACKs under SYN cookies on their way out (it refuses the SYN instead); what IPsec or a
 * tunnel wraps once more. What it refuses it drops: to fail at once is the first lock's part. On failure
 * functions return -errno and, where RET_ERROR is given, a sentence (the caller frees). */

#include "cleanup.h"
#include "destinations.h"
#include "subjects.h"
#include "words.h"

#define SECOND_LOCK_PINS "/sys/fs/bpf/lockdownd"

struct second_lock;

struct second_lock_cgroup {
        uint64_t id;
        unsigned level; /* depth below where cgroup2 is mounted; at most 31 */
};

struct second_lock_spec {
        const char *name; /* of the profile */
        const struct subjects *subjects;
        const struct destinations *destinations;
        uint16_t relay_port;                      /* as in struct ruleset_spec */
        const struct second_lock_cgroup *cgroups; /* sessions: subjects unless their uid is excepted */
        size_t n_cgroups;
        const struct second_lock_cgroup *units; /* Services=: subjects whatever their uid, root included */
        size_t n_units;
};

/* CGROUP: the control group whose sockets are judged, NULL: the root of cgroup2, as mounted. PINS: a
 * directory in a bpffs, NULL: $PINS_DIRECTORY, or SECOND_LOCK_PINS; made if it is not there. Loads the
 * programs to find out whether they can be, and keeps them ready for the next order. -EOPNOTSUPP: no second
 * lock on this machine or in this build; -EPERM: capabilities. */
int second_lock_open(const char *cgroup, const char *pins, struct second_lock **ret, char **ret_error);
struct second_lock *second_lock_close(struct second_lock *s); /* returns NULL; what is engaged holds */
/* Programs for one order more: 50 ms of the kernel's time that engaging (1-2 ms; an update takes up to 16, an
 * RCU grace period) need not wait for. The part in the middle is what takes them, and knows nothing of the
 * lock, so it can be another thread's. */
struct second_lock_loading;
/* NULL: they are ready for WANTED orders, or for as many as are kept; or no memory. */
struct second_lock_loading *second_lock_load_begin(const struct second_lock *s, size_t wanted);
void second_lock_load(struct second_lock_loading *l);
/* L is gone then. 1: there are still fewer; 0; or -errno. */
int second_lock_load_end(struct second_lock *s, struct second_lock_loading *l, size_t wanted,
                         char **ret_error);
/* Are there any for the next order? It loads them itself if not. */
bool second_lock_is_ready(const struct second_lock *s);

/* Why processes of subjects can send through sockets that somebody else made, or what is no IP; NULL: they
 * cannot. It never fails the rest. Belongs to S. */
const char *second_lock_no_sender(const struct second_lock *s);
/* Is that so for the moment, and worth another try? Otherwise it is so as long as S is open. */
bool second_lock_sender_lost(const struct second_lock *s);
/* That try: some 40 ms. 0: orders have it from now on, and those that are on when they are engaged anew; or
 * -errno. */
int second_lock_try_sender(struct second_lock *s);

/* Makes the plan of an order to come, where making it takes long (above 25,000 people or so): the next
 * second_lock_engage() of that name takes it as it is. So it must be made anew, or dropped, whenever SPEC has
 * changed. 0 or -errno, and nothing is staged. */
int second_lock_stage(struct second_lock *s, const struct second_lock_spec *spec);
void second_lock_unstage(struct second_lock *s, const char *name);
/* Puts the order's lock on. One that is on already under this name is replaced without a gap. */
int second_lock_engage(struct second_lock *s, const struct second_lock_spec *spec, char **ret_error);
/* Exchanges subjects and destinations together, between two packets. -ENOENT: none of that name. -EBADMSG:
 * not one of ours, or damaged (engage then). */
int second_lock_update(struct second_lock *s, const struct second_lock_spec *spec, char **ret_error);
/* Takes it off and removes the pins; it holds nothing back when this returns. No error if there is none. S
 * may be NULL, if it could not be opened: for what an earlier daemon left there. */
int second_lock_disengage(struct second_lock *s, const char *name, char **ret_error);

/* Names of the locks that are on. RET is replaced; the caller clears it. */
int second_lock_list(struct second_lock *s, struct words *ret);
/* Takes over what a dead daemon left under NAME, a change it was in the middle of included. -ENOENT: none;
 * -EBADMSG: it does not hold as it should, and RET_ERROR says why: engage it anew. */
int second_lock_adopt(struct second_lock *s, const char *name, char **ret_error);
/* Is it on as SPEC has it: links at the control group, these programs, this plan? 0: yes; 1: no, and
 * RET_DIFFERENCE says where (a sentence; the caller frees); -errno. */
int second_lock_verify(struct second_lock *s, const struct second_lock_spec *spec, char **ret_difference);

/* What it refused since it was engaged or last replaced. The first lock's refusals never come this far. */
struct second_lock_refused {
        uint64_t sent_packets, sent_bytes;
        uint64_t received_packets, received_bytes;
};
int second_lock_read_refused(struct second_lock *s, const char *name, struct second_lock_refused *ret);

DEFINE_CLEANUP(struct second_lock *, second_lock_close)

#endif
