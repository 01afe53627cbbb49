/* SPDX-License-Identifier: MIT */
/*
 * Theory of operation. A command that moves sectors is a loop of steps, ata_run(): read from the image into the
 * buffer, give a block to the host, take a block from the host, write it. Each step either finishes at once, and the
 * loop goes on, or later, and the completion enters the loop again. So neither an image that answers at once nor a bus
 * master that moves a block at once makes the stack grow.
 *
 * Reading fills the buffer as far as the command goes and hands it out in blocks: one sector, or the block of the
 * MULTIPLE commands, or for DMA all there is. Writing goes to the image block by block, so that an error is of the
 * block just transferred.
 */
#include "devices/ata.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "devices/ata-impl.h"

enum command_flag {
	COMMAND_EXT = 1,      /* 48 bits of address, 16 of count */
	COMMAND_DMA = 2,      /* one interrupt, at the end */
	COMMAND_MULTIPLE = 4, /* blocks of several sectors */
	COMMAND_WRITE = 8,
	COMMAND_VERIFY = 16, /* reads without a transfer */
};

struct ata_command {
	void (*start)(struct ata *ata); /* NULL: aborted */
	uint8_t flags;
};

static struct ata *ata_of(struct ide_drive *drive)
{
	return container_of(drive, struct ata, drive);
}

static bool ata_is(const struct ata *ata, enum command_flag flag)
{
	return (ata->command->flags & flag) != 0;
}

static void ata_abort(struct ata *ata)
{
	ide_finish(&ata->drive, IDE_ERROR_ABRT, true);
}

static void ata_succeed(struct ata *ata)
{
	ide_finish(&ata->drive, 0, true);
}

/* ---- addresses ---- */

static uint64_t taskfile_address(const struct ide_taskfile *taskfile)
{
	return load_le(taskfile->lba, 2) | (uint64_t)taskfile->lba[2] << 16;
}

/* False: no sector has this address. */
static bool ata_read_chs(const struct ata *ata, uint64_t *lba)
{
	const struct ata_geometry *geometry = &ata->geometry;
	const uint8_t *registers = ata->drive.now.lba;
	uint32_t sector = registers[0];
	uint32_t cylinder = registers[1] | (uint32_t)registers[2] << 8;
	uint32_t head = ata->drive.device & IDE_DEVICE_HEAD;
	if (sector == 0 || sector > geometry->sectors || head >= geometry->heads || cylinder >= geometry->cylinders)
		return false;
	*lba = ((uint64_t)cylinder * geometry->heads + head) * geometry->sectors + sector - 1;
	return true;
}

/* Latches address and count. False: no such sectors. */
static bool ata_read_address(struct ata *ata)
{
	const struct ide_drive *drive = &ata->drive;
	bool ext = ata_is(ata, COMMAND_EXT);
	uint32_t count = ext ? (uint32_t)drive->previous.count << 8 | drive->now.count : drive->now.count;
	ata->remaining = count != 0 ? count : ext ? 65536 : 256;
	ata->chs = !(drive->device & IDE_DEVICE_LBA);
	if (ext) {
		if (ata->chs)
			return false;
		ata->lba = taskfile_address(&drive->now) | taskfile_address(&drive->previous) << 24;
	} else if (ata->chs) {
		if (!ata_read_chs(ata, &ata->lba))
			return false;
	} else {
		ata->lba = taskfile_address(&drive->now) | (uint64_t)(drive->device & IDE_DEVICE_HEAD) << 24;
	}
	return ata->lba < ata->disk->sectors && ata->remaining <= ata->disk->sectors - ata->lba;
}

static void ata_show_lba(struct ata *ata, uint64_t lba, bool ext)
{
	struct ide_drive *drive = &ata->drive;
	for (unsigned i = 0; i < 3; i++) {
		drive->now.lba[i] = (uint8_t)(lba >> 8 * i);
		if (ext)
			drive->previous.lba[i] = (uint8_t)(lba >> (24 + 8 * i));
	}
	if (!ext)
		drive->device = (uint8_t)((drive->device & ~IDE_DEVICE_HEAD) | (lba >> 24 & IDE_DEVICE_HEAD));
}

