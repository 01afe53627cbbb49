/* SPDX-License-Identifier: MIT */
#include "cpu/port.h"

#include "cpu/debug.h"
#include "cpu/op.h"

#define TSS_IO_MAP_BASE 102 /* 16 bits at this offset of a 32- or 64-bit TSS */

/* Outside long mode linear addresses wrap at 4 GiB. */
static uint64_t tss_linear(const struct cpu *cpu, uint64_t offset)
{
	uint64_t linear = cpu->tr.base + offset;
	return cpu_long_mode(cpu) ? linear : (uint32_t)linear;
}

/* Two bytes of the bitmap are read even for one port: SDM 1, 19.5.2 asks for a byte of ones behind it. */
bool port_check(struct cpu *cpu, uint16_t port, unsigned size)
{
	unsigned type = cpu->tr.access & (SEGMENT_P | SEGMENT_S | SEGMENT_TYPE);
	uint64_t map, bits;

	if ((cpu->mode & MODE_REAL) || (cpu->cpl <= op_iopl(cpu) && !(cpu->mode & MODE_VM86)))
		return true;
	if ((type != (SEGMENT_P | DESCRIPTOR_TSS_BUSY) && type != (SEGMENT_P | DESCRIPTOR_TSS)) ||
	    cpu->tr.limit < TSS_IO_MAP_BASE + 1)
		return cpu_fault_code(cpu, VECTOR_GP, 0);
	if (!cpu_read_value(cpu, tss_linear(cpu, TSS_IO_MAP_BASE), 2, CPU_VIEW_IMPLICIT(cpu), &map))
		return false;
	map += port / 8;
	if (map + 1 > cpu->tr.limit)
		return cpu_fault_code(cpu, VECTOR_GP, 0);
	if (!cpu_read_value(cpu, tss_linear(cpu, map), 2, CPU_VIEW_IMPLICIT(cpu), &bits))
		return false;
	if ((bits >> (port & 7)) & ((1u << size) - 1))
		return cpu_fault_code(cpu, VECTOR_GP, 0);
	return true;
}

/* I/O breakpoints trap after the access (SDM 3B 18.2.5): CR4.DE enables their type. */
static void port_breakpoints(struct cpu *cpu, uint16_t port, unsigned size)
{
	if (!(cpu->cr4 & CR4_DE))
		return;
	for (unsigned i = 0; i < 4; i++) {
		uint64_t length = breakpoint_length(cpu->dr[7], i);
		uint64_t start = cpu->dr[i] & ~(length - 1);

		if (!breakpoint_is_enabled(cpu->dr[7], i) || breakpoint_type(cpu->dr[7], i) != BREAKPOINT_IO)
			continue;
		if (port < start + length && start < (uint64_t)port + size) {
			cpu->debug_trap = true;
			cpu->debug_dr6 |= BIT64(i);
		}
	}
}

static enum ledger_state device_enter(struct cpu *cpu)
{
	enum ledger_state state;

	cpu_fpu_park(cpu);
	state = ledger_enter(cpu->ledger, LEDGER_DEVICE);
	cpu->device_lock(cpu->device_lock_opaque);
	return state;
}

static void device_leave(struct cpu *cpu, enum ledger_state state)
{
	cpu->device_unlock(cpu->device_lock_opaque);
	ledger_enter(cpu->ledger, state);
}

uint64_t port_read(struct cpu *cpu, uint16_t port, unsigned size)
{
	enum ledger_state state = device_enter(cpu);
	uint64_t value;

	value = io_read(cpu->ports, port, size);
	cpu_count_with(cpu, LEDGER_COUNT_PORT_READ, size, port, value);
	device_leave(cpu, state);
	port_breakpoints(cpu, port, size);
	return value;
}

uint64_t port_read_run(struct cpu *cpu, uint16_t port, unsigned size, uint8_t *to, uint64_t count)
{
	enum ledger_state state = device_enter(cpu);
	uint64_t done = 0;

	do {
		uint64_t value = io_read(cpu->ports, port, size);
		cpu_count_with(cpu, LEDGER_COUNT_PORT_READ, size, port, value);
		store_le(to + done * size, value, size);
	} while (++done < count && __atomic_load_n(&cpu->run, __ATOMIC_RELAXED) != 0);
	device_leave(cpu, state);
	return done;
}

void port_write(struct cpu *cpu, uint16_t port, unsigned size, uint64_t value)
{
	enum ledger_state state = device_enter(cpu);

	cpu_count_with(cpu, LEDGER_COUNT_PORT_WRITE, size, port, value & size_mask(size));
	io_write(cpu->ports, port, size, value & size_mask(size));
	device_leave(cpu, state);
	port_breakpoints(cpu, port, size);
}

/* The port of IN and OUT: DX, or a byte of the instruction. */
static uint16_t port_operand(const struct cpu *cpu, const struct cpu_insn *insn)
{
	return (uint16_t)(insn->reg == CPU_NO_REGISTER ? insn->immediate & 0xff : cpu->gpr[CPU_RDX]);
}

enum cpu_next cpu_op_in(struct cpu *cpu, const struct cpu_insn *insn)
{
	uint16_t port = port_operand(cpu, insn);

	if (!port_check(cpu, port, insn->operand_size))
		return CPU_FAULT;
	cpu_register_set(cpu, insn, CPU_RAX, insn->operand_size, port_read(cpu, port, insn->operand_size));
	return op_done(cpu, insn);
}

enum cpu_next cpu_op_out(struct cpu *cpu, const struct cpu_insn *insn)
{
	uint16_t port = port_operand(cpu, insn);

	if (!port_check(cpu, port, insn->operand_size))
		return CPU_FAULT;
	port_write(cpu, port, insn->operand_size, cpu->gpr[CPU_RAX]);
	return op_done(cpu, insn);
}
