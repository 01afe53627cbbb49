/* SPDX-License-Identifier: MIT */
/* Where our other executables are. */
#ifndef NFOLD_CONTROL_PROGRAM_H
#define NFOLD_CONTROL_PROGRAM_H

#include <limits.h>

/* nfold-vm or nfoldd: next to us, or where it was installed; else the name alone, for execvp() to find. */
void program_path(const char *name, char path[PATH_MAX]);

#endif