static void ata_show_chs(struct ata *ata, uint64_t lba)
{
	struct ide_drive *drive = &ata->drive;
	uint64_t track = lba / ata->geometry.sectors;
	uint64_t cylinder = track / ata->geometry.heads;
	drive->now.lba[0] = (uint8_t)(lba % ata->geometry.sectors + 1);
	drive->now.lba[1] = (uint8_t)cylinder;
	drive->now.lba[2] = (uint8_t)(cylinder >> 8);
	drive->device = (uint8_t)((drive->device & ~IDE_DEVICE_HEAD) | track % ata->geometry.heads);
}

/* Where the command got to: the bad sector, or the last one. */
static void ata_show_address(struct ata *ata, uint64_t lba)
{
	if (ata->chs)
		ata_show_chs(ata, lba);
	else
		ata_show_lba(ata, lba, ata_is(ata, COMMAND_EXT));
}

/* ---- the loop of a command that moves sectors ---- */

static void ata_run(struct ata *ata);

static void ata_fail(struct ata *ata, uint8_t error)
{
	ata_show_address(ata, ata->lba);
	ide_finish(&ata->drive, error, true);
}

/* PIO input has had its last interrupt with the last block. */
static void ata_complete(struct ata *ata)
{
	bool pio_in = !(ata->command->flags & (COMMAND_DMA | COMMAND_WRITE | COMMAND_VERIFY));
	ata->drive.now.count = 0;
	if (ata_is(ata, COMMAND_EXT))
		ata->drive.previous.count = 0;
	ata_show_address(ata, ata->lba - 1);
	ide_finish(&ata->drive, 0, !pio_in);
}

static uint32_t least(uint32_t a, uint32_t b)
{
	return a < b ? a : b;
}

static void ata_submit(struct ata *ata, enum disk_operation operation, uint32_t count)
{
	ata->request.operation = operation;
	ata->request.durable = !ata->write_cache;
	ata->request.sector = ata->lba;
	ata->request.count = count;
	ata->request.bytes = ata->buffer;
	ide_host_begin(&ata->drive);
	disk_submit(ata->disk, &ata->request);
}

static void ata_read_done(struct ata *ata)
{
	const struct disk_request *request = &ata->request;
	ata->first = 0;
	ata->buffered = least(request->completed, request->count);
	ata->unreadable = request->error != 0 || ata->buffered < request->count;
}

static void ata_write_done(struct ata *ata)
{
	const struct disk_request *request = &ata->request;
	uint32_t good = least(request->completed, request->count);
	if (request->error == 0) {
		ata->lba += request->count;
		ata->remaining -= request->count;
		return;
	}
	/* Written but not on the disk: no sector of the block is good. */
	if (good < request->count)
		ata->lba += good;
	ata_fail(ata, IDE_ERROR_ABRT);
}

static void ata_disk_done(struct disk_request *request)
{
	struct ata *ata = request->opaque;
	if (!ide_host_end(&ata->drive))
		return;
	if (request->operation == DISK_FLUSH) {
		ide_finish(&ata->drive, request->error != 0 ? IDE_ERROR_ABRT : 0, true);
		return;
	}
	if (request->operation == DISK_READ)
		ata_read_done(ata);
	else
		ata_write_done(ata);
	ata_run(ata);
}

static void ata_take(struct ata *ata, uint32_t count)
{
	ata->lba += count;
	ata->remaining -= count;
	ata->first += count;
	ata->buffered -= count;
}

static void ata_step_in(struct ata *ata)
{
	if (ata->buffered == 0 && !ata->unreadable) {
		ata_submit(ata, DISK_READ, least(ata->remaining, ATA_READ_SECTORS));
		return;
	}
	uint32_t count = least(ata->buffered, ata->block);
	bool dma = ata_is(ata, COMMAND_DMA);
	/* PIO blocks are whole; DMA and verification go as far as they can. */
	if (count == 0 || (!dma && count < least(ata->block, ata->remaining))) {
		ata->lba += count;
		ata_fail(ata, IDE_ERROR_UNC);
	} else if (ata_is(ata, COMMAND_VERIFY)) {
		ata_take(ata, count);
	} else {
		ide_transfer(&ata->drive, dma ? IDE_DMA_IN : IDE_PIO_IN, ata->buffer + ata->first * DISK_SECTOR_SIZE,
			     (size_t)count * DISK_SECTOR_SIZE, !dma);
	}
}

