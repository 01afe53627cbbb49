/* SPDX-License-Identifier: MIT */
/* What the parts of the floppy controller share. Internal to it. */
#ifndef NFOLD_DEVICES_I82077_IMPL_H
#define NFOLD_DEVICES_I82077_IMPL_H

#include <string.h>

#include "devices/i82077.h"

#define UNITS 4u /* that commands can name; there are I82077_DRIVES drives */

#define DOR_UNIT 0x03u
#define DOR_NOT_RESET 0x04u
#define DOR_GATE 0x08u /* of interrupt and DREQ */
#define DSR_RESET 0x80u
#define DIR_CHANGED 0x80u

#define MSR_BUSY 0x10u
#define MSR_NON_DMA 0x20u
#define MSR_TO_HOST 0x40u
#define MSR_READY 0x80u

#define ST0_ABNORMAL 0x40u
#define ST0_INVALID 0x80u
#define ST0_POLLING 0xc0u
#define ST0_SEEK_END 0x20u
#define ST0_EQUIPMENT 0x10u
#define ST1_NO_MARK 0x01u
#define ST1_NOT_WRITABLE 0x02u
#define ST1_NO_DATA 0x04u
#define ST1_DATA_ERROR 0x20u
#define ST1_END 0x80u
#define ST2_WRONG_CYLINDER 0x10u
#define ST2_DATA_ERROR 0x20u
#define ST2_MARK 0x40u
#define ST3_FIXED 0x28u /* ready, two sides */
#define ST3_TRACK0 0x10u
#define ST3_PROTECTED 0x40u

#define CMD_MULTITRACK 0x80u
#define CMD_MFM 0x40u
#define CMD_SKIP 0x20u
#define CMD_OPERATION 0x1fu
#define OPERATION_READ_TRACK 0x02u
#define OPERATION_READ_DELETED 0x0cu

#define CONFIGURE_IMPLIED_SEEK 0x40u
#define CONFIGURE_NO_POLL 0x10u
#define CONFIGURE_DEFAULT 0x20u /* FIFO off, polling on */
#define LOCK_BIT 0x80u
#define SPECIFY_NON_DMA 0x01u

#define SIZE_CODE 2u /* N: 128 << 2 bytes */
#define RECALIBRATE_STEPS 79u
#define REVOLUTION_NS UINT64_C(200000000)
#define STEP_NS UINT64_C(10000)

enum fdc_phase { PHASE_COMMAND, PHASE_EXECUTION, PHASE_RESULT };
enum fdc_transfer { TRANSFER_NONE, TRANSFER_READ, TRANSFER_WRITE, TRANSFER_FORMAT };

/* A seek of one unit on its way. */
struct fdc_seek {
	struct clock_timer timer;
	struct i82077 *fdc;
	uint8_t unit, st0;
	bool done; /* waits for its sense interrupt status */
};

struct i82077 {
	struct clock *clock;
	struct irq_line irq;
	struct dma_request dma;
	struct floppy *floppy[I82077_DRIVES];
	bool changed[I82077_DRIVES];
	struct fdc_seek seek[UNITS];
	uint8_t cylinder[UNITS]; /* PCN, and where the head is */
	uint8_t dor, tdr, rate;
	uint8_t specify[2], configure[2], perpendicular, lock, end_of_track;
	enum fdc_phase phase;
	uint8_t command[9], result[10];
	unsigned received, result_size, result_next;
	unsigned reset_statuses; /* sense interrupt statuses that a reset has left */
	bool data_interrupt, sense_interrupt;

	/* The data command in its execution phase. */
	struct clock_timer timer;
	void (*work)(struct i82077 *fdc); /* what the timer starts */
	enum fdc_transfer transfer;
	uint8_t unit, head;
	uint8_t c, h, r, n; /* the ID looked for */
	uint8_t buffer[FLOPPY_SECTOR];
	unsigned position, left_to_format;
};

static inline void i82077_update_irq(const struct i82077 *fdc)
{
	irq_set(&fdc->irq, (fdc->data_interrupt || fdc->sense_interrupt) && (fdc->dor & DOR_GATE));
}

static inline struct floppy *i82077_floppy(const struct i82077 *fdc, unsigned unit)
{
	return unit < I82077_DRIVES ? fdc->floppy[unit] : NULL;
}

/* ---- results ---- */

static inline void i82077_result(struct i82077 *fdc, const uint8_t *bytes, unsigned count)
{
	if (count > 0)
		memcpy(fdc->result, bytes, count);
	fdc->result_size = count;
	fdc->result_next = 0;
	fdc->received = 0;
	fdc->phase = count > 0 ? PHASE_RESULT : PHASE_COMMAND;
}

static inline void i82077_result_byte(struct i82077 *fdc, unsigned byte)
{
	const uint8_t value = (uint8_t)byte;
	i82077_result(fdc, &value, 1);
}

static inline bool i82077_is_non_dma(const struct i82077 *fdc)
{
	return (fdc->specify[1] & SPECIFY_NON_DMA) != 0;
}

/* Bytes of the execution phase, to the host and from it. Return how many went. */
unsigned i82077_take(struct i82077 *fdc, uint8_t *bytes, unsigned count);
unsigned i82077_give(struct i82077 *fdc, const uint8_t *bytes, unsigned count);
/* The sector in the buffer is done. Makes the next one ready, or ends the command. */
bool i82077_next_sector(struct i82077 *fdc);
void i82077_terminal_count(void *opaque);
/* The head moves. Returns the time that takes. */
uint64_t i82077_move_head(struct i82077 *fdc, unsigned unit, uint8_t target);
void i82077_timer_fire(void *opaque);
/* Commands, when all their bytes are there. */
void i82077_run_data(struct i82077 *fdc);
void i82077_run_format(struct i82077 *fdc);
void i82077_run_read_id(struct i82077 *fdc);

#endif
