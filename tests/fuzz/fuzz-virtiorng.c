/* SPDX-License-Identifier: MIT */
/*
 * A virtio entropy device with a source that dries up: buffers of any size and place, register accesses, time, resets.
 * It never gives more in a period than it may, and all goes away at the end.
 */
#include "fuzz-rig.h"

#include <string.h>

#include "base/bits.h"
#include "devices/virtiorng.h"

#define RAM 0x20000u
#define BAR UINT64_C(0xc0000000)
#define DEVFN PCI_DEVFN(3, 0)
#define QUEUE_SIZE 8u
#define TABLE 0x1000u

struct source {
	bool dry;
	uint64_t given;
};

struct board {
	struct pci_bus *bus;
	struct memory memory;
	struct source source;
	struct virtiorng *rng;
};

static bool fill(void *opaque, uint8_t *bytes, size_t size)
{
	struct source *source = opaque;
	assert(size > 0 && size <= VIRTIORNG_FILL_MAX);
	memset(bytes, 0xa5, size);
	source->given += source->dry ? 0 : size;
	return !source->dry;
}

static void board_create(struct board *board, struct fuzz_rig *rig)
{
	memset(board, 0, sizeof *board);
	assert(memory_init(&board->memory, RAM, NULL));
	assert(memory_add_region(&board->memory, 0, RAM, 0, false, NULL));
	const struct pci_bus_config bus = {.ports = &rig->ports,
					   .mmio = &rig->mmio,
					   .pirq = {fuzz_line(rig, 0), fuzz_line(rig, 1), fuzz_line(rig, 2)}};
	board->bus = pci_bus_create(&bus, NULL);
	const struct virtiorng_config config = {.bus = board->bus,
						.device = 3,
						.clock = &rig->clock,
						.memory = &board->memory,
						.fill = fill,
						.opaque = &board->source};
	board->rng = virtiorng_create(&config, NULL);
	assert(board->rng != NULL);
	pci_config_write(board->bus, DEVFN, PCI_BAR0, 4, (uint32_t)BAR);
	pci_config_write(board->bus, DEVFN, PCI_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
}

static void out(struct fuzz_rig *rig, uint32_t offset, unsigned size, uint32_t value)
{
	io_write(&rig->mmio, BAR + offset, size, value);
}

static void start(struct fuzz_rig *rig)
{
	out(rig, 20, 1, 0);
	for (unsigned i = 0; i < 2; i++) {
		out(rig, 8, 4, i);
		out(rig, 12, 4, i == 1 ? 1 : fuzz_byte(rig) & 1 ? 0x30000000u : 0);
	}
	out(rig, 20, 1, 11);
	out(rig, 22, 2, 0);
	out(rig, 24, 2, QUEUE_SIZE);
	out(rig, 32, 4, TABLE);
	out(rig, 40, 4, TABLE + 0x100);
	out(rig, 48, 4, TABLE + 0x200);
	out(rig, 28, 2, 1);
	out(rig, 20, 1, 15);
}

static void poke(struct board *board, uint64_t address, unsigned size, uint64_t value)
{
	uint8_t bytes[8];
	store_le(bytes, value, size);
	(void)memory_write(&board->memory, address, bytes, size);
}

static void give(struct fuzz_rig *rig, struct board *board)
{
	uint8_t choice = fuzz_byte(rig), head = choice % QUEUE_SIZE;
	uint64_t at = TABLE + 16u * head;
	poke(board, at, 8, choice & 0x10 ? fuzz_number(rig, 3) : 0x8000 + 256u * fuzz_byte(rig));
	poke(board, at + 8, 4, choice & 0x20 ? fuzz_number(rig, 4) : 64);
	poke(board, at + 12, 2, (choice & 0xc0) == 0xc0 ? fuzz_byte(rig) & 7 : 2);
	poke(board, at + 14, 2, (head + 1) % QUEUE_SIZE);
	uint8_t index[2] = {0};
	(void)memory_read(&board->memory, TABLE + 0x102, index, 2);
	unsigned next = (unsigned)load_le(index, 2);
	poke(board, TABLE + 0x104 + 2 * (next % QUEUE_SIZE), 2, head);
	poke(board, TABLE + 0x102, 2, next + 1);
	out(rig, 0x3000, 2, 0);
}

static void disturb(struct fuzz_rig *rig, struct board *board)
{
	uint8_t choice = fuzz_byte(rig);
	if (choice < 0x20)
		board->source.dry = choice & 1;
	else if (choice < 0xd0)
		clock_advance(&rig->clock, (uint64_t)choice << (choice & 15));
	else if (choice < 0xf8)
		start(rig);
	else
		virtiorng_reset(board->rng);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct fuzz_window windows[] = {
	    {true, BAR, 64}, {true, BAR + 0x2000, 64}, {true, BAR + 0x3000, 4}};
	struct fuzz_rig rig;
	static struct board board;
	fuzz_init(&rig, data, size);
	board_create(&board, &rig);
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
		uint64_t periods = clock_now(&rig.clock) / VIRTIORNG_PERIOD_NS + 1;
		assert(board.source.given <= periods * VIRTIORNG_PERIOD_BYTES);
	}
	virtiorng_destroy(board.rng);
	pci_bus_destroy(board.bus);
	memory_destroy(&board.memory);
	assert(rig.ports.count == 0 && rig.mmio.count == 0 && rig.levels == 0 && rig.clock.timers == NULL);
	return 0;
}
