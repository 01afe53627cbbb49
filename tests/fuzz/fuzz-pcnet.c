/* SPDX-License-Identifier: MIT */
/*
 * The PCnet with a network that sends, refuses and asks again: any register accesses and configuration cycles,
 * initialization blocks and descriptors of all styles anywhere, frames of any length. No access sends more than a
 * bounded number of frames, none is longer than a wire's, and all goes away at the end.
 */
#include "fuzz-rig.h"

#include <string.h>

#include "../unit/network-double.h"
#include "base/bits.h"
#include "devices/pcnet.h"

#define RAM 0x8000u
#define DEVFN PCI_DEVFN(4, 0)
#define BASE 0xc000u
#define BLOCK 0x100u
#define RINGS 0x1000u
#define SENT_AT_ONCE 4096u

struct board {
	struct pci_bus *bus;
	struct memory memory;
	struct network_double network;
	struct pcnet *pcnet;
};

static void board_create(struct board *board, struct fuzz_rig *rig)
{
	assert(memory_init(&board->memory, RAM, NULL));
	assert(memory_add_region(&board->memory, 0, RAM, 0, false, NULL));
	assert(memory_add_region(&board->memory, 0x10000, 0x1000, RINGS, true, NULL));
	struct pci_bus_config bus = {.ports = &rig->ports, .mmio = &rig->mmio};
	for (int i = 0; i < (int)PCI_PINS; i++)
		bus.pirq[i] = fuzz_line(rig, i);
	board->bus = pci_bus_create(&bus, NULL);
	network_double_init(&board->network, 0);
	const struct pcnet_config config = {.bus = board->bus,
					    .device = 4,
					    .clock = &rig->clock,
					    .memory = &board->memory,
					    .network = &board->network.base,
					    .mac = {2, 0, 0, 0, 0, 1}};
	board->pcnet = pcnet_create(&config, NULL);
	assert(board->pcnet != NULL);
	pci_config_write(board->bus, DEVFN, PCI_BAR0, 4, BASE);
	pci_config_write(board->bus, DEVFN, PCI_BAR0 + 4, 4, 0xc0000000);
	pci_config_write(board->bus, DEVFN, PCI_COMMAND, 2, PCI_COMMAND_IO | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
}

static void board_destroy(struct board *board)
{
	pcnet_destroy(board->pcnet);
	pci_bus_destroy(board->bus);
	network_close(&board->network.base);
	memory_destroy(&board->memory);
}

static void set_csr(struct fuzz_rig *rig, unsigned number, unsigned value)
{
	io_write(&rig->ports, BASE + 0x12, 2, number);
	io_write(&rig->ports, BASE + 0x10, 2, value);
}

/* A start that is likely to work: rings in memory, in ROM or nowhere. */
static void start(struct fuzz_rig *rig, struct board *board)
{
	static const uint32_t places[] = {RINGS,   RINGS,   RINGS + 0x400, RINGS + 0x400,
					  0x10000, 0x10400, 0x7ff8,	   0xfffffff0};
	uint8_t block[28] = {0}, choice = fuzz_byte(rig);
	unsigned style = choice & 3;
	set_csr(rig, 0, 4);
	io_write(&rig->ports, BASE + 0x12, 2, 20);
	io_write(&rig->ports, BASE + 0x16, 2, style);
	store_le(block, (choice & 16 ? fuzz_byte(rig) : 0) | (choice & 4 ? 0x8000 : 0), 2);
	for (unsigned i = 2; i < 20; i++)
		block[i] = choice & 8 ? fuzz_byte(rig) : 0;
	unsigned at = style == 0 ? 16 : 20;
	store_le(&block[at], places[fuzz_byte(rig) % 8], 4);
	store_le(&block[at + 4], places[fuzz_byte(rig) % 8], 4);
	block[style == 0 ? 19 : 2] = fuzz_byte(rig);
	block[style == 0 ? 23 : 3] = fuzz_byte(rig);
	(void)memory_write(&board->memory, BLOCK, block, sizeof block);
	set_csr(rig, 1, BLOCK);
	set_csr(rig, 2, 0);
	set_csr(rig, 0, 0x43);
}

static void put_descriptor(struct fuzz_rig *rig, struct board *board)
{
	uint8_t bytes[16] = {0}, choice = fuzz_byte(rig);
	for (unsigned i = 0; i < 16; i++)
		bytes[i] = choice & 1 ? fuzz_byte(rig) : 0;
	store_le(&bytes[choice & 2 ? 8 : 0], fuzz_number(rig, 2), 4);
	store_le(&bytes[4], fuzz_number(rig, 4) | (choice & 4 ? 0x83000000u : 0x80000000u), 4);
	uint8_t place = fuzz_byte(rig);
	(void)memory_write(&board->memory, RINGS + (place & 0x0fu) * 8 + (place & 0x10 ? 0x400 : 0), bytes, 16);
}

static void disturb(struct fuzz_rig *rig, struct board *board)
{
	static uint8_t frame[2048];
	uint8_t choice = fuzz_byte(rig);
	if (choice < 0x80) {
		memset(frame, choice & 1 ? 0xff : 2, 6);
		uint32_t length = (uint32_t)fuzz_number(rig, 2) % sizeof frame;
		frame[12] = 0;
		frame[13] = fuzz_byte(rig);
		(void)network_double_deliver(&board->network, frame, length);
	} else if (choice < 0xa0) {
		board->network.refuses = true;
	} else if (choice < 0xe0) {
		network_double_room(&board->network);
	} else if (choice < 0xf8) {
		fuzz_advance(rig, 28);
	} else {
		pcnet_reset(board->pcnet);
		pci_config_write(board->bus, DEVFN, PCI_BAR0, 4, BASE);
		pci_config_write(board->bus, DEVFN, PCI_COMMAND, 2, PCI_COMMAND_IO | PCI_COMMAND_MASTER);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct fuzz_window windows[] = {
	    {false, BASE, 32}, {true, 0xc0000000, 32}, {false, BASE + 0x10, 8}};
	static struct board board;
	struct fuzz_rig rig;
	fuzz_init(&rig, data, size);
	memset(&board, 0, sizeof board);
	board_create(&board, &rig);
	while (rig.left > 0) {
		uint8_t action = fuzz_byte(&rig);
		unsigned before = board.network.sent;
		if (action < 0x20)
			fuzz_access(&rig, windows, 3, true);
		else if (action < 0x28)
			fuzz_access(&rig, windows, 3, false);
		else if (action < 0x30)
			set_csr(&rig, fuzz_byte(&rig) & 0x7fu, (unsigned)fuzz_number(&rig, 2));
		else if (action < 0x50)
			start(&rig, &board);
		else if (action < 0xb0)
			put_descriptor(&rig, &board);
		else if (action < 0xd0)
			set_csr(&rig, 0, 0x48);
		else if (action < 0xfe)
			disturb(&rig, &board);
		else
			pci_config_write(board.bus, DEVFN, fuzz_byte(&rig), 1, fuzz_byte(&rig));
		/* Time may have passed in between, with a pause after each part. */
		assert(board.network.sent - before <= SENT_AT_ONCE || action >= 0xd0);
		assert(board.network.length <= 1518);
	}
	board_destroy(&board);
	assert(rig.ports.count == 0 && rig.mmio.count == 0 && rig.levels == 0);
	return 0;
}
