/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "table.h"
#include "cleanup.h"
#include "timespan.h"
#include <errno.h>
#include <inttypes.h>
#include <libsmartcols.h>
#include <locale.h>
#include <stdio_ext.h>

DEFINE_CLEANUP(struct libscols_table *, scols_unref_table)

static int table_new(const struct column *columns, size_t n, const struct style *s,
                     struct libscols_table **ret)
{
        _cleanup_(scols_unref_tablep) struct libscols_table *t = scols_new_table();

        if (!t)
                return -ENOMEM;
        for (size_t i = 0; i < n; i++)
                if (!scols_table_new_column(t, columns[i].title, columns[i].width, columns[i].flags))
                        return -ENOMEM;
        /* Only a terminal has a width to keep to; a file or pipe gets everything. */
        scols_table_set_termforce(t, s->width > 0 ? SCOLS_TERMFORCE_ALWAYS : SCOLS_TERMFORCE_NEVER);
        if (s->width > 0)
                scols_table_set_termwidth(t, s->width);
        *ret = TAKE_PTR(t);
        return 0;
}

/* Where cells are written, one over the other: a stream for each would take longer than all else. */
struct scratch {
        char *text;
        size_t size;
        FILE *f;
};

static int scratch_open(struct scratch *s)
{
        s->f = open_memstream(&s->text, &s->size);
        if (!s->f)
                return -ENOMEM;
        (void)__fsetlocking(s->f, FSETLOCKING_BYCALLER);
        return 0;
}

static void scratch_close(struct scratch *s)
{
        if (s->f)
                (void)fclose(s->f);
        free(s->text);
}

static int add_cell(struct libscols_line *line, size_t i, const struct column *c, const json_t *row,
                    struct scratch *s)
{
        rewind(s->f);
        c->write(s->f, row, c->key);
        fputc('\0', s->f);
        return fflush(s->f) != 0 || scols_line_set_data(line, i, s->text) < 0 ? -ENOMEM : 0;
}

static int add_row(struct libscols_table *t, const struct column *columns, size_t n, const json_t *row,
                   struct scratch *s)
{
        struct libscols_line *line = scols_table_new_line(t, NULL);
        int r = line ? 0 : -ENOMEM;

        for (size_t i = 0; r == 0 && i < n; i++)
                r = add_cell(line, i, &columns[i], row, s);
        return r;
}

int table_write(FILE *f, const struct column *columns, size_t n, const json_t *rows, const struct style *s)
{
        _cleanup_(scols_unref_tablep) struct libscols_table *t = NULL;
        _cleanup_(scratch_close) struct scratch scratch = {0};
        json_t *row;
        size_t i;
        int r;

        /* For the width of characters: words and numbers stay as documented. Reading the locale takes a tenth
         * of what an order takes, and only tables need it. */
        setlocale(LC_CTYPE, "");
        r = table_new(columns, n, s, &t);
        if (r == 0)
                r = scratch_open(&scratch);
        if (r < 0)
                return r;
        json_array_foreach(rows, i, row)
        {
                r = add_row(t, columns, n, row, &scratch);
                if (r < 0)
                        return r;
        }
        scols_table_set_stream(t, f);
        return scols_print_table(t);
}

void cell_text(FILE *f, const json_t *row, const char *key)
{
        put_safe(f, field_text(row, key) ?: "-");
}

void cell_number(FILE *f, const json_t *row, const char *key)
{
        if (field_given(row, key))
                fprintf(f, "%" PRIu64, field_number(row, key));
        else
                fputc('-', f);
}

void cell_time(FILE *f, const json_t *row, const char *key)
{
        uint64_t usec = field_number(row, key);
        char when[64];

        fputs(usec > 0 ? timestamp_format(usec, when, sizeof(when)) : "-", f);
}

void cell_span(FILE *f, const json_t *row, const char *key)
{
        uint64_t usec = field_number(row, key);
        char span[64];

        fputs(usec > 0 ? timespan_format_exact(usec, span, sizeof(span)) : "-", f);
}

void cell_list(FILE *f, const json_t *row, const char *key)
{
        const json_t *list = field_array(row, key);

        if (json_array_size(list) == 0)
                fputc('-', f);
        put_list(f, list, " ");
}

void cell_caller(FILE *f, const json_t *row, const char *key)
{
        const json_t *caller = json_object_get(row, key);

        if (field_text(caller, "name"))
                put_safe(f, field_text(caller, "name"));
        else
                cell_number(f, caller, "uid");
}
