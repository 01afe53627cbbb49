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

/* Names are written out in full: "_SB_", "\\_S5_". */
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
aml_mark aml_open_method(struct aml *aml, const char *name, unsigned argument_count);
aml_mark aml_open_package(struct aml *aml, unsigned element_count);
aml_mark aml_open_if(struct aml *aml); /* the predicate follows, then the terms */
void aml_close(struct aml *aml, aml_mark mark);

void aml_return(struct aml *aml); /* the value follows */

/* Buffer(){...} of resource descriptors, to be closed with aml_close_resources. */
struct aml_resources {
	aml_mark package;
	size_t start;
};
struct aml_resources aml_open_resources(struct aml *aml);
void aml_close_resources(struct aml *aml, struct aml_resources resources);

void aml_io(struct aml *aml, uint16_t base, uint8_t size);
void aml_irq(struct aml *aml, unsigned irq); /* edge, active high, exclusive */

enum aml_space { AML_SPACE_MEMORY = 0, AML_SPACE_IO = 1, AML_SPACE_BUS = 2 };
#define AML_MEMORY_WRITABLE 1u
#define AML_MEMORY_CACHEABLE 2u
#define AML_IO_ENTIRE_RANGE 3u
void aml_word_window(struct aml *aml, enum aml_space space, unsigned flags, uint32_t first, uint32_t last);
void aml_dword_window(struct aml *aml, enum aml_space space, unsigned flags, uint32_t first, uint32_t last);

#endif
