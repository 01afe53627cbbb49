/* SPDX-License-Identifier: MIT */
#include "machine/aml.h"

#include <assert.h>
#include <string.h>

#include "base/bits.h"

enum aml_op {
	OP_NAME = 0x08,
	OP_BYTE = 0x0a,
	OP_WORD = 0x0b,
	OP_DWORD = 0x0c,
	OP_STRING = 0x0d,
	OP_SCOPE = 0x10,
	OP_BUFFER = 0x11,
	OP_PACKAGE = 0x12,
	OP_METHOD = 0x14,
	OP_DUAL_NAME = 0x2e,
	OP_MULTI_NAME = 0x2f,
	OP_EXTENDED = 0x5b,
	OP_REGION = 0x80, /* this and the next two after OP_EXTENDED */
	OP_FIELD = 0x81,
	OP_DEVICE = 0x82,
	OP_IF = 0xa0,
	OP_ELSE = 0xa1,
	OP_RETURN = 0xa4,
};

enum resource_tag {
	TAG_IRQ = 0x22,	      /* two bytes: no flags */
	TAG_IRQ_FLAGS = 0x23, /* three */
	TAG_DMA = 0x2a,
	TAG_IO = 0x47,
	TAG_END = 0x79,
	TAG_DWORD_WINDOW = 0x87,
	TAG_WORD_WINDOW = 0x88,
};

void aml_put_bytes(struct aml *aml, const void *bytes, size_t count)
{
	if (count > aml->limit - aml->size) {
		aml->overflow = true;
		return;
	}
	memcpy(aml->bytes + aml->size, bytes, count);
	aml->size += count;
}

void aml_put(struct aml *aml, uint64_t value, unsigned bytes)
{
	uint8_t buffer[8];
	store_le(buffer, value, 8);
	aml_put_bytes(aml, buffer, bytes);
}

/* Segments of four characters, with a dot between two. */
void aml_name_string(struct aml *aml, const char *name)
{
	if (*name == '\\')
		aml_put(aml, (uint8_t)*name++, 1);
	size_t segments = (strlen(name) + 1) / 5;
	assert(segments > 0 && strlen(name) == segments * 5 - 1);
	if (segments == 2)
		aml_put(aml, OP_DUAL_NAME, 1);
	if (segments > 2) {
		aml_put(aml, OP_MULTI_NAME, 1);
		aml_put(aml, segments, 1);
	}
	for (size_t i = 0; i < segments; i++)
		aml_put_bytes(aml, name + i * 5, 4);
}

void aml_integer(struct aml *aml, uint32_t value)
{
	if (value <= 1) { /* ZeroOp, OneOp */
		aml_put(aml, value, 1);
	} else if (value <= 0xff) {
		aml_put(aml, OP_BYTE, 1);
		aml_put(aml, value, 1);
	} else if (value <= 0xffff) {
		aml_put(aml, OP_WORD, 1);
		aml_put(aml, value, 2);
	} else {
		aml_put(aml, OP_DWORD, 1);
		aml_put(aml, value, 4);
	}
}

void aml_string(struct aml *aml, const char *text)
{
	aml_put(aml, OP_STRING, 1);
	aml_put_bytes(aml, text, strlen(text) + 1);
}

static uint32_t hex_digit(char digit)
{
	return (uint32_t)(digit <= '9' ? digit - '0' : digit - 'A' + 10);
}

/* Three letters of five bits, four digits of four, as a big-endian double word (ACPI 5.0, 6.1.5). */
void aml_eisa_id(struct aml *aml, const char *id)
{
	uint32_t value = 0;
	assert(strlen(id) == 7);
	for (unsigned i = 0; i < 3; i++)
		value = value << 5 | ((uint32_t)(id[i] - '@') & 31);
	for (unsigned i = 3; i < 7; i++)
		value = value << 4 | hex_digit(id[i]);
	aml_put(aml, OP_DWORD, 1);
	aml_put(aml, __builtin_bswap32(value), 4);
}

void aml_name(struct aml *aml, const char *name)
{
	aml_put(aml, OP_NAME, 1);
	aml_name_string(aml, name);
}

void aml_name_integer(struct aml *aml, const char *name, uint32_t value)
{
	aml_name(aml, name);
	aml_integer(aml, value);
}

void aml_name_eisa_id(struct aml *aml, const char *name, const char *id)
{
	aml_name(aml, name);
	aml_eisa_id(aml, id);
}

aml_mark aml_open_scope(struct aml *aml, const char *name)
{
	aml_put(aml, OP_SCOPE, 1);
	aml_mark mark = aml->size;
	aml_name_string(aml, name);
	return mark;
}

aml_mark aml_open_device(struct aml *aml, const char *name)
{
	aml_put(aml, OP_EXTENDED, 1);
	aml_put(aml, OP_DEVICE, 1);
	aml_mark mark = aml->size;
	aml_name_string(aml, name);
	return mark;
}

aml_mark aml_open_method(struct aml *aml, const char *name, unsigned flags)
{
	aml_put(aml, OP_METHOD, 1);
	aml_mark mark = aml->size;
	aml_name_string(aml, name);
	aml_put(aml, flags, 1);
	return mark;
}

aml_mark aml_open_package(struct aml *aml, unsigned element_count)
{
	assert(element_count <= 0xff);
	aml_put(aml, OP_PACKAGE, 1);
	aml_mark mark = aml->size;
	aml_put(aml, element_count, 1);
	return mark;
}

