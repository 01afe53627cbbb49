/* SPDX-License-Identifier: MIT */
/* What the kinds of networks share. Internal to the backends. */
#ifndef NFOLD_BACKEND_NETWORK_IMPL_H
#define NFOLD_BACKEND_NETWORK_IMPL_H

#include "backend/network.h"

struct network_ops {
	bool (*send)(struct network *network, const struct network_frame *frame); /* false: no room */
	void (*receive_ready)(struct network *network);				  /* may be NULL */
	void (*front_changed)(struct network *network);				  /* what it takes; may be NULL */
	bool (*start)(struct network *network, struct error *error);		  /* may be NULL */
	void (*stop)(struct network *network);					  /* may be NULL */
	void (*close)(struct network *network);					  /* frees it too */
};

struct network {
	const struct network_ops *ops;
	struct network_front front;
	unsigned takes;	      /* the back end */
	unsigned front_takes; /* the adapter */
	unsigned mtu;
	uint64_t *counters;
	network_watcher_function *watcher; /* or NULL */
	void *watcher_opaque;
	uint64_t own_counters[NETWORK_COUNTERS]; /* until the caller brings its own */
	uint8_t *scratch;			 /* NETWORK_FRAME_MAX bytes for frames in the making, or NULL */
};

void network_init(struct network *network, const struct network_ops *ops, unsigned takes, unsigned mtu);
void network_release(struct network *network); /* undoes network_init() */

static inline void network_count(struct network *network, enum network_counter counter, uint64_t by)
{
	__atomic_store_n(&network->counters[counter], network->counters[counter] + by, __ATOMIC_RELAXED);
}

/* Offers a frame to the adapter. False: it has no room, and calls receive_ready() later. */
bool network_deliver(struct network *network, const struct network_frame *frame);

/* ---- network-offload.c: pure functions ---- */

/* Is what the frame says of its offloads possible? It is of at least a header's length. */
bool network_offload_check(const struct network_frame *frame);

/* Puts the checksum of a checked frame into a copy of it. */
void network_offload_checksum(uint8_t *bytes, uint32_t length, const struct network_offload *offload);

/*
 * Cuts a checked frame. Each segment is made in `scratch` (NETWORK_FRAME_MAX bytes), with its checksums, and given to
 * the function, until that returns false for the first one. Returns whether the frame was taken.
 */
typedef bool network_segment_taker(void *opaque, const struct network_frame *segment);
bool network_offload_cut(const struct network_frame *frame, uint8_t *scratch, network_segment_taker *take,
			 void *opaque);

#endif
