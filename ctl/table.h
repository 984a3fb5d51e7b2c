/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LOCKDOWN_CTL_TABLE_H
#define LOCKDOWN_CTL_TABLE_H

/* Tables of JSON objects, one a line, through libsmartcols. */

#include "text.h"

/* Writes the cell of ROW: usually its member KEY. */
typedef void (*cell_writer_t)(FILE *f, const json_t *row, const char *key);

struct column {
        const char *title;
        cell_writer_t write;
        const char *key;
        double width; /* hint: a share of the line below 1, or columns; 0: none */
        int flags;    /* SCOLS_FL_… */
};

/* 0 or -errno. */
int table_write(FILE *f, const struct column *columns, size_t n, const json_t *rows, const struct style *s);

/* Cells for members of the usual types; "-" where there is none. */
void cell_text(FILE *f, const json_t *row, const char *key);
void cell_number(FILE *f, const json_t *row, const char *key);
void cell_time(FILE *f, const json_t *row, const char *key);
void cell_span(FILE *f, const json_t *row, const char *key);
void cell_list(FILE *f, const json_t *row, const char *key);
void cell_caller(FILE *f, const json_t *row, const char *key);

#endif
