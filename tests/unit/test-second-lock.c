// SPDX-License-Identifier: GPL-2.0-or-later
/* The second lock on the real kernel: whom it judges, and what it lets pass. Real sockets, and what arrives
 * at the other end of a wire. */
#include "second-lock-lab.h"

struct lab lab;

static void test_subject_reaches_inside_only(void **state)
{
        struct order *o = order_of(state);
        struct second_lock_refused refused;

        assert_passes(SUBJECT, OUTSIDE4, PORT);
        engage(o);
        assert_refused(SUBJECT, OUTSIDE4, PORT);
        assert_refused(SUBJECT, OUTSIDE6, PORT);
        assert_passes(SUBJECT, INSIDE4, PORT);
        assert_passes(SUBJECT, INSIDE6, PORT);
        assert_passes(SUBJECT, "127.0.0.1", PORT);
        assert_passes(SUBJECT, "::1", PORT);
        assert_passes(SUBJECT, HOST_OUTSIDE4, PORT);
        assert_passes(SUBJECT, HOST_OUTSIDE6, PORT);
        assert_passes(OTHER, OUTSIDE4, PORT);
        assert_passes(OTHER, OUTSIDE6, PORT);
        assert_passes(0, OUTSIDE4, PORT);
        assert_int_equal(second_lock_read_refused(o->lock, "staff.x", &refused), 0);
        assert_true(refused.sent_packets >= 4 && refused.sent_bytes >= 4 * 40);
        assert_int_equal(refused.received_packets, 0);
        disengage(o);
        assert_passes(SUBJECT, OUTSIDE4, PORT);
        assert_passes(SUBJECT, OUTSIDE6, PORT);
}

static void test_ranges_and_exceptions(void **state)
{
        struct order *o = order_of(state);

        idset_append(&o->subjects.uid_ranges, 200000, 265535);
        idset_append(&o->subjects.uid_ranges, 300000, 300000);
        idset_append(&o->subjects.except_uids, 200007, 200007);
        engage(o);
        assert_passes(199999, OUTSIDE4, PORT);
        assert_refused(200000, OUTSIDE4, PORT);
        assert_passes(200007, OUTSIDE4, PORT);
        assert_refused(265535, OUTSIDE4, PORT);
        assert_passes(265536, OUTSIDE4, PORT);
        assert_refused(300000, OUTSIDE4, PORT);
        assert_passes(300001, OUTSIDE4, PORT);
        assert_passes(UINT32_MAX - 1, OUTSIDE4, PORT);
}

static void test_groups(void **state)
{
        struct order *o = order_of(state);

        idset_append(&o->subjects.gids, 500, 500);
        idset_append(&o->subjects.gid_ranges, 400000, 465535);
        idset_append(&o->subjects.except_uids, 61003, 61003);
        engage(o);
        check_arrives(OTHER, 500, OUTSIDE4, PORT, false);
        check_arrives(OTHER, 501, OUTSIDE4, PORT, true);
        check_arrives(OTHER, 400001, OUTSIDE4, PORT, false);
        check_arrives(0, 500, OUTSIDE4, PORT, true);
        check_arrives(61003, 500, OUTSIDE4, PORT, true);
}

/* What is outside of all and what is between them, close by and far apart, whatever their number. */
static void test_many_ids(void **state)
{
        struct order *o = order_of(state);
        struct subjects *s = &o->subjects;
        uint32_t id = 2000;

        srand(5);
        for (unsigned i = 0; i < 300; i++, id += 1 + (uint32_t)rand() % (i < 200 ? 3 : 2000))
                idset_append(&s->uids, id, id);
        for (unsigned i = 0; i < 200; i++) {
                uint32_t length = (uint32_t)rand() % 3 == 0 ? 1 : 1 + (uint32_t)rand() % 70000;

                id += (uint32_t)rand() % 5 == 0 ? (uint32_t)rand() % 20000000 : 1 + (uint32_t)rand() % 65536;
                idset_append(&s->uid_ranges, id, id + length - 1);
                id += length;
        }
        idset_normalize(&s->uids);
        idset_normalize(&s->uid_ranges);
        engage(o);
        for (unsigned i = 0; i < 120; i++) {
                const struct idset *set = i % 2 == 0 ? &s->uids : &s->uid_ranges;
                size_t at = i == 0 ? 0 : i == 1 ? set->n - 1 : (size_t)rand() % set->n;
                const struct idrange *r = &set->ranges[at];
                const uint32_t uids[] = {r->first - 1, r->first, r->last, r->last + 1};

                for (unsigned j = 0; j < ELEMENTSOF(uids); j++)
                        check_arrives(uids[j], OTHER, OUTSIDE4, PORT,
                                      !idset_contains(&s->uids, uids[j]) &&
                                              !idset_contains(&s->uid_ranges, uids[j]));
        }
}

