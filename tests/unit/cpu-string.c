/* SPDX-License-Identifier: MIT */
/*
 * String instructions against a reference that works byte by byte: random lengths, directions and element sizes over
 * pages that are missing, read-only, hold code or are scattered in RAM; and over segments with limits and registers
 * that wrap.
 */
#include "cpu-op.h"

#include <stdlib.h>
#include <string.h>

#define WINDOW UINT64_C(0x7f0000000000) /* linear */
#define PAGES 6u
#define RAM_BASE 0x400000u /* where the window's pages lie, every other one and backwards */

enum kind { KIND_MOVS, KIND_CMPS, KIND_STOS, KIND_LODS, KIND_SCAS, KIND_COUNT };

static const enum cpu_op ops[KIND_COUNT] = {CPU_OP_movs, CPU_OP_cmps, CPU_OP_stos, CPU_OP_lods, CPU_OP_scas};

/* One case and the reference's state. */
struct string_case {
	enum kind kind;
	unsigned size, address_size;
	bool rep, repne, backward;
	uint64_t rax, rcx, rsi, rdi;
	uint32_t flags;
	bool fault;
	uint64_t fault_address;
};

/* Valid offsets of a segment, both inclusive; not for the paged window. */
struct bounds {
	uint64_t low, high;
};

struct world {
	struct fixture *fixture;
	struct random random;
	uint8_t *memory; /* the reference's copy of RAM, by guest-physical address */
	bool paged;	 /* the window; otherwise flat segments below 64 KiB */
	bool present[PAGES], writable[PAGES];
	struct bounds source, destination;
};

static uint64_t window_gpa(unsigned page)
{
	return RAM_BASE + (PAGES - 1 - page) * 0x2000;
}

/* The reference's byte at an offset, or NULL: fault. */
static uint8_t *world_byte(struct world *world, uint64_t offset, bool write, struct bounds bounds)
{
	uint64_t page = (offset - WINDOW) >> 12;

	if (!world->paged)
		return offset >= bounds.low && offset <= bounds.high ? world->memory + offset : NULL;
	if (page >= PAGES || !world->present[page] || (write && !world->writable[page]))
		return NULL;
	return world->memory + window_gpa((unsigned)page) + (offset & 0xfff);
}

static bool reference_access(struct world *world, struct string_case *c, uint64_t offset, struct bounds bounds,
			     bool write, uint64_t *value)
{
	uint8_t *byte[8];

	for (unsigned i = 0; i < c->size; i++) {
		byte[i] = world_byte(world, offset + i, write, bounds);
		if (byte[i] == NULL) {
			c->fault = true;
			c->fault_address = i == 0 ? offset : (offset + i) & ~UINT64_C(0xfff);
			return false;
		}
	}
	if (!write)
		*value = 0;
	for (unsigned i = 0; i < c->size; i++) {
		if (write)
			*byte[i] = (uint8_t)(*value >> (i * 8));
		else
			*value |= (uint64_t)*byte[i] << (i * 8);
	}
	return true;
}

/* The host's own CMP gives the reference its flags. */
static uint32_t host_compare(uint64_t a, uint64_t b, unsigned size)
{
	uint64_t flags = 0;

	switch (size) {
	case 1:
		__asm__("cmpb %b2, %b1; pushfq; popq %0" : "=r"(flags) : "q"(a), "q"(b) : "cc", "memory");
		break;
	case 2:
		__asm__("cmpw %w2, %w1; pushfq; popq %0" : "=r"(flags) : "r"(a), "r"(b) : "cc", "memory");
		break;
	case 4:
		__asm__("cmpl %k2, %k1; pushfq; popq %0" : "=r"(flags) : "r"(a), "r"(b) : "cc", "memory");
		break;
	default:
		__asm__("cmpq %2, %1; pushfq; popq %0" : "=r"(flags) : "r"(a), "r"(b) : "cc", "memory");
		break;
	}
	return (uint32_t)flags & FLAGS_ARITHMETIC;
}

static uint64_t moved(const struct string_case *c, uint64_t value)
{
	uint64_t mask = size_mask(c->address_size);
	uint64_t to = (value + (c->backward ? -(uint64_t)c->size : c->size)) & mask;

	return c->address_size == 2 ? (value & ~mask) | to : to;
}

