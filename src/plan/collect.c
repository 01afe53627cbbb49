/* SPDX-License-Identifier: MIT */
#include "plan/collect-impl.h"

#include <errno.h>
#include <fcntl.h>
#include <search.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "plan/text.h"

/* What can be; beyond it a value is a mistake of its file. Of counters it is asked when they are rates. */
static const double channel_highest[COLLECT_CHANNEL_COUNT] = {
    [ESTATE_CPU] = 10,		 [ESTATE_KERNEL] = 10,		[ESTATE_INTERRUPT] = 10,
    [ESTATE_MEMORY] = 1e16,	 [ESTATE_PAGING] = 1e12,	[ESTATE_DISK_READ] = 1e14,
    [ESTATE_DISK_WRITE] = 1e14,	 [ESTATE_DISK_READ_OPS] = 1e11, [ESTATE_DISK_WRITE_OPS] = 1e11,
    [ESTATE_NET_RECEIVE] = 1e14, [ESTATE_NET_SEND] = 1e14,	[COLLECT_PROCESSORS] = 1e5,
    [COLLECT_MHZ] = 1e9,	 [COLLECT_AVAILABLE] = 1e16,	[COLLECT_COMMITTED] = 1e16,
};

#define TIME_MAX_MS (ESTATE_START_MAX * 1000)
#define OFFSET_MAX 1000000000

static int spool_open(const char *path)
{
	const char *slash = strrchr(path, '/');
	char *folder = slash == NULL ? strdup(".") : strndup(path, (size_t)(slash - path) + 1);
	char *name = NULL;
	int fd = -1;
	if (folder != NULL)
		fd = open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	/* Not every file system has files without a name. */
	if (fd < 0 && folder != NULL && asprintf(&name, "%s/nfold-plan-XXXXXX", folder) >= 0) {
		fd = mkostemp(name, O_CLOEXEC);
		if (fd >= 0)
			(void)unlink(name);
		free(name);
	}
	free(folder);
	return fd;
}

struct collector *collector_create(const char *path, struct error *error)
{
	struct collector *collector = calloc(1, sizeof *collector);
	if (collector == NULL) {
		(void)error_set(error, ERROR_HOST, "out of memory");
		return NULL;
	}
	collector->spool = spool_open(path);
	if (collector->spool >= 0)
		return collector;
	(void)error_set(error, ERROR_INPUT, "%s: cannot write to its folder: %s", path, strerror(errno));
	free(collector);
	return NULL;
}

static void keep_node(void *node)
{
	(void)node;
}

void collector_destroy(struct collector *collector)
{
	if (collector == NULL)
		return;
	tdestroy(collector->by_name, keep_node);
	for (size_t i = 0; i < collector->count; i++) {
		struct server *server = collector->server[i];
		free(server->name);
		free(server->source);
		free(server->pending);
		free(server->block);
		free(server);
	}
	(void)close(collector->spool);
	free(collector->server);
	free(collector->source);
	free(collector);
}

static bool out_of_memory(struct error *error)
{
	return error_set(error, ERROR_HOST, "out of memory");
}

bool collector_begin(struct collector *collector, const char *source, struct error *error)
{
	char *copy = strdup(source);
	if (copy == NULL)
		return out_of_memory(error);
	free(collector->source);
	collector->source = copy;
	collector->source_number++;
	collector->pass++;
	return true;
}

void collector_rewind(struct collector *collector)
{
	collector->pass++;
}

static int compare_servers(const void *a, const void *b)
{
	return strcmp(((const struct server *)a)->name, ((const struct server *)b)->name);
}

static struct server *server_make(struct collector *collector, const char *name)
{
	if (collector->count == collector->room) {
		size_t room = 2 * collector->room + 64;
		struct server **grown = reallocarray(collector->server, room, sizeof(struct server *));
		if (grown == NULL)
			return NULL;
		collector->server = grown;
		collector->room = room;
	}
	struct server *server = calloc(1, sizeof *server);
	if (server != NULL && (server->name = strdup(name)) != NULL &&
	    tsearch(server, &collector->by_name, compare_servers) != NULL) {
		server->index = collector->count;
		collector->server[collector->count++] = server;
		return server;
	}
	if (server != NULL)
		free(server->name);
	free(server);
	return NULL;
}