/* Some begin in one step of the index and reach into the next, some are at the end of a page and go on in
 * another. */
static void test_steps_and_pages(void **state)
{
        struct order *o = order_of(state);
        struct subjects *s = &o->subjects;

        for (uint32_t i = 0; i < 700; i++)
                idset_append(&s->uids, SUBJECT + 3 * i, SUBJECT + 3 * i);
        for (uint32_t i = 0; i < 64; i++)
                idset_append(&s->uid_ranges, 1000000 + 1010 * i, 1000000 + 1010 * i + 999);
        engage(o);
        for (uint32_t i = 0; i < 2100; i++)
                check_arrives(SUBJECT + i, OTHER, OUTSIDE4, PORT, i % 3 != 0);
        for (uint32_t i = 0; i < 64640; i += 20)
                check_arrives(1000000 + i, OTHER, OUTSIDE4, PORT, i % 1010 >= 1000);
}

static void test_everyone(void **state)
{
        struct order *o = order_of(state);

        o->subjects.everyone = true;
        idset_append(&o->subjects.except_uids, 61003, 61003);
        idset_append(&o->subjects.except_gids, 500, 500);
        engage(o);
        assert_refused(SUBJECT, OUTSIDE4, PORT);
        assert_refused(OTHER, OUTSIDE6, PORT);
        assert_refused(1, OUTSIDE4, PORT);
        assert_refused(UINT32_MAX - 1, OUTSIDE4, PORT);
        assert_passes(0, OUTSIDE4, PORT);
        assert_passes(61003, OUTSIDE6, PORT);
        check_arrives(OTHER, 500, OUTSIDE4, PORT, true);
        assert_passes(OTHER, INSIDE6, PORT);
}

/* Sessions and services: whatever uid it switched to, and however deep below. */
static void test_control_groups(void **state)
{
        struct order *o = order_of(state);
        char session[300], scope[320];

        snprintf(session, sizeof(session), "%s/session", lab.cgroup);
        snprintf(scope, sizeof(scope), "%s/scope", session);
        assert_int_equal(mkdir(session, 0755), 0);
        assert_int_equal(mkdir(scope, 0755), 0);
        /* Levels count from the control group of the lab, wherever that lies. */
        o->cgroup = (struct second_lock_cgroup){.id = cgroup_id(session), .level = 1};
        o->spec.n_cgroups = 1;
        engage(o);
        assert_passes(OTHER, OUTSIDE4, PORT);
        int receiver = serve(0, lab.world, OUTSIDE4, PORT, SOCK_DGRAM);
        join_cgroup(scope);
        int sender = socket_of(0, AF_INET, SOCK_DGRAM);
        int insider = socket_of(OTHER, AF_INET, SOCK_DGRAM);
        join_cgroup(lab.cgroup);
        bool by_root = datagram_arrives(sender, OUTSIDE4, PORT, receiver);
        bool by_other = datagram_arrives(insider, OUTSIDE4, PORT, receiver);
        close(sender);
        close(insider);
        close(receiver);
        rmdir(scope);
        rmdir(session);
        assert_false(by_root);
        assert_false(by_other);

        o->cgroup.level = 32;
        assert_int_equal(second_lock_update(o->lock, &o->spec, NULL), -ERANGE);
}

