/* SPDX-License-Identifier: MIT */
/*
 * Theory of operation. A packet is taken by PIO, executed, and leaves bytes in the buffer, blocks to be read from the
 * image, or neither. atapi_run() then hands out the buffer in pieces, fills it again while blocks are left, and ends
 * with the status. As in the ATA disk each step may finish at once or later, and the loop keeps the stack flat.
 */
#include "devices/atapi.h"

#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "devices/atapi-impl.h"

#define FEATURE_DMA 0x01u
#define FEATURE_OVERLAP 0x02u

/* Interrupt reason, in the count register. */
#define REASON_COMMAND 0x01u
#define REASON_INPUT 0x02u

#define COMMAND_PACKET 0xa0u

static struct atapi *atapi_of(struct ide_drive *drive)
{
	return container_of(drive, struct atapi, drive);
}

/* ---- ends ---- */

static void atapi_end(struct atapi *atapi, uint8_t error)
{
	atapi->phase = PHASE_NONE;
	atapi->left = atapi->blocks = 0;
	atapi->drive.now.count = REASON_COMMAND | REASON_INPUT;
	ide_finish(&atapi->drive, error, true);
}

void atapi_succeed(struct atapi *atapi)
{
	atapi->sense = (struct atapi_sense){0};
	atapi_end(atapi, 0);
}

/* The sense key is in the upper half of the error register. */
void atapi_fail(struct atapi *atapi, struct atapi_sense sense)
{
	atapi->sense = sense;
	atapi_end(atapi, (uint8_t)((uint32_t)sense.key << 4 | (sense.key == 5 ? IDE_ERROR_ABRT : 0)));
}

/* ---- data ---- */

static void atapi_run(struct atapi *atapi);

static void atapi_fill(struct atapi *atapi)
{
	uint32_t count = atapi->blocks < ATAPI_BUFFER_BLOCKS ? atapi->blocks : ATAPI_BUFFER_BLOCKS;
	uint64_t sector = atapi->block * ATAPI_BLOCK_SECTORS;
	uint64_t sectors = atapi->disk->sectors - sector;
	if (sectors > count * ATAPI_BLOCK_SECTORS)
		sectors = count * ATAPI_BLOCK_SECTORS;
	memset(atapi->buffer, 0, (size_t)count * ATAPI_BLOCK_SIZE);
	atapi->request.sector = sector;
	atapi->request.count = (uint32_t)sectors;
	ide_host_begin(&atapi->drive);
	disk_submit(atapi->disk, &atapi->request);
}

static void atapi_disk_done(struct disk_request *request)
{
	struct atapi *atapi = request->opaque;
	if (!ide_host_end(&atapi->drive))
		return;
	atapi->unreadable = request->error != 0 || request->completed < request->count;
	uint32_t good = atapi->unreadable ? request->completed / ATAPI_BLOCK_SECTORS
					  : (request->count + ATAPI_BLOCK_SECTORS - 1) / ATAPI_BLOCK_SECTORS;
	atapi->at = 0;
	atapi->left = good * ATAPI_BLOCK_SIZE;
	atapi->block += good;
	atapi->blocks -= good;
	atapi_run(atapi);
}

/* A piece of PIO is of even size, but for the last (ATA/ATAPI-6, 8.23). */
static void atapi_send(struct atapi *atapi)
{
	uint32_t size = atapi->left;
	if (!atapi->dma && size > (atapi->limit & ~1u))
		size = atapi->limit & ~1u;
	if (size == 0) {
		atapi_fail(atapi, SENSE_BAD_FIELD);
		return;
	}
	atapi->drive.now.count = REASON_INPUT;
	if (!atapi->dma) {
		atapi->drive.now.lba[1] = (uint8_t)size;
		atapi->drive.now.lba[2] = (uint8_t)(size >> 8);
	}
	uint8_t *bytes = atapi->buffer + atapi->at;
	atapi->at += size;
	atapi->left -= size;
	ide_transfer(&atapi->drive, atapi->dma ? IDE_DMA_IN : IDE_PIO_IN, bytes, size + size % 2, !atapi->dma);
}

static bool atapi_can_step(const struct atapi *atapi)
{
	return atapi->phase == PHASE_DATA && (atapi->drive.status & IDE_STATUS_BSY) && !atapi->drive.host_busy;
}