size_t collector_server(struct collector *collector, const char *name, struct error *error)
{
	char clean[COLLECT_NAME_MAX];
	if (!text_clean(name, strlen(name), clean, sizeof clean)) {
		(void)error_set(error, ERROR_INPUT, "a server's name is empty or longer than %zu bytes",
				sizeof clean - 1);
		return SIZE_MAX;
	}
	struct server key = {.name = clean};
	struct server *const *found = tfind(&key, &collector->by_name, compare_servers);
	struct server *server = found != NULL ? *found : server_make(collector, clean);
	if (server == NULL) {
		(void)out_of_memory(error);
		return SIZE_MAX;
	}
	return server->index;
}

size_t collector_find(const struct collector *collector, const char *name)
{
	char clean[COLLECT_NAME_MAX];
	if (!text_clean(name, strlen(name), clean, sizeof clean))
		return SIZE_MAX;
	struct server key = {.name = clean};
	struct server *const *found = tfind(&key, &collector->by_name, compare_servers);
	return found != NULL ? (*found)->index : SIZE_MAX;
}

void collector_attribute(struct collector *collector, size_t index, enum collect_attribute attribute, double value,
			 bool certain)
{
	struct server *server = collector->server[index];
	double *known = &server->attribute[attribute];
	if (!(value > 0) || value > 1e18 || (server->certain[attribute] && !certain))
		return;
	if (certain) {
		*known = value;
		server->certain[attribute] = true;
		return;
	}
	/* A thousandth: clocks are measured. */
	if (*known > 0 && fabs(value - *known) > 1e-3 * *known)
		server->changed[attribute] = true;
	if (value > *known)
		*known = value;
}

double collector_known(const struct collector *collector, size_t index, enum collect_attribute attribute)
{
	return collector->server[index]->attribute[attribute];
}

void collector_offset(struct collector *collector, size_t index, int64_t seconds)
{
	if (seconds >= -OFFSET_MAX && seconds <= OFFSET_MAX)
		collector->server[index]->offset = seconds;
}

void collector_counter(struct collector *collector, size_t index, enum collect_channel channel, unsigned bits)
{
	collector->server[index]->counters |= (uint16_t)(1u << channel);
	collector->server[index]->bits[channel] = (uint8_t)bits;
}

void collector_note(struct collector *collector, size_t index, enum estate_note note, uint64_t count)
{
	collector->server[index]->note[note] += count;
}

size_t collector_servers(const struct collector *collector)
{
	return collector->count;
}

uint64_t collector_samples(const struct collector *collector)
{
	return collector->samples;
}

static bool spool_write(struct collector *collector, const void *bytes, size_t size, struct error *error)
{
	const char *at = bytes;
	while (size > 0) {
		ssize_t done = pwrite(collector->spool, at, size, (off_t)collector->spool_size);
		if (done < 0 && errno == EINTR)
			continue;
		if (done < 0)
			return error_set_errno(error, "cannot write the import's temporary file beside the estate");
		at += done;
		size -= (size_t)done;
		collector->spool_size += (uint64_t)done;
	}
	return true;
}

static struct block *add_block(struct server *server)
{
	if (server->block_count == server->block_room) {
		size_t room = 2 * server->block_room + 16;
		struct block *grown = reallocarray(server->block, room, sizeof *grown);
		if (grown == NULL)
			return NULL;
		server->block = grown;
		server->block_room = room;
	}
	return &server->block[server->block_count++];
}

static uint16_t pending_channels(const struct pending *pending)
{
	uint16_t channels = 0;
	for (unsigned i = 0; i < COLLECT_CHANNEL_COUNT; i++)
		for (unsigned k = 0; k < pending->count; k++)
			if (!isnan(pending->value[i][k])) {
				channels |= (uint16_t)(1u << i);
				break;
			}
	return channels;
}

