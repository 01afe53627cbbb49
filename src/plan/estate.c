/* SPDX-License-Identifier: MIT */
/*
 * Reads estate files. Columns are read with pread and not mapped: a file that shrinks under a reader is then an error
 * and no SIGBUS, and address space limits hold. Everything that is in the file is checked before it is used.
 */
#include "plan/estate.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include "plan/estate-format.h"
#include "plan/grid.h"
#include "plan/text.h"

#define RECORDS_MAX (UINT64_C(1) << 24)
#define STRINGS_MAX (UINT64_C(1) << 32)

const char *const estate_series_key[ESTATE_SERIES_COUNT] = {
    [ESTATE_CPU] = "cpu",
    [ESTATE_KERNEL] = "kernel",
    [ESTATE_INTERRUPT] = "interrupt",
    [ESTATE_MEMORY] = "memory",
    [ESTATE_PAGING] = "paging",
    [ESTATE_DISK_READ] = "disk_read",
    [ESTATE_DISK_WRITE] = "disk_write",
    [ESTATE_DISK_READ_OPS] = "disk_read_ops",
    [ESTATE_DISK_WRITE_OPS] = "disk_write_ops",
    [ESTATE_NET_RECEIVE] = "net_receive",
    [ESTATE_NET_SEND] = "net_send",
};

const char *const estate_series_unit[ESTATE_SERIES_COUNT] = {
    [ESTATE_CPU] = "",
    [ESTATE_KERNEL] = "",
    [ESTATE_INTERRUPT] = "",
    [ESTATE_MEMORY] = "bytes",
    [ESTATE_PAGING] = "pages/s",
    [ESTATE_DISK_READ] = "bytes/s",
    [ESTATE_DISK_WRITE] = "bytes/s",
    [ESTATE_DISK_READ_OPS] = "operations/s",
    [ESTATE_DISK_WRITE_OPS] = "operations/s",
    [ESTATE_NET_RECEIVE] = "bytes/s",
    [ESTATE_NET_SEND] = "bytes/s",
};

const char *const estate_series_text[ESTATE_SERIES_COUNT] = {
    [ESTATE_CPU] = "processors in use",
    [ESTATE_KERNEL] = "processors in kernel mode",
    [ESTATE_INTERRUPT] = "processors in interrupt handlers",
    [ESTATE_MEMORY] = "memory in use",
    [ESTATE_PAGING] = "pages from and to swap space",
    [ESTATE_DISK_READ] = "read from disks",
    [ESTATE_DISK_WRITE] = "written to disks",
    [ESTATE_DISK_READ_OPS] = "disk reads",
    [ESTATE_DISK_WRITE_OPS] = "disk writes",
    [ESTATE_NET_RECEIVE] = "received from networks",
    [ESTATE_NET_SEND] = "sent to networks",
};

const char *const estate_resource_key[ESTATE_RESOURCE_COUNT] = {
    [ESTATE_MHZ] = "cpu",   [ESTATE_BYTES] = "memory",	  [ESTATE_DISK] = "disk",
    [ESTATE_IOPS] = "iops", [ESTATE_NETWORK] = "network",
};

const char *const estate_note_key[ESTATE_NOTE_COUNT] = {
    [ESTATE_ROWS] = "rows",
    [ESTATE_DUPLICATE] = "duplicate",
    [ESTATE_CONFLICT] = "conflict",
    [ESTATE_DISORDER] = "disorder",
    [ESTATE_MISSING] = "missing",
    [ESTATE_IMPOSSIBLE] = "impossible",
    [ESTATE_ABOVE] = "above",
    [ESTATE_WRAP] = "wrap",
    [ESTATE_RESET] = "reset",
    [ESTATE_CLOCK_STEP] = "clock_step",
    [ESTATE_CLOCK_OFFSET] = "clock_offset",
    [ESTATE_INTERVALS] = "intervals",
    [ESTATE_MERGED] = "merged",
    [ESTATE_HELD] = "held",
    [ESTATE_GAPS] = "gaps",
    [ESTATE_GAP_SLOTS] = "gap_slots",
};

