/* SPDX-License-Identifier: MIT */
/* Delivery of exceptions and interrupts, and IRET. */
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

/* Compares the words on top of the stack. */
static void expect_stack(struct fixture *fixture, unsigned size, const uint64_t *word, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		assert_int_equal(stack_word(fixture, i, size), word[i]);
}
#define EXPECT_STACK(fixture, size, ...)                                                                               \
	expect_stack(fixture, size, (const uint64_t[]){__VA_ARGS__},                                                   \
		     sizeof((const uint64_t[]){__VA_ARGS__}) / sizeof(uint64_t))

static enum cpu_next iret(struct fixture *fixture, uint8_t size)
{
	return run_op(fixture, CPU_OP_iret, (struct cpu_insn){.operand_size = size});
}

/* ---- long mode ---- */

static void test_long_page_fault(void **state)
{
	struct fixture *fixture = *state;
	struct cpu *cpu = fixture->cpu;
	start_long(fixture);
	enter_user(fixture, SEL_USER64);
	cpu->rip = 0x5123;
	cpu->flags_arithmetic = FLAG_ZF | FLAG_CF;
	cpu->flags_system |= FLAG_DF;
	uint64_t rsp = cpu->gpr[CPU_RSP];
	cpu_fault_page(cpu, 0x7f0000001234, PF_USER | PF_WRITE);
	cpu_deliver_pending(cpu);

	assert_int_equal(cpu->rip, HANDLER_OF(VECTOR_PF));
	assert_int_equal(cpu->cr2, 0x7f0000001234);
	assert_int_equal(cpu->cpl, 0);
	assert_int_equal(cpu->segment[CPU_CS].selector, SEL_KERNEL64);
	assert_int_equal(cpu->segment[CPU_SS].selector, 0);
	assert_int_equal(cpu->interrupt_enable, 0);
	assert_true(cpu_code64(cpu));
	assert_int_equal(cpu_view(cpu), TLB_VIEW_SUPERVISOR_AC);
	assert_int_equal(cpu->gpr[CPU_RSP], STACK0 - 48);
	EXPECT_STACK(fixture, 8, PF_USER | PF_WRITE, 0x5123, SEL_USER64,
		     FLAG_ZF | FLAG_CF | FLAG_DF | FLAG_IF | FLAG_RF | FLAG_FIXED, rsp, SEL_USER_DATA);

	cpu->gpr[CPU_RSP] += 8;
	assert_int_equal(iret(fixture, 8), CPU_EXIT);
	assert_int_equal(cpu->rip, 0x5123);
	assert_int_equal(cpu->cpl, 3);
	assert_int_equal(cpu->gpr[CPU_RSP], rsp);
	assert_int_equal(cpu_rflags(cpu), FLAG_ZF | FLAG_CF | FLAG_DF | FLAG_IF | FLAG_FIXED);
	assert_int_equal(cpu->segment[CPU_SS].selector, SEL_USER_DATA);
	assert_int_equal(cpu_view(cpu), TLB_VIEW_USER);
}

/* Without a change of privilege the stack is aligned and SS stays. */
static void test_long_same_privilege(void **state)
{
	struct fixture *fixture = *state;
	struct cpu *cpu = fixture->cpu;
	start_long(fixture);
	set_gate64(fixture, 14, SEL_KERNEL64, 0x8f, 0); /* a trap gate leaves IF */
	cpu->gpr[CPU_RSP] = STACK0 - 0x1f3;
	cpu->flags_system |= FLAG_TF | FLAG_NT | FLAG_AC;
	cpu_fault_page(cpu, 0x1000, 0);
	cpu_deliver_pending(cpu);
	assert_int_equal(cpu->gpr[CPU_RSP], STACK0 - 0x200 - 48);
	assert_int_equal(stack_word(fixture, 4, 8), STACK0 - 0x1f3);
	assert_int_equal(stack_word(fixture, 5, 8), SEL_KERNEL_DATA);
	assert_int_equal(cpu->segment[CPU_SS].selector, SEL_KERNEL_DATA);
	assert_int_equal(cpu_rflags(cpu), FLAG_IF | FLAG_AC | FLAG_FIXED);
	cpu->gpr[CPU_RSP] += 8;
	iret(fixture, 8);
	assert_int_equal(cpu->gpr[CPU_RSP], STACK0 - 0x1f3);
	assert_int_equal(cpu_rflags(cpu), FLAG_IF | FLAG_AC | FLAG_TF | FLAG_NT | FLAG_FIXED);
	assert_true(cpu->mode & MODE_TF);
}

