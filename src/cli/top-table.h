/* SPDX-License-Identifier: MIT */
/* The tables of `nfold top`: what their columns are, and their rows in order. Nothing in here knows a terminal. */
#ifndef NFOLD_CLI_TOP_TABLE_H
#define NFOLD_CLI_TOP_TABLE_H

#include "monitor/monitor.h"
#include "monitor/terms.h"

#define TOP_COLUMNS_MAX 14
#define TOP_TEXT_MAX (MONITOR_TEXT_MAX + 1)

/* One line: a guest, or a part of it: a processor, disk or network. */
struct top_row {
	const struct monitor_guest *guest;
	unsigned part;
};

struct top_column {
	const char *head;
	int width; /* with a blank before it; the last column of a text takes what is left */
	int decimals;
	/* One of the three. Numbers are to the right and, sorted by, the largest is first. */
	double (*number)(const struct top_row *row);
	void (*text)(const struct top_row *row, char text[TOP_TEXT_MAX]);
	double (*term)(const struct top_row *row, enum monitor_term which);
	enum monitor_term which;
};

struct top_view {
	char key;
	const char *name;
	unsigned (*parts)(const struct monitor_guest *guest); /* rows of a guest; NULL: one */
	const char *none;				      /* said when there is no row */
	struct top_column column[TOP_COLUMNS_MAX];
	unsigned first_sort;
};

/* Ended by one without a name. */
extern const struct top_view top_views[];
unsigned top_view_columns(const struct top_view *view);

struct top_rows {
	struct top_row *row;
	unsigned count, room;
};

/* Rows of a view, sorted by a column; equal ones by name. False: out of memory. */
bool top_rows_fill(struct top_rows *rows, const struct top_view *view, unsigned sort, bool reverse,
		   const struct monitor *monitor);
void top_rows_free(struct top_rows *rows);

/* A line of at most `size` - 1 characters, without the blanks at its end. */
void top_format_head(const struct top_view *view, char *line, size_t size);
void top_format_row(const struct top_view *view, const struct top_row *row, char *line, size_t size);
/* Where a column's heading is in its line. */
void top_column_place(const struct top_view *view, unsigned column, int *start, int *length);

/* The line above: what the machine below does, and how many guests there are. */
void top_format_summary(const struct monitor *monitor, char *line, size_t size);

#endif
