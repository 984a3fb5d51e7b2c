// SPDX-License-Identifier: GPL-2.0-or-later
/* The less obvious ways out, with real packets: address translation, resets, source routes, forwarding, what
 * has no owner, login sessions. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "nft-fixture.h"
#include <linux/capability.h>
#include <netinet/tcp.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>

/* Somebody else's DNAT leads outside: the first judgement cannot see it, the second does. */
static void test_second_judgement(void **state)
{
        struct fixture *f = begin(state, "staff");
        struct endpoint asked = endpoint("10.9.0.9:777/udp"), real = endpoint("8.8.8.8:777/udp");
        struct endpoint local = endpoint("127.0.0.1:778/udp");
        _cleanup_attempts_ struct attempts a = {0};

        assert_true(shell("nft 'add table ip x; add chain ip x o { type nat hook output priority -100; }; "
                          "add rule ip x o ip daddr 10.9.0.9 udp dport 777 dnat to 8.8.8.8; "
                          "add rule ip x o ip daddr 127.0.0.1 udp dport 778 dnat to 8.8.8.8'"));
        assert_true(shell("echo 1 > /proc/sys/net/ipv4/conf/all/route_localnet"));
        clear_wire(&f->net);
        assert_int_equal(as_person(root, try_endpoint, &asked), 0);
        assert_int_equal(seen(&f->net, &real), 1);
        assert_int_equal(as_person(member, try_endpoint, &asked), EPERM);
        assert_int_equal(as_person(member, try_endpoint, &local), EPERM);
        assert_int_equal(seen(&f->net, &real), 0);
        assert_int_equal(nft_read_attempts(f->nft, "staff", &a), 0);
        assert_int_equal(a.n, 2);
        assert_int_equal(a.packets, 2);
        assert_non_null(find_attempt(&a, 1000, "8.8.8.8", IPPROTO_UDP, 777));
        assert_non_null(find_attempt(&a, 1000, "8.8.8.8", IPPROTO_UDP, 778));
}

struct crafted {
        int family;
        uint8_t packet[128];
        size_t length;
        const char *to;
};

/* As somebody who, unlike any real subject, may send raw packets. */
static int send_crafted(const void *argument)
{
        const struct crafted *c = argument;
        struct endpoint e = endpoint(c->to);
        struct sockaddr_storage to;
        socklen_t length = socket_address(&e, &to);
        int fd = socket(c->family, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_RAW);

        if (c->family == AF_INET6)
                ((struct sockaddr_in6 *)&to)->sin6_port = 0;
        if (fd < 0)
                return errno;
        return sendto(fd, c->packet, c->length, 0, (const void *)&to, length) < 0 ? errno : 0;
}

static int craft_as(uint32_t uid, const struct crafted *c)
{
        pid_t child = fork();
        int status;

        assert_true(child >= 0);
        if (child == 0) {
                struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
                struct __user_cap_data_struct data[2] = {
                        {.effective = 1u << CAP_NET_RAW, .permitted = 1u << CAP_NET_RAW}};

                if (prctl(PR_SET_KEEPCAPS, 1) < 0 || setresuid(uid, uid, uid) < 0 ||
                    syscall(SYS_capset, &header, data) < 0)
                        _exit(255);
                _exit(send_crafted(c));
        }
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFEXITED(status));
        return WEXITSTATUS(status);
}

static struct crafted tcp4(uint8_t flags)
{
        struct crafted c = {.family = AF_INET, .length = 40, .to = "8.8.8.8:80"};
        struct iphdr *ip = (void *)c.packet;
        struct tcphdr *tcp = (void *)(c.packet + 20);

        *ip = (struct iphdr){.version = 4, .ihl = 5, .ttl = 64, .protocol = IPPROTO_TCP};
        inet_pton(AF_INET, "10.9.0.2", &ip->saddr);
        inet_pton(AF_INET, "8.8.8.8", &ip->daddr);
        tcp->source = htons(1234);
        tcp->dest = htons(80);
        tcp->doff = 5;
        c.packet[20 + 13] = flags;
        return c;
}

