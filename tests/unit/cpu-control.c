/* SPDX-License-Identifier: MIT */
/* Control and debug registers, flags, descriptor-table registers. */
#include "cpu-op.h"

#include "cpu/debug.h"

static void mov_to_cr(struct fixture *fixture, unsigned number, uint64_t value)
{
	fixture->cpu->gpr[CPU_RSI] = value;
	op_succeeds(fixture, CPU_OP_mov_to_cr, INSN(.reg = (uint8_t)number, .rm = CPU_RSI));
}

static void mov_to_cr_gp(struct fixture *fixture, unsigned number, uint64_t value)
{
	struct cpu *cpu = fixture->cpu;
	uint64_t cr0 = cpu->cr0, cr3 = cpu->cr3, cr4 = cpu->cr4;

	cpu->gpr[CPU_RSI] = value;
	op_faults(fixture, CPU_OP_mov_to_cr, INSN(.reg = (uint8_t)number, .rm = CPU_RSI), VECTOR_GP, 0);
	assert_true(cpu->cr0 == cr0 && cpu->cr3 == cr3 && cpu->cr4 == cr4);
}

static uint64_t mov_from_cr(struct fixture *fixture, unsigned number)
{
	op_succeeds(fixture, CPU_OP_mov_from_cr, INSN(.reg = (uint8_t)number, .rm = CPU_RDI));
	return fixture->cpu->gpr[CPU_RDI];
}

/* What the real model allows, rather than the fixture's everything. */
static void use_real_model(struct fixture *fixture)
{
	struct error error;

	assert_true(cpu_model_init(&fixture->model, "max", 1, 1000000000, &error));
}

static void test_cr0(void **state)
{
	struct fixture *fixture = *state;
	struct cpu *cpu = fixture->cpu;
	uint64_t base = CR0_PE | CR0_ET | CR0_NE | CR0_WP | CR0_PG;

	start_long(fixture);
	assert_int_equal(mov_from_cr(fixture, 0), base);
	mov_to_cr_gp(fixture, 0, base & ~CR0_PE);
	mov_to_cr_gp(fixture, 0, base | CR0_NW);
	mov_to_cr_gp(fixture, 0, base | BIT64(32));
	mov_to_cr_gp(fixture, 0, base & ~CR0_PG);		     /* from 64-bit code */
	mov_to_cr(fixture, 0, base | CR0_TS | BIT64(9) | BIT64(28)); /* reserved bits below 32 are dropped */
	assert_int_equal(cpu->cr0, base | CR0_TS);
	assert_true(cpu->mode & MODE_FPU_TS);
	op_succeeds(fixture, CPU_OP_clts, INSN(0));
	assert_false(cpu->mode & MODE_FPU_TS);
	mov_to_cr(fixture, 0, base & ~CR0_ET);
	assert_int_equal(cpu->cr0, base);
	unsigned flushes = fixture->flushes;
	mov_to_cr(fixture, 0, base & ~CR0_WP);
	assert_true(fixture->flushes > flushes);
	assert_int_equal(fixture->ledger.count[LEDGER_COUNT_TLB_FLUSH_MODE], fixture->flushes - flushes);
	enter_user(fixture, SEL_USER64);
	mov_to_cr_gp(fixture, 0, base);
	op_faults(fixture, CPU_OP_clts, INSN(0), VECTOR_GP, 0);
}

