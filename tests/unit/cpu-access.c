/* SPDX-License-Identifier: MIT */
/* Accesses by C: pages, devices, ROM, code, breakpoints, segments; and the mode word. */
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

/* ---- accesses ---- */

static void test_crossing(void **state)
{
	struct fixture *fixture = *state;
	struct cpu *cpu = fixture->cpu;
	uint8_t bytes[64], back[64];
	for (unsigned i = 0; i < 64; i++)
		bytes[i] = (uint8_t)(i + 1);
	paging_start(fixture, PAGING_LONG);
	paging_map(fixture, PAGING_LONG, 0x10000, 0x6000, PTE_W, 12);
	paging_map(fixture, PAGING_LONG, 0x11000, 0x5000, PTE_W, 12);
	uint64_t readonly = paging_map(fixture, PAGING_LONG, 0x12000, 0x7000, 0, 12);
	for (unsigned round = 0; round < 2; round++) { /* misses, then hits in both pages */
		assert_true(cpu_write(cpu, 0x10fe0, bytes, 64, TLB_VIEW_SUPERVISOR));
		assert_true(cpu_read(cpu, 0x10fe0, back, 64, TLB_VIEW_SUPERVISOR));
		assert_memory_equal(bytes, back, 64);
		assert_int_equal(get(fixture, 0x6fff, 1), 32);
		assert_int_equal(get(fixture, 0x5000, 1), 33);
	}
	uint64_t value;
	assert_true(cpu_write_value(cpu, 0x10ffd, 4, TLB_VIEW_SUPERVISOR, 0x44332211)); /* over by one byte */
	assert_int_equal(get(fixture, 0x6ffd, 3), 0x332211);
	assert_int_equal(get(fixture, 0x5000, 1), 0x44);
	assert_true(cpu_read_value(cpu, 0x10ffd, 4, TLB_VIEW_SUPERVISOR, &value));
	assert_int_equal(value, 0x44332211);
	put(fixture, 0x5ffc, 4, 0);
	assert_false(cpu_write(cpu, 0x11ffc, bytes, 8, TLB_VIEW_SUPERVISOR));
	assert_int_equal(cpu->pending.cr2, 0x12000);
	assert_fault(fixture, VECTOR_PF, PF_PRESENT | PF_WRITE);
	assert_int_equal(get(fixture, 0x5ffc, 4), 0); /* nothing moved */
	assert_false(cpu_check_write(cpu, 0x11fff, 2, TLB_VIEW_SUPERVISOR));
	assert_fault(fixture, VECTOR_PF, PF_PRESENT | PF_WRITE);
	put(fixture, readonly, 8, 0);
	mmu_flush_page(cpu, 0x12000);
	assert_false(cpu_read(cpu, 0x11ffe, back, 4, TLB_VIEW_SUPERVISOR));
	assert_int_equal(cpu->pending.cr2, 0x12000);
	assert_fault(fixture, VECTOR_PF, 0);
}

static void test_device(void **state)
{
	struct fixture *fixture = *state;
	struct cpu *cpu = fixture->cpu;
	uint64_t value;
	fixture->device_value = 0x1122334455667788;
	for (unsigned i = 1; i <= 2; i++) { /* never cached */
		assert_true(cpu_read_value(cpu, DEVICE_BASE + 0x10, 4, TLB_VIEW_SUPERVISOR_AC, &value));
		assert_int_equal(value, 0x55667788);
		assert_int_equal(fixture->device_accesses, i);
	}
	assert_int_equal(fixture->device_offset, 0x10);
	assert_int_equal(fixture->device_size, 4);
	assert_true(cpu_write_value(cpu, DEVICE_BASE + 8, 2, TLB_VIEW_SUPERVISOR_AC, 0xabcd));
	assert_int_equal(fixture->device_value, 0xabcd);
	assert_int_equal(fixture->lock_depth, 0);
	/* Nobody there: all ones, and stores go nowhere. */
	assert_true(cpu_read_value(cpu, DEVICE_BASE + 0x2000, 4, TLB_VIEW_SUPERVISOR_AC, &value));
	assert_int_equal(value, 0xffffffff);
	assert_true(cpu_write_value(cpu, DEVICE_BASE + 0x2000, 4, TLB_VIEW_SUPERVISOR_AC, 1));
}