static void ata_step_out(struct ata *ata)
{
	bool dma = ata_is(ata, COMMAND_DMA);
	bool interrupt = !dma && ata->written;
	ata->written = true;
	ide_transfer(&ata->drive, dma ? IDE_DMA_OUT : IDE_PIO_OUT, ata->buffer,
		     (size_t)least(ata->remaining, ata->block) * DISK_SECTOR_SIZE, interrupt);
}

/* There is something to do while the command is neither at the host's nor at the image's. */
static bool ata_can_step(const struct ata *ata)
{
	return ata->command != NULL && (ata->drive.status & IDE_STATUS_BSY) && !ata->drive.host_busy;
}

static void ata_run(struct ata *ata)
{
	if (ata->running)
		return;
	ata->running = true;
	while (ata_can_step(ata)) {
		if (ata->remaining == 0)
			ata_complete(ata);
		else if (ata_is(ata, COMMAND_WRITE))
			ata_step_out(ata);
		else
			ata_step_in(ata);
	}
	ata->running = false;
}

static void ata_transferred(struct ide_drive *drive)
{
	struct ata *ata = ata_of(drive);
	uint32_t count = (uint32_t)(drive->size / DISK_SECTOR_SIZE);
	if (ata->remaining == 0) { /* a page about the drive, not sectors */
		ide_finish(drive, 0, false);
		return;
	}
	if (ata_is(ata, COMMAND_WRITE))
		ata_submit(ata, DISK_WRITE, count);
	else
		ata_take(ata, count);
	ata_run(ata);
}

static void command_sectors(struct ata *ata)
{
	bool multiple = ata_is(ata, COMMAND_MULTIPLE);
	if (multiple && ata->multiple == 0) {
		ata_abort(ata);
		return;
	}
	if (!ata_read_address(ata)) {
		ata->remaining = 0;
		ide_finish(&ata->drive, IDE_ERROR_IDNF, true);
		return;
	}
	if (ata_is(ata, COMMAND_WRITE) && ata->disk->read_only) {
		ata_abort(ata);
		return;
	}
	bool whole = (ata->command->flags & (COMMAND_DMA | COMMAND_VERIFY)) != 0;
	ata->block = whole ? ATA_BUFFER_SECTORS : multiple ? ata->multiple : 1;
	ata->first = ata->buffered = 0;
	ata->unreadable = ata->written = false;
	ata_run(ata);
}

/* ---- other commands ---- */

static void command_nothing(struct ata *ata)
{
	ata_succeed(ata);
}

static void command_seek(struct ata *ata)
{
	ata->drive.now.count = 1; /* which this command does not use */
	uint8_t error = ata_read_address(ata) ? 0 : IDE_ERROR_IDNF;
	ata->remaining = 0;
	ide_finish(&ata->drive, error, true);
}

static void command_flush(struct ata *ata)
{
	ata_submit(ata, DISK_FLUSH, 0);
}

static void command_identify(struct ata *ata)
{
	ata_identify(ata, ata->buffer);
	ide_transfer(&ata->drive, IDE_PIO_IN, ata->buffer, DISK_SECTOR_SIZE, true);
}

/* INITIALIZE DEVICE PARAMETERS gives heads and sectors; the cylinders follow (ATA-3, 7.8). */
static void command_set_geometry(struct ata *ata)
{
	uint32_t sectors = ata->drive.now.count;
	uint32_t heads = (ata->drive.device & IDE_DEVICE_HEAD) + 1u;
	if (sectors == 0) {
		ata_abort(ata);
		return;
	}
	uint64_t cylinders = ata->disk->sectors / ((uint64_t)heads * sectors);
	ata->geometry = (struct ata_geometry){.heads = heads, .sectors = sectors};
	ata->geometry.cylinders = cylinders > 65535 ? 65535 : cylinders == 0 ? 1 : (uint32_t)cylinders;
	ata_succeed(ata);
}

