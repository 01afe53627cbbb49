/* SPDX-License-Identifier: MIT */
/*
 * Host errors: returned and unwound, reported with what to do.
 *
 * A function that can fail takes a `struct error *` as its last parameter and returns false or NULL
 * after filling it. The text is one line, without a newline, for the person at the terminal: what is
 * wrong and what to do about it. Guest faults and our own bugs never travel this way.
 */
#ifndef NFOLD_BASE_ERROR_H
#define NFOLD_BASE_ERROR_H

#include <stdbool.h>

enum error_kind {
	ERROR_NONE,
	ERROR_INPUT, /* the user asked for something impossible */
	ERROR_HOST,  /* the host refused something: memory, files, sockets */
};

struct error {
	enum error_kind kind;
	char text[400];
};

/* Fills *error (which may be NULL) and returns false, so that callers can `return error_set(...)`. */
bool error_set(struct error *error, enum error_kind kind, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* As error_set with ERROR_HOST, and appends ": " and the text of errno. */
bool error_set_errno(struct error *error, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
