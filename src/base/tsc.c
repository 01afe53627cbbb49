/* SPDX-License-Identifier: MIT */
#include "base/tsc.h"

#include <assert.h>

#define NS_PER_SECOND UINT64_C(1000000000)
/* Every guest waits for it at its start. A moment is known to a few nanoseconds, so that more would gain little. */
#define BASELINE_NS UINT64_C(3000000)
#define READS 128

/* One moment, read from both clocks. */
struct moment {
	uint64_t tsc, ns;
};

static struct moment read_pair(clockid_t clock, uint64_t *width)
{
	struct timespec time;
	uint64_t before = __builtin_ia32_rdtsc();
	(void)clock_gettime(clock, &time);
	*width = __builtin_ia32_rdtsc() - before;
	return (struct moment){before + *width / 2, (uint64_t)time.tv_sec * NS_PER_SECOND + (uint64_t)time.tv_nsec};
}

/* The mean of many readings, of those that nothing interrupted: their brackets are hardly longer than the shortest. */
static struct moment moment_now(clockid_t clock)
{
	struct moment moment[READS];
	uint64_t width[READS], least = UINT64_MAX, tsc = 0, ns = 0, count = 0;
	for (unsigned i = 0; i < READS; i++) {
		moment[i] = read_pair(clock, &width[i]);
		least = width[i] < least ? width[i] : least;
	}
	for (unsigned i = 0; i < READS; i++) {
		if (width[i] > least + least / 4)
			continue;
		tsc += moment[i].tsc - moment[0].tsc;
		ns += moment[i].ns - moment[0].ns;
		count++;
	}
	return (struct moment){moment[0].tsc + tsc / count, moment[0].ns + ns / count};
}

uint64_t tsc_measure_hz(clockid_t clock)
{
	struct moment first = moment_now(clock);
	struct timespec pause = {.tv_nsec = (long)BASELINE_NS};
	(void)nanosleep(&pause, NULL);
	struct moment last = moment_now(clock);
	assert(last.ns > first.ns && last.tsc > first.tsc);
	unsigned __int128 cycles = (unsigned __int128)(last.tsc - first.tsc) * NS_PER_SECOND;
	return (uint64_t)(cycles / (last.ns - first.ns));
}
