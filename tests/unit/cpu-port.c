/* SPDX-License-Identifier: MIT */
/* IN, OUT, INS, OUTS: values, the TSS's permission bitmap, I/O breakpoints. */
#include "cpu-op.h"

#include "cpu/debug.h"

static uint64_t port_device_read(void *opaque, uint64_t offset, unsigned size)
{
	struct fixture *fixture = opaque;

	assert_int_equal(fixture->lock_depth, 1);
	assert_int_equal(fixture->cpu->fpu_live, 0);
	fixture->device_accesses++;
	fixture->device_offset = offset;
	fixture->device_size = size;
	return fixture->device_value;
}

static void port_device_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
	port_device_read(opaque, offset, size);
	((struct fixture *)opaque)->device_value = value;
}

static const struct io_ops port_ops = {.read = port_device_read, .write = port_device_write, .max_size = 4};

static void ports_start(struct fixture *fixture)
{
	struct error error;

	start_long(fixture);
	fixture->cpu->run = 1;
	assert_true(io_map_add(&fixture->ports, 0x60, 16, &port_ops, fixture, "ports", &error));
}

static void test_in_out(void **state)
{
	struct fixture *fixture = *state;
	struct cpu *cpu = fixture->cpu;

	ports_start(fixture);
	cpu->gpr[CPU_RAX] = 0x1122334455667788;
	cpu->gpr[CPU_RDX] = 0x64;
	op_succeeds(fixture, CPU_OP_out, INSN(.operand_size = 2, .reg = CPU_RDX));
	assert_int_equal(fixture->device_value, 0x7788);
	assert_int_equal(fixture->device_offset, 4);
	fixture->device_value = 0xaabbccdd;
	op_succeeds(fixture, CPU_OP_in, INSN(.operand_size = 1, .reg = CPU_NO_REGISTER, .immediate = 0x61));
	assert_int_equal(fixture->device_offset, 1);
	assert_int_equal(cpu->gpr[CPU_RAX], 0x11223344556677dd);
	op_succeeds(fixture, CPU_OP_in, INSN(.operand_size = 4, .reg = CPU_RDX));
	assert_int_equal(cpu->gpr[CPU_RAX], 0xaabbccdd);
	/* A device that wants the vCPU gets it at once. */
	cpu->run = 0;
	assert_int_equal(op_run(fixture, CPU_OP_out, INSN(.operand_size = 1, .reg = CPU_RDX)), CPU_EXIT);
}

/* INS reads the port only when the element can be stored. */
static void test_ins_outs(void **state)
{
	struct fixture *fixture = *state;
	struct cpu *cpu = fixture->cpu;

	ports_start(fixture);
	fixture->device_value = 0x5566;
	cpu->gpr[CPU_RDX] = 0x60;
	cpu->gpr[CPU_RCX] = 3;
	cpu->gpr[CPU_RDI] = 0x6ffc;
	put(fixture, paging_map(fixture, PAGING_LONG, 0x7000, 0x7000, 0, 12), 8, 0);
	mmu_flush_all(cpu, true);
	op_faults(fixture, CPU_OP_ins, INSN(.operand_size = 2, .rep = true), VECTOR_PF, PF_WRITE);
	assert_int_equal(fixture->device_accesses, 2);
	assert_int_equal(cpu->gpr[CPU_RCX], 1);
	assert_int_equal(cpu->gpr[CPU_RDI], 0x7000);
	assert_int_equal(get(fixture, 0x6ffc, 4), 0x55665566);
	/* Elements come one by one where the order or a breakpoint asks for it. */
	put(fixture, 0x6f00, 8, 0);
	cpu->gpr[CPU_RCX] = 2;
	cpu->gpr[CPU_RDI] = 0x6f04;
	cpu->flags_system |= FLAG_DF;
	op_succeeds(fixture, CPU_OP_ins, INSN(.operand_size = 2, .rep = true));
	assert_int_equal(cpu->gpr[CPU_RDI], 0x6f00);
	assert_int_equal(get(fixture, 0x6f00, 8), 0x556655660000);
	cpu->flags_system &= ~(uint32_t)FLAG_DF;
	/* Something that waits for the vCPU ends a run after the element at hand. */
	cpu->run = 0;
	cpu->gpr[CPU_RCX] = 5;
	assert_int_equal(op_run(fixture, CPU_OP_ins, INSN(.operand_size = 4, .rep = true)), CPU_RESTART);
	assert_int_equal(cpu->gpr[CPU_RCX], 4);
	assert_int_equal(cpu->gpr[CPU_RDI], 0x6f04);
	cpu->run = 1;
	cpu->gpr[CPU_RSI] = 0x6ffd;
	cpu->gpr[CPU_RCX] = 1;
	op_succeeds(fixture, CPU_OP_outs, INSN(.operand_size = 1, .rep = true));
	assert_int_equal(fixture->device_value, 0x55);
	assert_int_equal(cpu->gpr[CPU_RSI], 0x6ffe);
}

