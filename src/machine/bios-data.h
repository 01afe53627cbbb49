/* SPDX-License-Identifier: MIT */
/* The BIOS data area at 400h, as far as kernels that are entered without firmware look at it. */
#ifndef NFOLD_MACHINE_BIOS_DATA_H
#define NFOLD_MACHINE_BIOS_DATA_H

#include <stdbool.h>

#include "memory/memory.h"

struct bios_data_config {
	unsigned floppies, disks;
	bool text_screen; /* mode 3 is set */
};

/* Also the first byte of the extended area, its size. */
bool bios_data_load(struct memory *memory, const struct bios_data_config *config);

#endif
