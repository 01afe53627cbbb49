/* SPDX-License-Identifier: MIT */
/*
 * ISA DMA: how a device meets its channel of the DMA controller.
 *
 * The device asks with DREQ. While DREQ is high and the channel may run, the controller moves bytes through the
 * functions below, in the direction that the guest programmed, and says when the last byte of the count has gone.
 * read() and write() return how many bytes they took part in; fewer than asked for ends this round. The device lowers
 * DREQ, also from within these functions, when it has nothing more to move.
 *
 * All calls are made with the machine's device lock held.
 */
#ifndef NFOLD_IO_DMA_H
#define NFOLD_IO_DMA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The device as the controller sees it. */
struct dma_device {
	unsigned (*read)(void *opaque, uint8_t *bytes, unsigned count);	       /* device to memory */
	unsigned (*write)(void *opaque, const uint8_t *bytes, unsigned count); /* memory to device */
	void (*terminal_count)(void *opaque);
	void *opaque;
};

/* The channel's DREQ as the device sees it. */
struct dma_request {
	void (*set)(void *opaque, int channel, bool level);
	void *opaque;
	int channel;
};

static inline void dma_request_set(const struct dma_request *request, bool level)
{
	if (request->set != NULL)
		request->set(request->opaque, request->channel, level);
}

#endif
