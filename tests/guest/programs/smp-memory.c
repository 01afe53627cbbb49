/* SPDX-License-Identifier: MIT */
/* Locked instructions, and the order of loads and stores. */
#include "smp.h"

/* ---- locked instructions ---- */

static uint8_t *area; /* two pages, and more behind */
static uint64_t locked_offset;

#define LOCKED_KIND(name, type, suffix, text)                                                                          \
	static void locked_##name(int index)                                                                           \
	{                                                                                                              \
		type *at = (type *)(void *)(area + locked_offset);                                                     \
		uint64_t count = 0;                                                                                    \
		while ((count & 255) != 0 || now() < deadline) {                                                       \
			type one = 1;                                                                                  \
			__asm__ volatile(text : "+m"(*at), "+r"(one) : : "memory", "cc");                              \
			(void)one;                                                                                     \
			count++;                                                                                       \
		}                                                                                                      \
		done[index] = count;                                                                                   \
	}

LOCKED_KIND(add64, uint64_t, "q", "lock addq %1, %0")
LOCKED_KIND(inc32, uint32_t, "l", "lock incl %0")
LOCKED_KIND(xadd16, uint16_t, "w", "lock xaddw %1, %0")
LOCKED_KIND(xadd64, uint64_t, "q", "lock xaddq %1, %0")
LOCKED_KIND(sub32, uint32_t, "l", "lock subl $-1, %0")

static void locked_cmpxchg64(int index)
{
	uint64_t *at = (uint64_t *)(void *)(area + locked_offset);
	uint64_t count = 0;
	while ((count & 255) != 0 || now() < deadline) {
		uint64_t old = *(volatile uint64_t *)at;
		uint8_t taken;
		do {
			uint64_t next = old + 1;
			__asm__ volatile("lock cmpxchgq %3, %0; sete %1"
					 : "+m"(*at), "=q"(taken), "+a"(old)
					 : "r"(next)
					 : "memory", "cc");
		} while (!taken);
		count++;
	}
	done[index] = count;
}

/* Both halves count: a torn one is seen. */
static void locked_cmpxchg16b(int index)
{
	uint64_t *at = (uint64_t *)(void *)(area + (locked_offset & ~15ull));
	uint64_t count = 0;
	while ((count & 255) != 0 || now() < deadline) {
		uint64_t low = 0, high = 0;
		uint8_t taken;
		do {
			uint64_t new_low = low + 1, new_high = high + 1;
			__asm__ volatile("lock cmpxchg16b %0; sete %1"
					 : "+m"(*(struct { uint64_t w[2]; } *)(void *)at), "=q"(taken), "+a"(low),
					   "+d"(high)
					 : "b"(new_low), "c"(new_high)
					 : "memory", "cc");
		} while (!taken);
		count++;
	}
	done[index] = count;
}

/* XCHG takes a token that the others wait for. */
static uint64_t guarded;
static void locked_xchg(int index)
{
	uint32_t *at = (uint32_t *)(void *)(area + locked_offset);
	uint64_t count = 0;
	while ((count & 63) != 0 || now() < deadline) {
		uint32_t token = 1;
		for (;;) {
			__asm__ volatile("xchgl %1, %0" : "+m"(*at), "+r"(token) : : "memory");
			if (token == 0)
				break;
			for (int i = 0; i < 1000 && *(volatile uint32_t *)at != 0; i++)
				relax();
		}
		guarded++;
		__asm__ volatile("" : : : "memory");
		*(volatile uint32_t *)at = 0;
		count++;
	}
	done[index] = count;
}

/* Each thread flips a bit of its own, found by a bit offset in a register: the others' bits must stay. */
static atomic_int bits_lost;
static void locked_bits(int index)
{
	uint8_t *at = area + locked_offset - 64;
	uint64_t bit = 64 * 8 + (uint64_t)index * 9 % 64, count = 0;
	while ((count & 255) != 0 || now() < deadline) {
		uint8_t was;
		if (count & 1)
			__asm__ volatile("lock btrq %2, %0; setc %1"
					 : "+m"(*at), "=q"(was)
					 : "r"(bit)
					 : "memory", "cc");
		else
			__asm__ volatile("lock btsq %2, %0; setc %1"
					 : "+m"(*at), "=q"(was)
					 : "r"(bit)
					 : "memory", "cc");
		if (was != (count & 1))
			bits_lost++;
		count++;
	}
}

static void locked_case(const char *what, const char *where, uint64_t offset, unsigned size, void (*run)(int))
{
	char name[100];
	snprintf(name, sizeof name, "%s %s", what, where);
	memset(area, 0, 3 * PAGE);
	memset(done, 0, sizeof done);
	locked_offset = offset;
	deadline = now() + budget / 20;
	run_on(processors, run);
	uint64_t value = 0;
	memcpy(&value, area + (size == 16 ? offset & ~15ull : offset), size > 8 ? 8 : size);
	uint64_t expected = size >= 8 ? total() : total() & ((1ull << size * 8) - 1);
	report(name, value == expected ? NULL : "%llu, not %llu", (unsigned long long)value,
	       (unsigned long long)expected);
}

