/* SPDX-License-Identifier: MIT */
/* The floppy controller on a clock that stands still: resets, seeks, data by DMA and without, errors, images. */
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "devices/i82077.h"
#include "rig.h"

#define MS UINT64_C(1000000)
#define STEP UINT64_C(10000)
#define SIZE_1440K 1474560

struct fixture {
	struct rig rig;
	struct i82077 *fdc;
	struct probe irq;
	struct dma_device dma;
	bool dreq;
	int image;
	char path[64];
	struct floppy *floppy;
};

static void note_dreq(void *opaque, int channel, bool level)
{
	(void)channel;
	((struct fixture *)opaque)->dreq = level;
}

static void make_image(struct fixture *f, off_t size, const char *bytes_at, off_t where)
{
	f->image = memfd_create("floppy", MFD_CLOEXEC);
	(void)snprintf(f->path, sizeof f->path, "/proc/self/fd/%d", f->image);
	assert_int_equal(ftruncate(f->image, size), 0);
	assert_int_equal(pwrite(f->image, bytes_at, strlen(bytes_at), where), (int)strlen(bytes_at));
}

static int setup(void **state)
{
	struct fixture *f = test_calloc(1, sizeof *f);
	rig_init(&f->rig);
	const struct irq_line irq = probe_line(&f->irq, 0);
	const struct dma_request request = {note_dreq, f, 2};
	f->fdc = i82077_create(&f->rig.clock, &irq, NULL);
	f->dma = i82077_dma_device(f->fdc);
	i82077_set_dma(f->fdc, &request);
	assert_true(i82077_map(f->fdc, &f->rig.ports, NULL));
	make_image(f, SIZE_1440K, "boot", 0);
	assert_int_equal(pwrite(f->image, "second", 6, 512), 6);
	assert_int_equal(pwrite(f->image, "far", 3, (10 * 36 + 18 + 4) * 512), 3); /* cylinder 10, head 1, sector 5 */
	f->floppy = floppy_open(f->path, false, NULL);
	assert_non_null(f->floppy);
	i82077_insert(f->fdc, 0, f->floppy);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	i82077_destroy(f->fdc);
	assert_null(f->rig.clock.timers);
	floppy_close(f->floppy);
	(void)close(f->image);
	test_free(f);
	return 0;
}

static void send(struct fixture *f, const uint8_t *bytes, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		assert_int_equal(in8(&f->rig, 0x3f4) & 0xc0, 0x80);
		out8(&f->rig, 0x3f5, bytes[i]);
	}
}

#define SEND(f, ...) send(f, (const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__}))

/* The result phase as hexadecimal text. */
static const char *result(struct fixture *f)
{
	static char text[64];
	text[0] = 0;
	for (unsigned i = 0; i < 16 && (in8(&f->rig, 0x3f4) & 0xf0) == 0xd0; i++)
		(void)snprintf(text + strlen(text), sizeof text - strlen(text), "%s%02x", text[0] ? " " : "",
			       in8(&f->rig, 0x3f5));
	assert_int_equal(in8(&f->rig, 0x3f4) & 0xf0, 0x80);
	return text;
}

static const char *sense(struct fixture *f)
{
	SEND(f, 0x08);
	return result(f);
}

static void power_up(struct fixture *f)
{
	out8(&f->rig, 0x3f2, 0x1c);
	for (unsigned i = 0; i < 4; i++)
		(void)sense(f);
	out8(&f->rig, 0x3f7, FLOPPY_500K);
	SEND(f, 0x03, 0xdf, 0x02); /* by DMA */
}

static void reset_reports_four_drives(void **state)
{
	struct fixture *f = *state;
	assert_int_equal(in8(&f->rig, 0x3f4), 0);
	out8(&f->rig, 0x3f2, 0x0c);
	assert_true(f->irq.level);
	assert_string_equal(sense(f), "c0 00");
	assert_false(f->irq.level);
	assert_string_equal(sense(f), "c1 00");
	assert_string_equal(sense(f), "c2 00");
	assert_string_equal(sense(f), "c3 00");
	assert_string_equal(sense(f), "80");
	out8(&f->rig, 0x3f4, 0x80); /* reset by DSR */
	assert_true(f->irq.level);
	out8(&f->rig, 0x3f2, 0x04); /* gate closed */
	assert_false(f->irq.level);
	SEND(f, 0x10);
	assert_string_equal(result(f), "90");
	SEND(f, 0x1f);
	assert_string_equal(result(f), "80");
	SEND(f, 0x94);
	assert_string_equal(result(f), "10");
	SEND(f, 0x13, 0, 0x5a, 7);
	SEND(f, 0x0e);
	assert_string_equal(result(f), "00 00 00 00 00 00 00 80 5a 07");
}

