/* SPDX-License-Identifier: MIT */
/*
 * What several processors must keep, tried by threads that are bound to them: locked instructions wherever their
 * operand lies, x86's memory order by litmus tests, pages taken away from other processors, code that another processor
 * changes, futexes and signals, and a TSC that never runs backwards. Prints `right CASE` or `WRONG CASE: WHY` for each;
 * the status is 0 when nothing was wrong.
 *
 * usage: smp PROCESSORS SECONDS [apart]     apart: two of the processors never run at the same moment
 */
#include "smp.h"

#include <cpuid.h>
#include <errno.h>
#include <linux/futex.h>
#include <linux/membarrier.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

int processors;
double budget, deadline;
uint64_t done[MAX];
atomic_bool stop;
static int wrong;

double now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

void report(const char *name, const char *format, ...)
{
	if (format == NULL) {
		printf("right %s\n", name);
	} else {
		va_list list;
		char text[200];
		va_start(list, format);
		vsnprintf(text, sizeof text, format, list);
		va_end(list);
		printf("WRONG %s: %s\n", name, text);
		wrong++;
	}
	fflush(stdout);
}

static void bind_to(int cpu)
{
	cpu_set_t set;
	CPU_ZERO(&set);
	CPU_SET(cpu % processors, &set);
	sched_setaffinity(0, sizeof set, &set);
}

/* ---- threads, one on each processor ---- */

struct job {
	void (*run)(int index);
	int index;
};

static void *job_main(void *opaque)
{
	struct job *job = opaque;
	bind_to(job->index);
	job->run(job->index);
	return NULL;
}

void run_on(int count, void (*run)(int index))
{
	pthread_t thread[MAX];
	struct job job[MAX];
	for (int i = 0; i < count; i++) {
		job[i] = (struct job){run, i};
		if (pthread_create(&thread[i], NULL, job_main, &job[i]) != 0) {
			perror("pthread_create");
			exit(2);
		}
	}
	for (int i = 0; i < count; i++)
		pthread_join(thread[i], NULL);
}

static _Alignas(64) atomic_int arrived, generation;

void barrier(int count)
{
	int mine = atomic_load(&generation);
	if (atomic_fetch_add(&arrived, 1) == count - 1) {
		atomic_store(&arrived, 0);
		atomic_store(&generation, mine + 1);
		return;
	}
	while (atomic_load(&generation) == mine)
		relax();
}

uint64_t total(void)
{
	uint64_t sum = 0;
	for (int i = 0; i < processors; i++)
		sum += done[i];
	return sum;
}

/* ---- each thread runs where it was put ---- */

static atomic_int misplaced;

static void place(int index)
{
	for (int i = 0; i < 1000; i++) {
		unsigned a, b, c, d;
		__cpuid(1, a, b, c, d);
		if (sched_getcpu() != index || (int)(b >> 24) != index)
			misplaced++;
	}
}

static void case_processors(void)
{
	long online = sysconf(_SC_NPROCESSORS_ONLN);
	if (online != processors) {
		report("all processors are online", "%ld of %d", online, processors);
		return;
	}
	run_on(processors, place);
	report("all processors are online, each with its APIC ID", misplaced ? "%d times elsewhere" : NULL,
	       (int)misplaced);
}

/* ---- sleeping and waking ---- */

static atomic_int turn;
static atomic_ulong passes;

static long futex(atomic_int *word, int operation, int value)
{
	struct timespec limit = {.tv_sec = 20};
	return syscall(SYS_futex, word, operation, value, operation == FUTEX_WAIT_PRIVATE ? &limit : NULL, NULL, 0);
}

static atomic_int lost_wakes;

static void passer(int index)
{
	while (!stop) {
		int seen = atomic_load(&turn);
		if (seen % processors != index) {
			if (futex(&turn, FUTEX_WAIT_PRIVATE, seen) != 0 && errno == ETIMEDOUT && !stop) {
				lost_wakes++;
				stop = true;
			}
			continue;
		}
		passes++;
		if (now() > deadline)
			stop = true;
		atomic_fetch_add(&turn, 1);
		futex(&turn, FUTEX_WAKE_PRIVATE, MAX);
	}
	atomic_fetch_add(&turn, 1);
	futex(&turn, FUTEX_WAKE_PRIVATE, MAX);
}

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static uint64_t under_mutex;

static void locker(int index)
{
	uint64_t count = 0;
	while (now() < deadline) {
		for (int i = 0; i < 50; i++) {
			pthread_mutex_lock(&mutex);
			under_mutex++;
			pthread_mutex_unlock(&mutex);
			count++;
		}
	}
	done[index] = count;
}

