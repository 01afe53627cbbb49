/* SPDX-License-Identifier: MIT */
#include "machine/memory-map.h"

#include <assert.h>
#include <string.h>

#include "base/bits.h"
#include "machine/boot.h"
#include "machine/layout.h"

/* As large as the largest segment. */
#define ONES_SIZE 0x10000u
/* As far down from 1 MiB as the ROM shows below 1 MiB. */
#define ROM_WINDOW 0x20000u

bool memory_map_check_rom(const struct image *rom, struct error *error)
{
	if (rom->size % MEMORY_MAP_ROM_MIN == 0 && rom->size <= MEMORY_MAP_ROM_MAX)
		return true;
	return error_set(error, ERROR_INPUT,
			 "%s is no PC firmware: %llu bytes, but a ROM has a multiple of 64 KiB, at most 16 MiB",
			 rom->path, (unsigned long long)rom->size);
}

static bool add_ram(const struct memory_map *map, struct error *error)
{
	uint64_t size = map->config.memory_size, low_end = boot_low_end(size);
	/* The first to be found is the one that most accesses want. */
	return memory_add_region(map->memory, LAYOUT_ACPI_END, low_end - LAYOUT_ACPI_END, LAYOUT_ACPI_END, false,
				 error) &&
	       (size <= LAYOUT_LOW_LIMIT ||
		memory_add_region(map->memory, LAYOUT_HIGH_BASE, size - low_end, low_end, false, error)) &&
	       memory_add_region(map->memory, 0, LAYOUT_VGA_BASE, 0, false, error);
}

static bool add_rom(const struct memory_map *map, struct error *error)
{
	if (map->rom_size == 0)
		return true;
	return memory_add_region(map->memory, LAYOUT_HIGH_BASE - map->rom_size, map->rom_size, map->rom_offset, true,
				 error);
}

static bool add_movable(struct memory_map *map, struct error *error)
{
	for (unsigned i = 0; i < I440FX_SEGMENTS; i++) {
		map->segment[i] = memory_add_movable_region(map->memory, error);
		if (map->segment[i] < 0)
			return false;
	}
	map->video = memory_add_movable_region(map->memory, error);
	return map->video >= 0;
}

static bool fill(struct memory_map *map, struct error *error)
{
	memset(map->memory->host + map->ones_offset, 0xff, ONES_SIZE); /* no region shows it yet */
	for (unsigned i = 0; i < I440FX_SEGMENTS; i++)
		memory_map_shadow(map, i440fx_segment(i).base, i440fx_segment(i).size, true, true);
	return map->rom_size == 0 || image_copy(map->config.rom, map->memory, LAYOUT_HIGH_BASE - map->rom_size, error);
}

bool memory_map_create(struct memory_map *map, struct memory *memory, const struct memory_map_config *config,
		       struct error *error)
{
	*map = (struct memory_map){.memory = memory, .config = *config};
	map->rom_size = config->rom != NULL ? config->rom->size : 0;
	map->rom_offset = align_up(config->memory_size, PAGE_SIZE);
	map->ones_offset = map->rom_offset + map->rom_size;
	map->video_offset = map->ones_offset + ONES_SIZE;
	return memory_init(memory, map->video_offset + config->video_size, error) && add_ram(map, error) &&
	       add_rom(map, error) && add_movable(map, error) && fill(map, error);
}

/* Where the ROM has the byte that shows at `base` below 1 MiB: its end is at 1 MiB, too. */
static bool rom_offset_at(const struct memory_map *map, uint32_t base, uint64_t *offset)
{
	uint64_t from_end = LAYOUT_ACPI_END - base;
	if (from_end > map->rom_size || from_end > ROM_WINDOW)
		return false;
	*offset = map->rom_offset + map->rom_size - from_end;
	return true;
}

void memory_map_shadow(struct memory_map *map, uint32_t base, uint32_t size, bool ram_read, bool ram_write)
{
	unsigned index = 0;
	while (index < I440FX_SEGMENTS && i440fx_segment(index).base != base)
		index++;
	assert(index < I440FX_SEGMENTS && i440fx_segment(index).size == size);
	struct memory_region region = {.base = base, .size = size, .offset = base};
	if (!ram_read && !rom_offset_at(map, base, &region.offset)) {
		region.offset = map->ones_offset;
		if (!ram_write) /* nothing there: other devices may answer */
			region = (struct memory_region){0};
	}
	region.read_only = region.size > 0 && !(ram_read && ram_write);
	region.hides_ram = region.read_only && ram_write;
	region.ram_offset = region.hides_ram ? base : 0;
	memory_move_region(map->memory, map->segment[index], &region);
}

uint8_t *memory_map_video(const struct memory_map *map)
{
	return map->memory->host + map->video_offset;
}

void memory_map_place_video(struct memory_map *map, bool mapped, uint64_t base)
{
	struct memory_region region = {0};
	if (mapped)
		region =
		    (struct memory_region){.base = base, .size = map->config.video_size, .offset = map->video_offset};
	memory_move_region(map->memory, map->video, &region);
}
