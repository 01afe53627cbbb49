/* SPDX-License-Identifier: MIT */
#include "compare.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "cpu/cpu.h"
#include "cpu/segment.h"

void difference_add(struct difference *difference, const char *format, ...)
{
	difference->count++;
	size_t room = sizeof difference->text - difference->length;
	va_list arguments;
	va_start(arguments, format);
	int written = vsnprintf(difference->text + difference->length, room, format, arguments);
	va_end(arguments);
	if (written > 0)
		difference->length += (size_t)written < room ? (size_t)written : room - 1;
}

/* What the open rows of the table take out of the comparison. */
struct open_set {
	const struct insn_case *insn_case;
	uint32_t flags;
	uint16_t registers, vectors;
	uint8_t memory, what;
};

static void open_vectors(struct open_set *open)
{
	const struct insn_decoded *decoded = &open->insn_case->decoded;
	for (unsigned i = 0; i < decoded->insn.operand_count_visible; i++) {
		if (decoded->operand[i].type == ZYDIS_OPERAND_TYPE_REGISTER)
			open->vectors |= (uint16_t)(1u << ZydisRegisterGetId(decoded->operand[i].reg.value));
	}
	if (open->vectors == 0) /* XRSTOR: all are its operands */
		open->vectors = 0xffff;
}

static void open_visit(void *opaque, const struct table_open *row)
{
	struct open_set *open = opaque;
	const ZydisDecodedOperand *first = &open->insn_case->decoded.operand[0];
	open->flags |= row->flags;
	open->registers |= row->registers;
	open->what |= row->what;
	if (row->memory != TABLE_MEMORY_ALL)
		open->memory = row->memory;
	if (row->what & OPEN_VECTORS)
		open_vectors(open);
	if ((row->what & OPEN_DESTINATION) && first->type == ZYDIS_OPERAND_TYPE_REGISTER &&
	    register_number(first->reg.value) >= 0)
		open->registers |= (uint16_t)(1u << register_number(first->reg.value));
}

static struct open_set open_collect(const struct insn_case *insn_case, bool faulted)
{
	struct open_set open = {.insn_case = insn_case};
	table_open_each(&insn_case->decoded.insn, faulted, open_visit, &open);
	return open;
}

static const char *outcome_text(const struct insn_result *result, char *buffer, size_t size)
{
	static const char *const names[] = {[OUTCOME_DONE] = "done",
					    [OUTCOME_FAULT] = "fault",
					    [OUTCOME_FETCH] = "fetch fault",
					    [OUTCOME_TIMEOUT] = "does not end",
					    [OUTCOME_UNKNOWN] = "unknown"};
	if (result->outcome == OUTCOME_DONE)
		return names[OUTCOME_DONE];
	snprintf(buffer, size, "%s vector %u error %x address %llx", names[result->outcome], result->vector,
		 result->error_code, result->vector == VECTOR_PF ? (unsigned long long)result->address : 0ull);
	return buffer;
}

/* Bits of a page fault's error code that say something here. Bit 4 shows a fetch only with NX or SMEP (SDM 3A, 4.7),
 * which two-level paging of a lower model has neither of. */
static uint32_t error_code_mask(const struct open_set *open, const struct insn_result *expected)
{
	uint32_t mask = open->what & OPEN_ADDRESS ? ~PF_PRESENT : ~0u;
	if (expected->outcome == OUTCOME_FETCH && open->insn_case->paging == PAGING_32)
		mask &= ~PF_FETCH;
	return mask;
}

/* Ten bytes at a limit; far pointers. */
static bool operand_in_parts(const struct insn_case *insn_case)
{
	bool ten = insn_case->access_count != 0 && insn_case->access[insn_case->access_count - 1].size == 10;
	return (ten && insn_case->variant == VARIANT_LIMIT) ||
	       (insn_case->decoded.insn.meta.branch_type == ZYDIS_BRANCH_TYPE_FAR &&
		insn_case->decoded.operand[0].type == ZYDIS_OPERAND_TYPE_MEMORY);
}

static bool same_fault(const struct open_set *open, const struct insn_result *expected, const struct insn_result *got)
{
	if (open->what & OPEN_WHICH)
		return true;
	/* An undefined opcode that would be longer than 15 bytes: the processor finds its length first
	 * (docs/engine.md). */
	if (open->insn_case->decoded.insn.length == 0 && expected->vector == VECTOR_GP && got->vector == VECTOR_UD)
		return true;
	/* An operand is accessed in parts, of which one may fault before the limit or paging stops another. */
	if (operand_in_parts(open->insn_case))
		return true;
	uint32_t error_mask = error_code_mask(open, expected);
	if (expected->vector != got->vector || ((expected->error_code ^ got->error_code) & error_mask) != 0)
		return false;
	return expected->vector != VECTOR_PF || (open->what & OPEN_ADDRESS) || expected->address == got->address;
}

