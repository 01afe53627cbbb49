/* SPDX-License-Identifier: MIT */
/* A guest's screen as a PNG file. */
#ifndef NFOLD_CLI_PICTURE_H
#define NFOLD_CLI_PICTURE_H

#include "base/error.h"

/* Asks the guest `name` for its screen and writes it to `path`, "-" being standard output. A file that cannot be
 * written whole is not left behind. */
bool picture_save(const char *name, const char *path, struct error *error);

#endif
