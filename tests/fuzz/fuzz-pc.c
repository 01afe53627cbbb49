/* SPDX-License-Identifier: MIT */
/*
 * The whole board as machine.c makes it, with disk, CD-ROM, floppies and two processors: a guest that writes anything
 * to any port, any MMIO address and its own memory, starts DMA of every kind, moves BARs and shadow RAM, resets, and
 * lets time pass, while somebody types and looks at the screen. What is not RAM to the guest, the ROM and the block of
 * ones behind empty segments, stays as it was; images are asked for their own sectors only; no access keeps the host
 * for long; no more clock ticks are delivered and lost than were due.
 */
#include "fuzz-rig.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "devices/pci.h"
#include "devices/ps2keyboard.h"
#include "devices/ps2mouse.h"
#include "machine/pc.h"

#define RAM (UINT64_C(4) << 20)
#define ROM_SIZE 0x20000u
#define ROM_BYTE 0x5au
#define ONES_SIZE 0x10000u
#define VIDEO_SIZE (UINT64_C(4) << 20)
#define VGA_ROM_SIZE 0x8000u
#define DISK_SECTORS 128u
#define IMAGES 3u
#define SOCKETS 2u
#define ACCESS_LIMIT_NS UINT64_C(5000000000) /* of processor time, with sanitizers on a busy host */

struct image_disk {
	struct disk base;
	uint8_t bytes[DISK_SECTORS * DISK_SECTOR_SIZE];
};

struct board {
	struct fuzz_rig rig;
	struct memory memory;
	struct memory_map map;
	struct display display;
	struct chardev *serial[2];
	struct io_map mmio[SOCKETS];
	struct image_disk image[IMAGES];
	struct floppy *floppy;
	struct pc *pc;
	struct ledger *ledger;
	bool reset;
	uint32_t requests[SOCKETS];
};

/* ---- what the board is wired to ---- */

static void image_submit(struct disk *disk, struct disk_request *request)
{
	struct image_disk *image = (struct image_disk *)disk;
	uint64_t sector = request->operation == DISK_FLUSH ? 0 : request->sector;
	uint32_t count = request->operation == DISK_FLUSH ? 0 : request->count;
	assert(sector + count <= disk->sectors);
	uint8_t *ours = image->bytes + sector * DISK_SECTOR_SIZE;
	size_t size = (size_t)count * DISK_SECTOR_SIZE;
	request->error = 0;
	request->completed = request->count;
	if (request->operation == DISK_READ)
		memcpy(request->bytes, ours, size);
	else if (request->operation == DISK_WRITE)
		memcpy(ours, request->bytes, size);
	request->done(request);
}

static const struct disk_ops image_ops = {.submit = image_submit};

static void note_reset(void *opaque)
{
	((struct board *)opaque)->reset = true;
}

static void note_nothing(void *opaque)
{
	(void)opaque;
}

static void note_a20(void *opaque, bool on)
{
	(void)opaque;
	(void)on;
}

static void note_exit(void *opaque, uint32_t value)
{
	(void)opaque;
	(void)value;
}

static void pin_request(void *opaque, uint32_t bits)
{
	*(uint32_t *)opaque |= bits;
}

static void pin_withdraw(void *opaque, uint32_t bits)
{
	*(uint32_t *)opaque &= ~bits;
}

static void pin_vector(void *opaque, uint8_t vector)
{
	(void)opaque;
	(void)vector;
}

/* A 720K floppy that nobody has a name for. */
static struct floppy *open_floppy(void)
{
	char path[] = "/tmp/nfold-fuzz-pc-XXXXXX";
	int fd = mkstemp(path);
	assert(fd >= 0 && ftruncate(fd, 720 * 1024) == 0);
	struct floppy *floppy = floppy_open(path, false, NULL);
	assert(floppy != NULL);
	(void)unlink(path);
	(void)close(fd);
	return floppy;
}

