/* SPDX-License-Identifier: MIT */
/* The virtio block device: what it says of itself, every type of request, bad ones, errors, the write cache, reset. */
#include "devices/virtioblk.h"
#include "ide-rig.h"
#include "virtio-rig.h"

#define SECTORS 8192u /* 4 MiB */
#define SIZE 16u
#define FLUSH (UINT64_C(1) << 9)
#define CONFIG_WCE (UINT64_C(1) << 11)
#define HEADER VIRTIO_RIG_BUFFERS
#define STATUS (VIRTIO_RIG_BUFFERS + 64)
#define DATA_AT (VIRTIO_RIG_BUFFERS + 0x1000)
#define PENDING 0xee

struct fixture {
	struct virtio_rig r;
	struct memory_disk disk;
	struct virtioblk *blk;
	uint8_t *bytes;
};

static void make(struct fixture *f)
{
	const struct virtioblk_config config = {.bus = f->r.bus,
						.device = VIRTIO_RIG_DEVICE,
						.memory = &f->r.memory,
						.disk = &f->disk.base,
						.serial = "nfold-disk7"};
	f->blk = virtioblk_create(&config, NULL);
	assert_non_null(f->blk);
}

static int setup(void **state)
{
	struct fixture *f = test_calloc(1, sizeof *f);
	f->bytes = test_calloc(SECTORS, DISK_SECTOR_SIZE);
	virtio_rig_init(&f->r);
	memory_disk_init(&f->disk, SECTORS, f->bytes);
	f->disk.base.discards = true;
	f->disk.many = true;
	make(f);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	virtioblk_destroy(f->blk);
	virtio_rig_destroy(&f->r);
	test_free(f->bytes);
	test_free(f);
	return 0;
}

/* Puts header, `size` bytes of data and status into descriptors from `first` on, and gives them. */
static void request_at(struct fixture *f, unsigned first, uint32_t type, uint64_t sector, uint32_t size, bool writes)
{
	struct virtio_rig *r = &f->r;
	poke(r, HEADER, 4, type);
	poke(r, HEADER + 4, 4, 0);
	poke(r, HEADER + 8, 8, sector);
	poke(r, STATUS + first, 1, PENDING);
	unsigned data = size > 0;
	descriptor(r, 0, first, HEADER, 16, DESC_NEXT, first + 1);
	if (data)
		descriptor(r, 0, first + 1, DATA_AT, size, DESC_NEXT | (writes ? DESC_WRITE : 0), first + 2);
	descriptor(r, 0, first + 1 + data, STATUS + first, 1, DESC_WRITE, 0);
	give(r, 0, (uint16_t)first);
}

static unsigned status_of(struct fixture *f, unsigned first)
{
	return (unsigned)peek(&f->r, STATUS + first, 1);
}

/* A request that is done at once. Returns its status. */
static unsigned request(struct fixture *f, uint32_t type, uint64_t sector, uint32_t size, bool writes)
{
	request_at(f, 0, type, sector, size, writes);
	uint32_t written = take(&f->r, 0, 0);
	unsigned status = status_of(f, 0);
	if (status == 0)
		assert_int_equal(written, writes ? size + 1 : 1);
	return status;
}

static void fill(struct fixture *f, uint64_t at, uint32_t size, uint8_t seed)
{
	for (uint32_t i = 0; i < size; i += 4)
		poke(&f->r, at + i, 4, i * 2654435761u + seed);
}

static void says_what_it_is(void **state)
{
	struct fixture *f = *state;
	virtio_rig_place(&f->r);
	assert_int_equal(pci_config_read(f->r.bus, VIRTIO_RIG_DEVFN, 0, 4), 0x10421af4);
	assert_int_equal(bar_in(&f->r, 0x2000, 4), SECTORS);
	assert_int_equal(bar_in(&f->r, 0x2004, 4), 0);
	assert_int_equal(bar_in(&f->r, 0x200c, 4), 254);
	assert_int_equal(bar_in(&f->r, 0x2014, 4), 512);
	assert_int_equal(bar_in(&f->r, 0x2018, 1), 3);
	assert_int_equal(bar_in(&f->r, 0x2020, 1), 1);
	assert_int_equal(offered_features(&f->r) & 0xffffff,
			 1 << 2 | 1 << 6 | 1 << 9 | 1 << 10 | 1 << 11 | 1 << 13 | 1 << 14);
	virtioblk_destroy(f->blk);
	f->disk.base.read_only = true;
	make(f);
	virtio_rig_place(&f->r);
	assert_int_equal(offered_features(&f->r) & 0xffffff, 1 << 2 | 1 << 5 | 1 << 6 | 1 << 9 | 1 << 10 | 1 << 11);
}

