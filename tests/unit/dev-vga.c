/* SPDX-License-Identifier: MIT */
/* The VGA's registers, its timing, its PCI function and the DISPI registers. */
#include "vga-rig.h"

static unsigned config_get(struct vga_rig *f, unsigned offset, unsigned size)
{
	return pci_config_read(f->bus, PCI_DEVFN(VGA_DEVICE, 0), offset, size);
}

static void config_put(struct vga_rig *f, unsigned offset, unsigned size, uint32_t value)
{
	pci_config_write(f->bus, PCI_DEVFN(VGA_DEVICE, 0), offset, size, value);
}

static void registers_keep_their_bits(void **state)
{
	static const uint8_t sequencer[8] = {0x03, 0x3d, 0x0f, 0x3f, 0x0e, 0, 0, 0};
	static const uint8_t graphics[16] = {0x0f, 0x0f, 0x0f, 0x1f, 0x03, 0x7b, 0x0f, 0x0f, 0xff};
	struct vga_rig *f = *state;
	out8(&f->rig, 0x3c2, 0xff);
	assert_int_equal(in8(&f->rig, 0x3cc), 0xef);
	for (unsigned i = 0; i < 8; i++)
		put_sequencer(f, i, 0xff);
	for (unsigned i = 0; i < 16; i++)
		put_graphics(f, i, 0xff);
	for (unsigned i = 0; i < 8; i++)
		assert_int_equal(get_indexed(f, 0x3c4, i), sequencer[i]);
	for (unsigned i = 0; i < 16; i++)
		assert_int_equal(get_indexed(f, 0x3ce, i), graphics[i]);
	assert_int_equal(in8(&f->rig, 0x3ce), 15);
	out8(&f->rig, 0x3da, 0xff);
	assert_int_equal(in8(&f->rig, 0x3ca), 0x0b);
	out8(&f->rig, 0x3c3, 0xff);
	assert_int_equal(in8(&f->rig, 0x3c3), 1);
	assert_int_equal(in8(&f->rig, 0x3cb), 0xff);
	vga_reset(f->vga);
	assert_int_equal(in8(&f->rig, 0x3cc), 0);
	assert_int_equal(get_indexed(f, 0x3c4, 2), 0);
}

static void crtc_protects_its_timing(void **state)
{
	struct vga_rig *f = *state;
	out8(&f->rig, 0x3c2, 0x01);
	for (unsigned i = 0; i < 0x40; i++)
		put_crtc(f, i, 0x55);
	for (unsigned i = 0; i < 0x40; i++)
		assert_int_equal(get_indexed(f, 0x3d4, i), i <= 0x18 ? 0x55 : 0);
	put_crtc(f, 0x11, 0x80);
	for (unsigned i = 0; i < 0x19; i++)
		if (i != 0x11)
			put_crtc(f, i, 0xaa);
	for (unsigned i = 0; i < 7; i++)
		assert_int_equal(get_indexed(f, 0x3d4, i), 0x55);
	assert_int_equal(get_indexed(f, 0x3d4, 7), 0x45); /* only bit 4, from 1 to 0 */
	assert_int_equal(get_indexed(f, 0x3d4, 8), 0xaa);
	put_crtc(f, 0x11, 0);
	put_crtc(f, 0, 0xaa);
	assert_int_equal(get_indexed(f, 0x3d4, 0), 0xaa);
}

static void crtc_is_at_one_place(void **state)
{
	struct vga_rig *f = *state;
	out8(&f->rig, 0x3c2, 0x01);
	put_crtc(f, 0x0e, 0x12);
	assert_int_equal(get_indexed(f, 0x3b4, 0x0e), 0xff);
	assert_int_equal(in8(&f->rig, 0x3ba), 0xff);
	out8(&f->rig, 0x3c2, 0x00);
	assert_int_equal(get_indexed(f, 0x3d4, 0x0e), 0xff);
	assert_int_equal(get_indexed(f, 0x3b4, 0x0e), 0x12);
	assert_int_not_equal(in8(&f->rig, 0x3ba), 0xff);
	put_crtc(f, 0x0e, 0x34); /* to 3D4h: lost */
	assert_int_equal(get_indexed(f, 0x3b4, 0x0e), 0x12);
}

