/* SPDX-License-Identifier: MIT */
/* The guest of calibrate-guest.S, an ELF file, made a part of nfold by tools/embed. */
#ifndef NFOLD_CLI_CALIBRATE_IMAGE_H
#define NFOLD_CLI_CALIBRATE_IMAGE_H

extern const char calibrate_image[];

#endif
