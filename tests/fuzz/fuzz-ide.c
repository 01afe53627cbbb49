/* SPDX-License-Identifier: MIT */
/*
 * The PIIX4's IDE function with a disk, a read-only disk and a CD-ROM drive: any register accesses and configuration
 * cycles, DMA with descriptors anywhere, images that answer late or with errors, resets and changes of the disc. The
 * drives never have two requests at their image, never one outside it, and all goes away at the end.
 */
#include "fuzz-rig.h"

#include <errno.h>
#include <string.h>

#include "devices/ata.h"
#include "devices/atapi.h"
#include "devices/piix4ide.h"

#define RAM 0x10000u
#define IMAGE_SECTORS 64u
#define IMAGES 3u

struct image {
	struct disk base;
	struct disk_request *waiting;
	bool slow, bad;
	uint8_t bytes[IMAGE_SECTORS * DISK_SECTOR_SIZE];
};

static void image_answer(struct image *image)
{
	struct disk_request *request = image->waiting;
	if (request == NULL)
		return;
	image->waiting = NULL;
	request->completed = image->bad ? request->count / 2 : request->count;
	request->error = image->bad ? EIO : 0;
	uint8_t *ours = image->bytes + request->sector * DISK_SECTOR_SIZE;
	size_t size = (size_t)request->completed * DISK_SECTOR_SIZE;
	if (request->operation == DISK_READ)
		memcpy(request->bytes, ours, size);
	else if (request->operation == DISK_WRITE)
		memcpy(ours, request->bytes, size);
	request->done(request);
}

static void image_submit(struct disk *disk, struct disk_request *request)
{
	struct image *image = (struct image *)disk;
	assert(image->waiting == NULL);
	assert(request->operation == DISK_FLUSH || request->sector + request->count <= IMAGE_SECTORS);
	if (request->operation == DISK_FLUSH)
		request->sector = request->count = 0;
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
	struct piix4ide *ide;
	struct ata *ata[2];
	struct atapi *atapi;
	struct image image[IMAGES];
};

static void board_create(struct board *board, struct fuzz_rig *rig)
{
	memset(board, 0, sizeof *board);
	assert(memory_init(&board->memory, RAM, NULL));
	assert(memory_add_region(&board->memory, 0, RAM, 0, false, NULL));
	const struct pci_bus_config bus = {.ports = &rig->ports, .mmio = &rig->mmio};
	board->bus = pci_bus_create(&bus, NULL);
	const struct piix4ide_config ide = {.bus = board->bus,
					    .device = 1,
					    .ports = &rig->ports,
					    .memory = &board->memory,
					    .irq = {fuzz_line(rig, 14), fuzz_line(rig, 15)}};
	board->ide = piix4ide_create(&ide, NULL);
	for (unsigned i = 0; i < IMAGES; i++)
		board->image[i].base =
		    (struct disk){.ops = &image_ops, .sectors = IMAGE_SECTORS - (i == 2), .read_only = i > 0};
	for (unsigned i = 0; i < 2; i++) {
		const struct ata_config ata = {.channel = piix4ide_channel(board->ide, i),
					       .number = i,
					       .disk = &board->image[i].base,
					       .serial = "1"};
		board->ata[i] = ata_create(&ata, NULL);
	}
	const struct atapi_config atapi = {
	    .channel = piix4ide_channel(board->ide, 0), .number = 1, .disk = &board->image[2].base, .serial = "2"};
	board->atapi = atapi_create(&atapi, NULL);
	pci_config_write(board->bus, PCI_DEVFN(1, 1), 0x20, 4, 0xc000);
	pci_config_write(board->bus, PCI_DEVFN(1, 1), 0x40, 4, 0x80008000);
	pci_config_write(board->bus, PCI_DEVFN(1, 1), PCI_COMMAND, 2, PCI_COMMAND_IO | PCI_COMMAND_MASTER);
}

static void board_destroy(struct board *board)
{
	for (unsigned i = 0; i < 2; i++)
		ata_destroy(board->ata[i]);
	atapi_destroy(board->atapi);
	piix4ide_destroy(board->ide);
	pci_bus_destroy(board->bus);
	memory_destroy(&board->memory);
}

/* A packet whose address and count are on the disc or just beyond, or anything. */
static void give_packet(struct fuzz_rig *rig, uint16_t base)
{
	static const uint8_t packets[] = {0x00, 0x03, 0x12, 0x1b, 0x1e, 0x25, 0x28, 0x43, 0x46, 0x4a, 0x5a, 0xa8, 0xbe};
	uint8_t choice = fuzz_byte(rig);
	uint16_t words[6] = {
	    packets[fuzz_byte(rig) % sizeof packets], 0, (uint16_t)((choice & 0x1f) << 8), 0, fuzz_byte(rig) & 0x1f, 0};
	if (choice & 0x20)
		words[0] |= (uint16_t)(fuzz_byte(rig) << 8);
	if (choice & 0x40)
		words[4] |= 0x1000; /* READ CD: user data; READ (12): a long count */
	if (choice & 0x80)
		words[1 + (choice & 3)] = (uint16_t)fuzz_number(rig, 2);
	for (unsigned i = 0; i < 6; i++)
		io_write(&rig->ports, base, 2, words[i]);
}

static void finish_pio(struct fuzz_rig *rig, uint16_t base)
{
	for (unsigned i = 0; i < 4096 && (io_read(&rig->ports, base + 7, 1) & 0xa9) == 0x08; i++) {
		(void)io_read(&rig->ports, base, 4);
		io_write(&rig->ports, base, 4, i);
	}
}

