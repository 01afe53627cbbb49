/* SPDX-License-Identifier: MIT */
/* AES-128 in plain C with tables (FIPS 197), in counter mode. The tables are computed from the field GF(2^8). */

#include <string.h>

#include "bench.h"

#define ROUNDS 10
#define BLOCKS 1700000

static uint8_t box[256];
static uint32_t tables[4][256];
static uint32_t keys[4 * (ROUNDS + 1)];

static inline uint32_t turn(uint32_t value, int by)
{
	return by ? value >> by | value << (32 - by) : value;
}

static uint8_t doubled(uint8_t value)
{
	return (uint8_t)(value << 1 ^ (value & 0x80 ? 0x1b : 0));
}

/* 3 generates the field: walking its powers beside those of its inverse gives each value's inverse (section 5.1.1). */
static void make_tables(void)
{
	uint8_t power = 1, inverse = 1;

	do {
		uint8_t value;

		power ^= doubled(power);
		inverse ^= (uint8_t)(inverse << 1);
		inverse ^= (uint8_t)(inverse << 2);
		inverse ^= (uint8_t)(inverse << 4);
		inverse ^= inverse & 0x80 ? 0x09 : 0;
		value = inverse;
		for (int i = 1; i < 5; i++)
			value ^= (uint8_t)(inverse << i | inverse >> (8 - i));
		box[power] = value ^ 0x63;
	} while (power != 1);
	box[0] = 0x63;
	for (int i = 0; i < 256; i++) {
		uint32_t twice = doubled(box[i]), once = box[i];

		for (int column = 0; column < 4; column++)
			tables[column][i] = turn(twice << 24 | once << 16 | once << 8 | (twice ^ once), 8 * column);
	}
}

static uint32_t substitute(uint32_t word)
{
	return (uint32_t)box[word >> 24] << 24 | (uint32_t)box[word >> 16 & 255] << 16 |
	       (uint32_t)box[word >> 8 & 255] << 8 | box[word & 255];
}

static void expand_key(const uint32_t *key)
{
	uint32_t round = 1U << 24;

	memcpy(keys, key, 16);
	for (int i = 4; i < 4 * (ROUNDS + 1); i++) {
		uint32_t word = keys[i - 1];

		if (i % 4 == 0) {
			word = substitute(turn(word, 24)) ^ round;
			round = (uint32_t)doubled((uint8_t)(round >> 24)) << 24;
		}
		keys[i] = keys[i - 4] ^ word;
	}
}

static void encrypt(const uint32_t *in, uint32_t *out)
{
	uint32_t s[4], t[4];

	for (int i = 0; i < 4; i++)
		s[i] = in[i] ^ keys[i];
	for (int round = 1; round < ROUNDS; round++) {
		for (int i = 0; i < 4; i++)
			t[i] = tables[0][s[i] >> 24] ^ tables[1][s[(i + 1) % 4] >> 16 & 255] ^
			       tables[2][s[(i + 2) % 4] >> 8 & 255] ^ tables[3][s[(i + 3) % 4] & 255] ^
			       keys[4 * round + i];
		memcpy(s, t, sizeof(s));
	}
	for (int i = 0; i < 4; i++)
		out[i] = substitute((s[i] & 0xff000000) | (s[(i + 1) % 4] & 0xff0000) | (s[(i + 2) % 4] & 0xff00) |
				    (s[(i + 3) % 4] & 0xff)) ^
			 keys[4 * ROUNDS + i];
}

/* The example of FIPS 197, appendix B. */
static int is_right(void)
{
	static const uint32_t key[] = {0x2b7e1516, 0x28aed2a6, 0xabf71588, 0x09cf4f3c};
	static const uint32_t text[] = {0x3243f6a8, 0x885a308d, 0x313198a2, 0xe0370734};
	uint32_t out[4];

	expand_key(key);
	encrypt(text, out);
	return out[0] == 0x3925841d && out[1] == 0x02dc09fb && out[2] == 0xdc118597 && out[3] == 0x196a0b32;
}

int main(void)
{
	uint32_t counter[4] = {1, 2, 3, 0}, out[4], sum = 0;

	make_tables();
	if (!is_right())
		return 1;
	for (int i = 0; i < BLOCKS; i++) {
		counter[3]++;
		encrypt(counter, out);
		sum = turn(sum, 7) ^ out[0] ^ out[3];
	}
	print_answer(sum);
	return 0;
}