/* One element. False: fault. */
static bool reference_element(struct world *world, struct string_case *c)
{
	uint64_t mask = size_mask(c->address_size), a = 0, b = 0;
	struct bounds source = world->source, destination = world->destination;
	bool loads = c->kind == KIND_MOVS || c->kind == KIND_LODS || c->kind == KIND_CMPS;
	bool compares = c->kind == KIND_CMPS || c->kind == KIND_SCAS;

	/* Where both fault processors report ES:[rDI] of a comparison, but the source of a move. */
	if (compares && !reference_access(world, c, c->rdi & mask, destination, false, &b))
		return false;
	if (loads && !reference_access(world, c, c->rsi & mask, source, false, &a))
		return false;
	switch (c->kind) {
	case KIND_STOS:
		a = c->rax;
		__attribute__((fallthrough));
	case KIND_MOVS:
		if (!reference_access(world, c, c->rdi & mask, destination, true, &a))
			return false;
		break;
	case KIND_LODS:
		if (c->size >= 4)
			c->rax = a;
		else
			c->rax = (c->rax & ~size_mask(c->size)) | a;
		break;
	case KIND_SCAS:
		a = c->rax;
		__attribute__((fallthrough));
	default:
		c->flags = host_compare(a, b, c->size);
		break;
	}
	if (loads)
		c->rsi = moved(c, c->rsi);
	if (c->kind != KIND_LODS)
		c->rdi = moved(c, c->rdi);
	return true;
}

static void reference_run(struct world *world, struct string_case *c)
{
	uint64_t mask = size_mask(c->address_size);
	bool compares = c->kind == KIND_CMPS || c->kind == KIND_SCAS;

	if (!c->rep && !c->repne) {
		reference_element(world, c);
		return;
	}
	while ((c->rcx & mask) != 0) {
		if (!reference_element(world, c))
			return;
		c->rcx = c->address_size == 2 ? (c->rcx & ~mask) | ((c->rcx - 1) & mask) : (c->rcx - 1) & mask;
		if (compares && ((c->flags & FLAG_ZF) != 0) == c->repne)
			return;
	}
}

static void run_and_compare(struct world *world, struct string_case *c)
{
	struct fixture *fixture = world->fixture;
	struct cpu *cpu = fixture->cpu;
	bool interrupted = random_below(&world->random, 2) != 0;
	uint32_t flags_before;
	enum cpu_next next;

	cpu->gpr[CPU_RAX] = c->rax;
	cpu->gpr[CPU_RCX] = c->rcx;
	cpu->gpr[CPU_RSI] = c->rsi;
	cpu->gpr[CPU_RDI] = c->rdi;
	cpu->flags_arithmetic = c->flags;
	cpu->flags_system = c->backward ? FLAG_DF : 0;
	cpu->run = interrupted ? 0 : 1;
	cpu->rip = 0x5000;
	for (unsigned turn = 0;; turn++) {
		assert_in_range(turn, 0, 0x20000);
		flags_before = cpu->flags_arithmetic;
		next = op_run(fixture, ops[c->kind],
			      INSN(.operand_size = (uint8_t)c->size, .address_size = (uint8_t)c->address_size,
				   .rep = c->rep, .repne = c->repne));
		if (next != CPU_RESTART)
			break;
		assert_true(interrupted);
		assert_int_equal(cpu->rip, 0x5000);
	}
	reference_run(world, c);
	assert_int_equal(next == CPU_FAULT, c->fault);
	if (c->fault && world->paged)
		assert_int_equal(cpu->pending.cr2, c->fault_address);
	cpu->pending.valid = false;
	assert_int_equal(cpu->gpr[CPU_RAX], c->rax);
	assert_int_equal(cpu->gpr[CPU_RCX], c->rcx);
	assert_int_equal(cpu->gpr[CPU_RSI], c->rsi);
	assert_int_equal(cpu->gpr[CPU_RDI], c->rdi);
	/* A fault finds the flags as they were when the instruction began, or went on after an event: SDM 2B, REP. */
	assert_int_equal(cpu->flags_arithmetic, c->fault ? flags_before : c->flags);
}

static void compare_memory(struct world *world, uint64_t gpa, uint64_t size)
{
	assert_memory_equal(world->fixture->memory.host + gpa, world->memory + gpa, size);
}

