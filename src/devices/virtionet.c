/* SPDX-License-Identifier: MIT */
#include "devices/virtionet.h"

#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "devices/virtio.h"

/* Features (5.1.3). */
#define F_CSUM BIT64(0)
#define F_GUEST_CSUM BIT64(1)
#define F_MTU BIT64(3)
#define F_MAC BIT64(5)
#define F_GUEST_TSO4 BIT64(7)
#define F_GUEST_TSO6 BIT64(8)
#define F_HOST_TSO4 BIT64(11)
#define F_HOST_TSO6 BIT64(12)
#define F_MRG_RXBUF BIT64(15)
#define F_STATUS BIT64(16)
#define F_CTRL_VQ BIT64(17)
#define F_CTRL_RX BIT64(18)
#define F_CTRL_RX_EXTRA BIT64(20)
#define F_CTRL_MAC_ADDR BIT64(23)

/* Device configuration (5.1.4). */
#define CONFIG_STATUS 6u
#define CONFIG_QUEUE_PAIRS 8u
#define CONFIG_MTU 10u
#define CONFIG_SIZE 12u
#define STATUS_LINK_UP 1u

enum queue { QUEUE_RECEIVE, QUEUE_TRANSMIT, QUEUE_CONTROL, QUEUES };
#define QUEUE_SIZE 256u
#define BUDGET 512u /* chains at a time: more than a queue has */
#define PAUSE_NS 100000u

/* The header in front of each frame (5.1.6). */
#define HEADER_SIZE 12u
#define HEADER_NEEDS_CSUM 1u
#define HEADER_DATA_VALID 2u
#define HEADER_TCP4 1u
#define HEADER_TCP6 4u
enum header_field {
	HEADER_FLAGS = 0,
	HEADER_SEGMENT = 1,
	HEADER_LENGTH = 2,
	HEADER_SEGMENT_SIZE = 4,
	HEADER_CSUM_START = 6,
	HEADER_CSUM_OFFSET = 8,
	HEADER_BUFFERS = 10,
};

/* Control commands (5.1.6.5): class, command, data; then an acknowledgement that we write. */
#define CONTROL_RX 0u
#define CONTROL_MAC 1u
#define CONTROL_MAC_TABLE 0u
#define CONTROL_MAC_ADDRESS 1u
#define CONTROL_OK 0u
#define CONTROL_ERROR 1u
#define ADDRESSES_MAX 64u /* of each kind; of more, all are let through */

/* In the order of the commands of CONTROL_RX. */
enum receive_mode {
	MODE_PROMISCUOUS,
	MODE_ALL_MULTI,
	MODE_ALL_UNI,
	MODE_NO_MULTI,
	MODE_NO_UNI,
	MODE_NO_BROADCAST,
	MODES
};

struct address_table {
	unsigned count;
	bool overflow;
	uint8_t mac[ADDRESSES_MAX][NETWORK_MAC_SIZE];
};

struct virtionet {
	struct virtio virtio;
	struct virtionet_config config;
	struct clock_timer retry; /* a queue that never ends is looked at again */
	bool mode[MODES];
	struct address_table unicast, multicast;
	uint8_t mac[NETWORK_MAC_SIZE]; /* as the guest may have set it */
	bool receive_refused, send_refused;
	bool sending;		   /* guards against a network that asks for more while it is served */
	struct virtio_chain chain; /* at work */
	struct virtio_chain first; /* of a frame that is being received */
	uint16_t head[QUEUE_SIZE]; /* of the buffers it fills */
	uint32_t written[QUEUE_SIZE];
	uint8_t frame[NETWORK_FRAME_MAX]; /* that is being sent */
};

static struct virtionet *net_of(struct virtio *virtio)
{
	return container_of(virtio, struct virtionet, virtio);
}

/* ---- receiving ---- */

static bool table_has(const struct address_table *table, const uint8_t *mac)
{
	for (unsigned i = 0; i < table->count; i++)
		if (memcmp(table->mac[i], mac, NETWORK_MAC_SIZE) == 0)
			return true;
	return table->overflow;
}