static void atapi_run(struct atapi *atapi)
{
	if (atapi->running)
		return;
	atapi->running = true;
	while (atapi_can_step(atapi)) {
		if (atapi->left != 0)
			atapi_send(atapi);
		else if (atapi->unreadable)
			atapi_fail(atapi, SENSE_UNREADABLE);
		else if (atapi->blocks != 0)
			atapi_fill(atapi);
		else
			atapi_succeed(atapi);
	}
	atapi->running = false;
}

void atapi_reply(struct atapi *atapi, uint32_t size, uint32_t room)
{
	atapi->phase = PHASE_DATA;
	atapi->left = size < room ? size : room;
	atapi_run(atapi);
}

void atapi_read(struct atapi *atapi, uint64_t block, uint32_t count)
{
	if (block > atapi_blocks(atapi) || count > atapi_blocks(atapi) - block) {
		atapi_fail(atapi, SENSE_BAD_ADDRESS);
		return;
	}
	atapi->phase = PHASE_DATA;
	atapi->block = block;
	atapi->blocks = count;
	atapi_run(atapi);
}

/* ---- ATA commands ---- */

static void atapi_abort(struct atapi *atapi)
{
	ide_finish(&atapi->drive, IDE_ERROR_ABRT, true);
}

static void command_packet(struct atapi *atapi)
{
	struct ide_drive *drive = &atapi->drive;
	if (drive->now.features & FEATURE_OVERLAP) {
		atapi_abort(atapi);
		return;
	}
	atapi->phase = PHASE_PACKET;
	atapi->dma = (drive->now.features & FEATURE_DMA) != 0;
	atapi->limit = drive->now.lba[1] | (uint32_t)drive->now.lba[2] << 8;
	atapi->at = atapi->left = atapi->blocks = 0;
	atapi->unreadable = false;
	drive->now.count = REASON_COMMAND;
	ide_transfer(drive, IDE_PIO_OUT, atapi->packet, ATAPI_PACKET_SIZE, false);
}

static void put_string(uint8_t *page, unsigned word, unsigned size, const char *text)
{
	size_t length = strlen(text);
	for (unsigned i = 0; i < size; i++)
		page[2 * word + (i ^ 1)] = i < length ? (uint8_t)text[i] : ' ';
}

/* ATA/ATAPI-6, 8.16. */
static void command_identify(struct atapi *atapi)
{
	static const struct {
		uint8_t word;
		uint16_t value;
	} constants[] = {
	    {0, 0x85c0},  /* ATAPI, CD-ROM, removable, DRQ in 50 us, packets of 12 bytes */
	    {49, 0x0f00}, /* IORDY, LBA, DMA */
	    {53, 0x0006}, /* words 64-70 and 88 are valid */
	    {64, 0x0003}, /* PIO modes 3 and 4 */
	    {65, 120},	  {66, 120},	{67, 120},    {68, 120}, /* ns in a cycle */
	    {80, 0x007e},					 /* to ATA/ATAPI-6 */
	    {82, 0x0218},					 /* DEVICE RESET, PACKET, power management */
	    {83, 0x4000}, {84, 0x4000}, {85, 0x0218}, {87, 0x4000},
	};
	uint8_t *page = atapi->buffer;
	memset(page, 0, 512);
	for (unsigned i = 0; i < sizeof constants / sizeof constants[0]; i++)
		store_le(page + 2 * constants[i].word, constants[i].value, 2);
	put_string(page, 10, ATAPI_SERIAL_SIZE, atapi->serial);
	put_string(page, 23, 8, "1.0");
	put_string(page, 27, 40, "nfold CD-ROM");
	store_le(page + 2 * 63, (uint64_t)atapi->multiword << 8 | 0x07, 2);
	store_le(page + 2 * 88, (uint64_t)atapi->ultra << 8 | 0x07, 2);
	atapi->phase = PHASE_PAGE;
	ide_transfer(&atapi->drive, IDE_PIO_IN, page, 512, true);
}

/* This is how a host that asks for a disk learns that this is none (8.15.5.2). */
static void command_signature(struct atapi *atapi)
{
	ide_set_signature(&atapi->drive);
	atapi_abort(atapi);
}

