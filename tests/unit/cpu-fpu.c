/* SPDX-License-Identifier: MIT */
/* Parking of the guest's vector state. The guest's registers are live between unpark and park: no libc there. */
#include "cpu-fixture.h"

#include <string.h>

#include "cpu/fpu.h"

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

static void fill(uint8_t *bytes, unsigned size, unsigned seed)
{
	for (unsigned i = 0; i < size; i++)
		bytes[i] = (uint8_t)(seed + i * 7);
}

/* A state with every component changed: x87 registers are valid extended numbers. */
static void state_fill(struct cpu *cpu)
{
	store_le(cpu->xsave + XSAVE_FCW, 0x027f, 2);
	store_le(cpu->xsave + XSAVE_FTW, 0x81, 1);
	store_le(cpu->xsave + XSAVE_MXCSR, 0x3f80, 4);
	for (unsigned i = 0; i < 8; i++) {
		fill(cpu->xsave + XSAVE_ST + i * 16, 10, i);
		cpu->xsave[XSAVE_ST + i * 16 + 7] |= 0x80;
	}
	fill(cpu->xsave + XSAVE_XMM, 256, 3);
	if (cpu->host_xstate & XSTATE_AVX)
		fill(cpu->xsave + XSAVE_AVX, 256, 5);
	cpu_xstate_changed(cpu, XSTATE_ALL);
}

static void test_round_trip(void **state)
{
	struct cpu *cpu = ((struct fixture *)*state)->cpu;
	static uint8_t before[CPU_XSAVE_SIZE];
	state_fill(cpu);
	memcpy(before, cpu->xsave, sizeof(before));
	cpu_fpu_unpark(cpu);
	fill_bytes(cpu->xsave, 0, XSAVE_BV);
	cpu_fpu_unpark(cpu); /* live already: nothing is loaded */
	cpu_fpu_park(cpu);
	assert_int_equal(cpu->fpu_live, 0);
	assert_memory_equal(cpu->xsave + XSAVE_FCW, before + XSAVE_FCW, 2);
	assert_int_equal(cpu->xsave[XSAVE_FTW], before[XSAVE_FTW]);
	assert_memory_equal(cpu->xsave + XSAVE_MXCSR, before + XSAVE_MXCSR, 4);
	assert_memory_equal(cpu->xsave + XSAVE_ST, before + XSAVE_ST, 128);
	assert_memory_equal(cpu->xsave + XSAVE_XMM, before + XSAVE_XMM, 256);
	if (cpu->host_xstate & XSTATE_AVX)
		assert_memory_equal(cpu->xsave + XSAVE_AVX, before + XSAVE_AVX, 256);
}

static void test_host_environment(void **state)
{
	struct cpu *cpu = ((struct fixture *)*state)->cpu;
	uint32_t mxcsr;
	uint16_t control;
	state_fill(cpu);
	cpu_fpu_unpark(cpu);
	__asm__ volatile("stmxcsr %0\n\tfnstcw %1" : "=m"(mxcsr), "=m"(control));
	cpu_fpu_park(cpu);
	assert_int_equal(mxcsr, 0x3f80);
	assert_int_equal(control, 0x027f);
	__asm__ volatile("stmxcsr %0\n\tfnstcw %1" : "=m"(mxcsr), "=m"(control));
	assert_int_equal(mxcsr, MXCSR_DEFAULT);
	assert_int_equal(control, 0x037f);
}

/* Components in their initial state have valid data all the same. */
static void test_initial_state(void **state)
{
	struct cpu *cpu = ((struct fixture *)*state)->cpu;
	state_fill(cpu);
	store_le(cpu->xsave + XSAVE_BV, 0, 8);
	if (cpu->host_xstate == 0)
		return; /* FXSAVE has no such thing */
	cpu_fpu_unpark(cpu);
	cpu_fpu_park(cpu);
	static const uint8_t zero[256];
	assert_memory_equal(cpu->xsave + XSAVE_XMM, zero, 256);
	assert_int_equal(load_le(cpu->xsave + XSAVE_FCW, 2), 0x037f);
}

static void test_reset(void **state)
{
	struct cpu *cpu = ((struct fixture *)*state)->cpu;
	assert_int_equal(load_le(cpu->xsave + XSAVE_FCW, 2), 0x40);
	assert_int_equal(load_le(cpu->xsave + XSAVE_MXCSR, 4), MXCSR_DEFAULT);
	cpu_fpu_unpark(cpu); /* what RESET leaves can be loaded */
	cpu_fpu_park(cpu);
	assert_int_equal(load_le(cpu->xsave + XSAVE_FCW, 2), 0x40);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(test_round_trip),
	    TEST(test_host_environment),
	    TEST(test_initial_state),
	    TEST(test_reset),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