static void compare_outcome(const struct open_set *open, const struct insn_result *expected,
			    const struct insn_result *got, struct difference *difference)
{
	bool same =
	    expected->outcome == got->outcome && (expected->outcome == OUTCOME_DONE || same_fault(open, expected, got));
	char first[120], second[120];
	if (!same)
		difference_add(difference, "  outcome: expected %s, got %s\n",
			       outcome_text(expected, first, sizeof first), outcome_text(got, second, sizeof second));
}

static void compare_registers(const struct insn_case *insn_case, const struct open_set *open,
			      const struct insn_state *expected, const struct insn_state *got,
			      struct difference *difference)
{
	static const char *const names[16] = {"rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
					      "r8",  "r9",  "r10", "r11", "r12", "r13", "r14", "r15"};
	uint64_t mask = insn_case->mode64 ? ~UINT64_C(0) : UINT64_C(0xffffffff);
	for (unsigned i = 0; i < (insn_case->mode64 ? 16u : 8u); i++) {
		if (!(open->registers & (1u << i)) && ((expected->gpr[i] ^ got->gpr[i]) & mask) != 0)
			difference_add(difference, "  %s: expected %016llx, got %016llx (was %016llx)\n", names[i],
				       (unsigned long long)(expected->gpr[i] & mask),
				       (unsigned long long)(got->gpr[i] & mask),
				       (unsigned long long)insn_case->initial.gpr[i]);
	}
	if (((expected->rip ^ got->rip) & mask) != 0)
		difference_add(difference, "  rip: expected %llx, got %llx (was %llx)\n",
			       (unsigned long long)expected->rip, (unsigned long long)got->rip,
			       (unsigned long long)insn_case->initial.rip);
	/* The image in a signal frame shows RF as the processor pushed it for the fault. */
	uint64_t flags = FLAGS_ALL & ~(uint64_t)(FLAG_RF | open->flags);
	if (((expected->rflags ^ got->rflags) & flags) != 0)
		difference_add(difference, "  flags: expected %06llx, got %06llx (was %06llx)\n",
			       (unsigned long long)(expected->rflags & flags),
			       (unsigned long long)(got->rflags & flags),
			       (unsigned long long)(insn_case->initial.rflags & flags));
	if (insn_case->mode64 && (expected->fs_base != got->fs_base || expected->gs_base != got->gs_base))
		difference_add(difference, "  bases: expected fs %llx gs %llx, got fs %llx gs %llx\n",
			       (unsigned long long)expected->fs_base, (unsigned long long)expected->gs_base,
			       (unsigned long long)got->fs_base, (unsigned long long)got->gs_base);
	static const char segment_letters[6] = {'e', 'c', 's', 'd', 'f', 'g'};
	for (unsigned i = 0; i < 6; i++) {
		uint16_t bits = SELECTOR_IS_NULL(expected->selector[i]) ? 0xfffc : 0xffff; /* IRET clears null ones */
		if (((expected->selector[i] ^ got->selector[i]) & bits) != 0)
			difference_add(difference, "  %cs: expected %x, got %x\n", segment_letters[i],
				       expected->selector[i], got->selector[i]);
	}
}

static void add_bytes(struct difference *difference, const char *name, unsigned index, const uint8_t *expected,
		      const uint8_t *got, unsigned size)
{
	char first[80], second[80];
	for (unsigned i = 0; i < size; i++) {
		snprintf(first + 2 * i, 3, "%02x", expected[size - 1 - i]);
		snprintf(second + 2 * i, 3, "%02x", got[size - 1 - i]);
	}
	difference_add(difference, "  %s%u: expected %s\n  %*s       got %s\n", name, index, first, (int)strlen(name),
		       "", second);
}

static void compare_x87(const struct state_vector *expected, const struct state_vector *got,
			struct difference *difference)
{
	if (expected->fcw != got->fcw || expected->fsw != got->fsw || expected->ftw != got->ftw)
		difference_add(difference,
			       "  x87: expected fcw %04x fsw %04x ftw %02x, got fcw %04x fsw %04x ftw %02x\n",
			       expected->fcw, expected->fsw, expected->ftw, got->fcw, got->fsw, got->ftw);
	for (unsigned i = 0; i < 8; i++) {
		if (memcmp(expected->st[i], got->st[i], 10) != 0)
			add_bytes(difference, "st", i, expected->st[i], got->st[i], 10);
	}
}

static void compare_vector(const struct insn_case *insn_case, const struct open_set *open,
			   const struct insn_state *expected, const struct insn_state *got,
			   struct difference *difference)
{
	struct state_vector first, second;
	state_vector_read(expected->xsave, &first);
	state_vector_read(got->xsave, &second);
	if (!(open->what & OPEN_X87))
		compare_x87(&first, &second, difference);
	if (first.mxcsr != second.mxcsr && !(open->what & OPEN_MXCSR))
		difference_add(difference, "  mxcsr: expected %04x, got %04x\n", first.mxcsr, second.mxcsr);
	for (unsigned i = 0; i < (insn_case->mode64 ? 16u : 8u); i++) {
		if (!(open->vectors & (1u << i)) && memcmp(first.ymm[i], second.ymm[i], 32) != 0)
			add_bytes(difference, "ymm", i, first.ymm[i], second.ymm[i], 32);
	}
}

