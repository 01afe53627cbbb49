/* SPDX-License-Identifier: MIT */
#include "cli/calibrate-native.h"

#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#define PAGE 4096

static double now_ns(void)
{
	struct timespec time;
	(void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
	return (double)time.tv_sec * 1e9 + (double)time.tv_nsec;
}

/* The same as in calibrate-guest.S, instruction for instruction. */
static double measure_compute(uint64_t count)
{
	uint32_t area[PAGE / 4] = {0};
	uint32_t a = 1, d, c = (uint32_t)count;
	double start = now_ns();
	__asm__ volatile("1: mov %0, %1\n shl $13, %1\n xor %1, %0\n"
			 "mov %0, %1\n shr $17, %1\n xor %1, %0\n"
			 "mov %0, %1\n shl $5, %1\n xor %1, %0\n"
			 "mov %0, %1\n and $0xffc, %1\n add %0, (%3, %q1)\n"
			 "test $3, %b0\n jz 2f\n add $1, %0\n"
			 "2: dec %2\n jnz 1b\n"
			 : "+q"(a), "=&r"(d), "+r"(c)
			 : "r"(area)
			 : "memory", "cc");
	return (now_ns() - start) / (double)count;
}

static double measure_syscall(uint64_t count)
{
	double start = now_ns();
	for (uint64_t i = 0; i < count; i++)
		(void)syscall(SYS_getppid);
	return (now_ns() - start) / (double)count;
}

/* The first touch of a page. */
static double measure_fault(uint64_t count)
{
	size_t size = count * PAGE;
	volatile char *pages = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (pages == MAP_FAILED)
		return -1;
	(void)madvise((void *)pages, size, MADV_NOHUGEPAGE);
	double start = now_ns();
	for (uint64_t i = 0; i < count; i++)
		pages[i * PAGE] = 1;
	double took = now_ns() - start;
	(void)munmap((void *)pages, size);
	return took / (double)count;
}

/* Additions of registers that wait for each other take a cycle each. (Those of constants may be folded together.) */
static double measure_cycle(uint64_t count)
{
	uint64_t value = 0, other = 1;
	double start = now_ns();
	for (uint64_t i = 0; i < count; i += 64)
		__asm__ volatile(".rept 64\n add %1, %0\n .endr" : "+r"(value) : "r"(other) : "cc");
	return (now_ns() - start) / (double)count;
}

static double clock_ns(void)
{
	struct timespec time;
	(void)clock_gettime(CLOCK_MONOTONIC, &time);
	return (double)time.tv_sec * 1e9 + (double)time.tv_nsec;
}

#define ALARM_NS 60000	/* from arming the timer to its interrupt */
#define WINDOW_NS 90000 /* that are watched */

/* The longest time between two looks at the clock, while a timer of Linux's goes off on this processor. */
static double interrupted_ns(int timer)
{
	const struct itimerspec alarm = {.it_value.tv_nsec = ALARM_NS};
	if (timerfd_settime(timer, 0, &alarm, NULL) != 0)
		return -1;
	double longest = 0, least = WINDOW_NS, last = clock_ns();
	for (double end = last + WINDOW_NS; last < end;) {
		double at = clock_ns(), gap = at - last;
		longest = gap > longest ? gap : longest;
		least = gap < least ? gap : least;
		last = at;
	}
	return longest - least;
}

static int by_value(const void *a, const void *b)
{
	double one = *(const double *)a, other = *(const double *)b;
	return (one > other) - (one < other);
}

/* The median: what else interrupts, or takes the processor away, is in a few of them. */
static double measure_interrupt(uint64_t count)
{
	double *value = malloc(count * sizeof *value), median = -1;
	int timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
	bool good = value != NULL && timer >= 0;
	for (uint64_t i = 0; good && i < count; i++) {
		value[i] = interrupted_ns(timer);
		good = value[i] >= 0;
	}
	if (good) {
		qsort(value, count, sizeof *value, by_value);
		median = value[count / 2];
	}
	free(value);
	if (timer >= 0)
		(void)close(timer);
	return median;
}

const struct calibrate_native calibrate_native[CALIBRATE_NATIVE_COUNT] = {
    {"native_compute", "a round of arithmetic, memory and branches, natively", measure_compute, 5000000},
    {"native_syscall", "a system call (getppid), natively", measure_syscall, 100000},
    {"native_fault", "the first touch of a page, natively", measure_fault, 8192},
    {"native_cycle", "a cycle of the processor's clock", measure_cycle, 64000000},
    {"native_interrupt", "a timer's interrupt, natively: the time that it takes from a program", measure_interrupt,
     501},
};
