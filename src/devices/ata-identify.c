/* SPDX-License-Identifier: MIT */
/* IDENTIFY DEVICE (ATA/ATAPI-6, 8.15). */
#include <string.h>

#include "base/bits.h"
#include "devices/ata-impl.h"

static const char model[] = "nfold disk";
static const char firmware[] = "1.0";

/* CHS reaches 16,383 cylinders of 16 heads and 63 sectors (ATA-5, annex B). */
struct ata_geometry ata_default_geometry(uint64_t sectors)
{
	struct ata_geometry geometry = {.heads = 16, .sectors = 63};
	uint64_t cylinders = sectors / (16 * 63);
	geometry.cylinders = cylinders > 16383 ? 16383 : cylinders == 0 ? 1 : (uint32_t)cylinders;
	return geometry;
}

static void put_word(uint8_t *page, unsigned word, uint64_t value)
{
	store_le(page + 2 * word, value, 2);
}

/* Strings are padded with spaces; the first character of each pair is in the upper byte. */
static void put_string(uint8_t *page, unsigned word, unsigned size, const char *text)
{
	size_t length = strlen(text);
	for (unsigned i = 0; i < size; i++)
		page[2 * word + (i ^ 1)] = i < length ? (uint8_t)text[i] : ' ';
}

static void put_geometry(const struct ata *ata, uint8_t *page)
{
	struct ata_geometry native = ata_default_geometry(ata->disk->sectors);
	const struct ata_geometry *current = &ata->geometry;
	put_word(page, 1, native.cylinders);
	put_word(page, 3, native.heads);
	put_word(page, 6, native.sectors);
	put_word(page, 54, current->cylinders);
	put_word(page, 55, current->heads);
	put_word(page, 56, current->sectors);
	store_le(page + 2 * 57, (uint64_t)current->cylinders * current->heads * current->sectors, 4);
}

static void put_capacity(const struct ata *ata, uint8_t *page)
{
	uint64_t sectors = ata->disk->sectors;
	store_le(page + 2 * 60, sectors < ATA_LBA28_SECTORS ? sectors : ATA_LBA28_SECTORS - 1, 4);
	store_le(page + 2 * 100, sectors, 8);
}

/*
 * The result of the hardware reset (8.15.49): an 80-wire cable, jumpers, no failure. Drive 0 says whether it noticed
 * drive 1 (bits 5:4) or answers in its place (bit 6).
 */
static uint16_t reset_result(const struct ide_drive *drive)
{
	if (drive->number != 0)
		return 0x6b00;
	return ide_has_other_drive(drive) ? 0x603b : 0x604b;
}

/* The sum of all bytes is zero. */
static void put_checksum(uint8_t *page)
{
	uint8_t sum = 0;
	page[510] = 0xa5;
	for (unsigned i = 0; i < 511; i++)
		sum = (uint8_t)(sum + page[i]);
	page[511] = (uint8_t)-sum;
}

void ata_identify(const struct ata *ata, uint8_t *page)
{
	static const struct {
		uint8_t word;
		uint16_t value;
	} constants[] = {
	    {0, 0x0040}, /* a fixed disk */
	    {47, 0x8000 | ATA_MULTIPLE_MAX},
	    {49, 0x0f00}, /* IORDY, LBA, DMA */
	    {50, 0x4000},
	    {51, 0x0200}, /* PIO mode 2 */
	    {53, 0x0007}, /* words 54-58, 64-70 and 88 are valid */
	    {64, 0x0003}, /* PIO modes 3 and 4 */
	    {65, 120},
	    {66, 120},
	    {67, 120},
	    {68, 120},	  /* ns in a cycle */
	    {80, 0x007e}, /* ATA-1 to ATA/ATAPI-6 */
	    {82, 0x0068}, /* look-ahead, write cache, power management */
	    {83, 0x7400}, /* FLUSH CACHE (EXT), LBA48 */
	    {84, 0x4000},
	    {86, 0x3400},
	    {87, 0x4000},
	};
	memset(page, 0, DISK_SECTOR_SIZE);
	for (unsigned i = 0; i < sizeof constants / sizeof constants[0]; i++)
		put_word(page, constants[i].word, constants[i].value);
	put_string(page, 10, ATA_SERIAL_SIZE, ata->serial);
	put_string(page, 23, 8, firmware);
	put_string(page, 27, 40, model);
	put_geometry(ata, page);
	put_capacity(ata, page);
	put_word(page, 59, ata->multiple != 0 ? 0x0100u | ata->multiple : 0);
	put_word(page, 63, (uint64_t)ata->mode.multiword << 8 | 0x07);
	put_word(page, 85, (ata->write_cache ? 0x20u : 0) | (ata->look_ahead ? 0x40u : 0) | 0x08);
	put_word(page, 88, (uint64_t)ata->mode.ultra << 8 | (BIT32(ATA_UDMA_MODES) - 1));
	put_word(page, 93, reset_result(&ata->drive));
	put_checksum(page);
}
