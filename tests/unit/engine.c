/* SPDX-License-Identifier: MIT */
/*
 * The engine as a component: what guests cannot show from inside. Code that devices write, caches and tables that run
 * full, loops that must be left when the machine wants the vCPU, parts of the engine switched off.
 */
#include "translate/engine.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <cmocka.h>
#include <pthread.h>
#include <string.h>
#include <time.h>

#include "cpu/cpuid.h"
#include "cpu/mmu.h"
#include "ledger/samples.h"
#include "memory/memory.h"
#include "translate/block.h"

#define RAM_SIZE (4u << 20)
#define CODE 0x1000u
#define STACK 0x80000u

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

static void set_segment(struct cpu_segment *segment, uint16_t selector, uint16_t access, uint64_t base, uint32_t limit)
{
	*segment = (struct cpu_segment){.base = base, .limit = limit, .selector = selector, .access = access};
}

/* 32-bit protected mode without paging, flat, privilege 0. */
static void protected_mode(struct cpu *cpu)
{
	cpu_reset(cpu);
	cpu->cr0 |= CR0_PE;
	set_segment(&cpu->segment[CPU_CS], 8, SEGMENT_G | SEGMENT_DB | 0x9b, 0, UINT32_MAX);
	for (unsigned i = 0; i < CPU_SEGMENT_COUNT; i++) {
		if (i != CPU_CS)
			set_segment(&cpu->segment[i], 16, SEGMENT_G | SEGMENT_DB | 0x93, 0, UINT32_MAX);
	}
	cpu->cpl = 0;
	cpu->gpr[CPU_RSP] = STACK;
	cpu->rip = CODE;
	cpu_mode_update(cpu);
}

static void start(struct fixture *world, const struct engine_options *options)
{
	struct error error = {0};
	struct engine_options awake = options != NULL ? *options : (struct engine_options){0};
	awake.off |= ENGINE_IDLE_LOOPS; /* some of the loops only wait: engine-idle.c has those */
	memset(world, 0, sizeof *world);
	assert_true(memory_init(&world->memory, RAM_SIZE, &error));
	assert_true(memory_add_region(&world->memory, 0, RAM_SIZE, 0, false, &error));
	io_map_init(&world->ports, 0x10000);
	io_map_init(&world->mmio, 0);
	assert_true(cpu_model_init(&world->model, "max", 1, 1000000000, &error));
	clock_init(&world->clock, CLOCK_MANUAL);
	world->ledger = ledger_create(1, &world->ledger_fd, &error);
	assert_non_null(world->ledger);
	world->engine = engine_create(&world->memory, &world->model, &awake, &error);
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
	protected_mode(cpu);
}

static void end(struct fixture *world)
{
	engine_vcpu_detach(world->vcpu);
	engine_vcpu_destroy(world->vcpu);
	engine_destroy(world->engine);
	ledger_close(world->ledger, world->ledger_fd);
	memory_destroy(&world->memory);
}

static void put(struct fixture *world, uint64_t gpa, const void *bytes, size_t size)
{
	assert_true(memory_write(&world->memory, gpa, bytes, size));
}

/* Runs from an address to its HLT and gives EAX. */
static uint32_t run_to_halt(struct fixture *world, uint64_t rip)
{
	world->cpu->rip = rip;
	world->cpu->halted = false;
	assert_int_equal(engine_run(world->vcpu), ENGINE_HALTED);
	return (uint32_t)world->cpu->gpr[CPU_RAX];
}

static void test_device_writes_code(void **state)
{
	(void)state;
	struct fixture world;
	uint8_t code[] = {0xb8, 0, 0, 0, 0, 0xf4}; /* mov eax, imm32; hlt */
	start(&world, NULL);
	for (uint8_t value = 1; value < 200; value++) {
		code[1] = value;
		put(&world, CODE, code, sizeof code);
		assert_int_equal(run_to_halt(&world, CODE), value);
	}
	end(&world);
}