/* Services=: held whatever it runs as, also where everybody else of that uid is let go. */
static void test_units(void **state)
{
        struct order *o = order_of(state);
        struct second_lock_cgroup unit;
        char path[300];
        bool plain, everyone, excepted, inside;
        int receiver, insider, root;

        snprintf(path, sizeof(path), "%s/session", lab.cgroup);
        assert_int_equal(mkdir(path, 0755), 0);
        unit = (struct second_lock_cgroup){.id = cgroup_id(path), .level = 1};
        o->spec.units = &unit;
        o->spec.n_units = 1;
        idset_append(&o->subjects.except_uids, OTHER, OTHER);
        engage(o);
        receiver = serve(0, lab.world, OUTSIDE4, PORT, SOCK_DGRAM);
        join_cgroup(path);
        insider = socket_of(OTHER, AF_INET, SOCK_DGRAM);
        root = socket_of(0, AF_INET, SOCK_DGRAM);
        join_cgroup(lab.cgroup);
        plain = datagram_arrives(root, OUTSIDE4, PORT, receiver);
        excepted = datagram_arrives(insider, OUTSIDE4, PORT, receiver);
        o->subjects.everyone = true;
        engage(o);
        everyone = datagram_arrives(root, OUTSIDE4, PORT, receiver);
        assert_passes(0, OUTSIDE4, PORT);
        assert_passes(OTHER, OUTSIDE4, PORT);
        o->spec.n_units = 0; /* stopped, say */
        engage(o);
        inside = datagram_arrives(root, OUTSIDE4, PORT, receiver);
        close(insider);
        close(root);
        close(receiver);
        rmdir(path);
        assert_false(plain);
        assert_false(excepted);
        assert_false(everyone);
        assert_true(inside);
}

static void test_dns_services_and_doors(void **state)
{
        struct order *o = order_of(state);

        allow(o, OUTSIDE4 ":443/tcp");
        allow(o, "192.0.2.0/24:8000-8010/udp");
        allow(o, "192.0.0.0/16:9000/udp");
        allow(o, "[" OUTSIDE6 "]:443");
        allow(o, "[" INSIDE6 "]:853/tcp");
        engage(o);
        assert_true(arrives_of(SUBJECT, SUBJECT, SOCK_STREAM, OUTSIDE4, 443));
        assert_false(arrives_of(SUBJECT, SUBJECT, SOCK_DGRAM, OUTSIDE4, 443));
        assert_false(arrives_of(SUBJECT, SUBJECT, SOCK_STREAM, OUTSIDE4, 444));
        assert_true(arrives_of(SUBJECT, SUBJECT, SOCK_DGRAM, OUTSIDE4, 8000));
        assert_true(arrives_of(SUBJECT, SUBJECT, SOCK_DGRAM, OUTSIDE4, 8010));
        assert_false(arrives_of(SUBJECT, SUBJECT, SOCK_DGRAM, OUTSIDE4, 8011));
        assert_true(arrives_of(SUBJECT, SUBJECT, SOCK_DGRAM, OUTSIDE4, 9000)); /* two networks further out */
        assert_passes(SUBJECT, OUTSIDE6, 443);

        assert_refused(SUBJECT, INSIDE4, 53);
        assert_refused(SUBJECT, INSIDE6, 5353);
        assert_refused(SUBJECT, INSIDE4, 853);
        assert_true(
                arrives_of(SUBJECT, SUBJECT, SOCK_STREAM, INSIDE6, 853)); /* named, so it wins over DNS= */
        assert_refused(SUBJECT, "127.0.0.53", 53);
        assert_refused(SUBJECT, "127.0.0.1", 3128);
        assert_refused(SUBJECT, "::1", 3128);
        assert_refused(SUBJECT, HOST_INSIDE4, 3128);
        assert_passes(SUBJECT, INSIDE4, 3128);
        assert_passes(OTHER, "127.0.0.53", 53);

        o->destinations.dns = DNS_ALLOW;
        assert_int_equal(second_lock_update(o->lock, &o->spec, NULL), 0);
        assert_passes(SUBJECT, INSIDE4, 53);
        assert_passes(SUBJECT, "127.0.0.53", 53);
        assert_refused(SUBJECT, OUTSIDE4, 53);

        assert_int_equal(destinations_set_dns(&o->destinations, OUTSIDE4, NULL), 0);
        assert_int_equal(second_lock_update(o->lock, &o->spec, NULL), 0);
        assert_passes(SUBJECT, OUTSIDE4, 53);
        assert_refused(SUBJECT, OUTSIDE4, 853);
        assert_refused(SUBJECT, INSIDE4, 53);
        assert_refused(SUBJECT, OUTSIDE6, 53);

        /* The relay's port passes where the relay is, also out of LoopbackDeny=; port 53 there does not. */
        o->spec.relay_port = 3128;
        assert_int_equal(second_lock_update(o->lock, &o->spec, NULL), 0);
        assert_passes(SUBJECT, "127.0.0.1", 3128);
        assert_passes(SUBJECT, "::1", 3128);
        assert_true(arrives_of(SUBJECT, SUBJECT, SOCK_STREAM, "127.0.0.1", 3128));
        assert_refused(SUBJECT, "127.0.0.2", 3128);
        assert_refused(SUBJECT, HOST_INSIDE4, 3128);
        assert_refused(SUBJECT, "127.0.0.1", 53);
        assert_refused(SUBJECT, "::1", 53);
}