static void command_set_features(struct atapi *atapi)
{
	uint8_t kind = atapi->drive.now.count >> 3, number = atapi->drive.now.count & 7;
	bool known = atapi->drive.now.features == 0x03 && ((kind == 0 && number <= 1) || (kind == 1 && number <= 4) ||
							   ((kind == 4 || kind == 8) && number <= 2));
	if (!known) {
		atapi_abort(atapi);
		return;
	}
	if (kind >= 4) {
		atapi->multiword = (uint8_t)(kind == 4 ? BIT32(number) : 0);
		atapi->ultra = (uint8_t)(kind == 8 ? BIT32(number) : 0);
	}
	ide_finish(&atapi->drive, 0, true);
}

static void command_power(struct atapi *atapi)
{
	ide_finish(&atapi->drive, 0, true);
}

static void command_check_power(struct atapi *atapi)
{
	atapi->drive.now.count = 0xff; /* active */
	ide_finish(&atapi->drive, 0, true);
}

static void atapi_command(struct ide_drive *drive, uint8_t code)
{
	static void (*const commands[256])(struct atapi *) = {
	    [0x20] = command_signature,	     [COMMAND_PACKET] = command_packet, [0xa1] = command_identify,
	    [0xe0 ... 0xe3] = command_power, [0xe5] = command_check_power,	[0xe6] = command_power,
	    [0xec] = command_signature,	     [0xef] = command_set_features,
	};
	struct atapi *atapi = atapi_of(drive);
	atapi->phase = PHASE_NONE;
	if (commands[code] != NULL)
		commands[code](atapi);
	else
		atapi_abort(atapi);
}

static void atapi_transferred(struct ide_drive *drive)
{
	struct atapi *atapi = atapi_of(drive);
	if (atapi->phase == PHASE_PACKET)
		atapi_execute(atapi);
	else if (atapi->phase == PHASE_DATA)
		atapi_run(atapi);
	else
		ide_finish(drive, 0, false);
}

static void atapi_reset(struct ide_drive *drive, bool power_on)
{
	struct atapi *atapi = atapi_of(drive);
	atapi->phase = PHASE_NONE;
	atapi->left = atapi->blocks = 0;
	atapi->locked = false;
	atapi->sense = (struct atapi_sense){0};
	atapi->attention = SENSE_RESET;
	if (!power_on)
		return;
	atapi->open = false;
	atapi->event = EVENT_NONE;
	atapi->multiword = 0;
	atapi->ultra = 0x04;
}

static const struct ide_drive_ops atapi_ops = {.command = atapi_command,
					       .transferred = atapi_transferred,
					       .reset = atapi_reset,
					       .signature = {0x14, 0xeb},
					       .packet = true};

/* ---- life ---- */

/* A packet that waits for the old disc is answered by it first; what it has still to read fails. */
void atapi_set_disk(struct atapi *atapi, struct disk *disk)
{
	disk_drain(atapi->disk);
	if (atapi->blocks != 0) {
		atapi->blocks = 0;
		atapi->unreadable = true;
	}
	atapi->disk = disk;
	atapi->open = false;
	atapi->event = disk != NULL ? EVENT_NEW_MEDIA : EVENT_MEDIA_REMOVAL;
	if (disk != NULL)
		atapi->attention = SENSE_MEDIUM_CHANGED;
}

struct atapi *atapi_create(const struct atapi_config *config, struct error *error)
{
	struct atapi *atapi = calloc(1, sizeof *atapi);
	uint8_t *buffer = malloc((size_t)ATAPI_BUFFER_BLOCKS * ATAPI_BLOCK_SIZE);
	if (atapi == NULL || buffer == NULL) {
		(void)error_set(error, ERROR_HOST, "out of memory for a CD-ROM drive");
		goto failed;
	}
	atapi->buffer = buffer;
	atapi->disk = config->disk;
	strncpy(atapi->serial, config->serial, ATAPI_SERIAL_SIZE);
	atapi->request =
	    (struct disk_request){.operation = DISK_READ, .bytes = buffer, .done = atapi_disk_done, .opaque = atapi};
	if (ide_attach(config->channel, &atapi->drive, config->number, &atapi_ops, error))
		return atapi;
failed:
	free(buffer);
	free(atapi);
	return NULL;
}

void atapi_destroy(struct atapi *atapi)
{
	if (atapi == NULL)
		return;
	disk_drain(atapi->disk);
	ide_detach(&atapi->drive);
	free(atapi->buffer);
	free(atapi);
}