static void attribute_flip_flop(void **state)
{
	struct vga_rig *f = *state;
	out8(&f->rig, 0x3c2, 0x01);
	(void)in8(&f->rig, 0x3da);
	for (unsigned i = 0; i < 0x20; i++) {
		out8(&f->rig, 0x3c0, i);
		out8(&f->rig, 0x3c0, 0xff);
	}
	for (unsigned i = 0; i < 0x20; i++) {
		static const uint8_t high[5] = {0xef, 0xff, 0x3f, 0x0f, 0x0f};
		(void)in8(&f->rig, 0x3da);
		out8(&f->rig, 0x3c0, i);
		assert_int_equal(in8(&f->rig, 0x3c0), i);
		assert_int_equal(in8(&f->rig, 0x3c1), i < 16 ? 0x3f : i < 21 ? high[i - 16] : 0);
	}
	/* The index was last; status makes it the index's turn again. */
	(void)in8(&f->rig, 0x3da);
	out8(&f->rig, 0x3c0, 0x23);
	assert_int_equal(in8(&f->rig, 0x3c0), 0x23);
	out8(&f->rig, 0x3c0, 0x05); /* data */
	assert_int_equal(in8(&f->rig, 0x3c0), 0x23);
	assert_int_equal(in8(&f->rig, 0x3c1), 0x05);
	out8(&f->rig, 0x3c0, 0x04); /* index */
	assert_int_equal(in8(&f->rig, 0x3c0), 0x04);
}

static void dac_takes_three_bytes(void **state)
{
	struct vga_rig *f = *state;
	assert_int_equal(in8(&f->rig, 0x3c6), 0xff);
	put_dac(f, 254, 0xff, 2, 3);
	assert_int_equal(in8(&f->rig, 0x3c7), 0);
	assert_int_equal(in8(&f->rig, 0x3c8), 255);
	out8(&f->rig, 0x3c9, 4);
	out8(&f->rig, 0x3c9, 5);
	out8(&f->rig, 0x3c9, 6);
	assert_int_equal(in8(&f->rig, 0x3c8), 0); /* wraps */
	out8(&f->rig, 0x3c7, 254);
	assert_int_equal(in8(&f->rig, 0x3c7), 3);
	static const uint8_t expected[6] = {0x3f, 2, 3, 4, 5, 6};
	for (unsigned i = 0; i < 6; i++)
		assert_int_equal(in8(&f->rig, 0x3c9), expected[i]);
	/* Two bytes of three, then a new index: nothing changes. */
	out8(&f->rig, 0x3c8, 254);
	out8(&f->rig, 0x3c9, 9);
	out8(&f->rig, 0x3c9, 9);
	out8(&f->rig, 0x3c7, 254);
	assert_int_equal(in8(&f->rig, 0x3c9), 0x3f);
	/* Eight bits, as DISPI offers. */
	put_vbe(f, 4, 0x20);
	put_dac(f, 7, 0xff, 0x80, 0x41);
	out8(&f->rig, 0x3c7, 7);
	assert_int_equal(in8(&f->rig, 0x3c9), 0xff);
	assert_int_equal(in8(&f->rig, 0x3c9), 0x80);
	assert_int_equal(in8(&f->rig, 0x3c9), 0x41);
}

/* Advances until the status has `bits` as `wanted`; returns the nanoseconds, at most 100 ms. */
static uint64_t until(struct vga_rig *f, unsigned bits, unsigned wanted)
{
	uint64_t start = clock_now(&f->rig.clock);
	while ((in8(&f->rig, 0x3da) & bits) != wanted && clock_now(&f->rig.clock) - start < 100000000)
		clock_advance(&f->rig.clock, 100);
	return clock_now(&f->rig.clock) - start;
}

static void check_retrace(struct vga_rig *f, uint64_t frame_ns, uint64_t retrace_ns)
{
	(void)until(f, 8, 0);
	(void)until(f, 8, 8);
	uint64_t on = until(f, 8, 0);
	uint64_t frame = on + until(f, 8, 8);
	assert_in_range(on, retrace_ns - 300, retrace_ns + 300);
	assert_in_range(frame, frame_ns - 300, frame_ns + 300);
	assert_int_equal(in8(&f->rig, 0x3da) & 1, 1); /* retrace is not display */
}

static void retrace_follows_the_clock(void **state)
{
	struct vga_rig *f = *state;
	/* 900 dots by 449 lines at 28.322 MHz: 70.09 Hz; the retrace is two lines. */
	set_mode(f, &mode_03);
	check_retrace(f, 14268060, 2 * 31777);
	put_crtc(f, 0x11, 0x8c); /* it ends where it starts, four bits say: 16 lines later */
	check_retrace(f, 14268060, 16 * 31777);
	/* 800 by 525 at 25.175 MHz: 59.94 Hz. */
	set_mode(f, &mode_12);
	check_retrace(f, 16683217, 2 * 31777);
	/* 25 columns of 400 dots at half the clock are as long: 70.09 Hz. */
	set_mode(f, &mode_04);
	check_retrace(f, 14268123, 2 * 31777);
	set_vbe_mode(f, 640, 480, 32, 0);
	check_retrace(f, 16666666, 13 * 16666666 / 506);
}

