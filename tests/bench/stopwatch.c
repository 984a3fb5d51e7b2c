// SPDX-License-Identifier: GPL-2.0-or-later
/* Runs programs and says how long each took, from exec to exit. A line of standard input is a command (words
 * with tabs between them); a line of standard output answers it: exit status, nanoseconds, and the wall clock
 * (ns) at its exec. The child comes by vfork(), so that the size of whoever measures is not measured. */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
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
                uint64_t wall, begin;
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
                if (pid < 0 || waitpid(pid, &status, 0) < 0) {
                        perror("stopwatch");
                        return 1;
                }
                printf("%d %llu %llu\n", WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status),
                       (unsigned long long)(now(CLOCK_MONOTONIC) - begin), (unsigned long long)wall);
                fflush(stdout);
        }
        free(line);
        return 0;
}
