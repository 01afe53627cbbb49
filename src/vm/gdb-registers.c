/* SPDX-License-Identifier: MIT */
#include "vm/gdb-registers.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cpu/fpu.h"

enum special { PLAIN, RFLAGS, FTAG, ZERO, SELECTOR, XSTATE, READ_ONLY };

/* One register, or `count` of them: `name` may hold a %u for the number. The field lies at `offset` in struct cpu,
 * `stride` bytes from the next. */
struct row {
	const char *name, *type;
	uint16_t bits;
	uint8_t field; /* bytes of the field; the rest is zero */
	uint8_t special;
	uint16_t count, stride;
	size_t offset;
	uint8_t xstate; /* XSTATE: the component that changes */
};

struct feature {
	const char *name;
	const struct row *row;
	unsigned rows;
};

struct gdb_registers {
	const char *architecture;
	const struct feature *feature;
	unsigned features;
};

#define CPU(field) offsetof(struct cpu, field)
#define GPR(text, bits, size, number)                                                                                  \
	{                                                                                                              \
		text, bits == 64 ? "int64" : "int32", bits, size, PLAIN, 1, 0, CPU(gpr[number]), 0                     \
	}
#define SEGMENT(text, number)                                                                                          \
	{                                                                                                              \
		text, "int32", 32, 2, SELECTOR, 1, 0, CPU(segment[number].selector), 0                                 \
	}
#define X87(text, bytes, place)                                                                                        \
	{                                                                                                              \
		text, "int", 32, bytes, XSTATE, 1, 0, CPU(xsave[place]), XSTATE_X87                                    \
	}
#define NONE(text)                                                                                                     \
	{                                                                                                              \
		text, "int", 32, 0, ZERO, 1, 0, 0, 0                                                                   \
	}
#define SYSTEM(text, width, bytes, field)                                                                              \
	{                                                                                                              \
		text, "uint" #width, width, bytes, READ_ONLY, 1, 0, CPU(field), 0                                      \
	}

#define SEGMENTS                                                                                                       \
	SEGMENT("cs", CPU_CS), SEGMENT("ss", CPU_SS), SEGMENT("ds", CPU_DS), SEGMENT("es", CPU_ES),                    \
	    SEGMENT("fs", CPU_FS), SEGMENT("gs", CPU_GS)
#define FLOATING_POINT                                                                                                 \
	{"st%u", "i387_ext", 80, 10, XSTATE, 8, 16, CPU(xsave[XSAVE_ST]), XSTATE_X87}, X87("fctrl", 2, XSAVE_FCW),     \
	    X87("fstat", 2, XSAVE_FSW), {"ftag", "int", 32, 1, FTAG, 1, 0, CPU(xsave[XSAVE_FTW]), XSTATE_X87},         \
	    NONE("fiseg"), NONE("fioff"), NONE("foseg"), NONE("fooff"), X87("fop", 2, XSAVE_FOP)

