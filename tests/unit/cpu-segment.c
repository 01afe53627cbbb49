/* SPDX-License-Identifier: MIT */
/* Segment loads, far transfers, SYSCALL and its kin. */
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
	return get(fixture, fixture->cpu->gpr[CPU_RSP] + (uint64_t)index * size, size);
}

/* ---- loads ---- */

static void test_load_checks(void **state)
{
	enum { LOADED = 0xff };
	static const struct {
		uint16_t cs, selector;
		uint8_t name, vector; /* LOADED: no fault */
	} cases[] = {
	    {SEL_KERNEL64, SEL_KERNEL_DATA, CPU_DS, LOADED},
	    {SEL_KERNEL64, SEL_USER_DATA, CPU_DS, LOADED},
	    {SEL_KERNEL64, SEL_KERNEL_DATA | 3, CPU_DS, VECTOR_GP},
	    {SEL_KERNEL64, SEL_EXECUTE_ONLY, CPU_DS, VECTOR_GP},
	    {SEL_KERNEL64, SEL_TSS, CPU_DS, VECTOR_GP},
	    {SEL_KERNEL64, SEL_NOT_PRESENT, CPU_FS, VECTOR_NP},
	    {SEL_KERNEL64, 0x98, CPU_GS, VECTOR_GP},
	    {SEL_KERNEL64, 0x0c, CPU_GS, VECTOR_GP}, /* no LDT */
	    {SEL_KERNEL64, 3, CPU_ES, LOADED},
	    {SEL_KERNEL64, SEL_CONFORMING, CPU_ES, LOADED},
	    {SEL_KERNEL64, SEL_KERNEL_DATA, CPU_SS, LOADED},
	    {SEL_KERNEL64, SEL_USER_DATA, CPU_SS, VECTOR_GP},
	    {SEL_KERNEL64, 0, CPU_SS, LOADED},
	    {SEL_KERNEL64, 3, CPU_SS, VECTOR_GP},
	    {SEL_KERNEL64, SEL_NOT_PRESENT, CPU_SS, VECTOR_SS},
	    {SEL_USER64, SEL_KERNEL_DATA, CPU_DS, VECTOR_GP},
	    {SEL_USER64, SEL_CONFORMING | 3, CPU_DS, LOADED},
	    {SEL_USER64, SEL_USER_DATA & 0xfffc, CPU_DS, LOADED},
	    {SEL_USER64, SEL_USER_DATA & 0xfffc, CPU_SS, VECTOR_GP},
	    {SEL_USER64, SEL_READ_ONLY, CPU_SS, VECTOR_GP},
	    {SEL_USER64, SEL_READ_ONLY, CPU_DS, LOADED},
	    {SEL_USER64, 3, CPU_SS, VECTOR_GP},
	    {SEL_KERNEL32, 0, CPU_SS, VECTOR_GP},
	};
	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct fixture *fixture = fixture_new();
		struct cpu *cpu = fixture->cpu;
		start_long(fixture);
		if (cases[i].cs == SEL_KERNEL32) {
			segment_from_descriptor(&cpu->segment[CPU_CS], SEL_KERNEL32,
						get(fixture, GDT_BASE + SEL_KERNEL32, 8));
			cpu_mode_update(cpu);
		} else if (cases[i].cs == SEL_USER64) {
			enter_user(fixture, SEL_USER64);
		}
		struct cpu_segment before = cpu->segment[cases[i].name];
		bool loaded = segment_load(cpu, cases[i].name, cases[i].selector);
		assert_int_equal(loaded, cases[i].vector == LOADED);
		if (loaded) {
			assert_int_equal(cpu->segment[cases[i].name].selector, cases[i].selector);
		} else {
			bool null = SELECTOR_IS_NULL(cases[i].selector);
			assert_fault(fixture, cases[i].vector, null ? 0 : cases[i].selector & 0xfffc);
			assert_memory_equal(&before, &cpu->segment[cases[i].name], sizeof(before));
		}
		fixture_free(fixture);
	}
	(void)state;
}

