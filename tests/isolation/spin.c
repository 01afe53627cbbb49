/* SPDX-License-Identifier: MIT */
/* Spins with interrupts off, in the smallest loop there is; then nothing inside can stop it. */
#include "hostile.h"

void guest_main(void)
{
	__asm__ volatile("cli\n 1: jmp 1b");
}
