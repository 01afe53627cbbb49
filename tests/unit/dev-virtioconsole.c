/* SPDX-License-Identifier: MIT */
/* The virtio console: ports and their names, bytes both ways, streams that are slow, ports that close, bad chains,
 * reset. */
#include "devices/virtioconsole.h"

#include "backend/chardev-impl.h"
#include "virtio-rig.h"

#define SIZE 8u
#define MULTIPORT (UINT64_C(1) << 1)
#define BUFFER VIRTIO_RIG_BUFFERS
#define NAME "org.test.agent"

enum { RX0, TX0, CONTROL_IN, CONTROL_OUT, RX1, TX1, QUEUES };

struct stream {
	struct chardev base;
	uint8_t out[8192];
	unsigned written, room;
	char in[64];
	unsigned waiting;
};

struct fixture {
	struct virtio_rig r;
	struct stream stream[VIRTIOCONSOLE_PORTS];
	struct virtioconsole *console;
};

static unsigned stream_write(struct chardev *chardev, const uint8_t *bytes, unsigned count)
{
	struct stream *stream = (struct stream *)chardev;
	unsigned taken = count < stream->room ? count : stream->room;
	for (unsigned i = 0; i < taken; i++)
		stream->out[stream->written++ % sizeof stream->out] = bytes[i];
	stream->room -= taken;
	return taken;
}

static void stream_feed(struct chardev *chardev)
{
	struct stream *stream = (struct stream *)chardev;
	while (stream->waiting > 0 && chardev->front.input != NULL) {
		unsigned room = chardev_input_room(chardev);
		unsigned count = room < stream->waiting ? room : stream->waiting;
		if (count == 0)
			return;
		chardev_push_input(chardev, (const uint8_t *)stream->in, count);
		stream->waiting -= count;
		memmove(stream->in, stream->in + count, stream->waiting);
	}
}

static const struct chardev_ops stream_ops = {.write = stream_write, .input_ready = stream_feed};

static void type(struct fixture *f, unsigned port, const char *text)
{
	struct stream *stream = &f->stream[port];
	memcpy(stream->in + stream->waiting, text, strlen(text));
	stream->waiting += (unsigned)strlen(text);
	stream_feed(&stream->base);
}

static int setup(void **state)
{
	struct fixture *f = test_calloc(1, sizeof *f);
	virtio_rig_init(&f->r);
	struct virtioconsole_config config = {.bus = f->r.bus,
					      .device = VIRTIO_RIG_DEVICE,
					      .clock = &f->r.rig.clock,
					      .memory = &f->r.memory,
					      .channel_name = NAME};
	for (unsigned i = 0; i < VIRTIOCONSOLE_PORTS; i++) {
		f->stream[i] = (struct stream){.base = {.ops = &stream_ops}, .room = 8192};
		config.port[i] = &f->stream[i].base;
	}
	f->console = virtioconsole_create(&config, NULL);
	assert_non_null(f->console);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	virtioconsole_destroy(f->console);
	assert_null(f->r.rig.clock.timers);
	assert_null(f->stream[0].base.front.input);
	virtio_rig_destroy(&f->r);
	test_free(f);
	return 0;
}

static void send_control(struct fixture *f, uint32_t port, unsigned event, unsigned value)
{
	poke(&f->r, BUFFER, 4, port);
	poke(&f->r, BUFFER + 4, 2, event);
	poke(&f->r, BUFFER + 6, 2, value);
	descriptor(&f->r, CONTROL_OUT, 0, BUFFER, 8, 0, 0);
	give(&f->r, CONTROL_OUT, 0);
	(void)take(&f->r, CONTROL_OUT, 0);
}

