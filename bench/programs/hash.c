/* SPDX-License-Identifier: MIT */
/* Integer hashing: an open-addressed table of numbers that is filled, searched and emptied. */

#include "bench.h"

#define SLOTS (1 << 16)
#define KEYS (SLOTS / 2)
#define ROUNDS 160

static uint32_t slots[SLOTS];

static uint32_t mix(uint32_t key)
{
	key = (key ^ (key >> 16)) * 0x7feb352dU;
	key = (key ^ (key >> 15)) * 0x846ca68bU;
	return key ^ (key >> 16);
}

static uint32_t *find(uint32_t key)
{
	uint32_t slot = mix(key) % SLOTS;

	while (slots[slot] != 0 && slots[slot] != key)
		slot = (slot + 1) % SLOTS;
	return &slots[slot];
}

static uint64_t round_trip(uint64_t *state)
{
	uint64_t first = *state, found = 0;

	for (int i = 0; i < KEYS; i++) {
		uint32_t key = (uint32_t)random_next(state) | 1;

		*find(key) = key;
	}
	*state = first;
	for (int i = 0; i < KEYS; i++) {
		uint64_t value = random_next(state);

		found += *find((uint32_t)value | 1) != 0;
		found += *find((uint32_t)(value >> 32) | 1) != 0;
	}
	for (int slot = 0; slot < SLOTS; slot++) {
		found = found * 31 + slots[slot];
		slots[slot] = 0;
	}
	return found;
}

int main(void)
{
	uint64_t state = 42, answer = 0;

	for (int i = 0; i < ROUNDS; i++)
		answer = answer * 31 + round_trip(&state);
	print_answer(answer);
	return 0;
}