void case_locked(void)
{
	static const struct {
		const char *name;
		uint64_t end; /* the operand's middle */
	} places[] = {{"aligned", 128 + 8}, {"across two lines", 192}, {"across two pages", PAGE}};
	area = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	for (unsigned i = 0; i < 3; i++) {
		uint64_t middle = places[i].end;
		locked_case("LOCK ADD of 8 bytes", places[i].name, i == 0 ? middle : middle - 3, 8, locked_add64);
		locked_case("LOCK INC of 4 bytes", places[i].name, i == 0 ? middle : middle - 1, 4, locked_inc32);
		locked_case("LOCK SUB of 4 bytes", places[i].name, i == 0 ? middle : middle - 2, 4, locked_sub32);
		locked_case("LOCK XADD of 2 bytes", places[i].name, i == 0 ? middle : middle - 1, 2, locked_xadd16);
		locked_case("LOCK XADD of 8 bytes", places[i].name, i == 0 ? middle : middle - 7, 8, locked_xadd64);
		locked_case("LOCK CMPXCHG of 8 bytes", places[i].name, i == 0 ? middle : middle - 4, 8,
			    locked_cmpxchg64);
		char name[100];
		memset(area, 0, 3 * PAGE);
		guarded = 0;
		locked_offset = i == 0 ? middle : middle - 2;
		deadline = now() + budget / 20;
		run_on(processors, locked_xchg);
		snprintf(name, sizeof name, "a spin lock by XCHG %s", places[i].name);
		report(name, guarded == total() ? NULL : "%llu, not %llu", (unsigned long long)guarded,
		       (unsigned long long)total());
		memset(area, 0, 3 * PAGE);
		bits_lost = 0;
		locked_offset = i == 0 ? middle : middle - 4;
		deadline = now() + budget / 20;
		run_on(processors, locked_bits);
		snprintf(name, sizeof name, "LOCK BTS and BTR by a register %s", places[i].name);
		report(name, bits_lost ? "%d bits lost" : NULL, (int)bits_lost);
	}
	locked_case("LOCK CMPXCHG16B", "aligned", 128, 16, locked_cmpxchg16b);
}

/* ---- memory order ---- */

/* Each round has variables of its own, so that rounds need no barrier but at their ends. */
#define ROUNDS 4096
struct round {
	_Alignas(64) uint64_t x;
	_Alignas(64) uint64_t y;
	_Alignas(64) uint64_t seen[8];
};
static struct round *rounds;
#define STORE(at, value) __asm__ volatile("movq %1, %0" : "=m"(at) : "r"((uint64_t)(value)) : "memory")
#define LOAD(to, at) __asm__ volatile("movq %1, %0" : "=r"(to) : "m"(at) : "memory")

enum fence { NO_FENCE, MFENCE, LOCKED, SERIALIZED, XCHANGED };
static enum fence fence_kind;
static int litmus_delay[MAX];

