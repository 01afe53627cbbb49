/* SPDX-License-Identifier: MIT */
#include "devices/virtioconsole.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"

#define FEATURE_MULTIPORT BIT64(1)
#define CONFIG_PORTS 4u /* max_nr_ports (5.3.4) */
#define CONFIG_SIZE 8u

/* 5.3.2: port 0 comes before the control queues. */
enum queue {
	QUEUE_RECEIVE_0,
	QUEUE_TRANSMIT_0,
	QUEUE_CONTROL_IN,
	QUEUE_CONTROL_OUT,
	QUEUE_RECEIVE_1,
	QUEUE_TRANSMIT_1,
	QUEUES
};
#define QUEUE_SIZE 64u
#define PIECE 4096u

/* What is done at a time: the rest comes later, so that a guest which never stops holds nobody up. */
#define CHAINS_AT_A_TIME 128u
#define BYTES_AT_A_TIME (UINT64_C(1) << 20)
#define PAUSE_NS 100000u

/* Control messages (5.3.6.2): port, event, value; a name follows PORT_NAME. */
#define MESSAGE_SIZE 8u
#define NAME_MAX_LENGTH 60u
enum event {
	EVENT_DEVICE_READY = 0,
	EVENT_PORT_ADD = 1,
	EVENT_PORT_READY = 3,
	EVENT_CONSOLE_PORT = 4,
	EVENT_PORT_OPEN = 6,
	EVENT_PORT_NAME = 7,
};

/* What the guest is still to be told of a port, in this order. */
enum notice { NOTICE_ADD, NOTICE_CONSOLE, NOTICE_NAME, NOTICE_OPEN, NOTICES };
static const uint8_t notice_event[NOTICES] = {EVENT_PORT_ADD, EVENT_CONSOLE_PORT, EVENT_PORT_NAME, EVENT_PORT_OPEN};

struct port {
	struct virtioconsole *console;
	struct chardev *stream; /* NULL: not there */
	unsigned receive, transmit;
	const char *name;
	bool open;
	uint8_t notices;
	bool has_in, has_out; /* a chain of the queue is in our hands */
	uint64_t sent;	      /* bytes of `out` that the stream took */
	struct virtio_chain in, out;
};

struct virtioconsole {
	struct virtio virtio;
	struct clock *clock;
	struct clock_timer retry;
	struct port port[VIRTIOCONSOLE_PORTS];
	struct virtio_chain chain; /* of a control queue, at work */
};

static struct virtioconsole *console_of(struct virtio *virtio)
{
	return container_of(virtio, struct virtioconsole, virtio);
}

/* ---- from the guest ---- */

static void do_later(struct virtioconsole *console)
{
	clock_timer_set(&console->retry, clock_now(console->clock) + PAUSE_NS);
}

/* False: that is enough, or the stream takes no more for now. */
static bool send_chain(struct port *port, uint64_t *budget)
{
	struct virtio *virtio = &port->console->virtio;
	uint8_t bytes[PIECE];
	while (port->sent < port->out.read_size) {
		uint64_t left = port->out.read_size - port->sent;
		if (*budget < PIECE) {
			do_later(port->console);
			return false;
		}
		size_t size = virtio_read(virtio, &port->out, port->sent, bytes, left < PIECE ? (size_t)left : PIECE);
		if (size == 0) {
			virtio_fail(virtio); /* not in memory */
			break;
		}
		unsigned taken = chardev_write(port->stream, bytes, (unsigned)size);
		port->sent += taken;
		*budget -= taken;
		if (taken < size)
			return false;
	}
	return true;
}

static void transmit(struct port *port)
{
	struct virtio *virtio = &port->console->virtio;
	uint64_t budget = BYTES_AT_A_TIME;
	unsigned chains = 0;
	for (; chains < CHAINS_AT_A_TIME && (port->has_out || virtio_pop(virtio, port->transmit, &port->out));
	     chains++) {
		if (!port->has_out)
			port->sent = 0;
		port->has_out = true;
		if (!send_chain(port, &budget))
			break;
		port->has_out = false;
		virtio_push(virtio, port->transmit, port->out.head, 0);
	}
	if (chains == CHAINS_AT_A_TIME)
		do_later(port->console);
	virtio_signal(virtio, port->transmit);
}

static void stream_output_ready(void *opaque)
{
	struct port *port = opaque;
	if (virtio_running(&port->console->virtio))
		transmit(port);
}

/* ---- to the guest ---- */