/* The way into long mode and out of it, as a kernel goes. */
static void test_long_mode_switch(void **state)
{
	struct fixture *fixture = *state;
	struct cpu *cpu = fixture->cpu;

	start_protected(fixture);
	mov_to_cr_gp(fixture, 4, CR4_PCIDE); /* needs long mode */
	cpu->efer |= EFER_LME;
	mov_to_cr_gp(fixture, 0, cpu->cr0 | CR0_PG); /* needs PAE */
	mov_to_cr(fixture, 4, CR4_PAE);
	cpu->tr.access = SEGMENT_P | DESCRIPTOR_TSS16_BUSY;
	mov_to_cr_gp(fixture, 0, cpu->cr0 | CR0_PG); /* a 16-bit task state */
	cpu->tr.access = SEGMENT_P | DESCRIPTOR_TSS_BUSY;
	mov_to_cr(fixture, 0, cpu->cr0 | CR0_PG);
	assert_int_equal(cpu->efer & EFER_LMA, EFER_LMA);
	assert_false(cpu_code64(cpu));
	mov_to_cr_gp(fixture, 4, 0); /* PAE must stay */
	mov_to_cr(fixture, 4, CR4_PAE | CR4_PCIDE);
	mov_to_cr_gp(fixture, 0, cpu->cr0 & ~CR0_PG); /* PCIDE must go first */
	mov_to_cr(fixture, 4, CR4_PAE);
	mov_to_cr(fixture, 0, cpu->cr0 & ~CR0_PG);
	assert_int_equal(cpu->efer & EFER_LMA, 0);
}

/* The short way to the mode gives what the long one does, whatever a transfer can change. */
static void test_mode_by_transfer(void **state)
{
	struct fixture *fixture = *state;
	struct cpu *cpu = fixture->cpu;

	start_long(fixture);
	assert_true(cpu_code64(cpu));
	struct cpu_segment code64 = cpu->segment[CPU_CS], code32 = code64;
	code32.access = (uint16_t)((code64.access & ~SEGMENT_L) | SEGMENT_DB);
	for (unsigned bits = 0; bits < 1024; bits++) {
		uint32_t flags = (bits & 1 ? FLAG_AC : 0) | (bits & 2 ? FLAG_TF : 0) | (bits & 4 ? FLAG_IOPL : 0);
		cpu->cr0 = (cpu->cr0 & ~CR0_AM) | (bits & 8 ? CR0_AM : 0);
		cpu->cr4 = (cpu->cr4 & ~(CR4_SMAP | CR4_TSD)) | (bits & 16 ? CR4_SMAP : 0) | (bits & 32 ? CR4_TSD : 0);
		cpu->segment[CPU_CS] = bits & 64 ? code32 : code64;
		cpu->cpl = bits & 128 ? 3 : 0;
		cpu->flags_system = 0;
		cpu_mode_update(cpu);
		cpu->segment[CPU_CS] = bits & 256 ? code32 : code64;
		cpu->cpl = bits & 512 ? 3 : 0;
		cpu->flags_system = flags;
		cpu_mode_update_transfer(cpu);
		uint32_t mode = cpu->mode;
		cpu_mode_update(cpu);
		assert_int_equal(mode, cpu->mode);
	}
}

/* PAE paging loads the four pointers with CR3; reserved bits in one that is present are #GP. */
static void test_pae_pointers(void **state)
{
	struct fixture *fixture = *state;
	struct cpu *cpu = fixture->cpu;

	start_protected(fixture);
	put(fixture, 0x8000, 8, 0x9000 | PTE_P);
	put(fixture, 0x8008, 8, 0);
	put(fixture, 0x8010, 8, 0);
	put(fixture, 0x8018, 8, 0);
	put(fixture, 0x8020, 8, 0xa000 | PTE_P | PTE_W); /* R/W is reserved here */
	mov_to_cr(fixture, 4, CR4_PAE);
	mov_to_cr(fixture, 3, 0x8020);
	mov_to_cr_gp(fixture, 0, cpu->cr0 | CR0_PG);
	mov_to_cr(fixture, 3, 0x8000);
	mov_to_cr(fixture, 0, cpu->cr0 | CR0_PG);
	assert_int_equal(cpu->pdpte[0], 0x9000 | PTE_P);
	mov_to_cr_gp(fixture, 3, 0x8020);
	assert_int_equal(cpu->pdpte[0], 0x9000 | PTE_P);
}