static void test_hidden_part(void **state)
{
	struct fixture *fixture = *state;
	struct cpu *cpu = fixture->cpu;
	start_protected(fixture);
	put(fixture, GDT_BASE + 0x40, 8,
	    UINT64_C(0x12409234567889ab)); /* base 12345678, limit 089ab, no G, not accessed */
	assert_true(segment_load(cpu, CPU_ES, 0x40));
	assert_int_equal(cpu->segment[CPU_ES].base, 0x12345678);
	assert_int_equal(cpu->segment[CPU_ES].limit, 0x089ab);
	assert_int_equal(cpu->segment[CPU_ES].access, 0x4093);
	assert_int_equal(get(fixture, GDT_BASE + 0x40, 8), UINT64_C(0x12409334567889ab));
	put(fixture, GDT_BASE + 0x40, 8, UINT64_C(0x00cf92000000ffff));
	assert_true(segment_load(cpu, CPU_ES, 0x40));
	assert_int_equal(cpu->segment[CPU_ES].limit, 0xffffffff);
	/* The last descriptor must fit as a whole. */
	cpu->gdtr.limit = 0x46;
	assert_false(segment_load(cpu, CPU_ES, 0x40));
	assert_fault(fixture, VECTOR_GP, 0x40);
	/* Through the LDT. */
	segment_from_descriptor(&cpu->ldtr, SEL_LDT, get(fixture, GDT_BASE + SEL_LDT, 8));
	put(fixture, LDT_BASE + 8, 8, UINT64_C(0x00cff2000000ffff));
	assert_true(segment_load(cpu, CPU_FS, 0xf));
	assert_int_equal(cpu->segment[CPU_FS].selector, 0xf);
	assert_int_equal(get(fixture, LDT_BASE + 8, 8), UINT64_C(0x00cff3000000ffff));
}

static void test_mov_pop(void **state)
{
	struct fixture *fixture = *state;
	struct cpu *cpu = fixture->cpu;
	start_protected(fixture);
	cpu->gpr[CPU_RAX] = 0xffff0000 | SEL_KERNEL_DATA;
	enum cpu_next next =
	    run_op(fixture, CPU_OP_mov_to_segment, (struct cpu_insn){.reg = CPU_SS, .operand_size = 2});
	assert_int_equal(next, CPU_EXIT);
	assert_int_equal(cpu->interrupt_shadow, 1);
	assert_int_equal(cpu->rip, 0x5002);
	cpu->interrupt_shadow = 0;
	cpu->gpr[CPU_RAX] = 0;
	next = run_op(fixture, CPU_OP_mov_to_segment, (struct cpu_insn){.reg = CPU_DS, .operand_size = 2});
	assert_int_equal(next, CPU_EXIT); /* no longer flat */
	assert_false(cpu->mode & MODE_FLAT_DS);
	assert_int_equal(cpu->interrupt_shadow, 0);

	cpu->gpr[CPU_RBX] = ~UINT64_C(0);
	run_op(fixture, CPU_OP_mov_from_segment, (struct cpu_insn){.reg = CPU_CS, .rm = CPU_RBX, .operand_size = 4});
	assert_int_equal(cpu->gpr[CPU_RBX], SEL_KERNEL32);
	cpu->gpr[CPU_RBX] = ~UINT64_C(0);
	run_op(fixture, CPU_OP_mov_from_segment, (struct cpu_insn){.reg = CPU_CS, .rm = CPU_RBX, .operand_size = 2});
	assert_int_equal(cpu->gpr[CPU_RBX], ~UINT64_C(0xffff) | SEL_KERNEL32);

	uint64_t rsp = cpu->gpr[CPU_RSP];
	run_op(fixture, CPU_OP_push_segment, (struct cpu_insn){.reg = CPU_CS, .operand_size = 4});
	assert_int_equal(stack_word(fixture, 0, 4), SEL_KERNEL32);
	assert_int_equal(run_op(fixture, CPU_OP_pop_segment, (struct cpu_insn){.reg = CPU_ES, .operand_size = 4}),
			 CPU_EXIT);
	assert_int_equal(cpu->segment[CPU_ES].selector, SEL_KERNEL32);
	assert_int_equal(cpu->gpr[CPU_RSP], rsp);
	/* A load that faults leaves the stack pointer. */
	put(fixture, rsp, 4, 0x98);
	run_op(fixture, CPU_OP_pop_segment, (struct cpu_insn){.reg = CPU_ES, .operand_size = 4});
	assert_int_equal(cpu->rip, HANDLER_OF(VECTOR_GP));
	assert_int_equal(cpu->gpr[CPU_RSP], rsp - 16);
	run_op(fixture, CPU_OP_mov_to_segment, (struct cpu_insn){.reg = CPU_CS, .operand_size = 2});
	assert_int_equal(cpu->rip, HANDLER_OF(VECTOR_UD));
}

