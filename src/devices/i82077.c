/* SPDX-License-Identifier: MIT */
/*
 * Theory of operation.
 *
 * A command's bytes are collected in the command phase, then its row of the command table runs it. Commands without
 * data fill the result or start a seek, which ends by a timer of its drive. Data commands enter the execution phase,
 * where one sector at a time is in the buffer. The DMA channel pulls from it or pushes into it, or the guest does
 * through the data port. The next sector is looked for only when another byte is wanted, because the terminal count
 * that ends the command comes after the last byte of a sector.
 */
#include <stdlib.h>
#include <string.h>

#include "devices/i82077-impl.h"

/* ---- seeks ---- */

static void fdc_seek_fire(void *opaque)
{
	struct fdc_seek *seek = opaque;
	seek->done = true;
	seek->fdc->sense_interrupt = true;
	i82077_update_irq(seek->fdc);
}

static void fdc_start_seek(struct i82077 *fdc, uint8_t target, unsigned st0)
{
	struct fdc_seek *seek = &fdc->seek[fdc->command[1] & 3];
	seek->st0 = (uint8_t)(st0 | (fdc->command[1] & 7));
	seek->done = false;
	uint64_t delay = i82077_move_head(fdc, seek->unit, target);
	clock_timer_set(&seek->timer, clock_now(fdc->clock) + delay);
	i82077_result(fdc, NULL, 0);
}

static void fdc_run_seek(struct i82077 *fdc)
{
	fdc_start_seek(fdc, fdc->command[2], ST0_SEEK_END);
}

static void fdc_run_relative_seek(struct i82077 *fdc)
{
	uint8_t from = fdc->cylinder[fdc->command[1] & 3], steps = fdc->command[2];
	bool inwards = (fdc->command[0] & 0x40) != 0;
	int target = inwards ? from + steps : from > steps ? from - steps : 0;
	fdc_start_seek(fdc, (uint8_t)(target > 255 ? 255 : target), ST0_SEEK_END);
}

/* At most 79 steps outwards; no track 0 by then, or no drive, is an equipment check. */
static void fdc_run_recalibrate(struct i82077 *fdc)
{
	unsigned unit = fdc->command[1] & 3, from = fdc->cylinder[unit];
	bool found = unit < I82077_DRIVES && from <= RECALIBRATE_STEPS;
	fdc->command[1] = (uint8_t)unit;
	fdc_start_seek(fdc, (uint8_t)(from > RECALIBRATE_STEPS ? from - RECALIBRATE_STEPS : 0),
		       ST0_SEEK_END | (found ? 0 : ST0_ABNORMAL | ST0_EQUIPMENT));
}

/* Which unit has a status to report, or UNITS. */
static unsigned fdc_finished_seek(const struct i82077 *fdc)
{
	unsigned unit = 0;
	while (unit < UNITS && !fdc->seek[unit].done)
		unit++;
	return unit;
}

static void fdc_run_sense_interrupt(struct i82077 *fdc)
{
	unsigned unit = fdc_finished_seek(fdc);
	uint8_t st0 = ST0_INVALID;
	fdc->sense_interrupt = false;
	if (fdc->reset_statuses > 0) {
		unit = UNITS - fdc->reset_statuses--;
		st0 = (uint8_t)(ST0_POLLING | unit);
	} else if (unit < UNITS) {
		fdc->seek[unit].done = false;
		st0 = fdc->seek[unit].st0;
		fdc->sense_interrupt = fdc_finished_seek(fdc) < UNITS;
	}
	i82077_update_irq(fdc);
	const uint8_t bytes[2] = {st0, fdc->cylinder[unit % UNITS]};
	i82077_result(fdc, bytes, st0 == ST0_INVALID ? 1 : 2);
}

/* ---- commands about the controller ---- */

static void fdc_run_sense_drive(struct i82077 *fdc)
{
	unsigned unit = fdc->command[1] & 3;
	const struct floppy *floppy = i82077_floppy(fdc, unit);
	unsigned st3 = ST3_FIXED | (fdc->command[1] & 7u);
	if (fdc->cylinder[unit] == 0)
		st3 |= ST3_TRACK0;
	if (floppy != NULL && floppy_is_read_only(floppy))
		st3 |= ST3_PROTECTED;
	i82077_result_byte(fdc, st3);
}

