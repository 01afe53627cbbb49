/* SPDX-License-Identifier: MIT */
/*
 * Garbage to every port, in every size, many times, and to the MMIO pages at every offset and size. Left out are only
 * the ports that end the guest by design: reset, power and debug exit, and the serial port it speaks on.
 */
#include "hostile.h"

static bool spared(unsigned port)
{
	return (port >= 0x3f8 && port <= 0x3ff) || (port >= 0xf1 && port <= 0xf7) || (port >= 0x600 && port < 0x680) ||
	       (port >= 0xcf8 && port <= 0xcff) || (port >= 0x60 && port <= 0x64) || (port >= 0x8f && port <= 0x92) ||
	       port == 0xb2;
}

static void port_write(unsigned port, unsigned size, uint32_t value)
{
	if (size == 1)
		__asm__ volatile("outb %b0, %w1" : : "a"(value), "d"(port));
	else if (size == 2)
		__asm__ volatile("outw %w0, %w1" : : "a"(value), "d"(port));
	else
		__asm__ volatile("outl %0, %w1" : : "a"(value), "d"(port));
}

static uint32_t port_read(unsigned port, unsigned size)
{
	uint32_t value = 0;
	if (size == 1)
		__asm__ volatile("inb %w1, %b0" : "+a"(value) : "d"(port));
	else if (size == 2)
		__asm__ volatile("inw %w1, %w0" : "+a"(value) : "d"(port));
	else
		__asm__ volatile("inl %w1, %0" : "=a"(value) : "d"(port));
	return value;
}

static void all_ports(void)
{
	for (unsigned round = 0; round < 2; round++) {
		for (unsigned size = 1; size <= 4; size *= 2) {
			for (unsigned port = 0; port + size <= 0x10000; port += port < 0x1000 ? 1 : 7) {
				bool skip = false;
				for (unsigned i = 0; i < size; i++)
					skip |= spared(port + i);
				if (skip)
					continue;
				(void)port_read(port, size);
				port_write(port, size, (uint32_t)random_64());
				(void)port_read(port, size);
			}
		}
	}
	/* The known ones harder: 8259, 8254, CMOS, port 61h, PCI configuration space without its BARs' decode. */
	static const uint16_t known[] = {0x20,	0x21,  0xa0,  0xa1,  0x40,  0x41,  0x42,  0x43,	 0x61,
					 0x70,	0x71,  0x80,  0x2f8, 0x2f9, 0x2fa, 0x2fb, 0x2fc, 0x2fd,
					 0x2fe, 0x2ff, 0x510, 0x511, 0x514, 0x4d0, 0x4d1};
	for (unsigned i = 0; i < 40000; i++) {
		uint16_t port = known[random_below(sizeof(known) / sizeof(known[0]))];
		if (random_below(3))
			port_write(port, 1, (uint32_t)random_64());
		else
			(void)port_read(port, 1);
	}
	for (unsigned i = 0; i < 20000; i++) {
		port_write(0xcf8, 4, 0x80000000 | ((uint32_t)random_64() & 0xfffffc));
		(void)port_read(0xcfc + random_below(4), 1);
		(void)port_read(0xcfc, 4);
	}
}

FRAGMENT(mmio_1, "mov (" BX "), %al\n mov %dl, (" BX ")");
FRAGMENT(mmio_2, "mov (" BX "), %ax\n mov %dx, (" BX ")");
FRAGMENT(mmio_4, "mov (" BX "), %eax\n mov %edx, (" BX ")");
FRAGMENT(mmio_sse, "movups (" BX "), %xmm0\n movups %xmm0, (" BX ")");
FRAGMENT(mmio_avx, "vmovups (" BX "), %ymm0\n vmovups %ymm0, (" BX ")");
FRAGMENT(mmio_locked, "lock xadd %edx, (" BX ")\n lock cmpxchg8b (" BX ")");
FRAGMENT(mmio_string, "mov " BX ", " DI "\n mov " BX ", " SI "\n mov $16, %ecx\n rep movsl");
FRAGMENT(mmio_x87, "fninit\n fldt (" BX ")\n fstpt (" BX ")");
FRAGMENT(mmio_fxsave, "and $-16, " BX "\n fxsave (" BX ")");
FRAGMENT(mmio_fxrstor, "and $-16, " BX "\n fxrstor (" BX ")");
FRAGMENT(mmio_push, "mov " SP ", " CX "\n mov " BX ", " SP "\n push " DX "\n pop " DX "\n mov " CX ", " SP);
FRAGMENT(mmio_lgdt, "sgdt (" BX ")");

static code_function *const mmio_forms[] = {mmio_1,	 mmio_2,   mmio_4,	mmio_sse,     mmio_avx,	 mmio_locked,
					    mmio_string, mmio_x87, mmio_fxsave, mmio_fxrstor, mmio_push, mmio_lgdt};

static void all_mmio(void)
{
	static const uint32_t pages[] = {0xfec00000, 0xfed00000, 0xfed40000, 0xb0000000, 0xa0000,    0xc0000,	0xf0000,
					 0x2000000,  0x80000000, 0xe0000000, 0xff000000, 0xfffff000, 0xfd000000};

	for (unsigned i = 0; i < sizeof(pages) / sizeof(pages[0]); i++) {
		for (unsigned round = 0; round < 600; round++) {
			regs.bx = pages[i] + random_below(PAGE - 512);
			regs.dx = (word)random_64();
			run(mmio_forms[random_below(sizeof(mmio_forms) / sizeof(mmio_forms[0]))]);
		}
	}
	/* The local APIC but for its command register and its local vectors: INIT and NMI stop this guest, not the
	 * host. */
	for (unsigned round = 0; round < 20000; round++) {
		unsigned offset = random_below(0x400) & ~15u;
		if (offset >= 0x300 && offset < 0x380)
			continue;
		regs.bx = APIC + offset;
		regs.dx = (word)random_64();
		run(mmio_forms[random_below(3)]);
	}
}

void guest_main(void)
{
	canary_plant();
	if (cpu_has(HAS_AVX)) {
		write_cr4(read_cr4() | CR4_OSXSAVE);
		__asm__ volatile("xsetbv" : : "c"(0), "a"(7), "d"(0));
	}
	all_ports();
	canary_check("canary.after_ports");
	all_mmio();
	canary_check("canary.after_mmio");
	rest();
}
