/* SPDX-License-Identifier: MIT */
/*
 * The virtio transport with a device that copies: any register accesses and configuration cycles, rings and descriptors
 * of all kinds, changed at any time, resets with chains under way. The device never has more chains of a queue than the
 * queue has entries, nor bytes outside of guest memory, and all goes away at the end.
 */
#include "fuzz-rig.h"

#include <string.h>

#include "base/bits.h"
#include "devices/virtio.h"

#define RAM 0x10000u
#define BAR UINT64_C(0xc0000000)
#define DEVFN PCI_DEVFN(3, 0)
#define QUEUES 3u
#define QUEUE_SIZE 16u
#define KEPT_MAX (QUEUES * QUEUE_SIZE)
#define TABLES 0x1000u

struct kept {
	unsigned queue;
	struct virtio_chain chain;
};

struct board {
	struct pci_bus *bus;
	struct memory memory;
	struct virtio virtio;
	bool keeps, resetting;
	unsigned kept_count, count[QUEUES];
	struct kept kept[KEPT_MAX];
};

static void answer(struct board *board, unsigned queue, const struct virtio_chain *chain)
{
	uint8_t bytes[512];
	size_t got = virtio_read(&board->virtio, chain, chain->head, bytes, sizeof bytes);
	assert(got <= sizeof bytes && chain->readable + chain->writable <= VIRTIO_SEGMENTS_MAX);
	memset(bytes + got, 0, sizeof bytes - got);
	size_t put = virtio_write(&board->virtio, chain, got / 2, bytes, sizeof bytes);
	virtio_push(&board->virtio, queue, chain->head, (uint32_t)put);
}

static void answer_kept(struct board *board)
{
	if (board->kept_count == 0)
		return;
	struct kept *last = &board->kept[--board->kept_count];
	answer(board, last->queue, &last->chain);
	virtio_signal(&board->virtio, last->queue);
	board->count[last->queue]--;
	if (board->resetting && board->kept_count == 0) {
		board->resetting = false;
		virtio_reset_done(&board->virtio);
	}
}

static void notified(struct virtio *virtio, unsigned queue)
{
	struct board *board = container_of(virtio, struct board, virtio);
	struct virtio_chain chain;
	for (unsigned i = 0; i < 64 && virtio_pop(virtio, queue, &chain); i++) {
		if (!board->keeps) {
			answer(board, queue, &chain);
			continue;
		}
		assert(board->kept_count < KEPT_MAX && board->count[queue] < QUEUE_SIZE);
		board->kept[board->kept_count].queue = queue;
		memcpy(&board->kept[board->kept_count++].chain, &chain, sizeof chain);
		board->count[queue]++;
	}
	virtio_signal(virtio, queue);
}

static bool reset(struct virtio *virtio)
{
	struct board *board = container_of(virtio, struct board, virtio);
	board->resetting = board->kept_count > 0;
	return !board->resetting;
}

static void config_written(struct virtio *virtio, unsigned offset, unsigned size, uint32_t value)
{
	store_le(&virtio->config[offset], value, size);
}

static const struct virtio_ops ops = {.notified = notified, .reset = reset, .config_written = config_written};

