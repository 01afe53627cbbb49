/* SPDX-License-Identifier: MIT */
#include "devices/virtiorng.h"

#include <stdlib.h>

#include "base/bits.h"

#define QUEUE 0u
#define QUEUE_SIZE 8u

struct virtiorng {
	struct virtio virtio;
	struct virtiorng_config config;
	struct clock_timer next_period; /* armed while requests may wait for it */
	uint64_t period_end;
	uint32_t left; /* bytes of this period */
	struct virtio_chain chain;
};

static struct virtiorng *rng_of(struct virtio *virtio)
{
	return container_of(virtio, struct virtiorng, virtio);
}

/* The guest's memory may end within the buffer: then so do the bytes. False: the host has none. */
static bool fill_chain(struct virtiorng *rng, uint32_t wanted, uint32_t *done)
{
	uint8_t bytes[VIRTIORNG_FILL_MAX];
	for (*done = 0; *done < wanted;) {
		uint32_t size = wanted - *done < sizeof bytes ? wanted - *done : (uint32_t)sizeof bytes;
		if (!rng->config.fill(rng->config.opaque, bytes, size))
			return *done > 0;
		size_t written = virtio_write(&rng->virtio, &rng->chain, *done, bytes, size);
		*done += (uint32_t)written;
		if (written < size)
			return true;
	}
	return true;
}

/* False: it has to wait, and is back in its queue. */
static bool serve(struct virtiorng *rng)
{
	uint64_t room = rng->chain.write_size;
	uint32_t wanted = room < VIRTIORNG_REQUEST_MAX ? (uint32_t)room : VIRTIORNG_REQUEST_MAX, done = 0;
	uint32_t cost = wanted > VIRTIORNG_REQUEST_COST ? wanted : VIRTIORNG_REQUEST_COST;
	if (wanted == 0) {
		virtio_fail(&rng->virtio);
		return true;
	}
	if (cost > rng->left || !fill_chain(rng, wanted, &done)) {
		virtio_unpop(&rng->virtio, QUEUE, 1);
		return false;
	}
	rng->left -= cost;
	if (done == 0)
		virtio_fail(&rng->virtio); /* a buffer that is not in memory */
	else
		virtio_push(&rng->virtio, QUEUE, rng->chain.head, done);
	return true;
}

static void begin_period(struct virtiorng *rng)
{
	uint64_t now = clock_now(rng->config.clock);
	if (now < rng->period_end)
		return;
	rng->period_end = now + VIRTIORNG_PERIOD_NS;
	rng->left = VIRTIORNG_PERIOD_BYTES;
}

static void rng_notified(struct virtio *virtio, unsigned queue)
{
	struct virtiorng *rng = rng_of(virtio);
	bool served = true;
	begin_period(rng);
	if (rng->next_period.armed)
		return;
	while (served && virtio_pop(virtio, queue, &rng->chain))
		served = serve(rng);
	if (!served)
		clock_timer_set(&rng->next_period, rng->period_end);
	virtio_signal(virtio, queue);
}

static void next_period(void *opaque)
{
	struct virtiorng *rng = opaque;
	rng_notified(&rng->virtio, QUEUE);
}

/* Time goes on for the guest that resets: it does not get more by it. */
static bool rng_virtio_reset(struct virtio *virtio)
{
	clock_timer_cancel(&rng_of(virtio)->next_period);
	return true;
}

static const struct virtio_ops rng_ops = {.notified = rng_notified, .reset = rng_virtio_reset};

struct virtiorng *virtiorng_create(const struct virtiorng_config *config, struct error *error)
{
	const struct virtio_config virtio = {.ops = &rng_ops,
					     .bus = config->bus,
					     .device = config->device,
					     .memory = config->memory,
					     .type = VIRTIO_ENTROPY,
					     .class_code = 0x00ff00,
					     .queues = 1,
					     .queue_size = QUEUE_SIZE,
					     .name = "virtio-rng"};
	struct virtiorng *rng = calloc(1, sizeof *rng);
	if (rng == NULL) {
		(void)error_set(error, ERROR_HOST, "out of memory for a virtio entropy device");
		return NULL;
	}
	rng->config = *config;
	clock_timer_init(&rng->next_period, config->clock, next_period, rng);
	if (virtio_init(&rng->virtio, &virtio, error))
		return rng;
	free(rng);
	return NULL;
}

void virtiorng_destroy(struct virtiorng *rng)
{
	if (rng == NULL)
		return;
	clock_timer_cancel(&rng->next_period);
	virtio_exit(&rng->virtio);
	free(rng);
}

void virtiorng_reset(struct virtiorng *rng)
{
	virtio_reset(&rng->virtio);
}
