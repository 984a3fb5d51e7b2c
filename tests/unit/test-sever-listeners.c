/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Who waits for others on this machine, as the real kernel tells it. */

#include "sever-lab.h"
#include <stddef.h>
#include <sys/un.h>

static const struct sever_socket *find_listener(const struct sever_socket *sockets, size_t n, uint16_t port)
{
        for (size_t i = 0; i < n; i++)
                if (sockets[i].sport == port)
                        return &sockets[i];
        return NULL;
}

static void assert_listens(uint8_t protocol, int fd, int family, uint32_t uid)
{
        _cleanup_free_ struct sever_socket *sockets = NULL;
        const struct sever_socket *found;
        size_t n = 0;

        assert_int_equal(sever_listeners(sever, protocol, &sockets, &n), 0);
        found = find_listener(sockets, n, port_of(fd));
        assert_non_null(found);
        assert_int_equal(found->family, family);
        assert_int_equal(found->protocol, protocol);
        assert_int_equal(found->uid, uid);
        assert_memory_equal(found->src, family == AF_INET ? "\x7f\0\0\1" : (const char *)&in6addr_loopback,
                            family == AF_INET ? 4 : 16);
}

static void assert_silent(uint8_t protocol, int fd)
{
        _cleanup_free_ struct sever_socket *sockets = NULL;
        size_t n = 0;

        assert_int_equal(sever_listeners(sever, protocol, &sockets, &n), 0);
        assert_null(find_listener(sockets, n, port_of(fd)));
}

static void test_listeners(void **state)
{
        static const struct {
                const char *address;
                int family, type;
                uint8_t protocol;
        } table[] = {
                {"127.0.0.1", AF_INET, SOCK_STREAM, IPPROTO_TCP},
                {"::1", AF_INET6, SOCK_STREAM, IPPROTO_TCP},
                {"127.0.0.1", AF_INET, SOCK_DGRAM, IPPROTO_UDP},
                {"::1", AF_INET6, SOCK_DGRAM, IPPROTO_UDP},
        };

        (void)state;
        NEEDS_KERNEL();
        for (size_t i = 0; i < ELEMENTSOF(table); i++) {
                int server = socket_as(ALICE, table[i].family, table[i].type, 0);
                struct sockaddr_storage a;
                socklen_t size = make_address(table[i].address, 0, &a);
                struct pair p;

                assert_int_equal(bind(server, (void *)&a, size), 0);
                if (table[i].type == SOCK_STREAM) {
                        assert_silent(table[i].protocol, server); /* bound, and nobody can connect */
                        assert_int_equal(listen(server, 4), 0);
                }
                assert_listens(table[i].protocol, server, table[i].family, ALICE);
                p = connect_as(BOB, server, table[i].address, table[i].type, 0);
                assert_silent(table[i].protocol, p.near); /* has a peer: asks, and is not asked */
                close_pair(&p);
                close(server);
        }
}

struct unix_found {
        const char *path;
        unsigned times;
        uint32_t uid;
        bool empty;
};

static int on_unix(void *userdata, const char *path, uint32_t uid)
{
        struct unix_found *f = userdata;

        f->empty |= path[0] == '\0';
        if (strcmp(path, f->path) == 0) {
                f->times++;
                f->uid = uid;
        }
        return 0;
}

static unsigned times_found(const char *path, uint32_t *ret_uid)
{
        struct unix_found f = {.path = path};

        assert_int_equal(sever_unix_listeners(sever, on_unix, &f), 0);
        assert_false(f.empty);
        *ret_uid = f.uid;
        return f.times;
}

static void test_unix_listeners(void **state)
{
        struct sockaddr_un address = {.sun_family = AF_UNIX},
                           abstract = {.sun_family = AF_UNIX, .sun_path = "\0x"};
        int fd, other = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        uint32_t uid = 0;

        (void)state;
        NEEDS_KERNEL();
        assert_int_equal(bind(other, (void *)&abstract, offsetof(struct sockaddr_un, sun_path) + 2), 0);
        assert_int_equal(listen(other, 1), 0);
        snprintf(address.sun_path, sizeof(address.sun_path), "/tmp/test-sever-%d", getpid());
        fd = socket_as(ALICE, AF_UNIX, SOCK_STREAM, 0);
        assert_int_equal(bind(fd, (void *)&address, sizeof(address)), 0);
        unlink(address.sun_path);
        assert_int_equal(times_found(address.sun_path, &uid), 0); /* bound, and nobody can connect */
        assert_int_equal(listen(fd, 1), 0);
        assert_int_equal(times_found(address.sun_path, &uid), 1);
        assert_int_equal(uid, ALICE);
        close(fd);
        close(other);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_listeners),
                cmocka_unit_test(test_unix_listeners),
        };

        return cmocka_run_group_tests_name("sever-listeners", tests, group_setup, group_teardown);
}