static void fill_config(struct board *board, struct pc_config *config, const struct image *vga_rom)
{
	static const struct pc_drive drives[PC_IDE_DRIVES] = {
	    {.kind = PC_DISK, .serial = "1"}, {.kind = PC_DISK, .serial = "2"}, {.kind = PC_CDROM, .serial = "3"}};
	*config = (struct pc_config){.clock = &board->rig.clock,
				     .ledger = board->ledger,
				     .ports = &board->rig.ports,
				     .mmio = &board->rig.mmio,
				     .sockets = SOCKETS,
				     .physical_bits = 40,
				     .memory = &board->memory,
				     .map = &board->map,
				     .display = &board->display,
				     .serial = {board->serial[0], board->serial[1]},
				     .debug_console = board->serial[1],
				     .vga_rom = vga_rom,
				     .floppy = {board->floppy},
				     .cmos = {.memory_size = RAM, .cpus = SOCKETS},
				     .firmware_config = {.memory_size = RAM, .cpus = SOCKETS},
				     .debug_exit_port = 0x501,
				     .power_off = note_nothing,
				     .reset = note_reset,
				     .a20 = note_a20,
				     .debug_exit = note_exit,
				     .opaque = board};
	for (unsigned i = 0; i < IMAGES; i++) {
		board->image[i].base =
		    (struct disk){.ops = &image_ops, .sectors = DISK_SECTORS - i, .read_only = i > 0};
		config->ide[i] = drives[i];
		config->ide[i].image = &board->image[i].base;
	}
	for (unsigned i = 0; i < SOCKETS; i++) {
		io_map_init(&board->mmio[i], 0);
		io_map_set_behind(&board->mmio[i], &board->rig.mmio);
		config->socket[i] = (struct pc_socket){.pin = {.request = pin_request,
							       .withdraw = pin_withdraw,
							       .set_startup_vector = pin_vector,
							       .opaque = &board->requests[i]},
						       .mmio = &board->mmio[i]};
	}
}

static struct board *board_create(const uint8_t *data, size_t size)
{
	static uint8_t rom_bytes[ROM_SIZE], vga_rom_bytes[VGA_ROM_SIZE];
	static const struct image rom = {.fd = -1, .size = ROM_SIZE, .bytes = rom_bytes};
	static const struct image vga_rom = {.fd = -1, .size = VGA_ROM_SIZE, .bytes = vga_rom_bytes};
	const struct memory_map_config map = {.memory_size = RAM, .rom = &rom, .video_size = VIDEO_SIZE};
	struct board *board = calloc(1, sizeof *board);
	struct pc_config config;
	assert(board != NULL);
	memset(rom_bytes, ROM_BYTE, sizeof rom_bytes);
	fuzz_init(&board->rig, data, size);
	display_init(&board->display);
	for (unsigned i = 0; i < 2; i++)
		board->serial[i] = chardev_open_none(NULL);
	board->floppy = open_floppy();
	board->ledger = aligned_alloc(_Alignof(struct ledger), sizeof *board->ledger);
	assert(board->ledger != NULL);
	memset(board->ledger, 0, sizeof *board->ledger);
	assert(memory_map_create(&board->map, &board->memory, &map, NULL));
	fill_config(board, &config, &vga_rom);
	config.firmware = fuzz_byte(&board->rig) & 1;
	board->pc = pc_create(&config, NULL);
	assert(board->pc != NULL);
	pc_reset(board->pc);
	board->reset = false;
	return board;
}

static void check_memory(const struct board *board)
{
	const uint8_t *rom = board->memory.host + board->map.rom_offset;
	const uint8_t *ones = board->memory.host + board->map.ones_offset;
	for (unsigned i = 0; i < ROM_SIZE; i++)
		assert(rom[i] == ROM_BYTE);
	for (unsigned i = 0; i < ONES_SIZE; i++)
		assert(ones[i] == 0xff);
}

static void check_ticks(const struct board *board)
{
	for (unsigned i = 0; i < LEDGER_TIMER_COUNT; i++) {
		const uint64_t *count = board->ledger->ticks[i].count;
		assert(count[LEDGER_TICK_DELIVERED] + count[LEDGER_TICK_LOST] <= count[LEDGER_TICK_DUE]);
		assert(count[LEDGER_TICK_BUNCHED] <= count[LEDGER_TICK_DELIVERED]);
	}
}