/* With a client in the world, that connects to a SERVER here: does an answer to its SYN come? */
static bool is_answered(const char *server, uint16_t port)
{
        struct address a = address_of(server, port);
        int control_listener = serve(0, lab.host, server, (uint16_t)(port + 1), SOCK_STREAM), client, control;
        const struct linger abruptly = {.l_onoff = 1};
        bool answered;

        assert_int_equal(setns(lab.world, CLONE_NEWNET), 0);
        client = socket_of(0, a.s.ss_family, SOCK_STREAM);
        control = socket_of(0, a.s.ss_family, SOCK_STREAM);
        assert_int_equal(setns(lab.host, CLONE_NEWNET), 0);
        start_connecting(client, server, port);
        start_connecting(control, server, (uint16_t)(port + 1));
        assert_true(ready(control, POLLOUT, PATIENCE_MS));
        answered = is_established(client);
        /* By a reset: an acknowledgement of a FIN, under way when the lock comes on, would be counted. */
        (void)setsockopt(client, SOL_SOCKET, SO_LINGER, &abruptly, sizeof(abruptly));
        close(client);
        close(control);
        close(control_listener);
        return answered;
}

static void check_listener(struct order *o, const char *outside, const char *inside)
{
        int by_outside = serve(SUBJECT, lab.host, outside, PORT, SOCK_STREAM);
        int by_inside = serve(SUBJECT, lab.host, inside, PORT, SOCK_STREAM);
        int others = serve(OTHER, lab.host, outside, PORT + 10, SOCK_STREAM);
        struct second_lock_refused refused;

        assert_true(is_answered(outside, PORT));
        engage(o);
        assert_false(is_answered(outside, PORT));
        assert_true(is_answered(inside, PORT));
        assert_true(is_answered(outside, PORT + 10));
        assert_int_equal(second_lock_read_refused(o->lock, o->spec.name, &refused), 0);
        assert_true(refused.received_packets >= 1);
        assert_int_equal(refused.sent_packets, 0);
        disengage(o);
        assert_true(is_answered(outside, PORT));
        close(by_outside);
        close(by_inside);
        close(others);
}

static void test_listener_does_not_answer(void **state)
{
        struct order *o = order_of(state);

        check_listener(o, HOST_OUTSIDE4, HOST_INSIDE4);
        check_listener(o, HOST_OUTSIDE6, HOST_INSIDE6);
}

/* Then the answer has no socket, and only the SYN can be refused. */
static void test_listener_does_not_answer_with_cookies(void **state)
{
        struct order *o = order_of(state);

        write_file("/proc/sys/net/ipv4/tcp_syncookies", "2");
        check_listener(o, HOST_OUTSIDE4, HOST_INSIDE4);
        check_listener(o, HOST_OUTSIDE6, HOST_INSIDE6);
        write_file("/proc/sys/net/ipv4/tcp_syncookies", "1");
}

