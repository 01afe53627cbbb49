/* SPDX-License-Identifier: MIT */
/* Every exception that an instruction can provoke without paging: vector, error code and saved instruction pointer. */
#include "guest.h"

static uint8_t scratch[64] __attribute__((aligned(64), used));
static const float ones[4] __attribute__((aligned(16), used)) = {1, 1, 1, 1};
static uint32_t bounds[2] __attribute__((used)) = {1, 3};

/* #DE */
FRAGMENT(divide_by_zero, "xor %ecx, %ecx\n div %ecx");
FRAGMENT(divide_overflow, "mov $1, %edx\n xor %eax, %eax\n mov $1, %ecx\n div %ecx");
FRAGMENT(idivide_overflow, "mov $0x80000000, %eax\n cltd\n mov $-1, %ecx\n idiv %ecx");
FRAGMENT(divide_byte, "mov $0x1234, %eax\n mov $1, %cl\n div %cl");
FRAGMENT(divide_memory, "movl $0, scratch\n nop\n divl scratch");
/* #DB, #BP, #OF, #BR */
FRAGMENT(icebp, "nop\n .byte 0xf1\n nop");
FRAGMENT(breakpoint, "nop\n int3\n nop");
FRAGMENT(breakpoint_long, "nop\n .byte 0xcd, 3\n nop");
FRAGMENT(int_1, ".byte 0xcd, 1");
FRAGMENT(into, "mov $0x7fffffff, %eax\n add $1, %eax\n .byte 0xce\n nop");
FRAGMENT(into_clear, "xor %eax, %eax\n .byte 0xce\n nop");
/* #UD */
FRAGMENT(ud2, "nop\n ud2");
FRAGMENT(ud1, ".byte 0x0f, 0xb9, 0xc0");
FRAGMENT(ud0, ".byte 0x0f, 0xff, 0xc0");
FRAGMENT(lock_nop, ".byte 0xf0, 0x90");
FRAGMENT(lock_add_register, ".byte 0xf0, 0x01, 0xc8");
FRAGMENT(lock_mov_memory, "mov $scratch, " BX "\n .byte 0xf0, 0x89, 0x03");
FRAGMENT(lock_cmp_memory, "mov $scratch, " BX "\n .byte 0xf0, 0x39, 0x03");
FRAGMENT(lock_bt_memory, "mov $scratch, " BX "\n .byte 0xf0, 0x0f, 0xa3, 0x03");
FRAGMENT(lock_bts_memory, "mov $scratch, " BX "\n xor %eax, %eax\n .byte 0xf0, 0x0f, 0xab, 0x03");
FRAGMENT(mov_to_cs, "mov $8, %eax\n .byte 0x8e, 0xc8");
FRAGMENT(mov_from_segment_6, ".byte 0x8c, 0xf0");
FRAGMENT(lea_register, ".byte 0x8d, 0xc0");
FRAGMENT(bound_register, ".byte 0x66, 0x62, 0xc0");
FRAGMENT(cmpxchg8b_register, ".byte 0x0f, 0xc7, 0xc8");
FRAGMENT(lfar_register, ".byte 0x0f, 0xb4, 0xc0");
FRAGMENT(group4_7, ".byte 0xfe, 0xf8");
FRAGMENT(group5_7, ".byte 0xff, 0xff");
FRAGMENT(call_far_register, ".byte 0xff, 0xd8");
FRAGMENT(group11_1, ".byte 0xc6, 0xc8, 0x00");
FRAGMENT(opcode_0f04, ".byte 0x0f, 0x04");
FRAGMENT(opcode_0f0a, ".byte 0x0f, 0x0a");
FRAGMENT(opcode_0f24, ".byte 0x0f, 0x24, 0xc0");
FRAGMENT(opcode_0fa6, ".byte 0x0f, 0xa6, 0xc0");
FRAGMENT(cr1, ".byte 0x0f, 0x20, 0xc8");
FRAGMENT(cr5, ".byte 0x0f, 0x20, 0xe8");
FRAGMENT(cr7_write, ".byte 0x0f, 0x22, 0xf8");
FRAGMENT(dr4, ".byte 0x0f, 0x21, 0xe0");
FRAGMENT(dr5_write, ".byte 0x0f, 0x23, 0xe8");
FRAGMENT(leave_smm, "rsm");
FRAGMENT(vmcall, ".byte 0x0f, 0x01, 0xc1");
FRAGMENT(group7_register, ".byte 0x0f, 0x01, 0xd0 + 0x15"); /* 0F 01 E5 */
FRAGMENT(sidt_register, ".byte 0x0f, 0x01, 0xc8 - 1");	    /* 0F 01 C7 */
FRAGMENT(vex_lock, ".byte 0xf0, 0xc5, 0xf8, 0x28, 0xc1");
FRAGMENT(vex_prefix_66, ".byte 0x66, 0xc5, 0xf8, 0x28, 0xc1");
FRAGMENT(fifteen_bytes, ".fill 14, 1, 0x66\n nop");
FRAGMENT(sixteen_bytes, ".fill 15, 1, 0x66\n nop");
FRAGMENT(long_invalid, ".fill 14, 1, 0x66\n ud2");
/* #NM, #MF, #XM */
FRAGMENT(x87, "nop\n fld1\n fstp %st(0)");
FRAGMENT(x87_wait, "nop\n fwait");
FRAGMENT(x87_no_wait, "fnstsw %ax");
FRAGMENT(mmx, "pxor %mm0, %mm0\n emms");
FRAGMENT(sse, "pxor %xmm0, %xmm0");
FRAGMENT(sse_prefetch, "prefetcht0 scratch\n sfence\n pause");
FRAGMENT(sse_mxcsr, "stmxcsr scratch");
FRAGMENT(fxsave_probe, "fxsave fx_area");
FRAGMENT(x87_divide,
	 "fninit\n movw $0x37b, scratch\n fldcw scratch\n fld1\n fldz\n fdivrp\n nop\n mf_here: fwait\n fninit");
