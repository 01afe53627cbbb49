/* SPDX-License-Identifier: MIT */
#include "backend/network.h"

#include <stdlib.h>
#include <string.h>

#include "backend/network-impl.h"

void network_init(struct network *network, const struct network_ops *ops, unsigned takes, unsigned mtu)
{
	network->ops = ops;
	network->takes = takes;
	network->mtu = mtu;
	network->counters = network->own_counters;
}

void network_release(struct network *network)
{
	free(network->scratch);
	network->scratch = NULL;
}

bool network_start(struct network *network, struct error *error)
{
	return network->ops->start == NULL || network->ops->start(network, error);
}

void network_stop(struct network *network)
{
	if (network != NULL && network->ops->stop != NULL)
		network->ops->stop(network);
}

void network_close(struct network *network)
{
	if (network != NULL)
		network->ops->close(network);
}

void network_set_counters(struct network *network, uint64_t *counters)
{
	network->counters = counters;
}

void network_set_watcher(struct network *network, network_watcher_function *watcher, void *opaque)
{
	network->watcher = watcher;
	network->watcher_opaque = opaque;
}

void network_attach(struct network *network, const struct network_front *front)
{
	network->front = front != NULL ? *front : (struct network_front){0};
	network->front_takes = 0;
	network_receive_ready(network);
}

void network_front_takes(struct network *network, unsigned takes)
{
	network->front_takes = takes;
	if (network->ops->front_changed != NULL)
		network->ops->front_changed(network);
}

unsigned network_mtu(const struct network *network)
{
	return network->mtu;
}

void network_receive_ready(struct network *network)
{
	if (network->ops->receive_ready != NULL)
		network->ops->receive_ready(network);
}

void network_count_drop(struct network *network, bool received)
{
	network_count(network, received ? NETWORK_RECEIVE_DROPS : NETWORK_SEND_DROPS, 1);
}

/* ---- frames ---- */

/* Which way a frame goes: to the front or to the back end. */
struct passage {
	struct network *network;
	bool received;
};

static bool passage_take(void *opaque, const struct network_frame *frame)
{
	const struct passage *passage = opaque;
	struct network *network = passage->network;
	return passage->received ? network->front.receive(network->front.opaque, frame)
				 : network->ops->send(network, frame);
}

static unsigned needed(const struct network_offload *offload)
{
	static const unsigned segments[] = {
	    [NETWORK_WHOLE] = 0, [NETWORK_TCP4] = NETWORK_TAKES_TCP4, [NETWORK_TCP6] = NETWORK_TAKES_TCP6};
	return segments[offload->segment] | (offload->checksum ? NETWORK_TAKES_CHECKSUM : 0);
}

static bool make_scratch(struct network *network)
{
	if (network->scratch == NULL)
		network->scratch = malloc(NETWORK_FRAME_MAX);
	return network->scratch != NULL;
}

/* The other side does not take the frame as it is. */
static bool pass_converted(const struct passage *passage, const struct network_frame *frame, unsigned lacks)
{
	struct network *network = passage->network;
	if (!make_scratch(network)) {
		network_count_drop(network, passage->received);
		return true;
	}
	if ((lacks & ~(unsigned)NETWORK_TAKES_CHECKSUM) != 0)
		return network_offload_cut(frame, network->scratch, passage_take, (void *)passage);
	struct network_frame whole = {.bytes = network->scratch, .length = frame->length, .offload = frame->offload};
	memcpy(network->scratch, frame->bytes, frame->length);
	network_offload_checksum(network->scratch, frame->length, &frame->offload);
	whole.offload.checksum = false;
	whole.offload.trusted = true;
	return passage_take((void *)passage, &whole);
}

static bool pass(struct network *network, bool received, const struct network_frame *frame)
{
	const struct passage passage = {.network = network, .received = received};
	bool possible =
	    frame->length >= NETWORK_HEADER_SIZE && frame->length <= NETWORK_FRAME_MAX && network_offload_check(frame);
	if (!possible || (received && network->front.receive == NULL)) {
		network_count_drop(network, received);
		return true;
	}
	unsigned lacks = needed(&frame->offload) & ~(received ? network->front_takes : network->takes);
	if (!(lacks == 0 ? passage_take((void *)&passage, frame) : pass_converted(&passage, frame, lacks)))
		return false;
	network_count(network, received ? NETWORK_RECEIVED_FRAMES : NETWORK_SENT_FRAMES, 1);
	network_count(network, received ? NETWORK_RECEIVED_BYTES : NETWORK_SENT_BYTES, frame->length);
	if (network->watcher != NULL)
		network->watcher(network->watcher_opaque, received, frame->length);
	return true;
}

bool network_send(struct network *network, const struct network_frame *frame)
{
	return pass(network, false, frame);
}

bool network_deliver(struct network *network, const struct network_frame *frame)
{
	return pass(network, true, frame);
}

/* ---- no network: a cable that is not plugged in ---- */

static bool none_send(struct network *network, const struct network_frame *frame)
{
	(void)network;
	(void)frame;
	return true;
}

static void none_close(struct network *network)
{
	network_release(network);
	free(network);
}

static const struct network_ops none_ops = {.send = none_send, .close = none_close};

bool network_link(const struct network *network)
{
	return network->ops != &none_ops;
}

struct network *network_open_none(struct error *error)
{
	struct network *network = calloc(1, sizeof *network);
	if (network == NULL)
		(void)error_set(error, ERROR_HOST, "out of memory");
	else
		network_init(network, &none_ops, 0, NETWORK_MTU);
	return network;
}
