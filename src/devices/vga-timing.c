/* SPDX-License-Identifier: MIT */
/*
 * Where the beam is. A frame is `lines` times `columns` character clocks; the position is the virtual time modulo the
 * frame's duration, so nothing runs in the background. DISPI modes have no timing of their own: 60 frames a second.
 */
#include "devices/vga-impl.h"

#define STATUS_DISPLAY_OFF 0x01u
#define STATUS_V_RETRACE 0x08u
#define VBE_FRAMES 60u

static struct vga_timing vbe_timing(const struct vga *vga)
{
	unsigned columns = (vga->vbe[VBE_XRES] + 7u) / 8, lines = vga->vbe[VBE_YRES];
	return (struct vga_timing){.columns = columns + columns / 4 + 1,
				   .display_columns = columns,
				   .lines = lines + lines / 20 + 2,
				   .display_lines = lines,
				   .retrace_start = lines + 1,
				   .retrace_lines = lines / 40 + 1,
				   .frame_ns = CLOCK_SECOND / VBE_FRAMES};
}

/* The end is given by its low four bits alone. */
static unsigned retrace_lines(const struct vga *vga, unsigned start)
{
	unsigned lines = (vga->crtc[CRTC_V_RETRACE_END] - start) & 0x0f;
	return lines != 0 ? lines : 16;
}

struct vga_timing vga_timing(const struct vga *vga)
{
	static const uint32_t dot_clocks[4] = {25175000, 28322000, 25175000, 25175000};
	if (vga_vbe_on(vga))
		return vbe_timing(vga);
	unsigned by_2 = (vga->crtc[CRTC_MODE] & CRTC_MODE_LINES_BY_2) ? 1 : 0;
	unsigned start = vga_vertical(vga, CRTC_V_RETRACE_START, 2, 7);
	struct vga_timing timing = {
	    .columns = vga->crtc[CRTC_H_TOTAL] + 5u,
	    .display_columns = vga->crtc[CRTC_H_DISPLAY_END] + 1u,
	    .lines = (vga_vertical(vga, CRTC_V_TOTAL, 0, 5) + 2) << by_2,
	    .display_lines = (vga_vertical(vga, CRTC_V_DISPLAY_END, 1, 6) + 1) << by_2,
	    .retrace_start = start << by_2,
	    .retrace_lines = retrace_lines(vga, start) << by_2,
	};
	unsigned half = (vga->sequencer[SEQ_CLOCKING] & SEQ_CLOCKING_HALF) ? 1 : 0;
	uint64_t dots = (uint64_t)timing.columns * timing.lines * vga_char_dots(vga) << half;
	timing.frame_ns = dots * CLOCK_SECOND / dot_clocks[vga->misc >> MISC_CLOCK_SHIFT & 3];
	return timing;
}

uint8_t vga_input_status(const struct vga *vga)
{
	const struct vga_timing timing = vga_timing(vga);
	uint64_t time = clock_now(vga->config.clock) % timing.frame_ns;
	uint64_t position = clock_scale(time, (uint64_t)timing.lines * timing.columns, timing.frame_ns);
	unsigned line = (unsigned)(position / timing.columns), column = (unsigned)(position % timing.columns);
	uint8_t status = 0;
	if (line >= timing.display_lines || column >= timing.display_columns)
		status |= STATUS_DISPLAY_OFF;
	if (line >= timing.retrace_start && line - timing.retrace_start < timing.retrace_lines)
		status |= STATUS_DISPLAY_OFF | STATUS_V_RETRACE;
	return status;
}

uint64_t vga_frame_number(const struct vga *vga)
{
	return clock_now(vga->config.clock) / vga_timing(vga).frame_ns;
}
