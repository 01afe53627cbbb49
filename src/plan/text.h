/* SPDX-License-Identifier: MIT */
/* Names and numbers as files from anywhere have them. */
#ifndef NFOLD_PLAN_TEXT_H
#define NFOLD_PLAN_TEXT_H

#include <stdbool.h>
#include <stddef.h>

/* True if the bytes are UTF-8 (Unicode 15, table 3-7) without control characters. */
bool text_is_clean(const char *text, size_t length);

#endif
