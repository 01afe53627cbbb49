/* SPDX-License-Identifier: MIT */
#include "devices/fwcfg.h"

#include <stdlib.h>
#include <string.h>

#define KEY_WRITE 0x4000u /* bit of the selector: once asked for to write; it names the same item */

#define ID_PORTS 1u
#define ID_DMA 2u

#define DMA_ERROR 0x01u
#define DMA_READ 0x02u
#define DMA_SKIP 0x04u
#define DMA_SELECT 0x08u
#define DMA_WRITE 0x10u

#define DIRECTORY_ENTRY 64u /* size, key, 2 bytes reserved, name */
#define DIRECTORY_SIZE (4u + FWCFG_ITEMS * DIRECTORY_ENTRY)

static const uint8_t signature[4] = {'Q', 'E', 'M', 'U'};
static const uint8_t dma_signature[8] = {'Q', 'E', 'M', 'U', ' ', 'C', 'F', 'G'};

struct fwcfg_item {
	uint8_t *bytes;
	uint32_t size;
	uint16_t key;
	bool writable;
};

struct fwcfg {
	struct memory *memory;
	struct fwcfg_item item[FWCFG_ITEMS];
	unsigned items, files;
	uint8_t directory[DIRECTORY_SIZE];
	const struct fwcfg_item *selected; /* NULL: nothing of that key */
	uint32_t offset;
	uint64_t dma_address; /* its high half, until the low half is written */
};

static uint32_t load_be32(const uint8_t *from)
{
	return (uint32_t)from[0] << 24 | (uint32_t)from[1] << 16 | (uint32_t)from[2] << 8 | from[3];
}

static void store_be32(uint8_t *to, uint32_t value)
{
	for (unsigned i = 0; i < 4; i++)
		to[i] = (uint8_t)(value >> (24 - 8 * i));
}

/* ---- items ---- */

static const struct fwcfg_item *fwcfg_find(const struct fwcfg *fwcfg, unsigned key)
{
	for (unsigned i = 0; i < fwcfg->items; i++)
		if (fwcfg->item[i].key == key)
			return &fwcfg->item[i];
	return NULL;
}

static void fwcfg_select(struct fwcfg *fwcfg, unsigned key)
{
	fwcfg->selected = fwcfg_find(fwcfg, key & ~KEY_WRITE & 0xffff);
	fwcfg->offset = 0;
}

/* Bytes from the offset on to the end of the item. */
static uint32_t fwcfg_left(const struct fwcfg *fwcfg)
{
	if (fwcfg->selected == NULL || fwcfg->offset >= fwcfg->selected->size)
		return 0;
	return fwcfg->selected->size - fwcfg->offset;
}

static void fwcfg_skip(struct fwcfg *fwcfg, uint32_t count)
{
	uint32_t left = fwcfg_left(fwcfg);
	fwcfg->offset += count < left ? count : left;
}

static uint8_t fwcfg_read_byte(struct fwcfg *fwcfg)
{
	if (fwcfg_left(fwcfg) == 0)
		return 0;
	return fwcfg->selected->bytes[fwcfg->offset++];
}

/* ---- DMA ---- */

static bool fwcfg_dma_read(struct fwcfg *fwcfg, uint64_t address, uint32_t length)
{
	uint32_t left = fwcfg_left(fwcfg);
	uint32_t count = length < left ? length : left;
	if (count > 0 && !memory_write(fwcfg->memory, address, fwcfg->selected->bytes + fwcfg->offset, count))
		return false;
	fwcfg_skip(fwcfg, count);
	return count == length || memory_fill(fwcfg->memory, address + count, 0, length - count);
}

/* All of it or nothing: what does not fit into the item is an error. */
static bool fwcfg_dma_write(struct fwcfg *fwcfg, uint64_t address, uint32_t length)
{
	if (fwcfg->selected == NULL || !fwcfg->selected->writable || length > fwcfg_left(fwcfg))
		return false;
	if (length > 0 && !memory_read(fwcfg->memory, address, fwcfg->selected->bytes + fwcfg->offset, length))
		return false;
	fwcfg_skip(fwcfg, length);
	return true;
}

