// SPDX-License-Identifier: GPL-2.0-or-later
/* The second lock: judges what sockets below a control group send and receive, by the socket's own identity.
 * It gives the answers of the ruleset (daemon/ruleset.c), in the same order.
 *
 * Egress runs behind postrouting, so it sees where a packet really goes; ingress runs before the socket (a
 * listener, too) sees the packet. Both run in every network namespace. What is no subject's passes untouched;
 * a subject's packet that cannot be read to the end of its headers is refused. */
#include "second-lock-search.h"

#include <linux/bpf.h>
#include <linux/icmpv6.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/tcp.h>
#include <stdbool.h>

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_endian.h>

#define LOOPBACK_INDEX 1 /* in every network namespace */
#define SOCKET_STREAM 1  /* SOCK_STREAM */
#define IP_OFFSET 0x1fff
#define HEADERS_MAX 8 /* IPv6 extension headers looked through */

/* Whose socket is it? The helper bpf_get_socket_uid() translates to the user namespace of the socket's
 * network namespace, where somebody who made both is root; and no helper says the group. So both are read
 * where they are.
 *
 * The group is that of the process that made the socket, as `meta skgid` has it; not known without a program
 * that holds the socket, and not asked for where AT has no way to it. The kernel makes further subflows of
 * MPTCP as root, and writes their owner on the inode alone. Root is let go whatever its group.
 *
 * read_owner() is global, like read_packet(): such functions are verified by themselves, once. */
#ifdef TYPED
/* As much of the kernel's structs as is read; libbpf puts in where it is. */
#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)
struct kernel_id {
        __u32 val;
};

struct cred {
        struct kernel_id fsgid;
};

struct file {
        const struct cred *f_cred;
};

struct socket {
        struct file *file;
};

struct inode {
        struct kernel_id i_uid;
};

struct socket_alloc {
        struct socket socket;
        struct inode vfs_inode;
};

struct sock {
        struct socket *sk_socket;
        struct kernel_id sk_uid;
};

struct sk_buff {
        struct sock *sk;
};
#pragma clang attribute pop

extern void *bpf_cast_to_kern_ctx(void *context) __ksym;

__noinline int read_owner(struct __sk_buff *skb, struct owner *owner, const struct sl_offsets *at)
{
        const struct sk_buff *packet = bpf_cast_to_kern_ctx(skb);
        const struct socket *socket;
        const struct sock *sk = packet->sk;
        const struct cred *cred;
        const struct file *file;

        if (!owner || !at || !sk)
                return 0;
        owner->has_uid = true;
        owner->uid = sk->sk_uid.val;
        if (owner->uid != 0 && at->socket_file == 0)
                return 0;
        socket = sk->sk_socket;
        if (!socket)
                return 0;
        if (owner->uid == 0)
                owner->uid = BPF_CORE_READ((const struct socket_alloc *)socket, vfs_inode.i_uid.val);
        if (at->socket_file == 0 || owner->uid == 0)
                return 0;
        file = socket->file;
        cred = file ? file->f_cred : NULL;
        if (!cred)
                return 0;
        owner->has_gid = true;
        owner->gid = cred->fsgid.val;
        return 0;
}
#else
static __always_inline __u64 kernel_pointer(__u64 at, __u32 offset)
{
        __u64 value = 0;

        if (!at || bpf_probe_read_kernel(&value, sizeof(value), (void *)(at + offset)) < 0)
                return 0;
        return value;
}

static __always_inline bool kernel_id(__u64 at, __u32 offset, __u32 *ret)
{
        return at && bpf_probe_read_kernel(ret, sizeof(*ret), (void *)(at + offset)) == 0;
}

__noinline int read_owner(struct __sk_buff *skb, struct owner *owner, const struct sl_offsets *at)
{
        struct bpf_sock *pointer;
        __u64 sk = 0, socket, file;

        if (!owner || !at)
                return 0;
        pointer = skb->sk;
        if (!pointer)
                return 0;
        /* The address as a number: with the pointer itself nothing can be calculated. */
        bpf_probe_read_kernel(&sk, sizeof(sk), &pointer);
        owner->has_uid = kernel_id(sk, at->sock_uid, &owner->uid);
        if (owner->uid != 0 && at->socket_file == 0)
                return 0;

        socket = kernel_pointer(sk, at->sock_socket);
        if (owner->uid == 0)
                kernel_id(socket, at->socket_inode_uid, &owner->uid);
        if (at->socket_file == 0 || owner->uid == 0)
                return 0;
        file = kernel_pointer(socket, at->socket_file);
        owner->has_gid = kernel_id(kernel_pointer(file, at->file_cred), at->cred_fsgid, &owner->gid);
        return 0;
}
#endif

