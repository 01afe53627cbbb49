/* SPDX-License-Identifier: MIT */
/*
 * Accesses that share a check: random straight code with memory operands near page edges, run with and without sharing.
 * Registers, flags, CR2, memory, page tables with their A and D bits, and where the program ended must be the same.
 */
#include "translate/engine.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <cmocka.h>
#include <string.h>

#include "base/bits.h"
#include "cpu/cpuid.h"
#include "cpu/mmu.h"
#include "memory/memory.h"
#include "translate/block.h"

#define RAM_SIZE (4u << 20)
#define CODE 0x3000u
#define OTHER_CODE 0x4000u
#define TABLES 0x10000u /* four pages in a row: one of each level */
#define WINDOW 0x100000u
#define WINDOW_PAGES 16u
#define PROGRAMS 1500u
#define RUNS 6u

struct fixture {
	struct memory memory;
	struct io_map ports, mmio;
	struct cpu_model model;
	struct clock clock;
	struct ledger *ledger;
	int ledger_fd;
	struct engine *engine;
	struct engine_vcpu *vcpu;
	struct cpu *cpu;
	uint64_t random;
};

/* How a program ended, and all it has changed. */
struct outcome {
	uint64_t gpr[16], rip, flags, cr2, memory;
	uint8_t xmm[16];
	enum engine_exit why;
};

static void no_lock(void *opaque)
{
	(void)opaque;
}

static int no_interrupt(void *opaque)
{
	(void)opaque;
	return -1;
}

static uint32_t draw(struct fixture *world, uint32_t below)
{
	world->random ^= world->random << 13;
	world->random ^= world->random >> 7;
	world->random ^= world->random << 17;
	return (uint32_t)(world->random >> 16) % below;
}

static void start(struct fixture *world, const struct engine_options *options)
{
	struct error error = {0};
	memset(world, 0, sizeof *world);
	assert_true(memory_init(&world->memory, RAM_SIZE, &error));
	assert_true(memory_add_region(&world->memory, 0, RAM_SIZE, 0, false, &error));
	io_map_init(&world->ports, 0x10000);
	io_map_init(&world->mmio, 0);
	assert_true(cpu_model_init(&world->model, "max", 1, 1000000000, &error));
	clock_init(&world->clock, CLOCK_MANUAL);
	world->ledger = ledger_create(1, &world->ledger_fd, &error);
	assert_non_null(world->ledger);
	world->engine = engine_create(&world->memory, &world->model, options, &error);
	assert_non_null(world->engine);
	world->vcpu = engine_vcpu_create(world->engine, 0, &error);
	assert_non_null(world->vcpu);
	struct cpu *cpu = world->cpu = engine_vcpu_cpu(world->vcpu);
	cpu->ports = &world->ports;
	cpu->mmio = &world->mmio;
	cpu->ledger = &world->ledger->vcpu[0];
	cpu->clock = &world->clock;
	cpu->device_lock = cpu->device_unlock = no_lock;
	cpu->controller.acknowledge = no_interrupt;
	assert_true(engine_vcpu_attach(world->vcpu, &error));
}

static void end(struct fixture *world)
{
	engine_vcpu_detach(world->vcpu);
	engine_vcpu_destroy(world->vcpu);
	engine_destroy(world->engine);
	ledger_close(world->ledger, world->ledger_fd);
	memory_destroy(&world->memory);
}

/* 64-bit or 32-bit code under 4-level paging, privilege 0, no IDT: an exception shuts the processor down, and its state
 * is that before the instruction. */