static void test_long_ist(void **state)
{
	struct fixture *fixture = *state;
	struct cpu *cpu = fixture->cpu;
	start_long(fixture);
	set_gate64(fixture, 8, SEL_KERNEL64, 0x8e, 1);
	cpu_fault_code(cpu, VECTOR_DF, 0);
	cpu_deliver_pending(cpu);
	assert_int_equal(cpu->gpr[CPU_RSP], STACK_IST - 48);
	assert_int_equal(cpu->segment[CPU_SS].selector, SEL_KERNEL_DATA);
	/* An IST beyond the TSS. */
	start_long(fixture);
	set_gate64(fixture, 3, SEL_KERNEL64, 0x8e, 7);
	cpu->tr.limit = 0x30;
	cpu_interrupt(cpu, 3);
	assert_int_equal(cpu->rip, HANDLER_OF(VECTOR_TS));
	assert_int_equal(stack_word(fixture, 0, 8), SEL_TSS | 1);
}

static void test_compat_to_long(void **state)
{
	struct fixture *fixture = *state;
	struct cpu *cpu = fixture->cpu;
	start_long(fixture);
	enter_user(fixture, SEL_USER32);
	cpu->rip = 0x6000;
	assert_false(cpu_code64(cpu));
	cpu_fault(cpu, VECTOR_UD);
	cpu_deliver_pending(cpu);
	assert_true(cpu_code64(cpu));
	EXPECT_STACK(fixture, 8, 0x6000, SEL_USER32, FLAG_IF | FLAG_RF | FLAG_FIXED, STACK3 - 0x100, SEL_USER_DATA);
	iret(fixture, 8);
	assert_int_equal(cpu->mode & MODE_CODE_MASK, MODE_CODE32);
	assert_int_equal(cpu->cpl, 3);
	assert_true(cpu->mode & MODE_FLAT_SS);
	assert_int_equal(cpu->gpr[CPU_RSP], STACK3 - 0x100);
}

/* Faults found in the gate: the vector that is delivered instead, and its error code. */
static void test_long_gate_checks(void **state)
{
	static const struct {
		uint16_t selector;
		unsigned access;
		unsigned vector;
		uint32_t error_code;
	} cases[] = {
	    {SEL_KERNEL64, 0x0e, VECTOR_NP, 0x40 * 8 + 2},
	    {SEL_KERNEL64, 0x85, VECTOR_GP, 0x40 * 8 + 2},
	    {SEL_KERNEL64, 0x9e, VECTOR_GP, 0x40 * 8 + 2},
	    {SEL_KERNEL64, 0x86, VECTOR_GP, 0x40 * 8 + 2},
	    {SEL_KERNEL32, 0x8e, VECTOR_GP, SEL_KERNEL32},
	    {SEL_KERNEL_DATA, 0x8e, VECTOR_GP, SEL_KERNEL_DATA},
	    {0, 0x8e, VECTOR_GP, 0},
	    {0x98, 0x8e, VECTOR_GP, 0x98},
	    {SEL_USER64, 0x8e, VECTOR_GP, SEL_USER64 & 0xfffc},
	};
	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct fixture *fixture = fixture_new();
		struct cpu *cpu = fixture->cpu;
		start_long(fixture);
		set_gate64(fixture, 0x40, cases[i].selector, cases[i].access, 0);
		cpu_interrupt(cpu, 0x40);
		assert_int_equal(cpu->rip, HANDLER_OF(cases[i].vector));
		assert_int_equal(stack_word(fixture, 0, 8), cases[i].error_code | 1); /* EXT */
		assert_int_equal(stack_word(fixture, 1, 8), 0x5000);
		fixture_free(fixture);
	}
	(void)state;
}

