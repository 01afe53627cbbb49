/* SPDX-License-Identifier: MIT */
/*
 * Estate files with any bytes changed and checksums that fit again, so that what is behind them is reached: refused, or
 * read within bounds. And mapping files of any bytes.
 */
#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

#include "plan/estate-format.h"
#include "plan/estate-write.h"
#include "plan/mapping.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char path[] = "fuzz-estate-XXXXXX";

static size_t make(uint8_t *bytes, size_t room)
{
	static const float value[4] = {1, NAN, 3, 4};
	struct error error = {0};
	struct estate_writer *writer = estate_writer_create(path, &error);
	assert(writer != NULL);
	for (unsigned i = 0; i < 2; i++) {
		const struct estate_server server = {
		    .name = i == 0 ? "a" : "b", .cpus = 1, .mhz = 1000, .grid = {1700000000, 4, 60}};
		const float *const column[ESTATE_SERIES_COUNT] = {[ESTATE_CPU] = value, [ESTATE_NET_SEND] = value};
		assert(estate_writer_add(writer, &server, column, &error));
	}
	assert(estate_writer_finish(writer, "{}", &error));
	FILE *file = fopen(path, "rb");
	assert(file != NULL);
	size_t size = fread(bytes, 1, room, file);
	(void)fclose(file);
	return size;
}

/* The checksums of what the bytes now say, as far as that lies in the file. */
static void seal(uint8_t *bytes, size_t size)
{
	struct estate_file_header header;
	memcpy(&header, bytes, sizeof header);
	if (header.table_offset < size)
		header.tables_crc =
		    (uint32_t)crc32(0, bytes + header.table_offset, (unsigned)(size - header.table_offset));
	header.header_crc = (uint32_t)crc32(0, (const void *)&header, offsetof(struct estate_file_header, header_crc));
	memcpy(bytes, &header, sizeof header);
}

static void read_all(void)
{
	struct error error = {0};
	struct estate *estate = estate_open(path, &error);
	if (estate == NULL) {
		assert(error.text[0] != 0 && strchr(error.text, '\n') == NULL);
		return;
	}
	(void)strlen(estate_report(estate));
	(void)estate_common_grid(estate, 300);
	for (size_t i = 0; i < estate_count(estate); i++)
		for (unsigned s = 0; s < ESTATE_RESOURCE_COUNT; s++) {
			const struct estate_grid grid = {1700000000, 8, 30};
			float value[8];
			(void)estate_read_resource(estate, i, (enum estate_resource)s, &grid, ESTATE_MEAN, value,
						   &error);
			(void)strlen(estate_server(estate, i)->name);
		}
	estate_close(estate);
}

static void change_file(const uint8_t *data, size_t size)
{
	uint8_t bytes[4096];
	memcpy(path + sizeof path - 7, "XXXXXX", 6);
	int fd = mkstemp(path);
	assert(fd >= 0);
	size_t length = make(bytes, sizeof bytes);
	struct estate_file_header header;
	memcpy(&header, bytes, sizeof header);
	for (size_t i = 0; i + 3 < size && i < 64; i += 4) {
		unsigned offset = data[i] | (unsigned)data[i + 1] << 8;
		/* Half of the changes hit the header's offsets, the others the records. */
		size_t at = data[i + 3] & 1 ? offset % sizeof header
					    : header.table_offset + offset % (length - header.table_offset);
		bytes[at] = data[i + 2];
	}
	seal(bytes, length);
	FILE *file = fopen(path, "wb");
	assert(file != NULL && fwrite(bytes, 1, length, file) == length && fclose(file) == 0);
	read_all();
	(void)close(fd);
	(void)unlink(path);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct mapping mapping;
	struct error error = {0};
	if (size < 1)
		return 0;
	if (data[0] & 1)
		change_file(data + 1, size - 1);
	else if (!mapping_read((const char *)data + 1, size - 1, "map", &mapping, &error))
		assert(error.text[0] != 0);
	return 0;
}