static void test_rom(void **state)
{
	struct fixture *fixture = *state;
	struct cpu *cpu = fixture->cpu;
	uint64_t value;
	put(fixture, ROM_BASE + 0x10, 4, 0x12345678);
	for (unsigned i = 0; i < 2; i++) {
		assert_true(cpu_write_value(cpu, ROM_BASE + 0x10, 4, TLB_VIEW_SUPERVISOR_AC, 0));
		assert_true(cpu_read_value(cpu, ROM_BASE + 0x10, 4, TLB_VIEW_SUPERVISOR_AC, &value));
		assert_int_equal(value, 0x12345678);
	}
	uint32_t zero = 0;
	cpu_physical_write(cpu, ROM_BASE + 0x10, &zero, 4);
	assert_int_equal(get(fixture, ROM_BASE + 0x10, 4), 0x12345678);
}

static void test_code_page(void **state)
{
	struct fixture *fixture = *state;
	struct cpu *cpu = fixture->cpu;
	assert_true(cpu_write_value(cpu, 0x5000, 4, TLB_VIEW_SUPERVISOR_AC, 1));
	assert_int_equal(fixture->code_writes, 0);
	*memory_page_flags(&fixture->memory, 0x5000) |= PAGE_CODE;
	tlb_revoke_write(&cpu->tlb, 0x5000);
	for (unsigned i = 1; i <= 3; i++) {
		uint64_t value;
		assert_true(cpu_write_value(cpu, 0x5000 + i, 4, TLB_VIEW_SUPERVISOR_AC, i));
		assert_int_equal(fixture->code_writes, i);
		assert_int_equal(fixture->code_write_gpa, 0x5000 + i);
		assert_true(cpu_read_value(cpu, 0x5000 + i, 4, TLB_VIEW_SUPERVISOR_AC, &value));
		assert_int_equal(value, i);
	}
	/* A page table with code on it: A and D bits are stores too. */
	paging_start(fixture, PAGING_LONG);
	uint64_t leaf = paging_map(fixture, PAGING_LONG, 0x10000, 0x6000, PTE_W, 12);
	*memory_page_flags(&fixture->memory, leaf) |= PAGE_CODE;
	assert_true(cpu_write_value(cpu, 0x10000, 4, TLB_VIEW_SUPERVISOR, 1));
	assert_int_equal(fixture->code_write_gpa, leaf);
}

static void test_watch(void **state)
{
	struct fixture *fixture = *state;
	struct cpu *cpu = fixture->cpu;
	uint64_t value;
	cpu->dr[0] = 0x5004;
	cpu->dr[2] = 0x5010;
	cpu->dr[7] |= BIT64(0) | (UINT64_C(0xd) << 16); /* 0: four bytes, writes */
	cpu->dr[7] |= BIT64(5) | (UINT64_C(0xb) << 24); /* 2: eight bytes, reads and writes */
	tlb_flush(&cpu->tlb, true);
	assert_true(cpu_read_value(cpu, 0x5004, 4, TLB_VIEW_SUPERVISOR_AC, &value));
	assert_true(cpu_write_value(cpu, 0x5000, 4, TLB_VIEW_SUPERVISOR_AC, 1));
	assert_true(cpu_write_value(cpu, 0x5008, 8, TLB_VIEW_SUPERVISOR_AC, 1));
	assert_false(cpu->debug_trap);
	assert_true(cpu_write_value(cpu, 0x5001, 4, TLB_VIEW_SUPERVISOR_AC, 1));
	assert_true(cpu->debug_trap);
	assert_int_equal(cpu->debug_dr6, 1);
	assert_true(cpu_read_value(cpu, 0x5017, 1, TLB_VIEW_SUPERVISOR_AC, &value));
	assert_int_equal(cpu->debug_dr6, 5);
}

