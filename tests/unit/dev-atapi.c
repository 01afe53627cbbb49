/* SPDX-License-Identifier: MIT */
/* CD-ROM drive: signature, packets by PIO in pieces, sense and unit attention, tray and lock, unreadable discs. */
#include "devices/atapi.h"
#include "ide-rig.h"

#define BLOCKS 100u
#define SECTORS (BLOCKS * 4 - 1) /* the last block is not whole */

struct fixture {
	struct rig rig;
	struct probe irq;
	struct ide_channel *channel;
	struct memory_disk disk;
	struct atapi *atapi;
	uint8_t reply[40 * 2048];
};

static int setup_with(void **state, bool disc)
{
	struct fixture *f = test_calloc(1, sizeof *f);
	rig_init(&f->rig);
	const struct ide_channel_config channel = {.irq = probe_line(&f->irq, 0)};
	f->channel = ide_channel_create(&channel, NULL);
	channel_map(&f->rig, f->channel);
	memory_disk_init(&f->disk, SECTORS, NULL);
	f->disk.base.read_only = true;
	const struct atapi_config config = {
	    .channel = f->channel, .disk = disc ? &f->disk.base : NULL, .serial = "CD1"};
	f->atapi = atapi_create(&config, NULL);
	assert_non_null(f->atapi);
	*state = f;
	return 0;
}

static int setup(void **state)
{
	return setup_with(state, true);
}

static int setup_empty(void **state)
{
	return setup_with(state, false);
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	atapi_destroy(f->atapi);
	ide_channel_destroy(f->channel);
	assert_null(f->disk.waiting);
	test_free(f);
	return 0;
}

static void packet_begin(struct fixture *f, const uint8_t *packet, unsigned limit, unsigned features)
{
	out8(&f->rig, FEATURES, features);
	out8(&f->rig, LBA_MID, limit & 0xff);
	out8(&f->rig, LBA_HIGH, limit >> 8);
	out8(&f->rig, COMMAND, 0xa0);
	assert_int_equal(in8(&f->rig, COMMAND), 0x48);
	assert_int_equal(in8(&f->rig, COUNT), 1);
	data_write(&f->rig, packet, 12);
}

/* Returns the bytes that came; the status stays to be read. */
static unsigned packet_run(struct fixture *f, const uint8_t *packet, unsigned limit)
{
	unsigned got = 0;
	packet_begin(f, packet, limit, 0);
	while (in8(&f->rig, CONTROL) & 0x08) {
		assert_true(f->irq.level);
		assert_int_equal(in8(&f->rig, COMMAND), 0x48);
		assert_int_equal(in8(&f->rig, COUNT), 2);
		unsigned size = in8(&f->rig, LBA_MID) | in8(&f->rig, LBA_HIGH) << 8;
		assert_in_range(size, 1, limit);
		assert_true(got + size + size % 2 <= sizeof f->reply);
		data_read(&f->rig, f->reply + got, size + size % 2);
		got += size;
	}
	assert_true(f->irq.level);
	assert_int_equal(in8(&f->rig, COUNT), 3);
	return got;
}

static void expect_ok(struct fixture *f, const uint8_t *packet, unsigned size)
{
	assert_int_equal(packet_run(f, packet, 0xffff), size);
	assert_int_equal(in8(&f->rig, COMMAND), 0x40);
}

static void expect_sense(struct fixture *f, const uint8_t *packet, unsigned key, unsigned code, unsigned qualifier)
{
	static const uint8_t request[12] = {0x03, [4] = 18};
	(void)packet_run(f, packet, 0xfffe);
	assert_int_equal(in8(&f->rig, COMMAND), 0x41);
	assert_int_equal(in8(&f->rig, FEATURES) >> 4, key);
	expect_ok(f, request, 18);
	assert_int_equal(f->reply[2], key);
	assert_int_equal(f->reply[12], code);
	assert_int_equal(f->reply[13], qualifier);
	expect_ok(f, request, 18); /* it is told once */
	assert_int_equal(f->reply[2], 0);
}