static __always_inline __u64 ancestor_id(struct __sk_buff *skb, __u32 level)
{
        return bpf_skb_ancestor_cgroup_id(skb, level);
}

static __always_inline bool is_subject(struct __sk_buff *skb, const struct plan *plan)
{
        struct sl_offsets at = plan->header->offsets;
        struct owner o = {};

        /* Before root and the excepted are let go: a unit is held whatever it runs as. */
        if (is_in_units(skb, plan))
                return true;
        read_owner(skb, &o, &at);
        return is_subject_by(skb, plan, &o);
}

/* Reading the packet. OFFSET is from the network header. */

static __always_inline bool load(struct __sk_buff *skb, __u32 offset, void *to, __u32 size)
{
        return bpf_skb_load_bytes(skb, offset, to, size) == 0;
}

static __always_inline void read_tcp(struct __sk_buff *skb, __u32 offset, struct packet *p)
{
        struct tcphdr tcp;

        if (!load(skb, offset, &tcp, sizeof(tcp)))
                return;
        /* A reset tells the peer of a severed connection, and carries nothing. */
        p->reset = tcp.rst && offset + tcp.doff * 4U >= skb->len;
        p->opening = tcp.syn && !tcp.ack;
}

static __always_inline void read_transport(struct __sk_buff *skb, __u32 offset, struct packet *p, bool egress)
{
        __be16 ports[2];

        if (p->protocol != IPPROTO_TCP && p->protocol != IPPROTO_UDP)
                return;
        if (!load(skb, offset, ports, sizeof(ports)))
                return;
        p->ports = true;
        p->port = bpf_ntohs(ports[egress ? 1 : 0]);
        if (p->protocol == IPPROTO_TCP)
                read_tcp(skb, offset, p);
}

struct option_search {
        struct __sk_buff *skb;
        __u32 offset, end;
        bool detour;
};

static long next_option(__u32 i, struct option_search *s)
{
        __u8 option[2];

        if (s->offset >= s->end || !load(s->skb, s->offset, option, 1) || option[0] == 0)
                return 1;
        if (option[0] == 1) { /* padding */
                s->offset++;
                return 0;
        }
        /* Loose and strict source routing; and what cannot be read may be them. */
        if (option[0] == 131 || option[0] == 137 || s->offset + 1 >= s->end ||
            !load(s->skb, s->offset, option, 2) || option[1] < 2) {
                s->detour = true;
                return 1;
        }
        s->offset += option[1];
        return 0;
}

static __always_inline bool read_ipv4(struct __sk_buff *skb, struct packet *p, bool egress)
{
        struct iphdr ip;
        __u32 length;

        if (!load(skb, 0, &ip, sizeof(ip)) || ip.version != 4 || ip.ihl < 5)
                return false;
        length = ip.ihl * 4U;
        p->address.low = bpf_ntohl(egress ? ip.daddr : ip.saddr);
        p->protocol = ip.protocol;
        if (length > sizeof(ip)) {
                struct option_search s = {.skb = skb, .offset = sizeof(ip), .end = length};

                bpf_loop(40, next_option, &s, 0);
                p->detour = s.detour;
        }
        if ((bpf_ntohs(ip.frag_off) & IP_OFFSET) == 0)
                read_transport(skb, length, p, egress);
        return true;
}

struct header_search {
        struct __sk_buff *skb;
        __u32 offset;
        __u8 next;
        bool done, fragment, detour;
};

/* One extension header; DONE when NEXT is none. */
static long next_header(__u32 i, struct header_search *s)
{
        __u8 header[8];

        if (s->next != IPPROTO_HOPOPTS && s->next != IPPROTO_DSTOPTS && s->next != IPPROTO_ROUTING &&
            s->next != IPPROTO_FRAGMENT && s->next != IPPROTO_AH && s->next != IPPROTO_MH) {
                s->done = true;
                return 1;
        }
        if (!load(s->skb, s->offset, header, sizeof(header)))
                return 1;
        if (s->next == IPPROTO_ROUTING)
                s->detour = true;
        if (s->next == IPPROTO_FRAGMENT) {
                s->offset += 8;
                s->fragment = (header[2] << 8 | header[3]) & 0xfff8;
        } else {
                s->offset += s->next == IPPROTO_AH ? (header[1] + 2U) * 4 : (header[1] + 1U) * 8;
        }
        s->next = header[0];
        if (!s->fragment)
                return 0;
        s->done = true; /* what follows is a piece of the payload */
        return 1;
}

