// SPDX-License-Identifier: GPL-2.0-or-later
/* Says again and again, as whoever runs it, that it is there: sender PERIOD ADDRESS…
 *
 * Every PERIOD microseconds a datagram to port 4242 of each ADDRESS, each from a socket of its own, from the
 * first moment on and for ever: "UID NUMBER". Where that fails (no device yet, refused) it goes on all the
 * same. */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define PORT 4242

static void send_to(const char *address, const char *text)
{
        struct sockaddr_in to4 = {.sin_family = AF_INET, .sin_port = htons(PORT)};
        struct sockaddr_in6 to6 = {.sin6_family = AF_INET6, .sin6_port = htons(PORT)};
        int family = strchr(address, ':') ? AF_INET6 : AF_INET,
            s = socket(family, SOCK_DGRAM | SOCK_CLOEXEC, 0);

        if (s < 0)
                return;
        if (family == AF_INET && inet_pton(family, address, &to4.sin_addr) == 1)
                (void)sendto(s, text, strlen(text), 0, (const struct sockaddr *)&to4, sizeof(to4));
        else if (family == AF_INET6 && inet_pton(family, address, &to6.sin6_addr) == 1)
                (void)sendto(s, text, strlen(text), 0, (const struct sockaddr *)&to6, sizeof(to6));
        close(s);
}

int main(int argc, char **argv)
{
        if (argc < 3)
                return 2;
        for (unsigned long number = 0;; number++) {
                char text[64];

                (void)snprintf(text, sizeof(text), "%u %lu", (unsigned)getuid(), number);
                for (int i = 2; i < argc; i++)
                        send_to(argv[i], text);
                (void)usleep((useconds_t)strtoul(argv[1], NULL, 10));
        }
}
