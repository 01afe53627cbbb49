/* SPDX-License-Identifier: MIT */
/*
 * Random programs of 16-bit code in real mode, virtual-8086 mode and protected mode, and of 32-bit code over small
 * segments. Each is a dozen instructions of defined result with forward jumps only; registers, flags, where it ended
 * and all memory go into one number for each batch. RANDOM16_SHOW names a batch of which every program becomes a fact.
 */
#include "real.h"

#define CODE16 0x50
#define DATA16 0x58
#define EXTRA16 0x60
#define STACK16 0x68
#define CODE32 0x70
#define STACK32 0x78
#define BATCHES 8
#define PROGRAMS 40
#define PROGRAM_SIZE 160
/* AF is undefined after logic and shifts. */
#define FLAGS_KNOWN 0x0cc5u
#ifndef RANDOM16_SEED
#define RANDOM16_SEED 0
#endif
#ifndef RANDOM16_SHOW
#define RANDOM16_SHOW BATCHES
#endif

static uint64_t random_state;

static unsigned random_below(unsigned limit)
{
	random_state ^= random_state >> 12;
	random_state ^= random_state << 25;
	random_state ^= random_state >> 27;
	return (unsigned)((random_state * 0x2545f4914f6cdd1d) >> 33) % limit;
}

/* ---- programs ---- */

static uint8_t program[PROGRAM_SIZE + 32];
static unsigned length;

static void byte(unsigned value)
{
	program[length++] = (uint8_t)value;
}

static void bytes(unsigned count)
{
	for (; count > 0; count--)
		byte(random_below(256));
}

struct prefixes {
	bool wide, wide_address;
};

static bool protected_mode, code32;

/* Other sizes than the segment's now and then, and other segments. */
static struct prefixes prefixes(void)
{
	static const uint8_t segments[] = {0x26, 0x36, 0x3e, 0x64, 0x65, 0x2e};
	bool other_operand = random_below(4) == 0, other_address = random_below(8) == 0;

	if (random_below(6) == 0)
		byte(segments[random_below(protected_mode ? 6 : 5)]); /* CS holds the way back */
	if (other_operand)
		byte(0x66);
	if (other_address)
		byte(0x67);
	return (struct prefixes){other_operand != code32, other_address != code32};
}

/* A register: SP stays even, or real mode could not take the interrupt at the end. */
static unsigned any(void)
{
	unsigned reg = random_below(8);
	return reg == 4 && !protected_mode ? 5 : reg;
}

static void memory(unsigned reg, bool wide_address)
{
	unsigned mod = random_below(3), rm = random_below(8);

	byte(mod << 6 | reg << 3 | rm);
	if (wide_address) {
		if (rm == 4) {
			unsigned base = random_below(8);
			byte(random_below(32) << 3 | base);
			rm = base;
		}
		bytes(mod == 1 ? 1 : 0);
		if (mod == 2 || (mod == 0 && rm == 5)) {
			bytes(2);
			byte(0);
			byte(0);
		}
	} else {
		bytes(mod == 1 ? 1 : mod == 2 || rm == 6 ? 2 : 0);
	}
}

static void operand(unsigned reg, bool wide_address)
{
	if (random_below(2))
		byte(0xc0 | reg << 3 | any());
	else
		memory(reg, wide_address);
}

static void alu(struct prefixes p)
{
	static const uint8_t more[] = {0x84, 0x85, 0x86, 0x87, 0x88, 0x89, 0x8a, 0x8b};

	byte(random_below(4) ? random_below(8) << 3 | random_below(4) : more[random_below(8)]);
	operand(any(), p.wide_address);
}

static void alu_immediate(struct prefixes p)
{
	unsigned opcode = 0x80 + random_below(4);
	if (opcode == 0x82)
		opcode = 0xc6 + random_below(2);
	bool move = opcode >= 0xc6;
	byte(opcode);
	operand(move ? 0 : any(), p.wide_address);
	bytes(opcode == 0x81 || opcode == 0xc7 ? (p.wide ? 4 : 2) : 1);
}

static void accumulator(struct prefixes p)
{
	unsigned wide = random_below(2);
	byte(random_below(8) << 3 | 4 | wide);
	bytes(wide ? (p.wide ? 4 : 2) : 1);
}

