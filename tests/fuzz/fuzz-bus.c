/* SPDX-License-Identifier: MIT */
/* The io map against a model of one owner for each byte. */
#include "fuzz-rig.h"

#include <string.h>

#define SPACE 512u
#define BASE UINT64_C(0x1000)
#define RANGES 16u

/* Each byte of a range reads as the range's tag plus its offset, and remembers what was written. */
struct range {
	uint8_t tag;
	uint8_t written[SPACE];
	unsigned max_size;
};

static uint64_t range_read(void *opaque, uint64_t offset, unsigned size)
{
	const struct range *range = opaque;
	uint64_t value = 0;
	assert(size <= range->max_size && (size & (size - 1)) == 0);
	for (unsigned i = 0; i < size; i++)
		value |= (uint64_t)(uint8_t)(range->tag + offset + i) << (8 * i);
	return value | (size < 8 ? ~UINT64_C(0) << (8 * size) : 0); /* junk above is the map's to cut */
}

static void range_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
	struct range *range = opaque;
	assert(size <= range->max_size && offset + size <= SPACE);
	for (unsigned i = 0; i < size; i++)
		range->written[offset + i] = (uint8_t)(value >> (8 * i));
}

static const struct io_ops range_ops[4] = {
    {range_read, range_write, 1},
    {range_read, range_write, 2},
    {range_read, range_write, 4},
    {range_read, range_write, 8},
};

struct model {
	struct range range[RANGES];
	int owner[SPACE]; /* index into range, or -1 */
	unsigned base[RANGES], size[RANGES];
	unsigned count;
};

static void model_add(struct model *model, struct fuzz_rig *rig)
{
	unsigned base = (unsigned)fuzz_number(rig, 2) % SPACE, size = fuzz_byte(rig) % 64;
	unsigned kind = fuzz_byte(rig) % 4, index = model->count;
	if (index == RANGES)
		return;
	bool free = size > 0 && base + size <= SPACE;
	for (unsigned i = base; free && i < base + size; i++)
		free = model->owner[i] < 0;
	if (base + size > SPACE)
		return;
	model->range[index] = (struct range){.tag = fuzz_byte(rig), .max_size = 1u << kind};
	bool added = io_map_add(&rig->mmio, BASE + base, size, &range_ops[kind], &model->range[index], "range", NULL);
	assert(added == free);
	if (!added)
		return;
	for (unsigned i = base; i < base + size; i++)
		model->owner[i] = (int)index;
	model->base[index] = base;
	model->size[index] = size;
	model->count++;
}

static void model_remove(struct model *model, struct fuzz_rig *rig)
{
	unsigned base = (unsigned)fuzz_number(rig, 2) % SPACE;
	int index = model->owner[base];
	io_map_remove(&rig->mmio, BASE + base);
	if (index < 0 || model->base[index] != base)
		return;
	for (unsigned i = 0; i < model->size[index]; i++)
		model->owner[base + i] = -1;
}

static void model_read(const struct model *model, struct fuzz_rig *rig)
{
	unsigned offset = (unsigned)fuzz_number(rig, 2) % (SPACE - 8), size = 1u << fuzz_byte(rig) % 4;
	uint64_t value = io_read(&rig->mmio, BASE + offset, size);
	for (unsigned i = 0; i < 8; i++) {
		int owner = model->owner[offset + i];
		uint8_t expected = 0xff;
		if (owner >= 0)
			expected = (uint8_t)(model->range[owner].tag + offset + i - model->base[owner]);
		assert((uint8_t)(value >> (8 * i)) == (i < size ? expected : 0));
	}
}

static void model_write(const struct model *model, struct fuzz_rig *rig)
{
	unsigned offset = (unsigned)fuzz_number(rig, 2) % (SPACE - 8), size = 1u << fuzz_byte(rig) % 4;
	uint64_t value = fuzz_number(rig, size);
	io_write(&rig->mmio, BASE + offset, size, value);
	for (unsigned i = 0; i < size; i++) {
		int owner = model->owner[offset + i];
		if (owner >= 0)
			assert(model->range[owner].written[offset + i - model->base[owner]] ==
			       (uint8_t)(value >> (8 * i)));
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_rig rig;
	static const struct model empty;
	struct model model = empty;
	fuzz_init(&rig, data, size);
	memset(model.owner, -1, sizeof model.owner);
	while (rig.left > 0) {
		switch (fuzz_byte(&rig) % 4) {
		case 0:
			model_add(&model, &rig);
			break;
		case 1:
			model_remove(&model, &rig);
			break;
		case 2:
			model_read(&model, &rig);
			break;
		default:
			model_write(&model, &rig);
			break;
		}
	}
	return 0;
}
