/* SPDX-License-Identifier: MIT */
#include "cpu-fixture.h"

#include <stdlib.h>
#include <string.h>

static void hook_flush_all(void *opaque, bool global)
{
	struct fixture *fixture = opaque;
	(void)global;
	fixture->flushes++;
}

static void hook_flush_page(void *opaque, uint64_t linear)
{
	(void)opaque;
	(void)linear;
}

static void hook_code_write(void *opaque, uint64_t gpa, uint64_t size)
{
	struct fixture *fixture = opaque;
	(void)size;
	fixture->code_writes++;
	fixture->code_write_gpa = gpa;
}

static void hook_lock(void *opaque)
{
	struct fixture *fixture = opaque;
	fixture->lock_depth++;
}

static void hook_unlock(void *opaque)
{
	struct fixture *fixture = opaque;
	fixture->lock_depth--;
}

static int hook_acknowledge(void *opaque)
{
	struct fixture *fixture = opaque;
	int vector = fixture->vector;
	fixture->vector = -1;
	fixture->cpu->requests &= ~(uint32_t)CPU_REQUEST_INTERRUPT;
	return vector;
}

static uint64_t device_read(void *opaque, uint64_t offset, unsigned size)
{
	struct fixture *fixture = opaque;
	assert_int_equal(fixture->lock_depth, 1);
	assert_int_equal(fixture->cpu->fpu_live, 0);
	fixture->device_offset = offset;
	fixture->device_size = size;
	fixture->device_accesses++;
	return fixture->device_value;
}

static void device_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
	device_read(opaque, offset, size);
	((struct fixture *)opaque)->device_value = value;
}

static const struct io_ops device_ops = {.read = device_read, .write = device_write, .max_size = 8};

static void model_init(struct cpu_model *model)
{
	for (unsigned i = 0; i < CPU_FEATURE_COUNT; i++)
		model->feature[i] = i != CPU_FEATURE_PSE36;
	model->physical_bits = 40;
	model->cr4_allowed = ~UINT64_C(0);
	model->efer_allowed = ~UINT64_C(0);
	model->leaf_count = 1;
	model->leaf[0] = (struct cpu_cpuid_leaf){.leaf = 1, .eax = 0x806e1};
	memcpy(model->vendor, "GenuineIntel", 13);
}

struct fixture *fixture_new(void)
{
	struct error error;
	struct fixture *fixture = calloc(1, sizeof(*fixture));
	size_t size = sizeof(struct cpu);
	struct cpu *cpu = aligned_alloc(_Alignof(struct cpu), size);
	assert_non_null(fixture);
	assert_non_null(cpu);
	memset(cpu, 0, size);
	fixture->cpu = cpu;
	fixture->vector = -1;
	fixture->next_table = TABLES_BASE;
	model_init(&fixture->model);
	assert_true(memory_init(&fixture->memory, RAM_SIZE, &error));
	assert_true(memory_add_region(&fixture->memory, 0, RAM_SIZE - 0x100000, 0, false, &error));
	assert_true(memory_add_region(&fixture->memory, ROM_BASE, 0x100000, RAM_SIZE - 0x100000, true, &error));
	clock_init(&fixture->clock, CLOCK_MANUAL);
	io_map_init(&fixture->mmio, 0);
	io_map_init(&fixture->ports, 0x10000);
	assert_true(io_map_add(&fixture->mmio, DEVICE_BASE, 0x1000, &device_ops, fixture, "test", &error));
	*cpu = (struct cpu){.model = &fixture->model,
			    .memory = &fixture->memory,
			    .ports = &fixture->ports,
			    .mmio = &fixture->mmio,
			    .controller = {.acknowledge = hook_acknowledge, .opaque = fixture},
			    .ledger = &fixture->ledger,
			    .clock = &fixture->clock,
			    .device_lock = hook_lock,
			    .device_unlock = hook_unlock,
			    .device_lock_opaque = fixture,
			    .flush_all = hook_flush_all,
			    .flush_page = hook_flush_page,
			    .code_write = hook_code_write,
			    .engine_opaque = fixture};
	cpu_reset(cpu);
	return fixture;
}

void fixture_free(struct fixture *fixture)
{
	memory_destroy(&fixture->memory);
	free(fixture->cpu);
	free(fixture);
}

void put(struct fixture *fixture, uint64_t gpa, unsigned size, uint64_t value)
{
	assert_true(memory_load(&fixture->memory, gpa, &value, size));
}

uint64_t get(struct fixture *fixture, uint64_t gpa, unsigned size)
{
	uint64_t value = 0;
	assert_true(memory_read(&fixture->memory, gpa, &value, size));
	return value;
}

/* ---- page tables ---- */

static uint64_t table_new(struct fixture *fixture)
{
	uint64_t gpa = fixture->next_table;
	fixture->next_table += 4096;
	assert_true(memory_fill(&fixture->memory, gpa, 0, 4096));
	return gpa;
}

