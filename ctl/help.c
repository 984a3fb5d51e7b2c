/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tables.h"
#include <ctype.h>

#define HELP_COLUMN 24

static void write_option(FILE *f, const struct option_spec *o)
{
        int used = 0;

        used += o->letter ? fprintf(f, "  -%c, --%s", o->letter, o->name) : fprintf(f, "      --%s", o->name);
        if (o->argument)
                used += fprintf(f, " %s", o->argument);
        if (used > HELP_COLUMN - 1)
                fprintf(f, "\n%*s%s\n", HELP_COLUMN, "", o->help);
        else
                fprintf(f, "%*s%s\n", HELP_COLUMN - used, "", o->help);
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
              "Takes listed groups of people off the internet on this host, and gives it back.\n\nVerbs:\n",
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
              "\nExit status: 0 done, 1 the daemon could not do it, 2 wrong usage, 3 no lockdown in force "
              "(status),\n4 not permitted, 5 the daemon cannot be reached. lockdownctl VERB --help says "
              "more, "
              "and lockdownctl(1).\n",
              f);
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
                fprintf(f, "%s\n", v->description);
        if (v->options & ~OPTION_BIT(OPTION_FROM_UNIT)) {
                fputs("\nOptions:\n", f);
                write_options(f, v->options);
        }
        fputs("\nOptions with every verb:\n", f);
        write_options(f, OPTIONS_EVERYWHERE);
}