FRAGMENT(x87_divide_load,
	 "fninit\n fldcw scratch\n fld1\n fldz\n fdivrp\n fnstsw %ax\n fnstcw scratch\n fld1\n fninit");
FRAGMENT(x87_clear, "fninit\n fldcw scratch\n fld1\n fldz\n fdivrp\n fnclex\n fwait\n fninit");
FRAGMENT(x87_pending_mmx, "fninit\n fldcw scratch\n fld1\n fldz\n fdivrp\n nop\n emms\n fninit");
FRAGMENT(sse_divide,
	 "movl $0x1d80, scratch\n ldmxcsr scratch\n movaps ones, %xmm0\n xorps %xmm1, %xmm1\n divps %xmm1, %xmm0");
FRAGMENT(sse_get_status, "stmxcsr scratch\n mov scratch, %eax\n movl $0x1f80, scratch\n ldmxcsr scratch");
FRAGMENT(mxcsr_reserved, "movl $0x10000, scratch\n nop\n ldmxcsr scratch");
FRAGMENT(sse_misaligned, "mov $scratch + 8, " BX "\n movaps (" BX "), %xmm0");
FRAGMENT(sse_misaligned_store, "mov $scratch + 4, " BX "\n movntps %xmm0, (" BX ")");
FRAGMENT(sse_misaligned_operand, "mov $scratch + 4, " BX "\n addps (" BX "), %xmm0");
FRAGMENT(sse_unaligned, "mov $scratch + 4, " BX "\n movups (" BX "), %xmm0");
/* #AC */
FRAGMENT(align_2, "mov $scratch + 1, " BX "\n movw (" BX "), %ax");
FRAGMENT(align_4, "mov $scratch + 2, " BX "\n movl (" BX "), %eax");
FRAGMENT(align_4_store, "mov $scratch + 1, " BX "\n movl %eax, (" BX ")");
FRAGMENT(align_4_fits, "mov $scratch + 4, " BX "\n movl (" BX "), %eax");
FRAGMENT(align_8, "mov $scratch + 4, " BX "\n movq (" BX "), %mm0\n emms");
FRAGMENT(align_x87, "mov $scratch + 4, " BX "\n fldl (" BX ")\n fninit");
FRAGMENT(align_movups, "mov $scratch + 1, " BX "\n movups (" BX "), %xmm0");
FRAGMENT(align_movaps, "mov $scratch + 1, " BX "\n movaps (" BX "), %xmm0");
FRAGMENT(align_locked, "mov $scratch + 1, " BX "\n lock incl (" BX ")");
FRAGMENT(align_string, "mov $scratch + 1, " SI "\n lodsl");
FRAGMENT(align_far_pointer, "mov $scratch + 1, " BX "\n movl $0, scratch\n movl $0, scratch + 4\n lfs (" BX "), %eax");
FRAGMENT(align_push, "mov " SP ", " BX "\n sub $2, " SP "\n push " AX "\n mov " BX ", " SP);
FRAGMENT(align_off, "mov $scratch + 1, " BX "\n movl (" BX "), %eax");
/* #GP, #NP, #SS by selectors: AX is the selector */
FRAGMENT(load_ds, "mov %eax, %ds");
FRAGMENT(load_es, "nop\n mov %eax, %es");
FRAGMENT(load_ss, "mov %eax, %ss");
FRAGMENT(load_fs, "mov %eax, %fs");
FRAGMENT(load_ldt, "lldt %ax");
FRAGMENT(load_tr, "ltr %ax");
FRAGMENT(far_jump, "nop\n ljmp *scratch");
FRAGMENT(far_call, "nop\n lcall *scratch");
FRAGMENT(wrmsr_unknown, "mov $0x12345678, %ecx\n wrmsr");
FRAGMENT(int_63, "nop\n int $99");
FRAGMENT(int_0d, "nop\n int $13");
FRAGMENT(int_6, "nop\n int $6");

