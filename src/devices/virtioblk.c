/* SPDX-License-Identifier: MIT */
/*
 * Theory of operation. A request is a loop of pieces, blk_run(): as many bytes as its buffer holds, or one segment of a
 * discard. Each piece goes to the image and comes back at once, and the loop goes on, or later, and the completion
 * enters the loop again. So an image that answers at once does not make the stack grow. What goes wrong ends the loop
 * with a status.
 */
#include "devices/virtioblk.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"

#define QUEUE_SIZE 256u
#define SERIAL_SIZE 20u

/* Feature bits (5.2.3). */
#define FEATURE_SEG_MAX BIT64(2)
#define FEATURE_READ_ONLY BIT64(5)
#define FEATURE_BLOCK_SIZE BIT64(6)
#define FEATURE_FLUSH BIT64(9)
#define FEATURE_TOPOLOGY BIT64(10)
#define FEATURE_CONFIG_WCE BIT64(11)
#define FEATURE_DISCARD BIT64(13)
#define FEATURE_WRITE_ZEROES BIT64(14)

/* Offsets in the device configuration (5.2.4). */
enum blk_config {
	CONFIG_CAPACITY = 0,
	CONFIG_SEG_MAX = 12,
	CONFIG_BLOCK_SIZE = 20,
	CONFIG_PHYSICAL_EXPONENT = 24,
	CONFIG_MIN_IO = 26,
	CONFIG_WRITEBACK = 32,
	CONFIG_DISCARD_SECTORS = 36,
	CONFIG_DISCARD_SEGMENTS = 40,
	CONFIG_DISCARD_ALIGNMENT = 44,
	CONFIG_ZERO_SECTORS = 48,
	CONFIG_ZERO_SEGMENTS = 52,
	CONFIG_ZERO_MAY_UNMAP = 56,
	CONFIG_SIZE = 60,
};
#define PHYSICAL_EXPONENT 3u /* 4096 bytes */
#define DISCARD_SECTORS_MAX 0x3fffffu
#define ZERO_SECTORS_MAX 0x1ffffu
#define SEGMENTS_MAX 16u

/* Requests (5.2.6). */
#define TYPE_IN 0u
#define TYPE_OUT 1u
#define TYPE_FLUSH 4u
#define TYPE_GET_ID 8u
#define TYPE_DISCARD 11u
#define TYPE_WRITE_ZEROES 13u
#define HEADER_SIZE 16u
#define SEGMENT_SIZE 16u
#define SEGMENT_UNMAP 1u
#define STATUS_OK 0u
#define STATUS_IOERR 1u
#define STATUS_UNSUPP 2u

/* Buffers: what is above the small size comes out of a budget, and else a request is done in small pieces. */
#define BUFFER_ALIGNMENT 4096u
#define PIECE_SMALL (UINT32_C(64) << 10)
#define PIECE_LARGE (UINT32_C(1) << 20)
#define BUFFER_BUDGET (UINT32_C(16) << 20)

struct blk_request;

/* What a type does with its pieces. */
struct blk_type {
	uint32_t type;
	enum disk_operation operation;
	/* How many bytes, or segments, there are; false: the status says why not. */
	bool (*begin)(struct blk_request *request);
	void (*next)(struct blk_request *request); /* submits the next piece, or sets the status */
	void (*came)(struct blk_request *request); /* it is good */
};

struct blk_request {
	struct disk_request disk;
	struct virtioblk *blk;
	struct blk_request *next_free;
	const struct blk_type *type;
	uint64_t sector;
	uint64_t size, position; /* bytes */
	uint8_t status;
	bool ended, running, waiting;
	uint8_t *buffer;
	uint32_t buffer_size;
	struct virtio_chain chain;
};

struct virtioblk {
	struct virtio virtio;
	struct disk *disk;
	char serial[SERIAL_SIZE + 1];
	struct blk_request *free;
	unsigned in_flight;
	uint32_t large_buffers; /* bytes */
	bool popping;		/* one interrupt for all that ends meanwhile */
};

