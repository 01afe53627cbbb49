/* SPDX-License-Identifier: MIT */
#include "ledger/samples.h"

#include <string.h>

#define WORDS (sizeof(struct sample) / sizeof(uint64_t))
_Static_assert(sizeof(struct sample) % sizeof(uint64_t) == 0, "a sample is copied by words");
_Static_assert(sizeof(struct samples) == RING_BYTES(SAMPLES_MAX, WORDS), "room for the whole ring");

static const struct ring_shape shape = {.slots = SAMPLES_MAX, .words = WORDS};

#define X(name, key, text) key,
const char *const sample_key[SAMPLE_WHAT_COUNT] = {SAMPLE_WHATS(X) LEDGER_KINDS(X)};
#undef X
#define X(name, key, text) text,
const char *const sample_text[SAMPLE_WHAT_COUNT] = {SAMPLE_WHATS(X) LEDGER_KINDS(X)};
#undef X

void samples_add(struct samples *samples, const struct sample *sample)
{
	uint64_t word[WORDS];
	memcpy(word, sample, sizeof word);
	ring_add(samples->ring, shape, word);
}

uint64_t samples_now(const struct samples *samples)
{
	return ring_now(samples->ring);
}

unsigned samples_read(const struct samples *samples, uint64_t *next, struct sample *to, unsigned max, uint64_t *lost)
{
	uint64_t word[WORDS];
	unsigned count = 0;
	while (count < max && ring_read(samples->ring, shape, next, word, 1, lost) == 1)
		memcpy(&to[count++], word, sizeof word);
	return count;
}