static void bytes_go_both_ways(void **state)
{
	struct fixture *f = *state;
	start_driver(&f->r, FLUSH, 1, SIZE);
	fill(f, DATA_AT, 0x8000, 1);
	assert_int_equal(request(f, 1, 100, 0x8000, false), 0);
	assert_memory_equal(f->bytes + 100 * 512, f->r.memory.host + DATA_AT, 0x8000);
	assert_int_equal(f->disk.durable, 0);
	fill(f, DATA_AT, 0x8000, 2);
	assert_int_equal(request(f, 0, 101, 0x4000, true), 0);
	assert_memory_equal(f->bytes + 101 * 512, f->r.memory.host + DATA_AT, 0x4000);
	assert_int_equal(request(f, 4, 0, 0, false), 0);
	assert_int_equal(f->disk.flushes, 1);
	assert_int_equal(request(f, 0, SECTORS - 1, 512, true), 0);
	assert_int_equal(request(f, 0, 5, 0, false), 0);
}

/* 5.2.6: header and data may be cut into pieces anywhere (2.7.4). */
static void framing_is_free(void **state)
{
	struct fixture *f = *state;
	struct virtio_rig *r = &f->r;
	start_driver(r, FLUSH, 1, SIZE);
	fill(f, DATA_AT, 1024, 3);
	poke(r, HEADER, 4, 1);
	poke(r, HEADER + 8, 8, 9);
	descriptor(r, 0, 0, HEADER, 3, DESC_NEXT, 1);
	descriptor(r, 0, 1, HEADER + 3, 13, DESC_NEXT, 2);
	descriptor(r, 0, 2, DATA_AT, 511, DESC_NEXT, 3);
	descriptor(r, 0, 3, DATA_AT + 511, 513, DESC_NEXT, 4);
	descriptor(r, 0, 4, STATUS, 1, DESC_WRITE, 0);
	give(r, 0, 0);
	assert_int_equal(take(r, 0, 0), 1);
	assert_int_equal(status_of(f, 0), 0);
	assert_memory_equal(f->bytes + 9 * 512, f->r.memory.host + DATA_AT, 1024);
}

/* More than a buffer holds: 2.5 MiB in pages that are all the same one. */
static void long_requests_go_in_pieces(void **state)
{
	struct fixture *f = *state;
	struct virtio_rig *r = &f->r;
	start_driver(r, FLUSH | VIRTIO_F_INDIRECT_DESC, 1, SIZE);
	uint64_t table = VIRTIO_RIG_BUFFERS + 0x80000, status = table + 0x2000;
	poke(r, HEADER, 4, 1);
	poke(r, HEADER + 8, 8, 0);
	fill(f, DATA_AT, 0x10000, 4);
	put_descriptor(r, table, 0, HEADER, 16, DESC_NEXT, 1);
	for (unsigned i = 1; i <= 40; i++)
		put_descriptor(r, table, i, DATA_AT, 0x10000, DESC_NEXT, i + 1);
	put_descriptor(r, table, 41, status, 1, DESC_WRITE, 0);
	descriptor(r, 0, 0, table, 42 * 16, DESC_INDIRECT, 0);
	poke(r, status, 1, PENDING);
	f->disk.slow = true;
	give(r, 0, 0);
	while (f->disk.waiting != NULL)
		memory_disk_answer(&f->disk);
	assert_int_equal(take(r, 0, 0), 1);
	assert_int_equal(peek(r, status, 1), 0);
	assert_int_equal(f->disk.requests, 3);
	for (unsigned i = 0; i < 40; i++)
		assert_memory_equal(f->bytes + i * 0x10000, r->memory.host + DATA_AT, 0x10000);
}

