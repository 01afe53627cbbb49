/* SPDX-License-Identifier: MIT */
/* Decimal adjustment against the host's own processor in compatibility mode; frames, loops, bounds, wide and atomic
 * operations. */
#include "cpu-op.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cpu/decimal.h"

/* ---- the host's DAA and its kin: 32-bit code in a low page, entered and left by far jumps ---- */

#define USER_CS32 0x23u
#define USER_CS64 0x33u
#define LOW_SIZE 0x4000u
#define LOW_STACK 0x3000u
#define LOW_RETURN 0x100u

struct host32 {
	uint8_t *page;
};

/* pushl %edx; popfl; (instruction); pushfl; popl %edx; ljmp to 64-bit code, which is jmp *%r13. */
static void host32_load(struct host32 *host, const uint8_t *instruction, size_t size)
{
	static const uint8_t prologue[] = {0x52, 0x9d}, epilogue[] = {0x9c, 0x5a, 0xea};
	static const uint8_t leave[] = {0x41, 0xff, 0xe5};
	uint32_t target = (uint32_t)(uintptr_t)host->page + LOW_RETURN;
	uint8_t *at = host->page;

	memcpy(at, prologue, sizeof(prologue));
	at += sizeof(prologue);
	memcpy(at, instruction, size);
	at += size;
	memcpy(at, epilogue, sizeof(epilogue));
	at += sizeof(epilogue);
	memcpy(at, &target, 4);
	at[4] = USER_CS64;
	at[5] = 0;
	memcpy(host->page + LOW_RETURN, leave, sizeof(leave));
}

static struct decimal host32_run(const struct host32 *host, struct decimal in)
{
	uint64_t rax = in.ax, rdx = in.flags | 0x202;
	uint64_t stack = (uint64_t)(uintptr_t)host->page + LOW_STACK;

	__asm__ volatile("movq %%rsp, %%r12\n\t"
			 "leaq 1f(%%rip), %%r13\n\t"
			 "movq %2, %%rsp\n\t"
			 "pushq %3\n\t"
			 "pushq %4\n\t"
			 "lretq\n"
			 "1:\tmovq %%r12, %%rsp"
			 : "+a"(rax), "+d"(rdx)
			 : "r"(stack), "i"(USER_CS32), "r"(host->page)
			 : "r12", "r13", "memory", "cc");
	return (struct decimal){(uint16_t)rax, (uint32_t)rdx & FLAGS_ARITHMETIC};
}