static void test_real_load(void **state)
{
	struct fixture *fixture = *state;
	struct cpu *cpu = fixture->cpu;
	start_real(fixture);
	cpu->segment[CPU_DS].limit = 0xffffffff; /* as left by protected mode */
	assert_true(segment_load(cpu, CPU_DS, 0x1234));
	assert_int_equal(cpu->segment[CPU_DS].base, 0x12340);
	assert_int_equal(cpu->segment[CPU_DS].limit, 0xffffffff);
	segment_set_null(&cpu->segment[CPU_ES], 0);
	assert_true(segment_load(cpu, CPU_ES, 0x10));
	assert_true(cpu->segment[CPU_ES].access & SEGMENT_P);
}

static void test_load_far_pointer(void **state)
{
	struct fixture *fixture = *state;
	struct cpu *cpu = fixture->cpu;
	start_protected(fixture);
	put(fixture, 0x6000, 8, UINT64_C(0x000011223344) | (uint64_t)SEL_USER_DATA << 32);
	struct cpu_insn insn = {.reg = CPU_RDI,
				.operand_size = 4,
				.has_memory = true,
				.segment = CPU_DS,
				.displacement = 0x6000,
				.immediate = CPU_GS};
	run_op(fixture, CPU_OP_load_far_pointer, insn);
	assert_int_equal(cpu->gpr[CPU_RDI], 0x11223344);
	assert_int_equal(cpu->segment[CPU_GS].selector, SEL_USER_DATA);
	put(fixture, 0x6004, 2, 0x98);
	put(fixture, 0x6000, 4, 1);
	run_op(fixture, CPU_OP_load_far_pointer, insn);
	assert_int_equal(cpu->rip, HANDLER_OF(VECTOR_GP));
	assert_int_equal(cpu->gpr[CPU_RDI], 0x11223344);
}