static void set_mode(struct cpu *cpu, bool wide)
{
	cpu_reset(cpu);
	cpu->cr0 |= CR0_PE | CR0_PG | CR0_WP;
	cpu->cr4 |= CR4_PAE | BIT64(9);
	cpu->efer |= EFER_LME | EFER_LMA;
	cpu->cr3 = TABLES;
	cpu->idtr.limit = 0;
	for (unsigned i = 0; i < CPU_SEGMENT_COUNT; i++) {
		uint16_t access =
		    SEGMENT_G | (i == CPU_CS ? (wide ? SEGMENT_L : SEGMENT_DB) | 0x9b : SEGMENT_DB | 0x93);
		cpu->segment[i] = (struct cpu_segment){.limit = UINT32_MAX, .selector = 8, .access = access};
	}
	cpu->cpl = 0;
	cpu_mode_update(cpu);
	mmu_flush_all(cpu, true);
}

/*
 * The first 2 MiB map themselves, but for the window: there each page is writable, read-only, absent, outside of RAM,
 * or a page with code. None has been accessed or written to.
 */
static void put_tables(struct fixture *world)
{
	uint64_t table[512];
	for (unsigned level = 0; level < 3; level++) {
		memset(table, 0, sizeof table);
		table[0] = (TABLES + (level + 1) * PAGE_SIZE) | 7;
		assert_true(memory_write(&world->memory, TABLES + level * PAGE_SIZE, table, sizeof table));
	}
	for (unsigned i = 0; i < 512; i++)
		table[i] = i * PAGE_SIZE | 3;
	for (unsigned i = 0; i < WINDOW_PAGES; i++) {
		uint64_t *entry = &table[WINDOW / PAGE_SIZE + i];
		unsigned kind = draw(world, 12);
		if (kind == 0)
			*entry &= ~UINT64_C(3);
		else if (kind <= 2)
			*entry &= ~UINT64_C(2);
		else if (kind == 3)
			*entry = RAM_SIZE | 3;
		else if (kind == 4)
			*entry = OTHER_CODE | 3;
	}
	assert_true(memory_write(&world->memory, TABLES + 3 * PAGE_SIZE, table, sizeof table));
}

struct program {
	uint8_t bytes[512];
	unsigned size;
	unsigned favourite; /* among the base registers */
	bool wide;
};

static void put(struct program *program, unsigned count, ...)
{
	va_list bytes;
	va_start(bytes, count);
	for (unsigned i = 0; i < count; i++)
		program->bytes[program->size++] = (uint8_t)va_arg(bytes, int);
	va_end(bytes);
}

static unsigned draw_data_register(struct fixture *world)
{
	static const uint8_t registers[] = {CPU_RAX, CPU_RCX, CPU_RDX};
	return registers[draw(world, 3)];
}

/* [REX] opcode modrm with RBX, RBP, RSI, RDI, RSP or R12 as base, sometimes RDX as index, and a small displacement. */
static void put_access(struct fixture *world, struct program *program, unsigned map, unsigned opcode, unsigned reg)
{
	static const uint8_t bases[] = {CPU_RBX, CPU_RBP, CPU_RSI, CPU_RDI, CPU_RSP, CPU_R12};
	unsigned base = bases[(program->favourite + draw(world, 2)) % (program->wide ? 6u : 5u)];
	bool index = draw(world, 3) == 0;
	if (program->wide)
		put(program, 1, (draw(world, 3) ? 0x48 : 0x40) | base >> 3);
	if (map != 0)
		put(program, 1, map);
	put(program, 2, opcode, 0x40 | reg << 3 | (index || (base & 7) == 4 ? 4 : base & 7));
	if (index)
		put(program, 1, 2 << 6 | CPU_RDX << 3 | (base & 7));
	else if ((base & 7) == 4)
		put(program, 1, 0x20 | (base & 7));
	put(program, 1, draw(world, 3) ? draw(world, 64) - 24 : draw(world, 256));
}

/* MOV to or from a constant address: relative to RIP in 64-bit code. */
static void put_constant_access(struct fixture *world, struct program *program, unsigned reg)
{
	uint32_t to = WINDOW + (1 + draw(world, 2)) * PAGE_SIZE + draw(world, 64) - 32;
	put(program, 2, draw(world, 2) ? 0x8b : 0x89, 5 | reg << 3);
	if (program->wide)
		to -= CODE + program->size + 4;
	put(program, 4, to & 0xff, to >> 8 & 0xff, to >> 16 & 0xff, to >> 24);
}