/* Is there a 32-bit code segment at all? */
static bool host32_works(struct host32 *host)
{
	static const uint8_t nop[] = {0x90};
	int status;
	pid_t child;

	host->page =
	    mmap(NULL, LOW_SIZE, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
	if (host->page == MAP_FAILED)
		return false;
	host32_load(host, nop, sizeof(nop));
	child = fork();
	assert_true(child >= 0);
	if (child == 0)
		_exit(host32_run(host, (struct decimal){0x1234, 0}).ax == 0x1234 ? 0 : 1);
	assert_int_equal(waitpid(child, &status, 0), child);
	return status == 0;
}

struct decimal_case {
	struct decimal (*adjust)(struct decimal in);
	struct decimal (*adjust_base)(struct decimal in, uint8_t base);
	uint8_t opcode;
	uint32_t undefined;
};

static const struct decimal_case decimal_cases[] = {
    {decimal_daa, NULL, 0x27, FLAG_OF},
    {decimal_das, NULL, 0x2f, FLAG_OF},
    {decimal_aaa, NULL, 0x37, FLAG_OF | FLAG_SF | FLAG_ZF | FLAG_PF},
    {decimal_aas, NULL, 0x3f, FLAG_OF | FLAG_SF | FLAG_ZF | FLAG_PF},
    {NULL, decimal_aam, 0xd4, FLAG_OF | FLAG_AF | FLAG_CF},
    {NULL, decimal_aad, 0xd5, FLAG_OF | FLAG_AF | FLAG_CF},
};

static void compare_decimal(const struct host32 *host, const struct decimal_case *c, struct decimal in, uint8_t base)
{
	struct decimal expected = host32_run(host, in);
	struct decimal found = c->adjust != NULL ? c->adjust(in) : c->adjust_base(in, base);

	assert_int_equal(found.ax, expected.ax);
	assert_int_equal(found.flags & ~c->undefined, expected.flags & ~c->undefined);
}

static void test_decimal_on_hardware(void **state)
{
	static const uint8_t bases[] = {10, 1, 7, 16, 255};
	struct host32 host;

	(void)state;
	if (!host32_works(&host))
		skip();
	for (unsigned i = 0; i < sizeof(decimal_cases) / sizeof(decimal_cases[0]); i++) {
		const struct decimal_case *c = &decimal_cases[i];
		unsigned base_count = c->adjust != NULL ? 1 : sizeof(bases);
		for (unsigned b = 0; b < base_count; b++) {
			uint8_t code[2] = {c->opcode, bases[b]};
			host32_load(&host, code, c->adjust != NULL ? 1 : 2);
			for (unsigned ax = 0; ax < 0x10000; ax += 1 + (b != 0) * 12)
				for (unsigned f = 0; f < 4; f++)
					compare_decimal(&host, c,
							(struct decimal){(uint16_t)ax, ((f & 1) ? FLAG_CF : 0) |
											   ((f & 2) ? FLAG_AF : 0)},
							bases[b]);
		}
	}
	munmap(host.page, LOW_SIZE);
}

/* The examples of the manual's instruction pages and of BCD arithmetic, for hosts without 32-bit code. */
static void test_decimal_table(void **state)
{
	static const struct {
		struct decimal (*adjust)(struct decimal in);
		struct decimal in, out;
		uint32_t undefined;
	} cases[] = {
	    {decimal_daa, {0x00ae, FLAG_SF | FLAG_PF}, {0x0014, FLAG_CF | FLAG_PF | FLAG_AF}, FLAG_OF},
	    {decimal_daa, {0x002e, 0}, {0x0034, FLAG_AF}, FLAG_OF},
	    {decimal_das,
	     {0x00ee, FLAG_CF | FLAG_AF | FLAG_SF},
	     {0x0088, FLAG_CF | FLAG_AF | FLAG_SF | FLAG_PF},
	     FLAG_OF},
	    {decimal_aaa, {0x000b, 0}, {0x0101, FLAG_AF | FLAG_CF}, FLAG_OF | FLAG_SF | FLAG_ZF | FLAG_PF},
	    {decimal_aaa, {0x00fb, 0}, {0x0201, FLAG_AF | FLAG_CF}, FLAG_OF | FLAG_SF | FLAG_ZF | FLAG_PF},
	    {decimal_aas, {0x02fe, FLAG_AF}, {0x0108, FLAG_AF | FLAG_CF}, FLAG_OF | FLAG_SF | FLAG_ZF | FLAG_PF},
	};

	(void)state;
	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct decimal out = cases[i].adjust(cases[i].in);
		assert_int_equal(out.ax, cases[i].out.ax);
		assert_int_equal(out.flags & ~cases[i].undefined, cases[i].out.flags & ~cases[i].undefined);
	}
}

/* Not in 64-bit mode, and no division by zero. */
static void test_decimal_faults(void **state)
{
	struct fixture *fixture = *state;

	start_protected(fixture);
	op_faults(fixture, CPU_OP_aam, INSN(.immediate = 0), VECTOR_DE, 0);
	fixture->cpu->gpr[CPU_RAX] = 0xaaaa0000 | 63;
	op_succeeds(fixture, CPU_OP_aam, INSN(.immediate = 10));
	assert_int_equal(fixture->cpu->gpr[CPU_RAX], 0xaaaa0603);
	start_long(fixture);
	op_faults(fixture, CPU_OP_daa, INSN(0), VECTOR_UD, 0);
	op_faults(fixture, CPU_OP_aad, INSN(.immediate = 10), VECTOR_UD, 0);
	op_faults(fixture, CPU_OP_pusha, INSN(.operand_size = 4), VECTOR_UD, 0);
}

/* ---- frames ---- */