/* More writes to one page of code than the queue holds, between two runs. */
static void test_device_writes_overflow_the_queue(void **state)
{
	(void)state;
	struct fixture world;
	uint8_t code[] = {0xb8, 0, 0, 0, 0, 0xf4};
	start(&world, NULL);
	for (unsigned i = 0; i < 300; i++)
		put(&world, CODE + i * 8, code, sizeof code);
	for (unsigned i = 0; i < 300; i++)
		assert_int_equal(run_to_halt(&world, CODE + i * 8), 0);
	code[1] = 7;
	for (unsigned i = 0; i < 300; i++)
		put(&world, CODE + i * 8, code, sizeof code);
	for (unsigned i = 0; i < 300; i++)
		assert_int_equal(run_to_halt(&world, CODE + i * 8), 7);
	assert_int_equal(world.cpu->ledger->count[LEDGER_COUNT_CACHE_FLUSH_DEVICE], 1);
	assert_int_equal(world.cpu->ledger->count[LEDGER_COUNT_CODE_WRITE_DEVICE], CODE_QUEUE_SIZE);
	end(&world);
}

/* add eax, 1 over and over in blocks that a jump ends: far more code than the cache holds, run twice. */
static void test_full_code_cache(void **state)
{
	(void)state;
	struct fixture world;
	struct engine_options options = {.code_cache_bytes = 256 << 10};
	static const uint8_t piece[] = {0x83, 0xc0, 0x01, 0xeb, 0x00}; /* add eax, 1; jmp to the next */
	static const uint8_t halt = 0xf4;
	unsigned count = 0x30000;
	start(&world, &options);
	for (unsigned i = 0; i < count; i++)
		put(&world, 0x100000 + i * sizeof piece, piece, sizeof piece);
	put(&world, 0x100000 + count * sizeof piece, &halt, 1);
	for (unsigned round = 0; round < 2; round++) {
		world.cpu->gpr[CPU_RAX] = 0;
		assert_int_equal(run_to_halt(&world, 0x100000), count);
	}
	struct ledger_reading reading;
	ledger_read(world.ledger, 0, &reading);
	assert_int_equal(reading.count[LEDGER_COUNT_CACHE_FLUSH], 0);
	assert_true(reading.count[LEDGER_COUNT_CACHE_EVICTION] > 2 * CODE_REGIONS_MAX);
	assert_in_range(reading.count[LEDGER_COUNT_BLOCK_EVICTED],
			reading.count[LEDGER_COUNT_BLOCK_TRANSLATED] - 0x2000,
			reading.count[LEDGER_COUNT_BLOCK_TRANSLATED]);
	end(&world);
}

/* Each base of CS is a mode of its own; there are more than the engine has numbers for. */
static void test_more_modes_than_numbers(void **state)
{
	(void)state;
	struct fixture world;
	static const uint8_t code[] = {0x83, 0xc0, 0x01, 0xeb, 0x00, 0xf4}; /* add eax, 1; jmp +0; hlt */
	start(&world, NULL);
	for (unsigned i = 0; i < 10000; i++) {
		uint64_t base = (uint64_t)i * 16;
		put(&world, base + CODE, code, sizeof code);
		set_segment(&world.cpu->segment[CPU_CS], 8, SEGMENT_G | SEGMENT_DB | 0x9b, base, UINT32_MAX);
		cpu_mode_update(world.cpu);
		world.cpu->gpr[CPU_RAX] = i;
		assert_int_equal(run_to_halt(&world, CODE), i + 1);
	}
	assert_true(world.cpu->ledger->count[LEDGER_COUNT_CACHE_FLUSH_MODES] >= 9);
	end(&world);
}

static void *ask_to_stop(void *opaque)
{
	struct cpu *cpu = opaque;
	nanosleep(&(struct timespec){.tv_nsec = 30 * 1000 * 1000}, NULL);
	__atomic_or_fetch(&cpu->requests, CPU_REQUEST_STOP, __ATOMIC_SEQ_CST);
	__atomic_store_n(&cpu->run, 0, __ATOMIC_SEQ_CST);
	return NULL;
}

