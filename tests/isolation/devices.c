/* SPDX-License-Identifier: MIT */
/* Every device used wrongly, with DMA of every kind to places that are the guest's to write, or nobody's. */
#include "devices.h"

/* After a reset the channel serves as if nothing had been: its driver has put a mark into sector 64 of the second disk.
 */
static bool disk_works(void)
{
	static const uint8_t mark[] = {1, 'C', 'D', '0', '0', '1', 1};
	uint32_t *table = (uint32_t *)(void *)arena;
	uint8_t *sector = arena + 0x1000;

	outb(0x3f6, 4);
	outb(0x3f6, 2);
	fill_bytes(sector, 0, 512);
	table[0] = (uint32_t)(word)sector;
	table[1] = 0x80000000u | 512;
	outl(0xc004, (uint32_t)(word)table);
	outb(0xc002, 6);
	outb(0x1f6, 0x50);
	outb(0x1f1, 0);
	outb(0x1f2, 1);
	outb(0x1f3, 64);
	outb(0x1f4, 0);
	outb(0x1f5, 0);
	outb(0x1f7, 0xc8);
	outb(0xc000, 9);
	for (unsigned i = 0; i < 1000000 && (inb(0xc002) & 1); i++)
		;
	outb(0xc000, 0);
	for (unsigned i = 0; i < sizeof(mark); i++)
		if (sector[i] != mark[i])
			return false;
	return inb(0x1f7) == 0x50;
}

void guest_main(void)
{
	canary_plant();
	devices_start();
	for (unsigned i = 0; i < 8; i++) {
		for (unsigned round = 0; round < 4000; round++)
			device_round();
		canary_check("canary.after_devices");
		check("disk.works", disk_works());
	}
	fill_bytes(arena, 0, ARENA_SIZE); /* its random numbers might look like the host's addresses */
	rest();
}