static void test_software_interrupt(void **state)
{
	struct fixture *fixture = *state;
	struct cpu *cpu = fixture->cpu;
	start_long(fixture);
	set_gate64(fixture, 0x80, SEL_KERNEL64, 0xee, 0);
	enter_user(fixture, SEL_USER64);
	cpu->rip = 0x5000;
	run_op(fixture, CPU_OP_int_n, (struct cpu_insn){.immediate = 0x80});
	assert_int_equal(cpu->rip, HANDLER_OF(0x80));
	EXPECT_STACK(fixture, 8, 0x5002, SEL_USER64, FLAG_IF | FLAG_FIXED);
	iret(fixture, 8);
	assert_int_equal(cpu->rip, 0x5002);

	/* A gate that user code may not call; no EXT, and the fault is at the instruction. */
	cpu->rip = 0x5000;
	run_op(fixture, CPU_OP_int_n, (struct cpu_insn){.immediate = 0x81});
	assert_int_equal(cpu->rip, HANDLER_OF(VECTOR_GP));
	EXPECT_STACK(fixture, 8, 0x81 * 8 + 2, 0x5000, SEL_USER64, FLAG_IF | FLAG_RF | FLAG_FIXED);

	/* INT1 passes the DPL. */
	enter_user(fixture, SEL_USER64);
	cpu->rip = 0x5000;
	run_op(fixture, CPU_OP_int1, (struct cpu_insn){.length = 1});
	assert_int_equal(cpu->rip, HANDLER_OF(VECTOR_DB));
	assert_int_equal(stack_word(fixture, 0, 8), 0x5001);
	enter_user(fixture, SEL_USER64);
	run_op(fixture, CPU_OP_int3, (struct cpu_insn){.length = 1});
	assert_int_equal(cpu->rip, HANDLER_OF(VECTOR_GP));
	/* A vector of an exception, as INT n, pushes no error code and is not one for the double-fault rule. */
	start_long(fixture);
	run_op(fixture, CPU_OP_int_n, (struct cpu_insn){.immediate = VECTOR_GP});
	assert_int_equal(cpu->gpr[CPU_RSP], STACK0 - 0x100 - 40);
}

/* ---- double faults ---- */

static void unmap(struct fixture *fixture, uint64_t linear)
{
	uint64_t leaf = paging_map(fixture, PAGING_LONG, linear, 0, 0, 12);
	put(fixture, leaf, 8, 0);
	mmu_flush_page(fixture->cpu, linear);
}

static void test_double_fault(void **state)
{
	struct fixture *fixture = *state;
	struct cpu *cpu = fixture->cpu;
	start_long(fixture);
	set_gate64(fixture, 8, SEL_KERNEL64, 0x8e, 1);
	enter_user(fixture, SEL_USER64);
	unmap(fixture, STACK0 - 8);
	cpu_fault_page(cpu, 0x1234, PF_USER);
	cpu_deliver_pending(cpu);
	assert_int_equal(cpu->rip, HANDLER_OF(VECTOR_DF));
	assert_int_equal(cpu->cr2, STACK0 - 48); /* of the second page fault */
	assert_int_equal(stack_word(fixture, 0, 8), 0);
	assert_int_equal(stack_word(fixture, 1, 8), 0x5000);
	assert_false(cpu->shutdown);
	assert_false(cpu->pending.valid);
}

