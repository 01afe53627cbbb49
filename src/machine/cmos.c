/* SPDX-License-Identifier: MIT */
/*
 * The bytes up to 2Fh and their checksum are IBM's (PS/2 and PC BIOS Interface Technical Reference, 1991, "Real-Time
 * Clock/CMOS RAM"). Those from 34h on are what PC firmware for emulators reads: memory beyond 16 MiB and 4 GiB, the
 * boot order, the geometry translation of disks and the number of processors.
 */
#include "machine/cmos.h"

#include "machine/boot.h"
#include "machine/layout.h"

enum cmos_byte {
	CMOS_FLOPPIES = 0x10,
	CMOS_DISKS_AT = 0x12,
	CMOS_EQUIPMENT = 0x14,
	CMOS_BASE_KIB = 0x15,
	CMOS_EXTENDED_KIB = 0x17,
	CMOS_DISK_TYPE = 0x19,	     /* the second disk's follows */
	CMOS_DISK_PARAMETERS = 0x1b, /* nine bytes for each of two disks */
	CMOS_CHECKSUM = 0x2e,	     /* big-endian, of 10h to 2Dh */
	CMOS_EXTENDED_KIB_FOUND = 0x30,
	CMOS_ABOVE_16M = 0x34, /* in 64 KiB */
	CMOS_BOOT_3 = 0x38,    /* high nibble: the third choice; bit 0: floppies need no boot signature */
	CMOS_TRANSLATION = 0x39,
	CMOS_BOOT_1_2 = 0x3d,
	CMOS_ABOVE_4G = 0x5b, /* three bytes, in 64 KiB */
	CMOS_CPUS = 0x5f,     /* beside the first */
};

#define CMOS_BYTES 0x80u
#define DISK_PARAMETERS 9u

#define DISK_EXTENDED 0x0fu /* its type is in another byte */
#define DISK_TYPE_USER 47u  /* its geometry is in bytes of its own */
#define DISK_MANY_HEADS 0x08u
#define DISK_NO_RETRIES 0xc0u
#define PRECOMPENSATION_NONE 0xffffu

#define EQUIPMENT_FLOPPY 0x01u
#define EQUIPMENT_FPU 0x02u
#define EQUIPMENT_MOUSE 0x04u
#define EQUIPMENT_FLOPPIES 6u /* shift: drives less one. The video bits are zero: EGA or later */

#define BASE_KIB 640u
#define TRANSLATION_LBA 1u

/* The bytes, before they go into the chip. */
struct cmos {
	uint8_t bytes[CMOS_BYTES];
};

static void put_word(struct cmos *cmos, unsigned at, uint64_t value)
{
	cmos->bytes[at] = (uint8_t)value;
	cmos->bytes[at + 1] = (uint8_t)(value >> 8);
}

static uint64_t at_most_word(uint64_t value)
{
	return value < 0xffff ? value : 0xffff;
}

static void put_memory(struct cmos *cmos, uint64_t memory_size)
{
	uint64_t low_end = boot_low_end(memory_size);
	uint64_t extended = at_most_word((low_end - LAYOUT_ACPI_END) >> 10);
	uint64_t sixteen = UINT64_C(16) << 20;
	uint64_t above_4g = (memory_size - low_end) >> 16;
	put_word(cmos, CMOS_BASE_KIB, BASE_KIB);
	put_word(cmos, CMOS_EXTENDED_KIB, extended);
	put_word(cmos, CMOS_EXTENDED_KIB_FOUND, extended);
	put_word(cmos, CMOS_ABOVE_16M, low_end > sixteen ? at_most_word((low_end - sixteen) >> 16) : 0);
	put_word(cmos, CMOS_ABOVE_4G, above_4g);
	cmos->bytes[CMOS_ABOVE_4G + 2] = (uint8_t)(above_4g >> 16);
}

static void put_floppies(struct cmos *cmos, const enum cmos_floppy floppy[MACHINE_MAX_FLOPPIES])
{
	unsigned drives = (floppy[0] != CMOS_NO_FLOPPY) + (floppy[1] != CMOS_NO_FLOPPY);
	unsigned equipment = EQUIPMENT_FPU | EQUIPMENT_MOUSE;
	if (drives > 0)
		equipment |= EQUIPMENT_FLOPPY | (drives - 1) << EQUIPMENT_FLOPPIES;
	cmos->bytes[CMOS_FLOPPIES] = (uint8_t)(floppy[0] << 4 | floppy[1]);
	cmos->bytes[CMOS_EQUIPMENT] = (uint8_t)equipment;
}

