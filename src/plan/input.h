/* SPDX-License-Identifier: MIT */
/*
 * A file of text as it comes: plain or gzip, UTF-8, UTF-16 with a byte order mark (PowerShell redirects write it) or
 * any other bytes; lines ended by LF or CR LF; a pipe too. Nothing longer than INPUT_LINE_MAX is a line.
 */
#ifndef NFOLD_PLAN_INPUT_H
#define NFOLD_PLAN_INPUT_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

#define INPUT_LINE_MAX (64u << 20)
#define INPUT_HEAD 4096u

struct input;

/* fd: of an open file that becomes the input's, or -1 to open `path`. */
struct input *input_open(const char *path, int fd, struct error *error);
/* Bytes from memory, which must outlive the input: for tests. */
struct input *input_from_bytes(const char *path, const void *bytes, size_t size, struct error *error);
void input_close(struct input *input); /* NULL: nothing is done */

const char *input_path(const struct input *input);
uint64_t input_line_number(const struct input *input); /* of the line read last, from 1 on */

/* The first bytes, at most INPUT_HEAD, without reading them. False: they cannot be read. */
bool input_head(struct input *input, const char **head, size_t *size, struct error *error);

enum input_result { INPUT_LINE, INPUT_END, INPUT_ERROR };

/* The next line, without its end, with a zero byte behind it; valid until the next call. */
enum input_result input_line(struct input *input, char **line, size_t *length, struct error *error);
/* True if the line read last had no end: the file stops within it. */
bool input_cut(const struct input *input);

/* The next bytes, some of them; INPUT_LINE means that there are. */
enum input_result input_bytes(struct input *input, const char **bytes, size_t *size, struct error *error);

#endif
