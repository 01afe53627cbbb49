/* SPDX-License-Identifier: MIT */
#include "plan/estate-write.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include "plan/estate-format.h"
#include "plan/grid.h"
#include "plan/text.h"

struct estate_writer {
	char *path, *part; /* the file's name at the end, and until then */
	int fd;
	uint64_t at; /* where the next column goes */
	struct estate_file_record *record;
	size_t count, room;
	char *strings;
	size_t strings_size, strings_room;
};

static bool write_at(struct estate_writer *writer, const void *bytes, size_t size, uint64_t offset, struct error *error)
{
	const char *at = bytes;
	while (size > 0) {
		ssize_t done = pwrite(writer->fd, at, size, (off_t)offset);
		if (done < 0 && errno == EINTR)
			continue;
		if (done < 0)
			return error_set_errno(error, "%s: cannot write", writer->path);
		at += done;
		offset += (uint64_t)done;
		size -= (size_t)done;
	}
	return true;
}

static bool writer_open(struct estate_writer *writer, const char *path, struct error *error)
{
	struct stat status;
	if (stat(path, &status) == 0 && !S_ISREG(status.st_mode))
		return error_set(error, ERROR_INPUT, "%s: not a file; give the name of a file to write", path);
	writer->path = strdup(path);
	if (writer->path == NULL || asprintf(&writer->part, "%s.part-XXXXXX", path) < 0) {
		writer->part = NULL;
		return error_set(error, ERROR_HOST, "%s: out of memory", path);
	}
	writer->fd = mkstemp(writer->part);
	if (writer->fd < 0)
		return error_set(error, ERROR_INPUT, "%s: cannot write: %s", path, strerror(errno));
	return true;
}

struct estate_writer *estate_writer_create(const char *path, struct error *error)
{
	struct estate_writer *writer = calloc(1, sizeof *writer);
	if (writer == NULL) {
		(void)error_set(error, ERROR_HOST, "%s: out of memory", path);
		return NULL;
	}
	writer->fd = -1;
	writer->at = ESTATE_ALIGN * 2; /* behind the header */
	static_assert(sizeof(struct estate_file_header) <= 2 * ESTATE_ALIGN, "the header fits");
	if (writer_open(writer, path, error))
		return writer;
	estate_writer_discard(writer);
	return NULL;
}

static void writer_free(struct estate_writer *writer)
{
	if (writer->fd >= 0)
		(void)close(writer->fd);
	free(writer->record);
	free(writer->strings);
	free(writer->path);
	free(writer->part);
	free(writer);
}

void estate_writer_discard(struct estate_writer *writer)
{
	if (writer == NULL)
		return;
	if (writer->part != NULL && writer->fd >= 0)
		(void)unlink(writer->part);
	writer_free(writer);
}

/* The offset of the text in the strings; UINT64_MAX: out of memory. */
static uint64_t add_string(struct estate_writer *writer, const char *text)
{
	size_t size = strlen(text) + 1;
	if (writer->strings_size + size > writer->strings_room) {
		size_t room = 2 * writer->strings_room + size + 4096;
		char *grown = realloc(writer->strings, room);
		if (grown == NULL)
			return UINT64_MAX;
		writer->strings = grown;
		writer->strings_room = room;
	}
	assert(writer->strings != NULL);
	memcpy(writer->strings + writer->strings_size, text, size);
	writer->strings_size += size;
	return writer->strings_size - size;
}

static struct estate_file_record *add_record(struct estate_writer *writer)
{
	if (writer->count == writer->room) {
		size_t room = 2 * writer->room + 64;
		struct estate_file_record *grown = reallocarray(writer->record, room, sizeof *grown);
		if (grown == NULL)
			return NULL;
		writer->record = grown;
		writer->room = room;
	}
	struct estate_file_record *record = &writer->record[writer->count++];
	memset(record, 0, sizeof *record);
	return record;
}

static void summarise(struct estate_file_column *column, const float *value, uint64_t count)
{
	double sum = 0;
	column->minimum = INFINITY;
	column->maximum = -INFINITY;
	for (uint64_t k = 0; k < count; k++) {
		if (isnan(value[k]))
			continue;
		column->present++;
		sum += (double)value[k];
		column->minimum = value[k] < column->minimum ? value[k] : column->minimum;
		column->maximum = value[k] > column->maximum ? value[k] : column->maximum;
	}
	if (column->present != 0)
		column->mean = (float)(sum / (double)column->present);
	else
		column->minimum = column->maximum = 0;
}

