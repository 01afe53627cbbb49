/* SPDX-License-Identifier: MIT */
/* What IRET refuses, and what it lets through. */
#include "cpu-fixture.h"

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

static uint64_t stack_word(struct fixture *fixture, unsigned index, unsigned size)
{
	struct cpu *cpu = fixture->cpu;
	uint64_t base = cpu_code64(cpu) ? 0 : cpu->segment[CPU_SS].base;
	return get(fixture, base + cpu->gpr[CPU_RSP] + (uint64_t)index * size, size);
}

static enum cpu_next iret(struct fixture *fixture, uint8_t size)
{
	return run_op(fixture, CPU_OP_iret, (struct cpu_insn){.operand_size = size});
}

static void test_iret_checks(void **state)
{
	static const struct {
		uint64_t rip, cs, ss;
		unsigned vector;
		uint32_t error_code;
	} cases[] = {
	    {0x5000, 0, SEL_USER_DATA, VECTOR_GP, 0},
	    {0x5000, 0x98, SEL_USER_DATA, VECTOR_GP, 0x98},
	    {0x5000, SEL_KERNEL_DATA, SEL_KERNEL_DATA, VECTOR_GP, SEL_KERNEL_DATA},
	    {0x5000, SEL_USER64 & 0xfffc, SEL_KERNEL_DATA, VECTOR_GP, SEL_USER64 & 0xfffc},
	    {0x5000, SEL_USER64, SEL_KERNEL_DATA, VECTOR_GP, SEL_KERNEL_DATA},
	    {0x5000, SEL_USER64, 0, VECTOR_GP, 0},
	    {0x5000, SEL_KERNEL64, 3, VECTOR_GP, 0},
	    {0x5000, SEL_USER64, 3, VECTOR_GP, 0},
	    {0x800000000000, SEL_USER64, SEL_USER_DATA, VECTOR_GP, 0},
	    {0x5000, SEL_USER64, SEL_NOT_PRESENT | 3, VECTOR_GP, SEL_NOT_PRESENT},
	    {0x5000, SEL_KERNEL64, SEL_NOT_PRESENT, VECTOR_SS, SEL_NOT_PRESENT},
	};
	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct fixture *fixture = fixture_new();
		struct cpu *cpu = fixture->cpu;
		start_long(fixture);
		const uint64_t frame[] = {cases[i].rip, cases[i].cs, FLAG_FIXED, STACK3, cases[i].ss};
		for (unsigned word = 0; word < 5; word++)
			put(fixture, STACK0 - 0x100 + word * 8, 8, frame[word]);
		assert_int_equal(iret(fixture, 8), CPU_FAULT);
		assert_int_equal(cpu->rip, HANDLER_OF(cases[i].vector));
		assert_int_equal(stack_word(fixture, 0, 8), cases[i].error_code);
		assert_int_equal(stack_word(fixture, 4, 8), STACK0 - 0x100);
		fixture_free(fixture);
	}
	(void)state;
}

/* User code cannot give itself IOPL, nor IF without it. */
static void test_iret_user_flags(void **state)
{
	struct fixture *fixture = *state;
	struct cpu *cpu = fixture->cpu;
	start_long(fixture);
	enter_user(fixture, SEL_USER64);
	const uint64_t frame[] = {0x5000, SEL_USER64, FLAGS_ALL & ~(FLAG_IF | FLAG_VM | FLAG_NT | FLAG_TF), STACK3,
				  SEL_USER_DATA};
	for (unsigned word = 0; word < 5; word++)
		put(fixture, STACK3 - 0x100 + word * 8, 8, frame[word]);
	assert_int_equal(iret(fixture, 8), CPU_EXIT);
	assert_int_equal(cpu_rflags(cpu), FLAGS_ARITHMETIC | FLAG_DF | FLAG_AC | FLAG_ID | FLAG_IF | FLAG_FIXED);
	/* NT has no meaning but a fault in long mode. */
	cpu->flags_system |= FLAG_NT;
	assert_int_equal(iret(fixture, 8), CPU_FAULT);
	assert_int_equal(cpu->rip, HANDLER_OF(VECTOR_GP));
}

/* A null SS is good for 64-bit code below CPL 3, and the kernel's FS base survives a return with a null FS. */
static void test_iret_null(void **state)
{
	struct fixture *fixture = *state;
	struct cpu *cpu = fixture->cpu;
	start_long(fixture);
	uint64_t frame[] = {0x5000, SEL_KERNEL64, FLAG_FIXED, 0x12345678, 0};
	for (unsigned word = 0; word < 5; word++)
		put(fixture, STACK0 - 0x100 + word * 8, 8, frame[word]);
	assert_int_equal(iret(fixture, 8), CPU_EXIT);
	assert_int_equal(cpu->gpr[CPU_RSP], 0x12345678);
	assert_int_equal(cpu->segment[CPU_SS].access & SEGMENT_P, 0);

	start_long(fixture);
	segment_set_null(&cpu->segment[CPU_FS], 3);
	cpu->segment[CPU_FS].base = 0x7f0000000000;
	put(fixture, STACK0 - 0xf8, 8, SEL_USER64);
	put(fixture, STACK0 - 0xe0, 8, SEL_USER_DATA);
	assert_int_equal(iret(fixture, 8), CPU_EXIT);
	assert_int_equal(cpu->cpl, 3);
	assert_int_equal(cpu->segment[CPU_FS].selector, 0);
	assert_int_equal(cpu->segment[CPU_FS].base, 0x7f0000000000);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_iret_checks),
	    TEST(test_iret_user_flags),
	    TEST(test_iret_null),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