static void board_destroy(struct board *board)
{
	pc_destroy(board->pc);
	check_memory(board);
	check_ticks(board);
	free(board->ledger);
	assert(board->rig.clock.timers == NULL);
	for (unsigned i = 0; i < 2; i++)
		chardev_close(board->serial[i]);
	floppy_close(board->floppy);
	memory_destroy(&board->memory);
	free(board);
}

/* ---- what a guest does ---- */

static void out(struct board *board, unsigned port, unsigned size, uint64_t value)
{
	io_write(&board->rig.ports, port & 0xffff, size, value);
}

static unsigned in(struct board *board, unsigned port)
{
	return (unsigned)io_read(&board->rig.ports, port & 0xffff, 1);
}

/* RAM as the engine would find it, else MMIO through a processor's map. */
static void guest_access(struct board *board, uint64_t gpa, unsigned size, bool write, uint64_t value)
{
	struct io_map *mmio = &board->mmio[gpa >> 4 & 1];
	uint8_t bytes[8];
	memcpy(bytes, &value, sizeof bytes);
	if (memory_find(&board->memory, gpa) != NULL)
		(void)(write ? memory_write(&board->memory, gpa, bytes, size)
			     : memory_read(&board->memory, gpa, bytes, size));
	else if (write)
		io_write(mmio, gpa, size, value);
	else
		(void)io_read(mmio, gpa, size);
}

static void touch_memory(struct board *board)
{
	static const struct {
		uint64_t base;
		uint32_t size;
	} windows[] = {{0x1000, 0x1000},      {0xa0000, 0x20000},      {0xc0000, 0x40000},
		       {RAM - 0x800, 0x1000}, {0xfec00000, 0x100},     {0xfee00000, 0x400},
		       {0xfffe0000, 0x20000}, {0xc0000000, 0x2000000}, {UINT64_C(1) << 32, 0x10}};
	struct fuzz_rig *rig = &board->rig;
	uint8_t choice = fuzz_byte(rig);
	unsigned window = choice % (sizeof windows / sizeof windows[0]), size = 1u << (fuzz_byte(rig) & 3);
	uint64_t gpa = windows[window].base + (uint32_t)fuzz_number(rig, 4) % windows[window].size;
	guest_access(board, gpa, size, choice & 0x80, fuzz_number(rig, size));
}

static void touch_port(struct board *board)
{
	static const struct fuzz_window windows[] = {
	    {false, 0x00, 0x10},  {false, 0x20, 2},	 {false, 0xa0, 2},  {false, 0x40, 4},	  {false, 0x60, 8},
	    {false, 0x70, 2},	  {false, 0x80, 0x20},	 {false, 0xb2, 2},  {false, 0xc0, 0x20},  {false, 0x170, 8},
	    {false, 0x1f0, 8},	  {false, 0x2f8, 8},	 {false, 0x376, 1}, {false, 0x3b0, 0x30}, {false, 0x3f2, 0x0e},
	    {false, 0x402, 1},	  {false, 0x4d0, 2},	 {false, 0x501, 4}, {false, 0x510, 0x0c}, {false, 0xcf8, 8},
	    {false, 0x600, 0x40}, {false, 0xc000, 0x20}, {false, 0x1ce, 3}, {false, 0, 0x10000}};
	uint8_t form = fuzz_byte(&board->rig);
	fuzz_access(&board->rig, windows, sizeof windows / sizeof windows[0], form & 1);
}

static void configure(struct board *board)
{
	static const unsigned functions[] = {PCI_DEVFN(0, 0), PCI_DEVFN(1, 0), PCI_DEVFN(1, 1), PCI_DEVFN(1, 3),
					     PCI_DEVFN(2, 0)};
	struct fuzz_rig *rig = &board->rig;
	unsigned devfn = functions[fuzz_byte(rig) % (sizeof functions / sizeof functions[0])];
	unsigned offset = fuzz_byte(rig), size = 1u << (fuzz_byte(rig) % 3);
	out(board, 0xcf8, 4, 0x80000000u | devfn << 8 | (offset & 0xfc));
	out(board, 0xcfc + (offset & 3 & ~(size - 1)), size, fuzz_number(rig, size));
}