static const struct row core64[] = {
    GPR("rax", 64, 8, CPU_RAX),
    GPR("rbx", 64, 8, CPU_RBX),
    GPR("rcx", 64, 8, CPU_RCX),
    GPR("rdx", 64, 8, CPU_RDX),
    GPR("rsi", 64, 8, CPU_RSI),
    GPR("rdi", 64, 8, CPU_RDI),
    {"rbp", "data_ptr", 64, 8, PLAIN, 1, 0, CPU(gpr[CPU_RBP]), 0},
    {"rsp", "data_ptr", 64, 8, PLAIN, 1, 0, CPU(gpr[CPU_RSP]), 0},
    GPR("r8", 64, 8, CPU_R8),
    GPR("r9", 64, 8, CPU_R9),
    GPR("r10", 64, 8, CPU_R10),
    GPR("r11", 64, 8, CPU_R11),
    GPR("r12", 64, 8, CPU_R12),
    GPR("r13", 64, 8, CPU_R13),
    GPR("r14", 64, 8, CPU_R14),
    GPR("r15", 64, 8, CPU_R15),
    {"rip", "code_ptr", 64, 8, PLAIN, 1, 0, CPU(rip), 0},
    {"eflags", "nfold_eflags", 32, 0, RFLAGS, 1, 0, 0, 0},
    SEGMENTS,
    FLOATING_POINT,
};
static const struct row core32[] = {
    GPR("eax", 32, 4, CPU_RAX),
    GPR("ecx", 32, 4, CPU_RCX),
    GPR("edx", 32, 4, CPU_RDX),
    GPR("ebx", 32, 4, CPU_RBX),
    {"esp", "data_ptr", 32, 4, PLAIN, 1, 0, CPU(gpr[CPU_RSP]), 0},
    {"ebp", "data_ptr", 32, 4, PLAIN, 1, 0, CPU(gpr[CPU_RBP]), 0},
    GPR("esi", 32, 4, CPU_RSI),
    GPR("edi", 32, 4, CPU_RDI),
    {"eip", "code_ptr", 32, 4, PLAIN, 1, 0, CPU(rip), 0},
    {"eflags", "nfold_eflags", 32, 0, RFLAGS, 1, 0, 0, 0},
    SEGMENTS,
    FLOATING_POINT,
};
static const struct row sse64[] = {
    {"xmm%u", "vec128", 128, 16, XSTATE, 16, 16, CPU(xsave[XSAVE_XMM]), XSTATE_SSE},
    {"mxcsr", "int", 32, 4, XSTATE, 1, 0, CPU(xsave[XSAVE_MXCSR]), XSTATE_SSE},
};
static const struct row sse32[] = {
    {"xmm%u", "vec128", 128, 16, XSTATE, 8, 16, CPU(xsave[XSAVE_XMM]), XSTATE_SSE},
    {"mxcsr", "int", 32, 4, XSTATE, 1, 0, CPU(xsave[XSAVE_MXCSR]), XSTATE_SSE},
};
static const struct row avx64[] = {{"ymm%uh", "uint128", 128, 16, XSTATE, 16, 16, CPU(xsave[XSAVE_AVX]), XSTATE_AVX}};
static const struct row avx32[] = {{"ymm%uh", "uint128", 128, 16, XSTATE, 8, 16, CPU(xsave[XSAVE_AVX]), XSTATE_AVX}};
static const struct row bases[] = {
    {"fs_base", "int64", 64, 8, SELECTOR, 1, 0, CPU(segment[CPU_FS].base), 0},
    {"gs_base", "int64", 64, 8, SELECTOR, 1, 0, CPU(segment[CPU_GS].base), 0},
};
static const struct row system64[] = {
    {"k_gs_base", "uint64", 64, 8, PLAIN, 1, 0, CPU(kernel_gs_base), 0},
    SYSTEM("cr0", 64, 8, cr0),
    {"cr2", "uint64", 64, 8, PLAIN, 1, 0, CPU(cr2), 0},
    SYSTEM("cr3", 64, 8, cr3),
    SYSTEM("cr4", 64, 8, cr4),
    SYSTEM("efer", 64, 8, efer),
    {"dr%u", "uint64", 64, 8, READ_ONLY, 4, 8, CPU(dr[0]), 0},
    SYSTEM("dr6", 64, 8, dr[6]),
    SYSTEM("dr7", 64, 8, dr[7]),
    SYSTEM("gdtr_base", 64, 8, gdtr.base),
    SYSTEM("gdtr_limit", 32, 2, gdtr.limit),
    SYSTEM("idtr_base", 64, 8, idtr.base),
    SYSTEM("idtr_limit", 32, 2, idtr.limit),
    SYSTEM("tr", 32, 2, tr.selector),
    SYSTEM("tr_base", 64, 8, tr.base),
    SYSTEM("ldtr", 32, 2, ldtr.selector),
    SYSTEM("ldtr_base", 64, 8, ldtr.base),
    SYSTEM("cs_base", 64, 8, segment[CPU_CS].base),
    SYSTEM("ss_base", 64, 8, segment[CPU_SS].base),
    SYSTEM("star", 64, 8, star),
    SYSTEM("lstar", 64, 8, lstar),
    SYSTEM("sfmask", 64, 8, sfmask),
    SYSTEM("xcr0", 64, 8, xcr0),
};

#define ROWS(table) table, sizeof table / sizeof table[0]
static const struct feature features64[] = {
    {"org.gnu.gdb.i386.core", ROWS(core64)},   {"org.gnu.gdb.i386.sse", ROWS(sse64)},
    {"org.gnu.gdb.i386.avx", ROWS(avx64)},     {"org.gnu.gdb.i386.segments", ROWS(bases)},
    {"org.nfold.i386.system", ROWS(system64)},
};
static const struct feature features32[] = {
    {"org.gnu.gdb.i386.core", ROWS(core32)},
    {"org.gnu.gdb.i386.sse", ROWS(sse32)},
    {"org.gnu.gdb.i386.avx", ROWS(avx32)},
    {"org.nfold.i386.system", ROWS(system64)},
};
static const struct gdb_registers set64 = {"i386:x86-64", features64, sizeof features64 / sizeof features64[0]};
static const struct gdb_registers set32 = {"i386", features32, sizeof features32 / sizeof features32[0]};