static bool fwcfg_dma_transfer(struct fwcfg *fwcfg, uint32_t control, uint32_t length, uint64_t address)
{
	if (control & DMA_SELECT)
		fwcfg_select(fwcfg, control >> 16);
	if (length > 0 && address + (length - 1) < address)
		return (control & (DMA_READ | DMA_WRITE)) == 0;
	if (control & DMA_READ)
		return fwcfg_dma_read(fwcfg, address, length);
	if (control & DMA_WRITE)
		return fwcfg_dma_write(fwcfg, address, length);
	if (control & DMA_SKIP)
		fwcfg_skip(fwcfg, length);
	return true;
}

/* The descriptor is control, length and address, big-endian. Its control becomes 0, or the error bit. */
static void fwcfg_dma_run(struct fwcfg *fwcfg, uint64_t descriptor)
{
	uint8_t bytes[16];
	if (descriptor > UINT64_MAX - sizeof bytes || !memory_read(fwcfg->memory, descriptor, bytes, sizeof bytes))
		return; /* nowhere to report to */
	uint64_t address = (uint64_t)load_be32(bytes + 8) << 32 | load_be32(bytes + 12);
	bool done = fwcfg_dma_transfer(fwcfg, load_be32(bytes), load_be32(bytes + 4), address);
	store_be32(bytes, done ? 0 : DMA_ERROR);
	(void)memory_write(fwcfg->memory, descriptor, bytes, 4);
}

/* ---- ports ---- */

static uint64_t fwcfg_read_port(void *opaque, uint64_t offset, unsigned size)
{
	struct fwcfg *fwcfg = opaque;
	return offset == 1 && size == 1 ? fwcfg_read_byte(fwcfg) : 0;
}

static void fwcfg_write_port(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
	struct fwcfg *fwcfg = opaque;
	if (offset == 0 && size == 2)
		fwcfg_select(fwcfg, (unsigned)value & 0xffff);
}

static uint64_t fwcfg_read_dma(void *opaque, uint64_t offset, unsigned size)
{
	(void)opaque;
	uint64_t value = 0;
	for (unsigned i = 0; i < size && offset + i < sizeof dma_signature; i++)
		value |= (uint64_t)dma_signature[offset + i] << (8 * i);
	return value;
}

static void fwcfg_write_dma(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
	struct fwcfg *fwcfg = opaque;
	if (size != 4)
		return;
	uint32_t half = __builtin_bswap32((uint32_t)value);
	if (offset == 0) {
		fwcfg->dma_address = (uint64_t)half << 32;
	} else if (offset == 4) {
		uint64_t descriptor = fwcfg->dma_address | half;
		fwcfg->dma_address = 0;
		fwcfg_dma_run(fwcfg, descriptor);
	}
}

static const struct io_ops fwcfg_port_ops = {.read = fwcfg_read_port, .write = fwcfg_write_port, .max_size = 2};
static const struct io_ops fwcfg_dma_ops = {.read = fwcfg_read_dma, .write = fwcfg_write_dma, .max_size = 4};

bool fwcfg_map(struct fwcfg *fwcfg, struct io_map *ports, struct error *error)
{
	return io_map_add(ports, 0x510, 2, &fwcfg_port_ops, fwcfg, "fwcfg", error) &&
	       io_map_add(ports, 0x514, 8, &fwcfg_dma_ops, fwcfg, "fwcfg-dma", error);
}

/* ---- wiring ---- */

static bool fwcfg_insert(struct fwcfg *fwcfg, const struct fwcfg_item *item, const void *bytes, struct error *error)
{
	if (fwcfg->items == FWCFG_ITEMS)
		return error_set(error, ERROR_HOST, "there are too many firmware configuration items");
	if ((item->key & KEY_WRITE) || fwcfg_find(fwcfg, item->key) != NULL)
		return error_set(error, ERROR_HOST, "the firmware configuration key %04xh is in use", item->key);
	if (item->size > FWCFG_ITEM_SIZE)
		return error_set(error, ERROR_INPUT, "an item for the firmware has %u bytes; at most %u are possible",
				 item->size, FWCFG_ITEM_SIZE);
	struct fwcfg_item *slot = &fwcfg->item[fwcfg->items];
	*slot = *item;
	slot->bytes = malloc(item->size != 0 ? item->size : 1);
	if (slot->bytes == NULL)
		return error_set(error, ERROR_HOST, "out of memory for the firmware configuration");
	if (item->size > 0)
		memcpy(slot->bytes, bytes, item->size);
	fwcfg->items++;
	return true;
}