/* Geometry as the drive itself gives it: 16 heads, 63 sectors (ATA-3, annex B). */
static unsigned disk_cylinders(uint64_t sectors)
{
	enum { HEADS = 16, SECTORS = 63, MAX = 16383 };
	uint64_t cylinders = sectors / (HEADS * SECTORS);
	return cylinders > MAX ? MAX : (unsigned)cylinders;
}

static void put_geometry(struct cmos *cmos, unsigned number, uint64_t sectors)
{
	unsigned at = CMOS_DISK_PARAMETERS + number * DISK_PARAMETERS;
	put_word(cmos, at, disk_cylinders(sectors));
	cmos->bytes[at + 2] = 16;
	put_word(cmos, at + 3, PRECOMPENSATION_NONE);
	cmos->bytes[at + 5] = DISK_NO_RETRIES | DISK_MANY_HEADS;
	put_word(cmos, at + 6, disk_cylinders(sectors));
	cmos->bytes[at + 8] = 63;
	cmos->bytes[CMOS_DISK_TYPE + number] = DISK_TYPE_USER;
	cmos->bytes[CMOS_DISKS_AT] |= (uint8_t)(DISK_EXTENDED << (number == 0 ? 4 : 0));
}

/* The AT has room for two disks; how cylinders are translated is said of all four. */
static void put_disks(struct cmos *cmos, const uint64_t sectors[CMOS_DISKS])
{
	for (unsigned i = 0; i < CMOS_DISKS; i++) {
		if (i < 2 && sectors[i] != 0)
			put_geometry(cmos, i, sectors[i]);
		if (disk_cylinders(sectors[i]) > 1024)
			cmos->bytes[CMOS_TRANSLATION] |= (uint8_t)(TRANSLATION_LBA << (2 * i));
	}
}

static void put_boot_order(struct cmos *cmos, const enum machine_boot *boot, unsigned count)
{
	static const uint8_t nibble[BOOT_KINDS] = {[BOOT_FROM_FLOPPY] = 1, [BOOT_FROM_DISK] = 2, [BOOT_FROM_CDROM] = 3};
	static const enum machine_boot usual[BOOT_KINDS] = {BOOT_FROM_FLOPPY, BOOT_FROM_CDROM, BOOT_FROM_DISK};
	if (count == 0) {
		boot = usual;
		count = BOOT_KINDS;
	}
	cmos->bytes[CMOS_BOOT_1_2] = nibble[boot[0]];
	if (count > 1)
		cmos->bytes[CMOS_BOOT_1_2] |= (uint8_t)(nibble[boot[1]] << 4);
	if (count > 2)
		cmos->bytes[CMOS_BOOT_3] = (uint8_t)(nibble[boot[2]] << 4);
}

static void put_checksum(struct cmos *cmos)
{
	unsigned sum = 0;
	for (unsigned i = CMOS_FLOPPIES; i < CMOS_CHECKSUM; i++)
		sum += cmos->bytes[i];
	cmos->bytes[CMOS_CHECKSUM] = (uint8_t)(sum >> 8);
	cmos->bytes[CMOS_CHECKSUM + 1] = (uint8_t)sum;
}

void cmos_fill(struct rtc *rtc, const struct cmos_config *config)
{
	struct cmos cmos = {0};
	put_memory(&cmos, config->memory_size);
	put_floppies(&cmos, config->floppy);
	put_disks(&cmos, config->disk_sectors);
	put_boot_order(&cmos, config->boot, config->boot_count);
	cmos.bytes[CMOS_CPUS] = (uint8_t)(config->cpus - 1);
	put_checksum(&cmos);
	for (unsigned i = CMOS_FLOPPIES; i < CMOS_BYTES; i++)
		rtc_set_ram(rtc, (uint8_t)i, cmos.bytes[i]);
}

/* Drives by what they spin and how densely they record. */
enum cmos_floppy cmos_floppy_for(const struct floppy_geometry *geometry)
{
	if (geometry->rate == FLOPPY_1M)
		return CMOS_FLOPPY_2880K;
	if (geometry->rate == FLOPPY_500K)
		return geometry->sectors > 15 ? CMOS_FLOPPY_1440K : CMOS_FLOPPY_1200K;
	return geometry->cylinders > 42 ? CMOS_FLOPPY_720K : CMOS_FLOPPY_360K;
}
