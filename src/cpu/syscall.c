/* SPDX-License-Identifier: MIT */
/*
 * SYSCALL, SYSRET, SYSENTER, SYSEXIT. SDM 2B and 3A 5.8.7, 5.8.8; APM 3 for SYSCALL outside 64-bit mode.
 *
 * Vendors differ: Intel's SYSCALL and SYSRET exist in 64-bit mode only, AMD's in compatibility mode too (CSTAR), and in
 * legacy protected mode, where STAR holds the target and IF takes the place of SFMASK and R11; AMD's SYSENTER and
 * SYSEXIT are invalid in long mode. The model's vendor decides.
 */
#include "cpu/cpuid.h"
#include "cpu/event.h"
#include "cpu/insn.h"
#include "cpu/op.h"
#include "cpu/segment.h"

static bool vendor_is_amd(const struct cpu *cpu)
{
	return cpu->model->vendor[0] == 'A';
}

static void enter_kernel(struct cpu *cpu, uint16_t selector, uint16_t code_access)
{
	segment_set_flat(&cpu->segment[CPU_CS], selector, code_access);
	segment_set_flat(&cpu->segment[CPU_SS], (uint16_t)(selector + 8), ACCESS_FLAT_DATA(0));
	cpu->cpl = 0;
	cpu_mode_update_transfer(cpu);
}

static void enter_user(struct cpu *cpu, uint16_t cs, uint16_t ss, bool code64)
{
	segment_set_flat(&cpu->segment[CPU_CS], cs | 3, code64 ? ACCESS_FLAT_CODE64(3) : ACCESS_FLAT_CODE32(3));
	segment_set_flat(&cpu->segment[CPU_SS], ss | 3, ACCESS_FLAT_DATA(3));
	cpu->cpl = 3;
	cpu_mode_update_transfer(cpu);
	event_recheck(cpu);
}

static bool legacy_amd(const struct cpu *cpu)
{
	return vendor_is_amd(cpu) && !cpu_long_mode(cpu) && !(cpu->mode & (MODE_REAL | MODE_VM86)) &&
	       (cpu->efer & EFER_SCE);
}

static enum cpu_next syscall_legacy(struct cpu *cpu, const struct cpu_insn *insn)
{
	cpu_count_with(cpu, LEDGER_COUNT_SYSCALL, 0, 0, cpu->gpr[CPU_RAX]);
	cpu->gpr[CPU_RCX] = cpu_next_rip(cpu, insn);
	cpu->rip = (uint32_t)cpu->star;
	cpu->flags_system &= ~FLAG_RF;
	cpu->interrupt_enable = 0;
	enter_kernel(cpu, (uint16_t)(cpu->star >> 32) & 0xfffc, ACCESS_FLAT_CODE32(0));
	return CPU_EXIT;
}

static enum cpu_next sysret_legacy(struct cpu *cpu)
{
	uint16_t base = (uint16_t)(cpu->star >> 48);
	if (cpu->cpl != 0)
		return op_gp(cpu);
	cpu->rip = (uint32_t)cpu->gpr[CPU_RCX];
	cpu->interrupt_enable = 1;
	enter_user(cpu, base, (uint16_t)(base + 8), false);
	return CPU_EXIT;
}

enum cpu_next cpu_op_syscall(struct cpu *cpu, const struct cpu_insn *insn)
{
	bool code64 = cpu_code64(cpu);
	if (legacy_amd(cpu))
		return syscall_legacy(cpu, insn);
	if (!(cpu->efer & EFER_SCE) || (!code64 && !(cpu_long_mode(cpu) && vendor_is_amd(cpu))))
		return cpu_op_ud(cpu, insn);
	cpu_count_with(cpu, LEDGER_COUNT_SYSCALL, 0, 0, cpu->gpr[CPU_RAX]);
	uint64_t flags = cpu_rflags(cpu) & ~(uint64_t)FLAG_RF;
	cpu->gpr[CPU_RCX] = cpu_next_rip(cpu, insn);
	cpu->gpr[CPU_R11] = flags;
	cpu->rip = code64 ? cpu->lstar : cpu->cstar;
	cpu_rflags_set(cpu, flags & ~cpu->sfmask);
	enter_kernel(cpu, (uint16_t)(cpu->star >> 32) & 0xfffc, ACCESS_FLAT_CODE64(0));
	return CPU_EXIT;
}

enum cpu_next cpu_op_sysret(struct cpu *cpu, const struct cpu_insn *insn)
{
	bool to64 = insn->operand_size == 8;
	uint16_t base = (uint16_t)(cpu->star >> 48);
	if (legacy_amd(cpu))
		return sysret_legacy(cpu);
	if (!(cpu->efer & EFER_SCE) || (!cpu_code64(cpu) && !(cpu_long_mode(cpu) && vendor_is_amd(cpu))))
		return cpu_op_ud(cpu, insn);
	uint64_t rip = to64 ? cpu->gpr[CPU_RCX] : (uint32_t)cpu->gpr[CPU_RCX];
	if (cpu->cpl != 0 || !address_is_canonical(rip))
		return op_gp(cpu);
	cpu->rip = rip;
	cpu_rflags_set(cpu, cpu->gpr[CPU_R11] & ~(uint64_t)(FLAG_RF | FLAG_VM));
	enter_user(cpu, (uint16_t)(base + (to64 ? 16 : 0)), (uint16_t)(base + 8), to64);
	return CPU_EXIT;
}

enum cpu_next cpu_op_sysenter(struct cpu *cpu, const struct cpu_insn *insn)
{
	bool long_mode = cpu_long_mode(cpu);
	uint16_t selector = (uint16_t)cpu->sysenter_cs & 0xfffc;
	if (long_mode && vendor_is_amd(cpu))
		return cpu_op_ud(cpu, insn);
	if ((cpu->mode & MODE_REAL) || selector == 0)
		return op_gp(cpu);
	cpu_count_with(cpu, LEDGER_COUNT_SYSCALL, 0, 0, cpu->gpr[CPU_RAX]);
	cpu->flags_system &= ~(FLAG_VM | FLAG_RF);
	cpu->interrupt_enable = 0;
	cpu->gpr[CPU_RSP] = long_mode ? cpu->sysenter_esp : (uint32_t)cpu->sysenter_esp;
	cpu->rip = long_mode ? cpu->sysenter_eip : (uint32_t)cpu->sysenter_eip;
	enter_kernel(cpu, selector, long_mode ? ACCESS_FLAT_CODE64(0) : ACCESS_FLAT_CODE32(0));
	return CPU_EXIT;
}

enum cpu_next cpu_op_sysexit(struct cpu *cpu, const struct cpu_insn *insn)
{
	bool to64 = insn->operand_size == 8;
	uint16_t base = (uint16_t)cpu->sysenter_cs & 0xfffc;
	if (cpu_long_mode(cpu) && vendor_is_amd(cpu))
		return cpu_op_ud(cpu, insn);
	if ((cpu->mode & MODE_REAL) || base == 0 || cpu->cpl != 0)
		return op_gp(cpu);
	uint64_t rsp = cpu->gpr[CPU_RCX], rip = cpu->gpr[CPU_RDX];
	if (to64 && (!address_is_canonical(rsp) || !address_is_canonical(rip)))
		return op_gp(cpu);
	cpu->gpr[CPU_RSP] = to64 ? rsp : (uint32_t)rsp;
	cpu->rip = to64 ? rip : (uint32_t)rip;
	enter_user(cpu, (uint16_t)(base + (to64 ? 32 : 16)), (uint16_t)(base + (to64 ? 40 : 24)), to64);
	return CPU_EXIT;
}
