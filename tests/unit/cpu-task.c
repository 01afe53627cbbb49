/* SPDX-License-Identifier: MIT */
/*
 * Task switches where the system oracle cannot go: TSSs in odd places, page-directory pointers that are refused, a
 * debug handler that traps itself, random tables. And SYSCALL in legacy mode, which AMD's processors have.
 */
#include <string.h>

#include "cpu-fixture.h"

#include "cpu/debug.h"

#define NEW_TSS 0x50000u
#define SEL_NEW 0x48u
#define TSS_TYPE 0x89u
#define CODE 0x6000u

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

static void tss_descriptor(struct fixture *fixture, uint32_t base, uint32_t limit, unsigned type)
{
	uint64_t raw = (uint64_t)(limit & 0xffff) | (uint64_t)(base & 0xffffff) << 16 | (uint64_t)type << 40 |
		       (uint64_t)(limit >> 16 & 15) << 48 | (uint64_t)(base >> 24) << 56;
	put(fixture, GDT_BASE + SEL_NEW, 8, raw);
}

static void tss_fill(struct fixture *fixture, uint32_t base)
{
	static const uint16_t selector[6] = {SEL_KERNEL_DATA, SEL_KERNEL32,    SEL_KERNEL_DATA,
					     SEL_KERNEL_DATA, SEL_KERNEL_DATA, SEL_KERNEL_DATA};

	for (unsigned offset = 0; offset < 0x68; offset += 4)
		put(fixture, base + offset, 4, 0);
	put(fixture, base + 0x1c, 4, fixture->cpu->cr3);
	put(fixture, base + 0x20, 4, CODE);
	put(fixture, base + 0x24, 4, FLAG_FIXED);
	put(fixture, base + 0x38, 4, STACK3); /* ESP */
	for (unsigned i = 0; i < 6; i++)
		put(fixture, base + 0x48 + i * 4, 2, selector[i]);
}

static void begin(struct fixture *fixture)
{
	start_protected(fixture);
	tss_descriptor(fixture, NEW_TSS, 0x67, TSS_TYPE);
	tss_fill(fixture, NEW_TSS);
}

static enum cpu_next transfer(struct fixture *fixture, enum cpu_op op)
{
	return run_op(fixture, op, (struct cpu_insn){.length = 7, .operand_size = 4, .immediate2 = SEL_NEW});
}

static uint32_t error_code(struct fixture *fixture)
{
	return (uint32_t)get(fixture, fixture->cpu->segment[CPU_SS].base + (uint32_t)fixture->cpu->gpr[CPU_RSP], 4);
}

static void test_call(void **state)
{
	struct fixture *fixture = *state;
	struct cpu *cpu = fixture->cpu;

	begin(fixture);
	assert_int_equal(transfer(fixture, CPU_OP_call_far), CPU_EXIT);
	assert_int_equal(cpu->rip, CODE);
	assert_int_equal(cpu->tr.selector, SEL_NEW);
	assert_int_equal(cpu->gpr[CPU_RSP], STACK3);
	assert_true(cpu->flags_system & FLAG_NT);
	assert_true(cpu->cr0 & CR0_TS);
	assert_int_equal(get(fixture, NEW_TSS, 2), SEL_TSS);
	assert_int_equal(get(fixture, GDT_BASE + SEL_NEW + 5, 1), TSS_TYPE | 2);
}

/* Reserved bits in the new page-directory pointers: the TSS is invalid, in the new task. */
static void test_pdpte(void **state)
{
	struct fixture *fixture = *state;
	struct cpu *cpu = fixture->cpu;

	begin(fixture);
	paging_start(fixture, PAGING_PAE);
	for (unsigned page = 0; page < 0x80; page++)
		paging_map(fixture, PAGING_PAE, page * 4096, page * 4096, PTE_W | PTE_U, 12);
	uint64_t first = cpu->pdpte[0];
	put(fixture, 0x60000, 8, first | 2);
	put(fixture, NEW_TSS + 0x1c, 4, 0x60000);
	put(fixture, NEW_TSS + 4, 4, STACK0); /* the handler's stack is the new task's */
	put(fixture, NEW_TSS + 8, 4, SEL_KERNEL_DATA);
	assert_int_equal(transfer(fixture, CPU_OP_call_far), CPU_FAULT);
	assert_int_equal(cpu->rip, HANDLER_OF(VECTOR_TS));
	assert_int_equal(error_code(fixture), SEL_NEW);
	assert_int_equal(cpu->tr.selector, SEL_NEW);
	assert_int_equal(cpu->pdpte[0], first);
	assert_int_equal(get(fixture, STACK0 - 20, 4), CODE); /* the new task's EIP */
}

/* TSSs in a device, in ROM, across the end of the address space, in no memory at all: the guest's own affair. */
static void test_odd_places(void **state)
{
	static const uint32_t bases[] = {DEVICE_BASE,	      ROM_BASE,	 0xffffffc0, 0xfffffffe,
					 RAM_SIZE - 0x100020, 0x90000000};

	(void)state;
	for (unsigned i = 0; i < sizeof(bases) / sizeof(bases[0]); i++) {
		struct fixture *fixture = fixture_new();
		begin(fixture);
		tss_descriptor(fixture, bases[i], 0x67, TSS_TYPE);
		transfer(fixture, CPU_OP_call_far);
		transfer(fixture, CPU_OP_iret);
		assert_false(fixture->cpu->pending.valid);
		fixture_free(fixture);
	}
}