/* ---- buffers ---- */

static void request_drop_buffer(struct blk_request *request)
{
	if (request->buffer_size > PIECE_SMALL)
		request->blk->large_buffers -= request->buffer_size;
	free(request->buffer);
	request->buffer = NULL;
	request->buffer_size = 0;
}

/* Enough for the whole, or as much as may be. The last buffer is kept if it will do. */
static bool request_get_buffer(struct blk_request *request, uint64_t wanted)
{
	struct virtioblk *blk = request->blk;
	uint32_t size = (uint32_t)align_up(wanted < PIECE_LARGE ? wanted : PIECE_LARGE, BUFFER_ALIGNMENT);
	if (size <= request->buffer_size)
		return true;
	request_drop_buffer(request);
	if (size > PIECE_SMALL && blk->large_buffers + size > BUFFER_BUDGET)
		size = PIECE_SMALL;
	request->buffer = aligned_alloc(BUFFER_ALIGNMENT, size);
	if (request->buffer == NULL)
		return false;
	request->buffer_size = size;
	if (size > PIECE_SMALL)
		blk->large_buffers += size;
	return true;
}

/* ---- requests, of which each chain gets one ---- */

static struct blk_request *request_take(struct virtioblk *blk)
{
	struct blk_request *request = blk->free;
	if (request != NULL)
		blk->free = request->next_free;
	else
		request = calloc(1, sizeof *request);
	if (request == NULL)
		return NULL;
	request->blk = blk;
	return request;
}

static void request_put(struct blk_request *request)
{
	struct virtioblk *blk = request->blk;
	if (request->buffer_size > PIECE_SMALL && blk->in_flight > SEGMENTS_MAX)
		request_drop_buffer(request);
	request->next_free = blk->free;
	blk->free = request;
}

static void request_end(struct blk_request *request, uint8_t status)
{
	request->status = status;
	request->ended = true;
}

/* 5.2.6: the status is the last byte that the device writes. */
static void request_reply(struct blk_request *request)
{
	struct virtioblk *blk = request->blk;
	const struct virtio_chain *chain = &request->chain;
	uint32_t written = request->status == STATUS_OK ? (uint32_t)chain->write_size : (uint32_t)request->position;
	if (chain->write_size == 1 || chain->write_size > UINT32_MAX)
		written = 1;
	if (virtio_write(&blk->virtio, chain, chain->write_size - 1, &request->status, 1) == 1)
		virtio_push(&blk->virtio, 0, chain->head, written);
	else
		virtio_fail(&blk->virtio);
}

static void request_finish(struct blk_request *request)
{
	struct virtioblk *blk = request->blk;
	if (virtio_running(&blk->virtio))
		request_reply(request);
	blk->in_flight--;
	request_put(request);
	if (!blk->popping)
		virtio_signal(&blk->virtio, 0);
	if (blk->in_flight == 0)
		virtio_reset_done(&blk->virtio);
}

/* ---- the loop ---- */

static void blk_run(struct blk_request *request)
{
	if (request->running)
		return;
	request->running = true;
	while (!request->ended && !request->waiting)
		request->type->next(request);
	request->running = false;
	if (request->ended && !request->waiting)
		request_finish(request);
}

static void piece_came(struct disk_request *disk)
{
	struct blk_request *request = disk->opaque;
	request->waiting = false;
	if (disk->error != 0)
		request_end(request, STATUS_IOERR);
	else
		request->type->came(request);
	blk_run(request);
}

/* 5.2.6.2: without a cache, or a way to flush it, every write is on the disk when it is done. */
static bool blk_writes_through(const struct virtioblk *blk)
{
	const struct virtio *virtio = &blk->virtio;
	if (virtio_has(virtio, FEATURE_CONFIG_WCE))
		return virtio->config[CONFIG_WRITEBACK] == 0;
	return !virtio_has(virtio, FEATURE_FLUSH);
}