static void test_linear(void **state)
{
	struct fixture *fixture = *state;
	struct cpu *cpu = fixture->cpu;
	uint64_t linear;
	start_real(fixture);
	assert_true(cpu_linear(cpu, CPU_SS, 0xfffe, 2, TLB_READ, &linear));
	assert_int_equal(linear, 0x11ffe);
	assert_false(cpu_linear(cpu, CPU_SS, 0xffff, 2, TLB_READ, &linear));
	assert_fault(fixture, VECTOR_SS, 0);
	assert_false(cpu_linear(cpu, CPU_DS, 0x10000, 1, TLB_READ, &linear));
	assert_fault(fixture, VECTOR_GP, 0);

	start_protected(fixture);
	struct cpu_segment *ds = &cpu->segment[CPU_DS];
	assert_true(cpu_linear(cpu, CPU_DS, 0xfffffffc, 4, TLB_WRITE, &linear));
	ds->base = 0x1000;
	ds->limit = 0xfff;
	ds->access |= SEGMENT_DOWN; /* valid above the limit */
	assert_true(cpu_linear(cpu, CPU_DS, 0x1000, 4, TLB_WRITE, &linear));
	assert_int_equal(linear, 0x2000);
	assert_false(cpu_linear(cpu, CPU_DS, 0xfff, 4, TLB_WRITE, &linear));
	assert_fault(fixture, VECTOR_GP, 0);
	ds->access = (uint16_t)(ds->access & ~SEGMENT_DB);
	assert_false(cpu_linear(cpu, CPU_DS, 0xfffe, 4, TLB_WRITE, &linear));
	assert_fault(fixture, VECTOR_GP, 0);
	assert_false(cpu_linear(cpu, CPU_CS, 0, 4, TLB_WRITE, &linear));
	assert_fault(fixture, VECTOR_GP, 0);
	segment_set_null(ds, 0);
	assert_false(cpu_linear(cpu, CPU_DS, 0, 1, TLB_READ, &linear));
	assert_fault(fixture, VECTOR_GP, 0);

	start_long(fixture);
	cpu->segment[CPU_FS].base = 0x1000;
	assert_true(cpu_linear(cpu, CPU_FS, 0x10, 8, TLB_READ, &linear));
	assert_int_equal(linear, 0x1010);
	assert_false(cpu_linear(cpu, CPU_SS, 0x7ffffffffffc, 8, TLB_READ, &linear));
	assert_fault(fixture, VECTOR_SS, 0);
	assert_false(cpu_linear(cpu, CPU_DS, 0x8000000000000000, 1, TLB_READ, &linear));
	assert_fault(fixture, VECTOR_GP, 0);
}

/* ---- mode ---- */

static void test_mode(void **state)
{
	struct fixture *fixture = *state;
	struct cpu *cpu = fixture->cpu;
	assert_int_equal(cpu->mode & (MODE_REAL | MODE_CODE_MASK | MODE_FLAT_DS), MODE_REAL | MODE_CODE16);
	start_long(fixture);
	cpu->cr0 |= CR0_AM;
	cpu->cr4 |= CR4_SMAP | CR4_TSD;
	cpu->flags_system |= FLAG_AC;
	cpu_mode_update(cpu);
	assert_int_equal(cpu_view(cpu), TLB_VIEW_SUPERVISOR_AC);
	assert_int_equal(cpu->mode & (MODE_ALIGN | MODE_TSC_OK | MODE_IOPL_OK), MODE_TSC_OK | MODE_IOPL_OK);
	cpu->flags_system &= ~FLAG_AC;
	cpu_mode_update(cpu);
	assert_int_equal(cpu_view(cpu), TLB_VIEW_SUPERVISOR);
	cpu->flags_system |= FLAG_AC;
	enter_user(fixture, SEL_USER64);
	assert_int_equal(cpu_view(cpu), TLB_VIEW_USER);
	assert_int_equal(cpu->mode & (MODE_ALIGN | MODE_TSC_OK | MODE_IOPL_OK), MODE_ALIGN);
	/* Stale segments make no difference in 64-bit mode. */
	uint32_t mode = cpu->mode;
	segment_set_null(&cpu->segment[CPU_DS], 0);
	cpu_mode_update(cpu);
	assert_int_equal(cpu->mode, mode);

	start_protected(fixture);
	uint32_t flat = MODE_FLAT_DS | MODE_FLAT_ES | MODE_FLAT_SS | MODE_FLAT_CS | MODE_FLAT_FS | MODE_FLAT_GS;
	assert_int_equal(cpu->mode & flat, flat);
	assert_int_equal(cpu->mode & (MODE_CODE_MASK | MODE_STACK32), MODE_CODE32 | MODE_STACK32);
	cpu->segment[CPU_DS].limit--;
	cpu->segment[CPU_ES].base = 1;
	cpu->segment[CPU_FS].base = 1;
	cpu_mode_update(cpu);
	assert_int_equal(cpu->mode & flat, flat & ~(MODE_FLAT_DS | MODE_FLAT_ES));
	cpu->dr[7] |= 1 | 0x1u << 16; /* a data breakpoint is the slow path's business */
	cpu_mode_update(cpu);
	assert_false(cpu->mode & MODE_DEBUG);
	cpu->dr[7] |= 4;
	cpu_mode_update(cpu);
	assert_true(cpu->mode & MODE_DEBUG);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(test_crossing), TEST(test_device), TEST(test_rom),  TEST(test_code_page),
	    TEST(test_watch),	 TEST(test_linear), TEST(test_mode),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
