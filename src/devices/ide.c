/* SPDX-License-Identifier: MIT */
#include "devices/ide.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"

/* Offsets in the command block. */
enum ide_register {
	REG_DATA,
	REG_FEATURES, /* error when read */
	REG_COUNT,
	REG_LBA_LOW,
	REG_LBA_MID,
	REG_LBA_HIGH,
	REG_DEVICE,
	REG_COMMAND, /* status when read */
};

#define CONTROL_NIEN 0x02u
#define CONTROL_SRST 0x04u
#define CONTROL_HOB 0x80u

#define DIAGNOSTIC_PASSED 0x01u
/* Nobody drives the bus; a resistor pulls DD7 down so that no drive is not a busy drive (6.3). */
#define FLOATING 0x7fu

struct ide_channel {
	struct ide_channel_config config;
	struct ide_drive *drive[IDE_DRIVES];
	unsigned selected;
	uint8_t control;
	bool irq;
};

/* ---- interrupts ---- */

static struct ide_drive *channel_selected(const struct ide_channel *channel)
{
	return channel->drive[channel->selected];
}

static void channel_update_irq(struct ide_channel *channel)
{
	const struct ide_drive *drive = channel_selected(channel);
	bool level = drive != NULL && drive->interrupt && !(channel->control & CONTROL_NIEN);
	if (level == channel->irq)
		return;
	channel->irq = level;
	irq_set(&channel->config.irq, level);
}

static void drive_set_interrupt(struct ide_drive *drive, bool level)
{
	drive->interrupt = level;
	channel_update_irq(drive->channel);
}

/* ---- transfers ---- */

static bool is_dma(enum ide_transfer transfer)
{
	return transfer == IDE_DMA_IN || transfer == IDE_DMA_OUT;
}

static void channel_request_dma(struct ide_channel *channel)
{
	const struct ide_drive *drive = channel_selected(channel);
	if (drive != NULL && is_dma(drive->transfer) && channel->config.master.request != NULL)
		channel->config.master.request(channel->config.master.opaque);
}

void ide_transfer(struct ide_drive *drive, enum ide_transfer transfer, uint8_t *bytes, size_t size, bool interrupt)
{
	assert(size > 0 && size % 2 == 0);
	drive->transfer = transfer;
	drive->bytes = bytes;
	drive->size = size;
	drive->position = 0;
	drive->status = drive->ops->idle_status | IDE_STATUS_DRDY | IDE_STATUS_DRQ;
	if (interrupt)
		drive_set_interrupt(drive, true);
	channel_request_dma(drive->channel);
}

static void drive_advance(struct ide_drive *drive, size_t size)
{
	drive->position += size;
	if (drive->position < drive->size)
		return;
	drive->transfer = IDE_IDLE;
	drive->status = IDE_STATUS_BSY;
	drive->ops->transferred(drive);
}

void ide_finish(struct ide_drive *drive, uint8_t error, bool interrupt)
{
	drive->transfer = IDE_IDLE;
	drive->error = error;
	drive->status = drive->ops->idle_status | IDE_STATUS_DRDY | (error != 0 ? IDE_STATUS_ERR : 0);
	if (interrupt)
		drive_set_interrupt(drive, true);
}

uint8_t *ide_dma_window(struct ide_channel *channel, size_t *size, bool *to_memory)
{
	struct ide_drive *drive = channel_selected(channel);
	if (drive == NULL || !is_dma(drive->transfer))
		return NULL;
	*size = drive->size - drive->position;
	*to_memory = drive->transfer == IDE_DMA_IN;
	return drive->bytes + drive->position;
}

void ide_dma_advance(struct ide_channel *channel, size_t size)
{
	struct ide_drive *drive = channel_selected(channel);
	if (drive != NULL && is_dma(drive->transfer) && size <= drive->size - drive->position)
		drive_advance(drive, size);
}

static uint16_t channel_data_read(struct ide_channel *channel)
{
	struct ide_drive *drive = channel_selected(channel);
	if (drive == NULL || drive->transfer != IDE_PIO_IN)
		return 0xffff;
	uint16_t word = (uint16_t)load_le(drive->bytes + drive->position, 2);
	drive_advance(drive, 2);
	return word;
}

static void channel_data_write(struct ide_channel *channel, uint16_t word)
{
	struct ide_drive *drive = channel_selected(channel);
	if (drive == NULL || drive->transfer != IDE_PIO_OUT)
		return;
	store_le(drive->bytes + drive->position, word, 2);
	drive_advance(drive, 2);
}

/* ---- resets ---- */