static void test_cr3(void **state)
{
	struct fixture *fixture = *state;
	struct cpu *cpu = fixture->cpu;
	uint64_t cr3;

	start_long(fixture);
	cr3 = cpu->cr3;
	mov_to_cr_gp(fixture, 3, cr3 | BIT64(40)); /* beyond the physical address */
	mov_to_cr_gp(fixture, 3, cr3 | BIT64(63)); /* without PCIDE */
	unsigned flushes = fixture->flushes;
	mov_to_cr(fixture, 3, cr3);
	assert_int_equal(fixture->flushes, flushes + 1);
	assert_int_equal(fixture->ledger.count[LEDGER_COUNT_TLB_FLUSH_CR3], 1);
	assert_int_equal(fixture->ledger.count[LEDGER_COUNT_TLB_FLUSH_MODE], 0);
	mov_to_cr(fixture, 4, cpu->cr4 | CR4_PCIDE);
	mov_to_cr(fixture, 3, cr3 | 5 | BIT64(63));
	assert_int_equal(mov_from_cr(fixture, 3), cr3 | 5); /* bit 63 is not kept */
	flushes = fixture->flushes;
	mov_to_cr(fixture, 3, cr3 | 5 | BIT64(63)); /* the same space, entries kept */
	assert_int_equal(fixture->flushes, flushes);
	mov_to_cr(fixture, 3, cr3 | 5);
	assert_int_equal(fixture->flushes, flushes + 1);
	mov_to_cr(fixture, 4, cpu->cr4 & ~CR4_PCIDE);
	mov_to_cr_gp(fixture, 4, cpu->cr4 | CR4_PCIDE); /* CR3[11:0] is not 0 */
}

static void test_cr4_model(void **state)
{
	struct fixture *fixture = *state;

	use_real_model(fixture);
	start_protected(fixture);
	mov_to_cr(fixture, 4, CR4_VME | CR4_DE | CR4_OSFXSR | CR4_SMEP | CR4_SMAP | CR4_UMIP);
	mov_to_cr_gp(fixture, 4, BIT64(12)); /* LA57 */
	mov_to_cr_gp(fixture, 4, BIT64(13)); /* VMX */
	mov_to_cr_gp(fixture, 4, BIT64(22)); /* PKU */
	mov_to_cr_gp(fixture, 4, BIT64(23)); /* CET */
}

/* CR1, CR5 and so on do not exist; that comes before the privilege check. CR8 is the local APIC's. */
static void test_cr_numbers(void **state)
{
	struct fixture *fixture = *state;

	start_long(fixture);
	enter_user(fixture, SEL_USER64);
	op_faults(fixture, CPU_OP_mov_from_cr, INSN(.reg = 1), VECTOR_UD, 0);
	op_faults(fixture, CPU_OP_mov_to_cr, INSN(.reg = 9), VECTOR_UD, 0);
	op_faults(fixture, CPU_OP_mov_from_cr, INSN(.reg = 8), VECTOR_GP, 0);
}

static void test_lmsw_smsw(void **state)
{
	struct fixture *fixture = *state;
	struct cpu *cpu = fixture->cpu;

	start_protected(fixture);
	cpu->gpr[CPU_RCX] = CR0_TS | CR0_MP; /* PE stays */
	op_succeeds(fixture, CPU_OP_lmsw, INSN(.operand_size = 2, .rm = CPU_RCX));
	assert_int_equal(cpu->cr0, CR0_PE | CR0_NE | CR0_ET | CR0_TS | CR0_MP);
	cpu->gpr[CPU_RDX] = 0x12345678;
	op_succeeds(fixture, CPU_OP_smsw, INSN(.operand_size = 2, .rm = CPU_RDX));
	assert_int_equal(cpu->gpr[CPU_RDX], 0x12340000 | (cpu->cr0 & 0xffff));
	enter_user(fixture, SEL_USER32);
	op_succeeds(fixture, CPU_OP_smsw, INSN(.operand_size = 4, .rm = CPU_RDX));
	assert_int_equal(cpu->gpr[CPU_RDX], cpu->cr0);
	cpu->cr4 |= CR4_UMIP;
	op_faults(fixture, CPU_OP_smsw, INSN(.operand_size = 4, .rm = CPU_RDX), VECTOR_GP, 0);
	op_faults(fixture, CPU_OP_sgdt, INSN(MEMORY(0x6000)), VECTOR_GP, 0);
	op_faults(fixture, CPU_OP_sldt, INSN(.operand_size = 4), VECTOR_GP, 0);
}