/* The next control message, which must be this one. Returns its length. */
static uint32_t hear(struct fixture *f, uint32_t port, unsigned event)
{
	descriptor(&f->r, CONTROL_IN, 0, BUFFER + 0x1000, 128, DESC_WRITE, 0);
	give(&f->r, CONTROL_IN, 0);
	uint32_t length = take(&f->r, CONTROL_IN, 0);
	assert_int_equal(peek(&f->r, BUFFER + 0x1000, 4), port);
	assert_int_equal(peek(&f->r, BUFFER + 0x1004, 2), event);
	assert_int_equal(peek(&f->r, BUFFER + 0x1006, 2), 1);
	return length;
}

static void start(struct fixture *f)
{
	start_driver(&f->r, MULTIPORT, QUEUES, SIZE);
	send_control(f, UINT32_MAX, 0, 1);
}

static void open_channel(struct fixture *f)
{
	start(f);
	(void)hear(f, 0, 1);
	(void)hear(f, 1, 1);
	send_control(f, 1, 6, 1);
}

static void ports_come_with_names(void **state)
{
	struct fixture *f = *state;
	char name[sizeof NAME] = "";
	assert_int_equal(pci_config_read(f->r.bus, VIRTIO_RIG_DEVFN, 0, 4), 0x10431af4);
	start(f);
	assert_int_equal(bar_in(&f->r, 0x2004, 4), 2);
	assert_int_equal(hear(f, 0, 1), 8);
	assert_int_equal(hear(f, 1, 1), 8);
	send_control(f, 0, 3, 1);
	assert_int_equal(hear(f, 0, 4), 8);
	assert_int_equal(hear(f, 0, 6), 8);
	send_control(f, 1, 3, 1);
	assert_int_equal(hear(f, 1, 7), 8 + strlen(NAME));
	assert_true(memory_read(&f->r.memory, BUFFER + 0x1008, (uint8_t *)name, strlen(NAME)));
	assert_string_equal(name, NAME);
	assert_int_equal(hear(f, 1, 6), 8);
	assert_false(virtioconsole_is_open(f->console, VIRTIOCONSOLE_CHANNEL));
	send_control(f, 1, 6, 1);
	assert_true(virtioconsole_is_open(f->console, VIRTIOCONSOLE_CHANNEL));
	send_control(f, 1, 6, 0);
	assert_false(virtioconsole_is_open(f->console, VIRTIOCONSOLE_CHANNEL));
}

/* A guest that asks again and again and reads nothing: each message waits once. Ports that are not there change
 * nothing. */
static void nothing_piles_up(void **state)
{
	struct fixture *f = *state;
	start(f);
	for (unsigned i = 0; i < 1000; i++)
		send_control(f, i, i % 9, 1);
	send_control(f, UINT32_MAX, 0, 1);
	for (unsigned port = 0; port < 2; port++)
		(void)hear(f, port, 1);
	descriptor(&f->r, CONTROL_IN, 0, BUFFER, 128, DESC_WRITE, 0);
	give(&f->r, CONTROL_IN, 0);
	assert_true(nothing_used(&f->r, CONTROL_IN));
}

static void bytes_from_the_guest(void **state)
{
	struct fixture *f = *state;
	open_channel(f);
	poke(&f->r, BUFFER, 8, 0x3837363534333231);
	descriptor(&f->r, TX1, 0, BUFFER, 3, DESC_NEXT, 1);
	descriptor(&f->r, TX1, 1, BUFFER + 3, 5, 0, 0);
	f->stream[1].room = 5;
	give(&f->r, TX1, 0);
	assert_true(nothing_used(&f->r, TX1));
	assert_int_equal(f->stream[1].written, 5);
	f->stream[1].room = 100;
	chardev_push_ready(&f->stream[1].base);
	assert_int_equal(take(&f->r, TX1, 0), 0);
	assert_memory_equal(f->stream[1].out, "12345678", 8);
	assert_int_equal(f->stream[0].written, 0);
}

