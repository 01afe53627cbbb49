/* SPDX-License-Identifier: MIT */
/*
 * A tiny assembler for ACPI Machine Language (ACPI 5.0, chapter 20) and resource descriptors (chapter 6.4).
 *
 * Everything is appended to a buffer. Terms with a PkgLength are opened and closed; aml_close() puts the length in.
 * Running out of room is remembered, not written past: check aml->overflow once at the end.
 */
#ifndef NFOLD_MACHINE_AML_H
#define NFOLD_MACHINE_AML_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct aml {
	uint8_t *bytes;
	size_t size, limit;
	bool overflow;
};

/* Where an open term's PkgLength goes. */
typedef size_t aml_mark;

void aml_put(struct aml *aml, uint64_t value, unsigned bytes);
void aml_put_bytes(struct aml *aml, const void *bytes, size_t count);

/* Names are written out in full: "_SB_", "\\_S5_", "\\_SB_.PCI0.ISA_". */
void aml_name_string(struct aml *aml, const char *name);
void aml_integer(struct aml *aml, uint32_t value);
void aml_string(struct aml *aml, const char *text);
void aml_eisa_id(struct aml *aml, const char *id); /* "PNP0A03" */

/* Name(name, ...): the object follows. */
void aml_name(struct aml *aml, const char *name);
void aml_name_integer(struct aml *aml, const char *name, uint32_t value);
void aml_name_eisa_id(struct aml *aml, const char *name, const char *id);

aml_mark aml_open_scope(struct aml *aml, const char *name);
aml_mark aml_open_device(struct aml *aml, const char *name);
/* Flags: the number of arguments, and AML_SERIALIZED for methods that make names. */
#define AML_SERIALIZED 8u
aml_mark aml_open_method(struct aml *aml, const char *name, unsigned flags);
aml_mark aml_open_package(struct aml *aml, unsigned element_count);
aml_mark aml_open_if(struct aml *aml); /* the predicate follows, then the terms */
aml_mark aml_open_else(struct aml *aml);
void aml_close(struct aml *aml, aml_mark mark);

void aml_return(struct aml *aml); /* the value follows */

/* Operators, and what they work on. Each is one byte; the operands follow. */
enum aml_term {
	AML_LOCAL0 = 0x60,
	AML_ARG0 = 0x68,
	AML_STORE = 0x70,	       /* value, target */
	AML_DECREMENT = 0x76,	       /* target */
	AML_SHIFT_LEFT = 0x79,	       /* value, count, target */
	AML_AND = 0x7b,		       /* value, value, target */
	AML_OR = 0x7d,		       /* value, value, target */
	AML_FIND_SET_RIGHT_BIT = 0x82, /* value, target: 1 is bit 0 */
	AML_CREATE_WORD_FIELD = 0x8b,  /* buffer, byte index, new name */
};
void aml_term(struct aml *aml, enum aml_term term);
#define AML_NO_TARGET 0u /* aml_integer() of it: the result is only the operator's value */

/* A part of a PCI function's configuration space, in the function's scope, and 8-bit fields in it, one after the
 * other. */
void aml_config_region(struct aml *aml, const char *name, uint8_t offset, uint8_t size);
aml_mark aml_open_byte_field(struct aml *aml, const char *region);
void aml_field_byte(struct aml *aml, const char *name);

/* Buffer(){...} of resource descriptors, to be closed with aml_close_resources. */
struct aml_resources {
	aml_mark package;
	size_t start;
};
struct aml_resources aml_open_resources(struct aml *aml);
void aml_close_resources(struct aml *aml, struct aml_resources resources);

void aml_io(struct aml *aml, uint16_t base, uint8_t size);
void aml_irq(struct aml *aml, unsigned irq);	      /* edge, active high, exclusive */
void aml_shared_irqs(struct aml *aml, uint16_t irqs); /* a mask of choices: level, active low, shared */
void aml_dma(struct aml *aml, unsigned channel);      /* 8 bits, no bus master */

enum aml_space { AML_SPACE_MEMORY = 0, AML_SPACE_IO = 1, AML_SPACE_BUS = 2 };
#define AML_MEMORY_WRITABLE 1u
#define AML_MEMORY_CACHEABLE 2u
#define AML_IO_ENTIRE_RANGE 3u
void aml_word_window(struct aml *aml, enum aml_space space, unsigned flags, uint32_t first, uint32_t last);
void aml_dword_window(struct aml *aml, enum aml_space space, unsigned flags, uint32_t first, uint32_t last);

#endif
