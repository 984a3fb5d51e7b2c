/* SPDX-License-Identifier: GPL-2.0-or-later */

#include "sever-internal.h"
#include <errno.h>
#include <ifaddrs.h>
#include <netinet/in.h>
#include <string.h>

static const uint8_t mapped_prefix[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

static void to_mapped(int family, const void *addr, uint8_t ret[16])
{
        if (family == AF_INET6) {
                memcpy(ret, addr, 16);
        } else {
                memcpy(ret, mapped_prefix, sizeof(mapped_prefix));
                memcpy(ret + sizeof(mapped_prefix), addr, 4);
        }
}

static int compare(const void *a, const void *b)
{
        return memcmp(a, b, 16);
}

static const void *address_of(const struct sockaddr *sa)
{
        if (sa && sa->sa_family == AF_INET)
                return &((const struct sockaddr_in *)(const void *)sa)->sin_addr;
        if (sa && sa->sa_family == AF_INET6)
                return &((const struct sockaddr_in6 *)(const void *)sa)->sin6_addr;
        return NULL;
}

int own_addresses_read(struct own_addresses *ret)
{
        struct own_addresses own = {0};
        struct ifaddrs *list;
        size_t n = 0;

        if (getifaddrs(&list) < 0)
                return -errno;
        for (const struct ifaddrs *i = list; i; i = i->ifa_next)
                n += address_of(i->ifa_addr) != NULL;
        own.items = calloc(n + 1, sizeof(*own.items));
        if (!own.items) {
                freeifaddrs(list);
                return -ENOMEM;
        }
        for (const struct ifaddrs *i = list; i; i = i->ifa_next)
                if (address_of(i->ifa_addr))
                        to_mapped(i->ifa_addr->sa_family, address_of(i->ifa_addr), own.items[own.n++]);
        freeifaddrs(list);
        qsort(own.items, own.n, sizeof(*own.items), compare);
        *ret = own;
        return 0;
}

bool own_addresses_contain(const struct own_addresses *own, int family, const uint8_t addr[16])
{
        uint8_t key[16];

        if (family == AF_INET ? addr[0] == 127 : memcmp(addr, &in6addr_loopback, 16) == 0)
                return true;
        to_mapped(family, addr, key);
        return bsearch(key, own->items, own->n, sizeof(*own->items), compare) != NULL;
}

void own_addresses_clear(struct own_addresses *own)
{
        free(own->items);
        *own = (struct own_addresses){0};
}