static bool wants(const struct virtionet *net, const uint8_t *mac)
{
	static const uint8_t broadcast[NETWORK_MAC_SIZE] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
	const bool *mode = net->mode;
	if (mode[MODE_PROMISCUOUS])
		return true;
	if (memcmp(mac, broadcast, sizeof broadcast) == 0)
		return !mode[MODE_NO_BROADCAST];
	if ((mac[0] & 1) != 0)
		return !mode[MODE_NO_MULTI] && (mode[MODE_ALL_MULTI] || table_has(&net->multicast, mac));
	return !mode[MODE_NO_UNI] &&
	       (mode[MODE_ALL_UNI] || memcmp(mac, net->mac, sizeof net->mac) == 0 || table_has(&net->unicast, mac));
}

static void make_header(const struct virtionet *net, const struct network_frame *frame, uint8_t *header)
{
	static const uint8_t segments[] = {
	    [NETWORK_WHOLE] = 0, [NETWORK_TCP4] = HEADER_TCP4, [NETWORK_TCP6] = HEADER_TCP6};
	const struct network_offload *offload = &frame->offload;
	memset(header, 0, HEADER_SIZE);
	if (offload->checksum) {
		header[HEADER_FLAGS] = HEADER_NEEDS_CSUM;
		store_le(&header[HEADER_CSUM_START], offload->start, 2);
		store_le(&header[HEADER_CSUM_OFFSET], offload->offset, 2);
	} else if (offload->trusted && virtio_has(&net->virtio, F_GUEST_CSUM)) {
		header[HEADER_FLAGS] = HEADER_DATA_VALID;
	}
	if (offload->segment != NETWORK_WHOLE) {
		header[HEADER_SEGMENT] = segments[offload->segment];
		store_le(&header[HEADER_SEGMENT_SIZE], offload->size, 2);
		store_le(&header[HEADER_LENGTH], offload->start + 4u * (frame->bytes[offload->start + 12] >> 4), 2);
	}
}

/* Header and frame as one run of bytes, from `done` on, into the chain. Returns where it ends now. */
static uint64_t fill(struct virtionet *net, const struct network_frame *frame, const uint8_t *header, uint64_t done)
{
	uint64_t total = HEADER_SIZE + frame->length, room = net->chain.write_size, at = 0;
	if (done == 0)
		at = virtio_write(&net->virtio, &net->chain, 0, header, HEADER_SIZE);
	if (done + at < HEADER_SIZE)
		return 0; /* not memory */
	uint64_t size = total - done - at < room - at ? total - done - at : room - at;
	uint64_t from = done + at - HEADER_SIZE;
	return done + at + virtio_write(&net->virtio, &net->chain, at, frame->bytes + from, (size_t)size);
}

enum received { RECEIVED, RECEIVED_NO_ROOM, RECEIVED_TOO_LONG };

/* Takes as many buffers as the frame needs: one, if they cannot be merged. What is not given back is put back. */
static enum received receive_into(struct virtionet *net, const struct network_frame *frame, const uint8_t *header,
				  unsigned *buffers)
{
	struct virtio *virtio = &net->virtio;
	bool merge = virtio_has(virtio, F_MRG_RXBUF);
	uint64_t done = 0, total = HEADER_SIZE + frame->length;
	for (*buffers = 0; done < total; ++*buffers) {
		if (*buffers == QUEUE_SIZE || (*buffers > 0 && !merge))
			return RECEIVED_TOO_LONG;
		if (!virtio_pop(virtio, QUEUE_RECEIVE, &net->chain))
			return RECEIVED_NO_ROOM;
		net->head[*buffers] = net->chain.head;
		if (*buffers == 0)
			memcpy(&net->first, &net->chain, sizeof net->first);
		uint64_t end = net->chain.write_size >= HEADER_SIZE ? fill(net, frame, header, done) : done;
		if (end == done) { /* 5.1.6.3.1: smaller than a header, or not memory */
			virtio_fail(virtio);
			return RECEIVED_TOO_LONG;
		}
		net->written[*buffers] = (uint32_t)(end - done);
		done = end;
	}
	return RECEIVED;
}

