/* SPDX-License-Identifier: MIT */
/*
 * What experiments run in Linux guests: threads that compute and sleep in turns.
 *
 *   duty calibrate                                  loops of work a millisecond, with a processor alone
 *   duty run THREADS LOOPS SLEEP_US constant|uniform   until killed; sleep 0: computes only; uniform: from 0 to twice
 * that duty read                                       what the running one has done duty late FROM how late its sleeps
 * ended, from that sleep on
 *
 * `read` prints clock (CLOCK_MONOTONIC, ns), rounds, loops and sleeps since it began; `late` count, median, 99th
 * percentile and longest, in ns. Work is counted in loops and not in time: a guest that shares its processors does not
 * know how much it had.
 */
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#define FIGURES "/run/duty"
#define LATE_MAX (1U << 20)
#define THREADS_MAX 8
#define CHUNK 20000 /* loops between two looks at the counter */
#define BILLION INT64_C(1000000000)

struct figures {
	_Atomic uint64_t rounds, loops, sleeps;
	uint32_t late_ns[LATE_MAX]; /* of the first sleeps; the rest is not kept */
};

struct worker {
	struct figures *figures;
	uint64_t loops, random;
	int64_t sleep_ns;
	bool is_uniform;
};

static int64_t clock_ns(void)
{
	struct timespec now;
	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * BILLION + now.tv_nsec;
}

static void work(uint64_t loops)
{
	uint64_t value = loops;
	for (uint64_t i = 0; i < loops; i++) {
		value ^= value << 13;
		value ^= value >> 7;
		value ^= value << 17;
		__asm__ volatile("" : "+r"(value));
	}
}

/* From 0 to twice the mean. */
static uint64_t vary(struct worker *worker, uint64_t mean)
{
	if (!worker->is_uniform)
		return mean;
	worker->random ^= worker->random << 13;
	worker->random ^= worker->random >> 7;
	worker->random ^= worker->random << 17;
	return (uint64_t)((double)(worker->random >> 11) * 0x1p-53 * 2 * (double)mean);
}

static void do_round(struct worker *worker)
{
	for (uint64_t left = vary(worker, worker->loops); left > 0;) {
		uint64_t some = left < CHUNK ? left : CHUNK;
		work(some);
		left -= some;
		atomic_fetch_add(&worker->figures->loops, some);
	}
	atomic_fetch_add(&worker->figures->rounds, 1);
}

static void do_sleep(struct worker *worker)
{
	int64_t until = clock_ns() + (int64_t)vary(worker, (uint64_t)worker->sleep_ns);
	struct timespec end = {.tv_sec = until / BILLION, .tv_nsec = until % BILLION};
	(void)clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &end, NULL);
	int64_t late = clock_ns() - until;
	uint64_t place = atomic_fetch_add(&worker->figures->sleeps, 1);
	if (place < LATE_MAX)
		worker->figures->late_ns[place] = late < 0 ? 0 : late > UINT32_MAX ? UINT32_MAX : (uint32_t)late;
}

static void *worker_run(void *argument)
{
	struct worker *worker = argument;
	(void)prctl(PR_SET_TIMERSLACK, 1UL);
	for (;;) {
		do_round(worker);
		if (worker->sleep_ns > 0)
			do_sleep(worker);
	}
	return NULL;
}

static struct figures *figures_map(int flags)
{
	int file = open(FIGURES, flags | O_CLOEXEC, 0600);
	if (file < 0 || ((flags & O_CREAT) && ftruncate(file, sizeof(struct figures)) != 0)) {
		perror(FIGURES);
		exit(1);
	}
	struct figures *figures = mmap(NULL, sizeof *figures, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
	if (figures == MAP_FAILED) {
		perror(FIGURES);
		exit(1);
	}
	(void)close(file);
	return figures;
}

static int run(unsigned threads, uint64_t loops, int64_t sleep_ns, const char *spread)
{
	static struct worker workers[THREADS_MAX];
	struct figures *figures = figures_map(O_RDWR | O_CREAT | O_TRUNC);
	for (unsigned i = 0; i < threads && i < THREADS_MAX; i++) {
		pthread_t thread;
		workers[i] = (struct worker){.figures = figures,
					     .loops = loops,
					     .random = (uint64_t)clock_ns() * 2 + 1,
					     .sleep_ns = sleep_ns,
					     .is_uniform = strcmp(spread, "uniform") == 0};
		if (pthread_create(&thread, NULL, worker_run, &workers[i]) != 0)
			return 1;
	}
	pause();
	return 0;
}

/* The fastest of many short stretches: nobody took the processor away in that one. */
static int calibrate(void)
{
	int64_t best = INT64_MAX;
	for (int i = 0; i < 300; i++) {
		int64_t start = clock_ns();
		work(CHUNK * 10);
		int64_t took = clock_ns() - start;
		best = took < best ? took : best;
	}
	return printf("%" PRIu64 "\n", (uint64_t)(CHUNK * 10 * 1000000.0 / (double)best)) < 0;
}

static int by_value(const void *one, const void *other)
{
	uint32_t a = *(const uint32_t *)one, b = *(const uint32_t *)other;
	return (a > b) - (a < b);
}

static int print_late(uint64_t from)
{
	struct figures *figures = figures_map(O_RDWR);
	uint64_t end = atomic_load(&figures->sleeps);
	end = end < LATE_MAX ? end : LATE_MAX;
	uint64_t count = from < end ? end - from : 0;
	uint32_t *late = calloc(count + 1, sizeof *late);
	if (late == NULL)
		return 1;
	memcpy(late, &figures->late_ns[from < end ? from : 0], count * sizeof *late);
	qsort(late, count, sizeof *late, by_value);
	uint64_t last = count > 0 ? count - 1 : 0;
	bool is_printed =
	    printf("%" PRIu64 " %u %u %u\n", count, late[last / 2], late[last * 99 / 100], late[last]) > 0;
	free(late);
	return is_printed ? 0 : 1;
}

int main(int count, char **words)
{
	if (count == 2 && strcmp(words[1], "calibrate") == 0)
		return calibrate();
	if (count == 6 && strcmp(words[1], "run") == 0)
		return run((unsigned)atoi(words[2]), strtoull(words[3], NULL, 10), atoll(words[4]) * 1000, words[5]);
	if (count == 3 && strcmp(words[1], "late") == 0)
		return print_late(strtoull(words[2], NULL, 10));
	if (count != 2 || strcmp(words[1], "read") != 0)
		return 2;
	struct figures *figures = figures_map(O_RDWR);
	return printf("%" PRId64 " %" PRIu64 " %" PRIu64 " %" PRIu64 "\n", clock_ns(), atomic_load(&figures->rounds),
		      atomic_load(&figures->loops), atomic_load(&figures->sleeps)) < 0;
}
