/* SPDX-License-Identifier: MIT */
/*
 * As devices.c, with DMA to anywhere in the guest, itself included. It soon destroys itself; each start has another
 * seed. Only the host's side is watched.
 */
#include "devices.h"

void guest_main(void)
{
	random_state ^= read_tsc() << 1;
	devices_start();
	anywhere = true;
	for (;;)
		device_round();
}