static void receive_done(struct virtionet *net, unsigned buffers)
{
	uint8_t count[2];
	store_le(count, buffers, 2);
	(void)virtio_write(&net->virtio, &net->first, HEADER_BUFFERS, count, sizeof count);
	for (unsigned i = 0; i < buffers; i++)
		virtio_stage(&net->virtio, QUEUE_RECEIVE, net->head[i], net->written[i]);
	virtio_publish(&net->virtio, QUEUE_RECEIVE);
	virtio_signal(&net->virtio, QUEUE_RECEIVE);
}

static bool net_receive(void *opaque, const struct network_frame *frame)
{
	struct virtionet *net = opaque;
	uint8_t header[HEADER_SIZE];
	unsigned buffers;
	net->receive_refused = false;
	if (!virtio_running(&net->virtio)) {
		network_count_drop(net->config.network, true);
		return true;
	}
	if (!wants(net, frame->bytes))
		return true;
	make_header(net, frame, header);
	enum received received = receive_into(net, frame, header, &buffers);
	if (received == RECEIVED) {
		receive_done(net, buffers);
		return true;
	}
	virtio_unpop(&net->virtio, QUEUE_RECEIVE, buffers);
	if (received == RECEIVED_TOO_LONG || !virtio_running(&net->virtio)) {
		network_count_drop(net->config.network, true);
		return true;
	}
	net->receive_refused = true;
	return false;
}

/* ---- sending ---- */

/* What the guest says that is left to do, as far as it was agreed upon. False: nothing that was. */
static bool read_offload(const struct virtionet *net, const uint8_t *header, struct network_offload *offload)
{
	const struct virtio *virtio = &net->virtio;
	uint8_t segment = header[HEADER_SEGMENT];
	*offload = (struct network_offload){0};
	if ((header[HEADER_FLAGS] & HEADER_NEEDS_CSUM) != 0 && virtio_has(virtio, F_CSUM)) {
		offload->checksum = true;
		offload->start = (uint16_t)load_le(&header[HEADER_CSUM_START], 2);
		offload->offset = (uint16_t)load_le(&header[HEADER_CSUM_OFFSET], 2);
	}
	if (segment == 0)
		return true;
	offload->size = (uint16_t)load_le(&header[HEADER_SEGMENT_SIZE], 2);
	offload->segment = segment == HEADER_TCP4 ? NETWORK_TCP4 : NETWORK_TCP6;
	return (segment == HEADER_TCP4 && virtio_has(virtio, F_HOST_TSO4)) ||
	       (segment == HEADER_TCP6 && virtio_has(virtio, F_HOST_TSO6));
}

/* False: the network has no room. What is no frame is dropped. */
static bool send_chain(struct virtionet *net)
{
	uint8_t header[HEADER_SIZE];
	struct network_frame frame = {.bytes = net->frame};
	const struct virtio_chain *chain = &net->chain;
	uint64_t length = chain->read_size - HEADER_SIZE;
	if (chain->read_size < HEADER_SIZE + NETWORK_HEADER_SIZE || length > NETWORK_FRAME_MAX ||
	    virtio_read(&net->virtio, chain, 0, header, HEADER_SIZE) != HEADER_SIZE ||
	    virtio_read(&net->virtio, chain, HEADER_SIZE, net->frame, (size_t)length) != length ||
	    !read_offload(net, header, &frame.offload)) {
		network_count_drop(net->config.network, false);
		return true;
	}
	frame.length = (uint32_t)length;
	return network_send(net->config.network, &frame);
}