static void command_set_multiple(struct ata *ata)
{
	uint8_t count = ata->drive.now.count;
	if (count > ATA_MULTIPLE_MAX || (count & (count - 1)) != 0) {
		ata->multiple = 0;
		ata_abort(ata);
		return;
	}
	ata->multiple = count;
	ata_succeed(ata);
}

static void command_native_max(struct ata *ata)
{
	bool ext = ata_is(ata, COMMAND_EXT);
	uint64_t last = ata->disk->sectors - 1;
	if (!(ata->drive.device & IDE_DEVICE_LBA)) {
		ata_abort(ata);
		return;
	}
	if (!ext && last >= ATA_LBA28_SECTORS)
		last = ATA_LBA28_SECTORS - 1;
	ata_show_lba(ata, last, ext);
	ata_succeed(ata);
}

static void command_standby(struct ata *ata)
{
	ata->standby = true;
	ata_succeed(ata);
}

static void command_idle(struct ata *ata)
{
	ata->standby = false;
	ata_succeed(ata);
}

static void command_check_power(struct ata *ata)
{
	ata->drive.now.count = ata->standby ? 0x00 : 0xff;
	ata_succeed(ata);
}

/* ---- SET FEATURES (8.46) ---- */

enum feature {
	FEATURE_WRITE_CACHE_ON = 0x02,
	FEATURE_TRANSFER_MODE = 0x03,
	FEATURE_LOOK_AHEAD_OFF = 0x55,
	FEATURE_DEFAULTS_OFF = 0x66, /* settings survive a software reset */
	FEATURE_WRITE_CACHE_OFF = 0x82,
	FEATURE_LOOK_AHEAD_ON = 0xaa,
	FEATURE_DEFAULTS_ON = 0xcc,
};

/* The mode is in the count register: kind in bits 7:3, number in bits 2:0. */
static bool ata_set_mode(struct ata *ata, uint8_t mode)
{
	unsigned number = mode & 7;
	switch (mode >> 3) {
	case 0: /* PIO default, with or without IORDY */
		return number <= 1;
	case 1: /* PIO */
		return number <= 4;
	case 4:
		if (number > 2)
			return false;
		ata->mode = (struct ata_mode){.multiword = (uint8_t)BIT32(number)};
		return true;
	case 8:
		if (number >= ATA_UDMA_MODES)
			return false;
		ata->mode = (struct ata_mode){.ultra = (uint8_t)BIT32(number)};
		return true;
	default:
		return false;
	}
}

static void ata_disable_write_cache(struct ata *ata)
{
	ata->write_cache = false;
	command_flush(ata); /* what is in it goes to the disk first */
}

static void command_set_features(struct ata *ata)
{
	switch (ata->drive.now.features) {
	case FEATURE_TRANSFER_MODE:
		if (!ata_set_mode(ata, ata->drive.now.count)) {
			ata_abort(ata);
			return;
		}
		break;
	case FEATURE_WRITE_CACHE_ON:
		ata->write_cache = true;
		break;
	case FEATURE_WRITE_CACHE_OFF:
		ata_disable_write_cache(ata);
		return;
	case FEATURE_LOOK_AHEAD_ON:
	case FEATURE_LOOK_AHEAD_OFF:
		ata->look_ahead = ata->drive.now.features == FEATURE_LOOK_AHEAD_ON;
		break;
	case FEATURE_DEFAULTS_OFF:
	case FEATURE_DEFAULTS_ON:
		break;
	default:
		ata_abort(ata);
		return;
	}
	ata_succeed(ata);
}

/* ---- dispatch ---- */

