/* SPDX-License-Identifier: MIT */
/*
 * Several vCPUs in one engine: exclusive sections, code that another vCPU or a device changes, memory that moves,
 * locked instructions across pages, spinning. One vCPU runs on a thread of its own, the other on the test's.
 */
#include "translate/world.h"

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
#include "memory/memory.h"
#include "translate/block.h"

#define RAM_SIZE (4u << 20)
#define OTHER_CODE 0x1000u
#define FUNCTION 0x3010u
#define OWN_CODE 0x5000u
#define COUNTER 0x20000u
#define RESULT 0x21000u
#define WINDOW 0x700000u /* where memory moves to and fro */
#define VCPUS 2u

struct fixture {
	struct memory memory;
	struct io_map ports, mmio;
	struct cpu_model model;
	struct clock clock;
	struct ledger *ledger;
	int ledger_fd, movable;
	struct engine *engine;
	struct engine_vcpu *vcpu[VCPUS];
	pthread_t thread;
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

/* 32-bit protected mode without paging, flat, privilege 0. */
static void protected_mode(struct cpu *cpu, uint64_t rip)
{
	cpu_reset(cpu);
	cpu->wait_for_sipi = false;
	cpu->cr0 |= CR0_PE;
	for (unsigned i = 0; i < CPU_SEGMENT_COUNT; i++)
		cpu->segment[i] = (struct cpu_segment){.limit = UINT32_MAX,
						       .selector = i == CPU_CS ? 8 : 16,
						       .access = SEGMENT_G | SEGMENT_DB | (i == CPU_CS ? 0x9b : 0x93)};
	cpu->cpl = 0;
	cpu->gpr[CPU_RSP] = 0x80000 + cpu->index * 0x10000;
	cpu->rip = rip;
	cpu_mode_update(cpu);
}

static void wire(struct fixture *f, unsigned index)
{
	struct error error = {0};
	f->vcpu[index] = engine_vcpu_create(f->engine, index, &error);
	assert_non_null(f->vcpu[index]);
	struct cpu *cpu = engine_vcpu_cpu(f->vcpu[index]);
	cpu->ports = &f->ports;
	cpu->mmio = &f->mmio;
	cpu->ledger = &f->ledger->vcpu[index];
	cpu->clock = &f->clock;
	cpu->device_lock = cpu->device_unlock = no_lock;
	cpu->controller.acknowledge = no_interrupt;
	protected_mode(cpu, index == 0 ? OWN_CODE : OTHER_CODE);
}

static int set_up(void **state)
{
	static struct fixture fixture;
	struct fixture *f = *state = &fixture;
	struct error error = {0};
	memset(f, 0, sizeof *f);
	assert_true(memory_init(&f->memory, RAM_SIZE, &error));
	assert_true(memory_add_region(&f->memory, 0, RAM_SIZE, 0, false, &error));
	f->movable = memory_add_movable_region(&f->memory, &error);
	assert_true(f->movable >= 0);
	io_map_init(&f->ports, 0x10000);
	io_map_init(&f->mmio, 0);
	assert_true(cpu_model_init(&f->model, "max", VCPUS, 1000000000, &error));
	clock_init(&f->clock, CLOCK_MANUAL);
	f->ledger = ledger_create(VCPUS, &f->ledger_fd, &error);
	assert_non_null(f->ledger);
	f->engine = engine_create(&f->memory, &f->model, &(struct engine_options){.off = ENGINE_IDLE_LOOPS}, &error);
	assert_non_null(f->engine);
	for (unsigned i = 0; i < VCPUS; i++)
		wire(f, i);
	assert_true(engine_vcpu_attach(f->vcpu[0], &error));
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;
	engine_vcpu_detach(f->vcpu[0]);
	for (unsigned i = VCPUS; i-- > 0;)
		engine_vcpu_destroy(f->vcpu[i]);
	engine_destroy(f->engine);
	ledger_close(f->ledger, f->ledger_fd);
	memory_destroy(&f->memory);
	return 0;
}

/* ---- the other vCPU's thread ---- */

static void *other_main(void *opaque)
{
	struct fixture *f = opaque;
	struct error error;
	if (!engine_vcpu_attach(f->vcpu[1], &error))
		return NULL;
	(void)engine_run(f->vcpu[1]); /* until it halts, or is stopped */
	engine_vcpu_detach(f->vcpu[1]);
	return f;
}

static void other_start(struct fixture *f)
{
	assert_int_equal(pthread_create(&f->thread, NULL, other_main, f), 0);
}

static void other_join(struct fixture *f)
{
	void *result;
	assert_int_equal(pthread_join(f->thread, &result), 0);
	assert_ptr_equal(result, f);
}

static void other_stop(struct fixture *f)
{
	struct cpu *cpu = engine_vcpu_cpu(f->vcpu[1]);
	__atomic_or_fetch(&cpu->requests, CPU_REQUEST_STOP, __ATOMIC_SEQ_CST);
	__atomic_store_n(&cpu->run, 0, __ATOMIC_SEQ_CST);
	other_join(f);
}

/* ---- memory and time ---- */

static void put(struct fixture *f, uint64_t gpa, const void *bytes, size_t size)
{
	assert_true(memory_write(&f->memory, gpa, bytes, size));
}

static uint32_t word_at(const struct fixture *f, uint64_t gpa)
{
	return __atomic_load_n((const uint32_t *)(const void *)(f->memory.host + gpa), __ATOMIC_SEQ_CST);
}

static void sleep_ms(long milliseconds)
{
	const struct timespec time = {.tv_nsec = milliseconds * 1000000};
	(void)nanosleep(&time, NULL);
}

/* On a busy machine a thread may wait for long. */
#define PATIENCE_MS 20000

static void wait_until_word(const struct fixture *f, uint64_t gpa, uint32_t value)
{
	for (unsigned i = 0; i < PATIENCE_MS && word_at(f, gpa) != value; i++)
		sleep_ms(1);
	assert_int_equal(word_at(f, gpa), value);
}

static void wait_for_turns(const struct fixture *f, uint32_t turns)
{
	uint32_t first = word_at(f, COUNTER);
	for (unsigned i = 0; i < PATIENCE_MS && word_at(f, COUNTER) - first < turns; i++)
		sleep_ms(1);
	assert_true(word_at(f, COUNTER) - first >= turns);
}

static void run_own(struct fixture *f, uint32_t eax)
{
	struct cpu *cpu = engine_vcpu_cpu(f->vcpu[0]);
	cpu->gpr[CPU_RAX] = eax;
	cpu->rip = OWN_CODE;
	cpu->halted = false;
	assert_int_equal(engine_run(f->vcpu[0]), ENGINE_HALTED);
}

/* ---- tests ---- */

static const uint8_t counting[] = {0xff, 0x05, 0, 0, 2, 0, 0xeb, 0xf8}; /* 1: inc dword [COUNTER] ; jmp 1b */

static void the_world_stands_still(void **state)
{
	struct fixture *f = *state;
	put(f, OTHER_CODE, counting, sizeof counting);
	other_start(f);
	for (unsigned i = 0; i < 20; i++) {
		wait_for_turns(f, 1);
		engine_stop_others(f->engine);
		uint32_t before = word_at(f, COUNTER);
		sleep_ms(2);
		assert_int_equal(word_at(f, COUNTER), before);
		engine_start_others(f->engine);
	}
	wait_for_turns(f, 1000);
	other_stop(f);
}

static void sections_nest(void **state)
{
	struct fixture *f = *state;
	struct world *world = f->engine->world;
	put(f, OTHER_CODE, counting, sizeof counting);
	other_start(f);
	wait_for_turns(f, 1);
	world_enter(f->vcpu[0]);
	world_stop(world, f->vcpu[0]);
	world_stop(world, f->vcpu[0]);
	world_start(world, f->vcpu[0]);
	uint32_t before = word_at(f, COUNTER);
	sleep_ms(2);
	assert_int_equal(word_at(f, COUNTER), before);
	world_start(world, f->vcpu[0]);
	world_leave(f->vcpu[0]);
	wait_for_turns(f, 1);
	other_stop(f);
}

/* call FUNCTION ; mov [RESULT], eax ; inc dword [COUNTER] ; jmp to the call */
static void put_caller(struct fixture *f)
{
	static const uint8_t caller[] = {0xe8, 0x0b, 0x20, 0, 0, 0xa3, 0, 0x10, 2,
					 0,    0xff, 0x05, 0, 0, 2,    0, 0xeb, 0xee};
	static const uint8_t function[] = {0xb8, 0, 0, 0, 0, 0xc3}; /* mov eax, imm32 ; ret */
	put(f, OTHER_CODE, caller, sizeof caller);
	put(f, FUNCTION, function, sizeof function);
}

/* More often than a page's writes are traced, so that its code comes to check itself. */
static void another_vcpu_changes_code(void **state)
{
	struct fixture *f = *state;
	static const uint8_t writer[] = {0xa3, 0x11, 0x30, 0, 0, 0xf4}; /* mov [FUNCTION + 1], eax ; hlt */
	put_caller(f);
	put(f, OWN_CODE, writer, sizeof writer);
	other_start(f);
	wait_for_turns(f, 1);
	for (uint32_t value = 1; value <= 300; value++) {
		run_own(f, value);
		wait_for_turns(f, 2); /* the first may have begun before */
		assert_int_equal(word_at(f, RESULT), value);
	}
	other_stop(f);
	assert_true(f->ledger->vcpu[1].count[LEDGER_COUNT_BLOCK_INVALIDATED] > 0);
}

static void a_device_changes_code(void **state)
{
	struct fixture *f = *state;
	put_caller(f);
	other_start(f);
	wait_for_turns(f, 1);
	for (uint32_t value = 1; value <= 100; value++) {
		put(f, FUNCTION + 1, &value, sizeof value);
		wait_until_word(f, RESULT, value);
	}
	other_stop(f);
}

/* mov eax, [WINDOW] ; mov [RESULT], eax ; inc dword [COUNTER] ; jmp to the first */
static void memory_moves(void **state)
{
	struct fixture *f = *state;
	static const uint8_t reader[] = {0xa1, 0, 0, 0x70, 0, 0xa3, 0, 0x10, 2, 0, 0xff, 0x05, 0, 0, 2, 0, 0xeb, 0xee};
	put(f, OTHER_CODE, reader, sizeof reader);
	for (uint32_t i = 0; i < 2; i++)
		put(f, 0x100000 + i * PAGE_SIZE, &i, sizeof i);
	struct memory_region region = {.base = WINDOW, .size = PAGE_SIZE, .offset = 0x100000};
	memory_move_region(&f->memory, f->movable, &region);
	other_start(f);
	for (uint32_t i = 0; i < 100; i++) {
		region.offset = 0x100000 + (i & 1) * PAGE_SIZE;
		memory_move_region(&f->memory, f->movable, &region);
		wait_for_turns(f, 2);
		assert_int_equal(word_at(f, RESULT), i & 1);
	}
	other_stop(f);
}

#define SPLIT 0x22ffeu
#define SPLIT_TURNS 5000u

/* 1: lock inc dword [SPLIT] ; dec ecx ; jnz 1b ; hlt */
static void locked_across_pages(void **state)
{
	struct fixture *f = *state;
	static const uint8_t loop[] = {0xf0, 0xff, 0x05, 0xfe, 0x2f, 2, 0, 0x49, 0x75, 0xf6, 0xf4};
	uint32_t sum;
	put(f, OTHER_CODE, loop, sizeof loop);
	put(f, OWN_CODE, loop, sizeof loop);
	for (unsigned i = 0; i < VCPUS; i++)
		engine_vcpu_cpu(f->vcpu[i])->gpr[CPU_RCX] = SPLIT_TURNS;
	other_start(f);
	run_own(f, 0);
	other_join(f);
	assert_true(memory_read(&f->memory, SPLIT, &sum, sizeof sum));
	assert_int_equal(sum, 2 * SPLIT_TURNS);
	for (unsigned i = 0; i < VCPUS; i++)
		assert_int_equal(f->ledger->vcpu[i].count[LEDGER_COUNT_SPLIT_LOCK], SPLIT_TURNS);
}

static void spinning_is_noticed(void **state)
{
	struct fixture *f = *state;
	static const uint8_t spin[] = {0xf3, 0x90, 0xeb, 0xfc}; /* 1: pause ; jmp 1b */
	put(f, OTHER_CODE, spin, sizeof spin);
	other_start(f);
	const uint64_t *count = &f->ledger->vcpu[1].count[LEDGER_COUNT_SPIN];
	for (unsigned i = 0; i < PATIENCE_MS && __atomic_load_n(count, __ATOMIC_RELAXED) < 10; i++)
		sleep_ms(1);
	other_stop(f);
	assert_true(*count >= 10);
}

/* Both find code in pages of their own all the time: each asks the other to stand still. */
static void both_want_the_world(void **state)
{
	struct fixture *f = *state;
	static const uint8_t writer[] = {0xff, 0x05, 0x11, 0x30, 0,    0,    0xe8, 0x05,
					 0xe0, 0xff, 0xff, 0x49, 0x75, 0xf2, 0xf4};
	static const uint8_t other[] = {0xff, 0x05, 0x11, 0x30, 0, 0, 0xe8, 0x05, 0x20, 0, 0, 0x49, 0x75, 0xf2, 0xf4};
	/* 1: inc dword [FUNCTION + 1] ; call FUNCTION ; dec ecx ; jnz 1b ; hlt */
	put_caller(f);
	put(f, OWN_CODE, writer, sizeof writer);
	put(f, OTHER_CODE, other, sizeof other);
	for (unsigned i = 0; i < VCPUS; i++)
		engine_vcpu_cpu(f->vcpu[i])->gpr[CPU_RCX] = 3000;
	other_start(f);
	run_own(f, 0);
	other_join(f);
	for (unsigned i = 0; i < VCPUS; i++)
		assert_true(f->ledger->vcpu[i].count[LEDGER_COUNT_WORLD_STOP] > 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	static const struct CMUnitTest tests[] = {
	    TEST(the_world_stands_still), TEST(sections_nest),	     TEST(another_vcpu_changes_code),
	    TEST(a_device_changes_code),  TEST(memory_moves),	     TEST(locked_across_pages),
	    TEST(spinning_is_noticed),	  TEST(both_want_the_world),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