/* Appends bytes to a block being built. */
static char *put(char *at, const void *bytes, size_t size)
{
	memcpy(at, bytes, size);
	return at + size;
}

static char *put_floats(char *at, const double *value, unsigned count)
{
	for (unsigned k = 0; k < count; k++) {
		float narrow = (float)value[k];
		at = put(at, &narrow, sizeof narrow);
	}
	return at;
}

bool collector_flush(struct collector *collector, struct server *server, struct error *error)
{
	struct pending *pending = server->pending;
	char bytes[sizeof *pending];
	if (pending == NULL || pending->count == 0)
		return true;
	struct block *block = add_block(server);
	if (block == NULL)
		return out_of_memory(error);
	*block = (struct block){.offset = collector->spool_size,
				.rows = (uint16_t)pending->count,
				.channels = pending_channels(pending),
				.counters = server->counters};
	char *at = put(bytes, pending->time_ms, pending->count * sizeof pending->time_ms[0]);
	at = put(at, pending->width_ms, pending->count * sizeof pending->width_ms[0]);
	for (unsigned i = 0; i < COLLECT_CHANNEL_COUNT; i++) {
		if ((block->channels >> i & 1) == 0)
			continue;
		if (block->counters >> i & 1)
			at = put(at, pending->value[i], pending->count * sizeof(double));
		else
			at = put_floats(at, pending->value[i], pending->count);
	}
	server->channels |= block->channels;
	pending->count = 0;
	return spool_write(collector, bytes, (size_t)(at - bytes), error);
}

bool collect_possible(unsigned channel, double value)
{
	return value >= 0 && value <= channel_highest[channel];
}

/* Copies what can be; true if anything is left. */
static bool take_values(struct server *server, struct pending *pending, const double *value)
{
	bool any = false;
	for (unsigned i = 0; i < COLLECT_CHANNEL_COUNT; i++) {
		double taken = value[i];
		bool counter = (server->counters >> i & 1) != 0;
		if (!isnan(taken) && !(counter ? taken >= 0 && taken < 1.9e19 : collect_possible(i, taken))) {
			server->note[ESTATE_IMPOSSIBLE]++;
			taken = NAN;
		}
		any |= !isnan(taken);
		pending->value[i][pending->count] = taken;
	}
	return any;
}

/* "a.csv", "a.csv and 3 more" */
static bool note_source(const struct collector *collector, struct server *server, struct error *error)
{
	if (server->last_source == collector->source_number)
		return true;
	server->last_source = collector->source_number;
	if (server->sources++ == 0 && collector->source != NULL)
		server->source = strdup(collector->source);
	return server->source != NULL || collector->source == NULL || out_of_memory(error);
}

bool collector_add(struct collector *collector, size_t index, const struct collect_sample *sample, struct error *error)
{
	struct server *server = collector->server[index];
	if (server->pending == NULL && (server->pending = calloc(1, sizeof *server->pending)) == NULL)
		return out_of_memory(error);
	if (!note_source(collector, server, error))
		return false;
	server->note[ESTATE_ROWS]++;
	collector->samples++;
	struct pending *pending = server->pending;
	if (sample->time_ms > TIME_MAX_MS || sample->time_ms < -TIME_MAX_MS) {
		server->note[ESTATE_IMPOSSIBLE]++;
		return true;
	}
	if (!take_values(server, pending, sample->value))
		return true;
	if (server->last_pass == collector->pass && sample->time_ms < server->last_ms)
		server->note[ESTATE_DISORDER]++;
	else
		server->last_ms = sample->time_ms;
	server->last_pass = collector->pass;
	pending->time_ms[pending->count] = sample->time_ms;
	pending->width_ms[pending->count] = sample->width_ms;
	server->rows++;
	return ++pending->count < COLLECT_BLOCK_ROWS || collector_flush(collector, server, error);
}