/* Where the bus master's BAR is now. */
static unsigned bus_master(struct board *board)
{
	out(board, 0xcf8, 4, 0x80000000u | PCI_DEVFN(1, 1) << 8 | 0x20);
	return (unsigned)io_read(&board->rig.ports, 0xcfc, 4) & 0xfff0;
}

/* To the CD-ROM drive, past a unit attention: addresses and lengths are small numbers. */
static void give_packet(struct board *board, unsigned base)
{
	static const uint8_t packets[] = {0x00, 0x03, 0x12, 0x1b, 0x1e, 0x25, 0x28, 0x28,
					  0x43, 0x46, 0x4a, 0x5a, 0xa8, 0xbd, 0xbe, 0x2b};
	struct fuzz_rig *rig = &board->rig;
	uint8_t packet[12] = {0};
	if (fuzz_byte(rig) & 3) {
		for (unsigned i = 0; i < 6; i++) /* TEST UNIT READY */
			out(board, base, 2, 0);
		out(board, base + 7, 1, 0xa0);
	}
	packet[0] = packets[fuzz_byte(rig) % sizeof packets];
	packet[1] = fuzz_byte(rig);
	packet[2] = packet[1] & 0x40 ? fuzz_byte(rig) & 0x2b : 0;
	packet[5] = packet[8] = packet[9] = fuzz_byte(rig) & 0x1f;
	packet[4] = packet[7] = fuzz_byte(rig) & 0x13;
	for (unsigned i = 0; i < sizeof packet; i += 2)
		out(board, base, 2, packet[i] | packet[i + 1] << 8);
}

static void run_ide(struct board *board)
{
	static const uint8_t commands[] = {0x20, 0x25, 0x30, 0x35, 0xa0, 0xa1, 0xc4, 0xc8, 0xca, 0xe7, 0xec, 0x08};
	struct fuzz_rig *rig = &board->rig;
	uint8_t choice = fuzz_byte(rig), command = commands[fuzz_byte(rig) % sizeof commands];
	if (command == 0xa0)
		choice |= 1;
	unsigned base = choice & 1 ? 0x170 : 0x1f0, master = bus_master(board) + (choice & 1 ? 8 : 0);
	uint32_t table = (choice & 0x38u) << 7;
	for (unsigned i = 0; i < 2; i++) {
		uint64_t words = fuzz_number(rig, 3) | (uint64_t)fuzz_number(rig, 2) << 32 | (uint64_t)i << 63;
		(void)memory_write(&board->memory, table + 8 * i, &words, 8);
	}
	out(board, base + 0x206, 1, choice & 4 ? 4 : 0);
	out(board, base + 0x206, 1, 0);
	out(board, base + 6, 1, 0x40 | (command == 0xa0 ? 0 : (choice & 2) << 3));
	for (unsigned reg = 1; reg <= 5; reg++)
		out(board, base + reg, 1,
		    reg == 1			  ? choice >> 6 & 1
		    : reg <= 3 || command == 0xa0 ? fuzz_byte(rig) & 0x1f
						  : 0);
	out(board, master + 4, 4, table);
	out(board, master + 2, 1, 6);
	out(board, base + 7, 1, command);
	if (command == 0xa0)
		give_packet(board, base);
	out(board, master, 1, choice & 0x40 ? 9 : 1);
	for (unsigned i = 0; i < 600 && (in(board, base + 7) & 0x88) == 0x08; i++)
		out(board, base, 4, io_read(&rig->ports, base, 4));
	if (choice & 0x80)
		out(board, master, 1, 0);
}

