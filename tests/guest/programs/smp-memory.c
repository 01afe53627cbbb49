/* SPDX-License-Identifier: MIT */
/* Locked instructions. */
#include "smp.h"

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
