/* SPDX-License-Identifier: MIT */
/*
 * Where guest memory appears: RAM around the VGA window and the PCI hole, the firmware's ROM below 4 GiB and, as the
 * host bridge's PAM registers say, ROM or RAM between 768 KiB and 1 MiB; video memory where its BAR is.
 *
 *   0        A0000h     C0000h            100000h        3 GiB             4 GiB - ROM     4 GiB
 *   | RAM    | VGA      | PAM segments    | RAM          | PCI devices     | ROM           | RAM
 *
 * The backing: RAM from offset 0 (below 3 GiB at its own address), then the ROM, then a block of ones, which is what a
 * segment without RAM or ROM reads as, then video memory.
 *
 * Threading: as memory_move_region().
 */
#ifndef NFOLD_MACHINE_MEMORY_MAP_H
#define NFOLD_MACHINE_MEMORY_MAP_H

#include "devices/i440fx.h"
#include "machine/image.h"
#include "memory/memory.h"

#define MEMORY_MAP_ROM_MIN (UINT64_C(64) << 10)
#define MEMORY_MAP_ROM_MAX (UINT64_C(16) << 20)

struct memory_map_config {
	uint64_t memory_size;
	const struct image *rom; /* NULL: none */
	uint64_t video_size;
};

struct memory_map {
	struct memory *memory;
	struct memory_map_config config;
	uint64_t rom_size; /* whole pages */
	uint64_t rom_offset, ones_offset, video_offset;
	int segment[I440FX_SEGMENTS]; /* regions */
	int video;
};

/* Is it an image that can be a PC's ROM? Its size is a multiple of 64 KiB, 64 KiB to 16 MiB. */
bool memory_map_check_rom(const struct image *rom, struct error *error);

/* Initializes *memory, lays it out with every segment as RAM, and copies the ROM. */
bool memory_map_create(struct memory_map *map, struct memory *memory, const struct memory_map_config *config,
		       struct error *error);

/* What a PAM segment's reads and writes go to. */
void memory_map_shadow(struct memory_map *map, uint32_t base, uint32_t size, bool ram_read, bool ram_write);

/* Video memory, and where it appears. */
uint8_t *memory_map_video(const struct memory_map *map);
void memory_map_place_video(struct memory_map *map, bool mapped, uint64_t base);

#endif
