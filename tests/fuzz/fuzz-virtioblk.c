/* SPDX-License-Identifier: MIT */
/*
 * A virtio block device with an image that answers late, with errors, or both: requests of all types with headers, data
 * and segments of any kind, register accesses, resets. No request reaches beyond the image, none that was given back
 * is answered again, and all goes away at the end.
 */
#include "fuzz-rig.h"

#include <errno.h>
#include <string.h>

#include "base/bits.h"
#include "devices/virtioblk.h"

#define RAM 0x20000u
#define BAR UINT64_C(0xc0000000)
#define DEVFN PCI_DEVFN(3, 0)
#define SECTORS 256u
#define QUEUE_SIZE 32u
#define TABLE 0x1000u
#define INDIRECT 0x3000u
#define HEADERS 0x4000u

struct image {
	struct disk base;
	struct disk_request *waiting;
	bool slow, bad;
	uint8_t bytes[SECTORS * DISK_SECTOR_SIZE];
};

static void image_answer(struct image *image)
{
	struct disk_request *request = image->waiting;
	if (request == NULL)
		return;
	image->waiting = request->next;
	request->completed = image->bad ? request->count / 2 : request->count;
	request->error = image->bad ? EIO : 0;
	uint8_t *ours = image->bytes + request->sector * DISK_SECTOR_SIZE;
	size_t size = (size_t)request->completed * DISK_SECTOR_SIZE;
	if (request->operation == DISK_READ)
		memcpy(request->bytes, ours, size);
	else if (request->operation == DISK_WRITE)
		memcpy(ours, request->bytes, size);
	else if (request->operation == DISK_ZERO)
		memset(ours, 0, size);
	request->done(request);
}

static void image_submit(struct disk *disk, struct disk_request *request)
{
	struct image *image = (struct image *)disk;
	assert(request->operation == DISK_FLUSH || request->sector + request->count <= SECTORS);
	if (request->operation == DISK_FLUSH)
		request->sector = request->count = 0;
	request->next = image->waiting;
	image->waiting = request;
	if (!image->slow)
		image_answer(image);
}

static void image_drain(struct disk *disk)
{
	struct image *image = (struct image *)disk;
	while (image->waiting != NULL)
		image_answer(image);
}

static const struct disk_ops image_ops = {.submit = image_submit, .drain = image_drain};

struct board {
	struct pci_bus *bus;
	struct memory memory;
	struct image image;
	struct virtioblk *blk;
};

static void board_create(struct board *board, struct fuzz_rig *rig, uint8_t choice)
{
	memset(board, 0, sizeof *board);
	assert(memory_init(&board->memory, RAM, NULL));
	assert(memory_add_region(&board->memory, 0, RAM, 0, false, NULL));
	const struct pci_bus_config bus = {.ports = &rig->ports,
					   .mmio = &rig->mmio,
					   .pirq = {fuzz_line(rig, 0), fuzz_line(rig, 1), fuzz_line(rig, 2)}};
	board->bus = pci_bus_create(&bus, NULL);
	board->image.base = (struct disk){.ops = &image_ops,
					  .sectors = SECTORS,
					  .read_only = (choice & 7) == 7,
					  .discards = true,
					  .write_through = (choice & 8) != 0};
	const struct virtioblk_config config = {
	    .bus = board->bus, .device = 3, .memory = &board->memory, .disk = &board->image.base, .serial = "fuzz"};
	board->blk = virtioblk_create(&config, NULL);
	assert(board->blk != NULL);
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
		out(rig, 12, 4, i == 1 ? 1 : 0x30000000u | ((uint32_t)fuzz_byte(rig) << 7 & 0x6e44u));
	}
	out(rig, 20, 1, 11);
	out(rig, 22, 2, 0);
	out(rig, 24, 2, QUEUE_SIZE);
	out(rig, 32, 4, TABLE);
	out(rig, 40, 4, TABLE + 0x800);
	out(rig, 48, 4, TABLE + 0xc00);
	out(rig, 28, 2, 1);
	out(rig, 20, 1, 15);
}