void compare_results(const struct insn_case *insn_case, const struct insn_result *expected,
		     const struct insn_result *got, struct difference *difference)
{
	struct open_set open = open_collect(insn_case, expected->outcome == OUTCOME_FAULT);
	if ((open.what & OPEN_OUTCOME) && got->outcome == OUTCOME_DONE)
		return;
	compare_outcome(&open, expected, got, difference);
	compare_registers(insn_case, &open, &expected->state, &got->state, difference);
	compare_vector(insn_case, &open, &expected->state, &got->state, difference);
}

/* ---- memory ---- */

/* A range of bytes within the operand that is not compared. */
struct hole {
	uint16_t from, to;
	bool pointer; /* may hold an instruction or data pointer: no host address may show there */
};

static const struct hole fxsave_holes[] = {{6, 24, true}, {464, 512, false}};
static const struct hole fnstenv16_holes[] = {{6, 14, true}};
static const struct hole fnstenv32_holes[] = {{12, 28, true}};

static uint8_t *got_byte(uint8_t *const *got_page, uint64_t offset)
{
	return got_page[offset / LAYOUT_PAGE] + offset % LAYOUT_PAGE;
}

/* A pointer in an image may be nothing, what the guest had loaded, or an address of the guest's: never one of this
 * process. */
static void check_leak(const struct insn_case *insn_case, uint64_t linear, uint8_t *const *got_page,
		       const uint8_t *expected_data, struct difference *difference)
{
	uint8_t pointer[8];
	for (unsigned i = 0; i < 8; i++) {
		uint64_t offset = layout_offset(linear + i, insn_case->mode64);
		if (offset == UINT64_MAX)
			return;
		pointer[i] = *got_byte(got_page, offset);
	}
	(void)expected_data;
	uint64_t value = load_le(pointer, 8);
	if (value >> 40 == 0x7f || value >> 40 == 0x55 || value >> 40 == 0x56)
		difference_add(difference, "  a host address is in guest memory at %llx: %llx\n",
			       (unsigned long long)linear, (unsigned long long)value);
}

static void mask_holes(const struct insn_case *insn_case, const struct hole *holes, size_t count,
		       const uint8_t *expected_data, uint8_t *const *got_page, struct difference *difference)
{
	const struct case_access *access = &insn_case->access[insn_case->access_count - 1];
	for (size_t i = 0; i < count; i++) {
		if (holes[i].pointer && holes[i].to - holes[i].from == 18) {
			check_leak(insn_case, access->linear + 8, got_page, expected_data, difference);
			check_leak(insn_case, access->linear + 16, got_page, expected_data, difference);
		}
		for (uint64_t at = holes[i].from; at < holes[i].to; at++) {
			uint64_t offset = layout_offset(access->linear + at, insn_case->mode64);
			if (offset != UINT64_MAX)
				*got_byte(got_page, offset) = expected_data[offset];
		}
	}
}

#define MASK_HOLES(holes)                                                                                              \
	mask_holes(insn_case, holes, sizeof(holes) / sizeof(holes)[0], expected_data, got_page, difference)

void compare_memory_mask(const struct insn_case *insn_case, const struct insn_result *expected,
			 const uint8_t *expected_data, uint8_t *const *got_page, struct difference *difference)
{
	struct open_set open = open_collect(insn_case, expected->outcome == OUTCOME_FAULT);
	if (insn_case->access_count == 0)
		return;
	uint32_t size = insn_case->access[insn_case->access_count - 1].size;
	const struct hole partial_holes[] = {{0, (uint16_t)(size < 1024 ? size : 1024), false}};
	switch (open.memory) {
	case TABLE_MEMORY_FXSAVE:
		MASK_HOLES(fxsave_holes);
		break;
	case TABLE_MEMORY_FNSTENV:
		if (insn_case->decoded.insn.operand_width == 16)
			MASK_HOLES(fnstenv16_holes);
		else
			MASK_HOLES(fnstenv32_holes);
		break;
	case TABLE_MEMORY_PARTIAL:
		MASK_HOLES(partial_holes);
		break;
	default:
		break;
	}
}

void compare_page(const struct insn_case *insn_case, unsigned page, const uint8_t *expected, const uint8_t *got,
		  struct difference *difference)
{
	if (memcmp(expected, got, LAYOUT_PAGE) == 0)
		return;
	uint64_t base = layout_area_base((enum layout_area)(page / LAYOUT_AREA_PAGES), insn_case->mode64) +
			(uint64_t)(page % LAYOUT_AREA_PAGES) * LAYOUT_PAGE;
	unsigned shown = 0;
	for (unsigned at = 0; at < LAYOUT_PAGE && shown < 4; at += 8) {
		if (memcmp(expected + at, got + at, 8) == 0)
			continue;
		shown++;
		difference_add(difference, "  memory at %llx: expected %016llx, got %016llx\n",
			       (unsigned long long)(base + at), (unsigned long long)load_le(expected + at, 8),
			       (unsigned long long)load_le(got + at, 8));
	}
}
