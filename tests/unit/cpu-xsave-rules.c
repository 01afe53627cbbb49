/* SPDX-License-Identifier: MIT */
/* State-saving and masked vector instructions: faults, invalid areas, and what 32-bit code sees. */
#include "cpu-op.h"

#include "cpu/fpu.h"

#define AREA 0x8000u /* guest-physical and linear */

static void vector_start(struct fixture *fixture)
{
	struct cpu *cpu = fixture->cpu;

	start_long(fixture);
	cpu->run = 1;
	cpu->cr4 |= CR4_OSFXSR | CR4_OSXMMEXCPT | CR4_OSXSAVE;
	cpu->xcr0 = 7;
	cpu_mode_update(cpu);
}

#define FAR UINT64_C(0x7f0000001000) /* a page with nothing behind it */
#define LONE (FAR + 0x10000u)	     /* the page before it is absent */

static void far_page(struct fixture *fixture)
{
	paging_map(fixture, PAGING_LONG, FAR - 0x1000, 0x6000, PTE_W | PTE_U, 12);
}

static void set_vector(struct cpu *cpu, unsigned number, const uint64_t value[4])
{
	copy_bytes(cpu->xsave + XSAVE_XMM + number * 16, value, 16);
	copy_bytes(cpu->xsave + XSAVE_AVX + number * 16, value + 2, 16);
	cpu_xstate_changed(cpu, XSTATE_SSE | XSTATE_AVX);
}

static uint64_t get_vector(const struct cpu *cpu, unsigned number, unsigned qword)
{
	return load_le(cpu->xsave + (qword < 2 ? XSAVE_XMM : XSAVE_AVX) + number * 16 + (qword & 1) * 8, 8);
}

/* Elements before the fault are done and their mask elements clear; the fault's own and those behind are not. */
static void test_gather_fault(void **state)
{
	struct fixture *fixture = *state;
	struct cpu *cpu = fixture->cpu;
	static const uint64_t data[4] = {10, 11, 12, 13}, mask[4] = {BIT64(63), 0, BIT64(63), BIT64(63)};
	static const uint64_t index[4] = {0, 0x100000, 16, 8};
	struct cpu_insn gather = INSN(.operand_size = 8, .vector_size = 32, .reg = 1, .vvvv = 2, .index = 3,
				      .immediate = 8, MEMORY(FAR - 16));

	vector_start(fixture);
	far_page(fixture);
	put(fixture, 0x6ff0, 8, 100);
	put(fixture, 0x6ff8, 8, 101);
	set_vector(cpu, 1, data);
	set_vector(cpu, 2, mask);
	set_vector(cpu, 3, index);
	op_faults(fixture, CPU_OP_gather, gather, VECTOR_PF, 0);
	assert_int_equal(cpu->cr2, 0); /* delivery sets it */
	assert_int_equal(cpu->pending.cr2, FAR);
	assert_int_equal(get_vector(cpu, 1, 0), 100);
	assert_int_equal(get_vector(cpu, 1, 1), 11);
	assert_int_equal(get_vector(cpu, 1, 2), 12);
	assert_int_equal(get_vector(cpu, 2, 0), 0);
	assert_int_equal(get_vector(cpu, 2, 2), ~UINT64_C(0));
	paging_map(fixture, PAGING_LONG, FAR, 0x7000, PTE_W | PTE_U, 12);
	put(fixture, 0x7000, 8, 102);
	op_succeeds(fixture, CPU_OP_gather, gather);
	assert_int_equal(get_vector(cpu, 1, 2), 102);
	assert_int_equal(get_vector(cpu, 1, 3), 101);
	assert_int_equal(get_vector(cpu, 2, 3), 0);
	gather.vvvv = 3;
	op_faults(fixture, CPU_OP_gather, gather, VECTOR_UD, 0);
}

/* Disabled elements beyond the page do not fault; an enabled one does, and then nothing was written. */
static void test_masked_fault(void **state)
{
	struct fixture *fixture = *state;
	struct cpu *cpu = fixture->cpu;
	static const uint64_t data[4] = {1, 2, 3, 4};
	uint64_t mask[4] = {BIT64(63), BIT64(63), 0, 0};
	struct cpu_insn store =
	    INSN(.operand_size = 8, .vector_size = 32, .reg = 1, .vvvv = 2, .immediate = 1, MEMORY(FAR - 16));

	vector_start(fixture);
	far_page(fixture);
	set_vector(cpu, 1, data);
	set_vector(cpu, 2, mask);
	op_succeeds(fixture, CPU_OP_vpmaskmov, store);
	assert_int_equal(get(fixture, 0x6ff8, 8), 2);
	put(fixture, 0x6ff0, 8, 0);
	mask[2] = BIT64(63);
	set_vector(cpu, 2, mask);
	op_faults(fixture, CPU_OP_vpmaskmov, store, VECTOR_PF, PF_WRITE);
	assert_int_equal(get(fixture, 0x6ff0, 8), 0);
	store.immediate = 0;
	op_faults(fixture, CPU_OP_vpmaskmov, store, VECTOR_PF, 0);
	assert_int_equal(get_vector(cpu, 1, 0), 1);
}

