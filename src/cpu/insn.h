/* SPDX-License-Identifier: MIT */
/*
 * Instructions that C executes: everything that touches system state, segments, ports, several addresses at
 * once, or that the host could not or must not run.
 *
 * The engine decodes an instruction into `struct cpu_insn`, sets cpu->rip to its address, brings gpr[] and flags into
 * struct cpu, and calls cpu_ops[insn->op]. The function works by the manual and returns what comes next.
 */
#ifndef NFOLD_CPU_INSN_H
#define NFOLD_CPU_INSN_H

#include "cpu/cpu.h"

enum cpu_next {
	CPU_CONTINUE, /* done; the instruction that follows is next; rip is not advanced yet, mode and mappings are
			 unchanged */
	CPU_EXIT,     /* done; cpu->rip is the next instruction; anything may have changed */
	CPU_FAULT,    /* cpu->pending holds the exception; rip is this instruction, or the start of a task that was
			 switched to */
	CPU_RESTART,  /* not done (REP): rip is this instruction, registers show the progress; serve events, then run it
			 again */
};

#define CPU_NO_REGISTER 0xff
#define CPU_RIP_BASE 16 /* memory base: RIP-relative, displacement already includes the instruction's length */

struct cpu_insn {
	uint16_t op; /* enum cpu_op */
	uint8_t length;
	uint8_t operand_size; /* bytes: 1, 2, 4, 8 for general registers; the memory operand's size for vector
				 instructions */
	uint8_t address_size; /* bytes: 2, 4, 8 */
	uint8_t stack_size;   /* bytes of SP that count: 2, 4, 8 */
	bool rep, repne, lock, rex_w;
	bool rex;    /* any REX: 8-bit registers 4-7 are SPL, BPL, SIL, DIL, otherwise AH, CH, DH, BH */
	uint8_t reg; /* ModRM.reg, extended: general, segment, control, debug or vector register */
	uint8_t
	    rm; /* register operand of ModRM.rm, valid when !has_memory; also the register of opcodes that embed one */
	bool has_memory;
	uint8_t segment; /* enum cpu_segment_name of the memory operand, override applied (string source too) */
	uint8_t base, index,
	    scale; /* registers or CPU_NO_REGISTER; scale 1, 2, 4, 8; for VSIB index is a vector register */
	int64_t displacement;
	uint64_t immediate;  /* sign-extended as the manual says; far pointers: offset; load_far_pointer: the segment
				register */
	uint64_t immediate2; /* ENTER: level; far pointers: selector */
	uint8_t vvvv;	     /* VEX register operand */
	uint8_t vector_size; /* bytes: 16, 32; 0 without VEX */
	uint8_t opcode;	     /* the last opcode byte, where one operation serves several (masked loads and stores) */
};

/* bit_memory's immediate. */
enum cpu_bit_kind { CPU_BIT_TEST, CPU_BIT_SET, CPU_BIT_RESET, CPU_BIT_COMPLEMENT };

/*
 * What the fields mean where the encoding does not say it, by operation.
 *
 * - mov_from_cr, mov_to_cr, mov_from_dr, mov_to_dr: `reg` is the control or debug register, `rm` the general one,
 *   whatever ModRM.mod says; operand sizes are ignored.
 * - lmsw, lldt, ltr: 16 bits of `rm` or memory. smsw, sldt, str: `rm` by operand_size, or 16 bits of memory.
 * - lgdt, lidt: operand_size 2 outside 64-bit mode loads 24 bits of base.
 * - invpcid: `reg` is the type. rdfsbase and its kin: `rm` by operand_size. rdpid: `rm`.
 * - pushf, popf, pusha, popa, enter, leave: operand_size is that of one push: 2, 4, or 8 in 64-bit mode.
 * - enter: immediate is the frame's size.
 * - loop, loope, loopne: immediate is the signed distance from the next instruction, address_size the width of the
 *   count, operand_size 2 cuts the target to 16 bits.
 * - in, out: operand_size, and `reg`: CPU_RDX for DX, CPU_NO_REGISTER for a port in the immediate.
 * - String instructions: operand_size is the element's; `rep` is F3 (REP, REPE), `repne` F2, at most one of them. With
 *   EFLAGS.TF each CPU_RESTART has recorded the single-step trap.
 * - aam, aad: immediate is the base. xlat: segment and address_size only. bound: operand_size of one bound.
 * - bit_memory: immediate is enum cpu_bit_kind, `reg` holds the bit offset, operand_size that of the element.
 * - fnstenv, fldenv, fnsave, frstor: operand_size 2 for the 16-bit formats, otherwise 4. fxsave to xrstor: rex_w.
 * - maskmovq, maskmovdqu: `reg` is the data, `rm` the mask; the address is (R)DI in `segment` by address_size.
 * - vmaskmov, vpmaskmov: operand_size is the element's (4, 8), `vvvv` the mask, `reg` the data; immediate 0 loads, 1
 *   stores.
 * - gather: operand_size is the element's, immediate the size of one index (4, 8), `index` the index register, `vvvv`
 *   the mask, `reg` the destination.
 */

