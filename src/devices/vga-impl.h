/* SPDX-License-Identifier: MIT */
/* What the files of the VGA share. Register bits carry the names of the IBM reference. */
#ifndef NFOLD_DEVICES_VGA_IMPL_H
#define NFOLD_DEVICES_VGA_IMPL_H

#include "base/bits.h"
#include "devices/vga.h"

#define VGA_PLANES 4u
#define VGA_PLANE_MASK 0xffffu /* a plane has 64 KiB */
#define VGA_WINDOW_BASE 0xa0000u
#define VGA_WINDOW_SIZE 0x20000u
#define VGA_COLUMNS_MAX 256u
#define VGA_DOTS_MAX ((VGA_COLUMNS_MAX + 1) * 9) /* of a line, with one character more for panning */
#define VGA_CRTC_CLASSIC 0x19u

#define MISC_COLOUR 0x01u /* 3Dxh, not 3Bxh */
#define MISC_RAM 0x02u
#define MISC_CLOCK_SHIFT 2

enum vga_sequencer {
	SEQ_RESET,
	SEQ_CLOCKING,
	SEQ_MAP_MASK,
	SEQ_FONT,
	SEQ_MEMORY,
	SEQ_COUNT,
};
#define SEQ_CLOCKING_8_DOTS 0x01u
#define SEQ_CLOCKING_HALF 0x08u
#define SEQ_CLOCKING_OFF 0x20u
#define SEQ_MEMORY_SEQUENTIAL 0x04u /* not odd/even */
#define SEQ_MEMORY_CHAIN4 0x08u

enum vga_graphics {
	GFX_SET_RESET,
	GFX_ENABLE_SET_RESET,
	GFX_COMPARE,
	GFX_ROTATE,
	GFX_READ_MAP,
	GFX_MODE,
	GFX_MISC,
	GFX_DO_NOT_CARE,
	GFX_BIT_MASK,
	GFX_COUNT,
};
#define GFX_MODE_WRITE 0x03u
#define GFX_MODE_READ_COMPARE 0x08u
#define GFX_MODE_ODD_EVEN 0x10u
#define GFX_MODE_SHIFT_CGA 0x20u
#define GFX_MODE_SHIFT_256 0x40u
#define GFX_MISC_GRAPHICS 0x01u
#define GFX_MISC_MAP_SHIFT 2

enum vga_crtc {
	CRTC_H_TOTAL = 0x00,
	CRTC_H_DISPLAY_END = 0x01,
	CRTC_V_TOTAL = 0x06,
	CRTC_OVERFLOW = 0x07,
	CRTC_PRESET_ROW = 0x08,
	CRTC_MAX_ROW = 0x09,
	CRTC_CURSOR_START = 0x0a,
	CRTC_CURSOR_END = 0x0b,
	CRTC_START_HIGH = 0x0c,
	CRTC_START_LOW = 0x0d,
	CRTC_CURSOR_HIGH = 0x0e,
	CRTC_CURSOR_LOW = 0x0f,
	CRTC_V_RETRACE_START = 0x10,
	CRTC_V_RETRACE_END = 0x11,
	CRTC_V_DISPLAY_END = 0x12,
	CRTC_OFFSET = 0x13,
	CRTC_UNDERLINE = 0x14,
	CRTC_MODE = 0x17,
	CRTC_LINE_COMPARE = 0x18,
	CRTC_COUNT = VGA_CRTC_CLASSIC,
};
#define CRTC_OVERFLOW_LINE_COMPARE 0x10u
#define CRTC_MAX_ROW_DOUBLE 0x80u
#define CRTC_CURSOR_OFF 0x20u
#define CRTC_PROTECT 0x80u
#define CRTC_UNDERLINE_COUNT_BY_4 0x20u
#define CRTC_UNDERLINE_DWORD 0x40u
#define CRTC_MODE_NOT_CGA 0x01u	     /* address bit 13 is not the row's bit 0 */
#define CRTC_MODE_NOT_HERCULES 0x02u /* address bit 14 is not the row's bit 1 */
#define CRTC_MODE_LINES_BY_2 0x04u
#define CRTC_MODE_COUNT_BY_2 0x08u
#define CRTC_MODE_WRAP_64K 0x20u
#define CRTC_MODE_BYTE 0x40u

enum vga_attribute {
	ATT_MODE = 0x10,
	ATT_OVERSCAN = 0x11,
	ATT_PLANES = 0x12,
	ATT_PANNING = 0x13,
	ATT_COLOUR_SELECT = 0x14,
	ATT_COUNT = 0x15,
};
#define ATT_INDEX 0x1fu
#define ATT_INDEX_SCREEN_ON 0x20u /* the palette belongs to the screen */
#define ATT_MODE_LINE_GRAPHICS 0x04u
#define ATT_MODE_BLINK 0x08u
#define ATT_MODE_SPLIT_PANNING 0x20u
#define ATT_MODE_256 0x40u
#define ATT_MODE_P54S 0x80u

struct vga_dac {
	uint8_t colour[256][3];
	uint8_t mask;
	uint8_t index;	   /* of the next entry read or written */
	uint8_t component; /* 0-2 */
	uint8_t pending[3];
	bool reading;
};

