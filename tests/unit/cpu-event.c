/* SPDX-License-Identifier: MIT */
/* What happens between instructions: interrupts, NMI, halts, start-up, debug traps and breakpoints. */
#include "cpu-fixture.h"

#include "cpu/debug.h"

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

/* ---- between instructions ---- */

static void offer(struct fixture *fixture, int vector)
{
	fixture->vector = vector;
	fixture->cpu->requests |= CPU_REQUEST_INTERRUPT;
	fixture->cpu->run = 0;
}

static void test_interrupt(void **state)
{
	struct fixture *fixture = *state;
	struct cpu *cpu = fixture->cpu;
	start_long(fixture);
	cpu->interrupt_enable = 0;
	offer(fixture, 0x40);
	assert_true(cpu_service_events(cpu));
	assert_int_equal(cpu->rip, 0x5000);
	assert_int_equal(cpu->run, 1);
	cpu->interrupt_enable = 1;
	cpu->interrupt_shadow = 1;
	assert_true(cpu_service_events(cpu));
	assert_int_equal(cpu->rip, 0x5000);
	cpu->interrupt_shadow = 0;
	assert_true(cpu_service_events(cpu));
	assert_int_equal(cpu->rip, HANDLER_OF(0x40));
	assert_int_equal(stack_word(fixture, 2, 8), FLAG_IF | FLAG_FIXED); /* no RF */
	/* A controller that has nothing after all. */
	start_long(fixture);
	fixture->vector = -1;
	cpu->requests = CPU_REQUEST_INTERRUPT;
	assert_true(cpu_service_events(cpu));
	assert_int_equal(cpu->rip, 0x5000);
}

static void test_nmi(void **state)
{
	struct fixture *fixture = *state;
	struct cpu *cpu = fixture->cpu;
	start_long(fixture);
	cpu->interrupt_enable = 0;
	cpu->requests = CPU_REQUEST_NMI;
	assert_true(cpu_service_events(cpu));
	assert_int_equal(cpu->rip, HANDLER_OF(VECTOR_NMI));
	assert_int_equal(cpu->requests, 0);
	cpu->requests = CPU_REQUEST_NMI; /* a second one waits for IRET */
	assert_true(cpu_service_events(cpu));
	assert_int_equal(cpu->gpr[CPU_RSP], STACK0 - 0x100 - 40);
	cpu->run = 1;
	iret(fixture, 8);
	assert_int_equal(cpu->run, 0);
	assert_true(cpu_service_events(cpu));
	assert_int_equal(cpu->rip, HANDLER_OF(VECTOR_NMI));
	assert_int_equal(cpu->requests, 0);
}

static void test_halt(void **state)
{
	struct fixture *fixture = *state;
	struct cpu *cpu = fixture->cpu;
	start_long(fixture);
	cpu->halted = true;
	cpu->interrupt_shadow = 1; /* STI; HLT */
	assert_false(cpu_service_events(cpu));
	assert_false(cpu_has_wake_event(cpu));
	offer(fixture, 0x40);
	assert_true(cpu_has_wake_event(cpu));
	cpu->interrupt_enable = 0;
	assert_false(cpu_has_wake_event(cpu));
	assert_false(cpu_service_events(cpu));
	cpu->interrupt_enable = 1;
	assert_true(cpu_service_events(cpu));
	assert_false(cpu->halted);
	assert_int_equal(cpu->rip, HANDLER_OF(0x40));
	cpu->requests = CPU_REQUEST_STOP;
	assert_false(cpu_service_events(cpu));
}

static void test_startup(void **state)
{
	struct fixture *fixture = *state;
	struct cpu *cpu = fixture->cpu;
	cpu->index = 1;
	cpu_reset(cpu);
	assert_false(cpu_service_events(cpu));
	assert_false(cpu_has_wake_event(cpu));
	cpu->startup_vector = 0x9a;
	cpu->requests = CPU_REQUEST_STARTUP;
	assert_true(cpu_has_wake_event(cpu));
	assert_true(cpu_service_events(cpu));
	assert_int_equal(cpu_linear_rip(cpu), 0x9a000);
	assert_int_equal(cpu->segment[CPU_CS].selector, 0x9a00);
	cpu->requests = CPU_REQUEST_STARTUP; /* ignored by one that runs */
	cpu->rip = 5;
	assert_true(cpu_service_events(cpu));
	assert_int_equal(cpu->rip, 5);
}