uint8_t fx_area[512] __attribute__((aligned(16)));

static void with(const char *group, code_function *code, word ax)
{
	regs.ax = ax;
	probe(group, code);
}

static void divide_and_breakpoints(void)
{
	probe("de.zero", divide_by_zero);
	probe("de.overflow", divide_overflow);
	fact("de.overflow.ax", regs.ax);
	fact("de.overflow.dx", regs.dx);
	probe("de.idiv", idivide_overflow);
	probe("de.byte", divide_byte);
	probe("de.memory", divide_memory);
	probe_user("de.user", divide_by_zero);
	write_dr6(0xffff0ff0);
	probe("db.icebp", icebp);
	fact("db.icebp.dr6", read_dr6());
	fact("db.icebp.rf", trap.flags >> 16 & 1);
	probe_user("db.icebp_user", icebp);
	probe("bp", breakpoint);
	fact("bp.rf", trap.flags >> 16 & 1);
	probe("bp.long", breakpoint_long);
	probe_user("bp.user", breakpoint);
	probe_user("bp.long_user", breakpoint_long);
	probe_user("db.int1_user", int_1);
	probe("of", into);
	probe_user("of.user", into);
	probe("of.clear", into_clear);
}

static void undefined(void)
{
	static const struct {
		const char *name;
		code_function *code;
	} table[] = {
	    {"ud.ud2", ud2},
	    {"ud.ud1", ud1},
	    {"ud.ud0", ud0},
	    {"ud.lock_nop", lock_nop},
	    {"ud.lock_add_register", lock_add_register},
	    {"ud.lock_mov", lock_mov_memory},
	    {"ud.lock_cmp", lock_cmp_memory},
	    {"ud.lock_bt", lock_bt_memory},
	    {"ud.lock_bts", lock_bts_memory},
	    {"ud.mov_to_cs", mov_to_cs},
	    {"ud.mov_from_segment_6", mov_from_segment_6},
	    {"ud.lea_register", lea_register},
	    {"ud.bound_register", bound_register},
	    {"ud.cmpxchg8b_register", cmpxchg8b_register},
	    {"ud.lfs_register", lfar_register},
	    {"ud.group4_7", group4_7},
	    {"ud.group5_7", group5_7},
	    {"ud.call_far_register", call_far_register},
	    {"ud.group11_1", group11_1},
	    {"ud.0f04", opcode_0f04},
	    {"ud.0f0a", opcode_0f0a},
	    {"ud.0f24", opcode_0f24},
	    {"ud.0fa6", opcode_0fa6},
	    {"ud.cr1", cr1},
	    {"ud.cr5", cr5},
	    {"ud.cr7", cr7_write},
	    {"ud.rsm", leave_smm},
	    {"ud.vmcall", vmcall},
	    {"ud.0f01e5", group7_register},
	    {"ud.0f01c7", sidt_register},
	    {"ud.vex_lock", vex_lock},
	    {"ud.vex_66", vex_prefix_66},
	    {"ud.fifteen_bytes", fifteen_bytes},
	    {"ud.sixteen_bytes", sixteen_bytes},
	    {"ud.long_invalid", long_invalid},
	};

	for (unsigned i = 0; i < sizeof(table) / sizeof(table[0]); i++)
		probe(table[i].name, table[i].code);
	probe_user("ud.user", ud2);
	probe_user("ud.rsm_user", leave_smm);
	write_cr4(read_cr4() & ~CR4_DE);
	probe("ud.dr4_alias", dr4);
	write_cr4(read_cr4() | CR4_DE);
	probe("ud.dr4", dr4);
	probe("ud.dr5", dr5_write);
	write_cr4(read_cr4() & ~CR4_DE);
}