/* Mostly equal bytes, so that comparisons run for a while. */
static void fill_random(struct world *world, uint64_t gpa, uint64_t size)
{
	for (uint64_t i = 0; i < size; i++) {
		uint64_t r = random_next(&world->random);
		world->memory[gpa + i] = (r & 0xff) == 0 ? (uint8_t)(r >> 8) : 0x5a;
	}
	memcpy(world->fixture->memory.host + gpa, world->memory + gpa, size);
}

static void random_case(struct world *world, struct string_case *c)
{
	struct random *random = &world->random;

	*c = (struct string_case){.kind = (enum kind)random_below(random, KIND_COUNT),
				  .size = 1u << random_below(random, world->paged ? 4 : 3),
				  .backward = random_below(random, 2) != 0,
				  .rax = random_below(random, 3) ? UINT64_C(0x5a5a5a5a5a5a5a5a) : random_next(random),
				  .flags = (uint32_t)random_next(random) & FLAGS_ARITHMETIC};
	switch (random_below(random, 5)) {
	case 0:
		break;
	case 1:
		c->repne = true;
		break;
	default:
		c->rep = true;
		break;
	}
}

static struct world world_new(struct fixture *fixture, uint64_t seed, bool paged)
{
	struct world world = {.fixture = fixture, .random = {seed}, .paged = paged};

	world.memory = calloc(1, RAM_SIZE);
	assert_non_null(world.memory);
	return world;
}

static void test_paged(void **state)
{
	struct fixture *fixture = *state;
	struct world world = world_new(fixture, 0x1234567, true);

	start_long(fixture);
	enter_user(fixture, SEL_USER64);
	for (unsigned round = 0; round < 60; round++) {
		for (unsigned i = 0; i < PAGES; i++) {
			uint64_t attributes = random_below(&world.random, 8);
			world.present[i] = attributes != 0;
			world.writable[i] = attributes != 1;
			uint64_t slot = paging_map(fixture, PAGING_LONG, WINDOW + i * 4096, window_gpa(i),
						   PTE_U | (world.writable[i] ? PTE_W : 0), 12);
			if (!world.present[i])
				put(fixture, slot, 8, 0);
			*memory_page_flags(&fixture->memory, window_gpa(i)) = attributes == 2 ? PAGE_CODE : 0;
			fill_random(&world, window_gpa(i), 4096);
		}
		mmu_flush_all(fixture->cpu, true);
		for (unsigned i = 0; i < 200; i++) {
			struct string_case c;
			random_case(&world, &c);
			c.address_size = 8;
			c.rsi = WINDOW + random_below(&world.random, PAGES * 4096);
			c.rdi = WINDOW + random_below(&world.random, PAGES * 4096);
			if (random_below(&world.random, 4) == 0) /* overlapping */
				c.rdi = c.rsi + random_below(&world.random, 16);
			c.rcx = random_below(&world.random, random_below(&world.random, 2) ? 20 : 3000);
			run_and_compare(&world, &c);
		}
		for (unsigned i = 0; i < PAGES; i++)
			compare_memory(&world, window_gpa(i), 4096);
	}
	free(world.memory);
}

/* Sets a segment's limit and direction, and says what that makes valid. */
static struct bounds set_limit(struct cpu_segment *segment, uint32_t limit, bool down)
{
	segment->limit = limit;
	segment->access = (uint16_t)(down ? segment->access | SEGMENT_DOWN : segment->access & ~SEGMENT_DOWN);
	return down ? (struct bounds){(uint64_t)limit + 1, 0xffffffff} : (struct bounds){0, limit};
}

