/* SPDX-License-Identifier: MIT */
/* The floppy controller's data commands: sectors, the execution phase, formatting, IDs. */
#include "devices/i82077-impl.h"

/* Ends a data command: seven bytes and an interrupt. */
static void fdc_finish(struct i82077 *fdc, unsigned st0, unsigned st1, unsigned st2)
{
	const uint8_t bytes[7] = {(uint8_t)(st0 | (unsigned)fdc->head << 2 | fdc->unit),
				  (uint8_t)st1,
				  (uint8_t)st2,
				  fdc->c,
				  fdc->h,
				  fdc->r,
				  fdc->n};
	fdc->transfer = TRANSFER_NONE;
	i82077_result(fdc, bytes, sizeof bytes);
	dma_request_set(&fdc->dma, false);
	fdc->data_interrupt = true;
	i82077_update_irq(fdc);
}

static void fdc_after(struct i82077 *fdc, uint64_t ns, void (*work)(struct i82077 *fdc))
{
	fdc->work = work;
	clock_timer_set(&fdc->timer, clock_now(fdc->clock) + ns);
}

void i82077_timer_fire(void *opaque)
{
	struct i82077 *fdc = opaque;
	fdc->work(fdc);
}

/* ---- sectors ---- */

/* Double density is read at 300K or 250K, as the drive turns faster or not. */
static bool rate_matches(enum floppy_rate disk, uint8_t rate)
{
	if (disk == FLOPPY_250K)
		return rate == FLOPPY_250K || rate == FLOPPY_300K;
	return rate == (uint8_t)disk;
}

/* Whether there are sector IDs under the head at all. */
static bool fdc_track_is_readable(const struct i82077 *fdc)
{
	const struct floppy *floppy = i82077_floppy(fdc, fdc->unit);
	if (floppy == NULL || !(fdc->command[0] & CMD_MFM))
		return false;
	const struct floppy_geometry *geometry = floppy_geometry(floppy);
	return rate_matches(geometry->rate, fdc->rate) && fdc->cylinder[fdc->unit] < geometry->cylinders &&
	       fdc->head < geometry->heads;
}

/* Finds the sector of the ID looked for. False, with the command ended, when it is not on the track. */
static bool fdc_find_sector(struct i82077 *fdc, uint32_t *sector)
{
	if (!fdc_track_is_readable(fdc)) {
		fdc_finish(fdc, ST0_ABNORMAL, ST1_NO_MARK, 0);
		return false;
	}
	const struct floppy_geometry *geometry = floppy_geometry(fdc->floppy[fdc->unit]);
	uint8_t cylinder = fdc->cylinder[fdc->unit];
	if (fdc->c != cylinder || fdc->h != fdc->head || fdc->n != SIZE_CODE || fdc->r == 0 ||
	    fdc->r > geometry->sectors) {
		fdc_finish(fdc, ST0_ABNORMAL, ST1_NO_DATA, fdc->c != cylinder ? ST2_WRONG_CYLINDER : 0);
		return false;
	}
	*sector = ((uint32_t)cylinder * geometry->heads + fdc->head) * geometry->sectors + fdc->r - 1;
	return true;
}

static bool fdc_load_sector(struct i82077 *fdc)
{
	uint32_t sector;
	if (!fdc_find_sector(fdc, &sector))
		return false;
	if (!floppy_read(fdc->floppy[fdc->unit], sector, fdc->buffer)) {
		fdc_finish(fdc, ST0_ABNORMAL, ST1_DATA_ERROR, ST2_DATA_ERROR);
		return false;
	}
	fdc->position = 0;
	return true;
}

static bool fdc_store_sector(struct i82077 *fdc)
{
	uint32_t sector;
	if (!fdc_find_sector(fdc, &sector))
		return false;
	if (floppy_write(fdc->floppy[fdc->unit], sector, fdc->buffer))
		return true;
	fdc_finish(fdc, ST0_ABNORMAL, ST1_DATA_ERROR, ST2_DATA_ERROR);
	return false;
}

/* The ID after this one (data sheet, table 5-5). False: the cylinder, or without MT the track, has ended. */
static bool fdc_advance(struct i82077 *fdc)
{
	bool multitrack = (fdc->command[0] & CMD_MULTITRACK) != 0;
	if (fdc->r != fdc->end_of_track) {
		fdc->r++;
		return true;
	}
	fdc->r = 1;
	if (multitrack)
		fdc->h ^= 1;
	if (multitrack && fdc->head == 0) {
		fdc->head = 1;
		return true;
	}
	fdc->c++;
	return false;
}