#ifdef __x86_64__
/* One-byte opcodes that 64-bit mode took away. */
static uint8_t opcode_text[16] __attribute__((aligned(16)));
static void taken_away(void)
{
	static const uint8_t gone[] = {0x06, 0x07, 0x0e, 0x16, 0x17, 0x1e, 0x1f, 0x27, 0x2f, 0x37,
				       0x3f, 0x60, 0x61, 0x82, 0x9a, 0xce, 0xd4, 0xd5, 0xd6, 0xea};
	char name[] = "ud.64.00";

	for (unsigned i = 0; i < sizeof(gone); i++) {
		fill_bytes(opcode_text, 0xc3, sizeof(opcode_text));
		opcode_text[0] = gone[i];
		name[6] = "0123456789abcdef"[gone[i] >> 4];
		name[7] = "0123456789abcdef"[gone[i] & 15];
		run((code_function *)(word)opcode_text);
		fact(name, trap.vector);
	}
}
#else
FRAGMENT(bound_in, "mov $3, %eax\n bound %eax, bounds");
FRAGMENT(bound_out, "mov $4, %eax\n bound %eax, bounds\n nop");
FRAGMENT(bound_below, "mov $-1, %eax\n bound %eax, bounds\n nop");
FRAGMENT(bound_16, "mov $2, %ax\n bound %ax, bounds\n nop");
FRAGMENT(aam_zero, "mov $5, %al\n aam $0");
FRAGMENT(pop_ds, "push %eax\n pop %ds");
FRAGMENT(pop_ss_bad, "push %eax\n pop %ss");

static void taken_away(void)
{
	probe("br.in", bound_in);
	probe("br.out", bound_out);
	probe("br.below", bound_below);
	probe_user("br.user", bound_out);
	probe("br.16", bound_16);
	probe("de.aam", aam_zero);
	with("gp.pop_ds", pop_ds, 0x1f8 + 3);
	fact("gp.pop_ds.depth", resume_sp - trap.sp);
	with("gp.pop_ss", pop_ss_bad, USER_DATA);
}
#endif

