/* SPDX-License-Identifier: MIT */
/* The DMA controllers: every mode between a device that counts and guest memory, and addresses that lead nowhere. */
#include "devices/i8237.h"
#include "rig.h"

#define RAM_SIZE 0x40000u

/* A device with `left` bytes to move; each is one more than the one before. */
struct source {
	struct dma_request request;
	unsigned left, moved, ends;
	uint8_t next;
	uint8_t got[2048];
	bool drop_at_end;
};

struct fixture {
	struct rig rig;
	struct memory memory;
	struct i8237 *dma;
	struct source source[I8237_CHANNELS];
};

static unsigned source_take(struct source *source, unsigned count)
{
	count = count < source->left ? count : source->left;
	source->left -= count;
	if (source->left == 0)
		dma_request_set(&source->request, false);
	return count;
}

static unsigned source_read(void *opaque, uint8_t *bytes, unsigned count)
{
	struct source *source = opaque;
	count = source_take(source, count);
	for (unsigned i = 0; i < count; i++)
		bytes[i] = source->next++;
	source->moved += count;
	return count;
}

static unsigned source_write(void *opaque, const uint8_t *bytes, unsigned count)
{
	struct source *source = opaque;
	count = source_take(source, count);
	for (unsigned i = 0; i < count; i++)
		source->got[(source->moved + i) % sizeof source->got] = bytes[i];
	source->moved += count;
	return count;
}

static void source_end(void *opaque)
{
	struct source *source = opaque;
	source->ends++;
	if (source->drop_at_end)
		dma_request_set(&source->request, false);
}

static int setup(void **state)
{
	struct fixture *f = test_calloc(1, sizeof *f);
	rig_init(&f->rig);
	assert_true(memory_init(&f->memory, RAM_SIZE, NULL));
	assert_true(memory_add_region(&f->memory, 0, RAM_SIZE, 0, false, NULL));
	f->dma = i8237_create(&f->memory, NULL);
	assert_true(i8237_map(f->dma, &f->rig.ports, NULL));
	for (int i = 0; i < I8237_CHANNELS; i++) {
		const struct dma_device device = {source_read, source_write, source_end, &f->source[i]};
		if (i != I8237_CASCADE)
			f->source[i].request = i8237_attach(f->dma, i, &device);
	}
	out8(&f->rig, 0xd6, 0xc0); /* channel 4 is the cascade */
	out8(&f->rig, 0xd4, 0x00);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	i8237_destroy(f->dma);
	memory_destroy(&f->memory);
	test_free(f);
	return 0;
}

static const uint16_t page_port[I8237_CHANNELS] = {0x87, 0x83, 0x81, 0x82, 0x8f, 0x8b, 0x89, 0x8a};

static uint16_t reg(unsigned channel, unsigned number)
{
	return (uint16_t)(channel < 4 ? number : 0xc0 + 2 * number);
}

static uint16_t address_reg(unsigned channel, unsigned count)
{
	return reg(channel, channel % 4 * 2 + count);
}

/* As a driver does it: mask, clear the flip-flop, mode, address, page, count, unmask. */
static void program(struct fixture *f, unsigned channel, unsigned mode, unsigned address, unsigned page, unsigned count)
{
	out8(&f->rig, reg(channel, 10), 4 | channel % 4);
	out8(&f->rig, reg(channel, 12), 0);
	out8(&f->rig, reg(channel, 11), mode | channel % 4);
	out8(&f->rig, address_reg(channel, 0), address & 0xff);
	out8(&f->rig, address_reg(channel, 0), address >> 8);
	out8(&f->rig, page_port[channel], page);
	out8(&f->rig, address_reg(channel, 1), (count - 1) & 0xff);
	out8(&f->rig, address_reg(channel, 1), (count - 1) >> 8);
	out8(&f->rig, reg(channel, 10), channel % 4);
}

static unsigned read16(struct fixture *f, unsigned channel, unsigned count)
{
	out8(&f->rig, reg(channel, 12), 0);
	unsigned low = in8(&f->rig, address_reg(channel, count));
	return low | in8(&f->rig, address_reg(channel, count)) << 8;
}

static void start(struct fixture *f, unsigned channel, unsigned bytes)
{
	f->source[channel].left = bytes;
	dma_request_set(&f->source[channel].request, true);
}