static void submit(struct blk_request *request, uint64_t sector, uint32_t count)
{
	struct disk_request *disk = &request->disk;
	disk->operation = request->type->operation;
	disk->durable = blk_writes_through(request->blk);
	disk->sector = sector;
	disk->count = count;
	disk->bytes = request->buffer;
	disk->done = piece_came;
	disk->opaque = request;
	request->waiting = true;
	disk_submit(request->blk->disk, disk);
}

/* ---- reads and writes ---- */

/* Whole sectors, all of them on the disk. */
static bool begin_bytes(struct blk_request *request, uint64_t size)
{
	uint64_t sectors = request->blk->disk->sectors;
	request->size = size;
	bool good = size % DISK_SECTOR_SIZE == 0 && request->sector <= sectors &&
		    size / DISK_SECTOR_SIZE <= sectors - request->sector && request_get_buffer(request, size);
	if (!good || (request->type->operation == DISK_WRITE && request->blk->disk->read_only)) {
		request_end(request, STATUS_IOERR);
		return false;
	}
	return true;
}

static bool begin_in(struct blk_request *request)
{
	return begin_bytes(request, request->chain.write_size - 1);
}

static bool begin_out(struct blk_request *request)
{
	return begin_bytes(request, request->chain.read_size - HEADER_SIZE);
}

static uint32_t piece_size(const struct blk_request *request)
{
	uint64_t left = request->size - request->position;
	return left < request->buffer_size ? (uint32_t)left : request->buffer_size;
}

static void next_bytes(struct blk_request *request)
{
	uint32_t size = piece_size(request);
	const struct virtio *virtio = &request->blk->virtio;
	uint64_t from = HEADER_SIZE + request->position;
	if (size == 0)
		request_end(request, STATUS_OK);
	else if (request->type->operation == DISK_WRITE &&
		 virtio_read(virtio, &request->chain, from, request->buffer, size) < size)
		request_end(request, STATUS_IOERR);
	else
		submit(request, request->sector + request->position / DISK_SECTOR_SIZE, size / DISK_SECTOR_SIZE);
}

static void came_in(struct blk_request *request)
{
	struct virtio *virtio = &request->blk->virtio;
	uint32_t size = request->disk.count * DISK_SECTOR_SIZE;
	/* After a reset the guest's memory is no longer for us. */
	if (virtio_running(virtio) &&
	    virtio_write(virtio, &request->chain, request->position, request->buffer, size) < size)
		request_end(request, STATUS_IOERR);
	request->position += size;
}

static void came_out(struct blk_request *request)
{
	request->position += (uint64_t)request->disk.count * DISK_SECTOR_SIZE;
}

/* ---- flush and ID ---- */

static bool begin_nothing(struct blk_request *request)
{
	(void)request;
	return true;
}

static void next_flush(struct blk_request *request)
{
	submit(request, 0, 0);
}

static void came_flush(struct blk_request *request)
{
	request_end(request, STATUS_OK);
}

/* 5.2.6.1: 20 bytes, with a NUL behind if it is shorter. */
static bool begin_id(struct blk_request *request)
{
	struct virtioblk *blk = request->blk;
	uint64_t room = request->chain.write_size - 1;
	size_t size = room < SERIAL_SIZE ? (size_t)room : SERIAL_SIZE;
	bool good = virtio_write(&blk->virtio, &request->chain, 0, blk->serial, size) == size;
	request_end(request, (uint8_t)(good ? STATUS_OK : STATUS_IOERR));
	return false;
}

/* ---- discard and write zeroes (5.2.6.1) ---- */

static bool begin_segments(struct blk_request *request)
{
	request->size = request->chain.read_size - HEADER_SIZE;
	if (request->size > 0 && request->size % SEGMENT_SIZE == 0 && request->size <= SEGMENTS_MAX * SEGMENT_SIZE)
		return true;
	request_end(request,
		    request->size > SEGMENTS_MAX * SEGMENT_SIZE ? (uint8_t)STATUS_UNSUPP : (uint8_t)STATUS_IOERR);
	return false;
}