static void test_xcr0(void **state)
{
	static const uint64_t bad[] = {0, 2, 5, 8, 0xe7, BIT64(32) | 1};
	struct fixture *fixture = *state;
	struct cpu *cpu = fixture->cpu;

	use_real_model(fixture);
	start_long(fixture);
	op_faults(fixture, CPU_OP_xgetbv, INSN(0), VECTOR_UD, 0);
	mov_to_cr(fixture, 4, cpu->cr4 | CR4_OSXSAVE);
	cpu->gpr[CPU_RCX] = 0;
	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		cpu->gpr[CPU_RAX] = (uint32_t)bad[i];
		cpu->gpr[CPU_RDX] = bad[i] >> 32;
		op_faults(fixture, CPU_OP_xsetbv, INSN(0), VECTOR_GP, 0);
	}
	cpu->gpr[CPU_RAX] = fixture->model.xcr0_allowed;
	cpu->gpr[CPU_RDX] = 0;
	op_succeeds(fixture, CPU_OP_xsetbv, INSN(0));
	assert_int_equal((cpu->mode & MODE_AVX) != 0, (fixture->model.xcr0_allowed & 4) != 0);
	op_succeeds(fixture, CPU_OP_xgetbv, INSN(0));
	assert_int_equal(cpu->gpr[CPU_RAX], fixture->model.xcr0_allowed);
	cpu->gpr[CPU_RCX] = 1;
	op_faults(fixture, CPU_OP_xgetbv, INSN(0), VECTOR_GP, 0);
}

static void test_invalidations(void **state)
{
	struct fixture *fixture = *state;
	struct cpu *cpu = fixture->cpu;
	uint64_t value = 0;

	start_long(fixture);
	paging_map(fixture, PAGING_LONG, 0x700000000, 0x6000, PTE_W, 12);
	put(fixture, 0x6000, 8, 1);
	put(fixture, 0x7000, 8, 2);
	assert_true(cpu_read_value(cpu, 0x700000000, 8, cpu_view(cpu), &value));
	paging_map(fixture, PAGING_LONG, 0x700000000, 0x7000, PTE_W, 12);
	op_succeeds(fixture, CPU_OP_invlpg, INSN(MEMORY(0x700000000)));
	assert_true(cpu_read_value(cpu, 0x700000000, 8, cpu_view(cpu), &value));
	assert_int_equal(value, 2);
	op_succeeds(fixture, CPU_OP_invlpg, INSN(MEMORY(UINT64_C(0x8000000000000000)))); /* not canonical: nothing */
	paging_map(fixture, PAGING_LONG, 0x700000000, 0x6000, PTE_W, 12);
	put(fixture, 0x8000, 8, 0);
	put(fixture, 0x8008, 8, 0x700000000);
	cpu->gpr[CPU_RCX] = 0;
	op_succeeds(fixture, CPU_OP_invpcid, INSN(.reg = CPU_RCX, MEMORY(0x8000)));
	assert_true(cpu_read_value(cpu, 0x700000000, 8, cpu_view(cpu), &value));
	assert_int_equal(value, 1);
	cpu->gpr[CPU_RCX] = 4;
	op_faults(fixture, CPU_OP_invpcid, INSN(.reg = CPU_RCX, MEMORY(0x8000)), VECTOR_GP, 0);
	cpu->gpr[CPU_RCX] = 1;
	put(fixture, 0x8000, 8, 1); /* a PCID without CR4.PCIDE */
	op_faults(fixture, CPU_OP_invpcid, INSN(.reg = CPU_RCX, MEMORY(0x8000)), VECTOR_GP, 0);
	put(fixture, 0x8000, 8, 0x1000);
	cpu->gpr[CPU_RCX] = 2;
	op_faults(fixture, CPU_OP_invpcid, INSN(.reg = CPU_RCX, MEMORY(0x8000)), VECTOR_GP, 0);
}

