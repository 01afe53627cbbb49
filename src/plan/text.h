/* SPDX-License-Identifier: MIT */
/* Names and numbers as files from anywhere have them. */
#ifndef NFOLD_PLAN_TEXT_H
#define NFOLD_PLAN_TEXT_H

#include <stdbool.h>
#include <stddef.h>

/* True if the bytes are UTF-8 (Unicode 15, table 3-7) without control characters. */
bool text_is_clean(const char *text, size_t length);

/*
 * A name as an estate may hold it: what is not UTF-8 is read as Windows-1252, control characters become '?', spaces
 * around it go. False: it is empty, or longer than size - 1 bytes.
 */
bool text_clean(const char *text, size_t length, char *clean, size_t size);

#endif