static void fdc_run_specify(struct i82077 *fdc)
{
	memcpy(fdc->specify, fdc->command + 1, 2);
	i82077_result(fdc, NULL, 0);
}

static void fdc_run_configure(struct i82077 *fdc)
{
	memcpy(fdc->configure, fdc->command + 2, 2);
	i82077_result(fdc, NULL, 0);
}

/* With OW (bit 7) the drives' bits are written too. */
static void fdc_run_perpendicular(struct i82077 *fdc)
{
	uint8_t value = fdc->command[1];
	fdc->perpendicular = (uint8_t)((value & 0x80) ? value & 0x3f : (fdc->perpendicular & 0x3c) | (value & 3));
	i82077_result(fdc, NULL, 0);
}

static void fdc_run_lock(struct i82077 *fdc)
{
	fdc->lock = fdc->command[0] & LOCK_BIT;
	i82077_result_byte(fdc, fdc->lock >> 3);
}

static void fdc_run_version(struct i82077 *fdc)
{
	i82077_result_byte(fdc, 0x90);
}

static void fdc_run_dump(struct i82077 *fdc)
{
	uint8_t bytes[10];
	memcpy(bytes, fdc->cylinder, 4);
	memcpy(bytes + 4, fdc->specify, 2);
	bytes[6] = fdc->end_of_track;
	bytes[7] = fdc->lock | fdc->perpendicular;
	memcpy(bytes + 8, fdc->configure, 2);
	i82077_result(fdc, bytes, sizeof bytes);
}

/* The data sheet's table 5-1. `length` counts the command byte. */
static const struct fdc_command {
	uint8_t mask, code, length;
	void (*run)(struct i82077 *fdc);
} commands[] = {
    {0x1f, 0x06, 9, i82077_run_data},	    {0x1f, 0x0c, 9, i82077_run_data},
    {0x3f, 0x05, 9, i82077_run_data},	    {0x3f, 0x09, 9, i82077_run_data},
    {0xbf, 0x02, 9, i82077_run_data},	    {0x1f, 0x16, 9, i82077_run_data},
    {0xbf, 0x0d, 6, i82077_run_format},	    {0xbf, 0x0a, 2, i82077_run_read_id},
    {0xff, 0x07, 2, fdc_run_recalibrate},   {0xff, 0x0f, 3, fdc_run_seek},
    {0xbf, 0x8f, 3, fdc_run_relative_seek}, {0xff, 0x08, 1, fdc_run_sense_interrupt},
    {0xff, 0x04, 2, fdc_run_sense_drive},   {0xff, 0x03, 3, fdc_run_specify},
    {0xff, 0x13, 4, fdc_run_configure},	    {0xff, 0x12, 2, fdc_run_perpendicular},
    {0x7f, 0x14, 1, fdc_run_lock},	    {0xff, 0x10, 1, fdc_run_version},
    {0xff, 0x0e, 1, fdc_run_dump},
};

static const struct fdc_command *fdc_find_command(uint8_t code)
{
	for (unsigned i = 0; i < sizeof commands / sizeof commands[0]; i++)
		if ((code & commands[i].mask) == commands[i].code)
			return &commands[i];
	return NULL;
}

static void fdc_command_byte(struct i82077 *fdc, uint8_t byte)
{
	fdc->command[fdc->received++] = byte;
	const struct fdc_command *command = fdc_find_command(fdc->command[0]);
	if (command == NULL)
		i82077_result_byte(fdc, ST0_INVALID);
	else if (fdc->received == command->length)
		command->run(fdc);
}

/* ---- reset ---- */

/* Everything under way ends. What LOCK protects stays over a software reset. */
static void fdc_abort(struct i82077 *fdc)
{
	clock_timer_cancel(&fdc->timer);
	for (unsigned i = 0; i < UNITS; i++) {
		clock_timer_cancel(&fdc->seek[i].timer);
		fdc->seek[i].done = false;
	}
	fdc->transfer = TRANSFER_NONE;
	i82077_result(fdc, NULL, 0);
	fdc->perpendicular &= 0x3c;
	if (!fdc->lock) {
		fdc->configure[0] = CONFIGURE_DEFAULT;
		fdc->configure[1] = 0;
	}
	fdc->reset_statuses = 0;
	fdc->data_interrupt = false;
	fdc->sense_interrupt = false;
	dma_request_set(&fdc->dma, false);
	i82077_update_irq(fdc);
}

