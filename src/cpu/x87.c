/* SPDX-License-Identifier: MIT */
/* FNSTENV, FLDENV, FNSAVE, FRSTOR, FWAIT. SDM volume 1, 8.1.9 and 8.1.10. */
#include "cpu/x87.h"

#include "cpu/op.h"

#define FIP_MARKER UINT64_C(1)
#define FCW_WRITABLE 0x1f3f
#define FCW_FIXED 0x40
#define FLAGS_EXCEPTION 0x3fu
#define REGISTER_BYTES 10u

struct x87_pointers x87_pointers(const struct cpu *cpu)
{
	if (load_le(cpu->xsave + XSAVE_FIP, 8) != FIP_MARKER)
		return (struct x87_pointers){0};
	return (struct x87_pointers){cpu->fpu_ip, cpu->fpu_dp, cpu->fpu_opcode};
}

void x87_set_pointers(struct cpu *cpu, struct x87_pointers pointers)
{
	bool any = (pointers.ip | pointers.dp | pointers.opcode) != 0;

	cpu->fpu_ip = pointers.ip;
	cpu->fpu_dp = pointers.dp;
	cpu->fpu_opcode = pointers.opcode & 0x7ff;
	store_le(cpu->xsave + XSAVE_FOP, 0, 2);
	store_le(cpu->xsave + XSAVE_FIP, any ? FIP_MARKER : 0, 8);
	store_le(cpu->xsave + XSAVE_FDP, 0, 8);
	cpu_xstate_changed(cpu, XSTATE_X87);
}

/* The area holds the registers in stack order, so a new top of stack turns them round: physical registers stay what
 * they are. */
static void set_top(struct cpu *cpu, unsigned top)
{
	unsigned old = (unsigned)(load_le(cpu->xsave + XSAVE_FSW, 2) >> 11) & 7;
	uint8_t registers[8 * 16];

	if (top == old)
		return;
	copy_bytes(registers, cpu->xsave + XSAVE_ST, sizeof(registers));
	for (unsigned i = 0; i < 8; i++)
		copy_bytes(cpu->xsave + XSAVE_ST + i * 16, registers + ((i + top - old) & 7) * 16, 16);
}

void x87_set_control(struct cpu *cpu, uint16_t fcw, uint16_t fsw)
{
	set_top(cpu, (fsw >> 11) & 7);
	fcw = (uint16_t)((fcw & FCW_WRITABLE) | FCW_FIXED);
	fsw &= (uint16_t) ~(X87_FSW_ES | X87_FSW_B);
	if (fsw & ~fcw & FLAGS_EXCEPTION)
		fsw |= X87_FSW_ES | X87_FSW_B;
	store_le(cpu->xsave + XSAVE_FCW, fcw, 2);
	store_le(cpu->xsave + XSAVE_FSW, fsw, 2);
	cpu_xstate_changed(cpu, XSTATE_X87);
}

void x87_load_image(struct cpu *cpu, const uint8_t *image)
{
	x87_set_control(cpu, (uint16_t)load_le(image + XSAVE_FCW, 2), (uint16_t)load_le(image + XSAVE_FSW, 2));
	store_le(cpu->xsave + XSAVE_FTW, image[XSAVE_FTW], 2);
	for (unsigned i = 0; i < 8; i++)
		copy_bytes(cpu->xsave + XSAVE_ST + i * 16, image + XSAVE_ST + i * 16, REGISTER_BYTES);
}

void x87_init(struct cpu *cpu)
{
	x87_set_control(cpu, X87_FCW_INIT, 0);
	store_le(cpu->xsave + XSAVE_FTW, 0, 2);
	x87_set_pointers(cpu, (struct x87_pointers){0});
}

bool x87_available(struct cpu *cpu)
{
	return !(cpu->mode & (MODE_FPU_EM | MODE_FPU_TS)) || cpu_fault(cpu, VECTOR_NM);
}

bool x87_no_pending(struct cpu *cpu)
{
	return !(load_le(cpu->xsave + XSAVE_FSW, 2) & X87_FSW_ES) || cpu_fault(cpu, VECTOR_MF);
}

#define BLOCK 64u

bool x87_read_block(struct cpu *cpu, uint64_t linear, uint8_t *to, unsigned size)
{
	for (unsigned done = 0; done < size; done += BLOCK) {
		unsigned part = size - done < BLOCK ? size - done : BLOCK;
		if (!cpu_read(cpu, x87_block_address(cpu, linear, done), to + done, part, cpu_view(cpu)))
			return false;
	}
	return true;
}