static void seeks_take_their_time(void **state)
{
	struct fixture *f = *state;
	power_up(f);
	assert_int_equal(in8(&f->rig, 0x3f7), 0x80); /* a new disk */
	SEND(f, 0x0f, 0x00, 10);
	clock_advance(&f->rig.clock, 10 * STEP - 1);
	assert_false(f->irq.level);
	assert_int_equal(in8(&f->rig, 0x3f4), 0x81);
	clock_advance(&f->rig.clock, 1);
	assert_true(f->irq.level);
	assert_string_equal(sense(f), "20 0a");
	assert_int_equal(in8(&f->rig, 0x3f7), 0); /* a step resets the change line */
	SEND(f, 0xcf, 0x00, 5);
	clock_advance(&f->rig.clock, 5 * STEP);
	assert_string_equal(sense(f), "20 0f");
	SEND(f, 0x07, 0x00);
	clock_advance(&f->rig.clock, 15 * STEP);
	assert_string_equal(sense(f), "20 00");
	SEND(f, 0x07, 0x03); /* there is no such drive */
	clock_advance(&f->rig.clock, 1);
	assert_string_equal(sense(f), "73 00");
	SEND(f, 0x04, 0x00);
	assert_string_equal(result(f), "38");
}

static void reads_by_dma_until_terminal_count(void **state)
{
	struct fixture *f = *state;
	uint8_t bytes[1024];
	power_up(f);
	SEND(f, 0xe6, 0x00, 0, 0, 1, 2, 18, 0x1b, 0xff);
	assert_true(f->dreq && !f->irq.level);
	assert_int_equal(f->dma.read(f->dma.opaque, bytes, 1024), 1024);
	assert_memory_equal(bytes, "boot", 4);
	assert_memory_equal(bytes + 512, "second", 6);
	f->dma.terminal_count(f->dma.opaque);
	assert_true(f->irq.level && !f->dreq);
	assert_string_equal(result(f), "00 00 00 00 00 03 02");
	assert_false(f->irq.level);
	SEND(f, 0x46, 0x00, 0, 0, 18, 2, 18, 0x1b, 0xff); /* beyond the last sector */
	assert_int_equal(f->dma.read(f->dma.opaque, bytes, 1024), 512);
	assert_string_equal(result(f), "40 80 00 01 00 01 02");
	SEND(f, 0x13, 0, 0x40, 0); /* implied seek */
	SEND(f, 0x46, 0x04, 10, 1, 5, 2, 18, 0x1b, 0xff);
	assert_false(f->dreq);
	clock_advance(&f->rig.clock, 10 * STEP);
	assert_int_equal(f->dma.read(f->dma.opaque, bytes, 512), 512);
	assert_memory_equal(bytes, "far", 3);
	f->dma.terminal_count(f->dma.opaque);
	assert_string_equal(result(f), "04 00 00 0a 01 06 02");
}

static void multitrack_goes_to_the_other_head(void **state)
{
	struct fixture *f = *state;
	uint8_t bytes[512];
	power_up(f);
	SEND(f, 0xe6, 0x00, 0, 0, 18, 2, 18, 0x1b, 0xff);
	assert_int_equal(f->dma.read(f->dma.opaque, bytes, 512), 512);
	assert_int_equal(f->dma.read(f->dma.opaque, bytes, 512), 512);
	f->dma.terminal_count(f->dma.opaque);
	assert_string_equal(result(f), "04 00 00 00 01 02 02");
	SEND(f, 0xf6, 0x80, 0, 0, 1, 2, 18, 0x1b, 4); /* verify four sectors */
	assert_string_equal(result(f), "00 00 00 00 00 05 02");
}

static void writes_and_formats(void **state)
{
	struct fixture *f = *state;
	uint8_t bytes[512] = "written", back[1024];
	power_up(f);
	SEND(f, 0x45, 0x00, 0, 0, 2, 2, 18, 0x1b, 0xff);
	assert_int_equal(f->dma.write(f->dma.opaque, bytes, 7), 7);
	f->dma.terminal_count(f->dma.opaque); /* the rest of the sector becomes zeros */
	assert_string_equal(result(f), "00 00 00 00 00 03 02");
	assert_int_equal(pread(f->image, back, 512, 512), 512);
	assert_memory_equal(back, bytes, 512);
	SEND(f, 0x4d, 0x00, 2, 2, 0x54, 0xf6);
	assert_int_equal(f->dma.write(f->dma.opaque, (const uint8_t[]){0, 0, 1, 2, 0, 0, 2, 2}, 8), 8);
	assert_true(f->irq.level);
	(void)result(f);
	assert_int_equal(pread(f->image, back, 1024, 0), 1024);
	assert_int_equal(back[0], 0xf6);
	assert_int_equal(back[1023], 0xf6);
	assert_int_equal(ftruncate(f->image, 512), 0); /* the image shrinks: an error, not a longer file */
	SEND(f, 0x45, 0x00, 0, 0, 2, 2, 18, 0x1b, 0xff);
	assert_int_equal(f->dma.write(f->dma.opaque, bytes, 512), 512);
	assert_string_equal(result(f), "40 20 20 00 00 02 02");
	SEND(f, 0x46, 0x00, 0, 0, 2, 2, 18, 0x1b, 0xff);
	assert_string_equal(result(f), "40 20 20 00 00 02 02");
}

