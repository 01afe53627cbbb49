/* SPDX-License-Identifier: MIT */
/*
 * Theory of operation. Text is small and goes into the answer. Pixels are up to 36 MiB and do not: they are rendered
 * into a memfd whose descriptor is passed with the answer. Neither encoding nor a slow reader then holds up the event
 * loop, which the guest's timers share; making a PNG of them is the client's work, in its own process. The memfd is
 * sealed, so that a client can map it without fear.
 *
 * The device lock is held only while the chip is read, not while memory is found or JSON made.
 */
#include "vm/screen.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "backend/display.h"

#define UTF8_MAX 3     /* code page 437 has no character beyond U+FFFF */
#define RENDER_TRIES 4 /* a guest may change its mode between two looks */

/* ---- text ---- */

static size_t utf8_write(char *to, uint32_t character)
{
	if (character < 0x80) {
		to[0] = (char)character;
		return 1;
	}
	if (character < 0x800) {
		to[0] = (char)(0xc0 | character >> 6);
		to[1] = (char)(0x80 | (character & 0x3f));
		return 2;
	}
	to[0] = (char)(0xe0 | (character >> 12 & 0xf));
	to[1] = (char)(0x80 | (character >> 6 & 0x3f));
	to[2] = (char)(0x80 | (character & 0x3f));
	return 3;
}

static json_t *row_characters(const struct display_cell *cell, unsigned columns)
{
	char text[DISPLAY_COLUMNS_MAX * UTF8_MAX];
	size_t used = 0;
	for (unsigned i = 0; i < columns; i++)
		used += utf8_write(text + used, display_unicode(cell[i].character));
	return json_stringn_nocheck(text, used);
}

/* Two hexadecimal digits for each cell. */
static json_t *row_attributes(const struct display_cell *cell, unsigned columns)
{
	static const char digits[] = "0123456789abcdef";
	char text[DISPLAY_COLUMNS_MAX * 2];
	for (unsigned i = 0; i < columns; i++) {
		text[2 * i] = digits[cell[i].attribute >> 4];
		text[2 * i + 1] = digits[cell[i].attribute & 0xf];
	}
	return json_stringn_nocheck(text, (size_t)columns * 2);
}

static json_t *colours_json(const struct display_text *text)
{
	json_t *list = json_array();
	for (unsigned i = 0; i < DISPLAY_COLOURS; i++)
		(void)json_array_append_new(list, json_integer((json_int_t)text->colour[i]));
	return list;
}

static json_t *cursor_json(const struct display_text *text)
{
	if (!text->cursor)
		return json_null();
	return json_pack("{s:i, s:i, s:i, s:i}", "column", (int)text->cursor_column, "row", (int)text->cursor_row,
			 "first_line", (int)text->cursor_first, "last_line", (int)text->cursor_last);
}

static void add_text(json_t *result, const struct display_text *text)
{
	json_t *characters = json_array(), *attributes = json_array();
	for (unsigned row = 0; row < text->rows; row++) {
		(void)json_array_append_new(characters, row_characters(text->cell[row], text->columns));
		(void)json_array_append_new(attributes, row_attributes(text->cell[row], text->columns));
	}
	(void)json_object_set_new(result, "columns", json_integer(text->columns));
	(void)json_object_set_new(result, "rows", json_integer(text->rows));
	(void)json_object_set_new(result, "text", characters);
	(void)json_object_set_new(result, "attributes", attributes);
	(void)json_object_set_new(result, "blink", json_boolean(text->blink));
	(void)json_object_set_new(result, "cell_height", json_integer(text->cell_height));
	(void)json_object_set_new(result, "cursor", cursor_json(text));
	(void)json_object_set_new(result, "colours", colours_json(text));
}

static const char *mode_name(bool is_text, struct display_size size)
{
	if (is_text)
		return "text";
	return size.width == 0 || size.height == 0 ? "off" : "graphics";
}

json_t *screen_text(struct method_context *context, json_t *params, struct method_error *error)
{
	json_t *since = json_object_get(params, "since");
	if (since != NULL && !json_is_integer(since))
		return method_fail(error, RPC_INVALID_PARAMS, "since must be a number that 'changes' had");
	struct display_text *text = calloc(1, sizeof *text);
	if (text == NULL)
		return NULL;
	machine_lock(context->machine);
	const struct display *display = machine_display(context->machine);
	json_int_t changes = (json_int_t)(display_changes(display) & INT64_MAX);
	bool same = since != NULL && json_integer_value(since) == changes;
	bool is_text = !same && display_text(display, text);
	struct display_size size = display_size(display);
	machine_unlock(context->machine);
	json_t *result = json_pack("{s:I}", "changes", changes);
	if (!same) {
		(void)json_object_set_new(result, "mode", json_string(mode_name(is_text, size)));
		(void)json_object_set_new(result, "width", json_integer(size.width));
		(void)json_object_set_new(result, "height", json_integer(size.height));
	}
	if (is_text)
		add_text(result, text);
	free(text);
	return result;
}

/* ---- pixels ---- */

static struct display_size current_size(struct machine *machine)
{
	machine_lock(machine);
	struct display_size size = display_size(machine_display(machine));
	machine_unlock(machine);
	return size;
}

/* Renders into the descriptor's memory. False: the guest changed its mode, or memory is short (*memory is false). */
static bool render_to(struct machine *machine, int fd, struct display_size size, bool *memory)
{
	size_t bytes = (size_t)size.width * size.height * sizeof(uint32_t);
	*memory = false;
	if (ftruncate(fd, (off_t)bytes) != 0)
		return false;
	/* Populated, so that no page fault is taken with the device lock held. */
	uint32_t *pixels = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, 0);
	if (pixels == MAP_FAILED)
		return false;
	*memory = true;
	machine_lock(machine);
	bool good = display_render(machine_display(machine), pixels, size);
	machine_unlock(machine);
	(void)munmap(pixels, bytes);
	return good;
}

static json_t *no_memory(struct method_error *error)
{
	return method_fail(error, RPC_INTERNAL_ERROR, "the host has no memory for a picture");
}

/* Takes over fd. */
static json_t *pixels_answer(struct method_context *context, int fd, struct display_size size)
{
	(void)fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL);
	json_t *result = json_pack("{s:i, s:i, s:i, s:s}", "width", (int)size.width, "height", (int)size.height,
				   "stride", (int)(size.width * sizeof(uint32_t)), "format", "xrgb8888");
	if (result == NULL)
		close(fd);
	else
		context->answer_fd = fd;
	return result;
}

json_t *screen_pixels(struct method_context *context, json_t *params, struct method_error *error)
{
	(void)params;
	if (context->answer_fd >= 0 || context->answers_unread)
		return method_fail(error, RPC_WRONG_STATE,
				   "a picture is sent to who has read all answers before it: read those first");
	/* syscall base: memfd_create, ftruncate, fcntl[1=F_ADD_SEALS] -- pictures of the screen */
	int fd = memfd_create("nfold-screen", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (fd < 0)
		return no_memory(error);
	for (unsigned i = 0; i < RENDER_TRIES; i++) {
		struct display_size size = current_size(context->machine);
		bool memory;
		if (size.width == 0 || size.height == 0) {
			close(fd);
			return method_fail(error, RPC_WRONG_STATE, "its screen is off");
		}
		if (render_to(context->machine, fd, size, &memory))
			return pixels_answer(context, fd, size);
		if (!memory) {
			close(fd);
			return no_memory(error);
		}
	}
	close(fd);
	return method_fail(error, RPC_WRONG_STATE, "it changes its screen's mode all the time: ask again");
}