/* Polling finds that all drives' ready lines have changed. */
static void fdc_leave_reset(struct i82077 *fdc)
{
	if (fdc->configure[0] & CONFIGURE_NO_POLL)
		return;
	fdc->reset_statuses = UNITS;
	fdc->sense_interrupt = true;
	i82077_update_irq(fdc);
}

/* ---- ports ---- */

static void fdc_write_dor(struct i82077 *fdc, uint8_t value)
{
	uint8_t changed = fdc->dor ^ value;
	fdc->dor = value;
	if (!(value & DOR_NOT_RESET))
		fdc_abort(fdc);
	else if (changed & DOR_NOT_RESET)
		fdc_leave_reset(fdc);
	i82077_update_irq(fdc);
}

static void fdc_write_dsr(struct i82077 *fdc, uint8_t value)
{
	fdc->rate = value & 3;
	if (!(value & DSR_RESET))
		return;
	fdc_abort(fdc);
	if (fdc->dor & DOR_NOT_RESET)
		fdc_leave_reset(fdc);
}

static uint8_t fdc_read_status(const struct i82077 *fdc)
{
	unsigned status = 0;
	if (!(fdc->dor & DOR_NOT_RESET))
		return 0;
	for (unsigned i = 0; i < UNITS; i++)
		if (fdc->seek[i].timer.armed || fdc->seek[i].done)
			status |= 1u << i;
	if (fdc->phase == PHASE_RESULT)
		status |= MSR_READY | MSR_TO_HOST | MSR_BUSY;
	else if (fdc->phase == PHASE_COMMAND)
		status |= MSR_READY | (fdc->received > 0 ? MSR_BUSY : 0);
	else
		status |= MSR_BUSY;
	if (fdc->transfer != TRANSFER_NONE && i82077_is_non_dma(fdc))
		status |= MSR_READY | MSR_NON_DMA | (fdc->transfer == TRANSFER_READ ? MSR_TO_HOST : 0);
	return (uint8_t)status;
}

/* Without DMA there is no terminal count: the command goes on, or ends, right after a sector's last byte. */
static void fdc_after_data_byte(struct i82077 *fdc)
{
	fdc->data_interrupt = false;
	i82077_update_irq(fdc);
	if (fdc->transfer == TRANSFER_READ || fdc->transfer == TRANSFER_WRITE)
		if (fdc->position == FLOPPY_SECTOR)
			(void)i82077_next_sector(fdc);
	fdc->data_interrupt = fdc->transfer != TRANSFER_NONE || fdc->phase == PHASE_RESULT;
	i82077_update_irq(fdc);
}

static uint8_t fdc_read_data(struct i82077 *fdc)
{
	uint8_t byte = 0;
	if (fdc->transfer == TRANSFER_READ && i82077_is_non_dma(fdc)) {
		(void)i82077_take(fdc, &byte, 1);
		fdc_after_data_byte(fdc);
	} else if (fdc->phase == PHASE_RESULT) {
		byte = fdc->result[fdc->result_next++];
		fdc->data_interrupt = false;
		i82077_update_irq(fdc);
		if (fdc->result_next == fdc->result_size)
			i82077_result(fdc, NULL, 0);
	}
	return byte;
}

static void fdc_write_data(struct i82077 *fdc, uint8_t byte)
{
	if (!(fdc->dor & DOR_NOT_RESET))
		return;
	if (fdc->phase == PHASE_COMMAND) {
		fdc_command_byte(fdc, byte);
	} else if (fdc->transfer > TRANSFER_READ && i82077_is_non_dma(fdc)) {
		(void)i82077_give(fdc, &byte, 1);
		fdc_after_data_byte(fdc);
	}
}

