/* SPDX-License-Identifier: MIT */
/*
 * Where the firmware comes from when the user names none: SeaBIOS and its VGA BIOS, as Debian's package seabios has
 * them. They are looked for beside the executable (where `make` unpacks the package), where `make install` puts them,
 * and where the package itself does. Both come from one place.
 */
#ifndef NFOLD_VM_FIRMWARE_H
#define NFOLD_VM_FIRMWARE_H

#include <limits.h>
#include <stdbool.h>

#include "base/error.h"

struct firmware {
	char bios[PATH_MAX];
	char vga[PATH_MAX]; /* empty: not found */
};

/* Finds both files. With a BIOS given, only the VGA BIOS is looked for, first beside it, and may be missing. */
bool firmware_find(struct firmware *firmware, const char *given, struct error *error);

#endif