static const uint8_t test_ready[12] = {0x00};

static void signature_tells_it_from_a_disk(void **state)
{
	struct fixture *f = *state;
	assert_int_equal(in8(&f->rig, COMMAND), 0);
	assert_int_equal(in8(&f->rig, LBA_MID), 0x14);
	assert_int_equal(in8(&f->rig, LBA_HIGH), 0xeb);
	out8(&f->rig, LBA_MID, 0);
	out8(&f->rig, COMMAND, 0xec);
	assert_int_equal(in8(&f->rig, COMMAND), 0x41);
	assert_int_equal(in8(&f->rig, FEATURES), IDE_ERROR_ABRT);
	assert_int_equal(in8(&f->rig, LBA_MID), 0x14);
	out8(&f->rig, COMMAND, 0xa1);
	uint16_t page[256];
	data_read(&f->rig, page, 512);
	assert_int_equal(page[0], 0x85c0);
	assert_int_equal(page[10], 'C' << 8 | 'D');
	assert_int_equal(in8(&f->rig, COMMAND), 0x40);
}

/* Else a host that looks for drive 1 would find this one's signature there (9.16.1). */
static void does_not_speak_for_drive_1(void **state)
{
	struct fixture *f = *state;
	out8(&f->rig, DEVICE, 0x10);
	out8(&f->rig, COUNT, 0x55);
	for (uint16_t port = FEATURES; port <= COMMAND; port++)
		assert_int_equal(in8(&f->rig, port), 0);
	assert_int_equal(in8(&f->rig, CONTROL), 0);
	out8(&f->rig, COMMAND, 0xa0);
	assert_int_equal(in8(&f->rig, COMMAND), 0);
	out8(&f->rig, DEVICE, 0);
	assert_int_equal(in8(&f->rig, LBA_MID), 0x14);
	assert_int_equal(in8(&f->rig, LBA_HIGH), 0xeb);
}

static void device_reset_works_at_any_time(void **state)
{
	struct fixture *f = *state;
	static const uint8_t read[12] = {0x28, [8] = 1};
	expect_sense(f, test_ready, 6, 0x29, 0);
	f->disk.slow = true;
	packet_begin(f, read, 0xffff, 0);
	assert_int_equal(in8(&f->rig, CONTROL), 0x80);
	out8(&f->rig, COMMAND, 0x08);
	assert_int_equal(in8(&f->rig, CONTROL), 0x80);
	memory_disk_answer(&f->disk);
	assert_int_equal(in8(&f->rig, CONTROL), 0);
	assert_int_equal(in8(&f->rig, LBA_HIGH), 0xeb);
	expect_sense(f, test_ready, 6, 0x29, 0);
}

