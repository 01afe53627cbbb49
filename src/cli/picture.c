/* SPDX-License-Identifier: MIT */
#include "cli/picture.h"

#include <errno.h>
#include <png.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/guest.h"

/* More than any screen has; what the guest's process says is checked before it is believed. */
#define SIDE_MAX 16384

struct picture {
	unsigned width, height;
	size_t bytes; /* of the mapping */
	uint32_t *pixels;
};

static bool picture_bad(const char *name, struct error *error)
{
	return error_set(error, ERROR_HOST, "guest '%s' gave a picture that is none", name);
}

static bool picture_map(struct picture *picture, const char *name, const json_t *result, int fd, struct error *error)
{
	struct stat status;
	json_int_t width = json_integer_value(json_object_get(result, "width"));
	json_int_t height = json_integer_value(json_object_get(result, "height"));
	const char *format = json_string_value(json_object_get(result, "format"));
	if (fd < 0 || width < 1 || height < 1 || width > SIDE_MAX || height > SIDE_MAX || format == NULL ||
	    strcmp(format, "xrgb8888") != 0 ||
	    json_integer_value(json_object_get(result, "stride")) != width * (json_int_t)sizeof(uint32_t))
		return picture_bad(name, error);
	picture->width = (unsigned)width;
	picture->height = (unsigned)height;
	picture->bytes = (size_t)width * (size_t)height * sizeof(uint32_t);
	if (fstat(fd, &status) != 0 || (uint64_t)status.st_size != picture->bytes)
		return picture_bad(name, error);
	void *pixels = mmap(NULL, picture->bytes, PROT_READ, MAP_PRIVATE, fd, 0);
	if (pixels == MAP_FAILED)
		return error_set_errno(error, "cannot map the picture of guest '%s'", name);
	picture->pixels = pixels;
	return true;
}

static bool picture_fetch(struct picture *picture, const char *name, struct error *error)
{
	int fd;
	json_t *result = guest_call_fd(name, "screen.pixels", NULL, &fd, error);
	if (result == NULL)
		return false;
	bool good = picture_map(picture, name, result, fd, error);
	json_decref(result);
	if (fd >= 0)
		close(fd);
	return good;
}

/* Three bytes for each pixel, as PNG wants them. */
static uint8_t *picture_bytes(const struct picture *picture)
{
	size_t count = (size_t)picture->width * picture->height;
	uint8_t *bytes = malloc(count * 3);
	for (size_t i = 0; bytes != NULL && i < count; i++) {
		bytes[3 * i] = (uint8_t)(picture->pixels[i] >> 16);
		bytes[3 * i + 1] = (uint8_t)(picture->pixels[i] >> 8);
		bytes[3 * i + 2] = (uint8_t)picture->pixels[i];
	}
	return bytes;
}

static bool write_png(const struct picture *picture, FILE *file, const char *path, struct error *error)
{
	png_image image = {
	    .version = PNG_IMAGE_VERSION,
	    .width = picture->width,
	    .height = picture->height,
	    .format = PNG_FORMAT_RGB,
	};
	uint8_t *bytes = picture_bytes(picture);
	if (bytes == NULL)
		return error_set(error, ERROR_HOST, "out of memory");
	bool good = png_image_write_to_stdio(&image, file, 0, bytes, 0, NULL) != 0;
	free(bytes);
	if (!good)
		return error_set(error, ERROR_HOST, "cannot write the picture to %s: %s", path, image.message);
	return fflush(file) == 0 || error_set_errno(error, "cannot write the picture to %s", path);
}

/* Only a file that is the picture's own goes again: not a device or a pipe. */
static void remove_file(FILE *file, const char *path)
{
	struct stat status;
	if (fstat(fileno(file), &status) == 0 && S_ISREG(status.st_mode))
		(void)unlink(path);
}

static bool save_to_file(const struct picture *picture, const char *path, struct error *error)
{
	FILE *file = fopen(path, "we");
	if (file == NULL)
		return error_set(error, ERROR_INPUT, "cannot create %s: %s", path, strerror(errno));
	bool good = write_png(picture, file, path, error);
	if (!good)
		remove_file(file, path);
	if (fclose(file) != 0 && good)
		good = error_set_errno(error, "cannot write the picture to %s", path);
	return good;
}

static bool save_to_stdout(const struct picture *picture, struct error *error)
{
	if (isatty(STDOUT_FILENO))
		return error_set(error, ERROR_INPUT, "a PNG is nothing for a terminal: give --png a file's name");
	return write_png(picture, stdout, "standard output", error);
}

bool picture_save(const char *name, const char *path, struct error *error)
{
	struct picture picture = {0};
	if (!picture_fetch(&picture, name, error))
		return false;
	bool good = strcmp(path, "-") == 0 ? save_to_stdout(&picture, error) : save_to_file(&picture, path, error);
	(void)munmap(picture.pixels, picture.bytes);
	return good;
}
