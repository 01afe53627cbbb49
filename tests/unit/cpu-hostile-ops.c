/* SPDX-License-Identifier: MIT */
/*
 * Hostile guests, the other operations: system, string, legacy and state-saving instructions with random operands,
 * registers, modes and page permissions. None may crash, run without bound, or leave the processor in a state that
 * cannot be. Run under ASan and UBSan too.
 */
#include "cpu-op.h"

#include "cpu/fpu.h"

#define ROUNDS 200u
#define STEPS 150u

static const enum cpu_op ops[] = {
#define X(name) CPU_OP_##name,
    CPU_OPS_CONTROL(X) CPU_OPS_MODEL(X) CPU_OPS_STRING(X) CPU_OPS_LEGACY(X) CPU_OPS_VECTOR(X)
#undef X
};
#define OP_COUNT (sizeof(ops) / sizeof(ops[0]))

static uint8_t cr8_read(void *opaque)
{
	(void)opaque;
	return 5;
}

static void cr8_write(void *opaque, uint8_t value)
{
	(void)opaque;
	assert_in_range(value, 0, 15);
}

static uint64_t random_value(struct random *random)
{
	static const uint64_t interesting[] = {0,
					       1,
					       0x5ff8,
					       0x6000,
					       0x6ffc,
					       0x7fff,
					       0x8000,
					       0xffff,
					       0xf0000,
					       DEVICE_BASE,
					       ROM_BASE + 0xffc,
					       RAM_SIZE - 0x100000,
					       0xfffffffc,
					       0x100000000,
					       0x7ffffffffffc,
					       0x800000000000,
					       0xffff7fffffffffff,
					       0xffff800000000000,
					       0xfffffffffffffffc,
					       SEL_TSS,
					       SEL_LDT,
					       CR0_PE,
					       7};
	uint64_t value = interesting[random_below(random, sizeof(interesting) / sizeof(interesting[0]))];

	switch (random_below(random, 4)) {
	case 0:
		return random_next(random);
	case 1:
		return random_below(random, 0x10000);
	default:
		return value + random_below(random, 3);
	}
}

/* Numbers of MSRs that exist are rare among random ones. */
static uint64_t random_msr(struct random *random)
{
	static const uint32_t numbers[] = {0x10,  0x1b,	      0x3b,	  0x48,	      0x49,	  0xfe,	     0x10a,
					   0x174, 0x175,      0x1a0,	  0x1d9,      0x200,	  0x20f,     0x250,
					   0x26f, 0x277,      0x2ff,	  0x6e0,      0x808,	  0x8ff,     0x900,
					   0x8b,  0xc0000080, 0xc0000082, 0xc0000101, 0xc0000103, 0xc0011029};

	return numbers[random_below(random, sizeof(numbers) / sizeof(numbers[0]))];
}

static void random_mode(struct fixture *fixture, struct random *random)
{
	struct cpu *cpu = fixture->cpu;

	cpu_reset(cpu);
	fixture->next_table = TABLES_BASE;
	switch (random_below(random, 4)) {
	case 0:
		start_real(fixture);
		break;
	case 1:
		start_protected(fixture);
		break;
	default:
		start_long(fixture);
		for (unsigned i = 0; i < 12; i++) {
			uint64_t page = (5 + random_below(random, 16)) * 0x1000u;
			uint64_t flags = random_next(random) & (PTE_W | PTE_U | PTE_NX);
			paging_map(fixture, PAGING_LONG, (5 + i % 6) * 0x1000u, page, flags, 12);
		}
		mmu_flush_all(cpu, true);
		break;
	}
	if (random_below(random, 3) == 0 && !(cpu->mode & MODE_REAL))
		enter_user(fixture, cpu_long_mode(cpu) && random_below(random, 2) ? SEL_USER64 : SEL_USER32);
	put(fixture, GDT_BASE + SEL_TSS + 5, 1, 0x89); /* not busy: LTR may load it */
	cpu->cr4 |= random_next(random) & (CR4_VME | CR4_PVI | CR4_DE | CR4_OSFXSR | CR4_OSXSAVE | CR4_UMIP | CR4_SMAP |
					   CR4_FSGSBASE | CR4_TSD);
	cpu->xcr0 = 7;
	cpu->flags_system |=
	    (uint32_t)random_next(random) & (FLAG_DF | FLAG_AC | FLAG_IOPL | FLAG_TF | FLAG_VIP | FLAG_VIF);
	if (random_below(random, 4) == 0)
		*memory_page_flags(&fixture->memory, 0x6000) = PAGE_CODE;
	cpu->run = (uint32_t)random_below(random, 2);
	cpu_mode_update(cpu);
}