static void test_triple_fault(void **state)
{
	struct fixture *fixture = *state;
	struct cpu *cpu = fixture->cpu;
	start_long(fixture);
	cpu->idtr.limit = 0;
	cpu_fault(cpu, VECTOR_UD);
	cpu_deliver_pending(cpu);
	assert_true(cpu->shutdown);
	assert_false(cpu->pending.valid);
	assert_false(cpu_service_events(cpu));
	assert_false(cpu_has_wake_event(cpu));
	cpu->requests = CPU_REQUEST_INIT;
	assert_true(cpu_has_wake_event(cpu));
	assert_true(cpu_service_events(cpu));
	assert_int_equal(cpu_linear_rip(cpu), 0xfffffff0);
}

/* Which pairs become a double fault (SDM 3A table 6-5): the second comes from the gate of the first. */
static void test_fault_pairs(void **state)
{
	static const struct {
		uint8_t first, delivered;
	} cases[] = {
	    {VECTOR_UD, VECTOR_NP}, {VECTOR_DE, VECTOR_DF}, {VECTOR_GP, VECTOR_DF},
	    {VECTOR_TS, VECTOR_DF}, {VECTOR_PF, VECTOR_DF}, {VECTOR_MF, VECTOR_NP},
	};
	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct fixture *fixture = fixture_new();
		start_long(fixture);
		set_gate64(fixture, cases[i].first, SEL_KERNEL64, 0x0e, 0); /* not present */
		cpu_fault(fixture->cpu, cases[i].first);
		cpu_deliver_pending(fixture->cpu);
		assert_int_equal(fixture->cpu->rip, HANDLER_OF(cases[i].delivered));
		if (cases[i].delivered == VECTOR_NP)
			assert_int_equal(stack_word(fixture, 0, 8), cases[i].first * 8u + 3);
		fixture_free(fixture);
	}
	(void)state;
}

/* A contributory fault and then a page fault are served one after the other. */
static void test_fault_then_page_fault(void **state)
{
	struct fixture *fixture = *state;
	struct cpu *cpu = fixture->cpu;
	start_long(fixture);
	set_gate64(fixture, VECTOR_PF, SEL_KERNEL64, 0x8e, 1);
	unmap(fixture, STACK0 - 0x100);
	cpu_fault_code(cpu, VECTOR_GP, 0);
	cpu_deliver_pending(cpu);
	assert_int_equal(cpu->rip, HANDLER_OF(VECTOR_PF));
	assert_int_equal(stack_word(fixture, 0, 8), PF_WRITE);
}

/* ---- 32-bit protected mode ---- */

static void test_protected_same(void **state)
{
	struct fixture *fixture = *state;
	struct cpu *cpu = fixture->cpu;
	start_protected(fixture);
	cpu_fault_code(cpu, VECTOR_GP, 0x1234);
	cpu_deliver_pending(cpu);
	assert_int_equal(cpu->gpr[CPU_RSP], STACK0 - 0x100 - 16);
	EXPECT_STACK(fixture, 4, 0x1234, 0x5000, SEL_KERNEL32, FLAG_IF | FLAG_RF | FLAG_FIXED);
	cpu->gpr[CPU_RSP] += 4;
	iret(fixture, 4);
	assert_int_equal(cpu->gpr[CPU_RSP], STACK0 - 0x100);
	assert_int_equal(cpu->rip, 0x5000);
	assert_int_equal(cpu_rflags(cpu), FLAG_IF | FLAG_FIXED);
}

static void test_protected_inner(void **state)
{
	struct fixture *fixture = *state;
	struct cpu *cpu = fixture->cpu;
	start_protected(fixture);
	enter_user(fixture, SEL_USER32);
	cpu_fault(cpu, VECTOR_UD);
	cpu_deliver_pending(cpu);
	assert_int_equal(cpu->cpl, 0);
	assert_int_equal(cpu->segment[CPU_SS].selector, SEL_KERNEL_DATA);
	assert_int_equal(cpu->gpr[CPU_RSP], STACK0 - 20);
	EXPECT_STACK(fixture, 4, 0x5000, SEL_USER32, FLAG_IF | FLAG_RF | FLAG_FIXED, STACK3 - 0x100, SEL_USER_DATA);
	/* Segments that the outer level may not use are dropped on the way out, others stay. */
	assert_true(segment_load(cpu, CPU_DS, SEL_KERNEL_DATA));
	iret(fixture, 4);
	assert_int_equal(cpu->cpl, 3);
	assert_int_equal(cpu->segment[CPU_DS].selector, 0);
	assert_int_equal(cpu->segment[CPU_ES].selector, SEL_USER_DATA);
	assert_int_equal(cpu->gpr[CPU_RSP], STACK3 - 0x100);
}