const struct gdb_registers *gdb_registers_of(bool i386)
{
	return i386 ? &set32 : &set64;
}

/* The row of a number, and which of the row's registers it is. */
static const struct row *row_of(const struct gdb_registers *set, unsigned number, unsigned *index)
{
	for (unsigned i = 0; i < set->features; i++) {
		for (unsigned k = 0; k < set->feature[i].rows; k++) {
			const struct row *row = &set->feature[i].row[k];
			*index = number;
			if (number < row->count)
				return row;
			number -= row->count;
		}
	}
	return NULL;
}

unsigned gdb_registers_count(const struct gdb_registers *set)
{
	unsigned count = 0;
	for (unsigned i = 0; i < set->features; i++)
		for (unsigned k = 0; k < set->feature[i].rows; k++)
			count += set->feature[i].row[k].count;
	return count;
}

/* SDM volume 1, 8.1.7: two bits a register, 3 is empty. XSAVE keeps one bit, 1 is not empty. */
static uint32_t full_tag(uint8_t abridged)
{
	uint32_t tag = 0;
	for (unsigned i = 0; i < 8; i++)
		if ((abridged >> i & 1) == 0)
			tag |= 3u << (2 * i);
	return tag;
}

static uint8_t abridged_tag(uint64_t full)
{
	uint8_t tag = 0;
	for (unsigned i = 0; i < 8; i++)
		if ((full >> (2 * i) & 3) != 3)
			tag |= (uint8_t)(1u << i);
	return tag;
}

size_t gdb_register_size(const struct gdb_registers *set, unsigned number)
{
	unsigned index;
	const struct row *row = row_of(set, number, &index);
	return row == NULL ? 0 : row->bits / 8u;
}

size_t gdb_register_read(const struct gdb_registers *set, const struct cpu *cpu, unsigned number, uint8_t *to)
{
	unsigned index;
	const struct row *row = row_of(set, number, &index);
	if (row == NULL)
		return 0;
	size_t size = row->bits / 8u;
	const uint8_t *field = (const uint8_t *)cpu + row->offset + (size_t)index * row->stride;
	memset(to, 0, size);
	if (row->special == RFLAGS)
		store_le(to, cpu_rflags(cpu), 4);
	else if (row->special == FTAG)
		store_le(to, full_tag(*field), 4);
	else if (row->special != ZERO)
		memcpy(to, field, row->field);
	return size;
}

/* Bits that say in which mode the processor is change with more than a flag. */
static void write_rflags(struct cpu *cpu, uint64_t value)
{
	uint64_t keep = FLAG_VM;
	cpu_rflags_set(cpu, (value & ~keep) | (cpu_rflags(cpu) & keep));
	cpu_mode_update(cpu);
}

/* In real and virtual-8086 mode a selector is a base; elsewhere it comes from a descriptor that is not looked at here.
 */
static bool write_selector(struct cpu *cpu, const struct row *row, const uint8_t *from)
{
	uint8_t *field = (uint8_t *)cpu + row->offset;
	if (row->field == 2) {
		if ((cpu->mode & (MODE_REAL | MODE_VM86)) == 0)
			return load_le(from, 4) == load_le(field, 2);
		struct cpu_segment *segment = (void *)(field - offsetof(struct cpu_segment, selector));
		segment->selector = (uint16_t)load_le(from, 2);
		segment->base = (uint64_t)segment->selector << 4;
	} else {
		memcpy(field, from, 8);
	}
	cpu_mode_update(cpu);
	return true;
}

bool gdb_register_write(const struct gdb_registers *set, struct cpu *cpu, unsigned number, const uint8_t *from)
{
	unsigned index;
	const struct row *row = row_of(set, number, &index);
	if (row == NULL)
		return false;
	uint8_t *field = (uint8_t *)cpu + row->offset + (size_t)index * row->stride;
	switch ((enum special)row->special) {
	case PLAIN:
		store_le(field, load_le(from, row->field), 8); /* a 32-bit write clears the upper half */
		return true;
	case RFLAGS:
		write_rflags(cpu, load_le(from, 4));
		return true;
	case SELECTOR:
		return write_selector(cpu, row, from);
	case XSTATE:
		if (row->offset == CPU(xsave[XSAVE_MXCSR]) && (load_le(from, 4) & ~UINT64_C(0xffff)) != 0)
			return false; /* loading it would fault */
		memcpy(field, from, row->field);
		break;
	case FTAG:
		*field = abridged_tag(load_le(from, 4));
		break;
	case ZERO:
		return true;
	case READ_ONLY:
		return memcmp(field, from, row->field) == 0;
	}
	cpu_xstate_changed(cpu, row->xstate);
	return true;
}