/* DESIGN: the reset that tells the peer of a severed connection passes; nothing else of that connection does.
 */
static void test_resets_pass(void **state)
{
        struct fixture *f = begin(state, "staff");
        struct endpoint peer = endpoint("8.8.8.8:80/tcp");
        struct crafted reset = tcp4(TH_RST), reset_ack = tcp4(TH_RST | TH_ACK), ack = tcp4(TH_ACK),
                       fin = tcp4(TH_FIN | TH_ACK);

        clear_wire(&f->net);
        assert_int_equal(craft_as(member.uid, &reset), 0);
        assert_int_equal(seen(&f->net, &peer), 1);
        assert_int_equal(craft_as(member.uid, &reset_ack), 0);
        assert_int_equal(seen(&f->net, &peer), 1);
        assert_int_equal(craft_as(member.uid, &ack), EPERM);
        assert_int_equal(craft_as(member.uid, &fin), EPERM);
        assert_int_equal(seen(&f->net, &peer), 0);
}

/* UDP to 8.8.8.8 by way of the allowed 10.9.0.9. KIND: the IP option, loose or strict. */
static struct crafted source_routed(uint8_t kind)
{
        struct crafted c = {.family = AF_INET, .length = 36, .to = "10.9.0.9:1000"};
        struct iphdr *ip = (void *)c.packet;

        *ip = (struct iphdr){.version = 4, .ihl = 7, .ttl = 64, .protocol = IPPROTO_UDP};
        inet_pton(AF_INET, "10.9.0.2", &ip->saddr);
        inet_pton(AF_INET, "10.9.0.9", &ip->daddr);
        memcpy(c.packet + 20, (uint8_t[]){kind, 7, 4, 8, 8, 8, 8, 0}, 8);
        memcpy(c.packet + 28, (uint8_t[]){4, 210, 3, 232, 0, 8, 0, 0}, 8);
        return c;
}

/* UDP to 2001:db8::1 by way of the allowed fd09::9, or WITHOUT the segment routing header straight to the
 * latter. */
static struct crafted segment_routed(bool without)
{
        struct crafted c = {.family = AF_INET6, .length = without ? 48 : 88, .to = "fd09::9"};
        struct ip6_hdr *ip = (void *)c.packet;
        uint8_t *header = c.packet + 40, *udp = header + (without ? 0 : 40);

        *ip = (struct ip6_hdr){.ip6_flow = htonl(6u << 28),
                               .ip6_plen = htons((uint16_t)(c.length - 40)),
                               .ip6_nxt = without ? IPPROTO_UDP : IPPROTO_ROUTING,
                               .ip6_hlim = 64};
        inet_pton(AF_INET6, "fd09::2", &ip->ip6_src);
        inet_pton(AF_INET6, "fd09::9", &ip->ip6_dst);
        if (!without) {
                memcpy(header, (uint8_t[]){IPPROTO_UDP, 4, 4, 1, 1, 0, 0, 0}, 8);
                inet_pton(AF_INET6, "2001:db8::1", header + 8);
                inet_pton(AF_INET6, "fd09::9", header + 24);
        }
        memcpy(udp, (uint8_t[]){4, 210, 3, 232, 0, 8, 0, 0}, 8);
        return c;
}

/* The next hop is allowed, the end is not: refused, as the address in the header says nothing. */
static void test_detours(void **state)
{
        struct fixture *f = begin(state, "staff");
        struct crafted cases[] = {source_routed(131 /* LSRR */), source_routed(137 /* SSRR */),
                                  segment_routed(false)};
        struct crafted plain4 = source_routed(1 /* no operation */), plain6 = segment_routed(true);
        struct sighting s;

        memset(plain4.packet + 20, 1, 8);
        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                clear_wire(&f->net);
                assert_int_equal(craft_as(stranger.uid, &cases[i]), 0);
                assert_true(next_sighting(&f->net, &s));
                assert_int_equal(craft_as(member.uid, &cases[i]), EPERM);
                assert_false(next_sighting(&f->net, &s));
        }
        assert_int_equal(craft_as(member.uid, &plain4), 0);
        assert_true(next_sighting(&f->net, &s));
        assert_int_equal(craft_as(member.uid, &plain6), 0);
        assert_true(next_sighting(&f->net, &s));
}

