/* SPDX-License-Identifier: MIT */
/*
 * A stream in front of another: takes all output at once, whenever the other has room for it, and gives no input. So
 * the guest does not see how fast its output is read, which is different in each run. What does not fit into the
 * queue's limit is lost.
 */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "backend/chardev-impl.h"

#define QUEUE_FIRST_SIZE 4096u
#define QUEUE_LIMIT (16u << 20)
#define CLOSE_TRIES 200
#define CLOSE_PAUSE_NS 1000000

struct queue_chardev {
	struct chardev base;
	struct chardev *behind;
	uint8_t *bytes;
	unsigned size, from, to; /* what waits lies from `from` to `to` */
};

static struct queue_chardev *queue_of(struct chardev *chardev)
{
	return (struct queue_chardev *)chardev;
}

static void queue_push_on(struct queue_chardev *queue)
{
	if (queue->from < queue->to)
		queue->from += chardev_write(queue->behind, queue->bytes + queue->from, queue->to - queue->from);
	if (queue->from == queue->to)
		queue->from = queue->to = 0;
}

static bool queue_make_room(struct queue_chardev *queue, unsigned count)
{
	if (queue->from > 0)
		memmove(queue->bytes, queue->bytes + queue->from, queue->to - queue->from);
	queue->to -= queue->from;
	queue->from = 0;
	if (queue->size - queue->to >= count)
		return true;
	unsigned size = queue->size;
	while (size - queue->to < count && size < QUEUE_LIMIT)
		size *= 2;
	uint8_t *bytes = size - queue->to < count ? NULL : realloc(queue->bytes, size);
	if (bytes == NULL)
		return false;
	queue->bytes = bytes;
	queue->size = size;
	return true;
}

static unsigned queue_write(struct chardev *chardev, const uint8_t *bytes, unsigned count)
{
	struct queue_chardev *queue = queue_of(chardev);
	if (queue->size - queue->to >= count || queue_make_room(queue, count)) {
		memcpy(queue->bytes + queue->to, bytes, count);
		queue->to += count;
	}
	queue_push_on(queue);
	return count;
}

static void queue_input_ready(struct chardev *chardev)
{
	(void)chardev;
}

/* Gives the reader a moment for what it has not taken yet. */
static void queue_close(struct chardev *chardev)
{
	struct queue_chardev *queue = queue_of(chardev);
	const struct timespec pause = {.tv_nsec = CLOSE_PAUSE_NS};
	for (unsigned i = 0; i < CLOSE_TRIES && queue->from < queue->to; i++) {
		(void)nanosleep(&pause, NULL);
		queue_push_on(queue);
	}
	chardev_close(queue->behind);
	free(queue->bytes);
	free(queue);
}

static const struct chardev_ops queue_ops = {
    .write = queue_write, .input_ready = queue_input_ready, .close = queue_close};

/* The front of the stream behind. Its input is taken and forgotten. */
static unsigned behind_input_room(void *opaque)
{
	(void)opaque;
	return UINT32_MAX;
}

static void behind_input(void *opaque, const uint8_t *bytes, unsigned count)
{
	(void)opaque;
	(void)bytes;
	(void)count;
}

static void behind_output_ready(void *opaque)
{
	queue_push_on(opaque);
}

struct chardev *chardev_open_queue(struct chardev *behind, struct error *error)
{
	struct queue_chardev *queue = calloc(1, sizeof *queue);
	uint8_t *bytes = malloc(QUEUE_FIRST_SIZE);
	if (queue == NULL || bytes == NULL) {
		free(queue);
		free(bytes);
		(void)error_set(error, ERROR_HOST, "out of memory");
		return NULL;
	}
	*queue = (struct queue_chardev){
	    .base = {.ops = &queue_ops}, .behind = behind, .bytes = bytes, .size = QUEUE_FIRST_SIZE};
	const struct chardev_front front = {.input_room = behind_input_room,
					    .input = behind_input,
					    .output_ready = behind_output_ready,
					    .opaque = queue};
	chardev_attach(behind, &front);
	return &queue->base;
}