/* #DB leads to a task whose own T flag is set. */
static void test_trap_of_trap(void **state)
{
	struct fixture *fixture = *state;
	struct cpu *cpu = fixture->cpu;

	begin(fixture);
	put(fixture, IDT_BASE + VECTOR_DB * 8, 8, (uint64_t)SEL_NEW << 16 | UINT64_C(0x85) << 40);
	put(fixture, NEW_TSS + 0x64, 2, 1);
	cpu->debug_trap = true;
	cpu->debug_dr6 = DR6_BS;
	assert_true(cpu_service_events(cpu));
	assert_int_equal(cpu->tr.selector, SEL_NEW);
	assert_int_equal(cpu->rip, CODE);
	assert_true(cpu->dr[6] & DR6_BS);
}

static uint64_t random_next(uint64_t *seed)
{
	*seed ^= *seed << 13;
	*seed ^= *seed >> 7;
	*seed ^= *seed << 17;
	return *seed;
}

/* Random tables, task states and ways: nothing but guest state may change, and every event ends. */
static void test_random(void **state)
{
	static const enum cpu_op ops[] = {CPU_OP_call_far, CPU_OP_jmp_far, CPU_OP_iret, CPU_OP_int_n};
	uint64_t seed = 88172645463325252u;

	(void)state;
	for (unsigned round = 0; round < 300; round++) {
		struct fixture *fixture = fixture_new();
		struct cpu *cpu = fixture->cpu;
		begin(fixture);
		if (round & 1) {
			paging_start(fixture, round & 2 ? PAGING_PAE : PAGING_32);
			for (unsigned page = 0; page < 0x80; page++)
				paging_map(fixture, round & 2 ? PAGING_PAE : PAGING_32, page * 4096, page * 4096,
					   PTE_W | PTE_U, 12);
		}
		for (unsigned i = 0; i < 40; i++)
			put(fixture, NEW_TSS + random_next(&seed) % 0x68, 2, random_next(&seed) % 0x90);
		for (unsigned i = 0; i < 8; i++)
			put(fixture, GDT_BASE + random_next(&seed) % GDT_LIMIT, 1, random_next(&seed));
		for (unsigned i = 0; i < 8; i++)
			put(fixture, IDT_BASE + (random_next(&seed) % 16) * 8, 8,
			    (random_next(&seed) % 0x90) << 16 | (UINT64_C(0x85) | (random_next(&seed) & 3)) << 40);
		for (unsigned i = 0; i < 32 && !cpu->shutdown; i++) {
			if (random_next(&seed) & 1)
				cpu->flags_system |= FLAG_NT;
			cpu->flags_system &= ~FLAG_VM;
			cpu_mode_update(cpu);
			run_op(fixture, ops[random_next(&seed) % 4],
			       (struct cpu_insn){.length = 7,
						 .operand_size = random_next(&seed) & 1 ? 4 : 2,
						 .immediate = random_next(&seed) % 16,
						 .immediate2 = random_next(&seed) % 0x90});
			cpu_service_events(cpu);
			assert_true(cpu->cpl <= 3);
			assert_int_equal(cpu->rip >> 32, 0);
		}
		fixture_free(fixture);
	}
}

/* ---- SYSCALL without long mode ---- */

static void test_syscall_amd(void **state)
{
	struct fixture *fixture = *state;
	struct cpu *cpu = fixture->cpu;

	memcpy(fixture->model.vendor, "AuthenticAMD", 13);
	start_protected(fixture);
	enter_user(fixture, SEL_USER32);
	cpu->efer = EFER_SCE;
	cpu->star = (uint64_t)(SEL_USER32 & 0xfffc) << 48 | (uint64_t)SEL_KERNEL32 << 32 | 0x7000;
	cpu->rip = 0x5000;
	cpu->interrupt_enable = 1;
	assert_int_equal(run_op(fixture, CPU_OP_syscall, (struct cpu_insn){.length = 2}), CPU_EXIT);
	assert_int_equal(cpu->rip, 0x7000);
	assert_int_equal(cpu->gpr[CPU_RCX], 0x5002);
	assert_int_equal(cpu->cpl, 0);
	assert_int_equal(cpu->interrupt_enable, 0);
	assert_int_equal(cpu->segment[CPU_CS].selector, SEL_KERNEL32);
	assert_int_equal(cpu->mode & MODE_CODE_MASK, MODE_CODE32);
	assert_int_equal(run_op(fixture, CPU_OP_sysret, (struct cpu_insn){.length = 2, .operand_size = 4}), CPU_EXIT);
	assert_int_equal(cpu->rip, 0x5002);
	assert_int_equal(cpu->cpl, 3);
	assert_int_equal(cpu->interrupt_enable, 1);
	assert_int_equal(cpu->segment[CPU_CS].selector, SEL_USER32);
	assert_int_equal(cpu->segment[CPU_SS].selector, SEL_USER32 + 8);
}

static void test_syscall_intel(void **state)
{
	struct fixture *fixture = *state;

	start_protected(fixture);
	fixture->cpu->efer = EFER_SCE;
	assert_int_equal(run_op(fixture, CPU_OP_syscall, (struct cpu_insn){.length = 2}), CPU_FAULT);
	assert_int_equal(fixture->cpu->rip, HANDLER_OF(VECTOR_UD));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(test_call, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_pdpte, setup, teardown),
	    cmocka_unit_test(test_odd_places),
	    cmocka_unit_test_setup_teardown(test_trap_of_trap, setup, teardown),
	    cmocka_unit_test(test_random),
	    cmocka_unit_test_setup_teardown(test_syscall_amd, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_syscall_intel, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
