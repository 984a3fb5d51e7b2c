/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "output.h"
#include "cleanup.h"
#include "json-text.h"
#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>

static bool terminal_size(struct winsize *ret)
{
        return isatty(STDOUT_FILENO) && ioctl(STDOUT_FILENO, TIOCGWINSZ, ret) == 0;
}

static bool colour_wanted(void)
{
        const char *no = getenv("NO_COLOR"), *term = getenv("TERM");

        return isatty(STDOUT_FILENO) && !(no && *no) && term && strcmp(term, "dumb") != 0;
}

struct style output_style(const struct arguments *a, uint64_t now)
{
        struct winsize size = {0};

        return (struct style){.now = now,
                              .colour = colour_wanted(),
                              .verbose = a->verbose,
                              .width = terminal_size(&size) ? size.ws_col : 0,
                              .subject = a->positional[0]};
}

static bool fits_terminal(const char *text)
{
        struct winsize size = {0};
        size_t lines = 0, longest = 0;

        if (!terminal_size(&size) || size.ws_row == 0 || size.ws_col == 0)
                return true;
        while (*text) {
                size_t length = strcspn(text, "\n");

                lines++;
                if (length > longest)
                        longest = length;
                text += length + (text[length] == '\n');
        }
        return lines < size.ws_row && longest <= 2U * size.ws_col;
}

/* False: no pager could be had, and nothing was written. */
static bool show_in_pager(const char *text)
{
        const char *pager = getenv("PAGER") ?: "less";
        int status;
        FILE *f;

        if (!*pager || strcmp(pager, "cat") == 0)
                return false;
        /* A pager under sudo must not become a shell: "!" and "v" of less(1). */
        setenv("LESS", "FRSX", 0);
        setenv("LESSSECURE", "1", 1);
        f = popen(pager, "we"); /* NOLINT(cert-env33-c): the person's own choice of a program */
        if (!f)
                return false;
        fputs(text, f);
        status = pclose(f);
        return !(WIFEXITED(status) && WEXITSTATUS(status) == 127); /* the shell's "not found" */
}

static int flushed(void)
{
        if (fflush(stdout) == 0 && !ferror(stdout))
                return 0;
        return errno == EPIPE ? 0 : -(errno ?: EIO);
}

int output_show(const char *text, bool pager)
{
        if (pager && !fits_terminal(text) && show_in_pager(text))
                return 0;
        errno = 0;
        fputs(text, stdout);
        return flushed();
}

int output_json(const json_t *document)
{
        size_t layout = isatty(STDOUT_FILENO) ? JSON_INDENT(2) : JSON_COMPACT;
        _cleanup_free_ char *text = json_text(document, layout);

        if (!text)
                return -ENOMEM;
        errno = 0;
        put_safe_json(stdout, text);
        fputc('\n', stdout);
        return flushed();
}

int output_failure(const struct failure *f, bool json)
{
        const char *message = f->message ?: "out of memory";

        if (json) {
                _cleanup_free_ char *safe = utf8_valid(message) ? strdup(message) : safe_text(message);
                _cleanup_json_ json_t *document = json_pack("{s:s, s:s}", "error", f->name ?: ERROR_FAILED,
                                                            "message", safe ?: "out of memory");

                if (document && output_json(document) == 0)
                        return f->code;
        }
        fputs("lockdownctl: ", stderr);
        if (f->name && strcmp(f->name, ERROR_CONFIGURATION) == 0)
                put_safe_lines(stderr, message); /* a mistake a line */
        else
                put_safe(stderr, message);
        fputc('\n', stderr);
        return f->code;
}
