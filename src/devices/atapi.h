/* SPDX-License-Identifier: MIT */
/*
 * An ATAPI CD-ROM drive: a drive on an IDE channel (ide.h) in front of a disk image, or empty.
 *
 * A disc is one data track of 2048-byte blocks; an image that ends within a block is filled up with zeros.
 *
 * Implemented: PACKET with PIO in pieces of at most the byte count limit, and with DMA; IDENTIFY PACKET DEVICE, DEVICE
 * RESET, SET FEATURES (transfer mode), the power commands; the signature for disk commands. Packets: TEST UNIT READY,
 * REQUEST SENSE, INQUIRY, START STOP UNIT (with tray), PREVENT ALLOW MEDIUM REMOVAL, READ CAPACITY, READ (10) and
 * (12), SEEK (10), READ TOC (formats 0 and 1), GET CONFIGURATION, GET EVENT STATUS NOTIFICATION (media, polled),
 * MODE SENSE (10) (pages 01h and 2Ah), MECHANISM STATUS, READ CD (user data only). Unit attention after resets and
 * changes of the medium. All other packets are illegal requests.
 *
 * Not implemented: audio, raw and subchannel reading, overlap, MODE SELECT. Power modes change nothing.
 *
 * Sources: ATA/ATAPI-6 (T13/1410D); SFF-8020i 2.6; MMC-3.
 */
#ifndef NFOLD_DEVICES_ATAPI_H
#define NFOLD_DEVICES_ATAPI_H

#include "backend/disk.h"
#include "devices/ide.h"

struct atapi;

struct atapi_config {
	struct ide_channel *channel;
	unsigned number;    /* 0 or 1 */
	struct disk *disk;  /* NULL: no disc */
	const char *serial; /* at most 20 characters of ASCII */
};

struct atapi *atapi_create(const struct atapi_config *config, struct error *error);
void atapi_destroy(struct atapi *atapi); /* drains the image, which stays the caller's */

/* Another disc, or NULL; closes the tray. The image before is drained and the caller's again. */
void atapi_set_disk(struct atapi *atapi, struct disk *disk);

#endif
