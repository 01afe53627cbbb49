/* SPDX-License-Identifier: MIT */
/* ATA disk: addresses of all kinds, PIO in blocks, errors with their address, settings, resets while the image works.
 */
#include "devices/ata.h"
#include "ide-rig.h"

#define SECTORS 5000u

struct fixture {
	struct rig rig;
	struct probe irq;
	struct ide_channel *channel;
	struct memory_disk disk;
	struct ata *ata;
	uint8_t bytes[SECTORS * DISK_SECTOR_SIZE];
};

static int setup_sized(void **state, uint64_t sectors, bool kept)
{
	struct fixture *f = test_calloc(1, sizeof *f);
	rig_init(&f->rig);
	const struct ide_channel_config channel = {.irq = probe_line(&f->irq, 0)};
	f->channel = ide_channel_create(&channel, NULL);
	channel_map(&f->rig, f->channel);
	memory_disk_init(&f->disk, sectors, kept ? f->bytes : NULL);
	for (unsigned i = 0; i < SECTORS; i++)
		memcpy(&f->bytes[i * DISK_SECTOR_SIZE], &i, sizeof i);
	const struct ata_config config = {.channel = f->channel, .disk = &f->disk.base, .serial = "NF1"};
	f->ata = ata_create(&config, NULL);
	assert_non_null(f->ata);
	*state = f;
	return 0;
}

static int setup(void **state)
{
	return setup_sized(state, SECTORS, true);
}

static int setup_large(void **state)
{
	return setup_sized(state, UINT64_C(0x1000000000), false);
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	ata_destroy(f->ata);
	ide_channel_destroy(f->channel);
	assert_null(f->disk.waiting);
	test_free(f);
	return 0;
}

static void expect_sector(struct fixture *f, uint64_t number)
{
	uint64_t sector[DISK_SECTOR_SIZE / 8];
	data_read(&f->rig, sector, sizeof sector);
	assert_int_equal(sector[0], number);
}

static void expect_error(struct fixture *f, unsigned error)
{
	assert_int_equal(in8(&f->rig, COMMAND), 0x51);
	assert_int_equal(in8(&f->rig, FEATURES), error);
}

static void identify(struct fixture *f, uint16_t *page)
{
	out8(&f->rig, COMMAND, 0xec);
	assert_int_equal(in8(&f->rig, COMMAND), 0x58);
	data_read(&f->rig, page, 512);
	assert_int_equal(in8(&f->rig, COMMAND), 0x50);
}

static void identifies_itself(void **state)
{
	struct fixture *f = *state;
	uint16_t page[256];
	uint8_t sum = 0;
	identify(f, page);
	assert_int_equal(page[1], SECTORS / 1008);
	assert_int_equal(page[60] | page[61] << 16, SECTORS);
	assert_int_equal(page[100] | page[101] << 16, SECTORS);
	assert_int_equal(page[10], 'N' << 8 | 'F');
	assert_int_equal(page[11], '1' << 8 | ' ');
	assert_int_equal(page[27], 'n' << 8 | 'f');
	assert_int_equal(page[93], 0x604b); /* alone: drive 0 answers for drive 1 (8.15.49) */
	for (unsigned i = 0; i < 512; i++)
		sum = (uint8_t)(sum + ((uint8_t *)page)[i]);
	assert_int_equal(sum, 0);
	assert_int_equal(f->irq.rises, 1);
}

static void reads_sector_by_sector(void **state)
{
	struct fixture *f = *state;
	command28(&f->rig, 0x20, 4000, 3);
	for (unsigned i = 0; i < 3; i++) {
		assert_true(f->irq.level);
		assert_int_equal(in8(&f->rig, COMMAND), 0x58);
		assert_false(f->irq.level);
		expect_sector(f, 4000 + i);
	}
	assert_int_equal(f->irq.rises, 3);
	assert_int_equal(in8(&f->rig, COMMAND), 0x50);
	assert_int_equal(in8(&f->rig, COUNT), 0);
	assert_int_equal(in8(&f->rig, LBA_LOW) | in8(&f->rig, LBA_MID) << 8, 4002);
	assert_int_equal(io_read(&f->rig.ports, DATA, 2), 0xffff);
}