static void run_floppy(struct board *board)
{
	static const uint8_t commands[][2] = {{0xe6, 9}, {0xc5, 9}, {0x4d, 6}, {0x04, 2}, {0x0e, 1},
					      {0x94, 1}, {0x0f, 3}, {0x07, 2}, {0x08, 1}, {0x4a, 2},
					      {0x03, 3}, {0x42, 9}, {0x13, 4}};
	struct fuzz_rig *rig = &board->rig;
	uint8_t choice = fuzz_byte(rig);
	const uint8_t *command = commands[fuzz_byte(rig) % 13];
	out(board, 0x3f2, 1, choice & 0x80 ? choice : 0x1c);
	out(board, 0x3f7, 1, 2);
	out(board, 0xd6, 1, 0xc0);
	out(board, 0xd4, 1, 0);
	out(board, 0x0c, 1, 0);
	for (unsigned i = 0; i < 4; i++)
		out(board, 4 + i / 2, 1, fuzz_byte(rig));
	out(board, 0x81, 1, fuzz_byte(rig));
	out(board, 0x0b, 1, choice & 1 ? 0x46 : 0x4a);
	out(board, 0x0a, 1, 2);
	for (unsigned i = 0; i < 20 && (in(board, 0x3f4) & 0xd0) == 0xd0; i++)
		(void)in(board, 0x3f5);
	for (unsigned i = 0; i < command[1]; i++) /* cylinder, head, sector, size, end of track */
		out(board, 0x3f5, 1,
		    i == 0	 ? command[0]
		    : choice & 2 ? fuzz_byte(rig)
				 : (const uint8_t[]){0, 0, 0, 0, 1, 2, 9, 0x1b, 0xff}[i]);
	for (unsigned i = 0; i < 1024 && (in(board, 0x3f4) & 0xf0) == 0xf0; i++)
		(void)in(board, 0x3f5);
}

static void run_fwcfg(struct board *board)
{
	struct fuzz_rig *rig = &board->rig;
	uint8_t descriptor[16] = {fuzz_byte(rig), fuzz_byte(rig), 0, fuzz_byte(rig) & 0x1f};
	for (unsigned i = 4; i < sizeof descriptor; i++)
		descriptor[i] = i >= 8 && i < 12 ? 0 : i == 4 ? 0 : fuzz_byte(rig);
	(void)memory_write(&board->memory, 0x2000, descriptor, sizeof descriptor);
	out(board, 0x514, 4, 0);
	out(board, 0x518, 4, __builtin_bswap32(fuzz_byte(rig) < 0xf0 ? 0x2000 : (uint32_t)fuzz_number(rig, 4)));
}

/* A graphics mode of the DISPI, any of the VGA's registers, and the mouse switched on. */
static void run_screen(struct board *board)
{
	struct fuzz_rig *rig = &board->rig;
	uint8_t choice = fuzz_byte(rig);
	for (unsigned i = 0; choice < 0x80 && i < 10; i++) {
		static const uint8_t order[] = {4, 1, 2, 3, 5, 6, 7, 8, 9, 4};
		out(board, 0x1ce, 2, order[i]);
		out(board, 0x1cf, 2,
		    order[i] == 4   ? (i == 0 ? 0u : 0x41u | (choice & 0x22u))
		    : order[i] == 3 ? (choice & 0x38u)
				    : fuzz_byte(rig) * 8u);
	}
	for (unsigned i = 0; choice >= 0x80 && i < 8; i++) {
		static const uint16_t indexed[] = {0x3c4, 0x3ce, 0x3d4, 0x3c0};
		unsigned port = indexed[fuzz_byte(rig) & 3];
		out(board, port, 1, fuzz_byte(rig) & 0x1f);
		out(board, port == 0x3c0 ? port : port + 1, 1, fuzz_byte(rig));
	}
	out(board, 0x64, 1, 0xd4);
	out(board, 0x60, 1, 0xf4);
}

