// SPDX-License-Identifier: GPL-2.0-or-later
/* The second lock on the real kernel: packets that no ordinary program sends, and some that the kernel sends
 * by itself. */
#include "second-lock-lab.h"

#include <linux/if_ether.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <netinet/udp.h>
#include <netpacket/packet.h>

struct lab lab;

/* Header and payload as a program with a raw socket would write them; 0: no such thing. */
static bool raw_arrives(int sender, const char *address, const void *packet, size_t size, int capture)
{
        struct address a = address_of(address, 0);
        int control = socket_of(0, a.s.ss_family, SOCK_DGRAM);
        struct sockaddr_ll from;
        socklen_t length = sizeof(from);
        uint8_t buffer[2048];
        bool arrived = false;
        ssize_t n;

        while (recv(capture, buffer, sizeof(buffer), 0) > 0)
                ;
        (void)sendto(sender, packet, size, 0, (struct sockaddr *)&a.s, a.length);
        a = address_of(address, 9);
        assert_int_equal(sendto(control, "control", 7, 0, (struct sockaddr *)&a.s, a.length), 7);
        for (;;) {
                assert_true(ready(capture, POLLIN, PATIENCE_MS));
                n = recvfrom(capture, buffer, sizeof(buffer), 0, (struct sockaddr *)&from, &length);
                if (n >= 7 && memcmp(buffer + n - 7, "control", 7) == 0)
                        break;
                arrived |= n >= 4 && memcmp(buffer + n - 4, "SENT", 4) == 0;
        }
        close(control);
        return arrived;
}

/* Every packet that comes into the world by the wire. */
static int capture_world(void)
{
        int fd;

        assert_int_equal(setns(lab.world, CLONE_NEWNET), 0);
        fd = socket(AF_PACKET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, htons(ETH_P_ALL));
        assert_int_equal(setns(lab.host, CLONE_NEWNET), 0);
        assert_true(fd >= 0);
        return fd;
}

struct raw4 {
        struct iphdr ip;
        uint8_t options[8];
        struct udphdr udp;
        char payload[8];
} __attribute__((packed));

/* A datagram with OPTION (0: none), FRAGMENT in the header's field. Sent by way of VIA. */
static bool raw4_arrives(int sender, int capture, const char *to, const char *via, uint8_t option,
                         uint16_t fragment)
{
        struct raw4 p = {.ip = {.version = 4,
                                .ihl = 7,
                                .ttl = 64,
                                .protocol = IPPROTO_UDP,
                                .frag_off = htons(fragment),
                                .tot_len = htons(sizeof(p)),
                                .id = htons(77)},
                         .options = {option ?: 1, option ? 7 : 1, option ? 4 : 1, 10, 77, 0, 2, 0},
                         .udp = {.uh_dport = htons(9), .uh_ulen = htons(16)},
                         .payload = {'.', '.', '.', '.', 'S', 'E', 'N', 'T'}};

        assert_int_equal(inet_pton(AF_INET, to, &p.ip.daddr), 1);
        return raw_arrives(sender, via, &p, sizeof(p), capture);
}

static void test_detours_and_fragments4(void **state)
{
        struct order *o = order_of(state);
        int capture = capture_world(), sender = socket_of(SUBJECT, AF_INET, SOCK_RAW);
        int others = socket_of(OTHER, AF_INET, SOCK_RAW);

        for (int locked = 0; locked < 2; locked++) {
                if (locked)
                        engage(o);
                assert_true(raw4_arrives(sender, capture, INSIDE4, INSIDE4, 0, 0));
                assert_int_equal(raw4_arrives(sender, capture, OUTSIDE4, OUTSIDE4, 0, 0), !locked);
                assert_int_equal(raw4_arrives(sender, capture, OUTSIDE4, INSIDE4, 0, 0), !locked);
                /* Loose and strict source routing. */
                assert_int_equal(raw4_arrives(sender, capture, INSIDE4, INSIDE4, 131, 0), !locked);
                assert_int_equal(raw4_arrives(sender, capture, INSIDE4, INSIDE4, 137, 0), !locked);
                assert_true(raw4_arrives(others, capture, INSIDE4, INSIDE4, 131, 0));
                /* First, and a later one: that is judged by its address, whatever is where the ports would
                 * be. */
                assert_int_equal(raw4_arrives(sender, capture, OUTSIDE4, OUTSIDE4, 0, IP_MF), !locked);
                assert_int_equal(raw4_arrives(sender, capture, OUTSIDE4, OUTSIDE4, 0, 3), !locked);
                assert_true(raw4_arrives(sender, capture, INSIDE4, INSIDE4, 0, 3));
        }
        allow(o, OUTSIDE4 ":9/udp");
        finish(o);
        assert_int_equal(second_lock_update(o->lock, &o->spec, NULL), 0);
        assert_true(raw4_arrives(sender, capture, OUTSIDE4, OUTSIDE4, 0, 0));
        assert_false(raw4_arrives(sender, capture, OUTSIDE4, OUTSIDE4, 0, 3));
        close(sender);
        close(others);
        close(capture);
}

struct raw6 {
        struct ip6_hdr ip;
        uint8_t extension[24];
        struct udphdr udp;
        char payload[8];
} __attribute__((packed));