static unsigned byte_at(struct fixture *f, uint64_t address)
{
	uint8_t byte = 0;
	assert_true(memory_read(&f->memory, address, &byte, 1));
	return byte;
}

static void device_to_memory_until_the_count_ends(void **state)
{
	struct fixture *f = *state;
	out8(&f->rig, 0x0e, 0);
	program(f, 2, 0x44, 0x1234, 2, 600);
	start(f, 2, 700);
	assert_int_equal(f->source[2].moved, 600);
	assert_int_equal(f->source[2].ends, 1);
	assert_int_equal(byte_at(f, 0x21234), 0);
	assert_int_equal(byte_at(f, 0x21234 + 599), 599 & 0xff);
	assert_int_equal(byte_at(f, 0x21234 + 600), 0);
	assert_int_equal(read16(f, 2, 0), 0x1234 + 600);
	assert_int_equal(read16(f, 2, 1), 0xffff);
	assert_int_equal(in8(&f->rig, 0x08), 0x44);	   /* terminal count; DREQ still there */
	assert_int_equal(in8(&f->rig, 0x08), 0x40);	   /* reading cleared it */
	assert_int_equal(in8(&f->rig, 0x0f) & 0x0f, 0x04); /* the channel masked itself, and no other */
}

static void memory_to_device_in_two_rounds(void **state)
{
	struct fixture *f = *state;
	assert_true(memory_write(&f->memory, 0x8000, "floppy", 6));
	program(f, 1, 0x48, 0x8000, 0, 6);
	start(f, 1, 2);
	assert_int_equal(f->source[1].ends, 0);
	assert_int_equal(read16(f, 1, 1), 3);
	start(f, 1, 4);
	assert_memory_equal(f->source[1].got, "floppy", 6);
	assert_int_equal(f->source[1].ends, 1);
}

static void words_of_the_second_chip(void **state)
{
	struct fixture *f = *state;
	program(f, 5, 0x44, 0x0800, 0x03, 4); /* word address 800h, page bit 0 ignored: 21000h */
	start(f, 5, 100);
	assert_int_equal(f->source[5].moved, 8);
	assert_int_equal(byte_at(f, 0x21007), 7);
	assert_int_equal(read16(f, 5, 0), 0x804);
	assert_int_equal(in8(&f->rig, 0xd0), 0x22);
	assert_int_equal(in8(&f->rig, 0xd1), 0x20); /* odd ports mirror */
}

static void addresses_wrap_inside_the_page_and_go_down(void **state)
{
	struct fixture *f = *state;
	program(f, 3, 0x44, 0xfffe, 1, 4);
	start(f, 3, 4);
	assert_int_equal(byte_at(f, 0x1ffff), 1);
	assert_int_equal(byte_at(f, 0x10000), 2);
	assert_int_equal(byte_at(f, 0x10001), 3);
	assert_int_equal(byte_at(f, 0x20000), 0);
	program(f, 0, 0x64, 0x0001, 1, 3); /* decrement */
	f->source[0].next = 0x40;
	start(f, 0, 3);
	assert_int_equal(byte_at(f, 0x10001), 0x40);
	assert_int_equal(byte_at(f, 0x10000), 0x41);
	assert_int_equal(byte_at(f, 0x1ffff), 0x42);
	assert_int_equal(f->source[0].ends, 1);
}

static void autoinitialization_starts_over(void **state)
{
	struct fixture *f = *state;
	program(f, 1, 0x54, 0x2000, 0, 16);
	start(f, 1, 40);
	assert_int_equal(f->source[1].moved, 16); /* one count a round */
	assert_int_equal(read16(f, 1, 0), 0x2000 + (f->source[1].moved - 16) % 16);
	dma_request_set(&f->source[1].request, true);
	dma_request_set(&f->source[1].request, true);
	assert_int_equal(f->source[1].moved, 40);
	assert_int_equal(f->source[1].ends, 2);
	assert_int_equal(read16(f, 1, 0), 0x2008);
	assert_int_equal(in8(&f->rig, 0x0f) & 0x0f, 0x0d);
}

static void verify_moves_nothing(void **state)
{
	struct fixture *f = *state;
	program(f, 2, 0x40, 0x3000, 0, 8);
	f->source[2].next = 0x77;
	start(f, 2, 8);
	assert_int_equal(f->source[2].ends, 1);
	assert_int_equal(byte_at(f, 0x3000), 0);
	assert_int_equal(read16(f, 2, 0), 0x3008);
}