/* What the processors do with their interrupt controllers. */
static void run_processor(struct board *board)
{
	struct fuzz_rig *rig = &board->rig;
	uint8_t choice = fuzz_byte(rig);
	const struct interrupt_controller apic = pc_interrupt_controller(board->pc, choice & 1);
	uint64_t value = 0;
	uint32_t msr = choice & 0x20 ? 0x800 + fuzz_byte(rig) % 0x40 : choice & 0x10 ? 0x6e0 : 0x1b;
	if (choice < 0x80)
		(void)apic.acknowledge(apic.opaque);
	else if (choice < 0xa0)
		apic.cr8_write(apic.opaque, fuzz_byte(rig) & 15);
	else if (choice < 0xc0)
		(void)apic.msr_read(apic.opaque, msr, &value);
	else
		(void)apic.msr_write(apic.opaque, msr, fuzz_number(rig, 4));
	if (choice & 8) { /* enabled, its timer set, and an input of the I/O APIC sent there */
		static const uint16_t registers[] = {0xf0, 0x320, 0x380};
		struct io_map *mmio = &board->mmio[choice & 1];
		for (unsigned i = 0; i < 3; i++)
			io_write(mmio, 0xfee00000 + registers[i], 4,
				 i == 0	  ? 0x1ff
				 : i == 1 ? 0x20000u | (fuzz_byte(rig) | 0x20u)
					  : (uint64_t)fuzz_byte(rig) << 12);
		io_write(mmio, 0xfec00000, 4, 0x10 + 2 * (fuzz_byte(rig) % 24u));
		io_write(mmio, 0xfec00010, 4, fuzz_number(rig, 2) & 0xaff7);
	}
	if (choice & 0x40)
		for (unsigned i = 0; i < 2; i++)
			out(board, i == 0 ? 0x20 : 0xa0, 1, 0x20);
}

/* ---- what happens from outside ---- */

static void look(struct board *board)
{
	struct display_size size = display_size(&board->display);
	assert(size.width <= DISPLAY_WIDTH_MAX && size.height <= DISPLAY_HEIGHT_MAX);
	struct display_text *text = calloc(1, sizeof *text);
	uint32_t *pixels = calloc((size_t)size.width * size.height + 1, sizeof *pixels);
	assert(text != NULL && pixels != NULL);
	(void)display_changes(&board->display);
	if (display_text(&board->display, text))
		assert(text->columns <= DISPLAY_COLUMNS_MAX && text->rows <= DISPLAY_ROWS_MAX);
	assert(display_render(&board->display, pixels, size));
	free(text);
	free(pixels);
}

static void use(struct board *board)
{
	struct fuzz_rig *rig = &board->rig;
	uint8_t choice = fuzz_byte(rig);
	if (choice < 0x60)
		ps2keyboard_key(pc_keyboard(board->pc), fuzz_byte(rig), choice & 1);
	else if (choice < 0xc0)
		ps2mouse_move(pc_mouse(board->pc), (int8_t)fuzz_byte(rig), (int8_t)fuzz_byte(rig), choice & 3);
	else if (choice < 0xd8)
		ps2mouse_buttons(pc_mouse(board->pc), fuzz_byte(rig));
	else if (choice < 0xfc)
		look(board);
	else
		pc_power_button(board->pc);
}

static uint64_t processor_time(void)
{
	struct timespec now;
	(void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
	return (uint64_t)now.tv_sec * CLOCK_SECOND + (uint64_t)now.tv_nsec;
}

static void step(struct board *board)
{
	static void (*const actions[18])(struct board *) = {
	    touch_port, touch_port, touch_port, touch_port, touch_memory,  touch_memory, configure,  configure, run_ide,
	    run_ide,	run_floppy, run_floppy, run_fwcfg,  run_processor, use,		 run_screen, NULL,	NULL};
	unsigned action = fuzz_byte(&board->rig) % 18;
	if (actions[action] != NULL)
		actions[action](board);
	else
		fuzz_advance(&board->rig, 27);
	if (!board->reset)
		return;
	pc_reset(board->pc);
	board->reset = false;
	check_memory(board);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct board *board = board_create(data, size);
	while (board->rig.left > 0) {
		uint64_t start = processor_time();
		step(board);
		assert(processor_time() - start < ACCESS_LIMIT_NS);
	}
	board_destroy(board);
	return 0;
}
