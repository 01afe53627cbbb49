/* SPDX-License-Identifier: MIT */
#include "io/bus.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

#include "base/bits.h"

/* One step of an access: `size` bytes that go to one range, to the map behind, or to nobody. */
struct io_step {
	const struct io_range *range;
	unsigned size;
};

void io_map_init(struct io_map *map, uint64_t limit)
{
	memset(map, 0, sizeof *map);
	map->limit = limit;
}

void io_map_set_behind(struct io_map *map, struct io_map *behind)
{
	map->behind = behind;
}

/* The index of the first range that ends beyond address, or count. */
static unsigned io_map_search(const struct io_map *map, uint64_t address)
{
	unsigned low = 0, high = map->count;
	while (low < high) {
		unsigned middle = (low + high) / 2;
		const struct io_range *range = &map->range[middle];
		if (range->base + (range->size - 1) < address)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

bool io_map_add(struct io_map *map, uint64_t base, uint64_t size, const struct io_ops *ops, void *opaque,
		const char *name, struct error *error)
{
	assert(ops->max_size == 1 || ops->max_size == 2 || ops->max_size == 4 || ops->max_size == 8);
	uint64_t last = base + (size - 1);
	if (size == 0 || last < base || (map->limit != 0 && last >= map->limit))
		return error_set(error, ERROR_HOST, "%s: %#" PRIx64 "+%#" PRIx64 " is no range of its address space",
				 name, base, size);
	if (map->count == IO_MAP_MAX)
		return error_set(error, ERROR_HOST, "%s: the table of %d ranges is full", name, IO_MAP_MAX);
	unsigned index = io_map_search(map, base);
	if (index < map->count && map->range[index].base <= last)
		return error_set(error, ERROR_HOST, "%s: %#" PRIx64 "+%#" PRIx64 " overlaps %s", name, base, size,
				 map->range[index].name);
	memmove(&map->range[index + 1], &map->range[index], (map->count - index) * sizeof map->range[0]);
	map->range[index] = (struct io_range){.base = base, .size = size, .ops = ops, .opaque = opaque, .name = name};
	map->count++;
	return true;
}

void io_map_remove(struct io_map *map, uint64_t base)
{
	unsigned index = io_map_search(map, base);
	if (index == map->count || map->range[index].base != base)
		return;
	map->count--;
	memmove(&map->range[index], &map->range[index + 1], (map->count - index) * sizeof map->range[0]);
}

/* The largest of 1, 2, 4, 8 that is at most size and limit. */
static unsigned power_of_two_within(unsigned size, uint64_t limit)
{
	unsigned step = 8;
	while (step > size || step > limit)
		step /= 2;
	return step;
}

/* What becomes of the first bytes of an access of size bytes at address. */
static struct io_step io_map_step(const struct io_map *map, uint64_t address, unsigned size)
{
	unsigned index = io_map_search(map, address);
	if (index == map->count)
		return (struct io_step){.size = size};
	const struct io_range *range = &map->range[index];
	if (address < range->base) {
		uint64_t gap = range->base - address;
		return (struct io_step){.size = gap < size ? (unsigned)gap : size};
	}
	uint64_t after = range->base + (range->size - 1) - address; /* bytes of the range after this one */
	uint64_t limit = after >= range->ops->max_size ? range->ops->max_size : after + 1;
	if (limit > range->ops->max_size)
		limit = range->ops->max_size;
	return (struct io_step){.range = range, .size = power_of_two_within(size, limit)};
}

static void serve(struct io_map *map, const char *name)
{
	__atomic_store_n(&map->serving, name, __ATOMIC_RELAXED);
}

uint64_t io_read(struct io_map *map, uint64_t address, unsigned size)
{
	uint64_t value = 0;
	for (unsigned done = 0; done < size;) {
		struct io_step step = io_map_step(map, address + done, size - done);
		uint64_t part = ~UINT64_C(0);
		if (step.range != NULL) {
			const struct io_range range = *step.range;
			serve(map, range.name);
			part = range.ops->read(range.opaque, address + done - range.base, step.size);
			serve(map, NULL);
		} else if (map->behind != NULL) {
			part = io_read(map->behind, address + done, step.size);
		} else {
			map->unclaimed_reads++;
		}
		value |= (part & size_mask(step.size)) << (done * 8);
		done += step.size;
	}
	return value;
}

void io_write(struct io_map *map, uint64_t address, unsigned size, uint64_t value)
{
	for (unsigned done = 0; done < size;) {
		/* The device may change the map, so each step looks anew and the range is copied. */
		struct io_step step = io_map_step(map, address + done, size - done);
		uint64_t part = (value >> (done * 8)) & size_mask(step.size);
		if (step.range != NULL) {
			const struct io_range range = *step.range;
			serve(map, range.name);
			range.ops->write(range.opaque, address + done - range.base, step.size, part);
			serve(map, NULL);
		} else if (map->behind != NULL) {
			io_write(map->behind, address + done, step.size, part);
		} else {
			map->unclaimed_writes++;
		}
		done += step.size;
	}
}