const char *const estate_note_text[ESTATE_NOTE_COUNT] = {
    [ESTATE_ROWS] = "samples read",
    [ESTATE_DUPLICATE] = "duplicated samples dropped",
    [ESTATE_CONFLICT] = "samples dropped: a later one has the same time and other values",
    [ESTATE_DISORDER] = "samples out of order, sorted",
    [ESTATE_MISSING] = "values missing in rows that have others",
    [ESTATE_IMPOSSIBLE] = "impossible values dropped",
    [ESTATE_ABOVE] = "processor shares above 100 %, kept",
    [ESTATE_WRAP] = "counters wrapped, made up for",
    [ESTATE_RESET] = "counters reset, a sample lost each",
    [ESTATE_CLOCK_STEP] = "clock steps of daylight saving time, undone",
    [ESTATE_CLOCK_OFFSET] = "seconds by which the clock was corrected",
    [ESTATE_INTERVALS] = "changes of the sampling interval",
    [ESTATE_MERGED] = "samples averaged with another of their slot",
    [ESTATE_HELD] = "slots filled from a sample longer than a slot",
    [ESTATE_GAPS] = "gaps",
    [ESTATE_GAP_SLOTS] = "slots in gaps",
};

struct estate {
	char *path;
	int fd;
	uint64_t table_offset; /* where columns end */
	size_t count;
	struct estate_file_record *record;
	struct estate_server *server;
	char *strings;
	uint64_t strings_size;
	const char *report;
};

static bool read_exactly(const struct estate *estate, void *bytes, uint64_t size, uint64_t offset, struct error *error)
{
	char *at = bytes;
	while (size > 0) {
		ssize_t got = pread(estate->fd, at, size, (off_t)offset);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return error_set_errno(error, "%s: cannot read", estate->path);
		if (got == 0)
			return error_set(error, ERROR_INPUT, "%s: ends too early: import it again", estate->path);
		at += got;
		offset += (uint64_t)got;
		size -= (uint64_t)got;
	}
	return true;
}

static uint32_t checksum(uint32_t crc, const void *bytes, uint64_t size)
{
	return (uint32_t)crc32_z(crc, bytes, size);
}

static bool damaged(const struct estate *estate, const char *what, struct error *error)
{
	return error_set(error, ERROR_INPUT, "%s: damaged estate file (%s): import it again", estate->path, what);
}

static bool check_header(const struct estate *estate, const struct estate_file_header *header, uint64_t size,
			 struct error *error)
{
	if (memcmp(header->magic, ESTATE_MAGIC, sizeof header->magic) != 0)
		return error_set(error, ERROR_INPUT, "%s: not an estate file: 'nfold plan import' makes one",
				 estate->path);
	if (header->version != ESTATE_VERSION)
		return error_set(error, ERROR_INPUT,
				 "%s: an estate file of version %u, and this nfold reads version %u: import it again",
				 estate->path, header->version, ESTATE_VERSION);
	if (header->header_crc != checksum(0, header, offsetof(struct estate_file_header, header_crc)))
		return damaged(estate, "header", error);
	if (header->file_size != size)
		return damaged(estate, "size", error);
	if (header->header_size != sizeof *header || header->series_count != ESTATE_SERIES_COUNT ||
	    header->note_count != ESTATE_NOTE_COUNT || header->server_count > RECORDS_MAX ||
	    header->table_offset < sizeof *header || header->table_offset > size || header->strings_offset > size ||
	    header->strings_offset < header->table_offset ||
	    header->strings_offset - header->table_offset != header->server_count * sizeof(struct estate_file_record) ||
	    size - header->strings_offset > STRINGS_MAX || size == header->strings_offset ||
	    header->report >= size - header->strings_offset)
		return damaged(estate, "header", error);
	return true;
}

static bool read_tables(struct estate *estate, const struct estate_file_header *header, struct error *error)
{
	uint64_t records_size = header->strings_offset - header->table_offset;
	estate->table_offset = header->table_offset;
	estate->count = header->server_count;
	estate->strings_size = header->file_size - header->strings_offset;
	estate->record = calloc(1, records_size + 1);
	estate->server = calloc(estate->count + 1, sizeof *estate->server);
	estate->strings = malloc(estate->strings_size);
	if (estate->record == NULL || estate->server == NULL || estate->strings == NULL)
		return error_set(error, ERROR_HOST, "%s: out of memory", estate->path);
	if (!read_exactly(estate, estate->record, records_size, header->table_offset, error) ||
	    !read_exactly(estate, estate->strings, estate->strings_size, header->strings_offset, error))
		return false;
	uint32_t crc = checksum(checksum(0, estate->record, records_size), estate->strings, estate->strings_size);
	if (crc != header->tables_crc || estate->strings[estate->strings_size - 1] != '\0')
		return damaged(estate, "tables", error);
	estate->report = estate->strings + header->report;
	return true;
}