void ide_set_signature(struct ide_drive *drive)
{
	const struct ide_taskfile signature = {.count = 1,
					       .lba = {1, drive->ops->signature[0], drive->ops->signature[1]}};
	drive->now = drive->previous = signature;
	drive->device &= IDE_DEVICE_DEV;
}

bool ide_has_other_drive(const struct ide_drive *drive)
{
	return drive->channel->drive[1 - drive->number] != NULL;
}

/* Ends whatever the drive is doing. It is busy from here on. */
static void drive_abandon(struct ide_drive *drive)
{
	drive->transfer = IDE_IDLE;
	drive->status = IDE_STATUS_BSY;
	drive->abandoned = drive->host_busy;
	drive->interrupt = false;
}

/* A drive whose image still works on an abandoned request stays busy until it is done. */
static void drive_become_ready(struct ide_drive *drive)
{
	if (!drive->host_busy && !(drive->channel->control & CONTROL_SRST))
		drive->status = drive->ops->idle_status;
}

static void drive_reset(struct ide_drive *drive, bool power_on)
{
	drive_abandon(drive);
	drive->device = 0;
	drive->error = DIAGNOSTIC_PASSED;
	drive->ops->reset(drive, power_on);
	ide_set_signature(drive);
	drive_become_ready(drive);
}

/* After a reset and after diagnostics drive 0 is selected (9.2, 8.11). */
static void channel_reset_drives(struct ide_channel *channel, bool power_on)
{
	channel->selected = 0;
	for (unsigned i = 0; i < IDE_DRIVES; i++)
		if (channel->drive[i] != NULL)
			drive_reset(channel->drive[i], power_on);
	channel_update_irq(channel);
}

void ide_channel_reset(struct ide_channel *channel)
{
	channel->control = 0;
	channel_reset_drives(channel, true);
}

void ide_host_begin(struct ide_drive *drive)
{
	assert(!drive->host_busy);
	drive->host_busy = true;
}

bool ide_host_end(struct ide_drive *drive)
{
	bool wanted = !drive->abandoned;
	drive->host_busy = drive->abandoned = false;
	if (!wanted)
		drive_become_ready(drive);
	return wanted;
}

/* ---- the command block ---- */

/*
 * Drive 0 answers for a drive 1 that is not there: its registers, but a status of 0, and zeros throughout where drive 0
 * is a PACKET device. Of commands it then executes the diagnostic only (9.16.1).
 */
static struct ide_drive *channel_responder(const struct ide_channel *channel)
{
	struct ide_drive *drive = channel_selected(channel);
	return drive != NULL ? drive : channel->drive[0];
}

static void channel_diagnose(struct ide_channel *channel)
{
	channel_reset_drives(channel, false);
	struct ide_drive *drive = channel->drive[0];
	if (drive != NULL && !drive->host_busy)
		drive_set_interrupt(drive, true);
}

static void channel_command(struct ide_channel *channel, uint8_t command)
{
	struct ide_drive *drive = channel_selected(channel);
	if (channel->control & CONTROL_SRST)
		return;
	if (drive == NULL && command == IDE_COMMAND_DIAGNOSTIC)
		drive = channel_responder(channel);
	if (drive == NULL)
		return;
	if (command == IDE_COMMAND_DEVICE_RESET && drive->ops->packet) {
		uint8_t device = drive->device & IDE_DEVICE_DEV;
		drive_reset(drive, false);
		drive->device = device;
		channel_update_irq(channel);
		return;
	}
	if (drive->status & (IDE_STATUS_BSY | IDE_STATUS_DRQ))
		return;
	drive_set_interrupt(drive, false);
	if (command == IDE_COMMAND_DIAGNOSTIC) {
		channel_diagnose(channel);
		return;
	}
	drive->status = IDE_STATUS_BSY;
	drive->error = 0;
	drive->ops->command(drive, command);
}

static uint8_t *taskfile_register(struct ide_taskfile *taskfile, unsigned reg)
{
	if (reg == REG_FEATURES)
		return &taskfile->features;
	return reg == REG_COUNT ? &taskfile->count : &taskfile->lba[reg - REG_LBA_LOW];
}

/* Both drives hear every write (7.1): each has its own copy. */
static void drive_write(struct ide_drive *drive, unsigned reg, uint8_t value)
{
	if (drive->status & IDE_STATUS_BSY)
		return;
	if (reg == REG_DEVICE) {
		drive->device = value;
		return;
	}
	uint8_t *current = taskfile_register(&drive->now, reg);
	*taskfile_register(&drive->previous, reg) = *current;
	*current = value;
}