static void count_of_zero_is_256(void **state)
{
	struct fixture *f = *state;
	command28(&f->rig, 0x20, 0, 0);
	for (unsigned i = 0; i < 256; i++)
		expect_sector(f, i);
	assert_int_equal(in8(&f->rig, COMMAND), 0x50);
	assert_int_equal(f->irq.rises, 1); /* never read the status: the line stayed high */
}

static void writes_sectors(void **state)
{
	struct fixture *f = *state;
	uint8_t sector[DISK_SECTOR_SIZE];
	memset(sector, 0xa7, sizeof sector);
	command28(&f->rig, 0x30, 10, 2);
	assert_false(f->irq.level); /* the first block is asked for silently */
	assert_int_equal(in8(&f->rig, COMMAND), 0x58);
	data_write(&f->rig, sector, sizeof sector);
	assert_true(f->irq.level);
	assert_int_equal(in8(&f->rig, COMMAND), 0x58);
	assert_memory_equal(&f->bytes[10 * 512], sector, 512);
	for (unsigned i = 0; i < 512; i += 4) /* 32-bit accesses move two words */
		io_write(&f->rig.ports, DATA, 4, 0x01020304);
	assert_true(f->irq.level);
	assert_int_equal(in8(&f->rig, COMMAND), 0x50);
	assert_int_equal(f->bytes[11 * 512], 4);
	assert_int_equal(f->bytes[11 * 512 + 511], 1);
	assert_int_equal(f->bytes[12 * 512], 12);
	assert_int_equal(f->disk.durable, 0);
}

static void multiple_moves_blocks(void **state)
{
	struct fixture *f = *state;
	command28(&f->rig, 0xc4, 0, 1);
	expect_error(f, IDE_ERROR_ABRT); /* not set yet */
	command28(&f->rig, 0xc6, 0, 3);
	expect_error(f, IDE_ERROR_ABRT); /* no power of two */
	command28(&f->rig, 0xc6, 0, 32);
	expect_error(f, IDE_ERROR_ABRT);
	command28(&f->rig, 0xc6, 0, 4);
	assert_int_equal(in8(&f->rig, COMMAND), 0x50);
	unsigned before = f->irq.rises;
	command28(&f->rig, 0xc4, 7, 6);
	assert_int_equal(in8(&f->rig, COMMAND), 0x58);
	for (unsigned i = 0; i < 6; i++)
		expect_sector(f, 7 + i);
	assert_int_equal(f->irq.rises, before + 2);
}

static void chs_is_translated(void **state)
{
	struct fixture *f = *state;
	out8(&f->rig, COUNT, 17);
	out8(&f->rig, DEVICE, 0xa3); /* 4 heads */
	out8(&f->rig, COMMAND, 0x91);
	out8(&f->rig, COUNT, 2);
	out8(&f->rig, LBA_LOW, 17);
	out8(&f->rig, LBA_MID, 1);
	out8(&f->rig, LBA_HIGH, 0);
	out8(&f->rig, DEVICE, 0xa3);
	out8(&f->rig, COMMAND, 0x20);
	expect_sector(f, (1 * 4 + 3) * 17 + 16);
	expect_sector(f, 2 * 4 * 17);
	assert_int_equal(in8(&f->rig, LBA_LOW), 1);
	assert_int_equal(in8(&f->rig, LBA_MID), 2);
	assert_int_equal(in8(&f->rig, DEVICE), 0xa0);
	out8(&f->rig, COUNT, 1);
	out8(&f->rig, LBA_LOW, 0); /* sectors count from 1 */
	out8(&f->rig, COMMAND, 0x20);
	expect_error(f, IDE_ERROR_IDNF);
	out8(&f->rig, LBA_LOW, 18);
	out8(&f->rig, COMMAND, 0x20);
	expect_error(f, IDE_ERROR_IDNF);
}