static unsigned stream_input_room(void *opaque)
{
	struct port *port = opaque;
	struct virtio *virtio = &port->console->virtio;
	if (!port->open || !virtio_running(virtio))
		return PIECE;
	if (!port->has_in)
		port->has_in = virtio_pop(virtio, port->receive, &port->in);
	if (port->has_in && port->in.write_size == 0) {
		virtio_fail(virtio);
		return 0;
	}
	return !port->has_in ? 0 : port->in.write_size < PIECE ? (unsigned)port->in.write_size : PIECE;
}

static void stream_input(void *opaque, const uint8_t *bytes, unsigned count)
{
	struct port *port = opaque;
	struct virtio *virtio = &port->console->virtio;
	if (!port->open || !virtio_running(virtio) || !port->has_in)
		return;
	port->has_in = false;
	if (virtio_write(virtio, &port->in, 0, bytes, count) < count) {
		virtio_fail(virtio);
		return;
	}
	virtio_push(virtio, port->receive, port->in.head, count);
	virtio_signal(virtio, port->receive);
}

/* ---- control ---- */

static bool tell_one(struct virtioconsole *console, const struct port *port, enum notice notice)
{
	struct virtio *virtio = &console->virtio;
	uint8_t message[MESSAGE_SIZE + NAME_MAX_LENGTH];
	size_t size = MESSAGE_SIZE;
	if (!virtio_pop(virtio, QUEUE_CONTROL_IN, &console->chain))
		return false;
	store_le(message, (uint64_t)(port - console->port), 4);
	store_le(&message[4], notice_event[notice], 2);
	store_le(&message[6], 1, 2);
	if (notice == NOTICE_NAME) {
		size_t length = strlen(port->name);
		memcpy(&message[size], port->name, length);
		size += length;
	}
	if (virtio_write(virtio, &console->chain, 0, message, size) < size) {
		virtio_fail(virtio);
		return false;
	}
	virtio_push(virtio, QUEUE_CONTROL_IN, console->chain.head, (uint32_t)size);
	return true;
}

static void tell(struct virtioconsole *console)
{
	for (unsigned i = 0; i < VIRTIOCONSOLE_PORTS; i++) {
		struct port *port = &console->port[i];
		for (unsigned notice = 0; notice < NOTICES; notice++) {
			if ((port->notices >> notice & 1) == 0)
				continue;
			if (!tell_one(console, port, (enum notice)notice))
				return;
			port->notices = (uint8_t)(port->notices & ~(1u << notice));
		}
	}
}

static void device_ready(struct virtioconsole *console)
{
	for (unsigned i = 0; i < VIRTIOCONSOLE_PORTS; i++)
		if (console->port[i].stream != NULL)
			console->port[i].notices |= 1u << NOTICE_ADD;
}

static void hear(struct virtioconsole *console, const uint8_t *message)
{
	uint32_t number = (uint32_t)load_le(message, 4);
	unsigned event = (unsigned)load_le(&message[4], 2), value = (unsigned)load_le(&message[6], 2);
	if (event == EVENT_DEVICE_READY && value == 1)
		device_ready(console);
	struct port *port = number < VIRTIOCONSOLE_PORTS ? &console->port[number] : NULL;
	if (port == NULL || port->stream == NULL)
		return;
	if (event == EVENT_PORT_READY && value == 1)
		port->notices |= 1u << NOTICE_OPEN | 1u << (port->name != NULL ? NOTICE_NAME : NOTICE_CONSOLE);
	if (event != EVENT_PORT_OPEN)
		return;
	port->open = value == 1;
	chardev_input_ready(port->stream);
}

static void hear_all(struct virtioconsole *console)
{
	struct virtio *virtio = &console->virtio;
	uint8_t message[MESSAGE_SIZE];
	unsigned chains = 0;
	for (; chains < CHAINS_AT_A_TIME && virtio_pop(virtio, QUEUE_CONTROL_OUT, &console->chain); chains++) {
		uint16_t head = console->chain.head;
		if (virtio_read(virtio, &console->chain, 0, message, MESSAGE_SIZE) == MESSAGE_SIZE)
			hear(console, message);
		virtio_push(virtio, QUEUE_CONTROL_OUT, head, 0);
	}
	if (chains == CHAINS_AT_A_TIME)
		do_later(console);
	virtio_signal(virtio, QUEUE_CONTROL_OUT);
}

/* ---- the queues ---- */

static void port_notified(struct port *port, unsigned queue)
{
	if (port->stream == NULL)
		return;
	if (queue == port->transmit)
		transmit(port);
	else
		chardev_input_ready(port->stream);
}