static void bad_requests_are_refused(void **state)
{
	struct fixture *f = *state;
	struct virtio_rig *r = &f->r;
	start_driver(r, FLUSH, 1, SIZE);
	assert_int_equal(request(f, 0, SECTORS, 512, true), 1);
	assert_int_equal(request(f, 0, SECTORS - 1, 1024, true), 1);
	assert_int_equal(request(f, 1, UINT64_MAX, 512, false), 1);
	assert_int_equal(request(f, 0, UINT64_MAX / 512, 1024, true), 1);
	assert_int_equal(request(f, 0, 0, 511, true), 1);
	assert_int_equal(request(f, 2, 0, 512, true), 2); /* no such type */
	assert_int_equal(request(f, 0xffffffff, 0, 0, false), 2);
	descriptor(r, 0, 0, HEADER, 15, DESC_NEXT, 1); /* no whole header */
	descriptor(r, 0, 1, STATUS, 1, DESC_WRITE, 0);
	give(r, 0, 0);
	(void)take(r, 0, 0);
	assert_int_equal(status_of(f, 0), 1);
	assert_int_equal(f->disk.requests, 0);
	descriptor(r, 0, 0, HEADER, 16, DESC_NEXT, 1); /* data that is not memory */
	descriptor(r, 0, 1, VIRTIO_RIG_RAM - 256, 512, DESC_NEXT, 2);
	descriptor(r, 0, 2, STATUS, 1, DESC_WRITE, 0);
	poke(r, HEADER, 4, 1);
	poke(r, HEADER + 8, 8, 0);
	give(r, 0, 0);
	(void)take(r, 0, 0);
	assert_int_equal(status_of(f, 0), 1);
	assert_int_equal(f->disk.requests, 0);
	descriptor(r, 0, 0, HEADER, 16, 0, 0); /* nowhere to say anything */
	give(r, 0, 0);
	assert_true(bar_in(r, 20, 1) & VIRTIO_STATUS_NEEDS_RESET);
}

static void serial_is_told(void **state)
{
	struct fixture *f = *state;
	char serial[21] = "";
	start_driver(&f->r, 0, 1, SIZE);
	request_at(f, 0, 8, 0, 20, true);
	(void)take(&f->r, 0, 0);
	assert_int_equal(status_of(f, 0), 0);
	assert_true(memory_read(&f->r.memory, DATA_AT, serial, 20));
	assert_string_equal(serial, "nfold-disk7");
}

static void segment(struct fixture *f, unsigned index, uint64_t sector, uint32_t count, uint32_t flags)
{
	poke(&f->r, DATA_AT + 16 * index, 8, sector);
	poke(&f->r, DATA_AT + 16 * index + 8, 4, count);
	poke(&f->r, DATA_AT + 16 * index + 12, 4, flags);
}

/* 5.2.6.1 */
static void ranges_are_zeroed_and_discarded(void **state)
{
	struct fixture *f = *state;
	start_driver(&f->r, FLUSH, 1, SIZE);
	memset(f->bytes, 0x5a, 64 * 512);
	segment(f, 0, 1, 2, 0);
	segment(f, 1, 5, 1, 1);
	assert_int_equal(request(f, 13, 0, 32, false), 0);
	assert_int_equal(f->disk.zeros, 2);
	assert_int_equal(f->bytes[511], 0x5a);
	assert_int_equal(f->bytes[512], 0);
	assert_int_equal(f->bytes[3 * 512 - 1], 0);
	assert_int_equal(f->bytes[3 * 512], 0x5a);
	assert_int_equal(f->bytes[5 * 512], 0);
	segment(f, 0, 8, 8, 0);
	assert_int_equal(request(f, 11, 0, 16, false), 0);
	assert_int_equal(f->disk.discards, 1);
	segment(f, 0, 8, 8, 1); /* discards unmap anyway */
	assert_int_equal(request(f, 11, 0, 16, false), 2);
	segment(f, 0, 8, 8, 2);
	assert_int_equal(request(f, 13, 0, 16, false), 2);
	segment(f, 0, SECTORS - 1, 2, 0);
	assert_int_equal(request(f, 13, 0, 16, false), 1);
	segment(f, 0, 0, 0x20000, 0);
	assert_int_equal(request(f, 13, 0, 16, false), 1);
	assert_int_equal(request(f, 13, 0, 15, false), 1);
	assert_int_equal(request(f, 11, 0, 0, false), 1);
	assert_int_equal(request(f, 11, 0, 17 * 16, false), 2);
	assert_int_equal(f->disk.discards + f->disk.zeros, 3);
}

static void image_errors_are_told(void **state)
{
	struct fixture *f = *state;
	start_driver(&f->r, FLUSH, 1, SIZE);
	f->disk.bad = 12;
	assert_int_equal(request(f, 0, 10, 2048, true), 1);
	assert_int_equal(request(f, 1, 12, 512, false), 1);
	assert_int_equal(request(f, 0, 13, 512, true), 0);
	f->disk.bad_flush = true;
	assert_int_equal(request(f, 4, 0, 0, false), 1);
}