/* ---- debug registers ---- */

static void test_debug_registers(void **state)
{
	struct fixture *fixture = *state;
	struct cpu *cpu = fixture->cpu;

	start_long(fixture);
	cpu->gpr[CPU_RCX] = 0xffffffff;
	op_succeeds(fixture, CPU_OP_mov_to_dr, INSN(.reg = 6, .rm = CPU_RCX));
	op_succeeds(fixture, CPU_OP_mov_from_dr, INSN(.reg = 4, .rm = CPU_RDX)); /* another name of DR6 */
	assert_int_equal(cpu->gpr[CPU_RDX], 0xffffefff);
	cpu->gpr[CPU_RCX] = 0;
	op_succeeds(fixture, CPU_OP_mov_to_dr, INSN(.reg = 6, .rm = CPU_RCX));
	assert_int_equal(cpu->dr[6], DR6_FIXED);
	cpu->gpr[CPU_RCX] = BIT64(32);
	op_faults(fixture, CPU_OP_mov_to_dr, INSN(.reg = 7, .rm = CPU_RCX), VECTOR_GP, 0);
	cpu->cr4 |= CR4_DE;
	op_faults(fixture, CPU_OP_mov_from_dr, INSN(.reg = 5, .rm = CPU_RDX), VECTOR_UD, 0);
	cpu->cpl = 3; /* privilege is asked for first */
	op_faults(fixture, CPU_OP_mov_from_dr, INSN(.reg = 5, .rm = CPU_RDX), VECTOR_GP, 0);
	op_faults(fixture, CPU_OP_mov_to_dr, INSN(.reg = 4, .rm = CPU_RDX), VECTOR_GP, 0);
	cpu->cpl = 0;
	cpu->gpr[CPU_RCX] = DR7_GD;
	op_succeeds(fixture, CPU_OP_mov_to_dr, INSN(.reg = 7, .rm = CPU_RCX));
	assert_int_equal(cpu->dr[7], DR7_GD | DR7_FIXED);
	assert_int_equal(op_run(fixture, CPU_OP_mov_from_dr, INSN(.reg = 0)), CPU_FAULT);
	assert_int_equal(cpu->pending.dr6, DR6_BD);
	assert_fault(fixture, VECTOR_DB, 0);
	cpu->dr[7] = DR7_FIXED;
	enter_user(fixture, SEL_USER64);
	op_faults(fixture, CPU_OP_mov_from_dr, INSN(.reg = 0), VECTOR_GP, 0);
}

/* ---- flags ---- */

