/* SPDX-License-Identifier: MIT */
/*
 * What a profile adds up to: samples of guest.profile, counted by place, and two answers of guest.stats, from before
 * and after. Pure: no guest, no terminal.
 *
 * The ledger's clocks are exact, and the samples divide them: the state GUEST among translated code and the kinds of C,
 * DEVICE among the devices, each also into the guest's user mode (CPL 3) and kernel mode (the rest).
 */
#ifndef NFOLD_CLI_PROFILE_H
#define NFOLD_CLI_PROFILE_H

#include <jansson.h>

#include "cli/symbols.h"
#include "ledger/samples.h"

#define PROFILE_DEVICES_MAX 64
#define PROFILE_DEVICE_NAME_MAX 32

struct profile_place {
	uint64_t address; /* of the block */
	uint64_t space;
	uint64_t samples;
	uint8_t what, cpl;
};

struct profile_device {
	char name[PROFILE_DEVICE_NAME_MAX];
	uint64_t samples;
};

/* [0] in kernel mode, [1] in user mode */
enum { PROFILE_KERNEL, PROFILE_USER, PROFILE_MODES };

struct profile {
	struct profile_place *place;
	size_t count, room;
	struct profile_device device[PROFILE_DEVICES_MAX];
	unsigned device_count;
	uint64_t samples, lost;
	uint64_t by_what[SAMPLE_WHAT_COUNT][PROFILE_MODES];
	uint64_t syscall_entry; /* the last one seen */
};

/* Adds an answer of guest.profile. What is not as documented in it is left out. False: out of memory. */
bool profile_add(struct profile *profile, const json_t *answer);
void profile_destroy(struct profile *profile);

/* The ledger's gain between two answers of guest.stats, all vCPUs together. */
struct profile_gain {
	uint64_t wall_ns;
	uint64_t state_ns[LEDGER_STATE_COUNT];
	uint64_t count[LEDGER_COUNTER_COUNT];
	struct profile_delay {
		uint64_t count, ns;
		uint64_t half_below_ns, most_below_ns; /* 50 and 99 of 100 delays are below; UINT64_MAX: no bound */
	} delay[LEDGER_DELAY_COUNT];
	uint64_t ticks[LEDGER_TIMER_COUNT][LEDGER_TICK_COUNTER_COUNT];
	unsigned vcpus;
	/* Of the vCPU that wanted a processor most: how much of its time, and how much it got. */
	uint64_t busiest_wall_ns, busiest_wanted_ns, busiest_ran_ns;
};

void profile_gain(const json_t *before, const json_t *after, struct profile_gain *gain);

/* The ledger's state that a sample fell in. */
enum ledger_state profile_state(enum sample_what what);

/* The time that the samples of one kind stand for. Those of one ledger state share its exact clock. */
struct profile_time {
	uint64_t ns[PROFILE_MODES];
};
struct profile_time profile_time(const struct profile *profile, const struct profile_gain *gain, enum sample_what what);

/* A row of the hottest code: a function, or a block without a name. */
struct profile_row {
	const char *name; /* NULL: none known */
	uint64_t address; /* of the function or block */
	uint64_t space;	  /* 0: kernel mode, or a function whose name is known */
	uint64_t samples;
	uint64_t code; /* of them: in translated code, not in C on its behalf */
	bool user;
};

/* The rows, hottest first; *count of them, the caller's to free. NULL: none, or out of memory. */
struct profile_row *profile_rows(const struct profile *profile, const struct symbols *symbols, size_t *count);

/* Shifts the kernel's symbols to where SYSCALL leads. False: no symbol for it, or it says that this is another kernel.
 */
bool profile_find_kernel(const struct profile *profile, struct symbols *symbols, uint64_t *distance);

#endif
