/* SPDX-License-Identifier: MIT */
/*
 * A virtio console device between any guest and streams that fill, drain and feed at any time: chains of any size and
 * place on all queues, control messages, register accesses, time, resets. Input never exceeds the room offered, and all
 * goes away at the end.
 */
#include "fuzz-rig.h"

#include <string.h>

#include "backend/chardev-impl.h"
#include "base/bits.h"
#include "devices/virtioconsole.h"

#define RAM 0x20000u
#define BAR UINT64_C(0xc0000000)
#define DEVFN PCI_DEVFN(3, 0)
#define QUEUES 6u
#define QUEUE_SIZE 8u
#define QUEUE_AT(queue) (0x1000u * ((queue) + 1))

struct stream {
	struct chardev base;
	unsigned room, waiting;
};

struct board {
	struct pci_bus *bus;
	struct memory memory;
	struct stream stream[VIRTIOCONSOLE_PORTS];
	struct virtioconsole *console;
};

static unsigned stream_write(struct chardev *chardev, const uint8_t *bytes, unsigned count)
{
	struct stream *stream = (struct stream *)chardev;
	unsigned taken = count < stream->room ? count : stream->room;
	(void)bytes;
	stream->room -= taken;
	return taken;
}

static void stream_feed(struct chardev *chardev)
{
	static const uint8_t bytes[300] = "fuzz";
	struct stream *stream = (struct stream *)chardev;
	while (stream->waiting > 0 && chardev->front.input != NULL) {
		unsigned room = chardev_input_room(chardev);
		unsigned count = room < stream->waiting ? room : stream->waiting;
		if (count == 0)
			return;
		count = count < sizeof bytes ? count : (unsigned)sizeof bytes;
		stream->waiting -= count;
		chardev_push_input(chardev, bytes, count);
	}
}

static const struct chardev_ops stream_ops = {.write = stream_write, .input_ready = stream_feed};