struct loop {
	const char *name;
	uint8_t code[32];
	unsigned size;
};

/* Interrupts are off in all of them. A loop that is never left hangs the test, and its time limit ends it. */
static const struct loop loops[] = {
    {"jmp to itself", {0xeb, 0xfe}, 2},
    {"jmp forth and back", {0xeb, 0x01, 0x90, 0xeb, 0xfb}, 5},
    {"jmp eax", {0xb8, 0x00, 0x10, 0x00, 0x00, 0xff, 0xe0}, 7},
    {"push and ret", {0x68, 0x00, 0x10, 0x00, 0x00, 0xc3}, 6},
    {"call and pop", {0xe8, 0x00, 0x00, 0x00, 0x00, 0x58, 0xeb, 0xf8}, 8},
    {"loop", {0x31, 0xc9, 0xe2, 0xfe, 0xeb, 0xfa}, 6},
    {"jecxz", {0x31, 0xc9, 0xe3, 0xfc}, 4},
    {"jz", {0x31, 0xc0, 0x74, 0xfc}, 4},
    {"rep movsb onto itself", {0xbe, 0, 0, 8, 0, 0xbf, 0, 0, 8, 0, 0x83, 0xc9, 0xff, 0xf3, 0xa4, 0xeb, 0xef}, 17},
    {"iret to itself", {0x9c, 0x0e, 0x68, 0x00, 0x10, 0x00, 0x00, 0xcf}, 8},
    {"across the end of a page", {0xe9, 0xf9, 0x0f, 0x00, 0x00}, 5},
};

static void test_loops_can_be_left(void **state)
{
	(void)state;
	static const uint8_t back[] = {0xe9, 0xfd, 0xef, 0xff, 0xff}; /* at 1FFEh, over the page's end: jmp 1000h */
	/* A code descriptor for IRET at 8. */
	static const uint8_t table[] = {0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 0, 0x9b, 0xcf, 0};
	for (size_t i = 0; i < sizeof loops / sizeof loops[0]; i++) {
		struct fixture world;
		pthread_t thread;
		start(&world, NULL);
		put(&world, 0x500, table, sizeof table);
		world.cpu->gdtr = (struct cpu_table){.base = 0x500, .limit = sizeof table - 1};
		put(&world, CODE, loops[i].code, loops[i].size);
		put(&world, 0x1ffe, back, sizeof back);
		assert_int_equal(pthread_create(&thread, NULL, ask_to_stop, world.cpu), 0);
		assert_int_equal(engine_run(world.vcpu), ENGINE_STOPPED);
		pthread_join(thread, NULL);
		end(&world);
	}
}

/* Recursion, returns and strings, with all that can be used and with each part switched off. */
static void test_switches(void **state)
{
	(void)state;
	/* mov ecx, 1000; xor eax, eax; call f; hlt; f: push ecx; dec ecx; jz done; call f; done: pop ecx;
	 * add eax, ecx; mov edi, 3000h; stosd; mov esi, 3000h; pusha; lodsd; popa; pushf; popf; ret */
	static const uint8_t code[] = {0xb9, 0xe8, 0x03, 0,    0,    0x31, 0xc0, 0xe8, 0x01, 0,	   0,
				       0,    0xf4, 0x51, 0x49, 0x74, 0x05, 0xe8, 0xf7, 0xff, 0xff, 0xff,
				       0x59, 0x01, 0xc8, 0xbf, 0x00, 0x30, 0,	 0,    0xab, 0xbe, 0x00,
				       0x30, 0,	   0,	 0x60, 0xad, 0x61, 0x9c, 0x9d, 0xc3};
	for (unsigned number = 0; number <= ENGINE_SWITCH_COUNT; number++) {
		struct fixture world;
		struct engine_options options = {.off = number == ENGINE_SWITCH_COUNT ? 0 : 1u << number};
		start(&world, &options);
		put(&world, CODE, code, sizeof code);
		assert_int_equal(run_to_halt(&world, CODE), 1000 * 1001 / 2);
		end(&world);
	}
}

