/* SPDX-License-Identifier: MIT */
/*
 * An ATA disk: a drive on an IDE channel (ide.h) in front of a disk image (backend/disk.h).
 *
 * Implemented: CHS with translation, LBA28, LBA48; READ, WRITE and READ VERIFY SECTORS, READ and WRITE MULTIPLE, READ
 * and WRITE DMA, with their EXT forms; SEEK, RECALIBRATE; FLUSH CACHE (EXT); IDENTIFY DEVICE; SET FEATURES (transfer
 * mode, write cache, look-ahead, defaults); SET MULTIPLE MODE; INITIALIZE DEVICE PARAMETERS; READ NATIVE MAX ADDRESS
 * (EXT); the power commands. All other commands are aborted.
 *
 * Errors of the image are those of a disk: UNC for a sector that cannot be read, ABRT for one that cannot be written or
 * a cache that cannot be flushed, with the address of the first such sector; the sectors before it are transferred.
 * The write cache is the host's; with it disabled each write is on the host's disk before the command ends.
 *
 * Not implemented: SMART, security, host protected area, power-up in standby, queued and FUA commands. Power modes
 * change nothing but the answer of CHECK POWER MODE; SLEEP is STANDBY.
 *
 * Source: ATA/ATAPI-6 (T13/1410D), chapters 6 and 8; CHS commands as in ATA-3.
 */
#ifndef NFOLD_DEVICES_ATA_H
#define NFOLD_DEVICES_ATA_H

#include "backend/disk.h"
#include "devices/ide.h"

struct ata;

struct ata_config {
	struct ide_channel *channel;
	unsigned number; /* 0 or 1 */
	struct disk *disk;
	const char *serial; /* at most 20 characters of ASCII */
};

struct ata *ata_create(const struct ata_config *config, struct error *error);
void ata_destroy(struct ata *ata); /* drains the disk image, which stays the caller's */

#endif
