/* SPDX-License-Identifier: MIT */
/* What the disks' tests share: an image in memory that can be slow and bad, and a channel at the primary's ports. */
#ifndef NFOLD_TESTS_UNIT_IDE_RIG_H
#define NFOLD_TESTS_UNIT_IDE_RIG_H

#include <errno.h>

#include "backend/disk.h"
#include "devices/ide.h"
#include "rig.h"

#define DATA 0x1f0
#define FEATURES 0x1f1
#define COUNT 0x1f2
#define LBA_LOW 0x1f3
#define LBA_MID 0x1f4
#define LBA_HIGH 0x1f5
#define DEVICE 0x1f6
#define COMMAND 0x1f7
#define CONTROL 0x3f6
#define NO_SECTOR UINT64_MAX

struct memory_disk {
	struct disk base;
	uint8_t *bytes; /* may be NULL: reads give the sector's number, writes are forgotten */
	bool slow;	/* requests wait for memory_disk_answer() */
	bool many;	/* it may have several requests at a time */
	bool bad_flush;
	uint64_t bad; /* a sector, or NO_SECTOR */
	unsigned requests, flushes, durable, discards, zeros;
	struct disk_request *waiting; /* the oldest first */
};

static inline void memory_disk_move(struct memory_disk *disk, struct disk_request *request, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++) {
		uint8_t *theirs = request->bytes + (size_t)i * DISK_SECTOR_SIZE;
		uint64_t sector = request->sector + i;
		if (disk->bytes == NULL) {
			if (request->operation == DISK_READ)
				memcpy(theirs, &sector, sizeof sector);
		} else if (request->operation == DISK_READ) {
			memcpy(theirs, disk->bytes + sector * DISK_SECTOR_SIZE, DISK_SECTOR_SIZE);
		} else {
			memcpy(disk->bytes + sector * DISK_SECTOR_SIZE, theirs, DISK_SECTOR_SIZE);
		}
	}
}

static inline void memory_disk_do(struct memory_disk *disk, struct disk_request *request)
{
	request->error = 0;
	request->completed = request->count;
	if (request->operation == DISK_FLUSH) {
		disk->flushes++;
		request->error = disk->bad_flush ? EIO : 0;
	} else {
		if (disk->bad - request->sector < request->count) {
			request->completed = (uint32_t)(disk->bad - request->sector);
			request->error = EIO;
		}
		disk->durable += request->operation == DISK_WRITE && request->durable;
		disk->discards += request->operation == DISK_DISCARD;
		disk->zeros += request->operation == DISK_ZERO;
		if (request->operation == DISK_READ || request->operation == DISK_WRITE)
			memory_disk_move(disk, request, request->completed);
		else if (disk->bytes != NULL)
			memset(disk->bytes + request->sector * DISK_SECTOR_SIZE, 0,
			       (size_t)request->completed * DISK_SECTOR_SIZE);
	}
	request->done(request);
}

static inline void memory_disk_submit(struct disk *base, struct disk_request *request)
{
	struct memory_disk *disk = (struct memory_disk *)base;
	disk->requests++;
	if (!disk->slow) {
		memory_disk_do(disk, request);
		return;
	}
	assert_true(disk->many || disk->waiting == NULL);
	struct disk_request **end = &disk->waiting;
	while (*end != NULL)
		end = &(*end)->next;
	request->next = NULL;
	*end = request;
}

static inline void memory_disk_answer(struct memory_disk *disk)
{
	struct disk_request *request = disk->waiting;
	assert_non_null(request);
	disk->waiting = request->next;
	memory_disk_do(disk, request);
}

static inline void memory_disk_drain(struct disk *base)
{
	struct memory_disk *disk = (struct memory_disk *)base;
	while (disk->waiting != NULL)
		memory_disk_answer(disk);
}

static const struct disk_ops memory_disk_ops = {.submit = memory_disk_submit, .drain = memory_disk_drain};

static inline void memory_disk_init(struct memory_disk *disk, uint64_t sectors, uint8_t *bytes)
{
	*disk = (struct memory_disk){
	    .base = {.ops = &memory_disk_ops, .sectors = sectors}, .bytes = bytes, .bad = NO_SECTOR};
}

static inline void channel_map(struct rig *rig, struct ide_channel *channel)
{
	assert_true(io_map_add(&rig->ports, DATA, 8, &ide_command_ops, channel, "ide", NULL));
	assert_true(io_map_add(&rig->ports, CONTROL, 1, &ide_control_ops, channel, "ide", NULL));
}

static inline void data_read(struct rig *rig, void *to, size_t size)
{
	for (size_t i = 0; i < size; i += 2) {
		uint16_t word = (uint16_t)io_read(&rig->ports, DATA, 2);
		memcpy((uint8_t *)to + i, &word, 2);
	}
}

static inline void data_write(struct rig *rig, const void *from, size_t size)
{
	for (size_t i = 0; i < size; i += 2) {
		uint16_t word;
		memcpy(&word, (const uint8_t *)from + i, 2);
		io_write(&rig->ports, DATA, 2, word);
	}
}

/* The registers of a 28-bit command, then the command. */
static inline void command28(struct rig *rig, unsigned command, uint32_t lba, unsigned count)
{
	unsigned device = in8(rig, DEVICE) & 0x10;
	out8(rig, DEVICE, 0xe0 | device | (lba >> 24 & 15));
	out8(rig, COUNT, count & 0xff);
	out8(rig, LBA_LOW, lba & 0xff);
	out8(rig, LBA_MID, lba >> 8 & 0xff);
	out8(rig, LBA_HIGH, lba >> 16 & 0xff);
	out8(rig, COMMAND, command);
}

static inline void command48(struct rig *rig, unsigned command, uint64_t lba, unsigned count)
{
	unsigned device = in8(rig, DEVICE) & 0x10;
	out8(rig, DEVICE, 0x40 | device);
	out8(rig, COUNT, count >> 8 & 0xff);
	out8(rig, COUNT, count & 0xff);
	for (unsigned i = 0; i < 3; i++) {
		out8(rig, (uint16_t)(LBA_LOW + i), (unsigned)(lba >> (24 + 8 * i)) & 0xff);
		out8(rig, (uint16_t)(LBA_LOW + i), (unsigned)(lba >> 8 * i) & 0xff);
	}
	out8(rig, COMMAND, command);
}

#endif