static void test_protected_bad_stack(void **state)
{
	static const struct {
		uint16_t selector;
		unsigned vector;
		uint32_t error_code;
	} cases[] = {
	    {0, VECTOR_TS, 0},
	    {SEL_USER_DATA, VECTOR_TS, SEL_USER_DATA & 0xfffc},
	    {SEL_KERNEL32, VECTOR_TS, SEL_KERNEL32},
	    {SEL_NOT_PRESENT, VECTOR_SS, SEL_NOT_PRESENT},
	    {0x98, VECTOR_TS, 0x98},
	};
	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct fixture *fixture = fixture_new();
		struct cpu *cpu = fixture->cpu;
		start_protected(fixture);
		/* The handlers of what goes wrong run at CPL 3, on the stack there is. */
		set_gate32(fixture, VECTOR_TS, SEL_USER32, 0xee);
		set_gate32(fixture, VECTOR_SS, SEL_USER32, 0xee);
		enter_user(fixture, SEL_USER32);
		put(fixture, TSS_BASE + 8, 2, cases[i].selector);
		cpu_interrupt(cpu, 0x40);
		assert_int_equal(cpu->rip, HANDLER_OF(cases[i].vector));
		assert_int_equal(cpu->cpl, 3);
		assert_int_equal(stack_word(fixture, 0, 4), cases[i].error_code | 1);
		fixture_free(fixture);
	}
	(void)state;
}

static void test_protected_gate16(void **state)
{
	struct fixture *fixture = *state;
	struct cpu *cpu = fixture->cpu;
	start_protected(fixture);
	put(fixture, IDT_BASE + 0x40 * 8, 8, UINT64_C(0x0000860000001234) | SEL_KERNEL32 << 16);
	cpu_interrupt(cpu, 0x40);
	assert_int_equal(cpu->rip, 0x1234);
	assert_int_equal(cpu->gpr[CPU_RSP], STACK0 - 0x100 - 6);
	EXPECT_STACK(fixture, 2, 0x5000, SEL_KERNEL32, FLAG_IF | FLAG_FIXED);
	iret(fixture, 2);
	assert_int_equal(cpu->rip, 0x5000);
	assert_int_equal(cpu->gpr[CPU_RSP], STACK0 - 0x100);
}

static void v86_start(struct fixture *fixture, unsigned iopl)
{
	struct cpu *cpu = fixture->cpu;
	start_protected(fixture);
	cpu->gpr[CPU_RSP] = STACK0 - 0x100;
	const uint32_t frame[] = {0x10,	 0x600, FLAG_VM | FLAG_IF | FLAG_FIXED | iopl << 12, 0x100, 0x700, 0x111, 0x222,
				  0x333, 0x444};
	for (unsigned i = 0; i < 9; i++)
		put(fixture, STACK0 - 0x100 + i * 4, 4, frame[i]);
	iret(fixture, 4);
}

