/* SPDX-License-Identifier: MIT */
#include "ledger/samples.h"

#include <string.h>

#define WORDS (sizeof(struct sample) / sizeof(uint64_t))
#define BUSY UINT64_MAX /* the sequence of a slot that is being written */
_Static_assert(sizeof(struct sample) % sizeof(uint64_t) == 0, "a sample is copied by words");

#define X(name, key, text) key,
const char *const sample_key[SAMPLE_WHAT_COUNT] = {SAMPLE_WHATS(X) LEDGER_KINDS(X)};
#undef X
#define X(name, key, text) text,
const char *const sample_text[SAMPLE_WHAT_COUNT] = {SAMPLE_WHATS(X) LEDGER_KINDS(X)};
#undef X

void samples_add(struct samples *samples, const struct sample *sample)
{
	uint64_t word[WORDS];
	uint64_t number = __atomic_fetch_add(&samples->next, 1, __ATOMIC_RELAXED);
	struct sample_slot *slot = &samples->slot[number % SAMPLES_MAX];
	memcpy(word, sample, sizeof word);
	if (__atomic_exchange_n(&slot->sequence, BUSY, __ATOMIC_ACQUIRE) == BUSY)
		return;
	__atomic_thread_fence(__ATOMIC_RELEASE);
	for (size_t i = 0; i < WORDS; i++)
		__atomic_store_n(&slot->word[i], word[i], __ATOMIC_RELAXED);
	__atomic_store_n(&slot->sequence, number + 1, __ATOMIC_RELEASE);
}

uint64_t samples_now(const struct samples *samples)
{
	return __atomic_load_n(&samples->next, __ATOMIC_ACQUIRE);
}

enum slot_state { SLOT_GOOD, SLOT_UNFINISHED, SLOT_OVERWRITTEN };

static enum slot_state slot_read(const struct sample_slot *slot, uint64_t number, struct sample *to)
{
	uint64_t word[WORDS];
	uint64_t before = __atomic_load_n(&slot->sequence, __ATOMIC_ACQUIRE);
	if (before <= number || before == BUSY)
		return SLOT_UNFINISHED;
	for (size_t i = 0; i < WORDS; i++)
		word[i] = __atomic_load_n(&slot->word[i], __ATOMIC_RELAXED);
	__atomic_thread_fence(__ATOMIC_ACQUIRE);
	if (before != number + 1 || __atomic_load_n(&slot->sequence, __ATOMIC_RELAXED) != before)
		return SLOT_OVERWRITTEN;
	memcpy(to, word, sizeof *to);
	return SLOT_GOOD;
}

unsigned samples_read(const struct samples *samples, uint64_t *next, struct sample *to, unsigned max, uint64_t *lost)
{
	uint64_t end = samples_now(samples);
	unsigned count = 0;
	if (*next > end) /* not a number of this ring */
		*next = end;
	if (end - *next > SAMPLES_MAX) {
		*lost += end - SAMPLES_MAX - *next;
		*next = end - SAMPLES_MAX;
	}
	for (; *next < end && count < max; (*next)++) {
		enum slot_state state = slot_read(&samples->slot[*next % SAMPLES_MAX], *next, &to[count]);
		if (state == SLOT_UNFINISHED)
			break;
		count += state == SLOT_GOOD;
		*lost += state == SLOT_OVERWRITTEN;
	}
	return count;
}