void paging_start(struct fixture *fixture, enum paging paging)
{
	struct cpu *cpu = fixture->cpu;
	cpu->cr3 = table_new(fixture);
	cpu->cr0 = CR0_PE | CR0_PG | CR0_WP | CR0_NE | CR0_ET;
	cpu->cr4 = CR4_PSE | CR4_PGE | (paging == PAGING_32 ? 0 : CR4_PAE);
	cpu->efer = EFER_SCE;
	if (paging != PAGING_32)
		cpu->efer |= EFER_NXE;
	if (paging == PAGING_LONG)
		cpu->efer |= EFER_LME | EFER_LMA;
	cpu_mode_update(cpu);
	mmu_flush_all(cpu, true);
}

uint64_t paging_map(struct fixture *fixture, enum paging paging, uint64_t linear, uint64_t gpa, uint64_t bits,
		    unsigned shift)
{
	unsigned size = paging == PAGING_32 ? 4 : 8;
	unsigned width = paging == PAGING_32 ? 10 : 9;
	unsigned level = paging == PAGING_32 ? 22 : paging == PAGING_PAE ? 30 : 39;
	uint64_t table = fixture->cpu->cr3 & ~UINT64_C(0xfff);
	for (;; level -= width) {
		uint64_t index = linear >> level & (BIT64(width) - 1);
		if (paging == PAGING_PAE && level == 30)
			index &= 3;
		uint64_t slot = table + index * size;
		if (level == shift) {
			put(fixture, slot, size, gpa | bits | PTE_P | (shift > 12 ? PTE_PS : 0));
			return slot;
		}
		uint64_t entry = get(fixture, slot, size);
		if (!(entry & PTE_P)) {
			bool pdpte = paging == PAGING_PAE && level == 30;
			entry = table_new(fixture) | PTE_P | (pdpte ? 0 : PTE_W | PTE_U);
			put(fixture, slot, size, entry);
			if (pdpte)
				fixture->cpu->pdpte[index] = entry;
		}
		table = entry & UINT64_C(0xffffffff000);
	}
}

/* ---- descriptor tables ---- */

static uint64_t flat(unsigned access, unsigned flags)
{
	return UINT64_C(0x000f00000000ffff) | (uint64_t)access << 40 | (uint64_t)flags << 52;
}

static void system_descriptor(struct fixture *fixture, unsigned selector, uint32_t base, uint32_t limit, unsigned type)
{
	uint64_t raw = (uint64_t)limit | (uint64_t)(base & 0xffffff) << 16 | (uint64_t)(0x80 | type) << 40 |
		       (uint64_t)(base >> 24) << 56;
	put(fixture, GDT_BASE + selector, 8, raw);
	put(fixture, GDT_BASE + selector + 8, 8, 0);
}

static void tables_init(struct fixture *fixture)
{
	struct cpu *cpu = fixture->cpu;
	static const struct {
		unsigned selector, access, flags;
	} segments[] = {
	    {SEL_KERNEL32, 0x9b, 0xc},	       {SEL_KERNEL_DATA, 0x93, 0xc},   {SEL_KERNEL64, 0x9b, 0xa},
	    {SEL_USER32 - 3, 0xfb, 0xc},       {SEL_USER_DATA - 3, 0xf3, 0xc}, {SEL_USER64 - 3, 0xfb, 0xa},
	    {SEL_NOT_PRESENT, 0x13, 0xc},      {SEL_CONFORMING, 0x9f, 0xc},    {SEL_READ_ONLY - 3, 0xf1, 0xc},
	    {SEL_EXECUTE_ONLY - 3, 0xf9, 0xc}, {SEL_KERNEL16, 0x9b, 0x8},
	};
	for (unsigned i = 0; i < sizeof(segments) / sizeof(segments[0]); i++)
		put(fixture, GDT_BASE + segments[i].selector, 8, flat(segments[i].access, segments[i].flags));
	system_descriptor(fixture, SEL_TSS, TSS_BASE, 0x67, DESCRIPTOR_TSS_BUSY);
	system_descriptor(fixture, SEL_LDT, LDT_BASE, 0xff, DESCRIPTOR_LDT);
	cpu->gdtr = (struct cpu_table){.base = GDT_BASE, .limit = GDT_LIMIT};
	cpu->idtr = (struct cpu_table){.base = IDT_BASE, .limit = 0xfff};
	segment_from_descriptor(&cpu->tr, SEL_TSS, get(fixture, GDT_BASE + SEL_TSS, 8));
	segment_set_null(&cpu->ldtr, 0);
}

static void segment_set(struct fixture *fixture, enum cpu_segment_name name, uint16_t selector)
{
	segment_from_descriptor(&fixture->cpu->segment[name], selector,
				get(fixture, GDT_BASE + (selector & 0xfff8u), 8));
}