/* A constant is added to a base or an index. */
static void put_step(struct fixture *world, struct program *program)
{
	static const uint8_t registers[] = {CPU_RBX, CPU_RBP, CPU_RSI, CPU_RDI, CPU_RDX};
	unsigned reg = registers[draw(world, 5)], value = draw(world, 32) - 16u;
	bool whole = draw(world, 6) != 0;
	if (program->wide && whole)
		put(program, 1, 0x48);
	else if (!whole)
		put(program, 1, 0x66);
	switch (draw(world, 4)) {
	case 0:
		put(program, 3, 0x83, 0xc0 | reg, value & 0xff); /* add */
		break;
	case 1:
		put(program, 3, 0x83, 0xe8 | reg, value & 0xff); /* sub */
		break;
	case 2:
		put(program, 3, 0x8d, 0x40 | reg << 3 | reg, value & 0xff); /* lea */
		break;
	default:
		put(program, 2, 0xff, 0xc0 | (draw(world, 2) << 3) | reg); /* inc, dec */
		break;
	}
}

static void put_insn(struct fixture *world, struct program *program);

/* Jcc over the next instruction, or to it. */
static void put_branch(struct fixture *world, struct program *program)
{
	put(program, 2, 0x70 | draw(world, 16), 0);
	unsigned from = program->size;
	if (draw(world, 2) == 0)
		put_insn(world, program);
	program->bytes[from - 1] = (uint8_t)(program->size - from);
}

static void put_insn(struct fixture *world, struct program *program)
{
	static const uint8_t plain[] = {0x8b, 0x89, 0x01, 0x03, 0x39, 0x3b, 0x31, 0x33, 0x8a, 0x88, 0x21, 0x87};
	static const uint8_t two_bytes[] = {0xb6, 0xbe, 0x10, 0x11, 0x28, 0x29, 0xaf};
	unsigned kind = draw(world, 28), reg = draw_data_register(world);
	if (kind < 10)
		put_access(world, program, 0, plain[draw(world, sizeof plain)], reg);
	else if (kind < 12)
		put_access(world, program, 0x0f, two_bytes[draw(world, sizeof two_bytes)], reg);
	else if (kind < 14)
		put(program, 1, 0x50 | reg); /* push */
	else if (kind < 16)
		put(program, 1, 0x58 | (draw(world, 5) ? reg : draw(world, 8))); /* pop */
	else if (kind == 16)
		put(program, 3, 0x83, 0xec, draw(world, 64)); /* sub esp, imm8 */
	else if (kind == 17)
		put(program, 4 + program->wide, program->wide ? 0x48 : 0x8d, program->wide ? 0x8d : 0x64,
		    program->wide ? 0x64 : 0x24, program->wide ? 0x24 : draw(world, 64), draw(world, 64)); /* lea rsp */
	else if (kind == 18)
		put_step(world, program);
	else if (kind == 19)
		put_branch(world, program);
	else if (kind == 20)
		put(program, 3, 0x83, 0xd0 | reg, draw(world, 256)); /* adc */
	else if (kind == 21)
		put(program, 2, 0x31, 0xc0 | reg << 3 | reg); /* xor */
	else if (kind == 22)
		put(program, 2, 0x0f, 0xa2); /* cpuid, in C */
	else if (kind == 23)
		put_access(world, program, 0, 0xff, 6); /* push m */
	else if (kind < 26)
		put_constant_access(world, program, reg);
	else
		put_step(world, program);
}

static void make_program(struct fixture *world, struct program *program)
{
	*program = (struct program){.wide = draw(world, 2) == 0, .favourite = draw(world, 6)};
	for (unsigned count = 4 + draw(world, 24); count > 0; count--)
		put_insn(world, program);
	for (unsigned i = 0; i < 8; i++)
		put(program, 1, 0xf4); /* hlt */
}

