/* SPDX-License-Identifier: MIT */
/* The guest's screen as the control protocol tells of it. */
#ifndef NFOLD_VM_SCREEN_H
#define NFOLD_VM_SCREEN_H

#include "vm/methods.h"

/* screen.text: the characters, colours and cursor of a text screen; of any other, its size. */
json_t *screen_text(struct method_context *context, json_t *params, struct method_error *error);

/* screen.pixels: the descriptor of a sealed memfd with the picture goes with the answer. */
json_t *screen_pixels(struct method_context *context, json_t *params, struct method_error *error);

#endif
