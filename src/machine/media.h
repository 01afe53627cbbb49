/* SPDX-License-Identifier: MIT */
/* The images behind a machine's drives, and what firmware is told of them. */
#ifndef NFOLD_MACHINE_MEDIA_H
#define NFOLD_MACHINE_MEDIA_H

#include "machine/machine.h"
#include "machine/pc.h"

#define MEDIA_SERIAL_SIZE 21
#define MEDIA_IMAGES (MACHINE_MAX_DISKS + 1) /* the disks in the user's order, then the disc */

struct media {
	struct pc_drive drive[PC_IDE_DRIVES]; /* as pc_config wants them */
	struct pc_drive virtio[PC_VIRTIO_DISKS];
	struct floppy *floppy[PC_FLOPPY_DRIVES];
	char serial[PC_IDE_DRIVES][MEDIA_SERIAL_SIZE];
	char virtio_serial[PC_VIRTIO_DISKS][MEDIA_SERIAL_SIZE];
	struct disk *image[MEDIA_IMAGES];
	unsigned image_count, ide_disks, virtio_disks;
	bool virtio_first; /* the first disk given is one */
};

/* Opens and locks what the user named and puts it into its places. Nothing stays open on failure. */
bool media_open(struct media *media, const struct machine_config *config, struct error *error);
void media_close(struct media *media);

/* The drives as CMOS RAM and fw_cfg tell firmware of them. */
void media_describe(const struct media *media, struct cmos_config *cmos, struct firmware_config *firmware);

#endif
