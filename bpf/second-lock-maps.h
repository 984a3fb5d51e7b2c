/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LOCKDOWN_SECOND_LOCK_MAPS_H
#define LOCKDOWN_SECOND_LOCK_MAPS_H

/* What the second lock's programs and the daemon agree on: the plan.
 *
 * Everything an order says about whom and where is one array of 64-bit words in one map, the plan: sorted
 * ranges, searched by halving. The programs find it through the only slot of the map "plans"; exchanging that
 * slot exchanges subjects and destinations together, between two packets. A plan is written once and frozen.
 *
 * All numbers are in host order, addresses as well, so that they can be compared. */

#include <linux/types.h>

#define SL_VERSION 4

/* The words lie in pages, the map's elements; the first page is the header. */
#define SL_PAGE_WORDS 512
#define SL_PAGE_SIZE (SL_PAGE_WORDS * 8)
/* Bounds the daemon keeps to. 64 MiB of plan: 2,000,000 ranges of uids and as many networks. */
#define SL_PAGES_MAX 16384
/* Control groups are asked for by their depth below the root, one look-up for each depth in use. */
#define SL_LEVELS 32
/* The id of the root of all control groups (cgroup1's have their own numbers). */
#define SL_ROOT_CGROUP 1

enum sl_section_id {
        SL_UIDS,       /* words: first << 32 | last; without the excepted */
        SL_UID_RANGES, /* likewise; apart, because these lie as far from each other as those are close */
        SL_EXCEPT_UIDS,
        SL_GIDS,
        SL_GID_RANGES,
        SL_EXCEPT_GIDS,
        SL_CGROUPS, /* words: cgroup ids; whoever is in them and not excepted */
        SL_ID_SECTIONS = SL_CGROUPS,
        SL_UNITS,    /* likewise; whoever is in them */
        SL_ALLOW4,   /* struct sl_range */
        SL_ALLOW6,   /* likewise */
        SL_SERVICE4, /* struct sl_service */
        SL_SERVICE6,
        SL_LOOPBACK_PORTS, /* words: first << 32 | last */
        SL_DNS_PORTS,      /* likewise; none with DNS=allow */
        SL_SECTIONS,
};

struct sl_section {
        __u32 at; /* index of its first word, counted behind the header; a whole number of its items */
        __u32 n;  /* items */
};

/* Where to look for an id in a section of ranges: the way from its first id to its last in equal steps, a
 * word for each: which items begin in that step, first | behind the last << 32. So a few items are left to be
 * searched, whatever their number. */
struct sl_index {
        __u32 first, last; /* ids; 1 and 0: there are none */
        __u32 at;          /* of the first step's word, as in struct sl_section */
        __u32 shift;       /* a step is so many bits wide */
};

/* An IPv4 address is in the lower half of LOW. */
struct sl_address {
        __u64 high, low;
};

struct sl_range {
        struct sl_address first, last;
};

#define SL_NONE 0xffffffffU

/* Sorted as daemon/destinations.c sorts them: containing networks before those they contain. */
struct sl_service {
        struct sl_range addr;
        __u32 protocol;
        __u16 port_first, port_last;
        __u32 parent; /* the item to ask next, the nearest before this one with the same or more addresses; or
                         SL_NONE */
        __u32 unused[5];
};

/* Where the kernel keeps what no helper says, in bytes from the beginning of each struct; from its BTF. */
struct sl_offsets {
        __u32 sock_uid;         /* struct sock: sk_uid */
        __u32 sock_socket;      /* struct sock: sk_socket */
        __u32 socket_inode_uid; /* struct socket: i_uid of the inode it is allocated with */
        __u32 socket_file;      /* struct socket: file */
        __u32 file_cred;        /* struct file: f_cred */
        __u32 cred_fsgid;       /* struct cred: fsgid */
};

struct sl_levels {
        __u32 n;
        __u8 levels[SL_LEVELS]; /* ascending */
};

enum sl_flags {
        SL_EVERYONE = 1,
        SL_DNS4 = 2, /* DNS= redirects to dns4 */
        SL_DNS6 = 4,
};

struct sl_header {
        __u32 version;
        __u32 flags;
        __u32 n_words; /* behind the header */
        struct sl_levels cgroup_levels,
                unit_levels; /* how far below ROOT those of SL_CGROUPS, SL_UNITS are */
        __u64 root;          /* id of the control group from which levels count: where cgroup2 is mounted */
        struct sl_section sections[SL_SECTIONS];
        struct sl_index indices[SL_ID_SECTIONS];
        struct sl_address dns4, dns6;
        __u32 relay_port; /* on the loopback, where questions go that are to be sent to them; 0: none */
        __u32 unused;
        struct sl_offsets offsets;
};

union sl_page {
        struct sl_header header;
        __u64 words[SL_PAGE_WORDS];
};

/* The programs. Those of bpf/second-lock.bpf.c come first; those of bpf/sender-lock.bpf.c are not on every
 * kernel. */
enum sl_judge {
        SL_EGRESS,
        SL_INGRESS,
        SL_SEND,
        SL_CONNECT,
        SL_JUDGES,
        SL_PACKET_JUDGES = SL_SEND,
};

/* The map "refused", for each processor: what each program refused, and one more item. */
enum {
        SL_UNPLANNED = SL_JUDGES, /* how often SL_CONNECT was asked while there was no plan: does the kernel
                                     ask at all? */
        SL_COUNTERS,
};

struct sl_refused {
        __u64 packets, bytes;
};

#endif