static void poke(struct board *board, uint64_t address, unsigned size, uint64_t value)
{
	uint8_t bytes[8];
	store_le(bytes, value, size);
	(void)memory_write(&board->memory, address, bytes, size);
}

static void descriptor(struct board *board, uint64_t table, unsigned index, uint64_t address, uint32_t size,
		       unsigned flags)
{
	poke(board, table + 16 * index, 8, address);
	poke(board, table + 16 * index + 8, 4, size);
	poke(board, table + 16 * index + 12, 2, flags);
	poke(board, table + 16 * index + 14, 2, index + 1);
}

/* Header, up to four pieces of data, status: in an indirect table of its own, or in the queue's. */
static void give(struct fuzz_rig *rig, struct board *board)
{
	static const uint8_t types[] = {0, 1, 0, 1, 4, 8, 11, 13, 11, 13, 2, 0, 1, 4, 1, 0};
	uint8_t choice = fuzz_byte(rig), shape = fuzz_byte(rig), head = fuzz_byte(rig) % QUEUE_SIZE;
	uint32_t type = types[choice & 15];
	uint64_t header = HEADERS + 256u * head, table = INDIRECT + 128u * head, data = 0x8000 + 512u * fuzz_byte(rig);
	poke(board, header, 4, type);
	poke(board, header + 8, 8, choice & 0x10 ? fuzz_number(rig, 8) : fuzz_byte(rig));
	descriptor(board, table, 0, header, 16, 1);
	unsigned pieces = shape & 3;
	bool writes = type == 0 || type == 8;
	for (unsigned i = 1; i <= pieces; i++) {
		uint32_t size = choice & 0x20 ? (uint32_t)fuzz_number(rig, 4) : 512u * (fuzz_byte(rig) & 63);
		if (type == 11 || type == 13)
			size = 16u * (fuzz_byte(rig) & 7);
		descriptor(board, table, i, data + (choice & 0x40 ? RAM - 0x9000 : 0), size, 1 | (writes ? 2 : 0));
	}
	for (unsigned i = 0; i < 4 && (type == 11 || type == 13); i++) {
		poke(board, data + 16 * i, 8, fuzz_byte(rig));
		poke(board, data + 16 * i + 8, 4, fuzz_byte(rig) & 0x3f);
		poke(board, data + 16 * i + 12, 4, fuzz_byte(rig) & 1);
	}
	descriptor(board, table, pieces + 1, header + 64, choice & 0x80 ? shape >> 6 : 1, 2);
	descriptor(board, TABLE, head, table, 16 * (pieces + 2), 4);
	uint8_t index[2] = {0};
	(void)memory_read(&board->memory, TABLE + 0x802, index, 2);
	unsigned next = (unsigned)load_le(index, 2);
	poke(board, TABLE + 0x804 + 2 * (next % QUEUE_SIZE), 2, head);
	poke(board, TABLE + 0x802, 2, next + 1);
	if (shape & 4)
		out(rig, 0x3000, 2, 0);
}

static void disturb(struct fuzz_rig *rig, struct board *board)
{
	uint8_t choice = fuzz_byte(rig);
	if (choice < 0x40) {
		board->image.slow = choice & 1;
		board->image.bad = (choice & 0x3e) == 0x3e;
	} else if (choice < 0xf0) {
		image_answer(&board->image);
	} else if (choice < 0xfc) {
		start(rig);
	} else {
		virtioblk_reset(board->blk);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct fuzz_window windows[] = {
	    {true, BAR, 64}, {true, BAR + 0x2000, 64}, {true, BAR + 0x3000, 4}};
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
		else if (action < 0xa0)
			give(&rig, &board);
		else if (action < 0xf8)
			disturb(&rig, &board);
		else
			poke(&board, fuzz_number(&rig, 2), 4, fuzz_number(&rig, 4));
	}
	virtioblk_destroy(board.blk);
	pci_bus_destroy(board.bus);
	memory_destroy(&board.memory);
	assert(board.image.waiting == NULL);
	assert(rig.ports.count == 0 && rig.mmio.count == 0 && rig.levels == 0);
	return 0;
}
