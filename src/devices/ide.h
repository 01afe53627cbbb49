/* SPDX-License-Identifier: MIT */
/*
 * An IDE channel: the ATA register interface, shared by two drives.
 *
 *                   +-----------+
 *   1F0h-1F7h <---->| command   |---- drive 0 (struct ide_drive: disk, CD-ROM, none)
 *   3F6h      <---->| control   |---- drive 1
 *                   | DMARQ     |---> bus master (struct ide_master), takes bytes from ide_dma_window()
 *                   | INTRQ     |---> IRQ 14 (struct irq_line), high until the status register is read
 *                   +-----------+
 *
 * This is the bus, not a chip: disk and CD-ROM drive are drives on it, the PCI controller is its bus master, and
 * this header is the contract between them. The channel owns what all drives have in common: both drives' copies of the
 * command block registers with their previous contents (HOB), device selection, nIEN, SRST, EXECUTE DEVICE DIAGNOSTIC,
 * and the transfer of one block of bytes by PIO or DMA. A drive executes commands.
 *
 * A drive's command in words: command() runs with BSY set. To move bytes the drive calls ide_transfer(), and
 * transferred() is called after the last byte. It ends with ide_finish(). While it waits for its disk image it is
 * between ide_host_begin() and ide_host_end(), which says whether the command is still wanted: a reset does not
 * wait for the host, but the drive stays busy until the host has answered.
 *
 * Whatever the order of register accesses: commands to a drive that is busy or transfers are ignored, as are writes
 * of command block registers of a busy drive; the data port reads all ones and ignores writes outside a PIO
 * transfer in its direction; DMA moves bytes only while a drive asks for it.
 *
 * Not implemented: 8-bit data transfers (a byte access moves a word), the drive address register at 3F7h, queued
 * commands, delays: a drive is busy for as long as its image takes.
 *
 * Source: ATA/ATAPI-6 (T13/1410D), chapters 6, 7 and 9.
 */
#ifndef NFOLD_DEVICES_IDE_H
#define NFOLD_DEVICES_IDE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "io/bus.h"
#include "io/irq.h"

#define IDE_DRIVES 2u

/* Status register. */
#define IDE_STATUS_BSY 0x80u
#define IDE_STATUS_DRDY 0x40u
#define IDE_STATUS_DF 0x20u
#define IDE_STATUS_DSC 0x10u
#define IDE_STATUS_DRQ 0x08u
#define IDE_STATUS_ERR 0x01u

/* Error register. */
#define IDE_ERROR_UNC 0x40u
#define IDE_ERROR_IDNF 0x10u
#define IDE_ERROR_ABRT 0x04u

/* Device register. */
#define IDE_DEVICE_LBA 0x40u
#define IDE_DEVICE_DEV 0x10u
#define IDE_DEVICE_HEAD 0x0fu

/* Commands that ide.c or both kinds of drive know. */
#define IDE_COMMAND_DEVICE_RESET 0x08u
#define IDE_COMMAND_DIAGNOSTIC 0x90u

enum ide_transfer {
	IDE_IDLE,
	IDE_PIO_IN, /* to the host */
	IDE_PIO_OUT,
	IDE_DMA_IN, /* to memory */
	IDE_DMA_OUT,
};

/* The registers that have a previous content in 48-bit commands. */
struct ide_taskfile {
	uint8_t features, count, lba[3];
};

struct ide_channel;
struct ide_drive;

struct ide_drive_ops {
	void (*command)(struct ide_drive *drive, uint8_t command);
	void (*transferred)(struct ide_drive *drive); /* the block of ide_transfer() is through */
	void (*reset)(struct ide_drive *drive, bool power_on);
	uint8_t idle_status;  /* after a reset and between commands */
	uint8_t signature[2]; /* LBA mid and high after a reset */
	bool packet;	      /* a PACKET device: executes DEVICE RESET at any time */
};

struct ide_drive {
	const struct ide_drive_ops *ops;
	struct ide_channel *channel;
	unsigned number;
	struct ide_taskfile now, previous;
	uint8_t device, error, status;
	bool interrupt;
	/* The block in transfer. */
	enum ide_transfer transfer;
	uint8_t *bytes;
	size_t size, position;
	/* The disk image at work. */
	bool host_busy;
	bool abandoned; /* its answer is for a command that a reset ended */
};

/* DMARQ rose, or there are more bytes. May be called from within ide_dma_advance(). */
struct ide_master {
	void (*request)(void *opaque);
	void *opaque;
};

struct ide_channel_config {
	struct irq_line irq;
	struct ide_master master; /* request NULL: none */
};

struct ide_channel *ide_channel_create(const struct ide_channel_config *config, struct error *error);
void ide_channel_destroy(struct ide_channel *channel); /* after its drives */
void ide_channel_reset(struct ide_channel *channel);   /* the RESET- pin */

/* The registers as the host accesses them. */
extern const struct io_ops ide_command_ops; /* 8 ports; opaque is the channel */
extern const struct io_ops ide_control_ops; /* one port */

/* ---- for drives ---- */

bool ide_attach(struct ide_channel *channel, struct ide_drive *drive, unsigned number, const struct ide_drive_ops *ops,
		struct error *error);
void ide_detach(struct ide_drive *drive);

/* Offers or wants `size` bytes, an even number above 0. `interrupt`: tells the host, as the protocol demands. */
void ide_transfer(struct ide_drive *drive, enum ide_transfer transfer, uint8_t *bytes, size_t size, bool interrupt);

/* Ends the command: error 0 for success. */
void ide_finish(struct ide_drive *drive, uint8_t error, bool interrupt);

/* Puts the registers into the state after a reset that tells disks from CD-ROM drives. */
void ide_set_signature(struct ide_drive *drive);

/* Whether the channel has two drives: they notice each other by DASP- and PDIAG-. */
bool ide_has_other_drive(const struct ide_drive *drive);

void ide_host_begin(struct ide_drive *drive);
bool ide_host_end(struct ide_drive *drive); /* false: forget the answer */

/* ---- for the bus master ---- */

/* What the selected drive would move by DMA now; NULL for nothing. */
uint8_t *ide_dma_window(struct ide_channel *channel, size_t *size, bool *to_memory);
void ide_dma_advance(struct ide_channel *channel, size_t size); /* so many bytes of the window were moved */

#endif