/* What a decoder could make of some encoding. */
static struct cpu_insn random_insn(const struct cpu *cpu, enum cpu_op op, struct random *random)
{
	bool vector = op == CPU_OP_gather || op == CPU_OP_vmaskmov || op == CPU_OP_vpmaskmov;
	unsigned largest = cpu_code64(cpu) ? 8 : 4;
	unsigned size = 1u << random_below(random, largest == 8 ? 4 : 3);
	unsigned address = largest >> random_below(random, 2);
	struct cpu_insn insn = {.op = (uint16_t)op,
				.length = (uint8_t)(1 + random_below(random, 15)),
				.operand_size = (uint8_t)(vector ? 4u << random_below(random, 2) : size),
				.address_size = (uint8_t)address,
				.stack_size = (uint8_t)largest,
				.rex = random_below(random, 2) != 0,
				.rex_w = random_below(random, 2) != 0,
				.reg = (uint8_t)random_below(random, 16),
				.rm = (uint8_t)random_below(random, 16),
				.has_memory = random_below(random, 2) != 0,
				.segment = (uint8_t)random_below(random, CPU_SEGMENT_COUNT),
				.base = random_below(random, 4) ? (uint8_t)random_below(random, 16) : CPU_NO_REGISTER,
				.index = random_below(random, 2) ? (uint8_t)random_below(random, 16) : CPU_NO_REGISTER,
				.scale = (uint8_t)(1u << random_below(random, 4)),
				.displacement = (int64_t)(int32_t)random_value(random),
				.immediate = random_value(random),
				.immediate2 = random_below(random, 256),
				.vvvv = (uint8_t)random_below(random, 16),
				.vector_size = (uint8_t)(16u << random_below(random, 2))};

	switch (random_below(random, 3)) {
	case 0:
		insn.rep = true;
		break;
	case 1:
		insn.repne = true;
		break;
	default:
		break;
	}
	if (op == CPU_OP_bit_memory)
		insn.immediate &= 3;
	if (op == CPU_OP_gather)
		insn.index = (uint8_t)random_below(random, 16);
	/* Not every operation has every size. */
	if (insn.operand_size == 1 && op != CPU_OP_in && op != CPU_OP_out && !(op >= CPU_OP_movs && op <= CPU_OP_outs))
		insn.operand_size = 2;
	if (insn.operand_size == 8 &&
	    (op == CPU_OP_in || op == CPU_OP_out || op == CPU_OP_ins || op == CPU_OP_outs || op == CPU_OP_bound))
		insn.operand_size = 4;
	return insn;
}

/* What holds between any two instructions. */
static void check_state(struct cpu *cpu)
{
	uint32_t mode = cpu->mode;

	cpu_mode_update(cpu);
	assert_int_equal(mode, cpu->mode); /* was current */
	assert_true(cpu->cr0 & CR0_ET);
	assert_false((cpu->cr0 & CR0_PG) && !(cpu->cr0 & CR0_PE));
	assert_false((cpu->cr0 & CR0_NW) && !(cpu->cr0 & CR0_CD));
	assert_int_equal((cpu->efer & EFER_LMA) != 0, (cpu->efer & EFER_LME) && (cpu->cr0 & CR0_PG));
	assert_true(!(cpu->efer & EFER_LMA) || (cpu->cr4 & CR4_PAE));
	assert_int_equal(cpu->cr3 >> 40, 0);
	assert_int_equal(cpu->flags_arithmetic & ~FLAGS_ARITHMETIC, 0);
	assert_int_equal(cpu->flags_system & ~(FLAGS_ALL & ~(FLAGS_ARITHMETIC | FLAG_IF)), 0);
	assert_in_range(cpu->interrupt_enable, 0, 1);
	assert_int_equal(load_le(cpu->xsave + XSAVE_MXCSR, 4) & ~UINT64_C(0xffff), 0);
	assert_int_equal(load_le(cpu->xsave + XSAVE_BV, 8) & ~UINT64_C(7), 0);
	for (unsigned i = CPU_FS; i <= CPU_GS; i++)
		assert_true(address_is_canonical(cpu->segment[i].base));
}

