// SPDX-License-Identifier: GPL-2.0-or-later
/* Sends and receives 64-byte datagrams, as whoever runs it.
 *
 *   datagrams cost ADDRESS PORT      a number on standard input: so many are sent; answers the CPU time of
 * each, in ns datagrams tick ADDRESS PORT      one every 20 µs until it is killed; says "ready" first
 *   datagrams receive PORT           an empty line: answers how many have come, and the wall clock (ns) at
 * the last */
#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define LENGTH 64
#define PERIOD 20000

static uint64_t nanoseconds(const struct timespec *t)
{
        return (uint64_t)t->tv_sec * 1000000000 + (uint64_t)t->tv_nsec;
}

static uint64_t cpu_time(void)
{
        struct timespec t;

        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
        return nanoseconds(&t);
}

static int socket_to(const char *address, const char *port)
{
        struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(port))};
        int s = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

        if (s < 0 || inet_pton(AF_INET, address, &to.sin_addr) != 1 ||
            connect(s, (struct sockaddr *)&to, sizeof(to)) < 0) {
                perror(address);
                exit(1);
        }
        return s;
}

static int cost(int s)
{
        char data[LENGTH] = {0}, line[32];

        while (fgets(line, sizeof(line), stdin)) {
                unsigned long n = strtoul(line, NULL, 10), failed = 0;
                uint64_t begin = cpu_time();

                for (unsigned long i = 0; i < n; i++)
                        failed += send(s, data, sizeof(data), 0) != LENGTH;
                printf("%.1f %lu\n", (double)(cpu_time() - begin) / (double)n, failed);
                fflush(stdout);
        }
        return 0;
}

_Noreturn static void tick(int s)
{
        char data[LENGTH] = {0};
        struct timespec next;

        prctl(PR_SET_TIMERSLACK, 1, 0, 0, 0);
        (void)send(s, data, sizeof(data), 0); /* the neighbour is known from here on */
        printf("ready\n");
        fflush(stdout);
        clock_gettime(CLOCK_MONOTONIC, &next);
        for (;;) {
                (void)send(s, data, sizeof(data), 0);
                next.tv_nsec += PERIOD;
                if (next.tv_nsec >= 1000000000) {
                        next.tv_nsec -= 1000000000;
                        next.tv_sec++;
                }
                (void)clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &next, NULL);
        }
}

/* Takes what is there. The time is the kernel's, of the arrival: when this reads does not matter. */
static void drain(int s, uint64_t *count, uint64_t *last)
{
        char data[LENGTH], control[64];

        for (;;) {
                struct iovec v = {.iov_base = data, .iov_len = sizeof(data)};
                struct msghdr m = {.msg_iov = &v,
                                   .msg_iovlen = 1,
                                   .msg_control = control,
                                   .msg_controllen = sizeof(control)};
                struct cmsghdr *c;
                struct timespec t;

                if (recvmsg(s, &m, MSG_DONTWAIT) < 0)
                        return;
                (*count)++;
                c = CMSG_FIRSTHDR(&m);
                if (c && c->cmsg_type == SCM_TIMESTAMPNS) {
                        memcpy(&t, CMSG_DATA(c), sizeof(t));
                        *last = nanoseconds(&t);
                }
        }
}

static int receive(const char *port)
{
        struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(port))};
        int s = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), on = 1, size = 16 << 20;
        uint64_t count = 0, last = 0;

        if (s < 0 || bind(s, (struct sockaddr *)&at, sizeof(at)) < 0 ||
            setsockopt(s, SOL_SOCKET, SO_TIMESTAMPNS, &on, sizeof(on)) < 0 ||
            setsockopt(s, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size)) < 0) {
                perror(port);
                return 1;
        }
        for (;;) {
                struct pollfd p[] = {{.fd = STDIN_FILENO, .events = POLLIN}, {.fd = s, .events = POLLIN}};
                char c;

                if (poll(p, 2, -1) < 0)
                        return 1;
                drain(s, &count, &last);
                if (!p[0].revents)
                        continue;
                if (read(STDIN_FILENO, &c, 1) != 1)
                        return 0;
                printf("%llu %llu\n", (unsigned long long)count, (unsigned long long)last);
                fflush(stdout);
        }
}

int main(int argc, char **argv)
{
        if (argc == 4 && strcmp(argv[1], "cost") == 0)
                return cost(socket_to(argv[2], argv[3]));
        if (argc == 4 && strcmp(argv[1], "tick") == 0)
                tick(socket_to(argv[2], argv[3]));
        if (argc == 3 && strcmp(argv[1], "receive") == 0)
                return receive(argv[2]);
        fprintf(stderr, "usage: datagrams cost|tick ADDRESS PORT, datagrams receive PORT\n");
        return 2;
}
