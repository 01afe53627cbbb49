/* SPDX-License-Identifier: MIT */
/* Loops that only wait, and loops that do not: which of them the engine takes for idle. */
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
#include "memory/memory.h"
#include "translate/engine.h"

#define RAM_SIZE (4u << 20)
#define CODE 0x1000u
#define STACK 0x80000u
#define LOOKS 3u /* so often a busy loop is looked at */

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

/* 32-bit protected mode without paging, flat, privilege 0, interrupts on. */
static void protected_mode(struct cpu *cpu)
{
	cpu_reset(cpu);
	cpu->cr0 |= CR0_PE;
	cpu->cr4 |= CR4_OSFXSR;
	for (unsigned i = 0; i < CPU_SEGMENT_COUNT; i++)
		cpu->segment[i] = (struct cpu_segment){.limit = UINT32_MAX,
						       .selector = i == CPU_CS ? 8 : 16,
						       .access = SEGMENT_G | SEGMENT_DB | (i == CPU_CS ? 0x9b : 0x93)};
	cpu->cpl = 0;
	cpu->interrupt_enable = 1;
	cpu->gpr[CPU_RSP] = STACK;
	cpu->rip = CODE;
	cpu_mode_update(cpu);
}

static void start(struct fixture *f, const uint8_t *code, size_t size, uint32_t off)
{
	struct error error = {0};
	memset(f, 0, sizeof *f);
	assert_true(memory_init(&f->memory, RAM_SIZE, &error));
	assert_true(memory_add_region(&f->memory, 0, RAM_SIZE, 0, false, &error));
	io_map_init(&f->ports, 0x10000);
	io_map_init(&f->mmio, 0);
	assert_true(cpu_model_init(&f->model, "max", 1, 1000000000, &error));
	clock_init(&f->clock, CLOCK_MANUAL);
	f->ledger = ledger_create(1, &f->ledger_fd, &error);
	assert_non_null(f->ledger);
	f->engine = engine_create(&f->memory, &f->model, &(struct engine_options){.off = off}, &error);
	assert_non_null(f->engine);
	f->vcpu = engine_vcpu_create(f->engine, 0, &error);
	assert_non_null(f->vcpu);
	struct cpu *cpu = f->cpu = engine_vcpu_cpu(f->vcpu);
	cpu->ports = &f->ports;
	cpu->mmio = &f->mmio;
	cpu->ledger = &f->ledger->vcpu[0];
	cpu->clock = &f->clock;
	cpu->device_lock = cpu->device_unlock = no_lock;
	cpu->controller.acknowledge = no_interrupt;
	assert_true(engine_vcpu_attach(f->vcpu, &error));
	protected_mode(cpu);
	assert_true(memory_write(&f->memory, CODE, code, size));
}

static void end(struct fixture *f)
{
	engine_vcpu_detach(f->vcpu);
	engine_vcpu_destroy(f->vcpu);
	engine_destroy(f->engine);
	ledger_close(f->ledger, f->ledger_fd);
	memory_destroy(&f->memory);
}

struct loop {
	const char *name;
	uint8_t code[40];
	unsigned size;
};

static const struct loop idle_loops[] = {
    {"jmp to itself", {0xeb, 0xfe}, 2},
    {"pause", {0xf3, 0x90, 0xeb, 0xfc}, 4},
    {"cmp [9000h], eax; jz", {0x39, 0x05, 0, 0x90, 0, 0, 0x74, 0xf8, 0xf4}, 9},
    {"sti; nop; nop; cli; cmp; jz", {0xfb, 0x90, 0x90, 0xfa, 0x39, 0x05, 0, 0x90, 0, 0, 0x74, 0xf4, 0xf4}, 13},
    {"call, push, pop, ret", {0xe8, 0x02, 0, 0, 0, 0xeb, 0xf9, 0x50, 0x5b, 0xc3}, 10},
    {"rep movsb onto itself", {0xbe, 0, 0, 8, 0, 0xbf, 0, 0, 8, 0, 0xb9, 0x10, 0, 0, 0, 0xf3, 0xa4, 0xeb, 0xed}, 19},
    {"a counter that ends where it began: mov ecx, 40; loop; jmp", {0xb9, 40, 0, 0, 0, 0xe2, 0xfe, 0xeb, 0xf7}, 9},
};

static const struct loop busy_loops[] = {
    {"inc eax", {0x40, 0xeb, 0xfd}, 3},
    {"inc dword [9000h]", {0xff, 0x05, 0, 0x90, 0, 0, 0xeb, 0xf8}, 8},
    {"lock inc dword [9000h]", {0xf0, 0xff, 0x05, 0, 0x90, 0, 0, 0xeb, 0xf7}, 9},
    {"rdtsc; xor eax, eax; xor edx, edx", {0x0f, 0x31, 0x31, 0xc0, 0x31, 0xd2, 0xeb, 0xf8}, 8},
    {"in al, 60h; xor eax, eax", {0xe4, 0x60, 0x31, 0xc0, 0xeb, 0xfa}, 6},
    {"out 80h, al", {0xe6, 0x80, 0xeb, 0xfc}, 4},
    {"mov eax, [80000000h]: no RAM", {0xa1, 0, 0, 0, 0x80, 0xeb, 0xf9}, 7},
    {"paddd xmm0, xmm1", {0x66, 0x0f, 0xfe, 0xc1, 0xeb, 0xfa}, 6},
    {"add to a column of 16 pages",
     {0xb8, 0, 0, 0x10, 0, 0x83, 0x00, 0x01, 0x05, 0, 0x10, 0, 0, 0x3d, 0, 0, 0x11, 0, 0x72, 0xf1, 0xeb, 0xea},
     22},
};