static void channel_write(struct ide_channel *channel, unsigned reg, uint8_t value)
{
	channel->control &= (uint8_t)~CONTROL_HOB;
	if (reg == REG_COMMAND) {
		channel_command(channel, value);
		return;
	}
	for (unsigned i = 0; i < IDE_DRIVES; i++)
		if (channel->drive[i] != NULL)
			drive_write(channel->drive[i], reg, value);
	if (reg == REG_DEVICE && !(channel->control & CONTROL_SRST)) {
		channel->selected = (value & IDE_DEVICE_DEV) != 0;
		channel_update_irq(channel);
		channel_request_dma(channel);
	}
}

static uint8_t channel_status(const struct ide_channel *channel)
{
	if (channel_responder(channel) == NULL)
		return FLOATING;
	const struct ide_drive *drive = channel_selected(channel);
	return drive != NULL ? drive->status : 0;
}

static uint8_t channel_read(struct ide_channel *channel, unsigned reg)
{
	struct ide_drive *drive = channel_responder(channel);
	if (drive == NULL)
		return FLOATING;
	bool absent = drive != channel_selected(channel);
	if (reg == REG_COMMAND) {
		if (!absent)
			drive_set_interrupt(drive, false);
		return channel_status(channel);
	}
	if (absent && drive->ops->packet)
		return 0;
	if (reg == REG_FEATURES)
		return drive->error;
	if (reg == REG_DEVICE)
		return (uint8_t)((drive->device & ~IDE_DEVICE_DEV) | (channel->selected ? IDE_DEVICE_DEV : 0));
	return *taskfile_register(channel->control & CONTROL_HOB ? &drive->previous : &drive->now, reg);
}

static uint64_t command_read(void *opaque, uint64_t offset, unsigned size)
{
	struct ide_channel *channel = opaque;
	uint64_t value = 0;
	if (offset == REG_DATA) {
		value = channel_data_read(channel);
		return size == 4 ? value | (uint64_t)channel_data_read(channel) << 16 : value & size_mask(size);
	}
	for (unsigned i = 0; i < size; i++)
		value |= (uint64_t)channel_read(channel, (unsigned)offset + i) << 8 * i;
	return value;
}

static void command_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
	struct ide_channel *channel = opaque;
	if (offset == REG_DATA) {
		channel_data_write(channel, (uint16_t)value);
		if (size == 4)
			channel_data_write(channel, (uint16_t)(value >> 16));
		return;
	}
	for (unsigned i = 0; i < size; i++)
		channel_write(channel, (unsigned)offset + i, (uint8_t)(value >> 8 * i));
}

const struct io_ops ide_command_ops = {.read = command_read, .write = command_write, .max_size = 4};

/* ---- the control block ---- */

/* The status without its effect on INTRQ. */
static uint64_t control_read(void *opaque, uint64_t offset, unsigned size)
{
	(void)offset;
	(void)size;
	return channel_status(opaque);
}

static void control_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
	struct ide_channel *channel = opaque;
	(void)offset;
	(void)size;
	uint8_t changed = channel->control ^ (uint8_t)value;
	channel->control = value & (CONTROL_NIEN | CONTROL_SRST | CONTROL_HOB);
	if (changed & CONTROL_SRST)
		channel_reset_drives(channel, false);
	channel_update_irq(channel);
}

const struct io_ops ide_control_ops = {.read = control_read, .write = control_write, .max_size = 1};

/* ---- life ---- */

bool ide_attach(struct ide_channel *channel, struct ide_drive *drive, unsigned number, const struct ide_drive_ops *ops,
		struct error *error)
{
	assert(number < IDE_DRIVES);
	if (channel->drive[number] != NULL)
		return error_set(error, ERROR_INPUT, "IDE drive %u of this channel is taken", number);
	memset(drive, 0, sizeof *drive);
	drive->ops = ops;
	drive->channel = channel;
	drive->number = number;
	channel->drive[number] = drive;
	drive_reset(drive, true);
	return true;
}

void ide_detach(struct ide_drive *drive)
{
	struct ide_channel *channel = drive->channel;
	assert(!drive->host_busy);
	channel->drive[drive->number] = NULL;
	channel_update_irq(channel);
}

struct ide_channel *ide_channel_create(const struct ide_channel_config *config, struct error *error)
{
	struct ide_channel *channel = calloc(1, sizeof *channel);
	if (channel == NULL) {
		(void)error_set(error, ERROR_HOST, "out of memory for an IDE channel");
		return NULL;
	}
	channel->config = *config;
	return channel;
}

void ide_channel_destroy(struct ide_channel *channel)
{
	free(channel);
}