static void read_only_disks_stay_as_they_are(void **state)
{
	struct fixture *f = *state;
	virtioblk_destroy(f->blk);
	f->disk.base.read_only = true;
	make(f);
	start_driver(&f->r, FLUSH, 1, SIZE);
	assert_int_equal(request(f, 1, 0, 512, false), 1);
	segment(f, 0, 0, 1, 0);
	assert_int_equal(request(f, 13, 0, 16, false), 1);
	assert_int_equal(request(f, 11, 0, 16, false), 1);
	assert_int_equal(request(f, 0, 0, 512, true), 0);
	assert_int_equal(f->disk.requests, 1);
}

/* 5.2.6.2 */
static void write_cache_can_be_off(void **state)
{
	struct fixture *f = *state;
	start_driver(&f->r, 0, 1, SIZE); /* cannot flush, so there is no cache */
	assert_int_equal(request(f, 1, 0, 512, false), 0);
	assert_int_equal(f->disk.durable, 1);
	start_driver(&f->r, FLUSH, 1, SIZE);
	bar_out(&f->r, 0x2020, 1, 0); /* not agreed upon */
	assert_int_equal(bar_in(&f->r, 0x2020, 1), 1);
	assert_int_equal(request(f, 1, 0, 512, false), 0);
	assert_int_equal(f->disk.durable, 1);
	start_driver(&f->r, FLUSH | CONFIG_WCE, 1, SIZE);
	bar_out(&f->r, 0x2020, 1, 0);
	assert_int_equal(bar_in(&f->r, 0x2020, 1), 0);
	assert_int_equal(request(f, 1, 0, 512, false), 0);
	assert_int_equal(f->disk.durable, 2);
	start_driver(&f->r, FLUSH | CONFIG_WCE, 1, SIZE);
	assert_int_equal(bar_in(&f->r, 0x2020, 1), 1);
	f->disk.base.write_through = true;
	start_driver(&f->r, FLUSH | CONFIG_WCE, 1, SIZE);
	bar_out(&f->r, 0x2020, 1, 1);
	assert_int_equal(bar_in(&f->r, 0x2020, 1), 0);
}

static void requests_overlap(void **state)
{
	struct fixture *f = *state;
	start_driver(&f->r, FLUSH, 1, SIZE);
	f->disk.slow = true;
	for (unsigned i = 0; i < 5; i++)
		request_at(f, 3 * i, 0, i, 512, true);
	assert_int_equal(f->disk.requests, 5);
	assert_true(nothing_used(&f->r, 0));
	assert_false(virtio_rig_intx(&f->r)->level);
	for (unsigned i = 0; i < 5; i++) {
		assert_int_equal(status_of(f, 3 * i), PENDING);
		memory_disk_answer(&f->disk);
		(void)take(&f->r, 0, (uint16_t)(3 * i));
		assert_int_equal(status_of(f, 3 * i), 0);
		assert_true(virtio_rig_intx(&f->r)->level);
	}
}

/* What is under way ends, and is heard of no more. */
static void reset_forgets_requests(void **state)
{
	struct fixture *f = *state;
	start_driver(&f->r, FLUSH, 1, SIZE);
	f->disk.slow = true;
	request_at(f, 0, 0, 0, 512, true);
	fill(f, DATA_AT, 512, 9);
	uint32_t before = (uint32_t)peek(&f->r, DATA_AT, 4);
	bar_out(&f->r, 20, 1, 0);
	assert_int_equal(bar_in(&f->r, 20, 1), 15);
	memory_disk_answer(&f->disk);
	assert_int_equal(bar_in(&f->r, 20, 1), 0);
	assert_int_equal(peek(&f->r, DATA_AT, 4), before);
	assert_int_equal(status_of(f, 0), PENDING);
	start_driver(&f->r, FLUSH, 1, SIZE);
	request_at(f, 0, 0, 0, 512, true);
	virtioblk_reset(f->blk); /* RST# does not wait */
	assert_null(f->disk.waiting);
	virtio_rig_place(&f->r);
	assert_int_equal(bar_in(&f->r, 20, 1), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(says_what_it_is),
	    TEST(bytes_go_both_ways),
	    TEST(framing_is_free),
	    TEST(long_requests_go_in_pieces),
	    TEST(bad_requests_are_refused),
	    TEST(serial_is_told),
	    TEST(ranges_are_zeroed_and_discarded),
	    TEST(image_errors_are_told),
	    TEST(read_only_disks_stay_as_they_are),
	    TEST(write_cache_can_be_off),
	    TEST(requests_overlap),
	    TEST(reset_forgets_requests),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