static void floating_point(void)
{
	word cr0 = read_cr0();

	write_cr0(cr0 | CR0_TS);
	probe("nm.x87", x87);
	probe("nm.wait", x87_wait);
	probe("nm.no_wait", x87_no_wait);
	probe("nm.mmx", mmx);
	probe("nm.sse", sse);
	probe("nm.prefetch", sse_prefetch);
	probe("nm.mxcsr", sse_mxcsr);
	probe("nm.fxsave", fxsave_probe);
	probe_user("nm.user", x87);
	write_cr0((cr0 | CR0_TS) & ~CR0_MP);
	probe("nm.wait_no_mp", x87_wait);
	probe("nm.x87_no_mp", x87);
	write_cr0((cr0 | CR0_EM) & ~CR0_MP);
	probe("em.x87", x87);
	probe("em.wait", x87_wait);
	probe("em.mmx", mmx);
	probe("em.sse", sse);
	probe("em.mxcsr", sse_mxcsr);
	probe("em.fxsave", fxsave_probe);
	write_cr0(cr0 | CR0_EM | CR0_TS);
	probe("em_ts.mmx", mmx);
	probe("em_ts.sse", sse);
	probe("em_ts.x87", x87);
	write_cr0(cr0);
	__asm__ volatile("clts");
	write_cr4(read_cr4() & ~CR4_OSFXSR);
	probe("no_osfxsr.sse", sse);
	probe("no_osfxsr.prefetch", sse_prefetch);
	probe("no_osfxsr.mmx", mmx);
	write_cr4(read_cr4() | CR4_OSFXSR);

	probe("mf.wait", x87_divide);
	__asm__ volatile("fninit");
	*(uint16_t *)(void *)scratch = 0x37b;
	probe("mf.load", x87_divide_load);
	fact("mf.load.status", regs.ax & 0xffff);
	__asm__ volatile("fninit");
	*(uint16_t *)(void *)scratch = 0x37b;
	probe("mf.clear", x87_clear);
	probe("mf.mmx", x87_pending_mmx);
	__asm__ volatile("fninit");
	*(uint16_t *)(void *)scratch = 0x37b;
	probe_user("mf.user", x87_divide);
	__asm__ volatile("fninit");

	probe("xm", sse_divide);
	run(sse_get_status);
	fact("xm.mxcsr", regs.ax & 0xffffffff);
	probe_user("xm.user", sse_divide);
	run(sse_get_status);
	write_cr4(read_cr4() & ~CR4_OSXMMEXCPT);
	probe("xm.off", sse_divide);
	write_cr4(read_cr4() | CR4_OSXMMEXCPT);
	run(sse_get_status);
	probe("xm.reserved", mxcsr_reserved);
	probe("sse.misaligned", sse_misaligned);
	probe("sse.misaligned_store", sse_misaligned_store);
	probe("sse.misaligned_operand", sse_misaligned_operand);
	probe("sse.unaligned", sse_unaligned);
}

static void alignment(void)
{
	static const struct {
		const char *name;
		code_function *code;
	} table[] = {
	    {"ac.2", align_2},
	    {"ac.4", align_4},
	    {"ac.4_store", align_4_store},
	    {"ac.fits", align_4_fits},
	    {"ac.8", align_8},
	    {"ac.x87", align_x87},
	    {"ac.movaps", align_movaps},
	    {"ac.locked", align_locked},
	    {"ac.string", align_string},
	    {"ac.far_pointer", align_far_pointer},
	    {"ac.push", align_push},
	};

	write_cr0(read_cr0() | CR0_AM);
	run_flags = RUN_FLAGS_NONE | FLAG_AC;
	for (unsigned i = 0; i < sizeof(table) / sizeof(table[0]); i++)
		probe_user(table[i].name, table[i].code);
	run_flags = RUN_FLAGS_NONE;
	probe_user("ac.no_flag", align_off);
	write_cr0(read_cr0() & ~CR0_AM);
	run_flags = RUN_FLAGS_NONE | FLAG_AC;
	probe_user("ac.no_mask", align_off);
	run_flags = RUN_FLAGS_NONE;
}