/* Compilers choose the order of operands: no expression here draws two numbers, so that all see the same test. */
static void random_step(struct fixture *fixture, struct random *random, unsigned *successes)
{
	struct cpu *cpu = fixture->cpu;
	size_t which = random_below(random, OP_COUNT);
	enum cpu_op op = ops[which];
	struct cpu_insn insn = random_insn(cpu, op, random);
	uint64_t rip = cpu->rip;
	enum cpu_next next;

	for (unsigned i = 0; i < 4; i++) {
		size_t number = random_below(random, 16);
		cpu->gpr[number] = random_value(random);
	}
	if (op == CPU_OP_ltr && random_below(random, 2)) /* the one selector that it takes */
		cpu->gpr[insn.rm] = SEL_TSS;
	if (op == CPU_OP_rdmsr || op == CPU_OP_wrmsr)
		cpu->gpr[CPU_RCX] = random_msr(random);
	if (op == CPU_OP_xrstor && random_below(random, 2)) { /* a valid area where the random ones never are */
		insn.base = insn.index = CPU_NO_REGISTER;
		insn.displacement = 0x6000;
		assert_true(memory_fill(&fixture->memory, 0x6000, 0, 1024));
	}
	if (op == CPU_OP_xsetbv) {
		cpu->gpr[CPU_RCX] = random_below(random, 2);
		cpu->gpr[CPU_RAX] = random_below(random, 9);
		cpu->gpr[CPU_RDX] = random_below(random, 2);
	}
	if (op >= CPU_OP_movs && op <= CPU_OP_outs && random_below(random, 8))
		cpu->gpr[CPU_RCX] &= 0xfff; /* seldom more than the time allows */
	else if (op >= CPU_OP_movs && op <= CPU_OP_outs)
		cpu->run = 0; /* a long one must still come back */
	for (unsigned i = 0; i < 64; i++) {
		size_t byte = random_below(random, 256);
		cpu->xsave[XSAVE_XMM + byte] = (uint8_t)random_next(random);
	}
	next = cpu_ops[op](cpu, &insn);
	assert_int_equal(next == CPU_FAULT, cpu->pending.valid);
	if (next != CPU_EXIT)
		assert_int_equal(cpu->rip, rip);
	if (next == CPU_CONTINUE || next == CPU_EXIT)
		successes[which]++;
	cpu->pending.valid = false;
	cpu->debug_trap = cpu->halted = false;
	cpu->debug_dr6 = 0;
	assert_int_equal(fixture->lock_depth, 0);
	check_state(cpu);
}

static void test_random(void **state)
{
	struct fixture *fixture = *state;
	struct random random = {0x9e3779b97f4a7c15};
	unsigned successes[OP_COUNT] = {0};
	struct error error;

	assert_true(cpu_model_init(&fixture->model, "max", 1, 1000000000, &error));
	fixture->cpu->controller.cr8_read = cr8_read;
	fixture->cpu->controller.cr8_write = cr8_write;
	for (unsigned round = 0; round < ROUNDS; round++) {
		random_mode(fixture, &random);
		for (unsigned step = 0; step < STEPS; step++)
			random_step(fixture, &random, successes);
	}
	/* A test that only faults shows little. No performance counter exists. */
	for (unsigned i = 0; i < OP_COUNT; i++)
		if (ops[i] != CPU_OP_rdpmc && successes[i] == 0)
			fail_msg("operation %u never succeeded", ops[i]);
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

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(test_random, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