static void test_verify(void **state)
{
	enum { NO = 0 };
	static const struct {
		uint16_t selector;
		bool lar, lsl, verr, verw;
		uint32_t rights, limit;
	} cases[] = {
	    {0, NO, NO, NO, NO, 0, 0},
	    {0x98, NO, NO, NO, NO, 0, 0},
	    {SEL_KERNEL_DATA, true, true, true, true, 0x00cf9300, 0xffffffff},
	    {SEL_KERNEL_DATA | 3, NO, NO, NO, NO, 0, 0},
	    {SEL_EXECUTE_ONLY, true, true, NO, NO, 0x00cff900, 0xffffffff},
	    {SEL_READ_ONLY, true, true, true, NO, 0x00cff100, 0xffffffff},
	    {SEL_TSS, true, true, NO, NO, 0x00008b00, 0x67},
	    {SEL_NOT_PRESENT, true, true, true, true, 0x00cf1300, 0xffffffff},
	};
	struct fixture *fixture = *state;
	struct cpu *cpu = fixture->cpu;
	start_protected(fixture);
	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const struct {
			enum cpu_op op;
			bool zf;
			uint64_t result;
		} ops[] = {
		    {CPU_OP_lar, cases[i].lar, cases[i].rights},
		    {CPU_OP_lsl, cases[i].lsl, cases[i].limit},
		    {CPU_OP_verr, cases[i].verr, 7},
		    {CPU_OP_verw, cases[i].verw, 7},
		};
		for (unsigned op = 0; op < 4; op++) {
			cpu->gpr[CPU_RCX] = cases[i].selector;
			cpu->gpr[CPU_RDX] = 7;
			cpu->flags_arithmetic = FLAG_CF | (ops[op].zf ? 0 : FLAG_ZF);
			struct cpu_insn insn = {.reg = CPU_RDX, .rm = CPU_RCX, .operand_size = 4};
			assert_int_equal(run_op(fixture, ops[op].op, insn), CPU_CONTINUE);
			assert_int_equal(cpu->flags_arithmetic, FLAG_CF | (ops[op].zf ? FLAG_ZF : 0));
			assert_int_equal(cpu->gpr[CPU_RDX], ops[op].zf ? ops[op].result : 7);
		}
	}
	/* Long mode knows fewer system types. */
	start_long(fixture);
	put(fixture, GDT_BASE + SEL_GATE - 3, 8, UINT64_C(0x0000850000000000));
	cpu->gpr[CPU_RCX] = SEL_GATE - 3;
	run_op(fixture, CPU_OP_lar, (struct cpu_insn){.reg = CPU_RDX, .rm = CPU_RCX, .operand_size = 4});
	assert_int_equal(cpu->flags_arithmetic & FLAG_ZF, 0);
	start_real(fixture);
	fixture->cpu->cr0 = CR0_ET;
	fixture->cpu->efer = 0;
	cpu_mode_update(fixture->cpu);
	assert_int_equal(run_op(fixture, CPU_OP_verr, (struct cpu_insn){.operand_size = 2}), CPU_FAULT);
}

static void test_arpl(void **state)
{
	struct fixture *fixture = *state;
	struct cpu *cpu = fixture->cpu;
	start_protected(fixture);
	struct cpu_insn insn = {.reg = CPU_RDX, .rm = CPU_RCX, .operand_size = 2};
	cpu->gpr[CPU_RCX] = 0x10008;
	cpu->gpr[CPU_RDX] = 3;
	run_op(fixture, CPU_OP_arpl, insn);
	assert_int_equal(cpu->gpr[CPU_RCX], 0x1000b);
	assert_int_equal(cpu->flags_arithmetic, FLAG_ZF);
	run_op(fixture, CPU_OP_arpl, insn);
	assert_int_equal(cpu->flags_arithmetic, 0);
}

/* ---- far calls, jumps, returns ---- */

static struct cpu_insn far_pointer(uint16_t selector, uint64_t offset, uint8_t size)
{
	return (struct cpu_insn){.length = 7, .operand_size = size, .immediate = offset, .immediate2 = selector};
}

static void test_far_call_protected(void **state)
{
	struct fixture *fixture = *state;
	struct cpu *cpu = fixture->cpu;
	start_protected(fixture);
	run_op(fixture, CPU_OP_call_far, far_pointer(SEL_KERNEL16, 0x1234, 4));
	assert_int_equal(cpu->rip, 0x1234);
	assert_int_equal(cpu->mode & MODE_CODE_MASK, MODE_CODE16);
	assert_int_equal(stack_word(fixture, 0, 4), 0x5007);
	assert_int_equal(stack_word(fixture, 1, 4), SEL_KERNEL32);
	run_op(fixture, CPU_OP_ret_far, (struct cpu_insn){.operand_size = 4, .immediate = 0});
	assert_int_equal(cpu->rip, 0x5007);
	assert_int_equal(cpu->mode & MODE_CODE_MASK, MODE_CODE32);
	assert_int_equal(cpu->gpr[CPU_RSP], STACK0 - 0x100);
	run_op(fixture, CPU_OP_jmp_far, far_pointer(SEL_CONFORMING | 3, 0x100, 4));
	assert_int_equal(cpu->segment[CPU_CS].selector, SEL_CONFORMING); /* RPL is the CPL */
}