static void segments_set(struct fixture *fixture, uint16_t code, uint16_t data, unsigned cpl)
{
	static const uint8_t names[] = {CPU_ES, CPU_SS, CPU_DS, CPU_FS, CPU_GS};
	for (unsigned i = 0; i < sizeof(names); i++)
		segment_set(fixture, names[i], data);
	segment_set(fixture, CPU_CS, code);
	fixture->cpu->cpl = (uint8_t)cpl;
	cpu_mode_update(fixture->cpu);
}

static void start(struct fixture *fixture, uint16_t code)
{
	tables_init(fixture);
	cpu_rflags_set(fixture->cpu, FLAG_FIXED | FLAG_IF);
	fixture->cpu->gpr[CPU_RSP] = STACK0 - 0x100;
	fixture->cpu->rip = 0x5000;
	segments_set(fixture, code, SEL_KERNEL_DATA, 0);
}

void start_long(struct fixture *fixture)
{
	paging_start(fixture, PAGING_LONG);
	for (uint64_t gpa = 0; gpa < RAM_SIZE - 0x100000; gpa += 4096)
		paging_map(fixture, PAGING_LONG, gpa, gpa, PTE_W | PTE_U, 12);
	start(fixture, SEL_KERNEL64);
	for (unsigned i = 0; i < 256; i++)
		set_gate64(fixture, i, SEL_KERNEL64, 0x8e, 0);
	put(fixture, TSS_BASE + 4, 8, STACK0);
	put(fixture, TSS_BASE + 0x24, 8, STACK_IST);
	fixture->cpu->star = (uint64_t)SEL_KERNEL64 << 32 | (uint64_t)(SEL_USER32) << 48;
}

void start_protected(struct fixture *fixture)
{
	fixture->cpu->cr0 = CR0_PE | CR0_NE | CR0_ET;
	start(fixture, SEL_KERNEL32);
	for (unsigned i = 0; i < 256; i++)
		set_gate32(fixture, i, SEL_KERNEL32, 0x8e);
	put(fixture, TSS_BASE + 4, 4, STACK0);
	put(fixture, TSS_BASE + 8, 2, SEL_KERNEL_DATA);
}

void start_real(struct fixture *fixture)
{
	struct cpu *cpu = fixture->cpu;
	segment_set_real(cpu, CPU_CS, 0x100);
	segment_set_real(cpu, CPU_SS, 0x200);
	cpu->gpr[CPU_RSP] = 0x800;
	cpu->rip = 0x10;
	cpu_rflags_set(cpu, FLAG_FIXED | FLAG_IF);
	cpu_mode_update(cpu);
}

void enter_user(struct fixture *fixture, uint16_t selector)
{
	segments_set(fixture, selector, SEL_USER_DATA, 3);
	fixture->cpu->gpr[CPU_RSP] = STACK3 - 0x100;
}

void set_gate64(struct fixture *fixture, unsigned vector, uint16_t selector, unsigned access, unsigned ist)
{
	uint64_t offset = HANDLER_OF(vector);
	put(fixture, IDT_BASE + vector * 16, 8,
	    (offset & 0xffff) | (uint64_t)selector << 16 | (uint64_t)ist << 32 | (uint64_t)access << 40 |
		(offset >> 16 & 0xffff) << 48);
	put(fixture, IDT_BASE + vector * 16 + 8, 8, offset >> 32);
}

void set_gate32(struct fixture *fixture, unsigned vector, uint16_t selector, unsigned access)
{
	uint64_t offset = HANDLER_OF(vector);
	put(fixture, IDT_BASE + vector * 8, 8,
	    (offset & 0xffff) | (uint64_t)selector << 16 | (uint64_t)access << 40 | (offset >> 16) << 48);
}

enum cpu_next run_op(struct fixture *fixture, enum cpu_op op, struct cpu_insn insn)
{
	struct cpu *cpu = fixture->cpu;
	if (insn.length == 0)
		insn.length = 2;
	if (insn.address_size == 0)
		insn.address_size = cpu_code64(cpu) ? 8 : 4;
	insn.op = (uint16_t)op;
	if (!insn.has_memory || insn.base == 0)
		insn.base = insn.index = CPU_NO_REGISTER;
	enum cpu_next next = cpu_ops[op](cpu, &insn);
	assert_int_equal(next == CPU_FAULT, cpu->pending.valid);
	if (next == CPU_CONTINUE)
		cpu->rip = cpu_next_rip(cpu, &insn);
	else if (next == CPU_FAULT)
		cpu_deliver_pending(cpu);
	return next;
}

void assert_fault(struct fixture *fixture, unsigned vector, uint32_t error_code)
{
	struct cpu_pending *pending = &fixture->cpu->pending;
	assert_true(pending->valid);
	assert_int_equal(pending->vector, vector);
	assert_int_equal(pending->error_code, error_code);
	pending->valid = false;
}

void assert_no_fault(struct fixture *fixture)
{
	assert_false(fixture->cpu->pending.valid);
}