static void test_v86(void **state)
{
	struct fixture *fixture = *state;
	struct cpu *cpu = fixture->cpu;
	v86_start(fixture, 3);
	assert_true(cpu->mode & MODE_VM86);
	assert_int_equal(cpu->cpl, 3);
	assert_int_equal(cpu_linear_rip(cpu), 0x6010);
	assert_int_equal(cpu->segment[CPU_SS].base, 0x7000);
	assert_int_equal(cpu->segment[CPU_ES].base, 0x1110);
	assert_int_equal(cpu->segment[CPU_GS].base, 0x4440);
	assert_int_equal(cpu->segment[CPU_GS].limit, 0xffff);
	assert_int_equal(cpu->mode & MODE_CODE_MASK, MODE_CODE16);

	cpu_interrupt(cpu, 0x40);
	assert_false(cpu->mode & MODE_VM86);
	assert_int_equal(cpu->cpl, 0);
	assert_int_equal(cpu->gpr[CPU_RSP], STACK0 - 36);
	EXPECT_STACK(fixture, 4, 0x10, 0x600, FLAG_VM | FLAG_IF | FLAG_FIXED | FLAG_IOPL, 0x100, 0x700, 0x111, 0x222,
		     0x333, 0x444);
	assert_int_equal(cpu->segment[CPU_DS].selector, 0);
	assert_int_equal(cpu->segment[CPU_GS].access, 0);
	iret(fixture, 4);
	assert_true(cpu->mode & MODE_VM86);
	assert_int_equal(cpu->gpr[CPU_RSP], 0x100);
	assert_int_equal(cpu->segment[CPU_DS].base, 0x2220);

	/* With IOPL 3 software interrupts reach the IDT, else they fault. */
	set_gate32(fixture, 0x21, SEL_KERNEL32, 0xee);
	run_op(fixture, CPU_OP_int_n, (struct cpu_insn){.immediate = 0x21});
	assert_int_equal(cpu->rip, HANDLER_OF(0x21));
	v86_start(fixture, 0);
	run_op(fixture, CPU_OP_int_n, (struct cpu_insn){.immediate = 0x21});
	assert_int_equal(cpu->rip, HANDLER_OF(VECTOR_GP));
	assert_int_equal(stack_word(fixture, 0, 4), 0);
	v86_start(fixture, 0);
	iret(fixture, 2);
	assert_int_equal(cpu->rip, HANDLER_OF(VECTOR_GP));
}

/* Handlers of events from virtual-8086 mode run at CPL 0 or not at all. */
static void test_v86_handler_level(void **state)
{
	struct fixture *fixture = *state;
	v86_start(fixture, 3);
	set_gate32(fixture, 0x40, SEL_USER32, 0x8e);
	cpu_interrupt(fixture->cpu, 0x40);
	assert_int_equal(fixture->cpu->rip, HANDLER_OF(VECTOR_GP));
	assert_int_equal(stack_word(fixture, 0, 4), (SEL_USER32 & 0xfffc) | 1);
}

/* A stack that expands down ends at its limit. */
static void test_expand_down_stack(void **state)
{
	struct fixture *fixture = *state;
	struct cpu *cpu = fixture->cpu;
	start_protected(fixture);
	cpu->segment[CPU_SS].access |= SEGMENT_DOWN;
	cpu->segment[CPU_SS].limit = STACK0 - 0x100 - 13;
	cpu_interrupt(cpu, 0x40); /* twelve bytes fit */
	assert_int_equal(cpu->rip, HANDLER_OF(0x40));
	cpu->gpr[CPU_RSP] = STACK0 - 0x100;
	cpu->segment[CPU_SS].limit++;
	cpu_interrupt(cpu, 0x40); /* one byte less: #SS, #DF and shutdown have no room either */
	assert_true(cpu->shutdown);
}