static void net_send(struct virtionet *net)
{
	struct virtio *virtio = &net->virtio;
	unsigned budget = BUDGET;
	if (net->sending)
		return;
	net->sending = true;
	net->send_refused = false;
	while (budget > 0 && !net->send_refused && virtio_pop(virtio, QUEUE_TRANSMIT, &net->chain)) {
		budget--;
		net->send_refused = !send_chain(net);
		if (net->send_refused)
			virtio_unpop(virtio, QUEUE_TRANSMIT, 1);
		else
			virtio_push(virtio, QUEUE_TRANSMIT, net->chain.head, 0);
	}
	if (budget == 0)
		clock_timer_set(&net->retry, clock_now(net->config.clock) + PAUSE_NS);
	virtio_signal(virtio, QUEUE_TRANSMIT);
	net->sending = false;
}

static void net_send_ready(void *opaque)
{
	net_send(opaque);
}

/* ---- control ---- */

static bool set_mode(struct virtionet *net, unsigned command)
{
	uint8_t on;
	uint64_t needed = command <= MODE_ALL_MULTI ? F_CTRL_RX : F_CTRL_RX_EXTRA;
	if (command >= MODES || !virtio_has(&net->virtio, needed) ||
	    virtio_read(&net->virtio, &net->chain, 2, &on, 1) != 1)
		return false;
	net->mode[command] = on != 0;
	return true;
}

/* A number of addresses and the addresses, at `*at` in the command. */
static bool read_table(struct virtionet *net, struct address_table *table, uint64_t *at)
{
	uint8_t bytes[4];
	if (virtio_read(&net->virtio, &net->chain, *at, bytes, 4) != 4)
		return false;
	uint64_t count = load_le(bytes, 4), size = count * NETWORK_MAC_SIZE;
	if (size > net->chain.read_size - *at - 4)
		return false;
	table->overflow = count > ADDRESSES_MAX;
	table->count = table->overflow ? 0 : (unsigned)count;
	size_t kept = table->count * (size_t)NETWORK_MAC_SIZE;
	if (virtio_read(&net->virtio, &net->chain, *at + 4, table->mac, kept) != kept)
		return false;
	*at += 4 + size;
	return true;
}

static bool set_addresses(struct virtionet *net, unsigned command)
{
	uint64_t at = 2;
	if (command == CONTROL_MAC_TABLE && virtio_has(&net->virtio, F_CTRL_RX))
		return read_table(net, &net->unicast, &at) && read_table(net, &net->multicast, &at);
	uint8_t mac[NETWORK_MAC_SIZE];
	if (command != CONTROL_MAC_ADDRESS || !virtio_has(&net->virtio, F_CTRL_MAC_ADDR) ||
	    virtio_read(&net->virtio, &net->chain, 2, mac, sizeof mac) != sizeof mac)
		return false;
	memcpy(net->mac, mac, sizeof mac);
	memcpy(net->virtio.config, mac, sizeof mac);
	return true;
}

static void net_control(struct virtionet *net)
{
	struct virtio *virtio = &net->virtio;
	uint8_t command[2];
	for (unsigned i = 0; i < QUEUE_SIZE && virtio_pop(virtio, QUEUE_CONTROL, &net->chain); i++) {
		bool good = virtio_read(virtio, &net->chain, 0, command, 2) == 2;
		if (good)
			good = command[0] == CONTROL_RX	   ? set_mode(net, command[1])
			       : command[0] == CONTROL_MAC ? set_addresses(net, command[1])
							   : false;
		uint8_t answer = (uint8_t)(good ? CONTROL_OK : CONTROL_ERROR);
		size_t written = virtio_write(virtio, &net->chain, 0, &answer, 1);
		virtio_push(virtio, QUEUE_CONTROL, net->chain.head, (uint32_t)written);
	}
	virtio_signal(virtio, QUEUE_CONTROL);
}

/* ---- life ---- */

static void net_notified(struct virtio *virtio, unsigned queue)
{
	struct virtionet *net = net_of(virtio);
	if (queue == QUEUE_TRANSMIT && !net->send_refused)
		net_send(net);
	else if (queue == QUEUE_CONTROL)
		net_control(net);
	else if (queue == QUEUE_RECEIVE && net->receive_refused) {
		net->receive_refused = false;
		network_receive_ready(net->config.network);
	}
}

