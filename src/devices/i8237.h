/* SPDX-License-Identifier: MIT */
/*
 * A pair of Intel 8237A DMA controllers with the PC/AT's page registers.
 *
 *                     +---------+
 *   ports 00h-0Fh <-->| 8237 #1 |<-- DREQ 0-3   8-bit channels 0-3   (struct dma_request, struct dma_device)
 *                     +----+----+
 *                          | cascade
 *                     +----+----+
 *   ports C0h-DFh <-->| 8237 #2 |<-- DREQ 5-7   16-bit channels 5-7; channel 4 is the cascade
 *                     +---------+
 *   ports 80h-8Fh <--> page registers           address bits 16-23
 *
 * Implemented: all registers with the byte pointer flip-flop, single, demand, block and cascade modes, read, write and
 * verify transfers, address increment and decrement, autoinitialization, terminal count, software requests,
 * masks, controller disable, master clear. Memory is reached through the memory gate only: reads of what is not
 * RAM give FFh, writes are lost.
 *
 * Not implemented: memory-to-memory transfers, compressed timing, rotating priority, polarities of DREQ and DACK (the
 * bits are kept). Transfers take no time: a requested channel runs until its device pauses or its count ends. Unused
 * page registers, port 80h among them, are scratch.
 *
 * Source: 8237A data sheet 231466-005; IBM PC/AT Technical Reference, "DMA".
 */
#ifndef NFOLD_DEVICES_I8237_H
#define NFOLD_DEVICES_I8237_H

#include <stdbool.h>
#include <stdint.h>

#include "io/bus.h"
#include "io/dma.h"
#include "memory/memory.h"

#define I8237_CHANNELS 8
#define I8237_CASCADE 4

struct i8237;

struct i8237 *i8237_create(struct memory *memory, struct error *error);
void i8237_destroy(struct i8237 *dma);
void i8237_reset(struct i8237 *dma);

/* Claims ports 00h-0Fh, 80h-8Fh and C0h-DFh. */
bool i8237_map(struct i8237 *dma, struct io_map *ports, struct error *error);

/* Wires a device to channel 0-3 or 5-7 and returns its DREQ line. */
struct dma_request i8237_attach(struct i8237 *dma, int channel, const struct dma_device *device);

#endif