static void lba48_reaches_far(void **state)
{
	struct fixture *f = *state;
	uint64_t lba = UINT64_C(0xfedcba987);
	command48(&f->rig, 0x24, lba, 300);
	for (unsigned i = 0; i < 300; i++)
		expect_sector(f, lba + i);
	assert_int_equal(in8(&f->rig, COMMAND), 0x50);
	uint64_t last = lba + 299;
	assert_int_equal(in8(&f->rig, LBA_LOW), last & 0xff);
	out8(&f->rig, CONTROL, 0x80);
	assert_int_equal(in8(&f->rig, LBA_LOW), last >> 24 & 0xff);
	assert_int_equal(in8(&f->rig, LBA_MID), last >> 32 & 0xff);
	out8(&f->rig, DEVICE, 0x40);
	assert_int_equal(in8(&f->rig, LBA_LOW), last & 0xff); /* a write ended HOB */
	command48(&f->rig, 0x27, 0, 0);
	assert_int_equal(in8(&f->rig, LBA_LOW), 0xff);
	out8(&f->rig, CONTROL, 0x80);
	assert_int_equal(in8(&f->rig, LBA_MID), 0x0f);
	command28(&f->rig, 0xf8, 0, 0);
	assert_int_equal(in8(&f->rig, DEVICE) & 15, 15);
	command48(&f->rig, 0x24, UINT64_C(0xfffffffff), 2);
	expect_error(f, IDE_ERROR_IDNF);
	command48(&f->rig, 0x24, UINT64_C(0xffffffffffff), 0);
	expect_error(f, IDE_ERROR_IDNF);
}

static void range_is_checked(void **state)
{
	struct fixture *f = *state;
	command28(&f->rig, 0x20, SECTORS - 1, 2);
	expect_error(f, IDE_ERROR_IDNF);
	command28(&f->rig, 0x30, SECTORS, 1);
	expect_error(f, IDE_ERROR_IDNF);
	assert_int_equal(f->disk.requests, 0);
	command28(&f->rig, 0x20, SECTORS - 1, 1);
	expect_sector(f, SECTORS - 1);
}

static void bad_sector_is_named(void **state)
{
	struct fixture *f = *state;
	f->disk.bad = 302;
	command28(&f->rig, 0x20, 300, 5);
	expect_sector(f, 300);
	expect_sector(f, 301);
	expect_error(f, IDE_ERROR_UNC);
	assert_int_equal(in8(&f->rig, LBA_LOW) | in8(&f->rig, LBA_MID) << 8, 302);
	command28(&f->rig, 0x40, 290, 100); /* verify */
	expect_error(f, IDE_ERROR_UNC);
	assert_int_equal(in8(&f->rig, LBA_LOW) | in8(&f->rig, LBA_MID) << 8, 302);
	command28(&f->rig, 0x40, 0, 100);
	assert_int_equal(in8(&f->rig, COMMAND), 0x50);
	uint8_t sector[512] = {1};
	command28(&f->rig, 0x30, 302, 2);
	data_write(&f->rig, sector, 512);
	expect_error(f, IDE_ERROR_ABRT);
	assert_int_equal(in8(&f->rig, LBA_LOW) | in8(&f->rig, LBA_MID) << 8, 302);
}

static void write_cache_off_makes_writes_durable(void **state)
{
	struct fixture *f = *state;
	uint8_t sector[512] = {1};
	uint16_t page[256];
	command28(&f->rig, 0xe7, 0, 0);
	assert_int_equal(f->disk.flushes, 1);
	out8(&f->rig, FEATURES, 0x82);
	out8(&f->rig, COMMAND, 0xef);
	assert_int_equal(f->disk.flushes, 2);
	identify(f, page);
	assert_int_equal(page[85] & 0x20, 0);
	command28(&f->rig, 0x30, 5, 1);
	data_write(&f->rig, sector, 512);
	assert_int_equal(f->disk.durable, 1);
	f->disk.bad_flush = true;
	command28(&f->rig, 0xea, 0, 0);
	expect_error(f, IDE_ERROR_ABRT);
}