/* VME: INT n goes where the redirection map says, and IF becomes VIF (SDM 3B table 20-2). */
static void test_v86_extensions(void **state)
{
	struct fixture *fixture = *state;
	struct cpu *cpu = fixture->cpu;
	v86_start(fixture, 0);
	cpu->cr4 |= CR4_VME;
	cpu->tr.limit = 0x100;
	put(fixture, TSS_BASE + 0x66, 2, 0x90);
	put(fixture, TSS_BASE + 0x70 + 0x21 / 8, 1, 0xff & ~BIT32(0x21 & 7));
	put(fixture, 0x21 * 4, 4, 0x08001234);
	cpu->flags_system |= FLAG_VIF;
	run_op(fixture, CPU_OP_int_n, (struct cpu_insn){.immediate = 0x21});
	assert_int_equal(cpu_linear_rip(cpu), 0x9234);
	assert_true(cpu->mode & MODE_VM86);
	assert_int_equal(cpu->flags_system & FLAG_VIF, 0);
	assert_int_equal(cpu->interrupt_enable, 1);
	const uint64_t expected[] = {0x12, 0x600, FLAG_IF | FLAG_IOPL | FLAG_FIXED};
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(stack_word(fixture, i, 2), expected[i]);
	iret(fixture, 2);
	assert_int_equal(cpu_linear_rip(cpu), 0x6012);
	assert_true(cpu->flags_system & FLAG_VIF);
	assert_int_equal(cpu->gpr[CPU_RSP], 0x100);
	/* A pending virtual interrupt makes the IRET that enables it fault. */
	run_op(fixture, CPU_OP_int_n, (struct cpu_insn){.immediate = 0x21});
	cpu->flags_system |= FLAG_VIP;
	iret(fixture, 2);
	assert_int_equal(cpu->rip, HANDLER_OF(VECTOR_GP));
	v86_start(fixture, 0);
	run_op(fixture, CPU_OP_int_n, (struct cpu_insn){.immediate = 0x22}); /* its bit is set */
	assert_int_equal(cpu->rip, HANDLER_OF(VECTOR_GP));
}

/* ---- real mode ---- */

static void test_real(void **state)
{
	struct fixture *fixture = *state;
	struct cpu *cpu = fixture->cpu;
	cpu->idtr.limit = 0x3ff;
	start_real(fixture);
	put(fixture, 0x21 * 4, 4, 0x05001234);
	run_op(fixture, CPU_OP_int_n, (struct cpu_insn){.immediate = 0x21});
	assert_int_equal(cpu->rip, 0x1234);
	assert_int_equal(cpu->segment[CPU_CS].base, 0x5000);
	assert_int_equal(cpu->gpr[CPU_RSP], 0x7fa);
	EXPECT_STACK(fixture, 2, 0x12, 0x100, FLAG_IF | FLAG_FIXED);
	assert_int_equal(cpu->interrupt_enable, 0);
	iret(fixture, 2);
	assert_int_equal(cpu->rip, 0x12);
	assert_int_equal(cpu->segment[CPU_CS].selector, 0x100);
	assert_int_equal(cpu->interrupt_enable, 1);
	assert_int_equal(cpu->gpr[CPU_RSP], 0x800);
	/* No error codes. */
	put(fixture, VECTOR_GP * 4, 4, 0x05000100);
	cpu_fault_code(cpu, VECTOR_GP, 0);
	cpu_deliver_pending(cpu);
	assert_int_equal(cpu->gpr[CPU_RSP], 0x7fa);
	/* Beyond the table's limit and no way out. */
	cpu->idtr.limit = 3;
	run_op(fixture, CPU_OP_int_n, (struct cpu_insn){.immediate = 0x21});
	assert_true(cpu->shutdown);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(test_long_page_fault),
	    TEST(test_long_same_privilege),
	    TEST(test_long_ist),
	    TEST(test_compat_to_long),
	    cmocka_unit_test(test_long_gate_checks),
	    TEST(test_software_interrupt),
	    TEST(test_double_fault),
	    TEST(test_triple_fault),
	    cmocka_unit_test(test_fault_pairs),
	    TEST(test_fault_then_page_fault),
	    TEST(test_protected_same),
	    TEST(test_protected_inner),
	    cmocka_unit_test(test_protected_bad_stack),
	    TEST(test_protected_gate16),
	    TEST(test_v86),
	    TEST(test_v86_handler_level),
	    TEST(test_expand_down_stack),
	    TEST(test_v86_extensions),
	    TEST(test_real),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