static void test_enter_leave(void **state)
{
	struct fixture *fixture = *state;
	struct cpu *cpu = fixture->cpu;

	start_long(fixture);
	cpu->gpr[CPU_RSP] = 0x8000;
	cpu->gpr[CPU_RBP] = 0x9000;
	put(fixture, 0x8ff8, 8, 0x1111);
	op_succeeds(fixture, CPU_OP_enter, INSN(.operand_size = 8, .immediate = 0x20, .immediate2 = 2));
	assert_int_equal(cpu->gpr[CPU_RBP], 0x7ff8);
	assert_int_equal(cpu->gpr[CPU_RSP], 0x8000 - 24 - 0x20);
	assert_int_equal(get(fixture, 0x7ff8, 8), 0x9000);
	assert_int_equal(get(fixture, 0x7ff0, 8), 0x1111);
	assert_int_equal(get(fixture, 0x7fe8, 8), 0x7ff8);
	op_succeeds(fixture, CPU_OP_leave, INSN(.operand_size = 8));
	assert_int_equal(cpu->gpr[CPU_RSP], 0x8000);
	assert_int_equal(cpu->gpr[CPU_RBP], 0x9000);
	/* The new top of the stack must be writable. */
	cpu->gpr[CPU_RSP] = 0x8000;
	paging_map(fixture, PAGING_LONG, 0x7000, 0x7000, PTE_W, 12);
	put(fixture, paging_map(fixture, PAGING_LONG, 0x6000, 0x6000, 0, 12), 8, 0);
	mmu_flush_all(cpu, true);
	op_faults(fixture, CPU_OP_enter, INSN(.operand_size = 8, .immediate = 0x1100), VECTOR_PF, PF_WRITE);
	assert_int_equal(cpu->gpr[CPU_RSP], 0x8000);
	assert_int_equal(cpu->gpr[CPU_RBP], 0x9000);
}

static void test_pusha_popa(void **state)
{
	struct fixture *fixture = *state;
	struct cpu *cpu = fixture->cpu;

	start_protected(fixture);
	for (unsigned i = 0; i < 8; i++)
		cpu->gpr[i] = 0x10000 + i;
	cpu->gpr[CPU_RSP] = 0x8000;
	op_succeeds(fixture, CPU_OP_pusha, INSN(.operand_size = 4));
	assert_int_equal(cpu->gpr[CPU_RSP], 0x8000 - 32);
	assert_int_equal(get(fixture, 0x8000 - 20, 4), 0x8000);
	assert_int_equal(get(fixture, 0x8000 - 4, 4), 0x10000);
	for (unsigned i = 0; i < 8; i++)
		if (i != CPU_RSP)
			cpu->gpr[i] = 0xdead0000;
	op_succeeds(fixture, CPU_OP_popa, INSN(.operand_size = 4));
	for (unsigned i = 0; i < 8; i++)
		assert_int_equal(cpu->gpr[i], i == CPU_RSP ? 0x8000 : 0x10000 + i);
	op_succeeds(fixture, CPU_OP_pusha, INSN(.operand_size = 2));
	assert_int_equal(cpu->gpr[CPU_RSP], 0x8000 - 16);
}

/* ---- LOOP, BOUND, XLAT ---- */

static void test_loop(void **state)
{
	struct fixture *fixture = *state;
	struct cpu *cpu = fixture->cpu;

	start_protected(fixture);
	cpu->rip = 0x5000;
	cpu->gpr[CPU_RCX] = 0x10001;
	assert_int_equal(op_run(fixture, CPU_OP_loop, INSN(.operand_size = 4, .address_size = 2)), CPU_CONTINUE);
	assert_int_equal(cpu->gpr[CPU_RCX], 0x10000);
	assert_int_equal(op_run(fixture, CPU_OP_loop, INSN(.operand_size = 4, .immediate = (uint64_t)-0x12)), CPU_EXIT);
	assert_int_equal(cpu->gpr[CPU_RCX], 0xffff);
	assert_int_equal(cpu->rip, 0x4ff0);
	cpu->flags_arithmetic = FLAG_ZF;
	assert_int_equal(op_run(fixture, CPU_OP_loopne, INSN(.operand_size = 4)), CPU_CONTINUE);
	assert_int_equal(cpu->gpr[CPU_RCX], 0xfffe);
	/* Beyond the limit: nothing changes. */
	cpu->segment[CPU_CS].limit = 0x5fff;
	cpu->gpr[CPU_RCX] = 5;
	op_faults(fixture, CPU_OP_loop, INSN(.operand_size = 4, .immediate = 0x7000), VECTOR_GP, 0);
	assert_int_equal(cpu->gpr[CPU_RCX], 5);
	assert_int_equal(cpu->rip, 0x4ff0);
}