/* A packet from outside or inside, to be forwarded. */
static bool is_forwarded(struct fixture *f, const char *from, const char *to)
{
        struct endpoint source = endpoint(from), target = endpoint(to);
        bool v4 = target.family == AF_INET;
        uint8_t packet[48] = {0};
        struct iphdr *ip = (void *)packet;
        struct ip6_hdr *ip6 = (void *)packet;
        uint8_t *udp = packet + (v4 ? 20 : 40);

        assert_int_equal(source.family, target.family);
        if (v4) {
                uint32_t sum = 0;

                *ip = (struct iphdr){
                        .version = 4, .ihl = 5, .ttl = 64, .protocol = IPPROTO_UDP, .tot_len = htons(28)};
                memcpy(&ip->saddr, source.addr, 4);
                memcpy(&ip->daddr, target.addr, 4);
                for (size_t i = 0; i < 20; i += 2)
                        sum += (uint32_t)(packet[i] << 8 | packet[i + 1]);
                ip->check = htons((uint16_t) ~((sum & 0xffff) + (sum >> 16)));
        } else {
                *ip6 = (struct ip6_hdr){.ip6_flow = htonl(6u << 28),
                                        .ip6_plen = htons(8),
                                        .ip6_nxt = IPPROTO_UDP,
                                        .ip6_hlim = 64};
                memcpy(&ip6->ip6_src, source.addr, 16);
                memcpy(&ip6->ip6_dst, target.addr, 16);
        }
        memcpy(udp, (uint8_t[]){4, 210, (uint8_t)(target.port >> 8), (uint8_t)target.port, 0, 8, 0, 0}, 8);
        clear_wire(&f->net);
        assert_int_equal(write(f->net.wire, packet, v4 ? 28 : 48), v4 ? 28 : 48);
        return seen(&f->net, &target) == 1;
}

static void allow_forwarding(void)
{
        assert_true(shell("echo 1 > /proc/sys/net/ipv4/ip_forward && "
                          "echo 1 > /proc/sys/net/ipv6/conf/all/forwarding && "
                          "echo 0 > /proc/sys/net/ipv4/conf/all/rp_filter && "
                          "echo 0 > /proc/sys/net/ipv4/conf/wire/rp_filter && "
                          "ip route add 10.7.0.0/16 dev wire && ip -6 route add fd07::/16 dev wire"));
}

static void test_forward_deny(void **state)
{
        struct fixture *f = begin(state, "forward");
        uint64_t packets = 0, bytes = 0;

        allow_forwarding();
        assert_false(is_forwarded(f, "10.7.0.1", "8.8.8.8:1000/udp"));
        assert_false(is_forwarded(f, "8.8.8.8", "10.7.0.1:1001/udp"));
        assert_true(is_forwarded(f, "10.7.0.1", "192.168.7.7:1002/udp"));
        assert_false(is_forwarded(f, "8.8.8.8", "9.9.9.9:1003/udp")); /* perhaps made up */
        assert_false(is_forwarded(f, "fd07::1", "[2001:db8::1]:1004/udp"));
        assert_false(is_forwarded(f, "2001:db8::1", "[fd07::1]:1005/udp"));
        assert_true(is_forwarded(f, "fd07::1", "[fd99::1]:1006/udp"));
        assert_false(is_forwarded(f, "2001:db8::1", "[2001:db8:1::1]:1007/udp"));
        assert_int_equal(nft_read_refused(f->nft, "forward", &packets, &bytes), 0);
        assert_int_equal(packets, 6);
        assert_int_equal(nft_disengage(f->nft, f->r, NULL), 0);
        assert_true(is_forwarded(f, "10.7.0.1", "8.8.8.8:1000/udp"));
}

