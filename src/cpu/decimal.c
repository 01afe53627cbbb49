/* SPDX-License-Identifier: MIT */
#include "cpu/decimal.h"

#include "cpu/arithmetic.h"

static struct decimal with_al(struct decimal in, unsigned al, uint32_t flags)
{
	uint16_t ax = (uint16_t)((in.ax & 0xff00) | (al & 0xff));

	return (struct decimal){ax, flags | flags_of_result(al & 0xff, 1)};
}

static bool low_digit_needs(struct decimal in)
{
	return (in.ax & 15) > 9 || (in.flags & FLAG_AF);
}

static bool high_digit_needs(struct decimal in)
{
	return (in.ax & 0xff) > 0x99 || (in.flags & FLAG_CF);
}

struct decimal decimal_daa(struct decimal in)
{
	unsigned al = in.ax & 0xff;
	uint32_t flags = 0;

	if (low_digit_needs(in)) {
		al += 6;
		flags |= FLAG_AF;
	}
	if (high_digit_needs(in)) {
		al += 0x60;
		flags |= FLAG_CF;
	}
	return with_al(in, al, flags);
}

/* The borrow of the low digit counts as well: AL below 6 with AF. */
struct decimal decimal_das(struct decimal in)
{
	unsigned al = in.ax & 0xff;
	uint32_t flags = 0;

	if (low_digit_needs(in)) {
		if (al < 6)
			flags |= FLAG_CF;
		al -= 6;
		flags |= FLAG_AF;
	}
	if (high_digit_needs(in)) {
		al -= 0x60;
		flags |= FLAG_CF;
	}
	return with_al(in, al, flags);
}

static struct decimal ascii_adjust(struct decimal in, uint16_t adjustment)
{
	bool needed = low_digit_needs(in);
	uint16_t ax = needed ? (uint16_t)(in.ax + adjustment) : in.ax;

	return (struct decimal){ax & 0xff0f, needed ? FLAG_AF | FLAG_CF : 0};
}

struct decimal decimal_aaa(struct decimal in)
{
	return ascii_adjust(in, 0x106);
}

struct decimal decimal_aas(struct decimal in)
{
	return ascii_adjust(in, (uint16_t)-0x106);
}

struct decimal decimal_aam(struct decimal in, uint8_t base)
{
	uint8_t al = (uint8_t)in.ax;

	in.ax = (uint16_t)((al / base) << 8);
	return with_al(in, al % base, 0);
}

struct decimal decimal_aad(struct decimal in, uint8_t base)
{
	unsigned al = (in.ax & 0xffu) + (unsigned)(in.ax >> 8) * base;

	in.ax = 0;
	return with_al(in, al, 0);
}