aml_mark aml_open_if(struct aml *aml)
{
	aml_put(aml, OP_IF, 1);
	return aml->size;
}

aml_mark aml_open_else(struct aml *aml)
{
	aml_put(aml, OP_ELSE, 1);
	return aml->size;
}

/* PkgLength counts itself. One byte holds 6 bits; with n more bytes the first one holds 4 (ACPI 5.0, 20.2.4). */
void aml_close(struct aml *aml, aml_mark mark)
{
	size_t length = aml->size - mark;
	unsigned more = length + 1 < 0x40 ? 0 : length + 2 < 0x1000 ? 1 : 2;
	length += 1 + more;
	assert(length < 0x100000);
	if (1 + more > aml->limit - aml->size) {
		aml->overflow = true;
		return;
	}
	uint8_t *at = aml->bytes + mark;
	memmove(at + 1 + more, at, aml->size - mark);
	at[0] = (uint8_t)(more == 0 ? length : more << 6 | (length & 15));
	for (unsigned i = 0; i < more; i++)
		at[1 + i] = (uint8_t)(length >> (4 + 8 * i));
	aml->size += 1 + more;
}

void aml_return(struct aml *aml)
{
	aml_put(aml, OP_RETURN, 1);
}

void aml_term(struct aml *aml, enum aml_term term)
{
	aml_put(aml, term, 1);
}

#define REGION_PCI_CONFIG 2u

void aml_config_region(struct aml *aml, const char *name, uint8_t offset, uint8_t size)
{
	aml_put(aml, OP_EXTENDED, 1);
	aml_put(aml, OP_REGION, 1);
	aml_name_string(aml, name);
	aml_put(aml, REGION_PCI_CONFIG, 1);
	aml_integer(aml, offset);
	aml_integer(aml, size);
}

#define FIELD_BYTE_ACCESS 1u /* no lock, other bits are preserved */

aml_mark aml_open_byte_field(struct aml *aml, const char *region)
{
	aml_put(aml, OP_EXTENDED, 1);
	aml_put(aml, OP_FIELD, 1);
	aml_mark mark = aml->size;
	aml_name_string(aml, region);
	aml_put(aml, FIELD_BYTE_ACCESS, 1);
	return mark;
}

void aml_field_byte(struct aml *aml, const char *name)
{
	aml_name_string(aml, name);
	aml_put(aml, 8, 1); /* bits */
}

/* The buffer's size is a word to be filled in at the end. */
struct aml_resources aml_open_resources(struct aml *aml)
{
	struct aml_resources resources;
	aml_put(aml, OP_BUFFER, 1);
	resources.package = aml->size;
	aml_put(aml, OP_WORD, 1);
	aml_put(aml, 0, 2);
	resources.start = aml->size;
	return resources;
}

void aml_close_resources(struct aml *aml, struct aml_resources resources)
{
	aml_put(aml, TAG_END, 1);
	aml_put(aml, 0, 1); /* no checksum */
	if (!aml->overflow)
		store_le(aml->bytes + resources.start - 2, aml->size - resources.start, 2);
	aml_close(aml, resources.package);
}

void aml_io(struct aml *aml, uint16_t base, uint8_t size)
{
	aml_put(aml, TAG_IO, 1);
	aml_put(aml, 1, 1); /* decodes 16 bits */
	aml_put(aml, base, 2);
	aml_put(aml, base, 2);
	aml_put(aml, 1, 1);
	aml_put(aml, size, 1);
}

void aml_irq(struct aml *aml, unsigned irq)
{
	aml_put(aml, TAG_IRQ, 1);
	aml_put(aml, BIT32(irq), 2);
}

#define IRQ_LEVEL_LOW_SHARED 0x18u

void aml_shared_irqs(struct aml *aml, uint16_t irqs)
{
	aml_put(aml, TAG_IRQ_FLAGS, 1);
	aml_put(aml, irqs, 2);
	aml_put(aml, IRQ_LEVEL_LOW_SHARED, 1);
}

void aml_dma(struct aml *aml, unsigned channel)
{
	aml_put(aml, TAG_DMA, 1);
	aml_put(aml, BIT32(channel), 1);
	aml_put(aml, 0, 1);
}

/* An address space descriptor with fixed ends (6.4.3.5): granularity, first, last, offset, length. */
static void put_window(struct aml *aml, enum aml_space space, unsigned flags, uint32_t first, uint32_t last,
		       unsigned bytes)
{
	aml_put(aml, bytes == 2 ? TAG_WORD_WINDOW : TAG_DWORD_WINDOW, 1);
	aml_put(aml, 3 + 5 * bytes, 2);
	aml_put(aml, space, 1);
	aml_put(aml, 0x0c, 1); /* both ends fixed, positive decode, produced for the children */
	aml_put(aml, flags, 1);
	aml_put(aml, 0, bytes);
	aml_put(aml, first, bytes);
	aml_put(aml, last, bytes);
	aml_put(aml, 0, bytes);
	aml_put(aml, (uint64_t)last - first + 1, bytes);
}

void aml_word_window(struct aml *aml, enum aml_space space, unsigned flags, uint32_t first, uint32_t last)
{
	put_window(aml, space, flags, first, last, 2);
}

void aml_dword_window(struct aml *aml, enum aml_space space, unsigned flags, uint32_t first, uint32_t last)
{
	put_window(aml, space, flags, first, last, 4);
}
