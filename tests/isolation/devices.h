/* SPDX-License-Identifier: MIT */
/*
 * Rounds of hostile use of each device with disk, CD-ROM and floppy in the machine: commands that nearly make sense,
 * with DMA to wherever pick_address() says. In a machine that was entered without firmware.
 */
#ifndef HOSTILE_DEVICES_H
#define HOSTILE_DEVICES_H

#include "hostile.h"

#define ARENA_SIZE (256u << 10)
#define DMA_LARGEST (64u << 10)
#define IDE_FUNCTION (1u << 11 | 1u << 8)
#define VGA_FUNCTION (2u << 11)

/* For DMA. The arena begins where a page of ISA DMA does. */
static uint8_t arena_space[ARENA_SIZE + DMA_LARGEST] __attribute__((aligned(4096)));
static uint8_t *arena;
static bool anywhere; /* DMA may hit the guest itself */

static inline void outw(uint16_t port, uint16_t value)
{
	__asm__ volatile("outw %0, %1" : : "a"(value), "Nd"(port));
}

static inline void outl(uint16_t port, uint32_t value)
{
	__asm__ volatile("outl %0, %1" : : "a"(value), "Nd"(port));
}

static inline uint32_t inl(uint16_t port)
{
	uint32_t value;
	__asm__ volatile("inl %1, %0" : "=a"(value) : "Nd"(port));
	return value;
}

static inline uint8_t random_byte(void)
{
	return (uint8_t)random_below(256);
}

static inline uint8_t pick_byte(const uint8_t *from, unsigned count)
{
	return random_below(8) != 0 ? from[random_below(count)] : random_byte();
}

/* Where DMA goes: the arena, or what is no RAM; or really anywhere. */
static uint32_t pick_address(void)
{
	if (anywhere && random_below(4) == 0)
		return random_below(2) ? random_below(32u << 20) : (uint32_t)random_64();
	if (random_below(8) == 0)
		return 0x80000000u | (uint32_t)random_64();
	return (uint32_t)(word)arena + random_below(ARENA_SIZE - DMA_LARGEST);
}

static uint32_t pci_read(uint32_t function, unsigned offset)
{
	outl(0xcf8, 0x80000000u | function | offset);
	return inl(0xcfc);
}

static void pci_write(uint32_t function, unsigned offset, uint32_t value)
{
	outl(0xcf8, 0x80000000u | function | offset);
	outl(0xcfc, value);
}

/* ---- IDE ---- */

static uint32_t make_table(void)
{
	uint32_t *table = (uint32_t *)(void *)(arena + random_below(64) * 512);
	for (unsigned i = 0; i < 8; i++) {
		table[2 * i] = pick_address();
		table[2 * i + 1] = random_below(DMA_LARGEST) | (random_below(4) == 0 ? 0x80000000u : 0);
	}
	return random_below(8) != 0 ? (uint32_t)(word)table : pick_address();
}

static void move_words(uint16_t base)
{
	for (unsigned i = 0; i < 2048 && (inb(base + 7) & 0x88) == 0x08; i++) {
		if (random_below(2))
			(void)inl(base);
		else
			outw(base, (uint16_t)random_64());
	}
}