#define ABSENT (FREE_SELECTOR + 0x00)
#define EXECUTE_ONLY (FREE_SELECTOR + 0x08)
#define READ_ONLY (FREE_SELECTOR + 0x10)
#define ABSENT_LDT (FREE_SELECTOR + 0x28) /* and its upper half */
#define ABSENT_CODE (FREE_SELECTOR + 0x38)
#define OUTSIDE 0x1f80

static void far_pointer(word ip, unsigned selector)
{
	*(uint32_t *)(void *)scratch = (uint32_t)ip;
	*(uint16_t *)(void *)(scratch + 4) = (uint16_t)selector;
}

static void selectors(void)
{
	gdt_set(ABSENT, descriptor(0, 0xfffff, 0x13, 0xc));
	gdt_set(EXECUTE_ONLY, descriptor(0, 0xfffff, 0x99, IS64 ? 0xa : 0xc));
	gdt_set(READ_ONLY, descriptor(0, 0xfffff, 0x91, 0xc));
	gdt_set(ABSENT_LDT, descriptor(0, 0xfff, 0x02, 0));
	gdt_set(ABSENT_CODE, descriptor(0, 0xfffff, 0x1b, IS64 ? 0xa : 0xc));

	with("gp.ds_outside", load_ds, OUTSIDE);
	with("gp.es_outside_rpl", load_es, OUTSIDE | 3);
	with("gp.es_ldt", load_es, 0x1f4);
	with("gp.ds_execute_only", load_ds, EXECUTE_ONLY);
	with("gp.ds_system", load_ds, TSS_SELECTOR);
	with("gp.ds_readable_code", load_ds, KERNEL_CODE);
	with("gp.ds_null", load_ds, 3);
	with("gp.ss_null", load_ss, 0);
	with("gp.ss_rpl", load_ss, USER_DATA);
	with("gp.ss_read_only", load_ss, READ_ONLY);
	with("gp.ss_code", load_ss, KERNEL_CODE);
	with("np.ds", load_ds, ABSENT);
	with("np.fs", load_fs, ABSENT);
	with("ss.load_absent", load_ss, ABSENT);
	with("np.ldt", load_ldt, ABSENT_LDT);
	with("gp.ldt_data", load_ldt, KERNEL_DATA);
	with("gp.ldt_outside", load_ldt, OUTSIDE);
	with("gp.tr_busy", load_tr, TSS_SELECTOR);
	with("gp.tr_data", load_tr, KERNEL_DATA);
	regs.ax = KERNEL_DATA;
	probe_user("gp.user_ds", load_ds);
	regs.ax = USER_DATA;
	probe_user("gp.user_ds_ok", load_ds);
	regs.ax = KERNEL_CODE;
	probe_user("gp.user_ss", load_ss);

	far_pointer(0x100000, KERNEL_DATA);
	probe("gp.jump_data", far_jump);
	far_pointer(0x100000, 0);
	probe("gp.jump_null", far_jump);
	far_pointer(0x100000, OUTSIDE);
	probe("gp.call_outside", far_call);
	far_pointer(0x100000, ABSENT_CODE);
	probe("np.jump", far_jump);
	probe("np.call", far_call);
	far_pointer(0x100000, USER_CODE);
	probe("gp.jump_user", far_jump);
	far_pointer(0x100000, TSS_SELECTOR + 0x100);
	probe("gp.jump_empty", far_jump);
}

static void control_registers(void)
{
	probe_user("gp.wrmsr_user", wrmsr_unknown);
	probe_user("gp.int_dpl", int_63);
	probe_user("gp.int_13_dpl", int_0d);
}

