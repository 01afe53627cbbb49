/* SPDX-License-Identifier: MIT */
/* Makes one block of translated code. */
#ifndef NFOLD_TRANSLATE_TRANSLATE_H
#define NFOLD_TRANSLATE_TRANSLATE_H

#include "translate/block.h"

struct translate_request {
	uint32_t mode; /* MODE_* with the engine's bits */
	uint32_t mode_id;
	uint32_t jump_mode_id; /* the same without MODE_OWN_CHECKS: whose lines of the jump cache are used */
	const struct mode_key *key;
	uint64_t rip, linear;
	uint64_t gpa;	      /* of the first byte */
	uint64_t gpa2;	      /* of the next linear page, or NO_PAGE while it was not looked up */
	const uint8_t *bytes; /* from the first on */
	unsigned available;   /* to the end of the page, or of the first instruction's reach into the next */
};

enum translate_result {
	TRANSLATE_DONE,
	TRANSLATE_FULL,		     /* no room in the region in use: evict and try again */
	TRANSLATE_NEEDS_SECOND_PAGE, /* the first instruction goes on beyond the page */
};

/* The caller has parked the guest's vector state. The block is entered into all tables. A region without blocks has
 * room for any. */
enum translate_result translate_block(struct engine *engine, const struct translate_request *request,
				      struct block **result);

#endif
