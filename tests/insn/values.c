/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "case.h"
#include "cpu/cpu.h"

uint64_t value_integer(struct random *random)
{
	static const uint64_t boundary[] = {0,
					    1,
					    2,
					    ~UINT64_C(0),
					    0x7f,
					    0x80,
					    0xff,
					    0x7fff,
					    0x8000,
					    0xffff,
					    0x7fffffff,
					    0x80000000,
					    0xffffffff,
					    UINT64_C(0x7fffffffffffffff),
					    UINT64_C(0x8000000000000000)};
	uint64_t bits = random_next(random);
	switch (random_below(random, 8)) {
	case 0:
		return boundary[random_below(random, sizeof boundary / sizeof boundary[0])];
	case 1:
		return bits & 0xff;
	case 2:
		return (uint64_t)(int64_t)(int8_t)bits;
	case 3:
		return bits & 0xffffffff;
	case 4:
		return UINT64_C(1) << (bits & 63);
	default:
		return bits;
	}
}

static uint32_t value_float(struct random *random)
{
	static const uint32_t special[] = {0x00000000, 0x80000000, 0x3f800000, 0xbf800000, 0x7f800000, 0xff800000,
					   0x7fc00000, 0x7f800001, 0xffc12345, 0x00000001, 0x807fffff, 0x7f7fffff,
					   0x00800000, 0x4f000000, 0xcf000000, 0x5f000000, 0x3f000000, 0x40490fdb};
	if (random_percent(random, 40))
		return special[random_below(random, sizeof special / sizeof special[0])];
	/* Near 1, so that sums and products are neither infinite nor nothing. */
	if (random_percent(random, 60))
		return ((uint32_t)random_next(random) & 0x807fffff) | (uint32_t)(127 - 8 + random_below(random, 16))
									  << 23;
	return (uint32_t)random_next(random);
}

static uint64_t value_double(struct random *random)
{
	static const uint64_t special[] = {
	    0x0000000000000000, 0x8000000000000000, 0x3ff0000000000000, 0xbff0000000000000, 0x7ff0000000000000,
	    0xfff0000000000000, 0x7ff8000000000000, 0x7ff0000000000001, 0xfff8123456789abc, 0x0000000000000001,
	    0x800fffffffffffff, 0x7fefffffffffffff, 0x0010000000000000, 0x41e0000000000000, 0xc1e0000000000000,
	    0x43e0000000000000, 0x3fe0000000000000, 0x400921fb54442d18};
	if (random_percent(random, 40))
		return special[random_below(random, sizeof special / sizeof special[0])];
	if (random_percent(random, 60))
		return (random_next(random) & UINT64_C(0x800fffffffffffff)) |
		       (uint64_t)(1023 - 8 + random_below(random, 16)) << 52;
	return random_next(random);
}

static uint64_t value_lane(struct random *random, unsigned kind)
{
	switch (kind) {
	case 0:
		return value_float(random) | (uint64_t)value_float(random) << 32;
	case 1:
		return value_double(random);
	case 2:
		return value_integer(random);
	default:
		return random_next(random);
	}
}

void value_vector(struct random *random, uint8_t *to, size_t size)
{
	unsigned kind = random_below(random, 4);
	for (size_t at = 0; at < size; at += 8) {
		uint64_t lane = value_lane(random, kind);
		memcpy(to + at, &lane, size - at < 8 ? size - at : 8);
	}
}

void value_x87(struct random *random, uint8_t to[10])
{
	/* Significand, then sign and exponent: zero, one, infinity, quiet and signalling NaN, indefinite, denormal,
	 * pseudo-denormal, unnormal, pseudo-infinity, pseudo-NaN. */
	static const struct {
		uint64_t significand;
		uint16_t head;
	} special[] = {{0, 0},
		       {0, 0x8000},
		       {0x8000000000000000, 0x3fff},
		       {0x8000000000000000, 0xbfff},
		       {0x8000000000000000, 0x7fff},
		       {0x8000000000000000, 0xffff},
		       {0xc000000000000001, 0x7fff},
		       {0x8000000000000001, 0x7fff},
		       {0xc000000000000000, 0xffff},
		       {1, 0},
		       {0x8000000000000001, 0},
		       {0x4000000000000000, 0x3fff},
		       {0, 0x7fff},
		       {1, 0x7fff},
		       {0xc90fdaa22168c235, 0x4000}};
	uint64_t significand = random_next(random);
	uint16_t head = (uint16_t)random_next(random);
	unsigned choice = random_below(random, 10);
	if (choice < 3) {
		unsigned index = random_below(random, sizeof special / sizeof special[0]);
		significand = special[index].significand;
		head = special[index].head;
	} else if (choice < 9) {
		significand |= UINT64_C(0x8000000000000000);
		head = (uint16_t)((head & 0x8000) | (0x3fff - 20 + random_below(random, 90)));
	}
	memcpy(to, &significand, 8);
	memcpy(to + 8, &head, 2);
}

/* x87 control, status and tags, with the summary bits that belong to the flags. */
static void value_x87_control(struct random *random, uint8_t *image)
{
	uint16_t control = (uint16_t)(0x40 | (random_next(random) & 0x0f00) | 0x3f);
	uint16_t status = (uint16_t)(random_next(random) & 0x7f00);
	if (random_percent(random, 15))
		control &= (uint16_t)(0xffc0 | random_next(random));
	if (random_percent(random, 20))
		status |= random_next(random) & 0x7f;
	if ((status & ~control & 0x3f) != 0)
		status |= 0x8080;
	else
		status &= 0x7f7f;
	uint8_t tags = random_percent(random, 60) ? 0xff : (uint8_t)random_next(random);
	memcpy(image, &control, 2);
	memcpy(image + 2, &status, 2);
	image[4] = tags;
}

