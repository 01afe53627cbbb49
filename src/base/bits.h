/* SPDX-License-Identifier: MIT */
/* Bits and unaligned little-endian loads and stores. Usable from code that may not call libc. */
#ifndef NFOLD_BASE_BITS_H
#define NFOLD_BASE_BITS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Our bug, not the guest's and not the host's: stop at once, without libc. */
#define bug_if(condition)                                                                                              \
	do {                                                                                                           \
		if (__builtin_expect(!!(condition), 0))                                                                \
			__builtin_trap();                                                                              \
	} while (0)

#define BIT32(n) (UINT32_C(1) << (n))
#define BIT64(n) (UINT64_C(1) << (n))

#define container_of(pointer, type, member) ((type *)(void *)((char *)(pointer)-offsetof(type, member)))

static inline uint64_t align_down(uint64_t value, uint64_t power_of_two)
{
	return value & ~(power_of_two - 1);
}

static inline uint64_t align_up(uint64_t value, uint64_t power_of_two)
{
	return align_down(value + power_of_two - 1, power_of_two);
}

/* Sign-extends the low `bits` bits of value. */
static inline uint64_t sign_extend(uint64_t value, unsigned bits)
{
	unsigned shift = 64 - bits;
	return (uint64_t)((int64_t)(value << shift) >> shift);
}

/* The mask of an integer of `bytes` bytes (1, 2, 4 or 8). */
static inline uint64_t size_mask(unsigned bytes)
{
	return bytes >= 8 ? ~UINT64_C(0) : (UINT64_C(1) << (bytes * 8)) - 1;
}

/* Copies without libc: the translator's helpers run with the guest's vector registers live. */
static inline void copy_bytes(void *to, const void *from, size_t count)
{
	__asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(count) : : "memory");
}

static inline void fill_bytes(void *to, uint8_t value, size_t count)
{
	__asm__ volatile("rep stosb" : "+D"(to), "+c"(count) : "a"(value) : "memory");
}

/* Loads of 1, 2, 4 or 8 bytes, little-endian, any alignment. The caller has checked the bounds. */
static inline uint64_t load_le(const void *from, unsigned bytes)
{
	switch (bytes) {
	case 1:
		return *(const uint8_t *)from;
	case 2: {
		const struct {
			uint16_t v;
		} __attribute__((packed, may_alias)) *p = from;
		return p->v;
	}
	case 4: {
		const struct {
			uint32_t v;
		} __attribute__((packed, may_alias)) *p = from;
		return p->v;
	}
	default: {
		const struct {
			uint64_t v;
		} __attribute__((packed, may_alias)) *p = from;
		return p->v;
	}
	}
}

static inline void store_le(void *to, uint64_t value, unsigned bytes)
{
	switch (bytes) {
	case 1:
		*(uint8_t *)to = (uint8_t)value;
		break;
	case 2: {
		struct {
			uint16_t v;
		} __attribute__((packed, may_alias)) *p = to;
		p->v = (uint16_t)value;
		break;
	}
	case 4: {
		struct {
			uint32_t v;
		} __attribute__((packed, may_alias)) *p = to;
		p->v = (uint32_t)value;
		break;
	}
	default: {
		struct {
			uint64_t v;
		} __attribute__((packed, may_alias)) *p = to;
		p->v = value;
		break;
	}
	}
}

#endif