static bool add_column(struct estate_writer *writer, struct estate_file_column *column, const float *value,
		       uint64_t count, struct error *error)
{
	uint64_t size = count * sizeof *value;
	summarise(column, value, count);
	if (column->present == 0)
		return true;
	column->offset = writer->at;
	column->crc = (uint32_t)crc32_z(0, (const unsigned char *)value, size);
	if (!write_at(writer, value, size, writer->at, error))
		return false;
	writer->at = (writer->at + size + ESTATE_ALIGN - 1) & ~(uint64_t)(ESTATE_ALIGN - 1);
	return true;
}

bool estate_writer_add(struct estate_writer *writer, const struct estate_server *server,
		       const float *const column[ESTATE_SERIES_COUNT], struct error *error)
{
	const char *source = server->source != NULL ? server->source : "";
	assert(text_is_clean(server->name, strlen(server->name)) && text_is_clean(source, strlen(source)));
	if (!grid_valid(&server->grid))
		return error_set(error, ERROR_INPUT, "%s: its times or its interval are impossible", server->name);
	struct estate_file_record *record = add_record(writer);
	if (record == NULL)
		return error_set(error, ERROR_HOST, "%s: out of memory", writer->path);
	record->name = add_string(writer, server->name);
	record->source = add_string(writer, source);
	if (record->name == UINT64_MAX || record->source == UINT64_MAX)
		return error_set(error, ERROR_HOST, "%s: out of memory", writer->path);
	record->memory = server->memory;
	record->mhz = server->mhz;
	record->rating = server->rating;
	record->start = server->grid.start;
	record->count = server->grid.count;
	record->interval = server->grid.interval;
	record->cpus = server->cpus;
	memcpy(record->note, server->note, sizeof record->note);
	for (unsigned i = 0; i < ESTATE_SERIES_COUNT; i++)
		if (column[i] != NULL && !add_column(writer, &record->column[i], column[i], record->count, error))
			return false;
	return true;
}

static int compare_records(const void *a, const void *b, void *strings)
{
	const struct estate_file_record *left = a, *right = b;
	return strcmp((const char *)strings + left->name, (const char *)strings + right->name);
}

static bool sort_records(struct estate_writer *writer, struct error *error)
{
	if (writer->count == 0)
		return true;
	qsort_r(writer->record, writer->count, sizeof *writer->record, compare_records, writer->strings);
	for (size_t i = 1; i < writer->count; i++)
		if (compare_records(&writer->record[i - 1], &writer->record[i], writer->strings) == 0)
			return error_set(error, ERROR_INPUT, "two servers are called '%.200s'",
					 writer->strings + writer->record[i].name);
	return true;
}

static bool write_tables(struct estate_writer *writer, uint64_t report, struct error *error)
{
	size_t records_size = writer->count * sizeof *writer->record;
	struct estate_file_header header = {
	    .magic = ESTATE_MAGIC,
	    .version = ESTATE_VERSION,
	    .header_size = sizeof header,
	    .series_count = ESTATE_SERIES_COUNT,
	    .note_count = ESTATE_NOTE_COUNT,
	    .server_count = writer->count,
	    .table_offset = writer->at,
	    .strings_offset = writer->at + records_size,
	    .file_size = writer->at + records_size + writer->strings_size,
	    .report = report,
	};
	uLong crc = crc32_z(0, (const unsigned char *)writer->record, records_size);
	header.tables_crc = (uint32_t)crc32_z(crc, (const unsigned char *)writer->strings, writer->strings_size);
	header.header_crc =
	    (uint32_t)crc32_z(0, (const unsigned char *)&header, offsetof(struct estate_file_header, header_crc));
	return write_at(writer, writer->record, records_size, header.table_offset, error) &&
	       write_at(writer, writer->strings, writer->strings_size, header.strings_offset, error) &&
	       write_at(writer, &header, sizeof header, 0, error);
}

/* mkstemp gives 0600; the file's mode becomes what open would have given. */
static bool publish(struct estate_writer *writer, struct error *error)
{
	mode_t mask = umask(0);
	(void)umask(mask);
	if (fchmod(writer->fd, 0666 & ~mask) != 0 || fsync(writer->fd) != 0 || rename(writer->part, writer->path) != 0)
		return error_set_errno(error, "%s: cannot write", writer->path);
	return true;
}

bool estate_writer_finish(struct estate_writer *writer, const char *report, struct error *error)
{
	uint64_t text = add_string(writer, report != NULL ? report : "");
	bool good = text != UINT64_MAX || error_set(error, ERROR_HOST, "%s: out of memory", writer->path);
	if (good && sort_records(writer, error) && write_tables(writer, text, error) && publish(writer, error)) {
		writer_free(writer);
		return true;
	}
	estate_writer_discard(writer);
	return false;
}