static uint64_t draw_address(struct fixture *world)
{
	uint64_t edge = WINDOW + (1 + draw(world, WINDOW_PAGES)) * PAGE_SIZE;
	return edge + (draw(world, 3) == 0 ? draw(world, PAGE_SIZE) : draw(world, 128) - UINT64_C(64));
}

static uint64_t hash_memory(const struct fixture *world)
{
	uint64_t hash = 1;
	for (uint64_t gpa = 0; gpa < WINDOW + WINDOW_PAGES * PAGE_SIZE; gpa += PAGE_SIZE) {
		const uint8_t *page = memory_page(&world->memory, gpa, NULL);
		if (gpa >= TABLES + 4 * PAGE_SIZE && gpa < WINDOW)
			continue;
		for (unsigned i = 0; i < PAGE_SIZE; i += 8)
			hash = (hash ^ load_le(page + i, 8)) * UINT64_C(0x9e3779b97f4a7c15);
	}
	return hash;
}

static void run(struct fixture *world, const struct program *program, struct outcome *outcome)
{
	struct cpu *cpu = world->cpu;
	if (draw(world, 2) == 0)
		mmu_flush_all(cpu, true);
	cpu->halted = cpu->shutdown = cpu->pending.valid = false;
	for (unsigned i = 0; i < 16; i++)
		cpu->gpr[i] = program->wide || i < 8 ? draw_address(world) : 0;
	cpu->gpr[CPU_RDX] = draw(world, 16);
	cpu->rip = CODE;
	cpu->cr2 = 0;
	cpu_rflags_set(cpu, draw(world, 256) & FLAGS_ARITHMETIC);
	outcome->why = engine_run(world->vcpu);
	memcpy(outcome->gpr, cpu->gpr, sizeof outcome->gpr);
	memcpy(outcome->xmm, cpu->xsave + 160, sizeof outcome->xmm);
	outcome->rip = cpu->rip;
	outcome->flags = cpu_rflags(cpu);
	outcome->cr2 = cpu->cr2;
	outcome->memory = hash_memory(world);
}

static struct outcome with[PROGRAMS * RUNS], without[PROGRAMS * RUNS];

static void run_all(uint32_t off, struct outcome *outcomes)
{
	struct fixture world;
	struct engine_options options = {.off = off};
	start(&world, &options);
	world.random = 88172645463325252;
	uint8_t other[] = {0x31, 0xc0, 0xf4};
	assert_true(memory_write(&world.memory, OTHER_CODE + 0x800, other, sizeof other));
	for (unsigned number = 0; number < PROGRAMS; number++) {
		struct program program;
		make_program(&world, &program);
		put_tables(&world);
		assert_true(memory_write(&world.memory, CODE, program.bytes, program.size));
		set_mode(world.cpu, program.wide);
		world.cpu->rip = OTHER_CODE + 0x800;
		(void)engine_run(world.vcpu);
		for (unsigned i = 0; i < RUNS; i++)
			run(&world, &program, outcomes++);
	}
	end(&world);
}

static void test_sharing_changes_nothing(void **state)
{
	(void)state;
	unsigned halted = 0;
	run_all(0, with);
	run_all(ENGINE_SHARED_CHECKS, without);
	for (unsigned i = 0; i < PROGRAMS * RUNS; i++) {
		if (memcmp(&with[i], &without[i], sizeof with[i]) != 0)
			fail_msg("program %u, run %u: rip %#llx and %#llx, cr2 %#llx and %#llx, flags %#llx and %#llx",
				 i / RUNS, i % RUNS, (unsigned long long)with[i].rip,
				 (unsigned long long)without[i].rip, (unsigned long long)with[i].cr2,
				 (unsigned long long)without[i].cr2, (unsigned long long)with[i].flags,
				 (unsigned long long)without[i].flags);
		halted += with[i].why == ENGINE_HALTED;
	}
	assert_in_range(halted, PROGRAMS * RUNS / 10, PROGRAMS * RUNS * 9 / 10); /* both ends are common */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_sharing_changes_nothing),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
