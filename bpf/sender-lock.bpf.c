// SPDX-License-Identifier: GPL-2.0-or-later
/* The sender's lock, a part of the second one where the kernel runs BPF LSM: judges who sends, not whose the
 * socket is.
 *
 * Whose socket it is decides elsewhere: the packets of root's and of subjects' sockets are not looked at
 * here. What is left is a socket that somebody who may send made and a subject got hold of. Nothing goes out
 * through it but over a TCP connection to where the subject may send (a mail server's log-in hands its
 * connections to processes of its users): anything else can be prepared so that it goes to another place
 * than it says, by options, by a datagram begun before, by a second path.
 *
 * And what is not IP has no packets that the other programs see. */
#include "second-lock-search.h"

#include <linux/in.h>
#include <linux/in6.h>

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_endian.h>

enum {
        FAMILY_UNIX = 1,
        FAMILY_INET = 2,
        FAMILY_INET6 = 10,
        FAMILY_NETLINK = 16,
        FAMILY_ALG = 38, /* the kernel's ciphers */
};

enum {
        STATE_ESTABLISHED = 1,
        STATE_CLOSE_WAIT = 8,
};

#define PROTOCOL_SMC 256 /* an IP socket only by its name: the kernel makes others behind it */

/* As much of the kernel's structs as is read; libbpf puts in where it is. */
#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)
struct kernel_id {
        __u32 val;
};

struct sock_common {
        __be32 skc_daddr;
        __be16 skc_dport;
        unsigned short skc_family;
        volatile unsigned char skc_state;
        struct in6_addr skc_v6_daddr;
};

struct sock {
        struct sock_common __sk_common;
        __u16 sk_protocol;
        struct kernel_id sk_uid;
};

struct ipv6_pinfo {
        void *opt;
};

struct inet_sock {
        struct ipv6_pinfo *pinet6;
        void *inet_opt;
};

struct socket {
        struct sock *sk;
};

struct cred {
        struct kernel_id fsuid, fsgid;
};

struct task_struct {
        const struct cred *cred;
};
#pragma clang attribute pop

/* The sender's; there is no packet. */
static __always_inline __u64 ancestor_id(struct __sk_buff *skb, __u32 level)
{
        return bpf_get_current_ancestor_cgroup_id(level);
}

/* As whom it would make sockets; for io_uring that is whoever made the request. */
static __always_inline bool is_sent_by_subject(const struct plan *plan)
{
        struct task_struct *task = bpf_get_current_task_btf();
        const struct cred *cred = BPF_CORE_READ(task, cred);
        struct owner o = {.has_uid = true, .has_gid = true};

        o.uid = BPF_CORE_READ(cred, fsuid.val);
        o.gid = BPF_CORE_READ(cred, fsgid.val);
        return is_in_units(NULL, plan) || is_subject_by(NULL, plan, &o);
}

/* Then the programs that see packets judge it. Its group is not asked for: where that may decide, it does not
 * count as a subject's. */
static __always_inline bool is_socket_of_subject(const struct plan *plan, __u32 uid)
{
        const struct sl_header *h = plan->header;

        if (h->flags & SL_EVERYONE)
                return h->sections[SL_EXCEPT_GIDS].n == 0 && !in_ids(plan, SL_EXCEPT_UIDS, uid);
        return is_named_uid(plan, uid);
}

/* Options may name another way, or another end of it. */
static __always_inline bool has_options(struct sock *sk)
{
        struct inet_sock *inet = (struct inet_sock *)sk;
        struct ipv6_pinfo *inet6 = NULL;

        if (bpf_core_field_exists(inet->pinet6))
                inet6 = BPF_CORE_READ(inet, pinet6);
        return BPF_CORE_READ(inet, inet_opt) || (inet6 && BPF_CORE_READ(inet6, opt));
}

static __always_inline void read_peer(struct sock *sk, struct packet *p)
{
        __be64 halves[2];

        p->port = bpf_ntohs(sk->__sk_common.skc_dport);
        if (sk->__sk_common.skc_family == FAMILY_INET) {
                p->address.low = bpf_ntohl(sk->__sk_common.skc_daddr);
                return;
        }
        BPF_CORE_READ_INTO(&halves, sk, __sk_common.skc_v6_daddr);
        p->address.high = bpf_be64_to_cpu(halves[0]);
        p->address.low = bpf_be64_to_cpu(halves[1]);
        p->v6 = p->address.high != 0 || p->address.low >> 32 != 0xffff;
        if (!p->v6)
                p->address.low &= 0xffffffff;
}

static __always_inline bool is_connected_to_allowed(const struct plan *plan, struct sock *sk)
{
        struct packet p = {}; /* filled below: a constant one would be a third map */
        __u8 state = sk->__sk_common.skc_state;
        bool loopback;

        if (sk->sk_protocol != IPPROTO_TCP || (state != STATE_ESTABLISHED && state != STATE_CLOSE_WAIT) ||
            has_options(sk))
                return false;
        p.protocol = IPPROTO_TCP;
        p.ports = true;
        read_peer(sk, &p);
        loopback = p.v6 ? p.address.high == 0 && p.address.low == 1 : p.address.low >> 24 == 127;
        return judge_destination(plan, &p, loopback) == PASS;
}

/* The cheap questions first: this is asked for every send on the machine. */
static __always_inline int judge(struct socket *socket, enum sl_judge judge, __u32 bytes)
{
        struct sock *sk = socket->sk;
        struct plan plan;
        __u16 family;
        __u32 uid;
        bool ip;

        if (!sk)
                return PASS;
        family = sk->__sk_common.skc_family;
        uid = sk->sk_uid.val;
        if (family == FAMILY_UNIX || family == FAMILY_NETLINK || family == FAMILY_ALG || uid == 0)
                return PASS;
        ip = (family == FAMILY_INET || family == FAMILY_INET6) && sk->sk_protocol != PROTOCOL_SMC;
        if (ip && uid == (__u32)bpf_get_current_uid_gid())
                return PASS;
        if (!get_plan(&plan) || (ip && is_socket_of_subject(&plan, uid)) || !is_sent_by_subject(&plan))
                return PASS;
        if (ip && judge == SL_SEND && is_connected_to_allowed(&plan, sk))
                return PASS;
        count(judge, 1, bytes);
        return REFUSE;
}

SEC("lsm_cgroup/socket_sendmsg")
int judge_sending(__u64 *arguments)
{
        return judge((struct socket *)arguments[0], SL_SEND, (__u32)arguments[2]);
}

SEC("lsm_cgroup/socket_connect")
int judge_connecting(__u64 *arguments)
{
        struct plan plan;

        if (!get_plan(&plan))
                count(SL_UNPLANNED, 1, 0);
        return judge((struct socket *)arguments[0], SL_CONNECT, 0);
}

char LICENSE[] SEC("license") = "GPL";