#ifndef NFOLD_NO_LEDGER
/* Chaining and the jump cache cannot be told from a guest's results: from the turns of the dispatcher they can. */
static void test_switches_have_an_effect(void **state)
{
	(void)state;
	/* mov ecx, 1000; again: push 400bh; ret; dec ecx; jnz again; hlt */
	static const uint8_t code[] = {0xb9, 0xe8, 0x03, 0, 0, 0x68, 0, 0, 0, 0, 0xc3, 0x49, 0x75, 0xf7, 0xf4};
	static const uint32_t off[] = {0, ENGINE_CHAINING, ENGINE_JUMP_CACHE, ENGINE_CHAINING | ENGINE_JUMP_CACHE};
	if (!__builtin_cpu_supports("bmi2"))
		skip();
	static const unsigned at_least[] = {0, 999, 999, 1999}, at_most[] = {20, 1100, 1100, 2100};
	for (size_t i = 0; i < sizeof off / sizeof off[0]; i++) {
		struct fixture world;
		struct engine_options options = {.off = off[i]};
		start(&world, &options);
		put(&world, CODE, code, sizeof code);
		put(&world, CODE + 6, &(uint32_t){CODE + 11}, 4);
		run_to_halt(&world, CODE);
		uint64_t turns = world.ledger->vcpu[0].count[LEDGER_COUNT_EXIT_DISPATCH];
		assert_in_range(turns, at_least[i], at_most[i]);
		end(&world);
	}
}

#endif

/* Code that runs from a region which shows something else afterwards, and data that was read there. */
static void test_regions_move(void **state)
{
	(void)state;
	static const uint8_t one[] = {0xb8, 1, 0, 0, 0, 0x03, 0x05, 0x00, 0x10, 0x40, 0x00, 0xf4};
	static const uint8_t two[] = {0xb8, 2, 0, 0, 0, 0x03, 0x05, 0x00, 0x10, 0x40, 0x00, 0xf4};
	const struct memory_region first = {.base = 0x400000, .size = 0x2000, .offset = 0x10000};
	const struct memory_region second = {.base = 0x400000, .size = 0x2000, .offset = 0x20000};
	struct fixture world;
	struct error error;
	start(&world, NULL);
	int index = memory_add_movable_region(&world.memory, &error);
	assert_true(index >= 0);
	put(&world, 0x10000, one, sizeof one); /* mov eax, 1; add eax, [401000h]; hlt */
	put(&world, 0x20000, two, sizeof two);
	put(&world, 0x11000, &(uint32_t){10}, 4);
	put(&world, 0x21000, &(uint32_t){20}, 4);
	for (unsigned i = 0; i < 3; i++) {
		memory_move_region(&world.memory, index, &first);
		assert_int_equal(run_to_halt(&world, 0x400000), 11);
		memory_move_region(&world.memory, index, &second);
		assert_int_equal(run_to_halt(&world, 0x400000), 22);
	}
	assert_int_equal(world.cpu->ledger->count[LEDGER_COUNT_CODE_MOVED], 5); /* the first move found none */
	end(&world);
}

/* Data and code one mebibyte up are those below while A20 is off. */
static void test_a20(void **state)
{
	(void)state;
	static const uint8_t low[] = {0xb8, 1, 0, 0, 0, 0x03, 0x05, 0x00, 0x20, 0x10, 0x00, 0xf4};
	static const uint8_t high[] = {0xb8, 2, 0, 0, 0, 0x03, 0x05, 0x00, 0x20, 0x10, 0x00, 0xf4};
	struct fixture world;
	start(&world, NULL);
	put(&world, 0x1000, low, sizeof low); /* mov eax, 1; add eax, [102000h]; hlt */
	put(&world, 0x101000, high, sizeof high);
	put(&world, 0x2000, &(uint32_t){10}, 4);
	put(&world, 0x102000, &(uint32_t){20}, 4);
	for (unsigned i = 0; i < 3; i++) {
		mmu_set_a20(world.cpu, false);
		assert_int_equal(run_to_halt(&world, 0x101000), 11);
		mmu_set_a20(world.cpu, true);
		assert_int_equal(run_to_halt(&world, 0x101000), 22);
		assert_int_equal(run_to_halt(&world, 0x1000), 21);
	}
	end(&world);
}