static void board_create(struct board *board, struct fuzz_rig *rig, uint8_t choice)
{
	memset(board, 0, sizeof *board);
	assert(memory_init(&board->memory, RAM, NULL));
	assert(memory_add_region(&board->memory, 0, RAM, 0, false, NULL));
	const struct pci_bus_config bus = {.ports = &rig->ports,
					   .mmio = &rig->mmio,
					   .pirq = {fuzz_line(rig, 0), fuzz_line(rig, 1), fuzz_line(rig, 2)}};
	board->bus = pci_bus_create(&bus, NULL);
	struct virtioconsole_config config = {
	    .bus = board->bus, .device = 3, .clock = &rig->clock, .memory = &board->memory, .channel_name = "org.fuzz"};
	for (unsigned i = 0; i < VIRTIOCONSOLE_PORTS; i++) {
		board->stream[i] = (struct stream){.base = {.ops = &stream_ops}};
		config.port[i] = (choice >> i & 1) == 0 ? &board->stream[i].base : NULL;
	}
	board->console = virtioconsole_create(&config, NULL);
	assert(board->console != NULL);
	pci_config_write(board->bus, DEVFN, PCI_BAR0, 4, (uint32_t)BAR);
	pci_config_write(board->bus, DEVFN, PCI_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
}

static void out(struct fuzz_rig *rig, uint32_t offset, unsigned size, uint32_t value)
{
	io_write(&rig->mmio, BAR + offset, size, value);
}

static void start(struct fuzz_rig *rig)
{
	uint8_t features = fuzz_byte(rig);
	out(rig, 20, 1, 0);
	for (unsigned i = 0; i < 2; i++) {
		out(rig, 8, 4, i);
		out(rig, 12, 4, i == 1 ? 1 : (features & 1 ? 0x30000000u : 0) | (features & 0x1e ? 2u : 0));
	}
	out(rig, 20, 1, 11);
	for (unsigned queue = 0; queue < QUEUES; queue++) {
		out(rig, 22, 2, queue);
		out(rig, 24, 2, QUEUE_SIZE);
		out(rig, 32, 4, QUEUE_AT(queue));
		out(rig, 40, 4, QUEUE_AT(queue) + 0x100);
		out(rig, 48, 4, QUEUE_AT(queue) + 0x200);
		out(rig, 28, 2, 1);
	}
	out(rig, 20, 1, 15);
}

static void poke(struct board *board, uint64_t address, unsigned size, uint64_t value)
{
	uint8_t bytes[8];
	store_le(bytes, value, size);
	(void)memory_write(&board->memory, address, bytes, size);
}

/* A chain of one buffer, of the direction that the queue has, or of the other. */
static void give(struct fuzz_rig *rig, struct board *board)
{
	uint8_t choice = fuzz_byte(rig), shape = fuzz_byte(rig), head = choice % QUEUE_SIZE;
	unsigned queue = (shape & 7) % QUEUES;
	uint64_t base = QUEUE_AT(queue), at = base + 16u * head, buffer = 0x10000 + 256u * fuzz_byte(rig);
	bool to_guest = queue % 2 == 0;
	if (queue == 3) { /* a control message */
		poke(board, buffer, 4, fuzz_byte(rig) & 3);
		poke(board, buffer + 4, 2, fuzz_byte(rig) & 7);
		poke(board, buffer + 6, 2, fuzz_byte(rig) & 1);
	}
	poke(board, at, 8, (choice & 0x30) == 0x30 ? fuzz_number(rig, 3) : buffer);
	poke(board, at + 8, 4, choice & 0x40 ? fuzz_number(rig, 4) : 80);
	poke(board, at + 12, 2, (shape & 0xf0) == 0xf0 ? fuzz_byte(rig) & 7 : to_guest ? 2 : 0);
	poke(board, at + 14, 2, (head + 1) % QUEUE_SIZE);
	uint8_t index[2] = {0};
	(void)memory_read(&board->memory, base + 0x102, index, 2);
	unsigned next = (unsigned)load_le(index, 2);
	poke(board, base + 0x104 + 2 * (next % QUEUE_SIZE), 2, head);
	poke(board, base + 0x102, 2, next + 1);
	if (choice & 0x80)
		out(rig, 0x3000 + 4 * queue, 2, queue);
}

static void disturb(struct fuzz_rig *rig, struct board *board)
{
	uint8_t choice = fuzz_byte(rig);
	struct stream *stream = &board->stream[choice & 1];
	if (choice < 0x40) {
		stream->room = fuzz_byte(rig) * 32u;
		chardev_push_ready(&stream->base);
	} else if (choice < 0x80) {
		stream->waiting += fuzz_byte(rig);
		stream_feed(&stream->base);
	} else if (choice < 0xd0) {
		clock_advance(&rig->clock, (uint64_t)choice << (choice & 15));
	} else if (choice < 0xf8) {
		start(rig);
	} else {
		virtioconsole_reset(board->console);
		assert(!virtioconsole_is_open(board->console, VIRTIOCONSOLE_CHANNEL));
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct fuzz_window windows[] = {
	    {true, BAR, 64}, {true, BAR + 0x2000, 64}, {true, BAR + 0x3000, 24}};
	struct fuzz_rig rig;
	static struct board board;
	fuzz_init(&rig, data, size);
	board_create(&board, &rig, fuzz_byte(&rig));
	start(&rig);
	while (rig.left > 0) {
		uint8_t action = fuzz_byte(&rig);
		if (action < 0x08)
			fuzz_access(&rig, windows, 3, true);
		else if (action < 0x10)
			fuzz_access(&rig, windows, 3, false);
		else if (action < 0xb0)
			give(&rig, &board);
		else if (action < 0xf8)
			disturb(&rig, &board);
		else
			poke(&board, fuzz_number(&rig, 2), 4, fuzz_number(&rig, 4));
	}
	virtioconsole_destroy(board.console);
	pci_bus_destroy(board.bus);
	memory_destroy(&board.memory);
	for (unsigned i = 0; i < VIRTIOCONSOLE_PORTS; i++)
		assert(board.stream[i].base.front.input == NULL);
	assert(rig.ports.count == 0 && rig.mmio.count == 0 && rig.levels == 0 && rig.clock.timers == NULL);
	return 0;
}
