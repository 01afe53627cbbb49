/* SPDX-License-Identifier: MIT */
/*
 * String instructions: MOVS CMPS STOS LODS SCAS INS OUTS, with and without REP.
 *
 * Theory of operation.
 *
 * A repeated instruction runs in chunks. A chunk is as many elements as lie, in the direction of DF, on the current
 * source page and the current destination page, inside both segments' limits, before either index register wraps, and
 * within the count. Both pages are looked up once, and the host's own string instruction then does the chunk on host
 * pointers, so that overlapping moves and the flags of a last comparison come from the silicon. RSI, RDI and RCX are
 * brought up to date after every chunk: a fault, or an event that clears cpu->run, finds them as precise as hardware
 * would leave them.
 *
 * Where a page cannot be used directly (MMIO, translated code, a watched page), and for elements that cross a page or
 * wrap, the chunk is one element through cpu_read and cpu_write.
 *
 * With EFLAGS.TF every element is an instruction of its own: one is done, the single-step trap is recorded, and the
 * instruction restarts. The same holds when a data breakpoint fires.
 */
#include "cpu/arithmetic.h"
#include "cpu/cpuid.h"
#include "cpu/debug.h"
#include "cpu/op.h"
#include "cpu/port.h"

/* The instruction in progress. */
struct string {
	struct cpu *cpu;
	const struct cpu_insn *insn;
	unsigned size; /* of an element: 1 << shift */
	unsigned shift;
	uint64_t mask; /* of the index and count registers */
	bool backward; /* EFLAGS.DF */
	bool stopped;  /* REPE or REPNE met its condition */
};

/* One memory operand of a chunk. */
struct string_side {
	enum cpu_gpr index;
	enum cpu_segment_name segment;
	enum tlb_access access;
	uint64_t linear; /* of the first element */
	uint8_t *host;	 /* of the first element, or NULL: one element by cpu_read and cpu_write */
};

/* Does at most *count elements and says in *count how many. False: fault, and nothing was done. */
typedef bool string_chunk(struct string *string, uint64_t *count);

static struct string_side string_source(const struct string *string)
{
	return (struct string_side){
	    .index = CPU_RSI, .segment = (enum cpu_segment_name)string->insn->segment, .access = TLB_READ};
}

static struct string_side string_destination(enum tlb_access access)
{
	return (struct string_side){.index = CPU_RDI, .segment = CPU_ES, .access = access};
}