/* Flat memory below 64 KiB through 16-bit registers, with limits. RCX keeps its upper bits. */
static void test_wrap_and_limits(void **state)
{
	static const struct {
		uint32_t limit;
		bool down;
	} limits[] = {{0xffffffff, false}, {0xffff, false}, {0x8123, false}, {0x8000, false}, {0x5ffe, true}};
	struct fixture *fixture = *state;
	struct world world = world_new(fixture, 0x7654321, false);
	struct cpu *cpu = fixture->cpu;

	start_protected(fixture);
	memory_fill(&fixture->memory, 0, 0, 0x20000); /* descriptor tables are no longer needed */
	for (unsigned round = 0; round < 25; round++) {
		unsigned from = round % 5, to = round / 5;
		world.source = set_limit(&cpu->segment[CPU_DS], limits[from].limit, limits[from].down);
		world.destination = set_limit(&cpu->segment[CPU_ES], limits[to].limit, limits[to].down);
		cpu_mode_update(cpu);
		fill_random(&world, 0, 0x20000);
		for (unsigned i = 0; i < 100; i++) {
			struct string_case c;
			random_case(&world, &c);
			c.address_size = random_below(&world.random, 4) == 0 ? 4 : 2;
			c.rsi = random_below(&world.random, 0x10000);
			c.rdi = random_below(&world.random, 0x10000);
			if (random_below(&world.random, 2))
				c.rdi = 0xfff0 + random_below(&world.random, 16);
			c.rcx = random_below(&world.random, 0x3000);
			if (c.address_size == 2) {
				c.rsi |= 0x450000;
				c.rcx |= 0xab0000;
			} else if (c.backward) {
				c.rcx &= 0xff; /* stays above zero */
				c.rsi |= 0x1000;
				c.rdi |= 0x1000;
			}
			run_and_compare(&world, &c);
		}
		compare_memory(&world, 0, 0x20000);
	}
	free(world.memory);
}

/* In 64-bit mode a 32-bit address size clears the upper halves: at once on Intel's processors (observed), else when the
 * registers change. */
static void test_count_zero(void **state)
{
	struct fixture *fixture = *state;
	struct cpu *cpu = fixture->cpu;

	start_long(fixture);
	cpu->run = 1;
	cpu->gpr[CPU_RCX] = UINT64_C(0x100000000);
	cpu->gpr[CPU_RSI] = cpu->gpr[CPU_RDI] = UINT64_C(0xdead00000000);
	op_succeeds(fixture, CPU_OP_movs, INSN(.operand_size = 4, .address_size = 4, .rep = true));
	assert_int_equal(cpu->gpr[CPU_RCX], 0);
	assert_int_equal(cpu->gpr[CPU_RSI], 0);
	assert_int_equal(cpu->gpr[CPU_RDI], 0);
	cpu->gpr[CPU_RCX] = UINT64_C(0x100000000);
	cpu->gpr[CPU_RSI] = UINT64_C(0xdead00000000);
	op_succeeds(fixture, CPU_OP_lods, INSN(.operand_size = 4, .address_size = 4, .rep = true));
	assert_int_equal(cpu->gpr[CPU_RCX], 0);
	assert_int_equal(cpu->gpr[CPU_RSI], UINT64_C(0xdead00000000));
	memcpy(fixture->model.vendor, "AuthenticAMD", 13);
	cpu->gpr[CPU_RCX] = UINT64_C(0x100000000);
	op_succeeds(fixture, CPU_OP_movs, INSN(.operand_size = 4, .address_size = 4, .rep = true));
	assert_int_equal(cpu->gpr[CPU_RCX], UINT64_C(0x100000000));
	assert_int_equal(cpu->gpr[CPU_RSI], UINT64_C(0xdead00000000));
	cpu->gpr[CPU_RCX] = UINT64_C(0x100000001);
	cpu->gpr[CPU_RDI] = UINT64_C(0xdead00006000);
	op_succeeds(fixture, CPU_OP_stos, INSN(.operand_size = 4, .address_size = 4, .rep = true));
	assert_int_equal(cpu->gpr[CPU_RCX], 0);
	assert_int_equal(cpu->gpr[CPU_RDI], 0x6004);
}

/* FS and GS bases count for the source only, and the destination's segment is always ES. */
static void test_source_base(void **state)
{
	struct fixture *fixture = *state;
	struct cpu *cpu = fixture->cpu;

	start_long(fixture);
	cpu->segment[CPU_GS].base = 0x6000;
	put(fixture, 0x6010, 8, 0x1122334455667788);
	cpu->gpr[CPU_RSI] = 0x10;
	cpu->gpr[CPU_RDI] = 0x7000;
	op_succeeds(fixture, CPU_OP_movs, INSN(.operand_size = 8, .segment = CPU_GS));
	assert_int_equal(get(fixture, 0x7000, 8), 0x1122334455667788);
}