static void test_far_checks(void **state)
{
	static const struct {
		uint16_t selector;
		uint8_t vector;
	} cases[] = {
	    {0, VECTOR_GP},
	    {0x98, VECTOR_GP},
	    {SEL_KERNEL_DATA, VECTOR_GP},
	    {SEL_USER32, VECTOR_GP},
	    {SEL_KERNEL32 | 3, VECTOR_GP},
	    {SEL_TSS, VECTOR_GP},
	    {SEL_LDT, VECTOR_GP},
	};
	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct fixture *fixture = fixture_new();
		struct cpu *cpu = fixture->cpu;
		start_protected(fixture);
		run_op(fixture, i & 1 ? CPU_OP_jmp_far : CPU_OP_call_far, far_pointer(cases[i].selector, 0, 4));
		assert_int_equal(cpu->rip, HANDLER_OF(cases[i].vector));
		assert_int_equal(stack_word(fixture, 0, 4), cases[i].selector & 0xfffc);
		assert_int_equal(stack_word(fixture, 1, 4), 0x5000);
		fixture_free(fixture);
	}
	(void)state;
}

/* What Linux does on its way up: from 32-bit code into 64-bit code by RETF, and there LRETQ. */
static void test_far_into_64(void **state)
{
	struct fixture *fixture = *state;
	struct cpu *cpu = fixture->cpu;
	start_long(fixture);
	segment_from_descriptor(&cpu->segment[CPU_CS], SEL_KERNEL32, get(fixture, GDT_BASE + SEL_KERNEL32, 8));
	cpu_mode_update(cpu);
	put(fixture, STACK0 - 0x100, 4, 0x200000);
	put(fixture, STACK0 - 0xfc, 4, SEL_KERNEL64);
	run_op(fixture, CPU_OP_ret_far, (struct cpu_insn){.operand_size = 4});
	assert_int_equal(cpu->rip, 0x200000);
	assert_true(cpu_code64(cpu));
	assert_int_equal(cpu->gpr[CPU_RSP], STACK0 - 0xf8);
	put(fixture, STACK0 - 0xf8, 8, 0xffffffff81000000);
	put(fixture, STACK0 - 0xf0, 8, SEL_KERNEL64);
	run_op(fixture, CPU_OP_ret_far, (struct cpu_insn){.operand_size = 8});
	assert_int_equal(cpu->rip, 0xffffffff81000000);
	put(fixture, STACK0 - 0xe8, 8, 0x8000000000000000);
	put(fixture, STACK0 - 0xe0, 8, SEL_KERNEL64);
	run_op(fixture, CPU_OP_ret_far, (struct cpu_insn){.operand_size = 8});
	assert_int_equal(cpu->rip, HANDLER_OF(VECTOR_GP));
	/* Back to compatibility mode through memory. */
	put(fixture, 0x6000, 4, 0x7000);
	put(fixture, 0x6004, 2, SEL_KERNEL32);
	run_op(fixture, CPU_OP_jmp_far,
	       (struct cpu_insn){.operand_size = 4, .has_memory = true, .segment = CPU_DS, .displacement = 0x6000});
	assert_int_equal(cpu->rip, 0x7000);
	assert_int_equal(cpu->mode & MODE_CODE_MASK, MODE_CODE32);
}

static void call_gate32(struct fixture *fixture, uint16_t selector, unsigned count)
{
	put(fixture, GDT_BASE + SEL_GATE - 3, 8,
	    UINT64_C(0x0000ec0000000000) | 0x7000 | (uint64_t)selector << 16 | (uint64_t)count << 32);
	put(fixture, GDT_BASE + SEL_GATE + 5, 8, 0);
}