bool x87_check_write(struct cpu *cpu, uint64_t linear, unsigned size)
{
	enum tlb_view view = cpu_view(cpu);

	return cpu_check_write(cpu, linear, 1, view) &&
	       cpu_check_write(cpu, x87_block_address(cpu, linear, size - 1), 1, view);
}

bool x87_write_block(struct cpu *cpu, uint64_t linear, const uint8_t *from, unsigned size)
{
	enum tlb_view view = cpu_view(cpu);

	if (!x87_check_write(cpu, linear, size))
		return false;
	for (unsigned done = 0; done < size; done += BLOCK) {
		unsigned part = size - done < BLOCK ? size - done : BLOCK;
		if (!cpu_write(cpu, x87_block_address(cpu, linear, done), from + done, part, view))
			return false;
	}
	return true;
}

/* ---- the environment: 14 or 28 bytes ---- */

/* The full tag of a register that is not empty: 0 valid, 1 zero, 2 special. */
static unsigned register_tag(const uint8_t *value)
{
	uint64_t significand = load_le(value, 8);
	unsigned exponent = (unsigned)load_le(value + 8, 2) & 0x7fff;

	if (exponent == 0 && significand == 0)
		return 1;
	if (exponent == 0 || exponent == 0x7fff || !(significand >> 63))
		return 2;
	return 0;
}

/* The image has one bit for each physical register and the registers in stack order. */
static uint16_t full_tags(const struct cpu *cpu)
{
	unsigned top = (unsigned)(load_le(cpu->xsave + XSAVE_FSW, 2) >> 11) & 7, tags = 0;

	for (unsigned physical = 0; physical < 8; physical++) {
		unsigned stack = (physical - top) & 7, tag = 3;
		if (cpu->xsave[XSAVE_FTW] & (1u << physical))
			tag = register_tag(cpu->xsave + XSAVE_ST + stack * 16);
		tags |= tag << (physical * 2);
	}
	return (uint16_t)tags;
}

static uint8_t abridged_tags(uint16_t tags)
{
	unsigned abridged = 0;

	for (unsigned i = 0; i < 8; i++)
		if (((tags >> (i * 2)) & 3) != 3)
			abridged |= 1u << i;
	return (uint8_t)abridged;
}

/* Real and virtual-8086 mode have linear addresses with the opcode between, protected mode selectors, which are zero
 * here. */
static void environment_pointers(const struct cpu *cpu, uint32_t word[7], unsigned size)
{
	struct x87_pointers pointers = x87_pointers(cpu);
	uint32_t ip = (uint32_t)pointers.ip, dp = (uint32_t)pointers.dp;

	word[3] = ip;
	word[5] = dp;
	if (!cpu_real_or_v86(cpu)) {
		word[4] = size == 4 ? (uint32_t)pointers.opcode << 16 : 0;
		word[6] = size == 4 ? 0xffff0000 : 0;
		return;
	}
	word[4] = (ip >> 16) << 12 | pointers.opcode;
	word[6] = (dp >> 16) << 12;
	if (size == 4) {
		word[3] = (ip & 0xffff) | 0xffff0000;
		word[5] = (dp & 0xffff) | 0xffff0000;
	}
}

static void environment_store(const struct cpu *cpu, uint8_t *image, unsigned size)
{
	uint32_t word[7];

	word[0] = (uint32_t)load_le(cpu->xsave + XSAVE_FCW, 2) | 0xffff0000;
	word[1] = (uint32_t)load_le(cpu->xsave + XSAVE_FSW, 2) | 0xffff0000;
	word[2] = full_tags(cpu) | 0xffff0000;
	environment_pointers(cpu, word, size);
	for (unsigned i = 0; i < 7; i++)
		store_le(image + i * size, word[i], size);
}

static struct x87_pointers environment_load_pointers(const struct cpu *cpu, const uint32_t word[7], unsigned size)
{
	struct x87_pointers pointers = {word[3], word[5], 0};

	if (!cpu_real_or_v86(cpu)) {
		pointers.opcode = size == 4 ? (uint16_t)(word[4] >> 16) : 0;
		return pointers;
	}
	pointers.ip = (word[3] & 0xffff) | ((uint64_t)(word[4] >> 12) << 16);
	pointers.dp = (word[5] & 0xffff) | ((uint64_t)(word[6] >> 12) << 16);
	pointers.opcode = word[4] & 0x7ff;
	return pointers;
}