static void next_segment(struct blk_request *request)
{
	bool zero = request->type->operation == DISK_ZERO;
	uint8_t segment[SEGMENT_SIZE];
	uint64_t from = HEADER_SIZE + request->position;
	if (request->position == request->size) {
		request_end(request, STATUS_OK);
		return;
	}
	if (virtio_read(&request->blk->virtio, &request->chain, from, segment, SEGMENT_SIZE) < SEGMENT_SIZE) {
		request_end(request, STATUS_IOERR);
		return;
	}
	uint32_t count = (uint32_t)load_le(&segment[8], 4), flags = (uint32_t)load_le(&segment[12], 4);
	/* 5.2.6.2: unknown flags, and unmap where everything is. */
	if ((flags & ~(zero ? SEGMENT_UNMAP : 0u)) != 0) {
		request_end(request, STATUS_UNSUPP);
	} else if (count > (zero ? ZERO_SECTORS_MAX : DISCARD_SECTORS_MAX)) {
		request_end(request, STATUS_IOERR);
	} else {
		request->disk.unmap = (flags & SEGMENT_UNMAP) != 0;
		submit(request, load_le(segment, 8), count);
	}
}

static void came_segment(struct blk_request *request)
{
	request->position += SEGMENT_SIZE;
}

static const struct blk_type blk_type[] = {
    {TYPE_IN, DISK_READ, begin_in, next_bytes, came_in},
    {TYPE_OUT, DISK_WRITE, begin_out, next_bytes, came_out},
    {TYPE_FLUSH, DISK_FLUSH, begin_nothing, next_flush, came_flush},
    {TYPE_GET_ID, DISK_READ, begin_id, NULL, NULL},
    {TYPE_DISCARD, DISK_DISCARD, begin_segments, next_segment, came_segment},
    {TYPE_WRITE_ZEROES, DISK_ZERO, begin_segments, next_segment, came_segment},
};

static const struct blk_type *find_type(uint32_t type)
{
	for (unsigned i = 0; i < sizeof blk_type / sizeof blk_type[0]; i++)
		if (blk_type[i].type == type)
			return &blk_type[i];
	return NULL;
}

/* ---- the queue ---- */

static void request_begin(struct blk_request *request)
{
	uint8_t header[HEADER_SIZE];
	request->sector = request->size = request->position = 0;
	request->ended = request->running = request->waiting = false;
	request->disk.unmap = false;
	request->type = NULL;
	if (virtio_read(&request->blk->virtio, &request->chain, 0, header, HEADER_SIZE) < HEADER_SIZE) {
		request_end(request, STATUS_IOERR);
	} else {
		request->type = find_type((uint32_t)load_le(header, 4));
		request->sector = load_le(&header[8], 8);
		if (request->type == NULL)
			request_end(request, STATUS_UNSUPP);
		else
			(void)request->type->begin(request);
	}
	blk_run(request);
}

/* The chain is read into its request, so there is one first. */
static void blk_notified(struct virtio *virtio, unsigned queue)
{
	struct virtioblk *blk = container_of(virtio, struct virtioblk, virtio);
	struct blk_request *request;
	blk->popping = true;
	while ((request = request_take(blk)) != NULL && virtio_pop(virtio, queue, &request->chain)) {
		blk->in_flight++;
		if (request->chain.write_size > 0) {
			request_begin(request);
			continue;
		}
		virtio_fail(virtio);
		blk->in_flight--;
		request_put(request);
	}
	if (request != NULL)
		request_put(request);
	blk->popping = false;
	virtio_signal(virtio, queue);
}

/* ---- life ---- */

/* The cache is on again. */
static bool blk_virtio_reset(struct virtio *virtio)
{
	struct virtioblk *blk = container_of(virtio, struct virtioblk, virtio);
	virtio->config[CONFIG_WRITEBACK] = !blk->disk->write_through;
	return blk->in_flight == 0;
}