/* Nothing is inside, so nothing is forwarded. */
static void test_forward_deny_isolates(void **state)
{
        struct fixture *f = begin(state, "isolate-forward");

        allow_forwarding();
        assert_false(is_forwarded(f, "10.7.0.1", "8.8.8.8:1000/udp"));
        assert_false(is_forwarded(f, "10.7.0.1", "192.168.7.7:1002/udp"));
        assert_false(is_forwarded(f, "fd07::1", "[2001:db8::1]:1004/udp"));
        assert_int_equal(nft_disengage(f->nft, f->r, NULL), 0);
        assert_true(is_forwarded(f, "10.7.0.1", "8.8.8.8:1000/udp"));
}

/* Without Forward=deny nothing forwarded is touched, also where everyone is blocked. */
static void test_forward_keep(void **state)
{
        static const char *const names[] = {"staff", "everyone", "isolate"};
        struct fixture *f = *state;

        if (!f->net.missing)
                allow_forwarding();
        for (size_t i = 0; i < ELEMENTSOF(names); i++) {
                f = begin(state, names[i]);
                assert_true(is_forwarded(f, "10.7.0.1", "8.8.8.8:1000/udp"));
                assert_true(is_forwarded(f, "8.8.8.8", "10.7.0.1:1001/udp"));
                assert_true(is_forwarded(f, "fd07::1", "[2001:db8::1]:1004/udp"));
                drop_ruleset(f);
        }
}

/* With everyone isolated the kernel still finds its neighbours for root; and what nobody owns is judged. */
static void test_isolated_neighbours(void **state)
{
        struct fixture *f = begin(state, "isolate");
        _cleanup_attempts_ struct attempts a = {0};
        struct endpoint ping = endpoint("8.8.8.8");
        struct sighting s;

        assert_false(gets_out(&f->net, member, "10.9.0.9:80/udp"));
        assert_true(gets_out(&f->net, root, "10.9.0.9:80/udp"));

        /* On an ethernet, with neighbour discovery. */
        assert_true(
                shell("ip link add v0 type veth peer name v1 && ip link set v1 up && ip link set v0 up && "
                      "ip addr add fd0a::1/64 dev v0 nodad && nft 'add table netdev seen; add counter netdev "
                      "seen n; "
                      "add chain netdev seen i { type filter hook ingress device v1 priority 0; }; "
                      "add rule netdev seen i icmpv6 type nd-neighbor-solicit counter name n'"));
        ping = endpoint("[fd0a::9]:80/udp");
        assert_int_equal(as_person(root, try_endpoint, &ping), 0);
        assert_true(shell("for i in 1 2 3 4 5 6 7 8 9 10; do nft list counter netdev seen n | grep -q "
                          "'packets [1-9]' && "
                          "exit 0; sleep 0.1; done; exit 1"));
        assert_int_equal(nft_read_attempts(f->nft, "isolate", &a), 0);
        for (size_t i = 0; i < a.n; i++)
                assert_false(a.items[i].protocol == IPPROTO_ICMPV6 && a.items[i].uid == ATTEMPT_NO_UID);
        attempts_clear(&a);

        /* An answer to an unwanted packet: sent by the kernel, for nobody. */
        clear_wire(&f->net);
        assert_false(is_forwarded(f, "8.8.8.8", "10.9.0.2:9999/udp"));
        assert_false(next_sighting(&f->net, &s));
        assert_int_equal(nft_read_attempts(f->nft, "isolate", &a), 0);
        assert_non_null(find_attempt(&a, ATTEMPT_NO_UID, "8.8.8.8", IPPROTO_ICMP, 0));
}

#define CGROUP_ROOT_CANDIDATES                             \
        {                                                  \
                "/sys/fs/cgroup", "/sys/fs/cgroup/unified" \
        }

/* The mounted cgroup2 hierarchy, NULL if there is none. */
static const char *cgroup_root(void)
{
        static const char *const candidates[] = CGROUP_ROOT_CANDIDATES;
        char path[128];

        for (size_t i = 0; i < ELEMENTSOF(candidates); i++) {
                (void)snprintf(path, sizeof(path), "%s/cgroup.controllers", candidates[i]);
                if (access(path, W_OK) == 0 || access(path, R_OK) == 0)
                        return candidates[i];
        }
        return NULL;
}