static void test_bound_xlat(void **state)
{
	struct fixture *fixture = *state;
	struct cpu *cpu = fixture->cpu;

	start_protected(fixture);
	put(fixture, 0x6000, 4, 0x0010fffe); /* -2 to 16 */
	cpu->gpr[CPU_RAX] = 0xffff;
	op_succeeds(fixture, CPU_OP_bound, INSN(.operand_size = 2, MEMORY(0x6000)));
	cpu->gpr[CPU_RAX] = 16;
	op_succeeds(fixture, CPU_OP_bound, INSN(.operand_size = 2, MEMORY(0x6000)));
	cpu->gpr[CPU_RAX] = 17;
	op_faults(fixture, CPU_OP_bound, INSN(.operand_size = 2, MEMORY(0x6000)), VECTOR_BR, 0);
	cpu->gpr[CPU_RAX] = 0xfffd;
	op_faults(fixture, CPU_OP_bound, INSN(.operand_size = 2, MEMORY(0x6000)), VECTOR_BR, 0);
	cpu->gpr[CPU_RAX] = 0xabcdef02;
	cpu->gpr[CPU_RBX] = 0x6000;
	op_succeeds(fixture, CPU_OP_xlat, INSN(0));
	assert_int_equal(cpu->gpr[CPU_RAX], 0xabcdef10);
}

/* ---- bit tests ---- */

static void test_code_page(void **state)
{
	struct fixture *fixture = *state;

	start_long(fixture);
	*memory_page_flags(&fixture->memory, 0x6000) = PAGE_CODE;
	fixture->cpu->gpr[CPU_RCX] = 3;
	op_succeeds(fixture, CPU_OP_bit_memory,
		    INSN(.operand_size = 4, .reg = CPU_RCX, .immediate = CPU_BIT_SET, MEMORY(0x6000)));
	assert_int_equal(fixture->code_writes, 1);
	assert_int_equal(get(fixture, 0x6000, 4), 8);
}

/* Offsets reach in both directions; each kind; device memory by a read and a write of the element. */
static void test_bit_memory(void **state)
{
	struct fixture *fixture = *state;
	struct cpu *cpu = fixture->cpu;
	struct random random = {99};

	start_long(fixture);
	for (unsigned i = 0; i < 2000; i++) {
		enum cpu_bit_kind kind = (enum cpu_bit_kind)random_below(&random, 4);
		unsigned size = 2u << random_below(&random, 3);
		int64_t bit = (int64_t)random_below(&random, 60000) - 30000;
		uint64_t address = 0x8000 + (uint64_t)(bit >> 3), old = get(fixture, address, 1);
		unsigned mask = 1u << (bit & 7);
		uint64_t expected = kind == CPU_BIT_SET		 ? old | mask
				    : kind == CPU_BIT_RESET	 ? old & ~mask
				    : kind == CPU_BIT_COMPLEMENT ? old ^ mask
								 : old;
		cpu->gpr[CPU_RCX] = (uint64_t)bit;
		cpu->flags_arithmetic = FLAG_OF | FLAG_ZF;
		op_succeeds(fixture, CPU_OP_bit_memory,
			    INSN(.operand_size = (uint8_t)size, .reg = CPU_RCX, .immediate = kind, MEMORY(0x8000)));
		assert_int_equal(get(fixture, address, 1), expected);
		assert_int_equal(cpu->flags_arithmetic, FLAG_OF | FLAG_ZF | ((old & mask) ? FLAG_CF : 0));
	}
	paging_map(fixture, PAGING_LONG, 0x7f0000000000, DEVICE_BASE, PTE_W, 12);
	fixture->device_value = 0x100;
	cpu->gpr[CPU_RCX] = 32 + 8;
	op_succeeds(fixture, CPU_OP_bit_memory,
		    INSN(.operand_size = 4, .reg = CPU_RCX, .immediate = CPU_BIT_RESET, MEMORY(0x7f0000000000)));
	assert_int_equal(fixture->device_offset, 4);
	assert_int_equal(fixture->device_value, 0);
	assert_int_equal(cpu->flags_arithmetic & FLAG_CF, FLAG_CF);
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
	    cmocka_unit_test(test_decimal_on_hardware),
	    cmocka_unit_test(test_decimal_table),
	    TEST(test_decimal_faults),
	    TEST(test_enter_leave),
	    TEST(test_pusha_popa),
	    TEST(test_loop),
	    TEST(test_bound_xlat),
	    TEST(test_code_page),
	    TEST(test_bit_memory),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