static uint64_t counter(const struct fixture *f, enum ledger_counter number)
{
	return __atomic_load_n(&f->ledger->vcpu[0].count[number], __ATOMIC_RELAXED);
}

static void test_idle_loops(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof idle_loops / sizeof idle_loops[0]; i++) {
		struct fixture f;
		print_message("%s\n", idle_loops[i].name);
		start(&f, idle_loops[i].code, idle_loops[i].size, 0);
		for (unsigned naps = 1; naps < 5; naps++) {
			assert_int_equal(engine_run(f.vcpu), ENGINE_NAPPING);
			struct engine_nap nap = engine_nap(f.vcpu);
			assert_int_equal(nap.requests, 0);
			assert_int_equal(counter(&f, LEDGER_COUNT_IDLE_NAP), naps);
		}
		end(&f);
	}
}

/* Ends a run when it has been looked at often enough. */
static void *stop_after_looks(void *opaque)
{
	struct fixture *f = opaque;
	while (counter(f, LEDGER_COUNT_IDLE_LOOK) < LOOKS)
		nanosleep(&(struct timespec){.tv_nsec = 1000 * 1000}, NULL);
	__atomic_or_fetch(&f->cpu->requests, CPU_REQUEST_STOP, __ATOMIC_SEQ_CST);
	__atomic_store_n(&f->cpu->run, 0, __ATOMIC_SEQ_CST);
	return NULL;
}

static void test_busy_loops(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof busy_loops / sizeof busy_loops[0]; i++) {
		struct fixture f;
		pthread_t thread;
		print_message("%s\n", busy_loops[i].name);
		start(&f, busy_loops[i].code, busy_loops[i].size, 0);
		assert_int_equal(pthread_create(&thread, NULL, stop_after_looks, &f), 0);
		assert_int_equal(engine_run(f.vcpu), ENGINE_STOPPED);
		pthread_join(thread, NULL);
		assert_int_equal(counter(&f, LEDGER_COUNT_IDLE_NAP), 0);
		end(&f);
	}
}

/* What another one wrote to memory during the nap ends the loop. */
static void test_change_is_seen(void **state)
{
	(void)state;
	struct fixture f;
	start(&f, idle_loops[2].code, idle_loops[2].size, 0);
	assert_int_equal(engine_run(f.vcpu), ENGINE_NAPPING);
	assert_true(memory_write(&f.memory, 0x9000, &(uint32_t){1}, 4));
	assert_int_equal(engine_run(f.vcpu), ENGINE_HALTED);
	assert_int_equal(f.cpu->rip, CODE + 9);
	end(&f);
}

/* A request ends it too, and the nap's caller can tell. */
static void test_request_is_seen(void **state)
{
	(void)state;
	struct fixture f;
	start(&f, idle_loops[0].code, idle_loops[0].size, 0);
	assert_int_equal(engine_run(f.vcpu), ENGINE_NAPPING);
	__atomic_or_fetch(&f.cpu->requests, CPU_REQUEST_STOP, __ATOMIC_SEQ_CST);
	assert_int_equal(engine_run(f.vcpu), ENGINE_STOPPED);
	end(&f);
}

/* Where an interrupt waits that the guest does not let in, the guest still goes round for nothing. */
static void test_masked_interrupt(void **state)
{
	(void)state;
	struct fixture f;
	start(&f, idle_loops[0].code, idle_loops[0].size, 0);
	f.cpu->interrupt_enable = 0;
	__atomic_or_fetch(&f.cpu->requests, CPU_REQUEST_INTERRUPT, __ATOMIC_SEQ_CST);
	assert_int_equal(engine_run(f.vcpu), ENGINE_NAPPING);
	assert_int_equal(engine_nap(f.vcpu).requests, CPU_REQUEST_INTERRUPT);
	end(&f);
}

static void *stop_later(void *opaque)
{
	struct fixture *f = opaque;
	nanosleep(&(struct timespec){.tv_nsec = 100 * 1000 * 1000}, NULL);
	__atomic_or_fetch(&f->cpu->requests, CPU_REQUEST_STOP, __ATOMIC_SEQ_CST);
	__atomic_store_n(&f->cpu->run, 0, __ATOMIC_SEQ_CST);
	return NULL;
}

static void test_switched_off(void **state)
{
	(void)state;
	struct fixture f;
	pthread_t thread;
	start(&f, idle_loops[0].code, idle_loops[0].size, ENGINE_IDLE_LOOPS);
	assert_int_equal(pthread_create(&thread, NULL, stop_later, &f), 0);
	assert_int_equal(engine_run(f.vcpu), ENGINE_STOPPED);
	pthread_join(thread, NULL);
	assert_int_equal(counter(&f, LEDGER_COUNT_IDLE_LOOK), 0);
	end(&f);
}

int main(void)
{
#ifdef NFOLD_NO_LEDGER
	return 77; /* what was looked at is counted there; Meson takes 77 for skipped */
#endif
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_idle_loops),	     cmocka_unit_test(test_busy_loops),
	    cmocka_unit_test(test_change_is_seen),   cmocka_unit_test(test_request_is_seen),
	    cmocka_unit_test(test_masked_interrupt), cmocka_unit_test(test_switched_off),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