static void masks_disable_and_cascade_hold_the_channel(void **state)
{
	struct fixture *f = *state;
	program(f, 2, 0x44, 0x3000, 0, 8);
	out8(&f->rig, 0x0a, 0x06);
	start(f, 2, 8);
	assert_int_equal(f->source[2].moved, 0);
	out8(&f->rig, 0x08, 0x04); /* disabled */
	out8(&f->rig, 0x0a, 0x02);
	assert_int_equal(f->source[2].moved, 0);
	out8(&f->rig, 0xda, 0); /* master clear of the second chip masks the cascade */
	out8(&f->rig, 0x08, 0x00);
	assert_int_equal(f->source[2].moved, 0);
	out8(&f->rig, 0xd4, 0x00);
	assert_int_equal(f->source[2].moved, 8);
	program(f, 3, 0xc4, 0x3000, 0, 8); /* a channel in cascade mode moves nothing itself */
	start(f, 3, 8);
	assert_int_equal(f->source[3].moved, 0);
	out8(&f->rig, 0x0d, 0);
	assert_int_equal(in8(&f->rig, 0x0f) & 0x0f, 0x0f);
	out8(&f->rig, 0x0e, 0);
	assert_int_equal(in8(&f->rig, 0x0f) & 0x0f, 0);
	out8(&f->rig, 0x0f, 0xa5);
	assert_int_equal(in8(&f->rig, 0x0f) & 0x0f, 5);
}

static void software_requests_pass_the_mask(void **state)
{
	struct fixture *f = *state;
	program(f, 1, 0x84, 0x3000, 0, 8);
	out8(&f->rig, 0x0a, 0x05);
	f->source[1].left = 20;
	out8(&f->rig, 0x09, 0x05);
	assert_int_equal(f->source[1].moved, 8);
	assert_int_equal(in8(&f->rig, 0x08), 0x02); /* the request ended with the count */
}

static void holes_read_ones_and_swallow_writes(void **state)
{
	struct fixture *f = *state;
	program(f, 2, 0x48, 0xfffc, 0x03, 16); /* 3FFFCh wraps to 30000h: all RAM */
	start(f, 2, 16);
	assert_int_equal(f->source[2].got[4], 0);
	f->source[2].moved = 0;
	program(f, 2, 0x48, 0xfffc, 0xff, 16);
	start(f, 2, 16);
	assert_int_equal(f->source[2].got[0], 0xff);
	assert_int_equal(f->source[2].got[15], 0xff);
	program(f, 2, 0x44, 0, 0xff, 16);
	start(f, 2, 16);
	assert_int_equal(f->source[2].ends, 3);
}

static void reset_forgets_but_keeps_the_wires(void **state)
{
	struct fixture *f = *state;
	program(f, 2, 0x44, 0x3000, 1, 8);
	f->source[2].drop_at_end = true;
	i8237_reset(f->dma);
	assert_int_equal(read16(f, 2, 0), 0);
	assert_int_equal(in8(&f->rig, 0x81), 0);
	out8(&f->rig, 0x80, 0x5a); /* where a BIOS writes its progress */
	assert_int_equal(in8(&f->rig, 0x80), 0x5a);
	start(f, 2, 16);
	assert_int_equal(f->source[2].moved, 0);
	out8(&f->rig, 0xd6, 0xc0);
	out8(&f->rig, 0xd4, 0x00);
	program(f, 2, 0x44, 0x3000, 1, 8);
	assert_int_equal(f->source[2].moved, 8);
	assert_int_equal(in8(&f->rig, 0x08), 0x04);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(device_to_memory_until_the_count_ends),
	    TEST(memory_to_device_in_two_rounds),
	    TEST(words_of_the_second_chip),
	    TEST(addresses_wrap_inside_the_page_and_go_down),
	    TEST(autoinitialization_starts_over),
	    TEST(verify_moves_nothing),
	    TEST(masks_disable_and_cascade_hold_the_channel),
	    TEST(software_requests_pass_the_mask),
	    TEST(holes_read_ones_and_swallow_writes),
	    TEST(reset_forgets_but_keeps_the_wires),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