static void net_retry(void *opaque)
{
	net_send(opaque);
}

static void net_started(struct virtio *virtio)
{
	struct virtionet *net = net_of(virtio);
	unsigned takes = 0;
	if (virtio_has(virtio, F_GUEST_CSUM))
		takes = NETWORK_TAKES_CHECKSUM | (virtio_has(virtio, F_GUEST_TSO4) ? NETWORK_TAKES_TCP4 : 0) |
			(virtio_has(virtio, F_GUEST_TSO6) ? NETWORK_TAKES_TCP6 : 0);
	network_front_takes(net->config.network, takes);
}

static bool net_forget(struct virtio *virtio)
{
	struct virtionet *net = net_of(virtio);
	memset(net->mode, 0, sizeof net->mode);
	net->mode[MODE_PROMISCUOUS] = true;
	net->unicast = net->multicast = (struct address_table){0};
	memcpy(net->mac, net->config.mac, sizeof net->mac);
	memcpy(virtio->config, net->mac, sizeof net->mac);
	clock_timer_cancel(&net->retry);
	network_front_takes(net->config.network, 0);
	net->send_refused = false;
	if (net->receive_refused) { /* what waited is dropped */
		net->receive_refused = false;
		network_receive_ready(net->config.network);
	}
	return true;
}

static const struct virtio_ops net_ops = {.notified = net_notified, .reset = net_forget, .started = net_started};

static bool net_init(struct virtionet *net, struct error *error)
{
	unsigned mtu = network_mtu(net->config.network);
	const struct virtio_config config = {.ops = &net_ops,
					     .bus = net->config.bus,
					     .device = net->config.device,
					     .memory = net->config.memory,
					     .type = VIRTIO_NET,
					     .class_code = 0x020000,
					     .features = F_CSUM | F_GUEST_CSUM | F_MAC | F_GUEST_TSO4 | F_GUEST_TSO6 |
							 F_HOST_TSO4 | F_HOST_TSO6 | F_MRG_RXBUF | F_STATUS |
							 F_CTRL_VQ | F_CTRL_RX | F_CTRL_RX_EXTRA | F_CTRL_MAC_ADDR |
							 (mtu > NETWORK_MTU ? F_MTU : 0),
					     .queues = QUEUES,
					     .queue_size = QUEUE_SIZE,
					     .config_size = CONFIG_SIZE,
					     .name = "virtio-net"};
	if (!virtio_init(&net->virtio, &config, error))
		return false;
	store_le(&net->virtio.config[CONFIG_STATUS], network_link(net->config.network) ? STATUS_LINK_UP : 0, 2);
	store_le(&net->virtio.config[CONFIG_QUEUE_PAIRS], 1, 2);
	store_le(&net->virtio.config[CONFIG_MTU], mtu, 2);
	return true;
}

struct virtionet *virtionet_create(const struct virtionet_config *config, struct error *error)
{
	struct virtionet *net = calloc(1, sizeof *net);
	if (net == NULL) {
		(void)error_set(error, ERROR_HOST, "out of memory for a network adapter");
		return NULL;
	}
	net->config = *config;
	clock_timer_init(&net->retry, config->clock, net_retry, net);
	if (!net_init(net, error)) {
		free(net);
		return NULL;
	}
	(void)net_forget(&net->virtio);
	const struct network_front front = {.receive = net_receive, .send_ready = net_send_ready, .opaque = net};
	network_attach(config->network, &front);
	return net;
}

void virtionet_destroy(struct virtionet *net)
{
	if (net == NULL)
		return;
	network_attach(net->config.network, NULL);
	clock_timer_cancel(&net->retry);
	virtio_exit(&net->virtio);
	free(net);
}

void virtionet_reset(struct virtionet *net)
{
	virtio_reset(&net->virtio);
}