static bool fdc_meets_other_mark(const struct i82077 *fdc)
{
	return (fdc->command[0] & CMD_OPERATION) == OPERATION_READ_DELETED;
}

/* The sector in the buffer is done. Makes the next one ready, or ends the command. */
bool i82077_next_sector(struct i82077 *fdc)
{
	if (fdc_meets_other_mark(fdc)) {
		fdc_finish(fdc, 0, 0, ST2_MARK);
		return false;
	}
	if (!fdc_advance(fdc)) {
		fdc_finish(fdc, ST0_ABNORMAL, ST1_END, 0);
		return false;
	}
	if (fdc->transfer == TRANSFER_READ)
		return fdc_load_sector(fdc);
	uint32_t sector;
	fdc->position = 0;
	return fdc_find_sector(fdc, &sector);
}

/* ---- bytes of the execution phase ---- */

unsigned i82077_take(struct i82077 *fdc, uint8_t *bytes, unsigned count)
{
	unsigned done = 0;
	while (done < count && fdc->transfer == TRANSFER_READ) {
		if (fdc->position == FLOPPY_SECTOR && !i82077_next_sector(fdc))
			break;
		unsigned part = FLOPPY_SECTOR - fdc->position;
		part = part < count - done ? part : count - done;
		memcpy(bytes + done, fdc->buffer + fdc->position, part);
		fdc->position += part;
		done += part;
	}
	return done;
}

/* Four bytes name a sector of the track. Only the image's own layout can be kept. */
static void fdc_format_sector(struct i82077 *fdc)
{
	fdc->c = fdc->buffer[0];
	fdc->h = fdc->buffer[1];
	fdc->r = fdc->buffer[2];
	fdc->n = fdc->buffer[3];
	memset(fdc->buffer, fdc->command[5], sizeof fdc->buffer);
	fdc->position = 0;
	if (fdc_store_sector(fdc) && --fdc->left_to_format == 0)
		fdc_finish(fdc, 0, 0, 0);
}

static void fdc_give_byte(struct i82077 *fdc, uint8_t byte)
{
	if (fdc->transfer == TRANSFER_WRITE && fdc->position == FLOPPY_SECTOR && !i82077_next_sector(fdc))
		return;
	fdc->buffer[fdc->position++] = byte;
	if (fdc->transfer == TRANSFER_FORMAT && fdc->position == 4)
		fdc_format_sector(fdc);
	else if (fdc->transfer == TRANSFER_WRITE && fdc->position == FLOPPY_SECTOR)
		(void)fdc_store_sector(fdc);
}

unsigned i82077_give(struct i82077 *fdc, const uint8_t *bytes, unsigned count)
{
	unsigned done = 0;
	while (done < count && (fdc->transfer == TRANSFER_WRITE || fdc->transfer == TRANSFER_FORMAT))
		fdc_give_byte(fdc, bytes[done++]);
	return done;
}

/* The host has what it wants. A sector that was begun is filled with zeros. */
void i82077_terminal_count(void *opaque)
{
	struct i82077 *fdc = opaque;
	if (fdc->transfer == TRANSFER_NONE)
		return;
	if (fdc->transfer == TRANSFER_WRITE && fdc->position > 0 && fdc->position < FLOPPY_SECTOR) {
		memset(fdc->buffer + fdc->position, 0, FLOPPY_SECTOR - fdc->position);
		if (!fdc_store_sector(fdc))
			return;
	}
	bool marked = fdc->transfer == TRANSFER_READ && fdc_meets_other_mark(fdc);
	if (!marked && fdc->transfer != TRANSFER_FORMAT)
		(void)fdc_advance(fdc);
	fdc_finish(fdc, 0, 0, marked ? ST2_MARK : 0);
}

/* ---- data commands ---- */

static void fdc_no_mark(struct i82077 *fdc)
{
	fdc_finish(fdc, ST0_ABNORMAL, ST1_NO_MARK, 0);
}

static void fdc_start_transfer(struct i82077 *fdc, enum fdc_transfer transfer)
{
	fdc->transfer = transfer;
	if (i82077_is_non_dma(fdc)) {
		fdc->data_interrupt = true;
		i82077_update_irq(fdc);
	} else {
		dma_request_set(&fdc->dma, true);
	}
}

/* What all commands check that need a track under the head. */
static bool fdc_has_track(struct i82077 *fdc)
{
	if (fdc_track_is_readable(fdc))
		return true;
	fdc_after(fdc, 2 * REVOLUTION_NS, fdc_no_mark);
	return false;
}

static bool fdc_is_writable(struct i82077 *fdc)
{
	if (!floppy_is_read_only(fdc->floppy[fdc->unit]))
		return true;
	fdc_finish(fdc, ST0_ABNORMAL, ST1_NOT_WRITABLE, 0);
	return false;
}