static bool column_good(const struct estate *estate, const struct estate_file_record *record,
			const struct estate_file_column *column)
{
	if (column->present == 0)
		return true;
	return isfinite(column->minimum) && isfinite(column->mean) && isfinite(column->maximum) &&
	       column->present <= record->count && column->offset >= sizeof(struct estate_file_header) &&
	       column->offset % ESTATE_ALIGN == 0 && column->offset <= estate->table_offset &&
	       record->count <= (estate->table_offset - column->offset) / sizeof(float);
}

static bool attributes_good(const struct estate_file_record *record)
{
	return isfinite(record->mhz) && record->mhz >= 0 && isfinite(record->rating) && record->rating >= 0;
}

static bool load_server(struct estate *estate, size_t index, struct error *error)
{
	const struct estate_file_record *record = &estate->record[index];
	struct estate_server *server = &estate->server[index];
	if (record->name >= estate->strings_size || record->source >= estate->strings_size || !attributes_good(record))
		return damaged(estate, "a server", error);
	*server = (struct estate_server){
	    .name = estate->strings + record->name,
	    .source = estate->strings + record->source,
	    .cpus = record->cpus,
	    .mhz = record->mhz,
	    .rating = record->rating,
	    .memory = record->memory,
	    .grid = {.start = record->start, .count = record->count, .interval = record->interval},
	};
	memcpy(server->note, record->note, sizeof server->note);
	if (!text_is_clean(server->name, strlen(server->name)) ||
	    !text_is_clean(server->source, strlen(server->source)))
		return damaged(estate, "a name", error);
	if (!grid_valid(&server->grid) || (index > 0 && strcmp(server[-1].name, server->name) >= 0))
		return damaged(estate, "a server", error);
	for (unsigned i = 0; i < ESTATE_SERIES_COUNT; i++) {
		const struct estate_file_column *column = &record->column[i];
		if (!column_good(estate, record, column))
			return damaged(estate, "a column", error);
		server->series[i] = (struct estate_summary){.present = column->present,
							    .minimum = column->minimum,
							    .mean = column->mean,
							    .maximum = column->maximum};
	}
	return true;
}

static bool load(struct estate *estate, struct error *error)
{
	struct estate_file_header header = {0};
	struct stat status;
	if (fstat(estate->fd, &status) != 0)
		return error_set_errno(error, "%s", estate->path);
	if (!S_ISREG(status.st_mode))
		return error_set(error, ERROR_INPUT, "%s: not a file", estate->path);
	if ((uint64_t)status.st_size < sizeof header)
		return error_set(error, ERROR_INPUT, "%s: not an estate file: 'nfold plan import' makes one",
				 estate->path);
	if (!read_exactly(estate, &header, sizeof header, 0, error) ||
	    !check_header(estate, &header, (uint64_t)status.st_size, error) || !read_tables(estate, &header, error))
		return false;
	for (size_t i = 0; i < estate->count; i++)
		if (!load_server(estate, i, error))
			return false;
	return true;
}

struct estate *estate_open(const char *path, struct error *error)
{
	struct estate *estate = calloc(1, sizeof *estate);
	if (estate == NULL || (estate->path = strdup(path)) == NULL) {
		free(estate);
		(void)error_set(error, ERROR_HOST, "%s: out of memory", path);
		return NULL;
	}
	estate->fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (estate->fd < 0) {
		(void)error_set(error, ERROR_INPUT, "%s: %s", path, strerror(errno));
	} else if (load(estate, error)) {
		return estate;
	}
	estate_close(estate);
	return NULL;
}

void estate_close(struct estate *estate)
{
	if (estate == NULL)
		return;
	if (estate->fd >= 0)
		(void)close(estate->fd);
	free(estate->record);
	free(estate->server);
	free(estate->strings);
	free(estate->path);
	free(estate);
}

size_t estate_count(const struct estate *estate)
{
	return estate->count;
}

const struct estate_server *estate_server(const struct estate *estate, size_t index)
{
	return &estate->server[index];
}

static int compare_name(const void *name, const void *server)
{
	return strcmp(name, ((const struct estate_server *)server)->name);
}

size_t estate_find(const struct estate *estate, const char *name)
{
	const struct estate_server *server =
	    bsearch(name, estate->server, estate->count, sizeof *estate->server, compare_name);
	return server != NULL ? (size_t)(server - estate->server) : SIZE_MAX;
}

const char *estate_report(const struct estate *estate)
{
	return estate->report;
}

static uint32_t longest_interval(const struct estate *estate)
{
	uint32_t longest = 1;
	for (size_t i = 0; i < estate->count; i++)
		if (estate->server[i].grid.interval > longest)
			longest = estate->server[i].grid.interval;
	return longest;
}