static void console_notified(struct virtio *virtio, unsigned queue)
{
	struct virtioconsole *console = console_of(virtio);
	switch (queue) {
	case QUEUE_CONTROL_OUT:
	case QUEUE_CONTROL_IN:
		if (virtio_has(virtio, FEATURE_MULTIPORT)) {
			hear_all(console);
			tell(console);
			virtio_signal(virtio, QUEUE_CONTROL_IN);
		}
		break;
	default:
		port_notified(&console->port[queue < QUEUE_CONTROL_IN ? VIRTIOCONSOLE_CONSOLE : VIRTIOCONSOLE_CHANNEL],
			      queue);
		break;
	}
}

static void try_again(void *opaque)
{
	struct virtioconsole *console = opaque;
	static const unsigned queues[] = {QUEUE_CONTROL_OUT, QUEUE_TRANSMIT_0, QUEUE_TRANSMIT_1};
	for (unsigned i = 0; i < sizeof queues / sizeof queues[0]; i++)
		if (virtio_running(&console->virtio))
			console_notified(&console->virtio, queues[i]);
}

static bool console_virtio_reset(struct virtio *virtio)
{
	struct virtioconsole *console = console_of(virtio);
	clock_timer_cancel(&console->retry);
	for (unsigned i = 0; i < VIRTIOCONSOLE_PORTS; i++) {
		struct port *port = &console->port[i];
		port->open = port->has_in = port->has_out = false;
		port->notices = 0;
	}
	return true;
}

/* ---- life ---- */

static const struct virtio_ops console_ops = {.notified = console_notified, .reset = console_virtio_reset};

static void attach(struct virtioconsole *console, const struct virtioconsole_config *config)
{
	static const unsigned receive[] = {QUEUE_RECEIVE_0, QUEUE_RECEIVE_1},
			      send[] = {QUEUE_TRANSMIT_0, QUEUE_TRANSMIT_1};
	for (unsigned i = 0; i < VIRTIOCONSOLE_PORTS; i++) {
		struct port *port = &console->port[i];
		const struct chardev_front front = {.input_room = stream_input_room,
						    .input = stream_input,
						    .output_ready = stream_output_ready,
						    .opaque = port};
		*port = (struct port){
		    .console = console, .stream = config->port[i], .receive = receive[i], .transmit = send[i]};
		if (i == VIRTIOCONSOLE_CHANNEL)
			port->name = config->channel_name;
		if (port->stream != NULL)
			chardev_attach(port->stream, &front);
	}
}

struct virtioconsole *virtioconsole_create(const struct virtioconsole_config *config, struct error *error)
{
	const struct virtio_config virtio = {.ops = &console_ops,
					     .bus = config->bus,
					     .device = config->device,
					     .memory = config->memory,
					     .type = VIRTIO_CONSOLE,
					     .class_code = 0x078000,
					     .features = FEATURE_MULTIPORT,
					     .queues = QUEUES,
					     .queue_size = QUEUE_SIZE,
					     .config_size = CONFIG_SIZE,
					     .name = "virtio-console"};
	assert(config->port[VIRTIOCONSOLE_CHANNEL] == NULL || strlen(config->channel_name) <= NAME_MAX_LENGTH);
	struct virtioconsole *console = calloc(1, sizeof *console);
	if (console == NULL) {
		(void)error_set(error, ERROR_HOST, "out of memory for a virtio console");
		return NULL;
	}
	console->clock = config->clock;
	clock_timer_init(&console->retry, config->clock, try_again, console);
	if (!virtio_init(&console->virtio, &virtio, error)) {
		free(console);
		return NULL;
	}
	store_le(&console->virtio.config[CONFIG_PORTS], VIRTIOCONSOLE_PORTS, 4);
	attach(console, config);
	return console;
}

void virtioconsole_destroy(struct virtioconsole *console)
{
	if (console == NULL)
		return;
	clock_timer_cancel(&console->retry);
	virtio_exit(&console->virtio);
	for (unsigned i = 0; i < VIRTIOCONSOLE_PORTS; i++)
		if (console->port[i].stream != NULL)
			chardev_attach(console->port[i].stream, &(struct chardev_front){0});
	free(console);
}

void virtioconsole_reset(struct virtioconsole *console)
{
	virtio_reset(&console->virtio);
}

bool virtioconsole_is_open(const struct virtioconsole *console, enum virtioconsole_port port)
{
	return console->port[port].open && virtio_running(&console->virtio);
}