static void test_area_faults(void **state)
{
	struct fixture *fixture = *state;
	struct cpu *cpu = fixture->cpu;

	vector_start(fixture);
	cpu->gpr[CPU_RAX] = 7;
	op_faults(fixture, CPU_OP_fxsave, INSN(MEMORY(AREA + 8)), VECTOR_GP, 0);
	op_faults(fixture, CPU_OP_xsave, INSN(MEMORY(AREA + 32)), VECTOR_GP, 0);
	far_page(fixture);
	put(fixture, 0x6e00, 8, 0x55);
	op_faults(fixture, CPU_OP_xsave, INSN(MEMORY(FAR - 512)), VECTOR_PF, PF_WRITE);
	assert_int_equal(cpu->pending.cr2 >> 12, FAR >> 12);
	assert_int_equal(get(fixture, 0x6e00, 8), 0x55); /* nothing was written */
	/* The header alone, and with XSAVEC the upper halves alone, leave what is below untouched: SDM 1, 13.7, 13.10.
	 */
	put(fixture, paging_map(fixture, PAGING_LONG, LONE - 0x1000, 0x6000, 0, 12), 8, 0);
	paging_map(fixture, PAGING_LONG, LONE, 0x7000, PTE_W, 12);
	put(fixture, 0x7000, 8, 0x55);
	cpu->gpr[CPU_RAX] = 0;
	op_succeeds(fixture, CPU_OP_xsave, INSN(MEMORY(LONE - 512)));
	assert_int_equal(get(fixture, 0x7000, 8), 0x55);
	cpu->gpr[CPU_RAX] = 4;
	op_faults(fixture, CPU_OP_xsave, INSN(MEMORY(LONE - 512)), VECTOR_PF, PF_WRITE);
	op_succeeds(fixture, CPU_OP_xsavec, INSN(MEMORY(LONE - 512)));
	assert_int_equal(get(fixture, 0x7008, 8), BIT64(63) | 4);
	cpu->gpr[CPU_RAX] = 6;
	op_faults(fixture, CPU_OP_xsavec, INSN(MEMORY(LONE - 512)), VECTOR_PF, PF_WRITE);
	cpu->cr0 |= CR0_TS;
	cpu_mode_update(cpu);
	op_faults(fixture, CPU_OP_fxsave, INSN(MEMORY(AREA)), VECTOR_NM, 0);
	op_faults(fixture, CPU_OP_xrstor, INSN(MEMORY(AREA)), VECTOR_NM, 0);
	op_faults(fixture, CPU_OP_ldmxcsr, INSN(MEMORY(AREA)), VECTOR_NM, 0);
	op_succeeds(fixture, CPU_OP_fwait, INSN(0)); /* needs MP as well */
	cpu->cr0 |= CR0_MP;
	cpu_mode_update(cpu);
	op_faults(fixture, CPU_OP_fwait, INSN(0), VECTOR_NM, 0);
	cpu->cr0 &= ~CR0_TS;
	cpu->cr4 &= ~CR4_OSXSAVE;
	cpu_mode_update(cpu);
	op_faults(fixture, CPU_OP_xsave, INSN(MEMORY(AREA)), VECTOR_UD, 0);
}

