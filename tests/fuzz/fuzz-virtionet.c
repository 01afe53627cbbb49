/* SPDX-License-Identifier: MIT */
/*
 * The virtio network adapter with a network that sends, refuses and asks again: rings and descriptors of all kinds,
 * headers that lie, control commands, changed at any time, frames with offloads of any description towards the guest.
 * Frames that get through are whole, and all goes away at the end.
 */
#include "fuzz-rig.h"

#include <string.h>

#include "../unit/network-double.h"
#include "base/bits.h"
#include "devices/virtionet.h"

#define RAM 0x20000u
#define BAR UINT64_C(0xc0000000)
#define DEVFN PCI_DEVFN(3, 0)
#define QUEUES 3u
#define QUEUE_SIZE 8u
#define TABLES 0x1000u
#define BUFFERS 0x8000u

struct board {
	struct pci_bus *bus;
	struct memory memory;
	struct network_double network;
	struct virtionet *net;
	uint16_t available[QUEUES];
};

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

static void board_create(struct board *board, struct fuzz_rig *rig)
{
	assert(memory_init(&board->memory, RAM, NULL));
	assert(memory_add_region(&board->memory, 0, RAM, 0, false, NULL));
	struct pci_bus_config bus = {.ports = &rig->ports, .mmio = &rig->mmio};
	for (int i = 0; i < (int)PCI_PINS; i++)
		bus.pirq[i] = fuzz_line(rig, i);
	board->bus = pci_bus_create(&bus, NULL);
	network_double_init(&board->network, fuzz_byte(rig) & 7);
	board->network.base.mtu = NETWORK_MTU_LARGE;
	const struct virtionet_config config = {.bus = board->bus,
						.device = 3,
						.clock = &rig->clock,
						.memory = &board->memory,
						.network = &board->network.base,
						.mac = {2, 0, 0, 0, 0, 1}};
	board->net = virtionet_create(&config, NULL);
	assert(board->net != NULL);
	pci_config_write(board->bus, DEVFN, PCI_BAR0, 4, (uint32_t)BAR);
	pci_config_write(board->bus, DEVFN, PCI_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
}

/* A driver's start, with the features that the input chooses from those offered. */
static void start(struct fuzz_rig *rig, struct board *board)
{
	uint32_t features = (uint32_t)fuzz_number(rig, 4);
	out(rig, 20, 1, 0);
	out(rig, 20, 1, 3);
	out(rig, 0, 4, 0);
	features &= (uint32_t)io_read(&rig->mmio, BAR + 4, 4);
	out(rig, 8, 4, 0);
	out(rig, 12, 4, features);
	out(rig, 8, 4, 1);
	out(rig, 12, 4, 1);
	out(rig, 20, 1, 11);
	for (unsigned i = 0; i < QUEUES; i++) {
		out(rig, 22, 2, i);
		out(rig, 24, 2, QUEUE_SIZE);
		out(rig, 32, 4, TABLES * (i + 1));
		out(rig, 40, 4, TABLES * (i + 1) + 0x400);
		out(rig, 48, 4, TABLES * (i + 1) + 0x800);
		out(rig, 28, 2, 1);
		(void)memory_fill(&board->memory, TABLES * (i + 1), 0, TABLES);
		board->available[i] = 0;
		for (unsigned slot = 0; slot < QUEUE_SIZE; slot++) { /* until the input has others */
			poke(board, TABLES * (i + 1) + 16 * slot, 8, BUFFERS + slot * 0x2000);
			poke(board, TABLES * (i + 1) + 16 * slot + 8, 4, 1600);
			poke(board, TABLES * (i + 1) + 16 * slot + 12, 2, i == 0 ? 2 : 0);
		}
	}
	out(rig, 20, 1, 15);
}

static void put_descriptor(struct fuzz_rig *rig, struct board *board)
{
	uint8_t choice = fuzz_byte(rig), place = fuzz_byte(rig);
	unsigned queue = place % QUEUES;
	uint64_t at = TABLES * (queue + 1) + 16 * (place >> 2 & 7);
	uint32_t address = choice & 0x40 ? (uint32_t)fuzz_number(rig, 4) : BUFFERS + (uint32_t)(place >> 5) * 0x2000;
	uint32_t size = choice & 0x20 ? (uint32_t)fuzz_number(rig, 3) : choice & 0x10 ? 12 : 1600;
	unsigned flags = (choice & 0x0f) == 0 ? fuzz_byte(rig) & 7 : (queue == 0 ? 2u : 0u) | (choice & 1);
	poke(board, at, 8, address);
	poke(board, at + 8, 4, size);
	poke(board, at + 12, 2, flags);
	poke(board, at + 14, 2, (place >> 2) + 1);
}

static void give(struct fuzz_rig *rig, struct board *board)
{
	uint8_t choice = fuzz_byte(rig);
	unsigned queue = choice % QUEUES;
	uint64_t ring = TABLES * (queue + 1) + 0x400;
	poke(board, ring + 4 + 2 * (board->available[queue] % QUEUE_SIZE), 2, choice >> 3 & 7);
	board->available[queue] = (uint16_t)(board->available[queue] + (choice & 0x80 ? 2 : 1));
	poke(board, ring + 2, 2, board->available[queue]);
	if (choice & 4)
		out(rig, 0x3000 + 4 * queue, 2, queue);
}

/* A frame or a header somewhere in the buffers; half of them with a TCP packet that may be cut. */
static void put_bytes(struct fuzz_rig *rig, struct board *board)
{
	static const uint8_t packet[] = {0, 0,	  0, 0, 0, 0, 2,  0, 0, 0, 0,  1, 8, 0, 0x45, 0,
					 5, 0xdc, 0, 0, 0, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10,   0,
					 0, 2,	  0, 1, 0, 2, 0,  0, 0, 0, 0,  0, 0, 0, 0x50};
	uint8_t choice = fuzz_byte(rig), header[12];
	uint32_t at = BUFFERS + (choice & 7u) * 0x2000;
	for (unsigned i = 0; i < sizeof header; i++)
		header[i] = (choice & 0x60) == 0x60 ? fuzz_byte(rig) : 0;
	if (choice & 8) {
		header[0] = 1;
		header[1] = choice & 0x10 ? 1 : 0;
		store_le(&header[4], fuzz_byte(rig), 2);
		store_le(&header[6], 34, 2);
		store_le(&header[8], 16, 2);
	}
	(void)memory_write(&board->memory, at, header, sizeof header);
	(void)memory_write(&board->memory, at + 12, packet, sizeof packet);
	if (choice & 0x80)
		poke(board, at + 12 + (choice & 0x3f), 1, fuzz_byte(rig));
}

static void disturb(struct fuzz_rig *rig, struct board *board)
{
	static uint8_t bytes[NETWORK_FRAME_MAX];
	uint8_t choice = fuzz_byte(rig);
	if (choice < 0x80) {
		uint32_t length = (uint32_t)fuzz_number(rig, 2);
		bytes[0] = choice & 1 ? 0xff : 2;
		bytes[12] = 8;
		bytes[14] = 0x45;
		bytes[23] = 6;
		bytes[46] = choice & 2 ? 0x50 : 0;
		const struct network_frame frame = {.bytes = bytes,
						    .length = length,
						    .offload = {.segment = choice >> 2 & 3,
								.checksum = (choice & 0x10) != 0,
								.trusted = (choice & 0x20) != 0,
								.size = (uint16_t)fuzz_number(rig, 2),
								.start = choice & 0x40 ? 34 : fuzz_byte(rig),
								.offset = choice & 0x40 ? 16 : fuzz_byte(rig)}};
		(void)network_deliver(&board->network.base, &frame);
	} else if (choice < 0x98) {
		board->network.refuses = true;
	} else if (choice < 0xe0) {
		network_double_room(&board->network);
	} else if (choice < 0xf8) {
		fuzz_advance(rig, 24);
	} else {
		virtionet_reset(board->net);
		pci_config_write(board->bus, DEVFN, PCI_BAR0, 4, (uint32_t)BAR);
		pci_config_write(board->bus, DEVFN, PCI_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct fuzz_window windows[] = {
	    {true, BAR, 64}, {true, BAR + 0x2000, 16}, {true, BAR + 0x3000, 16}};
	static struct board board;
	struct fuzz_rig rig;
	memset(&board, 0, sizeof board);
	fuzz_init(&rig, data, size);
	board_create(&board, &rig);
	start(&rig, &board);
	while (rig.left > 0) {
		uint8_t action = fuzz_byte(&rig);
		if (action < 0x08)
			start(&rig, &board);
		else if (action < 0x0c)
			fuzz_access(&rig, windows, 3, true);
		else if (action < 0x10)
			fuzz_access(&rig, windows, 3, false);
		else if (action < 0x60)
			put_descriptor(&rig, &board);
		else if (action < 0xa0)
			give(&rig, &board);
		else if (action < 0xd0)
			put_bytes(&rig, &board);
		else if (action < 0xfe)
			disturb(&rig, &board);
		else
			pci_config_write(board.bus, DEVFN, fuzz_byte(&rig), 1, fuzz_byte(&rig));
		assert(board.network.length == 0 || board.network.length >= NETWORK_HEADER_SIZE);
	}
	virtionet_destroy(board.net);
	pci_bus_destroy(board.bus);
	network_close(&board.network.base);
	memory_destroy(&board.memory);
	assert(rig.ports.count == 0 && rig.mmio.count == 0 && rig.levels == 0);
	return 0;
}
