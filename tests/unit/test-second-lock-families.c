// SPDX-License-Identifier: GPL-2.0-or-later
/* The second lock on the real kernel: what is no IP. A subject may use what stays on this machine, and
 * nothing that leads off it by another family. */
#include "second-lock-sender.h"

#include <linux/if_alg.h>
#include <linux/if_ether.h>
#include <linux/netlink.h>
#include <linux/vm_sockets.h>
#include <net/if.h>
#include <netpacket/packet.h>

struct lab lab;

static ssize_t by_frame(int fd)
{
        struct sockaddr_ll to = {.sll_family = AF_PACKET,
                                 .sll_protocol = htons(0x88b5), /* for local experiments */
                                 .sll_ifindex = 0,
                                 .sll_halen = 6,
                                 .sll_addr = {255, 255, 255, 255, 255, 255}};
        socklen_t length = sizeof(to);

        if (getsockname(fd, (struct sockaddr *)&to, &length) < 0)
                return -1;
        to.sll_halen = 6;
        memset(to.sll_addr, 255, 6);
        return sendto(fd, text, LENGTH, 0, (struct sockaddr *)&to, sizeof(to));
}

static ssize_t by_receiving(int fd)
{
        char buffer[2048];

        return ready(fd, POLLIN, PATIENCE_MS) ? recv(fd, buffer, sizeof(buffer), 0) : -1;
}

/* A packet socket as a capture program makes it. */
static int packet_socket(uid_t uid, int netns, const char *device)
{
        struct sockaddr_ll at = {.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL)};
        int fd;

        assert_int_equal(setns(netns, CLONE_NEWNET), 0);
        setfsuid(uid);
        fd = socket(AF_PACKET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        setfsuid(0);
        at.sll_ifindex = (int)if_nametoindex(device);
        assert_int_equal(setns(lab.host, CLONE_NEWNET), 0);
        assert_true(fd >= 0 && at.sll_ifindex > 0);
        assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof(at)), 0);
        return fd;
}

/* Does a frame with TEXT come into the world? One with "over" follows it. */
static bool frame_has_come(int capture, int control)
{
        char buffer[2048];
        bool come = false;

        memcpy(text, "over", LENGTH);
        assert_int_equal(done_by(0, 0, by_frame, control), 0);
        memcpy(text, "sent", LENGTH);
        for (;;) {
                ssize_t n;

                assert_true(ready(capture, POLLIN, PATIENCE_MS));
                n = recv(capture, buffer, sizeof(buffer), 0);
                if (n >= LENGTH && memcmp(buffer, "over", LENGTH) == 0)
                        return come;
                come |= n >= LENGTH && memcmp(buffer, "sent", LENGTH) == 0;
        }
}

static void test_frames(void **state)
{
        struct order *o = order_with_sender(state);
        int capture = packet_socket(0, lab.world, "w"), hers = packet_socket(SUBJECT, lab.host, "w0");
        int others = packet_socket(OTHER, lab.host, "w0"), control = packet_socket(0, lab.host, "w0");

        assert_int_equal(done_by(SUBJECT, SUBJECT, by_frame, hers), 0);
        assert_true(frame_has_come(capture, control));
        engage(o);
        assert_int_equal(done_by(SUBJECT, SUBJECT, by_frame, hers), -EPERM);
        assert_int_equal(done_by(SUBJECT, SUBJECT, by_frame, others), -EPERM);
        assert_false(frame_has_come(capture, control));
        assert_int_equal(done_by(OTHER, OTHER, by_frame, others), 0);
        assert_true(frame_has_come(capture, control));
        assert_int_equal(done_by(SUBJECT, SUBJECT, by_receiving, hers), 0);
        for (size_t i = 0; i < 4; i++)
                close((int[]){capture, hers, others, control}[i]);
}

static ssize_t by_vsock(int fd)
{
        struct sockaddr_vm to = {.svm_family = AF_VSOCK, .svm_cid = VMADDR_CID_LOCAL, .svm_port = 7001};

        return connect(fd, (struct sockaddr *)&to, sizeof(to));
}

static ssize_t by_netlink(int fd)
{
        struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};

        return sendto(fd, &(struct nlmsghdr){.nlmsg_len = NLMSG_HDRLEN, .nlmsg_type = NLMSG_NOOP},
                      NLMSG_HDRLEN, 0, (struct sockaddr *)&kernel, sizeof(kernel));
}

static ssize_t by_cipher(int fd)
{
        struct sockaddr_alg hash = {.salg_family = AF_ALG, .salg_type = "hash", .salg_name = "sha256"};
        int operation;

        if (bind(fd, (struct sockaddr *)&hash, sizeof(hash)) < 0)
                return -1;
        operation = accept4(fd, NULL, NULL, SOCK_CLOEXEC);
        return operation < 0 ? -1 : send(operation, text, LENGTH, 0);
}

static int socket_if_any(uid_t uid, int family, int type)
{
        int fd;

        setfsuid(uid);
        fd = socket(family, type | SOCK_CLOEXEC, 0);
        setfsuid(0);
        return fd;
}

static void test_other_families(void **state)
{
        struct order *o = order_with_sender(state);
        int local[2], netlink = socket_of(OTHER, AF_NETLINK, SOCK_DGRAM);
        int cipher = socket_if_any(SUBJECT, AF_ALG, SOCK_SEQPACKET);
        int vsock = socket_if_any(SUBJECT, AF_VSOCK, SOCK_STREAM);
        int before_cipher = cipher < 0 ? 0 : done_by(SUBJECT, SUBJECT, by_cipher, cipher);

        setfsuid(OTHER);
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, local), 0);
        setfsuid(0);
        if (vsock >= 0)
                assert_int_not_equal(done_by(SUBJECT, SUBJECT, by_vsock, vsock), -EPERM);
        engage(o);
        assert_int_equal(done_by(SUBJECT, SUBJECT, by_send, local[0]), 0);
        assert_int_equal(done_by(SUBJECT, SUBJECT, by_netlink, netlink), 0);
        if (cipher >= 0 && before_cipher == 0) {
                close(cipher);
                cipher = socket_if_any(SUBJECT, AF_ALG, SOCK_SEQPACKET);
                assert_int_equal(done_by(SUBJECT, SUBJECT, by_cipher, cipher), 0);
        }
        if (vsock >= 0) {
                assert_int_equal(done_by(SUBJECT, SUBJECT, by_vsock, vsock), -EPERM);
                assert_int_not_equal(done_by(OTHER, OTHER, by_vsock, vsock), -EPERM);
        } else {
                print_message("no AF_VSOCK here\n");
        }
        for (size_t i = 0; i < 5; i++)
                close((int[]){local[0], local[1], netlink, cipher, vsock}[i]);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                TEST(test_frames),
                TEST(test_other_families),
        };

        return cmocka_run_group_tests_name("second-lock-families", tests, lab_make, lab_end);
}