static void board_create(struct board *board, struct fuzz_rig *rig)
{
	memset(board, 0, sizeof *board);
	assert(memory_init(&board->memory, RAM, NULL));
	assert(memory_add_region(&board->memory, 0, RAM, 0, false, NULL));
	struct pci_bus_config bus = {.ports = &rig->ports, .mmio = &rig->mmio};
	for (int i = 0; i < (int)PCI_PINS; i++)
		bus.pirq[i] = fuzz_line(rig, i);
	board->bus = pci_bus_create(&bus, NULL);
	const struct virtio_config config = {.ops = &ops,
					     .bus = board->bus,
					     .device = 3,
					     .memory = &board->memory,
					     .type = VIRTIO_BLOCK,
					     .features = 0xff,
					     .queues = QUEUES,
					     .queue_size = QUEUE_SIZE,
					     .config_size = 10,
					     .name = "fuzz"};
	assert(virtio_init(&board->virtio, &config, NULL));
	pci_config_write(board->bus, DEVFN, PCI_BAR0, 4, (uint32_t)BAR);
	pci_config_write(board->bus, DEVFN, PCI_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
}

static void board_destroy(struct board *board)
{
	while (board->kept_count > 0)
		answer_kept(board);
	virtio_exit(&board->virtio);
	pci_bus_destroy(board->bus);
	memory_destroy(&board->memory);
}

static void poke(struct board *board, uint64_t address, unsigned size, uint64_t value)
{
	uint8_t bytes[8];
	store_le(bytes, value, size);
	(void)memory_write(&board->memory, address, bytes, size);
}

static void out(struct fuzz_rig *rig, uint32_t offset, unsigned size, uint32_t value)
{
	io_write(&rig->mmio, BAR + offset, size, value);
}

static uint64_t table_of(unsigned queue)
{
	return TABLES * (queue + 1);
}

/* All that a driver does before it works; now and then something is left out. */
static void start(struct fuzz_rig *rig)
{
	uint8_t choice = fuzz_byte(rig), features = fuzz_byte(rig);
	out(rig, 20, 1, 0);
	for (unsigned i = 0; i < 2; i++) {
		out(rig, 8, 4, i);
		out(rig, 12, 4, i == 1 ? 1 : (uint32_t)(features & 3) << 28 | features >> 2);
	}
	out(rig, 20, 1, 11);
	for (unsigned i = 0; i < QUEUES; i++) {
		out(rig, 22, 2, i);
		out(rig, 24, 2, choice & 0x10 ? QUEUE_SIZE : 1u << (choice & 7));
		out(rig, 32, 4, (uint32_t)table_of(i));
		out(rig, 40, 4, (uint32_t)table_of(i) + 0x400);
		out(rig, 48, 4, (uint32_t)table_of(i) + (choice & 0x20 ? 0xfff8u : 0x800u));
		out(rig, 26, 2, i);
		out(rig, 28, 2, choice & 0x40 ? 1 : i);
	}
	out(rig, 20, 1, 15);
}

/* A descriptor somewhere, likely to be a good one. */
static void put_descriptor(struct fuzz_rig *rig, struct board *board)
{
	uint8_t choice = fuzz_byte(rig);
	uint64_t at = (choice & 0x80 ? 0x8000 : table_of(choice & 3)) + 16u * (fuzz_byte(rig) % QUEUE_SIZE);
	poke(board, at, 8, choice & 0x10 ? fuzz_number(rig, 8) : choice & 0x20 ? 0x8000 : fuzz_number(rig, 2));
	poke(board, at + 8, 4, choice & 0x40 ? fuzz_number(rig, 4) : 16u * (fuzz_byte(rig) & 31));
	poke(board, at + 12, 2, fuzz_byte(rig) & 7);
	poke(board, at + 14, 2, fuzz_byte(rig) % (QUEUE_SIZE + 1));
}

static void ring(struct fuzz_rig *rig, struct board *board)
{
	uint8_t choice = fuzz_byte(rig);
	unsigned queue = choice % QUEUES;
	uint64_t available = table_of(queue) + 0x400;
	uint8_t index[2] = {0};
	(void)memory_read(&board->memory, available + 2, index, 2);
	unsigned next = (unsigned)load_le(index, 2);
	if (choice & 0x80)
		poke(board, available, 2, fuzz_number(rig, 2)); /* flags */
	if (choice & 0x40)
		poke(board, available + 4 + 2 * QUEUE_SIZE, 2, fuzz_number(rig, 2)); /* used event */
	for (unsigned i = 0; i <= (choice >> 2 & 3); i++, next++)
		poke(board, available + 4 + 2 * (next % QUEUE_SIZE), 2, fuzz_byte(rig) % (QUEUE_SIZE + 1));
	poke(board, available + 2, 2, (choice & 0x30) == 0x30 ? fuzz_number(rig, 2) : next);
	out(rig, 0x3000 + 4 * queue, 2, queue);
}

static void configure(struct fuzz_rig *rig, struct board *board)
{
	uint8_t offset = fuzz_byte(rig);
	unsigned size = 1u << offset % 3;
	offset = (uint8_t)(offset & 0xc0 ? (offset & ~3u) : 0x94u + (offset & 0x1cu)); /* mostly the window */
	if (fuzz_byte(rig) & 1)
		(void)pci_config_read(board->bus, DEVFN, offset, size);
	else
		pci_config_write(board->bus, DEVFN, offset, size, (uint32_t)fuzz_number(rig, size));
}

static void disturb(struct fuzz_rig *rig, struct board *board)
{
	uint8_t choice = fuzz_byte(rig);
	if (choice < 0x40) {
		board->keeps = choice & 1;
	} else if (choice < 0xf0) {
		answer_kept(board);
	} else if (choice < 0xf8) {
		virtio_config_changing(&board->virtio);
		virtio_config_changed(&board->virtio);
	} else {
		while (board->kept_count > 0)
			answer_kept(board);
		virtio_reset(&board->virtio);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct fuzz_window windows[] = {{true, BAR, 64},
						     {true, BAR + 0x1000, 4},
						     {true, BAR + 0x3000, 16},
						     {true, BAR + 0x4000, 64},
						     {true, BAR, 0x8000}};
	struct fuzz_rig rig;
	struct board board;
	fuzz_init(&rig, data, size);
	board_create(&board, &rig);
	start(&rig);
	while (rig.left > 0) {
		uint8_t action = fuzz_byte(&rig);
		if (action < 0x20)
			fuzz_access(&rig, windows, 5, true);
		else if (action < 0x30)
			fuzz_access(&rig, windows, 5, false);
		else if (action < 0x38)
			start(&rig);
		else if (action < 0x90)
			put_descriptor(&rig, &board);
		else if (action < 0xd8)
			ring(&rig, &board);
		else if (action < 0xf8)
			disturb(&rig, &board);
		else
			configure(&rig, &board);
	}
	board_destroy(&board);
	assert(rig.ports.count == 0 && rig.mmio.count == 0);
	for (int i = 0; i < (int)PCI_PINS; i++)
		assert(!fuzz_level(&rig, i));
	return 0;
}
