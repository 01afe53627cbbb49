/* SPDX-License-Identifier: MIT */
#include "ledger/settle.h"

#include <fcntl.h>
#include <inttypes.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "ledger/line.h"

#define NS_PER_SECOND UINT64_C(1000000000)
#define SETTLES_PER_SECOND 1000
/* The clocks of a moment are read one after the other; a reading that took longer than this is tried again. */
#define BRACKETS_PER_SECOND 20000
#define BRACKET_TRIES 8
#define LOCK_TRIES 1000

static uint64_t least(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static uint64_t sum(const uint64_t *values, unsigned count)
{
	uint64_t result = 0;
	for (unsigned i = 0; i < count; i++)
		result += values[i];
	return result;
}

/* Adds `amount` to the clocks in proportion to the parts, which sum to `whole`: nothing is lost to rounding. */
static void share(uint64_t *clock, const uint64_t *part, unsigned count, uint64_t whole, uint64_t amount)
{
	for (unsigned i = 0; i < count && whole > 0; i++) {
		uint64_t own = ledger_scale(amount, part[i], whole);
		clock[i] += own;
		amount -= own;
		whole -= part[i];
	}
}

void ledger_divide(struct ledger_settled *settled, const uint64_t *booked, const struct ledger_usage *usage)
{
	uint64_t gained[LEDGER_BOOKED_COUNT];
	for (unsigned i = 0; i < LEDGER_BOOKED_COUNT; i++) {
		gained[i] = ledger_gain(booked[i], settled->booked[i]);
		settled->booked[i] += gained[i];
	}
	uint64_t running = sum(gained, LEDGER_RUNNING_COUNT);
	uint64_t waiting = sum(gained + LEDGER_RUNNING_COUNT, LEDGER_BOOKED_COUNT - LEDGER_RUNNING_COUNT);

	uint64_t cpu = least(ledger_gain(usage->cpu, settled->cpu), running + waiting);
	uint64_t delay = least(ledger_gain(usage->run_delay, settled->run_delay), running + waiting - cpu);
	uint64_t asleep = usage->gone ? least(delay, waiting) : 0;
	settled->run_delay += asleep;
	delay -= asleep;
	uint64_t rest = running + waiting - cpu - delay;
	uint64_t waited = least(rest, waiting);
	uint64_t blocked = rest - waited;
	if (usage->delayed) {
		delay += blocked;
		blocked = 0;
	}
	settled->cpu += cpu;
	settled->run_delay += delay;

	uint64_t ran = least(cpu, running);
	share(settled->clock, gained, LEDGER_RUNNING_COUNT, running, ran);
	settled->clock[LEDGER_EXIT] += cpu - ran;
	share(settled->clock + LEDGER_RUNNING_COUNT, gained + LEDGER_RUNNING_COUNT,
	      LEDGER_BOOKED_COUNT - LEDGER_RUNNING_COUNT, waiting, waited);
	settled->clock[LEDGER_PREEMPTED] += delay;
	settled->clock[LEDGER_BLOCKED] += blocked;
}

/* ---- what Linux says ---- */

/* The clock of a thread's time on a processor, as the C library makes it of a thread's number. */
static clockid_t thread_clock(uint64_t thread_id)
{
	enum { PER_THREAD = 4, SCHEDULED = 2 };
	return (clockid_t)(~(unsigned)thread_id << 3 | PER_THREAD | SCHEDULED);
}

int ledger_tasks_open(void)
{
	return open("/proc/self/task", O_PATH | O_DIRECTORY | O_CLOEXEC);
}

static int open_figure(int tasks, uint64_t thread_id, const char *name)
{
	char path[64];
	(void)snprintf(path, sizeof path, "%" PRIu64 "/%s", thread_id, name);
	return openat(tasks, path, O_RDONLY | O_CLOEXEC);
}

static bool read_text(int fd, char *text, size_t size)
{
	ssize_t got = pread(fd, text, size - 1, 0);
	text[got > 0 ? got : 0] = '\0';
	return got > 0;
}

bool ledger_thread_open(struct ledger_thread *thread, int tasks, uint64_t thread_id, bool own)
{
	*thread = (struct ledger_thread){.clock = thread_clock(thread_id), .schedstat = -1, .stat = -1, .own = own};
	if (thread_id == 0)
		return false;
	thread->schedstat = open_figure(tasks, thread_id, "schedstat");
	if (!own)
		thread->stat = open_figure(tasks, thread_id, "stat");
	return thread->schedstat >= 0;
}

void ledger_thread_close(struct ledger_thread *thread)
{
	if (thread->schedstat >= 0)
		close(thread->schedstat);
	if (thread->stat >= 0)
		close(thread->stat);
	thread->schedstat = thread->stat = -1;
}

/* proc_pid_stat(5): the state is the word after the name, which is in parentheses and may hold some itself. */
static bool is_runnable(const struct ledger_thread *thread)
{
	char text[512];
	if (thread->stat < 0 || !read_text(thread->stat, text, sizeof text))
		return false;
	const char *name_end = strrchr(text, ')');
	return name_end != NULL && name_end[1] == ' ' && name_end[2] == 'R';
}

static bool usage_read(const struct ledger_thread *thread, uint64_t tsc_hz, struct ledger_usage *usage)
{
	char text[128];
	struct timespec cpu;
	uint64_t delay;
	usage->delayed = !thread->own && is_runnable(thread);
	if (clock_gettime(thread->clock, &cpu) != 0 || !read_text(thread->schedstat, text, sizeof text) ||
	    sscanf(text, "%*u %" SCNu64, &delay) != 1)
		return false;
	uint64_t cpu_ns = (uint64_t)cpu.tv_sec * NS_PER_SECOND + (uint64_t)cpu.tv_nsec;
	usage->cpu = ledger_scale(cpu_ns, tsc_hz, NS_PER_SECOND);
	usage->run_delay = ledger_scale(delay, tsc_hz, NS_PER_SECOND);
	return true;
}

/* The booked clocks and Linux's figures of one moment, or nearly: the reader may lose its processor between the two. */
static bool moment_read(const struct ledger *ledger, unsigned vcpu, const struct ledger_thread *thread,
			struct ledger_line_copy *copy, struct ledger_usage *usage)
{
	for (unsigned try = 0; try < BRACKET_TRIES; try++) {
		unsigned tries = LEDGER_READ_TRIES;
		ledger_line_copy(&ledger->vcpu[vcpu], copy, &tries);
		if (!usage_read(thread, ledger->tsc_hz, usage))
			return false;
		if (ledger_tsc() - copy->now < ledger->tsc_hz / BRACKETS_PER_SECOND)
			break;
	}
	return true;
}

/* ---- settling ---- */

static bool settled_lock(struct ledger_settled *settled, unsigned tries)
{
	for (unsigned try = 0; try < tries; try++) {
		uint64_t sequence = __atomic_load_n(&settled->sequence, __ATOMIC_RELAXED);
		if ((sequence & 1) == 0 && __atomic_compare_exchange_n(&settled->sequence, &sequence, sequence + 1,
								       false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED)) {
			__atomic_thread_fence(__ATOMIC_RELEASE);
			return true;
		}
		if (tries > 1)
			(void)sched_yield();
	}
	return false;
}

static void settled_unlock(struct ledger_settled *settled)
{
	__atomic_store_n(&settled->sequence, settled->sequence + 1, __ATOMIC_RELEASE);
}

static void settle(struct ledger *ledger, unsigned vcpu, const struct ledger_thread *thread, bool gone)
{
	struct ledger_settled *settled = &ledger->vcpu[vcpu].settled;
	struct ledger_line_copy copy;
	struct ledger_usage usage;
	/* The vCPU's thread never waits: whoever holds the lock settles for it. */
	if (thread->schedstat < 0 || !settled_lock(settled, thread->own ? 1 : LOCK_TRIES))
		return;
	if (moment_read(ledger, vcpu, thread, &copy, &usage)) {
		usage.gone = gone;
		ledger_divide(settled, copy.clock, &usage);
		settled->at = copy.now;
	}
	settled_unlock(settled);
}

void ledger_settle(struct ledger *ledger, unsigned vcpu, const struct ledger_thread *thread)
{
	settle(ledger, vcpu, thread, false);
}

void ledger_settle_begin(struct ledger *ledger, unsigned vcpu, const struct ledger_thread *thread)
{
	struct ledger_settled *settled = &ledger->vcpu[vcpu].settled;
	struct ledger_usage usage;
	if (thread->schedstat < 0 || !settled_lock(settled, LOCK_TRIES))
		return;
	if (usage_read(thread, ledger->tsc_hz, &usage)) {
		settled->cpu = usage.cpu;
		settled->run_delay = usage.run_delay;
	}
	settled_unlock(settled);
}

static void settle_if_due(struct ledger *ledger, unsigned vcpu, const struct ledger_thread *thread, bool gone)
{
#ifdef NFOLD_NO_LEDGER
	(void)ledger;
	(void)vcpu;
	(void)thread;
	(void)gone;
#else
	uint64_t last = __atomic_load_n(&ledger->vcpu[vcpu].settled.at, __ATOMIC_RELAXED);
	if (ledger_gain(ledger_tsc(), last) >= ledger->tsc_hz / SETTLES_PER_SECOND)
		settle(ledger, vcpu, thread, gone);
#endif
}

void ledger_settle_if_due(struct ledger *ledger, unsigned vcpu, const struct ledger_thread *thread)
{
	settle_if_due(ledger, vcpu, thread, false);
}

void ledger_settle_gone(struct ledger *ledger, unsigned vcpu, const struct ledger_thread *thread)
{
	settle_if_due(ledger, vcpu, thread, true);
}

void ledger_settle_thread(struct ledger *ledger, unsigned vcpu)
{
	struct ledger_thread thread;
	uint64_t thread_id = __atomic_load_n(&ledger->vcpu[vcpu].thread_id, __ATOMIC_RELAXED);
	int tasks = ledger_tasks_open();
	if (ledger_thread_open(&thread, tasks, thread_id, false))
		ledger_settle(ledger, vcpu, &thread);
	close(tasks);
	ledger_thread_close(&thread);
}
