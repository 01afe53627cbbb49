/* SPDX-License-Identifier: MIT */
/* Finds what differs between the engine's and the real CPU's result of one case, apart from what the manuals leave
 * open. */
#ifndef NFOLD_INSN_COMPARE_H
#define NFOLD_INSN_COMPARE_H

#include "case.h"
#include "state.h"

#define COMPARE_TEXT 4096

/* Differences as text, a line each. */
struct difference {
	unsigned count;
	size_t length;
	char text[COMPARE_TEXT];
};

void difference_add(struct difference *difference, const char *format, ...) __attribute__((format(printf, 2, 3)));

void compare_results(const struct insn_case *insn_case, const struct insn_result *expected,
		     const struct insn_result *got, struct difference *difference);

/* Makes bytes of the engine's memory that need not agree equal to the real CPU's. The views are by layout_offset; `got`
 * by page. */
void compare_memory_mask(const struct insn_case *insn_case, const struct insn_result *expected,
			 const uint8_t *expected_data, uint8_t *const *got_page, struct difference *difference);

/* Compares one page of memory. */
void compare_page(const struct insn_case *insn_case, unsigned page, const uint8_t *expected, const uint8_t *got,
		  struct difference *difference);

#endif