static void reads_blocks_in_pieces(void **state)
{
	struct fixture *f = *state;
	static const uint8_t read_10[12] = {0x28, [5] = 60, [8] = 40};
	static const uint8_t read_12[12] = {0xa8, [5] = 99, [9] = 1};
	static const uint8_t beyond[12] = {0xa8, [5] = 99, [9] = 2};
	static const uint8_t far[12] = {0xa8, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
	static const uint8_t nothing[12] = {0x28};
	static const uint8_t cd[12] = {0xbe, [5] = 7, [8] = 1, [9] = 0x10};
	static const uint8_t raw[12] = {0xbe, [5] = 7, [8] = 1, [9] = 0xf8};
	expect_sense(f, test_ready, 6, 0x29, 0);
	assert_int_equal(packet_run(f, read_10, 2048), 40 * 2048);
	assert_int_equal(in8(&f->rig, COMMAND), 0x40);
	for (unsigned i = 0; i < 40 * 4 - 1; i++) /* sector numbers; the last does not exist */
		assert_int_equal(f->reply[i * 512] | f->reply[i * 512 + 1] << 8, 240 + i);
	expect_ok(f, read_12, 2048);
	assert_int_equal(f->reply[2 * 512] | f->reply[2 * 512 + 1] << 8, 398);
	assert_int_equal(f->reply[3 * 512], 0);
	assert_int_equal(f->reply[3 * 512 + 1], 0);
	expect_sense(f, beyond, 5, 0x21, 0);
	expect_sense(f, far, 5, 0x21, 0);
	expect_ok(f, nothing, 0);
	expect_ok(f, cd, 2048);
	assert_int_equal(f->reply[0], 28);
	expect_sense(f, raw, 5, 0x24, 0);
	packet_begin(f, read_10, 0, 0); /* no byte count at all */
	assert_int_equal(in8(&f->rig, COMMAND), 0x41);
}

static void odd_limits_are_rounded(void **state)
{
	struct fixture *f = *state;
	static const uint8_t inquiry[12] = {0x12, [4] = 35};
	assert_int_equal(packet_run(f, inquiry, 9), 35);
	assert_memory_equal(f->reply + 8, "NFOLD   CD-ROM", 14);
	assert_int_equal(in8(&f->rig, COMMAND), 0x40);
}

static void unreadable_block_is_a_medium_error(void **state)
{
	struct fixture *f = *state;
	static const uint8_t read[12] = {0x28, [5] = 10, [8] = 4};
	expect_sense(f, test_ready, 6, 0x29, 0);
	f->disk.bad = 12 * 4 + 1;
	assert_int_equal(packet_run(f, read, 0xfffe), 2 * 2048);
	assert_int_equal(in8(&f->rig, COMMAND), 0x41);
	assert_int_equal(in8(&f->rig, FEATURES) >> 4, 3);
}

static void describes_disc_and_drive(void **state)
{
	struct fixture *f = *state;
	static const uint8_t capacity[12] = {0x25};
	static const uint8_t toc[12] = {0x43, 0x02, [8] = 100};
	static const uint8_t lead_out[12] = {0x43, [6] = 0xaa, [8] = 100};
	static const uint8_t sessions[12] = {0x43, 0, 1, [8] = 100};
	static const uint8_t no_track[12] = {0x43, [6] = 2, [8] = 100};
	static const uint8_t mode[12] = {0x5a, 0, 0x2a, [8] = 28};
	static const uint8_t all[12] = {0x5a, 0, 0x7f, [8] = 255};
	static const uint8_t saved[12] = {0x5a, 0, 0xea, [8] = 255};
	static const uint8_t configuration[12] = {0x46, [8] = 255};
	static const uint8_t event[12] = {0x4a, 1, [4] = 0x10, [8] = 8};
	static const uint8_t mechanism[12] = {0xbd, [9] = 8};
	static const uint8_t unknown[12] = {0xff};
	expect_sense(f, test_ready, 6, 0x29, 0);
	expect_ok(f, capacity, 8);
	assert_memory_equal(f->reply, "\0\0\0\x63\0\0\x08\0", 8);
	expect_ok(f, toc, 20);
	assert_memory_equal(f->reply, "\0\x12\1\1\0\x14\1\0\0\0\2\0\0\x14\xaa\0\0\0\3\x19", 20);
	expect_ok(f, lead_out, 12);
	assert_int_equal(f->reply[11], BLOCKS);
	expect_ok(f, sessions, 12);
	expect_sense(f, no_track, 5, 0x24, 0);
	expect_ok(f, mode, 28);
	assert_int_equal(f->reply[8], 0x2a);
	assert_int_equal(f->reply[14], 0x29);
	expect_ok(f, all, 36);
	assert_int_equal(f->reply[18], 0);
	expect_sense(f, saved, 5, 0x39, 0);
	expect_ok(f, configuration, 48);
	assert_int_equal(f->reply[3], 44);
	assert_int_equal(f->reply[7], 8);
	expect_ok(f, event, 8);
	assert_memory_equal(f->reply, "\0\6\4\x10\0\2\0\0", 8);
	expect_ok(f, mechanism, 8);
	expect_sense(f, unknown, 5, 0x20, 0);
}

static const uint8_t eject[12] = {0x1b, [4] = 2}, load[12] = {0x1b, [4] = 3};

static void tray_and_lock(void **state)
{
	struct fixture *f = *state;
	static const uint8_t lock[12] = {0x1e, [4] = 1}, unlock[12] = {0x1e};
	static const uint8_t event[12] = {0x4a, 1, [4] = 0x10, [8] = 8};
	expect_sense(f, test_ready, 6, 0x29, 0);
	expect_ok(f, test_ready, 0);
	expect_ok(f, lock, 0);
	expect_sense(f, eject, 5, 0x53, 2);
	expect_ok(f, unlock, 0);
	expect_ok(f, eject, 0);
	expect_sense(f, test_ready, 2, 0x3a, 2);
	expect_ok(f, event, 8);
	assert_int_equal(f->reply[4], 3);
	assert_int_equal(f->reply[5], 1);
	expect_ok(f, load, 0);
	expect_sense(f, test_ready, 6, 0x28, 0);
	expect_ok(f, test_ready, 0);
}

static void discs_are_changed(void **state)
{
	struct fixture *f = *state;
	static const uint8_t read[12] = {0x28, [8] = 40};
	expect_sense(f, test_ready, 6, 0x29, 0);
	expect_sense(f, test_ready, 2, 0x3a, 1);
	atapi_set_disk(f->atapi, &f->disk.base);
	expect_sense(f, test_ready, 6, 0x28, 0);
	expect_ok(f, test_ready, 0);
	packet_begin(f, read, 0xfffe, 0);
	atapi_set_disk(f->atapi, NULL); /* in the middle: what was read comes, the rest is an error */
	unsigned words = 0;
	while (in8(&f->rig, CONTROL) & 0x08) {
		(void)io_read(&f->rig.ports, DATA, 2);
		words++;
	}
	assert_int_equal(words, 32 * 1024);
	assert_int_equal(in8(&f->rig, COMMAND), 0x41);
	assert_int_equal(in8(&f->rig, FEATURES) >> 4, 3);
	expect_sense(f, test_ready, 2, 0x3a, 1);
}

static void dma_moves_all_at_once(void **state)
{
	struct fixture *f = *state;
	static const uint8_t read[12] = {0x28, [5] = 1, [8] = 2};
	size_t size = 0;
	bool to_memory = false;
	expect_sense(f, test_ready, 6, 0x29, 0);
	packet_begin(f, read, 0, 1);
	const uint8_t *bytes = ide_dma_window(f->channel, &size, &to_memory);
	assert_non_null(bytes);
	assert_int_equal(size, 4096);
	assert_true(to_memory);
	assert_int_equal(bytes[0], 4);
	assert_false(f->irq.level);
	ide_dma_advance(f->channel, size);
	assert_true(f->irq.level);
	assert_int_equal(in8(&f->rig, COMMAND), 0x40);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(signature_tells_it_from_a_disk, setup, teardown),
	    cmocka_unit_test_setup_teardown(does_not_speak_for_drive_1, setup, teardown),
	    cmocka_unit_test_setup_teardown(device_reset_works_at_any_time, setup, teardown),
	    cmocka_unit_test_setup_teardown(reads_blocks_in_pieces, setup, teardown),
	    cmocka_unit_test_setup_teardown(odd_limits_are_rounded, setup, teardown),
	    cmocka_unit_test_setup_teardown(unreadable_block_is_a_medium_error, setup, teardown),
	    cmocka_unit_test_setup_teardown(describes_disc_and_drive, setup, teardown),
	    cmocka_unit_test_setup_teardown(tray_and_lock, setup, teardown),
	    cmocka_unit_test_setup_teardown(discs_are_changed, setup_empty, teardown),
	    cmocka_unit_test_setup_teardown(dma_moves_all_at_once, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
