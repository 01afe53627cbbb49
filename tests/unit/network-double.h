/* SPDX-License-Identifier: MIT */
/* A back end that keeps what the adapter sends, refuses when told to, and delivers what a test makes. */
#ifndef NFOLD_TESTS_UNIT_NETWORK_DOUBLE_H
#define NFOLD_TESTS_UNIT_NETWORK_DOUBLE_H

#include <stdlib.h>
#include <string.h>

#include "backend/network-impl.h"

struct network_double {
	struct network base;
	bool refuses;
	unsigned sent, refused, readies;
	uint32_t length; /* of the last frame sent */
	struct network_offload offload;
	uint8_t bytes[NETWORK_FRAME_MAX];
};

static inline bool network_double_send(struct network *network, const struct network_frame *frame)
{
	struct network_double *twin = (struct network_double *)network;
	if (twin->refuses) {
		twin->refused++;
		return false;
	}
	twin->sent++;
	twin->length = frame->length;
	twin->offload = frame->offload;
	memcpy(twin->bytes, frame->bytes, frame->length);
	return true;
}

static inline void network_double_ready(struct network *network)
{
	((struct network_double *)network)->readies++;
}

static inline void network_double_close(struct network *network)
{
	network_release(network);
}

static const struct network_ops network_double_ops = {
    .send = network_double_send, .receive_ready = network_double_ready, .close = network_double_close};

static inline void network_double_init(struct network_double *twin, unsigned takes)
{
	twin->refuses = false;
	twin->sent = twin->refused = twin->readies = 0;
	twin->length = 0;
	network_init(&twin->base, &network_double_ops, takes, NETWORK_MTU);
}

static inline bool network_double_deliver(struct network_double *twin, const void *bytes, uint32_t length)
{
	const struct network_frame frame = {.bytes = bytes, .length = length};
	return network_deliver(&twin->base, &frame);
}

static inline void network_double_room(struct network_double *twin)
{
	twin->refuses = false;
	twin->base.front.send_ready(twin->base.front.opaque);
}

#endif