static void ide_round(void)
{
	static const uint8_t commands[] = {0x08, 0x20, 0x24, 0x25, 0x29, 0x30, 0x34, 0x35, 0x39, 0x40, 0x91, 0xa0,
					   0xa0, 0xa0, 0xa1, 0xc4, 0xc5, 0xc6, 0xc8, 0xc8, 0xca, 0xca, 0xe7, 0xec};
	static const uint8_t packets[] = {0x00, 0x03, 0x12, 0x1b, 0x1e, 0x25, 0x28, 0x43, 0x46, 0x4a, 0x5a, 0xa8, 0xbe};
	unsigned second = random_below(2);
	uint16_t base = second ? 0x170 : 0x1f0, master = (uint16_t)(0xc000 + 8 * second);
	uint8_t command = pick_byte(commands, sizeof(commands));

	outb(base + 0x206, random_below(16) == 0 ? random_byte() : 0);
	outb(base + 6, (uint8_t)(0x40 | (random_below(8) << 4 & 0x10)));
	for (unsigned reg = 1; reg <= 5; reg++)
		outb((uint16_t)(base + reg),
		     random_below(8) == 0 ? random_byte() : (uint8_t)random_below(reg == 1 ? 2 : 64));
	outl(master + 4, make_table());
	outb(master + 2, 0x66);
	outb(base + 7, command);
	if (command == 0xa0) {
		outw(base, pick_byte(packets, sizeof(packets)));
		for (unsigned i = 1; i < 6; i++)
			outw(base, random_below(4) == 0 ? (uint16_t)random_64() : (uint16_t)(random_below(16) << 8));
	}
	outb(master, (uint8_t)(1 | random_below(2) << 3));
	move_words(base);
	(void)inb(master + 2);
	outb(master, 0);
}

/* ---- floppy and ISA DMA ---- */

static void isa_dma(unsigned channel)
{
	uint32_t address = pick_address();
	static const uint8_t pages[] = {0x87, 0x83, 0x81, 0x82};

	outb(0xd6, 0xc0);
	outb(0xd4, 0);
	outb(0x0c, 0);
	outb((uint16_t)(2 * channel), (uint8_t)address);
	outb((uint16_t)(2 * channel), (uint8_t)(address >> 8));
	outb((uint16_t)(2 * channel + 1), random_byte());
	outb((uint16_t)(2 * channel + 1), (uint8_t)random_below(64));
	outb(pages[channel], (uint8_t)(address >> 16));
	outb(0x0b, (uint8_t)(channel | random_below(64) << 2));
	if (random_below(8) == 0)
		outb(0x09, random_byte() & 7);
	outb(0x0a, (uint8_t)channel);
}

static void floppy_round(void)
{
	static const struct {
		uint8_t code, parameters;
	} commands[] = {{0xe6, 8}, {0xc5, 8}, {0x4d, 5}, {0x0f, 2}, {0x07, 1}, {0x4a, 1}, {0x03, 2}, {0x42, 8},
			{0x13, 3}, {0x08, 0}, {0x04, 1}, {0x0e, 0}, {0xd6, 8}, {0x8f, 2}, {0x94, 0}, {0x12, 1}};
	unsigned command = random_below(sizeof(commands) / sizeof(commands[0]));

	outb(0x3f2, random_below(8) == 0 ? random_byte() : (uint8_t)(0x3c | random_below(2)));
	outb(0x3f7, (uint8_t)random_below(4));
	isa_dma(random_below(8) == 0 ? random_below(4) : 2);
	outb(0x3f5, random_below(16) == 0 ? random_byte() : commands[command].code);
	for (unsigned i = 0; i < commands[command].parameters; i++)
		outb(0x3f5, random_below(4) == 0 ? random_byte() : (uint8_t)random_below(4));
	for (unsigned i = 0; i < 1024 && (inb(0x3f4) & 0xc0) == 0xc0; i++)
		(void)inb(0x3f5);
}

/* ---- the rest ---- */

static void fwcfg_round(void)
{
	uint32_t *descriptor = (uint32_t *)(void *)(arena + random_below(1024) * 16);
	uint32_t key = random_below(4) == 0 ? random_below(0x10000) : 0x15 + random_below(32);

	outw(0x510, (uint16_t)key);
	for (unsigned i = random_below(32); i > 0; i--)
		(void)inb(0x511);
	descriptor[0] = __builtin_bswap32(key << 16 | random_below(32));
	descriptor[1] =
	    __builtin_bswap32(random_below(8) == 0 && anywhere ? (uint32_t)random_64() : random_below(DMA_LARGEST));
	descriptor[2] = random_below(16) == 0 ? (uint32_t)random_64() | 0x80 : 0;
	descriptor[3] = __builtin_bswap32(pick_address());
	outl(0x514, 0);
	outl(0x518, __builtin_bswap32((uint32_t)(word)descriptor));
}

