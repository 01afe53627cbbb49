/* SPDX-License-Identifier: MIT */
/*
 * Litmus tests of x86's memory order, by the names of the literature (Sewell and others, "x86-TSO", 2010; the tests of
 * Intel SDM vol. 3A, 9.2.3, and AMD APM vol. 2, 7.2, are among them).
 *
 * Theory of operation. Each round has variables of its own. A round shows something only if its threads run it at the
 * same moment, so they meet in front of each: everybody adds one to the round's counter and spins until it is complete,
 * which all see within the time that a cache line travels. A few empty turns, other ones in each batch, then shift the
 * threads against each other. What each load saw and what the variables hold in the end is the round's outcome, a word
 * of decimal digits; how often each came is printed.
 *
 * A forbidden outcome must never come. That two stores pass two loads (SB) must come: else the threads never met, and
 * that the others did not come would mean nothing. It is tried until it is seen, for a minute at most; where
 * the threads cannot run at the same time it is not asked for (argument 3 of the program).
 *
 * Who waits for long says so by PAUSE: processors may be more than the host has, and the others then get its time.
 */
#include "smp.h"

#define ROUNDS 512
#define THREADS 4
#define SPINS_BEFORE_PAUSES 2000
#define SEEN_SECONDS 60
#define OUTCOMES 6561 /* of eight digits 0 to 2 */

struct round {
	_Alignas(64) uint64_t x;
	_Alignas(64) uint64_t y;
	_Alignas(64) atomic_int here;
	_Alignas(64) uint64_t seen[THREADS][8]; /* each thread's loads on a line of its own; two are used */
};

#define STORE(at, value) __asm__ volatile("movq %1, %0" : "=m"(at) : "r"((uint64_t)(value)) : "memory")
#define LOAD(to, at) __asm__ volatile("movq %1, %0" : "=r"(to) : "m"(at) : "memory")
#define X(value) STORE(r->x, value)
#define Y(value) STORE(r->y, value)
/* Loads go to registers first: a store of what they saw, between two of them, would be one more for the order. */
#define NOTE(thread, first, second) (r->seen[thread][0] = (first), r->seen[thread][1] = (second))
#define THREAD(name) static void name(struct round *r)

static inline void mfence(void)
{
	__asm__ volatile("mfence" : : : "memory");
}

static inline void locked(void)
{
	uint64_t scratch = 0;
	__asm__ volatile("lock addq $0, %0" : "+m"(scratch) : : "memory", "cc");
}

static inline void exchanged(void)
{
	uint64_t scratch = 0, with = 0;
	__asm__ volatile("xchgq %1, %0" : "+m"(scratch), "+r"(with) : : "memory");
}