static void test_call_gate32(void **state)
{
	struct fixture *fixture = *state;
	struct cpu *cpu = fixture->cpu;
	start_protected(fixture);
	call_gate32(fixture, SEL_KERNEL32, 2);
	enter_user(fixture, SEL_USER32);
	put(fixture, STACK3 - 0x100, 4, 0x11);
	put(fixture, STACK3 - 0xfc, 4, 0x22);
	run_op(fixture, CPU_OP_call_far, far_pointer(SEL_GATE, 0xdead, 4));
	assert_int_equal(cpu->cpl, 0);
	assert_int_equal(cpu->rip, 0x7000);
	assert_int_equal(cpu->gpr[CPU_RSP], STACK0 - 24);
	const uint64_t expected[] = {0x5007, SEL_USER32, 0x11, 0x22, STACK3 - 0x100, SEL_USER_DATA};
	for (unsigned i = 0; i < 6; i++)
		assert_int_equal(stack_word(fixture, i, 4), expected[i]);
	run_op(fixture, CPU_OP_ret_far, (struct cpu_insn){.operand_size = 4, .immediate = 8});
	assert_int_equal(cpu->cpl, 3);
	assert_int_equal(cpu->rip, 0x5007);
	assert_int_equal(cpu->gpr[CPU_RSP], STACK3 - 0xf8);
	assert_int_equal(cpu->segment[CPU_SS].selector, SEL_USER_DATA);
	/* A jump may not go inwards. */
	run_op(fixture, CPU_OP_jmp_far, far_pointer(SEL_GATE, 0, 4));
	assert_int_equal(cpu->rip, HANDLER_OF(VECTOR_GP));
	assert_int_equal(stack_word(fixture, 0, 4), SEL_KERNEL32);
}

static void test_call_gate64(void **state)
{
	struct fixture *fixture = *state;
	struct cpu *cpu = fixture->cpu;
	start_long(fixture);
	call_gate32(fixture, SEL_KERNEL64, 2); /* the count means nothing here */
	enter_user(fixture, SEL_USER64);
	run_op(fixture, CPU_OP_call_far, far_pointer(SEL_GATE, 0, 4));
	assert_int_equal(cpu->cpl, 0);
	assert_int_equal(cpu->rip, 0x7000);
	assert_int_equal(cpu->gpr[CPU_RSP], STACK0 - 32);
	assert_int_equal(cpu->segment[CPU_SS].selector, 0);
	const uint64_t expected[] = {0x5007, SEL_USER64, STACK3 - 0x100, SEL_USER_DATA};
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(stack_word(fixture, i, 8), expected[i]);
	run_op(fixture, CPU_OP_ret_far, (struct cpu_insn){.operand_size = 8});
	assert_int_equal(cpu->cpl, 3);
	assert_int_equal(cpu->gpr[CPU_RSP], STACK3 - 0x100);
	/* To 32-bit code: not through a gate in long mode. */
	call_gate32(fixture, SEL_KERNEL32, 0);
	run_op(fixture, CPU_OP_call_far, far_pointer(SEL_GATE, 0, 4));
	assert_int_equal(cpu->rip, HANDLER_OF(VECTOR_GP));
	assert_int_equal(stack_word(fixture, 0, 8), SEL_KERNEL32);
}

static void test_far_real(void **state)
{
	struct fixture *fixture = *state;
	struct cpu *cpu = fixture->cpu;
	start_real(fixture);
	run_op(fixture, CPU_OP_call_far, far_pointer(0x500, 0x20, 2));
	assert_int_equal(cpu_linear_rip(cpu), 0x5020);
	assert_int_equal(cpu->gpr[CPU_RSP], 0x7fc);
	run_op(fixture, CPU_OP_ret_far, (struct cpu_insn){.operand_size = 2, .immediate = 6});
	assert_int_equal(cpu_linear_rip(cpu), 0x1017);
	assert_int_equal(cpu->gpr[CPU_RSP], 0x806);
}

/* ---- fast system calls ---- */