static void vga_round(void)
{
	static const uint16_t indexed[] = {0x3c4, 0x3ce, 0x3d4, 0x3c0, 0x1ce};
	volatile uint8_t *window = (volatile uint8_t *)(word)0xa0000;

	for (unsigned i = 0; i < 8; i++) {
		uint16_t port = indexed[random_below(5)];
		if (port == 0x1ce) {
			outw(0x1ce, (uint16_t)random_below(12));
			outw(0x1cf, (uint16_t)random_below(0x1000));
			continue;
		}
		(void)inb(0x3da);
		outb(port, (uint8_t)random_below(32));
		outb(port == 0x3c0 ? port : (uint16_t)(port + 1), random_byte());
	}
	outb(0x3c2, random_byte());
	for (unsigned i = 0; i < 64; i++) {
		unsigned at = random_below(0x20000);
		window[at] = (uint8_t)(window[at] ^ random_byte());
	}
}

/* The framebuffer wanders; the IDE function loses its ports and gets them back. Bits 7:2 of the offset. */
static void pci_round(void)
{
	uint32_t command = pci_read(IDE_FUNCTION, 4), timing = pci_read(IDE_FUNCTION, 0x40),
		 ports = pci_read(IDE_FUNCTION, 0x20);
	uint32_t framebuffer = pci_read(VGA_FUNCTION, 0x10), vga_command = pci_read(VGA_FUNCTION, 4);

	for (unsigned i = 0; i < 4; i++)
		pci_write(random_below(2) ? IDE_FUNCTION : VGA_FUNCTION, random_below(64) << 2, (uint32_t)random_64());
	pci_write(0, 0x58 + (random_below(2) << 2), (uint32_t)random_64()); /* RAM or ROM below 1 MiB */
	pci_write(IDE_FUNCTION, 0x20, ports);
	pci_write(IDE_FUNCTION, 0x40, timing);
	pci_write(IDE_FUNCTION, 4, command);
	pci_write(VGA_FUNCTION, 0x10, framebuffer);
	pci_write(VGA_FUNCTION, 4, vga_command & 0xffff);
}

/* Not the commands that pulse reset and move A20. */
static void keyboard_round(void)
{
	static const uint8_t commands[] = {0x20, 0x60, 0xa7, 0xa8, 0xa9, 0xaa, 0xab, 0xad,
					   0xae, 0xc0, 0xd0, 0xd2, 0xd3, 0xd4, 0xd4, 0xe0};
	uint8_t command = commands[random_below(sizeof(commands))];

	outb(0x64, command);
	if (command == 0x60 || (command >= 0xd2 && command <= 0xd4))
		outb(0x60, random_byte());
	for (unsigned i = 0; i < 16 && (inb(0x64) & 1); i++)
		(void)inb(0x60);
	outb(0x60, random_byte());
}

static void timer_round(void)
{
	outb(0x43, random_byte());
	for (unsigned i = 0; i < 3; i++)
		outb((uint16_t)(0x40 + i), random_byte());
	outb(0x61, random_byte());
	outb(0x70, (uint8_t)random_below(128));
	outb(0x71, random_byte());
	outb((uint16_t)(0x2f8 + random_below(8)), random_byte());
	outb(0x402, random_byte());
	outb(0xe9, random_byte());
}

static inline void devices_start(void)
{
	arena = (uint8_t *)(((word)arena_space + DMA_LARGEST - 1) & ~(word)(DMA_LARGEST - 1));
}

static inline void device_round(void)
{
	static void (*const rounds[])(void) = {ide_round,   ide_round, ide_round,      floppy_round, floppy_round,
					       fwcfg_round, vga_round, keyboard_round, pci_round,    timer_round};
	rounds[random_below(sizeof(rounds) / sizeof(rounds[0]))]();
}

#endif