/* A connection from the world to LISTENER, complete for both kernels, but not accepted. */
static int connect_from_world(const char *server, uint16_t port)
{
        int client;

        assert_int_equal(setns(lab.world, CLONE_NEWNET), 0);
        client = socket_of(0, address_of(server, port).s.ss_family, SOCK_STREAM);
        assert_int_equal(setns(lab.host, CLONE_NEWNET), 0);
        start_connecting(client, server, port);
        assert_true(ready(client, POLLOUT, PATIENCE_MS) && is_established(client));
        return client;
}

/* Does what CLIENT in the world sends come as far as SERVED? What CONTROL sends behind it does. */
static bool is_received(int client, int served, int control, int control_served)
{
        char buffer[16];

        while (recv(control_served, buffer, sizeof(buffer), 0) > 0)
                ;
        assert_int_equal(send(client, "data", 4, 0), 4);
        assert_int_equal(send(control, "data", 4, 0), 4);
        assert_true(ready(control_served, POLLIN, PATIENCE_MS));
        return recv(served, buffer, sizeof(buffer), 0) > 0;
}

static void test_connections_there_before(void **state)
{
        struct order *o = order_of(state);
        int listener = serve(SUBJECT, lab.host, HOST_OUTSIDE4, PORT, SOCK_STREAM);
        int others = serve(OTHER, lab.host, HOST_OUTSIDE4, PORT + 1, SOCK_STREAM);
        int client = connect_from_world(HOST_OUTSIDE4, PORT),
            waiting = connect_from_world(HOST_OUTSIDE4, PORT);
        int control = connect_from_world(HOST_OUTSIDE4, PORT + 1);
        int served = accept_of(SUBJECT, listener), control_served = accept_of(OTHER, others), late;
        char buffer[16];

        assert_true(is_received(client, served, control, control_served));
        engage(o);
        assert_false(is_received(client, served, control, control_served));
        /* The same for one that nobody has accepted until now: it is the listener's. */
        assert_int_equal(send(waiting, "data", 4, 0), 4);
        assert_false(is_received(client, served, control, control_served));
        late = accept_of(SUBJECT, listener);
        assert_int_equal(recv(late, buffer, sizeof(buffer), 0), -1);

        assert_int_equal(send(served, "out", 3, 0), 3);
        assert_int_equal(send(late, "out", 3, 0), 3);
        assert_int_equal(send(control_served, "control", 7, 0), 7);
        assert_true(ready(control, POLLIN, PATIENCE_MS));
        assert_int_equal(recv(client, buffer, sizeof(buffer), 0), -1);
        assert_int_equal(recv(waiting, buffer, sizeof(buffer), 0), -1);
        for (size_t i = 0; i < 8; i++)
                close((int[]){listener, others, client, waiting, control, served, control_served, late}[i]);
}

/* Fills what SENDER can queue, and gives it up. Returns how much that was. */
static size_t fill_and_abandon(int sender)
{
        static char block[65536];
        size_t sent = 0;
        ssize_t n;

        for (;;) {
                n = send(sender, block, sizeof(block), 0);
                if (n > 0)
                        sent += (size_t)n;
                else if (!ready(sender, POLLOUT, 50))
                        break;
        }
        close(sender);
        return sent;
}

static size_t read_all(int fd, int quiet_ms)
{
        static char block[65536];
        size_t got = 0;
        ssize_t n;

        while (ready(fd, POLLIN, quiet_ms) && (n = recv(fd, block, sizeof(block), 0)) > 0)
                got += (size_t)n;
        return got;
}

