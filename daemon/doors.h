/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LOCKDOWN_DOORS_H
#define LOCKDOWN_DOORS_H

/* The edge that looks whose the listening sockets of this machine are, and which known services wait on Unix
 * sockets and on the system bus: through the trees of control groups and processes, and the file system.
 * Nothing is asked over a connection, and no directory: it cannot hang. */

#include "doors-judge.h"

/* ROOT below: "" for the machine's own files, or a directory that holds a test's. CGROUP_ROOT: where cgroup2
 * is mounted. */

/* Adds the Unix socket PATH, bound by UID, to L if it is that of a known service; with who may connect. Group
 * members are read from the local files only. Returns 0 or -ENOMEM. */
int doors_add_unix(struct listeners *l, const char *root, const char *path, uint32_t uid);
/* Is PATH the socket of the system bus? */
bool doors_is_system_bus(const char *path);
/* Adds the known bus services that run, or that the bus would have started when somebody asks for them.
 * CGROUP_ROOT may be NULL. Returns 0 or -ENOMEM. */
int doors_add_bus_services(struct listeners *l, const char *root, const char *cgroup_root);
/* Finds out cgroup_path and program for all that have a control group. The walk through the tree ends when
 * all are found, and is bounded. Returns 0; -E2BIG: the bound was reached, some have no name; another
 * -errno. */
int doors_name(struct listeners *l, const char *cgroup_root);
/* The first process of a control group: its uid. False if there is none. */
bool doors_first_uid(const char *cgroup_root, const char *cgroup_path, uint32_t *ret);
/* The ports that programs get without asking for one. */
void doors_ephemeral_ports(uint16_t *ret_first, uint16_t *ret_last);

#endif
