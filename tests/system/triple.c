/* SPDX-License-Identifier: MIT */
/* A fault in the delivery of a double fault shuts the processor down; a PC resets on that. The driver sees how the
 * guest ended. */
#include "guest.h"

void guest_main(void)
{
	struct {
		uint16_t limit;
		word base;
	} __attribute__((packed)) none = {0, 0};

	fact("before", 1);
	print_flush();
	__asm__ volatile("lidt %0\n ud2" : : "m"(none));
	check("after", false);
}