static void one_byte(struct prefixes p)
{
	static const uint8_t list[] = {0x98, 0x99, 0xf5, 0xf8, 0xf9, 0xfc, 0xfd, 0x60, 0x61, 0xd7, 0xa4,
				       0xa5, 0xa6, 0xa7, 0xaa, 0xab, 0xac, 0xad, 0xae, 0xaf, 0xc9};
	(void)p;
	if (random_below(2))
		byte(0x40 + random_below(4) * 8 + any());
	else
		byte(list[random_below(sizeof(list) - (protected_mode ? 0 : 1))]);
}

static void repeated(struct prefixes p)
{
	static const uint8_t list[] = {0xa4, 0xa5, 0xaa, 0xab, 0xac, 0xad};
	(void)p;
	byte(0xf3);
	byte(list[random_below(sizeof(list))]);
}

/* All of a register of the segment's size. */
static void register_set(unsigned reg, unsigned value)
{
	byte(0xb8 + reg);
	byte(value & 0xff);
	byte(value >> 8);
	if (code32) {
		byte(0);
		byte(0);
	}
}

/* Far from the ends of the segments: flags after a fault are not what Bochs says (SDM 2B REP). */
static void compare(struct prefixes p)
{
	static const uint8_t list[] = {0xa6, 0xa7, 0xae, 0xaf};
	(void)p;
	for (unsigned reg = 6; reg < 8; reg++)
		register_set(reg, 0x1000 + random_below(0x4000));
	register_set(1, random_below(0x200));
	if (random_below(3) == 0)
		byte(0x66);
	byte(random_below(2) ? 0xf2 : 0xf3);
	byte(list[random_below(4)]);
}

static void unary(struct prefixes p)
{
	static const uint8_t f6[] = {2, 3}, ff[] = {0, 1, 6};
	unsigned choice = random_below(4);
	if (choice < 2) {
		byte(0xf6 + choice);
		operand(f6[random_below(2)], p.wide_address);
	} else {
		byte(0xfe + choice - 2);
		operand(choice == 2 ? random_below(2) : ff[random_below(3)], p.wide_address);
	}
}

static void shift(struct prefixes p)
{
	static const uint8_t kinds[] = {0, 1, 2, 3, 4, 5, 7};
	byte(0xd0 + random_below(2));
	operand(kinds[random_below(7)], p.wide_address);
}

static void immediates(struct prefixes p)
{
	unsigned choice = random_below(4);
	if (choice == 0) {
		byte(0xb0 + any());
		bytes(1);
	} else if (choice == 1) {
		byte(0xb8 + any());
		bytes(2);
		if (p.wide) {
			byte(0);
			byte(random_below(8) ? 0 : 0x80);
		}
	} else if (choice == 2) {
		byte(0x68);
		bytes(p.wide ? 4 : 2);
	} else {
		byte(0x6a);
		bytes(1);
	}
}

static void forward(struct prefixes p)
{
	static const uint8_t others[] = {0xe0, 0xe1, 0xe2, 0xe3, 0xeb};
	unsigned skip = random_below(5);
	(void)p;
	byte(random_below(3) ? 0x70 + random_below(16) : others[random_below(5)]);
	byte(skip);
	for (; skip > 0; skip--)
		byte(0x40 + any()); /* so that a jump lands on an instruction */
}

static void call(struct prefixes p)
{
	byte(0xe8);
	byte(random_below(2));
	for (unsigned i = p.wide ? 3 : 1; i > 0; i--)
		byte(0);
	byte(0x90);
}

static void two_byte(struct prefixes p)
{
	unsigned choice = random_below(6);
	byte(0x0f);
	switch (choice) {
	case 0:
		byte(0x90 + random_below(16));
		operand(0, p.wide_address);
		break;
	case 1:
		byte(0x40 + random_below(16));
		operand(any(), p.wide_address);
		break;
	case 2:
		byte(0xb6 + random_below(2) + random_below(2) * 8);
		operand(any(), p.wide_address);
		break;
	case 3:
		byte(0xc0 + random_below(2));
		operand(any(), p.wide_address);
		break;
	case 4:
		byte(0xb0 + random_below(2));
		operand(any(), p.wide_address);
		break;
	default:
		byte(random_below(2) ? 0xa4 : 0xac);
		operand(any(), p.wide_address);
		byte(1);
		break;
	}
}

static void frames(struct prefixes p)
{
	unsigned choice = random_below(4);
	if (choice == 0) {
		byte(0xc8);
		byte(random_below(32) * 2);
		byte(0);
		byte(random_below(4));
	} else if (choice == 1) {
		byte(0x8f);
		operand(0, p.wide_address);
	} else if (choice == 2) {
		byte(0x8d);
		memory(any(), p.wide_address);
	} else {
		byte(0xa0 + random_below(4));
		bytes(2);
		if (p.wide_address) {
			byte(0);
			byte(0);
		}
	}
}