/* SDM volume 2, XRSTOR: headers that raise #GP. Each host agrees: test_restore() runs the good ones natively. */
static void test_bad_headers(void **state)
{
	static const struct {
		uint64_t state, compaction, reserved;
	} bad[] = {
	    {8, 0, 0},		   /* a component outside XCR0 */
	    {7, 1, 0},		   /* standard format with a compaction mask */
	    {7, 0, 1},		   /* bytes 23:16 */
	    {3, BIT64(63) | 1, 0}, /* data that the mask leaves out */
	    {1, BIT64(63) | 9, 0}, /* a mask outside XCR0 */
	    {1, BIT64(63) | 1, 1}, /* bytes 23:16 */
	};
	struct fixture *fixture = *state;
	struct cpu *cpu = fixture->cpu;

	vector_start(fixture);
	cpu->gpr[CPU_RAX] = 7;
	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		put(fixture, AREA + XSAVE_MXCSR, 4, 0x1f80);
		put(fixture, AREA + XSAVE_BV, 8, bad[i].state);
		put(fixture, AREA + XSAVE_BV + 8, 8, bad[i].compaction);
		put(fixture, AREA + XSAVE_BV + 16, 8, bad[i].reserved);
		op_faults(fixture, CPU_OP_xrstor, INSN(MEMORY(AREA)), VECTOR_GP, 0);
	}
	put(fixture, AREA + XSAVE_BV, 8, 0);
	put(fixture, AREA + XSAVE_BV + 8, 8, 0);
	put(fixture, AREA + XSAVE_BV + 16, 8, 0);
	op_succeeds(fixture, CPU_OP_xrstor, INSN(MEMORY(AREA)));
	put(fixture, AREA + XSAVE_MXCSR, 4, 0x10000);
	op_faults(fixture, CPU_OP_xrstor, INSN(MEMORY(AREA)), VECTOR_GP, 0);
	op_faults(fixture, CPU_OP_fxrstor, INSN(MEMORY(AREA)), VECTOR_GP, 0);
	op_faults(fixture, CPU_OP_ldmxcsr, INSN(MEMORY(AREA + XSAVE_MXCSR)), VECTOR_GP, 0);
}

/* Outside 64-bit mode eight vector registers are saved and restored; the others and their memory stay. */
static void test_eight_registers(void **state)
{
	static const uint64_t value[4] = {1, 2, 3, 4};
	struct fixture *fixture = *state;
	struct cpu *cpu = fixture->cpu;

	vector_start(fixture);
	enter_user(fixture, SEL_USER32);
	set_vector(cpu, 7, value);
	set_vector(cpu, 8, value);
	cpu->gpr[CPU_RAX] = 7;
	op_succeeds(fixture, CPU_OP_xsave, INSN(MEMORY(AREA)));
	assert_int_equal(get(fixture, AREA + XSAVE_XMM + 7 * 16, 8), 1);
	assert_int_equal(get(fixture, AREA + XSAVE_XMM + 8 * 16, 8), 0);
	assert_int_equal(get(fixture, AREA + XSAVE_AVX + 7 * 16, 8), 3);
	assert_int_equal(get(fixture, AREA + XSAVE_AVX + 8 * 16, 8), 0);
	put(fixture, AREA + XSAVE_BV, 8, 0); /* initial values */
	op_succeeds(fixture, CPU_OP_xrstor, INSN(MEMORY(AREA)));
	assert_int_equal(get_vector(cpu, 7, 0), 0);
	assert_int_equal(get_vector(cpu, 8, 0), 1);
	assert_int_equal(get_vector(cpu, 8, 2), 3);
}

/* Unmasked exceptions that are loaded as pending raise #MF at the next waiting instruction. */
static void test_pending_x87(void **state)
{
	struct fixture *fixture = *state;
	struct cpu *cpu = fixture->cpu;

	vector_start(fixture);
	op_succeeds(fixture, CPU_OP_fnstenv, INSN(.operand_size = 4, MEMORY(AREA)));
	op_succeeds(fixture, CPU_OP_fwait, INSN(0));
	put(fixture, AREA, 2, 0x37b); /* zero divide unmasked, and flagged */
	put(fixture, AREA + 4, 2, 4);
	op_succeeds(fixture, CPU_OP_fldenv, INSN(.operand_size = 4, MEMORY(AREA)));
	assert_int_equal(load_le(cpu->xsave + XSAVE_FSW, 2), 0x8084);
	op_faults(fixture, CPU_OP_fwait, INSN(0), VECTOR_MF, 0);
	op_faults(fixture, CPU_OP_frstor, INSN(.operand_size = 4, MEMORY(AREA)), VECTOR_MF, 0);
	op_succeeds(fixture, CPU_OP_fnsave, INSN(.operand_size = 4, MEMORY(AREA))); /* does not wait */
	assert_int_equal(get(fixture, AREA + 4, 2), 0x8084);
	op_succeeds(fixture, CPU_OP_fwait, INSN(0));
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
	    TEST(test_gather_fault), TEST(test_masked_fault),	 TEST(test_area_faults),
	    TEST(test_bad_headers),  TEST(test_eight_registers), TEST(test_pending_x87),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
