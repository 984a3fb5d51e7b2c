/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tables.h"
#include <ctype.h>
#include <string.h>

#define HELP_COLUMN 24
#define HELP_WIDTH 80

/* TEXT from COLUMN on, which has been reached, broken at spaces. */
static void write_wrapped(FILE *f, const char *text, int column)
{
        int at = column;

        while (*text) {
                int word = (int)strcspn(text, " ");

                if (at > column && at + 1 + word > HELP_WIDTH) {
                        fprintf(f, "\n%*s", column, "");
                        at = column;
                } else if (at > column) {
                        fputc(' ', f);
                        at++;
                }
                fprintf(f, "%.*s", word, text);
                at += word;
                text += word + (text[word] == ' ');
        }
        fputc('\n', f);
}

static void write_option(FILE *f, const struct option_spec *o)
{
        int used = 0;

        used += o->letter ? fprintf(f, "  -%c, --%s", o->letter, o->name) : fprintf(f, "      --%s", o->name);
        if (o->argument)
                used += fprintf(f, " %s", o->argument);
        if (used > HELP_COLUMN - 1) {
                fputc('\n', f);
                used = 0;
        }
        fprintf(f, "%*s", HELP_COLUMN - used, "");
        write_wrapped(f, o->help, HELP_COLUMN);
}

static void write_options(FILE *f, uint64_t which)
{
        for (size_t i = 0; i < _OPTION_MAX; i++)
                if ((which & OPTION_BIT(i)) && !options[i].internal)
                        write_option(f, &options[i]);
}

void help_write(FILE *f)
{
        fputs("Usage: lockdownctl VERB [ARGUMENT …] [OPTION …]\n\n"
              "Takes groups of people off the internet on this host, and lets them back on.\n\nVerbs:\n",
              f);
        for (size_t i = 0; i < n_verbs; i++)
                if (!verbs[i].internal)
                        fprintf(f, "  %-10s %s\n", verbs[i].name, verbs[i].summary);
        fputs("\nOptions with every verb:\n", f);
        write_options(f, OPTIONS_EVERYWHERE);
        fputs("\nFirst steps:\n"
              "  lockdownctl profiles\n"
              "  lockdownctl order staff --for 8h --reason \"intrusion\"\n"
              "  lockdownctl status\n"
              "  lockdownctl lift staff\n"
              "\n",
              f);
        write_wrapped(
                f,
                "Exit status: 0 done, 1 the daemon could not do it, 2 wrong usage, 3 no lockdown in force "
                "(status, verify), 4 not permitted, 5 the daemon cannot be reached or does not answer.",
                0);
        fputs("\nMore: lockdownctl VERB --help, and lockdownctl(1).\n", f);
}

void help_write_verb(FILE *f, const struct verb *v)
{
        const char *word = "Usage:";

        for (size_t i = 0; i < ELEMENTSOF(v->synopsis) && v->synopsis[i]; i++) {
                fprintf(f, "%s lockdownctl %s\n", word, v->synopsis[i]);
                word = "      ";
        }
        fprintf(f, "\n%c%s.\n", toupper((unsigned char)v->summary[0]), v->summary + 1);
        if (v->description)
                write_wrapped(f, v->description, 0);
        if (v->options & ~OPTION_BIT(OPTION_FROM_UNIT)) {
                fputs("\nOptions:\n", f);
                write_options(f, v->options);
        }
        fputs("\nOptions with every verb:\n", f);
        write_options(f, OPTIONS_EVERYWHERE);
}
