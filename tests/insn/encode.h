/* SPDX-License-Identifier: MIT */
/* Writes instructions down from a recipe and the fields that are free. */
#ifndef NFOLD_INSN_ENCODE_H
#define NFOLD_INSN_ENCODE_H

#include "form.h"

/* The free fields. Register extension bits and vvvv as numbers, not inverted. */
struct encode_fields {
	uint8_t redundant[6]; /* prefixes put first: segments, 67, ignored F2 and F3, BND */
	uint8_t redundant_count;
	bool r, x, b, rex, short_vex; /* rex: write a REX prefix even if it says nothing; short_vex: C5 if possible */
	uint8_t vvvv;
	uint8_t evex_mask; /* EVEX.aaa */
	bool has_modrm;
	uint8_t modrm;
};

/* Returns the bytes written: everything up to and including the ModRM byte. At most 14 bytes. */
size_t encode_head(const struct recipe *recipe, bool mode64, uint8_t opcode, const struct encode_fields *fields,
		   uint8_t bytes[INSN_MAX_BYTES]);

#endif
