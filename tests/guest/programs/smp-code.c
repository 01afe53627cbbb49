/* SPDX-License-Identifier: MIT */
/* Pages that are taken away from other processors, and code that one changes for another. */
#include "smp.h"

#include <signal.h>

/* ---- pages taken away ---- */

static uint8_t *victim;
static atomic_ulong faults;

static void on_fault(int number, siginfo_t *info, void *context)
{
	(void)number;
	(void)context;
	uint8_t *at = info->si_addr;
	if (at < victim || at >= victim + 16 * PAGE) {
		static const char text[] = "WRONG a fault elsewhere\n";
		(void)!write(1, text, sizeof text - 1);
		_exit(3);
	}
	faults++;
	sched_yield(); /* and tries again */
}

static atomic_int leaks;

/* The first takes write permission away and looks whether anybody still writes; the others write. */
static void protector(int index)
{
	if (index != 0) {
		while (!stop)
			for (int i = 0; i < 16; i++)
				(*(volatile uint64_t *)(void *)(victim + i * PAGE))++;
		return;
	}
	/* On a busy host it may take long until another processor meets it. */
	while (now() < deadline || (faults == 0 && processors > 1 && now() < deadline + 30)) {
		uint64_t before[16];
		mprotect(victim, 16 * PAGE, PROT_READ);
		for (int i = 0; i < 16; i++)
			before[i] = *(volatile uint64_t *)(void *)(victim + i * PAGE);
		for (volatile int spin = 0; spin < 20000; spin++)
			;
		for (int i = 0; i < 16; i++)
			leaks += before[i] != *(volatile uint64_t *)(void *)(victim + i * PAGE);
		mprotect(victim, 16 * PAGE, PROT_READ | PROT_WRITE);
		for (volatile int spin = 0; spin < 5000; spin++)
			;
	}
	stop = true;
}

static atomic_ulong current;

/* The first maps new pages with a higher number in the place of the old; the others must not see a lower one after they
 * know of it. */
static void mapper(int index)
{
	if (index != 0) {
		while (!stop)
			for (int i = 0; i < 16; i++) {
				uint64_t least = atomic_load(&current);
				uint64_t value = *(volatile uint64_t *)(void *)(victim + i * PAGE);
				if (value < least && value != 0)
					leaks++;
			}
		return;
	}
	for (uint64_t number = 2; now() < deadline; number++) {
		uint8_t *fresh = mmap(NULL, 16 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		for (int i = 0; i < 16; i++)
			*(uint64_t *)(void *)(fresh + i * PAGE) = number;
		if (mremap(fresh, 16 * PAGE, 16 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, victim) != victim)
			exit(4);
		atomic_store(&current, number);
	}
	stop = true;
}

void case_shootdown(void)
{
	struct sigaction action = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO};
	sigaction(SIGSEGV, &action, NULL);
	victim = mmap(NULL, 16 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	for (int i = 0; i < 16; i++)
		*(uint64_t *)(void *)(victim + i * PAGE) = 1;
	stop = false;
	deadline = now() + budget;
	run_on(processors, protector);
	report("mprotect takes permission away from all processors",
	       leaks			       ? "%d writes afterwards"
	       : faults == 0 && processors > 1 ? "nobody faulted"
					       : NULL,
	       (int)leaks);
	for (int i = 0; i < 16; i++)
		*(uint64_t *)(void *)(victim + i * PAGE) = 1;
	leaks = 0;
	stop = false;
	current = 1;
	deadline = now() + budget;
	run_on(processors, mapper);
	report("new mappings are seen by all processors", leaks ? "%d old pages seen" : NULL, (int)leaks);
	munmap(victim, 16 * PAGE);
	signal(SIGSEGV, SIG_DFL);
}

/* ---- code that another processor changes ---- */

static uint8_t *code;
static _Alignas(64) atomic_ulong version;
static atomic_ulong stale, torn;
static bool serialize;

/* mov eax, imm32 ; ret, with the immediate aligned: one store changes it. */
static void write_function(uint8_t *at, uint32_t value)
{
	at[3] = 0xb8;
	memcpy(at + 4, &value, 4);
	at[8] = 0xc3;
}

static void modifier(int index)
{
	typedef uint32_t function(void);
	uint32_t number = 1;
	if (index == 0) {
		while (now() < deadline)
			for (int i = 0; i < 32; i++) {
				number++;
				*(volatile uint32_t *)(void *)(code + 4) = number;
				atomic_store_explicit(&version, number, memory_order_release);
				for (volatile int spin = 0; spin < 300; spin++)
					;
			}
		stop = true;
		return;
	}
	function *call = (function *)(void *)(code + 3);
	while (!stop) {
		unsigned a = 0, b, c = 0, d;
		uint64_t least = atomic_load_explicit(&version, memory_order_acquire);
		if (serialize)
			__asm__ volatile("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d) : : "memory");
		uint32_t value = call();
		if (value < least)
			stale++;
		if (value > atomic_load(&version) + 1)
			torn++;
	}
}

/* A compiler of one processor makes functions for another: at fresh addresses, then at used ones. */
static _Alignas(64) atomic_uintptr_t offered;
static atomic_ulong misrun;

static void maker(int index)
{
	typedef uint32_t function(void);
	if (index == 0) {
		uint32_t number = 1;
		while (now() < deadline)
			for (int i = 0; i < 64; i++) {
				uint8_t *at = code + (number * 64u) % (8 * PAGE);
				number++;
				write_function(at, number);
				/* The function and its value, taken together. */
				atomic_store(&version, number);
				atomic_store(&offered, (uintptr_t)(at + 3));
				while (atomic_load(&offered) != 0 && now() < deadline + 5)
					relax();
			}
		stop = true;
		return;
	}
	while (!stop) {
		uintptr_t at = atomic_load(&offered);
		if (at == 0) {
			relax();
			continue;
		}
		if (index == 1) {
			uint32_t expected = (uint32_t)atomic_load(&version);
			if (((function *)at)() != expected)
				misrun++;
			atomic_store(&offered, 0);
		}
	}
}

void case_code(void)
{
	static const char *const names[] = {"code changed by another processor, seen after CPUID",
					    "the same without CPUID"};
	code = mmap(NULL, 8 * PAGE, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	for (int i = 0; i < 2; i++) {
		write_function(code, 1);
		version = 1;
		stale = torn = 0;
		stop = false;
		serialize = i == 0;
		deadline = now() + budget / 2;
		run_on(processors, modifier);
		report(names[i], stale + torn ? "%lu stale, %lu never written" : NULL, (unsigned long)stale,
		       (unsigned long)torn);
	}
	if (processors < 2)
		return;
	stop = false;
	deadline = now() + budget / 2;
	run_on(processors, maker);
	report("functions that another processor made", misrun ? "%lu were others" : NULL, (unsigned long)misrun);
	munmap(code, 8 * PAGE);
}