static void transfer_modes_are_chosen(void **state)
{
	struct fixture *f = *state;
	uint16_t page[256];
	out8(&f->rig, FEATURES, 3);
	out8(&f->rig, COUNT, 0x42);
	out8(&f->rig, COMMAND, 0xef);
	identify(f, page);
	assert_int_equal(page[88], 0x043f);
	out8(&f->rig, FEATURES, 3);
	out8(&f->rig, COUNT, 0x47);
	out8(&f->rig, COMMAND, 0xef);
	expect_error(f, IDE_ERROR_ABRT);
	out8(&f->rig, COMMAND, 0xb0); /* SMART */
	expect_error(f, IDE_ERROR_ABRT);
	out8(&f->rig, COMMAND, 0xe0);
	out8(&f->rig, COMMAND, 0xe5);
	assert_int_equal(in8(&f->rig, COUNT), 0);
	out8(&f->rig, COMMAND, 0xe1);
	out8(&f->rig, COMMAND, 0xe5);
	assert_int_equal(in8(&f->rig, COUNT), 0xff);
}

static void read_only_refuses_writes(void **state)
{
	struct fixture *f = *state;
	f->disk.base.read_only = true;
	command28(&f->rig, 0x30, 5, 1);
	expect_error(f, IDE_ERROR_ABRT);
}

static void reset_does_not_wait_for_the_image(void **state)
{
	struct fixture *f = *state;
	f->disk.slow = true;
	command28(&f->rig, 0x20, 100, 1);
	assert_int_equal(in8(&f->rig, CONTROL), 0x80);
	out8(&f->rig, COMMAND, 0xec); /* busy: ignored */
	out8(&f->rig, COUNT, 77);
	out8(&f->rig, CONTROL, 4);
	out8(&f->rig, CONTROL, 0);
	assert_int_equal(in8(&f->rig, CONTROL), 0x80); /* its buffer is still in use */
	memory_disk_answer(&f->disk);
	assert_int_equal(in8(&f->rig, CONTROL), 0x50);
	assert_int_equal(in8(&f->rig, COUNT), 1);
	assert_int_equal(in8(&f->rig, LBA_LOW), 1);
	assert_int_equal(in8(&f->rig, FEATURES), 1);
	assert_int_equal(f->irq.rises, 0);
	command28(&f->rig, 0x20, 100, 1);
	memory_disk_answer(&f->disk);
	assert_true(f->irq.level);
	expect_sector(f, 100);
	command28(&f->rig, 0x20, 100, 1); /* and teardown drains this one */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(identifies_itself, setup, teardown),
	    cmocka_unit_test_setup_teardown(reads_sector_by_sector, setup, teardown),
	    cmocka_unit_test_setup_teardown(count_of_zero_is_256, setup, teardown),
	    cmocka_unit_test_setup_teardown(writes_sectors, setup, teardown),
	    cmocka_unit_test_setup_teardown(multiple_moves_blocks, setup, teardown),
	    cmocka_unit_test_setup_teardown(chs_is_translated, setup, teardown),
	    cmocka_unit_test_setup_teardown(lba48_reaches_far, setup_large, teardown),
	    cmocka_unit_test_setup_teardown(range_is_checked, setup, teardown),
	    cmocka_unit_test_setup_teardown(bad_sector_is_named, setup, teardown),
	    cmocka_unit_test_setup_teardown(write_cache_off_makes_writes_durable, setup, teardown),
	    cmocka_unit_test_setup_teardown(transfer_modes_are_chosen, setup, teardown),
	    cmocka_unit_test_setup_teardown(read_only_refuses_writes, setup, teardown),
	    cmocka_unit_test_setup_teardown(reset_does_not_wait_for_the_image, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
