/* SPDX-License-Identifier: MIT */
/*
 * Firmware configuration: how the machine hands tables, files and numbers to its firmware.
 *
 *                 +--------+
 *   port 510h --->| select |   write, 16 bits: the key of an item; the offset starts at 0
 *   port 511h <-->| data   |   read, 8 bits: the item's next byte; writes are ignored
 *   port 514h <-->| DMA    |-- guest memory, through the memory gate
 *                 +--------+
 *
 * Implemented: the port interface, the DMA interface (read, write, skip, select; high half of the descriptor's address
 * at 514h, low half at 518h, big-endian; the low half starts the transfer), signature, interface identification, and
 * the file directory. Items and files are added at wiring time and copied. A file may be writable by DMA.
 *
 * Not implemented: the MMIO placement of other architectures, notices to the machine of what the guest selects or
 * writes. Items that the guest wrote stay written over a reset.
 *
 * Reads beyond an item give zeros. A DMA transfer ends at once, with the error bit, at an address that is not RAM.
 *
 * Source: QEMU's specification of the device, docs/specs/fw_cfg.rst.
 */
#ifndef NFOLD_DEVICES_FWCFG_H
#define NFOLD_DEVICES_FWCFG_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "io/bus.h"
#include "memory/memory.h"

/* Keys with a fixed meaning that PC firmware asks for. Numbers are little-endian. */
enum fwcfg_key {
	FWCFG_SIGNATURE = 0x00,
	FWCFG_ID = 0x01,
	FWCFG_RAM_SIZE = 0x03,	     /* 8 bytes */
	FWCFG_NOGRAPHIC = 0x04,	     /* 2 bytes */
	FWCFG_CPU_COUNT = 0x05,	     /* 2 bytes */
	FWCFG_BOOT_MENU = 0x0e,	     /* 2 bytes */
	FWCFG_MAX_CPU_COUNT = 0x0f,  /* 2 bytes */
	FWCFG_FILE_DIRECTORY = 0x19, /* made by this device */
	FWCFG_FILE_FIRST = 0x20,
	FWCFG_IRQ0_OVERRIDE = 0x8002, /* 1 byte: IRQ 0 is the IOAPIC's input 2 */
	FWCFG_E820 = 0x8003,
};

#define FWCFG_ITEMS 64u		    /* with files */
#define FWCFG_NAME 56u		    /* of a file, with the final zero */
#define FWCFG_ITEM_SIZE (16u << 20) /* bytes at most */

struct fwcfg;

struct fwcfg *fwcfg_create(struct memory *memory, struct error *error);
void fwcfg_destroy(struct fwcfg *fwcfg);
void fwcfg_reset(struct fwcfg *fwcfg);

/* Copies `size` bytes. Fails when the key is taken or reserved, the table is full, or the size is too large. */
bool fwcfg_add(struct fwcfg *fwcfg, uint16_t key, const void *bytes, uint32_t size, struct error *error);
/* The same with a number of 1 to 8 bytes. */
bool fwcfg_add_number(struct fwcfg *fwcfg, uint16_t key, uint64_t value, unsigned size, struct error *error);
/* A file of the directory, such as "etc/acpi/tables". Its key is the next free one. */
bool fwcfg_add_file(struct fwcfg *fwcfg, const char *name, const void *bytes, uint32_t size, bool writable,
		    struct error *error);

/* Claims ports 510h-511h and 514h-51Bh. */
bool fwcfg_map(struct fwcfg *fwcfg, struct io_map *ports, struct error *error);

#endif