/* The kernel's own talk with its neighbours, in namespaces of which a subject is the owner: on the link only.
 */
static __always_inline bool is_neighbour(struct __sk_buff *skb, __u32 offset, const struct in6_addr *to)
{
        const __u8 *a = to->s6_addr;
        __u8 type;

        if (!(a[0] == 0xff && (a[1] & 0x0f) == 2) && !(a[0] == 0xfe && (a[1] & 0xc0) == 0x80))
                return false;
        return load(skb, offset, &type, 1) && ((type >= 130 && type <= 137) || type == 143);
}

static __always_inline bool read_ipv6(struct __sk_buff *skb, struct packet *p, bool egress)
{
        struct header_search s = {.skb = skb, .offset = sizeof(struct ipv6hdr)};
        const struct in6_addr *other;
        struct ipv6hdr ip;
        __be64 halves[2];

        if (!load(skb, 0, &ip, sizeof(ip)) || ip.version != 6)
                return false;
        other = egress ? &ip.daddr : &ip.saddr;
        __builtin_memcpy(halves, other, sizeof(halves));
        p->address.high = bpf_be64_to_cpu(halves[0]);
        p->address.low = bpf_be64_to_cpu(halves[1]);
        p->v6 = true;

        s.next = ip.nexthdr;
        bpf_loop(HEADERS_MAX + 1, next_header, &s, 0);
        if (!s.done)
                return false;
        p->protocol = s.next;
        p->detour = s.detour;
        if (s.fragment)
                return true;
        if (s.next == IPPROTO_ICMPV6)
                p->neighbour = is_neighbour(skb, s.offset, &ip.daddr);
        read_transport(skb, s.offset, p, egress);
        return true;
}

__noinline int read_packet(struct __sk_buff *skb, struct packet *p, int egress)
{
        if (!p)
                return false;
        if (skb->protocol == bpf_htons(ETH_P_IP))
                return read_ipv4(skb, p, egress);
        return skb->protocol == bpf_htons(ETH_P_IPV6) && read_ipv6(skb, p, egress);
}

/* The judgement. */

/* The resets that the kernel makes for a connection. One written through a raw socket can carry something in
 * its header and in those before it. */
static __always_inline bool is_of_connection(struct __sk_buff *skb)
{
        struct bpf_sock *sk = skb->sk;

        if (sk)
                sk = bpf_sk_fullsock(sk);
        return sk && sk->type == SOCKET_STREAM;
}

static __always_inline int judge_egress(struct __sk_buff *skb, const struct plan *plan,
                                        const struct packet *p)
{
        if (p->reset && is_of_connection(skb))
                return PASS;
        return judge_destination(plan, p, skb->ifindex == LOOPBACK_INDEX);
}

static __always_inline int judge_ingress(struct __sk_buff *skb, const struct plan *plan,
                                         const struct packet *p)
{
        /* It came over the loopback, so it was sent here. */
        if (p->reset || p->neighbour || skb->ifindex == LOOPBACK_INDEX)
                return PASS;
        if (in_services(plan, p->v6 ? SL_SERVICE6 : SL_SERVICE4, p))
                return PASS;
        /* An answer to a question that was redirected: by now it says again that it comes from where it was
         * first sent to. */
        if (plan->header->flags & (p->v6 ? SL_DNS6 : SL_DNS4) && p->ports && p->port == 53 && !p->opening)
                return PASS;
        return in_networks(plan, p->v6 ? SL_ALLOW6 : SL_ALLOW4, &p->address);
}

static __always_inline void count_packet(struct __sk_buff *skb, __u32 direction)
{
        count(direction, skb->gso_segs ? skb->gso_segs : 1, skb->len);
}

static __always_inline int judge(struct __sk_buff *skb, bool egress)
{
        struct packet packet = {};
        struct plan plan;
        int verdict;

        if (!get_plan(&plan) || !is_subject(skb, &plan))
                return PASS;
        if (!read_packet(skb, &packet, egress))
                verdict = REFUSE;
        else
                verdict = egress ? judge_egress(skb, &plan, &packet) : judge_ingress(skb, &plan, &packet);
        if (verdict == REFUSE)
                count_packet(skb, egress ? SL_EGRESS : SL_INGRESS);
        return verdict;
}

SEC("cgroup_skb/egress")
int judge_sent(struct __sk_buff *skb)
{
        return judge(skb, true);
}

SEC("cgroup_skb/ingress")
int judge_received(struct __sk_buff *skb)
{
        return judge(skb, false);
}

char LICENSE[] SEC("license") = "GPL";
