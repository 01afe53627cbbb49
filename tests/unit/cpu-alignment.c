/* SPDX-License-Identifier: MIT */
/*
 * #AC in the operations of the cpu layer, and which of several faults comes first. SDM 3A 6.15 (#AC, table 6-7); the
 * order of #AC after the address's checks and before the page's is that of the manual's table 6-2 and of processors.
 */
#include "cpu-op.h"

#include <string.h>

#include "cpu/event.h"

#define ODD 0x6003u    /* misaligned for two, four and eight bytes */
#define HALF 0x6002u   /* aligned for two bytes only */
#define ABSENT 0x9000u /* a page that is not there */

/* CPL 3 with alignment checks. */
static struct cpu *checked_start(struct fixture *fixture, bool wide)
{
	struct cpu *cpu = fixture->cpu;

	if (wide) {
		start_long(fixture);
		put(fixture, paging_map(fixture, PAGING_LONG, ABSENT, ABSENT, 0, 12), 8, 0);
		mmu_flush_all(cpu, true);
	} else {
		start_protected(fixture);
	}
	enter_user(fixture, wide ? SEL_USER64 : SEL_USER32);
	cpu->cr0 |= CR0_AM;
	cpu->cr4 |= CR4_OSFXSR;
	cpu->flags_system |= FLAG_AC;
	cpu_mode_update(cpu);
	assert_true(cpu->mode & MODE_ALIGN);
	return cpu;
}

struct stack_case {
	enum cpu_op op;
	unsigned size;
	unsigned reg; /* of segment pushes and pops */
};

static void stack_faults(struct fixture *fixture, const struct stack_case *c)
{
	struct cpu *cpu = fixture->cpu;
	struct cpu_insn insn = {.operand_size = (uint8_t)c->size, .reg = (uint8_t)c->reg};

	cpu->gpr[CPU_RSP] = cpu->gpr[CPU_RBP] = ODD;
	op_faults(fixture, c->op, insn, VECTOR_AC, 0);
	assert_int_equal(cpu->gpr[CPU_RSP], ODD);
	assert_int_equal(cpu->gpr[CPU_RBP], ODD);
	if (cpu_code64(cpu)) { /* before #PF, after #SS */
		cpu->gpr[CPU_RSP] = cpu->gpr[CPU_RBP] = ABSENT + 0x103;
		op_faults(fixture, c->op, insn, VECTOR_AC, 0);
		cpu->gpr[CPU_RSP] = cpu->gpr[CPU_RBP] = UINT64_C(0x123400000000103);
		op_faults(fixture, c->op, insn, VECTOR_SS, 0);
	}
	cpu->gpr[CPU_RSP] = cpu->gpr[CPU_RBP] = 0x6010;
	put(fixture, 0x6010, 8, 0);
	op_run(fixture, c->op, insn);
	assert_no_fault(fixture);
}

static void test_stack_long(void **state)
{
	static const struct stack_case cases[] = {
	    {CPU_OP_push_segment, 8, CPU_FS},
	    {CPU_OP_push_segment, 2, CPU_FS},
	    {CPU_OP_pop_segment, 8, CPU_FS},
	    {CPU_OP_pop_segment, 2, CPU_GS},
	    {CPU_OP_pushf, 8, 0},
	    {CPU_OP_pushf, 2, 0},
	    {CPU_OP_enter, 8, 0},
	    {CPU_OP_enter, 2, 0},
	    {CPU_OP_leave, 8, 0},
	    {CPU_OP_leave, 2, 0},
	    {CPU_OP_popf, 2, 0},
	    {CPU_OP_popf, 8, 0}, /* the last: takes AC away */
	};
	struct fixture *fixture = *state;

	checked_start(fixture, true);
	for (unsigned i = 0; i < sizeof(cases) / sizeof(*cases); i++)
		stack_faults(fixture, &cases[i]);
}

static void test_stack_legacy(void **state)
{
	static const struct stack_case cases[] = {
	    {CPU_OP_push_segment, 4, CPU_DS},
	    {CPU_OP_pop_segment, 4, CPU_ES},
	    {CPU_OP_pusha, 4, 0},
	    {CPU_OP_pusha, 2, 0},
	    {CPU_OP_popa, 4, 0},
	    {CPU_OP_popa, 2, 0},
	    {CPU_OP_leave, 4, 0},
	    {CPU_OP_popf, 4, 0},
	};
	struct fixture *fixture = *state;

	checked_start(fixture, false);
	for (unsigned i = 0; i < sizeof(cases) / sizeof(*cases); i++)
		stack_faults(fixture, &cases[i]);
}