static inline void serialized(void)
{
	unsigned a = 0, b, c = 0, d;
	__asm__ volatile("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d) : : "memory");
}

static inline void nothing(void)
{
}

/* SB: each stores and then loads what the other stores. */
#define STORE_BUFFER(name, fence)                                                                                      \
	THREAD(name##_0)                                                                                               \
	{                                                                                                              \
		uint64_t value;                                                                                        \
		X(1);                                                                                                  \
		fence();                                                                                               \
		LOAD(value, r->y);                                                                                     \
		NOTE(0, value, 0);                                                                                     \
	}                                                                                                              \
	THREAD(name##_1)                                                                                               \
	{                                                                                                              \
		uint64_t value;                                                                                        \
		Y(1);                                                                                                  \
		fence();                                                                                               \
		LOAD(value, r->x);                                                                                     \
		NOTE(1, value, 0);                                                                                     \
	}

STORE_BUFFER(sb, nothing)
STORE_BUFFER(sb_mfence, mfence)
STORE_BUFFER(sb_locked, locked)
STORE_BUFFER(sb_xchg, exchanged)
STORE_BUFFER(sb_cpuid, serialized)

/* The same with a load of the own store between, which the store buffer answers. */
THREAD(forward_0)
{
	uint64_t own, other;
	X(1);
	LOAD(own, r->x);
	LOAD(other, r->y);
	NOTE(0, own, other);
}
THREAD(forward_1)
{
	uint64_t own, other;
	Y(1);
	LOAD(own, r->y);
	LOAD(other, r->x);
	NOTE(1, own, other);
}

/* R: the later of two stores to y is 0's or 1's; 1's load may pass its store. */
#define R_TEST(name, fence)                                                                                            \
	THREAD(name##_1)                                                                                               \
	{                                                                                                              \
		uint64_t value;                                                                                        \
		Y(2);                                                                                                  \
		fence();                                                                                               \
		LOAD(value, r->x);                                                                                     \
		NOTE(1, value, 0);                                                                                     \
	}
THREAD(both_1_1)
{
	X(1);
	Y(1);
}
R_TEST(r, nothing)
R_TEST(r_mfence, mfence)

THREAD(read_yx_1)
{
	uint64_t first, second;
	LOAD(first, r->y);
	LOAD(second, r->x);
	NOTE(1, first, second);
}

THREAD(lb_0)
{
	uint64_t value;
	LOAD(value, r->x);
	Y(1);
	NOTE(0, value, 0);
}
THREAD(lb_1)
{
	uint64_t value;
	LOAD(value, r->y);
	X(1);
	NOTE(1, value, 0);
}

THREAD(s_0)
{
	X(2);
	Y(1);
}

THREAD(two_writes_0)
{
	X(1);
	Y(2);
}
THREAD(two_writes_1)
{
	Y(1);
	X(2);
}

THREAD(coherence_0)
{
	X(1);
	X(2);
}
THREAD(coherence_1)
{
	uint64_t first, second;
	LOAD(first, r->x);
	LOAD(second, r->x);
	NOTE(1, first, second);
}

THREAD(only_x)
{
	X(1);
}
THREAD(only_y)
{
	Y(1);
}
THREAD(pass_on_1)
{
	uint64_t value;
	LOAD(value, r->x);
	Y(1);
	NOTE(1, value, 0);
}
THREAD(read_yx_2)
{
	uint64_t first, second;
	LOAD(first, r->y);
	LOAD(second, r->x);
	NOTE(2, first, second);
}
THREAD(read_xy_2)
{
	uint64_t first, second;
	LOAD(first, r->x);
	LOAD(second, r->y);
	NOTE(2, first, second);
}
THREAD(read_yx_3)
{
	uint64_t first, second;
	LOAD(first, r->y);
	LOAD(second, r->x);
	NOTE(3, first, second);
}

enum verdict { FORBIDDEN, ALLOWED, REQUIRED };

/* `outcome` is about x, y and what threads 0, 1, 2, 3 saw, two digits each; a dot fits all. Trailing dots are left out.
 */
struct litmus {
	const char *name;
	enum verdict verdict;
	const char *outcome;
	void (*thread[THREADS])(struct round *r);
};

static const struct litmus tests[] = {
    /* clang-format off */
	{"SB: stores pass later loads", REQUIRED, "..0.0", {sb_0, sb_1}},
	{"SB with stores forwarded", ALLOWED, "..1010", {forward_0, forward_1}},
	{"R: a store passes a later load", ALLOWED, ".2..0", {both_1_1, r_1}},
	{"SB with MFENCE", FORBIDDEN, "..0.0", {sb_mfence_0, sb_mfence_1}},
	{"SB with a locked instruction", FORBIDDEN, "..0.0", {sb_locked_0, sb_locked_1}},
	{"SB with XCHG", FORBIDDEN, "..0.0", {sb_xchg_0, sb_xchg_1}},
	{"SB with CPUID, which serializes", FORBIDDEN, "..0.0", {sb_cpuid_0, sb_cpuid_1}},
	{"R with MFENCE", FORBIDDEN, ".2..0", {both_1_1, r_mfence_1}},
	{"MP: stores stay in order, and loads", FORBIDDEN, "....10", {both_1_1, read_yx_1}},
	{"LB: loads come before later stores", FORBIDDEN, "..1.1", {lb_0, lb_1}},
	{"S: a store waits for earlier loads", FORBIDDEN, "2...1", {s_0, lb_1}},
	{"2+2W: stores of two stay in order", FORBIDDEN, "11", {two_writes_0, two_writes_1}},
	{"CoRR: a location has one order", FORBIDDEN, "....10", {coherence_0, coherence_1}},
	{"CoRR: nor goes it back from 2", FORBIDDEN, "....21", {coherence_0, coherence_1}},
	{"WRC: what one saw, all see", FORBIDDEN, "....1.10", {only_x, pass_on_1, read_yx_2}},
	{"IRIW: all see stores in one order", FORBIDDEN, "......1010", {only_x, only_y, read_xy_2, read_yx_3}},
    /* clang-format on */
};

static struct round *rounds;
static const struct litmus *current;
static int threads;
static int delay[THREADS];
static volatile bool over;
static uint64_t matched, played, outcomes[OUTCOMES];

/* Digits of an outcome in the order of struct litmus. */
static void digits_of(const struct round *r, char text[2 + 2 * THREADS + 1])
{
	text[0] = (char)('0' + r->x);
	text[1] = (char)('0' + r->y);
	for (int i = 0; i < THREADS; i++) {
		text[2 + 2 * i] = (char)('0' + r->seen[i][0]);
		text[3 + 2 * i] = (char)('0' + r->seen[i][1]);
	}
	text[2 + 2 * THREADS] = '\0';
}

static bool fits(const char *outcome, const char *digits)
{
	for (; *outcome != '\0'; outcome++, digits++)
		if (*outcome != '.' && *outcome != *digits)
			return false;
	return true;
}

/* Where it is counted: by x, y and what three threads saw; of four the first only stores. */
static unsigned bin(const struct round *r)
{
	unsigned number = (unsigned)(r->x * 3 + r->y);
	int first = threads == THREADS;
	for (int i = first; i < first + 3; i++)
		number = number * 9 + (unsigned)(r->seen[i][0] * 3 + r->seen[i][1]);
	return number;
}

static void meet(struct round *r)
{
	int spins = 0;
	atomic_fetch_add_explicit(&r->here, 1, memory_order_seq_cst);
	while (atomic_load_explicit(&r->here, memory_order_relaxed) < threads)
		if (++spins > SPINS_BEFORE_PAUSES)
			relax();
}

/* Thread 0 decides between two barriers, in which the others wait, whether it is over. */
static void count_batch(void)
{
	for (int i = 0; i < ROUNDS; i++) {
		char digits[2 + 2 * THREADS + 1];
		digits_of(&rounds[i], digits);
		matched += fits(current->outcome, digits);
		outcomes[bin(&rounds[i])]++;
	}
	played += ROUNDS;
	memset(rounds, 0, ROUNDS * sizeof *rounds);
	for (int i = 0; i < threads; i++)
		delay[i] = rand() & 31;
	over = now() > deadline && !(current->verdict == REQUIRED && matched == 0 && now() < deadline + SEEN_SECONDS);
}

static void run_thread(int index)
{
	void (*body)(struct round *) = current->thread[index];
	for (;;) {
		barrier(threads);
		if (over)
			return;
		for (int i = 0; i < ROUNDS; i++) {
			meet(&rounds[i]);
			for (int d = 0; d < delay[index]; d++)
				__asm__ volatile("");
			body(&rounds[i]);
		}
		barrier(threads);
		if (index == 0)
			count_batch();
	}
}

static void print_outcomes(void)
{
	printf("litmus %s: %llu rounds", current->name, (unsigned long long)played);
	for (unsigned i = 0; i < OUTCOMES; i++) {
		if (outcomes[i] == 0)
			continue;
		char digits[9];
		unsigned rest = i;
		for (int digit = 7; digit >= 0; digit--, rest /= 3)
			digits[digit] = (char)('0' + rest % 3);
		digits[8] = '\0';
		printf(", %s %llu", digits, (unsigned long long)outcomes[i]);
	}
	printf("\n");
}

static void play(const struct litmus *litmus, bool together)
{
	for (threads = 0; threads < THREADS && litmus->thread[threads] != NULL; threads++)
		;
	if (threads > processors)
		return;
	current = litmus;
	matched = played = 0;
	over = false;
	memset(rounds, 0, ROUNDS * sizeof *rounds);
	memset(outcomes, 0, sizeof outcomes);
	deadline = now() + budget / 8;
	run_on(threads, run_thread);
	print_outcomes();
	bool wrong = litmus->verdict == FORBIDDEN  ? matched != 0
		     : litmus->verdict == REQUIRED ? matched == 0 && together
						   : false;
	report(litmus->name, wrong ? "%s seen %llu times in %llu rounds" : NULL, litmus->outcome,
	       (unsigned long long)matched, (unsigned long long)played);
}

void case_litmus(bool together)
{
	rounds = mmap(NULL, ROUNDS * sizeof *rounds, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	for (size_t i = 0; i < sizeof tests / sizeof *tests; i++)
		play(&tests[i], together);
	munmap(rounds, ROUNDS * sizeof *rounds);
}