struct findings {
	unsigned code, mode_change, kind, other;
};

static struct findings look_at(const struct samples *samples, uint64_t first, unsigned size, unsigned kind)
{
	static struct sample read[SAMPLES_MAX];
	struct findings found = {0};
	uint64_t next = 0, lost = 0;
	unsigned count = samples_read(samples, &next, read, SAMPLES_MAX, &lost);
	for (unsigned i = 0; i < count; i++) {
		const struct sample *sample = &read[i];
		bool there = sample->address - first < size && sample->block - first < size;
		if (there && sample->cpl == 0 && sample->bits == 32 && sample->what == SAMPLE_CODE)
			found.code++;
		else if (there && sample->what == SAMPLE_SWITCH)
			found.mode_change++;
		else if (there && sample->what == kind && sample->address == first)
			found.kind++;
		else
			found.other++;
	}
	return found;
}

#define ENOUGH_SAMPLES 60

/* Samples a loop at CODE, in rounds of 30 ms, until there are enough: a busy host gives it little time. */
static struct findings profile_loop(const uint8_t *code, size_t size, unsigned kind)
{
	struct fixture world;
	struct error error = {0};
	pthread_t thread;
	start(&world, NULL);
	put(&world, CODE, code, size);
	assert_null(engine_samples(world.engine));
	assert_true(engine_sample(world.engine, 10000, world.ledger->tsc_hz, &error));
	for (unsigned i = 0; i < 500 && (i == 0 || samples_now(engine_samples(world.engine)) < ENOUGH_SAMPLES); i++) {
		assert_int_equal(pthread_create(&thread, NULL, ask_to_stop, world.cpu), 0);
		assert_int_equal(engine_run(world.vcpu), ENGINE_STOPPED);
		pthread_join(thread, NULL);
		__atomic_and_fetch(&world.cpu->requests, ~(uint32_t)CPU_REQUEST_STOP, __ATOMIC_SEQ_CST);
	}
	struct findings found = look_at(engine_samples(world.engine), CODE, (unsigned)size, kind);
	end(&world);
	return found;
}

static void test_profile_of_code(void **state)
{
	(void)state;
	static const uint8_t loop[] = {0x40, 0xeb, 0xfd}; /* inc eax; jmp back */
	struct findings found = profile_loop(loop, sizeof loop, SAMPLE_WHAT_COUNT);
	assert_true(found.code >= ENOUGH_SAMPLES / 2);
	assert_true(found.code >= 9 * (found.mode_change + found.other));
}

/* An instruction in C: its own address, and its kind. */
static void test_profile_of_c(void **state)
{
	(void)state;
	static const uint8_t loop[] = {0x0f, 0xa2, 0xeb, 0xfc}; /* cpuid; jmp back */
	struct findings found = profile_loop(loop, sizeof loop, SAMPLE_KIND + LEDGER_KIND_MODEL);
	assert_true(found.kind >= 3);
	assert_true(found.code < ENOUGH_SAMPLES);
	assert_true(found.kind + found.mode_change + found.code >= 9 * found.other);
}

/* Without anybody who asks again, the timers stop. */
static void test_profile_ends(void **state)
{
	(void)state;
	static const uint8_t loop[] = {0xeb, 0xfe};
	struct fixture world;
	struct error error = {0};
	pthread_t thread;
	start(&world, NULL);
	put(&world, CODE, loop, sizeof loop);
	assert_true(engine_sample(world.engine, 1, world.ledger->tsc_hz, &error));
	uint64_t seen = 0;
	for (unsigned i = 0; i < 3; i++) {
		seen = samples_now(engine_samples(world.engine));
		assert_int_equal(pthread_create(&thread, NULL, ask_to_stop, world.cpu), 0);
		assert_int_equal(engine_run(world.vcpu), ENGINE_STOPPED);
		pthread_join(thread, NULL);
		__atomic_and_fetch(&world.cpu->requests, ~(uint32_t)CPU_REQUEST_STOP, __ATOMIC_SEQ_CST);
	}
	assert_int_equal(samples_now(engine_samples(world.engine)), seen); /* none in the last 30 ms */
	end(&world);
}