/* SDM 1, 19.5.2. */
static void test_io_bitmap(void **state)
{
	struct fixture *fixture = *state;
	struct cpu *cpu = fixture->cpu;
	struct cpu_insn in = INSN(.operand_size = 1, .reg = CPU_RDX);

	ports_start(fixture);
	enter_user(fixture, SEL_USER64);
	cpu->gpr[CPU_RDX] = 0x60;
	put(fixture, TSS_BASE + 102, 2, 0x68);
	op_faults(fixture, CPU_OP_in, in, VECTOR_GP, 0); /* the limit leaves no bitmap */
	cpu->tr.limit = 0x68 + 0xe;
	for (unsigned i = 0; i < 0x10; i++)
		put(fixture, TSS_BASE + 0x68 + i, 1, 0xff);
	op_faults(fixture, CPU_OP_in, in, VECTOR_GP, 0);
	cpu->gpr[CPU_RCX] = 0; /* nothing to transfer is no excuse */
	op_faults(fixture, CPU_OP_ins, INSN(.operand_size = 1, .rep = true), VECTOR_GP, 0);
	op_faults(fixture, CPU_OP_outs, INSN(.operand_size = 1, .rep = true), VECTOR_GP, 0);
	put(fixture, TSS_BASE + 0x68 + 12, 1, 0x7e); /* ports 60h and 67h */
	op_succeeds(fixture, CPU_OP_in, in);
	in.operand_size = 2;
	op_faults(fixture, CPU_OP_in, in, VECTOR_GP, 0);
	cpu->gpr[CPU_RDX] = 0x67;
	op_faults(fixture, CPU_OP_in, in, VECTOR_GP, 0); /* 68h lies in the next byte */
	put(fixture, TSS_BASE + 0x68 + 13, 1, 0xfe);
	op_succeeds(fixture, CPU_OP_in, in);
	cpu->gpr[CPU_RDX] = 0x70; /* its byte is the last: the one behind is beyond the limit */
	put(fixture, TSS_BASE + 0x68 + 14, 1, 0);
	op_faults(fixture, CPU_OP_in, in, VECTOR_GP, 0);
	cpu->flags_system |= FLAG_IOPL;
	op_succeeds(fixture, CPU_OP_in, in);
}

static void test_io_breakpoint(void **state)
{
	struct fixture *fixture = *state;
	struct cpu *cpu = fixture->cpu;

	ports_start(fixture);
	cpu->cr4 |= CR4_DE;
	cpu->dr[1] = 0x64;
	cpu->dr[7] = DR7_FIXED | 1 << 2 | 2 << 20 | 3 << 22; /* L1, I/O, four ports */
	cpu->gpr[CPU_RDX] = 0x63;
	op_succeeds(fixture, CPU_OP_in, INSN(.operand_size = 1, .reg = CPU_RDX));
	assert_false(cpu->debug_trap);
	assert_int_equal(op_run(fixture, CPU_OP_in, INSN(.operand_size = 2, .reg = CPU_RDX)), CPU_EXIT);
	assert_true(cpu->debug_trap);
	assert_int_equal(cpu->debug_dr6, 2);
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
	    TEST(test_in_out),
	    TEST(test_ins_outs),
	    TEST(test_io_bitmap),
	    TEST(test_io_breakpoint),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