struct estate_grid estate_common_grid(const struct estate *estate, uint32_t interval)
{
	int64_t start = INT64_MAX, end = INT64_MIN;
	if (interval == 0)
		interval = longest_interval(estate);
	for (size_t i = 0; i < estate->count; i++) {
		const struct estate_grid *grid = &estate->server[i].grid;
		int64_t grid_end = grid->start + (int64_t)grid->count * grid->interval;
		start = grid->start < start ? grid->start : start;
		end = grid_end > end ? grid_end : end;
	}
	if (estate->count == 0)
		return (struct estate_grid){.interval = interval};
	int64_t first = divide_down(start, interval);
	int64_t last = divide_down(end + interval - 1, interval);
	return (struct estate_grid){.start = first * interval, .count = (uint64_t)(last - first), .interval = interval};
}

/* The column as it is in the file; the caller frees it. */
static float *read_column(const struct estate *estate, size_t index, enum estate_series series, struct error *error)
{
	const struct estate_file_record *record = &estate->record[index];
	const struct estate_file_column *column = &record->column[series];
	uint64_t size = record->count * sizeof(float);
	float *value = calloc(1, size + 1);
	if (value == NULL) {
		(void)error_set(error, ERROR_HOST, "%s: out of memory", estate->path);
		return NULL;
	}
	if (!read_exactly(estate, value, size, column->offset, error)) {
		free(value);
		return NULL;
	}
	if (checksum(0, value, size) != column->crc) {
		(void)damaged(estate, estate_series_key[series], error);
		free(value);
		return NULL;
	}
	return value;
}

static void fill_nan(float *value, uint64_t count)
{
	for (uint64_t i = 0; i < count; i++)
		value[i] = NAN;
}

bool estate_read(const struct estate *estate, size_t index, enum estate_series series, const struct estate_grid *grid,
		 enum estate_aggregate aggregate, float *value, struct error *error)
{
	if (estate->record[index].column[series].present == 0) {
		fill_nan(value, grid->count);
		return true;
	}
	float *column = read_column(estate, index, series, error);
	if (column == NULL)
		return false;
	grid_resample(&estate->server[index].grid, column, grid, aggregate, value);
	free(column);
	return true;
}

/* The series that a resource is the sum of. */
static const struct {
	enum estate_series series[2];
	unsigned count;
} resource_table[ESTATE_RESOURCE_COUNT] = {
    [ESTATE_MHZ] = {{ESTATE_CPU}, 1},
    [ESTATE_BYTES] = {{ESTATE_MEMORY}, 1},
    [ESTATE_DISK] = {{ESTATE_DISK_READ, ESTATE_DISK_WRITE}, 2},
    [ESTATE_IOPS] = {{ESTATE_DISK_READ_OPS, ESTATE_DISK_WRITE_OPS}, 2},
    [ESTATE_NETWORK] = {{ESTATE_NET_RECEIVE, ESTATE_NET_SEND}, 2},
};

static double resource_factor(const struct estate_server *server, enum estate_resource resource)
{
	if (resource != ESTATE_MHZ)
		return 1;
	return server->cpus != 0 && server->mhz > 0 ? server->cpus * server->mhz : NAN;
}

/* Adds a column to a sum in which NaN is nothing. */
static bool add_column(const struct estate *estate, size_t index, enum estate_series series, float *sum,
		       struct error *error)
{
	if (estate->record[index].column[series].present == 0)
		return true;
	float *column = read_column(estate, index, series, error);
	if (column == NULL)
		return false;
	for (uint64_t k = 0; k < estate->record[index].count; k++)
		if (!isnan(column[k]))
			sum[k] = isnan(sum[k]) ? column[k] : sum[k] + column[k];
	free(column);
	return true;
}

bool estate_read_resource(const struct estate *estate, size_t index, enum estate_resource resource,
			  const struct estate_grid *grid, enum estate_aggregate aggregate, float *value,
			  struct error *error)
{
	const struct estate_server *server = &estate->server[index];
	double factor = resource_factor(server, resource);
	float *sum = calloc(server->grid.count + 1, sizeof *sum);
	if (sum == NULL)
		return error_set(error, ERROR_HOST, "%s: out of memory", estate->path);
	fill_nan(sum, server->grid.count);
	bool good = true;
	for (unsigned i = 0; good && i < resource_table[resource].count; i++)
		good = add_column(estate, index, resource_table[resource].series[i], sum, error);
	if (good) {
		grid_resample(&server->grid, sum, grid, aggregate, value);
		for (uint64_t k = 0; k < grid->count; k++)
			value[k] = (float)((double)value[k] * factor);
	}
	free(sum);
	return good;
}