/* 1: what an orphan had queued arrives after all. */
static bool orphan_delivers(struct order *o, bool locked)
{
        int listener = serve(0, lab.world, OUTSIDE4, PORT, SOCK_STREAM),
            sender = socket_of(SUBJECT, AF_INET, SOCK_STREAM);
        int small = 65536, receiver;
        size_t sent, got;

        setsockopt(listener, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
        start_connecting(sender, OUTSIDE4, PORT);
        receiver = accept_soon(listener);
        sent = fill_and_abandon(sender);
        if (locked)
                engage(o);
        got = read_all(receiver, 1000);
        close(receiver);
        close(listener);
        return got == sent;
}

static void test_orphan_sends_nothing_more(void **state)
{
        struct order *o = order_of(state);

        assert_true(orphan_delivers(o, false));
        assert_false(orphan_delivers(o, true));
}

/* So that the peer of a severed connection learns of it. */
static void test_reset_goes_out(void **state)
{
        struct order *o = order_of(state);
        int listener = serve(0, lab.world, OUTSIDE4, PORT, SOCK_STREAM),
            client = socket_of(SUBJECT, AF_INET, SOCK_STREAM);
        struct linger at_once = {.l_onoff = 1};
        char buffer[16];
        int peer;

        start_connecting(client, OUTSIDE4, PORT);
        peer = accept_soon(listener);
        engage(o);
        setsockopt(client, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
        close(client);
        assert_true(ready(peer, POLLIN, PATIENCE_MS));
        assert_int_equal(recv(peer, buffer, sizeof(buffer), 0), -1);
        assert_int_equal(errno, ECONNRESET);
        close(peer);
        close(listener);
}

/* A namespace whose owner is the subject: there the kernel's helper calls the subject's uid 0. */
static void test_network_namespace_of_a_subject(void **state)
{
        struct order *o = order_of(state);
        int theirs, receiver = serve(0, lab.world, "0.0.0.0", PORT, SOCK_DGRAM), sender, control;
        struct address outside = address_of("198.51.100.2", PORT);
        pid_t keeper = keep_namespace(SUBJECT, &theirs);
        char buffer[16] = {};

        /* A wire from there to the world, as a setuid helper would lay it. */
        assert_int_equal(setns(lab.world, CLONE_NEWNET), 0);
        wire("x0", keeper);
        run("ip addr add 198.51.100.2/24 dev x0");
        assert_int_equal(setns(theirs, CLONE_NEWNET), 0);
        run("ip link set w up && ip addr add 198.51.100.1/24 dev w");
        sender = socket_of(SUBJECT, AF_INET, SOCK_DGRAM);
        control = socket_of(OTHER, AF_INET, SOCK_DGRAM);
        assert_int_equal(setns(lab.host, CLONE_NEWNET), 0);

        for (int locked = 0; locked < 2; locked++) {
                if (locked)
                        engage(o);
                sendto(sender, "sent", 4, 0, (struct sockaddr *)&outside.s, outside.length);
                assert_int_equal(
                        sendto(control, "control", 7, 0, (struct sockaddr *)&outside.s, outside.length), 7);
                assert_true(ready(receiver, POLLIN, PATIENCE_MS));
                assert_true(recv(receiver, buffer, sizeof(buffer), 0) > 0);
                assert_int_equal(buffer[0], locked ? 'c' : 's');
                if (!locked)
                        assert_true(ready(receiver, POLLIN, PATIENCE_MS) &&
                                    recv(receiver, buffer, sizeof(buffer), 0) > 0);
        }
        end_process(keeper);
        close(theirs);
        close(sender);
        close(control);
        close(receiver);
}

#ifndef NAME
#define NAME "second-lock"
#endif
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
        const struct CMUnitTest tests[] = {
                TEST(test_subject_reaches_inside_only),
                TEST(test_ranges_and_exceptions),
                TEST(test_groups),
                TEST(test_many_ids),
                TEST(test_steps_and_pages),
                TEST(test_everyone),
                TEST(test_control_groups),
                TEST(test_units),
                TEST(test_dns_services_and_doors),
                TEST(test_listener_does_not_answer),
                TEST(test_listener_does_not_answer_with_cookies),
                TEST(test_connections_there_before),
                TEST(test_orphan_sends_nothing_more),
                TEST(test_reset_goes_out),
                TEST(test_network_namespace_of_a_subject),
        };

        return cmocka_run_group_tests_name(NAME, tests, lab_make, lab_end);
}
