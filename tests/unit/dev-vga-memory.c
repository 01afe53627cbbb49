/* SPDX-License-Identifier: MIT */
/*
 * The VGA's window against a plain model, bit by bit: random registers, random accesses. What the chip stored is read
 * through its framebuffer, where the planes are interleaved.
 */
#include "vga-rig.h"

#define ROUNDS 20000

/* Plane bits one by one, as the reference tells it; nothing is shared with the chip's own code. */
struct model {
	uint8_t memory[4][65536];
	uint8_t latch[4];
	unsigned map_mask, memory_mode, set_reset, enable_set_reset, compare, rotate, read_map, mode, misc, do_not_care,
	    bit_mask;
};

/* splitmix64, in the public domain by Sebastiano Vigna. */
static uint64_t random_next(uint64_t *state)
{
	uint64_t z = (*state += UINT64_C(0x9e3779b97f4a7c15));
	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

static void randomize(struct vga_rig *f, struct model *m, uint64_t *seed)
{
	uint64_t r = random_next(seed);
	m->map_mask = r & 15;
	m->memory_mode = (r >> 4 & 7) == 0 ? 0x0e : (r >> 4 & 7) < 4 ? 0x06 : 0x02;
	m->set_reset = r >> 8 & 15;
	m->enable_set_reset = r >> 12 & 15;
	m->compare = r >> 16 & 15;
	m->rotate = r >> 20 & 31;
	m->read_map = r >> 25 & 3;
	m->mode = (unsigned)((r >> 27 & 3) | (r >> 29 & 1) << 3 | (r >> 30 & 1) << 4);
	m->misc = r >> 31 & 0x0f;
	m->do_not_care = r >> 36 & 15;
	m->bit_mask = r >> 40 & 255;
	put_sequencer(f, 2, m->map_mask);
	put_sequencer(f, 4, m->memory_mode);
	const unsigned graphics[9] = {m->set_reset, m->enable_set_reset, m->compare, m->rotate, m->read_map, m->mode,
				      m->misc,	    m->do_not_care,	 m->bit_mask};
	for (unsigned i = 0; i < 9; i++)
		put_graphics(f, i, graphics[i]);
}

/* Where the window shows memory: the address within the part that is mapped, or -1. */
static long model_address(const struct model *m, unsigned offset)
{
	switch (m->misc >> 2) {
	case 0:
		return offset;
	case 1:
		return offset < 0x10000 ? (long)offset : -1;
	case 2:
		return offset >= 0x10000 && offset < 0x18000 ? (long)offset - 0x10000 : -1;
	default:
		return offset >= 0x18000 ? (long)offset - 0x18000 : -1;
	}
}

static unsigned model_offset(const struct model *m, unsigned address, int odd_even)
{
	unsigned high = address >= 0x10000;
	unsigned low = address % 0x10000;
	if (m->memory_mode & 8)
		return low - low % 4 + high;
	return odd_even ? low - low % 2 + high : low;
}

static int bit_of(unsigned value, unsigned bit)
{
	return value >> bit & 1;
}

static int model_logic(const struct model *m, int data, int latch)
{
	switch (m->rotate / 8) {
	case 0:
		return data;
	case 1:
		return data && latch;
	case 2:
		return data || latch;
	default:
		return data != latch;
	}
}

/* One bit of one plane after a write of `value`. */
static int model_bit(const struct model *m, unsigned plane, unsigned bit, unsigned value)
{
	int latch = bit_of(m->latch[plane], bit);
	int rotated = bit_of(value, (bit + m->rotate % 8) % 8);
	int masked = bit_of(m->bit_mask, bit);
	switch (m->mode & 3) {
	case 0:
		if (bit_of(m->enable_set_reset, plane))
			rotated = bit_of(m->set_reset, plane);
		return masked ? model_logic(m, rotated, latch) : latch;
	case 1:
		return latch;
	case 2:
		return masked ? model_logic(m, bit_of(value, plane), latch) : latch;
	default:
		return masked && rotated ? model_logic(m, bit_of(m->set_reset, plane), latch) : latch;
	}
}

static int model_plane_written(const struct model *m, unsigned plane, unsigned address)
{
	if (!bit_of(m->map_mask, plane))
		return 0;
	if (m->memory_mode & 8)
		return plane == address % 4;
	return (m->memory_mode & 4) || plane % 2 == address % 2;
}

static void model_write(struct model *m, unsigned window, unsigned value)
{
	long address = model_address(m, window);
	if (address < 0)
		return;
	unsigned offset = model_offset(m, (unsigned)address, !(m->memory_mode & 4));
	for (unsigned plane = 0; plane < 4; plane++) {
		unsigned byte = 0;
		for (unsigned bit = 0; bit < 8; bit++)
			byte |= (unsigned)model_bit(m, plane, bit, value) << bit;
		if (model_plane_written(m, plane, (unsigned)address))
			m->memory[plane][offset] = (uint8_t)byte;
	}
}

static unsigned model_compare(const struct model *m)
{
	unsigned result = 0;
	for (unsigned bit = 0; bit < 8; bit++) {
		int same = 1;
		for (unsigned plane = 0; plane < 4; plane++)
			if (bit_of(m->do_not_care, plane) && bit_of(m->latch[plane], bit) != bit_of(m->compare, plane))
				same = 0;
		result |= (unsigned)same << bit;
	}
	return result;
}

static unsigned model_read(struct model *m, unsigned window)
{
	long address = model_address(m, window);
	if (address < 0)
		return 0xff;
	int odd_even = bit_of(m->mode, 4);
	unsigned offset = model_offset(m, (unsigned)address, odd_even);
	for (unsigned plane = 0; plane < 4; plane++)
		m->latch[plane] = m->memory[plane][offset];
	if (m->mode & 8)
		return model_compare(m);
	if (m->memory_mode & 8)
		return m->latch[address % 4];
	return m->latch[odd_even ? m->read_map / 2 * 2 + (unsigned)address % 2 : m->read_map];
}

static void random_accesses_agree(void **state)
{
	struct vga_rig *f = *state;
	struct model *m = test_calloc(1, sizeof *m);
	uint64_t seed = 1;
	out8(&f->rig, 0x3c2, 0x03);
	for (unsigned i = 0; i < ROUNDS; i++) {
		if (i % 8 == 0)
			randomize(f, m, &seed);
		uint64_t r = random_next(&seed);
		/* Few different offsets, so that accesses meet; in all parts of the window. */
		unsigned window = (unsigned)(r & 0x0f) | (unsigned)(r >> 4 & 7) << 14;
		if (r >> 8 & 1) {
			model_write(m, window, r >> 16 & 0xff);
			put_memory(f, 0xa0000 + window, 1, r >> 16 & 0xff);
		} else {
			assert_int_equal(get_memory(f, 0xa0000 + window, 1), model_read(m, window));
		}
	}
	for (unsigned offset = 0; offset < 65536; offset++)
		for (unsigned plane = 0; plane < 4; plane++)
			assert_int_equal(get_memory(f, FRAMEBUFFER + 4 * offset + plane, 1), m->memory[plane][offset]);
	test_free(m);
}

/* A wide access is its bytes, lowest address first, each with the latches that the one before left. */
static void wide_accesses_are_bytes(void **state)
{
	struct vga_rig *f = *state;
	set_mode(f, &mode_13);
	put_memory(f, 0xa0101, 8, UINT64_C(0x8877665544332211));
	for (unsigned i = 0; i < 8; i++)
		assert_int_equal(get_memory(f, 0xa0101 + i, 1), 0x11 * (i + 1));
	assert_true(get_memory(f, 0xa0101, 8) == UINT64_C(0x8877665544332211));
	/* At the end of the window, the part beyond belongs to nobody. */
	put_graphics(f, 6, 0x01);
	put_memory(f, 0xbffff, 4, 0);
	assert_int_equal(get_memory(f, 0xbffff, 4), 0xffffff00);
}

static void memory_can_be_switched_off(void **state)
{
	struct vga_rig *f = *state;
	set_mode(f, &mode_13);
	put_memory(f, 0xa0000, 1, 0x5a);
	out8(&f->rig, 0x3c2, 0x61);
	assert_int_equal(get_memory(f, 0xa0000, 1), 0xff);
	put_memory(f, 0xa0000, 1, 0x11);
	out8(&f->rig, 0x3c2, 0x63);
	assert_int_equal(get_memory(f, 0xa0000, 1), 0x5a);
}

static void banks_move_the_window(void **state)
{
	struct vga_rig *f = *state;
	set_vbe_mode(f, 1024, 768, 8, 0);
	for (unsigned bank = 0; bank < MEMORY_SIZE >> 16; bank++) {
		put_vbe(f, 5, bank);
		assert_int_equal(get_vbe(f, 5), bank);
		put_memory(f, 0xa0000, 4, 0x01010101 * bank);
		put_memory(f, 0xafffc, 4, 0x01010101 * bank + 1);
	}
	for (unsigned bank = 0; bank < MEMORY_SIZE >> 16; bank++) {
		assert_int_equal(get_memory(f, FRAMEBUFFER + bank * 0x10000, 4), 0x01010101 * bank);
		assert_int_equal(get_memory(f, FRAMEBUFFER + bank * 0x10000 + 0xfffc, 4), 0x01010101 * bank + 1);
	}
	put_vbe(f, 5, MEMORY_SIZE >> 16); /* no such bank */
	assert_int_equal(get_vbe(f, 5), (MEMORY_SIZE >> 16) - 1);
	assert_int_equal(get_memory(f, 0xb0000, 1), 0xff);
	/* The last bytes of the framebuffer, and none beyond it. */
	put_memory(f, FRAMEBUFFER + MEMORY_SIZE - 4, 8, UINT64_C(0x1122334455667788));
	assert_true(get_memory(f, FRAMEBUFFER + MEMORY_SIZE - 4, 8) == UINT64_C(0xffffffff55667788));
}

/* With 16 colours, a bank is 64 KiB of each plane. */
static void planar_banks(void **state)
{
	struct vga_rig *f = *state;
	set_mode(f, &mode_12);
	set_vbe_mode(f, 800, 600, 4, 0);
	put_vbe(f, 5, 3);
	put_sequencer(f, 2, 0x02);
	put_memory(f, 0xa1234, 1, 0x77);
	assert_int_equal(get_memory(f, FRAMEBUFFER + 4 * 0x31234 + 1, 1), 0x77);
	put_vbe(f, 5, MEMORY_SIZE >> 18);
	assert_int_equal(get_vbe(f, 5), 3);
	put_vbe(f, 4, 0);
	put_memory(f, 0xa1234, 1, 0x33); /* the bank goes with the mode */
	assert_int_equal(get_memory(f, FRAMEBUFFER + 4 * 0x1234 + 1, 1), 0x33);
	set_vbe_mode(f, 800, 600, 4, 0);
	assert_int_equal(get_vbe(f, 5), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    VGA_TEST(random_accesses_agree),
	    VGA_TEST(wide_accesses_are_bytes),
	    VGA_TEST(memory_can_be_switched_off),
	    VGA_TEST(banks_move_the_window),
	    VGA_TEST(planar_banks),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