struct in_session {
        char procs[160];
        struct endpoint to;
};

static int send_from_session(const void *argument)
{
        const struct in_session *s = argument;

        return try_endpoint(&s->to);
}

/* As UID, from within the session's control group. */
static int from_session(struct in_session *s, struct person who, const char *to)
{
        pid_t child = fork();
        int status;

        assert_true(child >= 0);
        if (child == 0) {
                _cleanup_fclose_ FILE *f = fopen(s->procs, "we");

                if (!f || fputs("0", f) < 0 || fflush(f) != 0)
                        _exit(254);
                s->to = endpoint(to);
                _exit(as_person(who, send_from_session, s));
        }
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFEXITED(status));
        return WEXITSTATUS(status);
}

static void check_session(struct fixture *f, struct in_session *s, uint64_t id)
{
        struct ruleset *next;
        struct endpoint real = endpoint("8.8.8.8:777/udp");

        /* No session yet: a stranger's program. */
        assert_int_equal(from_session(s, stranger, "8.8.8.8:1000/udp"), 0);
        next = build_ruleset(&f->in, find_case("sessions"), &id, 1);
        assert_int_equal(nft_update(f->nft, f->r, next, NULL), 0);
        ruleset_free(f->r);
        f->r = next;
        assert_int_equal(from_session(s, stranger, "8.8.8.8:1000/udp"), EPERM);
        assert_int_equal(from_session(s, root, "8.8.8.8:1000/udp"), EPERM);
        assert_int_equal(from_session(s, stranger, "10.9.0.9:1000/udp"), 0);
        assert_int_equal(from_session(s, stranger, "127.0.0.1:1000/udp"), 0);
        assert_true(gets_out(&f->net, stranger, "8.8.8.8:1000/udp"));
        assert_int_equal(nft_verify(f->nft, f->r, true, NULL), 0);

        /* The second judgement, at the end of output. */
        assert_true(shell("echo 1 > /proc/sys/net/ipv4/conf/all/route_localnet"));
        assert_true(shell("nft 'add table ip x; add chain ip x o { type nat hook output priority -100; }; "
                          "add rule ip x o ip daddr 10.9.0.9 udp dport 777 dnat to 8.8.8.8; "
                          "add rule ip x o ip daddr 127.0.0.1 udp dport 777 dnat to 8.8.8.8'"));
        clear_wire(&f->net);
        assert_int_equal(from_session(s, stranger, "10.9.0.9:777/udp"), EPERM);
        assert_int_equal(from_session(s, stranger, "127.0.0.1:777/udp"), EPERM);
        assert_int_equal(seen(&f->net, &real), 0);
        assert_int_equal(from_session(s, stranger, "10.9.0.9:778/udp"), 0);
}

static void test_sessions(void **state)
{
        struct fixture *f = begin(state, "sessions");
        const char *cgroup = cgroup_root();
        struct in_session s;
        struct stat st;

        if (!cgroup) {
                print_message("skipped: no cgroup2 is mounted\n");
                skip();
        }
        (void)snprintf(f->slice, sizeof(f->slice), "%s/lockdown-test-%d.slice", cgroup, (int)getpid());
        (void)snprintf(f->session, sizeof(f->session), "%s/user-1000.slice", f->slice);
        if (mkdir(f->slice, 0755) < 0 || mkdir(f->session, 0755) < 0 || stat(f->session, &st) < 0) {
                print_message("skipped: no control group can be made\n");
                skip();
        }
        (void)snprintf(s.procs, sizeof(s.procs), "%s/cgroup.procs", f->session);
        check_session(f, &s, st.st_ino);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                TEST(test_second_judgement),
                TEST(test_resets_pass),
                TEST(test_detours),
                TEST(test_forward_deny),
                TEST(test_forward_deny_isolates),
                TEST(test_forward_keep),
                TEST(test_isolated_neighbours),
                TEST(test_sessions),
        };

        return cmocka_run_group_tests_name("nft-ways-out", tests, NULL, NULL);
}