static void test_syscall(void **state)
{
	struct fixture *fixture = *state;
	struct cpu *cpu = fixture->cpu;
	start_long(fixture);
	cpu->lstar = 0xffffffff81234567;
	cpu->sfmask = FLAG_IF | FLAG_DF | FLAG_TF | FLAG_AC | FLAG_CF;
	enter_user(fixture, SEL_USER64);
	cpu->flags_arithmetic = FLAG_CF | FLAG_OF;
	cpu->flags_system |= FLAG_AC | FLAG_DF;
	uint64_t flags = cpu_rflags(cpu);
	run_op(fixture, CPU_OP_syscall, (struct cpu_insn){0});
	assert_int_equal(cpu->rip, 0xffffffff81234567);
	assert_int_equal(cpu->gpr[CPU_RCX], 0x5002);
	assert_int_equal(cpu->gpr[CPU_R11], flags);
	assert_int_equal(cpu_rflags(cpu), FLAG_OF | FLAG_FIXED);
	assert_int_equal(cpu->cpl, 0);
	assert_int_equal(cpu->segment[CPU_CS].selector, SEL_KERNEL64);
	assert_int_equal(cpu->segment[CPU_SS].selector, SEL_KERNEL64 + 8);
	assert_true(cpu_code64(cpu));
	assert_int_equal(cpu->gpr[CPU_RSP], STACK3 - 0x100);

	cpu->gpr[CPU_R11] |= FLAG_RF | FLAG_VM;
	run_op(fixture, CPU_OP_sysret, (struct cpu_insn){.operand_size = 8});
	assert_int_equal(cpu->rip, 0x5002);
	assert_int_equal(cpu_rflags(cpu), flags);
	assert_int_equal(cpu->cpl, 3);
	assert_int_equal(cpu->segment[CPU_CS].selector, SEL_USER64);
	assert_int_equal(cpu->segment[CPU_SS].selector, SEL_USER_DATA);
	assert_true(cpu_code64(cpu));

	enter_user(fixture, SEL_USER64);
	run_op(fixture, CPU_OP_sysret, (struct cpu_insn){.operand_size = 8});
	assert_int_equal(cpu->rip, HANDLER_OF(VECTOR_GP));
	cpu->gpr[CPU_RCX] = 0x800000000000;
	run_op(fixture, CPU_OP_sysret, (struct cpu_insn){.operand_size = 8});
	assert_int_equal(cpu->rip, HANDLER_OF(VECTOR_GP));
	assert_int_equal(cpu->cpl, 0);
	cpu->gpr[CPU_RCX] = 0x1234567890;
	run_op(fixture, CPU_OP_sysret, (struct cpu_insn){.operand_size = 4});
	assert_int_equal(cpu->rip, 0x34567890);
	assert_int_equal(cpu->segment[CPU_CS].selector, SEL_USER32);
	assert_int_equal(cpu->mode & MODE_CODE_MASK, MODE_CODE32);
	/* Compatibility mode: #UD on Intel. */
	run_op(fixture, CPU_OP_syscall, (struct cpu_insn){0});
	assert_int_equal(cpu->rip, HANDLER_OF(VECTOR_UD));
	cpu->efer &= ~EFER_SCE;
	run_op(fixture, CPU_OP_syscall, (struct cpu_insn){0});
	assert_int_equal(cpu->rip, HANDLER_OF(VECTOR_UD));
}

static void test_syscall_amd(void **state)
{
	struct fixture *fixture = *state;
	struct cpu *cpu = fixture->cpu;
	start_long(fixture);
	fixture->model.vendor[0] = 'A';
	cpu->cstar = 0xffffffff81000000;
	enter_user(fixture, SEL_USER32);
	run_op(fixture, CPU_OP_syscall, (struct cpu_insn){0});
	assert_int_equal(cpu->rip, 0xffffffff81000000);
	assert_int_equal(cpu->gpr[CPU_RCX], 0x5002);
	cpu->sysenter_cs = SEL_KERNEL64;
	run_op(fixture, CPU_OP_sysenter, (struct cpu_insn){0});
	assert_int_equal(cpu->rip, HANDLER_OF(VECTOR_UD));
}