static atomic_ulong received;
static pthread_t peer[MAX];

static void on_signal(int number)
{
	(void)number;
	received++;
}

static void signaller(int index)
{
	uint64_t count = 0;
	peer[index] = pthread_self();
	barrier(processors);
	while (now() < deadline) {
		/* One at a time: signals of the same number do not queue. */
		unsigned long before = received;
		if (index == 0) {
			pthread_kill(peer[1], SIGUSR1);
			double limit = now() + 20;
			while (received == before && now() < limit)
				relax();
			count += received != before;
			if (received == before)
				lost_wakes++;
		} else if (index == 1) {
			sched_yield();
		} else {
			syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0);
		}
	}
	done[index] = count;
}

static void case_waking(void)
{
	stop = false;
	turn = 0;
	deadline = now() + budget;
	run_on(processors, passer);
	printf("futex: passed on %lu times\n", (unsigned long)passes);
	report("a futex passed from processor to processor", lost_wakes ? "a wake-up was lost" : NULL);
	memset(done, 0, sizeof done);
	deadline = now() + budget / 2;
	run_on(processors, locker);
	report("a mutex", under_mutex == total() ? NULL : "%llu, not %llu", (unsigned long long)under_mutex,
	       (unsigned long long)total());
	if (processors < 2)
		return;
	signal(SIGUSR1, on_signal);
	syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0);
	lost_wakes = 0;
	deadline = now() + budget / 2;
	run_on(processors, signaller);
	report("signals and membarriers between processors", lost_wakes ? "a signal was lost" : NULL);
}

/* ---- time ---- */

static _Alignas(64) atomic_ulong last_tsc;
static atomic_ulong backwards, worst;

static void ticker(int index)
{
	(void)index;
	while (now() < deadline)
		for (int i = 0; i < 1000; i++) {
			unsigned aux;
			unsigned long before = atomic_load(&last_tsc);
			unsigned long mine = __builtin_ia32_rdtscp(&aux);
			if (mine < before) {
				backwards++;
				if (before - mine > worst)
					worst = before - mine;
			}
			atomic_store(&last_tsc, mine);
		}
}

static void case_time(void)
{
	deadline = now() + budget / 2;
	run_on(processors, ticker);
	report("the TSC never runs backwards between processors", backwards ? "%lu times, by up to %lu" : NULL,
	       (unsigned long)backwards, (unsigned long)worst);
}

/* ---- processes ---- */

static atomic_ulong forks, bad_forks;

static void forker(int index)
{
	size_t size = 64 * PAGE;
	uint8_t *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	while (now() < deadline) {
		memset(memory, index + 1, size);
		pid_t child = fork();
		if (child == 0) {
			memset(memory, 0x55, size / 2);
			for (size_t i = size / 2; i < size; i += 64)
				if (memory[i] != index + 1)
					_exit(1);
			_exit(0);
		}
		int status = -1;
		waitpid(child, &status, 0);
		for (size_t i = 0; i < size; i += 64)
			bad_forks += memory[i] != index + 1;
		bad_forks += status != 0;
		forks++;
	}
	munmap(memory, size);
}

static void case_processes(void)
{
	deadline = now() + budget;
	run_on(processors, forker);
	printf("processes: %lu forked\n", (unsigned long)forks);
	report("processes forked on all processors", bad_forks ? "%lu saw wrong memory" : NULL,
	       (unsigned long)bad_forks);
}

/* ---- work ---- */

static uint64_t result[MAX];

static void worker(int index)
{
	uint64_t state = (uint64_t)index + 1, sum = 0;
	for (int i = 0; i < 20000000; i++) {
		state ^= state << 13;
		state ^= state >> 7;
		state ^= state << 17;
		sum += state;
	}
	result[index] = sum;
}

static void case_work(void)
{
	uint64_t expected[MAX];
	for (int i = 0; i < processors; i++) {
		worker(i);
		expected[i] = result[i];
	}
	double begin = now();
	run_on(processors, worker);
	printf("work: %.3f s for %d\n", now() - begin, processors);
	report("work on all processors gives the same",
	       memcmp(expected, result, sizeof *expected * (size_t)processors) ? "it does not" : NULL);
}

int main(int argc, char **argv)
{
	if (argc < 3)
		return 2;
	processors = atoi(argv[1]);
	budget = atof(argv[2]) / 10;
	if (processors < 1 || processors > MAX)
		return 2;
	setvbuf(stdout, NULL, _IOLBF, 0);
	case_processors();
	case_locked();
	case_litmus(argc == 3 && processors > 1);
	case_shootdown();
	case_code();
	case_waking();
	case_time();
	case_processes();
	case_work();
	return wrong != 0;
}
