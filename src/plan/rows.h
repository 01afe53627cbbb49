/* SPDX-License-Identifier: MIT */
/* Rows of a table with separators (RFC 4180), by libcsv: quoted fields, also over several lines. */
#ifndef NFOLD_PLAN_ROWS_H
#define NFOLD_PLAN_ROWS_H

#include "plan/input.h"

#define ROW_FIELDS_MAX (1u << 20)

struct rows;

/* The input must outlive it. */
struct rows *rows_make(struct input *input, char separator, struct error *error);
void rows_destroy(struct rows *rows); /* NULL: nothing is done */

/* The next row that is not empty. Its fields are valid until the next call. */
enum input_result rows_next(struct rows *rows, struct error *error);

/* True if the error that rows_next gave was the end of the file within a row. */
bool rows_cut(const struct rows *rows);

size_t rows_count(const struct rows *rows);  /* fields of the row */
uint64_t rows_line(const struct rows *rows); /* where it begins */
/* A field without the spaces around it, ended by a zero byte. */
const char *rows_field(const struct rows *rows, size_t index);
size_t rows_length(const struct rows *rows, size_t index);

/* Which of , ; and tab there are most of in a line, outside of quotes. */
char rows_guess_separator(const char *line, size_t length);

#endif