static void test_cli_sti(void **state)
{
	struct fixture *fixture = *state;
	struct cpu *cpu = fixture->cpu;

	start_long(fixture);
	op_succeeds(fixture, CPU_OP_cli, INSN(0));
	assert_int_equal(cpu->interrupt_enable, 0);
	assert_int_equal(op_run(fixture, CPU_OP_sti, INSN(0)), CPU_EXIT);
	assert_int_equal(cpu->interrupt_enable, 1);
	assert_int_equal(cpu->interrupt_shadow, CPU_SHADOW_STI);
	cpu->interrupt_shadow = 0;
	op_succeeds(fixture, CPU_OP_sti, INSN(0)); /* a second one casts no shadow */
	assert_int_equal(cpu->interrupt_shadow, 0);
	enter_user(fixture, SEL_USER64);
	op_faults(fixture, CPU_OP_cli, INSN(0), VECTOR_GP, 0);
	cpu->flags_system |= FLAG_IOPL;
	op_succeeds(fixture, CPU_OP_cli, INSN(0));
	cpu->flags_system &= ~FLAG_IOPL;
	cpu->cr4 |= CR4_PVI; /* the virtual flag instead */
	op_succeeds(fixture, CPU_OP_sti, INSN(0));
	assert_true(cpu->flags_system & FLAG_VIF);
	assert_int_equal(cpu->interrupt_enable, 0);
	cpu->flags_system |= FLAG_VIP;
	op_faults(fixture, CPU_OP_sti, INSN(0), VECTOR_GP, 0);
	op_succeeds(fixture, CPU_OP_cli, INSN(0));
	assert_false(cpu->flags_system & FLAG_VIF);
}

static uint64_t popf(struct fixture *fixture, unsigned size, uint64_t value)
{
	struct cpu *cpu = fixture->cpu;

	put(fixture, cpu->gpr[CPU_RSP], 8, value);
	op_succeeds(fixture, CPU_OP_popf, INSN(.operand_size = (uint8_t)size));
	return cpu_rflags(cpu);
}

static void test_popf(void **state)
{
	struct fixture *fixture = *state;
	struct cpu *cpu = fixture->cpu;
	const uint64_t never = FLAG_VM | FLAG_RF | FLAG_VIF | FLAG_VIP;

	start_long(fixture);
	cpu->gpr[CPU_RSP] = 0x8000;
	assert_int_equal(popf(fixture, 8, ~UINT64_C(0)), (FLAGS_ALL | FLAG_FIXED) & ~never);
	assert_int_equal(cpu->gpr[CPU_RSP], 0x8008);
	assert_true(cpu->mode & MODE_TF);
	assert_int_equal(popf(fixture, 2, 0), FLAG_FIXED | FLAG_AC | FLAG_ID); /* the upper half stays */
	assert_int_equal(popf(fixture, 8, FLAG_IOPL), FLAG_FIXED | FLAG_IOPL);
	enter_user(fixture, SEL_USER64);
	cpu->gpr[CPU_RSP] = 0x8000;
	assert_int_equal(popf(fixture, 8, FLAG_IF), FLAG_FIXED | FLAG_IOPL | FLAG_IF); /* IOPL stays */
	cpu->flags_system &= ~FLAG_IOPL;
	assert_int_equal(popf(fixture, 8, 0), FLAG_FIXED | FLAG_IF); /* IF as well */
	cpu->flags_system |= FLAG_RF;
	op_succeeds(fixture, CPU_OP_pushf, INSN(.operand_size = 8));
	assert_int_equal(get(fixture, cpu->gpr[CPU_RSP], 8), FLAG_FIXED | FLAG_IF);
}

static void test_v86_flags(void **state)
{
	struct fixture *fixture = *state;
	struct cpu *cpu = fixture->cpu;

	start_protected(fixture);
	enter_user(fixture, SEL_USER32);
	cpu->flags_system |= FLAG_VM;
	for (unsigned i = 0; i < CPU_SEGMENT_COUNT; i++)
		segment_set_real(cpu, (enum cpu_segment_name)i, 0);
	cpu_mode_update(cpu);
	cpu->gpr[CPU_RSP] = 0x8000;
	op_faults(fixture, CPU_OP_pushf, INSN(.operand_size = 2), VECTOR_GP, 0);
	op_faults(fixture, CPU_OP_cli, INSN(0), VECTOR_GP, 0);
	cpu->cr4 |= CR4_VME;
	op_faults(fixture, CPU_OP_pushf, INSN(.operand_size = 4), VECTOR_GP, 0);
	cpu->flags_system |= FLAG_VIF;
	op_succeeds(fixture, CPU_OP_pushf, INSN(.operand_size = 2)); /* IF shows VIF, IOPL shows 3 */
	assert_int_equal(get(fixture, 0x7ffe, 2), FLAG_FIXED | FLAG_IF | FLAG_IOPL);
	cpu->interrupt_enable = 1;
	assert_int_equal(popf(fixture, 2, FLAG_CF) & (FLAG_VIF | FLAG_IF | FLAG_CF), FLAG_IF | FLAG_CF);
	put(fixture, cpu->gpr[CPU_RSP], 2, FLAG_TF);
	op_faults(fixture, CPU_OP_popf, INSN(.operand_size = 2), VECTOR_GP, 0);
}

