/* SPDX-License-Identifier: MIT */
/* What the parts of the ATA disk share: ata.c has the commands that move sectors, ata-identify.c what it says of
 * itself. */
#ifndef NFOLD_DEVICES_ATA_IMPL_H
#define NFOLD_DEVICES_ATA_IMPL_H

#include "devices/ata.h"

#define ATA_LBA28_SECTORS UINT64_C(0x10000000)
#define ATA_MULTIPLE_MAX 16u
#define ATA_SERIAL_SIZE 20u
/* A write goes to the image at once as far as Linux asks in a command; reads in pieces that the cache still has when
 * they are copied. */
#define ATA_BUFFER_SECTORS 2048u
#define ATA_READ_SECTORS 256u
#define ATA_UDMA_MODES 6u /* 0-5 */

struct ata_geometry {
	uint32_t cylinders, heads, sectors;
};

/* The transfer mode that SET FEATURES chose, as bits of words 63 and 88. */
struct ata_mode {
	uint8_t multiword, ultra;
};

struct ata {
	struct ide_drive drive;
	struct disk *disk;
	char serial[ATA_SERIAL_SIZE + 1];
	struct ata_geometry geometry; /* the translation in use */
	struct ata_mode mode;
	uint8_t multiple; /* sectors in a block of the MULTIPLE commands; 0: disabled */
	bool write_cache, look_ahead, standby;
	/* The command at work, latched when it was given. */
	const struct ata_command *command;
	bool chs;
	uint64_t lba;	    /* of the next sector */
	uint32_t remaining; /* sectors */
	uint32_t block;	    /* sectors between two interrupts */
	/* What the image has read and the host has not seen yet, and how reading ended. */
	uint32_t first, buffered;
	bool unreadable;
	bool written; /* the first block was asked for: each later one interrupts */
	bool running; /* ata_run() is on the stack */
	struct disk_request request;
	uint8_t *buffer; /* ATA_BUFFER_SECTORS sectors */
};

struct ata_geometry ata_default_geometry(uint64_t sectors);
void ata_identify(const struct ata *ata, uint8_t *page); /* 512 bytes */

#endif