static void bytes_to_the_guest(void **state)
{
	struct fixture *f = *state;
	open_channel(f);
	type(f, 1, "hello");
	assert_int_equal(f->stream[1].waiting, 5);
	descriptor(&f->r, RX1, 0, BUFFER, 3, DESC_WRITE, 0);
	give(&f->r, RX1, 0);
	assert_int_equal(take(&f->r, RX1, 0), 3);
	assert_int_equal(f->stream[1].waiting, 2);
	descriptor(&f->r, RX1, 1, BUFFER + 3, 64, DESC_WRITE, 0);
	give(&f->r, RX1, 1);
	assert_int_equal(take(&f->r, RX1, 1), 2);
	assert_memory_equal(f->r.memory.host + BUFFER, "hello", 5);
}

/* What nobody in the guest has open gets nothing, and keeps nothing for the next one. */
static void a_closed_port_drops(void **state)
{
	struct fixture *f = *state;
	open_channel(f);
	type(f, 1, "for a reader");
	assert_int_equal(f->stream[1].waiting, 12);
	send_control(f, 1, 6, 0);
	assert_int_equal(f->stream[1].waiting, 0);
	type(f, 0, "nobody");
	assert_int_equal(f->stream[0].waiting, 0);
	send_control(f, 1, 6, 1);
	descriptor(&f->r, RX1, 0, BUFFER, 64, DESC_WRITE, 0);
	give(&f->r, RX1, 0);
	assert_true(nothing_used(&f->r, RX1));
}

/* Gigabytes at once are done in pieces, with the guest's timers in between. */
static void much_is_done_in_pieces(void **state)
{
	struct fixture *f = *state;
	open_channel(f);
	f->stream[1].room = UINT32_MAX;
	for (unsigned i = 0; i < SIZE; i++)
		descriptor(&f->r, TX1, i, 0, VIRTIO_RIG_RAM, i + 1 < SIZE ? DESC_NEXT : 0, i + 1);
	give(&f->r, TX1, 0);
	assert_true(f->stream[1].written > 0 && f->stream[1].written <= 1u << 20);
	assert_true(nothing_used(&f->r, TX1));
	clock_advance(&f->r.rig.clock, CLOCK_SECOND);
	assert_int_equal(take(&f->r, TX1, 0), 0);
	assert_int_equal(f->stream[1].written, SIZE * VIRTIO_RIG_RAM);
}

static void stops_at_bad_chains(void **state)
{
	struct fixture *f = *state;
	static const struct {
		unsigned queue;
		uint64_t address;
		uint32_t size;
		unsigned flags;
	} bad[] = {{RX1, BUFFER, 8, 0},
		   {RX1, BUFFER, 0, DESC_WRITE},
		   {RX1, UINT64_C(1) << 40, 8, DESC_WRITE},
		   {TX1, UINT64_C(1) << 40, 8, 0},
		   {CONTROL_IN, BUFFER, 4, DESC_WRITE}};
	for (unsigned i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		open_channel(f);
		send_control(f, 1, 3, 1);
		f->stream[1].waiting = 0;
		type(f, 1, "x");
		descriptor(&f->r, bad[i].queue, 0, bad[i].address, bad[i].size, bad[i].flags, 0);
		give(&f->r, bad[i].queue, 0);
		assert_int_equal(bar_in(&f->r, 20, 1), 15 | VIRTIO_STATUS_NEEDS_RESET);
		assert_false(virtioconsole_is_open(f->console, VIRTIOCONSOLE_CHANNEL));
		virtioconsole_reset(f->console);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(ports_come_with_names, setup, teardown),
	    cmocka_unit_test_setup_teardown(nothing_piles_up, setup, teardown),
	    cmocka_unit_test_setup_teardown(bytes_from_the_guest, setup, teardown),
	    cmocka_unit_test_setup_teardown(bytes_to_the_guest, setup, teardown),
	    cmocka_unit_test_setup_teardown(a_closed_port_drops, setup, teardown),
	    cmocka_unit_test_setup_teardown(much_is_done_in_pieces, setup, teardown),
	    cmocka_unit_test_setup_teardown(stops_at_bad_chains, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