/* The address of the instruction that follows. */
static inline uint64_t cpu_next_rip(const struct cpu *cpu, const struct cpu_insn *insn)
{
	uint64_t next = cpu->rip + insn->length;
	return cpu_code64(cpu) ? next : (uint32_t)next;
}

/* The offset of the memory operand, address size applied, without the segment's base. */
uint64_t cpu_effective_address(const struct cpu *cpu, const struct cpu_insn *insn);
/* The linear address of the memory operand with its segment checks. */
bool cpu_operand_linear(struct cpu *cpu, const struct cpu_insn *insn, unsigned size, enum tlb_access access,
			uint64_t *linear);

/* General registers by operand size; 32-bit writes clear the upper half; 8-bit ones honour insn->rex. */
uint64_t cpu_register(const struct cpu *cpu, const struct cpu_insn *insn, unsigned number, unsigned size);
void cpu_register_set(struct cpu *cpu, const struct cpu_insn *insn, unsigned number, unsigned size, uint64_t value);

/* X(NAME): every operation in C. CPU_OP_NAME runs cpu_op_name, which does what its mnemonic says in all modes. */
/* clang-format off */
#define CPU_OPS_CONTROL(X) /* cpu/control.c, cpu/debug.c, cpu/table.c, cpu/flags.c: system registers */ \
	X(mov_from_cr) X(mov_to_cr) X(mov_from_dr) X(mov_to_dr) X(lmsw) X(smsw) X(clts) X(invlpg) X(invpcid) X(invd) \
	X(wbinvd) X(lgdt) X(lidt) X(sgdt) X(sidt) X(lldt) X(ltr) X(sldt) X(str) X(hlt) X(rdpmc) X(xgetbv) X(xsetbv) \
	X(rdfsbase) X(rdgsbase) X(wrfsbase) X(wrgsbase) X(pause)
#define CPU_OPS_FLAGS(X) /* cpu/flags.c: what kernels do at each entry and around each critical section */ \
	X(stac) X(clac) X(swapgs) X(cli) X(sti) X(pushf) X(popf)
#define CPU_OPS_MODEL(X) /* cpu/msr.c */ \
	X(cpuid) X(rdmsr) X(wrmsr) X(rdtsc) X(rdtscp) X(rdpid)
#define CPU_OPS_TRANSFER(X) /* cpu/transfer.c, cpu/syscall.c, cpu/segment.c: far transfers and segment loads */ \
	X(int_n) X(int3) X(int1) X(into) X(iret) X(syscall) X(sysret) X(sysenter) X(sysexit) X(call_far) X(jmp_far) \
	X(ret_far) X(mov_to_segment) X(mov_from_segment) X(pop_segment) X(push_segment) X(load_far_pointer) X(lar) \
	X(lsl) X(verr) X(verw) X(arpl) X(ud)
#define CPU_OPS_STRING(X) /* cpu/string.c */ \
	X(movs) X(cmps) X(stos) X(lods) X(scas)
#define CPU_OPS_PORT(X) /* cpu/port.c, cpu/string.c */ \
	X(ins) X(outs) X(in) X(out)
#define CPU_OPS_LEGACY(X) /* cpu/legacy.c, cpu/atomic.c: what 64-bit mode dropped, and rare integer instructions */ \
	X(daa) X(das) X(aaa) X(aas) X(aam) X(aad) X(bound) X(enter) X(leave) X(pusha) X(popa) X(salc) X(xlat) \
	X(bit_memory) X(lahf) X(sahf) X(loop) X(loope) X(loopne)
#define CPU_OPS_VECTOR(X) /* cpu/xsave.c, cpu/x87.c, cpu/vector.c: state save areas, masked and gathered accesses */ \
	X(fxsave) X(fxrstor) X(xsave) X(xsaveopt) X(xsavec) X(xrstor) X(fnstenv) X(fldenv) X(fnsave) X(frstor) \
	X(ldmxcsr) X(stmxcsr) X(fwait) X(maskmovq) X(maskmovdqu) X(vmaskmov) X(vpmaskmov) X(gather) X(clflush)

#define CPU_OPS(X) \
	CPU_OPS_CONTROL(X) CPU_OPS_FLAGS(X) CPU_OPS_MODEL(X) CPU_OPS_TRANSFER(X) CPU_OPS_STRING(X) CPU_OPS_PORT(X) \
	CPU_OPS_LEGACY(X) CPU_OPS_VECTOR(X)
/* clang-format on */

enum cpu_op {
#define X(name) CPU_OP_##name,
	CPU_OPS(X)
#undef X
	    CPU_OP_COUNT
};

typedef enum cpu_next cpu_op_function(struct cpu *cpu, const struct cpu_insn *insn);

#define X(name) cpu_op_function cpu_op_##name;
CPU_OPS(X)
#undef X

extern cpu_op_function *const cpu_ops[CPU_OP_COUNT];

#endif