static void blk_config_written(struct virtio *virtio, unsigned offset, unsigned size, uint32_t value)
{
	const struct virtioblk *blk = container_of(virtio, struct virtioblk, virtio);
	if (offset == CONFIG_WRITEBACK && size == 1 && virtio_has(virtio, FEATURE_CONFIG_WCE))
		virtio->config[CONFIG_WRITEBACK] = (value & 1) != 0 && !blk->disk->write_through;
}

static const struct virtio_ops blk_ops = {
    .notified = blk_notified, .reset = blk_virtio_reset, .config_written = blk_config_written};

static void blk_fill_config(struct virtioblk *blk)
{
	static const struct {
		uint8_t offset, size;
		uint32_t value;
	} field[] = {
	    {CONFIG_SEG_MAX, 4, VIRTIO_SEGMENTS_MAX - 2}, /* beside header and status */
	    {CONFIG_BLOCK_SIZE, 4, DISK_SECTOR_SIZE},
	    {CONFIG_PHYSICAL_EXPONENT, 1, PHYSICAL_EXPONENT},
	    {CONFIG_MIN_IO, 2, 1u << PHYSICAL_EXPONENT},
	    {CONFIG_DISCARD_SECTORS, 4, DISCARD_SECTORS_MAX},
	    {CONFIG_DISCARD_SEGMENTS, 4, SEGMENTS_MAX},
	    {CONFIG_DISCARD_ALIGNMENT, 4, 1u << PHYSICAL_EXPONENT},
	    {CONFIG_ZERO_SECTORS, 4, ZERO_SECTORS_MAX},
	    {CONFIG_ZERO_SEGMENTS, 4, SEGMENTS_MAX},
	    {CONFIG_ZERO_MAY_UNMAP, 1, 1},
	};
	store_le(&blk->virtio.config[CONFIG_CAPACITY], blk->disk->sectors, 8);
	for (unsigned i = 0; i < sizeof field / sizeof field[0]; i++)
		store_le(&blk->virtio.config[field[i].offset], field[i].value, field[i].size);
	blk->virtio.config[CONFIG_WRITEBACK] = !blk->disk->write_through;
}

struct virtioblk *virtioblk_create(const struct virtioblk_config *config, struct error *error)
{
	uint64_t features =
	    FEATURE_SEG_MAX | FEATURE_BLOCK_SIZE | FEATURE_FLUSH | FEATURE_TOPOLOGY | FEATURE_CONFIG_WCE;
	if (config->disk->read_only)
		features |= FEATURE_READ_ONLY;
	else
		features |= FEATURE_WRITE_ZEROES | (config->disk->discards ? FEATURE_DISCARD : 0);
	const struct virtio_config virtio = {.ops = &blk_ops,
					     .bus = config->bus,
					     .device = config->device,
					     .memory = config->memory,
					     .type = VIRTIO_BLOCK,
					     .class_code = 0x018000,
					     .features = features,
					     .queues = 1,
					     .queue_size = QUEUE_SIZE,
					     .config_size = CONFIG_SIZE,
					     .name = "virtio-blk"};
	assert(strlen(config->serial) <= SERIAL_SIZE);
	struct virtioblk *blk = calloc(1, sizeof *blk);
	if (blk == NULL) {
		(void)error_set(error, ERROR_HOST, "out of memory for a virtio disk");
		return NULL;
	}
	blk->disk = config->disk;
	memcpy(blk->serial, config->serial, strlen(config->serial));
	if (!virtio_init(&blk->virtio, &virtio, error)) {
		free(blk);
		return NULL;
	}
	blk_fill_config(blk);
	return blk;
}

void virtioblk_destroy(struct virtioblk *blk)
{
	if (blk == NULL)
		return;
	disk_drain(blk->disk);
	assert(blk->in_flight == 0);
	virtio_exit(&blk->virtio);
	while (blk->free != NULL) {
		struct blk_request *request = blk->free;
		blk->free = request->next_free;
		request_drop_buffer(request);
		free(request);
	}
	free(blk);
}

void virtioblk_reset(struct virtioblk *blk)
{
	disk_drain(blk->disk);
	virtio_reset(&blk->virtio);
}