static void environment_load(struct cpu *cpu, const uint8_t *image, unsigned size)
{
	uint32_t word[7];

	for (unsigned i = 0; i < 7; i++)
		word[i] = (uint32_t)load_le(image + i * size, size);
	x87_set_control(cpu, (uint16_t)word[0], (uint16_t)word[1]);
	store_le(cpu->xsave + XSAVE_FTW, abridged_tags((uint16_t)word[2]), 2);
	x87_set_pointers(cpu, environment_load_pointers(cpu, word, size));
}

static unsigned word_size(const struct cpu_insn *insn)
{
	return insn->operand_size == 2 ? 2 : 4;
}

/* Ends with the memory operand's address checked and the state parked. Loads wait for pending exceptions first. */
static bool environment_operand(struct cpu *cpu, const struct cpu_insn *insn, unsigned size, enum tlb_access access,
				uint64_t *linear)
{
	if (!x87_available(cpu))
		return false;
	cpu_fpu_park(cpu);
	if (access == TLB_READ && !x87_no_pending(cpu))
		return false;
	return cpu_operand_linear(cpu, insn, size, access, linear) && op_aligned(cpu, *linear, word_size(insn));
}

enum cpu_next cpu_op_fnstenv(struct cpu *cpu, const struct cpu_insn *insn)
{
	unsigned size = word_size(insn);
	uint8_t image[28];
	uint64_t linear;

	if (!environment_operand(cpu, insn, size * 7, TLB_WRITE, &linear))
		return CPU_FAULT;
	environment_store(cpu, image, size);
	if (!cpu_write(cpu, linear, image, size * 7, cpu_view(cpu)))
		return CPU_FAULT;
	/* All exceptions are masked afterwards. */
	x87_set_control(cpu, (uint16_t)load_le(cpu->xsave + XSAVE_FCW, 2) | FLAGS_EXCEPTION,
			(uint16_t)load_le(cpu->xsave + XSAVE_FSW, 2));
	return op_done(cpu, insn);
}

enum cpu_next cpu_op_fldenv(struct cpu *cpu, const struct cpu_insn *insn)
{
	unsigned size = word_size(insn);
	uint8_t image[28];
	uint64_t linear;

	if (!environment_operand(cpu, insn, size * 7, TLB_READ, &linear) ||
	    !cpu_read(cpu, linear, image, size * 7, cpu_view(cpu)))
		return CPU_FAULT;
	environment_load(cpu, image, size);
	return op_done(cpu, insn);
}

enum cpu_next cpu_op_fnsave(struct cpu *cpu, const struct cpu_insn *insn)
{
	unsigned size = word_size(insn), environment = size * 7;
	uint8_t image[28 + 8 * REGISTER_BYTES];
	uint64_t linear;

	if (!environment_operand(cpu, insn, environment + 8 * REGISTER_BYTES, TLB_WRITE, &linear))
		return CPU_FAULT;
	environment_store(cpu, image, size);
	for (unsigned i = 0; i < 8; i++)
		copy_bytes(image + environment + i * REGISTER_BYTES, cpu->xsave + XSAVE_ST + i * 16, REGISTER_BYTES);
	if (!x87_write_block(cpu, linear, image, environment + 8 * REGISTER_BYTES))
		return CPU_FAULT;
	x87_init(cpu);
	return op_done(cpu, insn);
}

enum cpu_next cpu_op_frstor(struct cpu *cpu, const struct cpu_insn *insn)
{
	unsigned size = word_size(insn), environment = size * 7;
	uint8_t image[28 + 8 * REGISTER_BYTES];
	uint64_t linear;

	if (!environment_operand(cpu, insn, environment + 8 * REGISTER_BYTES, TLB_READ, &linear) ||
	    !x87_read_block(cpu, linear, image, environment + 8 * REGISTER_BYTES))
		return CPU_FAULT;
	environment_load(cpu, image, size);
	for (unsigned i = 0; i < 8; i++)
		copy_bytes(cpu->xsave + XSAVE_ST + i * 16, image + environment + i * REGISTER_BYTES, REGISTER_BYTES);
	return op_done(cpu, insn);
}

enum cpu_next cpu_op_fwait(struct cpu *cpu, const struct cpu_insn *insn)
{
	if ((cpu->mode & (MODE_FPU_MP | MODE_FPU_TS)) == (MODE_FPU_MP | MODE_FPU_TS))
		return op_fault(cpu, VECTOR_NM);
	cpu_fpu_park(cpu);
	return x87_no_pending(cpu) ? op_done(cpu, insn) : CPU_FAULT;
}