/* ENTER looks at the new top of the stack as it would at a push there. */
static void test_enter_top(void **state)
{
	struct fixture *fixture = *state;
	struct cpu *cpu = checked_start(fixture, true);

	cpu->gpr[CPU_RSP] = 0x6100;
	op_faults(fixture, CPU_OP_enter, INSN(.operand_size = 8, .immediate = 0x21), VECTOR_AC, 0);
	assert_int_equal(cpu->gpr[CPU_RSP], 0x6100);
	op_succeeds(fixture, CPU_OP_enter, INSN(.operand_size = 8, .immediate = 0x20));
}

/* Memory operands: the operation, where it faults, and where it does not. */
static void test_operands(void **state)
{
	static const struct {
		enum cpu_op op;
		uint8_t size, reg;
		uint64_t immediate;
		uint64_t bad, good;
	} cases[] = {
	    {CPU_OP_mov_from_segment, 4, CPU_DS, 0, ODD, HALF},
	    {CPU_OP_mov_to_segment, 4, CPU_ES, 0, ODD, HALF},
	    {CPU_OP_verr, 2, 0, 0, ODD, HALF},
	    {CPU_OP_lar, 4, CPU_RDX, 0, ODD, HALF},
	    {CPU_OP_arpl, 2, CPU_RDX, 0, ODD, HALF},
	    {CPU_OP_bound, 2, CPU_RDX, 0, ODD, HALF},
	    {CPU_OP_bound, 4, CPU_RDX, 0, HALF, 0x6004},
	    {CPU_OP_load_far_pointer, 2, CPU_RDX, CPU_ES, ODD, HALF},
	    {CPU_OP_load_far_pointer, 4, CPU_RDX, CPU_ES, HALF, 0x6004},
	    {CPU_OP_fnstenv, 2, 0, 0, ODD, HALF},
	    {CPU_OP_fnstenv, 4, 0, 0, HALF, 0x6004},
	    {CPU_OP_fnsave, 4, 0, 0, HALF, 0x6004},
	    {CPU_OP_fldenv, 4, 0, 0, HALF, 0x6104},
	    {CPU_OP_frstor, 4, 0, 0, HALF, 0x6104},
	    {CPU_OP_sgdt, 4, 0, 0, HALF, 0x6004},
	    {CPU_OP_sldt, 2, 0, 0, ODD, HALF},
	};
	struct fixture *fixture = *state;
	struct cpu *cpu = checked_start(fixture, false);

	cpu->gpr[CPU_RDX] = 0;
	for (unsigned i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct cpu_insn insn = {.operand_size = cases[i].size,
					.reg = cases[i].reg,
					.immediate = cases[i].immediate,
					MEMORY(cases[i].bad)};
		memory_fill(&fixture->memory, 0x6000, 0, 0x200);
		op_faults(fixture, cases[i].op, insn, VECTOR_AC, 0);
		insn.displacement = (int64_t)cases[i].good;
		op_run(fixture, cases[i].op, insn);
		assert_no_fault(fixture);
	}
}

/* Delivery checks nothing: an #AC on the way to the handler of #AC would never end. */
static void test_delivery(void **state)
{
	struct fixture *fixture = *state;
	struct cpu *cpu = checked_start(fixture, false);

	set_gate32(fixture, VECTOR_AC, SEL_USER32, 0xee);
	cpu->gpr[CPU_RSP] = ODD;
	cpu->rip = 0x5000;
	run_op(fixture, CPU_OP_push_segment, INSN(.operand_size = 4, .reg = CPU_DS));
	assert_false(cpu->shutdown);
	assert_int_equal(cpu->rip, HANDLER_OF(VECTOR_AC));
	assert_int_equal(cpu->gpr[CPU_RSP], ODD - 16);
}