static void display_enable_follows_the_line(void **state)
{
	struct vga_rig *f = *state;
	set_mode(f, &mode_12);
	(void)until(f, 8, 8);
	(void)until(f, 8, 0);
	(void)until(f, 1, 0); /* the first line */
	for (unsigned line = 0; line < 480; line++) {
		uint64_t shown = until(f, 1, 1);
		uint64_t blank = until(f, 1, 0);
		assert_in_range(shown, 25421 - 300, 25421 + 300); /* 640 dots */
		if (line < 479)
			assert_in_range(blank, 6355 - 300, 6355 + 300);
		else
			assert_in_range(blank, 45 * 31777, 46 * 31777);
	}
}

static void extreme_timing_is_harmless(void **state)
{
	struct vga_rig *f = *state;
	for (unsigned value = 0; value < 256; value += 51) {
		out8(&f->rig, 0x3c2, 1 | value << 2);
		put_crtc(f, 0x11, 0);
		for (unsigned i = 0; i < 25; i++)
			put_crtc(f, i, value);
		for (unsigned i = 0; i < 1000; i++) {
			(void)in8(&f->rig, 0x3da);
			clock_advance(&f->rig.clock, 12345);
		}
		take_frame(f);
	}
}

static void pci_function(void **state)
{
	struct vga_rig *f = *state;
	assert_int_equal(config_get(f, 0, 4), 0x11111234);
	assert_int_equal(config_get(f, 8, 4), 0x03000000);
	assert_int_equal(config_get(f, PCI_BAR0, 4), FRAMEBUFFER);
	config_put(f, PCI_BAR0, 4, UINT32_MAX);
	assert_int_equal(config_get(f, PCI_BAR0, 4), ~(MEMORY_SIZE - 1));
	config_put(f, PCI_BAR0, 4, 0xc0000000);
	put_memory(f, 0xc0000010, 4, 0x12345678);
	assert_int_equal(get_memory(f, 0xc0000010, 4), 0x12345678);
	assert_int_equal(get_memory(f, FRAMEBUFFER + 0x10, 4), UINT32_MAX);
	vga_reset(f->vga);
	assert_int_equal(config_get(f, PCI_BAR0, 4), 0);
	struct error error;
	struct vga_config second = {
	    .bus = f->bus, .device = VGA_DEVICE, .clock = &f->rig.clock, .memory_size = VGA_MEMORY_MIN};
	assert_null(vga_create(&second, &error)); /* the slot is taken */
	second.rom = (const uint8_t *)"";
	second.rom_size = VGA_ROM_MAX + 1;
	second.device++;
	assert_null(vga_create(&second, &error));
	assert_int_equal(error.kind, ERROR_INPUT);
}

