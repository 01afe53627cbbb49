/* SPDX-License-Identifier: MIT */
/*
 * The VGA's ports.
 *
 * Sequencer, graphics controller and CRT controller are pairs of an index and a data port. The attribute controller has
 * both at 3C0h, and a flip-flop tells which comes next; reading input status 1 sets it to the index. The DAC takes
 * three bytes for each colour and commits them with the third.
 */
#include <string.h>

#include "devices/vga-impl.h"

#define PORT_BASE 0x3c0u
#define PORT_COUNT 16u
#define PORT_CRTC_MONO 0x3b4u
#define PORT_CRTC_COLOUR 0x3d4u
#define PORT_STATUS_MONO 0x3bau
#define PORT_STATUS_COLOUR 0x3dau
#define DAC_STATE_READ 3u

/* Offsets from 3C0h. */
enum vga_port {
	PORT_ATTRIBUTE = 0x0,
	PORT_ATTRIBUTE_DATA = 0x1,
	PORT_MISC_WRITE = 0x2, /* reads as input status 0 */
	PORT_SUBSYSTEM = 0x3,
	PORT_SEQUENCER = 0x4,
	PORT_SEQUENCER_DATA = 0x5,
	PORT_DAC_MASK = 0x6,
	PORT_DAC_READ = 0x7, /* reads as the DAC's state */
	PORT_DAC_WRITE = 0x8,
	PORT_DAC_DATA = 0x9,
	PORT_FEATURE_READ = 0xa,
	PORT_MISC_READ = 0xc,
	PORT_GRAPHICS = 0xe,
	PORT_GRAPHICS_DATA = 0xf,
};

/* The bits that exist. */
static const uint8_t sequencer_bits[SEQ_COUNT] = {0x03, 0x3d, 0x0f, 0x3f, 0x0e};
static const uint8_t graphics_bits[GFX_COUNT] = {0x0f, 0x0f, 0x0f, 0x1f, 0x03, 0x7b, 0x0f, 0x0f, 0xff};
static const uint8_t attribute_bits[ATT_COUNT] = {0x3f, 0x3f, 0x3f, 0x3f, 0x3f, 0x3f, 0x3f, 0x3f, 0x3f, 0x3f, 0x3f,
						  0x3f, 0x3f, 0x3f, 0x3f, 0x3f, 0xef, 0xff, 0x3f, 0x0f, 0x0f};

/* A set of indexed registers; those that do not exist read zero. */
struct register_set {
	uint8_t *value;
	const uint8_t *bits;
	uint8_t count;
};

static uint8_t set_read(const struct register_set *set, uint8_t index)
{
	return index < set->count ? set->value[index] : 0;
}

static void set_write(const struct register_set *set, uint8_t index, uint8_t value)
{
	if (index < set->count)
		set->value[index] = value & set->bits[index];
}

static struct register_set sequencer_set(struct vga *vga)
{
	return (struct register_set){vga->sequencer, sequencer_bits, SEQ_COUNT};
}

static struct register_set graphics_set(struct vga *vga)
{
	return (struct register_set){vga->graphics, graphics_bits, GFX_COUNT};
}

static struct register_set attribute_set(struct vga *vga)
{
	return (struct register_set){vga->attribute, attribute_bits, ATT_COUNT};
}

/* ---- attribute controller ---- */

static void attribute_write(struct vga *vga, uint8_t value)
{
	if (vga->attribute_data) {
		const struct register_set set = attribute_set(vga);
		set_write(&set, vga->attribute_index & ATT_INDEX, value);
	} else {
		vga->attribute_index = value & (ATT_INDEX | ATT_INDEX_SCREEN_ON);
	}
	vga->attribute_data = !vga->attribute_data;
}

/* ---- DAC ---- */

static uint8_t dac_width_bits(const struct vga *vga)
{
	return (vga->vbe[VBE_ENABLE] & VBE_8_BIT_DAC) ? 0xff : 0x3f;
}