static uint64_t fdc_read(void *opaque, uint64_t offset, unsigned size)
{
	struct i82077 *fdc = opaque;
	(void)size;
	switch (offset) {
	case 0:
		return fdc->dor;
	case 1:
		return fdc->tdr;
	case 2:
		return fdc_read_status(fdc);
	default:
		return fdc_read_data(fdc);
	}
}

static void fdc_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
	struct i82077 *fdc = opaque;
	(void)size;
	if (offset == 0)
		fdc_write_dor(fdc, (uint8_t)value);
	else if (offset == 1)
		fdc->tdr = value & 3;
	else if (offset == 2)
		fdc_write_dsr(fdc, (uint8_t)value);
	else
		fdc_write_data(fdc, (uint8_t)value);
}

static uint64_t fdc_read_dir(void *opaque, uint64_t offset, unsigned size)
{
	const struct i82077 *fdc = opaque;
	unsigned unit = fdc->dor & DOR_UNIT;
	(void)offset;
	(void)size;
	return i82077_floppy(fdc, unit) == NULL || fdc->changed[unit] ? DIR_CHANGED : 0;
}

static void fdc_write_ccr(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
	struct i82077 *fdc = opaque;
	(void)offset;
	(void)size;
	fdc->rate = value & 3;
}

static const struct io_ops fdc_ops = {.read = fdc_read, .write = fdc_write, .max_size = 1};
static const struct io_ops fdc_dir_ops = {.read = fdc_read_dir, .write = fdc_write_ccr, .max_size = 1};

bool i82077_map(struct i82077 *fdc, struct io_map *ports, struct error *error)
{
	return io_map_add(ports, 0x3f2, 4, &fdc_ops, fdc, "i82077", error) &&
	       io_map_add(ports, 0x3f7, 1, &fdc_dir_ops, fdc, "i82077-dir", error);
}

/* ---- wiring ---- */

static unsigned fdc_dma_read(void *opaque, uint8_t *bytes, unsigned count)
{
	return i82077_take(opaque, bytes, count);
}

static unsigned fdc_dma_write(void *opaque, const uint8_t *bytes, unsigned count)
{
	return i82077_give(opaque, bytes, count);
}

struct dma_device i82077_dma_device(struct i82077 *fdc)
{
	return (struct dma_device){
	    .read = fdc_dma_read, .write = fdc_dma_write, .terminal_count = i82077_terminal_count, .opaque = fdc};
}

void i82077_set_dma(struct i82077 *fdc, const struct dma_request *request)
{
	fdc->dma = *request;
}

void i82077_insert(struct i82077 *fdc, unsigned drive, struct floppy *floppy)
{
	if (drive >= I82077_DRIVES)
		return;
	fdc->floppy[drive] = floppy;
	fdc->changed[drive] = true;
}

struct i82077 *i82077_create(struct clock *clock, const struct irq_line *irq, struct error *error)
{
	struct i82077 *fdc = calloc(1, sizeof *fdc);
	if (fdc == NULL) {
		(void)error_set(error, ERROR_HOST, "out of memory for the floppy controller");
		return NULL;
	}
	fdc->clock = clock;
	fdc->irq = *irq;
	clock_timer_init(&fdc->timer, clock, i82077_timer_fire, fdc);
	for (unsigned i = 0; i < UNITS; i++) {
		fdc->seek[i].fdc = fdc;
		fdc->seek[i].unit = (uint8_t)i;
		clock_timer_init(&fdc->seek[i].timer, clock, fdc_seek_fire, &fdc->seek[i]);
	}
	i82077_reset(fdc);
	return fdc;
}

void i82077_destroy(struct i82077 *fdc)
{
	clock_timer_cancel(&fdc->timer);
	for (unsigned i = 0; i < UNITS; i++)
		clock_timer_cancel(&fdc->seek[i].timer);
	free(fdc);
}

void i82077_reset(struct i82077 *fdc)
{
	fdc->dor = 0;
	fdc->tdr = 0;
	fdc->lock = 0;
	fdc->rate = FLOPPY_250K;
	fdc->perpendicular = 0;
	fdc->end_of_track = 0;
	memset(fdc->specify, 0, sizeof fdc->specify);
	fdc_abort(fdc);
}