static void test_sysenter(void **state)
{
	struct fixture *fixture = *state;
	struct cpu *cpu = fixture->cpu;
	start_protected(fixture);
	enter_user(fixture, SEL_USER32);
	run_op(fixture, CPU_OP_sysenter, (struct cpu_insn){0}); /* SYSENTER_CS is null */
	assert_int_equal(cpu->rip, HANDLER_OF(VECTOR_GP));
	enter_user(fixture, SEL_USER32);
	cpu->sysenter_cs = SEL_KERNEL32;
	cpu->sysenter_esp = 0x8000;
	cpu->sysenter_eip = 0x9000;
	run_op(fixture, CPU_OP_sysenter, (struct cpu_insn){0});
	assert_int_equal(cpu->rip, 0x9000);
	assert_int_equal(cpu->gpr[CPU_RSP], 0x8000);
	assert_int_equal(cpu->cpl, 0);
	assert_int_equal(cpu->interrupt_enable, 0);
	assert_int_equal(cpu->mode & MODE_CODE_MASK, MODE_CODE32);
	assert_int_equal(cpu->segment[CPU_SS].selector, SEL_KERNEL32 + 8);
	cpu->gpr[CPU_RCX] = STACK3;
	cpu->gpr[CPU_RDX] = 0x5500;
	run_op(fixture, CPU_OP_sysexit, (struct cpu_insn){.operand_size = 4});
	assert_int_equal(cpu->rip, 0x5500);
	assert_int_equal(cpu->gpr[CPU_RSP], STACK3);
	assert_int_equal(cpu->cpl, 3);
	assert_int_equal(cpu->segment[CPU_CS].selector, SEL_KERNEL32 + 16 + 3);
	run_op(fixture, CPU_OP_sysexit, (struct cpu_insn){.operand_size = 4});
	assert_int_equal(cpu->rip, HANDLER_OF(VECTOR_GP));
}

/* What translated code compares offsets with agrees with cpu_linear(), for every type and in every mode. */
static void test_reach(void **state)
{
	struct fixture *fixture = *state;
	struct cpu *cpu = fixture->cpu;
	start_protected(fixture);
	for (unsigned access = 0; access < 0x100; access++) {
		for (unsigned real = 0; real < 2; real++) {
			cpu->cr0 = real ? cpu->cr0 & ~CR0_PE : cpu->cr0 | CR0_PE;
			cpu->segment[CPU_ES] =
			    (struct cpu_segment){.base = 0x1000, .limit = 0x123, .access = (uint16_t)access};
			cpu_mode_update(cpu);
			uint64_t linear;
			bool down = !real && (access & 0x1c) == 0x14; /* left to cpu_linear() */
			for (unsigned write = 0; write < 2; write++) {
				int64_t reach = write ? cpu->reach[CPU_ES].write : cpu->reach[CPU_ES].read;
				enum tlb_access kind = write ? TLB_WRITE : TLB_READ;
				bool last = cpu_linear(cpu, CPU_ES, 0x123, 1, kind, &linear);
				bool beyond = cpu_linear(cpu, CPU_ES, 0x124, 1, kind, &linear);
				assert_int_equal(reach, last && !down ? 0x123 : -1);
				assert_true(down || !beyond);
			}
		}
	}
	cpu->pending.valid = false;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_load_checks),
	    TEST(test_reach),
	    TEST(test_hidden_part),
	    TEST(test_mov_pop),
	    TEST(test_real_load),
	    TEST(test_load_far_pointer),
	    TEST(test_verify),
	    TEST(test_arpl),
	    TEST(test_far_call_protected),
	    cmocka_unit_test(test_far_checks),
	    TEST(test_far_into_64),
	    TEST(test_call_gate32),
	    TEST(test_call_gate64),
	    TEST(test_far_real),
	    TEST(test_syscall),
	    TEST(test_syscall_amd),
	    TEST(test_sysenter),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