static inline void fence(void)
{
	unsigned a = 0, b, c = 0, d;
	uint64_t scratch = 0;
	switch (fence_kind) {
	case MFENCE:
		__asm__ volatile("mfence" : : : "memory");
		break;
	case LOCKED:
		__asm__ volatile("lock addq $0, %0" : "+m"(scratch) : : "memory", "cc");
		break;
	case SERIALIZED:
		__asm__ volatile("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d) : : "memory");
		break;
	case XCHANGED:
		__asm__ volatile("xchgq %1, %0" : "+m"(scratch), "+r"(scratch) : : "memory");
		break;
	case NO_FENCE:
		break;
	}
}

static void litmus_store_buffer(int index, struct round *r)
{
	uint64_t value;
	if (index == 0) {
		STORE(r->x, 1);
		fence();
		LOAD(value, r->y);
	} else {
		STORE(r->y, 1);
		fence();
		LOAD(value, r->x);
	}
	r->seen[index] = value;
}

static void litmus_message(int index, struct round *r)
{
	uint64_t first, second;
	if (index == 0) {
		STORE(r->x, 1);
		STORE(r->y, 1);
		return;
	}
	LOAD(first, r->y);
	LOAD(second, r->x);
	r->seen[0] = first;
	r->seen[1] = second;
}

static void litmus_load_buffer(int index, struct round *r)
{
	uint64_t value;
	if (index == 0) {
		LOAD(value, r->x);
		STORE(r->y, 1);
	} else {
		LOAD(value, r->y);
		STORE(r->x, 1);
	}
	r->seen[index] = value;
}

static void litmus_iriw(int index, struct round *r)
{
	uint64_t first, second;
	switch (index) {
	case 0:
		STORE(r->x, 1);
		return;
	case 1:
		STORE(r->y, 1);
		return;
	case 2:
		LOAD(first, r->x);
		LOAD(second, r->y);
		break;
	default:
		LOAD(first, r->y);
		LOAD(second, r->x);
	}
	r->seen[(index & 1) * 2] = first;
	r->seen[(index & 1) * 2 + 1] = second;
}

/* Written by one processor, read by the other, answered: what is read last is not older. */
static void litmus_coherence(int index, struct round *r)
{
	uint64_t first, second;
	if (index == 0) {
		STORE(r->x, 1);
		STORE(r->x, 2);
		return;
	}
	LOAD(first, r->x);
	LOAD(second, r->x);
	r->seen[0] = first;
	r->seen[1] = second;
}

static bool sb_broken(const struct round *r)
{
	return r->seen[0] == 0 && r->seen[1] == 0;
}
static bool mp_broken(const struct round *r)
{
	return r->seen[0] == 1 && r->seen[1] == 0;
}
static bool lb_broken(const struct round *r)
{
	return r->seen[0] == 1 && r->seen[1] == 1;
}
static bool iriw_broken(const struct round *r)
{
	return r->seen[0] == 1 && r->seen[1] == 0 && r->seen[2] == 1 && r->seen[3] == 0;
}
static bool coherence_broken(const struct round *r)
{
	return r->seen[0] > r->seen[1];
}

static void (*litmus_body)(int, struct round *);
static int litmus_threads;
static bool (*litmus_broken)(const struct round *);
static uint64_t litmus_seen, litmus_rounds;
static volatile bool litmus_over;

static void litmus_run(int index)
{
	for (;;) {
		barrier(litmus_threads);
		if (litmus_over)
			return;
		/* Both go through the rounds at about the same speed; the delay lets them meet in some of them. */
		for (int i = 0; i < ROUNDS; i++) {
			for (int d = 0; d < litmus_delay[index]; d++)
				__asm__ volatile("");
			litmus_body(index, &rounds[i]);
		}
		barrier(litmus_threads);
		if (index != 0)
			continue;
		for (int i = 0; i < ROUNDS; i++)
			litmus_seen += litmus_broken(&rounds[i]);
		litmus_rounds += ROUNDS;
		memset(rounds, 0, ROUNDS * sizeof *rounds);
		for (int i = 0; i < litmus_threads; i++)
			litmus_delay[i] = rand() & 15;
		litmus_over = now() > deadline;
	}
}

/* Thread 0 decides whether it is over between two barriers, in which the others wait. */
static void litmus(const char *name, int threads, void (*body)(int, struct round *),
		   bool (*broken)(const struct round *), enum fence kind, bool allowed)
{
	if (threads > processors && processors < 2)
		return;
	memset(rounds, 0, ROUNDS * sizeof *rounds);
	litmus_body = body;
	litmus_broken = broken;
	litmus_threads = threads;
	litmus_seen = litmus_rounds = 0;
	litmus_over = false;
	fence_kind = kind;
	deadline = now() + budget / 10;
	run_on(threads, litmus_run);
	if (allowed)
		printf("%s: seen %llu times in %llu rounds\n", name, (unsigned long long)litmus_seen,
		       (unsigned long long)litmus_rounds);
	else
		report(name, litmus_seen ? "seen %llu times in %llu rounds" : NULL, (unsigned long long)litmus_seen,
		       (unsigned long long)litmus_rounds);
}

void case_litmus(void)
{
	rounds = mmap(NULL, ROUNDS * sizeof *rounds, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	litmus("SB: stores may pass loads", 2, litmus_store_buffer, sb_broken, NO_FENCE, true);
	litmus("SB with MFENCE", 2, litmus_store_buffer, sb_broken, MFENCE, false);
	litmus("SB with a locked instruction", 2, litmus_store_buffer, sb_broken, LOCKED, false);
	litmus("SB with XCHG", 2, litmus_store_buffer, sb_broken, XCHANGED, false);
	litmus("SB with CPUID, which serializes", 2, litmus_store_buffer, sb_broken, SERIALIZED, false);
	litmus("MP: stores stay in order, and loads", 2, litmus_message, mp_broken, NO_FENCE, false);
	litmus("LB: loads come before later stores", 2, litmus_load_buffer, lb_broken, NO_FENCE, false);
	litmus("CoRR: a location has one order", 2, litmus_coherence, coherence_broken, NO_FENCE, false);
	if (processors >= 4)
		litmus("IRIW: all see stores in one order", 4, litmus_iriw, iriw_broken, NO_FENCE, false);
}