/* Faults in the delivery of others (SDM 3A 6.15, tables 6-4 and 6-5). */
static void double_faults(void)
{
	struct gate gate_13 = idt[13], gate_6 = idt[6], gate_0 = idt[0], gate_99 = idt[99], gate_11 = idt[11];

	idt[6].low &= ~(1ull << 47);
	probe("np.while_ud", ud2);
	probe("np.int_6", int_6);
	probe_user("gp.int_6_user", int_6);
	idt[6] = gate_6;
	idt[99].low &= ~(1ull << 47);
	probe("np.int_99", int_63);
	idt[99] = gate_99;
	idt[99].low = (idt[99].low & ~(0xffull << 40)) | 0x82ull << 40; /* not a gate: an LDT */
	probe("gp.int_no_gate", int_63);
	idt[99] = gate_99;
	idt[99] = gate(trap_stub(99), KERNEL_DATA, GATE_INTERRUPT, 0);
	probe("gp.int_data_gate", int_63);
	idt[99] = gate(trap_stub(99), 0, GATE_INTERRUPT, 0);
	probe("gp.int_null_gate", int_63);
	idt[99] = gate(trap_stub(99), ABSENT_CODE, GATE_INTERRUPT, 0);
	probe("np.int_absent_code", int_63);
	idt[99] = gate_99;
	idt[0] = gate(trap_stub(0), KERNEL_DATA, GATE_INTERRUPT, 0);
	probe("df.de_gp", divide_by_zero);
	idt[0] = gate_0;
	idt[13].low &= ~(1ull << 47);
	with("df.gp_np", load_ds, OUTSIDE);
	probe("df.user", int_1);
	idt[13] = gate_13;
	idt[0].low &= ~(1ull << 47);
	probe("df.de_np", divide_by_zero);
	idt[11].low &= ~(1ull << 47);
	probe("df.de_np_np", divide_by_zero);
	idt[0] = gate_0;
	idt[11] = gate_11;
}

#ifdef __x86_64__
FRAGMENT(non_canonical_read, "mov $0x800000000000, %rbx\n mov (%rbx), %al");
FRAGMENT(non_canonical_write, "mov $0xffff7fffffffffff, %rbx\n mov %al, (%rbx)");
FRAGMENT(non_canonical_cross, "mov $0x7ffffffffffe, %rbx\n mov (%rbx), %eax");
FRAGMENT(non_canonical_rbp, "mov $0x800000000000, %rbp\n mov (%rbp), %al");
FRAGMENT(non_canonical_rsp, "mov %rsp, %rbx\n mov $0x800000000000, %rsp\n push %rax");
FRAGMENT(non_canonical_pop, "mov $0x800000000000, %rsp\n pop %rax");
FRAGMENT(non_canonical_jump, "mov $0x800000000000, %rbx\n jmp *%rbx");
FRAGMENT(non_canonical_call, "mov $0x800000000000, %rbx\n call *%rbx");
FRAGMENT(non_canonical_return, "mov $0x800000000000, %rbx\n push %rbx\n ret");
FRAGMENT(non_canonical_ss_prefix, "mov $0x800000000000, %rbx\n mov %ss:(%rbx), %al");
FRAGMENT(non_canonical_ds_rbp, "mov $0x800000000000, %rbp\n mov %fs:(%rbp), %al");
FRAGMENT(non_canonical_prefetch, "mov $0x800000000000, %rbx\n prefetcht0 (%rbx)\n clflush scratch");
FRAGMENT(non_canonical_clflush, "mov $0x800000000000, %rbx\n clflush (%rbx)");
FRAGMENT(non_canonical_invlpg, "mov $0x800000000000, %rbx\n invlpg (%rbx)");
FRAGMENT(non_canonical_lea, "mov $0x800000000000, %rbx\n lea (%rbx), %rax");
FRAGMENT(non_canonical_movs, "mov $0x800000000000, %rsi\n mov $scratch, %edi\n movsb");
FRAGMENT(non_canonical_sse, "mov $0x800000000001, %rbx\n movaps (%rbx), %xmm0");
FRAGMENT(cr8_big, "mov $16, %eax\n mov %rax, %cr8");
FRAGMENT(dr7_high, "mov $1, %eax\n shl $32, %rax\n mov %rax, %dr7");
FRAGMENT(dr6_high, "mov $1, %eax\n shl $32, %rax\n mov %rax, %dr6");
FRAGMENT(lidt_bad, "mov $lidt_pointer, %ebx\n lidt (%rbx)");
struct {
	uint16_t limit;
	uint64_t base;
} __attribute__((packed)) lidt_pointer = {0xfff, 0x800000000000};