static bool samples_come(struct fixture *world)
{
	pthread_t thread;
	uint64_t seen = samples_now(engine_samples(world->engine));
	for (unsigned i = 0; i < 500 && samples_now(engine_samples(world->engine)) == seen; i++) {
		assert_int_equal(pthread_create(&thread, NULL, ask_to_stop, world->cpu), 0);
		assert_int_equal(engine_run(world->vcpu), ENGINE_STOPPED);
		pthread_join(thread, NULL);
		__atomic_and_fetch(&world->cpu->requests, ~(uint32_t)CPU_REQUEST_STOP, __ATOMIC_SEQ_CST);
	}
	return samples_now(engine_samples(world->engine)) != seen;
}

/* A sleeping thread is woken once by its timer, and sampled again when it runs. */
static void test_profile_across_sleep(void **state)
{
	(void)state;
	static const uint8_t loop[] = {0xeb, 0xfe};
	struct fixture world;
	struct error error = {0};
	start(&world, NULL);
	put(&world, CODE, loop, sizeof loop);
	assert_true(engine_sample(world.engine, 60000, world.ledger->tsc_hz, &error));
	assert_true(samples_come(&world));
	(void)ledger_enter(world.cpu->ledger, LEDGER_IDLE);
	while (!__atomic_load_n(&world.vcpu->profile_dozes, __ATOMIC_RELAXED))
		(void)nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL); /* the signal ends it */
	assert_int_equal(nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL), 0);
	(void)ledger_enter(world.cpu->ledger, LEDGER_EXIT);
	assert_true(samples_come(&world));
	end(&world);
}

/* A client may ask before the vCPU has a thread. */
static void test_profile_before_the_thread(void **state)
{
	(void)state;
	static const uint8_t loop[] = {0xeb, 0xfe};
	struct fixture world;
	struct error error = {0};
	start(&world, NULL);
	put(&world, CODE, loop, sizeof loop);
	engine_vcpu_detach(world.vcpu);
	assert_true(engine_sample(world.engine, 60000, world.ledger->tsc_hz, &error));
	assert_true(engine_vcpu_attach(world.vcpu, &error));
	assert_true(samples_come(&world));
	end(&world);
}

/* ---- counting ---- */

#define IDT 0x600u
#define HANDLER 0x2000u
#define COUNTED_MAX 4000u

/* Loops, calls, strings, C instructions in the middle of blocks, and in each turn an exception whose handler goes on
 * behind the instruction. */
static void put_counted_program(struct fixture *world)
{
	/* mov ecx, 100; again: mov edi, 3000h; stosd; call f; cpuid; mov ecx, [3000h]; inc eax; jmp on; f: push ecx;
	 * pop [3000h]; ret; on: xor edx, edx; ud2; mov esi, 3000h; rep lodsb; pushf; popf; mov ecx, [3000h]; dec ecx;
	 * jnz again; hlt */
	static const uint8_t code[] = {0xb9, 100,  0,	 0,    0,    0xbf, 0x00, 0x30, 0,    0,	   0xab, 0xe8,
				       0x0b, 0,	   0,	 0,    0x0f, 0xa2, 0x8b, 0x0d, 0x00, 0x30, 0,	 0,
				       0x40, 0xeb, 0x08, 0x51, 0x8f, 0x05, 0x00, 0x30, 0,    0,	   0xc3, 0x31,
				       0xd2, 0x0f, 0x0b, 0xbe, 0x00, 0x30, 0,	 0,    0xf3, 0xac, 0x9c, 0x9d,
				       0x8b, 0x0d, 0x00, 0x30, 0,    0,	   0x49, 0x75, 0xcc, 0xf4};
	/* add dword [esp], 2; iretd */
	static const uint8_t handler[] = {0x83, 0x04, 0x24, 0x02, 0xcf};
	static const uint64_t gdt[3] = {0, 0x00cf9b000000ffff, 0x00cf93000000ffff};
	uint64_t gates[7] = {[VECTOR_UD] = HANDLER | UINT64_C(8) << 16 | UINT64_C(0x8e00) << 32};
	put(world, CODE, code, sizeof code);
	put(world, HANDLER, handler, sizeof handler);
	put(world, IDT, gates, sizeof gates);
	put(world, 0x500, gdt, sizeof gdt);
	world->cpu->gdtr = (struct cpu_table){.base = 0x500, .limit = sizeof gdt - 1};
	world->cpu->idtr = (struct cpu_table){.base = IDT, .limit = sizeof gates - 1};
}

