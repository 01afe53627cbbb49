/* SPDX-License-Identifier: MIT */
/* CMOS RAM, read as firmware and old systems read it. */
#include "machine/cmos.h"

#include "machine/layout.h"
#include "rig.h"

#define MIB(n) ((uint64_t)(n) << 20)

struct fixture {
	struct rig rig;
	struct rtc *rtc;
	struct probe irq;
};

static int setup(void **state)
{
	struct fixture *f = test_calloc(1, sizeof *f);
	rig_init(&f->rig);
	const struct rtc_config config = {.clock = &f->rig.clock, .irq = probe_line(&f->irq, 0)};
	f->rtc = rtc_create(&config, NULL);
	assert_true(rtc_map(f->rtc, &f->rig.ports, NULL));
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	rtc_destroy(f->rtc);
	test_free(f);
	return 0;
}

/* `bytes` bytes from an index on, the lowest first. */
static uint64_t get(struct fixture *f, unsigned index, unsigned bytes)
{
	uint64_t value = 0;
	for (unsigned i = 0; i < bytes; i++) {
		out8(&f->rig, 0x70, index + i);
		value |= (uint64_t)in8(&f->rig, 0x71) << (8 * i);
	}
	return value;
}

static void memory_sizes_at_every_limit(void **state)
{
	static const struct {
		uint64_t size, extended, above_16m, above_4g;
	} cases[] = {
	    {MIB(2), 1024, 0, 0},
	    {MIB(16), 15 * 1024, 0, 0},
	    {MIB(64), 63 * 1024, 48 * 16, 0},
	    {MIB(65), 0xffff, 49 * 16, 0},
	    {MIB(3072), 0xffff, 0xbf00, 0},
	    {MIB(5120), 0xffff, 0xbf00, MIB(2048) >> 16},
	    {LAYOUT_MEMORY_MAX, 0xffff, 0xbf00, (LAYOUT_MEMORY_MAX - MIB(3072)) >> 16},
	};
	struct fixture *f = *state;
	for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		const struct cmos_config config = {.memory_size = cases[i].size, .cpus = 1};
		cmos_fill(f->rtc, &config);
		assert_int_equal(get(f, 0x15, 2), 640);
		assert_int_equal(get(f, 0x17, 2), cases[i].extended);
		assert_int_equal(get(f, 0x30, 2), cases[i].extended);
		assert_int_equal(get(f, 0x34, 2), cases[i].above_16m);
		assert_int_equal(get(f, 0x5b, 3), cases[i].above_4g);
	}
}

static void drives_are_told(void **state)
{
	struct fixture *f = *state;
	struct cmos_config config = {.memory_size = MIB(64), .cpus = 3};
	cmos_fill(f->rtc, &config);
	assert_int_equal(get(f, 0x10, 1), 0);
	assert_int_equal(get(f, 0x12, 1), 0);
	assert_int_equal(get(f, 0x14, 1), 0x06);
	assert_int_equal(get(f, 0x5f, 1), 2);

	config.floppy[0] = CMOS_FLOPPY_1440K;
	cmos_fill(f->rtc, &config);
	assert_int_equal(get(f, 0x10, 1), 0x40);
	assert_int_equal(get(f, 0x14, 1), 0x07);

	config.floppy[1] = CMOS_FLOPPY_2880K;
	config.disk_sectors[0] = 1000 * 16 * 63; /* no translation */
	config.disk_sectors[1] = 1025 * 16 * 63;
	config.disk_sectors[3] = UINT64_C(1) << 40;
	cmos_fill(f->rtc, &config);
	assert_int_equal(get(f, 0x10, 1), 0x45);
	assert_int_equal(get(f, 0x14, 1), 0x47);
	assert_int_equal(get(f, 0x12, 1), 0xff);
	assert_int_equal(get(f, 0x19, 2), 0x2f2f);
	assert_int_equal(get(f, 0x1b, 2), 1000);
	assert_int_equal(get(f, 0x1d, 1), 16);
	assert_int_equal(get(f, 0x23, 1), 63);
	assert_int_equal(get(f, 0x24, 2), 1025);
	assert_int_equal(get(f, 0x39, 1), 1 << 2 | 1 << 6);
}

static void boot_order_is_in_nibbles(void **state)
{
	struct fixture *f = *state;
	struct cmos_config config = {.memory_size = MIB(64), .cpus = 1};
	cmos_fill(f->rtc, &config);
	assert_int_equal(get(f, 0x3d, 1), 0x31);
	assert_int_equal(get(f, 0x38, 1), 0x20);
	config.boot[0] = BOOT_FROM_DISK;
	config.boot_count = 1;
	cmos_fill(f->rtc, &config);
	assert_int_equal(get(f, 0x3d, 1), 0x02);
	assert_int_equal(get(f, 0x38, 1), 0x00);
}

static void checksum_is_right_and_the_clock_untouched(void **state)
{
	struct fixture *f = *state;
	const struct cmos_config config = {.memory_size = MIB(300), .cpus = 1, .floppy = {CMOS_FLOPPY_720K}};
	uint64_t century = get(f, 0x32, 1), time = get(f, 0x00, 8);
	cmos_fill(f->rtc, &config);
	assert_int_equal(get(f, 0x32, 1), century);
	assert_int_equal(get(f, 0x00, 8), time);
	assert_int_equal(get(f, 0x0f, 1), 0);
	unsigned sum = 0;
	for (unsigned i = 0x10; i < 0x2e; i++)
		sum += (unsigned)get(f, i, 1);
	assert_true(sum > 0);
	assert_int_equal(get(f, 0x2e, 1) << 8 | get(f, 0x2f, 1), sum);
}

static void disks_have_the_drive_they_need(void **state)
{
	static const struct {
		struct floppy_geometry geometry;
		enum cmos_floppy drive;
	} cases[] = {
	    {{40, 1, 8, FLOPPY_250K}, CMOS_FLOPPY_360K},   {{40, 2, 9, FLOPPY_250K}, CMOS_FLOPPY_360K},
	    {{80, 2, 9, FLOPPY_250K}, CMOS_FLOPPY_720K},   {{80, 2, 15, FLOPPY_500K}, CMOS_FLOPPY_1200K},
	    {{80, 2, 18, FLOPPY_500K}, CMOS_FLOPPY_1440K}, {{82, 2, 21, FLOPPY_500K}, CMOS_FLOPPY_1440K},
	    {{80, 2, 36, FLOPPY_1M}, CMOS_FLOPPY_2880K},
	};
	(void)state;
	for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++)
		assert_int_equal(cmos_floppy_for(&cases[i].geometry), cases[i].drive);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(memory_sizes_at_every_limit),
	    TEST(drives_are_told),
	    TEST(boot_order_is_in_nibbles),
	    TEST(checksum_is_right_and_the_clock_untouched),
	    cmocka_unit_test(disks_have_the_drive_they_need),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
