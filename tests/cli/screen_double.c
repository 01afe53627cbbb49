/* SPDX-License-Identifier: MIT */
#include "screen_double.h"

#include <stdio.h>
#include <string.h>

#define WIDTH 320
#define HEIGHT 200
#define F5 0x03u

static uint64_t source_changes(void *opaque)
{
	const struct screen_double *screen = opaque;
	return screen->changes;
}

static struct display_size source_size(void *opaque)
{
	const struct screen_double *screen = opaque;
	if (screen->graphics)
		return (struct display_size){WIDTH, HEIGHT};
	return (struct display_size){screen->columns * 9, screen->rows * 16};
}

static void put_line(struct display_text *text, unsigned row, const char *line, size_t length)
{
	for (unsigned i = 0; i < text->columns; i++)
		text->cell[row][i] =
		    (struct display_cell){(uint8_t)(i < length ? line[i] : ' '), (uint8_t)(0x07 + row * 0x11)};
}

static bool source_text(void *opaque, struct display_text *text)
{
	static const uint32_t colours[DISPLAY_COLOURS] = {0x000000, 0x0000aa, 0x00aa00, 0x00aaaa, 0xaa0000, 0xaa00aa,
							  0xaa5500, 0xaaaaaa, 0x555555, 0x5555ff, 0x55ff55, 0x55ffff,
							  0xff5555, 0xff55ff, 0xffff55, 0xffffff};
	const struct screen_double *screen = opaque;
	if (screen->graphics || screen->columns == 0)
		return false;
	*text = (struct display_text){.columns = screen->columns,
				      .rows = screen->rows,
				      .blink = true,
				      .cursor = true,
				      .cursor_column = screen->columns == 80 ? 3 : 100,
				      .cursor_row = screen->columns == 80 ? 1 : 50,
				      .cursor_first = 13,
				      .cursor_last = 14,
				      .cell_height = 16};
	memcpy(text->colour, colours, sizeof colours);
	const char *line = screen->text;
	for (unsigned row = 0; row + 1 < text->rows; row++) {
		size_t length = strcspn(line, "\n");
		put_line(text, row, line, length);
		line += length + (line[length] != '\0');
	}
	put_line(text, text->rows - 1, screen->typed, strlen(screen->typed));
	return true;
}

static void source_render(void *opaque, uint32_t *pixels, struct display_size size)
{
	const struct screen_double *screen = opaque;
	for (unsigned y = 0; y < size.height; y++)
		for (unsigned x = 0; x < size.width; x++)
			pixels[y * size.width + x] =
			    screen->graphics ? (x * 255 / size.width) << 16 | (y * 255 / size.height) << 8 : 0x0000aa;
}

static const struct display_source source = {
    .changes = source_changes, .size = source_size, .text = source_text, .render = source_render};

/* The last row holds as many bytes as fit into 80 columns. */
static void note_byte(struct screen_double *screen, uint8_t byte)
{
	size_t used = strlen(screen->typed);
	if (used + 3 >= 80) {
		memmove(screen->typed, screen->typed + 3, used - 2);
		used -= 3;
	}
	(void)snprintf(screen->typed + used, sizeof screen->typed - used, "%02x ", byte);
	screen->changes++;
}

bool screen_double_read_key(struct screen_double *screen, uint8_t *byte)
{
	struct ps2_device device = ps2keyboard_device(screen->keyboard);
	bool released = screen->typed[0] != '\0' && strcmp(screen->typed + strlen(screen->typed) - 3, "f0 ") == 0;
	if (!device.transmit(device.opaque, byte))
		return false;
	if (*byte == F5 && !released)
		screen->graphics = !screen->graphics;
	note_byte(screen, *byte);
	return true;
}

bool screen_double_init(struct screen_double *screen, const char *script, const char *text, struct error *error)
{
	struct ps2_port port = {0};
	uint8_t passed;
	clock_init(&screen->clock, CLOCK_MANUAL);
	screen->keyboard = ps2keyboard_create(&screen->clock, &port, error);
	if (screen->keyboard == NULL)
		return false;
	clock_advance(&screen->clock, CLOCK_SECOND);
	(void)screen_double_read_key(screen, &passed); /* that of the self test */
	screen->typed[0] = '\0';
	screen->changes = 1;
	screen->graphics = strcmp(script, "graphics") == 0;
	if (strcmp(script, "off") != 0) {
		screen->columns = strcmp(script, "wide") == 0 ? 132 : 80;
		screen->rows = strcmp(script, "wide") == 0 ? 60 : 25;
	}
	(void)snprintf(screen->text, sizeof screen->text, "%s", text);
	display_init(&screen->display);
	display_attach(&screen->display, &source, screen);
	return true;
}

void screen_double_free(struct screen_double *screen)
{
	ps2keyboard_destroy(screen->keyboard);
}