static uint64_t state_mark(const struct cpu *cpu)
{
	uint64_t mark = cpu->rip * 31 + cpu_rflags(cpu);
	for (unsigned i = 0; i < 16; i++)
		mark = mark * 1000003 + cpu->gpr[i];
	return mark;
}

/* Stops at each multiple of the stride; gives the count at HLT. Marks are taken with a stride of 1 and compared else.
 */
static uint64_t run_counted(uint64_t stride, uint32_t off, uint64_t *marks)
{
	struct fixture world;
	struct engine_options options = {.counted = true, .off = off};
	start(&world, &options);
	put_counted_program(&world);
	uint64_t at = stride;
	engine_run_until(world.vcpu, at);
	enum engine_exit why;
	while ((why = engine_run(world.vcpu)) == ENGINE_COUNTED) {
		assert_int_equal(engine_executed(world.vcpu), at);
		assert_true(at < COUNTED_MAX);
		if (stride == 1)
			marks[at] = state_mark(world.cpu);
		assert_int_equal(state_mark(world.cpu), marks[at]);
		at += stride;
		engine_run_until(world.vcpu, at);
	}
	assert_int_equal(why, ENGINE_HALTED);
	uint64_t count = engine_executed(world.vcpu);
	end(&world);
	return count;
}

/* Where a run stops depends on the count alone: not on where it stopped before, so not on where blocks begin. */
static void test_count_is_exact(void **state)
{
	(void)state;
	static const uint64_t strides[] = {2, 3, 7, 48, 49, 50, 131, 1000};
	static const uint32_t off[] = {0, ENGINE_CHAINING, ENGINE_JUMP_CACHE,
				       ENGINE_INLINE_STRINGS | ENGINE_LAZY_FLAGS};
	static uint64_t marks[COUNTED_MAX];
	/* 1 + 100 turns of 20, two of them the handler's, and HLT; UD2 itself is not executed */
	uint64_t expected = 1 + 100 * 20 + 1;
	assert_int_equal(run_counted(1, 0, marks), expected);
	for (size_t i = 0; i < sizeof strides / sizeof strides[0]; i++)
		for (size_t k = 0; k < sizeof off / sizeof off[0]; k++)
			assert_int_equal(run_counted(strides[i], off[k], marks), expected);
	assert_int_equal(run_counted(UINT64_MAX, 0, marks), expected);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_device_writes_code),
	    cmocka_unit_test(test_device_writes_overflow_the_queue),
	    cmocka_unit_test(test_full_code_cache),
	    cmocka_unit_test(test_more_modes_than_numbers),
	    cmocka_unit_test(test_loops_can_be_left),
	    cmocka_unit_test(test_profile_of_code),
	    cmocka_unit_test(test_profile_of_c),
	    cmocka_unit_test(test_profile_ends),
	    cmocka_unit_test(test_profile_across_sleep),
	    cmocka_unit_test(test_profile_before_the_thread),
	    cmocka_unit_test(test_switches),
#ifndef NFOLD_NO_LEDGER
	    cmocka_unit_test(test_switches_have_an_effect),
#endif
	    cmocka_unit_test(test_regions_move),
	    cmocka_unit_test(test_a20),
	    cmocka_unit_test(test_count_is_exact),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