static void dac_set_index(struct vga_dac *dac, uint8_t index, bool reading)
{
	dac->index = index;
	dac->component = 0;
	dac->reading = reading;
}

/* The three components of a colour, then the next colour. Returns whether this was the third. */
static bool dac_step(struct vga_dac *dac)
{
	dac->component = (uint8_t)((dac->component + 1) % 3);
	return dac->component == 0;
}

static uint8_t dac_read(struct vga_dac *dac)
{
	uint8_t value = dac->colour[dac->index][dac->component];
	if (dac_step(dac))
		dac->index++;
	return value;
}

static void dac_write(struct vga *vga, uint8_t value)
{
	struct vga_dac *dac = &vga->dac;
	dac->pending[dac->component] = value & dac_width_bits(vga);
	if (!dac_step(dac))
		return;
	memcpy(dac->colour[dac->index], dac->pending, 3);
	dac->index++;
}

/* ---- 3C0h-3CFh ---- */

static uint8_t port_read(struct vga *vga, enum vga_port port)
{
	const struct register_set attribute = attribute_set(vga), sequencer = sequencer_set(vga),
				  graphics = graphics_set(vga);
	switch (port) {
	case PORT_ATTRIBUTE:
		return vga->attribute_index;
	case PORT_ATTRIBUTE_DATA:
		return set_read(&attribute, vga->attribute_index & ATT_INDEX);
	case PORT_MISC_WRITE:
		return 0; /* no retrace interrupt, sense switches open */
	case PORT_SUBSYSTEM:
		return vga->subsystem;
	case PORT_SEQUENCER:
		return vga->sequencer_index;
	case PORT_SEQUENCER_DATA:
		return set_read(&sequencer, vga->sequencer_index);
	case PORT_DAC_MASK:
		return vga->dac.mask;
	case PORT_DAC_READ:
		return vga->dac.reading ? DAC_STATE_READ : 0;
	case PORT_DAC_WRITE:
		return vga->dac.index;
	case PORT_DAC_DATA:
		return dac_read(&vga->dac);
	case PORT_FEATURE_READ:
		return vga->feature;
	case PORT_MISC_READ:
		return vga->misc;
	case PORT_GRAPHICS:
		return vga->graphics_index;
	case PORT_GRAPHICS_DATA:
		return set_read(&graphics, vga->graphics_index);
	default:
		return 0xff;
	}
}

static void port_write(struct vga *vga, enum vga_port port, uint8_t value)
{
	const struct register_set sequencer = sequencer_set(vga), graphics = graphics_set(vga);
	switch (port) {
	case PORT_ATTRIBUTE:
		attribute_write(vga, value);
		break;
	case PORT_MISC_WRITE:
		vga->misc = value & 0xef;
		break;
	case PORT_SUBSYSTEM:
		vga->subsystem = value & 1;
		break;
	case PORT_SEQUENCER:
		vga->sequencer_index = value & 0x07;
		break;
	case PORT_SEQUENCER_DATA:
		set_write(&sequencer, vga->sequencer_index, value);
		break;
	case PORT_DAC_MASK:
		vga->dac.mask = value;
		break;
	case PORT_DAC_READ:
		dac_set_index(&vga->dac, value, true);
		break;
	case PORT_DAC_WRITE:
		dac_set_index(&vga->dac, value, false);
		break;
	case PORT_DAC_DATA:
		dac_write(vga, value);
		break;
	case PORT_GRAPHICS:
		vga->graphics_index = value & 0x0f;
		break;
	case PORT_GRAPHICS_DATA:
		set_write(&graphics, vga->graphics_index, value);
		break;
	default:
		break;
	}
}

static uint64_t vga_port_read(void *opaque, uint64_t offset, unsigned size)
{
	(void)size;
	return port_read(opaque, (enum vga_port)offset);
}

static void vga_port_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
	struct vga *vga = opaque;
	(void)size;
	port_write(vga, (enum vga_port)offset, (uint8_t)value);
	vga->changes++;
}