static void test_stac_swapgs_hlt(void **state)
{
	struct fixture *fixture = *state;
	struct cpu *cpu = fixture->cpu;

	start_long(fixture);
	cpu->cr4 |= CR4_SMAP;
	cpu_mode_update(cpu);
	assert_int_equal(cpu_view(cpu), TLB_VIEW_SUPERVISOR);
	op_succeeds(fixture, CPU_OP_stac, INSN(0));
	assert_int_equal(cpu_view(cpu), TLB_VIEW_SUPERVISOR_AC);
	op_succeeds(fixture, CPU_OP_clac, INSN(0));
	assert_int_equal(cpu_view(cpu), TLB_VIEW_SUPERVISOR);
	cpu->segment[CPU_GS].base = 1;
	cpu->kernel_gs_base = 2;
	op_succeeds(fixture, CPU_OP_swapgs, INSN(0));
	assert_int_equal(cpu->segment[CPU_GS].base, 2);
	assert_int_equal(cpu->kernel_gs_base, 1);
	op_faults(fixture, CPU_OP_rdgsbase, INSN(.operand_size = 8, .rm = CPU_RAX), VECTOR_UD, 0);
	cpu->cr4 |= CR4_FSGSBASE;
	op_succeeds(fixture, CPU_OP_rdgsbase, INSN(.operand_size = 8, .rm = CPU_RAX));
	assert_int_equal(cpu->gpr[CPU_RAX], 2);
	cpu->gpr[CPU_RAX] = UINT64_C(0x800000000000);
	op_faults(fixture, CPU_OP_wrfsbase, INSN(.operand_size = 8, .rm = CPU_RAX), VECTOR_GP, 0);
	op_succeeds(fixture, CPU_OP_wrfsbase, INSN(.operand_size = 4, .rm = CPU_RAX));
	assert_int_equal(cpu->segment[CPU_FS].base, 0);
	cpu->rip = 0x5000;
	assert_int_equal(op_run(fixture, CPU_OP_hlt, INSN(0)), CPU_EXIT);
	assert_true(cpu->halted);
	assert_int_equal(cpu->rip, 0x5002);
	enter_user(fixture, SEL_USER64);
	op_faults(fixture, CPU_OP_hlt, INSN(0), VECTOR_GP, 0);
	op_faults(fixture, CPU_OP_stac, INSN(0), VECTOR_UD, 0);
	op_faults(fixture, CPU_OP_swapgs, INSN(0), VECTOR_GP, 0);
}

/* ---- descriptor-table registers ---- */

