/* SPDX-License-Identifier: MIT */
/*
 * Intel 82077AA floppy disk controller in PC/AT mode, with two drives.
 *
 *                          +---------+
 *   ports 3F2h-3F5h, 3F7h  |         |--> IRQ 6   (struct irq_line)
 *   DOR TDR MSR/DSR FIFO <-| 82077AA |<-> DMA 2   (struct dma_request, struct dma_device)
 *   DIR/CCR                |         |<-> drives A and B (backend/floppy.h)
 *                          +---------+
 *
 * Implemented: read and write of data and deleted data, read track, verify, format, read ID, recalibrate, seek,
 * relative seek, sense interrupt and drive status, specify, configure (implied seek, polling), dump registers, version,
 * lock, perpendicular; by DMA and without; both kinds of reset, data rates, disk change line, write protection. Seeks
 * take 10 us a step, on the virtual clock; IDs pass under the head as the disk turns.
 *
 * Not implemented: scan commands (answered as invalid), tracks in FM, sectors of other sizes than 512 bytes, deleted
 * data marks (an image keeps none: what is written as deleted reads as data), formats other than the image's own,
 * precompensation, tape, the step rate of specify. Data needs no time; motors are always up to speed. A drive with no
 * disk, or one of another data rate, finds no address mark: such a command ends after two revolutions.
 *
 * Source: 82077AA data sheet 290166-007.
 */
#ifndef NFOLD_DEVICES_I82077_H
#define NFOLD_DEVICES_I82077_H

#include <stdbool.h>
#include <stdint.h>

#include "backend/floppy.h"
#include "io/bus.h"
#include "io/clock.h"
#include "io/dma.h"
#include "io/irq.h"

#define I82077_DRIVES 2u

struct i82077;

struct i82077 *i82077_create(struct clock *clock, const struct irq_line *irq, struct error *error);
void i82077_destroy(struct i82077 *fdc);
void i82077_reset(struct i82077 *fdc);

/* Claims ports 3F2h-3F5h and 3F7h; 3F6h is the disk controller's. */
bool i82077_map(struct i82077 *fdc, struct io_map *ports, struct error *error);

/* The controller as its DMA channel sees it, and the channel's DREQ. */
struct dma_device i82077_dma_device(struct i82077 *fdc);
void i82077_set_dma(struct i82077 *fdc, const struct dma_request *request);

/* Puts a disk into a drive, which stays the caller's; NULL takes it out. The change line tells the guest. */
void i82077_insert(struct i82077 *fdc, unsigned drive, struct floppy *floppy);

#endif