/* Up to and with the floating-point registers and MXCSR, in the order of their numbers: what gdb asks for at each stop.
 */
size_t gdb_registers_read_all(const struct gdb_registers *set, const struct cpu *cpu, uint8_t *to)
{
	size_t used = 0;
	unsigned count = gdb_registers_count(set);
	for (unsigned i = 0; i < count; i++)
		used += gdb_register_read(set, cpu, i, to + used);
	return used;
}

static const char types[] =
    "<vector id=\"v4f\" type=\"ieee_single\" count=\"4\"/><vector id=\"v2d\" type=\"ieee_double\" count=\"2\"/>"
    "<vector id=\"v16i8\" type=\"int8\" count=\"16\"/><vector id=\"v8i16\" type=\"int16\" count=\"8\"/>"
    "<vector id=\"v4i32\" type=\"int32\" count=\"4\"/><vector id=\"v2i64\" type=\"int64\" count=\"2\"/>"
    "<union id=\"vec128\"><field name=\"v4_float\" type=\"v4f\"/><field name=\"v2_double\" type=\"v2d\"/>"
    "<field name=\"v16_int8\" type=\"v16i8\"/><field name=\"v8_int16\" type=\"v8i16\"/>"
    "<field name=\"v4_int32\" type=\"v4i32\"/><field name=\"v2_int64\" type=\"v2i64\"/>"
    "<field name=\"uint128\" type=\"uint128\"/></union>"
    "<flags id=\"nfold_eflags\" size=\"4\"><field name=\"CF\" start=\"0\" end=\"0\"/><field name=\"\" start=\"1\" "
    "end=\"1\"/>"
    "<field name=\"PF\" start=\"2\" end=\"2\"/><field name=\"AF\" start=\"4\" end=\"4\"/>"
    "<field name=\"ZF\" start=\"6\" end=\"6\"/><field name=\"SF\" start=\"7\" end=\"7\"/>"
    "<field name=\"TF\" start=\"8\" end=\"8\"/><field name=\"IF\" start=\"9\" end=\"9\"/>"
    "<field name=\"DF\" start=\"10\" end=\"10\"/><field name=\"OF\" start=\"11\" end=\"11\"/>"
    "<field name=\"NT\" start=\"14\" end=\"14\"/><field name=\"RF\" start=\"16\" end=\"16\"/>"
    "<field name=\"VM\" start=\"17\" end=\"17\"/><field name=\"AC\" start=\"18\" end=\"18\"/>"
    "<field name=\"VIF\" start=\"19\" end=\"19\"/><field name=\"VIP\" start=\"20\" end=\"20\"/>"
    "<field name=\"ID\" start=\"21\" end=\"21\"/></flags>";

static void describe_row(FILE *to, const struct row *row)
{
	for (unsigned i = 0; i < row->count; i++) {
		const char *number = strstr(row->name, "%u");
		(void)fputs("<reg name=\"", to);
		if (number == NULL)
			(void)fputs(row->name, to);
		else
			(void)fprintf(to, "%.*s%u%s", (int)(number - row->name), row->name, i, number + 2);
		(void)fprintf(to, "\" bitsize=\"%u\" type=\"%s\"/>", row->bits, row->type);
	}
}

char *gdb_registers_describe(const struct gdb_registers *set)
{
	char *text = NULL;
	size_t size;
	FILE *to = open_memstream(&text, &size);
	if (to == NULL)
		return NULL;
	(void)fprintf(to,
		      "<?xml version=\"1.0\"?><!DOCTYPE target SYSTEM \"gdb-target.dtd\"><target version=\"1.0\">"
		      "<architecture>%s</architecture>",
		      set->architecture);
	for (unsigned i = 0; i < set->features; i++) {
		(void)fprintf(to, "<feature name=\"%s\">%s", set->feature[i].name, types);
		for (unsigned k = 0; k < set->feature[i].rows; k++)
			describe_row(to, &set->feature[i].row[k]);
		(void)fputs("</feature>", to);
	}
	(void)fputs("</target>", to);
	if (fclose(to) != 0) {
		free(text);
		return NULL;
	}
	return text;
}