static void long_mode(void)
{
	static const struct {
		const char *name;
		code_function *code;
	} table[] = {
	    {"canonical.read", non_canonical_read},
	    {"canonical.write", non_canonical_write},
	    {"canonical.cross", non_canonical_cross},
	    {"canonical.rbp", non_canonical_rbp},
	    {"canonical.rsp", non_canonical_rsp},
	    {"canonical.pop", non_canonical_pop},
	    {"canonical.jump", non_canonical_jump},
	    {"canonical.call", non_canonical_call},
	    {"canonical.return", non_canonical_return},
	    {"canonical.ss_prefix", non_canonical_ss_prefix},
	    {"canonical.fs_rbp", non_canonical_ds_rbp},
	    {"canonical.prefetch", non_canonical_prefetch},
	    {"canonical.clflush", non_canonical_clflush},
	    {"canonical.invlpg", non_canonical_invlpg},
	    {"canonical.lea", non_canonical_lea},
	    {"canonical.movs", non_canonical_movs},
	    {"canonical.movaps", non_canonical_sse},
	    {"gp.cr8", cr8_big},
	    {"gp.dr7", dr7_high},
	    {"gp.dr6", dr6_high},
	    {"gp.lidt", lidt_bad},
	};

	for (unsigned i = 0; i < sizeof(table) / sizeof(table[0]); i++)
		probe(table[i].name, table[i].code);
}
#else
/*
 * #TS: INT from CPL 3 with a bad SS0. The handler of #TS must not need that stack itself: it runs at CPL 1, notes what
 * was pushed, mends SS0 and enters CPL 0 by INT 80h.
 */
#define CODE_1 (FREE_SELECTOR + 0x40)
#define DATA_1 (FREE_SELECTOR + 0x48)
uint32_t ts_error, ts_ip;
FRAGMENT(enter_kernel, "nop\n int $0x80");
FRAGMENT(ts_handler, "pop ts_error\n pop ts_ip\n movl $0x10, tss + 8\n ts_end: int $0x80");

static void long_mode(void)
{
	unsigned bad[] = {0, OUTSIDE, KERNEL_CODE, USER_DATA, READ_ONLY, ABSENT};
	const char *names[] = {"ts.null", "ts.outside", "ts.code", "ts.user", "ts.read_only", "ts.absent"};
	struct gate gate_10 = idt[10], gate_12 = idt[12];

	gdt_set(CODE_1, descriptor(0, 0xfffff, 0xbb, 0xc));
	gdt_set(DATA_1, descriptor(0, 0xfffff, 0xb3, 0xc));
	tss.stack[1].ss = DATA_1 | 1;
	tss.stack[1].esp = (word)trap_stack_top - 4096;
	idt[10] = gate((word)ts_handler, CODE_1 | 1, GATE_INTERRUPT, 0);
	idt[12] = idt[10];
	for (unsigned i = 0; i < 6; i++) {
		tss.stack[0].ss = bad[i];
		ts_error = ts_ip = 0xbad;
		run_user(enter_kernel);
		fact_of(names[i], "vector", trap.vector);
		fact_of(names[i], "error", ts_error);
		fact_of(names[i], "ip", ts_ip - (word)enter_kernel);
	}
	idt[10] = gate_10;
	idt[12] = gate_12;
	tss.stack[0].ss = KERNEL_DATA;
}
#endif

void guest_main(void)
{
	divide_and_breakpoints();
	undefined();
	taken_away();
	floating_point();
	alignment();
	selectors();
	control_registers();
	double_faults();
	long_mode();
}