static void without_dma_every_byte_interrupts(void **state)
{
	struct fixture *f = *state;
	power_up(f);
	SEND(f, 0x03, 0xdf, 0x03);
	SEND(f, 0x46, 0x00, 0, 0, 1, 2, 1, 0x1b, 0xff);
	assert_int_equal(in8(&f->rig, 0x3f4), 0xf0);
	unsigned rises = f->irq.rises;
	assert_int_equal(in8(&f->rig, 0x3f5), 'b');
	assert_int_equal(f->irq.rises, rises + 1);
	for (unsigned i = 1; i < 512; i++)
		(void)in8(&f->rig, 0x3f5);
	assert_string_equal(result(f), "40 80 00 01 00 01 02"); /* nobody said terminal count */
	SEND(f, 0x45, 0x00, 0, 0, 3, 2, 3, 0x1b, 0xff);
	assert_int_equal(in8(&f->rig, 0x3f4), 0xb0);
	for (unsigned i = 0; i < 512; i++)
		out8(&f->rig, 0x3f5, 0x77);
	assert_string_equal(result(f), "40 80 00 01 00 01 02");
	assert_false(f->dreq);
}

static void what_is_not_there_is_not_found(void **state)
{
	struct fixture *f = *state;
	power_up(f);
	SEND(f, 0x46, 0x00, 0, 0, 19, 2, 18, 0x1b, 0xff);
	assert_string_equal(result(f), "40 04 00 00 00 13 02");
	SEND(f, 0x46, 0x00, 1, 0, 1, 2, 18, 0x1b, 0xff);
	assert_string_equal(result(f), "40 04 10 01 00 01 02");
	SEND(f, 0x46, 0x01, 0, 0, 1, 2, 18, 0x1b, 0xff); /* no disk */
	clock_advance(&f->rig.clock, 399 * MS);
	assert_false(f->irq.level);
	clock_advance(&f->rig.clock, 1 * MS);
	assert_string_equal(result(f), "41 01 00 00 00 01 02");
	out8(&f->rig, 0x3f7, FLOPPY_250K); /* the wrong data rate */
	SEND(f, 0x4a, 0x00);
	clock_advance(&f->rig.clock, 400 * MS);
	assert_string_equal(result(f), "40 01 00 00 00 01 02");
	out8(&f->rig, 0x3f7, FLOPPY_500K);
	SEND(f, 0x4a, 0x04);
	clock_advance(&f->rig.clock, 12 * MS);
	assert_true(f->irq.level);
	assert_string_equal(result(f), "04 00 00 00 01 02 02");
	SEND(f, 0x4c, 0x00, 0, 0, 1, 2, 18, 0x1b, 0xff); /* deleted data: a sector of the other mark */
	f->dma.terminal_count(f->dma.opaque);
	assert_string_equal(result(f), "00 00 40 00 00 01 02");
}

static void images_are_checked(void **state)
{
	struct fixture *f = *state;
	struct error error;
	assert_null(floppy_open(f->path, true, &error)); /* in use */
	assert_int_equal(error.kind, ERROR_INPUT);
	floppy_close(f->floppy);
	f->floppy = floppy_open(f->path, true, &error);
	power_up(f);
	i82077_insert(f->fdc, 0, f->floppy);
	SEND(f, 0x45, 0x00, 0, 0, 2, 2, 18, 0x1b, 0xff);
	assert_string_equal(result(f), "40 02 00 00 00 02 02");
	SEND(f, 0x04, 0x00);
	assert_string_equal(result(f), "78");
	assert_null(floppy_open("/proc/self", true, &error));
	int odd = memfd_create("odd", MFD_CLOEXEC);
	char path[64];
	(void)snprintf(path, sizeof path, "/proc/self/fd/%d", odd);
	assert_int_equal(ftruncate(odd, 1000), 0);
	assert_null(floppy_open(path, true, &error));
	assert_non_null(strstr(error.text, "1000 bytes, which no floppy has"));
	static const int sizes[] = {160, 180, 320, 360, 720, 1200, 1440, 1680, 1722, 2880};
	for (unsigned i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
		assert_int_equal(ftruncate(odd, sizes[i] * 1024), 0);
		struct floppy *floppy = floppy_open(path, true, &error);
		assert_non_null(floppy);
		floppy_close(floppy);
	}
	(void)close(odd);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(reset_reports_four_drives),
	    TEST(seeks_take_their_time),
	    TEST(reads_by_dma_until_terminal_count),
	    TEST(multitrack_goes_to_the_other_head),
	    TEST(writes_and_formats),
	    TEST(without_dma_every_byte_interrupts),
	    TEST(what_is_not_there_is_not_found),
	    TEST(images_are_checked),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