/* No data is moved; every sector up to the end, or as many as asked for, is read. */
static void fdc_verify(struct i82077 *fdc)
{
	unsigned count = (fdc->command[1] & 0x80) ? fdc->command[8] : 0;
	while (fdc_load_sector(fdc)) {
		bool more = fdc_advance(fdc);
		if (!more || --count == 0) {
			fdc_finish(fdc, 0, 0, 0);
			return;
		}
	}
}

static void fdc_execute(struct i82077 *fdc)
{
	unsigned operation = fdc->command[0] & CMD_OPERATION;
	uint32_t sector;
	if (!fdc_has_track(fdc))
		return;
	switch (operation) {
	case 0x05:
	case 0x09:
		fdc->position = 0;
		if (fdc_is_writable(fdc) && fdc_find_sector(fdc, &sector))
			fdc_start_transfer(fdc, TRANSFER_WRITE);
		break;
	case 0x0d:
		fdc->position = 0;
		if (fdc_is_writable(fdc))
			fdc_start_transfer(fdc, TRANSFER_FORMAT);
		break;
	case 0x16:
		fdc_verify(fdc);
		break;
	default:
		if (operation == OPERATION_READ_DELETED && (fdc->command[0] & CMD_SKIP))
			fdc_finish(fdc, 0, 0, ST2_MARK); /* every sector is of the other mark, so all are skipped */
		else if (fdc_load_sector(fdc))
			fdc_start_transfer(fdc, TRANSFER_READ);
		break;
	}
}

/*
 * The head moves; a step with a disk in the drive resets its change line. Returns the time that takes. The guest's own
 * step time is no part of it: systems that go back and forth between a folder and its files would wait seconds for it.
 */
uint64_t i82077_move_head(struct i82077 *fdc, unsigned unit, uint8_t target)
{
	unsigned from = fdc->cylinder[unit];
	unsigned steps = from > target ? from - target : target - from;
	if (steps > 0 && i82077_floppy(fdc, unit) != NULL)
		fdc->changed[unit] = false;
	fdc->cylinder[unit] = target;
	return steps * STEP_NS;
}

static void fdc_enter_execution(struct i82077 *fdc)
{
	fdc->phase = PHASE_EXECUTION;
	fdc->unit = fdc->command[1] & 3;
	fdc->head = fdc->command[1] >> 2 & 1;
}

void i82077_run_data(struct i82077 *fdc)
{
	fdc_enter_execution(fdc);
	fdc->c = fdc->command[2];
	fdc->h = fdc->command[3];
	fdc->r = (fdc->command[0] & CMD_OPERATION) == OPERATION_READ_TRACK ? 1 : fdc->command[4];
	fdc->n = fdc->command[5];
	fdc->end_of_track = fdc->command[6];
	uint64_t delay = 0;
	if (fdc->configure[0] & CONFIGURE_IMPLIED_SEEK)
		delay = i82077_move_head(fdc, fdc->unit, fdc->c);
	if (delay > 0)
		fdc_after(fdc, delay, fdc_execute);
	else
		fdc_execute(fdc);
}

void i82077_run_format(struct i82077 *fdc)
{
	fdc_enter_execution(fdc);
	fdc->c = fdc->cylinder[fdc->unit];
	fdc->h = fdc->head;
	fdc->r = 1;
	fdc->n = fdc->command[2];
	fdc->left_to_format = fdc->command[3] != 0 ? fdc->command[3] : 256u;
	fdc_execute(fdc);
}

static void fdc_id_found(struct i82077 *fdc)
{
	if (!fdc_track_is_readable(fdc))
		fdc_no_mark(fdc);
	else
		fdc_finish(fdc, 0, 0, 0);
}

/* The next ID that comes by: the disk has turned with the virtual clock. */
void i82077_run_read_id(struct i82077 *fdc)
{
	fdc_enter_execution(fdc);
	fdc->c = fdc->cylinder[fdc->unit];
	fdc->h = fdc->head;
	fdc->r = 1;
	fdc->n = SIZE_CODE;
	if (!fdc_has_track(fdc))
		return;
	unsigned sectors = floppy_geometry(fdc->floppy[fdc->unit])->sectors;
	uint64_t angle = clock_now(fdc->clock) % REVOLUTION_NS, pitch = REVOLUTION_NS / sectors;
	uint64_t next = angle / pitch + 1;
	fdc->r = (uint8_t)(next % sectors + 1);
	fdc_after(fdc, next * pitch - angle, fdc_id_found);
}
