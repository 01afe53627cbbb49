/* SPDX-License-Identifier: MIT */
/*
 * Samples of where vCPUs are: a ring (ledger/ring.h) that signal handlers write and readers follow.
 */
#ifndef NFOLD_LEDGER_SAMPLES_H
#define NFOLD_LEDGER_SAMPLES_H

#include "ledger/ledger.h"
#include "ledger/ring.h"

/* X(name, key, text): what a vCPU was found doing, besides the kinds of the ledger. */
#define SAMPLE_WHATS(X)                                                                                                \
	X(CODE, "code", "translated guest code")                                                                       \
	X(SWITCH, "switch", "between translated code and C: saving and loading registers")                             \
	X(CAREFUL, "careful", "accesses that span pages, reach devices or need a segment check")                       \
	X(CHECK, "check", "comparing code on pages that are written often")                                            \
	X(EXIT, "exit", "events, exceptions and interrupts, and the ways to sleep")                                    \
	X(TRANSLATE, "translate", "translating guest code")                                                            \
	X(DEVICE, "device", "device models")

enum sample_what {
#define X(name, key, text) SAMPLE_##name,
	SAMPLE_WHATS(X)
#undef X
	    SAMPLE_KIND, /* SAMPLE_KIND + kind: in C, for an instruction or access of that enum ledger_kind */
	SAMPLE_WHAT_COUNT = SAMPLE_KIND + LEDGER_KIND_COUNT
};

/* All words of 64 bits, so that they can be copied one by one. */
struct sample {
	uint64_t address;   /* guest-linear, of the instruction; where only its block is known, of that */
	uint64_t block;	    /* of the first instruction of its block; or the same */
	uint64_t space;	    /* CR3 without its flags: the address space */
	const char *device; /* name of the device that was accessed, or NULL */
	uint8_t what;	    /* enum sample_what */
	uint8_t vcpu;
	uint8_t cpl;  /* 0 to 3 */
	uint8_t bits; /* code size: 16, 32, 64 */
	uint32_t unused;
};

#define SAMPLES_MAX 8192u

struct samples {
	uint64_t ring[RING_BYTES(SAMPLES_MAX, sizeof(struct sample) / sizeof(uint64_t)) / sizeof(uint64_t)];
};

extern const char *const sample_key[SAMPLE_WHAT_COUNT];
extern const char *const sample_text[SAMPLE_WHAT_COUNT];

/* Safe in signal handlers. */
void samples_add(struct samples *samples, const struct sample *sample);

/* The number that the next sample gets: where to read what comes from now on. */
uint64_t samples_now(const struct samples *samples);

/* Copies up to `max` samples from number *next on, and moves *next past them. Adds to *lost what had been overwritten.
 */
unsigned samples_read(const struct samples *samples, uint64_t *next, struct sample *to, unsigned max, uint64_t *lost);

#endif
