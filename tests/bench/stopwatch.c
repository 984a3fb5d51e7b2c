// SPDX-License-Identifier: GPL-2.0-or-later
/* Runs programs and says how long each took, from exec to exit. A line of standard input is a command (words
 * with tabs between them); a line of standard output answers it: exit status, nanoseconds, the wall clock
 * (ns) at its exec, and the processors' time (ns) it took. The child comes by vfork(), so that the size of
 * whoever measures is not measured. */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define WORDS_MAX 64

static uint64_t now(clockid_t clock)
{
        struct timespec t;

        clock_gettime(clock, &t);
        return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static uint64_t ns(const struct timeval *t)
{
        return ((uint64_t)t->tv_sec * 1000000 + (uint64_t)t->tv_usec) * 1000;
}

static void split(char *line, char *words[WORDS_MAX + 1])
{
        char *rest = NULL;
        size_t n = 0;

        for (char *w = strtok_r(line, "\t\n", &rest); w && n < WORDS_MAX; w = strtok_r(NULL, "\t\n", &rest))
                words[n++] = w;
        words[n] = NULL;
}

int main(int argc, char **argv)
{
        char *line = NULL, *words[WORDS_MAX + 1];
        size_t size = 0;
        int out;

        if (argc != 2) {
                fprintf(stderr, "usage: stopwatch FILE-FOR-WHAT-THE-PROGRAMS-SAY\n");
                return 2;
        }
        out = open(argv[1], O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0644);
        if (out < 0) {
                perror(argv[1]);
                return 1;
        }
        while (getline(&line, &size, stdin) > 0) {
                uint64_t wall, begin, elapsed;
                struct rusage usage = {0};
                int status = 0;
                pid_t pid;

                split(line, words);
                wall = now(CLOCK_REALTIME);
                begin = now(CLOCK_MONOTONIC);
                pid = vfork();
                if (pid == 0) {
                        dup2(out, STDOUT_FILENO);
                        dup2(out, STDERR_FILENO);
                        execv(words[0], words);
                        _exit(127);
                }
                if (pid < 0 || wait4(pid, &status, 0, &usage) < 0) {
                        perror("stopwatch");
                        return 1;
                }
                elapsed = now(CLOCK_MONOTONIC) - begin;
                printf("%d %llu %llu %llu\n",
                       WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status),
                       (unsigned long long)elapsed, (unsigned long long)wall,
                       (unsigned long long)(ns(&usage.ru_utime) + ns(&usage.ru_stime)));
                fflush(stdout);
        }
        free(line);
        return 0;
}