static uint32_t value_mxcsr(struct random *random)
{
	uint32_t mxcsr = 0x1f80;
	if (random_percent(random, 50))
		mxcsr |=
		    (uint32_t)random_next(random) & 0xe07f; /* rounding, flush to zero, denormals are zero, flags */
	if (random_percent(random, 15))
		mxcsr &= (uint32_t)random_next(random) | ~0x1f80u;
	return mxcsr;
}

static void value_legacy_area(struct random *random, uint8_t *image)
{
	value_x87_control(random, image);
	uint32_t mxcsr = value_mxcsr(random);
	memcpy(image + 24, &mxcsr, 4);
	for (unsigned i = 0; i < 8; i++)
		value_x87(random, image + 32 + 16 * i);
	for (unsigned i = 0; i < 16; i++)
		value_vector(random, image + 160 + 16 * i, 16);
}

void value_xsave_image(struct random *random, uint8_t *image, bool compact)
{
	memset(image, 0, STATE_XSAVE_SIZE);
	value_legacy_area(random, image);
	uint64_t components = random_percent(random, 60) ? 7 : random_next(random) & 7;
	uint64_t format = compact && random_percent(random, 50) ? UINT64_C(1) << 63 | components : 0;
	memcpy(image + STATE_XSAVE_HEADER, &components, 8);
	memcpy(image + STATE_XSAVE_HEADER + 8, &format, 8);
	value_vector(random, image + STATE_XSAVE_AVX, 256);
	if (random_percent(random, 8)) /* a reserved header bit: #GP (not the component bits, which depend on XCR0) */
		image[STATE_XSAVE_HEADER + 16 + random_below(random, 48)] = 1;
	if (random_percent(random, 5)) /* a reserved MXCSR bit */
		image[26] = 1;
}

static uint64_t value_flags(struct random *random)
{
	uint64_t flags = (random_next(random) & FLAGS_ARITHMETIC) | FLAG_FIXED | FLAG_IF;
	if (random_percent(random, 10))
		flags |= FLAG_DF;
	if (random_percent(random, 5))
		flags |= FLAG_AC;
	if (random_percent(random, 30))
		flags |= FLAG_ID;
	return flags;
}

static void value_segments(struct random *random, struct insn_setting setting, struct insn_state *state)
{
	static const uint16_t flat64[6] = {LAYOUT_DS, LAYOUT_CS64, LAYOUT_DS, LAYOUT_DS, 0, 0};
	static const uint16_t flat32[6] = {LAYOUT_DS, LAYOUT_CS32, LAYOUT_DS, LAYOUT_DS, LAYOUT_FS32, LAYOUT_GS32};
	if (setting.segmented) {
		segments_choose(random, setting.code == CODE_16, setting.stack16, state->selector);
	} else {
		memcpy(state->selector, setting.code == CODE_64 ? flat64 : flat32, sizeof flat64);
	}
	if (setting.code == CODE_64) {
		state->fs_base = LAYOUT_FS_BASE64;
		state->gs_base = LAYOUT_GS_BASE64;
	}
	if (setting.stack16)
		state->gpr[CPU_RSP] = (uint64_t)segment_stack_high[random_below(random, SEGMENT_STACK_HIGHS)] << 16 |
				      (state->gpr[CPU_RSP] & 0xffff);
}

void value_state(struct random *random, struct insn_setting setting, struct insn_state *state)
{
	bool mode64 = setting.code == CODE_64;
	memset(state, 0, sizeof *state);
	for (unsigned i = 0; i < 16; i++)
		state->gpr[i] = mode64 ? value_integer(random) : (uint32_t)value_integer(random);
	state->rflags = value_flags(random);
	value_legacy_area(random, state->xsave);
	state->xsave[STATE_XSAVE_HEADER] = 7;
	value_vector(random, state->xsave + STATE_XSAVE_AVX, 256);
	value_segments(random, setting, state);
}

/* ---- reading back ---- */

static void vector_initial(uint64_t in_use, struct state_vector *vector)
{
	if (!(in_use & 1)) {
		vector->fcw = 0x37f;
		vector->fsw = 0;
		vector->ftw = 0;
		memset(vector->st, 0, sizeof vector->st);
	}
	for (unsigned i = 0; i < 16; i++) {
		if (!(in_use & 2))
			memset(vector->ymm[i], 0, 16);
		if (!(in_use & 4))
			memset(vector->ymm[i] + 16, 0, 16);
	}
}

void state_vector_read(const uint8_t *xsave, struct state_vector *vector)
{
	memcpy(&vector->fcw, xsave, 2);
	memcpy(&vector->fsw, xsave + 2, 2);
	vector->ftw = xsave[4];
	memcpy(&vector->mxcsr, xsave + 24, 4);
	for (unsigned i = 0; i < 8; i++)
		memcpy(vector->st[i], xsave + 32 + 16 * i, 10);
	for (unsigned i = 0; i < 16; i++) {
		memcpy(vector->ymm[i], xsave + 160 + 16 * i, 16);
		memcpy(vector->ymm[i] + 16, xsave + STATE_XSAVE_AVX + 16 * i, 16);
	}
	vector_initial(xsave[STATE_XSAVE_HEADER], vector);
}