/* MMIO: one device access per element, at its address and of its size. */
static void test_device(void **state)
{
	struct fixture *fixture = *state;
	struct cpu *cpu = fixture->cpu;

	start_long(fixture);
	paging_map(fixture, PAGING_LONG, WINDOW, DEVICE_BASE, PTE_W, 12);
	cpu->run = 1;
	cpu->gpr[CPU_RAX] = 0x77;
	cpu->gpr[CPU_RCX] = 5;
	cpu->gpr[CPU_RDI] = WINDOW + 8;
	op_succeeds(fixture, CPU_OP_stos, INSN(.operand_size = 2, .rep = true));
	assert_int_equal(fixture->device_accesses, 5);
	assert_int_equal(fixture->device_offset, 16);
	assert_int_equal(fixture->device_size, 2);
	assert_int_equal(fixture->device_value, 0x77);
	fixture->device_value = 0x4142;
	cpu->gpr[CPU_RCX] = 3;
	cpu->gpr[CPU_RSI] = WINDOW;
	cpu->gpr[CPU_RDI] = 0x6000;
	op_succeeds(fixture, CPU_OP_movs, INSN(.operand_size = 2, .rep = true));
	assert_int_equal(get(fixture, 0x6000, 8), 0x414241424142);
}

/* Under EFLAGS.TF every element traps; the last one is left to the engine like any instruction. */
static void test_single_step(void **state)
{
	struct fixture *fixture = *state;
	struct cpu *cpu = fixture->cpu;

	start_long(fixture);
	cpu->run = 1;
	cpu->flags_system |= FLAG_TF;
	cpu_mode_update(cpu);
	cpu->gpr[CPU_RCX] = 3;
	cpu->gpr[CPU_RDI] = 0x6000;
	for (unsigned left = 2; left > 0; left--) {
		assert_int_equal(op_run(fixture, CPU_OP_stos, INSN(.operand_size = 1, .rep = true)), CPU_RESTART);
		assert_int_equal(cpu->gpr[CPU_RCX], left);
		assert_true(cpu->debug_trap);
		assert_int_equal(cpu->debug_dr6, BIT64(14));
		cpu->debug_trap = false;
		cpu->debug_dr6 = 0;
	}
	op_succeeds(fixture, CPU_OP_stos, INSN(.operand_size = 1, .rep = true));
	assert_int_equal(cpu->gpr[CPU_RCX], 0);
	assert_false(cpu->debug_trap);
}

/* A data breakpoint in the middle stops the repetition behind the element that touched it. */
static void test_data_breakpoint(void **state)
{
	struct fixture *fixture = *state;
	struct cpu *cpu = fixture->cpu;

	start_long(fixture);
	cpu->run = 1;
	cpu->gpr[CPU_RCX] = 0x6010;
	op_succeeds(fixture, CPU_OP_mov_to_dr, INSN(.reg = 0, .rm = CPU_RCX));
	cpu->gpr[CPU_RCX] = 1 | 1 << 16; /* L0, writes, one byte */
	op_succeeds(fixture, CPU_OP_mov_to_dr, INSN(.reg = 7, .rm = CPU_RCX));
	cpu->gpr[CPU_RCX] = 0x100;
	cpu->gpr[CPU_RDI] = 0x6000;
	assert_int_equal(op_run(fixture, CPU_OP_stos, INSN(.operand_size = 1, .rep = true)), CPU_RESTART);
	assert_int_equal(cpu->gpr[CPU_RDI], 0x6011);
	assert_int_equal(cpu->gpr[CPU_RCX], 0xef);
	assert_int_equal(cpu->debug_dr6, 1);
}

/* #AC in user code under EFLAGS.AC, before anything moves. */
static void test_alignment(void **state)
{
	struct fixture *fixture = *state;
	struct cpu *cpu = fixture->cpu;

	start_long(fixture);
	enter_user(fixture, SEL_USER64);
	cpu->cr0 |= CR0_AM;
	cpu->flags_system |= FLAG_AC;
	cpu_mode_update(cpu);
	cpu->gpr[CPU_RSI] = 0x6000;
	cpu->gpr[CPU_RDI] = 0x7002;
	op_faults(fixture, CPU_OP_movs, INSN(.operand_size = 4), VECTOR_AC, 0);
	cpu->gpr[CPU_RDI] = 0x7004;
	op_succeeds(fixture, CPU_OP_movs, INSN(.operand_size = 4));
}

static int setup(void **state)
{
	*state = fixture_new();
	return 0;
}

static int teardown(void **state)
{
	fixture_free(*state);
	return 0;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(test_paged),  TEST(test_wrap_and_limits), TEST(test_count_zero),      TEST(test_source_base),
	    TEST(test_device), TEST(test_single_step),	   TEST(test_data_breakpoint), TEST(test_alignment),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