static void rom_needs_both_enables(void **state)
{
	struct vga_rig *f = *state;
	config_put(f, PCI_ROM_ADDRESS, 4, UINT32_MAX);
	assert_int_equal(config_get(f, PCI_ROM_ADDRESS, 4), 0xffffe001); /* 5000 bytes in 8 KiB */
	config_put(f, PCI_ROM_ADDRESS, 4, (uint32_t)ROM_BASE);
	assert_int_equal(get_memory(f, ROM_BASE, 2), 0xffff);
	config_put(f, PCI_ROM_ADDRESS, 4, (uint32_t)ROM_BASE | 1);
	assert_int_equal(get_memory(f, ROM_BASE, 2), 0xaa55);
	assert_int_equal(get_memory(f, ROM_BASE + 4998, 4), 0xffff5a00);
	put_memory(f, ROM_BASE, 2, 0);
	assert_int_equal(get_memory(f, ROM_BASE, 2), 0xaa55);
	config_put(f, PCI_COMMAND, 2, 0);
	assert_int_equal(get_memory(f, ROM_BASE, 2), 0xffff);
	config_put(f, PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
	assert_int_equal(get_memory(f, ROM_BASE, 2), 0xaa55);
	vga_reset(f->vga);
	assert_int_equal(config_get(f, PCI_ROM_ADDRESS, 4), 0);
	assert_int_equal(get_memory(f, ROM_BASE, 2), 0xffff);
}

static void dispi_tells_what_it_is(void **state)
{
	struct vga_rig *f = *state;
	assert_int_equal(get_vbe(f, 0), 0xb0c5);
	put_vbe(f, 0, 0xb0c2);
	assert_int_equal(get_vbe(f, 0), 0xb0c2);
	put_vbe(f, 0, 0x1234);
	assert_int_equal(get_vbe(f, 0), 0xb0c2);
	assert_int_equal(get_vbe(f, 10), MEMORY_SIZE >> 16);
	put_vbe(f, 4, 2);
	assert_int_equal(get_vbe(f, 1), 2560);
	assert_int_equal(get_vbe(f, 2), 1600);
	assert_int_equal(get_vbe(f, 3), 32);
	put_vbe(f, 4, 0);
	assert_int_equal(get_vbe(f, 1), 0);
	assert_int_equal(get_vbe(f, 11), 0);
	assert_int_equal(io_read(&f->rig.ports, 0x1ce, 2), 11);
	assert_int_equal(in8(&f->rig, 0x1ce), 0xff);
	out8(&f->rig, 0x1cf, 1);
}

static void dispi_modes_must_fit(void **state)
{
	struct vga_rig *f = *state;
	set_vbe_mode(f, 1024, 1024, 32, 0); /* all of the memory */
	assert_int_equal(get_vbe(f, 4), 0x41);
	assert_int_equal(get_vbe(f, 6), 1024);
	assert_int_equal(get_vbe(f, 7), 1024);
	set_vbe_mode(f, 1024, 1025, 32, 0);
	assert_int_equal(get_vbe(f, 4), 0x40);
	set_vbe_mode(f, 1024, 768, 17, 0); /* no such depth */
	assert_int_equal(get_vbe(f, 4) & 1, 0);
	set_vbe_mode(f, 0, 768, 8, 0);
	assert_int_equal(get_vbe(f, 4) & 1, 0);
	set_vbe_mode(f, 640, 480, 0, 0); /* 0 stands for 8 */
	assert_int_equal(get_vbe(f, 3), 8);
	put_vbe(f, 1, 800); /* not while it is on */
	assert_int_equal(get_vbe(f, 1), 640);
	put_vbe(f, 4, 0);
	put_vbe(f, 1, 2561);
	assert_int_equal(get_vbe(f, 1), 640);
	put_vbe(f, 6, 2000);
	assert_int_equal(get_vbe(f, 6), 640);
}

static void dispi_virtual_screen(void **state)
{
	struct vga_rig *f = *state;
	set_vbe_mode(f, 640, 480, 16, 0);
	assert_int_equal(get_vbe(f, 7), MEMORY_SIZE / 1280);
	put_vbe(f, 6, 1000);
	assert_int_equal(get_vbe(f, 6), 1000);
	assert_int_equal(get_vbe(f, 7), MEMORY_SIZE / 2000);
	put_vbe(f, 6, 639); /* narrower than the screen */
	assert_int_equal(get_vbe(f, 6), 1000);
	put_vbe(f, 6, 5000); /* too few lines left */
	assert_int_equal(get_vbe(f, 6), 1000);
	put_vbe(f, 8, 11);
	put_vbe(f, 9, 12);
	assert_int_equal(get_vbe(f, 8), 11);
	assert_int_equal(get_vbe(f, 9), 12);
	set_vbe_mode(f, 640, 480, 16, 0);
	assert_int_equal(get_vbe(f, 6), 640);
	assert_int_equal(get_vbe(f, 8), 0);
	assert_int_equal(get_vbe(f, 9), 0);
}

static void dispi_clears_unless_told(void **state)
{
	struct vga_rig *f = *state;
	put_memory(f, FRAMEBUFFER + 5, 1, 0x77);
	set_vbe_mode(f, 640, 480, 8, 0x80);
	assert_int_equal(get_memory(f, FRAMEBUFFER + 5, 1), 0x77);
	put_vbe(f, 4, 0x41); /* already on */
	assert_int_equal(get_memory(f, FRAMEBUFFER + 5, 1), 0x77);
	set_vbe_mode(f, 640, 480, 8, 0);
	assert_int_equal(get_memory(f, FRAMEBUFFER + 5, 1), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    VGA_TEST(registers_keep_their_bits),
	    VGA_TEST(crtc_protects_its_timing),
	    VGA_TEST(crtc_is_at_one_place),
	    VGA_TEST(attribute_flip_flop),
	    VGA_TEST(dac_takes_three_bytes),
	    VGA_TEST(retrace_follows_the_clock),
	    VGA_TEST(display_enable_follows_the_line),
	    VGA_TEST(extreme_timing_is_harmless),
	    VGA_TEST(pci_function),
	    VGA_TEST(rom_needs_both_enables),
	    VGA_TEST(dispi_tells_what_it_is),
	    VGA_TEST(dispi_modes_must_fit),
	    VGA_TEST(dispi_virtual_screen),
	    VGA_TEST(dispi_clears_unless_told),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