/* A datagram behind one extension header of that kind; IPPROTO_NONE: 24 bytes of hop-by-hop padding. */
static bool raw6_arrives(int sender, int capture, const char *to, uint8_t kind)
{
        bool fragment = kind == IPPROTO_FRAGMENT;
        struct raw6 p = {.ip = {.ip6_plen = htons(sizeof(p) - sizeof(p.ip)), .ip6_nxt = kind, .ip6_hlim = 64},
                         .extension = {IPPROTO_UDP, fragment ? 0 : 2, 1, fragment ? 8 : 4},
                         .udp = {.uh_dport = htons(9), .uh_ulen = htons(16)},
                         .payload = {'.', '.', '.', '.', 'S', 'E', 'N', 'T'}};

        p.ip.ip6_vfc = 0x60;
        if (kind == IPPROTO_ROUTING)
                p.extension[3] = 1;
        if (kind == IPPROTO_DSTOPTS || kind == IPPROTO_HOPOPTS)
                p.extension[3] = 20; /* PadN */
        assert_int_equal(inet_pton(AF_INET6, to, &p.ip.ip6_dst), 1);
        return raw_arrives(sender, to, &p, sizeof(p), capture);
}

static void test_detours_and_fragments6(void **state)
{
        struct order *o = order_of(state);
        int capture = capture_world(), sender = socket_of(SUBJECT, AF_INET6, SOCK_RAW);

        for (int locked = 0; locked < 2; locked++) {
                if (locked)
                        engage(o);
                assert_true(raw6_arrives(sender, capture, INSIDE6, IPPROTO_HOPOPTS));
                assert_true(raw6_arrives(sender, capture, INSIDE6, IPPROTO_DSTOPTS));
                assert_true(raw6_arrives(sender, capture, INSIDE6, IPPROTO_FRAGMENT));
                assert_int_equal(raw6_arrives(sender, capture, INSIDE6, IPPROTO_ROUTING), !locked);
                assert_int_equal(raw6_arrives(sender, capture, OUTSIDE6, IPPROTO_HOPOPTS), !locked);
                assert_int_equal(raw6_arrives(sender, capture, OUTSIDE6, IPPROTO_FRAGMENT), !locked);
        }
        close(sender);
        close(capture);
}

/* TCP to OUTSIDE4 among what was captured within a second. */
static bool sees_tcp_to_outside(int capture)
{
        uint32_t outside = inet_addr(OUTSIDE4);
        uint8_t buffer[2048];

        while (ready(capture, POLLIN, 1000)) {
                ssize_t n = recv(capture, buffer, sizeof(buffer), 0);

                if (n >= 40 && buffer[0] >> 4 == 4 && buffer[9] == IPPROTO_TCP &&
                    memcmp(buffer + 16, &outside, sizeof(outside)) == 0)
                        return true;
        }
        return false;
}

static int mptcp_socket(uid_t uid, int netns)
{
        int fd;

        assert_int_equal(setns(netns, CLONE_NEWNET), 0);
        setfsuid(uid);
        fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 262 /* IPPROTO_MPTCP */);
        setfsuid(0);
        assert_int_equal(setns(lab.host, CLONE_NEWNET), 0);
        return fd;
}

/* A connection of the subject to inside, whose other end says that it has an address outside as well: the
 * kernel connects to that by itself, as root. */
static bool mptcp_reaches_outside(int capture, uint16_t port)
{
        int listener = mptcp_socket(0, lab.world), client = mptcp_socket(SUBJECT, lab.host), accepted;
        struct address any = address_of("0.0.0.0", port);
        char buffer[16];
        bool seen;

        assert_int_equal(bind(listener, (struct sockaddr *)&any.s, any.length), 0);
        assert_int_equal(listen(listener, 8), 0);
        while (recv(capture, buffer, sizeof(buffer), 0) > 0)
                ;
        start_connecting(client, INSIDE4, port);
        accepted = accept_soon(listener);
        assert_int_equal(send(client, "ping", 4, 0), 4);
        assert_true(ready(accepted, POLLIN, PATIENCE_MS));
        assert_int_equal(send(accepted, "pong", 4, 0), 4);
        assert_true(ready(client, POLLIN, PATIENCE_MS));
        seen = sees_tcp_to_outside(capture);
        close(client);
        close(accepted);
        close(listener);
        return seen;
}

static void test_subflows_the_kernel_joins(void **state)
{
        struct order *o = order_of(state);
        int capture, probe = mptcp_socket(0, lab.host);

        if (probe < 0 || system("ip mptcp limits set subflow 4 add_addr_accepted 4 2>/dev/null") != 0) {
                print_message("skipped: no MPTCP in this kernel, or no ip mptcp\n");
                skip();
        }
        close(probe);
        assert_int_equal(setns(lab.world, CLONE_NEWNET), 0);
        run("ip mptcp limits set subflow 4 add_addr_accepted 4");
        run("ip mptcp endpoint add " OUTSIDE4 " dev w signal");
        assert_int_equal(setns(lab.host, CLONE_NEWNET), 0);
        capture = capture_world();
        assert_true(mptcp_reaches_outside(capture, PORT + 20));
        engage(o);
        assert_false(mptcp_reaches_outside(capture, PORT + 21));
        close(capture);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
        const struct CMUnitTest tests[] = {
                TEST(test_detours_and_fragments4),
                TEST(test_detours_and_fragments6),
                TEST(test_subflows_the_kernel_joins),
        };

        return cmocka_run_group_tests_name("second-lock-packets", tests, lab_make, lab_end);
}
