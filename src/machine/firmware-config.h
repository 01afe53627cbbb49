/* SPDX-License-Identifier: MIT */
/*
 * What the machine tells its firmware through fw_cfg, so that SeaBIOS need not guess: memory map, processors, boot
 * order, and the ACPI and SMBIOS tables that it places in guest memory.
 */
#ifndef NFOLD_MACHINE_FIRMWARE_CONFIG_H
#define NFOLD_MACHINE_FIRMWARE_CONFIG_H

#include <stdint.h>

#include "base/error.h"
#include "devices/fwcfg.h"
#include "machine/machine.h"

#define FIRMWARE_DRIVES 4u

enum firmware_drive { FIRMWARE_NO_DRIVE, FIRMWARE_DISK, FIRMWARE_CDROM };

struct firmware_config {
	const char *name;     /* the guest's, for SMBIOS; NULL: none */
	uint64_t memory_size; /* bytes of RAM in all */
	unsigned cpus;
	enum firmware_drive drive[FIRMWARE_DRIVES]; /* primary master and slave, secondary master and slave */
	unsigned virtio_disks, virtio_device;	    /* how many, and the first one's PCI device number */
	bool virtio_first;			    /* before the IDE disks */
	unsigned floppies;
	bool hpet;
	enum machine_boot boot[BOOT_KINDS];
	unsigned boot_count; /* 0: floppy, CD-ROM, disk */
};

/* Adds everything to a new fw_cfg. */
bool firmware_config_add(struct fwcfg *fwcfg, const struct firmware_config *config, struct error *error);

#endif
