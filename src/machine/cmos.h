/* SPDX-License-Identifier: MIT */
/*
 * What setup would have left in the CMOS RAM of an AT: drives, memory and boot order, as firmware and old systems read
 * it. The RAM has a battery: fill it once, when the machine is made, and leave it alone at resets.
 */
#ifndef NFOLD_MACHINE_CMOS_H
#define NFOLD_MACHINE_CMOS_H

#include <stdint.h>

#include "backend/floppy.h"
#include "devices/rtc.h"
#include "machine/machine.h"

#define CMOS_DISKS 4u

/* Types of floppy drive, as byte 10h encodes them. */
enum cmos_floppy {
	CMOS_NO_FLOPPY,
	CMOS_FLOPPY_360K,
	CMOS_FLOPPY_1200K,
	CMOS_FLOPPY_720K,
	CMOS_FLOPPY_1440K,
	CMOS_FLOPPY_2880K,
};

struct cmos_config {
	uint64_t memory_size; /* bytes of RAM in all */
	unsigned cpus;
	enum cmos_floppy floppy[MACHINE_MAX_FLOPPIES];
	uint64_t disk_sectors[CMOS_DISKS]; /* primary master and slave, secondary master and slave; 0: no disk there */
	enum machine_boot boot[BOOT_KINDS];
	unsigned boot_count; /* 0: floppy, CD-ROM, disk */
};

void cmos_fill(struct rtc *rtc, const struct cmos_config *config);

/* The drive that such a disk needs. */
enum cmos_floppy cmos_floppy_for(const struct floppy_geometry *geometry);

#endif