enum vbe_register {
	VBE_ID,
	VBE_XRES,
	VBE_YRES,
	VBE_BPP,
	VBE_ENABLE,
	VBE_BANK,
	VBE_VIRTUAL_WIDTH,
	VBE_VIRTUAL_HEIGHT,
	VBE_X_OFFSET,
	VBE_Y_OFFSET,
	VBE_MEMORY_64K,
	VBE_COUNT,
};
#define VBE_ENABLED 0x01u
#define VBE_GET_CAPS 0x02u
#define VBE_8_BIT_DAC 0x20u
#define VBE_LFB 0x40u
#define VBE_NO_CLEAR 0x80u

/* The CRT controller and input status answer at 3Bxh or at 3Dxh, never at both. */
struct vga_side {
	struct vga *vga;
	bool colour;
};

struct vga {
	struct pci_function function;
	struct vga_config config;
	struct vga_side side[2];
	uint8_t *memory;
	uint32_t memory_mask;
	uint32_t latches; /* bits 8p+7:8p are plane p's */

	uint8_t misc, feature, subsystem;
	uint8_t sequencer_index, sequencer[SEQ_COUNT];
	uint8_t graphics_index, graphics[GFX_COUNT];
	uint8_t crtc_index, crtc[CRTC_COUNT];
	uint8_t attribute_index, attribute[ATT_COUNT];
	bool attribute_data; /* the flip-flop: the next write to 3C0h is data */
	struct vga_dac dac;

	uint16_t vbe_index, vbe[VBE_COUNT];

	uint64_t changes;
	uint64_t blink_phase; /* at the last look */
};

/* What the CRT controller counts, for VGA and DISPI modes alike. */
struct vga_timing {
	unsigned columns, display_columns; /* character clocks of a line */
	unsigned lines, display_lines;
	unsigned retrace_start, retrace_lines;
	uint64_t frame_ns;
};

/* The CRT controller's progress down the screen. */
struct vga_scan {
	uint32_t address; /* of the row's first character, before addressing modes */
	unsigned line;
	unsigned row; /* scan line within the character */
	bool repeated;
	bool split; /* below the line compare */
};

/* What is the same for all lines of a frame. */
struct vga_frame {
	unsigned columns, char_dots;
	uint8_t palette[16];  /* to indices of the DAC */
	uint32_t colour[256]; /* of the DAC, behind the mask */
	bool blink_visible, cursor_visible;
};

/* vga-registers.c */
bool vga_registers_map(struct vga *vga, struct io_map *ports, struct error *error);
void vga_registers_reset(struct vga *vga);

/* vga-memory.c */
extern const struct io_ops vga_window_ops, vga_framebuffer_ops;

/* vga-timing.c */
struct vga_timing vga_timing(const struct vga *vga);
uint8_t vga_input_status(const struct vga *vga);
uint64_t vga_frame_number(const struct vga *vga);

/* vga-vbe.c */
extern const struct io_ops vga_vbe_ops;
void vga_vbe_reset(struct vga *vga);
void vga_vbe_render(const struct vga *vga, uint32_t *pixels, struct display_size size);

/* vga-render.c */
extern const struct display_source vga_display_source;
void vga_frame_init(const struct vga *vga, struct vga_frame *frame);
void vga_scan_start(const struct vga *vga, struct vga_scan *scan);
void vga_scan_next(const struct vga *vga, struct vga_scan *scan);
uint32_t vga_scan_counter(const struct vga *vga, const struct vga_scan *scan, unsigned column);
uint32_t vga_scan_fetch(const struct vga *vga, const struct vga_scan *scan, unsigned column);
uint8_t vga_planar_dot(uint32_t planes, unsigned bit);

/* vga-text.c */
void vga_text_line(const struct vga *vga, const struct vga_frame *frame, const struct vga_scan *scan, unsigned columns,
		   uint8_t *dots);
bool vga_text(void *opaque, struct display_text *text);

static inline bool vga_vbe_on(const struct vga *vga)
{
	return (vga->vbe[VBE_ENABLE] & VBE_ENABLED) != 0;
}

/* A mode whose video memory is not planes. */
static inline bool vga_vbe_packed(const struct vga *vga)
{
	return vga_vbe_on(vga) && vga->vbe[VBE_BPP] >= 8;
}

static inline bool vga_is_graphics(const struct vga *vga)
{
	return vga_vbe_on(vga) || (vga->graphics[GFX_MISC] & GFX_MISC_GRAPHICS);
}

static inline bool vga_is_blank(const struct vga *vga)
{
	return (vga->sequencer[SEQ_CLOCKING] & SEQ_CLOCKING_OFF) || !(vga->attribute_index & ATT_INDEX_SCREEN_ON);
}

/* All four planes' bytes at an offset that the caller has masked for its mode; masked once more for the memory. */
static inline uint8_t *vga_planes(const struct vga *vga, uint32_t offset)
{
	return &vga->memory[(offset * VGA_PLANES) & vga->memory_mask];
}

static inline unsigned vga_char_dots(const struct vga *vga)
{
	return (vga->sequencer[SEQ_CLOCKING] & SEQ_CLOCKING_8_DOTS) ? 8 : 9;
}

/* Graphics has eight dots in any clock. */
static inline unsigned vga_shown_dots(const struct vga *vga)
{
	return vga_is_graphics(vga) ? 8 : vga_char_dots(vga);
}

/* A vertical count of ten bits: the low eight in a register, two more in the overflow register. */
static inline unsigned vga_vertical(const struct vga *vga, enum vga_crtc low, unsigned bit_8, unsigned bit_9)
{
	unsigned overflow = vga->crtc[CRTC_OVERFLOW];
	return vga->crtc[low] | (overflow >> bit_8 & 1) << 8 | (overflow >> bit_9 & 1) << 9;
}

#endif