/* A register that a loop may change: not its count, not SP. */
static unsigned loop_register(void)
{
	static const uint8_t list[] = {0, 2, 3, 5, 6, 7};
	return list[random_below(6)];
}

static void loop_body(void)
{
	unsigned choice = random_below(6);

	if (choice < 4 && random_below(3) == 0)
		byte(0x66);
	if (choice == 0) {
		byte(0x40 + random_below(2) * 8 + loop_register());
	} else if (choice == 1) {
		byte(random_below(8) << 3 | 1);
		byte(0xc0 | loop_register() << 3 | loop_register());
	} else if (choice == 2) {
		byte(random_below(8) << 3 | 1 | random_below(2) * 2);
		byte(loop_register() << 3 | (code32 ? 5 : 6)); /* displacement alone */
		bytes(1);
		byte(random_below(0x60));
		if (code32) {
			byte(0);
			byte(0);
		}
	} else if (choice == 3) {
		byte(0xd1);
		byte(0xc0 | random_below(6) << 3 | loop_register());
	} else if (choice == 4) {
		byte(0x70 + random_below(16));
		byte(1);
		byte(0x40 + random_below(2) * 8 + loop_register());
	} else {
		byte(0x0f);
		byte(0x90 + random_below(16));
		byte(0xc0 | random_below(2) << 1);
	}
}

/* Often enough to be linked and run hot; flags go round. */
static void loop(struct prefixes p)
{
	(void)p;
	register_set(1, 2 + random_below(60));
	unsigned top = length;
	for (unsigned count = 1 + random_below(6); count > 0; count--)
		loop_body();
	byte(random_below(3) ? 0xe2 : 0xe0 + random_below(2));
	byte(top - length - 1);
}

static unsigned data_selector; /* of another data segment of the mode */

static void segment_load(unsigned name, unsigned selector)
{
	register_set(0, selector);
	byte(0x8e);
	byte(0xc0 | name << 3);
}

static void segment(void)
{
	static const uint8_t names[] = {0, 3, 4, 5};
	segment_load(names[random_below(4)], data_selector ? data_selector : 0x3000 + random_below(0x3000));
}

static void program_make(void)
{
	static void (*const kinds[])(struct prefixes) = {
	    alu,      alu,	alu,	  alu_immediate, alu_immediate, accumulator, one_byte, one_byte,
	    repeated, unary,	shift,	  immediates,	 immediates,	forward,     forward,  compare,
	    call,     two_byte, two_byte, frames,	 loop,		frames};

	length = 0;
	if (protected_mode) { /* what IRET left is flat */
		segment_load(3, DATA16 | 3);
		segment_load(0, EXTRA16 | 3);
	}
	for (unsigned count = 6 + random_below(10); count > 0 && length < PROGRAM_SIZE - 60; count--) {
		if (random_below(12) == 0) {
			segment();
			continue;
		}
		void (*kind)(struct prefixes) = kinds[random_below(sizeof(kinds) / sizeof(kinds[0]))];
		if (kind == alu_immediate || kind == alu || kind == two_byte || kind == unary || kind == frames ||
		    kind == shift || kind == one_byte || kind == repeated || kind == accumulator ||
		    kind == immediates || kind == call) {
			kind(prefixes());
		} else {
			kind((struct prefixes){0});
		}
	}
	for (unsigned i = 0; i < 6; i++) /* a jump may reach this far */
		byte(0x90);
	byte(0xcd);
	byte(REAL_END);
}

/* ---- runs ---- */

static uint32_t hash;

static void mix(uint32_t value)
{
	hash = (hash ^ value) * 0x01000193u;
	hash ^= hash >> 15;
}

static uint32_t pick(void)
{
	uint32_t low = random_below(8) ? random_below(0xff00) : 0xfff0 + random_below(16);
	return random_below(4) ? low : low | random_below(0x10000) << 16;
}

static void fill(void)
{
	for (unsigned k = 0; k < 0x40000; k += 4)
		*(uint32_t *)(void *)real_data(k) = k * 0x9e3779b1u ^ random_below(0x10000);
}

static void mix_memory(void)
{
	for (unsigned k = 0; k < 0x40000; k += 4)
		mix(*(uint32_t *)(void *)real_data(k));
}

static uint32_t start[8];