static void test_tables(void **state)
{
	struct fixture *fixture = *state;
	struct cpu *cpu = fixture->cpu;

	start_long(fixture);
	put(fixture, 0x6000, 2, 0x8f);
	put(fixture, 0x6002, 8, UINT64_C(0xffff880000001000));
	op_succeeds(fixture, CPU_OP_lidt, INSN(.operand_size = 2, MEMORY(0x6000))); /* sizes do not count here */
	assert_int_equal(cpu->idtr.base, UINT64_C(0xffff880000001000));
	assert_int_equal(cpu->idtr.limit, 0x8f);
	op_succeeds(fixture, CPU_OP_sidt, INSN(MEMORY(0x6100)));
	assert_int_equal(get(fixture, 0x6102, 8), UINT64_C(0xffff880000001000));
	put(fixture, 0x6002, 8, UINT64_C(0x8000000000001000));
	op_faults(fixture, CPU_OP_lgdt, INSN(MEMORY(0x6000)), VECTOR_GP, 0);
	start_protected(fixture);
	cpu->efer = 0;
	cpu_mode_update(cpu);
	put(fixture, 0x6002, 8, 0x12345678);
	op_succeeds(fixture, CPU_OP_lidt, INSN(.operand_size = 2, MEMORY(0x6000)));
	assert_int_equal(cpu->idtr.base, 0x345678);
}

static void test_lldt_ltr(void **state)
{
	struct fixture *fixture = *state;
	struct cpu *cpu = fixture->cpu;

	start_long(fixture);
	cpu->gpr[CPU_RAX] = SEL_LDT;
	op_succeeds(fixture, CPU_OP_lldt, INSN(.rm = CPU_RAX));
	assert_int_equal(cpu->ldtr.base, LDT_BASE);
	op_succeeds(fixture, CPU_OP_sldt, INSN(.operand_size = 8, .rm = CPU_RDX));
	assert_int_equal(cpu->gpr[CPU_RDX], SEL_LDT);
	cpu->gpr[CPU_RAX] = SEL_TSS; /* not an LDT; and busy */
	op_faults(fixture, CPU_OP_lldt, INSN(.rm = CPU_RAX), VECTOR_GP, SEL_TSS);
	op_faults(fixture, CPU_OP_ltr, INSN(.rm = CPU_RAX), VECTOR_GP, SEL_TSS);
	put(fixture, GDT_BASE + SEL_TSS + 5, 1, 0x89);
	put(fixture, GDT_BASE + SEL_TSS + 8, 8, 0xffff8800);
	op_succeeds(fixture, CPU_OP_ltr, INSN(.rm = CPU_RAX));
	assert_int_equal(get(fixture, GDT_BASE + SEL_TSS + 5, 1), 0x8b);
	assert_int_equal(cpu->tr.base, UINT64_C(0xffff880000000000) | TSS_BASE);
	put(fixture, GDT_BASE + SEL_TSS + 5, 1, 0x09);
	op_faults(fixture, CPU_OP_ltr, INSN(.rm = CPU_RAX), VECTOR_NP, SEL_TSS);
	cpu->gpr[CPU_RAX] = 0;
	op_faults(fixture, CPU_OP_ltr, INSN(.rm = CPU_RAX), VECTOR_GP, 0);
	op_succeeds(fixture, CPU_OP_lldt, INSN(.rm = CPU_RAX));
	assert_int_equal(cpu->ldtr.access & SEGMENT_P, 0);
	cpu->gpr[CPU_RAX] = SEL_LDT | 4; /* must be in the GDT */
	op_faults(fixture, CPU_OP_lldt, INSN(.rm = CPU_RAX), VECTOR_GP, SEL_LDT | 4);
	enter_user(fixture, SEL_USER64);
	op_faults(fixture, CPU_OP_lldt, INSN(.rm = CPU_RAX), VECTOR_GP, 0);
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
	    TEST(test_cr0),
	    TEST(test_long_mode_switch),
	    TEST(test_pae_pointers),
	    TEST(test_cr3),
	    TEST(test_cr4_model),
	    TEST(test_cr_numbers),
	    TEST(test_lmsw_smsw),
	    TEST(test_xcr0),
	    TEST(test_invalidations),
	    TEST(test_debug_registers),
	    TEST(test_cli_sti),
	    TEST(test_popf),
	    TEST(test_v86_flags),
	    TEST(test_stac_swapgs_hlt),
	    TEST(test_tables),
	    TEST(test_lldt_ltr),
	    TEST(test_mode_by_transfer),

	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