static const struct ata_command commands[256] = {
    [0x10 ... 0x1f] = {command_nothing, 0}, /* RECALIBRATE */
    [0x20] = {command_sectors, 0},
    [0x21] = {command_sectors, 0}, /* without retries */
    [0x24] = {command_sectors, COMMAND_EXT},
    [0x25] = {command_sectors, COMMAND_EXT | COMMAND_DMA},
    [0x27] = {command_native_max, COMMAND_EXT},
    [0x29] = {command_sectors, COMMAND_EXT | COMMAND_MULTIPLE},
    [0x30] = {command_sectors, COMMAND_WRITE},
    [0x31] = {command_sectors, COMMAND_WRITE},
    [0x34] = {command_sectors, COMMAND_WRITE | COMMAND_EXT},
    [0x35] = {command_sectors, COMMAND_WRITE | COMMAND_EXT | COMMAND_DMA},
    [0x39] = {command_sectors, COMMAND_WRITE | COMMAND_EXT | COMMAND_MULTIPLE},
    [0x40] = {command_sectors, COMMAND_VERIFY},
    [0x41] = {command_sectors, COMMAND_VERIFY},
    [0x42] = {command_sectors, COMMAND_VERIFY | COMMAND_EXT},
    [0x70] = {command_seek, 0},
    [0x91] = {command_set_geometry, 0},
    [0x94] = {command_standby, 0},
    [0x95] = {command_idle, 0},
    [0x96] = {command_standby, 0},
    [0x97] = {command_idle, 0},
    [0x98] = {command_check_power, 0},
    [0x99] = {command_standby, 0},
    [0xc4] = {command_sectors, COMMAND_MULTIPLE},
    [0xc5] = {command_sectors, COMMAND_WRITE | COMMAND_MULTIPLE},
    [0xc6] = {command_set_multiple, 0},
    [0xc8] = {command_sectors, COMMAND_DMA},
    [0xc9] = {command_sectors, COMMAND_DMA},
    [0xca] = {command_sectors, COMMAND_WRITE | COMMAND_DMA},
    [0xcb] = {command_sectors, COMMAND_WRITE | COMMAND_DMA},
    [0xe0] = {command_standby, 0},
    [0xe1] = {command_idle, 0},
    [0xe2] = {command_standby, 0},
    [0xe3] = {command_idle, 0},
    [0xe5] = {command_check_power, 0},
    [0xe6] = {command_standby, 0},
    [0xe7] = {command_flush, 0},
    [0xea] = {command_flush, COMMAND_EXT},
    [0xec] = {command_identify, 0},
    [0xef] = {command_set_features, 0},
    [0xf8] = {command_native_max, 0},
};

static void ata_command(struct ide_drive *drive, uint8_t code)
{
	struct ata *ata = ata_of(drive);
	ata->command = &commands[code];
	ata->remaining = 0;
	if (ata->command->start == command_sectors)
		ata->standby = false;
	if (ata->command->start != NULL)
		ata->command->start(ata);
	else
		ata_abort(ata);
}

/* A software reset leaves the settings that the host made, as after SET FEATURES 66h; the translation too. */
static void ata_reset(struct ide_drive *drive, bool power_on)
{
	struct ata *ata = ata_of(drive);
	ata->command = NULL;
	ata->remaining = 0;
	ata->standby = false;
	if (!power_on)
		return;
	ata->geometry = ata_default_geometry(ata->disk->sectors);
	ata->multiple = 0;
	ata->write_cache = ata->look_ahead = true;
	ata->mode = (struct ata_mode){.ultra = (uint8_t)BIT32(ATA_UDMA_MODES - 1)};
}

static const struct ide_drive_ops ata_ops = {.command = ata_command,
					     .transferred = ata_transferred,
					     .reset = ata_reset,
					     .idle_status = IDE_STATUS_DRDY | IDE_STATUS_DSC};

/* ---- life ---- */

struct ata *ata_create(const struct ata_config *config, struct error *error)
{
	struct ata *ata = calloc(1, sizeof *ata);
	uint8_t *buffer = malloc((size_t)ATA_BUFFER_SECTORS * DISK_SECTOR_SIZE);
	if (ata == NULL || buffer == NULL) {
		(void)error_set(error, ERROR_HOST, "out of memory for an ATA disk");
		goto failed;
	}
	ata->buffer = buffer;
	ata->disk = config->disk;
	strncpy(ata->serial, config->serial, ATA_SERIAL_SIZE);
	ata->request.done = ata_disk_done;
	ata->request.opaque = ata;
	if (ide_attach(config->channel, &ata->drive, config->number, &ata_ops, error))
		return ata;
failed:
	free(buffer);
	free(ata);
	return NULL;
}

void ata_destroy(struct ata *ata)
{
	if (ata == NULL)
		return;
	disk_drain(ata->disk);
	ide_detach(&ata->drive);
	free(ata->buffer);
	free(ata);
}