static const struct io_ops port_ops = {.read = vga_port_read, .write = vga_port_write, .max_size = 1};

/* ---- CRT controller ---- */

static bool side_selected(const struct vga_side *side)
{
	return side->colour == ((side->vga->misc & MISC_COLOUR) != 0);
}

/* Registers 0-7 can be protected, all but the line compare's bit 8. */
static void crtc_write(struct vga *vga, uint8_t index, uint8_t value)
{
	if (index >= CRTC_COUNT)
		return;
	uint8_t bits = 0xff;
	if (index <= CRTC_OVERFLOW && (vga->crtc[CRTC_V_RETRACE_END] & CRTC_PROTECT))
		bits = index == CRTC_OVERFLOW ? CRTC_OVERFLOW_LINE_COMPARE : 0;
	vga->crtc[index] = (uint8_t)((vga->crtc[index] & ~bits) | (value & bits));
	vga->changes++;
}

static uint64_t crtc_port_read(void *opaque, uint64_t offset, unsigned size)
{
	const struct vga_side *side = opaque;
	const struct vga *vga = side->vga;
	(void)size;
	if (!side_selected(side))
		return UINT64_MAX;
	if (offset == 0)
		return vga->crtc_index;
	return vga->crtc_index < CRTC_COUNT ? vga->crtc[vga->crtc_index] : 0;
}

static void crtc_port_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
	const struct vga_side *side = opaque;
	(void)size;
	if (!side_selected(side))
		return;
	if (offset == 0)
		side->vga->crtc_index = value & 0x3f;
	else
		crtc_write(side->vga, side->vga->crtc_index, (uint8_t)value);
}

static const struct io_ops crtc_ops = {.read = crtc_port_read, .write = crtc_port_write, .max_size = 1};

/* ---- input status 1 and feature control ---- */

static uint64_t status_port_read(void *opaque, uint64_t offset, unsigned size)
{
	const struct vga_side *side = opaque;
	(void)offset;
	(void)size;
	if (!side_selected(side))
		return UINT64_MAX;
	side->vga->attribute_data = false;
	return vga_input_status(side->vga);
}

static void status_port_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
	const struct vga_side *side = opaque;
	(void)offset;
	(void)size;
	if (side_selected(side))
		side->vga->feature = value & 0x0b;
}

static const struct io_ops status_ops = {.read = status_port_read, .write = status_port_write, .max_size = 1};

/* ---- life ---- */

void vga_registers_reset(struct vga *vga)
{
	vga->misc = vga->feature = vga->subsystem = 0;
	vga->sequencer_index = vga->graphics_index = vga->crtc_index = vga->attribute_index = 0;
	memset(vga->sequencer, 0, sizeof vga->sequencer);
	memset(vga->graphics, 0, sizeof vga->graphics);
	memset(vga->crtc, 0, sizeof vga->crtc);
	memset(vga->attribute, 0, sizeof vga->attribute);
	vga->attribute_data = false;
	memset(&vga->dac, 0, sizeof vga->dac);
	vga->dac.mask = 0xff;
}

bool vga_registers_map(struct vga *vga, struct io_map *ports, struct error *error)
{
	struct vga_side *mono = &vga->side[0], *colour = &vga->side[1];
	return io_map_add(ports, PORT_BASE, PORT_COUNT, &port_ops, vga, "vga", error) &&
	       io_map_add(ports, PORT_CRTC_MONO, 2, &crtc_ops, mono, "vga-crtc-mono", error) &&
	       io_map_add(ports, PORT_STATUS_MONO, 1, &status_ops, mono, "vga-status-mono", error) &&
	       io_map_add(ports, PORT_CRTC_COLOUR, 2, &crtc_ops, colour, "vga-crtc", error) &&
	       io_map_add(ports, PORT_STATUS_COLOUR, 1, &status_ops, colour, "vga-status", error);
}