/* A command that is likely to do something: its registers hold small numbers. */
static void give_command(struct fuzz_rig *rig)
{
	static const uint8_t commands[] = {0x20, 0x24, 0x25, 0x29, 0x30, 0x34, 0x35, 0x39, 0x40, 0x91, 0xa0, 0xa0,
					   0xa0, 0xa1, 0xc4, 0xc5, 0xc6, 0xc8, 0xca, 0xe7, 0xec, 0xef, 0x08, 0x90};
	uint8_t choice = fuzz_byte(rig);
	uint8_t command = commands[fuzz_byte(rig) % sizeof commands];
	if (command == 0xa0) /* mostly to the CD-ROM drive, and of those mostly past a unit attention */
		choice = choice & 1 ? choice : (choice & 0x4f) | 0x10;
	uint16_t base = choice & 0x80 ? 0x170 : 0x1f0;
	if (choice & 0x0c) /* not for ever in reset, nor in a transfer that nobody ends */
		io_write(&rig->ports, base + 0x206, 1, 0);
	io_write(&rig->ports, base + 6, 1, choice & 0x50);
	if (choice & 0x08)
		finish_pio(rig, base);
	if (command == 0xa0 && (choice & 0x06)) {
		io_write(&rig->ports, base + 1, 1, 0);
		io_write(&rig->ports, base + 7, 1, command);
		for (unsigned i = 0; i < 6; i++) /* TEST UNIT READY */
			io_write(&rig->ports, base, 2, 0);
	}
	uint8_t features = fuzz_byte(rig);
	io_write(&rig->ports, base + 1, 1, features & 0x80 ? features : features & 1);
	io_write(&rig->ports, base + 2, 1, fuzz_byte(rig) & 0x3f);
	io_write(&rig->ports, base + 3, 1, fuzz_byte(rig) & 0x3f);
	io_write(&rig->ports, base + 4, 1, command == 0xa0 ? fuzz_byte(rig) : 0);
	io_write(&rig->ports, base + 5, 1, command == 0xa0 ? fuzz_byte(rig) : 0);
	io_write(&rig->ports, base + 7, 1, command);
	if (command == 0xa0)
		give_packet(rig, base);
}

/* A descriptor table in memory, mostly good, and the start of a transfer. */
static void give_table(struct fuzz_rig *rig, struct board *board)
{
	uint8_t choice = fuzz_byte(rig);
	uint32_t table = choice & 0x40 ? (uint32_t)fuzz_number(rig, 4) : (choice & 0x3fu) << 8;
	uint32_t master = choice & 0x80 ? 0xc008 : 0xc000;
	for (unsigned i = 0; i < 4; i++) {
		uint8_t kind = fuzz_byte(rig);
		uint32_t words[2] = {(uint32_t)fuzz_number(rig, kind & 1 ? 4 : 2), (uint32_t)(kind & 0xf0) << 6};
		words[1] |= kind & 2 ? 0x80000000u : 0;
		(void)memory_write(&board->memory, table + 8 * i, words, sizeof words);
	}
	io_write(&rig->ports, master + 4, 4, table);
	io_write(&rig->ports, master, 1, 0);
	io_write(&rig->ports, master, 1, 1 | (fuzz_byte(rig) & 8));
}

static void move_data(struct fuzz_rig *rig)
{
	uint8_t choice = fuzz_byte(rig);
	uint16_t base = choice & 0x80 ? 0x170 : 0x1f0;
	for (unsigned i = 0; i < 16u * (choice & 0x1fu); i++) {
		if (choice & 0x40)
			io_write(&rig->ports, base, 4, i);
		else
			(void)io_read(&rig->ports, base, 4);
	}
}

static void configure(struct fuzz_rig *rig, struct board *board)
{
	uint8_t offset = fuzz_byte(rig);
	pci_config_write(board->bus, PCI_DEVFN(1, 1), offset, 1, fuzz_byte(rig));
}

static void disturb(struct fuzz_rig *rig, struct board *board)
{
	uint8_t choice = fuzz_byte(rig);
	struct image *image = &board->image[choice % IMAGES];
	if (choice < 0x60) {
		image->slow = (choice & 8) != 0;
		image->bad = (choice & 0x30) == 0x30;
	} else if (choice < 0xf0) {
		image_answer(image);
	} else if (choice < 0xf8) {
		atapi_set_disk(board->atapi, choice & 1 ? &board->image[2].base : NULL);
	} else if (choice < 0xfc) {
		ide_channel_reset(piix4ide_channel(board->ide, choice & 1));
	} else {
		piix4ide_reset(board->ide);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct fuzz_window windows[] = {
	    {false, 0x1f0, 8}, {false, 0x170, 8}, {false, 0x3f6, 1}, {false, 0x376, 1}, {false, 0xc000, 16}};
	struct fuzz_rig rig;
	struct board board;
	fuzz_init(&rig, data, size);
	board_create(&board, &rig);
	while (rig.left > 0) {
		uint8_t action = fuzz_byte(&rig);
		if (action < 0x40)
			fuzz_access(&rig, windows, 5, true);
		else if (action < 0x60)
			fuzz_access(&rig, windows, 5, false);
		else if (action < 0xa0)
			give_command(&rig);
		else if (action < 0xc0)
			give_table(&rig, &board);
		else if (action < 0xe0)
			move_data(&rig);
		else if (action < 0xfe)
			disturb(&rig, &board);
		else
			configure(&rig, &board);
	}
	board_destroy(&board);
	assert(rig.ports.count == 0 && rig.mmio.count == 0);
	assert(!fuzz_level(&rig, 14) && !fuzz_level(&rig, 15));
	for (unsigned i = 0; i < IMAGES; i++)
		assert(board.image[i].waiting == NULL);
	return 0;
}