static void start_make(void)
{
	for (unsigned i = 0; i < 8; i++)
		start[i] = pick();
	start[1] &= random_below(4) ? 0xff : 0xffff; /* not too long a repetition */
	start[4] &= ~1u;
}

static void run_real(void)
{
	volatile uint32_t *state = (volatile uint32_t *)&real_regs;

	data_selector = 0;
	protected_mode = false;
	program_make();
	real_regs_clear();
	real_regs.fs = 0x5800;
	real_regs.gs = 0x3800;
	for (unsigned i = 0; i < 8; i++)
		state[i] = start[i];
	real_run_bytes(program, program + length);
	for (unsigned i = 0; i < 8; i++)
		mix(state[i]);
	mix(real_regs.es);
	mix(real_regs.ds);
	mix(real_regs.vector);
	mix(real_regs.ip);
	mix(real_regs.flags & FLAGS_KNOWN);
}

static void mix_trap(void)
{
	mix(trap.vector);
	mix(trap.ip);
	mix(trap.flags & FLAGS_KNOWN);
	mix(trap.sp & 0xffff);
	mix(regs.ax);
	mix(regs.cx);
	mix(regs.dx);
	mix(regs.bx);
	mix(regs.bp);
	mix(regs.si);
	mix(regs.di);
}

static void run_v86(void)
{
	volatile uint32_t *state = (volatile uint32_t *)&real_regs;

	data_selector = 0;
	protected_mode = false;
	program_make();
	real_regs_clear();
	real_regs.fs = 0x5800;
	real_regs.gs = 0x3800;
	for (unsigned i = 0; i < 8; i++)
		state[i] = start[i];
	v86_run_bytes(program, program + length, 0);
	mix_trap();
}

static void run_segments(unsigned code, unsigned stack)
{
	data_selector = (random_below(2) ? DATA16 : EXTRA16) | 3;
	protected_mode = true;
	program_make();
	copy_bytes((void *)(REAL_LINEAR + REAL_FRAGMENT), program, length);
	for (unsigned i = 0; i < 8; i++)
		((word *)&regs)[i] = start[i];
	run_at(code | 3, REAL_FRAGMENT, stack | 3, code32 ? start[4] & 0xffff : start[4]);
	mix_trap();
}

static void run_protected(void)
{
	run_segments(CODE16, STACK16);
}

static void run_protected32(void)
{
	code32 = true;
	run_segments(CODE32, STACK32);
	code32 = false;
}

static void batch_run(const char *prefix, void (*one)(void), unsigned batch)
{
	char name[] = "batch.00", number[] = "program.00";

	fact_prefix = prefix;
	name[6] = (char)('0' + batch / 10);
	name[7] = (char)('0' + batch % 10);
	random_state = 0x9e3779b97f4a7c15ull + (RANDOM16_SEED * 1000 + batch) * 0x100000001b3ull;
	hash = batch;
	fill();
	for (unsigned i = 0; i < PROGRAMS; i++) {
		start_make();
		one();
		if (batch != RANDOM16_SHOW)
			continue;
		number[8] = (char)('0' + i / 10);
		number[9] = (char)('0' + i % 10);
		mix_memory();
		fact(number, hash);
	}
	mix_memory();
	fact(name, hash);
	fact_prefix = "";
}

void guest_main(void)
{
	real_start();
	gdt_set(CODE16, descriptor(REAL_LINEAR, 0xffff, 0xfb, 0));
	gdt_set(DATA16, descriptor(REAL_DATA_SEGMENT << 4, 0xffff, 0xf3, 0));
	gdt_set(EXTRA16, descriptor(REAL_EXTRA_SEGMENT << 4, 0x7fff, 0xf3, 0));
	gdt_set(STACK16, descriptor(REAL_STACK_SEGMENT << 4, 0xffff, 0xf3, 0));
	gdt_set(CODE32, descriptor(REAL_LINEAR, 0xffff, 0xfb, 4));
	gdt_set(STACK32, descriptor(REAL_STACK_SEGMENT << 4, 0xffff, 0xf3, 4));
	idt[REAL_END] = gate(trap_stub(REAL_END), KERNEL_CODE, GATE_INTERRUPT | GATE_DPL3, 0);
	for (unsigned batch = 0; batch < BATCHES; batch++) {
		batch_run("real.", run_real, batch);
		batch_run("v86.", run_v86, batch);
		batch_run("protected.", run_protected, batch);
		batch_run("protected32.", run_protected32, batch);
	}
}