bool fwcfg_add(struct fwcfg *fwcfg, uint16_t key, const void *bytes, uint32_t size, struct error *error)
{
	const struct fwcfg_item item = {.size = size, .key = key};
	if (key >= FWCFG_FILE_FIRST && key < KEY_WRITE)
		return error_set(error, ERROR_HOST, "the firmware configuration key %04xh is a file's", key);
	return fwcfg_insert(fwcfg, &item, bytes, error);
}

bool fwcfg_add_number(struct fwcfg *fwcfg, uint16_t key, uint64_t value, unsigned size, struct error *error)
{
	uint8_t bytes[8];
	for (unsigned i = 0; i < sizeof bytes; i++)
		bytes[i] = (uint8_t)(value >> (8 * i));
	return fwcfg_add(fwcfg, key, bytes, size, error);
}

static bool fwcfg_has_file(const struct fwcfg *fwcfg, const char *name)
{
	for (unsigned i = 0; i < fwcfg->files; i++)
		if (strcmp((const char *)fwcfg->directory + 4 + i * DIRECTORY_ENTRY + 8, name) == 0)
			return true;
	return false;
}

bool fwcfg_add_file(struct fwcfg *fwcfg, const char *name, const void *bytes, uint32_t size, bool writable,
		    struct error *error)
{
	size_t length = strlen(name);
	if (length == 0 || length >= FWCFG_NAME || fwcfg_has_file(fwcfg, name))
		return error_set(error, ERROR_INPUT, "the firmware file name \"%s\" is empty, too long or in use",
				 name);
	const struct fwcfg_item item = {
	    .size = size, .key = (uint16_t)(FWCFG_FILE_FIRST + fwcfg->files), .writable = writable};
	if (!fwcfg_insert(fwcfg, &item, bytes, error))
		return false;
	uint8_t *entry = fwcfg->directory + 4 + fwcfg->files * DIRECTORY_ENTRY;
	store_be32(entry, size);
	store_be32(entry + 4, (uint32_t)item.key << 16);
	memcpy(entry + 8, name, length);
	store_be32(fwcfg->directory, ++fwcfg->files);
	return true;
}

/* The directory is an item that grows; its bytes are in the device itself. */
static void fwcfg_add_directory(struct fwcfg *fwcfg)
{
	fwcfg->item[fwcfg->items++] =
	    (struct fwcfg_item){.bytes = fwcfg->directory, .size = DIRECTORY_SIZE, .key = FWCFG_FILE_DIRECTORY};
}

struct fwcfg *fwcfg_create(struct memory *memory, struct error *error)
{
	struct fwcfg *fwcfg = calloc(1, sizeof *fwcfg);
	if (fwcfg == NULL) {
		(void)error_set(error, ERROR_HOST, "out of memory for the firmware configuration");
		return NULL;
	}
	fwcfg->memory = memory;
	fwcfg_add_directory(fwcfg);
	if (fwcfg_add(fwcfg, FWCFG_SIGNATURE, signature, sizeof signature, error) &&
	    fwcfg_add_number(fwcfg, FWCFG_ID, ID_PORTS | ID_DMA, 4, error)) {
		fwcfg_reset(fwcfg);
		return fwcfg;
	}
	fwcfg_destroy(fwcfg);
	return NULL;
}

void fwcfg_destroy(struct fwcfg *fwcfg)
{
	for (unsigned i = 0; i < fwcfg->items; i++)
		if (fwcfg->item[i].bytes != fwcfg->directory)
			free(fwcfg->item[i].bytes);
	free(fwcfg);
}

void fwcfg_reset(struct fwcfg *fwcfg)
{
	fwcfg_select(fwcfg, FWCFG_SIGNATURE);
	fwcfg->dma_address = 0;
}