static uint64_t smaller(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static void register_update(const struct string *string, enum cpu_gpr number, uint64_t value)
{
	uint64_t *gpr = &string->cpu->gpr[number];

	*gpr = string->mask == 0xffff ? (*gpr & ~UINT64_C(0xffff)) | (value & 0xffff) : value & string->mask;
}

/* Elements from `position` on, in the direction of DF, that end before `low` or `high` (inclusive bounds). */
static uint64_t elements_between(const struct string *string, uint64_t position, uint64_t low, uint64_t high)
{
	uint64_t last = position + string->size - 1;

	if (position < low || last > high || last < position)
		return 0;
	if (string->backward)
		return ((position - low) >> string->shift) + 1;
	return ((high - last) >> string->shift) + 1;
}

/* How many elements the segment's limit and the width of the index register leave: at least the one that was checked.
 */
static uint64_t elements_in_segment(const struct string *string, const struct string_side *side, uint64_t offset)
{
	const struct cpu_segment *segment = &string->cpu->segment[side->segment];
	uint64_t low = 0, high = string->mask, count;

	if (high == ~UINT64_C(0)) /* 64-bit mode: a page is canonical as a whole */
		return ~UINT64_C(0);

	if (!cpu_code64(string->cpu)) {
		bool down = (segment->access & (SEGMENT_CODE | SEGMENT_DOWN)) == SEGMENT_DOWN;
		if (down && !cpu_real_or_v86(string->cpu)) {
			low = (uint64_t)segment->limit + 1;
			high = smaller(high, (segment->access & SEGMENT_DB) ? 0xffffffff : 0xffff);
		} else {
			high = smaller(high, segment->limit);
		}
	}
	count = elements_between(string, offset, low, high);
	return count == 0 ? 1 : count;
}

/* An element on two pages is checked as a whole: the other operand's fault must not come before one of the second page.
 */
static bool string_check_crossing(struct cpu *cpu, const struct string_side *side, unsigned size)
{
	if (side->access == TLB_WRITE)
		return cpu_check_write(cpu, side->linear, size, cpu_view(cpu));
	return cpu_check_read(cpu, side->linear, size, cpu_view(cpu));
}

/*
 * Checks the side's next element and finds its page. Lowers *count to what the page, the segment and the index register
 * allow. False: fault.
 */
static bool string_find(const struct string *string, struct string_side *side, uint64_t *count)
{
	struct cpu *cpu = string->cpu;
	uint64_t offset = cpu->gpr[side->index] & string->mask, in_page;
	bool fault;

	if (!op_linear(cpu, side->segment, offset, string->size, side->access, &side->linear) ||
	    !op_aligned(cpu, side->linear, string->size))
		return false;
	side->host = NULL;
	in_page = elements_between(string, side->linear & PAGE_MASK, 0, PAGE_MASK);
	if (in_page != 0) {
		side->host = op_direct(cpu, side->linear, side->access, side->segment == CPU_SS, &fault);
		if (fault)
			return false;
	} else if (!string_check_crossing(cpu, side, string->size)) {
		return false;
	}
	if (side->host == NULL)
		*count = 1;
	else
		*count = smaller(*count, smaller(in_page, elements_in_segment(string, side, offset)));
	return true;
}

static void string_advance(const struct string *string, enum cpu_gpr index, uint64_t count)
{
	uint64_t bytes = count * string->size;
	uint64_t offset = string->cpu->gpr[index] & string->mask;

	register_update(string, index, string->backward ? offset - bytes : offset + bytes);
}

static bool element_read(const struct string *string, const struct string_side *side, uint64_t *value)
{
	if (side->host != NULL) {
		*value = load_le(side->host, string->size);
		return true;
	}
	return cpu_read_value(string->cpu, side->linear, string->size, cpu_view(string->cpu), value);
}

static bool element_write(const struct string *string, const struct string_side *side, uint64_t value)
{
	if (side->host != NULL) {
		store_le(side->host, value, string->size);
		return true;
	}
	return cpu_write_value(string->cpu, side->linear, string->size, cpu_view(string->cpu), value);
}

/*
 * The host's string instructions on one chunk, by element size. DF is clear in C and is so again at the end; a signal
 * in between is no danger, since the kernel clears DF for the handler.
 */
#define HOST_RUN(bytes, text, tail, ...)                                                                               \
	case bytes:                                                                                                    \
		if (backward)                                                                                          \
			__asm__ volatile("std; " text "; cld" tail __VA_ARGS__);                                       \
		else                                                                                                   \
			__asm__ volatile(text tail __VA_ARGS__);                                                       \
		break;
#define HOST_STRING(text, tail, ...)                                                                                   \
	switch (size) {                                                                                                \
		HOST_RUN(1, text "b", tail, __VA_ARGS__)                                                               \
		HOST_RUN(2, text "w", tail, __VA_ARGS__)                                                               \
		HOST_RUN(4, text "l", tail, __VA_ARGS__)                                                               \
		HOST_RUN(8, text "q", tail, __VA_ARGS__)                                                               \
	}

/* The start-up of a repeated move costs more than a few elements by themselves. */
#define FEW_ELEMENTS 8u
#define FEW_BYTES 64u

static void move_elements(uint8_t *to, const uint8_t *from, uint64_t count, unsigned size, bool backward)
{
	for (; count > 0; count--) {
		store_le(to, load_le(from, size), size);
		to = backward ? to - size : to + size;
		from = backward ? from - size : from + size;
	}
}

/* Upwards and without overlap the size of an element does not show. */
static void move_words(uint8_t *to, const uint8_t *from, uint64_t bytes)
{
	for (; bytes >= 8; bytes -= 8) {
		store_le(to, load_le(from, 8), 8);
		to += 8;
		from += 8;
	}
	move_elements(to, from, bytes, 1, false);
}

static void host_movs(uint8_t *to, const uint8_t *from, uint64_t count, unsigned size, bool backward)
{
	uint64_t bytes = count * size;

	if (count <= FEW_ELEMENTS) {
		move_elements(to, from, count, size, backward);
		return;
	}
	if (bytes <= FEW_BYTES && !backward && (uintptr_t)to - (uintptr_t)from >= bytes &&
	    (uintptr_t)from - (uintptr_t)to >= bytes) {
		move_words(to, from, bytes);
		return;
	}
	HOST_STRING("rep movs", "", : "+D"(to), "+S"(from), "+c"(count) : : "memory", "cc")
}

static void host_stos(uint8_t *to, uint64_t value, uint64_t count, unsigned size, bool backward)
{
	if (count <= FEW_ELEMENTS) {
		for (; count > 0; count--) {
			store_le(to, value, size);
			to = backward ? to - size : to + size;
		}
		return;
	}
	HOST_STRING("rep stos", "", : "+D"(to), "+c"(count) : "a"(value) : "memory", "cc")
}

/* Comparisons leave AH and AL with the flags as LAHF and SETO give them. */
#define TAKE_FLAGS "; lahf; seto %%al"

static uint32_t flags_taken(uint64_t rax)
{
	return ((uint32_t)(rax >> 8) & (FLAGS_ARITHMETIC & 0xff)) | ((rax & 1) ? FLAG_OF : 0);
}

/* Both return the flags and lower *count to the elements that were looked at. */
static uint32_t host_cmps(const uint8_t *left, const uint8_t *right, uint64_t *count, unsigned size, bool backward,
			  bool while_equal)
{
	uint64_t rax = 0, remaining = *count;

	if (while_equal)
		HOST_STRING("repe cmps", TAKE_FLAGS,
			    : "+S"(left), "+D"(right), "+c"(remaining), "+a"(rax)
			    :
			    : "memory", "cc")
	else
		HOST_STRING("repne cmps", TAKE_FLAGS,
			    : "+S"(left), "+D"(right), "+c"(remaining), "+a"(rax)
			    :
			    : "memory", "cc")
	*count -= remaining;
	return flags_taken(rax);
}

static uint32_t host_scas(uint64_t rax, const uint8_t *at, uint64_t *count, unsigned size, bool backward,
			  bool while_equal)
{
	uint64_t remaining = *count;

	if (while_equal)
		HOST_STRING("repe scas", TAKE_FLAGS, : "+D"(at), "+c"(remaining), "+a"(rax) : : "memory", "cc")
	else
		HOST_STRING("repne scas", TAKE_FLAGS, : "+D"(at), "+c"(remaining), "+a"(rax) : : "memory", "cc")
	*count -= remaining;
	return flags_taken(rax);
}

static bool movs_chunk(struct string *string, uint64_t *count)
{
	struct string_side from = string_source(string), to = string_destination(TLB_WRITE);
	uint64_t value;

	if (!string_find(string, &from, count) || !string_find(string, &to, count))
		return false;
	if (from.host != NULL && to.host != NULL)
		host_movs(to.host, from.host, *count, string->size, string->backward);
	else if (!element_read(string, &from, &value) || !element_write(string, &to, value))
		return false;
	string_advance(string, CPU_RSI, *count);
	string_advance(string, CPU_RDI, *count);
	return true;
}

static bool stos_chunk(struct string *string, uint64_t *count)
{
	struct string_side to = string_destination(TLB_WRITE);
	uint64_t value = string->cpu->gpr[CPU_RAX];

	if (!string_find(string, &to, count))
		return false;
	if (to.host != NULL)
		host_stos(to.host, value, *count, string->size, string->backward);
	else if (!element_write(string, &to, value))
		return false;
	string_advance(string, CPU_RDI, *count);
	return true;
}

/* Of a chunk only the last element stays. */
static bool lods_chunk(struct string *string, uint64_t *count)
{
	struct string_side from = string_source(string);
	uint64_t value, skip;

	if (!string_find(string, &from, count))
		return false;
	skip = (*count - 1) * string->size;
	if (from.host != NULL)
		from.host = string->backward ? from.host - skip : from.host + skip;
	if (!element_read(string, &from, &value))
		return false;
	cpu_register_set(string->cpu, string->insn, CPU_RAX, string->size, value);
	string_advance(string, CPU_RSI, *count);
	return true;
}

/* Takes the flags of a comparison and decides whether REPE or REPNE ends. */
static void comparison_done(struct string *string, uint32_t flags)
{
	bool equal = (flags & FLAG_ZF) != 0;

	string->cpu->flags_arithmetic = flags;
	string->stopped = string->insn->repne ? equal : !equal;
}

/* Of two operands that fault processors report ES:[rDI]. */
static bool cmps_chunk(struct string *string, uint64_t *count)
{
	struct string_side left = string_source(string), right = string_destination(TLB_READ);
	uint64_t a, b;
	uint32_t flags;

	if (!string_find(string, &right, count) || !string_find(string, &left, count))
		return false;
	if (left.host != NULL && right.host != NULL) {
		flags = host_cmps(left.host, right.host, count, string->size, string->backward, !string->insn->repne);
	} else {
		if (!element_read(string, &left, &a) || !element_read(string, &right, &b))
			return false;
		flags = flags_of_subtract(a, b, string->size);
	}
	comparison_done(string, flags);
	string_advance(string, CPU_RSI, *count);
	string_advance(string, CPU_RDI, *count);
	return true;
}

static bool scas_chunk(struct string *string, uint64_t *count)
{
	struct string_side at = string_destination(TLB_READ);
	uint64_t accumulator = string->cpu->gpr[CPU_RAX], value;
	uint32_t flags;

	if (!string_find(string, &at, count))
		return false;
	if (at.host != NULL) {
		flags = host_scas(accumulator, at.host, count, string->size, string->backward, !string->insn->repne);
	} else {
		if (!element_read(string, &at, &value))
			return false;
		flags = flags_of_subtract(accumulator, value, string->size);
	}
	comparison_done(string, flags);
	string_advance(string, CPU_RDI, *count);
	return true;
}

/*
 * The port is read only when the element can be stored: a read may change the device. It moves no memory, so the
 * chunk's page stays where it is. (A write may, by a PCI BAR: OUTS does one element at a time.) But while the thread
 * waits for devices another vCPU may find code in the page.
 */
static bool ins_chunk(struct string *string, uint64_t *count)
{
	struct cpu *cpu = string->cpu;
	struct string_side to = string_destination(TLB_WRITE);
	uint16_t port = (uint16_t)cpu->gpr[CPU_RDX];

	if (string->backward || (cpu->cr4 & CR4_DE)) /* breakpoints on ports */
		*count = 1;
	if (!string_find(string, &to, count))
		return false;
	if (*count > 1)
		*count = port_read_run(cpu, port, string->size, to.host, *count);
	else if (!element_write(string, &to, port_read(cpu, port, string->size)))
		return false;
	if (to.host != NULL)
		mmu_stored_at(cpu, to.host, (unsigned)(*count * string->size));
	string_advance(string, CPU_RDI, *count);
	return true;
}

static bool outs_chunk(struct string *string, uint64_t *count)
{
	struct cpu *cpu = string->cpu;
	struct string_side from = string_source(string);
	uint16_t port = (uint16_t)cpu->gpr[CPU_RDX];
	uint64_t value;

	*count = 1;
	if (!string_find(string, &from, count) || !element_read(string, &from, &value))
		return false;
	port_write(cpu, port, string->size, value);
	string_advance(string, CPU_RSI, 1);
	return true;
}

/* Between two elements of a repetition: does something else come first? */
static bool repetition_interrupted(struct cpu *cpu)
{
	if (cpu->mode & MODE_TF) {
		cpu->debug_trap = true;
		cpu->debug_dr6 |= DR6_BS;
	}
	return cpu->debug_trap || __atomic_load_n(&cpu->run, __ATOMIC_RELAXED) == 0;
}

/* Index registers that the start of a repetition cuts to the address size. */
enum string_cut { CUT_NONE = 0, CUT_RSI = 1, CUT_RDI = 2 };

/*
 * With 32-bit addresses in 64-bit mode Intel's processors cut the count, and the pointers of moves and stores, to 32
 * bits even if there is nothing to do or the first element faults. AMD's leave them until they change.
 */
static void repetition_begin(const struct string *string, enum string_cut cut)
{
	struct cpu *cpu = string->cpu;

	if (string->mask != 0xffffffff || !cpu_code64(cpu) || !cpu_model_is_intel(cpu->model))
		return;
	cpu->gpr[CPU_RCX] &= string->mask;
	if (cut & CUT_RSI)
		cpu->gpr[CPU_RSI] &= string->mask;
	if (cut & CUT_RDI)
		cpu->gpr[CPU_RDI] &= string->mask;
}

static enum cpu_next string_run(struct cpu *cpu, const struct cpu_insn *insn, string_chunk *chunk, enum string_cut cut)
{
	struct string string = {.cpu = cpu,
				.insn = insn,
				.size = insn->operand_size,
				.shift = (unsigned)__builtin_ctz(insn->operand_size),
				.mask = size_mask(insn->address_size),
				.backward = (cpu->flags_system & FLAG_DF) != 0};
	uint32_t flags = cpu->flags_arithmetic;
	uint64_t left, count = 1;

	if (!insn->rep && !insn->repne)
		return chunk(&string, &count) ? op_done(cpu, insn) : CPU_FAULT;
	repetition_begin(&string, cut);
	while ((left = cpu->gpr[CPU_RCX] & string.mask) != 0) {
		count = (cpu->mode & MODE_TF) ? 1 : left;
		if (!chunk(&string, &count)) {
			cpu->flags_arithmetic = flags; /* SDM 2B, REP: those before the instruction */
			return CPU_FAULT;
		}
		register_update(&string, CPU_RCX, left - count);
		if (string.stopped || count == left)
			break;
		if (repetition_interrupted(cpu))
			return CPU_RESTART;
	}
	return op_done(cpu, insn);
}

enum cpu_next cpu_op_movs(struct cpu *cpu, const struct cpu_insn *insn)
{
	return string_run(cpu, insn, movs_chunk, CUT_RSI | CUT_RDI);
}

enum cpu_next cpu_op_cmps(struct cpu *cpu, const struct cpu_insn *insn)
{
	return string_run(cpu, insn, cmps_chunk, CUT_NONE);
}

enum cpu_next cpu_op_stos(struct cpu *cpu, const struct cpu_insn *insn)
{
	return string_run(cpu, insn, stos_chunk, CUT_RDI);
}

enum cpu_next cpu_op_lods(struct cpu *cpu, const struct cpu_insn *insn)
{
	return string_run(cpu, insn, lods_chunk, CUT_NONE);
}

enum cpu_next cpu_op_scas(struct cpu *cpu, const struct cpu_insn *insn)
{
	return string_run(cpu, insn, scas_chunk, CUT_NONE);
}

/* The right to the port is asked for even if the count is zero. */
enum cpu_next cpu_op_ins(struct cpu *cpu, const struct cpu_insn *insn)
{
	if (!port_check(cpu, (uint16_t)cpu->gpr[CPU_RDX], insn->operand_size))
		return CPU_FAULT;
	return string_run(cpu, insn, ins_chunk, CUT_NONE);
}

enum cpu_next cpu_op_outs(struct cpu *cpu, const struct cpu_insn *insn)
{
	if (!port_check(cpu, (uint16_t)cpu->gpr[CPU_RDX], insn->operand_size))
		return CPU_FAULT;
	return string_run(cpu, insn, outs_chunk, CUT_NONE);
}