/* SDM 2B, PUSH: Intel's processors write 16 bits of a segment register's 32; AMD's write all. */
static void test_push_selector(void **state)
{
	struct fixture *fixture = *state;
	struct cpu *cpu = fixture->cpu;

	start_protected(fixture);
	for (unsigned amd = 0; amd < 2; amd++) {
		memcpy(fixture->model.vendor, amd ? "AuthenticAMD" : "GenuineIntel", 13);
		put(fixture, 0x600c, 4, 0xffffffff);
		cpu->gpr[CPU_RSP] = 0x6010;
		op_succeeds(fixture, CPU_OP_push_segment, INSN(.operand_size = 4, .reg = CPU_DS));
		assert_int_equal(cpu->gpr[CPU_RSP], 0x600c);
		assert_int_equal(get(fixture, 0x600c, 4), (amd ? 0 : 0xffff0000) | SEL_KERNEL_DATA);
	}
	start_long(fixture);
	memcpy(fixture->model.vendor, "GenuineIntel", 13);
	put(fixture, 0x6008, 8, ~UINT64_C(0));
	cpu->gpr[CPU_RSP] = 0x6010;
	cpu->segment[CPU_FS].selector = 0x2b;
	op_succeeds(fixture, CPU_OP_push_segment, INSN(.operand_size = 8, .reg = CPU_FS));
	assert_int_equal(get(fixture, 0x6008, 8), 0x2b);
}

/* A page that may only be read serves as long as RPL need not be raised. */
static void test_arpl_read_only(void **state)
{
	struct fixture *fixture = *state;
	struct cpu *cpu = fixture->cpu;

	start_protected(fixture);
	paging_start(fixture, PAGING_32);
	for (uint64_t page = 0; page < 0x40000; page += 0x1000)
		paging_map(fixture, PAGING_32, page, page, PTE_U | (page == 0x6000 ? 0 : PTE_W), 12);
	enter_user(fixture, SEL_USER32);
	cpu_mode_update(cpu);
	mmu_flush_all(cpu, true);
	put(fixture, 0x6000, 2, 3);
	cpu->gpr[CPU_RDX] = 2;
	cpu->flags_arithmetic = FLAG_ZF;
	op_succeeds(fixture, CPU_OP_arpl, INSN(.operand_size = 2, .reg = CPU_RDX, MEMORY(0x6000)));
	assert_int_equal(cpu->flags_arithmetic, 0);
	put(fixture, 0x6000, 2, 1);
	op_faults(fixture, CPU_OP_arpl, INSN(.operand_size = 2, .reg = CPU_RDX, MEMORY(0x6000)), VECTOR_PF,
		  PF_PRESENT | PF_WRITE | PF_USER);
	assert_int_equal(cpu->flags_arithmetic, 0);
}

/* FXSAVE faults for bytes of its area that it leaves alone. */
static void test_fxsave_end(void **state)
{
	struct fixture *fixture = *state;
	checked_start(fixture, true);
	op_faults(fixture, CPU_OP_fxsave, INSN(MEMORY(ABSENT - 0x1f0)), VECTOR_PF, PF_WRITE | PF_USER);
	assert_int_equal(get(fixture, ABSENT - 0x1f0, 2), 0);
	op_succeeds(fixture, CPU_OP_fxsave, INSN(MEMORY(ABSENT - 0x200)));
	assert_int_not_equal(get(fixture, ABSENT - 0x200, 2), 0);
}

/* Pending x87 exceptions come before anything the operand could do. */
static void test_pending_first(void **state)
{
	struct fixture *fixture = *state;

	checked_start(fixture, true);
	put(fixture, 0x6000, 4, 0x0340); /* all unmasked */
	put(fixture, 0x6004, 4, 0x0001); /* an invalid operation */
	put(fixture, 0x6008, 4, 0xffff);
	op_succeeds(fixture, CPU_OP_fldenv, INSN(.operand_size = 4, MEMORY(0x6000)));
	op_faults(fixture, CPU_OP_fldenv, INSN(.operand_size = 4, MEMORY(ODD)), VECTOR_MF, 0);
	op_faults(fixture, CPU_OP_frstor, INSN(.operand_size = 4, MEMORY(ABSENT)), VECTOR_MF, 0);
	op_faults(fixture, CPU_OP_fnsave, INSN(.operand_size = 4, MEMORY(ODD)), VECTOR_AC, 0);
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
	    TEST(test_stack_long),     TEST(test_stack_legacy), TEST(test_enter_top),
	    TEST(test_operands),       TEST(test_delivery),	TEST(test_push_selector),
	    TEST(test_arpl_read_only), TEST(test_fxsave_end),	TEST(test_pending_first),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
