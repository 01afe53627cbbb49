/* SPDX-License-Identifier: MIT */
#include "real.h"

#ifndef __x86_64__
extern const uint8_t real_code[], real_code_end[], real_stubs[], real_gdt[];
void real_enter(void);
uint32_t v86_flags;

/* Opaque to the compiler, which knows that nothing lies at address 0. */
static volatile uint32_t *real_vectors(void)
{
	volatile uint32_t *vectors;
	__asm__("xor %0, %0" : "=r"(vectors));
	return vectors;
}

void real_start(void)
{
	struct {
		uint16_t limit;
		uint32_t base;
	} __attribute__((packed)) pointer = {sizeof(gdt) - 1, (word)gdt};

	fill_bytes((void *)REAL_LINEAR, 0, 0x50000); /* not every emulator's memory is clear at first */
	fill_bytes((void *)0x8000, 0, 0x8000);
	copy_bytes((void *)REAL_LINEAR, real_code, (word)(real_code_end - real_code));
	copy_bytes((uint8_t *)REAL_LINEAR + (real_gdt - real_code), &pointer, sizeof(pointer));
	gdt_set(REAL_CODE16, descriptor(REAL_LINEAR, 0xffff, 0x9b, 0));
	gdt_set(REAL_DATA16, descriptor(0, 0xffff, 0x93, 0));
	for (unsigned vector = 0; vector < 256; vector++)
		real_vectors()[vector] = (uint32_t)REAL_SEGMENT << 16 | ((word)(real_stubs - real_code) + vector * 8);
	real_regs_clear();
}

void real_vector_set(unsigned vector, unsigned segment, unsigned offset)
{
	real_vectors()[vector] = segment << 16 | offset;
}

void real_regs_clear(void)
{
	fill_bytes((void *)(REAL_LINEAR + REAL_REGS), 0, sizeof(struct real_state));
	real_regs.ds = REAL_DATA_SEGMENT;
	real_regs.es = REAL_EXTRA_SEGMENT;
	real_regs.ss = REAL_STACK_SEGMENT;
	real_regs.sp = REAL_STACK_TOP;
}

static void fragment_place(const uint8_t *code, const uint8_t *end)
{
	copy_bytes((void *)(REAL_LINEAR + REAL_FRAGMENT), code, (word)(end - code));
}

void real_run_bytes(const uint8_t *code, const uint8_t *end)
{
	fragment_place(code, end);
	real_enter();
}

void v86_run_bytes(const uint8_t *code, const uint8_t *end, uint32_t flags)
{
	fragment_place(code, end);
	real_regs.cs = REAL_SEGMENT;
	real_regs.ip = REAL_FRAGMENT;
	v86_flags = flags | FLAG_VM | 2;
	trap = (struct trap){.vector = NO_TRAP};
	v86_enter();
}

void real_facts(const char *group)
{
	fact_of(group, "vector", real_regs.vector);
	fact_of(group, "cs", real_regs.cs);
	fact_of(group, "ip", (uint16_t)(real_regs.ip - REAL_FRAGMENT));
	fact_of(group, "flags", real_regs.flags);
	fact_of(group, "sp", real_regs.sp);
}

void real_probe(const char *group, const uint8_t *code, const uint8_t *end)
{
	real_run_bytes(code, end);
	real_facts(group);
}
#endif