static void test_single_step(void **state)
{
	struct fixture *fixture = *state;
	struct cpu *cpu = fixture->cpu;
	start_long(fixture);
	cpu->flags_system |= FLAG_TF;
	cpu_mode_update(cpu);
	cpu->debug_trap = true;
	cpu->debug_dr6 = DR6_BS;
	offer(fixture, 0x40);
	set_gate64(fixture, 1, SEL_KERNEL64, 0x8e, 0);
	assert_true(cpu_service_events(cpu));
	assert_int_equal(cpu->rip, HANDLER_OF(VECTOR_DB)); /* the trap is first, and clears IF */
	assert_int_equal(cpu->dr[6], DR6_FIXED | DR6_BS);
	assert_int_equal(stack_word(fixture, 2, 8), FLAG_TF | FLAG_IF | FLAG_FIXED);
	assert_false(cpu->mode & MODE_TF);
	assert_false(cpu->debug_trap);
}

static void test_instruction_breakpoint(void **state)
{
	struct fixture *fixture = *state;
	struct cpu *cpu = fixture->cpu;
	start_long(fixture);
	cpu->dr[1] = 0x5000;
	cpu->dr[7] |= BIT64(3) | DR7_GD;
	cpu_mode_update(cpu);
	assert_true(cpu->mode & MODE_DEBUG);
	assert_true(cpu_service_events(cpu));
	assert_int_equal(cpu->rip, HANDLER_OF(VECTOR_DB));
	assert_int_equal(cpu->dr[6], DR6_FIXED | 2);
	assert_int_equal(cpu->dr[7] & DR7_GD, 0);
	assert_int_equal(stack_word(fixture, 2, 8), FLAG_IF | FLAG_FIXED);
	/* The handler sets RF in the image: once past, then armed again. */
	put(fixture, cpu->gpr[CPU_RSP] + 16, 8, FLAG_IF | FLAG_RF | FLAG_FIXED);
	iret(fixture, 8);
	assert_true(cpu_service_events(cpu));
	assert_int_equal(cpu->rip, 0x5000);
	assert_int_equal(cpu_rflags(cpu), FLAG_IF | FLAG_FIXED);
	assert_true(cpu_service_events(cpu));
	assert_int_equal(cpu->rip, HANDLER_OF(VECTOR_DB));
}

/* A data breakpoint met by an instruction that then faults is not reported. */
static void test_breakpoint_of_fault(void **state)
{
	struct fixture *fixture = *state;
	struct cpu *cpu = fixture->cpu;
	start_long(fixture);
	cpu->debug_trap = true;
	cpu->debug_dr6 = 1;
	cpu_fault(cpu, VECTOR_UD);
	cpu_deliver_pending(cpu);
	assert_true(cpu_service_events(cpu));
	assert_int_equal(cpu->rip, HANDLER_OF(VECTOR_UD));
}

/* A guest that watches the stack of its #DB handler must not keep us here for ever. */
static void test_breakpoint_on_stack(void **state)
{
	struct fixture *fixture = *state;
	struct cpu *cpu = fixture->cpu;
	start_long(fixture);
	cpu->gpr[CPU_RSP] = STACK0 - 0x100;
	cpu->dr[0] = STACK0 - 0x108;
	cpu->dr[7] |= 1 | 0x9u << 16; /* eight bytes, writes */
	tlb_flush(&cpu->tlb, true);
	cpu_interrupt(cpu, 0x40);
	assert_true(cpu->debug_trap);
	cpu->gpr[CPU_RSP] = STACK0 - 0x100;
	assert_true(cpu_service_events(cpu));
	assert_int_equal(cpu->rip, HANDLER_OF(VECTOR_DB));
	assert_false(cpu->debug_trap);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(test_interrupt),
	    TEST(test_nmi),
	    TEST(test_halt),
	    TEST(test_startup),
	    TEST(test_single_step),
	    TEST(test_instruction_breakpoint),
	    TEST(test_breakpoint_of_fault),
	    TEST(test_breakpoint_on_stack),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
